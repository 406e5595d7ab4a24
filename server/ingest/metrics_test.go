package ingest

import (
	"testing"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Whatever body an item may have, it is counted.
func TestMetricsCountEveryKind(t *testing.T) {
	m, err := newMetrics(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	kinds := 0
	fields := (&sdkpb.Item{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Message() == nil {
			continue // its seq, its times
		}
		item := &sdkpb.Item{Seq: 1}
		item.ProtoReflect().Set(f, item.ProtoReflect().NewField(f))
		kind, reject := sdkproto.ItemBody(item)
		if reject != nil {
			t.Fatalf("%s: %v", f.Name(), reject)
		}
		kinds++
		if m.byKind[kind] == nil {
			t.Errorf("%s: items of kind %q are not counted", f.Name(), kind)
		}
	}
	if kinds == 0 {
		t.Error("no kinds")
	}
}
