package app_test

import (
	"testing"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store/mongo/mongotest"
)

// The whole way on MongoDB: somebody enters, gets a message, and a server that is
// started again knows it.
func TestTheServerKeepsItsDocumentsInMongoDB(t *testing.T) {
	uri, serial := mongotest.Peer(t)
	database := mongotest.Database(t, uri)
	s := newStory(t, func(o *app.Options) {
		o.Config.Store.MongoDB.URI, o.Config.Store.MongoDB.Database, o.SerialStore = engage.Secret(uri), database, serial
	})
	s.place("cafe", cafe)
	s.campaign("hello", func(c map[string]any) {
		c["context"], c["arms"] = nil, []any{map[string]any{"id": "a", "message": map[string]any{"title": "Hello"}}}
	})
	ada := s.phone("ada", "android", nil).agree().likes("fashion").background()
	ada.at(cafe, 12).post()
	s.eventually("Ada got her message", func() bool { return len(s.pushesTo(ada)) == 1 })
	s.settle()
	before := s.decisions(ada, "hello")
	s.stop()
	s.serve()
	if after := s.decisions(ada, "hello"); len(before) != 2 || len(after) != len(before) {
		t.Errorf("%d decisions before, %d after a restart, want 2", len(before), len(after))
	}
}
