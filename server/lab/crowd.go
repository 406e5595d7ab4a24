package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// CrowdOptions say how the town's phones behave. Endpoint and AppKeys are
// required.
type CrowdOptions struct {
	Endpoint string                    // "http://host:port" or https, without path
	AppKeys  map[sdkpb.Platform]string // public key of the app for android and for ios
	// InstallPrefix begins every install's id, "<prefix>-person-0001"; empty means
	// "lab". A server that knows an install only talks to who has its token, so
	// another run against the same server needs another prefix, or Store.
	InstallPrefix string
	// Store keeps a phone's token and queue; nil means in memory.
	Store func(install string) client.Store
	// IdentityProof is what the app's server would sign, see sdkpb.Identify; nil
	// means that nobody signs in.
	IdentityProof func(platform sdkpb.Platform, userID string) string
	// PushToken is what the phone's provider gave; nil, or a nil target: no push.
	// Whether a token of Person.DeadToken is dead is for the provider to decide.
	PushToken func(*Person) *sdkpb.PushTarget

	Speed        float64       // simulated seconds of walking in a real one, up to 1000; 0 means 1
	FixEvery     time.Duration // between two samples of the sensors; 0 means 1.5 s
	EventEvery   time.Duration // mean, between two events of an app in the foreground; 0 means 15 s, negative none
	SwitchEvery  time.Duration // mean, between two moves of a phone of Mode Switch; 0 means 12 s
	OfflineEvery time.Duration // mean, between two gaps of a Spotty phone; 0 means 20 s, negative none
	OfflineFor   time.Duration // mean length of a gap; 0 means 4 s
	RegionDelay  time.Duration // most that the OS takes to report a crossing; 0 means 300 ms
	OpenAfter    time.Duration // most that a person takes to look at a message; 0 means 3 s
	StartWithin  time.Duration // in which all phones start; 0 means 2 s, and 2 s more for each 1,000 phones
	BackoffMin   time.Duration // of reconnects; 0 means 250 ms
	BackoffMax   time.Duration // 0 means 5 s: a demo has less patience than a phone
	FlushAfter   time.Duration // how long an item waits for company on the socket; 0 sends at once
	Posts        int           // POSTs at a time; 0 means 64

	// Double is sabotage: so many messages in the town are shown again with the
	// dedupe off. Report.Doubled says how many have been.
	Double int
	Load   *Load        // nil: people walk
	Logger *slog.Logger // nil discards
}

func (o *CrowdOptions) setDefaults(people int) {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if o.InstallPrefix == "" {
		o.InstallPrefix = "lab"
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	def(&o.FixEvery, 1500*time.Millisecond)
	def(&o.EventEvery, 15*time.Second)
	def(&o.SwitchEvery, 12*time.Second)
	def(&o.OfflineEvery, 20*time.Second)
	def(&o.OfflineFor, 4*time.Second)
	def(&o.RegionDelay, 300*time.Millisecond)
	def(&o.OpenAfter, 3*time.Second)
	def(&o.StartWithin, 2*time.Second*time.Duration(1+people/1000))
	def(&o.BackoffMin, 250*time.Millisecond)
	def(&o.BackoffMax, 5*time.Second)
	if o.Posts <= 0 {
		o.Posts = 64
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Crowd is all phones of a town. Its methods may be called from any goroutine.
type Crowd struct {
	town      *Town
	opts      CrowdOptions
	phones    map[string]*Phone
	order     []*Phone
	agenda    *agenda
	workers   workers
	dialer    *websocket.Dialer
	transport *http.Transport
	acks      Histogram

	doubles atomic.Int64 // messages that are still to be doubled
	doubled atomic.Int64
	actions atomic.Int64 // of people and OS that are due
	load    load

	ctx     context.Context // of Run; set before anything reads it
	started chan struct{}   // closed when Run has begun

	mu      sync.Mutex
	running bool
	begin   time.Time     // of the walking
	frozen  time.Duration // simulated time at which it stopped; 0 while it goes on
}

// ErrRunning says that Run was called twice.
var ErrRunning = errors.New("lab: the crowd runs once")

// NewCrowd makes the phones; nothing starts before Run. The error is an *Error of
// an option, or a client's.
func NewCrowd(t *Town, o CrowdOptions) (*Crowd, error) {
	people := t.People
	if o.Load != nil {
		if err := o.Load.validate(len(people)); err != nil {
			return nil, err
		}
		if o.Load.Phones > 0 {
			people = people[:o.Load.Phones]
		}
	}
	o.setDefaults(len(people))
	for _, p := range []sdkpb.Platform{sdkpb.Platform_PLATFORM_ANDROID, sdkpb.Platform_PLATFORM_IOS} {
		if o.AppKeys[p] == "" {
			return nil, errorf("app_keys", "has none for %s", p)
		}
	}
	switch {
	case !(o.Speed > 0 && o.Speed <= 1000):
		return nil, errorf("speed", "must be above 0, at most 1000, is %v", o.Speed)
	case o.FixEvery < time.Millisecond:
		return nil, errorf("fix_every", "must be at least 1ms, is %v", o.FixEvery)
	case o.Double < 0:
		return nil, errorf("double", "must not be negative, is %d", o.Double)
	}
	c := &Crowd{
		town: t, opts: o, phones: make(map[string]*Phone, len(people)),
		agenda: newAgenda(), workers: workers{most: o.Posts}, dialer: client.NewDialer(),
		transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: o.Posts, IdleConnTimeout: 30 * time.Second,
		},
		started: make(chan struct{}),
	}
	c.doubles.Store(int64(o.Double))
	for i := range people {
		p, err := c.newPhone(&people[i])
		if err != nil {
			return nil, err
		}
		c.phones[p.install] = p
		c.order = append(c.order, p)
	}
	return c, nil
}

// Town is where the crowd walks.
func (c *Crowd) Town() *Town { return c.town }

// Phone of an install; nil when there is none.
func (c *Crowd) Phone(install string) *Phone { return c.phones[install] }

// Phones are all of them, in the order of the town's people. The slice is shared.
func (c *Crowd) Phones() []*Phone { return c.order }

// Run lets everybody walk and talk until ctx ends, and has joined everything when
// it returns: nil, or ErrRunning. It can be called once.
func (c *Crowd) Run(ctx context.Context) error {
	c.mu.Lock()
	if c.running {
		c.mu.Unlock()
		return ErrRunning
	}
	c.running = true
	c.ctx = ctx
	c.begin = time.Now()
	c.mu.Unlock()
	close(c.started)
	for i, p := range c.order {
		c.act(c.opts.StartWithin*time.Duration(i)/time.Duration(len(c.order)), func() { c.wakeUp(p) }) //nolint:contextcheck // what is due later lives as long as Run, in c.ctx
	}
	if c.opts.Load != nil {
		c.agenda.after(c.opts.StartWithin, c.startLoad)
	}
	c.agenda.run(ctx)
	c.workers.join()
	for _, p := range c.order {
		p.close() //nolint:contextcheck // it only waits for what ctx has ended
	}
	c.transport.CloseIdleConnections()
	return nil
}

// wakeUp begins a phone's day.
func (c *Crowd) wakeUp(p *Phone) {
	p.start()
	if c.opts.Load != nil {
		return
	}
	c.every(p, c.opts.FixEvery, 0.2, p.tick)
	c.every(p, c.opts.EventEvery, 1, p.browse)
	if p.person.Mode == Switch {
		c.every(p, c.opts.SwitchEvery, 1, p.turnOver)
	}
	if p.gate != nil && c.opts.OfflineEvery > 0 {
		c.every(p, c.opts.OfflineEvery, 1, func() {
			p.setOffline(true)
			c.agenda.after(c.jitter(p, c.opts.OfflineFor, 1), func() { p.setOffline(false) })
		})
	}
	if m := p.person.MindAfter; m > 0 {
		c.agenda.after(time.Duration(float64(m)/c.opts.Speed), func() {
			if !c.settling() {
				p.changeMind()
			}
		})
	}
}

// every repeats do until the walking stops; spread is the share of the interval
// that is left to chance. An interval of 0 or less: never.
func (c *Crowd) every(p *Phone, interval time.Duration, spread float64, do func()) {
	if interval <= 0 {
		return
	}
	var again func()
	again = func() {
		if c.settling() {
			return
		}
		do()
		c.agenda.after(c.jitter(p, interval, spread), again)
	}
	c.agenda.after(time.Duration(p.rng.Float64()*float64(interval)), again)
}

// jitter is about d. For the scheduler's goroutine.
func (c *Crowd) jitter(p *Phone, d time.Duration, spread float64) time.Duration {
	return time.Duration(float64(d) * (1 + spread*(p.rng.Float64()-0.5)))
}

// act is after, for something that Drain waits for.
func (c *Crowd) act(d time.Duration, do func()) {
	c.actions.Add(1)
	c.agenda.after(d, func() {
		defer c.actions.Add(-1)
		do()
	})
}

// sabotage reports whether this message is to be shown again.
func (c *Crowd) sabotage() bool {
	for n := c.doubles.Load(); n > 0; n = c.doubles.Load() {
		if c.doubles.CompareAndSwap(n, n-1) {
			return true
		}
	}
	return false
}

// simTime is how much simulated time the people have walked.
func (c *Crowd) simTime() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.frozen > 0:
		return c.frozen
	case !c.running:
		return 0
	}
	return time.Duration(float64(time.Since(c.begin)) * c.opts.Speed)
}

func (c *Crowd) settling() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frozen > 0
}

// UndrainedError says what Drain left.
type UndrainedError struct {
	Phones  int   // that have something unsaid, or somebody still has to look at a message
	Items   int   // that wait
	Stopped int   // of Phones, those that gave up for good
	Cause   error // of the context, or why the first of the stopped gave up
}

// Error implements error.
func (e *UndrainedError) Error() string {
	return fmt.Sprintf("lab: %d phones (%d gave up) hold %d items: %v", e.Phones, e.Stopped, e.Items, e.Cause)
}

// Unwrap returns the cause.
func (e *UndrainedError) Unwrap() error { return e.Cause }

// Drain stops the walking for good, brings everybody online and waits until every
// phone has everything acknowledged or refused and everybody has looked at what
// came (which takes up to OpenAfter), or ctx ends: an *UndrainedError, also when
// phones that gave up for good hold items. Phones stay where
// they are, connected if they are in somebody's hand, and still take messages:
// what the server sends afterwards makes new receipts, so whoever waits for the
// server drains once more. It needs Run to run.
func (c *Crowd) Drain(ctx context.Context) error {
	select {
	case <-c.started:
	case <-ctx.Done():
		return ctx.Err()
	}
	now := max(1, c.simTime())
	c.mu.Lock()
	c.frozen = now
	c.mu.Unlock()
	for _, p := range c.order {
		p.setOffline(false) //nolint:contextcheck // a push that was held arrives as every other: without a context
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for round := 0; ; round++ {
		left := c.unsaid()
		if left.Phones == left.Stopped && c.actions.Load() == 0 && round > 0 {
			if left.Stopped > 0 && left.Items > 0 {
				return left
			}
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			left.Cause = ctx.Err()
			return left
		case <-c.ctx.Done():
			left.Cause = c.ctx.Err()
			return left
		}
	}
}

func (c *Crowd) unsaid() *UndrainedError {
	var left UndrainedError
	for _, p := range c.order {
		n, stopped := p.settle()
		if n == 0 {
			continue
		}
		left.Phones++
		left.Items += n
		if stopped != nil {
			left.Stopped++
			if left.Cause == nil {
				left.Cause = stopped
			}
		}
	}
	return &left
}

// Snapshot is the town at a moment, for people to look at.
type Snapshot struct {
	Simulated time.Duration `json:"simulated_ns"` // walked so far
	Settling  bool          `json:"settling"`     // Drain has been called
	Connected int           `json:"connected"`    // phones with an open socket
	Offline   int           `json:"offline"`      // phones without network
	Stopped   int           `json:"stopped"`      // phones that gave up for good
	Pending   int           `json:"pending"`      // items that are neither acknowledged nor refused
	Totals    Totals        `json:"totals"`
	People    []Sighting    `json:"people"`
}

// Sighting is one person at a moment.
type Sighting struct {
	Install   string    `json:"install"`
	Person    string    `json:"person"` // id
	Name      string    `json:"name"`
	Platform  string    `json:"platform"` // "android" or "ios"
	Position  geo.Point `json:"position"` // the truth
	Activity  Activity  `json:"activity"`
	Shop      string    `json:"shop,omitempty"` // id, when in one
	InHand    bool      `json:"in_hand"`        // the app is in the foreground
	Connected bool      `json:"connected"`
	Offline   bool      `json:"offline"`
	Pending   int       `json:"pending"`
	Shown     int       `json:"shown"` // messages so far
}

// Snapshot looks at everybody.
func (c *Crowd) Snapshot() Snapshot {
	s := Snapshot{Simulated: c.simTime(), Settling: c.settling(), Totals: newTotals()}
	for _, p := range c.order {
		v := Sighting{
			Install: p.install, Person: p.person.ID, Name: p.person.Name, Platform: platformName(p.person.Platform),
			Pending: p.client.Pending(), Shown: p.book.shownCount(),
		}
		p.mu.Lock()
		v.Position, v.Activity = p.where.Position, p.where.Activity
		if p.where.Shop != nil {
			v.Shop = p.where.Shop.ID
		}
		v.InHand, v.Connected, v.Offline = p.is == InHand, p.connected, p.offline
		if p.stopped != nil {
			s.Stopped++
		}
		p.mu.Unlock()
		if v.Connected {
			s.Connected++
		}
		if v.Offline {
			s.Offline++
		}
		s.Pending += v.Pending
		p.book.addTo(&s.Totals)
		s.People = append(s.People, v)
	}
	return s
}

func platformName(p sdkpb.Platform) string {
	if p == sdkpb.Platform_PLATFORM_IOS {
		return "ios"
	}
	return "android"
}

// Report is what the phones testify for an audit.
type Report struct {
	Phones  []PhoneReport // in the order of the town's people
	Totals  Totals
	Doubled int        // messages that sabotage showed again
	Held    int        // items that Load did not send, because their phones had too many waiting
	Acks    *Histogram // from a frame or POST written to its item acknowledged; shared with the crowd
}

// Report takes everybody's statement.
func (c *Crowd) Report() Report {
	r := Report{Totals: newTotals(), Doubled: int(c.doubled.Load()), Held: c.load.heldBack(), Acks: &c.acks}
	for _, p := range c.order {
		r.Phones = append(r.Phones, p.report())
		p.book.addTo(&r.Totals)
	}
	return r
}

// InApp are the latencies of all in-app messages, see Shown.Latency.
func (r *Report) InApp() []time.Duration {
	var out []time.Duration
	for i := range r.Phones {
		for j := range r.Phones[i].Shown {
			if d, ok := r.Phones[i].Shown[j].Latency(); ok {
				out = append(out, d)
			}
		}
	}
	return out
}
