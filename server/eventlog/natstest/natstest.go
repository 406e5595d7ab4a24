// Package natstest runs real nats-server processes for tests: one (Start) or
// three as a cluster (StartCluster), on free ports of 127.0.0.1, built from the
// module that go.mod names. A process can be killed with -9, restarted on the
// same folder and ports, and suspended. On Linux the processes die with the test
// process, however that ends.
//
// The package asks for testing.TB and nothing else of testing, so that commands
// that test themselves can use it, too.
package natstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take to do what it must; reaching it fails
// the test.
const patience = 90 * time.Second

// DefaultMaxPayload is what eventlog needs with room to spare: 5 MB.
const DefaultMaxPayload = 5 << 20

// Options of a server; the zero value is one without authentication or TLS.
type Options struct {
	MaxPayload  int    // bytes; 0 means DefaultMaxPayload
	SyncAlways  bool   // fsync before every acknowledgement (sync_interval: always)
	NoJetStream bool   // a server without JetStream
	Config      string // more lines of the configuration: users, accounts, tls (see TLS and NewOperator)
}

// Server is one nats-server process.
type Server struct {
	t      testing.TB
	name   string
	bin    string
	config string // path
	dir    string // holds the configuration, the log and JetStream's folder
	port   int
	http   int
	js     bool
	client *http.Client

	mu   sync.Mutex
	proc *process // nil while it is down
}

// process is one life of a server.
type process struct {
	ended  chan struct{} // closed when it has been waited for
	signal func(os.Signal) error
}

// Start runs one server and returns when JetStream answers. It is stopped when
// the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	ports := freePorts(t, 2)
	s := newServer(t, "nats-1", t.TempDir(), ports[0], ports[1], o, "")
	s.Restart()
	return s
}

// Cluster is three servers that know each other.
type Cluster struct {
	Servers []*Server
	t       testing.TB
}

// StartCluster runs three servers and returns when their JetStream has elected
// a leader and sees all three.
func StartCluster(t testing.TB, o Options) *Cluster {
	t.Helper()
	const n = 3
	ports := freePorts(t, 3*n)
	routes := make([]string, n)
	for i := range routes {
		routes[i] = fmt.Sprintf("nats-route://127.0.0.1:%d", ports[3*i+2])
	}
	c := &Cluster{t: t}
	for i := range n {
		more := fmt.Sprintf("cluster {\n  name: test\n  listen: \"127.0.0.1:%d\"\n  routes: [%s]\n}\n", ports[3*i+2], strings.Join(routes, ", "))
		c.Servers = append(c.Servers, newServer(t, fmt.Sprintf("nats-%d", i+1), t.TempDir(), ports[3*i], ports[3*i+1], o, more))
	}
	for _, s := range c.Servers {
		s.launch()
	}
	for _, s := range c.Servers {
		s.waitReady()
	}
	c.wait("a cluster of three", func() bool {
		for _, s := range c.Servers {
			var z jsz
			if s.ask("/jsz", &z) != nil || z.Meta == nil || z.Meta.Leader == "" || z.Meta.Size != n {
				return false
			}
		}
		return true
	})
	return c
}

// URLs are the addresses for clients.
func (c *Cluster) URLs() []string { return each(c.Servers, (*Server).URL) }

// MonitorURLs are the monitoring addresses.
func (c *Cluster) MonitorURLs() []string { return each(c.Servers, (*Server).MonitorURL) }

func each(servers []*Server, f func(*Server) string) []string {
	out := make([]string, 0, len(servers))
	for _, s := range servers {
		out = append(out, f(s))
	}
	return out
}

// StreamLeader is the server that leads a stream; the test fails when none does
// in time.
func (c *Cluster) StreamLeader(stream string) *Server {
	c.t.Helper()
	var leader *Server
	c.wait("a leader of "+stream, func() bool {
		for _, s := range c.Servers {
			for _, d := range s.streams() {
				// A server that was killed may still be named by one that has
				// not noticed.
				if d.Name == stream && d.Cluster.Leader == s.name && s.Running() {
					leader = s
					return true
				}
			}
		}
		return false
	})
	return leader
}

// WaitCurrent returns when every server runs and has all of the stream.
func (c *Cluster) WaitCurrent(stream string) {
	c.t.Helper()
	c.wait("every copy of "+stream+" to be current", func() bool {
		leader := false
		for _, s := range c.Servers {
			for _, d := range s.streams() {
				if d.Name != stream || d.Cluster.Leader != s.name {
					continue
				}
				leader = true
				for _, r := range d.Cluster.Replicas {
					if !r.Current || r.Offline {
						return false
					}
				}
			}
		}
		return leader
	})
}

func (c *Cluster) wait(what string, done func() bool) {
	c.t.Helper()
	if !until(func() bool { return done() }) {
		c.t.Fatalf("waited %s for %s", patience, what)
	}
}

// until asks every 20 ms whether it is done, and gives up after patience.
func until(done func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func newServer(t testing.TB, name, dir string, port, monitor int, o Options, more string) *Server {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = DefaultMaxPayload
	}
	var b strings.Builder
	fmt.Fprintf(&b, "server_name: %q\nlisten: \"127.0.0.1:%d\"\nhttp: \"127.0.0.1:%d\"\nmax_payload: %d\n",
		name, port, monitor, o.MaxPayload)
	if !o.NoJetStream {
		sync := `"2m"`
		if o.SyncAlways {
			sync = "always"
		}
		fmt.Fprintf(&b, "jetstream {\n  store_dir: %q\n  max_file_store: 10GB\n  sync_interval: %s\n}\n", filepath.Join(dir, "jetstream"), sync)
	}
	b.WriteString(more)
	b.WriteString(o.Config)
	config := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(config, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Server{
		t: t, name: name, bin: bin, config: config, dir: dir, port: port, http: monitor, js: !o.NoJetStream,
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second},
	}
	t.Cleanup(s.Kill9)
	return s
}

// Name is the server's name.
func (s *Server) Name() string { return s.name }

// Addr is host:port for clients.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// URL for clients.
func (s *Server) URL() string { return "nats://" + s.Addr() }

// MonitorURL is the address of the monitoring port.
func (s *Server) MonitorURL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.http) }

// Dir holds the server's configuration (nats.conf), its log (nats.log) and
// JetStream's folder.
func (s *Server) Dir() string { return s.dir }

// Running reports whether the process runs.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc != nil
}

// Kill9 ends the process as kill -9 does and returns when it has ended. It does
// nothing when the process does not run.
func (s *Server) Kill9() { s.end(os.Kill) }

// Stop ends the process in order (SIGTERM).
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

func (s *Server) end(sig os.Signal) {
	s.mu.Lock()
	p := s.proc
	s.proc = nil
	s.mu.Unlock()
	if p == nil {
		return
	}
	if err := p.signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("%s: signal %s: %v", s.name, sig, err)
	}
	<-p.ended
}

// Suspend stops the process without ending it (SIGSTOP), Resume lets it go on:
// a machine that hangs.
func (s *Server) Suspend() { s.send(syscall.SIGSTOP) }

// Resume is the end of Suspend.
func (s *Server) Resume() { s.send(syscall.SIGCONT) }

func (s *Server) send(sig os.Signal) {
	s.t.Helper()
	s.mu.Lock()
	p := s.proc
	s.mu.Unlock()
	if p == nil {
		s.t.Fatalf("%s does not run", s.name)
	}
	if err := p.signal(sig); err != nil {
		s.t.Fatalf("%s: signal %s: %v", s.name, sig, err)
	}
}

// Restart starts the process anew on the same folder and ports, ending it first
// if it runs, and returns when JetStream answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill9()
	s.launch()
	s.waitReady()
}

// Launch is Restart without the waiting: for a server that needs others.
func (s *Server) Launch() {
	s.t.Helper()
	s.Kill9()
	s.launch()
}

func (s *Server) launch() {
	s.t.Helper()
	p, err := run(s.bin, s.config, filepath.Join(s.dir, "nats.log"))
	if err != nil {
		s.t.Fatalf("start %s: %v", s.name, err)
	}
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()
}

func (s *Server) waitReady() {
	s.t.Helper()
	path := "/healthz?js-enabled-only=true"
	if !s.js {
		path = "/healthz"
	}
	s.mu.Lock()
	p := s.proc
	s.mu.Unlock()
	ended := false
	ready := until(func() bool {
		select {
		case <-p.ended:
			ended = true
			return true
		default:
			return s.ask(path, nil) == nil
		}
	})
	if !ready || ended {
		out, _ := os.ReadFile(filepath.Join(s.dir, "nats.log")) // it explains the failure if it is there
		s.t.Fatalf("%s is not ready (ended: %t):\n%s", s.name, ended, out)
	}
}

// ask gets a page of the monitoring port as JSON into v, which may be nil.
func (s *Server) ask(path string, v any) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.MonitorURL()+path, nil)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	if v == nil {
		_, err := io.Copy(io.Discard, resp.Body)
		return err
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// jsz is what the tests need of the page of that name.
type jsz struct {
	Meta *struct {
		Leader string `json:"leader"`
		Size   int    `json:"cluster_size"`
	} `json:"meta_cluster"`
	Accounts []struct {
		Streams []streamDetail `json:"stream_detail"`
	} `json:"account_details"`
}

type streamDetail struct {
	Name    string `json:"name"`
	Cluster struct {
		Leader   string `json:"leader"`
		Replicas []struct {
			Current bool `json:"current"`
			Offline bool `json:"offline"`
		} `json:"replicas"`
	} `json:"cluster"`
}

func (s *Server) streams() []streamDetail {
	var z jsz
	if !s.Running() || s.ask("/jsz?streams=true&limit=1000", &z) != nil {
		return nil
	}
	var all []streamDetail
	for _, a := range z.Accounts {
		all = append(all, a.Streams...)
	}
	return all
}

// run starts a process from a thread of its own, which lives as long as the
// process: the kernel's signal at the parent's death goes by thread.
func run(bin, config, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), bin, "-c", config)
	cmd.Stdout, cmd.Stderr = out, out
	dieWithParent(cmd)
	p := &process{ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer func() { _ = out.Close() }() // the child has its own
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is for the test that ended it
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	p.signal = cmd.Process.Signal
	return p, nil
}

// freePorts finds ports outside the range that outgoing connections use, so that
// none of them takes a port while its server is down.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	ports, err := ports(n)
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

func ports(n int) ([]int, error) {
	var free []int
	var held []io.Closer
	defer func() {
		for _, l := range held {
			_ = l.Close() // it was only to keep the port
		}
	}()
	var lc net.ListenConfig
	for attempt := 0; len(free) < n; attempt++ {
		if attempt > 1000 {
			return nil, errors.New("natstest: no free ports")
		}
		port := nextPort()
		l, err := lc.Listen(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		held = append(held, l)
		free = append(free, port)
	}
	return free, nil
}
