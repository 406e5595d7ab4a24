package decide_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
)

// about is a campaign about the product that an event names.
func about(id, title string, change ...func(*engage.Campaign)) *engage.Campaign {
	return offer(id, append([]func(*engage.Campaign){func(c *engage.Campaign) {
		c.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "viewed"}
		c.Item = &engage.CampaignItem{Catalogue: "products", Property: "product_id"}
		c.Arms[0].Message = engage.Content{Title: title}
	}}, change...)...)
}

func (w *world) shop(campaigns ...*engage.Campaign) {
	w.Helper()
	in := world0(campaigns)
	in.Catalogues = []*engage.Catalogue{{ID: "products", Workspace: ws, Version: 1, Currency: "EUR"}}
	w.adoptAll(in)
}

func viewed(id, product string, at time.Duration) engage.Entry {
	return entry(engage.KindTrigger, person(id), at, engage.Trigger{
		Type: engage.TriggerEvent, Occasion: fmt.Sprint("e-", product, at), Install: "i-" + id, OccurredAt: t0.Add(at), Event: "viewed",
		Properties: json.RawMessage(fmt.Sprintf(`{"product_id":%q}`, product)), WeatherIs: engage.WeatherAbsent,
	})
}

// shelfOf is what a store has now, by id.
type shelfOf map[string]string

// asks takes the asks of items that were put out, one list of refs for each.
func (w *world) asks() (out []engage.ItemsAsk, sent []engage.Send) {
	w.Helper()
	for _, o := range w.Take() {
		switch o.To {
		case "items":
			var ask engage.ItemsAsk
			if err := o.Into(&ask); err != nil || o.Entry.Kind != engage.KindItemsAsk {
				w.Fatalf("%s, %v", o.Entry.Kind, err)
			}
			out = append(out, ask)
		case "send":
			var s engage.Send
			if err := o.Into(&s); err != nil {
				w.Fatal(err)
			}
			sent = append(sent, s)
		}
	}
	return out, sent
}

func (s shelfOf) answer(id string, at time.Duration, ask engage.ItemsAsk) engage.Entry {
	out := engage.Items{V: 1}
	for _, ref := range ask.Refs {
		k := engage.KnownItem{ItemRef: ref}
		if fields, there := s[ref.ID]; there {
			k.Version, k.Fields = 3, json.RawMessage(fields)
		}
		out.Items = append(out.Items, k)
	}
	return entry(engage.KindItems, person(id), at, out)
}

// settle answers what is asked until nothing is, and gives what was sent.
func (w *world) stocked(s shelfOf, id string, at time.Duration) (sent []engage.Send) {
	w.Helper()
	for {
		asks, out := w.asks()
		sent = append(sent, out...)
		if len(asks) == 0 {
			return sent
		}
		for _, ask := range asks {
			w.apply(s.answer(id, at, ask))
		}
	}
}

func titles(sent []engage.Send) string {
	var out []string
	for _, s := range sent {
		out = append(out, s.Campaign+": "+s.Title)
	}
	return strings.Join(out, ", ")
}

var tea = shelfOf{
	"sku-1": `{"name":"Tea","price":4.5,"related":["sku-2","sku-3"]}`,
	"sku-2": `{"name":"Pot","price":20,"currency":"CHF"}`,
}

func TestAMomentThatNamesItemsIsParkedUntilTheyCome(t *testing.T) {
	w := newWorld(t)
	w.shop(about("new", `{{ item.name }} for {{ item.price | money: item.currency }}`))
	w.meet("ada")
	w.apply(viewed("ada", "sku-1", 0))
	d := w.decisions()[0]
	if gatesOf(d) != "consent eligibility audience context quiet cap !items" || !d.DueAt.Equal(t0.Add(2*sec)) || d.Reason != "" || d.State != engage.Pending {
		t.Fatalf("parked as %s", mustJSON(t, d))
	}
	asks, _ := w.asks()
	if got := fmt.Sprint(asks); got != "[{1 [{products sku-1}]}]" {
		t.Fatalf("asks %s", got)
	}
	for name, c := range map[string]struct {
		shelf shelfOf
		want  string
		gates string
	}{
		"there":     {tea, "new: Tea for € 4,50", `{"items":[{"catalogue":"products","id":"sku-1","version":3}]}`},
		"gone":      {shelfOf{}, "", `{"items":[{"catalogue":"products","id":"sku-1","there":false}]}`},
		"no fields": {shelfOf{"sku-1": `{}`}, "", `{"items":[{"catalogue":"products","id":"sku-1","version":3}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			f := &world{T: t, Partition: w.Fork()}
			f.apply(c.shelf.answer("ada", sec, asks[0]))
			d := f.decisions()[0]
			if got := titles(f.sends()); strings.ReplaceAll(got, "\u00a0", " ") != c.want {
				t.Errorf("sent %q, want %q; %s", got, c.want, mustJSON(t, d))
			}
			for _, g := range d.Gates {
				if g.Gate == "items" && mustJSON(t, g.Saw) != c.gates {
					t.Errorf("the gate saw %s, want %s", mustJSON(t, g.Saw), c.gates)
				}
			}
			if c.want == "" && (d.State != engage.Suppressed || d.Reason != engage.ReasonRender) {
				t.Errorf("%s %s", d.State, d.Reason)
			}
			before := mustJSON(t, f.decisions())
			f.fireUntil(10 * sec)
			f.apply(c.shelf.answer("ada", 10*sec, asks[0])) // once more
			if c.want == "" && mustJSON(t, f.decisions()) != before {
				t.Error("the timer, or a second answer, did something more")
			}
			f.checkCounts()
		})
	}
	t.Run("a store that is too slow", func(t *testing.T) {
		f := &world{T: t, Partition: w.Fork()}
		f.fireUntil(2*sec - 1)
		f.wantVerdicts("new pending")
		f.fireUntil(2 * sec)
		f.wantVerdicts("new suppressed items_unavailable")
		f.apply(tea.answer("ada", 3*sec, asks[0]))
		f.wantVerdicts("new suppressed items_unavailable")
		f.checkCounts()
	})
	t.Run("paused meanwhile", func(t *testing.T) {
		f := &world{T: t, Partition: w.Fork()}
		f.shop()
		f.apply(tea.answer("ada", sec, asks[0]))
		f.wantVerdicts("new suppressed eligibility_paused")
	})
	t.Run("erased meanwhile", func(t *testing.T) {
		f := &world{T: t, Partition: w.Fork()}
		f.apply(entry(engage.KindErase, person("ada"), sec, engage.Erase{}))
		f.apply(tea.answer("ada", sec, asks[0]))
		if f.State(person("ada")) != nil {
			t.Error("an answer has made a person again")
		}
	})
}

// An item that another one names is asked for when that is known, within the same wait.
func TestItemsThatItemsNameAreAskedForInTurn(t *testing.T) {
	w := newWorld(t)
	w.shop(about("with", `{{ item.name }}{% for id in item.related %}{% assign p = catalog.products[id] %}{% if p %} + {{ p.name }} {{ p.currency }}{% endif %}{% endfor %}`))
	w.meet("ada")
	w.apply(viewed("ada", "sku-1", 0))
	if got := titles(w.stocked(tea, "ada", sec)); got != "with: Tea + Pot CHF" {
		t.Errorf("sent %q: %s", got, mustJSON(t, w.decisions()))
	}
	f := newWorld(t)
	f.shop(about("with", `{{ item.name }} {{ catalog.products[item.related[0]].name }}`))
	f.meet("ada")
	f.apply(viewed("ada", "sku-1", 0))
	asks, _ := f.asks()
	f.apply(tea.answer("ada", sec, asks[0]))
	f.wantVerdicts("with pending")
	f.fireUntil(2 * sec) // of the first ask
	f.wantVerdicts("with suppressed items_unavailable")
}

// Who the person looked at last, a fixed item, and one of a catalogue that there is not.
func TestItemsComeFromThePersonAndFromTheText(t *testing.T) {
	w := newWorld(t)
	w.shop(
		about("a", `{{ item.name }}`, func(c *engage.Campaign) { c.Item.Property, c.Item.Attribute = "", "last_viewed" }),
		about("b", `{{ catalog.products["sku-2"].name }} {{ catalog.none["x"].name | default: "-" }}`, func(c *engage.Campaign) { c.Item = nil }),
		about("c", `{{ item.name | default: "nothing" }}`, func(c *engage.Campaign) { c.Item.Property = "no.such" }),
	)
	w.meet("ada")
	w.apply(entry(engage.KindTraits, person("ada"), 0, map[string]any{"last_viewed": "sku-1"}))
	for campaign, want := range map[string]string{"a": "a: Tea", "b": "b: Pot -", "c": "c: nothing"} {
		f := &world{T: t, Partition: w.Fork()}
		call := entry(engage.KindCall, person("ada"), sec, engage.Trigger{Type: engage.TriggerEvent, Event: "viewed", Occasion: "o", Campaign: campaign, OccurredAt: t0.Add(sec)})
		f.apply(call)
		if got := titles(f.stocked(tea, "ada", sec)); got != want {
			t.Errorf("sent %q, want %q: %s", got, want, mustJSON(t, f.decisions()))
		}
	}
}

// Campaigns that want one moment and wait for items of their own wake together, so that
// the one of higher priority has it, whichever's items come first.
func TestCampaignsThatWaitForItemsWakeTogether(t *testing.T) {
	for _, first := range []int{0, 1} {
		w := newWorld(t)
		w.shop(
			about("high", `{{ item.name }}`, func(c *engage.Campaign) { c.Priority = 5 }),
			about("low", `{{ catalog.products["sku-2"].name }}`),
		)
		w.meet("ada")
		w.apply(viewed("ada", "sku-1", 0))
		asks, _ := w.asks()
		if len(asks) != 2 {
			t.Fatalf("asks %v", asks)
		}
		w.apply(tea.answer("ada", sec, asks[first]))
		w.wantVerdicts("high pending, low pending")
		w.apply(tea.answer("ada", sec, asks[1-first]))
		if got := titles(w.sends()); got != "high: Tea" {
			t.Errorf("sent %q", got)
		}
		w.checkCounts()
	}
}

// A campaign with an offer of which there is little waits for both, and has the items that
// it had when the offer's unit comes.
func TestAMomentWaitsForItsOfferAndItsItems(t *testing.T) {
	w := newWorld(t)
	in := world0([]*engage.Campaign{about("both", `{{ item.name }} {{ offer.code }}`, func(c *engage.Campaign) { c.Offer = "o" })})
	in.Catalogues = []*engage.Catalogue{{ID: "products", Workspace: ws, Version: 1}}
	in.Offers = []*engage.Offer{anOffer("o", func(o *engage.Offer) { o.Stock = 5 })}
	w.adoptAll(in)
	w.meet("ada")
	w.apply(viewed("ada", "sku-1", 0))
	var sent []engage.Send
	for more := true; more; {
		more = false
		for _, o := range w.Take() {
			e := o.Entry
			e.At = t0.Add(sec)
			switch o.To {
			case "act", "act/0":
				w.apply(e)
				more = true
			case "items":
				var ask engage.ItemsAsk
				if err := o.Into(&ask); err != nil {
					t.Fatal(err)
				}
				w.apply(tea.answer("ada", sec, ask))
				more = true
			case "send":
				var s engage.Send
				if err := o.Into(&s); err != nil {
					t.Fatal(err)
				}
				sent = append(sent, s)
			}
		}
	}
	if got := titles(sent); got != "both: Tea COFFEE" {
		t.Errorf("sent %q: %s", got, mustJSON(t, w.decisions()))
	}
}

// What waits at somebody who becomes one with another is asked for again there.
func TestAnAskThatWaitsMovesWithThePerson(t *testing.T) {
	w := newWorld(t)
	w.shop(about("new", `{{ item.name }}`))
	w.meet("ada")
	w.apply(viewed("ada", "sku-1", 0))
	asks, _ := w.asks()
	senior := "aaron"
	if !engage.Senior(senior, "ada") {
		t.Fatal("the test moves nobody")
	}
	w.apply(entry(engage.KindMerge, person("ada"), sec/2, engage.Merge{Of: senior, And: "ada", With: senior, Why: "identify"}))
	moved := false
	var again []engage.ItemsAsk
	var whose string
	for more := true; more; {
		more = false
		for _, o := range w.Take() {
			e := o.Entry
			e.At = t0.Add(sec / 2)
			switch o.To {
			case "act":
				moved = moved || e.Kind == engage.KindAbsorb
				w.apply(e)
				more = true
			case "items":
				var ask engage.ItemsAsk
				if err := o.Into(&ask); err != nil {
					t.Fatal(err)
				}
				again, whose = append(again, ask), strings.TrimPrefix(engage.IDOf(e.Key), "p:")
			}
		}
	}
	if !moved || len(again) != 1 || fmt.Sprint(again[0].Refs) != fmt.Sprint(asks[0].Refs) {
		t.Fatalf("moved: %t, asks again %v", moved, again)
	}
	w.apply(tea.answer(whose, sec, again[0]))
	if got := titles(w.sends()); got != "new: Tea" {
		t.Errorf("sent %q: %s", got, mustJSON(t, w.decisions()))
	}
}

func TestATextLooksAtSoManyItems(t *testing.T) {
	w := newWorld(t)
	w.shop(about("many", `{% for i in (1..20) %}{{ catalog.products[i].name | default: "-" }}{% endfor %}`))
	w.meet("ada")
	w.apply(viewed("ada", "sku-1", 0))
	if sent := w.stocked(tea, "ada", sec); len(sent) > 0 {
		t.Errorf("sent %v", sent)
	}
	d := w.decisions()[0]
	if last := d.Gates[len(d.Gates)-1]; d.Reason != engage.ReasonRender || !strings.Contains(fmt.Sprint(last.Saw.Values()["error"]), "more than 10 items") {
		t.Errorf("%s %s", d.Reason, mustJSON(t, last))
	}
}

// Held-out persons pass the same gate, and messages without items never ask.
func TestACampaignWithoutItemsAsksForNone(t *testing.T) {
	w := newWorld(t)
	w.shop(about("plain", "Hello", func(c *engage.Campaign) { c.Item = nil }))
	w.meet("ada")
	w.apply(viewed("ada", "sku-1", 0))
	if asks, sent := w.asks(); len(asks) != 0 || titles(sent) != "plain: Hello" {
		t.Errorf("%v %v", asks, sent)
	}
	if err := decide.Compile(about("x", "{{ item.name }}", func(c *engage.Campaign) { c.Item = nil }), nil); engage.CodeOf(err) != engage.Invalid || !strings.Contains(err.Error(), "arms[0].message") {
		t.Errorf("%v", err)
	}
	for field, change := range map[string]func(*engage.Campaign){
		"item.catalogue": func(c *engage.Campaign) { c.Item.Catalogue = "No Such" },
		"item.property":  func(c *engage.Campaign) { c.Item.Attribute = "x" },
	} {
		if err := decide.Compile(about("x", "{{ item.name }}", change), nil); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	place := offer("x", func(c *engage.Campaign) { c.Item = &engage.CampaignItem{Catalogue: "products", Property: "product_id"} })
	if err := decide.Compile(place, nil); err == nil || !strings.Contains(err.Error(), "item.property") {
		t.Errorf("%v", err)
	}
}

// A moment that does not say which item it is about is told so, and not that the text lacks
// a default.
func TestAMomentThatNamesNoItemIsToldSo(t *testing.T) {
	for want, change := range map[string]func(*engage.Campaign){
		"arms.a.title: item.name cannot be told: the event has no sku":                      func(c *engage.Campaign) { c.Item.Property = "sku" },
		"arms.a.title: item.name cannot be told: the person has no attribute last_viewed":   func(c *engage.Campaign) { c.Item.Property, c.Item.Attribute = "", "last_viewed" },
		"arms.a.title: line 1: item.colour is missing; add a default or ask for it with if": func(c *engage.Campaign) { c.Arms[0].Message.Title = "{{ item.colour }}" },
		"arms.a.title: line 1: profile.id.x is missing; add a default or ask for it with if": func(c *engage.Campaign) {
			c.Item.Property, c.Arms[0].Message.Title = "sku", "{{ profile.id.x }}{{ item.name }}"
		},
	} {
		w := newWorld(t)
		w.shop(about("x", "{{ item.name }}", change))
		w.meet("ada")
		w.apply(viewed("ada", "sku-1", 0))
		if sent := w.stocked(tea, "ada", sec); len(sent) > 0 {
			t.Errorf("sent %v", sent)
		}
		d := w.decisions()[0]
		if got := fmt.Sprint(d.Gates[len(d.Gates)-1].Saw.Values()["error"]); d.Reason != engage.ReasonRender || got != "not_found: "+want {
			t.Errorf("%s: %q, want %q", d.Reason, got, want)
		}
	}
}
