package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/uber/h3-go/v4"

	"github.com/footfall-engage/footfall/geo"
)

// nearbyFlags of `bench nearby`.
type nearbyFlags struct {
	json    bool
	devices int
	cities  int
	results int
	queries int
	workers int
	rate    int
	asking  int
	seconds float64
}

func benchNearbyCommand() *cobra.Command {
	var f nearbyFlags
	c := &cobra.Command{
		Use:   "nearby",
		Short: "Measure who is near: updates, questions and heat maps over a million devices",
		Long: `Puts devices into 300 cities, spread by 4 km about each centre, as the server keeps
them in memory. Then, one after the other:

  h3_ns             one bare LatLngToCell of the h3-go library, on all workers at once:
                    elapsed time, times workers, per call
  updates_per_s     every device walks 60 m a step, on all workers at once, nothing else
  query             who is within r of this place and matches: the place is where a
                    device is, r is such that about twice --results devices are within,
                    of whom every second one matches; one question after the other
  nearest           the nearest --results within 100 km, without a match
  query_in_updates  the questions again, --asking a second, while devices walk at
                    --rate updates a second; updates_per_s beside it is what was
                    reached
  heat_ms           one heat map of all devices, all resolutions

bytes_per_device is the heap of devices with copies of ids of 15 bytes and 8 bytes of
payload. h3_ns, updates_per_s and milliseconds are by the clock, with what others do
on the machine in them; the figures with cpu in their name are this process's CPU
time, per call, update or question.`,
		Example: "  footfall-lab bench nearby --json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return benchNearby(cmd, f) },
	}
	flags := c.Flags()
	flags.BoolVar(&f.json, "json", false, "print one JSON object instead of a table")
	flags.IntVar(&f.devices, "devices", 1_000_000, "live devices")
	flags.IntVar(&f.cities, "cities", 300, "cities that they are in")
	flags.IntVar(&f.results, "results", 1000, "devices that a question finds, about")
	flags.IntVar(&f.queries, "queries", 2000, "questions of each kind")
	flags.IntVar(&f.workers, "workers", runtime.NumCPU(), "goroutines that update")
	flags.IntVar(&f.rate, "rate", 500_000, "updates a second while questions are asked again")
	flags.IntVar(&f.asking, "asking", 100, "questions a second meanwhile")
	flags.Float64Var(&f.seconds, "seconds", 3, "length of the updates alone")
	return c
}

// nearbyReport is what --json prints.
type nearbyReport struct {
	Bench          string  `json:"bench"` // "nearby"
	Go             string  `json:"go"`
	Cores          int     `json:"cores"`
	Devices        int     `json:"devices"`
	Cities         int     `json:"cities"`
	Workers        int     `json:"workers"`
	BytesPerDevice float64 `json:"bytes_per_device"`
	H3NS           float64 `json:"h3_ns"`
	H3CPUNS        float64 `json:"h3_cpu_ns"`
	UpdatesPerS    float64 `json:"updates_per_s"`
	UpdateCPUNS    float64 `json:"update_cpu_ns"`
	// UpdateXH3 is an update's CPU time over that of a bare LatLngToCell.
	UpdateXH3      float64     `json:"update_x_h3"`
	Query          nearbyQuery `json:"query"`
	Nearest        nearbyQuery `json:"nearest"`
	QueryInUpdates struct {
		UpdatesPerS float64 `json:"updates_per_s"`
		nearbyQuery
	} `json:"query_in_updates"`
	HeatMS float64 `json:"heat_ms"`
}

// nearbyQuery is questions of one kind.
type nearbyQuery struct {
	Queries int     `json:"queries"`
	Results float64 `json:"results"` // mean
	P50MS   float64 `json:"p50_ms"`
	P99MS   float64 `json:"p99_ms"`
	MaxMS   float64 `json:"max_ms"`
	// CPUMS is the mean; absent where updates are in it.
	CPUMS float64 `json:"cpu_ms,omitempty"`
}

func benchNearby(cmd *cobra.Command, f nearbyFlags) error {
	if f.devices < 1 || f.cities < 1 || f.results < 1 || f.queries < 1 || f.workers < 1 || f.rate < 1 || f.asking < 1 || !(f.seconds > 0) {
		return usageError{errors.New("--devices, --cities, --results, --queries, --workers, --rate, --asking and --seconds must be positive")}
	}
	b := newNearbyBench(f)
	report := nearbyReport{
		Bench: "nearby", Go: runtime.Version(), Cores: runtime.NumCPU(), Devices: f.devices, Cities: f.cities, Workers: f.workers,
	}
	before := liveHeap()
	if err := b.fill(); err != nil {
		return err
	}
	report.BytesPerDevice = (liveHeap() - before) / float64(f.devices)
	cpu := cpuTime()
	var calls int
	calls, report.H3NS = b.h3()
	report.H3CPUNS = float64((cpuTime() - cpu).Nanoseconds()) / float64(calls)
	cpu = cpuTime()
	updates, elapsed, err := b.update(time.Duration(f.seconds*float64(time.Second)), 0)
	if err != nil {
		return err
	}
	report.UpdatesPerS = float64(updates) / elapsed.Seconds()
	report.UpdateCPUNS = float64((cpuTime() - cpu).Nanoseconds()) / float64(updates)
	report.UpdateXH3 = report.UpdateCPUNS / report.H3CPUNS
	asked := b.questions()
	report.Query = b.ask(asked, 0)
	report.Nearest = b.nearest(asked)

	stop := make(chan struct{})
	var walking sync.WaitGroup
	walking.Go(func() { updates, elapsed, err = b.updateUntil(stop, f.rate) })
	report.QueryInUpdates.nearbyQuery = b.ask(asked, time.Second/time.Duration(f.asking))
	close(stop)
	walking.Wait()
	if err != nil {
		return err
	}
	report.QueryInUpdates.CPUMS = 0
	report.QueryInUpdates.UpdatesPerS = float64(updates) / elapsed.Seconds()

	began := time.Now()
	if _, err := b.live.Heat(time.Time{}, geo.HeatLeast); err != nil {
		return err
	}
	report.HeatMS = ms(time.Since(began))
	if f.json {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(report)
	}
	return printNearby(cmd.OutOrStdout(), &report)
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }

func printNearby(w io.Writer, r *nearbyReport) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "devices\tcities\tB/device\tH3 ns\tCPU ns\tupdates/s\tCPU ns\t× H3\theat ms\t")
	fmt.Fprintf(t, "%d\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%.0f\t\n", r.Devices, r.Cities, r.BytesPerDevice, r.H3NS, r.H3CPUNS, r.UpdatesPerS, r.UpdateCPUNS, r.UpdateXH3, r.HeatMS)
	fmt.Fprintln(t, "\nquestion\tupdates/s beside it\tresults\tp50 ms\tp99 ms\tmax ms\tCPU ms\t")
	for _, x := range []struct {
		name    string
		updates float64
		q       nearbyQuery
	}{{"within r, matching", 0, r.Query}, {"nearest", 0, r.Nearest}, {"within r, matching", r.QueryInUpdates.UpdatesPerS, r.QueryInUpdates.nearbyQuery}} {
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.3f\t%.3f\t%.3f\t%.3f\t\n", x.name, x.updates, x.q.Results, x.q.P50MS, x.q.P99MS, x.q.MaxMS, x.q.CPUMS)
	}
	return t.Flush()
}

// nearbyBench is the devices; the payload is the device's number.
type nearbyBench struct {
	nearbyFlags
	live  geo.Nearby[uint64]
	ids   []string
	walk  [2][]geo.Point // each goes to and fro
	began time.Time
}

func newNearbyBench(f nearbyFlags) *nearbyBench {
	w := newFenceWorld(0, f.cities, fencesFlags{devices: f.devices, steps: 2})
	b := &nearbyBench{nearbyFlags: f, walk: [2][]geo.Point{w.walk[0], w.walk[1]}, ids: make([]string, f.devices), began: time.Now()}
	for i := range b.ids {
		b.ids[i] = fmt.Sprintf("install-%07d", i)
	}
	return b
}

func (b *nearbyBench) fill() error {
	for i, p := range b.walk[0] {
		if _, err := b.live.Update(b.ids[i], p, b.began, uint64(i)); err != nil {
			return err
		}
	}
	return nil
}

// share of the devices that a worker has.
func (b *nearbyBench) share(worker int) (from, to int) {
	return worker * b.devices / b.workers, (worker + 1) * b.devices / b.workers
}

// h3 makes calls on all workers, and gives how many and how long one took.
func (b *nearbyBench) h3() (n int, ns float64) {
	calls := min(b.devices, 200_000)
	began := time.Now()
	var workers sync.WaitGroup
	for w := range b.workers {
		workers.Go(func() {
			from, _ := b.share(w)
			for i := range calls {
				p := b.walk[0][(from+i)%b.devices]
				if _, err := h3.LatLngToCell(h3.LatLng{Lat: p.Lat, Lng: p.Lng}, 8); err != nil {
					return // does not happen: the points are on Earth
				}
			}
		})
	}
	workers.Wait()
	return calls * b.workers, float64(time.Since(began).Nanoseconds()) / float64(calls)
}

// update lets devices walk for a time.
func (b *nearbyBench) update(d time.Duration, rate int) (n int64, elapsed time.Duration, err error) {
	stop := make(chan struct{})
	timer := time.AfterFunc(d, func() { close(stop) })
	defer timer.Stop()
	return b.updateUntil(stop, rate)
}

// nearbyBurst is how many updates a worker makes at a stretch.
const nearbyBurst = 256

// updateUntil lets devices walk until stop is closed, at a rate per second of all
// workers together; 0 is as fast as it goes.
func (b *nearbyBench) updateUntil(stop <-chan struct{}, rate int) (n int64, elapsed time.Duration, err error) {
	var total atomic.Int64
	var failed atomic.Pointer[error]
	began := time.Now()
	var workers sync.WaitGroup
	for w := range b.workers {
		workers.Go(func() {
			from, to := b.share(w)
			done := 0
			at := time.Now()
			for step := 1; from < to; step++ {
				for i := from; i < to; i++ {
					if done%nearbyBurst == 0 {
						select {
						case <-stop:
							total.Add(int64(done))
							return
						default:
						}
						if rate > 0 {
							ahead := time.Duration(float64(done*b.workers)/float64(rate)*1e9) - time.Since(began)
							if ahead > 0 {
								timer := time.NewTimer(ahead)
								<-timer.C
							}
						}
					}
					at = at.Add(time.Microsecond)
					if _, err := b.live.Update(b.ids[i], b.walk[step%2][i], at, uint64(i)); err != nil {
						failed.Store(&err)
						return
					}
					done++
				}
			}
		})
	}
	workers.Wait()
	if e := failed.Load(); e != nil {
		return 0, 0, *e
	}
	return total.Load(), time.Since(began), nil
}

// nearbyQuestion asks about a circle.
type nearbyQuestion struct {
	around  geo.Point
	radiusM float64
}

// questions are about places where devices are, as shops are where people are.
func (b *nearbyBench) questions() []nearbyQuestion {
	r := rand.New(rand.NewPCG(51, 52))
	out := make([]nearbyQuestion, b.queries)
	var found []geo.Neighbour[uint64]
	for i := range out {
		q := nearbyQuestion{b.walk[0][r.IntN(b.devices)], 100_000}
		if found, _ = b.live.Nearest(q.around, q.radiusM, time.Time{}, 2*b.results, found[:0]); len(found) > 0 {
			q.radiusM = found[len(found)-1].DistanceM
		}
		out[i] = q
	}
	return out
}

func (b *nearbyBench) ask(questions []nearbyQuestion, every time.Duration) nearbyQuery {
	buf := make([]geo.Neighbour[uint64], 0, 4*b.results)
	return timed(questions, every, func(q nearbyQuestion) int {
		buf = b.live.Within(q.around, q.radiusM, everySecond, buf[:0])
		return len(buf)
	})
}

func everySecond(n *geo.Neighbour[uint64]) bool { return n.Value%2 == 0 }

func (b *nearbyBench) nearest(questions []nearbyQuestion) nearbyQuery {
	buf := make([]geo.Neighbour[uint64], 0, 4*b.results)
	return timed(questions, 0, func(q nearbyQuestion) int {
		buf, _ = b.live.Nearest(q.around, 100_000, time.Time{}, b.results, buf[:0])
		return len(buf)
	})
}

// timed asks one after the other, not more often than every so long. A question's
// time runs from when it was due, so that a stall is charged for all that it kept
// waiting.
func timed(questions []nearbyQuestion, every time.Duration, ask func(nearbyQuestion) int) nearbyQuery {
	took := make([]time.Duration, len(questions))
	found := 0
	first, cpu := time.Now(), cpuTime()
	for i, q := range questions {
		began := time.Now()
		if due := first.Add(time.Duration(i) * every); every > 0 {
			if ahead := due.Sub(began); ahead > 0 {
				timer := time.NewTimer(ahead)
				<-timer.C
			}
			began = due
		}
		found += ask(q)
		took[i] = time.Since(began)
	}
	cpu = cpuTime() - cpu
	slices.Sort(took)
	at := func(q float64) float64 { return ms(took[int(q*float64(len(took)-1))]) }
	return nearbyQuery{len(took), float64(found) / float64(len(took)), at(0.5), at(0.99), at(1), ms(cpu) / float64(len(took))}
}
