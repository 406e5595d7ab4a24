package delivertest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
)

// RunLedger is the contract of deliver.Ledger. open makes an empty one whose
// records expire by the clock.
func RunLedger(t *testing.T, open func(t *testing.T, c clock.Clock) deliver.Ledger) {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		fact string
		run  func(*ledgerTest)
	}{
		{"a write stands only on its version", (*ledgerTest).versions},
		{"each write of a batch stands or falls alone", (*ledgerTest).alone},
		{"one of many racing writes wins", (*ledgerTest).race},
		{"lanes are in order of due time, across workspaces", (*ledgerTest).lanes},
		{"finished records expire, and may then be written anew", (*ledgerTest).expiry},
		{"workspaces do not see each other", (*ledgerTest).workspaces},
		{"inbox items come and go with their records", (*ledgerTest).inbox},
		{"the oldest of an inbox are trimmed", (*ledgerTest).trim},
	} {
		t.Run(test.fact, func(t *testing.T) {
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
	rs, err := t.l.Due(t.Context(), lane, limit)
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
		deliver.Write{Record: t.record("v", "a", "", 0), Inbox: t.item("v", "ada", "a", 0)},
		deliver.Write{Record: t.record("w", "a", "", 0), Inbox: t.item("w", "ada", "a", 0)},
	), []bool{true, true})
	t.write(deliver.Write{Record: t.record("v", "a", "", 0), If: 1, Unbox: "ada"})
	t.want("unboxed", t.box("v", "ada"), []string(nil))
	t.want("the other's", t.box("w", "ada"), []string{"a"})
	if got, _ := t.get("w", "a"); got.Version != 1 {
		t.Errorf("the other's record has version %d", got.Version)
	}
	if err := t.l.Trim(t.Context(), "v", "ada", 0); err != nil {
		t.Fatal(err)
	}
	t.want("trimmed elsewhere", t.box("w", "ada"), []string{"a"})
	if _, ok := t.get("u", "a"); ok {
		t.Error("a third workspace sees it")
	}
}

func (t *ledgerTest) item(workspace, profile, id string, after time.Duration) *deliver.InboxItem {
	at := t.clock.Now().Add(after)
	return &deliver.InboxItem{
		Workspace: workspace, Profile: profile, Delivery: id, At: at, Expires: at.Add(time.Hour),
		Body: fmt.Appendf(nil, `{"v":1,"id":%q}`, id),
	}
}

func (t *ledgerTest) box(workspace, profile string) (ids []string) {
	t.Helper()
	items, err := t.l.Inbox(t.Context(), workspace, profile)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		if want := fmt.Sprintf(`{"v":1,"id":%q}`, it.Delivery); it.Workspace != workspace || it.Profile != profile || string(it.Body) != want {
			t.Errorf("item %+v", it)
		}
		ids = append(ids, it.Delivery)
	}
	return ids
}

func (t *ledgerTest) inbox() {
	t.write(
		deliver.Write{Record: t.record("w", "second", "x", 0), Inbox: t.item("w", "ada", "second", time.Microsecond)},
		deliver.Write{Record: t.record("w", "first", "x", 0), Inbox: t.item("w", "ada", "first", 0)},
		deliver.Write{Record: t.record("w", "bob's", "x", 0), Inbox: t.item("w", "ada2", "bob's", 0)},
	)
	t.want("items", t.box("w", "ada"), []string{"first", "second"})
	t.want("lost write", t.write(deliver.Write{Record: t.record("w", "first", "", 0), If: 5, Unbox: "ada", Inbox: t.item("w", "ada", "third", 0)}), []bool{false})
	t.want("after a lost write", t.box("w", "ada"), []string{"first", "second"})
	t.write(deliver.Write{Record: t.record("w", "first", "x", 0), If: 1, Inbox: t.item("w", "ada", "first", 2*time.Microsecond)})
	t.want("put again", t.box("w", "ada"), []string{"second", "first"})
	t.write(deliver.Write{Record: t.record("w", "first", "", 0), If: 2, Unbox: "ada"})
	t.want("unboxed", t.box("w", "ada"), []string{"second"})
	t.write(deliver.Write{Record: t.record("w", "first", "", 0), If: 3, Unbox: "ada"})
	t.want("unboxed twice", t.box("w", "ada"), []string{"second"})
	t.clock.Advance(2 * time.Hour)
	t.want("expired", t.box("w", "ada"), []string(nil))
	t.want("nobody's", t.box("w", "nobody"), []string(nil))
}

func (t *ledgerTest) trim() {
	for i := range 5 {
		id := fmt.Sprintf("d%d", i)
		t.write(deliver.Write{Record: t.record("w", id, "", 0), Inbox: t.item("w", "ada", id, time.Duration(i)*time.Second)})
	}
	for _, keep := range []int{5, 3} {
		if err := t.l.Trim(t.Context(), "w", "ada", keep); err != nil {
			t.Fatal(err)
		}
		t.want("kept", len(t.box("w", "ada")), keep)
	}
	t.want("kept", t.box("w", "ada"), []string{"d2", "d3", "d4"})
}
