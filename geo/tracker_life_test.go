package geo_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// life is what a phone notices on a random way among fences.
func life(r *rand.Rand, n int) []geo.Evidence {
	var out []geo.Evidence
	east, north, s := 0.0, 0.0, 0.0
	for i := range n {
		switch r.IntN(40) {
		case 0:
			s += float64(r.IntN(5000)) // a gap
		case 1:
			east, north = float64(r.IntN(2000)-1000), float64(r.IntN(2000)-1000) // by bus, or a jump
		}
		s += 1 + float64(r.IntN(60))
		east += 60 * r.NormFloat64()
		north += 60 * r.NormFloat64()
		acc := []float64{5, 10, 20, 40, 100, 500, 2000, 0}[r.IntN(8)]
		e := geo.Evidence{Source: geo.ByFix, At: at(s), Seq: uint64(i + 1), Pos: metres(east, north), AccuracyM: acc, Mocked: r.IntN(50) == 0}
		switch r.IntN(12) {
		case 0:
			e = geo.Evidence{Source: geo.ByRegion, At: e.At, Seq: e.Seq, Fence: []string{"in", "ring", "hall"}[r.IntN(3)], Inside: r.IntN(2) == 0, Located: r.IntN(2) == 0, Pos: e.Pos, AccuracyM: acc}
		case 1:
			e = geo.Evidence{Source: geo.ByBeacon, At: e.At, Seq: e.Seq, Fence: "shop", Inside: r.IntN(5) > 0}
		}
		out = append(out, e)
	}
	return out
}

func village(t testing.TB) *town {
	t.Helper()
	hall, err := geo.NewPolygon([][][]geo.Point{{{metres(300, -80), metres(600, -80), metres(600, 80), metres(300, 80), metres(300, -80)}}})
	if err != nil {
		t.Fatal(err)
	}
	return newTown(
		t,
		plot{id: "in", place: "cafe", shape: geo.Circle{Around: mid, RadiusM: 100}, dwell: 5 * time.Minute},
		plot{id: "ring", place: "cafe", shape: geo.Circle{Around: mid, RadiusM: 300}, near: true},
		plot{id: "hall", shape: hall, dwell: 2 * time.Minute},
		plot{id: "shop", place: "hall", shape: geo.Circle{Around: metres(420, 0), RadiusM: 30}},
		plot{id: "kiosk", shape: geo.Circle{Around: metres(-300, 0), RadiusM: 25}},
	)
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\n%s\nwant\n%s", i, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}

// alternate fails unless the enters and exits of each fence take turns, and nothing
// else happens outside.
func alternate(t *testing.T, what string, ts []geo.Transition) {
	t.Helper()
	inside := map[string]bool{}
	for _, tr := range ts {
		switch tr.Kind {
		case geo.Enter, geo.Near:
			if inside[tr.Fence] {
				t.Fatalf("%s: %s entered twice: %s", what, tr.Fence, said(ts))
			}
			inside[tr.Fence] = true
		case geo.Exit:
			if !inside[tr.Fence] {
				t.Fatalf("%s: %s left twice: %s", what, tr.Fence, said(ts))
			}
			inside[tr.Fence] = false
		case geo.Dwell:
			if !inside[tr.Fence] && what == "settled" {
				t.Fatalf("%s: dwell outside %s: %s", what, tr.Fence, said(ts))
			}
		}
	}
}

// shuffle changes the order of arrival as far as the reorder window allows.
func shuffle(r *rand.Rand, es []geo.Evidence) []geo.Evidence {
	type late struct {
		e  geo.Evidence
		by time.Time
	}
	var ls []late
	for _, e := range es {
		ls = append(ls, late{e, e.At.Add(time.Duration(r.Int64N(int64(geo.ReorderWindow))))})
	}
	slices.SortStableFunc(ls, func(a, b late) int { return a.by.Compare(b.by) })
	out := make([]geo.Evidence, len(ls))
	for i, l := range ls {
		out[i] = l.e
	}
	return out
}

func TestShuffledDoubledAndRestartedIsSorted(t *testing.T) {
	w := village(t)
	transitions, visits, corrected := 0, 0, 0
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 7))
		es := life(r, 150)
		sorted := newWalk(t, w)
		for _, e := range es {
			sorted.apply(e)
		}
		told := said(sorted.told)
		alternate(t, "told in order", sorted.told)
		want := sorted.flat()
		sorted.take(sorted.tracker.Settle(w))
		history := said(sorted.settled)
		alternate(t, "settled", sorted.settled)
		if history != told {
			t.Fatalf("seed %d: in order, what is told is not what is settled:\n%s\n%s", seed, told, history)
		}
		transitions += len(sorted.settled)
		visits += len(sorted.visits)

		for name, arrival := range map[string][]geo.Evidence{
			"shuffled": shuffle(r, es),
			"doubled": slices.Concat(func() (out [][]geo.Evidence) {
				for _, e := range es {
					again := e
					again.Seq += 10_000
					out = append(out, []geo.Evidence{e, again})
				}
				return out
			}()...),
		} {
			k := newWalk(t, w)
			ids := map[string]string{}
			for _, e := range arrival {
				s := k.apply(e)
				if s.Outcome == geo.Late && name == "shuffled" {
					t.Fatalf("seed %d: late within the window", seed)
				}
				for _, v := range s.Visits {
					if p, told := ids[v.ID]; told && p != v.Place {
						t.Fatalf("seed %d: visit %s is of %s and of %s", seed, v.ID, p, v.Place)
					}
					ids[v.ID] = v.Place
					if v.Withdrawn {
						corrected++
					}
				}
			}
			alternate(t, name, k.told)
			if got := k.flat(); got != want {
				t.Fatalf("seed %d, %s: visits differ from those in order: %s", seed, name, firstDifference(got, want))
			}
			k.take(k.tracker.Settle(w))
			if got := said(k.settled); got != history {
				t.Fatalf("seed %d, %s: what is settled differs from that in order: %s", seed, name, firstDifference(strings.ReplaceAll(got, ", ", "\n"), strings.ReplaceAll(history, ", ", "\n")))
			}
		}

		restarted, plain := newWalk(t, w), newWalk(t, w)
		for _, e := range shuffle(r, es) {
			plain.apply(e)
			restarted.apply(e)
			b, err := json.Marshal(restarted.tracker)
			if err != nil {
				t.Fatal(err)
			}
			restarted.tracker = geo.Tracker{}
			if err := json.Unmarshal(b, &restarted.tracker); err != nil {
				t.Fatal(err)
			}
		}
		if a, b := said(restarted.told), said(plain.told); a != b || restarted.flat() != plain.flat() {
			t.Fatalf("seed %d: a restart changed\n%s to\n%s", seed, b, a)
		}
	}
	t.Logf("%d transitions, %d visits, %d withdrawn", transitions, visits, corrected)
	if transitions < 1000 || visits < 300 || corrected == 0 {
		t.Error("too little happened to show anything")
	}
}

func TestAClonesFutureIsItsOwn(t *testing.T) {
	w := village(t)
	r := rand.New(rand.NewPCG(5, 6))
	es := life(r, 120)
	k := newWalk(t, w)
	for _, e := range es[:60] {
		k.apply(e)
	}
	fork := func(from geo.Tracker, es []geo.Evidence) string {
		f := newWalk(t, w)
		f.tracker = from.Clone()
		for _, e := range es {
			f.apply(e)
		}
		b, err := json.Marshal(f.tracker)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	want := fork(k.tracker, es[60:])
	for range 3 { // others go other ways from the same state
		_ = fork(k.tracker, life(r, 50))
	}
	if got := fork(k.tracker, es[60:]); got != want {
		t.Error("what one clone did changed another")
	}
}

func TestTheAntimeridianIsNoBorder(t *testing.T) {
	shifted := func(lng float64) func(p geo.Point) geo.Point {
		return func(p geo.Point) geo.Point {
			p.Lng += lng
			if p.Lng > 180 {
				p.Lng -= 360
			}
			return p
		}
	}
	run := func(move func(geo.Point) geo.Point) string {
		w := newTown(
			t,
			plot{id: "in", place: "cafe", shape: geo.Circle{Around: move(mid), RadiusM: 100}, dwell: 5 * time.Minute},
			plot{id: "ring", place: "cafe", shape: geo.Circle{Around: move(mid), RadiusM: 300}, near: true},
			plot{id: "kiosk", shape: geo.Circle{Around: move(metres(-300, 0)), RadiusM: 25}},
		)
		k := newWalk(t, w)
		r := rand.New(rand.NewPCG(8, 9))
		for _, e := range life(r, 400) {
			if e.Fence == "hall" || e.Fence == "shop" {
				continue
			}
			if e.Located || e.Source == geo.ByFix {
				e.Pos = move(e.Pos)
			}
			k.apply(e)
		}
		var out []string
		for _, tr := range k.told {
			out = append(out, fmt.Sprintf("%s %s %.0f %.3f", tr.Kind, tr.Fence, tr.At.Sub(noon).Seconds(), tr.MarginM))
		}
		return strings.Join(out, "\n")
	}
	want := run(shifted(0))
	if strings.Count(want, "\n") < 20 {
		t.Fatal("too little happened")
	}
	if got := run(shifted(180 - mid.Lng)); got != want {
		t.Errorf("across ±180\n%s\nelsewhere\n%s", got, want)
	}
}

func TestStateIsSmallAndDamageIsSeen(t *testing.T) {
	k := newWalk(t, village(t))
	r := rand.New(rand.NewPCG(1, 1))
	for _, e := range life(r, 2000) {
		k.apply(e)
	}
	b, err := json.Marshal(k.tracker)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(b))
	if len(b) > 8000 {
		t.Errorf("%d bytes", len(b))
	}
	for _, bad := range []string{`{"v":2}`, `{"v":1,"window":"AAAA"}`, `{"v":1,"window":"/////////////w=="}`, `[]`} {
		var x geo.Tracker
		if err := json.Unmarshal([]byte(bad), &x); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func FuzzTrackerState(f *testing.F) {
	w := village(f)
	k := newWalk(f, w)
	for _, e := range life(rand.New(rand.NewPCG(2, 3)), 60) {
		k.apply(e)
	}
	b, err := json.Marshal(k.tracker)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"v":1,"live":{"in":[{"fence":"in","place":"cafe","inside":true}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var x geo.Tracker
		if json.Unmarshal(b, &x) != nil {
			return
		}
		for _, e := range life(rand.New(rand.NewPCG(4, 5)), 20) {
			x.Apply(w, e, time.Time{})
			x.Due(w)
		}
		x.Settle(w)
		if _, err := json.Marshal(x); err != nil {
			t.Error(err)
		}
	})
}

func TestARefusedPhoneIsBelievedAgain(t *testing.T) {
	k := newWalk(t, cafe(t))
	k.w.doubts.Speed = geo.RefuseDoubtful
	k.fix(0, 90_000, 10) // wrong, and nothing told it
	refused := 0
	for s := 30.0; s <= 1200; s += 30 {
		if k.fix(s, 0, 10).Outcome == geo.Refused {
			refused++
		}
	}
	k.want("near ring @630, enter in @630, dwell in @930")
	if refused != 20 {
		t.Errorf("%d refused, want ten minutes of them", refused)
	}
	// Who has flown for hours has not lied.
	k = newWalk(t, cafe(t))
	k.w.doubts.Speed = geo.RefuseDoubtful
	k.fix(0, 5_800_000, 10)
	if s := k.fix(8*3600, 0, 10); s.Flags != 0 {
		t.Errorf("flags %v", s.Flags.Names())
	}
	k.want("near ring @28800, enter in @28800")
}

func TestALieComesWithAnyEvidence(t *testing.T) {
	for policy, want := range map[geo.Policy]string{geo.FlagDoubtful: "enter in @0", geo.RefuseDoubtful: ""} {
		k := newWalk(t, cafe(t))
		k.w.doubts.Mocked = policy
		s := k.apply(geo.Evidence{Source: geo.ByRegion, At: at(0), Fence: "in", Inside: true, Located: true, Pos: mid, AccuracyM: 5, Mocked: true})
		if s.Flags != geo.FlagMocked {
			t.Errorf("%s: flags %v", policy, s.Flags.Names())
		}
		k.want(want)
	}
	k := newWalk(t, cafe(t))
	k.w.doubts.Speed = geo.RefuseDoubtful
	k.fix(0, 50_000, 10)
	s := k.apply(geo.Evidence{Source: geo.ByRegion, At: at(20), Fence: "in", Inside: true, Located: true, Pos: mid, AccuracyM: 5})
	if s.Outcome != geo.Refused || s.Flags&geo.FlagSpeed == 0 {
		t.Errorf("%s %v", s.Outcome, s.Flags.Names())
	}
}
