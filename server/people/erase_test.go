package people_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/people"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// owners forget everybody but one.
type owners struct{ refuse string }

func (o owners) Forget(_ context.Context, s *people.Subject) error {
	if s.Profile == o.refuse {
		return errors.New("this one cannot be forgotten")
	}
	return nil
}
func (owners) Trim(context.Context) error { return nil }
func (owners) Disconnect(string, string)  {}

// An erasure that fails is tried again and stops no other.
func TestAnErasureThatFailsStopsNoOther(t *testing.T) {
	c := clock.NewManual(time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC))
	all := people.Collections()
	for _, name := range []string{"state_in", "timeline", "visits", "tracks", "decisions", "quarantine", "credentials", "deliveries", "inbox", "webhooks", "dropped"} {
		all = append(all, store.Collection{Name: name})
	}
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "x.db"), Collections: all, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	p, err := people.Open(t.Context(), people.Options{
		Hot: s, States: s, Engine: owners{"stuck"}, Hasher: people.NewHasher([]byte("key")), Clock: c,
		Logger: slog.New(slog.DiscardHandler), LogRetention: time.Hour, Scrub: func(context.Context) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	var receipts []*engage.Erasure
	for _, id := range []string{"stuck", "ada"} {
		e, err := p.Erase(t.Context(), &people.Subject{Workspace: "acme", Profile: id}, "key", "", false)
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, e)
		c.Advance(time.Second)
	}
	for late := time.Now().Add(30 * time.Second); ; {
		e, err := p.Erasure(t.Context(), "acme", receipts[1].ID)
		if err != nil {
			t.Fatal(err)
		}
		if e.State == engage.ErasureDone {
			break
		}
		if time.Now().After(late) {
			t.Fatal("an erasure waits for one that fails")
		}
		c.Advance(time.Second)
	}
	if e, err := p.Erasure(t.Context(), "acme", receipts[0].ID); err != nil || e.State != engage.ErasureRunning {
		t.Errorf("the one that fails: %+v, %v", e, err)
	}
	cancel()
	if err := errors.Join(<-done, s.Close()); err != nil {
		t.Error(err)
	}
}
