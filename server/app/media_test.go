package app_test

import (
	"bytes"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
)

// From the marketer's save to what phones are told and get, on both ways; and over a
// start.
func TestAHostedImageGoesTheWholeWay(t *testing.T) {
	var pic bytes.Buffer
	if err := png.Encode(&pic, image.NewGray(image.Rect(0, 0, 4, 3))); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/page.png" {
			w.Header().Set("Content-Type", "image/png")
			_, _ = io.WriteString(w, "<!doctype html>")
			return
		}
		_, _ = w.Write(pic.Bytes())
	}))
	t.Cleanup(shop.Close)
	s := newStory(t, func(o *app.Options) {
		o.Config.PublicURL, o.Config.Media.Host, o.Config.Media.AllowNetworks = "https://engage.example.com", config.On, "127.0.0.1"
	})
	s.place("cafe", cafe)
	with := func(path string) func(map[string]any) {
		return func(c map[string]any) {
			c["arms"].([]any)[0].(map[string]any)["message"].(map[string]any)["image_url"] = shop.URL + path
		}
	}
	s.campaign("rainy-day", with("/a.png"))
	var saved struct{ Arms []engage.Arm }
	s.must("GET", "/api/v1/campaigns/rainy-day", nil, &saved)
	if got := saved.Arms[0].Message.ImageURL; got != shop.URL+"/a.png" {
		t.Errorf("the campaign says %q, and not what the marketer wrote", got)
	}
	var refused struct{ Field string }
	if code := s.call("PUT", "/api/v1/campaigns/page", map[string]any{
		"name": "page", "class": "service", "status": "draft", "trigger": map[string]any{"type": "event", "event": "e"},
		"arms": []any{map[string]any{"id": "a", "message": map[string]any{"title": "T", "image_url": shop.URL + "/page.png"}}},
	}, &refused); code != 422 || refused.Field != "arms[0].message.image_url" {
		t.Errorf("a page as an image: %d %+v", code, refused)
	}

	// In the open app, and by push.
	ada, ben := s.phone("ada", "android", nil).agree().likes("fashion").foreground(), s.phone("ben", "android", nil).agree().likes("fashion").background()
	ada.at(cafe, 10)
	ada.post()
	ben.at(cafe, 10).post()
	s.eventually("Ada sees it", func() bool { return len(ada.shows()) == 1 })
	s.eventually("Ben is pushed to", func() bool { return len(s.pushesTo(ben)) == 1 })
	address := ada.first().ImageUrl
	path, ok := strings.CutPrefix(address, "https://engage.example.com/media/")
	if !ok || !strings.HasSuffix(path, ".png") {
		t.Fatalf("Ada's message carries %q", address)
	}
	s.eventually("Ben's phone has it", func() bool { return len(s.fcm.Arrivals()) == 1 })
	if got := s.fcm.Arrivals()[0].ImageURL; got != address {
		t.Errorf("the push carries %q, want %q", got, address)
	}
	fetch := func() {
		t.Helper()
		resp, err := http.Get(s.url + "/media/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close() //nolint:errcheck // read to its end
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || !bytes.Equal(body, pic.Bytes()) || resp.Header.Get("Content-Type") != "image/png" ||
			!strings.Contains(resp.Header.Get("Cache-Control"), "immutable") || resp.Header.Get("Cross-Origin-Resource-Policy") != "cross-origin" {
			t.Errorf("the phone gets %d %v, %d bytes, %v", resp.StatusCode, resp.Header, len(body), err)
		}
	}
	fetch()
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var test struct {
		Outcome  string
		ImageURL string `json:"image_url"`
	}
	s.must("POST", "/api/v1/apps/android/test-send", map[string]any{"install": ben.install, "campaign": "rainy-day"}, &test)
	if test.Outcome != "accepted" || test.ImageURL != address {
		t.Errorf("a test send: %+v", test)
	}

	before := asked.Load()
	s.stop()
	s.serve()
	fetch()
	if asked.Load() != before {
		t.Error("the image was fetched again after a start")
	}
}
