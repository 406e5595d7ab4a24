package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/server/lab/flaky"
)

// flaky is a bad network in front of a running server, for the tests of SDKs.
func (c *cli) flaky() *cobra.Command {
	var o flaky.Options
	cmd := &cobra.Command{
		Use: "flaky", Short: "Be a bad network in front of a server", Args: noArgs,
		Long: `Pass connections on to a server and cut them at random moments: resets and ends in
the middle of a frame, requests or replies that are lost before them, delays, and
refused connections. After --cuts of them the network is good.

It prints one JSON object per line: first {"listen":"host:port"}, then, when the last
cut was made, and at the end, the counts of what it did. It runs until interrupted.`,
		Example: `  footfall-lab flaky --target 127.0.0.1:8080 --cuts 1000 --seed 7`,
	}
	f := cmd.Flags()
	f.StringVar(&o.Listen, "listen", "127.0.0.1:0", "where phones connect; port 0 takes a free one")
	f.StringVar(&o.Target, "target", "127.0.0.1:8080", "host:port of the server")
	f.IntVar(&o.Cuts, "cuts", 1000, "connections to cut or refuse")
	f.Uint64Var(&o.Seed, "seed", 1, "draws what happens to each connection")
	f.IntVar(&o.MaxBytes, "max-bytes", 16<<10, "a connection is cut after so many bytes at the latest, most far earlier")
	f.DurationVar(&o.MaxTime, "max-time", 0, "likewise after so long (default 200ms)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.Cuts < 0 || o.MaxBytes < 0 || o.MaxTime < 0 {
			return usageError{errors.New("--cuts, --max-bytes and --max-time must not be negative")}
		}
		last := make(chan struct{}, 1)
		o.OnCut = func(n int) {
			if n == o.Cuts {
				last <- struct{}{}
			}
		}
		p, err := flaky.New(cmd.Context(), o)
		if err != nil {
			return err
		}
		out := json.NewEncoder(c.out)
		if err := out.Encode(map[string]string{"listen": p.Addr()}); err != nil {
			return fmt.Errorf("say where it listens: %w", err)
		}
		ended := make(chan error, 1)
		go func() { ended <- p.Run(cmd.Context()) }()
		for {
			select {
			case <-last:
				if err := out.Encode(p.Counts()); err != nil {
					return fmt.Errorf("write the counts: %w", err)
				}
			case err := <-ended:
				if err != nil {
					return err
				}
				return out.Encode(p.Counts())
			}
		}
	}
	return cmd
}
