package hours

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLength of a text, in bytes. OpenStreetMap allows 255 characters; a place with
// its exceptions for some years needs more.
const maxLength = 4096

// Error says where a text is no opening hours that can be read, and why. Its text
// reads as a sentence: "at character 14, \"sunset\": times of the sun are not supported…".
type Error struct {
	Field  string // of a Week, "mo[1]"; empty if the text is the whole
	Pos    int    // byte in the text
	Reason string // begins with "at character" where one place is at fault
	// Unsupported marks what the specification allows and this package does not
	// evaluate; a mistake otherwise.
	Unsupported bool
}

// Error implements error.
func (e *Error) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + ": " + e.Reason
}

type tokenKind uint8

const (
	end tokenKind = iota
	number
	word    // in lower case
	comment // without its quotes
	sign    // one character, or "||"
)

type token struct {
	kind tokenKind
	text string
	pos  int
}

// scan cuts the text into tokens; the last is an end.
func scan(text string) ([]token, error) {
	if len(text) > maxLength {
		return nil, &Error{Pos: maxLength, Reason: fmt.Sprintf("must be at most %d bytes, is %d", maxLength, len(text))}
	}
	var out []token
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		start := i
		i += size
		switch {
		case unicode.IsSpace(r):
		case isDigit(r):
			i += run(text[i:], isDigit)
			out = append(out, token{number, text[start:i], start})
		case unicode.IsLetter(r):
			i += run(text[i:], unicode.IsLetter)
			out = append(out, token{word, strings.ToLower(text[start:i]), start})
		case r == '"':
			length := strings.IndexByte(text[i:], '"')
			if length < 0 {
				return nil, at(text, start, "the comment has no closing quote")
			}
			said := text[i : i+length]
			if bad := strings.IndexFunc(said, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }); bad >= 0 {
				return nil, at(text, i+bad, "a comment is one line of readable text")
			}
			if said = strings.TrimSpace(said); said == "" {
				return nil, at(text, start, "the comment is empty")
			}
			out = append(out, token{comment, said, start})
			i += length + 1
		case r == '|' && strings.HasPrefix(text[i:], "|"):
			i++
			out = append(out, token{sign, "||", start})
		case strings.ContainsRune("‐‑‒–—−", r):
			out = append(out, token{sign, "-", start})
		default:
			out = append(out, token{sign, text[start:i], start})
		}
	}
	return append(out, token{kind: end, pos: len(text)}), nil
}

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

// run is the length of the characters at the beginning of text that are all of a kind.
func run(text string, of func(rune) bool) int {
	if n := strings.IndexFunc(text, func(r rune) bool { return !of(r) }); n >= 0 {
		return n
	}
	return len(text)
}

// at is an Error of the byte pos; for a reader characters count from 1.
func at(text string, pos int, format string, args ...any) *Error {
	where := fmt.Sprintf("at character %d: ", utf8.RuneCountInString(text[:pos])+1)
	if pos == len(text) {
		where = "at the end: "
	}
	return &Error{Pos: pos, Reason: where + fmt.Sprintf(format, args...)}
}

// quote shows a piece of what was given, shortened.
func quote(s string) string {
	const most = 24
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return strconv.Quote(s)
}
