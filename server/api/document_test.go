package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// document is /openapi.json, as far as tests look at it.
type document struct {
	OpenAPI string `json:"openapi"`
	Info    struct{ Title, Version string }
	Tags    []struct{ Name string }
	Paths   map[string]map[string]*opDoc
}

type opDoc struct {
	OperationID string `json:"operationId"`
	Summary     string
	Tags        []string
	Role        catalog.Role `json:"x-role"`
	Not         catalog.Role `json:"x-not-role"`
	Security    []map[string][]string
	Parameters  []struct {
		Name, In, Description string
		Required              bool
	}
	RequestBody *struct {
		Required bool
		Content  map[string]struct {
			Schema   json.RawMessage
			Examples map[string]struct{ Value json.RawMessage }
		}
	} `json:"requestBody"`
	Responses map[string]struct {
		Description string
		Content     map[string]struct{ Schema json.RawMessage }
	}

	method, path string
}

func (s *site) document() (document, []*opDoc) {
	s.t.Helper()
	var d document
	s.do(request{method: "GET", path: "/openapi.json", key: "-"}).want(200, &d)
	var ops []*opDoc
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(d.Paths[path])) {
			op := d.Paths[path][method]
			op.method, op.path = strings.ToUpper(method), path
			ops = append(ops, op)
		}
	}
	if len(ops) < 25 {
		s.t.Fatalf("only %d operations are documented", len(ops))
	}
	return d, ops
}

func TestDocumentIsWholeOpenAPI31(t *testing.T) {
	s := newSite(t)
	raw := s.do(request{method: "GET", path: "/openapi.json", key: "-"}).want(200).body
	d, ops := s.document()
	if d.OpenAPI != "3.1.0" || d.Info.Title == "" || d.Info.Version != "test" {
		t.Errorf("head: %q %+v", d.OpenAPI, d.Info)
	}
	var whole map[string]any
	if err := json.Unmarshal(raw, &whole); err != nil {
		t.Fatal(err)
	}
	for _, ref := range regexp.MustCompile(`"\$ref":\s*"#/([^"]+)"`).FindAllSubmatch(raw, -1) {
		var at any = whole
		for part := range strings.SplitSeq(string(ref[1]), "/") {
			m, _ := at.(map[string]any)
			at = m[part]
		}
		if at == nil {
			t.Errorf("%s leads nowhere", ref[1])
		}
	}
	if strings.Contains(string(raw), "ErrorModel") {
		t.Error("Huma's error model is documented; it is never sent")
	}
	tags := map[string]bool{}
	for _, tag := range d.Tags {
		tags[tag.Name] = true
	}
	ids := map[string]bool{}
	for _, op := range ops {
		t.Run(op.OperationID, func(t *testing.T) {
			if op.OperationID == "" || ids[op.OperationID] {
				t.Errorf("%s %s: its id %q is missing or taken", op.method, op.path, op.OperationID)
			}
			ids[op.OperationID] = true
			if op.Summary == "" || len(op.Tags) != 1 || !tags[op.Tags[0]] || op.Role == "" || len(op.Security) == 0 {
				t.Errorf("summary, one declared tag, role and security are needed: %+v", op)
			}
			for _, name := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(op.path, -1) {
				if !slices.ContainsFunc(op.Parameters, func(p struct {
					Name, In, Description string
					Required              bool
				},
				) bool {
					return p.Name == name[1] && p.In == "path" && p.Required
				}) {
					t.Errorf("the path parameter %s is not declared", name[1])
				}
			}
			ok := false
			for status, r := range op.Responses {
				ok = ok || strings.HasPrefix(status, "2")
				if r.Description == "" {
					t.Errorf("%s has no description", status)
				}
				if status >= "400" && !strings.Contains(string(r.Content["application/problem+json"].Schema), "schemas/Problem") {
					t.Errorf("%s is no problem: %+v", status, r)
				}
			}
			if !ok {
				t.Error("no success is documented")
			}
			want := []string{"401", "403", "422", "500"}
			if strings.Contains(op.path, "{") {
				want = append(want, "404")
			}
			if op.RequestBody != nil {
				want = append(want, "413", "415")
			} else if op.method == "PUT" || op.method == "POST" {
				t.Error("its body is not documented")
			}
			for _, status := range want {
				if _, there := op.Responses[status]; !there {
					t.Errorf("the error %s is not documented", status)
				}
			}
		})
	}
}

// fill puts ids into a path.
func (op *opDoc) fill(id string) string {
	path := strings.NewReplacer("{id}", id, "{item}", id, "{key}", catalog.LegacyIdentityKey).Replace(op.path)
	return path + map[string]string{ // what they cannot do without
		"explain":        "?campaign=rain",
		"list-nearby":    "?lat=52.37&lng=4.89&radius_m=1000",
		"get-heat":       "?bbox=-180,-90,180,90",
		"preview-upload": "?kind=people",
	}[op.OperationID]
}

func TestEveryOperationHoldsToItsRole(t *testing.T) {
	s := newSite(t)
	_, ops := s.document()
	rank := map[catalog.Role]int{catalog.Till: 1, catalog.Viewer: 2, catalog.Marketer: 3, catalog.Admin: 4}
	for _, op := range ops {
		body := ""
		if op.RequestBody != nil {
			body = "{}"
		}
		for role := range rank {
			a := s.do(request{method: op.method, path: op.fill("none"), body: body, role: role})
			refused := a.status == 401 || a.status == 403
			if allowed := rank[role] >= rank[op.Role] && role != op.Not; allowed == refused {
				t.Errorf("%s with a key of %s: status %d, least role %s: %s", op.OperationID, role, a.status, op.Role, a.body)
			}
			if a.status >= 500 {
				t.Errorf("%s: %d %s", op.OperationID, a.status, a.body)
			}
		}
		for _, key := range []string{"-", "ffk_00_11", "nonsense", s.keys[alpha][catalog.Admin] + "x"} {
			a := s.do(request{method: op.method, path: op.fill("none"), body: body, key: key})
			a.wantProblem(401, engage.Unauthorized, "Authorization")
			if a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: no WWW-Authenticate", op.OperationID)
			}
		}
	}
}

// samples are bodies that each operation takes.
var samples = map[string]string{
	"put-place":             shopJSON,
	"import-places":         `{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"Point","coordinates":[5,52]},"properties":{"place":"shop","radius":60}}]}`,
	"put-campaign":          string(api.ExampleCampaign(api.WelcomeBack)),
	"validate-campaign":     string(api.ExampleCampaign(api.WelcomeBack)),
	"preview-campaign":      `{"campaign_id":"rain","person":"user_id:ada"}`,
	"set-campaign-status":   `{"status":"paused"}`,
	"count-audience":        `{"audience":{"field":"attributes.city","op":"eq","value":"x"},"examples":5}`,
	"explain-audience":      `{"person":"user_id:ada"}`,
	"put-limits":            `{"caps":[{"max":3,"calendar":"day"}],"gap_s":3600}`,
	"duplicate-campaign":    `{"id":"another"}`,
	"put-review-policy":     `{"required":false}`,
	"stop-everything":       `{"reason":"test"}`,
	"put-location-policy":   `{"mocked":"refuse","speed":"flag","max_speed_mps":80}`,
	"put-attributes":        `{"attributes":{"city":"string","shoe_size":"number"}}`,
	"put-attribute-type":    `{"type":"number","private":true}`,
	"trigger-campaign":      `{"key":"k","recipients":[{"to":"user_id:ada"}]}`,
	"create-app":            `{"id":"other-app","name":"Other","platform":"ios"}`,
	"create-key":            `{"name":"script","role":"viewer"}`,
	"create-write-key":      `{"name":"website","kind":"public"}`,
	"put-write-key":         `{"name":"website","origins":["https://shop.example"],"calls_per_s":5}`,
	"put-identity":          `{"mode":"off"}`,
	"put-sdk-config":        `{"tracking":"efficient"}`,
	"put-app-credentials":   `{"fcm":{"project_id":"p"}}`,
	"create-identity-key":   `{"alg":"HS256"}`,
	"import-push-tokens":    `{"user_id":"ada","token":"t","last_seen":"2026-03-01"}`,
	"create-upload":         `{"kind":"people","name":"secret"}`,
	"preview-upload":        "user_id\nada\n",
	"write-upload":          "user_id\nada\n",
	"test-send":             `{"install":"phone-1","campaign":"rain"}`,
	"start-live-activity":   `{"app":"shop-app","activity":"secret","attributes_type":"T","attributes":{},"content_state":{},"to":["install:phone-1"]}`,
	"update-live-activity":  `{"content_state":{},"to":["install:phone-1"]}`,
	"end-live-activity":     `{"to":["install:phone-1"]}`,
	"redeem":                `{"id":"t1","code":"COFFEE"}`,
	"check-code":            `{"code":"COFFEE"}`,
	"void-redemption":       `{}`,
	"put-offer":             `{"name":"G","status":"active","kind":"gift","codes":"unique"}`,
	"add-offer-codes":       `{"codes":["A-1"]}`,
	"put-catalogue":         `{"name":"Products","fields":{"name":"string"}}`,
	"put-item":              `{"fields":{"name":"Tea"}}`,
	"put-items":             `{"items":[{"id":"tea","fields":{"name":"Tea"}}]}`,
	"put-webhook":           `{"url":"https://example.com/hook"}`,
	"create-webhook-secret": `{}`,
	"test-webhook":          `{}`,
	"retry-dead-letters":    `{"all":true}`,
	"suppress":              `{"identifier":"user_id:nobody"}`,
	"retry-quarantined":     `{"id":"in/0/000001/00000000000000000007/000000"}`,
}

// print of all that a workspace has: what another one's calls must not change.
func (s *site) print(ws string) string {
	s.t.Helper()
	now := s.catalog.Now()
	b, err := json.Marshal([]any{now.Workspaces[ws], now.Places(ws), now.Campaigns(ws), now.Apps(ws), now.Keys(ws), now.Webhooks(ws), now.WriteKeys(ws), now.Learned(ws), now.Limits(ws), now.Offers(ws), now.Catalogues(ws)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	return string(b) + fmt.Sprint(s.world.profiles[ws], s.world.timeline[ws], s.world.decisions[ws], s.world.tallies[ws], s.world.quarantine[ws], s.hooks.of(ws))
}

func TestNoOperationCrossesWorkspaces(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	_, ops := s.document()
	alphas := []string{"secret-of-alpha", "push-token", engage.ProfileID(alpha, "phone-1"), `"` + alpha + `"`, "alpha admin"}
	call := func(op *opDoc, id, key string, header map[string]string) answer {
		body := ""
		if op.RequestBody != nil {
			if body = samples[op.OperationID]; body == "" {
				t.Fatalf("give a sample body of %s", op.OperationID)
			}
		}
		return s.do(request{method: op.method, path: op.fill(id), body: body, key: key, header: header})
	}
	ids := func(op *opDoc) []string {
		switch {
		case strings.Contains(op.path, "/people/"):
			return []string{engage.ProfileID(alpha, "phone-1"), "user_id:ada", "install:phone-1"}
		case strings.Contains(op.path, "/campaigns/"):
			return []string{"rain"}
		case strings.Contains(op.path, "/apps/"):
			return []string{"app"}
		case strings.Contains(op.path, "/webhooks/"):
			return []string{"hook"}
		case strings.Contains(op.path, "/write-keys/"):
			return []string{s.catalog.Now().WriteKeys(alpha)[0].ID}
		case strings.Contains(op.path, "/keys/"):
			return []string{s.catalog.Now().Keys(alpha)[0].ID}
		default:
			return []string{"shop"}
		}
	}
	before := s.print(alpha)
	for _, furnished := range []bool{false, true} { // ids that beta does not have, then ids that both have
		if furnished {
			s.furnish(beta)
		}
		for _, op := range ops {
			for _, id := range ids(op) {
				a := call(op, id, s.keys[beta][catalog.Admin], map[string]string{"If-Match": "*"})
				for _, secret := range alphas {
					if strings.Contains(string(a.body), secret) && secret != id { // an answer may name what was asked for
						t.Errorf("%s shows %q of another workspace: %s", op.OperationID, secret, a.body)
					}
				}
			}
		}
		if after := s.print(alpha); after != before {
			t.Fatalf("another workspace was changed:\n%s\n%s", before, after)
		}
	}
	for _, op := range ops {
		for _, role := range []catalog.Role{catalog.Till, catalog.Viewer, catalog.Marketer} {
			call(op, "shop", s.keys[beta][role], map[string]string{api.WorkspaceHeader: alpha}).wantProblem(403, engage.Forbidden, api.WorkspaceHeader)
		}
		call(op, "shop", s.keys[beta][catalog.Admin], map[string]string{api.WorkspaceHeader: "gamma"}).wantProblem(404, engage.NotFound, api.WorkspaceHeader)
	}
	if after := s.print(alpha); after != before {
		t.Fatal("another workspace was changed")
	}
	a := s.do(request{method: "GET", path: "/api/v1/places/shop", key: s.keys[beta][catalog.Admin], header: map[string]string{api.WorkspaceHeader: alpha}}).want(200)
	if !strings.Contains(string(a.body), "secret-of-alpha") {
		t.Errorf("an admin key did not reach the workspace that it named: %s", a.body)
	}
}

func TestExamplesOfTheDocumentCanBeSaved(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	s.put("/api/v1/campaigns/"+api.RainyDay, string(api.ExampleCampaign(api.RainyDay))).want(201) // that others speak of
	s.put("/api/v1/catalogues/products", `{}`).want(201)
	s.put("/api/v1/campaigns/orders-x", campaign("trigger", `{"type":"api"}`, "status", `"live"`)).want(201)
	_, ops := s.document()
	saved := []string{}
	for _, op := range ops {
		if op.RequestBody == nil {
			continue
		}
		for _, content := range op.RequestBody.Content {
			for name, x := range content.Examples {
				id := name + "-x"
				switch {
				case strings.Contains(op.path, "/apps/"):
					id = "app"
				case strings.Contains(op.path, "/items/"):
					id = "products"
				case strings.Contains(op.path, "/catalogues/"):
					id = strings.ReplaceAll(id, "-", "_")
				}
				a := s.do(request{method: op.method, path: op.fill(id), role: op.Role, body: string(x.Value), header: map[string]string{"If-None-Match": "*"}})
				if a.status != 200 && a.status != 201 && a.status != 412 { // 412: the same example stands at two media types
					t.Errorf("%s %s: %d %s", op.OperationID, name, a.status, a.body)
				}
				saved = append(saved, name)
			}
		}
	}
	for _, want := range []string{api.RainyDay, api.WelcomeBack, "corner-shop", "two-shops"} {
		if !slices.Contains(saved, want) {
			t.Errorf("the document has no example %s", want)
		}
	}
	for _, name := range []string{api.RainyDay, api.WelcomeBack} {
		c := s.catalog.Now().Campaign(alpha, name+"-x")
		if c == nil || c.Status != engage.Live {
			t.Fatalf("campaign %s was not saved as live: %+v", name, c)
		}
		var v struct{ Valid bool }
		s.do(request{method: "POST", path: "/api/v1/campaigns/validate", body: string(api.ExampleCampaign(name))}).want(200, &v)
		if !v.Valid {
			t.Errorf("%s does not pass the dry run", name)
		}
	}
	rain := s.catalog.Now().Campaign(alpha, api.RainyDay+"-x")
	if rain.HoldoutPercent != 10 || rain.Limits.Cap != 1 || rain.Limits.CapWindowS != 86400 || len(rain.Trigger.Rings) != 2 {
		t.Errorf("rainy-day is another campaign than the demo's: %+v", rain)
	}
}

func TestDocsPageListsEveryOperation(t *testing.T) {
	s := newSite(t)
	_, ops := s.document()
	page := string(s.do(request{method: "GET", path: "/docs", key: "-"}).want(200).body)
	for _, op := range ops {
		if !strings.Contains(page, `id="`+op.OperationID+`"`) {
			t.Errorf("%s is missing", op.OperationID)
		}
	}
	for _, file := range []string{"/", "/docs", "/live.js", "/live.css", "/docs.css"} {
		a := s.do(request{method: "GET", path: file, key: "-"}).want(200)
		for _, far := range []string{"http://", "https://", "@import", `src="//`} {
			if strings.Contains(string(a.body), far) && file != "/docs" { // the docs show addresses in examples
				t.Errorf("%s refers to %s", file, far)
			}
		}
	}
}
