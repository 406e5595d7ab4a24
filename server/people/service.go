package people

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// Engine has the owners of states forget somebody.
type Engine interface {
	// Forget logs the erasure at the owners of all that the subject goes by and
	// returns when they have applied it and all that they had written before is in
	// the store.
	Forget(ctx context.Context, s *Subject) error
	// ListClaims returns when every claim of an earlier build is in the store, as those
	// of this one are (engage.Claim).
	ListClaims(ctx context.Context) error
	// Disclaim has the owners of profiles, and of what these have become, forget that they
	// were said to be somebody, and takes it out of their history; it returns when that is
	// in the store.
	Disclaim(ctx context.Context, workspace string, d engage.Disclaim, profiles []string) error
	// Trim has the event log lose, now, what is older than its retention, and returns
	// when it has.
	Trim(ctx context.Context) error
	// Disconnect ends the sessions of an install and drops what the gateway
	// remembers of it.
	Disconnect(workspace, install string)
}

// Options of a Service. All are required.
type Options struct {
	Hot, States store.Store // may be the same
	Engine      Engine
	Hasher      Hasher
	Clock       clock.Clock
	Logger      *slog.Logger
	// LogRetention is how long the event log keeps a record.
	LogRetention time.Duration
	// Scrub frees the stores' files of what was deleted.
	Scrub func(context.Context) error
}

// Service answers what persons ask. It is safe for concurrent use.
type Service struct {
	o    Options
	wake chan struct{}

	mu         sync.RWMutex
	suppressed map[string]struct{} // workspace "/" hash
	erased     map[string]*erased  // by workspace
	// forgetErased is when old ones are dropped, Unix microseconds.
	forgetErased int64

	// Of the goroutine that runs:
	looks  map[string]looks // by erasure
	listed bool             // the engine has listed what claims there are
}

// Collections are those that the service keeps in the hot store.
func Collections() []store.Collection {
	return []store.Collection{
		{Name: "erasures", Indexes: []store.Index{{Name: "due", Paths: []string{"due_us"}}, {Name: "at", Paths: []string{"at_us"}}}},
		{Name: "suppressions"},
		{Name: "accesses"},
	}
}

// Open makes a Service and reads the suppression list.
func Open(ctx context.Context, o Options) (*Service, error) {
	if o.Hot == nil || o.States == nil || o.Engine == nil || o.Clock == nil || o.Logger == nil || o.Scrub == nil || o.Hasher.key == nil {
		return nil, errors.New("people: an option is missing")
	}
	s := &Service{o: o, wake: make(chan struct{}, 1), suppressed: map[string]struct{}{}, erased: map[string]*erased{}, looks: map[string]looks{}}
	return s, errors.Join(s.loadSuppressed(ctx), s.loadErased(ctx))
}
