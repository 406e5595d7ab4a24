package situate

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// weatherAskEvery is how long a request for a cell's weather is waited for before
// it is asked for again.
const weatherAskEvery = 10 * time.Second

// Weather is the state of a cell's weather in this partition.
type Weather struct {
	V       int             `json:"v"` // 1
	Weather *engage.Weather `json:"weather,omitempty"`
	AskedAt time.Time       `json:"asked_at,omitzero"`
}

// Clone implements engage.State.
func (w *Weather) Clone() engage.State {
	c := *w
	return &c
}

// Encode implements engage.State.
func (w *Weather) Encode() ([]byte, error) { return json.Marshal(w) }

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
