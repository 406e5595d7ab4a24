package app_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
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
	"github.com/footfall-engage/footfall/server/clock"
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
	powerKill       = "FOOTFALL_TEST_POWER_KILL"  // so many µs after so many requests it kills itself, such as "20 700"
	powerAfter      = "FOOTFALL_TEST_POWER_AFTER" // the keys of a life that was killed: this is the next one
	powerCuts       = "FOOTFALL_TEST_POWER_CUTS"  // `make soak` sets 1000
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
	asked := powerDeath(t)
	durability := config.Durability(os.Getenv(powerDurability))
	if keys := os.Getenv(powerAfter); keys != "" {
		s := powerHeir(t, dir, durability, keys)
		readPower(t, s, mark)
		mark("read")
		var stores [powerPhones]client.MemStore
		powerWalk(s, &stores, powerPhones, true, mark, asked)
		return
	}
	s := newStory(t, func(o *app.Options) {
		o.Config.DataDir, o.Config.Durability = dir, durability
	})
	mark("key %s", s.key)
	mark("keys %s %s %s", s.key, s.keys["android"], s.keys["ios"])
	mark("apps")
	s.place("cafe", cafe)
	mark("place")
	s.campaign("hello", func(c map[string]any) {
		c["context"], c["audience"], c["limits"] = nil, nil, nil
		c["trigger"] = map[string]any{"type": "place", "transition": "enter", "rings": []string{"inside"}}
	})
	mark("campaign")
	var stores [powerPhones]client.MemStore
	powerWalk(s, &stores, 0, true, mark, asked)
	s.stop()
	s.phones = nil
	s.serve()
	powerWalk(s, &stores, 0, false, mark, asked)
}

// powerDeath is to be called before each request; at the appointed one it lets the
// process kill itself a little later.
func powerDeath(t *testing.T) (asked func()) {
	kill := os.Getenv(powerKill)
	if kill == "" {
		return func() {}
	}
	var after, us int64
	if _, err := fmt.Sscan(kill, &after, &us); err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	return func() {
		if n.Add(1) != after {
			return
		}
		time.AfterFunc(time.Duration(us)*time.Microsecond, func() {
			if self, err := os.FindProcess(os.Getpid()); err == nil {
				_ = self.Kill() // nobody is left to hear of an error, and the test wants a death
			}
		})
	}
}

// powerWalk lets phones walk in and out while somebody adds places elsewhere; the
// first is the number of the first phone.
func powerWalk(s *story, stores *[powerPhones]client.MemStore, first int, agree bool, mark func(string, ...any), asked func()) {
	var phones []*phone
	for i := range powerPhones {
		p := s.phone(strconv.Itoa(first+i), []string{"android", "ios"}[i%2], func(o *client.Options) { o.Store = &stores[i] })
		if agree {
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
					asked()
					if err := p.PostBatch(s.t.Context()); err != nil {
						s.t.Error(err)
						return
					}
					mark("acked %s %d", p.install, seq)
					if at == cafe {
						mark("entered %s", p.install)
					}
				})
			}
			wg.Go(func() {
				id := fmt.Sprintf("kiosk-%d", s.clock.Now().Unix())
				asked()
				s.place(id, geo.Point{Lat: 52.7, Lng: 5.5})
				mark("kiosk %s", id)
			})
			wg.Wait()
			s.clock.Advance(10 * time.Minute)
		}
	}
}

// powerHeir is the server that comes after one that was killed.
func powerHeir(t *testing.T, dir string, durability config.Durability, keys string) *story {
	t.Helper()
	var key, android, ios string
	if _, err := fmt.Sscan(keys, &key, &android, &ios); err != nil {
		t.Fatal(err)
	}
	s := &story{t: t, dir: t.TempDir(), start: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), key: key, keys: map[string]string{"android": android, "ios": ios}}
	s.clock = clock.NewManual(s.start)
	s.opts = app.Options{Config: powerConfig(dir), Clock: s.clock, Version: "test"}
	s.opts.Config.Durability = durability
	s.serve()
	t.Cleanup(func() {
		s.stop()
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

// readPower marks what a server has found as if it had been answered: from now on
// it counts.
func readPower(t *testing.T, s *story, mark func(string, ...any)) {
	t.Helper()
	ctx := t.Context()
	if err := errors.Join(s.app.Settle(ctx), s.app.Flush(ctx)); err != nil {
		t.Fatal(err)
	}
	for i := range powerPhones {
		install := fmt.Sprintf("install-%d", i)
		intervals, err := s.app.Accepted(ctx, "default", install)
		if err != nil {
			t.Fatal(err)
		}
		for _, iv := range intervals {
			for seq := iv[0]; seq <= iv[1]; seq++ {
				mark("acked %s %d", install, seq)
			}
		}
	}
	decided := map[string]int{}
	if err := s.app.Decisions(ctx, "default", func(d engage.Decision) error {
		decided[d.Trigger.Install]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for install, n := range decided {
		mark("decided %s %d", install, n)
	}
}

// powerConfig is a server's on that folder. Nobody is there: what is to be pushed
// waits.
func powerConfig(dir string) config.Config {
	c := config.Default()
	c.DataDir, c.Listen, c.Partitions, c.Durability = dir, "127.0.0.1:0", 2, config.Power
	c.Providers.FCM.Endpoint, c.Providers.APNs.ProductionURL = "http://127.0.0.1:1", "https://127.0.0.1:1"
	return c
}

// powerRun records the child; of two lives when the first is to be killed, the second
// with durability power, and then nil when that death could not be followed.
func powerRun(t *testing.T, durability config.Durability, kill string) *powercut.Run {
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
	follower := powercut.Follow(dir)
	live := func(durability config.Durability, kill, after string) bool {
		cmd := powercut.Command(t.Context(), strace, trace, exe, "-test.run=^TestChildServesForPowerCuts$", "-test.timeout=5m")
		cmd.Env = append(os.Environ(), powerDir+"="+dir, powerDurability+"="+string(durability), powerKill+"="+kill, powerAfter+"="+after)
		out, err := cmd.CombinedOutput()
		signalled := false
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			signalled = exit.ExitCode() == -1
		}
		if (kill == "" && err != nil) || (kill != "" && !signalled) {
			t.Fatalf("the server (to be killed: %q): %v\n…%s", kill, err, out[max(0, len(out)-2000):])
		}
		f, err := os.Open(trace)
		if err != nil {
			t.Fatal(err)
		}
		defer closing(t, f)
		err = follower.Life(f)
		if kill != "" && errors.Is(err, powercut.ErrTrace) { // a thread may die in a call of which strace says nothing
			t.Logf("a death that cannot be followed: %v", err)
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		return true
	}
	if !live(durability, kill, "") {
		return nil
	}
	run := follower.Run()
	if kill != "" {
		live(config.Power, "", promises(run.Marks(run.Events())).keys)
	}
	t.Logf("durability %s: %s", durability, run.Counts())
	return run
}

// promised is what the marks before a cut say.
type promised struct {
	key, keys             string
	apps, place, campaign bool
	kiosks                []string // places that somebody saved meanwhile
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
		case "keys":
			p.keys = rest
		case "kiosk":
			p.kiosks = append(p.kiosks, rest)
		case "decided":
			install, text, _ := strings.Cut(rest, " ")
			n, _ := strconv.Atoi(text) // 0 promises nothing
			p.entered[install] = max(p.entered[install], n)
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
	a, err := app.New(ctx, app.Options{Config: powerConfig(dir), Version: "test"})
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
	for i := range 2 * powerPhones {
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
	configured := map[string]bool{
		"/api/v1/apps/android": p.apps, "/api/v1/apps/ios": p.apps, "/api/v1/places/cafe": p.place, "/api/v1/campaigns/hello": p.campaign,
	}
	for _, id := range p.kiosks {
		configured["/api/v1/places/"+id] = true
	}
	for path, saved := range configured {
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

// powerChance is seeded by the environment or else by the time.
func powerChance(t *testing.T) (uint64, *rand.Rand) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv(powerSeed); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d repeats the cuts on a trace like this one", powerSeed, seed)
	return seed, rand.New(rand.NewPCG(seed, 0))
}

// A server has so long to start and settle after a cut: where it must, and where a
// loss is looked for, of which one that waits for what is gone says nothing.
const (
	keepsWithin = 2 * time.Minute
	losesWithin = 20 * time.Second
)

// cutPower checks the cuts until ctx ends, and hands over what is broken after each,
// and whether a server was so slow that this says nothing of a loss.
func cutPower(ctx context.Context, t *testing.T, run *powercut.Run, seed uint64, cuts []int, within time.Duration, found func(at int, p promised, broken []string, slow bool)) {
	t.Helper()
	base, workers := t.TempDir(), 4
	g, ctx := errgroup.WithContext(ctx)
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
				patient, cancel := context.WithTimeout(ctx, within)
				broken := checkPower(patient, dir, p)
				slow := patient.Err() != nil
				cancel()
				found(cuts[i], p, broken, slow)
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

// powerCount is how many cuts there are to be.
func powerCount(t *testing.T, n int) int {
	t.Helper()
	if s := os.Getenv(powerCuts); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// keepsPromises wants that no cut breaks one.
func keepsPromises(t *testing.T, run *powercut.Run, seed uint64, cuts []int) {
	t.Helper()
	var acked, said atomic.Int64
	began := time.Now()
	cutPower(t.Context(), t, run, seed, cuts, keepsWithin, func(at int, p promised, broken []string, _ bool) {
		if len(p.acked) >= powerPhones {
			acked.Add(1)
		}
		for _, b := range broken {
			if said.Add(1) <= 20 {
				t.Errorf("cut at event %d of %d: %s", at, run.Events(), b)
			}
		}
	})
	t.Logf("%d cuts in %.0f s, %d of them with acknowledged items of every phone", len(cuts), time.Since(began).Seconds(), acked.Load())
	if acked.Load() < int64(len(cuts))/3 {
		t.Error("too few cuts had something to lose")
	}
}

// A server with durability power starts again after any power cut, and whatever it
// had acknowledged has taken effect, once.
func TestTheServerKeepsItsPromisesThroughPowerCuts(t *testing.T) {
	run := powerRun(t, config.Power, "")
	seed, random := powerChance(t)
	keepsPromises(t, run, seed, run.Cuts(random, 0, run.Events(), powerCount(t, 40)))
}

// powerRunKilled records a server of that durability that is killed at a random
// moment, and the next one, of durability power, and chooses cuts of that: most of
// them about when it has said what it read.
func powerRunKilled(t *testing.T, durability config.Durability, random *rand.Rand, n int) (*powercut.Run, []int) {
	t.Helper()
	var run *powercut.Run
	for try := 0; run == nil; try++ {
		if try == 8 { // about one in ten cannot be followed
			t.Fatal("no death of a server could be followed")
		}
		run = powerRun(t, durability, fmt.Sprint(10+random.IntN(100), random.IntN(4000)))
	}
	read := run.Find("read")
	if read == 0 {
		t.Fatal("the next server has not said that it read")
	}
	began, about := run.Began(1), read-20
	if durability == config.Process { // what that one said holds from when the next has read it
		began, about = read, read
	}
	cuts := run.Cuts(random, began, run.Events(), n-n*2/3)
	return run, slices.Sorted(slices.Values(append(cuts, run.Cuts(random, about, min(read+20, run.Events()), n*2/3)...)))
}

// Nor does a power cut take what a server found after its predecessor was killed,
// were it one that synced nothing: whoever turns to durability power is not asked to
// stop the server before.
func TestTheServerKeepsItsPromisesThroughDeathsAndPowerCuts(t *testing.T) {
	seed, random := powerChance(t)
	n := powerCount(t, 40)
	for _, before := range []config.Durability{config.Power, config.Process} {
		run, cuts := powerRunKilled(t, before, random, n/2)
		keepsPromises(t, run, seed, cuts)
	}
}

// The test above can fail: when a server does not sync what it finds, the same cuts
// break promises. A predecessor of durability power leaves so little unsynced that
// 480 cuts may lose nothing of it; one of durability process leaves everything.
func TestWithoutTheSyncAtTheStartTheServerLosesByPowerCuts(t *testing.T) {
	t.Parallel()
	seed, random := powerChance(t)
	run, cuts := powerRunKilled(t, config.Process, random, 12)
	powerLoses(t, run.Forgetful(1), seed, cuts, "a server that does not sync what it finds loses nothing: its predecessor's death leaves nothing unsynced")
}

// powerLoses wants that some cut breaks a promise, or else says what follows. The
// first that does is enough: the others are not looked at.
func powerLoses(t *testing.T, run *powercut.Run, seed uint64, cuts []int, otherwise string) {
	t.Helper()
	var lost atomic.Bool
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	cutPower(ctx, t, run, seed, cuts, losesWithin, func(at int, _ promised, broken []string, slow bool) {
		if len(broken) > 0 && !slow && !lost.Swap(true) {
			t.Logf("a cut at event %d of %d breaks a promise: %s", at, run.Events(), broken[0])
			enough()
		}
	})
	if !lost.Load() {
		t.Error(otherwise)
	}
}

// The first test above can fail.
func TestWithoutSyncsTheServerLosesByPowerCuts(t *testing.T) {
	t.Parallel()
	run := powerRun(t, config.Process, "")
	seed, random := powerChance(t)
	powerLoses(t, run, seed, run.Cuts(random, 0, run.Events(), 10), "a server that does not sync loses nothing: the model is too kind")
}
