package loopbench

import (
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/partition"
)

// Result of a run.
type Result struct {
	Rate         int            `json:"rate"` // items offered per second
	Durability   string         `json:"durability"`
	Mode         partition.Mode `json:"mode"`
	Partitions   int            `json:"partitions"` // of each kind
	TriggerShare float64        `json:"trigger_share"`
	Items        int            `json:"items"`
	Posts        int            `json:"posts"`    // items whose POST arrived: all that trigger
	Repeated     int            `json:"repeated"` // POSTs beyond the first of an item
	// AchievedPerS is items over the time from the first until all had arrived.
	AchievedPerS float64 `json:"achieved_per_s"`
	// Latencies from due to arrival, in milliseconds.
	P50MS float64 `json:"p50_ms"`
	P95MS float64 `json:"p95_ms"`
	P99MS float64 `json:"p99_ms"`
	MaxMS float64 `json:"max_ms"`
	// The same from due to the answer to the append, when a phone is acknowledged.
	AckP50MS float64 `json:"ack_p50_ms"`
	AckP99MS float64 `json:"ack_p99_ms"`
	// Stages are what an item that triggers passes, in order.
	Stages []Stage `json:"stages"`
	// CPUUS is the process's user and system time in microseconds per item, with
	// generator, client and sink; CPUBaselineUS is that of those three in a run of
	// their own, CPUServerUS the difference.
	CPUUS         float64 `json:"cpu_us_per_item"`
	CPUBaselineUS float64 `json:"cpu_us_per_item_baseline"`
	CPUServerUS   float64 `json:"cpu_us_per_item_server"`
	Anchor        Anchor  `json:"anchor"`
	// Prototype is the same row of the prototype; nil when it has none.
	Prototype *Prototype `json:"prototype"`
}

// Stage says how long after they were due items had passed a part of the way.
type Stage struct {
	Name  string  `json:"name"`
	P50MS float64 `json:"p50_ms"`
	P99MS float64 `json:"p99_ms"`
}

// Anchor is what this machine's parts took, bare, around the run: compare ratios
// to it, not milliseconds of different machines.
type Anchor struct {
	AppendP50US float64 `json:"append_p50_us"` // one append of 200 bytes to the event log
	CommitP50US float64 `json:"commit_p50_us"` // one commit of one document of 200 bytes
	DistanceNS  float64 `json:"distance_ns"`   // one great-circle distance
	// One fsync of a file to which 4 KiB were appended, whatever the durability: what
	// a disk with another figure does to "power" can be told from it.
	SyncP50US float64 `json:"sync_p50_us"`
	SyncP99US float64 `json:"sync_p99_us"`
}

func (a Anchor) mean(b Anchor) Anchor {
	return Anchor{
		AppendP50US: (a.AppendP50US + b.AppendP50US) / 2, CommitP50US: (a.CommitP50US + b.CommitP50US) / 2,
		DistanceNS: (a.DistanceNS + b.DistanceNS) / 2,
		SyncP50US:  (a.SyncP50US + b.SyncP50US) / 2, SyncP99US: (a.SyncP99US + b.SyncP99US) / 2,
	}
}

// Prototype is a row that was measured before this was built: the same loop,
// thinner, on two cores of another noisy machine.
type Prototype struct {
	Name  string  `json:"name"` // "R3": what Fast is; "base": what Reference is, but reading by a consumer
	P50MS float64 `json:"p50_ms"`
	P99MS float64 `json:"p99_ms"`
	CPUUS float64 `json:"cpu_us_per_item,omitempty"` // the server's; 0 when it was not measured
}

func prototypeOf(o *Options) *Prototype {
	type row struct {
		mode       partition.Mode
		durability string
		rate       int
	}
	if o.TriggerShare != 0.2 {
		return nil
	}
	rows := map[row]Prototype{
		{partition.Fast, eventlog.DurabilityProcess, 1_000}:       {"R3", 0.49, 1.0, 232},
		{partition.Fast, eventlog.DurabilityProcess, 5_000}:       {"R3", 0.33, 2.5, 124},
		{partition.Fast, eventlog.DurabilityProcess, 20_000}:      {"R3", 0.85, 8.2, 58},
		{partition.Fast, eventlog.DurabilityPower, 1_000}:         {"R3", 1.4, 8.4, 0},
		{partition.Fast, eventlog.DurabilityPower, 20_000}:        {"R3", 5.6, 33, 0},
		{partition.Reference, eventlog.DurabilityProcess, 1_000}:  {"base", 0.68, 8.0, 341},
		{partition.Reference, eventlog.DurabilityProcess, 5_000}:  {"base", 0.86, 12, 191},
		{partition.Reference, eventlog.DurabilityProcess, 20_000}: {"base", 373, 766, 62},
		{partition.Reference, eventlog.DurabilityPower, 1_000}:    {"base", 1.44, 8.5, 0},
		{partition.Reference, eventlog.DurabilityPower, 20_000}:   {"base", 5300, 5870, 0},
	}
	if p, ok := rows[row{o.Mode, o.Durability, o.Rate}]; ok {
		return &p
	}
	return nil
}
