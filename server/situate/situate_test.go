package situate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/situate"
)

var update = flag.Bool("update", false, "rewrite the files under testdata")

const (
	ws      = "acme"
	install = "install-ada"
	sec     = time.Second
)

var (
	t0   = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	shop = geo.Point{Lat: 52.3731, Lng: 4.8922}
	key  = engage.InstallKey(ws, install)
)

// east is the point that many metres east of the shop.
func east(m float64) geo.Point {
	return geo.Point{Lat: shop.Lat, Lng: shop.Lng + m/(111_320*math.Cos(shop.Lat*math.Pi/180))}
}

// cafe is a place with a 100 m geofence and a near ring of 300 m.
func cafe(around geo.Point) *engage.Place {
	return &engage.Place{
		ID: "cafe", Workspace: ws, Name: "Café", Location: around,
		Geofences: []engage.Geofence{
			{ID: "cafe-in", Ring: engage.Inside, Shape: geo.Circle{Around: around, RadiusM: 100}},
			{ID: "cafe-near", Ring: engage.Near, Shape: geo.Circle{Around: around, RadiusM: 300}},
		},
	}
}

func config(t *testing.T, places ...*engage.Place) *situate.Config {
	t.Helper()
	in := map[string][]*engage.Place{ws: nil}
	for _, p := range places {
		in[p.Workspace] = append(in[p.Workspace], p)
	}
	var all []situate.Workspace
	for id, places := range in {
		all = append(all, situate.Workspace{ID: id, Places: places})
	}
	c, err := situate.NewConfig(nil, all)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// phone is one install in a partition.
type phone struct {
	*testing.T
	*steptest.Partition
	seq uint64
}

var allConsents = []sdkpb.Consent_Purpose{
	sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, sdkpb.Consent_PURPOSE_LOCATION_PRECISE,
}

func newPhone(t *testing.T, consents ...sdkpb.Consent_Purpose) *phone {
	t.Helper()
	return phoneOf(t, situate.Machine{}, consents...)
}

func phoneOf(t *testing.T, m engage.Machine, consents ...sdkpb.Consent_Purpose) *phone {
	t.Helper()
	p := &phone{T: t, Partition: steptest.New("in/0", m)}
	p.Adopt(config(t, cafe(shop)))
	for _, c := range consents {
		p.item(0, consent(c, true))
	}
	p.Take()
	t.Cleanup(func() {
		if err := p.Check(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// entry is an item as ingest appends it, at t0+at by log time and device clock.
func entry(seq uint64, at time.Duration, item *sdkpb.Item) engage.Entry {
	item.Seq = seq
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(item)
	if err != nil {
		panic(err)
	}
	return engage.Entry{Kind: engage.KindItem, Key: key, At: t0.Add(at), Occurred: t0.Add(at), Body: body}
}

// item applies the next item of the phone.
func (p *phone) item(at time.Duration, item *sdkpb.Item) {
	p.Helper()
	p.seq++
	p.apply(entry(p.seq, at, item))
}

func (p *phone) apply(es ...engage.Entry) {
	p.Helper()
	if err := p.Apply(es...); err != nil {
		p.Fatal(err)
	}
}

func (p *phone) install() *situate.Install {
	p.Helper()
	in, ok := p.State(key).(*situate.Install)
	if !ok {
		p.Fatal("no state of the install")
	}
	return in
}

// triggers takes the triggers put out since the last time.
func (p *phone) triggers() []engage.Trigger {
	p.Helper()
	var out []engage.Trigger
	for _, o := range p.Take() {
		if o.Entry.Kind != engage.KindTrigger {
			continue
		}
		var t engage.Trigger
		if err := o.Into(&t); err != nil {
			p.Fatal(err)
		}
		if want := engage.ProfileKey(ws, engage.ProfileID(ws, install)); o.To != "act" || o.Entry.Key != want {
			p.Errorf("trigger to %s %s, want act %s", o.To, o.Entry.Key, want)
		}
		out = append(out, t)
	}
	return out
}

func short(ts []engage.Trigger) string {
	var s []string
	for _, t := range ts {
		s = append(s, string(t.Transition)+" "+t.Fence)
	}
	return strings.Join(s, ", ")
}

func (p *phone) wantTriggers(want string) []engage.Trigger {
	p.Helper()
	ts := p.triggers()
	if got := short(ts); got != want {
		p.Fatalf("triggers: %q, want %q", got, want)
	}
	return ts
}

func fix(at geo.Point, accuracyM float64) *sdkpb.Item {
	return &sdkpb.Item{Location: &sdkpb.Location{Lat: at.Lat, Lng: at.Lng, AccuracyM: accuracyM}}
}

func region(id string, tr sdkpb.RegionEvent_Transition) *sdkpb.Item {
	return &sdkpb.Item{RegionEvent: &sdkpb.RegionEvent{RegionId: id, Transition: tr}}
}

func consent(c sdkpb.Consent_Purpose, granted bool) *sdkpb.Item {
	return &sdkpb.Item{Consent: &sdkpb.Consent{Purpose: c, Granted: granted, TextVersion: "v1", Source: "onboarding"}}
}

func lifecycle(s sdkpb.Lifecycle_State) *sdkpb.Item {
	return &sdkpb.Item{Lifecycle: &sdkpb.Lifecycle{State: s}}
}

const (
	enter = sdkpb.RegionEvent_TRANSITION_ENTER
	exit  = sdkpb.RegionEvent_TRANSITION_EXIT
	dwell = sdkpb.RegionEvent_TRANSITION_DWELL
)

func TestIntervalsAreASetWhateverTheOrder(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var s situate.Intervals
		set := map[uint64]bool{}
		span := 1 + r.Uint64N(400) // at most 200 holes
		for range 600 {
			n := 1 + r.Uint64N(span)
			if got, want := s.Add(n), !set[n]; got != want {
				t.Fatalf("seed %d: Add(%d) = %v, want %v; %v", seed, n, got, want, s)
			}
			set[n] = true
		}
		var n uint64
		for i, v := range s {
			if v[0] > v[1] || i > 0 && v[0] <= s[i-1][1]+1 {
				t.Fatalf("seed %d: not sorted, disjoint and apart: %v", seed, s)
			}
			for x := v[0]; x <= v[1]; x++ {
				if !set[x] {
					t.Fatalf("seed %d: %d was never added: %v", seed, x, s)
				}
				n++
			}
		}
		if n != uint64(len(set)) {
			t.Fatalf("seed %d: %d numbers, want %d", seed, n, len(set))
		}
	}
}

func TestIntervalsCloseTheOldestHoleWhenThereAreTooMany(t *testing.T) {
	var s situate.Intervals
	for n := uint64(10); n <= 10+2*300; n += 2 {
		if !s.Add(n) {
			t.Fatalf("%d was not new", n)
		}
	}
	if len(s) != 256 {
		t.Fatalf("%d intervals, want 256", len(s))
	}
	if s.Add(11) {
		t.Error("11 fills a closed hole and was taken for new")
	}
	if !s.Add(10 + 2*300 - 1) {
		t.Error("a young hole was closed")
	}
	if !s.Add(math.MaxUint64) || s.Add(math.MaxUint64) || !s.Add(math.MaxUint64-1) {
		t.Error("the largest numbers are not a set")
	}
	if !s.Add(2) { // before everything: taken, and then closed
		t.Error("2 was not new")
	}
	if s.Add(2) || len(s) != 256 {
		t.Errorf("2 twice, or %d intervals", len(s))
	}
}

func TestAnItemTakesEffectOnceInAnyOrder(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 2))
		p := newPhone(t, allConsents...)
		var es []engage.Entry
		for i := range uint64(30) {
			e := entry(p.seq+1+i, time.Duration(i)*sec, &sdkpb.Item{Event: &sdkpb.Event{Name: fmt.Sprint("e", i)}})
			for range 1 + r.IntN(3) {
				es = append(es, e)
			}
		}
		r.Shuffle(len(es), func(i, j int) { es[i], es[j] = es[j], es[i] })
		p.apply(es...)
		got := map[string]int{}
		for _, tr := range p.triggers() {
			got[tr.Event]++
		}
		if len(got) != 30 {
			t.Fatalf("seed %d: %d events, want 30", seed, len(got))
		}
		for name, n := range got {
			if n != 1 {
				t.Errorf("seed %d: %s took effect %d times", seed, name, n)
			}
		}
		if a := p.install().Accepted; len(a) != 1 || a[0] != [2]uint64{1, 33} {
			t.Errorf("seed %d: accepted %v", seed, a)
		}
	}
}

func TestARefusedItemLeavesNothing(t *testing.T) {
	p := newPhone(t, allConsents...)
	before := p.Dump()
	for name, e := range map[string]engage.Entry{
		"truncated":  {Kind: engage.KindItem, Key: key, At: t0, Body: []byte{0x0a, 0xff}},
		"no body":    entry(99, 0, &sdkpb.Item{}),
		"two bodies": entry(99, 0, &sdkpb.Item{Location: &sdkpb.Location{}, Event: &sdkpb.Event{Name: "x"}}),
		"bad json":   entry(99, 0, &sdkpb.Item{Event: &sdkpb.Event{Name: "x", PropertiesJson: "{"}}),
		"session":    {Kind: engage.KindSession, Key: key, At: t0, Body: []byte("[]")},
		"kind":       {Kind: engage.KindOutcome, Key: key, At: t0},
		"dead token": {Kind: engage.KindTokenDead, Key: key, At: t0, Body: []byte("{")},
		"weather":    {Kind: engage.KindWeather, Key: key, At: t0, Body: []byte("{")},
		"other key":  {Kind: engage.KindItem, Key: engage.InstallKey(ws, "new"), At: t0, Body: []byte{0xff}},
		"latitude":   entry(99, 0, fix(geo.Point{Lat: 91}, 10)),
	} {
		if err := p.Apply(e); err == nil || errors.Is(err, steptest.ErrBroken) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
		if now := p.Dump(); now != before {
			t.Fatalf("%s: left something:\n%s\nbefore:\n%s", name, now, before)
		}
	}
}

func TestConsentDecidesByTheOrderOfTheLog(t *testing.T) {
	const fg, precise = sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, sdkpb.Consent_PURPOSE_LOCATION_PRECISE
	t.Run("without consent a fix is dropped", func(t *testing.T) {
		p := newPhone(t)
		p.item(sec, fix(shop, 10))
		p.item(2*sec, region("cafe-in", enter))
		p.wantTriggers("")
		if in := p.install(); in.Fix != nil || in.Coarse != 0 || in.Refused != 2 || len(in.Places()) != 0 {
			t.Errorf("kept: %+v", in)
		}
	})
	t.Run("a fix that overtook a withdrawal on the way is dropped", func(t *testing.T) {
		p := newPhone(t, fg, precise)
		n := p.seq
		// The fix was made before the withdrawal and passed ingest's copy; the log has it after.
		p.apply(entry(n+2, 2*sec, consent(fg, false)), entry(n+1, sec, fix(shop, 10)))
		p.wantTriggers("")
		if in := p.install(); in.Fix != nil || in.Refused != 1 {
			t.Errorf("kept: %+v", in)
		}
		p.apply(entry(n+3, 3*sec, consent(fg, true)), entry(n+4, 4*sec, fix(shop, 10)))
		p.wantTriggers("enter cafe-near, enter cafe-in")
	})
	t.Run("an answer that the person gave earlier does not undo a later one", func(t *testing.T) {
		p := newPhone(t, fg, precise)
		n := p.seq
		p.apply(entry(n+2, 2*sec, consent(fg, false)))
		p.Take()
		p.apply(entry(n+1, 3*sec, consent(fg, true))) // late
		if out := p.Take(); len(out) != 0 {
			t.Errorf("the late answer was forwarded: %v", out)
		}
		p.item(4*sec, fix(shop, 10)) // takes seq n+1: dropped as a duplicate
		p.apply(entry(n+3, 5*sec, fix(shop, 10)))
		p.wantTriggers("")
	})
	t.Run("withdrawal of the last location consent forgets the position and the visits", func(t *testing.T) {
		p := newPhone(t, allConsents...)
		p.item(sec/4, fix(shop, 10))
		p.item(30*sec, fix(east(1000), 10))
		p.Take()
		p.item(60*sec, fix(shop, 10))
		p.wantTriggers("enter cafe-near, enter cafe-in")
		p.item(61*sec, consent(fg, false))
		if in := p.install(); in.Fix == nil || len(in.Places()) != 1 {
			t.Errorf("the background consent still stands: %+v", in)
		}
		p.item(62*sec, consent(sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, false))
		if in := p.install(); in.Fix != nil || in.Coarse != 0 || len(in.Places()) != 0 || !in.Tracks.IsZero() {
			t.Errorf("kept: %+v", in)
		}
		p.wantTriggers("")
	})
	t.Run("in the background the background consent is needed", func(t *testing.T) {
		p := newPhone(t, fg, precise)
		p.item(sec, lifecycle(sdkpb.Lifecycle_STATE_BACKGROUND))
		p.item(2*sec, region("cafe-in", enter))
		p.item(3*sec, fix(shop, 10))
		p.wantTriggers("")
		p.item(4*sec, lifecycle(sdkpb.Lifecycle_STATE_FOREGROUND))
		p.item(5*sec, fix(shop, 10))
		p.wantTriggers("enter cafe-near, enter cafe-in")
	})
}

func TestWithoutPreciseConsentAPositionIsACoarseCell(t *testing.T) {
	p := newPhone(t, sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND)
	p.item(sec, fix(shop, 10))
	p.wantTriggers("")
	in := p.install()
	if want, _ := geo.CellOf(shop, 7); in.Coarse != want || in.Fix != nil {
		t.Errorf("kept %v and %v, want the cell %v of resolution 7", in.Fix, in.Coarse, want)
	}
	if bytes.Contains(p.Bytes(key), []byte("52.37")) {
		t.Errorf("the state holds the position: %s", p.Bytes(key))
	}
	// The OS's word about a region counts, without the position it came with.
	r := region("cafe-near", enter)
	r.RegionEvent.Location = &sdkpb.Location{Lat: shop.Lat, Lng: shop.Lng, AccuracyM: 10}
	p.item(2*sec, r)
	if ts := p.wantTriggers("enter cafe-near"); ts[0].DistanceM != 0 || ts[0].AccuracyM != 0 {
		t.Errorf("the trigger tells the position: %+v", ts[0])
	}

	p.item(3*sec, consent(sdkpb.Consent_PURPOSE_LOCATION_PRECISE, true))
	p.item(4*sec, fix(shop, 10))
	if in := p.install(); in.Fix == nil || in.Coarse != 0 {
		t.Errorf("with precise consent: %+v", in)
	}
	p.item(5*sec, consent(sdkpb.Consent_PURPOSE_LOCATION_PRECISE, false))
	if in := p.install(); in.Fix != nil || in.Coarse == 0 {
		t.Errorf("after precise consent: %+v", in)
	}
}

func weather(t *testing.T, at time.Duration, freshFor time.Duration) engage.Entry {
	t.Helper()
	cell, err := geo.CellOf(shop, engage.WeatherResolution)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(engage.Weather{
		Cell: cell, At: t0, FetchedAt: t0.Add(at), FreshUntil: t0.Add(at + freshFor), Kind: "forecast", Condition: "rain", Provider: "sim",
	})
	if err != nil {
		t.Fatal(err)
	}
	return engage.Entry{Kind: engage.KindWeather, Key: engage.WeatherKey(cell.String()), At: t0.Add(at), Body: body}
}

func TestTheWeatherOfThePlaceIsAttached(t *testing.T) {
	p := newPhone(t, allConsents...)
	at := 0 * time.Second
	// cross goes in or out and returns what was put out at that moment.
	cross := func(d time.Duration) (tr engage.Trigger, asked int) {
		t.Helper()
		at += d
		kind := enter
		if len(p.install().Places()) > 0 {
			kind = exit
		}
		p.item(at, region("cafe-in", kind))
		for _, o := range p.Take() {
			switch o.Entry.Kind {
			case engage.KindTrigger:
				if err := o.Into(&tr); err != nil {
					t.Fatal(err)
				}
			case engage.KindWeatherRequest:
				if o.To != "weather" || string(o.Entry.Body) != tr.Cell && tr.Cell != "" {
					t.Errorf("request %+v", o)
				}
				asked++
			}
		}
		return tr, asked
	}
	for i, c := range []struct {
		after time.Duration
		want  engage.WeatherState
		asked int
	}{
		{0, engage.WeatherAbsent, 1},
		{9 * sec, engage.WeatherAbsent, 0},
		{1 * sec, engage.WeatherAbsent, 1},
		{1 * sec, engage.WeatherAbsent, 0},
	} {
		if tr, asked := cross(c.after); tr.WeatherIs != c.want || asked != c.asked || tr.Weather != nil || tr.Cell == "" {
			t.Errorf("%d: weather is %s, asked %d times; want %s and %d", i, tr.WeatherIs, asked, c.want, c.asked)
		}
	}
	p.apply(weather(t, at, time.Hour))
	for i, c := range []struct {
		after time.Duration
		want  engage.WeatherState
		asked int
	}{
		{sec, engage.WeatherFresh, 0},
		{59*time.Minute + 59*sec, engage.WeatherFresh, 0},
		{sec, engage.WeatherStale, 1},
		{sec, engage.WeatherStale, 0},
		{2*time.Hour + 59*time.Minute + 58*sec, engage.WeatherStale, 1},
		{sec, engage.WeatherAbsent, 0},
		{10 * sec, engage.WeatherAbsent, 1},
	} {
		tr, asked := cross(c.after)
		if tr.WeatherIs != c.want || asked != c.asked || (tr.Weather != nil) != (c.want != engage.WeatherAbsent) {
			t.Errorf("with weather, %d: it is %s, asked %d times; want %s and %d", i, tr.WeatherIs, asked, c.want, c.asked)
		}
	}
}

func pushToken(token string) *sdkpb.Item {
	return &sdkpb.Item{PushToken: &sdkpb.PushTarget{Provider: sdkpb.PushTarget_PROVIDER_FCM, Token: token}}
}

func TestADeadTokenIsOnlyThatToken(t *testing.T) {
	dead := func(token string, since time.Duration) engage.Entry {
		d := engage.TokenDead{Install: install, Token: engage.Secret(token), Reason: "UNREGISTERED"}
		if since > 0 {
			d.Since = t0.Add(since)
		}
		body, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		return engage.Entry{Kind: engage.KindTokenDead, Key: key, At: t0.Add(time.Hour), Body: body}
	}
	for _, c := range []struct {
		name string
		dead engage.Entry
		want string
	}{
		{"the token that stands", dead("a", 0), "UNREGISTERED"},
		{"dead since after it was given", dead("a", 20*sec), "UNREGISTERED"},
		{"registered since", dead("a", 5*sec), ""},
		{"another token by now", dead("b", 0), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPhone(t)
			p.item(10*sec, pushToken("a"))
			p.Take()
			p.apply(c.dead)
			if got := p.install().Device.Push.Dead; got != c.want {
				t.Fatalf("dead: %q, want %q", got, c.want)
			}
			out := p.Take()
			if told := len(out) == 1 && out[0].Entry.Kind == engage.KindDevice; told != (c.want != "") {
				t.Errorf("put out %v", out)
			}
			p.apply(c.dead) // twice is once
			if out := p.Take(); len(out) != 0 {
				t.Errorf("told twice: %v", out)
			}
			p.item(2*time.Hour, pushToken("c"))
			if push := p.install().Device.Push; push.Dead != "" || push.Token.Reveal() != "c" {
				t.Errorf("after another token: %q dead %q", push.Token.Reveal(), push.Dead)
			}
			p.item(2*time.Hour, pushToken(""))
			if p.install().Device.Push != nil {
				t.Error("an empty token takes the target back")
			}
			p.apply(c.dead)
		})
	}
	p := newPhone(t)
	p.apply(dead("a", 0))
	if p.State(key) != nil {
		t.Error("a dead token made an install")
	}
}

func TestASessionSaysWhoThePhoneIs(t *testing.T) {
	p := newPhone(t)
	p.apply(session(t, 5*sec))
	out := p.Take()
	if len(out) != 2 || out[0].Entry.Kind != engage.KindTokenClaim || out[0].To != "in" || out[1].Entry.Kind != engage.KindDevice || out[1].To != "act" {
		t.Fatalf("put out %v", out)
	}
	var d engage.Device
	if err := out[1].Into(&d); err != nil {
		t.Fatal(err)
	}
	want := engage.Device{
		Install: install, App: "shop-android", Platform: "android", OSVersion: "16", AppVersion: "1.2", TimeZone: "Europe/Amsterdam",
		Locale: "nl-NL", Location: "always", Precision: "precise", Notifications: "granted", Lifecycle: "background", SeenAt: t0.Add(5 * sec),
		Push: &engage.PushTarget{Provider: "fcm", Token: "tok", At: t0.Add(5 * sec)},
	}
	if a, b := mustJSON(t, d), mustJSON(t, want); !bytes.Equal(a, b) {
		t.Errorf("device\n%s, want\n%s", a, b)
	}
	if d.Push.Token != "tok" {
		t.Error("the token is lost")
	}
}

func session(t *testing.T, at time.Duration) engage.Entry {
	t.Helper()
	hello, err := proto.MarshalOptions{Deterministic: true}.Marshal(&sdkpb.Hello{
		InstallId: install, Platform: sdkpb.Platform_PLATFORM_ANDROID, OsVersion: "16", AppVersion: "1.2",
		TimeZone: "Europe/Amsterdam", Locale: "nl-NL", Lifecycle: sdkpb.Lifecycle_STATE_BACKGROUND,
		Permissions: &sdkpb.Permissions{
			Location: sdkpb.Permissions_LOCATION_ALWAYS, Precision: sdkpb.Permissions_PRECISION_PRECISE,
			Notifications: sdkpb.Permissions_NOTIFICATIONS_GRANTED,
		},
		PushTarget: &sdkpb.PushTarget{Provider: sdkpb.PushTarget_PROVIDER_FCM, Token: "tok"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return engage.Entry{Kind: engage.KindSession, Key: key, At: t0.Add(at), Body: mustJSON(t, situate.Session{App: "shop-android", Hello: hello})}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhatThePersonSaysIsForwarded(t *testing.T) {
	p := newPhone(t)
	for _, c := range []struct {
		item *sdkpb.Item
		want string // "<kind> <key> <body>" of each output
	}{
		{
			&sdkpb.Item{Preferences: &sdkpb.Preferences{Topics: map[string]sdkpb.Preferences_Attitude{
				"fashion": sdkpb.Preferences_ATTITUDE_LIKE, "meat": sdkpb.Preferences_ATTITUDE_DISLIKE, "toys": sdkpb.Preferences_ATTITUDE_UNSPECIFIED,
			}}},
			`preferences profile {"fashion":"like","meat":"dislike","toys":""}`,
		},
		{
			consent(sdkpb.Consent_PURPOSE_MARKETING, true),
			`consent profile {"marketing":{"granted":true,"text_version":"v1","source":"onboarding","at":"2026-11-02T10:01:00Z"}}`,
		},
		{
			&sdkpb.Item{Identify: &sdkpb.Identify{UserId: "ada", TraitsJson: `{"city":"Delft"}`}},
			`identify acme/d:user_id:ada {"identifier":"user_id:ada","profile":"PROFILE","install":"install-ada","proven":true}` +
				"\n" + `traits profile {"city":"Delft"}`,
		},
		{
			&sdkpb.Item{Receipt: &sdkpb.Receipt{MessageId: "m1", State: sdkpb.Receipt_STATE_OPENED, Via: "fcm"}},
			`receipt profile {"message":"m1","state":"opened","via":"fcm","install":"install-ada"}`,
		},
		{
			&sdkpb.Item{Receipt: &sdkpb.Receipt{MessageId: "m1", State: sdkpb.Receipt_STATE_ACTION, Via: "inbox", ActionId: "buy"}},
			`receipt profile {"message":"m1","state":"action","via":"inbox","install":"install-ada","action":"buy"}`,
		},
		{lifecycle(sdkpb.Lifecycle_STATE_BACKGROUND), ""},
	} {
		p.item(time.Minute, c.item)
		var got []string
		for _, o := range p.Take() {
			if !o.Entry.At.Equal(t0.Add(time.Minute)) || !o.Entry.Occurred.Equal(t0.Add(time.Minute)) || o.To != "act" {
				t.Errorf("%s to %s at %v, occurred %v", o.Entry.Kind, o.To, o.Entry.At, o.Entry.Occurred)
			}
			k := strings.Replace(o.Entry.Key, engage.ProfileKey(ws, engage.ProfileID(ws, install)), "profile", 1)
			got = append(got, fmt.Sprintf("%s %s %s", o.Entry.Kind, k, o.Entry.Body))
		}
		want := strings.ReplaceAll(c.want, "PROFILE", engage.ProfileID(ws, install))
		if strings.Join(got, "\n") != want {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
		}
	}
}

// A configuration that does not know the phone's workspace yet: positions are taken all
// the same.
func TestAWorkspaceWithoutPlacesTakesFixes(t *testing.T) {
	p := &phone{T: t, Partition: steptest.New("in/0", situate.Machine{})}
	none, err := situate.NewConfig(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Adopt(none)
	for _, c := range allConsents {
		p.item(0, consent(c, true))
	}
	p.item(sec, fix(shop, 10))
	p.item(2*sec, fix(shop, 10))
	if in := p.install(); in.Fix == nil || in.Refused != 0 {
		t.Errorf("fix %v, %d refused", in.Fix, in.Refused)
	}
}
