package eventlogtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/footfall-engage/footfall/server/eventlog"
)

// Memory is what logs in memory share: a Log that Open makes finds what those
// before it appended. The zero Memory is empty.
type Memory struct {
	mu      sync.Mutex
	streams map[string]*memoryStream
}

// Open opens a log over m.
func (m *Memory) Open() eventlog.Log {
	return &memoryLog{memory: m, closed: make(chan struct{})}
}

// Truncate forgets the stream's messages after last, as a power cut may. The
// stream must exist.
func (m *Memory) Truncate(name string, last uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[name]
	if last < s.last() {
		s.msgs = s.msgs[:max(last+1, s.first)-s.first]
		s.first = min(s.first, last+1)
	}
}

type memoryStream struct {
	name     string
	subjects []string
	first    uint64 // sequence of msgs[0]
	msgs     []eventlog.Message
	sealed   bool
	changed  chan struct{} // closed and replaced by an append or a trim
}

func (s *memoryStream) last() uint64 { return s.first + uint64(len(s.msgs)) - 1 }

func (s *memoryStream) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

type memoryLog struct {
	memory *Memory
	once   sync.Once
	closed chan struct{}
}

func (l *memoryLog) Open(_ context.Context, name string, subjects ...string) (eventlog.Stream, error) {
	if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return nil, fmt.Errorf("stream name %q: must be of A-Z, 0-9, '_'", name)
	}
	if len(subjects) == 0 {
		return nil, fmt.Errorf("stream %s: needs a subject", name)
	}
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	s := l.memory.streams[name]
	if s == nil {
		s = &memoryStream{name: name, first: 1, changed: make(chan struct{})}
		if l.memory.streams == nil {
			l.memory.streams = map[string]*memoryStream{}
		}
		l.memory.streams[name] = s
	}
	s.subjects = slices.Clone(subjects)
	return &memoryHandle{log: l, s: s}, nil
}

func (l *memoryLog) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

type memoryHandle struct {
	log *memoryLog
	s   *memoryStream
}

func (h *memoryHandle) Name() string { return h.s.name }

// enter locks the stream if neither the log is closed nor ctx is over.
func (h *memoryHandle) enter(ctx context.Context) (leave func(), err error) {
	select {
	case <-h.log.closed:
		return nil, eventlog.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h.log.memory.mu.Lock()
	return h.log.memory.mu.Unlock, nil
}

func (h *memoryHandle) Append(ctx context.Context, subject string, data []byte, expectedLast int64) (uint64, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	switch {
	case len(data) > eventlog.MaxMessageBytes:
		return 0, eventlog.ErrTooLarge
	case !h.takes(subject):
		return 0, fmt.Errorf("append to %s: %w: %q is not one of %q", h.s.name, eventlog.ErrSubject, subject, h.s.subjects)
	case h.s.sealed:
		return 0, eventlog.ErrSealed
	case expectedLast >= 0 && uint64(expectedLast) != h.s.last():
		return 0, eventlog.ErrSequence
	}
	seq := h.s.last() + 1
	h.s.msgs = append(h.s.msgs, eventlog.Message{Seq: seq, Subject: subject, Data: slices.Clone(data)})
	h.s.change()
	return seq, nil
}

// takes knows only "a.b" and "a.b.>".
func (h *memoryHandle) takes(subject string) bool {
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n") {
			return false
		}
	}
	return slices.ContainsFunc(h.s.subjects, func(pattern string) bool {
		prefix, wild := strings.CutSuffix(pattern, ">")
		return wild && strings.HasPrefix(subject, prefix) || pattern == subject
	})
}

func (h *memoryHandle) Bounds(ctx context.Context) (first, last uint64, err error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer leave()
	return h.s.first, h.s.last(), nil
}

func (h *memoryHandle) Read(ctx context.Context, from uint64, limit int) ([]eventlog.Message, error) {
	for {
		leave, err := h.enter(ctx)
		if err != nil {
			return nil, err
		}
		changed := h.s.changed
		var msgs []eventlog.Message
		switch {
		case from < h.s.first:
			err = eventlog.ErrTrimmed
		case from <= h.s.last():
			rest := h.s.msgs[from-h.s.first:]
			msgs = slices.Clone(rest[:min(limit, len(rest))])
		}
		leave()
		if err != nil || len(msgs) > 0 {
			return msgs, err
		}
		select {
		case <-changed:
		case <-h.log.closed:
		case <-ctx.Done():
		}
	}
}

func (h *memoryHandle) Trim(ctx context.Context, before uint64) error {
	leave, err := h.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if before = min(before, h.s.last()+1); before > h.s.first {
		h.s.msgs = slices.Clone(h.s.msgs[before-h.s.first:])
		h.s.first = before
		h.s.change()
	}
	return nil
}

func (h *memoryHandle) Seal(ctx context.Context) error {
	leave, err := h.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	h.s.sealed = true
	return nil
}
