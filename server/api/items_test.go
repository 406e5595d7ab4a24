package api_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/items"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// items are the real ones, on a store of the test's.
func (s *site) items() api.Items {
	s.t.Helper()
	st, err := sqlite.Open(s.t.Context(), sqlite.Options{Path: filepath.Join(s.t.TempDir(), "items.db"), Collections: items.Collections(), Now: s.clock.Now})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := st.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return items.New(items.Options{
		Store: st, Now: s.clock.Now, Learn: s.catalog.LearnFields,
		Catalogue: func(ws, id string) *engage.Catalogue { return s.catalog.Now().Catalogue(ws, id) },
	})
}

// shelf makes the catalogue of the example with an item, and asks below it.
func (s *site) shelf() func(method, path, body string, header ...string) answer {
	s.t.Helper()
	call := func(method, path, body string, header ...string) answer {
		s.t.Helper()
		h := map[string]string{}
		for i := 0; i+1 < len(header); i += 2 {
			h[header[i]] = header[i+1]
		}
		return s.do(request{method: method, path: "/api/v1/catalogues" + path, body: body, role: catalog.Admin, header: h})
	}
	call("PUT", "/products", `{"currency":"EUR","fields":{"name":"string","price":"money"}}`).want(201)
	call("PUT", "/products/items/tea-1", `{"fields":{"name":"Tea","price":4.5}}`).want(201)
	return call
}

func TestItemsAreMadeChangedAndDeleted(t *testing.T) {
	s := newSite(t)
	call := s.shelf()
	call("PUT", "/products/items/tea-1", `{"fields":{"name":"Green tea"}}`).wantProblem(428, "precondition_required", "If-Match")
	call("PUT", "/products/items/tea-1", `{"fields":{"name":"Green tea"}}`, "If-Match", `"7"`).wantProblem(412, "conflict", "version")
	call("PUT", "/products/items/tea-1", `{"fields":{"name":"Green tea","price":5}}`, "If-Match", `"1"`).want(200)
	if a := call("GET", "/products/items/tea-1", ""); !strings.Contains(string(a.body), `"fields":{"name":"Green tea","price":5}`) || a.header.Get("ETag") != `"2"` {
		t.Errorf("%s %s", a.header.Get("ETag"), a.body)
	}
	p := call("PUT", "/products/items/pot", `{"fields":{"name":3,"price":-1,"image":{"a":1}}}`)
	p.wantProblem(422, "invalid", "fields.image")
	for _, field := range []string{`"field":"fields.name"`, `"field":"fields.price"`} {
		if !strings.Contains(string(p.body), field) {
			t.Errorf("%s is not told: %s", field, p.body)
		}
	}
	call("PUT", "/none/items/pot", `{"fields":{}}`).wantProblem(404, "not_found", "id")
	call("GET", "/products/items/none", "").wantProblem(404, "not_found", "id")
	call("PUT", "/products", `{"version":1,"fields":{"name":"url","price":"money"}}`).wantProblem(409, "conflict", "fields.name")
	call("DELETE", "/products", "").wantProblem(409, "conflict", "id")
	call("DELETE", "/products/items/tea-1", "", "If-Match", `"2"`).want(204)
	call("DELETE", "/products/items/tea-1", "").wantProblem(404, "not_found", "item")
	call("DELETE", "/products", "").want(204)
}

func TestManyItemsAreTakenWithAReportOfEach(t *testing.T) {
	s := newSite(t)
	call := s.shelf()
	var report struct {
		Taken, Refused int
		Items          []struct {
			Index   int
			ID      string
			Outcome string
			Version int64
			Errors  []struct{ Field string }
		}
	}
	a := call("POST", "/products/items", `{"items":[{"id":"tea-1","fields":{"name":"Tea","price":4.5}},{"id":"pot","fields":{"price":"x","name":1}},
		{"id":"cup","fields":{"name":"Cup","colour":"red"}},{"id":"tea-1","version":9,"delete":true},{"id":"gone","delete":true},{"id":"mug","fields":{"colour":7}}]}`)
	a.want(200, &report)
	var got []string
	for _, x := range report.Items {
		line := fmt.Sprint(x.ID, " ", x.Outcome, " ", x.Version)
		for _, e := range x.Errors {
			line += " " + e.Field
		}
		got = append(got, line)
	}
	want := "tea-1 unchanged 1|pot refused 0 fields.name fields.price|cup created 1|tea-1 refused 1 version|gone unchanged 0|mug refused 0 fields.colour"
	if strings.Join(got, "|") != want || report.Taken != 3 || report.Refused != 3 {
		t.Errorf("%s\nwant %s", strings.Join(got, "|"), want)
	}
	call("POST", "/products/items", `{"items":[]}`).wantProblem(422, "invalid", "items")
	list := func(query string) string {
		var page struct {
			Items []struct{ ID string }
			Next  string
		}
		call("GET", "/products/items"+query, "").want(200, &page)
		return fmt.Sprint(page.Items) + fmt.Sprint(page.Next != "")
	}
	for query, want := range map[string]string{
		"": "[{cup} {tea-1}]false", "?limit=1": "[{cup}]true", "?prefix=tea": "[{tea-1}]false", "?where=price:4.5": "[{tea-1}]false", "?where=price:4.5,name:Cup": "[]false",
	} {
		if got := list(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	call("GET", "/products/items?where=size:1", "").wantProblem(422, "invalid", "where[0]")
	call("GET", "/products/items?where=price:dear", "").wantProblem(422, "invalid", "where[0]")
	var k struct {
		Items  int
		Fields map[string]string
	}
	call("GET", "/products", "").want(200, &k)
	if k.Items != 2 || k.Fields["colour"] != "string" {
		t.Errorf("%+v", k)
	}
	var left struct{ Left int }
	call("DELETE", "/products/items", "").want(200, &left)
	if left.Left != 0 || list("") != "[]false" {
		t.Errorf("%+v left", left)
	}
}

// What the texts name of catalogues and is not there is a finding, not a refusal: it may
// come.
func TestUnknownCataloguesAndFieldsAreFindings(t *testing.T) {
	s := newSite(t)
	s.shelf()
	c := campaign("trigger", `{"type":"event","event":"viewed"}`, "item", `{"catalogue":"products","property":"product"}`,
		"arms", `[{"id":"a","message":{"title":"{{ item.name }} {{ item.colour }} {{ item.price | money: item.currency }}","body":"{{ catalog.shoes[\"x\"].name }} {{ catalog.products[\"y\"].size }}","deep_link":"shop://x"}}]`)
	var saved struct {
		Findings []struct{ Kind, Field string }
	}
	s.put("/api/v1/campaigns/seen", c).want(201, &saved)
	want := "[{unknown_item_field arms[0].message.title} {unknown_catalogue arms[0].message.body} {unknown_item_field arms[0].message.body}]"
	if got := fmt.Sprint(saved.Findings); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	s.put("/api/v1/campaigns/none", campaign("trigger", `{"type":"event","event":"viewed"}`, "item", `{"catalogue":"shoes","property":"product"}`)).wantProblem(422, engage.Invalid, "item.catalogue")
	var valid struct {
		Valid  bool
		Errors []struct{ Field string }
	}
	s.do(request{method: "POST", path: "/api/v1/campaigns/validate", role: catalog.Viewer, body: campaign("trigger", `{"type":"event","event":"viewed"}`, "item", `{"catalogue":"shoes","property":"product"}`)}).want(200, &valid)
	if valid.Valid || fmt.Sprint(valid.Errors) != "[{item.catalogue}]" {
		t.Errorf("%+v", valid)
	}
}

// A preview has the items as they are now, those that others name too; where nobody says
// which item it is about, the first of the catalogue stands for it.
func TestAPreviewShowsItems(t *testing.T) {
	s := newSite(t)
	call := s.shelf()
	call("PUT", "/products/items/pot", `{"fields":{"name":"Pot","price":20,"with":"tea-1","image":"https://shop.example/pot.png"}}`).want(201)
	s.put("/api/v1/campaigns/seen", campaign("trigger", `{"type":"event","event":"viewed"}`, "item", `{"catalogue":"products","property":"product"}`,
		"arms", `[{"id":"a","message":{"title":"{{ item.name }} {{ item.price | money: item.currency }}","body":"with {{ catalog.products[item.with].name | default: \"nothing\" }}","image_url":"{{ item.image | default: \"\" }}"}}]`)).want(201)
	for body, want := range map[string]string{
		`"properties":{"product":"pot"}`:   "Pot €20.00|with Tea|https://shop.example/pot.png|true|[]",
		`"properties":{"product":"tea-1"}`: "Tea €4.50|with nothing||true|[]",
		`"properties":{"product":"gone"}`:  "|with nothing||false|[]",
		`"locale":"en"`:                    "Pot €20.00|with Tea|https://shop.example/pot.png|true|[item]",
	} {
		var got struct {
			Previews []struct {
				Title, Body string
				Image       string `json:"image_url"`
				Sendable    bool
				Samples     []string
			}
		}
		s.do(request{method: "POST", path: "/api/v1/campaigns/preview", role: catalog.Viewer, body: `{"campaign_id":"seen","platform":"ios",` + body + `}`}).want(200, &got)
		p := got.Previews[0]
		if line := fmt.Sprint(strings.TrimSpace(p.Title), "|", p.Body, "|", p.Image, "|", p.Sendable, "|", p.Samples); line != want {
			t.Errorf("%s: %s, want %s", body, line, want)
		}
	}
}
