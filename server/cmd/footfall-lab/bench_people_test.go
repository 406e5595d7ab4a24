package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBenchPeopleMeasuresWhatItPromisesAndAgainOnWhatItKept(t *testing.T) {
	dir := t.TempDir()
	measure := func(args ...string) (got map[string]float64, errs string) {
		t.Helper()
		var out, err bytes.Buffer
		args = append([]string{"bench", "people", "--json", "--duration", "300ms", "--dir", dir}, args...)
		if code := run(t.Context(), args, &out, &err); code != 0 {
			t.Fatalf("exit %d: %s", code, err.String())
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		return got, err.String()
	}
	got, errs := measure("--profiles", "300", "--events", "2", "--keep")
	for _, key := range []string{
		"profiles", "events_per_s", "profile_p50_ms", "profile_p99_ms", "bytes_per_profile", "import_rows_per_s", "import_events_per_s", "cpu_us_per_import_row",
		"reads", "peak_rss_bytes", "import_peak_rss_bytes", "log_bytes", "disk_bytes",
	} {
		if !(got[key] > 0) {
			t.Errorf("%s is %v", key, got[key])
		}
	}
	if got["profiles"] != 300 || got["profile_p99_ms"] < got["profile_p50_ms"] || got["disk_bytes"] < got["log_bytes"] || got["peak_rss_bytes"] < got["import_peak_rss_bytes"] {
		t.Errorf("%v", got)
	}
	_, kept, found := strings.Cut(errs, "kept: ")
	if !found {
		t.Fatalf("where the folder is was not said: %s", errs)
	}
	// The run itself fails when what was sent is not in the timelines, and of somebody
	// else's data: that the same folder is measured again shows both.
	again, _ := measure("--data", strings.TrimSpace(kept))
	if again["profiles"] != 300 || again["import_rows_per_s"] != got["import_rows_per_s"] || !(again["events_per_s"] > 0) {
		t.Errorf("of the kept folder: %v, before %v", again, got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%d folders are left, %v; want the kept one", len(left), err)
	}
}

func TestBenchPeopleUploadsEachEventOnceAndJumpsFromPersonToPerson(t *testing.T) {
	for _, n := range []int{1, 2, 100, 4096} {
		var b bytes.Buffer
		if err := writeEvents(&b, n, 3); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != 3*n+1 {
			t.Fatalf("%d rows of %d persons", len(rows), n)
		}
		each, ids := map[string]int{}, map[string]bool{}
		for i, r := range rows[1:] {
			each[r[0]]++
			ids[r[3]] = true
			if n > 2 && i > 0 && r[0] == rows[i][0] {
				t.Errorf("two in a row of %s", r[0])
			}
		}
		if len(ids) != 3*n || len(each) != n || each[customerOf(0)] != 3 || each[customerOf(n-1)] != 3 {
			t.Errorf("%d events of %d persons: %d ids, of %d persons", 3*n, n, len(ids), len(each))
		}
	}
}

func TestBenchPeopleRefusesWhatItCannotMeasure(t *testing.T) {
	for _, args := range [][]string{{"--profiles", "99"}, {"--events", "-1"}, {"--duration", "1ms"}, {"--data", filepath.Join(t.TempDir(), "none")}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"bench", "people"}, args...), &out, &errs); code != exitUsage || !strings.Contains(errs.String(), args[0]) {
			t.Errorf("%v: exit %d, %s", args, code, errs.String())
		}
	}
}
