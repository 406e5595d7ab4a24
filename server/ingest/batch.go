package ingest

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// batch judges a batch and has the good items logged; the ack follows when they
// are durable.
func (s *session) batch(re uint64, b *sdkpb.Batch) {
	now := s.g.o.Clock.Now()
	if e := checkBatch(b); e != nil {
		s.complain(re, e)
		return
	}
	if e := s.mayTake(b, now); e != nil {
		s.hold(re, e)
		return
	}
	if s.minted != nil && slices.ContainsFunc(b.Items, func(i *sdkpb.Item) bool { return i.GetIdentify() != nil }) && !s.confirm(re) {
		return
	}
	n := len(b.Items)
	if !s.depart(n) {
		s.complain(re, sdkproto.Errorf(sdkproto.ErrCredit, "batch.items", "more than %d items in flight", s.g.o.Limits.Credit))
		return
	}
	if e := s.g.mayBring(s.in, s.pace, n, now); e != nil {
		// What came after it waits too: none may overtake it.
		s.hold(0, e)
		s.arrive(n, frameOf(e.Frame(re)))
		return
	}
	f := newFlight(s, re, n, now)
	f.ack.BatchId = b.GetBatchId()
	nothing, err := s.g.take(s.in, s.app.Load(), b, now, &f.ack, f.entries, func(entries []engage.Entry) error {
		f.entries, f.size = entries, sizeOf(entries)
		return s.g.hand(s.in, entries, f.size, now, f.landed)
	})
	// Where the log has taken it, the flight may have ended by now.
	if nothing || err != nil {
		f.answer(err, now)
	}
	s.tellRegions(now)
}

// flight is a batch of a session that the log has, and then its answer until it is
// written. It is used again for another one, whose session it may be.
type flight struct {
	s     *session
	re    uint64
	items int
	began time.Time
	size  int64 // of entries in the log's memory

	ack     sdkpb.Ack
	frame   sdkpb.Frame
	out     outbound
	entries []engage.Entry // the log's until it has answered

	landed func(error) // land
}

// keptEntries is for how many entries a flight keeps room.
const keptEntries = 32

var flights sync.Pool // of *flight

func newFlight(s *session, re uint64, items int, now time.Time) *flight {
	f, again := flights.Get().(*flight)
	if !again {
		f = new(flight)
		f.landed = f.land
	}
	f.s, f.re, f.items, f.began = s, re, items, now
	return f
}

// release ends the flight. Nobody has it any more.
func (f *flight) release() {
	f.s = nil
	f.ack.BatchId, f.ack.Rejects = "", nil
	f.out = outbound{}
	if clear(f.entries); cap(f.entries) > keptEntries {
		f.entries = nil
	}
	f.entries = f.entries[:0]
	flights.Put(f)
}

// land is called by the log, once, when the entries are durable or it has failed.
func (f *flight) land(err error) {
	now := f.s.g.o.Clock.Now()
	f.s.g.stalls.arrive(f.s.in.slot, f.size, err == nil, now)
	f.answer(err, now)
}

// answer tells the phone what became of the batch.
func (f *flight) answer(err error, now time.Time) {
	s := f.s
	if err != nil {
		e := s.g.answer(s.life, err, "log batch")
		s.hold(0, e)
		s.arrive(f.items, frameOf(e.Frame(f.re)))
		f.release()
		return
	}
	s.g.metrics.ackedWS(now.Sub(f.began))
	f.ack.ServerMs = now.UnixMilli()
	f.frame.Re, f.frame.Ack = f.re, &f.ack
	f.out.frame, f.out.flight = &f.frame, f
	f.out.size = plainAckBytes + len(f.ack.BatchId)
	if len(f.ack.Rejects) > 0 {
		f.out.size = proto.Size(&f.frame)
	}
	s.arrive(f.items, &f.out)
}

// plainAckBytes is about what an ack without rejects takes as protobuf, beside its
// batch_id.
const plainAckBytes = 32

// confirm ends the time in which a hello without a token gets another one, before
// something depends on whose the install is: a phone sends nothing before it has kept
// the token. False means that it could not be, and that the phone has been told so.
func (s *session) confirm(re uint64) bool {
	ctx, cancel := context.WithTimeout(s.life, claimWithin)
	defer cancel()
	err := s.g.confirm(ctx, s.app.Load(), s.in.key.install, s.minted)
	if err == nil {
		s.minted = nil
		return true
	}
	if e := s.g.answer(ctx, err, "confirm token"); e.Code == sdkproto.ErrToken {
		s.fail(e) // another hello has another token: who is this?
	} else {
		s.hold(re, e)
	}
	return false
}

// mayTake refuses a batch that the log could not take now, and what was on its
// way when an earlier one was refused.
func (s *session) mayTake(b *sdkpb.Batch, now time.Time) *sdkproto.Error {
	if len(b.Items) == 0 {
		return nil
	}
	s.mu.Lock()
	rest := s.held.Sub(now)
	s.mu.Unlock()
	if rest > 0 {
		e := sdkproto.Errorf(sdkproto.ErrRate, "", "an earlier batch waits to be sent again")
		e.RetryAfter = (rest + time.Millisecond - 1).Truncate(time.Millisecond)
		return e
	}
	return s.g.mayTake(s.in.slot)
}

// hold remembers that the phone was told to wait; with re it is told now.
func (s *session) hold(re uint64, e *sdkproto.Error) {
	s.g.metrics.failed(e.Code)
	s.mu.Lock()
	defer s.mu.Unlock()
	if until := s.g.o.Clock.Now().Add(e.RetryAfter); until.After(s.held) {
		s.held = until
	}
	if re != 0 {
		s.pushLocked(frameOf(e.Frame(re)))
	}
}

// tellToWait asks the phone to send no batch, if it has sent one that the log
// does not answer, and was not asked already. What it sent stays with the log:
// its ack comes when it is durable.
func (s *session) tellToWait(now time.Time) {
	if !s.in.slot.stalled.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flights == 0 || s.bye != nil || s.held.After(now) {
		return
	}
	e := sdkproto.Errorf(sdkproto.ErrRate, "", "the log does not answer")
	e.RetryAfter = s.g.patience(s.in.slot)
	s.held = now.Add(e.RetryAfter)
	s.g.metrics.failed(e.Code)
	s.g.metrics.waits.WithLabelValues("in_flight").Inc()
	s.pushLocked(frameOf(e.Frame(0)))
}

// depart counts a batch out, unless that is beyond the credit.
func (s *session) depart(items int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flying+items > s.g.o.Limits.Credit {
		return false
	}
	s.flights++
	s.flying += items
	return true
}

// arrive counts it in, with its answer. It does not block: the log calls it.
func (s *session) arrive(items int, o *outbound) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flights--
	s.flying -= items
	s.pushLocked(o)
	s.kickLocked() // a patient close waits for this
}

// checkBatch checks what is not an item's own fault. A batch of too many items
// does not come here: the codecs refuse it.
func checkBatch(b *sdkpb.Batch) *sdkproto.Error {
	if len(b.GetBatchId()) > 4*sdkproto.MaxIDChars {
		return sdkproto.Errorf(sdkproto.ErrMalformed, "batch.batch_id", "at most %d characters", sdkproto.MaxIDChars)
	}
	if len(b.GetConfigEtag()) > sdkproto.MaxIDChars {
		return sdkproto.Errorf(sdkproto.ErrMalformed, "batch.config_etag", "at most %d characters", sdkproto.MaxIDChars)
	}
	return checkCursor("batch.inbox_cursor", b.GetInboxCursor())
}

// maxRejectBytes is what the rejects of one ack may take before they lose what
// their seq and code do not need.
const maxRejectBytes = chunkBytes - 1024

// take judges a batch, fills the ack and has the good items put into the log, in the
// memory of room if that is enough. Nothing says that there were none. An error is that
// of put, which has then put nothing. The install is locked over it, so that its
// entries are put in the order in which they change the read copy.
func (g *Gateway) take(
	in *install, app *App, b *sdkpb.Batch, received time.Time, ack *sdkpb.Ack, room []engage.Entry, put func([]engage.Entry) error,
) (nothing bool, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	v := in.view
	j := g.judge(&v, in, app, b, received, room)
	through := j.through
	ack.ThroughSeq, ack.Rejects = through, j.rejects
	shorten(ack)
	if len(j.entries) == 0 {
		in.seen(through)
		return true, nil
	}
	if err := put(j.entries); err != nil {
		return false, err
	}
	in.seen(through)
	if in.take(&v) {
		g.installs.left(in)
	}
	return false, nil
}

// shorten takes from many rejects what their seq and code do not need, so that
// the ack fits into a message.
func shorten(ack *sdkpb.Ack) {
	if len(ack.Rejects) == 0 || proto.Size(ack) <= maxRejectBytes {
		return
	}
	for _, r := range ack.Rejects {
		r.ItemId, r.Reason = "", ""
	}
}
