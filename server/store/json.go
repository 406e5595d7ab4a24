package store

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
)

// isObject reports whether the body is one JSON object by encoding/json's reading of RFC
// 8259, and whether it is nested deeper than MaxDepth. Each document that is written is
// looked at: json.Valid, which takes twice as long, was a twentieth of what a push cost.
func isObject(body []byte) (ok, deep bool) {
	i := space(body, 0)
	if i == len(body) || body[i] != '{' {
		return false, false
	}
	switch i = value(body, i, 1); i {
	case broken:
		return false, false
	case tooDeep:
		return json.Valid(body), true
	}
	return space(body, i) == len(body), false
}

// What value and its like return in place of an index.
const (
	broken  = -1 // it is not JSON
	tooDeep = -2 // it is nested deeper than MaxDepth, and was not looked at further
)

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// value returns the index behind the value that begins at i, which has depth-1 objects
// and arrays around it.
func value(b []byte, i, depth int) int {
	if i == len(b) {
		return broken
	}
	switch b[i] {
	case '"':
		return text(b, i+1)
	case '{', '[':
		if depth > MaxDepth {
			return tooDeep
		}
		return members(b, i+1, depth, b[i] == '{')
	case 't':
		return word(b, i, "true")
	case 'f':
		return word(b, i, "false")
	case 'n':
		return word(b, i, "null")
	default:
		return number(b, i)
	}
}

// members is value for an object or an array, from behind its bracket.
func members(b []byte, i, depth int, object bool) int {
	end := byte(']')
	if object {
		end = '}'
	}
	if i = space(b, i); i < len(b) && b[i] == end {
		return i + 1
	}
	for {
		if object {
			if i == len(b) || b[i] != '"' {
				return broken
			}
			if i = text(b, i+1); i < 0 {
				return i
			}
			if i = space(b, i); i == len(b) || b[i] != ':' {
				return broken
			}
			i = space(b, i+1)
		}
		if i = value(b, i, depth+1); i < 0 {
			return i
		}
		switch i = space(b, i); {
		case i == len(b):
			return broken
		case b[i] == end:
			return i + 1
		case b[i] != ',':
			return broken
		}
		i = space(b, i+1)
	}
}

func word(b []byte, i int, w string) int {
	if len(b)-i < len(w) || string(b[i:i+len(w)]) != w {
		return broken
	}
	return i + len(w)
}

// digits returns the index behind digits, of which there must be one.
func digits(b []byte, i int) int {
	from := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	if i == from {
		return broken
	}
	return i
}

func number(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = digits(b, i); i < 0 {
		return i
	}
	if i < len(b) && b[i] == '.' {
		if i = digits(b, i+1); i < 0 {
			return i
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digits(b, i)
	}
	return i
}

// text is value for a string, from behind its quote. It looks at eight bytes at a time: a
// byte's highest bit is set in special where the byte is a quote, a backslash or a
// control character (and, by a borrow, perhaps in bytes after the first such).
func text(b []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for {
		for len(b)-i >= 8 {
			x := binary.LittleEndian.Uint64(b[i:])
			quote, back := x^('"'*ones), x^('\\'*ones)
			special := ((x-' '*ones)&^x | (quote-ones)&^quote | (back-ones)&^back) & highs
			if special != 0 {
				i += bits.TrailingZeros64(special) / 8
				break
			}
			i += 8
		}
		for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' {
			i++
		}
		switch {
		case i == len(b) || b[i] < ' ':
			return broken
		case b[i] == '"':
			return i + 1
		}
		if i = escape(b, i+1); i < 0 {
			return i
		}
	}
}

// escape returns the index behind what follows a backslash.
func escape(b []byte, i int) int {
	if i == len(b) {
		return broken
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if len(b)-i < 5 {
			return broken
		}
		for _, c := range b[i+1 : i+5] {
			if c-'0' > 9 && c|0x20-'a' > 5 {
				return broken
			}
		}
		return i + 5
	}
	return broken
}
