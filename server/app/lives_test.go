package app_test

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels/apns/apnssim"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

type liveResult struct {
	To, Install, State, Why string
	Done                    bool
	Attempt                 *struct {
		Outcome, Reason string
		Status          int
		Ambiguous       bool
		Lowered         bool
	}
}

type liveAnswer struct {
	Code, Field, Reason string // of a refusal
	Done                int
	Results             []liveResult
}

// live orders a step: path is "" for a start, else "/order-7/update".
func (s *story) live(path string, body map[string]any) (code int, a liveAnswer) {
	s.t.Helper()
	code = s.call("POST", "/api/v1/live-activities"+path, body, &a)
	return code, a
}

// order is a start for Ada.
func order(change map[string]any) map[string]any {
	b := map[string]any{
		"app": "ios", "activity": "order-7", "attributes_type": "OrderAttributes", "attributes": map[string]any{"order": "7"},
		"content_state": map[string]any{"step": "packed", "minutes": 25}, "alert": map[string]any{"title": "Your order"}, "to": []string{"user_id:ada"},
	}
	maps.Copy(b, change)
	return b
}

func state(step string) map[string]any {
	return map[string]any{"content_state": map[string]any{"step": step}}
}

// orders is an iPhone whose app has said the token that starts activities.
func (s *story) orders(name string) *phone {
	s.t.Helper()
	p := s.phone("i-"+name, "ios", nil).agree().background()
	p.identify(name)
	p.says(&sdkpb.LiveActivity{AttributesType: "OrderAttributes", Token: apnssim.Token("start", name)})
	return p
}

// says tells the server of a Live Activity, and waits until it is committed.
func (p *phone) says(l *sdkpb.LiveActivity) {
	p.s.t.Helper()
	p.SetLiveActivity(l)
	p.post()
	p.s.settle()
	if err := p.s.app.Flush(p.s.t.Context()); err != nil {
		p.s.t.Fatal(err)
	}
}

// running is the n-th activity that the simulator's phones show.
func (s *story) running(n int) apnssim.Activity {
	s.t.Helper()
	all := s.apns.Activities()
	if len(all) <= n {
		s.t.Fatalf("%d activities, want more than %d", len(all), n)
	}
	return all[n]
}

func TestALiveActivityStartsChangesAndEnds(t *testing.T) {
	s := newStory(t)
	ada := s.orders("ada")
	code, a := s.live("", order(map[string]any{"to": []string{"user_id:ada", "user_id:nobody"}}))
	if code != http.StatusOK || a.Done != 1 || len(a.Results) != 2 || a.Results[0].Why != "unknown" || a.Results[1].State != "started" ||
		a.Results[1].Attempt == nil || a.Results[1].Attempt.Status != 200 {
		t.Fatalf("start: %d %+v", code, a)
	}
	on := s.running(0)
	if on.Topic != "com.example.shop.push-type.liveactivity" || on.AttributesType != "OrderAttributes" ||
		string(on.Attributes) != `{"footfall_activity_id":"order-7","order":"7"}` || !strings.Contains(string(on.State), "packed") {
		t.Errorf("on the phone: %+v", on)
	}
	// The same again starts no second one.
	if _, a = s.live("", order(nil)); a.Done != 0 || a.Results[0].Why != "already" || len(s.apns.Activities()) != 1 {
		t.Errorf("again: %+v", a)
	}
	// What comes before the phone has said its token waits, the newest of it alone.
	for _, step := range []string{"loaded", "on the way"} {
		if _, a = s.live("/order-7/update", state(step)); a.Done != 0 || a.Results[0].Why != "no_token" {
			t.Errorf("without a token: %+v", a)
		}
	}
	ada.says(&sdkpb.LiveActivity{AttributesType: "OrderAttributes", ActivityId: "order-7", Token: on.Token})
	s.clock.Advance(5 * time.Minute)
	s.eventually("the newest state is on the phone", func() bool {
		return strings.Contains(string(s.running(0).State), "on the way")
	})
	s.eventually("its answer is kept", func() bool {
		var list struct{ Items []struct{ Waits bool } }
		s.must("GET", "/api/v1/live-activities/order-7", nil, &list)
		return len(list.Items) == 1 && !list.Items[0].Waits
	})
	// Two in one second: the later one stays.
	s.live("/order-7/update", state("near"))
	if _, a = s.live("/order-7/update", state("at the door")); a.Done != 1 || !strings.Contains(string(s.running(0).State), "at the door") {
		t.Errorf("update: %+v %s", a, s.running(0).State)
	}
	for range 12 {
		_, a = s.live("/order-7/update", map[string]any{"content_state": map[string]any{"step": "ring"}, "priority": 10})
	}
	if a.Done != 1 || !a.Results[0].Attempt.Lowered {
		t.Errorf("beyond the budget: %+v", a.Results)
	}
	var mine struct {
		Items []struct {
			Activity, State string
			Token           bool
			Attempts        []struct{ Event, Outcome string }
		}
	}
	s.must("GET", "/api/v1/people/user_id:ada/live-activities", nil, &mine)
	if len(mine.Items) != 1 || mine.Items[0].State != "started" || !mine.Items[0].Token || len(mine.Items[0].Attempts) < 10 {
		t.Errorf("of Ada: %+v", mine)
	}
	if _, a = s.live("/order-7/end", map[string]any{"content_state": map[string]any{"step": "delivered"}}); a.Done != 1 || a.Results[0].State != "ended" || s.running(0).EndedAt.IsZero() {
		t.Errorf("end: %+v", a)
	}
	if _, a = s.live("/order-7/update", state("again")); a.Done != 0 || a.Results[0].Why != "ended" {
		t.Errorf("after the end: %+v", a)
	}
	for path, body := range map[string]map[string]any{
		"attributes": order(map[string]any{"activity": "order-8", "attributes": map[string]any{"note": strings.Repeat("x", 4000)}}),
		"to":         order(map[string]any{"to": []string{}}),
		"app":        order(map[string]any{"app": "none"}),
		"priority":   order(map[string]any{"priority": 7}),
	} {
		if code, a := s.live("", body); code < 400 || a.Field != path {
			t.Errorf("%s: %d %+v", path, code, a)
		}
	}
	if code, _ := s.live("/none/update", state("x")); code != http.StatusNotFound {
		t.Errorf("of nothing: %d", code)
	}
}

// A second start would be a second activity: one whose answer is lost is not repeated,
// one that Apple did not act upon is; and the dead token of either kind is known.
func TestALiveActivityIsStartedOnce(t *testing.T) {
	s := newStory(t)
	s.orders("ada")
	faults := func(f ...apnssim.Fault) {
		t.Helper()
		if err := s.apns.SetFaults(f...); err != nil {
			t.Fatal(err)
		}
	}
	faults(apnssim.Fault{PushType: "liveactivity", Do: apnssim.Kill, Times: 1})
	_, a := s.live("", order(nil))
	if a.Done != 0 || a.Results[0].State != "unknown" || !a.Results[0].Attempt.Ambiguous {
		t.Errorf("an answer that was lost: %+v", a)
	}
	s.clock.Advance(time.Hour)
	if _, a = s.live("", order(nil)); a.Results[0].Why != "already" || len(s.apns.Activities()) != 1 {
		t.Errorf("%d activities: %+v", len(s.apns.Activities()), a)
	}
	faults(apnssim.Fault{PushType: "liveactivity", Status: 503, Reason: "ServiceUnavailable", Times: 1})
	if _, a = s.live("", order(map[string]any{"activity": "order-8"})); a.Results[0].State != "waiting" || a.Results[0].Attempt.Status != 503 {
		t.Errorf("busy: %+v", a)
	}
	// It survives a restart, and begins with the newest state.
	s.live("/order-8/update", state("loaded"))
	s.stop()
	s.serve()
	s.clock.Advance(time.Hour)
	s.eventually("the start goes", func() bool {
		return len(s.apns.Activities()) == 2 && strings.Contains(string(s.running(1).State), "loaded")
	})
	faults(apnssim.Fault{PushType: "liveactivity", Status: 410, Reason: "Unregistered", Times: 1})
	if _, a = s.live("", order(map[string]any{"activity": "order-9"})); a.Results[0].State != "failed" || a.Results[0].Why != "Unregistered" {
		t.Errorf("a dead token: %+v", a)
	}
	s.eventually("it is known dead", func() bool {
		s.settle()
		if err := s.app.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, a := s.live("", order(map[string]any{"activity": "order-9"}))
		return a.Results[0].Why == "token_dead"
	})
}

func TestLiveActivitiesAskForConsentAndGoWithThePerson(t *testing.T) {
	s := newStory(t)
	ada := s.orders("ada")
	ada.SetConsent(sdkpb.Consent_PURPOSE_MARKETING, false, "v1", "settings")
	ada.says(&sdkpb.LiveActivity{AttributesType: "OrderAttributes", ActivityId: "taxi", Token: apnssim.Token("activity", "ada")})
	if _, a := s.live("", order(map[string]any{"class": "marketing"})); a.Done != 0 || a.Results[0].Why != "consent" || len(s.apns.Activities()) != 0 {
		t.Errorf("without consent: %+v", a)
	}
	if _, a := s.live("", order(nil)); a.Done != 1 {
		t.Errorf("a service: %+v", a)
	}
	// One that the app began is changed by name.
	if _, a := s.live("/taxi/update", map[string]any{"content_state": map[string]any{"step": "here"}, "to": []string{"user_id:ada"}}); a.Done != 1 {
		t.Errorf("the app's own: %+v", a)
	}
	// After a logout nothing of the earlier person's comes to the phone.
	ada.Logout()
	ada.post()
	ada.says(&sdkpb.LiveActivity{AttributesType: "OrderAttributes", Token: apnssim.Token("start", "ada")})
	if _, a := s.live("/order-7/update", state("secret")); a.Done != 0 || a.Results[0].Why != "elsewhere" {
		t.Errorf("after the logout: %+v", a)
	}
	ben := s.orders("ben")
	if _, a := s.live("", order(map[string]any{"activity": "order-of-ben", "attributes": map[string]any{"order": "mark-of-ben"}, "to": []string{"user_id:ben"}})); a.Done != 1 {
		t.Fatalf("Ben's: %+v", a)
	}
	ben.says(&sdkpb.LiveActivity{AttributesType: "OrderAttributes", ActivityId: "order-of-ben", Token: apnssim.Token("activity", "ben")})
	s.erase("user_id:ben", "")
	if code := s.call("GET", "/api/v1/live-activities/order-of-ben", nil, nil); code != http.StatusNotFound {
		t.Errorf("of an erased person: %d", code)
	}
	// No file of the store has a word of it.
	files, err := filepath.Glob(filepath.Join(s.dir, "data", "*.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name) //nolint:gosec // the story's own folder
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"order-of-ben", apnssim.Token("start", "ben"), apnssim.Token("activity", "ben")} {
			if strings.Contains(string(b), word) {
				t.Errorf("%s still has %q", filepath.Base(name), word)
			}
		}
	}
}
