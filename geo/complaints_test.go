package geo_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// What users of other geofence engines complain of, by the number that the list of
// complaints gives it. Numbers 3 (a ceiling of 20 or 100 fences) and 4 (the nearest few
// that a phone watches go stale) are in slots_test.go:
// TestSlotCeilingMissesNoEnterAmongFiveThousandFences and
// TestStaleNearestSwapMissesNoEnterOnCoarseFixes.

// kinds of transitions, counted.
func kinds(ts []geo.Transition) map[geo.Kind]int {
	n := map[geo.Kind]int{}
	for _, t := range ts {
		n[t.Kind]++
	}
	return n
}

// Complaint 5: dwell on the server. Everyone rebuilds a debouncer against drive-bys and
// noise at the border; here it is the fence's dwell.
func TestComplaint05DwellOnTheServerNeedsNoDebouncer(t *testing.T) {
	t.Run("a drive-by does not dwell, nor does one stop at a red light", func(t *testing.T) {
		k := newWalk(t, cafe(t))
		s, east := 0.0, -600.0
		for ; east < 600; s, east = s+5, east+60 {
			k.fix(s, east, 8)
			if east == 0 {
				for range 12 { // a minute at the lights, in front of the door
					s += 5
					k.fix(s, east, 8)
				}
			}
		}
		if n := kinds(k.told); n[geo.Enter] != 1 || n[geo.Exit] != 2 || n[geo.Dwell] != 0 || n[geo.Stay] != 1 {
			t.Errorf("told %s", said(k.told))
		}
	})
	t.Run("half an hour inside is one dwell, whatever the noise", func(t *testing.T) {
		for seed := range uint64(50) {
			k := newWalk(t, cafe(t))
			n := noise{r: rand.New(rand.NewPCG(5, seed)), acc: 20, alike: 0.8}
			for s := 0.0; s <= 1800; s += 10 {
				east, _ := n.next()
				k.fix(s, 50+east, 20)
			}
			if got := kinds(k.told); got[geo.Dwell] != 1 || got[geo.Enter] != 1 || got[geo.Exit] != 0 {
				t.Fatalf("seed %d: told %s", seed, said(k.told))
			}
		}
	})
	t.Run("on the border there is no dwell without its time inside", func(t *testing.T) {
		dwells := 0
		for seed := range uint64(50) {
			k := newWalk(t, cafe(t))
			n := noise{r: rand.New(rand.NewPCG(6, seed)), acc: 25, alike: 0.8}
			for s := 0.0; s <= 3600; s += 10 {
				east, _ := n.next()
				k.fix(s, 100+east, 25)
			}
			since, dwelled := time.Time{}, false
			for _, tr := range k.told {
				switch {
				case tr.Fence != "in":
				case tr.Kind == geo.Enter:
					since, dwelled = tr.At, false
				case tr.Kind == geo.Dwell:
					dwells++
					if dwelled || tr.Since != since || tr.At.Sub(since) < 5*time.Minute {
						t.Fatalf("seed %d: told %s", seed, said(k.told))
					}
					dwelled = true
				}
			}
		}
		if dwells == 0 {
			t.Error("nobody ever dwelled: the test says nothing")
		}
	})
	t.Run("a gap invents none", func(t *testing.T) {
		k := newWalk(t, cafe(t))
		k.fix(0, 0, 8)
		k.fix(60, 0, 8)
		k.fix(4*3600, 0, 8)
		if n := kinds(k.told); n[geo.Enter] != 1 || n[geo.Dwell] != 0 {
			t.Errorf("told %s", said(k.told))
		}
	})
}

// Complaint 6: a false exit from poor accuracy, such as a fix of 17 km.
func TestComplaint06NoExitOnAFixThatCannotTell(t *testing.T) {
	inside := func(t *testing.T) *walk {
		k := newWalk(t, cafe(t))
		k.fix(0, 0, 8)
		k.fix(30, 0, 8)
		k.told = nil
		return k
	}
	k := inside(t)
	for s := 60.0; s < 3600; s += 30 { // one after another confirm nothing either
		k.fix(s, 16_000, 17_000)
	}
	k.fix(3600, 0, 8)
	if n := kinds(k.told); n[geo.Exit] != 0 || n[geo.Enter] != 0 {
		t.Errorf("told %s", said(k.told))
	}
	// Nor on any single fix whose circle is not clear of the fence, in the circle of
	// 92 %.
	r := rand.New(rand.NewPCG(6, 17))
	clear := 0
	for range 2000 {
		k := inside(t)
		acc := 5 * math.Exp(r.Float64()*8) // 5 m to 15 km
		margin := acc * 3 * r.Float64()
		k.fix(60, 100+margin, acc)
		left := slices.ContainsFunc(k.told, func(tr geo.Transition) bool { return tr.Kind == geo.Exit && tr.Fence == "in" })
		// The 10 m are Rule.FloorAccuracyM, the 1,000 m MaxAccuracyM; a metre is for
		// the plane in which the test lays its points.
		wants := acc <= 1000 && margin > 1.5*max(acc, 10)
		if left != wants && math.Abs(margin-1.5*max(acc, 10)) > 1+margin/500 {
			t.Fatalf("a fix of %.0f m, %.0f m outside: left %v", acc, margin, left)
		}
		if left {
			clear++
		}
	}
	if clear < 100 {
		t.Errorf("only %d exits: the test says little", clear)
	}
}

// Complaint 7: who passes through between two fixes is missed.
func TestComplaint07APassBetweenTwoFixesIsNotMissed(t *testing.T) {
	shop := newTown(t, plot{id: "shop", shape: geo.Circle{Around: mid, RadiusM: 50}})
	r := rand.New(rand.NewPCG(7, 7))
	passes := 0
	for range 3000 {
		// A straight way of 400 to 1,200 m, 13 to 20 m/s, past the shop at an offset.
		offset := 120 * (2*r.Float64() - 1)
		heading := 2 * math.Pi * r.Float64()
		along := func(m float64) geo.Point {
			return metres(m*math.Cos(heading)-offset*math.Sin(heading), m*math.Sin(heading)+offset*math.Cos(heading))
		}
		before, after := -(200 + 400*r.Float64()), 200+400*r.Float64()
		took := (after - before) / (13 + 7*r.Float64())
		k := newWalk(t, shop)
		k.apply(geo.Evidence{Source: geo.ByFix, At: at(0), Pos: along(before), AccuracyM: 10})
		k.apply(geo.Evidence{Source: geo.ByFix, At: at(took), Pos: along(after), AccuracyM: 10})
		got := kinds(k.told)
		want := 0
		if math.Abs(offset) < 50 {
			want = 1
		}
		if math.Abs(math.Abs(offset)-50) < 1.5 {
			continue // a chord of a few metres
		}
		if got[geo.Pass] != want || len(k.told) != want {
			t.Fatalf("past at %.1f m, from %.0f to %.0f: told %s", offset, before, after, said(k.told))
		}
		if want == 0 {
			continue
		}
		passes++
		// In the middle of the way through.
		if through := -before / (after - before) * took; math.Abs(k.told[0].At.Sub(noon).Seconds()-through) > 0.5 {
			t.Fatalf("passed at %v, want %.1f s", k.told[0].At, through)
		}
	}
	if passes < 1000 {
		t.Errorf("only %d passes", passes)
	}
}

// Complaint 8: fixes that come in a batch, or at one time, give missed or duplicate
// events: five alerts for one arrival.
func TestComplaint08BatchesAndSimultaneousFixesTellOnce(t *testing.T) {
	var plots []plot
	for i := range 5 { // five geofences of one mall, of which each is entered
		plots = append(plots, plot{id: fmt.Sprint("gate", i), place: "mall", shape: geo.Circle{Around: mid, RadiusM: 100 + 20*float64(i)}})
	}
	mall := newTown(t, plots...)
	day := func() []geo.Evidence {
		var es []geo.Evidence
		add := func(s, east float64) {
			es = append(es, geo.Evidence{Source: geo.ByFix, At: at(s), Pos: metres(east, 0), AccuracyM: 10})
		}
		for i := range 30 {
			s := float64(i) * 20
			add(s, 900-60*float64(i))
			add(s, 900-60*float64(i))    // the same again
			add(s, 900-60*float64(i)+15) // and another of the same moment
		}
		return es
	}
	single := newWalk(t, mall)
	for _, e := range day() {
		single.apply(e)
	}
	n := kinds(single.told)
	if n[geo.Enter] != 5 || n[geo.Exit] != 5 || n[geo.Stay] != 1 {
		t.Fatalf("told %s", said(single.told))
	}
	single.take(single.tracker.Settle(mall))
	history := said(single.settled)
	r := rand.New(rand.NewPCG(8, 8))
	for range 30 {
		es := day()
		for i := range es {
			es[i].Seq = uint64(i + 1)
		}
		r.Shuffle(len(es), func(i, j int) { es[i], es[j] = es[j], es[i] })
		k := newWalk(t, mall)
		k.now = at(620) // all of it arrives when it is over
		for _, e := range append(es, es...) {
			k.apply(e)
		}
		k.take(k.tracker.Settle(mall))
		if got := said(k.settled); got != history {
			t.Fatalf("a batch in any order is another history:\n%s\nwant\n%s", got, history)
		}
		if len(k.visits) != 1 {
			t.Fatalf("%d visits:\n%s", len(k.visits), k.flat())
		}
		in := map[string]bool{}
		for _, tr := range k.told {
			switch tr.Kind {
			case geo.Enter, geo.Exit:
				if in[tr.Fence] == (tr.Kind == geo.Enter) {
					t.Fatalf("%s of %s was told twice: %s", tr.Kind, tr.Fence, said(k.told))
				}
				in[tr.Fence] = tr.Kind == geo.Enter
			}
		}
	}
}

// Complaint 9: one hook per fence, and no scale-out of writes. Here no fence costs a
// hook: what a fix touches is found by where it is; and fences change by the thousand
// while lookups go on.
func TestComplaint09ManyFencesChangeWhileLookupsGoOn(t *testing.T) {
	const fences, batch, batches = 10_000, 500, 20
	r := rand.New(rand.NewPCG(9, 9))
	somewhere := func() geo.Point { return metres(40_000*r.Float64(), 40_000*r.Float64()) }
	world := make([]geo.Fence, fences)
	for i := range world {
		world[i] = geo.Fence{ID: fmt.Sprint("f", i), Shape: geo.Circle{Around: somewhere(), RadiusM: 50 + 200*r.Float64()}}
	}
	index, err := geo.NewIndex(append(slices.Clone(world), geo.Fence{ID: "always", Shape: geo.Circle{Around: mid, RadiusM: 100}}))
	if err != nil {
		t.Fatal(err)
	}
	var live geo.Live
	live.Set(index)
	var lookups, stop atomic.Int64
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			var hits []geo.Hit
			for stop.Load() == 0 || lookups.Load() < 1000 {
				hits = live.Index().At(mid, hits[:0])
				if !slices.ContainsFunc(hits, func(h geo.Hit) bool { return h.ID == "always" }) {
					t.Error("a fence that nobody changed was not found")
					return
				}
				lookups.Add(1)
			}
		})
	}
	for b := range batches {
		put := make([]geo.Fence, batch)
		for i := range put {
			n := (b*batch + i*7) % fences
			put[i] = geo.Fence{ID: world[n].ID, Shape: geo.Circle{Around: somewhere(), RadiusM: 50 + 200*r.Float64()}}
		}
		seen := map[string]bool{} // a batch names each once
		put = slices.DeleteFunc(put, func(f geo.Fence) bool {
			twice := seen[f.ID]
			seen[f.ID] = true
			return twice
		})
		if err := live.Change(put, nil); err != nil {
			t.Fatal(err)
		}
		for _, f := range put {
			var n int
			if _, err := fmt.Sscanf(f.ID, "f%d", &n); err != nil {
				t.Fatal(err)
			}
			world[n] = f
		}
		if b == batches/2 {
			if err := live.Compact(); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop.Store(1)
	readers.Wait()
	for range 100 {
		p := somewhere()
		var got, want []string
		for _, h := range live.Index().At(p, nil) {
			got = append(got, h.ID)
		}
		for _, f := range world {
			if f.Shape.Contains(p) {
				want = append(want, f.ID)
			}
		}
		if f, _ := live.Index().Fence("always"); f.Shape.Contains(p) {
			want = append(want, "always")
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("found %v, want %v", got, want)
		}
	}
	// One fix, a thousand fences, no hook: all are told, of one Apply.
	var plots []plot
	for i := range 1000 {
		plots = append(plots, plot{id: fmt.Sprint("x", i), shape: geo.Circle{Around: mid, RadiusM: 100 + float64(i)}})
	}
	k := newWalk(t, newTown(t, plots...))
	if step := k.fix(0, 0, 5); kinds(step.Told)[geo.Enter] != 1000 {
		t.Errorf("%d told", len(step.Told))
	}
}

// Complaint 10: "nothing happens", and nobody can say why. Every fix and every fence
// that does nothing has a reason here.
func TestComplaint10WhyNothingHappenedCanBeTold(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 10))
	rule := geo.DefaultRule()
	whys := map[geo.Why]int{}
	for range 20_000 {
		margin := 400 * (2*r.Float64() - 1)
		acc := 2 * math.Exp(r.Float64()*8)
		says, why, used := rule.Judge(margin, 100, acc)
		if why == "" || !(used > 0) {
			t.Fatalf("margin %v, accuracy %v: says %v, and not why", margin, acc, says)
		}
		whys[why]++
		// The reason holds.
		holds := map[geo.Why]bool{
			geo.WhyInside:     says == geo.SaysInside && margin <= 0,
			geo.WhyNotSure:    says == geo.SaysMaybeInside && margin <= 0 && -margin < used*rule.SureFactor,
			geo.WhyOutside:    says == geo.SaysOutside && margin > used*rule.ClearFactor,
			geo.WhyNotClear:   says == geo.SaysMaybeOutside && margin > 0 && margin <= used*rule.ClearFactor,
			geo.WhyTooCoarse:  says == geo.SaysNothing && used > rule.EnterAccuracyM,
			geo.WhyInaccurate: says == geo.SaysNothing && used > rule.MaxAccuracyM,
		}
		if !holds[why] {
			t.Fatalf("margin %v, accuracy %v: says %v because %s", margin, acc, says, why)
		}
	}
	if len(whys) != 6 {
		t.Errorf("only %v", whys)
	}
	// What became of evidence has a name.
	w := cafe(t)
	w.doubts.Mocked = geo.RefuseDoubtful
	for want, e := range map[geo.Outcome]geo.Evidence{
		geo.Refused: {Source: geo.ByFix, At: at(0), Pos: mid, Mocked: true},
		geo.Invalid: {Source: geo.ByRegion, At: at(0), Fence: "closed", Inside: true},
		geo.Denied:  {Source: geo.ByRegion, At: at(0), Fence: "in", Inside: true, Located: true, Pos: metres(900, 0), AccuracyM: 10},
		geo.Future:  {Source: geo.ByFix, At: at(9 * 365 * 86400), Pos: mid},
		geo.Ancient: {Source: geo.ByFix, At: time.Unix(3600, 0), Pos: mid},
	} {
		var tracker geo.Tracker
		if step := tracker.Apply(w, e, at(0)); step.Outcome != want || len(step.Told) > 0 {
			t.Errorf("%+v: %s, want %s", e, step.Outcome, want)
		}
	}
	// A phone's plan has every fence that it looked at: registered, or left out, and why.
	var fences []geo.Fence
	for i := range 200 {
		fences = append(fences, geo.Fence{ID: fmt.Sprint("f", i), Shape: geo.Circle{Around: metres(4000*r.Float64()-2000, 4000*r.Float64()-2000), RadiusM: 50}})
	}
	index, err := geo.NewIndex(fences)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []geo.Slots{
		{Platform: geo.IOS, Free: geo.AllFree, At: mid, AccuracyM: 20},
		{Platform: geo.IOS, Free: 3, At: mid, AccuracyM: 20},     // other users of the slots
		{Platform: geo.Android, Free: 0, At: mid, AccuracyM: 20}, // none is left
	} {
		looked := map[string]bool{}
		plan, err := s.Plan(func(p geo.Point, n int, dst []geo.Hit) []geo.Hit {
			dst = index.Nearest(p, n, dst)
			for _, h := range dst {
				looked[h.ID] = true
			}
			return dst
		}, func(id string) float64 {
			if strings.HasSuffix(id, "7") {
				return 0
			}
			return 1
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, slot := range plan.Fences {
			if !looked[slot.ID] {
				t.Errorf("%q has a slot and was not looked at, or has two", slot.ID)
			}
			delete(looked, slot.ID)
		}
		for _, x := range plan.LeftOut {
			if x.Why == "" || !looked[x.ID] || x.Why == geo.LeftUnwanted != strings.HasSuffix(x.ID, "7") {
				t.Errorf("%+v", x)
			}
			delete(looked, x.ID)
		}
		if len(looked) > 0 {
			t.Errorf("%v: neither registered nor left out", looked)
		}
	}
}

// Complaint 25: a route cannot be replayed for a test. A Tracker has no clock, no
// chance and no thread: a recorded route gives the same transitions again, at any time
// of any year, and `footfall replay` does it from a file.
func TestComplaint25ARecordedRouteIsReplayedExactly(t *testing.T) {
	w := village(t)
	route := life(rand.New(rand.NewPCG(25, 25)), 800)
	play := func(shift time.Duration) string {
		k := newWalk(t, w)
		for _, e := range route {
			e.At = e.At.Add(shift)
			k.apply(e)
		}
		k.take(k.tracker.Settle(w))
		var b strings.Builder
		for _, ts := range [][]geo.Transition{k.told, k.settled} {
			for _, tr := range ts {
				tr.At = tr.At.Add(-shift)
				if !tr.Since.IsZero() {
					tr.Since = tr.Since.Add(-shift)
				}
				fmt.Fprintf(&b, "%+v\n", tr)
			}
		}
		return b.String()
	}
	want := play(0)
	if n := strings.Count(want, "\n"); n < 50 {
		t.Fatalf("only %d transitions", n)
	}
	for _, shift := range []time.Duration{0, time.Hour, -10 * 365 * 24 * time.Hour, 9 * 365 * 24 * time.Hour, 37*time.Second + 999*time.Microsecond} {
		if got := play(shift); got != want {
			t.Errorf("%v later it is told otherwise: %s", shift, firstDifference(got, want))
		}
	}
}
