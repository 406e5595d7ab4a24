package client

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// position is where a numbered frame leaves the phone; nil for a frame without a
// number. Old says that the phone has taken it already. Called with the lock.
func (c *Client) position(f *sdkpb.Frame) (at *sdkpb.Resume, old bool) {
	if f.Seq == 0 || c.kept.Resume == nil || !c.has(sdkproto.CapResume) {
		return nil, false
	}
	if f.Seq <= c.kept.Resume.LastSeq {
		return nil, true
	}
	at = proto.CloneOf(c.kept.Resume)
	at.LastSeq = f.Seq
	return at, false
}

// owe makes the writer acknowledge a numbered frame in time. Called with the lock.
func (c *Client) owe(s *session) {
	if s.ackBy.IsZero() {
		s.ackBy = time.Now().Add(c.opts.AckAfter)
	}
}

// stamp has a frame acknowledge what was taken. Called with the lock.
func (c *Client) stamp(s *session, f *sdkpb.Frame) {
	if !s.ackBy.IsZero() {
		f.DownAck = c.kept.Resume.GetLastSeq()
		s.ackBy = time.Time{}
	}
}

// answer to a question that was asked on the socket.
type answer struct {
	frame *sdkpb.Frame
	err   error
}

var (
	errNoSession    = errors.New("client: no connection is open")
	errSessionEnded = errors.New("client: the connection ended before the answer came")
)

// ask sends a question on the socket and returns the frame that answers it, which
// has taken effect. The error is errNoSession where there is none. Build is called
// with the lock.
func (c *Client) ask(ctx context.Context, build func() *sdkpb.Frame) (*sdkpb.Frame, error) {
	c.mu.Lock()
	s := c.session
	if s == nil {
		c.mu.Unlock()
		return nil, errNoSession
	}
	f := build()
	s.lastID++
	f.Id = s.lastID
	ch := make(chan answer, 1)
	if s.asked == nil {
		s.asked = make(map[uint64]chan answer)
	}
	s.asked[f.Id] = ch
	s.out = append(s.out, f)
	c.mu.Unlock()
	c.kick()
	select {
	case a := <-ch:
		return a.frame, a.err
	case <-ctx.Done():
		c.mu.Lock()
		delete(s.asked, f.Id)
		c.mu.Unlock()
		return nil, ctx.Err()
	}
}

// answered hands an answer to who waits for it, and reports whether somebody does.
func (c *Client) answered(s *session, re uint64, a answer) bool {
	c.mu.Lock()
	ch := s.asked[re]
	delete(s.asked, re)
	c.mu.Unlock()
	if ch == nil {
		return false
	}
	ch <- a
	return true
}
