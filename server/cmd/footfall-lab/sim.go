package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/lab"
)

// simOptions are the flags of sim.
type simOptions struct {
	Server   string
	Phones   int
	Rate     float64 // items per second, of all phones; 0: people walk instead
	Speed    float64 // of walking
	Duration time.Duration
	Drain    time.Duration // patience for the last acknowledgements
	Seed     uint64
	Android  string // public app keys
	IOS      string
	KeyFile  string
	Prefix   string // of install ids
	Acked    string // file; empty means none
}

func (c *cli) sim() *cobra.Command {
	var o simOptions
	cmd := &cobra.Command{
		Use: "sim", Short: "Put load on a running server", Args: noArgs,
		Long: `Run many phones, each a real client of the SDK protocol with its own connection,
against a running server, and print what became of their items as one JSON object.
Phones reconnect by themselves and repeat what was not acknowledged: the server may
be restarted meanwhile.

The app keys are given by --app-key and --app-key-ios. Without them sim creates an
app per platform and the town's places through the API, for which it needs a server
key of the role admin, in the variable FOOTFALL_KEY or a file (--key-file).

With --rate, phones stay connected and send that many items per second together:
nine fixes, then an event. Without it they belong to people who walk the town.`,
		Example: `  FOOTFALL_KEY=ffk_… footfall-lab sim --phones 1000 --rate 5000 --duration 60s
  footfall-lab sim --server https://sdk.example.com --app-key ffa_… --app-key-ios ffa_… --phones 200 --duration 10m`,
	}
	f := cmd.Flags()
	f.StringVar(&o.Server, "server", "http://127.0.0.1:8080", "address of the server")
	f.IntVar(&o.Phones, "phones", 100, fmt.Sprintf("phones, 1 to %d", lab.MaxPeople))
	f.Float64Var(&o.Rate, "rate", 0, "items per second of all phones together; 0: people walk")
	f.Float64Var(&o.Speed, "speed", defaultSpeed, fmt.Sprintf("how many times faster than in life people walk, up to %d", maxSpeed))
	f.DurationVar(&o.Duration, "duration", 30*time.Second, "how long; then the last acknowledgements are waited for")
	f.DurationVar(&o.Drain, "drain", 30*time.Second, "how long they are waited for")
	f.Uint64Var(&o.Seed, "seed", 1, "of the town")
	f.StringVar(&o.Android, "app-key", "", "public key of the app for Android")
	f.StringVar(&o.IOS, "app-key-ios", "", "public key of the app for iOS")
	f.StringVar(&o.KeyFile, "key-file", "", "file that holds a server key (default: the variable FOOTFALL_KEY)")
	f.StringVar(&o.Prefix, "install-prefix", "", "begins every install's id (default: one of this run)")
	f.StringVar(&o.Acked, "acked", "", "file for the acknowledged items, one JSON object per install and line")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.validate(); err != nil {
			return usageError{err}
		}
		a, report, err := simulate(cmd.Context(), o, c.errs)
		if err != nil {
			return err
		}
		if o.Acked != "" {
			if err := writeAcked(o.Acked, report); err != nil {
				return err
			}
		}
		if err := json.NewEncoder(c.out).Encode(a); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		if a.Undrained != "" {
			return errors.New(a.Undrained)
		}
		return nil
	}
	return cmd
}

func (o *simOptions) validate() error {
	switch {
	case o.Phones < 1 || o.Phones > lab.MaxPeople:
		return fmt.Errorf("--phones must be 1 to %d, is %d", lab.MaxPeople, o.Phones)
	case !(o.Rate >= 0):
		return fmt.Errorf("--rate must not be negative, is %v", o.Rate)
	case !(o.Speed > 0 && o.Speed <= maxSpeed):
		return fmt.Errorf("--speed must be above 0, at most %d, is %v", maxSpeed, o.Speed)
	case o.Duration <= 0:
		return fmt.Errorf("--duration must be above 0, is %v", o.Duration)
	case (o.Android == "") != (o.IOS == ""):
		return errors.New("--app-key and --app-key-ios go together")
	}
	return nil
}

// accounting is what sim prints.
type accounting struct {
	Phones    int            `json:"phones"`
	RanS      float64        `json:"ran_s"`
	Sent      int            `json:"sent"`  // items written at least once
	Acked     int            `json:"acked"` // items that the server has durably
	Refused   map[string]int `json:"refused"`
	Dropped   int            `json:"dropped"` // items that a full queue lost
	Pending   int            `json:"pending"` // items that nobody has answered
	Held      int            `json:"held"`    // items that were not sent, because the server was behind
	PerSecond float64        `json:"acked_per_s"`
	Shown     map[string]int `json:"shown"` // messages by their way
	Doubled   int            `json:"duplicates"`
	AckMS     quantiles      `json:"ack_ms"` // from an item written to its acknowledgement
	Undrained string         `json:"undrained,omitempty"`
}

// simulate runs the phones. The error is that nothing could be run.
func simulate(ctx context.Context, o simOptions, progress io.Writer) (accounting, *lab.Report, error) {
	town, err := lab.NewTown(lab.TownOptions{Seed: o.Seed, People: o.Phones, TimeZone: "Europe/Amsterdam"})
	if err != nil {
		return accounting{}, nil, err
	}
	keys := map[sdkpb.Platform]string{
		sdkpb.Platform_PLATFORM_ANDROID: o.Android, sdkpb.Platform_PLATFORM_IOS: o.IOS,
	}
	if o.Android == "" {
		if keys, err = provide(ctx, o, town); err != nil {
			return accounting{}, nil, err
		}
	}
	if o.Prefix == "" {
		o.Prefix = fmt.Sprintf("sim-%d", time.Now().UnixMilli())
	}
	options := lab.CrowdOptions{
		Endpoint: strings.TrimSuffix(o.Server, "/"), AppKeys: keys, InstallPrefix: o.Prefix, Speed: o.Speed, Logger: warnings(progress),
	}
	if o.Rate > 0 {
		options.Load = &lab.Load{Rate: o.Rate}
	}
	crowd, err := lab.NewCrowd(town, options)
	if err != nil {
		return accounting{}, nil, err
	}
	crowdCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- crowd.Run(crowdCtx) }()
	began := time.Now()
	timer := time.NewTimer(o.Duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	ran := time.Since(began)
	drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Drain)
	defer cancel()
	undrained := crowd.Drain(drainCtx)
	stop()
	if err := <-ended; err != nil {
		return accounting{}, nil, err
	}
	r := crowd.Report()
	return account(&r, ran, undrained), &r, nil
}

// provide creates what phones need: apps, and places to have regions of.
func provide(ctx context.Context, o simOptions, town *lab.Town) (map[sdkpb.Platform]string, error) {
	key := os.Getenv("FOOTFALL_KEY")
	if o.KeyFile != "" {
		b, err := os.ReadFile(o.KeyFile)
		if err != nil {
			return nil, usageError{fmt.Errorf("read key file: %w", err)}
		}
		key = strings.TrimSpace(string(b))
	}
	if key == "" {
		return nil, usageError{errors.New("give --app-key and --app-key-ios, or a server key by FOOTFALL_KEY or --key-file")}
	}
	m := newMarketer(o.Server, key)
	keys := map[sdkpb.Platform]string{}
	for platform, name := range map[sdkpb.Platform]string{sdkpb.Platform_PLATFORM_ANDROID: "android", sdkpb.Platform_PLATFORM_IOS: "ios"} {
		a, err := m.app(ctx, "sim-"+name, map[string]any{"name": "Load by footfall-lab", "platform": name})
		if err != nil {
			return nil, err
		}
		keys[platform] = a.Key
	}
	return keys, m.places(ctx, town, o.Speed)
}

func account(r *lab.Report, ran time.Duration, undrained error) accounting {
	sum := func(by map[sdkproto.Kind]int) (n int) {
		for _, k := range by {
			n += k
		}
		return n
	}
	ms := func(q float64) float64 { return float64(r.Acks.Quantile(q)) / float64(time.Millisecond) }
	a := accounting{
		Phones: len(r.Phones), RanS: ran.Seconds(), Sent: sum(r.Totals.Sent), Acked: sum(r.Totals.Acked),
		Refused: maps.Clone(r.Totals.RefusedBy), Dropped: sum(r.Totals.Dropped), Held: r.Held,
		Shown: maps.Clone(r.Totals.Shown), Doubled: r.Totals.Duplicates,
		AckMS: quantiles{P50: ms(0.50), P95: ms(0.95), P99: ms(0.99), N: r.Acks.Count()},
	}
	a.PerSecond = float64(a.Acked) / a.RanS
	for i := range r.Phones {
		a.Pending += r.Phones[i].Pending
	}
	if undrained != nil {
		a.Undrained = undrained.Error()
	}
	return a
}

// ackedLine is a line of the file of acknowledged items.
type ackedLine struct {
	Install string      `json:"install"`
	Acked   [][2]uint64 `json:"acked"` // sorted pairs of first and last
}

// intervals of the items that the phone had acknowledged.
func intervals(p *lab.PhoneReport) [][2]uint64 {
	var out [][2]uint64
	for seq := range p.Acked() {
		if n := len(out); n > 0 && out[n-1][1]+1 == seq {
			out[n-1][1] = seq
		} else {
			out = append(out, [2]uint64{seq, seq})
		}
	}
	return out
}

func writeAcked(path string, r *lab.Report) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write acknowledged items: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	for i := range r.Phones {
		if err := enc.Encode(ackedLine{r.Phones[i].Install, slices.Clip(intervals(&r.Phones[i]))}); err != nil {
			return fmt.Errorf("write acknowledged items: %w", err)
		}
	}
	return w.Flush()
}
