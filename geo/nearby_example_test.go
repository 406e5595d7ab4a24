package geo_test

import (
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// Who of the loyal customers is within 300 m of the café now, and where is it
// busy?
func ExampleNearby() {
	type shopper struct{ loyal bool }
	var live geo.Nearby[shopper]
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for i, x := range []struct {
		id    string
		at    geo.Point
		loyal bool
	}{
		{"ada", geo.Point{Lat: 52.5221, Lng: 13.4135}, true},
		{"ben", geo.Point{Lat: 52.5215, Lng: 13.4120}, false},
		{"cem", geo.Point{Lat: 52.5230, Lng: 13.4150}, true},
		{"dia", geo.Point{Lat: 52.5300, Lng: 13.4300}, true},
	} {
		if _, err := live.Update(x.id, x.at, noon.Add(time.Duration(i)*time.Minute), shopper{x.loyal}); err != nil {
			fmt.Println(err)
			return
		}
	}
	cafe := geo.Point{Lat: 52.5219, Lng: 13.4132}
	loyal := func(n *geo.Neighbour[shopper]) bool { return n.Value.loyal }
	for _, n := range live.Within(cafe, 300, loyal, nil) {
		fmt.Printf("%s, %.0f m\n", n.ID, n.DistanceM)
	}
	cells, err := live.Counts(cafe, 2000, 8, 2, nil)
	fmt.Println(cells, err)

	fmt.Println("silent:", live.Expire(noon.Add(90*time.Second)), "left:", live.Len())
	// Output:
	// ada, 30 m
	// cem, 173 m
	// [{881f1d4897fffff 2}] <nil>
	// silent: 2 left: 2
}
