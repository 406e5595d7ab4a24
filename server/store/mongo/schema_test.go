package mongo_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	driveroptions "go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/mongo"
	"github.com/footfall-engage/footfall/server/store/mongo/mongotest"
)

// peer has options on whatever server there is, and its database.
func peer(t testing.TB) (mongo.Options, *driver.Database) {
	t.Helper()
	uri, serial := mongotest.Peer(t)
	o := options(t, uri, serial)
	o.Collections = docs()
	client, err := driver.Connect(driveroptions.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Disconnect(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return o, client.Database(o.Database)
}

func closing(t testing.TB, s *mongo.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	o, db := peer(t)
	closing(t, open(t, o))
	set := func(version int) {
		t.Helper()
		res, err := db.Collection("meta").UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "schema"}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: version}}}})
		if err != nil || res.MatchedCount != 1 {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	set(2)
	_, err := mongo.Open(t.Context(), o)
	var newer *store.NewerSchemaError
	if !errors.As(err, &newer) || newer.Found != 2 || newer.Known != 1 {
		t.Fatalf("error is %v", err)
	}
	set(1)
	closing(t, open(t, o))
}

func TestBodiesDoNotChangeTheirKind(t *testing.T) {
	o, _ := peer(t)
	closing(t, open(t, o))
	o.Collections = docs()
	o.Collections[0].Opaque = true
	if _, err := mongo.Open(t.Context(), o); !errors.Is(err, store.ErrBadCollection) {
		t.Fatalf("error is %v, want ErrBadCollection", err)
	}
}

// keys are the indexes of a collection: names with their fields.
func keys(t *testing.T, c *driver.Collection) map[string]string {
	t.Helper()
	cursor, err := c.Indexes().List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Name string `bson:"name"`
		Key  bson.D `bson:"key"`
	}
	if err := cursor.All(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, i := range all {
		var names []string
		for _, e := range i.Key {
			names = append(names, e.Key)
		}
		out[i.Name] = strings.Join(names, " ")
	}
	return out
}

func TestIndexesAreAsDeclaredAndOthersStay(t *testing.T) {
	o, db := peer(t)
	var log bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	o.Collections = docs(
		store.Index{Name: "city", Paths: []string{"address.city", "age"}}, store.Index{Name: "expires", Paths: []string{"x"}}, unique("email", "email"),
	)
	want := map[string]string{
		"_id_": "_id", "footfall_expires": "x", "footfall_ix_city": "w f.address/city f.age _id",
		"footfall_ix_expires": "w f.x _id", "footfall_ix_email": "w f.email _id",
	}
	closing(t, open(t, o))
	if got := keys(t, db.Collection("doc_docs")); !maps.Equal(got, want) {
		t.Fatalf("indexes are %v, want %v", got, want)
	}
	if got := keys(t, db.Collection("identifiers")); !maps.Equal(got, map[string]string{"_id_": "_id", "footfall_expires": "x"}) {
		t.Errorf("indexes of the identifiers are %v", got)
	}
	foreign := driver.IndexModel{Keys: bson.D{{Key: "v", Value: 1}}, Options: driveroptions.Index().SetName("theirs")}
	if _, err := db.Collection("doc_docs").Indexes().CreateOne(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	closing(t, open(t, o))
	if log.Len() > 0 {
		t.Errorf("an unchanged declaration was touched: %s", &log)
	}
	o.Collections = docs(store.Index{Name: "city", Paths: []string{"city"}})
	closing(t, open(t, o))
	want = map[string]string{"_id_": "_id", "footfall_expires": "x", "footfall_ix_city": "w f.city _id", "theirs": "v"}
	if got := keys(t, db.Collection("doc_docs")); !maps.Equal(got, want) {
		t.Fatalf("indexes are %v, want %v", got, want)
	}
	if !strings.Contains(log.String(), "index=footfall_ix_city") {
		t.Errorf("nothing about the rebuilt index in %s", &log)
	}
}

func TestUniqueIndexesAreBuiltFromWhatIsStored(t *testing.T) {
	o, db := peer(t)
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	o.Now = func() time.Time { return now }
	s := open(t, o)
	gone := put("gone", `{"a":1,"b":7}`)
	gone.Expires = now.Add(-time.Second)
	if err := s.Apply(t.Context(), batch(put("1", `{"a":1,"b":1}`), put("2", `{"a":1.0,"b":2}`), put("3", `{}`), gone)); err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	rows := func(want int64) {
		t.Helper()
		if n, err := db.Collection("identifiers").CountDocuments(t.Context(), bson.D{}); err != nil || n != want {
			t.Fatalf("%d identifiers, %v; want %d", n, err, want)
		}
	}

	// The stored documents contradict it: refused, and nothing changed.
	contradicted := o
	contradicted.Collections = docs(unique("code", "a"))
	if _, err := mongo.Open(t.Context(), contradicted); !errors.Is(err, store.ErrUnique) {
		t.Fatalf("error is %v, want ErrUnique", err)
	}
	rows(0)

	o.Collections = docs(unique("code", "b"))
	s = open(t, o)
	rows(2)
	err := s.Apply(t.Context(), batch(put("3", `{"b":2}`)))
	if !errors.Is(err, store.ErrUnique) {
		t.Fatalf("error is %v, want ErrUnique", err)
	}
	if err := s.Apply(t.Context(), batch(put("3", `{"b":7}`), put("1", `{"b":8}`))); err != nil { // the expired one's
		t.Fatal(err)
	}
	rows(3)
	closing(t, s)

	o.Collections = docs(unique("code", "b", "a")) // other paths under the old name
	s = open(t, o)
	rows(1) // only one document has both
	if err := s.Apply(t.Context(), batch(put("4", `{"b":8}`))); err != nil {
		t.Fatal(err)
	}
	closing(t, s)

	o.Collections = docs() // no longer declared
	closing(t, open(t, o))
	rows(0)
}

func TestUndeclaredCollectionsStay(t *testing.T) {
	o, _ := peer(t)
	s := open(t, o)
	if err := s.Apply(t.Context(), batch(put("1", `{}`))); err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	other := o
	other.Collections = []store.Collection{{Name: "others"}}
	closing(t, open(t, other))
	s = open(t, o)
	defer closing(t, s)
	wantDoc(t, s, "1", 1, `{}`)
}

func TestCursorsPointBehindTheLastDocument(t *testing.T) {
	o, _ := peer(t)
	s := open(t, o)
	defer closing(t, s)
	values := []string{
		`null`, `-1e999`, `1`, `1.5`, `9007199254740993`, `1e300`, `1e999`, `""`, `"a\u0000b"`, `"é"`, `false`, `true`, `[]`, `{"x":1}`,
	}
	var want []string
	for i, v := range values {
		id := string(rune('a' + i))
		want = append(want, id)
		if err := s.Apply(t.Context(), batch(put(id, `{"v":`+v+`}`))); err != nil {
			t.Fatal(err)
		}
	}
	for _, sort := range []string{"v", "-v"} {
		q, seen := store.Query{Workspace: "w", Sort: sort, Limit: 1}, []string{}
		for {
			page, err := s.Find(t.Context(), "docs", q)
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, page.Docs[0].ID)
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		if !slices.Equal(seen, want) {
			t.Errorf("sort %s saw %q, want %q", sort, seen, want)
		}
		slices.Reverse(want)
	}
}

func TestTheFirstOfARepeatedMemberCounts(t *testing.T) {
	o, _ := peer(t)
	s := open(t, o)
	defer closing(t, s)
	if err := s.Apply(t.Context(), batch(put("a", `{"a":1,"a":2,"b":{"c":1},"b":{"d":1},"\u0065":null,"e":1}`))); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int64{"a": 1, "b.c": 1, "b.d": 0, "e": 0} {
		n, err := s.Count(t.Context(), "docs", store.Query{Workspace: "w", Filter: store.Filter{Path: path, Op: store.Eq, Value: 1}})
		if err != nil || n != want {
			t.Errorf("%s: %d, %v; want %d", path, n, err, want)
		}
	}
}
