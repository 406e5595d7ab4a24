package situate_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

func TestEnterAndExitFromFixes(t *testing.T) {
	p := newPhone(t, allConsents...)
	for i, step := range []struct {
		eastM, accuracyM float64
		want             string
	}{
		{1000, 10, ""},
		{250, 10, "enter cafe-near"},
		{90, 10, "enter cafe-in"},
		{0, 2000, ""},             // says nothing
		{130, 30, ""},             // its circle still touches the geofence
		{130, 15, "exit cafe-in"}, // 30 m > 1.5 × 15 m
		{95, 500, ""},             // too coarse to enter
		{50, 20, "enter cafe-in"}, // the same visit
		{600, 20, "exit cafe-in, exit cafe-near"},
	} {
		p.item(time.Duration(i+1)*time.Minute, fix(east(step.eastM), step.accuracyM))
		ts := p.triggers()
		if got := short(ts); got != step.want {
			t.Fatalf("step %d: %q, want %q", i, got, step.want)
		}
		for _, tr := range ts {
			if tr.Evidence != "fix" || math.Abs(tr.DistanceM-step.eastM) > 2 || tr.AccuracyM != step.accuracyM ||
				tr.Place != "cafe" || tr.Install != install || !tr.OccurredAt.Equal(t0.Add(time.Duration(i+1)*time.Minute)) {
				t.Errorf("step %d: saw %+v", i, tr)
			}
		}
	}
	if len(p.install().Visits) != 0 {
		t.Error("the visit is still open")
	}
}

func TestTheOSAndFixesAreOneVisitWithOneEnter(t *testing.T) {
	p := newPhone(t, allConsents...)
	p.item(1*sec, region("cafe-in", enter))
	first := p.wantTriggers("enter cafe-in")[0]
	if first.Evidence != "os_region" || first.DistanceM != 0 {
		t.Errorf("saw %+v", first)
	}
	p.item(2*sec, region("cafe-in", enter))
	p.item(3*sec, region("cafe-in", dwell))
	p.wantTriggers("")
	p.item(4*sec, fix(shop, 10))
	near := p.wantTriggers("enter cafe-near")[0]
	p.item(5*sec, region("cafe-in", exit))
	out := p.wantTriggers("exit cafe-in")[0]
	p.item(6*sec, fix(east(200), 10))
	p.wantTriggers("")
	p.item(7*sec, region("cafe-near", exit))
	last := p.wantTriggers("exit cafe-near")[0]
	want := engage.VisitID(ws, install, "cafe", 4) // after three consents
	for _, tr := range []engage.Trigger{first, near, out, last} {
		if tr.Occasion != want {
			t.Errorf("%s %s has occasion %s, want that of the first evidence, %s", tr.Transition, tr.Fence, tr.Occasion, want)
		}
	}
	p.item(8*sec, region("cafe-in", dwell))
	if again := p.wantTriggers("enter cafe-in")[0]; again.Occasion == want {
		t.Error("coming back did not mint a new visit")
	}
	p.item(9*sec, region("gone", enter))
	p.item(9*sec, region("cafe-in", sdkpb.RegionEvent_TRANSITION_UNSPECIFIED))
	p.wantTriggers("")
}

func TestTheCircleAroundAnOutlineIsNotTheOutline(t *testing.T) {
	// A hall of 400 by 40 m: phones watch a circle of 200 m around it.
	hall, err := geo.NewPolygon([][][]geo.Point{{{
		{Lat: shop.Lat - 0.00018, Lng: east(-200).Lng},
		{Lat: shop.Lat - 0.00018, Lng: east(200).Lng},
		{Lat: shop.Lat + 0.00018, Lng: east(200).Lng},
		{Lat: shop.Lat + 0.00018, Lng: east(-200).Lng},
		{Lat: shop.Lat - 0.00018, Lng: east(-200).Lng},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	north := geo.Point{Lat: shop.Lat + 0.0012, Lng: shop.Lng} // 130 m, within the circle
	for name, c := range map[string]struct {
		at     *geo.Point
		counts bool
	}{
		"without a fix":                    {nil, false},
		"with a fix in the street":         {&north, false},
		"with a fix within it, by the way": {&shop, true},
	} {
		p := newPhone(t, allConsents...)
		place := cafe(shop)
		place.Geofences = []engage.Geofence{{ID: "hall", Ring: engage.Inside, Shape: hall}}
		p.Adopt(config(t, place))
		it := region("hall", enter)
		if c.at != nil {
			it.RegionEvent.Location = fix(*c.at, 10).Location
		}
		p.item(sec, it)
		if !c.counts {
			p.wantTriggers("")
			if p.install().Doubted != 1 {
				t.Errorf("%s: it was not counted as doubted", name)
			}
			continue
		}
		p.wantTriggers("enter hall")
		p.item(2*sec, region("hall", exit)) // out of the circle is out of the hall
		p.wantTriggers("exit hall")
	}
}

func TestTheOSsWordWinsOverItsOwnFixUpToAGrace(t *testing.T) {
	at := func(id string, tr sdkpb.RegionEvent_Transition, eastM, accuracyM float64) *sdkpb.Item {
		it := region(id, tr)
		it.RegionEvent.Location = fix(east(eastM), accuracyM).Location
		return it
	}
	for _, c := range []struct {
		name             string
		eastM, accuracyM float64 // the border is 100 m east
		counts           bool
	}{
		{"inside", 20, 10, true},
		{"outside, and exact, within the grace", 195, 10, true},
		{"beyond the grace", 206, 10, false},
		{"beyond the grace, no accuracy given", 206, 0, false},
		{"far, within what its accuracy allows", 390, 200, true},
		{"farther than its accuracy allows", 420, 200, false},
		{"too coarse to say anything", 4000, 2500, true},
		{"in another town", 50_000, 30, false},
	} {
		for _, tr := range []sdkpb.RegionEvent_Transition{enter, dwell} {
			p := newPhone(t, allConsents...)
			p.item(sec, at("cafe-in", tr, c.eastM, c.accuracyM))
			if !c.counts {
				p.wantTriggers("")
				if in := p.install(); len(in.Visits) != 0 || in.Doubted != 1 {
					t.Errorf("%s: visits %v, doubted %d", c.name, in.Visits, in.Doubted)
				}
				continue
			}
			got := p.wantTriggers("enter cafe-in")[0]
			if got.Evidence != "os_region" || math.Abs(got.DistanceM-c.eastM) > 2+c.eastM/100 || p.install().Doubted != 0 {
				t.Errorf("%s: saw %+v", c.name, got)
			}
		}
	}
	// An exit needs no fix that agrees, and without the consent to precise ones a fix
	// denies nothing.
	p := newPhone(t, allConsents...)
	p.item(1*sec, region("cafe-in", enter))
	p.item(2*sec, at("cafe-in", exit, 0, 10))
	p.wantTriggers("enter cafe-in, exit cafe-in")
	p = newPhone(t, sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND)
	p.item(sec, at("cafe-in", enter, 9000, 10))
	p.wantTriggers("enter cafe-in")
}

func TestLateEvidenceChangesNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		now  []func(p *phone) // in the order of arrival
		want string           // what is told after the first
		in   bool             // in the end
		fix  bool             // the newer evidence is a fix
	}{
		{"a fix of before the visit ended does not begin another", []func(*phone){
			func(p *phone) { p.item(10*sec, fix(shop, 10)); p.item(100*sec, fix(east(1000), 10)) },
			func(p *phone) { p.item(50*sec, fix(shop, 10)) },
		}, "", false, true},
		{"nor does it when the OS told the exit", []func(*phone){
			func(p *phone) {
				p.item(10*sec, region("cafe-in", enter))
				p.item(100*sec, region("cafe-in", exit))
			},
			func(p *phone) { p.item(50*sec, fix(shop, 10)) },
		}, "", false, false},
		{"a fix of before the visit does not end it", []func(*phone){
			func(p *phone) { p.item(100*sec, fix(shop, 10)) },
			func(p *phone) { p.item(50*sec, fix(east(1000), 10)) },
		}, "", true, true},
		{"nor one within it, while a newer one is inside", []func(*phone){
			func(p *phone) { p.item(10*sec, fix(shop, 10)); p.item(100*sec, fix(shop, 10)) },
			func(p *phone) { p.item(50*sec, fix(east(1000), 10)) },
		}, "", true, true},
		{"an enter that the OS told late, when a newer fix is elsewhere", []func(*phone){
			func(p *phone) { p.item(100*sec, fix(east(3000), 10)) },
			func(p *phone) { p.item(50*sec, region("cafe-in", enter)) },
		}, "", false, true},
		{"an exit that the OS told late, when a newer fix is inside", []func(*phone){
			func(p *phone) { p.item(10*sec, fix(shop, 10)); p.item(100*sec, fix(shop, 10)) },
			func(p *phone) { p.item(50*sec, region("cafe-in", exit)) },
		}, "", true, true},
		{"but a newer fix that says nothing leaves it to the OS", []func(*phone){
			func(p *phone) { p.item(100*sec, fix(east(20), 3000)) },
			func(p *phone) { p.item(50*sec, region("cafe-in", enter)) },
		}, "enter cafe-in", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPhone(t, allConsents...)
			c.now[0](p)
			p.Take()
			c.now[1](p)
			p.wantTriggers(c.want)
			if in := len(p.install().Visits) > 0; in != c.in {
				t.Errorf("in a visit: %v, want %v", in, c.in)
			}
			if f := p.install().Fix; c.fix && !f.At.Equal(t0.Add(100*sec)) {
				t.Errorf("the newest fix is of %v", f.At)
			}
		})
	}
}

// Shuffled equals sorted as far as the package promises it: where every fix tells
// inside from outside.
func TestShuffledEqualsSorted(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3))
		var es []engage.Entry
		for i := range uint64(25) {
			at := []geo.Point{shop, east(10), east(1000), east(-2000)}[r.IntN(4)]
			es = append(es, entry(4+i, time.Duration(i)*sec, fix(at, 10)))
		}
		sorted, shuffled := newPhone(t, allConsents...), newPhone(t, allConsents...)
		sorted.apply(es...)
		r.Shuffle(len(es), func(i, j int) { es[i], es[j] = es[j], es[i] })
		shuffled.apply(es...)
		a, b := sorted.install(), shuffled.install()
		if *a.Fix != *b.Fix || !slices.Equal(a.Accepted, b.Accepted) {
			t.Fatalf("seed %d: fix %v and %v, accepted %v and %v", seed, a.Fix, b.Fix, a.Accepted, b.Accepted)
		}
		if len(a.Visits) != len(b.Visits) || len(a.Visits) == 1 && !slices.Equal(a.Visits["cafe"].Fences, b.Visits["cafe"].Fences) {
			t.Fatalf("seed %d: visits %+v sorted, %+v shuffled", seed, a.Visits["cafe"], b.Visits["cafe"])
		}
		// Enters and exits of a geofence alternate, whatever the order.
		last := map[string]engage.Transition{}
		for _, tr := range shuffled.triggers() {
			if was := last[tr.Fence]; was == tr.Transition || was == "" && tr.Transition == engage.Exit {
				t.Fatalf("seed %d: %s of %s after %q", seed, tr.Transition, tr.Fence, was)
			}
			last[tr.Fence] = tr.Transition
		}
	}
}

func TestPlacesThatChangeDuringAVisit(t *testing.T) {
	inside := func(t *testing.T) *phone {
		t.Helper()
		p := newPhone(t, allConsents...)
		p.item(sec, fix(shop, 10))
		p.wantTriggers("enter cafe-near, enter cafe-in")
		return p
	}
	t.Run("moved away: left by the next fix", func(t *testing.T) {
		p := inside(t)
		p.Adopt(config(t, cafe(east(5000))))
		p.item(2*sec, fix(shop, 10))
		p.wantTriggers("exit cafe-in, exit cafe-near")
	})
	t.Run("removed: the visit ends and nothing is told", func(t *testing.T) {
		p := inside(t)
		other := cafe(east(9000))
		other.ID, other.Geofences = "other", []engage.Geofence{{ID: "other", Ring: engage.Inside, Shape: geo.Circle{Around: east(9000), RadiusM: 50}}}
		p.Adopt(config(t, other))
		p.item(2*sec, fix(shop, 10))
		p.wantTriggers("")
		if n := len(p.install().Visits); n != 0 {
			t.Errorf("%d visits open", n)
		}
	})
	t.Run("all places removed: the visit ends too", func(t *testing.T) {
		p := inside(t)
		p.Adopt(config(t))
		p.item(2*sec, fix(shop, 10))
		p.item(3*sec, region("cafe-in", exit))
		p.wantTriggers("")
		if n := len(p.install().Visits); n != 0 {
			t.Errorf("%d visits open", n)
		}
	})
	t.Run("one geofence removed: the visit goes on in the other", func(t *testing.T) {
		p := inside(t)
		c := cafe(shop)
		c.Geofences = c.Geofences[1:]
		p.Adopt(config(t, c))
		p.item(2*sec, fix(shop, 10))
		p.wantTriggers("")
		p.item(3*sec, fix(east(1000), 10))
		p.wantTriggers("exit cafe-near")
	})
	t.Run("a geofence id that another place took over ends the old visit", func(t *testing.T) {
		p := inside(t)
		c := cafe(shop)
		c.ID = "bar"
		p.Adopt(config(t, c))
		p.item(2*sec, fix(shop, 10))
		p.wantTriggers("enter cafe-near, enter cafe-in")
		if v := p.install().Visits; len(v) != 1 || v["bar"] == nil {
			t.Errorf("visits %v", v)
		}
	})
	t.Run("another workspace's places are not there", func(t *testing.T) {
		p := newPhone(t, allConsents...)
		c := cafe(shop)
		c.Workspace = "rival"
		p.Adopt(config(t, c))
		p.item(sec, fix(shop, 10))
		p.item(2*sec, region("cafe-in", enter))
		p.wantTriggers("")
	})
}
