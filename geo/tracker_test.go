package geo_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// town is a World of circles and other shapes.
type town struct {
	index  *geo.Index
	terms  map[string]geo.Terms
	doubts geo.Doubts
}

func (w *town) Index() *geo.Index { return w.index }

func (w *town) Terms(fence string) (geo.Terms, bool) {
	t, ok := w.terms[fence]
	return t, ok
}

func (w *town) Doubts() geo.Doubts { return w.doubts }

func (w *town) VisitID(place string, seq uint64, n int) string {
	return fmt.Sprintf("%s#%d.%d", place, seq, n)
}

type plot struct {
	id, place string
	shape     geo.Shape
	near      bool
	dwell     time.Duration
	rule      *geo.Rule
}

func newTown(t testing.TB, plots ...plot) *town {
	t.Helper()
	w := &town{terms: map[string]geo.Terms{}, doubts: geo.DefaultDoubts()}
	var fences []geo.Fence
	for _, p := range plots {
		rule := geo.DefaultRule()
		if p.rule != nil {
			rule = *p.rule
		}
		if p.place == "" {
			p.place = p.id
		}
		fences = append(fences, geo.Fence{ID: p.id, Shape: p.shape})
		w.terms[p.id] = geo.Terms{Place: p.place, Near: p.near, Dwell: p.dwell, Rule: &rule}
	}
	var err error
	if w.index, err = geo.NewIndex(fences); err != nil {
		t.Fatal(err)
	}
	return w
}

var (
	noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	mid  = geo.Point{Lat: 52.0, Lng: 4.36}
)

// metres from mid.
func metres(east, north float64) geo.Point {
	return geo.Point{Lat: mid.Lat + north/111_250, Lng: mid.Lng + east/(111_320*math.Cos(mid.Lat*math.Pi/180))}
}

// cafe is a circle of 100 m with an approach ring of 300 m and a dwell of 5 minutes.
func cafe(t testing.TB) *town {
	return newTown(
		t,
		plot{id: "in", place: "cafe", shape: geo.Circle{Around: mid, RadiusM: 100}, dwell: 5 * time.Minute},
		plot{id: "ring", place: "cafe", shape: geo.Circle{Around: mid, RadiusM: 300}, near: true},
	)
}

// walk is a Tracker under test.
type walk struct {
	t       testing.TB
	w       *town
	tracker geo.Tracker
	seq     uint64
	now     time.Time // zero: each evidence is taken at once
	told    []geo.Transition
	settled []geo.Transition
	visits  map[string]geo.Visit
}

func newWalk(t testing.TB, w *town) *walk { return &walk{t: t, w: w, visits: map[string]geo.Visit{}} }

func (k *walk) take(s geo.Step) geo.Step {
	k.told = append(k.told, s.Told...)
	k.settled = append(k.settled, s.Settled...)
	for _, v := range s.Visits {
		k.visits[v.ID] = v
		if v.Withdrawn {
			delete(k.visits, v.ID)
		}
	}
	return s
}

func (k *walk) apply(e geo.Evidence) geo.Step {
	k.seq++
	if e.Seq == 0 {
		e.Seq = k.seq
	}
	return k.take(k.tracker.Apply(k.w, e, k.now))
}

func at(s float64) time.Time { return noon.Add(time.Duration(s * float64(time.Second))) }

func (k *walk) fix(s, east, acc float64) geo.Step {
	return k.apply(geo.Evidence{Source: geo.ByFix, At: at(s), Pos: metres(east, 0), AccuracyM: acc})
}

func (k *walk) region(s float64, fence string, inside bool) geo.Step {
	return k.apply(geo.Evidence{Source: geo.ByRegion, At: at(s), Fence: fence, Inside: inside})
}

func (k *walk) beacon(s float64, fence string, seen bool) geo.Step {
	return k.apply(geo.Evidence{Source: geo.ByBeacon, At: at(s), Fence: fence, Inside: seen})
}

func (k *walk) silence(s float64, live bool) geo.Step {
	return k.apply(geo.Evidence{Source: geo.BySilence, At: at(s), Live: live})
}

// said writes transitions as "enter in @60".
func said(ts []geo.Transition) string {
	var out []string
	for _, tr := range ts {
		out = append(out, fmt.Sprintf("%s %s @%v", tr.Kind, tr.Fence, tr.At.Sub(noon).Seconds()))
	}
	return strings.Join(out, ", ")
}

func (k *walk) want(s string) {
	k.t.Helper()
	if got := said(k.told); got != s {
		k.t.Errorf("told\n%s, want\n%s", got, s)
	}
	k.told = nil
}

// flat is visits in the order of their beginning, without their ids.
func (k *walk) flat() string {
	var vs []geo.Visit
	for _, v := range k.visits {
		vs = append(vs, v)
	}
	for _, v := range k.tracker.Open() { // whose newest evidence need not have been said
		if i := slices.IndexFunc(vs, func(o geo.Visit) bool { return o.ID == v.ID }); i >= 0 {
			vs[i] = v
		}
	}
	slices.SortFunc(vs, func(a, b geo.Visit) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.Place, b.Place)
	})
	var b strings.Builder
	for _, v := range vs {
		v.ID, v.Stale = "", false
		fmt.Fprintf(&b, "%+v\n", v)
	}
	return b.String()
}

func TestAStraddlingFixChangesNothingUntilAnotherConfirmsIt(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.fix(0, 1000, 10)
	k.fix(60, 290, 20) // 10 m within the ring, 20 m of error
	k.want("")
	k.fix(65, 285, 20) // too soon after it to say more
	k.want("")
	k.fix(75, 285, 20)
	k.want("near ring @75")
	k.fix(120, 95, 30)
	k.want("")
	k.fix(150, 50, 30) // the circle is inside: at once
	k.want("enter in @150")
	k.fix(200, 110, 30) // straddles
	k.fix(230, 105, 30)
	k.want("")
	k.fix(240, 98, 30) // was inside after all
	k.fix(265, 110, 30)
	k.fix(300, 110, 30)
	k.want("")
	k.fix(326, 110, 30) // a minute of nothing but outside
	k.want("exit in @326")
	k.fix(400, 328, 20) // not clear of the ring
	k.want("")
	k.fix(420, 332, 20)
	k.want("exit ring @420, visit ring @420")
}

func TestTheErrorCircleMustBeClear(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.fix(0, 0, 10)
	k.want("near ring @0, enter in @0")
	k.fix(10, 144, 30)
	k.want("")
	k.fix(20, 146, 30)
	k.want("exit in @20")
}

func TestACellTowerToldAgainAndAgainIsNoExit(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.fix(0, 0, 10)
	for s := 60.0; s < 600; s += 60 {
		k.fix(s, 700, 700)
	}
	k.want("near ring @0, enter in @0")
	k.fix(660, 1700, 700) // clear of both
	k.want("exit in @660, exit ring @660, visit ring @660")
}

func TestDwellCountsWhatEvidenceVouchesFor(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(k *walk)
		want string
	}{
		"through fixes": {func(k *walk) {
			for s := 0.0; s <= 420; s += 60 {
				k.fix(s, 0, 10)
			}
		}, "dwell in @300"},
		"a gap alone is no dwell": {func(k *walk) {
			k.fix(0, 0, 10)
			k.fix(7200, 0, 10)
			k.fix(7260, 0, 10)
		}, ""},
		"it begins anew after a gap": {func(k *walk) {
			k.fix(0, 0, 10)
			k.fix(7200, 0, 10)
			k.fix(7400, 0, 10)
			k.fix(7600, 0, 10)
		}, "dwell in @7500"},
		"a gap is no gap when the OS says inside": {func(k *walk) {
			k.region(0, "in", true)
			k.fix(7200, 0, 10)
		}, "dwell in @300"},
		"an OS that says when it ended": {func(k *walk) {
			k.region(0, "in", true)
			k.region(7200, "in", false)
		}, "dwell in @300"},
		"leaving in between": {func(k *walk) {
			k.fix(0, 0, 10)
			k.fix(200, 200, 10)
			k.fix(240, 0, 10)
			k.fix(400, 0, 10)
		}, ""},
		"silence, live": {func(k *walk) {
			k.fix(0, 0, 10)
			k.fix(100, 0, 10)
			due, any := k.tracker.Due(k.w)
			if !any || !due.Equal(at(300)) {
				k.t.Errorf("due %v %v, want at 300 s", due, any)
			}
			k.silence(300, true)
		}, "dwell in @300"},
		"silence, not live": {func(k *walk) {
			k.fix(0, 0, 10)
			k.silence(300, false)
			if due, _ := k.tracker.Due(k.w); !due.After(at(300)) {
				k.t.Errorf("due again at %v", due)
			}
		}, ""},
		"silence, the OS says inside": {func(k *walk) {
			k.region(0, "in", true)
			k.silence(300, false)
		}, "dwell in @300"},
		"silence for too long": {func(k *walk) {
			k.w.terms["in"] = geo.Terms{Place: "cafe", Dwell: time.Hour, Rule: k.w.terms["in"].Rule}
			k.region(0, "in", true)
			k.silence(3600, true)
		}, ""},
		"once in a visit": {func(k *walk) {
			for s := 0.0; s <= 1200; s += 60 {
				k.fix(s, 0, 10)
			}
		}, "dwell in @300"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newWalk(t, cafe(t))
			c.do(k)
			var dwells []geo.Transition
			for _, tr := range k.told {
				if tr.Kind == geo.Dwell {
					dwells = append(dwells, tr)
				}
			}
			if got := said(dwells); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestOneVisitWhicheverEvidenceComesFirst(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.beacon(0, "in", true)
	k.want("enter in @0")
	k.region(5, "in", true)
	k.fix(10, 0, 10)
	k.want("near ring @10")
	k.fix(20, 500, 10) // a beacon that is seen is nearer than what is measured
	k.want("exit ring @20")
	k.region(25, "in", false)
	k.want("")
	k.beacon(30, "in", true)
	k.fix(120, 500, 10) // it has not been seen for a minute
	k.want("exit in @90, visit in @90")
	if len(k.visits) != 1 {
		t.Errorf("visits %v", k.visits)
	}
	for _, v := range k.visits {
		if !v.Since.Equal(at(0)) || !v.Until.Equal(at(90)) || v.By != geo.ByBeacon || v.Ended != geo.ByBeacon {
			t.Errorf("visit %+v", v)
		}
	}
}

func TestABeaconsLossEndsItAfterATimeout(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.beacon(0, "in", true)
	k.beacon(20, "in", true)
	due, any := k.tracker.Due(k.w)
	if !any || !due.Equal(at(80)) {
		t.Errorf("due %v", due)
	}
	k.silence(80, true)
	k.want("enter in @0, exit in @80, visit in @80")
	k.beacon(100, "in", true)
	k.beacon(110, "in", false) // the app says so
	k.want("enter in @100, exit in @110, visit in @110")
	// Where a fix said inside too, the loss of the beacon ends nothing.
	k.beacon(200, "in", true)
	k.fix(210, 0, 10)
	k.silence(400, true)
	k.want("enter in @200, near ring @210")
}

func TestTheOSsWordAgainstItsOwnFix(t *testing.T) {
	for _, c := range []struct {
		name       string
		east, acc  float64
		want       geo.Outcome
		wantEnters int
	}{
		{"inside", 20, 10, geo.Taken, 1},
		{"outside, and exact, within the grace", 195, 10, geo.Taken, 1},
		{"beyond the grace", 206, 10, geo.Denied, 0},
		{"far, within what its accuracy allows", 390, 200, geo.Taken, 1},
		{"farther than its accuracy allows", 420, 200, geo.Denied, 0},
		{"too coarse to say anything", 4000, 2500, geo.Taken, 1},
		{"in another town", 50_000, 30, geo.Denied, 0},
	} {
		k := newWalk(t, cafe(t))
		s := k.apply(geo.Evidence{Source: geo.ByRegion, At: at(0), Fence: "in", Inside: true, Located: true, Pos: metres(c.east, 0), AccuracyM: c.acc})
		if s.Outcome != c.want || len(s.Told) != c.wantEnters {
			t.Errorf("%s: %s, told %s", c.name, s.Outcome, said(s.Told))
		}
	}
}

func TestASmallCircleIsWatchedAsALargerOne(t *testing.T) {
	k := newWalk(t, newTown(t, plot{id: "kiosk", shape: geo.Circle{Around: mid, RadiusM: 40}}))
	passing := geo.Evidence{Source: geo.ByRegion, At: at(0), Fence: "kiosk", Inside: true, Located: true, Pos: metres(90, 0), AccuracyM: 10}
	if s := k.apply(passing); s.Outcome != geo.Denied {
		t.Errorf("passing by: %s", s.Outcome)
	}
	k.fix(8, 60, 10)
	k.want("")
	k.fix(20, 10, 10)
	k.want("enter kiosk @20")
	k.region(60, "kiosk", false)
	k.want("exit kiosk @60, visit kiosk @60")
	k.region(100, "kiosk", true) // without a fix the word counts
	k.want("enter kiosk @100")
}

func TestAnOutlineIsEnteredByAFixOnly(t *testing.T) {
	hall, err := geo.NewPolygon([][][]geo.Point{{{metres(-200, -20), metres(200, -20), metres(200, 20), metres(-200, 20), metres(-200, -20)}}})
	if err != nil {
		t.Fatal(err)
	}
	k := newWalk(t, newTown(t, plot{id: "hall", shape: hall, dwell: time.Minute}))
	if s := k.region(0, "hall", true); s.Outcome != geo.Denied || len(s.Told) != 0 {
		t.Errorf("without a fix: %s %s", s.Outcome, said(s.Told))
	}
	s := k.apply(geo.Evidence{Source: geo.ByRegion, At: at(10), Fence: "hall", Inside: true, Located: true, Pos: metres(0, 130), AccuracyM: 10})
	if s.Outcome != geo.Denied {
		t.Errorf("in the street: %s", s.Outcome)
	}
	k.fix(20, 0, 10)
	k.want("enter hall @20")
	k.fix(85, 0, 10)
	k.region(100, "hall", false)
	k.want("dwell hall @80, exit hall @100, visit hall @100")
}

func TestAPathThroughIsAPass(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.fix(0, -400, 10)
	k.fix(60, 400, 10)
	k.want("pass in @30")
	k.fix(1000, 1000, 10)
	k.fix(1500, -1000, 10) // too long between for a straight way
	k.want("")
	k.fix(1560, -500, 150) // too coarse for a fence of 100 m
	k.fix(1600, 500, 150)
	k.want("")
	k.fix(1700, 500, 10)
	k.apply(geo.Evidence{Source: geo.ByFix, At: at(1760), Pos: metres(-500, 400), AccuracyM: 10}) // beside it
	k.want("")
	// One straddling fix, and out again: too short to be confirmed as a visit.
	k.apply(geo.Evidence{Source: geo.ByFix, At: at(1990), Pos: metres(1000, 0), AccuracyM: 10})
	k.fix(2000, 150, 10)
	k.fix(2030, 95, 10)
	k.fix(2060, 150, 10)
	k.fix(2090, 500, 10)
	k.want("near ring @2000, pass in @2030, exit ring @2090")
	for _, tr := range k.settled {
		if tr.Kind == geo.Pass && tr.Visit == "" {
			t.Error("a pass without an id")
		}
	}
	// Between two fixes in the ring.
	k.fix(3000, -1000, 10)
	k.fix(3020, -250, 10)
	k.fix(3050, 250, 10)
	k.want("near ring @3020, pass in @3035")
	bare := newWalk(t, newTown(t, plot{id: "in", shape: geo.Circle{Around: mid, RadiusM: 100}}))
	bare.fix(0, 150, 10)
	bare.fix(30, 95, 10)
	bare.fix(60, 150, 10)
	bare.want("pass in @30")
}

func TestLateEvidenceCorrectsTheVisitAndNotWhatWasTold(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.fix(0, 0, 10)
	k.fix(600, 0, 10)
	k.want("near ring @0, enter in @0, dwell in @300")
	var first string
	for id := range k.visits {
		first = id
	}
	k.fix(200, 1000, 10) // was away in between
	k.want("")
	if len(k.visits) != 2 {
		t.Fatalf("visits %+v", k.visits)
	}
	v := k.visits[first]
	if !v.Since.Equal(at(0)) || !v.Until.Equal(at(200)) || !v.DwelledAt.IsZero() {
		t.Errorf("the first visit is now %+v", v)
	}
	k.fix(100, 0, 10)
	k.fix(150, 0, 10)
	if v := k.visits[first]; !v.Since.Equal(at(0)) || !v.Until.Equal(at(200)) {
		t.Errorf("the first visit is now %+v", v)
	}
	// A short visit that nobody was told of, while the device is elsewhere by now.
	k.fix(1000, 3000, 10)
	k.fix(900, 2000, 10)
	k.told = nil
	k.fix(700, 2000, 10)
	k.want("")
	// Too late for anything.
	k.fix(3000, 5000, 10)
	if s := k.fix(2000, 0, 10); s.Outcome != geo.Late || len(s.Told)+len(s.Visits) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestWhatIsToldAlternatesThoughVisitsAreCorrected(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.fix(0, 1000, 10)
	k.fix(100, 95, 20) // straddles
	k.fix(130, 95, 20) // confirms
	k.want("near ring @100, enter in @130")
	k.fix(115, 1000, 10) // but it was far away between the two
	k.want("exit in @115")
	if s := k.fix(140, 95, 20); len(s.Told) != 1 {
		t.Errorf("told %s", said(s.Told))
	}
	k.want("enter in @140")
}

func TestTheEndOfAVisitIsToldThoughSilenceCameFirst(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.fix(0, 0, 10)
	k.silence(300, false)
	k.told = nil
	k.region(300, "ring", false)
	k.fix(300, 1000, 10)
	k.want("exit ring @300, exit in @300, visit ring @300")
}

func TestSilenceAfterAClockWentBackStillCounts(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.region(0, "in", true)
	k.beacon(10, "in", true)
	k.tracker.Freeze()
	before, _ := k.tracker.Due(k.w)
	k.silence(5, false)
	for range 3 {
		due, any := k.tracker.Due(k.w)
		if !any {
			return
		}
		k.take(k.tracker.Apply(k.w, geo.Evidence{Source: geo.BySilence, At: due}, due))
	}
	if after, any := k.tracker.Due(k.w); any && !after.After(before) {
		t.Errorf("due at %v for ever", after)
	}
}

func TestABatchAfterHoursOfflineIsStale(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.now = at(6 * 3600)
	for s := 0.0; s <= 1200; s += 60 {
		east := 0.0
		if s > 900 {
			east = 1000
		}
		k.fix(s, east, 10)
	}
	for _, tr := range k.told {
		if !tr.Stale {
			t.Errorf("%s at %v is not stale", tr.Kind, tr.At)
		}
	}
	k.want("near ring @0, enter in @0, dwell in @300, exit in @960, exit ring @960, visit ring @960")
	for _, v := range k.visits {
		if !v.Stale || v.Until.Sub(v.Since) != 960*time.Second || v.Confirmed != 900*time.Second {
			t.Errorf("visit %+v", v)
		}
	}
	k.fix(6*3600-60, 0, 10)
	if last := k.told[len(k.told)-1]; last.Stale {
		t.Error("what happens now is stale")
	}
}

func TestClocksThatCannotBe(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.now = noon
	for _, c := range []struct {
		at   time.Time
		want geo.Outcome
	}{
		{time.Unix(0, 0), geo.Ancient},
		{noon.Add(-geo.MaxEvidenceAge - time.Second), geo.Ancient},
		{noon.Add(9 * 365 * 24 * time.Hour), geo.Future},
		{noon.Add(geo.MaxAheadOf + time.Second), geo.Future},
		{noon.Add(time.Minute), geo.Taken},
	} {
		if s := k.apply(geo.Evidence{Source: geo.ByFix, At: c.at, Pos: mid, AccuracyM: 10}); s.Outcome != c.want {
			t.Errorf("%v: %s, want %s", c.at, s.Outcome, c.want)
		}
	}
	if len(k.told) != 2 || !k.told[0].At.Equal(noon) {
		t.Errorf("told %s", said(k.told))
	}
}

func TestLiesAreFlagged(t *testing.T) {
	mocked := func(s, east float64) geo.Evidence {
		return geo.Evidence{Source: geo.ByFix, At: at(s), Pos: metres(east, 0), AccuracyM: 10, Mocked: true}
	}
	for policy, want := range map[geo.Policy]string{
		geo.AcceptDoubtful: "near ring @0, enter in @0",
		geo.FlagDoubtful:   "near ring @0, enter in @0",
		geo.RefuseDoubtful: "",
	} {
		k := newWalk(t, cafe(t))
		k.w.doubts.Mocked = policy
		s := k.apply(mocked(0, 0))
		if s.Flags != geo.FlagMocked {
			t.Errorf("%s: flags %v", policy, s.Flags.Names())
		}
		if want == "" != (s.Outcome == geo.Refused) {
			t.Errorf("%s: %s", policy, s.Outcome)
		}
		for _, v := range k.visits {
			if v.Flags != geo.FlagMocked {
				t.Errorf("%s: visit's flags %v", policy, v.Flags.Names())
			}
		}
		k.want(want)
	}
	for policy, want := range map[geo.Policy][3]string{
		// after one jump, after a second fix there, after one back
		geo.AcceptDoubtful: {"near ring @30, enter in @30", "", "exit in @50, exit ring @50, visit ring @50"},
		geo.FlagDoubtful:   {"", "near ring @40, enter in @40", ""},
		geo.RefuseDoubtful: {"", "", ""},
	} {
		k := newWalk(t, cafe(t))
		k.w.doubts.Speed = policy
		k.fix(0, 50_000, 10)
		s := k.fix(30, 0, 10)
		if s.Flags != geo.FlagSpeed|geo.FlagTeleport {
			t.Errorf("%s: flags %v", policy, s.Flags.Names())
		}
		k.want(want[0])
		k.fix(40, 0, 10)
		k.want(want[1])
		k.fix(50, 50_000, 10)
		k.want(want[2])
	}
	// A single jump is forgotten, and somebody who really went far is not lost.
	k := newWalk(t, cafe(t))
	k.fix(0, 0, 10)
	k.told = nil
	k.fix(10, 20_000, 10)
	k.fix(20, 0, 10)
	k.want("")
	k.fix(7200, 100_000, 10)
	k.want("exit in @7200, exit ring @7200, visit ring @7200")
}

func TestAVisitOfWhichNothingIsHeardEndsAtItsLastEvidence(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.fix(0, 0, 10)
	k.fix(300, 0, 10)
	k.told = nil
	due, _ := k.tracker.Due(k.w)
	if due.Before(at(300).Add(12 * time.Hour)) {
		t.Errorf("due %v", due)
	}
	k.take(k.tracker.Apply(k.w, geo.Evidence{Source: geo.BySilence, At: due}, due))
	k.want("exit in @300, exit ring @300, visit ring @300")
	for _, v := range k.visits {
		if v.Ended != geo.BySilence || !v.Until.Equal(at(300)) {
			t.Errorf("visit %+v", v)
		}
	}
	if due, any := k.tracker.Due(k.w); any {
		t.Errorf("due again at %v", due)
	}
	k.fix(80_000, 0, 10)
	k.want("near ring @80000, enter in @80000")
}

func TestFencesThatChangeDuringAVisit(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.fix(0, 0, 10)
	k.told = nil
	k.w = newTown(t, plot{id: "ring", place: "cafe", shape: geo.Circle{Around: mid, RadiusM: 300}, near: true})
	k.fix(10, 0, 10)
	k.want("")
	if len(k.tracker.Open()) != 1 {
		t.Error("the visit ended, though its other fence is there")
	}
	k.w = newTown(t, plot{id: "elsewhere", shape: geo.Circle{Around: metres(5000, 0), RadiusM: 300}})
	k.fix(20, 0, 10)
	k.want("")
	if len(k.tracker.Open()) != 0 {
		t.Error("the visit goes on without a fence")
	}
	for _, v := range k.visits {
		if !v.Removed || v.Ended != "" || !v.Until.Equal(at(10)) {
			t.Errorf("visit %+v", v)
		}
	}
}

func TestRefusedEvidence(t *testing.T) {
	k := newWalk(t, cafe(t))
	for _, e := range []geo.Evidence{
		{Source: geo.ByFix, Pos: geo.Point{Lat: 91}},
		{Source: geo.ByFix, Pos: geo.Point{Lng: math.NaN()}},
		{Source: geo.ByRegion, Fence: "nowhere", Inside: true},
		{Source: "rumour"},
	} {
		e.At = at(0)
		if s := k.apply(e); s.Outcome != geo.Invalid {
			t.Errorf("%+v: %s", e, s.Outcome)
		}
	}
	k.apply(geo.Evidence{Source: geo.ByFix, At: at(0), Pos: mid, AccuracyM: math.NaN()})
	k.apply(geo.Evidence{Source: geo.ByFix, At: at(20), Pos: mid, AccuracyM: math.Inf(1)})
	if s := k.fix(20, 0, 10); s.Outcome != geo.Taken {
		t.Error(s.Outcome)
	}
	if s := k.fix(20, 0, 10); s.Outcome != geo.Duplicate {
		t.Error(s.Outcome)
	}
}

func TestAnExitThatItsOwnFixDeniesIsNone(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.region(0, "in", true)
	s := k.apply(geo.Evidence{Source: geo.ByRegion, At: at(60), Fence: "in", Located: true, Pos: mid, AccuracyM: 5})
	if s.Outcome != geo.Denied {
		t.Errorf("%s", s.Outcome)
	}
	k.want("enter in @0")
}

// The OS's word about the circle around an outline says nothing of how long the
// outline was held.
func TestTheCircleAroundAnOutlineVouchesForNoDwell(t *testing.T) {
	road, err := geo.NewPolygon([][][]geo.Point{{{metres(-3000, -20), metres(3000, -20), metres(3000, 20), metres(-3000, 20), metres(-3000, -20)}}})
	if err != nil {
		t.Fatal(err)
	}
	w := newTown(t, plot{id: "road", shape: road, dwell: 5 * time.Minute}, plot{id: "kiosk", shape: geo.Circle{Around: metres(0, 500), RadiusM: 40}, dwell: 5 * time.Minute})
	k := newWalk(t, w)
	k.region(0, "road", true)
	k.fix(10, 0, 10)
	k.silence(400, false)
	k.fix(7200, 0, 10)
	k.want("enter road @10")
	k = newWalk(t, w)
	k.region(0, "kiosk", true)
	k.silence(400, false)
	k.want("enter kiosk @0")
}

func TestARingAroundACircleIsACircle(t *testing.T) {
	k := newWalk(t, newTown(t, plot{id: "ring", near: true, shape: geo.OutwardRing{Of: geo.Circle{Around: mid, RadiusM: 60}, WithinM: 240}}))
	k.region(0, "ring", true)
	k.region(60, "ring", false)
	k.want("near ring @0, exit ring @60")
}

func TestAVisitHoldsAllThatHappenedInIt(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.region(0, "in", true)
	k.silence(300, false)
	k.fix(7200, 200, 10)
	k.take(k.tracker.Apply(k.w, geo.Evidence{Source: geo.BySilence, At: at(48 * 3600)}, time.Time{}))
	for _, v := range k.visits {
		if v.Until.Before(v.DwelledAt) || v.Until.Before(at(7200)) || v.DwelledAt.IsZero() {
			t.Errorf("visit %+v", v)
		}
	}
	for _, tr := range k.told {
		if tr.Kind == geo.Exit && tr.Fence == "in" && tr.At.Before(at(300)) {
			t.Errorf("it left at %v, before its dwell", tr.At)
		}
	}
}

func TestABeaconThatOutlivesTheOSsWordEndsTheVisit(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.region(0, "in", true)
	k.beacon(10, "in", true)
	k.region(20, "in", false)
	k.silence(70, true)
	k.want("enter in @0, exit in @70, visit in @70")
}

func TestAPhoneThatSaysItIsEverywhereIsNotBelieved(t *testing.T) {
	var plots []plot
	for i := range 1000 {
		plots = append(plots, plot{id: fmt.Sprint(i), shape: geo.Circle{Around: metres(float64(i)*300, 0), RadiusM: 100}})
	}
	k := newWalk(t, newTown(t, plots...))
	crowded := 0
	for i := range plots {
		if k.region(float64(i)/100, fmt.Sprint(i), true).Outcome == geo.Crowded {
			crowded++
		}
	}
	if crowded != 1000-256 || len(k.tracker.Open()) != 256 {
		t.Errorf("%d refused, in %d", crowded, len(k.tracker.Open()))
	}
}
