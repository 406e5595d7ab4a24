package mongo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/footfall-engage/footfall/server/store"
)

const (
	// maxDocumentBytes leaves room below the server's 16 MiB for a command.
	maxDocumentBytes = 16<<20 - 16<<10
	// maxAttempts of one batch before conflicts are an error.
	maxAttempts = 200
	// Waits between attempts grow from one to the other, by chance.
	minBackoff = time.Millisecond
	maxBackoff = 100 * time.Millisecond

	purgePortion = 500
	// serialBulk is below the 100 at which FerretDB stops for ever.
	serialBulk = 50
)

var (
	// errConflict: somebody changed what had been read; the batch begins anew.
	errConflict = errors.New("changed by another meanwhile, too often")
	// errTaken: an identifier has its holder.
	errTaken = errors.New("identifier taken")
)

// change is one put or delete, made ready.
type change struct {
	*collection
	what    string // "puts[3] in people"
	id      string // _id
	key     store.Key
	ifThere int64 // Put.If; for a delete 0 has become AnyVersion

	put         bool
	body        []byte
	expires     *int64
	paths       bson.Raw // the projection; nil if opaque
	identifiers []string // what the body claims
}

// document is what the put stores.
func (c *change) document(version int64) bson.D {
	d := bson.D{{Key: idField, Value: c.id}}
	d = append(d, c.content()...)
	return append(d, bson.E{Key: versionField, Value: version})
}

// content is the document without what upserts make themselves: _id and version.
func (c *change) content() bson.D {
	d := bson.D{{Key: workspaceField, Value: c.key.Workspace}, {Key: docIDField, Value: c.key.ID}}
	if c.expires != nil {
		d = append(d, bson.E{Key: expiresField, Value: *c.expires})
	}
	d = append(d, bson.E{Key: bodyField, Value: bson.Binary{Data: c.body}})
	if c.paths != nil {
		d = append(d, bson.E{Key: pathsField, Value: c.paths})
	}
	return d
}

// expiresMS is nil for never. What a document's life is measured in is the
// millisecond, begun ones cut off.
func expiresMS(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ms := t.UnixMilli()
	return &ms
}

// stretch is how many documents of a batch are made ready at a stretch, so that
// others may run between.
const stretch = 32

// prepare makes a checked batch ready, in its order.
func (s *Store) prepare(b store.Batch) ([]change, error) {
	changes := make([]change, 0, len(b.Puts)+len(b.Deletes))
	for i, p := range b.Puts {
		if i%stretch == stretch-1 {
			runtime.Gosched()
		}
		c := change{
			collection: s.collections[p.Collection], what: fmt.Sprintf("puts[%d] in %s", i, p.Collection),
			id: docID(p.Key), key: p.Key, ifThere: p.If, put: true, body: p.Body, expires: expiresMS(p.Expires),
		}
		if !c.Opaque {
			projected := project(p.Body)
			var err error
			if c.paths, err = bson.Marshal(projected.document()); err != nil {
				return nil, fmt.Errorf("%s: encode: %w", c.what, err)
			}
			if size := len(c.paths) + len(c.body) + 4*len(c.id); size > maxDocumentBytes {
				return nil, &store.ArgError{
					Kind: store.ErrBadBatch, Field: fmt.Sprintf("puts[%d].body", i),
					Msg: fmt.Sprintf("takes %d bytes with what makes its members searchable; MongoDB keeps at most %d", size, maxDocumentBytes),
				}
			}
			c.identifiers = c.collection.identifiers(p.Workspace, projected)
		}
		changes = append(changes, c)
	}
	for i, d := range b.Deletes {
		c := change{
			collection: s.collections[d.Collection], what: fmt.Sprintf("deletes[%d] in %s", i, d.Collection),
			id: docID(d.Key), key: d.Key, ifThere: d.If,
		}
		if d.If == 0 {
			c.ifThere = store.AnyVersion
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// Apply implements store.Store. Besides the store's own errors there is *Error,
// which may be ErrOutcomeUnknown.
func (s *Store) Apply(ctx context.Context, b store.Batch) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	if err := b.Check(s.declared); err != nil {
		return err
	}
	changes, err := s.prepare(b)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		return ctx.Err()
	}
	once := s.transaction
	switch {
	case len(changes) == 1 && len(changes[0].unique) == 0:
		once = s.single
	case s.serial:
		once = s.oneByOne
	}
	if s.serial {
		s.lock.Lock()
		defer s.lock.Unlock()
	}
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := once(ctx, changes)
		again := errors.Is(err, errConflict) || hasLabel(err, labelTransient)
		if again && attempt < maxAttempts {
			pause(ctx, attempt)
			continue
		}
		if again {
			return s.newError(changes[0].what, err)
		}
		return err
	}
}

// pause waits before the next attempt, for the longer the more there have been.
func pause(ctx context.Context, attempt int) {
	longest := min(maxBackoff, minBackoff<<min(attempt, 10))
	ctx, cancel := context.WithTimeout(ctx, minBackoff+rand.N(longest)) //nolint:gosec // chance spreads contenders, no secret
	defer cancel()
	<-ctx.Done()
}

// detached is a context for what must not be broken off half-way: the outcome is
// waited for whatever becomes of the caller.
func (s *Store) detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), s.patience)
}

// single writes one change by itself. Its conditions are part of the command, so
// that no transaction is needed.
func (s *Store) single(ctx context.Context, changes []change) error {
	c := &changes[0]
	now := s.now().UnixMilli()
	wctx, cancel := s.detached(ctx)
	defer cancel()
	err := s.session(wctx, func(ctx context.Context) error {
		byID := eq(idField, c.id)
		ifVersion := append(append(byID[:1:1], bson.E{Key: versionField, Value: c.ifThere}), alive(now)...)
		switch {
		case !c.put && c.ifThere == store.AnyVersion:
			_, err := c.docs.DeleteOne(ctx, byID)
			return err
		case !c.put:
			res, err := c.docs.DeleteOne(ctx, ifVersion)
			if err == nil && res.DeletedCount == 0 {
				err = store.ErrVersion
			}
			return err
		case c.ifThere > 0:
			res, err := c.docs.ReplaceOne(ctx, ifVersion, c.document(c.ifThere+1))
			if err == nil && res.MatchedCount == 0 {
				err = store.ErrVersion
			}
			return err
		}
		var err error
		if c.ifThere == 0 {
			_, err = c.docs.InsertOne(ctx, c.document(1))
		} else {
			update := bson.D{{Key: "$set", Value: c.content()}, {Key: "$inc", Value: eq(versionField, int64(1))}}
			if c.expires == nil {
				update = append(update, bson.E{Key: "$unset", Value: eq(expiresField, "")})
			}
			_, err = c.docs.UpdateOne(ctx, append(byID[:1:1], alive(now)...), update, options.UpdateOne().SetUpsert(true))
		}
		if !driver.IsDuplicateKeyError(err) {
			return err
		}
		// One is there; unless it has expired it stays.
		res, err := c.docs.ReplaceOne(ctx, append(byID[:1:1], op(expiresField, "$lte", now)...), c.document(1))
		switch {
		case err != nil:
			return err
		case res.MatchedCount > 0:
			return nil
		case c.ifThere == store.AnyVersion:
			return errConflict // it has changed since
		}
		var there stored
		err = c.docs.FindOne(ctx, byID, options.FindOne().SetProjection(eq(expiresField, 1))).Decode(&there)
		if errors.Is(err, driver.ErrNoDocuments) || err == nil && expired(there.Expires, now) {
			return errConflict
		}
		if err == nil {
			err = store.ErrVersion
		}
		return err
	})
	switch {
	case err == nil || errors.Is(err, errConflict):
		return err
	case errors.Is(err, store.ErrVersion):
		return fmt.Errorf("%s: %w", c.what, err)
	}
	return s.failWrite(c.what, err)
}

// Purge implements store.Store. It deletes in portions, each document on
// condition that it still is expired, so that it needs no transaction and
// disturbs nobody; identifiers that hold nothing go with them. When it fails it
// returns how many have gone.
func (s *Store) Purge(ctx context.Context, limit int) (int, error) {
	if err := s.begin(); err != nil {
		return 0, err
	}
	defer s.end()
	if s.serial {
		s.lock.Lock()
		defer s.lock.Unlock()
	}
	total := 0
	for _, t := range s.ordered {
		n, err := s.purge(ctx, t.docs, limit-total)
		total += n
		if err != nil {
			return total, s.fail(ctx, "purge "+t.Name, err)
		}
	}
	// An identifier goes when its document does, or with the next purge. Several
	// may belong to one document.
	if _, err := s.purge(ctx, s.identifiers, limit*8); err != nil {
		return total, s.fail(ctx, "purge identifiers", err)
	}
	return total, nil
}

func (s *Store) purge(ctx context.Context, c *driver.Collection, limit int) (int, error) {
	total := 0
	for total < limit {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		now := s.now().UnixMilli()
		portion := min(limit-total, purgePortion)
		gone := op(expiresField, "$lte", now)
		o := options.Find().SetProjection(eq(idField, 1)).SetLimit(int64(portion))
		if !s.serial {
			o.SetHint(expiresIndex)
		}
		var found []struct {
			ID string `bson:"_id"`
		}
		var deleted int64
		err := s.session(ctx, func(ctx context.Context) error {
			cursor, err := c.Find(ctx, append(op(idField, "$gte", ""), gone...), o)
			if err != nil {
				return err
			}
			if err := cursor.All(ctx, &found); err != nil || len(found) == 0 {
				return err
			}
			ids := make(bson.A, len(found))
			for i, f := range found {
				ids[i] = f.ID
			}
			res, err := c.DeleteMany(ctx, append(op(idField, "$in", ids), gone...))
			if err == nil {
				deleted = res.DeletedCount
			}
			return err
		})
		total += int(deleted)
		if err != nil || len(found) < portion {
			return total, err
		}
	}
	return total, nil
}
