package traces

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// stay is one that another pipeline saw, at the place of that number.
type stay struct {
	place    int
	from, to time.Time // to is zero where the day ends before
}

// phoneDay is a recorded day.
type phoneDay struct {
	name   string
	rows   []Row       // in order, each once
	places []geo.Point // of the stays, 100 m and more apart
	stays  []stay      // of which the beginning is recorded
}

func phoneDays(t *testing.T) []phoneDay {
	t.Helper()
	var days []phoneDay
	for _, path := range shared(t, "emission/*.locations.ndjson") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d := phoneDay{name: filepath.Base(path)}
		err = Read(strings.NewReader(string(text)), NDJSON, Limits{}, &Report{}, func(r *Row) error {
			r.Line = 0
			d.rows = append(d.rows, *r)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(d.rows, func(a, b Row) int { return compareRows(&a, &b) })
		d.rows = slices.CompactFunc(d.rows, func(a, b Row) bool { return compareRows(&a, &b) == 0 })
		d.addStays(t, strings.Replace(path, ".locations.ndjson", ".peer_trips.json", 1))
		days = append(days, d)
	}
	return days
}

func (d *phoneDay) addStays(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return
	}
	type place struct {
		Coordinates [2]float64
		Enter       *float64 `json:"enter_ts"`
		Exit        *float64 `json:"exit_ts"`
	}
	var trips []struct {
		Start place `json:"start_place"`
		End   place `json:"end_place"`
	}
	if err == nil {
		err = json.Unmarshal(text, &trips)
	}
	if err != nil {
		t.Fatal(err)
	}
	add := func(p place) {
		pos := geo.Point{Lat: p.Coordinates[1], Lng: p.Coordinates[0]}
		at := slices.IndexFunc(d.places, func(q geo.Point) bool { return geo.DistanceM(pos, q) < 100 })
		if at < 0 {
			at = len(d.places)
			d.places = append(d.places, pos)
		}
		if p.Enter == nil {
			return // nothing is recorded before its end
		}
		s := stay{place: at}
		s.from, _, _ = numberTime(*p.Enter)
		if p.Exit != nil {
			s.to, _, _ = numberTime(*p.Exit)
		}
		d.stays = append(d.stays, s)
	}
	for i := range trips {
		if i == 0 {
			add(trips[i].Start)
		}
		add(trips[i].End)
	}
}

// along are points 400 m and more apart, all along the way.
func (d *phoneDay) along() []geo.Point {
	var ps []geo.Point
	for i := range d.rows {
		p := d.rows[i].Pos
		if !slices.ContainsFunc(ps, func(q geo.Point) bool { return geo.DistanceM(p, q) < 400 }) {
			ps = append(ps, p)
		}
	}
	return ps
}

// span is a visit of a fence; to is zero where it goes on.
type span struct{ from, to time.Time }

func (s span) meets(o span) bool {
	return (o.to.IsZero() || s.from.Before(o.to)) && (s.to.IsZero() || o.from.Before(s.to))
}

// visits of circles around points, by the tracker and by the bare positions.
func (d *phoneDay) visits(t *testing.T, around []geo.Point, radiusM float64, rule geo.Rule) (tracked, bare [][]span) {
	t.Helper()
	f := Fences{terms: map[string]geo.Terms{}, doubts: geo.DefaultDoubts()}
	fences := make([]geo.Fence, len(around))
	number := map[string]int{}
	for i, p := range around {
		id := fmt.Sprint(i)
		number[id] = i
		fences[i] = geo.Fence{ID: id, Shape: geo.Circle{Around: p, RadiusM: radiusM}}
		f.terms[id] = geo.Terms{Place: id, Rule: &rule}
	}
	var err error
	if f.index, err = geo.NewIndex(fences); err != nil {
		t.Fatal(err)
	}
	tracked, bare = make([][]span, len(around)), make([][]span, len(around))
	change := func(of *[]span, in bool, at time.Time) {
		if in {
			*of = append(*of, span{from: at})
		} else {
			(*of)[len(*of)-1].to = at
		}
	}
	var tracker geo.Tracker
	take := func(ts []geo.Transition) {
		for i := range ts {
			if k := ts[i].Kind; k == geo.Enter || k == geo.Exit {
				change(&tracked[number[ts[i].Fence]], k == geo.Enter, ts[i].At)
			}
		}
	}
	for i := range d.rows {
		row := &d.rows[i]
		take(tracker.Apply(&f, row.Evidence, row.At).Settled)
		for n := range fences {
			of := &bare[n]
			in := len(*of) > 0 && (*of)[len(*of)-1].to.IsZero()
			if now := fences[n].Shape.Contains(row.Pos); now != in {
				change(of, now, row.At)
			}
		}
	}
	take(tracker.Settle(&f).Settled)
	return tracked, bare
}

// tally is what visits look like beside the stays.
type tally struct {
	stays, found, doubled    int
	visits, short, reentered int
	late, lateOut            []time.Duration
}

func (n *tally) add(stays []stay, visits [][]span) {
	for _, s := range stays {
		n.stays++
		var met []span
		for _, v := range visits[s.place] {
			if v.meets(span{s.from, s.to}) {
				met = append(met, v)
			}
		}
		if len(met) == 0 {
			continue
		}
		n.found++
		if len(met) > 1 {
			n.doubled++
		}
		n.late = append(n.late, met[0].from.Sub(s.from))
		if last := met[len(met)-1].to; !last.IsZero() && !s.to.IsZero() {
			n.lateOut = append(n.lateOut, last.Sub(s.to))
		}
	}
	for _, of := range visits {
		for i, v := range of {
			n.visits++
			if !v.to.IsZero() && v.to.Sub(v.from) < 2*time.Minute {
				n.short++
			}
			if i > 0 && v.from.Sub(of[i-1].to) < 5*time.Minute {
				n.reentered++
			}
		}
	}
}

func median(of []time.Duration) time.Duration {
	if len(of) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(of))[len(of)/2].Round(time.Second)
}

// The figures of geo's doc on ten phone-days: go test -run PhoneDays -v prints them.
func TestVisitsOfPhoneDaysAreTheStays(t *testing.T) {
	days := phoneDays(t)
	for _, radius := range []float64{50, 100, 200} {
		var stays, bareStays, way, bareWay tally
		for i := range days {
			d := &days[i]
			tracked, bare := d.visits(t, d.places, radius, geo.DefaultRule())
			stays.add(d.stays, tracked)
			bareStays.add(d.stays, bare)
			tracked, bare = d.visits(t, d.along(), radius, geo.DefaultRule())
			way.add(nil, tracked)
			bareWay.add(nil, bare)
		}
		print := func(what string, n, w *tally) {
			t.Logf("%3.0f m, %-7s %d of %d stays, %d doubled; %3d visits, %d short, %d re-entered; begins %v, ends %v; on the way %d visits, %d short, %d re-entered",
				radius, what, n.found, n.stays, n.doubled, n.visits, n.short, n.reentered, median(n.late), median(n.lateOut), w.visits, w.short, w.reentered)
		}
		print("tracker", &stays, &way)
		print("bare", &bareStays, &bareWay)
		if stays.stays != 40 || stays.found != stays.stays {
			t.Errorf("%v m: %d of %d stays were found", radius, stays.found, stays.stays)
		}
		if 2*stays.doubled > bareStays.doubled || 2*stays.reentered > bareStays.reentered || 2*way.reentered > bareWay.reentered {
			t.Errorf("%v m: it flaps more than half as often as the bare positions", radius)
		}
		if median(stays.lateOut) > median(bareStays.lateOut)+time.Minute {
			t.Errorf("%v m: exits come later than a minute after the bare positions'", radius)
		}
	}
}
