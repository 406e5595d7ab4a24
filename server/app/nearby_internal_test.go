package app

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/situate"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

var nearbyNoon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func located(install string, at time.Time, p geo.Point) *situate.Install {
	return &situate.Install{
		V: 1, Install: install, Profile: "profile-" + install, Device: engage.Device{Platform: "ios", SeenAt: at},
		Consents: engage.ByPurpose[engage.Consent]{{Purpose: engage.ConsentLocationPrecise, Value: engage.Consent{Granted: true}}},
		Fix:      &situate.Fix{At: at, Pos: p, AccuracyM: 8},
	}
}

func nearbyFor(t *testing.T, s store.Store, log *strings.Builder) (*nearby, *clock.Manual) {
	t.Helper()
	c := clock.NewManual(nearbyNoon)
	return newNearby(s, config.Default().Live, c, slog.New(slog.NewTextHandler(log, nil))), c
}

// The state is right, whatever was known before: a fix that went back in time, a
// consent that went without a word about the fix, a clock in 2035.
func TestNearbyIsWhatTheStateSays(t *testing.T) {
	n, _ := nearbyFor(t, nil, &strings.Builder{})
	square := geo.Point{Lat: 52.52, Lng: 13.4}
	for _, step := range []struct {
		name  string
		state engage.State
		lat   float64 // 0: not there
	}{
		{"comes", located("a", nearbyNoon, square), 52.52},
		{"goes on", located("a", nearbyNoon.Add(time.Minute), geo.Point{Lat: 52.53, Lng: 13.4}), 52.53},
		{"its newest fix is an older one", located("a", nearbyNoon.Add(-time.Minute), square), 52.52},
		{"its fix is too old", located("a", nearbyNoon.Add(-time.Hour), square), 0},
		{"comes again", located("a", nearbyNoon, square), 52.52},
		{"is forgotten", nil, 0},
		{"a clock of 2035", located("a", nearbyNoon.AddDate(9, 0, 0), square), 0},
		{"comes once more", located("a", nearbyNoon, square), 52.52},
		{"consent is gone", func() engage.State {
			in := located("a", nearbyNoon, square)
			in.Consents = nil
			return in
		}(), 0},
		{"no position on Earth", located("a", nearbyNoon, geo.Point{Lat: 95}), 0},
		{"comes a last time", located("a", nearbyNoon, square), 52.52},
	} {
		n.observe("w/i:a", step.state)
		n.observe("w/w:881f1d4897fffff", &situate.Weather{})
		found, more := n.Nearest("w", square, 50_000, 10)
		switch {
		case more || len(found) > 1 || len(found) == 1 && step.lat == 0 || len(found) == 0 && step.lat > 0:
			t.Errorf("%s: %+v", step.name, found)
		case step.lat > 0:
			if got := found[0]; got.Install != "a" || got.Profile != "profile-a" || (got.DistanceM < 1) != (step.lat == 52.52) {
				t.Errorf("%s: %+v", step.name, got)
			}
		}
		if found, _ := n.Nearest("other", square, 50_000, 10); len(found) != 0 {
			t.Errorf("%s: in another workspace %+v", step.name, found)
		}
	}
}

// What is young enough is read from the store; a state that cannot be read is left
// out, and said once.
func TestNearbyIsLoadedFromTheStore(t *testing.T) {
	s, err := sqlite.Open(t.Context(), sqlite.Options{
		Path: filepath.Join(t.TempDir(), "states.db"), Collections: stateCollections(), Durability: string(config.Process), Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return nearbyNoon },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var b store.Batch
	put := func(ws, id string, body []byte) {
		b.Puts = append(b.Puts, store.Put{Collection: "state_in", Key: store.Key{Workspace: ws, ID: id}, Body: body, If: store.AnyVersion})
	}
	for i := range 300 { // one a second: the first 60 are too old
		in := located(fmt.Sprintf("p%03d", i), nearbyNoon.Add(-time.Duration(960-i)*time.Second+time.Duration(i)*time.Millisecond), geo.Point{Lat: 1, Lng: float64(i) / 1e4})
		body, err := in.Encode()
		if err != nil {
			t.Fatal(err)
		}
		put(fmt.Sprint("w", i%2), "i:"+in.Install, body)
	}
	put("w0", "i:broken", []byte(`{"v":1,"device":{"seen_at":"2026-11-21T12:00:00Z"},"accepted":"all"}`))
	put("w0", "i:future", []byte(`{"v":99,"device":{"seen_at":"2026-11-21T12:00:00Z"}}`))
	put("w0", "w:881f1d4897fffff", []byte(`{"v":1,"device":{"seen_at":"2026-11-21T12:00:00Z"}}`))
	put("w0", "i:nowhere", []byte(`{"v":1,"device":{"seen_at":"2026-11-21T12:00:00Z"}}`))
	if err := s.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	n, _ := nearbyFor(t, s, &log)
	for range 2 { // again changes nothing: a start may repeat it
		if err := n.load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := n.devices(); got != 240 {
			t.Errorf("%d live devices, want 240", got)
		}
	}
	for ws, first := range map[string]string{"w0": "p060", "w1": "p061"} {
		found, _ := n.Nearest(ws, geo.Point{Lat: 1, Lng: 0}, 50_000, 1000)
		if len(found) != 120 || found[0].Install != first { // the westernmost
			t.Errorf("%s: %d live devices", ws, len(found))
		}
	}
	if got := log.String(); strings.Count(got, "states=2") != 2 || !strings.Contains(got, "broken") {
		t.Errorf("log: %s", got)
	}
	profiles, err := n.ProfilesByID(t.Context(), "w0", nil)
	if err != nil || len(profiles) != 0 {
		t.Errorf("%v %v", profiles, err)
	}
}

// Persons are read in parts, of one workspace.
func TestNearbyReadsManyPersons(t *testing.T) {
	s, err := sqlite.Open(t.Context(), sqlite.Options{
		Path: filepath.Join(t.TempDir(), "states.db"), Collections: stateCollections(), Durability: string(config.Process), Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return nearbyNoon },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var b store.Batch
	var ids []string
	for i := range 2 * profilesAtOnce {
		id := fmt.Sprintf("%04d", i)
		ids = append(ids, id)
		for _, ws := range []string{"w0", "w1"} {
			if i%5 == 0 && ws == "w0" {
				continue
			}
			b.Puts = append(b.Puts, store.Put{Collection: "state_act", Key: store.Key{Workspace: ws, ID: "p:" + id}, Body: fmt.Appendf(nil, `{"id":%q,"ws":%q}`, id, ws), If: store.AnyVersion})
		}
	}
	if err := s.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	n, _ := nearbyFor(t, s, &strings.Builder{})
	got, err := n.ProfilesByID(t.Context(), "w0", append(ids, "nobody"))
	if err != nil || len(got) != 2*profilesAtOnce*4/5 {
		t.Fatalf("%d persons, %v", len(got), err)
	}
	for id, body := range got {
		if string(body) != fmt.Sprintf(`{"id":%q,"ws":"w0"}`, id) {
			t.Errorf("%s is %s", id, body)
		}
	}
}

// Partitions, questions, maps and expiry at once, for the race detector; at the
// end who is live is who should be.
func TestNearbyUnderFire(t *testing.T) {
	n, c := nearbyFor(t, nil, &strings.Builder{})
	ctx, cancel := context.WithCancel(t.Context())
	var expiry, partitions, askers sync.WaitGroup
	expiry.Go(func() {
		if err := n.run(ctx); err != nil {
			t.Error(err)
		}
	})
	const each = 200
	for p := range 2 {
		partitions.Go(func() {
			for round := range 20 {
				for i := range each {
					install := fmt.Sprintf("%d-%d", p, i)
					in := located(install, nearbyNoon.Add(time.Duration(round)*time.Second), geo.Point{Lat: 10 + float64((i*round)%90)/100, Lng: 20})
					if i%4 == 3 && round%2 == 1 {
						in.Fix = nil
					}
					n.observe(fmt.Sprintf("w%d/i:%s", i%3, install), in)
				}
			}
		})
	}
	done := make(chan struct{})
	for range 2 {
		askers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				ws := fmt.Sprint("w", i%3)
				found, _ := n.Nearest(ws, geo.Point{Lat: 10.4, Lng: 20}, 1e5, 50)
				for k := 1; k < len(found); k++ {
					if found[k].DistanceM < found[k-1].DistanceM {
						t.Error("not the nearest first")
					}
				}
				if _, _, err := n.Heat(ws); err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					c.Advance(time.Second)
				}
				if c.Now().After(nearbyNoon.Add(10 * time.Minute)) {
					return
				}
			}
		})
	}
	partitions.Wait()
	close(done)
	askers.Wait()
	if got := n.devices(); got != 2*each*3/4 {
		t.Errorf("%d live devices, want %d", got, 2*each*3/4)
	}
	c.Advance(time.Hour)
	for n.devices() > 0 && ctx.Err() == nil { // bounded by the test's own deadline
		c.Advance(time.Minute)
	}
	cancel()
	expiry.Wait()
}
