package geo_test

import (
	"encoding/json"
	"fmt"

	"github.com/footfall-engage/footfall/geo"
)

// A mall by its outline, with a courtyard that is no part of it.
func ExampleNewPolygon() {
	mall, err := geo.NewPolygon([][][]geo.Point{{
		{{Lat: 52.520, Lng: 13.400}, {Lat: 52.520, Lng: 13.406}, {Lat: 52.524, Lng: 13.406}, {Lat: 52.524, Lng: 13.400}, {Lat: 52.520, Lng: 13.400}},
		{{Lat: 52.521, Lng: 13.402}, {Lat: 52.523, Lng: 13.402}, {Lat: 52.523, Lng: 13.404}, {Lat: 52.521, Lng: 13.404}, {Lat: 52.521, Lng: 13.402}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range []geo.Point{{Lat: 52.522, Lng: 13.401}, {Lat: 52.522, Lng: 13.403}, {Lat: 52.522, Lng: 13.408}, {Lat: 52.520, Lng: 13.406}} {
		fmt.Printf("%v %.0f m\n", mall.Contains(p), mall.MarginM(p))
	}
	// Output:
	// true -68 m
	// false 68 m
	// false 136 m
	// true 0 m
}

// What cannot be a fence is refused with the place where it fails.
func ExampleNewPolygon_refused() {
	_, err := geo.ParseGeometry(json.RawMessage(`{"type":"Polygon","coordinates":[[[13,52],[13.2,52.2],[13.2,52],[13,52.2],[13,52]]]}`), nil)
	fmt.Println(err)

	_, err = geo.ParseGeometry(json.RawMessage(`{"type":"Polygon","coordinates":[[[179,-17],[-179,-17],[-179,-16],[179,-16],[179,-17]]]}`), nil)
	fmt.Println(err)
	// Output:
	// coordinates[0] crosses itself, at [13.1, 52.1]
	// coordinates[0][1] jumps from longitude 179 to -179: a shape across ±180 must be split there (RFC 7946 §3.1.9), at [179, -17]
}

// What can be put right is, with a warning.
func ExampleWarnings() {
	s, err := geo.ParseGeometry(json.RawMessage(`{"type":"Polygon","coordinates":[[[13,52],[13,52.1],[13.1,52.1],[13.1,52.1],[13,52]]]}`), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range geo.Warnings(s) {
		fmt.Println(w)
	}
	geometry, _, err := geo.EncodeGeometry(s)
	fmt.Println(string(geometry), err)
	// Output:
	// coordinates[0] repeated 1 of its points, which were dropped
	// coordinates[0] ran clockwise and was turned round
	// {"type":"Polygon","coordinates":[[[13,52],[13.1,52.1],[13,52.1],[13,52]]]} <nil>
}

// Within 300 m of a shape: who approaches it.
func ExampleOutwardRing() {
	radius := 300.0
	near, err := geo.ParseGeometry(json.RawMessage(`{"type":"Polygon","coordinates":[[[13.40,52.52],[13.41,52.52],[13.41,52.53],[13.40,52.52]]]}`), &radius)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(near.Contains(geo.Point{Lat: 52.518, Lng: 13.405}), near.Contains(geo.Point{Lat: 52.517, Lng: 13.405}))
	// Output:
	// true false
}

// Two H3 cells as one fence.
func ExampleNewCellSet() {
	a, _ := geo.ParseCell("891f1d48177ffff")
	b, _ := geo.ParseCell("891f1d4810fffff")
	s, err := geo.NewCellSet([]geo.Cell{a, b})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Contains(b.Center()), len(s.Cells()))
	// Output:
	// true 2
}

// A GeoJSON file, feature by feature.
func ExampleParseFeatures() {
	features, err := geo.ParseFeatures(json.RawMessage(`{"type":"FeatureCollection","features":[
		{"type":"Feature","id":"a","properties":{"radius":80},"geometry":{"type":"Point","coordinates":[13.4,52.5]}},
		{"type":"Feature","id":"b","properties":null,"geometry":null}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range features {
		if f.Err != nil {
			fmt.Println(f.Err)
			continue
		}
		fmt.Println(f.ID, string(f.Properties["radius"]), string(f.Geometry))
	}
	// Output:
	// a 80 {"type":"Point","coordinates":[13.4,52.5]}
	// geometry is missing: a fence must be somewhere
}
