package collect_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/collect"
	"github.com/footfall-engage/footfall/server/engage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)

const (
	public  = "ffw_01_web"
	server  = "ffs_02_secret"
	till    = "ffs_03_till"
	revoked = "ffw_04_old"
	rival   = "ffs_05_rival"
	listed  = "ffw_06_listed"
	slow    = "ffw_07_slow"
	few     = "ffw_08_few"
)

// world is the catalogue, the log and the list.
type world struct {
	mu      sync.Mutex
	entries []engage.Entry
	refuse  error    // what AppendAsync returns
	fail    error    // what done is told
	mute    bool     // done is never called
	held    []func() // answers of the log that wait for release
	hold    bool     // answers wait
	drops   []engage.Dropped
	down    error // of the list
	trims   []int
	keep    time.Duration
}

func (w *world) WriteKey(token string) (collect.Key, bool) {
	k, ok := map[string]collect.Key{
		public:  {ID: "01", Workspace: "shop", Source: "web"},
		server:  {ID: "02", Workspace: "shop", Source: "server", Trusted: true},
		till:    {ID: "03", Workspace: "shop", Source: "till", Trusted: true},
		revoked: {ID: "04", Workspace: "shop", Source: "web", Revoked: true},
		rival:   {ID: "05", Workspace: "rival", Source: "server", Trusted: true},
		listed:  {ID: "06", Workspace: "shop", Source: "web", Allows: func(origin string) bool { return origin == "https://shop.example" }},
		slow:    {ID: "07", Workspace: "shop", Source: "web", RequestRate: 3},
		few:     {ID: "08", Workspace: "shop", Source: "web", CallRate: 2},
	}[token]
	k.IsTime = func(attribute string) bool { return k.Workspace == "shop" && attribute == "member_since" }
	return k, ok
}

func (w *world) Suppressed(workspace, identifier string) bool {
	return workspace == "shop" && (identifier == "email:leave@me.alone" || identifier == "user_id:alone" || identifier == "anonymous_id:alone")
}

func (w *world) Place(workspace, id string) bool { return workspace == "shop" && id == "cafe" }

func (w *world) AppendAsync(entries []engage.Entry, done func(error)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return w.refuse
	}
	w.entries = append(w.entries, entries...)
	switch err := w.fail; {
	case w.mute:
	case w.hold:
		w.held = append(w.held, func() { done(err) })
	default:
		go done(err)
	}
	return nil
}

func (w *world) Put(_ context.Context, drops []engage.Dropped, keep time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down != nil {
		return w.down
	}
	w.drops, w.keep = append(w.drops, drops...), keep
	return nil
}

func (w *world) Trim(_ context.Context, newest int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trims = append(w.trims, newest)
	return nil
}

type site struct {
	t     *testing.T
	w     *world
	c     *collect.Collector
	clock *clock.Manual
	url   string
	stop  func()
}

func newSite(t *testing.T, limits ...collect.Limits) *site {
	t.Helper()
	s := &site{t: t, w: &world{}, clock: clock.NewManual(start)}
	o := collect.Options{Catalog: s.w, Log: s.w, List: s.w, Suppressed: s.w, Clock: s.clock, Logger: slog.New(slog.DiscardHandler)}
	if len(limits) > 0 {
		o.Limits = limits[0]
	}
	var err error
	if s.c, err = collect.New(o); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.c.Handler())
	s.url = srv.URL
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.c.Run(ctx)
	}()
	s.stop = sync.OnceFunc(func() {
		http.DefaultClient.CloseIdleConnections()
		srv.Close()
		cancel()
		<-ended
	})
	t.Cleanup(s.stop)
	return s
}

// newQuietSite is one without a socket, whose list nobody writes.
func newQuietSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, w: &world{}, clock: clock.NewManual(start)}
	var err error
	if s.c, err = collect.New(collect.Options{Catalog: s.w, Log: s.w, List: s.w, Suppressed: s.w, Clock: s.clock, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	return s
}

type reply struct {
	status int
	body   string
	header http.Header
}

func (s *site) do(method, path string, body []byte, header ...string) reply {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{resp.StatusCode, string(b), resp.Header}
}

// send posts as a key and wants it taken.
func (s *site) send(key, path, body string) {
	s.t.Helper()
	if a := s.do("POST", path, []byte(body), "Authorization", basic(key+":")); a.status != 200 || a.body != `{"success":true}` {
		s.t.Fatalf("%s %.200s: %d %s", path, body, a.status, a.body)
	}
}

func basic(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

// took are the touches since the last call, with their entries.
func (s *site) took() (touches []engage.Touch, entries []engage.Entry) {
	s.t.Helper()
	s.w.mu.Lock()
	entries, s.w.entries = s.w.entries, nil
	s.w.mu.Unlock()
	for _, e := range entries {
		var t engage.Touch
		if err := json.Unmarshal(e.Body, &t); err != nil {
			s.t.Fatal(err)
		}
		if e.Kind != engage.KindTouch || t.V != 1 || len(t.Identifiers) == 0 || t.ID == "" ||
			e.Key != engage.ProfileKey(e.Workspace(), engage.PersonID(e.Workspace(), t.Identifiers[0])) {
			s.t.Errorf("entry %s %s: %+v", e.Kind, e.Key, t)
		}
		touches = append(touches, t)
	}
	return touches, entries
}

// one is the only touch since the last call.
func (s *site) one() (engage.Touch, engage.Entry) {
	s.t.Helper()
	touches, entries := s.took()
	if len(touches) != 1 {
		s.t.Fatalf("%d touches, want one: %+v", len(touches), touches)
	}
	return touches[0], entries[0]
}

// dropped are the lines of the list, after all that waits is written: the site stops.
func (s *site) dropped() []engage.Dropped {
	s.stop()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.w.drops
}

// lines are "code field" of each.
func lines(drops []engage.Dropped) []string {
	var out []string
	for _, d := range drops {
		out = append(out, strings.TrimSpace(string(d.Code)+" "+d.Field))
	}
	return out
}

func zip(t *testing.T, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("it never came")
		}
	}
}
