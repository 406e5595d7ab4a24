package geo_test

import (
	"encoding/json"
	"fmt"

	"github.com/footfall-engage/footfall/geo"
)

// A shopper's fix against the fences of a street.
func Example() {
	ix, err := geo.NewIndex([]geo.Fence{
		{ID: "cafe", Shape: geo.Circle{Around: geo.Point{Lat: 52.5219, Lng: 13.4132}, RadiusM: 60}},
		{ID: "cafe-near", Shape: geo.Circle{Around: geo.Point{Lat: 52.5219, Lng: 13.4132}, RadiusM: 300}},
		{ID: "museum", Shape: geo.Circle{Around: geo.Point{Lat: 52.5186, Lng: 13.3976}, RadiusM: 150}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fix := geo.Point{Lat: 52.5222, Lng: 13.4135}
	for _, h := range ix.At(fix, nil) {
		v := geo.DefaultRule().Decide(geo.Outside, h.MarginM, h.Shape.BoundingRadiusM(), 15)
		fmt.Printf("%s: %.0f m inside, %v\n", h.ID, -h.MarginM, v.Now)
	}
	// Output:
	// cafe-near: 261 m inside, inside
	// cafe: 21 m inside, inside
}

// A circle in GeoJSON is a Point with a radius in metres.
func ExampleParseGeometry() {
	radius := 150.0
	shape, err := geo.ParseGeometry(json.RawMessage(`{"type":"Point","coordinates":[13.4132,52.5219]}`), &radius)
	fmt.Println(shape, err)

	radius = -1
	_, err = geo.ParseGeometry(json.RawMessage(`{"type":"Point","coordinates":[13.4132,52.5219]}`), &radius)
	fmt.Println(err)
	// Output:
	// {{52.5219 13.4132} 150} <nil>
	// radius must be 10 to 100000 m, is -1
}

// The fences that a phone should watch, nearest border first.
func ExampleIndex_Nearest() {
	ix, err := geo.NewIndex([]geo.Fence{
		{ID: "a", Shape: geo.Circle{Around: geo.Point{Lat: 0, Lng: 0.010}, RadiusM: 100}},
		{ID: "b", Shape: geo.Circle{Around: geo.Point{Lat: 0, Lng: 0.011}, RadiusM: 500}},
		{ID: "c", Shape: geo.Circle{Around: geo.Point{Lat: 0, Lng: 0.100}, RadiusM: 100}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, h := range ix.Nearest(geo.Point{}, 2, nil) {
		fmt.Printf("%s in %.0f m\n", h.ID, h.MarginM)
	}
	// Output:
	// b in 725 m
	// a in 1013 m
}

// An exit waits until the error circle is clear of the fence.
func ExampleRule_Decide() {
	rule := geo.DefaultRule()
	shop := geo.Circle{Around: geo.Point{Lat: 52.5219, Lng: 13.4132}, RadiusM: 60}
	was := geo.Inside
	for _, marginM := range []float64{-20, 10, 25, 40} {
		v := rule.Decide(was, marginM, shop.BoundingRadiusM(), 20)
		fmt.Println(v.Now, v.Changed, v.Why)
		was = v.Now
	}
	// Output:
	// inside false inside
	// inside false not_clear
	// inside false not_clear
	// outside true outside
}

// Weather is kept per cell; a parent costs no call of the library.
func ExampleCellOf() {
	c, err := geo.CellOf(geo.Point{Lat: 52.5219, Lng: 13.4132}, 9)
	fmt.Println(c, c.Parent(5), err)

	_, err = geo.CellOf(geo.Point{Lat: 91}, 9)
	fmt.Println(err)
	// Output:
	// 891f1d48977ffff 851f1d4bfffffff <nil>
	// lat must be -90 to 90, is 91
}

// A device walks through a fence, which is removed while the device is in it.
func ExampleWatch() {
	ix, err := geo.NewIndex([]geo.Fence{{ID: "shop", Shape: geo.Circle{Around: geo.Point{Lat: 52.5219, Lng: 13.4132}, RadiusM: 60}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	var live geo.Live
	live.Set(ix)
	var w geo.Watch
	for _, lng := range []float64{13.4110, 13.4130, 13.4133} {
		fmt.Println(w.Move(live.Index(), geo.Point{Lat: 52.5219, Lng: lng}, nil))
	}
	if err := live.Change(nil, []string{"shop"}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(w.Move(live.Index(), geo.Point{Lat: 52.5219, Lng: 13.4133}, nil))
	// Output:
	// []
	// [{{shop {{52.5219 13.4132} 60}} true}]
	// []
	// [{{shop {{52.5219 13.4132} 60}} false}]
}
