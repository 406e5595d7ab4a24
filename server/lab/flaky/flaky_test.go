package flaky_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/server/lab/flaky"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that answers every line with itself.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

func start(t *testing.T, o flaky.Options) *flaky.Proxy {
	p, err := flaky.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

// talk sends lines until the connection ends, or n came back.
func talk(addr string, n int) int {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	for i := range n {
		line := fmt.Sprintf("line %d of a connection that may end at any byte\n", i)
		if _, err := io.WriteString(c, line); err != nil {
			return i
		}
		if got, err := r.ReadString('\n'); err != nil || got != line {
			return i
		}
	}
	return n
}

func TestEveryCutIsMadeAndThenAllPasses(t *testing.T) {
	p := start(t, flaky.Options{Target: echo(t), Cuts: 60, Seed: 3, MaxTime: 20 * time.Millisecond})
	whole := 0
	for range 1000 {
		if p.Counts().Cuts == 60 {
			break
		}
		if talk(p.Addr(), 400) == 400 {
			whole++
		}
	}
	c := p.Counts()
	if c.Cuts != 60 || c.Refused+c.Reset+c.Ended+c.RepliesLost+c.Unheard != 60 {
		t.Fatalf("not 60 cuts: %+v", c)
	}
	if c.Refused == 0 || c.Reset == 0 || c.Ended == 0 || c.RepliesLost == 0 || c.Unheard == 0 || c.Delayed == 0 {
		t.Errorf("a kind never came: %+v", c)
	}
	for range 5 {
		if n := talk(p.Addr(), 1000); n != 1000 {
			t.Errorf("cut after the last cut, at line %d", n)
		}
	}
	if after := p.Counts(); after.Cuts != 60 {
		t.Errorf("%d cuts", after.Cuts)
	}
	t.Logf("%+v, whole: %d", c, whole)
}

func TestTheSeedDrawsTheFate(t *testing.T) {
	// One connection after another, without a limit of time that could come first,
	// so that only bytes count.
	run := func(seed uint64) (c flaky.Counts) {
		p := start(t, flaky.Options{Target: echo(t), Cuts: 40, Seed: seed, MaxBytes: 4000, MaxTime: time.Hour})
		for p.Counts().Cuts < 40 {
			talk(p.Addr(), 100000)
		}
		c = p.Counts()
		c.BytesUp, c.BytesDown, c.Delayed, c.Connections = 0, 0, 0, 0
		return c
	}
	if a, b := run(7), run(7); a != b {
		t.Errorf("the same seed gave %+v and %+v", a, b)
	}
	if a, b := run(7), run(8); a == b {
		t.Errorf("another seed gave the same: %+v", a)
	}
}
