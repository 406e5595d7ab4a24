package ingest

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/footfall-engage/footfall/sdkproto"
)

// metrics of the gateway. Their labels are of the protocol's own words, never of
// what a phone sends.
type metrics struct {
	sessions prometheus.Gauge
	frames   *prometheus.CounterVec
	items    *prometheus.CounterVec
	rejects  *prometheus.CounterVec
	errors   *prometheus.CounterVec
	closes   *prometheus.CounterVec
	limited  *prometheus.CounterVec
	waits    *prometheus.CounterVec
	resumes  *prometheus.CounterVec
	goaways  *prometheus.CounterVec
	endsLost prometheus.Counter
	anew     prometheus.Counter
	ack      *prometheus.HistogramVec
	clocks   *prometheus.CounterVec
	// What is looked up for every message.
	batches prometheus.Counter
	fixes   prometheus.Counter
	ackWS   prometheus.Observer
	ackPost prometheus.Observer
	byKind  map[sdkproto.Kind]prometheus.Counter
	byHow   map[sdkproto.How]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, health func() LogHealth, unacked func() int64) (*metrics, error) {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "footfall", Subsystem: "ingest", Name: name, Help: help}, []string{label})
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "footfall", Subsystem: "ingest", Name: name, Help: help}, f)
	}
	m := &metrics{
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "footfall", Subsystem: "ingest", Name: "sessions", Help: "Open sockets, those before hello included.",
		}),
		frames:  counter("frames_total", "Frames from phones.", "frame"),
		items:   counter("items_total", "Items found good, repeats included.", "kind"),
		rejects: counter("rejects_total", "Items refused.", "code"),
		errors:  counter("errors_total", "Errors told to phones, on sockets and POSTs.", "code"),
		closes:  counter("closes_total", "Sockets closed by the server.", "code"),
		limited: counter("limited_total", "Hellos and batches refused because an address, an install, an app or all phones together asked too fast.", "what"),
		resumes: counter("resumes_total", "Hellos of sockets of SDKs that resume: resumed, refused (the state came anew), or not asked.", "how"),
		goaways: counter("goaways_total", "Phones asked to go.", "reason"),
		endsLost: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "footfall", Subsystem: "ingest", Name: "session_ends_lost_total", Help: "Ends of sessions that the log did not take: until a later session, those installs count as there for as long as situate believes in silence.",
		}),
		anew: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "footfall", Subsystem: "ingest", Name: "begun_anew_total", Help: "First hellos of phones that say they had another install id whose token is lost: many of them when credentials were lost, as by an old backup.",
		}),
		waits: counter("waits_total", "Times that phones were told to wait because the log did not answer or was too busy: stalled and busy are refusals, in_flight asks who waits for an ack to send no more.", "why"),
		ack: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "footfall", Subsystem: "ingest", Name: "ack_seconds",
			Help:    "From a decoded batch (a POST: from its headers) to its durable ack.",
			Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"via"}),
		clocks: counter("clocks_total", "Observations by how their time was found: skewed ones came more than five minutes from the future, absurd ones were refused.", "how"),
		byKind: map[sdkproto.Kind]prometheus.Counter{},
		byHow:  map[sdkproto.How]prometheus.Counter{},
	}
	for _, h := range []sdkproto.How{
		sdkproto.HowMono, sdkproto.HowSent, sdkproto.HowDevice, sdkproto.HowReceived,
		sdkproto.HowClamped, sdkproto.HowSkewed, sdkproto.HowAbsurd,
	} {
		m.byHow[h] = m.clocks.WithLabelValues(string(h))
	}
	for _, k := range []sdkproto.Kind{
		sdkproto.KindLocation, sdkproto.KindRegionEvent, sdkproto.KindEvent, sdkproto.KindIdentify,
		sdkproto.KindPreferences, sdkproto.KindConsent, sdkproto.KindPushToken, sdkproto.KindLifecycle,
		sdkproto.KindReceipt, sdkproto.KindPermissions, sdkproto.KindBeacon, sdkproto.KindLogout, sdkproto.KindLive,
	} {
		m.byKind[k] = m.items.WithLabelValues(string(k))
	}
	m.batches, m.fixes = m.frames.WithLabelValues("batch"), m.byKind[sdkproto.KindLocation]
	m.ackWS, m.ackPost = m.ack.WithLabelValues("ws"), m.ack.WithLabelValues("post")
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.sessions, m.frames, m.items, m.rejects, m.errors, m.closes, m.limited, m.waits, m.resumes, m.goaways, m.endsLost, m.anew, m.clocks, m.ack,
		gauge("log_silent_seconds", "For how long the log has answered nothing to those who have waited longest; 0 when nobody waits.",
			func() float64 { return health().Silent.Seconds() }),
		gauge("log_stalled_slots", "In how many slots of keys the log does not answer and phones are told to wait.",
			func() float64 { return float64(health().Stalled) }),
		gauge("log_waiting_bytes", "About the memory of what the log has taken and not answered.",
			func() float64 { return float64(health().Bytes) }),
		gauge("unacked_bytes", "Frames that phones have not acknowledged, held so that they can resume.",
			func() float64 { return float64(unacked()) }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("ingest: metrics: %w", err)
		}
	}
	return m, nil
}

// came counts a frame by its name.
func (m *metrics) came(frame string) {
	if frame == "batch" {
		m.batches.Inc()
		return
	}
	m.frames.WithLabelValues(frame).Inc()
}

func (m *metrics) accepted(k sdkproto.Kind) {
	if k == sdkproto.KindLocation {
		m.fixes.Inc()
		return
	}
	if c := m.byKind[k]; c != nil {
		c.Inc()
	}
}

func (m *metrics) timed(h sdkproto.How) {
	if c := m.byHow[h]; c != nil {
		c.Inc()
	}
}

func (m *metrics) rejected(code string) { m.rejects.WithLabelValues(code).Inc() }

func (m *metrics) failed(code sdkproto.ErrorCode) { m.errors.WithLabelValues(code.Info().Name).Inc() }

func (m *metrics) closing(code sdkproto.CloseCode) { m.closes.WithLabelValues(code.Info().Name).Inc() }

// resuming counts a hello of an SDK that resumes.
func (m *metrics) resuming(asked, resumed bool) {
	how := "not_asked"
	if asked {
		how = "refused"
	}
	if resumed {
		how = "resumed"
	}
	m.resumes.WithLabelValues(how).Inc()
}

func (m *metrics) ackedWS(d time.Duration) { m.ackWS.Observe(d.Seconds()) }

func (m *metrics) ackedPost(d time.Duration) { m.ackPost.Observe(d.Seconds()) }
