package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

func pemKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func quoted(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSecretsOfAppsAreSealedAndNeverComeBack(t *testing.T) {
	s := newSite(t)
	key := pemKey(t)
	account := quoted(t, map[string]string{"client_email": "push@example.com", "private_key": key, "token_uri": "https://example.com"})
	create := func(body string) answer {
		return s.do(request{method: "POST", path: "/api/v1/apps", body: body, role: catalog.Admin})
	}
	body := func(id string) string {
		return `{"id":"` + id + `","name":"Shop","platform":"ios","bundle_id":"com.example.shop","identity_secret":"identity-secret-1",
			"fcm":{"project_id":"p","service_account":` + account + `},"apns":{"team_id":"TEAM","key_id":"KEY","private_key":` + quoted(t, key) + `}}`
	}
	var made struct{ Key string }
	a := create(body("app")).want(201, &made)
	answers := string(a.body) + string(s.get("/api/v1/apps").want(200).body) + string(s.get("/api/v1/apps/app").want(200).body)
	for _, secret := range []string{"identity-secret", "PRIVATE KEY", "push@example", "v1:", strings.Split(key, "\n")[1]} {
		if strings.Contains(answers, secret) {
			t.Errorf("%s came back", secret)
		}
	}
	app := s.catalog.Now().AppByKey(made.Key)
	if app == nil || app.Workspace != alpha {
		t.Fatalf("no app has the key %q", made.Key)
	}
	for what, x := range map[string]struct {
		sealed catalog.Sealed
		want   string
	}{
		"identity": {app.IdentitySecret, "identity-secret-1"}, "fcm": {app.FCM.ServiceAccount, account}, "apns": {app.APNs.PrivateKey, key},
	} {
		got, err := s.sealer.Open(x.sealed)
		if err != nil || got.Reveal() != x.want || strings.Contains(string(x.sealed), x.want) {
			t.Errorf("%s: sealed as %q, opens as %q, %v", what, x.sealed, got.Reveal(), err)
		}
	}
	create(body("app")).wantProblem(409, engage.Conflict, "id")

	// The service account may also come as the file's text.
	create(`{"id":"text","name":"x","platform":"android","fcm":{"project_id":"p","service_account":` + quoted(t, account) + `}}`).want(201)
	create(`{"id":"server","name":"x","platform":"android","fcm":{"project_id":"p"}}`).want(201) // by the server's own credential
	for field, bad := range map[string]string{
		"fcm.service_account": `"fcm":{"project_id":"p","service_account":{"client_email":"a-secret"}}`,
		"apns.private_key":    `"bundle_id":"b","apns":{"team_id":"t","key_id":"k","private_key":"a-secret"}`,
		"identity_secret":     `"identity_secret":"a-secret"`,
		"apns.key":            `"apns":{"key":"a-secret"}`,
	} {
		a := create(`{"id":"bad","name":"x","platform":"ios",` + bad + `}`)
		a.wantProblem(422, engage.Invalid, field)
		if strings.Contains(string(a.body), "a-secret") {
			t.Errorf("%s: the refusal shows the secret", field)
		}
	}
	create(`{"id":"bad","name":"x","platform":"toaster"}`).wantProblem(422, engage.Invalid, "platform")
	if s.catalog.Now().App(alpha, "bad") != nil {
		t.Error("a bad app was saved")
	}
}

func TestAKeyIsShownOnceWorksAtOnceAndCanBeRevoked(t *testing.T) {
	s := newSite(t)
	var k struct{ ID, Token string }
	s.do(request{method: "POST", path: "/api/v1/keys", body: `{"name":"script","role":"viewer"}`, role: catalog.Admin}).want(201, &k)
	s.do(request{method: "GET", path: "/api/v1/places", key: k.Token}).want(200)
	list := s.do(request{method: "GET", path: "/api/v1/keys", role: catalog.Admin}).want(200)
	if strings.Contains(string(list.body), k.Token) || strings.Contains(string(list.body), catalog.HashToken(k.Token)) || !strings.Contains(string(list.body), k.ID) {
		t.Errorf("list of keys: %s", list.body)
	}
	s.do(request{method: "DELETE", path: "/api/v1/keys/" + k.ID, role: catalog.Admin}).want(204)
	s.do(request{method: "GET", path: "/api/v1/places", key: k.Token}).wantProblem(401, engage.Unauthorized, "Authorization")
	s.do(request{method: "POST", path: "/api/v1/keys", body: `{"name":"x","role":"god"}`, role: catalog.Admin}).wantProblem(422, engage.Invalid, "role")

	admins := map[string]string{}
	for _, ws := range []string{alpha, beta} {
		for _, k := range s.catalog.Now().Keys(ws) {
			if k.Role == catalog.Admin {
				admins[ws] = k.ID
			}
		}
	}
	s.do(request{method: "DELETE", path: "/api/v1/keys/" + admins[beta], key: s.keys[beta][catalog.Admin]}).want(204)
	s.do(request{method: "DELETE", path: "/api/v1/keys/" + admins[alpha], role: catalog.Admin}).wantProblem(409, engage.Conflict, "id")
}

func TestAPersonIsFoundByEveryName(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	id := engage.ProfileID(alpha, "phone-1")
	s.world.bindings[alpha]["user_id:a/b c"] = id
	for _, name := range []string{id, "user_id:ada", "install:phone-1", "user_id:a/b c"} {
		a := s.get("/api/v1/people/" + url.PathEscape(name)).want(200)
		if !strings.Contains(string(a.body), `"id":"`+id+`"`) {
			t.Errorf("%s: %s", name, a.body)
		}
		for _, secret := range []string{"push-token", `"waiting"`} {
			if strings.Contains(string(a.body), secret) {
				t.Errorf("%s is shown", secret)
			}
		}
		s.get("/api/v1/people/" + url.PathEscape(name) + "/timeline").want(200)
	}
	var decisions struct{ Items []json.RawMessage }
	s.get("/api/v1/decisions?profile=user_id:ada&state=sent").want(200, &decisions)
	if len(decisions.Items) != 1 {
		t.Errorf("%d decisions of the person", len(decisions.Items))
	}
	s.get("/api/v1/people/install:phone-2").wantProblem(404, engage.NotFound, "id")
}

func TestExplainSaysWhyOrThatNothingReachedTheCampaign(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	type explanation struct {
		Answer    string
		Hints     []string
		Decisions []struct {
			Words string
			Gates []struct {
				Gate, Words string
				Saw         map[string]any
			}
		}
	}
	var x explanation
	s.get("/api/v1/people/user_id:ada/explain?campaign=rain").want(200, &x)
	if x.Answer != "Entered the surroundings of secret-of-alpha, 212 m away ± 12 m at 2026-03-02 09:30:00 UTC. Sent: FCM accepted it. The phone reported it delivered." {
		t.Errorf("answer %q", x.Answer)
	}
	if len(x.Hints) != 0 || len(x.Decisions) != 1 || len(x.Decisions[0].Gates) != 8 || x.Decisions[0].Gates[3].Saw["weather"] == nil {
		t.Errorf("%+v", x)
	}
	s.do(request{method: "PUT", path: "/api/v1/campaigns/other", body: campaign()}).want(201)
	x = explanation{}
	s.get("/api/v1/people/user_id:ada/explain?campaign=other").want(200, &x)
	if !strings.HasPrefix(x.Answer, "No trigger of this person reached this campaign in the kept records.") || len(x.Decisions) != 0 {
		t.Errorf("%+v", x)
	}
	if len(x.Hints) != 1 || !strings.Contains(x.Hints[0], "a draft") {
		t.Errorf("hints %q", x.Hints)
	}
}

func TestExplainLooksAtTheRecordsWhereNothingReachedTheCampaign(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	var x struct {
		Answer    string
		Decisions []any
		Findings  []struct{ Code, Words string }
	}
	body := strings.Replace(string(api.ExampleCampaign(api.WelcomeBack)), `"enter"`, `"exit"`, 1)
	s.do(request{method: "PUT", path: "/api/v1/campaigns/elsewhere", body: body}).want(201)
	at := "/api/v1/people/user_id:ada/explain?campaign=elsewhere"
	s.do(request{method: "GET", path: at}).want(200, &x)
	if len(x.Decisions) != 0 || len(x.Findings) == 0 || !strings.HasPrefix(x.Answer, "No trigger of this person reached this campaign in the kept records. ") || !strings.Contains(x.Answer, x.Findings[0].Words) {
		t.Errorf("explain: %+v", x)
	}
	day := start.Format("2006-01-02")
	s.do(request{method: "GET", path: at + "&from=" + day + "T00:00:00Z&to=" + day + "T23:00:00Z"}).want(200, &x)
	if !strings.HasPrefix(x.Answer, "No trigger of this person reached this campaign in that time. ") {
		t.Errorf("explain: %+v", x)
	}
	s.do(request{method: "GET", path: at + "&from=" + day + "T02:00:00Z&to=" + day + "T01:00:00Z"}).wantProblem(422, engage.Invalid, "to")
}

func TestResultsCountArmsAndControlApart(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	var r struct {
		Arms []struct {
			Arm                             string
			Control                         bool
			Decided, Pending, Sent, HeldOut int64
		}
		Suppressed []struct {
			Reason, Words string
			Count         int64
		}
		Totals   map[string]int64
		Meanings map[string]string
	}
	s.get("/api/v1/campaigns/rain/results").want(200, &r)
	if len(r.Arms) != 2 || r.Arms[0].Arm != "umbrella" || r.Arms[0].Pending != 1 || r.Arms[0].Control || !r.Arms[1].Control {
		t.Errorf("arms %+v", r.Arms)
	}
	if len(r.Suppressed) != 2 || r.Suppressed[0].Reason != "consent" || r.Suppressed[0].Count != 9 || r.Totals["suppressed"] != 13 || r.Totals["decided"] != 9 {
		t.Errorf("%+v %+v", r.Suppressed, r.Totals)
	}
	for count := range r.Totals {
		if r.Meanings[count] == "" {
			t.Errorf("%s is not explained", count)
		}
	}
	s.get("/api/v1/campaigns/none/results").wantProblem(404, engage.NotFound, "id")
}

func TestPositionsAreAsPreciseAsThePersonAgreed(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	at := geo.Point{Lat: 52.3702, Lng: 4.8952}
	cell := func(res int) geo.Cell {
		c, err := geo.CellOf(at, res)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	coarse := cell(api.CoarseResolution).Center()
	s.world.where[alpha] = []api.Whereabouts{
		{Install: "precise", Precise: true, Fix: &at, AccuracyM: 9},
		{Install: "withdrawn", Fix: &at, AccuracyM: 9}, // a fix that is still there after the consent went
		{Install: "coarse", Cell: cell(api.CoarseResolution)},
		{Install: "fine-cell", Cell: cell(12)},
		{Install: "unknown"},
	}
	var live struct {
		Revision  uint64
		Elsewhere int
		Places    []json.RawMessage
		People    []struct {
			Install            string
			Lat, Lng, Accuracy float64
			Coarse             bool
			AccuracyM          float64 `json:"accuracy_m"`
		}
	}
	s.get("/api/v1/live").want(200, &live)
	if len(live.People) != 4 || live.Elsewhere != 1 || len(live.Places) != 1 {
		t.Fatalf("%+v", live)
	}
	for _, p := range live.People {
		want := coarse
		if p.Install == "precise" {
			want = at
		}
		if p.Lat != want.Lat || p.Lng != want.Lng || p.Coarse == (p.Install == "precise") || p.Coarse && p.AccuracyM != 0 {
			t.Errorf("%+v, want %v", p, want)
		}
	}
	revision := live.Revision
	live.Places = nil
	s.get(fmt.Sprintf("/api/v1/live?revision=%d", revision)).want(200, &live)
	if live.Places != nil {
		t.Error("places were sent again")
	}
}

func TestQuarantineIsListedAndRetried(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	s.world.quarantine[engage.SystemWorkspace] = []api.Quarantined{{ID: "act/0/1", Partition: "act/0", At: start, Reason: "cannot be read"}}
	id := `{"id":"in/0/000001/00000000000000000007/000000"}`
	retry := func(body string, role catalog.Role) answer {
		return s.do(request{method: "POST", path: "/api/v1/quarantine/retry", body: body, role: role})
	}
	retry(id, catalog.Marketer).wantProblem(403, engage.Forbidden, "")
	retry(id, catalog.Admin).want(204)
	retry(id, catalog.Admin).wantProblem(404, engage.NotFound, "id")
	retry(`{}`, catalog.Admin).wantProblem(422, engage.Invalid, "id")
	s.get("/api/v1/quarantine?system=true").wantProblem(403, engage.Forbidden, "system")
	a := s.do(request{method: "GET", path: "/api/v1/quarantine?system=true", role: catalog.Admin}).want(200)
	if !strings.Contains(string(a.body), "cannot be read") {
		t.Errorf("%s", a.body)
	}
}

func TestReadyzSaysWhatIsMissing(t *testing.T) {
	s := newSite(t)
	probe := func(path string) answer { return s.do(request{method: "GET", path: path, key: "-"}) }
	probe("/healthz").want(200)
	probe("/readyz").want(200)
	s.mu.Lock()
	s.missing = []string{"partition in/0 is catching up"}
	s.mu.Unlock()
	probe("/healthz").want(200)
	if a := probe("/readyz").want(503); !strings.Contains(string(a.body), "in/0 is catching up") {
		t.Errorf("%s", a.body)
	}
	if a := probe("/metrics").want(200); !strings.Contains(string(a.body), "footfall_up 1") {
		t.Errorf("%s", a.body)
	}
}

func TestEveryAnswerHasSecurityHeaders(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/", "/docs", "/openapi.json", "/api/v1/places", "/nothing", "/healthz"} {
		h := s.do(request{method: "GET", path: path, key: "-"}).header
		if h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, h)
		}
		if strings.HasPrefix(path, "/api/") && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be cached", path)
		}
	}
}

func TestAPanicIsAProblemAndALogLine(t *testing.T) {
	s := newSite(t)
	log := &strings.Builder{}
	o := s.options(slog.New(slog.NewTextHandler(log, nil)))
	o.Ready = func() (bool, []string) { panic("the roof fell in") }
	h, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", http.NoBody))
	if w.Code != 500 || strings.Contains(w.Body.String(), "roof") || !strings.Contains(log.String(), "the roof fell in") {
		t.Errorf("%d %s, log %s", w.Code, w.Body, log)
	}
}

func TestMissingOptionsAreNamed(t *testing.T) {
	s := newSite(t)
	whole := s.options(slog.New(slog.DiscardHandler))
	for name, take := range map[string]func(*api.Options){
		"Catalog": func(o *api.Options) { o.Catalog = nil }, "Compile": func(o *api.Options) { o.Compile = nil },
		"People": func(o *api.Options) { o.People = nil }, "Ready": func(o *api.Options) { o.Ready = nil }, "Logger": func(o *api.Options) { o.Logger = nil },
	} {
		o := whole
		take(&o)
		if _, err := api.New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	whole.SDK, whole.Metrics, whole.Weather = nil, nil, nil
	h, err := api.New(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/sdk/v1/batch", "/metrics"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, http.NoBody))
		if w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestAWebsocketPassesToTheSDK(t *testing.T) {
	s := newSite(t)
	o := s.options(slog.New(slog.DiscardHandler))
	o.SDK = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var up websocket.Upgrader
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		_ = c.WriteMessage(websocket.TextMessage, []byte(r.URL.Path))
	})
	h, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	c, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http")+"/sdk/v1/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	defer func() { _ = resp.Body.Close() }()
	if _, msg, err := c.ReadMessage(); err != nil || string(msg) != "/sdk/v1/ws" {
		t.Errorf("%s %v", msg, err)
	}
}

// endless never ends, and counts what was taken of it.
type endless struct{ taken int }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	e.taken += len(b)
	return len(b), nil
}

func TestNoMoreOfABodyIsReadThanTheLimit(t *testing.T) {
	s := newSite(t)
	h, err := api.New(s.options(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		key   string
		most  int
		wants int
	}{{s.keys[alpha][catalog.Marketer], 1 << 20, 413}, {"nonsense", 0, 401}, {s.keys[alpha][catalog.Viewer], 0, 403}} {
		body := &endless{}
		req := httptest.NewRequestWithContext(t.Context(), "PUT", "/api/v1/places/p", io.NopCloser(body))
		req.Header.Set("Authorization", "Bearer "+x.key)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != x.wants || body.taken > x.most {
			t.Errorf("status %d after %d bytes, want %d after at most %d", w.Code, body.taken, x.wants, x.most)
		}
	}
}

func TestACompilerThatFailsIsTheServersFault(t *testing.T) {
	s := newSite(t)
	o := s.options(slog.New(slog.DiscardHandler))
	o.Compile = func(*engage.Campaign, map[string]rules.Type) error { return context.DeadlineExceeded }
	h, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/campaigns/validate", strings.NewReader(campaign()))
	req.Header.Set("Authorization", "Bearer "+s.keys[alpha][catalog.Viewer])
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if w.Code != 503 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
