package app

import (
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
)

// answers are what the persons that changed last have answered about marketing, as their
// owner has it: a message that was decided just now is permitted or not without asking the
// store, which has the person some time later. An answer is there only while it is the
// newest: whatever becomes of a person passes observe. The zero value is ready.
type answers struct {
	mu     sync.Mutex
	of     map[string]answer // by key
	newest []string          // keys, a ring once there are maxAnswers
	next   int
}

// answer is a person's; withdrawn is zero unless they said no.
type answer struct{ withdrawn time.Time }

// maxAnswers is how many persons are remembered: more than change between a decision and
// its first attempt.
const maxAnswers = 20_000

// observe takes a person's new state; nil forgets the key, which is of another state now.
func (a *answers) observe(key string, p *decide.Person) {
	var now answer
	if p != nil {
		if c, answered := p.Consents.Of(engage.ConsentMarketing); answered && !c.Granted {
			now.withdrawn = c.At
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if p == nil {
		delete(a.of, key)
		return
	}
	if a.of == nil {
		a.of = map[string]answer{}
	}
	if _, known := a.of[key]; !known {
		if len(a.newest) < maxAnswers {
			a.newest = append(a.newest, key)
		} else {
			delete(a.of, a.newest[a.next])
			a.newest[a.next] = key
			a.next = (a.next + 1) % maxAnswers
		}
	}
	a.of[key] = now
}

// find is a person's answer; false when it is not remembered.
func (a *answers) find(key string) (answer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	x, known := a.of[key]
	return x, known
}
