package collect

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// tokenOf is the write key that the headers name; empty when they name none.
func tokenOf(r *http.Request) string {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return rest
	case strings.EqualFold(scheme, "Basic"):
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding} {
			if plain, err := encoding.DecodeString(rest); err == nil {
				user, _, _ := strings.Cut(string(plain), ":")
				return strings.TrimSpace(user)
			}
		}
	}
	return ""
}

// originOf is the origin of the page that a request comes from, as the browser says it:
// of an image, for which it says none, that of the page's address. Empty: it is no
// browser, or one that does not tell.
func originOf(r *http.Request) string {
	if o := r.Header.Get("Origin"); o != "" || r.Method != http.MethodGet {
		return o
	}
	u, err := url.Parse(r.Header.Get("Referer"))
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}

// admit reports whether the page that a request comes from may use the key, has the
// answer say so, and lists that it may not. Who is no browser can say what it likes, or
// nothing: this keeps other pages away, nobody else.
func (c *Collector) admit(w http.ResponseWriter, r *http.Request, k *Key) bool {
	if k.Allows == nil {
		return true
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := originOf(r)
	if origin == "" {
		return true
	}
	if k.Allows(origin) {
		h.Set("Access-Control-Allow-Origin", origin)
		return true
	}
	h.Del("Access-Control-Allow-Origin")
	if now := c.o.Clock.Now(); c.refused.AllowN(now, 1) {
		c.list.add(k, now, nil, []drop{{err: errOrigin(origin)}})
	} else { // others' lines must not be pushed off the list by a page that asks and asks
		c.metrics.dropped.WithLabelValues(string(engage.Forbidden)).Inc()
		c.metrics.unlisted.Inc()
	}
	return false
}

func errOrigin(origin string) error {
	return engage.Errorf(engage.Forbidden, "Origin", "pages of %s may not use this write key", clip(origin, 100))
}

// keyOf is the key of a request: the headers', else the body's. A Bearer token that is no
// write key is of somebody else, a proxy perhaps, and so is a password in front of us.
func (c *Collector) keyOf(header, body string) (Key, bool) {
	for _, token := range []string{header, body} {
		if token == "" || len(token) > 200 {
			continue
		}
		if k, ok := c.o.Catalog.WriteKey(token); ok {
			return k, true
		}
	}
	return Key{}, false
}
