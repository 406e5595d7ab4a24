package sdkproto_test

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// BenchmarkValidateFix is the check of the most frequent item, with every field
// that a phone can fill in.
func BenchmarkValidateFix(b *testing.B) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	batch := &sdkpb.Batch{SentMs: now.UnixMilli()}
	item := &sdkpb.Item{
		ItemId: "1", Seq: 1, OccurredMs: now.UnixMilli(),
		Location: &sdkpb.Location{
			Lat: 52.37, Lng: 4.9, AccuracyM: 12,
			SpeedMps: new(1.3), BearingDeg: new(90.0), AltitudeM: new(3.0),
		},
	}
	b.ReportAllocs()
	for b.Loop() {
		if bad := sdkproto.ValidateItem(item, batch, now); bad != nil {
			b.Fatal(bad)
		}
	}
}
