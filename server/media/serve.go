package media

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// serveWithin bounds how long a phone may take to read an image.
const serveWithin = 2 * time.Minute

// ServeHTTP serves an image: GET and HEAD of Path and its name, to whoever knows the
// name. It never changes, so that it may be kept for ever; a page of any origin may
// show it.
func (l *Library) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _ := strings.CutPrefix(r.URL.Path, Path)
	l.mu.RLock()
	i, ok := l.images[name]
	l.mu.RUnlock()
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if !ok {
		l.metrics.requests.WithLabelValues("not_found").Inc()
		h.Set("Cache-Control", "no-store")
		http.Error(w, "there is no such image", http.StatusNotFound)
		return
	}
	data, err := l.data(r.Context(), i)
	if err != nil {
		l.metrics.requests.WithLabelValues("error").Inc()
		l.log.LogAttrs(r.Context(), slog.LevelError, "hosted image cannot be read", slog.String("workspace", i.Workspace), slog.Any("error", err))
		h.Set("Cache-Control", "no-store")
		http.Error(w, "the image cannot be read just now", http.StatusServiceUnavailable)
		return
	}
	l.metrics.requests.WithLabelValues("found").Inc()
	h.Set("Content-Type", i.Type)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("ETag", `"`+i.Name+`"`)
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Now().Add(serveWithin)) //nolint:forbidigo // the machine's: who reads slowly holds a connection. A writer without deadlines does without
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	_ = c.SetWriteDeadline(time.Time{}) // the next answer of the connection is another matter
}
