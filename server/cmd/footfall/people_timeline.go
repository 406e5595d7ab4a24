package main

import (
	"fmt"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// told is an entry of a timeline, as the command shows it.
type told struct {
	At       time.Time `json:"at"`
	Occurred time.Time `json:"occurred_at"`
	Class    string    `json:"class"`
	Kind     string    `json:"kind"`
	Install  string    `json:"install"`
	Words    string    `json:"words"`
}

// occurred is when it happened, if that is another second than the one in which the
// server had it.
func (e *told) occurred() string {
	if at := dateTime(e.Occurred.UTC()); at != dateTime(e.At.UTC()) {
		return at
	}
	return "-"
}

func (c *cli) timeline() *cobra.Command {
	cmd := &cobra.Command{
		Use: "timeline PERSON", Short: "List what happened to a person, the newest first", Args: exactly(1, "a person"),
		Long: `List what happened to a person, the newest first: all of it, or what is about one class,
or of a span of time, by when the server had it. OCCURRED is when it happened, where that
is another second: a phone was offline, a file tells of what has been. Classes: attributes, consents, devices,
events, identity, messages, preferences, purchases, visits. Times are RFC 3339 or days.`,
		Example: `  footfall people timeline user_id:ada --class purchases
  footfall people timeline user_id:ada --from 2027-03-01 --to 2027-03-08T12:00:00Z --most 50`,
	}
	f := cmd.Flags()
	class := f.String("class", "", "only what is about this")
	from := f.String("from", "", "at this time or later")
	to := f.String("to", "", "before this time")
	most := f.Int("most", 100, "lines at most")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q := url.Values{}
		if *class != "" {
			q.Set("class", *class)
		}
		for name, text := range map[string]string{"from": *from, "to": *to} {
			at, err := momentOf(text)
			if err != nil {
				return usageError{fmt.Errorf("--%s: %w", name, err)}
			}
			if !at.IsZero() {
				q.Set(name, at.Format(time.RFC3339Nano))
			}
		}
		r, err := remote()
		if err != nil {
			return err
		}
		path := personPath(args[0]) + "/timeline"
		if len(q) > 0 {
			path += "?" + q.Encode()
		}
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "AT\tOCCURRED\tCLASS\tKIND\tINSTALL\tWHAT")
		n := 0
		err = pages(cmd.Context(), r, path, func(e told) error {
			if n++; n > *most {
				return errEnough
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", dateTime(e.At.UTC()), e.occurred(), e.Class, e.Kind, e.Install, e.Words)
			return nil
		})
		if err != nil && err != errEnough { //nolint:errorlint // it is ours, as it is
			return err
		}
		return w.Flush()
	}
	return cmd
}

// momentOf reads a time, or the beginning of a day in UTC; empty is the zero time.
func momentOf(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%q is neither a time (RFC 3339) nor a day (2027-03-01)", text)
	}
	return at, nil
}
