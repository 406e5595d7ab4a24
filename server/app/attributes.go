package app

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

// learner makes the types that attributes' first values have taught revisions of the
// configuration. It stands beside the flow and keeps nothing: what it had not written
// when the process ended, the next values teach.
type learner struct {
	catalog *catalog.Catalog
	clock   clock.Clock
	log     *slog.Logger
	wake    chan struct{} // cap 1

	mu   sync.Mutex
	seen map[string]map[string]*taught // by workspace and attribute
}

// taught are the types that values of an attribute had, how often.
type taught struct {
	trusted, public map[rules.Type]int
}

// learnAfter is how long first values are listened to: what most of them are is the
// type. An odd one among many does not decide it.
const learnAfter = time.Second

// Who says such a thing of a value.
const byLearner = "learned"

func newLearner(c *catalog.Catalog, k clock.Clock, log *slog.Logger) *learner {
	return &learner{catalog: c, clock: k, log: log, wake: make(chan struct{}, 1), seen: map[string]map[string]*taught{}}
}

// Untyped implements decide.Learner.
func (l *learner) Untyped(workspace, name string, t rules.Type, trusted bool) {
	if !catalog.LearnableName(name) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	names := l.seen[workspace]
	if names == nil {
		names = map[string]*taught{}
		l.seen[workspace] = names
	}
	x := names[name]
	if x == nil {
		if len(names) >= 2*catalog.MaxLearned { // they teach again, when there is room
			return
		}
		x = &taught{trusted: map[rules.Type]int{}, public: map[rules.Type]int{}}
		names[name] = x
	}
	if trusted {
		x.trusted[t]++
	} else {
		x.public[t]++
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run writes until ctx ends.
func (l *learner) run(ctx context.Context) error {
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			return nil
		}
		due, stop := l.clock.At(l.clock.Now().Add(learnAfter))
		select {
		case <-due:
		case <-ctx.Done():
		}
		stop()
		if ctx.Err() != nil {
			return nil
		}
		l.mu.Lock()
		seen := l.seen
		l.seen = map[string]map[string]*taught{}
		l.mu.Unlock()
		for _, workspace := range slices.Sorted(maps.Keys(seen)) {
			if err := l.learn(ctx, workspace, seen[workspace]); err != nil && ctx.Err() == nil {
				l.log.Warn("types of attributes are not learned", "workspace", workspace, "error", err)
			}
		}
	}
}

// learn writes what was seen in a workspace; a type that a campaign needs as it was
// stays, and holds up no other.
func (l *learner) learn(ctx context.Context, workspace string, seen map[string]*taught) error {
	err := l.write(ctx, workspace, seen)
	if engage.CodeOf(err) != engage.Conflict {
		return err
	}
	for name, x := range seen {
		if err := l.write(ctx, workspace, map[string]*taught{name: x}); err != nil && engage.CodeOf(err) != engage.Conflict {
			return err
		}
	}
	return nil
}

func (l *learner) write(ctx context.Context, workspace string, seen map[string]*taught) error {
	return l.catalog.Learn(ctx, byLearner, workspace, func(types map[string]catalog.LearnedType) (changed bool) {
		w := l.catalog.Now().Workspaces[workspace]
		if w == nil {
			return false
		}
		public := 0
		for _, t := range types {
			if t.Public {
				public++
			}
		}
		for _, name := range slices.Sorted(maps.Keys(seen)) {
			_, declared := w.Attributes[name]
			old, known := types[name]
			now := catalog.LearnedType{Type: most(seen[name].trusted), At: l.clock.Now().UTC()}
			if now.Type == "" {
				now.Type, now.Public = most(seen[name].public), true
			}
			switch {
			case declared || known && (!old.Public || now.Public):
				continue
			case !known && (len(types) >= catalog.MaxLearned || now.Public && public >= catalog.MaxLearnedPublic):
				continue
			case known:
				public--
			}
			if now.Public {
				public++
			}
			types[name], changed = now, true
		}
		return changed
	})
}

// most is the type that most values have; of as many the first by name. Times among
// other texts are texts.
func most(votes map[rules.Type]int) (t rules.Type) {
	if n, both := votes[rules.Time], votes[rules.String]; n > 0 && both > 0 {
		votes = maps.Clone(votes)
		votes[rules.String] += n
		delete(votes, rules.Time)
	}
	for _, x := range slices.Sorted(maps.Keys(votes)) {
		if votes[x] > votes[t] {
			t = x
		}
	}
	return t
}

// doubtful are the attributes whose type binds only what nobody can trust.
func doubtful(s *catalog.Snapshot, w *catalog.Workspace) map[string]bool {
	var out map[string]bool
	for name, t := range s.Learned(w.ID) {
		if _, declared := w.Attributes[name]; t.Public && !declared {
			if out == nil {
				out = map[string]bool{}
			}
			out[name] = true
		}
	}
	return out
}

// isTime reports whether an attribute is a time to who says it: a type that public keys
// alone have taught binds no trusted one.
func isTime(s *catalog.Snapshot, workspace, name string, trusted bool) bool {
	if w := s.Workspaces[workspace]; w != nil {
		if t, declared := w.Attributes[name]; declared {
			return t == rules.Time
		}
	}
	l, learned := s.Learned(workspace)[name]
	return learned && l.Type == rules.Time && (!trusted || !l.Public)
}
