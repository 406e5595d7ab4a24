package app_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/mongo"
	"github.com/footfall-engage/footfall/server/store/mongo/mongotest"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// onBothStores runs a test on each store.
func onBothStores(t *testing.T, f func(*testing.T, store.Store)) {
	t.Run("sqlite", func(t *testing.T) {
		s, err := sqlite.Open(t.Context(), sqlite.Options{
			Path: filepath.Join(t.TempDir(), "states.db"), Collections: app.StateCollections(), Now: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closing(t, s) })
		f(t, s)
	})
	t.Run("mongodb", func(t *testing.T) {
		uri, serial := mongotest.Peer(t)
		s, err := mongo.Open(t.Context(), mongo.Options{
			URI: engage.Secret(uri), Database: mongotest.Database(t, uri), Collections: app.AllCollections(), Now: time.Now, Serial: serial,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closing(t, s) })
		f(t, s)
	})
}

// write puts a document as a partition's commit does.
func write(t *testing.T, s store.Store, collection, workspace, id string, doc any) {
	t.Helper()
	body, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), store.Batch{Puts: []store.Put{{
		Collection: collection, Key: store.Key{Workspace: workspace, ID: id}, Body: body, If: store.AnyVersion,
	}}}); err != nil {
		t.Fatal(err)
	}
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func visitOf(id, place, profile string, since time.Time, ended engage.VisitEnd) *engage.Visit {
	v := &engage.Visit{
		V: 1, ID: id, Place: place, Install: "i-" + profile, Profile: profile, Since: since, SinceUS: since.UnixMicro(),
		Last: since.Add(10 * time.Minute), Evidence: "fix", Ended: ended,
	}
	if ended != "" {
		v.Until = v.Last
	}
	return v
}

func TestVisitsAreFoundInTheStore(t *testing.T) {
	onBothStores(t, func(t *testing.T, s store.Store) {
		h := app.History(s)
		var all []*engage.Visit
		r := rand.New(rand.NewPCG(1, 2))
		ends := []engage.VisitEnd{"", engage.EndedByExit, engage.EndedBySilence, engage.EndedByWithdrawal}
		for i := range 60 {
			v := visitOf(fmt.Sprintf("v%02d", i), fmt.Sprintf("place-%d", r.IntN(3)), fmt.Sprintf("p%d", r.IntN(4)),
				noon.Add(time.Duration(r.IntN(40))*time.Minute), ends[r.IntN(4)])
			if r.IntN(2) == 0 {
				v.InsideAt = v.Since
			}
			all = append(all, v)
			write(t, s, "visits", "default", v.ID, v)
			write(t, s, "visits", "another", v.ID, visitOf(v.ID, v.Place, v.Profile, v.Since.Add(time.Second), ""))
		}
		yes, no := true, false
		n := 0
		for _, f := range []api.VisitFilter{
			{},
			{Place: "place-1"},
			{Profile: "p2"},
			{Place: "place-0", Profile: "p1"},
			{Place: "place-2", Open: &yes},
			{Profile: "p3", Open: &no},
			{From: noon.Add(10 * time.Minute), Before: noon.Add(20 * time.Minute)},
			{Place: "place-1", From: noon.Add(30 * time.Minute)},
			{Place: "place-1", Withdrawn: true},
			{Withdrawn: true, Open: &no},
			{Place: "nowhere"},
		} {
			var want, got []string
			for _, v := range all {
				if (f.Place == "" || v.Place == f.Place) && (f.Profile == "" || v.Profile == f.Profile) && (f.Open == nil || *f.Open == v.Open()) &&
					!v.Since.Before(f.From) && (f.Before.IsZero() || v.Since.Before(f.Before)) && (f.Withdrawn || v.Ended != engage.EndedByWithdrawal) {
					want = append(want, v.ID)
				}
			}
			last := time.Time{}
			for cursor := ""; ; {
				p, err := h.Visits(t.Context(), "default", f, cursor, 7)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range p.Items {
					if !last.IsZero() && v.Since.After(last) {
						t.Errorf("%+v: %s is newer than the one before it", f, v.ID)
					}
					got, last = append(got, v.ID), v.Since
				}
				if cursor = p.Next; cursor == "" {
					break
				}
			}
			slices.Sort(got)
			if n += len(got); !slices.Equal(got, want) {
				t.Errorf("%+v: %q, want %q", f, got, want)
			}
		}
		if n < 60 {
			t.Errorf("the filters found %d in all: they try nothing", n)
		}
		if _, err := h.Visits(t.Context(), "default", api.VisitFilter{}, "x", 7); engage.CodeOf(err) != engage.Invalid {
			t.Errorf("a cursor that is none: %v", err)
		}

		want := map[string]api.Presence{}
		for _, v := range all {
			if p := want[v.Place]; v.Open() {
				if v.InsideAt.IsZero() {
					p.Arriving++
				} else {
					p.Inside++
				}
				want[v.Place] = p
			}
		}
		got, more, err := h.Present(t.Context(), "default", "", 1000)
		if err != nil || more || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("present %v %v, want %v", got, err, want)
		}
		got, more, err = h.Present(t.Context(), "default", "place-1", 1000)
		if err != nil || more || len(got) != 1 || got["place-1"] != want["place-1"] {
			t.Errorf("present at one place %v %v", got, err)
		}
		got, more, err = h.Present(t.Context(), "default", "", 5)
		counted := 0
		for _, p := range got {
			counted += p.Inside + p.Arriving
		}
		if err != nil || !more || counted != 5 {
			t.Errorf("five of the present: %v, more %v, %v", got, more, err)
		}
	})
}

// phoneTrack is an install whose fixes go to the store as situate sends them:
// parts that are done as documents, the rest in the install's state.
type phoneTrack struct {
	t       *testing.T
	s       store.Store
	install string
	state   engage.Tracks
	seq     uint64
	fixes   []api.TrackFix
}

func (p *phoneTrack) add(f geo.TrackFix) {
	p.t.Helper()
	p.seq++
	next, done, err := p.state.Add(f, p.seq)
	if err != nil {
		p.t.Fatal(err)
	}
	p.state = next
	for _, o := range done {
		p.record(o)
	}
	f.Pos = geo.Point{Lat: f.Pos.Lat, Lng: f.Pos.Lng}
	p.fixes = append(p.fixes, api.TrackFix{Install: p.install, TrackFix: f})
}

func (p *phoneTrack) record(o engage.OpenTrack) {
	p.t.Helper()
	c := o.Chunk(p.install, "ada")
	write(p.t, p.s, "tracks", "default", c.ID, c)
}

func (p *phoneTrack) keep() {
	p.t.Helper()
	write(p.t, p.s, "state_in", "default", "i:"+p.install, map[string]any{"v": 1, "install": p.install, "tracks": p.state})
}

// allOf reads a track page by page.
func allOf(t *testing.T, h api.History, f api.TrackFilter, limit int) []api.TrackFix {
	t.Helper()
	var out []api.TrackFix
	for cursor := ""; ; {
		p, err := h.Track(t.Context(), "default", f, cursor, limit)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p.Items...)
		if len(p.Items) > limit || len(p.Items) == 0 && p.Next != "" {
			t.Fatalf("a page of %d, limit %d, next %q", len(p.Items), limit, p.Next)
		}
		if cursor = p.Next; cursor == "" {
			return out
		}
	}
}

func degrees(n int) float64 { return float64(n) / 1e7 }

func TestTracksAreFoundInTheStoreAndInStates(t *testing.T) {
	onBothStores(t, func(t *testing.T, s store.Store) {
		h := app.History(s)
		r := rand.New(rand.NewPCG(3, 4))
		phones := []*phoneTrack{{t: t, s: s, install: "one"}, {t: t, s: s, install: "two"}}
		for i := range 300 {
			p := phones[r.IntN(2)]
			at := noon.Add(time.Duration(i) * 80 * time.Second)
			switch r.IntN(30) {
			case 0: // late, into an hour that may be recorded already
				at = at.Add(-time.Duration(r.IntN(5*3600)) * time.Second)
			case 1: // several in the same moment
				for j := range 4 {
					p.add(geo.TrackFix{At: at, Pos: geo.Point{Lat: degrees(520000000 + i), Lng: degrees(40000000 + j)}, AccuracyM: 8})
				}
			}
			p.add(geo.TrackFix{At: at, Pos: geo.Point{Lat: degrees(523000000 + i), Lng: degrees(49000000 - i)}, AccuracyM: float64(i % 50), Flags: geo.TrackFlags(i % 7)})
		}
		for _, p := range phones {
			p.keep()
		}
		// As when a part is recorded between the two reads: it is in both.
		phones[0].record(phones[0].state.Head)

		var want []api.TrackFix
		for _, p := range phones {
			want = append(want, p.fixes...)
		}
		byTime := func(a, b api.TrackFix) int {
			if c := b.At.Compare(a.At); c != 0 {
				return c
			}
			return strings.Compare(fmt.Sprintf("%s %v", a.Install, a.TrackFix), fmt.Sprintf("%s %v", b.Install, b.TrackFix))
		}
		slices.SortFunc(want, byTime)
		both := []string{"one", "two"}
		for _, limit := range []int{9, 100, 10000} {
			got := allOf(t, h, api.TrackFilter{Profile: "ada", Installs: both}, limit)
			if !slices.IsSortedFunc(got, func(a, b api.TrackFix) int { return b.At.Compare(a.At) }) {
				t.Errorf("pages of %d: not in order", limit)
			}
			slices.SortFunc(got, byTime)
			if !slices.Equal(got, want) {
				t.Fatalf("pages of %d: %d fixes, want %d", limit, len(got), len(want))
			}
		}
		from, before := noon.Add(95*time.Minute), noon.Add(200*time.Minute+10*time.Second)
		got := allOf(t, h, api.TrackFilter{Profile: "ada", Installs: both, From: from, Before: before}, 20)
		slices.SortFunc(got, byTime)
		within := slices.DeleteFunc(slices.Clone(want), func(f api.TrackFix) bool { return f.At.Before(from) || !f.At.Before(before) })
		if len(within) < 50 || !slices.Equal(got, within) {
			t.Errorf("%d fixes in the span, want %d", len(got), len(within))
		}
		if got := allOf(t, h, api.TrackFilter{Profile: "ben", Installs: []string{"three"}}, 50); len(got) != 0 {
			t.Errorf("another person has %d of them", len(got))
		}
		if p, err := h.Track(t.Context(), "another", api.TrackFilter{Profile: "ada", Installs: both}, "", 50); err != nil || len(p.Items) != 0 {
			t.Errorf("another workspace has %d of them, %v", len(p.Items), err)
		}
		for _, cursor := range []string{"x", "5", "5.", "5.0", "-5.1", "5.1.1", "99999999999999999999.1"} {
			if _, err := h.Track(t.Context(), "default", api.TrackFilter{Profile: "ada"}, cursor, 50); engage.CodeOf(err) != engage.Invalid {
				t.Errorf("cursor %q: %v", cursor, err)
			}
		}
	})
}

// The API of a whole server over visits and tracks that stand in its store.
func TestVisitsAndTracksByTheAPI(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	ada := s.phone("ada", "android", nil).agree().background()
	ada.at(far, 10).post()
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	states := s.app.States()
	open := visitOf("open", "cafe", ada.profile, s.start.Add(-time.Minute), "")
	open.InsideAt = open.Since
	arriving := visitOf("arriving", "cafe", "ben", s.start.Add(-2*time.Minute), "")
	for _, v := range []*engage.Visit{open, arriving, visitOf("old", "cafe", ada.profile, s.start.Add(-time.Hour), engage.EndedByExit)} {
		write(t, states, "visits", "default", v.ID, v)
	}
	var visits struct {
		Items []struct {
			ID        string
			PlaceName string  `json:"place_name"`
			DurationS float64 `json:"duration_s"`
		}
	}
	s.must("GET", "/api/v1/places/cafe/visits", nil, &visits)
	if len(visits.Items) != 3 || visits.Items[0].ID != "open" || visits.Items[2].DurationS != 600 || visits.Items[0].PlaceName != "Café cafe" {
		t.Errorf("%+v", visits)
	}
	s.must("GET", "/api/v1/people/install:"+ada.install+"/visits?open=false", nil, &visits)
	if len(visits.Items) != 1 || visits.Items[0].ID != "old" {
		t.Errorf("%+v", visits)
	}
	var present api.Presence
	s.must("GET", "/api/v1/places/cafe/presence", nil, &present)
	if present != (api.Presence{Inside: 1, Arriving: 1}) {
		t.Errorf("%+v", present)
	}

	p := phoneTrack{t: t, s: states, install: ada.install}
	for i := range 10 {
		p.add(geo.TrackFix{At: s.start.Add(time.Duration(i-10) * time.Minute), Pos: geo.Point{Lat: cafe.Lat, Lng: degrees(48000000 + i)}, AccuracyM: 9})
	}
	for _, o := range p.state.Open() {
		c := o.Chunk(ada.install, ada.profile)
		write(t, states, "tracks", "default", c.ID, c)
	}
	var track struct {
		Items []struct {
			Lng       float64
			AccuracyM float64 `json:"accuracy_m"`
		}
	}
	before := url.QueryEscape(s.start.Add(-time.Second).Format(time.RFC3339))
	s.must("GET", "/api/v1/people/install:"+ada.install+"/track?to="+before, nil, &track)
	if len(track.Items) != 10 || track.Items[0].Lng != degrees(48000009) || track.Items[0].AccuracyM != 9 {
		t.Errorf("%+v", track)
	}
}
