package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/time/rate"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/template"
)

// Test sends of a workspace: so many at once, and one more every testEvery. They go
// past the queues, so that many of them would be a way around the limits there.
const (
	testBurst = 10
	testEvery = 2 * time.Second
	// testWithin bounds how long a provider may take.
	testWithin = 30 * time.Second
	// testExpires is how long a provider keeps a test message for a phone that is off.
	testExpires = 10 * time.Minute
)

func (s *server) registerTestSend() {
	register(s, operation{
		method: http.MethodPost, path: "/apps/{id}/test-send", id: "test-send", tag: tagApps, role: catalog.Marketer,
		summary: "Send one push to one phone now",
		description: "To try a credential or to see a message: one attempt at one token, with the provider's raw answer, whatever that is. " +
			"It asks no gate (consent, quiet hours, caps), is counted in no result and stands in no timeline. " +
			fmt.Sprintf("A workspace has %d at once and one more every %d s. ", testBurst, int(testEvery.Seconds())) +
			"With install, texts are rendered with what is known of its person, and a token that the provider calls dead is kept as such; " +
			"what is not known then is of samples, or of values.",
		body: testSendBody{}, errors: []int{http.StatusTooManyRequests, http.StatusNotFound},
		examples: map[string]*huma.Example{
			"campaign": {Summary: "What a campaign's arm says, to a phone that the server knows", Value: json.RawMessage(`{"install":"9f2c5e0b","campaign":"rainy-day","arm":"umbrella"}`)},
			"token":    {Summary: "A text to a token, judged by FCM and not delivered", Value: json.RawMessage(`{"token":"fGk2…","provider":"fcm","content":{"title":"Hello","body":"from {{ place.name }}"},"values":{"place":{"name":"the corner shop"}},"dry_run":true}`)},
		},
	}, s.testSend)
}

type testSendBody struct {
	Install     string                     `json:"install,omitempty" doc:"Whose token is tried; this or token"`
	Token       engage.Secret              `json:"token,omitempty" writeOnly:"true" doc:"A push token; with provider"`
	Provider    string                     `json:"provider,omitempty" enum:"fcm,apns" doc:"Of token. With install: which of its tokens; absent: the one that campaigns use"`
	Environment string                     `json:"environment,omitempty" enum:"production,sandbox" doc:"APNs, of token; absent: production is tried first"`
	Topic       string                     `json:"topic,omitempty" doc:"APNs, of token; absent: the app's bundle id"`
	Campaign    string                     `json:"campaign,omitempty" doc:"Whose message it is; this or content"`
	Arm         string                     `json:"arm,omitempty" doc:"Of the campaign; absent: its first"`
	Content     *engage.Content            `json:"content,omitempty" doc:"The message, as an arm of a campaign has it"`
	Values      map[string]json.RawMessage `json:"values,omitempty" doc:"Variables of the texts by name (place, trigger, weather, …), instead of samples"`
	DryRun      bool                       `json:"dry_run,omitempty" doc:"FCM: judged, not delivered. APNs has no such thing"`
}

type testInput struct {
	ID string `path:"id" maxLength:"100" doc:"Of the app"`
	Raw
}

// testSendView is the answer: what was said, and what the provider made of it.
type testSendView struct {
	TestOutcome
	Words    string            `json:"words" doc:"What the outcome means, and what to do"`
	DryRun   bool              `json:"dry_run,omitempty"`
	Title    string            `json:"title" doc:"As it was rendered, like the next ones"`
	Text     string            `json:"body"`
	DeepLink string            `json:"deep_link,omitempty"`
	ImageURL string            `json:"image_url,omitempty"`
	Data     map[string]string `json:"data,omitempty"`
	Warnings []FieldError      `json:"warnings" nullable:"false" doc:"Variables that had no value, and were taken for empty"`
}

func (s *server) testSend(ctx context.Context, who caller, in *testInput) (*answered[*testSendView], error) {
	var b testSendBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if s.o.Catalog.Now().App(who.workspace, in.ID) == nil {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no app %q", clip(in.ID))
	}
	t := &TestSend{Workspace: who.workspace, App: in.ID, Install: b.Install, DryRun: b.DryRun}
	if err := b.target(t); err != nil {
		return nil, err
	}
	content, err := s.testContent(who, &b)
	if err != nil {
		return nil, err
	}
	vars, err := s.testValues(ctx, who, &b)
	if err != nil {
		return nil, err
	}
	parsed, err := template.ParseContent(*content)
	if err != nil {
		return nil, engage.At("content", err)
	}
	now := s.o.Clock.Now()
	r, lacking, err := parsed.Sample(vars, now, localeIn(vars))
	if err != nil {
		return nil, engage.At("content", err)
	}
	if !s.tests.allow(who.workspace, now) {
		return nil, engage.Errorf(engage.RateLimited, "", "%d test sends at once, and one more every %d s: try again shortly", testBurst, int(testEvery.Seconds()))
	}
	t.Send = engage.Send{
		Delivery: "test-" + rand.Text(), Workspace: who.workspace, Campaign: cmp.Or(b.Campaign, "test"), Arm: b.Arm,
		Title: r.Title, Body: r.Body, DeepLink: r.DeepLink, ImageURL: r.ImageURL, Data: r.Data, Actions: r.Actions,
		Push: r.Push(content.Push), DecidedAt: now, ExpiresAt: now.Add(testExpires),
	}
	bounded, cancel := context.WithTimeout(ctx, testWithin)
	defer cancel()
	out, err := s.o.Push.Test(bounded, t)
	if err != nil {
		return nil, err
	}
	out.TookMS = float64(out.Took.Microseconds()) / 1e3
	// Who did what to whose phone, for operators; no token and nothing of the message.
	s.o.Logger.LogAttrs(ctx, slog.LevelInfo, "test send", slog.String("workspace", who.workspace), slog.String("key", who.key.ID),
		slog.String("app", in.ID), slog.String("install", b.Install), slog.String("provider", out.Provider), slog.Bool("dry_run", b.DryRun),
		slog.String("outcome", out.Outcome), slog.String("reason", out.Reason), slog.Int("status", out.Status))
	v := &testSendView{
		TestOutcome: *out, Words: testWords(out, b.DryRun), DryRun: b.DryRun, Warnings: []FieldError{},
		Title: r.Title, Text: r.Body, DeepLink: r.DeepLink, ImageURL: t.Send.ImageURL, Data: r.Data,
	}
	for _, w := range lacking {
		p := problemOf(engage.At("content", w))
		v.Warnings = append(v.Warnings, FieldError{p.Code, p.Field, p.Reason})
	}
	return &answered[*testSendView]{v}, nil
}

// target puts whom it goes to into t.
func (b *testSendBody) target(t *TestSend) error {
	switch token := b.Token.Reveal(); {
	case b.Install == "" && token == "":
		return engage.Errorf(engage.Invalid, "install", "say to whom: install, or token with provider")
	case b.Install != "" && token != "":
		return engage.Errorf(engage.Invalid, "token", "must not stand beside install: it is either")
	case b.Provider != "" && b.Provider != "fcm" && b.Provider != "apns":
		return engage.Errorf(engage.Invalid, "provider", `must be "fcm" or "apns", is %q`, clip(b.Provider))
	case token != "" && b.Provider == "":
		return engage.Errorf(engage.Invalid, "provider", `is required with token: "fcm" or "apns"`)
	case token == "" && (b.Environment != "" || b.Topic != ""):
		return engage.Errorf(engage.Invalid, "environment", "environment and topic are of a token; an install has its own")
	case b.Environment != "" && b.Environment != "production" && b.Environment != "sandbox":
		return engage.Errorf(engage.Invalid, "environment", `must be "production" or "sandbox", is %q`, clip(b.Environment))
	case len(token) > maxToken:
		return engage.Errorf(engage.Invalid, "token", "at most %d bytes, has %d", maxToken, len(token))
	case token == "":
		t.Target = &engage.PushTarget{Provider: b.Provider}
		return nil
	}
	t.Target = &engage.PushTarget{Provider: b.Provider, Token: b.Token, Environment: b.Environment, Topic: b.Topic}
	return nil
}

// maxToken is how long a push token may be, in bytes; the protocol has as many
// characters.
const maxToken = 4096

// testContent is what is to be said: of a campaign, or of the request, which is judged
// as a campaign's would be.
func (s *server) testContent(who caller, b *testSendBody) (*engage.Content, error) {
	switch {
	case b.Campaign == "" && b.Content == nil:
		return nil, engage.Errorf(engage.Invalid, "content", "say what: content, or campaign")
	case b.Campaign != "" && b.Content != nil:
		return nil, engage.Errorf(engage.Invalid, "content", "must not stand beside campaign: it is either")
	case b.Campaign == "" && b.Arm != "":
		return nil, engage.Errorf(engage.Invalid, "arm", "is of a campaign: name that, too")
	case b.Content != nil:
		now, w, err := s.workspaceOf(who)
		if err != nil {
			return nil, err
		}
		err = s.o.Compile(&engage.Campaign{
			ID: "test", Workspace: who.workspace, Name: "test", Class: engage.Service, Status: engage.Draft,
			Trigger: engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "test"}, Arms: []engage.Arm{{ID: "test", Message: *b.Content}},
		}, now.AttributesWith(w))
		return b.Content, inContent(err)
	}
	c := s.o.Catalog.Now().Campaign(who.workspace, b.Campaign)
	if c == nil {
		return nil, noCampaign("campaign", b.Campaign)
	}
	for i := range c.Arms {
		if b.Arm == "" || c.Arms[i].ID == b.Arm {
			return &c.Arms[i].Message, nil
		}
	}
	return nil, engage.Errorf(engage.NotFound, "arm", "the campaign %q has no arm %q", clip(b.Campaign), clip(b.Arm))
}

// testValues are the variables of the texts: of the request, else of the install's
// person.
func (s *server) testValues(ctx context.Context, who caller, b *testSendBody) (map[string]any, error) {
	vars := map[string]any{}
	if b.Install != "" {
		p, err := s.person(ctx, who, "install:"+b.Install)
		switch {
		case engage.CodeOf(err) == engage.NotFound: // it may be new: Push.Test says so, or sends
		case err != nil:
			return nil, err
		default:
			s.personValues(p, b.Install, vars)
		}
	}
	if b.Campaign != "" {
		if c := s.o.Catalog.Now().Campaign(who.workspace, b.Campaign); c != nil {
			vars["campaign"] = map[string]any{"id": c.ID, "name": c.Name}
		}
	}
	for name, raw := range b.Values {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, engage.Errorf(engage.Invalid, "values."+clip(name), "is not a JSON value")
		}
		vars[name] = v
	}
	return vars, nil
}

// localeIn is that of the phone in the variables of a text; empty if they have none.
func localeIn(vars map[string]any) string {
	device, _ := vars["device"].(map[string]any)
	locale, _ := device["locale"].(string)
	return locale
}

// personValues are the variables that decide would have of a person.
func (s *server) personValues(p *personView, install string, vars map[string]any) {
	attributes := p.Attributes
	if attributes == nil {
		attributes = map[string]any{}
	}
	topics := func(want engage.Attitude) []any {
		out := []any{}
		for topic, a := range p.Preferences {
			if a == want {
				out = append(out, topic)
			}
		}
		return out
	}
	vars["profile"] = map[string]any{
		"id": p.ID, "attributes": attributes, "visits": p.Visits, "likes": topics(engage.Like), "dislikes": topics(engage.Dislike),
	}
	for _, d := range p.Devices {
		if d.Install == install {
			vars["device"] = map[string]any{"platform": d.Platform, "locale": d.Locale, "notifications": d.Notifications, "location": d.Location}
		}
	}
}

// testWords say what an outcome means, and what to do.
func testWords(o *TestOutcome, dryRun bool) string {
	switch {
	case o.Outcome == "accepted" && dryRun:
		return "The provider would take it. Nothing was delivered: it was a dry run"
	case o.Outcome == "accepted":
		return "The provider took it. Whether the phone shows it depends on its notification settings and on its being reachable"
	case o.Outcome == "token_gone":
		return "The token is dead, or not of this app: the app must be opened on the phone once more, so that it registers anew. If it was, the credential may be of another project or bundle"
	case o.Outcome == "misconfigured":
		return "The app's credential or set-up is wrong, so nothing passes: look at the provider's reason, then give the app another credential"
	case o.Outcome == "rejected":
		return "The provider refuses this message, and would again: mend what its reason names"
	case o.Ambiguous:
		return "The connection was lost after sending: it may have been taken, or not"
	case o.Status == 0:
		return "No answer came from the provider: this server may not reach it"
	default:
		return "The provider takes nothing just now: try again when it says"
	}
}

// testLimits are the test sends that workspaces have made.
type testLimits struct {
	mu sync.Mutex
	by map[string]*rate.Limiter
}

func (l *testLimits) allow(workspace string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[string]*rate.Limiter{}
	}
	x := l.by[workspace]
	if x == nil {
		x = rate.NewLimiter(rate.Every(testEvery), testBurst)
		l.by[workspace] = x
	}
	return x.AllowN(now, 1)
}

// inContent names the field as the request has it.
func inContent(err error) error {
	const at = "arms[0].message"
	e, ok := errors.AsType[*engage.Error](err)
	if !ok {
		return err
	}
	c := *e
	if len(c.Field) >= len(at) && c.Field[:len(at)] == at {
		c.Field = "content" + c.Field[len(at):]
	}
	return &c
}
