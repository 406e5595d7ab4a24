package media

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

const (
	tendEvery  = time.Minute
	retryFirst = time.Minute
	retryLast  = time.Hour
	// tendFetches is how many addresses are fetched in one round, one after the other.
	tendFetches = 100
)

// Run tends the library every minute until ctx ends.
func (l *Library) Run(ctx context.Context) error {
	for {
		if err := l.Tend(ctx); err != nil && ctx.Err() == nil {
			l.log.ErrorContext(ctx, "hosted images", "error", err) // the next round takes it up
		}
		next, stop := l.o.Clock.At(l.o.Clock.Now().Add(tendEvery))
		select {
		case <-next:
			stop()
		case <-ctx.Done():
			stop()
			return nil
		}
	}
}

// Tend fetches what campaigns lack, and removes what none has shown for the time of
// grace. An error is the shelf's; what was done stands.
func (l *Library) Tend(ctx context.Context) error {
	for _, s := range l.lacking() {
		if err := l.fetch(ctx, s); err != nil {
			return err
		}
	}
	return l.sweep(ctx)
}

// lacking are addresses that are shown and not hosted, whose time has come.
func (l *Library) lacking() []Shown {
	now := l.o.Clock.Now()
	shown := l.o.Shown()
	is := make(map[use]bool, len(shown))
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Shown
	for _, s := range shown {
		u := use{s.Workspace, s.Campaign, Source(s.Address)}
		if is[u] || l.uses[u] != "" {
			continue
		}
		is[u] = true
		if !now.Before(l.later[u].until) && len(out) < tendFetches {
			out = append(out, s)
		}
	}
	maps.DeleteFunc(l.later, func(u use, _ pause) bool { return !is[u] })
	return out
}

// fetch hosts an address. An error is the shelf's or the context's; a host's, or that
// it has no image, puts the address off.
func (l *Library) fetch(ctx context.Context, s Shown) error {
	u := use{s.Workspace, s.Campaign, Source(s.Address)}
	name, err := l.Take(ctx, s.Workspace, s.Address)
	if err == nil {
		if err = l.Use(ctx, s.Workspace, s.Campaign, map[string]string{s.Address: name}); err == nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.later, u)
		}
		return err
	}
	code := engage.CodeOf(err)
	if code != engage.Invalid && code != engage.TooLarge && code != engage.Unavailable {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.later[u]
	p.failures++
	wait := min(retryFirst<<min(p.failures-1, 10), retryLast)
	if code != engage.Unavailable {
		wait = retryLast // somebody has to put another image there
	}
	p.until = l.o.Clock.Now().Add(wait)
	l.later[u] = p
	if p.failures == 1 {
		l.log.LogAttrs(ctx, slog.LevelWarn, "image not hosted: messages carry its own address", slog.String("workspace", s.Workspace),
			slog.String("campaign", s.Campaign), slog.String("reason", err.Error()))
	}
	return nil
}

// sweep forgets uses that are no more, and images that nobody has used for the grace.
func (l *Library) sweep(ctx context.Context) error {
	l.change.Lock()
	defer l.change.Unlock()
	// Uses are said after their campaign is in the catalogue and under l.change: what is
	// not shown now, and was used before, is over.
	is := map[use]bool{}
	for _, s := range l.o.Shown() {
		is[use{s.Workspace, s.Campaign, Source(s.Address)}] = true
	}
	now := l.o.Clock.Now()
	var over []Use
	var gone, changed []Image
	l.mu.RLock()
	used := map[string]bool{}
	for u, name := range l.uses {
		if is[u] {
			used[name] = true
		} else {
			over = append(over, Use{u.workspace, u.campaign, u.source, name})
		}
	}
	for _, i := range l.images {
		switch {
		case used[i.Name] != i.Unused.IsZero():
			i.Unused = now
			if used[i.Name] {
				i.Unused = time.Time{}
			}
			changed = append(changed, i)
		case !i.Unused.IsZero() && now.Sub(i.Unused) > l.o.Grace:
			gone = append(gone, i)
		}
	}
	l.mu.RUnlock()
	for _, i := range changed {
		if err := l.put(ctx, i, nil); err != nil {
			return err
		}
	}
	const portion = 100
	for part := range slices.Chunk(over, portion) {
		if err := l.remove(ctx, nil, part); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(gone, portion) {
		if err := l.remove(ctx, part, nil); err != nil {
			return err
		}
		l.log.InfoContext(ctx, "hosted images removed that no campaign shows", "count", len(part))
	}
	return nil
}

// remove takes images and uses away; l.change is held.
func (l *Library) remove(ctx context.Context, images []Image, uses []Use) error {
	if err := l.o.Shelf.Remove(ctx, images, uses); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range images {
		delete(l.images, i.Name)
		l.bytes -= i.Bytes
		l.cache.remove(i.Name)
		l.metrics.removed.Inc()
	}
	for _, u := range uses {
		delete(l.uses, use{u.Workspace, u.Campaign, u.Source})
	}
	return nil
}
