package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/weather"
)

// turningsCollection keeps what turned, for who comes after a crash and for how soon it may
// turn again.
const turningsCollection = "turnings"

const (
	// turnEvery is how often the weather is looked at. A provider renews it some twice an hour.
	turnEvery = time.Minute
	// turnKnown is for how long what a condition was counts as what it was before: beyond
	// it nobody knows when it turned, and it is looked at as for the first time.
	turnKnown = 2 * time.Hour
	// turnChunk is how many persons are called in one go.
	turnChunk = 500
)

// turning is a document of turningsCollection: a campaign's condition on the weather came
// to hold at a place. Its id is "<campaign>/<place>".
type turning struct {
	V        int                  `json:"v"` // 1
	Campaign string               `json:"campaign"`
	Place    string               `json:"place"`
	At       time.Time            `json:"at"`
	Weather  engage.WeatherRecord `json:"weather"`
	Done     bool                 `json:"done"` // who was there has been called
}

// turnings calls for a campaign who is inside a place when the campaign's condition on the
// weather there turns from no to yes. It decides nothing: each call is an entry in the
// person's partition (engage.KindCall), and its occasion is of the campaign, the place and
// the time at which it turned, so that it has effect once, whatever is repeated.
//
// The first look at a place is no turning, nor is one after a gap of turnKnown or an edit of the campaign: it is not
// known then when the weather turned. Weather that is not known or not fresh is no look at all, so an outage turns nothing.
// Having turned, it does not turn again within the campaign's again_after_s, however it
// flutters. What turned is kept before anybody is called, so that who dies in between
// calls again afterwards.
type turnings struct {
	catalog  func() *catalog.Snapshot
	weather  *weather.Service
	insiders *insiders
	states   store.Store
	append   func(context.Context, []engage.Entry) error
	clock    clock.Clock
	log      *slog.Logger

	came  chan struct{}        // weather that was asked for is there
	looks map[lookKey]look     // what each condition was
	last  map[string]time.Time // "<workspace>/<campaign>/<place>" -> when it turned last
	open  map[string]openTurn  // likewise: turned, and not everybody is called

	due    atomic.Int64 // of the next round, Unix nanoseconds; 0: it does not run yet, or a round is under way
	runs   atomic.Bool
	asking atomic.Int64 // cells that the weather service is asked about
}

// idle reports whether nothing is under way, and nothing due.
func (t *turnings) idle() bool {
	return !t.runs.Load() || t.asking.Load() == 0 && len(t.came) == 0 && t.due.Load() > t.clock.Now().UnixNano()
}

// openTurn is a turning of a workspace.
type openTurn struct {
	workspace string
	turning
}

type lookKey struct {
	workspace, campaign, place string
	version                    int64
}

type look struct {
	held bool
	at   time.Time
}

func (a *App) newTurnings() *turnings {
	return &turnings{
		catalog: a.catalog.Now, weather: a.weather, insiders: a.insiders, states: a.states,
		append: func(ctx context.Context, es []engage.Entry) error { return appendEach(ctx, a.router, es) },
		clock:  a.o.Clock, log: a.log,
		came: make(chan struct{}, 1), looks: map[lookKey]look{}, last: map[string]time.Time{}, open: map[string]openTurn{},
	}
}

// run looks until ctx ends.
func (t *turnings) run(ctx context.Context) error {
	if err := t.load(ctx); err != nil {
		return err
	}
	t.runs.Store(true)
	defer t.runs.Store(false)
	for {
		t.due.Store(0)
		if err := t.round(ctx); err != nil && ctx.Err() == nil {
			t.log.Error("weather turnings", "error", err)
		}
		next := t.clock.Now().Add(turnEvery)
		t.due.Store(next.UnixNano())
		due, stop := t.clock.At(next)
		select {
		case <-due:
		case <-t.came:
			stop()
		case <-ctx.Done():
			stop()
			return nil
		}
	}
}

// load reads what turned before the server began.
func (t *turnings) load(ctx context.Context) error {
	for ws := range t.catalog().Workspaces {
		q := store.Query{Workspace: ws, Limit: 1000}
		for {
			p, err := t.states.Find(ctx, turningsCollection, q)
			if err != nil {
				return fmt.Errorf("read weather turnings: %w", err)
			}
			for _, d := range p.Docs {
				x, err := fromJSON[turning](d)
				if err != nil {
					return fmt.Errorf("decode turning %s: %w", d.ID, err)
				}
				t.last[ws+"/"+d.ID] = x.At
				if !x.Done {
					t.open[ws+"/"+d.ID] = openTurn{ws, x}
				}
			}
			if q.Cursor = p.Next; q.Cursor == "" {
				break
			}
		}
	}
	return nil
}

// round looks once.
func (t *turnings) round(ctx context.Context) error {
	s, now := t.catalog(), t.clock.Now()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(t.open)) {
		errs = append(errs, t.call(ctx, s, t.open[name]))
	}
	asked := map[geo.Cell]bool{}
	for _, ws := range slices.Sorted(maps.Keys(s.Workspaces)) {
		var there map[string]int
		for _, c := range s.Campaigns(ws) {
			if c.Status != engage.Live || c.Trigger.Type != engage.TriggerWeather {
				continue
			}
			if there == nil {
				there = t.insiders.counts(ws)
			}
			cond, err := decide.NewTurning(&c.Trigger)
			if err != nil { // of a build that knew other conditions
				continue
			}
			for _, id := range slices.Sorted(maps.Keys(there)) {
				if p := s.Place(ws, id); p != nil && c.Trigger.Means(p) {
					errs = append(errs, t.look(ctx, s, ws, c, p, cond, now, asked))
				}
			}
		}
	}
	maps.DeleteFunc(t.looks, func(_ lookKey, l look) bool { return now.Sub(l.at) > turnKnown })
	return errors.Join(errs...)
}

// look looks at one place for one campaign.
func (t *turnings) look(ctx context.Context, s *catalog.Snapshot, ws string, c *engage.Campaign, p *engage.Place, cond *decide.Turning, now time.Time, asked map[geo.Cell]bool) error {
	cell, err := geo.CellOf(p.Location, engage.WeatherResolution)
	if err != nil {
		return fmt.Errorf("weather cell of %s: %w", p.ID, err)
	}
	w, is := t.weather.Cached(cell)
	if is != engage.WeatherFresh {
		if !asked[cell] {
			asked[cell] = true
			t.asking.Add(1)
			if err := t.weather.Request(cell, func(_ engage.Weather, is engage.WeatherState, _ error) {
				if is == engage.WeatherFresh {
					select {
					case t.came <- struct{}{}:
					default:
					}
				}
				t.asking.Add(-1)
			}); err != nil { // it is busy: the next round asks
				t.asking.Add(-1)
			}
		}
		return nil
	}
	r := engage.WeatherRecord{Weather: w, Hours: t.weather.Hours(cell, w.At)}
	holds, known := cond.Holds(&r, now)
	if !known {
		return nil
	}
	key := lookKey{ws, c.ID, p.ID, c.Version}
	before, seen := t.looks[key]
	t.looks[key] = look{holds, now}
	name := ws + "/" + c.ID + "/" + p.ID
	if last, turned := t.last[name]; !seen || !holds || before.held || now.Sub(before.at) > turnKnown ||
		turned && now.Sub(last) < c.Trigger.AgainAfter() {
		return nil
	}
	x := openTurn{ws, turning{V: 1, Campaign: c.ID, Place: p.ID, At: now, Weather: r}}
	if err := t.keep(ctx, x); err != nil {
		t.looks[key] = before // it is to be looked at again
		return err
	}
	t.last[name], t.open[name] = now, x
	return t.call(ctx, s, x)
}

func (t *turnings) keep(ctx context.Context, x openTurn) error {
	body, err := json.Marshal(x.turning)
	if err != nil {
		return fmt.Errorf("encode turning: %w", err)
	}
	return t.states.Apply(ctx, store.Batch{Puts: []store.Put{{
		Collection: turningsCollection, Key: store.Key{Workspace: x.workspace, ID: x.Campaign + "/" + x.Place}, Body: body,
		If: store.AnyVersion, Expires: t.clock.Now().Add(engage.MaxAgainAfter),
	}}})
}

// call calls who is there now, and notes that it has.
func (t *turnings) call(ctx context.Context, s *catalog.Snapshot, x openTurn) error {
	name := x.workspace + "/" + x.Campaign + "/" + x.Place
	c, p := s.Campaign(x.workspace, x.Campaign), s.Place(x.workspace, x.Place)
	if c != nil && p != nil && c.Status == engage.Live && t.clock.Now().Sub(x.At) <= c.Trigger.MaxAge() {
		if err := t.everybody(ctx, p, &x); err != nil {
			return fmt.Errorf("call who is at %s: %w", p.ID, err)
		}
	}
	x.Done = true
	if err := t.keep(ctx, x); err != nil {
		return err
	}
	delete(t.open, name)
	return nil
}

func (t *turnings) everybody(ctx context.Context, p *engage.Place, x *openTurn) error {
	there := t.insiders.at(x.workspace, p.ID)
	m := engage.Trigger{
		Type: engage.TriggerWeather, Campaign: x.Campaign, Occasion: engage.TurningOccasion(x.workspace, x.Campaign, x.Place, x.At),
		OccurredAt: x.At, Bulk: len(there) > bulkAbove,
	}
	if err := at(&m, p); err != nil {
		return err
	}
	m.Occupancy = new(engage.CoarseCount(len(there)))
	m.Weather, m.WeatherIs = &x.Weather.Weather, engage.WeatherFresh
	for part := range slices.Chunk(there, turnChunk) {
		entries := make([]engage.Entry, 0, len(part))
		for _, who := range part {
			m.Install = who.install
			body, err := json.Marshal(m)
			if err != nil {
				return fmt.Errorf("encode call: %w", err)
			}
			entries = append(entries, engage.Entry{Kind: engage.KindCall, Key: engage.ProfileKey(x.workspace, who.profile), Occurred: x.At, Body: body})
		}
		if err := t.append(ctx, entries); err != nil {
			return err
		}
	}
	return nil
}
