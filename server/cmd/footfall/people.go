package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) people() *cobra.Command {
	cmd := &cobra.Command{
		Use: "people", Short: "Look at persons, and give them what they ask for: a copy, to be erased, to be left alone", Args: nothing,
		Long: `Look at persons, and give them what they may ask for.

PERSON is a profile id, an identifier such as user_id:ada or email:ada@example.org,
or install:ID. Who looks is noted: 'accesses' lists it.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.getPerson(), c.timeline(), c.exportPerson(), c.erasePerson(), c.erasures(), c.accesses(), c.suppress())
	return cmd
}

func personPath(id string) string { return "/api/v1/people/" + url.PathEscape(id) }

func (c *cli) getPerson() *cobra.Command {
	cmd := &cobra.Command{Use: "get PERSON", Short: "Show what is known of a person, as JSON", Args: exactly(1, "a person")}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := r.call(cmd.Context(), http.MethodGet, personPath(args[0]), nil, &raw); err != nil {
			return err
		}
		return c.indented(raw)
	}
	return cmd
}

func (c *cli) indented(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s\n", b)
	return nil
}

func (c *cli) exportPerson() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export PERSON", Short: "Export everything that is kept of a person, as one JSON object", Args: exactly(1, "a person"),
		Long: `Export everything that is kept of a person as one JSON object: what is known, timeline,
visits, positions, decisions, deliveries, inbox, Live Activities, what was dropped, and who
looked. Push tokens are withheld. An export
that breaks off is an error, and no file is left.`,
		Example: "  footfall people export user_id:ada --out ada.json",
	}
	out := cmd.Flags().String("out", "", "file to write, readable by you alone (default: standard output)")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		r.http = &http.Client{} // a long history takes its time
		if *out == "" {
			return r.download(cmd.Context(), personPath(args[0])+"/export", c.out)
		}
		f, err := os.OpenFile(*out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return usageError{err}
		}
		err = errors.Join(r.download(cmd.Context(), personPath(args[0])+"/export", f), f.Close())
		if err != nil {
			return errors.Join(err, os.Remove(*out))
		}
		fmt.Fprintln(c.errs, "written:", *out)
		return nil
	}
	return cmd
}

// download copies an answer that is one JSON object; one that breaks off is an error.
func (r *remote) download(ctx context.Context, path string, to io.Writer) error {
	req, err := r.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	if resp.StatusCode >= 400 {
		b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return err
		}
		return problem(resp, b)
	}
	tail := tailWriter{to: to}
	if _, err := io.Copy(&tail, resp.Body); err != nil {
		return err
	}
	if tail.last != '}' {
		return errors.New("the export broke off: see the server's log")
	}
	return nil
}

// tailWriter knows the last byte that is no white space.
type tailWriter struct {
	to   io.Writer
	last byte
}

func (w *tailWriter) Write(b []byte) (int, error) {
	if seen := bytes.TrimSpace(b); len(seen) > 0 {
		w.last = seen[len(seen)-1]
	}
	return w.to.Write(b)
}

// erasure is a receipt, as commands show it.
type erasure struct {
	ID           string           `json:"id"`
	State        string           `json:"state"`
	At           time.Time        `json:"at"`
	DoneAt       time.Time        `json:"done_at,omitzero"`
	LogUntil     time.Time        `json:"log_until"`
	LogRemovedAt time.Time        `json:"log_removed_at,omitzero"`
	Suppressed   bool             `json:"suppressed"`
	By           string           `json:"by"` // id of the key that asked
	Reason       string           `json:"reason"`
	Deleted      map[string]int64 `json:"deleted"`
}

const erasureDone = "done"

func (c *cli) erasePerson() *cobra.Command {
	cmd := &cobra.Command{
		Use: "erase PERSON", Short: "Erase a person and all that is kept of them, and print the receipt", Args: exactly(1, "a person"),
		Long: `Erase a person: everything that is kept of them, also of what was merged into them. It
cannot be undone, so --yes is required. The command waits until it is done and prints
the receipt, which says until when the event log has records of before; with --no-wait
it prints the receipt as it is. A phone whose app lives on comes back as a stranger.`,
		Example: `  footfall people erase user_id:ada --yes
  footfall people erase email:ada@example.org --yes --suppress --reason "letter of 3 May"`,
	}
	f := cmd.Flags()
	yes := f.Bool("yes", false, "really erase")
	suppress := f.Bool("suppress", false, "also take in nothing any more that names the person")
	reason := f.String("reason", "", "for the receipt; no name in it")
	noWait := f.Bool("no-wait", false, "do not wait until it is done")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !*yes {
			return usageError{errors.New("erasing cannot be undone: say --yes")}
		}
		r, err := remote()
		if err != nil {
			return err
		}
		q := url.Values{}
		if *suppress {
			q.Set("suppress", "true")
		}
		if *reason != "" {
			q.Set("reason", *reason)
		}
		var e erasure
		if err := r.call(cmd.Context(), http.MethodDelete, personPath(args[0])+"?"+q.Encode(), nil, &e); err != nil {
			return err
		}
		for e.State != erasureDone && !*noWait {
			select {
			case <-time.After(500 * time.Millisecond):
			case <-cmd.Context().Done():
				return cmd.Context().Err()
			}
			if err := r.call(cmd.Context(), http.MethodGet, "/api/v1/erasures/"+url.PathEscape(e.ID), nil, &e); err != nil {
				return err
			}
		}
		return c.indented(e)
	}
	return cmd
}

func (c *cli) erasures() *cobra.Command {
	cmd := &cobra.Command{Use: "erasures", Short: "List receipts of erasures, the newest first", Args: nothing}
	of := cmd.Flags().String("of", "", "only those of whom had this identifier, such as user_id:ada")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		path := "/api/v1/erasures"
		if *of != "" {
			path += "?identifier=" + url.QueryEscape(*of)
		}
		return list(cmd, c, r, path, "RECEIPT\tSTATE\tASKED\tLOG FREE\tREASON", func(w io.Writer, e erasure) {
			free := "until " + e.LogUntil.Format(time.DateTime)
			if !e.LogRemovedAt.IsZero() {
				free = e.LogRemovedAt.Format(time.DateTime)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.ID, e.State, e.At.Format(time.DateTime), free, e.Reason)
		})
	}
	return cmd
}

func (c *cli) accesses() *cobra.Command {
	cmd := &cobra.Command{Use: "accesses PERSON", Short: "List who looked at a person, the newest first", Args: exactly(1, "a person")}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		type access struct {
			At                         time.Time
			Key, Name, Role, Operation string
		}
		return list(cmd, c, r, personPath(args[0])+"/accesses", "AT\tKEY\tNAME\tROLE\tWHAT", func(w io.Writer, a access) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.At.Format(time.DateTime), a.Key, a.Name, a.Role, a.Operation)
		})
	}
	return cmd
}

func (c *cli) suppress() *cobra.Command {
	cmd := &cobra.Command{
		Use: "suppress IDENTIFIER", Short: "Take in nothing that names an identifier", Args: exactly(1, "an identifier such as email:ada@example.org"),
		Long: `Put an identifier on the suppression list: what names it is dropped where it comes in.
Of somebody who is known, erase the person with --suppress instead.`,
	}
	undo := cmd.Flags().Bool("undo", false, "take it off the list")
	reason := cmd.Flags().String("reason", "", "no name in it")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		if *undo {
			return r.call(cmd.Context(), http.MethodDelete, "/api/v1/suppressions/"+url.PathEscape(args[0]), nil, nil)
		}
		return r.call(cmd.Context(), http.MethodPost, "/api/v1/suppressions", map[string]string{"identifier": args[0], "reason": *reason}, nil)
	}
	return cmd
}
