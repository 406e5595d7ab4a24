package apns

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
)

// FuzzAlertIsWrittenAsApplesTypesAreMarshalled holds encodeAlert against apns2's types.
func FuzzAlertIsWrittenAsApplesTypesAreMarshalled(f *testing.F) {
	f.Add("Umbrella?", "Only <today> & tomorrow", "regn på vej \u2028\x00\x7f\xff\"\\", "default", "OFFER", "shop://u?a=1&b=2", "colour", "rød", 0, true)
	f.Add("", "", "", "", "", "", "a", "", -1, false)
	f.Add("t", "", "b", "ding.caf", "", "", "zebra", "\n", 7, false)
	f.Fuzz(func(t *testing.T, title, subtitle, body, sound, category, link, key, value string, badge int, mutable bool) {
		m := channels.Message{
			Title: title, Subtitle: subtitle, Body: body, Sound: sound, DeepLink: link, ImageURL: link, DeliveryID: "d", CampaignID: category,
			Data:  map[string]string{key: value, "footfal": body, "b": title},
			Apple: channels.Apple{Category: category, ThreadID: key, Interruption: "active", MutableContent: mutable},
		}
		if badge >= 0 {
			m.Badge, m.Apple.Interruption = &badge, ""
		}
		if checkApple(m) != nil || checkData(m) != nil {
			return
		}
		got, ok := encodeAlert(&m)
		want, err := renderAlert(m)
		if !ok || err != nil || string(got) != string(want) || !json.Valid(got) {
			t.Errorf("%v, %v\n%s\n%s", ok, err, got, want)
		}
	})
}

func TestRareAlertsAreLeftToApplesTypes(t *testing.T) {
	for name, m := range map[string]channels.Message{
		"buttons":   {Title: "t", Actions: []channels.Action{{ID: "a", Label: "A"}}},
		"relevance": {Title: "t", Apple: channels.Apple{Relevance: 0.5}},
		"critical":  {Title: "t", Apple: channels.Apple{Interruption: critical}},
	} {
		if b, ok := encodeAlert(&m); ok {
			t.Errorf("%s: %s", name, b)
		}
	}
}

func BenchmarkAlert(b *testing.B) {
	m := channels.Message{
		Title: "Umbrella?", Body: "It rains at your shop", Sound: "default", DeepLink: "shop://umbrellas", DeliveryID: "d", CampaignID: "rainy-day",
		Data: map[string]string{"sku": "7"}, ExpiresAt: time.Unix(1, 0),
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := alert(m); err != nil {
			b.Fatal(err)
		}
	}
}
