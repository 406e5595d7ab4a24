package media_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var here = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func picture(t *testing.T, encode func(*bytes.Buffer, image.Image) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b, image.NewGray(image.Rect(0, 0, 4, 3))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bomb is a PNG of few bytes that says it has w × h pixels.
func bomb(t *testing.T, w, h uint32) []byte {
	t.Helper()
	data := picture(t, func(b *bytes.Buffer, i image.Image) error { return png.Encode(b, i) })
	head := data[12:29] // "IHDR" and its content
	binary.BigEndian.PutUint32(head[4:], w)
	binary.BigEndian.PutUint32(head[8:], h)
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(head))
	return data
}

func newChecker(t *testing.T, o media.Options) *media.Checker {
	t.Helper()
	c := media.New(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestAnImageIsJudgedByWhatItIs(t *testing.T) {
	pngOf := func(b *bytes.Buffer, i image.Image) error { return png.Encode(b, i) }
	good := picture(t, pngOf)
	pages := map[string][]byte{
		"/a.png":    good,
		"/a.jpg":    picture(t, func(b *bytes.Buffer, i image.Image) error { return jpeg.Encode(b, i, nil) }),
		"/a.gif":    picture(t, func(b *bytes.Buffer, i image.Image) error { return gif.Encode(b, i, nil) }),
		"/page.png": []byte("<!doctype html><p>not here"),
		"/a.svg":    []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`),
		"/a.webp":   []byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00"),
		"/empty":    nil,
		"/cut":      good[:20],
		"/none":     bomb(t, 0, 3),
		"/wide":     bomb(t, media.MaxSide+1, 1),
		"/bomb":     bomb(t, 8000, 8000),
		"/edge":     bomb(t, 4000, 4000),
		"/limit":    append(bytes.Clone(good), make([]byte, 4096-len(good))...),
		"/heavy":    append(bytes.Clone(good), make([]byte, 4097-len(good))...),
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, chunked := strings.CutPrefix(r.URL.Path, "/chunked")
		switch data, ok := pages[to]; {
		case to == "/moved":
			http.Redirect(w, r, "/a.png", http.StatusFound)
		case to == "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case to == "/inside":
			http.Redirect(w, r, "http://10.0.0.1/a.png", http.StatusFound)
		case to == "/locked":
			w.WriteHeader(http.StatusForbidden)
		case to == "/down":
			w.WriteHeader(http.StatusServiceUnavailable)
		case to == "/short":
			w.Header().Set("Content-Length", "2000")
			_, _ = w.Write(good)
		case !ok:
			http.NotFound(w, r)
		case chunked:
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(data)
		default:
			w.Header().Set("Content-Type", "image/png") // what the host says counts for nothing
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			_, _ = w.Write(data)
		}
	}))
	t.Cleanup(srv.Close)
	c := newChecker(t, media.Options{AllowNetworks: here, MaxBytes: 4096, Timeout: 30 * time.Second})
	for _, tt := range []struct {
		path string
		code engage.Code // "" means good
		says string
	}{
		{"/a.png", "", ""},
		{"/a.jpg", "", ""},
		{"/a.gif", "", ""},
		{"/moved", "", ""},
		{"/edge", "", ""},
		{"/limit", "", ""},
		{"/chunked/limit", "", ""},
		{"/page.png", engage.Invalid, "text/html"},
		{"/a.svg", engage.Invalid, "JPEG, PNG or GIF"},
		{"/a.webp", engage.Invalid, "image/webp"},
		{"/empty", engage.Invalid, "JPEG, PNG or GIF"},
		{"/cut", engage.Invalid, "cannot be read"},
		{"/none", engage.Invalid, ""},
		{"/wide", engage.TooLarge, "8193 × 1 pixels"},
		{"/bomb", engage.TooLarge, "8000 × 8000 pixels"},
		{"/heavy", engage.TooLarge, "4097 bytes, at most 4096"},
		{"/chunked/heavy", engage.TooLarge, "more than the 4096 bytes"},
		{"/nothing", engage.Invalid, "404"},
		{"/round", engage.Invalid, "more than 3"},
		{"/inside", engage.Invalid, "leads elsewhere"},
		{"/locked", engage.Unavailable, "403"},
		{"/down", engage.Unavailable, "503"},
		{"/short", engage.Unavailable, "does not answer"},
	} {
		err := c.Check(t.Context(), srv.URL+tt.path)
		if engage.CodeOf(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want %q saying %q", tt.path, err, tt.code, tt.says)
		}
	}
}

func TestOnlyHttpsToPublicAddressesUnlessAllowed(t *testing.T) {
	var asked atomic.Int64
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/plain" {
			http.Redirect(w, r, "http://"+r.Host+"/a.png", http.StatusFound)
			return
		}
		_, _ = w.Write(bomb(t, 1, 1))
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())

	shut := newChecker(t, media.Options{RootCAs: roots})
	for _, address := range []string{
		plain.URL, secure.URL, "ftp://cdn.example.com/a", "http://cdn.example.com/a.png", "https://169.254.169.254/latest", "https://[::1]/a", "https://u:p@cdn.example.com/a",
		"https://localhost/a", "https://", "/a.png",
	} {
		if err := shut.Check(t.Context(), address); engage.CodeOf(err) != engage.Invalid {
			t.Errorf("%s: got %v, want that it is invalid", address, err)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("%d requests were made", asked.Load())
	}

	open := newChecker(t, media.Options{RootCAs: roots, AllowNetworks: here, Timeout: 30 * time.Second})
	for _, address := range []string{plain.URL, secure.URL} {
		if err := open.Check(t.Context(), address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := open.Check(t.Context(), secure.URL+"/plain"); engage.CodeOf(err) != engage.Invalid || !strings.Contains(err.Error(), "not https") {
		t.Errorf("from https to http: %v", err)
	}
	if err := newChecker(t, media.Options{AllowNetworks: here, Timeout: 30 * time.Second}).Check(t.Context(), secure.URL); engage.CodeOf(err) != engage.Unavailable {
		t.Errorf("an unknown authority: got %v", err)
	}
}

// Only the other loopback address is allowed, so the name passes until it is known
// what it stands for. What it led to is not said.
func TestANameThatLeadsInsideIsRefusedWhenItIsDialled(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	t.Cleanup(srv.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "http://"), ":")
	c := newChecker(t, media.Options{AllowNetworks: here[1:], Timeout: 30 * time.Second})
	if err := c.Check(t.Context(), "http://localhost:"+port+"/a.png"); err == nil || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("got %v", err)
	}
}

func TestAHostThatDoesNotAnswerIsNoVerdict(t *testing.T) {
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(release) })
	gone := httptest.NewServer(nil)
	gone.Close()
	c := newChecker(t, media.Options{AllowNetworks: here, Timeout: 100 * time.Millisecond})
	for _, address := range []string{slow.URL, slow.URL + "/body", gone.URL} {
		if err := c.Check(t.Context(), address+"?sig=secret"); engage.CodeOf(err) != engage.Unavailable || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want that it is unavailable, without the address", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Check(ctx, slow.URL); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}
