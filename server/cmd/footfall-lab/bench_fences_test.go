package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/geo"
)

func TestBenchFencesMeasuresEverySizeAndPhoneDay(t *testing.T) {
	folder := t.TempDir()
	day := strings.Repeat(`{"lat":52.5,"lon":13.4,"acc":5}`+"\n", 30) + `{"lat":52.501,"lon":13.401}`
	if err := os.WriteFile(filepath.Join(folder, "made.locations.ndjson"), []byte(day), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	args := []string{"bench", "fences", "--json", "--sizes", "300,600", "--devices", "40", "--steps", "4", "--changes", "60", "--polygons", "200", "--traces", folder}
	if code := run(t.Context(), args, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	var got fencesReport
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Sizes) != 2 || got.Sizes[0].Fences != 300 || got.Sizes[1].Fences != 600 {
		t.Fatalf("sizes %+v", got.Sizes)
	}
	for _, s := range got.Sizes {
		if s.BytesPerFence <= 0 || s.BuildS <= 0 || s.ChangeP99US < s.ChangeP50US || s.ChangeP50US <= 0 {
			t.Errorf("not measured: %+v", s)
		}
	}
	if p := got.Polygons; p == nil || p.Fences != 200 || p.Vertices < 200*10 || p.MovingNS <= 0 || p.ContainingNS <= 0 || p.BytesPerFence <= 0 {
		t.Errorf("polygons %+v", p)
	}
	if len(got.PhoneDays) != 1 || got.PhoneDays[0].Name != "made" || got.PhoneDays[0].Fixes != 31 || got.PhoneDays[0].Fences != 600 {
		t.Errorf("phone-days %+v", got.PhoneDays)
	}
}

func TestBenchFencesRefusesWhatItCannotMeasure(t *testing.T) {
	empty, bad := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(bad, "a.locations.ndjson"), []byte(`{"lat":1,"lon":2}`+"\n"+`{"lat":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--sizes", "0"}, exitUsage, "--sizes"},
		{[]string{"--steps", "1"}, exitUsage, "--steps"},
		{[]string{"--polygons", "-1"}, exitUsage, "--polygons"},
		{[]string{"--traces", empty}, exitFailed, "no *.locations.ndjson"},
		{[]string{"--traces", bad}, exitFailed, "a.locations.ndjson:2: must be an object with lat and lon"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"bench", "fences"}, c.args...), &out, &errs); code != c.code || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%v: exit %d, %s", c.args, code, errs.String())
		}
	}
}

// The peer finds what our index finds.
func TestBenchFencesComparesLikeWithLike(t *testing.T) {
	w := newFenceWorld(5000, 3, fencesFlags{devices: 200, steps: 3})
	n, total := 0, 0
	ps := w.walk[2]
	hold := make([]int, len(ps))
	w.each(func(_ int, c treeCircle) {
		n++
		for i, p := range ps {
			if haversineM(p, c.around) <= c.radiusM {
				hold[i]++
				total++
			}
		}
	})
	tree := w.tree()
	for i, p := range ps {
		if got := holding(tree, p); got != hold[i] {
			t.Errorf("%d circles hold device %d, want %d", got, i, hold[i])
		}
	}
	if n != 5000 || total == 0 {
		t.Errorf("%d circles, %d hits", n, total)
	}
}

func TestBenchFencesComparesPolygonsWithTheirLike(t *testing.T) {
	w := newFenceWorld(400, 3, fencesFlags{devices: 500, steps: 3})
	fences, err := w.polygons()
	if err != nil {
		t.Fatal(err)
	}
	index, err := geo.NewIndex(fences)
	if err != nil {
		t.Fatal(err)
	}
	tree := treeOf(fences)
	total := 0
	for _, p := range w.walk[2] {
		n := 0
		for _, f := range fences {
			if f.Shape.Contains(p) {
				n++
			}
		}
		total += n
		if got, ours := inPolygons(tree, p), len(index.At(p, nil)); got != n || ours != n {
			t.Errorf("the tree has %d polygons, the index %d, want %d", got, ours, n)
		}
	}
	if total < 50 {
		t.Errorf("%d hits test little", total)
	}
}
