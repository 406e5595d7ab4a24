package situate_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/situate"
)

// A trigger carries how full its place was when it arose, as the log had said by then; what
// is old, or left out of a record that is not whole, is not known.
func TestATriggerCarriesHowFullItsPlaceIs(t *testing.T) {
	n := func(x int) *int { return &x }
	for name, c := range map[string]struct {
		is    engage.Occupancy
		wants bool
		after time.Duration
		want  *int
	}{
		"it is known":                {engage.Occupancy{V: 1, Places: map[string]int{"cafe": 15}}, true, time.Minute, n(15)},
		"nobody is there":            {engage.Occupancy{V: 1, Places: map[string]int{"bar": 15}}, true, time.Minute, n(0)},
		"there are too many to tell": {engage.Occupancy{V: 1, Places: map[string]int{"bar": 15}, Partial: true}, true, time.Minute, nil},
		"it is old":                  {engage.Occupancy{V: 1, Places: map[string]int{"cafe": 15}}, true, 11 * time.Minute, nil},
		"nobody asks":                {engage.Occupancy{V: 1, Places: map[string]int{"cafe": 15}}, false, time.Minute, nil},
	} {
		p := newPhone(t, allConsents...)
		config, err := situate.NewConfig(nil, []situate.Workspace{{ID: ws, Places: []*engage.Place{cafe(shop)}, WantsOccupancy: c.wants}})
		if err != nil {
			t.Fatal(err)
		}
		p.Adopt(config)
		body, err := json.Marshal(c.is)
		if err != nil {
			t.Fatal(err)
		}
		p.apply(engage.Entry{Kind: engage.KindOccupancy, Key: engage.OccupancyKey(ws), At: t0, Body: body})
		p.item(c.after, fix(shop, 10))
		for _, tr := range p.wantTriggers("enter cafe-near, enter cafe-in") {
			if (tr.Occupancy == nil) != (c.want == nil) || c.want != nil && *tr.Occupancy != *c.want {
				t.Errorf("%s: %v", name, tr.Occupancy)
			}
		}
	}
}
