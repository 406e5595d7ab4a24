package api

import (
	"context"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/why"
)

// Bounds of what whyNot reads.
const (
	whyEntries   = 200    // of a class of the timeline
	whyPositions = 10_000 // of a person
)

// whyNot looks at a person's records for why nothing reached a campaign.
func (s *server) whyNot(ctx context.Context, who caller, c *engage.Campaign, p *personView, span Between) ([]why.Finding, error) {
	now := s.o.Clock.Now()
	q := &why.Asked{
		Campaign: c, From: span.From, To: span.To, Places: s.o.Catalog.Now().Places(who.workspace),
		Withheld: !p.Consents[engage.ConsentLocationPrecise].Granted,
	}
	if q.To.IsZero() || q.To.After(now) {
		q.To = now.Add(time.Millisecond) // what is of now is in it
	}
	if q.From.IsZero() || !q.From.Before(q.To) {
		q.From = q.To.Add(-24 * time.Hour)
	}
	if s.o.TracksKept > 0 {
		q.KeptSince = now.Add(-s.o.TracksKept)
	}
	for _, d := range p.Devices {
		if z, known := engage.Zone(d.TimeZone); known && d.TimeZone != "" {
			q.Zone = z
			break
		}
	}
	for _, r := range s.o.Catalog.History(who.workspace, catalog.Campaigns, c.ID) {
		if r.Body != nil {
			q.Life = append(q.Life, why.Status{At: r.At, Status: statusIn(r.Body)})
		}
	}
	for _, read := range []struct {
		class engage.TimelineClass
		from  time.Time
		into  *[]engage.TimelineEntry
	}{
		{engage.ClassDevices, time.Time{}, &q.Devices},
		{engage.ClassConsents, time.Time{}, &q.Consents},
		{engage.ClassVisits, q.From, &q.Moments},
		{engage.ClassEvents, q.From, &q.Moments},
	} {
		page, err := s.o.People.Timeline(ctx, who.workspace, p.ID, TimelineFilter{Class: read.class, From: read.from, Before: q.To}, "", whyEntries)
		if err != nil {
			return nil, err
		}
		*read.into = append(*read.into, page.Items...)
	}
	f := TrackFilter{Profile: p.ID, From: q.From, Before: q.To}
	for _, d := range p.Devices {
		f.Installs = append(f.Installs, d.Install)
	}
	track, err := s.o.Positions.Track(ctx, who.workspace, f, "", whyPositions)
	if err != nil {
		return nil, err
	}
	for _, x := range track.Items {
		q.Fixes = append(q.Fixes, why.Fix{At: x.At, Pos: x.Pos, AccuracyM: x.AccuracyM})
	}
	return why.Not(q), nil
}
