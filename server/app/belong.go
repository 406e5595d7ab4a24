package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/store"
)

// An event log and a store belong together: positions in the store count records
// of that log, and configuration and credentials stand in the log alone. A server
// that was given the one without the other (a new cluster, a restored database, a
// wrong account) would take the log for one that has lost its tail and begin anew
// without its configuration; it refuses instead.
//
// What ties them is a random id, written on the first start: first into the store
// as pending, then into the log, then into the store for good, so that a death
// between cannot be mistaken for an exchange.

// tie is the document "meta/log".
type tie struct {
	V       int    `json:"v"` // 1
	Log     string `json:"log"`
	Pending bool   `json:"pending,omitempty"`
}

var tieKey = store.Key{Workspace: store.System, ID: "log"}

// belong ties the log and the stores on their first start, and later makes sure
// that they are still the same. Hot and states may be one. A Conflict says what is
// not what it was.
func belong(ctx context.Context, log eventlog.Log, states, hot store.Store) error {
	stream, err := log.Open(ctx, "IDENTITY", "identity")
	if err != nil {
		return fmt.Errorf("identity of the event log: %w", err)
	}
	inLog, err := identityOf(ctx, stream)
	if err != nil {
		return err
	}
	inStore, version, err := readTie(ctx, states)
	if err != nil {
		return err
	}
	if version == 0 {
		if err := mayTie(ctx, log, states, inLog); err != nil {
			return err
		}
		inStore, version = tie{V: 1, Log: rand.Text(), Pending: true}, 1
		if err := writeTie(ctx, states, inStore, 0); err != nil {
			return err
		}
	}
	switch {
	case inLog == "" && inStore.Pending:
		if _, err := stream.Append(ctx, "identity", []byte(inStore.Log), 0); err != nil {
			return fmt.Errorf("name the event log: %w", err)
		}
	case inLog == "":
		return errLogEmpty()
	case inLog != inStore.Log:
		return errOthers()
	}
	if states != hot {
		if err := belongHot(ctx, hot, inStore); err != nil {
			return err
		}
	}
	if inStore.Pending {
		inStore.Pending = false
		return writeTie(ctx, states, inStore, version)
	}
	return nil
}

func errLogEmpty() error {
	return engage.Errorf(engage.Conflict, "event_log", "the event log is empty, but the store belongs to one that is not: bring that back, or begin with an empty store")
}

func errStoreEmpty() error {
	return engage.Errorf(engage.Conflict, "store", "the store is empty, but the event log belongs to another one: bring that back, or begin with an empty log (another event_log.prefix, a new data_dir)")
}

func errOthers() error {
	return engage.Errorf(engage.Conflict, "event_log", "this store and this event log do not belong together")
}

// mayTie says whether a store without a tie may be given one: when both are new, or
// both of the time before ids, of which the layout and the configuration tell.
func mayTie(ctx context.Context, log eventlog.Log, states store.Store, inLog string) error {
	used, err := hasLayout(ctx, states)
	if err != nil {
		return err
	}
	config, err := log.Open(ctx, catalog.Stream, catalog.Subjects)
	if err != nil {
		return fmt.Errorf("configuration log: %w", err)
	}
	_, last, err := config.Bounds(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("configuration log: %w", err)
	case inLog != "" && used:
		return errOthers()
	case inLog != "", last > 0 && !used:
		return errStoreEmpty()
	case last == 0 && used:
		return errLogEmpty()
	}
	return nil
}

// belongHot ties the hot store, which is a file of its own beside the states'.
func belongHot(ctx context.Context, hot store.Store, states tie) error {
	have, version, err := readTie(ctx, hot)
	switch {
	case err != nil:
		return err
	case version > 0 && have.Log != states.Log:
		return engage.Errorf(engage.Conflict, "data_dir", "hot.db and states.db do not belong together")
	case version > 0:
		return nil
	case !states.Pending:
		return engage.Errorf(engage.Conflict, "data_dir", "hot.db is missing or empty: phones' tokens, deliveries under way and inboxes are in it; bring it back")
	}
	return writeTie(ctx, hot, tie{V: 1, Log: states.Log}, 0)
}

// identityOf is the id in the log, empty if it has none yet.
func identityOf(ctx context.Context, stream eventlog.Stream) (string, error) {
	_, last, err := stream.Bounds(ctx)
	if err != nil || last == 0 {
		return "", err
	}
	msgs, err := stream.Read(ctx, 1, 1)
	if err != nil {
		return "", fmt.Errorf("identity of the event log: %w", err)
	}
	return string(msgs[0].Data), nil
}

func readTie(ctx context.Context, s store.Store) (tie, int64, error) {
	doc, err := s.Get(ctx, "meta", tieKey)
	if errors.Is(err, store.ErrNotFound) {
		return tie{}, 0, nil
	}
	var t tie
	if err == nil {
		err = json.Unmarshal(doc.Body, &t)
	}
	if err != nil {
		return t, 0, fmt.Errorf("read which event log the store belongs to: %w", err)
	}
	return t, doc.Version, nil
}

func writeTie(ctx context.Context, s store.Store, t tie, over int64) error {
	body, err := json.Marshal(t)
	if err == nil {
		err = s.Apply(ctx, store.Batch{Puts: []store.Put{{Collection: "meta", Key: tieKey, Body: body, If: over}}})
	}
	if err != nil {
		return fmt.Errorf("write which event log the store belongs to: %w", err)
	}
	return nil
}

// hasLayout reports whether a server has ever run on the store.
func hasLayout(ctx context.Context, s store.Store) (bool, error) {
	_, err := s.Get(ctx, "meta", layoutKey)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
