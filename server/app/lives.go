package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/channels/apns"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// liveCollection has a document for each Live Activity of an install,
// "<workspace>/<install>/<activity>" of the system's part, since what is due runs over
// all workspaces.
func liveCollection() store.Collection {
	return store.Collection{Name: liveActivities, Indexes: []store.Index{
		{Name: "activity", Paths: []string{"workspace", "activity"}},
		{Name: "profile", Paths: []string{"profile"}},
		{Name: "due", Paths: []string{"due_us"}},
	}}
}

const (
	liveActivities = "live_activities"
	// liveKept is how long a record is kept after its last change.
	liveKept = 7 * 24 * time.Hour
)

func (a *App) newLives() *deliver.Lives {
	return deliver.NewLives(deliver.LiveOptions{
		Ledger: liveLedger{a.hot, a.o.Clock}, Phones: livePhones{a}, Senders: a.senders, Outcomes: outcomes{a.router},
		Size: apns.PayloadSize, Clock: a.o.Clock, Logger: a.log,
	})
}

// liveLedger implements deliver.LiveLedger.
type liveLedger struct {
	hot   store.Store
	clock clock.Clock
}

func liveKey(workspace, install, activity string) store.Key {
	return store.Key{Workspace: store.System, ID: workspace + "/" + install + "/" + activity}
}

// liveDoc is a record's document.
type liveDoc struct {
	Workspace string `json:"workspace"`
	*deliver.LiveRecord
}

func readLive(d store.Doc) (*deliver.LiveRecord, error) {
	x := liveDoc{LiveRecord: &deliver.LiveRecord{}}
	if err := json.Unmarshal(d.Body, &x); err != nil {
		return nil, fmt.Errorf("decode live activity: %w", err)
	}
	x.LiveRecord.Workspace, x.Version = x.Workspace, d.Version
	return x.LiveRecord, nil
}

// Get implements deliver.LiveLedger.
func (l liveLedger) Get(ctx context.Context, workspace, install, activity string) (*deliver.LiveRecord, error) {
	d, err := l.hot.Get(ctx, liveActivities, liveKey(workspace, install, activity))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read live activity: %w", err)
	}
	return readLive(d)
}

// Put implements deliver.LiveLedger.
func (l liveLedger) Put(ctx context.Context, r *deliver.LiveRecord) (bool, error) {
	body, err := json.Marshal(liveDoc{r.Workspace, r})
	if err != nil {
		return false, fmt.Errorf("encode live activity: %w", err)
	}
	err = l.hot.Apply(ctx, store.Batch{Puts: []store.Put{{
		Collection: liveActivities, Key: liveKey(r.Workspace, r.Install, r.Activity), Body: body, If: r.Version, Expires: l.clock.Now().Add(liveKept),
	}}})
	if errors.Is(err, store.ErrVersion) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write live activity: %w", err)
	}
	r.Version++
	return true, nil
}

func (l liveLedger) find(ctx context.Context, q store.Query) ([]*deliver.LiveRecord, error) {
	q.Workspace = store.System
	page, err := l.hot.Find(ctx, liveActivities, q)
	if err != nil {
		return nil, fmt.Errorf("find live activities: %w", err)
	}
	out := make([]*deliver.LiveRecord, 0, len(page.Docs))
	for _, d := range page.Docs {
		r, err := readLive(d)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Of implements deliver.LiveLedger.
func (l liveLedger) Of(ctx context.Context, workspace, activity string, limit int) ([]*deliver.LiveRecord, error) {
	return l.find(ctx, store.Query{Limit: limit, Filter: store.Filter{All: []store.Filter{
		{Path: "workspace", Op: store.Eq, Value: workspace}, {Path: "activity", Op: store.Eq, Value: activity},
	}}})
}

// ofInstall are the records of an install.
func (l liveLedger) ofInstall(ctx context.Context, workspace, install string) ([]*deliver.LiveRecord, error) {
	return l.find(ctx, store.Query{IDPrefix: workspace + "/" + install + "/"})
}

// Due implements deliver.LiveLedger.
func (l liveLedger) Due(ctx context.Context, now time.Time, limit int) (due []*deliver.LiveRecord, next time.Time, err error) {
	all, err := l.find(ctx, store.Query{Filter: store.Filter{Path: "due_us", Op: store.Gt, Value: int64(0)}, Sort: "due_us", Limit: limit + 1})
	if err != nil {
		return nil, time.Time{}, err
	}
	i := slices.IndexFunc(all, func(r *deliver.LiveRecord) bool { return r.DueUS > now.UnixMicro() })
	if i >= 0 {
		return all[:i], time.UnixMicro(all[i].DueUS).UTC(), nil
	}
	return all, time.Time{}, nil
}

// livePhones implements deliver.LivePhones.
type livePhones struct{ a *App }

// Phone implements deliver.LivePhones.
func (p livePhones) Phone(ctx context.Context, workspace, install string) (*deliver.LivePhone, error) {
	in, err := readInstall(ctx, p.a.states, workspace, install)
	if err != nil || in == nil {
		return nil, err
	}
	return &deliver.LivePhone{App: in.Device.App, Profile: in.Profile, Tokens: in.Live}, nil
}

// Permit implements deliver.LivePhones: marketing needs its consent; a service that the
// person asked for (where is my order?) does not, as for campaigns. Who is not known, or
// no more, is sent nothing.
func (p livePhones) Permit(ctx context.Context, workspace, profile string, class engage.Class) (engage.Reason, error) {
	_, body, err := p.a.now(ctx, workspace, profile)
	if err != nil {
		return "", err
	}
	if body == nil {
		return "unknown", nil
	}
	if w := p.a.catalog.Now().Workspaces[workspace]; w != nil && w.Stop.Of(class) {
		return "stopped", nil
	}
	if class != engage.Marketing {
		return "", nil
	}
	var person struct {
		Consents map[engage.Purpose]engage.Consent `json:"consents"`
	}
	if err := json.Unmarshal(body, &person); err != nil {
		return "", fmt.Errorf("decode consents: %w", err)
	}
	if !person.Consents[engage.ConsentMarketing].Granted {
		return engage.ReasonConsent, nil
	}
	return "", nil
}

// Same implements deliver.LivePhones.
func (p livePhones) Same(ctx context.Context, workspace, a, b string) (bool, error) {
	if a == b {
		return true, nil
	}
	return owners(p).Same(ctx, workspace, a, b)
}

// lives is Live Activities as the API sees them.
type lives struct{ a *App }

func liveOrder(o *api.LiveOrder) *deliver.LiveOrder {
	return &deliver.LiveOrder{
		Workspace: o.Workspace, App: o.App, Activity: o.Activity, Type: o.Type, Class: o.Class,
		Step: deliver.LiveStep{
			Event: o.Event, Attributes: o.Attributes, State: o.State, Title: o.Title, Body: o.Body, Sound: o.Sound,
			Relevance: o.Relevance, High: o.High, StaleAt: o.StaleAt, DismissAt: o.DismissAt, ExpiresAt: o.ExpiresAt,
		},
	}
}

// Check implements api.LiveActivities.
func (l lives) Check(o *api.LiveOrder) error { return l.a.lives.Check(liveOrder(o)) }

// Order implements api.LiveActivities.
func (l lives) Order(ctx context.Context, o *api.LiveOrder, installs []string) ([]api.LiveResult, error) {
	do := l.a.lives.Change
	if o.Event == "start" {
		do = l.a.lives.Start
	}
	all, err := do(ctx, liveOrder(o), installs)
	if err != nil {
		return nil, err
	}
	out := make([]api.LiveResult, 0, len(all))
	for _, r := range all {
		x := api.LiveResult{Install: r.Install, Person: r.Profile, State: string(r.State), Done: r.Done, Why: r.Why}
		if r.Attempt != nil {
			x.Attempt = new(api.LiveAttempt(*r.Attempt))
		}
		out = append(out, x)
	}
	return out, nil
}

// Of implements api.LiveActivities.
func (l lives) Of(ctx context.Context, workspace, activity string) ([]api.LiveOnPhone, error) {
	all, err := l.a.lives.Of(ctx, workspace, activity)
	if err != nil {
		return nil, err
	}
	return liveViews(all), nil
}

// OfInstall implements api.LiveActivities.
func (l lives) OfInstall(ctx context.Context, workspace, install string) ([]api.LiveOnPhone, error) {
	all, err := liveLedger{l.a.hot, l.a.o.Clock}.ofInstall(ctx, workspace, install)
	if err != nil {
		return nil, err
	}
	out := liveViews(all)
	in, err := readInstall(ctx, l.a.states, workspace, install)
	if err != nil || in == nil {
		return out, err
	}
	now := l.a.o.Clock.Now()
	for i := range in.Live {
		t := &in.Live[i]
		if t.Activity == "" || now.Sub(t.Push.At) >= engage.LiveFor {
			continue
		}
		at := slices.IndexFunc(out, func(v api.LiveOnPhone) bool { return v.Activity == t.Activity })
		if at < 0 { // the app began it, and nothing was sent to it
			at = len(out)
			out = append(out, api.LiveOnPhone{
				Activity: t.Activity, Install: install, App: in.Device.App, Person: in.Profile, Type: t.Type,
				State: string(deliver.LiveStarted), Since: t.Push.At, Attempts: []api.LiveAttempt{},
			})
		}
		out[at].Token = t.Push.Dead == ""
	}
	slices.SortStableFunc(out, func(a, b api.LiveOnPhone) int { return strings.Compare(a.Activity, b.Activity) })
	return out, nil
}

func liveViews(all []*deliver.LiveRecord) []api.LiveOnPhone {
	out := make([]api.LiveOnPhone, 0, len(all))
	for _, r := range all {
		v := api.LiveOnPhone{
			Activity: r.Activity, Install: r.Install, App: r.App, Person: r.Profile, Type: r.Type, State: string(r.State), Why: r.Reason,
			Waits: r.Next != nil, Since: r.CreatedAt, Attempts: make([]api.LiveAttempt, 0, len(r.Attempts)),
		}
		for _, a := range r.Attempts {
			v.Attempts = append(v.Attempts, api.LiveAttempt(a))
		}
		out = append(out, v)
	}
	return out
}
