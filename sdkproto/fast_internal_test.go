package sdkproto

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

func fixFrame() *sdkpb.Frame {
	return &sdkpb.Frame{Id: 7, DownAck: 1 << 40, Batch: &sdkpb.Batch{
		BatchId: "b-1", Attempt: 3, SentMs: 1_780_000_000_123, SentMonoMs: 77_000, BootId: "boot é",
		Items: []*sdkpb.Item{{
			ItemId: "item-1", Seq: 9_000, OccurredMs: 1_780_000_000_100, MonoMs: 76_990, BootId: "boot é",
			Location: &sdkpb.Location{
				Lat: 52.37, Lng: -4.89, AccuracyM: 8, SpeedMps: new(0.0), BearingDeg: new(359.9), AltitudeM: new(math.Copysign(0, -1)), Mocked: true,
			},
		}},
	}}
}

func encoded(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// agree fails unless the short way gives nothing, or what the general way gives.
func agree(tb testing.TB, b []byte) (short bool) {
	tb.Helper()
	got := decodeSingle(b)
	var want sdkpb.Frame
	err := proto.Unmarshal(b, &want)
	if got != nil && (err != nil || !proto.Equal(got, &want)) {
		tb.Fatalf("%x: the short way gives %v, the general way %v, %v", b, got, &want, err)
	}
	item, shortErr := UnmarshalItem(b)
	var wantItem sdkpb.Item
	if err := proto.Unmarshal(b, &wantItem); (err == nil) != (shortErr == nil) || err == nil && !proto.Equal(item, &wantItem) {
		tb.Fatalf("%x: UnmarshalItem gives %v, %v; the general way %v, %v", b, item, shortErr, &wantItem, err)
	}
	if fix, is := ReadFix(b); is {
		l := wantItem.GetLocation()
		want := Fix{wantItem.GetSeq(), l.GetLat(), l.GetLng(), l.GetAccuracyM(), l.GetMocked()}
		// Bits, since a number may be none.
		same := fix.Seq == want.Seq && fix.Mocked == want.Mocked && math.Float64bits(fix.Lat) == math.Float64bits(want.Lat) &&
			math.Float64bits(fix.Lng) == math.Float64bits(want.Lng) && math.Float64bits(fix.AccuracyM) == math.Float64bits(want.AccuracyM)
		if err := proto.Unmarshal(b, &wantItem); err != nil || !onlyLocation(&wantItem) || !same {
			tb.Fatalf("%x: ReadFix gives %+v; the general way %v, %v", b, fix, &wantItem, err)
		}
	}
	msg := protowire.AppendBytes(nil, b)
	agreed(tb, msg)
	if agreed(tb, append(msg, msg...)) && got != nil {
		tb.Fatalf("%x: two frames were decoded into the memory of one", b)
	}
	return got != nil
}

// again has decoded whatever came before.
var again Decoder

// agreed fails unless a decoder that was used gives what the codec gives; own reports
// that it did so in its own memory.
func agreed(tb testing.TB, msg []byte) (own bool) {
	tb.Helper()
	got, err := again.DecodeFrames(Protobuf{}, msg, 0)
	want, wantErr := Protobuf{}.DecodeFrames(msg, 0)
	if len(got) != len(want) || (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		tb.Fatalf("%x: a decoder gives %v, %v; its codec %v, %v", msg, got, err, want, wantErr)
	}
	for i := range got {
		if !proto.Equal(got[i], want[i]) {
			tb.Fatalf("%x: a decoder gives %v; its codec %v", msg, got[i], want[i])
		}
	}
	return len(got) > 0 && got[0] == &again.single.frame
}

func TestADecoderKeepsNothingOfTheMessageBefore(t *testing.T) {
	first, err := again.DecodeFrames(Protobuf{}, protowire.AppendBytes(nil, encoded(t, fixFrame())), 0)
	if err != nil || first[0] != &again.single.frame {
		t.Fatalf("%v: it was not decoded into memory that is used again", err)
	}
	id, batch := first[0].Batch.Items[0].ItemId, first[0].Batch.BatchId
	least := &sdkpb.Frame{Batch: &sdkpb.Batch{Items: []*sdkpb.Item{{Location: &sdkpb.Location{}}}}}
	if !agreed(t, protowire.AppendBytes(nil, encoded(t, least))) {
		t.Fatal("it was not decoded into memory that is used again")
	}
	if id != "item-1" || batch != "b-1" {
		t.Errorf("the texts of the message before are %q and %q by now", id, batch)
	}
	// What was begun and left to the general way is not there either.
	agreed(t, protowire.AppendBytes(nil, append(encoded(t, fixFrame()), 0x08, 0x80)))
	agreed(t, protowire.AppendBytes(nil, encoded(t, &sdkpb.Frame{Ping: &sdkpb.Ping{}})))
	agreed(t, protowire.AppendBytes(nil, encoded(t, least)))
	if _, err := again.DecodeFrames(Protobuf{}, protowire.AppendBytes(nil, encoded(t, fixFrame())), 10); err == nil {
		t.Error("a limit of ten bytes did not hold")
	}
}

func TestTheShortWayGivesWhatTheGeneralWayGives(t *testing.T) {
	whole := encoded(t, fixFrame())
	if !agree(t, whole) {
		t.Fatal("a frame of one position did not go the short way")
	}
	if !agree(t, encoded(t, &sdkpb.Frame{Batch: &sdkpb.Batch{Items: []*sdkpb.Item{{Location: &sdkpb.Location{}}}}})) {
		t.Error("an empty position did not go the short way")
	}
	item := encoded(t, fixFrame().Batch.Items[0])
	agree(t, item)
	if fix, is := ReadFix(item); !is || fix != (Fix{9_000, 52.37, -4.89, 8, true}) {
		t.Errorf("ReadFix gives %+v, %v", fix, is)
	}
	for _, change := range []func(*sdkpb.Frame){
		func(f *sdkpb.Frame) { f.Ping = &sdkpb.Ping{} },
		func(f *sdkpb.Frame) { f.Batch = nil },
		func(f *sdkpb.Frame) { f.Batch.Items = nil },
		func(f *sdkpb.Frame) { f.Batch.Items = append(f.Batch.Items, f.Batch.Items[0]) },
		func(f *sdkpb.Frame) { f.Batch.RegionsAck = &sdkpb.RegionsAck{} },
		func(f *sdkpb.Frame) { f.Batch.InboxCursor = new("") },
		func(f *sdkpb.Frame) { f.Batch.Items[0].Event = &sdkpb.Event{Name: "x"} },
		func(f *sdkpb.Frame) { f.Batch.Items[0].Location = nil },
		func(f *sdkpb.Frame) { f.Batch.Items[0].ItemId = string(bytes.Repeat([]byte("x"), 600)) },
		func(f *sdkpb.Frame) {
			f.Batch.Items[0].Location.ProtoReflect().SetUnknown(protoreflect.RawFields(protowire.AppendVarint(protowire.AppendTag(nil, 90, protowire.VarintType), 1)))
		},
	} {
		f := fixFrame()
		change(f)
		if agree(t, encoded(t, f)) {
			t.Errorf("%v went the short way", f)
		}
	}
	// A field twice, a message twice, negative and bad text.
	for _, more := range [][]byte{
		protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 12),
		protowire.AppendBytes(protowire.AppendTag(nil, 12, protowire.BytesType), []byte{}),
		protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), math.MaxUint64),
		protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), 1),
		{0x08, 0x80},
		{0x00},
		{0x0b, 0x0c},
	} {
		agree(t, append(bytes.Clone(whole), more...))
	}
	r := rand.New(rand.NewPCG(1, 2))
	short := 0
	for range 20_000 {
		b := bytes.Clone(whole)
		if r.IntN(4) == 0 {
			b = bytes.Clone(item)
		}
		for range 1 + r.IntN(3) {
			switch i := r.IntN(len(b)); r.IntN(3) {
			case 0:
				b[i] = byte(r.Uint32())
			case 1:
				b = append(b[:i], b[i+1:]...)
			default:
				b = append(b[:i:i], append([]byte{byte(r.Uint32())}, b[i:]...)...)
			}
		}
		if agree(t, b) {
			short++
		}
	}
	if short < 100 {
		t.Errorf("only %d of the broken frames went the short way: this compares nothing", short)
	}
}

func TestAnItemIsEncodedAsEveryMessageIs(t *testing.T) {
	items := []*sdkpb.Item{
		fixFrame().Batch.Items[0],
		{},
		{Location: &sdkpb.Location{}},
		{Event: &sdkpb.Event{Name: "x"}},
		{Location: &sdkpb.Location{}, Event: &sdkpb.Event{Name: "x"}},
		{OccurredMs: -1, MonoMs: math.MinInt64, Seq: math.MaxUint64, Location: &sdkpb.Location{Lat: math.Copysign(0, -1), Lng: math.NaN(), AccuracyM: math.Inf(1)}},
	}
	// Every field that there is, whenever it comes to be, is either written or left to
	// the general way.
	fields := (&sdkpb.Item{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		fd, item := fields.Get(i), fixFrame().Batch.Items[0]
		if fd.Message() != nil {
			item.ProtoReflect().Set(fd, item.ProtoReflect().NewField(fd))
		} else {
			item.ProtoReflect().Set(fd, some(fd))
		}
		items = append(items, item)
	}
	fields = (&sdkpb.Location{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		item := &sdkpb.Item{Location: &sdkpb.Location{}}
		item.Location.ProtoReflect().Set(fields.Get(i), some(fields.Get(i)))
		items = append(items, item)
	}
	unknown := fixFrame().Batch.Items[0]
	unknown.Location.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 90, protowire.VarintType), 1))
	for _, item := range append(items, unknown) {
		got, err := AppendItem([]byte("before"), item)
		if err != nil {
			t.Fatal(err)
		}
		if want := append([]byte("before"), encoded(t, item)...); !bytes.Equal(got, want) {
			t.Errorf("%v: %x, want %x", item, got, want)
		}
	}
	if _, err := AppendItem(nil, &sdkpb.Item{ItemId: "\xff", Location: &sdkpb.Location{}}); err == nil {
		t.Error("text that is not UTF-8 was encoded")
	}
}

func TestAPositionBesideAnotherBodyIsNoPosition(t *testing.T) {
	fields := (&sdkpb.Item{}).ProtoReflect().Descriptor().Fields()
	bodies := 0
	for i := range fields.Len() {
		fd, item := fields.Get(i), fixFrame().Batch.Items[0]
		if fd.Message() == nil {
			item.ProtoReflect().Set(fd, some(fd))
		} else if bodies++; fd.Number() != itemLocation {
			item.ProtoReflect().Set(fd, item.ProtoReflect().NewField(fd))
		}
		kind, reject := ItemBody(item)
		if lone := fd.Message() == nil || fd.Number() == itemLocation; lone != (reject == nil) || lone && kind != KindLocation {
			t.Errorf("with %s it is of kind %q, %v", fd.Name(), kind, reject)
		}
		if n := itemSize(item); n < proto.Size(item) {
			t.Errorf("with %s it takes %d bytes, not %d", fd.Name(), proto.Size(item), n)
		}
	}
	if bodies != 13 {
		t.Errorf("%d bodies: does onlyLocation know all?", bodies)
	}
	large := fixFrame().Batch.Items[0]
	large.Location.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 90, protowire.BytesType), make([]byte, MaxItemBytes)))
	if itemSize(large) != proto.Size(large) {
		t.Error("the size of a large item is not exact")
	}
	if _, reject := ItemBody(nil); reject == nil {
		t.Error("no item has a body")
	}
}

func FuzzShortWay(f *testing.F) {
	f.Add(encoded(f, fixFrame()))
	f.Add(encoded(f, fixFrame().Batch.Items[0]))
	f.Fuzz(func(t *testing.T, b []byte) { agree(t, b) })
}

func TestAnAckIsEncodedAsEveryFrameIs(t *testing.T) {
	acks := []*sdkpb.Ack{
		{},
		{ThroughSeq: 5},
		{BatchId: "b", ThroughSeq: math.MaxUint64, Credit: new(uint32(0)), ServerMs: -1, RetryAfterMs: math.MaxUint32},
		{ServerMs: 1_780_000_000_123, Credit: new(uint32(500))},
		{Rejects: []*sdkpb.Reject{{Seq: 1}}},
		{BatchId: string(bytes.Repeat([]byte("é"), 200))},
	}
	frames := []*sdkpb.Frame{{Ack: acks[1], Ping: &sdkpb.Ping{}}, {Ping: &sdkpb.Ping{}}, {}}
	for _, a := range acks {
		frames = append(frames, &sdkpb.Frame{Ack: a}, &sdkpb.Frame{Id: 1, Re: 1 << 60, Seq: 300, DownAck: 4, Ack: a})
	}
	// Every field that an ack has, whenever it comes to be, is either written or left to
	// the general way.
	fields := (&sdkpb.Ack{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		fd, a := fields.Get(i), &sdkpb.Ack{}
		if fd.IsList() || fd.Message() != nil {
			continue
		}
		a.ProtoReflect().Set(fd, some(fd))
		frames = append(frames, &sdkpb.Frame{Ack: a})
	}
	fields = (&sdkpb.Frame{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		fd, f := fields.Get(i), &sdkpb.Frame{Ack: &sdkpb.Ack{ThroughSeq: 3}}
		if fd.Message() != nil {
			f.ProtoReflect().Set(fd, f.ProtoReflect().NewField(fd))
		} else {
			f.ProtoReflect().Set(fd, some(fd))
		}
		frames = append(frames, f)
	}
	for _, f := range frames {
		got, err := Protobuf{}.AppendFrame([]byte("before"), f)
		if err != nil {
			t.Fatal(err)
		}
		if want := protowire.AppendBytes([]byte("before"), encoded(t, f)); !bytes.Equal(got, want) {
			t.Errorf("%v: %x, want %x", f, got, want)
		}
	}
	if _, err := (Protobuf{}).AppendFrame(nil, &sdkpb.Frame{Ack: &sdkpb.Ack{BatchId: "\xff"}}); err == nil {
		t.Error("text that is not UTF-8 was encoded")
	}
}

// some is a value of a field that is not its default.
func some(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("x")
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(300)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(300)
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(1.5)
	}
	return protoreflect.ValueOfUint64(300)
}

func BenchmarkDecodeFix(b *testing.B) {
	msg, err := Protobuf{}.AppendFrame(nil, fixFrame())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("short", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if frames, err := (Protobuf{}).DecodeFrames(msg, 0); err != nil || len(frames) != 1 {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) { // as the gateway does
		var d Decoder
		b.ReportAllocs()
		for b.Loop() {
			if frames, err := d.DecodeFrames(Protobuf{}, msg, 0); err != nil || len(frames) != 1 {
				b.Fatal(err)
			}
		}
	})
	b.Run("general", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if proto.Unmarshal(msg[2:], &sdkpb.Frame{}) != nil {
				b.Fatal("not a frame")
			}
		}
	})
}

func BenchmarkEncodeFix(b *testing.B) {
	item := fixFrame().Batch.Items[0]
	buf := make([]byte, 0, 300)
	b.Run("short", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf, _ = AppendItem(buf[:0], item)
		}
	})
	b.Run("general", func(b *testing.B) {
		for b.Loop() {
			_ = proto.Size(item)
			buf, _ = proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(buf[:0], item)
		}
	})
}

func BenchmarkEncodeAck(b *testing.B) {
	f := &sdkpb.Frame{Re: 1000, Ack: &sdkpb.Ack{ThroughSeq: 1000, ServerMs: 1_780_000_000_123}}
	buf := make([]byte, 0, 100)
	b.Run("short", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf, _ = Protobuf{}.AppendFrame(buf[:0], f)
		}
	})
	b.Run("general", func(b *testing.B) {
		for b.Loop() {
			buf = protowire.AppendVarint(buf[:0], uint64(proto.Size(f)))
			buf, _ = proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(buf, f)
		}
	})
}
