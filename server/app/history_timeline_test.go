package app_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// shelved is a store of states with timelines, written directly.
type shelved struct {
	testing.TB
	*sqlite.Store
	batch store.Batch
	asked []store.Query // of timelines
	mu    sync.Mutex
}

func newShelved(t testing.TB) *shelved {
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "states.db"), Collections: app.StateCollections(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &shelved{TB: t, Store: s}
}

// Find notes what is asked of timelines.
func (s *shelved) Find(ctx context.Context, collection string, q store.Query) (store.Page, error) {
	if collection == "timeline" {
		s.mu.Lock()
		s.asked = append(s.asked, q)
		s.mu.Unlock()
	}
	return s.Store.Find(ctx, collection, q)
}

func (s *shelved) put(collection, id string, doc any) {
	s.Helper()
	body, err := json.Marshal(doc)
	if err != nil {
		s.Fatal(err)
	}
	s.batch.Puts = append(s.batch.Puts, store.Put{Collection: collection, Key: store.Key{Workspace: "default", ID: id}, Body: body, If: store.AnyVersion})
	if len(s.batch.Puts) == 5000 {
		s.flush()
	}
}

func (s *shelved) flush() {
	s.Helper()
	if err := s.Apply(s.Context(), s.batch); err != nil {
		s.Fatal(err)
	}
	s.batch = store.Batch{}
}

// told are entries of every kind, with what each is about.
var told = []struct {
	kind  engage.Kind
	data  string
	class engage.TimelineClass
}{
	{engage.KindTrigger, `{"type":"event","event":"looked"}`, engage.ClassEvents},
	{engage.KindTrigger, `{"type":"place","transition":"enter","place":"cafe"}`, engage.ClassVisits},
	{engage.KindTouch, `{"event":{"type":"track","name":"x"}}`, engage.ClassEvents},
	{engage.KindTouch, `{"event":{"type":"track","name":"Order Completed"},"order":{"id":"1"}}`, engage.ClassPurchases},
	{engage.KindTouch, `{"traits":{"a":1},"consents":{"marketing":{"granted":true}}}`, engage.ClassConsents},
	{engage.KindTouch, `{"traits":{"a":1},"preferences":{"shoes":"like"}}`, engage.ClassPreferences},
	{engage.KindTouch, `{"traits":{"a":1}}`, engage.ClassAttributes},
	{engage.KindTouch, `{"alias":"user_id:ben"}`, engage.ClassIdentity},
	{engage.KindOutcome, `{"delivery":"d"}`, engage.ClassMessages},
	{engage.KindReceipt, `{"message":"d"}`, engage.ClassMessages},
	{engage.KindConsent, `{"marketing":{"granted":true}}`, engage.ClassConsents},
	{engage.KindPreferences, `{"shoes":"like"}`, engage.ClassPreferences},
	{engage.KindTraits, `{"a":1}`, engage.ClassAttributes},
	{engage.KindDevice, `{"install":"phone"}`, engage.ClassDevices},
	{engage.KindDeviceGone, `{"install":"phone"}`, engage.ClassDevices},
	{engage.KindBound, `{"identifier":"user_id:ada"}`, engage.ClassIdentity},
	{engage.KindAbsorb, `{}`, engage.ClassIdentity},
	{engage.KindMergeNo, `{}`, engage.ClassIdentity},
	{engage.KindClaimed, `{}`, engage.ClassIdentity},
	{"of_tomorrow", `{}`, engage.ClassEvents},
}

// tell puts the n-th entry of a profile; old: as builds until issue 7's wrote it.
func (s *shelved) tell(profile string, n int, at time.Time, what int, old bool) engage.TimelineEntry {
	s.Helper()
	e := engage.TimelineEntry{
		V: 1, Profile: profile, At: at, OccurredAt: at, Kind: told[what].kind, Install: fmt.Sprint(profile, "-", n), Data: json.RawMessage(told[what].data),
	}
	if got := e.Class(); got != told[what].class {
		s.Fatalf("%s %s is of class %s, not %s", e.Kind, e.Data, got, told[what].class)
	}
	at0 := engage.Source{Partition: "act/0", Incarnation: 1, Seq: uint64(n)} //nolint:gosec // small
	id := engage.TimelineID(profile, told[what].class, at, at0)
	if old {
		id = fmt.Sprintf("p:%s/%020d/%s.%d.%020d.%06d", profile, at.UnixNano(), at0.Partition, at0.Incarnation, at0.Seq, at0.Index)
	}
	s.put("timeline", id, e)
	return e
}

// Whatever is asked of a timeline, page by page, is what looking at every entry finds:
// by class, by time, of earlier builds' entries, and of profiles that have become one.
func TestATimelineByClassAndTimeIsWhatLookingAtEveryEntryFinds(t *testing.T) {
	s := newShelved(t)
	r := rand.New(rand.NewPCG(7, 1)) //nolint:gosec // a test's chance
	var all []engage.TimelineEntry
	n := 0
	many := func(profile string, entries, span int, old bool) {
		for range entries {
			n++
			all = append(all, s.tell(profile, n, noon.Add(time.Duration(r.IntN(span))*time.Minute), r.IntN(len(told)), old))
		}
	}
	many("ada", 300, 2000, false)
	many("ada", 250, 500, true)
	many("small", 20, 2000, false) // one of those that have become Ada
	many("small", 10, 500, true)
	many("large", 150, 2000, false)
	for profile := range map[string]bool{"adam": true, "ad": true} { // others
		s.tell(profile, n+1, noon.Add(time.Minute), 3, false)
		s.tell(profile, n+2, noon.Add(time.Minute), 3, true)
	}
	s.put("state_act", "p:ada", map[string]any{"v": 1, "id": "ada", "absorbed": []string{"small", "large"}})
	s.flush()
	slices.SortStableFunc(all, func(a, b engage.TimelineEntry) int { return b.At.Compare(a.At) })
	people := app.People(s)
	for i := range 150 {
		f := api.TimelineFilter{}
		if i%6 != 0 {
			f.Class = engage.TimelineClasses()[r.IntN(len(engage.TimelineClasses()))]
		}
		if i%3 != 0 {
			f.From = noon.Add(time.Duration(r.IntN(2000)) * time.Minute)
		}
		if i%4 != 0 {
			f.Before = noon.Add(time.Duration(r.IntN(2000)) * time.Minute)
		}
		want := map[string]bool{}
		for _, e := range all {
			if (f.Class == "" || e.Class() == f.Class) && !e.At.Before(f.From) && (f.Before.IsZero() || e.At.Before(f.Before)) {
				want[e.Install] = true
			}
		}
		var got []engage.TimelineEntry
		for cursor := ""; ; {
			p, err := people.Timeline(t.Context(), "default", "ada", f, cursor, 1+r.IntN(60))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, p.Items...)
			if cursor = p.Next; cursor == "" {
				break
			}
		}
		if len(got) != len(want) || !slices.IsSortedFunc(got, func(a, b engage.TimelineEntry) int { return b.At.Compare(a.At) }) {
			t.Fatalf("%+v gives %d entries, in order: %v; it should be %d", f, len(got), slices.IsSortedFunc(got, func(a, b engage.TimelineEntry) int { return b.At.Compare(a.At) }), len(want))
		}
		for _, e := range got {
			if !want[e.Install] {
				t.Fatalf("%+v gives %s %v %s", f, e.Kind, e.At, e.Install)
			}
			delete(want, e.Install)
		}
	}
	for _, bad := range []string{"x", "00000000000000000001", "0000000000000000000x/act", strings.Repeat("0", 20) + "/"} {
		if _, err := people.Timeline(t.Context(), "default", "ada", api.TimelineFilter{}, bad, 10); engage.CodeOf(err) != engage.Invalid {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
}

// No question about a timeline reads more than a range of the key's index, and none is
// sorted: for SQLite by its own plan; MongoDB orders by _id, and so do the questions.
func TestATimelineIsReadByRangesOfTheKeyAlone(t *testing.T) {
	s := newShelved(t)
	s.put("state_act", "p:ada", map[string]any{"v": 1, "id": "ada", "absorbed": []string{"ben"}})
	for n := range 300 {
		s.tell("ada", n, noon.Add(time.Duration(n)*time.Minute), n%len(told), n%2 == 0)
		s.tell("ben", n, noon.Add(time.Duration(n)*time.Minute), n%len(told), n%2 == 0)
	}
	s.flush()
	people := app.People(s)
	for _, f := range []api.TimelineFilter{
		{}, {Class: engage.ClassPurchases}, {Class: engage.ClassConsents, From: noon, Before: noon.Add(time.Hour)}, {Class: engage.ClassEvents, Before: noon.Add(time.Hour)},
	} {
		p, err := people.Timeline(t.Context(), "default", "ada", f, "", 5)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := people.Timeline(t.Context(), "default", "ada", f, p.Next, 5); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.asked) < 30 {
		t.Fatalf("only %d questions were seen", len(s.asked))
	}
	for _, q := range s.asked {
		plans, err := s.Explain(t.Context(), "timeline", q)
		if err != nil {
			t.Fatal(err)
		}
		for _, plan := range plans {
			if !strings.HasPrefix(plan, "SEARCH ") || !strings.Contains(plan, "(ws=? AND id>? AND id<?)") || strings.Contains(plan, "SCAN doc_") || strings.Contains(plan, "B-TREE") {
				t.Errorf("%+v: %s", q, plan)
			}
		}
		if q.Sort != "-_id" {
			t.Errorf("sorted by %s, for which no index is declared", q.Sort)
		}
		lower, upper := 0, 0
		for _, f := range q.Filter.All {
			if f.Path == store.IDPath {
				lower += map[store.Op]int{store.Ge: 1}[f.Op]
				upper += map[store.Op]int{store.Lt: 1}[f.Op]
			}
		}
		if q.IDPrefix == "" && (lower != 1 || upper != 1) {
			t.Errorf("%+v is no range", q)
		}
	}
}

// BenchmarkTimeline asks for pages of a person with 100,000 entries, and says how many
// times as long that takes as of a person with 100.
func BenchmarkTimeline(b *testing.B) {
	s := newShelved(b)
	for _, of := range []struct {
		profile string
		entries int
	}{{"a-short", 100}, {"b-long", 100_000}, {"c-other", 100_000}} {
		for n := range of.entries {
			what := n % 3 // events and visits
			if n%(of.entries/20) == 0 {
				what = 3 // 20 purchases
			}
			s.tell(of.profile, n, noon.Add(time.Duration(n)*time.Minute), what, false)
		}
		s.put("state_act", "p:"+of.profile, map[string]any{"v": 1, "id": of.profile})
	}
	s.flush()
	people := app.People(s)
	for _, x := range []struct {
		name string
		f    func(entries int) api.TimelineFilter
	}{
		{"newest page", func(int) api.TimelineFilter { return api.TimelineFilter{} }},
		{"middle page", func(n int) api.TimelineFilter {
			return api.TimelineFilter{Before: noon.Add(time.Duration(n/2) * time.Minute)}
		}},
		{"rare class", func(int) api.TimelineFilter { return api.TimelineFilter{Class: engage.ClassPurchases} }},
	} {
		b.Run(x.name, func(b *testing.B) {
			took := map[string]time.Duration{}
			rounds := 0
			for b.Loop() {
				rounds++
				for profile, entries := range map[string]int{"a-short": 100, "b-long": 100_000} {
					begun := time.Now()
					p, err := people.Timeline(b.Context(), "default", profile, x.f(entries), "", 20)
					if err != nil || len(p.Items) != 20 {
						b.Fatal(len(p.Items), err)
					}
					took[profile] += time.Since(begun)
				}
			}
			b.ReportMetric(float64(took["b-long"])/float64(took["a-short"]), "x-of-100-entries")
			b.ReportMetric(float64(took["b-long"].Microseconds())/float64(cmp.Or(rounds, 1)), "us/page-of-100,000")
		})
	}
}
