package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/server/engage"
)

func (c *cli) explain() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain PERSON CAMPAIGN", Short: "Say why somebody did or did not get a campaign", Args: exactly(2, "a person and a campaign"),
		Long: `Say why a person did or did not get a campaign, from the decisions that are kept.
PERSON is a profile id, an identifier such as user_id:ada, or install:ID.`,
		Example: "  footfall explain user_id:ada rainy-day",
	}
	asJSON := cmd.Flags().Bool("json", false, "print the server's answer as it is")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		person, err := r.person(cmd, args[0])
		if err != nil {
			return err
		}
		var raw json.RawMessage
		path := "/api/v1/people/" + url.PathEscape(person) + "/explain?campaign=" + url.QueryEscape(args[1])
		if err := r.call(cmd.Context(), "GET", path, nil, &raw); err != nil {
			return err
		}
		if *asJSON {
			fmt.Fprintf(c.out, "%s\n", raw)
			return nil
		}
		return c.printExplanation(raw)
	}
	return cmd
}

// person is the profile id of what the user named.
func (r *remote) person(cmd *cobra.Command, name string) (string, error) {
	query := ""
	if install, ok := strings.CutPrefix(name, "install:"); ok {
		query = "install=" + url.QueryEscape(install)
	} else if strings.Contains(name, ":") {
		query = "identifier=" + url.QueryEscape(name)
	} else {
		return name, nil
	}
	var found struct {
		ID string `json:"id"`
	}
	err := r.call(cmd.Context(), "GET", "/api/v1/people/lookup?"+query, nil, &found)
	return found.ID, err
}

func (c *cli) printExplanation(raw json.RawMessage) error {
	var x struct {
		Summary   string            `json:"summary"`
		Decisions []engage.Decision `json:"decisions"`
	}
	if err := json.Unmarshal(raw, &x); err != nil {
		return err
	}
	if x.Summary != "" {
		fmt.Fprintln(c.out, x.Summary)
	}
	for _, d := range x.Decisions {
		what := string(d.Trigger.Type) + " " + d.Trigger.Event
		if d.Trigger.Type == engage.TriggerPlace {
			what = fmt.Sprintf("%s %s (%s)", d.Trigger.Transition, d.Trigger.Place, d.Trigger.Ring)
		}
		end := string(d.State)
		if d.Reason != "" {
			end += ": " + string(d.Reason)
		}
		fmt.Fprintf(c.out, "\n%s  %s  →  %s\n", d.At.Format(time.DateTime), what, end)
		w := tabwriter.NewWriter(c.out, 2, 0, 2, ' ', 0)
		for _, g := range d.Gates {
			verdict := "yes"
			if !g.OK {
				verdict = "no"
			}
			saw := ""
			if len(g.Saw) > 0 {
				b, err := json.Marshal(g.Saw)
				if err != nil {
					return err
				}
				saw = string(b)
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\n", g.Gate, verdict, saw)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}
