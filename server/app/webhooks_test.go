package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels/webhook"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/engage"
)

// crm is a retailer's own system: it verifies what it hears and keeps it.
type crm struct {
	*httptest.Server
	t      *testing.T
	s      *story
	mu     sync.Mutex
	secret string
	status int
	events []webhook.Event
}

func newCRM(t *testing.T) *crm {
	c := &crm{t: t, status: http.StatusNoContent}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *crm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := webhook.Verify(r.Header, body, c.s.clock.Now(), c.secret); err != nil {
		c.t.Errorf("it does not verify: %v", err)
	}
	if c.status < 300 {
		events, err := webhook.Parse(r.Header.Get("Content-Type"), body)
		if err != nil {
			c.t.Errorf("%s: %v", body, err)
		}
		c.events = append(c.events, events...)
	}
	w.WriteHeader(c.status)
}

func (c *crm) answers(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

func (c *crm) all() []webhook.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events)
}

// heard are the events of a type.
func (c *crm) heard(typ string) []webhook.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.events), func(e webhook.Event) bool { return e.Type != "footfall."+typ })
}

// A phone walks into a place and gets a message: the retailer's own system hears of
// it, also of what happened while it was down and the server was killed.
func TestARetailersSystemHearsOfVisitsAndMessages(t *testing.T) {
	c := newCRM(t)
	s := newStory(t, func(o *app.Options) { o.Config.Webhooks.AllowNetworks = "127.0.0.0/8" })
	c.s = s
	s.place("cafe", cafe)
	s.campaign("rainy-day", nil)
	var made struct{ Secrets []struct{ Secret string } }
	c.mu.Lock()
	s.must("PUT", "/api/v1/webhooks/crm", map[string]any{"url": c.URL + "/hook", "headers": map[string]string{"X-Shop": "1"}}, &made)
	c.secret = made.Secrets[0].Secret
	c.mu.Unlock()
	var test struct{ Outcome string }
	s.must("POST", "/api/v1/webhooks/crm/test", map[string]any{}, &test)
	if test.Outcome != "accepted" || len(c.heard("ping")) != 1 {
		t.Fatalf("test %+v", test)
	}

	ada := s.phone("ada", "android", nil).agree().likes("fashion").background()
	ada.at(cafe, 10).post()
	s.eventually("it hears the enter and the push", func() bool {
		return len(c.heard("place.entered")) > 0 && len(c.heard("delivery.accepted")) > 0
	})
	var enter struct {
		ProfileID string `json:"profile_id"`
		Place     struct{ ID, Name string }
	}
	e := c.heard("place.entered")[0]
	if err := json.Unmarshal(e.Data, &enter); err != nil {
		t.Fatal(err)
	}
	if enter.ProfileID != ada.profile || enter.Place.ID != "cafe" || enter.Place.Name == "" || e.Subject != "people/"+ada.profile || e.Source != "urn:footfall:default" {
		t.Errorf("heard %+v: %s", e, e.Data)
	}
	for _, e := range c.all() {
		if strings.Contains(string(e.Data), "52.37") || strings.Contains(string(e.Data), "token") {
			t.Errorf("%s shows too much: %s", e.Type, e.Data)
		}
	}

	// It is down while Ben comes, and the server starts anew before it is up.
	c.answers(http.StatusServiceUnavailable)
	ben := s.phone("ben", "android", nil).agree().likes("fashion").background()
	ben.at(cafe, 10).post()
	type health struct {
		Health struct {
			Waiting      int
			FailingSince time.Time `json:"failing_since"`
		}
	}
	s.eventually("it is said that it fails", func() bool {
		var h health
		s.must("GET", "/api/v1/webhooks/crm", nil, &h)
		return h.Health.Waiting > 0 && !h.Health.FailingSince.IsZero()
	})
	s.settle()
	s.stop()
	s.phones = nil
	c.answers(http.StatusNoContent)
	s.serve()
	s.eventually("it hears of Ben", func() bool {
		s.clock.Advance(time.Second)
		return slices.ContainsFunc(c.heard("place.entered"), func(e webhook.Event) bool { return e.Subject == "people/"+ben.profile })
	})
	s.eventually("nothing waits", func() bool {
		s.clock.Advance(time.Second)
		var h health
		s.must("GET", "/api/v1/webhooks/crm", nil, &h)
		return h.Health.Waiting == 0
	})

	// A refusal is a dead letter, which can be sent again.
	c.answers(http.StatusBadRequest)
	cleo := s.phone("cleo", "android", nil).agree().background()
	cleo.at(cafe, 10).post()
	var letters struct {
		Items []struct{ Event, Type, Why string }
	}
	s.eventually("that she entered is a dead letter", func() bool { // others of hers may be given up before it
		s.must("GET", "/api/v1/webhooks/crm/dead-letters", nil, &letters)
		return slices.ContainsFunc(letters.Items, func(l struct{ Event, Type, Why string }) bool { return l.Type == string(engage.WebhookEntered) })
	})
	if letters.Items[0].Why != "refused" {
		t.Errorf("%+v", letters)
	}
	c.answers(http.StatusOK)
	var n struct{ Count int }
	s.must("POST", "/api/v1/webhooks/crm/dead-letters/retry", map[string]any{"all": true}, &n)
	s.eventually("it hears of Cleo", func() bool {
		return slices.ContainsFunc(c.heard("place.entered"), func(e webhook.Event) bool { return e.Subject == "people/"+cleo.profile })
	})

	// Paused and deleted it hears nothing more, and leaves nothing.
	if code := s.call("DELETE", "/api/v1/webhooks/crm", nil, nil); code != http.StatusNoContent {
		t.Errorf("deleting: %d", code)
	}
	heard := len(c.all())
	cleo.at(far, 10).post()
	s.settle()
	if all := c.all(); len(all) != heard {
		t.Errorf("it heard %+v", all[heard:])
	}
}

// What the operator has not allowed cannot even be entered.
func TestAWebhookIntoTheOperatorsNetworkIsRefused(t *testing.T) {
	s := newStory(t)
	for _, url := range []string{"http://127.0.0.1:1/x", "https://localhost/x", "https://169.254.169.254/latest", "http://shop.example.com"} {
		if status := s.call("PUT", "/api/v1/webhooks/crm", map[string]any{"url": url}, nil); status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", url, status)
		}
	}
}
