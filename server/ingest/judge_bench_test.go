package ingest

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// BenchmarkJudge is what the gateway does to an item between the decoder and the
// log.
func BenchmarkJudge(b *testing.B) {
	m, err := newMetrics(nil, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	g := &Gateway{metrics: m}
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	batch := &sdkpb.Batch{SentMs: now.UnixMilli()}
	const n = 20
	for i := range n {
		batch.Items = append(batch.Items, &sdkpb.Item{
			ItemId: "item", Seq: uint64(i + 1), OccurredMs: now.UnixMilli(),
			Location: &sdkpb.Location{Lat: 1, Lng: 2, AccuracyM: 10},
		})
	}
	raw, err := proto.Marshal(batch)
	if err != nil {
		b.Fatal(err)
	}
	in := &install{entryKey: "acme/i:phone"}
	for i := range in.view.answers {
		in.view.answers[i].yes = 1
	}
	b.Run("judge", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			v := in.view
			if j := g.judge(&v, in, &App{}, batch, now, nil); len(j.entries) != n {
				b.Fatal(j.rejects)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/item")
	})
	b.Run("decode", func(b *testing.B) { // the anchor beside it
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(raw, new(sdkpb.Batch)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/item")
	})
}
