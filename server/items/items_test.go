package items_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/items"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// shop is a service with the catalogues "products" of acme and beta.
type shop struct {
	*testing.T
	*items.Service
	store *failing

	mu         sync.Mutex
	catalogues map[string]*engage.Catalogue // by "<workspace>/<id>"
}

// failing is a store of which the next writes can be made to fail.
type failing struct {
	store.Store
	fail func() error
}

func (f *failing) Apply(ctx context.Context, b store.Batch) error {
	if f.fail != nil {
		if err := f.fail(); err != nil {
			return err
		}
	}
	return f.Store.Apply(ctx, b)
}

func open(t *testing.T) *shop {
	t.Helper()
	st, err := sqlite.Open(t.Context(), sqlite.Options{
		Path: filepath.Join(t.TempDir(), "x.db"), Collections: items.Collections(), Now: func() time.Time { return time.Unix(0, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &shop{T: t, store: &failing{Store: st}, catalogues: map[string]*engage.Catalogue{}}
	for _, ws := range []string{"acme", "beta"} {
		s.catalogues[ws+"/products"] = &engage.Catalogue{ID: "products", Workspace: ws, Fields: map[string]engage.FieldType{"name": engage.FieldString, "price": engage.FieldMoney}}
	}
	s.Service = items.New(items.Options{
		Store: s.store, Now: func() time.Time { return time.Unix(1_800_000_000, 0) },
		Catalogue: func(ws, id string) *engage.Catalogue {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.catalogues[ws+"/"+id]
		},
		Learn: func(_ context.Context, _, ws, id string, fields map[string]engage.FieldType) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			k := *s.catalogues[ws+"/"+id]
			k.Fields = maps.Clone(k.Fields)
			for name, t := range fields {
				if k.Fields[name] == "" {
					k.Fields[name] = t
				}
			}
			s.catalogues[ws+"/"+id] = &k
			return nil
		},
	})
	return s
}

func item(id, name string, price float64) engage.ItemEdit {
	return engage.ItemEdit{ID: id, Fields: map[string]any{"name": name, "price": price}, Expected: engage.AnyItemVersion}
}

// put gives what became of each edit: its version, "gone", or the fields of its errors.
func (s *shop) put(ws string, edits ...engage.ItemEdit) string {
	s.Helper()
	outcomes, err := s.Put(s.Context(), "key", ws, "products", edits)
	if err != nil {
		s.Fatal(err)
	}
	var out []string
	for _, o := range outcomes {
		switch {
		case len(o.Errors) > 0:
			var at []string
			for _, e := range o.Errors {
				at = append(at, string(e.Code)+":"+e.Field)
			}
			out = append(out, strings.Join(at, "+"))
		case o.Version == 0:
			out = append(out, "gone")
		case o.Changed:
			out = append(out, fmt.Sprint(o.Version))
		default:
			out = append(out, fmt.Sprint(o.Version, "="))
		}
	}
	return strings.Join(out, " ")
}

func (s *shop) count(ws string) int64 {
	s.Helper()
	n, err := s.Count(s.Context(), ws, "products")
	if err != nil {
		s.Fatal(err)
	}
	return n
}

func TestEachItemIsTakenOrRefusedAlone(t *testing.T) {
	s := open(t)
	for _, c := range []struct{ got, want string }{
		{s.put("acme", item("a", "Tea", 4), item("b", "Pot", -1), engage.ItemEdit{ID: "c d", Expected: -1}, item("e", "Cup", 2)), "1 invalid:fields.price invalid:id 1"},
		{s.put("acme", item("a", "Tea", 4), item("e", "Cup", 3)), "1= 2"},
		{s.put("acme", item("x", "1", 1), item("x", "2", 2)), "gone 1"},
		{s.put("acme", engage.ItemEdit{ID: "e", Delete: true, Expected: -1}, engage.ItemEdit{ID: "none", Delete: true, Expected: -1}), "gone gone"},
		{s.put("acme", engage.ItemEdit{ID: "a", Delete: true, Expected: 7}, engage.ItemEdit{ID: "a", Fields: nil, Expected: 0}, engage.ItemEdit{ID: "n", Expected: 1}), "conflict:version conflict:id not_found:id"},
		{s.put("beta", item("a", "Theirs", 9)), "1"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
	if a, b := s.count("acme"), s.count("beta"); a != 2 || b != 1 {
		t.Errorf("%d and %d items", a, b)
	}
	got, err := s.Get(t.Context(), "acme", "products", "a")
	if err != nil || string(got.Fields) != `{"name":"Tea","price":4}` || got.Version != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.Get(t.Context(), "beta", "products", "x"); engage.CodeOf(err) != engage.NotFound {
		t.Errorf("%v", err)
	}
	if _, err := s.Put(t.Context(), "key", "acme", "products", make([]engage.ItemEdit, engage.MaxItemEdits+1)); engage.CodeOf(err) != engage.TooLarge {
		t.Errorf("%v", err)
	}
}

// A field is learned from its first value and then binds.
func TestFieldsAreLearnedAndBind(t *testing.T) {
	s := open(t)
	edit := func(id string, colour any) engage.ItemEdit {
		return engage.ItemEdit{ID: id, Fields: map[string]any{"colour": colour}, Expected: engage.AnyItemVersion}
	}
	if got := s.put("acme", edit("a", "red"), edit("b", 3.0), edit("c", nil)); got != "1 invalid:fields.colour 1" {
		t.Error(got)
	}
	if s.catalogues["acme/products"].Fields["colour"] != engage.FieldString || s.catalogues["beta/products"].Fields["colour"] != "" {
		t.Errorf("%v", s.catalogues)
	}
}

func TestKnownItemsComeInTheOrderAsked(t *testing.T) {
	s := open(t)
	s.put("acme", item("a", "Tea", 4), item("b", "Pot", 5))
	ref := func(catalogue, id string) engage.ItemRef { return engage.ItemRef{Catalogue: catalogue, ID: id} }
	got, err := s.Known(t.Context(), "acme", []engage.ItemRef{ref("products", "b"), ref("products", "none"), ref("shoes", "a"), ref("products", "a"), ref("products", "b")})
	var out []string
	for _, k := range got {
		out = append(out, fmt.Sprint(k.Catalogue, "/", k.ID, " ", k.Version, " ", string(k.Fields)))
	}
	want := `products/b 1 {"name":"Pot","price":5}, products/none 0 , shoes/a 0 , products/a 1 {"name":"Tea","price":4}, products/b 1 {"name":"Pot","price":5}`
	if strings.Join(out, ", ") != want || err != nil {
		t.Errorf("%s, %v", strings.Join(out, ", "), err)
	}
	if got, err := s.Known(t.Context(), "beta", []engage.ItemRef{ref("products", "a")}); err != nil || got[0].Version != 0 {
		t.Errorf("another workspace sees %v, %v", got, err)
	}
}

func TestItemsAreListedByIDAndByField(t *testing.T) {
	s := open(t)
	s.put("acme", item("a-2", "Tea", 4), item("a-1", "Pot", 5), item("b", "Tea", 6))
	s.put("acme", engage.ItemEdit{ID: "c", Fields: map[string]any{"tags": []any{"new", "sale"}}, Expected: -1})
	list := func(l engage.ItemListing) (out string) {
		for {
			page, next, err := s.List(t.Context(), "acme", "products", l)
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range page {
				out += item.ID + " "
			}
			if l.Cursor = next; next == "" {
				return out
			}
		}
	}
	for _, c := range []struct {
		of   engage.ItemListing
		want string
	}{
		{engage.ItemListing{Limit: 1}, "a-1 a-2 b c "},
		{engage.ItemListing{Prefix: "a-", Limit: 10}, "a-1 a-2 "},
		{engage.ItemListing{Where: map[string]any{"name": "Tea"}, Limit: 1}, "a-2 b "},
		{engage.ItemListing{Where: map[string]any{"name": "Tea", "price": 6.0}, Limit: 9}, "b "},
		{engage.ItemListing{Where: map[string]any{"tags": "sale"}, Limit: 9}, "c "},
	} {
		if got := list(c.of); got != c.want {
			t.Errorf("%+v: %q, want %q", c.of, got, c.want)
		}
	}
	if _, _, err := s.List(t.Context(), "acme", "products", engage.ItemListing{Cursor: "nonsense"}); engage.CodeOf(err) != engage.Invalid {
		t.Errorf("%v", err)
	}
}

// The count is right after writes that failed, that others overtook, and after all went.
func TestTheCountIsRightWhateverFails(t *testing.T) {
	s := open(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 20 {
				if _, err := s.Put(context.Background(), "key", "acme", "products", []engage.ItemEdit{item(fmt.Sprintf("i-%d-%d", i, n), "x", 1), item("shared", fmt.Sprint(i, n), 1)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := s.count("acme"); n != 81 {
		t.Errorf("%d items", n)
	}
	broken := 0
	s.store.fail = func() error {
		if broken++; broken == 1 {
			return store.ErrVersion // somebody else was first: it is tried again
		}
		return nil
	}
	if got := s.put("acme", item("late", "x", 1)); got != "1" || broken != 2 {
		t.Errorf("%s after %d tries", got, broken)
	}
	s.store.fail = func() error { return fmt.Errorf("the disk is full") }
	if _, err := s.Put(t.Context(), "key", "acme", "products", []engage.ItemEdit{item("never", "x", 1)}); err == nil {
		t.Error("a write that failed is taken")
	}
	s.store.fail = nil
	if n := s.count("acme"); n != 82 {
		t.Errorf("%d items", n)
	}
	s.put("beta", item("a", "Theirs", 1))
	left, err := s.Clear(t.Context(), "acme", "products", 50)
	if left != 32 || err != nil {
		t.Errorf("%d left, %v", left, err)
	}
	if left, err = s.Clear(t.Context(), "acme", "products", 1000); left != 0 || s.count("acme") != 0 || s.count("beta") != 1 || err != nil {
		t.Errorf("%d left, %v", left, err)
	}
}
