package app_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/app/powercut"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// The environment in which the test binary is the server that is traced, and of how
// many cuts there are.
const (
	powerDir        = "FOOTFALL_TEST_POWER_DIR"
	powerDurability = "FOOTFALL_TEST_POWER_DURABILITY"
	powerCuts       = "FOOTFALL_TEST_POWER_CUTS" // `make soak` sets 1000
	powerSeed       = "FOOTFALL_TEST_SEED"
)

const (
	powerPhones = 4
	powerWalks  = 6 // of each phone into the café and out of it, in each of two lives
)

// TestChildServesForPowerCuts is no test of its own: the tests below run it in a
// process that they trace. What was answered is marked in one write each.
func TestChildServesForPowerCuts(t *testing.T) {
	dir := os.Getenv(powerDir)
	if dir == "" {
		t.Skip("runs as a child only")
	}
	mark := func(format string, args ...any) {
		_, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) // it goes to a trace
	}
	s := newStory(t, func(o *app.Options) {
		o.Config.DataDir, o.Config.Durability = dir, config.Durability(os.Getenv(powerDurability))
	})
	mark("key %s", s.key)
	mark("apps")
	s.place("cafe", cafe)
	mark("place")
	s.campaign("hello", func(c map[string]any) {
		c["context"], c["audience"], c["limits"] = nil, nil, nil
		c["trigger"] = map[string]any{"type": "place", "transition": "enter", "rings": []string{"inside"}}
	})
	mark("campaign")
	var stores [powerPhones]client.MemStore
	for life := range 2 {
		if life > 0 {
			s.stop()
			s.phones = nil
			s.serve()
		}
		var phones []*phone
		for i := range powerPhones {
			p := s.phone(strconv.Itoa(i), []string{"android", "ios"}[i%2], func(o *client.Options) { o.Store = &stores[i] })
			if life == 0 {
				p.agree()
			}
			phones = append(phones, p.background())
		}
		for range powerWalks {
			for _, at := range []geo.Point{cafe, {Lat: 52.5, Lng: 5.1}} {
				var wg sync.WaitGroup
				for _, p := range phones {
					wg.Go(func() {
						seq := p.Fix(&sdkpb.Location{Lat: at.Lat, Lng: at.Lng, AccuracyM: 10}, s.clock.Now())
						if err := p.PostBatch(t.Context()); err != nil {
							t.Error(err)
							return
						}
						mark("acked %s %d", p.install, seq)
						if at == cafe {
							mark("entered %s", p.install)
						}
					})
				}
				wg.Wait()
				s.clock.Advance(10 * time.Minute)
			}
		}
	}
}

// powerRun records the child.
func powerRun(t *testing.T, durability config.Durability) *powercut.Run {
	t.Helper()
	strace, err := powercut.Tracer(t.Context())
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("POWER CUTS ARE NOT TESTED HERE, and this is CI: %v", err)
		}
		t.Skipf("POWER CUTS ARE NOT TESTED HERE: %v", err)
	}
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir, trace := filepath.Join(base, "data"), filepath.Join(base, "trace")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := powercut.Command(t.Context(), strace, trace, exe, "-test.run=^TestChildServesForPowerCuts$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), powerDir+"="+dir, powerDurability+"="+string(durability))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the server: %v\n…%s", err, out[max(0, len(out)-2000):])
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, f)
	run, err := powercut.Parse(f, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Verify(dir); err != nil {
		t.Fatal(err)
	}
	t.Logf("durability %s: %s", durability, run.Counts())
	return run
}

// promised is what the marks before a cut say.
type promised struct {
	key                   string
	apps, place, campaign bool
	acked                 map[string][]uint64
	entered               map[string]int
}

func promises(marks []string) promised {
	p := promised{acked: map[string][]uint64{}, entered: map[string]int{}}
	for _, m := range marks {
		word, rest, _ := strings.Cut(m, " ")
		switch word {
		case "key":
			p.key = rest
		case "apps":
			p.apps = true
		case "place":
			p.place = true
		case "campaign":
			p.campaign = true
		case "acked":
			install, n, _ := strings.Cut(rest, " ")
			seq, _ := strconv.ParseUint(n, 10, 64) // 0 is no item's, and would be missed
			p.acked[install] = append(p.acked[install], seq)
		case "entered":
			p.entered[rest]++
		}
	}
	return p
}

// checkPower starts a server on what a cut has left and returns what of the promises
// it does not keep.
func checkPower(ctx context.Context, dir string, p promised) (broken []string) {
	miss := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	c := config.Default()
	c.DataDir, c.Listen, c.Partitions, c.Durability = dir, "127.0.0.1:0", 2, config.Power
	// Nobody is there: what is to be pushed waits.
	c.Providers.FCM.Endpoint, c.Providers.APNs.ProductionURL = "http://127.0.0.1:1", "https://127.0.0.1:1"
	a, err := app.New(ctx, app.Options{Config: c, Version: "test"})
	if err != nil {
		return []string{fmt.Sprintf("does not start: %v", err)}
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(running) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			miss("stops with %v", err)
		}
		if err := alarms(ctx, dir, miss); err != nil {
			miss("alarms: %v", err)
		}
	}()
	select {
	case <-a.Serving():
	case err := <-ended:
		ended <- nil
		miss("does not run: %v", err)
		return broken
	case <-ctx.Done():
		miss("never serves")
		return broken
	}
	if err := errors.Join(a.Settle(ctx), a.Flush(ctx)); err != nil {
		miss("does not settle: %v", err)
		return broken
	}
	for install, seqs := range p.acked {
		intervals, err := a.Accepted(ctx, "default", install)
		if err != nil {
			miss("install %s: %v", install, err)
		}
		for _, seq := range seqs {
			if !slices.ContainsFunc(intervals, func(iv [2]uint64) bool { return iv[0] <= seq && seq <= iv[1] }) {
				miss("%s: item %d was acknowledged and is lost", install, seq)
			}
		}
	}
	decided := map[string]int{}
	if err := a.Decisions(ctx, "default", func(d engage.Decision) error {
		decided[d.Trigger.Install]++
		return nil
	}); err != nil {
		miss("decisions: %v", err)
	}
	for i := range powerPhones {
		install := fmt.Sprintf("install-%d", i)
		if n := p.entered[install]; decided[install] < n || decided[install] > n+1 {
			miss("%s: %d visits were acknowledged, %d are decided", install, n, decided[install])
		}
	}
	for id := range a.Catalog().Now().Workspaces {
		for _, x := range a.Catalog().Now().Apps(id) {
			if _, err := a.Sealer().Open(x.IdentitySecret); err != nil {
				miss("the secrets of app %s cannot be opened: %v", x.ID, err)
			}
		}
	}
	for path, saved := range map[string]bool{
		"/api/v1/apps/android": p.apps, "/api/v1/apps/ios": p.apps, "/api/v1/places/cafe": p.place, "/api/v1/campaigns/hello": p.campaign,
	} {
		if !saved {
			continue
		}
		if code, err := status(ctx, a.URL()+path, p.key); err != nil || code != http.StatusOK {
			miss("%s was saved and gives %d, %v", path, code, err)
		}
	}
	return broken
}

func status(ctx context.Context, url, key string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// alarms wants none: neither a lost tail nor anything else that an operator must see.
func alarms(ctx context.Context, dir string, miss func(string, ...any)) (err error) {
	s, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, "states.db"), Collections: app.StateCollections(), Now: time.Now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Iterate(ctx, "alarms", store.Query{}, func(d store.Doc) error {
		miss("alarm %s", d.Body)
		return nil
	})
}

// cutPower checks n cuts and hands over what is broken after each.
func cutPower(t *testing.T, run *powercut.Run, n int, found func(at int, p promised, broken []string)) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv(powerSeed); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d repeats the cuts on a trace like this one", powerSeed, seed)
	cuts := run.Cuts(rand.New(rand.NewPCG(seed, 0)), 0, run.Events(), n)
	base, workers := t.TempDir(), 4
	g, ctx := errgroup.WithContext(t.Context())
	for w := range workers {
		g.Go(func() error {
			disk := run.Disk(powercut.Journal)
			for i := w; i < len(cuts) && ctx.Err() == nil; i += workers {
				disk.Advance(cuts[i])
				dir := filepath.Join(base, strconv.Itoa(i))
				if err := os.Mkdir(dir, 0o700); err != nil {
					return err
				}
				if err := disk.Cut(rand.New(rand.NewPCG(seed, uint64(i+1)))).Write(dir); err != nil {
					return err
				}
				p := promises(run.Marks(cuts[i]))
				patient, cancel := context.WithTimeout(ctx, 2*time.Minute)
				broken := checkPower(patient, dir, p)
				cancel()
				found(cuts[i], p, broken)
				if err := os.RemoveAll(dir); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// A server with durability power starts again after any power cut, and whatever it
// had acknowledged has taken effect, once.
func TestTheServerKeepsItsPromisesThroughPowerCuts(t *testing.T) {
	n := 60
	if s := os.Getenv(powerCuts); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	run := powerRun(t, config.Power)
	var acked, said atomic.Int64
	began := time.Now()
	cutPower(t, run, n, func(at int, p promised, broken []string) {
		if len(p.acked) == powerPhones {
			acked.Add(1)
		}
		for _, b := range broken {
			if said.Add(1) <= 20 {
				t.Errorf("cut at event %d of %d: %s", at, run.Events(), b)
			}
		}
	})
	t.Logf("%d cuts in %.0f s, %d of them with acknowledged items of every phone", n, time.Since(began).Seconds(), acked.Load())
	if acked.Load() < int64(n)/3 {
		t.Error("too few cuts had something to lose")
	}
}

// The test above can fail.
func TestWithoutSyncsTheServerLosesByPowerCuts(t *testing.T) {
	run := powerRun(t, config.Process)
	var lost atomic.Int64
	cutPower(t, run, 10, func(_ int, _ promised, broken []string) {
		if len(broken) > 0 {
			lost.Add(1)
		}
	})
	t.Logf("%d of 10 cuts break a promise", lost.Load())
	if lost.Load() == 0 {
		t.Error("a server that does not sync loses nothing: the model is too kind")
	}
}
