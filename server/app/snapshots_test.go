package app_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
	"github.com/footfall-engage/footfall/server/store"
)

// encodedState is what a person's state is written as.
func encodedState(t *testing.T, p *decide.Person) []byte {
	t.Helper()
	if p == nil {
		return nil
	}
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a person was at the beginning of a day is known as long as it is configured; and
// what they were, with the entries of the log from there on, is what they are.
func TestWhatAPersonWasIsKnownDayByDay(t *testing.T) {
	var tape bytes.Buffer
	s := newStory(t, func(o *app.Options) {
		o.Tape = &tape
		o.Config.History.SnapshotsDays = 5
	})
	var k struct{ Token string }
	s.must("POST", "/api/v1/write-keys", map[string]string{"name": "till", "kind": "server"}, &k)
	profile := engage.PersonID("default", "user_id:ada")
	state := func() []byte {
		t.Helper()
		s.flushed()
		d, err := s.app.States().Get(t.Context(), "state_act", store.Key{Workspace: "default", ID: "p:" + profile})
		if err != nil {
			t.Fatal(err)
		}
		return d.Body
	}
	at := func(when time.Time) *app.Past {
		t.Helper()
		p, err := app.StateAt(t.Context(), s.app.States(), "default", profile, when)
		if err != nil {
			t.Fatalf("at %v: %v", when, err)
		}
		return p
	}
	const workday = 24 * time.Hour
	midnight := s.clock.Now().UTC().Truncate(workday).Add(workday) // of the second day
	first := s.clock.Now()
	var nights [][]byte // the state at the end of each day
	for day, calls := range [][]string{
		{`{"userId":"ada","traits":{"city":"London"},"messageId":"a1"}`, `{"userId":"ada","traits":{"city":"Ockham"},"messageId":"a2"}`},
		{`{"userId":"ada","traits":{"city":"Delft"},"messageId":"b1"}`, `{"userId":"ada","traits":{"size":7},"messageId":"b2"}`},
		nil, // nothing is heard
		{`{"userId":"ada","traits":{"city":"Leiden"},"messageId":"d1"}`},
	} {
		if day > 0 {
			s.clock.Advance(midnight.Add(time.Duration(day-1)*workday + 9*time.Hour).Sub(s.clock.Now()))
		}
		for _, call := range calls {
			s.clock.Advance(time.Minute)
			s.tracked(k.Token, "/v1/identify", call)
			s.settle()
		}
		nights = append(nights, state())
	}
	for day, want := range nights[:3] {
		when := midnight.Add(time.Duration(day) * workday)
		if p := at(when); !p.Exact || !bytes.Equal(encodedState(t, p.State), want) {
			t.Errorf("at %v she is said to have been, exactly: %v,\n%s\nand was\n%s", when, p.Exact, encodedState(t, p.State), want)
		}
	}
	if p := at(s.clock.Now().Add(time.Hour)); !p.Exact || !bytes.Equal(encodedState(t, p.State), nights[3]) {
		t.Errorf("now she is said to be %s", encodedState(t, p.State))
	}
	within := at(midnight.Add(9*time.Hour + 90*time.Second)) // between two entries
	if within.Exact || !bytes.Equal(encodedState(t, within.State), nights[0]) || within.Next.Seq == 0 {
		t.Errorf("within the second day it is %+v", within)
	}
	if p := at(first.Add(90 * time.Second)); p.Exact || p.State != nil {
		t.Errorf("within her first day it is %+v", p)
	}
	for _, never := range []time.Time{first.Add(-time.Hour), {}} {
		if p, err := app.StateAt(t.Context(), s.app.States(), "default", profile, never); engage.CodeOf(err) != engage.NotFound {
			t.Errorf("before she was known: %+v %v", p, err)
		}
	}
	if p, err := app.StateAt(t.Context(), s.app.States(), "default", "nobody", first); engage.CodeOf(err) != engage.NotFound {
		t.Errorf("of nobody: %+v %v", p, err)
	}

	// With the log from there on.
	second := at(midnight)
	s.stop()
	read, err := app.ReadTape(bytes.NewReader(tape.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	key := engage.ProfileKey("default", profile)
	again := steptest.New(second.Next.Partition, decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}})
	again.Put(key, second.State)
	n := 0
	for _, m := range read.Streams[second.Next.Partition] {
		entries, err := engage.DecodeRecord(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			if m.Seq < second.Next.Seq || m.Seq == second.Next.Seq && i < int(second.Next.Index) || e.Key != key {
				continue
			}
			n++
			if err := again.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := again.Bytes(key); n < 3 || !bytes.Equal(got, nights[3]) {
		t.Errorf("after %d entries she is\n%s\nnot\n%s", n, got, nights[3])
	}
}

// Snapshots end with their retention, and none is kept where none is wanted.
func TestSnapshotsAreKeptAsLongAsItIsConfigured(t *testing.T) {
	for days, want := range map[int]int{0: 0, 3: 1} {
		s := newStory(t, func(o *app.Options) { o.Config.History.SnapshotsDays = days })
		var k struct{ Token string }
		s.must("POST", "/api/v1/write-keys", map[string]string{"name": "till", "kind": "server"}, &k)
		for _, id := range []string{"1", "2"} {
			s.tracked(k.Token, "/v1/identify", `{"userId":"ada","traits":{"city":"London"},"messageId":"`+id+`"}`)
			s.settle()
			s.clock.Advance(24 * time.Hour)
		}
		s.flushed()
		profile := engage.PersonID("default", "user_id:ada")
		if got := len(s.snapshotsOf(profile)); got != want {
			t.Errorf("of %d days %d snapshots are kept", days, got)
		}
		s.clock.Advance(3 * 24 * time.Hour)
		if got := len(s.snapshotsOf(profile)); got != 0 {
			t.Errorf("%d snapshots are kept after their time", got)
		}
	}
}
