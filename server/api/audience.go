package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/audience"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/rules"
)

// Audience counts persons for whom a rule holds (*audience.Counter).
type Audience interface {
	Count(ctx context.Context, q audience.Question) (*audience.Answer, error)
}

// maxNamed of persons in a count.
const maxNamed = 20

func (s *server) registerAudience() {
	register(s, operation{
		method: http.MethodPost, path: "/audience/count", id: "count-audience", tag: tagCampaigns, role: catalog.Viewer,
		summary: "Count for how many persons a rule holds now",
		description: "To be asked while the rule is being written: the answer takes about half a second however many persons there are. Where all of them can be read in that time the count is exact; " +
			"else a random part of them is asked, and each figure comes with the bounds between which it lies in 95 of 100 cases. Within an hour it is the same part, so that two rules can be compared. " +
			"It is of what is saved, which is up to half a second old. Profiles that turned out to be somebody else's are not counted twice. " +
			"Examples of persons need a marketer's key, and are noted as looked at.",
		body: countBody{},
	}, s.countAudience)
	register(s, operation{
		method: http.MethodPost, path: "/audience/explain", id: "explain-audience", tag: tagPeople, role: catalog.Viewer,
		summary:     "Explain why a rule holds for a person, or does not",
		description: "Every clause of the rule, with what it wants and what is known of the person now. " + personHelp,
		body:        explainAudienceBody{},
	}, s.explainAudience)
}

type countBody struct {
	Audience json.RawMessage `json:"audience" doc:"A rule over the person, as a campaign has it; see GET /api/v1/fields. Absent or null: everybody"`
	Class    engage.Class    `json:"class,omitempty" enum:"marketing,service" doc:"Of the message, for reachable. Absent: marketing"`
	Examples int             `json:"examples,omitempty" minimum:"0" maximum:"20" doc:"How many persons to name for whom it holds"`
}

type countView struct {
	audience.Figure
	Exact     bool            `json:"exact" doc:"Everybody was looked at: low, estimate and high are one"`
	Of        audience.Figure `json:"of" doc:"Persons there are"`
	LookedAt  int             `json:"looked_at" doc:"Persons for whom the rule was asked"`
	Broken    int             `json:"unreadable,omitempty" doc:"Persons among these who could not be read: they count as not matching"`
	TookMS    int64           `json:"took_ms"`
	Consent   audience.Figure `json:"consenting" doc:"Of those for whom it holds: who agreed to marketing messages"`
	Phone     audience.Figure `json:"with_phone" doc:"Likewise: who have an app of yours, which can show a message or keep it in its inbox"`
	Push      audience.Figure `json:"with_push" doc:"Likewise: who have a phone that takes pushes"`
	Reachable audience.Figure `json:"reachable" doc:"Likewise: whom a message of the class could reach; marketing needs consent, and both need an app. Caps and quiet hours are not in it"`
	Words     string          `json:"words" doc:"The figure, for people"`
	Examples  []string        `json:"examples,omitempty" nullable:"false" doc:"Ids of persons for whom it holds"`
}

func (s *server) countAudience(ctx context.Context, who caller, in *Raw) (*answered[*countView], error) {
	began := s.o.Clock.Now()
	var b countBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	switch {
	case b.Class != "" && b.Class != engage.Marketing && b.Class != engage.Service:
		return nil, engage.Errorf(engage.Invalid, "class", `must be "marketing" or "service", is %q`, clip(string(b.Class)))
	case b.Examples < 0 || b.Examples > maxNamed:
		return nil, engage.Errorf(engage.Invalid, "examples", "must be 0 to %d, is %d", maxNamed, b.Examples)
	case b.Examples > 0 && !who.is(catalog.Marketer):
		return nil, engage.Errorf(engage.Forbidden, "examples", "persons are named to keys of the role marketer, yours is %s", who.key.Role)
	}
	rule, env, err := s.audienceRule(who, b.Audience, began)
	if err != nil {
		return nil, err
	}
	a, err := s.o.Audience.Count(ctx, audience.Question{Workspace: who.workspace, Rule: rule, Now: began, Env: env, Examples: b.Examples})
	if err != nil {
		return nil, err
	}
	out := &countView{
		Figure: a.Matching, Exact: a.Exact, Of: a.People, LookedAt: a.Looked, Broken: a.Unreadable,
		Consent: a.Consenting, Phone: a.Phones, Push: a.Push, Reachable: a.Marketed(b.Class), Words: countWords(a),
		TookMS: s.o.Clock.Now().Sub(began).Milliseconds(), Examples: a.Examples,
	}
	return &answered[*countView]{out}, s.seen(ctx, who, a.Examples...)
}

// audienceRule reads a rule over the person, and gives how it sees one.
func (s *server) audienceRule(who caller, text json.RawMessage, at time.Time) (*rules.Rule, func(*profile.Profile) rules.Env, error) {
	now, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, nil, err
	}
	rule, err := rules.Parse(text, rules.PersonSchema(now.AttributesWith(w)))
	if err != nil {
		return nil, nil, engage.At("audience", err)
	}
	for _, ref := range rule.Places() {
		if now.Place(who.workspace, ref.Place) == nil {
			return nil, nil, engage.Errorf(engage.Invalid, "audience."+ref.Path, "there is no place %q", clip(ref.Place))
		}
	}
	return rule, func(p *profile.Profile) rules.Env { return s.personEnv(who, p, at) }, nil
}

// personEnv is a person as audiences see them at a moment.
func (s *server) personEnv(who caller, p *profile.Profile, at time.Time) rules.Env {
	now := s.o.Catalog.Now()
	return profile.Env{Profile: p, Now: at, Place: func(id string) ([]string, bool) {
		place := now.Place(who.workspace, id)
		if place == nil {
			return nil, false
		}
		return place.Tags, true
	}}
}

// countWords is a count in a sentence; counts of a sample are rounded to what is known.
func countWords(a *audience.Answer) string {
	m := a.Matching
	if a.Exact {
		return fmt.Sprintf("%d of %s.", m.Estimate, plural(int(a.People.Estimate), "person"))
	}
	return fmt.Sprintf("About %d, between %d and %d, of about %s; %d of them were asked.", m.Estimate, m.Low, m.High, plural(int(a.People.Estimate), "person"), a.Looked)
}

type explainAudienceBody struct {
	Audience json.RawMessage `json:"audience" doc:"A rule over the person, as a campaign has it"`
	Person   string          `json:"person" required:"true" doc:"Profile id, user_id:… or install:…"`
}

// askedRuleView is a node of a rule with what became of it.
type askedRuleView struct {
	OK    bool             `json:"ok" doc:"Whether it holds"`
	Path  string           `json:"path" doc:"In the rule, such as all[1].not; empty at its root"`
	Words string           `json:"words" doc:"What it wants and what there is, for people"`
	All   []*askedRuleView `json:"all,omitempty" nullable:"false"`
	Any   []*askedRuleView `json:"any,omitempty" nullable:"false"`
	Not   *askedRuleView   `json:"not,omitempty"`
	Field string           `json:"field,omitempty" doc:"Of a clause, as the next three"`
	Op    rules.Op         `json:"op,omitempty"`
	Want  any              `json:"want,omitempty" doc:"Absent: the operator takes no value"`
	Got   any              `json:"got,omitempty" doc:"Absent: not known of the person"`
}

type audienceExplainView struct {
	Profile string         `json:"profile"`
	At      time.Time      `json:"at" doc:"What relative times count from"`
	OK      bool           `json:"ok" doc:"Whether the rule holds for the person"`
	Words   string         `json:"words" doc:"For people"`
	Rule    *askedRuleView `json:"rule"`
}

func (s *server) explainAudience(ctx context.Context, who caller, in *Raw) (*answered[*audienceExplainView], error) {
	var b explainAudienceBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if b.Person == "" {
		return nil, engage.Errorf(engage.Invalid, "person", "is required")
	}
	at := s.o.Clock.Now()
	rule, env, err := s.audienceRule(who, b.Audience, at)
	if err != nil {
		return nil, err
	}
	id, err := s.find(ctx, who, b.Person)
	var raw json.RawMessage
	if err == nil {
		raw, err = s.o.People.Profile(ctx, who.workspace, id)
	}
	if engage.CodeOf(err) == engage.NotFound {
		return nil, engage.Errorf(engage.NotFound, "person", "there is no person %q", clip(b.Person))
	}
	if err != nil {
		return nil, err
	}
	p, err := profile.Read(raw)
	if err != nil {
		return nil, err
	}
	ok, x := rule.Eval(env(p), at)
	out := &audienceExplainView{Profile: p.ID, At: at, OK: ok, Words: "The person belongs to the audience.", Rule: viewRule(x)}
	if !ok {
		failed := []clause{}
		for _, c := range x.Failed() {
			failed = append(failed, clause{c.Field, string(c.Op), c.Want, c.Got, c.Negated})
		}
		out.Words = "The person does not belong to the audience: " + clauses(failed) + "."
	}
	return &answered[*audienceExplainView]{out}, s.seen(ctx, who, p.ID)
}

func viewRule(x *rules.Explanation) *askedRuleView {
	v := &askedRuleView{OK: x.OK, Path: x.Path(), Field: x.Field, Op: x.Op, Want: x.Want, Got: x.Got}
	each := func(of []*rules.Explanation) (out []*askedRuleView, hold int) {
		for _, y := range of {
			out = append(out, viewRule(y))
			if y.OK {
				hold++
			}
		}
		return out, hold
	}
	var hold int
	switch {
	case x.All != nil:
		v.All, hold = each(x.All)
		v.Words = fmt.Sprintf("All of %d must hold: %d do.", len(v.All), hold)
	case x.Any != nil:
		v.Any, hold = each(x.Any)
		v.Words = fmt.Sprintf("One of %d must hold: %d do.", len(v.Any), hold)
	case x.Not != nil:
		v.Not = viewRule(x.Not)
		v.Words = "This must not hold, and does not."
		if !x.OK {
			v.Words = "This must not hold, but does."
		}
	case x.Field == "":
		v.Words = "The rule is empty: it holds for everybody."
	default:
		v.Words = clauseWords(x)
	}
	return v
}

// clauseWords says what a clause wants and what there is.
func clauseWords(x *rules.Explanation) string {
	text := fieldWords(x.Field) + " must "
	if words, known := opWords[string(x.Op)]; known {
		text += words
	} else {
		text += string(x.Op)
	}
	if x.Want != nil {
		text += " " + value(x.Want)
	}
	and := ", but "
	if x.OK {
		and = ", and "
	}
	if x.Got == nil {
		return upperFirst(text) + and + "is not known."
	}
	return upperFirst(text) + and + "is " + value(x.Got) + "."
}

// clauseView is a clause of a rule that was asked, in words.
type clauseView struct {
	Path  string `json:"path" doc:"In the rule, such as all[1].not"`
	OK    bool   `json:"ok" doc:"Whether the clause itself held"`
	Words string `json:"words"`
}

// gateClauses are the clauses that a gate's trace has.
func gateClauses(g engage.GateResult) (out []clauseView) {
	var saw struct {
		Clauses []rules.Verdict `json:"clauses"`
	}
	if len(g.Saw) == 0 || json.Unmarshal(g.Saw, &saw) != nil {
		return nil // of another version: saw has it as it is
	}
	for _, c := range saw.Clauses {
		out = append(out, clauseView{c.Path, c.OK, clauseWords(&rules.Explanation{OK: c.OK, Field: c.Field, Op: c.Op, Want: c.Want, Got: c.Got})})
	}
	return out
}

// fieldWords is a field as people call it.
func fieldWords(field string) string {
	if place, what, ok := rules.VisitedField(field); ok {
		return visitedWords[what] + " to the place " + place
	}
	if tag, what, ok := rules.VisitedTagField(field); ok {
		return visitedWords[what] + " to places tagged " + tag
	}
	group, name, found := strings.Cut(field, ".")
	if found {
		switch group {
		case "attributes":
			return "the attribute " + name
		case "affinity":
			return "the affinity to the " + strings.Replace(name, ".", " ", 1)
		case "purchases_total":
			return "purchases in " + name
		case "app_version":
			return "the app's version on " + name
		case "os_version":
			return "the version of " + name
		}
	}
	return strings.NewReplacer("_", " ", ".", " ").Replace(field)
}

var visitedWords = map[string]string{"visits": "visits", "last_at": "the last visit"}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
