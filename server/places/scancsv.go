package places

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/footfall-engage/footfall/server/engage"
)

const (
	// maxRowBytes bounds a row of a table, which may have a geometry.
	maxRowBytes = 1 << 20
	// maxUnclosed rows whose quote is not closed end a file: behind each, the next
	// megabyte is read twice.
	maxUnclosed = 100
	maxColumns  = 1000
)

// tableScanner cuts a table into its rows. A quote that is not closed costs its own
// line and no more.
type tableScanner struct {
	in       *bufio.Reader
	comma    byte
	back     [][]byte // lines that are to be read again
	row      int      // as a spreadsheet counts: the header is 1, blank lines count
	unclosed int
	columns  int  // of the header; 0 before it was read
	wasLong  bool // the last line was longer than maxRowBytes
}

// next is the next row's cells; where it cannot be read, the error is an
// *engage.Error and fatal tells whether anything can be read behind it. io.EOF after
// the last.
func (s *tableScanner) next() (cells []string, warning string, fatal bool, err error) {
	for {
		lines, err := s.record()
		if err != nil {
			e, isRow := errors.AsType[*engage.Error](err)
			return nil, "", !isRow || e.Field == "rows", err
		}
		raw := bytes.Join(lines, nil)
		if len(bytes.TrimSpace(raw)) == 0 {
			continue
		}
		cells, warning, err = s.cells(raw)
		// A quote that is not closed reaches to the next one, which then stands where
		// none can: the lines between are rows of their own.
		if len(lines) > 1 && (err != nil || s.columns > 0 && len(trimmed(cells, s.columns)) != s.columns) {
			err := s.giveBack(lines)
			return nil, "", err.Field == "rows", err
		}
		return cells, warning, false, err
	}
}

// trimmed is the cells without empty ones beyond the columns.
func trimmed(cells []string, columns int) []string {
	for len(cells) > columns && strings.TrimSpace(cells[len(cells)-1]) == "" {
		cells = cells[:len(cells)-1]
	}
	return cells
}

// giveBack refuses the first of the lines for its quote, and has the others read
// again.
func (s *tableScanner) giveBack(lines [][]byte) *engage.Error {
	s.back = append(lines[1:], s.back...)
	if s.unclosed++; s.unclosed > maxUnclosed {
		return engage.Errorf(engage.TooLarge, "rows", "more than %d have a quote that is not closed: is this a table?", maxUnclosed)
	}
	return engage.Errorf(engage.Invalid, "", "has a quote that is not closed")
}

func (s *tableScanner) cells(raw []byte) ([]string, string, error) {
	cells, err := s.parse(raw, false)
	if !errors.Is(err, csv.ErrBareQuote) {
		return cells, "", err
	}
	cells, err = s.parse(raw, true)
	return cells, "a quote within a cell that does not begin with one was taken as it is", err
}

func (s *tableScanner) parse(raw []byte, lazy bool) ([]string, error) {
	r := csv.NewReader(bytes.NewReader(raw))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes = rune(s.comma), -1, lazy
	cells, err := r.Read()
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		if errors.Is(err, csv.ErrBareQuote) {
			return nil, err
		}
		return nil, engage.Errorf(engage.Invalid, "", "is no row: %v, at byte %d of it", e.Err, e.Column)
	}
	return cells, err
}

// record is the lines of a row: one, or several where a quoted cell goes on.
func (s *tableScanner) record() ([][]byte, error) {
	s.row++
	var lines [][]byte
	size, quoted := 0, false
	for {
		line, err := s.line()
		if err != nil && (!errors.Is(err, io.EOF) || len(lines) == 0) {
			return nil, err
		}
		if s.wasLong && len(lines) == 0 {
			return nil, engage.Errorf(engage.TooLarge, "", "has more than %d bytes", maxRowBytes)
		}
		ended := err != nil
		if !ended {
			lines = append(lines, line)
			size += len(line)
			if quoted = s.endsQuoted(line, quoted); !quoted {
				return lines, nil
			}
		}
		if ended || s.wasLong || size > maxRowBytes {
			return nil, s.giveBack(lines)
		}
	}
}

// endsQuoted reports whether a quoted cell goes on behind the line, as RFC 4180 has it:
// a quote opens at a cell's beginning only, and a doubled one is part of the text.
func (s *tableScanner) endsQuoted(line []byte, quoted bool) bool {
	start := !quoted
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quoted && c == '"' && i+1 < len(line) && line[i+1] == '"':
			i++
		case quoted:
			quoted = c != '"'
		case start && c == '"':
			quoted, start = true, false
		default:
			start = c == s.comma
		}
	}
	return quoted
}

// line is the next line with its end. One that is too long is cut.
func (s *tableScanner) line() ([]byte, error) {
	s.wasLong = false
	if len(s.back) > 0 {
		line := s.back[0]
		s.back = s.back[1:]
		return line, nil
	}
	var out []byte
	for {
		part, err := s.in.ReadSlice('\n')
		if len(out)+len(part) > maxRowBytes {
			s.wasLong = true
		} else {
			out = append(out, part...)
		}
		switch {
		case err == nil:
			return out, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && (len(out) > 0 || s.wasLong):
			return out, nil
		default:
			return nil, err
		}
	}
}

// header reads the columns and finds the separator.
func (s *tableScanner) header() ([]string, error) {
	s.comma = ','
	peeked, err := s.in.Peek(s.in.Size())
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	first, _, _ := bytes.Cut(bytes.TrimLeft(peeked, "\r\n"), []byte("\n"))
	most := -1
	for _, c := range []byte(",;\t") {
		if n := bytes.Count(first, []byte{c}); n > most {
			s.comma, most = c, n
		}
	}
	cells, _, _, err := s.next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, engage.Errorf(engage.Invalid, "", "is empty")
	case err != nil:
		return nil, engage.At("header", err)
	case len(cells) > maxColumns:
		return nil, engage.Errorf(engage.TooLarge, "header", "at most %d columns, got %d", maxColumns, len(cells))
	}
	s.columns = len(cells)
	for i, c := range cells {
		if !utf8.ValidString(c) {
			return nil, engage.Errorf(engage.Invalid, "header", "is not UTF-8: save the file as that")
		}
		cells[i] = strings.TrimSpace(c)
	}
	return cells, nil
}
