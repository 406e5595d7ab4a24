package places

import (
	"strings"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/hours"
)

// Prepare completes a place that somebody has written: its zone is found from its
// location where it has none, its hours and beacons are brought into their one form.
// The warnings tell what was done, what was put right in its geometries, and where the
// location or the time zone given is not that of the geofences. What is
// wrong stays as it is, for catalog.ValidatePlace to refuse.
func Prepare(p *engage.Place) []Warning {
	var out []Warning
	for i := range p.Geofences {
		if p.Geofences[i].Shape == nil {
			continue
		}
		for _, w := range geo.Warnings(p.Geofences[i].Shape) {
			out = append(out, Warning{engage.Index("geofences", i, join("geometry", w.Field)), w.Reason})
		}
	}
	out = append(out, doubts(p)...)
	if p.TimeZone == "" {
		if zone, ok := ZoneAt(p.Location); ok {
			p.TimeZone = zone
			out = append(out, Warning{"time_zone", zone + " was found from the position"})
		}
	}
	was := p.Hours
	if NormalizeHours(p) == nil && p.Hours != was {
		out = append(out, Warning{"hours", "are kept as " + p.Hours})
	}
	for i := range p.Beacons {
		NormalizeBeacon(&p.Beacons[i])
	}
	return out
}

// NormalizeHours brings the hours and exceptions of a place into their one form. The
// error is that of hours.Of, of a place with a zone; the place is then as it was.
func NormalizeHours(p *engage.Place) error {
	zoned := *p
	if zoned.TimeZone == "" {
		zoned.TimeZone = "UTC" // its absence is refused elsewhere
	}
	if _, err := hours.Of(&zoned); err != nil || p.Hours == "" {
		return err
	}
	h, err := hours.Parse(p.Hours)
	if err != nil {
		return err
	}
	p.Hours = h.String()
	if len(p.Exceptions) == 0 {
		return nil
	}
	exceptions := make([]engage.Exception, len(p.Exceptions))
	for i, e := range p.Exceptions {
		h, err := hours.Parse(e.Hours)
		if err != nil {
			return err
		}
		exceptions[i] = engage.Exception{Date: e.Date, Hours: h.String()}
	}
	p.Exceptions = exceptions
	return nil
}

// NormalizeBeacon writes the hex digits of a beacon small.
func NormalizeBeacon(b *engage.Beacon) {
	b.UUID, b.Namespace, b.Instance = strings.ToLower(b.UUID), strings.ToLower(b.Namespace), strings.ToLower(b.Instance)
}
