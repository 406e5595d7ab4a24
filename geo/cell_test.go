package geo

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/uber/h3-go/v4"
)

func TestParentByBitsIsTheLibrarys(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var cells []Cell
	for range 500 {
		for res := range MaxResolution + 1 {
			c, err := CellOf(anywhere(r), res)
			if err != nil {
				t.Fatal(err)
			}
			cells = append(cells, c)
		}
	}
	for res := range MaxResolution + 1 {
		pentagons, err := h3.Pentagons(res)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pentagons {
			cells = append(cells, Cell(p))
		}
	}
	for _, c := range cells {
		if got, want := c.Resolution(), h3.Cell(c).Resolution(); got != want {
			t.Fatalf("%v: resolution %d, want %d", c, got, want)
		}
		for res := -1; res <= MaxResolution+1; res++ {
			want, err := h3.Cell(c).Parent(res)
			if err != nil {
				want = 0
			}
			if got := c.Parent(res); got != Cell(want) {
				t.Fatalf("parent of %v at %d: %v, want %v", c, res, got, Cell(want))
			}
		}
	}
}

func TestCellRefusesWhatTheLibraryWouldWrapAround(t *testing.T) {
	for _, c := range []struct {
		p    Point
		res  int
		want string
	}{
		{Point{91, 0}, 9, "lat must be -90 to 90, is 91"},
		{Point{0, 181}, 9, "lng must be -180 to 180, is 181"},
		{Point{0, 0}, 16, "resolution must be 0 to 15, is 16"},
		{Point{0, 0}, -1, "resolution must be 0 to 15, is -1"},
	} {
		cell, err := CellOf(c.p, c.res)
		if _, ok := errors.AsType[*Error](err); !ok || err.Error() != c.want || cell != 0 {
			t.Errorf("%v at %d: %v, %v, want %s", c.p, c.res, cell, err, c.want)
		}
	}
}

func TestCellTextRoundTrips(t *testing.T) {
	c, err := CellOf(Point{52.52, 13.405}, 9)
	if err != nil {
		t.Fatal(err)
	}
	type doc struct {
		Cell Cell `json:"cell"`
	}
	for _, want := range []Cell{c, 0} {
		b, err := json.Marshal(doc{want})
		if err != nil {
			t.Fatal(err)
		}
		var got doc
		if err := json.Unmarshal(b, &got); err != nil || got.Cell != want {
			t.Errorf("%s: %v, %v, want %v", b, got.Cell, err, want)
		}
	}
	if got, err := ParseCell("891F1D4894BFFFF"); err != nil || got.String() != "891f1d4894bffff" {
		t.Errorf("upper case: %v, %v", got, err)
	}
	if d := DistanceM(c.Center(), Point{52.52, 13.405}); d > 250 {
		t.Errorf("the centre is %v m away", d)
	}
	if err := Cell(7).Center().Validate(); err == nil {
		t.Error("an invalid cell has a centre")
	}
	for _, s := range []string{"", "x", "0", "-1", "+891f1d4894bffff", "0x891f1d4894bffff", "891f1d4894bfff", "ffffffffffffffff", "1891f1d4894bffff0"} {
		if _, err := ParseCell(s); err == nil {
			t.Errorf("%q is taken for a cell", s)
		}
	}
}

func FuzzParseCell(f *testing.F) {
	f.Add("891f1d4894bffff")
	f.Add("")
	f.Add("8001fffffffffff")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCell(s)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if err := c.Center().Validate(); err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		if again, err := ParseCell(c.String()); err != nil || again != c {
			t.Fatalf("%v read back as %v, %v", c, again, err)
		}
	})
}
