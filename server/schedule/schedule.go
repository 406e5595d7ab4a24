// Package schedule brings campaigns to their persons at the times of their schedules. It
// decides nothing: for each person whose time has come it appends a call to the person's
// partition (engage.KindCall), and decide asks the zone, the audience and all the other
// gates there.
//
// # How an occurrence goes
//
// A time of the wall clock, "2026-12-01T09:00", comes in the east of the world 26 hours
// before it comes in the west. An occurrence begins when it may first come anywhere, with
// one way through all persons of the workspace (a pass), in pages in the order of their
// ids. Who has it already gets the call; of the others the pass collects when they will
// have it, and at each of these instants there is another pass. Nearly all retailers have
// people in a few zones, so an occurrence is a few passes.
//
// A page's calls are durable before its place is saved. After a crash a page comes again,
// which has no effect: a call of the same campaign and time is heeded once per person
// (decide's onCall). Pages wait while the partitions are behind, so that what people do
// goes first.
//
// # What moves meanwhile
//
// Who changes the zone between two passes is found by the next one: it calls again
// whoever used a phone since the occurrence began. decide goes by the zone that it knows:
// a call that comes too early there has no effect, and the later pass brings the next. Who
// arrives where nobody else lives, after the last pass that there is, is not called.
//
// A campaign that is edited, paused or ended stops its occurrence for good: the next time
// of the schedule is its next. A zone in which the time had passed when the campaign was
// last changed is left out. What a server comes to later than the campaign's MaxAge is
// missed, and says so.
package schedule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
)

// Person is what a pass sees of one.
type Person struct {
	ID     string          // of the profile
	Phones []engage.Device // the one used last first
}

// Options of a scheduler.
type Options struct {
	// Campaigns are those of trigger type schedule, of all workspaces, whatever their
	// status.
	Campaigns func() []*engage.Campaign
	// Changed is closed when Campaigns may have changed since the call.
	Changed func() <-chan struct{}
	People  interface {
		// Page gives at most limit persons of a workspace, in the order of their ids,
		// after the one that is named ("": from the first), and where the next page
		// begins; "" means that this was the last.
		Page(ctx context.Context, workspace, after string, limit int) (_ []Person, next string, _ error)
		Count(ctx context.Context, workspace string) (int64, error)
	}
	Records interface {
		// Get is nil where there is none.
		Get(ctx context.Context, workspace, id string) (*engage.Occurrence, error)
		Put(ctx context.Context, o *engage.Occurrence) error
		// Running are those that have not ended, of all workspaces.
		Running(ctx context.Context) ([]*engage.Occurrence, error)
	}
	// Log takes calls to the persons' partitions and returns when they are durable; it
	// waits while the partitions are behind.
	Log interface {
		Append(ctx context.Context, entries []engage.Entry) error
	}
	Clock  clock.Clock
	Logger *slog.Logger
	Page   int // persons of a page; 0 means 500
}

// Scheduler runs the occurrences.
type Scheduler struct {
	o Options
}

// New makes a scheduler; it starts nothing.
func New(o Options) *Scheduler {
	if o.Page == 0 {
		o.Page = 500
	}
	return &Scheduler{o}
}

const (
	// lookAhead is how far occurrences are looked for; a wake-up finds later ones.
	lookAhead = 24 * time.Hour
	// lookBack is for how long after its last instant an occurrence that never began is
	// still told as missed.
	lookBack = 48 * time.Hour
	// again is after how long what failed is tried once more.
	again = 5 * time.Second
)

// Run brings campaigns to their persons until ctx ends. What fails is logged and tried
// again.
func (s *Scheduler) Run(ctx context.Context) error {
	for {
		changed := s.o.Changed()
		next, err := s.round(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.o.Logger.Error("schedules", "error", err)
			next = s.o.Clock.Now().Add(again)
		}
		due, stop := s.o.Clock.At(next)
		select {
		case <-due:
		case <-changed:
		case <-ctx.Done():
		}
		stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// round does all that is due, and says when something is again.
func (s *Scheduler) round(ctx context.Context) (time.Time, error) {
	next := s.o.Clock.Now().Add(lookAhead / 2)
	running, err := s.o.Records.Running(ctx)
	if err != nil {
		return next, fmt.Errorf("read occurrences: %w", err)
	}
	var errs []error
	for _, o := range running {
		if _, why := s.stands(o); why != "" {
			errs = append(errs, s.stop(ctx, o, why))
		}
	}
	for _, c := range s.o.Campaigns() {
		if c.Status != engage.Live || c.Trigger.Schedule == nil {
			continue
		}
		due, err := s.campaign(ctx, c)
		if err != nil {
			errs = append(errs, fmt.Errorf("campaign %s of %s: %w", c.ID, c.Workspace, err))
		}
		if !due.IsZero() && due.Before(next) {
			next = due
		}
	}
	return next, errors.Join(errs...)
}

// campaign does what is due of a campaign, and says when something is again; zero: not
// soon.
func (s *Scheduler) campaign(ctx context.Context, c *engage.Campaign) (next time.Time, _ error) {
	now := s.o.Clock.Now()
	for _, local := range c.Trigger.Schedule.Between(now.Add(-lookBack), now.Add(lookAhead)) {
		first, last := c.Trigger.Schedule.Span(local)
		if last.Before(c.UpdatedAt) || last.Add(lookBack).Before(now) {
			continue // it was over when the campaign became what it is, or long ago
		}
		o, err := s.o.Records.Get(ctx, c.Workspace, c.ID+"/"+local)
		if err != nil {
			return now, err
		}
		switch {
		case o != nil && o.Ended():
			continue
		case o == nil && first.After(now):
			next = earlier(next, first)
			continue
		case o == nil:
			if o, err = s.begin(ctx, c, local, last, now); err != nil {
				return now, err
			}
		}
		for !o.Ended() && len(o.Due) > 0 && !o.Due[0].After(s.o.Clock.Now()) {
			if err := s.pass(ctx, o); err != nil {
				return now, err
			}
		}
		if !o.Ended() {
			next = earlier(next, o.Due[0])
		}
	}
	return next, nil
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func (s *Scheduler) begin(ctx context.Context, c *engage.Campaign, local string, last, now time.Time) (*engage.Occurrence, error) {
	o := &engage.Occurrence{
		V: 1, Workspace: c.Workspace, Campaign: c.ID, Version: c.Version, Local: local, State: engage.OccurrenceRunning,
		StartedAt: now, From: c.UpdatedAt, Due: []time.Time{now},
	}
	if now.After(last.Add(c.Trigger.MaxAge())) {
		o.State, o.EndedAt, o.Due = engage.OccurrenceMissed, now, nil
		s.o.Logger.Warn("a campaign's time was missed", "workspace", c.Workspace, "campaign", c.ID, "local", local)
	}
	var err error
	if o.Of, err = s.o.People.Count(ctx, c.Workspace); err != nil {
		return nil, fmt.Errorf("count persons: %w", err)
	}
	return o, s.o.Records.Put(ctx, o)
}

// stands gives the campaign of an occurrence if it is as it was when that began; else why
// it is not.
func (s *Scheduler) stands(o *engage.Occurrence) (*engage.Campaign, string) {
	all := s.o.Campaigns()
	i := slices.IndexFunc(all, func(c *engage.Campaign) bool { return c.Workspace == o.Workspace && c.ID == o.Campaign })
	switch {
	case i < 0:
		return nil, "deleted"
	case all[i].Status != engage.Live:
		return nil, string(all[i].Status)
	case all[i].Version != o.Version || all[i].Trigger.Schedule == nil:
		return nil, "edited"
	}
	return all[i], ""
}

func (s *Scheduler) stop(ctx context.Context, o *engage.Occurrence, why string) error {
	o.State, o.Why, o.EndedAt, o.Due, o.Pass = engage.OccurrenceStopped, why, s.o.Clock.Now(), nil, nil
	return s.o.Records.Put(ctx, o)
}

// pass goes through all persons, from where it was left, and ends or plans what follows.
func (s *Scheduler) pass(ctx context.Context, o *engage.Occurrence) error {
	if o.Pass == nil {
		o.Pass = &engage.SchedPass{Until: s.o.Clock.Now()}
	}
	for {
		c, why := s.stands(o)
		if why != "" {
			return s.stop(ctx, o, why)
		}
		persons, next, err := s.o.People.Page(ctx, o.Workspace, o.Pass.After, s.o.Page)
		if err != nil {
			return fmt.Errorf("read persons: %w", err)
		}
		entries, fresh, err := s.calls(c, o, persons)
		if err != nil {
			return err
		}
		if len(entries) > 0 {
			if err := s.o.Log.Append(ctx, entries); err != nil {
				return fmt.Errorf("append calls: %w", err)
			}
		}
		o.Reached += fresh
		o.Pass.After = next
		if next == "" {
			break
		}
		if err := s.o.Records.Put(ctx, o); err != nil {
			return err
		}
	}
	o.Last, o.Due, o.Pass = o.Pass.Until, o.Pass.Next, nil
	if len(o.Due) == 0 {
		o.State, o.EndedAt = engage.OccurrenceDone, s.o.Clock.Now()
	}
	return s.o.Records.Put(ctx, o)
}

// calls are those of a page, and how many of them are the first of their person in this
// occurrence. It notes when others of the page will have theirs.
func (s *Scheduler) calls(c *engage.Campaign, o *engage.Occurrence, persons []Person) (entries []engage.Entry, fresh int64, _ error) {
	for _, p := range persons {
		at := engage.InstantOf(o.Local, c.Trigger.Schedule.ZoneOf(p.Phones))
		used := len(p.Phones) > 0 && !p.Phones[0].SeenAt.Before(o.StartedAt)
		switch {
		case !at.After(o.From):
			continue // it had come before the campaign was what it is
		case at.After(o.Pass.Until):
			if i, known := slices.BinarySearchFunc(o.Pass.Next, at, time.Time.Compare); !known {
				o.Pass.Next = slices.Insert(o.Pass.Next, i, at)
			}
			continue
		case !at.After(o.Last) && !used:
			continue // an earlier pass has called
		}
		body, err := json.Marshal(engage.Trigger{
			Type: engage.TriggerSchedule, Campaign: o.Campaign, Occasion: engage.ScheduleOccasion(o.Workspace, o.Campaign, o.Local),
			OccurredAt: at, Local: o.Local, Bulk: true,
		})
		if err != nil {
			return nil, 0, fmt.Errorf("encode call: %w", err)
		}
		entries = append(entries, engage.Entry{Kind: engage.KindCall, Key: engage.ProfileKey(o.Workspace, p.ID), Occurred: at, Body: body})
		if at.After(o.Last) {
			fresh++
		}
	}
	slices.SortStableFunc(entries, func(a, b engage.Entry) int { return cmp.Compare(a.Key, b.Key) })
	return entries, fresh, nil
}
