package loopbench

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/partition"
)

func TestEveryTriggerArrivesOnceInEachConfiguration(t *testing.T) {
	for name, o := range map[string]Options{
		"fast":          {},
		"reference":     {Mode: partition.Reference},
		"power":         {Durability: eventlog.DurabilityPower},
		"twoPartitions": {Partitions: 2, TriggerShare: 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			o.Dir, o.Rate, o.Items, o.Installs = t.TempDir(), 1000, 400, 50
			r, err := Run(t.Context(), o) // verifies the states itself
			if err != nil {
				t.Fatal(err)
			}
			plan := newPlan(&Options{Items: o.Items, Rate: 1, TriggerShare: r.TriggerShare, Installs: 1})
			if r.Posts != plan.triggering || r.Posts < 40 || r.Repeated != 0 {
				t.Errorf("%d POSTs, %d repeated, of %d that trigger", r.Posts, r.Repeated, plan.triggering)
			}
			if r.P50MS <= 0 || r.P50MS > r.P95MS || r.P95MS > r.P99MS || r.P99MS > r.MaxMS {
				t.Errorf("quantiles are not in order: %+v", r)
			}
			if len(r.Stages) != int(stages) || r.Stages[posted].P50MS != r.P50MS {
				t.Errorf("stages are %+v", r.Stages)
			}
			for i, s := range r.Stages[1:] {
				if s.P50MS < r.Stages[i].P50MS {
					t.Errorf("%s comes before %s", s.Name, r.Stages[i].Name)
				}
			}
			if r.AckP50MS <= 0 || r.AckP50MS > r.AckP99MS || r.AckP50MS > r.P50MS {
				t.Errorf("acks are not in order: %+v", r)
			}
			if r.Anchor.SyncP50US <= 0 || r.Anchor.SyncP50US > r.Anchor.SyncP99US {
				t.Errorf("syncs are not in order: %+v", r.Anchor)
			}
			if r.Anchor.AppendP50US <= 0 || r.Anchor.CommitP50US <= 0 || r.Anchor.DistanceNS <= 0 {
				t.Errorf("anchor is %+v", r.Anchor)
			}
			left, err := os.ReadDir(o.Dir)
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestLatencyRunsFromTheDueTime(t *testing.T) {
	p := newPlan(&Options{Items: 1000, Rate: 1000, TriggerShare: 1, Installs: 1})
	// The generator has been held up for a second: all arrive at its end.
	p.begin = now().Add(-time.Second)
	for i := range p.items {
		if err := p.arrive(p.entry(i, make([]byte, itemBytes)).Body); err != nil {
			t.Fatal(err)
		}
	}
	q := p.quantiles(p.late[posted], 0, 0.5, 1)
	for i, want := range []float64{0, 500, 1000} {
		if q[i] < want || q[i] > want+200 {
			t.Errorf("quantile %d is %.0f ms, want about %.0f", i, q[i], want)
		}
	}
}

func TestARepeatedPostIsCountedAndNotTimed(t *testing.T) {
	p := newPlan(&Options{Items: 10, Rate: 1, TriggerShare: 1, Installs: 1})
	p.begin = now()
	for range 3 {
		if err := p.arrive(p.entry(4, make([]byte, itemBytes)).Body); err != nil {
			t.Fatal(err)
		}
	}
	if p.arrived.Load() != 1 || p.repeats.Load() != 2 {
		t.Errorf("%d arrived, %d repeated", p.arrived.Load(), p.repeats.Load())
	}
	for _, bad := range [][]byte{nil, make([]byte, itemBytes-1), p.entry(10, make([]byte, itemBytes)).Body} {
		if err := p.arrive(bad); err == nil {
			t.Errorf("a POST of %d bytes was taken", len(bad))
		}
	}
}

func TestBadOptionsAreRefusedByField(t *testing.T) {
	for field, o := range map[string]Options{
		"rate":          {},
		"items":         {Rate: 1, Items: 3},
		"trigger_share": {Rate: 1000, TriggerShare: 1.5},
		"partitions":    {Rate: 1000, Partitions: -1},
		"durability":    {Rate: 1000, Durability: "hope"},
		"mode":          {Rate: 1000, Mode: "reckless"},
	} {
		_, err := Run(t.Context(), o)
		var e *engage.Error
		if !errors.As(err, &e) || e.Code != engage.Invalid || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestTheResultNamesWhatTheReportNeeds(t *testing.T) {
	o := Options{Rate: 20_000, TriggerShare: 0.2, Mode: partition.Fast, Durability: eventlog.DurabilityProcess}
	text, err := json.Marshal(Result{Prototype: prototypeOf(&o)})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"rate", "durability", "mode", "items", "achieved_per_s", "p50_ms", "p95_ms", "p99_ms", "max_ms", "ack_p50_ms", "ack_p99_ms",
		"cpu_us_per_item", "cpu_us_per_item_server", "prototype", "anchor",
	} {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing in %s", name, text)
		}
	}
	if p, _ := got["prototype"].(map[string]any); p["p50_ms"] != 0.85 || p["p99_ms"] != 8.2 || p["cpu_us_per_item"] != 58.0 {
		t.Errorf("prototype is %v", got["prototype"])
	}
}
