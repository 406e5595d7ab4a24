package lab

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

const (
	enter = sdkpb.RegionEvent_TRANSITION_ENTER
	exit  = sdkpb.RegionEvent_TRANSITION_EXIT
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func region(id string, p geo.Point, r float64) *sdkpb.Region {
	return &sdkpb.Region{Id: id, Lat: p.Lat, Lng: p.Lng, RadiusM: r, OnEnter: true, OnExit: true}
}

func regions(rs ...*sdkpb.Region) *sdkpb.Regions { return &sdkpb.Regions{Regions: rs} }

func TestTheMonitorReportsEachCrossingOnce(t *testing.T) {
	plane := newPlane(geo.Point{Lat: 52, Lng: 5}, 0)
	inner, outer := region("a-inside", plane.center, 50), region("a-near", plane.center, 300)
	quiet := region("b", plane.center, 100)
	quiet.OnEnter = false
	m := newMonitor(sdkpb.Platform_PLATFORM_IOS)
	m.register(regions(outer, inner, quiet))
	var got []crossing
	for _, x := range []float64{-400, -310, -290, -290, -60, -40, 0, 40, 60, 110, 290, 310, 400, 400} {
		got = append(got, m.move(plane.point(vec{x, 0}), noon)...)
		m.register(regions(outer, inner, quiet)) // the same set again changes nothing
	}
	want := []crossing{{"a-near", enter, false}, {"a-inside", enter, false}, {"a-inside", exit, false}, {"b", exit, false}, {"a-near", exit, false}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

// The bubble takes a slot before all others, and is reported when it is left.
func TestTheMonitorWatchesTheBubble(t *testing.T) {
	plane := newPlane(geo.Point{Lat: 52, Lng: 5}, 0)
	var rs []*sdkpb.Region
	for i := range slotsIOS {
		rs = append(rs, region(fmt.Sprintf("r%02d", i), geo.Point{Lat: 53, Lng: 5}, 100))
	}
	set := regions(rs...)
	set.Bubble = region("~bubble", plane.center, 200)
	set.Bubble.OnEnter = false
	m := newMonitor(sdkpb.Platform_PLATFORM_IOS)
	if failed := m.register(set); len(failed) != 1 || failed[0].GetId() != "r19" {
		t.Errorf("refused %v", failed)
	}
	var got []crossing
	for _, x := range []float64{0, 190, 210, 500, 0} {
		got = append(got, m.move(plane.point(vec{x, 0}), noon)...)
	}
	if !slices.Equal(got, []crossing{{"~bubble", exit, false}}) {
		t.Errorf("reported %v", got)
	}
}

func TestOnlyAndroidReportsThatSomebodyStayed(t *testing.T) {
	center := geo.Point{Lat: 52, Lng: 5}
	away := geo.Point{Lat: 52.1, Lng: 5}
	for platform, want := range map[sdkpb.Platform]int{sdkpb.Platform_PLATFORM_ANDROID: 2, sdkpb.Platform_PLATFORM_IOS: 0} {
		r := region("a", center, 50)
		r.DwellS, r.Exact = 60, true
		m := newMonitor(platform)
		m.register(regions(r))
		stays := 0
		for i, p := range []geo.Point{away, center, center, center, center, away, center, away, center, center, center} {
			now := noon.Add(time.Duration(i) * 30 * time.Second)
			for _, x := range m.move(p, now) {
				if x.to == sdkpb.RegionEvent_TRANSITION_DWELL {
					if stays++; !x.exact {
						t.Error("not exact")
					}
				}
			}
			m.register(regions(r)) // the same set again changes nothing
		}
		if stays != want {
			t.Errorf("%s reports %d stays, want %d", platform, stays, want)
		}
	}
}

func TestOnlyAndroidReportsWhereItAlreadyIs(t *testing.T) {
	center := geo.Point{Lat: 52, Lng: 5}
	for _, tt := range []struct {
		platform sdkpb.Platform
		want     []crossing
	}{
		{sdkpb.Platform_PLATFORM_ANDROID, []crossing{{"a", enter, false}}},
		{sdkpb.Platform_PLATFORM_IOS, nil},
	} {
		m := newMonitor(tt.platform)
		m.register(regions(region("a", center, 50)))
		if got := m.move(center, noon); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.platform, got, tt.want)
		}
		m.register(regions())
		if got := m.move(geo.Point{Lat: 53, Lng: 5}, noon); got != nil {
			t.Errorf("%s: a removed region reports %v", tt.platform, got)
		}
	}
}

func TestAMovedRegionIsANewOne(t *testing.T) {
	center, away := geo.Point{Lat: 52, Lng: 5}, geo.Point{Lat: 52.1, Lng: 5}
	m := newMonitor(sdkpb.Platform_PLATFORM_IOS)
	m.register(regions(region("a", away, 50)))
	m.move(center, noon)
	m.register(regions(region("a", center, 50)))
	if got := m.move(center, noon); got != nil {
		t.Errorf("the region came to the phone, and the OS says %v", got)
	}
	if got := m.move(away, noon); !slices.Equal(got, []crossing{{"a", exit, false}}) {
		t.Errorf("leaving gives %v", got)
	}
}

func TestTheOSRefusesRegionsBeyondItsSlots(t *testing.T) {
	var rs []*sdkpb.Region
	for i := range 150 {
		rs = append(rs, region(fmt.Sprintf("r%03d", i), geo.Point{Lat: 52, Lng: 5}, 50))
	}
	for platform, slots := range map[sdkpb.Platform]int{sdkpb.Platform_PLATFORM_IOS: 20, sdkpb.Platform_PLATFORM_ANDROID: 100} {
		m := newMonitor(platform)
		failed := m.register(regions(rs...))
		if len(failed) != 150-slots || failed[0].GetId() != fmt.Sprintf("r%03d", slots) || len(m.regions) != slots {
			t.Errorf("%s: %d refused, %d watched", platform, len(failed), len(m.regions))
		}
	}
}

func TestTheOSReportsCrossingsInTheirOrder(t *testing.T) {
	tn := town(t, TownOptions{Seed: 1, People: 1})
	p := &Phone{crowd: &Crowd{opts: CrowdOptions{RegionDelay: 300 * time.Millisecond}}, rng: tn.rand("phone")}
	now, last := time.UnixMilli(0), time.Time{}
	for range 1000 {
		now = now.Add(10 * time.Millisecond)
		d := p.reportIn(now)
		if d < 0 || d > 300*time.Millisecond || now.Add(d).Before(last) {
			t.Fatalf("reported after %v, at %v and the one before at %v", d, now.Add(d), last)
		}
		last = now.Add(d)
	}
}
