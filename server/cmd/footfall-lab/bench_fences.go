package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/tidwall/rtree"
	"github.com/uber/h3-go/v4"

	"github.com/footfall-engage/footfall/geo"
)

// fencesFlags of `bench fences`.
type fencesFlags struct {
	json     bool
	sizes    []int
	constant bool
	polygons int
	devices  int
	steps    int
	changes  int
	traces   string
}

// phoneDays is where the recorded days stand beside a checkout of the project.
const phoneDays = "../shared/data/traces/emission"

func benchFencesCommand() *cobra.Command {
	var f fencesFlags
	c := &cobra.Command{
		Use:   "fences",
		Short: "Measure the geofence index beside bare H3 and an R-tree",
		Long: `Puts fences around 300 cities, circles of 50 to 500 m spread by 4 km about each
centre, and lets devices walk among them, 60 m a step. In blocks that take turns it
measures, in nanoseconds of this process's CPU time per fix (medians of the blocks):

  h3_ns       one bare LatLngToCell of the h3-go library
  moving_ns   the walk with a watch per device: state kept, enters and exits out
  cold_ns     a lookup without any state, with the margin of each hit
  still_ns    a fix half a metre from the last one, with the watch
  rtree_ns    tidwall/rtree over the same circles with the exact distance (haversine)

allocs_per_fix are those of the walk. bytes_per_fence has the fence itself, its id
and the index in it. change_p50_us and change_p99_us are single changes (a fence is
replaced, added or removed in turn, by the clock) while another goroutine keeps the
devices walking. churn_ns is a fix of the walk in what the changes left uncompacted.

--polygons measures as many polygons in the same cities, nine malls (50 to 250 m, 10
to 60 vertices) to a district (0.5 to 3 km, 50 to 200 vertices); their R-tree holds
boxes, and asks the same exact containment. cold_ns computes the margin of each hit,
containing_ns does not.

--constant-density, which is on, adds worlds with as many fences in each city as the 300 have at
100,000. --traces measures phone-days: the densest city of the largest world is laid
on the median fix of each file, and the watch must stay below one bare LatLngToCell
a fix (x_h3 below 1).

The machine's pace is in h3_ns and rtree_ns: compare ratios to them.`,
		Example: "  footfall-lab bench fences --json\n  footfall-lab bench fences --sizes 100000 --traces traces/emission",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return benchFences(cmd, f) },
	}
	flags := c.Flags()
	flags.BoolVar(&f.json, "json", false, "print one JSON object instead of a table")
	flags.IntSliceVar(&f.sizes, "sizes", []int{10_000, 100_000, 1_000_000}, "numbers of fences")
	flags.BoolVar(&f.constant, "constant-density", true, "the sizes again at constant density")
	flags.IntVar(&f.polygons, "polygons", 10_000, "number of polygons; 0 measures none")
	flags.IntVar(&f.devices, "devices", 1000, "devices that walk")
	flags.IntVar(&f.steps, "steps", 40, "steps that each takes")
	flags.IntVar(&f.changes, "changes", 2000, "changes of single fences while devices walk; 0 measures none")
	flags.StringVar(&f.traces, "traces", "", "folder with phone-days, *.locations.ndjson with lat and lon in each line (default "+phoneDays+", if it is there)")
	return c
}

// fencesReport is what --json prints.
type fencesReport struct {
	Bench           string       `json:"bench"` // "fences"
	Go              string       `json:"go"`
	Cores           int          `json:"cores"`
	H3NS            float64      `json:"h3_ns"` // median over the sizes
	Sizes           []fencesSize `json:"sizes"`
	Growth          float64      `json:"moving_growth,omitempty"` // moving_ns of the last size over that of the first, h3_ns being equal
	ConstantDensity []fencesSize `json:"constant_density,omitempty"`
	ConstantGrowth  float64      `json:"constant_density_growth,omitempty"`
	Polygons        *fencesSize  `json:"polygons,omitempty"`
	PhoneDays       []phoneDay   `json:"phone_days,omitempty"`
}

// fencesSize are the figures of one world.
type fencesSize struct {
	Fences        int     `json:"fences"`
	Cities        int     `json:"cities"`
	HitsPerFix    float64 `json:"hits_per_fix"`
	ChangesPerFix float64 `json:"changes_per_fix"` // enters and exits
	H3NS          float64 `json:"h3_ns"`
	MovingNS      float64 `json:"moving_ns"`
	ColdNS        float64 `json:"cold_ns"`
	StillNS       float64 `json:"still_ns"`
	RTreeNS       float64 `json:"rtree_ns"`
	BytesPerFence float64 `json:"bytes_per_fence"`
	BuildS        float64 `json:"build_s"`     // by the clock
	BuildCPUS     float64 `json:"build_cpu_s"` // of this process
	AllocsPerFix  float64 `json:"allocs_per_fix"`
	ChangeP50US   float64 `json:"change_p50_us,omitempty"`
	ChangeP99US   float64 `json:"change_p99_us,omitempty"`
	ChurnNS       float64 `json:"churn_ns,omitempty"`
	Vertices      int     `json:"vertices,omitempty"`      // of polygons, all together
	ContainingNS  float64 `json:"containing_ns,omitempty"` // of polygons
}

// phoneDay are the figures of one recorded day.
type phoneDay struct {
	Name          string  `json:"name"`
	Fixes         int     `json:"fixes"`
	Fences        int     `json:"fences"`
	HitsPerFix    float64 `json:"hits_per_fix"`
	ChangesPerFix float64 `json:"changes_per_fix"`
	NSPerFix      float64 `json:"ns_per_fix"`
	H3NS          float64 `json:"h3_ns"`
	XH3           float64 `json:"x_h3"` // ns_per_fix over h3_ns
}

func benchFences(cmd *cobra.Command, f fencesFlags) error {
	if len(f.sizes) == 0 || slices.Min(f.sizes) < 1 || f.devices < 1 || f.steps < 2 || f.changes < 0 || f.polygons < 0 {
		return usageError{errors.New("--sizes, --devices and --steps must be positive (steps at least 2), --polygons and --changes not negative")}
	}
	var days []phoneDay
	var tracks [][]geo.Point
	if f.traces == "" {
		if _, err := os.Stat(phoneDays); err == nil {
			f.traces = phoneDays
		}
	}
	if f.traces != "" {
		var err error
		if days, tracks, err = readPhoneDays(f.traces); err != nil {
			return err
		}
	}
	report := fencesReport{Bench: "fences", Go: runtime.Version(), Cores: runtime.NumCPU(), PhoneDays: days}
	var h3s []float64
	for _, n := range f.sizes {
		w := newFenceWorld(n, 300, f)
		size, index, err := w.measure(f)
		if err != nil {
			return err
		}
		report.Sizes = append(report.Sizes, size)
		h3s = append(h3s, size.H3NS)
		if n == slices.Max(f.sizes) {
			for i := range days {
				days[i].measure(index, w.densest(), tracks[i])
			}
		}
	}
	slices.Sort(h3s)
	report.H3NS = h3s[len(h3s)/2]
	report.Growth = growth(report.Sizes)
	if f.constant {
		for _, n := range f.sizes {
			size, _, err := newFenceWorld(n, max(1, n*300/100_000), f).measure(f)
			if err != nil {
				return err
			}
			report.ConstantDensity = append(report.ConstantDensity, size)
		}
		report.ConstantGrowth = growth(report.ConstantDensity)
	}
	if f.polygons > 0 {
		size, err := newFenceWorld(f.polygons, 300, f).measurePolygons(f)
		if err != nil {
			return err
		}
		report.Polygons = &size
	}
	if f.json {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(report)
	}
	return printFences(cmd.OutOrStdout(), report)
}

// growth takes the machine's pace out by h3_ns.
func growth(sizes []fencesSize) float64 {
	if len(sizes) < 2 {
		return 0
	}
	first, last := sizes[0], sizes[len(sizes)-1]
	return last.MovingNS / last.H3NS / (first.MovingNS / first.H3NS)
}

func printFences(w io.Writer, report fencesReport) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "fences\tcities\thits/fix\tchanges/fix\tH3 ns\tmoving\tcold\tstill\tR-tree\tB/fence\tbuild s\tCPU s\tallocs/fix\tchange p50 µs\tp99\tchurn ns\t")
	for _, s := range slices.Concat(report.Sizes, report.ConstantDensity) {
		fmt.Fprintf(t, "%d\t%d\t%.3f\t%.3f\t%.0f\t%.0f\t%.0f\t%.1f\t%.0f\t%.0f\t%.2f\t%.2f\t%.3f\t%.0f\t%.0f\t%.0f\t\n",
			s.Fences, s.Cities, s.HitsPerFix, s.ChangesPerFix, s.H3NS, s.MovingNS, s.ColdNS, s.StillNS, s.RTreeNS,
			s.BytesPerFence, s.BuildS, s.BuildCPUS, s.AllocsPerFix, s.ChangeP50US, s.ChangeP99US, s.ChurnNS)
	}
	if s := report.Polygons; s != nil {
		fmt.Fprintln(t, "\npolygons\tvertices\thits/fix\tchanges/fix\tH3 ns\tmoving\tcold\tcontaining\tstill\tR-tree\tB/fence\tbuild s\tCPU s\tallocs/fix\t")
		fmt.Fprintf(t, "%d\t%d\t%.3f\t%.3f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.0f\t%.0f\t%.2f\t%.2f\t%.3f\t\n",
			s.Fences, s.Vertices, s.HitsPerFix, s.ChangesPerFix, s.H3NS, s.MovingNS, s.ColdNS, s.ContainingNS, s.StillNS, s.RTreeNS,
			s.BytesPerFence, s.BuildS, s.BuildCPUS, s.AllocsPerFix)
	}
	if len(report.PhoneDays) > 0 {
		fmt.Fprintln(t, "\nphone-day\tfixes\thits/fix\tchanges/fix\tns/fix\tH3 ns\t× H3\t")
		for _, d := range report.PhoneDays {
			fmt.Fprintf(t, "%s\t%d\t%.2f\t%.3f\t%.0f\t%.0f\t%.2f\t\n", d.Name, d.Fixes, d.HitsPerFix, d.ChangesPerFix, d.NSPerFix, d.H3NS, d.XH3)
		}
	}
	return t.Flush()
}

// fenceWorld is where fences and devices are. The fences themselves are made when
// they are measured.
type fenceWorld struct {
	fences int
	cities []geo.Point
	walk   [][]geo.Point // by step, then by device
}

func newFenceWorld(fences, cities int, f fencesFlags) *fenceWorld {
	r := rand.New(rand.NewPCG(21, uint64(cities)))
	w := &fenceWorld{fences: fences}
	for range cities {
		lat := math.Asin(2*r.Float64()-1) * (180 / math.Pi)
		w.cities = append(w.cities, geo.Point{Lat: lat * 0.66, Lng: 360*r.Float64() - 180}) // within 60 degrees
	}
	at := make([]geo.Point, f.devices)
	heading := make([]float64, f.devices)
	for i := range at {
		at[i] = spread(r, w.cities[r.IntN(cities)])
		heading[i] = 2 * math.Pi * r.Float64()
	}
	for range f.steps {
		for i := range at {
			heading[i] += r.NormFloat64() / 2 // people mostly go on
			at[i] = along(at[i], heading[i], 60)
		}
		w.walk = append(w.walk, slices.Clone(at))
	}
	return w
}

// each makes the world's fences, the same each time.
func (w *fenceWorld) each(do func(i int, c treeCircle)) {
	r := rand.New(rand.NewPCG(31, 32))
	for i := range w.fences {
		do(i, treeCircle{spread(r, w.cities[r.IntN(len(w.cities))]), 50 + 450*r.Float64()})
	}
}

// densest is the city with most fences.
func (w *fenceWorld) densest() geo.Point {
	count := map[geo.Point]int{}
	r := rand.New(rand.NewPCG(31, 32))
	for range w.fences {
		c := w.cities[r.IntN(len(w.cities))]
		spread(r, c)
		r.Float64()
		count[c]++
	}
	return slices.MaxFunc(w.cities, func(a, b geo.Point) int { return count[a] - count[b] })
}

// spread is a point about a city's centre: normal, 4 km each way.
func spread(r *rand.Rand, city geo.Point) geo.Point {
	return along(along(city, 0, 4000*r.NormFloat64()), math.Pi/2, 4000*r.NormFloat64())
}

// along is about m metres from p, on a sphere.
func along(p geo.Point, bearing, m float64) geo.Point {
	const rad = math.Pi / 180
	sinB, cosB := math.Sincos(bearing)
	sinLat, cosLat := math.Sincos(p.Lat * rad)
	sinD, cosD := math.Sincos(m / geo.EarthRadiusM)
	sin := max(-1, min(1, sinLat*cosD+cosLat*sinD*cosB))
	lng := p.Lng + math.Atan2(sinB*sinD*cosLat, cosD-sinLat*sin)/rad
	return geo.Point{Lat: math.Asin(sin) / rad, Lng: math.Remainder(lng, 360)}
}

func (w *fenceWorld) measure(f fencesFlags) (fencesSize, *geo.Index, error) {
	out := fencesSize{Fences: w.fences, Cities: len(w.cities)}
	before := liveHeap()
	fences := make([]geo.Fence, 0, w.fences)
	w.each(func(i int, c treeCircle) {
		fences = append(fences, geo.Fence{ID: fmt.Sprintf("f%07d", i), Shape: geo.Circle{Around: c.around, RadiusM: c.radiusM}})
	})
	began, beganCPU := time.Now(), cpuTime()
	index, err := geo.NewIndex(fences)
	if err != nil {
		return out, nil, err
	}
	out.BuildS, out.BuildCPUS = time.Since(began).Seconds(), (cpuTime() - beganCPU).Seconds()
	// The slice is garbage by now: the index has what it needs of it.
	out.BytesPerFence = (liveHeap() - before) / float64(w.fences)

	tree := w.tree()
	watches := w.follow(index, f, func(p geo.Point) int { return holding(tree, p) }, &out)
	if f.changes > 0 {
		var churned *geo.Index
		if out.ChangeP50US, out.ChangeP99US, churned, err = w.change(index, f); err != nil {
			return out, nil, err
		}
		var churnNS blocks
		for _, ps := range w.walk {
			churnNS.add(len(ps), func() { watches.move(churned, ps) })
		}
		out.ChurnNS = churnNS.median()
	}
	return out, index, nil
}

// follower moves watches of devices.
type follower struct {
	watches []geo.Watch
	changes []geo.Change
}

func (w *follower) move(x *geo.Index, ps []geo.Point) (changes int) {
	for i, p := range ps {
		w.changes = w.watches[i].Move(x, p, w.changes[:0])
		changes += len(w.changes)
	}
	return changes
}

// follow the walk through an index and its peer.
func (w *fenceWorld) follow(index *geo.Index, f fencesFlags, peer func(geo.Point) int, out *fencesSize) *follower {
	watches := &follower{make([]geo.Watch, f.devices), make([]geo.Change, 0, 1024)}
	move := watches.move
	hits := make([]geo.Hit, 0, 1024)
	for range 2 { // first walks: the buffers get their sizes
		for _, ps := range w.walk {
			move(index, ps)
		}
	}
	mallocs := mallocCount()
	for _, ps := range w.walk {
		move(index, ps)
	}
	out.AllocsPerFix = float64(mallocCount()-mallocs) / float64(len(w.walk)*f.devices)
	move(index, w.walk[0])
	var h3NS, movingNS, coldNS, stillNS, treeNS blocks
	var changed, hit, fixes int
	for _, ps := range w.walk[1:] {
		fixes += len(ps)
		movingNS.add(len(ps), func() { changed += move(index, ps) })
		h3NS.add(len(ps), func() {
			for _, p := range ps {
				if _, err := h3.LatLngToCell(h3.LatLng{Lat: p.Lat, Lng: p.Lng}, 9); err != nil {
					return // does not happen: the points are on Earth
				}
			}
		})
		coldNS.add(len(ps), func() {
			for _, p := range ps {
				hits = index.At(p, hits[:0])
				hit += len(hits)
			}
		})
		treeNS.add(len(ps), func() {
			for _, p := range ps {
				hit += peer(p)
			}
		})
	}
	out.HitsPerFix = float64(hit) / float64(fixes) / 2 // ours and the tree's
	out.ChangesPerFix = float64(changed) / float64(fixes)
	last := slices.Clone(w.walk[len(w.walk)-1])
	for step := range 20 {
		for i := range last {
			last[i] = along(last[i], float64(step), 0.5)
		}
		if step < 2 {
			move(index, last)
			continue
		}
		stillNS.add(len(last)*20, func() {
			for range 20 {
				move(index, last)
			}
		})
	}
	out.H3NS, out.MovingNS, out.ColdNS, out.StillNS, out.RTreeNS = h3NS.median(), movingNS.median(), coldNS.median(), stillNS.median(), treeNS.median()
	return watches
}

// treeCircle is what the R-tree holds.
type treeCircle struct {
	around  geo.Point
	radiusM float64
}

// tree holds the world's circles by their boxes.
func (w *fenceWorld) tree() *rtree.RTreeG[treeCircle] {
	var t rtree.RTreeG[treeCircle]
	w.each(func(_ int, c treeCircle) {
		dLat := c.radiusM / 110_500 // a degree is never shorter
		dLng := dLat / math.Cos((math.Abs(c.around.Lat)+dLat)*(math.Pi/180))
		t.Insert([2]float64{c.around.Lng - dLng, c.around.Lat - dLat}, [2]float64{c.around.Lng + dLng, c.around.Lat + dLat}, c)
	})
	return &t
}

// holding counts the circles of the tree that hold p, as one would without an
// index of one's own.
func holding(tree *rtree.RTreeG[treeCircle], p geo.Point) (n int) {
	at := [2]float64{p.Lng, p.Lat}
	tree.Search(at, at, func(_, _ [2]float64, c treeCircle) bool {
		if haversineM(p, c.around) <= c.radiusM {
			n++
		}
		return true
	})
	return n
}

func haversineM(a, b geo.Point) float64 {
	const rad = math.Pi / 180
	sinLat, sinLng := math.Sin((b.Lat-a.Lat)*rad/2), math.Sin((b.Lng-a.Lng)*rad/2)
	return 2 * geo.EarthRadiusM * math.Asin(math.Sqrt(sinLat*sinLat+math.Cos(a.Lat*rad)*math.Cos(b.Lat*rad)*sinLng*sinLng))
}

// change replaces, adds and removes single fences while devices walk.
func (w *fenceWorld) change(index *geo.Index, f fencesFlags) (p50US, p99US float64, churned *geo.Index, err error) {
	var live geo.Live
	live.Set(index)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		watches := make([]geo.Watch, f.devices)
		var changes []geo.Change
		for step := 0; ; step++ {
			for i, p := range w.walk[step%len(w.walk)] {
				changes = watches[i].Move(live.Index(), p, changes[:0])
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	r := rand.New(rand.NewPCG(41, 42))
	var took []time.Duration
	for i := range f.changes {
		var put []geo.Fence
		var remove []string
		circle := geo.Circle{Around: spread(r, w.cities[r.IntN(len(w.cities))]), RadiusM: 50 + 450*r.Float64()}
		switch i % 3 {
		case 0:
			put = []geo.Fence{{ID: fmt.Sprintf("f%07d", r.IntN(w.fences)), Shape: circle}}
		case 1:
			put = []geo.Fence{{ID: fmt.Sprintf("new%d", i), Shape: circle}}
		case 2:
			remove = []string{fmt.Sprintf("f%07d", r.IntN(w.fences))}
		}
		began := time.Now()
		if err = live.Change(put, remove); err != nil {
			break
		}
		took = append(took, time.Since(began))
	}
	close(stop)
	<-stopped
	if err != nil {
		return 0, 0, nil, err
	}
	slices.Sort(took)
	us := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Nanoseconds()) / 1000 }
	return us(0.5), us(0.99), live.Index(), nil
}

// blocks are mean times per fix of blocks that took turns with others.
type blocks []float64

func (b *blocks) add(fixes int, do func()) {
	began := cpuTime()
	do()
	*b = append(*b, float64((cpuTime()-began).Nanoseconds())/float64(fixes))
}

func (b blocks) median() float64 {
	s := slices.Clone(b)
	slices.Sort(s)
	return s[(len(s)-1)/2]
}

func liveHeap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func mallocCount() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// readPhoneDays reads the tracks of a folder.
func readPhoneDays(folder string) (days []phoneDay, tracks [][]geo.Point, err error) {
	const suffix = ".locations.ndjson"
	files, err := filepath.Glob(filepath.Join(folder, "*"+suffix))
	if err != nil {
		return nil, nil, err
	}
	if len(files) == 0 {
		return nil, nil, fmt.Errorf("no *%s in %s", suffix, folder)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, err
		}
		var track []geo.Point
		for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			var fix struct {
				Lat *float64 `json:"lat"`
				Lon *float64 `json:"lon"`
			}
			if err := json.Unmarshal([]byte(line), &fix); err != nil || fix.Lat == nil || fix.Lon == nil {
				return nil, nil, fmt.Errorf("%s:%d: must be an object with lat and lon", name, i+1)
			}
			track = append(track, geo.Point{Lat: *fix.Lat, Lng: *fix.Lon})
		}
		days = append(days, phoneDay{Name: strings.TrimSuffix(filepath.Base(name), suffix), Fixes: len(track)})
		tracks = append(tracks, track)
	}
	return days, tracks, nil
}

// measure lays the city on the track's median fix.
func (d *phoneDay) measure(index *geo.Index, city geo.Point, track []geo.Point) {
	mid := medianPoint(track)
	const rad = math.Pi / 180
	ps := make([]geo.Point, len(track))
	for i, p := range track {
		lng := city.Lng + (p.Lng-mid.Lng)*math.Cos(mid.Lat*rad)/math.Cos(city.Lat*rad)
		ps[i] = geo.Point{Lat: max(-90, min(90, city.Lat+p.Lat-mid.Lat)), Lng: math.Remainder(lng, 360)}
	}
	d.Fences = index.Len()
	hits, changed := 0, 0
	var at []geo.Hit
	for _, p := range ps {
		at = index.At(p, at[:0])
		hits += len(at)
	}
	d.HitsPerFix = float64(hits) / float64(len(ps))
	const days = 20 // of the same, each begun anew
	changes := make([]geo.Change, 0, 1024)
	var ours, bare blocks
	for range 25 {
		ours.add(days*len(ps), func() {
			for range days {
				var w geo.Watch
				changed = 0
				for _, p := range ps {
					changes = w.Move(index, p, changes[:0])
					changed += len(changes)
				}
			}
		})
		bare.add(len(ps), func() {
			for _, p := range ps {
				if _, err := h3.LatLngToCell(h3.LatLng{Lat: p.Lat, Lng: p.Lng}, 9); err != nil {
					return // does not happen: the points are on Earth
				}
			}
		})
	}
	d.ChangesPerFix = float64(changed) / float64(len(ps))
	d.NSPerFix, d.H3NS = ours.median(), bare.median()
	d.XH3 = d.NSPerFix / d.H3NS
}

func medianPoint(ps []geo.Point) geo.Point {
	lats, lngs := make([]float64, len(ps)), make([]float64, len(ps))
	for i, p := range ps {
		lats[i], lngs[i] = p.Lat, p.Lng
	}
	slices.Sort(lats)
	slices.Sort(lngs)
	return geo.Point{Lat: lats[len(lats)/2], Lng: lngs[len(lngs)/2]}
}
