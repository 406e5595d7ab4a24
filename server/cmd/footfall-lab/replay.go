package main

import (
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

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/partition"
)

// replayOptions are the flags of replay.
type replayOptions struct {
	EventLog string
	Data     string
	Mode     string
	Batch    int
	JSON     bool
	Dump     string
}

const maxReplayBatch = 10_000

func (c *cli) replay() *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use: "replay FILE", Short: "Play a recorded run on another log and store", Args: oneFile,
		Long: `Append the streams of a tape, which 'footfall-lab demo --record' has written, to an
empty event log, let new partitions apply them to an empty store, and compare the
decisions, timelines with their traces, states and timers with those of the run:
they must be the same, byte for byte. Nothing is sent to anybody.

The log is embedded unless --event-log or FOOTFALL_EVENT_LOG_URL names NATS servers,
documents are in SQLite unless FOOTFALL_STORE_MONGODB_URI names a MongoDB. All
FOOTFALL_EVENT_LOG_* and FOOTFALL_STORE_* and FOOTFALL_DURABILITY count, as for the
server. Without --data
everything is temporary: on NATS and MongoDB the replay gets a prefix and a database
of its own and removes them at its end. With --data they are as configured and are
kept; what is not empty is refused.

A digest is the SHA-256 of a collection's lines in the file of --dump: two of these
can be compared with diff.

Exit codes: 0 all is the same, 1 something differs or did not work, 2 wrong usage.`,
		Example: `  footfall-lab replay demo.tape
  footfall-lab replay demo.tape --event-log nats://127.0.0.1:4222 --mode reference --batch 3
  FOOTFALL_STORE_MONGODB_URI=mongodb://… footfall-lab replay demo.tape --json --dump mongodb.txt`,
	}
	f := cmd.Flags()
	f.StringVar(&o.EventLog, "event-log", "", "NATS servers, such as nats://127.0.0.1:4222 (default: FOOTFALL_EVENT_LOG_URL, else embedded)")
	f.StringVar(&o.Data, "data", "", "folder of what is embedded, kept afterwards (default: a temporary one)")
	f.StringVar(&o.Mode, "mode", string(partition.Fast), "mode of the partition loop: fast or reference")
	f.IntVar(&o.Batch, "batch", 0, fmt.Sprintf("records per commit, up to %d; 0 means the server's default", maxReplayBatch))
	f.BoolVar(&o.JSON, "json", false, "print the result as one JSON object")
	f.StringVar(&o.Dump, "dump", "", "file for the documents, one per line, sorted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.validate(); err != nil {
			return usageError{err}
		}
		r, err := c.play(cmd.Context(), args[0], o)
		if err != nil {
			return err
		}
		write := r.writeText
		if o.JSON {
			write = r.writeJSON
		}
		if err := write(c.out); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		if !r.Same {
			return fmt.Errorf("not what the run made of the same streams: %s", r.Difference)
		}
		return nil
	}
	return cmd
}

// oneFile takes the name of a file and nothing else.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("give one file, not %d; see '%s --help'", len(args), cmd.CommandPath())}
	}
	return nil
}

func (o *replayOptions) validate() error {
	switch {
	case o.Mode != string(partition.Fast) && o.Mode != string(partition.Reference):
		return fmt.Errorf("--mode must be %s or %s, is %q", partition.Fast, partition.Reference, o.Mode)
	case o.Batch < 0 || o.Batch > maxReplayBatch:
		return fmt.Errorf("--batch must be 0 to %d, is %d", maxReplayBatch, o.Batch)
	}
	return nil
}

// played is what replay prints.
type played struct {
	StoppedAt time.Time             `json:"stopped_at"` // the server of the run
	Build     string                `json:"build"`      // of that server
	On        names                 `json:"on"`         // what it was played on
	Mode      string                `json:"mode"`
	Records   map[string]int        `json:"records"` // by partition; "CONFIG" is the configuration
	Results   map[string]app.Digest `json:"results"` // by collection
	TookS     float64               `json:"took_s"`
	Same      bool                  `json:"same"` // as the run's
	// Difference names the first document that is not the same.
	Difference string `json:"difference,omitempty"`
}

// play reads the tape and plays it.
func (c *cli) play(ctx context.Context, file string, o replayOptions) (_ *played, err error) {
	tape, err := readTape(file)
	if err != nil {
		return nil, err
	}
	where, err := newPlace(c.env, o.Data, o.EventLog, "replay")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, where.close()) }()
	r := &played{
		StoppedAt: tape.At, Build: tape.Build, On: where.names(), Mode: o.Mode,
		Records: map[string]int{"CONFIG": len(tape.Config)},
	}
	for name, records := range tape.Streams {
		r.Records[name] = len(records)
	}
	began := time.Now()
	got, err := app.ReplayAt(ctx, tape, &where.conf, app.ReplayOptions{
		Mode: partition.Mode(o.Mode), MaxBatch: o.Batch, Logger: warnings(c.errs),
	})
	if err != nil {
		return nil, err
	}
	r.TookS = time.Since(began).Seconds()
	if o.Dump != "" {
		if err := writeDump(o.Dump, got); err != nil {
			return nil, err
		}
	}
	r.Results = got.Digests()
	r.Difference = got.Difference(tape.Live)
	r.Same = r.Difference == ""
	return r, nil
}

func readTape(file string) (_ *app.Tape, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, usageError{fmt.Errorf("open the tape: %w", err)}
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return app.ReadTape(f)
}

// writeDump writes the documents, which hold people's positions.
func writeDump(file string, r app.Results) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := r.WriteTo(f); err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	return nil
}

// writeJSON writes the object on one line.
func (r *played) writeJSON(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

// writeText says the same in words.
func (r *played) writeText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "a run of build %s that ended %s, on %s and %s, %s mode, in %.1f s\n",
		r.Build, r.StoppedAt.Format(time.RFC3339), r.On.EventLog, r.On.Store, r.Mode, r.TookS)
	for _, name := range slices.Sorted(maps.Keys(r.Records)) {
		fmt.Fprintf(&b, "%-10s %7d records\n", name, r.Records[name])
	}
	for _, c := range slices.Sorted(maps.Keys(r.Results)) {
		fmt.Fprintf(&b, "%-10s %7d documents  sha256 %s\n", c, r.Results[c].Documents, r.Results[c].SHA256)
	}
	if r.Same {
		b.WriteString("the same as in the run, byte for byte\n")
	} else {
		fmt.Fprintf(&b, "not the same as in the run: %s\n", r.Difference)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
