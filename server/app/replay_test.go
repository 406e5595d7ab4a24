package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// dump is the content of the collections of a store, in order.
func dump(t *testing.T, s store.Store, collections ...string) string {
	t.Helper()
	var b strings.Builder
	for _, c := range collections {
		err := s.Iterate(t.Context(), c, store.Query{}, func(d store.Doc) error {
			fmt.Fprintf(&b, "%s %s/%s %s\n", c, d.Workspace, d.ID, d.Body)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// decided are the collections of what follows from the streams alone, in order.
var decided = []string{"decisions", "quarantine", "state_act", "state_in", "timeline", "timers"}

// tapeOfAStory is the tape of a day on which a place moves and a campaign is paused.
func tapeOfAStory(t *testing.T) *app.Tape {
	t.Helper()
	var file bytes.Buffer
	s := newStory(t, func(o *app.Options) { o.Tape = &file })
	s.place("cafe", cafe)
	s.place("shop", far)
	s.campaign("rainy-day", nil)
	s.campaign("hello", func(c map[string]any) {
		c["context"], c["limits"], c["priority"] = nil, map[string]any{"cap": 2, "cap_window_s": 3600}, 1
		c["holdout_percent"] = 30
		c["arms"] = []any{
			map[string]any{"id": "a", "message": map[string]any{"title": "Hello {{ profile.attributes.name | default: 'you' }}"}},
			map[string]any{"id": "b", "message": map[string]any{"title": "Hi", "channels": []string{"push", "inbox"}}},
		}
	})
	var people []*phone
	for i := range 12 {
		platform := []string{"android", "ios"}[i%2]
		p := s.phone(fmt.Sprintf("p%d", i), platform, nil)
		if i%5 != 4 {
			p.agree()
		}
		people = append(people, p.likes([]string{"fashion", "books"}[i%3/2]).background())
	}
	walk := func() {
		for i, p := range people {
			p.at([]geo.Point{cafe, far, {Lat: cafe.Lat + 0.001, Lng: cafe.Lng}}[i%3], 12).post()
			s.clock.Advance(7 * time.Second)
		}
		for _, p := range people {
			p.at(geo.Point{Lat: 52.5, Lng: 5.1}, 12).post()
			s.clock.Advance(11 * time.Second)
		}
		s.settle()
	}
	walk()
	s.place2("cafe", geo.Point{Lat: cafe.Lat + 0.01, Lng: cafe.Lng}) // the place moves
	walk()
	s.must("POST", "/api/v1/campaigns/rainy-day/status", map[string]any{"status": "paused"}, nil)
	walk()
	s.eventually("everything is decided", func() bool { s.settle(); return true })
	s.stop()

	tape, err := app.ReadTape(&file)
	if err != nil {
		t.Fatal(err)
	}
	if n := tape.Live.Digests()["decisions"].Documents; n < 30 || len(tape.Streams) != 4 {
		t.Fatalf("the story is too thin: %d decisions, %d streams", n, len(tape.Streams))
	}
	st, err := sqlite.Open(t.Context(), sqlite.Options{
		Path: filepath.Join(s.opts.Config.DataDir, "states.db"), Collections: app.StateCollections(), Now: s.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, st)
	kept, err := app.ReadResults(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	if d := tape.Live.Difference(kept); d != "" {
		t.Fatalf("the tape does not hold what the server left in its store: %s", d)
	}
	return tape
}

// replayed plays the tape on a log and a store that are empty.
func replayed(t *testing.T, tape *app.Tape, o app.ReplayOptions) app.Results {
	t.Helper()
	got, err := app.Replay(t.Context(), tape, o)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func embeddedLog(t *testing.T) eventlog.Log {
	t.Helper()
	l, err := eventlog.OpenEmbedded(t.Context(), eventlog.EmbeddedOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, l) })
	return l
}

func sqliteStore(t *testing.T, at time.Time) store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{
		Path: filepath.Join(t.TempDir(), "replay.db"), Collections: app.AllCollections(), Now: func() time.Time { return at },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, s) })
	return s
}

// The same streams give the same decisions and traces, byte for byte, also with a
// place moved and a campaign paused half-way, in both modes and whatever records
// are committed together.
func TestTheSameStreamsGiveTheSameDecisions(t *testing.T) {
	tape := tapeOfAStory(t)
	for _, how := range []struct {
		name  string
		mode  partition.Mode
		batch int
	}{
		{"fast", partition.Fast, 256},
		{"reference by three", partition.Reference, 3},
		{"fast one by one", partition.Fast, 1},
	} {
		t.Run(how.name, func(t *testing.T) {
			got := replayed(t, tape, app.ReplayOptions{
				Log: embeddedLog(t), Store: sqliteStore(t, tape.At), Mode: how.mode, MaxBatch: how.batch,
			})
			if d := got.Difference(tape.Live); d != "" {
				t.Error(d)
			}
			if !maps.Equal(got.Digests(), tape.Live.Digests()) {
				t.Errorf("digests are %v, live they were %v", got.Digests(), tape.Live.Digests())
			}
		})
	}
	t.Run("not on what is there already", func(t *testing.T) {
		o := app.ReplayOptions{Log: embeddedLog(t), Store: sqliteStore(t, tape.At)}
		replayed(t, tape, o)
		for field, again := range map[string]app.ReplayOptions{
			"event_log": {Log: o.Log, Store: sqliteStore(t, tape.At)},
			"store":     {Log: embeddedLog(t), Store: o.Store},
		} {
			_, err := app.Replay(t.Context(), tape, again)
			if e, ok := errors.AsType[*engage.Error](err); !ok || e.Code != engage.Conflict || e.Field != field {
				t.Errorf("%s: %v", field, err)
			}
		}
	})
	// The control: one record says something else, and it shows.
	t.Run("other streams give others", func(t *testing.T) {
		name, other := changed(t, tape)
		got := replayed(t, other, app.ReplayOptions{Log: embeddedLog(t), Store: sqliteStore(t, tape.At)})
		if got.Difference(tape.Live) == "" || maps.Equal(got.Digests(), tape.Live.Digests()) {
			t.Errorf("%s says something else, but the results are the same", name)
		}
	})
}

// changed is the tape with one item of one phone taken back: the last record of a
// partition by install that has one says nothing any more.
func changed(t *testing.T, tape *app.Tape) (string, *app.Tape) {
	t.Helper()
	other := &app.Tape{At: tape.At, Build: tape.Build, Config: tape.Config, Streams: maps.Clone(tape.Streams), Live: tape.Live}
	records := slices.Clone(tape.Streams["in/0"])
	for i, m := range slices.Backward(records) {
		entries, err := engage.DecodeRecord(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(entries, func(e engage.Entry) bool { return e.Kind == engage.KindItem })
		if at < 0 {
			continue
		}
		records[i].Data = engage.EncodeRecord(slices.Delete(entries, at, at+1))
		other.Streams["in/0"] = records
		return fmt.Sprintf("record %d of in/0", m.Seq), other
	}
	t.Fatal("in/0 has no item")
	return "", nil
}

func difference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return "got  " + as[i] + "\nwant " + bs[i]
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(as), len(bs))
}

// place2 moves a place.
func (s *story) place2(id string, to geo.Point) {
	s.t.Helper()
	var p map[string]any
	s.must("GET", "/api/v1/places/"+id, nil, &p)
	for _, f := range p["geofences"].([]any) {
		f.(map[string]any)["geometry"] = map[string]any{"type": "Point", "coordinates": []float64{to.Lng, to.Lat}}
	}
	p["location"] = to
	version := p["version"]
	for _, k := range []string{"version", "updated_at", "id", "workspace", "$schema"} {
		delete(p, k)
	}
	s.putIfMatch("/api/v1/places/"+id, p, fmt.Sprint(version))
}
