package fcmsim

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one server.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
	tokens   *prometheus.CounterVec
	arrivals *prometheus.CounterVec
	lost     *prometheus.CounterVec
	devices  prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fcmsim_requests_total", Help: "Send requests by what was answered; status 0 is no answer.",
		}, []string{"status", "code", "accepted"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fcmsim_request_seconds", Help: "From a request's arrival to its answer.", Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10),
		}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fcmsim_access_tokens_total", Help: "Requests for access tokens by result: granted, or OAuth's error.",
		}, []string{"result"}),
		arrivals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fcmsim_arrivals_total", Help: "Messages that reached a phone: its app, its tray, or only the news that some were deleted.",
		}, []string{"via"}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fcmsim_lost_total", Help: "Accepted messages that no phone will see: expired, now_or_never, replaced, too_many_keys, too_many.",
		}, []string{"why"}),
		devices: prometheus.NewGauge(prometheus.GaugeOpts{Name: "fcmsim_devices", Help: "Devices that were added."}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.tokens, m.arrivals, m.lost, m.devices)
	return m
}

func (m *metrics) request(r Request) {
	m.requests.WithLabelValues(strconv.Itoa(r.Status), r.Code, strconv.FormatBool(r.Accepted)).Inc()
}

// Metrics are the server's, for a registry of somebody else's.
func (s *Server) Metrics() prometheus.Gatherer { return s.metrics.registry }
