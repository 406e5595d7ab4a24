// Package why looks at what is kept of a person and says why no trigger of theirs reached
// a campaign: where a trigger did, decide's trace says it, gate by gate. It is pure, and
// claims nothing that the records do not show: what is not kept is said not to be kept.
//
// What it looks at, in the order in which it is told: the campaign's life, the phone's
// permissions and the person's answers (with the time at which they changed), positions
// (how near any came to a place of the campaign), crossings and events that were not what
// the campaign waits for.
package why

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

// Code says what a finding is about.
type Code string

// The codes.
const (
	NotLive         Code = "not_live"         // the campaign was not live, or not all the time
	NoPhone         Code = "no_phone"         // no phone of the person was known
	NoConsent       Code = "no_consent"       // the use of the location was not agreed to
	NotPrecise      Code = "not_precise"      // the precise location was not agreed to
	NoPermission    Code = "no_permission"    // the phone does not tell the app where it is, or only while it is open
	NoPlaces        Code = "no_places"        // the campaign's trigger means no place that there is
	NoPosition      Code = "no_position"      // nothing is kept of where the person was
	NotNear         Code = "not_near"         // no position was within any of the campaign's geofences
	Inaccurate      Code = "inaccurate"       // what was near was not accurate enough to be believed
	Near            Code = "near"             // a position was within one, and no crossing came of it
	OtherTransition Code = "other_transition" // a crossing came, of another kind than the campaign waits for
	NoEvent         Code = "no_event"         // the event did not come
	Conditions      Code = "conditions"       // it came, and the trigger's conditions were not met
	NotHeard        Code = "not_heard"        // no phone of the person told that it heard one of the beacons
	NotTurned       Code = "not_turned"       // the weather did not turn where the person was known to be
	NotCalled       Code = "not_called"       // nobody called the API for the person
	NotKept         Code = "not_kept"         // the records of that time are gone
)

// Finding is one reason, or what looks like one.
type Finding struct {
	Code  Code           `json:"code"`
	At    *time.Time     `json:"at,omitempty"` // when it became so, or happened
	Words string         `json:"words"`
	Saw   map[string]any `json:"saw,omitempty"`
}

// Status is what a campaign was from a time on.
type Status struct {
	At     time.Time
	Status engage.Status
}

// Fix is a position of one of the person's phones.
type Fix struct {
	At        time.Time
	Pos       geo.Point
	AccuracyM float64 // 68 % radius in metres; 0: not given
}

// Asked is what a question needs. From is before To; entries of the timeline are those
// before To, in any order, positions those between.
type Asked struct {
	From, To time.Time
	Zone     *time.Location // in which times are told; nil: UTC
	Campaign *engage.Campaign
	Life     []Status        // the campaign's, oldest first
	Places   []*engage.Place // that there are
	Devices  []engage.TimelineEntry
	Consents []engage.TimelineEntry
	Moments  []engage.TimelineEntry // crossings and events between
	Fixes    []Fix
	// Positions are withheld: how far somebody was from a place is a position.
	Withheld bool
	// KeptSince is the oldest that retention has left; zero: all.
	KeptSince time.Time
}

// maxTold bounds findings of one code.
const maxTold = 5

// Not says why no trigger reached the campaign; never empty.
func Not(q *Asked) []Finding {
	x := &asking{Asked: q}
	if q.To.Before(q.KeptSince) {
		x.say(NotKept, nil, nil, "Positions and events of that time are not kept any more: retention has removed what is older than %s.", x.clock(q.KeptSince))
		return x.out
	}
	if q.From.Before(q.KeptSince) {
		x.say(NotKept, &q.KeptSince, nil, "What is older than %s is not kept any more.", x.clock(q.KeptSince))
	}
	x.life()
	switch q.Campaign.Trigger.Type {
	case engage.TriggerEvent:
		x.events()
	case engage.TriggerBeacon:
		x.beacons()
	case engage.TriggerWeather:
		x.say(NotTurned, nil, nil, "The weather that the campaign waits for did not turn at any of its places while the person was known to be inside.")
	case engage.TriggerAPI:
		x.say(NotCalled, nil, nil, "Nobody called the campaign for this person.")
	default:
		x.whereabouts()
	}
	return x.out
}

type asking struct {
	*Asked
	out []Finding
}

func (x *asking) say(code Code, at *time.Time, saw map[string]any, words string, args ...any) {
	if at != nil {
		t := at.UTC()
		at = &t
	}
	x.out = append(x.out, Finding{Code: code, At: at, Words: fmt.Sprintf(words, args...), Saw: saw})
}

func (x *asking) zone() *time.Location {
	if x.Zone == nil {
		return time.UTC
	}
	return x.Zone
}

// clock tells a time, with its day where the question is about more than one.
func (x *asking) clock(t time.Time) string {
	t = t.In(x.zone())
	first, last := x.From.In(x.zone()), x.To.Add(-1).In(x.zone())
	if y, m, d := first.Date(); t.Year() == y && t.Month() == m && t.Day() == d && last.Year() == y && last.Month() == m && last.Day() == d {
		return t.Format("15:04")
	}
	return t.Format("15:04 on 2 January 2006")
}

func (x *asking) within(t time.Time) bool { return !t.Before(x.From) && t.Before(x.To) }

// life tells when within the span the campaign was not live.
func (x *asking) life() {
	status := engage.Status("")
	var since *time.Time
	var changes []Status
	for _, s := range x.Life {
		switch {
		case !s.At.Before(x.To):
		case s.At.Before(x.From):
			status, since = s.Status, &s.At
		default:
			changes = append(changes, s)
		}
	}
	ever := status == engage.Live
	for _, s := range changes {
		ever = ever || s.Status == engage.Live
	}
	switch {
	case !ever && status == "" && len(changes) == 0:
		x.say(NotLive, nil, nil, "There was no such campaign yet.")
	case !ever:
		last := status
		if len(changes) > 0 {
			last = changes[len(changes)-1].Status
		}
		x.say(NotLive, since, map[string]any{"status": last}, "The campaign was never live in that time: it was %s.", words[last])
	default:
		was := status == engage.Live
		for i, s := range changes {
			is := s.Status == engage.Live
			if is == was && i > 0 {
				continue
			}
			if is && !was {
				x.say(NotLive, &s.At, nil, "The campaign became live only at %s.", x.clock(s.At))
			} else if !is && was {
				x.say(NotLive, &s.At, map[string]any{"status": s.Status}, "The campaign was %s at %s.", words[s.Status], x.clock(s.At))
			}
			was = is
		}
	}
	c := x.Campaign
	switch {
	case c.Start != nil && !c.Start.Before(x.To):
		x.say(NotLive, c.Start, nil, "The campaign begins only at %s.", x.clock(*c.Start))
	case c.End != nil && c.End.Before(x.From):
		x.say(NotLive, c.End, nil, "The campaign was over at %s.", x.clock(*c.End))
	}
}

var words = map[engage.Status]string{
	engage.Draft: "a draft", engage.InReview: "in review", engage.Paused: "paused", engage.Ended: "ended", engage.Live: "live", "": "not there",
}

func inOrder(entries []engage.TimelineEntry) []engage.TimelineEntry {
	out := slices.Clone(entries)
	slices.SortStableFunc(out, func(a, b engage.TimelineEntry) int { return a.OccurredAt.Compare(b.OccurredAt) })
	return out
}

// whereabouts tells why no place fired the campaign.
func (x *asking) whereabouts() {
	places := x.means()
	if len(places) == 0 {
		x.say(NoPlaces, nil, map[string]any{"places": x.Campaign.Trigger.Places, "tags": x.Campaign.Trigger.Tags}, "The campaign's trigger means no place: none has an id or a tag that it names.")
		return
	}
	x.answers()
	x.permissions()
	x.crossings(places)
	x.positions(places)
}

// means are the places that the campaign's trigger means.
func (x *asking) means() []*engage.Place {
	t := &x.Campaign.Trigger
	var out []*engage.Place
	for _, p := range x.Places {
		if len(t.Places) == 0 && len(t.Tags) == 0 || slices.Contains(t.Places, p.ID) ||
			slices.ContainsFunc(t.Tags, func(tag string) bool { return slices.Contains(p.Tags, tag) }) {
			out = append(out, p)
		}
	}
	return out
}

// answers tells what the person has said of their location.
func (x *asking) answers() {
	type state struct {
		granted bool
		at      time.Time
		asked   bool
	}
	now := map[engage.Purpose]state{}
	for _, e := range inOrder(x.Consents) {
		given, ok := answersIn(&e)
		if !ok {
			continue
		}
		for purpose, c := range given.All() {
			was := now[purpose]
			now[purpose] = state{c.Granted, e.OccurredAt, true}
			if was.granted && !c.Granted && x.within(e.OccurredAt) {
				switch purpose {
				case engage.ConsentLocationForeground, engage.ConsentLocationBackground, engage.ConsentLocationPrecise:
					x.say(codeOf(purpose), &e.OccurredAt, map[string]any{"purpose": purpose}, "The person withdrew the consent to %s at %s.", purposes[purpose], x.clock(e.OccurredAt))
				}
			}
		}
	}
	fore, back, precise := now[engage.ConsentLocationForeground], now[engage.ConsentLocationBackground], now[engage.ConsentLocationPrecise]
	told := func(code Code) bool {
		return slices.ContainsFunc(x.out, func(f Finding) bool { return f.Code == code })
	}
	switch {
	case told(NoConsent):
	case !fore.granted && !back.granted:
		x.say(NoConsent, nil, nil, "The person had not agreed to the use of their location.")
	case !back.granted:
		x.say(NoConsent, nil, map[string]any{"purpose": engage.ConsentLocationBackground}, "The person had agreed to the use of their location only while the app is open.")
	}
	if !precise.granted && (fore.granted || back.granted) && !told(NotPrecise) {
		x.say(NotPrecise, nil, map[string]any{"purpose": engage.ConsentLocationPrecise}, "The person had not agreed to their precise location: positions fire nothing then, only what the phone's system says of its regions.")
	}
}

// answersIn are the answers that an entry tells of.
func answersIn(e *engage.TimelineEntry) (given engage.ByPurpose[engage.Consent], ok bool) {
	switch e.Kind {
	case engage.KindConsent:
		return given, json.Unmarshal(e.Data, &given) == nil
	case engage.KindTouch:
		var t engage.Touch
		if json.Unmarshal(e.Data, &t) == nil {
			return engage.ByPurposeOf(t.Consents), true
		}
	}
	return given, false
}

func codeOf(p engage.Purpose) Code {
	if p == engage.ConsentLocationPrecise {
		return NotPrecise
	}
	return NoConsent
}

var purposes = map[engage.Purpose]string{
	engage.ConsentLocationForeground: "their location while the app is open",
	engage.ConsentLocationBackground: "their location in the background",
	engage.ConsentLocationPrecise:    "their precise location",
}

// permissions tells what the phones let the app know.
func (x *asking) permissions() {
	type phone struct {
		location, precision string
		told                bool
	}
	phones := map[string]phone{}
	for _, e := range inOrder(x.Devices) {
		var d engage.Device
		if e.Kind != engage.KindDevice || json.Unmarshal(e.Data, &d) != nil || d.Install == "" {
			delete(phones, e.Install) // a logout: it is somebody else's now
			continue
		}
		was := phones[d.Install]
		is := phone{location: d.Location, precision: d.Precision, told: was.told}
		if x.within(e.OccurredAt) && was.location != "" && was.location != d.Location && d.Location != "" && d.Location != "always" {
			saw := map[string]any{"install": d.Install, "was": was.location, "is": d.Location}
			if d.Location == "none" {
				x.say(NoPermission, &e.OccurredAt, saw, "The location permission was withdrawn at %s.", x.clock(e.OccurredAt))
				is.told = true
			} else if was.location == "always" {
				x.say(NoPermission, &e.OccurredAt, saw, "The location permission was limited to when the app is open at %s.", x.clock(e.OccurredAt))
				is.told = true
			}
		}
		if x.within(e.OccurredAt) && was.precision == "precise" && d.Precision == "reduced" {
			x.say(NotPrecise, &e.OccurredAt, map[string]any{"install": d.Install}, "The phone gives only an approximate location since %s.", x.clock(e.OccurredAt))
		}
		phones[d.Install] = is
	}
	if len(phones) == 0 {
		x.say(NoPhone, nil, nil, "No phone of the person was known.")
		return
	}
	installs := make([]string, 0, len(phones))
	for i := range phones {
		installs = append(installs, i)
	}
	slices.Sort(installs)
	for _, i := range installs {
		saw := map[string]any{"install": i, "location_permission": phones[i].location}
		switch p := phones[i]; {
		case p.told:
		case p.location == "none":
			x.say(NoPermission, nil, saw, "The phone did not let the app know where it is.")
		case p.location == "when_in_use":
			x.say(NoPermission, nil, saw, "The phone let the app know where it is only while it is open.")
		}
	}
}

// crossings tells of what happened at the places that the campaign does not wait for.
func (x *asking) crossings(places []*engage.Place) {
	names := map[string]string{}
	for _, p := range places {
		names[p.ID] = p.Name
	}
	want := &x.Campaign.Trigger
	told := map[string]bool{}
	for _, e := range inOrder(x.Moments) {
		var t engage.Trigger
		name, of := "", false
		if e.Kind == engage.KindTrigger && json.Unmarshal(e.Data, &t) == nil {
			name, of = names[t.Place], t.Place != "" && names[t.Place] != ""
		}
		if !of || !x.within(e.OccurredAt) || t.Type == want.Type && t.Transition == want.Transition && x.ring(t.Ring) {
			continue // what the campaign waits for: its life says why it was not heard
		}
		key := fmt.Sprint(t.Place, t.Transition, t.Ring, t.Type)
		if told[key] || len(told) >= maxTold {
			continue
		}
		told[key] = true
		saw := map[string]any{"place": t.Place, "transition": t.Transition, "ring": t.Ring, "wanted": want.Transition, "wanted_rings": want.Rings}
		x.say(OtherTransition, &e.OccurredAt, saw, "At %s the person %s %s; the campaign waits for %s.", x.clock(e.OccurredAt), did(&t), around(&t, name), wanted(want))
	}
}

func did(t *engage.Trigger) string {
	switch t.Transition {
	case engage.Enter:
		return "entered"
	case engage.Exit:
		return "left"
	case engage.Dwell:
		return "had stayed at"
	case engage.Pass:
		return "passed through"
	case engage.VisitEnded:
		return "ended a visit of"
	}
	return "was at"
}

func around(t *engage.Trigger, name string) string {
	if t.Ring == engage.Near {
		return "the surroundings of " + name
	}
	return name
}

func wanted(t *engage.CampaignTrigger) string {
	what := map[engage.Transition]string{
		engage.Enter: "somebody who enters", engage.Exit: "somebody who leaves", engage.Dwell: "somebody who stays",
		engage.Pass: "somebody who passes through", engage.VisitEnded: "the end of a visit",
	}[t.Transition]
	if what == "" {
		return "another kind of moment (" + string(t.Type) + ")"
	}
	if len(t.Rings) > 0 && !slices.Contains(t.Rings, engage.Inside) {
		what += " the surroundings"
	}
	return what
}

// near is how a position lies to a place.
type near struct {
	fix    Fix
	place  *engage.Place
	margin float64 // metres to the edge of the nearest geofence; negative: within
	m      float64 // metres to the place
}

// positions tells how near the person came.
func (x *asking) positions(places []*engage.Place) {
	if len(x.Fixes) == 0 {
		x.say(NoPosition, nil, nil, "No position came from the person's phones in that time.")
		return
	}
	if x.Withheld {
		x.say(NoPosition, nil, nil, "Positions came, but the person does not agree to their precise location any more, so they are not looked at.")
		return
	}
	best := near{margin: math.Inf(1)}
	var rough, inside *near
	places = slices.Clone(places)
	slices.SortFunc(places, func(a, b *engage.Place) int { return cmp.Compare(a.Location.Lat, b.Location.Lat) })
	lats, reach := make([]float64, len(places)), 0.0
	for i, p := range places {
		lats[i] = p.Location.Lat
		for _, g := range p.Geofences {
			reach = max(reach, geo.DistanceM(p.Location, g.Shape.Center())+g.Shape.BoundingRadiusM())
		}
	}
	for _, f := range x.Fixes {
		// Latitude alone says of most places that they are farther away.
		band := (max(best.margin, 0) + reach) / metresPerDegree
		from, _ := slices.BinarySearch(lats, f.Pos.Lat-band)
		for _, p := range places[from:] {
			if p.Location.Lat > f.Pos.Lat+band {
				break
			}
			n := near{fix: f, place: p, m: geo.DistanceM(f.Pos, p.Location)}
			n.margin = n.m
			for i := range p.Geofences {
				if !x.ring(p.Geofences[i].Ring) {
					continue
				}
				n.margin = min(n.margin, p.Geofences[i].Shape.MarginM(f.Pos))
			}
			if n.margin < best.margin {
				best = n
			}
			if n.margin <= 0 && f.AccuracyM > roughM && (rough == nil || f.AccuracyM < rough.fix.AccuracyM) {
				rough = &n
			} else if n.margin <= 0 && inside == nil {
				inside = &n
			}
		}
	}
	saw := func(n *near) map[string]any {
		return map[string]any{"place": n.place.ID, "distance_m": math.Round(n.m), "margin_m": math.Round(n.margin), "accuracy_m": n.fix.AccuracyM, "positions": len(x.Fixes)}
	}
	switch {
	case best.margin > 0:
		x.say(NotNear, &best.fix.At, saw(&best), "No position came within %s of %s; the nearest was at %s, %s from its geofence. %s came in all.",
			metres(floorTo(best.m)), best.place.Name, x.clock(best.fix.At), metres(best.margin), counted(len(x.Fixes), "position"))
	case inside != nil:
		x.say(Near, &inside.fix.At, saw(inside), "A position at %s lay within a geofence of %s, and no crossing came of it that the campaign waits for: one needs to last, or the person was there already.", x.clock(inside.fix.At), inside.place.Name)
	case rough != nil:
		x.say(Inaccurate, &rough.fix.At, saw(rough), "The position at %s lay within a geofence of %s, but was only accurate to %s.", x.clock(rough.fix.At), rough.place.Name, metres(rough.fix.AccuracyM))
	}
}

// metresPerDegree of latitude, at least.
const metresPerDegree = 110_000

// roughM is a 68 % radius from which on a position is told as inaccurate.
const roughM = 100

// ring reports whether the campaign listens to a ring.
func (x *asking) ring(r engage.Ring) bool {
	rings := x.Campaign.Trigger.Rings
	if len(rings) == 0 {
		return r == engage.Inside
	}
	return slices.Contains(rings, r)
}

// floorTo rounds down to what people say: 812 is 800.
func floorTo(m float64) float64 {
	step := 10.0
	switch {
	case m >= 10_000:
		step = 1000
	case m >= 200:
		step = 100
	}
	return max(math.Floor(m/step)*step, 1)
}

func metres(m float64) string {
	if m >= 10_000 {
		return fmt.Sprintf("%.0f km", m/1000)
	}
	if m >= 2000 {
		return fmt.Sprintf("%.1f km", m/1000)
	}
	return fmt.Sprintf("%.0f m", math.Round(m))
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// events tells why no event fired the campaign.
func (x *asking) events() {
	t := &x.Campaign.Trigger
	where, err := rules.Parse(t.Where, rules.EventSchema())
	came := 0
	for _, e := range inOrder(x.Moments) {
		name, properties := eventOf(&e)
		if name != t.Event || !x.within(e.OccurredAt) {
			continue
		}
		came++
		if err != nil || where.Always() || came > maxTold {
			continue
		}
		_, all := where.Eval(env(properties), e.At)
		x.say(Conditions, &e.OccurredAt, map[string]any{"failed": all.Failed()}, "The event %q came at %s, but not as the campaign's trigger wants it.", t.Event, x.clock(e.OccurredAt))
	}
	if came == 0 {
		x.say(NoEvent, nil, map[string]any{"event": t.Event}, "The event %q did not come in that time.", t.Event)
		return
	}
	if err == nil && where.Always() {
		x.say(Conditions, nil, map[string]any{"came": came}, "The event %q came %s, and fired nothing: the campaign did not listen then, or it was told too late or as history.", t.Event, cmp.Or(map[int]string{1: "once"}[came], fmt.Sprintf("%d times", came)))
	}
}

// eventOf is the name of an event that an entry tells of, and its properties.
func eventOf(e *engage.TimelineEntry) (string, map[string]any) {
	switch e.Kind {
	case engage.KindTrigger:
		var t engage.Trigger
		if json.Unmarshal(e.Data, &t) != nil {
			return "", nil
		}
		var p map[string]any
		if json.Unmarshal(t.Properties, &p) != nil {
			p = nil
		}
		return t.Event, p
	case engage.KindTouch:
		var t engage.Touch
		if json.Unmarshal(e.Data, &t) != nil || t.Event == nil {
			return "", nil
		}
		return t.Event.Name, t.Event.Properties
	}
	return "", nil
}

type env map[string]any

// Value implements rules.Env: a member of an object in an object by its path.
func (e env) Value(path string) (any, bool) {
	name, of := strings.CutPrefix(path, "properties.")
	if !of {
		return nil, false
	}
	if v, ok := e[name]; ok {
		return v, true
	}
	first, rest, deeper := strings.Cut(name, ".")
	in, is := e[first].(map[string]any)
	if !deeper || !is {
		return nil, false
	}
	return env(in).Value("properties." + rest)
}
