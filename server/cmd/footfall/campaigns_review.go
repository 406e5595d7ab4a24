package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// occurrenceLine is what the command tells of one time of a schedule.
type occurrenceLine struct {
	Local     string     `json:"local"`
	Version   int64      `json:"campaign_version"`
	State     string     `json:"state"`
	Why       string     `json:"why"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
	Reached   int64      `json:"reached"`
	Of        int64      `json:"of"`
	Next      *time.Time `json:"next"`
}

func (c *cli) campaignsOccurrences() *cobra.Command {
	cmd := &cobra.Command{
		Use: "occurrences ID", Short: "List the times of a campaign's schedule that have come", Args: exactly(1, "the campaign's id"),
		Long: `List the times of a campaign's schedule that have come, the newest first: how many persons
stand in the log for it, of how many, when it was done, or when it goes on for zones in which
that time comes later. Kept for 90 days.`,
	}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		return list(cmd, c, r, campaignPath(args[0])+"/occurrences", "LOCAL TIME\tSTATE\tREACHED\tOF\tSTARTED\tENDED\tGOES ON\tVERSION\tWHY", func(w io.Writer, x occurrenceLine) {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%d\t%s\n", x.Local, x.State, x.Reached, x.Of, dateTime(x.StartedAt), timeOrDash(x.EndedAt), timeOrDash(x.Next),
				x.Version, cmp.Or(x.Why, "-"))
		})
	}
	return cmd
}

// timeOrDash is a time that may be absent.
func timeOrDash(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return dateTime(*t)
}

// reviewPolicy is what the server answers.
type reviewPolicy struct {
	Version  int64 `json:"version"`
	Required bool  `json:"required"`
}

const reviewPolicyPath = "/api/v1/review-policy"

func (c *cli) campaignsReviewPolicy() *cobra.Command {
	cmd := &cobra.Command{
		Use: "review-policy", Short: "Say whether a second person must make campaigns live", Args: nothing,
		Example: `  footfall campaigns review-policy
  footfall campaigns review-policy require
  footfall campaigns review-policy waive`,
	}
	c.shows(cmd, func([]string) string { return reviewPolicyPath }, func(raw json.RawMessage) error {
		var x reviewPolicy
		if err := json.Unmarshal(raw, &x); err != nil {
			return err
		}
		fmt.Fprintln(c.out, x)
		return nil
	})
	cmd.AddCommand(c.reviewPolicySet("require", true, "From now on a second person makes campaigns live"),
		c.reviewPolicySet("waive", false, "From now on whoever makes a campaign can make it live"))
	return cmd
}

// String is the policy in words.
func (p reviewPolicy) String() string {
	if p.Required {
		return "a second person makes campaigns live"
	}
	return "whoever makes a campaign can make it live"
}

func (c *cli) reviewPolicySet(verb string, required bool, short string) *cobra.Command {
	cmd := &cobra.Command{Use: verb, Short: short, Args: nothing}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		var now reviewPolicy
		if err := r.call(cmd.Context(), http.MethodGet, reviewPolicyPath, nil, &now); err != nil {
			return err
		}
		now.Required = required // of the version that was looked at: no change in between is overwritten
		if err := r.call(cmd.Context(), http.MethodPut, reviewPolicyPath, now, &now); err != nil {
			return err
		}
		fmt.Fprintln(c.errs, now)
		return nil
	}
	return cmd
}
