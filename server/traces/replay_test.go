package traces

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/places"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is after the synthetic walk.
var now = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func town(t testing.TB, o FenceOptions) *Fences {
	t.Helper()
	text, err := os.ReadFile("testdata/town.geojson")
	if err != nil {
		t.Fatal(err)
	}
	if o.Doubts == (geo.Doubts{}) {
		o.Doubts = geo.DefaultDoubts()
	}
	f, refused, warnings, err := ParseFences(text, o)
	if err != nil || len(refused) > 0 || len(warnings) > 0 {
		t.Fatal(err, refused, warnings)
	}
	return f
}

// played is a trace replayed.
func played(t testing.TB, f *Fences, format Format, text []byte, o Options) (string, *Report) {
	t.Helper()
	var out bytes.Buffer
	var report Report
	if o.Device == "" {
		o.Device = "walk"
	}
	r := NewReplay(f, o, &report, &out)
	if err := Read(bytes.NewReader(text), format, Limits{Now: now}, &report, r.Row); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String(), &report
}

func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(file(t, name)); got != want {
		t.Errorf("not as in %s:\n%s", path, got)
	}
}

// The synthetic walk goes into a café for ten minutes, has a fix of 17 km there, is
// offline for an hour, leaves, is mocked once, and drives past a kiosk.
func TestTheWalkIsToldTheSameFromEveryFormat(t *testing.T) {
	f := town(t, FenceOptions{})
	for _, format := range []Format{GPX, CSV, NDJSON} {
		got, report := played(t, f, format, file(t, "walk."+string(format)), Options{})
		golden(t, "walk.history", got)
		if report.RefusedRows() > 0 || report.Fixes != report.Rows {
			t.Errorf("%s: %+v", format, report)
		}
	}
	got, _ := played(t, f, NDJSON, file(t, "walk.ndjson"), Options{Live: true, Foreground: true})
	golden(t, "walk.live", got)
	got, _ = played(t, f, NDJSON, file(t, "walk.ndjson"), Options{Membership: true})
	golden(t, "walk.membership", got)
}

func TestRowsInAnyOrderAndTwiceAreTheSameHistory(t *testing.T) {
	f := town(t, FenceOptions{})
	rows := bytes.SplitAfter(bytes.TrimSpace(file(t, "walk.ndjson")), []byte("\n"))
	rows[len(rows)-1] = append(rows[len(rows)-1], '\n')
	twice := append(append([][]byte{}, rows...), rows...)
	r := rand.New(rand.NewPCG(4, 4))
	for range 5 {
		r.Shuffle(len(twice), func(i, j int) { twice[i], twice[j] = twice[j], twice[i] })
		got, report := played(t, f, NDJSON, bytes.Join(twice, nil), Options{Membership: true})
		if want := string(file(t, "walk.membership")); got != want {
			t.Fatal("shuffled and doubled, it is told otherwise")
		}
		if report.Duplicates != len(rows) {
			t.Fatalf("%d duplicates, want %d", report.Duplicates, len(rows))
		}
	}
}

// What goes to files in between is the same, and the files are gone.
func TestWhatIsTooMuchForTheMemoryIsTheSame(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	f := town(t, FenceOptions{})
	var out bytes.Buffer
	var report Report
	r := NewReplay(f, Options{Membership: true, Device: "walk"}, &report, &out)
	r.rows.most, r.lines.most = 10, 7
	if err := Read(bytes.NewReader(file(t, "walk.csv")), CSV, Limits{}, &report, r.Row); err != nil {
		t.Fatal(err)
	}
	if len(r.rows.pieces) < 10 {
		t.Fatalf("only %d pieces", len(r.rows.pieces))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if out.String() != string(file(t, "walk.membership")) {
		t.Error("with files in between, it is told otherwise")
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The membership of a fix is geometry alone, and complete.
func TestMembershipIsBareGeometry(t *testing.T) {
	f := town(t, FenceOptions{})
	got, _ := played(t, f, CSV, file(t, "walk.csv"), Options{Membership: true, WithinM: 300})
	said := map[string]fixLine{}
	for line := range strings.Lines(got) {
		var l fixLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Kind == "fix" {
			said[l.At.String()+l.Fence] = l
		}
	}
	var report Report
	n := 0
	err := Read(bytes.NewReader(file(t, "walk.csv")), CSV, Limits{}, &report, func(row *Row) error {
		for _, fence := range f.Index().All() {
			margin := fence.Shape.MarginM(row.Pos)
			l, there := said[row.At.String()+fence.ID]
			if there != (margin <= 300) {
				t.Errorf("%v at %s, margin %v: said %v", row.At, fence.ID, margin, there)
			}
			if !there {
				continue
			}
			n++
			if l.Inside != (margin <= 0) || l.MarginM != metres(margin) {
				t.Errorf("%v at %s, margin %v: %+v", row.At, fence.ID, margin, l)
			}
		}
		return nil
	})
	if err != nil || n != len(said) || n < 100 {
		t.Error(err, n, len(said))
	}
}

func TestLiveTellsInTheOrderOfTheRows(t *testing.T) {
	f := town(t, FenceOptions{})
	rows := `{"ts":1780000000,"lat":52,"lon":4.36,"acc":5,"device":"a"}
{"ts":1780000000,"lat":52,"lon":4.36,"acc":5,"device":"b"}
{"ts":1780000600,"lat":52.1,"lon":4.36,"acc":5,"device":"b"}
{"ts":1779990000,"lat":52,"lon":4.36,"acc":5,"device":"b"}
{"ts":1780000010,"lat":52.1,"lon":4.36,"acc":5,"device":"a","mocked":true}
{"ts":1770000010,"lat":52.1,"lon":4.36,"acc":5,"device":"a"}
{"ts":1780000011,"lat":52.1,"lon":4.36,"acc":5,"device":"a","mocked":true}
{"ts":1780000012,"source":"os_region","fence":"cafe","inside":false,"device":"a"}
{"ts":1780000012,"source":"os_region","fence":"pub","inside":false,"device":"a"}
{"ts":1780000013,"source":"beacon","fence":"kiosk","inside":true,"device":"a"}
`
	got, report := played(t, f, NDJSON, []byte(rows), Options{Live: true})
	var short []string
	for line := range strings.Lines(got) {
		var l Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		short = append(short, l.Device+" "+string(l.Kind)+" "+l.Fence+" "+string(l.Evidence))
	}
	want := []string{
		"a near cafe~near fix", "a enter 7 fix", "a enter cafe fix",
		"b near cafe~near fix", "b enter 7 fix", "b enter cafe fix",
		"b exit 7 fix", "b visit 7 fix", "b exit cafe fix", "b exit cafe~near fix", "b visit cafe~near fix",
		"a exit 7 fix", "a visit 7 fix", "a exit cafe fix", "a exit cafe~near fix", "a visit cafe~near fix", "a enter kiosk beacon",
	}
	if strings.Join(short, "\n") != strings.Join(want, "\n") {
		t.Errorf("told:\n%s", strings.Join(short, "\n"))
	}
	for code, n := range map[string]int{CodeLate: 1, CodeAncient: 1, CodeFence: 1} {
		if report.Refused[code] != n {
			t.Errorf("%s: %d, want %d", code, report.Refused[code], n)
		}
	}
	if report.BadRows() != 2 {
		t.Errorf("%d bad rows", report.BadRows())
	}
}

// In silence a server's timers go on; what they may tell depends on the session.
func TestSilenceTellsWhatTheSessionLets(t *testing.T) {
	silence := time.Hour
	f := town(t, FenceOptions{Silence: &silence})
	rows := `{"ts":1780000000,"lat":52,"lon":4.36,"acc":5}
{"ts":1780000060,"lat":52,"lon":4.36,"acc":5}
{"ts":1780014400,"lat":52.1,"lon":4.36,"acc":5}
`
	for _, c := range []struct {
		foreground bool
		want       string
	}{
		{false, "enter fix 0, exit silence 60, visit silence 60, "},
		{true, "enter fix 0, dwell silence 300, exit fix 14400, visit fix 14400, "},
	} {
		for _, live := range []bool{false, true} {
			text, _ := played(t, f, NDJSON, []byte(rows), Options{Foreground: c.foreground, Live: live})
			got := ""
			for line := range strings.Lines(text) {
				var l Line
				if err := json.Unmarshal([]byte(line), &l); err != nil {
					t.Fatal(err)
				}
				if l.Place == "cafe" && (l.Fence == "cafe" && l.Kind != geo.Near || l.Kind == geo.Stay) {
					got += fmt.Sprintf("%s %s %d, ", l.Kind, l.Evidence, l.At.Unix()-1780000000)
				}
			}
			if got != c.want {
				t.Errorf("foreground %v, live %v: %s", c.foreground, live, got)
			}
		}
	}
}

func TestPoliciesAboutDoubtfulFixes(t *testing.T) {
	d := geo.DefaultDoubts()
	d.Mocked = geo.RefuseDoubtful
	_, report := played(t, town(t, FenceOptions{Doubts: d}), CSV, file(t, "walk.csv"), Options{})
	if report.Refused[CodeDoubtful] != 1 || report.BadRows() != 0 {
		t.Errorf("%+v", report)
	}
}

func TestOptionsCountForAllFences(t *testing.T) {
	dwell, silence, accuracy := 2*time.Minute, time.Hour, 20.0
	f := town(t, FenceOptions{Dwell: &dwell, Silence: &silence, AccuracyM: &accuracy})
	for _, id := range []string{"cafe", "7", "kiosk"} {
		terms, there := f.Terms(id)
		if !there || terms.Dwell != dwell || terms.Rule.Silence != silence || terms.Rule.WatchedSilence != silence || terms.Rule.AssumedAccuracyM != accuracy {
			t.Errorf("%s: %+v %+v", id, terms, terms.Rule)
		}
	}
}

func TestFencesThatCannotBe(t *testing.T) {
	point := func(properties string) string {
		return `{"type":"Feature","id":"x","geometry":{"type":"Point","coordinates":[4,52]},"properties":` + properties + `}`
	}
	for name, c := range map[string]struct{ text, want string }{
		"no JSON":      {`{`, "JSON"},
		"empty":        {`{"type":"FeatureCollection","features":[]}`, "has no fences"},
		"no radius":    {point(`{}`), `radius is missing: a Point needs one`},
		"zero radius":  {point(`{"radius":0}`), `radius must be 10 to 100000 m, is 0`},
		"word radius":  {point(`{"radius":"wide"}`), `properties.radius must be a number, is string`},
		"bad dwell":    {point(`{"radius":50,"dwell_s":-1}`), `properties.dwell_s must be 0 to`},
		"bad rule":     {point(`{"radius":50,"clear_factor":-1}`), `clear_factor must be`},
		"rule's type":  {point(`{"radius":50,"exit_confirm_s":"soon"}`), `properties.exit_confirm_s must be a number`},
		"bad ring":     {point(`{"radius":50,"ring":"far"}`), `properties.ring must be "near" or "inside", is "far"`},
		"ring of ring": {point(`{"radius":50,"ring":"near","near_m":20}`), `properties.near_m must not`},
		"bad near_m":   {point(`{"radius":50,"near_m":-5}`), `properties.near_m must be`},
		"a line":       {`{"type":"Feature","id":"x","geometry":{"type":"LineString","coordinates":[[4,52],[5,52]]},"properties":{}}`, `type must be Point, Polygon or MultiPolygon`},
	} {
		f, refused, _, err := ParseFences([]byte(c.text), FenceOptions{})
		said := ""
		for i := range refused {
			said += refused[i].Error() + "\n"
		}
		if err == nil || f != nil || !strings.Contains(said+err.Error(), c.want) {
			t.Errorf("%s: %v, %s", name, err, said)
		}
	}
	// One that cannot be costs no other; a second of a name is refused.
	text := `{"type":"FeatureCollection","features":[` + point(`{"radius":50}`) + `,` + point(`{"radius":60}`) + `,` + point(`{"radius":1}`) + `,
		{"type":"Feature","geometry":{"type":"Point","coordinates":[4,52]},"properties":{"name":"café","radius_m":70}},
		{"type":"Feature","geometry":{"type":"Point","coordinates":[4,52]},"properties":{"radius":70}}]}`
	f, refused, _, err := ParseFences([]byte(text), FenceOptions{})
	if err != nil || f.Len() != 3 || len(refused) != 2 || !strings.Contains(refused[0].Error(), `id stands twice: "x" (features[1], "x")`) {
		t.Fatal(err, refused)
	}
	for _, id := range []string{"x", "café", "feature-5"} {
		if _, there := f.Terms(id); !there {
			t.Errorf("no %q", id)
		}
	}
	radius := 30.0
	if f, _, _, err := ParseFences([]byte(point(`{}`)), FenceOptions{RadiusM: &radius}); err != nil || f.Len() != 1 {
		t.Error(err)
	}
}

func TestExportedPlacesAreFences(t *testing.T) {
	factor, silence, accuracy := 3.0, 7200.0, 200.0
	place := engage.Place{ID: "mall", Rule: &engage.FenceRule{ClearFactor: &factor, SilenceS: &silence}, Geofences: []engage.Geofence{
		{ID: "door", Shape: geo.Circle{Around: geo.Point{Lat: 52, Lng: 4}, RadiusM: 40}, Ring: engage.Inside, DwellS: 90, Rule: &engage.FenceRule{EnterAccuracyM: &accuracy, ClearFactor: new(2.0)}},
		{ID: "approach", Shape: geo.Circle{Around: geo.Point{Lat: 52, Lng: 4}, RadiusM: 400}, Ring: engage.Near},
	}}
	var b bytes.Buffer
	w := places.NewWriter(&b, places.GeoJSON)
	if err := errors.Join(w.Write(&place), w.Close()); err != nil {
		t.Fatal(err)
	}
	f, refused, _, err := ParseFences(b.Bytes(), FenceOptions{})
	if err != nil || len(refused) > 0 {
		t.Fatal(err, refused)
	}
	for i, g := range place.Geofences {
		terms, there := f.Terms(g.ID)
		if !there || terms.Place != "mall" || terms.Near != (i == 1) || terms.Dwell != time.Duration(g.DwellS)*time.Second || *terms.Rule != place.RuleOf(&g) {
			t.Errorf("%s: %+v, %+v", g.ID, terms, terms.Rule)
		}
	}
	// What stands among the properties themselves comes first.
	f, _, _, err = ParseFences([]byte(`{"type":"Feature","id":"x","geometry":{"type":"Point","coordinates":[4,52]},"properties":{"radius":50,
		"clear_factor":4,"rule":{"clear_factor":3,"sure_factor":2},"place_rule":{"clear_factor":2,"sure_factor":0,"max_gap_s":60}}}`), FenceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if terms, _ := f.Terms("x"); terms.Rule.ClearFactor != 4 || terms.Rule.SureFactor != 2 || terms.Rule.MaxGap != time.Minute {
		t.Errorf("%+v", terms.Rule)
	}
}

func TestTheMapIsXMLWithEverythingOnIt(t *testing.T) {
	f := town(t, FenceOptions{})
	m := &Map{}
	played(t, f, CSV, file(t, "walk.csv"), Options{Map: m, Device: `<&"`})
	for _, around := range []string{"", "cafe", "7"} {
		var b bytes.Buffer
		if err := m.WriteSVG(&b, f, around); err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(&b)
		circles := 0
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
				circles++
			}
		}
		if circles < 2*153 {
			t.Errorf("around %q: %d circles", around, circles)
		}
	}
	if err := m.WriteSVG(io.Discard, f, "nowhere"); err == nil {
		t.Error("a map around nothing")
	}
	if err := (&Map{}).WriteSVG(io.Discard, f, ""); err != nil {
		t.Error(err)
	}
	// It stays bounded.
	row := Row{Evidence: geo.Evidence{Pos: geo.Point{Lat: 52, Lng: 4}}}
	for range 3 * mapFixes {
		m.fix(&row)
	}
	if n := len(m.fixes); n > mapFixes || n < mapFixes/2 {
		t.Errorf("%d fixes", n)
	}
}
