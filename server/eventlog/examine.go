package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// MinServerVersion is the oldest nats-server that is taken. From 2.11 on the new
// leader of a stream answers only when it has applied what it inherited
// (nats-server pull requests 6485 and 6518); from 2.12 on one that has not caught
// up, or has lost its disk, cannot become the leader (7038, 7040). Before, an
// acknowledged record could look lost or be lost.
const MinServerVersion = "2.12"

// wantedPayload is what a message of MaxMessageBytes needs.
const wantedPayload = MaxMessageBytes + maxHeaderBytes

// probeStream is the empty stream whose making shows that the account may make,
// trim and read streams and that the cluster holds the replicas.
const probeStream = "FOOTFALL"

const attemptFor = 5 * time.Second

// examine finds out whether the servers can hold the log.
func (l *JetStream) examine(ctx context.Context, o RemoteOptions) error {
	if v := l.nc.ConnectedServerVersion(); older(v, MinServerVersion) {
		return refuse("url", nil, "the server is nats-server %s, at least %s is needed: older ones can lose or hide acknowledged records when a cluster changes its leader", v, MinServerVersion)
	}
	if n := l.nc.MaxPayload(); n < wantedPayload {
		return refuse("url", nil, "the server takes messages up to %d bytes, %d are needed: set max_payload: 5MB on every server", n, wantedPayload)
	}
	if err := l.attempt(ctx, "ask for JetStream", l.enabled); err != nil {
		return err
	}
	if err := l.attempt(ctx, "make the stream "+l.streamName(probeStream), l.probe); err != nil {
		return err
	}
	if o.Durability == DurabilityPower {
		return l.examinePower(ctx, o)
	}
	return nil
}

func (l *JetStream) enabled(ctx context.Context) error {
	_, err := l.js.AccountInfo(ctx)
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return refuse("url", err, "JetStream is not enabled: set jetstream { store_dir: … } on the servers and enable it for the account")
	}
	return err
}

func (l *JetStream) probe(ctx context.Context) error {
	name := l.streamName(probeStream)
	if err := l.ensure(ctx, name, []string{l.subject("footfall.probe")}); err != nil {
		if errors.Is(err, errNotOurs) {
			return refuse("prefix", err, "stream %s belongs to somebody else", name)
		}
		return err
	}
	st, err := l.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	if err := st.Purge(ctx); err != nil {
		return err
	}
	c, err := l.js.CreateConsumer(ctx, name, jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, Replicas: 1, MemoryStorage: true, InactiveThreshold: inactiveCursor,
	})
	if err != nil {
		return err
	}
	return l.js.DeleteConsumer(ctx, name, c.CachedInfo().Name)
}

// attempt does something at the start until it works, is refused, or ctx ends.
func (l *JetStream) attempt(ctx context.Context, what string, do func(context.Context) error) error {
	for backoff := minReconnect; ; backoff = min(2*backoff, maxReconnect) {
		err := l.unlessForbidden(ctx, do)
		switch {
		case err == nil:
			return nil
		case isRefused(err), errors.Is(l.mapErr(err), ErrClosed):
			return fmt.Errorf("%s: %w", what, err)
		}
		if !l.pause(ctx, backoff) {
			return fmt.Errorf("%s: the servers did not answer as they should: %w", what, err)
		}
	}
}

// unlessForbidden does it, and gives up as soon as the server tells of a missing
// permission: the request itself would get no answer.
func (l *JetStream) unlessForbidden(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptFor)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	select {
	case err := <-done:
		return err
	case err := <-l.link.refused:
		cancel()
		if did := <-done; did == nil {
			return nil // it was of something else, and logged
		}
		return refuse("user", err, "a permission is missing: publish to $JS.API.> and the log's subjects, subscribe to _INBOX.>")
	}
}

// older reports whether a version ("2.12.0-RC.1") is below another's major and minor.
func older(version, than string) bool {
	a, b := majorMinor(version), majorMinor(than)
	return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
}

// majorMinor of a version; zeros for what is not one.
func majorMinor(v string) (n [2]int) {
	parts := strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3)
	for i := range min(2, len(parts)) {
		n[i], _ = strconv.Atoi(parts[i]) // zero is older than anything
	}
	return n
}

// examinePower asks the servers whether they fsync before they acknowledge.
func (l *JetStream) examinePower(ctx context.Context, o RemoteOptions) error {
	var unasked []string
	asked, size := map[string]bool{}, 1
	for _, url := range o.MonitorURLs {
		m, err := askMonitor(ctx, url)
		switch {
		case err != nil:
			unasked = append(unasked, fmt.Sprintf("%s (%s)", url, err))
		case m.Disabled:
			// It stores nothing.
		case !m.Config.SyncAlways:
			return refuse("durability", nil, "%s does not fsync before it acknowledges: set jetstream { sync_interval: always } on every server, or use durability %q", url, DurabilityProcess)
		default:
			asked[m.ID] = true
			size = max(size, m.Meta.Size)
		}
	}
	if connected := l.nc.ConnectedServerId(); len(asked) >= size && len(unasked) == 0 && !asked[connected] {
		return refuse("monitor_url", nil, "none of these addresses is the monitoring port of the server that the log is on (%s): whether it fsyncs would remain unknown", l.nc.ConnectedServerName())
	}
	if len(asked) < size || len(o.MonitorURLs) == 0 {
		unasked = append(unasked, fmt.Sprintf("%d of %d servers told whether they fsync", len(asked), max(size, len(l.nc.Servers()))))
	}
	if len(unasked) > 0 {
		l.log.Warn("event log: durability power was not checked everywhere; every server needs jetstream { sync_interval: always }", "not_checked", strings.Join(unasked, "; "))
	}
	return nil
}

// monitor is what a server's page /jsz says of it.
type monitor struct {
	ID       string `json:"server_id"`
	Disabled bool   `json:"disabled"`
	Config   struct {
		SyncAlways bool `json:"sync_always"`
	} `json:"config"`
	Meta struct {
		Size int `json:"cluster_size"`
	} `json:"meta_cluster"`
}

func askMonitor(ctx context.Context, url string) (monitor, error) {
	var m monitor
	ctx, cancel := context.WithTimeout(ctx, attemptFor)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+"/jsz?config=1", nil)
	if err != nil {
		return m, errors.New("not a URL")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
	resp, err := client.Do(req)
	if err != nil {
		return m, errors.New("does not answer")
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	if resp.StatusCode != http.StatusOK {
		return m, fmt.Errorf("answers %s", resp.Status)
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(&m); err != nil || m.ID == "" {
		return m, errors.New("is not a monitoring port")
	}
	return m, nil
}
