package app

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/uploads"
)

// openUploads reads the uploads that earlier processes have left.
func (a *App) openUploads() error {
	log, limits := &uploadLog{router: a.router, last: map[*partition.Partition][inFlight]landed{}}, a.o.Config.Uploads
	if err := a.registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "footfall_upload_rows_unapplied", Help: "Rows of uploads that are in the log and not in the profiles yet.",
	}, log.unapplied)); err != nil {
		return fmt.Errorf("metrics of uploads: %w", err)
	}
	var err error
	a.uploads, err = uploads.New(uploads.Options{
		Dir: filepath.Join(a.o.Config.DataDir, "uploads"), Sync: a.o.Config.Durability == config.Power,
		Log: log, Clock: a.o.Clock, Logger: a.log,
		Suppressed: a.people.Suppressed, Erased: a.people.Erased,
		Registerer: a.registry, RowsPerS: limits.RowsPerS, MaxBytes: limits.MaxBytes(), MaxSpooled: limits.WaitingBytes(), MaxOpen: limits.Open, Keep: limits.Keep(),
		Attributes: a.bindingTypes, Items: a.items,
		Catalogue: func(workspace, id string) *engage.Catalogue { return a.catalog.Now().Catalogue(workspace, id) },
	})
	return err
}

const (
	// inFlight is how many portions of uploads may be in a partition's log and not applied
	// yet: with one the partition would stand idle until the next has come.
	inFlight = 2
	// An upload goes on while a partition has so many records to apply, at most.
	mostBehind = 4
	// behindPoll is how often that is looked at; a batch takes some milliseconds.
	behindPoll = 2 * time.Millisecond
)

// uploadLog takes the rows of uploads to the persons' partitions, and lets live traffic
// go first.
type uploadLog struct {
	router *router

	mu   sync.Mutex
	last map[*partition.Partition][inFlight]landed // the newest portions, the newest first
}

// landed is where a portion stands in a partition's log, and of how many rows.
type landed struct {
	seq  uint64
	rows int
}

// unapplied is how many rows the partitions have not applied yet.
func (l *uploadLog) unapplied() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for p, last := range l.last {
		s := p.Stats()
		for _, x := range last {
			if x.seq > s.Position && x.seq <= s.Landed {
				n += x.rows
			}
		}
	}
	return float64(n)
}

// Append implements uploads.Log.
func (l *uploadLog) Append(ctx context.Context, entries []engage.Entry) error {
	by := map[*partition.Partition][]engage.Entry{}
	for _, e := range entries {
		p := l.router.actOf(e.Key)
		by[p] = append(by[p], e)
	}
	g, ctx := errgroup.WithContext(ctx)
	for p, es := range by {
		g.Go(func() error {
			if err := l.wait(ctx, p); err != nil {
				return err
			}
			if err := p.Append(ctx, es); err != nil {
				return err
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			last := l.last[p]
			copy(last[1:], last[:])
			last[0] = landed{p.Stats().Landed, len(es)}
			l.last[p] = last
			return nil
		})
	}
	return g.Wait()
}

// wait returns when the partition has applied what was appended before, but for the newest
// portions, of which one less than inFlight may be under way, and is not far behind with
// what else there is.
func (l *uploadLog) wait(ctx context.Context, p *partition.Partition) error {
	l.mu.Lock()
	last := l.last[p][inFlight-1].seq
	l.mu.Unlock()
	for {
		s := p.Stats()
		// A new incarnation of the stream counts anew.
		if applied := s.Position >= last || s.Landed < last; applied && s.Landed <= s.Position+mostBehind {
			return nil
		}
		t := time.NewTimer(behindPoll)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// bindingTypes are the types of attributes that bind whoever says one: what public keys
// alone have taught is not among them.
func (a *App) bindingTypes(workspace string) map[string]rules.Type {
	now := a.catalog.Now()
	w := now.Workspaces[workspace]
	if w == nil {
		return nil
	}
	types := maps.Clone(now.AttributesWith(w))
	for name := range doubtful(now, w) {
		delete(types, name)
	}
	return types
}
