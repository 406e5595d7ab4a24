package api

import (
	"embed"
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed examples/*.json
var exampleFiles embed.FS

// The campaigns that stand as examples in the document; the demo runs them.
const (
	RainyDay    = "rainy-day"
	WelcomeBack = "welcome-back"
)

// ExampleCampaign is the document of RainyDay or WelcomeBack, as it is put under
// /api/v1/campaigns/<name>. It panics for any other name.
func ExampleCampaign(name string) json.RawMessage {
	if name != RainyDay && name != WelcomeBack {
		panic("api: no example campaign is called " + name)
	}
	return example(name)
}

// example reads a file of examples/, which is there.
func example(name string) json.RawMessage {
	b, err := exampleFiles.ReadFile("examples/" + name + ".json")
	if err != nil {
		panic("api: " + err.Error())
	}
	return b
}

var exampleSummaries = map[string]string{
	RainyDay:         "Umbrella offer in the rain, at or within 300 m of a shop, for people who like fashion; 10 % get nothing, to compare with",
	"order-ready":    "A push with buttons, its own thread and sound on iOS and its channel on Android; in the open app a modal; else a pinned card for three days",
	"fresh-bread":    "On Saturdays at half past eight, where each person is",
	"big-basket":     "Help for people whose basket was worth 50 or more when they left it: an event with conditions on its properties",
	"checkout-help":  "Waits on the phone until the person has been on the checkout screen for 20 s; at most once per session and three times in all; a card of the inbox besides; never a push",
	"rain-begins":    "For people who are in a shop for fashion when rain begins within the hour, no more than every six hours per shop",
	"fitting-room":   "For people who come near a beacon of a shop for fashion, in the open app; trigger.beacons would name single ones",
	WelcomeBack:      "A greeting for people who have been at a place before, at most twice a day",
	"corner-shop":    "A shop with its hours, a fence of its own and a wider one around it, and a beacon at the door",
	"mall":           "A mall with its outline, but for its courtyard, and all within 300 m of it",
	"two-shops":      "Two shops, one with a near ring",
	"limits":         "Three messages a day and ten a week in all, two pushes in 24 hours, one discount a week, an hour between two, quiet nights, twelve points of attention a week",
	"webhook":        "Visits, openings and conversions for a CRM",
	"products":       "Products with a price, a picture and what goes well with them",
	"item":           "A product",
	"left-in-basket": "The product that was left in the basket, with its picture, its price and what goes well with it",
}

func examplesOf(names ...string) map[string]*huma.Example {
	out := map[string]*huma.Example{}
	for _, name := range names {
		out[name] = &huma.Example{Summary: exampleSummaries[name], Value: example(name)}
	}
	return out
}
