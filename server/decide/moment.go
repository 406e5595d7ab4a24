package decide

import (
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// moment is what context rules and templates see of a trigger.
type moment struct {
	s      *step
	t      *engage.Trigger
	place  *engage.Place
	device *engage.Device // the triggering one; never nil
	zone   *time.Location // nil until local is asked
	// homeZone is the zone of the person's phone; nil until home is asked.
	homeZone *time.Location
	props    map[string]any
	offer    map[string]any // of the campaign that asks, as templates see it; nil: it has none
	ahead    *ahead         // what is forecast; nil until it is asked for
	items    *looked        // of the campaign that asks; nil: its texts look at none
}

func (s *step) moment(t *engage.Trigger) *moment {
	d := s.deviceOf(t)
	return &moment{s: s, t: t, place: s.config.places[t.Place], device: &d}
}

// local is the log time where the person is: in the place's zone, else the
// phone's, else UTC.
func (m *moment) local() time.Time {
	if m.zone == nil {
		zone := m.device.TimeZone
		if m.place != nil && m.place.TimeZone != "" {
			zone = m.place.TimeZone
		}
		m.zone = time.UTC
		if z, known := engage.Zone(zone); known {
			m.zone = z
		}
	}
	return m.s.e.At.In(m.zone)
}

func (m *moment) properties() map[string]any {
	if m.props == nil {
		m.props = propertiesOf(m.t.Properties)
	}
	return m.props
}

// Value implements rules.Env over rules.MomentSchema.
func (m *moment) Value(path string) (any, bool) {
	group, name, _ := strings.Cut(path, ".")
	switch group {
	case "weather":
		if m.t.Weather == nil {
			return nil, false
		}
		if span, field, of := strings.Cut(name, "."); of {
			return m.outlookValue(span, field)
		}
		v, ok := weatherFields(m.t.Weather)[name]
		return v, ok
	case "place":
		if m.place == nil {
			return nil, false
		}
		if name == "open_for_min" {
			return m.openForMin()
		}
		v, ok := m.placeFields()[name]
		return v, ok
	case "trigger":
		if p, ok := strings.CutPrefix(name, "properties."); ok {
			return property(m.properties(), p)
		}
		v, ok := m.triggerFields()[name]
		return v, ok
	case "local":
		now := m.local()
		switch name {
		case "hour":
			return now.Hour(), true
		case "minute":
			return now.Minute(), true
		case "time":
			return now.Format("15:04"), true
		case "weekday":
			return strings.ToLower(now.Weekday().String()[:3]), true
		}
	case "device":
		v, ok := m.deviceFields()[name]
		s, text := v.(string)
		return v, ok && (!text || s != "")
	}
	return nil, false
}

func weatherFields(w *engage.Weather) map[string]any {
	return map[string]any{
		"condition": w.Condition, "temperature_c": w.TemperatureC, "feels_like_c": w.FeelsLikeC,
		"precipitation_mm": w.Precipitation, "wind_mps": w.WindMPS, "uv": w.UV, "day": w.Day,
	}
}

func (m *moment) placeFields() map[string]any {
	f := map[string]any{"id": m.place.ID, "name": m.place.Name, "tags": m.place.Tags}
	if m.t.Opening != "" {
		f["open"] = m.t.Opening == "open"
	}
	if m.t.Occupancy != nil {
		f["occupancy"] = *m.t.Occupancy
	}
	return f
}

func (m *moment) triggerFields() map[string]any {
	f := map[string]any{"type": string(m.t.Type)}
	if m.t.Type == engage.TriggerEvent {
		f["event"] = m.t.Event
		return f
	}
	if m.t.Transition == "" {
		return f
	}
	f["transition"] = string(m.t.Transition)
	if m.t.Ring != "" {
		f["ring"] = string(m.t.Ring)
	}
	if m.t.Beacon != "" {
		f["beacon"] = m.t.Beacon
	}
	if m.t.InsideS > 0 {
		f["inside_s"] = m.t.InsideS
	}
	if m.t.DistanceM > 0 || m.t.Evidence == "fix" {
		f["distance_m"] = m.t.DistanceM
	}
	return f
}

func (m *moment) deviceFields() map[string]any {
	return map[string]any{
		"platform": m.device.Platform, "locale": m.device.Locale,
		"notifications": m.device.Notifications, "location": m.device.Location,
	}
}

// vars is what templates see.
func (m *moment) vars(c *campaign, before Before) map[string]any {
	p := m.s.p
	attributes := p.Attributes
	if attributes == nil {
		attributes = map[string]any{}
	}
	bought := p.Purchases.Totals()
	total, currency := bought.Total()
	person := map[string]any{
		"id": p.ID, "attributes": attributes, "visits": before.Visits,
		"likes": p.Topics(engage.Like), "dislikes": p.Topics(engage.Dislike),
		"affinities": p.Likings(m.s.e.At), "favourite_brands": p.Brands(m.s.e.At),
		"purchases_count": bought.Count, "purchases_total": total, "purchases_currency": currency,
	}
	if places := m.s.favourites(); len(places) > 0 {
		person["favourite_place"], person["favourite_places"] = places[0], places
	}
	if home := m.s.config.places[p.HomePlace(m.s.e.At)]; home != nil {
		person["home_place"] = map[string]any{"id": home.ID, "name": home.Name}
	}
	if !bought.LastAt.IsZero() {
		person["last_purchase_at"] = bought.LastAt
	}
	v := map[string]any{
		"profile":  person,
		"campaign": map[string]any{"id": c.ID, "name": c.Name},
		"device":   m.deviceFields(),
	}
	trigger := m.triggerFields()
	if m.t.Type.HasProperties() {
		trigger["properties"] = m.properties()
	}
	v["trigger"] = trigger
	if m.place != nil {
		v["place"] = m.placeFields()
	}
	if m.t.Weather != nil {
		v["weather"] = m.addOutlooks(c, weatherFields(m.t.Weather))
	}
	if m.offer != nil {
		v["offer"] = m.offer
	}
	if m.items != nil {
		m.items.vars(m, c.about, v)
	}
	return v
}

// favourites are the person's favourite places that there still are, as templates see
// them.
func (s *step) favourites() []map[string]any {
	var out []map[string]any
	for _, id := range s.p.FavouritePlaces(s.e.At) {
		if place := s.config.places[id]; place != nil {
			out = append(out, map[string]any{"id": place.ID, "name": place.Name})
		}
	}
	return out
}
