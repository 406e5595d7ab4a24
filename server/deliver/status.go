package deliver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/footfall-engage/footfall/channels"
)

// CredentialState says whether a credential sends.
type CredentialState string

// The states.
const (
	CredentialOK CredentialState = "ok"
	// CredentialUnknown has had no answer since this process started: it may have been
	// paused before, which the next attempt finds out.
	CredentialUnknown CredentialState = "unknown"

	CredentialSlow   CredentialState = "slow"   // the provider has asked for less: Rate grows back
	CredentialPaused CredentialState = "paused" // a person must act: Reason says upon what
	CredentialProbes CredentialState = "probes" // a pause is over, and one message tries
	CredentialDown   CredentialState = "down"   // the provider answers with errors of its own, or not at all
)

// CredentialStatus is what deliver knows of one push credential: what shares a name
// shares a queue, a rate and a pause.
type CredentialStatus struct {
	Provider   channels.Provider
	Credential string // as Senders names it
	State      CredentialState
	// Of the pause, or of the last one while it probes: since when nothing has passed,
	// until when it lasts, and what the provider said. Zero without one.
	Since, Until time.Time
	Reason       string
	Status       int // HTTP status of the answer
	// Platforms that are paused alone, while the credential sends to the others.
	Platforms []PlatformStatus
	Live      QueueStatus // what a moment of a person has sent
	Bulk      QueueStatus // what an import, a schedule or an API call has sent
	InFlight  int         // attempts under way
	// Rate is what it may send, per second, as the provider's answers have it; 0 means
	// without limit.
	Rate float64
	// PerS is what it has sent lately, attempts per second.
	PerS float64
	// LastError is what the provider said last other than yes, and when; zero if it
	// has not since this process started.
	LastError   string
	LastErrorAt time.Time
}

// PlatformStatus is a platform ("android", "ios", "web") of a credential that is paused.
type PlatformStatus struct {
	Platform     string
	Since, Until time.Time
	Reason       string
	Status       int
}

// QueueStatus is what waits in a credential's live or bulk lane, those included that
// wait for the time of their next attempt.
type QueueStatus struct {
	Waiting int
	// Oldest is since when the one that is due the longest waits; zero when none is due.
	Oldest time.Time
}

// Credentials are those that something was sent by since this process started, or
// waits for, by provider and name. An error means that the ledger could not be asked
// how much waits.
func (d *Deliverer) Credentials(ctx context.Context) ([]CredentialStatus, error) {
	now := d.clock.Now()
	type queue struct {
		name  string
		lanes [2][]string // live, bulk
		noted [2]int      // of them under way
	}
	var out []CredentialStatus
	var queues []queue
	d.mu.Lock()
	for _, name := range slices.Sorted(maps.Keys(d.gates)) {
		g := d.gates[name]
		if g.provider == "" {
			continue
		}
		out = append(out, g.status(now))
		q := queue{name: name, noted: [2]int{g.live.noted, g.bulk.noted}}
		for lane, f := range g.flows {
			i := 0
			if f.bulk {
				i = 1
			}
			q.lanes[i] = append(q.lanes[i], lane)
		}
		queues = append(queues, q)
	}
	d.mu.Unlock()
	for i, q := range queues {
		for class, to := range []*QueueStatus{&out[i].Live, &out[i].Bulk} {
			var err error
			if *to, err = d.waiting(ctx, q.name, class == 1, q.lanes[class], q.noted[class], now); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// status is what the gate knows itself.
func (g *gate) status(now time.Time) CredentialStatus {
	g.rate.fill(now)
	s := CredentialStatus{
		Provider: g.provider, Credential: g.credential, State: CredentialOK, InFlight: g.n,
		Rate: g.rate.now(), PerS: g.rate.sent, LastError: g.lastError, LastErrorAt: g.errorAt,
	}
	switch {
	case g.pauses > 0:
		s.Since, s.Until, s.Reason, s.Status = g.since, g.until, g.reason, g.halt.status
		s.State = CredentialPaused
		if g.down {
			s.State = CredentialDown
		} else if !now.Before(g.until) {
			s.State = CredentialProbes
		}
	case now.Before(g.hold) || g.rate.ceiling > 0:
		s.State = CredentialSlow
	case !g.heard:
		s.State = CredentialUnknown
	}
	for _, name := range slices.Sorted(maps.Keys(g.platforms)) {
		if h := g.platforms[name]; h.pauses > 0 || now.Before(h.hold) {
			until := h.until
			if h.hold.After(until) {
				until = h.hold
			}
			s.Platforms = append(s.Platforms, PlatformStatus{name, h.since, until, h.reason, h.status})
		}
	}
	return s
}

// manyLanes is in how many lanes it is looked for the oldest.
const manyLanes = 200

// waiting asks the ledger how much waits in the lanes of one class, besides what is under
// way and still in its lane.
func (d *Deliverer) waiting(ctx context.Context, gate string, bulk bool, lanes []string, noted int, now time.Time) (q QueueStatus, err error) {
	if len(lanes) == 0 {
		return q, nil
	}
	class := "live"
	if bulk {
		class = "bulk"
	}
	if q.Waiting, err = d.o.Ledger.Waiting(ctx, gate+"|"+class+"|"); err != nil {
		return q, fmt.Errorf("count what waits for %s: %w", gate, err)
	}
	q.Waiting = max(q.Waiting-noted, 0)
	slices.Sort(lanes)
	for _, lane := range lanes[:min(len(lanes), manyLanes)] {
		recs, err := d.o.Ledger.Due(ctx, lane, Mark{}, 1+min(noted, page))
		if err != nil {
			return q, fmt.Errorf("find what waits for %s: %w", gate, err)
		}
		first := slices.Index(d.noted(recs), false)
		if first < 0 {
			continue
		}
		if lane == gate { // of builds until issue 5
			q.Waiting++
		}
		if due := recs[first].Due; !due.After(now) {
			q.Oldest = earlier(q.Oldest, due)
		}
	}
	return q, nil
}

// queues are the metrics of what waits, counted when they are asked for.
type queues struct{ d *Deliverer }

var (
	descWaiting = prometheus.NewDesc("footfall_deliver_waiting", "Messages that wait for a credential, live or bulk, those included that wait to be repeated.", []string{"lane", "class"}, nil)
	descRate    = prometheus.NewDesc("footfall_deliver_rate", "Attempts per second that a credential may make, as the provider's answers have it; 0 without limit.", []string{"lane"}, nil)
)

// scrape is how long counting may take.
const scrape = 2 * time.Second

// Describe implements prometheus.Collector.
func (queues) Describe(ch chan<- *prometheus.Desc) {
	ch <- descWaiting
	ch <- descRate
}

// Collect implements prometheus.Collector. Without the ledger there are no metrics,
// rather than wrong ones.
func (q queues) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrape)
	defer cancel()
	all, err := q.d.Credentials(ctx)
	if err != nil {
		return
	}
	for _, c := range all {
		lane := gateName(string(c.Provider), c.Credential)
		ch <- prometheus.MustNewConstMetric(descRate, prometheus.GaugeValue, c.Rate, lane)
		ch <- prometheus.MustNewConstMetric(descWaiting, prometheus.GaugeValue, float64(c.Live.Waiting), lane, "live")
		ch <- prometheus.MustNewConstMetric(descWaiting, prometheus.GaugeValue, float64(c.Bulk.Waiting), lane, "bulk")
	}
}
