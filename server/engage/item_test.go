package engage_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

// What fits is kept as it will be read; a field that does not is told by its name, each.
func TestAnItemFitsItsCatalogueFieldByField(t *testing.T) {
	c := &engage.Catalogue{ID: "products", Currency: "EUR", Fields: map[string]engage.FieldType{
		"name": engage.FieldString, "stock": engage.FieldNumber, "sale": engage.FieldBool, "from": engage.FieldTime,
		"price": engage.FieldMoney, "link": engage.FieldURL, "image": engage.FieldImage, "related": engage.FieldStrings,
	}}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	cases := []struct{ in, want, learned string }{
		{`{"name":"Tea","price":4.5,"image":"https://x.example/t.png","related":["a","b"]}`, `{"image":"https://x.example/t.png","name":"Tea","price":4.5,"related":["a","b"]}`, ""},
		{`{"from":"2026-03-02T09:30:00+01:00","sale":false,"link":"shop://p/1","stock":0}`, `{"from":"2026-03-02T08:30:00Z","link":"shop://p/1","sale":false,"stock":0}`, ""},
		{`{"name":null,"image":""}`, `{"image":""}`, ""},
		{
			`{"colour":"red","sizes":["s","m"],"weight":1.5,"eco":true,"since":"2026-03-02T09:30:00Z"}`,
			`{"colour":"red","eco":true,"since":"2026-03-02T09:30:00Z","sizes":["s","m"],"weight":1.5}`, "colour:string eco:bool since:time sizes:strings weight:number",
		},
		{
			`{"price":-1,"image":"shop://x","name":3,"sale":"yes","stock":"4","from":"soon","link":"no scheme","related":[1]}`,
			"fields.from fields.image fields.link fields.name fields.price fields.related fields.sale fields.stock", "",
		},
		{`{"price":"4.50"}`, "fields.price", ""},
		{`{"price":1e13}`, "fields.price", ""},
		{`{"id":"x","9to5":1,"a.b":1,"deep":{"a":1}}`, "fields.9to5 fields.a.b fields.deep fields.id", ""},
		{`{"name":"` + strings.Repeat("x", engage.MaxItem) + `"}`, "fields", ""},
	}
	for _, x := range cases {
		var in map[string]any
		if err := json.Unmarshal([]byte(x.in), &in); err != nil {
			t.Fatal(err)
		}
		fit, learned, wrong := c.Fit(in)
		got := string(fit)
		if len(wrong) > 0 {
			var at []string
			for _, e := range wrong {
				at = append(at, e.Field)
			}
			got = strings.Join(at, " ")
		}
		var types []string
		for _, name := range slices.Sorted(maps.Keys(learned)) {
			types = append(types, name+":"+string(learned[name]))
		}
		if got != x.want || strings.Join(types, " ") != x.learned {
			t.Errorf("%.80s: %s %v, want %s %s", x.in, got, types, x.want, x.learned)
		}
	}
}

func TestAClosedOrFullCatalogueLearnsNothing(t *testing.T) {
	closed := &engage.Catalogue{ID: "x", Closed: true, Fields: map[string]engage.FieldType{"a": engage.FieldString}}
	if _, learned, wrong := closed.Fit(map[string]any{"a": "1", "b": "2"}); len(wrong) != 1 || wrong[0].Field != "fields.b" || learned != nil {
		t.Errorf("%v %v", learned, wrong)
	}
	full := &engage.Catalogue{ID: "x", Fields: map[string]engage.FieldType{}}
	for i := range engage.MaxItemFields - 1 {
		full.Fields[fmt.Sprint("f", i)] = engage.FieldString
	}
	if _, learned, wrong := full.Fit(map[string]any{"x": 1.0}); len(wrong) > 0 || len(learned) != 1 {
		t.Errorf("%v %v", learned, wrong)
	}
	if _, _, wrong := full.Fit(map[string]any{"x": 1.0, "y": 2.0}); len(wrong) != 1 || wrong[0].Code != engage.TooLarge {
		t.Errorf("%v", wrong)
	}
}

func TestACatalogueIsRefusedByItsField(t *testing.T) {
	for want, change := range map[string]func(*engage.Catalogue){
		"":           func(*engage.Catalogue) {},
		"id":         func(c *engage.Catalogue) { c.ID = "Products" },
		"currency":   func(c *engage.Catalogue) { c.Currency = "eur" },
		"fields.id":  func(c *engage.Catalogue) { c.Fields = map[string]engage.FieldType{"id": engage.FieldString} },
		"fields.a":   func(c *engage.Catalogue) { c.Fields = map[string]engage.FieldType{"a": "text"} },
		"fields.a-b": func(c *engage.Catalogue) { c.Fields = map[string]engage.FieldType{"a-b": engage.FieldString} },
		"name":       func(c *engage.Catalogue) { c.Name = strings.Repeat("x", 201) },
	} {
		c := &engage.Catalogue{ID: "products"}
		change(c)
		field := ""
		if e, is := c.Validate().(*engage.Error); is && e != nil { //nolint:errorlint // Validate gives it as it is
			field = e.Field
		}
		if field != want {
			t.Errorf("refused by %q, want %q", field, want)
		}
	}
}
