package app_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// complaints takes what a server logs as an error: nothing that a phone says may be one.
type complaints struct {
	mu   sync.Mutex
	said []string
}

func (c *complaints) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }

func (c *complaints) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = append(c.said, text)
	return nil
}

func (c *complaints) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c *complaints) WithGroup(string) slog.Handler      { return c }

func (c *complaints) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	said := c.said
	c.said = nil
	return said
}

// script is a phone's life as bytes: each operation takes what it needs, and zeros
// when they are at their end.
type script struct {
	s     *story
	bytes []byte

	install string
	n       int    // of the script
	seq     uint64 // the last one given

	mu      sync.Mutex
	tokens  []string
	epochs  []string // of sessions, as hello_ok told them, with their ids
	cursors []string
	acked   map[uint64]bool // by the server, and not refused
	events  map[uint64]bool // of acked, which are events
	sockets []*scripted
	wg      sync.WaitGroup
	wrong   []string
}

// scripted is one of its sockets.
type scripted struct {
	conn  *websocket.Conn
	codec sdkproto.Codec

	greeted chan struct{} // closed when hello is answered, or never will be

	mu     sync.Mutex
	writes sync.Mutex
	flying map[uint64][]*sdkpb.Item // by frame
	next   uint64                   // frame id
}

func (x *script) byte() byte {
	if len(x.bytes) == 0 {
		return 0
	}
	b := x.bytes[0]
	x.bytes = x.bytes[1:]
	return b
}

func (x *script) one(n int) int { return int(x.byte()) % n }

// text is some bytes as text.
func (x *script) text(n int) string { return strings.ToValidUTF8(string(x.some(n)), "?") }

func (x *script) some(n int) []byte {
	n = min(n, len(x.bytes))
	b := x.bytes[:n]
	x.bytes = x.bytes[n:]
	return b
}

func (x *script) mark(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.wrong = append(x.wrong, fmt.Sprintf(format, args...))
}

func pick[T any](x *script, of []T) (v T) {
	i := x.byte()
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(of) > 0 {
		v = of[int(i)%len(of)]
	}
	return v
}

func (x *script) token() string {
	switch x.one(24) {
	case 1:
		return ""
	case 2:
		return "wrong"
	}
	x.mu.Lock()
	all := slices.Clone(x.tokens)
	x.mu.Unlock()
	return pick(x, all)
}

func (x *script) hello() *sdkpb.Hello {
	h := x.s.rawHello(x.install)
	h.DeviceToken = x.token()
	for i, c := range []string{
		sdkproto.CapBubble, sdkproto.CapResume, sdkproto.CapInbox, sdkproto.CapConfig, sdkproto.CapGoaway, sdkproto.CapBeacons, "levitation",
	} {
		if x.byte()%4 != 0 || i == 1 {
			h.Caps = append(h.Caps, c)
		}
	}
	switch x.one(6) {
	case 0:
	case 1:
		h.Resume = &sdkpb.Resume{Session: "unknown", Epoch: "unknown", LastSeq: 3}
	case 2:
		h.Resume = &sdkpb.Resume{Session: strings.Repeat("s", x.one(104)), Epoch: strings.Repeat("e", x.one(104)), LastSeq: math.MaxUint64}
	default:
		x.mu.Lock()
		all := slices.Clone(x.epochs)
		x.mu.Unlock()
		e := pick(x, all)
		h.Resume = &sdkpb.Resume{Session: e, Epoch: e, LastSeq: uint64(x.one(5))}
		if x.one(9) == 0 {
			h.Resume.LastSeq = math.MaxUint64 - uint64(x.byte())
		}
	}
	if x.one(2) == 0 {
		c := x.cursor()
		h.InboxCursor = &c
	}
	h.ConfigEtag, h.RegionsEtag = x.text(x.one(4)), x.text(x.one(4))
	switch x.one(40) {
	case 0:
		h.Platform = sdkpb.Platform(x.byte())
	case 1:
		h.ProtoMin = uint32(x.byte())
	case 2:
		h.InstallId = x.text(12)
	case 3:
		h.AppKey = "ffa_nobody"
	case 4:
		h.TimeZone = "../../etc/passwd"
	}
	return h
}

func (x *script) cursor() string {
	switch x.one(4) {
	case 0:
		return ""
	case 1:
		return x.text(8)
	case 2:
		if n := x.byte(); n < 64 {
			return strings.Repeat("9", 40*int(n))
		}
	}
	x.mu.Lock()
	all := slices.Clone(x.cursors)
	x.mu.Unlock()
	return pick(x, all)
}

// items are new ones, or some of those that were said before: again, or for the first
// time after later ones.
func (x *script) items() []*sdkpb.Item {
	var out []*sdkpb.Item
	for range 1 + x.one(5) {
		seq := x.seq + 1
		switch {
		case x.seq > 150: // within the holes that a server remembers
			seq = 1 + uint64(x.one(150))
		case x.seq > 0 && x.one(4) == 0:
			seq = 1 + uint64(x.byte())%x.seq
		case x.one(6) == 0:
			seq = x.seq + 3 // the two between may come later
		}
		x.seq = max(x.seq, seq)
		out = append(out, x.item(seq))
	}
	return out
}

// item is of one kind for one seq, as a phone's is.
func (x *script) item(seq uint64) *sdkpb.Item {
	now := x.s.clock.Now()
	i := &sdkpb.Item{Seq: seq, ItemId: fmt.Sprint(seq), OccurredMs: now.UnixMilli()}
	loc := &sdkpb.Location{Lat: cafe.Lat + float64(seq)*1e-5, Lng: cafe.Lng, AccuracyM: 5}
	switch seq % 16 {
	case 0:
		i.Location = loc
	case 1:
		i.RegionEvent = &sdkpb.RegionEvent{RegionId: "cafe-near", Transition: sdkpb.RegionEvent_TRANSITION_ENTER, Location: loc}
	case 2:
		i.RegionEvent = &sdkpb.RegionEvent{RegionId: sdkproto.BubbleID, Transition: sdkpb.RegionEvent_TRANSITION_EXIT, Location: loc}
	case 3:
		i.Consent = &sdkpb.Consent{Purpose: sdkpb.Consent_Purpose(1 + seq/16%5), Granted: seq/16%3 != 0}
	case 4:
		i.Identify = &sdkpb.Identify{UserId: "ada", Hmac: "c0ffee"}
	case 5:
		i.Permissions = &sdkpb.Permissions{Location: sdkpb.Permissions_Location(seq / 16 % 4)}
	case 6:
		i.Lifecycle = &sdkpb.Lifecycle{State: sdkpb.Lifecycle_State(1 + seq/16%2)}
	case 7:
		i.Receipt = &sdkpb.Receipt{MessageId: "nobody-sent-this", State: sdkpb.Receipt_STATE_OPENED, Via: "in_app"}
	case 8:
		i.Location = &sdkpb.Location{Lat: 91, Lng: math.NaN()} // refused
	case 9:
		i.Preferences = &sdkpb.Preferences{Topics: map[string]sdkpb.Preferences_Attitude{"fashion": sdkpb.Preferences_ATTITUDE_LIKE}}
	case 10:
		if seq > 100 {
			i.Logout = &sdkpb.Logout{}
			break
		}
		fallthrough
	default:
		i.Event = &sdkpb.Event{Name: "product_viewed", PropertiesJson: `{"n":1}`}
	}
	return i
}

// settled notes an ack.
func (x *script) settled(items []*sdkpb.Item, ack *sdkpb.Ack) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, i := range items {
		if slices.ContainsFunc(ack.GetRejects(), func(r *sdkpb.Reject) bool { return r.GetSeq() == i.GetSeq() }) {
			continue
		}
		x.acked[i.GetSeq()] = true
		if i.GetEvent() != nil {
			x.events[i.GetSeq()] = true
		}
	}
}

func (x *script) open() {
	codec := []sdkproto.Codec{sdkproto.Protobuf{}, sdkproto.JSON{}}[x.one(2)]
	d := websocket.Dialer{Subprotocols: []string{codec.Subprotocol()}}
	conn, resp, err := d.DialContext(x.s.t.Context(), "ws"+strings.TrimPrefix(x.s.url, "http")+sdkproto.PathWS, nil)
	if err != nil {
		x.mark("dial: %v", err)
		return
	}
	_ = resp.Body.Close() // a handshake has none
	c := &scripted{conn: conn, codec: codec, greeted: make(chan struct{}), flying: map[uint64][]*sdkpb.Item{}}
	if x.one(32) != 1 {
		c.say(x, &sdkpb.Frame{Hello: x.hello()})
	} else {
		close(c.greeted)
	}
	x.sockets = append(x.sockets, c)
	x.wg.Go(func() { x.listen(c) })
	if x.one(8) != 7 { // else the next thing races hello's answer
		patient := time.NewTimer(time.Second)
		defer patient.Stop()
		select {
		case <-c.greeted:
		case <-patient.C:
		}
	}
}

func (x *script) listen(c *scripted) {
	greeted := sync.OnceFunc(func() {
		select {
		case <-c.greeted: // there was no hello
		default:
			close(c.greeted)
		}
	})
	defer greeted()
	told := false // to come later
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(20 * time.Second)) // the script closes it before
		_, b, err := c.conn.ReadMessage()
		if err != nil {
			if e, closed := err.(*websocket.CloseError); closed && e.Code == int(sdkproto.CloseInternal) && !told { //nolint:errorlint // gorilla returns it bare
				x.mark("a session was closed with %d %s", e.Code, e.Text)
			}
			return
		}
		frames, err := c.codec.DecodeFrames(b, 0)
		if err != nil {
			x.mark("the server said what cannot be decoded: %v", err)
		}
		for _, f := range frames {
			if err := sdkproto.CheckFrame(f); err != nil {
				x.mark("the server said %v: %v", f, err)
			}
			x.mu.Lock()
			if ok := f.GetHelloOk(); ok != nil {
				if t := ok.GetNewDeviceToken(); t != "" {
					x.tokens = append(x.tokens, t)
				}
				x.epochs = append(x.epochs, ok.GetEpoch(), ok.GetSession())
			}
			if f.GetHelloOk() != nil {
				greeted()
			}
			told = told || later(f.GetError())
			if t := f.GetNewToken().GetDeviceToken(); t != "" {
				x.tokens = append(x.tokens, t)
			}
			if i := f.GetInbox(); i != nil {
				x.cursors = append(x.cursors, i.GetCursor())
			}
			x.mu.Unlock()
			if f.GetAck() != nil {
				c.mu.Lock()
				items := c.flying[f.GetRe()]
				delete(c.flying, f.GetRe())
				c.mu.Unlock()
				x.settled(items, f.GetAck())
			}
		}
	}
}

// later reports whether an error is that the server cannot now, and says when to come
// again: the log has not answered for some seconds of a clock that the script moves.
func later(e *sdkpb.Error) bool {
	return e.GetCode() == uint32(sdkproto.ErrInternal) && e.GetRetryAfterMs() > 0
}

// say writes a frame; a socket that has ended takes it in vain.
func (c *scripted) say(x *script, f *sdkpb.Frame) {
	c.next++
	f.Id = c.next
	if f.GetBatch() != nil {
		c.mu.Lock()
		c.flying[f.Id] = f.Batch.Items
		c.mu.Unlock()
	}
	if x.one(4) == 0 {
		f.DownAck = uint64(x.one(4))
		if x.one(4) == 0 {
			f.DownAck = math.MaxUint64
		}
	}
	b, err := sdkproto.EncodeFrame(c.codec, f)
	if err != nil {
		return // text that is not UTF-8
	}
	c.bytes(b)
}

func (c *scripted) bytes(b []byte) {
	kind := websocket.TextMessage
	if c.codec.Binary() {
		kind = websocket.BinaryMessage
	}
	c.writes.Lock()
	defer c.writes.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_ = c.conn.WriteMessage(kind, b)
}

// frame is one that a phone may say, or should not.
func (x *script) frame() *sdkpb.Frame {
	switch x.one(16) {
	case 0:
		return &sdkpb.Frame{Hello: x.hello()}
	case 1:
		return &sdkpb.Frame{HelloOk: &sdkpb.HelloOk{}}
	case 2:
		return &sdkpb.Frame{Ping: &sdkpb.Ping{}, Pong: &sdkpb.Pong{}}
	case 3:
		return &sdkpb.Frame{Claim: &sdkpb.Claim{MessageId: strings.Repeat("m", 3*x.one(256))}}
	case 4:
		return &sdkpb.Frame{RegionsAck: &sdkpb.RegionsAck{Etag: x.text(3), Failed: []*sdkpb.RegionFailure{{Id: "~bubble", OsCode: strings.Repeat("x", x.one(256))}}}}
	case 5, 6:
		return &sdkpb.Frame{InboxSync: &sdkpb.InboxSync{Cursor: x.cursor()}}
	case 7:
		return &sdkpb.Frame{TokenRefresh: &sdkpb.TokenRefresh{}}
	case 8:
		return &sdkpb.Frame{Pong: &sdkpb.Pong{}}
	case 9:
		return &sdkpb.Frame{Goaway: &sdkpb.Goaway{}}
	case 10:
		return &sdkpb.Frame{}
	case 11:
		return &sdkpb.Frame{Batch: &sdkpb.Batch{Items: make([]*sdkpb.Item, 501)}}
	case 12:
		return &sdkpb.Frame{Batch: &sdkpb.Batch{Items: []*sdkpb.Item{{}, {Seq: math.MaxUint64, Event: &sdkpb.Event{Name: strings.Repeat("x", 999)}}}}}
	}
	return &sdkpb.Frame{Ping: &sdkpb.Ping{}}
}

// ask makes a request, beside all else.
func (x *script) ask(method, path string, body []byte, head map[string]string, done func(*sdkpb.BatchReply)) {
	token := x.token()
	caps := pick(x, []string{"", "bubble,inbox,config,resume", strings.Repeat("x,", 40)})
	x.wg.Go(func() {
		ctx, cancel := context.WithTimeout(x.s.t.Context(), 20*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, x.s.url+path, bytes.NewReader(body))
		if err != nil {
			x.mark("request: %v", err)
			return
		}
		req.Header.Set("Content-Type", sdkproto.ContentTypePB)
		req.Header.Set(sdkproto.HeaderAppKey, x.s.keys["android"])
		req.Header.Set(sdkproto.HeaderInstall, x.install)
		req.Header.Set(sdkproto.HeaderAuthorization, sdkproto.BearerPrefix+token)
		req.Header.Set(sdkproto.HeaderCaps, caps)
		for k, v := range head {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			x.mark("%s %s: %v", method, path, err)
			return
		}
		defer resp.Body.Close() //nolint:errcheck // read to its end
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			x.mark("%s %s: %v", method, path, err)
			return
		}
		reply := new(sdkpb.BatchReply)
		codec := sdkproto.CodecFor(resp.Header.Get("Content-Type"))
		if codec == nil || codec.Unmarshal(b, reply) != nil || resp.StatusCode >= 500 && !later(reply.GetError()) || (resp.StatusCode == http.StatusOK) != (reply.Error == nil) {
			x.mark("%s %s: %d %q", method, path, resp.StatusCode, b)
			return
		}
		if t := reply.GetHelloOk().GetNewDeviceToken() + reply.GetNewToken().GetDeviceToken(); t != "" {
			x.mu.Lock()
			x.tokens = append(x.tokens, t)
			x.mu.Unlock()
		}
		if reply.GetAck() != nil && done != nil {
			done(reply)
		}
	})
}

// step does the next thing of the script.
func (x *script) step() {
	var c *scripted
	if n := len(x.sockets); n > 0 {
		c = x.sockets[x.one(n)]
	}
	now := x.s.clock.Now().UnixMilli()
	switch op := x.one(24); {
	case op < 3 && len(x.sockets) < 8 || c == nil:
		x.open()
	case op < 9:
		c.say(x, &sdkpb.Frame{Batch: &sdkpb.Batch{SentMs: now, Items: x.items()}})
	case op < 13:
		items := x.items()
		b := &sdkpb.Batch{SentMs: now, Items: items, Attempt: uint32(x.one(3))}
		if x.one(2) == 0 {
			cursor := x.cursor()
			b.InboxCursor = &cursor
		}
		body, err := proto.Marshal(b)
		if err != nil {
			return // a cursor that is not UTF-8
		}
		head := map[string]string{}
		if x.one(3) == 0 {
			var zipped bytes.Buffer
			z := gzip.NewWriter(&zipped)
			_, _ = z.Write(body)
			_ = z.Close()
			body, head["Content-Encoding"] = zipped.Bytes(), "gzip"
		}
		x.ask(http.MethodPost, sdkproto.PathBatch, body, head, func(r *sdkpb.BatchReply) { x.settled(items, r.GetAck()) })
	case op < 16:
		c.say(x, x.frame())
	case op == 16:
		c.bytes(x.some(1 + x.one(64)))
	case op == 17: // a frame with a fault
		b, err := sdkproto.EncodeFrame(c.codec, &sdkpb.Frame{Id: 1 << 40, Batch: &sdkpb.Batch{Items: []*sdkpb.Item{{Seq: 1 << 50}}}})
		if err == nil {
			b[x.one(len(b))] ^= 1 << x.one(8)
			c.bytes(b[:len(b)-x.one(2)])
		}
	case op == 18:
		_ = c.conn.Close() // as a network does
	case op == 19:
		_ = c.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	case op == 20:
		body, err := proto.Marshal(x.hello())
		if err == nil {
			x.ask(http.MethodPost, sdkproto.PathInstall, body, nil, nil)
		}
	case op == 21:
		switch x.one(4) {
		case 0:
			x.ask(http.MethodPost, sdkproto.PathToken, nil, nil, nil)
		case 1:
			x.ask(http.MethodGet, sdkproto.PathConfig, nil, nil, nil)
		case 2:
			x.ask(http.MethodGet, sdkproto.PathInbox+"?cursor="+url.QueryEscape(x.cursor()), nil, nil, nil)
		case 3:
			x.ask(http.MethodPost, sdkproto.PathBatch, x.some(64), map[string]string{"Content-Encoding": pick(x, []string{"", "gzip", "br"})}, nil)
		}
	default:
		x.s.clock.Advance(time.Duration(x.one(3)) * time.Second)
	}
}

// live plays the script against the server, and says what is not as it must be.
func (x *script) live(t *testing.T) {
	for steps := 0; len(x.bytes) > 0 && steps < 400; steps++ {
		x.step()
	}
	for _, c := range x.sockets {
		if x.n%4 != 0 { // else what is on its way is not answered
			_ = c.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
			continue
		}
		_ = c.conn.Close()
	}
	x.wg.Wait()
	for _, c := range x.sockets {
		_ = c.conn.Close()
	}
	x.s.settle()
	if err := x.s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	accepted, err := x.s.app.Accepted(t.Context(), "default", x.install)
	if err != nil {
		t.Fatal(err)
	}
	took := map[string]int{}
	profile := engage.ProfileID("default", x.install)
	err = x.s.app.States().Iterate(t.Context(), "timeline", store.Query{Workspace: "default", IDPrefix: "p:" + profile + "/"}, func(d store.Doc) error {
		var e engage.TimelineEntry
		if err := json.Unmarshal(d.Body, &e); err != nil {
			return err
		}
		var tr engage.Trigger
		if e.Kind == engage.KindTrigger && json.Unmarshal(e.Data, &tr) == nil && tr.Type == engage.TriggerEvent {
			took[tr.Occasion]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for seq := range x.acked {
		if !slices.ContainsFunc(accepted, func(iv [2]uint64) bool { return iv[0] <= seq && seq <= iv[1] }) {
			t.Errorf("item %d was acknowledged and has no effect: %v", seq, accepted)
		}
	}
	for seq := range x.seq + 4 {
		n := took[engage.EventID("default", x.install, seq)]
		if n > 1 || x.events[seq] && n == 0 && x.seq <= 100 { // a logout makes the profile another
			t.Errorf("event %d took effect %d times", seq, n)
		}
	}
	for _, w := range x.wrong {
		t.Error(w)
	}
	t.Logf("%d sockets, %d greetings, %d items acknowledged, %d of them events", len(x.sockets), len(x.epochs)/2, len(x.acked), len(x.events))
}

// target is a server for scripts.
type target struct {
	*story
	said       *complaints
	n          int
	goroutines int
	heap       uint64
}

func newTarget(tb testing.TB) *target {
	x := &target{said: new(complaints)}
	x.story = newStory(tb, func(o *app.Options) {
		o.Logger = slog.New(x.said)
		o.Config.Limits.RegistrationsPerS = 100_000
	})
	x.place("cafe", cafe)
	x.raw("neighbour-0001")
	x.settle()
	http.DefaultClient.CloseIdleConnections()
	x.goroutines, x.heap = runtime.NumGoroutine(), heapInUse()
	return x
}

// underWay reports whether a goroutine is in a session or a request.
func underWay() bool {
	for size := 1 << 18; ; size *= 2 {
		b := make([]byte, size)
		if n := runtime.Stack(b, true); n < size {
			return bytes.Contains(b[:n], []byte("ingest.(*session)")) || bytes.Contains(b[:n], []byte("ingest.(*Gateway).serve"))
		}
	}
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// play plays a script, and wants the server as it was before.
func (x *target) play(t *testing.T, text []byte) {
	x.t = t
	x.n++
	install := fmt.Sprintf("scripted-%05d-%05d", os.Getpid(), x.n)
	p := x.raw(install)
	life := &script{s: x.story, bytes: text, install: install, n: x.n, tokens: []string{p.token}, acked: map[uint64]bool{}, events: map[uint64]bool{}}
	life.live(t)
	x.clock.Advance(time.Second) // what limits the rates goes on
	http.DefaultClient.CloseIdleConnections()
	x.eventually("all sessions have ended", func() bool { return x.app.PhoneSessions().Count() == 0 })
	x.eventually("all that sessions and POSTs ran has ended", func() bool { return !underWay() })
	if n := runtime.NumGoroutine(); n > x.goroutines+100 { // others' come and go
		t.Errorf("%d goroutines after %d scripts, %d before", n, x.n, x.goroutines)
	}
	for _, c := range x.said.take() {
		t.Errorf("the server logs: %s", c)
	}
	if x.n%64 == 0 {
		if now := heapInUse(); now > x.heap+256<<20 { // the log keeps its newest blocks in memory for a while
			t.Errorf("%d scripts have left %d MiB", x.n, (now-x.heap)>>20)
		}
	}
}

// Whole sessions against the real server: whatever a phone's sockets and POSTs say, in
// whatever order and however broken, nothing panics and nothing is left behind, and
// what was acknowledged takes effect once.
func FuzzSessionsOfTheServer(f *testing.F) {
	for seed := range 24 {
		r := rand.New(rand.NewPCG(uint64(seed), 5))
		text := make([]byte, 150+r.IntN(450))
		for i := range text {
			text[i] = byte(r.Uint32())
		}
		f.Add(text)
	}
	x := newTarget(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		x.play(t, text[:min(len(text), 4096)])
		x.t = f
	})
}
