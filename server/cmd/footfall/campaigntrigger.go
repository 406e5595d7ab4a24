package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// calledPerson is a person whom a call names.
type calledPerson struct {
	To         string          `json:"to"`
	Properties json.RawMessage `json:"properties,omitempty"`
}

func (c *cli) campaignTrigger() *cobra.Command {
	cmd := &cobra.Command{
		Use: "trigger ID [PERSON…]", Short: "Trigger a campaign for persons",
		Long: `Trigger a live campaign of trigger type api for persons: identifiers such as
user_id:ada, install:ID, or ids of profiles. --key names the call: made again under
it, it reaches nobody twice. With --recipients persons are read from a file of JSON,
[{"to":"user_id:ada","properties":{"order":"1001"}}], "-" for standard input; more than
1000 are sent in several calls. It fails if anybody is unknown or refused.`,
		Example: `  footfall campaigns trigger order-ready --key order-1001 --properties '{"order":"1001"}' user_id:ada`,
		Args:    cobra.ArbitraryArgs,
	}
	key := cmd.Flags().String("key", "", "of the call; required")
	place := cmd.Flags().String("place", "", "id of the place that it is about")
	properties := cmd.Flags().String("properties", "", "JSON object that texts see as trigger.properties, of the PERSONs given here")
	file := cmd.Flags().String("recipients", "", "file with more persons")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 || *key == "" {
			return usageError{fmt.Errorf("give a campaign and --key; see '%s --help'", cmd.CommandPath())}
		}
		to, err := calledPersons(cmd, args[1:], *properties, *file)
		if err != nil {
			return err
		}
		r, err := remote()
		if err != nil {
			return err
		}
		return c.trigger(cmd, r, args[0], *key, *place, to)
	}
	return cmd
}

// calledPersons are those of the command line and of a file.
func calledPersons(cmd *cobra.Command, names []string, properties, file string) ([]calledPerson, error) {
	if properties != "" && !json.Valid([]byte(properties)) {
		return nil, usageError{fmt.Errorf("--properties is not JSON")}
	}
	var to []calledPerson
	for _, name := range names {
		to = append(to, calledPerson{name, json.RawMessage(properties)})
	}
	if file != "" {
		b, err := jsonFile(cmd, file)
		if err != nil {
			return nil, err
		}
		var more []calledPerson
		if err := json.Unmarshal(b, &more); err != nil {
			return nil, usageError{fmt.Errorf("%s: %w", file, err)}
		}
		to = append(to, more...)
	}
	if len(to) == 0 {
		return nil, usageError{fmt.Errorf("give at least one person")}
	}
	return to, nil
}

// mostCalled is how many persons one call names.
const mostCalled = 1000

func (c *cli) trigger(cmd *cobra.Command, r *remote, campaign, key, place string, to []calledPerson) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PERSON\tSTATE\tPROFILE\tREASON")
	missed := 0
	for from := 0; from < len(to); from += mostCalled {
		body := map[string]any{"key": key, "recipients": to[from:min(from+mostCalled, len(to))]}
		if place != "" {
			body["place"] = place
		}
		var out struct {
			Recipients []struct{ To, State, Person, Reason string }
		}
		if err := r.call(cmd.Context(), http.MethodPost, campaignPath(campaign)+"/trigger", body, &out); err != nil {
			return err
		}
		for _, x := range out.Recipients {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", x.To, x.State, x.Person, x.Reason)
			if x.State == "unknown" || x.State == "refused" {
				missed++
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d were not reached", missed, len(to))
	}
	return nil
}
