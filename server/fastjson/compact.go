package fastjson

import "unicode/utf8"

// compact reports whether b is one JSON value as encoding/json writes one: without spaces,
// and without what it escapes. Of some that are it says no.
func compact[B ~[]byte | ~string](b B) bool { return value(b, 0, 1) == len(b) }

// value returns the index behind the value at i; -1: there is none, or it is not compact.
func value[B ~[]byte | ~string](b B, i, depth int) int {
	if i >= len(b) || depth > maxDepth {
		return -1
	}
	switch b[i] {
	case '"':
		return text(b, i+1)
	case '{', '[':
		return members(b, i, depth)
	case 't':
		return word(b, i, "true")
	case 'f':
		return word(b, i, "false")
	case 'n':
		return word(b, i, "null")
	}
	return number(b, i)
}

func members[B ~[]byte | ~string](b B, i, depth int) int {
	object, end := b[i] == '{', b[i]+2
	if i++; i < len(b) && b[i] == end {
		return i + 1
	}
	for {
		if object {
			if i >= len(b) || b[i] != '"' {
				return -1
			}
			if i = text(b, i+1); i < 0 || i >= len(b) || b[i] != ':' {
				return -1
			}
			i++
		}
		if i = value(b, i, depth+1); i < 0 || i >= len(b) {
			return -1
		}
		switch b[i] {
		case end:
			return i + 1
		case ',':
			i++
		default:
			return -1
		}
	}
}

// text is value from behind a quote.
func text[B ~[]byte | ~string](b B, i int) int {
	for i < len(b) {
		c := b[i]
		i++
		switch {
		case plain[c]:
		case c == '"':
			return i
		case c == '\\':
			if i = escape(b, i); i < 0 {
				return -1
			}
		case c < utf8.RuneSelf:
			return -1
		case c == 0xe2 && i+1 < len(b) && b[i] == 0x80 && b[i+1]&^1 == 0xa8: // U+2028, U+2029
			return -1
		}
	}
	return -1
}

// escape is text from behind a backslash.
func escape[B ~[]byte | ~string](b B, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if i+4 >= len(b) {
			return -1
		}
		for _, c := range []byte(b[i+1 : i+5]) {
			if digit, letter := c >= '0' && c <= '9', c|' ' >= 'a' && c|' ' <= 'f'; !digit && !letter {
				return -1
			}
		}
		return i + 5
	}
	return -1
}

func word[B ~[]byte | ~string](b B, i int, w string) int {
	if len(b)-i < len(w) || string(b[i:i+len(w)]) != w {
		return -1
	}
	return i + len(w)
}

// number returns the index behind the number at i, -1 if there is none.
func number[B ~[]byte | ~string](b B, i int) int {
	digits := func() bool {
		from := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i++; !digits() {
			return -1
		}
	}
	if i < len(b) && b[i]|' ' == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return -1
		}
	}
	return i
}
