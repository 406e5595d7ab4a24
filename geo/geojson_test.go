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
			fmt.Fprintf(&out, "%s\n\t%s", c.Name, geometry)
			if radius != nil {
				fmt.Fprintf(&out, " radius %v", *radius)
			}
			for _, w := range Warnings(shape) {
				fmt.Fprintf(&out, "\n\twarning: %v", w)
			}
			fmt.Fprintln(&out)
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

// foreign is a Shape of another package.
type foreign struct{ Circle }

func TestEncodeRefusesWhatItCannotReadBack(t *testing.T) {
	if _, _, err := EncodeGeometry(Circle{Point{91, 0}, 50}); err == nil || err.Error() != "lat must be -90 to 90, is 91" {
		t.Errorf("latitude 91: %v", err)
	}
	for _, s := range []Shape{nil, foreign{}, OutwardRing{foreign{Circle{Point{1, 2}, 50}}, 300}} {
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
		`{"type":"MultiPolygon","coordinates":[[[[179,0],[180,0],[180,1],[179,0]]],[[[-180,0],[-179,0],[-180,1],[-180,0]]]]}`,
		`{"type":"MultiPolygon","coordinates":[],"h3_cells":["891f1d48177ffff","881f1d4817fffff"]}`,
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
		back, err := ParseGeometry(again, r)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if third, s, err := EncodeGeometry(back); err != nil || string(third) != string(again) || *s != *r {
			t.Fatalf("%s reads back as %s, %v", again, third, err)
		}
		if len(Warnings(back)) != 0 && !strings.Contains(Warnings(back)[0].Reason, "touches itself") {
			t.Fatalf("%s was put right, and yet: %v", again, Warnings(back))
		}
	})
}

func FuzzParseFeatures(f *testing.F) {
	for _, s := range []string{
		`{"type":"FeatureCollection","features":[{"type":"Feature","id":7,"properties":null,"geometry":{}},null,[]]}`,
		`{"type":"Feature","id":"a","properties":{},"geometry":{"type":"Point","coordinates":[1,2]},"bbox":[1,2,3]}`,
		`{"type":"Point"}`, `[`, `null`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		features, err := ParseFeatures(text)
		for _, feature := range features {
			if feature.Err == nil {
				continue
			}
			if e, ok := errors.AsType[*Error](feature.Err); !ok || e.Reason == "" {
				t.Fatalf("not a typed error with a reason: %v", feature.Err)
			}
		}
		if e, ok := errors.AsType[*Error](err); err != nil && (!ok || e.Reason == "") {
			t.Fatalf("not a typed error with a reason: %v", err)
		}
	})
}

func TestARingAroundACircleIsWrittenAsTheLargerCircle(t *testing.T) {
	c := Circle{Point{52.52, 13.4}, 50}
	geometry, radius, err := EncodeGeometry(OutwardRing{OutwardRing{c, 100}, 200})
	if err != nil || string(geometry) != `{"type":"Point","coordinates":[13.4,52.52]}` || *radius != 350 {
		t.Errorf("%s, %v, %v", geometry, *radius, err)
	}
	wide := OutwardRing{OutwardRing{c, MaxRadiusM - 50}, 1}
	if _, _, err := EncodeGeometry(wide); err == nil || err.Error() != "radius must be 10 to 100000 m, is 100001" {
		t.Errorf("wider than can be read: %v", err)
	}
}
