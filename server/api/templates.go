package api

import (
	"context"
	"embed"
	"encoding/json"
	"net/http"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

//go:embed templates/*.json
var templateFiles embed.FS

func (s *server) registerTemplates() {
	register(s, operation{
		method: http.MethodGet, path: "/campaign-templates", id: "list-campaign-templates", tag: tagCampaigns, role: catalog.Viewer,
		summary: "List campaigns to begin with, one per programme", description: "Each can be put under /campaigns/{id} as it is, and is a draft then.",
	}, s.listTemplates)
	register(s, operation{
		method: http.MethodGet, path: "/campaign-templates/{programme}", id: "get-campaign-template", tag: tagCampaigns, role: catalog.Viewer,
		summary: "Get the campaign to begin a programme with",
	}, s.getTemplate)
}

type templateView struct {
	Programme engage.Programme `json:"programme"`
	Words     string           `json:"words" doc:"What it does"`
	Campaign  json.RawMessage  `json:"campaign" doc:"To be put under /campaigns/{id}"`
}

// templateWords say what each does.
var templateWords = map[engage.Programme]string{
	engage.Acquisition: "Who stays in a shop for the first time and has never ordered gets something off the first order, once a year at most",
	engage.Conversion:  "Who has looked at things in the app, comes near a shop that is not closed and has not bought for two weeks is asked in; once a week",
	engage.Loyalty:     "Who has visited five times and was there within the last month gets a coffee at the next visit, once a month",
	engage.ServiceTo:   "Says that an order is ready; it is a service, so it needs no marketing consent and knows no quiet hours",
	engage.Retention:   "Who was last there 30 to 90 days ago and comes near is asked in again, once a month",
	engage.Winback:     "Who has bought before, not within 90 days, and comes near: words alone against a discount, with a control group; once in three months",
}

func templateOf(p engage.Programme) (*templateView, error) {
	if templateWords[p] == "" {
		return nil, engage.Errorf(engage.NotFound, "programme", "there is no programme %q: they are %q", clip(string(p)), engage.Programmes)
	}
	b, err := templateFiles.ReadFile("templates/" + string(p) + ".json")
	if err != nil {
		return nil, err
	}
	return &templateView{Programme: p, Words: templateWords[p], Campaign: b}, nil
}

func (s *server) listTemplates(_ context.Context, _ caller, _ *struct{}) (*answered[list[*templateView]], error) {
	page := Page[*templateView]{}
	for _, p := range engage.Programmes {
		t, err := templateOf(p)
		if err != nil {
			return nil, err
		}
		page.Items = append(page.Items, t)
	}
	return listOf(page, func(t *templateView) *templateView { return t }), nil
}

type templateInput struct {
	Programme string `path:"programme" maxLength:"100"`
}

func (s *server) getTemplate(_ context.Context, _ caller, in *templateInput) (*answered[*templateView], error) {
	t, err := templateOf(engage.Programme(in.Programme))
	if err != nil {
		return nil, err
	}
	return &answered[*templateView]{t}, nil
}
