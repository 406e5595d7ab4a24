package decide

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
)

// using is the Machine, and takes units of a limit of one kind of entry, as a gate and a
// decision do in one step, and gives them back of another.
type using struct {
	Machine
	terms engage.LimitTerms
}

type use struct {
	ID    string            `json:"id"`
	N     int64             `json:"n"`
	Codes []engage.PoolCode `json:"codes,omitempty"`
	At    time.Time         `json:"at"`
}

const (
	leaseWS = "acme"
	stock   = "test:stock"
)

func (u *using) Apply(tx engage.Tx, e engage.Entry) error {
	if e.Kind != "use" && e.Kind != "unuse" {
		return u.Machine.Apply(tx, e)
	}
	var x use
	if err := read(e, &x); err != nil {
		return err
	}
	s, err := u.person(tx, e)
	if err != nil {
		return err
	}
	l := limit{ID: stock, Terms: u.terms}
	if e.Kind == "unuse" {
		return s.giveBack(l, x.N, x.Codes)
	}
	a := &attempt{s: s, c: &campaign{}}
	is, err := a.lease(l, x.N)
	if err != nil || !is.there {
		return err
	}
	if x.Codes, err = s.take(l, x.N); err != nil {
		return err
	}
	x.At = e.At
	tx.Record("used", leaseWS, x.ID, x)
	return nil
}

// network is partitions that talk: what one puts out for another arrives in its order,
// but when chance wants.
type network struct {
	*testing.T
	machine *using
	parts   []*steptest.Partition
	ways    map[string][]engage.Entry // "act/0>act/1" -> under way
	dice    *rand.Rand
	now     time.Time
	used    map[string]use // not given back
	n       int
	max     int64 // what the limit allows now
}

func newNetwork(t *testing.T, seed uint64, parts int, terms engage.LimitTerms) *network {
	w := &network{
		T: t, machine: &using{terms: terms}, ways: map[string][]engage.Entry{}, used: map[string]use{},
		dice: rand.New(rand.NewPCG(seed, 3)), now: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC), max: terms.Total, //nolint:gosec // a test's chance
	}
	for i := range parts {
		p := steptest.New(fmt.Sprint("act/", i), w.machine)
		p.Reload = true // as if it died after every entry
		w.parts = append(w.parts, p)
	}
	return w
}

// apply applies an entry in a partition, and looks at what it came to.
func (w *network) apply(i int, e engage.Entry) {
	w.Helper()
	e.At = w.now
	w.check(i, w.parts[i].Apply(e))
}

func (w *network) check(i int, err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
	for _, o := range w.parts[i].Take() {
		to := o.To
		if to == "act" {
			to = fmt.Sprint("act/", engage.PartitionOf(o.Entry.Key, len(w.parts)))
		}
		way := fmt.Sprintf("act/%d>%s", i, to)
		w.ways[way] = append(w.ways[way], o.Entry)
	}
}

// arrive lets one thing that is under way arrive; false when nothing is.
func (w *network) arrive() bool {
	w.Helper()
	names := slices.Sorted(maps.Keys(w.ways))
	if len(names) == 0 {
		return false
	}
	way := names[w.dice.IntN(len(names))]
	e := w.ways[way][0]
	if w.ways[way] = w.ways[way][1:]; len(w.ways[way]) == 0 {
		delete(w.ways, way)
	}
	var from, to int
	if n, _ := fmt.Sscanf(way, "act/%d>act/%d", &from, &to); n != 2 { // by way of who keeps the codes
		var g engage.LeaseGrant
		if err := json.Unmarshal(e.Body, &g); err != nil {
			w.Fatal(err)
		}
		for k := range g.Codes {
			g.Codes[k].Code = fmt.Sprint("CODE", g.Codes[k].N)
		}
		e.Body = mustMarshal(g)
		via := "codes>" + g.Partition
		w.ways[via] = append(w.ways[via], e)
		if n, _ := fmt.Sscanf(way, "codes>act/%d", &to); n != 1 {
			return true
		}
		w.ways[via] = w.ways[via][:len(w.ways[via])-1]
		if len(w.ways[via]) == 0 {
			delete(w.ways, via)
		}
	}
	w.apply(to, e)
	return true
}

func mustMarshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// use has a partition use n units if it may.
func (w *network) use(i int, n int64) bool {
	w.Helper()
	w.n++
	x := use{ID: fmt.Sprint("u", w.n), N: n}
	w.apply(i, engage.Entry{Kind: "use", Key: fmt.Sprintf("%s/p:%d", leaseWS, w.n), Body: mustMarshal(x)})
	body := w.parts[i].Docs("used")[x.ID]
	if body == nil {
		return false
	}
	if err := json.Unmarshal(body, &x); err != nil {
		w.Fatal(err)
	}
	w.used[x.ID] = x
	return true
}

// unuse gives a use back, at whatever partition.
func (w *network) unuse(id string) {
	w.Helper()
	x := w.used[id]
	delete(w.used, id)
	w.apply(w.dice.IntN(len(w.parts)), engage.Entry{Kind: "unuse", Key: leaseWS + "/p:" + id, Body: mustMarshal(x)})
}

func (w *network) sum(of func(use) bool) (n int64) {
	for _, x := range w.used {
		if of(x) {
			n += x.N
		}
	}
	return n
}

// codes of all uses are different ones.
func (w *network) codes() {
	w.Helper()
	seen := map[int64]string{}
	for _, x := range w.used {
		if int64(len(x.Codes)) != x.N {
			w.Fatalf("%d codes of %d units", len(x.Codes), x.N)
		}
		for _, c := range x.Codes {
			if had := seen[c.N]; had != "" || c.Code != fmt.Sprint("CODE", c.N) {
				w.Fatalf("code %+v of %s is %s's, too", c, x.ID, had)
			}
			seen[c.N] = x.ID
		}
	}
}

// pass lets time go by: timers fire.
func (w *network) pass(d time.Duration) {
	w.Helper()
	w.now = w.now.Add(d)
	for i, p := range w.parts {
		w.check(i, p.FireUntil(w.now))
	}
}

func (w *network) settle() {
	w.Helper()
	for w.arrive() {
	}
}

func everything(use) bool { return true }

// Whatever the order in which partitions use, give back, ask and hear, no more is used
// than the limit has; what was given back can be used again, and in the end all of it.
func TestALimitIsNeverExceededAndGivenBackIsUsableAgain(t *testing.T) {
	for seed := range uint64(20) {
		dice := rand.New(rand.NewPCG(seed, 9)) //nolint:gosec // a test's chance
		terms := engage.LimitTerms{Total: 1 + dice.Int64N(60), Version: 1}
		if seed%2 == 1 {
			terms.Pool = "gift"
		}
		w := newNetwork(t, seed, 1+dice.IntN(5), terms)
		used := 0
		for range 400 {
			switch n := dice.IntN(20); {
			case n < 8:
				size := int64(1)
				if terms.Pool == "" {
					size += dice.Int64N(3)
				}
				if w.use(dice.IntN(len(w.parts)), size) {
					used++
				}
			case n < 10 && len(w.used) > 0:
				ids := slices.Sorted(maps.Keys(w.used))
				w.unuse(ids[dice.IntN(len(ids))])
			case n == 10:
				w.pass(time.Duration(dice.IntN(60)) * time.Second)
			default:
				w.arrive()
			}
			if n := w.sum(everything); n > terms.Total {
				t.Fatalf("seed %d: %d of %d used", seed, n, terms.Total)
			}
			if terms.Pool != "" {
				w.codes()
			}
		}
		if used == 0 {
			t.Errorf("seed %d: nothing was ever used: it proves nothing", seed)
		}
		for _, id := range slices.Sorted(maps.Keys(w.used)) {
			w.unuse(id)
		}
		w.settle()
		// One partition alone can use all of it: what the others have comes back by itself.
		for range 40 {
			for w.use(0, 1) {
				w.settle()
			}
			w.settle()
			w.pass(leaseOutFor)
		}
		if n := w.sum(everything); n != terms.Total {
			t.Errorf("seed %d: %d of %d could be used in the end", seed, n, terms.Total)
		}
	}
}

// Lowered below what is used, a limit grants nothing, until as much was given back;
// raised, it grants more.
func TestALimitIsLoweredAndRaised(t *testing.T) {
	w := newNetwork(t, 1, 3, engage.LimitTerms{Total: 40, Version: 1})
	fill := func() {
		for range 20 {
			for i := range w.parts {
				for w.use(i, 1) {
					w.settle()
				}
				w.settle()
			}
			w.pass(leaseOutFor)
			w.settle()
		}
	}
	for range 5 {
		for i := range w.parts {
			w.use(i, 1)
			w.settle()
		}
	}
	had := w.sum(everything)
	w.machine.terms = engage.LimitTerms{Total: 5, Version: 2}
	if w.use(0, 1) { // what is on lease is used until the owner has heard
		had++
	}
	w.settle()
	fill()
	if n := w.sum(everything); n != had || had <= 5 {
		t.Fatalf("%d used, %d had been when it was lowered to 5", n, had)
	}
	for _, id := range slices.Sorted(maps.Keys(w.used))[:had-3] {
		w.unuse(id)
	}
	w.settle()
	w.pass(2 * leaseIdle)
	w.settle()
	if fill(); w.sum(everything) != 5 {
		t.Errorf("%d of 5 used", w.sum(everything))
	}
	w.machine.terms = engage.LimitTerms{Total: 50, Version: 3}
	if fill(); w.sum(everything) != 50 {
		t.Errorf("%d of 50 used", w.sum(everything))
	}
}

// A rate has its units anew in every window, and no more in any.
func TestARateIsHeldInEveryWindow(t *testing.T) {
	every := time.Minute
	for seed := range uint64(10) {
		w := newNetwork(t, seed, 4, engage.LimitTerms{Total: 20, Version: 1, Every: every})
		for range 3000 {
			switch n := w.dice.IntN(20); {
			case n < 8:
				w.use(w.dice.IntN(len(w.parts)), 1)
			case n == 8:
				w.pass(time.Duration(w.dice.IntN(2000)) * time.Millisecond)
			default:
				w.arrive()
			}
		}
		windows := map[int64]int64{}
		for _, x := range w.used {
			windows[x.At.UnixNano()/int64(every)]++
		}
		full := 0
		for at, n := range windows {
			if n > 20 {
				t.Errorf("seed %d: %d in window %d", seed, n, at)
			}
			if n >= 10 {
				full++
			}
		}
		if len(windows) < 2 || full == 0 {
			t.Errorf("seed %d: %v: it proves little", seed, windows)
		}
	}
}
