package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestBenchGatewayMeasuresTheServerAndABareOne(t *testing.T) {
	var out, errs bytes.Buffer
	args := []string{"bench", "gateway", "--json", "--connections", "10", "--idle", "40", "--fences", "500", "--duration", "500ms", "--rate", "20", "--dir", t.TempDir()}
	if code := run(t.Context(), args, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	keys := []string{"ack_p50_ms", "ack_p99_ms", "connections", "cpu_us_per_message", "host_took", "live_bytes_per_connection", "messages_per_s", "rss_bytes_per_connection"}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	var bare map[string]float64
	if err := json.Unmarshal(got["bare"], &bare); err != nil {
		t.Fatal(err)
	}
	delete(got, "bare")
	if all := slices.Sorted(maps.Keys(got)); !slices.Equal(all, keys) || !slices.Equal(slices.Sorted(maps.Keys(bare)), keys) {
		t.Errorf("keys %v and %v, want %v", all, slices.Sorted(maps.Keys(bare)), keys)
	}
	for _, key := range keys {
		var v float64
		if err := json.Unmarshal(got[key], &v); err != nil {
			t.Fatal(err)
		}
		// So few connections that memory may come out as anything; and CPU time comes
		// in hundredths of a second.
		memory := strings.HasSuffix(key, "per_connection")
		if key == "host_took" {
			if v < 0 || v > 1 || bare[key] < 0 || bare[key] > 1 {
				t.Errorf("the host took %v and %v of the machine", v, bare[key])
			}
			continue
		}
		if !memory && !(v > 0) || !memory && !(bare[key] >= 0) {
			t.Errorf("%s is %v, of the bare server %v", key, v, bare[key])
		}
	}
	if bare["connections"] != 40 || bare["ack_p99_ms"] < bare["ack_p50_ms"] || bare["ack_p50_ms"] <= 0 {
		t.Errorf("bare: %v", bare)
	}
	// What was sent was acknowledged, not refused, and in the size that is promised.
	if n := strings.Count(errs.String(), "telemetry: 100 messages of 14"); n != 2 || strings.Count(errs.String(), "0 held back, 0 refused") != 2 {
		t.Errorf("not the telemetry that was asked for:\n%s", errs.String())
	}
}

func TestBenchGatewayRefusesWhatItCannotMeasure(t *testing.T) {
	for _, args := range [][]string{{"--connections", "0"}, {"--connections", "50", "--idle", "10"}, {"--idle", "100000"}, {"--rate", "0"}, {"--duration", "1ms"}, {"--fences", "-1"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"bench", "gateway"}, args...), &out, &errs); code != exitUsage || !strings.Contains(errs.String(), args[0]) {
			t.Errorf("%v: exit %d, %s", args, code, errs.String())
		}
	}
}

func TestWhatTheHostTookIsTheEighthOfTheMachinesTimes(t *testing.T) {
	m, err := parseMachineTime("cpu  100 20 30 800 5 1 4 40 7 3\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
	if want := (machineTime{all: 1000, stolen: 40}); err != nil || m != want {
		t.Errorf("%+v, %v, want %+v", m, err, want)
	}
	for _, bad := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8 9 10", "cpu 1 2 3 4 5 6 7 x 9 10"} {
		if m, err := parseMachineTime(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, m)
		}
	}
}
