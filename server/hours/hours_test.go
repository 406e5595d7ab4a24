package hours_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/hours"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, ok := engage.Zone(name)
	if !ok {
		t.Fatalf("no zone %s", name)
	}
	return z
}

func parse(t testing.TB, text string) hours.Hours {
	t.Helper()
	h, err := hours.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return h
}

// berlin has two public holidays and a week of school holidays. 2026-12-25 is a Friday.
func berlin(t testing.TB) hours.Place {
	t.Helper()
	return hours.Place{
		Zone:   zone(t, "Europe/Berlin"),
		Public: []hours.Date{{Year: 2026, Month: time.December, Day: 25}, {Year: 2026, Month: time.October, Day: 3}},
		School: []hours.Date{{Year: 2026, Month: time.October, Day: 19}, {Year: 2026, Month: time.October, Day: 20}},
	}
}

func local(t testing.TB, p hours.Place, text string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04", text, p.Zone)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestStateOfAMoment(t *testing.T) {
	p := berlin(t)
	for _, c := range []struct{ what, text, at, want string }{
		{"opens with the minute", "Mo-Fr 09:00-18:00", "2026-11-23 09:00", "open"},
		{"not before", "Mo-Fr 09:00-18:00", "2026-11-23 08:59", "closed"},
		{"the end is closed", "Mo-Fr 09:00-18:00", "2026-11-23 18:00", "closed"},
		{"another weekday", "Mo-Fr 09:00-18:00", "2026-11-22 12:00", "closed"},
		{"a range over the week's end", "Sa-Mo 09:00-18:00", "2026-11-23 12:00", "open"},
		{"24/7", "24/7", "2026-11-23 03:00", "open"},
		{"a day without times", "Mo", "2026-11-23 23:59", "open"},
		{"24:00 is midnight", "Mo 20:00-24:00", "2026-11-24 00:00", "closed"},
		{"equal times are a day", "Mo 08:00-08:00", "2026-11-24 07:59", "open"},

		{"over midnight", "Fr-Sa 18:00-02:00", "2026-11-22 01:59", "open"},
		{"over midnight ends", "Fr-Sa 18:00-02:00", "2026-11-22 02:00", "closed"},
		{"over midnight, hours beyond 24", "Fr-Sa 18:00-26:00", "2026-11-22 01:59", "open"},
		{"over midnight is of its own day", "Fr-Sa 18:00-02:00", "2026-11-20 01:00", "closed"},
		{"the next day's rule keeps the night", "Fr 18:00-02:00; Sa 12:00-20:00", "2026-11-21 01:00", "open"},
		{"and an added one", "Fr 18:00-02:00, Sa 12:00-20:00", "2026-11-21 01:00", "open"},
		{"a day off keeps the night before", "18:00-02:00; Dec 25 off", "2026-12-25 01:00", "open"},
		{"and cancels its own", "18:00-02:00; Dec 25 off", "2026-12-26 01:00", "closed"},
		{"hours off take hours out", "18:00-02:00; Dec 25 00:00-24:00 off", "2026-12-25 01:00", "closed"},
		{"whatever day they are of", "18:00-02:00; Dec 25 00:00-24:00 off", "2026-12-26 01:00", "open"},

		{"a later rule replaces the day", "Mo-Fr 09:00-18:00; We 10:00-12:00", "2026-11-25 15:00", "closed"},
		{"a comma adds to it", "Mo-Fr 09:00-12:00, We 14:00-18:00", "2026-11-25 15:00", "open"},
		{"and leaves what was", "Mo-Fr 09:00-12:00, We 14:00-18:00", "2026-11-25 10:00", "open"},
		{"hours off", "24/7; Mo 15:00-16:00 off", "2026-11-23 15:30", "closed"},
		{"only those", "24/7; Mo 15:00-16:00 off", "2026-11-23 16:00", "open"},
		{"a fallback where it is closed", `Mo-Fr 09:00-12:00 || "please call"`, "2026-11-23 13:00", `unknown "please call"`},
		{"not where it is open", `Mo-Fr 09:00-12:00 || "please call"`, "2026-11-23 10:00", "open"},
		{"a fallback of some days", `Mo-Fr 08:00-11:00 || Tu-Th,PH open "Emergency only"`, "2026-11-24 12:00", `open "Emergency only"`},
		{"and not of others", `Mo-Fr 08:00-11:00 || Tu-Th,PH open "Emergency only"`, "2026-11-23 12:00", "closed"},
		{"a rule after a fallback", `Mo-Fr 08:00-11:00 || "please call"; PH off`, "2026-12-25 09:00", "closed holiday"},

		{"a comment alone is unknown", `"only after registration"`, "2026-11-23 12:00", `unknown "only after registration"`},
		{"a comment of open", `Mo 12:00-14:00 open "female only", Mo 14:00-16:00 open "male only"`, "2026-11-23 14:00", `open "male only"`},
		{"a comment of off", `Mo-Fr 09:00-18:00; 2026 Nov 23 off "stocktaking"`, "2026-11-23 10:00", `closed "stocktaking"`},
		{"unknown", "Mo unknown", "2026-11-23 10:00", "unknown"},

		{"an open end", "18:00+", "2026-11-23 20:00", "open end?"},
		{"lasts to midnight", "18:00+", "2026-11-24 00:00", "closed"},
		{"or four hours", "22:00+", "2026-11-24 01:59", "open end?"},
		{"but not five", "22:00+", "2026-11-24 02:00", "closed"},
		{"open until its end at least", "10:00-16:00+", "2026-11-23 15:59", "open"},
		{"then perhaps", "10:00-16:00+", "2026-11-23 16:00", "unknown"},
		{"unless another time is sure", "10:00-16:00+,18:00-20:00", "2026-11-23 19:00", "open"},
		{"or another day's", "05:00-04:00+", "2026-11-24 05:30", "open"},
		{"off from an hour on", "24/7; Mo 18:00+ off", "2026-11-23 18:00", "closed"},

		{"a public holiday", "Mo-Fr 09:00-18:00; PH off", "2026-12-25 10:00", "closed holiday"},
		{"the evening of it", "Mo-Fr 09:00-18:00; PH off", "2026-12-25 20:00", "closed holiday"},
		{"the day after", "Mo-Sa 09:00-18:00; PH off", "2026-12-26 10:00", "open"},
		{"a holiday that no rule names", "Mo-Fr 09:00-18:00", "2026-12-25 10:00", "open"},
		{"holiday hours", "Mo-Fr 09:00-18:00; PH 10:00-12:00", "2026-12-25 10:00", "open holiday"},
		{"outside them", "Mo-Fr 09:00-18:00; PH 10:00-12:00", "2026-12-25 12:00", "closed holiday"},
		{"a weekday or a holiday", "Su,PH 10:00-12:00", "2026-12-25 10:00", "open holiday"},
		{"or: the weekday", "Su,PH 10:00-12:00", "2026-11-22 10:00", "open"},
		{"both: a holiday of another weekday", "PH Su 10:00-12:00", "2026-12-25 10:00", "closed"},
		{"both", "PH Fr 10:00-12:00", "2026-12-25 10:00", "open holiday"},
		{"both, the other way round", "Fr PH 10:00-12:00", "2026-12-25 10:00", "open holiday"},
		{"both: the weekday alone", "PH Fr 10:00-12:00", "2026-12-18 10:00", "closed"},
		{"the day before a holiday", "PH -1 day 10:00-12:00", "2026-12-24 10:00", "open holiday"},
		{"school holidays", "10:00-18:00; SH off", "2026-10-20 12:00", "closed holiday"},
		{"are not public ones", "10:00-18:00; PH off", "2026-10-20 12:00", "open"},

		{"a month", "Apr 10:00-18:00", "2026-04-30 12:00", "open"},
		{"not another", "Apr 10:00-18:00", "2026-05-01 12:00", "closed"},
		{"months over the year's end", "Nov-Feb 10:00-18:00", "2026-01-15 12:00", "open"},
		{"a date", "10:00-18:00; Dec 24 10:00-14:00", "2026-12-24 15:00", "closed"},
		{"dates of a month", "10:00-18:00; Dec 24-26,31 off", "2026-12-31 12:00", "closed"},
		{"between them", "10:00-18:00; Dec 24-26,31 off", "2026-12-30 12:00", "open"},
		{"dates over the year's end", "10:00-18:00; Dec 24-Jan 6 off", "2027-01-06 12:00", "closed"},
		{"a dated exception", "24/7; 2026 Nov 20-23 off", "2026-11-23 12:00", "closed"},
		{"in its year only", "24/7; 2026 Nov 20-23 off", "2027-11-23 12:00", "open"},
		{"its year is the one it begins in", "24/7; 2026 Dec 24-Jan 6 off", "2027-01-06 12:00", "closed"},
		{"and not the one before", "24/7; 2026 Dec 24-Jan 6 off", "2026-01-06 12:00", "open"},
		{"from a year to another", "24/7; 2024 Dec 24-2027 Jan 6 off", "2026-06-01 12:00", "closed"},
		{"a date keeps the years before it", "24/7; 2026 Dec 24,31 off", "2027-12-31 12:00", "open"},
		{"without an end", "24/7; 2026 Dec 24+ off", "2031-01-01 12:00", "closed"},
		{"29 February", "Feb 29 10:00-18:00", "2028-02-29 12:00", "open"},
		{"is no 1 March", "Feb 29 10:00-18:00", "2026-03-01 12:00", "closed"},
		{"a range to it", "Feb 20-29 10:00-18:00", "2026-03-01 12:00", "closed"},
		{"a year", "2026 10:00-18:00", "2027-01-01 12:00", "closed"},
		{"years with a step", "2020-2030/3 10:00-18:00", "2026-01-01 12:00", "open"},
		{"years from one on", "2025+ 10:00-18:00", "2050-01-01 12:00", "open"},
		{"a week of ISO 8601", "week 1 10:00-18:00", "2025-12-29 12:00", "open"},
		{"even weeks", "week 2-52/2 We 10:00-18:00", "2026-11-25 12:00", "open"},
		{"odd ones not", "week 2-52/2 We 10:00-18:00", "2026-11-18 12:00", "closed"},
		{"weeks over the year's end", "week 50-2 10:00-18:00", "2026-01-05 12:00", "open"},

		{"the third Thursday", "Th[3] 10:00-18:00", "2026-11-19 12:00", "open"},
		{"not the second", "Th[3] 10:00-18:00", "2026-11-12 12:00", "closed"},
		{"the last", "24/7; Th[-1] off", "2026-11-26 12:00", "closed"},
		{"the day after the first Saturday", "Sa[1] +1 day 10:00-18:00", "2026-11-08 12:00", "open"},
		{"which may be of the next month", "Nov Mo[-1] +1 day 10:00-18:00", "2026-12-01 12:00", "open"},
		{"a weekday of some months", "Apr-Oct Su[2] 14:00-18:00", "2026-10-11 15:00", "open"},
		{"and not of others", "Apr-Oct Su[2] 14:00-18:00", "2026-11-08 15:00", "closed"},
		{"a range from a weekday to a date", "Mar Su[-1]-Sep 30 10:00-18:00", "2026-03-29 12:00", "open"},
		{"not the day before", "Mar Su[-1]-Sep 30 10:00-18:00", "2026-03-28 12:00", "closed"},
		{"a range of weekdays with an offset", "Mar Su[-1]-Dec Su[1] -2 days 10:00-18:00", "2026-12-05 12:00", "closed"},
		{"to its end", "Mar Su[-1]-Dec Su[1] -2 days 10:00-18:00", "2026-12-04 12:00", "open"},
		{"Good Friday", "10:00-18:00; easter -2 days off", "2026-04-03 12:00", "closed"},
		{"around Easter of a year", "2012 easter -2 days-2012 easter +2 days", "2012-04-10 12:00", "open"},
	} {
		s := parse(t, c.text).At(local(t, p, c.at), p)
		got := string(s.State)
		if s.Holiday {
			got += " holiday"
		}
		if s.OpenEnd {
			got += " end?"
		}
		if s.Comment != "" {
			got += fmt.Sprintf(" %q", s.Comment)
		}
		if got != c.want {
			t.Errorf("%s: %s at %s is %s, want %s", c.what, c.text, c.at, got, c.want)
		}
	}
}

func TestEasterOfKnownYears(t *testing.T) {
	// The Astronomical Almanac's dates; 1943 and 1818 are near the ends of the range.
	for _, date := range []string{"1943-04-25", "2000-04-23", "2008-03-23", "2011-04-24", "2019-04-21", "2024-03-31", "2025-04-20", "2026-04-05", "2038-04-25", "2049-04-18", "2285-03-22"} {
		day, err := time.Parse(time.DateOnly, date)
		if err != nil {
			t.Fatal(err)
		}
		h := parse(t, "easter 00:00-24:00")
		for offset, want := range map[int]hours.State{-1: hours.Closed, 0: hours.Open, 1: hours.Closed} {
			if got := h.At(day.AddDate(0, 0, offset), hours.Place{}).State; got != want {
				t.Errorf("%s %+d day: %s", date, offset, got)
			}
		}
	}
}

func TestNoHoursAreUnknownNotClosed(t *testing.T) {
	var h hours.Hours
	at := time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)
	if s := h.At(at, hours.Place{}); s.State != hours.Unknown || !h.IsZero() || h.String() != "" {
		t.Errorf("%+v", s)
	}
	if _, ok := h.Until(at, hours.Place{}); ok {
		t.Error("ends")
	}
	if _, ok := h.NextOpen(at, hours.Place{}); ok {
		t.Error("opens")
	}
}

func TestWhenTheStateEndsAndWhenItOpensNext(t *testing.T) {
	p := berlin(t)
	for _, c := range []struct{ what, text, at, until, open string }{
		{"open", "Mo-Fr 09:00-18:00", "2026-11-23 09:00", "2026-11-23 18:00", "2026-11-23 09:00"},
		{"closed over the weekend", "Mo-Fr 09:00-18:00", "2026-11-20 18:00", "2026-11-23 09:00", "2026-11-23 09:00"},
		{"over midnight", "Fr 18:00-02:00", "2026-11-20 19:00", "2026-11-21 02:00", "2026-11-20 19:00"},
		{"days that touch are one", "Fr 18:00-24:00; Sa 00:00-02:00", "2026-11-20 19:00", "2026-11-21 02:00", "2026-11-20 19:00"},
		{"around the clock to a holiday", "24/7; PH off", "2026-11-20 19:00", "2026-12-25 00:00", "2026-11-20 19:00"},
		{"on the holiday", "24/7; PH off", "2026-12-25 12:00", "2026-12-26 00:00", "2026-12-26 00:00"},
		{"forever", "24/7", "2026-11-20 19:00", "", "2026-11-20 19:00"},
		{"never", "off", "2026-11-20 19:00", "", ""},
		{"long ago", "2013 Jan 1", "2026-11-20 19:00", "", ""},
		{"a leap day is beyond the horizon from here", "2028 Feb 29 off; 2032 Feb 29 open", "2026-11-20 19:00", "", ""},
		{"unknown is not open", `Mo "by appointment"; Tu 10:00-12:00`, "2026-11-22 19:00", "2026-11-23 00:00", "2026-11-24 10:00"},
		{"another comment is the same state", `Mo 12:00-14:00 open "a", Mo 14:00-16:00 open "b"`, "2026-11-23 12:30", "2026-11-23 16:00", "2026-11-23 12:30"},
		{"the fallback of a later hour", `10:00-12:00 || 14:00-16:00 "call"`, "2026-11-23 11:00", "2026-11-23 12:00", "2026-11-23 11:00"},
		{"a day of 23 hours", "22:00-04:00", "2026-03-28 22:00", "2026-03-29 04:00", "2026-03-28 22:00"},
		{"opening in the hour that is skipped", "Sa-Su 02:30-04:00", "2026-03-28 12:00", "2026-03-29 03:00", "2026-03-29 03:00"},
		{"through the last day of a leap year", "Su 10:00-12:00", "2028-12-31 13:00", "2029-01-07 10:00", "2029-01-07 10:00"},
		{"a time that is skipped comes the next week", "Su 02:15-02:45", "2026-03-28 12:00", "2026-04-05 02:15", "2026-04-05 02:15"},
	} {
		h, at := parse(t, c.text), local(t, p, c.at)
		show := func(x time.Time, ok bool) string {
			if !ok {
				return ""
			}
			return x.Format("2006-01-02 15:04")
		}
		if got := show(h.Until(at, p)); got != c.until {
			t.Errorf("%s: %s at %s lasts until %q, want %q", c.what, c.text, c.at, got, c.until)
		}
		if got := show(h.NextOpen(at, p)); got != c.open {
			t.Errorf("%s: %s at %s opens %q, want %q", c.what, c.text, c.at, got, c.open)
		}
	}
}

func TestHoursFollowTheClockOnTheWallThroughANightOf25Hours(t *testing.T) {
	p := berlin(t)
	h := parse(t, "Sa 22:00-02:30")
	start := time.Date(2026, time.October, 24, 23, 30, 0, 0, time.UTC) // 01:30 in summer time
	want := []struct {
		after time.Duration
		state hours.State
	}{
		{0, hours.Open}, {59 * time.Minute, hours.Open}, // 02:29
		{60 * time.Minute, hours.Closed}, {89 * time.Minute, hours.Closed}, // 02:30, 02:59
		{90 * time.Minute, hours.Open}, {119 * time.Minute, hours.Open}, // 02:00 again, 02:29
		{120 * time.Minute, hours.Closed},
	}
	for _, w := range want {
		if got := h.At(start.Add(w.after), p).State; got != w.state {
			t.Errorf("%s after: %s, want %s", w.after, got, w.state)
		}
	}
	for _, c := range [][2]time.Duration{{0, 60}, {60, 90}, {90, 120}} {
		at, ok := h.Until(start.Add(c[0]*time.Minute+17*time.Second+5), p)
		if want := start.Add(c[1] * time.Minute); !ok || !at.Equal(want) {
			t.Errorf("from %d min it lasts until %s, want %s", c[0], at, want)
		}
	}
}

func TestAtAllocatesNothing(t *testing.T) {
	p := berlin(t)
	h := parse(t, "Mo-Sa 10:00-20:00; Su 12:00-18:00; PH off; Dec 24,31 10:00-14:00; week 2-52/2 Th[-1] 10:00-22:00")
	at := local(t, p, "2026-12-24 12:00")
	if n := testing.AllocsPerRun(100, func() { h.At(at, p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAt(b *testing.B) {
	p := berlin(b)
	at := local(b, p, "2026-11-24 12:00")
	for _, text := range []string{
		"Mo-Fr 09:00-18:00",
		"Mo-Sa 10:00-20:00; Su 12:00-18:00; PH off; Dec 24,31 10:00-14:00",
	} {
		h := parse(b, text)
		b.Run("At/"+text, func(b *testing.B) {
			for b.Loop() {
				h.At(at, p)
			}
		})
		b.Run("Until/"+text, func(b *testing.B) {
			for b.Loop() {
				h.Until(at, p)
			}
		})
	}
	never := parse(b, "24/7; 2013 Dec 25 off; PH 12:00-14:00 open")
	never2 := hours.Place{Zone: p.Zone}
	b.Run("Until/nothing in the horizon", func(b *testing.B) {
		for b.Loop() {
			never.Until(at, never2)
		}
	})
}
