package template_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/template"
)

// shop has items, by "<catalogue>/<id>", and remembers which were looked at.
type shop struct {
	items map[string]map[string]any
	asked []string
	most  int
}

func (s *shop) Item(catalogue, id string) (map[string]any, error) {
	key := catalogue + "/" + id
	if s.asked = append(s.asked, key); s.most > 0 && len(s.asked) > s.most {
		return nil, errors.New("looks at too many items")
	}
	return s.items[key], nil
}

func newShop() *shop {
	return &shop{items: map[string]map[string]any{
		"products/sku-1": {"id": "sku-1", "name": "Tea", "price": 4.5, "currency": "EUR", "related": []any{"sku-2", "sku-3"}, "from": "2026-03-02T09:30:00Z"},
		"products/sku-2": {"id": "sku-2", "name": "Pot", "price": 20.0},
		"products/12":    {"id": "12", "name": "Dozen"},
	}}
}

func TestTextsLookAtItemsOfCatalogues(t *testing.T) {
	for source, want := range map[string]string{
		`{{ catalog.products["sku-1"].name }}`:                                                                   "Tea",
		`{{ catalog["products"]["sku-1"]["name"] }}`:                                                             "Tea",
		`{{ catalog.products[profile.last].price | money: "EUR" }}`:                                              "€4.50",
		`{{ item.price | money: item.currency }}, {{ item.from | date: "%d.%m.%Y" }}`:                            "€4.50, 02.03.2026",
		`{% assign p = catalog.products["sku-2"] %}{{ p.name | upcase }} {{ p.size }}`:                           "POT 3",
		`{% for id in item.related %}{{ catalog.products[id].name | default: "-" }} {% endfor %}`:                "Pot - ",
		`{% if catalog.products["none"] %}there{% else %}gone{% endif %}`:                                        "gone",
		`{% if catalog.products["sku-1"].price < catalog.products["sku-2"].price %}cheaper{% endif %}`:           "cheaper",
		`{{ catalog.products["none"].name | default: "something" }} {{ catalog.none["x"].name | default: "-" }}`: "something -",
		`{{ catalog.products[12].name }}`:                                                                        "Dozen",
		`{{ catalog.products[catalog.products["sku-1"].related[0]].name }}`:                                      "Pot",
	} {
		tpl, err := template.Parse(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		s := newShop()
		got, err := tpl.Render(map[string]any{"catalog": s, "item": s.items["products/sku-1"], "profile": map[string]any{"last": "sku-1"}}, time.Time{})
		if got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", source, got, err, want)
		}
	}
}

// What an item lacks is a hole, and named as it stands in the text.
func TestAnItemThatIsNotThereIsAHole(t *testing.T) {
	for source, want := range map[string]string{
		`{{ catalog.products["sku-9"].name }}`:        `catalog.products["sku-9"].name is missing`,
		`{{ catalog.products["sku-1"].colour }}`:      `catalog.products["sku-1"].colour is missing`,
		`{{ item.name }}`:                             "item.name is missing",
		`{{ catalog.products[profile.last].name }}`:   "profile.last is missing",
		`{{ catalog.products }}`:                      "an object is not a text",
		`{{ catalog.products["sku-1"] }}`:             "an object is not a text",
		`{{ catalog | join }}`:                        "is not a list",
		`{% for p in catalog.products %}{% endfor %}`: "is not a list",
		`{{ catalog.products["a"].x | default: "" }}{{ catalog.products["b"].x | default: "" }}{{ catalog.products["c"].x | default: "" }}`: "too many items",
	} {
		tpl, err := template.Parse(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		s := newShop()
		s.most = 2
		_, err = tpl.Render(map[string]any{"catalog": s}, time.Time{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
}

// Whoever gives the items learns from Look what Render will ask for, as far as it can be
// told: a text in another language than the phone's asks for nothing.
func TestLookAsksForWhatTheTextsAskFor(t *testing.T) {
	c, err := template.ParseContent(engage.Content{
		Title: `{{ catalog.products["sku-7"].name }}`, Body: `{% for id in item.related %}{{ catalog.products[id].name }}{% endfor %}`,
		Locale: "en", Locales: map[string]engage.LocalContent{"nl": {Title: `{{ catalog.producten["x"].name }}`}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for locale, want := range map[string]string{"en-US": "[products/sku-7 products/sku-2 products/sku-3]", "nl-NL": "[producten/x products/sku-2 products/sku-3]"} {
		s := newShop()
		if c.Look(map[string]any{"catalog": s, "item": s.items["products/sku-1"]}, time.Time{}, locale); fmt.Sprint(s.asked) != want {
			t.Errorf("%s: %v, want %s", locale, s.asked, want)
		}
	}
}

func TestMentionsAreTheCataloguesAndFieldsOfTheTexts(t *testing.T) {
	c, err := template.ParseContent(engage.Content{
		Title:    `{{ catalog.products["a"].name }} {{ item.price | money: item.currency }}`,
		Body:     `{% assign p = catalog.shoes[item.related[0]] %}{{ p.colour }} {{ p.id }}{% assign q = item %}{{ q["brand"] }} {{ catalog[profile.attributes.x]["y"].z }}`,
		ImageURL: `{{ catalog.products[profile.attributes.x].image }}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(c.Mentions())
	want := "[{title products } {title products name} {title  price} {title  currency} {body shoes } {body  related} {body shoes colour} {body  brand} {image_url products } {image_url products image}]"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if v := c.Variables(); fmt.Sprint(v) != "[catalog item profile]" {
		t.Errorf("%v", v)
	}
}
