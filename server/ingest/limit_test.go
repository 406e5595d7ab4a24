package ingest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/ingest"
)

// Two registrations at once, one per 5 s: a socket and a POST beyond them are
// told when to come again, and those who are registered come in as before.
func TestWhoRegistersTooFastIsToldToWait(t *testing.T) {
	w := newWorld(t, ingest.Limits{RegisterRate: 0.2, RegisterBurst: 2})
	known := w.token("phone-00001")
	w.open("phone-00002", sdkproto.Protobuf{})
	reply, status := w.post(sdkproto.PathInstall, hello("phone-00003"), nil)
	if status != 429 || reply.Error.GetCode() != uint32(sdkproto.ErrRate) || reply.Error.RetryAfterMs != 5000 || reply.HelloOk != nil {
		t.Errorf("POST: %d %v", status, reply)
	}
	r := w.dial(sdkproto.JSON{})
	r.send(&sdkpb.Frame{Id: 1, Hello: hello("phone-00003")})
	errs, code := r.closed()
	if code != sdkproto.CloseRate || len(errs) != 1 || errs[0].Code != uint32(sdkproto.ErrRate) || errs[0].RetryAfterMs != 5000 {
		t.Errorf("closed with %d after %v", code, errs)
	}
	back := hello("phone-00001")
	back.DeviceToken = known
	if reply, status := w.post(sdkproto.PathInstall, back, nil); status != 200 || reply.HelloOk == nil {
		t.Errorf("a registered phone: %d %v", status, reply)
	}
	w.clock.Advance(5 * time.Second)
	w.token("phone-00003")
	if _, status := w.post(sdkproto.PathInstall, hello("phone-00004"), nil); status != 429 {
		t.Errorf("a second one after 5 s: %d", status)
	}
	if got := w.measured()["footfall_ingest_limited_total registrations"]; got != 3 {
		t.Errorf("%v were counted", got)
	}
}

// A batch beyond the install's rate is refused whole, and taken when it comes
// again in time; another install is not held up.
func TestAnInstallThatSendsTooFastLosesNothing(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
		w := newWorld(t, ingest.Limits{ItemRate: 100, ItemBurst: 600})
		r := w.open("phone-00001", codec)
		events := func(from, n int) *sdkpb.Batch {
			b := batch()
			for i := range n {
				b.Items = append(b.Items, &sdkpb.Item{Seq: uint64(from + i), Event: &sdkpb.Event{Name: "x"}})
			}
			return b
		}
		send := func(id uint64, b *sdkpb.Batch) *sdkpb.Frame {
			r.send(&sdkpb.Frame{Id: id, Batch: b})
			return r.next()
		}
		if f := send(2, events(1, 400)); f.Ack == nil {
			t.Fatalf("within the burst: %v", f)
		}
		f := send(3, events(401, 400))
		if f.Re != 3 || f.Error.GetCode() != uint32(sdkproto.ErrRate) || f.Error.RetryAfterMs != 2000 || f.Error.Field != "batch.items" || !f.Error.Retryable {
			t.Fatalf("beyond it: %v", f)
		}
		if f := send(4, events(801, 1)); f.Error.GetCode() != uint32(sdkproto.ErrRate) || f.Error.RetryAfterMs != 2000 {
			t.Fatalf("a later one that would fit overtakes it: %v", f)
		}
		w.clock.Advance(2 * time.Second)
		if f := send(5, events(401, 200)); f.Ack == nil || f.Ack.ThroughSeq != 600 { // a refusal costs neither credit nor rate
			t.Fatalf("what is left of it: %v", f)
		}
		head := auth("phone-00002", w.token("phone-00002"))
		if reply, status := w.post(sdkproto.PathBatch, events(1, 500), head); status != 200 || reply.Ack == nil {
			t.Errorf("another install: %d", status)
		}
		if reply, status := w.post(sdkproto.PathBatch, events(501, 200), head); status != 429 || reply.Error.GetRetryAfterMs() != 1000 {
			t.Errorf("a POST beyond it: %d %v", status, reply)
		}
		w.clock.Advance(4 * time.Second)
		if f := send(6, events(601, 400)); f.Ack == nil || f.Ack.ThroughSeq != 1000 {
			t.Errorf("in time: %v", f)
		}
		if n := len(w.log.items(t, "phone-00001")); n != 1000 {
			t.Errorf("%d items logged", n)
		}
		if got := w.measured()["footfall_ingest_limited_total items"]; got != 2 {
			t.Errorf("%v were counted", got)
		}
	})
}

// A real client that is held up brings everything in the end.
func TestARealClientWaitsForItsRate(t *testing.T) {
	w := newWorld(t, ingest.Limits{ItemRate: 1000, ItemBurst: 500, RetryAfter: time.Millisecond})
	p := w.phone("phone-00001", sdkproto.Protobuf{}, nil)
	for i := range 1200 {
		if _, err := p.Track(fmt.Sprint("event-", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Foreground(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "a refusal", func() bool { return w.measured()["footfall_ingest_limited_total items"] > 0 })
	until(t, "empty queue", func() bool {
		w.clock.Advance(100 * time.Millisecond)
		return p.Pending() == 0
	})
	seen := map[uint64]bool{}
	for _, item := range w.log.items(t, "phone-00001") {
		seen[item.Seq] = true
	}
	if len(seen) < 1200 {
		t.Errorf("%d different items logged, want 1200", len(seen))
	}
}
