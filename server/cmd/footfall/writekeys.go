package main

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

type writeKey struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Kind      string     `json:"kind"`
	Source    string     `json:"source"`
	Token     string     `json:"token"`
	RevokedAt *time.Time `json:"revoked_at"`
	UpdatedAt time.Time  `json:"updated_at"`
}

func (c *cli) writeKeys() *cobra.Command {
	cmd := &cobra.Command{
		Use: "write-keys", Short: "Make, list and revoke write keys of the tracking API", Args: nothing,
		Long: `With a write key a website, a server or a till tells what people did, by the tracking
API below /v1, which Segment's libraries speak. Nothing can be read with it.

A public key may stand in pages, where everybody can read it: what it brings is of
anonymous visitors only. A server's key is a secret, is shown once, and is believed.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.writeKeysCreate(), c.writeKeysList(), c.writeKeysRevoke())
	return cmd
}

func (c *cli) writeKeysCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a write key and show it", Args: exactly(1, "the key's name"),
		Example: `  footfall write-keys create "the web shop" --kind public
  footfall write-keys create "tills" --kind server --source till`,
	}
	kind := cmd.Flags().String("kind", "", "public (for pages) or server (a secret)")
	source := cmd.Flags().String("source", "", "what uses it: web, server or till (default: web of a public key, server of a server's)")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *kind == "" {
			return usageError{fmt.Errorf("say who can read the key: --kind public or --kind server")}
		}
		r, err := remote()
		if err != nil {
			return err
		}
		body := map[string]string{"name": args[0], "kind": *kind}
		if *source != "" {
			body["source"] = *source
		}
		var k writeKey
		if err := r.call(cmd.Context(), "POST", "/api/v1/write-keys", body, &k); err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%s\n", k.Token)
		again := ""
		if k.Kind == "server" {
			again = "; it is not shown again"
		}
		fmt.Fprintf(c.errs, "write key %s (%s, %s, of a %s)%s\n", k.ID, k.Name, k.Kind, k.Source, again)
		return nil
	}
	return cmd
}

func (c *cli) writeKeysList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the write keys of the workspace, the revoked ones too", Args: nothing}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tKIND\tSOURCE\tNAME\tSINCE\tKEY")
		err = pages(cmd.Context(), r, "/api/v1/write-keys", func(k writeKey) error {
			state := cmp.Or(k.Token, "(secret)")
			if k.RevokedAt != nil {
				state = "revoked " + k.RevokedAt.Format(time.DateTime)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Kind, k.Source, k.Name, k.UpdatedAt.Format(time.DateTime), state)
			return nil
		})
		if err != nil {
			return err
		}
		return w.Flush()
	}
	return cmd
}

func (c *cli) writeKeysRevoke() *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke ID", Short: "Revoke a write key at once", Args: exactly(1, "the key's id"),
		Long: `Revoke a write key at once. What it still brings is answered, so that nobody repeats it,
and listed by 'footfall dropped'. Revoking it again forgets it.`,
	}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		if err := r.call(cmd.Context(), "DELETE", "/api/v1/write-keys/"+url.PathEscape(args[0]), nil, nil); err != nil {
			return err
		}
		fmt.Fprintln(c.errs, "revoked", args[0])
		return nil
	}
	return cmd
}

type droppedLine struct {
	At   time.Time `json:"at"`
	From struct {
		Kind string `json:"kind"`
		Key  string `json:"key"`
		Name string `json:"name"`
	} `json:"from"`
	Message string `json:"message"`
	Type    string `json:"type"`
	Code    string `json:"code"`
	Field   string `json:"field"`
	Reason  string `json:"reason"`
	Profile string `json:"profile"`
}

// errEnough ends a list.
var errEnough = fmt.Errorf("enough")

func (c *cli) dropped() *cobra.Command {
	cmd := &cobra.Command{
		Use: "dropped", Short: "List what was answered as taken and had no effect, with reasons", Args: nothing,
		Long: `The tracking API answers 200 also to calls that have no effect, since libraries would
repeat them for nothing otherwise. Each is listed with its reason, the newest first, and
so is what did not fit the person it was about. No value that was sent is shown.`,
		Example: `  footfall dropped --code identity_invalid --most 20`,
	}
	code := cmd.Flags().String("code", "", "only of this code, such as invalid, too_large, identity_invalid")
	key := cmd.Flags().String("key", "", "only what this write key brought: its id")
	most := cmd.Flags().Int("most", 100, "lines at most")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		q := url.Values{}
		if *code != "" {
			q.Set("code", *code)
		}
		if *key != "" {
			q.Set("key", *key)
		}
		path := "/api/v1/dropped"
		if len(q) > 0 {
			path += "?" + q.Encode()
		}
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "AT\tFROM\tTYPE\tCODE\tFIELD\tREASON\tMESSAGE")
		n := 0
		err = pages(cmd.Context(), r, path, func(d droppedLine) error {
			if n++; n > *most {
				return errEnough
			}
			from := strings.TrimSpace(d.From.Kind + " " + d.From.Key)
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.At.Format(time.DateTime), from, d.Type, d.Code, d.Field, d.Reason, d.Message)
			return nil
		})
		if err != nil && err != errEnough { //nolint:errorlint // it is ours, as it is
			return err
		}
		return w.Flush()
	}
	return cmd
}
