package app_test

import (
	"slices"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

type callAnswer struct {
	Accepted   int
	Recipients []struct{ To, State, Person string }
}

func (c *callAnswer) states() []string {
	var out []string
	for _, r := range c.Recipients {
		out = append(out, r.State)
	}
	return out
}

// What was answered as accepted outlives the process that answered, and reaches each
// person once, however often the call is made, and by whatever name.
func TestACallOfTheAPIReachesItsPersonsOnce(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.campaign("ready", func(c map[string]any) {
		c["class"], c["trigger"] = "service", map[string]any{"type": "api"}
		delete(c, "audience")
		c["context"] = map[string]any{"field": "trigger.properties.order", "op": "exists"}
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{
			"title": "Order {{ trigger.properties.order }} at {{ place.name }}, {{ weather.condition }}", "body": "Come in", "channels": []string{"push"},
		}}}
	})
	ada := s.phone("ada", "android", nil)
	ada.identify("ada").background()
	s.settle()
	call := func(key string, to ...string) (out callAnswer) {
		t.Helper()
		rows := []any{}
		for _, x := range to {
			rows = append(rows, map[string]any{"to": x, "properties": map[string]any{"order": key}})
		}
		s.must("POST", "/api/v1/campaigns/ready/trigger", map[string]any{"key": key, "place": "cafe", "recipients": rows}, &out)
		return out
	}
	// The weather is asked for once, and known from then on: a stop that comes between the
	// question and its answer leaves the moment to its 2 s, which do not pass here.
	want := []string{"Order k0 at Café cafe, rain by fcm"}
	call("k0", "user_id:ada")
	s.eventually("the first push", func() bool { return slices.Equal(s.pushesTo(ada), want) })
	got := call("k1", "user_id:ada", "install:"+ada.install, "user_id:eve", "nobody")
	if states := []string{"accepted", "repeated", "unknown", "unknown"}; !slices.Equal(got.states(), states) || got.Accepted != 1 {
		t.Fatalf("%v, want %v", got.states(), states)
	}
	s.stop()
	s.phones = nil // that of before is closed
	s.serve()
	want = append(want, "Order k1 at Café cafe, rain by fcm")
	s.eventually("the order's push", func() bool { return slices.Equal(s.pushesTo(ada), want) })
	call("k1", "install:"+ada.install)
	call("k2", "user_id:ada")
	want = append(want, "Order k2 at Café cafe, rain by fcm")
	s.eventually("the other order's push", func() bool { return slices.Equal(s.pushesTo(ada), want) })
	s.settle()
	if got := s.pushesTo(ada); !slices.Equal(got, want) {
		t.Errorf("pushed %q, want %q", got, want)
	}
	ada.profile = engage.PersonID("default", "user_id:ada")
	if n := len(s.decisions(ada, "ready")); n != 3 {
		t.Errorf("%d decisions, want 3", n)
	}
}
