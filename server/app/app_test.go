package app_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// One rainy day, from the first hello to the receipts.
func TestARainyDay(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.campaign("rainy-day", nil)

	// Ada's phone is in her pocket; the OS wakes the app at the border.
	ada := s.phone("ada", "android", nil).agree().likes("fashion").background()
	ada.crosses("cafe-near", sdkpb.RegionEvent_TRANSITION_ENTER).post()
	s.eventually("a push reaches Ada", func() bool { return len(s.pushesTo(ada)) == 1 })
	if got := s.pushesTo(ada)[0]; got != "Umbrellas at Café cafe by fcm" {
		t.Errorf("pushed %q", got)
	}
	d := s.want(ada, "rainy-day", engage.Sent, "")
	if d.Channel != "fcm" || d.Trigger.Evidence != "os_region" || d.Trigger.Weather == nil || d.Trigger.Weather.Condition != "rain" {
		t.Errorf("decided %+v", d)
	}
	// She walks in: the same visit, so nothing more.
	s.clock.Advance(time.Minute)
	ada.at(cafe, 10).post()
	s.want(ada, "rainy-day", engage.Suppressed, engage.ReasonOccasionUsed)

	// Ben has the app open: the message comes on his socket.
	ben := s.phone("i-ben", "ios", nil).agree().likes("fashion", "food").foreground()
	ben.at(cafe, 10)
	s.eventually("Ben sees it in the app", func() bool { return len(ben.shows()) == 1 })
	d = s.want(ben, "rainy-day", engage.Sent, "")
	if d.Channel != "in_app" || len(s.pushesTo(ben)) != 0 {
		t.Errorf("decided %+v, pushed %v", d, s.pushesTo(ben))
	}

	// Cleo likes books, Dan said no to marketing, Eve forbade notifications.
	cleo := s.phone("cleo", "android", nil).agree().likes("books").background()
	cleo.at(cafe, 10).post()
	if d := s.want(cleo, "rainy-day", engage.Suppressed, engage.ReasonAudience); len(d.Gates) == 0 || d.Gates[len(d.Gates)-1].Saw.Values()["failed"] == nil {
		t.Errorf("the trace does not name the failed clause: %+v", d.Gates)
	}
	dan := s.phone("dan", "android", nil).agree(sdkpb.Consent_PURPOSE_MARKETING).likes("fashion").background()
	dan.at(cafe, 10).post()
	s.want(dan, "rainy-day", engage.Suppressed, engage.ReasonConsent)
	eve := s.phone("eve", "android", func(o *client.Options) {
		o.Permissions.Notifications = sdkpb.Permissions_NOTIFICATIONS_DENIED
	}).agree().likes("fashion").background()
	eve.at(cafe, 10).post()
	s.eventually("Eve's message waits in the inbox", func() bool { return s.inInbox(eve, "rainy-day", "no_permission") })
	eve.foreground()
	s.eventually("Eve finds it when she opens the app", func() bool { return len(eve.shows()) == 1 })
	eve.Receipt(eve.first().GetMessageId(), sdkpb.Receipt_STATE_DISPLAYED, "inbox")
	if d := s.want(eve, "rainy-day", engage.Sent, ""); d.Channel != "inbox" {
		t.Errorf("decided %+v", d)
	}

	// Fay's token is dead: hygiene, then the inbox.
	fay := s.phone("fay", "android", func(o *client.Options) {
		o.PushTarget.Token = fcmsim.Token("unregistered", "fay")
	}).agree().likes("fashion").background()
	fay.at(cafe, 10).post()
	s.eventually("Fay's message is in the inbox and her token is known dead", func() bool { return s.inInbox(fay, "rainy-day", "token_dead") })

	// Ada leaves and comes back: her cap is spent.
	s.clock.Advance(time.Hour)
	ada.at(far, 10).post()
	s.clock.Advance(time.Minute)
	ada.at(cafe, 10).post()
	s.want(ada, "rainy-day", engage.Suppressed, engage.ReasonCap)
	if n := len(s.pushesTo(ada)); n != 1 {
		t.Errorf("Ada got %d pushes", n)
	}

	// The marketer asks why, and what came of it.
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var explain json.RawMessage
	s.must("GET", "/api/v1/people/"+dan.profile+"/explain?campaign=rainy-day", nil, &explain)
	if !strings.Contains(string(explain), `"consent"`) {
		t.Errorf("Dan's explanation does not say consent: %s", explain)
	}
	var results struct {
		Totals struct{ Decided, Accepted, Displayed int64 }
	}
	s.must("GET", "/api/v1/campaigns/rainy-day/results", nil, &results)
	if r := results.Totals; r.Decided != 4 || r.Accepted != 1 || r.Displayed != 3 {
		t.Errorf("results %+v, want 4 decided (Ada, Ben, Eve, Fay), 1 accepted, 3 displayed", r)
	}
}

// A session that does not claim within 2 s does not hold the message up.
func TestWithoutAClaimThePushGoes(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.campaign("rainy-day", nil)
	mute := s.deafPhone("gus")
	mute.hello()
	mute.send(cafe)
	mute.waitOffered()
	s.clock.Advance(3 * time.Second)
	s.eventually("the push goes", func() bool { return len(s.pushesTo(mute.phone)) == 1 })
	if granted := mute.claim(); granted {
		t.Error("a late claim was granted")
	}
	s.want(mute.phone, "rainy-day", engage.Sent, "")
}

// A restart in the middle loses nothing and repeats nothing.
func TestARestartGoesOn(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.campaign("rainy-day", nil)
	ada := s.phone("ada", "android", nil).agree().likes("fashion").background()
	ada.at(cafe, 10).post()
	s.eventually("a push reaches Ada", func() bool { return len(s.pushesTo(ada)) == 1 })
	s.want(ada, "rainy-day", engage.Sent, "")
	s.settle()
	s.stop()
	s.phones = nil
	s.serve()
	s.settle()
	if n := len(s.pushesTo(ada)); n != 1 {
		t.Errorf("after the restart Ada has %d pushes", n)
	}
	if d := s.want(ada, "rainy-day", engage.Sent, ""); d.Channel != "fcm" {
		t.Errorf("the decision is forgotten: %+v", d)
	}
}

// Quiet hours defer to their end, and all gates run again.
func TestQuietHoursDefer(t *testing.T) {
	s := newStory(t) // 11:00 in Amsterdam
	s.place("cafe", cafe)
	s.campaign("rainy-day", func(c map[string]any) {
		c["limits"] = map[string]any{"quiet_hours": map[string]any{"start": "10:30", "end": "11:30"}, "expire_s": 7200}
	})
	ada := s.phone("ada", "android", nil).agree().likes("fashion").background()
	ada.at(cafe, 10).post()
	s.eventually("it waits", func() bool {
		ds := s.decisions(ada, "rainy-day")
		return len(ds) > 0 && ds[0].State == engage.Pending && ds[0].DueAt != nil && ds[0].DueAt.Equal(s.start.Add(30*time.Minute))
	})
	if n := len(s.pushesTo(ada)); n != 0 {
		t.Fatalf("%d pushes in quiet hours", n)
	}
	s.clock.Advance(31 * time.Minute)
	s.eventually("it goes when they end", func() bool { return len(s.pushesTo(ada)) == 1 })
	s.want(ada, "rainy-day", engage.Sent, "")
}

// Weather that does not come is a reason, not a wait for ever.
func TestUnknownWeatherIsAReason(t *testing.T) {
	s := newStory(t)
	s.sky.SetFault(outage())
	s.place("cafe", cafe)
	s.campaign("rainy-day", nil)
	ada := s.phone("ada", "android", nil).agree().likes("fashion").background()
	ada.at(cafe, 10).post()
	s.eventually("it waits for weather", func() bool {
		ds := s.decisions(ada, "rainy-day")
		return len(ds) > 0 && ds[0].State == engage.Pending
	})
	s.clock.Advance(3 * time.Second)
	s.want(ada, "rainy-day", engage.Suppressed, engage.ReasonWeatherUnknown)
}

// Who proves an identifier is the person that it names, on each of their phones; an
// unproven one is nothing.
func TestWhoProvesAnIdentifierIsThatPerson(t *testing.T) {
	s := newStory(t)
	ada := s.phone("ada", "android", nil).agree().background()
	ada.identify("ada").post()
	eve := s.phone("eve", "android", nil).agree().background()
	eve.Identify("ada", "c0ffee")
	eve.post()
	if got := strings.Join(eve.rejects, "; "); !strings.Contains(got, "identity_invalid") {
		t.Errorf("an unproven identification was refused with %q", got)
	}
	tablet := s.phone("tablet", "android", nil).agree().background()
	tablet.identify("ada").post()
	person := func(id string) (p struct{ ID string }) {
		s.settle()
		if err := s.app.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.must("GET", "/api/v1/people/"+id, nil, &p)
		return p
	}
	id := engage.PersonID("default", "user_id:ada")
	for _, name := range []string{"user_id:ada", ada.profile, tablet.profile, "install:" + ada.install, "install:" + tablet.install} {
		if p := person(name); p.ID != id {
			t.Errorf("%s is %s, want %s", name, p.ID, id)
		}
	}
	if p := person(eve.profile); p.ID != eve.profile {
		t.Errorf("Eve is %s", p.ID)
	}
	kinds, next := []string{}, ""
	for n := 0; n == 0 || next != ""; n++ {
		var page struct {
			Items []struct{ Kind string }
			Next  string
		}
		s.must("GET", "/api/v1/people/"+tablet.profile+"/timeline?limit=2&cursor="+url.QueryEscape(next), nil, &page)
		for _, x := range page.Items {
			kinds = append(kinds, x.Kind)
		}
		if next = page.Next; n > 100 {
			t.Fatal("the timeline has no end")
		}
	}
	if n := strings.Count(strings.Join(kinds, " "), "absorb"); n != 2 || strings.Count(strings.Join(kinds, " "), "consent") < 2 {
		t.Errorf("the timeline of all that she was: %v", kinds)
	}
	var all struct{ Items []struct{ ID string } }
	s.must("GET", "/api/v1/people", nil, &all)
	if len(all.Items) != 2 {
		t.Errorf("%d persons: %v", len(all.Items), all.Items)
	}
}
