package geo

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

func TestGeometryAnswersAreGolden(t *testing.T) {
	in, err := os.ReadFile(filepath.Join("testdata", "geometry.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name     string
		Geometry json.RawMessage
		Radius   *float64
	}
	if err := json.Unmarshal(in, &cases); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, c := range cases {
		shape, err := ParseGeometry(c.Geometry, c.Radius)
		if err == nil {
			geometry, radius, err := EncodeGeometry(shape)
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			fmt.Fprintf(&out, "%s\n\t%s radius %v\n", c.Name, geometry, *radius)
			continue
		}
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatalf("%s: untyped error %v", c.Name, err)
		}
		mark := "refused"
		if e.Unsupported {
			mark = "unsupported"
		}
		fmt.Fprintf(&out, "%s\n\t%s: [%s] %v\n", c.Name, mark, e.Field, err)
	}
	golden := filepath.Join("testdata", "geometry.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestWhatIsNoJSONIsRefused(t *testing.T) {
	r := 50.0
	for in, want := range map[string]string{
		"":                                       "is missing",
		"  ":                                     "is missing",
		"{":                                      "is not JSON: unexpected end of JSON input, at byte 1",
		"nul":                                    "is not JSON: invalid character ' ' in literal null (expecting 'l'), at byte 3",
		`{"type":"Point","coordinates":[NaN,0]}`: "is not JSON: invalid character 'N' looking for beginning of value, at byte 32",
		`{"type":"Point","coordinates":[1,2]} more`: "is not JSON: invalid character 'm' after top-level value, at byte 38",
	} {
		_, err := ParseGeometry(json.RawMessage(in), &r)
		if e, ok := errors.AsType[*Error](err); !ok || e.Error() != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
	nan := math.NaN()
	if _, err := ParseGeometry(json.RawMessage(`{"type":"Point","coordinates":[1,2]}`), &nan); err == nil || err.Error() != "radius must be 10 to 100000 m, is NaN" {
		t.Errorf("a NaN radius: %v", err)
	}
}

// square is a Shape of another package.
type square struct{ Circle }

func TestEncodeRefusesWhatItCannotReadBack(t *testing.T) {
	if _, _, err := EncodeGeometry(Circle{Point{91, 0}, 50}); err == nil || err.Error() != "lat must be -90 to 90, is 91" {
		t.Errorf("latitude 91: %v", err)
	}
	for _, s := range []Shape{nil, square{}} {
		_, _, err := EncodeGeometry(s)
		if e, ok := errors.AsType[*Error](err); !ok || !e.Unsupported {
			t.Errorf("%T: %v", s, err)
		}
	}
}

func FuzzParseGeometry(f *testing.F) {
	for _, s := range []string{
		`{"type":"Point","coordinates":[13.405,52.52]}`,
		`{"type":"Point","coordinates":[13.405,52.52,7],"crs":{"properties":{"name":"x"}}}`,
		`{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]}`,
		`{"type":"Point","coordinates":[1e400,"0"]}`, `[[[[`, `null`, ``,
	} {
		f.Add([]byte(s), 50.0)
	}
	f.Fuzz(func(t *testing.T, geometry []byte, radius float64) {
		shape, err := ParseGeometry(geometry, &radius)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.Reason == "" {
				t.Fatalf("not a typed error with a reason: %v", err)
			}
			return
		}
		if err := shape.Validate(); err != nil {
			t.Fatalf("accepted an invalid shape: %v", err)
		}
		again, r, err := EncodeGeometry(shape)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseGeometry(again, r); err != nil || back != shape {
			t.Fatalf("%v reads back as %v, %v", shape, back, err)
		}
	})
}
