package traces

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// readAll gives the rows as text, then the refusals.
func readAll(t testing.TB, f Format, text string) (rows, refused []string, report Report, err error) {
	t.Helper()
	err = Read(strings.NewReader(text), f, Limits{Now: now}, &report, func(r *Row) error {
		rows = append(rows, fmt.Sprintf("%d %s%s %v,%v %v %v", r.Line, r.Device, r.At.Format(time.RFC3339Nano), r.Pos.Lat, r.Pos.Lng, r.AccuracyM, r.Mocked))
		return nil
	})
	for _, of := range report.First {
		for i := range of {
			refused = append(refused, of[i].Code+" "+of[i].Error())
		}
	}
	return rows, refused, report, err
}

func TestRowsThatCanBeRead(t *testing.T) {
	const at = "2026-05-28T20:26:40"
	for name, c := range map[string]struct {
		format Format
		text   string
		want   string
	}{
		"seconds":        {CSV, "ts,lat,lng,accuracy\n1780000000,52,4,8\n", "2 " + at + "Z 52,4 8 false"},
		"fractions":      {CSV, "ts,lat,lng,accuracy\n1780000000.123457,52,4,8\n", "2 " + at + ".123457Z 52,4 8 false"},
		"milliseconds":   {CSV, "ts,lat,lng,accuracy\n1780000000123,52,4,8\n", "2 " + at + ".123Z 52,4 8 false"},
		"microseconds":   {CSV, "ts,lat,lng,accuracy\n1780000000123456,52,4,8\n", "2 " + at + ".123456Z 52,4 8 false"},
		"RFC 3339":       {CSV, "ts,lat,lng,accuracy\n2026-05-28T22:26:40+02:00,52,4,8\n", "2 " + at + "Z 52,4 8 false"},
		"no zone":        {CSV, "ts,lat,lng,accuracy\n2026-05-28 20:26:40,52,4,8\n", "2 " + at + "Z 52,4 8 false"},
		"other names":    {CSV, "Device_ID, Longitude, Latitude, Time, Mocked\na,4,52,1780000000,TRUE\n", "2 a" + at + "Z 52,4 0 true"},
		"semicolons":     {CSV, "ts;lat;lng;accuracy\n1780000000,5;52,5;4,25;8,5\n", "2 " + at + ".5Z 52.5,4.25 8.5 false"},
		"tabs and CRLF":  {CSV, "\xef\xbb\xbfts\tlat\tlng\r\n\r\n1780000000\t52\t4\r\n", "3 " + at + "Z 52,4 0 false"},
		"quotes":         {CSV, "\"ts\",\"lat\",\"lng\",\"device\"\n\"1780000000\",\"52\",\"4\",\"a \"\"b\"\"\"\n", "2 a \"b\"" + at + "Z 52,4 0 false"},
		"short row":      {CSV, "ts,lat,lng,accuracy,mocked\n1780000000,52,4,8\n", "2 " + at + "Z 52,4 8 false"},
		"iOS":            {CSV, "ts,lat,lng,accuracy\n1780000000,52,4,-1\n", "2 " + at + "Z 52,4 0 false"},
		"ndjson":         {NDJSON, `{"ts":1780000000,"lat":52,"lon":4,"acc":8,"speed":-1,"x":{}}`, "1 " + at + "Z 52,4 8 false"},
		"ndjson, string": {NDJSON, "\n" + `{"at":"` + at + `Z","latitude":52,"longitude":4,"accuracy_m":8,"install":"i","mocked":true}`, "2 i" + at + "Z 52,4 8 true"},
		"gpx":            {GPX, `<gpx><trk><trkseg><trkpt lat="52" lon=" 4"><time> ` + at + `Z </time></trkpt></trkseg></trk></gpx>`, "1 " + at + "Z 52,4 0 false"},
		"gpx, Latin-1":   {GPX, `<?xml version="1.0" encoding="ISO-8859-1"?><gpx><name>caf` + "\xe9" + `</name><trk><trkseg><trkpt lat="52" lon="4"><extensions><time>1999-01-01T00:00:00Z</time></extensions><time>x</time></trkpt><trkpt lat="52" lon="4"><time>` + at + `Z</time></trkpt></trkseg></trk></gpx>`, "1 " + at + "Z 52,4 0 false"},
	} {
		rows, refused, _, err := readAll(t, c.format, c.text)
		if err != nil || strings.Join(rows, "|") != c.want || len(refused) > 0 && name != "gpx, Latin-1" {
			t.Errorf("%s: %q, %q, %v", name, rows, refused, err)
		}
	}
}

func TestRowsThatCannotBeRead(t *testing.T) {
	const head = "ts,lat,lng,accuracy,mocked\n"
	long := strings.Repeat("9", MaxLine+1)
	for name, c := range map[string]struct {
		format Format
		bad    string
		want   string
	}{
		"no time":          {CSV, ",52,4,8", "time line 2: ts is missing"},
		"time of a word":   {CSV, "noon,52,4,8", `time line 2: ts must be unix seconds, milliseconds or RFC 3339, is "noon"`},
		"NaN time":         {CSV, "NaN,52,4,8", "time line 2: ts must be unix seconds"},
		"infinite time":    {CSV, "1e300,52,4,8", "time line 2: ts must be unix seconds"},
		"1970":             {CSV, "12,52,4,8", "clock line 2: ts must be 2000 or later, is 1970-01-01T00:00:12Z"},
		"2035":             {CSV, "2060000000,52,4,8", "clock line 2: ts must not be in the future, is 2035"},
		"no latitude":      {CSV, "1780000000,,4,8", "position line 2: lat is missing"},
		"lat 91":           {CSV, "1780000000,91,4,8", "position line 2: lat must be"},
		"lng of NaN":       {CSV, "1780000000,52,NaN,8", "position line 2: lng must be"},
		"accuracy":         {CSV, "1780000000,52,4,good", `accuracy line 2: accuracy must be a number, is "good"`},
		"no end":           {CSV, "1780000000,52,4,Inf", "accuracy line 2: accuracy must be metres, is +Inf"},
		"mocked":           {CSV, "1780000000,52,4,8,perhaps", `value line 2: mocked must be true or false, is "perhaps"`},
		"too many":         {CSV, "1780000000,52,4,8,0,7", "syntax line 2: has 6 fields, the header has 5"},
		"a lost quote":     {CSV, `1780000000,52,4,"8`, "syntax line 2"},
		"too long":         {CSV, "1780000000,52,4,8," + long, "too_long line 2: must be at most"},
		"no JSON":          {NDJSON, `{"ts":1780000000`, "syntax line 2: must be a JSON object"},
		"a list":           {NDJSON, `[1]`, "syntax line 2: must be a JSON object"},
		"a word":           {NDJSON, `{"ts":1780000000,"lat":"52","lon":4}`, "position line 2: lat must be a number, is string"},
		"huge":             {NDJSON, `{"ts":1780000000,"lat":52,"lon":4,"acc":1e999}`, "accuracy line 2: acc must be a number"},
		"null":             {NDJSON, `{"ts":null,"lat":52,"lon":4}`, "time line 2: ts is missing"},
		"time list":        {NDJSON, `{"ts":[1],"lat":52,"lon":4}`, "time line 2: ts must be"},
		"no lon":           {NDJSON, `{"ts":1780000000,"lat":52}`, "position line 2: lng is missing"},
		"states of an app": {NDJSON, `{"ts":1780000000,"transition":"EXITED_GEOFENCE"}`, "position line 2: lat is missing"},
		"source":           {NDJSON, `{"ts":1780000000,"source":"rumour","fence":"x"}`, "value line 2: source must be fix, os_region or beacon"},
		"no fence":         {NDJSON, `{"ts":1780000000,"source":"os_region","inside":true}`, "value line 2: fence is missing"},
		"no inside":        {NDJSON, `{"ts":1780000000,"source":"beacon","fence":"x"}`, "value line 2: inside is missing"},
		"a long line":      {NDJSON, `{"x":"` + long + `"}`, "too_long line 2"},
		"gpx without time": {GPX, `<trkpt lat="1" lon="2"><ele>3</ele></trkpt>`, "time line 2: time is missing"},
		"gpx, no lat":      {GPX, `<trkpt lon="2"><time>2026-05-28T20:26:40Z</time></trkpt>`, "position line 2: lat is missing"},
		"gpx, lat 100":     {GPX, `<trkpt lat="100" lon="2"><time>2026-05-28T20:26:40Z</time></trkpt>`, "position line 2: lat must be"},
		"gpx, a word":      {GPX, `<trkpt lat="1" lon="two"/>`, `position line 2: lon must be a number, is "two"`},
		"gpx, 1901":        {GPX, `<trkpt lat="1" lon="2"><time>1901-12-13T20:45:52Z</time></trkpt>`, "clock line 2"},
		"gpx, accuracy":    {GPX, `<trkpt lat="1" lon="2"><time>2026-05-28T20:26:40Z</time><extensions><accuracy>x</accuracy></extensions></trkpt>`, "accuracy line 2"},
	} {
		first, second, end := head+"", "1780000000,52,4,8\n", ""
		switch c.format {
		case NDJSON:
			first, second = `{"ts":1780000000,"lat":52,"lon":4}`+"\n", `{"ts":1780000001,"lat":52,"lon":4}`+"\n"
		case GPX:
			first, second, end = "<gpx><trk><trkseg>\n", `<trkpt lat="1" lon="2"><time>2026-05-28T20:26:40Z</time></trkpt>`+"\n", "</trkseg></trk></gpx>"
		}
		rows, refused, report, err := readAll(t, c.format, first+c.bad+"\n"+second+end)
		if err != nil || len(rows) == 0 || len(refused) != 1 || !strings.HasPrefix(refused[0], c.want) {
			t.Errorf("%s: %d rows, %.200q, %v", name, len(rows), refused, err)
		}
		if report.RefusedRows() != 1 || report.Rows != len(rows)+1 {
			t.Errorf("%s: %+v", name, report)
		}
	}
}

func TestTracesOfNoUse(t *testing.T) {
	for name, c := range map[string]struct {
		format Format
		text   string
		want   string
	}{
		"empty":           {CSV, "", "is empty"},
		"blank":           {CSV, "\n \n", "is empty"},
		"blank ndjson":    {NDJSON, "\n\n", "is empty"},
		"UTF-16":          {CSV, "\xff\xfet\x00s\x00", "is UTF-16"},
		"gzip":            {GPX, "\x1f\x8b\x08", "is compressed"},
		"no header":       {CSV, "1780000000,52,4,8\n", "line 1 must be a header that names ts, lat and lng"},
		"no lng":          {CSV, "ts,lat\n1,2\n", `it has no lng: "ts,lat"`},
		"two of one":      {CSV, "ts,lat,lng,lon\n", "two columns of one meaning"},
		"endless header":  {CSV, strings.Repeat("x", MaxLine+1), "the header must be at most"},
		"no such format":  {"kml", "x", "format must be gpx, csv or ndjson"},
		"HTML":            {GPX, "<html><body/></html>", `is no GPX: its element is "html"`},
		"no XML":          {GPX, "ts,lat,lng", "is no GPX"},
		"too deep":        {GPX, "<gpx>" + strings.Repeat("<a>", 100), "more than 64 deep"},
		"unknown charset": {GPX, `<?xml version="1.0" encoding="klingon"?><gpx/>`, "klingon"},
	} {
		rows, _, _, err := readAll(t, c.format, c.text)
		if err == nil || len(rows) > 0 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %d rows", name, err, len(rows))
		}
	}
}

// What was read before the end is kept.
func TestXMLThatBreaksOffCostsWhatFollows(t *testing.T) {
	const point = `<trkpt lat="1" lon="2"><time>2026-05-28T20:26:40Z</time></trkpt>`
	for name, end := range map[string]string{
		"cut":     `<trkpt lat="1`,
		"crossed": `</gpx></trkpt>`,
		"endless": `<!--` + strings.Repeat("x", 2*MaxLine),
	} {
		rows, refused, _, err := readAll(t, GPX, "<gpx><trk><trkseg>"+point+point+end)
		if err != nil || len(rows) != 2 || len(refused) != 1 || !strings.Contains(refused[0], "the XML breaks off here") {
			t.Errorf("%s: %d rows, %.200q, %v", name, len(rows), refused, err)
		}
	}
}

func TestAnErrorOfTheTakerEndsTheReading(t *testing.T) {
	stop := errors.New("stop")
	for _, f := range []Format{GPX, CSV, NDJSON} {
		var report Report
		err := Read(bytes.NewReader(file(t, "walk."+string(f))), f, Limits{}, &report, func(*Row) error { return stop })
		if !errors.Is(err, stop) || report.Rows != 1 {
			t.Errorf("%s: %v, %d rows", f, err, report.Rows)
		}
	}
}

func TestTheReportSaysWhatCameFirst(t *testing.T) {
	text := "ts,lat,lng\n" + strings.Repeat("1780000000,91,4\n", 5) + "x,1,2\n1780000000,1,2\n"
	_, _, report, err := readAll(t, CSV, text)
	if err != nil {
		t.Fatal(err)
	}
	report.Fixes = 1
	report.flag([]string{"mocked"})
	var b bytes.Buffer
	if _, err := report.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"7 rows, 1 fixes, 1 flagged mocked, 6 refused\n", "refused position: 5 rows\n  line 2: lat must be", "  and 2 more\n",
		"refused time: 1 row\n  line 7: ts must be", "note: times are unix seconds\n", "note: there is no column accuracy",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}

// Whatever bytes there are, what is read is a row that a Tracker takes.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"walk.gpx", "walk.csv", "walk.ndjson"} {
		f.Add(string(FormatOf(name)), file(f, name)[:600])
	}
	f.Add("csv", []byte("ts,lat,lng,accuracy\n\"1,2\n1e99,2,3,4\n"))
	f.Add("gpx", []byte(`<gpx><trkpt lat="1" lon="2"><trkpt/><time>2026-05-28T20:26:40Z`))
	fences := town(f, FenceOptions{})
	f.Fuzz(func(t *testing.T, format string, text []byte) {
		var report Report
		taken := 0
		var out bytes.Buffer
		var played Report
		r := NewReplay(fences, Options{Membership: true}, &played, &out)
		err := Read(bytes.NewReader(text), Format(format), Limits{Now: now}, &report, func(row *Row) error {
			taken++
			if row.At.Before(first) || row.At.After(now.Add(geo.MaxAheadOf)) || row.Located && row.Pos.Validate() != nil ||
				math.IsNaN(row.AccuracyM) || row.AccuracyM < 0 || row.Line < 1 {
				t.Errorf("%+v", row)
			}
			return r.Row(row)
		})
		if err == nil && taken+report.RefusedRows() != report.Rows {
			t.Errorf("%d taken, %d refused of %d", taken, report.RefusedRows(), report.Rows)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// traces of ../shared/data, which is not part of the project.
func shared(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "data", "traces", pattern))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("../shared/data/traces is not there")
	}
	return files
}

func TestRecordedTracesAreRead(t *testing.T) {
	read := func(path string) *Report {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, report := played(t, town(t, FenceOptions{}), FormatOf(path), text, Options{})
		return report
	}
	days := 0
	for _, path := range shared(t, "emission/*.locations.ndjson") {
		if r := read(path); r.RefusedRows() > 0 || r.Fixes+r.Duplicates != r.Rows || r.Rows < 100 {
			t.Errorf("%s: %+v", path, r)
		}
		days++
	}
	if days != 10 {
		t.Errorf("%d phone-days", days)
	}
	for _, path := range shared(t, "gpx/*.gpx") {
		r := read(path)
		for code := range r.Refused {
			if code != CodeTime && code != CodeClock && code != CodePosition {
				t.Errorf("%s: %+v", path, r.First)
			}
		}
	}
}
