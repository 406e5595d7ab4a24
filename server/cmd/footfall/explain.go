package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) explain() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain PERSON CAMPAIGN", Short: "Say why somebody did or did not get a campaign", Args: exactly(2, "a person and a campaign"),
		Long: `Say why a person did or did not get a campaign, from the decisions that are kept.
PERSON is a profile id, an identifier such as user_id:ada, or install:ID.`,
		Example: "  footfall explain user_id:ada rainy-day",
	}
	c.shows(cmd, func(args []string) string {
		return "/api/v1/people/" + url.PathEscape(args[0]) + "/explain?campaign=" + url.QueryEscape(args[1])
	}, c.printExplanation)
	return cmd
}

func (c *cli) printExplanation(raw json.RawMessage) error {
	var x struct {
		Answer    string   `json:"answer"`
		Hints     []string `json:"hints"`
		Decisions []struct {
			At     time.Time `json:"at"`
			Moment string    `json:"moment"`
			Words  string    `json:"words"`
			Gates  []struct {
				Gate  string `json:"gate"`
				OK    bool   `json:"ok"`
				Words string `json:"words"`
			} `json:"gates"`
		} `json:"decisions"`
	}
	if err := json.Unmarshal(raw, &x); err != nil {
		return err
	}
	fmt.Fprintln(c.out, x.Answer)
	for _, h := range x.Hints {
		fmt.Fprintln(c.out, "note:", h)
	}
	for _, d := range x.Decisions {
		fmt.Fprintf(c.out, "\n%s  %s. %s\n", d.At.Format(time.DateTime), d.Moment, d.Words)
		w := tabwriter.NewWriter(c.out, 2, 0, 2, ' ', 0)
		for _, g := range d.Gates {
			verdict := "yes"
			if !g.OK {
				verdict = "no"
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\n", g.Gate, verdict, g.Words)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}
