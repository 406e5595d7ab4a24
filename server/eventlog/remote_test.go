package eventlog_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
	"github.com/footfall-engage/footfall/server/eventlog/natstest"
)

func connect(t testing.TB, o eventlog.RemoteOptions) *eventlog.JetStream {
	t.Helper()
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	l, err := eventlog.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// keepsTheContract runs the suite on shared servers: each test has a prefix of
// its own, which is how installations share an account.
func keepsTheContract(t *testing.T, o eventlog.RemoteOptions) {
	t.Helper()
	var n atomic.Int64
	eventlogtest.Run(t, func(t *testing.T) func() eventlog.Log {
		o := o
		o.Prefix = fmt.Sprintf("T%d", n.Add(1))
		return func() eventlog.Log { return connect(t, o) }
	})
}

func TestAnExternalServerKeepsTheContract(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	keepsTheContract(t, eventlog.RemoteOptions{URLs: []string{s.URL()}})
}

func TestAClusterKeepsTheContract(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, natstest.Options{})
	keepsTheContract(t, eventlog.RemoteOptions{URLs: c.URLs(), Replicas: 3})
}
