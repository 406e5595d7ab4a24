package eventlogtest

import (
	"context"
	"errors"
	"sync"

	"github.com/footfall-engage/footfall/server/eventlog"
)

// ErrInjected is what a Faulty stream answers when it pretends to have lost the
// connection.
var ErrInjected = errors.New("injected fault")

// Fault is what goes wrong with one append.
type Fault int

// The faults.
const (
	None       Fault = iota
	LostBefore       // the message does not land; the answer is ErrInjected
	LostAfter        // the message lands; the answer is ErrInjected
	Delayed          // the answer is ErrInjected; the message is appended, as it was, just before the next append
)

// Faulty is a stream whose appends go wrong as Next says and whose reads fail as
// FailRead says.
type Faulty struct {
	eventlog.Stream
	// Next is called once per append, one at a time. Nil means None.
	Next func(subject string, data []byte) Fault
	// FailRead is called once per Read and Bounds, one at a time; true fails it
	// with ErrInjected. Nil never does.
	FailRead func() bool

	mu      sync.Mutex
	delayed func()
}

// Append appends, or not.
func (f *Faulty) Append(ctx context.Context, subject string, data []byte, expectedLast int64) (uint64, error) {
	f.mu.Lock()
	fault := None
	if f.Next != nil {
		fault = f.Next(subject, data)
	}
	late := f.delayed
	f.delayed = nil
	if fault == Delayed {
		f.delayed = func() {
			// Refused if the stream has moved on: as the caller expected.
			_, _ = f.Stream.Append(context.WithoutCancel(ctx), subject, data, expectedLast)
		}
	}
	f.mu.Unlock()
	if late != nil {
		late()
	}
	switch fault {
	case LostBefore, Delayed:
		return 0, ErrInjected
	case LostAfter:
		_, err := f.Stream.Append(ctx, subject, data, expectedLast)
		return 0, errors.Join(ErrInjected, err)
	}
	return f.Stream.Append(ctx, subject, data, expectedLast)
}

// Bounds returns the bounds, or ErrInjected.
func (f *Faulty) Bounds(ctx context.Context) (first, last uint64, err error) {
	if f.failRead() {
		return 0, 0, ErrInjected
	}
	return f.Stream.Bounds(ctx)
}

// Read reads, or returns ErrInjected.
func (f *Faulty) Read(ctx context.Context, from uint64, limit int) ([]eventlog.Message, error) {
	if f.failRead() {
		return nil, ErrInjected
	}
	return f.Stream.Read(ctx, from, limit)
}

func (f *Faulty) failRead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.FailRead != nil && f.FailRead()
}
