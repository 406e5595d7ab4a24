package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/store"
)

const (
	// tryWithin bounds one question to the log or the store.
	tryWithin = time.Minute
	// openWithin bounds how long Open waits for them; then whoever starts the
	// process is told why it does not start.
	openWithin = time.Minute

	minPause = 10 * time.Millisecond
	maxPause = 2 * time.Second
)

// errCorrupt: what is stored cannot be read. Asking again does not help.
var errCorrupt = errors.New("stored document cannot be read")

// Trouble is something that a partition cannot do at the moment and tries again:
// the log, the store or a neighbour does not answer. The zero Trouble means that
// there is none.
type Trouble struct {
	Doing string    // "commit outputs"
	Since time.Time // by the clock
	Tries int
	Error string // of the last try
}

// outages are the troubles of a partition's goroutines, by what they do.
type outages struct {
	mu    sync.Mutex
	under map[string]*Trouble
	count uint64 // since the start

	over   chan struct{} // closed when nothing is tried again: the loop has failed
	ending context.Context
	cut    context.CancelFunc // ends ending, and with it every question
}

func (o *outages) init() {
	o.under = map[string]*Trouble{}
	o.over = make(chan struct{})
	o.ending, o.cut = context.WithCancel(context.Background())
}

// oldest trouble, and how many there have been.
func (o *outages) oldest() (Trouble, uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var first Trouble
	for _, t := range o.under {
		if first.Tries == 0 || t.Since.Before(first.Since) || t.Since.Equal(first.Since) && t.Doing < first.Doing {
			first = *t
		}
	}
	return first, o.count
}

// trouble notes that something could not be done; the first time it is logged.
func (p *Partition) trouble(doing string, err error) {
	o := &p.outages
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.under[doing]
	if t == nil {
		t = &Trouble{Doing: doing, Since: p.o.Clock.Now()}
		o.under[doing] = t
		o.count++
		p.log.Warn("partition waits", "doing", doing, "error", err)
	}
	t.Tries++
	t.Error = err.Error()
}

// healed notes that it could.
func (p *Partition) healed(doing string) {
	o := &p.outages
	o.mu.Lock()
	defer o.mu.Unlock()
	if t := o.under[doing]; t != nil {
		delete(o.under, doing)
		p.log.Info("partition goes on", "doing", doing, "after", p.o.Clock.Now().Sub(t.Since), "tries", t.Tries)
	}
}

// final reports whether asking again cannot help: the answer would be the same.
// Everything else may be the network, or a disk that somebody can mend.
func final(err error) bool {
	for _, e := range []error{
		errCorrupt, ErrFenced,
		store.ErrNotFound, store.ErrVersion, store.ErrUnique, store.ErrBadQuery, store.ErrBadBatch, store.ErrBadCollection, store.ErrClosed,
		eventlog.ErrClosed, eventlog.ErrSealed, eventlog.ErrSequence, eventlog.ErrTrimmed, eventlog.ErrTooLarge, eventlog.ErrSubject,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	// A configuration, ours or theirs, that somebody must change first.
	refused, ok := errors.AsType[*engage.Error](err)
	return ok && refused.Code == engage.Invalid
}

// ask asks once, within bounds.
func (p *Partition) ask(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, tryWithin)
	defer cancel()
	defer context.AfterFunc(p.outages.ending, cancel)() //nolint:contextcheck // a question ends with the partition, too
	return f(ctx)
}

// once asks the log or the store for something that need not be done now, and
// reports whether it was done. An error means that it never will be.
func (p *Partition) once(ctx context.Context, doing string, f func(context.Context) error) (done bool, err error) {
	err = p.ask(ctx, f)
	switch {
	case err == nil:
		p.healed(doing)
		return true, nil
	case final(err):
		return false, err
	case ctx.Err() == nil:
		p.trouble(doing, err)
	}
	return false, nil
}

// insist asks the log or the store until it is done, until asking again cannot
// help, or until ctx or the partition ends. F must be right to repeat when an
// earlier answer was lost.
func (p *Partition) insist(ctx context.Context, doing string, f func(context.Context) error) error {
	for wait := minPause; ; wait = min(2*wait, maxPause) {
		err := p.ask(ctx, f)
		if err == nil {
			p.healed(doing)
			return nil
		}
		if final(err) {
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		p.trouble(doing, err)
		if !p.pause(ctx, wait) {
			return fmt.Errorf("gave up: %w", err)
		}
	}
}

// pause waits and reports whether to try again.
func (p *Partition) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d) //nolint:forbidigo // how long to wait for a neighbour decides nothing
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-p.outages.ending.Done():
	case <-p.outages.over:
	}
	return false
}

// commit applies a batch that moves a position on, and returns when it has
// landed, once. The position tells whether a commit whose answer was lost did:
// nobody else writes our position over the version that we know.
func (p *Partition) commit(ctx context.Context, s Store, doing string, b store.Batch, pos store.Put) error {
	unclear := false
	return p.insist(ctx, doing, func(ctx context.Context) error {
		if unclear {
			if landed, err := hasLanded(ctx, s, pos); landed || err != nil {
				return err
			}
		}
		err := s.Apply(ctx, b)
		if !errors.Is(err, store.ErrVersion) {
			unclear = err != nil
			return err
		}
		unclear = true
		if landed, err := hasLanded(ctx, s, pos); landed || err != nil {
			return err
		}
		return fmt.Errorf("%w: %w", ErrFenced, err)
	})
}

// hasLanded reports whether a put is what is stored; false means that it is still
// as it was before the put. ErrFenced if it is neither.
func hasLanded(ctx context.Context, s Store, put store.Put) (bool, error) {
	doc, err := s.Get(ctx, put.Collection, put.Key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, fmt.Errorf("find out whether a commit has landed: %w", err)
	}
	switch {
	case doc.Version == put.If:
		return false, nil
	case doc.Version == put.If+1 && bytes.Equal(doc.Body, put.Body):
		return true, nil
	}
	return false, fmt.Errorf("%w: its position is at version %d, ours was %d", ErrFenced, doc.Version, put.If)
}
