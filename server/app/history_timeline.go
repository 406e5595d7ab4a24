package app

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

const (
	// fewEntries of a profile that was merged are read at once, instead of class by class:
	// most were an install for a few minutes.
	fewEntries = 100
	// shelvesAtOnce are read side by side, for a store on another machine.
	shelvesAtOnce = 4
)

// timelineLine is an entry with what its id says of when and where it was logged: the
// order of the list, and its cursor.
type timelineLine struct {
	at string // "<log time>/<position>"
	engage.TimelineEntry
}

// timelineSpan is a stretch of a timeline, by what stands in ids behind the shelf: from
// the first on and before the second.
type timelineSpan struct{ from, before string }

// noTime comes after every time and before every class.
const noTime = ":"

// spanOf is that of a filter behind a cursor.
func spanOf(f api.TimelineFilter, cursor string) (timelineSpan, error) {
	x := timelineSpan{before: noTime}
	if !f.From.IsZero() {
		x.from = engage.TimelineTime(f.From)
	}
	if !f.Before.IsZero() {
		x.before = engage.TimelineTime(f.Before)
	}
	if cursor != "" {
		if len(cursor) < 22 || cursor[20] != '/' || strings.Trim(cursor[:20], "0123456789") != "" {
			return x, badQuery(store.ErrBadQuery)
		}
		x.before = min(x.before, cursor)
	}
	return x, nil
}

func (x timelineSpan) holds(at string) bool { return x.from <= at && at < x.before }

// Timeline implements api.People. Each class of each profile that the person has been is
// a range of ids, of which the newest are read; what an earlier build wrote stands by
// itself, whatever its class.
func (r reads) Timeline(ctx context.Context, workspace, profile string, f api.TimelineFilter, cursor string, limit int) (api.Page[engage.TimelineEntry], error) {
	none := api.Page[engage.TimelineEntry]{}
	span, err := spanOf(f, cursor)
	if err != nil {
		return none, err
	}
	ids, err := r.everyID(ctx, workspace, profile)
	if err != nil {
		return none, err
	}
	classes := []engage.TimelineClass{f.Class}
	if f.Class == "" {
		classes = engage.TimelineClasses()
	}
	read := timelineReader{states: r.a.states, workspace: workspace, span: span, most: limit + 1} // one more, to see whether there are more
	var parts [][]func(context.Context) ([]timelineLine, error)
	for _, id := range ids {
		shelves := []func(context.Context) ([]timelineLine, error){func(ctx context.Context) ([]timelineLine, error) { return read.old(ctx, id, f.Class) }}
		for _, c := range classes {
			shelves = append(shelves, func(ctx context.Context) ([]timelineLine, error) {
				return read.shelf(ctx, engage.TimelineShelf(id, c), store.Filter{})
			})
		}
		parts = append(parts, shelves)
	}
	for i, id := range ids[1:] { // those that were merged
		few, all, err := read.few(ctx, id, f.Class)
		if err != nil {
			return none, err
		}
		if all {
			parts[1+i] = []func(context.Context) ([]timelineLine, error){func(context.Context) ([]timelineLine, error) { return few, nil }}
		}
	}
	shelves := slices.Concat(parts...)
	found := make([][]timelineLine, len(shelves))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(shelvesAtOnce)
	for i, shelf := range shelves {
		g.Go(func() (err error) {
			found[i], err = shelf(gctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return none, err
	}
	return timelinePage(slices.Concat(found...), limit), nil
}

// timelinePage are the newest of some lines.
func timelinePage(all []timelineLine, limit int) api.Page[engage.TimelineEntry] {
	// Of two profiles at once the order is that of the profiles: none has two of the same
	// place.
	slices.SortStableFunc(all, func(a, b timelineLine) int { return strings.Compare(b.at, a.at) })
	out := api.Page[engage.TimelineEntry]{Items: []engage.TimelineEntry{}}
	for i := range all {
		if len(out.Items) >= limit && all[i].at != all[i-1].at { // entries of one place stay together
			out.Next = all[i-1].at
			break
		}
		out.Items = append(out.Items, all[i].TimelineEntry)
	}
	return out
}

// timelineReader reads entries of a span, the newest first.
type timelineReader struct {
	states    store.Store
	workspace string
	span      timelineSpan
	most      int
}

func (r *timelineReader) find(ctx context.Context, shelf string, q store.Query) (api.Page[timelineLine], error) {
	q.Workspace, q.Sort = r.workspace, "-_id"
	return page(ctx, r.states, "timeline", q, func(d store.Doc) (timelineLine, error) {
		e, err := fromJSON[engage.TimelineEntry](d)
		return timelineLine{strings.TrimPrefix(d.ID, shelf), e}, err
	})
}

// shelf reads the newest of the ids that begin with the text, of what the filter takes.
// One lower bound and one upper bound make it a range of the key's index: a third one
// would be looked at document by document.
func (r *timelineReader) shelf(ctx context.Context, shelf string, only store.Filter) ([]timelineLine, error) {
	q := store.Query{Limit: r.most, Filter: store.Filter{All: []store.Filter{
		{Path: store.IDPath, Op: store.Ge, Value: shelf + r.span.from},
		{Path: store.IDPath, Op: store.Lt, Value: shelf + r.span.before},
	}}}
	if !only.IsZero() {
		q.Filter.All = append(q.Filter.All, only)
	}
	p, err := r.find(ctx, shelf, q)
	return p.Items, err
}

// old reads the newest of a class (empty: of all) that an earlier build wrote. Of a class
// it looks at the others of the person's, too: those entries end with their retention.
func (r *timelineReader) old(ctx context.Context, profile string, c engage.TimelineClass) ([]timelineLine, error) {
	rest := *r
	var out []timelineLine
	for {
		lines, err := rest.shelf(ctx, engage.TimelineShelf(profile, ""), oldOnes(c))
		if err != nil {
			return nil, err
		}
		for _, l := range lines {
			if c == "" || l.Class() == c {
				out = append(out, l)
			}
		}
		if len(lines) < r.most || len(out) >= r.most {
			return out[:min(len(out), r.most)], nil
		}
		rest.span.before = lines[len(lines)-1].at
	}
}

// oldOnes takes what an earlier build wrote that can be of a class, so that little else is
// read.
func oldOnes(c engage.TimelineClass) store.Filter {
	kind := func(kinds ...string) store.Filter { return oneOf("kind", kinds) }
	touch := equals("kind", string(engage.KindTouch))
	switch c {
	case "", engage.ClassEvents: // most are events
		return store.Filter{}
	case engage.ClassVisits:
		return store.Filter{All: []store.Filter{kind(string(engage.KindTrigger)), {Path: "data.transition", Op: store.Exists}}}
	case engage.ClassPurchases:
		return store.Filter{All: []store.Filter{touch, {Path: "data.order", Op: store.Exists}}}
	}
	// What touches say beside an event or an order is of its class.
	others := []store.Filter{touch, {Path: "data.event", Op: store.Absent}, {Path: "data.order", Op: store.Absent}}
	return store.Filter{Any: []store.Filter{kind(engage.KindsOf(c)...), {All: others}}}
}

// few reads all that a profile has, if that is little.
func (r *timelineReader) few(ctx context.Context, profile string, c engage.TimelineClass) (lines []timelineLine, all bool, err error) {
	shelf := engage.TimelineShelf(profile, "")
	p, err := r.find(ctx, shelf, store.Query{IDPrefix: shelf, Limit: fewEntries})
	if err != nil || p.Next != "" {
		return nil, false, err
	}
	for _, l := range p.Items {
		if i := strings.IndexByte(l.at, '/'); i == 1 {
			l.at = l.at[2:] // behind the letter of its class
		}
		if r.span.holds(l.at) && (c == "" || l.Class() == c) {
			lines = append(lines, l)
		}
	}
	return lines, true, nil
}
