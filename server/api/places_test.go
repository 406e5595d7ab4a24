package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

type placesPage struct {
	Items []engage.Place
	Next  string
}

type report struct {
	Created, Changed, Refused int
	Features                  []struct {
		Index              int
		ID, Place, Outcome string
		PutRight           []string `json:"put_right"`
		Error              *struct {
			Code                engage.Code
			Field, Reason, Want string
		}
	}
}

func TestPlacesAreListedByTagNameAndCursor(t *testing.T) {
	s := newSite(t)
	for i := range 5 {
		s.put(fmt.Sprintf("/api/v1/places/p%d", i), fmt.Sprintf(`{"name":"Shop %d","tags":["%s"],"geofences":[%s]}`, i, []string{"even", "odd"}[i%2],
			strings.Replace(circle("4", "52", "50"), `"f"`, fmt.Sprintf(`"f%d"`, i), 1))).want(201)
	}
	ids := func(path string) (out []string) {
		t.Helper()
		for cursor := ""; ; {
			var p placesPage
			s.get(path+"&limit=2&cursor="+cursor).want(200, &p)
			for _, x := range p.Items {
				out = append(out, x.ID)
			}
			if cursor = p.Next; cursor == "" {
				return out
			}
		}
	}
	for path, want := range map[string]string{
		"/api/v1/places?": "[p0 p1 p2 p3 p4]", "/api/v1/places?tag=even": "[p0 p2 p4]", "/api/v1/places?name=SHOP%203": "[p3]",
		"/api/v1/places?tag=none": "[]",
	} {
		if got := fmt.Sprint(ids(path)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestPlacesWithOutlinesGoInAndOutAndTellWhatWasPutRight(t *testing.T) {
	s := newSite(t)
	feature := func(id, geometry, properties string) string {
		return `{"type":"Feature","id":"` + id + `","geometry":` + geometry + `,"properties":{"place":"` + id + `"` + properties + `}}`
	}
	const clockwise = `{"type":"Polygon","coordinates":[[[4.9,52.37],[4.9,52.38],[4.91,52.38],[4.91,52.37],[4.9,52.37]]]}`
	const cells = `{"type":"MultiPolygon","coordinates":[],"h3_cells":["891f1d48177ffff"]}`
	var r report
	s.do(request{method: "POST", path: "/api/v1/places", body: `{"type":"FeatureCollection","features":[` + strings.Join([]string{
		feature("outline", clockwise, ``), feature("around", clockwise, `,"radius":300`), feature("cells", cells, ``),
		feature("bad", clockwise, `,"radius":0`),
	}, ",") + `]}`}).want(200, &r)
	if r.Created != 3 || r.Refused != 1 || r.Features[3].Error.Field != "properties.radius" {
		t.Fatalf("%+v", r)
	}
	for i, want := range []string{"[coordinates[0] ran clockwise and was turned round]", "[coordinates[0] ran clockwise and was turned round]", "[]"} {
		if got := fmt.Sprint(r.Features[i].PutRight); got != want {
			t.Errorf("%s: %s, want %s", r.Features[i].ID, got, want)
		}
	}
	for path, want := range map[string]string{
		"outline": `"geometry":{"type":"Polygon","coordinates":[[[4.9,52.37],[4.91,52.37],[4.91,52.38],[4.9,52.38],[4.9,52.37]]]}}`,
		"around":  `[4.9,52.37]]]},"radius":300}`,
		"cells":   `"geometry":{"type":"MultiPolygon","coordinates":[],"h3_cells":["891f1d48177ffff"]}}`,
	} {
		if a := s.get("/api/v1/places/" + path).want(200); !strings.Contains(string(a.body), want) {
			t.Errorf("%s: %s, want %s in it", path, a.body, want)
		}
	}
}

func TestGeoJSONThatGoesOutComesInAgain(t *testing.T) {
	s := newSite(t)
	s.put("/api/v1/places/shop", shopJSON).want(201)
	was := *s.catalog.Now().Place(alpha, "shop")
	a := s.do(request{method: "GET", path: "/api/v1/places", header: map[string]string{"Accept": "application/geo+json"}}).want(200)
	if ct := a.header.Get("Content-Type"); ct != "application/geo+json" {
		t.Errorf("content type %s", ct)
	}
	s.do(request{method: "DELETE", path: "/api/v1/places/shop"}).want(204)
	var r report
	s.do(request{method: "POST", path: "/api/v1/places", body: string(a.body), header: map[string]string{"Content-Type": "application/geo+json"}}).want(200, &r)
	if r.Created != 1 || r.Refused != 0 || len(r.Features) != 2 || r.Features[1].Outcome != "created" {
		t.Errorf("%+v", r)
	}
	is := *s.catalog.Now().Place(alpha, "shop")
	is.Version, is.UpdatedAt = was.Version, was.UpdatedAt
	if fmt.Sprintf("%+v", is) != fmt.Sprintf("%+v", was) {
		t.Errorf("was %+v\nis  %+v", was, is)
	}
	s.do(request{method: "POST", path: "/api/v1/places", body: string(a.body)}).want(200, &r)
	if r.Changed != 1 || r.Created != 0 {
		t.Errorf("a second import: %+v", r)
	}
}

func TestAnImportReportsEachFeatureAndLosesNothingElse(t *testing.T) {
	s := newSite(t)
	s.put("/api/v1/places/kept", strings.NewReplacer("shop-inside", "kept-inside", "shop-near", "kept-near").Replace(shopJSON)).want(201)
	feature := func(id, lat, props string) string {
		return fmt.Sprintf(`{"type":"Feature",%s"geometry":{"type":"Point","coordinates":[4.9,%s]},"properties":{%s}}`, id, lat, props)
	}
	body := `{"type":"FeatureCollection","generator":"a tool","features":[` + strings.Join([]string{
		feature("", "52.1", `"place":"a","name":"A","radius":50,"shop:colour":"red"`), // 0: others' properties are theirs
		feature("", "52.1", `"place":"a","ring":"near","radius":300`),                 // 1: the same place
		feature(`"id":"b",`, "52.2", `"radius":-1`),                                   // 2: radius
		feature(`"id":"c",`, "91", `"radius":50`),                                     // 3: latitude
		feature("", "52.3", `"place":"kept","radius":50`),                             // 4: fine, but
		feature("", "52.3", `"place":"kept","ring":"outer","radius":50`),              // 5: this is not
		feature("", "52.4", `"radius":50`),                                            // 6: no place
		`{"type":"Feature","id":7,"geometry":null,"properties":{"radius":50}}`,        // 7: no geometry
		`17`, // 8
		feature(`"id":"d",`, "52.5", `"radius":"wide"`),                                         // 9
		feature(`"id":"kept-inside",`, "52.6", `"place":"thief","radius":50`),                   // 10: a geofence of another place
		feature(`"id":"e",`, "52.7", `"place":"e","radius":50,"name":null,"tags":["x"]`),        // 11
		`{"type":"Feature","geometry":{"type":"Point","coordinates":[4,52]},"properties":null}`, // 12
	}, ",") + `]}`
	want := []struct{ outcome, field string }{
		{"created", ""},
		{"created", ""},
		{"refused", "properties.radius"},
		{"refused", "geometry.coordinates[1]"},
		{"refused", ""},
		{"refused", "properties.ring"},
		{"refused", "properties.place"},
		{"refused", "geometry"},
		{"refused", ""},
		{"refused", "properties.radius"},
		{"refused", "id"},
		{"created", ""},
		{"refused", "properties"},
	}
	for _, dry := range []bool{true, false} {
		var r report
		a := s.do(request{method: "POST", path: fmt.Sprintf("/api/v1/places?dry_run=%v", dry), body: body}).want(200, &r)
		for i, w := range want {
			f := r.Features[i]
			if dry && i == 10 { // only saving sees whose geofence it is
				continue
			}
			if f.Index != i || f.Outcome != w.outcome || (f.Error != nil) != (w.outcome == "refused") || f.Error != nil && f.Error.Field != w.field {
				t.Errorf("dry %v, feature %d: %+v %+v, want %+v", dry, i, f, f.Error, w)
			}
		}
		if dry {
			if n := len(s.catalog.Now().Places(alpha)); n != 1 {
				t.Fatalf("a dry run saved: %d places", n)
			}
		} else if r.Created != 2 || r.Refused != 10 {
			t.Errorf("%s", a.body)
		}
	}
	p := s.catalog.Now().Place(alpha, "a")
	if p == nil || len(p.Geofences) != 2 || p.Name != "A" || p.Geofences[1].ID != "a-near" || p.Location.Lat != 52.1 {
		t.Errorf("%+v", p)
	}
	if kept := s.catalog.Now().Place(alpha, "kept"); kept.Version != 1 || len(kept.Geofences) != 2 {
		t.Errorf("a place with a refused feature was changed: %+v", kept)
	}
}

func TestTooManyFeaturesAreRefusedAsAWhole(t *testing.T) {
	s := newSite(t)
	features := strings.TrimSuffix(strings.Repeat(`{},`, 5001), ",")
	s.do(request{method: "POST", path: "/api/v1/places", body: `{"type":"FeatureCollection","features":[` + features + `]}`}).
		wantProblem(422, engage.TooLarge, "features")
}

func TestAPlaceWithoutLocationIsAtItsInsideFence(t *testing.T) {
	s := newSite(t)
	var p engage.Place
	s.put("/api/v1/places/shop", `{"name":"S","geofences":[
		{"id":"n","ring":"near","geometry":{"type":"Point","coordinates":[5,53]},"radius":300},
		{"id":"i","ring":"inside","geometry":{"type":"Point","coordinates":[4,52]},"radius":50}]}`).want(201, &p)
	if p.Location.Lat != 52 || p.Location.Lng != 4 {
		t.Errorf("%+v", p.Location)
	}
	if _, err := json.Marshal(p); err != nil {
		t.Error(err)
	}
}
