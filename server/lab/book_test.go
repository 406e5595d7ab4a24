package lab

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

func fixItem(seq uint64) *sdkpb.Item { return &sdkpb.Item{Seq: seq, Location: &sdkpb.Location{}} }

func TestABookTestifiesWhatHappened(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(1_000_000 + int64(ms)) }
	b := &book{acks: &Histogram{}}
	lifecycle := &sdkpb.Item{Seq: 3, Lifecycle: &sdkpb.Lifecycle{}}
	event := &sdkpb.Item{Seq: 4, RegionEvent: &sdkpb.RegionEvent{}}
	b.wrote([]*sdkpb.Item{fixItem(1), fixItem(2)}, false, at(0))
	b.wrote([]*sdkpb.Item{fixItem(2)}, false, at(10)) // again, after a reconnect
	b.ack(fixItem(1), at(5))
	b.ack(fixItem(2), at(30))
	b.wrote([]*sdkpb.Item{lifecycle, event}, true, at(40))
	b.answered(nil, at(60))
	b.refuse(event, &sdkpb.Reject{Code: "consent_missing", Field: "location"})
	b.drop(fixItem(5))
	b.arrive(&sdkpb.Message{MessageId: "m1", Kind: sdkpb.Message_KIND_IN_APP})
	b.wrote([]*sdkpb.Item{fixItem(6)}, false, at(70))
	b.arrive(&sdkpb.Message{MessageId: "m1", Kind: sdkpb.Message_KIND_IN_APP}) // a repeat has no new cause
	for _, s := range []struct {
		id, via string
		first   bool
	}{{"m1", "in_app", true}, {"m2", "fcm", true}, {"m1", "fcm", false}} {
		if b.show(s.id, s.via, at(90)) != s.first {
			t.Errorf("%s by %s: not first=%v", s.id, s.via, s.first)
		}
	}
	b.wrote([]*sdkpb.Item{lifecycle}, true, at(100))
	b.answered(errors.New("no network"), at(101))

	var r PhoneReport
	b.report(&r)
	if got := maps.Collect(r.Acked()); len(got) != 2 || got[1] != sdkproto.KindLocation || got[2] != sdkproto.KindLocation {
		t.Errorf("acked %v", got)
	}
	if len(r.Refusals) != 1 || r.Refusals[0] != (Refusal{4, sdkproto.KindRegionEvent, "consent_missing", "location"}) {
		t.Errorf("refusals %+v", r.Refusals)
	}
	if len(r.Posts) != 2 || r.Posts[0] != (Post{Start: at(40), End: at(60), Items: 2, Evidence: 1}) || !r.Posts[1].Failed {
		t.Errorf("posts %+v", r.Posts)
	}
	if len(r.Shown) != 2 || r.Shown[0].Times != 2 || r.Shown[1].Times != 1 || r.Shown[0].Via != "in_app" {
		t.Errorf("shown %+v", r.Shown)
	}
	if d, ok := r.Shown[0].Latency(); !ok || d != 50*time.Millisecond {
		t.Errorf("in-app latency %v %v, want 50ms from the evidence before it arrived", d, ok)
	}
	if _, ok := r.Shown[1].Latency(); ok {
		t.Error("a push has an in-app latency")
	}
	if e, ok := r.CauseBefore(at(65)); !ok || !e.Post || e.Seq != 4 {
		t.Errorf("cause before 65: %+v", e)
	}
	if _, ok := r.CauseBefore(at(0)); ok {
		t.Error("something caused the beginning")
	}
	tt := r.Totals
	if tt.Sent[sdkproto.KindLocation] != 3 || tt.Acked[sdkproto.KindLocation] != 2 || tt.Refused[sdkproto.KindRegionEvent] != 1 ||
		tt.Dropped[sdkproto.KindLocation] != 1 || tt.RefusedBy["consent_missing"] != 1 || tt.Posts != 2 || tt.PostsFailed != 1 ||
		tt.Duplicates != 1 || tt.Shown["in_app"] != 1 || tt.Shown["fcm"] != 1 {
		t.Errorf("totals %+v", tt)
	}
	if b.acks.Count() != 2 {
		t.Errorf("%d ack latencies", b.acks.Count())
	}
}

func TestABookForgetsOldEvidenceOnly(t *testing.T) {
	b := &book{}
	for i := range uint64(3 * maxEvidence) {
		b.wrote([]*sdkpb.Item{fixItem(i + 1)}, true, time.UnixMilli(int64(i)))
		b.ack(fixItem(i+1), time.UnixMilli(int64(i)))
	}
	var r PhoneReport
	b.report(&r)
	if n := len(r.Evidence); n > maxEvidence || n < maxEvidence/2 || r.Evidence[n-1].Seq != 3*maxEvidence {
		t.Errorf("%d entries of evidence, the last %+v", n, r.Evidence[n-1])
	}
	if n := len(maps.Collect(r.Acked())); n != 3*maxEvidence {
		t.Errorf("%d acks remembered", n)
	}
}

func TestHistogramQuantilesAreWithinTheirBucket(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("nothing has a median")
	}
	for i := 1; i <= 1000; i++ {
		h.Add(time.Duration(i) * time.Millisecond)
	}
	h.Add(0)
	h.Add(1000 * time.Hour)
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.95: 950 * time.Millisecond, 0.99: 990 * time.Millisecond} {
		if got := h.Quantile(q); got < want*99/100 || got > want*105/100 {
			t.Errorf("quantile %v is %v, want about %v", q, got, want)
		}
	}
}
