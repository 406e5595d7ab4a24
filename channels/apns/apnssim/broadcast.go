package apnssim

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// maxChannels is how many an app may have.
const maxChannels = 10_000

// channel is one of an app's, to which phones subscribe for the updates of a Live
// Activity that many follow (iOS 18).
type channel struct {
	bundle      string
	policy      int // 0 stores nothing, 1 the newest
	subscribers []string
}

// Subscribe makes the phone behind a token follow a channel.
func (s *Server) Subscribe(channelID, token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[channelID]
	if c == nil {
		return false
	}
	if token = strings.ToLower(token); !slices.Contains(c.subscribers, token) {
		c.subscribers = append(c.subscribers, token)
	}
	return true
}

// judgeBroadcast serves the management of channels, which Apple has on a host of
// its own, and broadcasts to them.
func (s *Server) judgeBroadcast(st *stream, p push, known *bearer, pinned *providerKey) verdict {
	v := verdict{entry: Request{At: st.at, Token: p.path, APNsID: p.id, CollapseID: p.collapse}, bearer: known}
	if p.request != "" {
		v.fields = append(v.fields, hpack.HeaderField{Name: "apns-request-id", Value: p.request})
	}
	app, op := "", ""
	if rest, ok := strings.CutPrefix(p.path, "/4/broadcasts/apps/"); ok {
		app, op = rest, "send"
	} else if rest, ok := strings.CutPrefix(p.path, "/1/apps/"); ok {
		app, op, _ = strings.Cut(rest, "/")
	}
	if app == "" || strings.Contains(app, "/") || op != "send" && op != "channels" && op != "all-channels" {
		return v.refuse(refuse(404, "BadPath"))
	}
	v.plain = true
	if p.doubled {
		return v.refuse(refuse(400, "DuplicateHeaders"))
	}
	b, r := s.authorize(p.auth, known, pinned)
	if r.status != 0 {
		return v.refuse(r)
	}
	v.bearer = b
	switch {
	case !b.key.allows(app) || len(s.opts.Topics) > 0 && !slices.Contains(s.opts.Topics, app):
		return v.refuse(refuse(400, "TopicDisallowed"))
	case op == "send" && p.method == "POST":
		return s.broadcast(st, p, app, v)
	case op == "channels" && p.method == "POST":
		return s.createChannel(st, app, v)
	case op == "channels" && (p.method == "GET" || p.method == "DELETE"):
		return s.channelOf(p, app, v)
	case op == "all-channels" && p.method == "GET":
		s.mu.Lock()
		ids := []string{}
		for id, c := range s.channels {
			if c.bundle == app {
				ids = append(ids, id)
			}
		}
		s.mu.Unlock()
		slices.Sort(ids)
		v.entry.Status = 200
		v.body, _ = json.Marshal(map[string][]string{"channels": ids}) // strings
		return v
	}
	return v.refuse(refuse(405, "MethodNotAllowed"))
}

func (s *Server) createChannel(st *stream, app string, v verdict) verdict {
	var doc struct {
		Policy *int   `json:"message-storage-policy"`
		Type   string `json:"push-type"`
	}
	switch {
	case json.Unmarshal(st.body, &doc) != nil, doc.Policy == nil, *doc.Policy != 0 && *doc.Policy != 1:
		return v.refuse(refuse(400, "BadMessageStoragePolicy"))
	case !strings.EqualFold(doc.Type, "LiveActivity"):
		return v.refuse(refuse(400, "InvalidPushType"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.channels {
		if c.bundle == app {
			n++
		}
	}
	if n >= maxChannels {
		return v.refuse(refuse(400, "CannotCreateChannelConfig"))
	}
	s.made++
	h := sha256.Sum256([]byte(app + " " + strconv.Itoa(s.made)))
	id := base64.StdEncoding.EncodeToString(h[:16])
	s.channels[id] = &channel{bundle: app, policy: *doc.Policy}
	v.entry.Status = 201
	v.fields = append(v.fields, hpack.HeaderField{Name: "apns-channel-id", Value: id})
	return v
}

// find gives a channel of an app, or why there is none. It runs under mu.
func (s *Server) find(id, app string) (*channel, string) {
	if id == "" {
		return nil, "MissingChannelId"
	}
	if raw, err := base64.StdEncoding.DecodeString(id); err != nil || len(raw) != 16 {
		return nil, "BadChannelId"
	}
	c := s.channels[id]
	if c == nil || c.bundle != app {
		return nil, "ChannelNotRegistered"
	}
	return c, ""
}

func (s *Server) channelOf(p push, app string, v verdict) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, reason := s.find(p.channel, app)
	if c == nil {
		return v.refuse(refuse(400, reason))
	}
	if p.method == "DELETE" {
		delete(s.channels, p.channel)
		v.entry.Status = 204
		return v
	}
	v.entry.Status = 200
	v.body = []byte(`{"message-storage-policy":` + strconv.Itoa(c.policy) + `,"push-type":"LiveActivity"}`)
	return v
}

func (s *Server) broadcast(st *stream, p push, app string, v verdict) verdict {
	s.mu.Lock()
	c, reason := s.find(p.channel, app)
	var to []string
	if c != nil {
		to = slices.Clone(c.subscribers)
	}
	s.mu.Unlock()
	switch {
	case c == nil:
		return v.refuse(refuse(400, reason))
	case !strings.EqualFold(p.kind, "liveactivity"):
		return v.refuse(refuse(400, "InvalidPushType"))
	case p.priority != "" && p.priority != "10" && p.priority != "5" && p.priority != "1":
		return v.refuse(refuse(400, "BadPriority"))
	case !expirationFits(p.expiration), c.policy == 0 && p.expiration != "0":
		return v.refuse(refuse(400, "BadExpirationDate"))
	case len(st.body) > maxLargePayload:
		return v.refuse(refuse(413, "PayloadTooLarge"))
	}
	p.kind, p.topic = "liveactivity", app+suffixes["liveactivity"]
	d, ok := deliveredOf(p, st.body)
	if !ok {
		return v.refuse(refuse(400, "PayloadEmpty"))
	}
	v.entry.Status, d.At = 200, st.at
	if s.opts.Sandbox {
		v.fields = append(v.fields, hpack.HeaderField{Name: "apns-unique-id", Value: s.newUUID()})
	}
	for _, token := range to {
		d.Token = token
		s.hand(d)
	}
	return v
}
