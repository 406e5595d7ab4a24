package uploads

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of all workspaces' uploads. Rows that are read again, after an outage or a
// restart, count again.
type metrics struct {
	rows  *prometheus.CounterVec
	bytes prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "footfall_upload_rows_total", Help: "Rows of uploads that were read, by what came of them: taken (they are in the log), refused (the upload's report says why).",
		}, []string{"outcome"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "footfall_upload_bytes_total", Help: "Bytes of uploads that came in.",
		}),
	}
}

func (m *metrics) register(r prometheus.Registerer, s *Service) error {
	for _, c := range []prometheus.Collector{m.rows, m.bytes, newOpenUploads(s)} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("metrics of uploads: %w", err)
		}
	}
	return nil
}

// counted counts a portion that is in the log.
func (m *metrics) counted(p *portion) {
	m.rows.WithLabelValues("taken").Add(float64(p.taken))
	m.rows.WithLabelValues("refused").Add(float64(p.refused))
}

// openUploads looks at the uploads that have not ended when Prometheus asks.
type openUploads struct {
	s              *Service
	state, waiting *prometheus.Desc
}

func newOpenUploads(s *Service) *openUploads {
	return &openUploads{
		s:       s,
		state:   prometheus.NewDesc("footfall_uploads_open", "Uploads that have not ended, by state: receiving, waiting (for their turn), processing.", []string{"state"}, nil),
		waiting: prometheus.NewDesc("footfall_upload_bytes_waiting", "Bytes of uploads that are here and not processed yet.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (o *openUploads) Describe(ch chan<- *prometheus.Desc) {
	ch <- o.state
	ch <- o.waiting
}

// Collect implements prometheus.Collector.
func (o *openUploads) Collect(ch chan<- prometheus.Metric) {
	by := map[State]float64{Receiving: 0, Waiting: 0, Processing: 0}
	var waiting int64
	o.s.mu.Lock()
	for _, k := range o.s.all {
		if !k.u.State.Ended() {
			by[k.u.State]++
			waiting += k.u.Received - k.u.Used
		}
	}
	o.s.mu.Unlock()
	for state, n := range by {
		ch <- prometheus.MustNewConstMetric(o.state, prometheus.GaugeValue, n, string(state))
	}
	ch <- prometheus.MustNewConstMetric(o.waiting, prometheus.GaugeValue, float64(waiting))
}
