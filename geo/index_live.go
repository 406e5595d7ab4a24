package geo

import (
	"slices"
	"sync"
	"sync/atomic"
)

// mergeMax is up to how many fences With merges by itself: more would take it
// longer than a lookup may wait behind it on a busy machine.
const mergeMax = 512

// With returns an index with the fences of put, in place of those of the same
// ids, and without those of remove; an id that is not there is removed already.
// x is as before. What stands in both put and remove is put.
//
// It takes some 10 µs and 3 µs a circle of put, 1 µs for every 64,000 fences
// where one of them goes, and in one of 256 cases a few milliseconds for merging
// what was added lately. The errors are those of NewIndex.
func (x *Index) With(put []Fence, remove []string) (*Index, error) {
	added, err := newPart(put)
	if err != nil {
		return nil, err
	}
	next := &Index{parts: slices.Clone(x.parts), n: x.n}
	own := make([]bool, len(next.parts)) // parts whose gone is not x's any more
	drop := func(id string) {
		at, i, ok := next.get(id)
		if !ok {
			return
		}
		s := &next.parts[at]
		switch {
		case s.gone == nil:
			s.gone = make([]uint64, (len(s.items)+63)/64)
		case !own[at]:
			s.gone = slices.Clone(s.gone)
		}
		own[at] = true
		s.gone[i/64] |= 1 << (i % 64)
		s.left--
		next.n--
	}
	for _, id := range remove {
		drop(id)
	}
	for _, f := range put {
		drop(f.ID)
	}
	next.parts = slices.DeleteFunc(next.parts, func(s share) bool { return s.left == 0 })
	if len(put) == 0 {
		return next, nil
	}
	next.n += len(put)
	// Parts at least double from the last to the first: each fence is merged about
	// as often as the logarithm of mergeMax says.
	fences := len(put)
	from := len(next.parts)
	for from > 0 && next.parts[from-1].left <= fences && next.parts[from-1].left+fences <= mergeMax {
		from--
		fences += next.parts[from].left
	}
	if from < len(next.parts) {
		merged := (&Index{parts: next.parts[from:], n: fences - len(put)}).All()
		if added, err = newPart(append(merged, put...)); err != nil {
			return nil, err
		}
	}
	next.parts = append(next.parts[:from], share{part: added, left: fences})
	return next, nil
}

// Overlay is how much of the index Compact would tidy: the number of fences that
// stand outside the largest part, and of those that are gone but still take place.
func (x *Index) Overlay() int {
	all, largest := 0, 0
	for _, s := range x.parts {
		all += len(s.items)
		largest = max(largest, s.left)
	}
	return all - largest
}

// Compact returns an index of the same fences in one part. It takes as long as
// NewIndex, in the caller's goroutine; x is as before.
func (x *Index) Compact() (*Index, error) {
	if x.Overlay() == 0 {
		return x, nil
	}
	return NewIndex(x.All())
}

// Live holds the newest index while fences come and go: readers never wait,
// writers wait for each other. The zero Live is empty.
type Live struct {
	newest atomic.Pointer[Index]

	mu         sync.Mutex
	compacting bool
	epoch      int      // how often Set was called
	since      []change // what was changed since Compact began
}

type change struct {
	put    []Fence
	remove []string
}

// Index is the newest index. Take it once per lookup, or per batch.
func (l *Live) Index() *Index {
	if x := l.newest.Load(); x != nil {
		return x
	}
	return &Index{}
}

// Set makes x the newest index. What a Compact under way has found is dropped.
func (l *Live) Set(x *Index) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.newest.Store(x)
	l.since, l.compacting = nil, false
	l.epoch++
}

// Change makes an index With put and without remove the newest one; on an error,
// as of With, nothing changes. The slices are the caller's again.
func (l *Live) Change(put []Fence, remove []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	x, err := l.Index().With(put, remove)
	if err != nil {
		return err
	}
	if l.compacting {
		l.since = append(l.since, change{slices.Clone(put), slices.Clone(remove)})
	}
	l.newest.Store(x)
	return nil
}

// Compact tidies the newest index, in the caller's goroutine; what is changed
// meanwhile is kept. A second call meanwhile does nothing. Call it when Overlay
// is a few percent of Len.
func (l *Live) Compact() error {
	l.mu.Lock()
	if l.compacting {
		l.mu.Unlock()
		return nil
	}
	l.compacting = true
	x, epoch := l.Index(), l.epoch
	l.mu.Unlock()
	x, err := x.Compact()
	for {
		l.mu.Lock()
		if l.epoch != epoch {
			l.mu.Unlock()
			return err
		}
		since := l.since
		l.since = nil
		if err == nil && len(since) > fewChanges { // writers need not wait for these
			l.mu.Unlock()
			x, err = x.withAll(since)
			continue
		}
		if err == nil && len(since) > 0 {
			x, err = x.withAll(since)
		}
		if err == nil {
			l.newest.Store(x)
		}
		l.compacting = false
		l.mu.Unlock()
		return err
	}
}

// fewChanges are played again while writers wait.
const fewChanges = 16

// withAll makes the changes one after another, in one step.
func (x *Index) withAll(changes []change) (*Index, error) {
	newest := map[string]Fence{} // without a shape: removed
	for _, c := range changes {
		for _, id := range c.remove {
			newest[id] = Fence{ID: id}
		}
		for _, f := range c.put {
			newest[f.ID] = f
		}
	}
	var put []Fence
	var remove []string
	for id, f := range newest {
		if f.Shape == nil {
			remove = append(remove, id)
		} else {
			put = append(put, f)
		}
	}
	return x.With(put, remove)
}
