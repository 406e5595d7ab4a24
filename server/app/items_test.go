package app_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/engage"
)

// catalogued is a story with a catalogue of products and a campaign about the one that an
// event names.
func catalogued(t *testing.T, change ...func(*app.Options)) *story {
	t.Helper()
	s := newStory(t, change...)
	s.must("PUT", "/api/v1/catalogues/products", map[string]any{"currency": "EUR", "fields": map[string]any{"name": "string", "price": "money"}}, nil)
	s.item("tea", map[string]any{"name": "Tea", "price": 4.5, "goes_with": "pot"})
	s.item("pot", map[string]any{"name": "Pot", "price": 20})
	s.campaign("seen", func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "event", "event": "viewed"}
		c["audience"], c["context"] = nil, nil
		c["item"] = map[string]any{"catalogue": "products", "property": "product.id"}
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{
			"title":    `{{ item.name }} {{ item.price | money: item.currency }}{% assign p = catalog.products[item.goes_with] %}{% if p %} + {{ p.name }}{% endif %}`,
			"channels": []string{"in_app"},
		}}}
	})
	return s
}

func (s *story) item(id string, fields map[string]any) {
	s.t.Helper()
	s.must("POST", "/api/v1/catalogues/products/items", map[string]any{"items": []any{map[string]any{"id": id, "fields": fields}}}, nil)
}

func (p *phone) views(product string) {
	p.s.t.Helper()
	if _, err := p.Track("viewed", map[string]any{"product": map[string]any{"id": product}}); err != nil {
		p.s.t.Fatal(err)
	}
}

// A product, from the API to a screen; with its new price after that was changed; what was
// deleted is a hole. The tape of all that gives the same again, though the store that it
// is played on has no item at all.
func TestItemsGoTheWholeWayAndIntoTheLog(t *testing.T) {
	var file bytes.Buffer
	s := catalogued(t, func(o *app.Options) { o.Tape = &file })
	shown := 0
	see := func(name, product, want string) {
		t.Helper()
		p := s.phone(name, "android", nil).agree().foreground()
		p.views(product)
		s.eventually("the phone shows the product", func() bool { return len(p.shows()) == 1 })
		if got := p.shows()[0]; got != want {
			t.Errorf("%s was shown %q, want %q", name, got, want)
		}
		shown++
	}
	see("ada", "tea", "Tea €\u00a04,50 + Pot")
	s.item("tea", map[string]any{"name": "Tea", "price": 3})
	see("bob", "tea", "Tea €\u00a03,00")
	if code := s.call("DELETE", "/api/v1/catalogues/products/items/tea", nil, nil); code != 204 {
		t.Fatalf("deleting: %d", code)
	}
	cleo := s.phone("cleo", "android", nil).agree().foreground()
	cleo.views("tea")
	d := s.want(cleo, "seen", engage.Suppressed, engage.ReasonRender)
	saw := ""
	for _, g := range d.Gates {
		saw += fmt.Sprint(g.Gate, " ", g.Saw.Values()["items"], g.Saw.Values()["missing"], "; ")
	}
	if want := "items [map[catalogue:products id:tea there:false]] <nil>; "; !bytes.Contains([]byte(saw), []byte(want)) || !bytes.Contains([]byte(saw), []byte("item.name")) {
		t.Errorf("the trace says %s", saw)
	}
	s.stop()
	tape, err := app.ReadTape(&file)
	if err != nil {
		t.Fatal(err)
	}
	if n := tape.Live.Digests()["decisions"].Documents; n != shown+1 {
		t.Fatalf("%d decisions on the tape", n)
	}
	got := replayed(t, tape, app.ReplayOptions{Log: embeddedLog(t), Store: sqliteStore(t, tape.At)})
	if d := got.Difference(tape.Live); d != "" {
		t.Error(d)
	}
}

// A file of items that is cut off by a restart goes on, is in the store whole, and its
// items are shown.
func TestAnUploadedFileOfItemsIsShown(t *testing.T) {
	s := catalogued(t)
	var u uploadState
	s.must("POST", "/api/v1/uploads", map[string]any{"kind": "items", "catalogue": "products", "mapping": map[string]string{"SKU": "id", "Name": "fields.name", "Price": "fields.price"}}, &u)
	var b strings.Builder
	b.WriteString("SKU,Name,Price\n")
	for i := range 700 {
		fmt.Fprintf(&b, "sku-%d,Product %d,%d.50\n", i, i, i)
	}
	table := b.String() + "sku-x,Dear,very\n"
	s.content(&u, table[:5000], false)
	s.stop()
	s.serve()
	s.must("GET", "/api/v1/uploads/"+u.ID, nil, &u)
	s.content(&u, table[u.Received:], true)
	s.processed(&u)
	var k struct{ Items int }
	s.must("GET", "/api/v1/catalogues/products", nil, &k)
	if u.Taken != 700 || u.Refused != 1 || k.Items != 702 {
		t.Errorf("%+v, %d items", u, k.Items)
	}
	p := s.phone("ada", "android", nil).agree().foreground()
	p.views("sku-42")
	s.eventually("the phone shows the product", func() bool { return len(p.shows()) == 1 })
	if got := p.shows()[0]; got != "Product 42 €\u00a042,50" {
		t.Errorf("shown %q", got)
	}
}
