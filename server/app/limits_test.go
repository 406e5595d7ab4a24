package app_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/server/app"
)

func TestConfiguredLimitsReachTheGateway(t *testing.T) {
	s := newStory(t, func(o *app.Options) { o.Config.Limits.Sessions, o.Config.Limits.Posts = 1, 1 })
	s.phone("ada", "android", nil).foreground()
	var refused atomic.Bool
	ben := s.phone("ben", "android", func(o *client.Options) {
		o.OnState = func(_ client.State, err error) {
			if later, ok := errors.AsType[*client.RetryError](err); ok && later.After > 0 {
				refused.Store(true)
			}
		}
	})
	if err := ben.Foreground(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.eventually("the second socket is told to come back", refused.Load)

	// A POST whose body never ends holds the one place.
	body, more := io.Pipe()
	held := make(chan struct{})
	go func() {
		defer close(held)
		if resp, err := s.install(body); err == nil {
			_ = resp.Body.Close()
		}
	}()
	if _, err := io.WriteString(more, "{"); err != nil { // the client sends its head with the first bytes
		t.Fatal(err)
	}
	s.eventually("the second POST is told to come back", func() bool {
		resp, err := s.install(strings.NewReader("{}"))
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != ""
	})
	_ = more.Close()
	<-held
}

// install makes a raw POST of an install.
func (s *story) install(body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+sdkproto.PathInstall, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", sdkproto.ContentTypeJSON)
	return http.DefaultClient.Do(req)
}
