package template

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/osteele/liquid/expressions"
)

// reserved are the names that cannot be assigned.
func reserved(name string) bool {
	switch name {
	case "true", "false", "nil", "null", "empty", "blank", "and", "or", "in", "contains", "forloop", "now":
		return true
	}
	return strings.HasPrefix(name, "__")
}

// runName is the variable that carries the run into filters; no template can
// write it.
const runName = "__run"

type lexKind uint8

const (
	lexName     lexKind = iota // a variable, filter or word
	lexProperty                // .name
	lexNumber
	lexString
	lexMark // an operator or bracket
)

type lexeme struct {
	kind lexKind
	s    string
}

func (l lexeme) is(mark string) bool { return l.kind == lexMark && l.s == mark }

// word reports whether l is that word of the language.
func (l lexeme) word(s string) bool { return l.kind == lexName && l.s == s }

var lexForm = regexp.MustCompile(`^(?:` +
	`(?P<name>[\pL_][\pL\p{Nd}\pM_-]*\??)` +
	`|(?P<property>\.[\pL_][\pL\p{Nd}\pM_-]*\??)` +
	`|(?P<number>-?[0-9]+(?:\.[0-9]+)?)` +
	`|(?P<string>"[^"]*"|'[^']*')` +
	`|(?P<mark>==|!=|>=|<=|\.\.|[<>|:,()\[\]=])` +
	`)`)

// lex splits an expression; it knows no more than Liquid's grammar can use.
func lex(src string, line int) ([]lexeme, error) {
	var out []lexeme
	all := src
	depth := 0
	for src = strings.TrimLeft(src, space); src != ""; src = strings.TrimLeft(src, space) {
		m := lexForm.FindStringSubmatchIndex(src)
		if m == nil {
			return nil, invalid(line, "syntax error at %q in %q", clip(src), clip(all))
		}
		kind := lexName
		for m[2+2*int(kind)] < 0 {
			kind++
		}
		l := lexeme{kind, src[:m[1]]}
		src = src[m[1]:]
		switch l.s {
		case "(", "[":
			depth++
		case ")", "]":
			depth--
		}
		if depth > MaxNesting {
			return nil, tooLarge(line, "brackets are nested at most %d deep", MaxNesting)
		}
		if l.kind == lexName && strings.HasPrefix(l.s, "__") {
			return nil, invalid(line, "names do not begin with __: %q", clip(l.s))
		}
		if l.kind == lexNumber {
			if _, err := number(l.s); err != nil {
				return nil, invalid(line, "%s is beyond the range of numbers", clip(l.s))
			}
		}
		out = append(out, l)
	}
	return out, nil
}

func number(s string) (any, error) {
	if strings.Contains(s, ".") {
		return strconv.ParseFloat(s, 64)
	}
	return strconv.Atoi(s)
}

// expr is a compiled expression.
type expr struct {
	src   string
	line  int
	run   expressions.Expression
	paths [][]string // the variables with their properties, as far as they stand in the text
}

// compile checks an expression and compiles it with the library.
func (c *compiler) compile(ls []lexeme, src string, line int) (*expr, error) {
	if len(ls) == 0 {
		return nil, invalid(line, "an expression is missing in %q", clip(src))
	}
	e := &expr{src: src, line: line}
	var b strings.Builder
	for i := 0; i < len(ls); i++ {
		l := ls[i]
		var before lexeme
		if i > 0 {
			before = ls[i-1]
		}
		switch {
		case l.is(".."):
			return nil, invalid(line, "a range (a..b) can only stand in {%% for %%}, not in %q", clip(src))
		case l.is("=") || l.is(":"):
			return nil, invalid(line, "syntax error at %q in %q", l.s, clip(src))
		case (l.kind == lexProperty || l.is("[")) && before.is(")"):
			return nil, invalid(line, "%q cannot follow a bracket in %q", l.s, clip(src))
		case l.kind == lexName && before.is("|"):
			args, colon, err := filterArgs(ls[i+1:])
			if err != nil {
				return nil, invalid(line, "%s of filter %q in %q", err, l.s, clip(src))
			}
			if err := checkFilter(l.s, args); err != nil {
				return nil, invalid(line, "%s", err)
			}
			if !colon && i+1 < len(ls) && (ls[i+1].kind == lexProperty || ls[i+1].is("[")) {
				return nil, invalid(line, "%q cannot follow a filter in %q", ls[i+1].s, clip(src))
			}
			// Every filter gets the run as its first argument.
			b.WriteString(l.s + ": " + runName)
			if colon {
				b.WriteString(" ,")
				i++
			}
		case l.kind == lexName:
			if !slices.Contains([]string{"true", "false", "nil", "and", "or", "contains", "in", "empty", "blank", "null"}, l.s) {
				path := []string{l.s}
				for _, p := range ls[i+1:] {
					if p.kind != lexProperty {
						break
					}
					path = append(path, p.s[1:])
				}
				e.paths = append(e.paths, path)
				c.paths = append(c.paths, path)
				c.used[l.s] = true
				c.mention(ls[i:])
			}
			b.WriteString(l.s)
		default:
			b.WriteString(l.s)
		}
		if i+1 < len(ls) && ls[i+1].kind != lexProperty {
			b.WriteByte(' ')
		}
	}
	run, err := expressions.Parse(b.String())
	if err != nil {
		return nil, invalid(line, "syntax error in %q", clip(src))
	}
	e.run = run
	return e, nil
}

// filterArgs counts the arguments of a filter, given what follows its name.
func filterArgs(ls []lexeme) (n int, colon bool, err error) {
	if len(ls) == 0 || !ls[0].is(":") {
		return 0, false, nil
	}
	n, depth := 1, 0
	for i, l := range ls[1:] {
		switch {
		case l.is("(") || l.is("["):
			depth++
		case l.is(")") || l.is("]"):
			depth--
		case l.is(",") && depth == 0:
			n++
		}
		if depth < 0 || depth == 0 && l.is("|") {
			if i == 0 {
				return 0, true, errNoArgument
			}
			break
		}
	}
	if len(ls) == 1 {
		return 0, true, errNoArgument
	}
	return n, true, nil
}

// split cuts lexemes at top-level separators.
func split(ls []lexeme, sep func(lexeme) bool) [][]lexeme {
	var out [][]lexeme
	from, depth := 0, 0
	for i, l := range ls {
		switch {
		case l.is("(") || l.is("["):
			depth++
		case l.is(")") || l.is("]"):
			depth--
		case depth == 0 && sep(l):
			out = append(out, ls[from:i])
			from = i + 1
		}
	}
	return append(out, ls[from:])
}
