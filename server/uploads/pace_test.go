package uploads_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/uploads"
)

// However fast the log is, no more rows a second are read than may be, of all workspaces
// together.
func TestRowsOfAllUploadsKeepToTheirPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, func(o *uploads.Options) { o.Clock, o.RowsPerS = clock.System{}, 500 })
		id := d.give(uploads.Making{Kind: uploads.People}, customers(4000))
		other := d.create(uploads.Making{Workspace: "other", Kind: uploads.People})
		if _, err := d.Write("other", other.ID, 0, true, strings.NewReader(customers(1000))); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		<-time.NewTimer(6 * time.Second).C // of the bubble's clock
		synctest.Wait()
		y, err := d.Get("other", other.ID)
		if err != nil {
			t.Fatal(err)
		}
		if n := d.get(id).Read + y.Read; n < 2600 || n > 3200 {
			t.Errorf("%d rows after 6 s at 500 a second", n)
		}
		<-time.NewTimer(5 * time.Second).C
		synctest.Wait()
		if u := d.get(id); u.State != uploads.Done || u.Read != 4000 {
			t.Errorf("after 11 s: %+v", u)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestMetricsTellWhatBecameOfRowsAndWhatWaits(t *testing.T) {
	reg := prometheus.NewRegistry()
	d := newDesk(t, func(o *uploads.Options) { o.Registerer = reg })
	id := d.give(uploads.Making{Kind: uploads.People}, customers(1000))
	size := float64(len(customers(1000)))
	want := func(values map[string]float64) {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := strings.TrimPrefix(f.GetName(), "footfall_")
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		if !maps.Equal(got, values) {
			t.Errorf("got %v, want %v", got, values)
		}
	}
	want(map[string]float64{
		"upload_bytes_total": size, "upload_bytes_waiting": size, "uploads_open processing": 0, "uploads_open receiving": 0, "uploads_open waiting": 1,
	})
	d.run(d.ended(id))
	d.create(uploads.Making{Kind: uploads.Events})
	want(map[string]float64{
		"upload_rows_total taken": 990, "upload_rows_total refused": 10,
		"upload_bytes_total": size, "upload_bytes_waiting": 0, "uploads_open processing": 0, "uploads_open receiving": 1, "uploads_open waiting": 0,
	})
}
