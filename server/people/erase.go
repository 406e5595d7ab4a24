package people

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// job is a document of the collection "erasures": the receipt, and who it is while it
// runs.
type job struct {
	engage.Erasure
	DueUS   int64    `json:"due_us,omitempty"`  // when there is more to be done, Unix microseconds; 0: nothing is
	Subject *Subject `json:"subject,omitempty"` // nil: nothing of the person is left to be deleted
}

const (
	// lookAgain is after how long it is looked whether something was on its way. It is only
	// waiting: for calls that were being answered and messages that were being sent when the
	// owners forgot the person. What owners send each other, and rows of uploads, are waited
	// for in the order of the log.
	lookAgain = time.Second
	// together is how many persons are looked for at a time.
	together = 8
	// maxPasses bounds how often it is looked without a pause: a person who does not stop
	// coming in is not erased yet.
	maxPasses = 20
	// portion of documents that are deleted at once.
	portion = 500
	// logGranule is how much longer than its retention the log keeps a record at most:
	// it is trimmed by whole hours.
	logGranule = 2 * time.Hour
	// tryAgain is after how long a failed erasure is tried again.
	tryAgain = 5 * time.Second
)

// Erase begins to erase somebody and returns the receipt as it is now. Who is being
// erased already gets the receipt of that.
func (s *Service) Erase(ctx context.Context, subject *Subject, by, reason string, suppress bool) (*engage.Erasure, error) {
	now := s.o.Clock.Now()
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails (Go 1.24)
	e := &job{Subject: subject, DueUS: now.UnixMicro(), Erasure: engage.Erasure{
		V: 1, ID: hex.EncodeToString(id[:]), Workspace: subject.Workspace, State: engage.ErasureRunning, At: now, AtUS: now.UnixMicro(),
		LogUntil: now.Add(s.o.LogRetention + logGranule), By: by, Reason: reason, Deleted: map[string]int64{}, Suppressed: suppress,
	}}
	s.hashed(e)
	open, err := s.open(ctx, subject.Workspace)
	if err != nil {
		return nil, err
	}
	for _, r := range open {
		if r.Subject != nil && r.Subject.Profile == subject.Profile {
			s.noteErased(subject.Workspace, e.Hashes, e.AtUS)
			return &r.Erasure, nil
		}
	}
	if suppress {
		for _, id := range subject.Identifiers {
			if _, err := s.Suppress(ctx, subject.Workspace, id, by, "erased"); err != nil {
				return nil, err
			}
		}
	}
	if err := s.put(ctx, e); err != nil {
		return nil, err
	}
	s.noteErased(e.Workspace, e.Hashes, e.AtUS)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return &e.Erasure, nil
}

// hashed puts what the person goes by, as far as it is known by now, into the receipt.
func (s *Service) hashed(e *job) {
	for _, name := range append(e.Subject.Profiles(), e.Subject.Identifiers...) {
		e.Hashes = append(e.Hashes, s.o.Hasher.Hash(e.Workspace, name))
	}
	slices.Sort(e.Hashes)
	e.Hashes = slices.Compact(e.Hashes)
}

func (s *Service) put(ctx context.Context, e *job) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode erasure: %w", err)
	}
	err = s.o.Hot.Apply(ctx, store.Batch{Puts: []store.Put{{
		Collection: "erasures", Key: store.Key{Workspace: e.Workspace, ID: e.ID}, Body: body, If: store.AnyVersion,
	}}})
	if err != nil {
		return fmt.Errorf("write erasure: %w", err)
	}
	return nil
}

// open are the erasures of which something is left to be done, in the order of when.
func (s *Service) open(ctx context.Context, workspace string) ([]*job, error) {
	var out []*job
	q := store.Query{Workspace: workspace, Filter: store.Filter{Path: "due_us", Op: store.Gt, Value: 0}}
	err := s.o.Hot.Iterate(ctx, "erasures", q, func(d store.Doc) error {
		e, err := readJob(d)
		out = append(out, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read erasures: %w", err)
	}
	slices.SortFunc(out, func(a, b *job) int { return cmp.Compare(a.DueUS, b.DueUS) })
	return out, nil
}

func readJob(d store.Doc) (*job, error) {
	var e job
	if err := json.Unmarshal(d.Body, &e); err != nil {
		return nil, fmt.Errorf("decode erasure %s: %w", d.ID, err)
	}
	return &e, nil
}

// Erasure returns a receipt; an error of code NotFound without one.
func (s *Service) Erasure(ctx context.Context, workspace, id string) (*engage.Erasure, error) {
	d, err := s.o.Hot.Get(ctx, "erasures", store.Key{Workspace: workspace, ID: id})
	if errors.Is(err, store.ErrNotFound) {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no such erasure")
	}
	if err != nil {
		return nil, fmt.Errorf("read erasure: %w", err)
	}
	e, err := readJob(d)
	if err != nil {
		return nil, err
	}
	return &e.Erasure, nil
}

// Erasures lists receipts, the newest first; with an identifier those that erased it.
func (s *Service) Erasures(ctx context.Context, workspace, identifier, cursor string, limit int) ([]engage.Erasure, string, error) {
	q := store.Query{Workspace: workspace, Sort: "-at_us", Cursor: cursor, Limit: limit}
	if identifier != "" {
		q.Filter = store.Filter{Path: "hashes", Op: store.Has, Value: s.o.Hasher.Hash(workspace, identifier)}
	}
	return list[engage.Erasure](ctx, s.o.Hot, "erasures", q)
}

// Run erases until ctx ends, first what an earlier process has left.
func (s *Service) Run(ctx context.Context) error {
	for {
		next, err := s.work(ctx)
		if err != nil && ctx.Err() == nil {
			s.o.Logger.Error("erase", "error", err)
			next = s.o.Clock.Now().Add(tryAgain)
		}
		var again <-chan struct{}
		stop := func() {}
		if !next.IsZero() {
			again, stop = s.o.Clock.At(next)
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-again:
		}
		stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// work does what is due, and says when there is more to be done; zero: nothing is. One
// that fails stops no other.
func (s *Service) work(ctx context.Context) (next time.Time, err error) {
	todo, err := s.open(ctx, "")
	if err != nil {
		return time.Time{}, err
	}
	now := s.o.Clock.Now()
	var due, trim []*job
	for _, e := range todo {
		switch {
		case e.State == engage.ErasureRunning && !now.Before(s.looks[e.ID].due):
			due = append(due, e)
		case e.State != engage.ErasureRunning && !now.Before(time.UnixMicro(e.DueUS)):
			trim = append(trim, e)
		}
	}
	err = errors.Join(s.erase(ctx, due), s.trimmed(ctx, trim))
	for _, e := range todo {
		at := time.UnixMicro(e.DueUS)
		if e.State == engage.ErasureRunning {
			at = s.looks[e.ID].due
		}
		if e.DueUS > 0 && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next, err
}

// trimmed notes that the log has lost the persons' records, when it has.
func (s *Service) trimmed(ctx context.Context, all []*job) error {
	if len(all) == 0 {
		return nil
	}
	if err := s.o.Engine.Trim(ctx); err != nil {
		return fmt.Errorf("trim the log: %w", err)
	}
	for _, e := range all {
		e.LogRemovedAt, e.DueUS = s.o.Clock.Now(), 0
		if err := s.put(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// looks is how often it was looked for a person in this process, and when it is again.
type looks struct {
	n   int
	due time.Time
}

// erase looks once for each of the persons, together at a time, and writes the receipts of
// those of whom nothing was found any more. A part that was done already is done again,
// and finds nothing.
func (s *Service) erase(ctx context.Context, all []*job) error {
	if len(all) > 0 && !s.listed {
		if err := s.o.Engine.ListClaims(ctx); err != nil {
			return fmt.Errorf("list claims: %w", err)
		}
		s.listed = true
	}
	var g errgroup.Group
	g.SetLimit(together)
	gone, errs := make([]bool, len(all)), make([]error, len(all))
	before := make([]looks, len(all))
	for i, e := range all {
		before[i] = s.looks[e.ID]
		g.Go(func() error {
			gone[i], errs[i] = s.look(ctx, e, before[i].n)
			return nil
		})
	}
	_ = g.Wait() // each has its own
	now := s.o.Clock.Now()
	var done []*job
	for i, e := range all {
		switch {
		case errs[i] != nil:
			errs[i] = fmt.Errorf("erasure %s: %w", e.ID, errs[i])
			s.looks[e.ID] = looks{due: now.Add(tryAgain)}
		case gone[i]:
			done = append(done, e)
		default:
			s.looks[e.ID] = looks{before[i].n + 1, now.Add(lookAgain)}
		}
	}
	if err := s.finish(ctx, done); err != nil {
		for _, e := range done {
			s.looks[e.ID] = looks{due: now.Add(tryAgain)}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// look erases what is found of a person; done: nothing was, after an earlier look.
func (s *Service) look(ctx context.Context, e *job, before int) (done bool, err error) {
	if e.Subject == nil { // an earlier process was that far
		return true, nil
	}
	n, err := s.pass(ctx, e)
	switch {
	case err != nil:
		return false, err
	case before > 0 && n == 0:
		e.Subject = nil
		return true, s.put(ctx, e)
	case before == maxPasses:
		return false, fmt.Errorf("something of the person is still found after %d looks", before+1)
	}
	return false, s.put(ctx, e) // with what the pass has found that they go by
}

// finish writes the receipts of erasures that have nothing more to delete. The files are
// scrubbed first, once for all: nothing of what was deleted is left in them when they say
// done.
func (s *Service) finish(ctx context.Context, all []*job) error {
	if len(all) == 0 {
		return nil
	}
	if err := s.o.Scrub(ctx); err != nil {
		return fmt.Errorf("scrub the store's files: %w", err)
	}
	for _, e := range all {
		now := s.o.Clock.Now()
		e.State, e.DoneAt = engage.ErasureDone, now
		e.LogUntil = now.Add(s.o.LogRetention + logGranule) // what came in meanwhile, too
		e.DueUS = e.LogUntil.UnixMicro()
		if err := s.put(ctx, e); err != nil {
			return err
		}
		delete(s.looks, e.ID)
		s.o.Logger.Info("erased", "erasure", e.ID, "workspace", e.Workspace)
	}
	return nil
}

// pass erases what is there now and returns how many documents it deleted.
func (s *Service) pass(ctx context.Context, e *job) (n int64, err error) {
	sub := e.Subject
	if _, err := s.gather(ctx, sub); err != nil {
		return 0, err
	}
	// The phones first, so that nobody comes in again as whom they were.
	credentials, err := s.credentials(ctx, sub)
	if err != nil {
		return 0, err
	}
	deleted := map[string]int64{}
	if err := s.remove(ctx, s.o.Hot, "credentials", credentials, deleted); err != nil {
		return 0, err
	}
	for _, k := range credentials {
		s.o.Engine.Disconnect(k.Workspace, k.ID)
	}
	if err := s.o.Engine.Forget(ctx, sub); err != nil {
		return 0, fmt.Errorf("have the owners forget: %w", err)
	}
	// What the owners have written meanwhile tells of more, before it goes: the next pass
	// has them forget that, too.
	found, err := s.gather(ctx, sub)
	if err != nil {
		return 0, err
	}
	s.hashed(e)
	s.noteErased(e.Workspace, e.Hashes, e.AtUS)
	since := map[string]int64{}
	if err := s.disclaim(ctx, e, deleted, since); err != nil {
		return 0, err
	}
	if err := s.remove(ctx, s.o.Hot, "deliveries", found.deliveries, deleted); err != nil {
		return 0, err
	}
	for _, x := range s.places(sub) {
		if err := s.clear(ctx, x, deleted); err != nil {
			return 0, err
		}
	}
	for name, k := range deleted {
		e.Deleted[name] += k
		n += k
	}
	for name, k := range since {
		e.Deleted[name] += k
	}
	return n, nil
}

// gathered is what documents of a person name, before they are deleted.
type gathered struct{ deliveries []store.Key }

// gather adds to the subject every profile that its history says has become one with
// it, with the identifier that said so, and every install that it names, and finds its
// deliveries. Of profiles the state
// does not tell: it remembers only so many of installs', and one may have come in since
// the subject was read.
func (s *Service) gather(ctx context.Context, sub *Subject) (g gathered, err error) {
	add := func(to *[]string) func(string) {
		is := map[string]bool{sub.Profile: true}
		for _, id := range *to {
			is[id] = true
		}
		return func(id string) {
			if id != "" && !is[id] {
				is[id] = true
				*to = append(*to, id)
			}
		}
	}
	install, absorbed, identifier := add(&sub.Installs), add(&sub.Absorbed), add(&sub.Identifiers)
	read := func(collection string, q store.Query) error {
		q.Workspace = sub.Workspace
		err := s.o.States.Iterate(ctx, collection, q, func(d store.Doc) error {
			var names struct {
				Kind     engage.Kind     `json:"kind"` // of the timeline
				Data     json.RawMessage `json:"data"`
				Install  string          `json:"install"`
				Delivery string          `json:"delivery"`
			}
			if err := json.Unmarshal(d.Body, &names); err != nil {
				return fmt.Errorf("decode %s %s: %w", collection, d.ID, err)
			}
			install(names.Install)
			if names.Delivery != "" {
				g.deliveries = append(g.deliveries, store.Key{Workspace: store.System, ID: sub.Workspace + "/" + names.Delivery})
			}
			if names.Kind == engage.KindAbsorb {
				var other struct {
					Profile    string `json:"profile"`
					Identifier string `json:"identifier"`
				}
				if err := json.Unmarshal(names.Data, &other); err != nil {
					return fmt.Errorf("decode %s %s: %w", collection, d.ID, err)
				}
				absorbed(other.Profile)
				identifier(other.Identifier)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read what there is of the person: %w", err)
		}
		return nil
	}
	for i := 0; i <= len(sub.Absorbed); i++ { // it grows: who was absorbed had absorbed others
		profile := sub.Profiles()[i]
		if err := read("timeline", store.Query{IDPrefix: "p:" + profile + "/"}); err != nil {
			return g, err
		}
		for _, collection := range []string{"visits", "tracks", "decisions"} {
			if err := read(collection, store.Query{Filter: equals("profile", profile)}); err != nil {
				return g, err
			}
		}
	}
	slices.Sort(sub.Installs)
	slices.Sort(sub.Identifiers)
	return g, nil
}

func equals(path, value string) store.Filter {
	return store.Filter{Path: path, Op: store.Eq, Value: value}
}

// credentials are those of the installs that are the person's today: a phone that
// was passed on is somebody else's.
func (s *Service) credentials(ctx context.Context, sub *Subject) ([]store.Key, error) {
	var out []store.Key
	profiles := sub.Profiles()
	for _, id := range sub.Installs {
		key := store.Key{Workspace: sub.Workspace, ID: "i:" + id}
		d, err := s.o.States.Get(ctx, "state_in", key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("read install: %w", err)
		}
		var in struct {
			Profile string `json:"profile"`
		}
		if err == nil {
			if err := json.Unmarshal(d.Body, &in); err != nil {
				return nil, fmt.Errorf("decode install %s: %w", id, err)
			}
		}
		if in.Profile == "" || slices.Contains(profiles, in.Profile) {
			out = append(out, store.Key{Workspace: sub.Workspace, ID: id})
		}
	}
	return out, nil
}

// place is where documents of a person stand.
type place struct {
	of         store.Store
	collection string
	q          store.Query
	// about reports whether a document that the query finds is the person's; nil: all
	// are.
	about func(store.Doc) bool
}

// places are all of them, for what the owners of states do not delete.
func (s *Service) places(sub *Subject) []place {
	var out []place
	for _, profile := range sub.Profiles() {
		out = append(out,
			place{of: s.o.States, collection: "timeline", q: store.Query{IDPrefix: "p:" + profile + "/"}},
			place{of: s.o.States, collection: "snapshots", q: store.Query{IDPrefix: "p:" + profile + "/"}},
			place{of: s.o.States, collection: "decisions", q: store.Query{Filter: equals("profile", profile)}},
			place{of: s.o.States, collection: "reservations", q: store.Query{Filter: equals("profile", profile)}},
			place{of: s.o.Hot, collection: "redemptions", q: store.Query{Filter: equals("profile", profile)}},
			place{of: s.o.Hot, collection: "offer_uses", q: store.Query{IDPrefix: "p/" + profile + "/"}},
			place{of: s.o.States, collection: "visits", q: store.Query{Filter: equals("profile", profile)}},
			place{of: s.o.States, collection: "tracks", q: store.Query{Filter: equals("profile", profile)}},
			place{of: s.o.States, collection: engage.Claims, q: store.Query{Filter: equals("profile", profile)}},
			place{of: s.o.Hot, collection: "inbox", q: store.Query{Filter: store.Filter{Path: "_id", Op: store.Eq, Value: profile}}},
			place{of: s.o.Hot, collection: "inbox", q: store.Query{IDPrefix: profile + "/"}},
			place{of: s.o.Hot, collection: "accesses", q: store.Query{IDPrefix: profile + "/"}},
			place{of: s.o.Hot, collection: "live_activities", q: store.Query{Workspace: store.System, Filter: equals("profile", profile)}},
		)
	}
	// What has no index by person is small: lists of what went wrong or is on its way.
	names := namesOf(sub)
	about := func(d store.Doc) bool { return names.in(d.Body) }
	out = append(out,
		place{of: s.o.States, collection: "quarantine", about: about},
		place{of: s.o.States, collection: "dropped", about: about},
		place{of: s.o.Hot, collection: "webhooks", about: about},
	)
	for i := range out {
		if out[i].q.Workspace == "" {
			out[i].q.Workspace = sub.Workspace
		}
	}
	// A record that cannot be read is nobody's workspace's: it is found by the keys in it.
	keys := namesOf(&Subject{})
	act, in := sub.Keys()
	for _, key := range append(act, in...) {
		keys.add(key)
	}
	out = append(out, place{
		of: s.o.States, collection: "quarantine", q: store.Query{Workspace: store.System}, about: func(d store.Doc) bool { return keys.in(d.Body) },
	})
	return out
}

// clear deletes what stands at a place.
func (s *Service) clear(ctx context.Context, x place, deleted map[string]int64) error {
	var keys []store.Key
	err := x.of.Iterate(ctx, x.collection, x.q, func(d store.Doc) error {
		if x.about == nil || x.about(d) {
			keys = append(keys, d.Key)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for %s: %w", x.collection, err)
	}
	return s.remove(ctx, x.of, x.collection, keys, deleted)
}

// remove deletes documents in portions, and counts those that were there.
func (s *Service) remove(ctx context.Context, of store.Store, collection string, keys []store.Key, deleted map[string]int64) error {
	for part := range slices.Chunk(keys, portion) {
		var b store.Batch
		for _, k := range part {
			if collection == "deliveries" || collection == "credentials" { // which may have gone already
				if _, err := of.Get(ctx, collection, k); errors.Is(err, store.ErrNotFound) {
					continue
				} else if err != nil {
					return fmt.Errorf("read %s: %w", collection, err)
				}
			}
			b.Deletes = append(b.Deletes, store.Delete{Collection: collection, Key: k})
		}
		if len(b.Deletes) == 0 {
			continue
		}
		if err := of.Apply(ctx, b); err != nil {
			return fmt.Errorf("delete %s: %w", collection, err)
		}
		deleted[collection] += int64(len(b.Deletes))
	}
	return nil
}

// Keys of a subject's states, by the kind of partition that has them: those of
// profiles and identifiers, and those of installs.
func (s *Subject) Keys() (act, in []string) {
	for _, p := range s.Profiles() {
		act = append(act, engage.ProfileKey(s.Workspace, p))
	}
	for _, id := range s.Identifiers {
		act = append(act, engage.IdentifierKey(s.Workspace, id))
		if p := engage.PersonID(s.Workspace, id); !slices.Contains(s.Profiles(), p) {
			act = append(act, engage.ProfileKey(s.Workspace, p))
		}
	}
	for _, id := range s.Installs {
		in = append(in, engage.InstallKey(s.Workspace, id))
	}
	slices.SortFunc(act, strings.Compare)
	return slices.Compact(act), in
}
