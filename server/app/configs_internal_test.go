package app

import (
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
)

// An import of thousands of places makes many revisions; a configuration of all
// places is compiled for what was before it and for what is after it.
func TestAnImportIsCompiledOnce(t *testing.T) {
	c, err := catalog.Open(t.Context(), catalog.Options{
		Log: new(eventlogtest.Memory).Open(), Clock: clock.NewManual(time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)), Compile: decide.Compile,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.PutWorkspace(t.Context(), "test", &catalog.Workspace{ID: "acme", Name: "Acme"}, 0); err != nil {
		t.Fatal(err)
	}
	compiled := 0
	x := &configs[int]{catalog: c, compile: func(s *catalog.Snapshot) (int, error) {
		compiled++
		return len(s.Places("acme")), nil
	}}
	// adopt is what each partition does when it looks.
	adopt := func() int {
		t.Helper()
		for range 4 {
			if _, err := x.At(t.Context(), x.Latest()); err != nil {
				t.Fatal(err)
			}
		}
		n, err := x.at(x.Latest())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	adopt()
	told := x.Changed()
	before := c.Now().Revision
	at := geo.Point{Lat: 52.3731, Lng: 4.8922}
	for batch := range 20 {
		var edits []catalog.PlaceEdit
		for i := range 10 {
			id := fmt.Sprintf("p%d-%d", batch, i)
			edits = append(edits, catalog.PlaceEdit{Place: &engage.Place{ID: id, Workspace: "acme", Name: id, Location: at, Geofences: []engage.Geofence{
				{ID: id, Ring: engage.Inside, Shape: geo.Circle{Around: at, RadiusM: 50}},
			}}})
		}
		out, err := c.PutPlaces(t.Context(), "test", "acme", edits)
		if err != nil || out[9].Err != nil {
			t.Fatal(err, out)
		}
		if n := adopt(); n != 0 {
			t.Errorf("%d places are in force after %d batches", n, batch+1)
		}
	}
	c.Announce()
	<-told
	if n := adopt(); n != 200 || compiled != 2 || c.Now().Revision != before+20 {
		t.Errorf("%d places, compiled %d times, %d revisions", n, compiled, c.Now().Revision-before)
	}
}
