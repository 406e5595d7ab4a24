package catalog

import (
	"context"
	"maps"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Catalogues are what items stand in, without their items (package items).
const Catalogues Kind = "catalogue"

type catalogue struct{ *engage.Catalogue }

func (c catalogue) head() (string, string, *int64, *time.Time) {
	return c.Workspace, c.ID, &c.Version, &c.UpdatedAt
}

// PutCatalogue creates or replaces a catalogue. A field that is there keeps its type: the
// items have it so.
func (c *Catalog) PutCatalogue(ctx context.Context, by string, k *engage.Catalogue, expected int64) error {
	return c.put(ctx, by, Catalogues, catalogue{k}, expected, func(s *Snapshot) error {
		all := s.catalogues[k.Workspace]
		old := all[k.ID]
		if old == nil && len(all) >= engage.MaxCatalogues {
			return engage.Errorf(engage.TooLarge, "id", "the workspace has %d catalogues, at most %d", len(all), engage.MaxCatalogues)
		}
		if old == nil {
			return nil
		}
		for name, t := range old.Fields {
			switch is, there := k.Fields[name]; {
			case !there:
				return engage.Errorf(engage.Conflict, "fields."+name, "is there as %s, and items may have it: a field stays", t)
			case is != t:
				return engage.Errorf(engage.Conflict, "fields."+name, "is %s, and items have it so: make another field, or a catalogue", t)
			}
		}
		return nil
	})
}

// LearnFields adds fields to a catalogue that does not have them yet, as the server itself
// learned them of an item that a key brought. Of a field that somebody else has added
// meanwhile, that one's type stays.
func (c *Catalog) LearnFields(ctx context.Context, by, workspace, id string, fields map[string]engage.FieldType) error {
	for {
		old := c.Now().Catalogue(workspace, id)
		if old == nil {
			return engage.Errorf(engage.NotFound, "id", "there is no catalogue %q", id)
		}
		k := *old
		k.Fields = maps.Clone(old.Fields)
		if k.Fields == nil {
			k.Fields = map[string]engage.FieldType{}
		}
		for name, t := range fields {
			if _, there := k.Fields[name]; !there {
				k.Fields[name] = t
			}
		}
		if len(k.Fields) == len(old.Fields) {
			return nil
		}
		err := c.PutCatalogue(ctx, by, &k, old.Version)
		if now := c.Now().Catalogue(workspace, id); engage.CodeOf(err) == engage.Conflict && now != nil && now.Version != old.Version {
			continue
		}
		return err
	}
}

// DeleteCatalogue removes a catalogue that no campaign is about, unless that has ended.
// Its items are the caller's business.
func (c *Catalog) DeleteCatalogue(ctx context.Context, by, workspace, id string, expected int64) error {
	return c.remove(ctx, by, Catalogues, workspace, id, expected, func(s *Snapshot) error {
		for _, cam := range s.Campaigns(workspace) {
			if cam.Status != engage.Ended && cam.Item != nil && cam.Item.Catalogue == id {
				return engage.Errorf(engage.Conflict, "id", "campaign %q is about items of this catalogue", cam.ID)
			}
		}
		return nil
	})
}

// hasCatalogue refuses a campaign about an item of a catalogue that there is not. What
// its texts name besides is told as a finding (package api).
func (s *Snapshot) hasCatalogue(cam *engage.Campaign) error {
	if cam.Item != nil && s.Catalogue(cam.Workspace, cam.Item.Catalogue) == nil {
		return engage.Errorf(engage.Invalid, "item.catalogue", "there is no catalogue %q", cam.Item.Catalogue)
	}
	return nil
}

// Catalogue of a workspace; nil when there is none.
func (s *Snapshot) Catalogue(workspace, id string) *engage.Catalogue {
	return s.catalogues[workspace][id]
}

// Catalogues of a workspace, by id.
func (s *Snapshot) Catalogues(workspace string) []*engage.Catalogue {
	return byID(s.catalogues[workspace])
}
