package situate_test

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/situate"
)

func TestWhatTheSystemSaysOfARegionIsToldAsItSaysIt(t *testing.T) {
	regions := func(p *phone) (out []engage.Trigger) {
		for _, tr := range p.triggers() {
			if tr.Type == engage.TriggerRegion {
				out = append(out, tr)
			}
		}
		return out
	}
	for _, hears := range []bool{true, false} {
		p := newPhone(t, allConsents...)
		c, err := situate.NewConfig(nil, []situate.Workspace{{ID: ws, Places: []*engage.Place{cafe(shop)}, HearsRegions: hears}})
		if err != nil {
			t.Fatal(err)
		}
		p.Adopt(c)
		p.item(sec, region("cafe-near", enter))
		p.item(2*sec, region("cafe-in", dwell)) // no event
		p.item(3*sec, region("gone", enter))
		p.item(10*time.Minute, region("cafe-near", exit))
		got := regions(p)
		if !hears {
			if len(got) > 0 {
				t.Errorf("nobody listens, and it is told: %+v", got)
			}
			continue
		}
		if len(got) != 2 || got[0].Transition != engage.Enter || got[1].Transition != engage.Exit || got[0].Occasion == got[1].Occasion {
			t.Fatalf("told %+v", got)
		}
		if g := got[0]; g.Place != "cafe" || g.Ring != engage.Near || g.Fence != "cafe-near" || g.Evidence != "os_region" || g.Cell == "" || !g.OccurredAt.Equal(t0.Add(sec)) {
			t.Errorf("told %+v", g)
		}
		// One whose own fix is elsewhere is not believed.
		p.item(20*time.Minute, &sdkpb.Item{RegionEvent: &sdkpb.RegionEvent{
			RegionId: "cafe-in", Transition: enter, Location: &sdkpb.Location{Lat: east(5000).Lat, Lng: east(5000).Lng, AccuracyM: 10},
		}})
		if got := regions(p); len(got) > 0 || p.install().Doubted != 1 {
			t.Errorf("a region of another town is told: %+v", got)
		}
	}
}
