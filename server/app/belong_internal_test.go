package app

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

func TestALogAndItsStoresBelongTogether(t *testing.T) {
	type stores struct{ states, hot store.Store }
	newLog := func() eventlog.Log { return new(eventlogtest.Memory).Open() }
	open := func(collections []store.Collection) store.Store {
		s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "x.db"), Collections: collections, Now: time.Now})
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
	newStores := func() stores { return stores{open(stateCollections()), open(hotCollections())} }
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	layout := func(s stores) {
		t.Helper()
		try(s.states.Apply(t.Context(), store.Batch{Puts: []store.Put{{Collection: "meta", Key: layoutKey, Body: []byte(`{}`)}}}))
	}
	configured := func(l eventlog.Log) {
		t.Helper()
		s, err := l.Open(t.Context(), catalog.Stream, catalog.Subjects)
		try(err)
		_, err = s.Append(t.Context(), "config.x", []byte("{}"), -1)
		try(err)
	}
	must := func(what string, l eventlog.Log, s stores) {
		t.Helper()
		if err := belong(t.Context(), l, s.states, s.hot); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	refused := func(what string, l eventlog.Log, s stores) {
		t.Helper()
		var e *engage.Error
		if err := belong(t.Context(), l, s.states, s.hot); !errors.As(err, &e) || e.Code != engage.Conflict {
			t.Fatalf("%s: error is %v, want a conflict", what, err)
		}
	}

	log, s := newLog(), newStores()
	must("all new", log, s)
	must("the same", log, s)
	layout(s)
	configured(log)
	must("the same, later", log, s)
	refused("the log exchanged for an empty one", newLog(), s)
	refused("the stores exchanged for empty ones", log, newStores())
	refused("the hot store exchanged for an empty one", log, stores{s.states, newStores().hot})
	otherLog, others := newLog(), newStores()
	must("others", otherLog, others)
	refused("logs exchanged", otherLog, s)
	refused("stores exchanged", log, others)
	refused("hot stores exchanged", log, stores{s.states, others.hot})
	one := newStores()
	must("one store for all", newLog(), stores{one.states, one.states})

	// From before there were ids.
	old, oldLog := newStores(), newLog()
	layout(old)
	refused("an old store with somebody's log", log, old)
	refused("an old store with an empty log", oldLog, old)
	configured(oldLog)
	refused("an old log with an empty store", oldLog, newStores())
	must("an old store with its log", oldLog, old)
	refused("now that is its log", newLog(), old)

	// A death between the steps of the first start.
	pending := tie{V: 1, Log: "x", Pending: true}
	named := func(l eventlog.Log) error {
		stream, err := l.Open(t.Context(), "IDENTITY", "identity")
		if err == nil {
			_, err = stream.Append(t.Context(), "identity", []byte("x"), 0)
		}
		return err
	}
	for name, died := range map[string]func(l eventlog.Log, s stores) error{
		"before the log": func(eventlog.Log, stores) error { return nil },
		"after the log":  func(l eventlog.Log, _ stores) error { return named(l) },
		"after the hot store": func(l eventlog.Log, s stores) error {
			return errors.Join(named(l), writeTie(t.Context(), s.hot, tie{V: 1, Log: "x"}, 0))
		},
	} {
		l, s := newLog(), newStores()
		try(writeTie(t.Context(), s.states, pending, 0))
		try(died(l, s))
		must("died "+name, l, s)
		must("died "+name+", later", l, s)
		refused("died "+name+", then the log exchanged", newLog(), s)
	}
}
