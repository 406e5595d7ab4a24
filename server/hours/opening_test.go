package hours_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/hours"
)

func shopWith(change func(*engage.Place)) *engage.Place {
	p := &engage.Place{
		TimeZone: "Europe/Amsterdam", Hours: "Mo-Sa 09:00-18:00; Fr 09:00-21:00; PH 11:00-16:00",
		Holidays: []string{"2026-12-25"},
		Exceptions: []engage.Exception{
			{Date: "2026-12-23", Hours: "10:00-12:00,14:00-16:00"},
			{Date: "2026-12-24", Hours: "off"},
			{Date: "2026-12-31", Hours: "22:00-02:00"},
			{Date: "2027-01-02", Hours: "12:00-13:00 off"},
		},
	}
	change(p)
	return p
}

func TestAPlaceIsOpenByItsHoursHolidaysAndExceptions(t *testing.T) {
	o, err := hours.Of(shopWith(func(*engage.Place) {}))
	if err != nil {
		t.Fatal(err)
	}
	zone, _ := engage.Zone("Europe/Amsterdam")
	for at, want := range map[string]struct {
		open bool
		next string
	}{
		"2026-12-22 10:00": {true, "2026-12-22 18:00"},
		"2026-12-23 09:30": {false, "2026-12-23 10:00"}, // an exception replaces the day
		"2026-12-23 11:00": {true, "2026-12-23 12:00"},
		"2026-12-23 13:00": {false, "2026-12-23 14:00"},
		"2026-12-24 10:00": {false, "2026-12-25 11:00"}, // the next is the holiday's
		"2026-12-25 15:00": {true, "2026-12-25 16:00"},  // a Friday, but a holiday
		"2026-12-31 10:00": {false, "2026-12-31 22:00"},
		"2027-01-01 01:00": {true, "2027-01-01 02:00"}, // over midnight
		"2027-01-02 12:30": {false, "2027-01-02 13:00"},
		"2027-12-24 10:00": {true, "2027-12-24 21:00"}, // another year, a Friday
	} {
		moment, err := time.ParseInLocation("2006-01-02 15:04", at, zone)
		if err != nil {
			t.Fatal(err)
		}
		open, known, next := o.Look(moment.UTC())
		if open != want.open || !known || next.Format("2006-01-02 15:04") != want.next {
			t.Errorf("%s: %v, known %v, until %s, want %v until %s", at, open, known, next, want.open, want.next)
		}
		if opens, ok := o.NextOpen(moment); !ok || !open && !opens.Equal(next) || open && !opens.Equal(moment) {
			t.Errorf("%s: opens %s", at, opens)
		}
	}
}

func TestAPlaceWithoutHoursIsUnknown(t *testing.T) {
	o, err := hours.Of(&engage.Place{})
	if err != nil || o != nil {
		t.Fatalf("%v %v", o, err)
	}
	if open, known, next := o.Look(time.Unix(0, 0)); open || known || !next.IsZero() {
		t.Errorf("%v %v %v", open, known, next)
	}
	if _, ok := o.NextOpen(time.Unix(0, 0)); ok {
		t.Error("it opens")
	}
}

func TestHoursOfAPlaceAreRefusedWithTheirField(t *testing.T) {
	exception := func(text string) func(*engage.Place) {
		return func(p *engage.Place) { p.Exceptions[1].Hours = text }
	}
	for name, c := range map[string]struct {
		change        func(*engage.Place)
		code          engage.Code
		field, reason string
	}{
		"nonsense":               {func(p *engage.Place) { p.Hours = "always" }, engage.Invalid, "hours", "always"},
		"the sun":                {func(p *engage.Place) { p.Hours = "sunrise-sunset" }, engage.Unsupported, "hours", "sun"},
		"no zone":                {func(p *engage.Place) { p.TimeZone = "" }, engage.Invalid, "time_zone", "IANA"},
		"another zone":           {func(p *engage.Place) { p.TimeZone = "CEST" }, engage.Invalid, "time_zone", "IANA"},
		"a holiday":              {func(p *engage.Place) { p.Holidays[0] = "Christmas" }, engage.Invalid, "holidays[0]", "date"},
		"exceptions alone":       {func(p *engage.Place) { p.Hours = "" }, engage.Invalid, "exceptions", "hours"},
		"an exception's date":    {func(p *engage.Place) { p.Exceptions[2].Date = "" }, engage.Invalid, "exceptions[2].date", "date"},
		"an exception of a day":  {exception("Mo 10:00-12:00"), engage.Invalid, "exceptions[1].hours", "times alone"},
		"of a date":              {exception("Dec 26 10:00-12:00"), engage.Invalid, "exceptions[1].hours", "times alone"},
		"that goes on":           {exception("10:00-12:00; Mo-Su off"), engage.Invalid, "exceptions[1].hours", ""},
		"of two rules":           {exception("10:00-12:00; 13:00-14:00"), engage.Invalid, "exceptions[1].hours", "one rule"},
		"an exception of a span": {exception("-26 10:00-12:00"), engage.Invalid, "exceptions[1].hours", ""},
		"an empty one":           {exception(""), engage.Invalid, "exceptions[1].hours", "off"},
	} {
		_, err := hours.Of(shopWith(c.change))
		var e *engage.Error
		if !errors.As(err, &e) || e.Code != c.code || e.Field != c.field || !strings.Contains(e.Msg, c.reason) {
			t.Errorf("%s: %v, want %s of %s with %q", name, err, c.code, c.field, c.reason)
		}
	}
}

// A concatenated text in the specification's own words must say the same.
func TestAnExceptionIsWhatADateInTheHoursSays(t *testing.T) {
	for _, base := range []string{"24/7", "Mo-Fr 09:00-18:00", "Fr-Sa 18:00-02:00; PH off", "Mo-Fr 09:00-12:00 || \"by appointment\""} {
		for text, date := range map[string]string{"10:00-14:00,16:00-26:00": "2026 Dec 24", "off": "2028 Feb 29", "18:00+": "2026 Dec 31", "unknown \"ask\"": "2027 Jan 01"} {
			day, err := time.Parse("2006 Jan 02", date)
			if err != nil {
				t.Fatal(err)
			}
			o, err := hours.Of(&engage.Place{TimeZone: "Europe/Amsterdam", Hours: base, Holidays: []string{"2026-12-25"}, Exceptions: []engage.Exception{{Date: day.Format(time.DateOnly), Hours: text}}})
			if err != nil {
				t.Fatal(err)
			}
			h, err := hours.Parse(base + "; " + date + " " + text)
			if err != nil {
				t.Fatal(err)
			}
			zone, _ := engage.Zone("Europe/Amsterdam")
			place := hours.Place{Zone: zone, Public: []hours.Date{{Year: 2026, Month: 12, Day: 25}}}
			for at := day.AddDate(0, 0, -2); at.Before(day.AddDate(0, 0, 3)); at = at.Add(17 * time.Minute) {
				if got, want := o.At(at), h.At(at, place); got != want {
					t.Errorf("%s with %s %s at %s: %+v, want %+v", base, date, text, at, got, want)
				}
			}
		}
	}
}
