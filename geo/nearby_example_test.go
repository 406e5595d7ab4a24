package geo_test

import (
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// Who of the loyal customers is within 300 m of the café now?
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
	fmt.Println("silent:", live.Expire(noon.Add(90*time.Second)), "left:", live.Len())
	// Output:
	// ada, 30 m
	// cem, 173 m
	// silent: 2 left: 2
}

// Where is it busy? Nine people are at the square, one is alone in the park: no
// cell shows that one, and none may be told from the difference of two.
func ExampleHeat() {
	var live geo.Nearby[struct{}]
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	square, park := geo.Point{Lat: 52.5219, Lng: 13.4132}, geo.Point{Lat: 52.5145, Lng: 13.3501}
	for i := range 10 {
		at := square
		if i == 9 {
			at = park
		}
		if _, err := live.Update(fmt.Sprint("phone-", i), at, now, struct{}{}); err != nil {
			fmt.Println(err)
			return
		}
	}
	fiveMinutesAgo := now.Add(-5 * time.Minute)
	heat, err := live.Heat(fiveMinutesAgo, 5)
	if err != nil {
		fmt.Println(err)
		return
	}
	berlin := geo.Box{West: 13.0, South: 52.3, East: 13.8, North: 52.7}
	for _, resolution := range []int{4, 5, 6, 7} {
		cells, err := heat.Cells(resolution, berlin, nil)
		fmt.Println(resolution, cells, err)
	}
	// Output:
	// 4 [{841f1d5ffffffff 10}] <nil>
	// 5 [{851f1d4bfffffff 10}] <nil>
	// 6 [{861f1d48fffffff 10}] <nil>
	// 7 [] <nil>
}
