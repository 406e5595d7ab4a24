package collect

import (
	"encoding/base64"
	"net/http"
	"strings"
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
