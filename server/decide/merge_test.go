package decide_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
)

// settle applies what was put out for persons until nothing is left, as the log would,
// and returns the rest.
func (w *world) settle() []steptest.Output {
	w.Helper()
	var rest []steptest.Output
	for {
		again := false
		for _, o := range w.Take() {
			if o.To != "act" {
				rest = append(rest, o)
				continue
			}
			again = true
			w.apply(o.Entry)
		}
		if !again {
			return rest
		}
	}
}

// node is the profile that an identifier mints.
func node(identifier string) string { return engage.PersonID(ws, identifier) }

// who is the person that a profile has become.
func (w *world) who(id string) *decide.Person {
	w.Helper()
	for range 10 {
		m, moved := w.State(person(id)).(*decide.Moved)
		if !moved {
			return w.person(id)
		}
		id = m.Redirect
	}
	w.Fatalf("%s goes in a circle", id)
	return nil
}

func touched(t engage.Touch, at time.Duration) engage.Entry {
	t.V = 1
	return entry(engage.KindTouch, person(node(t.Identifiers[0])), at, t)
}

func (w *world) timelineOf(id string) string {
	w.Helper()
	var out []string
	docs := w.Docs("timeline")
	for _, key := range sortedKeys(docs) {
		if strings.HasPrefix(key, "p:"+id+"/") {
			var e engage.TimelineEntry
			if err := json.Unmarshal(docs[key], &e); err != nil {
				w.Fatal(err)
			}
			out = append(out, string(e.Kind))
		}
	}
	return strings.Join(out, " ")
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func TestWhoProvesAnIdentifierBecomesItsPerson(t *testing.T) {
	w := newWorld(t, offer("x", func(c *engage.Campaign) { c.Limits.Cap, c.Limits.CapWindowS = 5, 3600 }))
	w.meet("phone")
	w.meet("tablet")
	w.apply(
		entry(engage.KindPreferences, person("phone"), sec, map[string]string{"tea": "like", "art": "like"}),
		entry(engage.KindPreferences, person("tablet"), 2*sec, map[string]string{"tea": "dislike"}),
		enters("phone", "cafe", "v1", 3*sec),
		enters("tablet", "bar", "v2", 3*sec),
	)
	w.settle()
	if err := w.Apply(identify("phone", "ada", 4*sec, false)); engage.CodeOf(err) != engage.IdentityInvalid {
		t.Errorf("unproven: %v", err)
	}
	for range 2 { // twice is once
		w.apply(identify("phone", "ada", 5*sec, true))
		rest := w.settle()
		if len(rest) > 1 || len(rest) == 1 && (rest[0].To != "in" || rest[0].Entry.Kind != engage.KindGiveInstall || rest[0].Entry.Key != engage.InstallKey(ws, "i-phone")) {
			t.Errorf("put out %+v", rest)
		}
	}
	ada := node("user_id:ada")
	if b := w.State(engage.IdentifierKey(ws, "user_id:ada")).(*decide.Binding); b.Profile != ada || !b.At.Equal(t0.Add(5*sec)) {
		t.Errorf("bound to %+v", b)
	}
	first := w.person(ada)
	if first.ID != ada || !slices.Equal(first.Identifiers, []string{"user_id:ada"}) || !slices.Equal(first.Absorbed, []string{"phone"}) ||
		first.Preferences["tea"] != engage.Like || !first.Consented(engage.ConsentMarketing) || len(first.Devices) != 1 || len(first.Open) != 1 || first.Visits != 1 {
		t.Errorf("Ada is %s", mustJSON(t, first))
	}
	// A second phone of hers.
	w.apply(identify("tablet", "ada", 6*sec, true))
	w.settle()
	both := w.person(ada)
	if len(both.Devices) != 2 || both.Preferences["tea"] != engage.Dislike || both.Preferences["art"] != engage.Like || both.Visits != 2 ||
		len(both.Open) != 2 || len(both.Used) != 2 || len(both.Spent["x"]) != 2 || len(both.Links) != 2 {
		t.Errorf("Ada is %s", mustJSON(t, both))
	}
	// What still comes for them arrives, and what they were sent ends.
	sent := engage.DeliveryID(ws, "x", "phone", "v1")
	w.apply(
		entry(engage.KindOutcome, person("phone"), 7*sec, engage.DeliveryOutcome{Delivery: sent, State: engage.DeliveryAccepted, Channel: "fcm"}),
		receipt("tablet", engage.DeliveryID(ws, "x", "tablet", "v2"), 8*sec, "displayed", "in_app"),
		entry(engage.KindPreferences, person("phone"), 9*sec, map[string]string{"jazz": "like"}),
	)
	for _, o := range w.settle() {
		if o.To == "displayed" && o.Entry.Key != person("tablet") { // deliver knows the message as the tablet's
			t.Errorf("deliver is told of a message of %s", o.Entry.Key)
		}
	}
	for _, d := range w.decisions() {
		if d.State != engage.Sent {
			t.Errorf("%s of %s is %s", d.ID, d.Profile, d.State)
		}
	}
	if w.person(ada).Preferences["jazz"] != engage.Like {
		t.Error("a preference was lost on the way")
	}
	for _, tm := range w.Timers() {
		if tm.Key != person(ada) {
			t.Errorf("a timer is left behind: %+v", tm)
		}
	}
	// A campaign speaks once per occasion, also to whom it has spoken before.
	w.apply(enters("phone", "cafe", "v1", 10*sec))
	w.settle()
	if got := w.verdicts(); strings.Count(got, "eligibility_occasion_used") != 1 {
		t.Errorf("decisions %s", got)
	}
	if got := w.timelineOf(ada); !strings.Contains(got, "absorb absorb") || !strings.Contains(got, "outcome") {
		t.Errorf("Ada's timeline: %s", got)
	}
	w.checkCounts()
}

// The weather comes while a moment is on its way from one profile to the other: this
// partition has it, and it does not come again.
func TestWeatherThatComesDuringAMergeIsSeen(t *testing.T) {
	w := newWorld(t, offer("wet", rainy))
	w.meet("phone")
	w.apply(enters("phone", "cafe", "v1", sec), identify("phone", "ada", sec+1, true))
	for { // until the profile has frozen
		var rest []steptest.Output
		frozen := false
		for _, o := range w.Take() {
			if o.To != "act" {
				continue
			}
			if frozen = frozen || o.Entry.Kind == engage.KindAbsorb; frozen {
				rest = append(rest, o)
				continue
			}
			w.apply(o.Entry)
		}
		if !frozen {
			continue
		}
		w.apply(weather("rain", sec+2, time.Hour))
		for _, o := range rest {
			w.apply(o.Entry)
		}
		break
	}
	w.settle()
	if n := len(w.person(node("user_id:ada")).Waiting); n != 0 || len(w.decisions()) != 2 {
		t.Errorf("%s, %d wait", w.verdicts(), n)
	}
	for _, d := range w.decisions() {
		if d.Profile == node("user_id:ada") && d.Delivery == "" {
			t.Errorf("%s waits for what has come", d.ID)
		}
	}
	w.endedAt("phone")
	w.checkCounts()
}

// endedAt wants every decision of an install's own profile to have ended there.
func (w *world) endedAt(install string) {
	w.Helper()
	for _, d := range w.decisions() {
		if d.Profile == engage.ProfileID(ws, install) && (d.State != engage.Suppressed || d.Reason != engage.ReasonMerged) {
			w.Errorf("%s of the profile that is no more is %s %s", d.ID, d.State, d.Reason)
		}
	}
}

// What another profile has decided is written by that profile's owner alone, in whose
// stream the orders stand: two writers could save an older version over a newer one.
func TestADecisionHasOneWriter(t *testing.T) {
	w := newWorld(t, offer("x"))
	w.meet("phone")
	w.apply(enters("phone", "cafe", "v1", sec), identify("phone", "ada", sec+1, true))
	w.settle()
	sent := engage.DeliveryID(ws, "x", "phone", "v1")
	before := mustJSON(t, w.decisions())
	w.apply(entry(engage.KindOutcome, person(node("user_id:ada")), 2*sec, engage.DeliveryOutcome{Delivery: sent, State: engage.DeliveryAccepted, Channel: "fcm"}))
	if after := mustJSON(t, w.decisions()); after != before {
		t.Errorf("the survivor has written\n%s over\n%s", after, before)
	}
	w.settle()
	for _, d := range w.decisions() {
		if d.State != engage.Sent {
			t.Errorf("%s is %s", d.ID, d.State)
		}
	}
}

func TestWhatWaitsGoesOnWaiting(t *testing.T) {
	w := newWorld(t, offer("late", quiet("10:00", "12:00", 4*time.Hour)), offer("wet", rainy))
	w.meet("phone")
	w.apply(enters("phone", "cafe", "v1", sec), identify("phone", "ada", sec+1, true))
	w.settle()
	ada := node("user_id:ada")
	if n := len(w.person(ada).Waiting); n != 2 {
		t.Fatalf("%d wait", n)
	}
	w.apply(weather("rain", 2*sec, time.Hour))
	w.endedAt("phone")
	if got := w.verdicts(); strings.Count(got, "pending") != 2 || len(w.person(ada).Waiting) != 1 {
		t.Fatalf("after the weather: %s, %d wait", got, len(w.person(ada).Waiting))
	}
	if s := w.sends(); len(s) != 1 || s[0].Campaign != "wet" || s[0].Profile != ada {
		t.Errorf("sent %+v", s)
	}
	w.fireUntil(2 * time.Hour)
	if n := len(w.person(ada).Waiting); n != 0 {
		t.Errorf("%d wait still", n)
	}
	w.checkCounts()
}

// However many phones of one person have moments that wait, the person has no more of
// them than one phone may.
func TestWhatWaitsDoesNotAddUpBeyondTheLimit(t *testing.T) {
	w := newWorld(t, offer("late", quiet("10:00", "12:00", 4*time.Hour)))
	for _, phone := range []string{"phone", "tablet", "watch"} {
		w.meet(phone)
		for i := range 40 {
			w.apply(enters(phone, "cafe", fmt.Sprint(phone, i), time.Duration(i+1)*sec))
		}
		w.apply(identify(phone, "ada", time.Minute, true))
	}
	w.settle()
	if n := len(w.person(node("user_id:ada")).Waiting); n != 50 {
		t.Errorf("%d wait", n)
	}
	w.fireUntil(3 * time.Hour)
	if n := len(w.person(node("user_id:ada")).Waiting); n != 0 {
		t.Errorf("%d wait still", n)
	}
	if n := strings.Count(w.verdicts(), "pending"); n > 50 {
		t.Errorf("%d are pending", n)
	}
	w.checkCounts()
}

func TestTwoUsersAreTwoPersonsUnlessAServerSaysOtherwise(t *testing.T) {
	w := newWorld(t)
	w.meet("tablet")
	ada, bob := node("user_id:ada"), node("user_id:bob")
	w.apply(identify("tablet", "ada", sec, true))
	w.settle()
	before := mustJSON(t, w.person(ada).Profile)
	// A shared tablet whose log-out nobody noticed.
	w.apply(identify("tablet", "bob", 2*sec, true))
	w.settle()
	if got := mustJSON(t, w.person(ada).Profile); got != before {
		t.Errorf("Ada was changed to\n%s from\n%s", got, before)
	}
	if b := w.person(bob); len(b.Devices) > 0 || len(b.Absorbed) > 0 || len(b.Identifiers) > 0 {
		t.Errorf("Bob is %s", mustJSON(t, b))
	}
	for _, id := range []string{ada, bob} {
		if got := w.timelineOf(id); !strings.HasSuffix(got, "merge_no") {
			t.Errorf("the timeline of %s: %s", id, got)
		}
	}
	// An address that two share stays with the first.
	email := "email:family@example.com"
	w.apply(
		touched(engage.Touch{ID: "1", Trusted: true, Identifiers: []string{"user_id:ada", email}}, 3*sec),
		touched(engage.Touch{ID: "2", Trusted: true, Identifiers: []string{"user_id:bob", email}}, 4*sec),
	)
	w.settle()
	if a, b := w.person(ada).Identifiers, w.person(bob).Identifiers; !slices.Equal(a, []string{email, "user_id:ada"}) || !slices.Equal(b, []string{"user_id:bob"}) {
		t.Errorf("Ada has %v, Bob %v", a, b)
	}
	var codes []string
	for _, b := range w.Docs("dropped") {
		var d engage.Dropped
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		codes = append(codes, string(d.Code)+" "+d.Field)
	}
	slices.Sort(codes)
	if !slices.Equal(codes, []string{"identity_conflict email", "identity_conflict user_id"}) {
		t.Errorf("dropped: %v", codes)
	}
	// They have married.
	w.apply(touched(engage.Touch{ID: "3", Trusted: true, Identifiers: []string{"user_id:bob"}, Alias: "user_id:ada"}, 5*sec))
	w.settle()
	if p := w.who(ada); p != w.who(bob) || !slices.Equal(p.Identifiers, []string{email, "user_id:ada", "user_id:bob"}) {
		t.Errorf("they are %s", mustJSON(t, p))
	}
	// Cyclic aliases end.
	w.apply(touched(engage.Touch{ID: "4", Trusted: true, Identifiers: []string{"user_id:ada"}, Alias: "user_id:bob"}, 6*sec))
	w.apply(touched(engage.Touch{ID: "5", Trusted: true, Identifiers: []string{"user_id:ada"}, Alias: "user_id:ada"}, 7*sec))
	w.settle()
}

// An earlier build, or a file, had bound an identifier to a profile.
func TestAnOldBindingBecomesALink(t *testing.T) {
	w := newWorld(t)
	w.meet("old")
	key := engage.IdentifierKey(ws, "user_id:ada")
	for _, text := range []string{`{"v":1,"profile":"old","at":"2026-11-01T00:00:00Z","imported":true}`} {
		b, err := decide.Machine{}.Decode(key, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		w.Put(key, b)
	}
	w.meet("new")
	w.apply(identify("new", "ada", sec, true))
	w.settle()
	ada := node("user_id:ada")
	if p := w.person(ada); !slices.Equal(p.Absorbed, []string{"new", "old"}) || len(p.Devices) != 2 {
		t.Errorf("Ada is %s", mustJSON(t, p))
	}
	if b := w.State(key).(*decide.Binding); b.Profile != ada {
		t.Errorf("bound to %s", b.Profile)
	}
	// What an older build still had under way.
	w.apply(entry(engage.KindYield, person("old"), 2*sec, engage.Identify{Identifier: "user_id:ada", Profile: "new"}))
	w.settle()
}

// The n-th login of somebody who logs out each time is as good as the first, and a
// person has no more identifiers than can be looked after.
func TestAPersonStaysBoundedByWhatBecomesOneWithIt(t *testing.T) {
	w := newWorld(t)
	w.Quick = true
	ada := node("user_id:ada")
	for i := range 100 {
		install := fmt.Sprintf("segment-%03d", i)
		w.apply(
			entry(engage.KindConsent, person(install), time.Duration(i)*sec, consents(i%2 == 0)),
			identify(install, "ada", time.Duration(i)*sec+1, true),
		)
		w.settle()
	}
	p := w.person(ada)
	if len(p.Absorbed) != 64 || p.Absorbed[63] != "segment-099" || len(p.Links) > 64 || len(p.Answers) > 65 {
		t.Errorf("%d absorbed, %d links, answers at %d", len(p.Absorbed), len(p.Links), len(p.Answers))
	}
	if p.Consented(engage.ConsentMarketing) {
		t.Error("a yes of before a login went before a no")
	}
	if w.who("segment-000") != p {
		t.Error("the first segment does not lead here any more")
	}
	ids := []string{"user_id:ada"}
	for i := range 500 {
		ids = append(ids, fmt.Sprintf("email:a%d@example.com", i))
	}
	w.apply(touched(engage.Touch{ID: "many", Trusted: true, Identifiers: ids}, 200*sec))
	w.settle()
	if p := w.person(ada); len(p.Identifiers) != 20 || len(w.Docs("dropped")) != 1 {
		t.Errorf("%d identifiers, %d dropped", len(p.Identifiers), len(w.Docs("dropped")))
	}
	for i := 1; i < len(ids); i += 10 {
		some := append([]string{"user_id:ada"}, ids[i:min(i+10, len(ids))]...)
		w.apply(touched(engage.Touch{ID: fmt.Sprint("some", i), Trusted: true, Identifiers: some}, 201*sec))
		w.settle()
	}
	if n := len(w.person(ada).Identifiers); n < 201 || n > 211 {
		t.Errorf("%d identifiers", n)
	}
	for _, id := range ids[1:] {
		if m, moved := w.State(person(node(id))).(*decide.Moved); moved && m.Redirect != ada {
			t.Fatalf("%s went to %s", id, m.Redirect)
		}
	}
}

// An old answer that is told late is an old answer, with the time at which it was given.
func TestAnImportedConsentCountsFromWhenItWasGiven(t *testing.T) {
	w := newWorld(t)
	june, january := t0.Add(-150*24*time.Hour), t0.Add(-300*24*time.Hour)
	say := func(id string, granted bool, given time.Time) {
		w.apply(touched(engage.Touch{
			V: 1, ID: id, Trusted: true, Quiet: true, Identifiers: []string{"user_id:ada"},
			Consents: map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: granted, TextVersion: id, Source: "file", At: given}},
		}, time.Hour))
	}
	say("v1", false, june)
	say("v0", true, january)
	id := node("user_id:ada")
	c, _ := w.person(id).Consents.Of(engage.ConsentMarketing)
	if c.Granted || c.TextVersion != "v1" || !c.Given().Equal(june) {
		t.Errorf("the answer is %+v, want the no of June", c)
	}
	say("v2", true, t0)
	if c, _ := w.person(id).Consents.Of(engage.ConsentMarketing); !c.Granted || !c.Given().Equal(t0) {
		t.Errorf("the answer is %+v, want the newest yes", c)
	}
	say("v9", false, t0.Add(1000*time.Hour)) // a time to come: it was given when it was told
	if c, _ := w.person(id).Consents.Of(engage.ConsentMarketing); c.Granted || c.Given().After(t0.Add(time.Hour)) {
		t.Errorf("the answer is %+v, want a no of now", c)
	}
}
