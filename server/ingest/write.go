package ingest

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// gorilla's connection reads, and says what is wrong with what it reads. What is
// written to a phone is written here: with all acks of a record of the log at hand, a
// goroutine for each, its growing stack and a deadline for each write cost as much as
// the acks' way before.

// flushes are the sessions for which something waits. Workers, who exist while there is
// something to do, write what the sockets take at once.
type flushes struct {
	most int // workers

	mu      sync.Mutex
	waiting []*session
	next    int // in waiting
	workers int
}

func (x *flushes) add(s *session) {
	x.mu.Lock()
	if x.next >= 1024 && x.next > len(x.waiting)/2 { // it may never be empty
		n := copy(x.waiting, x.waiting[x.next:])
		clear(x.waiting[n:])
		x.waiting, x.next = x.waiting[:n], 0
	}
	x.waiting = append(x.waiting, s)
	another := x.workers < x.most
	if another {
		x.workers++
	}
	x.mu.Unlock()
	if another {
		s.g.wg.Add(1) // the session is counted, so it is not zero here
		go x.work(&s.g.wg)
	}
}

func (x *flushes) work(wg *sync.WaitGroup) {
	defer wg.Done()
	w, _ := writings.Get().(*writing)
	if w == nil {
		w = newWriting()
	}
	for s := x.take(); s != nil; s = x.take() {
		if !s.flush(w) {
			w = newWriting() // the other one goes on with it
		}
	}
	writings.Put(w)
}

// take is the next session; nil means that there is none, and that the worker is done.
func (x *flushes) take() *session {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.next == len(x.waiting) {
		x.waiting, x.next = x.waiting[:0], 0
		if cap(x.waiting) > keptSessions {
			x.waiting = nil
		}
		x.workers--
		return nil
	}
	s := x.waiting[x.next]
	x.waiting[x.next] = nil
	x.next++
	return s
}

// keptSessions is for how many sessions flushes keeps room when there are none.
const keptSessions = 4096

// kickLocked has what waits written, unless that is under way. The session itself is
// counted in wg until it has ended, so wg is not zero here.
func (s *session) kickLocked() {
	if s.flushing || s.ended {
		return
	}
	s.flushing = true
	s.g.wg.Add(1)
	s.g.flushes.add(s)
}

// round is what one round of a flush writes.
type round struct {
	frames *outbound // the first of a list
	ping   bool
	pong   *string // the payload; nil means that none is due
	bye    *farewell
}

// within is how long a phone has to take it.
func (r *round) within() time.Duration {
	if r.bye != nil && r.frames == nil {
		return closeWithin
	}
	return writeWithin
}

// flush writes until nothing waits, or until the phone does not take it at once: then a
// goroutine of its own goes on with w, and false is returned.
func (s *session) flush(w *writing) bool {
	for {
		r, any := s.take()
		if !any {
			s.g.wg.Done()
			return true
		}
		w.encode(s, r)
		err := w.try(s)
		if err == nil && len(w.left) > 0 {
			go s.flushPatiently(w, r)
			return false
		}
		s.wrote(&r, err)
	}
}

// flushPatiently writes what is left of a round, and then until nothing waits.
func (s *session) flushPatiently(w *writing, r round) {
	defer s.g.wg.Done()
	for any := true; any; {
		conn := s.conn.NetConn()
		err := conn.SetWriteDeadline(soon(r.within()))
		if err == nil {
			_, err = conn.Write(w.left)
		}
		if err == nil {
			err = conn.SetWriteDeadline(time.Time{}) // a worker sets none
		}
		s.wrote(&r, err)
		if r, any = s.take(); any {
			w.encode(s, r)
		}
	}
	w.left = nil
	writings.Put(w)
}

// wrote ends a round.
func (s *session) wrote(r *round, err error) {
	if err == nil && r.bye != nil {
		// The reader throws away what still comes: closing on unread bytes would
		// reset the connection and take the close frame with it.
		err = s.conn.SetReadDeadline(soon(closeWithin))
	}
	if err != nil {
		s.abort() // the reader will hear of it
	}
}

func (s *session) take() (r round, any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queued -= s.writing
	s.writing = 0
	if s.ended {
		s.flushing = false
		return r, false
	}
	var end *outbound // the last that goes
	for n, o := 0, s.first; o != nil && n < chunkFrames && (n == 0 || s.writing+o.size <= chunkBytes); n, o = n+1, o.next {
		s.writing += o.size
		end = o
	}
	if end != nil {
		r.frames, s.first, end.next = s.first, end.next, nil
		if s.first == nil {
			s.last = nil
		}
	}
	r.ping, s.pingDue = s.pingDue, false
	r.pong, s.pongDue = s.pongDue, nil
	if s.first == nil && s.bye != nil && !s.byeSent && (s.flights == 0 || !s.bye.patient) {
		r.bye, s.byeSent = s.bye, true
		if s.bye.words != nil {
			words := &outbound{frame: s.bye.words}
			if end != nil {
				end.next = words
			} else {
				r.frames = words
			}
		}
	}
	if r.frames == nil && !r.ping && r.pong == nil && r.bye == nil {
		s.flushing = false
		return r, false
	}
	return r, true
}

// writing is the memory for what is being written, which is used again.
type writing struct {
	buf  []byte
	left []byte // of it, not written yet
	once func(fd uintptr) bool
	err  error // of once
}

var writings sync.Pool // of *writing

func newWriting() *writing {
	w := new(writing)
	w.once = w.writeOnce
	return w
}

// try writes what the socket takes at once, and leaves the rest in left. A connection
// that is no plain socket takes nothing at once.
func (w *writing) try(s *session) error {
	if s.raw == nil {
		return nil
	}
	w.err = nil
	// A deadline that has passed was for what somebody closed at once; a goroutine that
	// waits sets its own.
	if err := s.raw.Write(w.once); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return w.err
}

// encode makes left what the round writes. The flights that it ends are over.
func (w *writing) encode(s *session, r round) {
	const room = 10 // of the longest header
	b := append(w.buf[:0], make([]byte, room)...)
	msg := b[room:]
	for next := r.frames; next != nil; {
		o := next
		next = o.next
		longer, err := s.codec.AppendFrame(msg, o.frame)
		if err != nil { // a message whose text is not UTF-8
			s.g.log.Error("frame cannot be encoded", "install", s.installID(), "error", err)
		} else {
			msg = longer
		}
		if o.flight != nil {
			o.flight.release()
		}
	}
	if cap(b) >= room+len(msg) { // else it is elsewhere, once: the next time there is room
		b = b[:room+len(msg)]
		if len(msg) > 0 && &msg[0] != &b[room] {
			copy(b[room:], msg)
		}
	} else {
		b = append(b, msg...)
	}
	from := room
	if len(b) > room {
		opcode := byte(websocket.TextMessage)
		if s.codec.Binary() {
			opcode = websocket.BinaryMessage
		}
		from = putHeader(b[:room], opcode, len(b)-room)
	}
	if r.pong != nil {
		b = appendControl(b, websocket.PongMessage, []byte(*r.pong))
	}
	switch {
	case r.bye != nil:
		b = appendControl(b, websocket.CloseMessage, websocket.FormatCloseMessage(int(r.bye.code), r.bye.text))
	case r.ping:
		b = appendControl(b, websocket.PingMessage, nil)
	}
	w.buf, w.left = b[:0], b[from:]
}

// final is the first bit of a frame that is a whole message (RFC 6455, 5.2).
const final = 0x80

// putHeader writes the header of a message of n bytes, which a server does not mask, to
// the end of b, and gives where it begins.
func putHeader(b []byte, opcode byte, n int) (from int) {
	switch {
	case n < 126:
		from = len(b) - 2
		b[from+1] = byte(n)
	case n < 1<<16:
		from = len(b) - 4
		b[from+1] = 126
		binary.BigEndian.PutUint16(b[from+2:], uint16(n))
	default:
		from = len(b) - 10
		b[from+1] = 127
		binary.BigEndian.PutUint64(b[from+2:], uint64(n))
	}
	b[from] = final | opcode
	return from
}

// mostControl is how long the payload of a control frame may be (RFC 6455, 5.5).
const mostControl = 125

func appendControl(b []byte, opcode byte, payload []byte) []byte {
	payload = payload[:min(len(payload), mostControl)]
	return append(append(b, final|opcode, byte(len(payload))), payload...)
}
