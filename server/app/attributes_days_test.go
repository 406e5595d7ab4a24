package app_test

import (
	"fmt"
	"testing"
)

// A website that says a day of an attribute that was declared a time is understood; before
// it was, and of attributes that are text, a day is text.
func TestADayThatAWebsiteTellsIsATimeWhereOneWasDeclared(t *testing.T) {
	s := newStory(t)
	var server, public struct{ Token string }
	s.must("POST", "/api/v1/write-keys", map[string]string{"name": "crm", "kind": "server", "source": "server"}, &server)
	s.must("POST", "/api/v1/write-keys", map[string]string{"name": "shop", "kind": "public", "source": "web"}, &public)
	attributes := func(person string) string {
		s.settle()
		if err := s.app.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var p struct{ Attributes map[string]any }
		s.must("GET", "/api/v1/people/"+person, nil, &p)
		return fmt.Sprint(p.Attributes)
	}
	s.tracked(server.Token, "/v1/identify", `{"messageId":"m1","userId":"ada","traits":{"since":"2026-01-31"}}`)
	if got := attributes("user_id:ada"); got != "map[since:2026-01-31]" {
		t.Errorf("before anybody declared it: %s", got)
	}
	s.must("PUT", "/api/v1/attribute-types/since", map[string]string{"type": "time"}, nil)
	s.must("PUT", "/api/v1/attribute-types/name", map[string]string{"type": "string"}, nil)
	s.tracked(server.Token, "/v1/identify", `{"messageId":"m2","userId":"ada","traits":{"since":"2026-02-01","name":"2026-02-01"}}`)
	if got := attributes("user_id:ada"); got != "map[name:2026-02-01 since:2026-02-01T00:00:00Z]" {
		t.Errorf("by a server: %s", got)
	}
	s.tracked(public.Token, "/v1/identify", `{"messageId":"m3","anonymousId":"b1","traits":{"since":"2026-02-02"}}`)
	if got := attributes("anonymous_id:b1"); got != "map[since:2026-02-02T00:00:00Z]" {
		t.Errorf("by a website: %s", got)
	}
}
