package catalog_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// A place within all limits can be more than a record of the log holds: it is refused
// by itself, and the others are put.
func TestAPlaceThatNoRecordHoldsIsRefusedByItself(t *testing.T) {
	ring := make([]geo.Point, 0, 9001)
	for i := range 9000 {
		a := 2 * math.Pi * float64(i) / 9000
		ring = append(ring, geo.Point{Lat: 52 + 0.0123456789*math.Sin(a), Lng: 4 + 0.0123456789*math.Cos(a)})
	}
	ring = append(ring, ring[0])
	shape, err := geo.NewPolygon([][][]geo.Point{{ring}})
	if err != nil {
		t.Fatal(err)
	}
	large := place("acme", "large")
	large.Geofences = nil
	for i := range 20 {
		large.Geofences = append(large.Geofences, engage.Geofence{ID: fmt.Sprint("large-", i), Ring: engage.Inside, Shape: shape})
	}
	c := fresh(t)
	edits := []catalog.PlaceEdit{{Place: large, Expected: catalog.AnyVersion}, {Place: place("acme", "small"), Expected: catalog.AnyVersion}}
	for name, got := range map[string][]catalog.PlaceOutcome{
		"checked": c.CheckPlaces("acme", edits),
		"put": func() []catalog.PlaceOutcome {
			out, err := c.PutPlaces(t.Context(), "test", "acme", edits)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}(),
	} {
		if engage.CodeOf(got[0].Err) != engage.TooLarge || got[1].Err != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if err := c.PutPlace(t.Context(), "test", large, 0); engage.CodeOf(err) != engage.TooLarge {
		t.Errorf("alone: %v", err)
	}
}
