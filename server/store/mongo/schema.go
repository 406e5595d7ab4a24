package mongo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/footfall-engage/footfall/server/store"
)

const (
	// schemaVersion is the layout of the database: collections, fields, meaning.
	// It grows with every change that an older binary would misread.
	schemaVersion = 1
	metaName      = "meta"
	schemaID      = "schema"
	// expiresIndex is the one index that is not declared: Purge searches by it.
	expiresIndex = "footfall_expires"
	indexPrefix  = "footfall_ix_"
	ownerField   = "k" // of an identifier: collection and index key
)

// collectionMeta is what the database remembers of a collection.
type collectionMeta struct {
	ID     string            `bson:"_id"`
	Opaque bool              `bson:"opaque"`
	Unique map[string]string `bson:"unique"` // name of each built unique index, its key
}

// migrate brings the database to the declarations.
func (s *Store) migrate(ctx context.Context) error {
	names, err := s.db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return s.denied(ctx, "list collections", err)
	}
	meta := s.db.Collection(metaName)
	if slices.Contains(names, metaName) {
		if err := s.checkSchema(ctx, meta); err != nil {
			return err
		}
	}
	// Transactions should not have to create them.
	want := []string{metaName, s.identifiers.Name()}
	for _, t := range s.ordered {
		want = append(want, t.docs.Name())
	}
	for _, name := range want {
		if slices.Contains(names, name) {
			continue
		}
		if err := s.db.CreateCollection(ctx, name); err != nil && !hasCode(err, codeNamespaceExists) {
			return s.denied(ctx, "create collection "+name, err)
		}
	}
	_, err = meta.InsertOne(ctx, bson.D{{Key: idField, Value: schemaID}, {Key: "version", Value: schemaVersion}})
	if err != nil && !driver.IsDuplicateKeyError(err) {
		return s.denied(ctx, "write schema version", err)
	}
	if err := s.migrateIndexes(ctx, s.identifiers, nil); err != nil {
		return err
	}
	for _, t := range s.ordered {
		if err := s.migrateCollection(ctx, meta, t); err != nil {
			return err
		}
	}
	return nil
}

// denied tells a lack of rights from other failures.
func (s *Store) denied(ctx context.Context, what string, err error) error {
	if hasCode(err, codeUnauthorized) {
		what += " (the user needs readWrite and dbAdmin on the database)"
	}
	return s.fail(ctx, what, err)
}

func (s *Store) checkSchema(ctx context.Context, meta *driver.Collection) error {
	var found struct {
		Version int `bson:"version"`
	}
	err := meta.FindOne(ctx, eq(idField, schemaID)).Decode(&found)
	switch {
	case errors.Is(err, driver.ErrNoDocuments):
		return nil
	case err != nil:
		return s.fail(ctx, "read schema version", err)
	case found.Version > schemaVersion:
		return &store.NewerSchemaError{Found: found.Version, Known: schemaVersion}
	}
	return nil
}

func (s *Store) migrateCollection(ctx context.Context, meta *driver.Collection, t *collection) error {
	m := collectionMeta{ID: "collection/" + t.Name, Opaque: t.Opaque}
	err := meta.FindOne(ctx, eq(idField, m.ID)).Decode(&m)
	if errors.Is(err, driver.ErrNoDocuments) {
		_, err = meta.InsertOne(ctx, m)
	}
	if err != nil && !driver.IsDuplicateKeyError(err) {
		return s.fail(ctx, "read declaration of "+t.Name, err)
	}
	if m.Opaque != t.Opaque {
		return &store.ArgError{Kind: store.ErrBadCollection, Field: t.Name, Msg: "is stored with the other kind of body (opaque or JSON)"}
	}
	declared := map[string]string{}
	for _, u := range t.unique {
		declared[u.name] = u.key
		if m.Unique[u.name] != u.key {
			if err := s.buildUnique(ctx, t, u); err != nil {
				return fmt.Errorf("build unique index %s of %s: %w", u.name, t.Name, err)
			}
		}
	}
	// Only now: a contradiction leaves everything as it was.
	if err := s.migrateIndexes(ctx, t.docs, t.Indexes); err != nil {
		return err
	}
	if maps.Equal(declared, m.Unique) {
		return nil
	}
	// What is no longer in force is forgotten first: rows without an index are
	// harmless, an index without its rows is not.
	_, err = meta.UpdateOne(ctx, eq(idField, m.ID), eq("$set", eq("unique", declared)))
	if err != nil {
		return s.fail(ctx, "write declaration of "+t.Name, err)
	}
	for name, key := range m.Unique {
		if declared[name] == key {
			continue
		}
		s.log.Info("unique index declaration changed, dropping the old identifiers", "collection", t.Name, "index", name)
		if err := s.dropIdentifiers(ctx, t, key); err != nil {
			return err
		}
	}
	return nil
}

func (t *collection) owner(key string) string { return t.Name + "\x00" + key }

func (s *Store) dropIdentifiers(ctx context.Context, t *collection, key string) error {
	all := op(idField, "$gte", "")
	_, err := s.identifiers.DeleteMany(ctx, append(all, bson.E{Key: ownerField, Value: t.owner(key)}))
	return s.fail(ctx, "drop identifiers of "+t.Name, err)
}

// buildUnique claims the values of what is stored. On a conflict it takes its
// claims back.
func (s *Store) buildUnique(ctx context.Context, t *collection, u uniqueIndex) error {
	if err := s.dropIdentifiers(ctx, t, u.key); err != nil { // of a build that was broken off
		return err
	}
	only := &collection{Collection: t.Collection, docs: t.docs, unique: []uniqueIndex{u}}
	portion := map[string]claim{}
	err := s.iterate(ctx, only, store.Query{}, func(d store.Doc) error {
		ids, err := only.storedIdentifiers(&stored{Workspace: d.Workspace, Body: d.Body})
		if err != nil {
			return err
		}
		for _, id := range ids {
			c := claim{ID: id, Owner: t.owner(u.key), Holder: d.ID, Expires: expiresMS(d.Expires)}
			if _, twice := portion[id]; twice {
				return errTaken
			}
			portion[id] = c
		}
		if len(portion) < s.bulk() {
			return nil
		}
		defer clear(portion)
		return s.insertClaims(ctx, portion)
	})
	if err == nil {
		err = s.insertClaims(ctx, portion)
	}
	if errors.Is(err, errTaken) {
		if err := s.dropIdentifiers(ctx, t, u.key); err != nil {
			return err
		}
		return fmt.Errorf("%w: stored documents share a value", store.ErrUnique)
	}
	return err
}

func (s *Store) insertClaims(ctx context.Context, claims map[string]claim) error {
	if len(claims) == 0 {
		return nil
	}
	_, err := s.identifiers.InsertMany(ctx, slices.Collect(maps.Values(claims)))
	if driver.IsDuplicateKeyError(err) {
		return errTaken
	}
	return s.fail(ctx, "write identifiers", err)
}

// storedIndex is an index as the server lists it.
type storedIndex struct {
	Name    string   `bson:"name"`
	Key     bson.D   `bson:"key"`
	Sparse  bool     `bson:"sparse"`
	Unique  bool     `bson:"unique"`
	Partial bson.Raw `bson:"partialFilterExpression"`
}

// definition is what decides whether an index is the declared one.
func (i storedIndex) definition() string {
	parts := make([]string, len(i.Key))
	for k, e := range i.Key {
		parts[k] = fmt.Sprintf("%s:%v", e.Key, e.Value) // 1 is an int or a double, depending on who made it
	}
	return fmt.Sprintf("%s sparse %v unique %v partial %v", strings.Join(parts, ","), i.Sparse, i.Unique, i.Partial != nil)
}

// declaredIndexes are the indexes that a MongoDB collection must have. Unique
// ones are there for finding only. FerretDB does not list what is sparse.
func (s *Store) declaredIndexes(indexes []store.Index) []storedIndex {
	all := []storedIndex{{Name: expiresIndex, Key: bson.D{{Key: expiresField, Value: 1}}, Sparse: !s.serial}}
	for _, ix := range indexes {
		key := bson.D{{Key: workspaceField, Value: 1}}
		for _, p := range ix.Paths {
			key = append(key, bson.E{Key: pathsField + "." + field(p), Value: 1})
		}
		key = append(key, bson.E{Key: idField, Value: 1}) // serves a sort with its ties
		all = append(all, storedIndex{Name: indexPrefix + ix.Name, Key: key})
	}
	return all
}

func (s *Store) migrateIndexes(ctx context.Context, c *driver.Collection, declared []store.Index) error {
	have := map[string]string{}
	cursor, err := c.Indexes().List(ctx)
	if err != nil {
		return s.denied(ctx, "list indexes of "+c.Name(), err)
	}
	var stored []storedIndex
	if err := cursor.All(ctx, &stored); err != nil {
		return s.fail(ctx, "list indexes of "+c.Name(), err)
	}
	for _, i := range stored {
		have[i.Name] = i.definition()
	}
	want := s.declaredIndexes(declared)
	for _, i := range stored {
		mine := i.Name == expiresIndex || strings.HasPrefix(i.Name, indexPrefix)
		wanted := slices.ContainsFunc(want, func(w storedIndex) bool { return w.Name == i.Name && w.definition() == have[i.Name] })
		if !mine || wanted {
			continue
		}
		s.log.Info("index declaration changed, dropping the old index", "collection", c.Name(), "index", i.Name)
		if err := c.Indexes().DropOne(ctx, i.Name); err != nil {
			return s.denied(ctx, "drop index "+i.Name+" of "+c.Name(), err)
		}
		delete(have, i.Name)
	}
	for _, i := range want {
		if _, there := have[i.Name]; there {
			continue
		}
		o := options.Index().SetName(i.Name)
		if i.Sparse {
			o.SetSparse(true)
		}
		_, err := c.Indexes().CreateOne(ctx, driver.IndexModel{Keys: i.Key, Options: o})
		if hasCode(err, codeIndexOptionsConflict) || hasCode(err, codeIndexKeyConflict) {
			return s.newError(fmt.Sprintf("create index %s of %s (another index has these keys: drop it)", i.Name, c.Name()), err)
		}
		if err != nil {
			return s.denied(ctx, "create index "+i.Name+" of "+c.Name(), err)
		}
	}
	return nil
}
