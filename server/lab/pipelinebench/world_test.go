package pipelinebench

import (
	"testing"

	"github.com/footfall-engage/footfall/geo"
)

func TestEveryFixEntersThePlaceThatItSaysAndNoOther(t *testing.T) {
	for _, n := range []int{MinPlaces, 12, 100, 1003, 100_000} {
		places := Places(n)
		all := make([]geo.Fence, n)
		for i, p := range places {
			all[i] = geo.Fence{ID: p.ID, Shape: p.Circle}
		}
		index, err := geo.NewIndex(all)
		if err != nil {
			t.Fatal(err)
		}
		const phones, every = 50, 5
		starts := map[int]bool{}
		for i := range phones {
			r := newRoute(newWorld(n), i, phones, every)
			seen := map[int]bool{}
			for k := range 2 * block * block * every {
				at, place := r.next()
				hits := index.At(at, nil)
				if ((k+i)%every == every-1) != (place >= 0) {
					t.Fatalf("fix %d of phone %d is at place %d", k, i, place)
				}
				if place < 0 {
					if len(hits) != 0 {
						t.Fatalf("%d places: fix %d of phone %d is in %v, want none", n, k, i, hits)
					}
					continue
				}
				if len(hits) != 1 || hits[0].ID != places[place].ID {
					t.Fatalf("%d places: fix %d of phone %d is in %v, want %s alone", n, k, i, hits, places[place].ID)
				}
				if m := hits[0].MarginM; m > -3*accuracyM {
					t.Fatalf("fix %d of phone %d has a margin of %v m", k, i, m)
				}
				if len(seen) == 0 {
					starts[place] = true
				}
				seen[place] = true
			}
			if len(seen) != block*block {
				t.Fatalf("%d places: phone %d went to %d, want %d", n, i, len(seen), block*block)
			}
		}
		if n == 100_000 && len(starts) != phones {
			t.Errorf("%d phones begin at %d places", phones, len(starts))
		}
	}
}
