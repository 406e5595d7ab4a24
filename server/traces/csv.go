package traces

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/geo"
)

// The columns of a CSV, by the names that a header may give them.
var csvColumns = map[string]string{
	"ts": "ts", "time": "ts", "timestamp": "ts", "at": "ts",
	"lat": "lat", "latitude": "lat",
	"lng": "lng", "lon": "lng", "long": "lng", "longitude": "lng",
	"accuracy": "accuracy", "acc": "accuracy", "accuracy_m": "accuracy", "horizontal_accuracy": "accuracy",
	"mocked": "mocked", "mock": "mocked", "is_mocked": "mocked",
	"device": "device", "device_id": "device", "install": "device", "install_id": "device",
}

// csvHeader is where the columns stand; -1: it has none.
type csvHeader struct {
	delimiter                              rune
	n                                      int
	ts, lat, lng, accuracy, mocked, device int
}

func readCSVHeader(line string) (*csvHeader, error) {
	h := &csvHeader{delimiter: ',', ts: -1, lat: -1, lng: -1, accuracy: -1, mocked: -1, device: -1}
	for _, d := range []rune{';', '\t'} {
		if strings.Count(line, string(d)) > strings.Count(line, string(h.delimiter)) {
			h.delimiter = d
		}
	}
	names, err := h.split(line)
	if err != nil {
		return nil, fmt.Errorf("line 1: the header: %w", err)
	}
	h.n = len(names)
	places := map[string]*int{"ts": &h.ts, "lat": &h.lat, "lng": &h.lng, "accuracy": &h.accuracy, "mocked": &h.mocked, "device": &h.device}
	for i, name := range names {
		at := places[csvColumns[strings.ToLower(strings.TrimSpace(name))]]
		if at == nil {
			continue
		}
		if *at >= 0 {
			return nil, fmt.Errorf("line 1: the header has two columns of one meaning, %q and %q", names[*at], name)
		}
		*at = i
	}
	for _, name := range []string{"ts", "lat", "lng"} {
		if *places[name] < 0 {
			return nil, fmt.Errorf("line 1 must be a header that names ts, lat and lng, and may name accuracy, mocked and device; it has no %s: %.200q", name, line)
		}
	}
	return h, nil
}

// split gives the fields of a line.
func (h *csvHeader) split(line string) ([]string, error) {
	if !strings.ContainsRune(line, '"') {
		return strings.Split(line, string(h.delimiter)), nil
	}
	r := csv.NewReader(strings.NewReader(line))
	r.Comma = h.delimiter
	fields, err := r.Read()
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, e.Err
	}
	return fields, err
}

// csv reads a row per line, after a header. A row never goes on in the next line, so
// that a lost quote costs one row.
func (s *sink) csv(b *bufio.Reader) error {
	l := lines{from: b}
	line, err := l.next()
	switch {
	case errors.Is(err, io.EOF):
		return errNone
	case errors.Is(err, errTooLong):
		return fmt.Errorf("line 1: the header must be at most %d bytes", MaxLine)
	case err != nil:
		return err
	}
	h, err := readCSVHeader(string(line))
	if err != nil {
		return err
	}
	if h.accuracy < 0 {
		s.report.note("there is no column accuracy: assumed_accuracy_m of each fence's rule counts")
	}
	for {
		line, err := l.next()
		row := Row{Line: l.line}
		var u unit
		var refused *Refusal
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errTooLong):
			refused = tooLong()
		case err != nil:
			return err
		default:
			u, refused = h.row(string(line), &row)
		}
		if err := s.take(&row, u, refused); err != nil {
			return err
		}
	}
}

func (h *csvHeader) row(line string, row *Row) (unit, *Refusal) {
	fields, err := h.split(line)
	if err != nil {
		return "", refuse(CodeSyntax, "", "%v", err)
	}
	if len(fields) > h.n && slices.ContainsFunc(fields[h.n:], func(f string) bool { return strings.TrimSpace(f) != "" }) {
		return "", refuse(CodeSyntax, "", "has %d fields, the header has %d", len(fields), h.n)
	}
	field := func(i int) string {
		if i < 0 || i >= len(fields) {
			return ""
		}
		return strings.TrimSpace(fields[i])
	}
	comma := h.delimiter != ','
	at := field(h.ts)
	if comma && strings.Count(at, ",") == 1 {
		at = strings.Replace(at, ",", ".", 1)
	}
	row.Source = geo.ByFix
	var u unit
	var refused *Refusal
	if row.At, u, refused = parseTime(at); refused != nil {
		return u, refused
	}
	lat, refused := parseNumber(CodePosition, "lat", field(h.lat), comma)
	if refused != nil {
		return u, refused
	}
	lng, refused := parseNumber(CodePosition, "lng", field(h.lng), comma)
	if refused != nil {
		return u, refused
	}
	if refused := row.setPosition(lat, lng); refused != nil {
		return u, refused
	}
	if text := field(h.accuracy); text != "" {
		acc, refused := parseNumber(CodeAccuracy, "accuracy", text, comma)
		if refused == nil {
			refused = row.setAccuracy(acc)
		}
		if refused != nil {
			return u, refused
		}
	}
	row.Device = field(h.device)
	row.Mocked, refused = parseFlag("mocked", field(h.mocked))
	return u, refused
}
