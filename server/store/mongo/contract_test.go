package mongo_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"

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
		return func() store.Store { return open(t, o) }
	})
}

// The transactions' code, with contenders, before a server that runs one
// transaction at a time.
func TestContractInTransactions(t *testing.T) {
	uri, serial := mongotest.Peer(t)
	if !serial {
		t.Skip("the whole suite runs on a server with transactions of its own: TestContract")
	}
	storetest.RunSerial(t, func(t *testing.T, collections []store.Collection, now func() time.Time) func() store.Store {
		o := options(t, uri, false)
		o.URI = engage.Secret(newReplicaSet(t, uri).uri())
		o.Collections, o.Now = collections, now
		return func() store.Store { return open(t, o) }
	})
}

// options of a store in a database of its own, whose every command must be one
// that a sharded cluster can send to the right shards.
func options(t testing.TB, uri string, serial bool) mongo.Options {
	t.Helper()
	o := mongo.Options{URI: engage.Secret(uri), Database: mongotest.Database(t, uri), Serial: serial, Now: time.Now}
	return mongo.WithMonitor(o, &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		for _, filter := range filtersOf(e) {
			if msg := targeted(e.CommandName, filter); msg != "" {
				t.Errorf("%s %s: %s", e.CommandName, filter, msg)
			}
		}
	}})
}

// filtersOf are the filters of a command on documents.
func filtersOf(e *event.CommandStartedEvent) (filters []bson.Raw) {
	each := func(list, field string) {
		values, _ := e.Command.Lookup(list).Array().Values()
		for _, v := range values {
			if d, ok := v.Document().Lookup(field).DocumentOK(); ok {
				filters = append(filters, d)
			}
		}
	}
	switch e.CommandName {
	case "find":
		filters = append(filters, e.Command.Lookup("filter").Document())
	case "aggregate":
		each("pipeline", "$match")
	case "update":
		each("updates", "q")
	case "delete":
		each("deletes", "q")
	case "count", "distinct", "findAndModify", "mapReduce":
		filters = append(filters, bson.Raw{5, 0, 0, 0, 0}) // the store uses none of them
	}
	return filters
}

// targeted says what keeps a router from knowing the shards of a filter. What
// means all workspaces has a range without an end: only Iterate, Purge's search
// and the clearing of an index's identifiers may.
func targeted(name string, filter bson.Raw) string {
	id := filter.Lookup("_id")
	if conds, ok := filter.Lookup("$and").ArrayOK(); ok {
		values, _ := conds.Values()
		for _, v := range values {
			if bound := v.Document().Lookup("_id"); bound.Type != 0 && id.Type == 0 {
				id = bound
			}
		}
	}
	if id.Type == bson.TypeString {
		return ""
	}
	d, ok := id.DocumentOK()
	if !ok {
		return "no _id"
	}
	var ops []string
	elements, _ := d.Elements()
	for _, e := range elements {
		ops = append(ops, e.Key())
	}
	switch {
	case slices.Contains(ops, "$in"), slices.Contains(ops, "$gte") && slices.Contains(ops, "$lt"):
		return ""
	case name == "find" && strings.Join(ops, "") == "$gte":
		return "" // Iterate and Purge
	case name == "delete" && filter.Lookup("k").Type == bson.TypeString:
		return ""
	}
	return "a range of _id without an end"
}

func open(t testing.TB, o mongo.Options) *mongo.Store {
	t.Helper()
	s, err := mongo.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
