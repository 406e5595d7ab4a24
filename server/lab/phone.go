package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// How the OS and the people behave.
const (
	significantM  = 500             // movement that iOS and Android report to an app in the background
	refreshM      = 300             // movement after which a woken app says its position too
	lookAfter     = 8 * time.Second // of simulated time, in a wake of about ten seconds, at the border of a circle that is larger than its place
	watchEvery    = 5 * time.Second // between attempts to get regions while there are none
	sampleStep    = 5 * time.Second // of simulated time, between two looks at the regions
	consentText   = "2026-11"       // version of the text that the people saw
	openShare     = 0.3             // of messages
	readShare     = 0.5             // of inbox messages that are read at all
	clearShare    = 0.3             // of those, that are thrown away unopened
	postRetryMost = 5 * time.Second // between two attempts of a woken app's POST
)

// Phone is one person's phone: a client of the protocol, and the OS around it.
// Its exported methods may be called from any goroutine.
type Phone struct {
	crowd   *Crowd
	person  *Person
	install string
	client  *client.Client
	options client.Options // of client
	own     *http.Transport
	gate    *gate // nil: the network is always there
	book    book
	// untracked: the server wants no positions (Config), whoever agreed to what.
	untracked atomic.Bool

	// Of the scheduler's goroutine only.
	walk      *Walk
	gps       *receiver
	rng       *rand.Rand
	simulated time.Duration
	lastFix   geo.Point
	fixed     bool // there was a last fix
	lastWatch time.Time
	reportAt  time.Time // of the newest crossing that is still to be reported

	mu        sync.Mutex
	where     Where
	monitor   monitor
	wanted    Mode // InHand or InPocket
	is        Mode // what the client has been told
	wantPost  bool
	working   bool      // a worker is at it
	retryAt   time.Time // no POST before
	failures  int       // POSTs in a row
	offline   bool
	connected bool
	held      []push // by the provider, while the phone is offline
	stopped   error
}

type push struct{ id, via string }

func (c *Crowd) newPhone(p *Person) (*Phone, error) {
	ph := &Phone{
		crowd: c, person: p, install: c.opts.InstallPrefix + "-" + p.ID,
		walk: c.town.Walk(p), gps: c.town.receiver(p), rng: c.town.rand("phone " + p.ID),
		monitor: newMonitor(p.Platform), wanted: p.Mode, is: InPocket,
	}
	if ph.wanted == Switch || c.opts.Load != nil {
		ph.wanted = InHand
	}
	ph.book.acks, ph.book.slim = &c.acks, c.opts.Load != nil
	ph.where = ph.walk.At(0)
	codec := sdkproto.Codec(sdkproto.Protobuf{})
	if p.JSON {
		codec = sdkproto.JSON{}
	}
	dialer, transport := c.dialer, c.transport
	if p.Spotty && c.opts.Load == nil {
		ph.gate = &gate{}
		d := *dialer
		d.NetDialContext = ph.gate.DialContext
		// One connection a POST, as a woken app has it, so that no idle one outlives a gap.
		ph.own = &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: ph.gate.DialContext, DisableKeepAlives: true}
		dialer, transport = &d, ph.own
	}
	platform := "android"
	if p.Platform == sdkpb.Platform_PLATFORM_IOS {
		platform = "ios"
	}
	ph.options = client.Options{
		Endpoint: c.opts.Endpoint, AppKey: c.opts.AppKeys[p.Platform], InstallID: ph.install, Platform: p.Platform,
		TimeZone: c.town.TimeZone, Locale: p.Locale, AppVersion: "1.0.0", SDK: "footfall-lab/1.0 (" + platform + ")",
		Codec:       witness{codec, &ph.book},
		Caps:        append(client.Features(), sdkproto.CapBubble),
		Permissions: &sdkpb.Permissions{Location: p.Location, Precision: p.Precision, Notifications: p.Notifications},
		Clock:       func() time.Time { return time.Now().Add(p.ClockSkew) },
		Dialer:      dialer, HTTPClient: &http.Client{Transport: transport}, Logger: c.opts.Logger,
		BackoffMin: c.opts.BackoffMin, BackoffMax: c.opts.BackoffMax, FlushAfter: c.opts.FlushAfter,
		OnMessage: ph.onMessage, OnRegions: ph.onRegions, OnState: ph.onState,
		OnConfig:  func(*sdkpb.Config) { ph.tracks() },
		OnAcked:   func(i *sdkpb.Item) { ph.book.ack(i, time.Now()) },
		OnReject:  ph.book.refuse,
		OnDropped: ph.book.drop,
	}
	if c.opts.Store != nil {
		ph.options.Store = c.opts.Store(ph.install)
	}
	if c.opts.PushToken != nil {
		ph.options.PushTarget = c.opts.PushToken(p)
	}
	var err error
	if ph.client, err = client.New(ph.options); err != nil {
		return nil, fmt.Errorf("lab: phone of %s: %w", p.ID, err)
	}
	ph.client.StartTracking(sdkpb.Tracking_PRESET_CONTINUOUS)
	ph.tracks()
	return ph, nil
}

// tracks takes over whether the server lets the phone be followed.
func (p *Phone) tracks() {
	p.untracked.Store(p.client.Tracking().GetPreset() == sdkpb.Tracking_PRESET_OFF)
}

// InstallID is the id of the app's install on the phone.
func (p *Phone) InstallID() string { return p.install }

// Person is whose phone it is.
func (p *Phone) Person() *Person { return p.person }

// Push hands over a push that the provider ("fcm" or "apns") delivers, with the
// message's id. A phone without network gets it when it is back.
func (p *Phone) Push(messageID, via string) {
	p.mu.Lock()
	if p.offline {
		p.held = append(p.held, push{messageID, via})
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	if n := p.person.Notifications; n != sdkpb.Permissions_NOTIFICATIONS_GRANTED && n != sdkpb.Permissions_NOTIFICATIONS_PROVISIONAL {
		p.book.unwanted() // the OS draws nothing, and does not wake the app
		return
	}
	if !p.client.PushReceived(messageID, via) {
		return
	}
	p.show(messageID, via)
	p.post() // the receipts
}

// show is what the person sees.
func (p *Phone) show(id, via string) {
	if !p.book.show(id, via, time.Now()) {
		return
	}
	if via != viaInbox && p.crowd.sabotage() {
		p.crowd.act(p.crowd.opts.OpenAfter/10, func() { p.showAgain(id, via) })
	}
	p.crowd.act(p.crowd.opts.OpenAfter/4+time.Duration(p.crowd.town.chance(p.person.ID, id, "when")*float64(p.crowd.opts.OpenAfter)*3/4),
		func() { p.react(id, via) })
}

// showAgain is sabotage: the app forgets to deduplicate. Another client that
// remembers what this one has shown, with its dedupe off, takes the message; it
// never talks to the server.
func (p *Phone) showAgain(id, via string) {
	o := p.options
	store := new(client.MemStore)
	_ = store.SetShown(id) // in memory it cannot fail
	o.Store, o.DisableDedupe = store, true
	o.OnAcked, o.OnDropped, o.OnReject = nil, nil, nil
	twin, err := client.New(o)
	if err != nil || !twin.PushReceived(id, via) {
		p.crowd.opts.Logger.Warn("sabotage did not show a message again", "install", p.install, "message", id, "error", err)
		return
	}
	p.book.show(id, via, time.Now())
	p.crowd.doubled.Add(1)
}

// react is what the person does with a message.
func (p *Phone) react(id, via string) {
	roll := p.crowd.town.chance(p.person.ID, id, "open")
	if via == viaInbox {
		if p.crowd.town.chance(p.person.ID, id, "read") >= readShare {
			return
		}
		if !p.client.ReadMessage(id) {
			return // it is not there any more
		}
	}
	switch {
	case roll < openShare:
		p.client.Receipt(id, sdkpb.Receipt_STATE_OPENED, via)
	case roll < openShare+clearShare && via == viaInbox:
		p.client.DismissMessage(id)
	case roll < 2*openShare && via == viaInApp:
		p.client.Receipt(id, sdkpb.Receipt_STATE_DISMISSED, via)
	}
	p.post()
}

func (p *Phone) onMessage(m *sdkpb.Message) {
	via := viaInApp
	if m.GetKind() == sdkpb.Message_KIND_INBOX {
		via = viaInbox
	}
	p.show(m.GetMessageId(), via)
}

func (p *Phone) onRegions(r *sdkpb.Regions) []*sdkpb.RegionFailure {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.monitors() {
		var failed []*sdkpb.RegionFailure
		for _, x := range append(slices.Clip(r.GetRegions()), r.GetBubble()) {
			if x == nil {
				continue
			}
			failed = append(failed, &sdkpb.RegionFailure{Id: x.GetId(), OsCode: "not_permitted"})
		}
		return failed
	}
	return p.monitor.register(r)
}

func (p *Phone) onState(s client.State, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connected = s == client.Open
	if terminal, ok := errors.AsType[*client.TerminalError](err); ok && s == client.Stopped {
		p.stopped = terminal
	}
}

// monitors reports whether the OS watches regions for the app: it needs the
// permission "always" and precise positions.
func (p *Phone) monitors() bool {
	return p.person.Location == sdkpb.Permissions_LOCATION_ALWAYS &&
		p.person.Precision == sdkpb.Permissions_PRECISION_PRECISE && p.locates(InPocket)
}

// locates reports whether the app takes positions in the mode: the person must
// have agreed, in the app and in the OS.
func (p *Phone) locates(m Mode) bool {
	if p.untracked.Load() {
		return false
	}
	switch p.person.Location {
	case sdkpb.Permissions_LOCATION_ALWAYS:
		return m == InHand && p.person.Foreground == Yes || p.person.Background == Yes || p.person.Careless
	case sdkpb.Permissions_LOCATION_WHEN_IN_USE:
		return m == InHand && (p.person.Foreground == Yes || p.person.Careless)
	}
	return false
}

// start is the first run of the app: its questions, and a first position.
func (p *Phone) start() {
	const source = "onboarding"
	person := p.person
	if p.crowd.opts.Load == nil {
		p.move(p.crowd.simTime())
	}
	for _, a := range []struct {
		purpose sdkpb.Consent_Purpose
		answer  Answer
	}{
		{sdkpb.Consent_PURPOSE_MARKETING, person.Marketing},
		{sdkpb.Consent_PURPOSE_PROFILING, person.Profiling},
		{sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, p.loaded(person.Foreground)},
		{sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, person.Background},
		{sdkpb.Consent_PURPOSE_LOCATION_PRECISE, p.loaded(person.Precise)},
	} {
		if a.answer != Never {
			p.client.SetConsent(a.purpose, a.answer == Yes, consentText, source)
		}
	}
	topics := make(map[string]sdkpb.Preferences_Attitude, len(person.Likes)+len(person.Dislikes))
	for _, t := range person.Likes {
		topics[t] = sdkpb.Preferences_ATTITUDE_LIKE
	}
	for _, t := range person.Dislikes {
		topics[t] = sdkpb.Preferences_ATTITUDE_DISLIKE
	}
	if len(topics) > 0 {
		p.client.SetPreferences(topics)
	}
	if proof := p.crowd.opts.IdentityProof; proof != nil && person.UserID != "" {
		p.client.Identify(person.UserID, proof(person.Platform, person.UserID))
	}
	p.track("app_opened", nil)
	p.mu.Lock()
	mode := p.wanted
	p.mu.Unlock()
	if mode == InPocket && p.locates(InPocket) {
		p.fix()
	}
	if mode == InPocket {
		p.post()
	} else {
		p.hold(InHand)
	}
}

// loaded is yes under load, where nothing is to be refused.
func (p *Phone) loaded(a Answer) Answer {
	if p.crowd.opts.Load != nil {
		return Yes
	}
	return a
}

func (p *Phone) track(name string, props map[string]any) {
	if _, err := p.client.Track(name, props); err != nil {
		p.crowd.opts.Logger.Warn("track", "install", p.install, "error", err)
	}
}

// fix enqueues where the phone believes to be.
func (p *Phone) fix() {
	p.mu.Lock()
	w := p.where
	p.mu.Unlock()
	p.lastFix, p.fixed = w.Position, true
	p.client.Fix(p.gps.fix(w, p.person.Precision), time.Time{})
}

// browse is something that the person does in the app.
func (p *Phone) browse() {
	p.mu.Lock()
	w, mode := p.where, p.is
	p.mu.Unlock()
	if mode != InHand {
		return
	}
	all := topics()
	topic := all[p.rng.IntN(len(all))]
	switch {
	case w.Shop != nil:
		topic = w.Shop.Tags[0]
	case len(p.person.Likes) > 0 && p.rng.Float64() < 0.7:
		topic = p.person.Likes[p.rng.IntN(len(p.person.Likes))]
	}
	price := float64(p.rng.IntN(9000)+500) / 100
	product := map[string]any{"category": topic, "product_id": fmt.Sprintf("%s-%d", topic, p.rng.IntN(50)+1), "price": price, "currency": "EUR"}
	switch roll := p.rng.Float64(); {
	case roll < 0.75:
		p.track("product_viewed", product)
	case roll < 0.95:
		p.track("cart_item_added", product)
	default:
		p.track("order_completed", map[string]any{"order_id": fmt.Sprintf("%s-%d", p.install, p.rng.Uint32()), "total": price, "currency": "EUR", "category": topic})
	}
}

// changeMind turns the answer to marketing round.
func (p *Phone) changeMind() {
	p.client.SetConsent(sdkpb.Consent_PURPOSE_MARKETING, p.person.Marketing != Yes, consentText, "settings")
	p.post()
}

// setOffline takes the network away or brings it back.
func (p *Phone) setOffline(offline bool) {
	if p.gate == nil {
		return
	}
	p.gate.set(offline)
	p.mu.Lock()
	p.offline = offline
	var held []push
	if !offline {
		held, p.held = p.held, nil
		p.retryAt = time.Time{}
	}
	p.mu.Unlock()
	for _, x := range held {
		p.Push(x.id, x.via)
	}
	if !offline && p.client.Pending() > 0 {
		p.post()
	}
}

// hold takes the phone into the hand or puts it into the pocket.
func (p *Phone) hold(m Mode) {
	p.mu.Lock()
	p.wanted = m
	p.mu.Unlock()
	p.work()
}

// turnOver does whichever hold did not do last.
func (p *Phone) turnOver() {
	p.mu.Lock()
	to := InHand
	if p.wanted == InHand {
		to = InPocket
	}
	p.mu.Unlock()
	p.hold(to)
}

// post has what waits posted, unless the socket takes it.
func (p *Phone) post() {
	p.mu.Lock()
	p.wantPost = true
	p.mu.Unlock()
	p.work()
}

// work has a worker do what is wanted, one thing at a time.
func (p *Phone) work() {
	select {
	case <-p.crowd.started:
	default:
		return // start will
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.working || p.next() == nil {
		return
	}
	p.working = true
	p.crowd.workers.submit(p.worker)
}

func (p *Phone) worker() {
	for {
		p.mu.Lock()
		job := p.next()
		if job == nil || p.crowd.ctx.Err() != nil {
			p.working = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		job(p.crowd.ctx)
	}
}

// next is the job to do now, nil for none. Called with the lock.
func (p *Phone) next() func(context.Context) {
	switch {
	case p.stopped != nil:
	case p.wanted != p.is && p.wanted == InHand:
		return p.toForeground
	case p.wanted != p.is:
		return p.toBackground
	case p.is == InHand:
		p.wantPost = false // the socket takes it
	case p.wantPost && !p.offline && !time.Now().Before(p.retryAt):
		return p.postNow
	}
	return nil
}

func (p *Phone) toForeground(ctx context.Context) {
	p.client.SetLifecycle(sdkpb.Lifecycle_STATE_FOREGROUND)
	if err := p.client.Foreground(ctx); err != nil && !errors.Is(err, client.ErrRunning) {
		p.crowd.opts.Logger.WarnContext(ctx, "to foreground", "install", p.install, "error", err)
	}
	p.mu.Lock()
	p.is = InHand
	p.mu.Unlock()
}

func (p *Phone) toBackground(ctx context.Context) {
	p.mu.Lock()
	p.is = InPocket // no fixes while the queue empties
	p.mu.Unlock()
	if err := p.client.Background(ctx); err != nil && ctx.Err() == nil {
		p.crowd.opts.Logger.WarnContext(ctx, "to background", "install", p.install, "error", err)
	}
	if p.client.Pending() > 0 {
		p.mu.Lock()
		p.wantPost = true
		p.mu.Unlock()
	}
}

// postNow is one wake: one POST, and another attempt later where it failed or
// not everything fitted.
func (p *Phone) postNow(ctx context.Context) {
	p.mu.Lock()
	p.wantPost = false
	p.mu.Unlock()
	err := p.client.PostBatch(ctx)
	if ctx.Err() != nil {
		return // the town is closed
	}
	p.book.answered(err, time.Now())
	if terminal, ok := errors.AsType[*client.TerminalError](err); ok {
		p.crowd.opts.Logger.WarnContext(ctx, "the app gives up", "install", p.install, "error", terminal)
		p.mu.Lock()
		p.stopped = terminal
		p.mu.Unlock()
		return
	}
	if err == nil {
		p.mu.Lock()
		p.failures = 0
		p.mu.Unlock()
		if p.client.Pending() > 0 {
			p.crowd.agenda.after(p.crowd.opts.BackoffMin, p.post)
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures++
	wait := min(p.crowd.opts.BackoffMin<<min(p.failures, 10), max(p.crowd.opts.BackoffMax, p.crowd.opts.BackoffMin), postRetryMost)
	if later, ok := errors.AsType[*client.RetryError](err); ok {
		wait = max(wait, later.After)
	}
	p.retryAt = time.Now().Add(wait)
	p.crowd.agenda.after(wait, p.post)
}

// settle has a phone that has something to say say it, for the end of the day.
func (p *Phone) settle() (pending int, stopped error) {
	p.mu.Lock()
	stopped = p.stopped
	busy := p.working || p.wanted != p.is
	p.mu.Unlock()
	pending = p.client.Pending()
	switch {
	case stopped != nil:
	case pending > 0:
		p.post()
	case busy:
		pending = 1 // an answer that is under way may bring something
	}
	return pending, stopped
}

// close ends what the client has open.
func (p *Phone) close() {
	p.client.Close()
	if p.own != nil {
		p.own.CloseIdleConnections()
	}
}

func (p *Phone) report() PhoneReport {
	r := PhoneReport{Install: p.install, Person: p.person, Pending: p.client.Pending()}
	p.mu.Lock()
	r.Stopped = p.stopped
	p.mu.Unlock()
	p.book.report(&r)
	return r
}
