package decide_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
)

var update = flag.Bool("update", false, "rewrite the files under testdata")

func outcome(who, delivery string, at time.Duration, state engage.DeliveryState, channel string, reason engage.Reason) engage.Entry {
	return entry(engage.KindOutcome, person(who), at, engage.DeliveryOutcome{
		Delivery: delivery, State: state, Channel: channel, Install: "i-" + who, Reason: reason, Detail: "why", Attempts: 1,
	})
}

func receipt(who, delivery string, at time.Duration, state, via string) engage.Entry {
	return entry(engage.KindReceipt, person(who), at, engage.ReceiptItem{Message: delivery, State: state, Via: via, Install: "i-" + who})
}

func permutations[T any](in []T, f func([]T)) {
	var rec func(k int)
	s := slices.Clone(in)
	rec = func(k int) {
		if k == len(s) {
			f(s)
			return
		}
		for i := k; i < len(s); i++ {
			s[k], s[i] = s[i], s[k]
			rec(k + 1)
			s[k], s[i] = s[i], s[k]
		}
	}
	rec(0)
}

// fact is something that becomes known of a delivery.
type fact struct {
	name  string
	entry engage.Entry         // zero: the expiry timer fires
	state engage.DecisionState // that it makes of a pending decision; empty: none
}

// Whatever the order in which facts arrive, and however often, the first that is
// terminal decides, the later ones are kept as receipts, and nothing is counted twice.
func TestOneTerminalStateInEveryOrderOfArrival(t *testing.T) {
	t.Parallel()
	w := newWorld(t, offer("x"))
	w.meet("ada")
	w.apply(enters("ada", "cafe", "v1", 0))
	id := w.decisions()[0].Delivery
	facts := []fact{
		{"accepted", outcome("ada", id, sec, engage.DeliveryAccepted, "fcm", ""), engage.Sent},
		{"granted", outcome("ada", id, sec, engage.DeliveryGranted, "in_app", ""), ""},
		{"inboxed", outcome("ada", id, sec, engage.DeliveryInboxed, "inbox", ""), ""},
		{"failed", outcome("ada", id, sec, engage.DeliveryFailed, "fcm", engage.ReasonRejected), engage.Failed},
		{"expired", outcome("ada", id, sec, engage.DeliveryExpired, "", ""), engage.Expired},
		{"delivered", receipt("ada", id, sec, "delivered", "fcm"), ""},
		{"displayed", receipt("ada", id, sec, "displayed", "in_app"), engage.Sent},
		{"opened", receipt("ada", id, sec, "opened", "fcm"), engage.Sent},
		{"action", receipt("ada", id, sec, "action", "inbox"), engage.Sent},
		{"dismissed", receipt("ada", id, sec, "dismissed", "inbox"), engage.Sent},
		{"converted", receipt("ada", id, sec, "converted", "in_app"), engage.Sent},
		{"could not be shown", receipt("ada", id, sec, "failed", "in_app"), ""},
		{"timer", engage.Entry{}, engage.Expired},
	}
	timer := w.Timers()[0]
	runs := 0
	check := func(order []fact) {
		runs++
		f := &world{T: t, Partition: w.Fork()}
		want := engage.Pending
		names := make([]string, len(order))
		receipts := map[string]bool{}
		for i, x := range order {
			names[i] = x.name
			if x.entry.Kind == "" {
				if err := f.Fire(timer, timer.Due); err != nil {
					t.Fatal(err)
				}
			} else {
				f.apply(x.entry)
			}
			if want == engage.Pending && x.state != "" {
				want = x.state
			}
			if x.entry.Kind == engage.KindReceipt {
				receipts[x.name] = true
			}
			if d := f.person("ada").Open[id]; d.State != want {
				t.Fatalf("%v: %s, want %s", names[:i+1], d.State, want)
			}
		}
		d := f.decisions()[0]
		if len(d.Receipts) != len(receipts) {
			t.Fatalf("%v: receipts %v", names, d.Receipts)
		}
		if want.Terminal() != (len(f.Timers()) == 0) {
			t.Fatalf("%v: %s with timers %v", names, want, f.Timers())
		}
		f.checkCounts()
		c := f.counts("x")["a"]
		if c.Decided != 1 || c.Sent+c.Failed+c.Expired > 1 || c.Accepted+c.InApp > 1 || c.Inboxed > 1 || c.Delivered > 1 || c.Displayed > 1 || c.Opened > 1 ||
			c.Acted > 1 || c.Dismissed > 1 || c.Converted > 1 || c.NotShown > 1 {
			t.Fatalf("%v: counted twice: %+v", names, c)
		}
		if t.Failed() {
			t.Fatalf("in the order %v", names)
		}
	}
	// All orders of every three facts.
	for i := range facts {
		for j := i + 1; j < len(facts); j++ {
			for k := j + 1; k < len(facts); k++ {
				permutations([]fact{facts[i], facts[j], facts[k]}, check)
			}
		}
	}
	// And longer tales with duplicates, the timer once.
	r := rand.New(rand.NewPCG(1, 1))
	w.Quick = true
	for range 100 {
		order := slices.Clone(facts)
		for range 6 {
			order = append(order, facts[r.IntN(len(facts)-1)])
		}
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		check(order)
	}
	t.Logf("%d orders", runs)
}

func TestWhatAnOutcomeLeavesInTheDecision(t *testing.T) {
	for _, c := range []struct {
		name  string
		facts func(id string) []engage.Entry
		want  string // state reason channel detail
		count func(engage.Counts) int64
	}{
		{
			"accepted", func(id string) []engage.Entry {
				return []engage.Entry{outcome("ada", id, sec, engage.DeliveryAccepted, "fcm", "")}
			},
			"sent  fcm why", func(c engage.Counts) int64 { return c.Accepted },
		},
		{"rejected", func(id string) []engage.Entry {
			return []engage.Entry{outcome("ada", id, sec, engage.DeliveryFailed, "apns", engage.ReasonMisconfigured)}
		}, "failed send_misconfigured apns why", func(c engage.Counts) int64 { return c.Failed }},
		{
			"expired at deliver", func(id string) []engage.Entry {
				return []engage.Entry{outcome("ada", id, sec, engage.DeliveryExpired, "fcm", "")}
			},
			"expired send_expired fcm why", func(c engage.Counts) int64 { return c.Expired },
		},
		{"shown in the app", func(id string) []engage.Entry {
			return []engage.Entry{outcome("ada", id, sec, engage.DeliveryGranted, "in_app", ""), receipt("ada", id, 2*sec, "displayed", "")}
		}, "sent  in_app why", func(c engage.Counts) int64 { return c.InApp }},
		{"read in the inbox", func(id string) []engage.Entry {
			return []engage.Entry{outcome("ada", id, sec, engage.DeliveryInboxed, "inbox", ""), receipt("ada", id, 2*sec, "opened", "inbox")}
		}, "sent  inbox why", func(c engage.Counts) int64 { return c.Inboxed }},
		{"put away in the inbox", func(id string) []engage.Entry {
			return []engage.Entry{outcome("ada", id, sec, engage.DeliveryInboxed, "inbox", ""), receipt("ada", id, 2*sec, "dismissed", "inbox"), receipt("ada", id, 3*sec, "dismissed", "inbox")}
		}, "sent  inbox why", func(c engage.Counts) int64 { return c.Dismissed }},
		{"used", func(id string) []engage.Entry {
			return []engage.Entry{receipt("ada", id, sec, "action", "in_app"), receipt("ada", id, 2*sec, "action", "in_app"), receipt("ada", id, 2*sec, "converted", "")}
		}, "sent  in_app ", func(c engage.Counts) int64 { return c.Acted * c.Converted }},
		{"not shown", func(id string) []engage.Entry {
			return []engage.Entry{outcome("ada", id, sec, engage.DeliveryGranted, "in_app", ""), receipt("ada", id, 2*sec, "failed", "in_app")}
		}, "pending  in_app why", func(c engage.Counts) int64 { return c.NotShown }},
		{"shown by a push before its provider's word arrived", func(id string) []engage.Entry {
			return []engage.Entry{receipt("ada", id, sec, "displayed", "apns"), outcome("ada", id, 2*sec, engage.DeliveryAccepted, "apns", "")}
		}, "sent  apns ", func(c engage.Counts) int64 { return c.Accepted }},
		{"a receipt of a state that is not known", func(id string) []engage.Entry {
			return []engage.Entry{receipt("ada", id, sec, "7", "fcm")}
		}, "pending   ", func(c engage.Counts) int64 { return c.Decided }},
		{"an unknown delivery", func(string) []engage.Entry {
			return []engage.Entry{outcome("ada", "nope", sec, engage.DeliveryFailed, "fcm", engage.ReasonRejected), receipt("ada", "nope", sec, "opened", "")}
		}, "pending   ", func(c engage.Counts) int64 { return c.Decided }},
	} {
		w := newWorld(t, offer("x"))
		w.meet("ada")
		w.apply(enters("ada", "cafe", "v1", 0))
		w.apply(c.facts(w.decisions()[0].Delivery)...)
		d := w.decisions()[0]
		if got := fmt.Sprint(d.State, " ", d.Reason, " ", d.Channel, " ", d.Detail); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if slices.Contains(d.Receipts, "7") {
			t.Errorf("%s: receipts %v", c.name, d.Receipts)
		}
		if n := c.count(w.counts("x")["a"]); n != 1 {
			t.Errorf("%s: counted %+v", c.name, w.counts("x")["a"])
		}
		w.checkCounts()
	}
	w := newWorld(t, offer("x"))
	w.meet("ada")
	w.apply(enters("ada", "cafe", "v1", 0))
	before := w.Dump()
	if err := w.Apply(outcome("ada", w.decisions()[0].Delivery, sec, "lost", "", "")); engage.CodeOf(err) != engage.Invalid || w.Dump() != before {
		t.Errorf("an unknown state: %v", err)
	}
	w.fireUntil(time.Hour + time.Minute - 1)
	w.wantVerdicts("x pending")
	w.fireUntil(time.Hour + time.Minute)
	w.wantVerdicts("x expired not_displayed")
	w.checkCounts()
}

// deliver hears once of each thing that a phone says of a message, but of what it
// knows anyway; also of a message whose decision is forgotten.
func TestDeliverHearsWhatAPhoneSays(t *testing.T) {
	w := newWorld(t, offer("x"))
	w.meet("ada")
	w.apply(enters("ada", "cafe", "v1", 0))
	id := w.decisions()[0].Delivery
	w.Take()
	heard := func() (out []string) {
		for _, o := range w.Take() {
			if o.To != "displayed" {
				continue
			}
			var r engage.ReceiptItem
			if err := json.Unmarshal(o.Entry.Body, &r); err != nil {
				t.Fatal(err)
			}
			if o.Entry.Key != person("ada") {
				t.Errorf("said of %s", o.Entry.Key)
			}
			out = append(out, r.Message+" "+r.State)
		}
		return out
	}
	var want []string
	for i, state := range []string{"delivered", "failed", "displayed", "opened", "action", "converted", "dismissed"} {
		at := time.Duration(i+1) * sec
		w.apply(receipt("ada", id, at, state, "inbox"), receipt("ada", id, at, state, "inbox"))
		if state != "delivered" {
			want = append(want, id+" "+state)
		}
	}
	if got := heard(); !slices.Equal(got, want) {
		t.Errorf("of a message: %q, want %q", got, want)
	}
	w.apply(receipt("ada", "forgotten", sec, "delivered", "inbox"), receipt("ada", "forgotten", sec, "dismissed", "inbox"))
	if got := heard(); !slices.Equal(got, []string{"forgotten dismissed"}) {
		t.Errorf("of one that is forgotten: %q", got)
	}
	w.checkCounts()
}

// tale is a long random story of several people.
func tale(seed uint64, n int) []engage.Entry {
	r := rand.New(rand.NewPCG(seed, 7))
	var es []engage.Entry
	at := time.Duration(0)
	visits := map[string]int{}
	for i := range 5 {
		who := fmt.Sprint("p", i)
		es = append(es, entry(engage.KindDevice, person(who), 0, device("i-"+who)), entry(engage.KindConsent, person(who), 0, consents(true)))
	}
	for range n {
		at += time.Duration(r.IntN(1200)) * sec / 10
		who := fmt.Sprint("p", r.IntN(6))
		switch r.IntN(10) {
		case 0:
			es = append(es, entry(engage.KindDevice, person(who), at, device("i-"+who, func(d *engage.Device) { d.SeenAt = t0.Add(at) })))
		case 1:
			es = append(es, entry(engage.KindConsent, person(who), at, consents(r.IntN(5) > 0)))
		case 2:
			es = append(es, entry(engage.KindPreferences, person(who), at, map[string]string{"tea": []string{"like", "dislike", ""}[r.IntN(3)], "art": "like"}))
		case 3:
			es = append(es, entry(engage.KindTraits, person(who), at, map[string]any{"tier": fmt.Sprint(r.IntN(3)), "n": r.IntN(9), "b": 1.5}))
		case 4:
			es = append(es, weather([]string{"rain", "clear"}[r.IntN(2)], at, time.Duration(r.IntN(7200))*sec))
		default:
			if r.IntN(2) == 0 {
				visits[who]++
			}
			visit := fmt.Sprint(who, "-", visits[who])
			es = append(es, enters(who, []string{"cafe", "bar"}[r.IntN(2)], visit, at, func(tr *engage.Trigger) {
				if r.IntN(2) == 0 {
					near(tr)
				}
				if r.IntN(8) == 0 {
					tr.Install = "i-other-" + who
				}
			}))
		}
	}
	return es
}

func taleCampaigns() []*engage.Campaign {
	return []*engage.Campaign{
		offer("plain", func(c *engage.Campaign) {
			c.HoldoutPercent, c.Limits = 30, engage.Limits{Cap: 2, CapWindowS: 3600}
			c.Audience = rule(`{"any":[{"field":"attributes.tier","op":"ne","value":"2"},{"field":"visits","op":"lt","value":3}]}`)
			c.Arms = append(c.Arms, engage.Arm{ID: "b", Weight: 2, Message: engage.Content{Body: "{{ profile.likes | join: ',' }} {{ profile.visits }}"}})
		}),
		offer("wet", rainy, func(c *engage.Campaign) { c.Priority = 2; c.Limits.Cap, c.Limits.CapWindowS = 3, 7200 }),
		offer("night", quiet("11:30", "12:15", 2*time.Hour), func(c *engage.Campaign) { c.Priority = 1; c.Trigger.Tags = []string{"coffee"} }),
		offer("near", func(c *engage.Campaign) {
			c.Trigger.Rings = []engage.Ring{engage.Near, engage.Inside}
			c.HoldoutPercent = 50
			c.Limits.ExpireS = 300
		}),
	}
}

// fate is what becomes of a delivery, by chance: up to five facts.
func fate(r *rand.Rand, who, delivery string, at time.Duration) []engage.Entry {
	var es []engage.Entry
	for range r.IntN(6) {
		at += time.Duration(r.IntN(5)) * sec
		if r.IntN(2) == 0 {
			state := []engage.DeliveryState{
				engage.DeliveryAccepted, engage.DeliveryGranted, engage.DeliveryGranted, engage.DeliveryInboxed, engage.DeliveryFailed, engage.DeliveryExpired,
			}[r.IntN(6)]
			es = append(es, outcome(who, delivery, at, state, []string{"fcm", "in_app", "inbox"}[r.IntN(3)], engage.ReasonExhausted))
		} else {
			state := []string{"delivered", "displayed", "opened", "dismissed", "action", "converted", "failed"}[r.IntN(7)]
			es = append(es, receipt(who, delivery, at, state, []string{"fcm", "in_app", "inbox", ""}[r.IntN(4)]))
		}
	}
	return es
}

// tell applies a tale and what becomes of its sends, firing timers when their time
// has come, with the configuration changed half-way.
func tell(t *testing.T, seed uint64, n int, quick, reload bool) *world {
	t.Helper()
	w := newWorld(t, taleCampaigns()...)
	w.Quick, w.Reload = quick, reload
	r := rand.New(rand.NewPCG(seed, 8))
	es := tale(seed, n)
	for i, e := range es {
		if err := w.FireUntil(e.At); err != nil {
			t.Fatal(err)
		}
		w.apply(e)
		for _, s := range w.sends() {
			w.apply(fate(r, s.Profile, s.Delivery, e.At.Sub(t0))...)
		}
		if i == len(es)/2 {
			w.adopt(taleCampaigns()[1:]...)
		}
	}
	return w
}

func TestCountsEqualTheDecisions(t *testing.T) {
	t.Parallel()
	states := map[engage.DecisionState]int{}
	reasons := map[engage.Reason]int{}
	for seed := range uint64(5) {
		w := tell(t, seed, 300, true, false)
		w.checkCounts()
		w.fireUntil(1000 * time.Hour)
		w.checkCounts()
		for _, d := range w.decisions() {
			states[d.State]++
			reasons[d.Reason]++
			if !d.State.Terminal() {
				t.Errorf("seed %d: %s of %s is %s when all timers have fired", seed, d.ID, d.Campaign, d.State)
			}
		}
		if len(w.Timers()) != 0 {
			t.Errorf("seed %d: timers left: %v", seed, w.Timers())
		}
		for _, k := range w.Keys() {
			if p, ok := w.State(k).(*decide.Person); ok && len(p.Waiting) > 0 {
				t.Errorf("seed %d: %s waits for ever", seed, k)
			}
		}
	}
	for _, s := range []engage.DecisionState{engage.Sent, engage.HeldOut, engage.Suppressed, engage.Expired, engage.Failed} {
		if states[s] == 0 {
			t.Errorf("the tales have no decision that is %s: %v", s, states)
		}
	}
	t.Logf("%v %v", states, reasons)
}

func TestTheSameEntriesGiveTheSameBytes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		once := tell(t, seed, 150, false, false).Dump()
		if again := tell(t, seed, 150, true, false).Dump(); again != once {
			t.Fatalf("seed %d: a second run differs: %s", seed, firstDifference(once, again))
		}
		if reloaded := tell(t, seed, 150, true, true).Dump(); reloaded != once {
			t.Fatalf("seed %d: with states decoded before every entry it differs: %s", seed, firstDifference(once, reloaded))
		}
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return "\n" + x[i] + "\n" + y[i]
		}
	}
	return "one is longer"
}

// broken is a Meter that fails at its nth use.
type broken struct {
	measure.Meter
	left *int
}

func (b broken) Add(tx engage.Tx, workspace, campaign, arm string, add engage.Counts) error {
	if *b.left--; *b.left < 0 {
		return errors.New("no")
	}
	return b.Meter.Add(tx, workspace, campaign, arm, add)
}

func TestAFailedEntryLeavesNothing(t *testing.T) {
	left := 0
	w := &world{T: t, Partition: steptest.New("act/0", decide.Machine{Meter: broken{left: &left}, Other: measure.Meter{}})}
	w.adopt(taleCampaigns()...)
	failed := 0
	for _, e := range tale(3, 40) {
		for n := range 10 {
			before := w.Dump()
			left = n // fails at ever later uses, until it goes through
			err := w.Apply(e)
			if err == nil {
				break
			}
			failed++
			if errors.Is(err, steptest.ErrBroken) || w.Dump() != before {
				t.Fatalf("%v left something: %s", err, firstDifference(before, w.Dump()))
			}
		}
	}
	if failed == 0 {
		t.Error("nothing failed")
	}
	left = 1000
	before := w.Dump()
	for name, e := range map[string]engage.Entry{
		"trigger": {Kind: engage.KindTrigger, Key: person("p1"), At: t0, Body: []byte("{")},
		"timer":   {Kind: engage.KindTimer, Key: person("p1"), At: t0, Body: []byte("{")},
		"unknown": {Kind: "x", Key: person("p1"), At: t0},
		"new":     {Kind: "x", Key: person("new"), At: t0},
		"traits":  {Kind: engage.KindTraits, Key: person("p1"), At: t0, Body: []byte("[]")},
		"weather": {Kind: engage.KindWeather, Key: "_/w:x", At: t0, Body: []byte(`{"cell":"zz"}`)},
	} {
		if err := w.Apply(e); err == nil || errors.Is(err, steptest.ErrBroken) || w.Dump() != before {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The bytes of the first version stay readable: when the format changes, the old
// files stay and new ones join them.
func TestStatesOfTheFirstVersionAreReadable(t *testing.T) {
	w := newWorld(t, offer("wet", rainy), offer("x", func(c *engage.Campaign) { c.Limits = engage.Limits{Cap: 1, CapWindowS: 60} }))
	w.meet("ada")
	w.apply(
		entry(engage.KindPreferences, person("ada"), sec, map[string]string{"tea": "like"}),
		entry(engage.KindTraits, person("ada"), sec, map[string]any{"tier": "gold", "n": 1.5, "b": true, "l": []string{"a"}}),
		identify("ada", "ada", sec, true),
	)
	w.settle()
	w.apply(
		touched(engage.Touch{
			ID: "1", Trusted: true, From: engage.TouchSource{Kind: "till"}, Identifiers: []string{"user_id:ada", "loyalty:17"},
			Consents: map[engage.Purpose]engage.Consent{engage.ConsentProfiling: {Granted: true}}, Event: &engage.TouchEvent{Type: "track", Name: "Order Completed"},
			Order: &engage.Order{ID: "o1", Status: engage.OrderCompleted, Value: 9.9, Currency: "EUR", Products: []engage.OrderedItem{{Category: "Tea"}}},
		}, 2*sec),
	)
	w.settle()
	w.apply(
		enters("ada", "cafe", "v1", 2*sec), weather("rain", 3*sec, 0),
		receipt("ada", engage.DeliveryID(ws, "x", "ada", "v1"), 4*sec, "displayed", "in_app"),
		enters("ada", "cafe", "t1", 5*sec, func(tr *engage.Trigger) { tr.Install = "i-2" }),
		enters("ada", "bar", "v2", 4*time.Hour),
	)
	w.settle()
	machine := decide.Machine{Other: measure.Meter{}}
	cell := engage.WeatherKey(weatherCell().String()) + "@act/0"
	for name, k := range map[string]string{
		"person_v1.json": person("ada"), "binding_v1.json": engage.IdentifierKey(ws, "user_id:ada"), // before persons became one
		"person_v1_one.json":        person(node("user_id:ada")), // before spends were kept
		"person_v1_spends_one.json": person(node("user_id:ada")), // before a person knew when they were changed
		"person_v1_dated.json":      person(node("user_id:ada")), // before it was looked at what follows
		"person_v1_aims.json":       person(node("user_id:ada")), "moved_v1.json": person("ada"), "binding_v1_one.json": engage.IdentifierKey(ws, "user_id:ada"),
		"cell_v1.json": cell, "tally_v1.json": ws + "/" + measure.Prefix("x") + "act/0",
		"cell_v1_one.json": cell, "tally_v1_one.json": ws + "/" + measure.Prefix("x") + "act/0", // before there were hours
		"tally_v1_hours.json": ws + "/" + measure.Prefix("x") + "act/0",
	} {
		file := filepath.Join("testdata", name)
		old := !slices.Contains([]string{
			"person_v1_aims.json", "moved_v1.json", "binding_v1_one.json", "cell_v1_one.json", "tally_v1_hours.json",
		}, name)
		if *update && !old {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, append(w.Bytes(k), '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		kept, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := machine.Decode(k, kept)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, bytes.TrimSpace(kept)) {
			t.Errorf("%s is now written as\n%s\nkept:\n%s", name, again, kept)
		}
		if now := w.Bytes(k); !old && !bytes.Equal(now, bytes.TrimSpace(kept)) {
			t.Errorf("%s: the same story gives\n%s\nkept:\n%s", name, now, kept)
		}
		for _, bad := range []string{"", "null", "[]", "{}", `{"v":2}`, string(kept[:len(kept)/2])} {
			if _, err := machine.Decode(k, []byte(bad)); err == nil {
				t.Errorf("%s: %q was read", name, bad)
			}
		}
	}
	if _, err := (decide.Machine{}).Decode("acme/q:x", []byte(`{"v":1}`)); err == nil {
		t.Error("an unknown kind of key was read")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("acme/p:x", []byte(`{"v":1,"waiting":{"a":{"for":"quiet"}},"open":{"d":{"v":1}}}`))
	f.Add("acme/d:x", []byte(`{"v":1}`))
	f.Add("_/w:x@act/0", []byte(`{"v":1,"weather":{"cell":"85196953fffffff"}}`))
	f.Add("acme/m:x@act/0", []byte(`{"v":1,"arms":null}`))
	machine := decide.Machine{Other: measure.Meter{}}
	f.Fuzz(func(t *testing.T, key string, body []byte) {
		s, err := machine.Decode(key, body)
		if err != nil {
			return
		}
		if _, err := s.Clone().Encode(); err != nil {
			t.Errorf("decoded, but not encoded: %v", err)
		}
	})
}

func TestStateStaysBounded(t *testing.T) {
	w := newWorld(t, offer("x", func(c *engage.Campaign) { c.Limits.Cap, c.Limits.CapWindowS = 1000, 24*3600 }))
	w.meet("ada")
	w.Quick = true
	for i := range 200 {
		at := time.Duration(i) * 6 * time.Hour
		w.fireUntil(at)
		w.apply(enters("ada", "cafe", fmt.Sprint("v", i), at))
	}
	p := w.person("ada")
	if len(p.Open) > 51 || len(p.Used) > 51 || len(p.Spent["x"]) > 5 || len(p.Recent) != 1 {
		t.Errorf("%d open, %d used, %d spent, %d recent", len(p.Open), len(p.Used), len(p.Spent["x"]), len(p.Recent))
	}
}
