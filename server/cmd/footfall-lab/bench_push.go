package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/channels"
)

// pushFlags of `bench push`.
type pushFlags struct {
	benchFlags
	n    int
	runs int
}

// pushLatencies are those of the simulated providers.
var pushLatencies = []time.Duration{0, 50 * time.Millisecond}

func benchPushCommand() *cobra.Command {
	var f pushFlags
	cmd := &cobra.Command{
		Use:   "push",
		Short: "Measure pushes through deliver to simulated providers, beside a bare HTTP/2 loop",
		Long: `Queues --pushes rendered sends in a ledger (SQLite, as the server has it) and lets
deliver send them through the real senders to APNs' and FCM's simulators, for a
provider that answers at once and one that takes 50 ms. The simulators, deliver and
the bare loop are a process each.

per_s is from deliver's start until the last outcome is recorded: each push is read
from the ledger, its attempt recorded, made, its answer recorded, the outcome told
(to nobody) and that recorded. Consent, owners and the event log are left out.
p99_ms is that of the senders' attempts, cpu_us the user and system time of the whole
process per push.

bare_per_s is of a loop of golang.org/x/net/http2 that POSTs the same body over as
many connections, in the same run to the same simulator, with as many streams under
way as deliver may have. It runs before and after deliver, and the better one counts.
The processes share the machine: compare ratios. Rate limits are off.`,
		Example: "  footfall-lab bench push --json\n  footfall-lab bench push --pushes 5000 --runs 3",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.n < 100 || f.n > 1_000_000 || f.runs < 1 {
				return usageError{errors.New("--pushes must be 100 to 1000000, --runs at least 1")}
			}
			return benchPush(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), f)
		},
	}
	flags := cmd.Flags()
	f.add(cmd, "CPU and allocation profiles of deliver's process")
	flags.IntVar(&f.n, "pushes", 20_000, "pushes of each run")
	flags.IntVar(&f.runs, "runs", 1, "runs of each; the one with the median ratio counts")
	return cmd
}

// pushFigures are those of one provider at one latency.
type pushFigures struct {
	PerS      float64 `json:"per_s"`
	BarePerS  float64 `json:"bare_per_s"`
	P99MS     float64 `json:"p99_ms"`
	BareP99MS float64 `json:"bare_p99_ms"`
	CPUUS     float64 `json:"cpu_us"`
	BareCPUUS float64 `json:"bare_cpu_us"`
}

func (f *pushFigures) ratio() float64 { return f.PerS / f.BarePerS }

func benchPush(ctx context.Context, w, errs io.Writer, f pushFlags) error {
	errs = &lines{w: errs} // several processes write to it at once
	report := map[channels.Provider]map[string]pushFigures{}
	for _, provider := range []channels.Provider{channels.APNs, channels.FCM} {
		report[provider] = map[string]pushFigures{}
		for _, latency := range pushLatencies {
			var runs []pushFigures
			for range f.runs {
				got, err := pushRun(ctx, errs, f, provider, latency)
				if err != nil {
					return fmt.Errorf("%s at %v: %w", provider, latency, err)
				}
				at := 0
				for at < len(runs) && runs[at].ratio() < got.ratio() {
					at++
				}
				runs = append(runs[:at], append([]pushFigures{got}, runs[at:]...)...)
			}
			report[provider][fmt.Sprintf("%dms", latency.Milliseconds())] = runs[(len(runs)-1)/2]
		}
	}
	if f.json {
		return json.NewEncoder(w).Encode(report)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "provider\tlatency\tpushes/s\tbare/s\tratio\tp99 ms\tbare\tCPU µs\tbare\t\n")
	for _, provider := range []channels.Provider{channels.APNs, channels.FCM} {
		for _, latency := range pushLatencies {
			x := report[provider][fmt.Sprintf("%dms", latency.Milliseconds())]
			fmt.Fprintf(t, "%s\t%v\t%.0f\t%.0f\t%.2f\t%.1f\t%.1f\t%.0f\t%.0f\t\n",
				provider, latency, x.PerS, x.BarePerS, x.ratio(), x.P99MS, x.BareP99MS, x.CPUUS, x.BareCPUUS)
		}
	}
	return t.Flush()
}

// pushRun measures one provider at one latency.
func pushRun(ctx context.Context, errs io.Writer, f pushFlags, provider channels.Provider, latency time.Duration) (out pushFigures, err error) {
	dir, err := os.MkdirTemp(f.dir, "footfall-bench-push-")
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var at pushAt
	sim, err := startTold(ctx, errs, &at, "push-sim", "--provider", string(provider), "--latency", latency.String())
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, sim.end()) }()
	order := pushOrder{At: at, N: f.n, Dir: dir}
	if f.profile != "" {
		order.Profile = filepath.Join(f.profile, fmt.Sprintf("%s-%dms", provider, latency.Milliseconds()))
	}
	for _, name := range []string{"push-bare", "push-deliver", "push-bare"} {
		p, err := startTold(ctx, errs, nil, name)
		if err != nil {
			return out, err
		}
		var got pushGot
		err = errors.Join(p.ask(ctx, order, &got), p.end())
		if err != nil {
			return out, err
		}
		switch {
		case name == "push-deliver":
			out.PerS, out.P99MS, out.CPUUS = got.PerS, got.P99MS, got.CPUUS
		case got.PerS > out.BarePerS:
			out.BarePerS, out.BareP99MS, out.BareCPUUS = got.PerS, got.P99MS, got.CPUUS
		}
		fmt.Fprintf(errs, "%s at %v, %s: %.0f/s, p99 %.1f ms, %.0f µs of CPU\n", provider, latency, name, got.PerS, got.P99MS, got.CPUUS)
	}
	return out, nil
}
