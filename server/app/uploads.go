package app

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/uploads"
)

// openUploads reads the uploads that earlier processes have left.
func (a *App) openUploads() (err error) {
	a.uploads, err = uploads.New(uploads.Options{
		Dir: filepath.Join(a.o.Config.DataDir, "uploads"), Sync: a.o.Config.Durability == config.Power,
		Log: &uploadLog{router: a.router, last: map[*partition.Partition][inFlight]uint64{}}, Clock: a.o.Clock, Logger: a.log,
		Suppressed: a.people.Suppressed,
		Attributes: func(workspace string) map[string]rules.Type { return a.catalog.Now().Attributes(workspace) },
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
	last map[*partition.Partition][inFlight]uint64 // where the newest portions stand, the newest first
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
			last[0] = p.Stats().Landed
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
	last := l.last[p][inFlight-1]
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
