package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// liveWorld is who is live in a workspace.
type liveWorld struct {
	geo.Nearby[api.NearDevice]
	asked []int // how many profiles were asked for, by question
}

func (w *world) live(t testing.TB, ws string, d api.NearDevice, at geo.Point) {
	t.Helper()
	if w.near[ws] == nil {
		w.near[ws] = &liveWorld{}
	}
	if _, err := w.near[ws].Update(d.Install, at, d.At, d); err != nil {
		t.Fatal(err)
	}
}

func (w *world) Nearest(ws string, p geo.Point, radiusM float64, limit int) (out []api.NearDevice, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.near[ws] == nil {
		return nil, false
	}
	found, more := w.near[ws].Nearest(p, radiusM, time.Time{}, limit, nil)
	for _, x := range found {
		d := x.Value
		d.DistanceM = x.DistanceM
		out = append(out, d)
	}
	return out, more
}

func (w *world) Heat(ws string) (*geo.Heat, time.Time, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return nil, time.Time{}, w.broken
	}
	if w.near[ws] == nil {
		w.near[ws] = &liveWorld{}
	}
	h, err := w.near[ws].Heat(time.Time{}, 3)
	return h, start, err
}

func (w *world) MaxAge() time.Duration { return 15 * time.Minute }

func (w *world) ProfilesByID(_ context.Context, ws string, ids []string) (map[string]json.RawMessage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return nil, w.broken
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		return nil, errors.New("a person is asked for twice")
	}
	w.near[ws].asked = append(w.near[ws].asked, len(ids))
	out := map[string]json.RawMessage{}
	for _, id := range ids {
		if p, ok := w.profiles[ws][id]; ok {
			out[id] = json.RawMessage(p)
		}
	}
	return out, nil
}

type nearbyAnswer struct {
	LiveWithinS int `json:"live_within_s"`
	Items       []struct {
		Profile, Install, Platform string
		DistanceM                  float64 `json:"distance_m"`
		AccuracyM                  float64 `json:"accuracy_m"`
		AgeS                       float64 `json:"age_s"`
		Places                     []string
	}
	Truncated bool
	Match     *struct {
		Looked     int `json:"looked_at"`
		Matched    int
		Unreadable int
		Profiles   []struct{ Profile, Reason string } `json:"unreadable_profiles"`
	}
}

func (a nearbyAnswer) installs() (out []string) {
	for _, x := range a.Items {
		out = append(out, x.Install)
	}
	return out
}

var square = geo.Point{Lat: 52.3702, Lng: 4.8952}

// north of the square by so many metres.
func north(m float64) geo.Point { return geo.Point{Lat: square.Lat + m/111_250, Lng: square.Lng} }

// crowd makes persons north of the square, 10 m apart; every third likes fashion.
func (s *site) crowd(ws string, n int) {
	s.t.Helper()
	w := s.world
	w.mu.Lock()
	defer w.mu.Unlock()
	w.profiles[ws] = map[string]string{}
	for i := range n {
		id := fmt.Sprintf("person-%04d", i)
		attitude := "dislike"
		if i%3 == 0 {
			attitude = "like"
		}
		w.profiles[ws][id] = fmt.Sprintf(`{"id":%q,"preferences":{"fashion":%q}}`, id, attitude)
		w.live(s.t, ws, api.NearDevice{Install: fmt.Sprintf("phone-%04d", i), Profile: id, Platform: "ios", At: start.Add(-time.Minute), AccuracyM: 12.34}, north(float64(10*i)))
	}
}

const likesFashion = `{"field":"likes","op":"contains","value":"fashion"}`

func TestNearbyListsTheNearestFirst(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha) // phone-1 is at the shop
	s.crowd(alpha, 20)
	var a nearbyAnswer
	s.get("/api/v1/nearby?lat=52.3702&lng=4.8952&radius_m=25").want(200, &a)
	if got := fmt.Sprint(a.installs()); got != "[phone-0000 phone-1 phone-0001 phone-0002]" || a.Truncated || a.LiveWithinS != 900 || a.Match != nil {
		t.Errorf("%s %+v", got, a)
	}
	if x := a.Items[3]; x.Profile != "person-0002" || x.Platform != "ios" || x.DistanceM < 19.9 || x.DistanceM > 20.1 || x.AccuracyM != 12.3 || x.AgeS != 60 {
		t.Errorf("%+v", x)
	}
	if x := a.Items[1]; fmt.Sprint(x.Places) != "[shop]" {
		t.Errorf("%+v", x)
	}
	// A place is asked about by its location.
	var b nearbyAnswer
	s.get("/api/v1/places/shop/nearby?radius_m=25&limit=3").want(200, &b)
	if got := fmt.Sprint(b.installs()); got != "[phone-0000 phone-1 phone-0001]" || !b.Truncated {
		t.Errorf("%s %+v", got, b)
	}
	s.get("/api/v1/nearby?lat=-52&lng=4.8952").want(200, &b)
	if b.Items == nil || len(b.Items) != 0 || b.Truncated {
		t.Errorf("%+v", b)
	}
}

func TestNearbyMatchesAnAudience(t *testing.T) {
	s := newSite(t)
	s.crowd(alpha, 2500)
	delete(s.world.profiles[alpha], "person-0003")
	s.world.profiles[alpha]["person-0006"] = `{"attributes":7}`
	for i := range 2 { // two phones of one person
		s.world.live(t, alpha, api.NearDevice{Install: fmt.Sprint("tablet-", i), Profile: "person-0000", At: start}, square)
	}
	ask := func(radius, limit int, match string) (a nearbyAnswer) {
		t.Helper()
		s.world.near[alpha].asked = nil
		s.get(fmt.Sprintf("/api/v1/nearby?lat=%v&lng=%v&radius_m=%d&limit=%d&match=%s", square.Lat, square.Lng, radius, limit, url.QueryEscape(match))).want(200, &a)
		return a
	}
	a := ask(95, 100, likesFashion)
	if got := fmt.Sprint(a.installs()); got != "[phone-0000 tablet-0 tablet-1 phone-0009]" || a.Truncated {
		t.Errorf("%s", got)
	}
	if m := a.Match; m.Looked != 12 || m.Matched != 4 || m.Unreadable != 2 || len(m.Profiles) != 2 ||
		m.Profiles[0].Profile != "person-0003" || m.Profiles[1].Profile != "person-0006" || m.Profiles[0].Reason == m.Profiles[1].Reason {
		t.Errorf("%+v", m)
	}
	// Enough is enough: the others' persons are not read.
	a = ask(100_000, 10, likesFashion)
	if len(a.Items) != 10 || !a.Truncated || len(s.world.near[alpha].asked) != 1 {
		t.Errorf("%d items, truncated %v, asked %v", len(a.Items), a.Truncated, s.world.near[alpha].asked)
	}
	// Nobody matches: it gives up after 2000, and says so.
	a = ask(100_000, 1000, `{"field":"likes","op":"contains","value":"chess"}`)
	if len(a.Items) != 0 || !a.Truncated || a.Match.Looked != 2000 || a.Match.Matched != 0 {
		t.Errorf("%d items, truncated %v, %+v", len(a.Items), a.Truncated, a.Match)
	}
	// All within the radius were looked at.
	a = ask(9_995, 1000, likesFashion)
	if a.Truncated || a.Match.Looked != 1002 || len(a.Items) != a.Match.Matched || len(a.Items) != 334 {
		t.Errorf("%d items, truncated %v, %+v", len(a.Items), a.Truncated, a.Match)
	}
	s.world.broken = errors.New("the store is away")
	s.get("/api/v1/nearby?lat=52.37&lng=4.89&match="+url.QueryEscape(likesFashion)).wantProblem(500, engage.Internal, "")
}

func TestNearbyRefusesWhatItCannotAnswer(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	rule := func(r string) string { return "/api/v1/nearby?lat=1&lng=1&match=" + url.QueryEscape(r) }
	for path, want := range map[string]struct {
		status int
		field  string
	}{
		"/api/v1/nearby?lng=4":                                       {422, "lat"},
		"/api/v1/nearby?lat=1":                                       {422, "lng"},
		"/api/v1/nearby?lat=91&lng=4":                                {422, "lat"},
		"/api/v1/nearby?lat=NaN&lng=4":                               {422, "lat"},
		"/api/v1/nearby?lat=1&lng=-181":                              {422, "lng"},
		"/api/v1/nearby?lat=1&lng=x":                                 {422, "lng"},
		"/api/v1/nearby?lat=1&lng=1&radius_m=0":                      {422, "radius_m"},
		"/api/v1/nearby?lat=1&lng=1&radius_m=NaN":                    {422, "radius_m"},
		"/api/v1/nearby?lat=1&lng=1&radius_m=100001":                 {422, "radius_m"},
		"/api/v1/nearby?lat=1&lng=1&limit=1001":                      {422, "limit"},
		"/api/v1/nearby?lat=1&lng=1&limit=0":                         {422, "limit"},
		"/api/v1/nearby?lat=1&lng=1&size=3":                          {422, "size"},
		rule(`{"field":"likes","op":"has","value":"x"}`):             {422, "match.op"},
		rule(`{"all":[{"field":"weather.uv","op":"eq","value":1}]}`): {422, "match.all[0].field"},
		rule(`{`): {422, "match"},
		rule(`{"field":"likes","op":"contains","value":"` + strings.Repeat("x", 4000) + `"}`): {422, "match"},
		"/api/v1/places/nowhere/nearby":           {404, "id"},
		"/api/v1/heat":                            {422, "bbox"},
		"/api/v1/heat?bbox=1,2,3":                 {422, "bbox"},
		"/api/v1/heat?bbox=1,2,3,north":           {422, "bbox"},
		"/api/v1/heat?bbox=1,3,2,2":               {422, "bbox.south"},
		"/api/v1/heat?bbox=1,2,3,NaN":             {422, "bbox.north"},
		"/api/v1/heat?bbox=1,2,3,4&resolution=3":  {422, "resolution"},
		"/api/v1/heat?bbox=1,2,3,4&resolution=11": {422, "resolution"},
		"/api/v1/heat?bbox=1,2,3,4&format=kml":    {422, "format"},
	} {
		code := engage.Invalid
		if want.status == 404 {
			code = engage.NotFound
		}
		s.get(path).wantProblem(want.status, code, want.field)
	}
}

func TestHeatIsShownAsCellsAndAsGeoJSON(t *testing.T) {
	s := newSite(t)
	s.crowd(alpha, 40) // 400 m
	s.world.live(t, alpha, api.NearDevice{Install: "loner", At: start}, north(30_000))
	var h struct {
		At         time.Time
		Resolution int
		Least      int
		Cells      []struct {
			Cell     string
			Count    int
			Lat, Lng float64
		}
	}
	s.get("/api/v1/heat?bbox=4,52,6,53").want(200, &h)
	if !h.At.Equal(start) || h.Resolution != 8 || h.Least != 3 || len(h.Cells) == 0 {
		t.Fatalf("%+v", h)
	}
	sum := 0
	for _, c := range h.Cells {
		if c.Count < 3 || c.Lat < 52.3 || c.Lat > 52.5 {
			t.Errorf("%+v", c)
		}
		sum += c.Count
	}
	if sum > 40 {
		t.Errorf("%d of 40 devices", sum)
	}
	a := s.do(request{method: "GET", path: "/api/v1/heat?bbox=4,52,6,53", header: map[string]string{"Accept": "application/geo+json"}})
	var g struct {
		Type     string
		Features []struct {
			Type, ID   string
			Geometry   json.RawMessage
			Properties struct{ Count int }
		}
	}
	a.want(200, &g)
	if ct := a.header.Get("Content-Type"); ct != "application/geo+json" || g.Type != "FeatureCollection" || len(g.Features) != len(h.Cells) {
		t.Fatalf("%s %+v", ct, g)
	}
	for i, f := range g.Features {
		shape, err := geo.ParseGeometry(f.Geometry, nil)
		if err != nil || f.ID != h.Cells[i].Cell || f.Properties.Count != h.Cells[i].Count || !shape.Contains(geo.Point{Lat: h.Cells[i].Lat, Lng: h.Cells[i].Lng}) {
			t.Errorf("%v %+v", err, f)
		}
	}
	s.get("/api/v1/heat?bbox=-10,52,-6,53").want(200, &h)
	if h.Cells == nil || len(h.Cells) != 0 {
		t.Errorf("%+v", h)
	}
	s.world.broken = errors.New("the library fails")
	s.get("/api/v1/heat?bbox=4,52,6,53").wantProblem(500, engage.Internal, "")
}

func TestLivePageDrawsTheHeatMap(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	s := newSite(t)
	s.town()
	s.crowd(alpha, 40)
	key := "/#heat&key=" + s.keys[alpha][catalog.Viewer]
	dom := s.chromium(key, "--dump-dom")
	button := regexp.MustCompile(`<button[^>]*id="heat"[^>]*>`).FindString(dom)
	if !strings.Contains(button, `aria-pressed="true"`) || !regexp.MustCompile(`title="[1-9][0-9]* cells with at least 3 live devices each, at `).MatchString(button) {
		t.Errorf("the button of the heat map is %s", button)
	}
	if folder := os.Getenv("FOOTFALL_SCREENSHOTS"); folder != "" {
		s.chromium(key, "--screenshot="+filepath.Join(folder, "live-heat.png"))
	}
}
