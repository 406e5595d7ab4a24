// Package simtoken is the grammar of the device tokens by which the provider
// simulators choose an outcome, so that FCM's and APNs' read alike.
package simtoken

import (
	"strconv"
	"strings"
	"sync"
)

// Split takes a token apart: "outage-3-ada" is kind "outage", times 3, name
// "ada"; "outage-ada" has times 0, which means every time. A token without a
// hyphen has no kind.
func Split(token string) (kind string, times int, name string) {
	kind, name, ok := strings.Cut(token, "-")
	if !ok {
		return "", 0, token
	}
	if n, rest, ok := strings.Cut(name, "-"); ok {
		if v, err := strconv.Atoi(n); err == nil && v > 0 {
			return kind, v, rest
		}
	}
	return kind, 0, name
}

// Join is the inverse of Split; times 0 is left out.
func Join(kind string, times int, name string) string {
	if times > 0 {
		return kind + "-" + strconv.Itoa(times) + "-" + name
	}
	return kind + "-" + name
}

// Counter counts the uses of tokens. The zero value is ready; it is safe for
// concurrent use.
type Counter struct {
	mu sync.Mutex
	n  map[string]int
}

// Next counts one use of the token and returns how many there have been, 1 for
// the first.
func (c *Counter) Next(token string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[string]int)
	}
	c.n[token]++
	return c.n[token]
}
