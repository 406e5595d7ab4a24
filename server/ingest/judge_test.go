package ingest_test

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
)

func lifecycle(seq uint64, s sdkpb.Lifecycle_State) *sdkpb.Item {
	return &sdkpb.Item{Seq: seq, Lifecycle: &sdkpb.Lifecycle{State: s}}
}

func region(seq uint64) *sdkpb.Item {
	return &sdkpb.Item{Seq: seq, OccurredMs: noon.UnixMilli(), RegionEvent: &sdkpb.RegionEvent{
		RegionId: "fence-1", Transition: sdkpb.RegionEvent_TRANSITION_ENTER,
		Location: &sdkpb.Location{Lat: 0.010001, Lng: 0.000002, AccuracyM: 20},
	}}
}

func beacon(seq uint64) *sdkpb.Item {
	major, rssi, distance := uint32(7), int32(-60), 1.5
	return &sdkpb.Item{Seq: seq, OccurredMs: noon.UnixMilli(), Beacon: &sdkpb.Beacon{
		Ibeacon: &sdkpb.IBeacon{Uuid: "F7826DA6-4FA2-4E98-8024-BC5B71E0893E", Major: &major, Minor: new(uint32)},
		RssiDbm: &rssi, DistanceM: &distance, Location: &sdkpb.Location{Lat: 38.7223, Lng: -9.1393},
	}}
}

// judgements posts a batch and tells each item's fate by seq: "" or the code and
// the field.
func (w *world) judgements(head map[string]string, b *sdkpb.Batch) map[uint64]string {
	w.t.Helper()
	reply, status := w.post(sdkproto.PathBatch, b, head)
	if status != http.StatusOK {
		w.t.Fatalf("%d %v", status, reply)
	}
	out := map[uint64]string{}
	for _, i := range b.Items {
		out[i.Seq] = ""
	}
	for _, r := range reply.Ack.Rejects {
		out[r.Seq] = r.Code + " " + r.Field
	}
	return out
}

func TestConsentIsEnforcedAtTheDoor(t *testing.T) {
	const (
		fg   = engage.ConsentLocationForeground
		bg   = engage.ConsentLocationBackground
		fore = sdkpb.Lifecycle_STATE_FOREGROUND
		back = sdkpb.Lifecycle_STATE_BACKGROUND
	)
	for _, c := range []struct {
		consents []engage.Purpose
		phase    sdkpb.Lifecycle_State
		taken    bool
	}{
		{nil, fore, false},
		{nil, back, false},
		{[]engage.Purpose{fg}, fore, true},
		{[]engage.Purpose{fg}, back, false},
		{[]engage.Purpose{bg}, fore, true},
		{[]engage.Purpose{bg}, back, true},
		{[]engage.Purpose{engage.ConsentLocationPrecise, engage.ConsentMarketing}, fore, false},
	} {
		t.Run(fmt.Sprintf("%v %v", c.consents, c.phase), func(t *testing.T) {
			w := newWorld(t, ingest.Limits{})
			known := ingest.Install{Consents: map[engage.Purpose]bool{}}
			for _, p := range c.consents {
				known.Consents[p] = true
			}
			w.installs.known["phone-00001"] = known
			head := auth("phone-00001", w.token("phone-00001"))
			got := w.judgements(head, batch(lifecycle(1, c.phase), fix(2, 0, 0), region(3), &sdkpb.Item{Seq: 4, Event: &sdkpb.Event{Name: "x"}}, beacon(5)))
			want := map[uint64]string{1: "", 2: "consent_missing location", 3: "consent_missing region_event", 4: "", 5: "consent_missing beacon"}
			logged := 2
			if c.taken {
				want[2], want[3], want[5] = "", "", ""
				logged = 5
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if n := len(w.log.items(t, "phone-00001")); n != logged {
				t.Errorf("%d items logged, want %d", n, logged)
			}
		})
	}
}

func TestConsentChangesInTheOrderOfItems(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	head := auth("phone-00001", w.token("phone-00001"))
	const fg = sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND
	got := w.judgements(head, batch(lifecycle(1, sdkpb.Lifecycle_STATE_FOREGROUND), fix(2, 0, 0),
		consent(3, fg, true), fix(4, 0, 0), consent(5, fg, false), fix(6, 0, 0)))
	if got[2] == "" || got[4] != "" || got[6] == "" {
		t.Errorf("in one batch: %v", got)
	}
	// A repeat of the older answer does not revive it.
	if got := w.judgements(head, batch(consent(3, fg, true), fix(7, 0, 0))); got[3] != "" || got[7] == "" {
		t.Errorf("after a repeat: %v", got)
	}
	// The gateway remembers over connections, and asks the state once.
	r := w.open2(head, "phone-00001")
	r.send(&sdkpb.Frame{Id: 2, Batch: batch(fix(8, 0, 0), consent(9, fg, true), fix(10, 0, 0))})
	f := r.next()
	for f.Ack == nil {
		f = r.next()
	}
	if len(f.Ack.Rejects) != 1 || f.Ack.Rejects[0].Seq != 8 {
		t.Errorf("on the socket: %v", f)
	}
	if w.installs.reads != 1 {
		t.Errorf("%d reads of the state", w.installs.reads)
	}
}

// What a phone noted before its person agreed does not enter the log, however late it
// comes; nor more exactly than the person agreed to then.
func TestWhatWasMadeBeforeTheConsentIsNotTakenLater(t *testing.T) {
	const (
		fg      = sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND
		precise = sdkpb.Consent_PURPOSE_LOCATION_PRECISE
	)
	w := newWorld(t, ingest.Limits{})
	head := auth("phone-00001", w.token("phone-00001"))
	got := w.judgements(head, batch(lifecycle(1, sdkpb.Lifecycle_STATE_FOREGROUND), consent(5, fg, true), fix(3, 0, 0), fix(6, 0.01, 0), consent(8, precise, true), fix(7, 0.02, 0), fix(9, 0.03, 0)))
	want := map[uint64]string{1: "", 3: "consent_missing location", 5: "", 6: "", 7: "", 8: "", 9: ""}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	exact := map[uint64]bool{}
	for _, i := range w.log.items(t, "phone-00001") {
		if l := i.GetLocation(); l != nil {
			exact[i.GetSeq()] = l.GetLat() == float64(i.GetSeq()-6)/100
		}
	}
	if fmt.Sprint(exact) != fmt.Sprint(map[uint64]bool{6: false, 7: false, 9: true}) {
		t.Errorf("exact: %v", exact)
	}
	// A yes repeated stands since the first; a late no between them ends that.
	if got := w.judgements(head, batch(consent(20, fg, true), fix(10, 0, 0))); got[10] != "" {
		t.Errorf("after a repeated yes: %v", got)
	}
	if got := w.judgements(head, batch(consent(15, fg, false), fix(11, 0, 0), fix(19, 0, 0), fix(21, 0, 0))); got[11] == "" || got[19] == "" || got[21] != "" {
		t.Errorf("after a no that came late: %v", got)
	}
	// So after a restart, by the state.
	w.installs.known["phone-00002"] = ingest.Install{
		Consents: map[engage.Purpose]bool{engage.ConsentLocationForeground: true},
		Answered: map[engage.Purpose]ingest.Answered{engage.ConsentLocationForeground: {Seq: 9, Since: 4}},
	}
	head = auth("phone-00002", w.token("phone-00002"))
	if got := w.judgements(head, batch(lifecycle(1, sdkpb.Lifecycle_STATE_FOREGROUND), fix(3, 0, 0), consent(8, fg, false), fix(5, 0, 0), fix(10, 0, 0))); got[3] == "" || got[5] == "" || got[10] != "" {
		t.Errorf("after a restart: %v", got)
	}
}

// open2 opens a session of an install that has its token.
func (w *world) open2(head map[string]string, install string) *raw {
	w.t.Helper()
	r := w.dial(sdkproto.Protobuf{})
	h := hello(install)
	h.DeviceToken = head[sdkproto.HeaderAuthorization][len(sdkproto.BearerPrefix):]
	r.send(&sdkpb.Frame{Id: 1, Hello: h})
	for {
		f := r.next()
		if f.HelloOk != nil {
			return r
		}
	}
}

// A batch that the log does not take changes no consent.
func TestABatchThatWasNotTakenChangesNothing(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	head := auth("phone-00001", w.token("phone-00001"))
	w.log.set(func() { w.log.busy = 1 })
	b := batch(consent(1, sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, true), fix(2, 0, 0))
	if _, status := w.post(sdkproto.PathBatch, b, head); status != http.StatusTooManyRequests {
		t.Fatal(status)
	}
	if got := w.judgements(head, batch(fix(2, 0, 0))); got[2] == "" {
		t.Error("a consent that was not taken counts")
	}
}

func TestForgottenInstallsAreReadAgain(t *testing.T) {
	w := newWorld(t, ingest.Limits{MaxInstalls: 2})
	var heads []map[string]string
	for i := range 4 {
		id := fmt.Sprintf("phone-0000%d", i)
		heads = append(heads, auth(id, w.token(id)))
	}
	w.judgements(heads[3], batch())
	if w.installs.reads != 4 {
		t.Errorf("%d reads after four installs", w.installs.reads)
	}
	w.judgements(heads[0], batch())
	if w.installs.reads != 5 {
		t.Errorf("%d reads after a forgotten one", w.installs.reads)
	}
}

func TestWithoutPreciseConsentOnlyTheCellEntersTheLog(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.installs.known["phone-00001"] = ingest.Install{Consents: map[engage.Purpose]bool{engage.ConsentLocationBackground: true}}
	head := auth("phone-00001", w.token("phone-00001"))
	speed, bearing, altitude := 1.5, 90.0, 12.0
	f := fix(1, 38.7223, -9.1393)
	f.Location.SpeedMps, f.Location.BearingDeg, f.Location.AltitudeM = &speed, &bearing, &altitude
	w.judgements(head, batch(f, region(2), beacon(3)))
	items := w.log.items(t, "phone-00001")
	if b := items[2].GetBeacon(); b.GetIbeacon().GetMajor() != 7 || b.RssiDbm != nil || b.DistanceM != nil {
		t.Errorf("the beacon tells more than which: %v", b)
	}
	for i, p := range []geo.Point{{Lat: 38.7223, Lng: -9.1393}, {Lat: 0.010001, Lng: 0.000002}, {Lat: 38.7223, Lng: -9.1393}} {
		l := cmp.Or(items[i].GetLocation(), items[i].GetRegionEvent().GetLocation(), items[i].GetBeacon().GetLocation())
		cell, err := geo.CellOf(p, 7)
		if err != nil {
			t.Fatal(err)
		}
		if c := cell.Center(); l.Lat != c.Lat || l.Lng != c.Lng || l.AccuracyM < 1000 {
			t.Errorf("item %d is at %v, ±%v m", i, l, l.AccuracyM)
		}
		if l.SpeedMps != nil || l.BearingDeg != nil || l.AltitudeM != nil {
			t.Errorf("item %d tells more than the cell", i)
		}
	}
	w.judgements(head, batch(consent(4, sdkpb.Consent_PURPOSE_LOCATION_PRECISE, true), fix(5, 38.7223, -9.1393), beacon(6)))
	items = w.log.items(t, "phone-00001")
	if l := items[4].Location; l.Lat != 38.7223 {
		t.Errorf("with the consent: %v", l)
	}
	if b := items[5].Beacon; b.GetDistanceM() != 1.5 || b.GetRssiDbm() != -60 || b.Location.Lat != 38.7223 {
		t.Errorf("with the consent: %v", b)
	}
}

// One bad item never fails its batch.
func TestBadItemsAreRejectedOneByOne(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.installs.known["phone-00001"] = ingest.Install{Consents: everything()}
	head := auth("phone-00001", w.token("phone-00001"))
	from2035 := fix(5, 0, 0)
	from2035.OccurredMs = time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	got := w.judgements(head, batch(
		fix(1, 1, 1),
		fix(2, math.NaN(), 0),
		fix(3, 91, 0),
		fix(4, 0, math.Inf(1)),
		from2035,
		&sdkpb.Item{Seq: 6},
		&sdkpb.Item{Seq: 7, Event: &sdkpb.Event{Name: "x", PropertiesJson: "[1]"}},
		&sdkpb.Item{Seq: 8, Event: &sdkpb.Event{Name: "x"}, Lifecycle: &sdkpb.Lifecycle{State: 1}},
		&sdkpb.Item{Seq: 9, Event: &sdkpb.Event{Name: "good"}},
	))
	want := map[uint64]string{
		1: "", 2: "invalid location.lat", 3: "invalid location.lat", 4: "invalid location.lng",
		5: "invalid occurred_ms", 6: "unsupported ", 7: "invalid event.properties_json", 8: "invalid ", 9: "",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if n := len(w.log.items(t, "phone-00001")); n != 2 {
		t.Errorf("%d items logged", n)
	}
}

// The correction of the phone's clock is what the log has of an observation.
