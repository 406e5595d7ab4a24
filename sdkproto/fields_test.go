package sdkproto_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

const (
	fieldsBegin = "<!-- fields: written from the schema by `go test ./sdkproto -run EveryField -update` -->\n"
	fieldsEnd   = "<!-- end of fields -->\n"
)

// The section "Fields" of the specification is what the schema says.
func TestTheSpecificationListsEveryField(t *testing.T) {
	schema, err := os.ReadFile("proto/footfall/sdk/v1/sdk.proto")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	want, fields := fieldTables(t, string(schema))
	before, rest, ok := strings.Cut(string(readme), fieldsBegin)
	have, after, ok2 := strings.Cut(rest, fieldsEnd)
	if !ok || !ok2 {
		t.Fatal("README.md lacks the marks of its section Fields")
	}
	if *update {
		if err := os.WriteFile("README.md", []byte(before+fieldsBegin+want+fieldsEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if have != want {
		t.Error("the section Fields of README.md is not that of the schema: go test ./sdkproto -run EveryField -update")
	}
	// The reader of comments below has seen all that the compiler has.
	for name, m := range messagesOf(sdkpb.File_footfall_sdk_v1_sdk_proto.Messages()) {
		for i := range m.Fields().Len() {
			f := name + "." + string(m.Fields().Get(i).Name())
			if !fields[f] {
				t.Errorf("the section Fields lacks %s", f)
			}
		}
	}
}

// messagesOf are the messages and those within them, by their path.
func messagesOf(all protoreflect.MessageDescriptors) map[string]protoreflect.MessageDescriptor {
	out := map[string]protoreflect.MessageDescriptor{}
	for i := range all.Len() {
		m := all.Get(i)
		if m.IsMapEntry() {
			continue
		}
		name := strings.TrimPrefix(string(m.FullName()), "footfall.sdk.v1.")
		out[name] = m
		maps.Copy(out, messagesOf(m.Messages()))
	}
	return out
}

var (
	blockLine = regexp.MustCompile(`^\s*(message|enum) (\w+) \{(\})?`)
	fieldLine = regexp.MustCompile(`^\s*(?:(optional|repeated) )?(map<[^>]*>|[\w.]+) (\w+) = (\d+);\s*(?://\s*(.*))?$`)
	valueLine = regexp.MustCompile(`^\s*(\w+) = (\d+);\s*(?://\s*(.*))?$`)
)

// block is a message or an enum being read.
type block struct {
	name, comment string
	enum          bool
	rows          []string
	values        []string
}

// fieldTables reads the schema's text, comments included, into a table for each
// message. Fields are those that it has found, as "Message.field".
func fieldTables(t *testing.T, schema string) (tables string, fields map[string]bool) {
	t.Helper()
	_, schema, ok := strings.Cut(schema, "option go_package")
	if !ok {
		t.Fatal("the schema is not as expected")
	}
	fields = map[string]bool{}
	var out strings.Builder
	var open []*block
	var comment []string
	for line := range strings.Lines(schema) {
		line = strings.TrimRight(line, "\n")
		text := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(text, "//"):
			comment = append(comment, strings.TrimSpace(strings.TrimPrefix(text, "//")))
			continue
		case text == "":
			comment = nil
			continue
		}
		above := strings.Join(comment, " ")
		comment = nil
		if m := blockLine.FindStringSubmatch(line); m != nil {
			b := &block{name: m[2], comment: above, enum: m[1] == "enum"}
			if len(open) > 0 {
				b.name = open[len(open)-1].name + "." + b.name
			}
			open = append(open, b)
			if m[3] == "" {
				continue
			}
			text = "}"
		}
		if len(open) == 0 {
			continue
		}
		b := open[len(open)-1]
		if text == "}" {
			open = open[:len(open)-1]
			b.write(&out)
			continue
		}
		if b.enum {
			m := valueLine.FindStringSubmatch(line)
			if m == nil {
				t.Fatalf("not a value: %s", line)
			}
			v := fmt.Sprintf("%s `%s`", m[2], m[1])
			if note := strings.TrimSpace(above + " " + m[3]); note != "" {
				v += " (" + strings.TrimSuffix(note, ".") + ")"
			}
			b.values = append(b.values, v)
			continue
		}
		m := fieldLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("not a field: %s", line)
		}
		note := strings.TrimSpace(above + " " + m[5])
		typ := m[2]
		switch {
		case m[1] == "repeated":
			typ = "list of " + typ
		case m[1] == "optional" && !isMessage(typ):
			typ += "?"
		}
		b.rows = append(b.rows, fmt.Sprintf("| `%s` | %s | %s | %s |", m[3], m[4], typ, strings.ReplaceAll(note, "|", `\|`)))
		fields[b.name+"."+m[3]] = true
	}
	return out.String(), fields
}

// isMessage reports whether a type is one of ours that is no enum: absence of such a
// field shows by itself.
func isMessage(typ string) bool {
	_, ok := messagesOf(sdkpb.File_footfall_sdk_v1_sdk_proto.Messages())[typ]
	return ok
}

func (b *block) write(out *strings.Builder) {
	if b.enum {
		fmt.Fprintf(out, "**%s**: %s.", b.name, strings.Join(b.values, ", "))
		if b.comment != "" {
			fmt.Fprintf(out, " %s", b.comment)
		}
		out.WriteString("\n\n")
		return
	}
	fmt.Fprintf(out, "### %s\n\n", b.name)
	if b.comment != "" {
		fmt.Fprintf(out, "%s\n\n", b.comment)
	}
	if len(b.rows) == 0 {
		return
	}
	out.WriteString("| Field | No. | Type | |\n|---|---|---|---|\n")
	for _, r := range b.rows {
		out.WriteString(r + "\n")
	}
	out.WriteString("\n")
}
