package pipelinebench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// socket is the connection of a phone in the foreground. Whoever writes holds the
// phone's lock.
type socket struct {
	conn *websocket.Conn
	gone atomic.Bool // closed by us
	id   uint64      // of the last frame

	mu     sync.Mutex
	sent   map[uint64]sent     // fixes that are not answered, by frame
	claims map[string]string   // links of messages that are not granted
	others map[uint64]struct{} // receipts that are not answered
}

type sent struct {
	place int
	due   time.Time
}

var writeBuffers sync.Pool

// dial opens the socket and says hello.
func (p *phone) dial(ctx context.Context, token string) error {
	d := websocket.Dialer{
		ReadBufferSize: 512, WriteBufferSize: 1024, WriteBufferPool: &writeBuffers, HandshakeTimeout: 20 * time.Second,
		Subprotocols: []string{sdkproto.SubprotocolPB},
	}
	conn, resp, err := d.DialContext(ctx, "ws://"+p.l.addr+sdkproto.PathWS, http.Header{})
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // it is empty
	s := &socket{conn: conn, sent: map[uint64]sent{}, claims: map[string]string{}, others: map[uint64]struct{}{}}
	p.sock = s
	h := p.hello()
	h.DeviceToken = token
	s.id++
	if err := p.send(&sdkpb.Frame{Id: s.id, Hello: h}); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for ok := false; !ok; {
		_, msg, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		frames, err := sdkproto.Protobuf{}.DecodeFrames(msg, 0)
		if err != nil {
			return err
		}
		for _, f := range frames {
			if f.Error != nil {
				return fmt.Errorf("refused: %d %s", f.Error.GetCode(), f.Error.GetReason())
			}
			ok = ok || f.HelloOk != nil
		}
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	p.l.readers.Go(p.read)
	return nil
}

// send writes a frame. Called with the phone's lock, or before anybody else may.
func (p *phone) send(f *sdkpb.Frame) error {
	msg, err := sdkproto.EncodeFrame(sdkproto.Protobuf{}, f)
	if err != nil {
		return err
	}
	return p.sock.conn.WriteMessage(websocket.BinaryMessage, msg)
}

// write has fixes written to the sockets.
func (l *Load) write(ctx context.Context, begin time.Time, due []time.Duration) (late []time.Duration, err error) {
	return l.schedule(ctx, begin, due, func(n int, at time.Time) error {
		p := l.phones[n%len(l.phones)]
		p.mu.Lock()
		defer p.mu.Unlock()
		b, place := p.fix()
		s := p.sock
		s.id++
		s.mu.Lock()
		s.sent[s.id] = sent{place, at}
		s.mu.Unlock()
		l.expect(p, place, at)
		if err := p.send(&sdkpb.Frame{Id: s.id, Batch: b}); err != nil {
			return fmt.Errorf("a frame: %w", err)
		}
		return nil
	})
}

// read takes answers and messages until the connection ends.
func (p *phone) read() {
	for {
		_, msg, err := p.sock.conn.ReadMessage()
		if err == nil {
			err = p.take(msg, time.Now())
		}
		if err != nil {
			if !p.sock.gone.Load() {
				p.l.fail(fmt.Errorf("the socket of %s: %w", p.install, err))
			}
			return
		}
	}
}

// take looks at the frames of a websocket message. Acks, which are most of them, are not
// decoded.
func (p *phone) take(msg []byte, now time.Time) error {
	for len(msg) > 0 {
		n, k := binary.Uvarint(msg)
		if k <= 0 || n > uint64(len(msg)-k) {
			return errors.New("a frame that is cut short")
		}
		frame := msg[k : k+int(n)]
		msg = msg[k+int(n):]
		if ack, is := field(frame, 13); is {
			p.acked(reOf(frame), clean(ack) == nil)
			continue
		}
		frames, err := sdkproto.Protobuf{}.DecodeFrames(protowire.AppendBytes(nil, frame), 0)
		if err != nil {
			return err
		}
		for _, f := range frames {
			if err := p.handle(f, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// reOf is the frame that a frame answers.
func reOf(b []byte) (re uint64) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0
		}
		if b = b[n:]; num == 2 && typ == protowire.VarintType {
			re, _ = protowire.ConsumeVarint(b)
			return re
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return 0
		}
		b = b[n:]
	}
	return 0
}

func (p *phone) acked(re uint64, taken bool) {
	s := p.sock
	s.mu.Lock()
	fix, is := s.sent[re]
	delete(s.sent, re)
	_, other := s.others[re]
	delete(s.others, re)
	s.mu.Unlock()
	switch {
	case is:
		p.l.answered(p, fix.place, fix.due, taken)
	case other && !taken:
		p.l.fail(errors.New("a receipt was refused"))
	}
}

// handle does what an app in the foreground does with a frame.
func (p *phone) handle(f *sdkpb.Frame, now time.Time) error {
	s := p.sock
	switch {
	case f.Error != nil && f.GetRe() != 0:
		p.acked(f.GetRe(), false)
	case f.Error != nil:
		return fmt.Errorf("error %d %s", f.Error.GetCode(), f.Error.GetReason())
	case f.Ping != nil:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.send(&sdkpb.Frame{Re: f.GetId(), Pong: &sdkpb.Pong{}})
	case f.Regions != nil:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.send(&sdkpb.Frame{RegionsAck: installed(f.Regions)})
	case f.Message != nil && f.Message.GetKind() == sdkpb.Message_KIND_IN_APP:
		id := f.Message.GetMessageId()
		s.mu.Lock()
		s.claims[id] = f.Message.GetDeepLink()
		s.mu.Unlock()
		p.mu.Lock()
		defer p.mu.Unlock()
		s.id++
		return p.send(&sdkpb.Frame{Id: s.id, Claim: &sdkpb.Claim{MessageId: id}})
	case f.Grant != nil:
		id := f.Grant.GetMessageId()
		s.mu.Lock()
		link, is := s.claims[id]
		delete(s.claims, id)
		s.mu.Unlock()
		if !is || !f.Grant.GetGranted() {
			return nil // it comes as a push
		}
		p.l.arrived(p, id, link, now, p.l.o.Path != InApp)
		return p.displayed(id)
	}
	return nil
}

// displayed says that a message is shown.
func (p *phone) displayed(id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sock
	b := p.batch()
	p.seq++
	b.Items = []*sdkpb.Item{{
		Seq: p.seq, OccurredMs: b.SentMs, MonoMs: b.SentMonoMs, BootId: bootID,
		Receipt: &sdkpb.Receipt{MessageId: id, State: sdkpb.Receipt_STATE_DISPLAYED, Via: "in_app"},
	}}
	s.id++
	s.mu.Lock()
	s.others[s.id] = struct{}{}
	s.mu.Unlock()
	return p.send(&sdkpb.Frame{Id: s.id, Batch: b})
}

// close ends the connection as a phone does that loses its network.
func (s *socket) close() {
	s.gone.Store(true)
	_ = s.conn.Close() // nobody is told
}
