package places

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/footfall-engage/footfall/server/engage"
)

// maxFeatureBytes bounds a feature: a polygon of geo.MaxVertices takes half of it.
const maxFeatureBytes = 1 << 20

// maxNesting of objects and lists in a file.
const maxNesting = 1000

// featureScanner cuts the features out of a FeatureCollection as it comes in. It
// looks at brackets and quotes alone, so that what is wrong within one feature does
// not concern the next.
type featureScanner struct {
	in     *bufio.Reader
	offset int64
	began  bool // within the list of features
	ended  bool
	typ    string // of the collection, once it was read
}

// next is the next feature, nil with tooLong if it exceeds maxFeatureBytes. io.EOF
// after the last; an *engage.Error where the file cannot be read on.
func (s *featureScanner) next() (raw []byte, tooLong bool, err error) {
	if s.ended {
		return nil, false, io.EOF
	}
	if !s.began {
		if err := s.begin(); err != nil {
			return nil, false, err
		}
	}
	c, err := s.skipSpace()
	if err != nil {
		return nil, false, err
	}
	if c == ']' {
		s.discard()
		return nil, false, s.end()
	}
	if raw, tooLong, err = s.value(maxFeatureBytes); err != nil {
		return nil, false, err
	}
	if c, err = s.skipSpace(); err != nil {
		return nil, false, err
	}
	switch c {
	case ',':
		s.discard()
	case ']':
	default:
		return nil, false, s.broken("a comma or the end of the features must come")
	}
	return raw, tooLong, nil
}

// begin reads the collection up to its features.
func (s *featureScanner) begin() error {
	if c, err := s.skipSpace(); err != nil {
		return err
	} else if c != '{' {
		return engage.Errorf(engage.Invalid, "", "must be a GeoJSON FeatureCollection, which is an object")
	}
	s.discard()
	for {
		name, done, err := s.member()
		if err != nil {
			return err
		}
		if done {
			if s.typ != "" && s.typ != "FeatureCollection" {
				return s.wrongType()
			}
			return engage.Errorf(engage.Invalid, "features", "is missing")
		}
		c, err := s.skipSpace()
		if err != nil {
			return err
		}
		if name != "features" {
			if err := s.other(name); err != nil {
				return err
			}
			continue
		}
		if c != '[' {
			return engage.Errorf(engage.Invalid, "features", "must be a list")
		}
		s.discard()
		s.began = true
		return nil
	}
}

// end reads what follows the features.
func (s *featureScanner) end() error {
	s.ended = true
	for {
		name, done, err := s.member()
		if err != nil {
			return err
		}
		if done {
			break
		}
		if name == "features" {
			return engage.Errorf(engage.Invalid, "features", "stands twice")
		}
		if err := s.other(name); err != nil {
			return err
		}
	}
	if s.typ == "" {
		return engage.Errorf(engage.Invalid, "type", "is missing")
	}
	if c, err := s.skipSpace(); err == nil {
		return s.broken("something follows the collection: " + string(rune(c)))
	}
	return io.EOF
}

// member reads the name of the collection's next member and its colon; done at the
// end of the object.
func (s *featureScanner) member() (name string, done bool, err error) {
	c, err := s.skipSpace()
	if err == nil && c == ',' {
		s.discard()
		c, err = s.skipSpace()
	}
	if err != nil {
		return "", false, err
	}
	if c == '}' {
		s.discard()
		return "", true, nil
	}
	if c != '"' {
		return "", false, s.broken("a name in quotes must come")
	}
	raw, _, err := s.value(1000)
	if err != nil {
		return "", false, err
	}
	_ = json.Unmarshal(raw, &name) // one that is too long or cannot be read is none of ours
	if c, err = s.skipSpace(); err != nil {
		return "", false, err
	}
	if c != ':' {
		return "", false, s.broken("a colon must come")
	}
	s.discard()
	return name, false, nil
}

// other reads a member that is not the features. Those that we do not know are of no
// concern (RFC 7946 §6.1).
func (s *featureScanner) other(name string) error {
	raw, tooLong, err := s.value(10000)
	if err != nil {
		return err
	}
	switch name {
	case "type":
		if tooLong || json.Unmarshal(raw, &s.typ) != nil || s.typ != "FeatureCollection" {
			s.typ = clip(string(raw))
			return s.wrongType()
		}
	case "crs":
		if tooLong || !bytes.Contains(raw, []byte("CRS84")) && string(raw) != "null" {
			return engage.Errorf(engage.Invalid, "crs", "must be absent or CRS 84: GeoJSON is in WGS 84 (RFC 7946 §4)")
		}
	}
	return nil
}

func (s *featureScanner) wrongType() error {
	return engage.Errorf(engage.Invalid, "type", `must be "FeatureCollection", is %s`, s.typ)
}

// value reads one JSON value; nil and true if it is longer than most.
func (s *featureScanner) value(most int) (raw []byte, tooLong bool, err error) {
	var open []byte // brackets
	quoted, escaped := false, false
	for {
		c, err := s.in.ReadByte()
		if err != nil {
			return nil, false, s.failed(err)
		}
		if !quoted && len(open) == 0 && len(raw) > 0 && bytes.IndexByte([]byte(",:]} \t\r\n"), c) >= 0 {
			if err := s.in.UnreadByte(); err != nil { // the end of a number or a word
				return nil, false, s.failed(err)
			}
			return raw, tooLong, nil
		}
		s.offset++
		if len(raw) < most {
			raw = append(raw, c)
		} else {
			tooLong = true
		}
		switch {
		case escaped:
			escaped = false
			continue
		case quoted:
			escaped = c == '\\'
			if c == '"' {
				quoted = false
			}
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			if len(open) == maxNesting {
				return nil, false, s.broken("is nested too deep")
			}
			open = append(open, c)
		case c == '}' || c == ']':
			if len(open) == 0 || open[len(open)-1] != c-2 { // in ASCII the brackets stand so
				return nil, false, s.broken("a bracket is closed that was not opened")
			}
			open = open[:len(open)-1]
		default:
			continue // of a number or a word, or between
		}
		if !quoted && len(open) == 0 {
			if tooLong {
				return nil, true, nil
			}
			return raw, false, nil
		}
	}
}

// skipSpace shows the next byte that is no space.
func (s *featureScanner) skipSpace() (byte, error) {
	for {
		b, err := s.in.Peek(1)
		if err != nil {
			return 0, s.failed(err)
		}
		if bytes.IndexByte([]byte(" \t\r\n"), b[0]) < 0 {
			return b[0], nil
		}
		s.discard()
	}
}

func (s *featureScanner) discard() {
	_, _ = s.in.Discard(1) // it was peeked at
	s.offset++
}

func (s *featureScanner) broken(why string) error {
	s.ended = true
	return engage.Errorf(engage.Malformed, "", "is not JSON at byte %d: %s", s.offset, why)
}

func (s *featureScanner) failed(err error) error {
	s.ended = true
	if errors.Is(err, io.EOF) {
		return engage.Errorf(engage.Malformed, "", "is not JSON: it ends too early, at byte %d", s.offset)
	}
	return err
}
