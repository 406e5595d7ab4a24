package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// benchFlags are what the measurements of `bench` have in common.
type benchFlags struct {
	json     bool
	dir      string
	profile  string
	trace    string
	duration time.Duration
}

// add gives a command those that all have.
func (f *benchFlags) add(cmd *cobra.Command, profiled string) {
	flags := cmd.Flags()
	flags.BoolVar(&f.json, "json", false, "print one JSON object instead of a table")
	flags.StringVar(&f.dir, "dir", "", "where the run has its temporary files (default: the system's folder)")
	flags.StringVar(&f.profile, "profile", "", "folder for "+profiled)
}

// addDuration gives it --duration, of a part of the run.
func (f *benchFlags) addDuration(cmd *cobra.Command, d time.Duration, of string) {
	cmd.Flags().DurationVar(&f.duration, "duration", d, "length of "+of)
}

// addTrace gives it --trace, of a part of the run.
func (f *benchFlags) addTrace(cmd *cobra.Command, of string) {
	cmd.Flags().StringVar(&f.trace, "trace", "", "file for the server's execution trace of "+of+" (go tool trace): some 50 MB a second, and it costs")
}

// Bounds of --duration.
const (
	minBench = 100 * time.Millisecond
	maxBench = 10 * time.Minute
)

// checkDuration refuses a --duration that measures nothing, or for ever.
func (f *benchFlags) checkDuration() error {
	if f.duration < minBench || f.duration > maxBench {
		return usageError{fmt.Errorf("--duration must be %v to %v, is %v", minBench, maxBench, f.duration)}
	}
	return nil
}
