package ingest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
)

// occurred are the corrected times of an install's items by seq, as ages.
func (l *eventLog) occurred(t testing.TB, install string) map[uint64]time.Duration {
	t.Helper()
	items := l.items(t, install)
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[uint64]time.Duration{}
	n := 0
	for _, e := range l.entries {
		if e.Kind == engage.KindItem && e.Key == engage.InstallKey(ws, install) {
			if !e.Occurred.IsZero() {
				out[items[n].Seq] = noon.Sub(e.Occurred)
			}
			n++
		}
	}
	return out
}

// The rule of the README, "Clocks", from the wire to the log.
func TestABrokenClockIsCorrectedOrItsObservationsAreRefused(t *testing.T) {
	at1970, at2035 := time.Unix(1000, 0), time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC)
	const ago = 10 * time.Minute
	for _, c := range []struct {
		name           string
		occurred, sent time.Time
		mono, sentMono time.Duration
		boot, sentBoot string
		age            time.Duration // as logged; negative: refused
		how            sdkproto.How
	}{
		{"all is well", noon.Add(-ago), noon, 0, 0, "", "", ago, "sent"},
		{"a phone in 1970", at1970, at1970.Add(ago), 0, 0, "", "", ago, "sent"},
		{"a phone in 2035", at2035, at2035.Add(ago), 0, 0, "", "", ago, "sent"},
		{"set right since, by the monotonic clock", at1970, noon, time.Hour, time.Hour + ago, "a", "a", ago, "mono"},
		{"set to 2035 since, by the monotonic clock", noon, at2035, time.Hour, time.Hour + ago, "a", "a", ago, "mono"},
		{"rebooted since", noon.Add(-ago), noon, time.Hour, time.Minute, "a", "b", ago, "sent"},
		{"rebooted since, into a longer uptime", noon.Add(-ago), noon, time.Minute, time.Hour, "a", "b", ago, "sent"},
		{"rebooted from 1970", at1970, noon, time.Hour, time.Minute, "a", "b", -1, "absurd"},
		{"rebooted into 1970", noon.Add(-ago), at1970, time.Hour, time.Minute, "a", "b", -1, "absurd"},
		{"set right from 1970, without a monotonic clock", at1970, noon, 0, 0, "", "", -1, "absurd"},
		{"set right from 2035, without a monotonic clock", at2035, noon, 0, 0, "", "", -1, "absurd"},
		{"a minute ahead of itself", noon.Add(time.Minute), noon, 0, 0, "", "", 0, "clamped"},
		{"an hour ahead of itself", noon.Add(time.Hour), noon, 0, 0, "", "", 0, "skewed"},
		{"in a drawer for a month", noon.Add(-31 * 24 * time.Hour), noon, 0, 0, "", "", -1, "absurd"},
		{"the batch does not say when", noon.Add(-ago), time.Time{}, 0, 0, "", "", ago, "device"},
		{"the batch does not say when, of 1970", at1970, time.Time{}, 0, 0, "", "", -1, "absurd"},
		{"nobody says when", time.Time{}, noon, 0, 0, "", "", 0, "received"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, ingest.Limits{})
			w.installs.known["phone-00001"] = ingest.Install{Consents: everything()}
			head := auth("phone-00001", w.token("phone-00001"))
			ms := func(t time.Time) int64 {
				if t.IsZero() {
					return 0
				}
				return t.UnixMilli()
			}
			var items []*sdkpb.Item
			for seq, i := range []*sdkpb.Item{fix(0, 0, 0), region(0), beacon(0), {Event: &sdkpb.Event{Name: "x"}}, consent(0, sdkpb.Consent_PURPOSE_MARKETING, false)} {
				i.Seq, i.OccurredMs, i.MonoMs, i.BootId = uint64(seq+1), ms(c.occurred), c.mono.Milliseconds(), c.boot
				items = append(items, i)
			}
			b := batch(items...)
			b.SentMs, b.SentMonoMs, b.BootId = ms(c.sent), c.sentMono.Milliseconds(), c.sentBoot
			want, logged := map[uint64]string{5: ""}, map[uint64]time.Duration{}
			for seq := range uint64(4) {
				want[seq+1] = ""
				if c.age < 0 {
					want[seq+1] = "invalid occurred_ms"
				} else {
					logged[seq+1] = c.age
				}
			}
			if got := w.judgements(head, b); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("judged %v, want %v", got, want)
			}
			if got := w.log.occurred(t, "phone-00001"); fmt.Sprint(got) != fmt.Sprint(logged) {
				t.Errorf("logged with ages of %v, want %v", got, logged)
			}
			// What the person said holds all the same.
			if all := w.log.items(t, "phone-00001"); all[len(all)-1].Consent == nil {
				t.Errorf("the withdrawal is not in the log: %v", all)
			}
			if n := w.metric("footfall_ingest_clocks_total", string(c.how)); n != 4 {
				t.Errorf("%v observations counted as %s", n, c.how)
			}
		})
	}
}

// gauge is the value of a gauge without labels.
func (w *world) gauge(name string) float64 {
	w.t.Helper()
	all, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	w.t.Fatalf("there is no gauge %s", name)
	return 0
}

// metric is a counter's value; label is that of its only label, if it has one.
func (w *world) metric(name, label string) float64 {
	w.t.Helper()
	all, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// A phone whose battery was empty: it noted two fixes, one of them under a clock of
// 1970, was off, and comes back with the right time and another boot.
func TestAPhoneThatWasOffKeepsWhatItsClockCanVouchFor(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
		w := newWorld(t, ingest.Limits{})
		w.installs.known["phone-00001"] = ingest.Install{Consents: everything()}
		now, mono := noon.Add(-2*time.Hour), 30*time.Hour
		store := new(client.MemStore)
		boot := func(id string) *phone {
			return w.phone("phone-00001", codec, func(o *client.Options) {
				o.Store, o.BootID = store, id
				o.Clock, o.Mono = func() time.Time { return now }, func() time.Duration { return mono }
			})
		}
		before := boot("before")
		before.Fix(&sdkpb.Location{Lat: 1, AccuracyM: 5}, time.Time{}) // 1
		now = time.Unix(100, 0)
		before.Fix(&sdkpb.Location{Lat: 2, AccuracyM: 5}, time.Time{}) // 2
		now, mono = noon, time.Minute
		after := boot("after")
		after.Fix(&sdkpb.Location{Lat: 3, AccuracyM: 5}, time.Time{}) // 3
		mono += time.Minute
		now = time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC)             // somebody plays with the clock
		after.Fix(&sdkpb.Location{Lat: 4, AccuracyM: 5}, time.Time{}) // 4
		now, mono = noon, mono+time.Minute
		if err := after.PostBatch(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := map[uint64]time.Duration{1: 2 * time.Hour, 3: 2 * time.Minute, 4: time.Minute}
		if got := w.log.occurred(t, "phone-00001"); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("logged with ages of %v, want %v", got, want)
		}
		if len(after.rejects) != 1 || after.rejects[0].Seq != 2 || after.Pending() != 0 {
			t.Errorf("rejects %v, %d wait", after.rejects, after.Pending())
		}
	})
}
