package powercut_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/server/app/powercut"
	"github.com/footfall-engage/footfall/server/eventlog"
)

func TestMain(m *testing.M) {
	if os.Getenv(childDir) != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	dir, err := os.MkdirTemp("", "powercut")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	plain = sync.OnceValues(func() (string, error) { return powercut.Build(context.Background(), dir, ".") })
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// plain builds this package's tests without the race detector, once.
var plain func() (string, error)

// delegate runs the test in a binary without the race detector, when this one has
// it: package eventlog and store/sqlite run under it in their own tests.
func delegate(t *testing.T) bool {
	t.Helper()
	if !raced {
		return false
	}
	tracer(t)
	exe, err := plain()
	if err != nil {
		t.Fatal(err)
	}
	timeout := "0"
	if end, ok := t.Deadline(); ok {
		timeout = time.Until(end).String()
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+timeout)
	out, err := cmd.CombinedOutput()
	t.Logf("without the race detector:\n%s", out)
	if err != nil {
		t.Errorf("%s: %v", t.Name(), err)
	} else if !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Error("it did not run")
	}
	return true
}

// report adds a line to the file that FOOTFALL_TEST_REPORT names, if it does: go
// test does not show what a passed test has logged.
func report(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf(format, args...)
	path := os.Getenv("FOOTFALL_TEST_REPORT")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f, format+"\n", args...); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// recording of processes that work in a folder one after another.
type recording struct {
	t                 *testing.T
	strace, exe, base string
	dir               string
	log, stores       string
	follower          *powercut.Follower
}

func newRecording(t *testing.T, logDurability, storeDurability string) *recording {
	t.Helper()
	r := &recording{t: t, strace: tracer(t), log: logDurability, stores: storeDurability}
	var err error
	if r.base, err = filepath.EvalSymlinks(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	r.dir = filepath.Join(r.base, "data")
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if r.exe, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	r.follower = powercut.Follow(r.dir)
	return r
}

// life runs the workload's lives from one number to before another; kill "" lets it
// end by itself. It is false when the end of a killed one could not be followed: a
// thread may die in a call of which strace says nothing any more.
func (r *recording) life(from, to int, kill string) bool {
	r.t.Helper()
	trace := filepath.Join(r.base, "trace")
	cmd := powercut.Command(r.t.Context(), r.strace, trace, r.exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+r.dir, childLog+"="+r.log, childStore+"="+r.stores,
		childLives+"="+fmt.Sprint(from, to), childKill+"="+kill)
	out, err := cmd.CombinedOutput()
	killed, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case kill == "" && err != nil:
		r.t.Fatalf("the workload: %v\n%s", err, tail(out))
	case kill != "" && (!ended || killed.ExitCode() != -1): // by a signal
		r.t.Fatalf("the workload was to be killed (%s) and ended with %v\n%s", kill, err, tail(out))
	}
	f, err := os.Open(trace)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	err = r.follower.Life(f)
	if kill != "" && errors.Is(err, powercut.ErrTrace) {
		r.t.Logf("a death that cannot be followed: %v", err)
		return false
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return true
}

func (r *recording) run() *powercut.Run {
	r.t.Helper()
	run := r.follower.Run()
	r.t.Logf("log %s, stores %s: %s", r.log, r.stores, run.Counts())
	return run
}

// record runs the workload twice in one process.
func record(t *testing.T, logDurability, storeDurability string) *powercut.Run {
	t.Helper()
	r := newRecording(t, logDurability, storeDurability)
	r.life(0, 2, "")
	return r.run()
}

// recordKilled runs the workload in three processes, of which two are killed at
// random moments.
func recordKilled(t *testing.T, random *rand.Rand) *powercut.Run {
	t.Helper()
	for range maxDeaths {
		r := newRecording(t, power, power)
		kill := func(life int) bool { return r.life(life, life+1, fmt.Sprint(30+random.IntN(200), random.IntN(3000))) }
		if kill(0) && kill(1) {
			r.life(2, 3, "")
			return r.run()
		}
	}
	t.Fatalf("none of %d runs could be followed", maxDeaths)
	return nil
}

// maxDeaths is how many runs are recorded for one whose deaths can be followed; about
// one in ten cannot.
const maxDeaths = 8

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

// tracer is strace; without it the test is not passed silently.
func tracer(t *testing.T) string {
	t.Helper()
	strace, err := powercut.Tracer(t.Context())
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("POWER CUTS ARE NOT TESTED HERE, and this is CI: %v", err)
		}
		t.Skipf("POWER CUTS ARE NOT TESTED HERE: %v", err)
	}
	return strace
}

// random is seeded by FOOTFALL_TEST_SEED or else by the time.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := uint64(time.Now().UnixNano())
	if given := os.Getenv("FOOTFALL_TEST_SEED"); given != "" {
		var err error
		if s, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FOOTFALL_TEST_SEED=%d repeats the cuts on a trace like this one", s)
	return s
}

// loss is what a cut has taken.
type loss struct {
	at    int
	heard said
	*findings
}

// cut recovers from the cuts and hands over what it found, from several goroutines.
func cut(t *testing.T, run *powercut.Run, mode powercut.Mode, seed uint64, cuts []int, patience time.Duration, found func(loss)) {
	t.Helper()
	base := t.TempDir()
	workers := 2 * min(runtime.GOMAXPROCS(0), 4) // they wait for the disk, too
	began := time.Now()
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(t.Context())
	for w := range workers {
		g.Go(func() error {
			disk := run.Disk(mode)
			for i := w; i < len(cuts) && ctx.Err() == nil; i += workers {
				disk.Advance(cuts[i])
				dir := filepath.Join(base, strconv.Itoa(i))
				if err := os.Mkdir(dir, 0o700); err != nil {
					return err
				}
				if err := disk.Cut(rand.New(rand.NewPCG(seed, uint64(i+1)))).Write(dir); err != nil {
					return err
				}
				heard := listen(run.Marks(cuts[i]))
				f := recoverParts(ctx, dir, heard, patience)
				mu.Lock()
				found(loss{cuts[i], heard, f})
				mu.Unlock()
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
	t.Logf("%d cuts in %.1f s", len(cuts), time.Since(began).Seconds())
}

const power, process = eventlog.DurabilityPower, eventlog.DurabilityProcess

// Patience with an answer. Where nothing may be lost it is long, for a slow machine
// loses nothing; where much is lost it is short, for readers wait for what is not
// there.
const (
	long  = 2 * time.Minute
	short = time.Second
)

// given reads a number of cuts.
func given(t *testing.T, n int) int {
	t.Helper()
	if s := os.Getenv("FOOTFALL_TEST_POWERCUT_CUTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// keeps wants that nothing is lost by any of the cuts.
func keeps(t *testing.T, run *powercut.Run, mode powercut.Mode, seed uint64, cuts []int) {
	t.Helper()
	answered, bad := 0, 0
	cut(t, run, mode, seed, cuts, long, func(l loss) {
		if l.heard.states > 0 && l.heard.last["BULK"] > 0 {
			answered++
		}
		for _, what := range append(append(l.log, l.stores...), l.slow...) {
			if bad++; bad <= 20 {
				t.Errorf("cut at event %d of %d: %s", l.at, run.Events(), what)
			}
		}
	})
	if answered < len(cuts)/2 {
		t.Errorf("only %d of %d cuts had something to lose", answered, len(cuts))
	}
}

// afterDeaths are n cuts from the second process on, most of them around the moment
// at which a process has just said what it read.
func afterDeaths(t *testing.T, run *powercut.Run, random *rand.Rand, n int) []int {
	t.Helper()
	cuts := run.Cuts(random, run.Began(1), run.Events(), n-2*(n*2/5))
	for life := 1; life <= 2; life++ {
		opened := run.Find(fmt.Sprintf("opened %d", life))
		if opened == 0 {
			t.Fatalf("life %d has not opened", life)
		}
		cuts = append(cuts, run.Cuts(random, opened-20, min(opened+20, run.Events()), n*2/5)...)
	}
	slices.Sort(cuts)
	return cuts
}

// Whatever was answered before the power went is there afterwards, once and in
// order, batches are whole, and work goes on; so is whatever a process had read of
// one that was killed before it.
func TestWhatWasAnsweredOrReadSurvivesAThousandPowerCuts(t *testing.T) {
	if delegate(t) {
		return
	}
	n, s := given(t, 1000), seed(t)
	random := rand.New(rand.NewPCG(s, 0))
	mode := powercut.Journal
	if os.Getenv("FOOTFALL_TEST_POWERCUT_MODE") == "strict" { // for information: it loses
		mode = powercut.Strict
	}
	run := record(t, power, power)
	clean := n / 2
	keeps(t, run, mode, s, run.Cuts(random, 0, run.Events(), clean))
	const traces = 4
	for i := range traces {
		run := recordKilled(t, random)
		of := (n - clean) / traces
		if i == 0 {
			of += (n - clean) % traces
		}
		keeps(t, run, mode, s+uint64(i), afterDeaths(t, run, random, of))
	}
	if !t.Failed() {
		report(t, "power cuts of the event log and the stores: %d recovered from, %d of them after a kill -9; nothing lost", n, n-clean)
	}
}

// The test above can fail: without syncs, of the log, of the stores or of both,
// cuts lose what was answered, there and nowhere else.
func TestWithoutSyncsPowerCutsLoseWhatWasAnswered(t *testing.T) {
	if delegate(t) {
		return
	}
	for _, c := range []struct {
		log, stores string
	}{{process, process}, {process, power}, {power, process}} {
		t.Run("log "+c.log+" stores "+c.stores, func(t *testing.T) {
			run, s := record(t, c.log, c.stores), seed(t)
			patience := long
			if c.log == process {
				patience = short
			}
			const n = 40
			log, stores, slow := 0, 0, 0
			cut(t, run, powercut.Journal, s, run.Cuts(rand.New(rand.NewPCG(s, 0)), 0, run.Events(), n), patience, func(l loss) {
				log += min(len(l.log), 1)
				stores += min(len(l.stores), 1)
				slow += min(len(l.slow), 1)
				if len(l.log) > 0 && c.log == power {
					t.Logf("cut at event %d: %s", l.at, l.log[0])
				}
				if len(l.stores) > 0 && c.stores == power {
					t.Logf("cut at event %d: %s", l.at, l.stores[0])
				}
			})
			t.Logf("of %d cuts %d lose of the log, %d of the stores; %d gave no answer in %v", n, log, stores, slow, patience)
			if lost := log > 0; lost != (c.log == process) {
				t.Errorf("%d cuts lose of a log of durability %s", log, c.log)
			}
			if lost := stores > 0; lost != (c.stores == process) {
				t.Errorf("%d cuts lose of stores of durability %s", stores, c.stores)
			}
		})
	}
}

// So can its part with deaths: when nobody syncs what a killed process has left, the
// same cuts take what the next one has read.
func TestWithoutTheSyncAtTheStartPowerCutsLoseWhatWasRead(t *testing.T) {
	if delegate(t) {
		return
	}
	s := seed(t)
	random := rand.New(rand.NewPCG(s, 0))
	log, stores, n := 0, 0, 0
	for turn := 0; turn < 40 && (log == 0 || stores == 0); turn++ {
		run := recordKilled(t, random).Forgetful(1)
		cuts := afterDeaths(t, run, random, 20)
		n += len(cuts)
		cut(t, run, powercut.Journal, s+uint64(turn), cuts, short, func(l loss) {
			log += min(len(l.log), 1)
			stores += min(len(l.stores), 1)
		})
	}
	t.Logf("of %d cuts %d lose of the log, %d of the stores", n, log, stores)
	if log == 0 || stores == 0 {
		t.Errorf("%d cuts lose of the log, %d of the stores: the deaths leave nothing unsynced", log, stores)
	}
}
