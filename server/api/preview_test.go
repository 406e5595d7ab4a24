package api_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
)

// previewByDecide is what app wires as Options.Preview.
func previewByDecide(of *api.PreviewOf) ([]api.Previewed, error) {
	got, err := decide.PreviewArms(decide.PreviewOf{
		Campaign: of.Campaign, Attributes: of.Attributes, Person: of.Person, Platform: of.Platform, Locale: of.Locale,
		Places: of.Places, Trigger: of.Trigger, At: of.At,
		Catalogues: of.Catalogues, Items: of.Items, Example: of.Example,
	})
	var out []api.Previewed
	for _, p := range got {
		out = append(out, api.Previewed{Arm: p.Arm, Platform: p.Platform, Phone: p.Phone, Rendered: p.Rendered, Lacking: p.Lacking, Err: p.Err, Samples: p.Samples, Asks: p.Asks})
	}
	return out, err
}

type previewAnswer struct {
	Previews []struct {
		Arm, Platform, Locale, Title, Body string
		Sendable                           bool
		Missing, Samples                   []string
		Errors                             []struct{ Field, Reason string }
		Findings                           []struct{ Kind, Field, Platform, Locale string }
	}
}

// asking is the body of a preview of a message, with more fields.
func asking(t *testing.T, m engage.Content, more string) string {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return `{"campaign":{"name":"C","class":"service","status":"draft","trigger":{"type":"event","event":"paid"},"arms":[{"id":"a","message":` + string(b) + `},{"id":"b","message":{"title":"B"}}]}` + more + `}`
}

func TestAPreviewIsOfEachArmAndPlatform(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	m := engage.Content{
		Title: "{{ trigger.properties.sum | money: 'EUR' }} in {{ profile.attributes.city }}", Body: "On {{ device.platform }} in the {{ weather.condition }}",
		DeepLink: "shop://x", Locale: "en", Locales: map[string]engage.LocalContent{"nl": {Title: strings.Repeat("lang ", 10)}},
	}
	var v previewAnswer
	path := "/api/v1/campaigns/preview"
	s.do(request{method: "POST", path: path, body: asking(t, m, `,"person":"user_id:ada","properties":{"sum":12.5},"weather":{"condition":"snow","temperature_c":-2},"locale":"en-GB"`)}).want(200, &v)
	if len(v.Previews) != 4 || v.Previews[0].Platform != "ios" || v.Previews[1].Platform != "android" || v.Previews[2].Arm != "b" {
		t.Fatalf("%+v", v)
	}
	if p := v.Previews[1]; !p.Sendable || !strings.HasPrefix(p.Title, "€12.50 in ") || p.Body != "On android in the snow" || p.Locale != "en" || len(p.Samples) > 1 || len(p.Missing) > 0 {
		t.Errorf("%+v", p)
	}
	if p := v.Previews[2]; len(p.Findings) != 1 || p.Findings[0].Kind != "no_deep_link" || p.Findings[0].Field != "deep_link" {
		t.Errorf("%+v", p)
	}
	// Nobody in particular, in Dutch, on one platform.
	v = previewAnswer{}
	s.do(request{method: "POST", path: path, body: asking(t, m, `,"arm":"a","locale":"nl-BE","platform":"android"`)}).want(200, &v)
	if len(v.Previews) != 1 {
		t.Fatalf("%+v", v)
	}
	if p := v.Previews[0]; !p.Sendable || p.Locale != "nl" || strings.Join(p.Samples, " ") != "device weather" && strings.Join(p.Samples, " ") != "device profile trigger weather" && strings.Join(p.Samples, " ") != "device profile weather" ||
		len(p.Findings) != 1 || p.Findings[0].Kind != "too_long" || p.Findings[0].Field != "locales.nl.title" || p.Findings[0].Platform != "android" {
		t.Errorf("%+v", p)
	}
	// What is missing is named, and the rest shown.
	v = previewAnswer{}
	s.do(request{method: "POST", path: path, body: asking(t, m, `,"arm":"a","platform":"ios"`)}).want(200, &v)
	if p := v.Previews[0]; p.Sendable || strings.Join(p.Missing, " ") != "trigger.properties.sum profile.attributes.city" || p.Title != "in" || p.Errors[0].Field != "title" {
		t.Errorf("%+v", p)
	}
}

func TestAPreviewKeepsWhoLooked(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	s.do(request{method: "POST", path: "/api/v1/campaigns/preview", body: asking(t, engage.Content{Title: "T"}, `,"person":"user_id:ada"`)}).want(200)
	a := s.do(request{method: "GET", path: "/api/v1/people/user_id:ada/accesses", role: catalog.Admin}).want(200)
	if !strings.Contains(string(a.body), "preview-campaign") {
		t.Errorf("accesses: %s", a.body)
	}
}

func TestBadPreviewsAreRefusedWithTheirField(t *testing.T) {
	s := newSite(t)
	m := engage.Content{Title: "T"}
	for _, c := range []struct {
		body   string
		status int
		code   engage.Code
		field  string
	}{
		{`{}`, 422, engage.Invalid, "campaign"},
		{`{"campaign_id":"none"}`, 404, engage.NotFound, "campaign_id"},
		{asking(t, m, `,"campaign_id":"x"`), 422, engage.Invalid, "campaign"},
		{asking(t, m, `,"arm":"z"`), 404, engage.NotFound, "arm"},
		{asking(t, m, `,"person":"user_id:nobody"`), 404, engage.NotFound, "person"},
		{asking(t, m, `,"place":"nowhere"`), 404, engage.NotFound, "place"},
		{asking(t, m, `,"weather":{"condition":"frogs"}`), 422, engage.Invalid, "weather.condition"},
		{asking(t, engage.Content{Title: "{{ x"}, ""), 422, engage.Invalid, "campaign.arms[0].message.title"},
	} {
		s.do(request{method: "POST", path: "/api/v1/campaigns/preview", body: c.body}).wantProblem(c.status, c.code, c.field)
	}
}

func TestFindingsStandBesideWarnings(t *testing.T) {
	s := newSite(t)
	body := strings.Replace(string(api.ExampleCampaign(api.WelcomeBack)), `"title"`, `"locales":{"nl":{"title":"SALE SALE SALE SALE"}},"title"`, 1)
	var v struct {
		Valid    bool
		Findings []struct{ Kind, Field string }
	}
	s.do(request{method: "POST", path: "/api/v1/campaigns/validate", body: body}).want(200, &v)
	kinds := map[string]string{}
	for _, f := range v.Findings {
		kinds[f.Kind] = f.Field
	}
	if !v.Valid || kinds["capitals"] != "arms[0].message.locales.nl.title" || kinds["locale_not_said"] != "arms[0].message.locale" {
		t.Errorf("%+v", v)
	}
}

// Limits of marketing messages that a service message is given would be thought to hold.
func TestALimitThatAServiceMessageDoesNotHaveIsFound(t *testing.T) {
	s := newSite(t)
	var v struct {
		Valid    bool
		Findings []struct{ Kind, Field string }
	}
	var made map[string]any
	if err := json.Unmarshal(api.ExampleCampaign(api.WelcomeBack), &made); err != nil {
		t.Fatal(err)
	}
	made["class"] = "service"
	find := func(limits string) (fields []string) {
		made["limits"] = json.RawMessage(limits)
		body, err := json.Marshal(made)
		if err != nil {
			t.Fatal(err)
		}
		s.do(request{method: "POST", path: "/api/v1/campaigns/validate", body: string(body)}).want(200, &v)
		for _, f := range v.Findings {
			if f.Kind == "no_effect" {
				fields = append(fields, f.Field)
			}
		}
		return fields
	}
	if f := find(`{"expire_s": 7200}`); len(f) > 0 {
		t.Errorf("nothing is limited, and found: %v", f)
	}
	if f := find(`{"budget": {"messages": 5}, "rate": {"per_minute": 5}}`); !slices.Equal(f, []string{"limits.budget", "limits.rate"}) || !v.Valid {
		t.Errorf("found: %v of %+v", f, v)
	}
}
