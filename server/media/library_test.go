package media_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/gif"
	"image/png"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/media"
)

// shelf is a Shelf in memory.
type shelf struct {
	mu     sync.Mutex
	key    []byte
	images map[string]media.Image
	data   map[string][]byte
	uses   map[media.Use]string // by the use without its image
	reads  int
	broken error
}

func newShelf(key byte) *shelf {
	return &shelf{key: bytes.Repeat([]byte{key}, 32), images: map[string]media.Image{}, data: map[string][]byte{}, uses: map[media.Use]string{}}
}

func (s *shelf) Key(context.Context) ([]byte, error) { return s.key, nil }

func (s *shelf) All(_ context.Context, image func(media.Image), use func(media.Use)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.images {
		image(i)
	}
	for u, name := range s.uses {
		u.Image = name
		use(u)
	}
	return s.broken
}

func (s *shelf) PutImage(_ context.Context, i media.Image, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	s.images[i.Name] = i
	if data != nil {
		s.data[i.Name] = data
	}
	return nil
}

func (s *shelf) Data(_ context.Context, workspace, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.images[name].Workspace != workspace {
		return nil, nil
	}
	return s.data[name], s.broken
}

func (s *shelf) PutUses(_ context.Context, uses []media.Use) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range uses {
		name := u.Image
		u.Image = ""
		s.uses[u] = name
	}
	return s.broken
}

func (s *shelf) Remove(_ context.Context, images []media.Image, uses []media.Use) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range images {
		delete(s.images, i.Name)
		delete(s.data, i.Name)
	}
	for _, u := range uses {
		u.Image = ""
		delete(s.uses, u)
	}
	return s.broken
}

// gallery is a host of images on the loopback.
type gallery struct {
	*httptest.Server
	mu    sync.Mutex
	at    map[string]http.HandlerFunc
	asked map[string]int
}

func newGallery(t *testing.T) *gallery {
	g := &gallery{at: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		f := g.at[r.URL.Path]
		g.asked[r.URL.Path]++
		g.mu.Unlock()
		if f == nil {
			http.NotFound(w, r)
			return
		}
		f(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gallery) put(path, kind string, data []byte) {
	g.handle(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(data)
	})
}

func (g *gallery) handle(path string, f http.HandlerFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at[path] = f
}

func (g *gallery) times(path string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked[path]
}

func pngOf(t *testing.T, w int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, w, 3))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// house is a library with what is around it.
type house struct {
	t     *testing.T
	shelf *shelf
	clock *clock.Manual
	*media.Library
	metrics *prometheus.Registry
	mu      sync.Mutex
	shown   []media.Shown
}

func newHouse(t *testing.T, change func(*media.LibraryOptions)) *house {
	h := &house{t: t, shelf: newShelf(1), clock: clock.NewManual(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))}
	h.open(change)
	return h
}

// open opens the library on what the shelf has, as a start does.
func (h *house) open(change func(*media.LibraryOptions)) {
	h.t.Helper()
	h.metrics = prometheus.NewRegistry()
	o := media.LibraryOptions{
		Shelf: h.shelf, Checker: newChecker(h.t, media.Options{AllowNetworks: here, MaxBytes: 64 << 10, Timeout: 30 * time.Second}),
		Shown: func() []media.Shown {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.shown
		},
		Base: "https://engage.example.com", Grace: 10 * 24 * time.Hour, Clock: h.clock, Metrics: h.metrics,
	}
	if change != nil {
		change(&o)
	}
	var err error
	if h.Library, err = media.NewLibrary(o); err != nil {
		h.t.Fatal(err)
	}
	if err := h.Load(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// save is what the API does with a campaign's image.
func (h *house) save(workspace, campaign, address string) (name string) {
	h.t.Helper()
	name, err := h.Take(h.t.Context(), workspace, address)
	if err != nil {
		h.t.Fatal(err)
	}
	h.show(media.Shown{Workspace: workspace, Campaign: campaign, Address: address})
	if err := h.Use(h.t.Context(), workspace, campaign, map[string]string{address: name}); err != nil {
		h.t.Fatal(err)
	}
	return name
}

func (h *house) show(s ...media.Shown) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shown = append(h.shown, s...)
}

func (h *house) hide() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shown = nil
}

func (h *house) tend() {
	h.t.Helper()
	if err := h.Tend(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) ask(method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// metric sums the values of a metric, of one outcome if that is not empty.
func (h *house) metric(name, outcome string) (sum float64) {
	h.t.Helper()
	all, err := h.metrics.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.Metric {
			if f.GetName() == name && (outcome == "" || len(m.Label) == 1 && m.Label[0].GetValue() == outcome) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestAHostedImageIsServedAsItsBytesSay(t *testing.T) {
	g, h := newGallery(t), newHouse(t, nil)
	data := pngOf(t, 4)
	g.put("/a.svg", "image/svg+xml; charset=utf-8", data) // a lie: it is a PNG
	name := h.save("shop", "c", g.URL+"/a.svg?sig=hunter2")
	if !regexp.MustCompile(`^[0-9a-f]{40}\.png$`).MatchString(name) {
		t.Errorf("its name is %q", name)
	}
	address := h.Address("shop", "c", g.URL+"/a.svg?sig=hunter2")
	if want := "https://engage.example.com/media/" + name; address != want {
		t.Errorf("messages carry %q, want %q", address, want)
	}
	for _, other := range []string{h.Address("shop", "d", g.URL+"/a.svg?sig=hunter2"), h.Address("other", "c", g.URL+"/a.svg?sig=hunter2")} {
		if other != g.URL+"/a.svg?sig=hunter2" {
			t.Errorf("another campaign, or workspace, carries %q", other)
		}
	}
	w := h.ask("GET", "/media/"+name)
	if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), data) {
		t.Errorf("got %d and %d bytes", w.Code, w.Body.Len())
	}
	for header, want := range map[string]string{
		"Content-Type": "image/png", "X-Content-Type-Options": "nosniff", "Cache-Control": "public, max-age=31536000, immutable",
		"Cross-Origin-Resource-Policy": "cross-origin", "Etag": `"` + name + `"`,
	} {
		if got := w.Header().Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	if w := h.ask("HEAD", "/media/"+name); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "" {
		t.Errorf("HEAD: %d, %d bytes", w.Code, w.Body.Len())
	}
	if w := h.ask("GET", "/media/"+name, "If-None-Match", `"`+name+`"`); w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("asked again: %d", w.Code)
	}
	for _, path := range []string{"/media/", "/media/../" + name, "/media/" + name + "x", "/media/" + strings.Replace(name, ".png", ".gif", 1), "/media/" + strings.Repeat("0", 40) + ".png"} {
		if w := h.ask("GET", path); w.Code != 404 || w.Header().Get("Cache-Control") != "no-store" || strings.HasPrefix(w.Header().Get("Content-Type"), "image/") {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}

	// The same bytes have one name in a workspace, another in another, and another on
	// another server: who has the image cannot find out who shows it.
	g.put("/b.png", "image/png", data)
	if same := h.save("shop", "d", g.URL+"/b.png"); same != name {
		t.Errorf("the same image is called %q and %q", name, same)
	}
	elsewhere := h.save("other", "c", g.URL+"/b.png")
	foreign := newHouse(t, func(o *media.LibraryOptions) { o.Shelf = newShelf(2) })
	if far := foreign.save("shop", "c", g.URL+"/b.png"); elsewhere == name || far == name {
		t.Errorf("names are %q, %q of another workspace, %q of another server", name, elsewhere, far)
	}
	if err := h.Use(t.Context(), "other", "c", map[string]string{g.URL + "/b.png": name}); engage.CodeOf(err) != engage.NotFound {
		t.Errorf("a workspace shows another's image: %v", err)
	}
	if n := h.metric("footfall_media_images", ""); n != 2 {
		t.Errorf("%v images, want 2", n)
	}
}

func TestWhatIsNoImageToHostIsRefused(t *testing.T) {
	g := newGallery(t)
	g.put("/a.svg", "image/png", []byte(`<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`))
	g.put("/page.png", "image/png", []byte("<!doctype html><script>alert(1)</script>"))
	ended := make(chan struct{})
	g.handle("/endless.png", func(w http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		_, err := w.Write(pngOf(t, 4))
		for zeros := make([]byte, 4096); err == nil; {
			_, err = w.Write(zeros) // until the server hangs up
		}
	})
	for path, to := range map[string]string{
		"/private": "http://10.0.0.1/a.png", "/metadata": "http://169.254.169.254/latest/meta-data", "/file": "file:///etc/passwd",
	} {
		g.handle(path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
	}
	h := newHouse(t, nil)
	for _, tt := range []struct {
		path string
		code engage.Code
	}{
		{"/a.svg", engage.Invalid},
		{"/page.png", engage.Invalid},
		{"/endless.png", engage.TooLarge},
		{"/private", engage.Invalid},
		{"/metadata", engage.Invalid},
		{"/file", engage.Invalid},
		{"/nothing", engage.Invalid},
	} {
		if name, err := h.Take(t.Context(), "shop", g.URL+tt.path); engage.CodeOf(err) != tt.code || name != "" {
			t.Errorf("%s: %q, %v; want %s", tt.path, name, err, tt.code)
		}
	}
	<-ended
	if n := h.metric("footfall_media_images", ""); n != 0 || len(h.shelf.data) != 0 {
		t.Errorf("%v images are kept", n)
	}
	if n := h.metric("footfall_media_fetches_total", "refused"); n != 7 {
		t.Errorf("%v refusals are counted, want 7", n)
	}
}

func TestWhatWasSavedIsShownWhateverBecomesOfTheAddress(t *testing.T) {
	g, h := newGallery(t), newHouse(t, nil)
	one, two := pngOf(t, 4), pngOf(t, 5)
	g.put("/a.png", "image/png", one)
	address := g.URL + "/a.png"
	first := h.save("shop", "c", address)
	g.put("/a.png", "image/png", two)
	h.clock.Advance(24 * time.Hour)
	h.tend()
	if got := h.Address("shop", "c", address); !strings.HasSuffix(got, first) || g.times("/a.png") != 1 {
		t.Errorf("messages carry %q, asked %d times", got, g.times("/a.png"))
	}
	h.save("shop", "d", address) // another campaign's save does not change this one's
	if got := h.Address("shop", "c", address); !strings.HasSuffix(got, first) {
		t.Errorf("another campaign was saved: messages carry %q", got)
	}
	second := h.save("shop", "c", address)
	if got := h.Address("shop", "c", address); second == first || !strings.HasSuffix(got, second) {
		t.Errorf("saved again: messages carry %q", got)
	}
	if w := h.ask("GET", "/media/"+first); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), one) {
		t.Errorf("what inboxes still show: %d", w.Code)
	}

	// A start on the same shelf goes on with the same addresses.
	h.open(nil)
	if got := h.Address("shop", "c", address); !strings.HasSuffix(got, second) {
		t.Errorf("after a start messages carry %q", got)
	}
	if w := h.ask("GET", "/media/"+second); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), two) {
		t.Errorf("after a start: %d", w.Code)
	}
}

func TestWhatNoCampaignShowsGoesAfterTheGrace(t *testing.T) {
	g, h := newGallery(t), newHouse(t, nil)
	g.put("/a.png", "image/png", pngOf(t, 4))
	g.put("/b.png", "image/png", pngOf(t, 5))
	a, b := h.save("shop", "c", g.URL+"/a.png"), h.save("shop", "d", g.URL+"/b.png")
	lost, err := h.Take(t.Context(), "shop", g.URL+"/a.png") // and then the campaign was not saved
	if err != nil || lost != a {
		t.Fatal(lost, err)
	}
	h.hide()
	h.show(media.Shown{Workspace: "shop", Campaign: "d", Address: g.URL + "/b.png"})
	h.tend()
	if got := h.Address("shop", "c", g.URL+"/a.png"); got != g.URL+"/a.png" {
		t.Errorf("a campaign that shows it no more carries %q", got)
	}
	h.clock.Advance(10*24*time.Hour - time.Second)
	h.tend()
	if w := h.ask("GET", "/media/"+a); w.Code != 200 {
		t.Errorf("within the grace: %d", w.Code)
	}
	h.save("shop", "e", g.URL+"/a.png") // shown again: the grace begins anew when that ends
	h.hide()
	h.show(media.Shown{Workspace: "shop", Campaign: "d", Address: g.URL + "/b.png"})
	h.tend()
	h.clock.Advance(10 * 24 * time.Hour)
	h.open(nil) // what is not shown is remembered over a start
	h.tend()
	if w := h.ask("GET", "/media/"+a); w.Code != 200 {
		t.Errorf("shown again within the grace: %d", w.Code)
	}
	h.clock.Advance(time.Second)
	h.tend()
	if w := h.ask("GET", "/media/"+a); w.Code != 404 {
		t.Errorf("after the grace: %d", w.Code)
	}
	if w := h.ask("GET", "/media/"+b); w.Code != 200 {
		t.Errorf("one that is shown: %d", w.Code)
	}
	if len(h.shelf.data) != 1 || len(h.shelf.images) != 1 || len(h.shelf.uses) != 1 {
		t.Errorf("on the shelf: %v, %v", maps.Collect(maps.All(h.shelf.images)), h.shelf.uses)
	}
	if n, size := h.metric("footfall_media_images", ""), h.metric("footfall_media_bytes", ""); n != 1 || size != float64(len(pngOf(t, 5))) {
		t.Errorf("%v images of %v bytes", n, size)
	}
}

func TestWhatCampaignsLackIsFetchedLater(t *testing.T) {
	g, h := newGallery(t), newHouse(t, nil)
	g.handle("/a.png", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	address := g.URL + "/a.png"
	h.show(media.Shown{Workspace: "shop", Campaign: "c", Address: address})
	h.tend()
	h.clock.Advance(30 * time.Second)
	h.tend() // a host that is down is not asked all the time
	if got := h.Address("shop", "c", address); got != address || g.times("/a.png") != 1 || h.metric("footfall_media_lacking", "") != 1 {
		t.Errorf("messages carry %q, asked %d times", got, g.times("/a.png"))
	}
	h.clock.Advance(30 * time.Second)
	h.tend()
	h.clock.Advance(time.Minute)
	h.tend() // two minutes after the second failure
	if n := g.times("/a.png"); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
	g.put("/a.png", "image/png", pngOf(t, 4))
	h.clock.Advance(time.Minute)
	h.tend()
	if got := h.Address("shop", "c", address); !strings.HasPrefix(got, "https://engage.example.com/media/") || h.metric("footfall_media_lacking", "") != 0 {
		t.Errorf("the host is back: messages carry %q", got)
	}
	h.tend()
	if n := g.times("/a.png"); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
}

func TestHostedImagesHaveABound(t *testing.T) {
	one := pngOf(t, 4)
	g, h := newGallery(t), newHouse(t, func(o *media.LibraryOptions) { o.MaxBytes = int64(len(one)) })
	g.put("/a.png", "image/png", one)
	g.put("/b.gif", "text/plain", picture(t, func(b *bytes.Buffer, i image.Image) error { return gif.Encode(b, i, nil) }))
	h.save("shop", "c", g.URL+"/a.png")
	if _, err := h.Take(t.Context(), "shop", g.URL+"/b.gif"); engage.CodeOf(err) != engage.Unavailable || !strings.Contains(err.Error(), "bytes together") {
		t.Errorf("without room: %v", err)
	}
	h.save("shop", "d", g.URL+"/a.png") // what is there takes no room
	if n := h.metric("footfall_media_fetches_total", "full"); n != 1 {
		t.Errorf("%v are counted for which there was no room", n)
	}
}

// A push brings all phones at once, on a server that has just started.
func TestManyPhonesReadAnImageOnce(t *testing.T) {
	g, h := newGallery(t), newHouse(t, nil)
	data := pngOf(t, 4)
	g.put("/a.png", "image/png", data)
	name := h.save("shop", "c", g.URL+"/a.png")
	h.open(nil)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if w := h.ask("GET", "/media/"+name); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), data) {
				t.Errorf("got %d", w.Code)
			}
		})
	}
	all.Wait()
	h.ask("GET", "/media/"+name)
	if h.shelf.reads != 1 {
		t.Errorf("read %d times", h.shelf.reads)
	}
}

func TestABrokenShelfIsTold(t *testing.T) {
	g, h := newGallery(t), newHouse(t, nil)
	g.put("/a.png", "image/png", pngOf(t, 4))
	name := h.save("shop", "c", g.URL+"/a.png")
	h.open(nil)
	h.shelf.broken = errors.New("disk on fire")
	if w := h.ask("GET", "/media/"+name); w.Code != 503 || strings.Contains(w.Body.String(), "fire") || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	g.put("/b.png", "image/png", pngOf(t, 5))
	if _, err := h.Take(t.Context(), "shop", g.URL+"/b.png"); err == nil {
		t.Error("an image was kept that is not there")
	}
	h.shelf.broken = nil
	if w := h.ask("GET", "/media/"+name); w.Code != 200 {
		t.Errorf("when it is mended: %d", w.Code)
	}
	h.shelf.data[name] = h.shelf.data[name][1:]
	h.open(nil)
	if w := h.ask("GET", "/media/"+name); w.Code != 503 {
		t.Errorf("half an image: %d", w.Code)
	}
}
