package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/template"
)

// PreviewOf is a campaign and a moment at which somebody wants to see what it says.
type PreviewOf struct {
	Campaign   *engage.Campaign
	Attributes map[string]rules.Type
	// Person is the state of somebody, as People.Profile gives it; nil: of an example
	// person.
	Person           json.RawMessage
	Platform, Locale string // of the phone; empty: the person's own, else an example's
	Places           []*engage.Place
	Trigger          engage.Trigger // what is known of it: place, weather, install, properties
	At               time.Time

	Catalogues []*engage.Catalogue
	Items      []engage.KnownItem // what is known of the items that the texts look at
	Example    *engage.KnownItem  // the item that the campaign is about, where nobody says which; what it lacks is made up, all if nil
}

// Previewed is what one arm says then.
type Previewed struct {
	Arm, Platform string
	Phone         string // its locale; empty: not known
	Rendered      template.Rendered
	Lacking       []error  // variables that have no value (empty in Rendered), texts of which nothing is left: it would not be sent
	Err           error    // why it cannot be rendered even so
	Samples       []string // variables of its texts that are of an example

	Asks []engage.ItemRef // items that its texts look at, and that are not in PreviewOf.Items
}

// platforms are those that a preview shows unless it is asked for one.
var platforms = []string{"ios", "android"}

func (s *server) registerPreview() {
	if s.o.Preview == nil {
		return
	}
	register(s, operation{
		method: http.MethodPost, path: "/campaigns/preview", id: "preview-campaign", tag: tagCampaigns, role: catalog.Viewer,
		summary: "See what a campaign would say",
		description: "To a person, at a place, in a weather, in a language: each arm as it would be written, on each platform, with the room that it takes as a push. " +
			"What is not given is of an example, and said to be (samples). No gate is asked: this is not whether they would get it. " +
			"Nothing is sent and nothing kept, but that you have looked at the person.",
		body: campaignPreviewBody{}, errors: []int{http.StatusNotFound},
		examples: map[string]*huma.Example{
			"person":  {Summary: "To a person at a shop in the rain", Value: json.RawMessage(`{"campaign_id":"rainy-day","person":"user_id:ada","place":"shop","weather":{"condition":"rain","temperature_c":9}}`)},
			"example": {Summary: "A draft, to nobody in particular, in Dutch", Value: json.RawMessage(`{"campaign":{"name":"Order ready","class":"service","status":"draft","trigger":{"type":"event","event":"order_ready"},"arms":[{"id":"a","message":{"title":"Order {{ trigger.properties.order }}","locale":"en","locales":{"nl":{"title":"Bestelling {{ trigger.properties.order }}"}}}}]},"properties":{"order":"1001"},"locale":"nl-NL"}`)},
		},
	}, s.preview)
}

type campaignPreviewBody struct {
	Campaign   json.RawMessage            `json:"campaign,omitempty" doc:"A campaign as it would be saved; this or campaign_id"`
	CampaignID string                     `json:"campaign_id,omitempty" maxLength:"100"`
	Arm        string                     `json:"arm,omitempty" maxLength:"100" doc:"Absent: every arm"`
	Person     string                     `json:"person,omitempty" maxLength:"600" doc:"Profile id, user_id:… or install:…; absent: an example person"`
	Place      string                     `json:"place,omitempty" maxLength:"100" doc:"Absent: of a campaign for places the first of its places, else an example"`
	DistanceM  float64                    `json:"distance_m,omitempty" minimum:"0" doc:"From the place"`
	Weather    *previewWeather            `json:"weather,omitempty" doc:"Absent: an example"`
	Properties map[string]json.RawMessage `json:"properties,omitempty" doc:"Of the event or the call that triggers"`
	Locale     string                     `json:"locale,omitempty" maxLength:"35" example:"nl-NL" doc:"Of the phone; absent: as the person's phone has it"`
	Platform   string                     `json:"platform,omitempty" enum:"ios,android,web" doc:"Absent: ios and android"`
	At         *time.Time                 `json:"at,omitempty" doc:"When; absent: now"`
}

type previewWeather struct {
	Condition     string   `json:"condition" enum:"clear,partly_cloudy,cloudy,fog,rain,sleet,snow,thunder"`
	TemperatureC  float64  `json:"temperature_c"`
	FeelsLikeC    *float64 `json:"feels_like_c,omitempty" doc:"Absent: as the temperature"`
	Precipitation float64  `json:"precipitation_mm,omitempty" minimum:"0"`
	WindMPS       float64  `json:"wind_mps,omitempty" minimum:"0"`
	UV            float64  `json:"uv,omitempty" minimum:"0"`
	Night         bool     `json:"night,omitempty"`
}

func (w *previewWeather) weather(at time.Time) (*engage.Weather, error) {
	if w == nil {
		return nil, nil
	}
	known := []string{"clear", "partly_cloudy", "cloudy", "fog", "rain", "sleet", "snow", "thunder"}
	ok := false
	for _, c := range known {
		ok = ok || c == w.Condition
	}
	if !ok {
		return nil, engage.Errorf(engage.Invalid, "weather.condition", "must be one of %s, is %q", strings.Join(known, ", "), clip(w.Condition))
	}
	out := &engage.Weather{
		At: at, Kind: "forecast", Condition: w.Condition, TemperatureC: w.TemperatureC, FeelsLikeC: w.TemperatureC,
		Precipitation: w.Precipitation, WindMPS: w.WindMPS, UV: w.UV, Day: !w.Night,
	}
	if w.FeelsLikeC != nil {
		out.FeelsLikeC = *w.FeelsLikeC
	}
	return out, nil
}

// campaignPreviewView is the answer.
type campaignPreviewView struct {
	Previews []armPreview `json:"previews" nullable:"false" doc:"By arm, then by platform"`
}

type armPreview struct {
	Arm      string            `json:"arm"`
	Platform string            `json:"platform"`
	Phone    string            `json:"phone_locale,omitempty" doc:"Of the phone that it is written for"`
	Locale   string            `json:"locale,omitempty" doc:"Of the text that was chosen; absent: the message does not say its own"`
	Sendable bool              `json:"sendable" doc:"The texts can be written. If not, a person like this would get nothing, for the reason render"`
	Title    string            `json:"title"`
	Text     string            `json:"body"`
	Subtitle string            `json:"subtitle,omitempty"`
	DeepLink string            `json:"deep_link,omitempty"`
	ImageURL string            `json:"image_url,omitempty"`
	Data     map[string]string `json:"data,omitempty"`
	Actions  []actionDoc       `json:"actions,omitempty" nullable:"false"`
	Errors   []FieldError      `json:"errors" nullable:"false" doc:"Why it is not sendable"`
	Missing  []string          `json:"missing" nullable:"false" doc:"Variables that have no value, and were taken for empty"`
	Samples  []string          `json:"samples" nullable:"false" doc:"Variables of the texts that are of an example, since you gave none"`
	Findings []TextFinding     `json:"findings" nullable:"false" doc:"What could be sent and is perhaps not meant"`
	Push     *pushRoom         `json:"push,omitempty" doc:"As a push; absent: it is none, or the platform has none"`
}

type pushRoom struct {
	Provider string `json:"provider"`
	Bytes    int    `json:"bytes"`
	Limit    int    `json:"limit"`
	Fits     bool   `json:"fits"`
	Largest  string `json:"largest_field,omitempty" doc:"That takes most room"`
}

func (s *server) preview(ctx context.Context, who caller, in *bodyInput) (*answered[*campaignPreviewView], error) {
	var b campaignPreviewBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	ask, err := s.previewOf(ctx, who, &b)
	if err != nil {
		return nil, err
	}
	on := platforms
	if b.Platform != "" {
		on = []string{b.Platform}
	}
	out := &campaignPreviewView{Previews: []armPreview{}}
	for i := range ask.Campaign.Arms {
		one := *ask.Campaign
		one.Arms = ask.Campaign.Arms[i : i+1]
		if b.Arm != "" && one.Arms[0].ID != b.Arm {
			continue
		}
		for _, platform := range on {
			of := *ask
			of.Campaign, of.Platform = &one, platform
			got, err := s.previewItems(ctx, who, &of)
			if err != nil {
				return nil, err
			}
			for j := range got {
				out.Previews = append(out.Previews, s.armPreview(&one, &got[j]))
			}
		}
	}
	if len(out.Previews) == 0 {
		return nil, engage.Errorf(engage.NotFound, "arm", "the campaign has no arm %q", clip(b.Arm))
	}
	return &answered[*campaignPreviewView]{out}, nil
}

// previewItems is a preview with the items that the texts look at: one may name others.
func (s *server) previewItems(ctx context.Context, who caller, of *PreviewOf) ([]Previewed, error) {
	if about := of.Campaign.Item; about != nil && s.o.Catalog.Now().Catalogue(who.workspace, about.Catalogue) != nil {
		first, _, err := s.o.Items.List(ctx, who.workspace, about.Catalogue, engage.ItemListing{Limit: 1})
		if err != nil {
			return nil, err
		}
		for _, i := range first {
			of.Example = &engage.KnownItem{ItemRef: engage.ItemRef{Catalogue: i.Catalogue, ID: i.ID}, Version: i.Version, Fields: i.Fields}
		}
	}
	for {
		got, err := s.o.Preview(of)
		if err != nil || len(got) == 0 || len(got[0].Asks) == 0 {
			return got, err
		}
		more, err := s.o.Items.Known(ctx, who.workspace, got[0].Asks) // of each a limited number, none twice
		if err != nil {
			return nil, err
		}
		of.Items = append(of.Items, more...)
	}
}

// previewOf is what the request asks for.
func (s *server) previewOf(ctx context.Context, who caller, b *campaignPreviewBody) (*PreviewOf, error) {
	now, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	of := &PreviewOf{Attributes: now.AttributesWith(w), Locale: b.Locale, At: s.o.Clock.Now(), Trigger: engage.Trigger{DistanceM: b.DistanceM, Ring: engage.Inside}}
	if b.At != nil {
		of.At = *b.At
	}
	if of.Campaign, err = s.previewed(who, b); err != nil {
		return nil, err
	}
	if of.Trigger.Weather, err = b.Weather.weather(of.At); err != nil {
		return nil, err
	}
	if len(b.Properties) > 0 {
		if of.Trigger.Properties, err = json.Marshal(b.Properties); err != nil {
			return nil, engage.Errorf(engage.Invalid, "properties", "is not a JSON object")
		}
	}
	of.Places, of.Catalogues = now.Places(who.workspace), now.Catalogues(who.workspace)
	of.Trigger.Place = b.Place
	if t := of.Campaign.Trigger; b.Place == "" && len(t.Places) > 0 {
		of.Trigger.Place = t.Places[0]
	}
	if b.Place != "" && now.Place(who.workspace, b.Place) == nil {
		return nil, engage.Errorf(engage.NotFound, "place", "there is no place %q", clip(b.Place))
	}
	if b.Person != "" {
		if err := s.previewPerson(ctx, who, b.Person, of); err != nil {
			return nil, err
		}
	}
	return of, nil
}

// previewed is the campaign, which compiles.
func (s *server) previewed(who caller, b *campaignPreviewBody) (*engage.Campaign, error) {
	given := len(bytes.TrimSpace(b.Campaign)) > 0
	switch {
	case given == (b.CampaignID != ""):
		return nil, engage.Errorf(engage.Invalid, "campaign", "either campaign or campaign_id is needed")
	case !given:
		c := s.o.Catalog.Now().Campaign(who.workspace, b.CampaignID)
		if c == nil {
			return nil, noCampaign("campaign_id", b.CampaignID)
		}
		return c, nil
	}
	c, err := readCampaign(who, "", b.Campaign)
	if err != nil {
		return nil, engage.At("campaign", err)
	}
	if c.ID == "" {
		c.ID = "new" // a draft in an editor has none yet
	}
	now, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	return c, engage.At("campaign", s.o.Compile(c, now.AttributesWith(w)))
}

// previewPerson puts a person in, and notes that somebody looked.
func (s *server) previewPerson(ctx context.Context, who caller, id string, of *PreviewOf) error {
	found, err := s.find(ctx, who, id)
	if err == nil {
		of.Person, err = s.o.People.Profile(ctx, who.workspace, found)
	}
	switch {
	case engage.CodeOf(err) == engage.NotFound:
		return engage.Errorf(engage.NotFound, "person", "there is no person %q", clip(id))
	case err != nil:
		return err
	}
	if install, is := strings.CutPrefix(id, "install:"); is {
		of.Trigger.Install = install
	}
	p, err := viewPerson(of.Person)
	if err != nil {
		return err
	}
	return s.seen(ctx, who, p.ID)
}

func (s *server) armPreview(c *engage.Campaign, p *Previewed) armPreview {
	arm, r := &c.Arms[0], &p.Rendered
	out := armPreview{
		Arm: p.Arm, Platform: p.Platform, Phone: p.Phone, Locale: r.Locale, Sendable: p.Err == nil && len(p.Lacking) == 0,
		Title: r.Title, Text: r.Body, Subtitle: r.Subtitle, DeepLink: r.DeepLink, ImageURL: r.ImageURL, Data: r.Data,
		Errors: []FieldError{}, Missing: []string{}, Samples: append([]string{}, p.Samples...), Findings: []TextFinding{},
	}
	for _, a := range r.Actions {
		out.Actions = append(out.Actions, actionDoc(a))
	}
	for _, err := range append(p.Lacking, p.Err) {
		if err == nil {
			continue
		}
		q := problemOf(err)
		out.Errors = append(out.Errors, FieldError{q.Code, q.Field, q.Reason})
		out.Missing = append(out.Missing, template.MissingIn(err)...)
	}
	if p.Err != nil {
		return out
	}
	locale := r.Locale
	if locale == arm.Message.Locale {
		locale = ""
	}
	if p.Platform != "web" {
		out.Findings = findings("", template.Lint(&arm.Message, r, locale, p.Platform))
	}
	if s.o.PushSizes == nil || !arm.Message.Allows(engage.Push) {
		return out
	}
	provider := map[string]string{"ios": "APNs", "android": "FCM"}[p.Platform]
	for _, x := range s.o.PushSizes(sendOf(c, arm, r)) {
		if x.Provider != provider {
			continue
		}
		out.Push = &pushRoom{Provider: x.Provider, Bytes: x.Bytes, Limit: x.Limit, Fits: x.Bytes <= x.Limit, Largest: template.LocalField(&arm.Message, locale, x.Field)}
		if !out.Push.Fits {
			out.Sendable = false
			out.Errors = append(out.Errors, FieldError{engage.TooLarge, out.Push.Largest, fmt.Sprintf("a push by %s may have %d bytes, this one has %d", x.Provider, x.Limit, x.Bytes)})
		}
	}
	return out
}
