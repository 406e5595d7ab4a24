package mongo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/footfall-engage/footfall/server/store"
)

// readKeys is how many documents one find asks for by _id; even the longest of
// them stay below a command's 16 MiB.
const readKeys = 1000

// claim is an identifier: who holds a unique value.
type claim struct {
	ID      string `bson:"_id"`
	Owner   string `bson:"k"`           // collection and index
	Holder  string `bson:"h"`           // id of a document in the same workspace
	Expires *int64 `bson:"x,omitempty"` // the holder's
}

func (c *claim) same(other *claim) bool {
	if c.Holder != other.Holder || (c.Expires == nil) != (other.Expires == nil) {
		return false
	}
	return c.Expires == nil || *c.Expires == *other.Expires
}

// row is a document of a batch: what was read, and what the batch makes of it.
type row struct {
	was         int64 // the version that was read; 0: nothing was there
	version     int64 // now; 0: nothing is there
	expires     *int64
	identifiers []string
	last        *change // the put whose content it now has; nil: as it was read
}

// plan is a batch with what it touches.
type plan struct {
	rows   map[*collection]map[string]*row // by _id
	was    map[string]*claim               // identifiers as they were read; nil: none
	claims map[string]*claim               // as the batch leaves them
}

// transaction judges and writes the batch in one transaction.
func (s *Store) transaction(ctx context.Context, changes []change) error {
	dctx, cancel := s.detached(ctx)
	defer cancel()
	return s.session(dctx, func(tctx context.Context) error {
		sess := driver.SessionFromContext(tctx)
		err := sess.StartTransaction(options.Transaction().
			SetReadConcern(readconcern.Snapshot()).SetWriteConcern(majority()).SetReadPreference(readpref.Primary()))
		if err != nil {
			return s.newError("begin transaction", err)
		}
		verdict, err := s.judgeAndWrite(tctx, changes)
		if err == nil && ctx.Err() != nil {
			err = ctx.Err() // nothing is committed yet, so nothing will be
		}
		if err != nil {
			_ = sess.AbortTransaction(tctx) // else the server does, in time
			return err
		}
		err = s.commit(tctx, sess)
		if verdict != nil && (err == nil || !hasLabel(err, labelTransient)) {
			// Nothing was written; what was read is confirmed, or the confirmation failed.
			if unconfirmed, ok := errors.AsType[*Error](err); ok {
				unconfirmed.Unknown = false
				return unconfirmed
			}
			return verdict
		}
		return err
	})
}

// commit commits, and asks again while the answer is lost: a commit may be
// repeated.
func (s *Store) commit(ctx context.Context, sess *driver.Session) error {
	for attempt := 1; ; attempt++ {
		err := sess.CommitTransaction(ctx)
		switch {
		case err == nil:
			return nil
		case hasLabel(err, labelTransient):
			return s.newError("commit", err) // it was not committed
		case hasLabel(err, labelUnknownCommit) && ctx.Err() == nil && attempt < maxAttempts:
			pause(ctx, attempt)
		default:
			failed := s.newError("commit", err)
			// Only a server that names another reason has not committed.
			failed.Unknown = hasLabel(err, labelUnknownCommit) || !answered(err)
			return failed
		}
	}
}

// oneByOne is transaction for a server without any. The caller holds the lock.
func (s *Store) oneByOne(ctx context.Context, changes []change) error {
	dctx, cancel := s.detached(ctx)
	defer cancel()
	verdict, err := s.judgeAndWrite(dctx, changes)
	if err != nil {
		return err
	}
	return verdict
}

// judgeAndWrite reads what is there, applies the batch to it in thought, and
// writes the difference. The verdict is store.ErrVersion or store.ErrUnique, and
// then nothing was written.
func (s *Store) judgeAndWrite(ctx context.Context, changes []change) (verdict, err error) {
	now := s.now().UnixMilli()
	p, err := s.readPlan(ctx, changes)
	if err != nil {
		return nil, s.newError("read for a batch", err)
	}
	for i := range changes {
		c := &changes[i]
		if err := p.apply(c, now); err != nil {
			return fmt.Errorf("%s: %w", c.what, err), nil
		}
	}
	if err := s.writePlan(ctx, p); err != nil {
		if driver.IsDuplicateKeyError(err) || errors.Is(err, errConflict) {
			err = errConflict // the snapshot did not show it; another one will
		}
		return nil, s.failWritePart(err)
	}
	return nil, nil
}

// failWritePart is of a write within a transaction, which is not committed.
func (s *Store) failWritePart(err error) error {
	if s.serial {
		return s.failWrite("write a batch", err)
	}
	return s.newError("write a batch", err)
}

func (s *Store) readPlan(ctx context.Context, changes []change) (*plan, error) {
	p := &plan{rows: map[*collection]map[string]*row{}, was: map[string]*claim{}, claims: map[string]*claim{}}
	for i := range changes {
		c := &changes[i]
		rows := p.rows[c.collection]
		if rows == nil {
			rows = map[string]*row{}
			p.rows[c.collection] = rows
		}
		rows[c.id] = &row{}
		for _, id := range c.identifiers {
			p.was[id] = nil
		}
	}
	for t, rows := range p.rows {
		only := bson.D{{Key: versionField, Value: 1}, {Key: expiresField, Value: 1}}
		if len(t.unique) > 0 {
			only = fields() // what it claims follows from the body
		}
		err := readByID(ctx, t.docs, slices.Collect(maps.Keys(rows)), only, func(d *stored) error {
			r := rows[d.Key]
			r.was, r.version, r.expires = d.Version, d.Version, d.Expires
			if len(t.unique) == 0 {
				return nil
			}
			var err error
			if r.identifiers, err = t.storedIdentifiers(d); err != nil {
				return err
			}
			for _, id := range r.identifiers {
				p.was[id] = nil
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	err := readByID(ctx, s.identifiers, slices.Collect(maps.Keys(p.was)), nil, func(c *claim) error {
		p.was[c.ID] = c
		return nil
	})
	maps.Copy(p.claims, p.was)
	return p, err
}

// storedIdentifiers are what a stored document claims.
func (t *collection) storedIdentifiers(d *stored) ([]string, error) {
	if !json.Valid(d.Body) {
		return nil, fmt.Errorf("a document of %s is no JSON: somebody else has written it", t.Name)
	}
	return t.identifiers(d.Workspace, project(d.Body)), nil
}

// readByID calls f with each document that is there.
func readByID[T any](ctx context.Context, c *driver.Collection, ids []string, projection any, f func(*T) error) error {
	slices.Sort(ids) // so that everybody takes them in the same order
	for chunk := range slices.Chunk(ids, readKeys) {
		cond := op(idField, "$in", chunk)
		if len(chunk) == 1 {
			cond = eq(idField, chunk[0])
		}
		o := options.Find().SetBatchSize(readKeys)
		if projection != nil {
			o.SetProjection(projection)
		}
		cursor, err := c.Find(ctx, cond, o)
		if err != nil {
			return err
		}
		var found []T
		if err := cursor.All(ctx, &found); err != nil {
			return err
		}
		for i := range found {
			if err := f(&found[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply takes one change to the plan: store.ErrVersion, store.ErrUnique or nil.
func (p *plan) apply(c *change, now int64) error {
	r := p.rows[c.collection][c.id]
	// What has expired is as good as absent.
	version := r.version
	if expired(r.expires, now) {
		version = 0
	}
	if c.ifThere != store.AnyVersion && c.ifThere != version {
		return store.ErrVersion
	}
	for _, id := range r.identifiers {
		if held := p.claims[id]; held != nil && held.Holder == c.key.ID {
			p.claims[id] = nil
		}
	}
	if !c.put {
		*r = row{was: r.was}
		return nil
	}
	for _, id := range c.identifiers {
		if held := p.claims[id]; held != nil && held.Holder != c.key.ID && !expired(held.Expires, now) {
			return store.ErrUnique
		}
		p.claims[id] = &claim{ID: id, Owner: c.owner(claimKey(id)), Holder: c.key.ID, Expires: c.expires}
	}
	*r = row{was: r.was, version: version + 1, expires: c.expires, identifiers: c.identifiers, last: c}
	return nil
}

// claimKey is the index's part of an identifier's _id.
func claimKey(id string) string {
	parts := strings.Split(id, "\x00") // workspace, collection, index, its paths, the values
	return parts[2] + "\x00" + parts[3]
}

// writePlan writes the difference between what was read and what is to be.
func (s *Store) writePlan(ctx context.Context, p *plan) error {
	var models []driver.WriteModel
	for id, now := range p.claims {
		was := p.was[id]
		switch {
		case now == nil && was == nil:
		case was == nil:
			models = append(models, driver.NewInsertOneModel().SetDocument(now))
		case now == nil:
			models = append(models, driver.NewDeleteOneModel().SetFilter(s.cond(id, holderField, was.Holder)))
		case !now.same(was):
			models = append(models, driver.NewReplaceOneModel().SetFilter(s.cond(id, holderField, was.Holder)).SetReplacement(now))
		}
	}
	if err := s.write(ctx, s.identifiers, models); err != nil {
		return err
	}
	for t, rows := range p.rows {
		models = models[:0]
		for id, r := range rows {
			switch {
			case r.last != nil && r.was == 0:
				models = append(models, driver.NewInsertOneModel().SetDocument(r.last.document(r.version)))
			case r.last != nil:
				models = append(models, driver.NewReplaceOneModel().
					SetFilter(s.cond(id, versionField, r.was)).SetReplacement(r.last.document(r.version)))
			case r.version == 0 && r.was != 0:
				models = append(models, driver.NewDeleteOneModel().SetFilter(s.cond(id, versionField, r.was)))
			}
		}
		if err := s.write(ctx, t.docs, models); err != nil {
			return err
		}
	}
	return nil
}

// cond is a document on condition that it is as it was read.
func (s *Store) cond(id, field string, was any) bson.D {
	d := eq(idField, id)
	if s.serial {
		return d // FerretDB finds by _id alone, and nobody else writes
	}
	return append(d, bson.E{Key: field, Value: was})
}

// bulk is how many documents are written with one command of the driver's, which
// parts them further as the server needs.
func (s *Store) bulk() int {
	if s.serial {
		return serialBulk
	}
	return 10_000
}

func (s *Store) write(ctx context.Context, c *driver.Collection, models []driver.WriteModel) error {
	for chunk := range slices.Chunk(models, s.bulk()) {
		res, err := c.BulkWrite(ctx, chunk, options.BulkWrite().SetOrdered(false))
		if err != nil {
			return err
		}
		if res.InsertedCount+res.MatchedCount+res.DeletedCount != int64(len(chunk)) {
			return errConflict
		}
	}
	return nil
}
