package ingest_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
)

func bothCodecs(t *testing.T, f func(*testing.T, sdkproto.Codec)) {
	t.Run("protobuf", func(t *testing.T) { f(t, sdkproto.Protobuf{}) })
	t.Run("json", func(t *testing.T) { f(t, sdkproto.JSON{}) })
}

func proof(secret, app, user string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte("v1\x00" + app + "\x00" + user))
	return hex.EncodeToString(h.Sum(nil))
}

// A real client lives a day: it registers, consents, walks, is offered a message
// and shows it once, goes to the background and posts, and comes back.
func TestARealClientIsServed(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
		w := newWorld(t, ingest.Limits{})
		w.deliveries.grants["m1"] = true
		w.deliveries.grants["m2"] = false
		w.deliveries.inbox = []*sdkpb.Message{{MessageId: "waiting", Kind: sdkpb.Message_KIND_INBOX, Title: "Hello"}}
		const pushToken = "push-token-of-ada"
		p := w.phone("ada-phone", codec, func(o *client.Options) {
			o.PushTarget = &sdkpb.PushTarget{Provider: sdkpb.PushTarget_PROVIDER_FCM, Token: pushToken}
		})
		p.SetConsent(sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, true, "v1", "onboarding")
		p.SetConsent(sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, true, "v1", "onboarding")
		p.SetConsent(sdkpb.Consent_PURPOSE_LOCATION_PRECISE, true, "v1", "onboarding")
		p.Fix(&sdkpb.Location{Lat: 0.123456, Lng: 0.000321, AccuracyM: 7}, noon)
		if _, err := p.Track("product_viewed", map[string]any{"sku": "umbrella"}); err != nil {
			t.Fatal(err)
		}
		p.Identify("ada", proof(hush, "shop-android", "ada"))
		p.SetPreferences(map[string]sdkpb.Preferences_Attitude{"fashion": sdkpb.Preferences_ATTITUDE_LIKE})
		p.SetPermissions(&sdkpb.Permissions{Notifications: sdkpb.Permissions_NOTIFICATIONS_GRANTED})
		if err := p.Foreground(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, "empty queue", func() bool { return p.Pending() == 0 })
		until(t, "inbox message and regions", p.get(func() bool {
			return slices.Contains(p.shown, "waiting") && len(p.regions) > 0
		}))
		if n := len(p.regions[0].Regions); n != 50 || p.regions[0].Regions[0].Id != "fence-12" {
			t.Errorf("%d regions, nearest %v", n, p.regions[0].Regions[0])
		}
		logged := w.log.items(t, "ada-phone")
		for i, item := range logged {
			if item.Seq != uint64(i+1) {
				t.Fatalf("item %d of the log has seq %d", i, item.Seq)
			}
			if item.Identify != nil && item.Identify.Hmac != "" {
				t.Error("the proof of identity is in the log")
			}
		}
		if got := logged[3].Location; got.Lat != 0.123456 || got.Lng != 0.000321 || got.AccuracyM != 7 {
			t.Errorf("logged fix %v", got)
		}
		if len(p.rejects) != 0 {
			t.Errorf("rejects %v", p.rejects)
		}

		x := w.gateway.Sessions()
		if !x.Online(ws, "ada-phone") || x.Count() != 1 {
			t.Error("not online")
		}
		if x.Offer("other-workspace", "ada-phone", &sdkpb.Message{MessageId: "m0"}) {
			t.Error("another workspace reached the phone")
		}
		for _, id := range []string{"m2", "m3", "m1"} { // refused, unknown, granted
			if !x.Offer(ws, "ada-phone", &sdkpb.Message{MessageId: id, Kind: sdkpb.Message_KIND_IN_APP, Title: "Rain"}) {
				t.Errorf("offer of %s was not taken", id)
			}
		}
		until(t, "message m1", p.get(func() bool { return slices.Contains(p.shown, "m1") }))
		if p.do(func() {}); slices.Contains(p.shown, "m2") || slices.Contains(p.shown, "m3") {
			t.Errorf("shown %v", p.shown)
		}

		if err := p.Background(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, "end of the session", func() bool { return x.Count() == 0 })
		if x.Offer(ws, "ada-phone", &sdkpb.Message{MessageId: "m4"}) {
			t.Error("a message was offered to a closed session")
		}
		p.RegionEvent("fence-12", sdkpb.RegionEvent_TRANSITION_ENTER, nil, noon)
		if err := p.PostBatch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p.Pending() != 0 {
			t.Errorf("%d items wait after the POST", p.Pending())
		}
		last := w.log.items(t, "ada-phone")
		if last[len(last)-1].RegionEvent.GetRegionId() != "fence-12" {
			t.Errorf("last logged item %v", last[len(last)-1])
		}
		if err := p.Foreground(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, "second session", func() bool { return x.Online(ws, "ada-phone") })
		if got := w.log.hellos(t, "ada-phone"); len(got) != 2 || got[0].PushTarget.GetToken() != pushToken {
			t.Errorf("%d sessions logged", len(got))
		}
		p.Close()

		saved, err := p.store.Load()
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{saved.Token, pushToken, hush, proof(hush, "shop-android", "ada"), "0.123456", "0.000321"} {
			if strings.Contains(w.logs.String(), secret) {
				t.Errorf("the log lines hold %q", secret)
			}
		}
		if len(saved.Token) != 43 {
			t.Errorf("device token of %d characters", len(saved.Token))
		}
		c, _ := w.creds.Credential(t.Context(), ws, "ada-phone")
		if h := sha256.Sum256([]byte(saved.Token)); !c.Confirmed || string(c.Hash) != string(h[:]) {
			t.Errorf("credential %+v", c)
		}
	})
}

func TestAnAckWaitsUntilTheItemsAreDurable(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	r := w.open("phone-00001", sdkproto.Protobuf{})
	w.log.set(func() { w.log.hold = true })
	event := &sdkpb.Item{Seq: 7, ItemId: "seven", Event: &sdkpb.Event{Name: "opened"}}
	r.send(&sdkpb.Frame{Id: 2, Batch: batch(event)}, &sdkpb.Frame{Id: 3, Ping: &sdkpb.Ping{}})
	if f := r.next(); f.Pong == nil || f.Re != 3 {
		t.Fatalf("before the log has it: %v", f)
	}
	w.log.release()
	f := r.next()
	if f.Ack == nil || f.Re != 2 || f.Ack.BatchId != "b" || f.Ack.ThroughSeq != 7 || f.Ack.ServerMs != noon.UnixMilli() {
		t.Fatalf("ack %v", f)
	}
	if n := len(w.log.items(t, "phone-00001")); n != 1 {
		t.Errorf("%d items logged", n)
	}
}

func TestABusyOrFailingLogLosesNothing(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
		w := newWorld(t, ingest.Limits{RetryAfter: time.Millisecond})
		p := w.phone("phone-00001", codec, nil)
		if err := p.Foreground(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, "session", func() bool { return w.gateway.Sessions().Online(ws, "phone-00001") })
		// Whoever was told to wait is heard again when the clock says so.
		waited := func() bool {
			w.clock.Advance(10 * time.Millisecond)
			return p.Pending() == 0
		}
		w.log.set(func() { w.log.busy = 1 })
		if _, err := p.Track("one", nil); err != nil {
			t.Fatal(err)
		}
		until(t, "empty queue", waited)
		w.log.set(func() { w.log.err = errors.New("disk full") })
		if _, err := p.Track("two", nil); err != nil {
			t.Fatal(err)
		}
		until(t, "complaint", func() bool { return strings.Contains(w.logs.String(), "disk full") })
		w.log.set(func() { w.log.err = nil })
		until(t, "empty queue", waited)
		if n := len(w.log.items(t, "phone-00001")); n != 2 {
			t.Errorf("%d items logged", n)
		}
		p.Close()
		until(t, "end of the session", w.ends("phone-00001", 1))

		token := savedToken(t, p)
		w.log.set(func() { w.log.busy = 1 })
		reply, status := w.post(sdkproto.PathBatch, batch(&sdkpb.Item{Seq: 9, Event: &sdkpb.Event{Name: "x"}}), auth("phone-00001", token))
		if status != http.StatusTooManyRequests || reply.Error.GetCode() != uint32(sdkproto.ErrRate) || reply.Error.RetryAfterMs < 1 || reply.Error.RetryAfterMs > 10 {
			t.Errorf("busy: %d %v", status, reply)
		}
		w.log.set(func() { w.log.err = errors.New("disk full") })
		reply, status = w.post(sdkproto.PathBatch, batch(&sdkpb.Item{Seq: 9, Event: &sdkpb.Event{Name: "x"}}), auth("phone-00001", token))
		if status != http.StatusServiceUnavailable || reply.Error.GetCode() != uint32(sdkproto.ErrInternal) || strings.Contains(reply.Error.Reason, "disk") {
			t.Errorf("failing: %d %v", status, reply)
		}
	})
}

func savedToken(t *testing.T, p *phone) string {
	t.Helper()
	s, err := p.store.Load()
	if err != nil {
		t.Fatal(err)
	}
	return s.Token
}

func auth(install, token string) map[string]string {
	return map[string]string{
		sdkproto.HeaderAppKey: android, sdkproto.HeaderInstall: install,
		sdkproto.HeaderAuthorization: sdkproto.BearerPrefix + token,
	}
}

func TestALostHelloOkDoesNotLockThePhoneOut(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	lost := w.token("phone-00001")
	second := w.token("phone-00001") // the phone never saw the first
	if lost == second {
		t.Fatal("the same token twice")
	}
	if _, status := w.post(sdkproto.PathBatch, batch(), auth("phone-00001", lost)); status != http.StatusUnauthorized {
		t.Errorf("the replaced token: %d", status)
	}
	if _, status := w.post(sdkproto.PathBatch, batch(), auth("phone-00001", second)); status != http.StatusOK {
		t.Errorf("the new token: %d", status)
	}
	// It has been used: nobody else may take the install over.
	reply, status := w.post(sdkproto.PathInstall, hello("phone-00001"), nil)
	if status != http.StatusUnauthorized || reply.Error.GetCode() != uint32(sdkproto.ErrToken) {
		t.Errorf("registered over a used token: %d %v", status, reply)
	}
	r := w.dial(sdkproto.Protobuf{})
	r.send(&sdkpb.Frame{Id: 1, Hello: hello("phone-00001")})
	if errs, code := r.closed(); code != sdkproto.CloseToken || len(errs) != 1 || errs[0].Code != uint32(sdkproto.ErrToken) {
		t.Errorf("closed with %d after %v", code, errs)
	}
	h := hello("phone-00001")
	h.DeviceToken = second
	reply, status = w.post(sdkproto.PathInstall, h, nil)
	if status != http.StatusOK || reply.HelloOk.GetNewDeviceToken() != "" {
		t.Errorf("hello with a token: %d %v", status, reply)
	}
}

func TestATokenIsDurableBeforeItIsTold(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.creds.put = func() error { return errors.New("disk full") }
	reply, status := w.post(sdkproto.PathInstall, hello("phone-00001"), nil)
	if status != http.StatusServiceUnavailable || reply.HelloOk != nil {
		t.Errorf("%d %v", status, reply)
	}
	// Two at once: one makes way for the other.
	conflicts := 2
	w.creds.put = func() error {
		if conflicts--; conflicts >= 0 {
			return engage.Errorf(engage.Conflict, "", "somebody was faster")
		}
		return nil
	}
	if w.token("phone-00001") == "" {
		t.Error("no token")
	}
}

func TestTheNewestConnectionOfAnInstallWins(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	token := w.token("phone-00001")
	h := hello("phone-00001")
	h.DeviceToken = token
	older, newer := w.dial(sdkproto.Protobuf{}), w.dial(sdkproto.JSON{})
	older.send(&sdkpb.Frame{Id: 1, Hello: h})
	older.next()
	newer.send(&sdkpb.Frame{Id: 1, Hello: h})
	newer.next()
	if _, code := older.closed(); code != sdkproto.CloseReplaced {
		t.Errorf("the older was closed with %d", code)
	}
	until(t, "offer taken", func() bool {
		return w.gateway.Sessions().Offer(ws, "phone-00001", &sdkpb.Message{MessageId: "m", Kind: sdkpb.Message_KIND_IN_APP})
	})
	if f := newer.next(); f.Message.GetMessageId() != "m" {
		t.Errorf("the newer got %v", f)
	}
	if n := w.gateway.Sessions().Count(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

func TestShutdownAnswersWhatWasTakenAndCloses4001(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	token := w.token("phone-00001")
	r, idle, fresh := w.open("phone-00001", sdkproto.Protobuf{}), w.open("phone-00002", sdkproto.JSON{}), w.dial(sdkproto.JSON{})
	w.log.set(func() { w.log.hold = true })
	r.send(&sdkpb.Frame{Id: 2, Batch: batch(&sdkpb.Item{Seq: 1, Event: &sdkpb.Event{Name: "x"}})})
	until(t, "append", func() bool { return w.log.waiting() == 1 })
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.stop()
	}()
	for _, c := range []*raw{idle, fresh} {
		if _, code := c.closed(); code != sdkproto.CloseShutdown {
			t.Errorf("closed with %d", code)
		}
	}
	w.log.release()
	if f := r.next(); f.Ack == nil {
		t.Errorf("before the end: %v", f)
	}
	if _, code := r.closed(); code != sdkproto.CloseShutdown {
		t.Errorf("closed with %d", code)
	}
	<-stopped
	if _, status := w.post(sdkproto.PathBatch, batch(), auth("phone-00001", token)); status != http.StatusServiceUnavailable {
		t.Errorf("a POST afterwards: %d", status)
	}
}

func TestShutdownDoesNotWaitForASilentLogForever(t *testing.T) {
	w := newWorld(t, ingest.Limits{DrainWithin: 20 * time.Millisecond})
	r := w.open("phone-00001", sdkproto.Protobuf{})
	w.log.set(func() { w.log.hold = true })
	r.send(&sdkpb.Frame{Id: 2, Batch: batch(&sdkpb.Item{Seq: 1, Event: &sdkpb.Event{Name: "x"}})})
	until(t, "append", func() bool { return w.log.waiting() == 1 })
	w.stop()
	w.log.release() // whoever comes too late does no harm
}

// A phone that lost its counter is found out whatever holes there are below.
func TestHelloSaysTheHighestSeq(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.installs.known["phone-00001"] = ingest.Install{LastSeq: 41}
	reply, _ := w.post(sdkproto.PathInstall, hello("phone-00001"), nil)
	if got := reply.GetHelloOk().GetThroughSeq(); got != 41 {
		t.Errorf("at first %d", got)
	}
	h := hello("phone-00001")
	h.DeviceToken = reply.GetHelloOk().GetNewDeviceToken()
	b := batch(fix(50, 0.5, 0), &sdkpb.Item{Seq: 49, Event: &sdkpb.Event{Name: "x"}})
	if got := w.judgements(auth("phone-00001", h.DeviceToken), b); got[50] == "" { // there is no consent to location
		t.Fatalf("%v", got)
	}
	reply, status := w.post(sdkproto.PathInstall, h, nil)
	if got := reply.GetHelloOk().GetThroughSeq(); status != http.StatusOK || got != 50 {
		t.Errorf("%d, and then %d", status, got)
	}
}

func TestRegionsFollowThePhoneAndTheCatalog(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.installs.known["phone-00001"] = ingest.Install{Consents: everything(), LastSeq: 41}
	w.installs.known["iphone-0001"] = ingest.Install{Consents: everything()}
	h := hello("iphone-0001")
	h.AppKey, h.Platform = ios, sdkpb.Platform_PLATFORM_IOS
	reply, status := w.post(sdkproto.PathInstall, h, nil)
	if status != http.StatusOK || reply.Regions != nil {
		t.Fatalf("regions without a position: %d %v", status, reply)
	}
	head := auth("iphone-0001", reply.HelloOk.NewDeviceToken)
	head[sdkproto.HeaderAppKey] = ios
	post := func(b *sdkpb.Batch) *sdkpb.Regions {
		t.Helper()
		reply, status := w.post(sdkproto.PathBatch, b, head)
		if status != http.StatusOK || len(reply.Ack.GetRejects()) > 0 {
			t.Fatalf("%d %v", status, reply)
		}
		return reply.Regions
	}
	const degree = 111_000.0
	if got := post(batch(fix(1, 0.5, 0))); len(got.GetRegions()) != 19 || got.Regions[0].Id != "fence-50" || !got.Regions[0].OnExit {
		t.Errorf("first regions %v", got)
	}
	if got := post(batch(fix(2, 0.5+150/degree, 0))); got != nil {
		t.Errorf("after 150 m: %v", got)
	}
	if got := post(batch(fix(3, 0.5+300/degree, 0))); got != nil {
		t.Errorf("the same set after 300 m: %v", got)
	}
	if got := post(batch(fix(4, 0.5+1500/degree, 0))); got.GetRegions()[0].GetId() != "fence-51" {
		t.Errorf("after 1.5 km: %v", got)
	}
	if got := post(&sdkpb.Batch{}); len(got.GetRegions()) != 19 {
		t.Errorf("asked for: %v", got)
	}
	late := fix(5, 0.9, 0)
	late.OccurredMs -= 60_000
	if got := post(batch(late)); got != nil {
		t.Errorf("an older position moved the set: %v", got)
	}

	r := w.open("phone-00001", sdkproto.Protobuf{})
	r.send(&sdkpb.Frame{Id: 2, Batch: batch(fix(1, 0.2, 0))})
	regions := 0
	nextRegions := func() *sdkpb.Regions {
		t.Helper()
		for {
			if f := r.next(); f.Regions != nil {
				regions++
				return f.Regions
			}
		}
	}
	if got := nextRegions(); len(got.Regions) != 50 || got.Regions[0].Id != "fence-20" {
		t.Errorf("on the socket: %v", got)
	}
	w.catalog.change(func() {}) // of something else: nothing is told
	w.catalog.change(func() { w.catalog.index = line(160) })
	if got := nextRegions(); got.Regions[0].RadiusM != 160 || got.Bubble != nil {
		t.Errorf("after a change: %v", got)
	}
	r.send(&sdkpb.Frame{Id: 3, Batch: batch(
		consent(2, sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, false),
		consent(3, sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, false))})
	if got := nextRegions(); len(got.Regions) != 0 {
		t.Errorf("after the withdrawal: %v", got)
	}
}

func TestADisabledAppIsClosed(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	r := w.open("phone-00001", sdkproto.Protobuf{})
	w.catalog.change(func() {
		a := w.catalog.apps[android]
		a.Disabled = true
		w.catalog.apps[android] = a
	})
	errs, code := r.closed()
	if code != sdkproto.CloseBlocked || len(errs) != 1 || errs[0].Code != uint32(sdkproto.ErrBlocked) {
		t.Errorf("closed with %d after %v", code, errs)
	}
}

// Whoever does not connect at all, or is full, is told when to come back.
func TestLimitsOfSessionsAndPosts(t *testing.T) {
	w := newWorld(t, ingest.Limits{MaxSessions: 1, MaxPosts: 1})
	token := w.token("phone-00001")
	w.open("phone-00002", sdkproto.Protobuf{})
	p := w.phone("phone-00003", sdkproto.Protobuf{}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second session ended with %v", err)
	}
	if p.Registered() {
		t.Error("a second session was served")
	}
	w.log.set(func() { w.log.hold = true })
	first := make(chan int, 1)
	go func() {
		_, status := w.post(sdkproto.PathBatch, batch(&sdkpb.Item{Seq: 1, Event: &sdkpb.Event{Name: "x"}}), auth("phone-00001", token))
		first <- status
	}()
	until(t, "append", func() bool { return w.log.waiting() == 1 })
	if reply, status := w.post(sdkproto.PathBatch, batch(), auth("phone-00001", token)); status != http.StatusTooManyRequests || reply.Error.RetryAfterMs < 1000 || reply.Error.RetryAfterMs > 2000 {
		t.Errorf("a second POST: %d %v", status, reply)
	}
	w.log.release()
	if status := <-first; status != http.StatusOK {
		t.Errorf("the first POST: %d", status)
	}
}
