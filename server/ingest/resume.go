package ingest

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// topic says what a numbered frame is about.
type topic uint8

const (
	topicRegions topic = iota + 1
	topicConfig
	topicInbox
	topicMessage // of kind inbox
	topicInApp   // a message that may be claimed
)

// replaces reports whether a newer frame makes an older one needless.
func (t topic) replaces() bool { return t == topicRegions || t == topicConfig }

// downlink is what a phone of the capability resume was sent under numbers and has
// not said that it has. It is its install's and outlives the session, while the
// install is remembered. A phone that has taken everything costs no more than this
// struct, one without the capability nothing.
type downlink struct {
	epoch   string   // the id of the session with which the numbers began
	session *session // that carries it; nil while there is none
	next    uint64   // number of the next frame, from 1 on
	// floor is the number up to which nothing can be sent again, because the phone
	// has it or because it was given up: who resumes must have taken that many.
	floor uint64
	kept  []kept // by number
	bytes int    // of their bodies
	// missed: an inbox message may wait that no session has told, for an SDK that does
	// not ask by cursor.
	missed bool
}

// kept is a frame that the phone has not acknowledged.
type kept struct {
	seq   uint64
	topic topic
	until time.Time // from then on it is not sent again
	etag  string    // of a set of regions or a config
	body  []byte    // sdkpb.Frame; a third of what the decoded one takes
}

// drop forgets the frames for which f is true.
func (d *downlink) drop(x *installs, f func(*kept) bool) {
	before := d.bytes
	rest := d.kept[:0]
	for i := range d.kept {
		if k := &d.kept[i]; f(k) {
			d.bytes -= len(k.body)
		} else {
			rest = append(rest, *k)
		}
	}
	clear(d.kept[len(rest):])
	if d.kept = rest; len(rest) == 0 {
		d.kept = nil
	}
	x.unacked.Add(int64(d.bytes - before))
}

// giveUp forgets all frames: who has not taken them cannot resume.
func (d *downlink) giveUp(x *installs) {
	if len(d.kept) > 0 {
		d.floor = d.next - 1
		d.drop(x, func(*kept) bool { return true })
	}
}

// expire forgets the frames that are too old. Those that could only be shown at
// their moment are not missed; without any of the others nobody resumes.
func (d *downlink) expire(x *installs, now time.Time) {
	d.drop(x, func(k *kept) bool {
		if now.Before(k.until) {
			return false
		}
		if k.topic != topicInApp {
			d.floor = max(d.floor, k.seq)
		}
		return true
	})
}

// took drops what the phone says it has.
func (d *downlink) took(x *installs, through uint64) {
	if through <= d.floor || through >= d.next {
		return
	}
	d.floor = through
	d.drop(x, func(k *kept) bool { return k.seq <= through })
}

// pending is the etag of what the phone will have when it has taken the frames of
// a topic.
func (d *downlink) pending(t topic) (etag string, ok bool) {
	for i := range slices.Backward(d.kept) {
		if d.kept[i].topic == t {
			return d.kept[i].etag, true
		}
	}
	return "", false
}

// keep holds a frame until it is acknowledged, within the bounds of one install and
// of all.
func (d *downlink) keep(x *installs, k kept) {
	if k.topic.replaces() {
		d.drop(x, func(o *kept) bool { return o.topic == k.topic })
	}
	if x.unacked.Load()+int64(len(k.body)) > x.mostUnacked || len(k.body) > sdkproto.MaxUnackedBytes {
		d.giveUp(x)
		d.floor = k.seq
		return
	}
	d.kept = append(d.kept, k)
	d.bytes += len(k.body)
	x.unacked.Add(int64(len(k.body)))
	for len(d.kept) > sdkproto.MaxUnackedFrames || d.bytes > sdkproto.MaxUnackedBytes {
		oldest := d.kept[0].seq
		d.floor = max(d.floor, oldest)
		d.drop(x, func(o *kept) bool { return o.seq == oldest })
	}
}

// resume makes the session the one that carries the install's numbered frames: it
// goes on with those of an earlier one, or begins anew. Called with in.downMu, for
// an SDK of the capability.
func (x *installs) resume(in *install, s *session, asked *sdkpb.Resume, now time.Time) (resumed bool) {
	d := in.down
	if d != nil && asked != nil && asked.GetEpoch() == d.epoch {
		d.expire(x, now)
		if resumed = asked.GetLastSeq() >= d.floor && asked.GetLastSeq() < d.next; resumed {
			d.took(x, asked.GetLastSeq())
			d.session = s
			return true
		}
	}
	x.forgetDown(in)
	in.down = &downlink{epoch: s.id, session: s, next: 1}
	return false
}

// forgetDown drops what an install's phone was sent. Called with in.downMu.
func (x *installs) forgetDown(in *install) {
	if in.down != nil {
		in.down.giveUp(x)
		in.down = nil
	}
}

// detach leaves the numbered frames to the next session of the install.
func (in *install) detach(s *session) {
	in.downMu.Lock()
	defer in.downMu.Unlock()
	if in.down != nil && in.down.session == s {
		in.down.session = nil
	}
}

// told forgets the frames of a topic: newer has gone by POST.
func (x *installs) told(in *install, t topic) {
	in.downMu.Lock()
	defer in.downMu.Unlock()
	if in.down != nil {
		in.down.drop(x, func(k *kept) bool { return k.topic == t })
	}
}

// acknowledged takes a phone's down_ack. That of a session in whose place another
// is says nothing about the other's numbers.
func (s *session) acknowledged(through uint64) {
	s.in.downMu.Lock()
	defer s.in.downMu.Unlock()
	if d := s.in.down; d != nil && d.session == s {
		d.took(s.g.installs, through)
	}
}

// number is what a frame must know of itself to be sent again.
type number struct {
	topic topic
	etag  string        // of a set of regions or a config
	worth time.Duration // how long it is worth sending again; 0 means sdkproto.ResumeWithin
	offer bool          // only if there is room, and the session is fit for it
	// whose, if set, is install.profile from before the ledger was asked for it: once a
	// logout has made it another it is not told.
	whose *string
}

// tell sends the phone what must not be lost: under a number if it resumes, else as
// it is. False means that it was offered and not taken, or is of a person who has
// logged out. What a session says whose
// place a newer one has taken goes out on that one.
func (s *session) tell(f *sdkpb.Frame, n number) (taken bool) {
	if !s.caps.resume && n.whose == nil {
		return s.send(f, proto.Size(f), n.offer)
	}
	// A logout changes the profile, then takes downMu to drop what is kept: what is
	// told before it does, the ack of the logout follows.
	s.in.downMu.Lock()
	defer s.in.downMu.Unlock()
	if n.whose != nil && s.in.profile.Load() != n.whose {
		return false
	}
	if !s.caps.resume {
		return s.send(f, proto.Size(f), n.offer)
	}
	return s.tellLocked(f, n)
}

// tellLocked is tell with install.downMu, for a session of the capability resume.
func (s *session) tellLocked(f *sdkpb.Frame, n number) (taken bool) {
	d := s.in.down
	if d == nil { // the newer one does not resume
		return s.send(f, proto.Size(f), n.offer)
	}
	re := f.Re
	f.Seq, f.Re = d.next, 0 // another session knows nothing of the question
	body, err := proto.Marshal(f)
	f.Re = re
	if err != nil { // a message whose text is not UTF-8, which no phone can be sent
		s.g.log.Error("frame cannot be encoded", "install", s.installID(), "error", err)
		return false
	}
	if d.session != nil && !d.session.send(f, len(body), n.offer) || d.session == nil && n.offer {
		f.Seq = 0
		return false
	}
	d.next++
	if n.worth == 0 {
		n.worth = sdkproto.ResumeWithin
	}
	d.keep(s.g.installs, kept{f.Seq, n.topic, s.g.o.Clock.Now().Add(n.worth), n.etag, body})
	return true
}

// send queues a frame, and reports whether it was taken.
func (s *session) send(f *sdkpb.Frame, size int, offer bool) bool {
	if offer {
		return s.offer(f, size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushLocked(&outbound{frame: f, size: size})
	return true
}

// replay sends what the phone has not taken, under its numbers, and returns the
// cursor of the newest inbox among it. Called with install.downMu, after resume and
// before anything else is told.
func (s *session) replay() (cursor string) {
	for i := range s.in.down.kept {
		k := &s.in.down.kept[i]
		f := new(sdkpb.Frame)
		if err := proto.Unmarshal(k.body, f); err != nil {
			s.g.log.Error("kept frame cannot be decoded", "install", s.installID(), "error", err)
			continue
		}
		s.send(f, len(k.body), false)
		if f.Inbox != nil {
			cursor = f.Inbox.GetCursor()
		}
	}
	return cursor
}

// sweepEvery is how often, in ticks, frames are looked for that nobody will ask
// for; or at once when the frames of all installs take too much.
const sweepEvery = 3600

// sweep forgets the frames that are too old; and those of who has been away
// longest, until a tenth of the room for all installs is free again.
func (x *installs) sweep(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	room := x.mostUnacked - x.mostUnacked/10
	for e := x.unused.Back(); e != nil; e = e.Prev() {
		in, _ := e.Value.(*install)
		in.downMu.Lock()
		if d := in.down; d != nil {
			d.expire(x, now)
			if x.unacked.Load() > room {
				d.giveUp(x)
			}
		}
		in.downMu.Unlock()
	}
}
