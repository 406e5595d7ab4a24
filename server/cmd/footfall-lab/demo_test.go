package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// runDemo runs the command as a shell would, and reads its one object.
func runDemo(t *testing.T, args ...string) (code int, r report, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var out, progress bytes.Buffer
	code = run(ctx, append([]string{"demo", "--json", "--port", "0", "--speed", "30"}, args...), &out, &progress)
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("exit %d, no report: %v\n%s", code, err, &progress)
	}
	if d.More() {
		t.Error("there is more than one object on standard output")
	}
	return code, r, progress.String()
}

// Everything that the demo promises to show must be in a short run of a small
// town already; what depends on chance depends on the seed.
func TestTheDemoShowsEverythingAndLosesNothing(t *testing.T) {
	t.Parallel()
	code, r, errs := runDemo(t, "--people", "120", "--duration", "10s")
	if code != 0 || r.Lost != 0 || r.Duplicates != 0 || r.Resent != 0 || r.Audit.Unordered != 0 || r.Audit.Quarantined != 0 || r.Audit.VisitFaults != 0 {
		t.Errorf("exit %d, lost %d, duplicates %d, resent %d: %+v\n%s", code, r.Lost, r.Duplicates, r.Resent, r.Audit, errs)
	}
	for what, n := range map[string]int{
		"fixes": r.Fixes, "region events": r.RegionEvents, "transitions": r.Transitions, "visits": r.Visits,
		"visits inside": r.Visit.Inside, "visits that ended": r.Visit.Ended[engage.EndedByExit], "sent": r.Decisions.Sent,
		"held out": r.Decisions.HeldOut, "consent": r.Decisions.Suppressed["consent"], "cap": r.Decisions.Suppressed["cap"],
		"audience": r.Decisions.Suppressed["audience"], "fcm": r.Deliveries.FCM, "apns": r.Deliveries.APNs, "in-app": r.Deliveries.InApp,
		"delivered": r.Receipts.Delivered, "displayed": r.Receipts.Displayed, "opened": r.Receipts.Opened,
		"push latencies": r.LatencyMS.Push.N, "in-app latencies": r.LatencyMS.InApp.N, "rejected": r.Rejected["consent_missing"],
	} {
		if n <= 0 {
			t.Errorf("%s: %d", what, n)
		}
	}
	if sent := r.Deliveries.FCM + r.Deliveries.APNs + r.Deliveries.InApp + r.Deliveries.Inbox; sent != r.Decisions.Sent {
		t.Errorf("%d deliveries of %d sent", sent, r.Decisions.Sent)
	}
	all := r.Decisions.Sent + r.Decisions.HeldOut + r.Decisions.Expired + r.Decisions.Failed + r.Decisions.Pending
	for n := range maps.Values(r.Decisions.Suppressed) {
		all += n
	}
	if all != r.Audit.Decided {
		t.Errorf("%d decisions by state, %d in all", all, r.Audit.Decided)
	}
	if w := r.Webhooks; w.Calls == 0 || w.Events+w.Waiting < r.Transitions || w.Refused != 0 { // repeats are allowed: a call may time out
		t.Errorf("the retailer's own system was told %+v of %d transitions", w, r.Transitions)
	}
	if !strings.Contains(errs, "live page: http://localhost:") {
		t.Errorf("no link to the live page:\n%s", errs)
	}
}

func TestTheAuditFindsExactlyWhatWasSabotaged(t *testing.T) {
	t.Parallel()
	code, r, errs := runDemo(t, "--people", "120", "--duration", "8s", "--sabotage", "lose=5,double=3")
	if code != exitFailed || r.Lost != 5 || r.Duplicates != 3 {
		t.Errorf("exit %d, lost %d, duplicates %d; want 1, 5, 3: %+v\n%s", code, r.Lost, r.Duplicates, r.Audit, errs)
	}
	if len(r.Audit.LostItems) != 5 || len(r.Audit.Unsettled) != 0 || len(r.Audit.ShownTwice) != 3 {
		t.Errorf("named are %+v", r.Audit)
	}
	installs := slices.CompactFunc(slices.Clone(r.Audit.LostItems), func(a, b item) bool { return a.Install == b.Install })
	if len(installs) != 5 {
		t.Errorf("the lost items are of %d phones", len(installs))
	}
}

// A second run on the same folder is another day of the same shops.
func TestADemoGoesOnInAnEarlierFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		code, r, errs := runDemo(t, "--people", "40", "--duration", "3s", "--data", dir)
		if code != 0 || r.Lost != 0 || r.Fixes == 0 || r.Audit.Unordered != 0 {
			t.Errorf("exit %d: %+v\n%s", code, r, errs)
		}
	}
}

func TestWrongUsageIsToldByItsExitCode(t *testing.T) {
	for _, args := range [][]string{
		{"demo", "--port", "70000"},
		{"demo", "--people", "0"},
		{"demo", "--people", "x"},
		{"demo", "--shops", "-1"},
		{"demo", "--speed", "0"},
		{"demo", "--speed", "NaN"},
		{"demo", "--duration", "-1s"},
		{"demo", "--json"},
		{"demo", "--sabotage", "lose=1"},
		{"demo", "--sabotage", "lose"},
		{"demo", "extra"},
		{"demo", "--kill", "nats", "--nats"},
		{"demo", "--duration", "1s", "--kill", "nats"},
		{"demo", "--duration", "1s", "--kill", "everybody"},
		{"demo", "--duration", "1s", "--kill", "server,server"},
		{"demo", "--duration", "1s", "--kill", "server", "--sabotage", "lose=1"},
		{"demo", "--nats", "--event-log", "nats://127.0.0.1:1"},
		{"demo", "--event-log", "http://127.0.0.1:1"},
		{"replay"},
		{"replay", "a", "b"},
		{"replay", "there-is-no-such-file"},
		{"replay", "x", "--mode", "slow"},
		{"replay", "x", "--batch", "-1"},
		{"sim", "--phones", "0"},
		{"sim", "--rate", "-1"},
		{"sim", "--duration", "0s"},
		{"sim", "--app-key", "ffa_x"},
		{"dance"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != exitUsage || out.Len() > 0 || errs.Len() == 0 {
			t.Errorf("%q: exit %d, stdout %q, stderr %q", args, code, &out, &errs)
		}
	}
	for _, args := range [][]string{{"--help"}, {"demo", "--help"}, {"replay", "--help"}, {"sim", "--help"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != 0 || !strings.Contains(out.String(), "footfall-lab") {
			t.Errorf("%q: exit %d, %q", args, code, &out)
		}
	}
}
