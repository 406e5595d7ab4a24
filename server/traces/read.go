package traces

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Format of a trace.
type Format string

// The formats.
const (
	GPX    Format = "gpx"
	CSV    Format = "csv"
	NDJSON Format = "ndjson"
)

// FormatOf is the format that a file's name says; empty where it says none.
func FormatOf(name string) Format {
	switch strings.ToLower(path.Ext(strings.ReplaceAll(name, `\`, "/"))) {
	case ".gpx":
		return GPX
	case ".csv", ".tsv":
		return CSV
	case ".ndjson", ".jsonl":
		return NDJSON
	}
	return ""
}

// MaxLine is the longest line, and the longest part of a GPX, in bytes.
const MaxLine = 64 << 10

// errNone says that there was nothing at all.
var errNone = errors.New("is empty")

// Read gives the rows of a trace, one after another; each must not keep the Row.
// What is no row is refused in the report. Errors: of reading, of each, and what
// makes the whole of no use, such as a header without a time.
func Read(r io.Reader, f Format, l Limits, report *Report, each func(*Row) error) error {
	b := bufio.NewReaderSize(r, MaxLine)
	start, err := b.Peek(3)
	if err != nil && len(start) == 0 {
		if errors.Is(err, io.EOF) {
			return errNone
		}
		return err
	}
	switch {
	case bytes.Equal(start, []byte("\xef\xbb\xbf")):
		_, _ = b.Discard(3) // it is in the buffer
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return errors.New("is UTF-16: save it as UTF-8")
	case bytes.HasPrefix(start, []byte("\x1f\x8b")):
		return errors.New("is compressed: unpack it first")
	}
	s := sink{limits: l, report: report, each: each, units: map[unit]bool{}}
	switch f {
	case GPX:
		return s.gpx(b)
	case CSV:
		return s.csv(b)
	case NDJSON:
		return s.ndjson(b)
	}
	return fmt.Errorf("format must be gpx, csv or ndjson, is %q", f)
}

// sink takes what a reader has found.
type sink struct {
	limits Limits
	report *Report
	each   func(*Row) error
	units  map[unit]bool
}

// take hands a row on, unless it is refused; the error is that of each.
func (s *sink) take(row *Row, u unit, refused *Refusal) error {
	s.report.Rows++
	if refused == nil {
		refused = s.limits.check(row.At)
	}
	if refused != nil {
		s.report.refuse(row.Line, refused)
		return nil
	}
	if !s.units[u] {
		s.units[u] = true
		s.report.note("times are %s", u)
	}
	return s.each(row)
}

// lines reads a line at a time; one that is too long is refused and skipped.
type lines struct {
	from *bufio.Reader // of a buffer of MaxLine
	line int           // number of the last one
}

var errTooLong = errors.New("too long")

// next is the next line that is not blank, without its end; valid until the next
// call. Errors: io.EOF, errTooLong, and of reading.
func (l *lines) next() ([]byte, error) {
	for {
		b, err := l.from.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			l.line++
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = l.from.ReadSlice('\n')
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			return nil, errTooLong
		}
		if len(b) > 0 {
			l.line++
		}
		if b = bytes.TrimSpace(b); len(b) > 0 && (err == nil || errors.Is(err, io.EOF)) {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func tooLong() *Refusal { return refuse(CodeTooLong, "", "must be at most %d bytes", MaxLine) }
