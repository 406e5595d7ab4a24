package situate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/situate"
)

const chain = "f7826da6-4fa2-4e98-8024-bc5b71e0893e"

// withBeacons is the cafe with iBeacons of the chain's UUID and major 7, by their minors.
func withBeacons(minors map[string]int) *engage.Place {
	place := cafe(shop)
	for id, minor := range minors {
		major := 7
		place.Beacons = append(place.Beacons, engage.Beacon{ID: id, Type: engage.IBeacon, UUID: chain, Major: &major, Minor: &minor})
	}
	return place
}

// listening is a phone among places, where some campaign listens to beacons, or none.
func listening(t *testing.T, hears bool, places ...*engage.Place) *phone {
	t.Helper()
	p := newPhone(t, allConsents...)
	p.hearing(hears, places...)
	return p
}

func (p *phone) hearing(hears bool, places ...*engage.Place) {
	p.Helper()
	c, err := situate.NewConfig(nil, []situate.Workspace{{ID: ws, Places: places, HearsBeacons: hears}})
	if err != nil {
		p.Fatal(err)
	}
	p.Adopt(c)
}

// beacons are the triggers of beacons since the last time: "enter till wide", and whole.
func (p *phone) beacons() (string, []engage.Trigger) {
	p.Helper()
	var words []string
	var out []engage.Trigger
	for _, tr := range p.triggers() {
		if tr.Type != engage.TriggerBeacon {
			continue
		}
		w := fmt.Sprintf("%s %s", tr.Transition, tr.Beacon)
		if tr.PlaceWide {
			w += " wide"
		}
		words, out = append(words, w), append(out, tr)
	}
	return strings.Join(words, ", "), out
}

func (p *phone) wantBeacons(want string) []engage.Trigger {
	p.Helper()
	got, ts := p.beacons()
	if got != want {
		p.Fatalf("told %q, want %q", got, want)
	}
	return ts
}

func within(item *sdkpb.Item, proximity sdkpb.Beacon_Proximity) *sdkpb.Item {
	item.Beacon.Proximity = proximity
	return item
}

func (p *phone) silentUntil(at time.Duration) {
	p.Helper()
	if err := p.FireUntil(t0.Add(at)); err != nil {
		p.Fatal(err)
	}
}

func TestABeaconIsToldWhenItIsHeardFirstIsNearAndIsLost(t *testing.T) {
	p := listening(t, true, withBeacons(map[string]int{"door": 1, "till": 2}))
	p.item(1*sec, beacon(chain, 7, 9, false)) // stands nowhere
	p.wantBeacons("")
	p.item(2*sec, within(beacon(chain, 7, 1, false), sdkpb.Beacon_PROXIMITY_FAR))
	first := p.wantBeacons("enter door wide")[0]
	if first.Place != "cafe" || first.Fence != "cafe-in" || first.Evidence != "beacon" || first.Cell == "" || !first.OccurredAt.Equal(t0.Add(2*sec)) {
		t.Errorf("told %+v", first)
	}
	p.item(62*sec, within(beacon(chain, 7, 1, false), sdkpb.Beacon_PROXIMITY_FAR)) // once a minute
	p.wantBeacons("")
	p.item(70*sec, within(beacon(strings.ToUpper(chain), 7, 2, false), sdkpb.Beacon_PROXIMITY_NEAR))
	till := p.wantBeacons("enter till, near till wide")
	if till[0].Occasion == first.Occasion || till[0].Occasion != till[1].Occasion {
		t.Error("each beacon is an occasion of its own, with all of its phases")
	}
	p.item(80*sec, beacon(chain, 7, 1, true))
	if out := p.wantBeacons("exit door")[0]; out.Occasion != first.Occasion || out.Evidence != "beacon" {
		t.Errorf("told %+v", out)
	}
	p.silentUntil(10 * time.Minute) // nobody says that it is lost
	if out := p.wantBeacons("exit till wide")[0]; !out.OccurredAt.Equal(t0.Add(70*sec+90*sec)) || out.Evidence != "silence" {
		t.Errorf("told %+v", out)
	}
	p.item(20*time.Minute, beacon(chain, 7, 2, false))
	if again := p.wantBeacons("enter till wide")[0]; again.Occasion == till[0].Occasion {
		t.Error("a quarter of an hour later it is another occasion")
	}
}

// Radio is not steady: what comes back within minutes is the same occasion, which decide
// speaks of once, and no new arrival at the place.
func TestABeaconThatFluttersIsOneOccasion(t *testing.T) {
	p := listening(t, true, withBeacons(map[string]int{"door": 1, "till": 2}))
	p.item(sec, beacon(chain, 7, 1, false))
	first := p.wantBeacons("enter door wide")[0]
	for i := range 5 {
		at := time.Duration(i+1) * time.Minute
		p.item(at, beacon(chain, 7, 1, true))
		p.item(at+10*sec, beacon(chain, 7, 1, false))
		for _, tr := range p.wantBeacons("exit door wide, enter door wide") {
			if tr.Occasion != first.Occasion {
				t.Fatalf("another occasion: %+v", tr)
			}
		}
	}
	p.item(6*time.Minute, beacon(chain, 7, 1, true))
	p.wantBeacons("exit door wide")
	p.item(7*time.Minute, beacon(chain, 7, 2, false)) // from the door to the till
	p.wantBeacons("enter till")
}

func TestWhatComesLateOfABeaconChangesNothing(t *testing.T) {
	p := listening(t, true, withBeacons(map[string]int{"door": 1}))
	p.item(10*sec, beacon(chain, 7, 1, false))
	p.item(40*sec, beacon(chain, 7, 1, true))
	p.wantBeacons("enter door wide, exit door wide")
	p.seq++
	late := entry(p.seq, 41*sec, beacon(chain, 7, 1, false))
	late.Occurred = t0.Add(30 * sec)
	p.apply(late, late) // and twice
	p.wantBeacons("")
	p.seq++
	lost := entry(p.seq, 42*sec, beacon(chain, 7, 1, true))
	lost.Occurred = t0.Add(5 * sec)
	p.apply(lost)
	p.wantBeacons("")
}

func TestBeaconsAreNotToldWhereNobodyListensNorWithoutConsent(t *testing.T) {
	place := withBeacons(map[string]int{"door": 1})
	p := listening(t, false, place)
	p.item(sec, beacon(chain, 7, 1, false))
	p.wantBeacons("")
	p.hearing(true, place) // a campaign is launched while the phone hears it
	p.item(61*sec, beacon(chain, 7, 1, false))
	p.wantBeacons("")
	p.silentUntil(10 * time.Minute)
	p.wantBeacons("exit door wide")

	p = newPhone(t)
	p.hearing(true, place)
	p.item(sec, beacon(chain, 7, 1, false))
	p.wantBeacons("")

	p = listening(t, true, place)
	p.item(sec, beacon(chain, 7, 1, false))
	p.wantBeacons("enter door wide")
	p.item(2*sec, consent(sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, false))
	p.item(2*sec, consent(sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, false))
	if h := p.install().Heard; len(h) > 0 {
		t.Errorf("kept after the withdrawal: %+v", h)
	}
	p.silentUntil(10 * time.Minute)
	p.wantBeacons("")
}

// A beacon that is taken away, or goes with its place, is forgotten without a word; one
// that moves to another place is another one there.
func TestABeaconThatIsTakenAwayIsForgotten(t *testing.T) {
	place := withBeacons(map[string]int{"door": 1})
	for name, then := range map[string][]*engage.Place{
		"the beacon":   {withBeacons(nil)},
		"its place":    nil,
		"to the bar":   {withBeacons(nil), barWith(place.Beacons)},
		"its geofence": {fencedOtherwise(withBeacons(map[string]int{"door": 1}))},
	} {
		p := listening(t, true, place)
		p.item(sec, beacon(chain, 7, 1, false))
		p.wantBeacons("enter door wide")
		p.hearing(true, then...)
		p.silentUntil(10 * time.Minute)
		want := ""
		if name == "its geofence" {
			want = "exit door wide"
		}
		p.wantBeacons(want)
		if name == "to the bar" {
			p.item(11*time.Minute, beacon(chain, 7, 1, false))
			if tr := p.wantBeacons("enter door wide")[0]; tr.Place != "bar" {
				t.Errorf("told %+v", tr)
			}
		}
	}
}

func barWith(beacons []engage.Beacon) *engage.Place {
	bar := cafe(east(500))
	bar.ID, bar.Beacons = "bar", beacons
	for i := range bar.Geofences {
		bar.Geofences[i].ID = "bar-" + bar.Geofences[i].ID
	}
	return bar
}

func fencedOtherwise(p *engage.Place) *engage.Place {
	for i := range p.Geofences {
		p.Geofences[i].ID += "-new"
	}
	return p
}

// Ten thousand beacons of one UUID, and a phone that claims to hear a hundred of them at
// once: what is kept and told is bounded.
func TestWhatAPhoneHearsOfTenThousandBeaconsIsBounded(t *testing.T) {
	var places []*engage.Place
	for i := range 200 {
		p := cafe(east(float64(i * 500)))
		p.ID = fmt.Sprint("p", i)
		for j := range p.Geofences {
			p.Geofences[j].ID = fmt.Sprint(p.ID, "-", j)
		}
		for j := range 50 {
			major, minor := i, j
			p.Beacons = append(p.Beacons, engage.Beacon{ID: fmt.Sprintf("b%d-%d", i, j), Type: engage.IBeacon, UUID: chain, Major: &major, Minor: &minor})
		}
		places = append(places, p)
	}
	p := listening(t, true, places...)
	for i := uint32(0); i < 10_000; i += 97 {
		p.item(sec, beacon(chain, i/50, i%50, false))
	}
	_, told := p.beacons()
	if n := len(p.install().Heard); n != 32 || len(told) != 32 {
		t.Errorf("%d are kept, %d were told", n, len(told))
	}
	p.item(30*sec, &sdkpb.Item{Beacon: &sdkpb.Beacon{Ibeacon: &sdkpb.IBeacon{Uuid: chain}, Lost: true}}) // the OS: none of that UUID
	if _, told := p.beacons(); len(told) != 32 {
		t.Errorf("%d were told lost", len(told))
	}
	p.item(10*time.Minute, beacon(chain, 150, 1, false))
	p.wantBeacons("enter b150-1 wide")
}
