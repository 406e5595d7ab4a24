package collect

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

var taken = []byte(`{"success":true}`)

// refusal is the answer that is not 200.
type refusal struct {
	Success bool        `json:"success"`
	Code    engage.Code `json:"code"`
	Field   string      `json:"field,omitempty"`
	Message string      `json:"message"`
}

// statusGone counts requests whose connection broke.
const statusGone = 499

func (c *Collector) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Retry-After, X-RateLimit-Reset")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "GET, POST")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Content-Encoding, X-Retry-Count")
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	defer c.recover(w, r)
	status := c.route(w, r)
	c.metrics.requests.WithLabelValues(strconv.Itoa(status)).Inc()
}

// recover makes an answer of a panic, and a log line with where it was. What paniced is
// not logged: it may hold what was sent.
func (c *Collector) recover(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	c.o.Logger.LogAttrs(r.Context(), slog.LevelError, "tracking API panicked", slog.String("stack", string(debug.Stack())))
	c.metrics.requests.WithLabelValues("500").Inc()
	c.refuse(w, http.StatusInternalServerError, engage.Errorf(engage.Internal, "", "something went wrong here"))
}

// route answers a request and says how.
func (c *Collector) route(w http.ResponseWriter, r *http.Request) (status int) {
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, "/v1"), "/")
	if project, ok := strings.CutPrefix(path, "projects/"); ok && strings.HasSuffix(project, "/settings") {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			return c.noMethod(w, "GET")
		}
		return c.serveSettings(w, r, strings.TrimSuffix(project, "/settings"))
	}
	pixel, isPixel := strings.CutPrefix(path, "pixel/")
	if isPixel {
		path = pixel
	}
	typ, single := types[path]
	if isPixel && !single {
		path = "" // there are no pixels of batches
	}
	if !single && path != "batch" && path != "b" && path != "import" && path != "m" {
		return c.refuse(w, http.StatusNotFound, engage.Errorf(engage.NotFound, "", "there is nothing at this address"))
	}
	if method := methodOf(isPixel); r.Method != method {
		return c.noMethod(w, method)
	}
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	default:
		return c.later(w, http.StatusTooManyRequests, time.Second, engage.Errorf(engage.RateLimited, "", "too many requests at a time"))
	}
	if isPixel {
		return c.servePixel(w, r, typ)
	}
	limit := c.o.Limits.MaxBody
	if single {
		limit = c.o.Limits.MaxCall
	}
	body, err := c.body(w, r, limit)
	if err != nil {
		if _, ours := errors.AsType[*engage.Error](err); !ours {
			return statusGone // nobody reads an answer
		}
		return c.refuse(w, http.StatusBadRequest, err)
	}
	if path == "m" {
		return answer(w, http.StatusOK, taken)
	}
	return c.take(w, r, typ, path == "import", body, answer)
}

// take judges a body, has the log take what is in it, and answers when that is durable.
func (c *Collector) take(w http.ResponseWriter, r *http.Request, typ string, quiet bool, raw []byte, answered func(http.ResponseWriter, int, []byte) int) (status int) {
	now := c.o.Clock.Now()
	body, err := parseObject(raw)
	if err != nil {
		return c.refuse(w, http.StatusBadRequest, engage.Errorf(engage.Invalid, "", "the body must be one JSON object"))
	}
	token, _ := textOf(body["writeKey"], "writeKey")
	k, ok := c.keyOf(tokenOf(r), token)
	if !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="write key"`)
		return c.refuse(w, http.StatusUnauthorized, engage.Errorf(engage.Unauthorized, "writeKey", "there is no such write key"))
	}
	if !c.admit(w, r, &k) {
		return c.refuse(w, http.StatusForbidden, errOrigin(originOf(r)))
	}
	var calls []*call
	var drops []drop
	if typ != "" {
		calls = []*call{{typ: typ, fields: body}}
	} else if calls, drops, err = batchOf(body, &c.o.Limits, quiet); err != nil {
		return c.refuse(w, http.StatusBadRequest, err)
	}
	if wait := c.spend(&k, len(calls)+len(drops), now); wait > 0 { // what cannot be costs lines of the list
		return c.later(w, http.StatusTooManyRequests, wait, engage.Errorf(engage.RateLimited, "writeKey", "brings more than it may"))
	}
	entries, touches, more, err := c.entries(&k, calls, now)
	if err != nil {
		c.o.Logger.ErrorContext(r.Context(), "calls cannot be encoded", "error", err)
		return c.refuse(w, http.StatusInternalServerError, engage.Errorf(engage.Internal, "", "something went wrong here"))
	}
	if err := c.append(r.Context(), entries); err != nil {
		if engage.CodeOf(err) == engage.RateLimited {
			return c.later(w, http.StatusTooManyRequests, time.Second, engage.Errorf(engage.RateLimited, "", "the server is behind"))
		}
		c.o.Logger.WarnContext(r.Context(), "calls are not in the log", "calls", len(calls), "error", err)
		return c.later(w, http.StatusServiceUnavailable, 5*time.Second, engage.Errorf(engage.Unavailable, "", "the log does not answer"))
	}
	// Only what is answered as taken is listed: what is refused comes again.
	c.list.add(&k, now, touches, append(drops, more...))
	for cl := range touches {
		c.metrics.calls.WithLabelValues(cl.typ).Inc()
	}
	c.metrics.took.Observe(max(c.o.Clock.Now().Sub(now).Seconds(), 0))
	return answered(w, http.StatusOK, taken)
}

// entries are what calls become in the log, in their order, with the first touch of each.
func (c *Collector) entries(k *Key, calls []*call, now time.Time) (out []engage.Entry, touches map[*call]*engage.Touch, drops []drop, err error) {
	touches = make(map[*call]*engage.Touch, len(calls))
	out = make([]engage.Entry, 0, len(calls))
	for _, cl := range calls {
		s := c.understand(k, cl, now, newMessageID)
		drops = append(drops, s.drops...)
		for i, t := range s.touches {
			body, err := json.Marshal(t)
			if err != nil {
				return nil, nil, nil, fmt.Errorf("encode touch: %w", err)
			}
			if i == 0 {
				touches[cl] = t
				c.metrics.times.WithLabelValues(s.how).Inc()
			}
			out = append(out, engage.Entry{
				Kind: engage.KindTouch, Key: engage.ProfileKey(k.Workspace, engage.PersonID(k.Workspace, t.Identifiers[0])),
				Occurred: s.occurred, Body: body,
			})
		}
	}
	return out, touches, drops, nil
}

func newMessageID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (Go 1.24)
	return "ff-" + hex.EncodeToString(b[:])
}

// append returns when the entries are durable.
func (c *Collector) append(ctx context.Context, entries []engage.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	done := make(chan error, 1)
	if err := c.o.Log.AppendAsync(entries, func(err error) { done <- err }); err != nil {
		return err
	}
	late, stop := c.o.Clock.At(c.o.Clock.Now().Add(c.o.Limits.AppendWithin))
	defer stop()
	select {
	case err := <-done:
		return err
	case <-late:
		return engage.Errorf(engage.Unavailable, "", "the log did not answer within %s", c.o.Limits.AppendWithin)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Collector) noMethod(w http.ResponseWriter, allowed string) int {
	w.Header().Set("Allow", allowed+", OPTIONS")
	return c.refuse(w, http.StatusMethodNotAllowed, engage.Errorf(engage.Invalid, "", "this takes %s", allowed))
}

// later is a refusal of what is to come again.
func (c *Collector) later(w http.ResponseWriter, status int, wait time.Duration, err error) int {
	s := min(max(int64(math.Ceil(wait.Seconds())), 1), 300)
	w.Header().Set("Retry-After", strconv.FormatInt(s, 10))
	w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(c.o.Clock.Now().Unix()+s, 10))
	return c.refuse(w, status, err)
}

func (c *Collector) refuse(w http.ResponseWriter, status int, err error) int {
	out := refusal{Code: engage.CodeOf(err), Message: err.Error()}
	if e, ok := errors.AsType[*engage.Error](err); ok {
		out.Field, out.Message = e.Field, e.Msg
	}
	body, _ := json.Marshal(out) //nolint:errchkjson // texts only
	return answer(w, status, body)
}

func answer(w http.ResponseWriter, status int, body []byte) int {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever has gone does not hear it
	return status
}
