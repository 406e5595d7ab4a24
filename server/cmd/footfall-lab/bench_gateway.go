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

	"github.com/footfall-engage/footfall/server/lab/gatewaybench"
)

// gatewayFlags of `bench gateway`.
type gatewayFlags struct {
	benchFlags
	connections int
	rate        float64
	idle        int
	fences      int
	bare        bool
}

func benchGatewayCommand() *cobra.Command {
	var f gatewayFlags
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Measure what a connection and a message cost the server, beside a bare websocket server",
		Long: `Runs the real server (embedded log, SQLite, default settings) and a bare gorilla
server, each in a process of its own, under the same load from a third process, all
on the loopback and in a temporary folder:

  idle       --idle phones say hello, register, agree to precise positions and fall
             silent. rss_bytes_per_connection is the growth of the process's resident
             memory since before they came, live_bytes_per_connection that of its heap
             after a collection. Both readings follow a collection that gives free
             memory back to the system, in either server.
  telemetry  the first --connections of them send --rate messages a second each for
             --duration: batch frames of one fix, about 150 bytes, among --fences
             geofences. cpu_us_per_message is user and system time of the whole server
             process (from /proc) by messages acknowledged; ack_p50_ms and ack_p99_ms
             run from right before a message is written until its ack is read.
  saturation the same phones have 8 messages each under way all the time, for
             --duration: messages_per_s.

connections is how many were open while memory was measured. The generator shares the
machine with the server: messages_per_s and the acks have it in them, CPU and memory
have not. bare has the same figures of a server that reads a message and writes as
many bytes as an ack: compare ratios to it.

host_took is the share of the machine's CPU time that its host kept for others during
the telemetry (steal, /proc/stat), of a virtual machine. The acks waited for that, too,
and a server that falls behind does more at each wake-up: runs are to be compared where
it is about the same, and the acks to be judged where it is next to nothing.`,
		Example: "  footfall-lab bench gateway --json\n  footfall-lab bench gateway --connections 500 --idle 1000 --fences 10000 --duration 3s",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.connections < 1 || f.idle < f.connections || f.idle > 19_000 || f.fences < 0 || !(f.rate > 0 && f.rate <= 100) {
				return usageError{errors.New("--connections must be positive, --idle not below it and at most 19000, --fences not negative, --rate above 0 and at most 100")}
			}
			if err := f.checkDuration(); err != nil {
				return err
			}
			return measureGateway(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), f)
		},
	}
	flags := cmd.Flags()
	f.add(cmd, "the server's CPU, allocation and heap profiles; allocs-before.pprof is the base of allocs.pprof")
	f.addDuration(cmd, 10*time.Second, "the telemetry, and of the saturation")
	f.addTrace(cmd, "the telemetry")
	flags.IntVar(&f.connections, "connections", 2000, "phones that send")
	flags.Float64Var(&f.rate, "rate", 10, "messages a second of each")
	flags.IntVar(&f.idle, "idle", 10_000, "phones that are connected while memory is measured")
	flags.IntVar(&f.fences, "fences", 100_000, "geofences")
	flags.BoolVar(&f.bare, "bare", true, "measure the bare server too")
	return cmd
}

// gatewayFigures are those of one server.
type gatewayFigures struct {
	Connections            int     `json:"connections"`
	RSSBytesPerConnection  float64 `json:"rss_bytes_per_connection"`
	LiveBytesPerConnection float64 `json:"live_bytes_per_connection"`
	CPUUSPerMessage        float64 `json:"cpu_us_per_message"`
	MessagesPerS           float64 `json:"messages_per_s"` // at saturation
	AckP50MS               float64 `json:"ack_p50_ms"`
	AckP99MS               float64 `json:"ack_p99_ms"`
	HostTook               float64 `json:"host_took"` // 0 to 1, of the machine's CPU time during the telemetry
}

// gatewayReport is what --json prints.
type gatewayReport struct {
	gatewayFigures
	Bare *gatewayFigures `json:"bare"`
}

func measureGateway(ctx context.Context, w, errs io.Writer, f gatewayFlags) (err error) {
	if err := enoughFiles(uint64(f.idle) + 500); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(f.dir, "footfall-bench-gateway-")
	if err != nil {
		return fmt.Errorf("temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &gatewayBench{gatewayFlags: f, errs: &lines{w: errs}, data: filepath.Join(dir, "data")}
	report := gatewayReport{}
	if f.bare {
		b.say("the bare server")
		figures, err := b.measure(ctx, "", "gateway-bare")
		if err != nil {
			return err
		}
		report.Bare = &figures
	}
	b.say("the gateway: %d geofences", f.fences)
	var made gatewayMade
	if err := b.once(ctx, &made, "gateway-server", "--dir", b.data, fmt.Sprintf("--import=%d", f.fences)); err != nil {
		return err
	}
	if report.gatewayFigures, err = b.measure(ctx, made.AppKey, "gateway-server", "--dir", b.data); err != nil {
		return err
	}
	if f.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(report)
	}
	return printGateway(w, &report)
}

func printGateway(w io.Writer, r *gatewayReport) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "server\tconnections\tRSS B/connection\tlive B\tCPU µs/message\tmessages/s at most\tack p50 ms\tp99\thost took\t")
	row := func(name string, g *gatewayFigures) {
		fmt.Fprintf(t, "%s\t%d\t%.0f\t%.0f\t%.1f\t%.0f\t%.2f\t%.2f\t%.1f %%\t\n", name, g.Connections, g.RSSBytesPerConnection,
			g.LiveBytesPerConnection, g.CPUUSPerMessage, g.MessagesPerS, g.AckP50MS, g.AckP99MS, 100*g.HostTook)
	}
	row("footfall", &r.gatewayFigures)
	if r.Bare != nil {
		row("bare", r.Bare)
	}
	return t.Flush()
}

// gatewayBench is one run.
type gatewayBench struct {
	gatewayFlags
	errs io.Writer
	data string // the server's folder
}

func (b *gatewayBench) say(format string, args ...any) {
	fmt.Fprintf(b.errs, "bench gateway: "+format+"\n", args...)
}

// Warm-up and bounds of a run.
const (
	gatewayWarmUp = 2 * time.Second
	gatewaySettle = 2 * time.Second // after what was busy, for what it left behind
	// gatewayIdle is how long the phones are idle before memory is read: the log's
	// cache of its newest records goes after ten seconds.
	gatewayIdle  = 12 * time.Second
	gatewaySpare = 3 * time.Minute // that a step may take beyond its duration
)

// once runs a server that says one thing and ends.
func (b *gatewayBench) once(ctx context.Context, into any, args ...string) error {
	p, err := startTold(ctx, b.errs, into, args...)
	if err != nil {
		return err
	}
	return p.end()
}

// measure starts a server and the load, and takes its figures.
func (b *gatewayBench) measure(ctx context.Context, appKey string, args ...string) (out gatewayFigures, err error) {
	var at gatewayAt
	server, err := startTold(ctx, b.errs, &at, args...)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, server.end()) }()
	var ready struct{}
	load, err := startTold(ctx, b.errs, &ready, "gateway-load")
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, load.end()) }()

	before, err := server.memory(ctx)
	if err != nil {
		return out, err
	}
	err = load.ask(ctx, loadOrder{Do: loadConnect, Connect: gatewaybench.Options{
		URL: at.URL, AppKey: appKey, Phones: b.idle, Prefix: "bench",
	}}, nil)
	if err != nil {
		return out, err
	}
	if err := pauseFor(ctx, min(gatewayIdle, 2*b.duration)); err != nil {
		return out, err
	}
	after, err := server.memory(ctx)
	if err != nil {
		return out, err
	}
	out.Connections = b.idle
	out.RSSBytesPerConnection = float64(after.RSS-before.RSS) / float64(b.idle)
	out.LiveBytesPerConnection = float64(after.Live-before.Live) / float64(b.idle)
	b.say("%d connected: RSS %d to %d KB; of these the live heap %d to %d, its spans' spare room %d to %d, stacks %d to %d, the runtime's own %d to %d",
		b.idle, before.RSS>>10, after.RSS>>10, before.Live>>10, after.Live>>10, before.Spare>>10, after.Spare>>10,
		before.Stacks>>10, after.Stacks>>10, before.Rest>>10, after.Rest>>10)
	if appKey != "" && b.profile != "" {
		if err := server.ask(ctx, serverOrder{Do: serverHeap, Dir: b.profile}, nil); err != nil {
			return out, err
		}
	}

	if err := load.ask(ctx, loadOrder{Do: loadKeep, Phones: b.connections}, nil); err != nil {
		return out, err
	}
	if err := pauseFor(ctx, gatewaySettle); err != nil {
		return out, err
	}
	run := func(do string, d time.Duration) (r gatewaybench.Result, err error) {
		return r, load.ask(ctx, loadOrder{Do: do, Rate: b.rate, For: d}, &r)
	}
	if _, err := run(loadTelemetry, min(gatewayWarmUp, b.duration)); err != nil {
		return out, err
	}
	profiling := appKey != "" && b.profile != ""
	if profiling {
		if err := server.ask(ctx, serverOrder{Do: serverProfile, Dir: b.profile}, nil); err != nil {
			return out, err
		}
	}
	tracing := appKey != "" && b.trace != ""
	if tracing {
		if err := server.ask(ctx, serverOrder{Do: serverTrace, File: b.trace}, nil); err != nil {
			return out, err
		}
	}
	machine, err := machineNow()
	if err != nil {
		return out, err
	}
	cpu, err := server.cpu()
	if err != nil {
		return out, err
	}
	r, err := run(loadTelemetry, b.duration)
	if err != nil {
		return out, err
	}
	if out.HostTook, err = machine.hostTook(); err != nil {
		return out, err
	}
	used, err := server.cpu()
	if err != nil {
		return out, err
	}
	if tracing {
		if err := server.ask(ctx, serverOrder{Do: serverTraced}, nil); err != nil {
			return out, err
		}
	}
	if profiling {
		if err := server.ask(ctx, serverOrder{Do: serverProfiled, Dir: b.profile}, nil); err != nil {
			return out, err
		}
	}
	out.CPUUSPerMessage = float64((used - cpu).Microseconds()) / float64(max(1, r.Messages))
	out.AckP50MS, out.AckP99MS = ms(r.AckP50), ms(r.AckP99)
	b.say("telemetry: %d messages of %.0f bytes in %.1f s, %d held back, %d refused; the generator was up to %v late (p99)",
		r.Messages, r.BytesEach, r.Elapsed.Seconds(), r.Held, r.Refused, r.LateP99.Round(time.Microsecond))
	if r.Messages <= r.Refused { // some may be, where the machine has too much to do
		return out, fmt.Errorf("%d messages were acknowledged and %d refused: this measures nothing", r.Messages, r.Refused)
	}
	if r, err = run(loadSaturate, b.duration); err != nil {
		return out, err
	}
	out.MessagesPerS = float64(r.Messages) / r.Elapsed.Seconds()
	b.say("saturation: %d messages in %.1f s, %d refused, ack p50 %v p99 %v", r.Messages, r.Elapsed.Seconds(), r.Refused,
		r.AckP50.Round(time.Microsecond), r.AckP99.Round(time.Microsecond))
	return out, nil
}

func pauseFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
