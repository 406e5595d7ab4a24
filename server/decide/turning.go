package decide

import (
	"fmt"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

// Turning is what a campaign's trigger asks about the weather.
type Turning struct {
	where    *rules.Rule
	outlooks []int
}

// NewTurning reads a weather trigger's condition; the error's field is below "trigger".
func NewTurning(t *engage.CampaignTrigger) (*Turning, error) {
	where, err := whereOf(t)
	if err != nil {
		return nil, err
	}
	return &Turning{where, outlooksOf(where, nil)}, nil
}

// Holds reports whether the condition holds at a time; known is false where the forecast
// does not reach as far as it asks.
func (x *Turning) Holds(r *engage.WeatherRecord, now time.Time) (holds, known bool) {
	env := skyEnv{"": weatherFields(&r.Weather)}
	for _, n := range x.outlooks {
		o, known := engage.OutlookOf(r.Hours, now, n)
		if !known {
			return false, false
		}
		env[fmt.Sprintf("next_%dh", n)] = o.Fields()
	}
	return x.where.Match(env, now), true
}

// skyEnv implements rules.Env over rules.WeatherSchema: fields by span, "" being now.
type skyEnv map[string]map[string]any

// Value implements rules.Env.
func (e skyEnv) Value(path string) (any, bool) {
	name := strings.TrimPrefix(path, "weather.")
	span, field, of := strings.Cut(name, ".")
	if !of {
		span, field = "", name
	}
	v, ok := e[span][field]
	return v, ok
}
