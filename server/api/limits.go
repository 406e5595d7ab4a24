package api

import (
	"context"
	"net/http"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func (s *server) registerLimits() {
	register(s, operation{
		method: http.MethodGet, path: "/limits", id: "get-limits", tag: tagCampaigns, role: catalog.Viewer,
		summary: "Get how much all campaigns together may ask of one person",
	}, s.getLimits)
	register(s, operation{
		method: http.MethodPut, path: "/limits", id: "put-limits", tag: tagCampaigns, role: catalog.Marketer,
		summary: "Say how much all campaigns together may ask of one person",
		description: "The whole of it; {} takes all limits away. They hold for marketing messages from the next decision on, and count what was decided before, as far back as it is remembered: 33 days, or the longest window that was set then. " +
			"A message counts when it is decided, for those who are held out too, and nothing is given back when it ends undelivered. " +
			"For a cap of a channel it counts as every channel by which it may go, since it is known only later by which it went; a message goes by the channels whose caps are not reached, and is not sent if none is left. " +
			"Days, weeks and months are of the person's local time: the zone of the phone, else of the place. " +
			"Of one person at most 200 decisions are remembered one by one; older ones count, beyond that, as if they were as new as the newest of them and of every tag and channel. Service messages are neither limited nor counted.",
		body: limitPolicyDoc{}, examples: examplesOf("limits"),
		errors: []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired},
	}, s.putLimits)
}

type policyCapDoc struct {
	Tag     string `json:"tag,omitempty" doc:"Of the messages of campaigns that carry this tag; with neither tag nor channel: of all"`
	Channel string `json:"channel,omitempty" enum:"in_app,push,inbox" doc:"Of the messages that may go by it; not together with tag"`

	Max      int    `json:"max" minimum:"1" maximum:"1000" doc:"Messages within the window, at most"`
	WindowS  int    `json:"window_s,omitempty" minimum:"1" maximum:"31622400" doc:"A window that rolls: the seconds before; or else calendar"`
	Calendar string `json:"calendar,omitempty" enum:"day,week,month" doc:"A period in the person's local time; weeks begin on Monday"`
}

type attentionDoc struct {
	Points  int `json:"points" minimum:"1" maximum:"1000" doc:"That a person's messages may cost within the window; each costs what its campaign says (limits.attention), 1 if that says nothing"`
	WindowS int `json:"window_s,omitempty" minimum:"3600" maximum:"31622400" doc:"The seconds before; absent: a week"`
}

type limitPolicyDoc struct {
	Version   int64          `json:"version" required:"false" doc:"0 while none were ever set. In a change: that it was made from"`
	Caps      []policyCapDoc `json:"caps,omitempty" maxItems:"50" nullable:"false" doc:"Each must allow a message"`
	GapS      int            `json:"gap_s,omitempty" minimum:"0" maximum:"2592000" doc:"Seconds between two messages to a person, at least"`
	Quiet     *quietHoursDoc `json:"quiet_hours,omitempty" doc:"Of campaigns that have none of their own"`
	Attention *attentionDoc  `json:"attention,omitempty" doc:"A budget that all programmes share; absent: none"`
	MayIgnore bool           `json:"may_ignore,omitempty" doc:"Campaigns may leave all of this aside (limits.ignore_global)"`
	UpdatedAt *time.Time     `json:"updated_at,omitempty" readOnly:"true"`
}

// limitPolicyBody is a policy as it goes in and out.
type limitPolicyBody struct {
	Version   int64              `json:"version"`
	Caps      []engage.PolicyCap `json:"caps,omitempty"`
	GapS      int                `json:"gap_s,omitempty"`
	Quiet     *engage.QuietHours `json:"quiet_hours,omitempty"`
	Attention *engage.Attention  `json:"attention,omitempty"`
	MayIgnore bool               `json:"may_ignore,omitempty"`
	UpdatedAt *time.Time         `json:"updated_at,omitempty"` // what comes in is not looked at
}

func limitPolicyOf(p *engage.LimitPolicy) limitPolicyBody {
	if p == nil {
		return limitPolicyBody{}
	}
	return limitPolicyBody{p.Version, p.Caps, p.GapS, p.Quiet, p.Attention, p.MayIgnore, &p.UpdatedAt}
}

func (s *server) getLimits(_ context.Context, who caller, _ *struct{}) (*versioned[limitPolicyBody], error) {
	p := s.o.Catalog.Now().Limits(who.workspace)
	out := &versioned[limitPolicyBody]{Status: http.StatusOK, Body: limitPolicyOf(p)}
	if p != nil {
		out.ETag = etag(p.Version)
	}
	return out, nil
}

func (s *server) putLimits(ctx context.Context, who caller, in *putAttributesInput) (*versioned[limitPolicyBody], error) {
	var b limitPolicyBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	var have int64
	if old := s.o.Catalog.Now().Limits(who.workspace); old != nil {
		have = old.Version
	}
	expected, err := Changing{IfMatch: in.IfMatch}.expected(have, b.Version)
	if err != nil {
		return nil, err
	}
	p := &engage.LimitPolicy{
		Workspace: who.workspace, Caps: b.Caps, GapS: b.GapS, Quiet: b.Quiet, Attention: b.Attention, MayIgnore: b.MayIgnore,
	}
	if err := s.o.Catalog.PutLimits(ctx, who.key.ID, p, expected); err != nil {
		return nil, err
	}
	return versionedOf(limitPolicyOf(p), p.Version, expected), nil
}
