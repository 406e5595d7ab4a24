package app

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
)

// A log on other machines can lose its majority while nobody writes, can be given
// to a second server, and can be told a change by the command line. So each server
// claims it at its start by a record in the stream of its identity, and asks that
// stream from then on: whether it answers, and whether somebody has claimed it
// since. The newest server owns the log, whatever its store is.
const (
	watchEvery  = 3 * time.Second
	watchWithin = 5 * time.Second // for one round of questions
)

// logWatch asks; it is nil for an embedded log, which has a folder's lock.
type logWatch struct {
	claims eventlog.Stream
	mine   uint64 // sequence of our claim

	mu    sync.Mutex
	why   string // why the log cannot be used; empty when it can
	since time.Time
}

// claimLog makes this server the log's owner.
func (a *App) claimLog(ctx context.Context) error {
	s, err := a.eventlog.Open(ctx, "IDENTITY", "identity")
	if err != nil {
		return fmt.Errorf("claim the event log: %w", err)
	}
	body, err := json.Marshal(map[string]any{"v": 1, "at": a.o.Clock.Now(), "version": a.o.Version})
	if err != nil {
		return err
	}
	_, last, err := s.Bounds(ctx)
	if err != nil {
		return fmt.Errorf("claim the event log: %w", err)
	}
	// Right after what is there: a claim whose answer was lost, and which is made
	// again, must not land behind the second and look like another server's.
	mine, err := s.Append(ctx, "identity", body, int64(last)) //nolint:gosec // a claim per start
	if err != nil {
		return fmt.Errorf("claim the event log: %w", err)
	}
	a.watch = &logWatch{claims: s, mine: mine}
	return nil
}

// watchLog runs until ctx ends or another server owns the log.
func (a *App) watchLog(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		err := a.watch.ask(ctx)
		if e, ok := err.(*engage.Error); ok && e.Code == engage.Conflict { //nolint:errorlint // ask returns exactly this
			return err
		}
		if err == nil {
			within, cancel := context.WithTimeout(ctx, watchWithin)
			err = a.catalog.Refresh(within)
			cancel()
		}
		if ctx.Err() == nil && a.watch.note(err) {
			if err != nil {
				a.log.Warn("the event log cannot be used", "error", err)
			} else {
				a.log.Info("the event log can be used again")
			}
		}
	}
}

func (w *logWatch) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, watchWithin)
	defer cancel()
	_, last, err := w.claims.Bounds(ctx)
	if err == nil && last > w.mine {
		return engage.Errorf(engage.Conflict, "event_log", "another server has been started on this event log and owns it now")
	}
	return err
}

// note keeps what was found out, and reports whether that changed.
func (w *logWatch) note(err error) (changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.why
	w.why = ""
	if err != nil {
		w.why = err.Error()
	}
	if changed = (was == "") != (w.why == ""); changed {
		w.since = time.Now()
	}
	return changed
}

// trouble is why the log cannot be used; empty when it can.
func (w *logWatch) trouble() (why string, since time.Time) {
	if w == nil {
		return "", time.Time{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.why, w.since
}
