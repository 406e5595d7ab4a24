package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) limits() *cobra.Command {
	cmd := &cobra.Command{
		Use: "limits", Short: "Say how much all campaigns together may ask of one person", Args: nothing,
		Long: `Show the workspace's limits: caps over all messages, those of a tag or a channel, the
gap between two, quiet hours, the attention budget. They hold for marketing messages;
service messages are neither limited nor counted.`,
		Example: `  footfall limits
  footfall limits --json > limits.json
  footfall limits put limits.json`,
	}
	c.shows(cmd, func([]string) string { return "/api/v1/limits" }, c.printLimits)
	cmd.AddCommand(c.limitsPut())
	return cmd
}

func (c *cli) printLimits(raw json.RawMessage) error {
	var x struct {
		Version int64
		Caps    []struct {
			Tag, Channel, Calendar string
			Max                    int
			WindowS                int64 `json:"window_s"`
		}
		GapS  int64 `json:"gap_s"`
		Quiet *struct {
			Start, End, Then string
		} `json:"quiet_hours"`
		Attention *struct {
			Points  int
			WindowS int64 `json:"window_s"`
		}
		MayIgnore bool      `json:"may_ignore"`
		UpdatedAt time.Time `json:"updated_at"`
	}
	if err := json.Unmarshal(raw, &x); err != nil {
		return err
	}
	if x.Version == 0 {
		fmt.Fprintln(c.out, "no limits were ever set")
		return nil
	}
	fmt.Fprintf(c.out, "version %d of %s\n", x.Version, dateTime(x.UpdatedAt))
	seconds := func(s int64) string { return (time.Duration(s) * time.Second).String() }
	for _, p := range x.Caps {
		of, within := "all messages", "a calendar "+p.Calendar
		switch {
		case p.Tag != "":
			of = "messages tagged " + p.Tag
		case p.Channel != "":
			of = "messages that may go by " + p.Channel
		}
		if p.Calendar == "" {
			within = seconds(p.WindowS)
		}
		fmt.Fprintf(c.out, "at most %d in %s: %s\n", p.Max, within, of)
	}
	if x.GapS > 0 {
		fmt.Fprintf(c.out, "at least %s between two\n", seconds(x.GapS))
	}
	if q := x.Quiet; q != nil {
		then := "wait for their end"
		if q.Then == "drop" {
			then = "are not sent"
		}
		fmt.Fprintf(c.out, "quiet from %s to %s: messages %s\n", q.Start, q.End, then)
	}
	if a := x.Attention; a != nil {
		if a.WindowS == 0 {
			a.WindowS = 7 * 24 * 3600
		}
		fmt.Fprintf(c.out, "%d points of attention in %s\n", a.Points, seconds(a.WindowS))
	}
	if x.MayIgnore {
		fmt.Fprintln(c.out, "campaigns may leave all of this aside (limits.ignore_global)")
	}
	return nil
}

func (c *cli) limitsPut() *cobra.Command {
	cmd := &cobra.Command{
		Use: "put FILE", Short: "Set the limits, as a file says", Args: exactly(1, "the file, or - for standard input"),
		Long: `Set the workspace's limits, all of them, as PUT /api/v1/limits takes them. A file that has
a version changes that one only: if somebody else was faster, nothing is changed.`,
	}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		body, err := jsonFile(cmd, args[0])
		if err != nil {
			return err
		}
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(body, &doc); err != nil {
			return usageError{fmt.Errorf("%s: %w", args[0], err)}
		}
		var now struct{ Version int64 }
		if doc["version"] == nil {
			if err := r.call(cmd.Context(), "GET", "/api/v1/limits", nil, &now); err != nil {
				return err
			}
			if now.Version > 0 {
				doc["version"] = fmt.Append(nil, now.Version)
			}
		}
		if err := r.call(cmd.Context(), "PUT", "/api/v1/limits", doc, &now); err != nil {
			return err
		}
		fmt.Fprintf(c.errs, "the limits are set, version %d\n", now.Version)
		return nil
	}
	return cmd
}
