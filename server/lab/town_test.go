package lab

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

func town(t *testing.T, o TownOptions) *Town {
	t.Helper()
	town, err := NewTown(o)
	if err != nil {
		t.Fatal(err)
	}
	return town
}

func TestTheSameSeedGivesTheSameTown(t *testing.T) {
	a, b := town(t, TownOptions{Seed: 7}), town(t, TownOptions{Seed: 7})
	if !reflect.DeepEqual(a, b) {
		t.Error("two towns of one seed differ")
	}
	c := town(t, TownOptions{Seed: 8})
	if reflect.DeepEqual(a.Shops, c.Shops) || reflect.DeepEqual(a.People, c.People) || reflect.DeepEqual(a.Streets, c.Streets) {
		t.Error("towns of two seeds are alike")
	}
	if got := [3]int{len(a.Shops), len(a.People), len(a.Streets)}; got != [3]int{DefaultShops, DefaultPeople, 24} {
		t.Errorf("shops, people, streets: %v", got)
	}
}

func TestMorePeopleChangeNeitherStreetsNorShops(t *testing.T) {
	a, b := town(t, TownOptions{Seed: 7, People: 10}), town(t, TownOptions{Seed: 7, People: 1000})
	if !reflect.DeepEqual(a.Streets, b.Streets) || !reflect.DeepEqual(a.Shops, b.Shops) {
		t.Error("streets or shops depend on the people")
	}
}

func TestShopsStandOnNamedStreetsWithBothFences(t *testing.T) {
	for _, o := range []TownOptions{
		{Seed: 1},
		{Seed: 2, Shops: 300, People: 1},
		{Seed: 3, Shops: 1, People: 1, Center: geo.Point{Lat: -17.8, Lng: 179.9999}},
		{Seed: 4, Shops: 40, People: 1, Center: geo.Point{Lat: 78.2, Lng: 15.6}},
	} {
		tn := town(t, o)
		ids, names := map[string]bool{}, map[string]bool{}
		for _, s := range tn.Streets {
			if s.Name == "" || names[s.Name] {
				t.Errorf("street name %q is empty or stands twice", s.Name)
			}
			names[s.Name] = true
		}
		for i, s := range tn.Shops {
			if ids[s.ID] || !sdkproto.ValidInstallID("shop-"+s.ID) || len(s.NearFence()) > 100 {
				t.Errorf("id %q stands twice or cannot be one", s.ID)
			}
			ids[s.ID] = true
			if s.InsideM < 40 || s.InsideM > 60 || s.NearM != 300 || len(s.Tags) == 0 || s.Name == "" || s.Address == "" {
				t.Errorf("shop %+v", s)
			}
			if err := s.Position.Validate(); err != nil {
				t.Errorf("position of %s: %v", s.ID, err)
			}
			if d := tn.offStreet(s.Position); d > 0.5 {
				t.Errorf("%s stands %.1f m off its street", s.ID, d)
			}
			if o.Seed == 1 {
				for _, other := range tn.Shops[:i] {
					if d := geo.DistanceM(s.Position, other.Position); d < s.InsideM+other.InsideM {
						t.Errorf("the fences of %s and %s overlap: %.0f m apart", s.ID, other.ID, d)
					}
				}
			}
		}
		if want := max(o.Shops, 1); o.Shops > 0 && len(tn.Shops) != want {
			t.Errorf("%d shops, want %d", len(tn.Shops), want)
		}
	}
}

func TestThePlaneIsTrueToTheEarth(t *testing.T) {
	for _, center := range []geo.Point{{Lat: 52.37, Lng: 4.89}, {Lat: 0, Lng: 180}, {Lat: -45, Lng: 170}, {Lat: 79, Lng: -60}} {
		p := newPlane(center, 12)
		for _, v := range []vec{{0, 0}, {1000, 0}, {0, -1000}, {-700, 900}} {
			g := p.point(v)
			if err := g.Validate(); err != nil {
				t.Fatal(err)
			}
			if d := geo.DistanceM(center, g); math.Abs(d-v.length()) > 0.002*v.length() {
				t.Errorf("%v from %v: %.2f m, want %.2f", v, center, d, v.length())
			}
			if back := p.vec(g); back.distance(v) > 1e-3 {
				t.Errorf("%v comes back as %v", v, back)
			}
		}
	}
}

func TestATownHasAllKindsOfPeople(t *testing.T) {
	for _, n := range []int{60, 200, 1000} {
		tn := town(t, TownOptions{Seed: 5, People: n})
		share := func(is func(*Person) bool) float64 {
			k := 0
			for i := range tn.People {
				if is(&tn.People[i]) {
					k++
				}
			}
			return float64(k) / float64(n)
		}
		for _, tt := range []struct {
			what   string
			lo, hi float64
			is     func(*Person) bool
		}{
			{"agree to marketing", 0.73, 0.77, func(p *Person) bool { return p.Marketing == Yes }},
			{"refuse marketing", 0.1, 0.16, func(p *Person) bool { return p.Marketing == No }},
			{"never answered", 0.09, 0.15, func(p *Person) bool { return p.Marketing == Never }},
			{"android", 0.53, 0.57, func(p *Person) bool { return p.Platform == sdkpb.Platform_PLATFORM_ANDROID }},
			{"in hand", 0.38, 0.42, func(p *Person) bool { return p.Mode == InHand }},
			{"switch", 0.1, 0.2, func(p *Person) bool { return p.Mode == Switch }},
			{"JSON", 0.25, 0.35, func(p *Person) bool { return p.JSON }},
			{"like fashion", 0.47, 0.53, func(p *Person) bool { return slices.Contains(p.Likes, "fashion") }},
			{"dislike fashion", 0.1, 0.2, func(p *Person) bool { return slices.Contains(p.Dislikes, "fashion") }},
			{"dead token", 0.03, 0.07, func(p *Person) bool { return p.DeadToken }},
			{"location always", 0.7, 0.85, func(p *Person) bool { return p.Location == sdkpb.Permissions_LOCATION_ALWAYS }},
			{"reduced precision", 0.01, 0.06, func(p *Person) bool { return p.Precision == sdkpb.Permissions_PRECISION_REDUCED }},
			{"notifications denied", 0.1, 0.18, func(p *Person) bool {
				return p.Notifications == sdkpb.Permissions_NOTIFICATIONS_DENIED
			}},
			{"change their mind", 0.02, 0.08, func(p *Person) bool { return p.MindAfter > 0 }},
			{"spotty", 0.09, 0.15, func(p *Person) bool { return p.Spotty }},
			{"careless", 0.004, 0.06, func(p *Person) bool { return p.Careless }},
			{"signed in", 0.77, 0.83, func(p *Person) bool { return p.UserID != "" }},
		} {
			if got := share(tt.is); got < tt.lo || got > tt.hi {
				t.Errorf("of %d people %.3f %s, want %v to %v", n, got, tt.what, tt.lo, tt.hi)
			}
		}
		for _, p := range tn.People {
			if p.Platform == sdkpb.Platform_PLATFORM_ANDROID && p.Notifications == sdkpb.Permissions_NOTIFICATIONS_PROVISIONAL {
				t.Error("provisional notifications exist on iOS only")
			}
		}
	}
}

func TestATownThatCannotBeIsRefused(t *testing.T) {
	for _, tt := range []struct {
		field string
		o     TownOptions
	}{
		{"people", TownOptions{People: -1}},
		{"people", TownOptions{People: MaxPeople + 1}},
		{"shops", TownOptions{Shops: -1}},
		{"shops", TownOptions{Shops: MaxShops + 1}},
		{"center", TownOptions{Center: geo.Point{Lat: 91}}},
		{"center", TownOptions{Center: geo.Point{Lat: math.NaN()}}},
		{"center.lat", TownOptions{Center: geo.Point{Lat: 81}}},
	} {
		_, err := NewTown(tt.o)
		if e, ok := errors.AsType[*Error](err); !ok || e.Field != tt.field {
			t.Errorf("%+v: %v, want a fault in %s", tt.o, err, tt.field)
		}
	}
}

// offStreet is the distance to the nearest street, metres.
func (t *Town) offStreet(p geo.Point) float64 {
	v := t.plane.vec(p)
	best := math.Inf(1)
	for _, x := range t.xs {
		best = min(best, math.Abs(v.x-x))
	}
	for _, y := range t.ys {
		best = min(best, math.Abs(v.y-y))
	}
	return best
}

func TestPeopleWalkAlongStreetsAndVisitShops(t *testing.T) {
	tn := town(t, TownOptions{Seed: 11, People: 25})
	visits, homes := 0, 0
	for i := range tn.People {
		p := &tn.People[i]
		w := tn.Walk(p)
		var before Where
		for s := range 3600 {
			at := w.At(time.Duration(s) * time.Second)
			off := tn.offStreet(at.Position)
			switch at.Activity {
			case Walking:
				if off > 0.05 {
					t.Fatalf("%s walks %.2f m beside the street", p.ID, off)
				}
			case InShop:
				if d := geo.DistanceM(at.Position, at.Shop.Position); d > 10.1 || d > at.Shop.InsideM {
					t.Fatalf("%s is in %s, %.1f m from its door", p.ID, at.Shop.ID, d)
				}
			case AtHome:
				if d := geo.DistanceM(at.Position, p.Home); d > 8.1 {
					t.Fatalf("%s is at home, %.1f m from it", p.ID, d)
				}
			}
			if (at.Shop != nil) != (at.Activity == InShop) {
				t.Fatalf("%s: %s and shop %v", p.ID, at.Activity, at.Shop)
			}
			if s > 0 {
				if d := geo.DistanceM(before.Position, at.Position); d > 1.4*1.16*1.003 {
					t.Fatalf("%s goes %.2f m in a second", p.ID, d)
				}
				if at.Activity == InShop && before.Activity != InShop {
					visits++
				}
				if at.Activity == AtHome && before.Activity != AtHome {
					homes++
				}
			}
			before = at
		}
	}
	if visits < 25 || homes < 3 {
		t.Errorf("%d visits and %d home-comings of 25 people in an hour", visits, homes)
	}
}

func TestAWalkIsTheSameHoweverDenselyItIsAsked(t *testing.T) {
	tn := town(t, TownOptions{Seed: 3, People: 20})
	for i := range tn.People {
		dense, sparse := tn.Walk(&tn.People[i]), tn.Walk(&tn.People[i])
		for s := range 3600 {
			d := dense.At(time.Duration(s) * time.Second)
			if s%97 == 0 {
				if got := sparse.At(time.Duration(s) * time.Second); !reflect.DeepEqual(got, d) {
					t.Fatalf("person %d at %d s: %+v, densely %+v", i, s, got, d)
				}
			}
		}
	}
}

func TestFixesAreAsWrongAsTheySay(t *testing.T) {
	tn := town(t, TownOptions{Seed: 3, People: 1})
	p := &tn.People[0]
	for _, tt := range []struct {
		where     Where
		precision sdkpb.Permissions_Precision
		lo, hi    float64
	}{
		{Where{Position: p.Home, Activity: Walking}, sdkpb.Permissions_PRECISION_PRECISE, 5, 30},
		{Where{Position: p.Home, Activity: InShop}, sdkpb.Permissions_PRECISION_PRECISE, 15, 60},
		{Where{Position: p.Home, Activity: Walking}, sdkpb.Permissions_PRECISION_REDUCED, 2000, 5000},
	} {
		r := tn.receiver(p)
		within := 0
		const n = 5000
		for range n {
			l := r.fix(tt.where, tt.precision)
			if l.AccuracyM < tt.lo || l.AccuracyM > tt.hi {
				t.Fatalf("accuracy %v, want %v to %v", l.AccuracyM, tt.lo, tt.hi)
			}
			if geo.DistanceM(p.Home, geo.Point{Lat: l.Lat, Lng: l.Lng}) <= l.AccuracyM {
				within++
			}
		}
		if share := float64(within) / n; share < 0.64 || share > 0.72 {
			t.Errorf("%.3f of the fixes of %s are within their accuracy, want 0.68", share, tt.where.Activity)
		}
	}
}
