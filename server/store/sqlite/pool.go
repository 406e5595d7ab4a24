package sqlite

import (
	"context"
	"fmt"
	"sync"
)

// pool has the reading connections. Who was used last is lent first: its pages are in
// memory, those of the others fewer the longer they have waited.
type pool struct {
	free chan struct{} // has one for each that is idle
	mu   sync.Mutex
	idle []*conn
}

func newPool() pool { return pool{free: make(chan struct{}, readers)} }

func (p *pool) take(ctx context.Context) (*conn, error) {
	select {
	case <-p.free:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	c := p.idle[last]
	p.idle = p.idle[:last]
	return c, nil
}

func (p *pool) give(c *conn) {
	p.mu.Lock()
	p.idle = append(p.idle, c)
	p.mu.Unlock()
	p.free <- struct{}{}
}

// cacheSize is the pragma for so many KiB of pages.
func cacheSize(kib int) string { return fmt.Sprintf("cache_size=-%d", kib) }
