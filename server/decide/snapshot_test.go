package decide_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
)

// Whatever is told, in whatever order, with persons who become one: a snapshot is what
// the person was before the entry that it names, there is one for each day on which they
// changed but their first, and with the entries from there on it becomes what they are.
func TestASnapshotAndTheEntriesAfterItAreThePersonOfToday(t *testing.T) {
	t.Parallel()
	const workday = 24 * time.Hour
	taken := 0
	for seed := range uint64(12) {
		x := newTown(t, seed%3 == 0)
		x.pace = 29 * time.Minute
		type applied struct {
			e   engage.Entry
			was []byte // the state before it
		}
		logs := make([][]applied, len(x.parts))
		x.before = func(part int, e engage.Entry) {
			logs[part] = append(logs[part], applied{e, x.parts[part].Bytes(e.Key)})
		}
		x.run(rand.New(rand.NewPCG(seed, 5)), lives(rand.New(rand.NewPCG(seed, 6)), seed%2 == 0)) //nolint:gosec // a test's chance
		for i, p := range x.parts {
			found := map[string]map[int64]bool{} // days by key
			for id, doc := range p.Docs(decide.Snapshots) {
				var s decide.Snapshot
				if err := json.Unmarshal(doc, &s); err != nil {
					t.Fatal(err)
				}
				key := engage.ProfileKey(ws, s.Profile)
				var raw struct{ State json.RawMessage }
				if err := json.Unmarshal(doc, &raw); err != nil {
					t.Fatal(err)
				}
				next := logs[i][s.Seq-1]
				if next.e.Key != key || !next.e.At.Equal(s.At) || string(next.was) != string(raw.State) {
					t.Fatalf("seed %d, %s is not what was there before %s of %s:\n%s\n%s", seed, id, next.e.Kind, next.e.Key, raw.State, next.was)
				}
				if !s.Changed.UTC().Truncate(workday).Before(s.At.UTC().Truncate(workday)) {
					t.Errorf("%s was changed on %v and snapped on %v", id, s.Changed, s.At)
				}
				if found[key] == nil {
					found[key] = map[int64]bool{}
				}
				found[key][s.At.Unix()/86400] = true
				taken++

				// What is kept can be read, and the rest of the log makes of it what there is.
				packed, err := s.Encode()
				if err != nil {
					t.Fatal(err)
				}
				read, err := decide.DecodeSnapshot(packed)
				if err != nil || !reflect.DeepEqual(read, &s) {
					t.Fatalf("%s is read as %+v, %v", id, read, err)
				}
				again := steptest.New(fmt.Sprint("act/", i), decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}})
				again.Put(key, read.State)
				for _, a := range logs[i][s.Seq-1:] {
					if a.e.Key == key {
						if err := again.Apply(a.e); err != nil {
							t.Fatal(err)
						}
					}
				}
				if got, want := string(again.Bytes(key)), string(p.Bytes(key)); got != want {
					t.Fatalf("seed %d: from %s on it becomes\n%s\nnot\n%s", seed, id, got, want)
				}
			}
			// Of each day on which something changed somebody who was there before.
			newest := map[string]int64{}
			for n, a := range logs[i] {
				if !strings.Contains(a.e.Key, "/p:") {
					continue
				}
				today := a.e.At.Unix() / 86400
				then := p.Bytes(a.e.Key)
				for _, b := range slices.Backward(logs[i][n+1:]) {
					if b.e.Key == a.e.Key {
						then = b.was
					}
				}
				changed := string(then) != string(a.was) && decide.RedirectOf(a.was) == "" // not of whom somebody has become
				if last, was := newest[a.e.Key]; changed && was && last < today && !found[a.e.Key][today] {
					t.Errorf("seed %d: nothing is kept of %s before day %d, when %s %s made\n%s\nof\n%s", seed, a.e.Key, today, a.e.Kind, a.e.At, then, a.was)
				}
				if changed {
					newest[a.e.Key] = max(newest[a.e.Key], today)
				}
			}
		}
	}
	if taken < 50 {
		t.Errorf("only %d snapshots were taken: this shows little", taken)
	}
}

// What is no snapshot is said to be none.
func TestABrokenSnapshotIsRefused(t *testing.T) {
	s := &decide.Snapshot{V: 1, Workspace: "shop", Profile: "u1", State: &decide.Person{V: 1}}
	good, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s.V = 2
	newer, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"nothing": nil, "cut off": good[:len(good)-3], "another format": append([]byte{2}, good[1:]...), "of a newer version": newer, "JSON": []byte("{}")} {
		if got, err := decide.DecodeSnapshot(b); err == nil {
			t.Errorf("%s is read as %+v", name, got)
		}
	}
}

// BenchmarkSnapshot is what one costs beside the save of the person; the ratio is of that
// to the save of the person alone.
func BenchmarkSnapshot(b *testing.B) {
	p := &decide.Person{V: 1}
	p.Workspace, p.ID, p.Identifiers = "shop", "u9beb10dd422f73b1973510d82cfdd391", []string{"email:ada@example.com", "user_id:ada"}
	p.Attributes = map[string]any{}
	for i := range 20 {
		p.Attributes["attribute_"+string(rune('a'+i))] = []any{"Delft", 12.5, true, "a longer text, as people have"}[i%4]
	}
	s := &decide.Snapshot{V: 1, Workspace: "shop", Profile: p.ID, At: t0, Changed: t0, Partition: "act/0", Incarnation: 1, Seq: 1 << 20, State: p}
	var alone, whole time.Duration
	size, packed := 0, 0
	for b.Loop() {
		begun := time.Now()
		state, err := p.Encode()
		if err != nil {
			b.Fatal(err)
		}
		between := time.Now()
		out, err := s.Encode()
		if err != nil {
			b.Fatal(err)
		}
		alone, whole = alone+between.Sub(begun), whole+time.Since(between)
		size, packed = len(state), len(out)
	}
	b.ReportMetric(float64(whole)/float64(alone), "x-of-save")
	b.ReportMetric(float64(size), "bytes/state")
	b.ReportMetric(float64(packed), "bytes/snapshot")
}
