package app

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

func TestALogAndAStoreBelongTogether(t *testing.T) {
	newLog := func() eventlog.Log { return new(eventlogtest.Memory).Open() }
	newStore := func() store.Store {
		s, err := sqlite.Open(t.Context(), sqlite.Options{
			Path: filepath.Join(t.TempDir(), "states.db"), Collections: stateCollections(), Now: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	layout := func(s store.Store) {
		t.Helper()
		err := s.Apply(t.Context(), store.Batch{Puts: []store.Put{{Collection: "meta", Key: layoutKey, Body: []byte(`{}`)}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	must := func(what string, l eventlog.Log, s store.Store) {
		t.Helper()
		if err := belong(t.Context(), l, s); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	refused := func(what string, l eventlog.Log, s store.Store) {
		t.Helper()
		var e *engage.Error
		if err := belong(t.Context(), l, s); !errors.As(err, &e) || e.Code != engage.Conflict {
			t.Fatalf("%s: error is %v, want a conflict", what, err)
		}
	}

	log, s := newLog(), newStore()
	must("both new", log, s)
	must("the same two", log, s)
	layout(s)
	must("the same two, later", log, s)
	refused("the log exchanged for an empty one", newLog(), s)
	refused("the store exchanged for an empty one", log, newStore())
	otherLog, otherStore := newLog(), newStore()
	must("two others", otherLog, otherStore)
	refused("logs exchanged", otherLog, s)
	refused("stores exchanged", log, otherStore)

	old := newStore() // from before there were ids
	layout(old)
	refused("an old store with somebody's log", log, old)
	oldLog := newLog()
	must("an old store with its log", oldLog, old)
	refused("now that is its log", newLog(), old)

	// A death between the steps of the first start.
	for name, died := range map[string]func(l eventlog.Log, s store.Store) error{
		"before the log": func(_ eventlog.Log, s store.Store) error {
			return writeTie(t.Context(), s, tie{V: 1, Log: "x", Pending: true}, 0)
		},
		"after the log": func(l eventlog.Log, s store.Store) error {
			stream, err := l.Open(t.Context(), "IDENTITY", "identity")
			if err == nil {
				_, err = stream.Append(t.Context(), "identity", []byte("x"), 0)
			}
			return errors.Join(err, writeTie(t.Context(), s, tie{V: 1, Log: "x", Pending: true}, 0))
		},
	} {
		l, s := newLog(), newStore()
		if err := died(l, s); err != nil {
			t.Fatal(err)
		}
		must("died "+name, l, s)
		refused("died "+name+", then the log exchanged", newLog(), s)
	}
}
