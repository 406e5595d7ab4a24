package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) explain() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain PERSON CAMPAIGN", Short: "Say why somebody did or did not get a campaign", Args: exactly(2, "a person and a campaign"),
		Long: `Say why a person did or did not get a campaign, from the decisions that are kept.
PERSON is a profile id, an identifier such as user_id:ada, or install:ID. Where nothing
reached the campaign it tells what the person's records show: how near they came, when a
permission was withdrawn, when the campaign was paused.`,
		Example: `  footfall explain user_id:ada rainy-day
  footfall explain user_id:ada rainy-day --from 2026-11-02 --to 2026-11-03`,
	}
	from := cmd.Flags().String("from", "", "at this time or later: 2026-11-02 (midnight here) or 2026-11-02T09:00:00Z")
	to := cmd.Flags().String("to", "", "before this time")
	c.shows(cmd, func(args []string) string {
		q := url.Values{"campaign": {args[1]}}
		for name, v := range map[string]string{"from": *from, "to": *to} {
			if v != "" {
				q.Set(name, asTime(v))
			}
		}
		return "/api/v1/people/" + url.PathEscape(args[0]) + "/explain?" + q.Encode()
	}, c.printExplanation)
	return cmd
}

// asTime is a day as the time at which it begins here; whatever else it is, the server
// judges.
func asTime(text string) string {
	if t, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return t.Format(time.RFC3339)
	}
	return text
}

func (c *cli) printExplanation(raw json.RawMessage) error {
	var x struct {
		Answer   string   `json:"answer"`
		Hints    []string `json:"hints"`
		Findings []struct {
			Words string `json:"words"`
		} `json:"findings"`
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
	for _, f := range x.Findings {
		if !strings.Contains(x.Answer, f.Words) {
			fmt.Fprintln(c.out, "also:", f.Words)
		}
	}
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
