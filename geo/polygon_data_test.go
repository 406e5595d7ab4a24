package geo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var polygonData = filepath.Join("..", "..", "shared", "data", "polygons")

func readData(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{polygonData}, path...)...))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the shared polygons are not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// expected is what becomes of a GeoJSON file. Points and their like are given a
// radius of 50 m.
type expected struct {
	File   string   `json:"file"`
	Answer string   `json:"answer"` // accept, warn, refuse: the worst of its features'
	Said   []string `json:"said,omitempty"`
}

func answerTo(t *testing.T, file string, text []byte) expected {
	t.Helper()
	out := expected{File: file, Answer: "accept"}
	refuse := func(path string, err error) {
		if e, ok := errors.AsType[*Error](err); !ok || e.Reason == "" {
			t.Errorf("%s: not a typed error with a reason: %v", file, err)
		}
		out.Answer = "refuse"
		out.Said = append(out.Said, strings.TrimSpace(path+" "+err.Error()))
	}
	features, err := ParseFeatures(text)
	if err != nil {
		refuse("", err)
	}
	for i, f := range features {
		path := fmt.Sprintf("features[%d]:", i)
		if f.Err != nil {
			refuse(path, f.Err)
			continue
		}
		var radius *float64
		if strings.Contains(string(f.Geometry), `"Point"`) {
			radius = new(float64)
			*radius = 50
		}
		s, err := ParseGeometry(f.Geometry, radius)
		if err != nil {
			refuse(path, err)
			continue
		}
		for _, w := range Warnings(s) {
			if out.Answer == "accept" {
				out.Answer = "warn"
			}
			out.Said = append(out.Said, path+" "+w.String())
		}
	}
	return out
}

// The answers in testdata/expected.json were read and agreed with one by one;
// -update rewrites them.
func TestInvalidGeoJSONIsAcceptedWarnedOfOrRefusedAsListed(t *testing.T) {
	readData(t, "invalid-geojson", "valid", "valid_geometry.geojson") // or skip
	root := filepath.Join(polygonData, "invalid-geojson")
	var got []expected
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".geojson" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		got = append(got, answerTo(t, filepath.ToSlash(name), text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "expected.json")
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, append(text, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(text)+"\n" != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", text, want)
	}
	for _, e := range got {
		if strings.HasPrefix(e.File, "invalid_") && e.Answer != "refuse" && !strings.Contains(e.File, "cw.geojson") {
			t.Errorf("%s: %s", e.File, e.Answer)
		}
	}
}

func TestRealPolygonsLoad(t *testing.T) {
	for _, c := range []struct {
		path    []string
		fences  int
		refused []string
	}{
		{[]string{"cities", "amsterdam.geojson"}, 97, nil},
		{[]string{"cities", "san-francisco.geojson"}, 37, nil},
		{[]string{"venues", "osm_bengaluru_malls.geojson"}, 28, []string{ // and three points
			"features[28] radius is missing: a Point needs one, in metres",
			"features[29] radius is missing: a Point needs one, in metres",
			"features[30] radius is missing: a Point needs one, in metres",
		}},
		{[]string{"ne_110m_countries.geojson"}, 175, []string{ // Sudan and the USA are drawn so
			"features[139] coordinates[0] crosses itself, at [33.963392798, 9.464285029]",
			"features[168] coordinates[1][0] crosses itself, at [-140.986000001, 69.711999546]",
		}},
	} {
		features, err := ParseFeatures(readData(t, c.path...))
		if err != nil {
			t.Fatal(err)
		}
		var fences []Fence
		var refused []string
		vertices, warnings := 0, 0
		for i, f := range features {
			if f.Err != nil {
				t.Fatalf("%v: features[%d] %v", c.path, i, f.Err)
			}
			s, err := ParseGeometry(f.Geometry, nil)
			if err != nil {
				refused = append(refused, fmt.Sprintf("features[%d] %v", i, err))
				continue
			}
			warnings += len(Warnings(s))
			for _, c := range s.(*Polygon).region.rings {
				vertices += int(c.to - c.from)
			}
			fences = append(fences, Fence{fmt.Sprint(i), s})
		}
		t.Logf("%v: %d fences, %d vertices, %d warnings", c.path, len(fences), vertices, warnings)
		if len(fences) != c.fences || !slices.Equal(refused, c.refused) {
			t.Errorf("%v: %d fences, want %d; refused %q", c.path, len(fences), c.fences, refused)
		}
		ix, err := NewIndex(fences)
		if err != nil {
			t.Fatalf("%v: %v", c.path, err)
		}
		for _, f := range fences { // its own vertices are on its border, and so inside
			p := f.Shape.(*Polygon).region.at[0]
			for _, g := range fences {
				if got, want := g.Shape.Contains(p), containsExactly(slices.Concat(g.Shape.(*Polygon).Polygons()...), p); got != want {
					t.Fatalf("%v: %v contains %v: %v", c.path, g.ID, p, got)
				}
			}
			if got := ix.At(p, nil); !slices.Equal(got, bruteForce(fences, p, 0)) || !slices.ContainsFunc(got, func(h Hit) bool { return h.ID == f.ID }) {
				t.Fatalf("%v: %v is not found at its vertex %v", c.path, f.ID, p)
			}
		}
	}
}
