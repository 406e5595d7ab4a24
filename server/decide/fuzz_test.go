package decide_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
	"github.com/footfall-engage/footfall/server/situate"
	"github.com/footfall-engage/footfall/server/store"
)

// What the protocol takes from a phone, situate and decide take: an error would set
// the entry aside, and a key that the store refuses would stop the partition.
func FuzzWhatTheProtocolTakesIsNeverAnError(f *testing.F) {
	b, err := os.ReadFile("../../sdkproto/vectors/items.json")
	if err != nil {
		f.Fatal(err)
	}
	var vectors []struct {
		Name string          `json:"name"`
		Item json.RawMessage `json:"item"`
	}
	if err := json.Unmarshal(b, &vectors); err != nil {
		f.Fatal(err)
	}
	taken := 0
	add := func(item *sdkpb.Item) {
		body, err := proto.Marshal(item)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
		if sdkproto.ValidateItem(item, nil, t0) == nil {
			taken++
		}
	}
	for _, v := range vectors {
		item := new(sdkpb.Item)
		if err := protojson.Unmarshal(v.Item, item); err != nil {
			f.Fatalf("%s: %v", v.Name, err)
		}
		item.OccurredMs = t0.UnixMilli()
		add(item)
	}
	for _, properties := range []string{`{"a":1e999}`, `{"":""}`, `{"a":"\u0000"}`, `{"a":{"b":[null,1e-400,"\ud800"]}}`, ` {"a":1,"a":2} `} {
		add(&sdkpb.Item{Seq: 1, Event: &sdkpb.Event{Name: "bought", PropertiesJson: properties}})
		add(&sdkpb.Item{Seq: 1, Identify: &sdkpb.Identify{UserId: "a/b:c", TraitsJson: properties}})
	}
	add(&sdkpb.Item{Seq: 1<<64 - 1, Identify: &sdkpb.Identify{UserId: "a\x00"}})
	if taken < 20 {
		f.Fatalf("only %d seeds are taken", taken)
	}
	place := &engage.Place{ID: "cafe", Workspace: ws, Name: "Café", Location: shop, Geofences: []engage.Geofence{
		{ID: "cafe-in", Ring: engage.Inside, Shape: geo.Circle{Around: shop, RadiusM: 100}},
	}}
	places, err := situate.NewConfig(nil, []situate.Workspace{{ID: place.Workspace, Places: []*engage.Place{place}}})
	if err != nil {
		f.Fatal(err)
	}
	campaigns, errs := decide.NewConfig([]decide.Workspace{{ID: ws, Places: []*engage.Place{place}, Campaigns: []*engage.Campaign{
		offer("x"),
		offer("e", func(c *engage.Campaign) {
			c.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "bought"}
			c.Class, c.Context = engage.Service, rule(`{"field":"trigger.properties.a","op":"ne","value":7}`)
			c.Arms[0].Message = engage.Content{Title: "Hello {{ trigger.properties.a | default: \"you\" }}", Body: "Thanks"}
		}),
	}}})
	if len(errs) > 0 {
		f.Fatal(errs)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		item := new(sdkpb.Item)
		if proto.Unmarshal(body, item) != nil || sdkproto.ValidateItem(item, nil, t0) != nil {
			return
		}
		in := steptest.New("in/0", situate.Machine{})
		in.Adopt(places)
		key := engage.InstallKey(ws, "install-ada")
		says := func(body []byte) {
			if err := in.Apply(engage.Entry{Kind: engage.KindItem, Key: key, At: t0, Occurred: t0, Body: body}); err != nil {
				t.Fatalf("situate: %v", err)
			}
		}
		for i, purpose := range []sdkpb.Consent_Purpose{sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, sdkpb.Consent_PURPOSE_LOCATION_PRECISE} {
			consent, err := proto.Marshal(&sdkpb.Item{Seq: uint64(1<<40 + i), Consent: &sdkpb.Consent{Purpose: purpose, Granted: true}})
			if err != nil {
				t.Fatal(err)
			}
			says(consent)
		}
		says(body)
		act := steptest.New("act/0", decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}})
		act.Adopt(campaigns)
		if err := act.Apply(entry(engage.KindDevice, engage.ProfileKey(ws, engage.ProfileID(ws, "install-ada")), 0, device("install-ada"))); err != nil {
			t.Fatal(err)
		}
		for _, o := range in.Take() {
			if o.To != "act" {
				continue
			}
			e := o.Entry
			e.At = t0
			if err := act.Apply(e); err != nil {
				t.Fatalf("decide: %s: %v", e.Kind, err)
			}
		}
		for _, p := range []*steptest.Partition{in, act} {
			for _, k := range p.Keys() {
				workspace, id, _ := strings.Cut(k, "/")
				if err := (store.Key{Workspace: workspace, ID: id}).Check(store.ErrBadBatch); err != nil {
					t.Errorf("state %q: %v", k, err)
				}
			}
		}
	})
}
