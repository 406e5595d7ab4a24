package app

import (
	"cmp"
	"time"

	"github.com/footfall-engage/footfall/server/collect"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/measure"
)

// historyKept is for how long what partitions record is kept (partition.Options.Keep).
func historyKept(c *config.Config) map[string]time.Duration {
	of := func(days int) time.Duration { return time.Duration(cmp.Or(days, c.HistoryDays)) * 24 * time.Hour }
	return map[string]time.Duration{
		engage.KeptTimeline: of(c.History.EventsDays), engage.KeptPurchases: of(c.History.PurchasesDays), "visits": of(c.History.VisitsDays), "tracks": of(c.History.TracksDays),
		"decisions": of(c.History.MessagesDays), "dropped": collect.DroppedFor,
		"reservations":   of(c.History.OffersDays),
		decide.Snapshots: time.Duration(c.History.SnapshotsDays) * 24 * time.Hour,
		measure.Hours:    time.Duration(c.History.ResultHoursDays) * 24 * time.Hour,
		measure.Days:     time.Duration(c.History.ResultDays) * 24 * time.Hour,
	}
}
