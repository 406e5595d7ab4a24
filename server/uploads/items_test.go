package uploads_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/items"
	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
	"github.com/footfall-engage/footfall/server/uploads"
)

// shelves is the catalogue "products" of the workspace "shop", on a real store of which
// writes can fail.
type shelves struct {
	*items.Service
	disk

	mu sync.Mutex
	k  engage.Catalogue
}

type disk struct {
	writes int    // by one at a time
	fail   int    // this write fails; 0: none
	wrote  func() // before each write; may be nil
}

// failing is the store that the items are on.
type failing struct {
	store.Store
	*disk
}

func (s failing) Apply(ctx context.Context, b store.Batch) error {
	s.writes++
	if s.writes == s.fail {
		return errors.New("the disk is full")
	}
	if s.wrote != nil {
		s.wrote()
	}
	return s.Store.Apply(ctx, b)
}

func (s *shelves) catalogue(workspace, id string) *engage.Catalogue {
	s.mu.Lock()
	defer s.mu.Unlock()
	if workspace != "shop" || id != "products" {
		return nil
	}
	k := s.k
	return &k
}

func (s *shelves) learn(_ context.Context, _, _, _ string, fields map[string]engage.FieldType) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := maps.Clone(s.k.Fields)
	maps.Copy(all, fields)
	s.k.Fields = all
	return nil
}

func newShelves(t testing.TB) *shelves {
	t.Helper()
	st, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "x.db"), Collections: items.Collections(), Now: clock.NewManual(now).Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &shelves{k: engage.Catalogue{ID: "products", Workspace: "shop", Fields: map[string]engage.FieldType{"price": engage.FieldMoney, "image": engage.FieldImage}}}
	s.Service = items.New(items.Options{Store: failing{st, &s.disk}, Catalogue: s.catalogue, Learn: s.learn, Now: clock.NewManual(now).Now})
	return s
}

func (s *shelves) options(o *uploads.Options) { o.Items, o.Catalogue = s.Service, s.catalogue }

// all are the items as lines.
func (s *shelves) all(t *testing.T) string {
	t.Helper()
	list, _, err := s.List(t.Context(), "shop", "products", engage.ItemListing{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range list {
		out = append(out, fmt.Sprint(i.ID, " ", i.Version, " ", string(i.Fields)))
	}
	return strings.Join(out, "\n")
}

// report are the refused rows: "row field", in order.
func (d *desk) refusals(id string) string {
	d.t.Helper()
	var out []string
	if err := d.Report("shop", id, func(line []byte) error {
		var x uploads.Refused
		err := json.Unmarshal(line, &x)
		out = append(out, fmt.Sprint(x.Row, " ", x.Field))
		return err
	}); err != nil {
		d.t.Fatal(err)
	}
	return strings.Join(out, ", ")
}

func TestAFileOfItemsGoesIntoItsCatalogue(t *testing.T) {
	s := newShelves(t)
	d := newDesk(t, s.options)
	load := func(text string, mapping uploads.Mapping) uploads.Upload {
		t.Helper()
		id := d.give(uploads.Making{Kind: uploads.Items, Catalogue: "products", Mapping: mapping}, text)
		d.run(d.ended(id))
		return d.get(id)
	}
	table := "SKU;Name;Price;Image;On sale;Sizes\nt-1;Tea;4.5;https://x.example/t.png;yes;s|m\nt-2;Pot;dear;;no;\nt 3;Cup;1;;no;\nt-4;Mug;2;;no;l\n"
	u := load(table, uploads.Mapping{"SKU": "id", "Name": "fields.name", "Price": "fields.price", "Image": "fields.image", "On sale": "fields.sale:bool", "Sizes": "fields.sizes:strings"})
	want := `t-1 1 {"image":"https://x.example/t.png","name":"Tea","price":4.5,"sale":true,"sizes":["s","m"]}` + "\n" + `t-4 1 {"name":"Mug","price":2,"sale":false,"sizes":["l"]}`
	if got := s.all(t); got != want || u.State != uploads.Done || u.Taken != 2 || u.Refused != 2 {
		t.Errorf("%s\n%+v", got, u)
	}
	if got := d.refusals(u.ID); got != "3 Price, 4 id" {
		t.Errorf("refused %s", got)
	}
	// Lines of JSON; a field that was learned binds; what says the same changes nothing.
	u = load(`{"id":"t-1","name":"Tea","price":4.5,"image":"https://x.example/t.png","sale":true,"sizes":["s","m"]}`+"\n"+
		`{"sku":"t-5","fields":{"name":"Jug","colour":"red"}}`+"\n"+`{"id":"t-6","fields":{"colour":["red"]}}`+"\n"+`{"id":"t-4","deleted":true}`+"\n"+`{"name":"who?"}`+"\n", nil)
	want = `t-1 1 {"image":"https://x.example/t.png","name":"Tea","price":4.5,"sale":true,"sizes":["s","m"]}` + "\n" + `t-5 1 {"colour":"red","name":"Jug"}`
	if got := s.all(t); got != want {
		t.Errorf("%s\n%+v", got, u)
	}
	if got := d.refusals(u.ID); got != "3 colour, 5 id" && got != "3 fields.colour, 5 id" {
		t.Errorf("refused %s", got)
	}
	// The first file again is read again: an item may have changed since.
	if u = load(table, nil); u.Same != "" || u.Read != 4 || !strings.Contains(s.all(t), `t-4 1 {`) {
		t.Errorf("%+v\n%s", u, s.all(t))
	}
}

func TestAnUploadOfItemsNeedsItsCatalogue(t *testing.T) {
	s := newShelves(t)
	d := newDesk(t, s.options)
	for field, m := range map[string]uploads.Making{
		"catalogue":   {Workspace: "shop", Kind: uploads.Items, Catalogue: "shoes"},
		"mapping.SKU": {Workspace: "shop", Kind: uploads.Items, Catalogue: "products", Mapping: uploads.Mapping{"SKU": "email"}},
		"mapping.X":   {Workspace: "shop", Kind: uploads.Items, Catalogue: "products", Mapping: uploads.Mapping{"X": "fields.a b"}},
	} {
		_, err := d.Create(m)
		if e, is := errors.AsType[*engage.Error](err); !is || e.Field != field {
			t.Errorf("%v, want %s", err, field)
		}
	}
	if _, err := d.Create(uploads.Making{Workspace: "shop", Kind: uploads.People, Catalogue: "products"}); engage.CodeOf(err) != engage.Invalid {
		t.Errorf("%v", err)
	}
	p, err := uploads.Look(strings.NewReader("sku,price,what\na,1,x\nb,-1,y\nc d,2,z\n"), uploads.Previewing{
		Kind: uploads.Items, Now: now, Catalogue: s.catalogue("shop", "products"), Declared: uploads.FieldTypes(s.catalogue("shop", "products")),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.Mapping, p.Refused, p.Rows[0].Item, p.Rows[0].Fields); got != "map[price:fields.price sku:id what:fields.what:string] 2amap[price:1 what:x]" {
		t.Error(got)
	}
	if row, err := json.Marshal(p.Rows[0]); string(row) != `{"row":2,"item":"a","fields":{"price":1,"what":"x"}}` || err != nil || !slices.Equal(p.New, []string{"what"}) {
		t.Errorf("%s, %v, new %q", row, err, p.New)
	}
}

// A write that fails is made again, and so is what a restart does not know of: in the end
// every item is there, and the count is right.
func TestAnUploadOfItemsGoesOnAfterAFailure(t *testing.T) {
	s := newShelves(t)
	s.fail = 2
	d := newDesk(t, s.options)
	id := d.give(uploads.Making{Kind: uploads.Items, Catalogue: "products"}, itemTable(900))
	until := d.ended(id)
	d.run(func() bool { d.clock.Advance(10 * 1e6); return until() })
	n, err := s.Count(t.Context(), "shop", "products")
	if u := d.get(id); n != 900 || err != nil || u.State != uploads.Done || u.Taken != 900 {
		t.Errorf("%d items, %v, %+v", n, err, u)
	}
}

// itemTable is a table of so many items.
func itemTable(n int) string {
	var b strings.Builder
	_, _ = io.Copy(&b, &rowsOf{n: n})
	return b.String()
}

// rowsOf reads a table of items of any size that is nowhere whole.
type rowsOf struct {
	n, at int
	left  []byte
}

func (r *rowsOf) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		switch {
		case r.at == 0:
			r.left = []byte("id,name,price,image,stock,brand\n")
		case r.at > r.n:
			return 0, io.EOF
		default:
			r.left = fmt.Appendf(nil, "sku-%07d,Product number %d,%d.95,https://shop.example/images/%d.png,%d,brand %d\n", r.at, r.at, r.at%500, r.at, r.at%90, r.at%40)
		}
		r.at++
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// loadItems uploads so many items and says how much memory was in use at most, beyond
// what was before.
func loadItems(t testing.TB, rows int) (peak uint64) {
	t.Helper()
	s := newShelves(t)
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var most atomic.Uint64
	writes := 0
	s.wrote = func() {
		if writes++; writes%20 > 0 {
			return
		}
		var now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&now)
		if now.HeapAlloc > most.Load() {
			most.Store(now.HeapAlloc)
		}
	}
	o := uploads.Options{Dir: t.TempDir(), Log: &memoryLog{}, Clock: clock.NewManual(now), Attributes: func(string) map[string]rules.Type { return nil }}
	s.options(&o)
	up, err := uploads.New(o)
	if err != nil {
		t.Fatal(err)
	}
	u, err := up.Create(uploads.Making{Workspace: "shop", Kind: uploads.Items, Catalogue: "products"})
	if err == nil {
		u, err = up.Write("shop", u.ID, 0, true, &rowsOf{n: rows})
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- up.Run(ctx) }()
	d := &desk{Service: up}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ended := false; !ended; {
		<-tick.C
		x, err := d.Get("shop", u.ID)
		if err != nil {
			t.Fatal(err)
		}
		if ended = x.State.Ended(); ended && x.Taken != int64(rows) {
			t.Errorf("%+v", x)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n, err := s.Count(t.Context(), "shop", "products"); n != int64(rows) || err != nil {
		t.Errorf("%d items, %v", n, err)
	}
	return most.Load() - min(before.HeapAlloc, most.Load())
}

// However many items a file has, a few portions of them are in memory.
func TestAFileOfManyItemsTakesLittleMemory(t *testing.T) {
	small, large := loadItems(t, 5_000), loadItems(t, 20_000)
	if bound := slices.Max([]uint64{2 * small, 8 << 20}); large > bound {
		t.Errorf("20,000 items took %d bytes, 5,000 took %d", large, small)
	}
}

// One iteration is an item: -benchtime 100000x uploads a hundred thousand.
func BenchmarkAnItemIsUploaded(b *testing.B) {
	peak := loadItems(b, b.N)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "items/s")
	b.ReportMetric(float64(peak)/(1<<20), "peak-MB")
}

// A column is the declared field of its name, whatever its case, spaces and underscores; two
// that would be the same are refused.
func TestColumnsAreTheDeclaredFieldsTheyAreCalledBy(t *testing.T) {
	k := &engage.Catalogue{ID: "products", Fields: map[string]engage.FieldType{
		"name": engage.FieldString, "sale_price": engage.FieldMoney, "imageUrl": engage.FieldImage, "ab": engage.FieldString, "a_b": engage.FieldString,
	}}
	look := func(text string) (*uploads.Preview, error) {
		return uploads.Look(strings.NewReader(text), uploads.Previewing{Kind: uploads.Items, Now: now, Catalogue: k, Declared: uploads.FieldTypes(k)})
	}
	want := "map[A B:fields.a_b Colour:fields.Colour:string Image URL:fields.imageUrl NAME:fields.name SKU:id Sale-Price:fields.sale_price] [Colour] 0 map[Colour:red a_b:y imageUrl:https://x/y name:007 sale_price:4.5]"
	p, err := look("SKU,NAME,Sale-Price,Image URL,Colour,A B\na,007,4.5,https://x/y,red,y\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.Mapping, p.New, p.Refused, p.Rows[0].Fields); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	p, err = look(`{"SKU":"a","Name":"007","salePrice":4.5,"fields":{"IMAGE_URL":"https://x/y"}}` + "\n" + `{"id":"b","name":"x","Name":"y"}` + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.Rows[0].Fields, p.Refused, p.Wrong[0].Field, p.New); got != "map[imageUrl:https://x/y name:007 sale_price:4.5] 1name[]" {
		t.Error(got)
	}
	if _, err := look("id,Name,name\na,x,y\n"); err == nil || !strings.Contains(err.Error(), "two columns for fields.name") {
		t.Error(err)
	}
}
