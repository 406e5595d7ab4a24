package schedule_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/schedule"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// land is all that a scheduler sees.
type land struct {
	t     *testing.T
	clock *clock.Manual

	mu        sync.Mutex
	campaigns []*engage.Campaign
	changed   chan struct{}
	people    []schedule.Person
	records   map[string]string
	called    []string // "<profile> <instant>"
	broken    error    // of appends
	onAppend  func()
	rounds    int
}

var begin = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) // a Friday

func newLand(t *testing.T, zones ...string) *land {
	l := &land{t: t, clock: clock.NewManual(begin), changed: make(chan struct{}), records: map[string]string{}}
	for i, zone := range zones {
		l.people = append(l.people, schedule.Person{ID: fmt.Sprintf("p%03d", i), Phones: []engage.Device{{TimeZone: zone, SeenAt: begin.Add(-time.Hour)}}})
	}
	l.campaigns = []*engage.Campaign{l.daily(1)}
	return l
}

func (l *land) daily(version int64) *engage.Campaign {
	return &engage.Campaign{
		ID: "daily", Workspace: "acme", Version: version, Status: engage.Live, UpdatedAt: l.clock.Now(),
		Trigger: engage.CampaignTrigger{Type: engage.TriggerSchedule, Schedule: &engage.Schedule{At: "2026-11-21T09:00"}},
	}
}

func (l *land) Page(_ context.Context, _, after string, limit int) ([]schedule.Person, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := slices.DeleteFunc(slices.Clone(l.people), func(p schedule.Person) bool { return p.ID <= after })
	if len(rest) <= limit {
		return rest, "", nil
	}
	return rest[:limit], rest[limit-1].ID, nil
}

func (l *land) Count(context.Context, string) (int64, error) { return int64(len(l.people)), nil }

func (l *land) Get(_ context.Context, _, id string) (*engage.Occurrence, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text, there := l.records[id]
	if !there {
		return nil, nil
	}
	var o engage.Occurrence
	return &o, json.Unmarshal([]byte(text), &o)
}

func (l *land) Put(_ context.Context, o *engage.Occurrence) error {
	b, err := json.Marshal(o)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records[o.ID()] = string(b)
	return err
}

func (l *land) Running(ctx context.Context) (out []*engage.Occurrence, _ error) {
	l.mu.Lock()
	l.rounds++
	ids := []string{}
	for id := range l.records {
		ids = append(ids, id)
	}
	l.mu.Unlock()
	for _, id := range ids {
		o, err := l.Get(ctx, "", id)
		if err != nil {
			return nil, err
		}
		if !o.Ended() {
			out = append(out, o)
		}
	}
	return out, nil
}

func (l *land) Append(_ context.Context, entries []engage.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return l.broken
	}
	for _, e := range entries {
		var t engage.Trigger
		if err := json.Unmarshal(e.Body, &t); err != nil || e.Kind != engage.KindCall || !t.Bulk || t.Local != "2026-11-21T09:00" {
			l.t.Errorf("appended %s %s (%v)", e.Kind, e.Body, err)
		}
		l.called = append(l.called, strings.TrimPrefix(e.Key, "acme/p:")+" "+t.OccurredAt.Format("02T15:04"))
	}
	if l.onAppend != nil {
		l.onAppend()
	}
	return nil
}

// run runs a scheduler until it has done all that is due by a time.
func (l *land) run(until time.Time) {
	l.t.Helper()
	s := schedule.New(schedule.Options{
		Campaigns: func() []*engage.Campaign { l.mu.Lock(); defer l.mu.Unlock(); return slices.Clone(l.campaigns) },
		Changed:   func() <-chan struct{} { l.mu.Lock(); defer l.mu.Unlock(); return l.changed },
		People:    l, Records: l, Log: l, Clock: l.clock, Logger: slog.New(slog.DiscardHandler), Page: 2,
	})
	l.clock.Advance(until.Sub(l.clock.Now()))
	if err := s.Round(l.t.Context()); err != nil && !errors.Is(err, l.broken) {
		l.t.Fatal(err)
	}
}

func (l *land) want(calls string, state engage.OccurrenceState, reached, of int64) *engage.Occurrence {
	l.t.Helper()
	if got := strings.Join(l.called, ", "); got != calls {
		l.t.Errorf("called %q, want %q", got, calls)
	}
	o, err := l.Get(l.t.Context(), "", "daily/2026-11-21T09:00")
	if err != nil || o == nil {
		l.t.Fatal("no occurrence", err)
	}
	if o.State != state || o.Reached != reached || o.Of != of {
		l.t.Fatalf("%+v, want %s with %d of %d", o, state, reached, of)
	}
	return o
}

func at(day, hour, minute int) time.Time {
	return time.Date(2026, 11, day, hour, minute, 0, 0, time.UTC)
}

func TestEachZoneHasItsTime(t *testing.T) {
	l := newLand(t, "Europe/Amsterdam", "America/New_York", "Pacific/Kiritimati", "", "Asia/Tokyo")
	l.run(at(20, 18, 59))
	if len(l.called) > 0 || len(l.records) > 0 {
		t.Fatal("it began before it can have come anywhere")
	}
	l.run(at(20, 19, 0))
	l.want("p002 20T19:00", engage.OccurrenceRunning, 1, 5)
	l.run(at(21, 0, 0))
	o := l.want("p002 20T19:00, p004 21T00:00", engage.OccurrenceRunning, 2, 5)
	if fmt.Sprint(o.Due) != fmt.Sprint([]time.Time{at(21, 8, 0), at(21, 9, 0), at(21, 14, 0)}) {
		t.Errorf("goes on at %v", o.Due)
	}
	// A server that was down meanwhile takes two zones at once.
	l.run(at(21, 9, 30))
	l.run(at(21, 14, 0))
	l.want("p002 20T19:00, p004 21T00:00, p000 21T08:00, p003 21T09:00, p001 21T14:00", engage.OccurrenceDone, 5, 5)
	l.run(at(21, 20, 0))
	if len(l.called) != 5 {
		t.Error("it came twice")
	}
}

func TestAPageThatFailsComesAgainAndNoneBeforeIt(t *testing.T) {
	l := newLand(t, "UTC", "UTC", "UTC", "UTC", "UTC")
	l.run(at(20, 19, 0)) // it has been through everybody once, and waits
	pages := 0
	l.onAppend = func() {
		if pages++; pages == 2 {
			l.broken = errors.New("no log")
		}
	}
	l.run(at(21, 9, 0))
	l.want("p000 21T09:00, p001 21T09:00, p002 21T09:00, p003 21T09:00", engage.OccurrenceRunning, 4, 5)
	l.broken = nil
	l.run(at(21, 9, 1)) // another process, for all that it knows
	l.want("p000 21T09:00, p001 21T09:00, p002 21T09:00, p003 21T09:00, p004 21T09:00", engage.OccurrenceDone, 5, 5)
}

func TestACampaignThatChangesStopsItsOccurrence(t *testing.T) {
	for why, change := range map[string]func(l *land){
		"edited":  func(l *land) { l.campaigns[0] = l.daily(2) },
		"paused":  func(l *land) { c := l.daily(2); c.Status = engage.Paused; l.campaigns[0] = c },
		"deleted": func(l *land) { l.campaigns = nil },
	} {
		t.Run(why, func(t *testing.T) {
			l := newLand(t, "UTC", "UTC", "UTC", "UTC", "UTC", "America/New_York")
			l.run(at(20, 19, 0))
			l.onAppend = func() { change(l) } // while its first page is under way
			l.run(at(21, 9, 0))
			if o := l.want("p000 21T09:00, p001 21T09:00", engage.OccurrenceStopped, 2, 6); o.Why != why {
				t.Errorf("stopped since it was %s", o.Why)
			}
			l.onAppend = nil
			l.run(at(21, 14, 0))
			l.want("p000 21T09:00, p001 21T09:00", engage.OccurrenceStopped, 2, 6)
		})
	}
}

func TestATravellerIsFoundByTheNextPass(t *testing.T) {
	l := newLand(t, "Asia/Tokyo", "Asia/Tokyo", "America/New_York", "America/New_York")
	l.run(at(20, 19, 0))
	l.run(at(21, 0, 0))
	// From where the time is to come to where it has been, and the other way about.
	l.people[2].Phones[0] = engage.Device{TimeZone: "Asia/Tokyo", SeenAt: at(21, 3, 0)}
	l.people[1].Phones[0] = engage.Device{TimeZone: "America/New_York", SeenAt: at(21, 3, 0)}
	l.run(at(21, 14, 0))
	l.want("p000 21T00:00, p001 21T00:00, p001 21T14:00, p002 21T00:00, p003 21T14:00", engage.OccurrenceDone, 4, 4)
}

func TestAZoneInWhichTheTimeHadPassedIsLeftOut(t *testing.T) {
	l := newLand(t, "Asia/Tokyo", "Europe/Amsterdam")
	l.campaigns = nil
	l.run(at(21, 3, 0))
	l.campaigns = []*engage.Campaign{l.daily(1)} // launched now
	l.run(at(21, 3, 0))
	l.run(at(21, 8, 0))
	l.want("p001 21T08:00", engage.OccurrenceDone, 1, 2)
}

func TestWhatAServerCameToTooLateIsTold(t *testing.T) {
	l := newLand(t, "UTC")
	l.run(at(22, 10, 0))
	l.want("", engage.OccurrenceMissed, 0, 1)
}

func TestRunWakesForWhatIsDueAndForChanges(t *testing.T) {
	l := newLand(t, "UTC")
	s := schedule.New(schedule.Options{
		Campaigns: func() []*engage.Campaign { l.mu.Lock(); defer l.mu.Unlock(); return slices.Clone(l.campaigns) },
		Changed:   func() <-chan struct{} { l.mu.Lock(); defer l.mu.Unlock(); return l.changed },
		People:    l, Records: l, Log: l, Clock: l.clock, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	until := func(ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; {
			l.mu.Lock()
			yes := ok()
			l.mu.Unlock()
			if yes {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("never")
			}
			tick := time.NewTimer(time.Millisecond)
			<-tick.C
		}
	}
	until(func() bool { return l.rounds > 0 })
	l.clock.Advance(at(20, 19, 0).Sub(begin))
	until(func() bool { return len(l.records) == 1 })
	l.clock.Advance(14 * time.Hour)
	until(func() bool { return len(l.called) == 1 })
	l.mu.Lock()
	rounds := l.rounds
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	until(func() bool { return l.rounds > rounds })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
