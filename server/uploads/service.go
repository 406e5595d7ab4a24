package uploads

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/durable"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

// Limits, unless Options say otherwise.
const (
	DefaultMaxBytes   = 4 << 30
	DefaultMaxSpooled = 16 << 30
	DefaultMaxOpen    = 50
	DefaultKeep       = 30 * 24 * time.Hour
	DefaultAbandoned  = 3 * 24 * time.Hour
)

// MaxAge is after how long an upload that has not ended is given up.
const MaxAge = 60 * 24 * time.Hour

// Options of a Service. Dir, Log, Attributes and Clock are required.
type Options struct {
	Dir  string // made when it is missing
	Sync bool   // what is answered survives a power cut
	// Log takes rows.
	Log Log
	// Attributes are the declared types of a workspace's attributes.
	Attributes func(workspace string) map[string]rules.Type
	// Items takes items; nil: there are no uploads of them. Catalogue is one of a
	// workspace, nil when there is none; required with Items.
	Items     Catalogue
	Catalogue func(workspace, id string) *engage.Catalogue
	// Suppressed reports whether an identifier is on a workspace's suppression list; nil:
	// nobody is.
	Suppressed func(workspace, identifier string) bool
	// Erased reports whether whom an identifier, or the id of a profile, names has been
	// erased since a time; nil: nobody has.
	Erased     func(workspace, name string, since time.Time) bool
	Clock      clock.Clock
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: nobody reads the metrics

	MaxBytes   int64         // of one file as it comes
	MaxSpooled int64         // of all files that are not processed yet
	MaxOpen    int           // uploads of a workspace that have not ended
	Keep       time.Duration // of what has ended
	Abandoned  time.Duration // after which an upload that does not come on is given up
	RowsPerS   int           // of all uploads together; 0: as the log takes them
}

// Log takes rows on their way to the persons' partitions.
type Log interface {
	// Append returns when the entries are durable. Before it begins it waits until the
	// partitions have applied nearly all that it has appended before, and are not far
	// behind with what others append: live traffic goes first. One call at a time.
	Append(ctx context.Context, entries []engage.Entry) error
}

// Service keeps the uploads and processes them.
type Service struct {
	o       Options
	f       folders
	wake    chan struct{} // cap 1: an upload waits
	metrics *metrics
	free    time.Time // when the next portion may be read, of the goroutine that processes

	mu     sync.Mutex
	all    map[string]*kept
	served map[string]int64      // workspace: when it last had its turn
	under  map[*portion]struct{} // being read, or on their way into the log
	turn   int64
}

// New reads what earlier processes have left. It starts nothing.
func New(o Options) (*Service, error) {
	o.MaxBytes, o.MaxSpooled, o.MaxOpen = cmp.Or(o.MaxBytes, DefaultMaxBytes), cmp.Or(o.MaxSpooled, DefaultMaxSpooled), cmp.Or(o.MaxOpen, DefaultMaxOpen)
	o.Keep, o.Abandoned = cmp.Or(o.Keep, DefaultKeep), cmp.Or(o.Abandoned, DefaultAbandoned)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{o: o, f: folders{o.Dir, o.Sync}, wake: make(chan struct{}, 1), metrics: newMetrics(), all: map[string]*kept{}, served: map[string]int64{}, under: map[*portion]struct{}{}}
	all, err := s.f.load(func(id string, err error) {
		s.o.Logger.Error("an upload's folder cannot be read", "upload", id, "error", err)
	})
	for _, k := range all {
		s.all[k.u.ID] = k
	}
	if err == nil && o.Registerer != nil {
		err = s.metrics.register(o.Registerer, s)
	}
	return s, err
}

// Making is what is said of a new upload.
type Making struct {
	Workspace, By string
	Kind          Kind
	Catalogue     string // of items
	Name          string
	Format        Format // "": found out
	Size          int64  // bytes; 0: not known
	SHA256        string // in hexadecimal; "": not known
	Mapping       Mapping
}

// Create makes an upload. Errors: engage.Invalid and TooLarge of a field,
// engage.RateLimited when too many are open.
func (s *Service) Create(m Making) (Upload, error) {
	if len(m.Mapping) == 0 {
		m.Mapping = nil
	}
	if err := s.check(&m); err != nil {
		return Upload{}, err
	}
	now := s.o.Clock.Now().UTC()
	u := Upload{
		V: 1, ID: newID(now), Workspace: m.Workspace, Kind: m.Kind, Catalogue: m.Catalogue, Name: clip(m.Name), Format: m.Format, By: m.By, Mapping: m.Mapping,
		SHA256: m.SHA256, State: Receiving, CreatedAt: now, UpdatedAt: now, Size: m.Size,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	open, spooled := 0, m.Size
	for _, k := range s.all {
		if !k.u.State.Ended() {
			spooled += max(k.u.Size, k.u.Received)
			if k.u.Workspace == m.Workspace {
				open++
			}
		}
	}
	switch {
	case open >= s.o.MaxOpen:
		return Upload{}, engage.Errorf(engage.RateLimited, "", "%d uploads are open: wait until one has ended, or cancel one", open)
	case spooled > s.o.MaxSpooled:
		return Upload{}, engage.Errorf(engage.Unavailable, "size", "there is no room for it until other uploads have been processed")
	}
	if err := s.f.make(&u); err != nil {
		return Upload{}, fmt.Errorf("make an upload: %w", err)
	}
	s.all[u.ID] = &kept{u: u}
	return u, nil
}

func (s *Service) check(m *Making) error {
	_, err := m.Mapping.parse(m.Kind)
	switch {
	case !slices.Contains(Kinds(), m.Kind):
		return engage.Errorf(engage.Invalid, "kind", "must be people, events, purchases or items")
	case m.Format != "" && m.Format != CSV && m.Format != NDJSON:
		return engage.Errorf(engage.Invalid, "format", "must be csv or ndjson")
	case m.Size < 0:
		return engage.Errorf(engage.Invalid, "size", "must not be negative")
	case m.Size > s.o.MaxBytes:
		return engage.Errorf(engage.TooLarge, "size", "at most %d bytes: compress the file, or cut it in parts", s.o.MaxBytes)
	case err != nil:
		return err
	}
	if err := s.checkItems(m); err != nil {
		return err
	}
	if b, err := hex.DecodeString(m.SHA256); m.SHA256 != "" && (err != nil || len(b) != 32) {
		return engage.Errorf(engage.Invalid, "sha256", "must be 64 hexadecimal digits")
	}
	return nil
}

// newID sorts by time.
func newID(now time.Time) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (Go 1.24)
	return now.Format("20060102t150405") + "-" + hex.EncodeToString(b[:])
}

func (s *Service) find(workspace, id string) (*kept, error) {
	if k := s.all[id]; k != nil && k.u.Workspace == workspace {
		return k, nil
	}
	return nil, engage.Errorf(engage.NotFound, "id", "there is no upload %q", clip(id))
}

// Get is an upload as it is now.
func (s *Service) Get(workspace, id string) (Upload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.find(workspace, id)
	if err != nil {
		return Upload{}, err
	}
	return s.view(k), nil
}

// view is the upload with its rate.
func (s *Service) view(k *kept) Upload {
	u := k.u
	if u.State != Processing || k.began.IsZero() {
		if spent := u.EndedAt.Sub(u.StartedAt).Seconds(); u.State.Ended() && spent > 0 {
			u.RowsPerS = float64(u.Read) / spent
		}
		return u
	}
	spent := s.o.Clock.Now().Sub(k.began).Seconds()
	if rows := u.Read - k.had; spent > 0 && rows > 0 {
		u.RowsPerS = float64(rows) / spent
		if u.Used > 0 {
			total := float64(u.Read) * float64(u.Received) / float64(u.Used) // rows, as far as one can tell
			u.Left = time.Duration(max(total-float64(u.Read), 0) / u.RowsPerS * float64(time.Second)).Round(time.Second)
		}
	}
	return u
}

// List is all uploads of a workspace, the newest first.
func (s *Service) List(workspace string) []Upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Upload
	for _, k := range s.all {
		if k.u.Workspace == workspace {
			out = append(out, s.view(k))
		}
	}
	slices.SortFunc(out, func(a, b Upload) int { return cmp.Compare(b.ID, a.ID) })
	return out
}

// Write adds bytes at offset, which must be how many there are, and returns when they
// are durable: also those that came before from broke off, with its error. With last the
// upload is whole and waits for its turn. Errors: engage.NotFound; engage.Conflict of
// "offset", of "id" (it takes nothing any more), or when another part is being written;
// engage.TooLarge.
func (s *Service) Write(workspace, id string, offset int64, last bool, from io.Reader) (Upload, error) {
	s.mu.Lock()
	k, err := s.find(workspace, id)
	s.mu.Unlock()
	if err != nil {
		return Upload{}, err
	}
	if !k.writing.TryLock() {
		return Upload{}, engage.Errorf(engage.Conflict, "id", "another part of it is coming in")
	}
	defer k.writing.Unlock()
	s.mu.Lock()
	u := k.u
	s.mu.Unlock()
	switch {
	case u.State != Receiving:
		return u, engage.Errorf(engage.Conflict, "id", "is %s: it takes nothing any more", u.State)
	case offset != u.Received:
		return u, engage.Errorf(engage.Conflict, "offset", "must be %d: so many bytes are here", u.Received)
	}
	cut := s.receive(k, &u, from)
	whole := cut == nil && (last || u.Size > 0 && u.Received == u.Size)
	if err := cut; err == nil && last && u.Size > 0 && u.Received < u.Size {
		cut, whole = engage.Errorf(engage.Invalid, "last", "the upload has %d bytes, it was to have %d", u.Received, u.Size), false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.u.State != Receiving { // cancelled meanwhile
		return k.u, engage.Errorf(engage.Conflict, "id", "is %s: it takes nothing any more", k.u.State)
	}
	k.u.Received, k.u.UpdatedAt = u.Received, s.o.Clock.Now().UTC()
	if whole {
		k.u.State = Waiting
	}
	if err := s.f.save(&k.u); err != nil {
		k.u.State = Receiving
		return k.u, err
	}
	if whole {
		s.kick()
	}
	return k.u, cut
}

// receive writes to the file until from ends, and counts u.Received.
func (s *Service) receive(k *kept, u *Upload, from io.Reader) error {
	f, err := os.OpenFile(s.f.path(u.ID, bodyFile), os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("take a part of an upload: %w", err)
	}
	most := s.o.MaxBytes
	if u.Size > 0 {
		most = u.Size
	}
	// One byte more than may come shows that too much comes.
	n, err := io.Copy(io.NewOffsetWriter(f, u.Received), io.LimitReader(from, most-u.Received+1))
	s.metrics.bytes.Add(float64(n))
	u.Received += n
	if u.Received > most {
		u.Received = most
		err = errors.Join(engage.Errorf(engage.TooLarge, "", "the upload has more than %d bytes", most), f.Truncate(most))
	}
	if s.o.Sync {
		err = errors.Join(err, f.Sync())
	}
	return errors.Join(err, f.Close())
}

func (s *Service) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Cancel stops an upload that has not ended, and removes its bytes; what was taken
// stays. One that has ended is removed with its report.
func (s *Service) Cancel(workspace, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.find(workspace, id)
	switch {
	case err != nil:
		return err
	case k.u.State.Ended():
		return s.remove(k)
	case k.u.State == Processing:
		k.cancel = true // the one who processes ends it
		return nil
	}
	return s.endLocked(k, Cancelled, nil)
}

func (s *Service) remove(k *kept) error {
	delete(s.all, k.u.ID)
	if err := os.RemoveAll(s.f.of(k.u.ID)); err != nil {
		return fmt.Errorf("remove an upload: %w", err)
	}
	return nil
}

// endLocked ends an upload: first that it is so, then its bytes go.
func (s *Service) endLocked(k *kept, as State, why *Problem) error {
	k.u.State, k.u.Problem = as, why
	k.u.EndedAt = s.o.Clock.Now().UTC()
	k.u.UpdatedAt = k.u.EndedAt
	k.job = nil
	if err := s.f.save(&k.u); err != nil {
		return err
	}
	s.o.Logger.Info("upload ended", "workspace", k.u.Workspace, "upload", k.u.ID, "kind", string(k.u.Kind), "state", string(as),
		"read", k.u.Read, "taken", k.u.Taken, "refused", k.u.Refused)
	return s.f.drop(k.u.ID)
}

// Report calls f for the refused rows, in their order, as far as they are listed.
func (s *Service) Report(workspace, id string, f func(line []byte) error) error {
	s.mu.Lock()
	k, err := s.find(workspace, id)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	most := k.u.Report
	s.mu.Unlock()
	file, err := os.Open(s.f.path(id, reportFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("report of an upload: %w", err)
	}
	return errors.Join(eachLine(io.LimitReader(file, most), f), file.Close())
}

// sweep removes what has been kept long enough, and gives up what does not come on.
func (s *Service) sweep() {
	now := s.o.Clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range slices.Collect(maps.Values(s.all)) {
		var err error
		switch {
		case k.u.State == Processing && now.Sub(k.u.CreatedAt) > MaxAge:
			k.cancel = true
		case !k.u.State.Ended() && now.Sub(k.u.CreatedAt) > MaxAge:
			err = s.endLocked(k, Cancelled, &Problem{engage.Unavailable, "", "it is too old"})
		case k.u.State.Ended() && now.Sub(k.u.EndedAt) > s.o.Keep:
			err = s.remove(k)
		case k.u.State == Receiving && now.Sub(k.u.UpdatedAt) > s.o.Abandoned:
			err = s.endLocked(k, Cancelled, &Problem{engage.Unavailable, "", "nothing came for too long"})
		}
		if err != nil {
			s.o.Logger.Error("an upload cannot be cleared away", "upload", k.u.ID, "error", err)
		}
	}
}

// certain has files synced, where that is promised.
func (f folders) certain(paths ...string) error {
	if !f.sync {
		return nil
	}
	return durable.Files(paths...)
}
