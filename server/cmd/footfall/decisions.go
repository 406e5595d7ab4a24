package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
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
	c.searches(cmd, "/api/v1/decisions", "decisions", flags, "AT\tCAMPAIGN\tPERSON\tSTATE\tREASON\tMOMENT\tWHAT", func(w io.Writer, raw json.RawMessage) error {
		var d decisionLine
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.At.UTC().Format(time.DateTime), d.Campaign, d.Profile, d.State, cmp.Or(d.Reason, "-"), d.Moment, d.Words)
		return nil
	})
	return cmd
}
