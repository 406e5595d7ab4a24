package api_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// Dropped implements api.Dropped.
func (w *world) Dropped(_ context.Context, ws string, f api.DroppedFilter, cursor string, limit int) (api.Page[engage.Dropped], error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []engage.Dropped
	for _, d := range slices.Backward(w.dropped[ws]) {
		if (f.Code == "" || d.Code == f.Code) && (f.Key == "" || d.From.Key == f.Key) {
			all = append(all, d)
		}
	}
	return page(all, cursor, limit)
}

type writeKey struct {
	ID, Name, Kind, Source, Token string
	RevokedAt                     *time.Time `json:"revoked_at"`
	Version                       int64
	Origins                       []string
	RequestsPerS                  int `json:"requests_per_s"`
	CallsPerS                     int `json:"calls_per_s"`
}

func TestWriteKeysAreMadeListedRevokedAndForgotten(t *testing.T) {
	s := newSite(t)
	admin := s.keys[alpha][catalog.Admin]
	make := func(body string) (k writeKey) {
		s.do(request{method: "POST", path: "/api/v1/write-keys", key: admin, body: body}).want(201, &k)
		return k
	}
	site, till := make(`{"name":"website","kind":"public"}`), make(`{"name":"tills","kind":"server","source":"till"}`)
	if site.Source != "web" || !strings.HasPrefix(site.Token, "ffw_"+site.ID) || till.Source != "till" || !strings.HasPrefix(till.Token, "ffs_"+till.ID) {
		t.Fatalf("made %+v and %+v", site, till)
	}
	list := func() map[string]writeKey {
		var page struct{ Items []writeKey }
		s.do(request{method: "GET", path: "/api/v1/write-keys", key: admin}).want(200, &page)
		out := map[string]writeKey{}
		for _, k := range page.Items {
			out[k.ID] = k
		}
		return out
	}
	if have := list(); len(have) != 2 || have[site.ID].Token != site.Token || have[till.ID].Token != "" || have[till.ID].RevokedAt != nil {
		t.Errorf("listed %+v", have)
	}
	for body, field := range map[string]string{
		`{"name":"x","kind":"admin"}`:                    "kind",
		`{"name":"","kind":"public"}`:                    "name",
		`{"name":"x","kind":"public","source":"till"}`:   "source",
		`{"name":"x","kind":"server","token":"ffs_1_2"}`: "token",
	} {
		s.do(request{method: "POST", path: "/api/v1/write-keys", key: admin, body: body}).wantProblem(422, engage.Invalid, field)
	}
	revoke := request{method: "DELETE", path: "/api/v1/write-keys/" + site.ID, key: admin}
	stale := revoke
	stale.header = map[string]string{"If-Match": `"7"`}
	s.do(stale).want(http.StatusPreconditionFailed)
	s.do(revoke).want(204)
	if k := list()[site.ID]; k.RevokedAt == nil || !k.RevokedAt.Equal(start) || k.Version != 2 {
		t.Errorf("revoked: %+v", k)
	}
	if k := s.catalog.Now().WriteKeyByToken(site.Token); k == nil || !k.Revoked() {
		t.Error("a revoked key is not known any more: what it brings cannot be listed")
	}
	s.do(revoke).want(204)
	if have := list(); len(have) != 1 {
		t.Errorf("forgotten: %+v", have)
	}
	s.do(revoke).wantProblem(404, engage.NotFound, "id")
}

func TestAWriteKeyIsHeldToPagesAndRates(t *testing.T) {
	s := newSite(t)
	admin := s.keys[alpha][catalog.Admin]
	var k writeKey
	s.do(request{method: "POST", path: "/api/v1/write-keys", key: admin, body: `{"name":"web","kind":"public","origins":["https://shop.example"],"calls_per_s":9}`}).want(201, &k)
	if !slices.Equal(k.Origins, []string{"https://shop.example"}) || k.CallsPerS != 9 {
		t.Errorf("made %+v", k)
	}
	token := k.Token
	var changed writeKey
	put := func(body, match string) answer {
		return s.do(request{method: "PUT", path: "/api/v1/write-keys/" + k.ID, key: admin, body: body, header: map[string]string{"If-Match": match}})
	}
	put(`{"name":"the web","origins":["https://*.shop.example","http://localhost:3000"],"requests_per_s":4}`, `"1"`).want(200, &changed)
	k = changed
	if len(k.Origins) != 2 || k.CallsPerS != 0 || k.RequestsPerS != 4 || k.Version != 2 || k.Name != "the web" || k.Token != token {
		t.Errorf("changed to %+v", k)
	}
	put(`{"name":"x"}`, `"1"`).want(http.StatusPreconditionFailed)
	for body, field := range map[string]string{
		`{"name":"x","origins":["shop.example"]}`:             "origins",
		`{"name":"x","origins":["https://shop.example/a"]}`:   "origins",
		`{"name":"x","calls_per_s":-1}`:                       "calls_per_s",
		`{"name":"x","requests_per_s":1000000}`:               "requests_per_s",
		`{"name":"x","origins":["https://shop.example:443"]}`: "origins",
	} {
		put(body, `"2"`).wantProblem(422, engage.Invalid, field)
	}
	s.do(request{method: "PUT", path: "/api/v1/write-keys/none", key: admin, body: `{"name":"x"}`, header: map[string]string{"If-Match": "*"}}).wantProblem(404, engage.NotFound, "id")
}

func TestWhatWasDroppedIsListed(t *testing.T) {
	s := newSite(t)
	for i, code := range []engage.Code{engage.Invalid, engage.TooLarge, engage.Invalid} {
		at := start.Add(time.Duration(i) * time.Second)
		s.world.dropped[alpha] = append(s.world.dropped[alpha], engage.Dropped{
			V: 1, ID: at.Format(time.RFC3339), At: at, AtUS: at.UnixMicro(), Workspace: alpha, From: engage.TouchSource{Kind: "web", Key: "k1"},
			Message: "m", Type: "track", Code: code, Field: "batch[1].event", Reason: "is required", Profile: "w1",
		})
	}
	var page struct {
		Items []struct {
			ID, Message, Type, Code, Field, Reason, Profile string
			At                                              time.Time
			From                                            struct{ Kind, Key string }
		}
		Next string
	}
	s.do(request{method: "GET", path: "/api/v1/dropped?limit=2", role: catalog.Marketer}).want(200, &page)
	if len(page.Items) != 2 || page.Next == "" || !page.Items[0].At.Equal(start.Add(2*time.Second)) || page.Items[0].From.Key != "k1" || page.Items[0].Field != "batch[1].event" || page.Items[0].Profile != "w1" {
		t.Errorf("listed %+v", page)
	}
	s.do(request{method: "GET", path: "/api/v1/dropped?code=too_large", role: catalog.Marketer}).want(200, &page)
	if len(page.Items) != 1 || page.Items[0].Code != "too_large" {
		t.Errorf("of one code %+v", page.Items)
	}
	s.do(request{method: "GET", path: "/api/v1/dropped?key=k2", role: catalog.Marketer}).want(200, &page)
	if len(page.Items) != 0 {
		t.Errorf("of another key %+v", page.Items)
	}
}
