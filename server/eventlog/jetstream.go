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

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrClosed says that the log has been closed.
var ErrClosed = errors.New("log is closed")

// maxHeaderBytes is what a server must take on top of MaxMessageBytes: the two
// headers that Append sends.
const maxHeaderBytes = 4 << 10

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

// JetStream is a Log in NATS JetStream. Make it with OpenEmbedded.
type JetStream struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	log      *slog.Logger
	replicas int
	below    func() error // ends what lies below the connection; nil when that is not ours

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

// newJetStream is a Log over a connection, which it owns from then on; replicas
// is for the streams that it creates.
func newJetStream(nc *nats.Conn, replicas int, log *slog.Logger, below func() error) (*JetStream, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	return &JetStream{
		nc: nc, js: js, log: log, replicas: replicas, below: below,
		done: make(chan struct{}), streams: map[string]*jsStream{},
	}, nil
}

// connOptions are what Stream's code needs of a connection, in process or not.
func connOptions() []nats.Option {
	return []nats.Option{
		nats.Name("footfall"),
		nats.MaxReconnects(-1),
		// While disconnected an append fails at once: a buffered one would land
		// later, after its caller has been told otherwise.
		nats.ReconnectBufSize(-1),
	}
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
	if err := l.ensure(ctx, name, subjects); err != nil {
		return nil, fmt.Errorf("open stream %s: %w", name, l.mapErr(err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.streams[name]; ok && slices.Equal(s.subjects, subjects) {
		return s, nil
	}
	s = &jsStream{log: l, name: name, subjects: slices.Clone(subjects), cursors: map[*cursor]bool{}}
	l.streams[name] = s
	return s, nil
}

func (l *JetStream) ensure(ctx context.Context, name string, subjects []string) error {
	st, err := l.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = l.js.CreateStream(ctx, jetstream.StreamConfig{
			Name:        name,
			Subjects:    subjects,
			Retention:   jetstream.LimitsPolicy, // without limits: the owner trims
			Storage:     jetstream.FileStorage,
			Replicas:    l.replicas,
			MaxMsgSize:  -1,
			AllowDirect: true,
		})
		return err
	}
	if err != nil {
		return err
	}
	cfg := st.CachedInfo().Config
	if isSealed(cfg) || slices.Equal(cfg.Subjects, subjects) {
		return nil
	}
	cfg.Subjects = subjects
	_, err = l.js.UpdateStream(ctx, cfg)
	return err
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
	if l.below != nil {
		return l.below()
	}
	return nil
}

// mapErr names the errors of a closed log.
func (l *JetStream) mapErr(err error) error {
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
	subjects []string
	trimmed  atomic.Uint64 // what Trim of this process made the first kept sequence

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
	h := nats.Header{"Nats-Expected-Stream": {s.name}}
	if expectedLast >= 0 {
		h["Nats-Expected-Last-Sequence"] = []string{strconv.FormatInt(expectedLast, 10)}
	}
	answer, err := s.log.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Header: h, Data: data})
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return 0, fmt.Errorf("append to %s: %w: %w", s.name, ErrTooLarge, err)
	case errors.Is(err, nats.ErrNoResponders) && s.isSealed(ctx): // a sealed stream is off its subjects
		return 0, fmt.Errorf("append to %s: %w", s.name, ErrSealed)
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
	if ack.Stream != s.name || ack.Seq == 0 {
		return 0, fmt.Errorf("append to %s: answered by stream %q with sequence %d", s.name, ack.Stream, ack.Seq)
	}
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

func (s *jsStream) isSealed(ctx context.Context) bool {
	st, err := s.log.js.Stream(ctx, s.name)
	return err == nil && isSealed(st.CachedInfo().Config)
}

// Bounds returns the first kept and the last appended sequence.
func (s *jsStream) Bounds(ctx context.Context) (first, last uint64, err error) {
	st, err := s.log.js.Stream(ctx, s.name)
	if err != nil {
		return 0, 0, fmt.Errorf("bounds of %s: %w", s.name, s.log.mapErr(err))
	}
	state := st.CachedInfo().State
	if state.Msgs == 0 {
		return state.LastSeq + 1, state.LastSeq, nil
	}
	return state.FirstSeq, state.LastSeq, nil
}

// Trim forgets all messages below before.
func (s *jsStream) Trim(ctx context.Context, before uint64) error {
	first, last, err := s.Bounds(ctx)
	if err != nil {
		return fmt.Errorf("trim: %w", err)
	}
	// A purge beyond the last message would move the last sequence on.
	before = min(before, last+1)
	if before <= first {
		return nil
	}
	st, err := s.log.js.Stream(ctx, s.name)
	if err == nil {
		err = st.Purge(ctx, jetstream.WithPurgeSequence(before))
	}
	if err != nil {
		return fmt.Errorf("trim %s: %w", s.name, s.log.mapErr(err))
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

// Seal makes every later Append fail.
func (s *jsStream) Seal(ctx context.Context) error {
	st, err := s.log.js.Stream(ctx, s.name)
	if err != nil {
		return fmt.Errorf("seal %s: %w", s.name, s.log.mapErr(err))
	}
	cfg := st.CachedInfo().Config
	if isSealed(cfg) {
		return nil
	}
	cfg.MaxMsgSize = sealedMaxMsgSize
	cfg.Subjects = []string{"footfall.sealed." + s.name}
	if cfg.Metadata == nil {
		cfg.Metadata = map[string]string{}
	}
	cfg.Metadata[sealedKey] = "true"
	if _, err := s.log.js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("seal %s: %w", s.name, s.log.mapErr(err))
	}
	return nil
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
