package ingest

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/server/engage"
)

const (
	// longestWait is the most that a phone is told to wait because of the log or
	// of the crowd, and longestLeast what the log's silence alone adds to it.
	longestWait  = time.Minute
	longestLeast = 10 * time.Second
	// entryOverhead is about what an entry takes in memory beside its body.
	entryOverhead = 256
)

// LogHealth is how the log answers the gateway.
type LogHealth struct {
	Waiting int   // appends that the log has taken and not answered
	Bytes   int64 // about what their entries take in memory
	// Silent is how long the log has answered nothing to the slot of keys that has
	// waited longest; 0 when nothing waits.
	Silent time.Duration
	// Stalled is in how many slots (of engage.Slots) it has been silent for
	// Limits.StallAfter: their phones are told to wait. 0 means that all are served.
	Stalled int
}

// LogHealth tells whether the log answers, for readiness and metrics.
func (g *Gateway) LogHealth() LogHealth {
	h := LogHealth{Bytes: g.stalls.bytes.Load()}
	now := g.o.Clock.Now()
	for i := range g.stalls.slots {
		waiting, silent, stalled := g.stalls.slots[i].look(now)
		h.Waiting += waiting
		h.Silent = max(h.Silent, silent)
		if stalled {
			h.Stalled++
		}
	}
	return h
}

// stalls watches whether the log answers. It does so per slot of keys: the
// appends of a slot go to one partition in order, so a slot in which nothing has
// been answered for long has a partition that does not answer, whatever the
// others do.
type stalls struct {
	after time.Duration
	most  int64 // bytes

	bytes atomic.Int64
	slots [engage.Slots]slot
}

// slot is what waits for the log among the installs of one slot.
type slot struct {
	stalled atomic.Bool // nothing was answered for too long

	mu      sync.Mutex
	waiting int
	since   time.Time     // of the last answer, or since something waits
	alarm   chan struct{} // closed when it stalls; nil when nobody listens
}

// depart counts an append in.
func (x *stalls) depart(s *slot, size int64, now time.Time) {
	x.bytes.Add(size)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == 0 {
		s.since = now
	}
	s.waiting++
}

// listen is a channel that is closed when the slot stalls, at once if it has.
func (x *stalls) listen(s *slot) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alarm == nil {
		s.alarm = make(chan struct{})
		if s.stalled.Load() {
			close(s.alarm)
		}
	}
	return s.alarm
}

// arrive counts it out. Answered is false for one that the log did not take.
func (x *stalls) arrive(s *slot, size int64, answered bool, now time.Time) {
	x.bytes.Add(-size)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
	if answered {
		s.since = now
	}
	if answered || s.waiting == 0 {
		if s.stalled.Swap(false) {
			s.alarm = nil
		}
	}
}

// check declares the slot stalled when it is time.
func (s *slot) check(now time.Time, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == 0 || s.stalled.Load() || now.Sub(s.since) < after {
		return
	}
	s.stalled.Store(true)
	if s.alarm != nil {
		close(s.alarm)
	}
}

func (s *slot) look(now time.Time) (waiting int, silent time.Duration, stalled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting > 0 {
		silent = max(0, now.Sub(s.since))
	}
	return s.waiting, silent, s.stalled.Load()
}

// watch looks at the log once a tick: it declares stalls, and tells the phones
// whose batches wait in one to send nothing more.
func (g *Gateway) watch(wasStalled bool) (isStalled bool) {
	now := g.o.Clock.Now()
	for i := range g.stalls.slots {
		s := &g.stalls.slots[i]
		s.check(now, g.stalls.after)
		isStalled = isStalled || s.stalled.Load()
	}
	switch {
	case isStalled && !wasStalled:
		h := g.LogHealth()
		g.log.Warn("the log does not answer: phones are told to wait",
			"waiting", h.Waiting, "bytes", h.Bytes, "silent", h.Silent, "slots", h.Stalled)
	case !isStalled && wasStalled:
		g.log.Info("the log answers again")
	}
	if isStalled {
		for _, s := range g.sessions.all() {
			s.tellToWait(now)
		}
	}
	return isStalled
}

// mayTake refuses what the log could not take now, before anything is spent on
// it: an error that tells when to come again.
func (g *Gateway) mayTake(s *slot) *sdkproto.Error {
	if s.stalled.Load() {
		return g.silent(s)
	}
	if g.stalls.bytes.Load() > g.stalls.most {
		g.metrics.waits.WithLabelValues("busy").Inc()
		return g.busy("too much waits for the log")
	}
	return nil
}

// silent is the answer while the log does not answer.
func (g *Gateway) silent(s *slot) *sdkproto.Error {
	e := sdkproto.Errorf(sdkproto.ErrInternal, "", "the log does not answer")
	e.RetryAfter = g.patience(s)
	g.metrics.waits.WithLabelValues("stalled").Inc()
	return e
}

// patience is how long to leave the log alone: the longer it has been silent,
// the longer.
func (g *Gateway) patience(s *slot) time.Duration {
	_, silent, _ := s.look(g.o.Clock.Now())
	return g.returns.wait(g.o.Clock.Now(), min(silent/4, longestLeast))
}

// append hands entries of an install to the log. Unless it returns an error,
// landed is called once, when they are durable or the log failed; stalled is
// closed if the log stops answering before.
func (g *Gateway) append(in *install, entries []engage.Entry, landed func(error)) (stalled <-chan struct{}, err error) {
	size := sizeOf(entries)
	now := g.o.Clock.Now()
	err = g.hand(in, entries, size, now, func(err error) {
		g.stalls.arrive(in.slot, size, err == nil, g.o.Clock.Now())
		landed(err)
	})
	if err != nil {
		return nil, err
	}
	return g.stalls.listen(in.slot), nil
}

// hand is append for who counts the answer in: whoever gives landed calls
// stalls.arrive with the size, unless an error is returned.
func (g *Gateway) hand(in *install, entries []engage.Entry, size int64, now time.Time, landed func(error)) error {
	g.stalls.depart(in.slot, size, now)
	err := g.o.Log.AppendAsync(in.key.workspace, in.key.install, entries, landed)
	if err != nil {
		g.stalls.arrive(in.slot, size, false, now)
	}
	return err
}

// sizeOf is about what entries take in memory.
func sizeOf(entries []engage.Entry) (size int64) {
	for i := range entries {
		size += entryOverhead + int64(len(entries[i].Body))
	}
	return size
}

// await waits for the log's answer, but not for longer than it makes sense: when
// the log has stopped answering or ctx has ended the entries may land yet, and
// whoever sent them sends them again.
func (g *Gateway) await(ctx context.Context, in *install, landed <-chan error, stalled <-chan struct{}) error {
	select {
	case err := <-landed:
		return err
	case <-stalled:
	case <-ctx.Done():
	}
	select {
	case err := <-landed: // at the same moment
		return err
	default:
		return g.silent(in.slot)
	}
}

// returns gives out the times at which those who are told to wait may come
// again, so that a crowd comes one after the other and not in the same moment.
type returns struct {
	least time.Duration
	every time.Duration // between two of them

	mu   sync.Mutex
	next time.Time // not given out yet
}

// wait is how long the next in line waits, in whole milliseconds: at least the
// larger of the two leasts, and up to as much again by chance.
func (r *returns) wait(now time.Time, least time.Duration) time.Duration {
	least = max(least, r.least)
	jitter := time.Duration(rand.Int64N(int64(least))) //nolint:gosec // no secret: it spreads phones
	r.mu.Lock()
	at := now.Add(least)
	if r.next.After(at) {
		at = r.next
	}
	d := at.Sub(now)
	if d > longestWait { // a crowd that long is spread by chance alone
		d = longestWait/2 + time.Duration(rand.Int64N(int64(longestWait/2))) //nolint:gosec // as above
		jitter = 0
	} else {
		r.next = at.Add(r.every)
	}
	r.mu.Unlock()
	return (d + jitter + time.Millisecond - 1).Truncate(time.Millisecond)
}
