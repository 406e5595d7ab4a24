package partition_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/store"
)

// memStore is the store's contract as far as a partition needs it, in memory: a
// "crash" of a partition loses nothing that was applied.
type memStore struct {
	mu   sync.Mutex
	docs map[string]map[store.Key]store.Doc
}

func newMemStore() *memStore { return &memStore{docs: map[string]map[store.Key]store.Doc{}} }

func (m *memStore) Get(_ context.Context, collection string, key store.Key) (store.Doc, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.docs[collection][key]
	if !ok {
		return store.Doc{}, store.ErrNotFound
	}
	return d, nil
}

func (m *memStore) Iterate(_ context.Context, collection string, q store.Query, f func(store.Doc) error) error {
	m.mu.Lock()
	docs := slices.SortedFunc(maps.Values(m.docs[collection]), func(a, b store.Doc) int {
		if c := strings.Compare(a.Workspace, b.Workspace); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	m.mu.Unlock()
	for _, d := range docs {
		if (q.Workspace == "" || d.Workspace == q.Workspace) && strings.HasPrefix(d.ID, q.IDPrefix) {
			if err := f(d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *memStore) Apply(ctx context.Context, b store.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range b.Puts {
		if is := m.docs[p.Collection][p.Key].Version; p.If != store.AnyVersion && p.If != is {
			return fmt.Errorf("%w: %s has %d, not %d", store.ErrVersion, p.ID, is, p.If)
		}
	}
	for _, p := range b.Puts {
		if m.docs[p.Collection] == nil {
			m.docs[p.Collection] = map[store.Key]store.Doc{}
		}
		m.docs[p.Collection][p.Key] = store.Doc{Key: p.Key, Version: m.docs[p.Collection][p.Key].Version + 1, Body: slices.Clone(p.Body)}
	}
	for _, d := range b.Deletes {
		delete(m.docs[d.Collection], d.Key)
	}
	return nil
}

// dump is the content of the collections, for comparison.
func (m *memStore) dump(collections ...string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	for _, c := range collections {
		keys := slices.SortedFunc(maps.Keys(m.docs[c]), func(a, b store.Key) int {
			return strings.Compare(a.Workspace+"/"+a.ID, b.Workspace+"/"+b.ID)
		})
		for _, k := range keys {
			fmt.Fprintf(&b, "%s %s %s\n", c, k, m.docs[c][k].Body)
		}
	}
	return b.String()
}

// chain is a state whose steps do not commute: every entry changes it by a hash
// of all before.
type chain struct {
	V    int    `json:"v"`
	N    int    `json:"n"`
	Hash string `json:"hash"`
}

func (c *chain) Clone() engage.State {
	d := *c
	return &d
}

// CloneOver makes chains live in one another's old memory, in all tests of the loop.
func (c *chain) CloneOver(old engage.State) engage.State {
	d, _ := old.(*chain)
	if d == nil {
		return c.Clone()
	}
	*d = *c
	return d
}

func (c *chain) Encode() ([]byte, error) { return json.Marshal(c) }

// chainMachine folds entries into chains, puts out every third value with the
// configuration in force, sets and moves timers, writes documents and chokes on
// "poison".
type chainMachine struct {
	twist string // another build's other behaviour
}

func (m chainMachine) Decode(_ string, body []byte) (engage.State, error) {
	c := &chain{}
	return c, json.Unmarshal(body, c)
}

func (m chainMachine) Apply(tx engage.Tx, e engage.Entry) error {
	st, err := tx.Edit(e.Key)
	if err != nil {
		return err
	}
	c, _ := st.(*chain)
	if c == nil {
		c = &chain{V: 1}
		tx.Put(e.Key, c)
	}
	c.N++
	sum := sha256.Sum256([]byte(c.Hash + string(e.Kind) + string(e.Body) + m.twist))
	c.Hash = fmt.Sprintf("%x", sum[:6])
	if string(e.Body) == "poison" {
		return errors.New("cannot digest it")
	}
	if string(e.Body) == "panic" {
		panic("choked")
	}
	config, rev := tx.Config()
	if c.N%3 == 0 || e.Kind == engage.KindTimer {
		tx.Emit("next", engage.Entry{
			Kind: "value", Key: "w/p:" + c.Hash[:1], Body: fmt.Appendf(nil, "%s %v %d %s", c.Hash, config, rev, tx.Position().Partition),
		})
	}
	if c.N%7 == 1 {
		tx.SetTimer(e.Key, "t", e.At.Add(time.Minute), []byte(c.Hash))
	}
	if c.N%11 == 0 {
		tx.ClearTimer(e.Key, "t")
	}
	if c.N%5 == 0 {
		tx.Record("docs", "w", engage.IDOf(e.Key), map[string]any{"hash": c.Hash, "at": e.At})
	}
	return nil
}

// receiver is the next stage: per destination it keeps what takes effect, by the
// high-water mark of each source, as a partition does.
type receiver struct {
	mu    sync.Mutex
	n     int // destinations
	marks map[string]engage.Source
	got   map[string][]engage.Entry
	seen  int
	fail  func() error
}

func newReceiver(n int) *receiver {
	return &receiver{n: n, marks: map[string]engage.Source{}, got: map[string][]engage.Entry{}}
}

func (r *receiver) Route(to, key string) string {
	return fmt.Sprintf("%s/%d", to, engage.PartitionOf(key, r.n))
}

func (r *receiver) Deliver(_ context.Context, dest string, entries []engage.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		if err := r.fail(); err != nil {
			return err
		}
	}
	for _, e := range entries {
		r.seen++
		k := dest + "<" + e.From.Partition
		if e.From.After(r.marks[k]) {
			r.marks[k] = e.From
			r.got[dest] = append(r.got[dest], e)
		}
	}
	return nil
}

// bytes of all that took effect, per destination in order.
func (r *receiver) bytes() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]string{}
	for dest, es := range r.got {
		out[dest] = string(engage.EncodeRecord(es))
	}
	return out
}

func (r *receiver) bodies() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, es := range r.got {
		for _, e := range es {
			out = append(out, string(e.Body))
		}
	}
	slices.Sort(out)
	return out
}

// configs gives every revision a value.
type configs struct {
	mu      sync.Mutex
	latest  uint64
	changed chan struct{}
}

func newConfigs() *configs { return &configs{changed: make(chan struct{})} }

func (c *configs) Latest() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latest
}

func (c *configs) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *configs) At(_ context.Context, rev uint64) (any, error) {
	return fmt.Sprintf("config-%d", rev), nil
}

func (c *configs) set(rev uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = rev
	close(c.changed)
	c.changed = make(chan struct{})
}

// world is what survives a crash: log, stores, and what the receiver took.
type world struct {
	t      testing.TB
	log    eventlog.Log
	hot    *memStore
	states *memStore
	next   *receiver
	clock  *clock.Manual
	config *configs
	o      partition.Options
}

var start = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

func newWorld(t testing.TB, mode partition.Mode) *world {
	log, err := eventlog.OpenEmbedded(t.Context(), eventlog.EmbeddedOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, log: log, hot: newMemStore(), states: newMemStore(), next: newReceiver(2), clock: clock.NewManual(start), config: newConfigs()}
	w.o = partition.Options{
		Kind: "in", Mode: mode, Log: log, Hot: w.hot, States: w.states, Machine: chainMachine{},
		Configs: w.config, Router: w.next, Clock: w.clock, Build: "one", CheckpointEvery: 200 * time.Microsecond, MaxBatch: 7,
	}
	return w
}

// fill appends records straight to the first incarnation's stream, so that every
// run finds the very same log.
func (w *world) fill(records [][]engage.Entry) {
	s, err := w.log.Open(w.t.Context(), "IN_0", "in.0.>")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range records {
		if _, err := s.Append(w.t.Context(), "in.0.w", engage.EncodeRecord(r), -1); err != nil {
			w.t.Fatal(err)
		}
	}
}

// running is a partition under way.
type running struct {
	*partition.Partition
	t    testing.TB
	stop context.CancelFunc
	done chan error
}

func (w *world) open(o partition.Options) *running {
	w.t.Helper()
	p, err := partition.Open(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.run(p)
}

func (w *world) run(p *partition.Partition) *running {
	ctx, cancel := context.WithCancel(w.t.Context())
	r := &running{p, w.t, cancel, make(chan error, 1)}
	go func() { r.done <- p.Run(ctx) }()
	return r
}

// settle waits until the partition is idle or has stopped, and reports whether it
// is idle.
func (r *running) settle() bool {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	idle := 0
	for {
		select {
		case err := <-r.done:
			r.done <- err
			return false
		case <-deadline:
			r.t.Fatalf("the partition does not come to rest: %+v", r.Stats())
		case <-poll.C:
			select {
			case <-r.Ready():
				if r.Idle() {
					if idle++; idle > 2 {
						return true
					}
					continue
				}
			default:
			}
			idle = 0
		}
	}
}

// stopped waits until it has stopped by itself.
func (r *running) stopped() { r.t.Logf("stopped: %v", <-r.done) }

// end stops it as an operator would and returns what Run returned.
func (r *running) end() error {
	r.stop()
	return <-r.done
}

var errCrash = errors.New("crash")

// crashAt is a Fault that crashes at the n-th visit (from 1) of a point.
func crashAt(point string, n int) func(string) error {
	var mu sync.Mutex
	return func(p string) error {
		mu.Lock()
		defer mu.Unlock()
		if p != point {
			return nil
		}
		n--
		if n == 0 {
			return errCrash
		}
		return nil
	}
}
