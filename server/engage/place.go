package engage

import (
	"regexp"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

var slug = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$`)

// ValidID reports whether s can be the id of a place, campaign, workspace or
// geofence: 1 to 100 of [a-zA-Z0-9._-], not beginning with punctuation.
func ValidID(s string) bool { return slug.MatchString(s) }

// Ring says what being inside a geofence means for its place.
type Ring string

// The rings of a place.
const (
	Inside Ring = "inside" // the person is at the place
	Near   Ring = "near"   // the person is close: an outward ring, a phase of the same visit
)

// Geofence of a place.
type Geofence struct {
	ID    string    `json:"id"` // unique within the workspace
	Ring  Ring      `json:"ring"`
	Shape geo.Shape `json:"-"` // encoded as GeoJSON under "geometry" and "radius"
}

// Place is a shop or another spot that people visit.
type Place struct {
	ID        string     `json:"id"`
	Workspace string     `json:"workspace,omitempty"`
	Version   int64      `json:"version"`
	Name      string     `json:"name"`
	Tags      []string   `json:"tags,omitempty"`
	TimeZone  string     `json:"time_zone,omitempty"` // IANA; empty means the phone's
	Location  geo.Point  `json:"location"`            // where weather is asked for and distance is measured to
	Geofences []Geofence `json:"geofences"`
	UpdatedAt time.Time  `json:"updated_at"`
}

// Validate checks what can be checked without asking anybody.
func (p *Place) Validate() error {
	if !ValidID(p.ID) {
		return Errorf(Invalid, "id", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
	}
	if p.Name == "" || len(p.Name) > 200 {
		return Errorf(Invalid, "name", "must have 1 to 200 bytes, has %d", len(p.Name))
	}
	if err := p.Location.Validate(); err != nil {
		return At("location", err)
	}
	if p.TimeZone != "" {
		if _, known := Zone(p.TimeZone); !known {
			return Errorf(Invalid, "time_zone", "unknown IANA zone %q", p.TimeZone)
		}
	}
	if len(p.Tags) > 50 {
		return Errorf(Invalid, "tags", "at most 50, got %d", len(p.Tags))
	}
	if len(p.Geofences) == 0 || len(p.Geofences) > 20 {
		return Errorf(Invalid, "geofences", "1 to 20, got %d", len(p.Geofences))
	}
	seen := map[string]bool{}
	for i, f := range p.Geofences {
		switch {
		case !ValidID(f.ID):
			return Errorf(Invalid, Index("geofences", i, "id"), "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
		case seen[f.ID]:
			return Errorf(Invalid, Index("geofences", i, "id"), "stands twice: %q", f.ID)
		case f.Ring != Inside && f.Ring != Near:
			return Errorf(Invalid, Index("geofences", i, "ring"), `must be "inside" or "near", is %q`, f.Ring)
		case f.Shape == nil:
			return Errorf(Invalid, Index("geofences", i, "geometry"), "is missing")
		}
		if err := f.Shape.Validate(); err != nil {
			return At(Index("geofences", i, "geometry"), err)
		}
		seen[f.ID] = true
	}
	return nil
}
