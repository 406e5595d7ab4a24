package collect

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the tracking API. Their labels are of our own words, never of what is sent.
type metrics struct {
	requests *prometheus.CounterVec
	calls    *prometheus.CounterVec
	dropped  *prometheus.CounterVec
	unlisted prometheus.Counter
	times    *prometheus.CounterVec
	took     prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "footfall", Subsystem: "collect", Name: name, Help: help}, labels)
	}
	m := &metrics{
		requests: counter("requests_total", "Requests of the tracking API by the status of the answer.", "status"),
		calls:    counter("calls_total", "Calls of the tracking API that are in the log, by type.", "type"),
		dropped:  counter("dropped_total", "Calls, and parts of calls, that were answered and have no effect; see the list of what was dropped.", "code"),
		unlisted: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "footfall", Subsystem: "collect", Name: "dropped_unlisted_total",
			Help: "Of those, the ones that are not on the list, because more came than could be written.",
		}),
		times: counter("times_total", "How the time of a call was found: arrival (it says none), stated, moved by the sender's clock, clamped (it could not be).", "how"),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "footfall", Subsystem: "collect", Name: "request_seconds", Help: "From a request's body to its answer, where that was 200.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.calls, m.dropped, m.unlisted, m.times, m.took} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("metrics of collect: %w", err)
		}
	}
	return m, nil
}
