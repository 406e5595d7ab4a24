package fcmsim

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
)

// maxTopics is how many topics one app instance may be subscribed to.
const maxTopics = 2000

// fanOut delivers to all who are subscribed.
func (s *Server) fanOut(m *message, project string, d Delivered) {
	wants := func(subscribed func(string) bool) bool { return subscribed(m.Topic) }
	if m.Condition != "" {
		c, err := parseCondition(m.Condition)
		if err != nil {
			return // it was checked
		}
		wants = c
	}
	var arrivals []Arrival
	s.deviceMu.Lock()
	for _, p := range s.phones {
		if (p.State == Active || p.State == Flapping) && p.Project == project &&
			wants(func(t string) bool { return slices.Contains(p.Topics, t) }) {
			arrivals = append(arrivals, s.deliver(p, d)...)
		}
	}
	s.deviceMu.Unlock()
	s.arrived(arrivals...)
}

// subscribe is iid.googleapis.com's /iid/v1:batchAdd and :batchRemove, which the
// Admin SDK uses for topics.
func (s *Server) subscribe(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, why string) { answer(w, status, map[string]string{"error": why}) }
	add := r.URL.Path == "/iid/v1:batchAdd"
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.bearerMu.RLock()
	b, known := s.bearers[token]
	s.bearerMu.RUnlock()
	if !known || !s.now().Before(b.until) || r.Header.Get("access_token_auth") != "true" {
		refuse(http.StatusUnauthorized, "Unauthorized")
		return
	}
	var req struct {
		To     string   `json:"to"`
		Tokens []string `json:"registration_tokens"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || json.Unmarshal(body, &req) != nil || len(req.Tokens) == 0 {
		refuse(http.StatusBadRequest, "INVALID_ARGUMENT")
		return
	}
	topic, ok := strings.CutPrefix(req.To, "/topics/")
	if !ok || !topicPattern.MatchString(topic) {
		refuse(http.StatusBadRequest, "InvalidTopicName")
		return
	}
	if len(req.Tokens) > 1000 {
		refuse(http.StatusBadRequest, "TooManyTokens")
		return
	}
	results := make([]map[string]string, len(req.Tokens))
	s.deviceMu.Lock()
	for i, t := range req.Tokens {
		results[i] = map[string]string{}
		if why := s.phones[t].subscribe(b.project, topic, add); why != "" {
			results[i]["error"] = why
		}
	}
	s.deviceMu.Unlock()
	answer(w, http.StatusOK, map[string]any{"results": results})
}

// subscribe changes a subscription, or says why not.
func (p *phone) subscribe(project, topic string, add bool) string {
	switch {
	case p == nil, p.State == Unregistered, p.State == Expired:
		return "NOT_FOUND"
	case p.State == Malformed:
		return "INVALID_ARGUMENT"
	case p.State == OtherSender, p.Project != project:
		return "PERMISSION_DENIED"
	}
	i := slices.Index(p.Topics, topic)
	switch {
	case add && i < 0 && len(p.Topics) >= maxTopics:
		return "TOO_MANY_TOPICS"
	case add && i < 0:
		p.Topics = append(p.Topics, topic)
	case !add && i >= 0:
		p.Topics = slices.Delete(p.Topics, i, i+1)
	}
	return ""
}
