package catalog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Offers are what messages bring.
const Offers Kind = "offer"

// MaxOffers is how many offers a workspace has at most.
const MaxOffers = 10_000

type offer struct{ *engage.Offer }

func (o offer) head() (string, string, *int64, *time.Time) {
	return o.Workspace, o.ID, &o.Version, &o.UpdatedAt
}

// PutOffer creates or replaces an offer. Its places exist, and no other offer has its
// code. What codes it has does not change from shared to unique or back, and the pool
// never becomes smaller.
func (c *Catalog) PutOffer(ctx context.Context, by string, o *engage.Offer, expected int64) error {
	return c.put(ctx, by, Offers, offer{o}, expected, func(s *Snapshot) error {
		all := s.offers[o.Workspace]
		old := all[o.ID]
		switch {
		case old == nil && len(all) >= MaxOffers:
			return engage.Errorf(engage.TooLarge, "id", "the workspace has %d offers, at most %d", len(all), MaxOffers)
		case old != nil && old.Codes != o.Codes:
			return engage.Errorf(engage.Conflict, "codes", "are %s: make another offer for other ones", old.Codes)
		case old != nil && o.Pool < old.Pool:
			return engage.Errorf(engage.Conflict, "pool", "has %d codes already", old.Pool)
		}
		for i, id := range o.Places {
			if s.Place(o.Workspace, id) == nil && (old == nil || !slices.Contains(old.Places, id)) {
				return engage.Errorf(engage.Invalid, fmt.Sprintf("places[%d]", i), "there is no place %q", id)
			}
		}
		if o.Codes == engage.SharedCode {
			if other := s.OfferByCode(o.Workspace, o.Code); other != nil && other.ID != o.ID {
				return engage.Errorf(engage.Conflict, "code", "is that of the offer %q", other.ID)
			}
		}
		return nil
	})
}

// DeleteOffer removes an offer that no campaign brings, unless that has ended, and of
// which no codes were uploaded: others are ended, so that what was given out of them is
// known.
func (c *Catalog) DeleteOffer(ctx context.Context, by, workspace, id string, expected int64) error {
	return c.remove(ctx, by, Offers, workspace, id, expected, func(s *Snapshot) error {
		for _, cam := range s.Campaigns(workspace) {
			if cam.Offer == id {
				return engage.Errorf(engage.Conflict, "id", "campaign %q brings this offer: end the offer instead", cam.ID)
			}
		}
		if s.Offer(workspace, id).Pool > 0 {
			return engage.Errorf(engage.Conflict, "id", "it has codes: end the offer instead")
		}
		return nil
	})
}

// hasOffer refuses a campaign that brings an offer that there is not.
func (s *Snapshot) hasOffer(cam *engage.Campaign) error {
	if cam.Offer != "" && s.Offer(cam.Workspace, cam.Offer) == nil {
		return engage.Errorf(engage.Invalid, "offer", "there is no offer %q", cam.Offer)
	}
	return nil
}

// Offer of a workspace; nil when there is none.
func (s *Snapshot) Offer(workspace, id string) *engage.Offer { return s.offers[workspace][id] }

// Offers of a workspace, by id.
func (s *Snapshot) Offers(workspace string) []*engage.Offer { return byID(s.offers[workspace]) }

// OfferByCode is the offer of a shared code, in any case; nil when there is none.
func (s *Snapshot) OfferByCode(workspace, code string) *engage.Offer {
	code = engage.NormalCode(code)
	for _, o := range s.offers[workspace] {
		if code != "" && o.Codes == engage.SharedCode && engage.NormalCode(o.Code) == code {
			return o
		}
	}
	return nil
}
