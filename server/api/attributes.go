package api

import (
	"context"
	"net/http"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

func (s *server) registerAttributes() {
	register(s, operation{
		method: http.MethodGet, path: "/attributes", id: "get-attributes", tag: tagCampaigns, role: catalog.Viewer,
		summary: "Get the declared attributes of persons",
	}, s.getAttributes)
	register(s, operation{
		method: http.MethodPut, path: "/attributes", id: "put-attributes", tag: tagCampaigns, role: catalog.Marketer,
		summary:     "Declare the attributes of persons",
		description: "The whole set: rules may ask about these, and about those whose first values have taught their type (/attribute-types); a declared type goes before a learned one. A value of another type is dropped, alone, and listed by /dropped. One that a campaign which has not ended asks about stays, with its type.",
		body:        attributesDoc{}, errors: []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired},
	}, s.putAttributes)
	register(s, operation{
		method: http.MethodGet, path: "/fields", id: "list-fields", tag: tagCampaigns, role: catalog.Viewer,
		summary:     "List what rules may ask about",
		description: "Fields with their types, operators and values: for audiences (the person), contexts (the moment) and an event trigger's where.",
	}, s.listFields)
}

type attributesDoc struct {
	Version    int64                 `json:"version" required:"false" doc:"Of the workspace's settings; in a change: that it was made from"`
	Attributes map[string]rules.Type `json:"attributes" doc:"Type by name: string, number, bool, time, strings"`
}

func attributesOf(w *catalog.Workspace) attributesDoc {
	out := attributesDoc{Version: w.Version, Attributes: w.Attributes}
	if out.Attributes == nil {
		out.Attributes = map[string]rules.Type{}
	}
	return out
}

func (s *server) getAttributes(_ context.Context, who caller, _ *struct{}) (*versioned[attributesDoc], error) {
	_, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	return versionedOf(attributesOf(w), w.Version, w.Version), nil
}

type putAttributesInput struct {
	IfMatch string `header:"If-Match" maxLength:"40" doc:"The ETag (version) that the change was made from"`
	Raw
}

func (s *server) putAttributes(ctx context.Context, who caller, in *putAttributesInput) (*versioned[attributesDoc], error) {
	var b attributesDoc
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if b.Attributes == nil {
		return nil, engage.Errorf(engage.Invalid, "attributes", "is missing")
	}
	now, old, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	expected, err := Changing{IfMatch: in.IfMatch}.expected(old.Version, b.Version)
	if err != nil {
		return nil, err
	}
	w := *old // a snapshot is never changed
	w.Attributes = b.Attributes
	if err := w.Validate(); err != nil {
		return nil, err
	}
	for _, c := range now.Campaigns(who.workspace) {
		// One that does not compile today is not the fault of this change.
		if c.Status == engage.Ended || s.o.Compile(c, now.AttributesWith(old)) != nil {
			continue
		}
		if err := s.o.Compile(c, now.AttributesWith(&w)); err != nil {
			return nil, engage.Errorf(engage.Conflict, "attributes", "campaign %q would not work any more: %s", c.ID, asEngage(err).Msg)
		}
	}
	if err := s.o.Catalog.PutWorkspace(ctx, who.key.ID, &w, expected); err != nil {
		return nil, err
	}
	return versionedOf(attributesOf(&w), w.Version, old.Version), nil
}

type fieldsView struct {
	Audience []rules.Field `json:"audience" nullable:"false"`
	Context  []rules.Field `json:"context" nullable:"false"`
	Event    []rules.Field `json:"event" nullable:"false"`
	Weather  []rules.Field `json:"weather" nullable:"false" doc:"Of a weather trigger's where"`
}

func (s *server) listFields(_ context.Context, who caller, _ *struct{}) (*answered[fieldsView], error) {
	now, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	return &answered[fieldsView]{fieldsView{
		Audience: rules.PersonSchema(now.AttributesWith(w)).Fields(), Context: rules.MomentSchema().Fields(), Event: rules.EventSchema().Fields(), Weather: rules.WeatherSchema().Fields(),
	}}, nil
}
