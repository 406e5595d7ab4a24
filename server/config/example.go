package config

import (
	"fmt"
	"strconv"
	"strings"
)

const exampleHead = `# Footfall, annotated configuration. Every line shows its default: keep what you change.
#
# Order: defaults, then this file, then the environment (FOOTFALL_LOG_LEVEL),
# then flags (--log-level); the later holds. Check it: footfall check-config.
# Secrets never stand here: they come from a file of their own or the environment.
# Places, campaigns, app keys and push credentials are entered through the API.
`

// Example is the annotated configuration file with every default; the same text
// is deploy/footfall.example.yaml.
func Example() string {
	c := Default()
	var out strings.Builder
	out.WriteString(exampleHead)
	var open []string // the sections in which we are
	for _, b := range c.bindings() {
		parts := strings.Split(b.path, ".")
		sections, name := parts[:len(parts)-1], parts[len(parts)-1]
		same := 0
		for same < min(len(open), len(sections)) && open[same] == sections[same] {
			same++
		}
		if same == 0 {
			out.WriteByte('\n')
		}
		for ; same < len(sections); same++ {
			fmt.Fprintf(&out, "%s%s:\n", strings.Repeat("  ", same), sections[same])
		}
		open = sections
		indent := strings.Repeat("  ", len(sections))
		help := b.help
		if b.secret() {
			help += " Only by environment: " + envName(b.path) + "."
		}
		comment(&out, indent, help)
		if !b.secret() {
			fmt.Fprintf(&out, "%s%s: %s\n", indent, name, inYAML(b.target))
		}
	}
	return out.String()
}

// comment writes text as comment lines of at most 80 bytes.
func comment(out *strings.Builder, indent, text string) {
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > 80 {
			out.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	out.WriteString(line + "\n")
}

// inYAML renders a value; a quoted Go string is a quoted YAML string, as far as
// the defaults go.
func inYAML(target any) string {
	switch t := target.(type) {
	case *string:
		return strconv.Quote(*t)
	case *Durability:
		return strconv.Quote(string(*t))
	case *int:
		return strconv.Itoa(*t)
	}
	return "" // a secret does not stand in the example
}
