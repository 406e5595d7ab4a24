package api_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/audience"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/uploads"
	"github.com/footfall-engage/footfall/server/weather"
)

var start = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)

const (
	alpha = "alpha" // the workspace that tests work in
	beta  = "beta"  // another one
)

// world is what the stages would have committed, per workspace.
type world struct {
	mu         sync.Mutex
	profiles   map[string]map[string]string // workspace, id -> JSON
	bindings   map[string]map[string]string
	timeline   map[string][]engage.TimelineEntry
	decisions  map[string][]engage.Decision
	tallies    map[string]map[string]map[string]engage.Counts // workspace, campaign, arm
	counted    map[string]map[string]map[time.Duration][]api.Counted
	where      map[string][]api.Whereabouts
	visits     map[string][]engage.Visit
	tracks     map[string][]api.TrackFix // of phone-1, whose profile is the workspace's
	near       map[string]*liveWorld
	quarantine map[string][]api.Quarantined
	alarms     []api.Alarm
	tested     []api.TestSend // what was tried, of every workspace
	outcome    api.TestOutcome
	channels   map[string][]api.Channel
	imported   map[string][]engage.TokenImport // by workspace
	dropped    map[string][]engage.Dropped
	touched    []string // keys of persons, by uploads
	broken     error    // what reads answer, if set
	breaks     bool     // an export
	called     []string // by calls of campaigns

	occurrences map[string][]engage.Occurrence // by workspace/campaign
	asked       []string                       // identifiers whose erasures were asked for
}

func newWorld() *world {
	return &world{
		profiles: map[string]map[string]string{}, bindings: map[string]map[string]string{},
		timeline: map[string][]engage.TimelineEntry{}, decisions: map[string][]engage.Decision{},
		tallies: map[string]map[string]map[string]engage.Counts{}, where: map[string][]api.Whereabouts{},
		visits: map[string][]engage.Visit{}, near: map[string]*liveWorld{}, tracks: map[string][]api.TrackFix{},
		quarantine: map[string][]api.Quarantined{}, dropped: map[string][]engage.Dropped{},
	}
}

func page[T any](all []T, cursor string, limit int) (api.Page[T], error) {
	from := 0
	if cursor != "" {
		var err error
		if from, err = strconv.Atoi(cursor); err != nil || from > len(all) {
			return api.Page[T]{}, engage.Errorf(engage.Invalid, "cursor", "is not one of this list")
		}
	}
	p := api.Page[T]{Items: all[from:min(from+limit, len(all))]}
	if from+limit < len(all) {
		p.Next = strconv.Itoa(from + limit)
	}
	return p, nil
}

func (w *world) Profile(_ context.Context, ws, id string) (json.RawMessage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return nil, w.broken
	}
	if p, ok := w.profiles[ws][id]; ok {
		return json.RawMessage(p), nil
	}
	return nil, engage.Errorf(engage.NotFound, "", "no profile")
}

func (w *world) ProfileOf(_ context.Context, ws, identifier string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if install, ok := strings.CutPrefix(identifier, "install:"); ok {
		return engage.ProfileID(ws, install), nil
	}
	if id, ok := w.bindings[ws][identifier]; ok {
		return id, nil
	}
	return "", engage.Errorf(engage.NotFound, "", "no binding")
}

func (w *world) Profiles(_ context.Context, ws, cursor string, limit int) (api.Page[json.RawMessage], error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []json.RawMessage
	for _, id := range slices.Sorted(maps.Keys(w.profiles[ws])) {
		all = append(all, json.RawMessage(w.profiles[ws][id]))
	}
	return page(all, cursor, limit)
}

func (w *world) Timeline(_ context.Context, ws, profile string, f api.TimelineFilter, cursor string, limit int) (api.Page[engage.TimelineEntry], error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []engage.TimelineEntry
	for _, e := range w.timeline[ws] {
		if e.Profile == profile && (f.Class == "" || e.Class() == f.Class) && !e.At.Before(f.From) && (f.Before.IsZero() || e.At.Before(f.Before)) {
			all = append(all, e)
		}
	}
	return page(all, cursor, limit)
}

func (w *world) Decisions(_ context.Context, ws string, f api.DecisionFilter, cursor string, limit int) (api.Page[engage.Decision], error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []engage.Decision
	for _, d := range w.decisions[ws] {
		if (f.Profile == "" || d.Profile == f.Profile) && (f.Campaign == "" || d.Campaign == f.Campaign) && (f.Place == "" || d.Trigger.Place == f.Place) &&
			(f.State == "" || d.State == f.State) && (f.Reason == "" || d.Reason == f.Reason) {
			all = append(all, d)
		}
	}
	slices.SortStableFunc(all, func(a, b engage.Decision) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.ID, b.ID)) })
	return page(all, cursor, limit)
}

func (w *world) Tallies(_ context.Context, ws, campaign string) (map[string]engage.Counts, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tallies[ws][campaign], nil
}

func (w *world) Counted(_ context.Context, ws, campaign string, by time.Duration, from, before time.Time) ([]api.Counted, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.counted[ws][campaign][by]), func(c api.Counted) bool {
		return c.From.Before(from) || !c.From.Before(before)
	}), nil
}

func (w *world) Whereabouts(_ context.Context, ws string, limit int) ([]api.Whereabouts, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.where[ws]
	return slices.Clone(all[:min(limit, len(all))]), len(all) > limit, nil
}

func (w *world) Quarantine(_ context.Context, ws, cursor string, limit int) (api.Page[api.Quarantined], error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return page(w.quarantine[ws], cursor, limit)
}

func (w *world) Requeue(_ context.Context, ws, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, q := range w.quarantine[ws] {
		if q.ID == id {
			w.quarantine[ws] = slices.Delete(slices.Clone(w.quarantine[ws]), i, i+1)
			return nil
		}
	}
	return engage.Errorf(engage.NotFound, "id", "nothing of this id is set aside")
}

func (w *world) Alarms(_ context.Context, cursor string, limit int) (api.Page[api.Alarm], error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return page(w.alarms, cursor, limit)
}

// site is a server under test, with a key per workspace and role.
type site struct {
	t       testing.TB
	catalog *catalog.Catalog
	world   *world
	clock   *clock.Manual
	sealer  *catalog.Sealer
	hooks   *hooks
	uploads *uploads.Service
	url     string
	keys    map[string]map[catalog.Role]string
	log     *bytes.Buffer

	mu      sync.Mutex
	missing []string // not ready because of these
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, hooks: &hooks{}, world: newWorld(), clock: clock.NewManual(start), keys: map[string]map[catalog.Role]string{}, log: &bytes.Buffer{}}
	var memory eventlogtest.Memory
	log := memory.Open()
	t.Cleanup(func() { _ = log.Close() })
	var err error
	if s.sealer, err = catalog.NewSealer(bytes.Repeat([]byte{7}, 32)); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewJSONHandler(&locked{w: s.log}, nil))
	if s.uploads, err = uploads.New(uploads.Options{Dir: t.TempDir(), Log: s.world, Clock: s.clock, Attributes: func(ws string) map[string]rules.Type {
		return s.catalog.Now().Workspaces[ws].Attributes
	}}); err != nil {
		t.Fatal(err)
	}
	s.catalog, err = catalog.Open(t.Context(), catalog.Options{Log: log, Clock: s.clock, Compile: decide.Compile, Sealer: s.sealer, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	for _, ws := range []string{alpha, beta} {
		if err := s.catalog.PutWorkspace(t.Context(), "system", &catalog.Workspace{
			ID: ws, Name: strings.ToUpper(ws), Attributes: map[string]rules.Type{"city": rules.String, "first_name": rules.String},
		}, 0); err != nil {
			t.Fatal(err)
		}
		s.keys[ws] = map[catalog.Role]string{}
		for _, role := range []catalog.Role{catalog.Admin, catalog.Marketer, catalog.Viewer, catalog.Till} {
			k, token := catalog.NewKey(ws, ws+" "+string(role), role)
			if err := s.catalog.PutKey(t.Context(), "system", k, 0); err != nil {
				t.Fatal(err)
			}
			s.keys[ws][role] = token.Reveal()
		}
	}
	h, err := api.New(s.options(logger))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *site) options(logger *slog.Logger) api.Options {
	return api.Options{
		Catalog: s.catalog, Sealer: s.sealer, Compile: decide.Compile,
		People: s.world, Privacy: newAskings(s.world), Uploads: s.uploads, Decisions: s.world, Positions: s.world, Nearby: s.world, Audience: audience.New(audience.Options{Source: s.world, Budget: time.Minute}), HourCountsKept: time.Hour, Operations: s.world, Webhooks: s.hooks, Offers: newPools(), Redemptions: &tills{}, Items: s.items(), Push: s.world, LiveActivities: noActivities{}, Dropped: s.world, Watching: s.world.watching,
		Preview: previewByDecide,
		Calls:   s.world, Occurrences: s.world,
		Weather: func() weather.Status { return weather.Status{Enabled: true, Provider: "met.no", Fresh: 3, Now: start} },
		SDK: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprint(w, "sdk "+r.URL.Path)
		}),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "footfall_up 1") }),
		Ready: func() (bool, []string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.missing) == 0, s.missing
		},
		Clock: s.clock, Logger: logger, Version: "test",
	}
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// answer of the server.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
	head   bool // to a HEAD
}

// request is one call; the zero role means the key of a marketer of alpha.
type request struct {
	method, path string
	body         string
	key          string // overrides role; "-" sends none
	role         catalog.Role
	header       map[string]string
}

func (s *site) do(r request) answer {
	s.t.Helper()
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), r.method, s.url+r.path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	key := r.key
	if key == "" {
		key = s.keys[alpha][cmp.Or(r.role, catalog.Marketer)]
	}
	if key != "-" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if r.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{s.t, resp.StatusCode, resp.Header, b, r.method == http.MethodHead}
}

func (s *site) get(path string) answer { s.t.Helper(); return s.do(request{method: "GET", path: path}) }

func (s *site) put(path, body string) answer {
	s.t.Helper()
	return s.do(request{method: "PUT", path: path, body: body})
}

// want fails the test unless the status is as wanted, and decodes the body.
func (a answer) want(status int, into ...any) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	for _, x := range into {
		if err := json.Unmarshal(a.body, x); err != nil {
			a.t.Fatalf("%v in %s", err, a.body)
		}
	}
	return a
}

// wantProblem fails the test unless it is this problem.
func (a answer) wantProblem(status int, code engage.Code, field string) api.Problem {
	a.t.Helper()
	var p api.Problem
	if a.head { // an answer without its body
		a.want(status)
		return p
	}
	a.want(status, &p)
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		a.t.Errorf("content type %q", ct)
	}
	if p.Code != code || p.Field != field || p.Status != status || p.Reason == "" || p.Title == "" {
		a.t.Errorf("problem %+v, want code %s and field %q", p, code, field)
	}
	return p
}

const shopJSON = `{"name":"Corner shop","tags":["fashion","city"],"geofences":[
	{"id":"shop-inside","ring":"inside","geometry":{"type":"Point","coordinates":[4.8952,52.3702]},"radius":40},
	{"id":"shop-near","ring":"near","geometry":{"type":"Point","coordinates":[4.8952,52.3702]},"radius":300}]}`

// furnish gives a workspace one of everything. Ids are the same in every
// workspace, contents carry its name.
func (s *site) furnish(ws string) {
	s.t.Helper()
	key := s.keys[ws][catalog.Admin]
	mark := "secret-of-" + ws
	s.do(request{method: "PUT", path: "/api/v1/places/shop", key: key, body: strings.Replace(shopJSON, "Corner shop", mark, 1)}).want(201)
	campaign := strings.Replace(string(api.ExampleCampaign(api.RainyDay)), "Rainy day:", mark, 1)
	s.do(request{method: "PUT", path: "/api/v1/campaigns/rain", key: key, body: campaign}).want(201)
	s.do(request{method: "POST", path: "/api/v1/apps", key: key, body: `{"id":"app","name":"` + mark + `","platform":"web","identity_secret":"` + mark + `-identity"}`}).want(201)
	s.do(request{method: "PUT", path: "/api/v1/webhooks/hook", key: key, body: `{"url":"https://example.com","name":"` + mark + `"}`}).want(201)
	s.do(request{method: "PUT", path: "/api/v1/catalogues/shop", key: key, body: `{"name":"` + mark + `"}`}).want(201)
	s.do(request{method: "PUT", path: "/api/v1/catalogues/shop/items/shop", key: key, body: `{"fields":{"name":"` + mark + `"}}`}).want(201)
	s.do(request{method: "POST", path: "/api/v1/write-keys", key: key, body: `{"name":"` + mark + `","kind":"public"}`}).want(201)

	id := engage.ProfileID(ws, "phone-1")
	w := s.world
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropped[ws] = []engage.Dropped{{V: 1, ID: mark, At: start, AtUS: start.UnixMicro(), Workspace: ws, Code: engage.Invalid, Reason: mark, Profile: id}}
	w.profiles[ws] = map[string]string{id: `{"v":1,"workspace":"` + ws + `","id":"` + id + `","identifiers":["user_id:ada"],"attributes":{"city":"` + mark + `"},
		"preferences":{"fashion":"like"},"consents":{"marketing":{"granted":true,"at":"2026-03-01T10:00:00Z"},"location_foreground":{"granted":true,"at":"2026-03-01T10:00:00Z"},"location_precise":{"granted":true,"at":"2026-03-01T10:00:00Z"}},
		"devices":{"phone-1":{"install":"phone-1","app":"app","platform":"android","notification_permission":"granted","seen_at":"2026-03-02T09:00:00Z","push":{"provider":"fcm","token":"push-token-` + ws + `","at":"2026-03-01T10:00:00Z"}}},
		"arms":{"rain":"umbrella"},"waiting":{"x":{}},"first_seen":"2026-03-01T10:00:00Z","last_seen":"2026-03-02T09:00:00Z","visits":3}`}
	w.bindings[ws] = map[string]string{"user_id:ada": id}
	t := engage.Trigger{
		Type: engage.TriggerPlace, Occasion: "visit-1", Install: "phone-1", OccurredAt: start, Transition: engage.Enter, Ring: engage.Near,
		Place: "shop", Fence: "shop-near", Evidence: "fix", DistanceM: 212.4, AccuracyM: 12,
		Weather: &engage.Weather{Kind: "forecast", Condition: "rain", TemperatureC: 9.5}, WeatherIs: engage.WeatherFresh,
	}
	trigger, err := json.Marshal(t)
	if err != nil {
		s.t.Fatal(err)
	}
	w.timeline[ws] = []engage.TimelineEntry{{V: 1, Profile: id, At: start, OccurredAt: start, Kind: engage.KindTrigger, Install: "phone-1", Data: trigger}}
	w.decisions[ws] = []engage.Decision{{
		V: 1, ID: "decision-1", Workspace: ws, Campaign: "rain", Version: 1, Revision: 5, Profile: id, Trigger: t, At: start, UpdatedAt: start,
		State: engage.Sent, Arm: "umbrella", Delivery: "delivery-1", Channel: "fcm", Detail: mark, Receipts: []string{"delivered"},
		Gates: []engage.GateResult{
			{Gate: "consent", OK: true},
			{Gate: "eligibility", OK: true},
			{Gate: "audience", OK: true},
			{Gate: "context", OK: true, Saw: engage.SawOf(map[string]any{"weather": map[string]any{"kind": "forecast", "condition": "rain", "temperature_c": 9.5}})},
			{Gate: "cap", OK: true, Saw: engage.SawOf(map[string]any{"count": 0, "cap": 1, "window_s": 86400})},
			{Gate: "arbitration", OK: true, Saw: engage.SawOf(map[string]any{"wanted_by": 1})},
			{Gate: "render", OK: true},
			{Gate: "holdout", OK: true, Saw: engage.SawOf(map[string]any{"arm": "umbrella", "holdout_percent": 10})},
		},
	}}
	w.tallies[ws] = map[string]map[string]engage.Counts{"rain": {
		"":         {Suppressed: map[engage.Reason]int64{engage.ReasonCap: 4, engage.ReasonConsent: 9}},
		"umbrella": {Decided: 7, Sent: 6, Accepted: 5, InApp: 1, Delivered: 4, Displayed: 3, Opened: 1},
		"holdout":  {Decided: 2, HeldOut: 2},
	}}
	w.where[ws] = []api.Whereabouts{{
		Install: "phone-1", Profile: id, Platform: "android", Lifecycle: "foreground", Precise: true,
		Fix: &geo.Point{Lat: 52.3702, Lng: 4.8952}, AccuracyM: 12, At: start, Places: []string{"shop"},
	}}
	w.visits[ws] = []engage.Visit{{
		V: 1, ID: "visit-1", Place: "shop", Install: "phone-1", Profile: id, Since: start, SinceUS: start.UnixMicro(), Last: start.Add(4 * time.Minute),
		InsideAt: start.Add(time.Minute), ConfirmedS: 240, Fences: []string{"shop-inside", "shop-near"}, Evidence: "fix",
	}}
	w.tracks[ws] = []api.TrackFix{{Install: "phone-1", TrackFix: geo.TrackFix{At: start, Pos: geo.Point{Lat: 52.3702, Lng: 4.8952}, AccuracyM: 12}}}
	w.live(s.t, ws, api.NearDevice{Install: "phone-1", Profile: id, Platform: "android", At: start, AccuracyM: 12, Places: []string{"shop"}}, geo.Point{Lat: 52.3702, Lng: 4.8952})
	w.quarantine[ws] = []api.Quarantined{{ID: "in/0/000001/00000000000000000007/000000", Partition: "in/0", Seq: 7, Kind: "item", Key: ws + "/i:phone-1", At: start, Reason: mark}}
}

// watching of any install: two circles, and why there is no third.
func (w *world) watching(_ context.Context, workspace, install string) (*api.Watched, error) {
	return &api.Watched{
		Install: install, Platform: "ios", Regions: []api.WatchedRegion{{ID: "in-" + workspace, RadiusM: 100}},
		Bubble: &api.WatchedRegion{ID: "~bubble", RadiusM: 200}, LeftOut: []api.UnwatchedArea{{ID: "far", Why: geo.LeftFarther, BorderM: 9000, Weight: 1}},
	}, nil
}
