package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

// A touch in a timeline says what was told, by names and never by values.
func TestATouchSaysWhatOfThePersonWasTold(t *testing.T) {
	from := engage.TouchSource{Kind: "upload"}
	consents := map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: true}, engage.ConsentProfiling: {}}
	long := strings.Repeat("n", 100)
	for want, touch := range map[string]engage.Touch{
		"upload: attributes a, b, c, d and 2 more; forgot zip":    {Traits: map[string]any{"a": "secret", "b": 1.0, "c": true, "d": "", "e": "x", "f": "x", "zip": nil}},
		"upload: attribute city":                                  {Traits: map[string]any{"city": "secret"}},
		"upload: attribute " + long[:60] + "…":                    {Traits: map[string]any{long: "secret"}},
		"upload: agreed to marketing; said no to profiling":       {Trusted: true, Consents: consents},
		"upload: attribute city; agreed to marketing":             {Trusted: true, Traits: map[string]any{"city": "secret"}, Consents: map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: true}}},
		"upload: named the person":                                {Consents: consents}, // by a public key: not heeded
		"upload: likes books, tea; dislikes tech":                 {Preferences: map[string]engage.Attitude{"tea": engage.Like, "books": engage.Like, "tech": engage.Dislike}},
		"upload: forgot what was said of tea":                     {Preferences: map[string]engage.Attitude{"tea": ""}},
		`upload: "Signed Up"; attribute city`:                     {Event: &engage.TouchEvent{Type: "track", Name: "Signed Up"}, Traits: map[string]any{"city": "secret"}},
		`upload: "Seen"`:                                          {Event: &engage.TouchEvent{Type: "track", Name: "Seen"}},
		"Order o1: completed; agreed to marketing":                {Trusted: true, Order: &engage.Order{ID: "o1", Status: engage.OrderCompleted}, Consents: map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: true}}},
		"upload: named a user without proof":                      {Claimed: "user_id:ada"},
		"upload: another identifier is the same person's":         {Alias: "email:a@example.com"},
		"upload: the browser's language, time zone":               {Device: &engage.TouchDevice{Locale: "nl", TimeZone: "Europe/Amsterdam"}},
		"upload: attribute city; the browser's language, version": {Traits: map[string]any{"city": "secret"}, Device: &engage.TouchDevice{Locale: "nl", AppVersion: "2"}},
	} {
		touch.V, touch.From = 1, from
		body, err := json.Marshal(touch)
		if err != nil {
			t.Fatal(err)
		}
		e := engage.TimelineEntry{Kind: engage.KindTouch, Data: body}
		if got := timelineWords(&e, func(string) string { return "" }); got != want {
			t.Errorf("told as %q, want %q", got, want)
		}
	}
}

// What an app told is named, whether all of it was kept or not.
func TestWhatAnAppToldIsNamed(t *testing.T) {
	for _, c := range []struct {
		kind       engage.Kind
		data, want string
	}{
		{engage.KindTraits, `{"city":"Delft","zip":null}`, "The app told: attribute city; forgot zip"},
		{engage.KindTraits, `{"kept":{"city":"Delft","vip":true},"left_out":["huge"]}`, "The app told: attributes city, vip"},
		{engage.KindTraits, `{"kept":{},"left_out":["huge"]}`, "Attributes were set"},
		{engage.KindTraits, `{"kept":"all"}`, "The app told: attribute kept"},
		{engage.KindPreferences, `{"kept":{"tea":"like"},"left_out":["x"]}`, "Likes tea"},
		{engage.KindPreferences, `{"kept":"like"}`, "Likes kept"},
		{engage.KindPreferences, `null`, ""},
	} {
		e := engage.TimelineEntry{Kind: c.kind, Data: json.RawMessage(c.data)}
		if got := timelineWords(&e, func(string) string { return "" }); got != c.want {
			t.Errorf("%s %s is told as %q, want %q", c.kind, c.data, got, c.want)
		}
	}
}
