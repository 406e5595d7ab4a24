package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/why"
)

func (s *server) registerPeople() {
	register(s, operation{
		method: http.MethodGet, path: "/people", id: "list-people", tag: tagPeople, role: catalog.Viewer,
		summary: "List persons", description: "In order of id.",
	}, s.listPeople)
	register(s, operation{
		method: http.MethodGet, path: "/people/{id}", id: "get-person", tag: tagPeople, role: catalog.Viewer,
		summary: "Get a person", description: personHelp,
	}, s.getPerson)
	register(s, operation{
		method: http.MethodGet, path: "/people/{id}/timeline", id: "get-timeline", tag: tagPeople, role: catalog.Viewer,
		summary: "List what happened to a person", description: "The newest first, by when the server had it; of one class, of a span of time. " + personHelp,
	}, s.getTimeline)
	register(s, operation{
		method: http.MethodGet, path: "/people/{id}/explain", id: "explain", tag: tagPeople, role: catalog.Viewer,
		summary:     "Explain why a person did or did not get a campaign's message",
		description: "From the kept decisions: each gate that was asked, in plain words and as it was recorded. " + personHelp,
	}, s.explain)
	s.registerHistory()
	s.registerRegions()
}

const personHelp = "The id is a profile's, or user_id:… (or another identifier), or install:…; escape it as a path segment."

type personInput struct {
	ID string `path:"id" maxLength:"600" doc:"Profile id, user_id:… or install:…"`
}

// personView is a person as the API shows them: no push token, nothing of how
// decisions are made.
type personView struct {
	ID          string                            `json:"id"`
	MergedInto  string                            `json:"merged_into,omitempty" doc:"The profile that was asked for has become this one"`
	Absorbed    []string                          `json:"absorbed,omitempty" doc:"Ids of other profiles that turned out to be the same person; they lead here"`
	Identifiers []string                          `json:"identifiers" nullable:"false" doc:"Such as user_id:ada"`
	Claimed     string                            `json:"claimed_unproven,omitempty" doc:"Whom the app said this is, such as user_id:ada, without proof: it may be anybody. Absent: nobody, or the person is known"`
	Attributes  map[string]any                    `json:"attributes"`
	Preferences map[string]engage.Attitude        `json:"preferences" doc:"By topic: like or dislike"`
	Consents    map[engage.Purpose]engage.Consent `json:"consents" doc:"By purpose; no answer means no"`
	Devices     []deviceView                      `json:"devices" nullable:"false" doc:"The one seen last comes first"`
	Arms        map[string]string                 `json:"arms" doc:"Arm by campaign, from the first eligible occasion on"`
	Visits      int64                             `json:"visits" doc:"To the inside of places"`
	LastVisitAt time.Time                         `json:"last_visit_at,omitzero"`
	Affinities  []string                          `json:"affinities,omitempty" doc:"Categories and topics that the person turns to, as of when they were last seen, by their behaviour; needs the profiling consent"`
	Brands      []string                          `json:"favourite_brands,omitempty" doc:"Likewise"`
	HomePlace   string                            `json:"home_place,omitempty" doc:"Id of the home store: the place that the person visited most in the 110 to 120 days before they were last seen, three times at least and not all within ten days; needs the same consents as favourite_places"`
	Places      []string                          `json:"favourite_places,omitempty" doc:"Ids of the places that the person visited most in the 90 days before they were last seen, the favourite first, at most 5; needs the consent to profiling and to location"`
	Purchases   *purchasesView                    `json:"purchases,omitempty" doc:"Absent: none are known"`
	FirstSeen   time.Time                         `json:"first_seen"`
	LastSeen    time.Time                         `json:"last_seen"`
}

type purchasesView struct {
	Count   int64              `json:"count" doc:"Orders that were completed and not cancelled"`
	Value   map[string]float64 `json:"value" doc:"What they were worth, less refunds, by currency"`
	FirstAt time.Time          `json:"first_at,omitzero"`
	LastAt  time.Time          `json:"last_at,omitzero"`
}

type deviceView struct {
	Install       string    `json:"install"`
	App           string    `json:"app"`
	Platform      string    `json:"platform"`
	OSVersion     string    `json:"os_version,omitempty"`
	AppVersion    string    `json:"app_version,omitempty"`
	TimeZone      string    `json:"time_zone,omitempty"`
	Locale        string    `json:"locale,omitempty"`
	Location      string    `json:"location_permission,omitempty"`
	Precision     string    `json:"precision_permission,omitempty"`
	Notifications string    `json:"notification_permission,omitempty"`
	Bluetooth     string    `json:"bluetooth,omitempty" enum:"on,off" doc:"May the app look for beacons? Absent here and below: the phone has not said"`
	Background    string    `json:"background_refresh,omitempty" enum:"on,off" doc:"May the app run in the background at all?"`
	Battery       string    `json:"battery_optimised,omitempty" enum:"on,off" doc:"Does the system hold the app back to spare the battery?"`
	Lifecycle     string    `json:"lifecycle,omitempty"`
	SeenAt        time.Time `json:"seen_at"`
	Push          *pushView `json:"push,omitempty" doc:"Absent: the app gave no push token. The token itself is never shown"`
}

type pushView struct {
	Provider    string    `json:"provider"`
	Environment string    `json:"environment,omitempty"`
	Dead        string    `json:"dead,omitempty" doc:"Why the provider calls the token dead; absent: it lives"`
	At          time.Time `json:"at"`
}

func viewPerson(raw json.RawMessage) (*personView, error) {
	var p struct {
		profile.Profile
		Arms map[string]string `json:"arms"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("decode profile: %w", err)
	}
	v := &personView{
		ID: p.ID, Identifiers: p.Identifiers, Claimed: p.Claimed, Attributes: p.Attributes, Preferences: p.Preferences, Consents: p.Consents.Map(),
		Devices: []deviceView{}, Arms: p.Arms, Visits: p.Visits, LastVisitAt: p.LastVisitAt, FirstSeen: p.FirstSeen, LastSeen: p.LastSeen,
	}
	v.Places, v.HomePlace = p.FavouritePlaces(p.LastSeen), p.HomePlace(p.LastSeen)
	v.Absorbed, v.Affinities, v.Brands = p.Absorbed, p.Likings(p.LastSeen), p.Brands(p.LastSeen)
	if t := p.Purchases.Totals(); t.Count > 0 {
		v.Purchases = &purchasesView{Count: t.Count, Value: map[string]float64{}, FirstAt: t.FirstAt, LastAt: t.LastAt}
		for currency, a := range t.By {
			v.Purchases.Value[currency] = a.Units()
		}
	}
	if v.Identifiers == nil {
		v.Identifiers = []string{}
	}
	for _, d := range p.DevicesByUse() {
		x := deviceView{
			Install: d.Install, App: d.App, Platform: d.Platform, OSVersion: d.OSVersion, AppVersion: d.AppVersion,
			TimeZone: d.TimeZone, Locale: d.Locale, Location: d.Location, Precision: d.Precision,
			Notifications: d.Notifications, Bluetooth: d.Bluetooth, Background: d.Background, Battery: d.Battery,
			Lifecycle: d.Lifecycle, SeenAt: d.SeenAt,
		}
		if d.Push != nil {
			x.Push = &pushView{Provider: d.Push.Provider, Environment: d.Push.Environment, Dead: d.Push.Dead, At: d.Push.At}
		}
		v.Devices = append(v.Devices, x)
	}
	return v, nil
}

// find resolves what a caller calls a person to the profile's id.
func (s *server) find(ctx context.Context, who caller, id string) (string, error) {
	nobody := engage.Errorf(engage.NotFound, "id", "there is no person %q", clip(id))
	kind, rest, named := strings.Cut(id, ":")
	switch {
	case !named:
		if !engage.ValidID(id) {
			return "", nobody
		}
		return id, nil
	case rest == "":
		return "", engage.Errorf(engage.Invalid, "id", "must be a profile id, user_id:… or install:…")
	case kind == "install": // which may have had several persons
		if !engage.ValidID(rest) {
			return "", nobody
		}
	default: // as it is kept: an e-mail address is, in lower case
		var err error
		if id, err = engage.Identifier(kind, rest); err != nil {
			return "", nobody
		}
	}
	return s.o.People.ProfileOf(ctx, who.workspace, id)
}

func (s *server) person(ctx context.Context, who caller, id string) (*personView, error) {
	found, err := s.find(ctx, who, id)
	var raw json.RawMessage
	if err == nil {
		raw, err = s.o.People.Profile(ctx, who.workspace, found)
	}
	if engage.CodeOf(err) == engage.NotFound {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no person %q", clip(id))
	}
	if err != nil {
		return nil, err
	}
	p, err := viewPerson(raw)
	if err != nil {
		return nil, err
	}
	return p, s.seen(ctx, who, p.ID)
}

func (s *server) getPerson(ctx context.Context, who caller, in *personInput) (*answered[*personView], error) {
	p, err := s.person(ctx, who, in.ID)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(in.ID, ":") && p.ID != in.ID {
		p.MergedInto = p.ID
	}
	return &answered[*personView]{p}, nil
}

func (s *server) listPeople(ctx context.Context, who caller, in *struct{ Paging }) (*answered[list[*personView]], error) {
	page, err := s.o.People.Profiles(ctx, who.workspace, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	var bad error
	var ids []string
	out := listOf(page, func(raw json.RawMessage) *personView {
		v, err := viewPerson(raw)
		if bad = errors.Join(bad, err); err == nil {
			ids = append(ids, v.ID)
		}
		return v
	})
	if bad != nil {
		return nil, bad
	}
	return out, s.seen(ctx, who, ids...)
}

type timelineView struct {
	At         time.Time       `json:"at" doc:"When the server had it"`
	OccurredAt time.Time       `json:"occurred_at" doc:"When it happened: by the phone's clock, corrected, or as whoever told of it says"`
	Class      string          `json:"class" doc:"What it is about, as the parameter class has it"`
	Kind       engage.Kind     `json:"kind"`
	Words      string          `json:"words,omitempty" doc:"What it is, for people"`
	Install    string          `json:"install,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
}

type timelineInput struct {
	ID    string `path:"id" maxLength:"600" doc:"Profile id, user_id:… or install:…"`
	Class string `query:"class" enum:"attributes,consents,devices,events,identity,messages,preferences,purchases,visits" doc:"Only what is about this: events (what the person did, but for purchases), visits (transitions at places), purchases, messages (what became of them), consents, preferences, attributes, devices, identity. Absent: all"`
	Between
	Paging
}

func (s *server) getTimeline(ctx context.Context, who caller, in *timelineInput) (*answered[list[timelineView]], error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	p, err := s.person(ctx, who, in.ID)
	if err != nil {
		return nil, err
	}
	f := TimelineFilter{Class: engage.TimelineClass(in.Class), From: in.From, Before: in.To}
	page, err := s.o.People.Timeline(ctx, who.workspace, p.ID, f, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	name := s.placeNames(who)
	blur := !p.Consents[engage.ConsentLocationPrecise].Granted
	return listOf(page, func(e engage.TimelineEntry) timelineView {
		if blur {
			e = blurEntry(e)
		}
		return timelineView{At: e.At, OccurredAt: e.OccurredAt, Class: string(e.Class()), Kind: e.Kind, Words: timelineWords(&e, name), Install: e.Install, Data: e.Data}
	}), nil
}

// placeNames looks names of places up; empty when the place is not there any more.
func (s *server) placeNames(who caller) func(string) string {
	now := s.o.Catalog.Now()
	return func(id string) string {
		if p := now.Place(who.workspace, id); p != nil {
			return p.Name
		}
		return ""
	}
}

// decisionView is a decision with words.
type decisionView struct {
	ID           string               `json:"id"`
	Campaign     string               `json:"campaign"`
	CampaignName string               `json:"campaign_name,omitempty" doc:"Absent: it was deleted"`
	Version      int64                `json:"campaign_version" doc:"That was in force"`
	Profile      string               `json:"profile"`
	At           time.Time            `json:"at" doc:"When the server had the trigger"`
	UpdatedAt    time.Time            `json:"updated_at"`
	State        engage.DecisionState `json:"state" enum:"pending,sent,held_out,suppressed,expired,failed"`
	Reason       engage.Reason        `json:"reason,omitempty"`
	Words        string               `json:"words" doc:"What became of it, for people"`
	Moment       string               `json:"moment" doc:"What triggered it, for people"`
	Gates        []gateView           `json:"gates" nullable:"false" doc:"In the order in which they were asked"`
	Arm          string               `json:"arm,omitempty"`
	Delivery     string               `json:"delivery,omitempty"`
	Channel      string               `json:"channel,omitempty"`
	Detail       string               `json:"detail,omitempty" doc:"What the provider said; why it did not go by push"`
	Receipts     []string             `json:"receipts,omitempty" doc:"What the phone reported, in order of arrival"`
	DueAt        *time.Time           `json:"due_at,omitempty" doc:"While pending: when it is settled at the latest"`
	Trigger      engage.Trigger       `json:"trigger"`
}

type gateView struct {
	Gate   string         `json:"gate"`
	OK     bool           `json:"ok"`
	Reason engage.Reason  `json:"reason,omitempty"`
	Words  string         `json:"words"`
	Saw    map[string]any `json:"saw,omitempty" doc:"The values it saw, as recorded"`
	// Clauses of the rule, of a gate that said no by one.
	Clauses []clauseView `json:"clauses,omitempty" nullable:"false" doc:"Of a rule that did not hold: each clause, at most 40. Absent: the failed ones in saw are all"`
}

func (s *server) decisionViews(ctx context.Context, who caller) func(engage.Decision) decisionView {
	now := s.o.Catalog.Now()
	place := s.placeNames(who)
	blurs := s.blurs(ctx, who)
	return func(d engage.Decision) decisionView {
		if blurs(d.Profile) {
			d = blurDecision(d)
		}
		v := decisionView{
			ID: d.ID, Campaign: d.Campaign, Version: d.Version, Profile: d.Profile, At: d.At, UpdatedAt: d.UpdatedAt,
			State: d.State, Reason: d.Reason, Words: decisionWords(&d), Moment: triggerWords(&d.Trigger, place(d.Trigger.Place)),
			Gates: make([]gateView, 0, len(d.Gates)), Arm: d.Arm, Delivery: d.Delivery, Channel: d.Channel, Detail: d.Detail,
			Receipts: d.Receipts, DueAt: d.DueAt, Trigger: d.Trigger,
		}
		if c := now.Campaign(who.workspace, d.Campaign); c != nil {
			v.CampaignName = c.Name
		}
		for _, g := range d.Gates {
			v.Gates = append(v.Gates, gateView{Gate: g.Gate, OK: g.OK, Reason: g.Reason, Words: gateWords(g), Saw: g.Saw.Values(), Clauses: gateClauses(g)})
		}
		return v
	}
}

type explainInput struct {
	ID       string `path:"id" maxLength:"600" doc:"Profile id, user_id:… or install:…"`
	Campaign string `query:"campaign" required:"true" maxLength:"100" doc:"The campaign's id"`
	Between
	Paging
}

type explainView struct {
	Profile   string         `json:"profile"`
	Campaign  string         `json:"campaign"`
	Status    engage.Status  `json:"status" doc:"Of the campaign, now"`
	Answer    string         `json:"answer" doc:"In plain words, about the newest decision"`
	Hints     []string       `json:"hints" nullable:"false" doc:"What is true now and may matter"`
	Decisions []decisionView `json:"decisions" nullable:"false" doc:"The newest first"`
	Findings  []why.Finding  `json:"findings,omitempty" nullable:"false" doc:"Where nothing of that time reached the campaign: what the person's records show of why not. Without from and to of the last 24 hours"`
	Next      string         `json:"next,omitempty" doc:"Cursor of older decisions"`
}

func (s *server) explain(ctx context.Context, who caller, in *explainInput) (*answered[*explainView], error) {
	c := s.o.Catalog.Now().Campaign(who.workspace, in.Campaign)
	if c == nil {
		return nil, noCampaign("campaign", in.Campaign)
	}
	p, err := s.person(ctx, who, in.ID)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	page, err := s.o.Decisions.Decisions(ctx, who.workspace, DecisionFilter{Profile: p.ID, Campaign: c.ID, From: in.From, Before: in.To}, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &explainView{Profile: p.ID, Campaign: c.ID, Status: c.Status, Hints: hints(c, p), Decisions: []decisionView{}, Next: page.Next}
	view := s.decisionViews(ctx, who)
	for _, d := range page.Items {
		out.Decisions = append(out.Decisions, view(d))
	}
	switch {
	case len(out.Decisions) > 0:
		newest := out.Decisions[0]
		out.Answer = newest.Moment + " at " + moment(newest.At) + ". " + newest.Words
	case in.Cursor != "":
		out.Answer = "There are no older decisions in the kept records."
	default:
		out.Answer = "No trigger of this person reached this campaign in the kept records."
		if !in.From.IsZero() || !in.To.IsZero() {
			out.Answer = "No trigger of this person reached this campaign in that time."
		}
		if out.Findings, err = s.whyNot(ctx, who, c, p, in.Between); err != nil {
			return nil, err
		}
		for _, f := range out.Findings[:min(len(out.Findings), 2)] {
			out.Answer += " " + f.Words
		}
	}
	return &answered[*explainView]{out}, nil
}

// hints are facts of now that keep a message away.
func hints(c *engage.Campaign, p *personView) []string {
	out := []string{}
	if c.Status != engage.Live {
		out = append(out, fmt.Sprintf("The campaign is %s: only a live one sees triggers.", statusWords[c.Status]))
	}
	if c.Class == engage.Marketing && !p.Consents[engage.ConsentMarketing].Granted {
		out = append(out, "The person has not agreed to marketing messages.")
	}
	if c.Trigger.Type == engage.TriggerPlace || c.Trigger.Type == engage.TriggerRegion || c.Trigger.Type == engage.TriggerBeacon {
		if !p.Consents[engage.ConsentLocationForeground].Granted && !p.Consents[engage.ConsentLocationBackground].Granted {
			out = append(out, "The person has not agreed to the use of their location, so no place can trigger anything.")
		} else if !p.Consents[engage.ConsentLocationPrecise].Granted && c.Trigger.Type != engage.TriggerBeacon {
			out = append(out, "Without consent to precise location, fixes trigger nothing; only what the phone's system reports of its regions does.")
		}
	}
	if len(p.Devices) == 0 {
		out = append(out, "No phone of the person is known.")
	}
	return out
}

var statusWords = map[engage.Status]string{engage.Draft: "a draft", engage.InReview: "in review", engage.Paused: "paused", engage.Ended: "ended", engage.Live: "live"}
