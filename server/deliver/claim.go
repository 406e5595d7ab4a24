package deliver

import (
	"context"

	"github.com/footfall-engage/footfall/server/engage"
)

// Why a claim is refused, as the protocol names it.
const (
	claimUnknown   = "unknown"   // no such message in this workspace
	claimElsewhere = "elsewhere" // it was offered to another install, or to the person before a logout
	claimLate      = "late"      // it goes another way by now, or was granted before
	claimExpired   = "expired"
)

// Claim says whether the install may show the in-app message now; if not, why:
// "unknown", "elsewhere", "late", "expired". A delivery is granted once, and when
// Claim says so it is in the ledger and will never go as a push.
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
		if r == nil || r.Offer == nil {
			return false, claimUnknown, nil
		}
		owns, err := d.owns(ctx, &r.Send, install)
		if err != nil {
			return false, "", err
		}
		now := d.clock.Now()
		switch {
		case r.Offer.Install != install || !owns:
			return false, claimElsewhere, nil
		case r.expired(now):
			return false, claimExpired, nil
		case r.State != offered || !now.Before(r.Offer.Until):
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
