package traces

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/footfall-engage/footfall/geo"
)

// jsonRow is a line of ndjson, with the names that other recorders use.
type jsonRow struct {
	TS        json.RawMessage `json:"ts"`
	At        json.RawMessage `json:"at"`
	Time      json.RawMessage `json:"time"`
	Timestamp json.RawMessage `json:"timestamp"`

	Lat       *float64 `json:"lat"`
	Latitude  *float64 `json:"latitude"`
	Lng       *float64 `json:"lng"`
	Lon       *float64 `json:"lon"`
	Longitude *float64 `json:"longitude"`
	Acc       *float64 `json:"acc"`
	Accuracy  *float64 `json:"accuracy"`
	AccuracyM *float64 `json:"accuracy_m"`

	Mocked  bool   `json:"mocked"`
	Device  string `json:"device"`
	Install string `json:"install"`

	// Of evidence that is no fix.
	Source geo.Source `json:"source"`
	Fence  string     `json:"fence"`
	Inside *bool      `json:"inside"`
}

func (s *sink) ndjson(b *bufio.Reader) error {
	l := lines{from: b}
	for {
		line, err := l.next()
		row := Row{Line: l.line}
		var u unit
		var refused *Refusal
		switch {
		case errors.Is(err, io.EOF):
			if s.report.Rows == 0 {
				return errNone
			}
			return nil
		case errors.Is(err, errTooLong):
			refused = tooLong()
		case err != nil:
			return err
		default:
			u, refused = readJSONRow(line, &row)
		}
		if err := s.take(&row, u, refused); err != nil {
			return err
		}
	}
}

func readJSONRow(line []byte, row *Row) (unit, *Refusal) {
	var in jsonRow
	if err := json.Unmarshal(line, &in); err != nil {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
			return "", refuse(codeOfField(e.Field), e.Field, "must be %s, is %s", kindWanted(e), e.Value)
		}
		return "", refuse(CodeSyntax, "", "must be a JSON object: %v", err)
	}
	var at string
	for _, raw := range []json.RawMessage{in.TS, in.At, in.Time, in.Timestamp} {
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		at = string(raw)
		if raw[0] == '"' {
			_ = json.Unmarshal(raw, &at) // it is a string: it was read before
		}
		break
	}
	var u unit
	var refused *Refusal
	if row.At, u, refused = parseTime(at); refused != nil {
		return u, refused
	}
	row.Device, row.Mocked = cmp.Or(in.Device, in.Install), in.Mocked
	row.Source = cmp.Or(in.Source, geo.ByFix)
	lat, lng := cmp.Or(in.Lat, in.Latitude), cmp.Or(in.Lng, in.Lon, in.Longitude)
	switch row.Source {
	case geo.ByFix:
		if lat == nil {
			return u, refuse(CodePosition, "lat", "is missing")
		}
		if lng == nil {
			return u, refuse(CodePosition, "lng", "is missing")
		}
	case geo.ByRegion, geo.ByBeacon:
		if in.Fence == "" {
			return u, refuse(CodeValue, "fence", "is missing: which one does the %s speak of?", row.Source)
		}
		if in.Inside == nil {
			return u, refuse(CodeValue, "inside", "is missing: true or false")
		}
		row.Fence, row.Inside = in.Fence, *in.Inside
	default:
		return u, refuse(CodeValue, "source", "must be fix, os_region or beacon, is %.40q", string(row.Source))
	}
	if lat != nil && lng != nil {
		if refused := row.setPosition(*lat, *lng); refused != nil {
			return u, refused
		}
	}
	if acc := cmp.Or(in.Acc, in.Accuracy, in.AccuracyM); acc != nil {
		return u, row.setAccuracy(*acc)
	}
	return u, nil
}

func codeOfField(field string) string {
	switch strings.ToLower(field) {
	case "lat", "latitude", "lng", "lon", "longitude":
		return CodePosition
	case "acc", "accuracy", "accuracy_m":
		return CodeAccuracy
	}
	return CodeValue
}

// kindWanted is what JSON calls the type that a field must have.
func kindWanted(e *json.UnmarshalTypeError) string {
	switch e.Type.Kind().String() {
	case "bool":
		return "true or false"
	case "string":
		return "a string"
	}
	return "a number"
}
