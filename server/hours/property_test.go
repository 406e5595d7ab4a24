package hours_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/hours"
)

// The oracle knows a rule as its text and, apart from the parser and its selectors,
// as a question to the calendar and a list of minutes. It paints the minutes of every
// day, rule over rule, and asks the paint what a wall clock shows at each minute.

// selector is a piece of a rule: its text, and whether a day (midnight UTC) is meant.
type selector struct {
	text string
	has  func(day time.Time) bool
}

func pick[T any](r *rand.Rand, items ...T) T { return items[r.IntN(len(items))] }

func md(d time.Time) int { return int(d.Month())*100 + d.Day() }

// dates are around the windows of TestHoursAgreeWithPaintedMinutes.
func dates(r *rand.Rand) selector {
	between := func(from, to int) func(time.Time) bool {
		return func(d time.Time) bool {
			if from <= to {
				return from <= md(d) && md(d) <= to
			}
			return from <= md(d) || md(d) <= to
		}
	}
	year := 2024 + r.IntN(5)
	week := 1 + r.IntN(52)
	return pick(r,
		selector{"", func(time.Time) bool { return true }},
		selector{"", func(time.Time) bool { return true }},
		selector{"Oct-Mar", between(1001, 331)},
		selector{"Feb,Apr,Dec", func(d time.Time) bool { return slices.Contains([]time.Month{2, 4, 12}, d.Month()) }},
		selector{"Dec 31", between(1231, 1231)},
		selector{"Feb 29", between(229, 229)},
		selector{"Feb 28-Mar 1", between(228, 301)},
		selector{"Mar 28-30,Oct 25", func(d time.Time) bool { return between(328, 330)(d) || md(d) == 1025 }},
		selector{"Dec 30-Jan 2", between(1230, 102)},
		selector{"Dec 31 +1 day", between(101, 101)},
		selector{"Jan 1 -1 day", between(1231, 1231)},
		selector{"Mar Su[-1] -1 day-Oct Su[-1]", func(d time.Time) bool {
			last := func(m time.Month) time.Time {
				x := time.Date(d.Year(), m, 31, 0, 0, 0, 0, time.UTC)
				for x.Weekday() != time.Sunday {
					x = x.AddDate(0, 0, -1)
				}
				return x
			}
			return !d.Before(last(3).AddDate(0, 0, -1)) && !d.After(last(10))
		}},
		selector{fmt.Sprintf("%d", year), func(d time.Time) bool { return d.Year() == year }},
		selector{fmt.Sprintf("%d+", year), func(d time.Time) bool { return d.Year() >= year }},
		selector{"2020-2040/2", func(d time.Time) bool { return d.Year()%2 == 0 && 2020 <= d.Year() && d.Year() <= 2040 }},
		selector{fmt.Sprintf("%d Dec 31-Jan 1", year), func(d time.Time) bool {
			return d.Year() == year && md(d) == 1231 || d.Year() == year+1 && md(d) == 101
		}},
		selector{fmt.Sprintf("%d Dec 31-%d Feb 28", year, year+1), func(d time.Time) bool {
			return d.Year() == year && md(d) == 1231 || d.Year() == year+1 && md(d) <= 228
		}},
		selector{fmt.Sprintf("week %d-%d", week, 1+(week+20)%52), func(d time.Time) bool {
			_, w := d.ISOWeek()
			to := 1 + (week+20)%52
			return week <= to && week <= w && w <= to || week > to && (w >= week || w <= to)
		}},
		selector{"week 2-53/2", func(d time.Time) bool { _, w := d.ISOWeek(); return w%2 == 0 }},
	)
}

func days(r *rand.Rand, holidays []time.Time) selector {
	is := func(days ...time.Weekday) func(time.Time) bool {
		return func(d time.Time) bool { return slices.Contains(days, d.Weekday()) }
	}
	public := func(d time.Time) bool { return slices.ContainsFunc(holidays, d.Equal) }
	last := func(d time.Time) bool { return d.AddDate(0, 0, 7).Month() != d.Month() }
	return pick(r,
		selector{"", func(time.Time) bool { return true }},
		selector{"Mo-Fr", func(d time.Time) bool { return d.Weekday() != 0 && d.Weekday() != 6 }},
		selector{"Sa,Su", is(0, 6)},
		selector{"Sa-Mo,We", is(6, 0, 1, 3)},
		selector{"Su[-1]", func(d time.Time) bool { return d.Weekday() == 0 && last(d) }},
		selector{"Su[-1] +1 day", func(d time.Time) bool { b := d.AddDate(0, 0, -1); return b.Weekday() == 0 && last(b) }},
		selector{"Sa[1-2,5]", func(d time.Time) bool {
			return d.Weekday() == 6 && (d.Day() <= 14 || d.Day() > 28)
		}},
		selector{"PH", public},
		selector{"PH -1 day", func(d time.Time) bool { return public(d.AddDate(0, 0, 1)) }},
		selector{"Sa,PH", func(d time.Time) bool { return d.Weekday() == 6 || public(d) }},
		selector{"PH Sa-Su", func(d time.Time) bool { return is(6, 0)(d) && public(d) }},
	)
}

type painted struct {
	sep, text string
	state     hours.State
	spans     [][2]int // minutes; none is the whole day
	unsure    [][2]int // unknown
	has       func(day time.Time) bool
}

func randomRule(r *rand.Rand, holidays []time.Time) painted {
	wide, small := dates(r), days(r, holidays)
	// An offset moves the dates with the weekday: the oracle takes one or the other.
	if strings.Contains(small.text, " day") {
		wide = selector{"", func(time.Time) bool { return true }}
	}
	out := painted{
		sep: pick(r, "; ", "; ", "; ", ", ", " || "),
		has: func(d time.Time) bool { return wide.has(d) && small.has(d) },
	}
	var times []string
	clock := func(m int) string { return fmt.Sprintf("%02d:%02d", m/60, m%60) }
	for range r.IntN(3) {
		from := r.IntN(1440)
		switch to := r.IntN(2881); {
		case r.IntN(8) == 0:
			times = append(times, clock(from)+"+")
			out.spans = append(out.spans, [2]int{from, max(1440, from+240)})
		case r.IntN(8) == 0 && to > from:
			times = append(times, clock(from)+"-"+clock(to)+"+")
			out.spans = append(out.spans, [2]int{from, to})
			out.unsure = append(out.unsure, [2]int{to, min(2880, max(1440, to+240))})
		default:
			times = append(times, clock(from)+"-"+clock(to))
			if to <= from {
				to += 1440
			}
			out.spans = append(out.spans, [2]int{from, to})
		}
	}
	state := pick(r, "", "open", "off", "off", "unknown", `"call"`)
	if state == "" && times == nil {
		state = "open"
	}
	switch out.state = hours.Unknown; state {
	case "", "open":
		out.state = hours.Open
	case "off":
		out.state = hours.Closed
	}
	parts := slices.DeleteFunc([]string{wide.text, small.text, strings.Join(times, ","), state}, func(s string) bool { return s == "" })
	out.text = strings.Join(parts, " ")
	// Times alone after a comma would be more times of the rule before.
	if out.sep == ", " && wide.text == "" && small.text == "" {
		out.sep = "; "
	}
	return out
}

type cell struct {
	state hours.State // empty: nothing was said
	rule  int
}

// paint gives the state of each minute of the days after the first.
func paint(rules []painted, first time.Time, n int) [][1440]hours.State {
	days := make([][2880]cell, n)
	at := func(day, minute int) hours.State {
		is := days[day][minute]
		if night := days[day-1][minute+1440]; night.state != "" && (is.state == "" || night.rule > is.rule) {
			is = night
		}
		if is.state == "" {
			return hours.Closed
		}
		return is.state
	}
	states := func() [][1440]hours.State {
		out := make([][1440]hours.State, n)
		for d := 1; d < n; d++ {
			for m := range 1440 {
				out[d][m] = at(d, m)
			}
		}
		return out
	}
	for i, r := range rules {
		var before [][1440]hours.State
		if r.sep == " || " && i > 0 {
			before = states()
		}
		for d := range n {
			if !r.has(first.AddDate(0, 0, d)) {
				continue
			}
			whole := len(r.spans) == 0
			if before == nil && (r.state == hours.Closed && whole || r.state != hours.Closed && (r.sep == "; " || i == 0)) {
				days[d] = [2880]cell{}
				if r.state == hours.Closed {
					continue
				}
			}
			brush := func(spans [][2]int, state hours.State) {
				for _, s := range spans {
					for m := s[0]; m < s[1]; m++ {
						day, minute := d+m/1440, m%1440
						if before == nil || day < n && day > 0 && before[day][minute] == hours.Closed {
							days[d][m] = cell{state, i}
						}
					}
				}
			}
			if r.state == hours.Open {
				brush(r.unsure, hours.Unknown)
			} else {
				brush(r.unsure, r.state)
			}
			if whole {
				brush([][2]int{{0, 1440}}, r.state)
			} else {
				brush(r.spans, r.state)
			}
		}
	}
	return states()
}

func TestHoursAgreeWithPaintedMinutes(t *testing.T) {
	windows := []struct {
		zone, from string
		days       int
	}{
		{"Europe/Berlin", "2026-03-28", 3},       // 02:00 becomes 03:00
		{"Europe/Berlin", "2026-10-24", 3},       // 03:00 becomes 02:00
		{"Australia/Lord_Howe", "2026-04-04", 3}, // half an hour
		{"Africa/Cairo", "2026-04-23", 3},        // midnight is skipped
		{"America/Havana", "2026-10-31", 3},      // midnight comes twice
		{"Pacific/Apia", "2011-12-29", 3},        // a whole day is skipped
		{"Europe/Berlin", "2026-12-30", 4},
		{"Asia/Kathmandu", "2028-02-27", 4},
	}
	const cases = 60
	r := rand.New(rand.NewPCG(4, 2))
	changed := 0
	for range cases {
		w := windows[r.IntN(len(windows))]
		first, err := time.Parse(time.DateOnly, w.from)
		if err != nil {
			t.Fatal(err)
		}
		p := hours.Place{Zone: zone(t, w.zone)}
		var holidays []time.Time
		for range r.IntN(3) {
			d := first.AddDate(0, 0, r.IntN(w.days+1))
			holidays = append(holidays, d)
			p.Public = append(p.Public, hours.Date{Year: d.Year(), Month: d.Month(), Day: d.Day()})
		}
		var rules []painted
		var text string
		for i := range 1 + r.IntN(4) {
			rules = append(rules, randomRule(r, holidays))
			if i > 0 {
				text += rules[i].sep
			}
			text += rules[i].text
		}
		h := parse(t, text)

		// Two days before, so that their nights are painted whole, and one after.
		start := first.AddDate(0, 0, -3)
		want := paint(rules, start, w.days+5)
		var at []time.Time
		var states []hours.State
		end := first.AddDate(0, 0, w.days)
		// A step of ours is a minute that passes, not one of the clock.
		for x := first.Add(-15 * time.Hour); x.Before(end.Add(15 * time.Hour)); x = x.Add(time.Minute) {
			l := x.In(p.Zone)
			day := int(time.Date(l.Year(), l.Month(), l.Day(), 0, 0, 0, 0, time.UTC).Sub(start) / (24 * time.Hour))
			if day < 2 || day > w.days+2 {
				continue
			}
			at, states = append(at, x), append(states, want[day][l.Hour()*60+l.Minute()])
			if got := h.At(x, p).State; got != states[len(states)-1] {
				t.Fatalf("%s (%s) at %s: %s, painted %s", text, h, l, got, states[len(states)-1])
			}
		}
		changed += checkAhead(t, r, h, p, at, states)
	}
	if changed < cases {
		t.Errorf("only %d changes were looked for in %d cases", changed, cases)
	}
}

// checkAhead holds Until and NextOpen against the states of the minutes, from some of
// them; it tells how many changes it saw.
func checkAhead(t *testing.T, r *rand.Rand, h hours.Hours, p hours.Place, at []time.Time, states []hours.State) int {
	t.Helper()
	seen := 0
	last := at[len(at)-1]
	check := func(what string, from time.Time, got time.Time, ok bool, i, want int) {
		switch {
		case want == len(at): // not in the window
			if ok && !got.After(last) {
				t.Fatalf("%s from %s: %s %s, in the window never", h, from.In(p.Zone), what, got)
			}
		case !ok || !got.Equal(at[want]) && (want > i || !got.Equal(from)):
			t.Fatalf("%s from %s: %s %s, want %s", h, from.In(p.Zone), what, got, at[want].In(p.Zone))
		default:
			seen++
		}
	}
	for i := r.IntN(100); i < len(at); i += 1 + r.IntN(2000) {
		from := at[i].Add(time.Duration(r.Int64N(int64(time.Minute))))
		change, open := i, i
		for change < len(at) && states[change] == states[i] {
			change++
		}
		for open < len(at) && states[open] != hours.Open {
			open++
		}
		got, ok := h.Until(from, p)
		check("lasts until", from, got, ok, i, change)
		got, ok = h.NextOpen(from, p)
		check("opens", from, got, ok, i, open)
	}
	return seen
}
