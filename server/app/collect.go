package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/collect"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/store"
)

// droppedCollection is engage.Dropped: what was answered as taken and had no effect. The
// tracking API writes it, and decide what it finds out later.
func droppedCollection() store.Collection {
	return store.Collection{Name: "dropped", Indexes: []store.Index{{Name: "at", Paths: []string{"at_us"}}}}
}

// openCollect makes the tracking API.
func (a *App) openCollect() (err error) {
	if a.collect, err = collect.New(collect.Options{
		Catalog: writeKeys{a.catalog}, Log: touchLog{a.router}, List: dropped{a.states, a.catalog}, Suppressed: a.people,
		Clock: a.o.Clock, Logger: a.log, Registerer: a.registry,
	}); err != nil {
		return fmt.Errorf("tracking API: %w", err)
	}
	return nil
}

// writeKeys is the catalogue as the tracking API sees it.
type writeKeys struct{ c *catalog.Catalog }

// WriteKey implements collect.Catalog.
func (w writeKeys) WriteKey(token string) (collect.Key, bool) {
	now := w.c.Now()
	k := now.WriteKeyByToken(token)
	if k == nil {
		return collect.Key{}, false
	}
	trusted := k.Kind == catalog.WriteServer
	out := collect.Key{
		ID: k.ID, Workspace: k.Workspace, Source: k.Source, Trusted: trusted, Revoked: k.Revoked(),
		RequestRate: float64(k.RequestsPerS), CallRate: float64(k.CallsPerS),
		IsTime: func(attribute string) bool { return isTime(now, k.Workspace, attribute, trusted) },
	}
	if len(k.Origins) > 0 {
		out.Allows = func(origin string) bool { return catalog.OriginAllowed(k.Origins, origin) }
	}
	return out, true
}

// Place implements collect.Catalog.
func (w writeKeys) Place(workspace, id string) bool { return w.c.Now().Place(workspace, id) != nil }

// touchLog takes touches to the partitions of their persons.
type touchLog struct{ r *router }

// AppendAsync implements collect.Log.
func (l touchLog) AppendAsync(entries []engage.Entry, done func(error)) error {
	if len(entries) == 1 {
		return busy(l.r.actOf(entries[0].Key).AppendAsync(entries, func(_ uint64, err error) { done(busy(err)) }))
	}
	shares := map[*partition.Partition][]engage.Entry{}
	for _, e := range entries {
		p := l.r.actOf(e.Key)
		shares[p] = append(shares[p], e)
	}
	all := &shared{left: len(shares), done: done}
	for p, share := range shares {
		if err := p.AppendAsync(share, func(_ uint64, err error) { all.landed(busy(err)) }); err != nil {
			all.landed(busy(err)) // the others may land: those who send it again use the same message ids
		}
	}
	return nil
}

// shared waits for the shares of an append.
type shared struct {
	mu   sync.Mutex
	left int
	errs []error
	done func(error)
}

func (s *shared) landed(err error) {
	s.mu.Lock()
	s.left--
	if err != nil {
		s.errs = append(s.errs, err)
	}
	last := s.left == 0
	err = errors.Join(s.errs...)
	s.mu.Unlock()
	if last {
		s.done(err)
	}
}

// dropped is the list of what was dropped.
type dropped struct {
	states  store.Store
	catalog *catalog.Catalog
}

// Put implements collect.List.
func (d dropped) Put(ctx context.Context, drops []engage.Dropped, keep time.Duration) error {
	var b store.Batch
	lines := store.NewTyped[engage.Dropped](d.states, "dropped")
	for _, x := range drops {
		p, err := lines.Put(store.Key{Workspace: x.Workspace, ID: x.ID}, x, store.AnyVersion, x.At.Add(keep))
		if err != nil {
			return err
		}
		b.Puts = append(b.Puts, p)
	}
	return d.states.Apply(ctx, b)
}

// Trim implements collect.List. What is too much goes in portions, so that it holds
// nobody else from writing for long.
func (d dropped) Trim(ctx context.Context, newest int) error {
	for workspace := range d.catalog.Now().Workspaces {
		if err := d.trim(ctx, workspace, newest); err != nil {
			return fmt.Errorf("workspace %s: %w", workspace, err)
		}
	}
	return nil
}

func (d dropped) trim(ctx context.Context, workspace string, newest int) error {
	const portion = 500
	n, err := d.states.Count(ctx, "dropped", store.Query{Workspace: workspace})
	if err != nil {
		return err
	}
	for over := int(n) - newest; over > 0; over -= portion {
		page, err := d.states.Find(ctx, "dropped", store.Query{Workspace: workspace, Sort: "at_us", Limit: min(over, portion)})
		if err != nil {
			return err
		}
		var b store.Batch
		for _, doc := range page.Docs {
			b.Deletes = append(b.Deletes, store.Delete{Collection: "dropped", Key: doc.Key})
		}
		if err := d.states.Apply(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// Dropped implements api.Dropped.
func (d dropped) Dropped(ctx context.Context, workspace string, f api.DroppedFilter, cursor string, limit int) (api.Page[engage.Dropped], error) {
	q := store.Query{Workspace: workspace, Sort: "-at_us", Cursor: cursor, Limit: limit}
	for path, value := range map[string]string{"code": string(f.Code), "from.key": f.Key} {
		if value != "" {
			q.Filter.All = append(q.Filter.All, store.Filter{Path: path, Op: store.Eq, Value: value})
		}
	}
	return page(ctx, d.states, "dropped", q, fromJSON[engage.Dropped])
}
