package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/lab/pipelinebench"
)

func TestBenchPipelineFollowsFixesToPushesAndScreens(t *testing.T) {
	var out, errs bytes.Buffer
	args := []string{
		"bench", "pipeline", "--json", "--fences", "200", "--campaigns", "20", "--phones", "20", "--rates", "100",
		"--duration", "500ms", "--durability", "process", "--dir", t.TempDir(),
	}
	if code := run(t.Context(), args, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	var got struct {
		Fences, Campaigns int
		Runs              []map[string]any
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if got.Fences != 200 || got.Campaigns != 20 || len(got.Runs) != 2 {
		t.Fatalf("%s", out.String())
	}
	keys := []string{
		"ack_ms", "cpu_us_per_fix", "decisions_per_s", "duplicates", "durability", "elsewhere", "fixes_per_s", "generator_late_ms", "host_took",
		"latency_ms", "load", "lost", "offered_fixes_per_s", "path", "refused",
	}
	for i, path := range []string{"push", "in_app"} {
		r := got.Runs[i]
		if all := slices.Sorted(maps.Keys(r)); !slices.Equal(all, keys) {
			t.Errorf("keys %v, want %v", all, keys)
		}
		if r["path"] != path || r["durability"] != "process" {
			t.Errorf("run %d is %v, %v", i, r["path"], r["durability"])
		}
		for _, key := range []string{"fixes_per_s", "decisions_per_s", "offered_fixes_per_s"} {
			if v, _ := r[key].(float64); !(v > 0) {
				t.Errorf("%s: %s is %v", path, key, r[key])
			}
		}
		for _, key := range []string{"lost", "duplicates", "refused"} {
			if r[key] != 0.0 {
				t.Errorf("%s: %s is %v\n%s", path, key, r[key], errs.String())
			}
		}
		l, _ := r["latency_ms"].(map[string]any)
		p50, _ := l["p50"].(float64)
		if p99, _ := l["p99"].(float64); !(p50 > 0) || p99 < p50 {
			t.Errorf("%s: latencies %v", path, l)
		}
	}
}

func TestBenchPipelineRefusesWhatItCannotMeasure(t *testing.T) {
	for _, args := range [][]string{
		{"--fences", "8"}, {"--campaigns", "1"}, {"--phones", "0"}, {"--every", "1"}, {"--path", "sms"}, {"--durability", "none"}, {"--rates", "0"}, {"--duration", "1ms"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"bench", "pipeline"}, args...), &out, &errs); code != exitUsage || !strings.Contains(errs.String(), args[0]) {
			t.Errorf("%v: exit %d, %s", args, code, errs.String())
		}
	}
}

func TestTheAuditOfThePipelineFindsWhatIsLostAndWhatIsDouble(t *testing.T) {
	sent := func(install, id string) benchYes {
		return benchYes{Install: install, Delivery: id, State: engage.Sent, Channel: "fcm"}
	}
	sound := func() (pipelineArrived, []benchYes) {
		return pipelineArrived{
			Entered:  map[string]int{"ada": 2, "bob": 1},
			Arrivals: map[string]pipelinebench.Arrival{"1": {Times: 1}, "2": {Times: 1}, "3": {Times: 1}},
		}, []benchYes{sent("ada", "1"), sent("ada", "2"), sent("bob", "3")}
	}
	for _, c := range []struct {
		name string
		harm func(*pipelineArrived, *[]benchYes)
		want pipelineVerdict
	}{
		{"nothing", func(*pipelineArrived, *[]benchYes) {}, pipelineVerdict{}},
		{"a fix without a decision", func(p *pipelineArrived, _ *[]benchYes) { p.Entered["bob"]++ }, pipelineVerdict{undecided: 1}},
		{"a phone without any", func(p *pipelineArrived, _ *[]benchYes) { p.Entered["eve"] = 3 }, pipelineVerdict{undecided: 3}},
		{"a decision that nobody asked for", func(p *pipelineArrived, _ *[]benchYes) { p.Entered["ada"]-- }, pipelineVerdict{unasked: 1}},
		{"a stranger's decision", func(p *pipelineArrived, _ *[]benchYes) { delete(p.Entered, "bob") }, pipelineVerdict{unasked: 1}},
		{"sent, and not there", func(p *pipelineArrived, _ *[]benchYes) { delete(p.Arrivals, "2") }, pipelineVerdict{lost: 1}},
		{"twice", func(p *pipelineArrived, _ *[]benchYes) { p.Arrivals["2"] = pipelinebench.Arrival{Times: 3} }, pipelineVerdict{duplicates: 2}},
		{"a message of no decision", func(p *pipelineArrived, _ *[]benchYes) { p.Arrivals["9"] = pipelinebench.Arrival{Times: 1} }, pipelineVerdict{unasked: 1}},
	} {
		phones, yes := sound()
		c.harm(&phones, &yes)
		got := judgePipeline(phones, yes)
		c.want.yes, c.want.unsent = got.yes, got.unsent
		if got.undecided != c.want.undecided || got.unasked != c.want.unasked || got.lost != c.want.lost || got.duplicates != c.want.duplicates || len(got.unsent) != 0 {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	phones, yes := sound()
	yes[1].State, yes[1].Reason = engage.Failed, "no_channel"
	delete(phones.Arrivals, "2")
	if got := judgePipeline(phones, yes); got.lost != 0 || got.unsent["failed fcm no_channel"] != 1 {
		t.Errorf("a failed one: %+v", got)
	}
}
