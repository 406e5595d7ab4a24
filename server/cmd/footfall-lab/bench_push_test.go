package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestBenchPushPrintsWhatItPromises(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"bench", "push", "--json", "--pushes", "300", "--dir", t.TempDir()}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	var got map[string]map[string]map[string]float64
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	for _, provider := range []string{"apns", "fcm"} {
		for _, latency := range []string{"0ms", "50ms"} {
			for _, key := range []string{"per_s", "bare_per_s", "p99_ms", "cpu_us"} {
				if v := got[provider][latency][key]; !(v > 0) {
					t.Errorf("%s %s %s is %v", provider, latency, key, v)
				}
			}
		}
		if p := got[provider]["50ms"]["p99_ms"]; p < 50 {
			t.Errorf("%s: a provider that takes 50 ms answered in %v", provider, p)
		}
	}
}

func TestBenchPushRefusesWhatItCannotMeasure(t *testing.T) {
	for _, args := range [][]string{{"--pushes", "1"}, {"--runs", "0"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"bench", "push"}, args...), &out, &errs); code != exitUsage || !strings.Contains(errs.String(), args[0]) {
			t.Errorf("%v: exit %d, %s", args, code, errs.String())
		}
	}
}
