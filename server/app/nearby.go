package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/situate"
	"github.com/footfall-engage/footfall/server/store"
)

// nearby knows where live devices are: installs whose newest fix is younger than
// maxAge and whose person agrees to precise location. It is made of the states
// that situate commits, shown by the partitions as they change, and of those in
// the store at the start; nothing is kept of it elsewhere. Every workspace has its
// own.
type nearby struct {
	states  store.Store
	clock   clock.Clock
	log     *slog.Logger
	maxAge  time.Duration
	heatMin int
	machine situate.Machine

	mu       sync.RWMutex
	by       map[string]*liveDevices // workspace
	skipped  int                     // states that could not be read at the start
	skippedE error                   // why, of the first
}

// liveDevices of one workspace.
type liveDevices struct {
	geo.Nearby[liveDevice]

	heatMu sync.Mutex
	heat   *geo.Heat
	heatAt time.Time
}

// liveDevice is what is kept of an install besides its position: little, since
// there may be a million.
type liveDevice struct {
	profile             string
	platform, lifecycle unique.Handle[string]
	places              []string
	accuracyM           float32
}

// heatEvery is how old a heat map may be: all questions within that time are
// answered from one, so that they cost little together, and so that who asks
// twice cannot watch a single person go from cell to cell.
const heatEvery = 15 * time.Second

// usual are the words that nearly all devices have: their handles need not be looked
// for at every fix.
var usual = [...]unique.Handle[string]{
	unique.Make("android"), unique.Make("ios"), unique.Make("web"), unique.Make("foreground"), unique.Make("background"),
}

func handleOf(word string) unique.Handle[string] {
	for _, h := range usual {
		if h.Value() == word {
			return h
		}
	}
	return unique.Make(word)
}

func newNearby(states store.Store, c config.Live, clock clock.Clock, log *slog.Logger) *nearby {
	return &nearby{
		states: states, clock: clock, log: log, maxAge: time.Duration(c.MaxAgeS) * time.Second, heatMin: c.HeatMin,
		by: map[string]*liveDevices{},
	}
}

// observe is a partition's Observe. It takes no lock that a question holds for
// long: an update within a cell of geo.Nearby waits for nobody, one into another
// cell for the question that is being answered.
func (n *nearby) observe(key string, s engage.State) {
	install, ok := strings.CutPrefix(engage.IDOf(key), "i:")
	if !ok {
		return
	}
	in, _ := s.(*situate.Install) // nil: it was deleted
	n.take(engage.WorkspaceOf(key), install, in)
}

// take makes what is known of an install what its state says.
func (n *nearby) take(workspace, install string, in *situate.Install) {
	w := n.of(workspace)
	if in == nil || in.Fix == nil || !in.Agrees(engage.ConsentLocationPrecise) || !n.live(in.Fix.At) {
		if w != nil {
			w.Remove(install)
		}
		return
	}
	if w == nil {
		w = n.make(workspace)
	}
	d := liveDevice{
		profile: in.Profile, platform: handleOf(in.Device.Platform), lifecycle: handleOf(in.Device.Lifecycle),
		accuracyM: float32(in.Fix.AccuracyM), places: in.Places(),
	}
	taken, err := w.Update(install, in.Fix.Pos, in.Fix.At, d)
	if !taken && err == nil { // its newest fix is not the one that we know: the state is right
		w.Remove(install)
		_, err = w.Update(install, in.Fix.Pos, in.Fix.At, d)
	}
	if err != nil { // no position on Earth; situate lets none through
		w.Remove(install)
		n.log.Error("live device left out", "workspace", workspace, "install", install, "error", err)
	}
}

// live reports whether a fix of that time is young enough. One from as far in the
// future is of a clock that nobody corrected, and would never grow old.
func (n *nearby) live(at time.Time) bool {
	age := n.clock.Now().Sub(at)
	return age <= n.maxAge && age >= -n.maxAge
}

// of a workspace; nil when nobody there was ever live.
func (n *nearby) of(workspace string) *liveDevices {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.by[workspace]
}

func (n *nearby) make(workspace string) *liveDevices {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.by[workspace]
	if w == nil {
		w = &liveDevices{}
		n.by[strings.Clone(workspace)] = w
	}
	return w
}

// all are those of every workspace.
func (n *nearby) all() []*liveDevices {
	n.mu.RLock()
	defer n.mu.RUnlock()
	out := make([]*liveDevices, 0, len(n.by))
	for _, w := range n.by {
		out = append(out, w)
	}
	return out
}

// seenSlack is how much later than its clock says a fix may have arrived and still
// be looked for in the store: more than the correction of clocks is wrong by.
const seenSlack = 5 * time.Minute

// load reads the live devices from the store, when the partitions are open and do
// not run yet. A state that cannot be read is left out and counted: it is the
// poison of its own install's entries.
func (n *nearby) load(ctx context.Context) error {
	// Times are RFC 3339 in UTC: without its fraction and zone, one sorts before
	// all of that second.
	n.skipped = 0
	since := n.clock.Now().Add(-n.maxAge - seenSlack).UTC().Format("2006-01-02T15:04:05")
	q := store.Query{IDPrefix: "i:", Filter: store.Filter{Path: "device.seen_at", Op: store.Ge, Value: since}}
	err := n.states.Iterate(ctx, "state_in", q, func(d store.Doc) error {
		key := d.Workspace + "/" + d.ID
		s, err := n.machine.Decode(key, d.Body)
		if err != nil {
			if n.skipped++; n.skipped == 1 {
				n.skippedE = fmt.Errorf("%s: %w", key, err)
			}
			return nil
		}
		n.observe(key, s)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read live devices: %w", err)
	}
	if n.skipped > 0 {
		n.log.Error("live devices left out: their states cannot be read", "states", n.skipped, "first", n.skippedE)
	}
	return nil
}

// run forgets who is silent. Questions leave the silent out by themselves: this is
// for the memory.
func (n *nearby) run(ctx context.Context) error {
	every := max(n.maxAge/4, 10*time.Second)
	for {
		due, stop := n.clock.At(n.clock.Now().Add(every))
		select {
		case <-due:
		case <-ctx.Done():
			stop()
			return nil
		}
		for _, w := range n.all() {
			w.Expire(n.clock.Now().Add(-n.maxAge))
			w.forgetHeat(n.clock.Now())
		}
	}
}

// forgetHeat lets a map go that is not asked for any more.
func (w *liveDevices) forgetHeat(now time.Time) {
	w.heatMu.Lock()
	defer w.heatMu.Unlock()
	if now.Sub(w.heatAt) >= heatEvery {
		w.heat = nil
	}
}

// devices is how many are known, of all workspaces.
func (n *nearby) devices() int {
	sum := 0
	for _, w := range n.all() {
		sum += w.Len()
	}
	return sum
}

// Nearest implements api.Nearby.
func (n *nearby) Nearest(workspace string, p geo.Point, radiusM float64, limit int) ([]api.NearDevice, bool) {
	w := n.of(workspace)
	if w == nil {
		return nil, false
	}
	found, more := w.Nearest(p, radiusM, n.clock.Now().Add(-n.maxAge), limit, nil)
	out := make([]api.NearDevice, len(found))
	for i, x := range found {
		out[i] = api.NearDevice{
			Install: x.ID, Profile: x.Value.profile, Platform: x.Value.platform.Value(), Lifecycle: x.Value.lifecycle.Value(),
			DistanceM: x.DistanceM, AccuracyM: float64(x.Value.accuracyM), At: x.At, Places: x.Value.places,
		}
	}
	return out, more
}

// Heat implements api.Nearby.
func (n *nearby) Heat(workspace string) (*geo.Heat, time.Time, error) {
	w := n.of(workspace)
	if w == nil {
		w = &liveDevices{} // empty, and gone when it has been shown
	}
	w.heatMu.Lock()
	defer w.heatMu.Unlock()
	now := n.clock.Now()
	if w.heat == nil || now.Sub(w.heatAt) >= heatEvery {
		h, err := w.Heat(now.Add(-n.maxAge), n.heatMin)
		if err != nil {
			return nil, time.Time{}, err
		}
		w.heat, w.heatAt = h, now
	}
	return w.heat, w.heatAt, nil
}

// MaxAge implements api.Nearby.
func (n *nearby) MaxAge() time.Duration { return n.maxAge }

// profilesAtOnce bounds one question to the store.
const profilesAtOnce = 200

// ProfilesByID implements api.Nearby.
func (n *nearby) ProfilesByID(ctx context.Context, workspace string, ids []string) (map[string]json.RawMessage, error) {
	out := make(map[string]json.RawMessage, len(ids))
	for part := range slices.Chunk(ids, profilesAtOnce) {
		keys := make([]string, len(part))
		for i, id := range part {
			keys[i] = "p:" + id
		}
		q := store.Query{Workspace: workspace, Filter: store.Filter{Path: "_id", Op: store.In, Value: keys}, Limit: len(keys)}
		found, err := n.states.Find(ctx, "state_act", q)
		if err != nil {
			return nil, fmt.Errorf("read profiles: %w", err)
		}
		for _, d := range found.Docs {
			out[strings.TrimPrefix(d.ID, "p:")] = d.Body
		}
	}
	return out, nil
}
