package decide_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
	"github.com/footfall-engage/footfall/server/rules"
)

const (
	ws  = "acme"
	sec = time.Second
)

var (
	t0   = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC) // a Monday
	shop = geo.Point{Lat: 52.3731, Lng: 4.8922}
)

// world is an "act" partition with a configuration.
type world struct {
	*testing.T
	*steptest.Partition
}

func newWorld(t *testing.T, campaigns ...*engage.Campaign) *world {
	t.Helper()
	machine := decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}}
	w := &world{T: t, Partition: steptest.New("act/0", machine)}
	w.adopt(campaigns...)
	t.Cleanup(func() {
		if err := w.Check(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) adopt(campaigns ...*engage.Campaign) {
	w.Helper()
	w.adoptAll(world0(campaigns))
}

func (w *world) adoptAll(in decide.Workspace) {
	w.Helper()
	c, errs := decide.NewConfig([]decide.Workspace{in})
	if len(errs) > 0 {
		w.Fatal(errs)
	}
	w.Adopt(c)
}

// world0 is the workspace of these campaigns.
func world0(campaigns []*engage.Campaign) decide.Workspace {
	return decide.Workspace{
		ID: ws, Attributes: map[string]rules.Type{"tier": rules.String},
		Places: []*engage.Place{
			{ID: "cafe", Workspace: ws, Name: "Café", Tags: []string{"coffee"}, TimeZone: "Europe/Amsterdam", Location: shop, Hours: "Mo-Su 08:00-20:00"},
			{ID: "bar", Workspace: ws, Name: "Bar", Location: shop},
		},
		Campaigns: campaigns,
	}
}

// offer is a live campaign for everybody who enters a place.
func offer(id string, change ...func(*engage.Campaign)) *engage.Campaign {
	c := &engage.Campaign{
		ID: id, Workspace: ws, Version: 1, Name: "Offer " + id, Class: engage.Marketing, Status: engage.Live,
		Trigger: engage.CampaignTrigger{Type: engage.TriggerPlace, Transition: engage.Enter},
		Arms:    []engage.Arm{{ID: "a", Message: engage.Content{Title: "Hello from {{ place.name }}", Body: "Come in"}}},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func person(id string) string { return engage.ProfileKey(ws, id) }

func entry(kind engage.Kind, key string, at time.Duration, body any) engage.Entry {
	b, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return engage.Entry{Kind: kind, Key: key, At: t0.Add(at), Occurred: t0.Add(at), Body: b}
}

func device(install string, change ...func(*engage.Device)) engage.Device {
	d := engage.Device{
		Install: install, App: "shop", Platform: "android", TimeZone: "Europe/Amsterdam", Locale: "nl-NL", Location: "always",
		Notifications: "granted", Push: &engage.PushTarget{Provider: "fcm", Token: "tok-secret", At: t0}, SeenAt: t0,
	}
	for _, f := range change {
		f(&d)
	}
	return d
}

func consents(granted bool) map[engage.Purpose]engage.Consent {
	return map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: granted, At: t0}}
}

// meet lets a person be known: a phone of theirs, "i-<id>", and marketing consent.
func (w *world) meet(id string) {
	w.Helper()
	w.apply(
		entry(engage.KindDevice, person(id), 0, device("i-"+id)),
		entry(engage.KindConsent, person(id), 0, consents(true)),
	)
}

func (w *world) apply(es ...engage.Entry) {
	w.Helper()
	if err := w.Apply(es...); err != nil {
		w.Fatal(err)
	}
}

func (w *world) fireUntil(at time.Duration) {
	w.Helper()
	if err := w.FireUntil(t0.Add(at)); err != nil {
		w.Fatal(err)
	}
}

// enters is the trigger of a person's phone that enters the inside of a place,
// seen as situate sees it.
func enters(id, place, visit string, at time.Duration, change ...func(*engage.Trigger)) engage.Entry {
	t := engage.Trigger{
		Type: engage.TriggerPlace, Occasion: visit, Install: "i-" + id, OccurredAt: t0.Add(at), Transition: engage.Enter,
		Ring: engage.Inside, Place: place, Fence: place + "-in", Evidence: "fix", DistanceM: 12, AccuracyM: 10,
		Cell: weatherCell().String(), WeatherIs: engage.WeatherAbsent,
	}
	for _, f := range change {
		f(&t)
	}
	return entry(engage.KindTrigger, person(id), at, t)
}

func near(t *engage.Trigger) { t.Ring, t.Fence = engage.Near, t.Place+"-near" }

func weatherCell() geo.Cell {
	c, err := geo.CellOf(shop, engage.WeatherResolution)
	if err != nil {
		panic(err)
	}
	return c
}

func sky(condition string, at, freshFor time.Duration) engage.Weather {
	return engage.Weather{
		Cell: weatherCell(), At: t0, FetchedAt: t0.Add(at), FreshUntil: t0.Add(at + freshFor), Kind: "forecast",
		Condition: condition, TemperatureC: 9, Precipitation: 1.5, Provider: "sim",
	}
}

func weather(condition string, at, freshFor time.Duration) engage.Entry {
	return entry(engage.KindWeather, engage.WeatherKey(weatherCell().String()), at, sky(condition, at, freshFor))
}

func (w *world) person(id string) *decide.Person {
	w.Helper()
	p, ok := w.State(person(id)).(*decide.Person)
	if !ok {
		w.Fatalf("no person %s", id)
	}
	return p
}

// decisions by log time, then campaign, then id.
func (w *world) decisions() []engage.Decision {
	w.Helper()
	var out []engage.Decision
	for id, b := range w.Docs("decisions") {
		var d engage.Decision
		if err := json.Unmarshal(b, &d); err != nil {
			w.Fatal(err)
		}
		if d.ID != id || d.V != 1 || d.Workspace != ws {
			w.Errorf("decision %s is %+v", id, d)
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b engage.Decision) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.Campaign+a.ID, b.Campaign+b.ID)
	})
	return out
}

// verdicts are "<campaign> <state> <reason>" of all decisions.
func (w *world) verdicts() string {
	w.Helper()
	var out []string
	for _, d := range w.decisions() {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", d.Campaign, d.State, d.Reason)))
	}
	return strings.Join(out, ", ")
}

func (w *world) wantVerdicts(want string) {
	w.Helper()
	if got := w.verdicts(); got != want {
		w.Fatalf("decisions: %q, want %q", got, want)
	}
}

// sends takes what was sent since the last time.
func (w *world) sends() []engage.Send {
	w.Helper()
	var out []engage.Send
	for _, o := range w.Take() {
		if o.To != "send" {
			continue
		}
		var s engage.Send
		if err := o.Into(&s); err != nil {
			w.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// counts of a campaign by arm.
func (w *world) counts(campaign string) map[string]engage.Counts {
	t, _ := w.State(ws + "/" + measure.Prefix(campaign) + "act/0").(*measure.Tally)
	if t == nil {
		return nil
	}
	return measure.Merge(t)
}

// checkCounts holds the counts against the decisions: every decision stands in
// exactly one of them.
func (w *world) checkCounts() {
	w.Helper()
	type tally struct {
		decided, heldOut, sent, expired, failed int64
		suppressed                              string
	}
	want := map[string]map[engage.DecisionState]int64{}
	why := map[string]map[engage.Reason]int64{}
	decided, waiting := map[string]int64{}, map[string]int64{}
	receipts := map[string]map[string]int64{}
	for _, d := range w.decisions() {
		if want[d.Campaign] == nil {
			want[d.Campaign], why[d.Campaign] = map[engage.DecisionState]int64{}, map[engage.Reason]int64{}
			receipts[d.Campaign] = map[string]int64{}
		}
		want[d.Campaign][d.State]++
		if d.Arm != "" {
			decided[d.Campaign]++
		} else if d.State == engage.Pending {
			waiting[d.Campaign]++
		}
		if d.State == engage.Suppressed {
			why[d.Campaign][d.Reason]++
		}
		if (d.State == engage.Pending) != (d.DueAt != nil) {
			w.Errorf("%s decision %s of %s is due at %v", d.State, d.ID, d.Campaign, d.DueAt)
		}
		for _, r := range d.Receipts {
			receipts[d.Campaign][r]++
		}
	}
	for c, states := range want {
		var sum engage.Counts
		for _, n := range w.counts(c) {
			sum = measure.Sum(sum, n)
		}
		got := tally{sum.Decided, sum.HeldOut, sum.Sent, sum.Expired, sum.Failed, fmt.Sprint(sorted(sum.Suppressed))}
		wanted := tally{
			decided[c], states[engage.HeldOut], states[engage.Sent], states[engage.Expired], states[engage.Failed],
			fmt.Sprint(sorted(why[c])),
		}
		if got != wanted {
			w.Errorf("campaign %s: counted %+v, decided %+v", c, got, wanted)
		}
		if open := sum.Decided - sum.HeldOut - sum.Sent - sum.Expired - sum.Failed; open != states[engage.Pending]-waiting[c] {
			w.Errorf("campaign %s: %d counted as open, %d are", c, open, states[engage.Pending]-waiting[c])
		}
		if sum.Accepted+sum.InApp > sum.Sent {
			w.Errorf("campaign %s: accepted %d and in-app %d of %d sent", c, sum.Accepted, sum.InApp, sum.Sent)
		}
		r := receipts[c]
		if sum.Delivered != r[engage.ReceiptDelivered] || sum.Displayed != r[engage.ReceiptDisplayed] || sum.Opened != r[engage.ReceiptOpened] ||
			sum.Acted != r[engage.ReceiptAction] || sum.Dismissed != r[engage.ReceiptDismissed] ||
			sum.Converted != r[engage.ReceiptConverted] || sum.NotShown != r[engage.ReceiptFailed] {
			w.Errorf("campaign %s: receipts counted %+v, kept %v", c, sum, r)
		}
	}
}

func sorted(m map[engage.Reason]int64) []string {
	var out []string
	for _, r := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprint(r, "=", m[r]))
	}
	return out
}
