package sqlite_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// The child processes find here what to do.
const (
	childPath  = "FOOTFALL_TEST_SQLITE_PATH"
	childFault = "FOOTFALL_TEST_SQLITE_FAULT"
)

const killWriters = 8

// TestChildWritesUntilKilled is no test of its own: the tests below run it in a
// process that they kill. Each batch has two documents; its line is printed when
// Apply has returned.
func TestChildWritesUntilKilled(t *testing.T) {
	path := os.Getenv(childPath)
	if path == "" {
		t.Skip("runs as a child only")
	}
	var commits int // one leader at a time
	s := open(t, sqlite.Options{Path: path, Collections: docs(store.Index{Name: "n", Paths: []string{"n"}, Unique: true}), Fault: func(point string) error {
		if point != os.Getenv(childFault) {
			return nil
		}
		if commits++; commits < 20 {
			return nil
		}
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			return err
		}
		return self.Kill()
	}})
	var out sync.Mutex
	var wg sync.WaitGroup
	for w := range killWriters {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", w, i)
				b := batch(put(id, fmt.Sprintf(`{"n":%q}`, id)), put(id+"-twin", `{}`))
				if err := s.Apply(t.Context(), b); err != nil {
					t.Error(err)
					return
				}
				out.Lock()
				_, _ = fmt.Fprintf(os.Stdout, "acked %s\n", id) // a reader that has gone is the end anyway
				out.Unlock()
			}
		})
	}
	wg.Wait()
}

// child runs the writer until stop says so of the number of acknowledged batches
// (or it dies by itself), kills it, and returns those.
func child(t *testing.T, path, fault string, stop func(acked int) bool) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildWritesUntilKilled$") //nolint:gosec // this very binary
	cmd.Env = append(os.Environ(), childPath+"="+path, childFault+"="+fault)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acked []string
	killed := false
	lines := bufio.NewReader(pipe)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a last line that was cut off was not said
		}
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "acked "); ok {
			acked = append(acked, id)
		}
		if !killed && stop(len(acked)) {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			killed = true
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child was not killed")
	}
	return acked
}

// verify wants every acknowledged batch, and every batch whole; it returns how
// many documents there are.
func verify(t *testing.T, path string, acked []string) int {
	t.Helper()
	s := open(t, sqlite.Options{Path: path, Collections: docs(store.Index{Name: "n", Paths: []string{"n"}, Unique: true})})
	defer closing(t, s)
	there := map[string]bool{}
	err := s.Iterate(t.Context(), "docs", store.Query{}, func(d store.Doc) error {
		there[d.ID] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range acked {
		if !there[id] {
			t.Errorf("%s was acknowledged and is gone", id)
		}
	}
	for id := range there {
		twin, isTwin := strings.CutSuffix(id, "-twin")
		if !isTwin {
			twin = id + "-twin"
		}
		if !there[twin] {
			t.Errorf("%s is there without its twin", id)
		}
	}
	return len(there)
}

func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	var acked []string
	for round := range 4 { // on the same file: a later round overwrites the earlier ids
		got := child(t, path, "", func(n int) bool { return n >= 300*(round+1) })
		if len(got) < 300 {
			t.Fatalf("only %d acknowledged", len(got))
		}
		acked = append(acked, got...)
		n := verify(t, path, acked)
		t.Logf("round %d: %d acknowledged, %d documents", round, len(got), n)
	}
}

func TestKilledAtTheCommitKeepsBatchesWhole(t *testing.T) {
	for _, fault := range []string{sqlite.FaultBeforeCommit, sqlite.FaultAfterCommit} {
		path := filepath.Join(t.TempDir(), "a.db")
		acked := child(t, path, fault, func(int) bool { return false })
		n := verify(t, path, acked)
		t.Logf("%s: %d acknowledged, %d documents", fault, len(acked), n)
		if unacked := n/2 - len(acked); fault == sqlite.FaultAfterCommit && unacked < 1 {
			t.Errorf("the last commit is not there")
		}
	}
}
