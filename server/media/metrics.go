package media

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/footfall-engage/footfall/server/engage"
)

type metrics struct {
	fetches, requests *prometheus.CounterVec
	removed           prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "footfall_media_fetches_total", Help: "Images that were to be hosted, by what came of it: kept, known (the same bytes were there), refused, unavailable (its host), full (media.host_mb), error.",
		}, []string{"outcome"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "footfall_media_requests_total", Help: "Requests for hosted images: found, not_found, error (the store's).",
		}, []string{"outcome"}),
		removed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "footfall_media_removed_total", Help: "Hosted images that no campaign has shown for the time of grace.",
		}),
	}
}

func (m *metrics) register(r prometheus.Registerer, l *Library) error {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			l.mu.RLock()
			defer l.mu.RUnlock()
			return f()
		})
	}
	for _, c := range []prometheus.Collector{
		m.fetches, m.requests, m.removed,
		gauge("footfall_media_images", "Hosted images.", func() float64 { return float64(len(l.images)) }),
		gauge("footfall_media_bytes", "Bytes of hosted images.", func() float64 { return float64(l.bytes) }),
		gauge("footfall_media_lacking", "Addresses of images that campaigns show and that could not be had so far: messages carry the address itself.",
			func() float64 { return float64(len(l.later)) }),
	} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// fetched counts an image that was not had.
func (m *metrics) fetched(err error) {
	outcome := "error"
	switch engage.CodeOf(err) {
	case engage.Invalid, engage.TooLarge:
		outcome = "refused"
	case engage.Unavailable:
		outcome = "unavailable"
	default:
	}
	m.fetches.WithLabelValues(outcome).Inc()
}
