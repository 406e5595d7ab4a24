package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

func equals(path, value string) store.Filter {
	return store.Filter{Path: path, Op: store.Eq, Value: value}
}

// oneOf asks for any of some values.
func oneOf(path string, values []string) store.Filter {
	if len(values) == 1 {
		return equals(path, values[0])
	}
	return store.Filter{Path: path, Op: store.In, Value: values}
}

// Visits implements api.History.
func (r reads) Visits(ctx context.Context, workspace string, f api.VisitFilter, cursor string, limit int) (api.Page[engage.Visit], error) {
	var all []store.Filter
	if f.Place != "" {
		all = append(all, equals("place", f.Place))
	}
	if f.Profile != "" {
		ids, err := r.everyID(ctx, workspace, f.Profile)
		if err != nil {
			return api.Page[engage.Visit]{}, err
		}
		all = append(all, oneOf("profile", ids))
	}
	if !f.From.IsZero() {
		all = append(all, store.Filter{Path: "since_us", Op: store.Ge, Value: f.From.UnixMicro()})
	}
	if !f.Before.IsZero() {
		all = append(all, store.Filter{Path: "since_us", Op: store.Lt, Value: f.Before.UnixMicro()})
	}
	if f.Open != nil {
		op := store.Exists
		if *f.Open {
			op = store.Absent
		}
		all = append(all, store.Filter{Path: "ended", Op: op})
	}
	if !f.Withdrawn {
		withdrawn := equals("ended", string(engage.EndedByWithdrawal))
		all = append(all, store.Filter{Not: &withdrawn})
	}
	q := store.Query{Workspace: workspace, Sort: "-since_us", Cursor: cursor, Limit: limit}
	if len(all) > 0 {
		q.Filter = store.Filter{All: all}
	}
	return page(ctx, r.a.states, "visits", q, fromJSON[engage.Visit])
}

// Visits calls f for every visit that is kept of a workspace. Flush first. It is for
// audits.
func (a *App) Visits(ctx context.Context, workspace string, f func(engage.Visit) error) error {
	return a.states.Iterate(ctx, "visits", store.Query{Workspace: workspace}, func(d store.Doc) error {
		v, err := fromJSON[engage.Visit](d)
		if err != nil {
			return fmt.Errorf("decode visit %s: %w", d.ID, err)
		}
		return f(v)
	})
}

// Present implements api.History.
func (r reads) Present(ctx context.Context, workspace, place string, most int) (map[string]api.Presence, bool, error) {
	// By place, so that the index of open visits serves it: most visits have ended.
	q := store.Query{Workspace: workspace, Filter: store.Filter{Path: "ended", Op: store.Absent}, Sort: "place"}
	if place != "" {
		q.Filter = store.Filter{All: []store.Filter{q.Filter, equals("place", place)}}
	}
	out := map[string]api.Presence{}
	for n := 0; ; {
		q.Limit = min(1000, most-n)
		p, err := r.a.states.Find(ctx, "visits", q)
		if err != nil {
			return nil, false, fmt.Errorf("count open visits: %w", err)
		}
		for _, d := range p.Docs {
			v, err := fromJSON[struct {
				Place    string    `json:"place"`
				InsideAt time.Time `json:"inside_at"`
			}](d)
			if err != nil {
				return nil, false, fmt.Errorf("decode visit %s: %w", d.ID, err)
			}
			x := out[v.Place]
			if v.InsideAt.IsZero() {
				x.Arriving++
			} else {
				x.Inside++
			}
			out[v.Place] = x
		}
		if n += len(p.Docs); p.Next == "" || n >= most {
			return out, p.Next != "", nil
		}
		q.Cursor = p.Next
	}
}

// trackPlace is where a page of a track ended: its cursor.
type trackPlace struct {
	ms   int64 // time of the last fix that was shown
	seen int   // how many of that time were shown
}

func (p trackPlace) String() string {
	return strconv.FormatInt(p.ms, 10) + "." + strconv.Itoa(p.seen)
}

func parseTrackPlace(s string) (p trackPlace, err error) {
	ms, seen, _ := strings.Cut(s, ".")
	p.ms, err = strconv.ParseInt(ms, 10, 64)
	if err == nil {
		p.seen, err = strconv.Atoi(seen)
	}
	if err != nil || p.seen < 1 || p.ms < 0 {
		return p, engage.Errorf(engage.Invalid, "cursor", "is not a cursor of this list")
	}
	return p, nil
}

// Track implements api.History.
func (r reads) Track(ctx context.Context, workspace string, f api.TrackFilter, cursor string, limit int) (api.Page[api.TrackFix], error) {
	b := trackPage{filter: f, limit: limit}
	if cursor != "" {
		var err error
		if b.after, err = parseTrackPlace(cursor); err != nil {
			return api.Page[api.TrackFix]{}, err
		}
		b.skip = b.after.seen
		if last := time.UnixMilli(b.after.ms + 1); f.Before.IsZero() || last.Before(f.Before) {
			b.filter.Before = last
		}
	}
	// The states first: a part that is recorded meanwhile is seen twice, which is
	// noticed, and not missed.
	for _, install := range f.Installs {
		if err := b.openOf(ctx, r.a.states, workspace, install); err != nil {
			return api.Page[api.TrackFix]{}, err
		}
	}
	ids, err := r.everyID(ctx, workspace, f.Profile)
	if err != nil {
		return api.Page[api.TrackFix]{}, err
	}
	all := []store.Filter{oneOf("profile", ids)}
	if !f.From.IsZero() {
		all = append(all, store.Filter{Path: "hour_us", Op: store.Ge, Value: geo.HourOf(f.From).UnixMicro()})
	}
	if !b.filter.Before.IsZero() {
		all = append(all, store.Filter{Path: "hour_us", Op: store.Lt, Value: b.filter.Before.UnixMicro()})
	}
	q := store.Query{Workspace: workspace, Filter: store.Filter{All: all}, Sort: "-hour_us", Limit: min(100, 4+limit/50)}
	for {
		p, err := page(ctx, r.a.states, "tracks", q, fromJSON[engage.TrackChunk])
		if err != nil {
			return api.Page[api.TrackFix]{}, err
		}
		for i := range p.Items {
			if b.add(&p.Items[i]); b.full() {
				return b.page(), nil
			}
		}
		if p.Next == "" {
			b.endHours(-1)
			return b.page(), nil
		}
		q.Cursor = p.Next
	}
}

// trackPage puts a page together from chunks whose hours do not grow.
type trackPage struct {
	filter api.TrackFilter
	after  trackPlace
	limit  int
	skip   int // fixes of the time of after that were shown before

	open  []*engage.TrackChunk // in states, the newest hour first
	parts []*engage.TrackChunk // recorded, of the hour being read
	out   []api.TrackFix
}

// openOf takes what the state of an install holds.
func (b *trackPage) openOf(ctx context.Context, s store.Store, workspace, install string) error {
	doc, err := s.Get(ctx, "state_in", store.Key{Workspace: workspace, ID: "i:" + install})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read state of an install: %w", err)
	}
	in, err := fromJSON[struct {
		Tracks engage.Tracks `json:"tracks"`
	}](doc)
	if err != nil {
		return fmt.Errorf("decode state of an install: %w", err)
	}
	for _, o := range in.Tracks.Open() {
		b.open = append(b.open, o.Chunk(install, b.filter.Profile))
	}
	slices.SortStableFunc(b.open, func(x, y *engage.TrackChunk) int { return cmp.Compare(y.HourUS, x.HourUS) })
	return nil
}

// full reports that the page is, and that it is known whether there is more.
func (b *trackPage) full() bool { return len(b.out) > b.limit }

// add takes a recorded chunk; the hours before it are complete.
func (b *trackPage) add(c *engage.TrackChunk) {
	b.endHours(c.HourUS)
	b.parts = append(b.parts, c)
}

// endHours ends every hour above the given one, as Unix microseconds.
func (b *trackPage) endHours(above int64) {
	for !b.full() {
		hour := int64(-1)
		if len(b.parts) > 0 {
			hour = b.parts[0].HourUS
		}
		if len(b.open) > 0 {
			hour = max(hour, b.open[0].HourUS)
		}
		if hour <= above {
			return
		}
		b.endHour(hour)
	}
}

func (b *trackPage) endHour(hour int64) {
	var fixes []api.TrackFix
	take := func(c *engage.TrackChunk) {
		for _, f := range c.Track.Fixes() {
			if !f.At.Before(b.filter.From) && (b.filter.Before.IsZero() || f.At.Before(b.filter.Before)) {
				fixes = append(fixes, api.TrackFix{Install: c.Install, TrackFix: f})
			}
		}
	}
	recorded := map[string]bool{}
	if len(b.parts) > 0 && b.parts[0].HourUS == hour {
		for _, c := range b.parts {
			recorded[c.ID] = true
			take(c)
		}
		b.parts = b.parts[:0]
	}
	for len(b.open) > 0 && b.open[0].HourUS == hour {
		if !recorded[b.open[0].ID] {
			take(b.open[0])
		}
		b.open = b.open[1:]
	}
	slices.SortFunc(fixes, newestFirst)
	fixes = slices.Compact(fixes) // the same fix may have come twice
	for i, f := range fixes {
		if f.At.UnixMilli() != b.after.ms || b.skip == 0 {
			fixes = fixes[i:]
			b.out = append(b.out, fixes...)
			return
		}
		b.skip--
	}
}

// newestFirst is an order in which two fixes are only equal if they are the same.
func newestFirst(a, b api.TrackFix) int {
	return cmp.Or(
		b.At.Compare(a.At), cmp.Compare(a.Install, b.Install), cmp.Compare(a.Pos.Lat, b.Pos.Lat), cmp.Compare(a.Pos.Lng, b.Pos.Lng),
		cmp.Compare(a.AccuracyM, b.AccuracyM), cmp.Compare(a.Flags, b.Flags), cmp.Compare(a.Evidence, b.Evidence),
	)
}

func (b *trackPage) page() api.Page[api.TrackFix] {
	if !b.full() {
		return api.Page[api.TrackFix]{Items: b.out}
	}
	out := b.out[:b.limit]
	last := trackPlace{ms: out[len(out)-1].At.UnixMilli()}
	for _, f := range slices.Backward(out) {
		if f.At.UnixMilli() != last.ms {
			break
		}
		last.seen++
	}
	if last.ms == b.after.ms {
		last.seen += b.after.seen
	}
	return api.Page[api.TrackFix]{Items: out, Next: last.String()}
}
