package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestBenchNearbyMeasuresUpdatesAndQuestions(t *testing.T) {
	var out, errs bytes.Buffer
	args := []string{"bench", "nearby", "--json", "--devices", "3000", "--cities", "3", "--results", "50", "--queries", "40", "--workers", "2", "--rate", "20000", "--asking", "400", "--seconds", "0.05"}
	if code := run(t.Context(), args, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	var got nearbyReport
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Devices != 3000 || got.BytesPerDevice < 50 || got.H3NS <= 0 || got.UpdatesPerS <= 0 || got.HeatMS <= 0 {
		t.Errorf("not measured: %+v", got)
	}
	for name, q := range map[string]nearbyQuery{"query": got.Query, "in updates": got.QueryInUpdates.nearbyQuery, "nearest": got.Nearest} {
		if q.Queries != 40 || q.P50MS <= 0 || q.P99MS < q.P50MS || q.MaxMS < q.P99MS || q.Results < 30 || q.Results > 70 {
			t.Errorf("%s: %+v", name, q)
		}
	}
	if got.QueryInUpdates.UpdatesPerS < 0 || got.QueryInUpdates.UpdatesPerS > 1e6 {
		t.Errorf("the rate is not held: %+v", got.QueryInUpdates)
	}
	if !strings.Contains(out.String(), `"query_in_updates": {`) || !strings.Contains(out.String(), `"updates_per_s"`) {
		t.Error(out.String())
	}
}

func TestBenchNearbyRefusesWhatItCannotMeasure(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"bench", "nearby", "--devices", "0"}, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), "--devices") {
		t.Errorf("exit %d, %s", code, errs.String())
	}
}
