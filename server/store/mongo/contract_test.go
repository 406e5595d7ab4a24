package mongo_test

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/mongo"
	"github.com/footfall-engage/footfall/server/store/mongo/mongotest"
	"github.com/footfall-engage/footfall/server/store/storetest"
)

func TestContract(t *testing.T) {
	uri, serial := mongotest.Peer(t)
	run := storetest.Run
	if serial {
		run = storetest.RunSerial
	}
	run(t, func(t *testing.T, collections []store.Collection, now func() time.Time) func() store.Store {
		o := options(t, uri, serial)
		o.Collections, o.Now = collections, now
		return func() store.Store { return open(t, watched(t, o)) }
	})
}

// options of a store in a database of its own.
func options(t testing.TB, uri string, serial bool) mongo.Options {
	t.Helper()
	return mongo.Options{
		URI: engage.Secret(uri), Database: mongotest.Database(t, uri), Serial: serial, Now: time.Now,
	}
}

func open(t testing.TB, o mongo.Options) *mongo.Store {
	t.Helper()
	s, err := mongo.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func watched(t testing.TB, o mongo.Options) mongo.Options { return o }
