package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/schedule"
	"github.com/footfall-engage/footfall/server/store"
)

// occurrences is the collection of engage.Occurrence.
const occurrences = "occurrences"

// occurrencesKept is for how long one is kept after its last change.
const occurrencesKept = 90 * 24 * time.Hour

func occurrencesCollection() store.Collection {
	return store.Collection{Name: occurrences, Indexes: []store.Index{{Name: "state", Paths: []string{"state"}}}}
}

func (a *App) newScheduler() *schedule.Scheduler {
	return schedule.New(schedule.Options{
		Campaigns: func() (out []*engage.Campaign) {
			now := a.catalog.Now()
			for ws := range now.Workspaces {
				for _, c := range now.Campaigns(ws) {
					if c.Trigger.Type == engage.TriggerSchedule {
						out = append(out, c)
					}
				}
			}
			slices.SortFunc(out, func(a, b *engage.Campaign) int {
				return strings.Compare(a.Workspace+"/"+a.ID, b.Workspace+"/"+b.ID)
			})
			return out
		},
		Changed: a.catalog.Changed, People: scheduled{a.states}, Records: occurrenceRecords{a},
		Log:   &uploadLog{router: a.router, last: map[*partition.Partition][inFlight]landed{}},
		Clock: a.o.Clock, Logger: a.log,
	})
}

// scheduled are the persons of whom the store has a state.
type scheduled struct{ states store.Store }

// Page implements schedule.Options.
func (s scheduled) Page(ctx context.Context, workspace, after string, limit int) (out []schedule.Person, next string, _ error) {
	page, err := s.states.Find(ctx, "state_act", store.Query{
		Workspace: workspace, Sort: "_id", Limit: limit,
		Filter: store.Filter{All: []store.Filter{{Path: "_id", Op: store.Gt, Value: "p:" + after}, {Path: "_id", Op: store.Lt, Value: "p;"}}},
	})
	if err != nil {
		return nil, "", err
	}
	for _, d := range page.Docs {
		id := strings.TrimPrefix(d.ID, "p:")
		if len(page.Docs) == limit {
			next = id
		}
		if decide.RedirectOf(d.Body) != "" {
			continue
		}
		p, err := decide.ReadProfile(d.Body)
		if err != nil {
			return nil, "", fmt.Errorf("person %s: %w", id, err)
		}
		out = append(out, schedule.Person{ID: id, Phones: p.DevicesByUse()})
	}
	return out, next, nil
}

// Count implements schedule.Options.
func (s scheduled) Count(ctx context.Context, workspace string) (int64, error) {
	return s.states.Count(ctx, "state_act", store.Query{
		Workspace: workspace, IDPrefix: "p:", Filter: store.Filter{Path: "redirect", Op: store.Absent},
	})
}

// occurrenceRecords keeps occurrences in the store.
type occurrenceRecords struct{ a *App }

// Get implements schedule.Options.
func (r occurrenceRecords) Get(ctx context.Context, workspace, id string) (*engage.Occurrence, error) {
	d, err := r.a.states.Get(ctx, occurrences, store.Key{Workspace: workspace, ID: id})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o, err := fromJSON[engage.Occurrence](d)
	return &o, err
}

// Put implements schedule.Options. The scheduler is its only writer.
func (r occurrenceRecords) Put(ctx context.Context, o *engage.Occurrence) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return r.a.states.Apply(ctx, store.Batch{Puts: []store.Put{{
		Collection: occurrences, Key: store.Key{Workspace: o.Workspace, ID: o.ID()}, Body: body,
		If: store.AnyVersion, Expires: r.a.o.Clock.Now().Add(occurrencesKept),
	}}})
}

// Running implements schedule.Options.
func (r occurrenceRecords) Running(ctx context.Context) (out []*engage.Occurrence, _ error) {
	q := store.Query{Filter: store.Filter{Path: "state", Op: store.Eq, Value: string(engage.OccurrenceRunning)}}
	err := r.a.states.Iterate(ctx, occurrences, q, func(d store.Doc) error {
		o, err := fromJSON[engage.Occurrence](d)
		out = append(out, &o)
		return err
	})
	return out, err
}

// Occurrences implements api.Occurrences.
func (r occurrenceRecords) Occurrences(ctx context.Context, workspace, campaign, cursor string, limit int) (api.Page[engage.Occurrence], error) {
	q := store.Query{Workspace: workspace, IDPrefix: campaign + "/", Sort: "-_id", Cursor: cursor, Limit: limit}
	return page(ctx, r.a.states, occurrences, q, fromJSON[engage.Occurrence])
}
