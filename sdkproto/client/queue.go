package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// entry is an item that waits.
type entry struct {
	item     *sdkpb.Item
	size     int32 // as protobuf
	attempts uint32
	saved    bool // the store has it; only then it may be sent
	onSocket bool // sent on the session, and not yet answered
	onPost   bool // sent by the POST under way
	gone     bool // acknowledged, refused or dropped
}

// flight is a batch on its way.
type flight struct {
	id      uint64 // of its frame; 0 for a POST
	batchID string
	entries []*entry
}

// way is one on which items travel, in order. An item on one is still taken by the
// other, so that nothing later overtakes it there.
type way bool

const (
	bySocket way = false
	byPost   way = true
)

func (e *entry) flies(w way) bool {
	if w == byPost {
		return e.onPost
	}
	return e.onSocket
}

func (e *entry) fly(w way, flying bool) {
	if w == byPost {
		e.onPost = flying
	} else {
		e.onSocket = flying
	}
}

// queue holds the items in the order of their seq. Guarded by Client.mu.
type queue struct {
	entries []*entry
	next    uint64 // seq of the next item
	batches uint64 // minted so far, for batch ids
	bytes   int    // of all entries
	// most is how many items a batch may have while a batch that was refused as
	// a whole is searched for its bad item; 0 means no search.
	most int
	// away says that the newest lifecycle item says background; false when there
	// was none since the app's process began and none waited then.
	away bool
}

func newEntry(item *sdkpb.Item, saved bool) *entry {
	return &entry{item: item, size: int32(proto.Size(item)), saved: saved}
}

func (q *queue) load(s Saved) {
	q.next = max(s.NextSeq, 1)
	for _, i := range s.Items {
		q.add(i, true)
		q.next = max(q.next, i.Seq+1)
		q.hear(i)
	}
}

func (q *queue) add(i *sdkpb.Item, saved bool) {
	e := newEntry(i, saved)
	q.entries = append(q.entries, e)
	q.bytes += int(e.size)
}

// leaves reports whether a logout has not reached the server yet.
func (q *queue) leaves() bool {
	return slices.ContainsFunc(q.entries, func(e *entry) bool { return !e.gone && e.item.Logout != nil })
}

// hear notes what an item says of the app's state.
func (q *queue) hear(item *sdkpb.Item) {
	if l := item.GetLifecycle(); l != nil {
		q.away = l.State == sdkpb.Lifecycle_STATE_BACKGROUND
	}
}

// save hands to the store what it has not taken yet, in order.
func (q *queue) save(s Store) error {
	i := len(q.entries)
	for i > 0 && !q.entries[i-1].saved {
		i--
	}
	if i == len(q.entries) {
		return nil
	}
	items := make([]*sdkpb.Item, 0, len(q.entries)-i)
	for _, e := range q.entries[i:] {
		items = append(items, e.item)
	}
	if err := s.Append(items...); err != nil {
		return fmt.Errorf("client: keep item: %w", err)
	}
	for _, e := range q.entries[i:] {
		e.saved = true
	}
	return nil
}

// renumber gives all that waits a seq from first on: the server knows a higher
// one than we do, so under ours it would take them for repeats.
func (q *queue) renumber(s Store, first uint64) {
	var old []uint64
	for _, e := range q.entries {
		if e.saved {
			old = append(old, e.item.Seq)
		}
		item := proto.CloneOf(e.item)
		item.Seq = first
		item.ItemId = strconv.FormatUint(first, 10)
		first++
		e.item, e.saved, e.onSocket, e.onPost = item, false, false, false
	}
	q.next = first
	// A store that fails here is asked again before anything is sent.
	if len(old) > 0 {
		_ = s.Remove(old)
	}
	_ = q.save(s)
}

// take chooses the oldest items that are not on this way already, at most n items
// and about size bytes, and marks them. What follows a logout waits for its ack: were
// the logout kept later than it, it would be the earlier person's.
func (q *queue) take(w way, n, size int) []*entry {
	if q.most > 0 {
		n = min(n, q.most)
	}
	var out []*entry
	for _, e := range q.entries {
		if len(out) >= n || !e.saved {
			break
		}
		if e.gone {
			continue
		}
		if !e.flies(w) {
			size -= int(e.size) + 4
			if size < 0 && len(out) > 0 {
				break
			}
			e.fly(w, true)
			out = append(out, e)
		}
		if e.item.Logout != nil {
			break
		}
	}
	return out
}

func (q *queue) batch(es []*entry) *sdkpb.Batch {
	q.batches++
	b := &sdkpb.Batch{
		BatchId: fmt.Sprintf("%d.%d", q.next, q.batches),
		Items:   make([]*sdkpb.Item, len(es)),
	}
	for i, e := range es {
		e.attempts++
		b.Attempt = max(b.Attempt, e.attempts)
		b.Items[i] = e.item
	}
	return b
}

// land gives back what was not answered.
func land(w way, es []*entry) {
	for _, e := range es {
		e.fly(w, false)
	}
}

// settled is what an answer changed, for the callbacks.
type settled struct {
	acked   []*sdkpb.Item
	refused []*sdkpb.Item
	rejects []*sdkpb.Reject // of refused, one each
	again   bool            // some are to be sent again
}

// settle applies an ack to the batch that it answers.
func (q *queue) settle(w way, es []*entry, rejects []*sdkpb.Reject) settled {
	var bad map[uint64]*sdkpb.Reject
	if len(rejects) > 0 {
		bad = make(map[uint64]*sdkpb.Reject, len(rejects))
		for _, r := range rejects {
			bad[r.Seq] = r
		}
	}
	var s settled
	for _, e := range es {
		e.fly(w, false)
		if e.gone {
			continue
		}
		switch r := bad[e.item.Seq]; {
		case r == nil:
			e.gone = true
			s.acked = append(s.acked, e.item)
		case r.Retryable:
			s.again = true
		default:
			e.gone = true
			s.refused = append(s.refused, e.item)
			s.rejects = append(s.rejects, r)
		}
	}
	if q.most > 0 && len(s.acked) > 0 {
		if q.most *= 2; q.most >= sdkproto.MaxBatchItems {
			q.most = 0
		}
	}
	return s
}

// bisect answers a batch that was refused as a whole: the next ones have half
// its size; a batch of one is refused for good.
func (q *queue) bisect(w way, es []*entry, code sdkproto.RejectCode, reason string) settled {
	land(w, es)
	switch len(es) {
	case 0:
		return settled{}
	case 1:
		return q.settle(w, es, []*sdkpb.Reject{sdkproto.NewReject(es[0].item, code, "", "%s", reason)})
	}
	q.most = len(es) / 2
	return settled{again: true}
}

// compact forgets what is gone.
func (q *queue) compact() {
	q.entries = slices.DeleteFunc(q.entries, func(e *entry) bool {
		if e.gone {
			q.bytes -= int(e.size)
		}
		return e.gone
	})
	if len(q.entries) == 0 {
		q.entries = nil // an idle phone holds no memory for its queue
	}
}

// spill drops the oldest fix or beacon heard, else the oldest event, if there is one that is not
// on its way: never a receipt or what the person said.
func (q *queue) spill() *entry {
	for _, droppable := range []func(*sdkpb.Item) bool{tellsWhere, func(i *sdkpb.Item) bool { return i.Event != nil }} {
		for _, e := range q.entries {
			if !e.onSocket && !e.onPost && !e.gone && droppable(e.item) {
				e.gone = true
				return e
			}
		}
	}
	return nil
}

// tellsWhere: it is a fix, or a beacon heard.
func tellsWhere(i *sdkpb.Item) bool { return i.Location != nil || i.Beacon != nil && !i.Beacon.Lost }

// blockedBy makes room if an error says that the server has blocked the app or the
// install: it may be so for long, and nobody knows whether what waits is ever wanted.
func (c *Client) blockedBy(err error) {
	if t, ok := errors.AsType[*TerminalError](err); ok && t.Action() == sdkproto.ActRetryDaily {
		c.trim()
	}
}

// trim leaves at most a day of what may be dropped, and does so again with the first item
// after an hour, until the server takes something.
func (c *Client) trim() {
	c.mu.Lock()
	c.trimAt = c.opts.Mono() + trimEvery
	c.mu.Unlock()
	c.forgetAged(day)
}

const (
	day       = 24 * time.Hour
	trimEvery = time.Hour
)

// forgetAged drops fixes, beacons heard and events that are older: 30 days, because the
// server would refuse them, and then when they would be sent, not before: a clock that is
// wrong after a restart may be right again by then.
func (c *Client) forgetAged(most time.Duration) {
	now := c.opts.Clock()
	var dropped []*sdkpb.Item
	c.mu.Lock()
	for _, e := range c.queue.entries {
		if e.gone || e.onSocket || e.onPost || !tellsWhere(e.item) && e.item.Event == nil {
			continue
		}
		age := now.Sub(time.UnixMilli(e.item.OccurredMs))
		if e.item.MonoMs > 0 && e.item.BootId == c.opts.BootID {
			age = c.opts.Mono() - time.Duration(e.item.MonoMs)*time.Millisecond
		}
		if age > most {
			e.gone = true
			dropped = append(dropped, e.item)
		}
	}
	c.forget(dropped)
	c.mu.Unlock()
	c.tellDropped(dropped)
}

// forget takes items that are gone out of store and queue. Called with the lock.
func (c *Client) forget(items []*sdkpb.Item) {
	if len(items) == 0 {
		return
	}
	seqs := make([]uint64, 0, len(items))
	for _, i := range items {
		seqs = append(seqs, i.Seq)
	}
	if err := c.opts.Store.Remove(seqs); err != nil {
		// They are sent again after a restart, and taken for repeats.
		c.log.Warn("forget items", "install", c.opts.InstallID, "error", err)
	}
	c.queue.compact()
}

func (c *Client) tellDropped(items []*sdkpb.Item) {
	if c.opts.OnDropped != nil {
		for _, i := range items {
			c.opts.OnDropped(i)
		}
	}
}

// finish removes what an answer settled from queue and store, and tells the
// host. It is called without the lock.
func (c *Client) finish(s settled) {
	if len(s.acked)+len(s.refused) > 0 {
		c.mu.Lock()
		c.forget(slices.Concat(s.acked, s.refused))
		c.mu.Unlock()
	}
	if slices.ContainsFunc(s.acked, func(i *sdkpb.Item) bool { return i.Logout != nil }) {
		c.askAnew()
	}
	if c.opts.OnAcked != nil {
		for _, i := range s.acked {
			c.opts.OnAcked(i)
		}
	}
	for n, i := range s.refused {
		c.log.Info("item refused", "install", c.opts.InstallID, "seq", i.Seq, "code", s.rejects[n].Code, "field", s.rejects[n].Field)
		if c.opts.OnReject != nil {
			c.opts.OnReject(i, s.rejects[n])
		}
		if code := sdkproto.RejectCode(s.rejects[n].Code); i.Identify != nil && c.opts.OnIdentity != nil &&
			(code == sdkproto.RejectIdentity || code == sdkproto.RejectExpired) {
			c.opts.OnIdentity(i.Identify, s.rejects[n])
		}
	}
	// Only now, so that who waits for it has heard of every ack.
	c.mu.Lock()
	if c.drained != nil && len(c.queue.entries) == 0 {
		close(c.drained)
		c.drained = nil
	}
	c.mu.Unlock()
	c.kick()
}

// Enqueue takes an item with one body and returns its seq. Occurred, monotonic
// time, boot, id and seq are filled in where they are absent. The client owns
// the item from then on.
func (c *Client) Enqueue(item *sdkpb.Item) uint64 {
	now, mono := c.opts.Clock(), c.opts.Mono()
	if item.OccurredMs == 0 {
		item.OccurredMs = now.UnixMilli()
	}
	if item.MonoMs == 0 && item.BootId == "" {
		if m := mono - now.Sub(time.UnixMilli(item.OccurredMs)); m > 0 {
			item.MonoMs = m.Milliseconds()
			item.BootId = c.opts.BootID
		}
	}
	c.mu.Lock()
	full := c.trimAt > 0 && mono >= c.trimAt
	c.mu.Unlock()
	if full {
		c.trim()
	}
	var dropped []*sdkpb.Item
	size := proto.Size(item)
	c.mu.Lock()
	seq := c.queue.next
	c.queue.next++
	item.Seq = seq
	if item.ItemId == "" {
		item.ItemId = strconv.FormatUint(seq, 10)
	}
	var lost []*sdkpb.Item // of the dropped, those that the store has
	for len(c.queue.entries)-len(dropped) >= c.opts.MaxQueue || c.queue.bytes+size > c.opts.MaxQueueBytes {
		e := c.queue.spill()
		if e == nil {
			break
		}
		size -= int(e.size)
		dropped = append(dropped, e.item)
		if e.saved {
			lost = append(lost, e.item)
		}
	}
	c.forget(lost)
	if len(dropped) > len(lost) {
		c.queue.compact()
	}
	c.queue.add(item, false)
	c.queue.hear(item)
	if err := c.queue.save(c.opts.Store); err != nil {
		c.log.Warn("keep item", "install", c.opts.InstallID, "seq", seq, "error", err)
	}
	if item.Logout != nil {
		c.becomeNobody()
	}
	told := c.tellWaiting(item)
	c.mu.Unlock()
	c.kick()
	c.tellDropped(dropped)
	if told {
		c.showDue()
	}
	return seq
}

func (c *Client) occurred(at time.Time, item *sdkpb.Item) *sdkpb.Item {
	if !at.IsZero() {
		item.OccurredMs = at.UnixMilli()
	}
	return item
}

// Track enqueues an event of the app. The error says that props has no JSON.
func (c *Client) Track(name string, props map[string]any) (uint64, error) {
	var text []byte
	if len(props) > 0 {
		var err error
		if text, err = json.Marshal(props); err != nil {
			return 0, fmt.Errorf("client: event %s: properties: %w", name, err)
		}
	}
	return c.Enqueue(&sdkpb.Item{Event: &sdkpb.Event{Name: name, PropertiesJson: string(text)}}), nil
}

// Fix enqueues a position; at is the phone's wall clock when it was made, zero
// means now.
func (c *Client) Fix(l *sdkpb.Location, at time.Time) uint64 {
	return c.Enqueue(c.occurred(at, &sdkpb.Item{Location: l}))
}

// RegionEvent enqueues what the OS reported about a region. The location may be
// nil; at is as in Fix.
func (c *Client) RegionEvent(region string, t sdkpb.RegionEvent_Transition, l *sdkpb.Location, at time.Time) uint64 {
	return c.Enqueue(c.occurred(at, &sdkpb.Item{RegionEvent: &sdkpb.RegionEvent{RegionId: region, Transition: t, Location: l}}))
}

// Beacon enqueues that a beacon is heard, or lost; at is as in Fix.
func (c *Client) Beacon(b *sdkpb.Beacon, at time.Time) uint64 {
	return c.Enqueue(c.occurred(at, &sdkpb.Item{Beacon: b}))
}

// Identify enqueues who uses the install, with the app server's proof.
func (c *Client) Identify(userID, hmac string) uint64 {
	return c.Enqueue(&sdkpb.Item{Identify: &sdkpb.Identify{UserId: userID, Hmac: hmac}})
}

// IdentifyJWT is Identify with a signed token as the proof.
func (c *Client) IdentifyJWT(userID, jwt string) uint64 {
	return c.Enqueue(&sdkpb.Item{Identify: &sdkpb.Identify{UserId: userID, Jwt: jwt}})
}

// Logout enqueues that the person has left the app. The inbox is empty at once; what
// the server brings afterwards is another's.
func (c *Client) Logout() uint64 { return c.Enqueue(&sdkpb.Item{Logout: &sdkpb.Logout{}}) }

// becomeNobody forgets what is the person's. Called with the lock.
func (c *Client) becomeNobody() {
	if c.kept.Inbox != nil {
		c.keepOrWarn(Change{Inbox: &sdkpb.Inbox{Full: true}})
	}
	c.waiting.all = nil
	c.keepWaiting()
	if c.session != nil {
		clear(c.session.claims) // a message for them is not shown any more
	}
}

// askAnew asks for the inbox of whoever uses the app after a logout.
func (c *Client) askAnew() {
	c.mu.Lock()
	if s := c.session; s != nil && c.has(sdkproto.CapInbox) && !c.queue.leaves() {
		s.lastID++
		s.out = append(s.out, &sdkpb.Frame{Id: s.lastID, InboxSync: &sdkpb.InboxSync{}})
	}
	c.mu.Unlock()
	c.kick()
}

// SetPreferences enqueues answers by topic; those to other topics stay.
func (c *Client) SetPreferences(topics map[string]sdkpb.Preferences_Attitude) uint64 {
	return c.Enqueue(&sdkpb.Item{Preferences: &sdkpb.Preferences{Topics: topics}})
}

// SetConsent enqueues the answer to one purpose.
func (c *Client) SetConsent(p sdkpb.Consent_Purpose, granted bool, textVersion, source string) uint64 {
	return c.Enqueue(&sdkpb.Item{Consent: &sdkpb.Consent{Purpose: p, Granted: granted, TextVersion: textVersion, Source: source}})
}

// SetPermissions enqueues what the person allows in the OS; later hellos say it
// too. It must not be nil.
func (c *Client) SetPermissions(p *sdkpb.Permissions) uint64 {
	c.mu.Lock()
	c.perms = p
	c.mu.Unlock()
	return c.Enqueue(&sdkpb.Item{Permissions: p})
}

// SetPushTarget enqueues where a push goes; later hellos say it too. It must not
// be nil.
func (c *Client) SetPushTarget(t *sdkpb.PushTarget) uint64 {
	c.mu.Lock()
	c.push = t
	c.mu.Unlock()
	return c.Enqueue(&sdkpb.Item{PushToken: t})
}

// SetLiveActivity enqueues what the app has learned of a Live Activity (iOS): the token
// that starts those of a type, that of a running one, or that one is over. It must not
// be nil.
func (c *Client) SetLiveActivity(l *sdkpb.LiveActivity) uint64 {
	return c.Enqueue(&sdkpb.Item{LiveActivity: l})
}

// SetLifecycle enqueues a change of the app's state.
func (c *Client) SetLifecycle(s sdkpb.Lifecycle_State) uint64 {
	return c.Enqueue(&sdkpb.Item{Lifecycle: &sdkpb.Lifecycle{State: s}})
}

// Receipt enqueues what became of a message.
func (c *Client) Receipt(messageID string, s sdkpb.Receipt_State, via string) uint64 {
	return c.Enqueue(&sdkpb.Item{Receipt: &sdkpb.Receipt{MessageId: messageID, State: s, Via: via}})
}
