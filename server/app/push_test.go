package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// pushDevice is what the API shows of a person's phone.
type pushDevice struct {
	Install string
	Push    *struct{ Provider, Environment, Dead string }
}

// device of a person, as committed.
func (s *story) device(profile, install string) (pushDevice, bool) {
	s.t.Helper()
	if err := s.app.Flush(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	var p struct{ Devices []pushDevice }
	s.must("GET", "/api/v1/people/"+profile, nil, &p)
	for _, d := range p.Devices {
		if d.Install == install {
			return d, true
		}
	}
	return pushDevice{}, false
}

func TestATestSendReachesThePhoneAndCountsNowhere(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.campaign("rainy-day", nil)
	ada := s.phone("ada", "android", nil).agree().background()
	fay := s.phone("fay", "android", func(o *client.Options) { o.PushTarget.Token = fcmsim.Token("unregistered", "fay") }).agree().background()
	ben := s.phone("i-ben", "ios", nil).agree().background()
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		Outcome, Reason, Raw, Title, Words, Provider string
		Status                                       int
	}
	var a answer
	s.must("POST", "/api/v1/apps/android/test-send", map[string]any{"install": ada.install, "campaign": "rainy-day"}, &a)
	if a.Outcome != "accepted" || a.Status != 200 || a.Provider != "fcm" || !strings.Contains(a.Raw, "messages/") {
		t.Errorf("to Ada: %+v", a)
	}
	s.eventually("the test reaches Ada", func() bool { return len(s.pushesTo(ada)) == 1 })
	s.must("POST", "/api/v1/apps/android/test-send", map[string]any{"install": ada.install, "campaign": "rainy-day", "dry_run": true}, &a)
	if a.Outcome != "accepted" {
		t.Errorf("dry: %+v", a)
	}
	s.must("POST", "/api/v1/apps/ios/test-send", map[string]any{"install": ben.install, "content": map[string]any{"title": "Hi {{ device.platform }}"}}, &a)
	if a.Outcome != "accepted" || a.Title != "Hi ios" || a.Provider != "apns" {
		t.Errorf("to Ben: %+v", a)
	}
	s.must("POST", "/api/v1/apps/android/test-send", map[string]any{"install": fay.install, "content": map[string]any{"title": "Hi"}}, &a)
	if a.Outcome != "token_gone" || a.Reason != "UNREGISTERED" || a.Status != 404 || !strings.Contains(a.Raw, "UNREGISTERED") || a.Words == "" {
		t.Errorf("to Fay: %+v", a)
	}
	s.eventually("her token is known dead", func() bool {
		s.settle()
		d, _ := s.device(fay.profile, fay.install)
		return d.Push != nil && d.Push.Dead == "UNREGISTERED"
	})
	if n := len(s.pushesTo(ada)); n != 1 {
		t.Errorf("Ada got %d pushes, also of the dry run", n)
	}
	var results struct {
		Totals struct{ Decided, Accepted int64 }
	}
	s.must("GET", "/api/v1/campaigns/rainy-day/results", nil, &results)
	if results.Totals.Decided != 0 || results.Totals.Accepted != 0 {
		t.Errorf("the results count tests: %+v", results.Totals)
	}
}

// One phone changes hands: the app is installed anew, and the provider gives the same
// token. What is for the person before must not come to it.
func TestATokenOfAnotherInstallMoves(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.campaign("rainy-day", nil)
	ada := s.phone("ada", "android", nil).agree().likes("fashion").background()
	s.settle()
	s.clock.Advance(time.Minute)
	bob := s.phone("bob", "android", func(o *client.Options) { o.PushTarget.Token = ada.token }).agree().likes("fashion").background()
	s.eventually("Ada's token is Bob's", func() bool {
		s.settle()
		d, _ := s.device(ada.profile, ada.install)
		return d.Push != nil && d.Push.Dead == engage.TokenMoved
	})
	if d, _ := s.device(bob.profile, bob.install); d.Push == nil || d.Push.Dead != "" {
		t.Errorf("Bob's is %+v", d.Push)
	}
	ada.at(cafe, 10).post()
	s.eventually("Ada's message waits in the inbox", func() bool { return s.inInbox(ada, "rainy-day", "token_dead") })
	if got := s.pushesTo(bob); len(got) != 0 {
		t.Errorf("Bob's phone got %v", got)
	}
	s.clock.Advance(time.Minute)
	ada.SetPushTarget(&sdkpb.PushTarget{Provider: sdkpb.PushTarget_PROVIDER_FCM, Token: ada.token})
	ada.post()
	s.eventually("it is Ada's again", func() bool {
		s.settle()
		d, _ := s.device(ada.profile, ada.install)
		e, _ := s.device(bob.profile, bob.install)
		return d.Push != nil && d.Push.Dead == "" && e.Push != nil && e.Push.Dead == engage.TokenMoved
	})
}

// What the API and the live page say of credentials is deliver's word.
func TestAPausedCredentialIsShown(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.campaign("rainy-day", nil)
	team, _, p8 := s.apns.Key()
	var made struct{ Key string }
	s.must("POST", "/api/v1/apps", map[string]any{
		"id": "tablet", "name": "Tablet", "platform": "ios", "bundle_id": "com.example.shop",
		"apns": map[string]any{"team_id": team, "key_id": "REVOKED123", "private_key": string(p8)},
	}, &made)
	ben := s.phone("i-ben", "ios", func(o *client.Options) { o.AppKey = made.Key }).agree().likes("fashion").background()
	type answer struct {
		Items []struct {
			App, Provider, Account, State, Reason, Alert string
			Live                                         struct{ Waiting int }
		}
		Alerts int
	}
	var a answer
	s.must("GET", "/api/v1/channels", nil, &a)
	if len(a.Items) != 3 || a.Alerts != 0 || a.Items[0].App != "android" || a.Items[0].Provider != "fcm" || a.Items[2].Account != team+"/REVOKED123" || a.Items[2].State != "unknown" {
		t.Fatalf("at first: %+v", a)
	}
	ben.at(cafe, 10).post()
	s.eventually("the credential is paused, and the message waits", func() bool {
		s.must("GET", "/api/v1/channels", nil, &a)
		c := a.Items[2]
		return c.State == "paused" && c.Reason == "InvalidProviderToken" && c.Live.Waiting == 1 && c.Alert != "" && a.Alerts == 1
	})
	if a.Items[1].State != "unknown" {
		t.Errorf("another app's credential, by which nothing was sent, is %s", a.Items[1].State)
	}
}

type importedTokens struct{ Taken, Refused int }

// importTokens imports a table of push tokens of the Android app.
func (s *story) importTokens(table string) (r importedTokens) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/api/v1/apps/android/push-tokens", strings.NewReader(table))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "text/csv")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer closing(s.t, resp.Body)
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatal(resp.Status, err)
	}
	return r
}

// Who knows the id of an install that a file has given to somebody is not them for
// that: what they say is about nobody, and the inbox that they see is not the person's.
func TestAnInstallsIDIsNoProofOfWhoseItIs(t *testing.T) {
	s := newStory(t)
	file := "user_id,install,token,last_seen\nada,install-thief," + fcmsim.Token("", "ada") + "," + s.clock.Now().Add(-48*time.Hour).Format(time.RFC3339) + "\n"
	if r := s.importTokens(file); r.Taken != 1 {
		t.Fatalf("report %+v", r)
	}
	type person struct{ Devices []pushDevice }
	ada := func() (p person) {
		t.Helper()
		s.settle()
		if err := s.app.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.call("GET", "/api/v1/people/user_id:ada", nil, &p)
		return p
	}
	s.eventually("Ada has a phone", func() bool { return len(ada().Devices) == 1 })
	thief := s.phone("thief", "android", nil).agree().background()
	s.eventually("Ada has it no more", func() bool { return len(ada().Devices) == 0 })
	var consents struct {
		Consents map[string]struct{ Granted bool }
	}
	if s.must("GET", "/api/v1/people/user_id:ada", nil, &consents); len(consents.Consents) != 0 {
		t.Errorf("what the thief agreed to is Ada's: %v", consents.Consents)
	}
	thief.profile = engage.LogoutProfileID("default", thief.install, 0)
	thief.identify("ada").post() // proven, in this story
	s.eventually("who proves who she is has her phone back", func() bool { return len(ada().Devices) == 1 })
}

// A token that was collected elsewhere is its user's until the app speaks for itself.
func TestAnImportedTokenIsItsUsersUntilTheAppSpeaks(t *testing.T) {
	s := newStory(t)
	token := fcmsim.Token("", "ada")
	file := "user_id,token,last_seen\nada," + token + "," + s.clock.Now().Add(-48*time.Hour).Format(time.RFC3339) + "\n,,\n"
	importing := func() importedTokens { return s.importTokens(file) }
	type person struct {
		ID          string
		Identifiers []string
		Devices     []pushDevice
	}
	who := func(id string) (p person) {
		t.Helper()
		s.settle()
		if err := s.app.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.call("GET", "/api/v1/people/"+id, nil, &p) != http.StatusOK {
			return person{}
		}
		return p
	}
	for range 2 { // twice is once
		if r := importing(); r.Taken != 1 || r.Refused != 1 {
			t.Fatalf("report %+v", r)
		}
		s.eventually("Ada has a phone", func() bool {
			p := who("user_id:ada")
			return len(p.Devices) == 1 && p.Devices[0].Push != nil && p.Devices[0].Push.Provider == "fcm"
		})
	}
	made := who("user_id:ada").Devices[0].Install
	var a struct{ Outcome string }
	s.must("POST", "/api/v1/apps/android/test-send", map[string]any{"install": made, "content": map[string]any{"title": "Hello"}}, &a)
	if a.Outcome != "accepted" {
		t.Errorf("to the imported token: %s", a.Outcome)
	}
	ada := s.phone("ada", "android", nil).agree().background()
	s.eventually("the made-up phone ends", func() bool { return len(who("user_id:ada").Devices) == 0 })
	if d := who(ada.profile).Devices; len(d) != 1 || d[0].Push == nil || d[0].Push.Dead != "" {
		t.Errorf("the app's phone: %+v", d)
	}
	ada.identify("ada").post()
	s.eventually("the app's word of its user counts", func() bool {
		p := who("user_id:ada")
		return p.ID == engage.PersonID("default", "user_id:ada") && len(p.Devices) == 1 && p.Devices[0].Install == ada.install
	})
	if r := importing(); r.Taken != 1 { // the file comes once more, after the app
		t.Fatalf("report %+v", r)
	}
	s.eventually("nothing of it is left", func() bool {
		p := who("user_id:ada")
		return len(p.Devices) == 1 && p.Devices[0].Install == ada.install && p.Devices[0].Push.Dead == ""
	})
}
