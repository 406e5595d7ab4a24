package measure_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// count is one count of an arm.
func count(arm string, at time.Time, c engage.Counts) engage.Entry {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return engage.Entry{Kind: engage.Kind(arm), Key: "acme/rainy", At: at, Body: b}
}

// buckets of a collection, in the order of time, and the one that goes on.
func buckets(t *testing.T, p *steptest.Partition, collection string) []measure.Bucket {
	t.Helper()
	var out []measure.Bucket
	docs := p.Docs(collection)
	for _, id := range slices.Sorted(maps.Keys(docs)) {
		var b measure.Bucket
		if err := json.Unmarshal(docs[id], &b); err != nil {
			t.Fatal(err)
		}
		if name := strings.TrimPrefix(id, "acme/"); name != measure.BucketID("rainy", b.From, "act/0") || measure.PartitionOf(name) != "act/0" || b.V != 1 || b.Campaign != "rainy" {
			t.Errorf("%s is %+v", id, b)
		}
		out = append(out, b)
	}
	hour, day := tallyOf(t, p).Now()
	if collection == measure.Days {
		return append(out, day)
	}
	return append(out, hour)
}

func tallyOf(t *testing.T, p *steptest.Partition) *measure.Tally {
	t.Helper()
	tally, ok := p.State("acme/m:rainy@act/0").(*measure.Tally)
	if !ok {
		t.Fatalf("states %v", p.Keys())
	}
	return tally
}

func TestAnHourIsRecordedOnceItIsOver(t *testing.T) {
	p := steptest.New("act/0", meter{})
	sent, no := engage.Counts{Sent: 1}, engage.Counts{Suppressed: map[engage.Reason]int64{engage.ReasonCap: 1}}
	err := p.Apply(
		count("a", noon, sent), count("", noon.Add(59*time.Minute), no),
		count("a", noon.Add(-time.Second), sent), // of a source whose clock is behind: in the hour that goes on
	)
	if err != nil {
		t.Fatal(err)
	}
	if docs := p.Docs(measure.Hours); len(docs) != 0 {
		t.Errorf("recorded before its end: %v", docs)
	}
	if err := p.Apply(count("", noon.Add(3*time.Hour), no)); err != nil {
		t.Fatal(err)
	}
	got := buckets(t, p, measure.Hours)
	want := []measure.Bucket{
		{V: 1, Campaign: "rainy", From: noon.Unix(), Arms: map[string]engage.Counts{"a": {Sent: 2}, "": no}},
		{V: 1, Campaign: "rainy", From: noon.Add(3 * time.Hour).Unix(), Arms: map[string]engage.Counts{"": no}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("hours\n%+v, want\n%+v", got, want)
	}
	if days := buckets(t, p, measure.Days); len(days) != 1 || days[0].From != noon.Add(-12*time.Hour).Unix() || days[0].Arms["a"].Sent != 2 {
		t.Errorf("days %+v", days)
	}
}

// All hours together are the campaign's counts, whatever comes in whatever order, also
// after restarts; and so are all days.
func TestBucketsAddUpToTheTally(t *testing.T) {
	for _, reload := range []bool{false, true} {
		p := steptest.New("act/0", meter{})
		p.Reload = reload
		r := rand.New(rand.NewPCG(8, 1))
		at := noon
		for range 500 {
			c := engage.Counts{Decided: r.Int64N(3), Opened: r.Int64N(2), Orders: r.Int64N(3) - 1, Value: map[string]int64{"EUR": r.Int64N(9) - 4}}
			if r.IntN(2) == 0 {
				c.Suppressed = map[engage.Reason]int64{engage.Reason([]string{"cap", "quiet", "audience"}[r.IntN(3)]): 1}
			}
			if err := p.Apply(count([]string{"", "a", "holdout"}[r.IntN(3)], at, c)); err != nil {
				t.Fatal(err)
			}
			at = at.Add(time.Duration(r.Int64N(int64(2*time.Hour))) - 10*time.Minute)
		}
		want := measure.Merge(tallyOf(t, p))
		for _, collection := range []string{measure.Hours, measure.Days} {
			got, last := map[string]engage.Counts{}, int64(0)
			for _, b := range buckets(t, p, collection) {
				measure.MergeInto(got, b.Arms)
				if b.From <= last {
					t.Errorf("%s: two begin at %d", collection, b.From)
				}
				last = b.From
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, want %+v", collection, got, want)
			}
		}
		if n := len(p.Docs(measure.Days)); n < 10 || n > 30 {
			t.Errorf("%d days", n)
		}
	}
}

// What an earlier build counted is of no hour: nobody knows of which.
func TestATallyOfAnEarlierBuildGoesOn(t *testing.T) {
	st, err := measure.Meter{}.Decode("acme/m:rainy@act/0", []byte(`{"v":1,"campaign":"rainy","arms":{"a":{"decided":7,"held_out":0,"sent":5,"accepted":5,"in_app":0,"inboxed":0,"delivered":0,"displayed":0,"opened":0,"expired":0,"failed":0}}}`))
	if err != nil {
		t.Fatal(err)
	}
	old, is := st.(*measure.Tally)
	if !is || old.Arms.Of("a").Sent != 5 {
		t.Fatalf("%+v", st)
	}
	if hour, day := old.Now(); len(hour.Arms)+len(day.Arms) != 0 {
		t.Errorf("in an hour: %+v %+v", hour, day)
	}
	p := steptest.New("act/0", older{old: old})
	if err := p.Apply(count("a", noon, engage.Counts{Sent: 1}), count("a", noon.Add(time.Hour), engage.Counts{Sent: 1})); err != nil {
		t.Fatal(err)
	}
	if got := buckets(t, p, measure.Hours); len(got) != 2 || !reflect.DeepEqual(got[0].Arms, map[string]engage.Counts{"a": {Sent: 1}}) {
		t.Errorf("hours %+v", got)
	}
	if got := tallyOf(t, p).Arms.Of("a"); got.Sent != 7 || got.Decided != 7 {
		t.Errorf("tally %+v", got)
	}
}

// older has a tally of an earlier build in its state before the first count.
type older struct {
	meter
	old *measure.Tally
}

func (m older) Apply(tx engage.Tx, e engage.Entry) error {
	key := "acme/m:rainy@act/0"
	if st, err := tx.Load(key); err != nil || st == nil {
		tx.Put(key, m.old.Clone())
	}
	return m.meter.Apply(tx, e)
}
