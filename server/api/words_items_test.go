package api

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
)

// itemRuns has decide wait for items of a catalogue in every way that there is, and marks
// which reasons it gave.
func itemRuns(t *testing.T, told map[engage.Reason]bool) {
	t.Helper()
	at := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	want := map[engage.Reason]string{
		engage.ReasonItemsWaits:       `The moment waited for the items that the texts name, for 2 seconds at most: tea of products (not known yet).`,
		engage.ReasonItemsTooMany:     `Too many moments of the person were waiting already.`,
		engage.ReasonItemsUnavailable: `The items that the texts name did not come within 2 seconds: tea of products (not known yet).`,
	}
	config, errs := decide.NewConfig([]decide.Workspace{{
		ID: "acme", Catalogues: []*engage.Catalogue{{ID: "products", Workspace: "acme", Version: 1}},
		Campaigns: []*engage.Campaign{{
			ID: "x", Workspace: "acme", Version: 1, Name: "X", Class: engage.Service, Status: engage.Live,
			Trigger: engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "viewed"},
			Arms:    []engage.Arm{{ID: "a", Message: engage.Content{Title: `{{ catalog.products["tea"].name }}`}}},
		}},
	}})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	p := steptest.New("act/0", decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}})
	p.Adopt(config)
	apply := func(kind engage.Kind, v any) {
		t.Helper()
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Apply(engage.Entry{Kind: kind, Key: engage.ProfileKey("acme", "ada"), At: at, Occurred: at, Body: b}); err != nil {
			t.Fatal(err)
		}
	}
	yes := ""
	look := func() {
		t.Helper()
		for _, b := range p.Docs("decisions") {
			var d engage.Decision
			if err := json.Unmarshal(b, &d); err != nil {
				t.Fatal(err)
			}
			for _, g := range d.Gates {
				if g.Gate != "items" {
					continue
				}
				if told[g.Reason] = true; g.OK {
					yes = gateWords(g)
				} else if words := gateWords(g); words != want[g.Reason] {
					t.Errorf("%s is told as %q, want %q", g.Reason, words, want[g.Reason])
				}
			}
		}
	}
	apply(engage.KindDevice, engage.Device{Install: "i", App: "shop", Platform: "android", Notifications: "granted", SeenAt: at})
	for reason := range want {
		told[reason] = false
	}
	for n := range 51 {
		apply(engage.KindTrigger, engage.Trigger{Type: engage.TriggerEvent, Event: "viewed", Occasion: fmt.Sprint("v", n), Install: "i", OccurredAt: at, WeatherIs: engage.WeatherAbsent})
	}
	look()
	if err := p.FireUntil(at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	look()
	at = at.Add(time.Hour)
	apply(engage.KindTrigger, engage.Trigger{Type: engage.TriggerEvent, Event: "viewed", Occasion: "again", Install: "i", OccurredAt: at, WeatherIs: engage.WeatherAbsent})
	apply(engage.KindItems, engage.Items{V: 1, Items: []engage.KnownItem{{ItemRef: engage.ItemRef{Catalogue: "products", ID: "tea"}, Version: 7, Fields: json.RawMessage(`{"name":"Tea"}`)}}})
	look()
	if yes != "The texts look at the items tea of products (version 7)." {
		t.Errorf("a yes is told as %q", yes)
	}
	delete(told, "")
}
