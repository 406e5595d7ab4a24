package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReplayOfATraceOverFences(t *testing.T) {
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const circle = `{"type":"Feature","id":"cafe","geometry":{"type":"Point","coordinates":[4,52]},"properties":{"radius":100}}`
	fences := file("fences.geojson", circle)
	mixed := file("mixed.geojson", `{"type":"FeatureCollection","features":[`+circle+`,{"type":"Feature","id":"x","geometry":null,"properties":{}}]}`)
	none := file("none.geojson", `{"type":"FeatureCollection","features":[{"type":"Feature","id":"x","geometry":null,"properties":{}}]}`)
	good := file("walk.csv", "ts,lat,lng,accuracy\n1780000000,52,4,8\n1780000600,52.1,4,8\n")
	bad := file("bad.csv", "ts,lat,lng,accuracy\n1780000000,52,4,8\nnoon,52,4,8\n1780000600,52.1,4,8\n")
	useless := file("useless.csv", "ts,lat,lng,accuracy\nnoon,52,4,8\n")
	word := file("walk.txt", "x")
	headless := file("headless.csv", "1,2,3\n")
	gpx := file("b.gpx", `<gpx><trk><trkseg><trkpt lat="52" lon="4"><time>2026-05-28T20:26:40Z</time></trkpt></trkseg></trk></gpx>`)
	absent := filepath.Join(folder, "absent.csv")
	const enter = `{"device":"walk","fence":"cafe","kind":"enter","at":"2026-05-28T20:26:40Z","evidence":"fix","distance_m":0,"accuracy_m":8,"margin_m":-100,"place":"cafe","visit":"cafe@2026-05-28T20:26:40Z"}` + "\n"
	for name, c := range map[string]struct {
		args []string
		in   string
		code int
		out  string // its beginning
		errs []string
	}{
		"a walk":           {args: []string{"--fences", fences, "--trace", good}, out: enter + `{"device":"walk","fence":"cafe","kind":"exit","at":"2026-05-28T20:36:40Z"`, errs: []string{"3 transitions of 1 devices at 1 fences; 0 visits go on", "2 rows, 2 fixes, 0 refused", "times are unix seconds"}},
		"standard input":   {args: []string{"--fences", fences, "--trace", "-", "--format", "csv", "--device", "walk"}, in: "ts,lat,lng,accuracy\n1780000000,52,4,8\n", out: enter, errs: []string{"1 visits go on"}},
		"fences from it":   {args: []string{"--fences", "-", "--trace", good}, in: circle, out: enter},
		"two traces":       {args: []string{"--fences", fences, "--trace", good, "--trace", gpx, "--live"}, out: enter, errs: []string{"4 transitions of 2 devices"}},
		"membership":       {args: []string{"--fences", fences, "--trace", good, "--membership"}, out: `{"kind":"fix","device":"walk","at":"2026-05-28T20:26:40Z","fence":"cafe","inside":true,"margin_m":-100}` + "\n" + enter},
		"a bad row":        {args: []string{"--fences", fences, "--trace", bad, "--device", "walk"}, out: enter, errs: []string{"refused time: 1 row\n  line 3: ts must be unix seconds"}},
		"strict, row":      {args: []string{"--fences", fences, "--trace", bad, "--device", "walk", "--strict"}, code: 1, out: enter, errs: []string{"refused, and --strict: 1 rows, 0 fences"}},
		"a bad fence":      {args: []string{"--fences", mixed, "--trace", good}, out: enter, errs: []string{"fence refused: geometry is missing: a fence must be somewhere (features[1])"}},
		"strict, fence":    {args: []string{"--fences", mixed, "--trace", good, "--strict"}, code: 1, out: enter, errs: []string{"0 rows, 1 fences"}},
		"no good row":      {args: []string{"--fences", fences, "--trace", useless}, code: 1, errs: []string{"none of the 1 rows could be taken"}},
		"no good fence":    {args: []string{"--fences", none, "--trace", good}, code: 1, errs: []string{"has no fence that can be used", "geometry is missing"}},
		"no header":        {args: []string{"--fences", fences, "--trace", headless}, code: 1, errs: []string{"headless.csv line 1 must be a header that names ts, lat and lng"}},
		"no fences":        {args: []string{"--trace", good}, code: 2, errs: []string{"--fences is missing"}},
		"no trace":         {args: []string{"--fences", fences}, code: 2, errs: []string{"--trace is missing"}},
		"no such fences":   {args: []string{"--fences", absent, "--trace", good}, code: 2, errs: []string{"--fences: open"}},
		"no such trace":    {args: []string{"--fences", fences, "--trace", absent}, code: 2, errs: []string{"--trace: open"}},
		"no format":        {args: []string{"--fences", fences, "--trace", word}, code: 2, errs: []string{"--format must say what", "walk.txt is"}},
		"bad format":       {args: []string{"--fences", fences, "--trace", good, "--format", "kml"}, code: 2, errs: []string{`--format must be gpx, csv or ndjson, is "kml"`}},
		"bad policy":       {args: []string{"--fences", fences, "--trace", good, "--mocked", "ignore"}, code: 2, errs: []string{`--mocked must be accept, flag or refuse, is "ignore"`}},
		"bad radius":       {args: []string{"--fences", fences, "--trace", good, "--silence", "1s"}, code: 1, errs: []string{"silence_s must be 60 to"}},
		"bad distance":     {args: []string{"--fences", fences, "--trace", good, "--within-m", "-1"}, code: 2, errs: []string{"--within-m must be 0 to"}},
		"bad dwell":        {args: []string{"--fences", fences, "--trace", good, "--dwell", "-1s"}, code: 2, errs: []string{"--dwell must be 0 to"}},
		"bad speed":        {args: []string{"--fences", fences, "--trace", good, "--max-speed", "NaN"}, code: 2, errs: []string{"--max-speed must be 0 to"}},
		"two inputs":       {args: []string{"--fences", "-", "--trace", "-", "--format", "csv"}, code: 2, errs: []string{"standard input can be one file only"}},
		"map around none":  {args: []string{"--fences", fences, "--trace", good, "--map", filepath.Join(folder, "x.svg"), "--map-around", "pub"}, code: 2, errs: []string{`there is no fence "pub"`}},
		"around, no map":   {args: []string{"--fences", fences, "--trace", good, "--map-around", "cafe"}, code: 2, errs: []string{"--map-around needs --map"}},
		"nowhere to write": {args: []string{"--fences", fences, "--trace", good, "--out", filepath.Join(absent, "x")}, code: 2, errs: []string{"--out: open"}},
		"an argument":      {args: []string{good}, code: 2, errs: []string{"takes no arguments"}},
		"help":             {args: []string{"--help"}, out: "Lay fences over recorded positions"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			stdin, err := os.Open(file("stdin", c.in))
			if err != nil {
				t.Fatal(err)
			}
			defer func(was *os.File) { os.Stdin = was }(os.Stdin)
			os.Stdin = stdin
			defer stdin.Close() //nolint:errcheck // it was only read
			code := run(t.Context(), append([]string{"replay"}, c.args...), os.Getenv, &out, &errs)
			if code != c.code || !strings.HasPrefix(out.String(), c.out) || c.out == "" && out.Len() > 0 {
				t.Errorf("code %d, want %d; printed\n%s\n%s", code, c.code, out.String(), errs.String())
			}
			for _, want := range c.errs {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("no %q in %q", want, errs.String())
				}
			}
		})
	}
	// To files, which only their owner may read.
	outFile, svg := filepath.Join(folder, "out.ndjson"), filepath.Join(folder, "map.svg")
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"replay", "--fences", fences, "--trace", good, "--out", outFile, "--map", svg}, os.Getenv, &out, &errs); code != 0 || out.Len() > 0 {
		t.Fatal(code, out.String(), errs.String())
	}
	for path, want := range map[string]string{outFile: enter, svg: "<svg "} {
		text, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(text), want) {
			t.Errorf("%s: %.200s, %v", path, text, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	// A run that fails leaves what was there; the recording itself may be replaced.
	const before = "what an earlier run left"
	kept := file("kept.ndjson", before)
	if code := run(t.Context(), []string{"replay", "--fences", fences, "--trace", absent, "--out", kept}, os.Getenv, &out, &errs); code != 2 {
		t.Error(code)
	}
	if text, err := os.ReadFile(kept); err != nil || string(text) != before {
		t.Errorf("it holds %q, %v", text, err)
	}
	if code := run(t.Context(), []string{"replay", "--fences", fences, "--trace", good, "--out", good}, os.Getenv, &out, &errs); code != 0 {
		t.Error(code, errs.String())
	}
	if text, err := os.ReadFile(good); err != nil || !strings.HasPrefix(string(text), enter) {
		t.Errorf("it holds %.200q, %v", text, err)
	}
	if left, err := filepath.Glob(filepath.Join(folder, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
