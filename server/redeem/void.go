package redeem

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// Void takes a redemption back: its code is good again. One that was voided before is
// answered as it is.
func (s *Service) Void(ctx context.Context, workspace, id, by, reason string) (*engage.Redemption, error) {
	for range tries {
		r, err := s.void(ctx, workspace, id, by, reason)
		if !errors.Is(err, store.ErrVersion) {
			return r, err
		}
	}
	return nil, engage.Errorf(engage.Unavailable, "id", tooMany)
}

func (s *Service) void(ctx context.Context, workspace, id, by, reason string) (*engage.Redemption, error) {
	var r redemption
	version, err := s.get(ctx, "redemptions", workspace, id, &r)
	if err != nil {
		return nil, err
	}
	if version == 0 {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no such redemption")
	}
	if r.State == engage.Voided {
		return &r.Redemption, nil
	}
	lock := s.stripe(workspace, r.Offer)
	lock.Lock()
	defer lock.Unlock()
	now := s.o.Clock.Now()
	r.State, r.VoidedAt, r.VoidedBy, r.VoidReason = engage.Voided, now, by, reason
	var b store.Batch
	if err := putRedemption(&b, workspace, version, &r, s.o.Keep); err != nil {
		return nil, err
	}
	var c code
	switch version, err := s.get(ctx, "offer_codes", workspace, r.Code, &c); {
	case err != nil:
		return nil, err
	case version > 0 && c.Used != nil && c.Used.Redemption == r.ID:
		c.Used = nil
		if err := put(&b, "offer_codes", workspace, r.Code, version, c); err != nil {
			return nil, err
		}
	}
	edit := func(of string, change func(*use) bool, expires time.Time) error {
		var u use
		version, err := s.get(ctx, "offer_uses", workspace, of, &u)
		if err != nil || version == 0 || !change(&u) {
			return err
		}
		return putUse(&b, workspace, of, version, u, expires)
	}
	var u use
	version, err = s.get(ctx, "offer_uses", workspace, "o/"+r.Offer, &u)
	if err != nil {
		return nil, err
	}
	u.count(&r.Redemption, -1)
	if err = putCount(&b, workspace, s.o.Offer(workspace, r.Offer), version, u); err == nil && r.Counted != "" {
		err = edit("p/"+r.Counted+"/"+r.Offer, func(u *use) bool {
			u.Redeemed--
			return true
		}, now.Add(s.o.Keep))
	}
	if err == nil && r.Delivery != "" {
		err = edit("d/"+r.Delivery, func(u *use) bool {
			mine := u.Used != nil && u.Used.Redemption == r.ID
			u.Used = nil
			return mine
		}, now.Add(s.o.Keep))
	}
	if err != nil {
		return nil, err
	}
	if err := s.o.Hot.Apply(ctx, b); err != nil {
		return nil, fmt.Errorf("void redemption: %w", err)
	}
	s.changed()
	return &r.Redemption, nil
}
