package app_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// BenchmarkHistory asks a store with 200,000 visits, of which 20,000 are open, and
// with 20,000 track chunks of 200 persons.
func BenchmarkHistory(b *testing.B) {
	s, err := sqlite.Open(b.Context(), sqlite.Options{
		Path: filepath.Join(b.TempDir(), "states.db"), Collections: app.StateCollections(), Now: time.Now,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	var batch store.Batch
	flush := func() {
		if err := s.Apply(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		batch = store.Batch{}
	}
	put := func(collection, id string, doc any) {
		body, err := json.Marshal(doc)
		if err != nil {
			b.Fatal(err)
		}
		batch.Puts = append(batch.Puts, store.Put{Collection: collection, Key: store.Key{Workspace: "default", ID: id}, Body: body, If: store.AnyVersion})
		if len(batch.Puts) == 5000 {
			flush()
		}
	}
	for i := range 200_000 {
		v := visitOf(fmt.Sprintf("%032x", i), fmt.Sprintf("place-%d", i%1000), fmt.Sprintf("%032x", i%20000), noon.Add(time.Duration(i)*time.Second), engage.EndedByExit)
		if i%10 == 0 {
			v.Until, v.Ended = time.Time{}, ""
		}
		put("visits", v.ID, v)
	}
	for person := range 200 {
		for hour := range 100 {
			var o engage.OpenTrack
			for i := range 100 {
				if o.Track, err = o.Track.Add(geo.TrackFix{
					At: noon.Add(time.Duration(hour)*time.Hour + time.Duration(i)*36*time.Second), Pos: geo.Point{Lat: 52 + float64(i)/3e3, Lng: 4.9}, AccuracyM: float64(i % 9),
				}); err != nil {
					b.Fatal(err)
				}
			}
			c := o.Chunk(fmt.Sprintf("phone-%d", person), fmt.Sprintf("person-%d", person))
			put("tracks", c.ID, c)
		}
	}
	flush()
	h := app.History(s)
	for name, f := range map[string]func() error{
		"visits of a place": func() error {
			_, err := h.Visits(b.Context(), "default", api.VisitFilter{Place: "place-7"}, "", 50)
			return err
		},
		"open visits of a place": func() error {
			open := true
			_, err := h.Visits(b.Context(), "default", api.VisitFilter{Place: "place-10", Open: &open}, "", 50)
			return err
		},
		"visits of a person": func() error {
			_, err := h.Visits(b.Context(), "default", api.VisitFilter{Profile: fmt.Sprintf("%032x", 7)}, "", 50)
			return err
		},
		"present at a place": func() error {
			_, _, err := h.Present(b.Context(), "default", "place-10", 20_000)
			return err
		},
		"present at all": func() error {
			_, _, err := h.Present(b.Context(), "default", "", 20_000)
			return err
		},
		"track, 1,000 of 10,000": func() error {
			p, err := h.Track(b.Context(), "default", api.TrackFilter{Profile: "person-7", Installs: []string{"phone-7"}}, "", 1000)
			if err == nil && len(p.Items) != 1000 {
				b.Fatal(len(p.Items))
			}
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
