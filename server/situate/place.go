package situate

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// Config is what situate needs of a configuration revision: the places of every
// workspace, indexed. It is immutable.
type Config struct {
	workspaces map[string]*workspace
}

type workspace struct {
	index  *geo.Index
	places map[string]*engage.Place
	fences map[string]fence
	rule   geo.Rule
}

type fence struct {
	place *engage.Place
	fence *engage.Geofence
}

// NewConfig indexes places. A place that cannot be indexed is an error: catalog
// does not keep such.
func NewConfig(places []*engage.Place) (*Config, error) {
	c := &Config{workspaces: map[string]*workspace{}}
	shapes := map[string][]geo.Fence{}
	for _, p := range places {
		w := c.workspaces[p.Workspace]
		if w == nil {
			w = &workspace{places: map[string]*engage.Place{}, fences: map[string]fence{}, rule: geo.DefaultRule()}
			c.workspaces[p.Workspace] = w
		}
		w.places[p.ID] = p
		for i := range p.Geofences {
			f := &p.Geofences[i]
			w.fences[f.ID] = fence{p, f}
			shapes[p.Workspace] = append(shapes[p.Workspace], geo.Fence{ID: f.ID, Shape: f.Shape})
		}
	}
	for name, w := range c.workspaces {
		x, err := geo.NewIndex(shapes[name])
		if err != nil {
			return nil, fmt.Errorf("index places of workspace %s: %w", name, err)
		}
		w.index = x
	}
	return c, nil
}

// Nearest appends the n geofences of a workspace whose borders are nearest to p:
// what a phone should watch.
func (c *Config) Nearest(workspace string, p geo.Point, n int, dst []geo.Hit) []geo.Hit {
	w := c.workspaces[workspace]
	if w == nil {
		return dst
	}
	return w.index.Nearest(p, n, dst)
}

// sighting is evidence about one geofence.
type sighting struct {
	fence     fence
	inside    bool
	evidence  string
	distanceM float64
	accuracyM float64
	at        time.Time
}

// fix applies a precise position to the geofences around it.
func (s *step) fix(p geo.Point, accuracyM float64, at time.Time) error {
	var buf [16]geo.Hit
	hits := buf[:0]
	if s.config.index != nil {
		hits = s.config.index.At(p, hits)
	}
	judged := make(map[string]bool, len(hits))
	for _, h := range hits {
		judged[h.ID] = true
		if err := s.judge(h.ID, h.MarginM, h.Shape.BoundingRadiusM(), p, accuracyM, at); err != nil {
			return err
		}
	}
	// Fences that the install was in and that the point is not.
	for _, place := range sortedVisits(s.in.Visits) {
		v := s.in.Visits[place]
		if v == nil {
			continue
		}
		for _, id := range v.Fences {
			f, ok := s.config.fences[id]
			if !ok || f.place.ID != place {
				s.forgetFence(place, id) // the geofence was removed: nothing was left
				continue
			}
			if judged[id] {
				continue
			}
			if err := s.judge(id, f.fence.Shape.MarginM(p), f.fence.Shape.BoundingRadiusM(), p, accuracyM, at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *step) judge(id string, marginM, radiusM float64, p geo.Point, accuracyM float64, at time.Time) error {
	f := s.config.fences[id]
	was := geo.Outside
	if v := s.in.Visits[f.place.ID]; v != nil && v.in(id) {
		was = geo.Inside
	}
	v := s.config.rule.Decide(was, marginM, radiusM, accuracyM)
	if !v.Changed || s.overtaken(f, v.Now, at) {
		return nil
	}
	return s.transition(sighting{
		fence: f, inside: v.Now == geo.Inside, evidence: "fix",
		distanceM: geo.DistanceM(p, f.place.Location), accuracyM: v.AccuracyM, at: at,
	})
}

// overtaken reports whether newer evidence than that of the given time speaks
// against a change: the newest transition at the place, or the newest fix, which
// would undo it at once. A newer fix that says nothing about the geofence, since
// it is too coarse or on the border, does not.
func (s *step) overtaken(f fence, now geo.Presence, at time.Time) bool {
	if v := s.in.Visits[f.place.ID]; v != nil && at.Before(v.Last) {
		return true
	}
	if left, ok := s.in.Left[f.place.ID]; ok && !at.After(left) {
		return true
	}
	newest := s.in.Fix
	if newest == nil || !at.Before(newest.At) {
		return false
	}
	shape := f.fence.Shape
	return s.config.rule.Decide(now, shape.MarginM(newest.Pos), shape.BoundingRadiusM(), newest.AccuracyM).Changed
}

// transition records that the install entered or left a geofence, and tells the
// profile.
func (s *step) transition(t sighting) error {
	place, id := t.fence.place, t.fence.fence.ID
	old := s.in.Visits[place.ID]
	v := &Visit{Last: t.at}
	if old != nil {
		*v = Visit{ID: old.ID, Since: old.Since, Last: t.at, Fences: slices.Clone(old.Fences)}
	} else {
		v.ID = engage.VisitID(s.ws, s.in.Install, place.ID, s.seq)
		v.Since = t.at
	}
	kind := engage.Exit
	if t.inside {
		kind = engage.Enter
		v.Fences = append(v.Fences, id)
		slices.Sort(v.Fences)
	} else {
		v.Fences = slices.DeleteFunc(v.Fences, func(f string) bool { return f == id })
	}
	if len(v.Fences) == 0 {
		s.in.leave(place.ID, t.at)
	} else {
		s.in.setVisit(place.ID, v)
	}
	trigger := engage.Trigger{
		Type: engage.TriggerPlace, Occasion: v.ID, Install: s.in.Install, OccurredAt: t.at,
		Transition: kind, Ring: t.fence.fence.Ring, Place: place.ID, Fence: id,
		Evidence: t.evidence, DistanceM: t.distanceM, AccuracyM: t.accuracyM,
	}
	if err := s.attachWeather(&trigger, place); err != nil {
		return err
	}
	return s.forward(engage.KindTrigger, trigger)
}

// forgetFence takes a geofence that no longer exists out of a visit.
func (s *step) forgetFence(place, id string) {
	old := s.in.Visits[place]
	v := *old
	v.Fences = slices.DeleteFunc(slices.Clone(old.Fences), func(f string) bool { return f == id })
	if len(v.Fences) == 0 {
		s.in.endVisit(place)
		return
	}
	s.in.setVisit(place, &v)
}

func sortedVisits(m map[string]*Visit) []string {
	if len(m) == 0 {
		return nil
	}
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// attachWeather puts the cached weather of the place's cell on the trigger, or
// says that there is none and has it asked for.
func (s *step) attachWeather(t *engage.Trigger, place *engage.Place) error {
	cell, err := geo.CellOf(place.Location, engage.WeatherResolution)
	if err != nil {
		return err
	}
	t.Cell, t.WeatherIs = cell.String(), engage.WeatherAbsent
	key := weatherKey(s.tx, t.Cell)
	st, err := s.tx.Load(key)
	if err != nil {
		return err
	}
	w := &Weather{V: 1}
	if st != nil {
		w = st.(*Weather) //nolint:forcetypeassert // Decode gives nothing else for this key
	}
	if w.Weather != nil {
		switch now := s.e.At; {
		case !now.After(w.Weather.FreshUntil):
			t.Weather, t.WeatherIs = w.Weather, engage.WeatherFresh
			return nil
		case !now.After(w.Weather.FreshUntil.Add(engage.MaxStaleWeather)):
			t.Weather, t.WeatherIs = w.Weather, engage.WeatherStale
		}
	}
	if s.e.At.Sub(w.AskedAt) < weatherAskEvery {
		return nil
	}
	asked := *w
	asked.AskedAt = s.e.At
	s.tx.Put(key, &asked)
	s.tx.Emit("weather", engage.Entry{Kind: engage.KindWeatherRequest, Key: engage.WeatherKey(t.Cell), Body: []byte(t.Cell)})
	return nil
}

// weatherKey is the key of a cell's weather in this partition: every partition
// gets every weather record and keeps its own.
func weatherKey(tx engage.Tx, cell string) string {
	return engage.WeatherKey(cell) + "@" + tx.Position().Partition
}

func applyWeather(tx engage.Tx, e engage.Entry) error {
	var w engage.Weather
	if err := json.Unmarshal(e.Body, &w); err != nil {
		return fmt.Errorf("weather: %w", err)
	}
	key := weatherKey(tx, w.Cell.String())
	st, err := tx.Load(key)
	if err != nil {
		return err
	}
	next := &Weather{V: 1, Weather: &w}
	if st != nil {
		next.AskedAt = st.(*Weather).AskedAt //nolint:forcetypeassert // Decode gives nothing else for this key
	}
	tx.Put(key, next)
	return nil
}
