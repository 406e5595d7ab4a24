package ingest

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

const (
	// maxInboxFrame bounds an Inbox on a socket, in bytes as protobuf: as JSON it may
	// be some times as long. What is beyond it is asked for with the cursor.
	maxInboxFrame = 12 << 10
	// inboxWorkers is how many ask for the changes of inboxes at a time, of those
	// that the server tells of its own accord.
	inboxWorkers = 4
	// syncCost and refreshCost are what a question for the inbox and one for a token
	// take of the install's rate of items: each reads the store, the latter writes it.
	syncCost    = 20
	refreshCost = 100
)

// mailbox is how far a session's phone has been told of its inbox.
type mailbox struct {
	mu     sync.Mutex // held from asking until the answer is queued: they go out in the order of their cursors
	asked  bool       // the phone has, in this session: until then it is told nothing
	cursor string     // of the newest answer; empty is the beginning
	due    bool       // it waits for a worker; guarded by inboxes.mu
}

// inboxes are the sessions whose inbox has changed. Workers exist while there are
// some.
type inboxes struct {
	mu      sync.Mutex
	queue   []*session
	failed  []*session // could not be asked for, and are again at the next tick
	workers int
}

// add has a worker tell the session what has changed. What changes until then is
// told together.
func (x *inboxes) add(s *session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s.mail.due {
		return
	}
	s.mail.due = true
	x.queue = append(x.queue, s)
	if x.workers == inboxWorkers {
		return
	}
	life, err := s.g.enter()
	if err != nil { // the gateway ends: the phone asks when it comes back
		return
	}
	x.workers++
	go func() {
		defer s.g.wg.Done()
		for next := x.next(); next != nil; next = x.next() {
			if !next.tellChanges(life) {
				x.failedFor(next)
			}
		}
	}()
}

// next is the session whose turn it is; nil ends the worker.
func (x *inboxes) next() *session {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.queue) == 0 {
		x.queue = nil
		x.workers--
		return nil
	}
	s := x.queue[0]
	x.queue[0], x.queue = nil, x.queue[1:]
	s.mail.due = false // what changes from here on is another change
	return s
}

// retry asks again for what could not be asked for.
func (x *inboxes) retry() {
	x.mu.Lock()
	failed := x.failed
	x.failed = nil
	x.mu.Unlock()
	for _, s := range failed {
		if s.isOpen() {
			x.add(s)
		}
	}
}

// mayAsk charges what a question costs to the install's rate.
func (g *Gateway) mayAsk(in *install, cost int, field string) *sdkproto.Error {
	e := g.mayPass(in, cost, g.o.Clock.Now())
	if e != nil {
		e.Field, e.Reason = field, "too many questions of one install"
	}
	return e
}

// inboxSince asks the ledger, for the person whose the install is when it answers: who
// tells the answer on a socket says whose it is (number.whose), since a logout may
// come in between. What the phone's SDK could not read is left out.
func (g *Gateway) inboxSince(ctx context.Context, in *install, c caps, cursor string, limit int) (x *sdkpb.Inbox, whose *string, err error) {
	for {
		whose = in.profile.Load()
		x, err = g.o.Deliveries.InboxSince(ctx, in.key.workspace, in.key.install, cursor, limit)
		if err != nil || in.profile.Load() == whose {
			return c.readable(x), whose, wrap("inbox", err)
		}
	}
}

// readable leaves out what only waits for its moment, which an SDK that cannot wait
// would take for a card.
func (c caps) readable(x *sdkpb.Inbox) *sdkpb.Inbox {
	if x != nil && !c.triggers {
		x.Messages = slices.DeleteFunc(x.Messages, func(m *sdkpb.Message) bool { return m.GetKind() == sdkpb.Message_KIND_IN_APP })
	}
	return x
}

// waiting are the messages that wait for who keeps no inbox, as inboxSince.
func (g *Gateway) waiting(ctx context.Context, in *install) (messages []*sdkpb.Message, whose *string, err error) {
	for {
		whose = in.profile.Load()
		messages, err = g.o.Deliveries.Inbox(ctx, in.key.workspace, in.key.install)
		if err != nil || in.profile.Load() == whose {
			return messages, whose, wrap("inbox", err)
		}
	}
}

// changes reports whether there is anything in it that a phone must hear of.
func changes(x *sdkpb.Inbox) bool {
	return x.GetFull() || x.GetMore() || len(x.GetMessages()) > 0 || len(x.GetGone()) > 0
}

func checkCursor(field, cursor string) *sdkproto.Error {
	if len(cursor) > sdkproto.MaxCursorChars {
		return sdkproto.Errorf(sdkproto.ErrMalformed, field, "at most %d characters", sdkproto.MaxCursorChars)
	}
	return nil
}

// inboxSync answers a phone that asks.
func (s *session) inboxSync(re uint64, cursor string) {
	e := checkCursor("inbox_sync.cursor", cursor)
	if e == nil {
		e = s.g.mayAsk(s.in, syncCost, "inbox_sync")
	}
	if e != nil {
		s.complain(re, e)
		return
	}
	ctx, cancel := context.WithTimeout(s.life, claimWithin)
	defer cancel()
	s.mail.mu.Lock()
	defer s.mail.mu.Unlock()
	for {
		x, whose, err := s.g.inboxSince(ctx, s.in, s.caps, cursor, maxInboxFrame)
		if err != nil {
			s.complain(re, s.g.answer(ctx, err, "inbox"))
			return
		}
		s.mail.asked, s.mail.cursor = true, x.GetCursor()
		if s.tell(&sdkpb.Frame{Re: re, Inbox: x}, number{topic: topicInbox, whose: whose}) || s.in.profile.Load() == whose {
			return
		}
	}
}

// tellChanges sends what has changed since the phone's cursor, if it has asked, and
// reports whether that could be found out.
func (s *session) tellChanges(ctx context.Context) (ok bool) {
	ctx, cancel := context.WithTimeout(ctx, claimWithin)
	defer cancel()
	s.mail.mu.Lock()
	defer s.mail.mu.Unlock()
	if !s.mail.asked || !s.isOpen() {
		return true
	}
	for {
		x, whose, err := s.g.inboxSince(ctx, s.in, s.caps, s.mail.cursor, maxInboxFrame)
		if err != nil {
			s.g.inboxFailed(ctx, s.in, err)
			return false
		}
		if !changes(x) {
			return true
		}
		s.mail.cursor = x.GetCursor()
		if s.tell(&sdkpb.Frame{Inbox: x}, number{topic: topicInbox, whose: whose}) || s.in.profile.Load() == whose {
			return true
		}
	}
}

// openInbox begins with the cursor that the phone's hello has named.
func (s *session) openInbox(ctx context.Context, cursor string) {
	s.mail.mu.Lock()
	s.mail.asked, s.mail.cursor = true, cursor
	s.mail.mu.Unlock()
	if !s.tellChanges(ctx) {
		s.g.inboxes.failedFor(s)
	}
}

// failedFor has the session asked for at the next tick.
func (x *inboxes) failedFor(s *session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.failed = append(x.failed, s)
}

// tellMessages sends the waiting inbox messages one by one to a phone that does not
// ask by cursor, as far as there is room: the others come with the next hello.
func (s *session) tellMessages(ctx context.Context) {
	messages, whose, err := s.g.waiting(ctx, s.in)
	if err != nil {
		s.g.inboxFailed(ctx, s.in, err)
		s.g.installs.missed(s.in.key)
		return
	}
	for _, m := range messages {
		if !s.offerMessage(m, whose) {
			s.g.installs.missed(s.in.key)
			return
		}
	}
}

// offerMessage hands the phone a message if its queue has room. Whose is as in number.
func (s *session) offerMessage(m *sdkpb.Message, whose *string) bool {
	n := number{topic: topicInApp, worth: sdkproto.ClaimWithin, offer: true, whose: whose}
	if m.GetKind() == sdkpb.Message_KIND_INBOX {
		n.topic, n.worth = topicMessage, 0
		if at := m.GetExpiresMs(); at > 0 {
			n.worth = min(max(time.UnixMilli(at).Sub(s.g.o.Clock.Now()), 1), sdkproto.ResumeWithin)
		}
	}
	return s.tell(&sdkpb.Frame{Message: m}, n)
}

func (g *Gateway) inboxFailed(ctx context.Context, in *install, err error) {
	if ctx.Err() == nil && g.complaints.AllowN(g.o.Clock.Now(), 1) {
		g.log.WarnContext(ctx, "inbox not read", "install", in.key.install, "error", err)
	}
}

// encloseInbox adds the inbox to an answer: what has changed, for who asks by
// cursor, else the messages that wait for an SDK that does not.
func (g *Gateway) encloseInbox(ctx context.Context, reply *sdkpb.BatchReply, in *install, c caps, cursor *string) {
	if cursor != nil {
		x, _, err := g.inboxSince(ctx, in, c, *cursor, maxInboxBytes)
		if err != nil {
			g.inboxFailed(ctx, in, err)
		} else if changes(x) {
			reply.Inbox = x
		}
		return
	}
	if c.inbox {
		return
	}
	messages, _, err := g.waiting(ctx, in)
	if err != nil {
		g.inboxFailed(ctx, in, err)
		return
	}
	size := 0
	for i, m := range messages {
		if size += proto.Size(m); size > maxInboxBytes {
			messages = messages[:i]
			break
		}
	}
	reply.Messages = messages
}
