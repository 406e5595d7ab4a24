package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/eventlog/natstest"
	"github.com/footfall-engage/footfall/server/lab"
)

// testKills is how many deaths there are in each of the tests below: `make soak` sets
// 9. Four are each of the moments of death once, and one of them again.
const testKills = "FOOTFALL_TEST_KILLS"

const (
	maxInFlight = 200 // attempts per credential, deliver's bound
	// onTheWire is how much later than its sender's death a request may be read by a
	// busy simulator.
	onTheWire = time.Second
	patience  = 2 * time.Minute // for what must happen
)

// footfall is the server's binary, built once and removed when the tests end.
var footfall = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(scratch, "footfall")
	out, err := exec.Command("go", "build", "-o", binary, "../footfall").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build footfall: %w\n%s", err, out)
	}
	return binary, nil
})

// victim is a `footfall serve` that gets killed.
type victim struct {
	t      *testing.T
	binary string
	conf   config.Config
	log    *os.File
	cmd    *exec.Cmd
	ended  chan struct{} // closed when cmd has
	gaveUp int           // times that it ended by itself and was started again
	key    string        // the first admin key, which it prints once
}

// newVictim is a server that is not started yet, on a folder of its own with two
// partitions; w are the providers that it sends to, nil for none. What it said is shown
// when the test fails.
func newVictim(t *testing.T, dir string, w *world) *victim {
	t.Helper()
	binary, err := footfall()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{t: t, binary: binary, conf: config.Default(), log: log}
	t.Cleanup(func() {
		v.kill()
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("the servers said: …%s", said[max(0, len(said)-20000):])
		}
		_ = log.Close()
	})
	v.conf.DataDir, v.conf.Listen, v.conf.Partitions = filepath.Join(dir, "data"), freePort(t), 2
	if w != nil {
		w.configure(&v.conf)
	}
	return v
}

// providers are the simulators that a test's server sends to, closed at its end.
func providers(t *testing.T, dir string, seed uint64, center geo.Point, slow time.Duration) *world {
	t.Helper()
	w, err := newWorld(dir, seed, center, slow)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// start starts it on its folder; it may still be catching up.
func (v *victim) start() {
	v.t.Helper()
	v.cmd = exec.Command(v.binary, "serve")
	v.cmd.Env = environ(&v.conf)
	v.cmd.Stderr = v.log
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for v.key == "" && lines.Scan() {
		if _, key, ok := strings.Cut(lines.Text(), "first admin key, shown only now: "); ok {
			v.key = key
		}
	}
	cmd, ended := v.cmd, make(chan struct{})
	v.ended = ended
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, out) // ends with the process
		_ = cmd.Wait()                  // it says "killed"
	}()
}

// kill is kill -9.
func (v *victim) kill() {
	if v.cmd == nil {
		return
	}
	_ = v.cmd.Process.Kill() // it may have ended
	<-v.ended
	v.cmd = nil
}

// ready waits until it has caught up. A server that gives up while it starts,
// because its log has gone away, is started again, as a supervisor would.
func (v *victim) ready() {
	v.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		resp, err := http.Get("http://" + v.conf.Listen + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			_ = v.cmd.Process.Signal(syscall.SIGQUIT) // it says where it is
			<-v.ended
			v.t.Fatalf("the server is not ready: %v", err)
		}
		select {
		case <-v.ended:
			if v.conf.EventLog.Embedded() {
				v.t.Fatal("the server ended by itself")
			}
			v.gaveUp++
			v.start()
		default:
		}
		wait(20 * time.Millisecond)
	}
}

// killCount is how many deaths there are to be.
func killCount(t *testing.T) int {
	t.Helper()
	n := 4
	if s := os.Getenv(testKills); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 1 {
			t.Fatalf("%s must be a number above 0, is %q", testKills, s)
		}
	}
	return n
}

func wait(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}

// freePort is one that the system has just given out.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Under load the process dies many times at random moments, also while it starts.
// Afterwards every acknowledged item has taken effect, no phone has shown anything
// twice, a provider saw a repeat only of what was in flight at a death, and under
// the same id, and all phones have come back by themselves.
func TestNothingIsLostOrDoubledByKill9(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills a server for half a minute")
	}
	t.Parallel()
	underKills(t, nil)
}

// The same with the log on a NATS server that dies, too: it and the server in turn,
// and now and then the server while NATS is down, so that it starts without it.
func TestNothingIsLostOrDoubledByKill9OfNATSAndTheServer(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills servers for half a minute")
	}
	t.Parallel()
	underKills(t, natstest.Start(t, natstest.Options{}))
}

// underKills is a town under load whose server is killed; with nats, its event log
// is there and is killed as well.
func underKills(t *testing.T, nats *natstest.Server) {
	t.Helper()
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("moments of death by seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	town, err := lab.NewTown(lab.TownOptions{Seed: 5, People: 80})
	if err != nil {
		t.Fatal(err)
	}
	w := providers(t, dir, 5, town.Center, 200*time.Millisecond)
	v := newVictim(t, dir, w)
	began := time.Now()
	phase := func(name string) {
		t.Logf("%-24s %6.1f s", name, time.Since(began).Seconds())
		began = time.Now()
	}
	if nats != nil {
		v.conf.EventLog.URL = nats.URL()
	}
	v.start()
	v.ready()
	phase("started")

	m := newMarketer("http://"+v.conf.Listen, v.key)
	android, ios, err := m.apps(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.places(t.Context(), town, 1); err != nil {
		t.Fatal(err)
	}
	// A message for every visit of everybody who agreed.
	err = m.campaigns(t.Context(), func(id string, c map[string]any) {
		if id == "welcome-back" {
			delete(c, "audience")
			c["limits"] = map[string]any{"expire_s": 3600}
			c["trigger"] = map[string]any{"type": "place", "transition": "enter", "rings": []string{"near", "inside"}}
		}
	})
	if err != nil {
		t.Fatal(err)
	}

	phase("set up")

	options := lab.CrowdOptions{
		Endpoint: "http://" + v.conf.Listen, InstallPrefix: "walker", Speed: 60, FixEvery: 400 * time.Millisecond,
		AppKeys:      map[sdkpb.Platform]string{sdkpb.Platform_PLATFORM_ANDROID: android.Key, sdkpb.Platform_PLATFORM_IOS: ios.Key},
		OfflineEvery: -1, RegionDelay: 50 * time.Millisecond, OpenAfter: 400 * time.Millisecond, StartWithin: 500 * time.Millisecond,
		BackoffMin: 30 * time.Millisecond, BackoffMax: 300 * time.Millisecond,
	}
	walkers, err := people(town, w, options)
	if err != nil {
		t.Fatal(err)
	}
	defer w.deliverTo(nil)
	// A push takes longer to its phone than the provider to answer: no receipt comes
	// first and tells the server what the dead one did not hear.
	hand := w.hand
	w.deliverTo(func(token, message, via string) {
		w.onWay.Add(1)
		time.AfterFunc(600*time.Millisecond, func() {
			hand(token, message, via)
			w.onWay.Add(-1)
		})
	})
	options.InstallPrefix, options.Load = "load", &lab.Load{Rate: 400, Phones: 40}
	load, err := lab.NewCrowd(town, options)
	if err != nil {
		t.Fatal(err)
	}
	crowdCtx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- walkers.Run(crowdCtx) }()
	go func() { ended <- load.Run(crowdCtx) }()
	defer func() {
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}()

	var deaths []time.Time // of the server
	kills := killCount(t)
	for i := range kills {
		if i%3 == 2 { // while it catches up
			wait(time.Duration(random.IntN(400)) * time.Millisecond)
		} else {
			v.ready()
			wait(time.Duration(200+random.IntN(1600)) * time.Millisecond)
		}
		if nats != nil {
			nats.Kill9()
			wait(time.Duration(random.IntN(800)) * time.Millisecond)
		}
		if nats != nil && i%3 == 0 { // the server outlives it, this time
			nats.Restart()
			v.ready()
			wait(time.Duration(200+random.IntN(800)) * time.Millisecond)
		}
		v.kill()
		deaths = append(deaths, time.Now())
		if i < kills-1 {
			v.start()
		}
		if nats != nil {
			wait(time.Duration(random.IntN(300)) * time.Millisecond)
			nats.Restart()
		}
	}

	phase("killed")

	// The last server on the folder and at the address is this process, so that it
	// can be asked.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	d := &demo{world: w, crowd: walkers, workspace: v.conf.Workspace}
	if d.server, err = app.New(ctx, app.Options{Config: v.conf}); err != nil {
		t.Fatal(err)
	}
	serverCtx, stopServer := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- d.server.Run(serverCtx) }()
	defer func() {
		stopServer()
		if err := <-served; err != nil {
			t.Errorf("stop the server: %v", err)
		}
	}()
	phase("opened for the audit")
	if err := load.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	phase("load drained")
	if err := d.drain(ctx, 4*time.Second); err != nil {
		t.Fatal(err)
	}

	phase("drained")

	if n, of := load.Snapshot().Connected, len(load.Phones()); n != of {
		t.Errorf("%d of %d phones have come back", n, of)
	}
	said, pressed := walkers.Report(), load.Report()
	e := evidence{Phones: append(testify(&said), testify(&pressed)...), Pushes: w.seen(), At: time.Now()}
	for _, prefix := range []string{"walker", "load"} {
		if err := ask(ctx, d.server, d.workspace, prefix, &e); err != nil {
			t.Fatal(err)
		}
	}
	result := audit(e)
	if !result.ok() || result.Unordered > 0 {
		t.Errorf("lost %d, duplicates %d, unordered %d: %+v", result.Lost, result.Duplicates, result.Unordered, result)
	}
	for _, r := range []lab.Report{said, pressed} {
		for i := range r.Phones {
			if p := &r.Phones[i]; p.Stopped != nil || p.Pending > 0 || p.Totals.Acked == nil || len(p.Totals.RefusedBy) > 1 {
				t.Errorf("%s: %d pending, stopped by %v, refused %v", p.Install, p.Pending, p.Stopped, p.Totals.RefusedBy)
			}
		}
	}
	repeatsStraddleADeath(t, e.Pushes, deaths)
	if v.gaveUp > 0 {
		t.Logf("%d times the server could not start without its log and was started again", v.gaveUp)
	}
	t.Logf("%d deaths: %d items acknowledged, %d decisions, %d push requests, %d of them repeats",
		len(deaths), result.Acked, result.Decided, len(e.Pushes), result.Resent)
	if result.Acked < 1000 || len(e.Pushes) < 20 || result.Decided < 100 {
		t.Errorf("too little happened to prove anything: %d items, %d pushes, %d decisions", result.Acked, len(e.Pushes), result.Decided)
	}
}

// repeatsStraddleADeath: between two acceptances of one attempt the server died,
// and of each death there are no more than could be in flight.
func repeatsStraddleADeath(t *testing.T, pushes []push, deaths []time.Time) {
	t.Helper()
	byAttempt := map[string][]time.Time{}
	for _, p := range pushes {
		if p.Accepted {
			byAttempt[p.Attempt] = append(byAttempt[p.Attempt], p.At)
		}
	}
	of := make([]int, len(deaths))
	for attempt, at := range byAttempt {
		slices.SortFunc(at, time.Time.Compare)
		for i := 1; i < len(at); i++ {
			death := slices.IndexFunc(deaths, func(d time.Time) bool { return d.After(at[i-1].Add(-onTheWire)) })
			if death < 0 || deaths[death].After(at[i]) {
				t.Errorf("attempt %s was repeated at %v after %v, and nobody died between: %v", attempt, at[i], at[i-1], deaths)
				continue
			}
			of[death]++
			if late := at[i-1].Sub(deaths[death]); late > 0 {
				t.Logf("attempt %s was read %v after its sender's death, and repeated %v after it", attempt, late, at[i].Sub(deaths[death]))
			}
		}
	}
	for i, n := range of {
		if n > 2*maxInFlight {
			t.Errorf("%d repeats after death %d", n, i+1)
		}
	}
	requests := make([]int, len(deaths)+1) // between the deaths
	for _, p := range pushes {
		i, _ := slices.BinarySearchFunc(deaths, p.At, time.Time.Compare)
		requests[i]++
	}
	t.Logf("requests between deaths: %v, repeats by death: %v", requests, of)
}
