package redeem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

const (
	tellPortion = 500         // rows that are told at once
	tellAgain   = time.Second // after it failed
	sweepEvery  = time.Hour
	// sweepPortion of codes are deleted at once.
	sweepPortion = 500
)

// changed has Run tell of what was committed.
func (s *Service) changed() {
	s.untold.Store(true)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Idle reports whether everybody has heard of everything.
func (s *Service) Idle() bool { return !s.untold.Load() && !s.telling.Load() }

// Run tells the owners of persons and offers what tills took, first what an earlier
// process did not get to, and deletes codes of offers that have long been over, until ctx
// ends.
func (s *Service) Run(ctx context.Context) error {
	sweep := s.o.Clock.Now()
	for {
		next := sweep
		if err := s.TellAll(ctx); err != nil && ctx.Err() == nil {
			s.o.Logger.Error("tell of redemptions", "error", err)
			next = s.o.Clock.Now().Add(tellAgain)
		}
		if now := s.o.Clock.Now(); !now.Before(sweep) {
			if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
				s.o.Logger.Error("delete codes of offers that are over", "error", err)
			}
			sweep = now.Add(sweepEvery)
			if next.Before(sweep) && !next.After(now) {
				next = sweep
			}
		}
		due, stop := s.o.Clock.At(next)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-due:
		}
		stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// letter is a document of the collection "redeem_outbox": what somebody is still to hear.
type letter struct {
	V          int                `json:"v"` // 1
	Redemption *engage.Redemption `json:"redemption,omitempty"`
	Used       *engage.OfferUsed  `json:"used,omitempty"`
}

// post puts a letter into a batch, in the place of an older one about the same that nobody
// has heard of yet.
func post(b *store.Batch, workspace, about string, l letter) error {
	l.V = 1
	return put(b, "redeem_outbox", store.System, workspace+"/"+about, store.AnyVersion, l)
}

// TellAll tells of everything that is to be heard. What was told and could not be taken
// out is told again.
func (s *Service) TellAll(ctx context.Context) (err error) {
	s.telling.Store(true)
	s.untold.Store(false)
	defer func() {
		if err != nil {
			s.untold.Store(true)
		}
		s.telling.Store(false)
	}()
	for {
		page, err := s.o.Hot.Find(ctx, "redeem_outbox", store.Query{Workspace: store.System, Limit: tellPortion})
		if err != nil || len(page.Docs) == 0 {
			return err
		}
		all := make([]Told, len(page.Docs))
		for i, d := range page.Docs {
			var l letter
			if err := json.Unmarshal(d.Body, &l); err != nil {
				return fmt.Errorf("decode letter %s: %w", d.ID, err)
			}
			ws, _, _ := strings.Cut(d.ID, "/")
			all[i] = Told{Workspace: ws, Redemption: l.Redemption, Used: l.Used}
		}
		if err := s.o.Tell(ctx, all); err != nil {
			return err
		}
		for _, d := range page.Docs {
			// One that was replaced meanwhile stays.
			err := s.o.Hot.Apply(ctx, store.Batch{Deletes: []store.Delete{{Collection: "redeem_outbox", Key: d.Key, If: d.Version}}})
			if err != nil && !errors.Is(err, store.ErrVersion) {
				return fmt.Errorf("take out what was told: %w", err)
			}
		}
	}
}

// Sweep deletes the codes and the pools of offers that have been over for Options.Keep.
// That an offer has as many codes stays in it: should it begin again, it has none to give.
func (s *Service) Sweep(ctx context.Context) error {
	var over []*engage.Offer
	horizon := s.o.Clock.Now().Add(-s.o.Keep)
	s.o.Ended(func(o *engage.Offer, since time.Time) {
		if o.Codes == engage.UniqueCodes && since.Before(horizon) {
			over = append(over, o)
		}
	})
	for _, o := range over {
		for _, at := range []struct {
			collection string
			q          store.Query
		}{
			{"offer_codes", store.Query{Filter: equals("offer", o.ID)}},
			{"offer_pool", store.Query{IDPrefix: o.ID + "/"}},
		} {
			if err := s.clear(ctx, at.collection, o.Workspace, at.q); err != nil {
				return err
			}
		}
	}
	return nil
}

// clear deletes what a query finds, in portions.
func (s *Service) clear(ctx context.Context, collection, workspace string, q store.Query) error {
	q.Workspace, q.Limit = workspace, sweepPortion
	for {
		page, err := s.o.Hot.Find(ctx, collection, q)
		if err != nil {
			return fmt.Errorf("find %s: %w", collection, err)
		}
		if len(page.Docs) == 0 {
			return nil
		}
		var b store.Batch
		for _, d := range page.Docs {
			b.Deletes = append(b.Deletes, store.Delete{Collection: collection, Key: d.Key})
		}
		if err := s.o.Hot.Apply(ctx, b); err != nil {
			return fmt.Errorf("delete %s: %w", collection, err)
		}
	}
}

// Filter of redemptions; the zero value takes all.
type Filter struct {
	Offer, Campaign, Place, Code string
	State                        engage.RedemptionState
	Profiles                     []string // any of these ids
	From, Before                 time.Time
}

// List gives redemptions, the newest first; next is the cursor of the next page, empty
// after the last one. Invalid: the cursor is none of this list.
func (s *Service) List(ctx context.Context, workspace string, f Filter, cursor string, limit int) (all []*engage.Redemption, next string, err error) {
	var filters []store.Filter
	for _, x := range []struct{ path, value string }{
		{"offer", f.Offer}, {"campaign", f.Campaign}, {"place", f.Place}, {"code", engage.NormalCode(f.Code)}, {"state", string(f.State)},
	} {
		if x.value != "" {
			filters = append(filters, equals(x.path, x.value))
		}
	}
	if f.Code != "" && engage.NormalCode(f.Code) == "" {
		return nil, "", nil // nobody has it
	}
	if len(f.Profiles) > 0 {
		filters = append(filters, store.Filter{Path: "profile", Op: store.In, Value: f.Profiles})
	}
	if !f.From.IsZero() {
		filters = append(filters, store.Filter{Path: "at_us", Op: store.Ge, Value: f.From.UnixMicro()})
	}
	if !f.Before.IsZero() {
		filters = append(filters, store.Filter{Path: "at_us", Op: store.Lt, Value: f.Before.UnixMicro()})
	}
	q := store.Query{Workspace: workspace, Sort: "-at_us", Cursor: cursor, Limit: limit}
	if len(filters) > 0 {
		q.Filter = store.Filter{All: filters}
	}
	page, err := s.o.Hot.Find(ctx, "redemptions", q)
	if errors.Is(err, store.ErrBadQuery) {
		return nil, "", &engage.Error{Code: engage.Invalid, Field: "cursor", Msg: "is not a cursor of this list", Err: err}
	}
	if err != nil {
		return nil, "", fmt.Errorf("find redemptions: %w", err)
	}
	for _, d := range page.Docs {
		var r redemption
		if err := json.Unmarshal(d.Body, &r); err != nil {
			return nil, "", fmt.Errorf("decode redemption %s: %w", d.ID, err)
		}
		all = append(all, &r.Redemption)
	}
	return all, page.Next, nil
}

// Redemption is one by its id; NotFound: there is none.
func (s *Service) Redemption(ctx context.Context, workspace, id string) (*engage.Redemption, error) {
	var r redemption
	version, err := s.get(ctx, "redemptions", workspace, id, &r)
	if err != nil {
		return nil, err
	}
	if version == 0 {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no such redemption")
	}
	return &r.Redemption, nil
}

// Used is how often an offer was redeemed, by the count that tills are held to.
func (s *Service) Used(ctx context.Context, workspace, offer string) (Use, error) {
	var u use
	_, err := s.get(ctx, "offer_uses", workspace, "o/"+offer, &u)
	return Use{Redeemed: u.Redeemed, Voided: u.Voided, Value: u.Value, Worth: u.Worth}, err
}
