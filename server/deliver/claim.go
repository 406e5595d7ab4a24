package deliver

import (
	"context"

	"github.com/footfall-engage/footfall/server/engage"
)

// Why a claim is refused, as the protocol names it.
const (
	claimUnknown   = "unknown"   // no such message in this workspace
	claimElsewhere = "elsewhere" // it was offered to another install, or to the person before a logout
	claimLate      = "late"      // it goes another way by now, was granted before, or may not be shown any more
	claimExpired   = "expired"
)

// Claim says whether the install may show the in-app message now; if not, why:
// "unknown", "elsewhere", "late", "expired". A delivery is granted once, and when
// Claim says so it is in the ledger and will never go as a push. One that waits on the
// phones for its moment is granted to one of them, however often that asks.
func (d *Deliverer) Claim(ctx context.Context, workspace, install, id string) (ok bool, reason string, err error) {
	defer func() {
		if err == nil {
			result := "granted"
			if !ok {
				result = reason
			}
			d.metrics.claims.WithLabelValues(result).Inc()
		}
	}()
	k := key{workspace, id}
	d.mu.Lock()
	accepting := d.fresh[k]
	d.mu.Unlock()
	if accepting != nil { // offered, but not in the ledger yet
		select {
		case <-accepting:
		case <-ctx.Done():
			return false, "", ctx.Err()
		}
	}
	for {
		r, err := d.reread(ctx, k)
		if err != nil {
			return false, "", err
		}
		waits := r != nil && r.Boxed && held(&r.Send)
		if r == nil || r.Offer == nil && !waits {
			return false, claimUnknown, nil
		}
		owns, err := d.owns(ctx, &r.Send, install)
		if err != nil {
			return false, "", err
		}
		now := d.clock.Now()
		switch {
		case !owns || !waits && r.Offer.Install != install:
			return false, claimElsewhere, nil
		case r.expired(now):
			return false, claimExpired, nil
		case waits && r.Claimed == install && !r.Dismissed:
			return true, "", nil // again: the grant was lost
		case waits && (r.Claimed != "" || r.Displayed):
			return false, claimLate, nil
		case waits && d.forbidden(ctx, r):
			return false, claimLate, nil
		case waits:
			r.Claimed = install
			won, err := d.commit(ctx, []*change{{r: r}})
			if err != nil {
				return false, "", err
			}
			if won[0] {
				return true, "", nil
			}
			continue
		case r.State != offered || !now.Before(r.Offer.Until), d.forbidden(ctx, r):
			return false, claimLate, nil
		}
		r.State = granted
		r.tell(engage.DeliveryOutcome{State: engage.DeliveryGranted, Channel: string(engage.InApp), Install: install}, now)
		won, err := d.commit(ctx, []*change{{r: r}})
		if err != nil {
			return false, "", err
		}
		if won[0] {
			return true, "", nil
		}
	}
}

// forbidden reports that the message may not be shown any more; refuse says why when its
// next step comes.
func (d *Deliverer) forbidden(ctx context.Context, r *delivery) bool {
	if d.o.Permits == nil {
		return false
	}
	reason, err := d.o.Permits.Permit(ctx, &r.Send)
	return err == nil && reason != ""
}
