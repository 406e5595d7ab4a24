package app

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/items"
	"github.com/footfall-engage/footfall/server/partition"
)

// openItems wires the items of catalogues. They are in the store beside the loops: a
// file of a million delays no send.
func (a *App) openItems() {
	a.items = items.New(items.Options{
		Store:     a.states,
		Catalogue: func(workspace, id string) *engage.Catalogue { return a.catalog.Now().Catalogue(workspace, id) },
		Learn:     a.catalog.LearnFields,
		Now:       a.o.Clock.Now,
	})
}

// answerItems reads the items that decisions ask for, those of all entries at once, and
// takes the answers to the partitions of the persons. Answers of one partition's asks stay
// in their order; one that comes again is known by where it is from. While the store does
// not answer, the asks wait here: what waits for them has its timer.
func (r *router) answerItems(ctx context.Context, entries []engage.Entry) error {
	asks := make([]engage.ItemsAsk, len(entries))
	refs := map[string][]engage.ItemRef{} // by workspace, one after the other
	for i, e := range entries {
		if err := json.Unmarshal(e.Body, &asks[i]); err != nil {
			return fmt.Errorf("decode items_ask: %w", err)
		}
		refs[e.Workspace()] = append(refs[e.Workspace()], asks[i].Refs...)
	}
	known := map[string][]engage.KnownItem{}
	for ws, all := range refs {
		var err error
		if known[ws], err = r.items(ctx, ws, all); err != nil {
			return err
		}
	}
	by := map[*partition.Partition][]engage.Entry{}
	for i, e := range entries {
		n := len(asks[i].Refs)
		body, err := json.Marshal(engage.Items{V: 1, Items: known[e.Workspace()][:n:n]})
		if err != nil {
			return fmt.Errorf("encode items: %w", err)
		}
		known[e.Workspace()] = known[e.Workspace()][n:]
		e.Kind, e.Body = engage.KindItems, body
		// What the partition says itself comes by another way, which this may overtake:
		// this is a source of its own.
		e.From.Partition = "items:" + e.From.Partition
		p := r.actOf(e.Key)
		by[p] = append(by[p], e)
	}
	for _, p := range r.act {
		if es := by[p]; len(es) > 0 {
			if err := p.Append(ctx, es); err != nil {
				return err
			}
		}
	}
	return nil
}
