package situate

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// Install is the state of one install: key "<workspace>/i:<install>".
type Install struct {
	V        int                              `json:"v"` // 2
	Install  string                           `json:"install"`
	Profile  string                           `json:"profile"`          // whose it is: minted from the install, or from the logout of From
	From     uint64                           `json:"from,omitempty"`   // seq of the logout since which it is Profile's; 0: it always was
	Before   []Owner                          `json:"before,omitempty"` // whose it was before, the first one first
	Accepted Intervals                        `json:"accepted"`
	Device   engage.Device                    `json:"device"`
	Consents engage.ByPurpose[engage.Consent] `json:"consents"`
	Fix      *Fix                             `json:"fix,omitempty"`      // the newest by occurrence; nil without precise consent
	Coarse   geo.Cell                         `json:"coarse,omitempty"`   // instead of Fix
	Tracker  geo.Tracker                      `json:"tracker"`            // where it is and was within the reorder window
	Edition  uint64                           `json:"edition,omitempty"`  // of the places that Tracker has last seen
	Tracks   engage.Tracks                    `json:"tracks,omitzero"`    // fixes that the history does not have yet
	Due      time.Time                        `json:"due,omitzero"`       // of the timer that asks what silence means; zero: none is set
	Session  string                           `json:"session,omitempty"`  // of the socket that is open, as far as the log says
	Claimed  bool                             `json:"claimed,omitempty"`  // the owners of its push tokens were told
	Imported bool                             `json:"imported,omitempty"` // made up for a push token of a file; no app has been heard of
	Said     engage.ByPurpose[uint64]         `json:"said,omitempty"`     // seq of each answer in Consents
	Since    engage.ByPurpose[uint64]         `json:"since,omitempty"`    // of a yes that repeats: seq of the first of them, see since
	Orphans  uint64                           `json:"orphans,omitempty"`  // items of so early a person that nobody remembers whose they are; dropped
	Refused  uint64                           `json:"refused,omitempty"`  // positions dropped for want of consent
	Doubted  uint64                           `json:"doubted,omitempty"`  // entered regions whose own fix was clearly elsewhere, or did not say that an outline was entered; dropped
	Live     []engage.LiveToken               `json:"live,omitempty"`     // of Live Activities; replaced, never changed
	Heard    []Heard                          `json:"heard,omitempty"`    // beacons of places; replaced, never changed
	HeardDue time.Time                        `json:"heard_due,omitzero"` // of the timer that asks which are silent; zero: none is set
	User                                      // who has proven to be Profile's, since From

	fix Fix // what Fix points to, once it was set here
}

// Fix is a position of the install.
type Fix struct {
	At        time.Time `json:"at"` // corrected device clock
	Pos       geo.Point `json:"pos"`
	AccuracyM float64   `json:"accuracy_m"`
}

// now is as the seq of an item that comes after all others.
const now = math.MaxUint64

// Agrees reports whether the person agrees to a purpose now.
func (in *Install) Agrees(p engage.Purpose) bool { return in.granted(p) }

// granted reports whether the person agrees now.
func (in *Install) granted(p engage.Purpose) bool {
	c, _ := in.Consents.Of(p)
	return c.Granted
}

// grantedAt reports whether the person agrees now, and did when the item of that seq
// was made. What was made before a logout was not: every consent is newer.
func (in *Install) grantedAt(p engage.Purpose, seq uint64) bool {
	return in.granted(p) && seq >= in.since(p)
}

// since is the seq of the answer from which on a consent stands that does. What the
// install observed before it, it observed without consent, as far as is known.
func (in *Install) since(p engage.Purpose) uint64 {
	if first, repeated := in.Since.Of(p); repeated {
		return first
	}
	said, _ := in.Said.Of(p)
	return said
}

// Answered is the seq of the answer to a purpose, and that of the answer from which on
// the present one stands; 0 for one that was not given.
func (in *Install) Answered(p engage.Purpose) (seq, since uint64) {
	seq, _ = in.Said.Of(p)
	return seq, in.since(p)
}

// Places are those that the install is visiting, sorted.
func (in *Install) Places() []string { return in.Tracker.Places() }

// Clone implements engage.State. What is by purpose is shared: whoever changes
// it replaces it (setConsent), which is rare next to a fix.
func (in *Install) Clone() engage.State { return in.CloneOver(nil) }

// CloneOver implements engage.Recloner.
func (in *Install) CloneOver(old engage.State) engage.State {
	c, _ := old.(*Install)
	if c == nil {
		c = &Install{}
	}
	accepted, tracker := c.Accepted, c.Tracker
	*c = *in
	if accepted == nil { // it is written as [] of every clone, whatever the memory
		accepted = make(Intervals, 0, len(in.Accepted)+1)
	}
	c.Accepted = append(accepted[:0], in.Accepted...)
	in.Tracker.CloneOver(&tracker)
	c.Tracker = tracker
	if in.Fix != nil {
		c.setFix(*in.Fix)
	}
	return c
}

// setFix makes a fix the newest, in the state's own memory.
func (in *Install) setFix(f Fix) {
	in.fix = f
	in.Fix = &in.fix
}

// setConsent keeps an answer and reports whether it is in force: one that the
// person gave before the answer in force came late, and changes no more than since
// when that stands, if it was a no.
func (in *Install) setConsent(p engage.Purpose, c engage.Consent, seq uint64) bool {
	since, repeats := in.since(p), in.granted(p) && c.Granted
	if said, _ := in.Said.Of(p); seq < said {
		if !c.Granted && seq >= since {
			in.forgetSince(p)
		}
		return false
	}
	in.Consents, in.Said = in.Consents.With(p, c), in.Said.With(p, seq)
	if repeats && since != seq {
		in.Since = in.Since.With(p, since)
	} else {
		in.forgetSince(p)
	}
	return true
}

// forgetSince has a consent stand since the answer in force.
func (in *Install) forgetSince(p engage.Purpose) { in.Since = in.Since.Without(p) }

// installV1 is what version 1 kept of visits.
type installV1 struct {
	Visits map[string]struct {
		ID     string    `json:"id"`
		Since  time.Time `json:"since"`
		Last   time.Time `json:"last"`
		Fences []string  `json:"fences"`
	} `json:"visits"`
	Left map[string]time.Time `json:"left"`
}

// decodeInstall reads a state of any version so far.
func decodeInstall(body []byte) (*Install, error) {
	in := &Install{}
	if err := json.Unmarshal(body, in); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	switch in.V {
	case 1:
		var old installV1
		if err := json.Unmarshal(body, &old); err != nil {
			return nil, fmt.Errorf("state: %w", err)
		}
		var newest time.Time
		if in.Fix != nil {
			newest = in.Fix.At
		}
		for _, left := range old.Left {
			newest = later(newest, left)
		}
		var visits []geo.Visit
		for place, v := range old.Visits {
			visits = append(visits, geo.Visit{ID: v.ID, Place: place, Since: v.Since, Last: v.Last, Fences: v.Fences, By: geo.ByFix})
		}
		if len(visits) > 0 || !newest.IsZero() {
			in.Tracker = geo.Resume(visits, newest)
		}
		in.V = 2
	case 2:
	default:
		return nil, fmt.Errorf("state: version %d is not known", in.V)
	}
	return in, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

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
