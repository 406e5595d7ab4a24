package situate

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// Install is the state of one install: key "<workspace>/i:<install>".
type Install struct {
	V        int                               `json:"v"` // 1
	Install  string                            `json:"install"`
	Profile  string                            `json:"profile"` // minted from the install
	Accepted Intervals                         `json:"accepted"`
	Device   engage.Device                     `json:"device"`
	Consents map[engage.Purpose]engage.Consent `json:"consents"`
	Fix      *Fix                              `json:"fix,omitempty"`     // the newest by occurrence; nil without precise consent
	Coarse   geo.Cell                          `json:"coarse,omitempty"`  // instead of Fix
	Visits   map[string]*Visit                 `json:"visits"`            // open ones, by place
	Left     map[string]time.Time              `json:"left,omitempty"`    // by what evidence the last places were left: their newest, by place
	Said     map[engage.Purpose]uint64         `json:"said,omitempty"`    // seq of each answer in Consents
	Refused  uint64                            `json:"refused,omitempty"` // positions dropped for want of consent
	Doubted  uint64                            `json:"doubted,omitempty"` // entered regions whose own fix was clearly elsewhere, or did not say that an outline was entered; dropped
}

// Fix is a position of the install.
type Fix struct {
	At        time.Time `json:"at"` // corrected device clock
	Pos       geo.Point `json:"pos"`
	AccuracyM float64   `json:"accuracy_m"`
}

// Visit is an open visit of a place. A Visit that stands in a committed state is
// never changed.
type Visit struct {
	ID     string    `json:"id"`
	Since  time.Time `json:"since"`  // first evidence, by occurrence
	Last   time.Time `json:"last"`   // newest evidence that changed it
	Fences []string  `json:"fences"` // inside which the install is, sorted
}

func (v *Visit) in(fence string) bool { return slices.Contains(v.Fences, fence) }

func (in *Install) granted(p engage.Purpose) bool { return in.Consents[p].Granted }

// Clone implements engage.State. Maps are shared: whoever changes one replaces it
// (setConsent, setVisit, leave), which is rare next to a fix.
func (in *Install) Clone() engage.State {
	c := *in
	c.Accepted = append(make(Intervals, 0, len(in.Accepted)+1), in.Accepted...)
	return &c
}

// setConsent keeps an answer and reports whether it is in force: one that the
// person gave before the answer in force came late, and changes nothing.
func (in *Install) setConsent(p engage.Purpose, c engage.Consent, seq uint64) bool {
	if seq < in.Said[p] {
		return false
	}
	in.Consents, in.Said = replaced(in.Consents, p, c), replaced(in.Said, p, seq)
	return true
}

func replaced[K comparable, V any](m map[K]V, k K, v V) map[K]V {
	c := make(map[K]V, len(m)+1)
	maps.Copy(c, m)
	c[k] = v
	return c
}

// setVisit replaces the visit of a place.
func (in *Install) setVisit(place string, v *Visit) { in.Visits = replaced(in.Visits, place, v) }

// endVisit forgets the visit of a place.
func (in *Install) endVisit(place string) {
	in.Visits = maps.Clone(in.Visits)
	delete(in.Visits, place)
}

// maxLeft bounds the places of which the time of leaving is remembered.
const maxLeft = 16

// leave ends the visit of a place by evidence of the given time.
func (in *Install) leave(place string, at time.Time) {
	in.endVisit(place)
	m := replaced(in.Left, place, at)
	for len(m) > maxLeft {
		oldest := ""
		for p, t := range m {
			if o := m[oldest]; oldest == "" || t.Before(o) || t.Equal(o) && p < oldest {
				oldest = p
			}
		}
		delete(m, oldest)
	}
	in.Left = m
}

// Encode implements engage.State.
func (in *Install) Encode() ([]byte, error) { return json.Marshal(in) }

// maxIntervals bounds the holes that are remembered of an install's sequence.
const maxIntervals = 256

// Intervals is a set of sequence numbers: sorted, disjoint, not adjacent pairs of
// first and last.
type Intervals [][2]uint64

// Add adds n and reports whether it was new.
func (s *Intervals) Add(n uint64) bool {
	v := *s
	// Almost always n follows the last interval.
	i := len(v)
	for i > 0 && v[i-1][0] > n {
		i--
	}
	if i > 0 && n <= v[i-1][1] {
		return false
	}
	joinsLeft := i > 0 && v[i-1][1]+1 == n
	joinsRight := i < len(v) && n+1 == v[i][0]
	switch {
	case joinsLeft && joinsRight:
		v[i-1][1] = v[i][1]
		v = append(v[:i], v[i+1:]...)
	case joinsLeft:
		v[i-1][1] = n
	case joinsRight:
		v[i][0] = n
	default:
		v = append(v, [2]uint64{})
		copy(v[i+1:], v[i:])
		v[i] = [2]uint64{n, n}
		if len(v) > maxIntervals { // close the oldest hole
			v[1][0] = v[0][0]
			v = v[1:]
		}
	}
	*s = v
	return true
}

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
