package api

import (
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// sampleShelves gives texts an item of any id in every catalogue that there is, with the
// fields that it declares (template.Items), so that a text is tried for what is wrong with
// it and not for the items that nobody has named yet.
type sampleShelves struct {
	now       *catalog.Snapshot
	workspace string
}

// Item implements template.Items.
func (s sampleShelves) Item(catalogue, id string) (map[string]any, error) {
	k := s.now.Catalogue(s.workspace, catalogue)
	if k == nil || !engage.ValidID(id) {
		return nil, nil
	}
	return k.Sample(id, func(string) string { return "a" }), nil
}

// itemSamples are the variables of a campaign's texts that catalogues give, for
// template.Content's Trial and Examples.
func itemSamples(c *engage.Campaign, now *catalog.Snapshot) map[string]any {
	shelves := sampleShelves{now, c.Workspace}
	vars := map[string]any{"catalog": shelves}
	if c.Item == nil {
		return vars
	}
	if item, err := shelves.Item(c.Item.Catalogue, "a"); err == nil && item != nil {
		vars["item"] = item
	}
	return vars
}
