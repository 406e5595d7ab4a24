package app_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
)

// closing is the code with which the server closes a socket, after what it answers.
func (x *rawSocket) closing(frames func(*sdkpb.Frame)) (code int, err error) {
	for {
		fs, err := x.read()
		if ce, ok := errors.AsType[*websocket.CloseError](err); ok {
			return ce.Code, nil
		}
		if err != nil {
			return 0, err
		}
		for _, f := range fs {
			frames(f)
		}
	}
}

// Sockets of one install that open at the same moment, while POSTs come too: one stays,
// all others are told that a newer one has their place, after the answers to what was
// taken of them. Whatever was acknowledged took effect once, by whichever way.
func TestOneConnectionOfAnInstallIsLeftOfManyAtOnce(t *testing.T) {
	s := newStory(t)
	p := s.raw("racing-phone-1")
	var seq atomic.Uint64
	var mu sync.Mutex
	acked := map[uint64]int{}
	noted := func(ack *sdkpb.Ack, items []*sdkpb.Item) {
		mu.Lock()
		defer mu.Unlock()
		for _, i := range items {
			if len(ack.GetRejects()) > 0 {
				t.Errorf("rejected: %v", ack.GetRejects())
			}
			acked[i.GetSeq()]++
		}
	}
	events := func() (items []*sdkpb.Item) {
		for range 3 {
			items = append(items, &sdkpb.Item{Seq: seq.Add(1), Event: &sdkpb.Event{Name: "x"}})
		}
		return items
	}
	const rounds, sockets, posts = 15, 6, 3
	for round := range rounds {
		var wg sync.WaitGroup
		var open, replaced atomic.Int64
		finished := make(chan struct{})
		for range sockets {
			wg.Go(func() {
				x, err := p.socket(t.Context(), s.url, func(h *sdkpb.Hello) {
					if round%2 == 0 {
						h.Caps = []string{sdkproto.CapResume, sdkproto.CapInbox}
					}
				})
				if err != nil {
					// A hello that is answered after its socket was replaced finds it closed.
					if ce, ok := errors.AsType[*websocket.CloseError](err); !ok || ce.Code != int(sdkproto.CloseReplaced) {
						t.Errorf("hello: %v", err)
					}
					replaced.Add(1)
					return
				}
				defer x.conn.Close() //nolint:errcheck // closed by the server, or over
				items := events()
				_ = x.write(&sdkpb.Frame{Id: 7, Batch: &sdkpb.Batch{SentMs: s.clock.Now().UnixMilli(), Items: items}}) // it may be replaced by now
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					code, err := x.closing(func(f *sdkpb.Frame) {
						if f.GetAck() != nil && f.GetRe() == 7 {
							noted(f.GetAck(), items)
						}
					})
					switch {
					case code == int(sdkproto.CloseReplaced):
						replaced.Add(1)
					case err == nil:
						t.Errorf("closed with %d", code)
					}
				}()
				open.Add(1)
				select {
				case <-ended:
				case <-finished:
					_ = x.conn.Close()
					<-ended
				}
			})
		}
		for range posts {
			wg.Go(func() {
				items := events()
				reply, err := p.post(t.Context(), s.url, items...)
				if err != nil {
					t.Error(err)
					return
				}
				noted(reply.GetAck(), items)
			})
		}
		s.eventually("all sockets but one are replaced", func() bool { return replaced.Load() == sockets-1 })
		// It has their place before its hello is answered, and is open from then on.
		s.eventually("the one that is left is open", func() bool { return s.app.PhoneSessions().Online("default", p.install) })
		if n := s.app.PhoneSessions().Count(); n != 1 {
			t.Errorf("round %d: %d sessions", round, n)
		}
		// The one that is left is told what is told to the install.
		if !s.app.PhoneSessions().Offer("default", p.install, &sdkpb.Message{MessageId: fmt.Sprint(round), Kind: sdkpb.Message_KIND_IN_APP}) {
			t.Errorf("round %d: the one that is left takes no message", round)
		}
		close(finished)
		wg.Wait()
		s.eventually("the last one has ended", func() bool { return s.app.PhoneSessions().Count() == 0 })
	}
	// What was not answered is sent again, and with it what was.
	for from := uint64(1); from <= seq.Load(); from += 100 {
		var again []*sdkpb.Item
		for n := from; n < from+100 && n <= seq.Load(); n++ {
			again = append(again, &sdkpb.Item{Seq: n, Event: &sdkpb.Event{Name: "x"}})
		}
		if reply, err := p.post(t.Context(), s.url, again...); err != nil || len(reply.GetAck().GetRejects()) > 0 {
			t.Fatalf("%v %v", reply, err)
		}
	}
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	if err := s.app.Timeline(t.Context(), "default", func(e engage.TimelineEntry) error {
		if e.Kind == engage.KindTrigger {
			got[string(e.Data)]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, n := range got {
		total += n
	}
	accepted, err := s.app.Accepted(t.Context(), "default", p.install)
	if err != nil || len(accepted) != 1 || accepted[0] != [2]uint64{1, seq.Load()} || total != int(seq.Load()) {
		t.Errorf("of %d events %d took effect, accepted %v, %v", seq.Load(), total, accepted, err)
	}
	for n, times := range acked {
		if times != 1 {
			t.Errorf("item %d was acknowledged %d times to who sent it once", n, times)
		}
	}
	if len(acked) < rounds*posts*3 {
		t.Errorf("only %d items were acknowledged", len(acked))
	}
}

// What the person allows in the OS is followed during a session: what the phone is to
// watch, and whether a message may go as a push.
func TestPermissionsThatChangeDuringASessionAreFollowed(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.campaign("hello", func(c map[string]any) {
		c["context"], c["audience"], c["limits"] = nil, nil, nil
		c["trigger"] = map[string]any{"type": "place", "transition": "enter", "rings": []string{"inside"}}
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{"title": "Hello"}}}
	})
	var mu sync.Mutex
	var set *sdkpb.Regions
	watches := func() (regions int, bubble bool) {
		mu.Lock()
		defer mu.Unlock()
		return len(set.GetRegions()), set.GetBubble() != nil
	}
	ada := s.phone("ada", "android", func(o *client.Options) {
		o.Caps = append(o.Caps, sdkproto.CapBubble)
		o.OnRegions = func(r *sdkpb.Regions) []*sdkpb.RegionFailure {
			mu.Lock()
			defer mu.Unlock()
			set = r
			return nil
		}
	}).agree()
	ada.foreground().at(far, 10)
	says := func(l sdkpb.Permissions_Location, p sdkpb.Permissions_Precision, n sdkpb.Permissions_Notifications) {
		ada.SetPermissions(&sdkpb.Permissions{Location: l, Precision: p, Notifications: n})
	}
	const (
		always, inUse, none = sdkpb.Permissions_LOCATION_ALWAYS, sdkpb.Permissions_LOCATION_WHEN_IN_USE, sdkpb.Permissions_LOCATION_NONE
		precise, reduced    = sdkpb.Permissions_PRECISION_PRECISE, sdkpb.Permissions_PRECISION_REDUCED
		granted, denied     = sdkpb.Permissions_NOTIFICATIONS_GRANTED, sdkpb.Permissions_NOTIFICATIONS_DENIED
	)
	s.eventually("a set is watched", func() bool { n, b := watches(); return n == 2 && b })
	for name, c := range map[string]struct {
		location  sdkpb.Permissions_Location
		precision sdkpb.Permissions_Precision
	}{"only in use": {inUse, precise}, "not at all": {none, precise}, "not precisely": {always, reduced}} {
		says(c.location, c.precision, granted)
		s.eventually(name+": nothing is watched", func() bool { n, b := watches(); return n == 0 && !b })
		says(always, precise, granted)
		s.eventually("after "+name+": a set is watched again", func() bool { n, b := watches(); return n == 2 && b })
	}

	says(always, precise, denied)
	if err := ada.Background(t.Context()); err != nil {
		t.Fatal(err)
	}
	ada.at(cafe, 10).post()
	s.eventually("without the permission it waits in the inbox", func() bool { return s.inInbox(ada, "hello", "no_permission") })
	says(always, precise, granted)
	s.clock.Advance(time.Minute)
	ada.at(far, 10).post()
	s.clock.Advance(time.Hour)
	ada.at(cafe, 10).post()
	s.eventually("with it, the next one is pushed", func() bool { return len(s.pushesTo(ada)) == 1 })
}

// A phone that does not read is cut off with 4008 and comes back: the frames that it
// was told under numbers come again, and what it had said and was not acknowledged
// takes effect once.
func TestASlowPhoneIsCutAndLosesNothing(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	p := s.raw("slow-phone-01")
	for i, purpose := range []sdkpb.Consent_Purpose{
		sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, sdkpb.Consent_PURPOSE_LOCATION_PRECISE,
	} {
		if _, err := p.post(t.Context(), s.url, consented(uint64(i+1), purpose, true)); err != nil {
			t.Fatal(err)
		}
	}
	caps := []string{sdkproto.CapBubble, sdkproto.CapResume}
	x, err := p.socket(t.Context(), s.url, func(h *sdkpb.Hello) { h.Caps = caps })
	if err != nil {
		t.Fatal(err)
	}
	defer x.conn.Close() //nolint:errcheck // cut by the server
	if tcp, ok := x.conn.UnderlyingConn().(*net.TCPConn); ok {
		if err := tcp.SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
	}
	now := s.clock.Now().UnixMilli()
	fix := &sdkpb.Item{Seq: 4, OccurredMs: now, Location: &sdkpb.Location{Lat: cafe.Lat, Lng: cafe.Lng, AccuracyM: 5}}
	first, err := x.ask(&sdkpb.Frame{Batch: &sdkpb.Batch{SentMs: now, Items: []*sdkpb.Item{fix}}})
	if err != nil || first.GetAck() == nil {
		t.Fatalf("%v %v", first, err)
	}
	// From here on it reads nothing. It asks much, and the server has to tell it of a
	// new place; its last items go out among that.
	var items []*sdkpb.Item
	seq := uint64(5)
	tell := func() error {
		var msg []byte
		for range 250 { // frames of a later version, each of which is answered at length
			x.id++
			var err error
			if msg, err = (sdkproto.Protobuf{}).AppendFrame(msg, &sdkpb.Frame{Id: x.id}); err != nil {
				return err
			}
		}
		if seq < 40 {
			item := &sdkpb.Item{Seq: seq, Event: &sdkpb.Event{Name: "x"}}
			items = append(items, item)
			seq++
			x.id++
			var err error
			if msg, err = (sdkproto.Protobuf{}).AppendFrame(msg, &sdkpb.Frame{Id: x.id, Batch: &sdkpb.Batch{SentMs: now, Items: []*sdkpb.Item{item}}}); err != nil {
				return err
			}
		}
		if err := x.conn.SetWriteDeadline(time.Now().Add(20 * time.Second)); err != nil {
			return err
		}
		return x.conn.WriteMessage(websocket.BinaryMessage, msg)
	}
	north := geo.Point{Lat: cafe.Lat + 0.01, Lng: cafe.Lng}
	online := func() bool { return s.app.PhoneSessions().Online("default", p.install) }
	for n := 0; online(); n++ {
		if n == 2 {
			s.place("kiosk", north)
		}
		if err := tell(); err != nil {
			break // it has been cut
		}
	}
	s.eventually("it is cut", func() bool { return !online() })
	_ = x.conn.Close() // what it could still read it never does; the code stands in the metrics
	if n := s.counted(t, `footfall_ingest_closes_total{code="slow"}`); n != 1 {
		t.Errorf("%v sessions closed as slow", n)
	}

	// The numbered frames that it has read are lost with the app: it says that it has none.
	y, err := p.socket(t.Context(), s.url, func(h *sdkpb.Hello) {
		h.Caps = caps
		h.Resume = &sdkpb.Resume{Session: x.welcome.GetSession(), Epoch: x.welcome.GetEpoch()}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer y.conn.Close() //nolint:errcheck // the end
	if !y.welcome.GetResumed() || y.welcome.GetEpoch() != x.welcome.GetEpoch() {
		t.Fatalf("not resumed: %v", y.welcome)
	}
	var regions *sdkpb.Regions
	last := uint64(0)
	for frames := y.beside; ; {
		for _, f := range frames {
			if f.GetSeq() > 0 && f.GetSeq() <= last {
				t.Errorf("frame %d after %d", f.GetSeq(), last)
			}
			last = max(last, f.GetSeq())
			if f.GetRegions() != nil {
				regions = f.GetRegions()
			}
		}
		if regions != nil {
			break
		}
		if frames, err = y.read(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.ContainsFunc(regions.GetRegions(), func(r *sdkpb.Region) bool { return strings.HasPrefix(r.GetId(), "kiosk-") }) {
		t.Errorf("what came again does not have the new place: %v", regions)
	}
	answer, err := y.ask(&sdkpb.Frame{DownAck: last, Batch: &sdkpb.Batch{SentMs: now, Items: items}})
	if err != nil || answer.GetAck() == nil || len(answer.GetAck().GetRejects()) > 0 {
		t.Fatalf("%v %v", answer, err)
	}
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	if err := s.app.Timeline(t.Context(), "default", func(e engage.TimelineEntry) error {
		if e.Kind == engage.KindTrigger && strings.Contains(string(e.Data), `"type":"event"`) {
			got[string(e.Data)]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, n := range got {
		total += n
	}
	if total != len(items) || len(items) == 0 {
		t.Errorf("%d events said, %d took effect", len(items), total)
	}
}

// counted is the value of a metric.
func (s *story) counted(t *testing.T, name string) (value float64) {
	t.Helper()
	for line := range strings.Lines(string(s.metrics(t))) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			if _, err := fmt.Sscan(rest, &value); err != nil {
				t.Fatal(err)
			}
		}
	}
	return value
}

// A crowd that says hello in one moment, as after the death of a server, is spread: as
// many as there is room for are served, each of the others is told a time of its own,
// not more of them for a second than were promised, and who comes then is served.
func TestACrowdIsSpreadAndServed(t *testing.T) {
	const crowd, most, perSecond = 400, 4, 200
	s := newStory(t, func(o *app.Options) { o.Config.Limits.RegistrationsPerS = crowd })
	other := s.another(func(o *ingest.Options) { o.Limits.MaxHellos, o.Limits.ReturnRate = most, perSecond })
	phones := make([]*rawPhone, crowd)
	for i := range phones {
		phones[i] = s.raw(fmt.Sprintf("crowd-%05d", i))
	}
	s.settle()
	type told struct {
		p     *rawPhone
		after time.Duration
	}
	// come has phones say hello in one moment, and gives those that are to come later.
	come := func(phones []*rawPhone) (served int, later []told) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		dialed := make(chan *websocket.Conn, len(phones))
		start := make(chan struct{})
		for _, p := range phones {
			wg.Go(func() {
				d := websocket.Dialer{Subprotocols: []string{sdkproto.SubprotocolPB}}
				conn, resp, err := d.DialContext(context.Background(), "ws"+strings.TrimPrefix(other, "http")+sdkproto.PathWS, nil)
				dialed <- conn
				if err != nil {
					t.Errorf("dial: %v", err)
					return
				}
				_ = resp.Body.Close() // a handshake has none
				defer conn.Close()    //nolint:errcheck // the end
				<-start
				x := &rawSocket{conn: conn}
				h := s.rawHello(p.install)
				h.DeviceToken = p.token
				if err := x.write(&sdkpb.Frame{Id: 1, Hello: h}); err != nil {
					t.Error(err)
					return
				}
				frames, err := x.read()
				if err != nil || len(frames) == 0 {
					t.Errorf("hello was answered %v, %v", frames, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				switch e := frames[0].GetError(); {
				case frames[0].GetHelloOk() != nil:
					served++
				case e.GetRetryAfterMs() == 0:
					t.Errorf("refused without a time: %v", e)
				default:
					later = append(later, told{p, time.Duration(e.GetRetryAfterMs()) * time.Millisecond})
				}
			})
		}
		for range phones {
			<-dialed
		}
		close(start)
		wg.Wait()
		return served, later
	}
	served, later := come(phones)
	t.Logf("%d of %d served at once", served, crowd)
	if served+len(later) != crowd || len(later) < crowd/4 {
		t.Fatalf("%d served, %d told to come later", served, len(later))
	}
	slices.SortFunc(later, func(a, b told) int { return int(a.after - b.after) })
	if first, last := later[0].after, later[len(later)-1].after; first < time.Second || last > time.Minute {
		t.Errorf("told to come after %v to %v", first, last)
	}
	// One in each perSecond-th of a second, and up to a second more by chance.
	for i, from := 0, 0; i < len(later); i++ {
		for later[i].after-later[from].after >= time.Second {
			from++
		}
		if n := i - from + 1; n > 2*perSecond {
			t.Fatalf("%d are to come within a second, from %v on", n, later[from].after)
		}
	}
	// They come as they were told, a twentieth of a second at a time.
	rest := later
	for len(rest) > 0 {
		until := rest[0].after + 50*time.Millisecond
		n := 0
		var now []*rawPhone
		for n < len(rest) && rest[n].after < until {
			now = append(now, rest[n].p)
			n++
		}
		rest = rest[n:]
		if _, again := come(now); len(again) > 0 && len(now) <= 8*most {
			t.Errorf("%d of %d that came when they were told to are put off again", len(again), len(now))
		}
	}
}
