package geo_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/footfall-engage/footfall/geo"
)

// A partition takes a clone of a state for each piece of evidence, over the one before
// the last, while it keeps, and perhaps writes, the last: whatever is done to a clone, in
// whichever memory, the Tracker that it was made of stays, and what comes out is what
// comes out of one that was never cloned.
func TestAClonesMemoryIsItsOwn(t *testing.T) {
	text := func(tr *geo.Tracker) string {
		b, err := json.Marshal(tr)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	w := village(t)
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 41))
		evidence := life(r, 150)
		if seed%2 == 1 {
			evidence = shuffle(r, evidence)
		}
		plain, last, retired := geo.Tracker{}, &geo.Tracker{}, &geo.Tracker{}
		var kept geo.Tracker // of a state that was read, by somebody else
		keptWas := text(&kept)
		for i, e := range evidence {
			e.Seq = uint64(i + 1)
			if r.IntN(10) == 0 {
				read := &geo.Tracker{}
				if err := json.Unmarshal([]byte(text(last)), read); err != nil {
					t.Fatal(err)
				}
				last, kept, keptWas = read, read.Clone(), text(read)
			}
			was := text(last)
			next := &geo.Tracker{}
			if r.IntN(8) == 0 {
				*next = last.Clone()
			} else {
				next = retired
				last.CloneOver(next)
			}
			if got := text(next); got != was {
				t.Fatalf("seed %d, %d: the clone is\n%s\nof\n%s", seed, i, got, was)
			}
			got, want := next.Apply(w, e, e.At), plain.Apply(w, e, e.At)
			switch r.IntN(60) {
			case 0:
				next.Freeze()
				plain.Freeze()
			case 1:
				next.ForgetPositions()
				plain.ForgetPositions()
			}
			if said(got.Told) != said(want.Told) || text(next) != text(&plain) {
				t.Fatalf("seed %d, %d: %q\n%s\nwithout clones %q\n%s", seed, i, said(got.Told), text(next), said(want.Told), text(&plain))
			}
			if r.IntN(10) == 0 { // another step of the same state, that is thrown away
				other := last.Clone()
				other.Apply(w, geo.Evidence{Source: geo.ByFix, At: e.At, Seq: e.Seq, Pos: mid, AccuracyM: 5}, e.At)
			}
			if got := text(last); got != was {
				t.Fatalf("seed %d, %d: what it was made of became\n%s\nof\n%s", seed, i, got, was)
			}
			if got := text(&kept); got != keptWas {
				t.Fatalf("seed %d, %d: what somebody keeps became\n%s\nof\n%s", seed, i, got, keptWas)
			}
			retired, last = last, next
		}
	}
}
