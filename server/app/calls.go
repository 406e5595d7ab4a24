package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/hours"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/store"
)

// bulkAbove is how many persons a call names whose messages still take the campaign's
// lane.
const bulkAbove = 100

// calls takes campaigns' calls to the partitions of their persons.
type calls struct{ a *App }

// Call implements api.Calls.
func (c calls) Call(ctx context.Context, call *api.Call) ([]api.CallResult, error) {
	trigger, err := callTrigger(call)
	if err != nil {
		return nil, err
	}
	out, err := c.persons(ctx, call)
	if err != nil {
		return nil, err
	}
	var entries []engage.Entry
	for i := range out {
		if out[i].State != api.CallAccepted {
			continue
		}
		t := trigger
		t.Properties = call.To[i].Properties
		body, err := json.Marshal(t)
		if err != nil {
			return nil, fmt.Errorf("encode call: %w", err)
		}
		entries = append(entries, engage.Entry{
			Kind: engage.KindCall, Key: engage.ProfileKey(call.Workspace, out[i].Person), Occurred: call.At, Body: body,
		})
	}
	return out, appendEach(ctx, c.a.router, entries)
}

// appendEach appends entries to the partitions of their persons and returns when all are
// durable. After an error some may be.
func appendEach(ctx context.Context, r *router, entries []engage.Entry) error {
	by := map[*partition.Partition][]engage.Entry{}
	for _, e := range entries {
		p := r.actOf(e.Key)
		by[p] = append(by[p], e)
	}
	g, ctx := errgroup.WithContext(ctx)
	for p, es := range by {
		g.Go(func() error { return busy(p.Append(ctx, es)) })
	}
	return g.Wait()
}

// callTrigger is the moment of a call, without a person's properties.
func callTrigger(call *api.Call) (engage.Trigger, error) {
	t := engage.Trigger{
		Type: engage.TriggerAPI, Campaign: call.Campaign, Occasion: engage.CallOccasion(call.Workspace, call.Campaign, call.Key),
		OccurredAt: call.At, Bulk: len(call.To) > bulkAbove,
	}
	if call.Place == nil {
		return t, nil
	}
	return t, at(&t, call.Place)
}

// at puts a place on a moment: its opening then, and its weather cell. The weather itself
// is for the person's partition to know.
func at(t *engage.Trigger, place *engage.Place) error {
	cell, err := geo.CellOf(place.Location, engage.WeatherResolution)
	if err != nil {
		return fmt.Errorf("weather cell of %s: %w", place.ID, err)
	}
	t.Place, t.Cell, t.WeatherIs = place.ID, cell.String(), engage.WeatherAbsent
	opening, err := hours.Of(place)
	if err != nil {
		return nil //nolint:nilerr // as situate has it: hours of an earlier build that cannot be read are not known
	}
	if state := opening.At(t.OccurredAt).State; state != hours.Unknown {
		t.Opening = string(state)
	}
	return nil
}

// persons finds out who is named. Who was heard of a moment ago stands in the log, and in
// the store only when the states are saved: where somebody is not found they are, and
// looked for again.
func (c calls) persons(ctx context.Context, call *api.Call) ([]api.CallResult, error) {
	out := make([]api.CallResult, len(call.To))
	missing := 0
	for i := range call.To {
		if err := c.person(ctx, call, i, out); err != nil {
			return nil, err
		}
		if out[i].State == api.CallUnknown {
			missing++
		}
	}
	if missing > 0 {
		if err := c.a.Flush(ctx); err != nil {
			return nil, fmt.Errorf("save states: %w", err)
		}
		for i := range call.To {
			if out[i].State != api.CallUnknown {
				continue
			}
			if err := c.person(ctx, call, i, out); err != nil {
				return nil, err
			}
		}
	}
	first := map[string]bool{}
	for i := range out {
		if out[i].State != api.CallAccepted {
			continue
		}
		if first[out[i].Person] {
			out[i].State = api.CallRepeated
		}
		first[out[i].Person] = true
	}
	return out, nil
}

func (c calls) person(ctx context.Context, call *api.Call, i int, out []api.CallResult) error {
	to, r := call.To[i].To, reads(c)
	id, err := to, error(nil)
	if strings.Contains(to, ":") {
		if c.a.people.Suppressed(call.Workspace, to) {
			out[i] = api.CallResult{State: api.CallRefused, Reason: "the person is to be left alone"}
			return nil
		}
		id, err = r.ProfileOf(ctx, call.Workspace, to)
	}
	var body []byte
	if err == nil {
		id, body, err = c.a.now(ctx, call.Workspace, id)
	}
	if e, is := errors.AsType[*engage.Error](err); is && e.Code == engage.NotFound || errors.Is(err, store.ErrNotFound) {
		err, body = nil, nil
	}
	switch {
	case err != nil:
		return err
	case body == nil:
		out[i] = api.CallResult{State: api.CallUnknown}
	default:
		out[i] = api.CallResult{State: api.CallAccepted, Person: id}
	}
	return nil
}
