package natstest_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/server/eventlog/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func streamOf(t *testing.T, url string, replicas int) (jetstream.JetStream, func()) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: replicas}); err != nil {
		t.Fatal(err)
	}
	return js, nc.Close
}

func TestAServerKilledAndRestartedHasItsFolderAndPort(t *testing.T) {
	s := natstest.Start(t, natstest.Options{})
	js, done := streamOf(t, s.URL(), 1)
	if _, err := js.Publish(t.Context(), "s", []byte("x")); err != nil {
		t.Fatal(err)
	}
	done()
	s.Kill9()
	if s.Running() {
		t.Fatal("a killed server runs")
	}
	var d net.Dialer
	if c, err := d.DialContext(t.Context(), "tcp", s.Addr()); err == nil {
		_ = c.Close()
		t.Fatal("a killed server takes connections")
	}
	s.Restart()
	js, done = streamOf(t, s.URL(), 1)
	defer done()
	st, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if n := st.CachedInfo().State.Msgs; n != 1 {
		t.Fatalf("%d messages are there, want 1", n)
	}
}

func TestAClusterOfThreeKeepsThreeCopies(t *testing.T) {
	c := natstest.StartCluster(t, natstest.Options{})
	_, done := streamOf(t, c.URLs()[0], 3)
	defer done()
	c.WaitCurrent("S")
	if l := c.StreamLeader("S"); !l.Running() {
		t.Fatal("the leader does not run")
	}
	if len(c.MonitorURLs()) != 3 {
		t.Fatalf("monitors are %q", c.MonitorURLs())
	}
}
