package main

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func after(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }

// clean is a run in which all went well.
func clean() evidence {
	return evidence{
		At: after(60_000),
		Phones: []witness{
			{
				Install: "ada", Acked: []uint64{1, 2, 3, 5}, Accepted: [][2]uint64{{1, 3}, {5, 9}},
				Shown:   map[string]sight{"m1": {Times: 1, At: after(140), InApp: true}},
				Written: []written{{At: after(100)}, {At: after(900)}},
			},
			{
				Install: "bob", Acked: []uint64{1}, Accepted: [][2]uint64{{1, 1}},
				Shown:   map[string]sight{"m2": {Times: 1, At: after(260)}},
				Written: []written{{At: after(200), Post: true}},
			},
		},
		Decisions: []engage.Decision{
			{ID: "d1", Delivery: "m1", State: engage.Sent, Channel: "in_app", At: after(110), Trigger: engage.Trigger{Install: "ada"}},
			{ID: "d2", Delivery: "m2", State: engage.Sent, Channel: "fcm", At: after(210), Trigger: engage.Trigger{Install: "bob"}},
			{ID: "d3", Delivery: "m3", State: engage.HeldOut},
			{ID: "d4", State: engage.Suppressed, Reason: engage.ReasonCap},
			{ID: "d5", Delivery: "m5", State: engage.Pending, DueAt: new(after(90_000))},
			{ID: "d6", Delivery: "m6", State: engage.Expired, Reason: engage.ReasonSendExpired},
			{ID: "d7", Delivery: "m7", State: engage.Failed, Reason: engage.ReasonRejected},
		},
		Pushes: []push{{Attempt: "a2", Message: "m2", Accepted: true, At: after(250)}},
	}
}

func TestAuditFindsNothingWhereAllWentWell(t *testing.T) {
	v := audit(clean())
	if !v.ok() || v.Resent != 0 || v.Unordered != 0 || v.Acked != 5 || v.Decided != 7 {
		t.Fatalf("%+v", v)
	}
}

func TestAuditFindsWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name                                string
		change                              func(*evidence)
		lost, duplicates, resent, unordered int
	}{
		{"an acknowledged item has not taken effect", func(e *evidence) { e.Phones[0].Accepted = [][2]uint64{{1, 3}, {6, 9}} }, 1, 0, 0, 0},
		{"an install that the server does not know", func(e *evidence) { e.Phones[0].Accepted = nil }, 4, 0, 0, 0},
		{"acknowledged twice is one item", func(e *evidence) { e.Phones[1].Acked = []uint64{1, 1, 2, 2} }, 1, 0, 0, 0},
		{"pending without a due time", func(e *evidence) { e.Decisions[4].DueAt = nil }, 1, 0, 0, 0},
		{"pending long after its due time", func(e *evidence) { e.Decisions[4].DueAt = new(after(0)) }, 1, 0, 0, 0},
		{"pending, due just now", func(e *evidence) { e.Decisions[4].DueAt = new(after(59_000)) }, 0, 0, 0, 0},
		{"in no state", func(e *evidence) { e.Decisions[0].State = "" }, 1, 0, 0, 0},
		{"suppressed for no reason", func(e *evidence) { e.Decisions[3].Reason = "" }, 1, 0, 0, 0},
		{"shown twice", func(e *evidence) { e.Phones[0].Shown["m1"] = sight{Times: 2} }, 0, 1, 0, 0},
		{"shown four times is one message", func(e *evidence) { e.Phones[0].Shown["m1"] = sight{Times: 4} }, 0, 1, 0, 0},
		{"sent again, twice", func(e *evidence) { e.Pushes = append(e.Pushes, e.Pushes[0], e.Pushes[0]) }, 0, 0, 2, 0},
		{"put off at first is not sent again", func(e *evidence) { e.Pushes = append(e.Pushes, push{Attempt: "a2", Message: "m2", At: after(240)}) }, 0, 0, 0, 0},
		{"shown to the control group", func(e *evidence) { e.Phones[1].Shown["m3"] = sight{Times: 1} }, 0, 0, 0, 1},
		{"a push and a sight of what nobody decided", func(e *evidence) {
			e.Phones[1].Shown["m9"] = sight{Times: 1}
			e.Pushes = append(e.Pushes, push{Attempt: "a9", Message: "m9"})
		}, 0, 0, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := clean()
			c.change(&e)
			v := audit(e)
			if v.Lost != c.lost || v.Duplicates != c.duplicates || v.Resent != c.resent || v.Unordered != c.unordered {
				t.Errorf("lost %d, duplicates %d, resent %d, unordered %d; want %d, %d, %d, %d: %+v",
					v.Lost, v.Duplicates, v.Resent, v.Unordered, c.lost, c.duplicates, c.resent, c.unordered, v)
			}
			if named := len(v.LostItems) + len(v.Unsettled); named != c.lost {
				t.Errorf("%d of %d are named", named, c.lost)
			}
		})
	}
}

func TestAuditNamesOnlyTheFirst(t *testing.T) {
	e := evidence{Phones: []witness{{Install: "ada"}}}
	for seq := range uint64(100) {
		e.Phones[0].Acked = append(e.Phones[0].Acked, 100-seq)
	}
	v := audit(e)
	if v.Lost != 100 || len(v.LostItems) != maxNamed || v.LostItems[0].Seq != 1 {
		t.Fatalf("%d lost, %d named, the first %+v", v.Lost, len(v.LostItems), v.LostItems[0])
	}
}

func TestIntervalsHoldWhatTheyName(t *testing.T) {
	intervals := [][2]uint64{{2, 4}, {7, 7}, {10, 1 << 40}}
	in := map[uint64]bool{2: true, 3: true, 4: true, 7: true, 10: true, 999: true, 1 << 40: true}
	for _, n := range []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 999, 1 << 40, 1<<40 + 1} {
		if within(intervals, n) != in[n] {
			t.Errorf("within(%d) = %v", n, !in[n])
		}
	}
	if within(nil, 1) {
		t.Error("nothing holds 1")
	}
}

func TestLatencyRunsFromTheItemThatFiredTheMessage(t *testing.T) {
	pushes, inApp := latenciesOf(clean())
	if want := []time.Duration{50 * time.Millisecond}; !reflect.DeepEqual(pushes, want) {
		t.Errorf("push %v, want %v", pushes, want)
	}
	if want := []time.Duration{40 * time.Millisecond}; !reflect.DeepEqual(inApp, want) {
		t.Errorf("in-app %v, want %v", inApp, want)
	}

	e := clean()
	e.Phones[0].Written = []written{{At: after(50), Post: true}, {At: after(111)}} // fired by POST, shown in-app
	e.Phones[1].Written = []written{{At: after(-20_000), Post: true}}              // too long before
	if pushes, inApp = latenciesOf(e); len(pushes)+len(inApp) != 0 {
		t.Errorf("push %v, in-app %v, want none", pushes, inApp)
	}

	e = clean()
	e.Pushes = append(e.Pushes, push{Attempt: "a2", Message: "m2", At: after(9000)}) // a repeat
	if pushes, _ = latenciesOf(e); len(pushes) != 1 || pushes[0] != 50*time.Millisecond {
		t.Errorf("push %v, want that of the first attempt", pushes)
	}
}

func TestQuantilesAreLatenciesThatOccurred(t *testing.T) {
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(200-i)*time.Millisecond)
	}
	for _, c := range []struct {
		of   []time.Duration
		want quantiles
	}{
		{nil, quantiles{}},
		{[]time.Duration{1234567}, quantiles{1.23, 1.23, 1.23, 1}},
		{all, quantiles{100, 190, 198, 200}},
	} {
		if got := quantilesOf(c.of); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

func entryOf(t *testing.T, it *sdkpb.Item) engage.Entry {
	t.Helper()
	b, err := proto.Marshal(it)
	if err != nil {
		t.Fatal(err)
	}
	return engage.Entry{Kind: engage.KindItem, Body: b}
}

func TestTheThiefTakesOneFixEachAndTakesItAgain(t *testing.T) {
	fix := func(seq uint64) engage.Entry {
		return entryOf(t, &sdkpb.Item{Seq: seq, Location: &sdkpb.Location{Lat: 1}})
	}
	event := entryOf(t, &sdkpb.Item{Seq: 100, Event: &sdkpb.Event{Name: "x"}})
	th := newThief(5)
	lost := map[string]int{}
	for round := range 2 { // the second time the phone repeats everything
		for i := range 8 {
			who := fmt.Sprint("phone-", i)
			for seq := uint64(1); seq < 20; seq += 2 {
				in := []engage.Entry{event, fix(seq), {Kind: engage.KindSession}, fix(seq + 1)}
				if out := th.take("ws", who, in); len(out) < len(in) {
					lost[who] += len(in) - len(out)
				}
				if len(in) != 4 || in[0].Kind != engage.KindItem || in[2].Kind != engage.KindSession {
					t.Fatal("the caller's entries were changed")
				}
			}
		}
		for who, n := range lost {
			if n != round+1 {
				t.Errorf("round %d: %s lost %d", round, who, n)
			}
		}
		if len(lost) != 5 || th.taken() != 5 {
			t.Fatalf("round %d: %d phones lost something, taken %d; want 5", round, len(lost), th.taken())
		}
	}
	if out := newThief(0).take("ws", "a", []engage.Entry{fix(1), fix(2), fix(3), fix(4), fix(5)}); len(out) != 5 {
		t.Errorf("an idle thief left %d of 5", len(out))
	}
}

// A busy server acknowledges late, and the phone repeats what the log has: without
// that fix nothing would be missing.
func TestTheThiefTakesNothingThatTheLogHasAlready(t *testing.T) {
	fix := func(seq uint64) engage.Entry {
		return entryOf(t, &sdkpb.Item{Seq: seq, Location: &sdkpb.Location{Lat: 1}})
	}
	th := newThief(1)
	var first []engage.Entry
	for seq := range uint64(spare) {
		first = append(first, fix(seq+1))
	}
	for range 3 {
		if out := th.take("ws", "a", first); len(out) != spare {
			t.Fatalf("%d of %d fixes that the log was given are left", len(out), spare)
		}
	}
	if out := th.take("ws", "a", append(first, fix(spare+1), fix(spare+2))); len(out) != spare+1 || th.taken() != 1 {
		t.Errorf("%d of %d are left, %d taken; want one less and 1", len(out), spare+2, th.taken())
	}
}

func TestSabotageIsReadStrictly(t *testing.T) {
	for text, want := range map[string]sabotage{
		"lose=5,double=3": {5, 3}, "double=2": {0, 2}, " lose=1 , double=0": {1, 0},
	} {
		var got sabotage
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "lose", "lose=", "lose=-1", "lose=x", "loose=1", "lose=1,", "lose=101"} {
		var got sabotage
		if err := got.Set(text); err == nil {
			t.Errorf("%q was taken: %+v", text, got)
		}
	}
}

func TestTheReportCountsEachDecisionOnce(t *testing.T) {
	e := clean()
	e.Decisions[0].Receipts = []string{"displayed", "opened"}
	e.Decisions[1].Receipts = []string{"delivered", "displayed"}
	var r report
	r.tally(e.Decisions)
	r.judge(audit(e), e)
	want := decisions{Sent: 2, HeldOut: 1, Suppressed: map[engage.Reason]int{"cap": 1}, Expired: 1, Failed: 1, Pending: 1}
	if !reflect.DeepEqual(r.Decisions, want) {
		t.Errorf("%+v, want %+v", r.Decisions, want)
	}
	if r.Deliveries != (deliveries{FCM: 1, InApp: 1}) || r.Receipts != (receipts{1, 2, 1}) {
		t.Errorf("%+v %+v", r.Deliveries, r.Receipts)
	}
}
