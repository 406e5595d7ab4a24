package collect

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// listing writes what was dropped beside the answers: a store that is slow or away costs
// lines of the list, and no answer.
type listing struct {
	o       *Options
	metrics *metrics
	wake    chan struct{} // cap 1: something waits

	mu      sync.Mutex
	waiting []engage.Dropped

	written int // of run alone: lines since the list was trimmed
}

const (
	// maxWaiting is how much of the list may wait for the store.
	maxWaiting = 5000
	// maxWrite is how much of it is written at once.
	maxWrite = 500
	// writeWithin bounds one such write.
	writeWithin = 10 * time.Second
	// retryAfter is when a write that failed is tried again.
	retryAfter = time.Second
	// trimEvery is when the list is held to its length at the latest: others than we write
	// to it.
	trimEvery = time.Minute
)

func newListing(o *Options, m *metrics) *listing {
	return &listing{o: o, metrics: m, wake: make(chan struct{}, 1)}
}

// add puts drops of a key's request on the list. What no room is left for is counted.
func (l *listing) add(k *Key, at time.Time, touches map[*call]*engage.Touch, drops []drop) {
	if len(drops) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range drops {
		l.metrics.dropped.WithLabelValues(string(engage.CodeOf(d.err))).Inc()
		if len(l.waiting) >= maxWaiting {
			l.metrics.unlisted.Inc()
			continue
		}
		l.waiting = append(l.waiting, lineOf(k, at, touches, d))
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// lineOf is a line of the list: words of ours and names of fields, never a value that was
// sent.
func lineOf(k *Key, at time.Time, touches map[*call]*engage.Touch, d drop) engage.Dropped {
	out := engage.Dropped{
		V: 1, ID: droppedID(at), At: at, AtUS: at.UnixMicro(), Workspace: k.Workspace,
		From: engage.TouchSource{Kind: k.Source, Key: k.ID}, Message: d.message, Code: engage.CodeOf(d.err), Reason: d.err.Error(),
	}
	if e, ok := errors.AsType[*engage.Error](d.err); ok {
		out.Field, out.Reason = e.Field, e.Msg
	}
	if c := d.call; c != nil {
		out.Type = c.typ
		if c.at != "" && out.Field != "" {
			out.Field = c.at + "." + out.Field
		} else if c.at != "" {
			out.Field = c.at
		}
		if t := touches[c]; t != nil {
			out.From.Name = t.From.Name
			out.Profile = engage.PersonID(k.Workspace, t.Identifiers[0])
		}
	}
	out.Field, out.Reason = clip(out.Field, 200), clip(out.Reason, 300)
	return out
}

// droppedID sorts by time.
func droppedID(at time.Time) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (Go 1.24)
	return fmt.Sprintf("%016x-%s", at.UnixMicro(), hex.EncodeToString(b[:]))
}

// run writes until ctx ends, then what waits.
func (l *listing) run(ctx context.Context) error {
	trim, stopTrim := l.o.Clock.At(l.o.Clock.Now().Add(trimEvery))
	defer func() { stopTrim() }()
	for {
		select {
		case <-l.wake:
		case <-trim:
			l.trim(ctx)
			trim, stopTrim = l.o.Clock.At(l.o.Clock.Now().Add(trimEvery))
		case <-ctx.Done():
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeWithin)
			defer cancel()
			for l.write(bounded) {
			}
			return nil
		}
		for l.write(ctx) {
		}
		if l.left() > 0 { // it failed
			due, stop := l.o.Clock.At(l.o.Clock.Now().Add(retryAfter))
			select {
			case <-due:
				l.poke()
			case <-ctx.Done():
			}
			stop()
			continue
		}
		if l.written >= max(l.o.Limits.MaxDropped/10, 1) {
			l.trim(ctx)
		}
	}
}

func (l *listing) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *listing) left() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// write writes a portion, and reports whether there may be another. What could not be
// written waits on.
func (l *listing) write(ctx context.Context) (more bool) {
	l.mu.Lock()
	n := min(len(l.waiting), maxWrite)
	portion := slices.Clone(l.waiting[:n])
	l.mu.Unlock()
	if n == 0 {
		return false
	}
	bounded, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	if err := l.o.List.Put(bounded, portion, l.o.Limits.KeepDropped); err != nil {
		if ctx.Err() == nil {
			l.o.Logger.Warn("list of what was dropped is not written", slog.Int("lines", n), slog.Any("error", err))
		}
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = slices.Delete(l.waiting, 0, n)
	l.written += n
	return true
}

// trim holds the list to its length.
func (l *listing) trim(ctx context.Context) {
	if err := l.o.List.Trim(ctx, l.o.Limits.MaxDropped); err == nil {
		l.written = 0
	} else if ctx.Err() == nil {
		l.o.Logger.Warn("list of what was dropped is not trimmed", slog.Any("error", err))
	}
}
