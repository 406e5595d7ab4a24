package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestItemsAreSeenAndChanged(t *testing.T) {
	edited := func(outcome string) string { return `{"items":[{"id":"tea","outcome":"` + outcome + `","version":2}]}` }
	f := newFakeServer(t, known(map[string]string{
		"GET /api/v1/catalogues":                          `{"items":[{"id":"products","version":3,"currency":"EUR","fields":{"price":"money","name":"string"}}]}`,
		"GET /api/v1/catalogues/products":                 `{"id":"products","version":3,"items":1}`,
		"PUT /api/v1/catalogues/products":                 `{"id":"products","version":4}`,
		"GET /api/v1/catalogues/products/items?limit=200": `{"items":[{"id":"tea","version":2,"fields":{"name":"Tea"},"updated_at":"2026-03-02T09:30:00Z"}]}`,
		"GET /api/v1/catalogues/products/items?limit=200&prefix=t&where=name%3ATea%2Cprice%3A4": `{"items":[]}`,
		"GET /api/v1/catalogues/products/items/tea":                                             `{"id":"tea","version":2,"fields":{"price":4.5,"name":"Tea"},"updated_at":"2026-03-02T09:30:00Z"}`,
		"POST /api/v1/catalogues/products/items":                                                edited("changed"),
		"POST /api/v1/catalogues/strict/items":                                                  `{"items":[{"id":"tea","outcome":"refused","errors":[{"field":"fields.price","reason":"must be a number"},{"field":"fields.x","reason":"is no field"}]}]}`,
		"DELETE /api/v1/catalogues/products/items/tea":                                          "",
		"DELETE /api/v1/catalogues/products/items":                                              `{"left":0}`,
		"PUT /api/v1/catalogues/fresh":                                                          `{"id":"fresh","version":1}`,
		"DELETE /api/v1/catalogues/products":                                                    "",
	}, 404, `{"code":"not_found","field":"id","reason":"there is none","detail":"id: there is none"}`))
	file := filepath.Join(t.TempDir(), "x.json")
	if err := os.WriteFile(file, []byte(`{"name":"Tea"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	old := tempFile(t, `{"version":2}`)
	for _, c := range []struct {
		args  string
		code  int
		want  string // in what is printed
		asked string // the last request begins so
	}{
		{"items catalogues", 0, "name:string price:money", "GET /api/v1/catalogues"},
		{"items define products " + file, 0, "catalogue products has version 4", `PUT /api/v1/catalogues/products {"name":"Tea","version":3}`},
		{"items define products " + old, 0, "catalogue products has version 4", `PUT /api/v1/catalogues/products {"version":2}`},
		{"items define fresh " + file, 0, "catalogue fresh has version 1", `PUT /api/v1/catalogues/fresh {"name":"Tea"}`},
		{"items catalogues --json", 0, `{"id":"products","version":3,"currency":"EUR"`, "GET /api/v1/catalogues"},
		{"items list products", 0, `{"name":"Tea"}`, "GET /api/v1/catalogues/products/items"},
		{"items list products --json", 0, `"version":2`, "GET /api/v1/catalogues/products/items"},
		{"items list products --prefix t --where name:Tea --where price:4", 0, "UPDATED", "GET /api/v1/catalogues/products/items?limit=200&prefix=t"},
		{"items show products tea", 0, "  price: 4.5", "GET /api/v1/catalogues/products/items/tea"},
		{"items show products none", 1, "there is none", "GET "},
		{"items put products tea " + file, 0, "item tea is changed, version 2", `POST /api/v1/catalogues/products/items {"items":[{"fields":{"name":"Tea"},"id":"tea"}]}`},
		{"items put strict tea " + file, 1, "fields.price", "POST "},
		{"items delete products tea", 0, "", "DELETE /api/v1/catalogues/products/items/tea"},
		{"items clear products", 2, "--yes", ""},
		{"items clear products --yes", 0, "", "DELETE /api/v1/catalogues/products/items"},
		{"items clear products --yes --and-catalogue", 0, "", "DELETE /api/v1/catalogues/products"},
		{"import items " + file, 2, "--catalogue", ""},
	} {
		code, out, errs := f.run(strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+errs, c.want) || !strings.HasPrefix(f.asked, c.asked) || c.asked == "" && f.asked != "" {
			t.Errorf("%s: %d, %q, %q, asked %q", c.args, code, out, errs, f.asked)
		}
	}
}
