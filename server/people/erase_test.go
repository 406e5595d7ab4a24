package people_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
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

func (owners) ListClaims(context.Context) error                                  { return nil }
func (owners) Disclaim(context.Context, string, engage.Disclaim, []string) error { return nil }
func (owners) Trim(context.Context) error                                        { return nil }
func (owners) Disconnect(string, string)                                         {}

// service is one on a store of its own, and the store.
func service(t *testing.T, c clock.Clock, engine people.Engine, with ...func(*people.Options)) (*people.Service, store.Store) {
	t.Helper()
	all := people.Collections()
	for _, name := range []string{"state_in", "state_act", "timeline", "visits", "tracks", "decisions", "snapshots", "reservations", "redemptions", "offer_uses", "quarantine", "credentials", "deliveries", "inbox", "webhooks", "dropped", "live_activities", "claims"} {
		all = append(all, store.Collection{Name: name})
	}
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "x.db"), Collections: all, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	o := people.Options{
		Hot: s, States: s, Engine: engine, Hasher: people.NewHasher([]byte("key")), Clock: c,
		Logger: slog.New(slog.DiscardHandler), LogRetention: time.Hour, Scrub: func(context.Context) error { return nil },
	}
	for _, f := range with {
		f(&o)
	}
	p, err := people.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p, s
}

// An erasure that fails is tried again and stops no other.
func TestAnErasureThatFailsStopsNoOther(t *testing.T) {
	c := clock.NewManual(time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC))
	p, s := service(t, c, owners{"stuck"})
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

// forgetful are owners that write, while they forget, that one more has come in.
type forgetful struct {
	owners
	forgotten map[string]bool
	meanwhile func()
}

func (f *forgetful) Forget(_ context.Context, s *people.Subject) error {
	for _, id := range s.Profiles() {
		f.forgotten[id] = true
	}
	if f.meanwhile != nil {
		f.meanwhile()
		f.meanwhile = nil
	}
	return nil
}

// A person's state remembers only so many of the profiles that became them, and one may
// come in while they are erased: the history tells of all.
func TestAnErasureFindsProfilesThatTheStateDoesNotName(t *testing.T) {
	c := clock.NewManual(time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC))
	engine := &forgetful{forgotten: map[string]bool{}}
	p, s := service(t, c, engine)
	n := 0
	workspace := "acme"
	put := func(collection, id string, body any) {
		t.Helper()
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(t.Context(), store.Batch{Puts: []store.Put{{Collection: collection, Key: store.Key{Workspace: workspace, ID: id}, Body: b}}}); err != nil {
			t.Fatal(err)
		}
	}
	entry := func(profile string, kind engage.Kind, data string) {
		t.Helper()
		n++
		put("timeline", fmt.Sprintf("p:%s/%d", profile, n), engage.TimelineEntry{V: 1, Profile: profile, Kind: kind, Data: json.RawMessage(data)})
	}
	entry("ada", engage.KindAbsorb, `{"profile":"old","identifier":"user_id:countess"}`)
	entry("old", engage.KindAbsorb, `{"profile":"older"}`)
	entry("older", engage.KindTouch, `{}`)
	entry("ben", engage.KindAbsorb, `{"profile":"bens"}`)
	entry("bens", engage.KindTouch, `{}`)
	put("visits", "1", map[string]any{"v": 1, "profile": "older"})
	put("visits", "2", map[string]any{"v": 1, "profile": "bens"})
	put("visits", "3", map[string]any{"v": 1, "profile": "late"})
	// Records that cannot be read, of this workspace and of another.
	workspace = store.System
	for i, key := range []string{engage.ProfileKey("acme", "old"), engage.ProfileKey("acme", "bens"), engage.ProfileKey("rival", "old")} {
		put("quarantine", fmt.Sprint(i), map[string]any{"v": 1, "record": []byte(`[{"key":"` + key + `","body":`)})
	}
	workspace = "acme"
	engine.meanwhile = func() {
		entry("ada", engage.KindAbsorb, `{"profile":"late"}`)
		entry("late", engage.KindTouch, `{}`)
	}

	var export bytes.Buffer
	if err := p.Export(t.Context(), &people.Subject{Workspace: "acme", Profile: "ada"}, &export); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(export.Bytes()) || !strings.Contains(export.String(), `"older"`) || strings.Contains(export.String(), "ben") {
		t.Errorf("exported: %s", export.String())
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	e, err := p.Erase(t.Context(), &people.Subject{Workspace: "acme", Profile: "ada"}, "key", "", false)
	if err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(30 * time.Second); e.State != engage.ErasureDone; {
		if time.Now().After(late) {
			t.Fatal("the erasure is not done")
		}
		c.Advance(time.Second)
		if e, err = p.Erasure(t.Context(), "acme", e.ID); err != nil {
			t.Fatal(err)
		}
	}
	for _, profile := range []string{"ada", "old", "older", "late"} {
		if !engine.forgotten[profile] {
			t.Errorf("the owners were not asked to forget %s", profile)
		}
	}
	var left []string
	for _, collection := range []string{"timeline", "visits", "quarantine"} {
		if err := s.Iterate(t.Context(), collection, store.Query{}, func(d store.Doc) error {
			left = append(left, collection+" "+d.ID)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"timeline p:ben/4", "timeline p:bens/5", "visits 2", "quarantine 1", "quarantine 2"}; !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
	cancel()
	if err := errors.Join(<-done, s.Close()); err != nil {
		t.Error(err)
	}
}
