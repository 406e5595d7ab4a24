package app_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// speaker is an install that says whatever it likes.
type speaker struct {
	s       *story
	appKey  string
	install string
	token   string
	seq     uint64
}

// send makes a request of the protocol and gives its answer and status.
func (s *story) send(method, path string, head map[string]string, m proto.Message) (*sdkpb.BatchReply, int) {
	s.t.Helper()
	codec := sdkproto.JSON{}
	var in io.Reader
	if m != nil {
		b, err := codec.Marshal(m)
		if err != nil {
			s.t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, in)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", codec.ContentType())
	for k, v := range head {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer closing(s.t, resp.Body)
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	reply := &sdkpb.BatchReply{}
	if err := codec.Unmarshal(b, reply); err != nil {
		s.t.Fatalf("%s: %d %s", path, resp.StatusCode, b)
	}
	return reply, resp.StatusCode
}

func (s *story) speaker(app, install string) *speaker {
	s.t.Helper()
	r := &speaker{s: s, appKey: s.keys[app], install: install}
	reply, _ := s.send("POST", sdkproto.PathInstall, nil, r.hello())
	if r.token = reply.GetHelloOk().GetNewDeviceToken(); r.token == "" {
		s.t.Fatalf("not registered: %v", reply)
	}
	return r
}

func (r *speaker) hello() *sdkpb.Hello {
	return &sdkpb.Hello{
		AppKey: r.appKey, InstallId: r.install, DeviceToken: r.token, Platform: sdkpb.Platform_PLATFORM_ANDROID,
		WallMs: r.s.clock.Now().UnixMilli(), Lifecycle: sdkpb.Lifecycle_STATE_FOREGROUND,
	}
}

func (r *speaker) head() map[string]string {
	return map[string]string{
		sdkproto.HeaderAppKey: r.appKey, sdkproto.HeaderInstall: r.install,
		sdkproto.HeaderAuthorization: sdkproto.BearerPrefix + r.token, sdkproto.HeaderCaps: sdkproto.CapInbox,
	}
}

// post brings items with their seq given, and says what became of each: empty, or the
// code and field of its reject.
func (r *speaker) post(items ...*sdkpb.Item) ([]string, *sdkpb.BatchReply) {
	r.s.t.Helper()
	for _, i := range items {
		r.seq++
		i.Seq = r.seq
	}
	reply, status := r.s.send("POST", sdkproto.PathBatch, r.head(), &sdkpb.Batch{
		SentMs: r.s.clock.Now().UnixMilli(), Items: items, InboxCursor: new(""),
	})
	if status != http.StatusOK {
		r.s.t.Fatalf("POST: %d %v", status, reply)
	}
	out := make([]string, len(items))
	for _, x := range reply.GetAck().GetRejects() {
		for i := range items {
			if items[i].Seq == x.Seq {
				out[i] = x.Code + " " + x.Field
			}
		}
	}
	return out, reply
}

// person is all that a marketer can see of somebody, as text.
func (s *story) person(id string) string {
	s.t.Helper()
	if err := s.app.Flush(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	var out strings.Builder
	for _, path := range []string{"", "/timeline", "/visits"} {
		var body json.RawMessage
		s.must("GET", "/api/v1/people/"+url.PathEscape(id)+path, nil, &body)
		out.Write(body)
	}
	return out.String()
}

func hmacOf(secret, app, user string) string {
	m := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(m, "v1\x00%s\x00%s", app, user)
	return hex.EncodeToString(m.Sum(nil))
}

// Eve has what everybody can have: the app and its public key, an install of her own,
// and what she has seen pass: proofs of other times, apps and users. Whatever she
// says, in whatever mode, Ada stays as she is, and Eve learns nothing of her.
func TestAnUnprovenIdentityGainsNothing(t *testing.T) {
	s := newStory(t)
	s.inboxCampaign()
	es, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&es.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	s.must("POST", "/api/v1/apps/android/identity/keys", map[string]any{"id": "es", "alg": "ES256", "public_key": string(public)}, nil)
	// Apps of the same retailer, and of another, with their own keys.
	const otherSecret = "the secret of an app of another"
	s.must("POST", "/api/v1/apps", map[string]any{"id": "kiosk", "name": "x", "platform": "android", "identity_secret": otherSecret}, nil)
	now := s.clock.Now()
	token := func(method jwt.SigningMethod, key any, kid, aud, sub string, at time.Time) string {
		t.Helper()
		x := jwt.NewWithClaims(method, jwt.MapClaims{"sub": sub, "aud": aud, "iat": at.Unix(), "exp": at.Add(time.Hour).Unix()})
		x.Header["kid"] = kid
		text, err := x.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	stolen := token(jwt.SigningMethodES256, es, "es", "android", "ada", now)
	parts := strings.Split(stolen, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"es"}`)) + "." + parts[1] + "."

	// Ada proves who she is, agrees, likes, and has a message.
	ada := s.phone("ada", "android", nil).agree().likes("fashion").background().identify("ada")
	s.tick(ada)
	s.eventually("Ada's message is in her inbox", func() bool { return s.inInbox(ada, "news", "no_session") })
	s.settle()
	before := s.person("user_id:ada")
	message := s.decisions(ada, "news")[0].Delivery
	if !strings.Contains(before, `"fashion":"like"`) || message == "" {
		t.Fatalf("Ada is %s", before)
	}

	attacks := []struct {
		name  string
		is    *sdkpb.Identify
		wrong string // reject where proofs are looked at; empty: there is none
	}{
		{"no proof", &sdkpb.Identify{}, ""},
		{"the hash of herself", &sdkpb.Identify{Hmac: hmacOf(identitySecret, "android", "eve")}, "identity_invalid identify.hmac"},
		{"the hash of Ada at another app", &sdkpb.Identify{Hmac: hmacOf(identitySecret, "kiosk", "ada")}, "identity_invalid identify.hmac"},
		{"the secret of another app", &sdkpb.Identify{Hmac: hmacOf(otherSecret, "android", "ada")}, "identity_invalid identify.hmac"},
		{"no secret", &sdkpb.Identify{Hmac: hmacOf("", "android", "ada")}, "identity_invalid identify.hmac"},
		{"Ada's token for another app", &sdkpb.Identify{Jwt: token(jwt.SigningMethodES256, es, "es", "ios", "ada", now)}, "identity_invalid identify.jwt.aud"},
		{"her own token", &sdkpb.Identify{Jwt: token(jwt.SigningMethodES256, es, "es", "android", "eve", now)}, "identity_invalid identify.jwt.sub"},
		{"Ada's token of yesterday", &sdkpb.Identify{Jwt: token(jwt.SigningMethodES256, es, "es", "android", "ada", now.Add(-24*time.Hour))}, "identity_expired identify.jwt.exp"},
		{"alg none", &sdkpb.Identify{Jwt: none}, "identity_invalid identify.jwt.alg"},
		{"HS256 by the public key", &sdkpb.Identify{Jwt: token(jwt.SigningMethodHS256, public, "es", "android", "ada", now)}, "identity_invalid identify.jwt.alg"},
		{"HS256 by the public key, DER", &sdkpb.Identify{Jwt: token(jwt.SigningMethodHS256, spki, "es", "android", "ada", now)}, "identity_invalid identify.jwt.alg"},
		{"a signature cut off", &sdkpb.Identify{Jwt: parts[0] + "." + parts[1] + "."}, "identity_invalid identify.jwt"},
		{"another's claims under Ada's signature", &sdkpb.Identify{Jwt: parts[0] + "." + strings.Split(token(jwt.SigningMethodES256, es, "es", "android", "ada", now.Add(time.Second)), ".")[1] + "." + parts[2]}, "identity_invalid identify.jwt"},
	}
	for _, mode := range []string{"required", "optional", "off"} {
		s.putIfMatch("/api/v1/apps/android/identity", map[string]any{"mode": mode}, s.version("/api/v1/apps/android"))
		eve := s.speaker("android", "install-eve-"+mode)
		for _, a := range attacks {
			want := a.wrong
			switch {
			case mode == "off", mode == "optional" && want == "":
				want = ""
			case want == "":
				want = "identity_invalid identify"
			}
			a.is.UserId, a.is.TraitsJson = "ada", `{"tier":"stolen"}`
			got, reply := eve.post(
				&sdkpb.Item{Identify: proto.CloneOf(a.is)},
				&sdkpb.Item{Consent: &sdkpb.Consent{Purpose: sdkpb.Consent_PURPOSE_MARKETING}},
				&sdkpb.Item{Preferences: &sdkpb.Preferences{Topics: map[string]sdkpb.Preferences_Attitude{"fashion": sdkpb.Preferences_ATTITUDE_DISLIKE}}},
				&sdkpb.Item{Receipt: &sdkpb.Receipt{MessageId: message, State: sdkpb.Receipt_STATE_OPENED, Via: "inbox"}},
				&sdkpb.Item{Receipt: &sdkpb.Receipt{MessageId: message, State: sdkpb.Receipt_STATE_DISMISSED, Via: "inbox"}},
			)
			if got[0] != want {
				t.Errorf("%s, %s: %q, want %q", mode, a.name, got[0], want)
			}
			if n := len(reply.GetInbox().GetMessages()) + len(reply.GetMessages()); n > 0 {
				t.Errorf("%s, %s: %d messages of somebody's inbox", mode, a.name, n)
			}
		}
		// What she says of the message by socket.
		if granted, reason := s.claims(eve, message); granted || reason == "" {
			t.Errorf("%s: granted %v (%s)", mode, granted, reason)
		}
		s.settle()
		if after := s.person("user_id:ada"); after != before {
			t.Fatalf("%s: Ada was changed:\n%s\n%s", mode, before, after)
		}
		var who struct {
			ID          string
			Identifiers []string
			Claimed     string `json:"claimed_unproven"`
			Attributes  map[string]any
		}
		if err := s.app.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.must("GET", "/api/v1/people/install:"+eve.install, nil, &who)
		claimed := "user_id:ada"
		if mode == "required" {
			claimed = ""
		}
		if who.ID != engage.ProfileID("default", eve.install) || len(who.Identifiers) > 0 || len(who.Attributes) > 0 || who.Claimed != claimed {
			t.Errorf("%s: Eve is %+v", mode, who)
		}
		if _, reply := eve.post(); len(reply.GetInbox().GetMessages()) > 0 {
			t.Errorf("%s: Eve's inbox holds %v", mode, reply.GetInbox())
		}
	}

	// An unproven identification on an install of somebody who is known changes nothing
	// either, not even there.
	s.putIfMatch("/api/v1/apps/android/identity", map[string]any{"mode": "optional"}, s.version("/api/v1/apps/android"))
	ben := s.speaker("android", "install-ben")
	if got, _ := ben.post(&sdkpb.Item{Identify: &sdkpb.Identify{UserId: "ben", Jwt: token(jwt.SigningMethodES256, es, "es", "android", "ben", now)}}); got[0] != "" {
		t.Fatalf("Ben's token: %s", got[0])
	}
	s.settle()
	benBefore := s.person("user_id:ben")
	ben.post(&sdkpb.Item{Identify: &sdkpb.Identify{UserId: "eve", TraitsJson: `{"tier":"stolen"}`}})
	s.settle()
	if after := s.person("user_id:ben"); after != benBefore {
		t.Errorf("Ben was changed:\n%s\n%s", benBefore, after)
	}
}

// version of a document, from its ETag.
func (s *story) version(path string) string {
	s.t.Helper()
	var v struct{ Version int64 }
	s.must("GET", path, nil, &v)
	return fmt.Sprint(v.Version)
}

// inboxCampaign puts a message into the inbox at each event "tick".
func (s *story) inboxCampaign() {
	s.t.Helper()
	s.campaign("news", func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "event", "event": "tick"}
		c["audience"], c["context"] = nil, nil
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{"title": "News", "body": "News", "channels": []string{"in_app", "inbox"}}}}
		c["limits"] = map[string]any{"cap": 100, "cap_window_s": 86400, "expire_s": 6 * 3600}
	})
}

func (s *story) tick(p *phone) {
	s.t.Helper()
	if _, err := p.Track("tick", nil); err != nil {
		s.t.Fatal(err)
	}
	p.post()
}

// open is a raw socket that has said hello.
func (r *speaker) open() *websocket.Conn {
	r.s.t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{sdkproto.SubprotocolPB}}
	conn, resp, err := dialer.DialContext(r.s.t.Context(), "ws"+strings.TrimPrefix(r.s.url, "http")+sdkproto.PathWS, nil)
	if err != nil {
		r.s.t.Fatal(err)
	}
	_ = resp.Body.Close() // a handshake has none
	r.s.t.Cleanup(func() { _ = conn.Close() })
	r.frame(conn, &sdkpb.Frame{Id: 1, Hello: r.hello()})
	return conn
}

func (r *speaker) frame(conn *websocket.Conn, f *sdkpb.Frame) {
	r.s.t.Helper()
	b, err := sdkproto.EncodeFrame(sdkproto.Protobuf{}, f)
	if err != nil {
		r.s.t.Fatal(err)
	}
	if err := conn.WriteMessage(websocket.BinaryMessage, b); err != nil {
		r.s.t.Fatal(err)
	}
}

// await reads frames until one is what is waited for.
func (r *speaker) await(conn *websocket.Conn, ok func(*sdkpb.Frame) bool) {
	r.s.t.Helper()
	d := &deaf{phone: &phone{s: r.s}, conn: conn}
	d.until(ok)
}

func (s *story) claims(r *speaker, message string) (granted bool, reason string) {
	s.t.Helper()
	conn := r.open()
	r.frame(conn, &sdkpb.Frame{Id: 2, Claim: &sdkpb.Claim{MessageId: message}})
	r.await(conn, func(f *sdkpb.Frame) bool {
		granted, reason = f.GetGrant().GetGranted(), f.GetGrant().GetReason()
		return f.GetGrant() != nil
	})
	_ = conn.Close()
	return granted, reason
}

// Nobody speaks for an install but who holds its token.
func TestAnInstallSpeaksOnlyByItsOwnToken(t *testing.T) {
	s := newStory(t)
	ada, eve := s.speaker("android", "install-ada-x"), s.speaker("android", "install-eve-x")
	ada.post(
		&sdkpb.Item{Preferences: &sdkpb.Preferences{Topics: map[string]sdkpb.Preferences_Attitude{"fashion": sdkpb.Preferences_ATTITUDE_LIKE}}},
		&sdkpb.Item{Permissions: &sdkpb.Permissions{
			Bluetooth: sdkpb.Permissions_SETTING_ON, BackgroundRefresh: sdkpb.Permissions_SETTING_OFF, BatteryOptimised: sdkpb.Permissions_SETTING_ON,
		}},
	)
	s.settle()
	before := s.person("install:" + ada.install)
	if !strings.Contains(before, `"bluetooth":"on","background_refresh":"off","battery_optimised":"on"`) {
		t.Errorf("her phone is %s", before)
	}
	change := func(f func(*speaker)) *speaker {
		r := *ada
		f(&r)
		return &r
	}
	bad := map[string]*speaker{
		"Eve's token":         change(func(r *speaker) { r.token = eve.token }),
		"no token":            change(func(r *speaker) { r.token = "" }),
		"a made-up token":     change(func(r *speaker) { r.token = strings.Repeat("A", 43) }),
		"part of the token":   change(func(r *speaker) { r.token = r.token[:42] }),
		"the key of iOS":      change(func(r *speaker) { r.appKey = s.keys["ios"] }),
		"no such app":         change(func(r *speaker) { r.appKey = "ffa_00000000" }),
		"Ada's token for Eve": change(func(r *speaker) { r.install = eve.install }),
	}
	for name, r := range bad {
		dislike := &sdkpb.Item{Seq: 99, Preferences: &sdkpb.Preferences{Topics: map[string]sdkpb.Preferences_Attitude{"fashion": sdkpb.Preferences_ATTITUDE_DISLIKE}}}
		for _, c := range []struct {
			method, path string
			body         proto.Message
		}{
			{"POST", sdkproto.PathBatch, &sdkpb.Batch{Items: []*sdkpb.Item{dislike, {Seq: 100, Logout: &sdkpb.Logout{}}}}},
			{"POST", sdkproto.PathToken, &sdkpb.TokenRefresh{}},
			{"POST", sdkproto.PathInstall, r.hello()},
			{"GET", sdkproto.PathInbox, nil},
		} {
			reply, status := s.send(c.method, c.path, r.head(), c.body)
			if status != http.StatusUnauthorized || reply.GetNewToken() != nil || reply.GetHelloOk() != nil || reply.GetInbox() != nil || reply.GetAck() != nil {
				t.Errorf("%s, %s: %d %v", name, c.path, status, reply)
			}
		}
	}
	s.settle()
	if after := s.person("install:" + ada.install); after != before {
		t.Errorf("Ada was changed:\n%s\n%s", before, after)
	}
	// A rotated token is Ada's alone, too; and her old one dies with its first use.
	reply, _ := s.send("POST", sdkproto.PathToken, ada.head(), &sdkpb.TokenRefresh{})
	old := *ada
	if ada.token = reply.GetNewToken().GetDeviceToken(); ada.token == "" || ada.token == old.token {
		t.Fatalf("no new token: %v", reply)
	}
	old.post()
	stolen := *eve
	stolen.token = ada.token
	if _, status := s.send("POST", sdkproto.PathBatch, stolen.head(), &sdkpb.Batch{}); status != http.StatusUnauthorized {
		t.Errorf("another install by the new token: %d", status)
	}
	ada.post()
	if _, status := s.send("POST", sdkproto.PathBatch, old.head(), &sdkpb.Batch{}); status != http.StatusUnauthorized {
		t.Errorf("the old token after the new one was used: %d", status)
	}
	// It outlives the process, as does the one that was never used.
	reply, _ = s.send("POST", sdkproto.PathToken, ada.head(), &sdkpb.TokenRefresh{})
	s.stop()
	s.serve()
	ada.post()
	ada.token = reply.GetNewToken().GetDeviceToken()
	ada.post()
}

// Ada leaves the app on a phone that Ben takes over: nothing of hers reaches him, in
// either direction, and he is somebody else from his first word on.
func TestALogoutLeavesNothingToTheNext(t *testing.T) {
	s := newStory(t)
	s.inboxCampaign()
	s.campaign("push", func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "event", "event": "push me"}
		c["audience"], c["context"] = nil, nil
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{"title": "Push", "body": "Push", "channels": []string{"push", "inbox"}}}}
	})
	store := new(client.MemStore)
	ada := s.phone("ada", "android", func(o *client.Options) { o.Store = store }).agree().likes("fashion").background().identify("ada")
	s.tick(ada)
	s.eventually("Ada's message is in her inbox", func() bool { return s.inInbox(ada, "news", "no_session") })
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}

	// In the foreground a message is on its way when she logs out.
	ada.Close()
	saved, err := store.Load()
	if err != nil {
		t.Fatal(err)
	}
	phone := &speaker{s: s, appKey: s.keys["android"], install: ada.install, token: saved.Token, seq: saved.NextSeq - 1}
	conn := phone.open()
	phone.await(conn, func(f *sdkpb.Frame) bool { return f.GetHelloOk() != nil })
	now := s.clock.Now().UnixMilli()
	item := func(i *sdkpb.Item) *sdkpb.Item {
		phone.seq++
		i.Seq, i.OccurredMs = phone.seq, now
		return i
	}
	late := item(&sdkpb.Item{Preferences: &sdkpb.Preferences{Topics: map[string]sdkpb.Preferences_Attitude{"hats": sdkpb.Preferences_ATTITUDE_LIKE}}})
	phone.frame(conn, &sdkpb.Frame{Id: 2, Batch: &sdkpb.Batch{SentMs: now, Items: []*sdkpb.Item{item(&sdkpb.Item{Event: &sdkpb.Event{Name: "tick"}})}}})
	message := ""
	phone.await(conn, func(f *sdkpb.Frame) bool {
		if m := f.GetMessage(); m.GetKind() == sdkpb.Message_KIND_IN_APP {
			message = m.GetMessageId()
		}
		return message != ""
	})
	phone.frame(conn, &sdkpb.Frame{Id: 3, Batch: &sdkpb.Batch{SentMs: now, Items: []*sdkpb.Item{item(&sdkpb.Item{Logout: &sdkpb.Logout{}})}}})
	phone.await(conn, func(f *sdkpb.Frame) bool { return f.GetRe() == 3 && f.GetAck() != nil && len(f.Ack.Rejects) == 0 })
	phone.frame(conn, &sdkpb.Frame{Id: 4, Claim: &sdkpb.Claim{MessageId: message}})
	phone.await(conn, func(f *sdkpb.Frame) bool {
		if g := f.GetGrant(); g != nil && (g.Granted || g.Reason != "elsewhere") {
			t.Errorf("granted %v, %q", g.Granted, g.Reason)
		}
		return f.GetGrant() != nil
	})
	// Her event of before, that comes late, is decided for her, and finds no phone.
	event := &sdkpb.Item{Seq: late.Seq, OccurredMs: now, Event: &sdkpb.Event{Name: "push me"}}
	phone.frame(conn, &sdkpb.Frame{Id: 5, Batch: &sdkpb.Batch{SentMs: now, Items: []*sdkpb.Item{event}}})
	phone.await(conn, func(f *sdkpb.Frame) bool { return f.GetRe() == 5 && f.GetAck() != nil })
	_ = conn.Close()
	s.settle()
	s.clock.Advance(3 * time.Second)
	s.settle()
	if pushes := s.pushesTo(ada); len(pushes) > 0 {
		t.Errorf("pushed %v to a phone that she has left", pushes)
	}
	if d := s.decisions(ada, "push"); len(d) != 1 || d[0].State != engage.Suppressed || d[0].Reason != engage.ReasonNoChannel {
		t.Errorf("decided %+v", d)
	}
	adaAfter := s.person("user_id:ada")
	if !strings.Contains(adaAfter, `"devices":[]`) || !strings.Contains(adaAfter, "logged out") || !strings.Contains(adaAfter, `"fashion":"like"`) {
		t.Errorf("Ada is %s", adaAfter)
	}

	// The next person: no consent, no preference, no message; a whole, empty inbox.
	_, reply := phone.post(&sdkpb.Item{Event: &sdkpb.Event{Name: "tick"}})
	if x := reply.GetInbox(); !x.GetFull() || len(x.GetMessages()) > 0 || len(reply.GetMessages()) > 0 {
		t.Errorf("the next one's inbox is %v", reply)
	}
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	type seen struct {
		ID          string
		Identifiers []string
		Preferences map[string]string
		Consents    map[string]struct{ Granted bool }
		Devices     []struct {
			Install string
			Push    *struct{ Provider string }
		}
	}
	var next seen
	s.must("GET", "/api/v1/people/install:"+ada.install, nil, &next)
	if next.ID == ada.profile || len(next.Identifiers) > 0 || len(next.Preferences) > 0 || len(next.Consents) > 0 || len(next.Devices) != 1 || next.Devices[0].Push == nil {
		t.Errorf("the next one is %+v", next)
	}
	// Ben says who he is, agrees, and is reached; Ada does not notice.
	got, _ := phone.post(
		&sdkpb.Item{Identify: &sdkpb.Identify{UserId: "ben", Hmac: hmacOf(identitySecret, "android", "ben")}},
		&sdkpb.Item{Consent: &sdkpb.Consent{Purpose: sdkpb.Consent_PURPOSE_MARKETING, Granted: true}},
		&sdkpb.Item{Event: &sdkpb.Event{Name: "push me"}},
	)
	if slices.ContainsFunc(got, func(x string) bool { return x != "" }) {
		t.Errorf("refused %q", got)
	}
	s.eventually("Ben gets his push", func() bool { return len(s.pushesTo(ada)) == 1 })
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ben seen
	s.must("GET", "/api/v1/people/user_id:ben", nil, &ben)
	if ben.ID != engage.PersonID("default", "user_id:ben") || !slices.Equal(ben.Identifiers, []string{"user_id:ben"}) {
		t.Errorf("Ben is %+v", ben)
	}
	if after := s.person("user_id:ada"); after != adaAfter {
		t.Errorf("Ada was changed by Ben:\n%s\n%s", adaAfter, after)
	}

	// After a restart it is still so: another process reads whose the install is.
	s.stop()
	s.serve()
	if _, reply := phone.post(); len(reply.GetInbox().GetMessages()) > 0 {
		t.Errorf("Ben's inbox is %v", reply.GetInbox())
	}
	if g, reason := s.claims(phone, message); g || reason != "elsewhere" {
		t.Errorf("granted %v, %q", g, reason)
	}
}

// What somebody was sent before they said who they are comes along, and what they do
// with it counts.
func TestTheInboxComesAlong(t *testing.T) {
	s := newStory(t)
	s.inboxCampaign()
	r := s.speaker("android", "install-along")
	tick := func() *sdkpb.Item { return &sdkpb.Item{Event: &sdkpb.Event{Name: "tick"}} }
	r.post(&sdkpb.Item{Consent: &sdkpb.Consent{Purpose: sdkpb.Consent_PURPOSE_MARKETING, Granted: true}}, tick())
	inbox := func(want int) (ids []string) {
		s.eventually(fmt.Sprintf("%d messages", want), func() bool {
			_, reply := r.post()
			ids = nil
			for _, m := range reply.GetInbox().GetMessages() {
				ids = append(ids, m.GetMessageId())
			}
			return len(ids) == want
		})
		return ids
	}
	first := inbox(1)[0]
	r.post(&sdkpb.Item{Identify: &sdkpb.Identify{UserId: "ada", Hmac: hmacOf(identitySecret, "android", "ada")}})
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := inbox(1); got[0] != first {
		t.Errorf("the inbox is %v, was %s", got, first)
	}
	r.post(tick())
	if got := inbox(2); !slices.Contains(got, first) {
		t.Errorf("the inbox is %v, was %s", got, first)
	}
	r.post(&sdkpb.Item{Receipt: &sdkpb.Receipt{MessageId: first, State: sdkpb.Receipt_STATE_DISMISSED, Via: "inbox"}})
	if got := inbox(1); got[0] == first {
		t.Error("what was put away is back")
	}
	var p struct {
		ID         string
		MergedInto string `json:"merged_into"`
		Absorbed   []string
	}
	old := engage.ProfileID("default", r.install)
	s.must("GET", "/api/v1/people/"+old, nil, &p)
	if p.ID != engage.PersonID("default", "user_id:ada") || p.MergedInto != p.ID || !slices.Equal(p.Absorbed, []string{old}) {
		t.Errorf("%s is %+v", old, p)
	}
}
