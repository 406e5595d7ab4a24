package apnssim

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxState bounds the body of a call to the state API, in bytes.
const maxState = 1 << 20

// State is the state API: what the methods of Server do, over plain HTTP, for
// programs in other processes. Errors are {"error": "…"}.
//
//	GET    /devices                     the known tokens
//	PUT    /devices/{token}             {"topics": […], "phone": "online"}: Register and SetPhone; both may be absent
//	DELETE /devices/{token}?as=STATE    Uninstall (also without as), or "expired", "unknown"
//	GET    /devices/{token}/shown       the notifications that stand on the phone
//	GET    /delivered?token=TOKEN       what has reached phones; all without a token
//	GET    /activities                  Live Activities
//	GET    /requests                    the log of requests
//	GET    /faults                      the rules in force
//	PUT    /faults                      [{…}]: replaces them
//	POST   /goaway?reason=REASON        tells all connections to go away; Shutdown without a reason
//	POST   /expire-tokens               makes the provider tokens seen so far expired
//	GET    /metrics                     Prometheus metrics
func (s *Server) State() http.Handler {
	mux := http.NewServeMux()
	get := func(path string, f func(r *http.Request) any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, f(r)) })
	}
	get("/devices", func(*http.Request) any { return s.Devices() })
	get("/devices/{token}/shown", func(r *http.Request) any { return emptyNotNull(s.Shown(r.PathValue("token"))) })
	get("/delivered", func(r *http.Request) any { return emptyNotNull(s.Delivered(r.FormValue("token"))) })
	get("/activities", func(*http.Request) any { return s.Activities() })
	get("/requests", func(*http.Request) any { return emptyNotNull(s.Requests()) })
	get("/faults", func(*http.Request) any { return s.Faults() })
	mux.HandleFunc("PUT /devices/{token}", func(w http.ResponseWriter, r *http.Request) {
		var d struct {
			Topics []string
			Phone  Phone
		}
		if !read(w, r, &d) {
			return
		}
		switch d.Phone {
		case "", Online, Background, Offline:
		default:
			fail(w, "phone: must be online, background or offline")
			return
		}
		s.Register(r.PathValue("token"), d.Topics...)
		if d.Phone != "" {
			s.SetPhone(r.PathValue("token"), d.Phone)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /devices/{token}", func(w http.ResponseWriter, r *http.Request) {
		state := DeviceState(r.FormValue("as"))
		switch state {
		case "":
			state = Unregistered
		case Unregistered, Expired, Unknown:
		default:
			fail(w, "as: must be unregistered, expired or unknown")
			return
		}
		s.end(r.PathValue("token"), state)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("PUT /faults", func(w http.ResponseWriter, r *http.Request) {
		var rules []Fault
		if !read(w, r, &rules) {
			return
		}
		if err := s.SetFaults(rules...); err != nil {
			fail(w, err.Error())
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /goaway", func(w http.ResponseWriter, r *http.Request) {
		s.GoAwayBecause(r.FormValue("reason"))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /expire-tokens", func(w http.ResponseWriter, _ *http.Request) {
		s.ExpireTokens()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	return mux
}

// serveState starts to serve State.
func (s *Server) serveState() error {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", s.opts.StateAddr)
	if err != nil {
		return fmt.Errorf("listen for the state API: %w", err)
	}
	s.stateAt = "http://" + ln.Addr().String()
	s.state = &http.Server{Handler: s.State(), ReadHeaderTimeout: handshakeTimeout}
	s.wg.Go(func() { _ = s.state.Serve(ln) }) // ends with Close
	return nil
}

// StateURL is where State is served; empty without Options.StateAddr.
func (s *Server) StateURL() string { return s.stateAt }

func emptyNotNull[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxState))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		fail(w, err.Error())
		return false
	}
	return true
}

func fail(w http.ResponseWriter, msg string) {
	answer(w, http.StatusBadRequest, map[string]string{"error": msg})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that went away shows elsewhere
}
