package eventlog_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
)

// childEnv makes the test binary the process that is killed: it appends to the
// log in that folder until then, and prints what has been acknowledged.
const childEnv = "FOOTFALL_EVENTLOG_CHILD"

const childProducers = 16

func child(dir string) {
	ctx := context.Background()
	l, err := eventlog.OpenEmbedded(ctx, eventlog.EmbeddedOptions{Dir: dir})
	if err != nil {
		panic(err)
	}
	s, err := l.Open(ctx, "IN_0", "in.0.>")
	if err != nil {
		panic(err)
	}
	w := newWriter(s, eventlog.WriterOptions{Now: time.Now})
	for p := range childProducers {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d.%d.%d", os.Getpid(), p, i)
				if err := w.Append(ctx, []engage.Entry{entry("shop", id)}); err != nil {
					panic(err)
				}
				_, _ = os.Stdout.WriteString(id + "\n")
			}
		}()
	}
	panic(w.Run(ctx))
}

func TestWhatWasAcknowledgedSurvivesKill9(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	acked := map[string]bool{}
	for range 3 {
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^$")
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for lines := bufio.NewScanner(out); lines.Scan(); n++ {
			acked[lines.Text()] = true
			if n == 500 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // it was killed
		if n < 500 {
			t.Fatalf("the child ended by itself after %d", n)
		}
	}

	l := embedded(t, dir, "")
	defer func() { _ = l.Close() }()
	s, err := l.Open(t.Context(), "IN_0", "in.0.>")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	next := map[string]int{}
	for _, e := range entriesOf(t, records(t, s)) {
		count[string(e.Body)]++
		var pid, p, i int
		if _, err := fmt.Sscanf(string(e.Body), "%d.%d.%d", &pid, &p, &i); err != nil {
			t.Fatal(err)
		}
		producer := fmt.Sprintf("%d.%d", pid, p)
		if next[producer] != i {
			t.Fatalf("producer %s: %d came when %d was next", producer, i, next[producer])
		}
		next[producer]++
	}
	for id := range acked {
		if count[id] != 1 {
			t.Errorf("%s was acknowledged and is there %d times", id, count[id])
		}
	}
	t.Logf("%d acknowledged, %d there", len(acked), len(count))
}
