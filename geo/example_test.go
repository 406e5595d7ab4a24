package geo_test

import (
	"encoding/json"
	"fmt"
	"time"

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
		rule := geo.DefaultRule()
		says, _, _ := rule.Judge(h.MarginM, h.Shape.BoundingRadiusM(), 30)
		fmt.Printf("%s: %.0f m inside: %v\n", h.ID, -h.MarginM, says)
	}
	// Output:
	// cafe-near: 261 m inside: inside
	// cafe: 21 m inside: maybe inside
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

// A fix whose error circle straddles the border says too little by itself.
func ExampleRule_Judge() {
	rule := geo.DefaultRule()
	shop := geo.Circle{Around: geo.Point{Lat: 52.5219, Lng: 13.4132}, RadiusM: 60}
	for _, marginM := range []float64{-25, -5, 10, 40} {
		says, why, accuracyM := rule.Judge(marginM, shop.BoundingRadiusM(), 20)
		fmt.Println(marginM, says, why, accuracyM)
	}
	// Output:
	// -25 inside inside 20
	// -5 maybe inside not_sure 20
	// 10 maybe outside not_clear 20
	// 40 outside outside 20
}

// street is a World of one café with an approach ring.
type street struct{ index *geo.Index }

func (s street) Index() *geo.Index  { return s.index }
func (s street) Doubts() geo.Doubts { return geo.DefaultDoubts() }

func (s street) Terms(fence string) (geo.Terms, bool) {
	rule := geo.DefaultRule()
	t := geo.Terms{Place: "cafe", Near: fence == "cafe-near", Rule: &rule}
	if fence == "cafe" {
		t.Dwell = 5 * time.Minute
	}
	return t, true
}

func (s street) VisitID(place string, seq uint64, n int) string {
	return fmt.Sprintf("%s-%d-%d", place, seq, n)
}

// Somebody comes, stays, and goes.
func ExampleTracker() {
	cafe := geo.Point{Lat: 52.5219, Lng: 13.4132}
	ix, err := geo.NewIndex([]geo.Fence{
		{ID: "cafe", Shape: geo.Circle{Around: cafe, RadiusM: 60}},
		{ID: "cafe-near", Shape: geo.Circle{Around: cafe, RadiusM: 300}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var tracker geo.Tracker
	noon := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	for minute, north := range []float64{0.02, 0.001, 0, 0, 0, 0, 0, 0, 0, 0.02} {
		step := tracker.Apply(street{ix}, geo.Evidence{
			Source: geo.ByFix, At: noon.Add(time.Duration(minute) * time.Minute), Seq: uint64(minute + 1),
			Pos: geo.Point{Lat: cafe.Lat + north, Lng: cafe.Lng}, AccuracyM: 15,
		}, time.Time{})
		for _, t := range step.Told {
			fmt.Println(t.At.Format("15:04"), t.Kind, t.Fence, t.By)
		}
		for _, v := range step.Visits {
			if !v.Until.IsZero() {
				fmt.Println("visit", v.ID, "of", v.Until.Sub(v.Since), "by", v.Fences)
			}
		}
	}
	// Output:
	// 12:01 near cafe-near fix
	// 12:02 enter cafe fix
	// 12:07 dwell cafe fix
	// 12:09 exit cafe fix
	// 12:09 exit cafe-near fix
	// 12:09 visit cafe-near fix
	// visit cafe-2-0 of 8m0s by [cafe cafe-near]
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
