package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Errors of a Writer; test with errors.Is.
var (
	// ErrStopped: the writer has ended. Of an Append that was waiting: what was
	// not yet in the record under way has not landed; of what was, the outcome
	// is told by nil or, if it could not be found out, by ErrUnknown.
	ErrStopped = errors.New("writer has stopped")
	// ErrBusy: too many entries wait. Nothing of the call was taken.
	ErrBusy = errors.New("too many entries wait for the log")
	// ErrUnknown, together with ErrStopped: the entries may have landed or not.
	ErrUnknown = errors.New("the log did not say whether the append landed")
)

// Defaults of WriterOptions.
const (
	DefaultMaxRecordBytes = 512 << 10
	DefaultMaxEntries     = 2000
	DefaultMaxPending     = 50_000
	DefaultTimeout        = 5 * time.Second
)

// WriterOptions of a Writer. Subject and Now are required.
type WriterOptions struct {
	Partition string // "in/0"; for errors and logs
	// Subject under which a workspace's records are appended.
	Subject func(workspace string) string
	// MaxRecordBytes and MaxEntries bound a record; 0 means the default. An
	// entry larger than MaxRecordBytes gets a record of its own.
	MaxRecordBytes int
	MaxEntries     int
	// MaxPending entries may wait or be under way; 0 means the default. A call
	// with more is taken when nothing else waits.
	MaxPending int
	// Timeout after which the answer to an append counts as lost; 0 means the default.
	Timeout time.Duration
	// Now stamps entries without a log time.
	Now func() time.Time
	// Landed, if not nil, gets every record that has landed, in the order of
	// the sequences, before those who wait for it are told. The entries are what
	// DecodeRecord makes of the record; nobody may change them. Who has no more use for
	// them gives their memory back with Release. The record's bytes are there in the
	// call only. It delays the next append, so it should only pass them on.
	Landed func(seq uint64, record []byte, entries []engage.Entry)
	// Trouble, if not nil, is told at each try why an append has not landed, and
	// nil when one has again. It must not block.
	Trouble func(err error)
	Logger  *slog.Logger // nil discards
}

// Writer appends entries to one stream as a group commit: one append is under
// way at a time, and what arrives meanwhile goes into the next record. An idle
// writer appends at once, so it adds no delay. A record holds entries of one
// workspace.
//
// Where many call, appends begin gatherFor apart: one costs the servers, this process
// above all when they are embedded in it, much the same whatever it holds.
//
// When the answer to an append is lost, the writer reads back whether it landed
// before it goes on, so that nothing lands twice and nothing is lost. It keeps
// trying until the context of Run ends; callers wait as long as their own
// contexts allow. It tolerates other appenders, though none is meant to be.
type Writer struct {
	stream Stream
	o      WriterOptions
	wake   chan struct{} // cap 1: something waits
	crowd  chan struct{} // cap 1: gathered entries wait

	mu      sync.Mutex
	pile    *pile
	pending int       // entries waiting in the pile or under way
	waiting []*waiter // calls for which there was no room, in order of arrival
	started bool
	err     error // why it takes nothing any more

	// Of Run alone:
	last  uint64    // the stream's last sequence, as far as we know
	stamp time.Time // the last given
	// troubled: Trouble has been told of an error, and of no end to it.
	troubled bool
	buf      []byte // of the record under way
	// Of the last record: when its append began, and how many calls it was for.
	began time.Time
	calls int
}

type waiter struct{ call *call }

// NewWriter makes a writer; nothing is appended before Run.
func NewWriter(stream Stream, o WriterOptions) *Writer {
	if o.MaxRecordBytes <= 0 {
		o.MaxRecordBytes = DefaultMaxRecordBytes
	}
	o.MaxRecordBytes = min(o.MaxRecordBytes, MaxMessageBytes)
	if o.MaxEntries <= 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	if o.MaxPending <= 0 {
		o.MaxPending = DefaultMaxPending
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Writer{stream: stream, o: o, wake: make(chan struct{}, 1), crowd: make(chan struct{}, 1), pile: newPile()}
}

// Append returns when the entries are durable. Those of one workspace stay
// together and in order; if they exceed a record's limits they go into
// consecutive ones, of which a crash may leave the first alone. The entries and
// their bodies must not change any more.
//
// ErrTooLarge: an entry alone exceeds MaxMessageBytes; nothing was appended.
// ErrSubject: a workspace makes no subject of the stream; its entries were not.
// ErrStopped: see there. When ctx ends first, its error is returned: what had
// been taken by then still lands unless the writer stops.
func (w *Writer) Append(ctx context.Context, entries []engage.Entry) error {
	if err := ctx.Err(); err != nil || len(entries) == 0 {
		return err
	}
	done := make(chan error, 1)
	c := &call{entries: entries, left: len(entries), done: func(_ uint64, err error) { done <- err }}
	wait := &waiter{call: c}
	if err := w.submit(c, wait); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	w.withdraw(wait)
	select {
	case err := <-done:
		return err
	default:
		return fmt.Errorf("append to %s: %w", w.o.Partition, ctx.Err())
	}
}

// AppendAsync takes the entries and calls done, from the writer's goroutine,
// once they are durable: with the sequence of the record that has the last of
// them. Done must not block. When it is called the slice is the caller's again;
// the bodies must not change any more. If an error is returned, done is not called and
// nothing was taken: ErrBusy, ErrTooLarge, ErrStopped. See Append for the rest.
func (w *Writer) AppendAsync(entries []engage.Entry, done func(seq uint64, err error)) error {
	if len(entries) == 0 {
		return fmt.Errorf("append to %s: no entries", w.o.Partition)
	}
	c := callPool.Get().(*call) //nolint:forcetypeassert // the pool has nothing else
	*c = call{entries: entries, left: len(entries), done: done, pooled: true}
	err := w.submit(c, nil)
	if err != nil {
		c.free()
	}
	return err
}

// Release gives back the memory of entries that Landed got: nobody may look at them any
// more. What their keys and bodies point to is not concerned.
func (w *Writer) Release(entries []engage.Entry) {
	clear(entries)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pile.vacate(entries)
}

// submit takes the call if there is room; otherwise it waits in line if wait is
// given, else it is refused.
func (w *Writer) submit(c *call, wait *waiter) error {
	for i := range c.entries {
		if n := recordOverhead + entrySize(&c.entries[i]); n > MaxMessageBytes {
			return fmt.Errorf("append to %s: entry %d of %q: %w: %d bytes, at most %d",
				w.o.Partition, i, c.entries[i].Key, ErrTooLarge, n, MaxMessageBytes)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return w.err
	case len(w.waiting) == 0 && w.fits(c):
		w.admit(c)
	case wait != nil:
		w.waiting = append(w.waiting, wait)
	default:
		return fmt.Errorf("append to %s: %w", w.o.Partition, ErrBusy)
	}
	return nil
}

func (w *Writer) fits(c *call) bool {
	return w.pending == 0 || w.pending+len(c.entries) <= w.o.MaxPending
}

func (w *Writer) admit(c *call) {
	was := w.pending
	w.pending += len(c.entries)
	w.pile.add(c)
	nudge(w.wake)
	if was < gathered && w.pending >= gathered {
		nudge(w.crowd)
	}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// withdraw takes a call out of the line, and lets those behind it in.
func (w *Writer) withdraw(wait *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.waiting, wait); i >= 0 {
		w.waiting = slices.Delete(w.waiting, i, i+1)
		w.letIn()
	}
}

func (w *Writer) letIn() {
	n := 0
	for n < len(w.waiting) && w.fits(w.waiting[n].call) {
		w.admit(w.waiting[n].call)
		n++
	}
	w.waiting = slices.Delete(w.waiting, 0, n)
}

// Run appends until ctx ends, which is no error, or the stream takes no more:
// ErrSealed, ErrClosed, or ErrSequence when the stream has lost its tail. The
// append under way when ctx ends is completed, within twice Timeout; then all
// who wait get ErrStopped with the cause.
func (w *Writer) Run(ctx context.Context) error {
	w.mu.Lock()
	if w.started {
		w.mu.Unlock()
		return fmt.Errorf("writer of %s: run twice", w.o.Partition)
	}
	w.started = true
	w.mu.Unlock()

	err := w.run(ctx)
	cause := err
	if cause == nil {
		cause = context.Cause(ctx)
	}
	w.stop(fmt.Errorf("append to %s: %w: %w", w.o.Partition, ErrStopped, cause))
	if err != nil {
		return fmt.Errorf("writer of %s: %w", w.o.Partition, err)
	}
	return nil
}

func (w *Writer) run(ctx context.Context) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if !w.gather(ctx) {
			continue
		}
		w.mu.Lock()
		rec := w.pile.take(w.o.MaxEntries, w.o.MaxRecordBytes)
		w.mu.Unlock()
		if rec == nil {
			continue
		}
		w.began, w.calls = time.Now(), len(rec.parts) //nolint:forbidigo // between two appends; log time comes from Now
		w.finish(rec)
		if cap(w.buf) > maxBuf {
			w.buf = nil
		}
		data := engage.AppendRecord(w.buf[:0], rec.entries)
		w.buf = data
		seq, unknown, err := w.land(ctx, w.o.Subject(rec.workspace), data)
		switch {
		case err == nil:
			if w.o.Landed != nil {
				w.o.Landed(seq, data, rec.entries)
			}
			w.settle(rec, seq, nil)
			continue
		case hopeless(err): // this record alone
			w.settle(rec, 0, fmt.Errorf("append to %s: %w", w.o.Partition, err))
			continue
		}
		told := fmt.Errorf("append to %s: %w: %w", w.o.Partition, ErrStopped, err)
		if unknown {
			told = fmt.Errorf("%w: %w", told, ErrUnknown)
		}
		w.settle(rec, 0, told)
		if errors.Is(err, errEnded) {
			return nil
		}
		return err
	}
	return nil
}

// A writer is busy when the last record was for busyCalls: a few who each wait for their
// entries before they come again are not to be slowed down. Then the next append begins
// gatherFor after that of the last, unless gathered entries wait: those are worth one.
const (
	busyCalls = 4
	gatherFor = 2 * time.Millisecond
	gathered  = 256
)

// gather waits until something may be appended, and for more of it if the writer is
// busy. False: ctx has ended.
func (w *Writer) gather(ctx context.Context) bool {
	for w.waits() == 0 {
		select {
		case <-w.wake:
		case <-ctx.Done():
			return false
		}
	}
	if w.calls < busyCalls {
		return true
	}
	rest := gatherFor - time.Since(w.began) //nolint:forbidigo // between two appends
	if rest <= 0 || w.waits() >= gathered {
		return true
	}
	t := time.NewTimer(rest) //nolint:forbidigo // between two appends
	defer t.Stop()
	for w.waits() < gathered {
		select {
		case <-w.crowd: // or was, when the last append took it
		case <-t.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// waits is how many entries wait.
func (w *Writer) waits() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pending // none is under way
}

// begin learns the stream's last sequence, or that ctx has ended.
func (w *Writer) begin(ctx context.Context) error {
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		_, last, err := w.stream.Bounds(ctx)
		if err == nil {
			w.last = last
			w.trouble(nil)
			return nil
		}
		if ctx.Err() == nil && fatal(err) {
			return err
		}
		w.trouble(err)
		if !pause(ctx, backoff) {
			return nil
		}
		w.o.Logger.Warn("event log: stream does not answer", "partition", w.o.Partition, "error", err)
	}
}

// pause waits and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d) //nolint:forbidigo // between two tries; log time comes from Now
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// finish stamps the entries and makes them what DecodeRecord will make of them,
// so that a record handed over is the same as a record read.
func (w *Writer) finish(rec *record) {
	if now := w.o.Now().Round(0).UTC(); now.After(w.stamp) {
		w.stamp = now
	}
	for i := range rec.entries {
		e := &rec.entries[i]
		if e.At.IsZero() {
			e.At = w.stamp
		}
		e.At = e.At.Round(0).UTC()
		if !e.Occurred.IsZero() {
			e.Occurred = e.Occurred.Round(0).UTC()
		}
		if e.From.Outside() {
			e.From = engage.Source{}
		}
		if e.Body == nil {
			e.Body = []byte{}
		}
	}
}

// settle tells those whose entries were in the record.
func (w *Writer) settle(rec *record, seq uint64, err error) {
	w.mu.Lock()
	w.pending -= len(rec.entries)
	w.letIn()
	w.mu.Unlock()
	for _, p := range rec.parts {
		p.call.left -= p.n
		if p.call.err == nil {
			p.call.err = err
		}
		if p.call.left == 0 {
			p.call.done(seq, p.call.err)
			p.call.free()
		}
	}
}

// stop refuses what comes and tells all who wait.
func (w *Writer) stop(err error) {
	w.mu.Lock()
	w.err = err
	calls := w.pile.calls()
	for _, wait := range w.waiting {
		calls = append(calls, wait.call)
	}
	w.pile, w.waiting, w.pending = newPile(), nil, 0
	w.mu.Unlock()
	for _, c := range calls {
		if c.err == nil {
			c.err = err
		}
		c.done(0, c.err)
	}
}

// errEnded: the context of Run ended.
var errEnded = errors.New("asked to stop")

const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
	// readBack is how many messages are compared at a time.
	readBack = 64
	// maxBuf is how large a record's memory may be to be kept for the next.
	maxBuf = 1 << 20
)

// land appends the record once, however often it has to ask. A hopeless error is
// of this record alone; every other ends the writer: errEnded when ctx ended
// first. Unknown is set with it when the record may have landed, or still may.
func (w *Writer) land(ctx context.Context, subject string, data []byte) (seq uint64, unknown bool, err error) {
	// An answer was lost: the record may still land right after w.last.
	unclear := false
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		seq, err := w.append(ctx, subject, data)
		if err == nil {
			w.last = seq
			w.trouble(nil)
			return seq, false, nil
		}
		if hopeless(err) {
			return 0, unclear, err
		}
		// With these two answers this append did not land and never will.
		refused := errors.Is(err, ErrSequence) || errors.Is(err, ErrSealed)
		if !refused && !unclear {
			w.o.Logger.Warn("event log: append not answered, finding out", "partition", w.o.Partition, "error", err)
			unclear = true
		}
		before := w.last
		seq, findErr := w.find(ctx, data)
		// Every append so far expected a sequence that has been passed: none of
		// them can land any more. In a cluster that is the only proof, since one
		// under way is refused its place by its own first copy.
		moved := findErr == nil && w.last > before
		if moved {
			unclear = false
		}
		switch {
		case findErr == nil && seq > 0:
			w.o.Logger.Info("event log: append had landed", "partition", w.o.Partition, "seq", seq)
			w.trouble(nil)
			return seq, false, nil
		case findErr != nil && fatal(findErr):
			return 0, unclear, findErr
		case findErr == nil && errors.Is(err, ErrSealed):
			return 0, unclear, err
		case moved && errors.Is(err, ErrSequence) && ctx.Err() == nil:
			w.o.Logger.Warn("event log: another appender", "partition", w.o.Partition, "last", w.last)
			continue // w.last is right again
		}
		w.trouble(errors.Join(err, findErr))
		if !pause(ctx, backoff) {
			// A request whose answer was lost may still be on its way.
			return 0, unclear, errEnded
		}
	}
}

// trouble passes on what stands in the way; nil when nothing does any more.
func (w *Writer) trouble(err error) {
	if w.o.Trouble != nil && (err != nil || w.troubled) {
		w.troubled = err != nil
		w.o.Trouble(err)
	}
}

// append is not interrupted by the end of ctx: its outcome would be unclear.
func (w *Writer) append(ctx context.Context, subject string, data []byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.o.Timeout)
	defer cancel()
	return w.stream.Append(ctx, subject, data, int64(w.last))
}

// find brings w.last up to date and returns the sequence of the message after
// the old w.last that is data, 0 if there is none. It looks also when an append
// was refused: while a cluster changes its leader two servers may have had it,
// and the refusal may be the second one's answer.
func (w *Writer) find(ctx context.Context, data []byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.o.Timeout)
	defer cancel()
	_, last, err := w.stream.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	if last < w.last {
		return 0, fmt.Errorf("%w: the last is %d, but %d was answered", ErrSequence, last, w.last)
	}
	found := uint64(0)
	for from := w.last + 1; found == 0 && from <= last; {
		msgs, err := w.stream.Read(ctx, from, int(min(last-from+1, readBack)))
		if err != nil {
			return 0, err
		}
		for _, m := range msgs {
			if bytes.Equal(m.Data, data) {
				found = m.Seq
				break
			}
		}
		from += uint64(len(msgs))
	}
	w.last = last
	return found, nil
}

// hopeless reports whether the stream will never take this record, but others.
func hopeless(err error) bool { return errors.Is(err, ErrTooLarge) || errors.Is(err, ErrSubject) }

// fatal reports whether asking again cannot help.
func fatal(err error) bool {
	return errors.Is(err, ErrClosed) || errors.Is(err, ErrSequence) || errors.Is(err, ErrTrimmed)
}
