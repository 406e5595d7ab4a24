package app

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

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

// openOffers wires the pools of offers, and tills.
func (a *App) openOffers() {
	a.offers = offers{redeem.New(redeem.Options{
		Hot: a.hot, States: a.states, Clock: a.o.Clock, Logger: a.log, Flush: a.Flush,
		Keep:   time.Duration(a.o.Config.History.OffersDays) * 24 * time.Hour,
		Shared: func(workspace, code string) *engage.Offer { return a.catalog.Now().OfferByCode(workspace, code) },
		Offer:  func(workspace, id string) *engage.Offer { return a.catalog.Now().Offer(workspace, id) },
		Ended:  a.endedOffers, Tell: a.tellRedeemed,
		Persons: func(ctx context.Context, workspace, profile string) ([]string, error) {
			return reads{a}.everyID(ctx, workspace, profile)
		},
	}), a.states}
}

// endedOffers are those that are over, with since when.
func (a *App) endedOffers(f func(*engage.Offer, time.Time)) {
	now := a.catalog.Now()
	for workspace := range now.Workspaces {
		for _, o := range now.Offers(workspace) {
			switch {
			case o.Status == engage.OfferEnded:
				f(o, o.UpdatedAt)
			case o.Until != nil && o.Until.Before(a.o.Clock.Now()):
				f(o, *o.Until)
			}
		}
	}
}

// tellRedeemed has the owners of persons hear what tills took, and each partition how
// often an offer was redeemed.
func (a *App) tellRedeemed(ctx context.Context, all []redeem.Told) error {
	var persons []engage.Entry
	used := make([][]engage.Entry, len(a.router.act))
	for _, t := range all {
		if t.Redemption != nil {
			body, err := json.Marshal(t.Redemption)
			if err != nil {
				return fmt.Errorf("encode redemption: %w", err)
			}
			persons = append(persons, engage.Entry{
				Kind: engage.KindRedemption, Key: engage.ProfileKey(t.Workspace, t.Redemption.Profile), Occurred: t.Redemption.At, Body: body,
			})
		}
		if t.Used == nil {
			continue
		}
		body, err := json.Marshal(t.Used)
		if err != nil {
			return fmt.Errorf("encode use of an offer: %w", err)
		}
		for i, p := range a.router.act {
			used[i] = append(used[i], engage.Entry{Kind: engage.KindOfferUse, Key: engage.OfferUseKey(t.Workspace, t.Used.Offer, p.Name()), Body: body})
		}
	}
	for i, entries := range used {
		if len(entries) == 0 {
			continue
		}
		if err := a.router.act[i].Append(ctx, entries); err != nil {
			return fmt.Errorf("append uses of offers: %w", err)
		}
	}
	return appendEach(ctx, a.router, persons)
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
	if err != nil {
		return c, err
	}
	q.IDPrefix = engage.OfferUsePrefix(offer)
	err = o.states.Iterate(ctx, "state_act", q, func(d store.Doc) error {
		u, err := fromJSON[decide.OfferUse](d)
		c.Issued += u.Issued
		c.GivenBack += u.Returned
		return err
	})
	if err != nil {
		return c, err
	}
	used, err := o.Used(ctx, workspace, offer)
	c.Redeemed, c.Voided, c.RedeemedValue, c.RedeemedWorth = used.Redeemed, used.Voided, unitsOf(used.Value), unitsOf(used.Worth)
	return c, err
}

func unitsOf(parts map[string]int64) map[string]float64 {
	if len(parts) == 0 {
		return nil
	}
	out := make(map[string]float64, len(parts))
	for currency, n := range parts {
		out[currency] = engage.Units(n)
	}
	return out
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
