package pipelinebench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Path is the way that fixes and messages take.
type Path string

// The paths.
const (
	Push  Path = "push"   // phones in the background: each fix a POST, the message a push
	InApp Path = "in_app" // phones in the foreground: frames on sockets, messages claimed and shown
)

// Paths are both.
var Paths = []Path{Push, InApp}

const (
	// conns carry the POSTs, as those of a proxy in front of the server would.
	conns = 128
	// greeters register phones at a time.
	greeters = 32
	// patience is how long a run waits, after its last fix, for answers and messages.
	patience = 10 * time.Second
	// MaxFixes of a run.
	MaxFixes = 5_000_000

	bootID = "0123456789abcdef"
	sdk    = "pipelinebench/1"
)

// caps are what SDKs do, but for resuming a session: these end with the run.
var (
	caps       = []string{sdkproto.CapBubble, sdkproto.CapInbox, sdkproto.CapConfig, sdkproto.CapGoaway, sdkproto.CapTriggers}
	capsHeader = strings.Join(caps, ",")
)

// Options of a Load.
type Options struct {
	Path   Path   `json:"path"`
	URL    string `json:"url"` // "http://127.0.0.1:1234"
	AppKey string `json:"app_key"`
	Phones int    `json:"phones"`
	Prefix string `json:"prefix"` // of install ids
	Places int    `json:"places"` // of the world, at least MinPlaces
	Every  int    `json:"every"`  // each of so many fixes enters a place
	// Token is the push token of an install, at the provider's simulator.
	Token func(install string) string `json:"-"`
}

// Result of a run. Times are from when a fix was due.
type Result struct {
	Begin   time.Time     `json:"begin"`
	End     time.Time     `json:"end"` // when nothing more was waited for
	Fixes   int           `json:"fixes"`
	Acked   int           `json:"acked"`   // taken by the server
	Refused int           `json:"refused"` // answered with an error, or rejected
	Elapsed time.Duration `json:"elapsed"` // from the first fix to the last answer or message
	// Triggers are the fixes taken that entered a place.
	Triggers int `json:"triggers"`
	// Messages arrived by the path, Elsewhere by the other: a phone that did not answer
	// on its socket in time gets a push.
	Messages  int           `json:"messages"`
	Elsewhere int           `json:"elsewhere"`
	Missing   int           `json:"missing"` // triggers whose message has not come
	P50       time.Duration `json:"p50"`     // to the message
	P99       time.Duration `json:"p99"`
	Max       time.Duration `json:"max"`
	AckP50    time.Duration `json:"ack_p50"` // to the answer
	AckP99    time.Duration `json:"ack_p99"`
	LateP99   time.Duration `json:"late_p99"` // by how much the generator was behind its own schedule
}

// Achieved is how many fixes a second were brought to their end.
func (r *Result) Achieved() float64 { return float64(r.Acked) / max(r.Elapsed.Seconds(), 1e-9) }

// Arrival is a message at its end.
type Arrival struct {
	Times int  `json:"times"` // push requests, or times shown
	Other bool `json:"other"` // by the other path
}

// Load is phones that are registered, on sockets or with connections to POST on.
type Load struct {
	o       Options
	addr    string
	began   time.Time // the phones' monotonic clock
	phones  []*phone
	tokens  map[string]*phone
	posters []*poster
	readers sync.WaitGroup
	failure atomic.Pointer[error]

	mu       sync.Mutex
	arrivals map[string]*Arrival // by the delivery's id
	entered  map[string]int      // triggers that were taken, by install
	run      tally
}

// tally is what the run under way has so far.
type tally struct {
	begin          time.Time
	acked, refused int
	open, waiting  int // answers, and messages, that are to come
	triggers       int
	elsewhere      int
	took, acks     []time.Duration
	last           time.Time // an answer or a message came
}

// phone is one install.
type phone struct {
	l       *Load
	install string
	bearer  string // "Bearer <device token>"

	// mu is held while something goes out: by POST until its answer.
	mu    sync.Mutex
	route route
	seq   uint64
	sock  *socket // of InApp
	// What the answers to POSTs have brought: the regions, until the server has heard that
	// they are registered; and what the phone has of inbox and config.
	heard          *sdkpb.RegionsAck
	cursor, config string

	// waits are places entered whose message has not come, the oldest first. Under the
	// load's lock.
	waits []wait
}

type wait struct {
	place int
	due   time.Time
}

// Connect registers the phones: each agrees to marketing and to precise positions,
// and has a push token.
func Connect(ctx context.Context, o Options) (*Load, error) {
	switch {
	case o.Path != Push && o.Path != InApp:
		return nil, fmt.Errorf("path must be one of %q, is %q", Paths, o.Path)
	case o.Phones < 1 || o.Places < MinPlaces || o.Every < 2 || o.Token == nil:
		return nil, fmt.Errorf("at least 1 phone, %d places, 2 fixes from one entry to the next, and tokens are needed", MinPlaces)
	}
	l := &Load{
		o: o, addr: strings.TrimPrefix(o.URL, "http://"), began: time.Now(), phones: make([]*phone, o.Phones),
		tokens: make(map[string]*phone, o.Phones), arrivals: map[string]*Arrival{}, entered: map[string]int{},
	}
	w := newWorld(o.Places)
	for i := range l.phones {
		p := &phone{l: l, install: fmt.Sprintf("%s-%06d", o.Prefix, i), route: newRoute(w, i, o.Phones, o.Every)}
		l.phones[i], l.tokens[o.Token(p.install)] = p, p
	}
	n := conns
	if o.Path == InApp {
		n = greeters
	}
	for range n {
		l.posters = append(l.posters, &poster{l: l})
	}
	next := make(chan *phone, o.Phones)
	for _, p := range l.phones {
		next <- p
	}
	close(next)
	g, gctx := errgroup.WithContext(ctx)
	for _, poster := range l.posters[:greeters] {
		g.Go(func() error {
			for p := range next {
				if err := p.register(gctx, poster); err != nil {
					return fmt.Errorf("phone %s: %w", p.install, err)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// register says hello and what the person agrees to.
func (p *phone) register(ctx context.Context, by *poster) error {
	token, err := by.greet(ctx, p)
	if err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	p.bearer = "Bearer " + token
	b := p.batch()
	for _, purpose := range []sdkpb.Consent_Purpose{
		sdkpb.Consent_PURPOSE_MARKETING, sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, sdkpb.Consent_PURPOSE_LOCATION_PRECISE,
	} {
		p.seq++
		b.Items = append(b.Items, &sdkpb.Item{Seq: p.seq, OccurredMs: b.SentMs, Consent: &sdkpb.Consent{Purpose: purpose, Granted: true}})
	}
	if err := by.batch(ctx, p, b); err != nil {
		return fmt.Errorf("consents: %w", err)
	}
	if p.l.o.Path != InApp {
		return nil
	}
	return p.dial(ctx, token)
}

func (p *phone) hello() *sdkpb.Hello {
	return &sdkpb.Hello{
		AppKey: p.l.o.AppKey, InstallId: p.install, Sdk: sdk, Platform: sdkpb.Platform_PLATFORM_ANDROID,
		BootId: bootID, WallMs: time.Now().UnixMilli(), MonoMs: p.l.mono(), Locale: "en", Caps: caps, InboxCursor: new(""),
		Permissions: &sdkpb.Permissions{
			Location: sdkpb.Permissions_LOCATION_ALWAYS, Precision: sdkpb.Permissions_PRECISION_PRECISE,
			Notifications: sdkpb.Permissions_NOTIFICATIONS_GRANTED,
		},
		PushTarget: &sdkpb.PushTarget{Provider: sdkpb.PushTarget_PROVIDER_FCM, Token: p.l.o.Token(p.install)},
	}
}

func (l *Load) mono() int64 { return 1 + time.Since(l.began).Milliseconds() }

func (p *phone) batch() *sdkpb.Batch {
	return &sdkpb.Batch{SentMs: time.Now().UnixMilli(), SentMonoMs: p.l.mono(), BootId: bootID}
}

// fix is the phone's next fix; place is the one that it enters, or -1. Called with the
// phone's lock.
func (p *phone) fix() (b *sdkpb.Batch, place int) {
	b = p.batch()
	at, place := p.route.next()
	p.seq++
	b.Items = []*sdkpb.Item{{
		Seq: p.seq, OccurredMs: b.SentMs, MonoMs: b.SentMonoMs, BootId: bootID,
		Location: &sdkpb.Location{Lat: at.Lat, Lng: at.Lng, AccuracyM: accuracyM},
	}}
	return b, place
}

// expect notes, before it goes out, that a fix which enters a place was due then.
func (l *Load) expect(p *phone, place int, due time.Time) {
	if place < 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p.waits = append(p.waits, wait{place, due})
	l.run.waiting++
	l.run.triggers++
	l.entered[p.install]++
}

// answered takes the answer to a fix; one that was refused enters nothing.
func (l *Load) answered(p *phone, place int, due time.Time, taken bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.run
	r.open--
	r.last = now
	if taken {
		r.acked++
		r.acks = append(r.acks, now.Sub(due))
		return
	}
	r.refused++
	if place < 0 {
		return
	}
	i := slices.Index(p.waits, wait{place, due})
	if i >= 0 {
		p.waits = slices.Delete(p.waits, i, i+1)
		r.waiting--
	}
	r.triggers--
	l.entered[p.install]--
}

// Pushed takes a push request that reached the provider: its token, the message's id
// and its link. It may be called from any goroutine.
func (l *Load) Pushed(token, id, link string, at time.Time) {
	if p := l.tokens[token]; p != nil {
		l.arrived(p, id, link, at, l.o.Path != Push)
	}
}

// linkPrefix begins the link of every message, before the place's id.
const linkPrefix = "shop://"

// Link is the template of a campaign's link, by which a message tells its place.
const Link = linkPrefix + "{{ place.id }}"

func (l *Load) arrived(p *phone, id, link string, at time.Time, other bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.arrivals[id]; a != nil {
		a.Times++
		return
	}
	l.arrivals[id] = &Arrival{Times: 1, Other: other}
	i := slices.IndexFunc(p.waits, func(w wait) bool { return linkPrefix+placeID(w.place) == link })
	if i < 0 {
		return // nobody asked for it: the audit of deliveries says so
	}
	w := p.waits[i]
	p.waits = slices.Delete(p.waits, i, i+1)
	l.run.waiting--
	l.run.last = at
	if other {
		l.run.elsewhere++
		return
	}
	l.run.took = append(l.run.took, at.Sub(w.due))
}

// Entered are the fixes that entered a place and were taken so far, by install.
func (l *Load) Entered() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.entered)
}

// Arrivals are all messages that have come, by their ids.
func (l *Load) Arrivals() map[string]Arrival {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]Arrival, len(l.arrivals))
	for id, a := range l.arrivals {
		out[id] = *a
	}
	return out
}

// fail notes the first thing that went wrong.
func (l *Load) fail(err error) { l.failure.CompareAndSwap(nil, &err) }

func (l *Load) err() error {
	if e := l.failure.Load(); e != nil {
		return *e
	}
	return nil
}

// dueTimes are the times at which fixes are due, fixed in advance: a Poisson process,
// as of many phones that know nothing of each other.
func dueTimes(rate float64, d time.Duration, seed uint64) []time.Duration {
	r := rand.New(rand.NewPCG(seed, 81))
	var out []time.Duration
	for t := r.ExpFloat64() / rate; t < d.Seconds() && len(out) < MaxFixes; t += r.ExpFloat64() / rate {
		out = append(out, time.Duration(t*float64(time.Second)))
	}
	return out
}

// Run has fixes sent at a rate per second, when they are due and not when the server
// is ready: one that cannot go out because the phone or every connection waits for an
// answer goes later, and its time counts all the same. It returns when all answers and
// messages are there, or have not come for some seconds.
func (l *Load) Run(ctx context.Context, rate float64, d time.Duration, seed uint64) (Result, error) {
	if !(rate > 0) || rate*d.Seconds() > MaxFixes/2 {
		return Result{}, fmt.Errorf("a rate above 0 and at most %d fixes are possible, not %v/s for %v", MaxFixes/2, rate, d)
	}
	due := dueTimes(rate, d, seed)
	begin := time.Now().Add(10 * time.Millisecond)
	l.mu.Lock()
	l.run = tally{begin: begin, last: begin, open: len(due), took: make([]time.Duration, 0, len(due)/l.o.Every+1), acks: make([]time.Duration, 0, len(due))}
	l.mu.Unlock()
	var late []time.Duration
	var err error
	if l.o.Path == Push {
		late, err = l.post(ctx, begin, due)
	} else {
		late, err = l.write(ctx, begin, due)
	}
	if err == nil {
		err = l.drain(ctx)
	}
	r := l.result(len(due))
	r.LateP99 = quantile(late, 0.99)
	return r, errors.Join(err, l.err())
}

// drain waits for what is to come, as long as something comes.
func (l *Load) drain(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	from := time.Now()
	for {
		l.mu.Lock()
		done := l.run.open == 0 && l.run.waiting == 0
		last := l.run.last
		l.mu.Unlock()
		if last.Before(from) {
			last = from
		}
		if done || time.Since(last) > patience || l.err() != nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *Load) result(fixes int) Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.run
	r := Result{
		Begin: t.begin, End: time.Now(), Fixes: fixes, Acked: t.acked, Refused: t.refused, Elapsed: t.last.Sub(t.begin),
		Triggers: t.triggers, Messages: len(t.took), Elsewhere: t.elsewhere, Missing: t.waiting,
	}
	r.P50, r.P99, r.Max = quantile(t.took, 0.5), quantile(t.took, 0.99), quantile(t.took, 1)
	r.AckP50, r.AckP99 = quantile(t.acks, 0.5), quantile(t.acks, 0.99)
	for _, p := range l.phones { // what comes later is of no run
		p.waits = nil
	}
	return r
}

// quantile of what is measured; 0 of nothing.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[int(q*float64(len(all)-1))]
}

// schedule calls send for each fix when it is due, in order, and returns by how much it
// was late.
func (l *Load) schedule(ctx context.Context, begin time.Time, due []time.Duration, send func(n int, due time.Time) error) (late []time.Duration, err error) {
	late = make([]time.Duration, 0, len(due))
	pause := time.NewTimer(0)
	defer pause.Stop()
	for n, after := range due {
		at := begin.Add(after)
		if ahead := time.Until(at); ahead > 0 {
			pause.Reset(ahead)
			select {
			case <-pause.C:
			case <-ctx.Done():
				return late, ctx.Err()
			}
		}
		late = append(late, time.Since(at))
		if err := send(n, at); err != nil {
			return late, err
		}
		if n%64 == 0 {
			if err := errors.Join(ctx.Err(), l.err()); err != nil {
				return late, err
			}
		}
	}
	return late, nil
}

// Close ends all connections.
func (l *Load) Close() {
	for _, p := range l.posters {
		p.close()
	}
	for _, p := range l.phones {
		if p != nil && p.sock != nil {
			p.sock.close()
		}
	}
	l.readers.Wait()
}

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	return d.DialContext(ctx, "tcp", addr)
}
