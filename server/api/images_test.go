package api_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// images knows what is at which address; what it does not know is good.
type images struct {
	mu    sync.Mutex
	is    map[string]error
	asked []string
}

func (i *images) Check(_ context.Context, address string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = append(i.asked, address)
	return i.is[address]
}

func (i *images) takeAsked() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	asked := i.asked
	i.asked = nil
	slices.Sort(asked)
	return asked
}

func arms(images ...string) string {
	var out []string
	for i, image := range images {
		out = append(out, fmt.Sprintf(`{"id":"a%d","message":{"title":"Hi","image_url":%q}}`, i, image))
	}
	return campaign("arms", "["+strings.Join(out, ",")+"]")
}

func TestImagesAreLookedAtWhenACampaignIsSaved(t *testing.T) {
	s := newSite(t)
	const good, page, heavy, down, secret = "https://cdn.example.com/a.png", "https://cdn.example.com/page", "https://cdn.example.com/heavy", "https://down.example.com/a.png", "sig=hunter2"
	look := &images{is: map[string]error{
		page:                engage.Errorf(engage.Invalid, "", "must be a JPEG, PNG or GIF image"),
		heavy:               engage.Errorf(engage.TooLarge, "", "too many bytes"),
		down + "?" + secret: engage.Errorf(engage.Unavailable, "", "its host takes too long"),
	}}
	o := s.options(slog.New(slog.NewJSONHandler(&locked{w: s.log}, nil)))
	o.Images = look
	o.PlainImages = func(address string) bool { return strings.HasPrefix(address, "http://10.1.") }
	h, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	s.url = srv.URL

	tests := []struct {
		name, body string
		code       engage.Code // "" means saved
		field      string
		asked      []string
	}{
		{"good", arms(good), "", "", []string{good}},
		{"each address once", arms(good, good), "", "", []string{good}},
		{"none", campaign(), "", "", nil},
		{"of the person", arms("https://cdn.example.com/{{ profile.attributes.city }}.png"), "", "", nil},
		{"no image", arms(good, page), engage.Invalid, "arms[1].message.image_url", []string{good, page}},
		{"too heavy", arms(heavy, good), engage.TooLarge, "arms[0].message.image_url", []string{good, heavy}},
		{"nobody answers", arms(good, down+"?"+secret), "", "", []string{good, down + "?" + secret}},
		{"what is refused anyway", campaign("audience", `{"field":"nonsense"}`, "arms", `[{"id":"a","message":{"title":"Hi","image_url":"`+good+`"}}]`), engage.Invalid, "audience", nil},
	}
	for i, tt := range tests {
		a := s.do(request{method: "PUT", path: fmt.Sprintf("/api/v1/campaigns/c%d", i), body: tt.body})
		if tt.code == "" && a.status != 200 && a.status != 201 || tt.code != "" && (a.status != 422 ||
			!strings.Contains(string(a.body), `"`+string(tt.code)+`"`) || !strings.Contains(string(a.body), `"field":"`+tt.field)) {
			t.Errorf("%s: got %d %s", tt.name, a.status, a.body)
		}
		if asked := look.takeAsked(); !slices.Equal(asked, tt.asked) {
			t.Errorf("%s: asked for %q, want %q", tt.name, asked, tt.asked)
		}
	}
	if log := s.log.String(); !strings.Contains(log, "its host takes too long") || strings.Contains(log, "hunter2") {
		t.Errorf("the log says %s", log)
	}

	a := s.do(request{method: "POST", path: "/api/v1/campaigns/validate", body: arms(down + "?" + secret)})
	if got := string(a.body); !strings.Contains(got, `"valid":true`) || !strings.Contains(got, `"field":"arms[0].message.image_url"`) || !strings.Contains(got, `"unavailable"`) {
		t.Errorf("validate: %s", got)
	}
	a = s.do(request{method: "POST", path: "/api/v1/campaigns/validate", body: arms(page)})
	if got := string(a.body); !strings.Contains(got, `"valid":false`) || !strings.Contains(got, `"field":"arms[0].message.image_url"`) {
		t.Errorf("validate: %s", got)
	}
	s.do(request{method: "PUT", path: "/api/v1/campaigns/plain", body: arms(good)}).want(201)
	for address, saved := range map[string]bool{
		"http://10.1.2.3/a.png": true, "http://cdn.example.com/a.png": false, " HTTP://cdn.example.com/a.png": false,
		"http://cdn.example.com/{{ profile.attributes.city }}.png": false,
	} {
		a := s.do(request{method: "PUT", path: "/api/v1/campaigns/plain", body: arms(good, address), header: map[string]string{"If-Match": "*"}})
		if saved {
			a.want(200)
		} else {
			a.wantProblem(422, engage.Invalid, "arms[1].message.image_url")
		}
	}
	live := strings.Replace(arms(good), `"title"`, `"push":{"ios":{"live_activity":{"event":"update","content_state":{}}}},"title"`, 1)
	s.do(request{method: "PUT", path: "/api/v1/campaigns/plain", body: live, header: map[string]string{"If-Match": "*"}}).
		wantProblem(422, engage.Unsupported, "arms[0].message.push.ios.live_activity")
	// One that an older version has saved can be paused, but not made live.
	old := *s.catalog.Now().Campaign(alpha, "plain")
	old.Arms = slices.Clone(old.Arms)
	old.Arms[0].Message.ImageURL, old.Arms[0].Message.Channels = "http://cdn.example.com/a.png", []engage.Channel{engage.Push, engage.Push}
	if err := s.catalog.PutCampaign(t.Context(), "k", &old, old.Version); err != nil {
		t.Fatal(err)
	}
	s.do(request{method: "POST", path: "/api/v1/campaigns/plain/status", body: `{"status":"paused"}`}).want(200)
	s.do(request{method: "POST", path: "/api/v1/campaigns/plain/status", body: `{"status":"live"}`}).wantProblem(422, engage.Invalid, "arms[0].message.channels[1]")
	look.takeAsked()
	s.do(request{method: "POST", path: "/api/v1/campaigns/validate", body: arms(good), role: catalog.Viewer})
	if asked := look.takeAsked(); asked != nil {
		t.Errorf("a viewer sends the server to %q", asked)
	}
}
