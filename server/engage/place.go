package engage

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

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
	ID     string     `json:"id"` // unique within the workspace
	Ring   Ring       `json:"ring"`
	Shape  geo.Shape  `json:"-"`                 // encoded as GeoJSON under "geometry" and "radius"
	DwellS int        `json:"dwell_s,omitempty"` // whole seconds inside that make a dwell; 0 means none is told
	Rule   *FenceRule `json:"rule,omitempty"`    // nil: that of the place
}

// Dwell is how long somebody must be inside for a dwell; 0 means that none is told.
func (g *Geofence) Dwell() time.Duration { return time.Duration(g.DwellS) * time.Second }

// Exception is what is open on one day, whatever the hours say of it.
type Exception struct {
	Date string `json:"date"` // "2026-12-24", of the place's calendar
	// Hours of what begins on that day, "10:00-14:00,16:00-18:00", or "off".
	Hours string `json:"hours"`
}

// Limits of a place.
const (
	maxTags       = 50
	maxTagBytes   = 200
	maxGeofences  = 20
	maxBeacons    = 50
	maxHours      = 2000 // bytes
	maxHolidays   = 400
	maxExceptions = 400
)

// Place is a shop or another spot that people visit. Its ID is what the retailer
// calls it (a store number), so that an import finds it again.
type Place struct {
	ID        string   `json:"id"`
	Workspace string   `json:"workspace,omitempty"`
	Version   int64    `json:"version"`
	Name      string   `json:"name"`
	Tags      []string `json:"tags,omitempty"`
	// TimeZone is the IANA name. Who makes a place finds it from the position; empty,
	// as in documents from before that, means the phone's.
	TimeZone  string     `json:"time_zone,omitempty"`
	Location  geo.Point  `json:"location"` // where weather is asked for and distance is measured to
	Geofences []Geofence `json:"geofences"`
	// Hours are opening hours as OpenStreetMap writes them (package hours reads
	// them); empty means that they are not known, which is not closed.
	Hours      string      `json:"hours,omitempty"`
	Holidays   []string    `json:"holidays,omitempty"`   // days of the place, "2026-12-25", that its hours call PH
	Exceptions []Exception `json:"exceptions,omitempty"` // by day, each day once; they need Hours
	Beacons    []Beacon    `json:"beacons,omitempty"`
	Rule       *FenceRule  `json:"rule,omitempty"` // for all geofences that say nothing else
	UpdatedAt  time.Time   `json:"updated_at"`
}

// Fence is the geofence of an id; nil when the place has none.
func (p *Place) Fence(id string) *Geofence {
	for i := range p.Geofences {
		if p.Geofences[i].ID == id {
			return &p.Geofences[i]
		}
	}
	return nil
}

// FenceOf is the geofence that a beacon of the place is evidence for: the one that
// it names, else the first inside geofence, else the first; nil when there is none.
func (p *Place) FenceOf(b *Beacon) *Geofence {
	if b.Fence != "" {
		return p.Fence(b.Fence)
	}
	for i := range p.Geofences {
		if p.Geofences[i].Ring == Inside {
			return &p.Geofences[i]
		}
	}
	if len(p.Geofences) == 0 {
		return nil
	}
	return &p.Geofences[0]
}

func invalidID(field string) error {
	return Errorf(Invalid, field, "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
}

// Validate checks what can be checked without asking anybody, but for the texts of
// the hours, which hours.Of reads.
func (p *Place) Validate() error {
	if !ValidID(p.ID) {
		return invalidID("id")
	}
	if p.Name == "" || len(p.Name) > 200 {
		return Errorf(Invalid, "name", "must have 1 to 200 bytes, has %d", len(p.Name))
	}
	if err := printable("name", p.Name); err != nil {
		return err
	}
	if err := p.Location.Validate(); err != nil {
		return At("location", err)
	}
	if p.TimeZone != "" {
		if _, known := Zone(p.TimeZone); !known {
			return Errorf(Invalid, "time_zone", "unknown IANA zone %.60q", p.TimeZone)
		}
	}
	if len(p.Tags) > maxTags {
		return Errorf(Invalid, "tags", "at most %d, got %d", maxTags, len(p.Tags))
	}
	for i, tag := range p.Tags {
		if len(tag) > maxTagBytes {
			return Errorf(Invalid, fmt.Sprintf("tags[%d]", i), "must have at most %d bytes, has %d", maxTagBytes, len(tag))
		}
		if err := printable(fmt.Sprintf("tags[%d]", i), tag); err != nil {
			return err
		}
		if slices.Contains(p.Tags[:i], tag) {
			return Errorf(Invalid, fmt.Sprintf("tags[%d]", i), "stands twice: %.60q", tag)
		}
	}
	if err := p.Rule.validate(geo.DefaultRule()); err != nil {
		return At("rule", err)
	}
	if err := p.validateGeofences(); err != nil {
		return err
	}
	if err := p.validateDays(); err != nil {
		return err
	}
	return p.validateBeacons()
}

// printable refuses a text that is blank, or that nobody can see whole.
func printable(field, text string) error {
	if strings.TrimSpace(text) == "" {
		return Errorf(Invalid, field, "must not be blank")
	}
	if i := strings.IndexFunc(text, unicode.IsControl); i >= 0 {
		return Errorf(Invalid, field, "must not have control characters, has one at byte %d", i)
	}
	return nil
}

func (p *Place) validateGeofences() error {
	if len(p.Geofences) == 0 || len(p.Geofences) > maxGeofences {
		return Errorf(Invalid, "geofences", "1 to %d, got %d", maxGeofences, len(p.Geofences))
	}
	seen := map[string]bool{}
	for i := range p.Geofences {
		f := &p.Geofences[i]
		switch {
		case !ValidID(f.ID):
			return invalidID(Index("geofences", i, "id"))
		case seen[f.ID]:
			return Errorf(Invalid, Index("geofences", i, "id"), "stands twice: %q", f.ID)
		case f.Ring != Inside && f.Ring != Near:
			return Errorf(Invalid, Index("geofences", i, "ring"), `must be "inside" or "near", is %q`, f.Ring)
		case f.Shape == nil:
			return Errorf(Invalid, Index("geofences", i, "geometry"), "is missing")
		case f.DwellS < 0 || f.Dwell() > geo.MaxRuleTime || f.DwellS > int(geo.MaxRuleTime/time.Second):
			return Errorf(Invalid, Index("geofences", i, "dwell_s"), "must be 0 (none) to %d s, is %d", geo.MaxRuleTime/time.Second, f.DwellS)
		}
		if err := f.Shape.Validate(); err != nil {
			return At(Index("geofences", i, "geometry"), err)
		}
		if err := f.Rule.validate(p.RuleOf(nil)); err != nil {
			return At(Index("geofences", i, "rule"), err)
		}
		seen[f.ID] = true
	}
	return nil
}

// validateDays checks the hours' length and the days, not the hours themselves.
func (p *Place) validateDays() error {
	switch {
	case len(p.Hours) > maxHours:
		return Errorf(Invalid, "hours", "must have at most %d bytes, have %d", maxHours, len(p.Hours))
	case len(p.Holidays) > maxHolidays:
		return Errorf(Invalid, "holidays", "at most %d, got %d", maxHolidays, len(p.Holidays))
	case len(p.Exceptions) > maxExceptions:
		return Errorf(Invalid, "exceptions", "at most %d, got %d", maxExceptions, len(p.Exceptions))
	case len(p.Exceptions) > 0 && p.Hours == "":
		return Errorf(Invalid, "exceptions", "need hours that they are exceptions from")
	}
	for i, d := range p.Holidays {
		if err := validDate(d); err != nil {
			return At(fmt.Sprintf("holidays[%d]", i), err)
		}
		if slices.Contains(p.Holidays[:i], d) {
			return Errorf(Invalid, fmt.Sprintf("holidays[%d]", i), "stands twice: %s", d)
		}
	}
	seen := map[string]bool{}
	for i, e := range p.Exceptions {
		if err := validDate(e.Date); err != nil {
			return At(Index("exceptions", i, "date"), err)
		}
		if seen[e.Date] {
			return Errorf(Invalid, Index("exceptions", i, "date"), "stands twice: %s", e.Date)
		}
		if len(e.Hours) > maxHours {
			return Errorf(Invalid, Index("exceptions", i, "hours"), "must have at most %d bytes, have %d", maxHours, len(e.Hours))
		}
		seen[e.Date] = true
	}
	return nil
}

func validDate(text string) error {
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return Errorf(Invalid, "", "must be a date like 2026-12-25, is %.60q", text)
	}
	return nil
}

func (p *Place) validateBeacons() error {
	if len(p.Beacons) > maxBeacons {
		return Errorf(Invalid, "beacons", "at most %d, got %d", maxBeacons, len(p.Beacons))
	}
	ids, keys := map[string]bool{}, map[string]string{}
	for i := range p.Beacons {
		b := &p.Beacons[i]
		if err := b.Validate(); err != nil {
			return At(fmt.Sprintf("beacons[%d]", i), err)
		}
		if ids[b.ID] {
			return Errorf(Invalid, Index("beacons", i, "id"), "stands twice: %q", b.ID)
		}
		if other, there := keys[b.Key()]; there {
			return Errorf(Invalid, fmt.Sprintf("beacons[%d]", i), "is the same as %q: they could not be told apart", other)
		}
		if p.FenceOf(b) == nil {
			return Errorf(Invalid, Index("beacons", i, "fence"), "the place has no geofence %.60q", b.Fence)
		}
		ids[b.ID], keys[b.Key()] = true, b.ID
	}
	return nil
}
