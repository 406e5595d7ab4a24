package app_test

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// A mall is drawn by its outline: its courtyard is no part of it, and all within
// 100 m of it is near.
func TestAPolygonFiresWhereItsOutlineIs(t *testing.T) {
	s := newStory(t)
	at := func(north, east float64) geo.Point { // metres from the mall's middle
		return geo.Point{Lat: cafe.Lat + north/111_267, Lng: cafe.Lng + east/68_000}
	}
	ring := func(half float64) [][2]float64 {
		var out [][2]float64
		for _, corner := range [][2]float64{{-1, -1}, {-1, 1}, {1, 1}, {1, -1}, {-1, -1}} {
			p := at(half*corner[0], half*corner[1])
			out = append(out, [2]float64{p.Lng, p.Lat})
		}
		return out
	}
	s.must("PUT", "/api/v1/places/mall", map[string]any{
		"name": "Mall", "time_zone": "Europe/Amsterdam",
		"geofences": []any{
			map[string]any{"id": "mall-inside", "ring": "inside", "geometry": map[string]any{"type": "Polygon", "coordinates": [][][2]float64{ring(200), ring(80)}}},
			map[string]any{"id": "mall-near", "ring": "near", "radius": 100, "geometry": map[string]any{"type": "Polygon", "coordinates": [][][2]float64{ring(200)}}},
		},
	}, nil)
	for _, transition := range []string{"near", "inside"} {
		s.campaign(transition, func(c map[string]any) {
			c["trigger"] = map[string]any{"type": "place", "transition": "enter", "rings": []string{transition}}
			delete(c, "audience")
			delete(c, "context")
		})
	}
	ada := s.phone("ada", "android", nil).agree().background()

	// Within the circle around the outline, not within 100 m of the outline.
	ada.at(at(290, 290), 10).post()
	s.settle()
	if d := append(s.decisions(ada, "near"), s.decisions(ada, "inside")...); len(d) != 0 {
		t.Fatalf("beside the corner: %+v", d)
	}
	s.clock.Advance(time.Minute)
	ada.at(at(250, 0), 10).post()
	s.want(ada, "near", engage.Sent, "")
	s.clock.Advance(time.Minute)
	ada.at(at(0, 0), 10).post() // the courtyard
	s.settle()
	if d := s.decisions(ada, "inside"); len(d) != 0 {
		t.Fatalf("in the courtyard: %+v", d)
	}
	s.clock.Advance(time.Minute)
	ada.at(at(140, -140), 10).post()
	if d := s.want(ada, "inside", engage.Sent, ""); d.Trigger.Evidence != "fix" {
		t.Errorf("decided %+v", d)
	}
}
