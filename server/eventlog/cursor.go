package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A reader that goes on where it stopped finds its cursor: a consumer with what
// it has fetched ahead. The consumer is one server's memory and acknowledges
// nothing; order and completeness are the cursor's business, by the sequences,
// and when anything is wrong with a consumer the reader takes a new one. The
// figures bound memory and what a consumer that nobody reads costs the appends.
const (
	maxIdleCursors  = 2               // the owner and one who explains
	idleCursor      = 5 * time.Second // then it is closed: the owner lives on handover
	prefetch        = 256             // messages under way to a cursor ...
	prefetchBytes   = 8 << 20         // ... of one pull; above MaxMessageBytes, or it would stall
	bufferMessages  = 256             // arrived and not read: at one of these bounds ...
	bufferBytes     = 4 << 20         // ... the cursor pulls no more
	inactiveCursor  = time.Minute     // after which the server forgets a consumer whose process died
	closeCursorWait = 2 * time.Second
	maxReadAttempts = 4
	// A consumer whose server died is missed after two heartbeats. Over a network
	// they come often; within the process nothing dies alone.
	remoteExpiry    = 10 * time.Second
	remoteHeartbeat = time.Second
	localExpiry     = 30 * time.Second
	localHeartbeat  = 5 * time.Second
)

var (
	// errGap: the cursor's next message is not the one that must come next.
	errGap = errors.New("the next message is missing")
	// errRenew: the consumer is gone or may be; a new one goes on.
	errRenew = errors.New("the consumer is lost")
)

// cursor is a consumer and its messages not yet read.
type cursor struct {
	stream   *jsStream
	next     uint64 // sequence that Read wants next; owned by the Read that has the cursor
	consumer jetstream.Consumer
	consume  jetstream.ConsumeContext
	idle     *time.Timer

	ready chan struct{} // cap 1: something changed for the reader
	room  chan struct{} // cap 1: something changed for the handler
	done  chan struct{} // closed when the cursor is

	mu    sync.Mutex
	buf   []Message
	bytes int
	err   error // why no more will come
}

// Read returns up to limit messages from the sequence on.
func (s *jsStream) Read(ctx context.Context, from uint64, limit int) ([]Message, error) {
	if limit < 1 {
		return nil, fmt.Errorf("read %s: limit %d: must be at least 1", s.name, limit)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, fmt.Errorf("read %s from %d: %w", s.name, from, ErrClosed)
	}
	s.log.wg.Add(1)
	s.mu.Unlock()
	defer s.log.wg.Done()
	backoff, renewal := minBackoff, time.Duration(0)
	for attempt := 1; ; {
		if from == 0 || from < s.trimmed.Load() {
			return nil, fmt.Errorf("read %s from %d: %w", s.name, from, ErrTrimmed)
		}
		msgs, err := s.readOnce(ctx, from, limit)
		switch {
		case err == nil:
			s.tail.reached(msgs[len(msgs)-1].Seq)
			return msgs, nil
		case errors.Is(err, errRenew) && ctx.Err() == nil && s.log.pause(ctx, renewal):
			renewal = min(2*renewal+time.Millisecond, maxBackoff) // at once only the first time
			continue
		case errors.Is(err, errGap) && attempt < maxReadAttempts:
			// Trimmed, which the next cursor finds out, or messages were lost on
			// the way. What remains is a hole, which nobody here makes.
			attempt++
			continue
		case !errors.Is(err, errGap) && s.log.passing(ctx, err):
			// The servers are away, or choose a leader: a reader waits.
			if backoff == minBackoff {
				s.log.log.Warn("event log: reader waits for the servers", "stream", s.name, "error", err)
			}
			if s.log.pause(ctx, backoff) {
				backoff = min(2*backoff, maxBackoff)
				continue
			}
		}
		if s.log.isClosed() && ctx.Err() == nil {
			err = ErrClosed
		}
		return nil, fmt.Errorf("read %s from %d: %w", s.name, from, s.log.mapErr(err))
	}
}

// readOnce reads with one cursor.
func (s *jsStream) readOnce(ctx context.Context, from uint64, limit int) ([]Message, error) {
	c, err := s.takeCursor(ctx, from)
	if err != nil {
		return nil, err
	}
	msgs, err := c.read(ctx, limit)
	if err == nil || ctx.Err() != nil {
		s.putCursor(ctx, c)
	} else {
		s.closeCursor(ctx, c)
	}
	return msgs, err
}

// takeCursor finds or makes a cursor whose next message is from.
func (s *jsStream) takeCursor(ctx context.Context, from uint64) (*cursor, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	for i, c := range s.idle {
		if c.next == from {
			s.idle = slices.Delete(s.idle, i, i+1)
			s.cursors[c] = true
			s.mu.Unlock()
			c.idle.Stop()
			return c, nil
		}
	}
	s.mu.Unlock()

	first, _, err := s.Bounds(ctx)
	if err != nil {
		return nil, err
	}
	if from < first {
		return nil, ErrTrimmed
	}
	return s.newCursor(ctx, from)
}

func (s *jsStream) newCursor(ctx context.Context, from uint64) (*cursor, error) {
	asking := ctx
	if s.log.remote {
		var cancel context.CancelFunc
		asking, cancel = context.WithTimeout(ctx, 2*askFor)
		defer cancel()
	}
	consumer, err := s.log.js.CreateConsumer(asking, s.served, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       from,
		AckPolicy:         jetstream.AckNonePolicy,
		Replicas:          1,
		MemoryStorage:     true,
		InactiveThreshold: inactiveCursor,
	})
	if err != nil {
		return nil, err
	}
	expiry, heartbeat := localExpiry, localHeartbeat
	if s.log.remote {
		expiry, heartbeat = remoteExpiry, remoteHeartbeat
	}
	c := &cursor{
		stream: s, next: from, consumer: consumer,
		ready: make(chan struct{}, 1), room: make(chan struct{}, 1), done: make(chan struct{}),
	}
	c.consume, err = consumer.Consume(c.handle,
		jetstream.PullMaxMessagesWithBytesLimit(prefetch, prefetchBytes),
		jetstream.PullExpiry(expiry), jetstream.PullHeartbeat(heartbeat),
		jetstream.ConsumeErrHandler(c.trouble))
	if err != nil {
		return nil, err
	}
	c.idle = time.AfterFunc(time.Hour, func() { s.reap(context.WithoutCancel(ctx), c) }) //nolint:forbidigo // frees what nobody uses; decides nothing
	c.idle.Stop()
	s.mu.Lock()
	s.cursors[c] = true
	closed := s.closed
	s.mu.Unlock()
	if closed {
		s.closeCursor(ctx, c)
		return nil, ErrClosed
	}
	return c, nil
}

// putCursor keeps a cursor for the Read that goes on.
func (s *jsStream) putCursor(ctx context.Context, c *cursor) {
	var drop *cursor
	s.mu.Lock()
	if s.closed {
		drop = c
	} else {
		s.cursors[c] = false
		s.idle = append(s.idle, c)
		c.idle.Reset(idleCursor)
		if len(s.idle) > maxIdleCursors {
			drop = s.idle[0]
			s.idle = s.idle[1:]
		}
	}
	s.mu.Unlock()
	if drop != nil {
		s.closeCursor(ctx, drop)
	}
}

// reap closes a cursor that has been idle for too long.
func (s *jsStream) reap(ctx context.Context, c *cursor) {
	s.mu.Lock()
	i := slices.Index(s.idle, c)
	if i < 0 || s.closed { // taken in the meantime, or Close does it
		s.mu.Unlock()
		return
	}
	s.idle = slices.Delete(s.idle, i, i+1)
	s.log.wg.Add(1)
	s.mu.Unlock()
	defer s.log.wg.Done()
	s.closeCursor(ctx, c)
}

func (s *jsStream) closeCursors(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	idle := s.idle
	s.idle = nil
	for c, taken := range s.cursors {
		if taken {
			c.fail(ErrClosed) // its Read closes it
		}
	}
	s.mu.Unlock()
	for _, c := range idle {
		s.closeCursor(ctx, c)
	}
}

func (s *jsStream) closeCursor(ctx context.Context, c *cursor) {
	s.mu.Lock()
	delete(s.cursors, c)
	s.mu.Unlock()
	c.idle.Stop()
	close(c.done)
	c.consume.Stop()
	// Otherwise the server keeps it, and works for it, for inactiveCursor. Nobody
	// waits for that: its server may be the one that died.
	s.log.wg.Go(func() {
		// The Read that closes it may do so because its own context has ended.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeCursorWait)
		defer cancel()
		if err := s.log.js.DeleteConsumer(ctx, s.served, c.consumer.CachedInfo().Name); err != nil {
			s.log.log.Debug("event log: reader not removed", "stream", s.name, "error", err)
		}
	})
}

// renewReaders gives up all consumers: after a reconnect none can be relied on.
func (l *JetStream) renewReaders() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		s.mu.Lock()
		for c := range s.cursors {
			c.fail(errRenew)
		}
		s.mu.Unlock()
	}
}

// handle takes a message from the consumer; while it blocks nothing is pulled.
func (c *cursor) handle(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		c.fail(fmt.Errorf("message without its sequence: %w", err))
		return
	}
	msg := Message{Seq: meta.Sequence.Stream, Subject: c.stream.log.unserved(m.Subject()), Data: m.Data()}
	c.mu.Lock()
	c.buf = append(c.buf, msg)
	c.bytes += len(msg.Data) + len(msg.Subject)
	full := c.full()
	c.mu.Unlock()
	c.wakeReader()
	for full {
		select {
		case <-c.room:
		case <-c.done:
			return
		}
		c.mu.Lock()
		full = c.full()
		c.mu.Unlock()
	}
}

func (c *cursor) full() bool { return len(c.buf) >= bufferMessages || c.bytes >= bufferBytes }

// trouble hears of the consumer's errors. Whatever it is, a new consumer is
// cheap; only a closed connection is the end.
func (c *cursor) trouble(_ jetstream.ConsumeContext, err error) {
	if errors.Is(err, jetstream.ErrConnectionClosed) {
		c.fail(err)
		return
	}
	c.stream.log.log.Debug("event log: reader takes a new consumer", "stream", c.stream.name, "error", err)
	c.fail(errRenew)
}

func (c *cursor) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.wakeReader()
}

func (c *cursor) wakeReader() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// read waits for the next message and returns it with those after it that have
// arrived, up to limit.
func (c *cursor) read(ctx context.Context, limit int) ([]Message, error) {
	for {
		msgs, err := c.take(limit)
		if len(msgs) > 0 || err != nil {
			return msgs, err
		}
		select {
		case <-c.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *cursor) take(limit int) ([]Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next < c.stream.trimmed.Load() {
		return nil, ErrTrimmed
	}
	// A consumer that is to start beyond the end starts at the end.
	for len(c.buf) > 0 && c.buf[0].Seq < c.next {
		c.drop(1)
	}
	n := 0
	for n < len(c.buf) && n < limit && c.buf[n].Seq == c.next+uint64(n) {
		n++
	}
	switch {
	case n > 0:
		msgs := c.buf[:n:n]
		c.drop(n)
		c.next += uint64(n)
		return msgs, nil
	case len(c.buf) > 0:
		return nil, errGap
	default:
		return nil, c.err
	}
}

// drop forgets the first n messages. The slice moves on, so that those returned
// are not overwritten.
func (c *cursor) drop(n int) {
	for i := range n {
		c.bytes -= len(c.buf[i].Data) + len(c.buf[i].Subject)
	}
	c.buf = c.buf[n:]
	if len(c.buf) == 0 {
		c.buf = nil
	}
	select {
	case c.room <- struct{}{}:
	default:
	}
}
