package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/eventlog"
)

// process is a program that can be killed -9 and started again. It is one of this
// program's hidden commands, which print one line when they are up and end when
// their standard input does: with whoever started them, however that ended.
type process struct {
	name string
	path string
	args []string
	env  []string
	log  *os.File // takes its standard error

	mu    sync.Mutex
	cmd   *exec.Cmd
	input io.Closer     // of cmd
	ended chan struct{} // closed when cmd has
	asked bool          // the end of cmd is ours
}

// upWithin is how long a program may take until it says that it is up.
const upWithin = 60 * time.Second

// start starts the program and returns the line that it prints.
func (p *process) start(ctx context.Context) (line string, err error) {
	cmd := exec.Command(p.path, p.args...) //nolint:noctx // it outlives the context that asked for it
	cmd.Env, cmd.Stderr = p.env, p.log
	input, err := cmd.StdinPipe() // open until the process ends
	if err != nil {
		return "", fmt.Errorf("start %s: %w", p.name, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", fmt.Errorf("start %s: %w", p.name, err)
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.input, p.ended, p.asked = cmd, input, ended, false
	p.mu.Unlock()
	said := make(chan string, 1)
	go func() {
		defer close(ended)
		text, _ := bufio.NewReader(out).ReadString('\n') // empty when it ended first
		said <- text
		_, _ = io.Copy(io.Discard, out) // until it ends
		_ = cmd.Wait()                  // it may say "killed"
	}()
	patience := time.NewTimer(upWithin)
	defer patience.Stop()
	select {
	case line = <-said:
		if line == "" {
			return "", fmt.Errorf("%s ended before it was up", p.name)
		}
		return line, nil
	case <-patience.C:
		err = fmt.Errorf("%s is not up after %v", p.name, upWithin)
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.kill()
	return "", err
}

// kill is kill -9; it returns when the process has ended.
func (p *process) kill() {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.asked = true
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill() // it may have ended
	<-ended
}

// died reports whether the process has ended without being asked to.
func (p *process) died() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.asked {
		return false
	}
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// self is this program as a process that runs one of its hidden commands.
func self(name string, env []string, log *os.File, args ...string) (*process, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return &process{name: name, path: path, args: args, env: env, log: log}, nil
}

// untilStdinEnds is ctx until the standard input ends.
func (c *cli) untilStdinEnds(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, c.in) // whatever ends it
	}()
	return ctx
}

// runNATS is the hidden command that is a nats-server with JetStream.
func (c *cli) runNATS() *cobra.Command {
	var dir string
	var port int
	var sync bool
	cmd := &cobra.Command{Use: "run-nats", Short: "A NATS server for the demo", Args: noArgs, Hidden: true}
	cmd.Flags().StringVar(&dir, "dir", "", "folder of its streams")
	cmd.Flags().IntVar(&port, "port", 0, "port on the loopback; 0 lets the system choose")
	cmd.Flags().BoolVar(&sync, "sync", false, "sync every message to the disk before it is acknowledged")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := c.untilStdinEnds(cmd.Context())
		if port == 0 {
			port = server.RANDOM_PORT
		}
		s, err := server.NewServer(&server.Options{
			ServerName: "footfall-demo", Host: "127.0.0.1", Port: port, NoSigs: true,
			JetStream: true, StoreDir: dir, JetStreamMaxStore: 1 << 50, SyncAlways: sync,
			MaxPayload: eventlog.MaxMessageBytes + 1<<20,
		})
		if err != nil {
			return fmt.Errorf("nats-server: %w", err)
		}
		go s.Start()
		defer s.WaitForShutdown()
		defer s.Shutdown()
		if !s.ReadyForConnections(upWithin) || !s.JetStreamEnabled() {
			return errors.New("nats-server: it does not come up")
		}
		if _, err := fmt.Fprintln(c.out, s.ClientURL()); err != nil {
			return fmt.Errorf("say that it is up: %w", err)
		}
		<-ctx.Done()
		return nil
	}
	return cmd
}

// up is what run-server prints when it listens.
type up struct {
	URL string `json:"url"`
	Key string `json:"key"` // the first admin key; empty when there was one
}

// runServer is the hidden command that is the server of a demo that kills it.
func (c *cli) runServer() *cobra.Command {
	cmd := &cobra.Command{Use: "run-server", Short: "The server of a demo", Args: noArgs, Hidden: true}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := c.untilStdinEnds(cmd.Context())
		conf, err := config.Load("", c.env)
		if err != nil {
			return usageError{err}
		}
		a, err := app.New(ctx, app.Options{Config: conf, Logger: warnings(c.errs), Version: "demo"})
		if err != nil {
			return err
		}
		if err := json.NewEncoder(c.out).Encode(up{a.URL(), a.FirstKey().Reveal()}); err != nil {
			return errors.Join(err, a.Close())
		}
		return a.Run(ctx)
	}
	return cmd
}

// environ is the environment for a server of its own: a run's configuration, and
// of the machine's what is not Footfall's.
func environ(c *config.Config) []string {
	var out []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "FOOTFALL_") || strings.HasPrefix(kv, "FOOTFALL_TEST_") {
			out = append(out, kv)
		}
	}
	for _, s := range []struct{ name, value string }{
		{"DATA_DIR", c.DataDir},
		{"LISTEN", c.Listen},
		{"DURABILITY", string(c.Durability)},
		{"PARTITIONS", strconv.Itoa(c.Partitions)},
		{"LOG_LEVEL", "warn"},
		{"LIMITS_REGISTRATIONS_PER_S", strconv.Itoa(c.Limits.RegistrationsPerS)},
		{"UPLOADS_ROWS_PER_S", strconv.Itoa(c.Uploads.RowsPerS)},
		{"EVENT_LOG_URL", c.EventLog.URL},
		{"EVENT_LOG_REPLICAS", strconv.Itoa(c.EventLog.Replicas)},
		{"EVENT_LOG_PREFIX", c.EventLog.Prefix},
		{"EVENT_LOG_CREDENTIALS_FILE", c.EventLog.CredentialsFile},
		{"EVENT_LOG_NKEY_FILE", c.EventLog.NKeyFile},
		{"EVENT_LOG_USER", c.EventLog.User},
		{"EVENT_LOG_PASSWORD", c.EventLog.Password.Reveal()},
		{"EVENT_LOG_TOKEN", c.EventLog.Token.Reveal()},
		{"EVENT_LOG_TLS_ROOT_CA_FILE", c.EventLog.TLS.RootCAFile},
		{"EVENT_LOG_TLS_CERT_FILE", c.EventLog.TLS.CertFile},
		{"EVENT_LOG_TLS_KEY_FILE", c.EventLog.TLS.KeyFile},
		{"EVENT_LOG_MONITOR_URL", c.EventLog.MonitorURL},
		{"STORE_MONGODB_URI_FILE", c.Store.MongoDB.URIFile},
		{"STORE_MONGODB_URI", c.Store.MongoDB.URI.Reveal()},
		{"STORE_MONGODB_DATABASE", c.Store.MongoDB.Database},
		{"WEATHER_CONTACT", c.Weather.Contact},
		{"WEATHER_BASE_URL", c.Weather.BaseURL},
		{"PROVIDERS_FCM_ENDPOINT", c.Providers.FCM.Endpoint},
		{"WEBHOOKS_ALLOW_NETWORKS", c.Webhooks.AllowNetworks},
		{"PROVIDERS_APNS_PRODUCTION_URL", c.Providers.APNs.ProductionURL},
		{"PROVIDERS_APNS_SANDBOX_URL", c.Providers.APNs.SandboxURL},
		{"PROVIDERS_APNS_ROOT_CA_FILE", c.Providers.APNs.RootCAFile},
	} {
		if s.value != "" {
			out = append(out, "FOOTFALL_"+s.name+"="+s.value)
		}
	}
	return out
}
