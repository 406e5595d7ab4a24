package fcmsim_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
)

// wire speaks to a simulator without any SDK.
type wire struct {
	t      testing.TB
	sim    *fcmsim.Server
	client *http.Client
	bearer string
	now    time.Time
}

func connect(t testing.TB, sim *fcmsim.Server) *wire {
	t.Helper()
	return connectAt(t, sim, time.Now())
}

// connectAt is for a simulator with a clock of its own.
func connectAt(t testing.TB, sim *fcmsim.Server, now time.Time) *wire {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	w := &wire{t: t, sim: sim, client: &http.Client{Transport: tr}, now: now}
	status, body := w.token(nil)
	if status != http.StatusOK {
		t.Fatal(status, body)
	}
	w.bearer, _ = body["access_token"].(string)
	return w
}

// token asks for an access token by an assertion that change may spoil.
func (w *wire) token(change func(header, claims map[string]any)) (int, map[string]any) {
	w.t.Helper()
	var file struct {
		Key   string `json:"private_key"`
		KeyID string `json:"private_key_id"`
		Email string `json:"client_email"`
		URI   string `json:"token_uri"`
	}
	if err := json.Unmarshal(w.sim.Credentials(), &file); err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(file.Key))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	now := w.now
	claims := jwt.MapClaims{
		"iss": file.Email, "aud": file.URI, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"scope": "https://www.googleapis.com/auth/firebase.messaging",
	}
	j := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	j.Header["kid"] = file.KeyID
	if change != nil {
		change(j.Header, claims)
	}
	signed, err := j.SignedString(key.(*rsa.PrivateKey))
	if err != nil {
		w.t.Fatal(err)
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {signed}}
	status, _, body := w.do(http.MethodPost, "/token", "application/x-www-form-urlencoded", form.Encode())
	return status, body
}

// do makes a request; the body is empty when it is no JSON object.
func (w *wire) do(method, path, contentType, body string) (int, http.Header, map[string]any) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.sim.URL()+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if w.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+w.bearer)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	var doc map[string]any
	_ = json.Unmarshal(b, &doc) // some are pages
	return resp.StatusCode, resp.Header, doc
}

// send sends a message, "message"'s value, and returns FCM's error code (or the
// status' name where there is none), and the field that is blamed.
func (w *wire) send(message string) (status int, code, field string) {
	w.t.Helper()
	status, _, doc := w.do(http.MethodPost, "/v1/projects/footfall-sim/messages:send", "application/json", `{"message":`+message+`}`)
	code, field = errorOf(doc)
	return status, code, field
}

func errorOf(doc map[string]any) (code, field string) {
	e, _ := doc["error"].(map[string]any)
	code, _ = e["status"].(string)
	details, _ := e["details"].([]any)
	for _, d := range details {
		d := d.(map[string]any)
		if c, ok := d["errorCode"].(string); ok {
			code = "fcm:" + c
		}
		if v, ok := d["fieldViolations"].([]any); ok {
			field, _ = v[0].(map[string]any)["field"].(string)
		}
	}
	return code, field
}

func TestTokenEndpointChecksTheAssertion(t *testing.T) {
	now := time.Now()
	sim := start(t, fcmsim.Options{Now: func() time.Time { return now }})
	w := connectAt(t, sim, now)
	for _, c := range []struct {
		name   string
		change func(header, claims map[string]any)
		want   string
	}{
		{"whole", nil, ""},
		{"audience", func(_, c map[string]any) { c["aud"] = "https://oauth2.example/token" }, "invalid_grant"},
		{"issuer", func(_, c map[string]any) { c["iss"] = "nobody@example.com" }, "invalid_grant"},
		{"key id", func(h, _ map[string]any) { h["kid"] = "other" }, "invalid_grant"},
		{"no scope", func(_, c map[string]any) { delete(c, "scope") }, "invalid_scope"},
		{"other scope", func(_, c map[string]any) { c["scope"] = "https://www.googleapis.com/auth/drive" }, "invalid_scope"},
		{"no end", func(_, c map[string]any) { delete(c, "exp") }, "invalid_grant"},
		{"no beginning", func(_, c map[string]any) { delete(c, "iat") }, "invalid_grant"},
		{"two hours", func(_, c map[string]any) { c["exp"] = now.Add(2 * time.Hour).Unix() }, "invalid_grant"},
		{"over", func(_, c map[string]any) {
			c["iat"], c["exp"] = now.Add(-2*time.Hour).Unix(), now.Add(-time.Hour).Unix()
		}, "invalid_grant"},
		{"of the future", func(_, c map[string]any) {
			c["iat"], c["exp"] = now.Add(time.Hour).Unix(), now.Add(2*time.Hour).Unix()
		}, "invalid_grant"},
	} {
		status, body := w.token(c.change)
		got, _ := body["error"].(string)
		if got != c.want || (status == http.StatusOK) != (c.want == "") {
			t.Errorf("%s: %d %v, want %q", c.name, status, body, c.want)
		}
	}
	if status, _, body := w.do(http.MethodPost, "/token", "application/x-www-form-urlencoded", "grant_type=password"); status != 400 || body["error"] != "unsupported_grant_type" {
		t.Error(status, body)
	}
}

func TestAccessTokensEnd(t *testing.T) {
	now := time.Now()
	sim := start(t, fcmsim.Options{TokenLife: time.Hour, Now: func() time.Time { return now }})
	w := connectAt(t, sim, now)
	for _, c := range []struct {
		advance time.Duration
		want    int
	}{{0, 200}, {59 * time.Minute, 200}, {2 * time.Minute, 401}} {
		sim.Advance(c.advance)
		if status, code, _ := w.send(`{"token":"a"}`); status != c.want || status == 401 && code != "UNAUTHENTICATED" {
			t.Error(c.advance, status, code)
		}
	}
	w.bearer = ""
	if status, _, _ := w.send(`{"token":"a"}`); status != 401 {
		t.Error("without an access token:", status)
	}
}

func TestEachRuleOfTheAPIIsChecked(t *testing.T) {
	w := connect(t, start(t, fcmsim.Options{}))
	long := func(n int) string { return strings.Repeat("x", n) }
	wide := strings.Repeat("ø", 2047) // two bytes each, and one for its key
	for _, c := range []struct{ name, message, code, field string }{
		{"plain", `{"token":"a"}`, "", ""},
		{"camel case, as other SDKs write", `{"token":"a","android":{"collapseKey":"c","notification":{"channelId":"d"}}}`, "", ""},
		{"installation id", `{"fid":"a"}`, "", ""},
		{"no target", `{"data":{"a":"b"}}`, "fcm:INVALID_ARGUMENT", "message"},
		{"two targets", `{"token":"a","topic":"b"}`, "fcm:INVALID_ARGUMENT", "message"},
		{"token and fid", `{"token":"a","fid":"b"}`, "fcm:INVALID_ARGUMENT", "message"},
		{"not JSON", `{"token":`, "INVALID_ARGUMENT", ""},
		{"unknown field", `{"token":"a","colour":"b"}`, "INVALID_ARGUMENT", "message"},
		{"number in data", `{"token":"a","data":{"n":1}}`, "INVALID_ARGUMENT", "message.data"},
		{"data is a list", `{"token":"a","data":[]}`, "INVALID_ARGUMENT", "message.data"},
		{"reserved: from", `{"token":"a","data":{"from":"b"}}`, "fcm:INVALID_ARGUMENT", "message.data"},
		{"reserved: google", `{"token":"a","data":{"google.c":"b"}}`, "fcm:INVALID_ARGUMENT", "message.data"},
		{"reserved: gcm, for Android", `{"token":"a","android":{"data":{"gcm.n":"b"}}}`, "fcm:INVALID_ARGUMENT", "message.android.data"},
		{"4096 bytes", `{"token":"a","data":{"a":"` + long(4095) + `"}}`, "", ""},
		{"4097 bytes has no details", `{"token":"a","data":{"a":"` + long(4096) + `"}}`, "INVALID_ARGUMENT", ""},
		{"4095 bytes of UTF-8", `{"token":"a","data":{"a":"` + wide + `"}}`, "", ""},
		{"4097 bytes of UTF-8", `{"token":"a","data":{"a":"` + wide + `ø"}}`, "INVALID_ARGUMENT", ""},
		{"ttl 0", `{"token":"a","android":{"ttl":"0s"}}`, "", ""},
		{"ttl 28 days", `{"token":"a","android":{"ttl":"2419200s"}}`, "", ""},
		{"ttl of 28 days and a bit", `{"token":"a","android":{"ttl":"2419200.5s"}}`, "fcm:INVALID_ARGUMENT", "message.android.ttl"},
		{"negative ttl", `{"token":"a","android":{"ttl":"-1s"}}`, "fcm:INVALID_ARGUMENT", "message.android.ttl"},
		{"ttl without s", `{"token":"a","android":{"ttl":"3600"}}`, "INVALID_ARGUMENT", "message.android.ttl"},
		{"ttl is a number", `{"token":"a","android":{"ttl":3600}}`, "INVALID_ARGUMENT", "message.android.ttl"},
		{"ttl in hours", `{"token":"a","android":{"ttl":"1hs"}}`, "INVALID_ARGUMENT", "message.android.ttl"},
		{"priority", `{"token":"a","android":{"priority":"urgent"}}`, "INVALID_ARGUMENT", "message.android.priority"},
		{"color", `{"token":"a","android":{"notification":{"color":"red"}}}`, "fcm:INVALID_ARGUMENT", "message.android.notification.color"},
		{"visibility", `{"token":"a","android":{"notification":{"visibility":"SOME"}}}`, "INVALID_ARGUMENT", "message.android.notification.visibility"},
		{"label", `{"token":"a","fcm_options":{"analytics_label":"a b"}}`, "fcm:INVALID_ARGUMENT", "message.fcm_options.analytics_label"},
		{"label of 51", `{"token":"a","android":{"fcm_options":{"analytics_label":"` + long(51) + `"}}}`, "fcm:INVALID_ARGUMENT", "message.android.fcm_options.analytics_label"},
		{"image", `{"token":"a","notification":{"image":"a.png"}}`, "fcm:INVALID_ARGUMENT", "message.notification.image"},
		{"topic", `{"topic":"a b"}`, "fcm:INVALID_ARGUMENT", "message.topic"},
		{"apns priority", `{"token":"a","apns":{"headers":{"apns-priority":"7"}}}`, "fcm:INVALID_ARGUMENT", "message.apns.headers"},
		{"background at 10", `{"token":"a","data":{"a":"b"},"apns":{"headers":{"apns-priority":"10"},"payload":{"aps":{"content-available":1}}}}`, "fcm:INVALID_ARGUMENT", "message.apns.headers"},
		{"background at 5", `{"token":"a","data":{"a":"b"},"apns":{"headers":{"apns-priority":"5"},"payload":{"aps":{"content-available":1}}}}`, "", ""},
		{"apns collapse id", `{"token":"a","apns":{"headers":{"apns-collapse-id":"` + long(65) + `"}}}`, "fcm:INVALID_ARGUMENT", "message.apns.headers"},
		{"apns expiration", `{"token":"a","apns":{"headers":{"apns-expiration":"soon"}}}`, "fcm:INVALID_ARGUMENT", "message.apns.headers"},
		{"aps is text", `{"token":"a","apns":{"payload":{"aps":"hello"}}}`, "fcm:INVALID_ARGUMENT", "message.apns.payload"},
		{"live activity without a state", `{"token":"a","apns":{"live_activity_token":"t","payload":{"aps":{"event":"update","timestamp":1}}}}`, "fcm:INVALID_ARGUMENT", "message.apns.payload"},
		{"live activity", `{"token":"a","apns":{"live_activity_token":"t","payload":{"aps":{"event":"update","timestamp":1,"content-state":{}}}}}`, "", ""},
		{"web link", `{"token":"a","webpush":{"fcm_options":{"link":"http://shop.example"}}}`, "fcm:INVALID_ARGUMENT", "message.webpush.fcm_options.link"},
		{"web urgency", `{"token":"a","webpush":{"headers":{"Urgency":"now"}}}`, "fcm:INVALID_ARGUMENT", "message.webpush.headers"},
		{"web ttl", `{"token":"a","webpush":{"headers":{"TTL":"60s"}}}`, "fcm:INVALID_ARGUMENT", "message.webpush.headers"},
		{"token with a blank", `{"token":"a b"}`, "fcm:INVALID_ARGUMENT", ""},
	} {
		status, code, field := w.send(c.message)
		want := http.StatusOK
		if c.code != "" {
			want = http.StatusBadRequest
		}
		if status != want || code != c.code || field != c.field && !strings.HasPrefix(field, c.field+".") {
			t.Errorf("%s: %d %q %q, want %d %q %q", c.name, status, code, field, want, c.code, c.field)
		}
	}
	if status, _, _ := w.do(http.MethodPost, "/v1/projects/footfall-sim/messages:batch", "application/json", "{}"); status != http.StatusNotFound {
		t.Error("another method:", status)
	}
	if status, _, doc := w.do(http.MethodPost, "/v1/projects/footfall-sim/messages:send", "application/json", "{\"message\":{\"token\":\"\xff\"}}"); status != 400 {
		t.Error("not UTF-8:", status, doc)
	}
}

func FuzzSend(f *testing.F) {
	sim := start(f, fcmsim.Options{})
	w := connect(f, sim)
	for _, s := range []string{
		`{"token":"a","data":{"a":"b"}}`, `{"condition":"'a' in topics && !('b' in topics)"}`, `{"token":"slow","android":{"ttl":"1.5s"}}`,
		`{"token":"a","apns":{"headers":{"apns-priority":"5"},"payload":{"aps":{"alert":"x"}}}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, message string) {
		if strings.Contains(message, "drop-") || strings.Contains(message, "reset-") || strings.Contains(message, "slow") {
			return // those give no answer
		}
		w.t = t
		if status, _, _ := w.send(message); status == 0 || status >= 500 && !strings.Contains(message, "-") {
			t.Error(status)
		}
	})
}

func TestStrictKnowsOnlyWhomItWasTold(t *testing.T) {
	sim := start(t, fcmsim.Options{Strict: true})
	w := connect(t, sim)
	ada, err := sim.AddDevice(fcmsim.Device{Package: "com.example.shop"})
	if err != nil {
		t.Fatal(err)
	}
	stranger := strings.Map(func(r rune) rune {
		if r == 'b' {
			return 'c'
		}
		return r
	}, ada.FID) + "x"
	stranger = stranger[len(stranger)-22:] + ada.Token[22:]
	send := func(want int, code, message string) {
		t.Helper()
		if status, got, _ := w.send(message); status != want || got != code {
			t.Errorf("%s: %d %s, want %d %s", message, status, got, want, code)
		}
	}
	send(200, "", `{"token":"`+ada.Token+`"}`)
	send(200, "", `{"fid":"`+ada.FID+`"}`)
	send(404, "fcm:UNREGISTERED", `{"token":"`+stranger+`"}`)
	send(400, "fcm:INVALID_ARGUMENT", `{"token":"plain"}`)
	send(400, "fcm:INVALID_ARGUMENT", `{"token":"`+ada.Token+`","android":{"restricted_package_name":"com.example.other"}}`)

	for _, c := range []struct {
		state fcmsim.State
		codes []string // of one send after the other
	}{
		{fcmsim.Unregistered, []string{"fcm:UNREGISTERED"}},
		{fcmsim.Expired, []string{"fcm:UNREGISTERED"}},
		{fcmsim.OtherSender, []string{"fcm:SENDER_ID_MISMATCH"}},
		{fcmsim.Malformed, []string{"fcm:INVALID_ARGUMENT"}},
		{fcmsim.Flapping, []string{"fcm:UNREGISTERED", "", "fcm:UNREGISTERED"}},
		{fcmsim.Active, []string{""}},
	} {
		if err := sim.SetState(ada.Token, c.state); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.codes {
			if _, code, _ := w.send(`{"token":"` + ada.Token + `"}`); code != want {
				t.Errorf("%s: %q, want %q", c.state, code, want)
			}
		}
	}

	next, err := sim.Reregister(ada.Token)
	if err != nil {
		t.Fatal(err)
	}
	send(404, "fcm:UNREGISTERED", `{"token":"`+ada.Token+`"}`)
	send(200, "", `{"token":"`+next+`"}`)
	if err := sim.Uninstall(next); err != nil {
		t.Fatal(err)
	}
	send(404, "fcm:UNREGISTERED", `{"token":"`+next+`"}`)

	phone, err := sim.AddDevice(fcmsim.Device{Platform: fcmsim.IPhone})
	if err != nil {
		t.Fatal(err)
	}
	sim.SetAPNsKeyBad(true)
	send(401, "fcm:THIRD_PARTY_AUTH_ERROR", `{"token":"`+phone.Token+`"}`)
	sim.SetAPNsKeyBad(false)
	send(200, "", `{"token":"`+phone.Token+`"}`)
	send(400, "INVALID_ARGUMENT", `{"token":"`+phone.Token+`","data":{"a":"`+strings.Repeat(`\n`, 2100)+`"}}`)
}

func TestSilentForTooLongIsExpired(t *testing.T) {
	now := time.Now()
	sim := start(t, fcmsim.Options{Strict: true, TokenLife: 400 * 24 * time.Hour, Now: func() time.Time { return now }})
	w := connectAt(t, sim, now)
	ada, err := sim.AddDevice(fcmsim.Device{Presence: fcmsim.Offline})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		days int
		want int
	}{{270, 200}, {1, 404}} {
		sim.Advance(time.Duration(c.days) * 24 * time.Hour)
		if status, code, _ := w.send(`{"token":"` + ada.Token + `"}`); status != c.want {
			t.Error(c.days, status, code)
		}
	}
}

func TestQuotas(t *testing.T) {
	base := time.Now()
	for _, c := range []struct {
		name    string
		quotas  fcmsim.Quotas
		message string
		allowed int
		subject string
		refill  time.Duration // after which one more is allowed
	}{
		{"project", fcmsim.Quotas{ProjectPerMinute: 5}, `{"token":"a"}`, 5, "project:footfall-sim", time.Minute},
		{"project, refused ones too", fcmsim.Quotas{ProjectPerMinute: 5}, `{"token":"a","android":{"ttl":"x"}}`, 5, "project:footfall-sim", time.Minute},
		{"device per minute", fcmsim.Quotas{DevicePerMinute: 4, DevicePerHour: 100}, `{"token":"a"}`, 4, "device", time.Minute},
		{"device per hour", fcmsim.Quotas{DevicePerMinute: 100, DevicePerHour: 3}, `{"token":"a"}`, 3, "device", time.Hour},
		{"collapsible", fcmsim.Quotas{CollapsibleBurst: 6, CollapsibleEvery: 3 * time.Minute}, `{"token":"a","android":{"collapse_key":"c"}}`, 6, "device", 3 * time.Minute},
		{"not collapsible", fcmsim.Quotas{CollapsibleBurst: 6, CollapsibleEvery: time.Hour}, `{"token":"a"}`, 20, "", 0},
		{"now or never is exempt", fcmsim.Quotas{CollapsibleBurst: 6, CollapsibleEvery: time.Hour}, `{"token":"a","android":{"collapse_key":"c","ttl":"0s"}}`, 20, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A clock of its own: requests may be minutes apart on a loaded machine.
			sim := start(t, fcmsim.Options{Quotas: c.quotas, TokenLife: 100 * time.Hour, Now: func() time.Time { return base }})
			w := connectAt(t, sim, base)
			send := func() (int, http.Header, map[string]any) {
				return w.do(http.MethodPost, "/v1/projects/footfall-sim/messages:send", "application/json", `{"message":`+c.message+`}`)
			}
			for i := range c.allowed {
				if status, _, doc := send(); status == 429 {
					t.Fatal(i, doc)
				}
			}
			if c.subject == "" {
				return
			}
			status, header, doc := send()
			if code, _ := errorOf(doc); status != 429 || code != "fcm:QUOTA_EXCEEDED" || !strings.Contains(jsonOf(doc), `"subject":"`+c.subject+`"`) {
				t.Fatal(status, doc)
			}
			if want := seconds(c.refill); header.Get("Retry-After") != want {
				t.Errorf("Retry-After %q, want %q", header.Get("Retry-After"), want)
			}
			sim.Advance(c.refill)
			if status, _, doc := send(); status == 429 {
				t.Error("after the wait:", doc)
			}
		})
	}
}

func seconds(d time.Duration) string {
	b, _ := json.Marshal(int(d / time.Second))
	return string(b)
}

func jsonOf(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func TestRules(t *testing.T) {
	sim := start(t, fcmsim.Options{Seed: 1})
	w := connect(t, sim)
	sim.SetRules(
		fcmsim.Rule{Match: map[string]string{"message.data.campaign.id": "rain*"}, Times: 2, Fault: fcmsim.Fault{Code: "UNAVAILABLE", RetryAfter: 1500 * time.Millisecond}},
		fcmsim.Rule{Match: map[string]string{"message.token": "b", "project": "footfall-sim"}, Fault: fcmsim.Fault{Status: 418, Message: "short and stout"}},
	)
	send := func(m string) int { status, _, _ := w.send(m); return status }
	rain := `{"token":"a","data":{"campaign.id":"rain-7"}}`
	if got := []int{send(rain), send(rain), send(rain), send(`{"token":"a"}`), send(`{"token":"b"}`), send(`{"token":"b"}`)}; !reflect.DeepEqual(got, []int{503, 503, 200, 200, 418, 418}) {
		t.Error(got)
	}
	// By chance, the same with the same seed.
	runs := make([][]int, 2)
	for i := range runs {
		sim := start(t, fcmsim.Options{Seed: 7, Rules: []fcmsim.Rule{{Rate: 0.5, Fault: fcmsim.Fault{Code: "INTERNAL"}}}})
		w := connect(t, sim)
		for range 30 {
			status, _, _ := w.send(`{"token":"a"}`)
			runs[i] = append(runs[i], status)
		}
	}
	failed := 0
	for _, s := range runs[0] {
		if s == 500 {
			failed++
		}
	}
	if !reflect.DeepEqual(runs[0], runs[1]) || failed == 0 || failed == 30 {
		t.Error(runs, failed)
	}
}

// TestFaultsOfTheWire: what happens to the connection, and whether the push was
// taken.
func TestFaultsOfTheWire(t *testing.T) {
	var mu sync.Mutex
	taken := map[string]int{}
	sim := start(t, fcmsim.Options{Slow: time.Hour, OnAccept: func(d fcmsim.Delivered) {
		mu.Lock()
		defer mu.Unlock()
		taken[d.Token]++
	}})
	w := connect(t, sim)
	count := func(token string) int {
		mu.Lock()
		defer mu.Unlock()
		return taken[token]
	}
	post := func(ctx context.Context, token string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, sim.URL()+"/v1/projects/footfall-sim/messages:send", strings.NewReader(`{"message":{"token":"`+token+`"}}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+w.bearer)
		return w.client.Do(req)
	}
	for token, want := range map[string]int{"drop-a": 1, "reset-a": 0} {
		if resp, err := post(t.Context(), token); err == nil {
			_ = resp.Body.Close()
			t.Error(token, "was answered")
		}
		if count(token) != want {
			t.Errorf("%s: taken %d times, want %d", token, count(token), want)
		}
		if status, _, _ := w.send(`{"token":"` + token + `"}`); status != 200 {
			t.Errorf("%s: the second time %d", token, status)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp, err := post(ctx, "slowbody-a")
	if err != nil {
		t.Fatal(err)
	}
	half := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, half); err != nil || !bytes.HasPrefix(half, []byte("{")) || count("slowbody-a") != 1 {
		t.Error(string(half), err, "the first half comes at once")
	}
	cancel()
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_ = resp.Body.Close()
	if status, header, _ := w.do(http.MethodPost, "/v1/projects/footfall-sim/messages:send", "application/json", `{"message":{"token":"goaway-a"}}`); status != 200 {
		t.Error(status, header)
	}
	if status, _, _ := w.send(`{"token":"after"}`); status != 200 {
		t.Error("after a GOAWAY:", status)
	}
	accepted := 0
	for _, r := range sim.Requests() {
		if r.Accepted {
			accepted++
		}
	}
	if accepted != 6 { // drop twice, reset once, slowbody, goaway, after
		t.Errorf("the log says %d accepted: %+v", accepted, sim.Requests())
	}
}
