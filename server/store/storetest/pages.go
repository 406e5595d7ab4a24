package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/server/store"
)

// walk reads all pages of a query.
func (s *suite) walk(q store.Query) []string {
	s.t.Helper()
	var got []string
	for {
		page, err := s.Find(s.t.Context(), people, q)
		if err != nil {
			s.t.Fatalf("find %+v: %v", q, err)
		}
		got = append(got, ids(page.Docs)...)
		if page.Next == "" {
			return got
		}
		if len(page.Docs) != q.Limit {
			s.t.Fatalf("a page of %d with a next one, limit %d", len(page.Docs), q.Limit)
		}
		q.Cursor = page.Next
	}
}

func pagesCoverSorts(s *suite) {
	const seed = 3
	r := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // a repeatable sequence is wanted
	count := s.size(90, 6)
	all := s.randomPeople(r, count)
	filters := []store.Filter{{}, {Path: "city", Op: store.Exists}, {Not: &store.Filter{Path: "age", Op: store.Gt, Value: 0}}}
	for _, sort := range []string{"", "-_id", "_id", "city", "-city", "age", "-age", "card.number", "-absent", "x-y", "-email"} {
		for _, f := range filters {
			want := s.find(store.Query{Sort: sort, Filter: f})
			limits := []int{1, 7, count - 1, count, count + 1}
			if s.serial {
				limits = []int{4, count}
			}
			for _, limit := range limits {
				got := s.walk(store.Query{Workspace: "w1", Sort: sort, Filter: f, Limit: limit})
				if !slices.Equal(got, want) {
					s.t.Fatalf("sort %q limit %d:\n got %q\nwant %q", sort, limit, got, want)
				}
			}
			n := 0
			for id, body := range all {
				if matches(f, id, body) {
					n++
				}
			}
			if up, down := strings.CutPrefix(sort, "-"); down {
				reverse := s.find(store.Query{Sort: up, Filter: f})
				slices.Reverse(reverse)
				s.wantIDs(want, reverse...)
			}
			slices.Sort(want)
			if len(slices.Compact(want)) != n {
				s.t.Fatalf("sort %q: %d different documents, want %d", sort, len(want), n)
			}
		}
	}
}

func sortAbsentFirst(s *suite) {
	s.must(
		put("a", `{"age":30,"city":"B"}`), put("b", `{"age":4,"city":"b"}`), put("c", `{"city":"A"}`), put("d", `{"age":4.5}`),
		put("e", `{"age":null,"city":"é"}`), put("f", `{"age":-1,"city":"B"}`), put("g", `{"age":4,"city":""}`),
	)
	s.wantIDs(s.find(store.Query{Sort: "age"}), "c", "e", "f", "b", "g", "d", "a")
	s.wantIDs(s.find(store.Query{Sort: "-age"}), "a", "d", "g", "b", "f", "e", "c") // the exact reverse
	s.wantIDs(s.find(store.Query{Sort: "city"}), "d", "g", "c", "a", "f", "b", "e") // by bytes
	s.wantIDs(s.find(store.Query{Sort: "-_id", Limit: 3}), "g", "f", "e")
}

func cursorsUnderInserts(s *suite) {
	for _, sort := range []string{"", "age", "-age", "-_id"} {
		ws := "w" + sort
		add := func(id string, age int) {
			p := put(id, fmt.Sprintf(`{"age":%d}`, age))
			p.Workspace = ws
			s.must(p)
		}
		var want []string
		for i := range 30 {
			id := fmt.Sprintf("m%02d", i)
			add(id, i/3)
			want = append(want, id)
		}
		q := store.Query{Workspace: ws, Sort: sort, Limit: 4}
		seen := map[string]int{}
		for n := 0; ; n++ {
			page, err := s.Find(s.t.Context(), people, q)
			if err != nil {
				s.t.Fatal(err)
			}
			for _, d := range page.Docs {
				seen[d.ID]++
			}
			if page.Next == "" {
				break
			}
			q.Cursor = page.Next
			add(fmt.Sprintf("a%02d", n), -1) // before, amid and behind
			add(fmt.Sprintf("m%02d+", n), n/3)
			add(fmt.Sprintf("z%02d", n), 99)
			if n > 30 {
				s.t.Fatal("the inserted documents never end")
			}
			if n > 8 {
				continue
			}
			gone := store.Delete{Collection: people, Key: store.Key{Workspace: ws, ID: page.Docs[len(page.Docs)-1].ID}}
			if err := s.Apply(s.t.Context(), store.Batch{Deletes: []store.Delete{gone}}); err != nil { // the cursor's own
				s.t.Fatal(err)
			}
		}
		for _, id := range want {
			if seen[id] != 1 {
				s.t.Errorf("sort %q: %s was seen %d times", sort, id, seen[id])
			}
		}
	}
}

func foreignCursors(s *suite) {
	var puts []store.Put
	for i := range 5 {
		puts = append(puts, put(fmt.Sprintf("p%d", i), fmt.Sprintf(`{"age":%d,"city":"x"}`, i)))
	}
	s.must(puts...)
	q := store.Query{Workspace: "w1", Sort: "age", Limit: 2, Filter: store.Filter{Path: "city", Op: store.Eq, Value: "x"}}
	page, err := s.Find(s.t.Context(), people, q)
	if err != nil || page.Next == "" {
		s.t.Fatalf("%+v, %v", page, err)
	}
	q.Cursor = page.Next
	for name, change := range map[string]func(*store.Query){
		"workspace": func(q *store.Query) { q.Workspace = "w2" },
		"sort":      func(q *store.Query) { q.Sort = "-age" },
		"sort none": func(q *store.Query) { q.Sort = "" },
		"prefix":    func(q *store.Query) { q.IDPrefix = "p" },
		"filter":    func(q *store.Query) { q.Filter.Value = "y" },
		"cut":       func(q *store.Query) { q.Cursor = q.Cursor[:len(q.Cursor)-3] },
		"garbage":   func(q *store.Query) { q.Cursor = "e30" },
	} {
		other := q
		change(&other)
		if _, err := s.Find(s.t.Context(), people, other); !errors.Is(err, store.ErrBadQuery) {
			s.t.Errorf("%s changed: error is %v, want ErrBadQuery", name, err)
		}
	}
	q.Limit = 100 // the page's size is no part of the query
	s.wantIDs(s.find(q), "p2", "p3", "p4")
}

func defaultLimit(s *suite) {
	var puts []store.Put
	for i := range store.DefaultPageSize + 1 {
		puts = append(puts, put(fmt.Sprintf("p%03d", i), `{}`))
	}
	s.must(puts...)
	page, err := s.Find(s.t.Context(), people, store.Query{Workspace: "w1"})
	if err != nil || len(page.Docs) != store.DefaultPageSize || page.Next == "" {
		s.t.Fatalf("%d documents, next %q, %v", len(page.Docs), page.Next, err)
	}
	page, err = s.Find(s.t.Context(), people, store.Query{Workspace: "w1", Limit: store.DefaultPageSize + 1})
	if err != nil || len(page.Docs) != store.DefaultPageSize+1 || page.Next != "" {
		s.t.Fatalf("%d documents, next %q, %v", len(page.Docs), page.Next, err)
	}
	page, err = s.Find(s.t.Context(), people, store.Query{Workspace: "empty"})
	if err != nil || len(page.Docs) != 0 || page.Next != "" {
		s.t.Fatalf("%+v, %v", page, err)
	}
}

func prefixIsLiteral(s *suite) {
	all := []string{"a", "a%", "a%b", "a_", "a_b", "aX", "ab", "b", "é", "éa", "ê", "日本", "日本語", "z\U0010ffff", "z\U0010ffffa", "\ufffd", "\ufffda", "\uffff"}
	for _, id := range all {
		s.must(put(id, `{"name":"`+id+`"}`))
	}
	for _, prefix := range []string{"a", "a%", "a_", "é", "日", "z\U0010ffff", "\ufffd", "nobody", `a"`} {
		var want []string
		for _, id := range all {
			if strings.HasPrefix(id, prefix) {
				want = append(want, id)
			}
		}
		slices.Sort(want)
		s.wantIDs(s.find(store.Query{IDPrefix: prefix}), want...)
		s.wantIDs(s.find(store.Query{Filter: store.Filter{Path: "name", Op: store.Prefix, Value: prefix}}), want...)
		var got []string
		err := s.Iterate(s.t.Context(), people, store.Query{IDPrefix: prefix}, func(d store.Doc) error {
			got = append(got, d.ID)
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
		s.wantIDs(got, want...)
		n, err := s.Count(s.t.Context(), people, store.Query{Workspace: "w1", IDPrefix: prefix})
		if err != nil || n != int64(len(want)) {
			s.t.Fatalf("prefix %q: count %d, %v", prefix, n, err)
		}
	}
}

func oddIDs(s *suite) {
	odd := []string{"%", "_", "'", `"`, `\`, ";--", "?", "?1", "a/b", "a.b", " ", "\n", "é", "e\u0301", "😀", "$x", "0", "NULL", strings.Repeat("x", store.MaxIDBytes)}
	var puts []store.Put
	for i, id := range odd {
		puts = append(puts, put(id, fmt.Sprintf(`{"n":%d}`, i)))
	}
	s.must(puts...)
	for i, id := range odd {
		s.wantDoc(id, 1, fmt.Sprintf(`{"n":%d}`, i))
	}
	slices.Sort(odd)
	s.wantIDs(s.walk(store.Query{Workspace: "w1", Limit: 4}), odd...)
}

func workspacesAreApart(s *suite) {
	in := func(ws, id, body string) store.Put {
		p := put(id, body)
		p.Workspace = ws
		return p
	}
	odd := []string{"w1", "w2", "w", "w%", "w_", "W1", "w1 ", "w1'", "w11", store.System}
	for _, ws := range odd {
		s.must(in(ws, "same", `{"city":"Oslo","email":"a@x","of":"`+ws+`"}`), in(ws, "only"+ws, `{"city":"Oslo","of":"`+ws+`"}`))
	}
	ctx := s.t.Context()
	for _, ws := range odd {
		d, err := s.Get(ctx, people, store.Key{Workspace: ws, ID: "same"})
		if err != nil || d.Workspace != ws || !strings.Contains(string(d.Body), `"of":"`+ws+`"`) {
			s.t.Fatalf("workspace %q: %v %s %v", ws, d.Key, d.Body, err)
		}
		for _, q := range []store.Query{
			{},
			{IDPrefix: "same"},
			{IDPrefix: "only"},
			{Sort: "city"},
			{Sort: "-of"},
			{Filter: store.Filter{Path: "city", Op: store.Eq, Value: "Oslo"}},
			{Filter: store.Filter{Any: []store.Filter{{Path: "email", Op: store.Eq, Value: "a@x"}, {Path: "of", Op: store.Exists}, {}}}},
			{Filter: store.Filter{Not: &store.Filter{Path: "city", Op: store.Absent}}},
		} {
			q.Workspace = ws
			want := int64(2)
			if q.IDPrefix != "" {
				want = 1
			}
			page, err := s.Find(ctx, people, q)
			if err != nil || int64(len(page.Docs)) != want {
				s.t.Fatalf("workspace %q %+v: %d documents, %v", ws, q, len(page.Docs), err)
			}
			for _, d := range page.Docs {
				if d.Workspace != ws || !strings.Contains(string(d.Body), `"of":"`+ws+`"`) {
					s.t.Fatalf("workspace %q sees %s", ws, d.Body)
				}
			}
			if n, err := s.Count(ctx, people, q); err != nil || n != want {
				s.t.Fatalf("workspace %q %+v: count %d, %v", ws, q, n, err)
			}
		}
	}
	err := s.Apply(ctx, store.Batch{Deletes: []store.Delete{{Collection: people, Key: store.Key{Workspace: "w2", ID: "same"}}}})
	s.wantErr(err, nil)
	if _, err := s.Get(ctx, people, store.Key{Workspace: "w1", ID: "same"}); err != nil {
		s.t.Fatalf("a delete reached another workspace: %v", err)
	}
}

func iterateInOrder(s *suite) {
	n := s.size(10_000, 5)
	order := rand.New(rand.NewPCG(1, 1)).Perm(n) //nolint:gosec // a repeatable sequence is wanted
	for chunk := range slices.Chunk(order, 1000) {
		var puts []store.Put
		for _, i := range chunk {
			p := put(fmt.Sprintf("p%05d", i), fmt.Sprintf(`{"age":%d}`, i))
			p.Workspace = fmt.Sprintf("w%d", i%3)
			puts = append(puts, p)
		}
		s.must(puts...)
	}
	var last store.Key
	count := 0
	check := func(d store.Doc) error {
		if d.Workspace < last.Workspace || d.Workspace == last.Workspace && d.ID <= last.ID {
			return fmt.Errorf("%v after %v", d.Key, last)
		}
		last = d.Key
		count++
		return nil
	}
	for _, test := range []struct {
		q    store.Query
		want int
	}{
		{store.Query{}, n},
		{store.Query{Workspace: "w1"}, (n + 1) / 3},
		{store.Query{IDPrefix: "p00"}, 1000},
		{store.Query{Filter: store.Filter{Path: "age", Op: store.Lt, Value: 2000}}, 2000},
		{store.Query{Workspace: "nobody"}, 0},
	} {
		last, count = store.Key{}, 0
		if err := s.Iterate(s.t.Context(), people, test.q, check); err != nil {
			s.t.Fatal(err)
		}
		if count != test.want {
			s.t.Errorf("%+v: %d documents, want %d", test.q, count, test.want)
		}
	}
	stop := errors.New("enough")
	count = 0
	err := s.Iterate(s.t.Context(), people, store.Query{}, func(store.Doc) error {
		if count++; count == 700 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || count != 700 {
		s.t.Errorf("stopped after %d with %v", count, err)
	}
}

func iterateCallback(s *suite) {
	var puts []store.Put
	for i := range 20 {
		puts = append(puts, put(fmt.Sprintf("p%02d", i), `{}`))
	}
	s.must(puts...)
	// Deep enough to run out of any small pool of connections.
	var nest func(level int) error
	nest = func(level int) error {
		return s.Iterate(s.t.Context(), people, store.Query{Workspace: "w1", IDPrefix: "p0"}, func(d store.Doc) error {
			if err := s.apply(put(d.ID, `{"seen":true}`)); err != nil {
				return err
			}
			if _, err := s.Get(s.t.Context(), people, d.Key); err != nil || level == 0 || d.ID != "p00" {
				return err
			}
			return nest(level - 1)
		})
	}
	if err := nest(20); err != nil {
		s.t.Fatal(err)
	}
	s.wantDoc("p09", 22, `{"seen":true}`)
}
