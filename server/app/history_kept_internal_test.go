package app

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/collect"
	"github.com/footfall-engage/footfall/server/config"
)

func TestEachClassOfHistoryIsKeptAsLongAsItIsConfigured(t *testing.T) {
	const day = 24 * time.Hour
	c := config.Default()
	c.HistoryDays = 90
	c.History = config.History{TracksDays: 7, MessagesDays: 365, OffersDays: 400, SnapshotsDays: 35, ResultHoursDays: 8, ResultDays: 300}
	for collection, want := range map[string]time.Duration{
		"timeline": 90 * day, "timeline/purchases": 90 * day, "visits": 90 * day, "tracks": 7 * day, "decisions": 365 * day, "dropped": collect.DroppedFor, "snapshots": 35 * day, "reservations": 400 * day,
		"tally_hours": 8 * day, "tally_days": 300 * day,
	} {
		if got := historyKept(&c)[collection]; got != want {
			t.Errorf("%s are kept for %v, not %v", collection, got, want)
		}
	}
	c.History = config.History{EventsDays: 1, VisitsDays: 2, TracksDays: 3, MessagesDays: 4, PurchasesDays: 5}
	for collection, days := range map[string]time.Duration{"timeline": 1, "visits": 2, "tracks": 3, "decisions": 4, "timeline/purchases": 5} {
		if got := historyKept(&c)[collection]; got != days*day {
			t.Errorf("%s are kept for %v, not %d days", collection, got, days)
		}
	}
}
