package app_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/footfall-engage/footfall/channels/apns/apnssim"
	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/weather/weathersim"
)

// story is a whole server with its providers on loopback ports, and a clock that
// the test advances. Campaigns are made through the API, phones are real clients.
type story struct {
	t     testing.TB
	dir   string
	start time.Time
	clock *clock.Manual
	fcm   *fcmsim.Server
	apns  *apnssim.Server
	sky   *weathersim.Server
	opts  app.Options
	app   *app.App
	url   string
	key   string
	stop  func()

	mu     sync.Mutex
	pushes []push
	phones []*phone
	keys   map[string]string // app keys by platform
}

type push struct{ token, message, title, via string }

var (
	cafe = geo.Point{Lat: 52.3702, Lng: 4.8952}
	far  = geo.Point{Lat: 52.3902, Lng: 4.8952} // 2.2 km to the north
)

const identitySecret = "an identity secret for the test"

func newStory(t testing.TB, adjust ...func(*app.Options)) *story {
	t.Helper()
	s := &story{t: t, dir: t.TempDir(), start: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC), keys: map[string]string{}}
	s.clock = clock.NewManual(s.start)
	var err error
	if s.fcm, err = fcmsim.Start(fcmsim.Options{OnAccept: func(d fcmsim.Delivered) { s.pushed(d.Token, d.MessageID, d.Title, "fcm") }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, s.fcm) })
	if s.apns, err = apnssim.Start(apnssim.Options{Now: s.clock.Now, OnAccept: func(d apnssim.Delivered) { s.pushed(d.Token, d.MessageID, d.Title, "apns") }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, s.apns) })
	if s.sky, err = weathersim.Start(weathersim.Options{Now: s.clock.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, s.sky) })
	s.sky.Set(func(_, _ float64, _ time.Time) weathersim.Conditions {
		return weathersim.Conditions{TemperatureC: 9, HumidityPercent: 90, CloudPercent: 100, PrecipitationMM: 2}
	})
	c := config.Default()
	c.DataDir = filepath.Join(s.dir, "data")
	c.Listen = "127.0.0.1:0"
	c.Partitions = 2
	c.Weather.Contact, c.Weather.BaseURL = "ops@example.com", s.sky.URL()
	c.Providers.FCM.Endpoint = s.fcm.URL()
	c.Providers.APNs.ProductionURL = s.apns.URL()
	c.Providers.APNs.RootCAFile = filepath.Join(s.dir, "apns.pem")
	writePEM(t, c.Providers.APNs.RootCAFile, s.apns)
	s.opts = app.Options{Config: c, Clock: s.clock, Version: "test", Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))}
	for _, f := range adjust {
		f(&s.opts)
	}
	s.serve()
	t.Cleanup(func() {
		s.stop()
		http.DefaultClient.CloseIdleConnections()
	})
	s.apps()
	return s
}

func closing(t testing.TB, c io.Closer) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// writePEM writes the simulator's authority where an operator would.
func writePEM(t testing.TB, path string, sim *apnssim.Server) {
	t.Helper()
	if err := os.WriteFile(path, sim.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve starts the server on the story's folder; stop ends it.
func (s *story) serve() {
	s.t.Helper()
	a, err := app.New(s.t.Context(), s.opts)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	select {
	case <-a.Serving():
	case err := <-done:
		s.t.Fatalf("the server stopped: %v", err)
	case <-time.After(30 * time.Second):
		s.t.Fatal("the server does not serve")
	}
	s.app, s.url = a, a.URL()
	if k := a.FirstKey(); k != "" {
		s.key = k.Reveal()
	}
	s.stop = sync.OnceFunc(func() {
		for _, p := range s.phones {
			p.Close()
		}
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("stop: %v", err)
		}
	})
}

// call makes an API request and decodes the answer.
func (s *story) call(method, path string, body, into any) int {
	s.t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, in)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(b, into); err != nil {
			s.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, b)
		}
	}
	return resp.StatusCode
}

// must is call that expects success.
func (s *story) must(method, path string, body, into any) {
	s.t.Helper()
	var raw json.RawMessage
	if code := s.call(method, path, body, &raw); code >= 300 {
		s.t.Fatalf("%s %s: %d %s", method, path, code, raw)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *story) apps() {
	s.t.Helper()
	team, kid, p8 := s.apns.Key()
	for _, a := range []map[string]any{
		{
			"id": "android", "name": "Shop for Android", "platform": "android", "identity_secret": identitySecret,
			"fcm": map[string]any{"project_id": s.fcm.ProjectID(), "service_account": string(s.fcm.Credentials())},
		},
		{
			"id": "ios", "name": "Shop for iOS", "platform": "ios", "bundle_id": "com.example.shop", "identity_secret": identitySecret,
			"apns": map[string]any{"team_id": team, "key_id": kid, "private_key": string(p8)},
		},
	} {
		var made struct{ Key string }
		s.must("POST", "/api/v1/apps", a, &made)
		s.keys[a["id"].(string)] = made.Key
	}
}

func (s *story) place(id string, at geo.Point, tags ...string) {
	s.t.Helper()
	fence := func(ring string, radius float64) map[string]any {
		return map[string]any{
			"id": id + "-" + ring, "ring": ring, "radius": radius,
			"geometry": map[string]any{"type": "Point", "coordinates": []float64{at.Lng, at.Lat}},
		}
	}
	s.must("PUT", "/api/v1/places/"+id, map[string]any{
		"name": "Café " + id, "tags": tags, "time_zone": "Europe/Amsterdam", "location": at,
		"geofences": []any{fence("inside", 60), fence("near", 300)},
	}, nil)
}

// campaign saves a live campaign; change edits the rainy-day one.
func (s *story) campaign(id string, change func(c map[string]any)) {
	s.t.Helper()
	c := map[string]any{
		"name": id, "class": "marketing", "status": "live", "holdout_percent": 0,
		"trigger":  map[string]any{"type": "place", "transition": "enter", "rings": []string{"near", "inside"}},
		"audience": map[string]any{"field": "likes", "op": "contains", "value": "fashion"},
		"context":  map[string]any{"field": "weather.condition", "op": "in", "value": []string{"rain", "sleet", "thunder"}},
		"arms": []any{map[string]any{"id": "a", "message": map[string]any{
			"title": "Umbrellas at {{ place.name }}", "body": "It is {{ weather.temperature_c | round }} °C and raining.", "deep_link": "shop://umbrellas",
		}}},
		"limits": map[string]any{"cap": 1, "cap_window_s": 86400},
	}
	if change != nil {
		change(c)
	}
	s.must("PUT", "/api/v1/campaigns/"+id, c, nil)
}

// phone is a person's phone.
type phone struct {
	*client.Client
	s       *story
	name    string
	install string
	profile string
	token   string
	ended   chan error

	mu    sync.Mutex
	shown []*sdkpb.Message
	// refused items, with their codes
	rejects []string
}

func (s *story) pushed(token, message, title, via string) {
	s.mu.Lock()
	s.pushes = append(s.pushes, push{token, message, title, via})
	phones := slices.Clone(s.phones)
	s.mu.Unlock()
	for _, p := range phones {
		if p.token == token {
			p.PushReceived(message, via)
		}
	}
}

// phone installs the app on a new phone; change adjusts the client.
func (s *story) phone(name, platform string, change func(*client.Options)) *phone {
	s.t.Helper()
	p := &phone{s: s, name: name, install: "install-" + name, ended: make(chan error, 1)}
	p.profile = engage.ProfileID("default", p.install)
	o := client.Options{
		Endpoint: s.url, AppKey: s.keys[platform], InstallID: p.install, TimeZone: "Europe/Amsterdam", Locale: "nl-NL",
		Clock: s.clock.Now, Mono: func() time.Duration { return time.Second + s.clock.Now().Sub(s.start) }, BootID: "boot",
		BackoffMin: 10 * time.Millisecond, BackoffMax: 100 * time.Millisecond,
		Permissions: &sdkpb.Permissions{
			Location: sdkpb.Permissions_LOCATION_ALWAYS, Precision: sdkpb.Permissions_PRECISION_PRECISE,
			Notifications: sdkpb.Permissions_NOTIFICATIONS_GRANTED,
		},
		OnMessage: func(m *sdkpb.Message) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.shown = append(p.shown, m)
		},
		OnReject: func(_ *sdkpb.Item, r *sdkpb.Reject) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.rejects = append(p.rejects, r.GetCode()+" "+r.GetField())
		},
	}
	if platform == "ios" {
		o.Platform = sdkpb.Platform_PLATFORM_IOS
		p.token = apnssim.Token("", name)
		o.PushTarget = &sdkpb.PushTarget{Provider: sdkpb.PushTarget_PROVIDER_APNS, Token: p.token}
		o.Codec = sdkproto.JSON{}
	} else {
		o.Platform = sdkpb.Platform_PLATFORM_ANDROID
		p.token = fcmsim.Token("", name)
		o.PushTarget = &sdkpb.PushTarget{Provider: sdkpb.PushTarget_PROVIDER_FCM, Token: p.token}
	}
	if change != nil {
		change(&o)
		if o.PushTarget != nil {
			p.token = o.PushTarget.GetToken()
		}
	}
	c, err := client.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	p.Client = c
	s.mu.Lock()
	s.phones = append(s.phones, p)
	s.mu.Unlock()
	return p
}

// agree gives consent to everything but what is named.
func (p *phone) agree(but ...sdkpb.Consent_Purpose) *phone {
	for purpose := range sdkpb.Consent_Purpose_name {
		if q := sdkpb.Consent_Purpose(purpose); purpose != 0 && !slices.Contains(but, q) {
			p.SetConsent(q, true, "v1", "welcome")
		}
	}
	return p
}

func (p *phone) likes(topics ...string) *phone {
	m := map[string]sdkpb.Preferences_Attitude{}
	for _, t := range topics {
		m[t] = sdkpb.Preferences_ATTITUDE_LIKE
	}
	p.SetPreferences(m)
	return p
}

// background registers a phone that is not in use.
func (p *phone) background() *phone {
	p.s.t.Helper()
	if err := p.Register(p.s.t.Context()); err != nil {
		p.s.t.Fatalf("%s: %v", p.name, err)
	}
	p.SetLifecycle(sdkpb.Lifecycle_STATE_BACKGROUND)
	p.post()
	return p
}

// foreground opens the app.
func (p *phone) foreground() *phone {
	p.s.t.Helper()
	go func() { p.ended <- p.Run(context.WithoutCancel(p.s.t.Context())) }()
	p.s.eventually(p.name+" is connected", func() bool { return p.Registered() && p.Pending() == 0 })
	return p
}

// post is what a woken app does: one POST of all it has.
func (p *phone) post() {
	p.s.t.Helper()
	if err := p.PostBatch(p.s.t.Context()); err != nil {
		p.s.t.Fatalf("%s: %v", p.name, err)
	}
}

// at is a fix at a place, now.
func (p *phone) at(pos geo.Point, accuracyM float64) *phone {
	p.Fix(&sdkpb.Location{Lat: pos.Lat, Lng: pos.Lng, AccuracyM: accuracyM}, p.s.clock.Now())
	return p
}

func (p *phone) crosses(region string, t sdkpb.RegionEvent_Transition) *phone {
	p.RegionEvent(region, t, nil, p.s.clock.Now())
	return p
}

func (p *phone) identify(user string) *phone {
	mac := hmac.New(sha256.New, []byte(identitySecret))
	platform := "android"
	if strings.HasPrefix(p.install, "install-i-") {
		platform = "ios"
	}
	fmt.Fprintf(mac, "v1\x00%s\x00%s", platform, user)
	p.Identify(user, hex.EncodeToString(mac.Sum(nil)))
	return p
}

// shows are the titles that the phone showed in the app.
func (p *phone) shows() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, m := range p.shown {
		out = append(out, m.GetTitle())
	}
	return out
}

func (p *phone) first() *sdkpb.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown[0]
}

// pushesTo are the titles that a provider took for the phone.
func (s *story) pushesTo(p *phone) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, x := range s.pushes {
		if x.token == p.token {
			out = append(out, x.title+" by "+x.via)
		}
	}
	return out
}

// decisions of a person at a campaign, oldest first, as committed.
func (s *story) decisions(p *phone, campaign string) []engage.Decision {
	s.t.Helper()
	if err := s.app.Flush(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	var out []engage.Decision
	err := s.app.Decisions(s.t.Context(), "default", func(d engage.Decision) error {
		if (d.Profile == p.profile || d.Trigger.Install == p.install) && d.Campaign == campaign {
			out = append(out, d)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	slices.SortStableFunc(out, func(a, b engage.Decision) int { return a.At.Compare(b.At) })
	return out
}

// inInbox reports whether a message waits in a person's inbox, and for what reason.
func (s *story) inInbox(p *phone, campaign, detail string) bool {
	return slices.ContainsFunc(s.decisions(p, campaign), func(d engage.Decision) bool {
		return d.State == engage.Pending && d.Channel == "inbox" && d.Detail == detail
	})
}

// eventually waits, in real time, until the parts of the server have passed on
// what the test did. The server's own clock stands still meanwhile.
func (s *story) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			_ = s.app.Flush(s.t.Context())
			_ = s.app.Decisions(s.t.Context(), "default", func(d engage.Decision) error {
				s.t.Logf("%s of %s: %s %s by %s (%s)", d.Campaign, d.Profile, d.State, d.Reason, d.Channel, d.Detail)
				return nil
			})
			s.t.Fatalf("never: %s", what)
		}
		tick := time.NewTimer(2 * time.Millisecond)
		<-tick.C
	}
}

// settle waits until nothing is under way inside the server.
func (s *story) settle() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	if err := s.app.Settle(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// want waits for the newest decision of a campaign about a person.
func (s *story) want(p *phone, campaign string, state engage.DecisionState, reason engage.Reason) engage.Decision {
	s.t.Helper()
	var last engage.Decision
	s.eventually(fmt.Sprintf("%s at %s is %s %s (last: %s %s)", p.name, campaign, state, reason, last.State, last.Reason), func() bool {
		ds := s.decisions(p, campaign)
		if len(ds) == 0 {
			return false
		}
		for _, d := range ds {
			if d.State == state && d.Reason == reason {
				last = d
				return true
			}
		}
		last = ds[len(ds)-1]
		return false
	})
	return last
}

func outage() weathersim.Fault { return weathersim.Fault{Status: http.StatusServiceUnavailable} }

// deaf is a phone of few words: a raw socket that claims only when it is told to.
type deaf struct {
	*phone
	conn    *websocket.Conn
	store   *client.MemStore
	message string
}

func (s *story) deafPhone(name string) *deaf {
	s.t.Helper()
	// A first life as an ordinary phone, for consents and a device token.
	d := &deaf{store: &client.MemStore{}}
	d.phone = s.phone(name, "android", func(o *client.Options) { o.Store = d.store }).agree().likes("fashion").background()
	dialer := websocket.Dialer{Subprotocols: []string{sdkproto.SubprotocolPB}}
	conn, resp, err := dialer.DialContext(s.t.Context(), "ws"+strings.TrimPrefix(s.url, "http")+sdkproto.PathWS, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close() // a handshake has none
	s.t.Cleanup(func() { _ = conn.Close() })
	d.conn = conn
	return d
}

func (d *deaf) write(f *sdkpb.Frame) {
	d.s.t.Helper()
	b, err := sdkproto.EncodeFrame(sdkproto.Protobuf{}, f)
	if err != nil {
		d.s.t.Fatal(err)
	}
	if err := d.conn.WriteMessage(websocket.BinaryMessage, b); err != nil {
		d.s.t.Fatal(err)
	}
}

// until reads frames until one satisfies ok.
func (d *deaf) until(ok func(*sdkpb.Frame) bool) {
	d.s.t.Helper()
	for {
		if err := d.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			d.s.t.Fatal(err)
		}
		_, b, err := d.conn.ReadMessage()
		if err != nil {
			d.s.t.Fatal(err)
		}
		frames, err := sdkproto.Protobuf{}.DecodeFrames(b, sdkproto.MaxFrameBytes)
		if err != nil {
			d.s.t.Fatal(err)
		}
		if slices.ContainsFunc(frames, ok) {
			return
		}
	}
}

func (d *deaf) saved() client.Saved {
	d.s.t.Helper()
	saved, err := d.store.Load()
	if err != nil {
		d.s.t.Fatal(err)
	}
	return saved
}

func (d *deaf) hello() {
	d.s.t.Helper()
	d.write(&sdkpb.Frame{Id: 1, Hello: &sdkpb.Hello{
		AppKey: d.s.keys["android"], InstallId: d.install, DeviceToken: d.saved().Token,
		Platform: sdkpb.Platform_PLATFORM_ANDROID, WallMs: d.s.clock.Now().UnixMilli(),
	}})
	d.until(func(f *sdkpb.Frame) bool { return f.GetHelloOk() != nil })
}

func (d *deaf) send(at geo.Point) {
	d.s.t.Helper()
	now := d.s.clock.Now().UnixMilli()
	d.write(&sdkpb.Frame{Id: 2, Batch: &sdkpb.Batch{BatchId: "b", SentMs: now, Items: []*sdkpb.Item{{
		ItemId: "fix", Seq: d.saved().NextSeq, OccurredMs: now, Location: &sdkpb.Location{Lat: at.Lat, Lng: at.Lng, AccuracyM: 10},
	}}}})
}

func (d *deaf) waitOffered() {
	d.s.t.Helper()
	d.until(func(f *sdkpb.Frame) bool {
		d.message = f.GetMessage().GetMessageId()
		return d.message != ""
	})
}

func (d *deaf) claim() (granted bool) {
	d.s.t.Helper()
	d.write(&sdkpb.Frame{Id: 3, Claim: &sdkpb.Claim{MessageId: d.message}})
	d.until(func(f *sdkpb.Frame) bool {
		granted = f.GetGrant().GetGranted()
		return f.GetGrant() != nil
	})
	return granted
}

func (s *story) putIfMatch(path string, body any, version string) {
	s.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPut, s.url+path, bytes.NewReader(b))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("If-Match", `"`+version+`"`)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		s.t.Fatalf("PUT %s: %d %s %v", path, resp.StatusCode, answer, err)
	}
}
