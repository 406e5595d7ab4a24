package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
)

// settings adds a flag per setting and returns how to read the configuration:
// defaults, then the file, then the environment, then flags.
func (c *cli) settings(cmd *cobra.Command) func() (config.Config, error) {
	file := cmd.Flags().String("config", "", "configuration file (YAML); the environment and flags override it")
	given := map[string]*string{}
	for _, s := range config.Settings() {
		if s.Flag == "" {
			continue
		}
		def := s.Default
		if def == "" {
			def = "none"
		}
		given[s.Path] = cmd.Flags().String(s.Flag, "", fmt.Sprintf("%s (%s; default %s)", s.Help, s.Env, def))
	}
	return func() (config.Config, error) {
		conf, err := config.Load(*file, c.env)
		if err != nil {
			return conf, usageError{err}
		}
		var errs []error
		for _, s := range config.Settings() {
			if s.Flag != "" && cmd.Flags().Changed(s.Flag) {
				errs = append(errs, conf.Set(s.Path, *given[s.Path]))
			}
		}
		if err := errors.Join(errs...); err != nil {
			return conf, usageError{err}
		}
		if err := conf.Validate(); err != nil {
			return conf, usageError{err}
		}
		return conf, nil
	}
}

func (c *cli) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: nothing,
		Long: `Run the server until it is interrupted.

Without any configuration it keeps its log and store in ./data, listens on
http://127.0.0.1:8080 and, on the first start, prints an admin key, once.
Settings come from a file (--config), then from the environment, then from flags.
Secrets are never taken from flags.`,
	}
	load := c.settings(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		conf, err := load()
		if err != nil {
			return err
		}
		log := newLogger(c.errs, conf.Log)
		for _, w := range conf.Warnings() {
			log.Warn("configuration", "warning", w)
		}
		if c.env("GOGC") == "" { // who sets that knows better
			debug.SetGCPercent(conf.GCPercent)
		}
		a, err := app.New(cmd.Context(), app.Options{Config: conf, Logger: log, Version: version()})
		if e, ok := errors.AsType[*engage.Error](err); ok && e.Code == engage.Invalid {
			return usageError{err} // a setting that only the log or the store could judge
		}
		if err != nil {
			return err
		}
		if key := a.FirstKey(); key != "" {
			fmt.Fprintf(c.out, "first admin key, shown only now: %s\n", key.Reveal())
		}
		fmt.Fprintf(c.out, "footfall %s at %s\n", version(), a.URL())
		return a.Run(cmd.Context())
	}
	return cmd
}

func (c *cli) checkConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check-config", Short: "Say what is wrong with a configuration", Args: nothing,
		Long: `Read a configuration as 'footfall serve' would, with the files that it names (keys,
credentials, certificates), and say what is wrong with them. Nothing is started and
nothing is written. --example prints an annotated example.`,
	}
	example := cmd.Flags().Bool("example", false, "print an annotated example configuration")
	load := c.settings(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		if *example {
			fmt.Fprint(c.out, config.Example())
			return nil
		}
		conf, err := load()
		if err != nil {
			return err
		}
		if err := config.CheckEnviron(os.Environ(), "FOOTFALL_KEY", "FOOTFALL_SERVER"); err != nil {
			return usageError{err}
		}
		if err := app.CheckFiles(&conf); err != nil {
			return usageError{err}
		}
		for _, w := range conf.Warnings() {
			fmt.Fprintln(c.out, "warning:", w)
		}
		fmt.Fprintln(c.out, "the configuration is good")
		return nil
	}
	return cmd
}

func newLogger(w io.Writer, l config.Log) *slog.Logger {
	o := &slog.HandlerOptions{Level: l.Slog()}
	if l.Format == config.JSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
