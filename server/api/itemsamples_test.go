package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/catalog"
)

// A campaign whose texts look at items that its catalogue declares has nothing wrong: the
// samples are of the types of the fields. What is not declared is still told.
func TestTextsAreTriedWithItemsOfTheDeclaredFields(t *testing.T) {
	s := newSite(t)
	call := s.shelf()
	call("PUT", "/all", `{"currency":"EUR","fields":{"name":"string","price":"money","stock":"number","sale":"bool","until":"time","link":"url","photo":"image","tags":"strings"}}`).want(201)
	arm := func(title string) string {
		return campaign("trigger", `{"type":"event","event":"viewed"}`, "item", `{"catalogue":"all","property":"product_id"}`,
			"arms", `[{"id":"a","message":{"title":"`+title+`","body":"{{ item.price | money: item.currency }} {{ item.stock | plus: 1 }} {{ item.until | date: \"%d\" }} {{ item.tags | join: \", \" }} {{ catalog.products[\"tea-1\"].price | money: \"EUR\" }} {% if item.sale %}sale{% endif %}","deep_link":"{{ item.link }}","image_url":"{{ item.photo }}"}}]`)
	}
	type told struct {
		Warnings []struct{ Field string }
		Findings []struct{ Kind, Field string }
	}
	var saved, valid told
	s.put("/api/v1/campaigns/seen", arm("{{ item.name }}")).want(201, &saved)
	s.do(request{method: "POST", path: "/api/v1/campaigns/validate", role: catalog.Viewer, body: arm("{{ item.name }}")}).want(200, &valid)
	for what, got := range map[string]told{"saved": saved, "validated": valid} {
		if len(got.Warnings) != 0 || len(got.Findings) != 0 {
			t.Errorf("%s: %+v", what, got)
		}
	}
	var wrong told
	s.put("/api/v1/campaigns/other", arm("Now {{ item.colour }}")).want(201, &wrong)
	if len(wrong.Warnings) != 1 || fmt.Sprint(wrong.Findings) != "[{unknown_item_field arms[0].message.title}]" {
		t.Errorf("%+v", wrong)
	}
}

// Where nobody says which item a preview is about, it is the first with what that lacks, or
// one that is made up.
func TestAPreviewMakesUpWhatAnItemLacks(t *testing.T) {
	s := newSite(t)
	call := s.shelf()
	call("PUT", "/bare", `{"currency":"EUR","fields":{"name":"string","price":"money"}}`).want(201)
	call("PUT", "/products/items/a-first", `{"fields":{"name":"Cup"}}`).want(201)
	for catalogue, want := range map[string]string{"products": "Cup €1.00|true|[item]", "bare": "name €1.00|true|[item]"} {
		var got previewAnswer
		c := campaign("trigger", `{"type":"event","event":"viewed"}`, "item", `{"catalogue":"`+catalogue+`","property":"product_id"}`,
			"arms", `[{"id":"a","message":{"title":"{{ item.name }} {{ item.price | money: item.currency }}"}}]`)
		s.do(request{method: "POST", path: "/api/v1/campaigns/preview", role: catalog.Viewer, body: `{"platform":"ios","campaign":` + c + `}`}).want(200, &got)
		p := got.Previews[0]
		if line := fmt.Sprint(strings.TrimSpace(p.Title), "|", p.Sendable, "|", p.Samples); line != want {
			t.Errorf("%s: %s, want %s", catalogue, line, want)
		}
	}
}
