package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) liveActivities() *cobra.Command {
	cmd := &cobra.Command{
		Use: "live-activities", Short: "Start, update and end Live Activities on iPhones, and see what became of them", Args: nothing,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Example: `  footfall live-activities start order.json
  echo '{"content_state":{"step":"on its way","minutes":10}}' | footfall live-activities update order-1001 -
  footfall live-activities end order-1001
  footfall live-activities get order-1001
  footfall live-activities list user_id:ada`,
	}
	get := &cobra.Command{Use: "get ACTIVITY", Short: "What became of an activity on each phone", Args: exactly(1, "the activity's id")}
	c.shows(get, func(args []string) string { return livePath(args[0]) }, c.printLive)
	list := &cobra.Command{Use: "list PERSON", Short: "The activities on a person's phones", Args: exactly(1, "the person: user_id:ada, or a profile's id")}
	c.shows(list, func(args []string) string { return "/api/v1/people/" + url.PathEscape(args[0]) + "/live-activities" }, c.printLive)
	cmd.AddCommand(
		c.liveStep("start FILE", "Start one, as a file says (POST /api/v1/live-activities)", exactly(1, "a file of JSON (- is standard input)")),
		c.liveStep("update ACTIVITY FILE", "Show another state", exactly(2, "the activity's id and a file of JSON (- is standard input)")),
		c.liveStep("end ACTIVITY [FILE]", "End one; the file may say its last state and when it vanishes", func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return exactly(1, "the activity's id, and perhaps a file")(cmd, args)
		}),
		get, list,
	)
	return cmd
}

func livePath(activity string) string { return "/api/v1/live-activities/" + url.PathEscape(activity) }

// liveStep is a command that orders a step of an activity and tells what came of it on each
// phone. It fails when there was no phone.
func (c *cli) liveStep(use, short string, args cobra.PositionalArgs) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: args}
	asJSON := cmd.Flags().Bool("json", false, "print the server's answer as it is")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		path, file := "/api/v1/live-activities", args[len(args)-1]
		if cmd.Name() != "start" {
			path = livePath(args[0]) + "/" + cmd.Name()
		}
		body := json.RawMessage("{}")
		if cmd.Name() == "start" || len(args) == 2 {
			if body, err = jsonFile(cmd, file); err != nil {
				return err
			}
		}
		var raw json.RawMessage
		if err := r.call(cmd.Context(), http.MethodPost, path, body, &raw); err != nil {
			return err
		}
		if *asJSON {
			fmt.Fprintf(c.out, "%s\n", raw)
			return nil
		}
		return c.printLiveStep(raw)
	}
	return cmd
}

func (c *cli) printLiveStep(raw json.RawMessage) error {
	var x struct {
		Activity string
		Done     int
		Results  []struct {
			To, Install, State, Why string
			Done                    bool
		}
	}
	if err := json.Unmarshal(raw, &x); err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TO\tPHONE\tSTATE\tTAKEN BY APPLE\tWHY NOT")
	for _, r := range x.Results {
		taken := "no"
		if r.Done {
			taken = "yes"
		}
		fmt.Fprintln(w, strings.Join([]string{cmp.Or(r.To, "-"), cmp.Or(r.Install, "-"), cmp.Or(r.State, "-"), taken, r.Why}, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(c.errs, "%s: Apple took it for %d of %d\n", x.Activity, x.Done, len(x.Results))
	if len(x.Results) == 0 {
		return fmt.Errorf("%s is on no phone", x.Activity)
	}
	return nil
}

func (c *cli) printLive(raw json.RawMessage) error {
	var x struct {
		Items []struct {
			Activity, Install, State, Why string
			Type                          string `json:"attributes_type"`
			Waits                         bool
			Since                         time.Time
			Attempts                      []struct{ Event, Outcome, Reason string }
		}
	}
	if err := json.Unmarshal(raw, &x); err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACTIVITY\tPHONE\tTYPE\tSTATE\tSINCE\tLAST REQUEST")
	for _, a := range x.Items {
		state, last := a.State, "-"
		if a.Why != "" {
			state += " (" + a.Why + ")"
		}
		if a.Waits {
			state += ", a step waits"
		}
		if n := len(a.Attempts); n > 0 {
			t := a.Attempts[n-1]
			last = strings.TrimSpace(t.Event + ": " + cmp.Or(t.Outcome, "no answer") + " " + t.Reason)
		}
		fmt.Fprintln(w, strings.Join([]string{a.Activity, a.Install, a.Type, state, dateTime(a.Since), last}, "\t"))
	}
	return w.Flush()
}
