package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/server/uploads"
)

const (
	// partBytes are sent at a time: what a broken line costs at most.
	partBytes = 8 << 20
	// sendTries of a part, each sendPause later than the one before.
	sendTries = 5
	sendPause = time.Second
	// askEvery is how often a server is asked how far it is.
	askEvery = 500 * time.Millisecond
)

// uploadDoc is an upload as the API shows it.
type uploadDoc struct {
	ID       string            `json:"id"`
	Kind     string            `json:"kind"`
	Name     string            `json:"name"`
	State    uploads.State     `json:"state"`
	SameAs   string            `json:"same_as"`
	Problem  *uploads.Problem  `json:"problem"`
	Created  time.Time         `json:"created_at"`
	SHA256   string            `json:"sha256"`
	Size     int64             `json:"size"`
	Received int64             `json:"received"`
	Used     int64             `json:"used"`
	Read     int64             `json:"read"`
	Taken    int64             `json:"taken"`
	Refused  int64             `json:"refused"`
	Mapping  map[string]string `json:"mapping"`
	RowsPerS float64           `json:"rows_per_s"`
	LeftS    float64           `json:"left_s"`
}

// importUpload is "import people", "import events", "import purchases" or "import items".
func (c *cli) importUpload(kind uploads.Kind) *cobra.Command {
	const ids = "user_id, email, loyalty, anonymous_id (one is needed);\n"
	cmd := &cobra.Command{
		Use: string(kind) + " FILE", Short: "Import " + string(kind) + " from a table or lines of JSON", Args: exactly(1, "a file"),
		Long: `Import ` + string(kind) + ` from a table (CSV with a header, separated by comma, semicolon, tab
or bar) or from lines of JSON, compressed by gzip or not. The file is sent in parts; if
it is cut off, --resume ID goes on. The server processes it in the background and triggers
nothing; the same rows again have no effect. A row that is refused stops no other; with
--report they are all kept in a file. The exit code is 0, and 1 when the file could not be
read to its end.

What a column holds is guessed by its name; --preview shows it and sends only the
beginning of the file. With --map only the columns that it names are looked at, each by a
flag COLUMN=TARGET. Targets: ` + map[uploads.Kind]string{
			uploads.People: ids + `attributes.NAME:TYPE (string, number, bool, time, strings), preferences.TOPIC, likes,
dislikes, consents.PURPOSE with consent_text_version, consent_at and consent_source, updated_at.`,
			uploads.Events:    ids + `event and occurred_at (both needed), event_type, message_id, properties.NAME:TYPE.`,
			uploads.Purchases: ids + `order_id, value and occurred_at (all needed), status, currency, place, coupon, products, message_id, properties.NAME:TYPE.`,
			uploads.Items:     `id (needed), deleted, fields.NAME:TYPE. A row replaces the item of its id, or deletes it.`,
		}[kind],
		Example: map[uploads.Kind]string{
			uploads.People: `  footfall import people customers.csv --preview
  footfall import people customers.csv.gz --map "Customer No=user_id" --map "Zip=attributes.zip" --report refused.ndjson`,
			uploads.Events: `  footfall import events history.ndjson`,
			uploads.Items:  `  footfall import items products.csv --catalogue products --map "SKU=id" --map "Price=fields.price"`,
			uploads.Purchases: `  footfall import purchases tills.csv --map "Receipt=order_id" --map "Card=loyalty" --map "Total=value" --map "Time=occurred_at"
  footfall import purchases lines.csv --map "Receipt=order_id" --map "Card=loyalty" --map "Time=occurred_at" --map "Article=line.id" --map "Amount=line.value"`,
		}[kind],
	}
	f := cmd.Flags()
	mapped := f.StringArray("map", nil, "what a column holds, as COLUMN=TARGET; several times")
	preview := f.Bool("preview", false, "only show what the file would be read as")
	resume := f.String("resume", "", "id of an upload that was cut off, to go on with")
	detach := f.Bool("detach", false, "do not wait until it is processed")
	catalogue := new(string)
	if kind == uploads.Items {
		catalogue = f.String("catalogue", "", "id of the catalogue into which they go; required")
	}
	report := f.String("report", "", "file for the rows that were refused, one JSON object per line")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		mapping, err := parseMap(*mapped)
		if err != nil {
			return err
		}
		if kind == uploads.Items && *catalogue == "" {
			return usageError{errors.New("--catalogue is required: the id of the catalogue into which the items go")}
		}
		file, size, err := openFile(args[0])
		if err != nil {
			return usageError{err}
		}
		defer func() { _ = file.Close() }() // it was read
		seek, can := file.(io.ReadSeeker)
		if !can || args[0] == "-" {
			return usageError{errors.New("give a file: what is cut off is sent again from where it was")}
		}
		r, err := remote()
		if err != nil {
			return err
		}
		if *preview {
			return c.preview(cmd.Context(), r, kind, *catalogue, mapping, file)
		}
		var u uploadDoc
		if *resume != "" {
			err = r.call(cmd.Context(), http.MethodGet, "/api/v1/uploads/"+url.PathEscape(*resume), nil, &u)
			if err == nil {
				err = ofFile(&u, kind, args[0], seek, size)
			}
		} else {
			err = r.createUpload(cmd.Context(), kind, *catalogue, args[0], size, mapping, seek, &u)
		}
		if err != nil {
			return err
		}
		if err := c.sendUpload(cmd.Context(), r, &u, seek, size); err != nil {
			return fmt.Errorf("%w\nupload %s is not whole; go on with: %s --resume %s", err, u.ID, cmd.CommandPath()+" "+args[0], u.ID)
		}
		if *detach {
			fmt.Fprintf(c.out, "upload %s is being processed: footfall uploads show %s\n", u.ID, u.ID)
			return nil
		}
		return c.follow(cmd.Context(), r, u.ID, *report)
	}
	return cmd
}

// parseMap reads COLUMN=TARGET; a column may have a = in its name, a target has none.
func parseMap(flags []string) (map[string]string, error) {
	if len(flags) == 0 {
		return nil, nil //nolint:nilnil // no mapping
	}
	out := map[string]string{}
	for _, s := range flags {
		i := strings.LastIndexByte(s, '=')
		if i <= 0 || i == len(s)-1 {
			return nil, usageError{fmt.Errorf("--map must be COLUMN=TARGET, is %q", s)}
		}
		out[s[:i]] = s[i+1:]
	}
	return out, nil
}

func (r *remote) createUpload(ctx context.Context, kind uploads.Kind, catalogue, name string, size int64, mapping map[string]string, file io.ReadSeeker, into *uploadDoc) error {
	sum, err := sumOf(file) // so that a file that changes while it is sent is not taken for one
	if err != nil {
		return err
	}
	body := map[string]any{
		"kind": kind, "name": filepath.Base(name), "size": size, "sha256": sum, "mapping": mapping,
	}
	if catalogue != "" {
		body["catalogue"] = catalogue
	}
	return r.call(ctx, http.MethodPost, "/api/v1/uploads", body, into)
}

// sumOf is the SHA-256 of a file, in hexadecimal.
func sumOf(file io.Reader) (string, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// ofFile refuses to go on with an upload by a file that is not its own: what was made of
// the one would be told as what became of the other.
func ofFile(u *uploadDoc, kind uploads.Kind, name string, file io.Reader, size int64) error {
	if u.Kind != string(kind) {
		return usageError{fmt.Errorf("upload %s is one of %s, not of %s", u.ID, u.Kind, kind)}
	}
	has := u.Size
	if u.State != uploads.Receiving {
		has = u.Received
	}
	differs := ""
	switch {
	case u.State == uploads.Cancelled: // of which any number of bytes came, and nothing will
	case has > 0 && has != size:
		differs = fmt.Sprintf("it has %d bytes, the upload's file %d", size, has)
	case size < u.Received:
		differs = fmt.Sprintf("it has %d bytes, the server received %d", size, u.Received)
	case u.SHA256 != "":
		sum, err := sumOf(file)
		if err != nil {
			return err
		}
		if !strings.EqualFold(sum, u.SHA256) {
			differs = "its content (SHA-256) is another"
		}
	}
	if differs == "" {
		return nil
	}
	return usageError{fmt.Errorf("%s is not the file of upload %s (%s, %s): %s; import it without --resume", name, u.ID, u.Name, u.State, differs)}
}

// sendUpload sends what the server does not have, part by part; a part that breaks off is
// tried again from where the server is.
func (c *cli) sendUpload(ctx context.Context, r *remote, u *uploadDoc, file io.ReadSeeker, size int64) error {
	shown := c.sending(file, size)
	defer shown.clear()
	for failed := 0; u.State == uploads.Receiving; {
		if _, err := file.Seek(u.Received, io.SeekStart); err != nil {
			return err
		}
		shown.read = u.Received
		part := min(partBytes, size-u.Received)
		err := r.sendPart(ctx, u, io.LimitReader(shown, part), u.Received+part >= size)
		if err == nil {
			failed = 0
			continue
		}
		if answer, refused := errors.AsType[*answerError](err); refused && answer.status < 500 && answer.status != http.StatusConflict {
			return err
		}
		if failed++; failed == sendTries || ctx.Err() != nil {
			return err
		}
		if err := wait(ctx, time.Duration(failed)*sendPause); err != nil {
			return err
		}
		if err := r.call(ctx, http.MethodGet, "/api/v1/uploads/"+url.PathEscape(u.ID), nil, u); err != nil && failed == sendTries {
			return err
		}
	}
	return nil
}

func (r *remote) sendPart(ctx context.Context, u *uploadDoc, part io.Reader, last bool) error {
	path := fmt.Sprintf("/api/v1/uploads/%s/content?offset=%d&last=%t", url.PathEscape(u.ID), u.Received, last)
	answer, err := r.upload(ctx, path, "application/octet-stream", part)
	if err != nil {
		return err
	}
	return errors.Join(json.NewDecoder(answer).Decode(u), answer.Close())
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// follow waits until an upload has ended, and tells what became of it.
func (c *cli) follow(ctx context.Context, r *remote, id, report string) error {
	line := c.sending(bytes.NewReader(nil), 0)
	var u uploadDoc
	for {
		if err := r.call(ctx, http.MethodGet, "/api/v1/uploads/"+url.PathEscape(id), nil, &u); err != nil {
			line.clear()
			return err
		}
		if u.State.Ended() {
			break
		}
		if line.to != nil {
			fmt.Fprintf(line.to, "\r%s, %s\x1b[K", bar(u.Used, u.Received), pace(&u))
		}
		if err := wait(ctx, askEvery); err != nil {
			line.clear()
			return fmt.Errorf("%w; upload %s goes on at the server", err, id)
		}
	}
	line.clear()
	if u.Refused > 0 {
		if err := c.refusedRows(ctx, r, id, report); err != nil {
			return err
		}
	}
	if u.SameAs != "" {
		fmt.Fprintf(c.out, "upload %s has taken this file already: nothing was done\n", u.SameAs)
		return nil
	}
	fmt.Fprintf(c.out, "rows: %d read, %d taken, %d refused\n", u.Read, u.Taken, u.Refused)
	switch {
	case u.Problem != nil:
		return fmt.Errorf("the rest of the file was not read: %s", sentence(u.Problem.Field, u.Problem.Reason))
	case u.State == uploads.Cancelled:
		return errors.New("the upload was cancelled")
	}
	return nil
}

func pace(u *uploadDoc) string {
	s := fmt.Sprintf("%d rows", u.Read)
	if u.RowsPerS > 0 {
		s += fmt.Sprintf(", %.0f/s", u.RowsPerS)
	}
	if u.LeftS > 0 {
		s += ", " + (time.Duration(u.LeftS) * time.Second).String() + " left"
	}
	return s
}

// refusedRows tells the first rows that were refused, and keeps all in a file if one is
// named.
func (c *cli) refusedRows(ctx context.Context, r *remote, id, keep string) (err error) {
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
	err = r.lines(ctx, "/api/v1/uploads/"+url.PathEscape(id)+"/refused", func(line []byte) error {
		if _, err := out.Write(append(bytes.Clone(line), '\n')); err != nil {
			return err
		}
		var row uploads.Refused
		if err := json.Unmarshal(line, &row); err != nil {
			return fmt.Errorf("the server's report: %w", err)
		}
		if told++; told <= maxTold {
			fmt.Fprintf(c.errs, "row %d refused: %s\n", row.Row, sentence(row.Field, row.Reason))
		}
		return nil
	})
	if told > maxTold {
		fmt.Fprintf(c.errs, "and %d more rows; footfall uploads refused %s shows them\n", told-maxTold, id)
	}
	return err
}

// lines calls f for every line of an answer.
func (r *remote) lines(ctx context.Context, path string, f func(line []byte) error) error {
	req, err := r.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or the error is told
	if resp.StatusCode >= 400 {
		b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return err
		}
		return problem(resp, b)
	}
	last, err := eachButLast(resp.Body, f)
	if err == nil && last != nil {
		err = f(last)
	}
	return err
}

// preview shows what the beginning of a file would be read as.
func (c *cli) preview(ctx context.Context, r *remote, kind uploads.Kind, catalogue string, mapping map[string]string, file io.Reader) error {
	q := url.Values{"kind": {string(kind)}}
	if catalogue != "" {
		q.Set("catalogue", catalogue)
	}
	if mapping != nil {
		b, err := json.Marshal(mapping)
		if err != nil {
			return err
		}
		q.Set("mapping", string(b))
	}
	answer, err := r.upload(ctx, "/api/v1/uploads/preview?"+q.Encode(), "application/octet-stream", io.LimitReader(file, uploads.PreviewBytes))
	if err != nil {
		return err
	}
	var p uploads.Preview
	if err := errors.Join(json.NewDecoder(answer).Decode(&p), answer.Close()); err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COLUMN\tHOLDS")
	columns := p.Columns
	if len(columns) == 0 {
		columns = slices.Sorted(maps.Keys(p.Mapping))
	}
	for _, column := range columns {
		holds := p.Mapping[column]
		if holds == "" {
			holds = "(not looked at)"
		}
		if slices.Contains(p.New, column) {
			holds += " (a new field: the catalogue will learn it)"
		}
		fmt.Fprintf(w, "%s\t%s\n", column, holds)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, row := range p.Rows {
		b, err := json.Marshal(row)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.out, string(b))
	}
	for _, row := range p.Wrong {
		fmt.Fprintf(c.errs, "row %d would be refused: %s\n", row.Row, sentence(row.Field, row.Reason))
	}
	fmt.Fprintf(c.out, "the first %d rows: %d would be refused; nothing was saved\n", p.Read, p.Refused)
	return nil
}

func (c *cli) uploads() *cobra.Command {
	cmd := &cobra.Command{
		Use: "uploads", Short: "See and cancel imports of people, events, purchases and items", Args: nothing,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	list := &cobra.Command{Use: "list", Short: "List uploads, the newest first", Args: nothing}
	server := c.remoteFlags(list)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := server()
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tKIND\tSTATE\tREAD\tTAKEN\tREFUSED\tFILE")
		if err := pages(cmd.Context(), r, "/api/v1/uploads?limit=200", func(u uploadDoc) error {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\n", u.ID, u.Kind, u.State, u.Read, u.Taken, u.Refused, u.Name)
			return nil
		}); err != nil {
			return err
		}
		return w.Flush()
	}
	cmd.AddCommand(list,
		c.ofUpload("show ID", "Follow an upload until it has ended", func(ctx context.Context, r *remote, id string) error {
			return c.follow(ctx, r, id, "")
		}),
		c.ofUpload("refused ID", "Print the rows that were refused, one JSON object per line", func(ctx context.Context, r *remote, id string) error {
			return r.lines(ctx, "/api/v1/uploads/"+url.PathEscape(id)+"/refused", func(line []byte) error {
				fmt.Fprintln(c.out, string(line))
				return nil
			})
		}),
		c.ofUpload("cancel ID", "Cancel an upload, or remove one that has ended; what was taken stays", func(ctx context.Context, r *remote, id string) error {
			return r.call(ctx, http.MethodDelete, "/api/v1/uploads/"+url.PathEscape(id), nil, nil)
		}))
	return cmd
}

func (c *cli) ofUpload(use, short string, do func(ctx context.Context, r *remote, id string) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: exactly(1, "the id of an upload")}
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := remote()
		if err != nil {
			return err
		}
		return do(cmd.Context(), r, args[0])
	}
	return cmd
}
