package decide_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
)

// tracks is an event of a person's phone.
func tracks(id, event, properties string) engage.Entry {
	return entry(engage.KindTrigger, person(id), sec, engage.Trigger{
		Type: engage.TriggerEvent, Occasion: "ev-" + event + properties, Install: "i-" + id, OccurredAt: t0.Add(sec),
		Event: event, Properties: json.RawMessage(properties),
	})
}

func onEvent(event, where string) func(*engage.Campaign) {
	return func(c *engage.Campaign) {
		c.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: event, Where: json.RawMessage(where)}
		c.Arms[0].Message.Title = "Hello"
	}
}

func TestAnEventFiresTheCampaignsWhoseConditionItsPropertiesMeet(t *testing.T) {
	for _, c := range []struct{ name, where, properties, want string }{
		{"no condition", ``, `{}`, "e pending"},
		{"null is none", `null`, `{}`, "e pending"},
		{"a number holds", `{"field":"properties.total","op":"ge","value":50}`, `{"total":50}`, "e pending"},
		{"a number does not", `{"field":"properties.total","op":"ge","value":50}`, `{"total":49.9}`, ""},
		{"a text is no number", `{"field":"properties.total","op":"ge","value":50}`, `{"total":"60"}`, ""},
		{"nested", `{"field":"properties.cart.total","op":"gt","value":5}`, `{"cart":{"total":6}}`, "e pending"},
		{"a bool", `{"field":"properties.first","op":"eq","value":true}`, `{"first":true}`, "e pending"},
		{"absent", `{"not":{"field":"properties.coupon","op":"exists"}}`, `{"total":1}`, "e pending"},
		{"both", `{"all":[{"field":"properties.total","op":"lt","value":9},{"field":"properties.shop","op":"in","value":["a","b"]}]}`, `{"total":8,"shop":"b"}`, "e pending"},
		{"one of both", `{"all":[{"field":"properties.total","op":"lt","value":9},{"field":"properties.shop","op":"in","value":["a","b"]}]}`, `{"total":8,"shop":"c"}`, ""},
		{"properties that are no object", `{"field":"properties.total","op":"ge","value":50}`, `[50]`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, offer("e", onEvent("bought", c.where)), offer("other", onEvent("seen", "")))
			w.meet("ada")
			w.apply(tracks("ada", "bought", c.properties))
			w.wantVerdicts(c.want)
		})
	}
}

func TestAConditionThatCannotBeAskedIsRefusedWithItsPath(t *testing.T) {
	for _, c := range []struct{ where, field string }{
		{`{"field":"attributes.city","op":"eq","value":"x"}`, "trigger.where.field"},
		{`{"all":[{"field":"properties.total","op":"contains","value":"x"}]}`, "trigger.where.all[0].op"},
		{`{"field":"properties.","op":"exists"}`, "trigger.where.field"},
		{`{"any":[]}`, "trigger.where.any"},
	} {
		err := decide.Compile(offer("e", onEvent("bought", c.where)), nil)
		if e, is := errors.AsType[*engage.Error](err); !is || e.Field != c.field {
			t.Errorf("%s: %v, want a fault of %s", c.where, err, c.field)
		}
	}
	err := decide.Compile(offer("p", func(c *engage.Campaign) { c.Trigger.Where = json.RawMessage(`{}`) }), nil)
	if e, is := errors.AsType[*engage.Error](err); !is || e.Field != "trigger.where" {
		t.Errorf("a condition on the properties of a place: %v", err)
	}
}

func TestARegionAndComingNearFireTheirCampaigns(t *testing.T) {
	trigger := func(typ engage.TriggerType, tr engage.Transition) func(*engage.Campaign) {
		return func(c *engage.Campaign) { c.Trigger.Type, c.Trigger.Transition = typ, tr }
	}
	osSays := func(t *engage.Trigger) { t.Type = engage.TriggerRegion }
	for _, c := range []struct {
		name   string
		change []func(*engage.Trigger)
		want   string
	}{
		{"enters the inside", nil, "place-enter pending"},
		{"comes near", []func(*engage.Trigger){near}, "place-near pending"},
		{"the system says inside", []func(*engage.Trigger){osSays}, "region-enter pending"},
		{"the system says near", []func(*engage.Trigger){osSays, near}, "region-near pending"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t,
				offer("place-enter"), offer("place-near", trigger(engage.TriggerPlace, engage.ComeNear)),
				offer("region-enter", trigger(engage.TriggerRegion, engage.Enter)), offer("region-near", trigger(engage.TriggerRegion, engage.ComeNear)),
				offer("region-exit", trigger(engage.TriggerRegion, engage.Exit)))
			w.meet("ada")
			w.apply(enters("ada", "cafe", "v1", sec, c.change...))
			w.wantVerdicts(c.want)
			if n := w.person("ada").Visits; (n == 1) != (c.change == nil) {
				t.Errorf("%d visits", n)
			}
		})
	}
	for _, x := range []func(*engage.Campaign){
		trigger(engage.TriggerRegion, engage.Dwell),
		func(c *engage.Campaign) {
			c.Trigger.Transition, c.Trigger.Rings = engage.ComeNear, []engage.Ring{engage.Near}
		},
	} {
		if err := decide.Compile(offer("x", x), nil); err == nil {
			t.Error("it compiles")
		}
	}
}

// One trigger, of which five campaigns hear, among few and among many: the times should
// be about the same.
func BenchmarkTriggerAmongCampaigns(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			campaigns := make([]*engage.Campaign, n)
			for i := range campaigns {
				// All at one place, which most of them hear being left.
				c := offer(fmt.Sprintf("c%05d", i), func(c *engage.Campaign) {
					c.Trigger.Places = []string{"cafe"}
					c.Audience = rule(`{"field":"likes","op":"contains","value":"fashion"}`)
					if i%(n/5) != 0 {
						c.Trigger.Transition = engage.Exit
					}
				})
				campaigns[i] = c
			}
			config, errs := decide.NewConfig([]decide.Workspace{world0(campaigns)})
			if len(errs) > 0 {
				b.Fatal(errs)
			}
			p := steptest.New("act/0", decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}})
			p.Adopt(config)
			enter := enters("ada", "cafe", "v1", sec)
			if err := p.Apply(entry(engage.KindConsent, person("ada"), 0, consents(true)), entry(engage.KindDevice, person("ada"), 0, device("i-ada")), enter); err != nil {
				b.Fatal(err)
			}
			if got := len(p.Docs("decisions")); got != 5 {
				b.Fatalf("%d campaigns heard it, want 5", got)
			}
			for b.Loop() {
				if err := p.Apply(enter); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
