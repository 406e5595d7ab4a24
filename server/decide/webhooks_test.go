package decide_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
)

// listen adopts a configuration with subscriptions.
func (w *world) listen(rules []*engage.WebhookRule, campaigns ...*engage.Campaign) {
	w.Helper()
	c, errs := decide.NewConfig([]decide.Workspace{{
		ID: ws, Campaigns: campaigns, Webhooks: rules,
		Places: []*engage.Place{{ID: "cafe", Workspace: ws, Name: "Café", Tags: []string{"coffee"}, Location: shop}},
	}})
	if len(errs) > 0 {
		w.Fatal(errs)
	}
	w.Adopt(c)
}

// heard takes what was told to subscriptions since the last time.
func (w *world) heard() []engage.WebhookEvent {
	w.Helper()
	var out []engage.WebhookEvent
	for _, o := range w.Take() {
		if o.To != "webhook" {
			continue
		}
		var e engage.WebhookEvent
		if err := o.Into(&e); err != nil {
			w.Fatal(err)
		}
		if o.Entry.Kind != engage.KindWebhook || e.V != 1 || e.ID == "" {
			w.Errorf("told %+v in %+v", e, o.Entry)
		}
		for _, secret := range []string{"tok-secret", "52.37", "4.89", "distance", "accuracy"} {
			if strings.Contains(string(e.Data), secret) {
				w.Errorf("%s shows %s: %s", e.Type, secret, e.Data)
			}
		}
		out = append(out, e)
	}
	return out
}

func types(es []engage.WebhookEvent) string {
	var out []string
	for _, e := range es {
		out = append(out, strings.TrimPrefix(string(e.Type), "footfall.")+">"+strings.Join(e.To, "+"))
	}
	return strings.Join(out, " ")
}

func moves(id string, tr engage.Transition, at time.Duration, change ...func(*engage.Trigger)) engage.Entry {
	return enters(id, "cafe", "visit-1", at, append([]func(*engage.Trigger){func(t *engage.Trigger) { t.Transition, t.InsideS = tr, 60 }}, change...)...)
}

func TestSubscribersHearAVisitAndItsMessage(t *testing.T) {
	w := newWorld(t)
	w.listen([]*engage.WebhookRule{{ID: "all"}}, offer("a"))
	w.meet("ada")
	w.apply(entry(engage.KindBound, person("ada"), 0, engage.Identify{Identifier: "user_id:4711", Profile: "ada", Proven: true}))
	if got := w.heard(); len(got) != 0 {
		t.Fatalf("%v before anything happened", types(got))
	}
	w.apply(moves("ada", engage.Enter, 1*sec, near))
	w.apply(enters("ada", "cafe", "visit-1", 2*sec))
	d := w.decisions()[0].Delivery
	w.apply(outcome("ada", d, 3*sec, engage.DeliveryAccepted, "fcm", ""))
	w.apply(receipt("ada", d, 4*sec, engage.ReceiptDelivered, "fcm"))
	w.apply(receipt("ada", d, 5*sec, engage.ReceiptDisplayed, "fcm"))
	w.apply(receipt("ada", d, 6*sec, engage.ReceiptOpened, "fcm"))
	w.apply(receipt("ada", d, 6*sec, engage.ReceiptOpened, "fcm")) // twice is once
	w.apply(receipt("ada", d, 7*sec, engage.ReceiptConverted, "fcm"))
	w.apply(moves("ada", engage.Dwell, 60*sec))
	w.apply(moves("ada", engage.Exit, 70*sec))
	w.apply(moves("ada", engage.Exit, 71*sec, near))
	w.apply(moves("ada", engage.VisitEnded, 72*sec, func(t *engage.Trigger) { t.Fence = "" }))
	got := w.heard()
	const want = "place.approached>all place.entered>all delivery.accepted>all delivery.delivered>all delivery.displayed>all delivery.opened>all conversion>all " +
		"place.dwelled>all place.exited>all place.departed>all visit.ended>all"
	if types(got) != want {
		t.Fatalf("heard\n%s, want\n%s", types(got), want)
	}
	var ids []string
	for _, e := range got {
		if slices.Contains(ids, e.ID) || e.Subject != "people/ada" {
			t.Errorf("%s: id %s, subject %s", e.Type, e.ID, e.Subject)
		}
		ids = append(ids, e.ID)
	}
	var enter engage.PlaceFact
	var conversion engage.MessageFact
	if err := json.Unmarshal(got[1].Data, &enter); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got[6].Data, &conversion); err != nil {
		t.Fatal(err)
	}
	ada := engage.WebhookPerson{Workspace: ws, ProfileID: "ada", UserID: "4711", InstallID: "i-ada"}
	if enter.WebhookPerson != ada || enter.Place.ID != "cafe" || enter.Place.Name != "Café" || enter.Place.Tags[0] != "coffee" ||
		enter.VisitID != "visit-1" || enter.Ring != engage.Inside || enter.GeofenceID != "cafe-in" || !enter.OccurredAt.Equal(t0.Add(2*sec)) || !got[1].Time.Equal(enter.OccurredAt) {
		t.Errorf("enter: %s", got[1].Data)
	}
	if conversion.WebhookPerson != ada || conversion.DeliveryID != d || conversion.CampaignID != "a" || conversion.Channel != "fcm" ||
		conversion.Place.Name != "Café" || conversion.VisitID != "visit-1" || !conversion.DecidedAt.Equal(t0.Add(2*sec)) || !conversion.OccurredAt.Equal(t0.Add(7*sec)) {
		t.Errorf("conversion: %s", got[6].Data)
	}
}

func TestSubscribersHearHowAMessageEnded(t *testing.T) {
	for name, x := range map[string]struct {
		do   func(w *world, delivery string)
		want string
	}{
		"inbox, told twice": {func(w *world, d string) {
			w.apply(outcome("ada", d, 3*sec, engage.DeliveryInboxed, "inbox", ""))
			w.apply(outcome("ada", d, 4*sec, engage.DeliveryInboxed, "inbox", ""))
		}, "delivery.inboxed>all"},
		"failed": {func(w *world, d string) {
			w.apply(outcome("ada", d, 3*sec, engage.DeliveryFailed, "fcm", engage.ReasonRejected))
			w.apply(outcome("ada", d, 4*sec, engage.DeliveryAccepted, "fcm", ""))
		}, "delivery.failed>all"},
		"expired":         {func(w *world, d string) { w.apply(outcome("ada", d, 3*sec, engage.DeliveryExpired, "", "")) }, "delivery.expired>all"},
		"never displayed": {func(w *world, _ string) { w.fireUntil(48 * time.Hour) }, "delivery.expired>all"},
		"granted is not told": {func(w *world, d string) {
			w.apply(outcome("ada", d, 3*sec, engage.DeliveryGranted, "in_app", ""))
			w.apply(receipt("ada", d, 4*sec, engage.ReceiptFailed, "in_app"))
			w.apply(receipt("ada", d, 5*sec, engage.ReceiptAction, "in_app"))
			w.apply(receipt("ada", d, 6*sec, engage.ReceiptDismissed, "in_app"))
		}, "delivery.not_shown>all delivery.acted>all delivery.dismissed>all"},
		"of a message nobody knows": {func(w *world, _ string) { w.apply(receipt("ada", "other", 3*sec, engage.ReceiptConverted, "fcm")) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.listen([]*engage.WebhookRule{{ID: "all"}}, offer("a"))
			w.meet("ada")
			w.apply(enters("ada", "cafe", "visit-1", 2*sec))
			w.heard()
			x.do(w, w.decisions()[0].Delivery)
			if got := types(w.heard()); got != x.want {
				t.Errorf("heard %q, want %q", got, x.want)
			}
		})
	}
}

func TestWhatASubscriptionHears(t *testing.T) {
	rules := []*engage.WebhookRule{
		{ID: "enters", Types: []engage.WebhookType{engage.WebhookEntered, engage.WebhookEntered}},
		{ID: "bar", Places: []string{"bar"}},
		{ID: "cafe", Places: []string{"cafe"}, Tags: []string{"other"}},
		{ID: "coffee", Tags: []string{"coffee"}},
		{ID: "other", Tags: []string{"tea"}},
		{ID: "of-a", Campaigns: []string{"a"}},
		{ID: "of-b", Campaigns: []string{"b"}},
	}
	w := newWorld(t)
	w.listen(rules, offer("a"))
	w.meet("ada")
	w.apply(enters("ada", "cafe", "visit-1", 2*sec))
	d := w.decisions()[0].Delivery
	w.apply(outcome("ada", d, 3*sec, engage.DeliveryAccepted, "fcm", ""))
	const want = "place.entered>enters+cafe+coffee+of-a+of-b delivery.accepted>cafe+coffee+of-a"
	if got := types(w.heard()); got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
	// A place that has been deleted has no tags any more, and its id alone.
	w.apply(moves("ada", engage.Exit, 9*sec, func(t *engage.Trigger) { t.Place = "gone" }))
	got := w.heard()
	if types(got) != "place.exited>of-a+of-b" || !strings.Contains(string(got[0].Data), `"place":{"id":"gone"}`) {
		t.Errorf("heard %q: %+v", types(got), got)
	}
}

// The same records say the same under the same ids: a replay's outputs are those that
// were made before, and an install's visit keeps its own id though it joins another's.
func TestWhatIsHeardIsTheSameOnReplay(t *testing.T) {
	play := func() string {
		w := newWorld(t)
		w.listen([]*engage.WebhookRule{{ID: "all"}}, offer("a"))
		w.meet("ada")
		w.apply(entry(engage.KindDevice, person("ada"), 0, device("i-tablet")))
		w.apply(enters("ada", "cafe", "visit-1", 2*sec))
		w.apply(enters("ada", "cafe", "visit-of-tablet", 5*sec, func(t *engage.Trigger) { t.Install = "i-tablet" }))
		b, err := json.Marshal(w.heard())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first := play()
	if first != play() {
		t.Error("a replay says something else")
	}
	if !strings.Contains(first, "visit-of-tablet") {
		t.Errorf("the tablet's visit lost its id: %s", first)
	}
}

// Without a subscriber nothing is made, and nothing is allocated for it.
func TestWithoutSubscribersEventsCostNothing(t *testing.T) {
	allocs := func(rules []*engage.WebhookRule) float64 {
		p := steptest.New("act/0", decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}})
		p.Quick = true
		c, _ := decide.NewConfig([]decide.Workspace{{ID: ws, Webhooks: rules}})
		p.Adopt(c)
		e := moves("ada", engage.Exit, sec)
		least := math.Inf(1)
		for range 200 { // the race detector has pools forget now and then: what is never needed is not counted
			least = min(least, testing.AllocsPerRun(1, func() {
				if err := p.Apply(e); err != nil {
					t.Fatal(err)
				}
				for _, o := range p.Take() {
					if o.To == "webhook" && len(rules) == 0 {
						t.Fatal("an event was made")
					}
				}
			}))
		}
		return least
	}
	none, unheard, heard := allocs(nil), allocs([]*engage.WebhookRule{{ID: "x", Types: []engage.WebhookType{engage.WebhookEntered}}}), allocs([]*engage.WebhookRule{{ID: "x"}})
	t.Logf("allocations of an exit: %v without subscribers, %v with one of enters, %v with one of all", none, unheard, heard)
	if unheard > none || heard <= none {
		t.Errorf("allocations of an exit: %v without subscribers, %v with one of enters, %v with one of all", none, unheard, heard)
	}
}

func BenchmarkExit(b *testing.B) {
	for name, rules := range map[string][]*engage.WebhookRule{"nobody listens": nil, "one listens": {{ID: "x"}}} {
		b.Run(name, func(b *testing.B) {
			p := steptest.New("act/0", decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}})
			p.Quick = true
			c, _ := decide.NewConfig([]decide.Workspace{{ID: ws, Webhooks: rules}})
			p.Adopt(c)
			e := moves("ada", engage.Exit, sec)
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Apply(e); err != nil {
					b.Fatal(err)
				}
				p.Take()
			}
		})
	}
}
