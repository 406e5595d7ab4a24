package lab

import (
	"sync/atomic"
	"time"
)

// Load has the phones send items at a rate, instead of what walking brings: nine
// fixes within 20 m of home and then an event, from all phones in turn, on their
// sockets. Everybody agrees to foreground positions, nobody leaves the network.
type Load struct {
	Rate   float64 // items per second, of all phones together; 0: they only stay connected
	Phones int     // the first so many of the town's people take part; 0 means all
}

func (l *Load) validate(people int) error {
	switch {
	case !(l.Rate >= 0 && l.Rate <= 10_000_000):
		return errorf("load.rate", "must be 0 to 10000000, is %v", l.Rate)
	case l.Phones < 0 || l.Phones > people:
		return errorf("load.phones", "must be 0 to the town's %d people, is %d", people, l.Phones)
	}
	return nil
}

const (
	loadTick    = 5 * time.Millisecond
	loadBacklog = 1000 // items that may wait on one phone
)

// load is how far the load has come.
type load struct {
	begin time.Time
	done  int // items sent or held back
	held  atomic.Int64
}

func (l *load) heldBack() int { return int(l.held.Load()) }

func (c *Crowd) startLoad() {
	c.load.begin = time.Now()
	c.pumpLoad()
}

// pumpLoad sends what is due. What a phone with a long queue should have sent is
// not sent later: it is counted as held.
func (c *Crowd) pumpLoad() {
	if c.settling() {
		return
	}
	due := int(time.Since(c.load.begin).Seconds() * c.opts.Load.Rate)
	for ; c.load.done < due; c.load.done++ {
		n := c.load.done
		p := c.order[n%len(c.order)]
		if p.client.Pending() >= loadBacklog {
			c.load.held.Add(1)
			continue
		}
		if turn := n / len(c.order); turn%10 == 9 {
			p.track("product_viewed", map[string]any{"category": "fashion", "turn": turn})
		} else {
			w := p.where // nobody moves under load
			w.Activity, w.SpeedMps = Walking, 0
			p.client.Fix(p.gps.fix(w, p.person.Precision), time.Time{})
		}
	}
	c.agenda.after(loadTick, c.pumpLoad)
}
