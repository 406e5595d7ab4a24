// Package deliver brings each message that decide ordered to the person: to an
// open session as an in-app message, else by push through FCM or APNs, else into
// the inbox. It owns a delivery until its end and tells decide how it ended.
//
// # The ledger
//
// Every delivery is one record in the Ledger, and all who want to change it, a
// phone that claims it and deliver that falls back to push, do so by one
// put-if-version: whoever wins decides. The record names the lane in which the
// delivery waits and when it is due there. Lanes are
//
//	timer                          offered in-app, or granted, until its time is over
//	push/<provider>/<credential>|<live or bulk>|<platform>|<workspace>|<campaign>
//	                               waits for a slot at the provider, or to be repeated
//	inflight                       an attempt is recorded, and perhaps made
//	tell                           decide does not know the outcome yet
//	journal                        no delivery's: see below
//
// and none when nothing is left to be done. In memory there is only what is
// under way: at most MaxInFlight attempts per credential, and a few outcomes.
// All else stays in the ledger and is fetched, oldest first, when there is room.
// Accept records a delivery and its first attempt in one write and makes the
// attempt at once if there is a slot; so an undisturbed push costs one write
// before it leaves.
//
// # The journal
//
// Two of the four things that are recorded of a push change nothing but where it stands:
// that an attempt at one that waits in its lane is about to be made, and that its outcome
// is told. They are not written into each delivery's record but for many at once into a
// leaf of the journal, one small record that is written anew when nothing of it holds any
// more, and emptied when there is nothing to write for some seconds, since it names
// installs. The record itself is written once, with attempt, answer and outcome, when the
// answer is there. What a leaf says counts where the record has not gone on since: an
// attempt while its number is above those that the record has, an outcome to be told
// until the process says in the next leaf, or by ending, that it was. A process that
// starts takes up the leaves of those before it, before all else. While an attempt is
// under way its delivery stays in its lane; the lane is read on from where it was read
// last. An attempt is made from a copy of the record that is at most 100 ms old.
//
// # What a push costs
//
// `footfall-lab bench push --pushes 7000` on a virtual machine of 2 cores which other
// machines share (the same build varies by a factor of two from run to run: compare within
// a line): user and system time per push, and the ratio to a bare HTTP/2 loop in the same
// run. Builds of 22 November 2026, before and after documents were looked at more quickly
// (store), the index of lanes became sparse, and headers and leaves were encoded by hand:
// medians of three runs in turn.
//
//	             before         after          wanted
//	APNs   0 ms  144 us  0.44   116 us  0.53   0.85
//	APNs  50 ms  113 us  0.58   136 us  0.60   0.85
//	FCM    0 ms  150 us  0.38   131 us  0.53   0.7
//	FCM   50 ms  147 us  0.75   160 us  0.75   0.7
//
// In those runs the bare loop's own time per push rose with deliver's at 50 ms. On a quiet
// machine one run of 15,000 pushes gave 99 us and 0.58, 141 us and 0.59, 113 us and 0.88,
// 145 us and 0.83. Before the journal, the codec and the senders' own encoding APNs at
// 0 ms had a ratio of 0.32.
//
// Of the CPU at APNs and 0 ms SQLite has 35 % (19 % the one put of each record with its
// indexes, 8 % transactions, 7 % reading the lane), the sender 16 % (HTTP/2 6 %, payload
// 6 %), the codec 11 %, garbage collection 10 %, checking in store that bodies are JSON
// 2 % (it was 5). Groups of 90 records, as at 50 ms, cost no less than those of 15. What
// SQLite's secure_delete costs cannot be told from noise: ON, FAST and OFF in turn, medians
// of three: 150, 127 and 139 us.
//
// # What survives a crash
//
// An attempt is recorded before it is made, in the record or in the journal, so one that is found without an
// answer is ambiguous: it is repeated under the same id, or the delivery fails
// if its campaign says so. An outcome is recorded before it is told, and told
// again until that is recorded too, or, after a crash, while the journal has it; decide
// must take an outcome twice. A record
// stays for at least a day after its end, so that a send that is handed over
// again is recognised.
//
// # Several phones
//
// With PushContent.Devices "all" or "one_per_platform" a delivery goes to several
// phones, one attempt at a time: each phone has its own retries and its own end in the
// record, and one that waits, or whose credential is paused, lets the others go first.
// decide hears once, of the first phone for which a provider took the message; if none
// did, how the last one failed. What is left after the person has seen it, or after its
// expiry, is not sent. Without a policy the message goes to the first phone that
// can be pushed to, and to another only if that one's token is dead.
//
// # The inbox
//
// What is in a person's inbox stands in one record, the head, in which each change
// has the next number: a message came, was read, or is gone (dismissed, expired, one
// more than a hundred). It is written together with the delivery that changes it, on
// its version, so that changes which race follow one another. A phone that keeps the
// inbox asks InboxSince with the cursor of its last answer, and is told what has a
// higher number; no clock is asked but for what has expired. A message that was
// displayed stays, and is read; Inbox, for phones that keep none, has the unread.
//
// A message with an in-app trigger goes there at once, is fetched by all of the person's
// phones with it, and never pushed. The first phone whose moment comes claims it, which
// is recorded; to the same phone it is granted again, so that a lost grant loses nothing,
// and to no other. It stays inboxed until a receipt says that it was displayed, or it
// expires. Whether it is a card besides depends on the campaign's channels.
//
// # Queues
//
// What waits for a credential has a lane per campaign. When a slot is free the lanes
// take turns: workspaces first, then the campaigns of each, however much each has
// waiting; so a million of one do not delay the one of another. The bulk lane (Send.Bulk)
// takes what the live one leaves, but for an eighth of the slots, which stay free for it;
// while both wait, one of seventeen is bulk. A message that has just come goes at once
// if there is a slot and nothing of its own lane waits.
//
// # Rates
//
// Limits bound what a credential and a device are sent. Those of a credential begin anew
// with the process; what a device was sent that is near its limits, or silent, is saved
// every two seconds (Budgets), in few writes however many they are: a crash forgets what
// came after, a stop nothing. When a provider says of a credential that its quota is exceeded
// (status 429), its rate is halved, once a second at most, and grows back by a sixtieth
// of itself per second; when it says Retry-After, nothing is sent until then. What
// it says of a device or a platform holds for that alone. A silent message above
// a device's budget waits, or if that would outlast it, goes the way of messages
// without a device, with the detail silent_budget. Nobody's failures are counted for it.
//
// # Waiting and giving up
//
// A provider that says "not now" is asked again when it said, else after 1 s,
// 2 s, 4 s … 5 min, half of it by chance (a hash of the attempt). After eight
// failures the delivery fails; answers with status 429 do not count, since they
// say nothing of the message: they end with its expiry. An answer that a person
// must act upon (channels.Misconfigured) pauses the credential for one minute,
// then two, up to fifteen; when a pause is over one delivery probes. Other
// credentials do not notice, and where only one platform is concerned, nor do the others
// of the credential. After twenty answers in a row that are errors of the provider's own,
// or none, it counts as down: it is probed after 1 s, 2 s, 4 s … 1 min, and when it is
// back there are ten attempts at once, then one more with each that passes. Expiry is
// judged on the clock before each attempt.
package deliver

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
)

const (
	claimWithin   = 2 * time.Second  // a session must claim; the protocol states it
	receiptWithin = 60 * time.Second // a phone that was granted must have shown
	maxAttempts   = 8                // failures after which a delivery is given up
	maxInbox      = 100              // messages in a person's inbox
)

// Names of lanes.
const (
	laneTimer    = "timer"
	laneInFlight = "inflight"
	laneTell     = "tell"
	lanePush     = "push/" // followed by <provider>/<credential>
)

// Points at which Options.Fault is asked, in the order of a push's life.
const (
	FaultRecorded = "recorded" // a change is in the ledger, nothing has followed from it
	FaultAttempt  = "attempt"  // an attempt is recorded, not made
	FaultMade     = "made"     // an attempt is made, its answer not recorded
	FaultTelling  = "telling"  // an outcome is recorded, not told
	FaultTold     = "told"     // an outcome is told, which is not recorded
)

// Sessions are the open connections of phones.
type Sessions interface {
	// Offer hands the message to the install's open session and reports whether
	// there was one that took it. It must not block.
	Offer(workspace, install string, m *sdkpb.Message) bool
	// InboxChanged says that the inbox of the install's person has changed, other than
	// by expiry: Deliverer.InboxSince has more. It must not block, and may be called
	// for installs that have no session.
	InboxChanged(workspace, install string)
}

// Senders finds the way to a push provider.
type Senders interface {
	// Sender returns the sender of an app for a provider ("fcm", "apns") and the
	// name of its credential: what shares a name shares a queue and a pause. An
	// error of code engage.NotFound or engage.Unsupported says that the app has
	// none; any other that it could not be found out. It is asked before each
	// attempt, so it should be quick.
	Sender(ctx context.Context, workspace, app, provider string) (s channels.Sender, credential string, err error)
}

// Outcomes takes what deliver has to say. All return when it is durable, and
// must take the same twice.
type Outcomes interface {
	Outcome(ctx context.Context, workspace, profile string, o engage.DeliveryOutcome) error
	TokenDead(ctx context.Context, workspace string, t engage.TokenDead) error
	TokenEnvironment(ctx context.Context, workspace string, t engage.TokenEnvironment) error
}

// Permits is asked before each offer, attempt and inboxing whether the person
// may still get the message: consent may have been withdrawn since the decision.
type Permits interface {
	// Permit returns the reason why not; empty means yes. An error is a yes: the
	// decision was one, and another would hold the message up.
	Permit(ctx context.Context, s *engage.Send) (engage.Reason, error)
}

// Owners is asked before each offer, attempt and claim whose a phone is: since the
// decision its person may have logged out, and nothing of theirs may reach the next.
type Owners interface {
	// Owner is the id of the profile whose the install is now. It should be quick. An
	// error means that nobody can tell: the phone is left alone meanwhile.
	Owner(ctx context.Context, workspace, install string) (profile string, err error)
}

// Options of New. Those without a default are required.
type Options struct {
	Ledger      Ledger
	Sessions    Sessions
	Senders     Senders
	Outcomes    Outcomes
	Permits     Permits // nil means that the decision is enough
	Owners      Owners  // nil means that phones stay with whom they were decided for
	Clock       clock.Clock
	Logger      *slog.Logger          // nil logs nothing
	Metrics     prometheus.Registerer // nil registers nothing
	MaxInFlight int                   // attempts under way per credential at most; 0 means 200
	Limits      *Limits               // nil means DefaultLimits
	Budgets     Budgets               // nil: what devices were sent is forgotten with the process
	// Drain is how long, of the machine's time, attempts under way are waited for
	// when Run ends; then they are cut off. 0 means 10 s.
	Drain time.Duration
	// Fault, in tests, is asked at each Fault point; an error there stops
	// everything as a crash would and is returned by Run.
	Fault func(point string) error
}

// Deliverer delivers. It is safe for concurrent use.
type Deliverer struct {
	o       Options
	log     *slog.Logger
	clock   clock.Clock
	metrics *metrics
	process string // names this process in inboxes
	group   group
	journal journal

	mu      sync.Mutex
	ran     bool // Run was called
	running bool // work may begin
	gates   map[string]*gate
	held    map[key]*hold         // deliveries that a goroutine works on
	fresh   map[key]chan struct{} // being accepted; closed when they are in the ledger
	bad     map[key]bool          // records that cannot be read
	stopped error                 // what Fault said: nothing may follow it
	stop    func(error)           // ends Run
	pumps   context.Context       // ends with Run
	flights context.Context       // ends when what Run waits for is cut off
	wg      sync.WaitGroup        // what Run joins; Add only while running
}

// New makes a Deliverer. Run makes it work.
func New(o Options) (*Deliverer, error) {
	for _, need := range []struct {
		field string
		given bool
	}{
		{"ledger", o.Ledger != nil},
		{"sessions", o.Sessions != nil},
		{"senders", o.Senders != nil},
		{"outcomes", o.Outcomes != nil},
		{"clock", o.Clock != nil},
	} {
		if !need.given {
			return nil, engage.Errorf(engage.Invalid, need.field, "is required")
		}
	}
	if o.MaxInFlight < 0 {
		return nil, engage.Errorf(engage.Invalid, "max_in_flight", "must not be negative, is %d", o.MaxInFlight)
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 200
	}
	if o.Limits == nil {
		limits := DefaultLimits()
		o.Limits = &limits
	}
	if err := o.Limits.validate(); err != nil {
		return nil, err
	}
	if o.Drain <= 0 {
		o.Drain = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Deliverer{
		o: o, log: o.Logger, clock: o.Clock, metrics: newMetrics(), process: random(4),
		gates: map[string]*gate{}, held: map[key]*hold{}, fresh: map[key]chan struct{}{}, bad: map[key]bool{},
		journal: journal{idle: make(chan struct{}, 1)},
	}
	if o.Metrics != nil {
		if err := d.metrics.register(o.Metrics); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
		if err := o.Metrics.Register(queues{d}); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return d, nil
}

// Run takes up what an earlier process left, then delivers until ctx ends. It
// returns when everything it started has ended; attempts under way are waited
// for up to Options.Drain, then cut off, which is an ambiguous outcome. It can be
// called once.
func (d *Deliverer) Run(ctx context.Context) error {
	d.mu.Lock()
	if d.ran {
		d.mu.Unlock()
		return engage.Errorf(engage.Conflict, "", "deliver.Run was called before")
	}
	d.ran = true
	d.mu.Unlock()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	flights, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	d.mu.Lock()
	d.stop, d.pumps, d.flights = stop, ctx, flights
	d.mu.Unlock()
	if err := d.recover(ctx); err != nil {
		if ctx.Err() != nil {
			return d.dead()
		}
		return fmt.Errorf("take up deliveries: %w", err)
	}

	if err := d.loadBudgets(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("read what devices were sent: %w", err)
	}
	kept, emptied := d.keepBudgets(ctx), d.keepJournal(ctx)
	d.mu.Lock()
	d.running = true
	for _, g := range d.gates {
		d.startPump(g)
	}
	d.mu.Unlock()
	<-ctx.Done()
	d.mu.Lock()
	d.running = false
	d.mu.Unlock()

	joined := make(chan struct{})
	go func() {
		d.wg.Wait()
		close(joined)
	}()
	grace, end := context.WithTimeout(context.WithoutCancel(ctx), d.o.Drain)
	defer end()
	select {
	case <-joined:
	case <-grace.Done():
		cut()
		<-joined
	}
	<-kept
	<-emptied
	d.finallySaveBudgets(context.WithoutCancel(ctx))
	d.closeJournal(context.WithoutCancel(ctx))
	return d.dead()
}

// recover settles the attempts that an earlier process had under way, and finds
// the lanes that have something to do.
func (d *Deliverer) recover(ctx context.Context) error {
	for {
		found, _, err := d.fetch(ctx, laneInFlight, Mark{}, page)
		if err != nil {
			return fmt.Errorf("read attempts under way: %w", err)
		}
		if len(found) == 0 {
			break
		}
		now := d.clock.Now()
		changes := make([]*change, len(found))
		for i, r := range found {
			d.interrupted(r, now)
			changes[i] = &change{r: r}
		}
		if _, err := d.commit(ctx, changes); err != nil {
			return err
		}
		d.log.InfoContext(ctx, "took up interrupted attempts", "count", len(found))
	}
	if err := d.replay(ctx); err != nil {
		return err
	}
	names, err := d.o.Ledger.Lanes(ctx)
	if err != nil {
		return fmt.Errorf("read lanes: %w", err)
	}
	for _, name := range names {
		if name != laneInFlight && name != laneJournal {
			d.notify(name, time.Time{}, time.Time{})
		}
	}
	return nil
}

// Accept returns when each of the sends is in the ledger, whether now or since
// earlier: the same send given twice is one delivery. Those for which there is
// room are on their way then. It works before Run, too, which then takes them up.
// An error means that some may be in the ledger; give them again.
//
// A send without delivery, workspace or profile can never be delivered. It is
// logged, counted and left out, so that it holds up no other.
func (d *Deliverer) Accept(ctx context.Context, sends []engage.Send) error {
	start := time.Now() //nolint:forbidigo // a metric of latency
	var changes []*change
	var opened []key
	seen := make(map[key]bool, len(sends))
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, k := range opened {
			close(d.fresh[k])
			delete(d.fresh, k)
		}
	}()
	for i := range sends {
		s := &sends[i]
		k := key{s.Workspace, s.Delivery}
		if s.Delivery == "" || s.Workspace == "" || s.Profile == "" {
			d.metrics.refused.Inc()
			d.log.ErrorContext(ctx, "send refused: delivery, workspace or profile is missing",
				"workspace", s.Workspace, "delivery", s.Delivery, "campaign", s.Campaign)
			continue
		}
		if seen[k] {
			continue
		}
		seen[k] = true
		owned := d.open(k)
		if owned {
			opened = append(opened, k)
		}
		changes = append(changes, d.first(ctx, s, owned))
	}
	_, err := d.commit(ctx, changes)
	d.metrics.accept.Observe(time.Since(start).Seconds()) //nolint:forbidigo // a metric of latency
	return err
}

// first is what a new delivery does: it is offered, pushed, put into the inbox,
// or refused. One that somebody else is accepting just now is left to a pump.
func (d *Deliverer) first(ctx context.Context, s *engage.Send, owned bool) *change {
	now := d.clock.Now()
	r := &delivery{State: waiting, Send: *s}
	if !owned {
		r.wait(laneTimer, now)
		return &change{r: r}
	}
	c := &change{r: r, owned: true}
	if d.refuse(ctx, r, now) {
		return c
	}
	if held(s) { // no 2 s: the phones fetch it, and one claims it when its moment comes
		d.inbox(ctx, c, detailHeld, engage.ReasonNoChannel, now)
		return c
	}
	if allows(s, engage.InApp) {
		m := inAppMessage(s)
		for _, dev := range byUse(s.Devices) {
			if owns, err := d.owns(ctx, s, dev.Install); err != nil || !owns {
				continue // push finds out again, and waits
			}
			if d.o.Sessions.Offer(s.Workspace, dev.Install, m) {
				r.State, r.Offer = offered, &offer{dev.Install, now.Add(claimWithin)}
				r.wait(laneTimer, r.Offer.Until)
				return c
			}
		}
	}
	d.push(ctx, c, now, true)
	return c
}

// change of a delivery, to be committed, and what follows from it.
type change struct {
	r      *delivery
	box    *boxing // of the person's inbox; nil: none
	flight *flight // the attempt that r records; nil when none is made
	owned  bool    // we hold the delivery
	lands  *flight // that settles: it goes on holding when the write fails or loses
	// trust: the outcome in r is told right after the write, by a slot that is taken. Until
	// then the journal has it.
	trust *ask
}

// commit writes the changes and starts what follows from those that won. An
// error means that it is not known which were written; then nothing follows, and
// the lanes are looked at a little later.
func (d *Deliverer) commit(ctx context.Context, changes []*change) (won []bool, err error) {
	if len(changes) == 0 {
		return nil, d.dead()
	}
	now := d.clock.Now()
	writes := make([]Write, 0, len(changes)+1)
	var tells []tellNote
	var flights []*flight // of which the journal has the attempt
	for _, c := range changes {
		if c.flight != nil && c.flight.noted {
			flights = append(flights, c.flight)
			continue
		}
		c.r.UpdatedAt = now
		rec, err := c.r.record()
		if err != nil {
			return nil, d.abandon(changes, err)
		}
		w := Write{Record: rec, If: c.r.version}
		if c.box != nil {
			c.box.now = now
			w.Inbox = d.inboxChange(c.r.Send.Workspace, c.r.Send.Profile, c.box)
		}
		if c.trust != nil {
			tells = append(tells, tellNote{rec.Workspace, rec.ID, c.r.version + 1})
		}
		writes = append(writes, w)
	}
	var attempts *leaf
	if len(flights) > 0 {
		l, w, err := d.leafFor(ctx, flights)
		if err != nil {
			return nil, d.abandon(changes, err)
		}
		attempts = l
		writes = append(writes, w)
	}
	stood, told, err := []bool(nil), (*leaf)(nil), d.dead()
	if err == nil {
		if stood, told, err = d.write(ctx, writes, tells); err != nil {
			err = fmt.Errorf("write ledger: %w", err)
		}
	}
	if attempts != nil {
		d.written(attempts, err == nil && stood[len(stood)-1])
	}
	if err != nil {
		return nil, d.abandon(changes, err)
	}
	if err := d.fault(FaultRecorded); err != nil {
		return stood, d.abandon(changes, err)
	}
	if attempts != nil && stood[len(stood)-1] {
		d.depart(flights, attempts)
	}
	won, at := make([]bool, len(changes)), 0
	for i, c := range changes {
		if c.flight != nil && c.flight.noted {
			won[i] = c.flight.leaf != nil
		} else {
			won[i] = stood[at]
			at++
			if won[i] {
				c.r.version++
			}
		}
		if won[i] {
			d.follow(ctx, c, told)
			continue
		}
		if c.trust != nil {
			d.journal.done(told, 1)
		}
		d.giveBack(c)
	}
	return won, nil
}

// follow starts what a committed change leads to.
func (d *Deliverer) follow(ctx context.Context, c *change, told *leaf) {
	r := c.r
	if c.lands != nil {
		d.landed(c.lands)
	}
	if c.trust != nil {
		d.tell(d.gate(laneTell), c.trust, r, told)
		return
	}
	if c.box != nil {
		d.announce(ctx, r.Send.Workspace, c.box)
	}
	if c.flight != nil {
		go d.fly(c.flight)
		return
	}
	owned := c.owned
	if r.Lane == laneTell {
		owned = owned || d.hold(r.key())
		if owned {
			tell, a := d.gate(laneTell), &ask{lane: laneTell, joined: c.lands != nil}
			if ok, _ := d.slot(tell, a); ok {
				go d.tell(tell, a, r, nil)
				return
			}
		}
	}
	if owned {
		d.drop(r.key())
	}
	if r.Lane != "" {
		d.notify(r.Lane, r.due(), r.Send.ExpiresAt)
	}
}

// giveBack undoes what was reserved for a change that did not come about.
func (d *Deliverer) giveBack(c *change) {
	if c.flight != nil {
		d.free(c.flight.gate, &c.flight.ask)
		d.wg.Done()
	}
	if c.trust != nil {
		d.free(d.gate(laneTell), c.trust)
		d.wg.Done()
	}
	if c.owned && c.lands == nil {
		d.drop(c.r.key())
	}
}

func (d *Deliverer) abandon(changes []*change, err error) error {
	later := d.clock.Now().Add(afterError)
	for _, c := range changes {
		d.giveBack(c)
		switch {
		case c.flight != nil && c.flight.noted: // it is where it was
			d.rewind(c.flight.ask.lane, later)
		case c.r.Lane != "":
			d.notify(c.r.Lane, later, c.r.Send.ExpiresAt)
		}
	}
	return err
}

// fault asks Options.Fault; an error stops everything.
func (d *Deliverer) fault(point string) error {
	if d.o.Fault == nil {
		return nil
	}
	if err := d.o.Fault(point); err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.stopped == nil {
			d.stopped = fmt.Errorf("fault at %s: %w", point, err)
		}
		if d.stop != nil {
			d.stop(d.stopped)
		}
		return d.stopped
	}
	return d.dead()
}

// dead is the fault that stopped everything, nil before.
func (d *Deliverer) dead() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopped
}

// unreadable says once of a record that it cannot be read.
func (d *Deliverer) unreadable(ctx context.Context, rec Record, err error) {
	k := key{rec.Workspace, rec.ID}
	d.mu.Lock()
	known := d.bad[k]
	d.bad[k] = true
	d.mu.Unlock()
	if known {
		return
	}
	d.metrics.unreadable.Inc()
	d.log.ErrorContext(ctx, "delivery record left alone", "workspace", rec.Workspace, "delivery", rec.ID, "error", err)
}
