package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// webhookDoc is a webhook as the server shows it.
type webhookDoc struct {
	ID        string          `json:"id"`
	Version   int64           `json:"version"`
	Name      string          `json:"name"`
	URL       string          `json:"url"`
	Status    string          `json:"status"`
	Because   string          `json:"disabled_because"`
	Types     []string        `json:"types"`
	Places    []string        `json:"places"`
	Tags      []string        `json:"tags"`
	Campaigns []string        `json:"campaigns"`
	Headers   []string        `json:"header_names"`
	Batch     int             `json:"batch"`
	Secrets   []webhookSecret `json:"secrets"`
	Health    webhookHealth   `json:"health"`
}

type webhookSecret struct {
	ID        string    `json:"id"`
	Secret    string    `json:"secret"` // only when it was just made
	CreatedAt time.Time `json:"created_at"`
}

type webhookHealth struct {
	Waiting      int            `json:"waiting"`
	DeadLetters  int            `json:"dead_letters"`
	FailingSince time.Time      `json:"failing_since"`
	PausedUntil  time.Time      `json:"paused_until"`
	Last         *webhookAnswer `json:"last_failure"`
}

type webhookAnswer struct {
	At     time.Time `json:"at"`
	TookMS int64     `json:"took_ms"`
	Status int       `json:"status"`
	Reason string    `json:"reason"`
	Body   string    `json:"body"`
}

// String quotes the receiver's words: they are a stranger's, and go to a terminal.
func (a *webhookAnswer) String() string {
	var parts []string
	if a.Status != 0 {
		parts = append(parts, fmt.Sprintf("status %d", a.Status))
	}
	if a.Reason != "" {
		parts = append(parts, a.Reason)
	}
	if a.Body != "" {
		parts = append(parts, fmt.Sprintf("%q", a.Body))
	}
	return strings.Join(parts, " ")
}

func (c *cli) webhooks() *cobra.Command {
	cmd := &cobra.Command{
		Use: "webhooks", Short: "Make, test and look after the webhooks of the workspace", Args: nothing,
		Long: `Webhooks tell your own systems of enters, exits, visits, deliveries and conversions,
as signed CloudEvents. An event that a receiver refused, or did not take for a day, is
a dead letter until it is sent again or deleted. Changes and tests want an admin's key.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.webhooksList(), c.webhooksShow(), c.webhooksApply(), c.webhooksDelete(), c.webhooksTest(), c.webhookSecrets(), c.deadLetters())
	return cmd
}

// webhookPath is the path of a webhook, or of what is below it.
func webhookPath(id string, more ...string) string {
	parts := []string{"/api/v1/webhooks", url.PathEscape(id)}
	for _, m := range more {
		parts = append(parts, url.PathEscape(m))
	}
	return strings.Join(parts, "/")
}

func (c *cli) webhooksList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List webhooks, and how they do", Args: nothing}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		return list(cmd, c, r, "/api/v1/webhooks", "ID\tSTATUS\tWAITING\tDEAD\tFAILING SINCE\tURL\tNAME", func(w io.Writer, h webhookDoc) {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", h.ID, h.Status, h.Health.Waiting, h.Health.DeadLetters, dateTime(h.Health.FailingSince), h.URL, h.Name)
		})
	}
	return cmd
}

func (c *cli) webhooksShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show a webhook, its secrets' ids, and how it does", Args: exactly(1, "a webhook's id")}
	c.shows(cmd, func(args []string) string { return webhookPath(args[0]) }, c.printWebhook)
	return cmd
}

func (c *cli) printWebhook(raw json.RawMessage) error {
	var h webhookDoc
	if err := json.Unmarshal(raw, &h); err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	line("id", h.ID)
	line("name", h.Name)
	line("version", fmt.Sprint(h.Version))
	line("url", h.URL)
	line("status", strings.TrimSpace(h.Status+" "+h.Because))
	types := "all"
	if len(h.Types) > 0 {
		types = strings.Join(h.Types, ", ")
	}
	line("types", types)
	line("places", strings.Join(h.Places, ", "))
	line("tags", strings.Join(h.Tags, ", "))
	line("campaigns", strings.Join(h.Campaigns, ", "))
	line("headers", strings.Join(h.Headers, ", "))
	if h.Batch > 1 {
		line("batch", fmt.Sprint(h.Batch))
	}
	for _, s := range h.Secrets {
		line("secret", s.ID+" of "+dateTime(s.CreatedAt))
	}
	line("waiting", fmt.Sprint(h.Health.Waiting))
	line("dead letters", fmt.Sprint(h.Health.DeadLetters))
	if !h.Health.FailingSince.IsZero() {
		line("failing since", dateTime(h.Health.FailingSince))
	}
	if !h.Health.PausedUntil.IsZero() {
		line("paused until", dateTime(h.Health.PausedUntil))
	}
	if h.Health.Last != nil {
		line("last failure", dateTime(h.Health.Last.At)+" "+h.Health.Last.String())
	}
	return w.Flush()
}

func (c *cli) webhooksApply() *cobra.Command {
	cmd := &cobra.Command{
		Use: "apply ID FILE", Short: "Create or change a webhook from a JSON file", Args: exactly(2, "a webhook's id and a file"),
		Long: `Create a webhook, or change the one that is there, to what a JSON file says (- for
standard input). The secret of a new one goes to standard output, once: your receiver
verifies with it. What the file leaves out goes back to its default, but for the
headers, which stay. A file that names a version changes that version only.`,
		Example: `  footfall webhooks apply crm crm.json
  echo '{"url":"https://crm.example.com/footfall","types":["footfall.place.entered"]}' | footfall webhooks apply crm -`,
	}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		raw, err := readSmall(args[1])
		if err != nil {
			return usageError{err}
		}
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(bytes.TrimSpace(raw), &doc); err != nil || doc == nil {
			return usageError{fmt.Errorf("%s is no JSON object", args[1])}
		}
		r, err := remote()
		if err != nil {
			return err
		}
		var was webhookDoc
		err = r.call(cmd.Context(), http.MethodGet, webhookPath(args[0]), nil, &was)
		if a, ok := errors.AsType[*answerError](err); ok && a.status == http.StatusNotFound {
			err = nil // it will be new
		}
		if err != nil {
			return err
		}
		// Who changes it in between is not overwritten unseen: the server compares.
		if _, named := doc["version"]; !named && was.Version != 0 {
			doc["version"] = json.RawMessage(fmt.Sprint(was.Version))
		}
		var now webhookDoc
		if err := r.call(cmd.Context(), http.MethodPut, webhookPath(args[0]), doc, &now); err != nil {
			return err
		}
		for _, s := range now.Secrets {
			if s.Secret != "" {
				fmt.Fprintln(c.out, s.Secret)
				fmt.Fprintf(c.errs, "secret %s of webhook %s; it is not shown again\n", s.ID, now.ID)
			}
		}
		fmt.Fprintf(c.errs, "webhook %s is %s, version %d\n", now.ID, now.Status, now.Version)
		return nil
	}
	return cmd
}

func (c *cli) webhooksDelete() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete ID", Short: "Delete a webhook, what waits for it and its dead letters", Args: exactly(1, "a webhook's id"),
	}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		if err := r.call(cmd.Context(), http.MethodDelete, webhookPath(args[0]), nil, nil); err != nil {
			return err
		}
		fmt.Fprintln(c.errs, "deleted", args[0])
		return nil
	}
	return cmd
}

func (c *cli) webhooksTest() *cobra.Command {
	cmd := &cobra.Command{
		Use: "test ID", Short: "Send a ping to the receiver, and show its answer", Args: exactly(1, "a webhook's id"),
		Long: `Send one event of the type footfall.ping, whatever the webhook's status, and show what
the receiver answered. The exit code is 0 when it took it, and 1 when it did not.`,
	}
	asJSON := cmd.Flags().Bool("json", false, "print the server's answer as it is")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		r.http.Timeout = 90 * time.Second // webhooks.timeout_s may be 60
		var raw json.RawMessage
		if err := r.call(cmd.Context(), http.MethodPost, webhookPath(args[0], "test"), struct{}{}, &raw); err != nil {
			return err
		}
		var t struct {
			Event   string        `json:"event"`
			Outcome string        `json:"outcome"`
			Answer  webhookAnswer `json:"answer"`
		}
		if err := json.Unmarshal(raw, &t); err != nil {
			return err
		}
		if *asJSON {
			fmt.Fprintf(c.out, "%s\n", raw)
		} else {
			answer := t.Answer.String()
			if answer != "" {
				answer = " (" + answer + ")"
			}
			fmt.Fprintf(c.out, "ping %s: %s%s in %d ms\n", t.Event, t.Outcome, answer, t.Answer.TookMS)
		}
		if t.Outcome != "accepted" {
			return fmt.Errorf("the receiver did not take it: %s", strings.TrimSpace(t.Outcome+" "+t.Answer.Reason))
		}
		return nil
	}
	return cmd
}

func (c *cli) webhookSecrets() *cobra.Command {
	cmd := &cobra.Command{
		Use: "secrets", Short: "Exchange the secret of a webhook", Args: nothing,
		Long: `A webhook has one secret, or two while they are exchanged, which both sign every event.
Add one, let your receiver take either, and delete the old one; show names their ids.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	add := &cobra.Command{Use: "add ID", Short: "Add a second secret and show it once", Args: exactly(1, "a webhook's id")}
	remoteOfAdd := c.remoteFlags(add)
	add.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remoteOfAdd()
		if err != nil {
			return err
		}
		var s webhookSecret
		if err := r.call(cmd.Context(), http.MethodPost, webhookPath(args[0], "secrets"), struct{}{}, &s); err != nil {
			return err
		}
		fmt.Fprintln(c.out, s.Secret)
		fmt.Fprintf(c.errs, "secret %s of webhook %s; it is not shown again\n", s.ID, args[0])
		return nil
	}
	del := &cobra.Command{Use: "delete ID SECRET", Short: "Delete a secret at once; not the last one", Args: exactly(2, "a webhook's id and a secret's id")}
	remoteOfDelete := c.remoteFlags(del)
	del.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remoteOfDelete()
		if err != nil {
			return err
		}
		if err := r.call(cmd.Context(), http.MethodDelete, webhookPath(args[0], "secrets", args[1]), nil, nil); err != nil {
			return err
		}
		fmt.Fprintf(c.errs, "deleted secret %s of webhook %s\n", args[1], args[0])
		return nil
	}
	cmd.AddCommand(add, del)
	return cmd
}
