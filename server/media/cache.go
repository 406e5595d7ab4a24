package media

import (
	"container/list"
	"sync"
)

// cacheBytes of images are kept in memory: a push brings all phones at once.
const cacheBytes = 32 << 20

// cache keeps the images that were asked for last.
type cache struct {
	mu   sync.Mutex
	most int
	size int
	by   map[string]*list.Element
	last *list.List // of *cached, the newest first
}

type cached struct {
	name string
	data []byte
}

func newCache(most int) *cache {
	return &cache{most: most, by: map[string]*list.Element{}, last: list.New()}
}

func (c *cache) get(name string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.by[name]
	if e == nil {
		return nil
	}
	c.last.MoveToFront(e)
	return e.Value.(*cached).data //nolint:forcetypeassert // put put it there
}

func (c *cache) put(name string, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(data) == 0 || len(data) > c.most || c.by[name] != nil {
		return
	}
	c.by[name] = c.last.PushFront(&cached{name, data})
	for c.size += len(data); c.size > c.most; {
		c.drop(c.last.Back())
	}
}

func (c *cache) remove(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.by[name]; e != nil {
		c.drop(e)
	}
}

func (c *cache) drop(e *list.Element) {
	x := c.last.Remove(e).(*cached) //nolint:forcetypeassert // put put it there
	delete(c.by, x.name)
	c.size -= len(x.data)
}
