package powercut_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/server/app/powercut"
	"github.com/footfall-engage/footfall/server/eventlog"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := work(dir, os.Getenv(childLog), os.Getenv(childStore)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// record runs the workload and returns what it did to its files.
func record(t *testing.T, logDurability, storeDurability string) *powercut.Run {
	t.Helper()
	strace := tracer(t)
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
	cmd := powercut.Command(t.Context(), strace, trace, exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childLog+"="+logDurability, childStore+"="+storeDurability)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the workload: %v\n%s", err, tail(out))
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	run, err := powercut.Parse(f, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Verify(dir); err != nil {
		t.Fatal(err)
	}
	t.Logf("log %s, stores %s: %s", logDurability, storeDurability, run.Counts())
	return run
}

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

// cut recovers from n cuts and hands over what it found, from several goroutines.
func cut(t *testing.T, run *powercut.Run, mode powercut.Mode, n int, patience time.Duration, found func(at int, s said, f *findings)) {
	t.Helper()
	s := seed(t)
	cuts := run.Cuts(rand.New(rand.NewPCG(s, 0)), 0, n)
	base := t.TempDir()
	workers := 2 * min(runtime.GOMAXPROCS(0), 4) // they wait for the disk, too
	began := time.Now()
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
				if err := disk.Cut(rand.New(rand.NewPCG(s, uint64(i+1)))).Write(dir); err != nil {
					return err
				}
				heard := listen(run.Marks(cuts[i]))
				found(cuts[i], heard, recoverParts(ctx, dir, heard, patience))
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
	t.Logf("%d cuts in %.1f s", n, time.Since(began).Seconds())
}

const power, process = eventlog.DurabilityPower, eventlog.DurabilityProcess

// Whatever was answered before the power went is there afterwards, once and in
// order, batches are whole, and work goes on.
func TestWhatWasAnsweredSurvivesAThousandPowerCuts(t *testing.T) {
	run := record(t, power, power)
	mode := powercut.Journal
	if os.Getenv("FOOTFALL_TEST_POWERCUT_MODE") == "strict" { // for information: it loses
		mode = powercut.Strict
	}
	var answered, bad atomic.Int64
	n := 1000
	if given := os.Getenv("FOOTFALL_TEST_POWERCUT_CUTS"); given != "" {
		var err error
		if n, err = strconv.Atoi(given); err != nil {
			t.Fatal(err)
		}
	}
	cut(t, run, mode, n, time.Minute, func(at int, s said, f *findings) {
		if s.states > 0 && s.last["BULK"] > 0 {
			answered.Add(1)
		}
		for _, what := range append(f.log, f.stores...) {
			if bad.Add(1) <= 20 {
				t.Errorf("cut at event %d of %d: %s", at, run.Events(), what)
			}
		}
	})
	if answered.Load() < int64(n)/2 {
		t.Errorf("only %d cuts had something to lose", answered.Load())
	}
}

// The test above can fail: without syncs, of the log, of the stores or of both,
// cuts lose what was answered, there and nowhere else.
func TestWithoutSyncsPowerCutsLoseWhatWasAnswered(t *testing.T) {
	for _, c := range []struct {
		log, stores string
	}{{process, process}, {process, power}, {power, process}} {
		t.Run("log "+c.log+" stores "+c.stores, func(t *testing.T) {
			run := record(t, c.log, c.stores)
			var log, stores atomic.Int64
			cut(t, run, powercut.Journal, 100, time.Second, func(_ int, _ said, f *findings) {
				if len(f.log) > 0 {
					log.Add(1)
				}
				if len(f.stores) > 0 {
					stores.Add(1)
				}
			})
			t.Logf("of 100 cuts %d lose of the log, %d of the stores", log.Load(), stores.Load())
			if lost := log.Load() > 0; lost != (c.log == process) {
				t.Errorf("%d cuts lose of a log of durability %s", log.Load(), c.log)
			}
			if lost := stores.Load() > 0; lost != (c.stores == process) {
				t.Errorf("%d cuts lose of stores of durability %s", stores.Load(), c.stores)
			}
		})
	}
}
