package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

var opened = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// stay is a visit of a minute, from so many minutes after nine on.
func stay(id, install, place string, minute int) engage.Visit {
	since := opened.Add(time.Duration(minute) * time.Minute)
	return engage.Visit{
		V: 1, ID: id, Install: install, Place: place, Since: since, SinceUS: since.UnixMicro(), Until: since.Add(time.Minute),
		Last: since.Add(time.Minute), InsideAt: since.Add(20 * time.Second), ConfirmedS: 60, Ended: engage.EndedByExit,
	}
}

// with is a longer list beside the old one.
func with[T any](all []T, more ...T) []T { return slices.Concat(all, more) }

func TestVisitsAreCountedByKind(t *testing.T) {
	near, open, taken, long := stay("b", "p", "x", 10), stay("c", "p", "x", 20), stay("d", "p", "x", 30), stay("e", "p", "x", 40)
	near.InsideAt = time.Time{}
	near.Stale = true
	open.Until, open.Ended = time.Time{}, ""
	open.DwelledAt = open.Last
	taken.Ended = engage.EndedByWithdrawal
	long.Until, long.Ended = long.Since.Add(10*time.Minute), engage.EndedBySilence
	n, v := countVisits([]engage.Visit{stay("a", "p", "x", 0), near, open, taken, long})
	if n != 4 || v.Open != 1 || v.Inside != 3 || v.Dwelled != 1 || v.Stale != 1 || v.Withdrawn != 1 {
		t.Errorf("%d: %+v", n, v)
	}
	if v.MedianS != 60 || v.MedianInS != (40+580)/2 || v.Ended[engage.EndedByExit] != 2 || v.Ended[engage.EndedBySilence] != 1 {
		t.Errorf("%+v", v)
	}
	if n, v := countVisits(nil); n != 0 || v.MedianS != 0 || v.Ended == nil {
		t.Errorf("none: %d %+v", n, v)
	}
}

func TestTheAuditOfVisitsFindsWhatCannotBe(t *testing.T) {
	good := []engage.Visit{stay("a", "p", "x", 0), stay("b", "p", "x", 1), stay("c", "p", "y", 0), stay("d", "q", "x", 0)}
	told := []crossing{{"p", "x", "a"}, {"p", "x", "a"}, {"q", "x", "d"}}
	open := stay("o", "p", "x", 5)
	open.Until, open.Ended, open.Last = time.Time{}, "", open.Since.Add(3*time.Second)
	open.ConfirmedS, open.InsideAt = 2, open.Since
	good = append(good, open)
	if faults := auditVisits(good, told); len(faults) > 0 {
		t.Fatalf("visits that can be: %+v", faults)
	}
	change := func(f func(*engage.Visit)) []engage.Visit {
		all := slices.Clone(good)
		f(&all[0])
		return all
	}
	taken := stay("w", "p", "x", 0)
	taken.Ended = engage.EndedByWithdrawal
	for name, c := range map[string]struct {
		visits []engage.Visit
		told   []crossing
		want   string
	}{
		"lost":              {good, with(told, crossing{"p", "x", "z"}, crossing{"p", "x", "z"}), "not there"},
		"another place":     {good, with(told, crossing{"p", "y", "a"}), "of x"},
		"another phone":     {good, with(told, crossing{"q", "x", "a"}), "tells of it"},
		"twice at once":     {with(good, stay("s", "p", "y", 0)), told, "began before c"},
		"after an open one": {with(good, stay("s", "p", "x", 7)), told, "began before o"},
		"backwards":         {change(func(v *engage.Visit) { v.Until = v.Since.Add(-time.Second) }), told, "ends before"},
		"no reason":         {change(func(v *engage.Visit) { v.Ended = "" }), told, "without a reason"},
		"no end":            {change(func(v *engage.Visit) { v.Until = time.Time{} }), nil, "without an end"},
		"last outside":      {change(func(v *engage.Visit) { v.Last = v.Until.Add(time.Second) }), told, "last evidence"},
		"inside outside":    {change(func(v *engage.Visit) { v.InsideAt = v.Until.Add(time.Second) }), told, "was inside"},
		"dwelled outside":   {change(func(v *engage.Visit) { v.DwelledAt = v.Until.Add(time.Second) }), told, "dwelled"},
		"more than all":     {change(func(v *engage.Visit) { v.ConfirmedS = 61 }), told, "confirmed"},
		"two beginnings":    {change(func(v *engage.Visit) { v.SinceUS++ }), told, "beginning"},
	} {
		faults := auditVisits(c.visits, c.told)
		if len(faults) == 0 || !strings.Contains(faults[0].Why, c.want) {
			t.Errorf("%s: %+v, want %q", name, faults, c.want)
		}
		if name != "no end" && len(faults) != 1 {
			t.Errorf("%s: one fault is told as %d: %+v", name, len(faults), faults)
		}
	}
	instant, on := stay("z", "p", "z", 9), stay("a0", "p", "z", 9)
	instant.Until, instant.Last, instant.InsideAt, instant.ConfirmedS = instant.Since, instant.Since, instant.Since, 0
	if faults := auditVisits([]engage.Visit{on, instant}, nil); len(faults) > 0 {
		t.Errorf("in and out in one instant, and in again: %+v", faults)
	}
	if faults := auditVisits(with(good, taken), with(told, crossing{"p", "x", "w"})); len(faults) > 0 {
		t.Errorf("one that late evidence took back: %+v", faults)
	}
}
