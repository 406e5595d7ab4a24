package decide_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// A context asks for how long a place stays open, over midnight and over the changes of
// the clocks too, and whether it is a time of day there.
func TestHowLongAPlaceStaysOpenAndTheTimeThere(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string) time.Time {
		x, err := time.ParseInLocation("2006-01-02 15:04", text, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	minutes := func(n int) string {
		return fmt.Sprintf(`{"field":"place.open_for_min","op":"eq","value":%d}`, n)
	}
	between := func(from, to string) string {
		return fmt.Sprintf(`{"field":"local.time","op":"between","value":[%q,%q]}`, from, to)
	}
	for _, c := range []struct {
		hours, context string
		at             time.Time
		want           bool
	}{
		{"Mo-Fr 08:00-20:00", minutes(30), at("2026-11-03 19:30"), true},
		{"Mo-Fr 08:00-20:00", minutes(0), at("2026-11-03 20:30"), true},
		{"Mo-Su 18:00-02:00", minutes(150), at("2026-11-03 23:30"), true},
		{"Mo-Su 18:00-04:00", minutes(360), at("2027-03-27 22:00"), false}, // as on other nights
		{"Mo-Su 18:00-04:00", minutes(300), at("2027-03-27 22:00"), true},  // 02:00 is 03:00 that night
		{"Mo-Su 18:00-04:00", minutes(360), at("2027-03-26 22:00"), true},
		{"24/7", minutes(7 * 24 * 60), at("2026-11-03 12:00"), true},
		{"", `{"field":"place.open_for_min","op":"absent"}`, at("2026-11-03 12:00"), true},
		{"", `{"field":"place.open_for_min","op":"ge","value":0}`, at("2026-11-03 12:00"), false},
		{"", between("09:00", "17:00"), at("2026-11-03 09:00"), true},
		{"", between("09:00", "17:00"), at("2026-11-03 17:01"), false},
		{"", between("22:00", "06:00"), at("2026-11-03 05:59"), true},
		{"", between("22:00", "06:00"), at("2026-11-03 12:00"), false},
		{"", between("03:00", "03:30"), at("2027-03-28 03:00"), true}, // the first minute of summer time
	} {
		in := world0([]*engage.Campaign{offer("x", func(o *engage.Campaign) { o.Context = []byte(c.context) })})
		in.Places[0].Hours, in.Places[0].TimeZone = c.hours, "Europe/Berlin"
		w := newWorld(t)
		w.adoptAll(in)
		w.meet("ada")
		w.apply(enters("ada", "cafe", "v1", c.at.Sub(t0)))
		if got := len(w.sends()) == 1; got != c.want {
			t.Errorf("%q at %v, %s: %v", c.hours, c.at, c.context, w.verdicts())
		}
	}
}
