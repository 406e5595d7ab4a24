package apnssim

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Phone is what a phone is doing.
type Phone string

// What a phone can be doing.
const (
	Online     Phone = "online"     // the app is in the foreground; also of phones that nobody told the server of
	Background Phone = "background" // pushes reach it; silent ones within Options.SilentPerHour
	Offline    Phone = "offline"    // pushes are stored, one per topic, or lost
)

// DeviceState is what the server thinks of a token.
type DeviceState string

// The states of a token.
const (
	Active       DeviceState = "active"
	Unregistered DeviceState = "unregistered" // the app was removed: 410 Unregistered, since GoneAt
	Expired      DeviceState = "expired"      // the app has a newer token: 410 ExpiredToken, since GoneAt
	Unknown      DeviceState = "unknown"      // of the other environment, or never given out: BadDeviceToken
)

// Device is a token that the server was told of. Others are taken for registered
// and online, unless Options.KnownTokensOnly.
type Device struct {
	Token  string      `json:"token"`
	Topics []string    `json:"topics,omitempty"` // that it is for, with suffixes; empty means any
	State  DeviceState `json:"state"`
	GoneAt time.Time   `json:"gone_at,omitzero"`
	Phone  Phone       `json:"phone"`
	Stored int         `json:"stored"` // pushes that wait for the phone
}

type device struct {
	Device
	stored  map[string]Delivered // by topic
	centre  []Delivered          // notifications that the person could see, newest last
	silents []time.Time          // of the last hour
}

// devices is all tokens that the server was told of.
type devices struct {
	mu        sync.Mutex
	knownOnly bool
	byToken   map[string]*device
	used      map[string]*window // for PerTokenPerMinute
}

// window counts pushes to a token in a minute.
type window struct {
	from time.Time
	n    int
}

// keepCentre is how many notifications a phone shows.
const keepCentre = 100

// get finds a device or makes one. It runs under mu.
func (x *devices) get(token string) *device {
	token = strings.ToLower(token)
	d := x.byToken[token]
	if d == nil {
		d = &device{Device: Device{Token: token, State: Active, Phone: Online}, stored: make(map[string]Delivered)}
		x.byToken[token] = d
	}
	return d
}

// admit judges a token; status 0 means that it may be pushed to.
func (x *devices) admit(token, topic string, at time.Time, perMinute int) refusal {
	x.mu.Lock()
	defer x.mu.Unlock()
	d := x.byToken[token]
	switch {
	case d == nil && x.knownOnly:
		return refuse(400, "BadDeviceToken")
	case d == nil:
	case d.State == Unknown:
		return refuse(400, "BadDeviceToken")
	case len(d.Topics) > 0 && !slices.Contains(d.Topics, topic):
		return refuse(400, "DeviceTokenNotForTopic")
	case d.State == Unregistered:
		return refusal{status: 410, reason: "Unregistered", since: d.GoneAt}
	case d.State == Expired:
		return refusal{status: 410, reason: "ExpiredToken", since: d.GoneAt}
	}
	if perMinute <= 0 {
		return refusal{}
	}
	w := x.used[token]
	if w == nil || at.Sub(w.from) >= time.Minute {
		if len(x.used) > 100_000 { // those of the last minute alone are of use
			maps.DeleteFunc(x.used, func(_ string, w *window) bool { return at.Sub(w.from) >= time.Minute })
		}
		w = &window{from: at}
		x.used[token] = w
	}
	if w.n++; w.n > perMinute {
		return refuse(429, "TooManyRequests")
	}
	return refusal{}
}

// Register makes a token known and active, also after it was gone: the app was
// installed, or registered again. topics are those that it is for, none means
// any.
func (s *Server) Register(token string, topics ...string) {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	d := s.devices.get(token)
	d.State, d.GoneAt, d.Topics = Active, time.Time{}, topics
}

// Uninstall removes the app behind a token: pushes get 410 Unregistered with the
// present time.
func (s *Server) Uninstall(token string) { s.end(token, Unregistered) }

// Expire gives the app behind a token another one: pushes get 410 ExpiredToken.
func (s *Server) Expire(token string) { s.end(token, Expired) }

// Forget makes a token unknown, as one of the other environment is: pushes get
// BadDeviceToken.
func (s *Server) Forget(token string) { s.end(token, Unknown) }

func (s *Server) end(token string, state DeviceState) {
	now := s.opts.Now()
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	d := s.devices.get(token)
	d.State, d.GoneAt = state, now
	clear(d.stored)
}

// SetPhone says what the phone behind a token is doing. When it comes back, what
// was stored and has not expired reaches it before SetPhone returns.
func (s *Server) SetPhone(token string, p Phone) {
	now := s.opts.Now()
	s.devices.mu.Lock()
	d := s.devices.get(token)
	d.Phone = p
	var back []Delivered
	if p != Offline {
		for _, x := range d.stored {
			back = append(back, x)
		}
		clear(d.stored)
	}
	s.devices.mu.Unlock()
	slices.SortFunc(back, func(a, b Delivered) int { return a.At.Compare(b.At) })
	for _, x := range back {
		if !x.Expiration.IsZero() && !x.Expiration.After(now) {
			s.metrics.fate("expired")
			continue
		}
		s.reach(x, p)
	}
}

// Devices lists the tokens that the server was told of, sorted.
func (s *Server) Devices() []Device {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	list := make([]Device, 0, len(s.devices.byToken))
	for _, d := range s.devices.byToken {
		x := d.Device
		x.Stored = len(d.stored)
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b Device) int { return strings.Compare(a.Token, b.Token) })
	return list
}

// Delivered lists what has reached phones, oldest first: all of the last
// Options.KeepDelivered, or those of one token.
func (s *Server) Delivered(token string) []Delivered {
	token = strings.ToLower(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Delivered
	for _, d := range s.reached {
		if token == "" || d.Token == token {
			list = append(list, d)
		}
	}
	return list
}

// Shown lists the notifications that stand on the phone of a known token, oldest
// first: of those with the same collapse id the newest.
func (s *Server) Shown(token string) []Delivered {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	if d := s.devices.byToken[strings.ToLower(token)]; d != nil {
		return slices.Clone(d.centre)
	}
	return nil
}

// hand brings an accepted push to its phone, or stores it, or loses it.
func (s *Server) hand(d Delivered) {
	now := s.opts.Now()
	x := &s.devices
	x.mu.Lock()
	dev := x.byToken[d.Token]
	phone, fate := Online, ""
	if dev != nil {
		phone = dev.Phone
		switch {
		case phone == Offline && !d.Expiration.IsZero() && !d.Expiration.After(now):
			fate = "expired" // 0 means once
		case phone == Offline:
			fate = "stored"
			if _, ok := dev.stored[d.Topic]; ok {
				fate = "replaced" // Apple stores one
			}
			dev.stored[d.Topic] = d
		case phone == Background && d.PushType == "background" && s.opts.SilentPerHour > 0:
			dev.silents = slices.DeleteFunc(dev.silents, func(t time.Time) bool { return now.Sub(t) >= time.Hour })
			if len(dev.silents) >= s.opts.SilentPerHour {
				fate = "throttled"
			} else {
				dev.silents = append(dev.silents, now)
			}
		}
	}
	x.mu.Unlock()
	if fate != "" {
		s.metrics.fate(fate)
		return
	}
	s.reach(d, phone)
}

// reach is a push that has come to a phone.
func (s *Server) reach(d Delivered, phone Phone) {
	d.Phone, d.ReachedAt = phone, s.opts.Now()
	if d.PushType == "liveactivity" {
		d.Ignored = s.live(d)
	}
	if d.PushType == "alert" {
		s.devices.mu.Lock()
		if dev := s.devices.byToken[d.Token]; dev != nil {
			if d.CollapseID != "" {
				dev.centre = slices.DeleteFunc(dev.centre, func(o Delivered) bool { return o.Topic == d.Topic && o.CollapseID == d.CollapseID })
			}
			dev.centre = append(dev.centre, d)
			if len(dev.centre) > keepCentre {
				dev.centre = slices.Delete(dev.centre, 0, len(dev.centre)-keepCentre)
			}
		}
		s.devices.mu.Unlock()
	}
	s.metrics.fate("delivered")
	s.mu.Lock()
	if len(s.reached) >= s.opts.KeepDelivered {
		s.reached = slices.Delete(s.reached, 0, max(1, s.opts.KeepDelivered/10))
	}
	s.reached = append(s.reached, d)
	s.mu.Unlock()
	if s.opts.OnDeliver != nil {
		s.opts.OnDeliver(d)
	}
}

// Activity is a Live Activity on a phone.
type Activity struct {
	Token          string          `json:"token"` // to which its updates go
	Topic          string          `json:"topic"`
	AttributesType string          `json:"attributes_type,omitempty"`
	Attributes     json.RawMessage `json:"attributes,omitempty"`
	State          json.RawMessage `json:"content_state,omitempty"`
	StartedAt      time.Time       `json:"started_at"`
	At             time.Time       `json:"at"` // timestamp of the state
	StaleAt        time.Time       `json:"stale_at,omitzero"`
	EndedAt        time.Time       `json:"ended_at,omitzero"` // zero while it lives
	DismissAt      time.Time       `json:"dismiss_at,omitzero"`
}

// activityLife is how long iOS lets an activity be active.
const activityLife = 8 * time.Hour
