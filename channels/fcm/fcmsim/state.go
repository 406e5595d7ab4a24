package fcmsim

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// stateAPI serves what the methods of Server do. Bodies are JSON; an error is
// {"error": "…"} with status 400.
//
//	GET    /sim/v1/devices                      all that were added
//	POST   /sim/v1/devices                      Device → Device with token and fid
//	GET    /sim/v1/devices/{token}              {"device", "stored", "tray"}
//	PATCH  /sim/v1/devices/{token}              {"state", "presence"}, both optional
//	DELETE /sim/v1/devices/{token}              uninstall
//	POST   /sim/v1/devices/{token}/reregister   → {"token"}, the new one
//	GET    /sim/v1/arrivals?token=…&limit=…     what came to phones, newest first
//	GET    /sim/v1/requests?token=…&limit=…     send requests, newest first
//	GET    /sim/v1/rules                        faults
//	PUT    /sim/v1/rules                        replaces them
//	POST   /sim/v1/clock                        {"advance_s"} → {"now"}
//	PUT    /sim/v1/apns_key                     {"bad"}
//	POST   /sim/v1/expire_access_tokens
//	GET    /metrics
func (s *Server) stateAPI(mux *http.ServeMux) {
	mux.HandleFunc("GET /sim/v1/devices", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"devices": s.Devices()})
	})
	mux.HandleFunc("POST /sim/v1/devices", func(w http.ResponseWriter, r *http.Request) {
		var d Device
		if read(w, r, &d) {
			d, err := s.AddDevice(d)
			say(w, d, err)
		}
	})
	mux.HandleFunc("GET /sim/v1/devices/{token}", func(w http.ResponseWriter, r *http.Request) {
		token := r.PathValue("token")
		d, ok := s.Device(token)
		if !ok {
			answer(w, http.StatusNotFound, map[string]string{"error": "no device has this token"})
			return
		}
		answer(w, http.StatusOK, map[string]any{"device": d, "stored": views(s.Stored(token)), "tray": views(s.Tray(token))})
	})
	mux.HandleFunc("PATCH /sim/v1/devices/{token}", s.patchDevice)
	mux.HandleFunc("DELETE /sim/v1/devices/{token}", func(w http.ResponseWriter, r *http.Request) {
		say(w, struct{}{}, s.Uninstall(r.PathValue("token")))
	})
	mux.HandleFunc("POST /sim/v1/devices/{token}/reregister", func(w http.ResponseWriter, r *http.Request) {
		token, err := s.Reregister(r.PathValue("token"))
		say(w, map[string]string{"token": token}, err)
	})
	mux.HandleFunc("GET /sim/v1/arrivals", s.listArrivals)
	mux.HandleFunc("GET /sim/v1/requests", s.listRequests)
	mux.HandleFunc("GET /sim/v1/rules", func(w http.ResponseWriter, _ *http.Request) {
		rules := []ruleBody{}
		for _, r := range s.Rules() {
			rules = append(rules, ruleBodyOf(r))
		}
		answer(w, http.StatusOK, map[string]any{"rules": rules})
	})
	mux.HandleFunc("PUT /sim/v1/rules", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Rules []ruleBody `json:"rules"`
		}
		if read(w, r, &body) {
			rules := make([]Rule, len(body.Rules))
			for i, b := range body.Rules {
				rules[i] = b.rule()
			}
			s.SetRules(rules...)
			answer(w, http.StatusOK, body)
		}
	})
	mux.HandleFunc("POST /sim/v1/clock", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			AdvanceS float64 `json:"advance_s"`
		}
		if read(w, r, &body) {
			s.Advance(time.Duration(body.AdvanceS * float64(time.Second)))
			answer(w, http.StatusOK, map[string]time.Time{"now": s.now()})
		}
	})
	mux.HandleFunc("PUT /sim/v1/apns_key", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Bad bool `json:"bad"`
		}
		if read(w, r, &body) {
			s.SetAPNsKeyBad(body.Bad)
			answer(w, http.StatusOK, body)
		}
	})
	mux.HandleFunc("POST /sim/v1/expire_access_tokens", func(w http.ResponseWriter, _ *http.Request) {
		s.ExpireTokens()
		answer(w, http.StatusOK, struct{}{})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
}

func (s *Server) patchDevice(w http.ResponseWriter, r *http.Request) {
	var body struct {
		State    State    `json:"state"`
		Presence Presence `json:"presence"`
	}
	if !read(w, r, &body) {
		return
	}
	token := r.PathValue("token")
	var err error
	if body.State != "" {
		err = s.SetState(token, body.State)
	}
	if err == nil && body.Presence != "" {
		err = s.SetPresence(token, body.Presence)
	}
	d, _ := s.Device(token)
	say(w, d, err)
}

// read reads a body, or answers.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		say(w, nil, err)
	}
	return err == nil
}

func say(w http.ResponseWriter, v any, err error) {
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	answer(w, http.StatusOK, v)
}

// view is a message over HTTP.
type view struct {
	Token       string            `json:"token,omitempty"`
	FID         string            `json:"fid,omitempty"`
	Topic       string            `json:"topic,omitempty"`
	Name        string            `json:"name,omitempty"`
	At          time.Time         `json:"at"`
	Title       string            `json:"title,omitempty"`
	Body        string            `json:"body,omitempty"`
	Data        map[string]string `json:"data,omitempty"`
	Tag         string            `json:"tag,omitempty"`
	CollapseKey string            `json:"collapse_key,omitempty"`
	TTLS        *float64          `json:"ttl_s,omitempty"` // absent: FCM's four weeks
	High        bool              `json:"high"`
	Visible     bool              `json:"visible"`
	Via         Via               `json:"via,omitempty"` // of an arrival
	Presence    Presence          `json:"presence,omitempty"`
	ArrivedAt   time.Time         `json:"arrived_at,omitzero"`
}

func viewOf(d *Delivered) view {
	v := view{
		Token: d.Token, FID: d.FID, Topic: d.Topic, Name: d.Name, At: d.At, Title: d.Title, Body: d.Body, Data: d.Data,
		Tag: d.Tag, CollapseKey: d.CollapseKey, High: d.High, Visible: d.Visible,
	}
	if d.TTL >= 0 {
		s := d.TTL.Seconds()
		v.TTLS = &s
	}
	return v
}

func views(ds []Delivered) []view {
	vs := make([]view, len(ds))
	for i := range ds {
		vs[i] = viewOf(&ds[i])
	}
	return vs
}

// newest takes the newest of a log, newest first.
func newest[T, V any](r *http.Request, log []T, token func(*T) string, show func(*T) V) []V {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit <= 0 {
		limit = 100
	}
	want := r.URL.Query().Get("token")
	out := []V{}
	for i := len(log) - 1; i >= 0 && len(out) < limit; i-- {
		if want == "" || token(&log[i]) == want {
			out = append(out, show(&log[i]))
		}
	}
	return out
}

func (s *Server) listArrivals(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, map[string]any{"arrivals": newest(r, s.Arrivals(),
		func(a *Arrival) string { return a.Token },
		func(a *Arrival) view {
			v := viewOf(&a.Delivered)
			v.Via, v.Presence, v.ArrivedAt = a.Via, a.Presence, a.ArrivedAt
			return v
		})})
}

func (s *Server) listRequests(w http.ResponseWriter, r *http.Request) {
	type line struct {
		At        time.Time `json:"at"`
		Token     string    `json:"token,omitempty"`
		MessageID string    `json:"message_id,omitempty"`
		Tag       string    `json:"tag,omitempty"`
		Status    int       `json:"status"`
		Code      string    `json:"code,omitempty"`
		Accepted  bool      `json:"accepted"`
		DryRun    bool      `json:"dry_run"`
	}
	answer(w, http.StatusOK, map[string]any{"requests": newest(r, s.Requests(),
		func(q *Request) string { return q.Token }, func(q *Request) line { return line(*q) })})
}

// ruleBody is a Rule over HTTP.
type ruleBody struct {
	Match       map[string]string `json:"match,omitempty"`
	Rate        float64           `json:"rate,omitempty"`
	Times       int               `json:"times,omitempty"`
	Status      int               `json:"status,omitempty"`
	Code        string            `json:"code,omitempty"`
	Message     string            `json:"message,omitempty"`
	RetryAfterS float64           `json:"retry_after_s,omitempty"`
	Quota       string            `json:"quota,omitempty"`
	HTML        bool              `json:"html,omitempty"`
	Reset       bool              `json:"reset,omitempty"`
	Drop        bool              `json:"drop,omitempty"`
	SlowMS      int64             `json:"slow_ms,omitempty"`
	SlowBodyMS  int64             `json:"slow_body_ms,omitempty"`
	GoAway      bool              `json:"go_away,omitempty"`
}

func (b ruleBody) rule() Rule {
	return Rule{b.Match, b.Rate, b.Times, Fault{
		Status: b.Status, Code: b.Code, Message: b.Message, RetryAfter: time.Duration(b.RetryAfterS * float64(time.Second)), Quota: b.Quota,
		HTML: b.HTML, Reset: b.Reset, Drop: b.Drop, Slow: time.Duration(b.SlowMS) * time.Millisecond,
		SlowBody: time.Duration(b.SlowBodyMS) * time.Millisecond, GoAway: b.GoAway,
	}}
}

func ruleBodyOf(r Rule) ruleBody {
	f := r.Fault
	return ruleBody{
		r.Match, r.Rate, r.Times, f.Status, f.Code, f.Message, f.RetryAfter.Seconds(), f.Quota, f.HTML, f.Reset, f.Drop,
		f.Slow.Milliseconds(), f.SlowBody.Milliseconds(), f.GoAway,
	}
}
