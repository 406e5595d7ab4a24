package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/lab/pipelinebench"
)

// pipelineFlags of `bench pipeline`.
type pipelineFlags struct {
	benchFlags
	fences       int
	campaigns    int
	phones       int
	every        int
	paths        []string
	durabilities []string
	rates        []int
	seed         uint64
}

// What a search for the highest rate begins with, and ends at.
const (
	baseRate  = 1000
	maxRate   = 200_000
	halvings  = 2               // between the highest rate that was held and the lowest that was not
	held      = 0.95            // of the rate offered that must be brought to its end in the time
	tolerable = 1000            // ms, p99 above which a rate is not held
	seekFor   = 3 * time.Second // of a try, at most
	warmUpFor = 2 * time.Second // likewise
)

func benchPipelineCommand() *cobra.Command {
	var f pipelineFlags
	cmd := &cobra.Command{
		Use:   "pipeline",
		Short: "Measure the whole way of a fix: from the phone to the push, or to the message on the screen",
		Long: `Runs the real server (embedded log, SQLite; default settings, but that it need not climb
slowly to FCM's rate, nor limits registrations) in one process, and phones with the push
provider's simulator in another, on the loopback and in a temporary folder,
with --fences geofences and --campaigns live campaigns, of which five want to hear of each
place.

  push    phones in the background: each fix is a POST. latency_ms runs from when it was
          due to the request at the provider's simulator.
  in_app  phones in the foreground: each fix is a frame on the phone's socket. latency_ms
          runs from when it was due until the message may be shown: offered, claimed and
          granted.

One of --every fixes enters a place and so fires five campaigns, one of which sends; the
others are on the way there. The load is open-loop: when each fix is due is fixed before the
run (a Poisson process of --seed), and whoever has to wait for the server, or for the
generator, is measured from then. A fix that no phone or connection is free for goes out
later and counts from when it was due.

Without --rates, the highest rate is sought first: doubled from 1000 fixes/s until less than
95 % of what is offered is brought to its end in the time, or p99 is above a second; then
halved in between. The runs are at 1000/s, and at 50 % and 90 % of what was found. load is
the share of the highest rate; with --rates it is 0.

decisions_per_s counts all decisions, yes and no. cpu_us_per_fix is user and system time of
the server's process by fixes taken. lost and duplicates are of an audit by ids when all is
settled: lost are fixes that entered a place, were taken, and were not decided, and messages
that the server says were sent and that have not come; duplicates are messages that came
twice, and decisions for which no fix asked. generator_late_ms is by how much the generator
was behind its own schedule (p99), host_took the share of the machine's CPU time that its
host kept for others. Generator and server share the machine.`,
		Example: "  footfall-lab bench pipeline --json\n  footfall-lab bench pipeline --path push --durability process --rates 1000,5000 --duration 5s",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return usageError{err}
			}
			return benchPipeline(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), f)
		},
	}
	f.add(cmd, "CPU and allocation profiles of the server, by path, durability and rate; allocs-before.pprof is the base of allocs.pprof")
	f.addDuration(cmd, 5*time.Second, "each run")
	f.addTrace(cmd, "each run, whose path, durability and rate follow the name")
	flags := cmd.Flags()
	flags.IntVar(&f.fences, "fences", 100_000, "geofences, each of a place of its own")
	flags.IntVar(&f.campaigns, "campaigns", 1000, "live campaigns")
	flags.IntVar(&f.phones, "phones", 10_000, "phones")
	flags.IntVar(&f.every, "every", 5, "one of so many fixes enters a place")
	flags.StringSliceVar(&f.paths, "path", []string{string(pipelinebench.Push), string(pipelinebench.InApp)}, "push, in_app")
	flags.StringSliceVar(&f.durabilities, "durability", []string{string(config.Process), string(config.Power)}, "what an ack survives: process, power")
	flags.IntSliceVar(&f.rates, "rates", nil, "fixes offered per second, instead of those that are found")
	flags.Uint64Var(&f.seed, "seed", 1, "of the times at which fixes are due")
	return cmd
}

func (f *pipelineFlags) check() error {
	if err := f.checkDuration(); err != nil {
		return err
	}
	switch {
	case f.fences < pipelinebench.MinPlaces || f.fences > 1_000_000:
		return fmt.Errorf("--fences must be %d to 1000000, is %d", pipelinebench.MinPlaces, f.fences)
	case f.campaigns < campaignsPerPlace || f.campaigns > 10_000:
		return fmt.Errorf("--campaigns must be %d to 10000, is %d", campaignsPerPlace, f.campaigns)
	case f.phones < 1 || f.phones > 19_000:
		return fmt.Errorf("--phones must be 1 to 19000, is %d", f.phones)
	case f.every < 2 || f.every > 1000:
		return fmt.Errorf("--every must be 2 to 1000, is %d", f.every)
	case len(f.paths) == 0 || len(f.durabilities) == 0:
		return errors.New("--path and --durability must name something")
	}
	for _, p := range f.paths {
		if !slices.Contains(pipelinebench.Paths, pipelinebench.Path(p)) {
			return fmt.Errorf("--path must be of %q, is %q", pipelinebench.Paths, p)
		}
	}
	for _, d := range f.durabilities {
		if d != string(config.Process) && d != string(config.Power) {
			return fmt.Errorf("--durability must be %q or %q, is %q", config.Process, config.Power, d)
		}
	}
	for _, r := range f.rates {
		if r < 1 || r > maxRate {
			return fmt.Errorf("--rates must be 1 to %d, has %d", maxRate, r)
		}
	}
	return nil
}

// pipelineReport is what --json prints.
type pipelineReport struct {
	Fences    int              `json:"fences"`
	Campaigns int              `json:"campaigns"`
	Runs      []pipelineResult `json:"runs"`
}

// pipelineResult is one run.
type pipelineResult struct {
	Path        string    `json:"path"`
	Durability  string    `json:"durability"`
	OfferedPerS float64   `json:"offered_fixes_per_s"`
	Load        float64   `json:"load"` // share of the highest rate that was found; 0: none was sought
	FixesPerS   float64   `json:"fixes_per_s"`
	DecisionsPS float64   `json:"decisions_per_s"`
	LatencyMS   latencyMS `json:"latency_ms"`
	AckMS       latencyMS `json:"ack_ms"` // from when the fix was due to its answer
	CPUUSPerFix float64   `json:"cpu_us_per_fix"`
	Lost        int       `json:"lost"`
	Duplicates  int       `json:"duplicates"`
	Refused     int       `json:"refused"`   // fixes that the server did not take
	Elsewhere   int       `json:"elsewhere"` // messages that came by the other path
	LateMS      float64   `json:"generator_late_ms"`
	HostTook    float64   `json:"host_took"`
	during      span
}

// latencyMS are quantiles in milliseconds.
type latencyMS struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// pipelineBench is all runs, on one data folder.
type pipelineBench struct {
	pipelineFlags
	errs   io.Writer
	home   string
	load   *told
	fcm    fcmAt
	key    string // the server's first admin key
	appKey string
	turn   int // of servers
}

func (b *pipelineBench) say(format string, args ...any) {
	fmt.Fprintf(b.errs, "bench pipeline: "+format+"\n", args...)
}

func benchPipeline(ctx context.Context, w, errs io.Writer, f pipelineFlags) (err error) {
	if err := enoughFiles(uint64(f.phones) + 1000); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(f.dir, "footfall-bench-pipeline-")
	if err != nil {
		return fmt.Errorf("temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &pipelineBench{pipelineFlags: f, errs: &lines{w: errs}, home: filepath.Join(dir, "data")}
	if b.load, err = startTold(ctx, b.errs, &b.fcm, "pipeline-load"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.load.end()) }()
	report := pipelineReport{Fences: f.fences, Campaigns: f.campaigns}
	for _, path := range f.paths {
		for _, durability := range f.durabilities {
			runs, err := b.measure(ctx, pipelinebench.Path(path), durability)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", path, durability, err)
			}
			report.Runs = append(report.Runs, runs...)
		}
	}
	if f.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(report)
	}
	return printPipeline(w, &report)
}

func printPipeline(w io.Writer, r *pipelineReport) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "path\tdurability\toffered/s\tload\tfixes/s\tdecisions/s\tp50 ms\tp99\tack p50\tp99\tCPU µs/fix\tlost\tduplicates\tgenerator late ms\thost took\t")
	for _, x := range r.Runs {
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%.2f\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t%d\t%d\t%.2f\t%.1f %%\t\n", x.Path, x.Durability, x.OfferedPerS, x.Load, x.FixesPerS,
			x.DecisionsPS, x.LatencyMS.P50, x.LatencyMS.P99, x.AckMS.P50, x.AckMS.P99, x.CPUUSPerFix, x.Lost, x.Duplicates, x.LateMS, 100*x.HostTook)
	}
	return t.Flush()
}

// measure starts a server and connects the phones, and takes the figures of one path at
// one durability.
func (b *pipelineBench) measure(ctx context.Context, path pipelinebench.Path, durability string) (runs []pipelineResult, err error) {
	args := []string{"pipeline-server", "--dir", b.home, "--durability", durability, "--fcm", b.fcm.URL}
	if b.turn == 0 {
		b.say("%d geofences, %d campaigns", b.fences, b.campaigns)
		args = append(args, fmt.Sprintf("--import=%d", b.fences), fmt.Sprintf("--campaigns=%d", b.campaigns))
	}
	var at pipelineAt
	server, err := startTold(ctx, b.errs, &at, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.end()) }()
	if b.turn == 0 {
		b.key = at.Key
		if b.appKey, err = pipelineApp(ctx, newMarketer(at.URL, b.key), &b.fcm); err != nil {
			return nil, err
		}
	}
	b.turn++
	err = b.load.ask(ctx, pipelineOrder{Do: pipelineConnect, Connect: pipelinebench.Options{
		Path: path, URL: at.URL, AppKey: b.appKey, Phones: b.phones, Prefix: fmt.Sprintf("bench-%d", b.turn), Places: b.fences, Every: b.every,
	}}, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.load.ask(ctx, pipelineOrder{Do: pipelineClose}, nil)) }()
	p := &pipelinePart{pipelineBench: b, server: server, path: path, durability: durability}
	b.say("%s, %s: %d phones", path, durability, b.phones)
	if _, err := p.run(ctx, baseRate, min(warmUpFor, b.duration), false); err != nil {
		return nil, err
	}
	rates, highest := b.rates, 0.0
	if len(rates) == 0 {
		if highest, err = p.highest(ctx); err != nil {
			return nil, err
		}
		rates = []int{baseRate, int(highest / 2), int(0.9 * highest)}
	}
	for _, rate := range rates {
		r, err := p.run(ctx, rate, b.duration, true)
		if err != nil {
			return nil, err
		}
		if highest > 0 {
			r.Load = float64(rate) / highest
			if rate != baseRate {
				r.Load = map[bool]float64{true: 0.9, false: 0.5}[rate != rates[1]]
			}
		}
		runs = append(runs, r)
	}
	return runs, p.audit(ctx, runs)
}

// pipelinePart is one path at one durability.
type pipelinePart struct {
	*pipelineBench
	server     *told
	path       pipelinebench.Path
	durability string
	runs       int
}

// run offers a rate. With measured it is profiled where that is wanted.
func (p *pipelinePart) run(ctx context.Context, rate int, d time.Duration, measured bool) (out pipelineResult, err error) {
	p.runs++
	profile := ""
	if measured && p.profile != "" {
		profile = filepath.Join(p.profile, fmt.Sprintf("%s-%s-%d", p.path, p.durability, rate))
		if err := p.server.ask(ctx, serverOrder{Do: serverProfile, Dir: profile}, nil); err != nil {
			return out, err
		}
	}
	tracing := measured && p.trace != ""
	if tracing {
		file := fmt.Sprintf("%s-%s-%s-%d", p.trace, p.path, p.durability, rate)
		if err := p.server.ask(ctx, serverOrder{Do: serverTrace, File: file}, nil); err != nil {
			return out, err
		}
	}
	machine, err := machineNow()
	if err != nil {
		return out, err
	}
	before, err := p.server.cpu()
	if err != nil {
		return out, err
	}
	var r pipelinebench.Result
	if err := p.load.ask(ctx, pipelineOrder{Do: pipelineRun, Rate: float64(rate), For: d, Seed: p.seed + uint64(p.runs)}, &r); err != nil {
		return out, err
	}
	after, err := p.server.cpu()
	if err != nil {
		return out, err
	}
	if out.HostTook, err = machine.hostTook(); err != nil {
		return out, err
	}
	if tracing {
		if err := p.server.ask(ctx, serverOrder{Do: serverTraced}, nil); err != nil {
			return out, err
		}
	}
	if profile != "" {
		if err := p.server.ask(ctx, serverOrder{Do: serverProfiled, Dir: profile}, nil); err != nil {
			return out, err
		}
	}
	out.Path, out.Durability, out.OfferedPerS = string(p.path), p.durability, float64(r.Fixes)/d.Seconds()
	out.FixesPerS = min(r.Achieved(), out.OfferedPerS)
	out.LatencyMS, out.AckMS, out.LateMS = latencyMS{ms(r.P50), ms(r.P99)}, latencyMS{ms(r.AckP50), ms(r.AckP99)}, ms(r.LateP99)
	out.CPUUSPerFix = float64((after - before).Microseconds()) / float64(max(1, r.Acked))
	out.Refused, out.Elsewhere = r.Refused, r.Elsewhere
	out.during = span{r.Begin, r.End}
	p.say("%s, %s, %d/s: %d of %d fixes taken, %.0f/s; %d of %d messages, %d by the other path; p50 %.2f ms, p99 %.2f, max %.1f; answers %.2f and %.2f; %.0f µs of CPU; the generator up to %.2f ms late, the host took %.1f %%",
		p.path, p.durability, rate, r.Acked, r.Fixes, r.Achieved(), r.Messages, r.Triggers, r.Elsewhere, out.LatencyMS.P50, out.LatencyMS.P99, ms(r.Max),
		out.AckMS.P50, out.AckMS.P99, out.CPUUSPerFix, out.LateMS, 100*out.HostTook)
	return out, nil
}

// highest is the highest rate found that is held. What is not is tried once more: a
// stretch in which the machine's host had others to serve is no limit of the server.
func (p *pipelinePart) highest(ctx context.Context) (float64, error) {
	holds := func(rate int) (bool, error) {
		for range 2 {
			r, err := p.run(ctx, rate, min(seekFor, p.duration), false)
			if err != nil {
				return false, err
			}
			if r.FixesPerS >= held*r.OfferedPerS && r.LatencyMS.P99 <= tolerable {
				return true, nil
			}
		}
		return false, nil
	}
	good, bad := 0, baseRate
	for bad <= maxRate {
		ok, err := holds(bad)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		good, bad = bad, 2*bad
	}
	if good == 0 {
		return 0, fmt.Errorf("not even %d fixes/s are held: this machine measures nothing", baseRate)
	}
	for range halvings {
		ok, err := holds((good + bad) / 2)
		if err != nil {
			return 0, err
		}
		if ok {
			good = (good + bad) / 2
		} else {
			bad = (good + bad) / 2
		}
	}
	p.say("%s, %s: the highest rate found is %d/s", p.path, p.durability, good)
	return float64(good), nil
}

// audit compares what the phones and the provider say with what the server decided, and
// puts down what was lost and doubled.
func (p *pipelinePart) audit(ctx context.Context, runs []pipelineResult) error {
	for {
		var done bool
		if err := p.server.ask(ctx, serverOrder{Do: peopleSettle}, &done); err != nil {
			return err
		}
		if done {
			break
		}
	}
	var phones pipelineArrived
	if err := p.load.ask(ctx, pipelineOrder{Do: pipelineArrivals}, &phones); err != nil {
		return err
	}
	spans := []span{{To: time.Now().Add(time.Hour)}} // all, for what no run accounts for
	for i := range runs {
		spans = append(spans, runs[i].during)
	}
	var got []decided
	if err := p.server.ask(ctx, decidedOrder{Do: pipelineDecided, Spans: spans}, &got); err != nil {
		return err
	}
	prefix := fmt.Sprintf("bench-%d-", p.turn)
	all := judgePipeline(phones, slices.DeleteFunc(got[0].Yes, func(y benchYes) bool { return !strings.HasPrefix(y.Install, prefix) }))
	for i := range runs {
		r := &runs[i]
		g := &got[i+1]
		r.DecisionsPS = float64(g.All) / r.during.To.Sub(r.during.From).Seconds()
		v := judgeDeliveries(phones.Arrivals, g.Yes)
		r.Lost, r.Duplicates = v.lost, v.duplicates
	}
	last := &runs[len(runs)-1] // what cannot be said of one run is put down for the last
	last.Lost += all.undecided
	last.Duplicates += all.unasked
	p.say("%s, %s: %d decisions of the runs for messages, of all that was tried %d; %d undecided, %d lost on the way, %d twice, %d that nobody asked for; not sent: %v",
		p.path, p.durability, sum(got[1:]), all.yes, all.undecided, all.lost, all.duplicates, all.unasked, all.unsent)
	return nil
}

func sum(all []decided) (n int) {
	for i := range all {
		n += len(all[i].Yes)
	}
	return n
}

// pipelineVerdict is what an audit found.
type pipelineVerdict struct {
	yes        int
	undecided  int            // fixes taken that entered a place, without a decision
	unasked    int            // decisions, and messages, for which no fix asked
	lost       int            // decisions that say sent, whose message has not come
	duplicates int            // messages that came more than once, each time beyond the first
	unsent     map[string]int // decisions for a message that was not sent, by state and reason
}

// judgePipeline compares all decisions for messages with all that the phones know.
func judgePipeline(phones pipelineArrived, yes []benchYes) pipelineVerdict {
	v := judgeDeliveries(phones.Arrivals, yes)
	byInstall, known := map[string]int{}, map[string]bool{}
	for _, y := range yes {
		byInstall[y.Install]++
		known[y.Delivery] = true
	}
	for install, n := range phones.Entered {
		v.undecided += max(0, n-byInstall[install])
		v.unasked += max(0, byInstall[install]-n)
		delete(byInstall, install)
	}
	for _, n := range byInstall {
		v.unasked += n
	}
	for id := range phones.Arrivals {
		if !known[id] {
			v.unasked++
		}
	}
	return v
}

// judgeDeliveries compares some decisions with what arrived.
func judgeDeliveries(arrivals map[string]pipelinebench.Arrival, yes []benchYes) pipelineVerdict {
	v := pipelineVerdict{yes: len(yes), unsent: map[string]int{}}
	for _, y := range yes {
		a, came := arrivals[y.Delivery]
		v.duplicates += max(0, a.Times-1)
		switch {
		case y.State == engage.Sent && !came:
			v.lost++
		case y.State != engage.Sent:
			v.unsent[strings.TrimSpace(fmt.Sprintf("%s %s %s", y.State, y.Channel, y.Reason))]++
		}
	}
	return v
}
