package why_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/why"
)

var (
	noon = time.Date(2026, 11, 2, 11, 0, 0, 0, time.UTC)
	shop = geo.Point{Lat: 52.3731, Lng: 4.8922}
)

func entry(t *testing.T, kind engage.Kind, at time.Time, data any) engage.TimelineEntry {
	t.Helper()
	b, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return engage.TimelineEntry{V: 1, Profile: "ada", At: at, OccurredAt: at, Kind: kind, Data: b}
}

// asked is about a day on which all was well, and nothing happened.
func asked(t *testing.T) *why.Asked {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 11, 2, 0, 0, 0, 0, zone)
	before := from.Add(-48 * time.Hour)
	yes := map[engage.Purpose]engage.Consent{}
	for _, p := range []engage.Purpose{engage.ConsentLocationForeground, engage.ConsentLocationBackground, engage.ConsentLocationPrecise} {
		yes[p] = engage.Consent{Granted: true, At: before}
	}
	return &why.Asked{
		From: from, To: from.Add(24 * time.Hour), Zone: zone,
		Campaign: &engage.Campaign{
			ID: "rainy", Status: engage.Live,
			Trigger: engage.CampaignTrigger{Type: engage.TriggerPlace, Transition: engage.Enter},
		},
		Life: []why.Status{{before, engage.Draft}, {before.Add(time.Hour), engage.Live}},
		Places: []*engage.Place{{
			ID: "cafe", Name: "Café", Location: shop,
			Geofences: []engage.Geofence{{ID: "cafe-in", Ring: engage.Inside, Shape: geo.Circle{Around: shop, RadiusM: 60}}},
		}},
		Devices:  []engage.TimelineEntry{entry(t, engage.KindDevice, before, engage.Device{Install: "i-ada", Location: "always", Precision: "precise"})},
		Consents: []engage.TimelineEntry{entry(t, engage.KindConsent, before, yes)},
	}
}

// away is a point so many metres north of the shop.
func away(m float64) geo.Point { return geo.Point{Lat: shop.Lat + m/111_195, Lng: shop.Lng} }

func TestWhyNothingReachedACampaignAtAPlace(t *testing.T) {
	for _, x := range []struct {
		name   string
		change func(*why.Asked)
		code   why.Code
		words  string
	}{
		{"nothing", func(*why.Asked) {}, why.NoPosition, "No position came from the person's phones in that time."},
		{"not near", func(q *why.Asked) {
			q.Fixes = []why.Fix{{At: noon, Pos: away(2000), AccuracyM: 10}, {At: noon.Add(time.Hour), Pos: away(812), AccuracyM: 10}}
		}, why.NotNear, "No position came within 800 m of Café; the nearest was at 13:00, 753 m from its geofence. 2 positions came in all."},
		{"inaccurate", func(q *why.Asked) { q.Fixes = []why.Fix{{At: noon, Pos: shop, AccuracyM: 400}} }, why.Inaccurate, "The position at 12:00 lay within a geofence of Café, but was only accurate to 400 m."},
		{"within", func(q *why.Asked) { q.Fixes = []why.Fix{{At: noon, Pos: shop, AccuracyM: 20}} }, why.Near, "A position at 12:00 lay within a geofence of Café, and no crossing came of it"},
		{"withheld", func(q *why.Asked) {
			q.Withheld = true
			q.Fixes = []why.Fix{{At: noon, Pos: shop, AccuracyM: 20}}
		}, why.NoPosition, "they are not looked at"},
		{"permission withdrawn", func(q *why.Asked) {
			q.Devices = append(q.Devices, entry(t, engage.KindDevice, noon.Add(-108*time.Minute), engage.Device{Install: "i-ada", Location: "none"}))
		}, why.NoPermission, "The location permission was withdrawn at 10:12."},
		{"permission limited", func(q *why.Asked) {
			q.Devices = append(q.Devices, entry(t, engage.KindDevice, noon, engage.Device{Install: "i-ada", Location: "when_in_use"}))
		}, why.NoPermission, "The location permission was limited to when the app is open at 12:00."},
		{"never permitted", func(q *why.Asked) {
			q.Devices = []engage.TimelineEntry{entry(t, engage.KindDevice, q.From.Add(-time.Hour), engage.Device{Install: "i-ada", Location: "none"})}
		}, why.NoPermission, "The phone did not let the app know where it is."},
		{"approximate", func(q *why.Asked) {
			q.Devices = append(q.Devices, entry(t, engage.KindDevice, noon, engage.Device{Install: "i-ada", Location: "always", Precision: "reduced"}))
		}, why.NotPrecise, "The phone gives only an approximate location since 12:00."},
		{"no phone", func(q *why.Asked) { q.Devices = nil }, why.NoPhone, "No phone of the person was known."},
		{"logged out", func(q *why.Asked) {
			gone := entry(t, engage.KindDeviceGone, noon, engage.DeviceGone{Install: "i-ada"})
			gone.Install = "i-ada"
			q.Devices = append(q.Devices, gone)
		}, why.NoPhone, "No phone of the person was known."},
		{"consent withdrawn", func(q *why.Asked) {
			q.Consents = append(q.Consents, entry(t, engage.KindConsent, noon, map[engage.Purpose]engage.Consent{engage.ConsentLocationBackground: {}}))
		}, why.NoConsent, "The person withdrew the consent to their location in the background at 12:00."},
		{"precise withdrawn", func(q *why.Asked) {
			q.Consents = append(q.Consents, entry(t, engage.KindConsent, noon, map[engage.Purpose]engage.Consent{engage.ConsentLocationPrecise: {}}))
		}, why.NotPrecise, "The person withdrew the consent to their precise location at 12:00."},
		{"never asked", func(q *why.Asked) { q.Consents = nil }, why.NoConsent, "The person had not agreed to the use of their location."},
		{"left instead", func(q *why.Asked) {
			q.Moments = []engage.TimelineEntry{entry(t, engage.KindTrigger, noon, engage.Trigger{Type: engage.TriggerPlace, Place: "cafe", Transition: engage.Exit, Ring: engage.Inside})}
		}, why.OtherTransition, "At 12:00 the person left Café; the campaign waits for somebody who enters."},
		{"answered on a website", func(q *why.Asked) {
			q.Consents = append(q.Consents, entry(t, engage.KindTouch, noon, engage.Touch{V: 1, Consents: map[engage.Purpose]engage.Consent{engage.ConsentLocationBackground: {}}}))
		}, why.NoConsent, "The person withdrew the consent to their location in the background at 12:00."},
		{"paused", func(q *why.Asked) {
			q.Life = append(q.Life, why.Status{noon, engage.Paused})
		}, why.NotLive, "The campaign was paused at 12:00."},
		{"launched later", func(q *why.Asked) {
			q.Life = []why.Status{{q.From.Add(-time.Hour), engage.Draft}, {noon, engage.Live}}
		}, why.NotLive, "The campaign became live only at 12:00."},
		{"never live", func(q *why.Asked) { q.Life = q.Life[:1] }, why.NotLive, "The campaign was never live in that time: it was a draft."},
		{"not there", func(q *why.Asked) { q.Life = nil }, why.NotLive, "There was no such campaign yet."},
		{"no place", func(q *why.Asked) { q.Campaign.Trigger.Tags = []string{"harbour"} }, why.NoPlaces, "The campaign's trigger means no place"},
		{"gone", func(q *why.Asked) { q.KeptSince = q.To.Add(time.Hour) }, why.NotKept, "are not kept any more"},
		{"over two days", func(q *why.Asked) {
			q.From = q.From.Add(-24 * time.Hour)
			q.Fixes = []why.Fix{{At: noon, Pos: away(5000), AccuracyM: 10}}
		}, why.NotNear, "No position came within 5.0 km of Café; the nearest was at 12:00 on 2 November 2026, 4.9 km from its geofence. 1 position came in all."},
	} {
		t.Run(x.name, func(t *testing.T) {
			q := asked(t)
			x.change(q)
			all := why.Not(q)
			for _, f := range all {
				if f.Code == x.code && strings.Contains(f.Words, x.words) {
					return
				}
			}
			t.Errorf("told is %+v, want %s: %s", all, x.code, x.words)
		})
	}
}

func TestWhyAnEventFiredNothing(t *testing.T) {
	q := asked(t)
	q.Campaign.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "order_ready", Where: json.RawMessage(`{"field":"properties.cart.total","op":"ge","value":50}`)}
	if all := why.Not(q); len(all) != 1 || all[0].Code != why.NoEvent || all[0].Words != `The event "order_ready" did not come in that time.` {
		t.Errorf("without an event: %+v", all)
	}
	q.Moments = []engage.TimelineEntry{entry(t, engage.KindTrigger, noon, engage.Trigger{Type: engage.TriggerEvent, Event: "order_ready", Properties: json.RawMessage(`{"cart":{"total":20}}`)})}
	all := why.Not(q)
	if len(all) != 1 || all[0].Code != why.Conditions || all[0].Saw["failed"] == nil {
		t.Errorf("with a small cart: %+v", all)
	}
	q.Campaign.Trigger.Where = nil
	if all := why.Not(q); len(all) != 1 || all[0].Code != why.Conditions || !strings.Contains(all[0].Words, "came once") {
		t.Errorf("without conditions: %+v", all)
	}
}

func BenchmarkNotNear100000Places(b *testing.B) {
	q := &why.Asked{From: noon, To: noon.Add(24 * time.Hour), Campaign: &engage.Campaign{Trigger: engage.CampaignTrigger{Type: engage.TriggerPlace, Transition: engage.Enter}}}
	for i := range 100_000 {
		at := geo.Point{Lat: 50 + float64(i%317)/100, Lng: 4 + float64(i/317)/100}
		q.Places = append(q.Places, &engage.Place{ID: "p", Location: at, Geofences: []engage.Geofence{{Ring: engage.Inside, Shape: geo.Circle{Around: at, RadiusM: 60}}}})
	}
	for i := range 1000 {
		q.Fixes = append(q.Fixes, why.Fix{At: noon, Pos: geo.Point{Lat: 51.005 + float64(i)/5000, Lng: 5.005}})
	}
	for b.Loop() {
		why.Not(q)
	}
}

func TestACrossingThatTheCampaignWaitsForIsNotToldAsAnother(t *testing.T) {
	q := asked(t)
	q.Life = append(q.Life[:1:1], why.Status{At: noon.Add(time.Hour), Status: engage.Live})
	q.Moments = []engage.TimelineEntry{entry(t, engage.KindTrigger, noon, engage.Trigger{Type: engage.TriggerPlace, Place: "cafe", Transition: engage.Enter, Ring: engage.Inside})}
	for _, f := range why.Not(q) {
		if f.Code == why.OtherTransition {
			t.Errorf("told is %+v", f)
		}
	}
}
