package api_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func (w *world) Visits(_ context.Context, ws string, f api.VisitFilter, cursor string, limit int) (api.Page[engage.Visit], error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []engage.Visit
	for _, v := range w.visits[ws] {
		if (f.Place == "" || v.Place == f.Place) && (f.Profile == "" || v.Profile == f.Profile) && !v.Since.Before(f.From) &&
			(f.Before.IsZero() || v.Since.Before(f.Before)) && (f.Open == nil || *f.Open == v.Open()) && (f.Withdrawn || v.Ended != engage.EndedByWithdrawal) {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b engage.Visit) int { return b.Since.Compare(a.Since) })
	return page(all, cursor, limit)
}

func (w *world) Present(_ context.Context, ws, place string, _ int) (map[string]api.Presence, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]api.Presence{}
	for _, v := range w.visits[ws] {
		if p := out[v.Place]; v.Open() && (place == "" || place == v.Place) {
			p.Inside++
			out[v.Place] = p
		}
	}
	return out, false, nil
}

func (w *world) Track(_ context.Context, ws string, f api.TrackFilter, cursor string, limit int) (api.Page[api.TrackFix], error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []api.TrackFix
	for _, x := range w.tracks[ws] {
		if slices.Contains(f.Installs, x.Install) && f.Profile == engage.ProfileID(ws, "phone-1") && !x.At.Before(f.From) && (f.Before.IsZero() || x.At.Before(f.Before)) {
			all = append(all, x)
		}
	}
	slices.SortStableFunc(all, func(a, b api.TrackFix) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Install, b.Install)) })
	return page(all, cursor, limit)
}

type visitsAnswer struct {
	Items []struct {
		ID, Place, Profile, Ended string
		PlaceName                 string `json:"place_name"`
		Open                      bool
		Since                     time.Time
		Until, InsideAt           *time.Time
		DurationS                 float64 `json:"duration_s"`
		ConfirmedS                float64 `json:"confirmed_s"`
		Fences                    []string
	}
	Next string
}

func (a visitsAnswer) ids() string {
	var ids []string
	for _, v := range a.Items {
		ids = append(ids, v.ID)
	}
	return strings.Join(ids, " ")
}

func TestVisitsAreListedPerPlaceAndPerson(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	ada := engage.ProfileID(alpha, "phone-1")
	hour := func(n int) time.Time { return start.Add(time.Duration(n) * time.Hour) }
	visit := func(id, place, profile string, n int, ended engage.VisitEnd) engage.Visit {
		v := engage.Visit{V: 1, ID: id, Place: place, Profile: profile, Since: hour(n), Last: hour(n).Add(10 * time.Minute), Evidence: "fix", Ended: ended}
		if ended != "" {
			v.Until = v.Last
		}
		return v
	}
	s.world.visits[alpha] = []engage.Visit{
		visit("a", "shop", ada, -3, engage.EndedByExit), visit("b", "shop", "ben", -2, engage.EndedBySilence), visit("c", "shop", ada, -1, ""),
		visit("d", "closed-shop", ada, -4, engage.EndedByExit), visit("w", "shop", ada, -5, engage.EndedByWithdrawal),
	}
	at := func(n int) string { return url.QueryEscape(hour(n).Format(time.RFC3339)) }
	for path, want := range map[string]string{
		"places/shop/visits":                                  "c b a",
		"places/shop/visits?open=true":                        "c",
		"places/shop/visits?open=false":                       "b a",
		"places/shop/visits?withdrawn=true":                   "c b a w",
		"places/shop/visits?from=" + at(-2):                   "c b",
		"places/shop/visits?to=" + at(-2):                     "a",
		"places/shop/visits?from=" + at(-3) + "&to=" + at(-1): "b a",
		"places/closed-shop/visits":                           "d", // deleted: its history is kept
		"people/user_id:ada/visits":                           "c a d",
		"people/install:phone-1/visits?place=shop":            "c a",
		"people/" + ada + "/visits?open=true":                 "c",
	} {
		var got visitsAnswer
		s.do(request{method: "GET", path: "/api/v1/" + path, role: catalog.Viewer}).want(200, &got)
		if got.ids() != want || got.Next != "" {
			t.Errorf("%s: %q, want %q", path, got.ids(), want)
		}
	}
	var got visitsAnswer
	s.get("/api/v1/places/shop/visits?limit=2").want(200, &got)
	first, next := got.ids(), got.Next
	got = visitsAnswer{}
	s.get("/api/v1/places/shop/visits?limit=2&cursor="+url.QueryEscape(next)).want(200, &got)
	if first != "c b" || got.ids() != "a" || got.Next != "" {
		t.Errorf("pages %q and %q", first, got.ids())
	}
	if v := got.Items[0]; v.DurationS != 600 || v.Open || v.Ended != "exit" || v.PlaceName != "secret-of-alpha" || v.Fences == nil || v.Until == nil {
		t.Errorf("%+v", v)
	}
	s.get("/api/v1/places/nowhere/visits").wantProblem(404, engage.NotFound, "id")
	s.get("/api/v1/people/user_id:nobody/visits").wantProblem(404, engage.NotFound, "id")
}

func TestVisitsAndTracksRefuseTimesThatCannotBe(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	for _, path := range []string{"places/shop/visits", "people/user_id:ada/visits", "people/user_id:ada/track"} {
		for query, field := range map[string]string{
			"from=yesterday":            "from",
			"to=2026-13-01T00:00:00Z":   "to",
			"from=0001-01-01T00:00:01Z": "from",
			"to=-5":                     "to",
			"from=2026-03-02T10:00:00Z&to=2026-03-02T10:00:00Z": "to",
			"from=2026-03-02T10:00:00Z&to=2026-03-01T10:00:00Z": "to",
			"limit=0":     "limit",
			"limit=99999": "limit",
			"cursor=x":    "cursor",
		} {
			s.get("/api/v1/"+path+"?"+query).wantProblem(422, engage.Invalid, field)
		}
	}
	s.get("/api/v1/places/shop/visits?open=perhaps").wantProblem(422, engage.Invalid, "open")
	s.get("/api/v1/people/user_id:ada/track?format=gpx").wantProblem(422, engage.Invalid, "format")
}

func TestPresenceIsShownPerPlaceAndOnTheLivePage(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	var p struct {
		Place            string
		At               time.Time
		Inside, Arriving int
	}
	s.do(request{method: "GET", path: "/api/v1/places/shop/presence", role: catalog.Viewer}).want(200, &p)
	if p.Place != "shop" || !p.At.Equal(start) || p.Inside != 1 || p.Arriving != 0 {
		t.Errorf("%+v", p)
	}
	s.get("/api/v1/places/nowhere/presence").wantProblem(404, engage.NotFound, "id")
	var live struct {
		Present []struct {
			Place  string
			Inside int
		}
	}
	s.get("/api/v1/live").want(200, &live)
	if len(live.Present) != 1 || live.Present[0].Place != "shop" || live.Present[0].Inside != 1 {
		t.Errorf("%+v", live)
	}
}

type trackAnswer struct {
	Items []struct {
		At        time.Time
		Install   string
		Lat, Lng  float64
		AccuracyM float64 `json:"accuracy_m"`
		Coarse    bool
		Flags     []string
		Evidence  string
	}
	Next string
}

// walked gives the workspace's person a track: positions a minute apart.
func (s *site) walked(install string, at ...geo.Point) {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	for i, p := range at {
		s.world.tracks[alpha] = append(s.world.tracks[alpha], api.TrackFix{
			Install: install, TrackFix: geo.TrackFix{At: start.Add(time.Duration(i) * time.Minute), Pos: p, AccuracyM: 8},
		})
	}
}

func TestATrackIsListedTheNewestFirst(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	s.world.tracks[alpha] = nil
	s.walked("phone-1", geo.Point{Lat: 52.1, Lng: 4.8}, geo.Point{Lat: 52.2, Lng: 4.8}, geo.Point{Lat: 52.3, Lng: 4.8})
	s.walked("phone-of-another", geo.Point{Lat: 1, Lng: 2})
	s.world.tracks[alpha][1].Flags = geo.TrackMocked | geo.TrackIgnored
	s.world.tracks[alpha][1].Evidence = geo.TrackByOSRegion
	var got trackAnswer
	s.do(request{method: "GET", path: "/api/v1/people/user_id:ada/track", role: catalog.Viewer}).want(200, &got)
	if len(got.Items) != 3 || got.Items[0].Lat != 52.3 || got.Items[2].Lat != 52.1 || got.Items[0].AccuracyM != 8 || got.Items[0].Evidence != "fix" || got.Items[0].Coarse {
		t.Errorf("%+v", got)
	}
	if x := got.Items[1]; strings.Join(x.Flags, " ") != "mocked ignored" || x.Evidence != "os_region" {
		t.Errorf("%+v", x)
	}
	got = trackAnswer{}
	s.get("/api/v1/people/user_id:ada/track?limit=2&to="+url.QueryEscape(start.Add(2*time.Minute).Format(time.RFC3339))).want(200, &got)
	if len(got.Items) != 2 || got.Items[0].Lat != 52.2 || got.Next != "" {
		t.Errorf("%+v", got)
	}
}

// Positions of before a withdrawal are shown as coarsely as they are kept after it.
func TestATrackIsAsPreciseAsThePersonAgreesNow(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	id := engage.ProfileID(alpha, "phone-1")
	s.world.profiles[alpha][id] = strings.Replace(s.world.profiles[alpha][id], `"location_precise":{"granted":true`, `"location_precise":{"granted":false`, 1)
	at := s.world.tracks[alpha][0].Pos
	cell, err := geo.CellOf(at, api.CoarseResolution)
	if err != nil {
		t.Fatal(err)
	}
	var got trackAnswer
	a := s.get("/api/v1/people/user_id:ada/track").want(200, &got)
	if x := got.Items[0]; !x.Coarse || x.Lat != cell.Center().Lat || x.Lng != cell.Center().Lng || x.AccuracyM != 0 {
		t.Errorf("%+v", x)
	}
	s.walked("phone-1", geo.Point{Lat: 52.3702, Lng: 4.8952}, geo.Point{Lat: 52.3702, Lng: 4.8952})
	for _, body := range [][]byte{a.body, s.get("/api/v1/people/user_id:ada/track?format=geojson").want(200).body} {
		if strings.Contains(string(body), "52.3702") {
			t.Errorf("the precise position is shown: %s", body)
		}
	}
}

type geojsonAnswer struct {
	Type     string
	Features []struct {
		Type     string
		Geometry struct {
			Type        string
			Coordinates json.RawMessage
		}
		Properties map[string]any
	}
}

func TestATrackAsGeoJSON(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	s.world.tracks[alpha] = nil
	s.walked("phone-1", geo.Point{Lat: 52.1, Lng: 4.8}, geo.Point{Lat: 10, Lng: 10}, geo.Point{Lat: 52.3, Lng: 4.9})
	s.world.tracks[alpha][1].Flags = geo.TrackIgnored
	for _, r := range []request{
		{method: "GET", path: "/api/v1/people/user_id:ada/track?format=geojson"},
		{method: "GET", path: "/api/v1/people/user_id:ada/track", header: map[string]string{"Accept": "application/geo+json"}},
	} {
		var got geojsonAnswer
		a := s.do(r).want(200, &got)
		if ct := a.header.Get("Content-Type"); ct != "application/geo+json" || got.Type != "FeatureCollection" || len(got.Features) != 4 {
			t.Fatalf("%s: %s", ct, a.body)
		}
		way := got.Features[0]
		if way.Geometry.Type != "LineString" || string(way.Geometry.Coordinates) != "[[4.8,52.1],[4.9,52.3]]" || way.Properties["install"] != "phone-1" {
			t.Errorf("the way, without what was ignored, in the order of time: %+v", way)
		}
		if p := got.Features[1]; p.Geometry.Type != "Point" || string(p.Geometry.Coordinates) != "[4.9,52.3]" || p.Properties["accuracy_m"] != 8.0 {
			t.Errorf("%+v", p)
		}
	}
}

func TestATrackThatCrossesTheAntimeridianIsCutThere(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	for name, c := range map[string]struct {
		way  []geo.Point
		want string
	}{
		"eastward":         {[]geo.Point{{Lat: 10, Lng: 179}, {Lat: 12, Lng: -179}}, `[[[179,10],[180,11]],[[-180,11],[-179,12]]]`},
		"westward":         {[]geo.Point{{Lat: 10, Lng: -179}, {Lat: 14, Lng: 177}}, `[[[-179,10],[-180,11]],[[180,11],[177,14]]]`},
		"there and back":   {[]geo.Point{{Lat: 0, Lng: 179}, {Lat: 0, Lng: -179}, {Lat: 0, Lng: 179}}, `[[[179,0],[180,0]],[[-180,0],[-179,0],[-180,0]],[[180,0],[179,0]]]`},
		"from the line":    {[]geo.Point{{Lat: 0, Lng: 180}, {Lat: 0, Lng: -179}}, `[[[180,0],[180,0]],[[-180,0],[-179,0]]]`},
		"along the line":   {[]geo.Point{{Lat: 1, Lng: 180}, {Lat: 2, Lng: -180}}, `[[[180,1],[180,1]],[[-180,1],[-180,2]]]`},
		"not so far, east": {[]geo.Point{{Lat: 0, Lng: -80}, {Lat: 0, Lng: 90}}, `[[-80,0],[90,0]]`},
	} {
		s.world.tracks[alpha] = nil
		s.walked("phone-1", c.way...)
		var got geojsonAnswer
		s.get("/api/v1/people/user_id:ada/track?format=geojson").want(200, &got)
		if way := string(got.Features[0].Geometry.Coordinates); way != c.want {
			t.Errorf("%s: %s, want %s", name, way, c.want)
		}
		if strings.Contains(fmt.Sprint(got), fmt.Sprint(math.NaN())) {
			t.Errorf("%s: %v", name, got)
		}
	}
}
