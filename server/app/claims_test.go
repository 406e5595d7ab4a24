package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// Claims that an earlier build did not list are found when somebody is erased: those of
// profiles, and those that stand in timelines alone by now. It is looked for them once.
func TestClaimsOfAnEarlierBuildAreFound(t *testing.T) {
	s := newStory(t)
	keys := s.writeKeys()
	s.tracked(keys["server"], "/v1/identify", `{"userId":"ada-of-byron","messageId":"m1"}`)
	for i, user := range []string{"ada-of-byron", "ben-other"} { // which the second one hides
		s.clock.Advance(time.Second)
		s.tracked(keys["public"], "/v1/identify", `{"userId":"`+user+`","anonymousId":"browser-one","messageId":"a`+string(rune('0'+i))+`"}`)
	}
	s.tracked(keys["public"], "/v1/identify", `{"userId":"ada-of-byron","anonymousId":"browser-two","messageId":"b"}`)
	s.flushed()
	states := s.app.States()
	var b store.Batch
	for _, collection := range []string{engage.Claims, "meta"} {
		if err := states.Iterate(t.Context(), collection, store.Query{}, func(d store.Doc) error {
			if collection == engage.Claims || d.ID == "claims" {
				b.Deletes = append(b.Deletes, store.Delete{Collection: collection, Key: d.Key})
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.Deletes) != 4 {
		t.Fatalf("%d claims and marks to be forgotten: %+v", len(b.Deletes), b.Deletes)
	}
	if err := states.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.serve() // as a build that knows of claims, for the first time
	if e := s.erase("user_id:ada-of-byron", ""); e.Deleted["claims"] != 2 {
		t.Errorf("receipt %+v", e.Deleted)
	}
	for path, what := range s.inFiles("ada-of-byron") {
		if !strings.HasPrefix(path, "log") {
			t.Errorf("%s still has %v", path, what)
		}
	}
	if got := s.person("anonymous_id:browser-one"); !strings.Contains(got, `"claimed_unproven":"user_id:ben-other"`) {
		t.Errorf("the other claim: %s", got)
	}
	if _, err := s.app.States().Get(t.Context(), "meta", store.Key{Workspace: store.System, ID: "claims"}); err != nil {
		t.Errorf("it would be looked again: %v", err)
	}
}
