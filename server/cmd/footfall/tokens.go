package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/server/tokens"
	"github.com/footfall-engage/footfall/server/uploads"
)

func (c *cli) importing() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import", Short: "Import what another system has collected", Args: nothing,
		Long: `Import what another system has collected. Places have a command of their own:
footfall places import.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.importTokens())
	for _, kind := range uploads.Kinds() {
		cmd.AddCommand(c.importUpload(kind))
	}
	return cmd
}

func (c *cli) importTokens() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tokens FILE --app APP", Short: "Import push tokens with whose they are and how old", Args: exactly(1, "a file, or - for standard input"),
		Long: `Import push tokens of an app from a table (CSV with a header, separated by comma,
semicolon or tab) or from lines of JSON, of any size. A row that is refused stops no
other; it is told on standard error, and the exit code is 0. It is 1 when the file
could not be read to its end. The same file again changes nothing.

Fields: user_id or install, token, registered_at or last_seen; platform, provider,
environment, topic, notifications where they are not the app's own. Android's tokens
are stale after 30 days and expire after 270; --old says what becomes of such.

A phone that Footfall has not heard of is made up and is its user's: a message to the
user reaches it. It ends when the app registers the same token.`,
		Example: `  footfall import tokens tokens.csv --app shop-android --dry-run
  footfall import tokens tokens.ndjson --app shop-ios --old refuse_stale --report refused.ndjson`,
	}
	f := cmd.Flags()
	app := f.String("app", "", "id of the app whose tokens they are")
	old := f.String("old", string(tokens.Warn), "what becomes of tokens that are too old: warn (taken), refuse_expired or refuse_stale")
	format := f.String("format", "", "csv or ndjson (default: by the file's name, else by its first character)")
	dryRun := f.Bool("dry-run", false, "only tell what would happen")
	report := f.String("report", "", "file for all rows that were refused or have a warning, one JSON object per line")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *app == "" {
			return usageError{errors.New("give the app by --app")}
		}
		if !slices.Contains([]tokens.Old{tokens.Warn, tokens.RefuseExpired, tokens.RefuseStale}, tokens.Old(*old)) {
			return usageError{fmt.Errorf("--old must be warn, refuse_expired or refuse_stale, is %q", *old)}
		}
		file, size, err := openFile(args[0])
		if err != nil {
			return usageError{err}
		}
		defer func() { _ = file.Close() }() // it was read
		shown := c.sending(file, size)
		from := bufio.NewReader(shown)
		typ, err := tokensType(*format, args[0], from)
		if err != nil {
			return err
		}
		r, err := remote()
		if err != nil {
			return err
		}
		q := url.Values{"old": {*old}}
		if *dryRun {
			q.Set("dry_run", "true")
		}
		answer, err := r.upload(cmd.Context(), "/api/v1/apps/"+url.PathEscape(*app)+"/push-tokens?"+q.Encode(), typ, from)
		shown.clear()
		if err != nil {
			return err
		}
		defer func() { _ = answer.Close() }() // it was read to its end, or the error is told
		return c.tellTokens(answer, *report)
	}
	return cmd
}

// tokensType is the media type of a file, by what is said of it or else by how it
// begins.
func tokensType(format, name string, from *bufio.Reader) (string, error) {
	if format == "" {
		switch strings.ToLower(filepath.Ext(name)) {
		case ".csv", ".tsv":
			format = string(tokens.CSV)
		case ".ndjson", ".jsonl", ".json":
			format = string(tokens.NDJSON)
		default:
			format = string(tokens.CSV)
			if b, err := from.Peek(1); err == nil && b[0] == '{' {
				format = string(tokens.NDJSON)
			}
		}
	}
	switch tokens.Format(format) {
	case tokens.CSV:
		return "text/csv", nil
	case tokens.NDJSON:
		return "application/x-ndjson", nil
	default:
		return "", usageError{fmt.Errorf("--format must be csv or ndjson, is %q", format)}
	}
}

// tellTokens prints a report by rows and keeps it in a file, if one is named.
func (c *cli) tellTokens(answer io.Reader, keep string) error {
	var r tokens.Report
	if err := tellRows(c, answer, keep, c.tellTokenRow, &r); err != nil {
		return err
	}
	if r.DryRun {
		fmt.Fprintln(c.out, "a dry run: nothing was saved")
	}
	fmt.Fprintf(c.out, "rows: %d read, %d taken, %d refused, %d with a warning, %d too old\n", r.Read, r.Taken, r.Refused, r.Warned, r.Stale)
	if r.Error != nil {
		return fmt.Errorf("the rest of the file was not read: %s", sentence(r.Error.Field, r.Error.Reason))
	}
	return nil
}

func (c *cli) tellTokenRow(row tokens.RowReport) {
	if row.Error != nil {
		fmt.Fprintf(c.errs, "row %d refused: %s\n", row.Row, sentence(row.Error.Field, row.Error.Reason))
	}
	for _, w := range row.Warnings {
		fmt.Fprintf(c.errs, "row %d: %s\n", row.Row, sentence(w.Field, w.Reason))
	}
}
