package uploads

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/footfall-engage/footfall/server/engage"
)

const (
	// A portion is what a live record may have to wait for.
	portionRows  = 200
	portionBytes = 256 << 10
)

// portion is some rows that follow each other, on their way into the log.
type portion struct {
	rows, taken, refused, listed int // listed: of those refused, in the report
	entries                      []engage.Entry
	items                        []engage.ItemEdit // instead, of a file of items
	numbers                      []int             // of the rows of items
	late                         []Refused         // of items, refused when they were written
	report                       bytes.Buffer
	end                          error // why nothing comes behind it: io.EOF, or what is wrong with the file; nil: more comes

	// Where the reader stood behind it, and whether a restart can go on there.
	used    int64
	offset  int64
	row     int
	settled bool

	landed chan error    // from the log
	over   chan struct{} // closed when it is in the log, or will not come there
}

// Landed returns when every row that was read before the call is in the log, or will be
// read again.
func (s *Service) Landed(ctx context.Context) error {
	s.mu.Lock()
	var all []*portion
	for p := range s.under {
		all = append(all, p)
	}
	s.mu.Unlock()
	for _, p := range all {
		select {
		case <-p.over:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// done says that a portion is in the log, or will not come there.
func (s *Service) done(p *portion) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, is := s.under[p]; is {
		delete(s.under, p)
		close(p.over)
	}
}

// read reads the next portion. An error is the server's own, after which the rows are to
// be read again.
func (s *Service) read(ctx context.Context, k *kept) (whole *portion, err error) {
	j := k.job
	p := &portion{over: make(chan struct{})}
	s.mu.Lock()
	u := k.u
	s.under[p] = struct{}{}
	s.mu.Unlock()
	defer func() { // also when it panics
		if whole == nil {
			s.done(p)
		}
	}()
	for size := 0; p.rows < portionRows && size < portionBytes; {
		x, err := j.units.next()
		if err != nil {
			p.end = err
			break
		}
		p.rows += len(x.numbers)
		switch {
		case x.row != nil && x.row.Item != nil:
			if err := s.fitItem(ctx, &u, x); err != nil {
				return nil, err
			}
		case x.row != nil:
			if why := s.leftAlone(&u, x.row.Touch.Identifiers); why != nil {
				x.refuse(why)
			}
		}
		for _, refused := range x.wrong {
			p.refused++
			if j.listed == MaxListed {
				continue
			}
			j.listed++
			p.listed++
			line, err := json.Marshal(refused)
			if err != nil {
				return nil, err
			}
			p.report.Write(append(line, '\n'))
		}
		if x.row == nil {
			continue
		}
		if x.row.Item != nil {
			p.items, p.numbers = append(p.items, *x.row.Item), append(p.numbers, x.row.Number)
			p.taken++
			continue
		}
		e, err := entryOf(&u, x.row)
		if err != nil {
			return nil, err
		}
		size += len(e.Body)
		p.entries = append(p.entries, e)
		p.taken += len(x.numbers)
	}
	p.used = j.used.n
	p.offset, p.row, p.settled = j.units.position()
	return p, nil
}

// depart sends a portion into the log; the one before it has arrived.
func (s *Service) depart(ctx context.Context, k *kept, p *portion) {
	p.landed = make(chan error, 1)
	k.job.ahead = p
	if len(p.entries) == 0 && len(p.items) == 0 {
		s.done(p)
		p.landed <- nil
		return
	}
	s.mu.Lock()
	u := k.u
	s.mu.Unlock()
	go func() { // arrive waits for it
		var err error
		if len(p.items) > 0 {
			err = s.putItems(ctx, &u, p)
		} else {
			err = s.o.Log.Append(ctx, p.entries)
		}
		s.done(p)
		p.landed <- err
	}()
}

// arrive waits until the portion under way, if there is one, is in the log, and counts it.
func (s *Service) arrive(k *kept) error {
	j := k.job
	if j == nil || j.ahead == nil {
		return nil
	}
	p := j.ahead
	j.ahead = nil
	err := <-p.landed
	if err == nil {
		err = s.count(k, p)
	}
	if err == nil {
		return nil
	}
	return s.again(k, err)
}

// again has the rows behind the last place that is certain read again, after an error,
// which it returns.
func (s *Service) again(k *kept, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.u = k.job.safe
	err = errors.Join(err, k.job.close())
	k.job = nil
	return err
}

// count counts a portion that is in the log.
func (s *Service) count(k *kept, p *portion) error {
	j := k.job
	if err := j.addLate(p); err != nil {
		return err
	}
	if _, err := j.report.Write(p.report.Bytes()); err != nil {
		return fmt.Errorf("report of an upload: %w", err)
	}
	s.metrics.counted(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	k.u.Read += int64(p.rows)
	k.u.Taken += int64(p.taken)
	k.u.Refused += int64(p.refused)
	k.u.Listed += int64(p.listed)
	k.u.Report += int64(p.report.Len())
	k.u.Used = min(p.used, k.u.Received)
	if p.settled {
		k.u.Offset, k.u.Row = p.offset, p.row
		j.safe = k.u
	}
	if now := s.o.Clock.Now(); p.end == nil && now.Sub(j.saved) >= saveEvery {
		if err := s.saveLocked(k); err != nil {
			return err
		}
		j.saved = now
	}
	return nil
}
