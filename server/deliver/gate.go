package deliver

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/engage"
)

const (
	page       = 256         // records fetched at a time
	maxTelling = 2048        // outcomes being told, or written to be
	afterError = time.Second // until the ledger is asked again after an error

	// bulkTurn is how many live messages go before one of the bulk lane, while both wait.
	bulkTurn = 16
	// bulkShare is the part of the slots that the bulk lane leaves alone, so that a live
	// message finds one free however slow the provider is: 1/bulkShare.
	bulkShare = 8
)

// gate is what deliveries pass one after the other: a push credential, the telling of
// outcomes, the timer. It is what is in memory of their lanes. Deliverer.mu guards it.
type gate struct {
	name       string            // "timer", "tell", "push/<provider>/<credential>"
	provider   channels.Provider // of a credential
	credential string
	flows      map[string]*flow // by lane: those in which something waits, as far as is known
	live, bulk class

	max    int // slots
	n      int // of them taken
	window int // while the provider comes back: slots that may be taken; 0 means max
	turns  int // live messages since the last of the bulk lane

	halt                       // of all
	platforms map[string]*halt // of those that were halted
	streak    int              // answers in a row that say that the provider is down
	rate      rate
	devices   devices
	heard     bool // the provider has answered since this process started
	lastError string
	errorAt   time.Time

	wake     chan struct{}
	inFlight prometheus.Gauge
}

// class is one of the two lanes of a credential.
type class struct {
	clock  int64             // the virtual time of the workspace that was served last
	shares map[string]*share // by workspace
	n      int               // slots taken
	noted  int               // of them by attempts whose deliveries are still in their lanes
}

// share of a workspace.
type share struct {
	vt    int64 // what it was served, in messages
	clock int64 // the virtual time of its flow that was served last
	flows int
}

// flow is one lane of the ledger: the messages of one campaign to phones of one
// platform by one credential.
type flow struct {
	lane string
	flowKey
	share *share
	vt    int64
	// next is when the ledger may have something due; zero means that it is not
	// known to have anything.
	next time.Time
	// sweep is when the next of its deliveries expires, as far as is known.
	sweep time.Time
	// ready are due, and were read at readAt, when they were. Only the pump changes it,
	// under mu, and so may read it without.
	ready  []*delivery
	readAt time.Time
	stale  bool // one of ready has changed
	// mark is up to where the lane was read: what it has before is in ready, or under way.
	mark Mark
	back *Mark // while the lane is read: where the mark must not be behind
	// landed are those whose attempts' answers were recorded while the lane is read: what
	// is read of them may be older.
	landed map[key]bool
}

// flowKey says whose messages a flow has.
type flowKey struct {
	bulk                          bool
	platform, workspace, campaign string
}

// halt is that something is paused. After the pause one message probes.
type halt struct {
	since  time.Time // when it was paused first
	until  time.Time
	pauses int  // in a row; 0 when all is well
	down   bool // the provider is: nobody has to act
	hold   time.Time
	reason string
	status int
	n      int // attempts under way at a platform
}

// hold of a delivery by the goroutine that works on it.
type hold struct {
	missed *flow // whose pump passed it by meanwhile
	gate   *gate
	noted  bool // it is under way, and still in its lane
}

// stopped reports until when nothing may pass; zero when something may.
func (h *halt) stopped(now time.Time) time.Time {
	until := h.until
	if h.hold.After(until) {
		until = h.hold
	}
	if now.Before(until) {
		return until
	}
	return time.Time{}
}

// busy reports whether the probe is under way.
func (h *halt) busy() bool { return h.pauses > 0 && h.n > 0 }

// room is the number of free slots. After a pause there is one, for a probe.
func (g *gate) room(now time.Time) int {
	switch {
	case !g.stopped(now).IsZero():
		return 0
	case g.pauses > 0:
		return max(1-g.n, 0)
	}
	most := g.max
	if g.window > 0 {
		most = min(most, g.window)
	}
	return max(most-g.n, 0)
}

// open reports whether the flow's platform lets something pass.
func (g *gate) open(platform string, now time.Time) bool {
	h := g.platforms[platform]
	return h == nil || h.stopped(now).IsZero() && !h.busy()
}

func (f *flow) due(now time.Time) bool {
	return len(f.ready) > 0 || !f.next.IsZero() && !f.next.After(now)
}

// bulkRoom is how many slots the bulk lane may take.
func (g *gate) bulkRoom() int { return g.max - g.max/bulkShare - g.bulk.n }

func (g *gate) class(bulk bool) *class {
	if bulk {
		return &g.bulk
	}
	return &g.live
}

// flow returns the flow of that lane, which is made when it is new.
func (g *gate) flow(lane string, k flowKey) *flow {
	f := g.flows[lane]
	if f == nil {
		c := g.class(k.bulk)
		s := c.shares[k.workspace]
		if s == nil {
			s = &share{vt: c.clock}
			c.shares[k.workspace] = s
		}
		s.flows++
		f = &flow{lane: lane, flowKey: k, share: s, vt: s.clock}
		g.flows[lane] = f
	}
	return f
}

// idle forgets a flow in which nothing waits.
func (g *gate) idle(f *flow) {
	if len(f.ready) > 0 || !f.next.IsZero() {
		return
	}
	delete(g.flows, f.lane)
	if f.share.flows--; f.share.flows == 0 {
		delete(g.class(f.bulk).shares, f.workspace)
	}
}

// serve counts n messages of the flow.
func (g *gate) serve(f *flow, n int64) {
	c := g.class(f.bulk)
	f.share.vt, f.vt = max(f.share.vt, c.clock), max(f.vt, f.share.clock)
	c.clock, f.share.clock = f.share.vt, f.vt
	f.share.vt += n
	f.vt += n
}

// pick says which flows may take how many messages further now. Workspaces take
// turns, and in each of them campaigns do, however much each has waiting.
func (g *gate) pick(now time.Time) map[*flow]int {
	room := min(g.room(now), page)
	if room > 0 && g.rate.limited() {
		room = min(room, int(g.rate.tokens(now)))
	}
	if room == 0 {
		return nil
	}
	var due [2][]*flow
	probing := map[string]bool{} // platforms whose probe is picked
	for _, f := range g.flows {
		if !f.due(now) || !g.open(f.platform, now) {
			continue
		}
		if h := g.platforms[f.platform]; h != nil && h.pauses > 0 {
			if probing[f.platform] {
				continue
			}
			probing[f.platform] = true
		}
		i := 0
		if f.bulk {
			i = 1
		}
		due[i] = append(due[i], f)
	}
	out := map[*flow]int{}
	bulk := min(room, g.bulkRoom())
	for ; room > 0; room-- {
		live, other := g.first(due[0], out), (*flow)(nil)
		if bulk > 0 {
			other = g.first(due[1], out)
		}
		f := live
		switch {
		case live == nil && other == nil:
			return out
		case live == nil, other != nil && g.turns >= bulkTurn:
			f = other
			bulk--
			g.turns = 0
		case other != nil:
			g.turns++
		}
		g.serve(f, 1)
		out[f]++
	}
	return out
}

// first is the flow whose turn it is, of those that are not known to be used up.
func (g *gate) first(due []*flow, out map[*flow]int) *flow {
	var best *flow
	for _, f := range due {
		n := out[f]
		if len(f.ready) > 0 && n >= len(f.ready) || n > 0 && g.probes(f) {
			continue
		}
		c := g.class(f.bulk)
		a, b := max(f.share.vt, c.clock), max(f.vt, f.share.clock)
		if best != nil {
			x, y := max(best.share.vt, c.clock), max(best.vt, best.share.clock)
			if a > x || a == x && b > y || a == x && b == y && f.lane > best.lane {
				continue
			}
		}
		best = f
	}
	return best
}

func (g *gate) probes(f *flow) bool {
	h := g.platforms[f.platform]
	return h != nil && h.pauses > 0
}

// look is when the pump has something to do: zero means when it is woken.
func (g *gate) look(now time.Time) time.Time {
	at := time.Time{}
	stopped := g.stopped(now)
	due, bulk := false, false
	for _, f := range g.flows {
		switch {
		case !stopped.IsZero():
			at = earlier(at, g.sweepOf(f))
		case g.shut(f.platform, now):
			at = earlier(earlier(at, g.sweepOf(f)), g.platforms[f.platform].stopped(now))
		case !g.open(f.platform, now): // its probe is under way
		case !f.due(now):
			at = earlier(at, f.next)
		case f.bulk:
			bulk = true
		default:
			due = true
		}
	}
	if !stopped.IsZero() {
		return earlier(at, stopped)
	}
	if due && g.room(now) > 0 || bulk && min(g.room(now), g.bulkRoom()) > 0 {
		return earlier(at, g.rate.next(now))
	}
	return at
}

// shut reports whether the platform is paused.
func (g *gate) shut(platform string, now time.Time) bool {
	h := g.platforms[platform]
	return h != nil && !h.stopped(now).IsZero()
}

// sweeps are the flows of which nothing can pass now, and in which something may
// have expired.
func (g *gate) sweeps(now time.Time) (out []*flow) {
	all := !g.stopped(now).IsZero()
	for _, f := range g.flows {
		if at := g.sweepOf(f); (all || g.shut(f.platform, now)) && !at.IsZero() && !at.After(now) {
			out = append(out, f)
		}
	}
	return out
}

// sweepOf is when something of the flow expires; zero when that is not to be looked at:
// what is told has expired often enough.
func (g *gate) sweepOf(f *flow) time.Time {
	if g.provider == "" {
		return time.Time{}
	}
	return f.sweep
}

func (g *gate) rouse() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// earlier of two times, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// gateName is that of the credential's gate.
func gateName(provider, credential string) string {
	return lanePush + provider + "/" + escape(credential)
}

// laneName is the lane of a flow of the gate.
func laneName(gate string, k flowKey) string {
	class := "live"
	if k.bulk {
		class = "bulk"
	}
	return gate + "|" + class + "|" + escape(k.platform) + "|" + escape(k.workspace) + "|" + escape(k.campaign)
}

// splitLane is the gate of a lane, and the flow that it is there. Builds until issue 5
// had one lane per credential.
func splitLane(name string) (gate string, k flowKey) {
	parts := strings.Split(name, "|")
	if len(parts) == 5 {
		k = flowKey{parts[1] == "bulk", unescape(parts[2]), unescape(parts[3]), unescape(parts[4])}
	}
	return parts[0], k
}

var escapes, unescapes = strings.NewReplacer("%", "%25", "|", "%7C"), strings.NewReplacer("%7C", "|", "%25", "%")

func escape(s string) string   { return escapes.Replace(s) }
func unescape(s string) string { return unescapes.Replace(s) }

func keyOf(s *engage.Send, platform string) flowKey {
	return flowKey{s.Bulk, platform, s.Workspace, s.Campaign}
}

// gate returns the gate of that name, which is made when it is new.
func (d *Deliverer) gate(name string) *gate {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gateLocked(name)
}

func (d *Deliverer) gateLocked(name string) *gate {
	g := d.gates[name]
	if g == nil {
		g = &gate{
			name: name, max: page, flows: map[string]*flow{}, platforms: map[string]*halt{}, wake: make(chan struct{}, 1),
			live: class{shares: map[string]*share{}}, bulk: class{shares: map[string]*share{}},
			inFlight: d.metrics.inFlight.WithLabelValues(name),
		}
		switch {
		case name == laneTell:
			g.max = maxTelling
		case strings.HasPrefix(name, lanePush):
			provider, credential, _ := strings.Cut(strings.TrimPrefix(name, lanePush), "/")
			g.provider, g.credential = channels.Provider(provider), unescape(credential)
			g.max = d.o.MaxInFlight
			limits := d.o.Limits.of(g.provider)
			g.rate = newRate(limits, d.clock.Now())
			g.devices = newDevices(limits, d.o.Limits.SilentPerHour)
		}
		d.gates[name] = g
		if d.running {
			d.startPump(g)
		}
	}
	return g
}

func (d *Deliverer) startPump(g *gate) {
	d.wg.Go(func() { d.pump(d.pumps, d.flights, g) })
}

// notify says that the lane has a delivery due at that time, and when it expires.
func (d *Deliverer) notify(lane string, due, expires time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name, k := splitLane(lane)
	g := d.gateLocked(name)
	f := g.flow(lane, k)
	if due.IsZero() {
		due = d.clock.Now()
		f.rewind(Mark{})
	} else {
		f.rewind(Mark{Due: due})
	}
	next, sweep := earlier(f.next, due), f.sweep
	if !expires.IsZero() {
		sweep = earlier(f.sweep, expires)
	}
	if !next.Equal(f.next) || !sweep.Equal(f.sweep) {
		f.next, f.sweep = next, sweep
		g.rouse()
	}
}

// ask is what an attempt takes of a gate.
type ask struct {
	flowKey
	lane    string
	device  string // workspace and install
	silent  bool
	collaps bool // a message of a key that others have, too
	// fair does not overtake what waits in the ledger.
	fair bool
	// joined is for those whom Run joins itself: only they get a slot when it ends.
	joined bool
	slots  int // of the sender, where it says; 0 if not

	halt *halt // of the platform, where the attempt counts in it
}

// slot takes a slot of the gate, and with it the right to start one goroutine that
// Run joins. Later says, when there is none because of the device, when it is its turn.
func (d *Deliverer) slot(g *gate, a *ask) (ok bool, later time.Time) {
	now := d.clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running && !a.joined {
		return false, time.Time{}
	}
	if a.slots > 0 {
		g.max = min(a.slots, d.o.MaxInFlight)
	}
	if g.room(now) == 0 || !g.open(a.platform, now) || a.bulk && g.bulkRoom() <= 0 || a.fair && !g.overtakes(a, now) {
		return false, time.Time{}
	}
	if later := g.devices.later(a, now); later.After(now) {
		return false, later
	}
	if !g.rate.take(now) {
		return false, time.Time{}
	}
	g.devices.count(a, now)
	if a.fair { // what the pump takes is counted when it is picked
		if f := g.flows[a.lane]; f != nil {
			g.serve(f, 1)
		}
	}
	g.n++
	g.class(a.bulk).n++
	if a.halt = g.platforms[a.platform]; a.halt != nil {
		a.halt.n++
	}
	g.inFlight.Set(float64(g.n))
	d.wg.Add(1)
	return true, time.Time{}
}

// overtakes reports whether one that has just come may go at once: nothing of its own
// flow waits, and in the bulk lane nothing at all.
func (g *gate) overtakes(a *ask, now time.Time) bool {
	if !a.bulk {
		f := g.flows[a.lane]
		return f == nil || !f.due(now)
	}
	for _, f := range g.flows {
		if f.due(now) {
			return false
		}
	}
	return true
}

// free gives back what slot took.
func (d *Deliverer) free(g *gate, a *ask) {
	d.mu.Lock()
	defer d.mu.Unlock()
	g.n--
	g.class(a.bulk).n--
	if a.halt != nil {
		a.halt.n--
	}
	g.inFlight.Set(float64(g.n))
	if len(g.flows) > 0 {
		g.rouse()
	}
}
