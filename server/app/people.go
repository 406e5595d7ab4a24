package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/people"
	"github.com/footfall-engage/footfall/server/store"
)

// openPeople wires what persons may ask for.
func (a *App) openPeople(ctx context.Context) error {
	err := a.newClaims(ctx)
	if err != nil {
		return err
	}
	a.people, err = people.Open(ctx, people.Options{
		Hot: a.hot, States: a.states, Engine: forgetting{a}, Hasher: people.NewHasher(a.sealer.Derive("people")), Clock: a.o.Clock, Logger: a.log,
		LogRetention: time.Duration(a.o.Config.RetentionDays) * 24 * time.Hour, Scrub: a.scrub,
	})
	return err
}

// scrubber is a store whose files keep what was deleted until they are scrubbed.
type scrubber interface {
	Scrub(ctx context.Context) error
}

// scrub has nothing of what was deleted left in the stores' files. What has expired is
// not seen by whoever deletes, and goes first.
func (a *App) scrub(ctx context.Context) error {
	var errs []error
	for _, s := range a.stores() {
		for n := purgePortion; n == purgePortion && ctx.Err() == nil; {
			var err error
			if n, err = s.Purge(ctx, purgePortion); err != nil {
				errs = append(errs, err)
				break
			}
		}
		if x, can := s.(scrubber); can {
			errs = append(errs, x.Scrub(ctx))
		}
	}
	return errors.Join(errs...)
}

// forgetting is the engine as package people sees it.
type forgetting struct{ a *App }

// Disconnect implements people.Engine.
func (f forgetting) Disconnect(workspace, install string) { f.a.gateway.Forget(workspace, install) }

// Forget implements people.Engine.
func (f forgetting) Forget(ctx context.Context, s *people.Subject) error {
	// Rows of uploads that were read before the erasure was known stand before it.
	if err := f.a.uploads.Landed(ctx); err != nil {
		return fmt.Errorf("wait for rows of uploads: %w", err)
	}
	body, err := json.Marshal(engage.Erase{Profiles: s.Profiles()})
	if err != nil {
		return fmt.Errorf("encode erase: %w", err)
	}
	act, in := s.Keys()
	// The installs first: what they have sent on stands before the erasure of the
	// profile, or comes too late to be about anybody.
	for _, step := range []struct {
		keys []string
		of   func(string) *partition.Partition
	}{{in, f.a.router.inOf}, {act, f.a.router.actOf}} {
		if err := appendAndSave(ctx, step.keys, step.of, engage.KindErase, body); err != nil {
			return err
		}
	}
	return nil
}

// Trim implements people.Engine. A partition of which nobody has anything to say keeps
// its last record: it is given one that says nothing.
func (f forgetting) Trim(ctx context.Context) error {
	nobody := engage.Entry{Kind: engage.KindErase, Key: engage.InstallKey(engage.SystemWorkspace, "nobody"), Body: []byte("{}")}
	for _, p := range f.a.partitions() {
		if err := p.Append(ctx, []engage.Entry{nobody}); err != nil {
			return fmt.Errorf("append to %s: %w", p.Name(), err)
		}
		if err := reached(ctx, p, p.Stats().Landed); err != nil {
			return err
		}
		if err := p.Flush(ctx); err != nil {
			return fmt.Errorf("save %s: %w", p.Name(), err)
		}
	}
	return nil
}

// appendAndSave appends an entry for each key and returns when the partitions have
// applied them, sent on what came of it, and saved.
func appendAndSave(ctx context.Context, keys []string, of func(string) *partition.Partition, kind engage.Kind, body []byte) error {
	by := map[*partition.Partition][]engage.Entry{}
	for _, k := range keys {
		by[of(k)] = append(by[of(k)], engage.Entry{Kind: kind, Key: k, Body: body})
	}
	for p, entries := range by {
		landed := make(chan error, 1)
		var at uint64
		err := p.AppendAsync(entries, func(seq uint64, err error) {
			at = seq
			landed <- err
		})
		if err == nil {
			err = wait(ctx, landed)
		}
		if err != nil {
			return fmt.Errorf("append %s: %w", kind, err)
		}
		if err := reached(ctx, p, at); err != nil {
			return err
		}
		if err := p.Flush(ctx); err != nil {
			return fmt.Errorf("save %s: %w", p.Name(), err)
		}
	}
	return nil
}

func wait(ctx context.Context, c <-chan error) error {
	select {
	case err := <-c:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reached waits until a partition has applied a record and its outputs have left.
func reached(ctx context.Context, p *partition.Partition, seq uint64) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if s := p.Stats(); s.Position >= seq && s.Outstanding == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// subject is all that a person goes by, from the committed
// state of the profile.
func (r reads) subject(ctx context.Context, workspace, profile string) (*people.Subject, error) {
	raw, err := r.Profile(ctx, workspace, profile)
	if err != nil {
		return nil, err
	}
	var p struct {
		ID          string                     `json:"id"`
		Identifiers []string                   `json:"identifiers"`
		Absorbed    []string                   `json:"absorbed"`
		Devices     map[string]json.RawMessage `json:"devices"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("decode profile: %w", err)
	}
	s := &people.Subject{Workspace: workspace, Profile: p.ID, Absorbed: p.Absorbed, Identifiers: p.Identifiers}
	for id := range p.Devices {
		s.Installs = append(s.Installs, id)
	}
	slices.Sort(s.Installs)
	return s, r.addShadows(ctx, s)
}

// addShadows adds the profiles that have taken what public keys said of the person's
// browsers: it was the person, for all that anybody knows.
func (r reads) addShadows(ctx context.Context, s *people.Subject) error {
	for _, id := range s.Profiles() {
		d, err := r.a.states.Get(ctx, "state_act", store.Key{Workspace: s.Workspace, ID: "p:" + id})
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read profile: %w", err)
		}
		x, err := fromJSON[struct {
			Shadow decide.Shadow `json:"shadow"`
		}](d)
		if err != nil {
			return fmt.Errorf("decode profile: %w", err)
		}
		if x.Shadow.Used {
			s.Absorbed = append(s.Absorbed, x.Shadow.ID(s.Workspace, id))
		}
	}
	return nil
}

// privacy answers the API.
type privacy struct{ a *App }

func (p privacy) subject(ctx context.Context, workspace, profile string) (*people.Subject, error) {
	return reads(p).subject(ctx, workspace, profile)
}

// Export implements api.Privacy.
func (p privacy) Export(ctx context.Context, workspace, profile string) (func(context.Context, io.Writer) error, error) {
	s, err := p.subject(ctx, workspace, profile)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, w io.Writer) error { return p.a.people.Export(ctx, s, w) }, nil
}

// Erase implements api.Privacy.
func (p privacy) Erase(ctx context.Context, workspace, profile, by, reason string, suppress bool) (*engage.Erasure, error) {
	s, err := p.subject(ctx, workspace, profile)
	if err != nil {
		return nil, err
	}
	return p.a.people.Erase(ctx, s, by, reason, suppress)
}

// Erasure implements api.Privacy.
func (p privacy) Erasure(ctx context.Context, workspace, id string) (*engage.Erasure, error) {
	return p.a.people.Erasure(ctx, workspace, id)
}

func pageOf[T any](items []T, next string, err error) (api.Page[T], error) {
	return api.Page[T]{Items: items, Next: next}, err
}

// Erasures implements api.Privacy.
func (p privacy) Erasures(ctx context.Context, workspace, identifier, cursor string, limit int) (api.Page[engage.Erasure], error) {
	return pageOf(p.a.people.Erasures(ctx, workspace, identifier, cursor, limit))
}

// Suppress implements api.Privacy.
func (p privacy) Suppress(ctx context.Context, workspace, identifier, by, reason string) (*engage.Suppression, error) {
	return p.a.people.Suppress(ctx, workspace, identifier, by, reason)
}

// Suppression implements api.Privacy.
func (p privacy) Suppression(ctx context.Context, workspace, identifier string) (*engage.Suppression, error) {
	return p.a.people.Suppression(ctx, workspace, identifier)
}

// Unsuppress implements api.Privacy.
func (p privacy) Unsuppress(ctx context.Context, workspace, identifier string) error {
	return p.a.people.Unsuppress(ctx, workspace, identifier)
}

// Suppressions implements api.Privacy.
func (p privacy) Suppressions(ctx context.Context, workspace, cursor string, limit int) (api.Page[engage.Suppression], error) {
	return pageOf(p.a.people.Suppressions(ctx, workspace, cursor, limit))
}

// Suppressed implements api.Privacy.
func (p privacy) Suppressed(workspace, identifier string) bool {
	return p.a.people.Suppressed(workspace, identifier)
}

// Looked implements api.Privacy.
func (p privacy) Looked(ctx context.Context, workspace string, x engage.Access, profiles ...string) error {
	return p.a.people.Looked(ctx, workspace, x, profiles...)
}

// Accesses implements api.Privacy.
func (p privacy) Accesses(ctx context.Context, workspace, profile, cursor string, limit int) (api.Page[engage.Access], error) {
	return pageOf(p.a.people.Accesses(ctx, workspace, profile, cursor, limit))
}
