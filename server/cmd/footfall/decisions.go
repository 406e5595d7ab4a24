package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// decisionLine is what the command tells of a decision.
type decisionLine struct {
	At       time.Time `json:"at"`
	Campaign string    `json:"campaign"`
	Profile  string    `json:"profile"`
	State    string    `json:"state"`
	Reason   string    `json:"reason"`
	Moment   string    `json:"moment"`
	Words    string    `json:"words"`
}

func (c *cli) decisions() *cobra.Command {
	cmd := &cobra.Command{
		Use: "decisions", Short: "Search what was decided, for whom, where and why not, the newest first", Args: nothing,
		Long: `Search what was decided, the newest first, as long as decisions are kept (history.messages_days).
PERSON is a profile id, an identifier such as user_id:ada, or install:ID. With --json each line is one
decision, with every gate and what it saw.`,
		Example: `  footfall decisions --campaign rainy-day --state suppressed --reason cap
  footfall decisions --person user_id:ada --from 2027-03-01
  footfall decisions --place cafe --most 20`,
	}
	f := cmd.Flags()
	flags := map[string]*string{
		"profile": f.String("person", "", "only of this person"), "campaign": f.String("campaign", "", "only of this campaign"),
		"place": f.String("place", "", "only of moments at this place"), "reason": f.String("reason", "", "only of this reason, such as cap_gap"),
		"state": f.String("state", "", "only in this state: pending, sent, held_out, suppressed, expired, failed"),
	}
	times := map[string]*string{"from": f.String("from", "", "at this time or later"), "to": f.String("to", "", "before this time")}
	most := f.Int("most", 100, "decisions at most")
	asJSON := f.Bool("json", false, "print each decision as the server has it, one a line")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		q := url.Values{}
		for name, text := range flags {
			if *text != "" {
				q.Set(name, *text)
			}
		}
		for name, text := range times {
			at, err := momentOf(*text)
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
		path := "/api/v1/decisions"
		if len(q) > 0 {
			path += "?" + q.Encode()
		}
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		if !*asJSON {
			fmt.Fprintln(w, "AT\tCAMPAIGN\tPERSON\tSTATE\tREASON\tMOMENT\tWHAT")
		}
		n := 0
		err = pages(cmd.Context(), r, path, func(raw json.RawMessage) error {
			if n++; n > *most {
				return errEnough
			}
			if *asJSON {
				_, err := fmt.Fprintf(c.out, "%s\n", raw)
				return err
			}
			var d decisionLine
			if err := json.Unmarshal(raw, &d); err != nil {
				return err
			}
			reason := d.Reason
			if reason == "" {
				reason = "-"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.At.UTC().Format(time.DateTime), d.Campaign, d.Profile, d.State, reason, d.Moment, d.Words)
			return nil
		})
		if err != nil && err != errEnough { //nolint:errorlint // it is ours, as it is
			return err
		}
		return w.Flush()
	}
	return cmd
}
