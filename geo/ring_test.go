package geo

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestAnOutwardRingIsAllWithinItsDistance(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 62))
	c := Point{Lat: 52.52, Lng: 13.405}
	mall := mustPolygon(t, [][]Point{star(r, c, 200, 12)})
	near := OutwardRing{mall, 300}
	in := 0
	for range 2000 {
		p := offset(c, 2*math.Pi*r.Float64(), 900*r.Float64())
		m := mall.MarginM(p)
		if near.Contains(p) != (m <= 300) || near.MarginM(p) != m-300 {
			t.Fatalf("%v, %v m from the mall: %v, %v", p, m, near.Contains(p), near.MarginM(p))
		}
		if near.Contains(p) && m > 0 {
			in++
		}
	}
	if in < 200 {
		t.Errorf("only %d points are near", in)
	}
}

func TestOutwardRingsThatCannotBeAreRefused(t *testing.T) {
	ok := Circle{Point{1, 2}, 50}
	for _, c := range []struct {
		ring OutwardRing
		want string
	}{
		{OutwardRing{ok, 300}, ""},
		{OutwardRing{nil, 300}, "is missing"},
		{OutwardRing{ok, 0}, "radius must be more than 0 and at most 100000 m, is 0"},
		{OutwardRing{ok, math.NaN()}, "radius must be more than 0 and at most 100000 m, is NaN"},
		{OutwardRing{ok, 100_001}, "radius must be more than 0 and at most 100000 m, is 100001"},
		{OutwardRing{Circle{Point{91, 2}, 50}, 300}, "lat must be -90 to 90, is 91"},
	} {
		if err := c.ring.Validate(); err == nil && c.want != "" || err != nil && err.Error() != c.want {
			t.Errorf("%v: %v, want %q", c.ring, err, c.want)
		}
	}
}
