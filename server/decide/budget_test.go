package decide_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// visitsAll has so many persons enter the café, one after the other, and everything that
// the partition says to itself be heard; it gives what became of their moments.
func (w *world) visitsAll(n int, every time.Duration) map[string]int {
	w.Helper()
	for i := range n {
		id, at := fmt.Sprint("p", i), time.Duration(i+1)*every
		w.meet(id)
		w.fireUntil(at)
		w.apply(enters(id, "cafe", "v-"+id, at))
		w.pump(at)
	}
	w.fireUntil(time.Duration(n)*every + 10*sec)
	w.pump(time.Duration(n)*every + 10*sec)
	out := map[string]int{}
	for _, d := range w.decisions() {
		out[strings.TrimSpace(fmt.Sprint(d.State, " ", d.Reason))]++
	}
	return out
}

// A budget is of all persons together: it is used up, and never exceeded.
func TestACampaignsBudgetIsNeverExceeded(t *testing.T) {
	for _, x := range []struct {
		name  string
		limit func(*engage.Limits)
		every time.Duration
		want  map[string]int
	}{
		{"messages", func(l *engage.Limits) { l.Budget = &engage.Budget{Messages: 7} }, sec, map[string]int{"pending": 7, "suppressed cap_budget": 13}},
		{"money", func(l *engage.Limits) { l.Budget = &engage.Budget{Amount: 1, Cost: 0.3} }, sec, map[string]int{"pending": 3, "suppressed cap_budget": 17}},
		{"of whichever there is less", func(l *engage.Limits) { l.Budget = &engage.Budget{Messages: 7, Amount: 1, Cost: 0.2} }, sec, map[string]int{"pending": 5, "suppressed cap_budget": 15}},
		// 20 visits, one every 10 s from 10:00:10 on: minutes of 5, 6, 6 and 3 of them.
		{"a rate", func(l *engage.Limits) { l.Rate = &engage.Rate{PerMinute: 4} }, 10 * sec, map[string]int{"pending": 15, "suppressed cap_rate": 5}},
		// One every three hours from 13:00 on: 4, 8 and 8 of them in a day of UTC.
		{"a day", func(l *engage.Limits) { l.Budget = &engage.Budget{PerDay: 3}; l.ExpireS = 1_000_000 }, 3 * time.Hour, map[string]int{"pending": 9, "suppressed cap_budget": 11}},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := newWorld(t, offer("x", func(c *engage.Campaign) { x.limit(&c.Limits) }))
			w.Quick = true
			if got := w.visitsAll(20, x.every); !maps.Equal(got, x.want) {
				t.Errorf("got %v, want %v", got, x.want)
			}
			w.checkCounts()
		})
	}
	t.Run("who is held out takes nothing", func(t *testing.T) {
		id := "x"
		w := newWorld(t, offer(id, func(c *engage.Campaign) {
			c.HoldoutPercent = 50
			c.Limits.Budget = &engage.Budget{Messages: 5}
		}))
		w.Quick = true
		got := w.visitsAll(20, sec)
		if got["pending"] != 5 || got["held_out"] == 0 || got["pending"]+got["held_out"]+got["suppressed cap_budget"] != 20 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("a service has none", func(t *testing.T) {
		w := newWorld(t, offer("x", service, func(c *engage.Campaign) { c.Limits.Budget = &engage.Budget{Messages: 1} }))
		w.Quick = true
		if got := w.visitsAll(5, sec); got["pending"] != 5 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("the trace says of what", func(t *testing.T) {
		w := newWorld(t, offer("x", func(c *engage.Campaign) { c.Limits.Budget = &engage.Budget{Messages: 1} }))
		w.visitsAll(2, sec)
		i := slices.IndexFunc(w.decisions(), func(d engage.Decision) bool { return d.Reason == engage.ReasonCapBudget })
		if i < 0 {
			t.Fatal(w.verdicts())
		}
		gates := w.decisions()[i].Gates
		if got := mustJSON(t, gates[len(gates)-1]); got != `{"gate":"cap","ok":false,"reason":"cap_budget","saw":{"leased_here":0,"of":"messages","takes":1,"total":1}}` {
			t.Errorf("saw %s", got)
		}
	})
}
