package eventlog_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/eventlog/natstest"
)

func TestABrokerKilledUnderLoadLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	l := connect(t, eventlog.RemoteOptions{URLs: []string{s.URL()}})
	defer func() { _ = l.Close() }()
	x := startLoad(t, l, eventlog.WriterOptions{})
	for range 8 {
		x.progress(100 + rand.IntN(400))
		s.Kill9()
		s.Restart()
	}
	x.progress(100)
	x.check()
}

func TestAClustersNodesKilledUnderLoadLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, natstest.Options{})
	l := connect(t, eventlog.RemoteOptions{URLs: c.URLs(), Replicas: 3})
	defer func() { _ = l.Close() }()
	x := startLoad(t, l, eventlog.WriterOptions{})
	for range 2 {
		x.progress(100 + rand.IntN(400))
		c.WaitCurrent("IN_0")
		killed := c.StreamLeader("IN_0")
		began := time.Now()
		killed.Kill9()
		x.progress(100) // with one node down
		t.Logf("the leader's death cost %s", time.Since(began).Round(time.Millisecond))
		killed.Restart()
		c.WaitCurrent("IN_0")
	}
	x.progress(100)
	x.check()
}

func TestWithoutAMajorityBoundsSayNothingInsteadOfSomethingOld(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, natstest.Options{})
	l := connect(t, eventlog.RemoteOptions{URLs: c.URLs(), Replicas: 3})
	defer func() { _ = l.Close() }()
	s, err := l.Open(t.Context(), "IN_0", "in.0.>")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := s.Append(t.Context(), "in.0.shop", []byte("x"), int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	leader := c.StreamLeader("IN_0")
	for _, n := range c.Servers {
		if n != leader {
			n.Kill9()
		}
	}
	// The leader does not notice at once; when it has, any copy may answer.
	eventually(t, "no answer", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, last, err := s.Bounds(ctx)
		if err == nil && last != 10 {
			t.Fatalf("last is %d", last)
		}
		return err != nil
	})
	for _, n := range c.Servers {
		if !n.Running() {
			n.Launch()
		}
	}
	eventually(t, "an answer", func() bool {
		_, last, err := s.Bounds(t.Context())
		return err == nil && last == 10
	})
}

func TestABrokerThatIsDownForAWhileIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	l := connect(t, eventlog.RemoteOptions{URLs: []string{s.URL()}})
	defer func() { _ = l.Close() }()
	x := startLoad(t, l, eventlog.WriterOptions{MaxPending: loadProducers + 50})
	x.progress(200)
	s.Kill9()
	eventually(t, "the loss to be noticed", func() bool { return !l.Status().Connected })
	if st := l.Status(); st.Reason == "" || st.Since.IsZero() {
		t.Errorf("status is %+v", st)
	}

	// An append of the stream itself fails at once.
	if _, err := x.s.Append(t.Context(), "in.0.shop", []byte("x"), -1); err == nil {
		t.Error("an append to a broker that is away was answered")
	}
	// A caller with little time gets its own context's end.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	wantErr(t, "append", x.writer.Append(ctx, []engage.Entry{entry("shop", "impatient")}), context.DeadlineExceeded)
	// Others come until too much waits.
	var wg sync.WaitGroup
	for i := 0; ; i++ {
		id := fmt.Sprintf("async %d", i)
		wg.Add(1)
		err := x.writer.AppendAsync([]engage.Entry{entry("shop", id)}, func(_ uint64, err error) {
			defer wg.Done()
			x.mu.Lock()
			defer x.mu.Unlock()
			if err != nil {
				t.Errorf("%s: %v", id, err)
			}
			x.acked[id] = err == nil
		})
		if err != nil {
			wg.Done()
			wantErr(t, id, err, eventlog.ErrBusy)
			x.mu.Lock()
			x.refused[id] = true
			x.mu.Unlock()
			break
		}
	}
	before := x.count()
	elapse(t, outage(t))
	if n := x.count(); n != before {
		t.Errorf("%d were acknowledged by nobody", n-before)
	}
	s.Restart()
	x.progress(200)
	wg.Wait()
	if st := l.Status(); !st.Connected || st.Reason != "" || st.Server == "" {
		t.Errorf("status is %+v", st)
	}
	x.check()
}

// cable is a TCP proxy that can stop passing anything on without closing.
type cable struct {
	addr string
	ln   net.Listener
	wg   sync.WaitGroup

	mu    sync.Mutex
	cut   chan struct{} // closed while nothing is cut
	conns []net.Conn
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	whole := make(chan struct{})
	close(whole)
	c := &cable{addr: ln.Addr().String(), ln: ln, cut: whole}
	c.wg.Go(func() {
		for {
			a, err := ln.Accept()
			if err != nil {
				return
			}
			var d net.Dialer
			b, err := d.DialContext(context.Background(), "tcp", to)
			if err != nil {
				_ = a.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, a, b)
			c.mu.Unlock()
			c.wg.Go(func() { c.pass(a, b) })
			c.wg.Go(func() { c.pass(b, a) })
		}
	})
	t.Cleanup(func() {
		c.mend()
		_ = ln.Close()
		c.mu.Lock()
		for _, conn := range c.conns {
			_ = conn.Close()
		}
		c.mu.Unlock()
		c.wg.Wait()
	})
	return c
}

func (c *cable) pass(from, to net.Conn) {
	defer func() { // a half-closed connection is of no use
		_ = from.Close()
		_ = to.Close()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		c.mu.Lock()
		whole := c.cut
		c.mu.Unlock()
		<-whole
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *cable) sever() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = make(chan struct{})
}

func (c *cable) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.cut:
	default:
		close(c.cut)
	}
}

func TestASilentNetworkIsNoticedAndNothingIsLost(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	c := newCable(t, s.Addr())
	l := connect(t, eventlog.RemoteOptions{URLs: []string{"nats://" + c.addr}})
	defer func() { _ = l.Close() }()
	x := startLoad(t, l, eventlog.WriterOptions{})
	x.progress(200)
	c.sever()
	began := time.Now()
	eventually(t, "the silence to be noticed", func() bool { return !l.Status().Connected })
	t.Logf("the silence was noticed after %s", time.Since(began).Round(time.Millisecond))
	c.mend() // what was held up now arrives, answers to nobody included
	x.progress(200)
	x.check()
}

func TestASuspendedBrokerIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	l := connect(t, eventlog.RemoteOptions{URLs: []string{s.URL()}})
	defer func() { _ = l.Close() }()
	x := startLoad(t, l, eventlog.WriterOptions{})
	x.progress(200)
	s.Suspend()
	elapse(t, 2*time.Second) // longer than an answer is waited for
	s.Resume()
	x.progress(200)
	x.check()
}

func TestAReaderWhoseServerDiesTakesAnother(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, natstest.Options{})
	l := connect(t, eventlog.RemoteOptions{URLs: c.URLs(), Replicas: 3})
	defer func() { _ = l.Close() }()
	x := startLoad(t, l, eventlog.WriterOptions{})
	x.progress(100)
	leader := c.StreamLeader("IN_0")
	for _, s := range c.Servers { // one of them has the reader's consumer
		if s == leader {
			continue
		}
		s.Kill9()
		x.progress(100)
		eventually(t, "the reader to be with the writer", func() bool {
			_, last, err := x.s.Bounds(t.Context())
			x.mu.Lock()
			defer x.mu.Unlock()
			return err == nil && uint64(len(x.followed))+100 > last
		})
		s.Restart()
		c.WaitCurrent("IN_0")
	}
	x.check()
}
