package catalog_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
)

func edits(places ...*engage.Place) []catalog.PlaceEdit {
	out := make([]catalog.PlaceEdit, len(places))
	for i, p := range places {
		out[i] = catalog.PlaceEdit{Place: p, Expected: catalog.AnyVersion}
	}
	return out
}

func TestPlacesArePutTogetherEachWithItsVersion(t *testing.T) {
	mem := new(eventlogtest.Memory)
	c := open(t, mem.Open())
	seed(t, c)
	ctx := t.Context()
	must(t, c.PutPlace(ctx, by, place("acme", "old"), 0))
	must(t, c.PutPlace(ctx, by, place("acme", "same"), 0))
	must(t, c.PutPlace(ctx, by, place("acme", "gone"), 0))
	must(t, c.DeletePlace(ctx, by, "acme", "gone", 1))
	before := c.Now().Revision

	bad := place("acme", "bad")
	bad.Hours, bad.TimeZone = "now and then", "UTC"
	batch := edits(place("acme", "old", "new-fence"), place("acme", "new"), bad, place("acme", "same"), place("acme", "thief", "new-fence"),
		place("acme", "heir", "old-in"), place("acme", "gone"), place("rival", "x"), place("acme", "late"))
	batch[0].Expected = 1
	batch[8].Expected = 4
	out, err := c.PutPlaces(ctx, by, "acme", batch)
	must(t, err)
	if len(out) != len(batch) {
		t.Fatalf("%d outcomes", len(out))
	}
	for i, want := range []struct {
		version            int64
		created, unchanged bool
		code               engage.Code
		field              string
	}{
		{version: 2},
		{version: 1, created: true},
		{code: engage.Invalid, field: "hours"},
		{version: 1, unchanged: true},
		{code: engage.Conflict, field: "geofences[0].id"}, // taken a moment ago
		{version: 1, created: true},                       // given up a moment ago
		{version: 3, created: true},                       // counts on over the deletion
		{code: engage.Forbidden, field: "workspace"},
		{code: engage.NotFound, field: "id"},
	} {
		o, p := out[i], batch[i].Place
		if want.code != "" {
			wantError(t, p.ID, o.Err, want.code, want.field)
			if p.Version != 0 || !p.UpdatedAt.IsZero() {
				t.Errorf("%s was refused and has version %d", p.ID, p.Version)
			}
			continue
		}
		if o.Err != nil || o.Created != want.created || o.Unchanged != want.unchanged || p.Version != want.version || !p.UpdatedAt.Equal(t0) {
			t.Errorf("%s: %+v, version %d of %s, want %+v", p.ID, o, p.Version, p.UpdatedAt, want)
		}
		if is := c.Now().Place("acme", p.ID); is == nil || is.Version != want.version || is.Geofences[0].ID != p.Geofences[0].ID {
			t.Errorf("%s is %+v", p.ID, is)
		}
	}
	if c.Now().Revision != before+1 {
		t.Errorf("%d revisions for one batch", c.Now().Revision-before)
	}
	if h := c.History("acme", catalog.Places, "old"); len(h) != 2 || h[1].Version != 2 || h[1].By != by || len(h[1].Body) == 0 {
		t.Errorf("history %+v", h)
	}
	// An edit of what was put in a batch is as any other.
	wantError(t, "stale", c.PutPlace(ctx, by, place("acme", "new"), 2), engage.Conflict, "version")
	must(t, c.PutPlace(ctx, by, place("acme", "new"), 1))
	if was, err := c.At(before); err != nil || was.Place("acme", "new") != nil || was.Place("acme", "old").Version != 1 {
		t.Errorf("the revision before: %v", err)
	}
	// And all of it is there after reopening.
	again := open(t, mem.Open())
	if got, want := dump(t, again.Now()), dump(t, c.Now()); got != want {
		t.Errorf("after reopening\n%s, was\n%s", got, want)
	}
	// The same batch again changes nothing.
	rev := again.Now().Revision
	out, err = again.PutPlaces(ctx, by, "acme", edits(place("acme", "heir", "old-in"), place("acme", "gone")))
	must(t, err)
	if !out[0].Unchanged || !out[1].Unchanged || again.Now().Revision != rev {
		t.Errorf("%+v, %d revisions", out, again.Now().Revision-rev)
	}
	if _, err := again.PutPlaces(ctx, by, "nobody", edits(place("nobody", "x"))); engage.CodeOf(err) != engage.NotFound {
		t.Errorf("a workspace that is not there: %v", err)
	}
}

func TestBeaconsBelongToOnePlaceOfAWorkspace(t *testing.T) {
	c := fresh(t)
	ctx := t.Context()
	with := func(workspace, id, beacon, uuid string) *engage.Place {
		p := place(workspace, id)
		p.Beacons = []engage.Beacon{{ID: beacon, Type: engage.IBeacon, UUID: uuid}}
		return p
	}
	const one, two = "f7826da6-4fa2-4e98-8024-bc5b71e0893e", "00000000-4fa2-4e98-8024-bc5b71e0893e"
	must(t, c.PutPlace(ctx, by, with("acme", "cafe", "door", one), 0))
	wantError(t, "its id", c.PutPlace(ctx, by, with("acme", "bar", "door", two), 0), engage.Conflict, "beacons[0].id")
	wantError(t, "what it stands for", c.PutPlace(ctx, by, with("acme", "bar", "b", strings.ToUpper(one)), 0), engage.Conflict, "beacons[0]")
	must(t, c.PutPlace(ctx, by, with("rival", "bar", "door", one), 0))
	must(t, c.PutPlace(ctx, by, with("acme", "cafe", "door", two), 1))
	must(t, c.PutPlace(ctx, by, with("acme", "bar", "b", one), 0))
	must(t, c.DeletePlace(ctx, by, "acme", "cafe", 2))
	must(t, c.PutPlace(ctx, by, with("acme", "bar", "door", two), 1))
}

func TestABurstOfPlacesIsAnnouncedOnce(t *testing.T) {
	now := clock.NewManual(t0)
	c, err := catalog.Open(t.Context(), catalog.Options{Log: new(eventlogtest.Memory).Open(), Clock: now, Compile: decide.Compile})
	must(t, err)
	seed(t, c)
	ctx := t.Context()
	told := func() bool {
		select {
		case <-c.Changed():
			t.Fatal("Changed is closed already")
		default:
		}
		return c.Latest() == c.Now().Revision
	}
	put := func(id string) {
		t.Helper()
		out, err := c.PutPlaces(ctx, by, "acme", edits(place("acme", id)))
		must(t, err)
		must(t, out[0].Err)
	}
	changed, latest := c.Changed(), c.Latest()
	put("a")
	put("b")
	if told() || c.Latest() != latest || c.Now().Place("acme", "b") == nil {
		t.Errorf("latest %d of %d", c.Latest(), c.Now().Revision)
	}
	if s, err := c.At(c.Latest()); err != nil || s.Place("acme", "a") != nil {
		t.Errorf("%v: what is not announced is in force", err)
	}
	c.Announce()
	<-changed
	if !told() {
		t.Error("not told by Announce")
	}
	changed = c.Changed()
	c.Announce() // nothing new
	select {
	case <-changed:
		t.Error("nothing new was announced")
	default:
	}
	// Any other change, such as a campaign that is paused, does not wait.
	put("c")
	must(t, c.PutPlace(ctx, by, place("acme", "d"), 0))
	if !told() {
		t.Error("another change waits for the burst")
	}
	// Nor does a burst that goes on for long.
	put("e")
	now.Advance(9 * time.Second)
	put("f")
	if told() {
		t.Error("told after 9 s")
	}
	now.Advance(time.Second)
	put("g")
	if !told() {
		t.Error("not told after 10 s")
	}
}

func TestLargePlacesAreSplitOverRecords(t *testing.T) {
	dir := t.TempDir()
	log, err := eventlog.OpenEmbedded(t.Context(), eventlog.EmbeddedOptions{Dir: dir})
	must(t, err)
	c := open(t, log)
	seed(t, c)
	// 40 places of 40 kB.
	var cells []geo.Cell
	first, err := geo.CellOf(shop, 10)
	must(t, err)
	next := shop
	for len(cells) < 2000 {
		next.Lat += 0.0005
		if next.Lat > 53 {
			next.Lat, next.Lng = shop.Lat, next.Lng+0.002
		}
		cell, err := geo.CellOf(next, first.Resolution())
		must(t, err)
		cells = append(cells, cell)
	}
	set, err := geo.NewCellSet(cells)
	must(t, err)
	var all []*engage.Place
	for i := range 40 {
		p := place("acme", fmt.Sprint("p", i))
		p.Geofences[0].Shape = set
		all = append(all, p)
	}
	before := c.Now().Revision
	out, err := c.PutPlaces(t.Context(), by, "acme", edits(all...))
	must(t, err)
	for i, o := range out {
		if !o.Created || o.Err != nil || c.Now().Place("acme", all[i].ID) == nil {
			t.Fatalf("%s: %+v", all[i].ID, o)
		}
	}
	body, err := json.Marshal(all[0])
	must(t, err)
	least := uint64(len(body) * len(all) / (1 << 20))
	if n := c.Now().Revision - before; n < least || n > 2*least+1 {
		t.Errorf("%d revisions for %d kB", n, len(body)*len(all)>>10)
	}
	was := dump(t, c.Now())
	must(t, log.Close())
	log, err = eventlog.OpenEmbedded(t.Context(), eventlog.EmbeddedOptions{Dir: dir})
	must(t, err)
	if got := dump(t, open(t, log).Now()); got != was {
		t.Error("another configuration after reopening")
	}
	must(t, log.Close())
}

func TestABatchThatIsNotConfirmedIsThereAsAWholeOrNot(t *testing.T) {
	for _, what := range []string{"lost", "landed"} {
		mode := ""
		memory := new(eventlogtest.Memory)
		c := open(t, doubtful{memory.Open(), &mode})
		seed(t, c)
		mode = what
		bad := place("acme", "bad")
		bad.Name = ""
		batch := edits(bad, place("acme", "a"), place("acme", "b"))
		out, err := c.PutPlaces(t.Context(), by, "acme", batch)
		wantError(t, what, err, engage.Unavailable, "")
		if len(out) != 1 || out[0].Err == nil || c.Now().Place("acme", "a") != nil || batch[1].Place.Version != 0 {
			t.Errorf("%s: %d outcomes, version %d", what, len(out), batch[1].Place.Version)
		}
		mode = ""
		out, err = c.PutPlaces(t.Context(), by, "acme", batch)
		must(t, err)
		for i := 1; i < 3; i++ {
			if o := out[i]; o.Err != nil || o.Unchanged != (what == "landed") || o.Created != (what == "lost") || batch[i].Place.Version != 1 {
				t.Errorf("%s: %+v, version %d", what, o, batch[i].Place.Version)
			}
		}
		if dump(t, open(t, memory.Open()).Now()) != dump(t, c.Now()) {
			t.Errorf("%s: the catalogue is not what its log says", what)
		}
	}
}

func BenchmarkPutPlaces(b *testing.B) {
	for _, n := range []int{1000, 10000, 40000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				log, err := eventlog.OpenEmbedded(b.Context(), eventlog.EmbeddedOptions{Dir: b.TempDir()})
				if err != nil {
					b.Fatal(err)
				}
				c, err := catalog.Open(b.Context(), catalog.Options{Log: log, Clock: clock.NewManual(t0), Compile: decide.Compile})
				if err != nil {
					b.Fatal(err)
				}
				if err := c.PutWorkspace(b.Context(), by, &catalog.Workspace{ID: "acme"}, 0); err != nil {
					b.Fatal(err)
				}
				for from := 0; from < n; from += 500 {
					batch := make([]catalog.PlaceEdit, 500)
					for i := range batch {
						batch[i] = edits(place("acme", fmt.Sprint("p", from+i)))[0]
					}
					if _, err := c.PutPlaces(b.Context(), by, "acme", batch); err != nil {
						b.Fatal(err)
					}
				}
				if err := log.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/place")
		})
	}
}

// BenchmarkOpen reads a catalogue of 40,000 places, and tells what of it stays in memory:
// its bytes, those of them that a garbage collection looks through, and its pieces.
func BenchmarkOpen(b *testing.B) {
	const n = 40_000
	memory := new(eventlogtest.Memory)
	c, err := catalog.Open(b.Context(), catalog.Options{Log: memory.Open(), Clock: clock.NewManual(t0), Compile: decide.Compile})
	if err != nil {
		b.Fatal(err)
	}
	if err := c.PutWorkspace(b.Context(), by, &catalog.Workspace{ID: "acme"}, 0); err != nil {
		b.Fatal(err)
	}
	for from := 0; from < n; from += 500 {
		batch := make([]catalog.PlaceEdit, 500)
		for i := range batch {
			batch[i] = edits(place("acme", fmt.Sprint("p", from+i)))[0]
		}
		if _, err := c.PutPlaces(b.Context(), by, "acme", batch); err != nil {
			b.Fatal(err)
		}
	}
	c = nil
	names := []string{"/memory/classes/heap/objects:bytes", "/gc/scan/heap:bytes", "/gc/heap/objects:objects"}
	heap := func() []metrics.Sample {
		runtime.GC()
		runtime.GC() // after the first, what unique holds goes
		samples := make([]metrics.Sample, len(names))
		for i := range names {
			samples[i].Name = names[i]
		}
		metrics.Read(samples)
		return samples
	}
	before := heap()
	for b.Loop() {
		if c, err = catalog.Open(b.Context(), catalog.Options{Log: memory.Open(), Clock: clock.NewManual(t0), Compile: decide.Compile}); err != nil {
			b.Fatal(err)
		}
	}
	after := heap()
	for i, unit := range []string{"B/place", "scanned-B/place", "objects/place"} {
		b.ReportMetric((float64(after[i].Value.Uint64())-float64(before[i].Value.Uint64()))/n, unit)
	}
	runtime.KeepAlive(c)
	runtime.KeepAlive(memory)
}
