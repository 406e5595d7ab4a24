// Command footfall is the engagement server and the tool that talks to it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailed = 1 // it did not work; the message says why
	exitUsage  = 2 // the command line or the configuration is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// usageError is a mistake in the command line or the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func run(ctx context.Context, args []string, env func(string) string, out, errs io.Writer) int {
	c := &cli{env: env, out: out, errs: errs}
	root := c.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(errs, "footfall:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// cli is what the commands share.
type cli struct {
	env       func(string) string
	out, errs io.Writer
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "footfall",
		Short: "Engagement for shopping apps: the right person, at the right place, once",
		Long: `footfall runs the Footfall server and talks to a running one.

  footfall serve          starts the server; without any configuration it keeps its
                          data in ./data, listens on http://127.0.0.1:8080 and prints
                          the first admin key once
  footfall check-config   says what is wrong with a configuration before it is used
  footfall keys           makes, lists and revokes server keys
  footfall campaigns      makes campaigns, has them reviewed, launches, triggers and ends them
  footfall stop           stops everything at once; footfall go-on ends it
  footfall audit          says who changed what of the configuration
  footfall places         imports places from a file and exports them
  footfall items          sees and changes catalogues and their items, which messages show
  footfall redemptions    redeems codes as a till does, takes them back and searches them
  footfall import         imports people, events, purchases, items and push tokens that
                          another system has collected
  footfall uploads        follows and cancels such imports
  footfall test-send      sends one push to one phone and shows the provider's answer
  footfall live-activities  starts, updates and ends Live Activities on iPhones
  footfall channels       says how the push credentials do, and what waits for them
  footfall credentials    sees, exchanges and removes the push credentials of apps
  footfall webhooks       makes, tests and looks after webhooks and their dead letters
  footfall write-keys     makes and revokes the keys of websites, servers and tills
  footfall dropped        says what was answered as taken and had no effect, and why
  footfall attributes     says what persons' attributes are, and of what type
  footfall people         shows, exports and erases persons, and says who looked
  footfall explain        says why somebody did or did not get a campaign
  footfall replay         runs a recorded trace over fences, without a server

Commands that talk to a server take --server and a key by --key-file or the
variable FOOTFALL_KEY. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.`,
		Args:          nothing,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
	})
	root.AddCommand(c.serve(), c.checkConfig(), c.keys(), c.campaigns(), c.stop(), c.goOn(), c.audit(), c.offers(), c.redemptions(), c.items(), c.places(), c.importing(), c.uploads(), c.testSend(), c.liveActivities(), c.channels(), c.credentials(), c.webhooks(), c.writeKeys(), c.dropped(), c.attributes(), c.limits(), c.people(), c.explain(), c.decisions(), c.quarantine(), c.replay(), c.versionCmd())
	return root
}

func (c *cli) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: nothing,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintln(c.out, "footfall", version())
			return nil
		},
	}
}

// version names the build: the module's version, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	if revision == "" {
		return "dev"
	}
	return "dev-" + revision + dirty
}
