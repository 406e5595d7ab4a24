package catalog_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func TestAFieldOfACatalogueKeepsItsType(t *testing.T) {
	c := fresh(t)
	k := &engage.Catalogue{ID: "products", Workspace: "acme", Fields: map[string]engage.FieldType{"name": engage.FieldString}}
	must(t, c.PutCatalogue(t.Context(), by, k, 0))
	put := func(version int64, fields map[string]engage.FieldType) error {
		return c.PutCatalogue(t.Context(), by, &engage.Catalogue{ID: "products", Workspace: "acme", Fields: fields}, version)
	}
	wantError(t, "another type", put(1, map[string]engage.FieldType{"name": engage.FieldURL}), engage.Conflict, "fields.name")
	wantError(t, "a field less", put(1, nil), engage.Conflict, "fields.name")
	wantError(t, "a stale version", put(7, k.Fields), engage.Conflict, "version")
	wantError(t, "a bad type", put(1, map[string]engage.FieldType{"name": "text"}), engage.Invalid, "fields.name")
	must(t, put(1, map[string]engage.FieldType{"name": engage.FieldString, "price": engage.FieldMoney}))
	if got := c.Now().Catalogue("acme", "products"); got.Version != 2 || got.Fields["price"] != engage.FieldMoney {
		t.Errorf("%+v", got)
	}
	if c.Now().Catalogue("beta", "products") != nil {
		t.Error("another workspace has it")
	}
}

// Many who learn at once lose nothing of each other, and the first type of a field stays.
func TestFieldsAreLearnedSideBySide(t *testing.T) {
	c := fresh(t)
	must(t, c.PutCatalogue(t.Context(), by, &engage.Catalogue{ID: "products", Workspace: "acme"}, 0))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			kind := []engage.FieldType{engage.FieldString, engage.FieldNumber}[i%2]
			if err := c.LearnFields(context.Background(), by, "acme", "products", map[string]engage.FieldType{fmt.Sprint("f", i): kind, "both": kind}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	k := c.Now().Catalogue("acme", "products")
	if len(k.Fields) != 9 || k.Fields["f3"] != engage.FieldNumber || k.Fields["both"] == "" {
		t.Errorf("%v", k.Fields)
	}
	version := k.Version
	must(t, c.LearnFields(t.Context(), by, "acme", "products", map[string]engage.FieldType{"both": engage.FieldBool}))
	if got := c.Now().Catalogue("acme", "products"); got.Version != version || got.Fields["both"] == engage.FieldBool {
		t.Errorf("what is known is learned again: %+v", got)
	}
	wantError(t, "no catalogue", c.LearnFields(t.Context(), by, "acme", "shoes", k.Fields), engage.NotFound, "id")
}

func TestACatalogueThatACampaignIsAboutStays(t *testing.T) {
	c := fresh(t)
	cam := campaign("acme", "tea", func(c *engage.Campaign) {
		c.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "viewed"}
		c.Item = &engage.CampaignItem{Catalogue: "products", Property: "id"}
	})
	wantError(t, "no such catalogue", c.PutCampaign(t.Context(), by, cam, 0), engage.Invalid, "item.catalogue")
	must(t, c.PutCatalogue(t.Context(), by, &engage.Catalogue{ID: "products", Workspace: "acme"}, 0))
	must(t, c.PutCampaign(t.Context(), by, cam, 0))
	wantError(t, "in use", c.DeleteCatalogue(t.Context(), by, "acme", "products", catalog.AnyVersion), engage.Conflict, "id")
	ended := *cam
	ended.Status = engage.Live
	must(t, c.PutCampaign(t.Context(), by, &ended, 1))
	ended.Status = engage.Ended
	must(t, c.PutCampaign(t.Context(), by, &ended, 2))
	must(t, c.DeleteCatalogue(t.Context(), by, "acme", "products", 1))
	if c.Now().Catalogue("acme", "products") != nil {
		t.Error("it is still there")
	}
}
