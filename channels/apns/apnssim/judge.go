package apnssim

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/footfall-engage/footfall/channels/internal/simtoken"
)

const (
	maxPayload  = 4096
	tokenLife   = time.Hour
	tokenFuture = time.Minute // how far ahead a provider's clock may be
)

// do is what happens to a request instead of a plain answer.
type do int

const (
	doAnswer do = iota
	doSlow      // the answer comes late
	doReset     // no answer: the stream is reset
	doKill      // no answer: the connection is closed
	doRefuse    // not processed: the stream is refused
	doGoAway    // not processed: GOAWAY below it
)

// verdict is what came of a request.
type verdict struct {
	entry      Request // Status and Reason are the answer
	do         do
	body       []byte
	html       bool
	retryAfter string  // seconds; empty means none
	bearer     *bearer // the provider token that was verified; nil when none was
}

// bearer is a provider token that verified.
type bearer struct {
	token   string
	issued  time.Time
	expired atomic.Bool // by ExpireTokens
}

// push is a request's headers.
type push struct {
	method, path, auth, id, collapse, topic, kind, priority, expiration string
	doubled                                                             bool
}

func readHeaders(st *stream) push {
	var p push
	for _, f := range st.fields {
		var dst *string
		switch f.Name {
		case ":method":
			dst = &p.method
		case ":path":
			dst = &p.path
		case "authorization":
			dst = &p.auth
		case "apns-id":
			dst = &p.id
		case "apns-collapse-id":
			dst = &p.collapse
		case "apns-topic":
			dst = &p.topic
		case "apns-push-type":
			dst = &p.kind
		case "apns-priority":
			dst = &p.priority
		case "apns-expiration":
			dst = &p.expiration
		default:
			continue
		}
		if *dst != "" {
			p.doubled = true
		}
		*dst = f.Value
	}
	return p
}

// refusal is an answer other than success.
type refusal struct {
	status     int
	reason     string
	retryAfter string
	gone       bool // with a timestamp
	html       bool
	do         do
	once       bool // without a number it comes once, not always
}

// The refusals that a token's kind chooses.
var refusals = map[string]refusal{
	"unregistered": {status: 410, reason: "Unregistered", gone: true},
	"expired":      {status: 410, reason: "ExpiredToken", gone: true},
	"badtoken":     {status: 400, reason: "BadDeviceToken"},
	"nottopic":     {status: 400, reason: "DeviceTokenNotForTopic"},
	"forbidden":    {status: 403, reason: "Forbidden"},
	"badkey":       {status: 403, reason: "BadEnvironmentKeyInToken"},
	"quota":        {status: 429, reason: "TooManyRequests", retryAfter: "1"},
	"outage":       {status: 503, reason: "ServiceUnavailable", retryAfter: "1"},
	"internal":     {status: 500, reason: "InternalServerError"},
	"html502":      {status: 502, html: true},
	"idle":         {status: 400, reason: "IdleTimeout", once: true},
	"shutdown":     {status: 503, reason: "Shutdown", once: true},
	"refuse":       {do: doRefuse, once: true, reason: "REFUSED_STREAM"},
	"goaway":       {do: doGoAway, once: true, reason: "GOAWAY"},
}

var (
	uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	pushTypes   = []string{"alert", "background", "location", "voip", "complication", "fileprovider", "mdm", "liveactivity", "pushtotalk", "widgets", "controls"}
)

// judge decides a request and, when it is accepted, hands it to the phone. known
// is the provider token last verified on the connection.
func (s *Server) judge(st *stream, known *bearer) verdict {
	p := readHeaders(st)
	token, pathOK := strings.CutPrefix(p.path, "/3/device/")
	v := verdict{entry: Request{At: st.at, Token: token, APNsID: p.id, CollapseID: p.collapse}, bearer: known}
	refuse := func(r refusal) verdict {
		v.entry.Status, v.entry.Reason, v.retryAfter, v.html, v.do = r.status, r.reason, r.retryAfter, r.html, r.do
		switch {
		case r.html:
			v.body = []byte("<html><body><h1>502 Bad Gateway</h1></body></html>")
		case r.gone:
			since := st.at.Add(-time.Hour).UnixMilli()
			v.body = []byte(`{"reason":"` + r.reason + `","timestamp":` + strconv.FormatInt(since, 10) + `}`)
		case r.status != 0:
			v.body = []byte(`{"reason":"` + r.reason + `"}`)
		}
		return v
	}
	switch {
	case p.method != "POST":
		return refuse(refusal{status: 405, reason: "MethodNotAllowed"})
	case !pathOK:
		return refuse(refusal{status: 404, reason: "BadPath"})
	case p.doubled:
		return refuse(refusal{status: 400, reason: "DuplicateHeaders"})
	}
	b, status, reason := s.authorize(p.auth, known)
	if reason != "" {
		return refuse(refusal{status: status, reason: reason})
	}
	v.bearer = b
	if reason := s.checkHeaders(p); reason != "" {
		return refuse(refusal{status: 400, reason: reason})
	}
	raw, err := hex.DecodeString(token)
	switch {
	case token == "":
		return refuse(refusal{status: 400, reason: "MissingDeviceToken"})
	case err != nil || len(raw) < tokenBytes || len(raw) > 200:
		return refuse(refusal{status: 400, reason: "BadDeviceToken"})
	case len(st.body) > maxPayload:
		return refuse(refusal{status: 413, reason: "PayloadTooLarge"})
	}
	d, ok := deliveredOf(st.body)
	if !ok {
		return refuse(refusal{status: 400, reason: "PayloadEmpty"})
	}
	v.entry.MessageID = d.MessageID
	name := strings.TrimRight(string(raw), "\x00")
	kind, times, _ := simtoken.Split(name)
	if r, ok := refusals[kind]; ok {
		if times == 0 && r.once {
			times = 1
		}
		if times == 0 || s.uses.Next(name) <= times {
			return refuse(r)
		}
	}
	v.entry.Status, v.entry.Accepted = 200, true
	switch {
	case kind == "slow":
		v.do = doSlow
	case kind == "drop" && s.uses.Next(name) <= max(times, 1):
		v.do, v.entry.Status = doReset, 0
	case kind == "kill" && s.uses.Next(name) <= max(times, 1):
		v.do, v.entry.Status = doKill, 0
	}
	if s.opts.OnAccept != nil {
		d.Token, d.APNsID, d.CollapseID, d.Topic, d.At, d.Raw = token, p.id, p.collapse, p.topic, st.at, st.body
		d.Priority, _ = strconv.Atoi(p.priority)
		if n, err := strconv.ParseInt(p.expiration, 10, 64); err == nil {
			d.Expiration = time.Unix(n, 0).UTC()
		}
		s.opts.OnAccept(d)
	}
	return v
}

func (s *Server) checkHeaders(p push) (reason string) {
	switch {
	case p.topic == "":
		return "MissingTopic"
	case len(s.opts.Topics) > 0 && !slices.Contains(s.opts.Topics, p.topic):
		return "TopicDisallowed"
	case !slices.Contains(pushTypes, p.kind):
		return "InvalidPushType"
	case p.priority != "" && p.priority != "10" && p.priority != "5" && p.priority != "1",
		p.kind == "background" && p.priority != "5":
		return "BadPriority"
	case len(p.collapse) > 64:
		return "BadCollapseId"
	case p.id != "" && !uuidPattern.MatchString(p.id):
		return "BadMessageId"
	}
	if p.expiration != "" {
		if n, err := strconv.ParseInt(p.expiration, 10, 64); err != nil || n < 0 {
			return "BadExpirationDate"
		}
	}
	return ""
}

// authorize verifies a provider token, or trusts the one that the connection
// showed before until it is too old.
func (s *Server) authorize(auth string, known *bearer) (b *bearer, status int, reason string) {
	token, ok := strings.CutPrefix(auth, "bearer ")
	if !ok {
		if token, ok = strings.CutPrefix(auth, "Bearer "); !ok {
			return nil, 403, "MissingProviderToken"
		}
	}
	b = known
	if b == nil || b.token != token {
		if b, status, reason = s.verify(token); reason != "" {
			return nil, status, reason
		}
	}
	now := s.opts.Now()
	switch {
	case b.expired.Load() || now.Sub(b.issued) > tokenLife:
		return nil, 403, "ExpiredProviderToken"
	case b.issued.Sub(now) > tokenFuture:
		return nil, 403, "InvalidProviderToken"
	}
	return b, 0, ""
}

func (s *Server) verify(token string) (b *bearer, status int, reason string) {
	s.mu.Lock()
	b, key := s.bearers[token], s.key
	s.mu.Unlock()
	if b != nil {
		return b, 0, ""
	}
	claims := jwt.MapClaims{}
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(teamID), jwt.WithoutClaimsValidation()).
		ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
			if t.Header["kid"] != keyID {
				return nil, errors.New("unknown key id")
			}
			return &key.PublicKey, nil
		})
	iat, iatErr := claims.GetIssuedAt()
	if err != nil || iatErr != nil || iat == nil || claims["iss"] != teamID {
		return nil, 403, "InvalidProviderToken"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.bearers[token]; b != nil {
		return b, 0, "" // another connection was faster
	}
	now := s.opts.Now()
	if d := s.opts.MinTokenUpdate; d > 0 && !s.newest.IsZero() && now.Sub(s.newest) < d {
		return nil, 429, "TooManyProviderTokenUpdates"
	}
	s.newest = now
	b = &bearer{token: token, issued: iat.Time}
	s.bearers[token] = b
	return b, 0, ""
}

// deliveredOf reads a payload; ok is false unless it is an object with an "aps".
func deliveredOf(body []byte) (d Delivered, ok bool) {
	var doc map[string]json.RawMessage
	if json.Unmarshal(body, &doc) != nil || doc["aps"] == nil {
		return d, false
	}
	var aps struct {
		Alert json.RawMessage `json:"alert"`
	}
	if json.Unmarshal(doc["aps"], &aps) != nil {
		return d, false
	}
	var alert struct {
		Title string `json:"title"`
		Body  string `json:"body"`
	}
	if json.Unmarshal(aps.Alert, &alert) != nil {
		_ = json.Unmarshal(aps.Alert, &alert.Body) // the short form: the body alone
	}
	d.Title, d.Body = alert.Title, alert.Body
	d.Data = make(map[string]string, len(doc)-1)
	for k, raw := range doc {
		var v string
		if k != "aps" && json.Unmarshal(raw, &v) == nil {
			d.Data[k] = v
		}
	}
	d.MessageID = d.Data["footfall_message_id"]
	return d, true
}
