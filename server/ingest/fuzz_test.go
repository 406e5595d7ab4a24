package ingest_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
)

// unlimited is for a clock that stands still, with which no limit is ever lifted.
var unlimited = ingest.Limits{ItemRate: 1e9, ItemBurst: 1e9, AppItemRate: 1e9, AppItemBurst: 1e9, RegisterRate: 1e9, RegisterBurst: 1e9}

// Whatever bytes an authenticated phone sends, the answer is of the protocol,
// its neighbour goes on, and nothing enters the log that cannot be read back.
func FuzzSessionBytes(f *testing.F) {
	w := newWorld(f, unlimited)
	w.deliveries.post(letter("m1"), letter("m2"))
	w.configure("c1")
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
		{Id: 4, InboxSync: &sdkpb.InboxSync{Cursor: "c1"}, DownAck: 1},
		{Id: 5, TokenRefresh: &sdkpb.TokenRefresh{}, Seq: 7, Re: 9},
		{Ping: &sdkpb.Ping{}, DownAck: 1 << 63},
		{Inbox: &sdkpb.Inbox{Full: true}},
		{Goaway: &sdkpb.Goaway{}},
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
		h.Caps = []string{sdkproto.CapResume, sdkproto.CapInbox, sdkproto.CapConfig, sdkproto.CapGoaway}
		h.InboxCursor = new("c0")
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
		seed.ConfigEtag, seed.InboxCursor = new("c0"), new("c1")
		seed.RegionsAck = &sdkpb.RegionsAck{Etag: "e", Installed: []string{"~bubble"}, Failed: []*sdkpb.RegionFailure{{Id: "fence-1", OsCode: "5"}}}
		b, err := c.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, c.ContentType(), "")
		f.Add(b[:len(b)-2], c.ContentType(), "gzip")
	}
	f.Fuzz(func(t *testing.T, b []byte, contentType, encoding string) {
		for _, path := range []string{sdkproto.PathBatch, sdkproto.PathInstall, sdkproto.PathToken} {
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

// Whatever a phone and its network do (break, come again with what it has or with
// less, acknowledge or not, be away for a day), numbers only grow within a session,
// and every message for its inbox that was taken for it reaches it.
func FuzzResume(f *testing.F) {
	w := newWorld(f, unlimited)
	phones := 0
	f.Add([]byte{0, 0, 1, 0, 3, 2, 0, 3, 1})
	f.Add([]byte{0, 2, 0, 1, 4, 0, 0, 3, 5, 0, 3})
	f.Add([]byte{0, 0, 5, 2, 0, 6, 200, 3, 0, 6, 255, 6, 255, 6, 255, 6, 255, 6, 255, 6, 255, 3})
	f.Add([]byte{0, 1, 0, 1, 0, 1, 4, 1, 4, 2, 2, 4, 9, 7, 0, 7, 2, 3})
	f.Fuzz(func(t *testing.T, script []byte) {
		script = script[:min(len(script), 60)]
		phones++
		w.t = t
		w.deliveries.mu.Lock()
		w.deliveries.inbox = nil
		w.deliveries.mu.Unlock()
		m := w.modern(fmt.Sprintf("phone-%08d", phones), sdkproto.Protobuf{}, sdkproto.CapResume, sdkproto.CapConfig)
		m.open(nil)
		seen, offered := map[string]bool{}, 0
		read := func(downAck uint64) {
			last := m.last
			for _, fr := range m.told(downAck) {
				if fr.Seq > 0 && fr.Seq <= last || fr.Seq == 0 && fr.Error == nil {
					t.Fatalf("number %d after %d: %v", fr.Seq, last, fr)
				}
				last = max(last, fr.Seq)
				if fr.Message != nil {
					seen[fr.Message.MessageId] = true
				}
			}
		}
		again := func(less uint64) {
			m.breaks()
			m.last -= min(less, m.last)
			if !m.resume(nil).Resumed {
				m.last = 0
			}
		}
		next := func() (b byte) {
			if len(script) > 0 {
				b, script = script[0], script[1:]
			}
			return b
		}
		for len(script) > 0 {
			switch next() % 8 {
			case 0:
				x := &sdkpb.Message{MessageId: fmt.Sprint("m", offered), Kind: inbox}
				w.deliveries.mu.Lock()
				w.deliveries.inbox = append(w.deliveries.inbox, x)
				w.deliveries.mu.Unlock()
				if !w.gateway.Sessions().Offer(ws, m.id, x) {
					t.Fatal("a message was not taken")
				}
				offered++
			case 1:
				read(0)
			case 2:
				read(m.last)
			case 3:
				again(0)
			case 4: // a phone that has lost the newest of what it kept
				again(uint64(next()))
			case 5:
				w.catalog.change(func() { w.configure(fmt.Sprint("c", next())) })
			case 6:
				w.clock.Advance(time.Duration(next()) * time.Minute)
			case 7:
				read(uint64(next()))
			}
		}
		again(0)
		read(0)
		for i := range offered {
			if !seen[fmt.Sprint("m", i)] {
				t.Fatalf("message %d of %d was lost", i, offered)
			}
		}
		_ = m.conn.Close()
		until(t, "end of the session", func() bool { return w.gateway.Sessions().Count() == 0 })
		w.log.set(func() { w.log.entries = nil })
	})
}
