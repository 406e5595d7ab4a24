package app

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/redeem"
	"github.com/footfall-engage/footfall/server/store"
)

// offers answers the API.
type offers struct {
	*redeem.Service
	states store.Store
}

// openOffers wires the pools of offers.
func (a *App) openOffers() {
	a.offers = offers{redeem.New(redeem.Options{
		Hot:    a.hot,
		Shared: func(workspace, code string) *engage.Offer { return a.catalog.Now().OfferByCode(workspace, code) },
	}), a.states}
}

// Counts implements api.Offers.
func (o offers) Counts(ctx context.Context, workspace, offer string) (api.OfferCounts, error) {
	var c api.OfferCounts
	q := store.Query{Workspace: workspace, IDPrefix: engage.HoldingPrefix((&engage.Offer{ID: offer}).LimitID())}
	err := o.states.Iterate(ctx, "state_act", q, func(d store.Doc) error {
		h, err := fromJSON[decide.Holding](d)
		c.Reserved += h.Used
		c.Leased += h.Free
		return err
	})
	return c, err
}

// fill adds the texts to codes that an owner has granted, and takes each grant on to the
// partition that it is for. Grants of one owner stay in their order; one that comes again
// is known by where it is from.
func (r *router) fill(ctx context.Context, entries []engage.Entry) error {
	for _, e := range entries {
		var g engage.LeaseGrant
		if err := json.Unmarshal(e.Body, &g); err != nil {
			return fmt.Errorf("decode grant: %w", err)
		}
		codes, err := r.codes(ctx, e.Workspace(), g.Pool, g.Codes)
		if err != nil {
			return err
		}
		g.Codes = codes
		if e.Body, err = json.Marshal(g); err != nil {
			return fmt.Errorf("encode grant: %w", err)
		}
		// What the owner says itself comes by another way, which this may overtake: this is
		// a source of its own.
		e.From.Partition = "codes:" + e.From.Partition
		if err := r.Deliver(ctx, g.Partition, []engage.Entry{e}); err != nil {
			return err
		}
	}
	return nil
}
