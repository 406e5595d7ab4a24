package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/server/app"
)

type key struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	UpdatedAt time.Time `json:"updated_at"`
	Token     string    `json:"token"`
}

func (c *cli) keys() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Make, list and revoke server keys", Args: nothing,
		Long: `Server keys are the bearer tokens of the API. A key is shown once, when it is made;
only its hash is kept. Roles: admin (everything, in every workspace), marketer
(everything but keys and apps, in its workspace), viewer (reads), till (redeems codes
of offers, and reads nothing).`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.keysCreate(), c.keysList(), c.keysRevoke(), c.keysReset())
	return cmd
}

func (c *cli) keysCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a key and show it once", Args: exactly(1, "the key's name"),
		Example: `  footfall keys create "the console" --role marketer`,
	}
	role := cmd.Flags().String("role", "marketer", "admin, marketer, viewer or till")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		var k key
		if err := r.call(cmd.Context(), "POST", "/api/v1/keys", map[string]string{"name": args[0], "role": *role}, &k); err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%s\n", k.Token)
		fmt.Fprintf(c.errs, "key %s (%s, %s); it is not shown again\n", k.ID, k.Name, k.Role)
		return nil
	}
	return cmd
}

func (c *cli) keysList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the keys of the workspace", Args: nothing}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		return list(cmd, c, r, "/api/v1/keys", "ID\tROLE\tNAME\tMADE", func(w io.Writer, k key) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.ID, k.Role, k.Name, k.UpdatedAt.Format(time.DateTime))
		})
	}
	return cmd
}

func (c *cli) keysRevoke() *cobra.Command {
	cmd := &cobra.Command{Use: "revoke ID", Short: "Revoke a key at once", Args: exactly(1, "the key's id")}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		if err := r.call(cmd.Context(), "DELETE", "/api/v1/keys/"+url.PathEscape(args[0]), nil, nil); err != nil {
			return err
		}
		fmt.Fprintln(c.errs, "revoked", args[0])
		return nil
	}
	return cmd
}

func (c *cli) keysReset() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reset-admin", Short: "Make a new admin key, without a server", Args: nothing,
		Long: `Make a new admin key without a server, for when all admin keys are lost. Others
stay as they are. With an embedded event log the server must be stopped; with one on
NATS a running server takes the key within seconds.`,
	}
	load := c.settings(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		conf, err := load()
		if err != nil {
			return err
		}
		token, err := app.ResetAdmin(cmd.Context(), conf)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.out, token.Reveal())
		of := conf.DataDir
		if !conf.EventLog.Embedded() {
			of = conf.EventLog.URL
		}
		fmt.Fprintln(c.errs, "new admin key of", of+"; it is not shown again")
		return nil
	}
	return cmd
}

// nothing demands that no arguments follow, and names the commands that could be
// meant.
func nothing(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasAvailableSubCommands() {
		return usageError{fmt.Errorf("%q takes no arguments, has %q; see '%s --help'", cmd.CommandPath(), args[0], cmd.CommandPath())}
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usageError{fmt.Errorf("unknown command %q of %q; did you mean %s?", args[0], cmd.CommandPath(), strings.Join(near, " or "))}
	}
	var known []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			known = append(known, c.Name())
		}
	}
	return usageError{fmt.Errorf("unknown command %q of %q; known are %s", args[0], cmd.CommandPath(), strings.Join(known, ", "))}
}

// exactly demands n arguments.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("give %s; see '%s --help'", what, cmd.CommandPath())}
		}
		return nil
	}
}
