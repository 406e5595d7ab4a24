package partition

import (
	"sync/atomic"

	"github.com/footfall-engage/footfall/server/engage"
)

// cache has the states that are in memory: all that changed since the last save, and of
// the others what there is room for. A nil state says that there is none.
type cache struct {
	all         map[string]held
	count, size atomic.Int64 // read by Stats
}

type held struct {
	state engage.State
	bytes int64 // see weigh
}

func newCache() cache { return cache{all: map[string]held{}} }

const (
	// newBytes is what a state is taken for that was never encoded.
	newBytes = 1 << 10
	// docBytes is what a document is taken for, beside the data that it carries.
	docBytes = 512
)

// weigh is what a state counts for: its length when encoded, and what the cache has around
// it.
func weigh(key string, encoded int) int64 { return int64(encoded + len(key) + 64) }

// bytesOf is what a document counts for.
func bytesOf(doc any) int64 {
	if t, is := doc.(engage.TimelineEntry); is {
		return docBytes + int64(len(t.Data))
	}
	return docBytes
}

func (c *cache) get(key string) (s engage.State, known bool) {
	h, known := c.all[key]
	return h.state, known
}

// put keeps a state of so many bytes.
func (c *cache) put(key string, s engage.State, encoded int) {
	n := weigh(key, encoded)
	c.size.Add(n - c.all[key].bytes)
	c.all[key] = held{s, n}
	c.count.Store(int64(len(c.all)))
}

// change keeps a state whose length is not known yet: it is taken to be that of the one
// before it. The answer is what it counts for.
func (c *cache) change(key string, s engage.State) int64 {
	h, known := c.all[key]
	if !known || h.state == nil && s != nil {
		c.put(key, s, newBytes)
		return weigh(key, newBytes)
	}
	c.all[key] = held{s, h.bytes}
	return h.bytes
}

// measured takes note of the length that a state had when it was saved.
func (c *cache) measured(key string, encoded int) {
	if h, known := c.all[key]; known && h.state != nil {
		c.put(key, h.state, encoded)
	}
}

func (c *cache) drop(key string) {
	c.size.Add(-c.all[key].bytes)
	delete(c.all, key)
	c.count.Store(int64(len(c.all)))
}

// muchPending reports whether so much has changed that the loop should wait for a save.
func (p *Partition) muchPending() bool {
	return p.pending > p.o.MaxStateBytes/2 || len(p.dirty)+len(p.writes) > p.o.MaxStates
}

// evict forgets clean states when there are too many, after a save. Which ones does not
// matter to any result.
func (p *Partition) evict() {
	for key, n := range p.sizes {
		p.states.measured(key, n)
	}
	p.sizes = nil
	for key := range p.states.all {
		if len(p.states.all) <= p.o.MaxStates && p.states.size.Load() <= p.o.MaxStateBytes {
			return
		}
		if _, changed := p.dirty[key]; !changed {
			p.states.drop(key)
		}
	}
}
