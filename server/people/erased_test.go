package people_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/people"
)

// crowded are owners that forget only when several are asked for at a time.
type crowded struct {
	owners

	mu           sync.Mutex
	inside, most int
	met          chan struct{} // closed when enough have been inside together
}

func (c *crowded) Forget(ctx context.Context, _ *people.Subject) error {
	c.mu.Lock()
	c.inside++
	if c.most = max(c.most, c.inside); c.most == 8 {
		select {
		case <-c.met:
		default:
			close(c.met)
		}
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.inside--
	}()
	select {
	case <-c.met:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Many erasures run side by side, eight at a time: they wait for their second look
// together, and the files are scrubbed once for many.
func TestManyErasuresRunSideBySide(t *testing.T) {
	c := clock.NewManual(time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC))
	engine := &crowded{met: make(chan struct{})}
	scrubs := 0
	p, s := service(t, c, engine, func(o *people.Options) {
		o.Scrub = func(context.Context) error { scrubs++; return nil }
	})
	const n = 100
	var ids []string
	for i := range n {
		e, err := p.Erase(t.Context(), &people.Subject{Workspace: "acme", Profile: fmt.Sprint("p", i)}, "key", "", false)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	for late := time.Now().Add(30 * time.Second); len(ids) > 0; {
		e, err := p.Erasure(t.Context(), "acme", ids[0])
		if err != nil {
			t.Fatal(err)
		}
		if e.State == engage.ErasureDone {
			ids = ids[1:]
			continue
		}
		if time.Now().After(late) {
			t.Fatalf("%d erasures are not done; at most %d were together", len(ids), engine.most)
		}
		c.Advance(100 * time.Millisecond)
	}
	cancel()
	if err := errors.Join(<-done, s.Close()); err != nil {
		t.Error(err)
	}
	if engine.most != 8 || scrubs > n/10 {
		t.Errorf("at most %d together, want 8; the files were scrubbed %d times", engine.most, scrubs)
	}
}

// What was sent in before an erasure is of the erased person, what comes after is not; a
// restart knows the same, and other workspaces nothing of it.
func TestAnErasureIsKnownByWhenThingsWereSentIn(t *testing.T) {
	c := clock.NewManual(time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC))
	p, s := service(t, c, owners{})
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	at := c.Now()
	if p.Erased("acme", "user_id:ada", at) {
		t.Error("nobody has been erased yet")
	}
	subject := &people.Subject{Workspace: "acme", Profile: "p1", Absorbed: []string{"p2"}, Identifiers: []string{"user_id:ada", "email:ada@example.com"}}
	if _, err := p.Erase(t.Context(), subject, "key", "", false); err != nil {
		t.Fatal(err)
	}
	check := func(p *people.Service) {
		t.Helper()
		for _, name := range []string{"user_id:ada", "email:ada@example.com", "p1", "p2"} {
			if !p.Erased("acme", name, at) || !p.Erased("acme", name, at.Add(-time.Hour)) {
				t.Errorf("%s was sent in before, and is not erased", name)
			}
			if p.Erased("acme", name, at.Add(time.Microsecond)) || p.Erased("rival", name, at) {
				t.Errorf("%s is erased later, or elsewhere", name)
			}
		}
		if p.Erased("acme", "user_id:ben", at) {
			t.Error("Ben has never been erased")
		}
	}
	check(p)
	again, err := people.Open(t.Context(), people.Options{
		Hot: s, States: s, Engine: owners{}, Hasher: people.NewHasher([]byte("key")), Clock: c,
		Logger: slog.New(slog.DiscardHandler), LogRetention: time.Hour, Scrub: func(context.Context) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	check(again)
	c.Advance(people.ErasedFor + time.Hour)
	for _, profile := range []string{"p8", "p9"} {
		if _, err := again.Erase(t.Context(), &people.Subject{Workspace: "acme", Profile: profile}, "key", "", false); err != nil {
			t.Fatal(err)
		}
		c.Advance(48 * time.Hour)
	}
	if again.Erased("acme", "user_id:ada", at) {
		t.Error("old erasures are never dropped")
	}
}
