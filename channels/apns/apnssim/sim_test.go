package apnssim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sideshow/apns2"

	"github.com/footfall-engage/footfall/channels/apns/apnssim"
)

// push sends through apns2's client and wants success.
func push(t *testing.T, c *apns2.Client, n *apns2.Notification) {
	t.Helper()
	if res, err := c.Push(n); err != nil || !res.Sent() {
		t.Fatalf("%+v %v", res, err)
	}
}

// resign gives a client a provider token of the test's time: apns2 itself knows
// only the real one.
func resign(t *testing.T, c *apns2.Client, clk *clock) {
	t.Helper()
	j := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": c.Token.TeamID, "iat": clk.now().Unix()})
	j.Header["kid"] = c.Token.KeyID
	b, err := j.SignedString(c.Token.AuthKey)
	if err != nil {
		t.Fatal(err)
	}
	c.Token.Bearer, c.Token.IssuedAt = b, time.Now().Unix()
}

func ids(list []apnssim.Delivered) string {
	var b []string
	for _, d := range list {
		b = append(b, d.MessageID)
	}
	return strings.Join(b, " ")
}

// note is an alert of a name.
func note(token, id string) *apns2.Notification {
	return &apns2.Notification{DeviceToken: token, Topic: shop, CollapseID: "c." + id, Payload: fmt.Sprintf(`{"aps":{"alert":%q},"footfall_message_id":%q}`, id, id)}
}

func TestAnOfflinePhoneGetsTheOneThatWasStored(t *testing.T) {
	clk := newClock()
	var mu sync.Mutex
	var hook []apnssim.Delivered
	sim := start(t, apnssim.Options{Now: clk.now, OnDeliver: func(d apnssim.Delivered) {
		mu.Lock()
		defer mu.Unlock()
		hook = append(hook, d)
	}})
	c := client(t, sim, nil)
	ada := apnssim.Token("ok", "ada")
	sim.SetPhone(ada, apnssim.Offline)
	until := func(n *apns2.Notification, at time.Time) *apns2.Notification { n.Expiration = at; return n }
	push(t, c, until(note(ada, "one"), clk.now().Add(time.Hour)))
	push(t, c, until(note(ada, "two"), clk.now().Add(time.Hour)))
	push(t, c, until(note(ada, "now-or-never"), time.Unix(1, 0))) // apns2 cannot say 0
	other := note(ada, "other")
	other.Topic = "com.example.other"
	push(t, c, until(other, clk.now().Add(time.Minute)))
	if got := sim.Delivered(ada); len(got) != 0 {
		t.Errorf("an offline phone got %v", ids(got))
	}
	if d := sim.Devices(); len(d) != 1 || d[0].Stored != 2 || d[0].Phone != apnssim.Offline {
		t.Errorf("%+v", d)
	}
	clk.advance(2 * time.Minute) // the other app's expires in store
	sim.SetPhone(ada, apnssim.Background)
	if got := ids(sim.Delivered(ada)); got != "two" {
		t.Errorf("reached: %s", got)
	}
	if len(hook) != 1 || hook[0].Phone != apnssim.Background || !hook[0].ReachedAt.Equal(clk.now()) || !hook[0].At.Before(hook[0].ReachedAt) {
		t.Errorf("%+v", hook)
	}
	// Once removed, nothing waits for it.
	sim.SetPhone(ada, apnssim.Offline)
	push(t, c, note(ada, "three"))
	sim.Uninstall(ada)
	sim.Register(ada)
	sim.SetPhone(ada, apnssim.Online)
	if got := ids(sim.Delivered(ada)); got != "two" {
		t.Errorf("reached: %s", got)
	}
}

func TestANewerNotificationReplacesTheOneOfItsCollapseID(t *testing.T) {
	sim := start(t, apnssim.Options{})
	c := client(t, sim, nil)
	ada := apnssim.Token("ok", "ada")
	sim.Register(ada)
	for _, id := range []string{"one", "two", "three"} {
		n := note(ada, id)
		n.CollapseID = map[string]string{"one": "rain", "two": "", "three": "rain"}[id]
		push(t, c, n)
	}
	if got := ids(sim.Shown(ada)); got != "two three" {
		t.Errorf("shown: %s", got)
	}
	if got := ids(sim.Delivered("")); got != "one two three" {
		t.Errorf("delivered: %s", got)
	}
}

func TestSilentPushesOfABackgroundPhoneAreRationed(t *testing.T) {
	clk := newClock()
	sim := start(t, apnssim.Options{Now: clk.now, SilentPerHour: 2})
	c := client(t, sim, nil)
	ada := apnssim.Token("ok", "ada")
	sim.SetPhone(ada, apnssim.Background)
	for i := range 5 {
		n := note(ada, strconv.Itoa(i))
		n.PushType, n.Priority = apns2.PushTypeBackground, 5
		push(t, c, n)
		clk.advance(20 * time.Minute)
		resign(t, c, clk)
	}
	// At 0, 20, 40, 60 and 80 minutes.
	if got := ids(sim.Delivered(ada)); got != "0 1 3 4" {
		t.Errorf("reached: %s", got)
	}
}

func TestTokensCanBeRequiredAndLimited(t *testing.T) {
	clk := newClock()
	sim := start(t, apnssim.Options{Now: clk.now, KnownTokensOnly: true, PerTokenPerMinute: 2})
	c := client(t, sim, nil)
	ada := apnssim.Token("ok", "ada")
	reason := func() string {
		t.Helper()
		res, err := c.Push(note(ada, "x"))
		if err != nil {
			t.Fatal(err)
		}
		return res.Reason
	}
	if r := reason(); r != apns2.ReasonBadDeviceToken {
		t.Error(r)
	}
	sim.Register(ada)
	if a, b, c := reason(), reason(), reason(); a != "" || b != "" || c != apns2.ReasonTooManyRequests {
		t.Error(a, b, c)
	}
	clk.advance(time.Minute)
	if r := reason(); r != "" {
		t.Error(r)
	}
}

func TestFaultsByRule(t *testing.T) {
	sim := start(t, apnssim.Options{Seed: 7})
	c := client(t, sim, nil)
	ada, bob := apnssim.Token("ok", "ada"), apnssim.Token("ok", "bob")
	if err := sim.SetFaults(
		apnssim.Fault{Token: strings.ToUpper(ada), Times: 1, Status: 503, Reason: "ServiceUnavailable", RetryAfter: "7"},
		apnssim.Fault{PushType: "background", Status: 502, Body: "<html>"},
		apnssim.Fault{CollapseID: "c.broken", Do: apnssim.Drop},
	); err != nil {
		t.Fatal(err)
	}
	if res, err := c.Push(note(ada, "x")); err != nil || res.StatusCode != 503 || res.Reason != "ServiceUnavailable" {
		t.Error(res, err)
	}
	push(t, c, note(ada, "x")) // the rule is spent
	push(t, c, note(bob, "x"))
	if _, err := c.Push(note(bob, "broken")); err == nil {
		t.Error("an answer came")
	}
	if got := ids(sim.Delivered(bob)); got != "x broken" {
		t.Errorf("reached: %s", got)
	}
	if err := sim.SetFaults(apnssim.Fault{Percent: 20, Status: 500, Reason: "InternalServerError"}); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for range 200 {
		res, err := c.Push(note(bob, "x"))
		if err != nil {
			t.Fatal(err)
		}
		if !res.Sent() {
			failed++
		}
	}
	if failed < 20 || failed > 65 { // 40 ± 4 standard deviations; the seed makes it one number
		t.Errorf("%d of 200 failed, want about 40", failed)
	}
	for _, f := range []apnssim.Fault{{Do: "explode"}, {Status: 200}, {Do: apnssim.Drop, Status: 500}, {Percent: 101}, {Times: -1}} {
		if err := sim.SetFaults(f); err == nil {
			t.Errorf("%+v was taken", f)
		}
	}
}

func TestTheSameSeedHasTheSameLuck(t *testing.T) {
	luck := func(seed uint64) (ids []string) {
		sim := start(t, apnssim.Options{Seed: seed})
		c := client(t, sim, nil)
		for range 3 {
			res, err := c.Push(alert("ada"))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, res.ApnsID)
		}
		return ids
	}
	a, b, other := luck(1), luck(1), luck(2)
	if !slices.Equal(a, b) || slices.Equal(a, other) {
		t.Error(a, b, other)
	}
}

func TestLiveActivitiesLive(t *testing.T) {
	clk := newClock()
	sim := start(t, apnssim.Options{Now: clk.now})
	c := client(t, sim, nil)
	at := func() int64 { return clk.now().Unix() }
	ignored := func(token, aps string, args ...any) string {
		t.Helper()
		n := &apns2.Notification{
			DeviceToken: token, Topic: shop + ".push-type.liveactivity", PushType: apns2.PushTypeLiveActivity,
			Payload: fmt.Sprintf(`{"aps":{`+aps+`}}`, args...),
		}
		push(t, c, n) // Apple takes them all
		list := sim.Delivered(token)
		return list[len(list)-1].Ignored
	}
	starter := apnssim.Token("ok", "start")
	for _, k := range []struct{ aps, want string }{
		{`"event":"begin","timestamp":1`, "unknown event"},
		{`"event":"start"`, "no timestamp"},
		{`"event":"start","timestamp":1`, "no content-state"},
		{`"event":"start","timestamp":1,"content-state":{}`, "no attributes"},
	} {
		if got := ignored(starter, k.aps); got != k.want {
			t.Errorf("%s: %q, want %q", k.aps, got, k.want)
		}
	}
	for range 2 {
		if got := ignored(starter, `"event":"start","timestamp":%d,"attributes-type":"Order","attributes":{"n":1},"content-state":{"step":1}`, at()); got != "" {
			t.Error(got)
		}
	}
	list := sim.Activities()
	if len(list) != 2 || list[0].Token == list[1].Token || list[0].AttributesType != "Order" || string(list[0].State) != `{"step":1}` {
		t.Fatalf("%+v", list)
	}
	one := list[0].Token
	clk.advance(time.Minute)
	if got := ignored(one, `"event":"update","timestamp":%d,"content-state":{"step":2},"stale-date":%d`, at(), at()+60); got != "" {
		t.Error(got)
	}
	if got := ignored(one, `"event":"update","timestamp":%d,"content-state":{"step":1}`, at()-30); got != "older than the state" {
		t.Error(got)
	}
	if got := ignored(one, `"event":"end","timestamp":%d,"dismissal-date":%d`, at(), at()+5); got != "" {
		t.Error(got)
	}
	if got := ignored(one, `"event":"update","timestamp":%d,"content-state":{}`, at()); got != "it has ended" {
		t.Error(got)
	}
	clk.advance(9 * time.Hour)
	resign(t, c, clk)
	if got := ignored(list[1].Token, `"event":"update","timestamp":%d,"content-state":{}`, at()); got != "it has lived too long" {
		t.Error(got)
	}
	for _, a := range sim.Activities() {
		if a.Token == one && (string(a.State) != `{"step":2}` || a.EndedAt.IsZero() || !a.DismissAt.Equal(a.At.Add(5*time.Second))) {
			t.Errorf("%+v", a)
		}
	}
}

func TestBroadcastsReachTheSubscribersOfAChannel(t *testing.T) {
	sim := start(t, apnssim.Options{})
	status, h, body := raw(t, sim, "POST", "/1/apps/"+shop+"/channels", http.Header{"Apns-Request-Id": {"r1"}}, `{"message-storage-policy":0,"push-type":"LiveActivity"}`)
	id := h.Get("apns-channel-id")
	if status != 201 || id == "" || h.Get("apns-request-id") != "r1" {
		t.Fatal(status, h, body)
	}
	in := http.Header{"Apns-Channel-Id": {id}}
	if status, _, body := raw(t, sim, "GET", "/1/apps/"+shop+"/channels", in, ""); status != 200 || body != `{"message-storage-policy":0,"push-type":"LiveActivity"}` {
		t.Error(status, body)
	}
	if status, _, body := raw(t, sim, "GET", "/1/apps/"+shop+"/all-channels", nil, ""); status != 200 || !strings.Contains(body, id) {
		t.Error(status, body)
	}
	ada, bob := apnssim.Token("ok", "ada"), apnssim.Token("ok", "bob")
	for range 2 { // once is enough, twice does no harm
		if !sim.Subscribe(id, ada) {
			t.Error("no such channel")
		}
	}
	if sim.Subscribe("AAAA", bob) {
		t.Error("a channel that does not exist")
	}
	send := func(more map[string]string) (int, string) {
		t.Helper()
		h := http.Header{"Apns-Push-Type": {"liveactivity"}, "Apns-Expiration": {"0"}, "Apns-Channel-Id": {id}}
		for k, v := range more {
			h.Set(k, v)
		}
		status, _, body := raw(t, sim, "POST", "/4/broadcasts/apps/"+shop, h, `{"aps":{"event":"update","timestamp":1,"content-state":{"score":1}}}`)
		return status, body
	}
	if status, body := send(nil); status != 200 {
		t.Error(status, body)
	}
	if len(sim.Delivered(ada)) != 1 || len(sim.Delivered(bob)) != 0 {
		t.Error(sim.Delivered(""))
	}
	for _, k := range []struct{ header, value, reason string }{
		{"Apns-Channel-Id", "", "MissingChannelId"},
		{"Apns-Channel-Id", "x", "BadChannelId"},
		{"Apns-Channel-Id", "AAAAAAAAAAAAAAAAAAAAAA==", "ChannelNotRegistered"},
		{"Apns-Push-Type", "alert", "InvalidPushType"},
		{"Apns-Expiration", "99", "BadExpirationDate"}, // the channel stores nothing
	} {
		if status, body := send(map[string]string{k.header: k.value}); status != 400 || body != `{"reason":"`+k.reason+`"}` {
			t.Errorf("%s %q: %d %s", k.header, k.value, status, body)
		}
	}
	if status, _, _ := raw(t, sim, "DELETE", "/1/apps/"+shop+"/channels", in, ""); status != 204 {
		t.Error(status)
	}
	if status, body := send(nil); status != 400 || !strings.Contains(body, "ChannelNotRegistered") {
		t.Error(status, body)
	}
}

func TestStateAPI(t *testing.T) {
	sim := start(t, apnssim.Options{StateAddr: "127.0.0.1:0"})
	c := client(t, sim, nil)
	web := &http.Client{Transport: new(http.Transport)}
	defer web.CloseIdleConnections()
	call := func(method, path, body string, into any) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, sim.StateURL()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if into != nil {
			if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
				t.Fatal(err)
			}
		}
		return resp.StatusCode
	}
	ada := apnssim.Token("ok", "ada")
	if s := call("PUT", "/devices/"+ada, `{"topics":["`+shop+`"],"phone":"offline"}`, nil); s != 204 {
		t.Fatal(s)
	}
	push(t, c, note(ada, "one"))
	var devices []apnssim.Device
	if call("GET", "/devices", "", &devices); len(devices) != 1 || devices[0].Stored != 1 || devices[0].State != apnssim.Active {
		t.Errorf("%+v", devices)
	}
	call("PUT", "/devices/"+ada, `{"phone":"online"}`, nil)
	var delivered, shown []apnssim.Delivered
	call("GET", "/delivered?token="+ada, "", &delivered)
	call("GET", "/devices/"+ada+"/shown", "", &shown)
	if ids(delivered) != "one" || ids(shown) != "one" {
		t.Error(delivered, shown)
	}
	call("DELETE", "/devices/"+ada, "", nil)
	if res, err := c.Push(note(ada, "two")); err != nil || res.Reason != apns2.ReasonUnregistered {
		t.Error(res, err)
	}
	call("PUT", "/devices/"+ada, `{}`, nil)
	if s := call("PUT", "/faults", `[{"percent":100,"status":500,"reason":"InternalServerError"}]`, nil); s != 204 {
		t.Error(s)
	}
	if res, err := c.Push(note(ada, "three")); err != nil || res.StatusCode != 500 {
		t.Error(res, err)
	}
	var rules []apnssim.Fault
	if call("GET", "/faults", "", &rules); len(rules) != 1 || rules[0].Status != 500 {
		t.Error(rules)
	}
	for path, body := range map[string]string{"/faults": `[{"do":"explode"}]`, "/devices/x": `{"phone":"lost"}`, "/devices/y": `{"telephone":"online"}`} {
		if s := call("PUT", path, body, nil); s != 400 {
			t.Errorf("%s: %d", path, s)
		}
	}
	call("POST", "/expire-tokens", "", nil)
	if res, err := c.Push(note(ada, "four")); err != nil || res.Reason != apns2.ReasonExpiredProviderToken {
		t.Error(res, err)
	}
	var requests []apnssim.Request
	if call("GET", "/requests", "", &requests); len(requests) != 4 {
		t.Errorf("%+v", requests)
	}
	families, err := sim.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			counts[name] = m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"apnssim_requests_total  200": 1, "apnssim_requests_total Unregistered 410": 1, "apnssim_requests_total InternalServerError 500": 1,
		"apnssim_pushes_total stored": 1, "apnssim_pushes_total delivered": 1, "apnssim_connections_total": 1,
	} {
		if counts[name] != want {
			t.Errorf("%s: %v, want %v; all %v", name, counts[name], want, counts)
		}
	}
}

func TestAnIdleConnectionIsToldToGoAway(t *testing.T) {
	sim := start(t, apnssim.Options{IdleTimeout: 100 * time.Millisecond})
	c := client(t, sim, nil)
	push(t, c, alert("ada"))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for sim.GoAways() == 0 {
		<-tick.C
	}
	push(t, c, alert("ada"))
	if n := sim.Connections(); n < 2 {
		t.Errorf("%d connections", n)
	}
}

func TestLatencyHasTheDistributionAskedFor(t *testing.T) {
	sim := start(t, apnssim.Options{Latency: 50 * time.Millisecond, LatencyP99: 200 * time.Millisecond, Seed: 3})
	var all []time.Duration
	for range 10_000 {
		all = append(all, apnssim.NextLatency(sim))
	}
	slices.Sort(all)
	for i, want := range map[int]time.Duration{5000: 50 * time.Millisecond, 9900: 200 * time.Millisecond} {
		if got := all[i]; got < want*9/10 || got > want*11/10 {
			t.Errorf("the %d. of 10000 is %v, want about %v", i, got, want)
		}
	}
}
