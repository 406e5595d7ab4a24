package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// Limits of a call that triggers a campaign.
const (
	maxCalled         = 1000    // persons
	maxCallKey        = 200     // bytes of its key
	maxCallProperties = 4 << 10 // bytes of one person's
	maxCall           = 5 << 20 // bytes of all
)

// Called is a person whom a call names.
type Called struct {
	To         string          // "user_id:ada", "install:…" or the id of a profile
	Properties json.RawMessage // a JSON object; nil: none
}

// Call has a campaign decided for persons.
type Call struct {
	Workspace string
	Campaign  string
	Key       string        // under which it has effect once
	Place     *engage.Place // where it is about; nil: nowhere
	At        time.Time
	To        []Called
}

// CallState is what became of a person of a call.
type CallState string

// The states.
const (
	CallAccepted CallState = "accepted" // in the log: the campaign is decided for them
	CallUnknown  CallState = "unknown"  // nobody goes by that
	CallRepeated CallState = "repeated" // they stand in the call before, perhaps under another identifier
	CallRefused  CallState = "refused"  // what the call says of them is wrong, or they are to be left alone
)

// CallResult is that of one person.
type CallResult struct {
	State  CallState
	Person string // the profile's id; empty: not known
	Reason string // of CallRefused
}

// Calls takes calls. What it answers as accepted is durable, and is decided once however
// often a call is made under its key.
type Calls interface {
	Call(ctx context.Context, c *Call) ([]CallResult, error)
}

func (s *server) registerCalls() {
	register(s, operation{
		method: http.MethodPost, path: "/campaigns/{id}/trigger", id: "trigger-campaign", tag: tagCampaigns, role: catalog.Marketer,
		summary: "Trigger a campaign for persons",
		description: "Of a live campaign whose trigger is of type api. Whoever is answered as accepted stands in the log: the campaign is decided for them by all its gates, and decisions and explain tell what came of it. " +
			"A call that is made again under its key has no effect on whom it reached before; keys are remembered for 7 days at least, but for persons with more than 500 touches and calls since. " +
			"Of more than 100 persons the messages take the bulk lane.",
		body: callDoc{}, maxBody: maxCall, errors: []int{http.StatusConflict},
		examples: map[string]*huma.Example{"orders": {
			Summary: "Two orders are ready to be picked up",
			Value:   json.RawMessage(`{"key":"ready-2026-11-22-0900","place":"shop","recipients":[{"to":"user_id:ada","properties":{"order":"1001"}},{"to":"email:bob@example.org","properties":{"order":"1002"}}]}`),
		}},
	}, s.triggerCampaign)
}

type callDoc struct {
	Key        string          `json:"key" minLength:"1" maxLength:"200" doc:"Yours, of this call: under it a person is reached once, however often the call is made. Two messages to one person need two keys"`
	Place      string          `json:"place,omitempty" doc:"Id of the place that it is about: texts and context see it, its weather, its hours and its time. Absent: none"`
	Recipients []callRecipient `json:"recipients" minItems:"1" maxItems:"1000" nullable:"false"`
}

type callRecipient struct {
	To         string         `json:"to" doc:"A person by identifier (user_id:ada), by install (install:…) or by profile"`
	Properties map[string]any `json:"properties,omitempty" doc:"What texts and context see as trigger.properties; at most 4096 bytes"`
}

type callBody struct {
	Key        string `json:"key"`
	Place      string `json:"place"`
	Recipients []struct {
		To         string          `json:"to"`
		Properties json.RawMessage `json:"properties"`
	} `json:"recipients"`
}

type calledView struct {
	Campaign   string          `json:"campaign"`
	Accepted   int             `json:"accepted"`
	Recipients []callRowResult `json:"recipients" nullable:"false" doc:"In the order of the call"`
}

type callRowResult struct {
	To     string    `json:"to"`
	State  CallState `json:"state" enum:"accepted,unknown,repeated,refused" doc:"accepted: in the log, and decided by the gates; unknown: nobody goes by that; repeated: the person stands in the call before; refused: see reason"`
	Person string    `json:"person,omitempty" doc:"The profile's id"`
	Reason string    `json:"reason,omitempty"`
}

type callInput struct {
	ID string `path:"id" maxLength:"100" doc:"Of the campaign"`
	Raw
}

func (s *server) triggerCampaign(ctx context.Context, who caller, in *callInput) (*answered[*calledView], error) {
	var b callBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	c, err := s.campaign(who, in.ID)
	if err != nil {
		return nil, err
	}
	now := s.o.Clock.Now()
	switch {
	case c.Trigger.Type != engage.TriggerAPI:
		return nil, engage.Errorf(engage.Conflict, "id", "the campaign is triggered by %s, not by the API", c.Trigger.Type)
	case c.Status != engage.Live:
		return nil, engage.Errorf(engage.Conflict, "id", "the campaign is %s, not live", c.Status)
	case b.Key == "" || len(b.Key) > maxCallKey:
		return nil, engage.Errorf(engage.Invalid, "key", "1 to %d bytes, has %d", maxCallKey, len(b.Key))
	case len(b.Recipients) == 0:
		return nil, engage.Errorf(engage.Invalid, "recipients", "is required: say whom it is for")
	case len(b.Recipients) > maxCalled:
		return nil, engage.Errorf(engage.TooLarge, "recipients", "at most %d, has %d", maxCalled, len(b.Recipients))
	}
	call := &Call{Workspace: who.workspace, Campaign: c.ID, Key: b.Key, At: now}
	if b.Place != "" {
		if call.Place = s.o.Catalog.Now().Place(who.workspace, b.Place); call.Place == nil {
			return nil, engage.Errorf(engage.NotFound, "place", "there is no place %q", clip(b.Place))
		}
	}
	out := &calledView{Campaign: c.ID, Recipients: make([]callRowResult, len(b.Recipients))}
	var rows []int
	for i, r := range b.Recipients {
		row := &out.Recipients[i]
		row.To = clip(r.To)
		switch {
		case r.To == "" || len(r.To) > 1000 || strings.ContainsAny(r.To, "\x00\n\r"):
			row.State, row.Reason = CallRefused, "to: name a person by identifier, install or profile"
		case len(r.Properties) > maxCallProperties:
			row.State, row.Reason = CallRefused, "properties: at most 4096 bytes"
		case len(r.Properties) > 0 && r.Properties[0] != '{':
			row.State, row.Reason = CallRefused, "properties: must be an object"
		default:
			rows = append(rows, i)
			call.To = append(call.To, Called{r.To, r.Properties})
		}
	}
	if len(rows) == 0 {
		return &answered[*calledView]{out}, nil
	}
	results, err := s.o.Calls.Call(ctx, call)
	if err != nil {
		return nil, err
	}
	for n, r := range results {
		row := &out.Recipients[rows[n]]
		row.State, row.Person, row.Reason = r.State, r.Person, r.Reason
		if r.State == CallAccepted {
			out.Accepted++
		}
	}
	return &answered[*calledView]{out}, nil
}
