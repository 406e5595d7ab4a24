package sdkproto_test

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

var codecs = []sdkproto.Codec{sdkproto.Protobuf{}, sdkproto.JSON{}}

func forEachCodec(t *testing.T, f func(t *testing.T, c sdkproto.Codec)) {
	for _, c := range codecs {
		t.Run(c.Subprotocol(), func(t *testing.T) { f(t, c) })
	}
}

func codeOf(err error) sdkproto.ErrorCode {
	if e, ok := errors.AsType[*sdkproto.Error](err); ok {
		return e.Code
	}
	return 0
}

func vectorFrames(t testing.TB) []*sdkpb.Frame {
	t.Helper()
	var out []*sdkpb.Frame
	for _, v := range loadVectors[encodingVector](t, "encoding.json") {
		if v.Type != "Frame" || v.DecodeOnly {
			continue
		}
		b, err := hex.DecodeString(v.PB)
		if err != nil {
			t.Fatal(err)
		}
		f := new(sdkpb.Frame)
		if err := proto.Unmarshal(b, f); err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

func TestSeveralFramesShareOneMessage(t *testing.T) {
	forEachCodec(t, func(t *testing.T, c sdkproto.Codec) {
		want := vectorFrames(t)
		var msg []byte
		for _, f := range want {
			var err error
			if msg, err = c.AppendFrame(msg, f); err != nil {
				t.Fatal(err)
			}
		}
		got, err := c.DecodeFrames(msg, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d frames, want %d", len(got), len(want))
		}
		for i := range want {
			if !proto.Equal(got[i], want[i]) {
				t.Errorf("frame %d: %v, want %v", i, got[i], want[i])
			}
		}
	})
}

func TestFramesBeforeABrokenOneAreReturned(t *testing.T) {
	forEachCodec(t, func(t *testing.T, c sdkproto.Codec) {
		msg, err := sdkproto.EncodeFrame(c, &sdkpb.Frame{Claim: &sdkpb.Claim{MessageId: "m"}})
		if err != nil {
			t.Fatal(err)
		}
		whole := len(msg)
		if msg, err = c.AppendFrame(msg, &sdkpb.Frame{Id: 9, Ping: &sdkpb.Ping{ServerMs: 1 << 40}}); err != nil {
			t.Fatal(err)
		}
		for n := whole + 2; n < len(msg); n++ {
			got, err := c.DecodeFrames(msg[:n], 0)
			if codeOf(err) != sdkproto.ErrMalformed || len(got) != 1 {
				t.Fatalf("cut to %d of %d bytes: %d frames, %v", n, len(msg), len(got), err)
			}
		}
	})
}

func TestDecodingRefusesBeforeItSpendsMemory(t *testing.T) {
	items := func(n int) []byte { return bytes.Repeat([]byte{0x2a, 0}, n) } // batch.items, empty
	frame := func(batch []byte) []byte {
		b := append([]byte{0x62}, protoLen(len(batch))...) // frame.batch
		b = append(b, batch...)
		return append(protoLen(len(b)), b...)
	}
	tests := []struct {
		name  string
		codec sdkproto.Codec
		msg   []byte
		code  sdkproto.ErrorCode
	}{
		{"pb beyond the limit", sdkproto.Protobuf{}, make([]byte, sdkproto.MaxFrameBytes+1), sdkproto.ErrTooLarge},
		{"pb 257 empty frames", sdkproto.Protobuf{}, make([]byte, 257), sdkproto.ErrTooLarge},
		{"pb 501 empty items", sdkproto.Protobuf{}, frame(items(501)), sdkproto.ErrTooLarge},
		{"pb length beyond the message", sdkproto.Protobuf{}, []byte{200, 1, 0}, sdkproto.ErrMalformed},
		{"pb length that overflows", sdkproto.Protobuf{}, bytes.Repeat([]byte{0xff}, 11), sdkproto.ErrMalformed},
		{"pb text that is not UTF-8", sdkproto.Protobuf{}, []byte{6, 0x8a, 1, 3, 0x0a, 1, 0xff}, sdkproto.ErrMalformed},
		{"json beyond the limit", sdkproto.JSON{}, make([]byte, sdkproto.MaxFrameBytes+1), sdkproto.ErrTooLarge},
		{"json 257 frames", sdkproto.JSON{}, []byte(strings.Repeat("{}\n", 257)), sdkproto.ErrTooLarge},
		{"json 501 items", sdkproto.JSON{}, []byte(`{"batch":{"items":[` + strings.Repeat("{},", 500) + `{}]}}`), sdkproto.ErrTooLarge},
		{"json 20000 objects", sdkproto.JSON{}, []byte(`{"batch":{"items":[` + strings.Repeat("{},", 19999) + `{}]}}`), sdkproto.ErrTooLarge},
		{"json nested 1000 deep", sdkproto.JSON{}, []byte(strings.Repeat("[", 1000)), sdkproto.ErrMalformed},
		{"json that is not", sdkproto.JSON{}, []byte("\x00\x01"), sdkproto.ErrMalformed},
		{"json of a wrong type", sdkproto.JSON{}, []byte(`{"batch":7}`), sdkproto.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.codec.DecodeFrames(tt.msg, 0); codeOf(err) != tt.code {
				t.Errorf("%v, want code %d", err, tt.code)
			}
		})
	}
	if got, err := (sdkproto.Protobuf{}).DecodeFrames(frame(items(500)), 0); err != nil || len(got[0].Batch.Items) != 500 {
		t.Errorf("500 items: %v", err)
	}
	for _, c := range codecs {
		body, err := c.Marshal(&sdkpb.Batch{Items: make500(501)})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Unmarshal(body, new(sdkpb.Batch)); codeOf(err) != sdkproto.ErrTooLarge {
			t.Errorf("%s body of 501 items: %v", c.ContentType(), err)
		}
		if err := c.Unmarshal([]byte("\xff"), new(sdkpb.Batch)); codeOf(err) != sdkproto.ErrMalformed {
			t.Errorf("%s body that is none: %v", c.ContentType(), err)
		}
	}
}

func make500(n int) []*sdkpb.Item {
	out := make([]*sdkpb.Item, n)
	for i := range out {
		out[i] = &sdkpb.Item{Seq: uint64(i + 1)}
	}
	return out
}

func protoLen(n int) []byte {
	var b []byte
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func TestAFrameHasExactlyOneBody(t *testing.T) {
	for _, tt := range []struct {
		frame *sdkpb.Frame
		code  sdkproto.ErrorCode
	}{
		{&sdkpb.Frame{Id: 1}, sdkproto.ErrUnknownFrame},
		{&sdkpb.Frame{Ping: &sdkpb.Ping{}}, 0},
		{&sdkpb.Frame{Ping: &sdkpb.Ping{}, Pong: &sdkpb.Pong{}}, sdkproto.ErrMalformed},
	} {
		if err := sdkproto.CheckFrame(tt.frame); codeOf(err) != tt.code {
			t.Errorf("%v: %v, want code %d", tt.frame, err, tt.code)
		}
	}
	for _, f := range vectorFrames(t)[1:] { // the first is empty
		if err := sdkproto.CheckFrame(f); err != nil {
			t.Errorf("%v: %v", f, err)
		}
	}
}

func TestCodecIsFoundByTheFirstKnownName(t *testing.T) {
	for _, tt := range []struct {
		names []string
		want  sdkproto.Codec
	}{
		{nil, nil},
		{[]string{"", "chat"}, nil},
		{[]string{"chat", "sdkproto.v1.json", "sdkproto.v1.pb"}, sdkproto.JSON{}},
		{[]string{"sdkproto.v1.pb"}, sdkproto.Protobuf{}},
		{[]string{"application/json; charset=utf-8"}, sdkproto.JSON{}},
		{[]string{"application/x-protobuf"}, sdkproto.Protobuf{}},
	} {
		if got := sdkproto.CodecFor(tt.names...); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.names, got, tt.want)
		}
	}
}

func zipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

func TestBodiesAreReadWithinTheirLimits(t *testing.T) {
	noise := make([]byte, 300_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	errBroken := errors.New("reset")
	for _, tt := range []struct {
		name     string
		body     io.Reader
		encoding string
		limit    int
		code     sdkproto.ErrorCode
		size     int
	}{
		{"plain", bytes.NewReader(noise), "", 0, 0, len(noise)},
		{"plain at the limit", bytes.NewReader(noise), "identity", len(noise), 0, len(noise)},
		{"plain beyond the limit", bytes.NewReader(noise), "", len(noise) - 1, sdkproto.ErrTooLarge, 0},
		{"gzip", bytes.NewReader(zipped(t, noise)), "gzip", 0, 0, len(noise)},
		{"gzip beyond the limit", bytes.NewReader(zipped(t, noise)), "gzip", len(noise) - 1, sdkproto.ErrTooLarge, 0},
		{"repetitive but small", bytes.NewReader(zipped(t, make([]byte, sdkproto.GzipRatioFloor))), "gzip", 0, 0, sdkproto.GzipRatioFloor},
		{"a bomb", bytes.NewReader(zipped(t, make([]byte, 400_000))), "gzip", 0, sdkproto.ErrTooLarge, 0},
		{"gzip cut short", bytes.NewReader(zipped(t, noise)[:1000]), "gzip", 0, sdkproto.ErrMalformed, 0},
		{"not gzip", strings.NewReader("hello, world"), "gzip", 0, sdkproto.ErrMalformed, 0},
		{"an encoding that is unknown", strings.NewReader("x"), "br", 0, sdkproto.ErrMalformed, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := sdkproto.ReadBody(tt.body, tt.encoding, tt.limit)
			if codeOf(err) != tt.code || (tt.code == 0) != (err == nil) || len(got) != tt.size {
				t.Errorf("%d bytes, %v; want %d, code %d", len(got), err, tt.size, tt.code)
			}
		})
	}
	for _, enc := range []string{"", "gzip"} {
		if _, err := sdkproto.ReadBody(iotest.ErrReader(errBroken), enc, 0); !errors.Is(err, errBroken) {
			t.Errorf("%q: a broken connection reads as %v", enc, err)
		}
	}
}

func TestTablesAreCompleteAndConsistent(t *testing.T) {
	for _, e := range sdkproto.Errors() {
		if e.Name == "" || e.Meaning == "" || e.Action == "" || e.HTTP < 400 || e.Code.Info() != e {
			t.Errorf("error %d: %+v", e.Code, e)
		}
	}
	for _, c := range sdkproto.Closes() {
		stops := c.Action == sdkproto.ActStop || c.Action == sdkproto.ActRetryDaily || c.Action == sdkproto.ActReregister
		if c.Name == "" || c.Meaning == "" || c.Code.Terminal() != stops || c.Code.Info() != c {
			t.Errorf("close %d: %+v", c.Code, c)
		}
	}
	if i := sdkproto.CloseCode(4999).Info(); i.Action != sdkproto.ActStop {
		t.Errorf("an unknown terminal code: %+v", i)
	}
	if i := sdkproto.CloseCode(1006).Info(); i.Action != sdkproto.ActReconnect {
		t.Errorf("a network close: %+v", i)
	}
	if i := sdkproto.ErrorCode(199).Info(); !i.Retryable {
		t.Errorf("an unknown error: %+v", i)
	}
}

func TestHelloIsChecked(t *testing.T) {
	good := func() *sdkpb.Hello {
		return &sdkpb.Hello{AppKey: "ak", InstallId: "inst-0001", Platform: sdkpb.Platform_PLATFORM_IOS, WallMs: 1}
	}
	if err := sdkproto.ValidateHello(good()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		edit  func(*sdkpb.Hello)
		code  sdkproto.ErrorCode
		field string
	}{
		{"no app key", func(h *sdkpb.Hello) { h.AppKey = "" }, sdkproto.ErrNoHello, "app_key"},
		{"a short install", func(h *sdkpb.Hello) { h.InstallId = "i" }, sdkproto.ErrNoHello, "install_id"},
		{"an install with a slash", func(h *sdkpb.Hello) { h.InstallId = "inst/0001" }, sdkproto.ErrNoHello, "install_id"},
		{"no platform", func(h *sdkpb.Hello) { h.Platform = 0 }, sdkproto.ErrNoHello, "platform"},
		{"a platform of a later version", func(h *sdkpb.Hello) { h.Platform = 99 }, sdkproto.ErrNoHello, "platform"},
		{"only a later version", func(h *sdkpb.Hello) { h.ProtoMin, h.ProtoMax = 2, 3 }, sdkproto.ErrVersion, "proto_max"},
		{"no wall clock", func(h *sdkpb.Hello) { h.WallMs = 0 }, sdkproto.ErrNoHello, "wall_ms"},
		{"a wall clock before 1970", func(h *sdkpb.Hello) { h.WallMs = -1 }, sdkproto.ErrNoHello, "wall_ms"},
		{"a former install that is none", func(h *sdkpb.Hello) { h.FormerInstall = "x" }, sdkproto.ErrNoHello, "former_install"},
		{"a former install that is this one", func(h *sdkpb.Hello) { h.FormerInstall = h.InstallId }, sdkproto.ErrNoHello, "former_install"},
		{"a push target without token", func(h *sdkpb.Hello) { h.PushTarget = &sdkpb.PushTarget{Provider: 1} }, sdkproto.ErrNoHello, "push_target.token"},
	} {
		h := good()
		tt.edit(h)
		err := sdkproto.ValidateHello(h)
		if e, ok := errors.AsType[*sdkproto.Error](err); !ok || e.Code != tt.code || e.Field != tt.field {
			t.Errorf("%s: %v, want %d of %s", tt.name, err, tt.code, tt.field)
		}
	}
	for _, zone := range []string{"", "UTC", "Europe/Amsterdam", "America/Argentina/Buenos_Aires", "Etc/GMT+1", strings.Repeat("z", 64)} {
		h := good()
		h.TimeZone = zone
		if err := sdkproto.ValidateHello(h); err != nil {
			t.Errorf("the zone %q: %v", zone, err)
		}
	}
	for _, zone := range []string{"../../etc/passwd", "/UTC", "Europe/", "Europe//Paris", "a/b/c/d", "Europe/A b", "Europe/A\x00", "Zürich", strings.Repeat("z", 65)} {
		h := good()
		h.TimeZone = zone
		err := sdkproto.ValidateHello(h)
		if e, ok := errors.AsType[*sdkproto.Error](err); !ok || e.Code != sdkproto.ErrNoHello || e.Field != "time_zone" {
			t.Errorf("the zone %q: %v", zone, err)
		}
	}
	if err := sdkproto.ValidateHello(nil); codeOf(err) != sdkproto.ErrNoHello {
		t.Errorf("nil: %v", err)
	}
}

// Skew of the phone's wall clock never moves an item of the same boot, and a
// constant skew never moves any item.
func TestASkewedWallClockMovesNothing(t *testing.T) {
	received := time.UnixMilli(1795262400000).UTC()
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		age := r.Int64N(int64(sdkproto.MaxAge / time.Millisecond))
		skew := r.Int64N(1<<41) - 1<<40
		mono := r.Int64N(1<<40) + 1
		sent := received.UnixMilli() + skew
		if sent < age+1 {
			continue
		}
		want := received.Add(-time.Duration(age) * time.Millisecond)
		item := &sdkpb.Item{OccurredMs: sent - age, MonoMs: mono, BootId: "b"}
		batch := &sdkpb.Batch{SentMs: sent, SentMonoMs: mono + age, BootId: "b"}
		if at, how := sdkproto.CorrectedTime(item, batch, received); !at.Equal(want) || how != sdkproto.HowMono {
			t.Fatalf("same boot, age %d, skew %d: %v by %s", age, skew, at, how)
		}
		item.BootId = "a"
		if at, how := sdkproto.CorrectedTime(item, batch, received); !at.Equal(want) || how != sdkproto.HowSent {
			t.Fatalf("other boot, age %d, skew %d: %v by %s", age, skew, at, how)
		}
	}
}

func fuzzDecode(f *testing.F, c sdkproto.Codec) {
	for _, fr := range vectorFrames(f) {
		msg, err := sdkproto.EncodeFrame(c, fr)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		frames, err := c.DecodeFrames(msg, 0)
		if err != nil {
			if code := codeOf(err); code != sdkproto.ErrMalformed && code != sdkproto.ErrTooLarge {
				t.Fatalf("error without a code: %v", err)
			}
		}
		if len(frames) > sdkproto.MaxFramesPerWSMsg {
			t.Fatalf("%d frames", len(frames))
		}
		var again []byte
		for _, fr := range frames {
			_ = sdkproto.CheckFrame(fr)
			if len(fr.GetBatch().GetItems()) > sdkproto.MaxBatchItems {
				t.Fatalf("%d items", len(fr.Batch.Items))
			}
			for _, item := range fr.GetBatch().GetItems() {
				received := time.UnixMilli(1795262400000)
				at, how := sdkproto.CorrectedTime(item, fr.Batch, received)
				if at.After(received) || received.Sub(at) > sdkproto.MaxAge || how == "" {
					t.Fatalf("%v by %s", at, how)
				}
				if bad := sdkproto.ValidateItem(item, fr.Batch, received); bad != nil && (bad.Code == "" || bad.Reason == "") {
					t.Fatalf("reject without code or reason: %v", bad)
				}
			}
			var err error
			if again, err = c.AppendFrame(again, fr); err != nil {
				t.Fatalf("decoded but not encodable: %v", err)
			}
		}
		back, err := c.DecodeFrames(again, 16*len(again)+16)
		if err != nil || len(back) != len(frames) {
			t.Fatalf("encoded again: %d frames, %v; want %d", len(back), err, len(frames))
		}
	})
}

func FuzzDecodeFramesProtobuf(f *testing.F) { fuzzDecode(f, sdkproto.Protobuf{}) }

func FuzzDecodeFramesJSON(f *testing.F) { fuzzDecode(f, sdkproto.JSON{}) }

func BenchmarkDecodeBatch(b *testing.B) {
	items := make([]*sdkpb.Item, 20)
	for i := range items {
		items[i] = &sdkpb.Item{
			ItemId: "019aa5c0-0000-7000-8000-000000000001", Seq: uint64(i + 1), OccurredMs: 1795262400000, MonoMs: 1e6, BootId: "b1",
			Location: &sdkpb.Location{Lat: 52.5, Lng: 13.4, AccuracyM: 12},
		}
	}
	for _, c := range codecs {
		b.Run(c.Subprotocol(), func(b *testing.B) {
			msg, err := sdkproto.EncodeFrame(c, &sdkpb.Frame{Id: 1, Batch: &sdkpb.Batch{SentMs: 1795262400000, Items: items}})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.DecodeFrames(msg, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// README.md is the specification: its tables are those of the code.
func TestTheSpecificationListsEveryCode(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, e := range sdkproto.Errors() {
		if row := fmt.Sprintf("| %d | `%s` | %d | %s | %s |", e.Code, e.Name, e.HTTP, e.Meaning, e.Action); !strings.Contains(text, row) {
			t.Errorf("README.md lacks %s", row)
		}
	}
	for _, c := range sdkproto.Closes() {
		if row := fmt.Sprintf("| %d | `%s` | %s | %s |", c.Code, c.Name, c.Meaning, c.Action); !strings.Contains(text, row) {
			t.Errorf("README.md lacks %s", row)
		}
	}
}
