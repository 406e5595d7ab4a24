package deliver

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	outcomes *prometheus.CounterVec
	claims   *prometheus.CounterVec
	attempt  *prometheus.HistogramVec
	accept   prometheus.Histogram
	inFlight *prometheus.GaugeVec
	paused   *prometheus.GaugeVec
	down     *prometheus.GaugeVec
	cuts     *prometheus.CounterVec

	platformPaused *prometheus.GaugeVec
	refused        prometheus.Counter
	unreadable     prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "footfall_deliver_outcomes_total", Help: "Outcomes told to decide.",
		}, []string{"state", "channel", "reason"}),
		claims: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "footfall_deliver_claims_total", Help: "Claims of in-app messages by answer.",
		}, []string{"answer"}),
		attempt: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "footfall_deliver_attempt_seconds", Help: "Time of an attempt at a push provider, by what it said.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12),
		}, []string{"provider", "kind"}),
		accept: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "footfall_deliver_accept_seconds", Help: "Time until a batch of sends was in the ledger.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "footfall_deliver_in_flight", Help: "Attempts (or outcomes being told) under way.",
		}, []string{"lane"}),
		paused: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "footfall_deliver_paused", Help: "1 while a credential (or the telling of outcomes) is paused: alarm.",
		}, []string{"lane"}),
		platformPaused: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "footfall_deliver_platform_paused", Help: "1 while a credential is paused for one platform only: alarm.",
		}, []string{"lane", "platform"}),
		down: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "footfall_deliver_down", Help: "1 while a push provider answers with errors of its own, or not at all.",
		}, []string{"lane"}),
		cuts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "footfall_deliver_rate_cuts_total", Help: "How often a credential's rate was halved because its quota was exceeded.",
		}, []string{"lane"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "footfall_deliver_refused_total", Help: "Sends that can never be delivered: a bug.",
		}),
		unreadable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "footfall_deliver_unreadable_total", Help: "Ledger records that this version cannot read: alarm.",
		}),
	}
}

func (m *metrics) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.outcomes, m.claims, m.attempt, m.accept, m.inFlight, m.paused, m.platformPaused, m.down, m.cuts, m.refused, m.unreadable} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
