package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

func TestDistancesAreWithheldOfWhoWithdrew(t *testing.T) {
	d := engage.Decision{
		Trigger: engage.Trigger{Type: engage.TriggerPlace, Transition: engage.Enter, Ring: engage.Inside, Place: "cafe", Evidence: "fix", DistanceM: 33.9, AccuracyM: 8},
		Gates: []engage.GateResult{
			{Gate: "consent", OK: true, Saw: saw("distance_m", 33.9)},
			{Gate: "context", Saw: saw("failed", []any{map[string]any{"field": "trigger.distance_m", "value": 33.9}})},
			{Gate: "cap", Saw: saw("count", 2)},
		},
	}
	body, err := json.Marshal(blurDecision(d))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(body), "33.9") || strings.Contains(string(body), "accuracy_m") || !strings.Contains(string(body), `"count":2`) {
		t.Errorf("%s", body)
	}
	if d.Trigger.DistanceM != 33.9 || d.Gates[0].Saw.Values()["distance_m"] != 33.9 {
		t.Error("the decision itself has changed")
	}
	data, err := json.Marshal(d.Trigger)
	if err != nil {
		t.Fatal(err)
	}
	e := blurEntry(engage.TimelineEntry{Kind: engage.KindTrigger, Data: data})
	if words := timelineWords(&e, func(string) string { return "Café" }); strings.Contains(string(e.Data)+words, "33") || strings.Contains(words, " m away") || !strings.Contains(words, "Café") {
		t.Errorf("%s %s", e.Data, words)
	}
}
