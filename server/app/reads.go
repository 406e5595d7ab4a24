package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/situate"
	"github.com/footfall-engage/footfall/server/store"
)

// reads shows the API what the stages have committed.
type reads struct{ a *App }

func badQuery(err error) error {
	if errors.Is(err, store.ErrBadQuery) {
		return &engage.Error{Code: engage.Invalid, Field: "cursor", Msg: "is not a cursor of this list", Err: err}
	}
	return err
}

func notFound(err error, field, what string) error {
	if errors.Is(err, store.ErrNotFound) {
		return engage.Errorf(engage.NotFound, field, "there is no %s", what)
	}
	return err
}

// page reads one page of a collection, each document decoded by read.
func page[T any](ctx context.Context, s store.Store, collection string, q store.Query, read func(store.Doc) (T, error)) (api.Page[T], error) {
	p, err := s.Find(ctx, collection, q)
	if err != nil {
		return api.Page[T]{}, badQuery(err)
	}
	out := api.Page[T]{Items: make([]T, 0, len(p.Docs)), Next: p.Next}
	for _, d := range p.Docs {
		v, err := read(d)
		if err != nil {
			return api.Page[T]{}, fmt.Errorf("decode %s %s: %w", collection, d.ID, err)
		}
		out.Items = append(out.Items, v)
	}
	return out, nil
}

func fromJSON[T any](d store.Doc) (v T, err error) {
	err = json.Unmarshal(d.Body, &v)
	return v, err
}

// Profile implements api.People.
func (r reads) Profile(ctx context.Context, workspace, id string) (json.RawMessage, error) {
	_, body, err := r.a.now(ctx, workspace, id)
	if err == nil && body == nil {
		err = notFound(store.ErrNotFound, "id", "such person")
	}
	return body, err
}

// ProfileOf implements api.People.
func (r reads) ProfileOf(ctx context.Context, workspace, identifier string) (string, error) {
	if install, ok := strings.CutPrefix(identifier, "install:"); ok {
		in, err := readInstall(ctx, r.a.states, workspace, install)
		if err != nil || in == nil {
			return engage.ProfileID(workspace, install), err
		}
		return in.Profile, nil
	}
	profile, body, err := r.a.now(ctx, workspace, engage.PersonID(workspace, identifier))
	if err != nil || body != nil {
		return profile, err
	}
	// An earlier build's binding, which nobody has proven since.
	doc, err := r.a.states.Get(ctx, "state_act", store.Key{Workspace: workspace, ID: "d:" + identifier})
	if err != nil {
		return "", notFound(err, "identifier", "person with this identifier")
	}
	b, err := fromJSON[decide.Binding](doc)
	if err != nil {
		return "", err
	}
	profile, _, err = r.a.now(ctx, workspace, b.Profile)
	return profile, err
}

// Profiles implements api.People.
func (r reads) Profiles(ctx context.Context, workspace, cursor string, limit int) (api.Page[json.RawMessage], error) {
	q := store.Query{
		Workspace: workspace, IDPrefix: "p:", Cursor: cursor, Limit: limit,
		Filter: store.Filter{Path: "redirect", Op: store.Absent}, // who has moved is shown as who they are
	}
	return page(ctx, r.a.states, "state_act", q, func(d store.Doc) (json.RawMessage, error) { return d.Body, nil })
}

// Decisions implements api.Decisions.
func (r reads) Decisions(ctx context.Context, workspace string, f api.DecisionFilter, cursor string, limit int) (api.Page[engage.Decision], error) {
	var all []store.Filter
	if f.Profile != "" {
		ids, err := r.everyID(ctx, workspace, f.Profile)
		if err != nil {
			return api.Page[engage.Decision]{}, err
		}
		all = append(all, oneOf("profile", ids))
	}
	for _, c := range []struct{ path, value string }{
		{"campaign", f.Campaign}, {"trigger.place", f.Place}, {"state", string(f.State)}, {"reason", string(f.Reason)},
	} {
		if c.value != "" {
			all = append(all, store.Filter{Path: c.path, Op: store.Eq, Value: c.value})
		}
	}
	if !f.From.IsZero() {
		all = append(all, store.Filter{Path: "at_us", Op: store.Ge, Value: f.From.UnixMicro()})
	}
	if !f.Before.IsZero() {
		all = append(all, store.Filter{Path: "at_us", Op: store.Lt, Value: f.Before.UnixMicro()})
	}
	q := store.Query{Workspace: workspace, Sort: "-at_us", Cursor: cursor, Limit: limit}
	if len(all) > 0 {
		q.Filter = store.Filter{All: all}
	}
	return page(ctx, r.a.states, "decisions", q, fromJSON[engage.Decision])
}

// Whereabouts implements api.Positions.
func (r reads) Whereabouts(ctx context.Context, workspace string, limit int) ([]api.Whereabouts, bool, error) {
	p, err := page(ctx, r.a.states, "state_in", store.Query{Workspace: workspace, IDPrefix: "i:", Limit: limit}, fromJSON[situate.Install])
	if err != nil {
		return nil, false, err
	}
	out := make([]api.Whereabouts, 0, len(p.Items))
	for _, in := range p.Items {
		w := api.Whereabouts{
			Install: in.Install, Profile: in.Profile, Platform: in.Device.Platform, Lifecycle: in.Device.Lifecycle,
			Precise: in.Agrees(engage.ConsentLocationPrecise), Cell: in.Coarse, At: in.Device.SeenAt,
		}
		if in.Fix != nil {
			pos := geo.Point(in.Fix.Pos)
			w.Fix, w.AccuracyM, w.At = &pos, in.Fix.AccuracyM, in.Fix.At
		}
		w.Places = in.Places()
		out = append(out, w)
	}
	return out, p.Next != "", nil
}

// Quarantine implements api.Operations.
func (r reads) Quarantine(ctx context.Context, workspace, cursor string, limit int) (api.Page[api.Quarantined], error) {
	q := store.Query{Workspace: workspace, Cursor: cursor, Limit: limit}
	return page(ctx, r.a.states, "quarantine", q, func(d store.Doc) (api.Quarantined, error) {
		x, err := fromJSON[partition.Quarantined](d)
		return api.Quarantined{ID: d.ID, Partition: x.Partition, Seq: x.Seq, Kind: x.Kind, Key: x.Key, At: x.At, Reason: x.Reason}, err
	})
}

// Requeue implements api.Operations.
func (r reads) Requeue(ctx context.Context, workspace, id string) error {
	for _, p := range r.a.partitions() {
		if strings.HasPrefix(id, p.Name()+"/") {
			return notFound(p.Requeue(ctx, workspace, id), "id", "such entry in quarantine")
		}
	}
	return engage.Errorf(engage.NotFound, "id", "there is no such entry in quarantine")
}

// Alarms implements api.Operations.
func (r reads) Alarms(ctx context.Context, cursor string, limit int) (api.Page[api.Alarm], error) {
	q := store.Query{Workspace: store.System, Sort: "-at", Cursor: cursor, Limit: limit}
	return page(ctx, r.a.states, "alarms", q, func(d store.Doc) (api.Alarm, error) {
		x, err := fromJSON[partition.Alarm](d)
		return api.Alarm{Partition: x.Partition, Kind: x.Kind, Text: x.Text, At: x.At}, err
	})
}

// outcomes appends what deliver has to say to the partitions.
type outcomes struct{ r *router }

// Outcome implements deliver.Outcomes.
func (o outcomes) Outcome(ctx context.Context, workspace, profile string, out engage.DeliveryOutcome) error {
	return appendJSON(ctx, o.r.actOf, engage.ProfileKey(workspace, profile), engage.KindOutcome, out)
}

// TokenDead implements deliver.Outcomes.
func (o outcomes) TokenDead(ctx context.Context, workspace string, t engage.TokenDead) error {
	return appendJSON(ctx, o.r.inOf, engage.InstallKey(workspace, t.Install), engage.KindTokenDead, t)
}

// TokenEnvironment implements deliver.Outcomes.
func (o outcomes) TokenEnvironment(ctx context.Context, workspace string, t engage.TokenEnvironment) error {
	return appendJSON(ctx, o.r.inOf, engage.InstallKey(workspace, t.Install), engage.KindTokenEnv, t)
}

func appendJSON(ctx context.Context, of func(string) *partition.Partition, key string, kind engage.Kind, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", kind, err)
	}
	return of(key).Append(ctx, []engage.Entry{{Kind: kind, Key: key, Body: body}})
}

// permits checks before a message leaves whether it still may.
type permits struct {
	states  store.Store
	catalog *catalog.Catalog
	answers *answers
}

// Permit implements deliver.Permits. The person's committed state, which is asked where
// the newest answer is not remembered, may be older than the decision, which then knows
// better: only a withdrawal after it counts. Of the configuration the newest holds, whatever
// the decision had.
func (p permits) Permit(ctx context.Context, s *engage.Send) (engage.Reason, error) {
	now := p.catalog.Now()
	if w := now.Workspaces[s.Workspace]; w != nil && w.Stop.Of(s.Class) {
		return engage.ReasonSendStopped, nil
	}
	if c := now.Campaign(s.Workspace, s.Campaign); c == nil || c.Status != engage.Live {
		return engage.ReasonSendPaused, nil
	}
	if s.Class != engage.Marketing {
		return "", nil
	}
	if x, known := p.answers.find(engage.ProfileKey(s.Workspace, s.Profile)); known {
		if x.withdrawn.After(s.DecidedAt) {
			return engage.ReasonConsent, nil
		}
		return "", nil
	}
	var none moves // as the committed state has it
	_, body, err := none.now(ctx, p.states, s.Workspace, s.Profile)
	if err != nil || body == nil {
		return "", err
	}
	var person struct {
		Consents map[engage.Purpose]struct {
			Granted bool      `json:"granted"`
			At      time.Time `json:"at"`
		} `json:"consents"`
	}
	if err := json.Unmarshal(body, &person); err != nil {
		return "", fmt.Errorf("decode consents: %w", err)
	}
	if c, ok := person.Consents[engage.ConsentMarketing]; ok && !c.Granted && c.At.After(s.DecidedAt) {
		return engage.ReasonConsent, nil
	}
	return "", nil
}
