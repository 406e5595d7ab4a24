package apnssim_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/payload"
	"github.com/sideshow/apns2/token"
	"go.uber.org/goleak"
	"golang.org/x/net/http2"

	"github.com/footfall-engage/footfall/channels/apns/apnssim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const shop = "com.example.shop"

// clock is a clock that the test moves.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Now().UnixNano()) // apns2 signs by the real one
	return c
}
func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func start(t testing.TB, o apnssim.Options) *apnssim.Server {
	t.Helper()
	sim, err := apnssim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	return sim
}

// client is apns2's own client, as it comes, that trusts the simulator.
func client(t testing.TB, sim *apnssim.Server, tok *token.Token) *apns2.Client {
	t.Helper()
	if tok == nil {
		team, kid, p8 := sim.Key()
		tok = &token.Token{AuthKey: key(t, p8), KeyID: kid, TeamID: team}
	}
	c := apns2.NewTokenClient(tok)
	c.Host = sim.URL()
	c.HTTPClient.Transport.(*http2.Transport).TLSClientConfig = &tls.Config{RootCAs: sim.RootCAs()} //nolint:staticcheck // it is apns2's, and its only way to trust another authority
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func key(t testing.TB, p8 []byte) *ecdsa.PrivateKey {
	t.Helper()
	k, err := token.AuthKeyFromBytes(p8)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func alert(name string) *apns2.Notification {
	return &apns2.Notification{
		DeviceToken: apnssim.Token("ok", name), Topic: shop,
		Payload: payload.NewPayload().AlertTitle("Umbrella?").AlertBody("It rains").Custom("footfall_message_id", "delivery-1"),
	}
}

// sized is a payload of n bytes.
func sized(n int) []byte {
	head, tail := `{"aps":{"alert":"`, `"}}`
	return []byte(head + strings.Repeat("x", n-len(head)-len(tail)) + tail)
}

func TestUnmodifiedAPNs2ClientPasses(t *testing.T) {
	var got []apnssim.Delivered
	sim := start(t, apnssim.Options{Topics: []string{shop}, OnDeliver: func(d apnssim.Delivered) { got = append(got, d) }})
	c := client(t, sim, nil)
	n := alert("ada")
	n.ApnsID, n.CollapseID = "123e4567-e89b-12d3-a456-426655440000", "rain"
	n.Priority, n.Expiration = apns2.PriorityLow, time.Now().Add(time.Hour).Truncate(time.Second)
	res, err := c.Push(n)
	if err != nil || !res.Sent() || res.ApnsID != n.ApnsID || res.ApnsUniqueID != "" {
		t.Fatalf("%+v %v", res, err)
	}
	if len(got) != 1 {
		t.Fatal(got)
	}
	d := got[0]
	if d.Title != "Umbrella?" || d.Body != "It rains" || d.MessageID != "delivery-1" || d.CollapseID != "rain" || d.Priority != 5 ||
		!d.Expiration.Equal(n.Expiration) || d.Topic != shop || d.PushType != "alert" || d.Phone != apnssim.Online {
		t.Errorf("%+v", d)
	}
	for _, kind := range []struct {
		push   apns2.EPushType
		suffix string
		prio   int
	}{
		{apns2.PushTypeBackground, "", 5},
		{apns2.PushTypeLocation, ".location-query", 10},
		{apns2.PushTypeVOIP, ".voip", 10},
		{apns2.PushTypeComplication, ".complication", 10},
		{apns2.PushTypeFileProvider, ".pushkit.fileprovider", 5},
		{apns2.PushTypeLiveActivity, ".push-type.liveactivity", 10},
		{apns2.PushTypePushToTalk, ".voip-ptt", 10},
	} {
		n := alert(string(kind.push))
		n.PushType, n.Topic, n.Priority = kind.push, shop+kind.suffix, kind.prio
		if res, err := c.Push(n); err != nil || !res.Sent() {
			t.Errorf("%s: %+v %v", kind.push, res, err)
		}
		if kind.suffix != "" { // the topic of another type
			n.Topic = shop
			if res, err := c.Push(n); err != nil || res.Reason != apns2.ReasonBadTopic {
				t.Errorf("%s without its suffix: %+v %v", kind.push, res, err)
			}
			n.Topic, n.PushType = shop+kind.suffix, apns2.PushTypeAlert
			if res, err := c.Push(n); err != nil || res.Reason != apns2.ReasonBadTopic {
				t.Errorf("an alert with the suffix of %s: %+v %v", kind.push, res, err)
			}
		}
	}
}

func TestSandboxAndMadeUpIDs(t *testing.T) {
	sim := start(t, apnssim.Options{Sandbox: true})
	c := client(t, sim, nil)
	a, err := c.Push(alert("ada"))
	if err != nil || len(a.ApnsID) != 36 || len(a.ApnsUniqueID) != 36 || a.ApnsID == a.ApnsUniqueID {
		t.Errorf("%+v %v", a, err)
	}
	if b, err := c.Push(alert("ada")); err != nil || b.ApnsID == a.ApnsID {
		t.Errorf("%+v %v", b, err)
	}
}

func TestAPNs2ClientIsRefusedAsAppleDocuments(t *testing.T) {
	clk := newClock()
	sim := start(t, apnssim.Options{Now: clk.now, Topics: []string{shop, "com.example.other"}})
	gone := apnssim.Token("ok", "gone")
	sim.Uninstall(gone)
	goneAt := clk.now()
	bound := apnssim.Token("ok", "bound")
	sim.Register(bound, "com.example.other")
	sim.Forget(apnssim.Token("ok", "elsewhere"))
	sim.Expire(apnssim.Token("ok", "older"))
	c := client(t, sim, nil)
	for _, k := range []struct {
		name   string
		change func(n *apns2.Notification)
		status int
		reason string
	}{
		{"none", func(*apns2.Notification) {}, 200, ""},
		{"collapse id", func(n *apns2.Notification) { n.CollapseID = strings.Repeat("x", 65) }, 400, apns2.ReasonBadCollapseID},
		{"id", func(n *apns2.Notification) { n.ApnsID = "7" }, 400, apns2.ReasonBadMessageID},
		{"priority", func(n *apns2.Notification) { n.Priority = 7 }, 400, apns2.ReasonBadPriority},
		{"urgent background", func(n *apns2.Notification) { n.PushType, n.Priority = apns2.PushTypeBackground, 10 }, 400, apns2.ReasonBadPriority},
		{"background without priority", func(n *apns2.Notification) { n.PushType = apns2.PushTypeBackground }, 400, apns2.ReasonBadPriority},
		{"push type", func(n *apns2.Notification) { n.PushType = "loud" }, 400, apns2.ReasonInvalidPushType},
		{"no topic", func(n *apns2.Notification) { n.Topic = "" }, 400, apns2.ReasonMissingTopic},
		{"bad topic", func(n *apns2.Notification) { n.Topic = "no such/topic" }, 400, apns2.ReasonBadTopic},
		{"another's topic", func(n *apns2.Notification) { n.Topic = "com.example.strange" }, 400, apns2.ReasonTopicDisallowed},
		{"topic of another token", func(n *apns2.Notification) { n.DeviceToken = bound }, 400, apns2.ReasonDeviceTokenNotForTopic},
		{"no token", func(n *apns2.Notification) { n.DeviceToken = "" }, 400, apns2.ReasonMissingDeviceToken},
		{"token not hex", func(n *apns2.Notification) { n.DeviceToken = strings.Repeat("z", 64) }, 400, apns2.ReasonBadDeviceToken},
		{"short token", func(n *apns2.Notification) { n.DeviceToken = "abcd" }, 400, apns2.ReasonBadDeviceToken},
		{"token of the other environment", func(n *apns2.Notification) { n.DeviceToken = apnssim.Token("ok", "elsewhere") }, 400, apns2.ReasonBadDeviceToken},
		{"removed app", func(n *apns2.Notification) { n.DeviceToken = strings.ToUpper(gone) }, 410, apns2.ReasonUnregistered},
		{"older token", func(n *apns2.Notification) { n.DeviceToken = apnssim.Token("ok", "older") }, 410, apns2.ReasonExpiredToken},
		{"payload without aps", func(n *apns2.Notification) { n.Payload = `{"a":1}` }, 400, apns2.ReasonPayloadEmpty},
		{"4096 bytes", func(n *apns2.Notification) { n.Payload = sized(4096) }, 200, ""},
		{"4097 bytes", func(n *apns2.Notification) { n.Payload = sized(4097) }, 413, apns2.ReasonPayloadTooLarge},
		{"voip of 5120 bytes", func(n *apns2.Notification) {
			n.PushType, n.Topic, n.Payload = apns2.PushTypeVOIP, shop+".voip", sized(5120)
		}, 200, ""},
		{"voip of 5121 bytes", func(n *apns2.Notification) {
			n.PushType, n.Topic, n.Payload = apns2.PushTypeVOIP, shop+".voip", sized(5121)
		}, 413, apns2.ReasonPayloadTooLarge},
	} {
		n := alert("ada")
		k.change(n)
		res, err := c.Push(n)
		if err != nil || res.StatusCode != k.status || res.Reason != k.reason || res.ApnsID == "" {
			t.Errorf("%s: %+v %v, want %d %s", k.name, res, err, k.status, k.reason)
			continue
		}
		if k.status == 410 && !res.Timestamp.Equal(goneAt.Truncate(time.Second)) {
			t.Errorf("%s: gone at %v, want %v", k.name, res.Timestamp, goneAt)
		}
	}
}

func TestProviderTokensAreVerified(t *testing.T) {
	clk := newClock()
	sim := start(t, apnssim.Options{Now: clk.now})
	team, kid, p8 := sim.Key()
	add := func(k apnssim.ProviderKey) *token.Token {
		t.Helper()
		p8, err := sim.AddKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return &token.Token{AuthKey: key(t, p8), KeyID: k.ID, TeamID: k.Team}
	}
	own := key(t, p8)
	// signed has a bearer of its own, which apns2 leaves alone for 50 minutes.
	signed := func(method jwt.SigningMethod, signer any, claims jwt.MapClaims) *token.Token {
		t.Helper()
		j := jwt.NewWithClaims(method, claims)
		j.Header["kid"] = kid
		b, err := j.SignedString(signer)
		if err != nil {
			t.Fatal(err)
		}
		return &token.Token{AuthKey: own, KeyID: kid, TeamID: team, Bearer: b, IssuedAt: time.Now().Unix()}
	}
	iat := clk.now().Unix()
	topicKey := add(apnssim.ProviderKey{Team: team, ID: "TOPICKEY01", Topics: []string{"com.example.other"}})
	for _, k := range []struct {
		name   string
		tok    *token.Token
		status int
		reason string
	}{
		{"the server's key", &token.Token{AuthKey: own, KeyID: kid, TeamID: team}, 200, ""},
		{"a second key", add(apnssim.ProviderKey{Team: "OTHERTEAM1", ID: "SECONDKEY1"}), 200, ""},
		{"unknown key id", &token.Token{AuthKey: own, KeyID: "NOSUCHKEY1", TeamID: team}, 403, apns2.ReasonInvalidProviderToken},
		{"another's team", &token.Token{AuthKey: own, KeyID: kid, TeamID: "OTHERTEAM1"}, 403, apns2.ReasonInvalidProviderToken},
		{"another's key", &token.Token{AuthKey: topicKey.AuthKey, KeyID: kid, TeamID: team}, 403, apns2.ReasonInvalidProviderToken},
		{"topic out of scope", topicKey, 400, apns2.ReasonTopicDisallowed},
		{"sandbox alone", add(apnssim.ProviderKey{Team: team, ID: "SANDBOXKEY", Environment: apnssim.Sandbox}), 403, "BadEnvironmentKeyInToken"},
		{"production alone", add(apnssim.ProviderKey{Team: team, ID: "PRODKEY001", Environment: apnssim.Production}), 200, ""},
		{"symmetric", signed(jwt.SigningMethodHS256, []byte("secret"), jwt.MapClaims{"iss": team, "iat": iat}), 403, apns2.ReasonInvalidProviderToken},
		{"no iat", signed(jwt.SigningMethodES256, own, jwt.MapClaims{"iss": team}), 403, apns2.ReasonInvalidProviderToken},
		{"59 minutes old", signed(jwt.SigningMethodES256, own, jwt.MapClaims{"iss": team, "iat": iat - 59*60}), 200, ""},
		{"61 minutes old", signed(jwt.SigningMethodES256, own, jwt.MapClaims{"iss": team, "iat": iat - 61*60}), 403, apns2.ReasonExpiredProviderToken},
		{"two minutes ahead", signed(jwt.SigningMethodES256, own, jwt.MapClaims{"iss": team, "iat": iat + 120}), 403, apns2.ReasonInvalidProviderToken},
		{"garbage", &token.Token{Bearer: "a.b.c", IssuedAt: time.Now().Unix()}, 403, apns2.ReasonInvalidProviderToken},
	} {
		res, err := client(t, sim, k.tok).Push(alert("ada"))
		if err != nil || res.StatusCode != k.status || res.Reason != k.reason {
			t.Errorf("%s: %+v %v, want %d %s", k.name, res, err, k.status, k.reason)
		}
	}

	// One key per connection.
	c := client(t, sim, nil)
	if res, err := c.Push(alert("ada")); err != nil || !res.Sent() {
		t.Fatal(res, err)
	}
	second := c.Token
	c.Token = add(apnssim.ProviderKey{Team: team, ID: "THIRDKEY01"})
	if res, err := c.Push(alert("ada")); err != nil || res.Reason != "UnrelatedKeyIdInToken" {
		t.Error(res, err)
	}
	// Tokens in use end with their hour, too.
	c.Token = second
	clk.advance(61 * time.Minute)
	if res, err := c.Push(alert("ada")); err != nil || res.Reason != apns2.ReasonExpiredProviderToken {
		t.Error(res, err)
	}
}

// raw makes a request that apns2's client would not.
func raw(t *testing.T, sim *apnssim.Server, method, path string, h http.Header, body string) (int, http.Header, string) {
	t.Helper()
	team, kid, p8 := sim.Key()
	tok := &token.Token{AuthKey: key(t, p8), KeyID: kid, TeamID: team}
	if _, err := tok.Generate(); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, sim.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "bearer "+tok.Bearer)
	maps.Copy(req.Header, h)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: sim.RootCAs()}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(bytes.TrimSpace(b))
}

func TestPathMethodAndHeaderGrammar(t *testing.T) {
	sim := start(t, apnssim.Options{})
	path, ok := "/3/device/"+apnssim.Token("ok", "ada"), http.Header{"Apns-Topic": {shop}}
	with := func(k, v string) http.Header { return http.Header{"Apns-Topic": {shop}, k: {v}} }
	for _, body := range []string{"", "{", "[]", `{"aps":1}`} {
		if status, _, answer := raw(t, sim, "POST", path, ok, body); status != 400 || answer != `{"reason":"PayloadEmpty"}` {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	for _, k := range []struct {
		name, method, path string
		h                  http.Header
		status             int
		reason             string
	}{
		{"in order, without a type", "POST", path, ok, 200, ""},
		{"method", "PUT", path, ok, 405, "MethodNotAllowed"},
		{"path", "POST", "/3/devices/x", ok, 404, "BadPath"},
		{"version", "POST", "/2/device/x", ok, 404, "BadPath"},
		{"no token", "POST", "/3/device", ok, 400, "MissingDeviceToken"},
		{"twice", "POST", path, http.Header{"Apns-Topic": {shop, shop}}, 400, "DuplicateHeaders"},
		{"no authorization", "POST", path, http.Header{"Apns-Topic": {shop}, "Authorization": nil}, 403, "MissingProviderToken"},
		{"other scheme", "POST", path, with("Authorization", "basic x"), 403, "MissingProviderToken"},
		{"expiration", "POST", path, with("Apns-Expiration", "soon"), 400, "BadExpirationDate"},
		{"expiration in the past", "POST", path, with("Apns-Expiration", "-1"), 400, "BadExpirationDate"},
		{"once", "POST", path, with("Apns-Expiration", "0"), 200, ""},
	} {
		status, _, body := raw(t, sim, k.method, k.path, k.h, `{"aps":{"alert":"hello"}}`)
		var a struct{ Reason string }
		_ = json.Unmarshal([]byte(body), &a)
		if status != k.status || a.Reason != k.reason {
			t.Errorf("%s: %d %s, want %d %s", k.name, status, body, k.status, k.reason)
		}
	}
}

func TestOnlyHTTP2OverTLS(t *testing.T) {
	sim := start(t, apnssim.Options{})
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: sim.RootCAs(), NextProtos: []string{"http/1.1"}}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, sim.URL(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := tr.RoundTrip(req); err == nil {
		_ = resp.Body.Close()
		t.Error("HTTP/1.1 was answered")
	}
}

func TestTooManyProviderTokens(t *testing.T) {
	clk := newClock()
	sim := start(t, apnssim.Options{Now: clk.now, MinTokenUpdate: 20 * time.Minute})
	push := func() *apns2.Response {
		t.Helper()
		c := client(t, sim, nil) // signs anew
		if _, err := c.Token.Generate(); err != nil {
			t.Fatal(err)
		}
		res, err := c.Push(alert("ada"))
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if res := push(); !res.Sent() {
		t.Fatal(res)
	}
	if res := push(); res.StatusCode != 429 || res.Reason != apns2.ReasonTooManyProviderTokenUpdates {
		t.Error(res)
	}
	clk.advance(20 * time.Minute)
	if res := push(); !res.Sent() {
		t.Error(res)
	}
}
