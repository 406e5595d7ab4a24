package ingest_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/identity"
	"github.com/footfall-engage/footfall/server/ingest"
)

// token is a JWT of the app for Android that was made at a time, for half an hour.
func token(t *testing.T, app, user string, at time.Time) string {
	t.Helper()
	x := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": user, "aud": app, "iat": at.Unix(), "exp": at.Add(30 * time.Minute).Unix(),
	})
	x.Header["kid"] = "t"
	text, err := x.SignedString([]byte(hushToken))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// An identification is taken by the mode of its app, and what was shown for it stays
// at the gateway. (identity has the proofs themselves.)
func TestAnIdentificationIsTakenByTheModeOfItsApp(t *testing.T) {
	type want map[identity.Mode]string // kind of the entry, or code and field of the reject
	taken, claimed := string(engage.KindItem), string(engage.KindUnproven)
	for _, c := range []struct {
		name string
		item *sdkpb.Identify
		want want
	}{
		{"nothing", &sdkpb.Identify{}, want{"required": "identity_invalid identify", "optional": claimed, "off": claimed}},
		{"a good hmac", &sdkpb.Identify{Hmac: proof(hush, "shop-android", "ada")}, want{"required": taken, "optional": taken, "off": claimed}},
		{"a good token", &sdkpb.Identify{Jwt: token(t, "shop-android", "ada", noon)}, want{"required": taken, "optional": taken, "off": claimed}},
		{"hmac of another", &sdkpb.Identify{Hmac: proof(hush, "shop-android", "bob")}, want{"required": "identity_invalid identify.hmac", "optional": "identity_invalid identify.hmac", "off": claimed}},
		{"not hex", &sdkpb.Identify{Hmac: "zz"}, want{"required": "identity_invalid identify.hmac", "optional": "identity_invalid identify.hmac", "off": claimed}},
		{"token of another app", &sdkpb.Identify{Jwt: token(t, "shop-ios", "ada", noon)}, want{"required": "identity_invalid identify.jwt.aud", "optional": "identity_invalid identify.jwt.aud", "off": claimed}},
		{"an old token", &sdkpb.Identify{Jwt: token(t, "shop-android", "ada", noon.Add(-time.Hour))}, want{"required": "identity_expired identify.jwt.exp", "optional": "identity_expired identify.jwt.exp", "off": claimed}},
	} {
		for mode, want := range c.want {
			t.Run(c.name+", "+string(mode), func(t *testing.T) {
				w := newWorld(t, ingest.Limits{})
				w.catalog.change(func() {
					a := w.catalog.apps[android]
					a.Identity = verifier(a.ID, mode)
					w.catalog.apps[android] = a
				})
				head := auth("phone-00001", w.token("phone-00001"))
				i := proto.CloneOf(c.item)
				i.UserId, i.TraitsJson = "ada", `{"a":1}`
				// A proof of a later version, in a field that this one does not know.
				i.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 99, protowire.BytesType), "passkey-of-ada"))
				got := w.judgements(head, batch(&sdkpb.Item{Seq: 1, Identify: i}))[1]
				w.log.mu.Lock()
				defer w.log.mu.Unlock()
				for _, e := range w.log.entries {
					if e.Kind != engage.KindItem && e.Kind != engage.KindUnproven {
						continue
					}
					got = string(e.Kind)
					var item sdkpb.Item
					if err := proto.Unmarshal(e.Body, &item); err != nil || item.Identify.GetUserId() != "ada" || item.Identify.GetTraitsJson() == "" {
						t.Errorf("logged %v, %v", &item, err)
					}
					for _, secret := range []string{c.item.GetHmac(), c.item.GetJwt(), "passkey"} {
						if secret != "" && bytes.Contains(e.Body, []byte(secret)) {
							t.Errorf("the proof is in the log: %v", &item)
						}
					}
				}
				if got != want {
					t.Errorf("%q, want %q", got, want)
				}
				for _, secret := range []string{c.item.GetHmac(), c.item.GetJwt()} {
					if len(secret) > 10 && bytes.Contains([]byte(w.logs.String()), []byte(secret)) {
						t.Error("the proof is in a log line")
					}
				}
			})
		}
	}
}

// Without a key nothing can be proven, whatever is shown.
func TestAnAppWithoutKeysIdentifiesNobody(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	h := hello("iphone-0001")
	h.AppKey, h.Platform = ios, sdkpb.Platform_PLATFORM_IOS
	reply, _ := w.post(sdkproto.PathInstall, h, nil)
	head := auth("iphone-0001", reply.HelloOk.NewDeviceToken)
	head[sdkproto.HeaderAppKey] = ios
	for i, id := range []*sdkpb.Identify{{}, {Hmac: proof("", "shop-ios", "ada")}, {Jwt: token(t, "shop-ios", "ada", noon)}} {
		id.UserId = "ada"
		if got := w.judgements(head, batch(&sdkpb.Item{Seq: uint64(i + 1), Identify: id})); got[uint64(i+1)] != "identity_invalid identify" {
			t.Errorf("%d: %v", i, got)
		}
	}
}

// A session takes another mode, or other keys, as soon as they are in force.
func TestAnOpenSessionFollowsTheIdentitySettings(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	p := w.phone("phone-00001", nil, nil)
	if err := p.Foreground(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused := func() (n int) {
		p.do(func() { n = len(p.rejects) })
		return n
	}
	p.Identify("ada", "")
	until(t, "a reject", func() bool { return refused() == 1 })
	w.catalog.change(func() {
		a := w.catalog.apps[android]
		a.Identity = verifier(a.ID, identity.Optional)
		w.catalog.apps[android] = a
	})
	until(t, "the new mode", func() bool {
		p.Identify("ada", "")
		until(t, "answer", func() bool { return p.Pending() == 0 })
		w.log.mu.Lock()
		defer w.log.mu.Unlock()
		for _, e := range w.log.entries {
			if e.Kind == engage.KindUnproven {
				return true
			}
		}
		return false
	})
	p.Close()
}

// From a logout on the install is another's: no consent of the person before holds,
// at once, and what was made before it changes nothing.
func TestALogoutIsInForceAtTheDoor(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.installs.known["phone-00001"] = ingest.Install{Consents: everything()}
	head := auth("phone-00001", w.token("phone-00001"))
	owner := func() string {
		p, err := w.gateway.Owner(t.Context(), ws, "phone-00001")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, second := engage.ProfileID(ws, "phone-00001"), engage.LogoutProfileID(ws, "phone-00001", 10)
	if owner() != first {
		t.Error("not the install's own profile")
	}
	logout := func(seq uint64) *sdkpb.Item { return &sdkpb.Item{Seq: seq, Logout: &sdkpb.Logout{}} }
	precise := sdkpb.Consent_PURPOSE_LOCATION_PRECISE
	location := sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND // the app is in the background
	got := w.judgements(head, batch(
		fix(1, 1, 1), consent(2, location, true), logout(10), fix(11, 1, 1), consent(3, location, true), fix(12, 1, 1), logout(9),
	))
	for seq, want := range map[uint64]string{1: "", 2: "", 10: "", 11: "consent_missing location", 3: "", 12: "consent_missing location", 9: ""} {
		if got[seq] != want {
			t.Errorf("item %d: %q, want %q", seq, got[seq], want)
		}
	}
	if owner() != second {
		t.Error("the install has not changed hands")
	}
	got = w.judgements(head, batch(consent(13, location, true), consent(14, precise, true), fix(15, 1, 1), fix(4, 1, 1)))
	if got[15] != "" || got[4] != "consent_missing location" {
		t.Errorf("after the next person agreed: %v", got)
	}

	// A process that has not met the install reads whose it is.
	w.installs.mu.Lock()
	w.installs.known["phone-00002"] = ingest.Install{Consents: everything(), Profile: "p-2", From: 20}
	w.installs.mu.Unlock()
	p, err := w.gateway.Owner(t.Context(), ws, "phone-00002")
	if err != nil || p != "p-2" {
		t.Errorf("%q, %v", p, err)
	}
	head = auth("phone-00002", w.token("phone-00002"))
	got = w.judgements(head, batch(consent(19, location, false), fix(21, 1, 1), fix(18, 1, 1), logout(12), logout(22), fix(23, 1, 1)))
	for seq, want := range map[uint64]string{19: "", 21: "", 18: "consent_missing location", 12: "", 22: "", 23: "consent_missing location"} {
		if got[seq] != want {
			t.Errorf("item %d of the other: %q, want %q", seq, got[seq], want)
		}
	}
	if p, err := w.gateway.Owner(t.Context(), ws, "phone-00002"); err != nil || p != engage.LogoutProfileID(ws, "phone-00002", 22) {
		t.Errorf("%q, %v", p, err)
	}
}

// What a phone was sent for the person who logged out, and had not taken, is not sent
// to it again.
func TestAResumeAfterALogoutBringsNothingOfThePersonBefore(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	m := w.modern("phone-00001", sdkproto.Protobuf{}, sdkproto.CapBubble, sdkproto.CapResume)
	m.open(nil)
	m.told(0)
	taken := m.last
	for _, o := range []struct {
		id   string
		kind sdkpb.Message_Kind
	}{{"of-ada-1", inbox}, {"of-ada-2", inApp}} {
		if !w.offer(m.id, o.id, o.kind) {
			t.Fatal("not taken")
		}
	}
	if got := names(m.told(0)); !strings.Contains(got, "of-ada-1") || !strings.Contains(got, "of-ada-2") {
		t.Fatalf("told %s", got)
	}
	m.last = taken // it has not kept them
	logout := batch(&sdkpb.Item{Seq: 1, Logout: &sdkpb.Logout{}})
	m.send(&sdkpb.Frame{Id: 7, Batch: logout})
	for f := m.next(); f.Ack == nil || f.Re != 7; f = m.next() {
		if f.Message != nil {
			t.Errorf("told %v", f)
		}
	}
	m.last = taken
	m.breaks()
	if ok := m.resume(nil); !ok.Resumed {
		t.Fatal("not resumed")
	}
	if got := names(m.told(0)); strings.Contains(got, "of-ada") {
		t.Errorf("told again: %s", got)
	}
}

// A logout that comes while the inbox is read: what was read is of the person before,
// and does not reach the phone any more.
func TestALogoutMeanwhileKeepsTheInboxOfThePersonBefore(t *testing.T) {
	all := []string{sdkproto.CapResume, sdkproto.CapInbox}
	for name, c := range map[string]struct {
		caps []string
		ask  func(*testing.T, *world, *modern) (told string)
	}{
		"inbox_sync": {all, func(_ *testing.T, _ *world, m *modern) string {
			m.send(&sdkpb.Frame{Id: 7, InboxSync: &sdkpb.InboxSync{}})
			return fmt.Sprint(m.told(0))
		}},
		"inbox_sync without resume": {[]string{sdkproto.CapInbox}, func(_ *testing.T, _ *world, m *modern) string {
			m.send(&sdkpb.Frame{Id: 7, InboxSync: &sdkpb.InboxSync{}})
			return fmt.Sprint(m.told(0))
		}},
		"a change in a session": {all, func(_ *testing.T, w *world, m *modern) string {
			w.gateway.Sessions().InboxChanged(ws, m.id)
			return fmt.Sprint(m.next(), m.told(0))
		}},
		"hello without the capability": {nil, func(_ *testing.T, _ *world, m *modern) string {
			m.breaks()
			m.open(nil)
			return fmt.Sprint(m.told(0))
		}},
		"GET": {all, func(t *testing.T, w *world, m *modern) string {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+sdkproto.PathInbox, nil)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range auth(m.id, m.token) {
				req.Header.Set(k, v)
			}
			reply, _ := w.answered(req)
			return fmt.Sprint(reply)
		}},
		"POST": {nil, func(_ *testing.T, w *world, m *modern) string {
			reply, _ := w.post(sdkproto.PathBatch, batch(), auth(m.id, m.token))
			return fmt.Sprint(reply)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, ingest.Limits{})
			m := w.modern("phone-00001", sdkproto.Protobuf{}, c.caps...)
			m.open(func(h *sdkpb.Hello) {
				if len(c.caps) > 0 {
					h.InboxCursor = new("c0")
				}
			})
			m.told(0)
			set := func(title string) {
				x := &sdkpb.Message{MessageId: "m1", Kind: inbox, Title: title}
				w.deliveries.mu.Lock()
				defer w.deliveries.mu.Unlock()
				w.deliveries.changes = []change{{message: x}}
				w.deliveries.inbox = []*sdkpb.Message{x}
			}
			set("of-ada")
			w.deliveries.mu.Lock()
			w.deliveries.meanwhile = func() {
				set("of-nobody")
				reply, status := w.post(sdkproto.PathBatch, batch(&sdkpb.Item{Seq: 1, Logout: &sdkpb.Logout{}}), auth(m.id, m.token))
				if status != http.StatusOK || len(reply.GetAck().GetRejects()) > 0 {
					t.Errorf("logout: %d %v", status, reply)
				}
			}
			w.deliveries.mu.Unlock()
			if told := c.ask(t, w, m); strings.Contains(told, "of-ada") || !strings.Contains(told, "of-nobody") {
				t.Errorf("told %s", told)
			}
		})
	}
}

// Who knows the id of a phone that has not shown its token yet can have another in its
// place. That is over when the phone says whose it is.
func TestAnIdentifiedPhoneIsNobodyElses(t *testing.T) {
	identify := batch(&sdkpb.Item{Seq: 1, Identify: &sdkpb.Identify{UserId: "ada", Hmac: proof(hush, "shop-android", "ada")}})
	logged := func(w *world) bool { return len(w.log.items(t, "phone-00001")) > 0 }

	w := newWorld(t, ingest.Limits{})
	ada := w.dial(sdkproto.Protobuf{})
	ada.send(&sdkpb.Frame{Id: 1, Hello: hello("phone-00001")})
	if f := ada.next(); f.HelloOk.GetNewDeviceToken() == "" {
		t.Fatal(f)
	}
	ada.send(&sdkpb.Frame{Id: 2, Batch: identify})
	if f := ada.next(); f.Ack == nil || !logged(w) {
		t.Fatal(f)
	}
	if reply, status := w.post(sdkproto.PathInstall, hello("phone-00001"), nil); status != http.StatusUnauthorized {
		t.Errorf("who knows her phone's id: %d %v", status, reply)
	}
	ada.send(&sdkpb.Frame{Id: 3, TokenRefresh: &sdkpb.TokenRefresh{}})
	if f := ada.next(); f.NewToken.GetDeviceToken() == "" {
		t.Errorf("a token in the first session: %v", f)
	}

	// Somebody was faster: she is not taken for that one.
	w = newWorld(t, ingest.Limits{})
	ada = w.dial(sdkproto.Protobuf{})
	ada.send(&sdkpb.Frame{Id: 1, Hello: hello("phone-00001")})
	ada.next()
	eve, status := w.post(sdkproto.PathInstall, hello("phone-00001"), nil)
	if status != http.StatusOK {
		t.Fatalf("a lost answer: %d", status)
	}
	w.post(sdkproto.PathBatch, batch(), auth("phone-00001", eve.GetHelloOk().GetNewDeviceToken()))
	ada.send(&sdkpb.Frame{Id: 2, Batch: identify})
	if _, code := ada.closed(); code != sdkproto.CloseToken || logged(w) {
		t.Errorf("closed by %d; logged %t", code, logged(w))
	}
}

// A phone asks for another token in the session in which it got its first.
func TestATokenIsReplacedInTheFirstSession(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	r := w.dial(sdkproto.Protobuf{})
	r.send(&sdkpb.Frame{Id: 1, Hello: hello("phone-00001")})
	first := r.next().HelloOk.GetNewDeviceToken()
	r.send(&sdkpb.Frame{Id: 2, TokenRefresh: &sdkpb.TokenRefresh{}})
	second := r.next().NewToken.GetDeviceToken()
	for _, token := range []string{first, second} {
		if _, status := w.post(sdkproto.PathBatch, batch(), auth("phone-00001", token)); token == "" || status != http.StatusOK {
			t.Errorf("%d", status)
		}
	}
}
