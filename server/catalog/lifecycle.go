package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// # The life of a campaign
//
// draft → in review → live → paused → ended. Whoever may change campaigns may take each
// step, unless the workspace asks for a second person (Workspace.ReviewRequired): then a
// campaign becomes live only from its review, as it stands there, by somebody who has had
// no hand in it since it was last approved; to pause and to end needs nobody. What was
// approved may be paused and made live again. A change of it goes to review first, and
// sends nothing meanwhile.

// lives checks a step of a campaign's life and writes down who took it. old is nil for a
// new one.
func (c *Catalog) lives(s *Snapshot, by string, old, cam *engage.Campaign) error {
	now := c.o.Clock.Now().UTC()
	w := s.Workspaces[cam.Workspace]
	was := engage.Draft
	var had *engage.Review
	if old != nil {
		was, had = old.Status, old.Review
	}
	note, comment := noteOf(cam.Review), commentOf(cam.Review)
	if len(note) > engage.MaxNote || len(comment) > engage.MaxNote {
		return engage.Errorf(engage.TooLarge, "review.note", "at most %d bytes", engage.MaxNote)
	}
	changed := old == nil || !sameContent(old, cam)
	to := cam.Status
	switch {
	case was == engage.Ended:
		return engage.Errorf(engage.Conflict, "status", "an ended campaign does not change: duplicate it instead")
	case old == nil && to == engage.Ended:
		return engage.Errorf(engage.Invalid, "status", "a new campaign is a draft, in review, live or paused")
	case to == engage.Draft && (was == engage.Live || was == engage.Paused):
		return engage.Errorf(engage.Invalid, "status", "a campaign that was live can be paused, reviewed or ended, not made a draft")
	case w != nil && w.ReviewRequired:
		if err := c.reviewed(by, old, cam, changed); err != nil {
			return err
		}
	}
	switch {
	case to == engage.InReview && (was != engage.InReview || changed):
		cam.Review = &engage.Review{RequestedBy: by, RequestedAt: &now, Note: note}
	case was == engage.InReview && (to == engage.Live || to == engage.Draft):
		r := engage.Review{}
		if had != nil {
			r = *had
		}
		r.Approved, r.AnsweredBy, r.AnsweredAt, r.Comment = to == engage.Live, by, &now, comment
		cam.Review = &r
	case changed && had != nil && had.Approved:
		cam.Review = nil // what was approved is not what stands there now
	default:
		cam.Review = had
	}
	return nil
}

func noteOf(r *engage.Review) string {
	if r == nil {
		return ""
	}
	return r.Note
}

func commentOf(r *engage.Review) string {
	if r == nil {
		return ""
	}
	return r.Comment
}

// reviewed refuses what needs a second person.
func (c *Catalog) reviewed(by string, old, cam *engage.Campaign, changed bool) error {
	if cam.Status != engage.Live && (cam.Status != engage.Paused || !changed) {
		return nil
	}
	switch {
	case old == nil || old.Status == engage.Draft:
		return engage.Errorf(engage.Conflict, "status", `this workspace asks for a second person: save it with the status "review", and somebody else makes it live`)
	case changed:
		return engage.Errorf(engage.Conflict, "status", `this workspace asks for a second person: save the change with the status "review", and somebody else makes it live`)
	case old.Status == engage.InReview:
		if hands := c.hands(cam.Workspace, cam.ID); slices.Contains(hands, by) {
			return engage.Errorf(engage.Forbidden, "status", "you have made or changed this campaign yourself: somebody else must look at it")
		}
	case old.Status == engage.Paused && (old.Review == nil || !old.Review.Approved):
		if !c.wasLive(cam.Workspace, cam.ID) {
			return engage.Errorf(engage.Conflict, "status", `nobody has looked at this campaign: give it the status "review" first`)
		}
	}
	return nil
}

// hands are who has changed a campaign since it was last live.
func (c *Catalog) hands(workspace, id string) []string {
	var out []string
	for _, r := range slices.Backward(c.History(workspace, Campaigns, id)) {
		var x struct {
			Status engage.Status `json:"status"`
		}
		if r.Body == nil || json.Unmarshal(r.Body, &x) == nil && (x.Status == engage.Live || x.Status == engage.Paused) {
			break
		}
		out = append(out, r.By)
	}
	return out
}

// wasLive: the campaign was live as it stands now, before the workspace asked for reviews.
func (c *Catalog) wasLive(workspace, id string) bool {
	var next *engage.Campaign
	for _, r := range slices.Backward(c.History(workspace, Campaigns, id)) {
		x := &engage.Campaign{}
		if r.Body == nil || json.Unmarshal(r.Body, x) != nil || next != nil && !sameContent(x, next) {
			return false
		}
		if x.Status == engage.Live {
			return true
		}
		next = x
	}
	return false
}

// sameContent reports whether two versions of a campaign say the same, whatever their
// status.
func sameContent(a, b *engage.Campaign) bool {
	x, y := bare(a), bare(b)
	return x != nil && bytes.Equal(x, y)
}

// bare is the campaign without what its life changes; nil if it cannot be encoded.
func bare(c *engage.Campaign) []byte {
	x := *c
	x.Version, x.Status, x.Review, x.UpdatedAt = 0, "", nil, time.Time{}
	b, err := json.Marshal(&x)
	if err != nil {
		return nil
	}
	return b
}

// StopAll sends nothing more out of a workspace, or goes on when stop is nil. It asks
// for no version: who pulls it does not read first.
func (c *Catalog) StopAll(ctx context.Context, by, workspace string, stop *engage.Stop) error {
	for {
		old := c.Now().Workspaces[workspace]
		if old == nil {
			return engage.Errorf(engage.NotFound, "workspace", "there is no workspace %q", workspace)
		}
		w := *old
		if stop != nil {
			s := *stop
			s.By, s.At = by, c.o.Clock.Now().UTC()
			stop = &s
		}
		w.Stop = stop
		err := c.put(ctx, by, Workspaces, &w, old.Version, nil)
		if engage.CodeOf(err) == engage.Conflict && c.Now().Workspaces[workspace].Version != old.Version {
			continue // somebody changed another setting meanwhile
		}
		return err
	}
}

// everLive reports whether a campaign was ever live, so that it may have results.
func (c *Catalog) everLive(workspace, id string) bool {
	return slices.ContainsFunc(c.History(workspace, Campaigns, id), func(r Revision) bool {
		x := &engage.Campaign{}
		return r.Body != nil && json.Unmarshal(r.Body, x) == nil && x.Status == engage.Live
	})
}
