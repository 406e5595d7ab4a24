package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/engage"
)

// collecting is a story whose log can be read when it has ended.
type collecting struct {
	*story
	tape bytes.Buffer
}

func newCollecting(t *testing.T) *collecting {
	c := &collecting{}
	c.story = newStory(t, func(o *app.Options) {
		o.Tape = &c.tape
		o.Config.Weather.Contact = ""
	})
	return c
}

// writeKey makes one; kind is "public" or "server".
func (c *collecting) writeKey(kind string) string {
	c.t.Helper()
	var k struct{ Token string }
	c.must("POST", "/api/v1/write-keys", map[string]string{"name": kind, "kind": kind}, &k)
	return k.Token
}

// touches are those in the log, by message id, after the server has stopped.
func (c *collecting) touches() map[string]engage.Touch {
	c.t.Helper()
	c.stop()
	tape, err := app.ReadTape(&c.tape)
	if err != nil {
		c.t.Fatal(err)
	}
	out := map[string]engage.Touch{}
	for name, stream := range tape.Streams {
		for _, m := range stream {
			entries, err := engage.DecodeRecord(m.Data)
			if err != nil {
				c.t.Fatal(err)
			}
			for _, e := range entries {
				if e.Kind != engage.KindTouch || !e.From.Outside() {
					continue
				}
				var t engage.Touch
				if err := json.Unmarshal(e.Body, &t); err != nil {
					c.t.Fatal(err)
				}
				if want := engage.ProfileKey("default", engage.PersonID("default", t.Identifiers[0])); e.Key != want || !strings.HasPrefix(name, "act/") {
					c.t.Errorf("%s is in %s at %s", t.ID, name, e.Key)
				}
				out[t.ID] = t
			}
		}
	}
	return out
}

// droppedLines waits for so many lines of the list, and gives "code field" of each.
func (c *collecting) droppedLines(n int) (lines []string) {
	c.t.Helper()
	c.eventually(fmt.Sprint(n, " lines of what was dropped"), func() bool {
		var page struct{ Items []engage.Dropped }
		c.must("GET", "/api/v1/dropped", nil, &page)
		lines = nil
		for _, d := range page.Items {
			if d.From.Key != "" { // decide's own are another test's
				lines = append(lines, string(d.Code)+" "+d.Field)
			}
		}
		return len(lines) >= n
	})
	slices.Sort(lines)
	return lines
}

// testClients is the folder with the official clients.
func testClients(t *testing.T) string {
	t.Helper()
	folder, err := filepath.Abs("../collect/testclients")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err != nil {
		t.Skip("the official clients are not installed: make test installs them")
	}
	return folder
}

func TestTheOfficialClientForServersWorksUnmodified(t *testing.T) {
	folder := testClients(t)
	c := newCollecting(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", filepath.Join(folder, "node.mjs"), c.url, c.writeKey("server")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `{"answered":8,"failed":0}`) {
		t.Fatalf("%v: %s", err, out)
	}
	if got := c.droppedLines(1); len(got) != 1 || !strings.HasPrefix(got[0], "invalid batch[") || !strings.HasSuffix(got[0], "].properties.total") {
		t.Errorf("dropped %q", got)
	}
	got := c.touches()
	if len(got) != 8 {
		t.Errorf("%d touches are in the log", len(got))
	}
	if x := got["n1"]; !slices.Equal(x.Identifiers, []string{"user_id:ada", "loyalty:77", "email:ada@example.com"}) || x.Traits["address_city"] != "Utrecht" ||
		!x.Trusted || !strings.HasPrefix(x.From.Name, "@segment/analytics-node/") || x.From.Kind != "server" {
		t.Errorf("identify %+v", x)
	}
	if x := got["n3"]; x.Order == nil || x.Order.ID != "o1" || x.Order.Value != 25.5 || x.Order.Products[0].Quantity != 2 || x.Event.Name != "Order Completed" {
		t.Errorf("order %+v", x)
	}
	if x := got["n8"]; x.Order != nil || x.Event == nil {
		t.Errorf("a refund that cannot be: %+v", x)
	}
	if x := got["n7"]; x.Alias != "user_id:visitor-1" {
		t.Errorf("alias %+v", x)
	}
	for id, kind := range map[string]string{"n2": "track", "n4": "page", "n5": "screen", "n6": "group"} {
		if x := got[id]; x.Event == nil || x.Event.Type != kind {
			t.Errorf("%s: %+v", id, x)
		}
	}
}

func TestTheOfficialClientForPagesWorksUnmodifiedInChromium(t *testing.T) {
	folder := testClients(t)
	bin, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	c := newCollecting(t)
	public := c.writeKey("public")
	site := http.NewServeMux() // another origin than the server
	site.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, filepath.Join(folder, "page.html")) })
	site.Handle("/umd/", http.StripPrefix("/umd/", http.FileServer(http.Dir(filepath.Join(folder, "node_modules/@segment/analytics-next/dist/umd")))))
	page := httptest.NewServer(site)
	defer page.Close()

	for i, batching := range []string{"", "yes"} {
		at := page.URL + "/?" + url.Values{"writeKey": {public}, "host": {c.url}, "batching": {batching}}.Encode()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		out, err := exec.CommandContext(ctx, bin, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
			"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", // it calls nobody but us
			"--user-data-dir="+t.TempDir(), "--virtual-time-budget=20000", "--dump-dom", at).Output()
		cancel()
		if err != nil {
			t.Fatalf("chromium: %v", err)
		}
		if !strings.Contains(string(out), "sent; failures: none") {
			t.Fatalf("the page says: %s", out)
		}
		c.droppedLines(i + 1) // an alias by a page has no effect, and comes last
	}
	for _, line := range c.droppedLines(2) { // one of them of a batch
		if !strings.HasPrefix(line, "identity_invalid ") || !strings.HasSuffix(line, "previousId") {
			t.Errorf("dropped %q", line)
		}
	}
	counts := map[string]int{}
	for _, x := range c.touches() {
		if x.Trusted || !slices.Equal(x.Identifiers, []string{"anonymous_id:visitor-2"}) || x.From.Kind != "web" || !strings.HasPrefix(x.From.Name, "analytics.js/") {
			t.Errorf("a page brought %+v", x)
		}
		switch {
		case x.Event != nil:
			counts[x.Event.Type+" "+x.Event.Name]++
			if x.Event.Name == "Order Completed" && (x.Order == nil || x.Order.Value != 9.5 || x.Claimed != "user_id:ada") {
				t.Errorf("order %+v", x)
			}
		default:
			counts["identify"]++
			if x.Claimed != "user_id:ada" || x.Traits["first_name"] != "Ada" {
				t.Errorf("identify %+v", x)
			}
		}
	}
	for _, want := range []string{"page Home", "track Product Viewed", "identify", "track Order Completed", "group staff"} {
		if counts[want] != 2 {
			t.Errorf("%d of %q are in the log, want one alone and one in a batch: %v", counts[want], want, counts)
		}
	}
}

// What was answered is there after a restart; what was dropped is listed in its own
// workspace, and the list is held to its length.
func TestWhatTheTrackingAPIAnsweredIsThere(t *testing.T) {
	c := newCollecting(t)
	server := c.writeKey("server")
	var batch []string
	for i := range 200 {
		batch = append(batch, fmt.Sprintf(`{"type":"track","messageId":"m%d","userId":"u%d","event":"x"}`, i, i))
	}
	batch = append(batch, `{"type":"track","messageId":"bad","event":"nobody"}`)
	post := func(key, path, body string) int {
		req, err := http.NewRequest(http.MethodPost, c.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(key, "")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode
	}
	if code := post(server, "/v1/batch", `{"batch":[`+strings.Join(batch, ",")+`]}`); code != 200 {
		t.Fatalf("a batch: %d", code)
	}
	if code := post("ffs_00_00", "/v1/t", `{"userId":"ada","event":"x"}`); code != 401 {
		t.Errorf("an unknown key: %d", code)
	}
	if got := c.droppedLines(1); !slices.Equal(got, []string{"invalid batch[200].userId"}) {
		t.Errorf("dropped %q", got)
	}
	// Who wants to be left alone is.
	c.must("POST", "/api/v1/suppressions", map[string]string{"identifier": "user_id:u-alone"}, nil)
	if code := post(server, "/v1/t", `{"userId":"u-alone","messageId":"alone","event":"x"}`); code != 200 {
		t.Errorf("of somebody who is suppressed: %d", code)
	}
	if got := c.droppedLines(2); !slices.Contains(got, "forbidden ") {
		t.Errorf("dropped %q", got)
	}
	var keys struct{ Items []struct{ ID string } }
	c.must("GET", "/api/v1/write-keys", nil, &keys)
	if code := c.call("DELETE", "/api/v1/write-keys/"+keys.Items[0].ID, nil, nil); code != 204 {
		t.Errorf("revoke: %d", code)
	}
	if code := post(server, "/v1/t", `{"userId":"ada","event":"x"}`); code != 200 {
		t.Errorf("a revoked key: %d", code)
	}
	if got := c.droppedLines(3); !slices.Contains(got, "unauthorized writeKey") {
		t.Errorf("dropped %q", got)
	}
	var metrics bytes.Buffer
	resp, err := http.Get(c.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = metrics.ReadFrom(resp.Body)
	_ = resp.Body.Close()
	for _, want := range []string{`footfall_collect_calls_total{type="track"} 200`, `footfall_collect_dropped_total{code="invalid"} 1`, `footfall_collect_requests_total{status="401"} 1`} {
		if !strings.Contains(metrics.String(), want) {
			t.Errorf("no %s", want)
		}
	}
	got := c.touches()
	if _, there := got["alone"]; there {
		t.Error("what a suppressed person did is in the log")
	}
	for i := range 200 {
		if x := got[fmt.Sprint("m", i)]; len(x.Identifiers) != 1 || x.Identifiers[0] != fmt.Sprint("user_id:u", i) {
			t.Errorf("m%d is %+v", i, x)
		}
	}
	c.tape.Reset()
	c.serve()
	if got := c.droppedLines(3); len(got) != 3 {
		t.Errorf("after a restart the list has %q", got)
	}
}
