package decide

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
)

// remember is how long what a person was sent is kept in the state, and how many
// decisions of a person at most.
const (
	remember    = 7 * 24 * time.Hour
	maxRemember = 50
)

// What a person's state holds at most, so that no phone can make it larger than the
// store takes by reporting events: moments that wait, decisions that are on their
// way, and bytes of an event's properties that a decision keeps (the timeline has
// them all).
const (
	maxWaiting        = 50
	maxPending        = 100
	maxKeptProperties = 2048
)

// Person is the state of one person: key "<workspace>/p:<profile>". Its maps are
// replaced, never changed.
type Person struct {
	V int `json:"v"` // 1
	profile.Profile
	// Used occasions by "<campaign>/<occasion>": a campaign speaks once per occasion.
	Used map[string]time.Time `json:"used,omitempty"`
	// Spent are the log times of decisions that count for the cap, by campaign.
	Spent map[string][]time.Time `json:"spent,omitempty"`
	// Spends are what marketing decisions took of the limits that all campaigns share,
	// the oldest first; SpendsBefore are older ones of which there were too many.
	Spends       []Spend `json:"spends,omitempty"`
	SpendsBefore Lump    `json:"spends_before,omitzero"`
	// Arms are sticky from the first eligible occasion, by campaign.
	Arms   map[string]string    `json:"arms,omitempty"`
	ArmsAt map[string]time.Time `json:"arms_at,omitempty"` // log time of the assignment; absent of an earlier build's
	// Conflicted are campaigns of which the person had two arms, as two profiles.
	Conflicted []string                    `json:"conflicted,omitempty"`
	Waiting    map[string]Waiting          `json:"waiting,omitempty"` // by decision
	Open       map[string]*engage.Decision `json:"open,omitempty"`    // by delivery: pending, or young enough for receipts
	Recent     map[string]Recent           `json:"recent,omitempty"`  // by place
	// Offers are how many messages brought the person each offer, or would have, had they
	// not been held out.
	Offers map[string]int `json:"offers,omitempty"`
	// Aims are decisions of which it is looked at what follows, the oldest first; Measured is
	// what has counted of the person once, by campaign.
	Aims     []Aim               `json:"aims,omitempty"`
	Measured map[string]measured `json:"measured,omitempty"`
	Touched  Touched             `json:"touched,omitempty"`
	Shadow   Shadow              `json:"shadow,omitzero"`
	// ChangedUS is the log time, as Unix microseconds, of the newest entry that changed the
	// person; 0 of a state of an earlier build.
	ChangedUS int64 `json:"changed_us,omitempty"`
}

// Recent is the newest visit to a place.
type Recent struct {
	Occasion string    `json:"occasion"`
	Install  string    `json:"install"`           // that minted the occasion
	Joined   []string  `json:"joined,omitempty"`  // what other installs call the same visit
	At       time.Time `json:"at"`                // newest evidence
	Counted  string    `json:"counted,omitempty"` // the occasion, once it was counted as a visit
	// CountedAt is when the counted visit began, LastBefore when the one before it
	// did, at whatever place; zero means there was none.
	CountedAt  time.Time `json:"counted_at,omitzero"`
	LastBefore time.Time `json:"last_before,omitzero"`
}

// maxJoined bounds Recent.Joined.
const maxJoined = 20

// Before is what was known of the person before a moment, for rules and templates
// that mean "before this one": the moment itself changes it.
type Before struct {
	Visits      int64     `json:"visits"`
	LastVisitAt time.Time `json:"last_visit_at,omitzero"`
	LastSeen    time.Time `json:"last_seen"`
}

// Waiting is a moment that waits: for weather, the end of quiet hours, units of a limit, or
// items of catalogues.
type Waiting struct {
	For      string          `json:"for"` // weather, quiet, lease, items
	Campaign string          `json:"campaign"`
	Trigger  engage.Trigger  `json:"trigger"`
	Before   Before          `json:"before"`
	Taken    string          `json:"taken,omitempty"` // the campaign that has had the moment meanwhile
	Decision engage.Decision `json:"decision"`
	// Limit is the limit that spans people that a moment waits for units of, Until how
	// long it waits at most, however often it is woken.
	Limit string    `json:"limit,omitempty"`
	Until time.Time `json:"until,omitzero"`

	// Asked are the items that a moment waits for, Items those that came for it before,
	// ItemsUntil how long it waits for such at most.
	Asked      []engage.ItemRef   `json:"asked,omitempty"`
	Items      []engage.KnownItem `json:"items,omitempty"`
	ItemsUntil time.Time          `json:"items_until,omitzero"`
}

func (p *Person) version() int { return p.V }

// Clone implements engage.State: all maps are shared until they are replaced.
func (p *Person) Clone() engage.State {
	c := *p
	return &c
}

func replaced[V any](m map[string]V, k string, v V) map[string]V {
	c := make(map[string]V, len(m)+1)
	maps.Copy(c, m)
	c[k] = v
	return c
}

func removed[V any](m map[string]V, k string) map[string]V {
	c := maps.Clone(m)
	delete(c, k)
	return c
}

func (p *Person) setRecent(place string, r Recent) { p.Recent = replaced(p.Recent, place, r) }

func (p *Person) setWaiting(decision string, w *Waiting) {
	if w == nil {
		p.Waiting = removed(p.Waiting, decision)
		return
	}
	p.Waiting = replaced(p.Waiting, decision, *w)
}

// pending is how many decisions are on their way.
func (p *Person) pending() int {
	n := 0
	for _, d := range p.Open {
		if !d.State.Terminal() {
			n++
		}
	}
	return n
}

// setOpen keeps a changed decision; d must not be changed afterwards.
func (p *Person) setOpen(d *engage.Decision) { p.Open = replaced(p.Open, d.Delivery, d) }

// forget drops what is too old to matter; it runs after every entry and costs
// nothing while there is little.
func (p *Person) forget(now time.Time) {
	old := now.Add(-remember)
	p.forgetSpends(now)
	p.forgetAims(now)
	if len(p.Open) > maxRemember {
		done := slices.DeleteFunc(slices.Collect(maps.Values(p.Open)), func(d *engage.Decision) bool { return !d.State.Terminal() })
		slices.SortFunc(done, func(a, b *engage.Decision) int {
			return cmp.Or(a.UpdatedAt.Compare(b.UpdatedAt), cmp.Compare(a.Delivery, b.Delivery))
		})
		c := maps.Clone(p.Open)
		for i := 0; i < len(done) && len(c) > maxRemember; i++ {
			delete(c, done[i].Delivery)
		}
		p.Open = c
	}
	if len(p.Used) > maxRemember {
		p.Used = maps.Clone(p.Used)
		maps.DeleteFunc(p.Used, func(_ string, at time.Time) bool { return at.Before(old) })
	}
	if len(p.Recent) > maxRemember {
		p.Recent = maps.Clone(p.Recent)
		maps.DeleteFunc(p.Recent, func(_ string, r Recent) bool { return r.At.Before(old) })
	}
}

// Binding is the state of an identifier: key "<workspace>/d:<identifier>". It says that
// the identifier was proven, and that its own profile (engage.PersonID) knows. One of an
// earlier build names the profile that was bound to it.
type Binding struct {
	V       int       `json:"v"` // 1
	Profile string    `json:"profile"`
	At      time.Time `json:"at"`
}

func (b *Binding) version() int { return b.V }

// Clone implements engage.State.
func (b *Binding) Clone() engage.State {
	c := *b
	return &c
}

// Encode implements engage.State.
func (b *Binding) Encode() ([]byte, error) { return json.Marshal(b) }

// identify says, at the identifier's owner, that whoever proved an identifier is the
// person that it mints, and so is the one whom an earlier build had bound to it.
func identify(tx engage.Tx, e engage.Entry) error {
	var id engage.Identify
	if err := read(e, &id); err != nil {
		return err
	}
	if !id.Proven {
		return engage.Errorf(engage.IdentityInvalid, "proven", "an unproven identification binds nothing")
	}
	ws := e.Workspace()
	node := engage.PersonID(ws, id.Identifier)
	st, err := tx.Load(e.Key)
	if err != nil {
		return err
	}
	b, _ := st.(*Binding) // nil when there is none
	if b == nil || b.Profile != node {
		tx.Put(e.Key, &Binding{V: 1, Profile: node, At: e.At})
	}
	// The identifier's profile is the senior one of nearly all: it hears first.
	one := func(profile, install, why string) error {
		return emit(tx, engage.ProfileKey(ws, node), engage.KindMerge, e.Occurred, engage.Merge{
			Of: node, And: profile, With: profile, Identifier: id.Identifier, Install: install, Why: why,
		})
	}
	if b != nil && b.Profile != node && b.Profile != id.Profile {
		if err := one(b.Profile, "", "binding"); err != nil {
			return err
		}
	}
	if id.Profile != node {
		return one(id.Profile, id.Install, "identify")
	}
	return emit(tx, engage.ProfileKey(ws, node), engage.KindBound, e.Occurred, id)
}

// Cell is what this partition knows of a weather cell: key "_/w:<cell>@<partition>".
type Cell struct {
	V       int             `json:"v"` // 1
	Weather *engage.Weather `json:"weather,omitempty"`
	// Hours of the same forecast; none in states of an earlier build.
	Hours   []engage.WeatherHour `json:"hours,omitempty"`
	Parked  []string             `json:"parked,omitempty"` // keys of persons with a moment that waits for it, sorted
	AskedAt time.Time            `json:"asked_at,omitzero"`
}

func (c *Cell) version() int { return c.V }

// Clone implements engage.State.
func (c *Cell) Clone() engage.State {
	d := *c
	return &d
}

// Encode implements engage.State.
func (c *Cell) Encode() ([]byte, error) { return json.Marshal(c) }

// cell loads what this partition knows of a cell; Parked may be replaced.
func cell(tx engage.Tx, id string) (string, *Cell, error) {
	key := engage.WeatherKey(id) + "@" + tx.Position().Partition
	st, err := tx.Load(key)
	if err != nil {
		return "", nil, err
	}
	c := Cell{V: 1}
	if st != nil {
		c = *st.(*Cell) //nolint:forcetypeassert // Decode gives nothing else for this key
	}
	return key, &c, nil
}

// weather keeps a weather record and wakes what waited for it.
func (m Machine) weather(tx engage.Tx, e engage.Entry) error {
	var r engage.WeatherRecord
	if err := read(e, &r); err != nil {
		return err
	}
	w := r.Weather
	key, c, err := cell(tx, w.Cell.String())
	if err != nil {
		return err
	}
	c.Weather, c.Hours = &w, r.Hours
	if e.At.After(w.FreshUntil.Add(engage.MaxStaleWeather)) {
		tx.Put(key, c)
		return nil // too old for anybody: who waits goes on waiting
	}
	parked := c.Parked
	c.Parked = nil
	tx.Put(key, c)
	for _, person := range parked {
		st, err := tx.Load(person)
		if err != nil {
			return err
		}
		if _, there := st.(*Person); !there {
			continue // erased meanwhile, or one with another, who waits for it, too
		}
		at := e
		at.Key = person
		s, err := m.person(tx, at)
		if err != nil {
			return err
		}
		s.dated()
		ids := s.waiting(func(x *Waiting) bool { return x.For == "weather" && x.Trigger.Cell == w.Cell.String() })
		for len(ids) > 0 {
			woken := s.together(ids[0])
			if err := s.wake(woken, false); err != nil {
				return err
			}
			ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(woken, id) })
		}
	}
	return nil
}

// lookWeather completes a trigger from what this partition knows meanwhile.
func (s *step) lookWeather(t *engage.Trigger) error {
	if t.Cell == "" || t.WeatherIs == engage.WeatherFresh {
		return nil
	}
	_, c, err := cell(s.tx, t.Cell)
	if err != nil || c.Weather == nil {
		return err
	}
	w := c.Weather
	switch {
	case !s.e.At.After(w.FreshUntil):
		t.Weather, t.WeatherIs = w, engage.WeatherFresh
	case t.Weather == nil && !s.e.At.After(w.FreshUntil.Add(engage.MaxStaleWeather)):
		t.Weather, t.WeatherIs = w, engage.WeatherStale
	}
	return nil
}

// age judges the weather of a trigger that has waited again.
func (s *step) age(t *engage.Trigger) {
	switch w := t.Weather; {
	case w == nil:
	case s.e.At.After(w.FreshUntil.Add(engage.MaxStaleWeather)):
		t.Weather, t.WeatherIs = nil, engage.WeatherAbsent
	case s.e.At.After(w.FreshUntil):
		t.WeatherIs = engage.WeatherStale
	}
}
