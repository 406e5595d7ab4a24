package geo

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestExitWaitsForAccuracyToClearTheBoundary(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name             string
		was              Presence
		margin, size, ac float64
		now              Presence
		why              Why
	}{
		{"enters with a good fix", Outside, -5, 50, 12, Inside, WhyInside},
		{"the border is inside", Outside, 0, 50, 12, Inside, WhyInside},
		{"stays out", Outside, 1, 50, 12, Outside, WhyOutside},
		{"a good fix near the border does not enter", Outside, 5, 50, 80, Outside, WhyOutside},
		{"100 m enters a small fence", Outside, -5, 50, 100, Inside, WhyInside},
		{"worse does not", Outside, -5, 50, 101, Outside, WhyTooCoarse},
		{"but enters a large fence", Outside, -5, 500, 300, Inside, WhyInside},
		{"2 km says nothing of a shop", Outside, -5, 50, 2000, Outside, WhyInaccurate},
		{"17 km does not throw anybody out", Inside, 20_000, 50, 17_000, Inside, WhyInaccurate},
		{"stays in", Inside, -5, 50, 12, Inside, WhyInside},
		{"stays in, coarse", Inside, -5, 50, 300, Inside, WhyInside},
		{"the error circle touches", Inside, 18, 50, 12, Inside, WhyNotClear},
		{"the error circle is clear", Inside, 18.1, 50, 12, Outside, WhyOutside},
		{"a flattering accuracy is taken as 10 m", Inside, 15, 50, 3, Inside, WhyNotClear},
		{"beyond those", Inside, 15.1, 50, 3, Outside, WhyOutside},
		{"no accuracy is taken as 50 m: holds", Inside, 75, 50, 0, Inside, WhyNotClear},
		{"no accuracy is taken as 50 m: leaves", Inside, 76, 50, 0, Outside, WhyOutside},
		{"no accuracy enters", Outside, -1, 50, 0, Inside, WhyInside},
		{"iOS says not given by -1", Inside, 75, 50, -1, Inside, WhyNotClear},
		{"NaN margin", Inside, nan, 50, 12, Inside, WhyNoDistance},
		{"NaN accuracy", Outside, -5, 50, nan, Outside, WhyNoDistance},
		{"endless accuracy", Inside, 1e9, 50, math.Inf(1), Inside, WhyInaccurate},
	} {
		v := DefaultRule().Decide(c.was, c.margin, c.size, c.ac)
		if v.Now != c.now || v.Why != c.why || v.Changed != (c.now != c.was) {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
}

func TestRuleRefusesWhatCannotWork(t *testing.T) {
	if err := DefaultRule().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Rule){
		"max_accuracy_m must be 1 to 100000, is 0":             func(r *Rule) { r.MaxAccuracyM = 0 },
		"enter_accuracy_m must be 1 to 100000, is NaN":         func(r *Rule) { r.EnterAccuracyM = math.NaN() },
		"clear_factor must be 0 to 100000, is -1":              func(r *Rule) { r.ClearFactor = -1 },
		"assumed_accuracy_m must not exceed max_accuracy_m":    func(r *Rule) { r.AssumedAccuracyM = 1001 },
		"floor_accuracy_m must not exceed max_accuracy_m":      func(r *Rule) { r.FloorAccuracyM = 2000 },
		"floor_accuracy_m must be 0 to 100000, is 100000.0001": func(r *Rule) { r.FloorAccuracyM = 100_000.0001 },
	} {
		r := DefaultRule()
		spoil(&r)
		err := r.Validate()
		if _, ok := errors.AsType[*Error](err); !ok || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// flips counts the changes of presence over fixes made by next.
func flips(n int, fence Circle, start Presence, next func(i int) (Point, float64)) (ruled, naive int) {
	was, in := start, start == Inside
	for i := range n {
		p, acc := next(i)
		m := fence.MarginM(p)
		v := DefaultRule().Decide(was, m, fence.BoundingRadiusM(), acc)
		if v.Changed {
			ruled++
		}
		was = v.Now
		if (m <= 0) != in {
			in = !in
			naive++
		}
	}
	return ruled, naive
}

// noisy is a fix of somebody at p: two-dimensional normal noise whose 68 % radius
// is acc, which is 1.51 standard deviations.
func noisy(r *rand.Rand, p Point, acc float64) Point {
	sd := acc / 1.51
	return offset(offset(p, 0, sd*r.NormFloat64()), math.Pi/2, sd*r.NormFloat64())
}

func TestSomebodyWhoStandsStillDoesNotFlap(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	fence := Circle{Point{52.52, 13.405}, 60}
	const fixes = 5000
	for _, c := range []struct {
		name     string
		insideM  float64 // where the person stands, from the border inwards
		acc      float64
		atMost   int     // changes in 5,000 fixes
		ofNaive  float64 // and as a share of the naive rule's, where that flaps
		mustFlap bool    // the naive rule must, else the test shows nothing
	}{
		{"in the middle, outdoors", 60, 12, 1, 1, false},
		{"in the middle, by Wi-Fi", 60, 40, 10, 0.02, true},
		{"10 m inside, outdoors", 10, 12, 30, 0.03, true},
		{"on the border, outdoors", 0, 12, 200, 0.08, true},
		{"20 m outside, outdoors", -20, 12, 60, 1, true},
	} {
		at := offset(fence.Around, 1, fence.RadiusM-c.insideM)
		start := Inside
		if c.insideM < 0 {
			start = Outside
		}
		ruled, naive := flips(fixes, fence, start, func(int) (Point, float64) { return noisy(r, at, c.acc), c.acc })
		t.Logf("%-26s %4d changes, naive %4d", c.name, ruled, naive)
		if ruled > c.atMost || c.mustFlap && float64(ruled) > c.ofNaive*float64(naive) || c.mustFlap && naive == 0 {
			t.Errorf("%s: %d changes in %d fixes, naive %d", c.name, ruled, fixes, naive)
		}
	}
}

func TestAShortVisitIsNotLost(t *testing.T) {
	// Through the middle of a 60 m fence and out again at 1.3 m/s, a fix each 10 s.
	r := rand.New(rand.NewPCG(19, 20))
	fence := Circle{Point{52.52, 13.405}, 60}
	const walks = 500
	for acc, atLeast := range map[float64]int{8: 500, 20: 485, 40: 450} {
		once, lost := 0, 0
		for range walks {
			ruled, _ := flips(60, fence, Outside, func(i int) (Point, float64) {
				return noisy(r, offset(fence.Around, math.Pi/2, -300+13*float64(i)), acc), acc
			})
			switch ruled {
			case 0:
				lost++
			case 2:
				once++
			}
		}
		t.Logf("accuracy %v m: one enter and one exit on %d of %d walks", acc, once, walks)
		if once < atLeast || lost > 0 {
			t.Errorf("accuracy %v m: %d walks without an enter, one visit on only %d of %d", acc, lost, once, walks)
		}
	}
}

// transition is a change on a recorded day.
type transition struct {
	fence   string
	entered bool
}

// walk runs one device's fixes over an index: the fences that hold the fix, and
// those that it is in.
func walk(ix *Index, points []Point, accuracies []float64) (out []transition, inaccurate int) {
	rule := DefaultRule()
	in := map[string]bool{}
	var hits []Hit
	for i, p := range points {
		hits = ix.At(p, hits[:0])
		seen := map[string]bool{}
		for _, h := range hits {
			seen[h.ID] = true
		}
		for id := range in {
			if f, ok := ix.Fence(id); ok && !seen[id] {
				hits = append(hits, Hit{f, f.Shape.MarginM(p)})
			}
		}
		slices.SortFunc(hits, func(a, b Hit) int { return strings.Compare(a.ID, b.ID) })
		for _, h := range hits {
			was := Outside
			if in[h.ID] {
				was = Inside
			}
			v := rule.Decide(was, h.MarginM, h.Shape.BoundingRadiusM(), accuracies[i])
			if v.Why == WhyInaccurate {
				inaccurate++
			}
			if !v.Changed {
				continue
			}
			out = append(out, transition{h.ID, v.Now == Inside})
			if v.Now == Inside {
				in[h.ID] = true
			} else {
				delete(in, h.ID)
			}
		}
	}
	return out, inaccurate
}

func TestEntersAndExitsAlternateOnRecordedDays(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "shared", "data", "traces", "emission", "*.locations.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("no recorded phone-days beside this repository")
	}
	entersOfAll := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var points []Point
		var accuracies []float64
		for line := range strings.Lines(string(raw)) {
			var fix struct{ Lat, Lng, Acc float64 }
			if err := json.Unmarshal([]byte(strings.Replace(line, `"lon"`, `"lng"`, 1)), &fix); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			points = append(points, Point{fix.Lat, fix.Lng})
			accuracies = append(accuracies, fix.Acc)
		}
		// A shop of 60 m with an approach of 300 m at every 25th fix of the day.
		var fences []Fence
		for i := 0; i < len(points); i += 25 {
			at := offset(points[i], float64(i), 40)
			id := string(rune('a'+i/25%26)) + string(rune('a'+i/650%26)) + string(rune('a'+i/16900))
			fences = append(fences, Fence{id + "-inside", Circle{at, 60}}, Fence{id + "-near", Circle{at, 300}})
		}
		ix, err := NewIndex(fences)
		if err != nil {
			t.Fatal(err)
		}
		ts, inaccurate := walk(ix, points, accuracies)
		in := map[string]bool{}
		enters := 0
		for _, tr := range ts {
			if in[tr.fence] == tr.entered {
				t.Fatalf("%s: %s does not alternate", filepath.Base(file), tr.fence)
			}
			in[tr.fence] = tr.entered
			if tr.entered {
				enters++
			}
		}
		entersOfAll += enters
		naive := 0
		was := map[string]bool{}
		for _, p := range points {
			now := map[string]bool{}
			for _, h := range ix.At(p, nil) {
				now[h.ID] = true
				if !was[h.ID] {
					naive++
				}
			}
			was = now
		}
		t.Logf("%-46s %4d fixes, %3d fences: %4d enters (naive %4d), %d judgements dropped as inaccurate",
			filepath.Base(file), len(points), len(fences), enters, naive, inaccurate)
		if enters > naive {
			t.Errorf("%s: %d enters, more than the %d of no rule at all", filepath.Base(file), enters, naive)
		}
	}
	if entersOfAll == 0 {
		t.Error("nobody entered anything")
	}
}
