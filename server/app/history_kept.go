package app

import (
	"cmp"
	"time"

	"github.com/footfall-engage/footfall/server/collect"
	"github.com/footfall-engage/footfall/server/config"
)

// historyKept is for how long what partitions record is kept, by collection.
func historyKept(c *config.Config) map[string]time.Duration {
	of := func(days int) time.Duration { return time.Duration(cmp.Or(days, c.HistoryDays)) * 24 * time.Hour }
	return map[string]time.Duration{
		"timeline": of(c.History.EventsDays), "visits": of(c.History.VisitsDays), "tracks": of(c.History.TracksDays),
		"decisions": of(c.History.MessagesDays), "dropped": collect.DroppedFor,
	}
}
