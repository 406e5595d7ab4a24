package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) stop() *cobra.Command {
	cmd := &cobra.Command{
		Use: "stop", Short: "Stop everything at once: the kill switch", Args: nothing,
		Long: `From the answer on nothing leaves for a provider, an open app or an inbox, by whatever
campaign of the workspace. What was decided and has not left is not made up for later.
footfall go-on ends it.`,
		Example: "  footfall stop --reason \"wrong price in the autumn sale\"\n  footfall stop --marketing-only",
	}
	reason := cmd.Flags().String("reason", "", "for the others, and for the audit log")
	marketing := cmd.Flags().Bool("marketing-only", false, "service messages go on")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		body := map[string]string{}
		if *reason != "" {
			body["reason"] = *reason
		}
		if *marketing {
			body["scope"] = "marketing"
		}
		if err := r.call(cmd.Context(), http.MethodPut, "/api/v1/stop", body, nil); err != nil {
			return err
		}
		fmt.Fprintln(c.errs, "everything is stopped; footfall go-on ends it")
		return nil
	}
	return cmd
}

func (c *cli) goOn() *cobra.Command {
	cmd := &cobra.Command{Use: "go-on", Short: "Go on after a stop", Args: nothing}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		if err := r.call(cmd.Context(), http.MethodDelete, "/api/v1/stop", nil, nil); err != nil {
			return err
		}
		fmt.Fprintln(c.errs, "messages go out again")
		return nil
	}
	return cmd
}

func (c *cli) audit() *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "Say who changed what of the configuration, the newest first", Args: nothing,
		Example: "  footfall audit --kind campaign --id rainy-day\n  footfall audit --by k-7f3a --most 20",
	}
	kind := cmd.Flags().String("kind", "", "campaign, place, app, key, webhook, write_key, workspace, attributes, limits, offer or catalogue")
	id := cmd.Flags().String("id", "", "only the document of this id")
	who := cmd.Flags().String("by", "", "only changes by this key")
	most := cmd.Flags().Int("most", 50, "changes at most")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		if *most < 1 || *most > 200 {
			return usageError{fmt.Errorf("--most must be 1 to 200")}
		}
		q := url.Values{"limit": {fmt.Sprint(*most)}}
		for name, v := range map[string]string{"kind": *kind, "id": *id, "by": *who} {
			if v != "" {
				q.Set(name, v)
			}
		}
		var page struct {
			Items []struct {
				Revision  uint64    `json:"revision"`
				At        time.Time `json:"at"`
				By        string    `json:"by"`
				ByName    string    `json:"by_name"`
				Kind      string    `json:"kind"`
				ID        string    `json:"id"`
				Action    string    `json:"action"`
				Documents int       `json:"documents"`
				Changed   []string  `json:"changed"`
			} `json:"items"`
		}
		if err := r.call(cmd.Context(), http.MethodGet, "/api/v1/audit?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "REVISION\tAT\tBY\tDID\tWHAT\tCHANGED")
		for _, x := range page.Items {
			what := x.Kind + " " + x.ID
			if x.Documents > 1 {
				what = fmt.Sprintf("%d of kind %s", x.Documents, x.Kind)
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", x.Revision, dateTime(x.At), named(x.ByName, x.By), x.Action, what, strings.Join(x.Changed, ", "))
		}
		return w.Flush()
	}
	return cmd
}
