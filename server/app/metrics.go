package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/footfall-engage/footfall/server/partition"
)

// partitionMetrics reads the partitions' counters when Prometheus asks.
type partitionMetrics struct {
	r                                               *router
	applied, dropped, quarantined, lag, outstanding *prometheus.Desc
	outages, troubled, states, stateBytes           *prometheus.Desc
}

func newPartitionMetrics(r *router) *partitionMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("footfall_partition_"+name, help, []string{"partition"}, nil)
	}
	return &partitionMetrics{
		r:           r,
		applied:     desc("entries_applied_total", "Log entries applied since the start."),
		dropped:     desc("entries_repeated_total", "Log entries that had taken effect before."),
		quarantined: desc("entries_quarantined_total", "Log entries set aside since the start; see the quarantine."),
		lag:         desc("lag_records", "Records in the log that are not applied yet."),
		outstanding: desc("outputs_outstanding", "Outputs that have not been taken over yet."),
		outages:     desc("outages_total", "Times that the store or the log did not answer and was waited for."),
		states:      desc("states_in_memory", "States that the partition keeps in memory."),
		stateBytes:  desc("states_in_memory_bytes", "What these states take when they are encoded, about."),
		troubled:    desc("waits_for_store_or_log", "1 while the partition waits for the store or the log to answer."),
	}
}

// Describe implements prometheus.Collector.
func (m *partitionMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.applied, m.dropped, m.quarantined, m.lag, m.outstanding, m.outages, m.troubled, m.states, m.stateBytes} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *partitionMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, p := range append(append([]partitionStats{}, statsOf(m.r.in)...), statsOf(m.r.act)...) {
		counter := func(d *prometheus.Desc, v uint64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), p.name)
		}
		counter(m.applied, p.Applied)
		counter(m.dropped, p.Dropped)
		counter(m.quarantined, p.Quarantined)
		counter(m.outages, p.Outages)
		troubled := 0.0
		if p.Trouble != (partition.Trouble{}) {
			troubled = 1
		}
		ch <- prometheus.MustNewConstMetric(m.troubled, prometheus.GaugeValue, troubled, p.name)
		lag := float64(p.Landed) - float64(p.Position)
		ch <- prometheus.MustNewConstMetric(m.lag, prometheus.GaugeValue, max(lag, 0), p.name)
		ch <- prometheus.MustNewConstMetric(m.states, prometheus.GaugeValue, float64(p.States), p.name)
		ch <- prometheus.MustNewConstMetric(m.stateBytes, prometheus.GaugeValue, float64(p.StateBytes), p.name)
		ch <- prometheus.MustNewConstMetric(m.outstanding, prometheus.GaugeValue, float64(p.Outstanding), p.name)
	}
}

type partitionStats struct {
	name string
	partition.Stats
}

func statsOf(ps []*partition.Partition) []partitionStats {
	out := make([]partitionStats, len(ps))
	for i, p := range ps {
		out[i] = partitionStats{p.Name(), p.Stats()}
	}
	return out
}
