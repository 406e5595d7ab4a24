// Command footfall-lab shows the server at work and puts it to the test: a
// synthetic town whose phones speak the real protocol, simulated push providers
// and weather, an audit of what was lost or doubled, and a load generator. None
// of it is in the footfall binary.
//
// Reading order: demo.go (the demo from start to report), place.go (where its log
// and its documents are), host.go (its server), process.go and killer.go (who dies
// meanwhile), world.go (the simulators), marketer.go (places, campaigns and apps,
// through the HTTP API), audit.go and latency.go (what the evidence says, pure),
// report.go (the JSON object), sabotage.go (proof that the audit finds what is
// wrong), replay.go (a recorded demo on another log and store), sim.go (load
// against a running server), flaky.go (a bad network), bench.go (measurements of
// parts).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailed = 1 // it did not work, or the audit found something lost or doubled
	exitUsage  = 2 // the command line is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// usageError is a mistake in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	c := &cli{env: os.Getenv, in: os.Stdin, out: out, errs: errs}
	return c.run(ctx, args)
}

func (c *cli) run(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(args)
	root.SetOut(c.out)
	root.SetErr(c.errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(c.errs, "footfall-lab:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// cli is what the commands share.
type cli struct {
	env       func(string) string
	in        io.Reader // only of the hidden commands: its end is theirs
	out, errs io.Writer
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "footfall-lab",
		Short: "Footfall at work in a synthetic town, and under load",
		Long: `footfall-lab runs the Footfall server together with a synthetic town and
simulated push providers and weather, and audits what came of it.

  footfall-lab demo   the real server with a town of people whose phones speak the
                      real protocol; the live page is at http://localhost:8080
  footfall-lab replay plays what a demo has recorded on another log and store, and
                      compares what comes of it
  footfall-lab sim    puts load on a running server with many phones
  footfall-lab flaky  is a bad network in front of a server, for the tests of SDKs
  footfall-lab bench  measures parts of the server

Exit codes: 0 done, 1 failed or something was lost, doubled or different, 2 wrong
usage.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
	})
	root.AddCommand(c.demo(), c.replay(), c.sim(), c.flaky(), benchCommand(), c.runNATS(), c.runServer())
	return root
}

// noArgs refuses what is neither a flag nor a command.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %q?", near[0])
	}
	return usageError{fmt.Errorf("%q is unknown to %s%s; see '%s --help'", args[0], cmd.CommandPath(), hint, cmd.CommandPath())}
}
