package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/template"
)

func (s *server) registerCampaigns() {
	register(s, operation{
		method: http.MethodGet, path: "/campaigns", id: "list-campaigns", tag: tagCampaigns, role: catalog.Viewer,
		summary: "List campaigns", description: "In order of id.",
	}, s.listCampaigns)
	register(s, operation{
		method: http.MethodGet, path: "/campaigns/{id}", id: "get-campaign", tag: tagCampaigns, role: catalog.Viewer,
		summary: "Get a campaign",
	}, s.getCampaign)
	changes := []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired}
	register(s, operation{
		method: http.MethodPut, path: "/campaigns/{id}", id: "put-campaign", tag: tagCampaigns, role: catalog.Marketer,
		summary: "Create or change a campaign",
		description: "Its rules and templates must compile, its texts keep to their limits with sample values, and its places exist, also while it is a draft: what is saved can be launched. " +
			"An image's address begins with https://, unless the operator has allowed it (media.allow_networks). " +
			"Where the operator wants it (media.check), its images are fetched: one that is no JPEG, PNG or GIF, or too large, is refused; a host that does not answer refuses nothing. With media.host they are kept as they are at that moment, and messages name them where the server serves them; saving again fetches again. " +
			"A push that FCM or APNs would find too large (4096 bytes) is refused with the field that takes most room; above 90 % of it, of variables that a person may lack, and of an end or an only time that is past, the answer has warnings. " +
			"A change names the version that it was made from, by If-Match or in the document.",
		body: engage.Campaign{}, examples: examplesOf(RainyDay, WelcomeBack, "order-ready", "checkout-help", "big-basket", "fresh-bread", "fitting-room", "left-in-basket", "rain-begins"), errors: changes,
	}, s.putCampaign)
	register(s, operation{
		method: http.MethodDelete, path: "/campaigns/{id}", id: "delete-campaign", tag: tagCampaigns, role: catalog.Marketer,
		summary:     "Delete a draft",
		description: "Campaigns that were live are ended instead, since their results stay.",
		errors:      []int{http.StatusConflict, http.StatusPreconditionFailed},
	}, s.deleteCampaign)
	register(s, operation{
		method: http.MethodPost, path: "/campaigns/{id}/status", id: "set-campaign-status", tag: tagCampaigns, role: catalog.Marketer,
		summary: "Submit, launch, pause or end a campaign",
		description: "review asks somebody else to look at it, live launches it or approves what is in review, draft gives it back to its makers. Without If-Match, whatever version is there. " +
			"What waits of a paused or ended campaign is not sent. An ended campaign does not change any more. Who may launch what is in review: see PUT /review-policy.",
		body: statusBody{}, errors: changes,
	}, s.setCampaignStatus)
	register(s, operation{
		method: http.MethodPost, path: "/campaigns/validate", id: "validate-campaign", tag: tagCampaigns, role: catalog.Viewer,
		summary:     "Check a campaign without saving it",
		description: "What is wrong with the campaign stands in the answer, which is 200 either way. Its images are looked at for a marketer's key, as when it is saved; those that could not be are warnings.",
		body:        engage.Campaign{}, examples: examplesOf(RainyDay, WelcomeBack, "order-ready", "checkout-help", "big-basket", "fresh-bread", "fitting-room", "left-in-basket", "rain-begins"),
	}, s.validateCampaign)
	s.registerPreview()
}

type listCampaignsInput struct {
	Paging
	Status string `query:"status" enum:"draft,review,live,paused,ended" doc:"Only campaigns of this status"`
	Name   string `query:"name" maxLength:"200" doc:"Only campaigns whose name contains it, in any case"`
}

func (s *server) listCampaigns(_ context.Context, who caller, in *listCampaignsInput) (*answered[list[*engage.Campaign]], error) {
	name := strings.ToLower(in.Name)
	all := slices.DeleteFunc(s.o.Catalog.Now().Campaigns(who.workspace), func(c *engage.Campaign) bool {
		return in.Status != "" && string(c.Status) != in.Status || !strings.Contains(strings.ToLower(c.Name), name)
	})
	page := pageByID(all, func(c *engage.Campaign) string { return c.ID }, in.Paging)
	return listOf(page, func(c *engage.Campaign) *engage.Campaign { return c }), nil
}

// campaign that must be there.
func (s *server) campaign(who caller, id string) (*engage.Campaign, error) {
	c := s.o.Catalog.Now().Campaign(who.workspace, id)
	if c == nil {
		return nil, noCampaign("id", id)
	}
	return c, nil
}

func noCampaign(field, id string) error {
	return engage.Errorf(engage.NotFound, field, "there is no campaign %q", clip(id))
}

func (s *server) getCampaign(_ context.Context, who caller, in *byID) (*versioned[*engage.Campaign], error) {
	c, err := s.campaign(who, in.ID)
	if err != nil {
		return nil, err
	}
	return versionedOf(c, c.Version, c.Version), nil
}

// campaignBody is a campaign as it comes in: what the server sets is not looked at.
type campaignBody struct {
	ID             string                 `json:"id"`
	Workspace      string                 `json:"workspace"`
	Version        int64                  `json:"version"`
	Name           string                 `json:"name"`
	Class          engage.Class           `json:"class"`
	Programme      engage.Programme       `json:"programme"`
	Status         engage.Status          `json:"status"`
	Tags           []string               `json:"tags"`
	Review         *reviewBody            `json:"review"`
	Priority       int                    `json:"priority"`
	Value          float64                `json:"value"`
	Lane           engage.Lane            `json:"lane"`
	Trigger        engage.CampaignTrigger `json:"trigger"`
	Audience       json.RawMessage        `json:"audience"`
	Context        json.RawMessage        `json:"context"`
	Offer          string                 `json:"offer"`
	Item           *engage.CampaignItem   `json:"item"`
	Arms           []engage.Arm           `json:"arms"`
	HoldoutPercent float64                `json:"holdout_percent"`
	Goal           *engage.Goal           `json:"goal"`
	Limits         engage.Limits          `json:"limits"`
	Start          string                 `json:"start"`
	End            string                 `json:"end"`
	TimeZone       string                 `json:"time_zone"`
	UpdatedAt      json.RawMessage        `json:"updated_at"`
	Warnings       json.RawMessage        `json:"warnings"`
	Findings       json.RawMessage        `json:"findings"`
}

// reviewBody is what a change may say of its review: the rest is the server's.
type reviewBody struct {
	Note        string          `json:"note"`
	RequestedBy json.RawMessage `json:"requested_by"`
	RequestedAt json.RawMessage `json:"requested_at"`
	Approved    json.RawMessage `json:"approved"`
	AnsweredBy  json.RawMessage `json:"answered_by"`
	AnsweredAt  json.RawMessage `json:"answered_at"`
	Comment     json.RawMessage `json:"comment"`
}

// timeIn reads a time with its offset, or one on the clocks of a zone.
func timeIn(field, text, zone string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return &t, nil
	}
	const local, minutes = "2006-01-02T15:04:05", "2006-01-02T15:04"
	layout := local
	if len(text) == len(minutes) {
		layout = minutes
	}
	if _, err := time.Parse(layout, text); err != nil {
		return nil, engage.Errorf(engage.Invalid, field, `must be a time such as "2026-12-01T09:00:00+01:00", or "2026-12-01T09:00" with time_zone, is %q`, clip(text))
	}
	z, known := engage.Zone(zone)
	if zone == "" || !known {
		return nil, engage.Errorf(engage.Invalid, field, "has no offset from UTC: give one, or time_zone")
	}
	t, err := time.ParseInLocation(layout, text, z)
	if err != nil || t.Format(layout) != text {
		return nil, engage.Errorf(engage.Invalid, field, "%s does not exist in %s: the clocks go forward then", text, zone)
	}
	return &t, nil
}

// savedCampaign is a campaign as it was saved.
type savedCampaign struct {
	*engage.Campaign
	Warnings []FieldError  `json:"warnings,omitempty"`
	Findings []TextFinding `json:"findings,omitempty"`
}

func readCampaign(who caller, id string, raw []byte) (*engage.Campaign, error) {
	var b campaignBody
	if err := decode(raw, &b); err != nil {
		return nil, err
	}
	if id == "" {
		id = b.ID
	}
	if err := sameID(who, id, b.ID, b.Workspace); err != nil {
		return nil, err
	}
	start, err := timeIn("start", b.Start, b.TimeZone)
	if err != nil {
		return nil, err
	}
	end, err := timeIn("end", b.End, b.TimeZone)
	if err != nil {
		return nil, err
	}
	var review *engage.Review
	if b.Review != nil {
		review = &engage.Review{Note: b.Review.Note}
	}
	return &engage.Campaign{
		ID: id, Workspace: who.workspace, Version: b.Version, Name: b.Name, Class: b.Class, Programme: b.Programme, Status: b.Status, Review: review, Priority: b.Priority,
		Lane: b.Lane, Trigger: b.Trigger, Audience: b.Audience, Context: b.Context, Offer: b.Offer, Item: b.Item, Arms: b.Arms, HoldoutPercent: b.HoldoutPercent, Goal: b.Goal,
		Limits: b.Limits, Start: start, End: end, TimeZone: b.TimeZone, Tags: b.Tags, Value: b.Value,
	}, nil
}

func (s *server) putCampaign(ctx context.Context, who caller, in *putInput) (*versioned[*savedCampaign], error) {
	c, err := readCampaign(who, in.ID, in.RawBody)
	if err != nil {
		return nil, err
	}
	var have int64
	if old := s.o.Catalog.Now().Campaign(who.workspace, in.ID); old != nil {
		have = old.Version
	}
	expected, err := in.expected(have, c.Version)
	if err != nil {
		return nil, err
	}
	warnings, err := s.tryTexts(c)
	if err != nil {
		return nil, err
	}
	kept, err := s.looked(ctx, who, c)
	if err != nil {
		return nil, err
	}
	if err := s.o.Catalog.PutCampaign(ctx, who.key.ID, c, expected); err != nil {
		return nil, err
	}
	s.inUse(ctx, c, kept)
	warnings = append(warnings, pastTimes(c, s.o.Clock.Now())...)
	return versionedOf(&savedCampaign{c, warnings, lint(c, s.o.Catalog.Now())}, c.Version, expected), nil
}

// tryTexts renders every arm with sample values. The error is of a text that no
// person would ever get, since it exceeds its limits whatever the values or makes a push
// too large for its provider, or of what nobody means (sound); the warnings are of what a
// person may lack, and of pushes that are nearly too large. It stands here and
// not where campaigns compile, since it costs up to some 10 ms per text and what was
// saved by an older version must still load, be paused and end. Texts that do not
// compile are left to Options.Compile.
func (s *server) tryTexts(c *engage.Campaign) (warnings []FieldError, err error) {
	if err := engage.At("limits", c.Limits.Sound()); err != nil {
		return nil, err
	}
	for i, a := range c.Arms {
		if err := s.sound(&a.Message); err != nil {
			return nil, engage.At(engage.Index("arms", i, "message"), err)
		}
		content, err := template.ParseContent(a.Message)
		if err != nil {
			continue
		}
		at := engage.Index("arms", i, "message")
		found, err := content.Trial(itemSamples(c, s.o.Catalog.Now()))
		if err != nil {
			return nil, engage.At(at, err)
		}
		near, err := s.pushSizes(c, &c.Arms[i], content)
		if err != nil {
			return nil, engage.At(at, err)
		}
		for _, w := range append(found, near...) {
			p := problemOf(engage.At(at, w))
			warnings = append(warnings, FieldError{p.Code, p.Field, p.Reason})
		}
	}
	return warnings, nil
}

// sound refuses channels that stand twice, a Live Activity, which no phone would show of
// a campaign, and an image by plain http, which phones do not load (iOS by its transport
// security, Android by its default for clear text).
func (s *server) sound(m *engage.Content) error {
	for i, ch := range m.Channels {
		if slices.Contains(m.Channels[:i], ch) {
			return engage.Errorf(engage.Invalid, fmt.Sprintf("channels[%d]", i), "stands twice: %q", ch)
		}
	}
	if m.Push != nil && m.Push.IOS != nil && m.Push.IOS.Live != nil {
		return engage.Errorf(engage.Unsupported, "push.ios.live_activity", "iOS starts and changes one by tokens of its own, to which campaigns do not send: see POST /api/v1/live-activities")
	}
	const plain = "http://"
	images := m.Images()
	for _, field := range slices.Sorted(maps.Keys(images)) {
		address := strings.TrimSpace(images[field])
		if len(address) < len(plain) || !strings.EqualFold(address[:len(plain)], plain) || s.o.PlainImages != nil && s.o.PlainImages(address) {
			continue
		}
		return engage.Errorf(engage.Invalid, field, "must begin with https://: phones load no image by http, and the operator has not allowed this address (media.allow_networks)")
	}
	return nil
}

func (s *server) deleteCampaign(ctx context.Context, who caller, in *deleteInput) (*struct{}, error) {
	expected, err := in.expected()
	if err != nil {
		return nil, err
	}
	return nil, s.o.Catalog.DeleteCampaign(ctx, who.key.ID, who.workspace, in.ID, expected)
}

type statusBody struct {
	Status  engage.Status `json:"status" enum:"draft,review,live,paused,ended"`
	Note    string        `json:"note,omitempty" maxLength:"2000" doc:"With review: to who will look at it"`
	Comment string        `json:"comment,omitempty" maxLength:"2000" doc:"Of who has looked at it, with live or draft"`
}

type statusInput struct {
	ID      string `path:"id" maxLength:"100"`
	IfMatch string `header:"If-Match" maxLength:"40" doc:"The ETag (version) that is meant; absent: whatever is there"`
	Raw
}

func (s *server) setCampaignStatus(ctx context.Context, who caller, in *statusInput) (*versioned[*engage.Campaign], error) {
	var b statusBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if !slices.Contains(engage.Statuses, b.Status) {
		return nil, engage.Errorf(engage.Invalid, "status", "must be one of %q, is %q", engage.Statuses, clip(string(b.Status)))
	}
	old, err := s.campaign(who, in.ID)
	if err != nil {
		return nil, err
	}
	expected, err := Changing{IfMatch: in.IfMatch}.expected(old.Version, old.Version)
	if err != nil {
		return nil, err
	}
	if old.Status == b.Status && old.Version == expected {
		return versionedOf(old, old.Version, old.Version), nil // it is so already
	}
	c := *old // a snapshot is never changed
	c.Status = b.Status
	c.Review = &engage.Review{Note: b.Note, Comment: b.Comment}
	if c.Status == engage.Live { // it may be of a version that did not try
		if _, err := s.tryTexts(&c); err != nil {
			return nil, err
		}
	}
	if err := s.o.Catalog.PutCampaign(ctx, who.key.ID, &c, expected); err != nil {
		return nil, err
	}
	return versionedOf(&c, c.Version, old.Version), nil
}

type validationView struct {
	Valid    bool          `json:"valid" doc:"It could be saved as it is"`
	Errors   []FieldError  `json:"errors" nullable:"false" doc:"What must be mended; more may come to light after the first"`
	Warnings []FieldError  `json:"warnings" nullable:"false" doc:"What could be saved but is perhaps not meant"`
	Findings []TextFinding `json:"findings" nullable:"false" doc:"The same of how the texts read, by platform and language"`
}

type bodyInput struct {
	Raw
}

func (s *server) validateCampaign(ctx context.Context, who caller, in *bodyInput) (*answered[*validationView], error) {
	now, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	out := &validationView{Errors: []FieldError{}, Warnings: []FieldError{}, Findings: []TextFinding{}}
	c, err := readCampaign(who, "", in.RawBody)
	if err == nil {
		if c.ID == "" {
			c.ID = "new" // a draft in an editor has none yet
		}
		err = s.o.Compile(c, now.AttributesWith(w))
	}
	var warnings []FieldError
	if err == nil {
		warnings, err = s.tryTexts(c)
	}
	if err == nil && who.is(catalog.Marketer) { // who may not save it sends the server nowhere
		var unseen []FieldError
		unseen, err = s.tryImages(ctx, c, s.check)
		warnings = append(warnings, unseen...)
	}
	if err != nil {
		p := problemOf(err)
		if p.Status >= http.StatusInternalServerError {
			return nil, err
		}
		out.Errors = append(out.Errors, FieldError{p.Code, p.Field, p.Reason})
		return &answered[*validationView]{out}, nil
	}
	out.Warnings = append(out.Warnings, warnings...)
	out.Findings = lint(c, now)
	if c.Item != nil && now.Catalogue(who.workspace, c.Item.Catalogue) == nil {
		out.Errors = append(out.Errors, FieldError{engage.Invalid, "item.catalogue", fmt.Sprintf("there is no catalogue %q", clip(c.Item.Catalogue))})
	}
	for i, id := range c.Trigger.Places {
		if now.Place(who.workspace, id) == nil {
			out.Errors = append(out.Errors, FieldError{engage.Invalid, fmt.Sprintf("trigger.places[%d]", i), fmt.Sprintf("there is no place %q", clip(id))})
		}
	}
	if c.Goal != nil {
		for i, id := range c.Goal.Places {
			if now.Place(who.workspace, id) == nil {
				out.Errors = append(out.Errors, FieldError{engage.Invalid, fmt.Sprintf("goal.places[%d]", i), fmt.Sprintf("there is no place %q", clip(id))})
			}
		}
	}
	for i, id := range c.Trigger.Beacons {
		if now.BeaconPlace(who.workspace, id) == "" {
			out.Errors = append(out.Errors, FieldError{engage.Invalid, fmt.Sprintf("trigger.beacons[%d]", i), fmt.Sprintf("there is no beacon %q", clip(id))})
		}
	}
	for i, tag := range c.Trigger.Tags {
		if !slices.ContainsFunc(now.Places(who.workspace), func(p *engage.Place) bool { return slices.Contains(p.Tags, tag) }) {
			out.Warnings = append(out.Warnings, FieldError{engage.NotFound, fmt.Sprintf("trigger.tags[%d]", i), fmt.Sprintf("no place carries the tag %q", clip(tag))})
		}
	}
	out.Warnings = append(out.Warnings, pastTimes(c, s.o.Clock.Now())...)
	out.Valid = len(out.Errors) == 0
	return &answered[*validationView]{out}, nil
}
