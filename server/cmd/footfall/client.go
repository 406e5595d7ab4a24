package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/server/engage"
)

// remote is a running server, as the commands see it.
type remote struct {
	base, key, workspace string
	http                 *http.Client
}

// remoteFlags adds what every command needs that talks to a server.
func (c *cli) remoteFlags(cmd *cobra.Command) func() (*remote, error) {
	server := cmd.Flags().String("server", "", "address of the server (FOOTFALL_SERVER; default http://127.0.0.1:8080)")
	keyFile := cmd.Flags().String("key-file", "", "file that holds the server key (default: the variable FOOTFALL_KEY)")
	workspace := cmd.Flags().String("workspace", "", "workspace, for admin keys (default: the key's own)")
	return func() (*remote, error) {
		r := &remote{base: *server, workspace: *workspace, http: &http.Client{Timeout: 30 * time.Second}}
		if r.base == "" {
			r.base = c.env("FOOTFALL_SERVER")
		}
		if r.base == "" {
			r.base = "http://127.0.0.1:8080"
		}
		r.base = strings.TrimSuffix(r.base, "/")
		r.key = c.env("FOOTFALL_KEY")
		if *keyFile != "" {
			b, err := os.ReadFile(*keyFile)
			if err != nil {
				return nil, usageError{fmt.Errorf("read key file: %w", err)}
			}
			r.key = strings.TrimSpace(string(b))
		}
		if r.key == "" {
			return nil, usageError{fmt.Errorf("no key: give --key-file or set FOOTFALL_KEY")}
		}
		return r, nil
	}
}

// call makes one request; into may be nil.
func (r *remote) call(ctx context.Context, method, path string, body, into any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := r.request(ctx, method, path, in)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		return problem(resp, b)
	}
	if into == nil || len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, into)
}

// request is one to the server, with the key.
func (r *remote) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, body)
	if err != nil {
		return nil, usageError{err}
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	if r.workspace != "" {
		req.Header.Set("Footfall-Workspace", r.workspace)
	}
	return req, nil
}

// problem is an answer that is one.
func problem(resp *http.Response, body []byte) error {
	var problem struct {
		Title, Detail, Reason string
		Code                  engage.Code
		Errors                []struct{ Message, Location string }
	}
	if json.Unmarshal(body, &problem) != nil || problem.Title == "" && problem.Detail == "" {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	text := problem.Title
	if problem.Detail != "" {
		text = problem.Detail
	}
	for _, e := range problem.Errors {
		if e.Location != "" || e.Message != "" {
			text += "; " + strings.TrimSpace(e.Location+" "+e.Message)
		}
	}
	return &answerError{
		status: resp.StatusCode, code: problem.Code, reason: problem.Reason, text: fmt.Sprintf("the server answered %d: %s", resp.StatusCode, text),
	}
}

// answerError is a problem that the server told.
type answerError struct {
	status int         // HTTP
	code   engage.Code // what kind of problem; empty: the server did not say
	reason string      // what must hold and what is, without the field; as code
	text   string
}

func (e *answerError) Error() string { return e.text }

// pages calls f for every item of a list, page after page.
func pages[T any](ctx context.Context, r *remote, path string, f func(T) error) error {
	cursor := ""
	for {
		var page struct {
			Items []T    `json:"items"`
			Next  string `json:"next"`
		}
		at := path
		if cursor != "" {
			sep := "?"
			if strings.Contains(path, "?") {
				sep = "&"
			}
			at += sep + "cursor=" + url.QueryEscape(cursor)
		}
		if err := r.call(ctx, http.MethodGet, at, nil, &page); err != nil {
			return err
		}
		for _, it := range page.Items {
			if err := f(it); err != nil {
				return err
			}
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}

// jsonFile is the document that stands in a file; "-" is standard input. What is
// no JSON is a mistake in the usage.
func jsonFile(cmd *cobra.Command, name string) (json.RawMessage, error) {
	var b []byte
	var err error
	if name == "-" {
		b, err = io.ReadAll(cmd.InOrStdin())
	} else {
		b, err = os.ReadFile(name) //nolint:gosec // whoever calls the command names it
	}
	if err != nil {
		return nil, err
	}
	if !json.Valid(b) {
		return nil, usageError{fmt.Errorf("%s is not JSON", name)}
	}
	return b, nil
}
