package ingest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/ingest"
)

// modern is an SDK of all capabilities in the hands of the test.
type modern struct {
	*raw
	w     *world
	codec sdkproto.Codec
	id    string
	token string
	caps  []string
	ok    *sdkpb.HelloOk // of the newest session
	last  uint64         // highest number taken
	sent  uint64         // frames
	// beside is how many other sessions there are.
	beside int
}

// modern registers a phone that agrees to everything and stands at fence-20.
func (w *world) modern(id string, codec sdkproto.Codec, caps ...string) *modern {
	w.t.Helper()
	w.installs.mu.Lock()
	if _, known := w.installs.known[id]; !known {
		w.installs.known[id] = ingest.Install{Consents: everything(), Position: &geo.Point{Lat: 0.2}, AccuracyM: 10, Platform: "android"}
	}
	w.installs.mu.Unlock()
	return &modern{w: w, codec: codec, id: id, token: w.token(id), caps: caps}
}

// open says hello, changed by what the test has to say.
func (m *modern) open(change func(*sdkpb.Hello)) *sdkpb.HelloOk {
	m.w.t.Helper()
	m.raw = m.w.dial(m.codec)
	h := hello(m.id)
	h.DeviceToken, h.Caps = m.token, m.caps
	if change != nil {
		change(h)
	}
	m.send(&sdkpb.Frame{Id: 1, Hello: h})
	f := m.next()
	if f.HelloOk == nil || f.Seq != 0 {
		m.w.t.Fatalf("answer to hello: %v", f)
	}
	m.ok = f.HelloOk
	return m.ok
}

// resume comes again and asks to go on with what it has.
func (m *modern) resume(change func(*sdkpb.Hello)) *sdkpb.HelloOk {
	m.w.t.Helper()
	was := m.ok
	return m.open(func(h *sdkpb.Hello) {
		h.Resume = &sdkpb.Resume{Session: was.Session, Epoch: was.Epoch, LastSeq: m.last}
		if change != nil {
			change(h)
		}
	})
}

// breaks ends the connection without a word, and waits until the server knows.
func (m *modern) breaks() {
	m.w.t.Helper()
	_ = m.conn.NetConn().Close()
	until(m.w.t, "end of the session", func() bool { return m.w.gateway.Sessions().Count() == m.beside })
}

// told is what was sent to the phone until now, by a ping that says down_ack too.
func (m *modern) told(downAck uint64) (out []*sdkpb.Frame) {
	m.w.t.Helper()
	m.sent++
	id := 1000 + m.sent
	m.send(&sdkpb.Frame{Id: id, Ping: &sdkpb.Ping{}, DownAck: downAck})
	for {
		f := m.next()
		if f.Pong != nil && f.Re == id {
			return out
		}
		m.last = max(m.last, f.Seq)
		out = append(out, f)
	}
}

// names are the frames in short: their number and what they hold.
func names(frames []*sdkpb.Frame) string {
	var out []string
	for _, f := range frames {
		what := ""
		switch {
		case f.Regions != nil:
			what = "regions"
		case f.Config != nil:
			what = "config " + f.Config.Etag
		case f.Inbox != nil:
			what = "inbox " + f.Inbox.Cursor
		case f.Message != nil:
			what = f.Message.MessageId
		case f.Goaway != nil:
			what = "goaway " + f.Goaway.Reason
		default:
			what = "?"
		}
		out = append(out, fmt.Sprintf("%d %s", f.Seq, what))
	}
	return strings.Join(out, ", ")
}

func (m *modern) want(t *testing.T, when, want string) []*sdkpb.Frame {
	t.Helper()
	got := m.told(0)
	if s := names(got); s != want {
		t.Fatalf("%s: told %q, want %q", when, s, want)
	}
	return got
}

func (w *world) offer(id, message string, kind sdkpb.Message_Kind) bool {
	return w.gateway.Sessions().Offer(ws, id, &sdkpb.Message{MessageId: message, Kind: kind, Title: "t"})
}

func (w *world) configure(etag string) {
	a := w.catalog.apps[android]
	a.Config = &sdkpb.Config{Etag: etag, InAppGapMs: 1000}
	if etag == "" {
		a.Config = nil
	}
	w.catalog.apps[android] = a
}

const inbox, inApp = sdkpb.Message_KIND_INBOX, sdkpb.Message_KIND_IN_APP

// A phone whose connection breaks gets what it had not taken under its numbers, and
// nothing else; what it acknowledged is gone.
func TestABrokenSessionIsResumed(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
		w := newWorld(t, ingest.Limits{})
		w.configure("c1")
		m := w.modern("phone-00001", codec, sdkproto.CapBubble, sdkproto.CapResume, sdkproto.CapConfig)
		if ok := m.open(nil); ok.Resumed || ok.Epoch == "" || strings.Join(ok.Caps, " ") != "bubble resume config" {
			t.Fatalf("first hello: %v", ok)
		}
		first := m.want(t, "at first", "1 config c1, 2 regions")
		w.offer("phone-00001", "m1", inbox)
		w.offer("phone-00001", "m2", inbox)
		if got := names(m.told(2)); got != "3 m1, 4 m2" {
			t.Fatalf("told %q", got)
		}
		epoch := m.ok.Epoch
		m.breaks()
		m.last = 3 // the phone had not yet said so
		if ok := m.resume(nil); !ok.Resumed || ok.Epoch != epoch || ok.Session == epoch {
			t.Fatalf("resumed: %v", ok)
		}
		// It said no etags: the state comes again, as it always did with a hello.
		again := m.want(t, "without etags", "4 m2, 5 config c1, 6 regions")
		if !proto.Equal(first[1].Regions, again[2].Regions) {
			t.Errorf("first %v, then %v", first[1], again[2])
		}
		m.breaks()
		m.last = 4
		etags := func(h *sdkpb.Hello) { h.ConfigEtag, h.RegionsEtag = "c0", "older" }
		if ok := m.resume(etags); !ok.Resumed {
			t.Fatalf("resumed again: %v", ok)
		}
		// What waits to be taken counts, not what the phone has before it.
		m.want(t, "what waits", "5 config c1, 6 regions")
		m.told(6)
		m.breaks()
		etags = func(h *sdkpb.Hello) { h.ConfigEtag, h.RegionsEtag = "c1", again[2].Regions.Etag }
		if ok := m.resume(etags); !ok.Resumed {
			t.Fatalf("resumed with everything: %v", ok)
		}
		m.want(t, "everything was taken", "")
		w.offer("phone-00001", "m3", inbox)
		m.want(t, "the numbers go on", "7 m3")
		if got := w.measured()["footfall_ingest_resumes_total resumed"]; got != 3 {
			t.Errorf("%v resumed were counted", got)
		}
		m.told(7)
		if got := w.measured()["footfall_ingest_unacked_bytes"]; got != 0 {
			t.Errorf("%v bytes are held of a phone that has taken all", got)
		}
	})
}

// Whoever cannot resume gets the state anew, under another epoch; but not what its
// etags show that it has.
func TestWhoCannotResumeGetsTheStateAnew(t *testing.T) {
	all := []string{sdkproto.CapBubble, sdkproto.CapResume, sdkproto.CapConfig}
	for _, c := range []struct {
		name   string
		before func(*world, *modern)
		change func(*sdkpb.Hello)
	}{
		{"another epoch", nil, func(h *sdkpb.Hello) { h.Resume.Epoch = "other" }},
		{"fewer than it had acknowledged", func(_ *world, m *modern) { m.told(2) }, func(h *sdkpb.Hello) { h.Resume.LastSeq = 1 }},
		{"more than it was sent", nil, func(h *sdkpb.Hello) { h.Resume.LastSeq = 3 }},
		{"a session without resume in between", func(w *world, m *modern) {
			was := m.ok
			m.breaks()
			m.caps = nil
			m.open(nil)
			m.caps, m.ok = all, was
		}, nil},
		{"a session that began anew in between", func(_ *world, m *modern) {
			was := m.ok
			m.breaks()
			m.open(nil)
			m.ok = was
		}, nil},
		{"after a day", func(w *world, m *modern) {
			m.breaks()
			w.clock.Advance(sdkproto.ResumeWithin)
		}, func(h *sdkpb.Hello) { h.Resume.LastSeq = 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, ingest.Limits{})
			w.configure("c1")
			m := w.modern("phone-00001", sdkproto.Protobuf{}, all...)
			m.open(nil)
			first := m.want(t, "at first", "1 config c1, 2 regions")
			epoch := m.ok.Epoch
			if c.before != nil {
				c.before(w, m)
			}
			m.breaks()
			m.last = min(m.last, 2)
			if ok := m.resume(c.change); ok.Resumed || ok.Epoch == "" || ok.Epoch == epoch {
				t.Fatalf("resumed: %v", ok)
			}
			m.want(t, "anew", "1 config c1, 2 regions")
			m.breaks()
			ok := m.open(func(h *sdkpb.Hello) { h.ConfigEtag, h.RegionsEtag = "c1", first[1].Regions.Etag })
			if ok.Resumed {
				t.Fatal("resumed without asking")
			}
			m.want(t, "with etags", "")
		})
	}
}

// After a restart of the server, a phone that says what it has is sent nothing that
// it has.
func TestEtagsHoldOverARestart(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.configure("c1")
	m := w.modern("phone-00001", sdkproto.Protobuf{}, sdkproto.CapBubble, sdkproto.CapResume, sdkproto.CapConfig)
	m.open(nil)
	got := m.want(t, "at first", "1 config c1, 2 regions")

	next := newWorld(t, ingest.Limits{})
	next.configure("c1")
	n := next.modern("phone-00001", sdkproto.Protobuf{}, m.caps...)
	n.ok, n.last = m.ok, 2
	if ok := n.resume(func(h *sdkpb.Hello) { h.ConfigEtag, h.RegionsEtag = "c1", got[1].Regions.Etag }); ok.Resumed {
		t.Fatal("resumed what another process had")
	}
	n.want(t, "on another server", "")
	n.breaks()
	n.last = 0
	next.catalog.change(func() { next.configure(""); next.catalog.index = line(160) })
	n.resume(func(h *sdkpb.Hello) { h.ConfigEtag, h.RegionsEtag = "c1", got[1].Regions.Etag })
	var after []*sdkpb.Frame // the change may overtake the hello, or not
	until(t, "what changed", func() bool {
		after = append(after, n.told(0)...)
		return names(after) == "1 config , 2 regions"
	})
}

// What changes while nobody is there comes once, in the place of what was not taken.
func TestWhatChangedMeanwhileTakesThePlaceOfTheOlder(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.configure("c1")
	m := w.modern("phone-00001", sdkproto.Protobuf{}, sdkproto.CapBubble, sdkproto.CapResume, sdkproto.CapConfig)
	m.open(nil)
	m.want(t, "at first", "1 config c1, 2 regions")
	w.catalog.change(func() { w.configure("c2") })
	until(t, "the config of now", func() bool { return names(m.told(0)) == "3 config c2" })
	w.offer(m.id, "m1", inbox)
	m.want(t, "a message", "4 m1")
	neighbour := w.modern("phone-00002", sdkproto.Protobuf{})
	neighbour.open(nil)
	neighbour.want(t, "at first", "0 regions")
	m.beside = 1
	m.breaks()
	w.catalog.change(func() { w.catalog.index = line(160) })
	until(t, "the regions of now", func() bool { return names(neighbour.told(0)) == "0 regions" })
	m.last = 0
	if ok := m.resume(nil); !ok.Resumed {
		t.Fatal("not resumed")
	}
	// Of the configs the newer alone; the regions are others by now.
	got := m.want(t, "after the change", "3 config c2, 4 m1, 5 regions")
	if r := got[2].Regions.Regions[0].RadiusM; r != 160 {
		t.Errorf("a radius of %v", r)
	}
}

// An in-app message comes again while it may be claimed, and not afterwards; a
// message for the inbox does, and what came while nobody was there.
func TestAnInAppMessageIsNotSentAgainWhenItIsLate(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.deliveries.grants["m1"] = true
	m := w.modern("phone-00001", sdkproto.JSON{}, sdkproto.CapResume)
	etag := ""
	m.open(nil)
	if got := m.told(1); len(got) == 1 && got[0].Regions != nil {
		etag = got[0].Regions.Etag
	}
	has := func(h *sdkpb.Hello) { h.RegionsEtag = etag }
	for _, id := range []string{"m1", "m2"} {
		if !w.offer(m.id, id, inApp) {
			t.Fatalf("%s was not taken", id)
		}
	}
	m.told(2)
	m.last = 2
	m.breaks()
	if w.offer(m.id, "m3", inApp) {
		t.Error("a message was taken by nobody")
	}
	w.clock.Advance(time.Second)
	if ok := m.resume(has); !ok.Resumed {
		t.Fatal("not resumed")
	}
	m.want(t, "in time", "3 m2")
	m.send(&sdkpb.Frame{Id: 9, Claim: &sdkpb.Claim{MessageId: "m1"}})
	if f := m.next(); !f.Grant.GetGranted() {
		t.Errorf("the claim of a resumed message: %v", f)
	}
	m.last = 2
	m.breaks()
	w.clock.Advance(time.Second)
	w.deliveries.mu.Lock()
	w.deliveries.inbox = []*sdkpb.Message{{MessageId: "m4", Kind: inbox}}
	w.deliveries.mu.Unlock()
	if ok := m.resume(has); !ok.Resumed { // what was lost is of no use to anybody
		t.Fatal("not resumed")
	}
	m.want(t, "nothing came to the inbox", "")
	m.breaks()
	if w.offer(m.id, "m4", inbox) {
		t.Error("a message was taken by nobody")
	}
	m.resume(has)
	m.want(t, "something came to the inbox", "4 m4")
	// One that the session did not take comes with the next hello, too.
	m.send(&sdkpb.Frame{Id: 9, Batch: batch(&sdkpb.Item{Seq: 1, Lifecycle: &sdkpb.Lifecycle{State: sdkpb.Lifecycle_STATE_BACKGROUND}})})
	if f := m.next(); f.Ack == nil {
		t.Fatalf("answer %v", f)
	}
	until(t, "background", func() bool { return !w.gateway.Sessions().Online(ws, m.id) })
	if w.offer(m.id, "m4", inbox) {
		t.Error("an app in the background took a message")
	}
	m.breaks()
	m.resume(has)
	m.want(t, "after the background", "5 m4")
}

// A phone that never acknowledges holds no more than its bounds; beyond them it
// cannot resume, unless it has taken enough.
func TestWhatIsHeldIsBounded(t *testing.T) {
	const many = sdkproto.MaxUnackedFrames + 10
	fill := func(t *testing.T, w *world, m *modern, n, bytes int) {
		t.Helper()
		m.open(nil)
		for i := range n {
			ok := w.gateway.Sessions().Offer(ws, m.id, &sdkpb.Message{MessageId: fmt.Sprint(i), Kind: inbox, Body: strings.Repeat("x", bytes)})
			if !ok {
				t.Fatal("not taken")
			}
			if i%20 == 0 {
				m.told(0)
			}
		}
		m.told(0)
		m.breaks()
	}
	for _, c := range []struct {
		name     string
		limits   ingest.Limits
		n, bytes int
		enough   uint64 // taken, with which it resumes
		held     float64
	}{
		{"frames", ingest.Limits{}, many, 10, 10, 64 << 10},
		{"bytes", ingest.Limits{}, 100, 1000, 40, 64 << 10},
		{"all installs together", ingest.Limits{MaxUnacked: 10_000}, 95, 1000, 90, 10_000},
	} {
		for _, resumes := range []bool{true, false} {
			t.Run(fmt.Sprint(c.name, " resumes=", resumes), func(t *testing.T) {
				w := newWorld(t, c.limits)
				w.installs.known["phone-00001"] = ingest.Install{}
				m := w.modern("phone-00001", sdkproto.Protobuf{}, sdkproto.CapResume)
				fill(t, w, m, c.n, c.bytes)
				if held := w.measured()["footfall_ingest_unacked_bytes"]; held == 0 || held > c.held {
					t.Errorf("%v bytes are held", held)
				}
				if m.last = 1; resumes {
					m.last = c.enough
				}
				if ok := m.resume(nil); ok.Resumed != resumes {
					t.Errorf("who has taken %d: resumed %v", m.last, ok.Resumed)
				}
				if held := w.measured()["footfall_ingest_unacked_bytes"]; !resumes && held != 0 {
					t.Errorf("%v bytes are held of numbers that are no more", held)
				}
			})
		}
	}
	t.Run("forgotten installs", func(t *testing.T) {
		w := newWorld(t, ingest.Limits{MaxInstalls: 1})
		m := w.modern("phone-00001", sdkproto.Protobuf{}, sdkproto.CapResume)
		fill(t, w, m, 5, 10)
		w.token("phone-00002")
		w.token("phone-00003")
		if held := w.measured()["footfall_ingest_unacked_bytes"]; held != 0 {
			t.Errorf("%v bytes are held of an install that is forgotten", held)
		}
		if ok := m.resume(nil); ok.Resumed {
			t.Error("resumed an install that was forgotten")
		}
	})
	t.Run("who has been away longest makes room", func(t *testing.T) {
		w := newWorld(t, ingest.Limits{MaxUnacked: 10_000})
		m := w.modern("phone-00001", sdkproto.Protobuf{}, sdkproto.CapResume)
		w.installs.known["phone-00002"] = ingest.Install{}
		n := w.modern("phone-00002", sdkproto.Protobuf{}, sdkproto.CapResume)
		fill(t, w, m, 1, 5)
		fill(t, w, n, 9, 1000)
		w.tick()
		until(t, "room", func() bool { return w.measured()["footfall_ingest_unacked_bytes"] < 9_000 })
	})
}

// A phone that reads too slowly is cut, and gets on the next connection what it did
// not read.
func TestASlowPhoneResumes(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.installs.known["phone-00001"] = ingest.Install{}
	m := w.modern("phone-00001", sdkproto.Protobuf{}, sdkproto.CapResume)
	m.open(nil)
	w.offer(m.id, "m1", inbox)
	w.offer(m.id, "m2", inbox)
	m.told(1)
	var msg []byte
	for range 140 {
		var err error
		if msg, err = m.codec.AppendFrame(msg, &sdkpb.Frame{Id: 5, Claim: &sdkpb.Claim{MessageId: strings.Repeat("x", 390)}}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "fault", func() bool {
		_ = m.conn.SetWriteDeadline(time.Now().Add(time.Second))
		_ = m.conn.WriteMessage(websocket.BinaryMessage, msg)
		return !w.gateway.Sessions().Online(ws, m.id)
	})
	m.breaks()
	if got := w.measured()["footfall_ingest_closes_total slow"]; got != 1 {
		t.Errorf("%v closed as slow", got)
	}
	m.last = 1
	if ok := m.resume(nil); !ok.Resumed {
		t.Fatal("not resumed")
	}
	m.want(t, "after the cut", "2 m2")
}

// The numbers go over to a newer connection while the older one is open yet, whose
// acknowledgements say nothing about them any more.
func TestTheNewerConnectionCarriesTheNumbers(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.installs.known["phone-00001"] = ingest.Install{}
	m := w.modern("phone-00001", sdkproto.Protobuf{}, sdkproto.CapResume)
	m.open(nil)
	w.offer(m.id, "m1", inbox)
	m.want(t, "at first", "1 m1")
	older := m.raw
	if m.last = 0; !m.resume(nil).Resumed {
		t.Fatal("not resumed")
	}
	m.want(t, "on the newer", "1 m1")
	b, err := sdkproto.EncodeFrame(m.codec, &sdkpb.Frame{Id: 2, Ping: &sdkpb.Ping{}, DownAck: 1})
	if err != nil {
		t.Fatal(err)
	}
	_ = older.conn.WriteMessage(websocket.BinaryMessage, b) // it may be closed already
	if _, code := older.closed(); code != sdkproto.CloseReplaced {
		t.Errorf("the older was closed with %d", code)
	}
	m.breaks()
	if m.last = 0; !m.resume(nil).Resumed {
		t.Error("the older one's word took what the newer one had not")
	}
	m.want(t, "again", "1 m1")
	// A number that was never sent acknowledges nothing.
	m.told(7)
	m.breaks()
	if m.last = 0; !m.resume(nil).Resumed {
		t.Error("an absurd down_ack was believed")
	}
}

// Without the capability nothing is numbered or held.
func TestWithoutTheCapabilityEverythingIsAsItWas(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.configure("c1")
	m := w.modern("phone-00001", sdkproto.Protobuf{}, sdkproto.CapBubble)
	w.deliveries.inbox = []*sdkpb.Message{{MessageId: "m0", Kind: inbox}}
	if ok := m.open(nil); ok.Epoch != "" || ok.Resumed {
		t.Errorf("hello_ok %v", ok)
	}
	m.want(t, "at first", "0 regions, 0 m0")
	w.offer(m.id, "m1", inApp)
	m.want(t, "a message", "0 m1")
	if held := w.measured()["footfall_ingest_unacked_bytes"]; held != 0 {
		t.Errorf("%v bytes are held", held)
	}
	m.breaks()
	if ok := m.open(func(h *sdkpb.Hello) { h.Resume = &sdkpb.Resume{Epoch: "x", LastSeq: 1} }); ok.Epoch != "" || ok.Resumed {
		t.Errorf("hello_ok %v", ok)
	}
	m.want(t, "again", "0 regions, 0 m0")
}
