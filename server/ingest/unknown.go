package ingest

import (
	"net/http"
	"strings"

	"github.com/footfall-engage/footfall/sdkproto"
)

// methods are those that the protocol's paths know.
var methods = map[string]string{
	sdkproto.PathWS: http.MethodGet, sdkproto.PathBatch: http.MethodPost, sdkproto.PathInstall: http.MethodPost,
	sdkproto.PathToken: http.MethodPost, sdkproto.PathConfig: http.MethodGet, sdkproto.PathInbox: http.MethodGet,
	sdkproto.PathPreferences: "GET, PUT", sdkproto.PathConsents: http.MethodGet, sdkproto.PathExport: http.MethodGet, sdkproto.PathErasure: http.MethodPost,
}

// serveUnknown answers what no path of the protocol is for in the protocol's words, of
// the request's own type, so that an SDK, also one in a web page, can say what is wrong.
func (g *Gateway) serveUnknown(w http.ResponseWriter, r *http.Request) {
	allowOrigins(w)
	codec := sdkproto.CodecFor(append(strings.Split(r.Header.Get("Accept"), ","), r.Header.Get("Content-Type"))...)
	if codec == nil {
		codec = sdkproto.JSON{}
	}
	if method, ok := methods[r.URL.Path]; ok {
		w.Header().Set("Allow", method+", "+http.MethodOptions)
		g.refuse(w, codec, http.StatusMethodNotAllowed, sdkproto.Errorf(sdkproto.ErrUnknownFrame, "method", "%s takes %s", r.URL.Path, method))
		return
	}
	g.refuse(w, codec, http.StatusNotFound, sdkproto.Errorf(sdkproto.ErrUnknownFrame, "path", "is none of the protocol's"))
}
