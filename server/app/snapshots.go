package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// Past is a person as they were at a moment.
type Past struct {
	// State is nil when nothing is kept of before the moment's day: the person came to be
	// on it, and the entries of the log since then tell the rest.
	State *decide.Person
	// Exact: State is what they were. Otherwise entries of the log are missing in it,
	// those from Next on with an earlier log time than the moment.
	Exact bool
	// Changed is the log time of the newest entry that is in State.
	Changed time.Time
	// Next is where the first entry that is not in State stands; zero where State is the
	// present one, or nil.
	Next engage.Source
	// Moved is the profile that this one had become before the moment, and that is asked
	// for instead; State is nil.
	Moved string
}

// StateAt is what the states in the store say that a profile was at a moment, which is
// before whatever was logged at that time. At the beginning of a day it is exact as long
// as snapshots are kept. It is as new as the newest save: Flush first. An error of code
// NotFound: nobody had the profile then, or it is not kept any more.
func StateAt(ctx context.Context, states store.Store, workspace, profile string, at time.Time) (*Past, error) {
	none := engage.Errorf(engage.NotFound, "id", "nothing is kept of what %s was at that time", profile)
	earlier, later, err := around(ctx, states, workspace, profile, at)
	if err != nil {
		return nil, err
	}
	if later != nil && before(later.Changed, at) {
		return later.past(true), nil
	}
	var came time.Time // the first that is known of the person
	if later != nil {
		came = later.State.FirstSeen
	} else {
		now, err := presentState(ctx, states, workspace, profile, at)
		if err != nil {
			return nil, err
		}
		switch {
		case now == nil:
		case now.Exact || now.Moved != "":
			return now, nil
		case now.State != nil:
			came = now.State.FirstSeen
		}
	}
	switch {
	case earlier != nil:
		return earlier.past(false), nil
	case came.IsZero() || !before(came, at) || came.UTC().Truncate(24*time.Hour).Before(at.UTC().Truncate(24*time.Hour)):
		return nil, none
	}
	return &Past{}, nil
}

// before reports whether a log time, which is kept in whole microseconds, is before a
// moment.
func before(changed, at time.Time) bool { return !changed.Add(time.Microsecond).After(at) }

type snapshot struct{ *decide.Snapshot }

func (s snapshot) past(exact bool) *Past {
	return &Past{
		State: s.State, Exact: exact, Changed: s.Changed,
		Next: engage.Source{Partition: s.Partition, Incarnation: s.Incarnation, Seq: s.Seq, Index: s.Index},
	}
}

// around are the last snapshot that was taken before a moment and the first one after it;
// nil where there is none. A person has one for each day at most: all are read.
func around(ctx context.Context, states store.Store, workspace, profile string, at time.Time) (earlier, later *snapshot, err error) {
	found := errors.New("found")
	shelf := decide.SnapshotShelf(profile)
	var docs [2]*store.Doc
	err = states.Iterate(ctx, decide.Snapshots, store.Query{Workspace: workspace, IDPrefix: shelf}, func(d store.Doc) error {
		if d.ID < shelf+engage.TimelineTime(at) {
			docs[0] = &d
			return nil
		}
		docs[1] = &d
		return found
	})
	if err != nil && !errors.Is(err, found) {
		return nil, nil, fmt.Errorf("read snapshots: %w", err)
	}
	var out [2]*snapshot
	for i, d := range docs {
		if d == nil {
			continue
		}
		s, err := decide.DecodeSnapshot(d.Body)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", d.ID, err)
		}
		out[i] = &snapshot{s}
	}
	return out[0], out[1], nil
}

// presentState is what the profile is now, if it has been that since the moment; not
// exact otherwise; nil when there is none.
func presentState(ctx context.Context, states store.Store, workspace, profile string, at time.Time) (*Past, error) {
	doc, err := states.Get(ctx, "state_act", store.Key{Workspace: workspace, ID: "p:" + profile})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read person: %w", err)
	}
	st, err := decide.Machine{}.Decode(engage.ProfileKey(workspace, profile), doc.Body)
	if err != nil {
		return nil, fmt.Errorf("decode person: %w", err)
	}
	switch now := st.(type) {
	case *decide.Person:
		return &Past{State: now, Exact: before(now.ChangedAt(), at), Changed: now.ChangedAt()}, nil
	case *decide.Moved:
		if before(now.At, at) {
			return &Past{Moved: now.Redirect}, nil
		}
	}
	return nil, nil
}
