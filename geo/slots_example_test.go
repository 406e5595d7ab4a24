package geo_test

import (
	"fmt"

	"github.com/footfall-engage/footfall/geo"
)

// An iPhone on which other libraries hold all but three slots: two shops and the
// bubble. The third is left out, and the bubble ends before it.
func ExampleSlots_Plan() {
	ix, err := geo.NewIndex([]geo.Fence{
		{ID: "cafe", Shape: geo.Circle{Around: geo.Point{Lat: 52.5219, Lng: 13.4132}, RadiusM: 60}},
		{ID: "cinema", Shape: geo.Circle{Around: geo.Point{Lat: 52.5600, Lng: 13.4132}, RadiusM: 150}},
		{ID: "bakery", Shape: geo.Circle{Around: geo.Point{Lat: 52.5550, Lng: 13.4132}, RadiusM: 150}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	offers := map[string]float64{"cafe": 1, "cinema": 3, "bakery": 1}
	phone := geo.Slots{
		Platform: geo.IOS, Free: 3,
		At: geo.Point{Lat: 52.5200, Lng: 13.4132}, AccuracyM: 20,
	}
	plan, err := phone.Plan(ix.Nearest, func(id string) float64 { return offers[id] })
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range plan.Fences {
		fmt.Printf("%s: %.0f m\n", f.ID, f.RadiusM)
	}
	for _, l := range plan.LeftOut {
		fmt.Printf("without %s, %s: its border is %.0f m away\n", l.ID, l.Why, l.BorderM)
	}
	fmt.Printf("bubble: %.0f m, guaranteed: %v\n", plan.Bubble.RadiusM, plan.Guaranteed)
	fmt.Println("after 300 m:", plan.Holds(geo.Point{Lat: 52.5227, Lng: 13.4132}, 20))
	// Output:
	// cafe: 100 m
	// cinema: 150 m
	// without bakery, farther: its border is 3745 m away
	// bubble: 3195 m, guaranteed: true
	// after 300 m: true
}
