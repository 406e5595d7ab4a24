package template

import (
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"golang.org/x/text/language"

	"github.com/footfall-engage/footfall/server/engage"
)

// Limits of a template and of each rendering.
const (
	MaxSource  = 8 << 10  // bytes of source
	MaxNesting = 20       // of block tags, and of brackets in an expression
	MaxLoop    = 1000     // rounds of one loop
	MaxOutput  = 16 << 10 // bytes that are rendered, captured, or that a filter makes
	MaxList    = 1000     // items of a list that a filter makes
	// MaxWork bounds a rendering as a whole: each step costs the bytes of its
	// source, each filter those that it reads and writes, each round of a loop 16.
	MaxWork = 256 << 10
)

// Template is a parsed template. It is immutable and safe for concurrent use.
type Template struct {
	nodes     []node
	reads     []string   // every top-level name that stands in it
	variables []string   // those of them that it does not set
	paths     [][]string // that its expressions ask for, with their properties
	mentions  []Mention  // of catalogues and their items' fields
	constant  bool
}

// Parse compiles a source. An error is an *engage.Error whose message names the
// line and what is wrong there.
func Parse(source string) (t *Template, err error) {
	if len(source) > MaxSource {
		return nil, engage.Errorf(engage.TooLarge, "", "a template has at most %d bytes, this has %d", MaxSource, len(source))
	}
	if !utf8.ValidString(source) {
		return nil, engage.Errorf(engage.Invalid, "", "is not valid UTF-8")
	}
	// What the checks let through, the library's parser may still panic over.
	defer recovered(&err)
	pieces, err := scan(source)
	if err != nil {
		return nil, err
	}
	c := compiler{pieces: pieces, used: map[string]bool{}, set: map[string]bool{}, items: map[string]string{}}
	nodes, _, err := c.block()
	if err != nil {
		return nil, err
	}
	t = &Template{nodes: nodes, constant: true, paths: c.paths, mentions: c.mentions}
	for _, p := range pieces {
		t.constant = t.constant && p.kind == textPiece
	}
	t.reads = slices.Sorted(maps.Keys(c.used))
	for _, name := range t.reads {
		if !c.set[name] && name != "forloop" {
			t.variables = append(t.variables, name)
		}
	}
	return t, nil
}

// Variables lists the top-level names that the template reads and does not set
// itself, sorted: {{ profile.name }} reads "profile".
func (t *Template) Variables() []string { return slices.Clone(t.variables) }

// Constant reports whether the template is mere text, the same for everybody.
func (t *Template) Constant() bool { return t.constant }

// Render renders the template. Vars may hold strings, numbers, bools,
// time.Time, nil, Items, and lists and string-keyed maps of these; of other types
// nothing is seen. They are not changed. Now is what "now" means, and its zone
// is the one in which dates are shown. The language is that of the variable
// device.locale, English if there is none.
//
// An error is an *engage.Error: NotFound names a variable that is missing,
// TooLarge a limit that was reached, Invalid anything else.
func (t *Template) Render(vars map[string]any, now time.Time) (out string, err error) {
	return t.in(vars, now, speechOf(language.Und, deviceLocale(vars)))
}

// in is Render in a language.
func (t *Template) in(vars map[string]any, now time.Time, s speech) (out string, err error) {
	defer recovered(&err)
	r := newRun(t, vars, now, s)
	if _, err := r.all(t.nodes); err != nil {
		return "", err
	}
	return string(r.out), nil
}

// recovered makes an error of a panic within the library.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = &engage.Error{Code: engage.Invalid, Msg: "cannot be evaluated", Err: fmt.Errorf("%v", p)}
	}
}

func invalid(line int, format string, args ...any) error {
	return engage.Errorf(engage.Invalid, "", "line %d: %s", line, fmt.Sprintf(format, args...))
}

func tooLarge(line int, format string, args ...any) error {
	return engage.Errorf(engage.TooLarge, "", "line %d: %s", line, fmt.Sprintf(format, args...))
}
