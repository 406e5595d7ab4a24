package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/footfall-engage/footfall/sdkproto"
)

// What the person may see and have done of what is kept of them. To change preferences
// and consents there are SetPreferences and SetConsent: those are kept on the phone until the
// server has them. The errors are those of PostBatch; a *TerminalError of
// sdkproto.ErrIdentity says that the install has not proven to be the person's whose it
// is: the host app is to identify.

// Preferences are the person's, as the server has them; what was said in the last second
// may not be among them yet.
func (c *Client) Preferences(ctx context.Context) (*sdkproto.Preferences, error) {
	return personal[sdkproto.Preferences](ctx, c, http.MethodGet, sdkproto.PathPreferences, nil)
}

// Consents are the person's answers, likewise.
func (c *Client) Consents(ctx context.Context) (*sdkproto.Consents, error) {
	return personal[sdkproto.Consents](ctx, c, http.MethodGet, sdkproto.PathConsents, nil)
}

// Erase asks that everything that is kept of the person be erased. The receipt says where
// to look how far it is; the install is a stranger's afterwards.
func (c *Client) Erase(ctx context.Context, who sdkproto.AskErasure) (*sdkproto.Erasure, error) {
	return personal[sdkproto.Erasure](ctx, c, http.MethodPost, sdkproto.PathErasure, who)
}

// Erasure is how far an erasure is, by the id of its receipt.
func (c *Client) Erasure(ctx context.Context, id string) (*sdkproto.Erasure, error) {
	return personal[sdkproto.Erasure](ctx, c, http.MethodGet, sdkproto.PathErasure+"/"+url.PathEscape(id), nil)
}

// Export writes everything that is kept of the person to w, as one JSON object. After
// an error what w has is not whole.
func (c *Client) Export(ctx context.Context, w io.Writer) error {
	return c.personal(ctx, http.MethodGet, sdkproto.PathExport, nil, func(answer io.Reader) error {
		last := &lastByte{w: w}
		if _, err := io.Copy(last, answer); err != nil {
			return err
		}
		if last.b != '}' { // the server could not go on, and said 200 long ago
			return io.ErrUnexpectedEOF
		}
		return nil
	})
}

// lastByte is the last that was written which is no white space.
type lastByte struct {
	w io.Writer
	b byte
}

// Write implements io.Writer.
func (l *lastByte) Write(p []byte) (int, error) {
	if t := bytes.TrimRight(p, "\n "); len(t) > 0 {
		l.b = t[len(t)-1]
	}
	return l.w.Write(p)
}

func personal[T any](ctx context.Context, c *Client, method, path string, body any) (*T, error) {
	out := new(T)
	err := c.personal(ctx, method, path, body, func(answer io.Reader) error {
		return json.NewDecoder(io.LimitReader(answer, sdkproto.MaxBodyBytes)).Decode(out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// personal asks in JSON, which all that concerns the person is told in.
func (c *Client) personal(ctx context.Context, method, path string, body any, take func(io.Reader) error) error {
	if err := c.Register(ctx); err != nil {
		return err
	}
	if err := c.patience(); err != nil {
		return err
	}
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return fmt.Errorf("client: encode: %w", err)
		}
	}
	for {
		req, err := http.NewRequestWithContext(ctx, method, c.url(path, false), bytes.NewReader(raw))
		if err != nil {
			return fmt.Errorf("client: request: %w", err)
		}
		if body != nil {
			req.Header.Set("Content-Type", sdkproto.ContentTypeJSON)
		}
		resp, shown, err := c.fetch(req)
		reregistered := true // as in get
		if terminal, ok := errors.AsType[*TerminalError](err); ok && terminal.Action() == sdkproto.ActReregister &&
			c.tokenRefused(ctx, shown, &reregistered) {
			continue
		}
		if err != nil {
			return err
		}
		c.tokenAccepted(shown)
		err = take(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return fmt.Errorf("client: answer: %w", err)
		}
		return nil
	}
}
