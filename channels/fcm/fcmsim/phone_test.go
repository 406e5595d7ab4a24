package fcmsim_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
)

// shop is a simulator with one phone and a clock that only tests move.
type shop struct {
	*wire
	phone fcmsim.Device

	mu  sync.Mutex
	got []string // what arrived: "app a", "tray b", "deleted "
}

func open(t *testing.T, d fcmsim.Device) *shop {
	t.Helper()
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	s := &shop{}
	sim := start(t, fcmsim.Options{
		TokenLife: 1000 * time.Hour, Now: func() time.Time { return now },
		OnArrive: func(a fcmsim.Arrival) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.got = append(s.got, string(a.Via)+" "+a.Data["id"])
		},
	})
	var err error
	if s.phone, err = sim.AddDevice(d); err != nil {
		t.Fatal(err)
	}
	s.wire = connectAt(t, sim, now)
	return s
}

// push sends a message of that id; more is of its JSON.
func (s *shop) push(id, more string) {
	s.t.Helper()
	if more != "" {
		more = "," + more
	}
	if status, code, field := s.send(`{"token":"` + s.phone.Token + `","data":{"id":"` + id + `"}` + more + `}`); status != http.StatusOK {
		s.t.Fatal(id, status, code, field)
	}
}

func (s *shop) become(p fcmsim.Presence) {
	s.t.Helper()
	if err := s.sim.SetPresence(s.phone.Token, p); err != nil {
		s.t.Fatal(err)
	}
}

// want is what arrived since the last call, in order.
func (s *shop) want(what ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.got, what) {
		s.t.Errorf("arrived: %q, want %q", s.got, what)
	}
	s.got = nil
}

const shown = `"notification":{"title":"t"}`

func TestPresenceDecidesWhoGetsAMessage(t *testing.T) {
	s := open(t, fcmsim.Device{})
	s.push("a", "")
	s.push("b", shown)
	s.want("app a", "app b")
	s.become(fcmsim.Background)
	s.push("c", "")
	s.push("d", shown)
	s.want("app c", "tray d")
	s.become(fcmsim.Dozing)
	s.push("e", "")
	s.push("f", shown+`,"android":{"priority":"high"}`)
	s.want("tray f")
	s.become(fcmsim.Offline)
	s.push("g", `"android":{"priority":"high"}`)
	s.want()
	s.become(fcmsim.Dozing)
	s.want("app g")
	s.become(fcmsim.Foreground)
	s.want("app e")
}

func TestStoredMessagesExpire(t *testing.T) {
	s := open(t, fcmsim.Device{Presence: fcmsim.Offline})
	s.push("never", `"android":{"ttl":"0s"}`)
	s.push("short", `"android":{"ttl":"60s"}`)
	s.push("long", `"android":{"ttl":"3600s"}`)
	s.push("four weeks", "")
	if n := len(s.sim.Stored(s.phone.Token)); n != 3 {
		t.Errorf("%d stored", n)
	}
	s.sim.Advance(time.Minute)
	s.become(fcmsim.Foreground)
	s.want("app long", "app four weeks")
	s.become(fcmsim.Offline)
	s.push("late", "")
	s.sim.Advance(28 * 24 * time.Hour)
	s.become(fcmsim.Foreground)
	s.want()
}

func TestCollapsibleMessagesReplaceEachOther(t *testing.T) {
	s := open(t, fcmsim.Device{Presence: fcmsim.Offline})
	for i := range 3 {
		s.push(fmt.Sprint("rain", i), `"android":{"collapse_key":"rain"}`)
	}
	s.push("plain", "")
	s.push("sun", `"android":{"collapse_key":"sun"}`)
	s.become(fcmsim.Foreground)
	s.want("app rain2", "app plain", "app sun")

	// A fifth key drives out one of the four, nobody knows which; never the newest.
	s.become(fcmsim.Offline)
	for i := range 6 {
		s.push(fmt.Sprint("k", i), fmt.Sprintf(`"android":{"collapse_key":"%d"}`, i))
	}
	if n := len(s.sim.Stored(s.phone.Token)); n != 4 {
		t.Errorf("%d stored, want 4", n)
	}
	s.become(fcmsim.Foreground)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.got) != 4 || s.got[3] != "app k5" {
		t.Error(s.got)
	}
}

func TestTheHundredAndFirstDiscardsAll(t *testing.T) {
	s := open(t, fcmsim.Device{Presence: fcmsim.Offline})
	s.push("sun", `"android":{"collapse_key":"sun"}`)
	for i := range 100 {
		s.push(fmt.Sprint(i), "")
	}
	if n := len(s.sim.Stored(s.phone.Token)); n != 101 {
		t.Fatalf("%d stored", n)
	}
	s.push("100", "")
	if n := len(s.sim.Stored(s.phone.Token)); n != 0 {
		t.Fatalf("%d stored", n)
	}
	s.push("after", "")
	s.become(fcmsim.Background)
	s.want("deleted ", "app after")
	s.become(fcmsim.Offline)
	s.become(fcmsim.Background)
	s.want()
}

func TestTheTrayShowsOneOfATag(t *testing.T) {
	s := open(t, fcmsim.Device{Presence: fcmsim.Background})
	for _, m := range [][2]string{{"a", "x"}, {"b", "y"}, {"c", "x"}} {
		s.push(m[0], shown+`,"android":{"notification":{"tag":"`+m[1]+`"}}`)
	}
	s.push("d", shown)
	var ids []string
	for _, d := range s.sim.Tray(s.phone.Token) {
		ids = append(ids, d.Data["id"])
	}
	if !slices.Equal(ids, []string{"b", "c", "d"}) {
		t.Error(ids)
	}
}

func TestAnIPhoneKeepsOneMessageAndReplacesByItsOwnKey(t *testing.T) {
	s := open(t, fcmsim.Device{Platform: fcmsim.IPhone, Presence: fcmsim.Offline})
	s.push("a", shown)
	s.push("b", shown+`,"apns":{"headers":{"apns-collapse-id":"x"}}`)
	s.push("never", shown+`,"apns":{"headers":{"apns-expiration":"0"}}`)
	s.become(fcmsim.Background)
	s.want("tray b")
	s.push("c", shown+`,"apns":{"headers":{"apns-collapse-id":"x"}}`)
	if tray := s.sim.Tray(s.phone.Token); len(tray) != 1 || tray[0].Data["id"] != "c" {
		t.Errorf("%+v", tray)
	}
	s.become(fcmsim.Offline)
	s.push("d", shown+fmt.Sprintf(`,"apns":{"headers":{"apns-expiration":"%d"}}`, s.now.Add(time.Minute).Unix()))
	s.sim.Advance(time.Minute)
	s.want("tray c")
	s.become(fcmsim.Background)
	s.want()
}

func TestDryRunReachesNobody(t *testing.T) {
	s := open(t, fcmsim.Device{Presence: fcmsim.Offline})
	status, _, doc := s.do(http.MethodPost, "/v1/projects/footfall-sim/messages:send", "application/json", `{"validate_only":true,"message":{"token":"`+s.phone.Token+`"}}`)
	if status != http.StatusOK || doc["name"] != "projects/footfall-sim/messages/fake_message_id" || len(s.sim.Stored(s.phone.Token)) != 0 {
		t.Error(status, doc)
	}
	if r := s.sim.Requests(); len(r) != 1 || r[0].Accepted || !r[0].DryRun {
		t.Errorf("%+v", r)
	}
}

// TestStateOverHTTP is the life of a phone as another program sees it.
func TestStateOverHTTP(t *testing.T) {
	sim := start(t, fcmsim.Options{Strict: true})
	w := connect(t, sim)
	call := func(want int, method, path, body string) map[string]any {
		t.Helper()
		status, _, doc := w.do(method, path, "application/json", body)
		if status != want {
			t.Fatalf("%s %s: %d %v", method, path, status, doc)
		}
		return doc
	}
	token, _ := call(200, "POST", "/sim/v1/devices", `{"platform":"android","presence":"offline"}`)["token"].(string)
	path := "/sim/v1/devices/" + token
	if status, code, _ := w.send(`{"token":"` + token + `","data":{"id":"a"},"android":{"ttl":"60s"}}`); status != 200 {
		t.Fatal(status, code)
	}
	if got := jsonOf(call(200, "GET", path, "")); !strings.Contains(got, `"stored":[{"at":`) || !strings.Contains(got, `"ttl_s":60`) {
		t.Error(got)
	}
	call(200, "PATCH", path, `{"presence":"foreground"}`)
	if got := jsonOf(call(200, "GET", "/sim/v1/arrivals?token="+token, "")); !strings.Contains(got, `"via":"app"`) || !strings.Contains(got, `"id":"a"`) {
		t.Error(got)
	}
	call(400, "PATCH", path, `{"presence":"upside down"}`)
	call(400, "POST", "/sim/v1/devices", `{"platform":"toaster"}`)
	call(400, "PATCH", "/sim/v1/devices/nobody", `{"state":"active"}`)
	call(404, "GET", "/sim/v1/devices/nobody", "")
	next, _ := call(200, "POST", path+"/reregister", "")["token"].(string)
	if status, _, _ := w.send(`{"token":"` + token + `"}`); status != 404 {
		t.Error("the old token:", status)
	}
	if status, _, _ := w.send(`{"token":"` + next + `"}`); status != 200 {
		t.Error("the new token:", status)
	}
	call(200, "DELETE", "/sim/v1/devices/"+next, "")
	if status, _, _ := w.send(`{"token":"` + next + `"}`); status != 404 {
		t.Error("uninstalled:", status)
	}
	if got := call(200, "GET", "/sim/v1/devices", "")["devices"].([]any); len(got) != 2 {
		t.Error(got)
	}
	rules := `{"rules":[{"match":{"message.token":"x*"},"times":1,"code":"UNAVAILABLE","retry_after_s":3}]}`
	call(200, "PUT", "/sim/v1/rules", rules)
	if got := jsonOf(call(200, "GET", "/sim/v1/rules", "")); got != `{"rules":[{"code":"UNAVAILABLE","match":{"message.token":"x*"},"retry_after_s":3,"times":1}]}` {
		t.Error(got)
	}
	if status, _, _ := w.send(`{"token":"xy"}`); status != 503 {
		t.Error("rule:", status)
	}
	call(200, "PUT", "/sim/v1/apns_key", `{"bad":true}`)
	phone, _ := call(200, "POST", "/sim/v1/devices", `{"platform":"ios"}`)["token"].(string)
	if status, code, _ := w.send(`{"token":"` + phone + `"}`); code != "fcm:THIRD_PARTY_AUTH_ERROR" {
		t.Error(status, code)
	}
	if got := call(200, "GET", "/sim/v1/requests?limit=1", "")["requests"].([]any); len(got) != 1 || !strings.Contains(jsonOf(got), `"code":"THIRD_PARTY_AUTH_ERROR"`) {
		t.Error(got)
	}
	call(200, "POST", "/sim/v1/clock", `{"advance_s":7200}`)
	if status, _, _ := w.send(`{"token":"` + phone + `"}`); status != 401 {
		t.Error("two hours later:", status)
	}

	families, err := sim.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	if got["fcmsim_arrivals_total"] != 2 || got["fcmsim_devices"] != 3 || got["fcmsim_requests_total"] != 7 || got["fcmsim_access_tokens_total"] != 1 {
		t.Error(got)
	}
	if status, _, _ := w.do(http.MethodGet, "/metrics", "", ""); status != 200 {
		t.Error("/metrics:", status)
	}
}

func TestLatencyHasTheDistributionAskedFor(t *testing.T) {
	sim := start(t, fcmsim.Options{Seed: 1, Latency: time.Millisecond, LatencyP99: 10 * time.Millisecond})
	all := make([]time.Duration, 10_000)
	for i := range all {
		all[i] = fcmsim.Latency(sim)
	}
	slices.Sort(all)
	if median, p99 := all[len(all)/2], all[len(all)*99/100]; median < 900*time.Microsecond || median > 1100*time.Microsecond || p99 < 8*time.Millisecond || p99 > 12*time.Millisecond {
		t.Errorf("median %s, p99 %s", median, p99)
	}
}
