package measure_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/measure"
)

// Counts by arm hold what a map of the same holds, are written as it is and read again as
// they were; and whatever was made of them, those before stay what they were.
func TestCountsByArmAreAMapThatIsNeverChanged(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	type version struct {
		by   measure.ByArm
		want map[string]engage.Counts
	}
	all := []version{{want: map[string]engage.Counts{}}}
	for range 300 {
		from := all[r.IntN(len(all))]
		arm := []string{"", "a", "b", "<é>", "holdout", "zz"}[r.IntN(6)]
		c := measure.Sum(from.by.Of(arm), engage.Counts{
			Decided: r.Int64N(3), Suppressed: map[engage.Reason]int64{engage.Reason(fmt.Sprint(r.IntN(3))): 1},
		})
		next := version{from.by.With(arm, c), maps.Clone(from.want)}
		next.want[arm] = c
		all = append(all, next)
	}
	for i, v := range all {
		if got := maps.Collect(v.by.All()); !reflect.DeepEqual(got, v.want) {
			t.Fatalf("%d: holds\n%+v, want\n%+v", i, got, v.want)
		}
		got, err := json.Marshal(v.by)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(v.want)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Fatalf("%d: written as\n%s, want\n%s", i, got, want)
		}
		var again measure.ByArm
		if err := json.Unmarshal(got, &again); err != nil || !reflect.DeepEqual(again, v.by) {
			t.Fatalf("%d: %s was read as %+v (%v)", i, got, again, err)
		}
	}
	if got := (measure.ByArm{}).Of("a"); !reflect.DeepEqual(got, engage.Counts{}) {
		t.Errorf("nothing is %+v", got)
	}
}

// edited keeps a benchmark's result from living on the stack only.
var edited engage.State

// BenchmarkEdit is a tally's change for one decision, of a campaign with so many arms
// besides those of the suppressed and the held out.
func BenchmarkEdit(b *testing.B) {
	for _, arms := range []int{1, 4} {
		b.Run(fmt.Sprintf("arms=%d", arms), func(b *testing.B) {
			t := &measure.Tally{V: 1, Campaign: "rainy"}
			add := engage.Counts{Decided: 1}
			for i := range arms {
				t.Arms = t.Arms.With(fmt.Sprint(i), add)
			}
			t.Arms = t.Arms.With("", add).With(engage.HoldoutArm, add)
			b.ReportAllocs()
			for b.Loop() {
				c := t.Clone().(*measure.Tally) //nolint:forcetypeassert // it is one
				c.Arms = c.Arms.With("0", measure.Sum(c.Arms.Of("0"), add))
				edited = c
			}
		})
	}
}
