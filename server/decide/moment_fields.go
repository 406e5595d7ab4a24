package decide

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/hours"
)

// alwaysOpenMin is what place.open_for_min is at most, in minutes: a week.
const alwaysOpenMin = 7 * 24 * 60

// openForMin is for how many whole minutes more the place is open, by its opening hours,
// exceptions and holidays in its own zone: 0 where it is closed, false where its hours are
// not known. It is of now, not of when the trigger arose: what has waited is judged anew.
func (m *moment) openForMin() (any, bool) {
	o, err := hours.Of(m.place)
	if err != nil || o == nil { // catalog refuses hours that cannot be read
		return nil, false
	}
	now := m.s.e.At
	open, known, next := o.Look(now)
	switch {
	case !known:
		return nil, false
	case !open:
		return 0, true
	case next.IsZero():
		return alwaysOpenMin, true
	}
	return min(int(next.Sub(now)/time.Minute), alwaysOpenMin), true
}

// AsksOccupancy reports whether a live campaign's context or texts may ask how full a place
// is.
func AsksOccupancy(c *engage.Campaign) bool {
	if c.Status != engage.Live {
		return false
	}
	if strings.Contains(string(c.Context), "place.occupancy") {
		return true
	}
	for i := range c.Arms {
		text, err := json.Marshal(c.Arms[i].Message)
		if err == nil && strings.Contains(string(text), "occupancy") {
			return true
		}
	}
	return false
}
