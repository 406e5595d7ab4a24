package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/partition/loopbench"
)

// benchCommand is `footfall-lab bench`.
func benchCommand() *cobra.Command {
	c := &cobra.Command{Use: "bench", Short: "Measure parts of the server", Args: cobra.NoArgs}
	c.AddCommand(benchLoopCommand(), benchFencesCommand(), benchNearbyCommand(), benchGatewayCommand(), benchGatewayServer(), benchBareServer(), benchLoad(),
		benchPushCommand(), benchPushSim(), benchPushBare(), benchPushDeliver(), benchPeopleCommand(), benchPeopleServer(),
		benchPipelineCommand(), benchPipelineServer(), benchPipelineLoad())
	return c
}

// loopFlags of `bench loop`.
type loopFlags struct {
	benchFlags
	rates        []int
	seconds      float64
	durabilities []string
	modes        []string
	partitions   int
	triggers     float64
	runs         int
}

func benchLoopCommand() *cobra.Command {
	var f loopFlags
	c := &cobra.Command{
		Use:   "loop",
		Short: "Measure the partition loop: from an item's arrival to the push request",
		Long: `Offers items of 200 bytes at a fixed rate to two partitions in a row, as the
server runs them (embedded event log, two SQLite files, attempts committed before
they are made), and POSTs what triggers to a sink in this process over HTTP/2.

Latency runs from the moment at which an item was due to the arrival of its POST,
so that a stall is charged for all whom it kept waiting. CPU is the process's user
and system time per item: cpu_us_per_item has generator, client and sink in it,
cpu_us_per_item_server is without a run of those three alone. The anchor is what
the machine's parts took around the run: compare ratios to it, not milliseconds.
With --runs above 1 the configurations take turns and each row is the run with the
median p99.

--durability both measures process and power side by side: they take turns, the one
that begins too, in at least three rounds, and what is compared are the medians of
the rounds, each figure for itself, with the ratio of power to process. A phone is
acknowledged when its append is answered: ack is the time from due to that. The
disk's own fsync (4 KiB appended, p50 and p99 of all rounds) is measured between:
power waits for it, so expect the ratio to grow with it.`,
		Example: "  footfall-lab bench loop --json\n  footfall-lab bench loop --rates 1000,20000,100000 --seconds 5 --durability both",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if slices.Contains(f.durabilities, bothDurabilities) {
				f.durabilities, f.runs = []string{eventlog.DurabilityProcess, eventlog.DurabilityPower}, max(f.runs, leastRounds)
			}
			return benchLoop(cmd, f)
		},
	}
	flags := c.Flags()
	f.add(c, "CPU, allocation and blocking profiles of the loaded time")
	flags.IntSliceVar(&f.rates, "rates", []int{1000, 20_000}, "items offered per second")
	flags.Float64Var(&f.seconds, "seconds", 10, "length of a run")
	flags.StringSliceVar(&f.durabilities, "durability", []string{"process"}, "what a commit survives: process, power; or both, compared")
	flags.StringSliceVar(&f.modes, "mode", []string{string(partition.Fast)}, "of the loop: fast, reference")
	flags.IntVar(&f.partitions, "partitions", 1, "partitions of each of the two kinds")
	flags.Float64Var(&f.triggers, "triggers", 0.2, "share of the items that ends in a push request")
	flags.IntVar(&f.runs, "runs", 1, "runs of each configuration")
	return c
}

// bothDurabilities is what --durability takes for both, compared.
const bothDurabilities = "both"

// leastRounds of a comparison.
const leastRounds = 3

// loopReport is what --json prints.
type loopReport struct {
	Bench string             `json:"bench"` // "loop"
	Go    string             `json:"go"`
	Cores int                `json:"cores"`
	Rows  []loopbench.Result `json:"rows"`
	// Compared has process and power side by side, where both were measured.
	Compared []loopComparison `json:"compared,omitempty"`
}

// loopComparison is one rate with process and power durability; each figure is the
// median of the rounds.
type loopComparison struct {
	Rate    int            `json:"rate"` // items offered per second
	Mode    partition.Mode `json:"mode"`
	Rounds  int            `json:"rounds"`
	Process loopFigures    `json:"process"`
	Power   loopFigures    `json:"power"`
	Ratio   loopFigures    `json:"ratio"` // power over process
	// The disk's fsync meanwhile, in microseconds.
	SyncP50US float64 `json:"sync_p50_us"`
	SyncP99US float64 `json:"sync_p99_us"`
}

// loopFigures are what durability is paid with.
type loopFigures struct {
	AchievedPerS float64 `json:"achieved_per_s"`
	AckP50MS     float64 `json:"ack_p50_ms"`
	AckP99MS     float64 `json:"ack_p99_ms"`
	P50MS        float64 `json:"p50_ms"` // to the POST
	P99MS        float64 `json:"p99_ms"`
}

// compare finds the runs of process and power that differ in nothing else.
func compare(results [][]loopbench.Result) []loopComparison {
	var out []loopComparison
	for _, process := range results {
		for _, power := range results {
			a, b := process[0], power[0]
			if a.Durability != eventlog.DurabilityProcess || b.Durability != eventlog.DurabilityPower || a.Rate != b.Rate || a.Mode != b.Mode {
				continue
			}
			c := loopComparison{Rate: a.Rate, Mode: a.Mode, Rounds: len(process), Process: medians(process), Power: medians(power)}
			c.Ratio = loopFigures{
				c.Power.AchievedPerS / c.Process.AchievedPerS, c.Power.AckP50MS / c.Process.AckP50MS, c.Power.AckP99MS / c.Process.AckP99MS,
				c.Power.P50MS / c.Process.P50MS, c.Power.P99MS / c.Process.P99MS,
			}
			both := slices.Concat(process, power)
			c.SyncP50US = median(both, func(r loopbench.Result) float64 { return r.Anchor.SyncP50US })
			c.SyncP99US = median(both, func(r loopbench.Result) float64 { return r.Anchor.SyncP99US })
			out = append(out, c)
		}
	}
	return out
}

func medians(rs []loopbench.Result) loopFigures {
	return loopFigures{
		median(rs, func(r loopbench.Result) float64 { return r.AchievedPerS }),
		median(rs, func(r loopbench.Result) float64 { return r.AckP50MS }),
		median(rs, func(r loopbench.Result) float64 { return r.AckP99MS }),
		median(rs, func(r loopbench.Result) float64 { return r.P50MS }),
		median(rs, func(r loopbench.Result) float64 { return r.P99MS }),
	}
}

// median of an even number is the lower of the two in the middle.
func median(rs []loopbench.Result, of func(loopbench.Result) float64) float64 {
	var v []float64
	for _, r := range rs {
		v = append(v, of(r))
	}
	slices.Sort(v)
	return v[(len(v)-1)/2]
}

func benchLoop(cmd *cobra.Command, f loopFlags) error {
	var configs []loopbench.Options
	for _, mode := range f.modes {
		for _, rate := range f.rates {
			for _, durability := range f.durabilities { // side by side
				configs = append(configs, loopbench.Options{
					Dir: f.dir, Rate: rate, Duration: time.Duration(f.seconds * float64(time.Second)), TriggerShare: f.triggers,
					Partitions: f.partitions, Durability: durability, Mode: partition.Mode(mode),
				})
			}
		}
	}
	results := make([][]loopbench.Result, len(configs))
	for run := range max(f.runs, 1) {
		for i := range configs {
			if run%2 == 1 { // whoever comes second has another disk and cache
				i = len(configs) - 1 - i
			}
			o := configs[i]
			var failed error
			if f.profile != "" {
				o.Loaded = profiles(filepath.Join(f.profile, fmt.Sprintf("%d-%s-%s-%d", o.Rate, o.Durability, o.Mode, run)), &failed)
			}
			r, err := loopbench.Run(cmd.Context(), o)
			if err := errors.Join(err, failed); err != nil {
				return err
			}
			results[i] = append(results[i], r)
		}
	}
	report := loopReport{Bench: "loop", Go: runtime.Version(), Cores: runtime.NumCPU()}
	report.Compared = compare(results)
	for _, rs := range results {
		slices.SortFunc(rs, func(a, b loopbench.Result) int { return int(1e6 * (a.P99MS - b.P99MS)) })
		report.Rows = append(report.Rows, rs[(len(rs)-1)/2])
	}
	if f.json {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(report)
	}
	return printLoop(cmd.OutOrStdout(), report)
}

func printLoop(w io.Writer, report loopReport) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "rate\tdurability\tmode\tachieved/s\tp50 ms\tp95\tp99\tmax\tCPU µs\tserver\tappend µs\tcommit\tprototype p50\tp99\tCPU\t\n")
	for _, r := range report.Rows {
		fmt.Fprintf(t, "%d\t%s\t%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.1f\t%.0f\t%.0f\t%.0f\t%.0f\t",
			r.Rate, r.Durability, r.Mode, r.AchievedPerS, r.P50MS, r.P95MS, r.P99MS, r.MaxMS,
			r.CPUUS, r.CPUServerUS, r.Anchor.AppendP50US, r.Anchor.CommitP50US)
		if p := r.Prototype; p != nil {
			fmt.Fprintf(t, "%.2f\t%.1f\t%.0f\t\n", p.P50MS, p.P99MS, p.CPUUS)
		} else {
			fmt.Fprint(t, "\t\t\t\n")
		}
	}
	if len(report.Compared) == 0 {
		return t.Flush()
	}
	fmt.Fprintf(t, "\nrate\tmode\trounds\tdurability\tachieved/s\tack p50 ms\tp99\tPOST p50\tp99\tfsync p50 µs\tp99\t\n")
	for _, c := range report.Compared {
		for i, f := range []loopFigures{c.Process, c.Power} {
			fmt.Fprintf(t, "%d\t%s\t%d\t%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t\n",
				c.Rate, c.Mode, c.Rounds, []string{eventlog.DurabilityProcess, eventlog.DurabilityPower}[i], f.AchievedPerS, f.AckP50MS, f.AckP99MS, f.P50MS, f.P99MS, c.SyncP50US, c.SyncP99US)
		}
		r := c.Ratio
		fmt.Fprintf(t, "\t\t\tratio\t%.2f\t%.1f\t%.1f\t%.1f\t%.1f\t\t\t\n", r.AchievedPerS, r.AckP50MS, r.AckP99MS, r.P50MS, r.P99MS)
	}
	return t.Flush()
}

// profiles returns what writes profiles of the loaded time to "<base>.cpu" and so
// on; err gets what went wrong.
func profiles(base string, err *error) func() func() {
	return func() func() {
		cpu, failed := os.Create(base + ".cpu")
		if failed == nil {
			failed = pprof.StartCPUProfile(cpu)
		}
		*err = failed
		if failed != nil {
			return func() {}
		}
		runtime.SetBlockProfileRate(100_000) // nanoseconds blocked per sample
		runtime.SetMutexProfileFraction(100)
		return func() {
			pprof.StopCPUProfile()
			*err = errors.Join(cpu.Close(), writeProfile("allocs", base+".allocs"), writeProfile("block", base+".block"), writeProfile("mutex", base+".mutex"))
			runtime.SetBlockProfileRate(0)
			runtime.SetMutexProfileFraction(0)
		}
	}
}

func writeProfile(name, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(name).WriteTo(f, 0), f.Close())
}
