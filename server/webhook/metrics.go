package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metricsNow reads the machine's clock: latency is of the machine.
func metricsNow() time.Time { return time.Now() } //nolint:forbidigo // a metric of latency

type metrics struct {
	attempts, sent, died, dropped *prometheus.CounterVec
	seconds                       prometheus.Histogram
}

func newMetrics() *metrics {
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "footfall_webhook_" + name, Help: help}, append([]string{"workspace", "webhook"}, more...))
	}
	return &metrics{
		attempts: counter("attempts_total", "Calls by what came of them.", "kind"),
		sent:     counter("events_sent_total", "Events that a receiver took."),
		died:     counter("dead_letters_total", "Events that became dead letters, by why.", "why"),
		dropped:  counter("events_dropped_total", "Events for which there was no room even among the dead letters: alarm."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "footfall_webhook_attempt_seconds", Help: "Time of a call.", Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12),
		}),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.attempts, m.sent, m.died, m.dropped, m.seconds}
}

// forget drops what is counted of a subscription that is gone.
func (m *metrics) forget(k Key) {
	for _, v := range []*prometheus.CounterVec{m.attempts, m.sent, m.died, m.dropped} {
		v.DeletePartialMatch(prometheus.Labels{"workspace": k.Workspace, "webhook": k.ID})
	}
}

var (
	labels      = []string{"workspace", "webhook"}
	descWaiting = prometheus.NewDesc("footfall_webhook_events_waiting", "Events that are not sent yet.", labels, nil)
	descDead    = prometheus.NewDesc("footfall_webhook_dead_letters", "Dead letters that are kept; counted when they are listed.", labels, nil)
	descFailing = prometheus.NewDesc("footfall_webhook_failing_seconds", "How long nothing has been taken while something failed; 0 while it works: alarm.", labels, nil)
)

// collector reads the lanes when Prometheus asks.
type collector struct{ d *Dispatcher }

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descWaiting
	ch <- descDead
	ch <- descFailing
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	now := c.d.clock.Now()
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	for k, l := range c.d.lanes {
		failing := 0.0
		if !l.since.IsZero() {
			failing = max(now.Sub(l.since).Seconds(), 1)
		}
		for desc, v := range map[*prometheus.Desc]float64{descWaiting: float64(l.waiting), descDead: float64(l.dead), descFailing: failing} {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, k.Workspace, k.ID)
		}
	}
}
