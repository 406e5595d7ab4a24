package ingest

import (
	"testing"

	"github.com/footfall-engage/footfall/geo"
)

// BenchmarkUnmoved is what a change of two places costs for a phone far away; a
// plan is geo's BenchmarkSlots.
func BenchmarkUnmoved(b *testing.B) {
	in := &install{}
	in.watch = watch{etag: "x", made: geo.Slots{At: geo.Point{Lat: 52.52, Lng: 13.405}}, lookedM: 5000}
	circles := []geo.Circle{
		{Around: geo.Point{Lat: 52.62, Lng: 13.4}, RadiusM: 100},
		{Around: geo.Point{Lat: 52.62, Lng: 13.4}, RadiusM: 300},
		{Around: geo.Point{Lat: 48.1, Lng: 11.5}, RadiusM: 100},
		{Around: geo.Point{Lat: 48.1, Lng: 11.5}, RadiusM: 300},
	}
	b.ReportAllocs()
	for revision := uint64(1); b.Loop(); revision++ {
		if !in.unmoved(circles, revision) {
			b.Fatal("it concerns the phone")
		}
	}
}
