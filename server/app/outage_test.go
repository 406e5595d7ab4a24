package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/eventlog/natstest"
)

// advancing moves the story's clock on, a tenth of a second every millisecond,
// until the function has returned: the server judges silence by it.
func (s *story) advancing(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			s.clock.Advance(100 * time.Millisecond)
		}
	}
}

// The NATS server dies under a running server and comes back later: who asks
// meanwhile is told to come again, nothing is acknowledged, and everything goes
// on by itself.
func TestTheLogIsAwayForAWhile(t *testing.T) {
	broker := natstest.Start(t, natstest.Options{})
	s := newStory(t, func(o *app.Options) {
		o.Config.EventLog.URL = broker.URL()
	})
	s.place("cafe", cafe)
	s.campaign("hello", func(c map[string]any) { // without weather, which the jumping clock would not wait for
		c["context"], c["arms"] = nil, []any{map[string]any{"id": "a", "message": map[string]any{"title": "Hello"}}}
	})
	ada := s.phone("ada", "android", nil).agree().likes("fashion").background()
	bob := s.phone("bob", "ios", nil).agree().likes("fashion").foreground()
	s.settle()

	broker.Kill9()
	s.eventually("readiness says that the log is away", func() bool {
		return s.call("GET", "/readyz", nil, nil) == http.StatusServiceUnavailable
	})
	ada.at(cafe, 12)
	s.advancing(func() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := ada.PostBatch(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("a POST without a log ended with %v", err)
		}
		if code := s.call("PUT", "/api/v1/places/other", map[string]any{
			"name": "Other", "time_zone": "Europe/Amsterdam", "location": far, "geofences": []any{map[string]any{
				"id": "f", "ring": "inside", "radius": 50, "geometry": map[string]any{"type": "Point", "coordinates": []float64{far.Lng, far.Lat}},
			}},
		}, nil); code != http.StatusServiceUnavailable {
			t.Errorf("a place without a log: %d", code)
		}
	})
	bob.at(geo.Point{Lat: cafe.Lat, Lng: cafe.Lng}, 12)
	if ada.Pending() == 0 || bob.Pending() == 0 {
		t.Fatal("something was acknowledged without a log")
	}

	broker.Restart()
	s.eventually("the server is ready again", func() bool {
		return s.call("GET", "/readyz", nil, nil) == http.StatusOK
	})
	s.advancing(func() {
		s.eventually("both phones are acknowledged", func() bool {
			if ada.Pending() > 0 {
				_ = ada.PostBatch(t.Context()) // it may still be told to wait
			}
			return ada.Pending() == 0 && bob.Pending() == 0
		})
	})
	s.eventually("both got their message, once", func() bool {
		s.settle()
		return len(s.pushesTo(ada)) == 1 && len(bob.shows()) == 1
	})
	// One for each ring that the fix is in; had it taken effect twice, there were more.
	if n := len(s.decisions(ada, "hello")); n != 2 {
		t.Errorf("%d decisions about Ada, want 2", n)
	}
}

// A start meets a log that dies and comes back under it: it waits, and the first
// key is shown although its append may have been answered by nobody.
func TestAStartOutlastsADyingLog(t *testing.T) {
	broker := natstest.Start(t, natstest.Options{})
	c := config.Default()
	c.Listen, c.EventLog.URL, c.Partitions = "127.0.0.1:0", broker.URL(), 1
	for i := range 3 {
		c.DataDir, c.EventLog.Prefix = t.TempDir(), fmt.Sprintf("P%d", i)
		dying := make(chan struct{})
		go func() {
			defer close(dying)
			for n := range 3 {
				pause := time.NewTimer(time.Duration(20+30*n+7*i) * time.Millisecond)
				<-pause.C
				broker.Kill9()
				broker.Restart()
			}
		}()
		a, err := app.New(t.Context(), app.Options{Config: c, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		<-dying
		if err != nil {
			t.Fatalf("start %d: %v", i, err)
		}
		if a.FirstKey() == "" {
			t.Errorf("start %d showed no key", i)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A cluster that has lost its majority is noticed although nobody writes, and a
// second server on the log takes it over, whatever its store.
func TestTheLogIsWatchedWhileNobodyWrites(t *testing.T) {
	t.Parallel() // it waits for elections
	cluster := natstest.StartCluster(t, natstest.Options{})
	s := newStory(t, func(o *app.Options) {
		o.Config.EventLog.URL, o.Config.EventLog.Replicas = strings.Join(cluster.URLs(), ","), 3
	})
	ready := func(want int) func() bool {
		return func() bool { return s.call("GET", "/readyz", nil, nil) == want }
	}
	s.eventually("the server is ready", ready(http.StatusOK))
	cluster.Servers[0].Kill9()
	cluster.Servers[1].Kill9()
	s.eventually("the lost majority is noticed", ready(http.StatusServiceUnavailable))
	cluster.Servers[0].Restart()
	cluster.Servers[1].Restart()
	s.eventually("the server is ready again", ready(http.StatusOK))
}

func TestTheNewestServerOwnsTheLog(t *testing.T) {
	broker := natstest.Start(t, natstest.Options{})
	c := config.Default()
	c.Listen, c.EventLog.URL, c.Partitions, c.DataDir = "127.0.0.1:0", broker.URL(), 1, t.TempDir()
	start := func(dir string) (*app.App, chan error, context.CancelFunc) {
		t.Helper()
		c.DataDir = dir
		a, err := app.New(t.Context(), app.Options{Config: c})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		select {
		case <-a.Serving():
		case err := <-done:
			t.Fatalf("the server stopped: %v", err)
		}
		return a, done, cancel
	}
	_, older, stopOlder := start(c.DataDir)
	defer stopOlder()
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(c.DataDir)); err != nil {
		t.Fatal(err)
	}
	_, newer, stopNewer := start(copied)
	select {
	case err := <-older:
		if err == nil || !strings.Contains(err.Error(), "another server") {
			t.Errorf("the older server ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("two servers own one log")
	}
	stopNewer()
	if err := <-newer; err != nil {
		t.Errorf("the newer server: %v", err)
	}
}
