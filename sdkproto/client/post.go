package client

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// gzipAbove is the size of a body that is worth compressing.
const gzipAbove = 4 << 10

// Register asks for a device token by POST, for a phone whose first run is in
// the background. With a token it does nothing. The errors are those of
// PostBatch.
func (c *Client) Register(ctx context.Context) error {
	select { // one at a time, so that two wakes do not register twice
	case c.regLock <- struct{}{}:
		defer func() { <-c.regLock }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.Registered() {
		return nil
	}
	if err := c.patience(); err != nil {
		return err
	}
	hello, _ := c.hello(sdkpb.Lifecycle_STATE_BACKGROUND)
	body, err := c.codec.Marshal(hello)
	if err != nil {
		return fmt.Errorf("client: register: %w", err)
	}
	reply, shown, err := c.post(ctx, sdkproto.PathInstall, body)
	if err != nil {
		c.lostBy(ctx, err, shown)
		return fmt.Errorf("client: register: %w", err)
	}
	if reply.GetHelloOk().GetNewDeviceToken() == "" {
		return errors.New("client: register: the answer holds no device token")
	}
	if err := c.welcome(ctx, reply.HelloOk, shown, false); err != nil {
		return err
	}
	return c.takeReply(ctx, reply, shown)
}

// PostBatch is what a woken app does: one POST of what is not acknowledged yet, at
// most 500 items, within 10 s; also with nothing to say, because the answer brings
// regions, inbox and config. What is on its way by the socket goes with it, so that
// nothing later overtakes it: an item takes effect once. It registers first where
// that is needed. A batch that is refused as a whole is halved and posted again
// until the bad item stands alone and is given up.
//
// The error is a *RetryError when the server wants to be asked later (until then
// PostBatch asks nothing), a *TerminalError when never, else of the network; the
// items wait.
func (c *Client) PostBatch(ctx context.Context) (err error) {
	defer func() { c.blockedBy(err) }()
	ctx, cancel := context.WithTimeout(ctx, sdkproto.PostWithin)
	defer cancel()
	select { // one at a time, so that a later one does not overtake
	case c.postLock <- struct{}{}:
		defer func() { <-c.postLock }()
	case <-ctx.Done():
		return ctx.Err()
	}
	reregistered := false
	for {
		if err := c.Register(ctx); err != nil {
			return err
		}
		if err := c.patience(); err != nil {
			return err
		}
		again, err := c.postOnce(ctx)
		if terminal, ok := errors.AsType[*TerminalError](err); ok && terminal.Action() == sdkproto.ActReregister &&
			c.tokenRefused(ctx, terminal.shown, &reregistered) {
			continue
		}
		if err != nil || !again {
			return err
		}
	}
}

// patience is the error while the server wants to be left alone.
func (c *Client) patience() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.notBefore - c.opts.Mono(); d > 0 {
		return &RetryError{After: d, Err: errors.New("the server asked for patience")}
	}
	return nil
}

// postOnce is one POST. Again says that a batch was refused as a whole and a
// smaller one may be taken.
func (c *Client) postOnce(ctx context.Context) (again bool, err error) {
	c.mu.Lock()
	err = c.queue.save(c.opts.Store)
	heard := c.heard
	fill := func(b *sdkpb.Batch) *sdkpb.Batch {
		b.RegionsAck = heard
		if c.has(sdkproto.CapConfig) {
			b.ConfigEtag = new(c.kept.Config.GetEtag())
		}
		if c.has(sdkproto.CapInbox) {
			b.InboxCursor = new(c.inboxCursor())
		}
		return b
	}
	body, f, done := c.encodeBatch(byPost, sdkproto.MaxBatchItems, sdkproto.MaxBodyBytes, func(b *sdkpb.Batch) ([]byte, error) {
		return c.codec.Marshal(fill(b))
	})
	if f == nil {
		f = &flight{}
		b := c.queue.batch(nil)
		f.batchID = b.BatchId
		b.SentMs, b.SentMonoMs, b.BootId = c.opts.Clock().UnixMilli(), c.opts.Mono().Milliseconds(), c.opts.BootID
		if err == nil {
			body, err = c.codec.Marshal(fill(b))
		}
	}
	leaves := c.queue.leaves()
	c.mu.Unlock()
	c.finishIfAny(done)
	if err != nil {
		c.giveBack(f)
		return false, err
	}
	reply, shown, err := c.post(ctx, sdkproto.PathBatch, body)
	if r, ok := errors.AsType[*refusedError](err); ok && (len(f.entries) > 1 || len(f.entries) == 1 && !r.bare) {
		c.mu.Lock()
		done = c.queue.bisect(byPost, f.entries, r.reject(), r.reason)
		c.mu.Unlock()
		c.finish(done)
		return true, nil
	}
	if err != nil {
		c.giveBack(f)
		return false, err
	}
	if reply.Ack == nil {
		c.giveBack(f)
		_ = c.takeReply(ctx, reply, shown)
		return false, errors.New("client: the answer holds no ack")
	}
	c.mu.Lock()
	c.trimAt = 0
	if c.heard == heard {
		c.heard = nil
	}
	goOn := c.queue.most > 0
	done = c.queue.settle(byPost, f.entries, reply.Ack.Rejects)
	if ms := reply.Ack.RetryAfterMs; ms > 0 {
		c.notBefore = c.opts.Mono() + time.Duration(ms)*time.Millisecond
	}
	if reply.Ack.ServerMs != 0 {
		c.skew = time.UnixMilli(reply.Ack.ServerMs).Sub(c.opts.Clock())
	}
	left := len(c.queue.entries) > len(f.entries)
	if n := len(f.entries); n > 0 && f.entries[n-1].item.Logout != nil {
		goOn = true // what follows the logout has waited for this ack
	}
	c.mu.Unlock()
	c.finish(done)
	if leaves {
		// Maybe of who has left; the next inbox is asked for from the beginning.
		reply.Inbox, reply.Messages = nil, nil
	}
	if err := c.takeReply(ctx, reply, shown); err != nil {
		return false, err
	}
	// While a bad item is searched for, its neighbours go on.
	return goOn && left && !done.again, nil
}

func (c *Client) giveBack(f *flight) {
	c.mu.Lock()
	land(byPost, f.entries)
	c.mu.Unlock()
	c.kick()
}

// takeReply takes what an answer brings beside its ack. Shown is the token of the
// request. The error is the store's, or that of asking for the rest of the inbox.
func (c *Client) takeReply(ctx context.Context, r *sdkpb.BatchReply, shown string) error {
	if r.NewToken != nil {
		if err := c.takeToken(r.NewToken, shown); err != nil {
			return err
		}
	}
	if r.Regions != nil {
		ack := c.takeRegions(r.Regions)
		c.mu.Lock()
		c.heard = ack
		if ack != nil {
			c.keepOrWarn(Change{Regions: r.Regions})
		}
		c.mu.Unlock()
	}
	if r.Config != nil {
		if err := c.takeConfig(r.Config, nil); err != nil {
			return err
		}
	}
	for _, m := range r.Messages {
		if m.GetKind() == sdkpb.Message_KIND_INBOX {
			c.arrived(ctx, m)
		}
	}
	if r.Inbox != nil {
		if err := c.takeInbox(ctx, r.Inbox, nil); err != nil {
			return err
		}
		if r.Inbox.More {
			return c.SyncInbox(ctx)
		}
	}
	return nil
}

// get asks for what a path holds.
func (c *Client) get(ctx context.Context, path string, query url.Values) (*sdkpb.BatchReply, error) {
	if err := c.patience(); err != nil {
		return nil, err
	}
	reregistered := true // a GET does not register; the next PostBatch does
	for {
		u := c.url(path, false)
		if len(query) > 0 {
			u += "?" + query.Encode()
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
		if err != nil {
			return nil, fmt.Errorf("client: request: %w", err)
		}
		reply, shown, err := c.do(req)
		if terminal, ok := errors.AsType[*TerminalError](err); ok && terminal.Action() == sdkproto.ActReregister &&
			c.tokenRefused(ctx, shown, &reregistered) {
			continue
		}
		return reply, err
	}
}

// post sends a body and reads the answer. Shown is the token that it showed. A
// status that is not 200 is an error.
func (c *Client) post(ctx context.Context, path string, body []byte) (reply *sdkpb.BatchReply, shown string, err error) {
	zipped := len(body) > gzipAbove
	if zipped {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		if err != nil {
			return nil, "", fmt.Errorf("compress: %w", err)
		}
		_, _ = z.Write(body) // a bytes.Buffer takes everything
		_ = z.Close()
		// A body so repetitive that the server would take it for a bomb goes as it is.
		if zipped = b.Len()*sdkproto.MaxGzipRatio > len(body); zipped {
			body = b.Bytes()
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url(path, false), bytes.NewReader(body))
	if err != nil {
		return nil, "", fmt.Errorf("client: request: %w", err)
	}
	req.Header.Set("Content-Type", c.codec.ContentType())
	if zipped {
		req.Header.Set("Content-Encoding", "gzip")
	}
	return c.do(req)
}

// fetch sends a request with the phone's credentials. Shown is the token that it showed.
// A status that is not 200 is an error; else the caller closes the answer's body.
func (c *Client) fetch(req *http.Request) (resp *http.Response, shown string, err error) {
	req.Header.Set(sdkproto.HeaderAppKey, c.opts.AppKey)
	req.Header.Set(sdkproto.HeaderInstall, c.opts.InstallID)
	if len(c.opts.Caps) > 0 {
		req.Header.Set(sdkproto.HeaderCaps, strings.Join(c.opts.Caps, ","))
	}
	c.mu.Lock()
	shown = c.kept.Token
	c.mu.Unlock()
	if shown != "" {
		req.Header.Set(sdkproto.HeaderAuthorization, sdkproto.BearerPrefix+shown)
	}
	resp, err = c.http.Do(req)
	if err != nil {
		return nil, shown, fmt.Errorf("client: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, shown, nil
	}
	body := resp.Body
	defer func() { _ = body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(body, sdkproto.MaxBodyBytes+1))
	if err != nil {
		return nil, shown, fmt.Errorf("client: read answer: %w", err)
	}
	err = c.httpError(resp, answer)
	if later, ok := errors.AsType[*RetryError](err); ok && later.After > 0 {
		c.mu.Lock()
		c.notBefore = c.opts.Mono() + later.After
		c.mu.Unlock()
	}
	if t, ok := errors.AsType[*TerminalError](err); ok {
		t.shown = shown
	}
	return nil, shown, err
}

// do sends a request with the phone's credentials and reads the answer.
func (c *Client) do(req *http.Request) (reply *sdkpb.BatchReply, shown string, err error) {
	req.Header.Set("Accept", c.codec.ContentType())
	resp, shown, err := c.fetch(req)
	if err != nil {
		return nil, shown, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, sdkproto.MaxBodyBytes+1))
	if err != nil {
		return nil, shown, fmt.Errorf("client: read answer: %w", err)
	}
	if len(answer) > sdkproto.MaxBodyBytes {
		return nil, shown, fmt.Errorf("client: answer of more than %d bytes", sdkproto.MaxBodyBytes)
	}
	reply = new(sdkpb.BatchReply)
	if err := c.unmarshal(resp, answer, reply); err != nil {
		return nil, shown, fmt.Errorf("client: answer: %w", err)
	}
	if reply.Error != nil {
		err := frameError(reply.Error)
		if t, ok := errors.AsType[*TerminalError](err); ok {
			t.shown = shown
		}
		return nil, shown, err
	}
	c.tokenAccepted(shown)
	return reply, shown, nil
}

func (c *Client) unmarshal(resp *http.Response, body []byte, m proto.Message) error {
	codec := sdkproto.CodecFor(resp.Header.Get("Content-Type"))
	if codec == nil {
		codec = c.codec
	}
	return codec.Unmarshal(body, m)
}
