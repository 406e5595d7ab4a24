// Package media checks the images that messages name by their address, before
// anybody is sent one: that there is an image, of a type that both Android and iOS
// show, not heavier than a push service takes and not larger than a phone wants to
// unpack. A push whose image is not good arrives without it, and nobody is told.
//
// The addresses come from marketers, so a check goes to public hosts by https alone,
// judged at the moment of the connection and again at every redirect; the operator may
// allow others. What is checked is the beginning of the image, which says its type and
// dimensions, and its whole length; that the rest can be decoded is not.
//
// # Hosting
//
// Where the operator wants it, a Library keeps the images: Take fetches one through the
// same guard, and it is served from then on at an address that nobody can guess, made
// of what is in it (HMAC-SHA256 with a key of this installation), so that it can be
// cached for ever. Use says that a campaign shows it; Address is then what messages of
// that campaign carry. What was fetched when a campaign was saved is what is shown,
// whatever becomes of the address: saving again fetches again. Tend fetches what a
// campaign lacks, since its host was away when it was saved or hosting was off, and
// removes what no campaign has shown for Grace: messages in inboxes still point there.
// Images whose address differs from person to person are not kept.
package media

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"image"        // the formats that both platforms show
	_ "image/gif"  // likewise
	_ "image/jpeg" // likewise
	_ "image/png"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/footfall-engage/footfall/channels/webhook"
	"github.com/footfall-engage/footfall/server/engage"
)

// Limits of an image, beside Options.MaxBytes.
const (
	MaxSide   = 8192       // pixels
	MaxPixels = 16_000_000 // 64 MB when a phone unpacks it
)

const (
	maxRedirects = 3
	underWay     = 4 // checks at a time, each with at most one image in memory
)

// Options of a Checker.
type Options struct {
	MaxBytes int64         // of an image; 0 means 1 MiB, what FCM shows
	Timeout  time.Duration // of a check, redirects and body included; 0 means 10 s
	// AllowNetworks may be asked though they are not public, and by plain http.
	AllowNetworks []netip.Prefix
	RootCAs       *x509.CertPool // nil means the system's
	UserAgent     string         // empty means "Footfall"
}

// Checker looks at images. It is safe for concurrent use.
type Checker struct {
	o      Options
	client *http.Client
	slots  chan struct{}
}

// errRedirect says that a redirect was not followed, in words for people.
type errRedirect struct{ why string }

func (e *errRedirect) Error() string { return "redirect: " + e.why }

// New makes a Checker. It holds idle connections until Close.
func New(o Options) *Checker {
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 20
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.UserAgent == "" {
		o.UserAgent = "Footfall"
	}
	return &Checker{o: o, slots: make(chan struct{}, underWay), client: &http.Client{
		Transport: webhook.NewTransport(o.AllowNetworks, o.RootCAs),
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return &errRedirect{fmt.Sprintf("more than %d", maxRedirects)}
			}
			if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
				return &errRedirect{"to an address that is not https"}
			}
			if err := webhook.CheckURL(r.URL.String(), o.AllowNetworks); err != nil {
				return &errRedirect{"the address that it leads to " + err.Error()}
			}
			return nil
		},
	}}
}

// Close gives idle connections up.
func (c *Checker) Close() error {
	c.client.CloseIdleConnections()
	return nil
}

// Check looks at the image of an address. An error is an *engage.Error without a
// field: Invalid and TooLarge say that this is no image to send (its Msg says why);
// Unavailable says that nobody could tell: the host did not answer, or not with what
// it was asked for. The image may be good when the host is back.
func (c *Checker) Check(ctx context.Context, address string) error {
	_, _, err := c.Fetch(ctx, address)
	return err
}

// Fetch is Check, and returns the image with its media type, which is that of its bytes:
// image/jpeg, image/png or image/gif.
func (c *Checker) Fetch(ctx context.Context, address string) (data []byte, kind string, err error) {
	if err := webhook.CheckURL(address, c.o.AllowNetworks); err != nil {
		return nil, "", engage.Errorf(engage.Invalid, "", "%v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, "", unavailable("was not looked at: other images are being checked", ctx.Err())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, "", engage.Errorf(engage.Invalid, "", "is no address of an image")
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	req.Header.Set("Accept", "image/jpeg, image/png, image/gif")
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, "", failed(err)
	}
	defer func() { _ = resp.Body.Close() }() // what is of use of it has been read
	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusGone:
		return nil, "", engage.Errorf(engage.Invalid, "", "there is no image at this address: its host answers %d", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return nil, "", unavailable(fmt.Sprintf("could not be looked at: its host answers %d", resp.StatusCode), nil)
	case resp.ContentLength > c.o.MaxBytes:
		return nil, "", engage.Errorf(engage.TooLarge, "", "the image has %d bytes, at most %d are shown", resp.ContentLength, c.o.MaxBytes)
	}
	data, err = io.ReadAll(io.LimitReader(resp.Body, c.o.MaxBytes+1))
	if int64(len(data)) > c.o.MaxBytes {
		return nil, "", engage.Errorf(engage.TooLarge, "", "the image has more than the %d bytes that are shown", c.o.MaxBytes)
	}
	if err != nil {
		return nil, "", failed(err)
	}
	if kind, err = look(data); err != nil {
		return nil, "", err
	}
	return data, kind, nil
}

// look judges the bytes of an image, and says of what type it is.
func look(data []byte) (kind string, err error) {
	kind = http.DetectContentType(data)
	switch kind {
	case "image/jpeg", "image/png", "image/gif":
	default:
		return "", engage.Errorf(engage.Invalid, "", "must be a JPEG, PNG or GIF image, what is there is %s", kind)
	}
	of, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return "", engage.Errorf(engage.Invalid, "", "begins like %s and cannot be read as such", kind)
	}
	switch {
	case of.Width < 1 || of.Height < 1:
		return "", engage.Errorf(engage.Invalid, "", "the image has no pixels")
	case of.Width > MaxSide || of.Height > MaxSide || of.Width*of.Height > MaxPixels:
		return "", engage.Errorf(engage.TooLarge, "", "the image has %d × %d pixels, at most %d a side and %d in all are shown", of.Width, of.Height, MaxSide, MaxPixels)
	}
	return kind, nil
}

// failed says what it means that there was no whole answer. The words name neither
// addresses that a name stands for nor what went wrong in detail: who may name an
// image learns nothing of the networks that the server sees.
func failed(err error) error {
	if _, _, refused := webhook.Refused(err); refused {
		return engage.Errorf(engage.Invalid, "", "its host is not at a public address reached by https, and the operator has not allowed it")
	}
	if r, ok := errors.AsType[*errRedirect](err); ok {
		return engage.Errorf(engage.Invalid, "", "leads elsewhere: %s", r.why)
	}
	_, isDNS := errors.AsType[*net.DNSError](err)
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case isNet && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return unavailable("could not be looked at: its host takes too long", err)
	case isDNS:
		return unavailable("could not be looked at: the name of its host is not known", err)
	default:
		return unavailable("could not be looked at: its host does not answer as it should", err)
	}
}

// unavailable keeps the cause out of what is shown and logged, for it holds the
// address, and that may hold a secret.
func unavailable(words string, cause error) error {
	if errors.Is(cause, context.Canceled) {
		return cause
	}
	return engage.Errorf(engage.Unavailable, "", "%s", words)
}
