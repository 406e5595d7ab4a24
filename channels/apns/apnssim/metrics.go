package apnssim

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what the simulator does.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	fates    *prometheus.CounterVec
	refused  prometheus.Counter
	byAnswer sync.Map // answerKey to prometheus.Counter: a Vec's own look-up hashes each time
}

type answerKey struct {
	status int
	reason string
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apnssim_requests_total", Help: "Pushes that arrived, by what was answered; status 0 means that nothing was."}, []string{"status", "reason"}),
		fates:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apnssim_pushes_total", Help: "Accepted pushes by their fate: delivered, stored, replaced (by a newer one in store), expired, throttled."}, []string{"fate"}),
		refused:  prometheus.NewCounter(prometheus.CounterOpts{Name: "apnssim_streams_refused_total", Help: "Streams above the limit."}),
	}
	m.registry.MustRegister(m.requests, m.fates, m.refused,
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "apnssim_connections_total", Help: "Connections accepted."}, func() float64 { return float64(s.Connections()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "apnssim_goaways_total", Help: "Connections told to go away."}, func() float64 { return float64(s.GoAways()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "apnssim_provider_tokens_total", Help: "Provider tokens seen."}, func() float64 { return float64(s.ProviderTokens()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "apnssim_streams", Help: "Requests under way."}, func() float64 { return float64(s.InFlight()) }),
	)
	return m
}

// request counts an answer.
func (m *metrics) request(status int, reason string) {
	k := answerKey{status, reason}
	c, ok := m.byAnswer.Load(k)
	if !ok {
		c, _ = m.byAnswer.LoadOrStore(k, m.requests.WithLabelValues(strconv.Itoa(status), reason))
	}
	c.(prometheus.Counter).Inc()
}

// fate counts what became of an accepted push.
func (m *metrics) fate(f string) {
	c, ok := m.byAnswer.Load(f)
	if !ok {
		c, _ = m.byAnswer.LoadOrStore(f, m.fates.WithLabelValues(f))
	}
	c.(prometheus.Counter).Inc()
}

// Metrics gathers the simulator's Prometheus metrics.
func (s *Server) Metrics() prometheus.Gatherer { return s.metrics.registry }
