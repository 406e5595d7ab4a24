package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/channels/webhook"
)

// receiver is the retailer's own system, which hears of everything by a webhook: it
// verifies each call as a receiver should, and counts.
type receiver struct {
	url    string
	server *http.Server
	done   chan struct{}

	mu     sync.Mutex
	secret string
	seen   map[string]bool // events, by source and id
	count  heard
}

// heard is what a receiver has counted.
type heard struct {
	Calls   int `json:"calls"`   // with a good signature
	Events  int `json:"events"`  // different ones
	Repeats int `json:"repeats"` // that came again, as they may
	Refused int `json:"refused"` // calls whose signature or body was not good
	Waiting int `json:"waiting"` // events that the server still had when it was asked
}

// maxHeard bounds the memory of a demo that goes on for days: beyond it repeats of the
// events before are counted as events.
const maxHeard = 1 << 20

// newReceiver listens on the loopback. Until it knows its secret it asks for patience.
func newReceiver() (*receiver, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the receiver of webhooks: %w", err)
	}
	r := &receiver{url: "http://" + l.Addr().String() + "/footfall", done: make(chan struct{}), seen: map[string]bool{}}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	go func() {
		defer close(r.done)
		_ = r.server.Serve(l) // it ends with close
	}()
	return r, nil
}

// trust says by which secret calls are signed.
func (r *receiver) trust(secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secret = secret
}

// ServeHTTP takes a call.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 1<<20))
	if err != nil {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.secret == "" {
		http.Error(w, "no secret is known yet", http.StatusServiceUnavailable)
		return
	}
	if err := webhook.Verify(req.Header, body, time.Now(), r.secret); err != nil {
		r.count.Refused++
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	events, err := webhook.Parse(req.Header.Get("Content-Type"), body)
	if err != nil {
		r.count.Refused++
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.count.Calls++
	for _, e := range events {
		id := e.Source + " " + e.ID
		if r.seen[id] {
			r.count.Repeats++
			continue
		}
		if len(r.seen) >= maxHeard {
			clear(r.seen)
		}
		r.seen[id] = true
		r.count.Events++
	}
	w.WriteHeader(http.StatusNoContent)
}

// heard is what was counted so far.
func (r *receiver) heard() heard {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

func (r *receiver) close() error {
	err := r.server.Close()
	<-r.done
	return err
}

// webhookID is the demo's.
const webhookID = "town"

// webhook has the receiver told of everything. One of an earlier run on the same folder,
// whose receiver is gone, is replaced.
func (m *marketer) webhook(ctx context.Context, r *receiver) error {
	const path = "/api/v1/webhooks/" + webhookID
	err := m.call(ctx, http.MethodDelete, path, nil, nil, nil)
	if p, ok := errors.AsType[*problem](err); err != nil && (!ok || p.Status != http.StatusNotFound) {
		return fmt.Errorf("remove the webhook of an earlier run: %w", err)
	}
	var made struct {
		Secrets []struct {
			Secret string `json:"secret"`
		} `json:"secrets"`
	}
	if err := m.call(ctx, http.MethodPut, path, nil, map[string]any{"name": "The town's till", "url": r.url, "batch": 20}, &made); err != nil {
		return fmt.Errorf("make the webhook: %w", err)
	}
	if len(made.Secrets) != 1 || made.Secrets[0].Secret == "" {
		return errors.New("the answer to a new webhook has no secret")
	}
	r.trust(made.Secrets[0].Secret)
	return nil
}

// unheard is how many events wait to be sent to the receiver.
func (m *marketer) unheard(ctx context.Context) (int, error) {
	var w struct {
		Health struct {
			Waiting int `json:"waiting"`
		} `json:"health"`
	}
	if err := m.call(ctx, http.MethodGet, "/api/v1/webhooks/"+webhookID, nil, nil, &w); err != nil {
		return 0, fmt.Errorf("read the webhook: %w", err)
	}
	return w.Health.Waiting, nil
}

// hearOut waits until the receiver was told of everything, or for so long, and says
// what it has heard.
func (d *demo) hearOut(ctx context.Context, patience time.Duration) (heard, error) {
	until := time.Now().Add(patience)
	for {
		n, err := d.api.unheard(ctx)
		if err != nil {
			return heard{}, err
		}
		if n == 0 || !time.Now().Before(until) {
			h := d.world.receiver.heard()
			h.Waiting = n
			return h, nil
		}
		pause := time.NewTimer(50 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return heard{}, ctx.Err()
		}
	}
}
