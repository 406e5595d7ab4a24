package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// maxTold bounds the rows that are told on standard error.
const maxTold = 20

// tellRows tells the rows of an import's report, the first ones, keeps all of them in a
// file if one is named, and reads the counts, which come last, into counts.
func tellRows[Row any](c *cli, answer io.Reader, keep string, tell func(Row), counts any) (err error) {
	out := io.Discard
	if keep != "" {
		f, err := os.Create(keep) //nolint:gosec // whoever calls the command names it
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	told := 0
	last, err := eachButLast(answer, func(line []byte) error {
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
		var row Row
		if err := json.Unmarshal(line, &row); err != nil {
			return fmt.Errorf("the server's report: %w", err)
		}
		if told++; told <= maxTold {
			tell(row)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(last, counts); err != nil {
		return fmt.Errorf("the server's report: %w", err)
	}
	if told > maxTold {
		where := "; --report FILE keeps them all"
		if keep != "" {
			where = "; they are all in " + keep
		}
		fmt.Fprintf(c.errs, "and %d more rows%s\n", told-maxTold, where)
	}
	return nil
}

// eachButLast calls f for every line but the last, which it returns.
func eachButLast(from io.Reader, f func([]byte) error) (last []byte, err error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		if last != nil {
			if err := f(last); err != nil {
				return nil, err
			}
		}
		last = append([]byte(nil), lines.Bytes()...)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("the server's report: %w", err)
	}
	return last, nil
}

// list prints a list of the server's as a table, page after page.
func list[T any](cmd *cobra.Command, c *cli, r *remote, path, head string, row func(w io.Writer, item T)) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	err := pages(cmd.Context(), r, path, func(item T) error {
		row(w, item)
		return nil
	})
	if err != nil {
		return err
	}
	return w.Flush()
}

// shows makes a command that asks the server for one thing, by the path that its
// arguments make, and prints it: for a person, or with --json for a program.
func (c *cli) shows(cmd *cobra.Command, path func(args []string) string, tell func(json.RawMessage) error) {
	asJSON := cmd.Flags().Bool("json", false, "print the server's answer as it is")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := r.call(cmd.Context(), http.MethodGet, path(args), nil, &raw); err != nil {
			return err
		}
		if *asJSON {
			fmt.Fprintf(c.out, "%s\n", raw)
			return nil
		}
		return tell(raw)
	}
}

// searches makes a command that lists what the server finds, the newest first, as a table
// with the head, or with --json as the server has it. Flags that are given are its
// parameters by their name there; times and how many come to them.
func (c *cli) searches(cmd *cobra.Command, path, what string, flags map[string]*string, head string, row func(w io.Writer, raw json.RawMessage) error) {
	f := cmd.Flags()
	times := map[string]*string{"from": f.String("from", "", "at this time or later"), "to": f.String("to", "", "before this time")}
	most := f.Int("most", 100, what+" at most")
	asJSON := f.Bool("json", false, "print them as the server has them, one a line")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		q := url.Values{}
		for name, text := range flags {
			if *text != "" {
				q.Set(name, *text)
			}
		}
		for name, text := range times {
			at, err := momentOf(*text)
			if err != nil {
				return usageError{fmt.Errorf("--%s: %w", name, err)}
			}
			if !at.IsZero() {
				q.Set(name, at.Format(time.RFC3339Nano))
			}
		}
		r, err := remote()
		if err != nil {
			return err
		}
		at := path
		if len(q) > 0 {
			at += "?" + q.Encode()
		}
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		if !*asJSON {
			fmt.Fprintln(w, head)
		}
		n := 0
		err = pages(cmd.Context(), r, at, func(raw json.RawMessage) error {
			if n++; n > *most {
				return errEnough
			}
			if *asJSON {
				_, err := fmt.Fprintf(c.out, "%s\n", raw)
				return err
			}
			return row(w, raw)
		})
		if err != nil && err != errEnough { //nolint:errorlint // it is ours, as it is
			return err
		}
		return w.Flush()
	}
}
