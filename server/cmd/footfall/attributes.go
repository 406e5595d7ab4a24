package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) attributes() *cobra.Command {
	cmd := &cobra.Command{
		Use: "attributes", Short: "Say what persons' attributes are, and of what type", Args: nothing,
		Long: `List the attributes that persons have: their types, whether these were declared or
learned from the first values, how many of some persons who are looked at have one, and
examples. A value of another type than an attribute's is dropped, alone, and listed by
'footfall dropped'.

No example is shown of what is marked private, whose name says that it is about who
somebody is, or that looks like an e-mail address or a telephone number.`,
		Example: `  footfall attributes
  footfall attributes declare points number
  footfall attributes forget points`,
	}
	c.shows(cmd, func([]string) string { return "/api/v1/attribute-types" }, c.printAttributes)
	cmd.AddCommand(c.attributesDeclare(), c.attributesForget())
	return cmd
}

func (c *cli) printAttributes(raw json.RawMessage) error {
	var x struct {
		LookedAt   int `json:"looked_at"`
		Attributes []struct {
			Name     string    `json:"name"`
			Type     string    `json:"type"`
			Source   string    `json:"source"`
			Doubtful bool      `json:"doubtful"`
			Private  bool      `json:"private"`
			Persons  int       `json:"persons"`
			LastAt   time.Time `json:"last_at"`
			Examples []struct {
				Value json.RawMessage `json:"value"`
			} `json:"examples"`
		} `json:"attributes"`
	}
	if err := json.Unmarshal(raw, &x); err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "NAME\tTYPE\tKNOWN\tOF %d PERSONS\tLAST\tEXAMPLES\n", x.LookedAt)
	for _, a := range x.Attributes {
		known, last, typ := a.Source, "-", a.Type
		if a.Doubtful {
			known += ", from apps and pages"
		}
		if a.Private {
			known += ", private"
		}
		if !a.LastAt.IsZero() {
			last = a.LastAt.Format(time.DateTime)
		}
		if typ == "" {
			typ = "-"
		}
		values := make([]string, len(a.Examples))
		for i, e := range a.Examples {
			values[i] = string(e.Value)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", a.Name, typ, known, a.Persons, last, strings.Join(values, " "))
	}
	return w.Flush()
}

func (c *cli) attributesDeclare() *cobra.Command {
	cmd := &cobra.Command{
		Use: "declare NAME TYPE", Short: "Declare an attribute, or give it another type", Args: exactly(2, "the attribute and its type"),
		Long: `Declare an attribute. TYPE is string, number, bool, time, strings (a list of strings) or
scalar (a string, number or bool). It goes before what was learned. A warning says how many
of some persons who are looked at have a value of another type by now: rules do not see it
until it is told anew. A time is told as RFC 3339 or, by tracking calls and uploads, as a
day (2026-01-31), which is midnight UTC.`,
	}
	private := cmd.Flags().Bool("private", false, "show nobody examples of it (--private=false: show them again)")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		body := map[string]any{"type": args[1]}
		if cmd.Flags().Changed("private") {
			body["private"] = *private
		}
		var x struct {
			Warnings []struct{ Field, Reason string } `json:"warnings"`
		}
		if err := r.call(cmd.Context(), "PUT", "/api/v1/attribute-types/"+url.PathEscape(args[0]), body, &x); err != nil {
			return err
		}
		for _, w := range x.Warnings {
			fmt.Fprintf(c.errs, "warning: %s: %s\n", w.Field, w.Reason)
		}
		fmt.Fprintf(c.errs, "%s is declared as %s\n", args[0], args[1])
		return nil
	}
	return cmd
}

func (c *cli) attributesForget() *cobra.Command {
	cmd := &cobra.Command{
		Use: "forget NAME", Short: "Forget the type of an attribute: the next values teach it anew", Args: exactly(1, "the attribute"),
	}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		if err := r.call(cmd.Context(), "DELETE", "/api/v1/attribute-types/"+url.PathEscape(args[0]), nil, nil); err != nil {
			return err
		}
		fmt.Fprintf(c.errs, "the type of %s is forgotten\n", args[0])
		return nil
	}
	return cmd
}
