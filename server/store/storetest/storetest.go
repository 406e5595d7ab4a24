// Package storetest is the contract of store.Store as tests. Every
// implementation runs it.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/store"
)

// Fixture prepares an empty store with these collections and this clock, and
// returns how to open it; when called again after a Close it opens the same data.
type Fixture func(t *testing.T, collections []store.Collection, now func() time.Time) (open func() store.Store)

// The collections that the tests use.
const (
	people = "people" // JSON: unique (email), unique (org, number), sparse index (city), index (age, city)
	blobs  = "blobs"  // opaque
)

func declarations() []store.Collection {
	return []store.Collection{
		{Name: people, Indexes: []store.Index{
			{Name: "email", Paths: []string{"email"}, Unique: true},
			{Name: "badge", Paths: []string{"org", "card.number"}, Unique: true},
			{Name: "city", Paths: []string{"city"}, Sparse: true},
			{Name: "age_city", Paths: []string{"age", "city"}},
		}},
		{Name: blobs, Opaque: true},
	}
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// suite is one test's store.
type suite struct {
	store.Store
	t      *testing.T
	clock  *clock
	open   func() store.Store
	serial bool
}

// Run runs the contract.
func Run(t *testing.T, fixture Fixture) {
	t.Helper()
	run(t, fixture, false)
}

// RunSerial runs the contract with less data, for a store before a peer that
// scans and that nobody would use in production (FerretDB behind store/mongo).
// It is no proof of what the peer does under concurrency.
func RunSerial(t *testing.T, fixture Fixture) {
	t.Helper()
	run(t, fixture, true)
}

// size is n, or a part of it where each document costs milliseconds.
func (s *suite) size(n, part int) int {
	if s.serial {
		return n / part
	}
	return n
}

func run(t *testing.T, fixture Fixture, serial bool) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"GetReturnsWhatWasPut", getReturnsWhatWasPut},
		{"VersionsCountWrites", versionsCountWrites},
		{"PutIfWritesOnlyOverThatVersion", putIf},
		{"DeleteIfDeletesOnlyThatVersion", deleteIf},
		{"DeletesRunAfterPuts", deletesAfterPuts},
		{"OneBatchWritesAKeyTwice", sameKeyTwice},
		{"AFailedBatchWritesNothing", failedBatchWritesNothing},
		{"ConcurrentBatchesStandAlone", concurrentBatchesStandAlone},
		{"UniqueValuesAreRefusedPerWorkspace", uniquePerWorkspace},
		{"UniqueIndexesTellTypesApart", uniqueTypes},
		{"CompoundUniqueIndexNeedsAllPaths", uniqueCompound},
		{"BadBatchesAreRefused", badBatches},
		{"BadQueriesAreRefused", badQueries},
		{"FiltersMatchTheReference", filtersMatchReference},
		{"FilterExamples", filterExamples},
		{"FloatsCompareExactly", floatsCompare},
		{"PagesCoverEverySortOnce", pagesCoverSorts},
		{"SortPutsAbsentFirst", sortAbsentFirst},
		{"CursorsStandWhileOthersInsert", cursorsUnderInserts},
		{"CursorsOfOtherQueriesAreRefused", foreignCursors},
		{"LimitsHaveADefault", defaultLimit},
		{"PrefixIsLiteral", prefixIsLiteral},
		{"OddIDs", oddIDs},
		{"WorkspacesAreApart", workspacesAreApart},
		{"IterateGoesInOrder", iterateInOrder},
		{"IterateCallbackMayUseTheStore", iterateCallback},
		{"ExpiredDocumentsAreAbsent", expiry},
		{"ExpiredDocumentsHoldNoUniqueValue", expiredUnique},
		{"PurgeFreesExpiredUpToTheLimit", purge},
		{"ReopenKeepsEverything", reopen},
		{"ClosedStoreRefuses", closed},
		{"OneWinnerPerRound", oneWinner},
		{"LargeBodies", largeBodies},
		{"OpaqueBodiesAreBytes", opaqueBodies},
		{"CancelledContextsWriteNothing", cancelledContexts},
		{"TypedViews", typedViews},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
			open := fixture(t, declarations(), c.Now)
			s := &suite{Store: open(), t: t, clock: c, open: open, serial: serial}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test.run(s)
		})
	}
}

func key(id string) store.Key { return store.Key{Workspace: "w1", ID: id} }

func put(id, body string) store.Put {
	return store.Put{Collection: people, Key: key(id), Body: []byte(body), If: store.AnyVersion}
}

func (s *suite) apply(puts ...store.Put) error {
	return s.Apply(s.t.Context(), store.Batch{Puts: puts})
}

func (s *suite) must(puts ...store.Put) {
	s.t.Helper()
	if err := s.apply(puts...); err != nil {
		s.t.Fatalf("apply: %v", err)
	}
}

func (s *suite) wantErr(err, want error) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Fatalf("error is %v, want %v", err, want)
	}
}

// wantDoc wants version 0 to mean absent.
func (s *suite) wantDoc(id string, version int64, body string) {
	s.t.Helper()
	d, err := s.Get(s.t.Context(), people, key(id))
	if version == 0 {
		s.wantErr(err, store.ErrNotFound)
		return
	}
	if err != nil {
		s.t.Fatalf("get %s: %v", id, err)
	}
	if d.Key != key(id) || d.Version != version || string(d.Body) != body {
		s.t.Fatalf("%s is %v version %d %s, want version %d %s", id, d.Key, d.Version, d.Body, version, body)
	}
}

func (s *suite) find(q store.Query) []string {
	s.t.Helper()
	if q.Workspace == "" {
		q.Workspace = "w1"
	}
	if q.Limit == 0 {
		q.Limit = store.MaxPageSize
	}
	page, err := s.Find(s.t.Context(), people, q)
	if err != nil {
		s.t.Fatalf("find %+v: %v", q, err)
	}
	return ids(page.Docs)
}

func ids(docs []store.Doc) []string {
	out := make([]string, len(docs))
	for i, d := range docs {
		out[i] = d.ID
	}
	return out
}

func (s *suite) wantIDs(got []string, want ...string) {
	s.t.Helper()
	if strings.Join(got, "|") != strings.Join(want, "|") {
		s.t.Fatalf("got %q, want %q", got, want)
	}
}

func getReturnsWhatWasPut(s *suite) {
	body := `{ "b": 1.50, "a":"\u00e9\n", "n":null }`
	s.must(put("ada", body))
	s.wantDoc("ada", 1, body) // byte for byte
	s.wantDoc("bob", 0, "")
}

func versionsCountWrites(s *suite) {
	for i := range 3 {
		s.must(put("ada", `{}`))
		s.wantDoc("ada", int64(i+1), `{}`)
	}
	del := store.Batch{Deletes: []store.Delete{{Collection: people, Key: key("ada")}}}
	for range 2 { // deleting what is not there is no error
		if err := s.Apply(s.t.Context(), del); err != nil {
			s.t.Fatal(err)
		}
		s.wantDoc("ada", 0, "")
	}
	s.must(put("ada", `{}`))
	s.wantDoc("ada", 1, `{}`)
}

func putIf(s *suite) {
	try := func(v int64) error {
		p := put("ada", fmt.Sprintf(`{"if":%d}`, v))
		p.If = v
		return s.apply(p)
	}
	s.wantErr(try(1), store.ErrVersion)
	s.wantDoc("ada", 0, "")
	s.wantErr(try(0), nil)
	s.wantErr(try(0), store.ErrVersion)
	s.wantDoc("ada", 1, `{"if":0}`)
	s.wantErr(try(2), store.ErrVersion)
	s.wantErr(try(1), nil)
	s.wantErr(try(1), store.ErrVersion)
	s.wantErr(try(store.AnyVersion), nil)
	s.wantDoc("ada", 3, `{"if":-1}`)
}

func deleteIf(s *suite) {
	try := func(v int64) error {
		return s.Apply(s.t.Context(), store.Batch{Deletes: []store.Delete{{Collection: people, Key: key("ada"), If: v}}})
	}
	s.wantErr(try(1), store.ErrVersion) // demanded, but absent
	s.wantErr(try(store.AnyVersion), nil)
	s.must(put("ada", `{}`), put("ada", `{}`))
	s.wantErr(try(1), store.ErrVersion)
	s.wantDoc("ada", 2, `{}`)
	s.wantErr(try(2), nil)
	s.wantDoc("ada", 0, "")
}

func deletesAfterPuts(s *suite) {
	err := s.Apply(s.t.Context(), store.Batch{
		Puts:    []store.Put{put("ada", `{}`)},
		Deletes: []store.Delete{{Collection: people, Key: key("ada"), If: 1}},
	})
	s.wantErr(err, nil)
	s.wantDoc("ada", 0, "")
}

func sameKeyTwice(s *suite) {
	first, second := put("ada", `{"n":1}`), put("ada", `{"n":2}`)
	first.If, second.If = 0, 1
	s.must(first, second)
	s.wantDoc("ada", 2, `{"n":2}`)
}

func failedBatchWritesNothing(s *suite) {
	s.must(put("old", `{"v":1}`), put("taken", `{"email":"a@x"}`))
	stale := put("old", `{"v":2}`)
	stale.If = 7
	for want, last := range map[error]store.Put{
		store.ErrVersion: stale,
		store.ErrUnique:  put("other", `{"email":"a@x"}`),
	} {
		err := s.Apply(s.t.Context(), store.Batch{
			Puts: []store.Put{
				put("new", `{}`), put("old", `{"v":3}`),
				{Collection: blobs, Key: key("b"), Body: []byte("x")},
				last,
			},
			Deletes: []store.Delete{{Collection: people, Key: key("taken")}},
		})
		s.wantErr(err, want)
		s.wantDoc("new", 0, "")
		s.wantDoc("old", 1, `{"v":1}`)
		s.wantDoc("taken", 1, `{"email":"a@x"}`)
		_, err = s.Get(s.t.Context(), blobs, key("b"))
		s.wantErr(err, store.ErrNotFound)
	}
	err := s.Apply(s.t.Context(), store.Batch{
		Puts:    []store.Put{put("new", `{}`)},
		Deletes: []store.Delete{{Collection: people, Key: key("old"), If: 9}},
	})
	s.wantErr(err, store.ErrVersion)
	s.wantDoc("new", 0, "")
}

// Good and bad batches come at the same time, so that an implementation that
// commits several together must tell them apart.
func concurrentBatchesStandAlone(s *suite) {
	s.must(put("taken", `{"email":"a@x"}`))
	n := s.size(200, 4)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			b := []store.Put{put(fmt.Sprintf("first%03d", i), `{}`), put(fmt.Sprintf("second%03d", i), `{}`)}
			switch i % 4 {
			case 1:
				b[1].If = 5
			case 2:
				b[1].Body = []byte(`{"email":"a@x"}`)
			}
			errs[i] = s.Apply(context.Background(), store.Batch{Puts: b})
		})
	}
	wg.Wait()
	for i, err := range errs {
		want := map[int]error{1: store.ErrVersion, 2: store.ErrUnique}[i%4]
		s.wantErr(err, want)
		var version int64
		if want == nil {
			version = 1
		}
		s.wantDoc(fmt.Sprintf("first%03d", i), version, `{}`)
		s.wantDoc(fmt.Sprintf("second%03d", i), version, `{}`)
	}
}

func uniquePerWorkspace(s *suite) {
	s.must(put("ada", `{"email":"a@x"}`))
	s.wantErr(s.apply(put("bob", `{"email":"a@x"}`)), store.ErrUnique)
	s.must(put("bob", `{"email":"A@x"}`))
	other := put("bob", `{"email":"a@x"}`)
	other.Workspace = "w2"
	s.must(other)
	s.must(put("ada", `{"email":"a@x","again":true}`)) // its own value is no conflict
	s.must(put("c1", `{}`), put("c2", `{}`), put("c3", `{"email":null}`), put("c4", `{"email":null}`))
	s.must(put("ada", `{"email":"new@x"}`), put("c1", `{"email":"a@x"}`)) // given back and taken
	s.wantDoc("c1", 2, `{"email":"a@x"}`)
}

func uniqueTypes(s *suite) {
	for i, v := range []string{`1`, `"1"`, `true`, `{"a":1}`, `"{\"a\":1}"`, `0`, `false`, `""`} {
		s.must(put(fmt.Sprintf("p%d", i), `{"email":`+v+`}`))
		s.wantErr(s.apply(put("other", `{"email":`+v+`}`)), store.ErrUnique)
	}
	s.wantErr(s.apply(put("other", `{"email":1.0}`)), store.ErrUnique)
}

func uniqueCompound(s *suite) {
	s.must(put("ada", `{"org":"o1","card":{"number":7}}`))
	s.must(put("bob", `{"org":"o1","card":{"number":8}}`), put("cyd", `{"org":"o2","card":{"number":7}}`))
	s.must(put("d1", `{"org":"o1"}`), put("d2", `{"org":"o1"}`), put("d3", `{"org":"o1","card":{}}`), put("d4", `{"card":{"number":7}}`))
	s.wantErr(s.apply(put("eve", `{"org":"o1","card":{"number":7}}`)), store.ErrUnique)
}

func badBatches(s *suite) {
	long := strings.Repeat("x", store.MaxIDBytes+1)
	deep := strings.Repeat(`{"a":`, store.MaxDepth) + `{}` + strings.Repeat(`}`, store.MaxDepth)
	with := func(change func(*store.Put)) store.Batch {
		p := put("ada", `{}`)
		change(&p)
		return store.Batch{Puts: []store.Put{put("good", `{}`), p}}
	}
	for name, b := range map[string]store.Batch{
		"collection":    with(func(p *store.Put) { p.Collection = "nowhere" }),
		"workspace":     with(func(p *store.Put) { p.Workspace = "" }),
		"id":            with(func(p *store.Put) { p.ID = "" }),
		"id too long":   with(func(p *store.Put) { p.ID = long }),
		"id not UTF-8":  with(func(p *store.Put) { p.ID = "\xff" }),
		"id with NUL":   with(func(p *store.Put) { p.ID = "a\x00b" }),
		"if":            with(func(p *store.Put) { p.If = -2 }),
		"nil body":      with(func(p *store.Put) { p.Body = nil }),
		"array":         with(func(p *store.Put) { p.Body = []byte(`[{}]`) }),
		"scalar":        with(func(p *store.Put) { p.Body = []byte(`"x"`) }),
		"truncated":     with(func(p *store.Put) { p.Body = []byte(`{"a":`) }),
		"two objects":   with(func(p *store.Put) { p.Body = []byte(`{}{}`) }),
		"JSON5":         with(func(p *store.Put) { p.Body = []byte(`{a:1,}`) }),
		"not UTF-8":     with(func(p *store.Put) { p.Body = []byte("{\"a\":\"\xff\"}") }),
		"too deep":      with(func(p *store.Put) { p.Body = []byte(deep) }),
		"too large":     with(func(p *store.Put) { p.Body = []byte(`{"a":"` + strings.Repeat("x", store.MaxBodyBytes) + `"}`) }),
		"delete nobody": {Deletes: []store.Delete{{Collection: people, Key: store.Key{Workspace: "w1"}}}},
		"delete if":     {Deletes: []store.Delete{{Collection: people, Key: key("ada"), If: -3}}},
	} {
		err := s.Apply(s.t.Context(), b)
		if !errors.Is(err, store.ErrBadBatch) {
			s.t.Errorf("%s: error is %v, want ErrBadBatch", name, err)
		}
		var arg *store.ArgError
		if !errors.As(err, &arg) || arg.Field == "" || arg.Msg == "" {
			s.t.Errorf("%s: error %v does not say which field and why", name, err)
		}
	}
	s.wantDoc("good", 0, "")
	s.wantErr(s.Apply(s.t.Context(), store.Batch{}), nil)
}

func badQueries(s *suite) {
	many := make([]store.Filter, store.MaxFilterNodes)
	for i := range many {
		many[i] = store.Filter{Path: "a", Op: store.Exists}
	}
	deep := store.Filter{}
	for range store.MaxFilterDepth {
		deep = store.Filter{Not: &deep}
	}
	f := func(path string, op store.Op, v any) store.Query {
		return store.Query{Workspace: "w1", Filter: store.Filter{Path: path, Op: op, Value: v}}
	}
	for name, q := range map[string]store.Query{
		"no workspace":    {},
		"bad workspace":   {Workspace: "\xff"},
		"bad prefix":      {Workspace: "w1", IDPrefix: "a\x00"},
		"negative limit":  {Workspace: "w1", Limit: -1},
		"limit":           {Workspace: "w1", Limit: store.MaxPageSize + 1},
		"sort":            {Workspace: "w1", Sort: `a"b`},
		"sort nothing":    {Workspace: "w1", Sort: "-"},
		"cursor":          {Workspace: "w1", Cursor: "%%%"},
		"cursor text":     {Workspace: "w1", Cursor: "bm9wZQ"},
		"quote in path":   f(`a') OR 1=1 --`, store.Eq, 1),
		"wildcard path":   f(`a.*`, store.Eq, 1),
		"array path":      f(`a[0]`, store.Eq, 1),
		"empty step":      f(`a..b`, store.Eq, 1),
		"long path":       f(strings.Repeat("a", store.MaxPathBytes+1), store.Eq, 1),
		"no path":         f("", store.Eq, 1),
		"no op":           f("a", "", 1),
		"op":              f("a", "like", "x"),
		"nil":             f("a", store.Eq, nil),
		"struct":          f("a", store.Eq, time.Time{}),
		"not UTF-8":       f("a", store.Eq, "\xff"),
		"NaN":             f("a", store.Lt, nan()),
		"value of exists": f("a", store.Exists, true),
		"In of scalar":    f("a", store.In, "x"),
		"In of nil":       f("a", store.In, []any{nil}),
		"In too long":     f("a", store.In, make([]int, store.MaxInValues+1)),
		"prefix of 1":     f("a", store.Prefix, 1),
		"empty any":       {Workspace: "w1", Filter: store.Filter{Any: []store.Filter{}}},
		"two forms":       {Workspace: "w1", Filter: store.Filter{All: many[:1], Path: "a", Op: store.Exists}},
		"too many":        {Workspace: "w1", Filter: store.Filter{All: many}},
		"too deep":        {Workspace: "w1", Filter: deep},
		"below":           {Workspace: "w1", Filter: store.Filter{Any: []store.Filter{{Not: &store.Filter{Path: "a", Op: "x"}}}}},
	} {
		_, err := s.Find(s.t.Context(), people, q)
		var arg *store.ArgError
		if !errors.Is(err, store.ErrBadQuery) || !errors.As(err, &arg) {
			s.t.Errorf("%s: error is %v, want ErrBadQuery with its field", name, err)
		}
		if name == "below" && arg.Field != "filter.any[0].not.op" {
			s.t.Errorf("field is %q", arg.Field)
		}
	}
	ctx := s.t.Context()
	_, err := s.Find(ctx, "nowhere", store.Query{Workspace: "w1"})
	s.wantErr(err, store.ErrBadQuery)
	_, err = s.Get(ctx, "nowhere", key("a"))
	s.wantErr(err, store.ErrBadQuery)
	_, err = s.Get(ctx, people, store.Key{ID: "a"})
	s.wantErr(err, store.ErrBadQuery)
	_, err = s.Count(ctx, people, store.Query{})
	s.wantErr(err, store.ErrBadQuery)
	for _, q := range []store.Query{{Sort: "a"}, {Limit: 1}, {Cursor: "x"}} {
		s.wantErr(s.Iterate(ctx, people, q, func(store.Doc) error { return nil }), store.ErrBadQuery)
	}
	for _, q := range []store.Query{f("a", store.Exists, nil), {Workspace: "w1", Sort: "a"}} {
		_, err = s.Find(ctx, blobs, q)
		s.wantErr(err, store.ErrBadQuery)
	}
}
