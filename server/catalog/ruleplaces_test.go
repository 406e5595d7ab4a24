package catalog_test

import (
	"encoding/json"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

func TestRulesNamePlacesThatThereAre(t *testing.T) {
	c := fresh(t)
	ctx := t.Context()
	must(t, c.PutPlace(ctx, by, place("acme", "cafe"), 0))
	must(t, c.PutPlace(ctx, by, place("acme", "bar", "f-bar"), 0))
	asks := func(audience, context string) func(*engage.Campaign) {
		return func(c *engage.Campaign) {
			if audience != "" {
				c.Audience = json.RawMessage(audience)
			}
			if context != "" {
				c.Context = json.RawMessage(context)
			}
		}
	}
	for field, change := range map[string]func(*engage.Campaign){
		"audience.any[1].field": asks(`{"any":[{"field":"visits","op":"ge","value":1},{"field":"visited.pub.visits","op":"ge","value":1}]}`, ""),
		"audience.value":        asks(`{"field":"favourite_place","op":"eq","value":"pub"}`, ""),
		"context.not.value[1]":  asks("", `{"not":{"field":"place.id","op":"in","value":["cafe","pub"]}}`),
		"audience.all[0].field": asks(`{"all":[{"field":"visited.cafe.often","op":"ge","value":1}]}`, ""),
		"audience.all[0].value": asks(`{"all":[{"field":"visited.cafe.last_at","op":"within_last","value":"30 days"}]}`, ""),
	} {
		wantError(t, field, c.PutCampaign(ctx, by, campaign("acme", "x", change), 0), engage.Invalid, field)
	}
	must(t, c.PutCampaign(ctx, by, campaign("acme", "x", asks(`{"field":"visited.cafe.last_at","op":"within_last","value":"30d"}`, "")), 0))
	wantError(t, "a place that a rule names", c.DeletePlace(ctx, by, "acme", "cafe", 1), engage.Conflict, "id")
	must(t, c.DeletePlace(ctx, by, "acme", "bar", 1))
}
