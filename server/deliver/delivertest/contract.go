package delivertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
)

// RunLedger is the contract of deliver.Ledger. open makes an empty one whose
// records expire by the clock.
//
// The ledger has a method PutItem(deliver.InboxItem), which writes an item as
// builds did that kept no head.
func RunLedger(t *testing.T, open func(t *testing.T, c clock.Clock) deliver.Ledger) {
	run(t, open, false)
}

// RunLedgerSerially is RunLedger without what writes from several goroutines at once, for
// a store that is not atomic then.
func RunLedgerSerially(t *testing.T, open func(t *testing.T, c clock.Clock) deliver.Ledger) {
	run(t, open, true)
}

func run(t *testing.T, open func(t *testing.T, c clock.Clock) deliver.Ledger, serial bool) {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		fact  string
		run   func(*ledgerTest)
		races bool
	}{
		{"a write stands only on its version", (*ledgerTest).versions, false},
		{"each write of a batch stands or falls alone", (*ledgerTest).alone, false},
		{"one of many racing writes wins", (*ledgerTest).race, true},
		{"lanes are in order of due time, across workspaces", (*ledgerTest).lanes, false},
		{"finished records expire, and may then be written anew", (*ledgerTest).expiry, false},
		{"workspaces do not see each other", (*ledgerTest).workspaces, false},
		{"an inbox changes with its record", (*ledgerTest).inbox, false},
		{"changes of one inbox in one write follow each other", (*ledgerTest).chain, false},
		{"of racing changes of an inbox none is lost", (*ledgerTest).raceInbox, true},
		{"items of earlier builds are handed over once", (*ledgerTest).adopt, false},
	} {
		t.Run(test.fact, func(t *testing.T) {
			if serial && test.races {
				t.Skip("it needs a store that is atomic under concurrency")
			}
			c := clock.NewManual(start)
			test.run(&ledgerTest{t, c, open(t, c)})
		})
	}
}

type ledgerTest struct {
	*testing.T
	clock *clock.Manual
	l     deliver.Ledger
}

// record is one in a lane, due at after from now; lane "" is none.
func (t *ledgerTest) record(workspace, id, lane string, after time.Duration) deliver.Record {
	r := deliver.Record{Workspace: workspace, ID: id, Lane: lane}
	if lane == "" {
		r.Body = fmt.Appendf(nil, `{"v":1,"id":%q}`, id)
		return r
	}
	r.Due = t.clock.Now().Add(after)
	r.Body = fmt.Appendf(nil, `{"v":1,"id":%q,"lane":%q,"due_us":%d}`, id, lane, r.Due.UnixMicro())
	return r
}

// old writes an item as earlier builds did.
func (t *ledgerTest) old(it *deliver.InboxItem) {
	t.l.(interface{ PutItem(it deliver.InboxItem) }).PutItem(*it) //nolint:forcetypeassert // RunLedger demands it
}

func (t *ledgerTest) write(ws ...deliver.Write) []bool {
	t.Helper()
	won, err := t.l.Write(t.Context(), ws)
	if err != nil || len(won) != len(ws) {
		t.Fatalf("write: %v, %v", won, err)
	}
	return won
}

func (t *ledgerTest) get(workspace, id string) (deliver.Record, bool) {
	t.Helper()
	r, ok, err := t.l.Get(t.Context(), workspace, id)
	if err != nil {
		t.Fatal(err)
	}
	return r, ok
}

func (t *ledgerTest) due(lane string, limit int) (ids []string) {
	t.Helper()
	return t.dueAfter(lane, deliver.Mark{}, limit)
}

func (t *ledgerTest) dueAfter(lane string, after deliver.Mark, limit int) (ids []string) {
	t.Helper()
	rs, err := t.l.Due(t.Context(), lane, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if r.Lane != lane {
			t.Errorf("%s is in lane %q, not %q", r.ID, r.Lane, lane)
		}
		ids = append(ids, r.Workspace+"/"+r.ID)
	}
	return ids
}

func (t *ledgerTest) want(what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func (t *ledgerTest) versions() {
	if _, ok := t.get("w", "a"); ok {
		t.Fatal("there is a record in an empty ledger")
	}
	r := t.record("w", "a", "x", time.Minute)
	t.want("create", t.write(deliver.Write{Record: r}), []bool{true})
	t.want("create again", t.write(deliver.Write{Record: r}), []bool{false})
	t.want("wrong version", t.write(deliver.Write{Record: r, If: 2}), []bool{false})
	got, ok := t.get("w", "a")
	if !ok || got.Version != 1 || got.Workspace != "w" || got.ID != "a" || got.Lane != "x" || !got.Due.Equal(r.Due) || string(got.Body) != string(r.Body) {
		t.Errorf("got %+v, %v; want %+v", got, ok, r)
	}
	r = t.record("w", "a", "", 0)
	t.want("replace", t.write(deliver.Write{Record: r, If: 1}), []bool{true})
	got, _ = t.get("w", "a")
	if got.Version != 2 || got.Lane != "" || string(got.Body) != string(r.Body) {
		t.Errorf("got %+v, want %+v", got, r)
	}
	t.want("of what is not there", t.write(deliver.Write{Record: t.record("w", "b", "", 0), If: 1}), []bool{false})
}

func (t *ledgerTest) alone() {
	t.write(deliver.Write{Record: t.record("w", "b", "x", 0)})
	won := t.write(
		deliver.Write{Record: t.record("w", "a", "x", 0)},
		deliver.Write{Record: t.record("w", "b", "x", 0)},
		deliver.Write{Record: t.record("w", "c", "x", 0), If: 7},
		deliver.Write{Record: t.record("w", "d", "x", 0)},
	)
	t.want("won", won, []bool{true, false, false, true})
	t.want("due", t.due("x", 10), []string{"w/a", "w/b", "w/d"})
}

func (t *ledgerTest) race() {
	t.write(deliver.Write{Record: t.record("w", "a", "x", 0)})
	var wg sync.WaitGroup
	wins := make([]bool, 32)
	for i := range wins {
		wg.Go(func() {
			won, err := t.l.Write(t.Context(), []deliver.Write{
				{Record: t.record("w", "a", "x", time.Second), If: 1},
				{Record: t.record("w", fmt.Sprintf("other-%d", i), "x", 0)},
			})
			if err != nil || !won[1] {
				t.Errorf("write: %v, %v", won, err)
				return
			}
			wins[i] = won[0]
		})
	}
	wg.Wait()
	n := 0
	for _, w := range wins {
		if w {
			n++
		}
	}
	t.want("winners", n, 1)
	t.want("due", len(t.due("x", 100)), 33)
}

func (t *ledgerTest) lanes() {
	t.write(
		deliver.Write{Record: t.record("w", "late", "x", time.Hour)},
		deliver.Write{Record: t.record("w", "b", "x", 2*time.Microsecond)},
		deliver.Write{Record: t.record("v", "c", "x", 2*time.Microsecond)},
		deliver.Write{Record: t.record("w", "a", "x", time.Microsecond)},
		deliver.Write{Record: t.record("w", "other", "push/fcm/shop", 0)},
		deliver.Write{Record: t.record("w", "none", "", 0)},
	)
	t.want("due", t.due("x", 10), []string{"w/a", "v/c", "w/b", "w/late"})
	t.want("first two", t.due("x", 2), []string{"w/a", "v/c"})
	t.want("no such lane", t.due("y", 2), []string(nil))
	two := t.clock.Now().Add(2 * time.Microsecond)
	t.want("from a time on", t.dueAfter("x", deliver.Mark{Due: two}, 10), []string{"v/c", "w/b", "w/late"})
	t.want("the first from a time on", t.dueAfter("x", deliver.Mark{Due: two}, 1), []string{"v/c"})
	t.want("behind one of several", t.dueAfter("x", deliver.Mark{Due: two, Workspace: "v", ID: "c"}, 10), []string{"w/b", "w/late"})
	t.want("behind one that is not there", t.dueAfter("x", deliver.Mark{Due: two, Workspace: "w", ID: "a"}, 10), []string{"w/b", "w/late"})
	t.want("behind the last of a time", t.dueAfter("x", deliver.Mark{Due: two, Workspace: "w", ID: "b"}, 10), []string{"w/late"})
	t.want("behind all", t.dueAfter("x", deliver.Mark{Due: two.Add(2 * time.Hour)}, 10), []string(nil))
	lanes := func() []string {
		names, err := t.l.Lanes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		return names
	}
	t.want("lanes", lanes(), []string{"push/fcm/shop", "x"})
	t.write(
		deliver.Write{Record: t.record("w", "other", "", 0), If: 1},
		deliver.Write{Record: t.record("w", "b", "x", 2*time.Hour), If: 1},
	)
	t.want("after moving", t.due("x", 10), []string{"w/a", "v/c", "w/late", "w/b"})
	t.want("lanes that have records", lanes(), []string{"x"})
	t.write(
		deliver.Write{Record: t.record("w", "1", "push/fcm/a|live|x", 0)},
		deliver.Write{Record: t.record("w", "2", "push/fcm/a|live|y", 0)},
		deliver.Write{Record: t.record("w", "3", "push/fcm/a|bulk|y", 0)},
		deliver.Write{Record: t.record("w", "4", "push/fcm/b|live|y", 0)},
	)
	n, err := t.l.Waiting(t.Context(), "push/fcm/a|live|")
	t.want("waiting", fmt.Sprint(n, err), "2 <nil>")
}

func (t *ledgerTest) expiry() {
	r := t.record("w", "a", "", 0)
	r.Expires = t.clock.Now().Add(time.Hour)
	t.write(deliver.Write{Record: r})
	t.clock.Advance(time.Hour - time.Millisecond)
	if got, ok := t.get("w", "a"); !ok || !got.Expires.Equal(r.Expires) {
		t.Errorf("before it expires: %+v, %v", got, ok)
	}
	t.clock.Advance(time.Millisecond)
	if _, ok := t.get("w", "a"); ok {
		t.Error("it outlives its expiry")
	}
	t.want("anew", t.write(deliver.Write{Record: t.record("w", "a", "x", 0)}), []bool{true})
	if got, ok := t.get("w", "a"); !ok || got.Version != 1 {
		t.Errorf("anew: %+v, %v", got, ok)
	}
}

func (t *ledgerTest) workspaces() {
	t.want("same id in two", t.write(
		deliver.Write{Record: t.record("v", "a", "", 0), Inbox: t.add("v", "ada", "a")},
		deliver.Write{Record: t.record("w", "a", "", 0), Inbox: t.add("w", "ada", "a")},
	), []bool{true, true})
	t.write(deliver.Write{Record: t.record("v", "a", "", 0), If: 1, Inbox: t.drop("v", "ada", "a")})
	t.want("removed", t.box("v", "ada"), "+a-a []")
	t.want("the other's", t.box("w", "ada"), "+a [a]")
	if got, _ := t.get("w", "a"); got.Version != 1 {
		t.Errorf("the other's record has version %d", got.Version)
	}
	if _, ok := t.get("u", "a"); ok {
		t.Error("a third workspace sees it")
	}
}

// The heads of these tests list what has been done: {"v":1,"did":"+a+b-a"}.
func (t *ledgerTest) change(workspace, profile, did string, put *deliver.InboxItem, remove ...string) *deliver.InboxChange {
	return &deliver.InboxChange{Workspace: workspace, Profile: profile, Apply: func(was deliver.InboxState) (deliver.InboxEdit, error) {
		var h struct {
			V   int    `json:"v"`
			Did string `json:"did"`
		}
		if was.Head != nil {
			if len(was.Items) > 0 {
				t.Errorf("a head and items: %v", was)
			}
			if err := json.Unmarshal(was.Head, &h); err != nil {
				return deliver.InboxEdit{}, err
			}
		}
		for _, it := range was.Items {
			h.Did += "=" + it.Delivery
		}
		h.V, h.Did = 1, h.Did+did
		head, err := json.Marshal(h)
		return deliver.InboxEdit{Head: head, Expires: t.clock.Now().Add(24 * time.Hour), Put: put, Remove: remove}, err
	}}
}

func (t *ledgerTest) item(workspace, profile, id string, after time.Duration) *deliver.InboxItem {
	at := t.clock.Now().Add(after)
	return &deliver.InboxItem{
		Workspace: workspace, Profile: profile, Delivery: id, At: at, Expires: at.Add(time.Hour),
		Body: fmt.Appendf(nil, `{"v":1,"id":%q}`, id),
	}
}

func (t *ledgerTest) add(workspace, profile, id string) *deliver.InboxChange {
	return t.change(workspace, profile, "+"+id, t.item(workspace, profile, id, 0))
}

func (t *ledgerTest) drop(workspace, profile, id string) *deliver.InboxChange {
	return t.change(workspace, profile, "-"+id, nil, id)
}

// box is what an inbox's head says and which of the items a, b, c, d, e are there.
func (t *ledgerTest) box(workspace, profile string) string {
	t.Helper()
	state, err := t.l.Inbox(t.Context(), workspace, profile)
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Did string }
	if state.Head != nil {
		if err := json.Unmarshal(state.Head, &h); err != nil {
			t.Fatal(err)
		}
	}
	both := [2][]string{}
	for i, ask := range [][]string{{"a", "b", "c", "d", "e"}, {"a", "b"}} { // many, and few
		items, err := t.l.InboxItems(t.Context(), workspace, profile, ask)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			if want := fmt.Sprintf(`{"v":1,"id":%q}`, it.Delivery); it.Workspace != workspace || it.Profile != profile || string(it.Body) != want {
				t.Errorf("item %+v", it)
			}
			both[i] = append(both[i], it.Delivery)
		}
		slices.Sort(both[i])
	}
	if few := slices.DeleteFunc(slices.Clone(both[0]), func(id string) bool { return id > "b" }); !slices.Equal(few, both[1]) {
		t.Errorf("of all there are %v, of a and b alone %v", both[0], both[1])
	}
	return fmt.Sprint(h.Did, " ", both[0])
}

func (t *ledgerTest) inbox() {
	t.want("nobody's", t.box("w", "nobody"), " []")
	t.write(
		deliver.Write{Record: t.record("w", "a", "x", 0), Inbox: t.add("w", "ada", "a")},
		deliver.Write{Record: t.record("w", "c", "x", 0), Inbox: t.add("w", "ada2", "c")},
	)
	t.write(deliver.Write{Record: t.record("w", "b", "x", 0), Inbox: t.add("w", "ada", "b")})
	t.want("items", t.box("w", "ada"), "+a+b [a b]")
	t.want("lost write", t.write(deliver.Write{Record: t.record("w", "a", "", 0), If: 5, Inbox: t.drop("w", "ada", "b")}), []bool{false})
	t.want("after a lost write", t.box("w", "ada"), "+a+b [a b]")
	t.write(deliver.Write{Record: t.record("w", "a", "", 0), If: 1, Inbox: t.drop("w", "ada", "a")})
	t.want("removed", t.box("w", "ada"), "+a+b-a [b]")
	t.want("without a record", t.l.ChangeInbox(t.Context(), t.drop("w", "ada", "a")), nil)
	t.want("removed twice", t.box("w", "ada"), "+a+b-a-a [b]")
	nothing := &deliver.InboxChange{Workspace: "w", Profile: "bob", Apply: func(deliver.InboxState) (deliver.InboxEdit, error) {
		return deliver.InboxEdit{}, nil
	}}
	t.want("no change", t.l.ChangeInbox(t.Context(), nothing), nil)
	if s, err := t.l.Inbox(t.Context(), "w", "bob"); err != nil || s.Head != nil || len(s.Items) > 0 {
		t.Errorf("an inbox without a change: %v, %v", s, err)
	}
	refused := errors.New("no")
	bad := &deliver.InboxChange{Workspace: "w", Profile: "ada", Apply: func(deliver.InboxState) (deliver.InboxEdit, error) {
		return deliver.InboxEdit{}, refused
	}}
	if err := t.l.ChangeInbox(t.Context(), bad); !errors.Is(err, refused) {
		t.Errorf("a change that cannot be made: %v", err)
	}
	if _, err := t.l.Write(t.Context(), []deliver.Write{{Record: t.record("w", "a", "", 0), If: 2, Inbox: bad}}); !errors.Is(err, refused) {
		t.Errorf("with its record: %v", err)
	}
	if got, _ := t.get("w", "a"); got.Version != 2 {
		t.Errorf("the record has version %d", got.Version)
	}
	t.clock.Advance(2 * time.Hour)
	t.want("items expire", t.box("w", "ada"), "+a+b-a-a []")
	t.clock.Advance(23 * time.Hour)
	t.want("heads too", t.box("w", "ada"), " []")
	t.write(deliver.Write{Record: t.record("w", "d", "", 0), Inbox: t.add("w", "ada", "d")})
	t.want("anew", t.box("w", "ada"), "+d [d]")
}

func (t *ledgerTest) chain() {
	t.write(deliver.Write{Record: t.record("w", "a", "", 0), Inbox: t.add("w", "ada", "a")})
	won := t.write(
		deliver.Write{Record: t.record("w", "b", "", 0), Inbox: t.add("w", "ada", "b")},
		deliver.Write{Record: t.record("w", "a", "", 0), If: 1, Inbox: t.drop("w", "ada", "a")},
		deliver.Write{Record: t.record("w", "c", "", 0), Inbox: t.add("w", "ada", "c")},
	)
	t.want("won", won, []bool{true, true, true})
	t.want("in one write", t.box("w", "ada"), "+a+b-a+c [b c]")
	won = t.write(
		deliver.Write{Record: t.record("w", "d", "", 0), Inbox: t.add("w", "ada", "d")},
		deliver.Write{Record: t.record("w", "a", "", 0), If: 1, Inbox: t.drop("w", "ada", "b")},
		deliver.Write{Record: t.record("w", "e", "", 0), Inbox: t.add("w", "ada", "e")},
	)
	t.want("won", won, []bool{true, false, true})
	t.want("where one lost", t.box("w", "ada"), "+a+b-a+c+d+e [b c d e]")
}

func (t *ledgerTest) raceInbox() {
	const n = 16
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			id := fmt.Sprintf("r%02d", i)
			if won, err := t.l.Write(t.Context(), []deliver.Write{{Record: t.record("w", id, "", 0), Inbox: t.add("w", "ada", id)}}); err != nil || !won[0] {
				t.Errorf("write: %v, %v", won, err)
			}
			if err := t.l.ChangeInbox(t.Context(), t.change("w", "ada", "!", nil)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	did := t.box("w", "ada")
	t.want("changes", []int{strings.Count(did, "+r"), strings.Count(did, "!")}, []int{n, n})
}

func (t *ledgerTest) adopt() {
	t.old(t.item("w", "ada", "b", time.Second))
	t.old(t.item("w", "ada", "a", 2*time.Second))
	t.old(t.item("w", "ada2", "c", 0))
	t.want("without a head", t.box("w", "ada"), " [a b]")
	state, err := t.l.Inbox(t.Context(), "w", "ada")
	if err != nil || len(state.Items) != 2 || state.Items[0].Delivery != "b" {
		t.Errorf("state %v, %v", state, err)
	}
	t.write(deliver.Write{Record: t.record("w", "d", "", 0), Inbox: t.add("w", "ada", "d")})
	t.want("with one", t.box("w", "ada"), "=b=a+d [a b d]")
	t.want("another's", t.box("w", "ada2"), " [c]")
}
