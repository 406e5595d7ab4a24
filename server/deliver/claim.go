package deliver

import (
	"context"
	"fmt"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// Why a claim is refused, as the protocol names it.
const (
	claimUnknown   = "unknown"   // no such message in this workspace
	claimElsewhere = "elsewhere" // it was offered to another install
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
		now := d.clock.Now()
		switch {
		case r == nil || r.Offer == nil:
			return false, claimUnknown, nil
		case r.Offer.Install != install:
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

// Displayed says that a phone has displayed the message: it leaves the inbox and
// is not sent again. An unknown delivery is no error.
func (d *Deliverer) Displayed(ctx context.Context, workspace, id string) error {
	for k := (key{workspace, id}); ; {
		r, err := d.reread(ctx, k)
		if err != nil {
			return err
		}
		if r == nil || r.Displayed || r.State == done {
			return nil
		}
		c := &change{r: r, unbox: r.State == inboxed}
		r.Displayed = true
		if r.State != sending { // the attempt's answer ends that
			r.shown()
		}
		won, err := d.commit(ctx, []*change{c})
		if err != nil {
			return err
		}
		if won[0] {
			return nil
		}
	}
}

// Inbox returns the messages that wait for the person, oldest first, at most 100:
// those that are neither expired nor displayed.
func (d *Deliverer) Inbox(ctx context.Context, workspace, profile string) ([]*sdkpb.Message, error) {
	items, err := d.o.Ledger.Inbox(ctx, workspace, profile)
	if err != nil {
		return nil, fmt.Errorf("read inbox: %w", err)
	}
	now := d.clock.Now()
	var out []*sdkpb.Message
	for _, it := range items {
		if !now.Before(it.Expires) {
			continue
		}
		m, err := readInboxItem(it)
		if err != nil {
			d.log.ErrorContext(ctx, "inbox item left out", "workspace", workspace, "delivery", it.Delivery, "error", err)
			continue
		}
		out = append(out, m)
	}
	return out[max(len(out)-maxInbox, 0):], nil
}
