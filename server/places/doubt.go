package places

import (
	"fmt"
	"math"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// farM is how far outside its geofences, in metres, a place may be said to be without
// a word: a car park or the middle of a mall is, another town is not.
const farM = 1000

// doubts tells what is allowed and still is rarely meant: a location far from all
// geofences, and a time zone that is not theirs. Geofences that are refused anyway are
// not looked at.
func doubts(p *engage.Place) []Warning {
	var out []Warning
	nearest := math.Inf(1)
	found, agrees := "", false
	for _, f := range p.Geofences {
		if f.Shape == nil || f.Shape.Validate() != nil {
			continue
		}
		nearest = min(nearest, f.Shape.MarginM(p.Location))
		if zone := plainZone(f.Shape.Center()); zone != "" {
			if found == "" {
				found = zone
			}
			agrees = agrees || sameClock(p.TimeZone, zone)
		}
	}
	if p.Location.Validate() == nil && nearest > farM && !math.IsInf(nearest, 1) {
		out = append(out, Warning{"location", fmt.Sprintf("is %.1f km outside all geofences", nearest/1000)})
	}
	if _, known := engage.Zone(p.TimeZone); known && found != "" && !agrees {
		out = append(out, Warning{"time_zone", fmt.Sprintf("is %s, the geofences are in %s", p.TimeZone, found)})
	}
	return out
}

// plainZone is the zone of a position that does not lie beside another; else "". It
// needs no borders, which are a second and much memory to load.
func plainZone(p geo.Point) string {
	name := tiles().GetTimezoneName(p.Lng, p.Lat)
	if _, known := engage.Zone(name); !known {
		return ""
	}
	return name
}

// sameClock reports whether two zones tell the same time in all weeks of the years
// around 2026: many have several names, or a neighbour with the same rules.
func sameClock(a, b string) bool {
	if a == b {
		return true
	}
	za, oka := engage.Zone(a)
	zb, okb := engage.Zone(b)
	if !oka || !okb {
		return false
	}
	at := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 3 * 52 {
		_, oa := at.In(za).Zone()
		_, ob := at.In(zb).Zone()
		if oa != ob {
			return false
		}
		at = at.AddDate(0, 0, 7)
	}
	return true
}
