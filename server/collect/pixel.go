package collect

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// pixel is a transparent GIF of one pixel.
var pixel = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

func methodOf(isPixel bool) string {
	if isPixel {
		return http.MethodGet
	}
	return http.MethodPost
}

// servePixel answers GET /v1/pixel/{type}?data=….
func (c *Collector) servePixel(w http.ResponseWriter, r *http.Request, typ string) int {
	// A plus that was not escaped came as a space.
	data := strings.TrimRight(strings.NewReplacer(" ", "+", "-", "+", "_", "/").Replace(r.URL.Query().Get("data")), "=")
	switch {
	case data == "":
		return c.refuse(w, http.StatusBadRequest, engage.Errorf(engage.Invalid, "data", "is missing: the call as JSON, in base64"))
	case base64.RawStdEncoding.DecodedLen(len(data)) > c.o.Limits.MaxCall:
		return c.refuse(w, http.StatusBadRequest, engage.Errorf(engage.TooLarge, "data", "a call has at most %d bytes", c.o.Limits.MaxCall))
	}
	raw, err := base64.RawStdEncoding.DecodeString(data)
	if err != nil {
		return c.refuse(w, http.StatusBadRequest, engage.Errorf(engage.Invalid, "data", "is no base64"))
	}
	return c.take(w, r, typ, false, raw, func(w http.ResponseWriter, status int, _ []byte) int {
		h := w.Header()
		h.Set("Content-Type", "image/gif")
		h.Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = w.Write(pixel) // whoever has gone does not see it
		return status
	})
}
