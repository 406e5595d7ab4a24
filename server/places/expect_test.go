package places_test

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/places"
)

var update = flag.Bool("update", false, "write what was found into testdata")

// shops is real data that stands beside the project and is no part of it.
const shops = "../../../shared/data/stores"

// expected of a file of shops.
type expected struct {
	Map        []string `json:"map,omitempty"`
	HoursLines bool     `json:"hours_lines,omitempty"` // each line is the hours of a place
	Read       int      `json:"read"`
	Accepted   int      `json:"accepted"` // rows, with or without a warning
	Warned     int      `json:"warned"`
	Refused    int      `json:"refused"`
	Places     int      `json:"places"`
	ZonesFound int      `json:"zones_found"`
}

// taken is what an import of a file into nothing would make of it: the places by id,
// and what is said of its rows.
func taken(t *testing.T, file io.Reader, o places.Options) (map[string]*engage.Place, []places.RowReport, places.Report) {
	t.Helper()
	o.Workspace = "acme"
	r, err := places.NewReader(file, o)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]*engage.Place{}
	var rows []places.RowReport
	var report places.Report
	for {
		it, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got, rows, report
		}
		if err != nil {
			var e *engage.Error
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			report.Error = places.RowErrorOf(e)
			return got, rows, report
		}
		old := got[it.ID()]
		it.Complete(old)
		if it.Place != nil {
			if err := catalog.ValidatePlace(it.Place); err != nil {
				it.Refuse(err)
			}
		}
		became := places.Refused
		if it.Place != nil {
			if became = places.Created; old != nil {
				became = places.Changed
			}
			got[it.Place.ID] = it.Place
		}
		of := it.Reports(became)
		report.Count(it, became, of)
		rows = append(rows, of...)
	}
}

func TestTheShopsOfTheRealFilesAreTaken(t *testing.T) {
	files, err := os.ReadDir(shops)
	if err != nil {
		t.Skipf("the real files are not here: %v", err)
	}
	const path = "testdata/expected.json"
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]expected{}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	got := map[string]expected{}
	for _, f := range files {
		w, there := want[f.Name()]
		if !there {
			t.Errorf("%s: nothing is expected of it", f.Name())
			continue
		}
		got[f.Name()] = readShops(t, f.Name(), w)
	}
	for name := range want {
		if _, there := got[name]; !there {
			t.Errorf("%s is not there", name)
		}
	}
	if *update {
		b, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil { //nolint:gosec // it is no secret
			t.Fatal(err)
		}
		return
	}
	for name, g := range got {
		if w := want[name]; !slices.Equal(g.Map, w.Map) || g.counts() != w.counts() {
			t.Errorf("%s:\n%+v, want\n%+v", name, g, w)
		}
	}
}

func (e expected) counts() [6]int {
	return [6]int{e.Read, e.Accepted, e.Warned, e.Refused, e.Places, e.ZonesFound}
}

func readShops(t *testing.T, name string, w expected) expected {
	t.Helper()
	file, err := os.Open(filepath.Join(shops, name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	m, err := places.ParseMapping(w.Map...)
	if err != nil {
		t.Fatal(err)
	}
	o := places.Options{Map: m, RadiusM: 100}
	var in io.Reader = file
	if w.HoursLines {
		in, o.BadHours = tableOfHours(t, file), places.RefuseHours
	}
	all, _, r := taken(t, in, o)
	if r.Error != nil {
		t.Errorf("%s: it ended with %+v", name, r.Error)
	}
	return expected{
		Map: w.Map, HoursLines: w.HoursLines, Read: r.Read, Accepted: r.Read - r.Refused, Warned: r.Warned, Refused: r.Refused,
		Places: len(all), ZonesFound: r.ZonesFound,
	}
}

// tableOfHours makes a table of a file that has nothing but hours.
func tableOfHours(t *testing.T, file io.Reader) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	rows := [][]string{{"id", "lat", "lng", "time_zone", "hours"}}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		rows = append(rows, []string{strconv.Itoa(len(rows)), "46.05", "14.5", "Europe/Ljubljana", lines.Text()})
	}
	if err := errors.Join(lines.Err(), w.WriteAll(rows)); err != nil {
		t.Fatal(err)
	}
	return &b
}

func TestWhatIsSaidOfOddRows(t *testing.T) {
	for _, name := range []string{"odd.csv", "odd.geojson"} {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		_, rows, report := taken(t, bytes.NewReader(raw), places.Options{RadiusM: 100})
		var b bytes.Buffer
		for _, row := range rows {
			line, err := json.Marshal(row)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
		line, err := json.Marshal(report)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
		golden := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil { //nolint:gosec // it is no secret
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s is\n%s\nwas\n%s", name, b.Bytes(), want)
		}
	}
}
