package decide

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/fastjson"
	"github.com/footfall-engage/footfall/server/profile"
)

// Touched are hashes of the newest touches that took effect, the oldest first: a touch
// that comes again has none. They stand in the person's own state, as eight bytes each:
// a state beside it would have been a second one to load and to save for each touch.
type Touched []byte

// maxTouched bounds Touched. What is told again after so many others counts again, but
// for orders and whatever is newer by then.
const maxTouched = 512

const touchBytes = 8

func touchHash(id string) (h [touchBytes]byte) {
	f := fnv.New64a()
	f.Write([]byte(id))
	binary.BigEndian.PutUint64(h[:], f.Sum64())
	return h
}

func (t Touched) has(h [touchBytes]byte) bool {
	for i := 0; i+touchBytes <= len(t); i += touchBytes {
		if [touchBytes]byte(t[i:i+touchBytes]) == h {
			return true
		}
	}
	return false
}

// and is t with one more.
func (t Touched) and(h [touchBytes]byte) Touched {
	out := make(Touched, 0, len(t)+touchBytes)
	out = append(append(out, t...), h[:]...)
	return out[max(len(out)-maxTouched*touchBytes, 0):]
}

// with is t and, before it, what another has and t has not.
func (t Touched) with(other Touched) Touched {
	var out Touched
	for i := 0; i+touchBytes <= len(other); i += touchBytes {
		if h := [touchBytes]byte(other[i : i+touchBytes]); !t.has(h) {
			out = append(out, h[:]...)
		}
	}
	if out == nil {
		return t
	}
	out = append(out, t...)
	return slices.Clip(out[max(len(out)-maxTouched*touchBytes, 0):])
}

// known reports whether somebody is known by the profile: an identifier that is more
// than a browser's, or a phone.
func (p *Person) known() bool {
	return len(p.Devices) > 0 || p.Named()
}

func kindOf(identifier string) string {
	kind, _, _ := strings.Cut(identifier, ":")
	return kind
}

// touch takes what a touchpoint other than an app's SDK says.
func (m Machine) touch(tx engage.Tx, e engage.Entry) error {
	var t engage.Touch
	if err := touchJSON.Unmarshal(e.Body, &t); err != nil {
		return fmt.Errorf("%s: %w", e.Kind, err)
	}
	if t.V != 1 || len(t.Identifiers) == 0 || t.ID == "" {
		return engage.Errorf(engage.Unsupported, "v", "no touch that this version knows")
	}
	s, err := m.person(tx, e)
	if err != nil {
		return err
	}
	switch {
	case t.Trusted:
	case kindOf(t.Identifiers[0]) != engage.IDAnonymous:
		s.dropped(&t, engage.IdentityInvalid, "userId", "a public key proves nobody's identity")
		return nil
	case s.p.known():
		if !s.p.Shadow.Used {
			s.dated()
		}
		s.p.Shadow = s.p.Shadow.inUse()
		return toShadow(tx, e, s.p.ID, s.p.Shadow)
	}
	h := touchHash(t.ID)
	if s.p.Touched.has(h) {
		return nil
	}
	s.keepPerson()
	defer s.p.forget(e.At)
	s.p.Touched = s.p.Touched.and(h)
	if !t.Quiet {
		s.p.Seen(e.At)
	}
	origin := engage.PersonID(s.ws, t.Identifiers[0])
	if s.p.is(origin) {
		s.p.Bind(t.Identifiers[0])
	}
	if t.Trusted {
		s.consents(&t, origin)
	} else if t.Claimed != "" {
		s.claim(t.Claimed)
	}
	if err := s.tell(&t); err != nil {
		return err
	}
	if err := s.happened(&t); err != nil {
		return err
	}
	if err := s.timeline("", t); err != nil {
		return err
	}
	if !t.Trusted {
		return nil
	}
	return s.edges(&t, origin)
}

func (s *step) dropped(t *engage.Touch, code engage.Code, field, reason string) {
	d := s.line(t)
	d.Code, d.Field, d.Reason = code, field, reason
	s.drop(d)
}

// line says of a touch what a line of the list of what was dropped does.
func (s *step) line(t *engage.Touch) engage.Dropped {
	typ := "identify"
	if t.Event != nil {
		typ = t.Event.Type
	}
	return engage.Dropped{From: t.From, Message: t.ID, Type: typ, Profile: s.p.ID}
}

// edges says of the further identifiers that they are the same person's. Of those that
// are known to be it only notes when; but what does not tell of an event says so of a
// browser's again, for a shadow may have to come in.
func (s *step) edges(t *engage.Touch, origin string) error {
	one := func(identifier string, x engage.Merge) error {
		x.Of, x.And, x.With, x.Identifier = origin, engage.PersonID(s.ws, identifier), s.p.ID, identifier
		if s.p.is(x.And) && s.p.is(origin) {
			s.p.Bind(identifier)
			s.p.Link(x.Of, x.And, s.occurred())
			s.p.Unprofiled()
			if t.Event != nil || kindOf(identifier) != engage.IDAnonymous || x.And == s.p.ID {
				return nil
			}
		}
		return emit(s.tx, engage.ProfileKey(s.ws, x.And), engage.KindMerge, s.e.Occurred, x)
	}
	more := t.Identifiers[1:]
	if len(more) >= maxTouchIDs {
		more = more[:maxTouchIDs-1]
		s.dropped(t, engage.TooLarge, "identifiers", fmt.Sprintf("%d name a person, and at most %d are heeded", len(t.Identifiers), maxTouchIDs))
	}
	for _, id := range more {
		if err := one(id, engage.Merge{Why: kindOf(id)}); err != nil {
			return err
		}
	}
	if t.Alias != "" {
		return one(t.Alias, engage.Merge{Why: "alias", Alias: true})
	}
	return nil
}

// maxTouchIDs bounds the identifiers of one touch.
const maxTouchIDs = 20

func (s *step) consents(t *engage.Touch, origin string) {
	if len(t.Consents) == 0 {
		return
	}
	if !s.p.is(origin) {
		origin = ""
	}
	answers := engage.ByPurposeOf(t.Consents)
	given := engage.ByPurpose[engage.Consent]{}
	for purpose, c := range answers.All() {
		when := s.occurred()
		if !c.At.IsZero() && c.At.Before(when) { // an old answer that is told now is an old answer
			when = c.At.UTC()
		}
		c.At, c.OccurredAt = s.e.At, time.Time{}
		if !when.Equal(c.At) {
			c.OccurredAt = when
		}
		given = given.With(purpose, c)
	}
	s.p.SetConsents(origin, given)
	s.p.Unprofiled()
}

// tell takes what a touch says of the person.
func (s *step) tell(t *engage.Touch) error {
	stamp := profile.StampOf(s.e.Occurred, s.e.At, t.Trusted)
	var left []string
	if len(t.Traits) > 0 {
		traits, _ := s.typed(t.Traits, t.Trusted, s.line(t))
		body, err := json.Marshal(traits)
		if err != nil {
			return fmt.Errorf("traits: %w", err)
		}
		names, err := s.p.SetAttributes(body, stamp)
		if err != nil {
			return err
		}
		for _, name := range names {
			left = append(left, "traits."+name)
		}
	}
	if len(t.Preferences) > 0 {
		for _, topic := range s.p.SetPreferences(t.Preferences, stamp) {
			left = append(left, "preferences."+topic)
		}
	}
	if d := t.Device; d != nil {
		s.p.SetWeb(*d, stamp)
	}
	if len(left) > 0 {
		s.dropped(t, engage.TooLarge, left[0], fmt.Sprintf("%d found no room in the profile, or are too large", len(left)))
	}
	return nil
}

// happened takes an event, and an order, and fires the campaigns that listen to the
// event.
func (s *step) happened(t *engage.Touch) error {
	if o := t.Order; o != nil && o.ID != "" {
		before := s.p.Purchases.Order(o.ID)
		s.p.Bought(o, s.occurred())
		if now := s.p.Purchases.Order(o.ID); t.Trusted && now.ID != "" {
			if err := s.ordered(&before, &now); err != nil {
				return err
			}
		}
	}
	ev := t.Event
	if ev == nil {
		return nil
	}
	props, err := fastjson.AppendObject(make([]byte, 0, 256), ev.Properties)
	if err != nil {
		return fmt.Errorf("properties: %w", err)
	}
	if !t.Quiet && ev.Name != "" && ev.Type != "group" {
		if err := s.fire(&engage.Trigger{
			Type: engage.TriggerEvent, Occasion: engage.TouchOccasion(s.ws, t.ID), OccurredAt: s.occurred(), Event: ev.Name, Properties: props,
		}); err != nil {
			return err
		}
	}
	if t.Trusted && len(s.p.Aims) > 0 {
		if err := s.did(ev.Name, props, s.occurred()); err != nil {
			return err
		}
	}
	s.lean(ev.Name, props, t.Order)
	return nil
}

// leanings are the properties that tell what a person turns to.
type leanings struct {
	Category   any             `json:"category"`
	Categories any             `json:"categories"`
	Brand      any             `json:"brand"`
	Topic      any             `json:"topic"`
	Products   json.RawMessage `json:"products"`
}

// lean learns from an event what the person turns to, if they agree to that.
func (s *step) lean(event string, props json.RawMessage, order *engage.Order) {
	if !s.p.Consented(engage.ConsentProfiling) {
		return
	}
	at := s.occurred()
	weight := int64(profile.WeightSeen)
	switch event {
	case "Product Added", "Product Added to Wishlist", "Checkout Started":
		weight = profile.WeightWanted
	case "Order Completed":
		weight = profile.WeightBought
	case "Product Removed", "Order Refunded", "Order Cancelled", "Order Updated", "Product Removed from Wishlist":
		return
	}
	type pair struct{ kind, name string }
	var found []pair
	note := func(kind, name string) { found = append(found, pair{kind, profile.AffinityName(name)}) }
	add := func(kind string, v any) {
		switch v := v.(type) {
		case string:
			note(kind, v)
		case []any:
			for _, x := range v[:min(len(v), maxLeanings)] {
				if name, is := x.(string); is {
					note(kind, name)
				}
			}
		}
	}
	var l leanings
	if len(props) > 0 && json.Unmarshal(props, &l) == nil {
		add(profile.AffinityCategory, l.Category)
		add(profile.AffinityCategory, l.Categories)
		add(profile.AffinityBrand, l.Brand)
		add(profile.AffinityTopic, l.Topic)
		var products []leanings
		if order == nil && len(l.Products) > 0 && json.Unmarshal(l.Products, &products) == nil {
			for _, p := range products[:min(len(products), maxLeanings)] {
				add(profile.AffinityCategory, p.Category)
				add(profile.AffinityBrand, p.Brand)
			}
		}
	}
	if order != nil {
		for _, p := range order.Products[:min(len(order.Products), maxLeanings)] {
			add(profile.AffinityCategory, p.Category)
			add(profile.AffinityBrand, p.Brand)
		}
	}
	slices.SortFunc(found, func(a, b pair) int { return cmp.Or(strings.Compare(a.kind, b.kind), strings.Compare(a.name, b.name)) })
	for _, p := range slices.Compact(found) { // each once per event
		s.p.Lean(p.kind, p.name, weight, at)
	}
}

// maxLeanings is how many products or categories of one event are looked at.
const maxLeanings = 50
