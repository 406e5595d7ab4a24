package geo

import (
	"slices"
	"sync"
	"sync/atomic"
)

// mergeMax is up to how many fences With merges by itself: more would take it
// longer than a lookup may wait behind it on a busy machine.
const mergeMax = 256

// With returns an index with the fences of put, in place of those of the same
// ids, and without those of remove; an id that is not there is removed already.
// x is as before. What stands in both put and remove is put.
//
// It takes some 10 µs and 4 µs a circle of put, and now and then some hundred
// microseconds for merging what was added lately. The errors are those of NewIndex.
func (x *Index) With(put []Fence, remove []string) (*Index, error) {
	var added *part
	if len(put) > 0 {
		var err error
		if added, err = newPart(put); err != nil {
			return nil, err
		}
	}
	parts, n := slices.Clone(x.parts), x.n
	d := dropper{x: &Index{parts: parts}}
	for _, id := range remove {
		d.drop(id)
	}
	for _, f := range put {
		d.drop(f.ID)
	}
	n -= d.n
	parts = slices.DeleteFunc(parts, func(s share) bool { return s.left == 0 })
	if len(put) == 0 {
		return indexOf(parts, n), nil
	}
	n += len(put)
	// Parts at least double from the last to the first: each fence is merged about
	// as often as the logarithm of mergeMax says.
	fences := len(put)
	from := len(parts)
	for from > 0 && parts[from-1].left <= fences && parts[from-1].left+fences <= mergeMax {
		from--
		fences += parts[from].left
	}
	if from < len(parts) {
		merged := (&Index{parts: parts[from:], n: fences - len(put)}).All()
		var err error
		if added, err = newPart(append(merged, put...)); err != nil {
			return nil, err
		}
	}
	parts = append(parts[:from], share{part: added, left: fences})
	return indexOf(parts, n), nil
}

// dropper takes fences out of an index whose parts are its own, though not yet what
// they share with other indexes.
type dropper struct {
	x   *Index
	own [][]bool // by part and share.gone: copied already
	n   int
}

func (d *dropper) drop(id string) {
	at, i, ok := d.x.get(id)
	if !ok {
		return
	}
	if d.own == nil {
		d.own = make([][]bool, len(d.x.parts))
	}
	s := &d.x.parts[at]
	if d.own[at] == nil {
		pages := (len(s.items) + goneSize - 1) / goneSize
		d.own[at] = make([]bool, pages)
		gone := make([]*goneBits, pages)
		copy(gone, s.gone)
		s.gone = gone
	}
	page := i / goneSize
	if !d.own[at][page] {
		d.own[at][page] = true
		var bits goneBits
		if s.gone[page] != nil {
			bits = *s.gone[page]
		}
		s.gone[page] = &bits
	}
	s.gone[page][i%goneSize/64] |= 1 << (i % 64)
	s.left--
	d.n++
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
