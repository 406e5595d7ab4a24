package collect_test

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/collect"
	"github.com/footfall-engage/footfall/server/engage"
)

func TestAKeyIsForItsPages(t *testing.T) {
	s := newSite(t)
	body := []byte(`{"anonymousId":"a1","event":"x"}`)
	for _, c := range []struct {
		key, origin string
		status      int
		allowed     string
	}{
		{listed, "https://shop.example", 200, "https://shop.example"},
		{listed, "https://evil.example", 403, ""},
		{listed, "null", 403, ""},
		{listed, "", 200, "*"}, // no browser
		{public, "https://evil.example", 200, "*"},
	} {
		header := []string{"Authorization", basic(c.key + ":")}
		if c.origin != "" {
			header = append(header, "Origin", c.origin)
		}
		a := s.do("POST", "/v1/t", body, header...)
		got, _ := s.took()
		if a.status != c.status || a.header.Get("Access-Control-Allow-Origin") != c.allowed || (len(got) == 1) != (c.status == 200) {
			t.Errorf("%s from %q: %d %s, %v, %d touches", c.key, c.origin, a.status, a.body, a.header, len(got))
		}
		if vary := a.header.Get("Vary"); (vary == "Origin") != (c.key == listed) {
			t.Errorf("%s: Vary %q", c.key, vary)
		}
		if c.status == 403 && !strings.Contains(a.body, `"code":"forbidden","field":"Origin"`) {
			t.Errorf("%s", a.body)
		}
		if a = s.do("GET", "/v1/projects/"+c.key+"/settings", nil, header...); a.status != c.status {
			t.Errorf("settings of %s from %q: %d", c.key, c.origin, a.status)
		}
	}
	d := s.dropped()
	if len(d) != 4 || d[0].Code != engage.Forbidden || d[0].Field != "Origin" || !strings.Contains(d[0].Reason, "https://evil.example") || d[0].From.Key != "06" {
		t.Errorf("dropped %v", lines(d))
	}
	s = newSite(t)
	for range 100 { // a page that asks and asks does not push others' lines off the list
		s.do("POST", "/v1/t", body, "Authorization", basic(listed+":"), "Origin", "https://evil.example")
	}
	if d := s.dropped(); len(d) == 0 || len(d) > 20 {
		t.Errorf("%d lines", len(d))
	}
}

func TestAKeyHasRatesOfItsOwn(t *testing.T) {
	s := newSite(t, collect.Limits{MaxBatch: 10})
	body := []byte(`{"anonymousId":"a1","event":"x"}`)
	taken := func(key string) (n int) {
		for range 30 {
			if a := s.do("POST", "/v1/t", body, "Authorization", basic(key+":")); a.status == 200 {
				n++
			} else if a.status != 429 || a.header.Get("Retry-After") == "" {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		return n
	}
	if slow, other := taken(slow), taken(public); slow != 6 || other != 30 { // 3 per second, of 2 seconds
		t.Errorf("%d and %d requests were taken", slow, other)
	}
	// The calls of a batch count one by one; the largest batch is taken at first.
	batch := []byte(`{"batch":[` + strings.TrimSuffix(strings.Repeat(`{"type":"track","anonymousId":"a1","event":"x"},`, 10), ",") + `]}`)
	for i, want := range []int{200, 429} {
		if a := s.do("POST", "/v1/b", batch, "Authorization", basic(few+":")); a.status != want {
			t.Errorf("batch %d: %d %s", i, a.status, a.body)
		}
	}
}

func TestAPixelIsACall(t *testing.T) {
	s := newSite(t)
	call := `{"writeKey":"` + public + `","anonymousId":"a?>~1","event":"Email Opened","properties":{"sku":"ü"}}`
	for name, data := range map[string]string{
		"base64":                       url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(call))),
		"of the other alphabet":        base64.RawURLEncoding.EncodeToString([]byte(call)),
		"whose plus was not escaped":   base64.StdEncoding.EncodeToString([]byte(call)),
		"without padding, not escaped": base64.RawStdEncoding.EncodeToString([]byte(call)),
	} {
		a := s.do("GET", "/v1/pixel/track?data="+data, nil)
		got, _ := s.took()
		if a.status != 200 || a.header.Get("Content-Type") != "image/gif" || !strings.HasPrefix(a.body, "GIF89a") || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", name, a.status, a.header)
		}
		if len(got) != 1 || got[0].Event == nil || got[0].Event.Name != "Email Opened" || got[0].Event.Properties["sku"] != "ü" || got[0].Identifiers[0] != "anonymous_id:a?>~1" {
			t.Errorf("%s became %+v", name, got)
		}
	}
	for path, want := range map[string]int{
		"/v1/pixel/track": 400, "/v1/pixel/track?data=%%%": 400, "/v1/pixel/track?data=x*": 400,
		"/v1/pixel/track?data=" + base64.RawURLEncoding.EncodeToString([]byte(`{"anonymousId":"a"}`)):                     401,
		"/v1/pixel/track?data=" + base64.RawURLEncoding.EncodeToString([]byte(`{"p":"`+strings.Repeat("x", 33<<10)+`"}`)): 400,
		"/v1/pixel/batch?data=e30": 404, "/v1/pixel/m?data=e30": 404, "/v1/pixel/": 404, "/v1/pixel": 404,
	} {
		if a := s.do("GET", path, nil); a.status != want {
			t.Errorf("%.60s: %d %s", path, a.status, a.body)
		}
	}
	if a := s.do("POST", "/v1/pixel/track", []byte(call)); a.status != 405 || !strings.Contains(a.header.Get("Allow"), "GET") {
		t.Errorf("POST: %d %v", a.status, a.header)
	}
	// Of an image the browser says its page, if it says anything.
	data := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(call, public, listed, 1)))
	for referer, want := range map[string]int{"": 200, "https://shop.example/a?b": 200, "https://evil.example/": 403} {
		if a := s.do("GET", "/v1/pixel/page?data="+data, nil, "Referer", referer); a.status != want {
			t.Errorf("on a page of %q: %d", referer, a.status)
		}
	}
}
