package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
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
	Version   int64      `json:"version"`

	Origins      []string `json:"origins"`
	RequestsPerS int      `json:"requests_per_s"`
	CallsPerS    int      `json:"calls_per_s"`
}

func (c *cli) writeKeys() *cobra.Command {
	cmd := &cobra.Command{
		Use: "write-keys", Short: "Make, list, set and revoke write keys of the tracking API", Args: nothing,
		Long: `With a write key a website, a server or a till tells what people did, by the tracking
API below /v1, which Segment's libraries speak. Nothing can be read with it.

A public key may stand in pages, where everybody can read it: what it brings is of
anonymous visitors only. A server's key is a secret, is shown once, and is believed.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.writeKeysCreate(), c.writeKeysList(), c.writeKeysSet(), c.writeKeysRevoke())
	return cmd
}

func (c *cli) writeKeysCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a write key and show it", Args: exactly(1, "the key's name"),
		Example: `  footfall write-keys create "the web shop" --kind public
  footfall write-keys create "web shop" --kind public --origin https://shop.example --origin "https://*.shop.example"
  footfall write-keys create "tills" --kind server --source till`,
	}
	var b bounds
	b.flags(cmd)
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
		body := map[string]any{"name": args[0], "kind": *kind}
		b.into(body)
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
		return list(cmd, c, r, "/api/v1/write-keys", "ID\tKIND\tSOURCE\tNAME\tSINCE\tKEY", func(w io.Writer, k writeKey) {
			state := cmp.Or(k.Token, "(secret)")
			if k.RevokedAt != nil {
				state = "revoked " + k.RevokedAt.Format(time.DateTime)
			}
			if len(k.Origins) > 0 {
				state += "  from " + strings.Join(k.Origins, " ")
			}
			if k.RequestsPerS > 0 || k.CallsPerS > 0 {
				state += fmt.Sprintf("  at most %s requests/s, %s calls/s", bound(k.RequestsPerS), bound(k.CallsPerS))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Kind, k.Source, k.Name, k.UpdatedAt.Format(time.DateTime), state)
		})
	}
	return cmd
}

// bounds are what a write key may be held to.
type bounds struct {
	origins         []string
	requests, calls int
}

func (b *bounds) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&b.origins, "origin", nil, "of a public key: pages that may use it, https://shop.example or https://*.shop.example; can be repeated (default: all)")
	cmd.Flags().IntVar(&b.requests, "requests-per-s", 0, "requests that the key may bring per second (default: 1,000)")
	cmd.Flags().IntVar(&b.calls, "calls-per-s", 0, "calls that the key may bring per second (default: 20,000)")
}

func (b *bounds) into(body map[string]any) {
	if len(b.origins) > 0 {
		body["origins"] = b.origins
	}
	if b.requests != 0 {
		body["requests_per_s"] = b.requests
	}
	if b.calls != 0 {
		body["calls_per_s"] = b.calls
	}
}

func bound(n int) string {
	if n == 0 {
		return "any"
	}
	return strconv.Itoa(n)
}

func (c *cli) writeKeysSet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set ID", Short: "Say which pages may use a write key, and how much it may bring", Args: exactly(1, "the key's id"),
		Long: `Say which pages may use a write key, and how much it may bring. What is not said stays;
an empty --origin lets all pages use it again, and 0 takes a bound back.`,
		Example: `  footfall write-keys set 3f9c --origin https://shop.example --calls-per-s 500`,
	}
	var b bounds
	b.flags(cmd)
	name := cmd.Flags().String("name", "", "another name")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		var have *writeKey
		if err := pages(cmd.Context(), r, "/api/v1/write-keys", func(k writeKey) error {
			if k.ID == args[0] {
				have = &k
			}
			return nil
		}); err != nil {
			return err
		}
		if have == nil {
			return fmt.Errorf("there is no write key %s", args[0])
		}
		want := bounds{have.Origins, have.RequestsPerS, have.CallsPerS}
		if cmd.Flags().Changed("origin") {
			want.origins = slices.DeleteFunc(b.origins, func(o string) bool { return o == "" })
		}
		if cmd.Flags().Changed("requests-per-s") {
			want.requests = b.requests
		}
		if cmd.Flags().Changed("calls-per-s") {
			want.calls = b.calls
		}
		body := map[string]any{"name": cmp.Or(*name, have.Name), "version": have.Version}
		want.into(body)
		if err := r.call(cmd.Context(), "PUT", "/api/v1/write-keys/"+url.PathEscape(args[0]), body, nil); err != nil {
			return err
		}
		fmt.Fprintln(c.errs, "changed", args[0])
		return nil
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
