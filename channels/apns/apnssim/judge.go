package apnssim

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"
)

// verdict is what came of a request.
type verdict struct {
	entry  Request // Status and Reason are the answer
	do     Do
	delay  time.Duration // of the answer, or of its body
	fields []hpack.HeaderField
	body   []byte
	bearer *bearer // the provider token that was verified; nil when none was
	plain  bool    // not a push: neither logged nor counted
}

// refuse makes the verdict an answer.
func (v verdict) refuse(r refusal) verdict {
	v.entry.Status, v.entry.Reason = r.status, r.reason
	switch {
	case r.body != "":
		v.body = []byte(r.body)
		v.fields = append(v.fields, hpack.HeaderField{Name: "content-type", Value: "text/html"})
	case !r.since.IsZero():
		v.body = []byte(`{"reason":"` + r.reason + `","timestamp":` + strconv.FormatInt(r.since.UnixMilli(), 10) + `}`)
	default:
		v.body = []byte(`{"reason":"` + r.reason + `"}`)
	}
	if r.retryAfter != "" {
		v.fields = append(v.fields, hpack.HeaderField{Name: "retry-after", Value: r.retryAfter})
	}
	return v
}

// judge decides a request and, when it is accepted, hands it to the phone. known
// is the provider token last verified on the connection, pinned the key of its
// first.
func (s *Server) judge(st *stream, known *bearer, pinned *providerKey) verdict {
	p := readHeaders(st.fields)
	if !strings.HasPrefix(p.path, "/3/") {
		return s.judgeBroadcast(st, p, known, pinned)
	}
	token, pathOK := strings.CutPrefix(p.path, "/3/device/")
	if !pathOK {
		token = ""
	}
	token = strings.ToLower(token)
	if p.id == "" {
		p.id = s.newUUID()
	}
	v := verdict{entry: Request{At: st.at, Token: token, APNsID: p.id, CollapseID: p.collapse}, bearer: known}
	v.fields = append(v.fields, hpack.HeaderField{Name: "apns-id", Value: p.id})
	switch {
	case !pathOK && p.path != "/3/device":
		return v.refuse(refuse(404, "BadPath"))
	case p.method != "POST":
		return v.refuse(refuse(405, "MethodNotAllowed"))
	case p.doubled:
		return v.refuse(refuse(400, "DuplicateHeaders"))
	}
	b, r := s.authorize(p.auth, known, pinned)
	if r.status != 0 {
		return v.refuse(r)
	}
	v.bearer = b
	if reason := s.checkHeaders(&p); reason != "" {
		return v.refuse(refuse(400, reason))
	}
	if !b.key.allows(bundle(p)) || len(s.opts.Topics) > 0 && !slices.Contains(s.opts.Topics, bundle(p)) {
		return v.refuse(refuse(400, "TopicDisallowed"))
	}
	raw, err := hex.DecodeString(token)
	limit := maxPayload
	if p.kind == "voip" {
		limit = maxLargePayload
	}
	switch {
	case token == "":
		return v.refuse(refuse(400, "MissingDeviceToken"))
	case err != nil || len(raw) < tokenBytes || len(raw) > 200:
		return v.refuse(refuse(400, "BadDeviceToken"))
	case len(st.body) > limit:
		return v.refuse(refuse(413, "PayloadTooLarge"))
	}
	d, ok := deliveredOf(p, st.body)
	if !ok {
		return v.refuse(refuse(400, "PayloadEmpty"))
	}
	d.Token, d.At = token, st.at
	v.entry.MessageID = d.MessageID
	if r := s.devices.admit(token, p.topic, st.at, s.opts.PerTokenPerMinute); r.status != 0 {
		return v.refuse(r)
	}
	if f := s.fault(p, token); f != nil {
		v = s.apply(v, *f, time.Time{})
	} else if m := s.magic(raw); m != nil {
		var since time.Time
		if m.gone {
			since = st.at.Add(-time.Hour)
		}
		v = s.apply(v, m.Fault, since)
	}
	if v.entry.Status != 0 || !v.do.looksAt() {
		return v
	}
	v.entry.Accepted = true
	if v.do == Answer || v.do == SlowBody {
		v.entry.Status = 200
	}
	if s.opts.Sandbox {
		v.fields = append(v.fields, hpack.HeaderField{Name: "apns-unique-id", Value: s.newUUID()})
	}
	if s.opts.OnAccept != nil {
		s.opts.OnAccept(d)
	}
	s.hand(d)
	return v
}

// apply makes a fault the verdict.
func (s *Server) apply(v verdict, f Fault, since time.Time) verdict {
	v.do = f.Do
	v.delay = time.Duration(f.DelayMS) * time.Millisecond
	if f.DelayMS < 0 || f.Do == SlowBody && f.DelayMS == 0 {
		v.delay = s.opts.Slow
	}
	switch {
	case f.Status != 0:
		v = v.refuse(refusal{status: f.Status, reason: f.Reason, retryAfter: f.RetryAfter, since: since, body: f.Body})
	case !f.Do.looksAt():
		v.entry.Reason = f.Reason
	}
	return v
}
