package ingest_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
)

// unlimited is for a clock that stands still, with which no limit is ever lifted.
var unlimited = ingest.Limits{ItemRate: 1e9, ItemBurst: 1e9, RegisterRate: 1e9, RegisterBurst: 1e9}

// Whatever bytes an authenticated phone sends, the answer is of the protocol,
// its neighbour goes on, and nothing enters the log that cannot be read back.
func FuzzSessionBytes(f *testing.F) {
	w := newWorld(f, unlimited)
	w.installs.known["fuzz-phone-1"] = ingest.Install{Consents: map[engage.Purpose]bool{engage.ConsentLocationForeground: true}}
	tokens := map[string]string{}
	for i := range 2 {
		id := fmt.Sprintf("fuzz-phone-%d", i)
		tokens[id] = w.token(id)
	}
	neighbour := w.open("neighbour-1", sdkproto.Protobuf{})
	for _, fr := range []*sdkpb.Frame{
		{Id: 1, Batch: batch(fix(1, 1, 1), consent(2, sdkpb.Consent_PURPOSE_LOCATION_PRECISE, true), region(3))},
		{Id: 2, Claim: &sdkpb.Claim{MessageId: "m"}},
		{Id: 3, Ping: &sdkpb.Ping{}},
		{Hello: hello("fuzz-phone-0")},
		{RegionsAck: &sdkpb.RegionsAck{Etag: "e"}},
	} {
		for i, c := range []sdkproto.Codec{sdkproto.Protobuf{}, sdkproto.JSON{}} {
			b, err := sdkproto.EncodeFrame(c, fr)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, i == 1)
			f.Add(b[:len(b)/2], i == 1)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, asJSON bool) {
		codec, id, kind := sdkproto.Codec(sdkproto.Protobuf{}), "fuzz-phone-0", websocket.BinaryMessage
		if asJSON {
			codec, id, kind = sdkproto.JSON{}, "fuzz-phone-1", websocket.TextMessage
		}
		w.t, neighbour.t = t, t
		r := w.dial(codec)
		h := hello(id)
		h.DeviceToken = tokens[id]
		r.send(&sdkpb.Frame{Id: 1, Hello: h})
		r.next()
		r.sendBytes(kind, b)
		ping, err := sdkproto.EncodeFrame(codec, &sdkpb.Frame{Id: 1 << 60, Ping: &sdkpb.Ping{}})
		if err != nil {
			t.Fatal(err)
		}
		_ = r.conn.WriteMessage(kind, ping)
		for {
			fr, err := r.read()
			if err != nil {
				if !websocket.IsCloseError(err, int(sdkproto.CloseMalformed), int(sdkproto.CloseTooLarge)) {
					t.Fatalf("ended with %v", err)
				}
				break
			}
			if fr.Pong != nil && fr.Re == 1<<60 {
				break
			}
		}
		neighbour.send(&sdkpb.Frame{Id: 3, Ping: &sdkpb.Ping{}})
		if fr := neighbour.next(); fr.Pong == nil {
			t.Fatalf("the neighbour got %v", fr)
		}
		for _, i := range w.log.items(t, id) {
			if bad := sdkproto.ValidateItem(i, nil, noon); bad != nil && bad.Field != "occurred_ms" {
				t.Fatalf("in the log: %v", bad)
			}
		}
		w.log.set(func() { w.log.entries = nil })
	})
}

func FuzzPostBytes(f *testing.F) {
	w := newWorld(f, unlimited)
	w.installs.known["phone-00001"] = ingest.Install{Consents: everything()}
	head := auth("phone-00001", w.token("phone-00001"))
	head[sdkproto.HeaderCaps] = "bubble"
	for _, c := range []sdkproto.Codec{sdkproto.Protobuf{}, sdkproto.JSON{}} {
		seed := batch(fix(1, 1, 1), region(3), beacon(4), left(&sdkpb.Location{Lat: 1, AccuracyM: 1e9}))
		seed.Items[3].Seq = 5
		seed.RegionsAck = &sdkpb.RegionsAck{Etag: "e", Installed: []string{"~bubble"}, Failed: []*sdkpb.RegionFailure{{Id: "fence-1", OsCode: "5"}}}
		b, err := c.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, c.ContentType(), "")
		f.Add(b[:len(b)-2], c.ContentType(), "gzip")
	}
	f.Fuzz(func(t *testing.T, b []byte, contentType, encoding string) {
		for _, path := range []string{sdkproto.PathBatch, sdkproto.PathInstall} {
			req, err := http.NewRequest(http.MethodPost, path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Body = bodyOf(b)
			for k, v := range head {
				req.Header.Set(k, v)
			}
			req.Header.Set("Content-Type", contentType)
			req.Header.Set("Content-Encoding", encoding)
			rec := newRecorder()
			w.gateway.Routes().ServeHTTP(rec, req)
			reply := new(sdkpb.BatchReply)
			codec := sdkproto.CodecFor(rec.Header().Get("Content-Type"))
			if codec == nil {
				t.Fatalf("%d without a content type", rec.Code)
			}
			if err := codec.Unmarshal(rec.Body.Bytes(), reply); err != nil {
				t.Fatalf("%d: %v", rec.Code, err)
			}
			if (rec.Code == http.StatusOK) == (reply.Error != nil) {
				t.Fatalf("%d with %v", rec.Code, reply)
			}
		}
		w.log.set(func() { w.log.entries = nil })
	})
}
