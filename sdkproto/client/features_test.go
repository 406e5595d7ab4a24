package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// whole is a client with all capabilities.
func whole(o *client.Options) {
	o.Caps = client.Features()
	o.AckAfter = time.Millisecond
}

// frames reads what the phone sends, pings answered and batches acknowledged, and
// hands each frame to see; it ends when the phone has gone or see says so.
func (p *peer) frames(see func(f *sdkpb.Frame) (more bool)) {
	for f := p.recv(); f != nil; f = p.recv() {
		switch {
		case f.Ping != nil:
			p.send(&sdkpb.Frame{Re: f.Id, Pong: &sdkpb.Pong{}})
		case f.Batch != nil:
			p.ack(f)
		}
		if !see(f) {
			return
		}
	}
}

func TestNumberedFramesAreTakenOnceKeptAndResumed(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var acks record[uint64]
		until := func(p *peer, seq uint64) {
			p.frames(func(f *sdkpb.Frame) bool {
				if f.DownAck > 0 {
					acks.add(f.DownAck)
				}
				return f.DownAck != seq
			})
		}
		regions := func(seq uint64, etag string) *sdkpb.Frame {
			return &sdkpb.Frame{Seq: seq, Regions: &sdkpb.Regions{Etag: etag, Regions: []*sdkpb.Region{{Id: etag}}}}
		}
		config := func(seq uint64, etag string) *sdkpb.Frame {
			return &sdkpb.Frame{Seq: seq, Config: &sdkpb.Config{Etag: etag}}
		}
		g.session = func(n int, p *peer) {
			switch n {
			case 0: // the second frame comes twice, and one number is left out
				p.hello(func(ok *sdkpb.HelloOk) { ok.Session, ok.Epoch = "s1", "e1" },
					regions(1, "r1"), config(2, "c1"), config(2, "never"), regions(4, "r4"))
				until(p, 4)
			case 1: // it goes on, and what was taken comes again
				p.hello(func(ok *sdkpb.HelloOk) { ok.Session, ok.Epoch, ok.Resumed = "s2", "e1", true }, regions(4, "never"), config(5, "c5"))
				until(p, 5)
			case 2: // another epoch: from 1 on
				p.hello(func(ok *sdkpb.HelloOk) { ok.Session, ok.Epoch = "s3", "e2" }, config(1, "c6"))
				until(p, 1)
			default:
				p.hello(func(ok *sdkpb.HelloOk) { ok.Session, ok.Epoch = "s4", "e2" })
				p.acceptAll()
			}
		}
		var etags record[string]
		store := new(client.MemStore)
		c := g.client(whole, func(o *client.Options) {
			o.Store = store
			o.OnRegions = func(r *sdkpb.Regions) []*sdkpb.RegionFailure { etags.add(r.Etag); return nil }
			o.OnConfig = func(x *sdkpb.Config) { etags.add(x.Etag) }
		})
		run(t, c)
		eventually(t, "four sessions", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return len(g.hellos) == 4 })
		if got := fmt.Sprint(etags.all()); got != "[r1 c1 r4 c5 c6]" {
			t.Errorf("taken %s", got)
		}
		var resumes []string
		for _, h := range g.hellos {
			resumes = append(resumes, fmt.Sprintf("%s/%s/%d r=%s c=%s", h.Resume.GetSession(), h.Resume.GetEpoch(), h.Resume.GetLastSeq(), h.RegionsEtag, h.ConfigEtag))
		}
		if got := strings.Join(resumes, "; "); got != "//0 r= c=; s1/e1/4 r=r4 c=c1; s2/e1/5 r=r4 c=c5; s3/e2/1 r=r4 c=c6" {
			t.Errorf("hellos said %s", got)
		}
		saved, err := store.Load()
		if err != nil || saved.Resume.GetLastSeq() != 1 || saved.Config.GetEtag() != "c6" || c.Regions().GetEtag() != "r4" {
			t.Errorf("kept %v, %v", saved, err)
		}
		for _, a := range acks.all() {
			if !slices.Contains([]uint64{1, 2, 4, 5}, a) {
				t.Errorf("acknowledged %v", acks.all())
			}
		}
	})
}

// stubbornStore refuses changes of the config.
type stubbornStore struct {
	client.MemStore
	mu   sync.Mutex
	full bool
}

func (s *stubbornStore) Apply(x client.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full && x.Config != nil {
		return errors.New("disk full")
	}
	return s.MemStore.Apply(x)
}

func TestWhatCannotBeKeptIsNotAcknowledged(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	store := &stubbornStore{full: true}
	var acks record[uint64]
	g.session = func(n int, p *peer) {
		if n == 2 {
			store.mu.Lock()
			store.full = false
			store.mu.Unlock()
		}
		p.hello(func(ok *sdkpb.HelloOk) { ok.Epoch = "e" }, &sdkpb.Frame{Seq: 1, Config: &sdkpb.Config{Etag: "c"}})
		p.frames(func(f *sdkpb.Frame) bool {
			if f.DownAck > 0 {
				acks.add(uint64(n)*100 + f.DownAck)
			}
			return true
		})
	}
	c := g.client(whole, func(o *client.Options) { o.Store = store })
	run(t, c)
	eventually(t, "it is acknowledged", func() bool { return len(acks.all()) == 1 })
	if acks.all()[0] != 201 {
		t.Errorf("acknowledged %v", acks.all())
	}
}

func mail(id string, at int64) *sdkpb.Message {
	return &sdkpb.Message{MessageId: id, Kind: sdkpb.Message_KIND_INBOX, SentMs: at}
}

// mailbox is a client's inbox in words: the newest first, a star for read.
func mailbox(c *client.Client) string {
	var all []string
	for _, m := range c.Inbox() {
		id := m.MessageId
		if m.Read {
			id += "*"
		}
		all = append(all, id)
	}
	return strings.Join(all, " ")
}

func TestTheInboxFollowsTheServersAndIsThePersons(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var syncs, receipts, shown record[string]
		push := make(chan *sdkpb.Inbox)
		answers := map[string]*sdkpb.Inbox{ // to inbox_sync, by cursor
			"1": {Messages: []*sdkpb.Message{mail("b", 2)}, Cursor: "2", More: true},
			"2": {Messages: []*sdkpb.Message{mail("c", 3)}, Cursor: "3"},
			"":  {Full: true, Messages: []*sdkpb.Message{mail("new", 9)}, Cursor: "n1"},
		}
		g.session = func(_ int, p *peer) {
			h := p.hello(nil)
			syncs.add("hello:" + h.GetInboxCursor())
			if h.GetInboxCursor() == "" {
				p.send(&sdkpb.Frame{Inbox: &sdkpb.Inbox{Full: true, Messages: []*sdkpb.Message{mail("a", 1)}, Cursor: "1", More: true}})
			}
			gone := make(chan struct{})
			defer close(gone)
			var write sync.Mutex
			go func() {
				for {
					select {
					case i := <-push:
						write.Lock()
						p.send(&sdkpb.Frame{Inbox: i})
						write.Unlock()
					case <-gone:
						return
					}
				}
			}()
			for f := p.recv(); f != nil; f = p.recv() {
				write.Lock()
				if f.Batch != nil {
					for _, i := range f.Batch.Items {
						if r := i.Receipt; r != nil {
							receipts.add(fmt.Sprint(r.MessageId, " ", r.State))
						}
					}
					p.ack(f)
				}
				if f.InboxSync != nil {
					syncs.add(f.InboxSync.Cursor)
					if answer := answers[f.InboxSync.Cursor]; answer != nil {
						p.send(&sdkpb.Frame{Re: f.Id, Inbox: answer})
					} else {
						p.send(sdkproto.Errorf(sdkproto.ErrUnknownFrame, "", "no such cursor").Frame(f.Id))
					}
				}
				write.Unlock()
			}
		}
		store := new(client.MemStore)
		with := func(o *client.Options) {
			o.Store = store
			o.OnMessage = func(m *sdkpb.Message) { shown.add(m.MessageId) }
		}
		c := g.client(whole, with)
		run(t, c)
		eventually(t, "all pages", func() bool { return mailbox(c) == "c b a" })
		if !c.ReadMessage("a") || c.ReadMessage("a") || c.ReadMessage("none") || !c.DismissMessage("b") || c.DismissMessage("b") {
			t.Error("reading and dismissing say something wrong")
		}
		// What the server said before it heard of that changes neither.
		push <- &sdkpb.Inbox{Messages: []*sdkpb.Message{mail("a", 1), mail("b", 2), mail("d", 4)}, Gone: []string{"c"}, Cursor: "4"}
		eventually(t, "the change", func() bool { return mailbox(c) == "d a*" })
		if err := c.SyncInbox(t.Context()); err == nil {
			t.Error("the error that answers is not told")
		}
		drained(t, c)
		if got := fmt.Sprint(shown.all()); got != "[a b c d]" {
			t.Errorf("shown %s", got)
		}
		const delivered, displayed, dismissed = sdkpb.Receipt_STATE_DELIVERED, sdkpb.Receipt_STATE_DISPLAYED, sdkpb.Receipt_STATE_DISMISSED
		want := fmt.Sprint("a ", delivered, " b ", delivered, " c ", delivered, " a ", displayed, " b ", dismissed, " d ", delivered)
		if got := strings.Join(receipts.all(), " "); got != want {
			t.Errorf("receipts %s, want %s", got, want)
		}
		c.Close()
		c = g.client(whole, with) // the app starts again
		if got := mailbox(c); got != "d a*" {
			t.Errorf("after a restart %q", got)
		}
		run(t, c)
		eventually(t, "its hello", func() bool { s := syncs.all(); return s[len(s)-1] == "hello:4" })
		c.Logout()
		if got := mailbox(c); got != "" && got != "new" { // which may have come already
			t.Errorf("after the logout %q", got)
		}
		eventually(t, "the next person's", func() bool { return mailbox(c) == "new" })
	})
}

func TestMessagesOfWhoHasLeftAreNotKept(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	g.session = func(n int, p *peer) {
		if p.hello(nil); n == 0 {
			p.send(&sdkpb.Frame{Inbox: &sdkpb.Inbox{Full: true, Messages: []*sdkpb.Message{mail("old", 1)}, Cursor: "1"}})
		}
		for f := p.batch(); f != nil; f = p.batch() {
			if slices.ContainsFunc(f.Batch.Items, func(i *sdkpb.Item) bool { return i.Logout != nil }) {
				p.send(&sdkpb.Frame{Inbox: &sdkpb.Inbox{Messages: []*sdkpb.Message{mail("late", 2)}, Cursor: "2"}})
			}
			p.ack(f)
		}
	}
	c := g.client(whole)
	run(t, c)
	eventually(t, "the inbox", func() bool { return mailbox(c) == "old" })
	c.Close()
	c.Logout()
	run(t, c)
	drained(t, c)
	if got := mailbox(c); got != "" {
		t.Errorf("the next person reads %q", got)
	}
}

func TestTrackingIsWhatTheAppStartedOrTheServerPutInItsPlace(t *testing.T) {
	const off, efficient, responsive, continuous = sdkpb.Tracking_PRESET_OFF, sdkpb.Tracking_PRESET_EFFICIENT, sdkpb.Tracking_PRESET_RESPONSIVE, sdkpb.Tracking_PRESET_CONTINUOUS
	for _, tt := range []struct {
		asked  sdkpb.Tracking_Preset
		config *sdkpb.Config
		want   sdkpb.Tracking_Preset
		moving uint32
	}{
		{0, nil, off, 0},
		{efficient, nil, efficient, 1200},
		{responsive, &sdkpb.Config{Tracking: continuous}, continuous, 30},
		{0, &sdkpb.Config{Tracking: responsive}, responsive, 150},
		{off, &sdkpb.Config{Tracking: responsive}, off, 0},
		{responsive, &sdkpb.Config{Tracking: off}, off, 0},
		{responsive, &sdkpb.Config{Presets: []*sdkpb.Tracking{{Preset: responsive, MovingIntervalS: proto.Uint32(60)}}}, responsive, 60},
		{efficient, &sdkpb.Config{Presets: []*sdkpb.Tracking{{Preset: responsive, MovingIntervalS: proto.Uint32(60)}}}, efficient, 1200},
		{off, &sdkpb.Config{Presets: []*sdkpb.Tracking{{Preset: off, MovingIntervalS: proto.Uint32(60)}}}, off, 0},
	} {
		store := new(client.MemStore)
		if err := store.Apply(client.Change{Config: tt.config}); err != nil {
			t.Fatal(err)
		}
		g := newGateway(t, sdkproto.Protobuf{})
		with := func(o *client.Options) { o.Store = store }
		c := g.client(with)
		if tt.asked != 0 {
			c.StartTracking(tt.asked)
		}
		for _, c := range []*client.Client{c, g.client(with)} { // and after a restart
			got := c.Tracking()
			if got.Preset != tt.want || got.GetMovingIntervalS() != tt.moving {
				t.Errorf("asked %v, config %v: %v", tt.asked, tt.config, got)
			}
			if got.StoppedIntervalS == nil || got.SyncIntervalS == nil || got.Accuracy == nil || got.StopAfterS == nil ||
				got.StopRadiusM == nil || got.Visits == nil || got.SignificantChanges == nil || got.ForegroundService == nil {
				t.Errorf("a field is absent: %v", got)
			}
		}
	}
}

// tokens is a server that knows which device tokens are good.
type tokens struct {
	mu   sync.Mutex
	good map[string]bool
	used []string
}

func (k *tokens) ok(token string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.used = append(k.used, token)
	return k.good[token]
}

func (k *tokens) set(good ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.good = map[string]bool{}
	for _, x := range good {
		k.good[x] = true
	}
}

func (k *tokens) all() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.used, " ")
}

func TestATokenIsReplacedWithoutLockingThePhoneOut(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		k := &tokens{}
		give := "" // in the next answer
		g.post = func(_ int, _ http.ResponseWriter, r *http.Request, b *sdkpb.Batch) *sdkpb.BatchReply {
			if !k.ok(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
				return &sdkpb.BatchReply{Error: sdkproto.Errorf(sdkproto.ErrToken, "device_token", "unknown").Proto()}
			}
			reply := ackReply(b)
			if give != "" {
				reply.NewToken = &sdkpb.NewToken{DeviceToken: give}
			}
			give = ""
			return reply
		}
		store := new(client.MemStore)
		c := g.client(func(o *client.Options) { o.Store = store })
		post := func() {
			t.Helper()
			if err := c.PostBatch(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		kept := func(want string) {
			t.Helper()
			saved, err := store.Load()
			if got := saved.Token + "<" + saved.OldToken; err != nil || got != want {
				t.Errorf("kept %s, want %s (%v)", got, want, err)
			}
		}
		k.set("dt_post", "t2")
		give = "t2"
		post()
		kept("t2<dt_post") // beside the one that is known to work
		post()
		kept("t2<") // it works
		give = "t3"
		post()
		kept("t3<t2")
		c = g.client(func(o *client.Options) { o.Store = store }) // over a restart
		post()                                                    // the server knows nothing of t3
		kept("t2<")
		k.set("dt_post") // and now of nothing: it registers anew, once
		post()
		kept("dt_post<")
		if got := k.all(); got != "dt_post t2 t2 t3 t2 t2 dt_post" {
			t.Errorf("it showed %s", got)
		}
		// On a socket: refused, the other, and so on.
		g.session = func(_ int, p *peer) {
			f := p.recv()
			if !k.ok(f.GetHello().GetDeviceToken()) {
				p.send(sdkproto.Errorf(sdkproto.ErrToken, "device_token", "unknown").Frame(f.GetId()))
				p.close(sdkproto.CloseToken)
				return
			}
			p.queued = append(p.queued, f)
			p.hello(nil)
			p.frames(func(f *sdkpb.Frame) bool {
				if f.TokenRefresh != nil {
					p.send(&sdkpb.Frame{Re: f.Id, NewToken: &sdkpb.NewToken{DeviceToken: "t4"}})
				}
				return true
			})
		}
		run(t, c)
		track(t, c, "a")
		drained(t, c)
		if err := c.RefreshToken(t.Context()); err != nil {
			t.Fatal(err)
		}
		kept("t4<dt_post")
		c.Close()
		run(t, c) // t4 was lost with the server
		track(t, c, "a")
		drained(t, c)
		kept("dt_post<")
	})
}

func TestAfterGoawayThePhoneFinishesAndComesBackInItsTime(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var said record[string]
		var left time.Time
		g.session = func(n int, p *peer) {
			if n > 0 {
				if d := time.Since(left); d < 80*time.Millisecond {
					t.Errorf("back after %v", d)
				}
				p.hello(nil)
				p.acceptAll()
				return
			}
			p.hello(func(ok *sdkpb.HelloOk) { ok.Epoch = "e" }, &sdkpb.Frame{Seq: 1, Config: &sdkpb.Config{Etag: "c"}})
			f := p.batch()
			if f == nil {
				return
			}
			p.send(&sdkpb.Frame{Goaway: &sdkpb.Goaway{Reason: "shutdown", ReconnectAfterMs: 80}}, &sdkpb.Frame{Id: 9, Ping: &sdkpb.Ping{}})
			for pong := false; !pong; { // it waits for the ack
				x := p.recv()
				pong = x.GetPong() != nil
				if x == nil || x.Batch != nil {
					said.add(fmt.Sprint(x))
				}
			}
			left = time.Now()
			p.ack(f)
			for x := p.recv(); x != nil; x = p.recv() {
				if x.Batch != nil {
					said.add(fmt.Sprint(x))
				}
			}
			said.add("closed")
		}
		c := g.client(whole, func(o *client.Options) { o.AckAfter = time.Hour })
		track(t, c, "a")
		run(t, c)
		eventually(t, "the first ack", func() bool { return c.Pending() == 0 })
		track(t, c, "b")
		drained(t, c)
		if got := fmt.Sprint(said.all()); got != "[closed]" || g.times(1) != 1 || g.times(2) != 1 {
			t.Errorf("after goaway: %s; taken %v", got, g.taken)
		}
	})
}

func TestTheHostIsAskedForAnotherProof(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	g.post = func(_ int, _ http.ResponseWriter, _ *http.Request, b *sdkpb.Batch) *sdkpb.BatchReply {
		reply := ackReply(b)
		for _, i := range b.Items {
			if i.GetIdentify().GetJwt() == "old" {
				reply.Ack.Rejects = append(reply.Ack.Rejects, sdkproto.NewReject(i, sdkproto.RejectExpired, "identify.jwt", "expired"))
			}
		}
		return reply
	}
	var asked record[string]
	c := g.client()
	c = g.client(func(o *client.Options) {
		o.OnIdentity = func(i *sdkpb.Identify, r *sdkpb.Reject) {
			asked.add(i.UserId + " " + r.Code)
			c.IdentifyJWT(i.UserId, "new")
		}
	})
	c.IdentifyJWT("ada", "old")
	track(t, c, "a")
	for range 2 {
		if err := c.PostBatch(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(asked.all(), c.Pending()); got != "[ada identity_expired] 0" {
		t.Errorf("asked %s", got)
	}
}

// What follows a logout waits for its ack, and until then nothing is shown that may be
// of the person before.
func TestNothingFollowsALogoutBeforeItsAck(t *testing.T) {
	kinds := func(b *sdkpb.Batch) (out []string) {
		for _, i := range b.GetItems() {
			kind, _ := sdkproto.ItemBody(i)
			out = append(out, string(kind))
		}
		return out
	}
	leave := func(c *client.Client) {
		track(t, c, "one")
		c.Logout()
		c.Identify("bob", "proof")
		c.Logout()
		track(t, c, "two")
	}
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var seen record[string]
		g.session = func(_ int, p *peer) {
			p.hello(nil)
			for f := p.batch(); f != nil; f = p.batch() {
				if seen.add(fmt.Sprint(kinds(f.Batch))); len(seen.all()) == 1 {
					p.send(inApp("of-ada"), &sdkpb.Frame{Id: 1, Ping: &sdkpb.Ping{}})
					if f := p.recv(); f == nil || f.Pong == nil {
						t.Errorf("before the ack: %v", f)
					}
				}
				p.ack(f)
			}
		}
		c := g.client(whole)
		leave(c)
		run(t, c)
		drained(t, c)
		if got := fmt.Sprint(seen.all()); got != "[[event logout] [identify logout] [event]]" {
			t.Errorf("sent %s", got)
		}
	})
	t.Run("POST", func(t *testing.T) {
		g := newGateway(t, sdkproto.Protobuf{})
		var seen record[string]
		g.post = func(_ int, _ http.ResponseWriter, _ *http.Request, b *sdkpb.Batch) *sdkpb.BatchReply {
			seen.add(fmt.Sprint(kinds(b)))
			return ackReply(b)
		}
		c := g.client(whole)
		leave(c)
		if err := c.PostBatch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(seen.all()); got != "[[event logout] [identify logout] [event]]" {
			t.Errorf("posted %s", got)
		}
	})
}

func TestOnlyWhatCanBeShownIsClaimed(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	messages := make(chan string)
	var claims, shown, receipts record[string]
	g.session = func(_ int, p *peer) {
		p.hello(nil, &sdkpb.Frame{Config: &sdkpb.Config{Etag: "c", InAppGapMs: 1000}})
		var write sync.Mutex
		gone := make(chan struct{})
		defer close(gone)
		go func() {
			for n := uint64(1); ; n++ {
				select {
				case id := <-messages:
					write.Lock()
					p.send(inApp(id), &sdkpb.Frame{Id: n, Ping: &sdkpb.Ping{}}) // the pong says that it was looked at
					write.Unlock()
				case <-gone:
					return
				}
			}
		}()
		for f := p.recv(); f != nil; f = p.recv() {
			write.Lock()
			switch {
			case f.Claim != nil:
				claims.add(f.Claim.MessageId)
				p.send(&sdkpb.Frame{Re: f.Id, Grant: granted(f.Claim.MessageId)})
			case f.Pong != nil:
				claims.add("-")
			case f.Batch != nil:
				for _, i := range f.Batch.Items {
					if i.Receipt != nil {
						receipts.add(i.Receipt.MessageId + " " + i.Receipt.State.String())
					}
				}
				p.ack(f)
			}
			write.Unlock()
		}
	}
	var mu sync.Mutex
	mono := time.Hour
	pass := func(d time.Duration) { mu.Lock(); mono += d; mu.Unlock() }
	c := g.client(whole, func(o *client.Options) {
		o.HostShows = true
		o.Mono = func() time.Duration { mu.Lock(); defer mu.Unlock(); return mono }
		o.OnMessage = func(m *sdkpb.Message) { shown.add(m.MessageId) }
	})
	run(t, c)
	eventually(t, "config", func() bool { return c.Config() != nil })
	offer := func(id string) {
		before := len(claims.all())
		messages <- id
		eventually(t, "the phone has looked at "+id, func() bool { return slices.Contains(claims.all()[before:], "-") })
	}
	offer("first")
	eventually(t, "it is shown", func() bool { return len(shown.all()) == 1 })
	offer("while it is shown")
	c.Shown("first")
	c.Shown("first")
	c.Gone("first")
	offer("within the gap")
	pass(time.Second)
	c.SetQuiet(true)
	offer("during the checkout")
	c.SetQuiet(false)
	c.SetLifecycle(sdkpb.Lifecycle_STATE_BACKGROUND)
	offer("in the background")
	c.SetLifecycle(sdkpb.Lifecycle_STATE_FOREGROUND)
	offer("first") // again: seen
	offer("second")
	eventually(t, "it is shown", func() bool { return len(shown.all()) == 2 })
	drained(t, c)
	got := slices.DeleteFunc(claims.all(), func(s string) bool { return s == "-" })
	if fmt.Sprint(got) != "[first second]" || fmt.Sprint(shown.all()) != "[first second]" || fmt.Sprint(receipts.all()) != "[first STATE_DISPLAYED]" {
		t.Errorf("claims %v, shown %v, receipts %v", got, shown.all(), receipts.all())
	}
}

func TestAPOSTAsksForConfigAndInboxAndTakesBoth(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var asked record[string]
		g.post = func(_ int, _ http.ResponseWriter, _ *http.Request, b *sdkpb.Batch) *sdkpb.BatchReply {
			asked.add(fmt.Sprintf("POST c=%s i=%s", b.GetConfigEtag(), b.GetInboxCursor()))
			if b.ConfigEtag == nil || b.InboxCursor == nil {
				t.Error("the POST does not ask")
			}
			reply := ackReply(b)
			if b.GetConfigEtag() != "c1" {
				reply.Config = &sdkpb.Config{Etag: "c1", Tracking: sdkpb.Tracking_PRESET_EFFICIENT}
			}
			if b.GetInboxCursor() == "" {
				reply.Inbox = &sdkpb.Inbox{Full: true, Messages: []*sdkpb.Message{mail("a", 1)}, Cursor: "1", More: true}
			}
			return reply
		}
		g.get = func(r *http.Request) *sdkpb.BatchReply {
			asked.add(r.URL.Path + " " + r.URL.RawQuery + " " + r.Header.Get("Authorization"))
			if r.URL.Path == sdkproto.PathConfig {
				return &sdkpb.BatchReply{Config: &sdkpb.Config{Etag: "c2"}}
			}
			return &sdkpb.BatchReply{Inbox: &sdkpb.Inbox{Messages: []*sdkpb.Message{mail("b", 2)}, Cursor: "2 &"}}
		}
		c := g.client(whole)
		for range 2 {
			if err := c.PostBatch(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := mailbox(c); got != "b a" || c.Tracking().Preset != sdkpb.Tracking_PRESET_EFFICIENT {
			t.Errorf("inbox %q, tracking %v", got, c.Tracking())
		}
		if err := errors.Join(c.FetchConfig(t.Context()), c.SyncInbox(t.Context())); err != nil {
			t.Fatal(err)
		}
		if c.Config().GetEtag() != "c2" {
			t.Errorf("config %v", c.Config())
		}
		const auth = " Bearer dt_post"
		want := []string{
			"POST c= i=", sdkproto.PathInbox + " cursor=1" + auth, "POST c=c1 i=2 &",
			sdkproto.PathConfig + " " + auth, sdkproto.PathInbox + " cursor=2+%26" + auth,
		}
		if got := asked.all(); !slices.Equal(got, want) {
			t.Errorf("asked %q, want %q", got, want)
		}
	})
}

// What the one way has in flight, the other sends too, before anything later.
func TestTheOtherWayCarriesWhatIsInFlight(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	seqs := func(b *sdkpb.Batch) string {
		var all []uint64
		for _, i := range b.Items {
			all = append(all, i.Seq)
		}
		return fmt.Sprint(all)
	}
	var onSocket, onPost record[string]
	posted, release := make(chan struct{}, 8), make(chan struct{})
	g.session = func(n int, p *peer) {
		p.hello(nil)
		for f := p.batch(); f != nil; f = p.batch() {
			onSocket.add(seqs(f.Batch))
			if n > 0 {
				p.ack(f)
			}
		}
	}
	g.post = func(_ int, _ http.ResponseWriter, _ *http.Request, b *sdkpb.Batch) *sdkpb.BatchReply {
		onPost.add(seqs(b))
		posted <- struct{}{}
		<-release
		return ackReply(b)
	}
	c := g.client()
	run(t, c)
	track(t, c, "a")
	eventually(t, "1 is in flight on the socket", func() bool { return len(onSocket.all()) == 1 })
	c.Close()
	track(t, c, "b")
	done := make(chan error, 1)
	go func() { done <- c.PostBatch(context.WithoutCancel(t.Context())) }()
	<-posted // 1 and 2 are on their way
	track(t, c, "c")
	run(t, c)
	eventually(t, "the socket has sent", func() bool { return len(onSocket.all()) > 1 })
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	drained(t, c)
	if got := fmt.Sprint(onSocket.all(), onPost.all()); got != "[[1] [1 2 3]] [[1 2]]" {
		t.Errorf("socket and POST sent %s", got)
	}
	// And while the socket is open.
	c.Close()
	g.session = func(_ int, p *peer) {
		p.hello(nil)
		for f := p.batch(); f != nil; f = p.batch() {
			onSocket.add(seqs(f.Batch)) // and no ack
		}
	}
	run(t, c)
	eventually(t, "nothing waits", func() bool { return c.Pending() == 0 })
	seq := track(t, c, "d")
	eventually(t, "it is in flight on the socket", func() bool { s := onSocket.all(); return s[len(s)-1] == fmt.Sprint([]uint64{seq}) })
	if err := c.PostBatch(t.Context()); err != nil {
		t.Error(err)
	}
	if s := onPost.all(); s[len(s)-1] != fmt.Sprint([]uint64{seq}) || c.Pending() != 0 {
		t.Errorf("the POST sent %v, %d wait", s, c.Pending())
	}
}

func TestAQueueOfTooManyBytesDropsToo(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	var dropped record[uint64]
	store := new(client.MemStore)
	c := g.client(func(o *client.Options) {
		o.MaxQueueBytes, o.Store = 1000, store
		o.OnDropped = func(i *sdkpb.Item) { dropped.add(i.Seq) }
	})
	for range 3 {
		c.Enqueue(&sdkpb.Item{Event: &sdkpb.Event{Name: "e", PropertiesJson: `{"x":"` + strings.Repeat("y", 250) + `"}`}})
	}
	c.Receipt("m", sdkpb.Receipt_STATE_OPENED, "")
	c.Enqueue(&sdkpb.Item{Event: &sdkpb.Event{Name: "e", PropertiesJson: `{"x":"` + strings.Repeat("y", 600) + `"}`}})
	saved, err := store.Load()
	if err != nil || fmt.Sprint(dropped.all()) != "[1 2]" || c.Pending() != 3 || len(saved.Items) != 3 {
		t.Errorf("dropped %v, %d wait, %d kept, %v", dropped.all(), c.Pending(), len(saved.Items), err)
	}
}

func TestWhatIsOlderThanAMonthIsNotSent(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	var dropped record[uint64]
	c := g.client(func(o *client.Options) { o.OnDropped = func(i *sdkpb.Item) { dropped.add(i.Seq) } })
	month := time.Now().Add(-31 * 24 * time.Hour)
	c.Fix(&sdkpb.Location{}, month)                                                       // 1
	c.Enqueue(&sdkpb.Item{OccurredMs: month.UnixMilli(), Event: &sdkpb.Event{Name: "e"}}) // 2
	c.Enqueue(&sdkpb.Item{OccurredMs: month.UnixMilli(), Consent: &sdkpb.Consent{}})      // 3
	c.Fix(&sdkpb.Location{}, time.Now().Add(-29*24*time.Hour))                            // 4
	run(t, c)
	drained(t, c)
	if got := fmt.Sprint(dropped.all(), g.times(1), g.times(2), g.times(3), g.times(4)); got != "[1 2] 0 0 1 1" {
		t.Errorf("dropped and taken %s", got)
	}
}
