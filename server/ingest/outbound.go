package ingest

import (
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

// pong answers a ping of the websocket. Of several that wait the last is answered.
func (s *session) pong(payload string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pongDue = &payload
	s.kickLocked()
	return nil
}

// closed is called when the phone has closed: it hears no more than its close frame
// back, and that only if it was the first to send one.
func (s *session) closed(code int, _ string) error {
	s.mu.Lock()
	first := !s.byeSent
	s.ended = true
	s.dropLocked()
	s.mu.Unlock()
	if first {
		// The reader ends now, whether this can be written or not.
		_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), soon(closeWithin))
	}
	return nil
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
