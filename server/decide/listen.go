package decide

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

// index finds the campaigns that a trigger fires. What it costs follows what fires, not
// how many campaigns there are, nor how many listen to something else at the same place:
// each list has exactly those that one kind of moment fires, but for their Where. The
// lists are in order of id and are shared: who gets one does not change it.
//
// Entering and leaving a segment, once there are such, is one more list here, by segment
// and direction, as byEvent is by name; its condition stands in Where like an event's.
type index struct {
	byPlace map[crossing][]*campaign // at a place's id; "" for campaigns of every place
	byTag   map[crossing][]*campaign
	byEvent map[string][]*campaign
	// byBeacon is at a beacon's id. The first beacon of a place that is heard, and the last
	// that is lost, count for the place's own lists too.
	byBeacon map[crossing][]*campaign
}

// crossing is a kind of moment at a place or at places of a tag.
type crossing struct {
	typ        engage.TriggerType
	transition engage.Transition
	ring       engage.Ring
	at         string
}

func newIndex() index {
	return index{byPlace: map[crossing][]*campaign{}, byTag: map[crossing][]*campaign{}, byEvent: map[string][]*campaign{}, byBeacon: map[crossing][]*campaign{}}
}

func (x index) add(c *campaign) {
	t := c.Trigger
	switch t.Type {
	case engage.TriggerEvent:
		x.byEvent[t.Event] = append(x.byEvent[t.Event], c)
		return
	case engage.TriggerAPI, engage.TriggerSchedule, engage.TriggerWeather:
		return // a call names its campaign
	}
	for _, of := range crossings(&t) {
		put := func(lists map[crossing][]*campaign, at string) {
			of.at = at
			lists[of] = append(lists[of], c)
		}
		if len(t.Places) == 0 && len(t.Tags) == 0 && len(t.Beacons) == 0 {
			put(x.byPlace, "")
		}
		for _, b := range t.Beacons {
			put(x.byBeacon, b)
		}
		for _, p := range t.Places {
			put(x.byPlace, p)
		}
		for _, tag := range t.Tags {
			put(x.byTag, tag)
		}
	}
}

// crossings are the kinds of moments that fire a campaign.
func crossings(t *engage.CampaignTrigger) []crossing {
	if t.Type == engage.TriggerBeacon {
		return []crossing{{typ: t.Type, transition: t.Transition}}
	}
	if t.Transition == engage.ComeNear {
		return []crossing{{typ: t.Type, transition: engage.Enter, ring: engage.Near}}
	}
	rings := t.Rings
	if len(rings) == 0 {
		rings = []engage.Ring{engage.Inside}
	}
	out := make([]crossing, 0, len(rings))
	for _, ring := range rings {
		out = append(out, crossing{typ: t.Type, transition: t.Transition, ring: ring})
	}
	return out
}

// sort ends the building of the index.
func (x index) sort() {
	for _, lists := range []map[crossing][]*campaign{x.byPlace, x.byTag, x.byBeacon} {
		for k, list := range lists {
			lists[k] = inOrder(list)
		}
	}
	for k, list := range x.byEvent {
		x.byEvent[k] = inOrder(list)
	}
}

func inOrder(cs []*campaign) []*campaign {
	slices.SortFunc(cs, func(a, b *campaign) int { return cmp.Compare(a.ID, b.ID) })
	return slices.Compact(cs)
}

// listening are the campaigns that a trigger fires at that log time, in the order of
// their ids. The list may be the index's own.
func (w *workspace) listening(t *engage.Trigger, at time.Time) []*campaign {
	if t.Campaign != "" {
		if c := w.campaigns[t.Campaign]; c != nil && c.Trigger.Type == t.Type {
			return []*campaign{c}
		}
		return nil
	}
	if t.Type == engage.TriggerEvent {
		return met(w.fires.byEvent[t.Event], t, at)
	}
	of := crossing{typ: t.Type, transition: t.Transition, ring: t.Ring}
	var found []*campaign
	own := false
	join := func(more []*campaign) {
		switch {
		case len(more) == 0:
		case len(found) == 0:
			found = more
		case own:
			found = append(found, more...)
		default:
			found, own = slices.Concat(found, more), true
		}
	}
	if t.Type == engage.TriggerBeacon {
		of.at = t.Beacon
		join(w.fires.byBeacon[of])
		if !t.PlaceWide {
			return found
		}
		of.at = ""
	}
	join(w.fires.byPlace[of])
	of.at = t.Place
	join(w.fires.byPlace[of])
	if p := w.places[t.Place]; p != nil {
		for _, of.at = range p.Tags {
			join(w.fires.byTag[of])
		}
	}
	if own {
		found = inOrder(found)
	}
	return found
}

// met are the campaigns of a list whose Where an event meets.
func met(list []*campaign, t *engage.Trigger, at time.Time) []*campaign {
	if !slices.ContainsFunc(list, func(c *campaign) bool { return !c.where.Always() }) {
		return list
	}
	env := propertiesEnv(propertiesOf(t.Properties))
	out := make([]*campaign, 0, len(list))
	for _, c := range list {
		if c.where.Match(env, at) {
			out = append(out, c)
		}
	}
	return out
}

// whereOf parses what a campaign asks of its trigger itself.
func whereOf(t *engage.CampaignTrigger) (*rules.Rule, error) {
	schema := rules.EventSchema()
	if t.Type == engage.TriggerWeather {
		schema = rules.WeatherSchema()
	}
	r, err := rules.Parse(t.Where, schema)
	return r, engage.At("trigger.where", err)
}

// propertiesOf an event or of a call, by name. A value that cannot be read, such as a
// number like 1e999, spoils no other.
func propertiesOf(raw json.RawMessage) map[string]any {
	out := map[string]any{}
	var values map[string]json.RawMessage
	if len(raw) == 0 || json.Unmarshal(raw, &values) != nil {
		return out
	}
	for name, r := range values {
		var v any
		if json.Unmarshal(r, &v) == nil {
			out[name] = v
		}
	}
	return out
}

// property is one by its name, or by its path where objects stand in one another; a name
// that itself has a dot goes first.
func property(props map[string]any, path string) (any, bool) {
	for {
		if v, there := props[path]; there {
			return v, v != nil
		}
		outer, rest, nested := strings.Cut(path, ".")
		inner, is := props[outer].(map[string]any)
		if !nested || !is {
			return nil, false
		}
		props, path = inner, rest
	}
}

// propertiesEnv implements rules.Env over rules.EventSchema.
type propertiesEnv map[string]any

// Value implements rules.Env.
func (p propertiesEnv) Value(path string) (any, bool) {
	return property(p, strings.TrimPrefix(path, "properties."))
}
