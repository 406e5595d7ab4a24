package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sqlite3 "github.com/mattn/go-sqlite3"

	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

func key(id string) store.Key { return store.Key{Workspace: "w", ID: id} }

func put(id, body string) store.Put {
	return store.Put{Collection: "docs", Key: key(id), Body: []byte(body), If: store.AnyVersion}
}

func batch(puts ...store.Put) store.Batch { return store.Batch{Puts: puts} }

func docs(indexes ...store.Index) []store.Collection {
	return []store.Collection{{Name: "docs", Indexes: indexes}}
}

func closing(t *testing.T, s *sqlite.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// raw runs SQL on the file as another program would, while no store has it open.
func raw(t *testing.T, path, sql string) {
	t.Helper()
	c, err := (&sqlite3.SQLiteDriver{}).Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.(*sqlite3.SQLiteConn).ExecContext(t.Context(), sql, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	o := sqlite.Options{Path: filepath.Join(t.TempDir(), "a.db"), Collections: docs()}
	closing(t, open(t, o))
	raw(t, o.Path, "PRAGMA user_version=2")
	_, err := try(t, o)
	var newer *store.NewerSchemaError
	if !errors.As(err, &newer) || newer.Found != 2 || newer.Known != 1 {
		t.Fatalf("error is %v", err)
	}
	raw(t, o.Path, "PRAGMA user_version=1")
	closing(t, open(t, o))
}

func TestForeignFilesAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	raw(t, path, "CREATE TABLE doc_docs (x)")
	if _, err := try(t, sqlite.Options{Path: path, Collections: docs()}); err == nil {
		t.Fatal("another program's database was opened")
	}
	path = filepath.Join(t.TempDir(), "b.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := try(t, sqlite.Options{Path: path}); err == nil {
		t.Fatal("a text file was opened")
	}
	if _, err := try(t, sqlite.Options{Path: filepath.Join(path, "sub", "c.db")}); err == nil {
		t.Fatal("a file without a folder was opened")
	}
}

func TestBadDeclarationsAreRefused(t *testing.T) {
	for name, c := range map[string][]store.Collection{
		"no name":        {{}},
		"upper case":     {{Name: "Docs"}},
		"quote":          {{Name: `a"b`}},
		"digit first":    {{Name: "1a"}},
		"twice":          {{Name: "a"}, {Name: "a"}},
		"opaque indexed": {{Name: "a", Opaque: true, Indexes: []store.Index{{Name: "x", Paths: []string{"x"}}}}},
		"index name":     docs(store.Index{Name: "X", Paths: []string{"x"}}),
		"index twice":    docs(store.Index{Name: "x", Paths: []string{"x"}}, store.Index{Name: "x", Paths: []string{"y"}}),
		"no paths":       docs(store.Index{Name: "x"}),
		"bad path":       docs(store.Index{Name: "x", Paths: []string{"a'"}}),
		"sparse unique":  docs(store.Index{Name: "x", Paths: []string{"x"}, Unique: true, Sparse: true}),
		"id":             docs(store.Index{Name: "x", Paths: []string{store.IDPath}}),
	} {
		path := filepath.Join(t.TempDir(), "a.db")
		if _, err := try(t, sqlite.Options{Path: path, Collections: c}); !errors.Is(err, store.ErrBadCollection) {
			t.Errorf("%s: error is %v, want ErrBadCollection", name, err)
		}
	}
	o := sqlite.Options{Path: filepath.Join(t.TempDir(), "a.db"), Collections: docs(), Durability: "hope"}
	if _, err := try(t, o); err == nil {
		t.Error("an unknown durability was taken")
	}
}

func TestChangedIndexesAreRebuilt(t *testing.T) {
	var logged bytes.Buffer
	o := sqlite.Options{Path: filepath.Join(t.TempDir(), "a.db"), Logger: slog.New(slog.NewTextHandler(&logged, nil))}
	o.Collections = docs(store.Index{Name: "code", Paths: []string{"a"}})
	s := open(t, o)
	err := s.Apply(t.Context(), batch(put("1", `{"a":1,"b":1}`), put("2", `{"a":1,"b":2}`)))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)

	// The stored documents contradict it: refused, and nothing changed.
	unique := o
	unique.Collections = docs(store.Index{Name: "code", Paths: []string{"a"}, Unique: true})
	if _, err := try(t, unique); !errors.Is(err, store.ErrUnique) {
		t.Fatalf("error is %v, want ErrUnique", err)
	}
	logged.Reset()
	closing(t, open(t, o))
	if logged.Len() > 0 {
		t.Errorf("an unchanged declaration was touched: %s", &logged)
	}

	unique.Collections = docs(store.Index{Name: "code", Paths: []string{"b"}, Unique: true})
	s = open(t, unique)
	if err := s.Apply(t.Context(), batch(put("3", `{"a":1,"b":2}`))); !errors.Is(err, store.ErrUnique) {
		t.Fatalf("error is %v, want ErrUnique", err)
	}
	closing(t, s)

	s = open(t, sqlite.Options{Path: o.Path, Collections: docs()}) // no longer declared
	if err := s.Apply(t.Context(), batch(put("3", `{"a":1,"b":2}`))); err != nil {
		t.Fatal(err)
	}
	closing(t, s)
}

func TestSparseIndexHasOnlyWhatHasItsPath(t *testing.T) {
	lane := store.Index{Name: "lane", Paths: []string{"lane", "due"}}
	o := sqlite.Options{Path: filepath.Join(t.TempDir(), "a.db"), Collections: docs(lane)}
	s := open(t, o)
	if err := s.Apply(t.Context(), batch(put("a", `{"lane":"x","due":1}`), put("b", `{"lane":"x","due":2}`), put("c", `{}`))); err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	lane.Sparse = true // of a file that an earlier build wrote
	o.Collections = docs(lane)
	s = open(t, o)
	if err := s.Apply(t.Context(), batch(put("a", `{"done":true}`))); err != nil {
		t.Fatal(err)
	}
	for want, filter := range map[string]store.Filter{
		"b":   {Path: "lane", Op: store.Eq, Value: "x"},
		"a c": {Path: "lane", Op: store.Absent},
	} {
		page, err := s.Find(t.Context(), "docs", store.Query{Workspace: "w", Filter: filter, Sort: "due"})
		ids := make([]string, len(page.Docs))
		for i, d := range page.Docs {
			ids[i] = d.ID
		}
		if got := strings.Join(ids, " "); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", filter.Op, got, err, want)
		}
	}
	closing(t, s)
	c, err := (&sqlite3.SQLiteDriver{}).Open("file:" + o.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // it was only read
	// SQLite refuses to go by an index that does not have all that is asked for.
	_, err = c.(*sqlite3.SQLiteConn).ExecContext(t.Context(), `SELECT count(*) FROM doc_docs INDEXED BY "ix.docs.lane" WHERE ws='w'`, nil)
	if err == nil {
		t.Error("the index has documents without the path")
	}
}

func TestBodiesDoNotChangeTheirKind(t *testing.T) {
	o := sqlite.Options{Path: filepath.Join(t.TempDir(), "a.db"), Collections: docs()}
	closing(t, open(t, o))
	o.Collections[0].Opaque = true
	if _, err := try(t, o); !errors.Is(err, store.ErrBadCollection) {
		t.Fatalf("error is %v, want ErrBadCollection", err)
	}
}

func TestUndeclaredCollectionsStay(t *testing.T) {
	o := sqlite.Options{Path: filepath.Join(t.TempDir(), "a.db"), Collections: docs()}
	s := open(t, o)
	if err := s.Apply(t.Context(), batch(put("1", `{}`))); err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	closing(t, open(t, sqlite.Options{Path: o.Path, Collections: []store.Collection{{Name: "others"}}}))
	s = open(t, o)
	defer closing(t, s)
	if _, err := s.Get(t.Context(), "docs", key("1")); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	o := sqlite.Options{Path: filepath.Join(t.TempDir(), "a.db"), Collections: docs()}
	s := open(t, o)
	defer closing(t, s)
	if err := s.Apply(t.Context(), batch(put("1", `{}`))); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(o.Path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", info.Name(), info.Mode())
		}
	}
}

func TestFaultBeforeCommitWritesNothingAfterCommitEverything(t *testing.T) {
	boom := errors.New("boom")
	var at string
	s := open(t, sqlite.Options{
		Path: filepath.Join(t.TempDir(), "a.db"), Collections: docs(),
		Fault: func(point string) error {
			if point == at {
				return boom
			}
			return nil
		},
	})
	defer closing(t, s)
	for _, test := range []struct {
		at   string
		want error
	}{{sqlite.FaultBeforeCommit, store.ErrNotFound}, {sqlite.FaultAfterCommit, nil}} {
		at = test.at
		if err := s.Apply(t.Context(), batch(put("1", `{}`), put("2", `{}`))); !errors.Is(err, boom) {
			t.Fatalf("%s: error is %v", at, err)
		}
		for _, id := range []string{"1", "2"} {
			if _, err := s.Get(t.Context(), "docs", key(id)); !errors.Is(err, test.want) {
				t.Errorf("%s: %s: error is %v, want %v", at, id, err, test.want)
			}
		}
	}
	at = ""
	if err := s.Apply(t.Context(), batch(put("1", `{}`))); err != nil { // the store goes on
		t.Fatal(err)
	}
}

// While a commit is held up, all who come must share the next one.
func TestWaitingBatchesShareOneCommit(t *testing.T) {
	const waiting = 50
	hold, held := make(chan struct{}), make(chan struct{})
	var commits int // written by whoever leads, one at a time
	s := open(t, sqlite.Options{
		Path: filepath.Join(t.TempDir(), "a.db"), Collections: docs(),
		Fault: func(point string) error {
			if point == sqlite.FaultBeforeCommit {
				if commits++; commits == 1 {
					close(held)
					<-hold
				}
			}
			return nil
		},
	})
	defer closing(t, s)
	var wg sync.WaitGroup
	apply := func(id string) {
		wg.Go(func() {
			if err := s.Apply(context.Background(), batch(put(id, `{}`), put(id+"b", `{}`))); err != nil {
				t.Error(err)
			}
		})
	}
	apply("first")
	select {
	case <-held:
	case <-time.After(10 * time.Second):
		t.Fatal("the first batch came to no commit")
	}
	ctx, cancel := context.WithCancel(t.Context())
	withdrawn := make(chan error)
	go func() { withdrawn <- s.Apply(ctx, batch(put("withdrawn", `{}`))) }()
	for i := range waiting {
		apply(fmt.Sprint(i))
	}
	for deadline := time.Now().Add(10 * time.Second); s.Waiting() < waiting+1; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("only %d are waiting", s.Waiting())
		}
	}
	cancel()
	if err := <-withdrawn; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want cancelled", err)
	}
	close(hold)
	wg.Wait()
	if commits != 2 {
		t.Errorf("%d commits, want 2", commits)
	}
	n, err := s.Count(t.Context(), "docs", store.Query{Workspace: "w"})
	if err != nil || n != 2*(waiting+1) {
		t.Errorf("%d documents, %v", n, err)
	}
}

// Writers without pauses must not let the WAL grow for ever.
func TestTheWALStaysBounded(t *testing.T) {
	o := sqlite.Options{Path: filepath.Join(t.TempDir(), "a.db"), Collections: []store.Collection{{Name: "docs", Opaque: true}}}
	s := open(t, o)
	const writers, each, kb = 8, 1200, 32
	body := strings.Repeat("x", kb<<10)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := s.Apply(t.Context(), batch(put(fmt.Sprint(w, i%8), body))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	info, err := os.Stat(o.Path + "-wal") // it does not shrink before Close
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB written, WAL of %d MiB", writers*each*kb>>10, info.Size()>>20)
	if info.Size() > 60<<20 {
		t.Errorf("the WAL grew to %d bytes", info.Size())
	}
	closing(t, s)
	if info, err := os.Stat(o.Path + "-wal"); err == nil && info.Size() > 0 {
		t.Errorf("%d bytes of WAL are left after Close", info.Size())
	}
}

// Nor must large batches without pauses, of which there is always one more by the time the
// last is moved, with a reader who always reads.
func TestTheWALStaysBoundedUnderLargeBatchesAndAReader(t *testing.T) {
	o := sqlite.Options{Path: filepath.Join(t.TempDir(), "a.db"), Collections: []store.Collection{{Name: "docs", Opaque: true}}}
	s := open(t, o)
	const writers, each, docs, kb = 2, 20, 2000, 4
	body := strings.Repeat("x", kb<<10)
	var over atomic.Bool
	var reader, wg sync.WaitGroup
	reader.Go(func() {
		for i := 0; !over.Load(); i++ {
			if _, err := s.Get(t.Context(), "docs", store.Key{Workspace: "w", ID: fmt.Sprint(i%docs, 0, 0)}); err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
				return
			}
		}
	})
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				var b store.Batch
				for i := range docs {
					b.Puts = append(b.Puts, put(fmt.Sprint(i*7919%docs, w, n), body))
				}
				if err := s.Apply(t.Context(), b); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	over.Store(true)
	reader.Wait()
	info, err := os.Stat(o.Path + "-wal") // it does not shrink before Close
	if err != nil {
		t.Fatal(err)
	}
	written := int64(writers * each * docs * kb << 10)
	t.Logf("%d MiB written, WAL of %d MiB", written>>20, info.Size()>>20)
	if info.Size() > 200<<20 {
		t.Errorf("of %d bytes written the WAL has %d", written, info.Size())
	}
	closing(t, s)
}

func TestIndexesAreUsed(t *testing.T) {
	s := open(t, sqlite.Options{Path: filepath.Join(t.TempDir(), "a.db"), Collections: docs(
		store.Index{Name: "email", Paths: []string{"email"}, Unique: true},
		store.Index{Name: "city", Paths: []string{"address.city"}},
		store.Index{Name: "status_due", Paths: []string{"status", "due"}},
		store.Index{Name: "lane", Paths: []string{"lane", "due"}, Sparse: true},
	)})
	defer closing(t, s)
	leaf := func(path string, op store.Op, v any) store.Filter { return store.Filter{Path: path, Op: op, Value: v} }
	for _, test := range []struct {
		q     store.Query
		index string
		sorts bool // a sort in memory is accepted
	}{
		{store.Query{Filter: leaf("email", store.Eq, "a")}, "ix.docs.email", true},
		{store.Query{Filter: leaf("address.city", store.Eq, "a")}, "ix.docs.city", false},
		{store.Query{Filter: leaf("address.city", store.In, []string{"a"})}, "ix.docs.city", true},
		{store.Query{Filter: leaf("address.city", store.Prefix, "a"), Sort: "address.city"}, "ix.docs.city", false},
		{store.Query{Filter: store.Filter{All: []store.Filter{leaf("status", store.Eq, "on"), leaf("due", store.Le, 7)}}}, "ix.docs.status_due", true},
		{store.Query{Filter: store.Filter{All: []store.Filter{leaf("lane", store.Eq, "a"), leaf("due", store.Ge, 7)}}, Sort: "due"}, "ix.docs.lane", false},
		{store.Query{Filter: leaf("lane", store.Gt, ""), Sort: "lane"}, "ix.docs.lane", true},
		{store.Query{Filter: leaf("lane", store.Prefix, "a")}, "ix.docs.lane", true},
		{store.Query{Sort: "address.city"}, "ix.docs.city", false},
		{store.Query{Sort: "-address.city"}, "ix.docs.city", false},
		{store.Query{IDPrefix: "a"}, "sqlite_autoindex_doc_docs_1", false},
		{store.Query{Filter: leaf(store.IDPath, store.In, []string{"a"})}, "sqlite_autoindex_doc_docs_1", true},
	} {
		test.q.Workspace = "w"
		for _, plan := range s.Plans(t, "docs", test.q) {
			if !strings.Contains(plan, "USING INDEX "+test.index+" ") || strings.Contains(plan, "SCAN doc") ||
				!test.sorts && strings.Contains(plan, "TEMP B-TREE") {
				t.Errorf("%+v: plan %s", test.q, plan)
			}
		}
	}
}

func TestCursorsPointBehindTheLastDocument(t *testing.T) {
	s := open(t, sqlite.Options{Path: filepath.Join(t.TempDir(), "a.db"), Collections: docs()})
	defer closing(t, s)
	values := []string{`1`, `1.5`, `"é"`, `""`, `true`, `null`, `"a\u0000b"`, `{"x":1}`, `9007199254740993`, `1e300`}
	for i, v := range values {
		if err := s.Apply(t.Context(), batch(put(fmt.Sprint(i), `{"v":`+v+`}`))); err != nil {
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
		slices.Sort(seen)
		if len(slices.Compact(seen)) != len(values) {
			t.Errorf("sort %s saw %q", sort, seen)
		}
	}
}

func TestTheClockIsRequired(t *testing.T) {
	if _, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "a.db")}); err == nil {
		t.Fatal("opened without a clock")
	}
}
