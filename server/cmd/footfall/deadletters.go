package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

const deadLetterWords = "dead-letters"

type deadLetter struct {
	Event    string         `json:"event"`
	Type     string         `json:"type"`
	Why      string         `json:"why"`
	Time     time.Time      `json:"time"`
	DiedAt   time.Time      `json:"died_at"`
	Attempts int            `json:"attempts"`
	Last     *webhookAnswer `json:"last_answer"`
}

func (c *cli) deadLetters() *cobra.Command {
	cmd := &cobra.Command{
		Use: deadLetterWords, Short: "List, send again and delete the events that were given up", Args: nothing,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.deadLettersList(), c.deadLettersRetry(), c.deadLettersDelete())
	return cmd
}

func (c *cli) deadLettersList() *cobra.Command {
	cmd := &cobra.Command{Use: "list ID", Short: "List the dead letters of a webhook, the newest first", Args: exactly(1, "a webhook's id")}
	asJSON := cmd.Flags().Bool("json", false, "one JSON object per line, with the data that the receiver would have got")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		path := webhookPath(args[0], deadLetterWords)
		if *asJSON {
			return pages(cmd.Context(), r, path, func(raw json.RawMessage) error {
				_, err := fmt.Fprintf(c.out, "%s\n", raw)
				return err
			})
		}
		return list(cmd, c, r, path, "EVENT\tTYPE\tHAPPENED\tDIED\tWHY\tATTEMPTS\tLAST ANSWER", func(w io.Writer, l deadLetter) {
			last := "-"
			if l.Last != nil {
				last = l.Last.String()
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", l.Event, l.Type, dateTime(l.Time), dateTime(l.DiedAt), l.Why, l.Attempts, last)
		})
	}
	return cmd
}

func (c *cli) deadLettersRetry() *cobra.Command {
	cmd := &cobra.Command{
		Use: "retry ID [EVENT]", Short: "Send a dead letter again, or all of them", Args: cobra.ArbitraryArgs,
		Example: "  footfall webhooks dead-letters retry crm --all",
	}
	all := cmd.Flags().Bool("all", false, "all that there are now")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOrAll(cmd, args, *all); err != nil {
			return err
		}
		r, err := remote()
		if err != nil {
			return err
		}
		body := map[string]any{"all": true}
		if !*all {
			body = map[string]any{"event": args[1]}
		}
		var done letterCount
		if err := r.call(cmd.Context(), http.MethodPost, webhookPath(args[0], deadLetterWords, "retry"), body, &done); err != nil {
			return err
		}
		fmt.Fprintf(c.errs, "%d to be sent again\n", done.Count)
		return nil
	}
	return cmd
}

func (c *cli) deadLettersDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete ID [EVENT]", Short: "Delete a dead letter, or all of them", Args: cobra.ArbitraryArgs}
	all := cmd.Flags().Bool("all", false, "all that there are now")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOrAll(cmd, args, *all); err != nil {
			return err
		}
		r, err := remote()
		if err != nil {
			return err
		}
		done := letterCount{Count: 1} // the answer for a single one is empty
		path := webhookPath(args[0], append([]string{deadLetterWords}, args[1:]...)...)
		if err := r.call(cmd.Context(), http.MethodDelete, path, nil, &done); err != nil {
			return err
		}
		fmt.Fprintf(c.errs, "%d deleted\n", done.Count)
		return nil
	}
	return cmd
}

type letterCount struct {
	Count int `json:"count"`
}

// oneOrAll demands a webhook and one event of it, or --all. An empty event would
// make the path that of all.
func oneOrAll(cmd *cobra.Command, args []string, all bool) error {
	if all && len(args) == 1 && args[0] != "" || !all && len(args) == 2 && args[0] != "" && args[1] != "" {
		return nil
	}
	return usageError{fmt.Errorf("give a webhook's id and an event's id, or a webhook's id and --all; see '%s --help'", cmd.CommandPath())}
}
