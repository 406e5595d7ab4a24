package app_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// tape records what every partition applies.
type tape struct {
	mu      sync.Mutex
	records map[string][]eventlog.Message
}

func (r *tape) tap(partition string, m eventlog.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records[partition] = append(r.records[partition], m)
}

// dump is the content of the collections of a store, in order.
func dump(t *testing.T, s store.Store, collections ...string) string {
	t.Helper()
	var b strings.Builder
	for _, c := range collections {
		err := s.Iterate(t.Context(), c, store.Query{}, func(d store.Doc) error {
			fmt.Fprintf(&b, "%s %s/%s %s\n", c, d.Workspace, d.ID, d.Body)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

var decided = []string{"decisions", "timeline", "state_in", "state_act", "timers", "quarantine"}

// nowhere swallows outputs: the recorded streams hold what came of them.
type nowhere struct{}

func (nowhere) Route(to, _ string) string                             { return to }
func (nowhere) Deliver(context.Context, string, []engage.Entry) error { return nil }

// replay applies recorded streams to an empty store.
func replay(t *testing.T, r *tape, c *catalog.Catalog, at time.Time, mode partition.Mode, batch int) string {
	t.Helper()
	log, err := eventlog.OpenEmbedded(t.Context(), eventlog.EmbeddedOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, log)
	s, err := sqlite.Open(t.Context(), sqlite.Options{
		Path: filepath.Join(t.TempDir(), "replay.db"), Collections: app.AllCollections(), Now: func() time.Time { return at },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, s)
	for name, records := range r.records {
		kind, index, _ := strings.Cut(name, "/")
		stream, err := log.Open(t.Context(), strings.ToUpper(kind)+"_"+index, name[:len(kind)]+"."+index+".>")
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range records {
			if m.Seq != uint64(i+1) {
				t.Fatalf("%s: record %d has sequence %d: the tape has a hole", name, i+1, m.Seq)
			}
			if _, err := stream.Append(t.Context(), kind+"."+index+".replay", m.Data, -1); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name := range r.records {
		kind, index, _ := strings.Cut(name, "/")
		o := partition.Options{
			Kind: kind, Index: int(index[0] - '0'), Mode: mode, Log: log, Hot: s, States: s, MaxBatch: batch,
			Machine: app.MachineOf(kind), Configs: frozen{app.ConfigsOf(kind, c)}, Router: nowhere{}, Clock: clock.NewManual(at), Build: "replay",
		}
		p, err := partition.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		select {
		case <-p.Ready():
		case err := <-done:
			t.Fatalf("%s: %v", name, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	return dump(t, s, decided...)
}

// frozen shows no revision of its own: what is adopted stands in the streams.
type frozen struct{ partition.Configs }

func (frozen) Latest() uint64           { return 0 }
func (frozen) Changed() <-chan struct{} { return nil }

// The same recorded streams give the same decisions and traces, byte for byte,
// also with a place moved and a campaign paused half-way.
func TestTheSameStreamsGiveTheSameDecisions(t *testing.T) {
	r := &tape{records: map[string][]eventlog.Message{}}
	s := newStory(t, func(o *app.Options) { o.Tap = r.tap })
	s.place("cafe", cafe)
	s.place("shop", far)
	s.campaign("rainy-day", nil)
	s.campaign("hello", func(c map[string]any) {
		c["context"], c["limits"], c["priority"] = nil, map[string]any{"cap": 2, "cap_window_s": 3600}, 1
		c["holdout_percent"] = 30
		c["arms"] = []any{
			map[string]any{"id": "a", "message": map[string]any{"title": "Hello {{ profile.attributes.name | default: 'you' }}"}},
			map[string]any{"id": "b", "message": map[string]any{"title": "Hi", "channels": []string{"push", "inbox"}}},
		}
	})
	var people []*phone
	for i := range 12 {
		platform := []string{"android", "ios"}[i%2]
		p := s.phone(fmt.Sprintf("p%d", i), platform, nil)
		if i%5 != 4 {
			p.agree()
		}
		people = append(people, p.likes([]string{"fashion", "books"}[i%3/2]).background())
	}
	walk := func() {
		for i, p := range people {
			p.at([]geo.Point{cafe, far, {Lat: cafe.Lat + 0.001, Lng: cafe.Lng}}[i%3], 12).post()
			s.clock.Advance(7 * time.Second)
		}
		for _, p := range people {
			p.at(geo.Point{Lat: 52.5, Lng: 5.1}, 12).post()
			s.clock.Advance(11 * time.Second)
		}
		s.settle()
	}
	walk()
	s.place2("cafe", geo.Point{Lat: cafe.Lat + 0.01, Lng: cafe.Lng}) // the place moves
	walk()
	s.must("POST", "/api/v1/campaigns/rainy-day/status", map[string]any{"status": "paused"}, nil)
	walk()
	s.eventually("everything is decided", func() bool { s.settle(); return true })
	s.stop()

	live := dumpOf(t, s)
	if n := strings.Count(live, "decisions default/"); n < 30 {
		t.Fatalf("the story is too thin: %d decisions", n)
	}
	c := catalogOf(t, s)
	for i, mode := range []partition.Mode{partition.Fast, partition.Reference, partition.Fast} {
		got := replay(t, r, c, s.clock.Now(), mode, []int{256, 3, 1}[i])
		if got != live {
			t.Fatalf("replay %d (%s) differs from what was decided live:\n%s", i, mode, difference(got, live))
		}
	}
}

func difference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return "got  " + as[i] + "\nwant " + bs[i]
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(as), len(bs))
}

// place2 moves a place.
func (s *story) place2(id string, to geo.Point) {
	s.t.Helper()
	var p map[string]any
	s.must("GET", "/api/v1/places/"+id, nil, &p)
	for _, f := range p["geofences"].([]any) {
		f.(map[string]any)["geometry"] = map[string]any{"type": "Point", "coordinates": []float64{to.Lng, to.Lat}}
	}
	p["location"] = to
	version := p["version"]
	for _, k := range []string{"version", "updated_at", "id", "workspace", "$schema"} {
		delete(p, k)
	}
	s.putIfMatch("/api/v1/places/"+id, p, fmt.Sprint(version))
}

func dumpOf(t *testing.T, s *story) string {
	t.Helper()
	st, err := sqlite.Open(t.Context(), sqlite.Options{
		Path: filepath.Join(s.opts.Config.DataDir, "states.db"), Collections: app.StateCollections(), Now: s.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, st)
	return dump(t, st, decided...)
}

func catalogOf(t *testing.T, s *story) *catalog.Catalog {
	t.Helper()
	log, err := eventlog.OpenEmbedded(t.Context(), eventlog.EmbeddedOptions{Dir: filepath.Join(s.opts.Config.DataDir, "log")})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, log)
	c, err := catalog.Open(t.Context(), catalog.Options{Log: log, Clock: s.clock, Compile: decide.Compile})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
