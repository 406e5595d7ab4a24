package app_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// The first values teach an attribute's type; from then on others are dropped and
// listed, also after a restart, and a rule may ask.
func TestTheFirstValuesTeachAnAttributesType(t *testing.T) {
	s := newStory(t)
	var k struct{ Token string }
	s.must("POST", "/api/v1/write-keys", map[string]string{"name": "till", "kind": "server", "source": "till"}, &k)
	identify := func(message, user, traits string) {
		s.tracked(k.Token, "/v1/identify", fmt.Sprintf(`{"messageId":%q,"userId":%q,"traits":%s}`, message, user, traits))
	}
	typeOf := func(name string) string {
		var page struct {
			Attributes []struct{ Name, Type, Source string }
		}
		s.must("GET", "/api/v1/attribute-types", nil, &page)
		for _, a := range page.Attributes {
			if a.Name == name {
				return a.Source + " " + a.Type
			}
		}
		return ""
	}
	attributes := func(user string) string {
		s.settle()
		if err := s.app.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var p struct{ Attributes map[string]any }
		s.must("GET", "/api/v1/people/user_id:"+user, nil, &p)
		return fmt.Sprint(p.Attributes)
	}
	rule := map[string]any{
		"name": "rich", "class": "marketing", "status": "draft", "trigger": map[string]any{"type": "place", "transition": "enter"},
		"audience": map[string]any{"field": "attributes.points", "op": "gt", "value": 5},
		"arms":     []any{map[string]any{"id": "a", "message": map[string]any{"title": "hi"}}},
	}
	if code := s.call("PUT", "/api/v1/campaigns/rich", rule, nil); code != 422 {
		t.Errorf("a rule about what nobody knows: %d", code)
	}
	// Two of three say that it is a number.
	identify("m1", "ada", `{"points":1}`)
	identify("m2", "ben", `{"points":"none"}`)
	identify("m3", "cleo", `{"points":3}`)
	s.settle()
	s.eventually("the type is learned", func() bool {
		s.clock.Advance(time.Second)
		return typeOf("points") == "learned number"
	})
	s.must("PUT", "/api/v1/campaigns/rich", rule, nil)
	if got := attributes("ben"); got != "map[points:none]" {
		t.Errorf("what was there before anything was known: %s", got)
	}
	for _, when := range []string{"first", "after a restart"} {
		identify("x-"+when, "ada", `{"points":"many","vip":true}`)
		identify("y-"+when, "cleo", `{"points":7.5}`)
		if got := attributes("ada"); got != "map[points:1 vip:true]" {
			t.Errorf("%s: of another type: %s", when, got)
		}
		if got := attributes("cleo"); got != "map[points:7.5]" {
			t.Errorf("%s: of its type: %s", when, got)
		}
		s.eventually("it is listed as dropped", func() bool {
			var page struct{ Items []engage.Dropped }
			s.must("GET", "/api/v1/dropped?code=invalid", nil, &page)
			for _, d := range page.Items {
				if d.Message == "x-"+when {
					if d.Field != "traits.points" || !strings.Contains(d.Reason, "must be a number") || strings.Contains(d.Reason, "many") {
						t.Errorf("the line is %+v", d)
					}
					return true
				}
			}
			return false
		})
		if when == "first" {
			s.stop()
			s.serve()
		}
	}
}
