package decide_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/measure"
)

// bare is the least that a partition can be: it keeps states and forgets all else, so
// that a benchmark measures the step and not what runs it.
type bare struct {
	states map[string]engage.State
	config *decide.Config
	sent   int
}

func (b *bare) Load(key string) (engage.State, error) { return b.states[key], nil }

func (b *bare) Edit(key string) (engage.State, error) {
	s := b.states[key]
	if s == nil {
		return nil, nil
	}
	s = s.Clone()
	b.states[key] = s
	return s, nil
}

func (b *bare) Put(key string, s engage.State) { b.states[key] = s }
func (b *bare) Delete(key string)              { delete(b.states, key) }
func (b *bare) Emit(to string, _ engage.Entry) {
	if to == "send" {
		b.sent++
	}
}
func (b *bare) SetTimer(string, string, time.Time, []byte) {}
func (b *bare) ClearTimer(string, string)                  {}
func (b *bare) Record(string, string, string, any)         {}
func (b *bare) Config() (any, uint64)                      { return b.config, 1 }
func (b *bare) Position() engage.Source                    { return engage.Source{Partition: "act/0"} }
func (b *bare) At() time.Time                              { return t0 }

// crowded are n live campaigns, each at a place of its own but for five that all want
// the café, with what campaigns usually have: an audience, a context, a cap, texts.
func crowded(n int) []*engage.Campaign {
	var out []*engage.Campaign
	for i := range n {
		out = append(out, offer(fmt.Sprintf("c%05d", i), func(c *engage.Campaign) {
			c.Trigger.Places = []string{fmt.Sprint("shop-", i)}
			if i < 5 {
				c.Trigger.Places = []string{"cafe"}
				c.Priority = i
			}
			c.Audience = rule(`{"field":"attributes.tier","op":"in","value":["gold","silver"]}`)
			c.Context = rule(`{"all":[{"field":"local.hour","op":"ge","value":6},{"field":"place.open","op":"ne","value":false}]}`)
			c.Limits = engage.Limits{Cap: 1000, CapWindowS: 3600, Quiet: &engage.QuietHours{Start: "22:00", End: "07:00"}}
			c.Arms[0].Message = engage.Content{Title: "{{ place.name }} is near", Body: "A coffee for {{ profile.attributes.tier }} members", DeepLink: "shop://cafe"}
		}))
	}
	return out
}

// busy is a partition of so many live campaigns, five of which want the same place, and a
// person who enters it, again and again for the first time.
type busy struct {
	*bare
	machine   decide.Machine
	known     engage.State
	enters    engage.Entry
	decisions *[]any // documents, where these are wanted
}

func (x *busy) Record(collection, _, _ string, doc any) {
	if x.decisions != nil && collection == "decisions" {
		*x.decisions = append(*x.decisions, doc)
	}
}

func newBusy(b *testing.B, campaigns int) *busy {
	b.Helper()
	x := &busy{machine: decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}}}
	config, errs := decide.NewConfig([]decide.Workspace{world0(crowded(campaigns))})
	if len(errs) > 0 {
		b.Fatal(errs)
	}
	x.bare = &bare{states: map[string]engage.State{}, config: config}
	for _, e := range []engage.Entry{
		entry(engage.KindDevice, person("ada"), 0, device("i-ada")),
		entry(engage.KindConsent, person("ada"), 0, consents(true)),
		entry(engage.KindTraits, person("ada"), 0, map[string]any{"tier": "gold"}),
	} {
		if err := x.machine.Apply(x, e); err != nil {
			b.Fatal(err)
		}
	}
	x.known = x.states[person("ada")]
	x.enters = enters("ada", "cafe", "v", sec, func(t *engage.Trigger) { t.Opening = "open" })
	return x
}

// decide is one decision.
func (x *busy) decide(b *testing.B) {
	x.states[person("ada")] = x.known // the same person each time
	if err := x.machine.Apply(x, x.enters); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDecide is one decision: a person enters a place that five campaigns want, of
// so many that are live. One gets the moment.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{5, 1000, 10000} {
		b.Run(fmt.Sprintf("campaigns=%d", n), func(b *testing.B) {
			x := newBusy(b, n)
			b.ReportAllocs()
			for b.Loop() {
				x.decide(b)
			}
			if x.sent < b.N {
				b.Fatalf("%d of %d were sent", x.sent, b.N)
			}
		})
	}
}

// BenchmarkDecideShares compares, in turns, so that what else runs on the machine falls on
// all alike: ns/op is a decision among so many campaigns, with the collection of its garbage,
// of-5 how many times one among five it is, and trace-% the share of it that writes down what
// the gates saw (decide.Retrace).
func BenchmarkDecideShares(b *testing.B) {
	const turn = 20 // decisions
	for _, n := range []int{5, 1000, 10000} {
		b.Run(fmt.Sprintf("campaigns=%d", n), func(b *testing.B) {
			five, x := newBusy(b, 5), newBusy(b, n)
			var decisions []any
			x.decisions = &decisions
			x.decide(b)
			x.decisions = nil
			if len(decisions) != 5 {
				b.Fatalf("%d decisions", len(decisions))
			}
			trace, err := decide.Retrace(decisions)
			if err != nil {
				b.Fatal(err)
			}
			var ofFive, ofX, ofTrace time.Duration
			timed := func(took *time.Duration, do func()) {
				began := time.Now()
				for range turn {
					do()
				}
				*took += time.Since(began)
			}
			for b.Loop() {
				timed(&ofFive, func() { five.decide(b) })
				timed(&ofX, func() { x.decide(b) })
				timed(&ofTrace, trace)
			}
			b.ReportMetric(float64(ofX)/float64(turn*b.N), "ns/op")
			b.ReportMetric(float64(ofX)/float64(ofFive), "of-5")
			b.ReportMetric(100*float64(ofTrace)/float64(ofX), "trace-%")
		})
	}
}
