package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// campaignLine is what the commands tell of a campaign.
type campaignLine struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Class     string    `json:"class"`
	Programme string    `json:"programme"`
	Status    string    `json:"status"`
	Version   int64     `json:"version"`
	UpdatedAt time.Time `json:"updated_at"`
}

func (c *cli) campaigns() *cobra.Command {
	cmd := &cobra.Command{
		Use: "campaigns", Short: "Make campaigns, have them reviewed, launch, pause and end them", Args: nothing,
		Long: `A campaign lives from draft over review and live to ended; only a live one sends
anything. Where the workspace asks for it (review-policy), a second person makes it live: submit asks
for that, approve and reject answer. Every version is kept.`,
		Example: `  footfall campaigns new winback > come-back.json                  # one to begin with
  footfall campaigns put come-back come-back.json
  footfall campaigns submit come-back --note "the prices are from Monday on"
  footfall campaigns approve come-back
  footfall campaigns diff come-back`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.campaignsList(), c.campaignsShow(), c.campaignsNew(), c.campaignsPut(), c.campaignsDuplicate(),
		c.campaignsResults(), c.campaignsVersions(), c.campaignsDiff(), c.campaignTrigger(), c.campaignsPreview(),
		c.campaignsOccurrences(), c.campaignsReviewPolicy(),
		c.campaignStatus("submit", "review", "note", "Ask somebody else to look at a campaign"),
		c.campaignStatus("approve", "live", "comment", "Make what is in review live"),
		c.campaignStatus("reject", "draft", "comment", "Give what is in review back to its makers"),
		c.campaignStatus("launch", "live", "", "Launch a campaign"),
		c.campaignStatus("pause", "paused", "", "Pause a campaign: what waits of it is not sent"),
		c.campaignStatus("end", "ended", "", "End a campaign for good"))
	return cmd
}

func (c *cli) campaignsList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the campaigns of the workspace", Args: nothing}
	status := cmd.Flags().String("status", "", "only those of this status")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		path := "/api/v1/campaigns"
		if *status != "" {
			path += "?status=" + url.QueryEscape(*status)
		}
		return list(cmd, c, r, path, "ID\tSTATUS\tCLASS\tPROGRAMME\tVERSION\tCHANGED\tNAME", func(w io.Writer, x campaignLine) {
			programme := x.Programme
			if programme == "" {
				programme = "-"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", x.ID, x.Status, x.Class, programme, x.Version, dateTime(x.UpdatedAt), x.Name)
		})
	}
	return cmd
}

func (c *cli) campaignsShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "Print a campaign as the JSON that it is", Args: exactly(1, "the campaign's id"),
		Example: "  footfall campaigns show rainy-day > rainy-day.json",
	}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := r.call(cmd.Context(), http.MethodGet, campaignPath(args[0]), nil, &raw); err != nil {
			return err
		}
		return c.printJSON(raw)
	}
	return cmd
}

func campaignPath(id string) string { return "/api/v1/campaigns/" + url.PathEscape(id) }

// printJSON prints a document for people to read and to edit.
func (c *cli) printJSON(raw json.RawMessage) error {
	out := json.NewEncoder(c.out)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(raw)
}

// campaignStatus makes the command that gives a campaign another status, with words if
// words names the field for them.
func (c *cli) campaignStatus(verb, status, words, short string) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " ID", Short: short, Args: exactly(1, "the campaign's id")}
	var text string
	if words != "" {
		cmd.Flags().StringVar(&text, words, "", "words for the others")
	}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		body := map[string]string{"status": status}
		if text != "" {
			body[words] = text
		}
		var x campaignLine
		if err := r.call(cmd.Context(), http.MethodPost, campaignPath(args[0])+"/status", body, &x); err != nil {
			return err
		}
		c.tellCampaign(x)
		return nil
	}
	return cmd
}

func (c *cli) tellCampaign(x campaignLine) {
	fmt.Fprintf(c.errs, "%s is %s (version %d)\n", x.ID, statusWord(x.Status), x.Version)
}

func statusWord(status string) string {
	switch status {
	case "review":
		return "in review"
	case "draft":
		return "a draft"
	}
	return status
}
