// Package table cuts files that come as streams into rows: tables (CSV) and lines of
// JSON, of any size, in the memory of a row. It knows nothing of what stands in them.
package table

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
	// MaxRowBytes bounds a row.
	MaxRowBytes = 1 << 20
	// MaxColumns of a table.
	MaxColumns = 1000
	// maxUnclosed rows whose quote is not closed end a file: behind each, the next
	// megabyte is read twice.
	maxUnclosed = 100
)

// Scanner cuts a file into its rows. A quote that is not closed costs its own line and
// no more. The zero one reads nothing; see NewScanner.
type Scanner struct {
	in       *bufio.Reader
	comma    byte
	back     [][]byte // lines that are to be read again
	row      int      // as a spreadsheet counts: the header is 1, blank lines count
	offset   int64    // bytes of the file before the next line
	unclosed int
	columns  int  // of the header; 0 before it was read
	wasLong  bool // the last line was longer than MaxRowBytes
}

// NewScanner reads in from where it stands: behind what Begin has skipped.
func NewScanner(in *bufio.Reader) *Scanner { return &Scanner{in: in} }

// Begin looks at the beginning of a file and skips the mark of UTF-8 that spreadsheets
// write; it returns how many bytes that were. An error is an *engage.Error of a file
// that is no text in UTF-8, or that of in.
func Begin(in *bufio.Reader) (skipped int, err error) {
	head, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return 0, engage.Errorf(engage.Invalid, "", "is UTF-16: save the file as UTF-8")
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return 0, engage.Errorf(engage.Invalid, "", "is a ZIP archive or a workbook: save the table as CSV")
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		return in.Discard(3)
	}
	return 0, nil
}

// Row is the number of the last row that was read, as a spreadsheet counts: the header
// is 1, blank lines count. Of lines of JSON it is the line.
func (s *Scanner) Row() int { return s.row }

// Comma is the separator that Header has found.
func (s *Scanner) Comma() string { return string(rune(s.comma)) }

// Offset is how many bytes of in the rows so far are: where the next one begins.
func (s *Scanner) Offset() int64 { return s.offset }

// Settled reports whether no line waits to be read again: only then another Scanner can
// go on at Offset.
func (s *Scanner) Settled() bool { return len(s.back) == 0 }

// Resume goes on where another Scanner of the same bytes was: offset and row are its
// own, and in stands there. The header has been read, from the beginning.
func (s *Scanner) Resume(in *bufio.Reader, offset int64, row int) {
	s.in, s.offset, s.row, s.back = in, offset, row, nil
}

// NextLine is the next line that is not blank, without its end: of a file of lines of
// JSON. An error is an *engage.Error of a line that is too long, io.EOF, or that of in.
func (s *Scanner) NextLine() ([]byte, error) {
	for {
		s.row++
		line, err := s.line()
		if err != nil {
			return nil, err
		}
		if s.wasLong {
			return nil, engage.Errorf(engage.TooLarge, "", "has more than %d bytes", MaxRowBytes)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
	}
}

// Next is the next row's cells; where it cannot be read, the error is an
// *engage.Error and fatal tells whether anything can be read behind it. io.EOF after
// the last.
func (s *Scanner) Next() (cells []string, warning string, fatal bool, err error) {
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
		if len(lines) > 1 && (err != nil || s.columns > 0 && len(Trimmed(cells, s.columns)) != s.columns) {
			err := s.giveBack(lines)
			return nil, "", err.Field == "rows", err
		}
		return cells, warning, false, err
	}
}

// Trimmed is the cells without empty ones beyond the columns.
func Trimmed(cells []string, columns int) []string {
	for len(cells) > columns && strings.TrimSpace(cells[len(cells)-1]) == "" {
		cells = cells[:len(cells)-1]
	}
	return cells
}

// giveBack refuses the first of the lines for its quote, and has the others read
// again.
func (s *Scanner) giveBack(lines [][]byte) *engage.Error {
	for _, line := range lines[1:] {
		s.offset -= int64(len(line))
	}
	s.back = append(lines[1:], s.back...)
	if s.unclosed++; s.unclosed > maxUnclosed {
		return engage.Errorf(engage.TooLarge, "rows", "more than %d have a quote that is not closed: is this a table?", maxUnclosed)
	}
	return engage.Errorf(engage.Invalid, "", "has a quote that is not closed")
}

func (s *Scanner) cells(raw []byte) ([]string, string, error) {
	cells, err := s.parse(raw, false)
	if !errors.Is(err, csv.ErrBareQuote) {
		return cells, "", err
	}
	cells, err = s.parse(raw, true)
	return cells, "a quote within a cell that does not begin with one was taken as it is", err
}

func (s *Scanner) parse(raw []byte, lazy bool) ([]string, error) {
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
func (s *Scanner) record() ([][]byte, error) {
	s.row++
	var lines [][]byte
	size, quoted := 0, false
	for {
		line, err := s.line()
		if err != nil && (!errors.Is(err, io.EOF) || len(lines) == 0) {
			return nil, err
		}
		if s.wasLong && len(lines) == 0 {
			return nil, engage.Errorf(engage.TooLarge, "", "has more than %d bytes", MaxRowBytes)
		}
		ended := err != nil
		if !ended {
			lines = append(lines, line)
			size += len(line)
			if quoted = s.endsQuoted(line, quoted); !quoted {
				return lines, nil
			}
		}
		if ended || s.wasLong || size > MaxRowBytes {
			return nil, s.giveBack(lines)
		}
	}
}

// endsQuoted reports whether a quoted cell goes on behind the line, as RFC 4180 has it:
// a quote opens at a cell's beginning only, and a doubled one is part of the text.
func (s *Scanner) endsQuoted(line []byte, quoted bool) bool {
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
func (s *Scanner) line() ([]byte, error) {
	s.wasLong = false
	if len(s.back) > 0 {
		line := s.back[0]
		s.back = s.back[1:]
		s.offset += int64(len(line))
		return line, nil
	}
	var out []byte
	for {
		part, err := s.in.ReadSlice('\n')
		s.offset += int64(len(part))
		if len(out)+len(part) > MaxRowBytes {
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

// Header reads the columns of a table, trimmed, and finds the separator: the comma,
// semicolon, tab or bar that the header has most of. An error is an *engage.Error of the
// header, or that of in.
func (s *Scanner) Header() ([]string, error) {
	s.comma = ','
	peeked, err := s.in.Peek(s.in.Size())
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	first, _, _ := bytes.Cut(bytes.TrimLeft(peeked, "\r\n"), []byte("\n"))
	most := -1
	for _, c := range []byte(",;\t|") {
		if n := bytes.Count(first, []byte{c}); n > most {
			s.comma, most = c, n
		}
	}
	cells, _, _, err := s.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, engage.Errorf(engage.Invalid, "", "is empty")
	case err != nil:
		return nil, engage.At("header", err)
	case len(cells) > MaxColumns:
		return nil, engage.Errorf(engage.TooLarge, "header", "at most %d columns, got %d", MaxColumns, len(cells))
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
