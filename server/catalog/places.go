package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// takenBy refuses a place whose geofences or beacons belong to another one.
func (s *Snapshot) takenBy(p *engage.Place) error {
	for i, f := range p.Geofences {
		if owner := s.fences[p.Workspace][f.ID]; owner != "" && owner != p.ID {
			return engage.Errorf(engage.Conflict, engage.Index("geofences", i, "id"), "%q is a geofence of place %q", f.ID, owner)
		}
	}
	for i := range p.Beacons {
		b := &p.Beacons[i]
		if owner := s.beacons[p.Workspace+"/"+b.ID]; owner != "" && owner != p.ID {
			return engage.Errorf(engage.Conflict, engage.Index("beacons", i, "id"), "%q is a beacon of place %q", b.ID, owner)
		}
		if owner := s.beacons[p.Workspace+"/"+b.Key()]; owner != "" && owner != p.ID {
			return engage.Errorf(engage.Conflict, fmt.Sprintf("beacons[%d]", i), "stands at place %q already", owner)
		}
	}
	return nil
}

// PlaceEdit is one place to be put. Expected is as with PutPlace.
type PlaceEdit struct {
	Place    *engage.Place
	Expected int64
}

// PlaceOutcome is what became of an edit. Err is why it was refused; the others have
// none and their Place its new version. Unchanged: the place is as it was already,
// and nothing was written.
type PlaceOutcome struct {
	Created   bool
	Unchanged bool
	Err       error
}

const (
	// maxBatchBytes bounds a revision of several places, so that a record of the log
	// holds it with room to spare.
	maxBatchBytes = 1 << 20
	// maxRecordBytes bounds any revision: the log takes 4 MiB, with its own words.
	maxRecordBytes = 4<<20 - 64<<10
	// maxHeld is how long a burst may go on before partitions take what is there.
	maxHeld = 10 * time.Second
)

// PutPlaces creates or replaces places of one workspace, as PutPlace does each, with
// few revisions: several places are one record of the log, which is there as a whole
// or not at all. One that is refused stops no other. The answer has an outcome per
// edit; the error is that of the log, and edits without an outcome were not tried.
// Where the log did not confirm a record (engage.Unavailable), its places may be
// there or not: the same edits again settle it.
//
// What is put is in Now at once, but partitions, which compile the whole
// configuration when it changes, are told by Announce, by any other change, or when
// the burst goes on for maxHeld. Whoever calls PutPlaces calls Announce in the end.
func (c *Catalog) PutPlaces(ctx context.Context, by, workspace string, edits []PlaceEdit) ([]PlaceOutcome, error) {
	c.write.Lock()
	defer c.write.Unlock()
	if err := c.catchUp(ctx); err != nil {
		return nil, err
	}
	if c.Now().Workspaces[workspace] == nil {
		return nil, engage.Errorf(engage.NotFound, "workspace", "there is no workspace %q", workspace)
	}
	out := make([]PlaceOutcome, 0, len(edits))
	for len(out) < len(edits) {
		done, err := c.putSome(ctx, by, workspace, edits[len(out):])
		out = append(out, done...)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// putSome makes a revision of the first of the edits, at least one, and tells what
// became of each. c.write is held.
func (c *Catalog) putSome(ctx context.Context, by, workspace string, edits []PlaceEdit) ([]PlaceOutcome, error) {
	r := Revision{V: 2, At: c.o.Clock.Now(), By: by, Workspace: workspace, Kind: Places}
	next := c.Now().copyFor(r)
	var out []PlaceOutcome
	var put []int // of edits: what is in the revision
	size := 0
	for i, e := range edits {
		change, outcome := next.edit(workspace, e, r.At)
		if change != nil {
			if size += len(change.Body); size > maxBatchBytes && len(r.Batch) > 0 {
				break // it comes first in the next revision
			}
			one := Revision{V: 1, Workspace: workspace, Kind: Places, ID: change.ID, Version: change.Version, Body: change.Body}
			if err := next.apply(one); err != nil {
				return out, err
			}
			r.Batch, put = append(r.Batch, *change), append(put, i)
		}
		out = append(out, outcome)
	}
	if len(r.Batch) == 0 {
		return out, nil
	}
	if err := c.appendRecord(ctx, r); err != nil {
		return out[:put[0]], err
	}
	for i, change := range r.Batch {
		p := edits[put[i]].Place
		p.Version, p.UpdatedAt = change.Version, r.At
	}
	next.Revision++
	r.pack()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revisions = append(c.revisions, r)
	c.now = next
	if c.held.IsZero() {
		c.held = r.At
	}
	if r.At.Sub(c.held) >= maxHeld {
		c.announce()
	}
	return out, nil
}

// edit checks one edit; the change is nil where it makes none.
func (s *Snapshot) edit(workspace string, e PlaceEdit, at time.Time) (*Change, PlaceOutcome) {
	p := e.Place
	refuse := func(err error) (*Change, PlaceOutcome) { return nil, PlaceOutcome{Err: engage.FromGeo(err)} }
	if p.Workspace != workspace {
		return refuse(engage.Errorf(engage.Forbidden, "workspace", "must be %q", workspace))
	}
	if err := ValidatePlace(p); err != nil {
		return refuse(err)
	}
	have := s.version(workspace, Places, p.ID)
	if e.Expected != AnyVersion && have != e.Expected {
		return refuse(conflict(Places, p.ID, have, e.Expected))
	}
	if err := s.takenBy(p); err != nil {
		return refuse(err)
	}
	same := *p
	if old := s.Place(workspace, p.ID); old != nil {
		same.Version, same.UpdatedAt = old.Version, old.UpdatedAt
		was, err := json.Marshal(old)
		if err != nil {
			return refuse(fmt.Errorf("encode place %s: %w", p.ID, err))
		}
		is, err := json.Marshal(&same)
		if err != nil {
			return refuse(fmt.Errorf("encode place %s: %w", p.ID, err))
		}
		if bytes.Equal(was, is) {
			p.Version, p.UpdatedAt = old.Version, old.UpdatedAt
			return nil, PlaceOutcome{Unchanged: true}
		}
	}
	same.Version, same.UpdatedAt = s.lastVersion(workspace, Places, p.ID)+1, at
	body, err := json.Marshal(&same)
	if err != nil {
		return refuse(fmt.Errorf("encode place %s: %w", p.ID, err))
	}
	if most := maxRecordBytes - 4096; len(body) > most {
		return refuse(engage.Errorf(engage.TooLarge, "geofences", "must have at most %d bytes as JSON with all of the place, has %d: give shapes fewer points", most, len(body)))
	}
	return &Change{ID: p.ID, Version: same.Version, Body: body}, PlaceOutcome{Created: have == 0}
}

// Announce tells partitions of what PutPlaces has put.
func (c *Catalog) Announce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.announce()
}

// appendRecord makes a revision durable. c.write is held.
func (c *Catalog) appendRecord(ctx context.Context, r Revision) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode revision: %w", err)
	}
	if len(data) > maxRecordBytes {
		return engage.Errorf(engage.TooLarge, "", "must have at most %d bytes as JSON, has %d: give shapes fewer points", maxRecordBytes, len(data))
	}
	subject := "config." + strings.ReplaceAll(r.Workspace, ".", "-")
	// Who asked may go away meanwhile: that must not leave the change in doubt.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	if _, err = c.stream.Append(ctx, subject, data, int64(c.Now().Revision)); err != nil { //nolint:gosec // sequences stay far below 2^63
		c.uncertain = true
		return &engage.Error{Code: engage.Unavailable, Msg: "the configuration log did not confirm the change: look whether it is there, and try again", Err: err}
	}
	return nil
}

// CheckPlaces tells what PutPlaces would make of the edits, and changes nothing. It
// sees these edits, not those of other calls.
func (c *Catalog) CheckPlaces(workspace string, edits []PlaceEdit) []PlaceOutcome {
	next := c.Now().copyFor(Revision{Kind: Places, Workspace: workspace})
	out := make([]PlaceOutcome, len(edits))
	for i, e := range edits {
		var change *Change
		if change, out[i] = next.edit(workspace, e, c.o.Clock.Now()); change == nil {
			continue
		}
		one := Revision{V: 1, Workspace: workspace, Kind: Places, ID: change.ID, Version: change.Version, Body: change.Body}
		if err := next.apply(one); err != nil {
			out[i] = PlaceOutcome{Err: err}
		}
	}
	return out
}
