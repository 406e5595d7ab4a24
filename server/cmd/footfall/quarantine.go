package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

type quarantined struct {
	ID     string    `json:"id"`
	Kind   string    `json:"kind"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

func (c *cli) quarantine() *cobra.Command {
	cmd := &cobra.Command{
		Use: "quarantine", Short: "List and retry entries that were set aside", Args: nothing,
		Long: `An entry whose step fails again and again is set aside so that it stops nobody.
When the cause is mended, retry appends it again.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	shown := &cobra.Command{Use: "list", Short: "List what is set aside, with reasons", Args: nothing}
	remoteOfList := c.remoteFlags(shown)
	shown.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := remoteOfList()
		if err != nil {
			return err
		}
		return list(cmd, c, r, "/api/v1/quarantine", "ID\tKIND\tAT\tREASON", func(w io.Writer, q quarantined) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", q.ID, q.Kind, q.At.Format(time.DateTime), q.Reason)
		})
	}
	retry := &cobra.Command{Use: "retry ID", Short: "Append an entry again", Args: exactly(1, "the entry's id")}
	remoteOfRetry := c.remoteFlags(retry)
	retry.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remoteOfRetry()
		if err != nil {
			return err
		}
		if err := r.call(cmd.Context(), "POST", "/api/v1/quarantine/retry", map[string]string{"id": args[0]}, nil); err != nil {
			return err
		}
		fmt.Fprintln(c.errs, "appended again:", args[0])
		return nil
	}
	cmd.AddCommand(shown, retry)
	return cmd
}
