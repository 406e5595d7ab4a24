package ingest

import (
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

const (
	// maxQueued bounds what waits for one phone, in bytes as protobuf. A phone
	// beyond it is closed with 4008.
	maxQueued = 256 << 10
	// maxOffered bounds what messages may take of it: acks come first.
	maxOffered = maxQueued / 2
	// chunkBytes and chunkFrames bound one websocket message, whose JSON is
	// longer than its protobuf and must be within sdkproto.MaxFrameBytes.
	chunkBytes  = 16 << 10
	chunkFrames = 64

	writeWithin = 10 * time.Second
	// closeWithin is how long a phone has to take its close frame.
	closeWithin = time.Second
)

// outbound is a frame that waits, in a list.
type outbound struct {
	next   *outbound
	frame  *sdkpb.Frame
	size   int     // in bytes as protobuf, of an ack about
	flight *flight // whose answer it is, and which ends when it is written; nil for others
}

func frameOf(f *sdkpb.Frame) *outbound { return &outbound{frame: f, size: proto.Size(f)} }

// farewell is how a session is closed.
type farewell struct {
	code    sdkproto.CloseCode
	text    string
	words   *sdkpb.Frame // before the close frame; nil means none
	patient bool         // answers what was taken first
}

// Whether a close waits for the answers to what was taken.
const (
	patiently = true
	atOnce    = false
)

// frames being encoded.
var encodeBuffers = sync.Pool{New: func() any { return new([]byte) }}

// soon is a deadline for a socket.
func soon(d time.Duration) time.Time {
	return time.Now().Add(d) //nolint:forbidigo // the network's deadlines are on the machine's clock
}

// push queues a frame.
func (s *session) push(f *sdkpb.Frame) {
	o := frameOf(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushLocked(o)
}

func (s *session) pushLocked(o *outbound) {
	if s.ended || s.byeSent {
		return
	}
	if s.queued+o.size > maxQueued {
		s.closeLocked(&farewell{code: sdkproto.CloseSlow, text: "too much waits to be read"})
		return
	}
	if s.first == nil {
		s.first = o
	} else {
		s.last.next = o
	}
	s.last = o
	s.queued += o.size
	s.kickLocked()
}

// offer queues a message if there is room and the session is fit for it.
func (s *session) offer(f *sdkpb.Frame, size int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opened || s.ended || s.bye != nil || s.queued+size > maxOffered {
		return false
	}
	s.pushLocked(&outbound{frame: f, size: size})
	return true
}

func (s *session) ping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pingDue = true
	s.kickLocked()
}

// close closes the session. The first reason stands, unless a later one does not
// wait.
func (s *session) close(code sdkproto.CloseCode, text string, patient bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked(&farewell{code: code, text: text, patient: patient})
}

func (s *session) closeLocked(bye *farewell) {
	if s.ended || s.byeSent || s.bye != nil && (bye.patient || !s.bye.patient) {
		return
	}
	s.bye = bye
	s.g.metrics.closing(bye.code)
	if !bye.patient {
		s.dropLocked()
		s.queued = s.writing
		// Whoever is being written to has that long to read.
		_ = s.conn.NetConn().SetWriteDeadline(soon(closeWithin))
	}
	s.kickLocked()
}

// abort ends the connection without a word.
func (s *session) abort() {
	s.mu.Lock()
	s.ended = true
	s.dropLocked()
	s.mu.Unlock()
	_ = s.conn.Close()
}

func (s *session) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened && !s.ended && s.bye == nil
}

func (s *session) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bye != nil || s.ended
}

// dropLocked forgets what waits.
func (s *session) dropLocked() { s.first, s.last = nil, nil }

// kickLocked starts a flush unless one is under way. The session itself is
// counted in wg until it has ended, so wg is not zero here.
func (s *session) kickLocked() {
	if s.flushing || s.ended {
		return
	}
	s.flushing = true
	s.g.wg.Add(1)
	if s.last != nil && s.last.flight != nil {
		go s.last.flight.flush() // which ends after the flush has begun; its func is there already
		return
	}
	go s.flush()
}

// round is what one round of a flush writes.
type round struct {
	frames *outbound // the first of a list
	ping   bool
	bye    *farewell
}

// flush writes until nothing waits.
func (s *session) flush() {
	defer s.g.wg.Done()
	for {
		r, any := s.take()
		if !any {
			return
		}
		if err := s.write(r); err != nil {
			s.abort() // the reader will hear of it
		}
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
	if r.frames == nil && !r.ping && r.bye == nil {
		s.flushing = false
		return r, false
	}
	return r, true
}

func (s *session) write(r round) error {
	if r.frames != nil {
		if err := s.writeFrames(r.frames); err != nil {
			return err
		}
	}
	if r.bye != nil {
		msg := websocket.FormatCloseMessage(int(r.bye.code), r.bye.text)
		if err := s.conn.WriteControl(websocket.CloseMessage, msg, soon(closeWithin)); err != nil {
			return err
		}
		// The reader throws away what still comes: closing on unread bytes would
		// reset the connection and take the close frame with it.
		return s.conn.SetReadDeadline(soon(closeWithin))
	}
	if r.ping {
		return s.conn.WriteControl(websocket.PingMessage, nil, soon(writeWithin))
	}
	return nil
}

// writeFrames writes a list of frames. The flights that they end are over.
func (s *session) writeFrames(o *outbound) error {
	buf, _ := encodeBuffers.Get().(*[]byte)
	defer encodeBuffers.Put(buf)
	msg := (*buf)[:0]
	for next := o; next != nil; {
		o, next = next, next.next
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
	*buf = msg[:0]
	if len(msg) == 0 {
		return nil
	}
	kind := websocket.TextMessage
	if s.codec.Binary() {
		kind = websocket.BinaryMessage
	}
	if err := s.conn.SetWriteDeadline(soon(writeWithin)); err != nil {
		return err
	}
	return s.conn.WriteMessage(kind, msg)
}
