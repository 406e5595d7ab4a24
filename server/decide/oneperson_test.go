package decide_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
	"github.com/footfall-engage/footfall/server/profile"
)

// town is several "act" partitions, and what is on its way to them: in order between
// two, and else in any.
type town struct {
	*testing.T
	parts  []*steptest.Partition
	queues map[[2]int][]engage.Entry // by source (partitions are below 0) and partition
	log    int                       // entries that were logged
	pace   time.Duration             // of log time from one to the next
	before func(part int, e engage.Entry)
}

func newTown(t *testing.T, reload bool) *town {
	x := &town{T: t, queues: map[[2]int][]engage.Entry{}, pace: sec, before: func(int, engage.Entry) {}}
	for i := range 3 {
		p := steptest.New(fmt.Sprint("act/", i), decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}})
		p.Quick, p.Reload = !reload, reload
		x.parts = append(x.parts, p)
	}
	return x
}

func (x *town) send(from int, e engage.Entry) {
	k := [2]int{from, engage.PartitionOf(e.Key, len(x.parts))}
	x.queues[k] = append(x.queues[k], e)
}

// logs an entry from the outside: its log time is now.
func (x *town) logs(from int, e engage.Entry) {
	x.log++
	e.At = t0.Add(24*time.Hour + time.Duration(x.log)*x.pace)
	x.send(from, e)
}

func (x *town) deliver(k [2]int) {
	x.Helper()
	e := x.queues[k][0]
	if x.queues[k] = x.queues[k][1:]; len(x.queues[k]) == 0 {
		delete(x.queues, k)
	}
	x.before(k[1], e)
	if err := x.parts[k[1]].Apply(e); err != nil {
		x.Fatal(err)
	}
	if p, is := x.parts[k[1]].State(e.Key).(*decide.Person); is && len(p.Answers) > 0 && len(p.Consents) == 0 {
		x.Fatalf("answers and no consents after %s %s:\n%s", e.Kind, e.Body, mustJSON(x.T, p))
	}
	for _, o := range x.parts[k[1]].Take() {
		if o.To == "act" {
			x.send(-1-k[1], o.Entry)
		}
	}
}

// run lets each source say what it has to say, in its order, and all else happen in an
// order that chance gives.
func (x *town) run(r *rand.Rand, sources [][]engage.Entry) {
	x.Helper()
	left := make([][]engage.Entry, len(sources))
	copy(left, sources)
	for {
		var ready []func()
		for i := range left {
			if len(left[i]) > 0 {
				ready = append(ready, func() { x.logs(i, left[i][0]); left[i] = left[i][1:] })
			}
		}
		keys := make([][2]int, 0, len(x.queues))
		for k := range x.queues {
			keys = append(keys, k)
		}
		slices.SortFunc(keys, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
		for _, k := range keys {
			ready = append(ready, func() { x.deliver(k) })
		}
		if len(ready) == 0 {
			return
		}
		ready[r.IntN(len(ready))]()
	}
}

// persons are all that there are, by id, and whom each profile has become.
func (x *town) persons() (map[string]*decide.Person, map[string]string) {
	x.Helper()
	out, now := map[string]*decide.Person{}, map[string]string{}
	for _, p := range x.parts {
		for _, key := range p.Keys() {
			switch st := p.State(key).(type) {
			case *decide.Person:
				out[st.ID] = st
				now[st.ID] = st.ID
			case *decide.Moved:
				now[st.ID] = st.Redirect
			}
		}
	}
	for id := range now {
		for range 100 {
			now[id] = now[now[id]]
		}
		if out[now[id]] == nil {
			x.Fatalf("%s leads to nobody", id)
		}
	}
	return out, now
}

// canonical is everybody, without log times.
func (x *town) canonical() string {
	x.Helper()
	persons, _ := x.persons()
	return canonical(x.T, persons)
}

func canonical(t *testing.T, persons map[string]*decide.Person) string {
	t.Helper()
	var out []string
	for _, id := range sortedKeys(persons) {
		b := mustJSON(t, persons[id])
		var m map[string]any
		if err := json.Unmarshal([]byte(b), &m); err != nil {
			t.Fatal(err)
		}
		for _, logged := range []string{"first_seen", "last_seen", "touched", "changed_us"} {
			delete(m, logged)
		}
		bare := func(v any) {
			answers, _ := v.(map[string]any)
			for _, c := range answers {
				delete(c.(map[string]any), "at")
			}
		}
		bare(m["consents"])
		if by, is := m["answers"].(map[string]any); is {
			for origin, v := range by {
				if bare(v); v == nil || len(v.(map[string]any)) == 0 {
					delete(by, origin)
				}
			}
			if len(by) == 0 {
				delete(m, "answers")
			}
		}
		hashes := []string{}
		for i := 0; i < len(persons[id].Touched); i += 8 {
			hashes = append(hashes, fmt.Sprintf("%x", persons[id].Touched[i:i+8]))
		}
		slices.Sort(hashes)
		m["touched"] = hashes
		out = append(out, mustJSON(t, m))
	}
	return strings.Join(out, "\n")
}

// lives are what some installs and touchpoints say of a few users, who share nothing
// unless shared.
func lives(r *rand.Rand, shared bool) [][]engage.Entry {
	at := func() time.Duration { return time.Duration(r.IntN(5000)) * sec }
	users := 3
	var out [][]engage.Entry
	for i := range 4 {
		user := r.IntN(users)
		profile := fmt.Sprintf("install-%d", i)
		var said []engage.Entry
		when := at()
		for n := range 10 {
			when += time.Duration(1+r.IntN(200)) * sec
			key := person(profile)
			switch r.IntN(6) {
			case 0:
				said = append(said, entry(engage.KindConsent, key, when, map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: r.IntN(2) == 0, At: t0}}))
			case 1:
				said = append(said, entry(engage.KindPreferences, key, when, map[string]string{fmt.Sprint("t", r.IntN(3)): []string{"like", "dislike", ""}[r.IntN(3)]}))
			case 2:
				said = append(said, entry(engage.KindTraits, key, when, map[string]any{fmt.Sprint("a", r.IntN(3)): r.IntN(5)}))
			case 3, 4:
				if shared && r.IntN(2) == 0 {
					user = r.IntN(users) // nobody said that the one before had left
				}
				said = append(said, identify(profile, fmt.Sprint(user), when, true))
			case 5: // a logout
				profile = fmt.Sprintf("install-%d-%d", i, n)
				user = r.IntN(users)
			}
		}
		out = append(out, said)
	}
	for i := range 3 {
		var said []engage.Entry
		for n := range 8 {
			user := r.IntN(users)
			ids := []string{fmt.Sprint("user_id:", user)}
			mine := user
			if shared {
				mine = r.IntN(users)
			}
			for _, id := range []string{fmt.Sprintf("email:%d@example.com", mine), fmt.Sprint("loyalty:", mine), fmt.Sprintf("anonymous_id:%d-%d", mine, r.IntN(2))} {
				if r.IntN(2) == 0 {
					ids = append(ids, id)
				}
			}
			if r.IntN(3) == 0 && len(ids) > 1 {
				ids = ids[1:]
			}
			t := engage.Touch{ID: fmt.Sprintf("%d-%d", i, n), Trusted: true, Identifiers: ids}
			switch r.IntN(5) {
			case 0:
				t.Traits = map[string]any{fmt.Sprint("a", r.IntN(3)): r.IntN(5)}
			case 1:
				t.Consents = map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: r.IntN(2) == 0}}
			case 2:
				t.Event = &engage.TouchEvent{Type: "track", Name: "x"}
				t.Order = &engage.Order{ID: fmt.Sprint("o", r.IntN(4)), Status: engage.OrderCompleted, Value: float64(r.IntN(50)), Currency: "EUR"}
			case 3:
				t.Preferences = map[string]engage.Attitude{fmt.Sprint("t", r.IntN(3)): engage.Like}
			case 4:
				// Of two users, outright: an alias of an address is that of whose it is by then.
				if !shared && r.IntN(2) == 0 && strings.HasPrefix(ids[0], "user_id:") {
					t.Alias = fmt.Sprint("user_id:", r.IntN(users))
				}
			}
			e := touched(t, at())
			said = append(said, e)
			if r.IntN(3) == 0 { // told twice
				said = append(said, e)
			}
		}
		out = append(out, said)
	}
	return out
}

func TestAPersonIsTheSameInWhateverOrderItIsTold(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		sources := lives(rand.New(rand.NewPCG(seed, 1)), false) //nolint:gosec // a test's chance
		want := ""
		for order := range uint64(4) {
			x := newTown(t, order == 3)
			x.run(rand.New(rand.NewPCG(seed, 100+order)), sources) //nolint:gosec // a test's chance
			got := x.canonical()
			if want == "" {
				want = got
			}
			if got != want {
				t.Fatalf("seed %d, order %d:\n%s\n\n%s", seed, order, got, want)
			}
			for _, p := range x.parts {
				if n := len(p.Docs("dropped")); n > 0 {
					t.Fatalf("seed %d: %d were dropped", seed, n)
				}
			}
		}
	}
}

// Where several share an install or an address, somebody is refused; who depends on the
// order. But no two users are one, and nobody's identifier is lost or twice.
func TestNoOrderMakesOnePersonOfTwoUsers(t *testing.T) {
	t.Parallel()
	refused := 0
	for seed := range uint64(30) {
		sources := lives(rand.New(rand.NewPCG(seed, 2)), true) //nolint:gosec // a test's chance
		x := newTown(t, seed%10 == 0)
		x.run(rand.New(rand.NewPCG(seed, 3)), sources) //nolint:gosec // a test's chance
		persons, now := x.persons()
		has := map[string]string{}
		for id, p := range persons {
			users := 0
			for _, identifier := range p.Identifiers {
				if has[identifier] != "" {
					t.Errorf("seed %d: %s is of %s and of %s", seed, identifier, has[identifier], id)
				}
				has[identifier] = id
				if strings.HasPrefix(identifier, "user_id:") {
					users++
				}
				if now[node(identifier)] != id {
					t.Errorf("seed %d: %s has %s, which leads to %s", seed, id, identifier, now[node(identifier)])
				}
			}
			if users > 1 {
				t.Errorf("seed %d: %s is %v", seed, id, p.Identifiers)
			}
		}
		for _, p := range x.parts {
			refused += len(p.Docs("dropped"))
		}
	}
	if refused == 0 {
		t.Error("nothing was ever refused: the test tests nothing")
	}
}

// What anybody can say with a public key reaches nobody who is known.
func TestAPublicKeyChangesNothingOfWhoIsKnown(t *testing.T) {
	w := newWorld(t, offer("e", func(c *engage.Campaign) {
		c.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "bought"}
		c.Class, c.Arms[0].Message = engage.Service, engage.Content{Title: "Thanks", Body: "Thanks"}
	}))
	w.meet("phone")
	ada, anon := node("user_id:ada"), "anonymous_id:browser"
	public := func(id string, at time.Duration, ids ...string) engage.Entry {
		return touched(engage.Touch{
			ID: id, Identifiers: ids, Claimed: "user_id:ada", Traits: map[string]any{"tier": "stolen", "colour": "red"},
			Preferences: map[string]engage.Attitude{"tea": engage.Dislike},
			Consents:    map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: false}},
			Event:       &engage.TouchEvent{Type: "track", Name: "bought"}, Alias: "user_id:ada",
		}, at)
	}
	// Before anybody is known it is a browser's, and says whom it claims to be.
	w.apply(public("0", sec, anon))
	w.settle()
	if b := w.person(node(anon)); b.Claimed != "user_id:ada" || b.Attributes["tier"] != "stolen" || len(b.Consents) != 0 {
		t.Errorf("the browser is %s", mustJSON(t, b))
	}
	w.apply(
		touched(engage.Touch{ID: "1", Trusted: true, Identifiers: []string{"user_id:ada"}, Traits: map[string]any{"tier": "gold"}, Preferences: map[string]engage.Attitude{"tea": engage.Like}}, 1),
		identify("phone", "ada", 2*sec, true),
		touched(engage.Touch{ID: "2", Trusted: true, Identifiers: []string{"user_id:ada", anon}}, 3*sec),
	)
	w.settle()
	before := string(w.Bytes(person(ada)))
	p := w.person(ada)
	if p.Attributes["tier"] != "gold" || p.Attributes["colour"] != "red" || p.Preferences["tea"] != engage.Like || !p.Consented(engage.ConsentMarketing) {
		t.Errorf("Ada is %s", before)
	}
	timeline, decisions := len(w.timelineOf(ada)), len(w.decisions())
	w.apply(
		public("3", 4*sec, anon),
		public("4", 5*sec, "user_id:ada"),
		public("5", 6*sec, "email:ada@example.com", "user_id:ada"),
		entry(engage.KindClaimed, person("eve"), 7*sec, engage.Identify{Identifier: "user_id:ada", Profile: "eve"}),
		entry(engage.KindClaimed, person("phone"), 7*sec, engage.Identify{Identifier: "user_id:eve", Profile: "phone"}),
	)
	w.settle()
	if after := string(w.Bytes(person(ada))); after != before {
		t.Errorf("Ada was changed to\n%s from\n%s", after, before)
	}
	if len(w.timelineOf(ada)) != timeline {
		t.Error("it stands in her timeline")
	}
	for _, d := range w.decisions()[decisions:] {
		if d.Profile == ada {
			t.Errorf("it fired %s for her", d.Campaign)
		}
	}
	shadow := engage.ShadowID(ws, node(anon), 0)
	if s := w.person(shadow); s.Attributes["tier"] != "stolen" || s.Claimed != "user_id:ada" {
		t.Errorf("the shadow is %s", mustJSON(t, s))
	}
	if w.State(person(node("email:ada@example.com"))) != nil {
		t.Error("a public key made a person of an address")
	}
	// A server says again whose browser it is: what was told meanwhile comes in, and
	// nothing of it goes before what is known.
	w.apply(touched(engage.Touch{ID: "6", Trusted: true, Identifiers: []string{"user_id:ada", anon}, Traits: map[string]any{"x": 1}}, 8*sec))
	w.settle()
	if p := w.person(ada); !slices.Contains(p.Absorbed, shadow) || p.Attributes["tier"] != "gold" || !p.Consented(engage.ConsentMarketing) {
		t.Errorf("Ada is %s", mustJSON(t, p))
	}
	w.apply(public("7", 9*sec, anon))
	w.settle()
	if w.person(engage.ShadowID(ws, node(anon), 1)) == nil {
		t.Error("no next shadow")
	}
}

// Somebody else logs in with a browser that is known to be Ada's. They are two persons, and
// what a page said of the browser meanwhile, with a key that anybody has, comes into neither:
// nor does either's history hold the other's profile, or an identifier that is the other's.
func TestWhatAPageSaysOfASharedBrowserComesIntoNobody(t *testing.T) {
	w := newWorld(t)
	w.Reload = true
	ada, ben, anon := node("user_id:ada"), node("user_id:ben"), "anonymous_id:shared-browser"
	server := func(n int, ids ...string) {
		w.apply(touched(engage.Touch{ID: fmt.Sprint("login", n), Trusted: true, Identifiers: ids}, time.Duration(n)*sec))
		w.settle()
	}
	page := func(n int) {
		w.apply(touched(engage.Touch{
			ID: fmt.Sprint("page", n), Identifiers: []string{anon}, Traits: map[string]any{"shoe_size": "44"},
			Order: &engage.Order{ID: fmt.Sprint("order", n), Status: engage.OrderCompleted, Value: 120, Currency: "EUR"}, Event: &engage.TouchEvent{Type: "track", Name: "Order Completed"},
		}, time.Duration(n)*sec))
		w.settle()
	}
	server(1, "user_id:ada", "email:ada@example.com", anon)
	page(2)
	server(3, "user_id:ben", anon)
	server(4, "user_id:ben", "email:ada@example.com")
	for _, id := range []string{ada, ben} {
		if p := w.person(id); len(p.Attributes) > 0 || p.Purchases != nil {
			t.Errorf("%s is %s", id, mustJSON(t, p))
		}
	}
	if w.person(engage.ShadowID(ws, node(anon), 0)) == nil {
		t.Error("what the page said is with nobody at all")
	}
	refused := 0
	for _, d := range w.Docs("timeline") {
		var e engage.TimelineEntry
		if err := json.Unmarshal(d, &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind != engage.KindMergeNo {
			continue
		}
		refused++
		for _, other := range map[string][]string{ada: {ben}, ben: {ada, node(anon), node("email:ada@example.com"), "shared-browser", "ada@example.com"}}[e.Profile] {
			if strings.Contains(string(e.Data), other) {
				t.Errorf("%s has %s in %s", e.Profile, other, e.Data)
			}
		}
	}
	if refused != 4 {
		t.Errorf("%d refusals are told of", refused)
	}
	// Nor what was said until Ada is back, who then has her browser for herself again.
	page(5)
	server(6, "user_id:ada", anon)
	if p := w.person(ada); len(p.Attributes) > 0 || p.Purchases != nil {
		t.Errorf("Ada is %s", mustJSON(t, p))
	}
	page(7)
	server(8, "user_id:ada", anon)
	if p := w.person(ada); p.Attributes["shoe_size"] != "44" {
		t.Errorf("Ada is %s", mustJSON(t, p))
	}
}

// A website whose pages speak with a public key, and whose server says at each login whose
// browser it is, makes a shadow per login: they do not fill up who the person is.
func TestShadowsTakeNoIdentifiersRoom(t *testing.T) {
	w := newWorld(t)
	ada, anon := node("user_id:ada"), "anonymous_id:browser"
	login := func(n int, ids ...string) {
		t.Helper()
		at := time.Duration(2*n) * sec
		w.apply(
			touched(engage.Touch{ID: fmt.Sprint("page", n), Identifiers: []string{anon}, Event: &engage.TouchEvent{Type: "page", Name: "Home"}}, at),
			touched(engage.Touch{ID: fmt.Sprint("login", n), Trusted: true, Identifiers: append([]string{"user_id:ada", anon}, ids...)}, at+sec),
		)
		w.settle()
	}
	const logins = profile.MaxAbsorbed + 20
	for n := range logins {
		login(n)
	}
	login(logins, "loyalty:17")
	p := w.person(ada)
	if !slices.Contains(p.Absorbed, node("loyalty:17")) || len(w.Docs("dropped")) > 0 {
		t.Errorf("after %d logins a card is not hers: %d dropped", logins, len(w.Docs("dropped")))
	}
	if n := len(p.Absorbed); n > profile.MaxSegments+2 {
		t.Errorf("%d profiles are remembered", n)
	}
	if w.who(engage.ShadowID(ws, node(anon), logins-1)).ID != ada {
		t.Error("the last shadow did not come in")
	}
}

// A shadow that an earlier build had begun keeps its id, which was as of a browser.
func TestAShadowOfAnEarlierBuildComesIn(t *testing.T) {
	w := newWorld(t)
	ada, anon := node("user_id:ada"), "anonymous_id:browser"
	w.apply(touched(engage.Touch{ID: "1", Trusted: true, Identifiers: []string{"user_id:ada", anon}}, sec))
	w.settle()
	m := *w.State(person(node(anon))).(*decide.Moved)
	m.Shadow = decide.Shadow{N: 3, Used: true}
	w.Put(person(node(anon)), &m)
	w.apply(touched(engage.Touch{ID: "2", Identifiers: []string{anon}, Event: &engage.TouchEvent{Type: "page", Name: "Home"}}, 2*sec))
	w.settle()
	old := "w" + engage.ShadowID(ws, node(anon), 3)[1:]
	if w.person(old) == nil {
		t.Fatal("it was left behind")
	}
	w.apply(touched(engage.Touch{ID: "3", Trusted: true, Identifiers: []string{"user_id:ada", anon}}, 3*sec))
	w.settle()
	if w.who(old).ID != ada {
		t.Error("it did not come in")
	}
	if m := w.State(person(node(anon))).(*decide.Moved); m.Shadow != (decide.Shadow{N: 4}) {
		t.Errorf("then %+v", m.Shadow)
	}
}

// What an event is about counts once, however often and in whatever case it says so.
func TestAnEventLeansOnceToEachThing(t *testing.T) {
	w := newWorld(t)
	ada := node("user_id:ada")
	w.apply(touched(engage.Touch{
		ID: "1", Trusted: true, Identifiers: []string{"user_id:ada"},
		Consents: map[engage.Purpose]engage.Consent{engage.ConsentProfiling: {Granted: true}},
		Event: &engage.TouchEvent{Type: "track", Name: "Product Viewed", Properties: map[string]any{
			"category": "Shoes", "categories": []any{"shoes ", "SHOES", "hats", ""}, "brand": "Shoes",
		}},
	}, sec))
	got := map[string]int64{}
	for key, weights := range w.person(ada).Affinities {
		for _, x := range weights {
			got[key] += x.W
		}
	}
	if want := map[string]int64{"category:shoes": 1, "category:hats": 1, "brand:shoes": 1}; !maps.Equal(got, want) {
		t.Errorf("leans to %v, want %v", got, want)
	}
}

func TestATouchTakesEffectOnce(t *testing.T) {
	w := newWorld(t, offer("thanks", func(c *engage.Campaign) {
		c.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "Order Completed"}
		c.Class = engage.Service
		c.Audience = rule(`{"field":"purchases_count","op":"ge","value":1}`)
		c.Arms[0].Message = engage.Content{Title: "Thanks", Body: "{{ profile.purchases_total }} {{ profile.purchases_currency }}, {{ trigger.properties.n }}, {{ profile.affinities | join: \",\" }}"}
	}))
	ada := node("user_id:ada")
	w.apply(entry(engage.KindDevice, person(ada), 0, device("i-ada")))
	order := func(id string, at time.Duration, quiet bool) engage.Entry {
		return touched(engage.Touch{
			ID: id, Trusted: true, Quiet: quiet, From: engage.TouchSource{Kind: "till"}, Identifiers: []string{"user_id:ada"},
			Consents: map[engage.Purpose]engage.Consent{engage.ConsentProfiling: {Granted: true}},
			Event:    &engage.TouchEvent{Type: "track", Name: "Order Completed", Properties: map[string]any{"n": 7}},
			Order:    &engage.Order{ID: "o-" + id, Status: engage.OrderCompleted, Value: 12.5, Currency: "EUR", Products: []engage.OrderedItem{{Category: "Tea", Brand: "Leaf"}}},
		}, at)
	}
	for range 3 {
		w.apply(order("1", sec, false))
	}
	if s := w.sends(); len(s) != 1 || s[0].Body != "12.5 EUR, 7," {
		t.Fatalf("sent %+v", s)
	}
	w.apply(order("2", 2*sec, true), order("2", 2*sec, true))
	if s := w.sends(); len(s) != 0 {
		t.Errorf("an upload has fired %+v", s)
	}
	p := w.person(ada)
	totals := p.Purchases.Totals()
	if units, _ := totals.Total(); units != 25 || totals.Count != 2 || fmt.Sprint(p.Likings(t0), p.Brands(t0)) != "[tea] [leaf]" || w.timelineOf(ada) != "device touch touch" {
		t.Errorf("Ada is %s", mustJSON(t, p))
	}
	// Whoever withdraws is known no better than before.
	w.apply(entry(engage.KindConsent, person(ada), 3*sec, map[engage.Purpose]engage.Consent{engage.ConsentProfiling: {At: t0.Add(3 * sec)}}))
	w.apply(order("3", 4*sec-1, true))
	p = w.person(ada)
	if len(p.Affinities) == 0 { // the order's own consent is newer: it counts again
		t.Error("a later yes did not count")
	}
	w.apply(entry(engage.KindConsent, person(ada), 5*sec, map[engage.Purpose]engage.Consent{engage.ConsentProfiling: {At: t0.Add(5 * sec)}}))
	if p = w.person(ada); len(p.Affinities) != 0 {
		t.Errorf("affinities are left: %v", p.Affinities)
	}
	// A huge one.
	big := engage.Touch{ID: "big", Trusted: true, Identifiers: []string{"user_id:ada"}, Traits: map[string]any{"huge": strings.Repeat("x", 5000), "name": "🦊 שלום", "born": "1700-01-01"}}
	w.apply(touched(big, 6*sec))
	if p = w.person(ada); p.Attributes["huge"] != nil || p.Attributes["name"] != "🦊 שלום" || len(w.Docs("dropped")) != 1 {
		t.Errorf("Ada has %v", p.Attributes)
	}
	if err := w.Apply(touched(engage.Touch{Trusted: true, Identifiers: []string{"user_id:ada"}}, 7*sec)); err == nil {
		t.Error("a touch without an id was taken")
	}
}
