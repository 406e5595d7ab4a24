package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrClosed says that the log has been closed.
var ErrClosed = errors.New("log is closed")

// maxHeaderBytes is what a server must take on top of MaxMessageBytes: the two
// headers that Append sends.
const maxHeaderBytes = 4 << 10

// An append to a stream whose servers are there but do not take messages waits
// this long for them.
const (
	noLeaderFor   = 2 * time.Second
	noLeaderPause = 50 * time.Millisecond
)

// answerFor bounds the wait for the answer to an append when its context does not.
const answerFor = 10 * time.Second

// The mark of a sealed stream. JetStream's own "sealed" cannot be used: it also
// forbids purging, for ever, so that neither retention nor an erasure could ever
// remove the bytes. Instead a stream is sealed by one update of its
// configuration that allows no message above one byte (every message that
// Append sends has a header, so the server refuses them all, in the same place
// and under the same lock as it would for "sealed"), takes the stream off its
// subjects, and carries a mark that says so.
const (
	sealedKey        = "footfall_sealed"
	sealedMaxMsgSize = 1
)

// Codes of JetStream's refusals (server/errors.json of nats-server).
const (
	codeMessageTooLarge    = 10054
	codeStreamMismatch     = 10060
	codeWrongLast          = 10071
	codeSealed             = 10109
	codeWrongLastClustered = 10164 // the same, from a cluster's leader before it proposes
)

// JetStream is a Log in NATS JetStream. Make it with OpenEmbedded or Connect.
type JetStream struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	log  *slog.Logger
	link *link
	settings
	below func() error // ends what lies below the connection; nil when that is not ours

	done chan struct{} // closed by Close
	wg   sync.WaitGroup

	mu      sync.Mutex
	streams map[string]*jsStream
	closed  bool
}

var (
	_ Log    = (*JetStream)(nil)
	_ Stream = (*jsStream)(nil)
)

// settings in which an embedded log and one by URL differ.
type settings struct {
	remote   bool   // servers that others run, perhaps several, over a network
	replicas int    // of every stream
	prefix   string // of stream names and subjects; "" for none
}

// newJetStream is a Log over a connection, which it owns from then on.
func newJetStream(nc *nats.Conn, set settings, k *link, below func() error) (*JetStream, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	l := &JetStream{
		nc: nc, js: js, log: k.log, link: k, settings: set, below: below,
		done: make(chan struct{}), streams: map[string]*jsStream{},
	}
	k.connected(nc, l.renewReaders)
	return l, nil
}

// streamName is the name that the servers know.
func (set settings) streamName(name string) string {
	if set.prefix == "" {
		return name
	}
	return set.prefix + "_" + name
}

// subject is the subject that the servers know.
func (set settings) subject(subject string) string {
	if set.prefix == "" {
		return subject
	}
	return set.prefix + "." + subject
}

// unserved is the subject that callers know.
func (set settings) unserved(subject string) string {
	if set.prefix == "" {
		return subject
	}
	return strings.TrimPrefix(subject, set.prefix+".")
}

// Open opens the stream, creating it if it is not there.
func (l *JetStream) Open(ctx context.Context, name string, subjects ...string) (Stream, error) {
	if err := checkNames(name, subjects); err != nil {
		return nil, err
	}
	l.mu.Lock()
	s, open := l.streams[name]
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("open stream %s: %w", name, ErrClosed)
	}
	if open && slices.Equal(s.subjects, subjects) {
		return s, nil
	}
	served := make([]string, len(subjects))
	for i, subject := range subjects {
		served[i] = l.subject(subject)
	}
	if err := l.ensure(ctx, l.streamName(name), served); err != nil {
		return nil, fmt.Errorf("open stream %s: %w", name, l.mapErr(err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.streams[name]; ok && slices.Equal(s.subjects, subjects) {
		return s, nil
	}
	s = &jsStream{log: l, name: name, served: l.streamName(name), subjects: slices.Clone(subjects), cursors: map[*cursor]bool{}}
	l.streams[name] = s
	return s, nil
}

func isSealed(cfg jetstream.StreamConfig) bool {
	return cfg.Sealed || cfg.Metadata[sealedKey] != ""
}

// Close ends the reads under way, the connection and, if it is in this process,
// the server; it returns when all is written.
func (l *JetStream) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	close(l.done)
	streams := l.streams
	l.mu.Unlock()
	for _, s := range streams {
		s.closeCursors(context.Background())
	}
	l.wg.Wait()
	l.nc.Close()
	l.link.closed()
	if l.below != nil {
		return l.below()
	}
	return nil
}

// mapErr names the errors of a closed log. A connection that is lost and will
// come back says the same to those who wait for an answer.
func (l *JetStream) mapErr(err error) error {
	if !l.isClosed() {
		return err
	}
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, jetstream.ErrConnectionClosed) {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}

func checkNames(name string, subjects []string) error {
	if name == "" || len(name) > 100 || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return fmt.Errorf("stream name %q: must be 1 to 100 of A-Z, 0-9, '_'", name)
	}
	if len(subjects) == 0 {
		return fmt.Errorf("stream %s: needs a subject", name)
	}
	return nil
}

// jsStream is a Stream of JetStream.
type jsStream struct {
	log      *JetStream
	name     string
	served   string // its name at the servers
	subjects []string
	trimmed  atomic.Uint64 // what Trim of this process made the first kept sequence
	tail     tail

	mu      sync.Mutex
	cursors map[*cursor]bool // to whether a Read has it
	idle    []*cursor        // those that no Read has, the least recently used first
	closed  bool
}

func (s *jsStream) Name() string { return s.name }

// Append adds one message. It is a request over the connection, not nats.go's
// PublishMsg, which would retry by itself when nobody answers: what became of an
// append is for the caller to find out.
func (s *jsStream) Append(ctx context.Context, subject string, data []byte, expectedLast int64) (uint64, error) {
	if len(data) > MaxMessageBytes {
		return 0, fmt.Errorf("append to %s: %w: %d bytes, at most %d", s.name, ErrTooLarge, len(data), MaxMessageBytes)
	}
	if !takes(s.subjects, subject) {
		return 0, fmt.Errorf("append to %s: %w: %q is not one of %q", s.name, ErrSubject, subject, s.subjects)
	}
	h := nats.Header{"Nats-Expected-Stream": {s.served}}
	if expectedLast >= 0 {
		h["Nats-Expected-Last-Sequence"] = []string{strconv.FormatInt(expectedLast, 10)}
	}
	if _, ok := ctx.Deadline(); !ok {
		// An answer that was lost never comes.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, answerFor)
		defer cancel()
	}
	if s.log.remote {
		var done func()
		ctx, done = s.log.link.whileConnected(ctx)
		defer done()
	}
	m := &nats.Msg{Subject: s.log.subject(subject), Header: h, Data: data}
	answer, err := s.log.nc.RequestMsgWithContext(ctx, m)
	if errors.Is(err, nats.ErrNoResponders) && s.log.remote && !s.isSealed(ctx) {
		// The servers have told nobody of it: the stream is new, and its server's
		// interest still spreads, or it has no leader.
		for waited := time.Duration(0); errors.Is(err, nats.ErrNoResponders) && waited < noLeaderFor && s.log.pause(ctx, noLeaderPause); waited += noLeaderPause {
			answer, err = s.log.nc.RequestMsgWithContext(ctx, m)
		}
	}
	switch {
	case errors.Is(err, nats.ErrNoResponders) && s.isSealed(ctx): // a sealed stream is off its subjects
		return 0, fmt.Errorf("append to %s: %w", s.name, ErrSealed)
	case errors.Is(err, nats.ErrNoResponders) && s.isGone(ctx):
		return 0, fmt.Errorf("append to %s: the stream is not there: has somebody deleted it? The next start makes it anew and says what was lost", s.name)
	case err != nil && errors.Is(context.Cause(ctx), errLost):
		return 0, fmt.Errorf("append to %s: %w", s.name, errLost)
	case err != nil:
		return 0, fmt.Errorf("append to %s: %w", s.name, s.log.mapErr(err))
	}
	var ack struct {
		Stream string              `json:"stream"`
		Seq    uint64              `json:"seq"`
		Error  *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, fmt.Errorf("append to %s: answer: %w", s.name, err)
	}
	if ack.Error != nil {
		return 0, fmt.Errorf("append to %s: %w", s.name, s.refusal(ctx, ack.Error))
	}
	if ack.Stream != s.served || ack.Seq == 0 {
		return 0, fmt.Errorf("append to %s: answered by stream %q with sequence %d", s.name, ack.Stream, ack.Seq)
	}
	s.tail.reached(ack.Seq)
	return ack.Seq, nil
}

func (s *jsStream) refusal(ctx context.Context, e *jetstream.APIError) error {
	switch e.ErrorCode {
	case codeWrongLast, codeWrongLastClustered:
		return fmt.Errorf("%w: %w", ErrSequence, e)
	case codeSealed:
		return ErrSealed
	case codeMessageTooLarge, codeStreamMismatch:
		if s.isSealed(ctx) {
			return ErrSealed
		}
		if e.ErrorCode == codeMessageTooLarge {
			return fmt.Errorf("%w: %w", ErrTooLarge, e)
		}
	}
	return e
}

// isGone reports whether the servers say that there is no such stream.
func (s *jsStream) isGone(ctx context.Context) bool {
	_, err := s.log.js.Stream(ctx, s.served)
	return errors.Is(err, jetstream.ErrStreamNotFound)
}

func (s *jsStream) isSealed(ctx context.Context) bool {
	info, err := s.log.ask(ctx, s.served)
	return err == nil && isSealed(info.Config)
}

// wipeAtMost is how many messages a trim overwrites. A purge only marks what it takes
// from the block of messages in which it ends, and a log with little traffic may not
// fill a block in years; where there are more messages, the block soon goes as a whole.
const wipeAtMost = 2000

// wipe overwrites messages in their file.
func wipe(ctx context.Context, st jetstream.Stream, from, before uint64) error {
	for seq := from; seq < before; seq++ {
		err := st.SecureDeleteMsg(ctx, seq)
		if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeNoMessage {
			continue // an earlier trim was cut short
		}
		if err != nil {
			return fmt.Errorf("wipe message %d: %w", seq, err)
		}
	}
	return nil
}

// Trim forgets all messages below before. Servers that do not answer are asked
// again, up to rideOut.
func (s *jsStream) Trim(ctx context.Context, before uint64) error {
	if err := s.log.insist(ctx, func(ctx context.Context) error { return s.trim(ctx, before) }); err != nil {
		return fmt.Errorf("trim %s: %w", s.name, s.log.mapErr(err))
	}
	return nil
}

func (s *jsStream) trim(ctx context.Context, before uint64) error {
	first, last, err := s.Bounds(ctx)
	if err != nil {
		return err
	}
	// A purge beyond the last message would move the last sequence on.
	before = min(before, last+1)
	if before <= first {
		return nil
	}
	st, err := s.log.js.Stream(ctx, s.served)
	if err == nil && before-first <= wipeAtMost {
		err = wipe(ctx, st, first, before)
	}
	if err == nil {
		err = st.Purge(ctx, jetstream.WithPurgeSequence(before))
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if before > s.trimmed.Load() {
		s.trimmed.Store(before)
	}
	for c := range s.cursors {
		c.wakeReader() // one that waits for what is gone
	}
	return nil
}

// Seal makes every later Append fail. Servers that do not answer are asked
// again, up to rideOut.
func (s *jsStream) Seal(ctx context.Context) error {
	if err := s.log.insist(ctx, s.seal); err != nil {
		return fmt.Errorf("seal %s: %w", s.name, s.log.mapErr(err))
	}
	return nil
}

func (s *jsStream) seal(ctx context.Context) error {
	st, err := s.log.js.Stream(ctx, s.served)
	if err != nil {
		return err
	}
	cfg := st.CachedInfo().Config
	if isSealed(cfg) {
		return nil
	}
	cfg.MaxMsgSize = sealedMaxMsgSize
	cfg.Subjects = []string{s.log.subject("footfall.sealed." + s.name)}
	if cfg.Metadata == nil {
		cfg.Metadata = map[string]string{}
	}
	cfg.Metadata[sealedKey] = "true"
	_, err = s.log.js.UpdateStream(ctx, cfg)
	return err
}

// takes reports whether one of the patterns ("in.0.>", "config.*") takes the
// subject. An append to a subject outside its own stream would land in another.
func takes(patterns []string, subject string) bool {
	if subject == "" || strings.ContainsAny(subject, "*> \t\r\n") ||
		subject[0] == '.' || subject[len(subject)-1] == '.' || strings.Contains(subject, "..") {
		return false
	}
	for _, p := range patterns {
		if match(p, subject) {
			return true
		}
	}
	return false
}

func match(pattern, subject string) bool {
	for {
		p, pRest, pMore := strings.Cut(pattern, ".")
		if p == ">" {
			return true
		}
		s, sRest, sMore := strings.Cut(subject, ".")
		if p != "*" && p != s {
			return false
		}
		if !pMore || !sMore {
			return pMore == sMore
		}
		pattern, subject = pRest, sRest
	}
}
