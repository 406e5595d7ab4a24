package situate_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/situate"
)

// benchTx is of a partition what an entry costs situate: its states, and nothing kept
// of what it puts out.
type benchTx struct {
	states map[string]engage.State
	config *situate.Config
	edited engage.State
	spare  engage.State
	key    string
	outs   int
}

func (tx *benchTx) Load(key string) (engage.State, error) { return tx.states[key], nil }

func (tx *benchTx) Edit(key string) (engage.State, error) {
	s := tx.states[key]
	if s == nil {
		return nil, nil
	}
	tx.key, tx.edited, tx.spare = key, s.(engage.Recloner).CloneOver(tx.spare), nil
	return tx.edited, nil
}

func (tx *benchTx) Put(key string, s engage.State)             { tx.states[key] = s }
func (tx *benchTx) Delete(key string)                          { delete(tx.states, key) }
func (tx *benchTx) Emit(string, engage.Entry)                  { tx.outs++ }
func (tx *benchTx) SetTimer(string, string, time.Time, []byte) {}
func (tx *benchTx) ClearTimer(string, string)                  {}
func (tx *benchTx) Record(_, _, _ string, _ any)               { tx.outs++ }
func (tx *benchTx) Config() (any, uint64)                      { return tx.config, 1 }
func (tx *benchTx) Position() engage.Source                    { return engage.Source{Partition: "in/0"} }
func (tx *benchTx) At() time.Time                              { return time.Time{} } // situate does not ask

func (tx *benchTx) commit() {
	if tx.edited != nil {
		tx.spare, tx.states[tx.key] = tx.states[tx.key], tx.edited
	}
	tx.edited = nil
}

// BenchmarkItem applies fixes of 2,000 phones that walk among 100,000 fences and send
// ten a second, as gatewaybench has them: what an item costs the owner of the installs
// (item), and what the save of an install's state costs that comes after twenty of them
// (save, of a state that holds as much as was sent).
func BenchmarkItem(b *testing.B) {
	const phones, fences, townM = 2000, 100_000, 100_000
	r := rand.New(rand.NewPCG(5, 6))
	at := func(eastM, northM float64) geo.Point {
		return geo.Point{Lat: shop.Lat + northM/111_320, Lng: shop.Lng + eastM/(111_320*math.Cos(shop.Lat*math.Pi/180))}
	}
	places := make([]*engage.Place, fences)
	for i := range places {
		p := at(townM*r.Float64(), townM*r.Float64())
		places[i] = &engage.Place{
			ID: fmt.Sprintf("place-%06d", i), Workspace: ws, Location: p,
			Geofences: []engage.Geofence{{ID: fmt.Sprintf("fence-%06d", i), Ring: engage.Inside, Shape: geo.Circle{Around: p, RadiusM: 100 + 100*r.Float64()}}},
		}
	}
	c, err := situate.NewConfig(nil, []situate.Workspace{{ID: ws, Places: places}})
	if err != nil {
		b.Fatal(err)
	}
	tx := &benchTx{states: map[string]engage.State{}, config: c}
	m := situate.Machine{}
	type walker struct {
		key     string
		e, n, h float64
		seq     uint64
	}
	now := t0
	apply := func(e engage.Entry) {
		if err := m.Apply(tx, e); err != nil {
			b.Fatal(err)
		}
		tx.commit()
	}
	entryOf := func(key string, it *sdkpb.Item) engage.Entry {
		body, err := proto.Marshal(it)
		if err != nil {
			b.Fatal(err)
		}
		return engage.Entry{Kind: engage.KindItem, Key: key, At: now, Occurred: now, Body: body}
	}
	walkers := make([]walker, phones)
	for i := range walkers {
		w := &walkers[i]
		*w = walker{key: engage.InstallKey(ws, fmt.Sprintf("install-%06d", i)), e: townM * r.Float64(), n: townM * r.Float64(), h: 6.28 * r.Float64()}
		for _, p := range allConsents {
			it := consent(p, true)
			w.seq++
			it.Seq = w.seq
			apply(entryOf(w.key, it))
		}
	}
	next := func(i int) engage.Entry {
		w := &walkers[i%phones]
		if i%phones == 0 {
			now = now.Add(100 * time.Millisecond)
		}
		w.h += 0.05 * r.NormFloat64()
		w.e, w.n, w.seq = w.e+0.14*math.Cos(w.h), w.n+0.14*math.Sin(w.h), w.seq+1
		p := at(w.e, w.n)
		return entryOf(w.key, &sdkpb.Item{
			ItemId: fmt.Sprintf("item-%015d", w.seq), Seq: w.seq, OccurredMs: now.UnixMilli(), MonoMs: int64(w.seq) * 100, BootId: "0123456789abcdef",
			Location: &sdkpb.Location{Lat: p.Lat, Lng: p.Lng, AccuracyM: 8, SpeedMps: new(1.4), BearingDeg: new(123.25), AltitudeM: new(31.5)},
		})
	}
	const batch = 4096
	entries := make([]engage.Entry, batch)
	n := 0
	for range 50 * phones {
		apply(next(n))
		n++
	}
	b.Run("item", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if i%batch == 0 {
				b.StopTimer()
				for j := range entries {
					entries[j] = next(n)
					n++
				}
				b.StartTimer()
			}
			apply(entries[i%batch])
		}
	})
	b.Run("save", func(b *testing.B) {
		b.ReportAllocs()
		size := 0
		for i := 0; b.Loop(); i++ {
			body, err := tx.states[walkers[i%phones].key].Encode()
			if err != nil {
				b.Fatal(err)
			}
			size += len(body)
		}
		b.ReportMetric(float64(size)/float64(b.N), "bytes/op")
	})
}

// BenchmarkConfig indexes 100,000 places with a geofence each, and tells what stays in
// memory of it: its bytes, those of them that a garbage collection looks through, and its
// pieces.
func BenchmarkConfig(b *testing.B) {
	places := make([]*engage.Place, 100_000)
	for i := range places {
		p := east(float64(i * 10))
		places[i] = &engage.Place{
			ID: fmt.Sprintf("place-%06d", i), Workspace: ws, Location: p,
			Geofences: []engage.Geofence{{ID: fmt.Sprintf("fence-%06d", i), Ring: engage.Inside, Shape: geo.Circle{Around: p, RadiusM: 100}}},
		}
	}
	names := []string{"/memory/classes/heap/objects:bytes", "/gc/scan/heap:bytes", "/gc/heap/objects:objects"}
	heap := func() []metrics.Sample {
		runtime.GC()
		samples := make([]metrics.Sample, len(names))
		for i := range names {
			samples[i].Name = names[i]
		}
		metrics.Read(samples)
		return samples
	}
	before := heap()
	var c *situate.Config
	for b.Loop() {
		var err error
		if c, err = situate.NewConfig(nil, []situate.Workspace{{ID: ws, Places: places}}); err != nil {
			b.Fatal(err)
		}
	}
	after := heap()
	for i, unit := range []string{"B/place", "scanned-B/place", "objects/place"} {
		b.ReportMetric((float64(after[i].Value.Uint64())-float64(before[i].Value.Uint64()))/float64(len(places)), unit)
	}
	runtime.KeepAlive(c)
	runtime.KeepAlive(places)
}
