package ingest_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/ingest"
)

func letter(id string) change {
	return change{message: &sdkpb.Message{MessageId: id, Kind: inbox, Title: "t"}}
}

// inboxOf are the ids of an inbox's messages and of what is gone from it.
func inboxOf(x *sdkpb.Inbox) string {
	var out []string
	if x == nil {
		return "none"
	}
	if x.Full {
		out = append(out, "full")
	}
	for _, m := range x.Messages {
		out = append(out, "+"+m.MessageId)
	}
	for _, id := range x.Gone {
		out = append(out, "-"+id)
	}
	return strings.Join(append(out, x.Cursor), " ")
}

// get asks by GET.
func (w *world) get(path, accept string, header map[string]string) (*sdkpb.BatchReply, int) {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.server.URL+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	return w.answered(req)
}

// The inbox is told by cursor: with hello, when it changes, when asked; never as
// messages of their own, and over a broken connection.
func TestAnInboxIsToldByCursor(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
		w := newWorld(t, ingest.Limits{})
		w.installs.known["phone-00001"] = ingest.Install{}
		w.deliveries.inbox = []*sdkpb.Message{{MessageId: "of old", Kind: inbox}}
		w.deliveries.post(letter("m1"), letter("m2"))
		m := w.modern("phone-00001", codec, sdkproto.CapInbox, sdkproto.CapResume)
		since := func(cursor string) func(*sdkpb.Hello) {
			return func(h *sdkpb.Hello) { h.InboxCursor = &cursor }
		}
		m.open(since(""))
		if f := m.next(); inboxOf(f.Inbox) != "full +m1 +m2 c2" || f.Seq != 1 {
			t.Fatalf("after hello: %v", f)
		}
		x := w.gateway.Sessions()
		w.deliveries.post(letter("m3"), change{gone: "m1"})
		if !w.offer(m.id, "m3", inbox) {
			t.Error("who keeps an inbox did not take an inbox message")
		}
		if f := m.next(); inboxOf(f.Inbox) != "+m3 -m1 c4" || f.Seq != 2 {
			t.Fatalf("after a change: %v", f)
		}
		x.InboxChanged(ws, m.id) // it has not
		m.send(&sdkpb.Frame{Id: 7, InboxSync: &sdkpb.InboxSync{Cursor: "c3"}})
		if f := m.next(); inboxOf(f.Inbox) != "-m1 c4" || f.Seq != 3 || f.Re != 7 {
			t.Fatalf("asked: %v", f)
		}
		m.breaks()
		x.InboxChanged(ws, m.id) // nobody is there
		w.deliveries.post(letter("m4"))
		m.last = 2
		m.resume(since("c4"))
		if f := m.next(); inboxOf(f.Inbox) != "+m4 c5" || f.Seq != 4 || f.Re != 0 {
			t.Fatalf("resumed: %v", f)
		}
		m.breaks()
		m.last = 3
		m.resume(nil) // says no cursor: what was sent and not taken comes again, and it goes on from there
		if f := m.next(); inboxOf(f.Inbox) != "+m4 c5" || f.Seq != 4 {
			t.Fatalf("resumed without a cursor: %v", f)
		}
		w.deliveries.post(letter("m5"))
		x.InboxChanged(ws, m.id)
		if f := m.next(); inboxOf(f.Inbox) != "+m5 c6" || f.Seq != 5 {
			t.Fatalf("and then: %v", f)
		}
		x.InboxChanged("other-workspace", m.id)
		x.InboxChanged(ws, "phone-00009")
		m.want(t, "of others", "")
		m.breaks()
		m.open(since("c6"))
		m.want(t, "with everything", "")
		m.breaks()
		m.open(nil) // of the capability, and asks for nothing
		w.deliveries.post(letter("m6"))
		x.InboxChanged(ws, m.id)
		m.want(t, "unasked", "")
		m.send(&sdkpb.Frame{Id: 8, InboxSync: &sdkpb.InboxSync{Cursor: "c6"}})
		if f := m.next(); inboxOf(f.Inbox) != "+m6 c7" {
			t.Fatalf("asked: %v", f)
		}
	})
}

// What only waits for its moment goes to who can wait, by whatever way is asked.
func TestMessagesThatWaitAreForSDKsThatKnowThem(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
		w := newWorld(t, ingest.Limits{})
		waits := letter("waits")
		waits.message.Kind, waits.message.Trigger = sdkpb.Message_KIND_IN_APP, &sdkpb.Trigger{Event: "cart"}
		both := letter("both")
		both.message.Trigger = &sdkpb.Trigger{Event: "cart"}
		w.deliveries.post(waits, both)
		for n, test := range []struct {
			caps []string
			want string
		}{
			{[]string{sdkproto.CapInbox}, "full +both c2"},
			{[]string{sdkproto.CapInbox, sdkproto.CapTriggers}, "full +waits +both c2"},
		} {
			id := fmt.Sprintf("phone-0000%d", n+1)
			w.installs.known[id] = ingest.Install{}
			m := w.modern(id, codec, test.caps...)
			m.open(func(h *sdkpb.Hello) { h.InboxCursor = new("") })
			if f := m.next(); inboxOf(f.Inbox) != test.want {
				t.Errorf("%v: after hello: %v", test.caps, f)
			}
			m.send(&sdkpb.Frame{Id: 7, InboxSync: &sdkpb.InboxSync{}})
			if f := m.next(); inboxOf(f.Inbox) != test.want {
				t.Errorf("%v: asked: %v", test.caps, f)
			}
			h := hello(id + "-post")
			h.Caps, h.InboxCursor = test.caps, new("")
			reply, _ := w.post(sdkproto.PathInstall, h, nil)
			if inboxOf(reply.GetInbox()) != test.want {
				t.Errorf("%v: registered: %v", test.caps, reply)
			}
			head := auth(id+"-post", reply.GetHelloOk().GetNewDeviceToken())
			head[sdkproto.HeaderCaps] = strings.Join(test.caps, ",")
			b := batch()
			b.InboxCursor = new("")
			if reply, _ := w.post(sdkproto.PathBatch, b, head); inboxOf(reply.GetInbox()) != test.want {
				t.Errorf("%v: posted: %v", test.caps, reply)
			}
			if reply, _ := w.get(sdkproto.PathInbox+"?cursor=", "", head); inboxOf(reply.GetInbox()) != test.want {
				t.Errorf("%v: GET: %v", test.caps, reply)
			}
		}
	})
}

// Many changes at once are told together, a large inbox in pieces, and what could
// not be asked for is told later.
func TestChangesOfAnInboxAreToldTogether(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.installs.known["phone-00001"] = ingest.Install{}
	m := w.modern("phone-00001", sdkproto.Protobuf{}, sdkproto.CapInbox)
	m.open(func(h *sdkpb.Hello) { h.InboxCursor = new("c0") })
	m.want(t, "nothing yet", "")
	const n = 2000
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range n / 4 {
				w.deliveries.post(letter("m"))
				w.gateway.Sessions().InboxChanged(ws, m.id)
			}
		})
	}
	wg.Wait()
	have, frames := 0, 0
	for have < n {
		f := m.next()
		if f.Inbox == nil {
			t.Fatalf("told %v", f)
		}
		frames++
		have += len(f.Inbox.Messages)
		if f.Inbox.More {
			m.send(&sdkpb.Frame{Id: uint64(frames + 1), InboxSync: &sdkpb.InboxSync{Cursor: f.Inbox.Cursor}})
		}
	}
	if have != n {
		t.Errorf("%d messages of %d", have, n)
	}
	w.deliveries.mu.Lock()
	asked := w.deliveries.asked
	w.deliveries.failing = 1
	w.deliveries.mu.Unlock()
	if asked >= n/2 {
		t.Errorf("%d changes were asked for %d times", n, asked)
	}
	w.deliveries.post(letter("late"))
	w.gateway.Sessions().InboxChanged(ws, m.id)
	until(t, "a failure", func() bool {
		w.deliveries.mu.Lock()
		defer w.deliveries.mu.Unlock()
		return w.deliveries.failing == 0
	})
	w.tickUntil("the change", func() bool { return strings.Contains(names(m.told(0)), "inbox") })
}

// POSTs and GETs answer the same questions.
func TestTheInboxAndTheConfigByHTTP(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.configure("c1")
	w.deliveries.inbox = []*sdkpb.Message{{MessageId: "of old", Kind: inbox}}
	w.deliveries.post(letter("m1"), letter("m2"))
	h := hello("phone-00001")
	h.Caps, h.InboxCursor = []string{sdkproto.CapInbox, sdkproto.CapConfig}, new("")
	reply, status := w.post(sdkproto.PathInstall, h, nil)
	if status != http.StatusOK || inboxOf(reply.Inbox) != "full +m1 +m2 c2" || reply.Config.GetEtag() != "c1" || len(reply.Messages) > 0 {
		t.Fatalf("registered: %d %v", status, reply)
	}
	head := auth("phone-00001", reply.HelloOk.NewDeviceToken)
	b := batch()
	if reply, _ := w.post(sdkproto.PathBatch, b, head); reply.Inbox != nil || reply.Config != nil || len(reply.Messages) != 1 {
		t.Errorf("of old: %v", reply)
	}
	head[sdkproto.HeaderCaps] = "inbox, config"
	if reply, _ := w.post(sdkproto.PathBatch, b, head); reply.Inbox != nil || reply.Config != nil || len(reply.Messages) != 0 {
		t.Errorf("asked for nothing: %v", reply)
	}
	b.InboxCursor, b.ConfigEtag = new("c1"), new("")
	if reply, _ := w.post(sdkproto.PathBatch, b, head); inboxOf(reply.Inbox) != "+m2 c2" || reply.Config.GetInAppGapMs() != 1000 {
		t.Errorf("asked: %v", reply)
	}
	b.InboxCursor, b.ConfigEtag = new("c2"), new("c1")
	if reply, _ := w.post(sdkproto.PathBatch, b, head); reply.Inbox != nil || reply.Config != nil {
		t.Errorf("has everything: %v", reply)
	}
	w.catalog.change(func() { w.configure("") })
	if reply, _ := w.post(sdkproto.PathBatch, b, head); reply.Config == nil || reply.Config.Etag != "" || reply.Config.InAppGapMs != 0 {
		t.Errorf("the config was taken back: %v", reply)
	}
	for _, accept := range []string{"", sdkproto.ContentTypePB, "text/html, " + sdkproto.ContentTypeJSON} {
		reply, status := w.get(sdkproto.PathInbox+"?cursor=c1", accept, head)
		if status != http.StatusOK || inboxOf(reply.Inbox) != "+m2 c2" {
			t.Errorf("GET inbox of %q: %d %v", accept, status, reply)
		}
		if reply, status = w.get(sdkproto.PathConfig, accept, head); status != http.StatusOK || reply.Config == nil {
			t.Errorf("GET config of %q: %d %v", accept, status, reply)
		}
	}
	if reply, _ := w.get(sdkproto.PathInbox+"?cursor=c2", "", head); inboxOf(reply.Inbox) != "c2" {
		t.Errorf("GET inbox without changes: %v", reply)
	}
	head[sdkproto.HeaderAuthorization] = sdkproto.BearerPrefix + "wrong"
	for _, path := range []string{sdkproto.PathInbox, sdkproto.PathConfig} {
		if reply, status := w.get(path, "", head); status != http.StatusUnauthorized || reply.Config != nil || reply.Inbox != nil {
			t.Errorf("GET %s with a wrong token: %d %v", path, status, reply)
		}
	}
	if _, status := w.post(sdkproto.PathToken, &sdkpb.TokenRefresh{}, head); status != http.StatusUnauthorized {
		t.Errorf("a token for a wrong token: %d", status)
	}
}

// A phone that asks for another token keeps the old one until it shows the new one,
// on the socket and by POST; one whose token is old is given another unasked.
func TestATokenIsReplacedWithoutLosingThePhone(t *testing.T) {
	w := newWorld(t, ingest.Limits{TokenAge: time.Hour})
	m := w.modern("phone-00001", sdkproto.JSON{})
	m.open(nil)
	m.told(0)
	m.send(&sdkpb.Frame{Id: 2, TokenRefresh: &sdkpb.TokenRefresh{}})
	f := m.next()
	second := f.NewToken.GetDeviceToken()
	if f.Re != 2 || len(second) != 43 || second == m.token {
		t.Fatalf("asked for a token: %v", f)
	}
	reply, status := w.post(sdkproto.PathToken, &sdkpb.TokenRefresh{}, auth(m.id, m.token)) // the answer was lost
	third := reply.GetNewToken().GetDeviceToken()
	if status != http.StatusOK || third == second || third == "" {
		t.Fatalf("by POST: %d %v", status, reply)
	}
	accepted := func(token string) bool {
		_, status := w.post(sdkproto.PathBatch, batch(), auth(m.id, token))
		return status == http.StatusOK
	}
	if !accepted(m.token) || accepted(second) || !accepted(third) || accepted(m.token) {
		t.Error("the first is good until the third is used, the second was replaced")
	}
	w.clock.Advance(time.Hour)
	reply, _ = w.post(sdkproto.PathBatch, batch(), auth(m.id, third))
	fourth := reply.GetNewToken().GetDeviceToken()
	if fourth == "" {
		t.Fatalf("an old token: %v", reply)
	}
	m.token = fourth
	if ok := m.open(nil); ok.NewDeviceToken != "" {
		t.Error("a young token was replaced")
	}
	w.clock.Advance(time.Hour)
	ok := m.open(nil)
	if ok.NewDeviceToken == "" || !accepted(ok.NewDeviceToken) {
		t.Error("an old token was not replaced on the socket")
	}
	if strings.Contains(w.logs.String(), second) || strings.Contains(w.logs.String(), ok.NewDeviceToken) {
		t.Error("a token is in the log lines")
	}
}

// Questions cost what they ask of the store, and their fields are bounded.
func TestQuestionsAreBounded(t *testing.T) {
	w := newWorld(t, ingest.Limits{ItemRate: 100, ItemBurst: 1000})
	m := w.modern("phone-00001", sdkproto.Protobuf{})
	long := strings.Repeat("x", sdkproto.MaxCursorChars+1)
	m.open(nil)
	m.told(0)
	ask := func(f *sdkpb.Frame) *sdkpb.Error {
		t.Helper()
		f.Id = 5
		m.send(f)
		return m.next().Error
	}
	if e := ask(&sdkpb.Frame{InboxSync: &sdkpb.InboxSync{Cursor: long}}); e.GetCode() != uint32(sdkproto.ErrMalformed) || e.Field != "inbox_sync.cursor" {
		t.Errorf("a long cursor: %v", e)
	}
	if e := ask(&sdkpb.Frame{Batch: &sdkpb.Batch{ConfigEtag: &long}}); e.GetCode() != uint32(sdkproto.ErrMalformed) || e.Field != "batch.config_etag" {
		t.Errorf("a long etag: %v", e)
	}
	for _, path := range []string{sdkproto.PathInbox + "?cursor=" + long} {
		if reply, status := w.get(path, "", auth(m.id, m.token)); status != http.StatusBadRequest || reply.Error.GetField() != "cursor" {
			t.Errorf("GET: %d %v", status, reply)
		}
	}
	for field, change := range map[string]func(*sdkpb.Hello){
		"inbox_cursor":   func(h *sdkpb.Hello) { h.InboxCursor = &long },
		"config_etag":    func(h *sdkpb.Hello) { h.ConfigEtag = long[:sdkproto.MaxIDChars+1] },
		"regions_etag":   func(h *sdkpb.Hello) { h.RegionsEtag = long[:sdkproto.MaxIDChars+1] },
		"resume.session": func(h *sdkpb.Hello) { h.Resume = &sdkpb.Resume{Epoch: "e", Session: long} },
		"resume.epoch":   func(h *sdkpb.Hello) { h.Resume = &sdkpb.Resume{} },
	} {
		h := hello(m.id)
		h.DeviceToken = m.token
		change(h)
		if reply, status := w.post(sdkproto.PathInstall, h, nil); status != http.StatusBadRequest || reply.Error.GetField() != field {
			t.Errorf("%s: %d %v", field, status, reply)
		}
	}
	for name, f := range map[string]*sdkpb.Frame{
		"inbox_sync":    {InboxSync: &sdkpb.InboxSync{}},
		"token_refresh": {TokenRefresh: &sdkpb.TokenRefresh{}},
	} {
		w.clock.Advance(time.Minute)
		n := 0
		var e *sdkpb.Error
		for ; n < 100 && e == nil; n++ {
			e = ask(f)
		}
		if want := map[string]int{"inbox_sync": 51, "token_refresh": 11}[name]; n != want || e.GetCode() != uint32(sdkproto.ErrRate) || e.Field != name || e.RetryAfterMs < 1000 {
			t.Errorf("%s: the %dth was refused with %v, want the %dth", name, n, e, want)
		}
	}
}

// The installs of one app together have a rate, which is not another app's, and
// those beyond it are told different times.
func TestAnAppThatSendsTooMuchIsHeldAlone(t *testing.T) {
	w := newWorld(t, ingest.Limits{AppItemRate: 100, AppItemBurst: 600})
	events := func(n int) *sdkpb.Batch {
		b := batch()
		for i := range n {
			b.Items = append(b.Items, &sdkpb.Item{Seq: uint64(i + 1), Event: &sdkpb.Event{Name: "x"}})
		}
		return b
	}
	bring := func(i, n int) (*sdkpb.BatchReply, int) {
		id := fmt.Sprintf("phone-%05d", i)
		return w.post(sdkproto.PathBatch, events(n), auth(id, w.token(id)))
	}
	for i := range 2 {
		if reply, status := bring(i, 300); status != http.StatusOK {
			t.Fatalf("within the burst: %d %v", status, reply)
		}
	}
	waits := map[uint32]bool{}
	for i := range 5 {
		reply, status := bring(2+i, 200)
		if status != http.StatusTooManyRequests || reply.Error.GetField() != "batch.items" || reply.Error.RetryAfterMs < 2000 || reply.Error.RetryAfterMs > 5000 {
			t.Fatalf("beyond it: %d %v", status, reply)
		}
		waits[reply.Error.RetryAfterMs] = true
	}
	if len(waits) < 3 {
		t.Errorf("all were told the same time: %v", waits)
	}
	h := hello("iphone-0001")
	h.AppKey, h.Platform = ios, sdkpb.Platform_PLATFORM_IOS
	reply, _ := w.post(sdkproto.PathInstall, h, nil)
	head := auth("iphone-0001", reply.HelloOk.NewDeviceToken)
	head[sdkproto.HeaderAppKey] = ios
	if reply, status := w.post(sdkproto.PathBatch, events(300), head); status != http.StatusOK {
		t.Errorf("another app: %d %v", status, reply)
	}
	w.clock.Advance(2 * time.Second)
	if reply, status := bring(8, 200); status != http.StatusOK {
		t.Errorf("in time: %d %v", status, reply)
	}
	if got := w.measured()["footfall_ingest_limited_total app_items"]; got != 5 {
		t.Errorf("%v were counted", got)
	}
}
