package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// moves knows which profile another has become. What moved lately it remembers, for
// the store has it only a moment later; the rest it asks the store, and of those that have
// not moved it remembers that, until they do: whatever becomes of a person passes observe.
// The zero value is ready.
type moves struct {
	mu     sync.Mutex
	to     map[string]string // by key
	newest []string          // keys, a ring once there are maxMoves
	next   int
	still  map[string]struct{} // keys that have not moved
	seen   uint64              // moves so far

	answers answers
}

// maxStill is how many are remembered that have not moved; then it begins anew.
const maxStill = 100_000

// maxMoves is how many moves are remembered: far more than are made between two saves.
const maxMoves = 20_000

// maxHops bounds how often one that moved moved again: each time to a senior one.
const maxHops = 300

// observe is a partition's Observe.
func (m *moves) observe(key string, s engage.State) {
	x, moved := s.(*decide.Moved)
	if !moved && !strings.HasPrefix(engage.IDOf(key), "p:") {
		return
	}
	person, _ := s.(*decide.Person)
	m.answers.observe(key, person)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !moved {
		delete(m.to, key) // erased, and somebody new
		return
	}
	m.seen++
	delete(m.still, key)
	if m.to == nil {
		m.to = map[string]string{}
	}
	if _, known := m.to[key]; !known {
		if len(m.newest) < maxMoves {
			m.newest = append(m.newest, key)
		} else {
			delete(m.to, m.newest[m.next])
			m.newest[m.next] = key
			m.next = (m.next + 1) % maxMoves
		}
	}
	m.to[key] = x.Redirect
}

// now is the profile that one is now, and its state as the store has it; nil when the
// store has none (yet).
func (m *moves) now(ctx context.Context, states store.Store, workspace, profile string) (string, []byte, error) {
	for range maxHops {
		m.mu.Lock()
		to := m.to[engage.ProfileKey(workspace, profile)]
		m.mu.Unlock()
		if to != "" {
			profile = to
			continue
		}
		doc, err := states.Get(ctx, "state_act", store.Key{Workspace: workspace, ID: "p:" + profile})
		if errors.Is(err, store.ErrNotFound) {
			return profile, nil, nil
		}
		if err != nil {
			return "", nil, fmt.Errorf("read person: %w", err)
		}
		if to = decide.RedirectOf(doc.Body); to == "" {
			return profile, doc.Body, nil
		}
		profile = to
	}
	return "", nil, engage.Errorf(engage.Internal, "", "profile %s moved more than %d times", profile, maxHops)
}

// id is the profile that one is now.
func (m *moves) id(ctx context.Context, states store.Store, workspace, profile string) (string, error) {
	m.mu.Lock()
	_, still := m.still[engage.ProfileKey(workspace, profile)]
	seen := m.seen
	m.mu.Unlock()
	if still {
		return profile, nil
	}
	is, _, err := m.now(ctx, states, workspace, profile)
	if err != nil || is != profile {
		return is, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == seen { // else it may be the one that moved, meanwhile
		if m.still == nil || len(m.still) >= maxStill {
			m.still = map[string]struct{}{}
		}
		m.still[engage.ProfileKey(workspace, profile)] = struct{}{}
	}
	return is, nil
}

// now is the profile that one is now, and its state as the store has it.
func (a *App) now(ctx context.Context, workspace, profile string) (string, []byte, error) {
	m := &moves{}
	if a.router != nil { // a store alone can be read, too
		m = &a.router.moves
	}
	return m.now(ctx, a.states, workspace, profile)
}

// owners knows whose a phone is, and who has become one person.
type owners struct{ a *App }

// Owner implements deliver.Owners.
func (o owners) Owner(ctx context.Context, workspace, install string) (string, error) {
	return o.a.gateway.Owner(ctx, workspace, install)
}

// Same is what package deliver asks of two profiles.
func (o owners) Same(ctx context.Context, workspace, a, b string) (bool, error) {
	x, _, err := o.a.now(ctx, workspace, a)
	if err != nil {
		return false, err
	}
	y, _, err := o.a.now(ctx, workspace, b)
	return err == nil && x == y, err
}

// personOf is the profile whose an install is now.
func (a *App) personOf(ctx context.Context, workspace, install string) (string, error) {
	profile, err := a.gateway.Owner(ctx, workspace, install)
	if err != nil {
		return "", err
	}
	if a.router == nil {
		profile, _, err = a.now(ctx, workspace, profile)
		return profile, err
	}
	return a.router.moves.id(ctx, a.states, workspace, profile)
}

// everyID are the ids that a person has gone by: the present one and those of profiles
// that have become one with it.
func (r reads) everyID(ctx context.Context, workspace, profile string) ([]string, error) {
	now, body, err := r.a.now(ctx, workspace, profile)
	if err != nil || body == nil {
		return []string{now}, err
	}
	var p struct {
		Absorbed []string `json:"absorbed"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, fmt.Errorf("decode person: %w", err)
	}
	return append([]string{now}, p.Absorbed...), nil
}
