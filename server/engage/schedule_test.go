package engage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

func TestATimeOfTheWallClockComesOnceInEveryZone(t *testing.T) {
	for _, c := range []struct{ zone, local, want string }{
		{"Europe/Amsterdam", "2026-12-01T09:00", "2026-12-01T08:00:00Z"},
		{"Europe/Amsterdam", "2026-03-29T01:59", "2026-03-29T00:59:00Z"},
		{"Europe/Amsterdam", "2026-03-29T02:30", "2026-03-29T01:00:00Z"}, // skipped: the moment at which they skip it
		{"Europe/Amsterdam", "2026-03-29T03:00", "2026-03-29T01:00:00Z"},
		{"Europe/Amsterdam", "2026-10-25T02:30", "2026-10-25T00:30:00Z"}, // twice: the first
		{"Europe/Amsterdam", "2026-10-25T03:00", "2026-10-25T02:00:00Z"},
		{"America/New_York", "2026-03-08T02:15", "2026-03-08T07:00:00Z"},
		{"America/New_York", "2026-11-01T01:15", "2026-11-01T05:15:00Z"},
		{"Australia/Lord_Howe", "2026-10-04T02:10", "2026-10-03T15:30:00Z"}, // half an hour is skipped
		{"Pacific/Apia", "2011-12-30T09:00", "2011-12-30T10:00:00Z"},        // a day is
		{"Asia/Kathmandu", "2026-06-01T00:00", "2026-05-31T18:15:00Z"},
		{"UTC", "nonsense", "0001-01-01T00:00:00Z"},
	} {
		zone, known := engage.Zone(c.zone)
		if !known {
			t.Fatal(c.zone)
		}
		if got := engage.InstantOf(c.local, zone).Format(time.RFC3339); got != c.want {
			t.Errorf("%s in %s: %s, want %s", c.local, c.zone, got, c.want)
		}
	}
}

func TestScheduledDays(t *testing.T) {
	day := func(text string) time.Time {
		at, err := time.Parse("2006-01-02", text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, c := range []struct {
		s              engage.Schedule
		from, to, want string
	}{
		{engage.Schedule{At: "2026-12-01T09:00"}, "2026-11-30", "2026-12-02", "2026-12-01T09:00"},
		{engage.Schedule{At: "2026-12-01T09:00"}, "2026-12-02", "2026-12-05", ""},
		{engage.Schedule{Every: "day", Time: "07:05"}, "2026-02-28", "2026-03-01", "2026-02-28T07:05 2026-03-01T07:05"},
		{engage.Schedule{Every: "week", On: []string{"sat", "mon"}, Time: "08:30"}, "2026-11-20", "2026-11-30", "2026-11-21T08:30 2026-11-23T08:30 2026-11-28T08:30 2026-11-30T08:30"},
		{engage.Schedule{Every: "month", On: []string{"1", "31"}, Time: "08:30"}, "2026-02-01", "2026-03-31", "2026-02-01T08:30 2026-02-28T08:30 2026-03-01T08:30 2026-03-31T08:30"},
		{engage.Schedule{Every: "month", On: []string{"last", "29", "30"}, Time: "08:30"}, "2028-02-25", "2028-03-01", "2028-02-29T08:30"},
	} {
		if got := strings.Join(c.s.Between(day(c.from), day(c.to).Add(23*time.Hour)), " "); got != c.want {
			t.Errorf("%+v: %s, want %s", c.s, got, c.want)
		}
	}
}
