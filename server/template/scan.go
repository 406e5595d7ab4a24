package template

import (
	"regexp"
	"strings"
)

type pieceKind uint8

const (
	textPiece pieceKind = iota
	objectPiece
	tagPiece
)

// piece of a source: text, {{ args }} or {% name args %}.
type piece struct {
	kind pieceKind
	line int
	name string // of a tag
	args string // of an object or tag; the text of a text
}

var (
	tagForm    = regexp.MustCompile(`^(\w+)(?:\s+|$)`)
	endRaw     = regexp.MustCompile(`\{%-?\s*endraw\s*-?%\}`)
	endComment = regexp.MustCompile(`\{%-?\s*endcomment\s*-?%\}`)
)

const space = " \t\r\n\v\f"

// scan splits a source. Comments are gone from what it returns, raw blocks are
// text, and the whitespace control of "{{-" and "-%}" has been done.
func scan(src string) ([]piece, error) {
	var out []piece
	trim := false // the next text loses its leading white space
	line := 1
	add := func(text string) {
		if trim {
			text = strings.TrimLeft(text, space)
		}
		// White space alone keeps the trim going: {{ a -}} {{- b }}.
		trim = trim && text == ""
		if text != "" {
			out = append(out, piece{kind: textPiece, line: line, args: text})
		}
	}
	for src != "" {
		i := strings.Index(src, "{{")
		if j := strings.Index(src, "{%"); i < 0 || j >= 0 && j < i {
			i = j
		}
		if i < 0 {
			add(src)
			break
		}
		text := src[:i]
		open, shut := src[i:i+2], "}}"
		if open == "{%" {
			shut = "%}"
		}
		startLine := line + strings.Count(text, "\n")
		n := strings.Index(src[i+2:], shut)
		if n < 0 {
			return nil, invalid(startLine, "%s is not closed by %s", open, shut)
		}
		inner := src[i+2 : i+2+n]
		if again := strings.Index(inner, open); again >= 0 {
			return nil, invalid(startLine, "%s is not closed by %s before the next %s", open, shut, open)
		}
		if strings.HasPrefix(inner, "-") {
			text = strings.TrimRight(text, space)
			inner = inner[1:]
		}
		add(text)
		rest, right := strings.CutSuffix(inner, "-")
		inner = strings.Trim(rest, space)
		src = src[i+2+n+2:]
		trim = right
		line = startLine
		after := startLine + strings.Count(rest, "\n")
		if open == "{{" {
			if inner == "" {
				return nil, invalid(startLine, "{{ }} is empty")
			}
			out = append(out, piece{kind: objectPiece, line: startLine, args: inner})
			line = after
			continue
		}
		m := tagForm.FindString(inner)
		if m == "" {
			return nil, invalid(startLine, "{%% %s %%} is not a tag", clip(inner))
		}
		p := piece{kind: tagPiece, line: startLine, name: strings.TrimRight(m, space), args: inner[len(m):]}
		line = after
		var end *regexp.Regexp
		switch p.name {
		case "raw":
			end = endRaw
		case "comment":
			end = endComment
		default:
			out = append(out, p)
			continue
		}
		at := end.FindStringIndex(src)
		if at == nil {
			return nil, invalid(startLine, "{%% %s %%} is not closed by {%% end%s %%}", p.name, p.name)
		}
		body, closing := src[:at[0]], src[at[0]:at[1]]
		if p.name == "raw" {
			if strings.HasPrefix(closing, "{%-") {
				body = strings.TrimRight(body, space)
			}
			add(body)
		}
		trim = strings.HasSuffix(closing, "-%}")
		line += strings.Count(src[:at[1]], "\n")
		src = src[at[1]:]
	}
	return out, nil
}

// clip shortens what an error quotes.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}
