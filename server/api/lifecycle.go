package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func (s *server) registerLifecycle() {
	changes := []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired}
	register(s, operation{
		method: http.MethodGet, path: "/campaigns/{id}/versions", id: "list-campaign-versions", tag: tagCampaigns, role: catalog.Viewer,
		summary: "List the versions of a campaign", description: "The newest first, each with who made it, when, and which fields it changed.",
	}, s.listVersions)
	register(s, operation{
		method: http.MethodGet, path: "/campaigns/{id}/versions/{version}", id: "get-campaign-version", tag: tagCampaigns, role: catalog.Viewer,
		summary: "Get a campaign as it was in a version", description: "To go back to it, put it again, with the version that is there now.",
	}, s.getVersion)
	register(s, operation{
		method: http.MethodGet, path: "/campaigns/{id}/diff", id: "diff-campaign", tag: tagCampaigns, role: catalog.Viewer,
		summary: "Compare two versions of a campaign", description: "Field by field. Without versions: the newest with the one that was last live before it, or else with the one before it.",
	}, s.diffCampaign)
	register(s, operation{
		method: http.MethodPost, path: "/campaigns/{id}/duplicate", id: "duplicate-campaign", tag: tagCampaigns, role: catalog.Marketer, status: http.StatusCreated,
		summary:     "Make a draft from a campaign",
		description: "With all but its status, review, start and end. People are assigned to arms anew, since a campaign's id decides that.",
		body:        duplicateBody{}, errors: []int{http.StatusConflict},
	}, s.duplicateCampaign)
	register(s, operation{
		method: http.MethodGet, path: "/review-policy", id: "get-review-policy", tag: tagCampaigns, role: catalog.Viewer,
		summary: "Say whether a second person must look at campaigns",
	}, s.getReviewPolicy)
	register(s, operation{
		method: http.MethodPut, path: "/review-policy", id: "put-review-policy", tag: tagCampaigns, role: catalog.Admin,
		summary:     "Ask for a second person, or ask no more",
		description: "Where it is required, a campaign is made live only from the status review, as it stands there, by another key than those that made or changed it since it was last live; a change of a live campaign is saved with the status review, and nothing of it is sent until somebody approves. To pause and to end needs nobody. Campaigns that are live stay so.",
		body:        reviewPolicy{}, errors: changes,
	}, s.putReviewPolicy)
}

type campaignVersionView struct {
	Version int64         `json:"version"`
	At      time.Time     `json:"at"`
	By      string        `json:"by" doc:"Id of the key; system: the server"`
	Name    string        `json:"by_name,omitempty" doc:"Name of the key; absent when it is gone"`
	Status  engage.Status `json:"status,omitempty" doc:"That the campaign had then; absent: it was deleted"`
	Deleted bool          `json:"deleted,omitempty"`
	Changed []string      `json:"changed" nullable:"false" doc:"Paths of the fields that differ from the version before"`
}

// versionsOf are the revisions of a campaign, oldest first.
func (s *server) versionsOf(who caller, id string) ([]catalog.Revision, error) {
	all := s.o.Catalog.History(who.workspace, catalog.Campaigns, id)
	if len(all) == 0 {
		return nil, noCampaign("id", id)
	}
	return all, nil
}

func (s *server) keyName(workspace, id string) string {
	if k := s.o.Catalog.Now().Key(id); k != nil && k.Workspace == workspace {
		return k.Name
	}
	return ""
}

type versionsInput struct {
	ID string `path:"id" maxLength:"100"`
	Paging
}

func (s *server) listVersions(_ context.Context, who caller, in *versionsInput) (*answered[list[campaignVersionView]], error) {
	all, err := s.versionsOf(who, in.ID)
	if err != nil {
		return nil, err
	}
	before := int64(0)
	if in.Cursor != "" {
		if before, err = strconv.ParseInt(in.Cursor, 10, 64); err != nil {
			return nil, engage.Errorf(engage.Invalid, "cursor", "is not one of this list")
		}
	}
	page := Page[campaignVersionView]{}
	for i, r := range slices.Backward(all) {
		if before > 0 && r.Version >= before {
			continue
		}
		if len(page.Items) == in.Limit {
			page.Next = strconv.FormatInt(page.Items[len(page.Items)-1].Version, 10)
			break
		}
		v := campaignVersionView{Version: r.Version, At: r.At, By: r.By, Name: s.keyName(who.workspace, r.By), Deleted: r.Body == nil, Changed: []string{}}
		var old json.RawMessage
		if i > 0 {
			old = all[i-1].Body
		}
		if r.Body != nil {
			v.Status = statusIn(r.Body)
			v.Changed = paths(differences(old, r.Body))
		}
		page.Items = append(page.Items, v)
	}
	return listOf(page, func(v campaignVersionView) campaignVersionView { return v }), nil
}

func statusIn(body json.RawMessage) engage.Status {
	var x struct {
		Status engage.Status `json:"status"`
	}
	if json.Unmarshal(body, &x) != nil {
		return ""
	}
	return x.Status
}

type versionInput struct {
	ID      string `path:"id" maxLength:"100"`
	Version int64  `path:"version" minimum:"1"`
}

func (s *server) getVersion(_ context.Context, who caller, in *versionInput) (*answered[*engage.Campaign], error) {
	all, err := s.versionsOf(who, in.ID)
	if err != nil {
		return nil, err
	}
	c, err := campaignAt(all, in.Version, "version")
	if err != nil {
		return nil, err
	}
	return &answered[*engage.Campaign]{c}, nil
}

func campaignAt(all []catalog.Revision, version int64, field string) (*engage.Campaign, error) {
	for _, r := range all {
		if r.Version != version || r.Body == nil {
			continue
		}
		c := &engage.Campaign{}
		if err := json.Unmarshal(r.Body, c); err != nil {
			return nil, &engage.Error{Code: engage.Internal, Field: field, Msg: "this version cannot be read", Err: err}
		}
		return c, nil
	}
	return nil, engage.Errorf(engage.NotFound, field, "the campaign has no version %d", version)
}

type diffInput struct {
	ID   string `path:"id" maxLength:"100"`
	From int64  `query:"from" minimum:"1" doc:"Absent: the version that was live before to, or else the one before it"`
	To   int64  `query:"to" minimum:"1" doc:"Absent: the newest"`
}

type diffView struct {
	From    int64         `json:"from" doc:"0: to is the first version"`
	To      int64         `json:"to"`
	Changes []fieldChange `json:"changes" nullable:"false"`
}

func (s *server) diffCampaign(_ context.Context, who caller, in *diffInput) (*answered[*diffView], error) {
	all, err := s.versionsOf(who, in.ID)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(r catalog.Revision) bool { return r.Body == nil })
	at := func(version int64, field string) (int, error) {
		i := slices.IndexFunc(all, func(r catalog.Revision) bool { return r.Version == version })
		if i < 0 {
			return 0, engage.Errorf(engage.NotFound, field, "the campaign has no version %d", version)
		}
		return i, nil
	}
	to, from := len(all)-1, -1
	if in.To > 0 {
		if to, err = at(in.To, "to"); err != nil {
			return nil, err
		}
	}
	switch {
	case in.From > 0:
		if from, err = at(in.From, "from"); err != nil {
			return nil, err
		}
	default:
		for i := to - 1; i >= 0; i-- {
			if statusIn(all[i].Body) == engage.Live {
				from = i
				break
			}
		}
		if from < 0 {
			from = to - 1
		}
	}
	out := &diffView{To: all[to].Version}
	var old json.RawMessage
	if from >= 0 {
		out.From, old = all[from].Version, all[from].Body
	}
	out.Changes = differences(old, all[to].Body)
	return &answered[*diffView]{out}, nil
}

type duplicateBody struct {
	ID   string `json:"id" maxLength:"100" doc:"Of the new campaign"`
	Name string `json:"name,omitempty" maxLength:"200" doc:"Absent: that of the other, with (copy)"`
}

type duplicateInput struct {
	ID string `path:"id" maxLength:"100"`
	Raw
}

func (s *server) duplicateCampaign(ctx context.Context, who caller, in *duplicateInput) (*versioned[*engage.Campaign], error) {
	var b duplicateBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	old, err := s.campaign(who, in.ID)
	if err != nil {
		return nil, err
	}
	c := *old // a snapshot is never changed
	c.ID, c.Name, c.Status, c.Version, c.Review, c.Start, c.End = b.ID, b.Name, engage.Draft, 0, nil, nil, nil
	if c.Name == "" {
		const tail = " (copy)"
		c.Name = clipTo(old.Name, 200-len(tail)) + tail
	}
	if err := s.o.Catalog.PutCampaign(ctx, who.key.ID, &c, 0); err != nil {
		return nil, err
	}
	return versionedOf(&c, c.Version, 0), nil
}

// clipTo cuts a text to so many bytes, between characters.
func clipTo(text string, bytes int) string {
	if len(text) <= bytes {
		return text
	}
	for bytes > 0 && text[bytes]&0xC0 == 0x80 {
		bytes--
	}
	return text[:bytes]
}

type reviewPolicy struct {
	Version  int64 `json:"version" required:"false" doc:"Of the workspace's settings; in a change: that it was made from"`
	Required bool  `json:"required" doc:"A campaign is made live by a second person"`
}

func (s *server) getReviewPolicy(_ context.Context, who caller, _ *struct{}) (*versioned[reviewPolicy], error) {
	_, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	return versionedOf(reviewPolicy{w.Version, w.ReviewRequired}, w.Version, w.Version), nil
}

func (s *server) putReviewPolicy(ctx context.Context, who caller, in *putAttributesInput) (*versioned[reviewPolicy], error) {
	var b reviewPolicy
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	_, old, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	expected, err := Changing{IfMatch: in.IfMatch}.expected(old.Version, b.Version)
	if err != nil {
		return nil, err
	}
	w := *old // a snapshot is never changed
	w.ReviewRequired = b.Required
	if err := s.o.Catalog.PutWorkspace(ctx, who.key.ID, &w, expected); err != nil {
		return nil, err
	}
	return versionedOf(reviewPolicy{w.Version, w.ReviewRequired}, w.Version, old.Version), nil
}
