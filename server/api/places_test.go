package api_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/places"
)

type placesPage struct {
	Items []engage.Place
	Next  string
}

type report = places.Report

// row of a report; a row that is not noteworthy is not in it.
func row(r report, n int) places.RowReport {
	for _, x := range r.Rows {
		if x.Row == n {
			return x
		}
	}
	return places.RowReport{Row: n, Outcome: "taken"}
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
	if r.Created != 3 || r.Refused != 1 || r.Warned != 2 || row(r, 4).Error == nil || row(r, 4).Error.Field != "properties.radius" {
		t.Fatalf("%+v", r)
	}
	for i, want := range []string{"[{geometry.coordinates[0] ran clockwise and was turned round}]", "[{geometry.coordinates[0] ran clockwise and was turned round}]", "[]"} {
		if got := fmt.Sprint(row(r, i+1).Warnings); got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
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
	if r.Created != 1 || r.Refused != 0 || r.Read != 2 || len(r.Rows) != 0 {
		t.Errorf("%+v", r)
	}
	is := *s.catalog.Now().Place(alpha, "shop")
	is.Version, is.UpdatedAt = was.Version, was.UpdatedAt
	if fmt.Sprintf("%+v", is) != fmt.Sprintf("%+v", was) {
		t.Errorf("was %+v\nis  %+v", was, is)
	}
	s.do(request{method: "POST", path: "/api/v1/places", body: string(a.body)}).want(200, &r)
	if r.Unchanged != 1 || r.Changed != 0 || r.Created != 0 || s.catalog.Now().Place(alpha, "shop").Version != is.Version+2 {
		t.Errorf("a second import: %+v, version %d", r, s.catalog.Now().Place(alpha, "shop").Version)
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
	want := []struct {
		outcome places.Outcome
		field   string
	}{
		{"taken", ""},
		{"taken", ""},
		{"refused", "properties.radius"},
		{"refused", "geometry.coordinates[1]"},
		{"refused", "features[4]"},
		{"refused", "properties.ring"},
		{"refused", "properties.place"},
		{"refused", "geometry"},
		{"refused", "features[8]"},
		{"refused", "properties.radius"},
		{"refused", "properties.fence"},
		{"taken", ""},
		{"refused", "properties.place"},
	}
	for _, dry := range []bool{true, false} {
		var r report
		a := s.do(request{method: "POST", path: fmt.Sprintf("/api/v1/places?dry_run=%v", dry), body: body}).want(200, &r)
		for i, w := range want {
			x := row(r, i+1)
			if x.Outcome != w.outcome || (x.Error != nil) != (w.outcome == "refused") || x.Error != nil && x.Error.Field != w.field {
				t.Errorf("dry %v, feature %d: %+v %+v, want %+v", dry, i, x, x.Error, w)
			}
		}
		if dry {
			if n := len(s.catalog.Now().Places(alpha)); n != 1 {
				t.Fatalf("a dry run saved: %d places", n)
			}
		}
		if r.DryRun != dry || r.Created != 2 || r.Refused != 10 || r.Read != 13 {
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

func TestATableIsImportedWithItsColumnsMapped(t *testing.T) {
	s := newSite(t)
	const table = "\ufeffStore Number;Store Name;Breite;Länge;Öffnungszeiten;Zone\r\n" +
		"1;once;52;4;;\r\n" +
		"2;;52.37;4.89;whenever;Europe/Amsterdam\r\n" +
		"1;\"Bäckerei\nam Dom\";50,9413;6,9583;mo-fr 8:00-18:00;GMT+1:00 Europe/Ber\r\n" +
		"3;out;95;4;;\r\n"
	path := "/api/v1/places?radius=75&map=" + url.QueryEscape("id:Store Number,name:Store Name") + "&map=" + url.QueryEscape("lat:Breite,lng:Länge,hours:Öffnungszeiten,time_zone:Zone")
	csv := map[string]string{"Content-Type": "text/csv; charset=utf-8"}
	var r report
	s.do(request{method: "POST", path: path, body: table, header: csv}).want(200, &r)
	if r.Read != 4 || r.Created != 2 || r.Refused != 1 || r.Warned != 2 || r.ZonesFound != 1 {
		t.Errorf("%+v", r)
	}
	if s.catalog.Latest() != s.catalog.Now().Revision {
		t.Error("the partitions are not told of what was imported")
	}
	for n, want := range map[int]string{3: "Öffnungszeiten", 4: "Store Name", 5: "Breite"} {
		x := row(r, n)
		if x.Error != nil && x.Error.Field != want || x.Error == nil && x.Warnings[0].Field != want || (x.Error != nil) != (n > 4) {
			t.Errorf("row %d: %+v %+v, want %s", n, x, x.Error, want)
		}
	}
	if w := row(r, 4).Warnings; w[len(w)-1].Reason != "stands in row 2 already, which this one replaces" {
		t.Errorf("%+v", w)
	}
	p := s.catalog.Now().Place(alpha, "1")
	if p == nil || p.Version != 1 || p.Name != "Bäckerei am Dom" || p.TimeZone != "Europe/Berlin" || p.Hours != "Mo-Fr 08:00-18:00" || p.Geofences[0].Shape != (geo.Circle{Around: geo.Point{Lat: 50.9413, Lng: 6.9583}, RadiusM: 75}) {
		t.Errorf("%+v", p)
	}
	if p := s.catalog.Now().Place(alpha, "2"); p == nil || p.Name != "2" || p.Hours != "" {
		t.Errorf("%+v", p)
	}
	// With hours=refuse the row of bad hours is refused, and the place stays.
	s.do(request{method: "POST", path: path + "&hours=refuse", body: table, header: csv}).want(200, &r)
	if r.Refused != 2 || r.Unchanged != 1 || row(r, 3).Error == nil || row(r, 3).Error.Field != "Öffnungszeiten" {
		t.Errorf("%+v", r)
	}
	// All rows, one per line, and the counts.
	a := s.do(request{method: "POST", path: path, body: table, header: map[string]string{"Content-Type": "text/csv", "Accept": "application/x-ndjson"}}).want(200)
	lines := strings.Split(strings.TrimSpace(string(a.body)), "\n")
	if ct := a.header.Get("Content-Type"); ct != "application/x-ndjson" || len(lines) != 4 || !strings.Contains(lines[2], `"row":5`) || !strings.Contains(lines[3], `"read":4`) {
		t.Errorf("%s %s", ct, a.body)
	}
	for query, field := range map[string]string{"map=colour:x": "map", "map=id:none": "map.id", "radius=-1": "radius", "radius=5": "radius", "hours=never": "hours", "map=name:again,name:x": "map"} {
		s.do(request{method: "POST", path: "/api/v1/places?" + query, body: "id,lat,lng,again\n1,2,3,4\n", header: csv}).wantProblem(422, engage.Invalid, field)
	}
	s.do(request{method: "POST", path: "/api/v1/places", body: "id,lat,lng\n1,2,3\n", header: map[string]string{"Content-Type": "application/json"}}).wantProblem(422, engage.Invalid, "")
}

func TestAPlaceThatComesAgainInAFileReplacesTheEarlierOne(t *testing.T) {
	s := newSite(t)
	s.put("/api/v1/places/kept", strings.NewReplacer("shop-inside", "kept-inside", "shop-near", "kept-near").Replace(shopJSON)).want(201)
	var b strings.Builder
	b.WriteString("id,fence,name,lat,lng,time_zone,holidays\n")
	b.WriteString("a,,First,52.1,4.1,UTC,\nb,,B,52.1,4.1,UTC,\na,,Second,52.2,4.2,UTC,\n")          // 2 to 4, in one batch
	b.WriteString("c,,Good,52.1,4.1,UTC,\nd,,D,52.1,4.1,UTC,\nc,kept-inside,Thief,52.1,4.1,UTC,\n") // 7 is refused, 5 counts
	b.WriteString("e,,Bad,52.1,4.1,UTC,never\nf,,F,52.1,4.1,UTC,\ne,,Good,52.1,4.1,UTC,\n")         // 8 is refused, 10 counts
	for i := range 2100 {
		fmt.Fprintf(&b, "n%d,,N,52.1,4.1,UTC,\n", i)
	}
	b.WriteString("b,,Last,52.3,4.3,UTC,\n") // 2111, in another batch than 3
	for try, want := range []report{{Created: 2106}, {Changed: 1, Unchanged: 2105}} {
		var r report
		s.do(request{method: "POST", path: "/api/v1/places", body: b.String(), header: map[string]string{"Content-Type": "text/csv"}}).want(200, &r)
		if r.Read != 2110 || r.Refused != 2 || r.Warned != 2 || r.Created != want.Created || r.Changed != want.Changed || r.Unchanged != want.Unchanged {
			t.Errorf("%+v", r)
		}
		for n, reason := range map[int]string{4: "row 2 ", 2111: "row 3 "} {
			if x := row(r, n); x.Error != nil || len(x.Warnings) != 1 || !strings.Contains(x.Warnings[0].Reason, reason) {
				t.Errorf("row %d: %+v", n, x)
			}
		}
		for n, field := range map[int]string{7: "fence", 8: "holidays[0]"} {
			if x := row(r, n); x.Error == nil || x.Error.Field != field {
				t.Errorf("row %d: %+v", n, x)
			}
		}
		for id, name := range map[string]string{"a": "Second", "b": "Last", "c": "Good", "e": "Good"} {
			if p := s.catalog.Now().Place(alpha, id); p == nil || p.Name != name || len(p.Geofences) != 1 || p.Version != 1 && id != "b" {
				t.Errorf("try %d: %s is %+v", try, id, p)
			}
		}
	}
}

func TestAFileThatBreaksOffKeepsWhatWasBefore(t *testing.T) {
	s := newSite(t)
	const feature = `{"type":"Feature","id":"a","geometry":{"type":"Point","coordinates":[4.9,52.1]},"properties":{}}`
	var r report
	s.do(request{method: "POST", path: "/api/v1/places", body: `{"type":"FeatureCollection","features":[` + feature + `,{"type":`}).want(200, &r)
	if r.Created != 1 || r.Error == nil || r.Error.Code != engage.Malformed || !strings.Contains(r.Error.Reason, "too early") || s.catalog.Now().Place(alpha, "a") == nil {
		t.Errorf("%+v %+v", r, r.Error)
	}
}

func TestMoreRowsThanAReportHoldsAreCounted(t *testing.T) {
	s := newSite(t)
	var b strings.Builder
	b.WriteString("id,lat,lng\n")
	for i := range 5001 {
		fmt.Fprintf(&b, "%d,91,4\n", i)
	}
	header := map[string]string{"Content-Type": "text/csv"}
	var r report
	s.do(request{method: "POST", path: "/api/v1/places", body: b.String(), header: header}).want(200, &r)
	if r.Read != 5001 || r.Refused != 5001 || len(r.Rows) != 100 || r.More != 4901 {
		t.Errorf("%d %d %d %d", r.Read, r.Refused, len(r.Rows), r.More)
	}
	header["Accept"] = "application/x-ndjson"
	a := s.do(request{method: "POST", path: "/api/v1/places", body: b.String(), header: header}).want(200)
	if n := strings.Count(string(a.body), "\n"); n != 5002 {
		t.Errorf("%d lines", n)
	}
}

func TestAPlaceTellsItsZoneItsHoursAndWhetherItIsOpen(t *testing.T) {
	s := newSite(t) // a Monday, 09:30 UTC
	type view struct {
		engage.Place
		Opening *struct {
			State           string
			Until, NextOpen *time.Time
		}
		Warnings []places.Warning
	}
	var v view
	const body = `{"name":"S","hours":"mo-fr 10-18","exceptions":[{"date":"2026-03-03","hours":"off"}],"holidays":["2026-12-25"],
		"rule":{"max_accuracy_m":500},"beacons":[{"id":"b","type":"ibeacon","uuid":"F7826DA6-4FA2-4E98-8024-BC5B71E0893E","major":0}],
		"geofences":[{"id":"i","ring":"inside","geometry":{"type":"Point","coordinates":[4.9,52.37]},"radius":50,"dwell_s":60,"rule":{"clear_factor":2}}]}`
	s.put("/api/v1/places/shop", strings.Replace(body, "10-18", "10:00-18:00", 1)).want(201, &v)
	if got := fmt.Sprint(v.Warnings); got != "[{time_zone Europe/Amsterdam was found from the position} {hours are kept as Mo-Fr 10:00-18:00}]" {
		t.Error(got)
	}
	if v.TimeZone != "Europe/Amsterdam" || v.Opening == nil || v.Opening.State != "open" || v.Beacons[0].UUID != "f7826da6-4fa2-4e98-8024-bc5b71e0893e" || *v.Beacons[0].Major != 0 {
		t.Errorf("%+v", v)
	}
	a := s.get("/api/v1/places/shop").want(200, &v)
	if until := v.Opening.Until; until == nil || !until.Equal(time.Date(2026, 3, 2, 17, 0, 0, 0, time.UTC)) || strings.Contains(string(a.body), "warnings") {
		t.Errorf("%s", a.body)
	}
	stored := s.catalog.Now().Place(alpha, "shop")
	if r := stored.RuleOf(&stored.Geofences[0]); r.MaxAccuracyM != 500 || r.ClearFactor != 2 || stored.Geofences[0].DwellS != 60 {
		t.Errorf("%+v", r)
	}
	// What was got can be put.
	s.do(request{method: "PUT", path: "/api/v1/places/shop", body: string(a.body)}).want(200, &v)
	if v.Version != 2 {
		t.Errorf("version %d", v.Version)
	}
	for change, field := range map[string]string{
		`"hours":"mo-fr 10-18"`:                              `"hours":"nine to five"|hours`,
		`"date":"2026-03-03"`:                                `"date":"tomorrow"|exceptions[0].date`,
		`"holidays":["2026-12-25"]`:                          `"holidays":["25.12."]|holidays[0]`,
		`"rule":{"max_accuracy_m":500}`:                      `"rule":{"max_accuracy_m":0}|rule.max_accuracy_m`,
		`"rule":{"clear_factor":2}`:                          `"rule":{"clear_factor":"2"}|geofences[0].rule.clear_factor`,
		`"dwell_s":60`:                                       `"dwell_s":-1|geofences[0].dwell_s`,
		`"uuid":"F7826DA6-4FA2-4E98-8024-BC5B71E0893E"`:      `"uuid":"x"|beacons[0].uuid`,
		`"major":0`:                                          `"mayor":0|beacons[0].mayor`,
		`"type":"ibeacon"`:                                   `"type":"ibeacon","fence":"x"|beacons[0].fence`,
		`"exceptions":[{"date":"2026-03-03","hours":"off"}]`: `"exceptions":[{"date":"2026-03-03","hours":"Mo off"}]|exceptions[0].hours`,
	} {
		to, at, _ := strings.Cut(field, "|")
		good := strings.Replace(body, "10-18", "10:00-18:00", 1)
		bad := strings.Replace(strings.Replace(good, "10:00-18:00", "10-18", 1), change, to, 1)
		bad = strings.Replace(bad, "10-18", "10:00-18:00", 1)
		s.put("/api/v1/places/other", strings.ReplaceAll(strings.ReplaceAll(bad, `"id":"b"`, `"id":"b2"`), `"id":"i"`, `"id":"i2"`)).wantProblem(422, engage.Invalid, at)
	}
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

// A place that comes again in a later batch of the file is changed there, also where
// nothing is saved.
func TestADryRunCountsAPlaceAsCreatedOnce(t *testing.T) {
	s := newSite(t)
	var b strings.Builder
	b.WriteString("id,name,lat,lng\n")
	for i := range 2100 {
		fmt.Fprintf(&b, "s%d,Shop %d,52.37,4.89\n", i, i)
	}
	b.WriteString("s7,Another name,52.37,4.89\ns2099,Another name,52.37,4.89\n")
	csv := map[string]string{"Content-Type": "text/csv"}
	var reports [2]report
	for i, dry := range []bool{true, false} {
		s.do(request{method: "POST", path: fmt.Sprintf("/api/v1/places?radius=75&dry_run=%v", dry), body: b.String(), header: csv}).want(200, &reports[i])
	}
	dry, real := reports[0], reports[1]
	if real.Created != 2100 || dry.Created != real.Created || dry.Changed != real.Changed {
		t.Errorf("imported: %d created, %d changed; dry run: %d and %d", real.Created, real.Changed, dry.Created, dry.Changed)
	}
	if d, r := row(dry, 2102), row(real, 2102); r.Outcome != "changed" || d.Outcome != r.Outcome {
		t.Errorf("the row that comes again: %s, in the dry run %s", r.Outcome, d.Outcome)
	}
}
