package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) channels() *cobra.Command {
	cmd := &cobra.Command{
		Use: "channels", Short: "Say how the push credentials do, and what waits for them", Args: nothing,
		Long: `One line per app and provider that has a credential: whether it sends, what waits for
it (messages of moments, then of imports and API calls), and what the provider said.
unknown means that no push has been answered since the server started. What somebody must look at is told on standard error, and the exit code is 1 then, so
that a script can watch it.`,
		Example: "  footfall channels",
	}
	c.shows(cmd, func([]string) string { return "/api/v1/channels" }, c.printChannels)
	return cmd
}

func (c *cli) printChannels(raw json.RawMessage) error {
	type queue struct {
		Waiting int `json:"waiting"`
	}
	var x struct {
		Items []struct {
			App      string    `json:"app"`
			Provider string    `json:"provider"`
			Account  string    `json:"account"`
			State    string    `json:"state"`
			Reason   string    `json:"reason"`
			Since    time.Time `json:"since"`
			Until    time.Time `json:"until"`
			Live     queue     `json:"live"`
			Bulk     queue     `json:"bulk"`
			RatePerS float64   `json:"rate_per_s"`
			SentPerS float64   `json:"sent_per_s"`
			Last     string    `json:"last_error"`
			Alert    string    `json:"alert"`
		} `json:"items"`
		Alerts int `json:"alerts"`
	}
	if err := json.Unmarshal(raw, &x); err != nil {
		return err
	}
	if len(x.Items) == 0 {
		fmt.Fprintln(c.out, "no app has a push credential")
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "APP\tPROVIDER\tACCOUNT\tSTATE\tSINCE\tUNTIL\tWAITING\tBULK\tSENT/S\tAT MOST/S\tLAST ERROR")
	for _, i := range x.Items {
		most := "-"
		if i.RatePerS > 0 {
			most = fmt.Sprintf("%.1f", i.RatePerS)
		}
		last := i.Reason
		if last == "" {
			last = i.Last
		}
		if last == "" {
			last = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%.1f\t%s\t%s\n", i.App, i.Provider, i.Account, i.State,
			dateTime(i.Since), dateTime(i.Until), i.Live.Waiting, i.Bulk.Waiting, i.SentPerS, most, last)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, i := range x.Items {
		if i.Alert != "" {
			fmt.Fprintf(c.errs, "%s %s: %s\n", i.App, i.Provider, i.Alert)
		}
	}
	if x.Alerts > 0 {
		return fmt.Errorf("%d of %d credentials need somebody", x.Alerts, len(x.Items))
	}
	return nil
}

func dateTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.DateTime)
}
