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
	body := (&sdkpb.Item{}).ProtoReflect().Descriptor().Oneofs().ByName("body")
	if body == nil || body.Fields().Len() == 0 {
		t.Fatal("items have no oneof body")
	}
	for i := range body.Fields().Len() {
		f := body.Fields().Get(i)
		item := &sdkpb.Item{Seq: 1}
		item.ProtoReflect().Set(f, item.ProtoReflect().NewField(f))
		kind, reject := sdkproto.ItemBody(item)
		if reject != nil {
			t.Fatalf("%s: %v", f.Name(), reject)
		}
		if m.byKind[kind] == nil {
			t.Errorf("%s: items of kind %q are not counted", f.Name(), kind)
		}
	}
}
