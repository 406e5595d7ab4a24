package geo_test

import (
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// An hour of a device is kept as bytes that grow, and packed when it is over.
func ExampleTrack() {
	nine := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	var track geo.Track
	for i := range 120 { // northward at walking pace, a fix each half minute
		longer, err := track.Add(geo.TrackFix{
			At:  nine.Add(time.Duration(i) * 30 * time.Second),
			Pos: geo.Point{Lat: 52.3702 + float64(i)*0.0004, Lng: 4.8952}, AccuracyM: 12,
		})
		if err != nil {
			fmt.Println(err) // its field and the reason: an impossible position, another hour
			return
		}
		track = longer
	}
	fmt.Println(track.Len(), "fixes from", track.Hour().Format(time.RFC3339))

	packed := track.Pack()
	fmt.Println("packed is smaller:", len(packed) < track.Size())
	again, err := geo.DecodeTrack(packed)
	if err != nil {
		fmt.Println(err)
		return
	}
	last := again.Fixes()[119]
	fmt.Println(last.At.Format(time.TimeOnly), last.Pos.Lat, last.AccuracyM, last.Evidence)
	// Output:
	// 120 fixes from 2026-03-02T09:00:00Z
	// packed is smaller: true
	// 09:59:30 52.4178 12 fix
}
