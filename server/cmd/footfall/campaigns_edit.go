package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) campaignsNew() *cobra.Command {
	cmd := &cobra.Command{
		Use: "new [PROGRAMME]", Short: "Print a campaign to begin with", Args: cobra.MaximumNArgs(1),
		Long: `Without an argument it lists the programmes and what their campaigns do. With one it
prints the campaign, to be edited and put, or with --id saves it as a draft at once.`,
		Example: "  footfall campaigns new winback --id come-back",
	}
	id := cmd.Flags().String("id", "", "save it under this id, as a draft")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		type template struct {
			Programme string          `json:"programme"`
			Words     string          `json:"words"`
			Campaign  json.RawMessage `json:"campaign"`
		}
		if len(args) == 0 {
			return list(cmd, c, r, "/api/v1/campaign-templates", "PROGRAMME\tWHAT IT DOES", func(w io.Writer, t template) {
				fmt.Fprintf(w, "%s\t%s\n", t.Programme, t.Words)
			})
		}
		var t template
		if err := r.call(cmd.Context(), http.MethodGet, "/api/v1/campaign-templates/"+url.PathEscape(args[0]), nil, &t); err != nil {
			return err
		}
		if *id == "" {
			return c.printJSON(t.Campaign)
		}
		var x campaignLine
		if err := r.call(cmd.Context(), http.MethodPut, campaignPath(*id), t.Campaign, &x); err != nil {
			if versionWanted(err) {
				return fmt.Errorf("campaign %s is there already: give another --id", *id)
			}
			return err
		}
		c.tellCampaign(x)
		return nil
	}
	return cmd
}

func (c *cli) campaignsPut() *cobra.Command {
	cmd := &cobra.Command{
		Use: "put ID FILE", Short: "Create or change a campaign from a file", Args: exactly(2, "the campaign's id and a file of JSON (- is standard input)"),
		Long: `The file is a campaign as show prints it. A change names the version that it was made
from, which stands in the file; --force overwrites whatever is there.`,
		Example: "  footfall campaigns put rainy-day rainy-day.json",
	}
	force := cmd.Flags().Bool("force", false, "overwrite whatever version is there")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		raw, err := jsonFile(cmd, args[1])
		if err != nil {
			return err
		}
		if *force {
			var have campaignLine
			err := r.call(cmd.Context(), http.MethodGet, campaignPath(args[0]), nil, &have)
			if err == nil {
				raw, err = withVersion(raw, have.Version)
			}
			if err != nil && !missing(err) {
				return err
			}
		}
		var x struct {
			campaignLine
			Warnings []struct{ Field, Reason string } `json:"warnings"`
		}
		if err := r.call(cmd.Context(), http.MethodPut, campaignPath(args[0]), raw, &x); err != nil {
			if versionWanted(err) {
				return fmt.Errorf("campaign %[1]s is there already, and %[2]s does not say which version of it was changed: "+
					"get it (footfall campaigns show %[1]s), make the change in that and put it; or put %[2]s with --force, which overwrites whatever is there", args[0], args[1])
			}
			return err
		}
		for _, w := range x.Warnings {
			fmt.Fprintf(c.errs, "warning: %s %s\n", w.Field, w.Reason)
		}
		c.tellCampaign(x.campaignLine)
		return nil
	}
	return cmd
}

// withVersion is the document with another version.
func withVersion(raw json.RawMessage, version int64) (json.RawMessage, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, usageError{fmt.Errorf("the document is not an object: %w", err)}
	}
	doc["version"] = json.RawMessage(fmt.Sprint(version))
	return json.Marshal(doc)
}

func missing(err error) bool {
	a, is := err.(*answerError) //nolint:errorlint // call gives it bare
	return is && a.status == http.StatusNotFound
}

// versionWanted reports that something is there already, and that the change of it did not
// say which version it was made from.
func versionWanted(err error) bool {
	a, is := err.(*answerError) //nolint:errorlint // call gives it bare
	return is && a.status == http.StatusPreconditionRequired
}

func (c *cli) campaignsDuplicate() *cobra.Command {
	cmd := &cobra.Command{Use: "duplicate ID NEW-ID", Short: "Make a draft from a campaign", Args: exactly(2, "the campaign's id and the new one")}
	name := cmd.Flags().String("name", "", "name of the new one")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		body := map[string]string{"id": args[1]}
		if *name != "" {
			body["name"] = *name
		}
		var x campaignLine
		if err := r.call(cmd.Context(), http.MethodPost, campaignPath(args[0])+"/duplicate", body, &x); err != nil {
			return err
		}
		c.tellCampaign(x)
		return nil
	}
	return cmd
}

func (c *cli) campaignsVersions() *cobra.Command {
	cmd := &cobra.Command{Use: "versions ID", Short: "List the versions of a campaign: who changed what, when", Args: exactly(1, "the campaign's id")}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		return list(cmd, c, r, campaignPath(args[0])+"/versions", "VERSION\tAT\tBY\tSTATUS\tCHANGED", func(w io.Writer, v struct {
			Version int64     `json:"version"`
			At      time.Time `json:"at"`
			By      string    `json:"by"`
			Name    string    `json:"by_name"`
			Status  string    `json:"status"`
			Deleted bool      `json:"deleted"`
			Changed []string  `json:"changed"`
		},
		) {
			if v.Deleted {
				v.Status = "deleted"
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", v.Version, dateTime(v.At), named(v.Name, v.By), v.Status, strings.Join(v.Changed, ", "))
		})
	}
	return cmd
}

// named is a key as people know it.
func named(name, id string) string {
	if name == "" {
		return id
	}
	return name + " (" + id + ")"
}

func (c *cli) campaignsDiff() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff ID", Short: "Compare two versions of a campaign, field by field", Args: exactly(1, "the campaign's id"),
		Long: "Without --from and --to: the newest with the one that was last live before it.",
	}
	from := cmd.Flags().Int64("from", 0, "version")
	to := cmd.Flags().Int64("to", 0, "version")
	c.shows(cmd, func(args []string) string {
		q := url.Values{}
		if *from > 0 {
			q.Set("from", fmt.Sprint(*from))
		}
		if *to > 0 {
			q.Set("to", fmt.Sprint(*to))
		}
		return campaignPath(args[0]) + "/diff?" + q.Encode()
	}, func(raw json.RawMessage) error {
		var d struct {
			From    int64 `json:"from"`
			To      int64 `json:"to"`
			Changes []struct {
				Path          string
				Before, After json.RawMessage
			} `json:"changes"`
		}
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		if len(d.Changes) == 0 {
			fmt.Fprintf(c.out, "versions %d and %d say the same\n", d.From, d.To)
			return nil
		}
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "FIELD\tVERSION %d\tVERSION %d\n", d.From, d.To)
		for _, x := range d.Changes {
			fmt.Fprintf(w, "%s\t%s\t%s\n", x.Path, valueOf(x.Before), valueOf(x.After))
		}
		return w.Flush()
	})
	return cmd
}

// valueOf is a value as it stands in a table; nothing is "-".
func valueOf(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "-"
	}
	return string(raw)
}
