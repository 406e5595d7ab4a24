package fcmsim

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/footfall-engage/footfall/channels/internal/simtoken"
)

const maxBody = 64 << 10

// send is messages:send.
func (s *Server) send(w http.ResponseWriter, r *http.Request) {
	entry := Request{At: s.now()}
	began := time.Now()
	defer func() {
		s.metrics.seconds.Observe(time.Since(began).Seconds())
		s.log(entry)
	}()
	if !s.wait(r, s.latency()) {
		panic(http.ErrAbortHandler)
	}
	project := r.PathValue("project")
	refuse := func(f fault) {
		entry.Status, entry.Code = f.status, f.code
		f.write(w)
	}
	if r.PathValue("method") != "messages:send" {
		refuse(noMethod)
		return
	}
	if f, ok := s.authorize(r, project); !ok {
		refuse(f)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(malformed("Request payload size exceeds the limit: 65536 bytes.", ""))
		return
	}
	if f, ok := s.quotas.project(s.opts.Quotas, project, entry.At); !ok {
		refuse(f)
		return
	}
	req, f, ok := parse(body)
	m := &req.Message
	entry.Token, entry.MessageID, entry.Tag = either(m.Token, m.FID), m.data()["footfall_message_id"], m.tag()
	entry.DryRun = req.ValidateOnly
	if !ok {
		refuse(f)
		return
	}
	fault, ruled := s.byRule(project, body)
	if !ruled {
		kind, times, _ := simtoken.Split(entry.Token)
		if of, struck := s.kindFault(kind, entry.Token, times); struck {
			fault = of
		}
	}
	if fault.refuses() {
		f := fault.answer()
		entry.Status, entry.Code = f.status, f.code
		s.reply(w, r, fault, f.status, f.contentType(), f.retryAfter, f.body, &entry)
		return
	}
	if fault.Reset {
		panic(http.ErrAbortHandler) // net/http's way to end a stream without an answer
	}
	name, f, ok := s.accept(&req, project, entry.At, body)
	if !ok {
		refuse(f)
		return
	}
	entry.Accepted = !req.ValidateOnly
	b, _ := json.MarshalIndent(map[string]string{"name": name}, "", "  ") // a string
	entry.Status = http.StatusOK
	s.reply(w, r, fault, http.StatusOK, "application/json; charset=UTF-8", "", b, &entry)
}

// accept takes a message: it goes to its phones or is stored for them.
func (s *Server) accept(req *sendRequest, project string, at time.Time, body []byte) (name string, f fault, ok bool) {
	m := &req.Message
	var p *phone
	if m.Token != "" || m.FID != "" {
		if p, f, ok = s.target(m, project); !ok {
			return "", f, false
		}
	}
	if req.ValidateOnly {
		return "projects/" + project + "/messages/fake_message_id", fault{}, true
	}
	name = fmt.Sprintf("projects/%s/messages/0:%d%%%016x", project, at.UnixMicro(), s.names.Add(1))
	d := m.delivered(at, name, body)
	if device := either(m.Token, m.FID); device != "" {
		if f, ok := s.quotas.device(s.opts.Quotas, device, d.collapsible() && d.TTL != 0, at); !ok {
			return "", f, false
		}
	}
	if s.opts.OnAccept != nil {
		s.opts.OnAccept(d)
	}
	switch {
	case p != nil:
		s.deviceMu.Lock()
		arrivals := s.deliver(p, d)
		s.deviceMu.Unlock()
		s.arrived(arrivals...)
	case m.Topic != "" || m.Condition != "":
		s.fanOut(m, project, d)
	default: // a token that nobody added is a phone in somebody's hand
		s.arrived(Arrival{d, ToApp, Foreground, at})
	}
	return name, fault{}, true
}

// reply answers as the fault wants it.
func (s *Server) reply(w http.ResponseWriter, r *http.Request, f Fault, status int, contentType, retryAfter string, body []byte, entry *Request) {
	if f.Drop || !s.wait(r, f.Slow) {
		entry.Status = 0
		panic(http.ErrAbortHandler) // net/http's way to end a stream without an answer
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	if retryAfter != "" {
		h.Set("Retry-After", retryAfter)
	}
	if f.GoAway {
		h.Set("Connection", "close") // net/http's way to say GOAWAY
	}
	w.WriteHeader(status)
	if f.SlowBody > 0 {
		_, _ = w.Write(body[:len(body)/2]) // the peer may be gone
		_ = http.NewResponseController(w).Flush()
		body = body[len(body)/2:]
		if !s.wait(r, f.SlowBody) {
			panic(http.ErrAbortHandler)
		}
	}
	_, _ = w.Write(body) // the peer may be gone
}

// wait lets time pass, the machine's; false means that nobody waits any longer.
func (s *Server) wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
	case <-s.ctx.Done():
	}
	return false
}

// latency draws one: log-normal with the median and the 99th percentile of the
// options.
func (s *Server) latency() time.Duration {
	median, p99 := s.opts.Latency, s.opts.LatencyP99
	if median <= 0 || p99 <= median {
		return median
	}
	s.randMu.Lock()
	z := s.rand.NormFloat64()
	s.randMu.Unlock()
	sigma := math.Log(float64(p99)/float64(median)) / 2.3263478740408408 // the normal distribution's 99th percentile
	return time.Duration(float64(median) * math.Exp(sigma*z))
}

// chance draws from [0, 1).
func (s *Server) chance() float64 {
	s.randMu.Lock()
	defer s.randMu.Unlock()
	return s.rand.Float64()
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		status, b = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the peer may be gone
}
