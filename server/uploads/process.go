package uploads

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

const (
	// turnRows are read before another workspace has its turn.
	turnRows = 5000
	// saveEvery is how often the position is saved. What a restart reads again has no
	// effect twice.
	saveEvery = time.Second
	// MaxListed bounds the rows of a report; the others are counted.
	MaxListed = 100_000
	// retryAfter is how long a log that takes nothing is left alone.
	retryAfter = time.Second
	sweepEvery = 10 * time.Minute
)

// job is an upload that is being processed.
type job struct {
	file   *os.File
	used   *counted
	units  source
	index  *orderIndex // of a file in which an order has several rows; nil of others
	report *os.File
	saved  time.Time
	listed int64    // refused rows in the report, and of the portions that are to come into it
	ahead  *portion // that is on its way into the log; nil: none
	// safe is the upload as it was behind the last batch behind which a restart can go
	// on: with the place, and with what had been counted there.
	safe Upload
}

// counted counts what is read.
type counted struct {
	from io.Reader
	n    int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, err
}

func (j *job) close() error {
	if j == nil {
		return nil
	}
	return errors.Join(j.file.Close(), j.report.Close(), j.index.close())
}

// Run processes uploads, one portion after the other, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	defer s.closeJobs()
	swept := s.o.Clock.Now().Add(-sweepEvery)
	for ctx.Err() == nil {
		if now := s.o.Clock.Now(); now.Sub(swept) >= sweepEvery {
			swept = now
			s.sweep()
		}
		k := s.next()
		if k == nil {
			later, stop := s.o.Clock.At(swept.Add(sweepEvery))
			select {
			case <-s.wake:
			case <-later:
			case <-ctx.Done():
			}
			stop()
			continue
		}
		if err := s.process(ctx, k); err != nil && ctx.Err() == nil {
			s.o.Logger.Warn("an upload waits", "upload", k.u.ID, "error", err)
			s.rest(ctx)
		}
	}
	return nil
}

// rest is the pause after something did not answer.
func (s *Service) rest(ctx context.Context) {
	over, stop := s.o.Clock.At(s.o.Clock.Now().Add(retryAfter))
	defer stop()
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// pace waits until so many rows may be read as RowsPerS says.
func (s *Service) pace(ctx context.Context) error {
	if s.o.RowsPerS == 0 || !s.o.Clock.Now().Before(s.free) {
		return nil
	}
	over, stop := s.o.Clock.At(s.free)
	defer stop()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// spent says that so many rows have been read. Time in which none were is lost: a pause
// is not caught up with.
func (s *Service) spent(rows int) {
	if s.o.RowsPerS == 0 {
		return
	}
	if now := s.o.Clock.Now(); s.free.Before(now) {
		s.free = now
	}
	s.free = s.free.Add(time.Duration(rows) * time.Second / time.Duration(s.o.RowsPerS))
}

// closeJobs leaves the uploads for the next start, with their positions.
func (s *Service) closeJobs() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.all {
		if k.job == nil {
			continue
		}
		if err := errors.Join(s.saveLocked(k), k.job.close()); err != nil {
			s.o.Logger.Error("an upload's position is not saved", "upload", k.u.ID, "error", err)
		}
		k.job = nil
	}
}

// next is the oldest upload of the workspace whose turn it is; nil when none waits.
func (s *Service) next() *kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *kept
	for _, k := range s.all {
		if k.u.State != Waiting && k.u.State != Processing {
			continue
		}
		if best == nil {
			best = k
			continue
		}
		a, b := s.served[k.u.Workspace], s.served[best.u.Workspace]
		if a < b || a == b && earlier(k, best) {
			best = k
		}
	}
	if best != nil {
		s.turn++
		s.served[best.u.Workspace] = s.turn
	}
	return best
}

// earlier: what is processed already, then what was whole first.
func earlier(a, b *kept) bool {
	if (a.u.State == Processing) != (b.u.State == Processing) {
		return a.u.State == Processing
	}
	if !a.u.UpdatedAt.Equal(b.u.UpdatedAt) {
		return a.u.UpdatedAt.Before(b.u.UpdatedAt)
	}
	return a.u.ID < b.u.ID
}

// process is one turn of an upload: while a portion of its rows is on its way into the
// log, the next one is read. An error is one after which it is tried again.
func (s *Service) process(ctx context.Context, k *kept) (err error) {
	defer func() {
		if v := recover(); v != nil { // one file stops nobody
			s.o.Logger.Error("an upload panicked", "upload", k.u.ID, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = s.arrive(k)
			s.mu.Lock()
			left := slices.Collect(maps.Keys(s.under))
			s.mu.Unlock()
			for _, p := range left { // nobody else has one
				s.done(p)
			}
			if err == nil {
				err = s.end(k, Failed, &Problem{engage.Internal, "file", "cannot be processed: the server's log says why"})
			}
		}
	}()
	if k.job == nil {
		err := s.begin(ctx, k)
		var same *sameFile
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &same):
			return s.end(k, Done, nil)
		case err != nil:
			return s.fail(k, err)
		}
	}
	for rows := 0; ; {
		if err := s.pace(ctx); err != nil {
			return err
		}
		s.mu.Lock()
		cancelled := k.cancel
		s.mu.Unlock()
		var next *portion
		var err error
		if !cancelled && rows < turnRows {
			next, err = s.read(ctx, k)
		}
		if wrong := s.arrive(k); wrong != nil {
			if next != nil {
				s.done(next) // its rows are read again
			}
			return wrong
		}
		switch {
		case err != nil:
			return s.again(k, err)
		case cancelled:
			return s.end(k, Cancelled, nil)
		case next == nil:
			return nil // the turn of another
		}
		rows += next.rows
		s.spent(next.rows)
		s.depart(ctx, k, next)
		if next.end == nil {
			continue
		}
		switch err := s.arrive(k); {
		case err != nil:
			return err
		case errors.Is(next.end, io.EOF):
			return s.end(k, Done, nil)
		default:
			return s.fail(k, next.end)
		}
	}
}

// sameFile says that an upload has taken the same file already.
type sameFile struct{ id string }

func (e *sameFile) Error() string { return "it is the file of upload " + e.id }

// begin opens the file where it was left.
func (s *Service) begin(ctx context.Context, k *kept) error {
	s.mu.Lock()
	u := k.u
	s.mu.Unlock()
	if u.State == Waiting {
		if err := s.digest(ctx, &u); err != nil {
			return err
		}
		u.State, u.StartedAt = Processing, s.o.Clock.Now().UTC()
		u.UpdatedAt = u.StartedAt
		u.Declared = s.types(&u)
		u.Decided = u.Mapping
		if err := s.same(k, &u); err != nil {
			return err
		}
	}
	f, err := os.Open(s.f.path(u.ID, bodyFile))
	if err != nil {
		return err
	}
	declared := map[string]rules.Type{}
	for name, t := range u.Declared {
		declared[name] = rules.Type(t)
	}
	j := &job{file: f, used: &counted{from: f}, saved: s.o.Clock.Now(), listed: u.Listed}
	r, err := openReader(j.used, readerOptions{
		Kind: u.Kind, Format: u.Format, Mapping: u.Decided, Declared: declared, Now: u.StartedAt, AsOf: u.CreatedAt,
	})
	if err == nil && u.Offset > 0 {
		if _, err = f.Seek(0, io.SeekStart); err == nil {
			j.used.n = 0
			err = r.resume(j.used, u.Offset, u.Row)
		}
	}
	if err == nil && r.row.lines {
		j.index, err = openOrderIndex(s.f.path(u.ID, ordersFile), u.Offset == 0)
	}
	if err == nil {
		j.report, err = os.OpenFile(s.f.path(u.ID, reportFile), os.O_WRONLY|os.O_CREATE, 0o600)
	}
	if err == nil {
		if err = j.report.Truncate(u.Report); err == nil {
			_, err = j.report.Seek(u.Report, io.SeekStart)
		}
	}
	if err != nil {
		err = errors.Join(err, f.Close(), j.index.close())
		if j.report != nil {
			err = errors.Join(err, j.report.Close())
		}
		return err
	}
	u.Decided, j.units = r.decided(), r.units(j.index.began)
	s.mu.Lock()
	defer s.mu.Unlock()
	j.safe = u
	k.u, k.job, k.began, k.had = u, j, s.o.Clock.Now(), u.Read
	return s.f.save(&k.u)
}

// same refuses a file that an upload has taken whole and read in the same way: a person
// remembers their newest touches only, so that rows of long ago would count again.
func (s *Service) same(k *kept, u *Upload) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.all {
		o := &other.u
		if u.Kind != Items && o.State == Done && o.Same == "" && o.Workspace == u.Workspace && o.Kind == u.Kind && o.SHA256 == u.SHA256 &&
			o.Format == u.Format && maps.Equal(o.Mapping, u.Mapping) && maps.Equal(o.Declared, u.Declared) {
			u.Same = o.ID
			k.u = *u
			return &sameFile{o.ID}
		}
		if o.ID != u.ID && o.Workspace == u.Workspace && o.SHA256 == u.SHA256 && o.SHA256 != "" && o.CreatedAt.Before(u.sentIn()) {
			u.FirstAt = o.CreatedAt
		}
	}
	return nil
}

// digest takes the hash of the file, and compares it with what was announced.
func (s *Service) digest(ctx context.Context, u *Upload) error {
	f, err := os.Open(s.f.path(u.ID, bodyFile))
	if err != nil {
		return err
	}
	h := sha256.New()
	_, err = io.Copy(h, &patient{ctx, f})
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if u.SHA256 != "" && !strings.EqualFold(sum, u.SHA256) {
		return engage.Errorf(engage.Invalid, "sha256", "is not that of what came: the file was changed while it was sent")
	}
	u.SHA256 = sum
	return nil
}

// patient ends with its context.
type patient struct {
	ctx  context.Context //nolint:containedctx // it is a reader for the length of a call
	from io.Reader
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.from.Read(b)
}

// saveLocked saves the position of an upload under way.
func (s *Service) saveLocked(k *kept) error {
	files := []string{s.f.path(k.u.ID, reportFile)}
	if k.job.index != nil {
		files = append(files, k.job.index.path)
	}
	if err := s.f.certain(files...); err != nil {
		return err
	}
	return s.f.save(&k.job.safe)
}

// leftAlone refuses a row that names somebody who wants to be left alone, or who was erased
// while the file waited.
func (s *Service) leftAlone(u *Upload, identifiers []string) *engage.Error {
	for _, id := range identifiers {
		kind, _, _ := strings.Cut(id, ":")
		if s.o.Suppressed != nil && s.o.Suppressed(u.Workspace, id) {
			return engage.Errorf(engage.Forbidden, kind, "is on the suppression list")
		}
		if s.o.Erased == nil {
			continue
		}
		if at := u.sentIn(); s.o.Erased(u.Workspace, id, at) || s.o.Erased(u.Workspace, engage.PersonID(u.Workspace, id), at) {
			return engage.Errorf(engage.Forbidden, kind, "is of somebody who was erased after the file was sent in: another file makes a new person of them")
		}
	}
	return nil
}

func entryOf(u *Upload, row *Row) (engage.Entry, error) {
	row.Touch.From = engage.TouchSource{Kind: "upload", Key: u.By, Name: u.ID}
	body, err := json.Marshal(&row.Touch)
	if err != nil {
		return engage.Entry{}, fmt.Errorf("encode touch: %w", err)
	}
	return engage.Entry{
		Kind: engage.KindTouch, Key: engage.ProfileKey(u.Workspace, engage.PersonID(u.Workspace, row.Touch.Identifiers[0])),
		Occurred: row.Occurred, Body: body,
	}, nil
}

// fail ends an upload whose file cannot be read further.
func (s *Service) fail(k *kept, err error) error {
	e, is := errors.AsType[*engage.Error](err)
	if !is {
		s.o.Logger.Error("an upload cannot be read", "upload", k.u.ID, "error", err)
		e = engage.Errorf(engage.Internal, "file", "cannot be read: the server's log says why")
	}
	return s.end(k, Failed, problemOf(e))
}

func (s *Service) end(k *kept, as State, why *Problem) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := k.job.close()
	if as == Done {
		k.u.Used = k.u.Received
		if k.u.Read == 0 && k.u.Same == "" {
			as, why = Failed, &Problem{engage.Invalid, "file", "has no row"}
		}
	}
	return errors.Join(err, s.f.certain(s.f.path(k.u.ID, reportFile)), s.endLocked(k, as, why))
}

// eachLine calls f for every line, without its end.
func eachLine(from io.Reader, f func(line []byte) error) error {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		if err := f(lines.Bytes()); err != nil {
			return err
		}
	}
	return lines.Err()
}
