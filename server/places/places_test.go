package places_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/places"
)

var shop = geo.Point{Lat: 52.3731, Lng: 4.8922}

func shape(t testing.TB, geometry string, radius *float64) geo.Shape {
	t.Helper()
	s, err := geo.ParseGeometry(json.RawMessage(geometry), radius)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const square = `{"type":"Polygon","coordinates":[[[4.9,52.37],[4.91,52.37],[4.91,52.38],[4.9,52.38],[4.9,52.37]]]}`

// rich are places that have everything that a place can have.
func rich(t testing.TB) []*engage.Place {
	t.Helper()
	all := []*engage.Place{
		{ID: "plain", Name: "Plain", TimeZone: "Europe/Amsterdam", Location: shop, Geofences: []engage.Geofence{
			{ID: "plain-inside", Ring: engage.Inside, Shape: geo.Circle{Around: shop, RadiusM: 100}},
		}},
		{
			ID: "rich", Name: "Käse, \"Brot\" & =1+1", TimeZone: "America/Argentina/Buenos_Aires", Location: geo.Point{Lat: 52.1234567890123, Lng: -4.1},
			Tags: []string{"a,b", "c;d", " e "}, Hours: "Mo-Fr 09:00-18:00; PH off", Holidays: []string{"2026-12-25", "2027-01-01"},
			Exceptions: []engage.Exception{{Date: "2026-12-24", Hours: "10:00-12:00,14:00-16:00"}, {Date: "2026-12-31", Hours: "off"}},
			Rule:       &engage.FenceRule{MaxAccuracyM: new(500.0)},
			Beacons:    []engage.Beacon{{ID: "b", Type: engage.IBeacon, UUID: "f7826da6-4fa2-4e98-8024-bc5b71e0893e", Major: new(0), Fence: "outline"}, {ID: "e", Type: engage.EddystoneUID, Namespace: "edd1ebeac04e5defa017"}},
			Geofences: []engage.Geofence{
				{ID: "outline", Ring: engage.Inside, Shape: shape(t, square, nil), DwellS: 90, Rule: &engage.FenceRule{SureFactor: new(0.0)}},
				{ID: "around", Ring: engage.Near, Shape: shape(t, square, new(300.0))},
				{ID: "cells", Ring: engage.Near, Shape: shape(t, `{"type":"MultiPolygon","coordinates":[],"h3_cells":["891f1d48177ffff"]}`, nil)},
				{ID: "circle", Ring: engage.Inside, Shape: geo.Circle{Around: geo.Point{Lat: -34.6037, Lng: -58.3816}, RadiusM: 12.5}},
			},
		},
		{ID: "tags", Name: "Tags", TimeZone: "Asia/Tokyo", Location: shop, Tags: []string{"x", "y"}, Geofences: []engage.Geofence{
			{ID: "other-name", Ring: engage.Near, Shape: geo.Circle{Around: shop, RadiusM: 10}},
		}},
	}
	for _, p := range all {
		p.Workspace = "acme"
		if err := catalog.ValidatePlace(p); err != nil {
			t.Fatalf("%s: %v", p.ID, err)
		}
	}
	return all
}

func write(t testing.TB, f places.Format, all ...*engage.Place) []byte {
	t.Helper()
	var b bytes.Buffer
	w := places.NewWriter(&b, f)
	for _, p := range all {
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func encoded(t testing.TB, p *engage.Place) string {
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWhatIsExportedIsImportedAsItWas(t *testing.T) {
	all := rich(t)
	for _, f := range []places.Format{places.GeoJSON, places.CSV} {
		file := write(t, f, all...)
		got, rows, report := taken(t, bytes.NewReader(file), places.Options{RadiusM: 100})
		if report.Refused+report.Warned+report.ZonesFound > 0 || report.Error != nil {
			t.Errorf("%s: %+v %+v\n%s", f, report, rows, file)
		}
		if len(got) != len(all) {
			t.Errorf("%s: %d places", f, len(got))
		}
		for _, p := range all {
			if is := got[p.ID]; is == nil || encoded(t, is) != encoded(t, p) {
				t.Errorf("%s: was\n%s\nis\n%s", f, encoded(t, p), encoded(t, is))
			}
		}
		if empty, _, report := taken(t, bytes.NewReader(write(t, f)), places.Options{}); len(empty) != 0 || report.Error != nil || report.Read != 0 {
			t.Errorf("%s of nothing: %+v", f, report)
		}
	}
}

func TestAnImportChangesOnlyWhatTheFileHas(t *testing.T) {
	old := rich(t)[1]
	complete := func(file string, m ...string) *engage.Place {
		t.Helper()
		mapping, err := places.ParseMapping(m...)
		if err != nil {
			t.Fatal(err)
		}
		r, err := places.NewReader(strings.NewReader(file), places.Options{Workspace: "acme", Map: mapping, RadiusM: 50})
		if err != nil {
			t.Fatal(err)
		}
		it, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if it.Complete(old); it.Place == nil {
			t.Fatalf("%+v", it.Rows[0].Err)
		}
		return it.Place
	}
	p := complete("id,fence,lat,lng\nrich,outline,-34.6,-58.4\n")
	if p.Name != old.Name || p.Hours != old.Hours || !slices.Equal(p.Tags, old.Tags) || len(p.Beacons) != 2 || p.Rule == nil || len(p.Exceptions) != 2 {
		t.Errorf("what the file does not have was changed: %s", encoded(t, p))
	}
	if f := p.Geofences; len(f) != 1 || f[0].DwellS != 90 || f[0].Rule == nil || f[0].Shape != (geo.Circle{Around: geo.Point{Lat: -34.6, Lng: -58.4}, RadiusM: 50}) {
		t.Errorf("geofences %+v", f)
	}
	if p.Location != (geo.Point{Lat: -34.6, Lng: -58.4}) || p.TimeZone != "America/Argentina/Buenos_Aires" {
		t.Errorf("%v %s", p.Location, p.TimeZone)
	}
	p = complete("id,fence,lat,lng,name,hours,tags,exceptions,beacons,place_rule,dwell_s,rule,holidays\nrich,outline,52.37,4.89,,,,,,,,,\n")
	if p.Name != old.Name || p.Hours != "" || p.Tags != nil || p.Beacons != nil || p.Rule != nil || p.Exceptions != nil || p.Holidays != nil || p.Geofences[0].DwellS != 0 || p.Geofences[0].Rule != nil {
		t.Errorf("what is empty in the file stayed: %s", encoded(t, p))
	}
	if p.TimeZone != "Europe/Amsterdam" {
		t.Errorf("zone %s of the new position", p.TimeZone)
	}
	p = complete(`{"type":"FeatureCollection","features":[{"type":"Feature","id":"x","geometry":{"type":"Point","coordinates":[4.89,52.37]},"properties":{"place":"rich","hours":null,"exceptions":null,"shop":"bakery"}}]}`, "tags:shop")
	if p.Hours != "" || p.Name != old.Name || fmt.Sprint(p.Tags) != "[bakery]" {
		t.Errorf("%s", encoded(t, p))
	}
	if was := rich(t)[1]; encoded(t, was) != encoded(t, old) {
		t.Error("the place that was there was changed in place")
	}
}

func TestColumnsAreMapped(t *testing.T) {
	for texts, want := range map[string]string{
		"id:a":                        "map[id:a]",
		"id:a,name:b c , lat : d":     "map[id:a lat:d name:b c]",
		"id:a, b: c,name:d,e":         "map[id:a, b: c name:d,e]",
		"time_zone:GMT: offset":       "map[time_zone:GMT: offset]",
		"":                            "!must be field:column",
		"id":                          "!must be field:column",
		"id:":                         "!must be field:column",
		"colour:red":                  "!there is no field",
		"id:a,id:b":                   "!id stands twice",
		"name:x,colour:red,lat:north": "map[lat:north name:x,colour:red]",
	} {
		m, err := places.ParseMapping(texts)
		got := fmt.Sprint(m)
		if err != nil {
			got = "!" + err.Error()
		}
		if !strings.HasPrefix(want, "!") && got != want || strings.HasPrefix(want, "!") && !strings.Contains(got, want[1:]) {
			t.Errorf("%q: %s, want %s", texts, got, want)
		}
	}
	for file, field := range map[string]string{
		"a,b\n1,2\n":           "map.id",
		"id,lng\n1,2\n":        "map.lat",
		"id,lat\n1,2\n":        "map.lng",
		"":                     "",
		"  \n":                 "",
		"\xff\xfei\x00d\x00":   "",
		"PK\x03\x04\x00":       "",
		"id,lat,l\xe4nge\n":    "header",
		"\"id,lat\n1,2\n":      "header",
		"[]":                   "",
		`{"type":"Feature"}`:   "type",
		`{"type":"FeatureCol`:  "",
		`{"features":{}}`:      "features",
		`{"x":1}`:              "features",
		`{"type":"Topology"}`:  "type",
		`{"crs":"EPSG:31370"}`: "crs",
	} {
		r, err := places.NewReader(strings.NewReader(file), places.Options{})
		if err == nil {
			_, err = r.Next()
		}
		var e *engage.Error
		if !errors.As(err, &e) || e.Field != field || e.Msg == "" {
			t.Errorf("%q: %v, want an error of %q", file, err, field)
		}
	}
	_, err := places.NewReader(strings.NewReader(`{"features":[]}`), places.Options{Map: places.Mapping{places.Lat: "x"}})
	if engage.CodeOf(err) != engage.Invalid {
		t.Errorf("lat of a feature: %v", err)
	}
}

func TestAFileThatEndsTooEarlyGivesWhatWasBefore(t *testing.T) {
	const feature = `{"type":"Feature","id":"%d","geometry":{"type":"Point","coordinates":[4.9,52.4]},"properties":{}}`
	one, two := fmt.Sprintf(feature, 1), fmt.Sprintf(feature, 2)
	for file, want := range map[string]struct {
		places int
		reason string
	}{
		`{"type":"FeatureCollection","features":[` + one + `,` + two + `]}`:                                {2, ""},
		`{"features":[` + one + `],"type":"FeatureCollection"}`:                                            {1, ""},
		`{"features":[` + one + `],"type":"Feature"}`:                                                      {1, "FeatureCollection"},
		`{"features":[` + one + `]}`:                                                                       {1, "missing"},
		`{"type":"FeatureCollection","features":[` + one + `,` + two[:50]:                                  {1, "too early"},
		`{"type":"FeatureCollection","features":[` + one + `,{"a":[1}],` + two + `]}`:                      {1, "bracket"},
		`{"type":"FeatureCollection","features":[` + one + ` ` + two + `]}`:                                {0, "comma"},
		`{"type":"FeatureCollection","features":[` + one + `]}x`:                                           {1, "follows"},
		`{"type":"FeatureCollection","features":[` + one + `],"features":[]}`:                              {1, "twice"},
		`{"type":"FeatureCollection","features":[` + strings.Repeat("[", 1100) + `,` + two:                 {0, "nested"},
		`{"type":"FeatureCollection","features":[` + one + `,],"bbox":[1,2],"x":"}]\"{"}`:                  {1, ""},
		`{"type":"FeatureCollection","features":[{"x":"` + strings.Repeat("x", 1<<20) + `"},` + two + `]}`: {1, ""},
	} {
		got, rows, report := taken(t, strings.NewReader(file), places.Options{RadiusM: 50})
		reason := ""
		if report.Error != nil {
			reason = report.Error.Reason
		}
		if len(got) != want.places || (reason == "") != (want.reason == "") || !strings.Contains(reason, want.reason) {
			t.Errorf("%.120s: %d places, %q, want %+v; rows %+v", file, len(got), reason, want, rows)
		}
	}
}

func TestAQuoteThatIsNotClosedCostsItsRowOnly(t *testing.T) {
	var b strings.Builder
	b.WriteString("id,name,lat,lng\n")
	for i := range 2000 {
		if i == 700 || i == 1999 {
			fmt.Fprintf(&b, "%d,\"open,52.4,4.9\n", i)
			continue
		}
		fmt.Fprintf(&b, "%d,n,52.4,4.9\n", i)
	}
	got, rows, report := taken(t, strings.NewReader(b.String()), places.Options{RadiusM: 50})
	if len(got) != 1998 || report.Refused != 2 || report.Error != nil || rows[700].Error == nil || rows[700].Row != 702 {
		t.Errorf("%d places, %+v", len(got), report)
	}
	// A file that is no table is given up.
	_, _, report = taken(t, strings.NewReader("id,lat,lng\n"+strings.Repeat("\"x\n", 1001)), places.Options{})
	if report.Error == nil || report.Error.Code != engage.TooLarge || report.Read > 200 {
		t.Errorf("%+v", report)
	}
	// And a row that is too long is cut.
	_, rows, report = taken(t, strings.NewReader("id,lat,lng\n"+strings.Repeat("x", 3<<20)+"\nlast,52.4,4.9\n"), places.Options{RadiusM: 50})
	if report.Created != 1 || rows[0].Error == nil || rows[0].Error.Code != engage.TooLarge {
		t.Errorf("%+v", rows)
	}
}

// endless gives rows for ever.
type endless struct {
	row  func(n int) string
	n    int
	left []byte
	stop int
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.left) == 0 {
		if e.n == e.stop {
			return 0, io.EOF
		}
		e.left = []byte(e.row(e.n))
		e.n++
	}
	n := copy(p, e.left)
	e.left = e.left[n:]
	return n, nil
}

func TestAFileOfAnySizeTakesLittleMemory(t *testing.T) {
	pad := strings.Repeat("x", 3000)
	for name, row := range map[string]func(int) string{
		"table": func(n int) string {
			if n == 0 {
				return "id,lat,lng,time_zone,note\n"
			}
			return fmt.Sprintf("%d,52.4,4.9,UTC,%s\n", n, pad)
		},
		"geojson": func(n int) string {
			if n == 0 {
				return `{"type":"FeatureCollection","features":[{}`
			}
			return fmt.Sprintf(`,{"type":"Feature","id":"%d","geometry":{"type":"Point","coordinates":[4.9,52.4]},"properties":{"time_zone":"UTC","note":"%s"}}`, n, pad)
		},
	} {
		r, err := places.NewReader(&endless{row: row, stop: 6_000}, places.Options{RadiusM: 50}) // 18 MB
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		n := 0
		for {
			it, err := r.Next()
			if err != nil {
				break
			}
			it.Complete(nil)
			n++
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 3<<20 || n < 5_999 { //nolint:gosec // far below 2^63
			t.Errorf("%s: %d places, %d kB more", name, n, grown>>10)
		}
		runtime.KeepAlive(r)
	}
}

func TestThePositionTellsTheZone(t *testing.T) {
	for p, want := range map[geo.Point]string{
		{Lat: 52.3731, Lng: 4.8922}:    "Europe/Amsterdam",
		{Lat: -34.6037, Lng: -58.3816}: "America/Argentina/Buenos_Aires",
		{Lat: 48.7128, Lng: 9.18}:      "Europe/Berlin",
		{Lat: 47.697, Lng: 8.6913}:     "Europe/Busingen", // an exclave
		{Lat: 39.9042, Lng: 116.4074}:  "Asia/Shanghai",
		{Lat: 65.5, Lng: -179.99999}:   "Asia/Anadyr",
		{Lat: 64.5, Lng: -165.4}:       "America/Nome",
		{Lat: 0, Lng: -30}:             "Etc/GMT+2",
	} {
		if got, ok := places.ZoneAt(p); got != want || !ok {
			t.Errorf("%v: %s %v, want %s", p, got, ok, want)
		}
	}
	for _, p := range []geo.Point{{Lat: 90, Lng: 0}, {Lat: -90, Lng: 0}, {Lat: 0, Lng: 180}, {Lat: 0, Lng: -180}} {
		if got, ok := places.ZoneAt(p); !ok {
			t.Errorf("%v: %q", p, got)
		}
	}
	if got, ok := places.ZoneAt(geo.Point{Lat: 91}); ok {
		t.Errorf("beyond the pole: %s", got)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		p := geo.Point{Lat: rng.Float64()*180 - 90, Lng: rng.Float64()*360 - 180}
		if got, ok := places.ZoneAt(p); !ok {
			t.Errorf("%v: %q", p, got)
		}
	}
}

func TestPrepareTellsWhatItDid(t *testing.T) {
	p := rich(t)[1]
	p.Geofences = append(p.Geofences, engage.Geofence{ID: "here", Ring: engage.Near, Shape: geo.Circle{Around: p.Location, RadiusM: 50}})
	p.TimeZone, p.Hours = "", "mo-fr 9:00 - 18:00; ph OFF"
	p.Geofences[0].Shape = shape(t, `{"type":"Polygon","coordinates":[[[4.9,52.37],[4.9,52.38],[4.91,52.38],[4.91,52.37],[4.9,52.37]]]}`, nil)
	p.Beacons[0].UUID = strings.ToUpper(p.Beacons[0].UUID)
	got := fmt.Sprint(places.Prepare(p))
	want := "[{geofences[0].geometry.coordinates[0] ran clockwise and was turned round} {time_zone Europe/London was found from the position} {hours are kept as Mo-Fr 09:00-18:00; PH off}]"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if p.Beacons[0].UUID != "f7826da6-4fa2-4e98-8024-bc5b71e0893e" {
		t.Error(p.Beacons[0].UUID)
	}
	if again := places.Prepare(p); len(again) != 1 { // the geometry keeps telling
		t.Errorf("again: %v", again)
	}
	p.Hours = "nine to five"
	if places.Prepare(p); p.Hours != "nine to five" {
		t.Error("bad hours were changed")
	}
}

func TestATableThatDoesNotTellWhichColumnIsMeantIsRefused(t *testing.T) {
	for _, c := range []struct{ header, m, field, reason string }{
		{"id,lat,latitude,lng", "", "map.lat", `"lat" and "latitude" could both hold it: say which one (map=lat:…)`},
		{"id,latitude,lat,lng", "", "map.lat", `"lat" and "latitude"`},
		{"id,lat,lng,lng", "", "map.lng", `two columns are called "lng"`},
		{"id,lat,lng,Lng", "", "map.lng", `"lng" and "Lng"`},
		{"id,ID,lat,lng", "", "map.id", `"id" and "ID"`},
		{"id,lat,lng,name,name", "", "map.name", `two columns are called "name"`},
		{"id,lat,lng,name,Name", "", "map.name", `"name" and "Name"`},
		{"id,lat,lng,title,title", "name:title", "map.name", `two columns are called "title"`},
		{"id,lat,lng,Title,TITLE", "name:title", "map.name", `"Title" and "TITLE"`},
		{"id,lat,lng,Title,TITLE", "name:TITLE", "", ""},
		{"id,lat,latitude,lng", "lat:latitude", "", ""},
		{"place,id,lat,lng", "id:id,tags:place", "", ""},
		{"place,id,lat,lng", "tags:place", "", ""},
		{"id,lat,lng,note,note,,", "", "", ""}, // nobody reads them
	} {
		m, err := places.ParseMapping(strings.FieldsFunc(c.m, func(r rune) bool { return r == ',' })...)
		if err != nil {
			t.Fatal(err)
		}
		_, err = places.NewReader(strings.NewReader(c.header+"\n"), places.Options{Map: m})
		var e *engage.Error
		if errors.As(err, &e) != (c.field != "") || e != nil && (e.Code != engage.Invalid || e.Field != c.field || !strings.Contains(e.Msg, c.reason)) {
			t.Errorf("%s with %q: %v", c.header, c.m, err)
		}
	}
}

func TestPrepareDoubtsAPlaceThatIsElsewhere(t *testing.T) {
	buenosAires := geo.Point{Lat: -34.6037, Lng: -58.3816}
	for name, c := range map[string]struct {
		at, fence geo.Point
		zone      string
		want      string
	}{
		"as it should be":      {shop, shop, "Europe/Amsterdam", "[]"},
		"the same clock":       {shop, shop, "Europe/Berlin", "[]"},
		"an old name":          {buenosAires, buenosAires, "America/Buenos_Aires", "[]"},
		"900 m outside":        {geo.Point{Lat: shop.Lat + 1000/111195.0, Lng: shop.Lng}, shop, "Europe/Amsterdam", "[]"},
		"1100 m outside":       {geo.Point{Lat: shop.Lat + 1200/111195.0, Lng: shop.Lng}, shop, "Europe/Amsterdam", "[{location is 1.1 km outside all geofences}]"},
		"lat and lng swapped":  {geo.Point{Lat: shop.Lng, Lng: shop.Lat}, shop, "Europe/Amsterdam", "km outside all geofences}]"},
		"another zone":         {shop, shop, "America/New_York", "[{time_zone is America/New_York, the geofences are in Europe/Amsterdam}]"},
		"no such zone":         {shop, shop, "Mars/Base", "[]"},
		"none, elsewhere":      {buenosAires, shop, "", "km outside all geofences} {time_zone America/Argentina/Buenos_Aires was found from the position}]"},
		"refused anyway":       {geo.Point{Lat: 91}, shop, "Europe/Amsterdam", "[]"},
		"a fence that is none": {shop, geo.Point{Lat: 91}, "Europe/Amsterdam", "[]"},
	} {
		p := &engage.Place{ID: "p", Name: "P", Location: c.at, TimeZone: c.zone, Geofences: []engage.Geofence{{ID: "f", Ring: engage.Inside, Shape: geo.Circle{Around: c.fence, RadiusM: 100}}}}
		if got := fmt.Sprint(places.Prepare(p)); !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func warned(r places.Row, reason string) bool {
	return slices.ContainsFunc(r.Warnings, func(w places.Warning) bool { return strings.Contains(w.Reason, reason) })
}

func TestOfAPlaceThatComesAgainTheLastCounts(t *testing.T) {
	const file = "id,fence,name,lat,lng,tags,time_zone\n" +
		"a,,First,52.1,4.1,x,\n" + // 2
		"b,,B,52.2,4.2,,\n" +
		"a,,Second,52.3,4.3,y,\n" + // 4: replaces 2
		"c,,C,91,4,,\n" + // 5: refused
		"a,,Third,91,4.3,,\n" + // 6: refused, so that 4 counts
		"c,,C,52.4,4.4,,\n" + // 7: replaces nothing
		"d,one,D,52.5,4.5,,\n" + // 8
		"d,two,D,52.5,4.5,,\n" + // 9
		"d,one,E,52.6,4.6,,\n" + // 10: the geofence of 8
		"a,,Fourth,52.7,4.7,,\n" // 11: replaces 4
	got, rows, report := taken(t, strings.NewReader(file), places.Options{RadiusM: 50})
	if report.Read != 10 || report.Refused != 2 || report.Warned != 3 || report.Created != 4 || report.Changed != 0 || report.ZonesFound != 4 {
		t.Errorf("%+v", report)
	}
	for i, want := range map[int]string{2: "row 2", 8: "row 8", 9: "row 4"} {
		if fmt.Sprint(rows[i].Warnings) != "[{id stands in "+want+" already, which this one replaces}]" {
			t.Errorf("%+v, want %s", rows[i], want)
		}
	}
	if a := got["a"]; a.Name != "Fourth" || len(a.Tags) != 0 || a.Location != (geo.Point{Lat: 52.7, Lng: 4.7}) || len(a.Geofences) != 1 {
		t.Errorf("%s", encoded(t, a))
	}
	if d := got["d"]; d.Name != "E" || len(d.Geofences) != 2 || d.Geofences[1].ID != "one" || d.Geofences[1].Shape.Center().Lat != 52.6 {
		t.Errorf("%s", encoded(t, d))
	}
}

func TestMoreRowsOfAPlaceThanCanBeHeldAreRefusedTogether(t *testing.T) {
	file := "id,lat,lng\n" + strings.Repeat("a,52.1,4.1\n", 250) + "b,52.1,4.1\na,52.1,4.1\n"
	got, rows, report := taken(t, strings.NewReader(file), places.Options{RadiusM: 50})
	if len(got) != 2 || report.Refused != 250 || report.Created != 2 || rows[0].Error == nil || rows[249].Error.Code != engage.TooLarge || len(rows[251].Warnings) != 0 {
		t.Errorf("%d places, %+v, %+v", len(got), report, rows[249])
	}
}

func FuzzReader(f *testing.F) {
	all := rich(f)
	f.Add(write(f, places.CSV, all...), true)
	f.Add(write(f, places.GeoJSON, all...), false)
	f.Add([]byte("id;lat;lng\n\"a\nb\";1,5;2\n\"\"\"\";;\n"), true)
	f.Add([]byte(`{"type":"FeatureCollection","features":[17,{"type":"Feature","id":[1],"properties":{"tags":[null],"rule":7}},[],"]"]}`), false)
	f.Fuzz(func(t *testing.T, raw []byte, csv bool) {
		o := places.Options{Workspace: "w", RadiusM: 100, Format: places.GeoJSON}
		if csv {
			o.Format = places.CSV
		}
		r, err := places.NewReader(bytes.NewReader(raw), o)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		last := 0
		for {
			it, err := r.Next()
			if err != nil {
				return
			}
			it.Complete(nil)
			for _, row := range it.Rows {
				if row.Number <= last {
					t.Fatalf("row %d after %d", row.Number, last)
				}
				last = row.Number
				if row.Err != nil && row.Err.Msg == "" {
					t.Fatalf("row %d is refused without a reason", row.Number)
				}
			}
			if it.Place == nil {
				if !slices.ContainsFunc(it.Rows, func(r places.Row) bool { return r.Err != nil }) {
					t.Fatal("neither a place nor a reason")
				}
				continue
			}
			if !engage.ValidID(it.Place.ID) {
				t.Fatalf("id %q", it.Place.ID)
			}
			if told := slices.ContainsFunc(it.Rows, func(r places.Row) bool { return warned(r, "which this one replaces") }); seen[it.Place.ID] && !told {
				t.Fatalf("place %s is replaced without a word", it.Place.ID)
			}
			if err := catalog.ValidatePlace(it.Place); err != nil {
				it.Refuse(err)
				if it.Place != nil || !slices.ContainsFunc(it.Rows, func(r places.Row) bool { return r.Err != nil }) {
					t.Fatalf("%v was not told", err)
				}
				continue
			}
			seen[it.Place.ID] = true
		}
	})
}

func TestWhatCannotBePrintedIsPutRight(t *testing.T) {
	got, rows, report := taken(t, strings.NewReader("id,name,lat,lng,tags,holidays\n"+
		"dash,West \u0096 East\t,52.37,4.89,a|b\u0007c|a| |b,2026-12-25;2026-12-25\n"+
		"plain,Plain,52.37,4.89,a|b,2026-12-25\n"), places.Options{RadiusM: 50})
	p := got["dash"]
	if p == nil || p.Name != "West East" || fmt.Sprint(p.Tags) != "[a b c b]" || len(p.Tags) != 3 || len(p.Holidays) != 1 {
		t.Fatalf("taken %+v, %+v", p, rows)
	}
	if report.Warned != 1 || !slices.ContainsFunc(rows[0].Warnings, func(w places.Warning) bool { return w.Field == "name" && strings.Contains(w.Reason, "control") }) ||
		!slices.ContainsFunc(rows[0].Warnings, func(w places.Warning) bool { return w.Field == "tags" && strings.Contains(w.Reason, "control") }) {
		t.Errorf("warned %d: %+v", report.Warned, rows[0].Warnings)
	}
	if err := p.Validate(); err != nil {
		t.Errorf("what was taken is refused: %v", err)
	}
}
