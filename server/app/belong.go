package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

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

// belong ties log and store on their first start, and later makes sure that they
// are still the same two. A Conflict says which of them is not what it was.
func belong(ctx context.Context, log eventlog.Log, s store.Store) error {
	stream, err := log.Open(ctx, "IDENTITY", "identity")
	if err != nil {
		return fmt.Errorf("identity of the event log: %w", err)
	}
	inLog, err := identityOf(ctx, stream)
	if err != nil {
		return err
	}
	inStore, version, err := readTie(ctx, s)
	if err != nil {
		return err
	}
	if version == 0 {
		old, err := hasLayout(ctx, s)
		switch {
		case err != nil:
			return err
		case inLog != "" && !old:
			return engage.Errorf(engage.Conflict, "store", "the store is empty, but the event log belongs to another one: bring that back, or begin with an empty log (another event_log.prefix, a new data_dir)")
		case inLog != "":
			return engage.Errorf(engage.Conflict, "event_log", "this store and this event log do not belong together")
		}
		// New, or of the time before ids.
		inStore, version = tie{V: 1, Log: rand.Text(), Pending: true}, 1
		if err := writeTie(ctx, s, inStore, 0); err != nil {
			return err
		}
	}
	switch {
	case inLog == "" && inStore.Pending:
		if _, err := stream.Append(ctx, "identity", []byte(inStore.Log), 0); err != nil {
			return fmt.Errorf("name the event log: %w", err)
		}
	case inLog == "":
		return engage.Errorf(engage.Conflict, "event_log", "the event log is empty, but the store belongs to one that is not: bring that back, or begin with an empty store")
	case inLog != inStore.Log:
		return engage.Errorf(engage.Conflict, "event_log", "this store and this event log do not belong together")
	}
	if inStore.Pending {
		inStore.Pending = false
		return writeTie(ctx, s, inStore, version)
	}
	return nil
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
