package hours_test

import (
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/hours"
)

// A shop that is open late on Saturdays, on the evening before a holiday.
func Example() {
	h, err := hours.Parse("Mo-Fr 09:00-12:30,14:00-18:00; Sa 10:00-02:00; PH off")
	if err != nil {
		fmt.Println(err)
		return
	}
	amsterdam, _ := engage.Zone("Europe/Amsterdam")
	shop := hours.Place{Zone: amsterdam, Public: []hours.Date{{Year: 2026, Month: time.December, Day: 25}}}

	now := time.Date(2026, time.December, 24, 16, 15, 0, 0, time.UTC)
	until, _ := h.Until(now, shop)
	fmt.Printf("%s for %.0f more minutes\n", h.At(now, shop).State, until.Sub(now).Minutes())

	now = now.Add(20 * time.Hour)
	s := h.At(now, shop)
	next, _ := h.NextOpen(now, shop)
	fmt.Printf("%s, for a holiday: %t; opens %s\n", s.State, s.Holiday, next.Format("Mon 15:04"))
	// Output:
	// open for 45 more minutes
	// closed, for a holiday: true; opens Sat 10:00
}

// What cannot be read is refused with its place and the reason.
func ExampleParse() {
	for _, text := range []string{"mo - fr 9:00-18:00 ;", "Mo-Fr 9-18", "Mo-Fr sunrise-sunset"} {
		h, err := hours.Parse(text)
		fmt.Println(h, err)
	}
	// Output:
	// Mo-Fr 09:00-18:00 <nil>
	//  at character 7: the number "9" is not expected here; times have hours and minutes, "09:00-18:00"
	//  at character 7: "sunrise": times of the sun are not supported, for they need the place's position
}

// A table with a column for each day.
func ExampleWeek() {
	h, err := hours.Week{"mo": {"09:00-18:00"}, "tu": {"09:00-18:00"}, "fr": {"09:00-18:00", "20:00-01:00"}}.Hours()
	fmt.Println(h, err)
	// Output:
	// Mo-Tu 09:00-18:00; Fr 09:00-18:00,20:00-01:00 <nil>
}
