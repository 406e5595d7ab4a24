package geo_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

func TestWhatAFixSays(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name             string
		margin, size, ac float64
		says             geo.Says
		why              geo.Why
	}{
		{"the error circle is inside", -12, 50, 12, geo.SaysInside, geo.WhyInside},
		{"it touches the border from within", -11.9, 50, 12, geo.SaysMaybeInside, geo.WhyNotSure},
		{"the border is inside", 0, 50, 12, geo.SaysMaybeInside, geo.WhyNotSure},
		{"just outside", 1, 50, 12, geo.SaysMaybeOutside, geo.WhyNotClear},
		{"100 m of a small fence", -5, 50, 100, geo.SaysMaybeInside, geo.WhyNotSure},
		{"worse says nothing", -5, 50, 101, geo.SaysNothing, geo.WhyTooCoarse},
		{"but of a large fence", -5, 500, 300, geo.SaysMaybeInside, geo.WhyNotSure},
		{"2 km says nothing of a shop", -5, 50, 2000, geo.SaysNothing, geo.WhyInaccurate},
		{"17 km throws nobody out", 20_000, 50, 17_000, geo.SaysNothing, geo.WhyInaccurate},
		{"not clear", 18, 50, 12, geo.SaysMaybeOutside, geo.WhyNotClear},
		{"clear", 18.1, 50, 12, geo.SaysOutside, geo.WhyOutside},
		{"a flattering accuracy is taken as 10 m", 15, 50, 3, geo.SaysMaybeOutside, geo.WhyNotClear},
		{"beyond those", 15.1, 50, 3, geo.SaysOutside, geo.WhyOutside},
		{"no accuracy is taken as 50 m", 75, 50, 0, geo.SaysMaybeOutside, geo.WhyNotClear},
		{"no accuracy is taken as 50 m: clear", 76, 50, 0, geo.SaysOutside, geo.WhyOutside},
		{"iOS says not given by -1", 75, 50, -1, geo.SaysMaybeOutside, geo.WhyNotClear},
		{"NaN margin", nan, 50, 12, geo.SaysNothing, geo.WhyNoDistance},
		{"NaN accuracy", -5, 50, nan, geo.SaysNothing, geo.WhyNoDistance},
		{"endless accuracy", 1e9, 50, math.Inf(1), geo.SaysNothing, geo.WhyInaccurate},
	} {
		rule := geo.DefaultRule()
		if says, why, _ := rule.Judge(c.margin, c.size, c.ac); says != c.says || why != c.why {
			t.Errorf("%s: %v %s", c.name, says, why)
		}
	}
}

func TestRuleRefusesWhatCannotWork(t *testing.T) {
	if err := geo.DefaultRule().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*geo.Rule){
		"max_accuracy_m must be 1 to 100000, is 0":             func(r *geo.Rule) { r.MaxAccuracyM = 0 },
		"enter_accuracy_m must be 1 to 100000, is NaN":         func(r *geo.Rule) { r.EnterAccuracyM = math.NaN() },
		"clear_factor must be 0 to 100000, is -1":              func(r *geo.Rule) { r.ClearFactor = -1 },
		"sure_factor must be 0 to 100000, is -1":               func(r *geo.Rule) { r.SureFactor = -1 },
		"assumed_accuracy_m must not exceed max_accuracy_m":    func(r *geo.Rule) { r.AssumedAccuracyM = 1001 },
		"floor_accuracy_m must not exceed max_accuracy_m":      func(r *geo.Rule) { r.FloorAccuracyM = 2000 },
		"floor_accuracy_m must be 0 to 100000, is 100000.0001": func(r *geo.Rule) { r.FloorAccuracyM = 100_000.0001 },
		"exit_confirm_s must be 0 to 2.592e+06 s, is -1":       func(r *geo.Rule) { r.ExitConfirm = -time.Second },
		"confirm_within_s must be 1 to 2.592e+06 s, is 0":      func(r *geo.Rule) { r.ConfirmWithin = 0 },
		"silence_s must be 60 to 2.592e+06 s, is 1":            func(r *geo.Rule) { r.Silence = time.Second },
		"beacon_lost_s must be 1 to 2.592e+06 s, is 3e+06":     func(r *geo.Rule) { r.BeaconLost = 3e6 * time.Second },
	} {
		r := geo.DefaultRule()
		spoil(&r)
		err := r.Validate()
		if _, ok := errors.AsType[*geo.Error](err); !ok || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// noise is that of a receiver: two-dimensional and normal, with a 68 % radius of
// acc, which is 1.51 standard deviations; alike from fix to fix by the given share
// (0: independent).
type noise struct {
	r           *rand.Rand
	acc, alike  float64
	east, north float64
}

func (n *noise) next() (east, north float64) {
	sd := n.acc / 1.51 * math.Sqrt(1-n.alike*n.alike)
	n.east = n.alike*n.east + sd*n.r.NormFloat64()
	n.north = n.alike*n.north + sd*n.r.NormFloat64()
	return n.east, n.north
}

// changes counts the enters and exits that a tracker tells, and those of the bare
// positions, of fixes each 10 s around a fence of 60 m.
func changes(t testing.TB, rule geo.Rule, fixes int, n *noise, where func(i int) (east, north float64)) (told []geo.Transition, naive int) {
	t.Helper()
	shape := geo.Circle{Around: mid, RadiusM: 60}
	w := newTown(t, plot{id: "f", shape: shape, rule: &rule})
	w.doubts.Speed = geo.AcceptDoubtful
	var tracker geo.Tracker
	in := false
	for i := range fixes {
		e, nn := where(i)
		de, dn := n.next()
		p := metres(e+de, nn+dn)
		s := tracker.Apply(w, geo.Evidence{Source: geo.ByFix, At: at(10 * float64(i)), Seq: uint64(i + 1), Pos: p, AccuracyM: n.acc}, time.Time{})
		for _, tr := range s.Told {
			if tr.Kind == geo.Enter || tr.Kind == geo.Exit {
				told = append(told, tr)
			}
		}
		if shape.Contains(p) != in {
			in = !in
			naive++
		}
	}
	return told, naive
}

func TestSomebodyWhoStandsStillDoesNotFlap(t *testing.T) {
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
		{"on the border, outdoors", 0, 12, 250, 0.10, true},
		{"20 m outside, outdoors", -20, 12, 20, 1, true},
	} {
		n := &noise{r: rand.New(rand.NewPCG(17, 18)), acc: c.acc}
		told, naive := changes(t, geo.DefaultRule(), fixes, n, func(int) (float64, float64) { return 60 - c.insideM, 0 })
		t.Logf("%-26s %4d changes, naive %4d", c.name, len(told), naive)
		if len(told) > c.atMost || c.mustFlap && float64(len(told)) > c.ofNaive*float64(naive) || c.mustFlap && naive == 0 {
			t.Errorf("%s: %d changes in %d fixes, naive %d", c.name, len(told), fixes, naive)
		}
	}
}

// through walks through the middle of the fence and out again at 1.3 m/s, a fix each
// 10 s: how many walks had one enter and one exit, none at all, and by how many
// metres the enters and exits came late.
func through(t testing.TB, rule geo.Rule, walks int, n *noise) (once, lost int, enterM, exitM float64) {
	t.Helper()
	enters, exits := 0, 0
	for range walks {
		told, _ := changes(t, rule, 60, n, func(i int) (float64, float64) { return -300 + 13*float64(i), 0 })
		switch len(told) {
		case 0:
			lost++
		case 2:
			once++
			enterM += -300 + 1.3*told[0].At.Sub(noon).Seconds() + 60
			exitM += -300 + 1.3*told[1].At.Sub(noon).Seconds() - 60
			enters++
			exits++
		}
	}
	return once, lost, enterM / float64(max(1, enters)), exitM / float64(max(1, exits))
}

func TestAShortVisitIsNotLost(t *testing.T) {
	const walks = 500
	for acc, atLeast := range map[float64]int{8: 500, 20: 485, 40: 450} {
		n := &noise{r: rand.New(rand.NewPCG(19, 20)), acc: acc}
		once, lost, enterM, exitM := through(t, geo.DefaultRule(), walks, n)
		t.Logf("accuracy %v m: one enter and one exit on %d of %d walks, %d without any; late by %.0f and %.0f m", acc, once, walks, lost, enterM, exitM)
		if once < atLeast || lost > walks/50 {
			t.Errorf("accuracy %v m: %d walks without an enter, one visit on only %d of %d", acc, lost, once, walks)
		}
	}
}

// The figures of the package's doc: go test -run TradeOff -v ./geo prints them.
func TestTheTradeOffOfTheRule(t *testing.T) {
	if testing.Short() || os.Getenv("FOOTFALL_TRADE_OFF") == "" {
		t.Skip("prints a table: set FOOTFALL_TRADE_OFF")
	}
	for _, alike := range []float64{0, 0.8} {
		for _, c := range []struct {
			name string
			set  func(*geo.Rule)
		}{
			{"as it is", func(*geo.Rule) {}},
			{"every point inside enters", func(r *geo.Rule) { r.SureFactor = 0 }},
			{"clear factor 1", func(r *geo.Rule) { r.ClearFactor = 1 }},
			{"clear factor 2", func(r *geo.Rule) { r.ClearFactor = 2 }},
			{"exit confirm 20 s", func(r *geo.Rule) { r.ExitConfirm = 20 * time.Second }},
			{"exit confirm 120 s", func(r *geo.Rule) { r.ExitConfirm = 2 * time.Minute }},
			{"enter confirm 30 s", func(r *geo.Rule) { r.EnterConfirm = 30 * time.Second }},
			{"no rule", nil},
		} {
			var b strings.Builder
			for _, acc := range []float64{8, 20, 40} {
				rule := geo.DefaultRule()
				if c.set != nil {
					c.set(&rule)
				} else {
					rule.SureFactor, rule.ClearFactor, rule.FloorAccuracyM = 0, 0, 0
				}
				n := &noise{r: rand.New(rand.NewPCG(21, 22)), acc: acc, alike: alike}
				told, _ := changes(t, rule, 5000, n, func(int) (float64, float64) { return 60, 0 })
				once, lost, enterM, exitM := through(t, rule, 1000, n)
				fmt.Fprintf(&b, " | %4d %5.1f%% %4.1f%% %3.0f %3.0f", len(told), float64(once)/10, float64(lost)/10, enterM, exitM)
			}
			t.Logf("alike %.1f  %-26s%s", alike, c.name, b.String())
		}
	}
}

func TestEntersAndExitsAlternateOnRecordedDays(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "shared", "data", "traces", "emission", "*.locations.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("no recorded phone-days beside this repository")
	}
	of := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var es []geo.Evidence
		for line := range strings.Lines(string(raw)) {
			var fix struct{ TS, Lat, Lon, Acc float64 }
			if err := json.Unmarshal([]byte(line), &fix); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			es = append(es, geo.Evidence{
				Source: geo.ByFix, At: time.UnixMilli(int64(fix.TS * 1000)), Seq: uint64(len(es) + 1),
				Pos: geo.Point{Lat: fix.Lat, Lng: fix.Lon}, AccuracyM: fix.Acc,
			})
		}
		// A shop of 60 m with an approach of 300 m at every 25th fix of the day.
		var plots []plot
		for i := 0; i < len(es); i += 25 {
			id := fmt.Sprint(i)
			around := es[i].Pos
			around.Lat += 0.0003
			plots = append(
				plots,
				plot{id: id, shape: geo.Circle{Around: around, RadiusM: 60}, dwell: 5 * time.Minute},
				plot{id: id + "-near", place: id, shape: geo.Circle{Around: around, RadiusM: 300}, near: true},
			)
		}
		k := newWalk(t, newTown(t, plots...))
		naive := 0
		was := map[string]bool{}
		for _, e := range es {
			k.apply(e)
			now := map[string]bool{}
			for _, h := range k.w.index.At(e.Pos, nil) {
				now[h.ID] = true
				if !was[h.ID] {
					naive++
				}
			}
			was = now
		}
		alternate(t, "told", k.told)
		k.take(k.tracker.Settle(k.w))
		alternate(t, "settled", k.settled)
		enters := 0
		for _, tr := range k.settled {
			if tr.Kind == geo.Enter || tr.Kind == geo.Near {
				enters++
			}
		}
		of += enters
		t.Logf("%-46s %4d fixes, %3d fences: %4d enters (naive %4d)", filepath.Base(file), len(es), len(plots), enters, naive)
		if enters > naive {
			t.Errorf("%s: %d enters, more than the %d of no rule at all", filepath.Base(file), enters, naive)
		}
	}
	if of == 0 {
		t.Error("nobody entered anything")
	}
}
