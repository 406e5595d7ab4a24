package fcmsim

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// State of a registration.
type State string

// The states of a Device.
const (
	Active       State = "active" // also when empty
	Unregistered State = "unregistered"
	OtherSender  State = "other_sender" // the token belongs to another project
	Expired      State = "expired"      // silent for longer than FCM keeps a registration
	Malformed    State = "malformed"    // the token is none, whatever it looks like
	Flapping     State = "flapping"     // refused as unregistered every other time, beginning with the first
)

// Presence is how a phone can be reached.
type Presence string

// The presences of a Device.
const (
	Foreground Presence = "foreground" // also when empty: the app is given every message
	Background Presence = "background" // the OS draws what is visible; the app is given the rest
	Dozing     Presence = "dozing"     // as background, but what has normal priority waits
	Offline    Presence = "offline"    // everything waits
)

// Platform of a Device.
const (
	AndroidPhone = "android" // also when empty
	IPhone       = "ios"
	Browser      = "web"
)

// Device is one registration of an app.
type Device struct {
	Token    string    `json:"token"`
	FID      string    `json:"fid"`                // its Firebase Installation ID, a target too
	Project  string    `json:"project"`            // empty means the first
	Platform string    `json:"platform"`           // empty means android
	Package  string    `json:"package,omitempty"`  // of the app, for restricted_package_name; empty fits any
	State    State     `json:"state"`              //
	Presence Presence  `json:"presence"`           //
	LastSeen time.Time `json:"last_seen,omitzero"` // when it was last connected: after 270 days without, it is expired
	Topics   []string  `json:"topics,omitempty"`   // that it is subscribed to
}

// Via is how a message came to a phone.
type Via string

// The values of Via.
const (
	ToApp   Via = "app"     // the app was given it
	ToTray  Via = "tray"    // the OS drew it; the app is given it with a tap
	Deleted Via = "deleted" // the app was told that messages were lost (onDeletedMessages)
)

// Arrival is a message with a phone.
type Arrival struct {
	Delivered
	Via       Via
	Presence  Presence
	ArrivedAt time.Time
}

// Limits of FCM and of Android.
const (
	maxCollapseKeys = 4
	maxStored       = 100
	maxIdle         = 270 * 24 * time.Hour // until a registration expires
	maxOffline      = 28 * 24 * time.Hour  // until stored messages are gone
	maxTray         = 50
)

// phone is a Device and what FCM keeps for it.
type phone struct {
	Device
	stored  []Delivered // oldest first
	lost    bool        // stored messages were discarded: the app will be told
	tray    []Delivered // what the OS shows
	refused int         // while flapping
}

var (
	tokenPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{22}:APA91b[A-Za-z0-9_-]{134}$`)
	loosePattern = regexp.MustCompile(`^[!-~]+$`)
)

// AddDevice registers a device and returns it with what was filled in: a token and
// an installation id of the real form, made from the seed, unless it has its own.
func (s *Server) AddDevice(d Device) (Device, error) {
	if d.Project == "" {
		d.Project = s.opts.ProjectID
	}
	if d.Platform == "" {
		d.Platform = AndroidPhone
	}
	if d.State == "" {
		d.State = Active
	}
	if d.Presence == "" {
		d.Presence = Foreground
	}
	if !slices.Contains([]string{AndroidPhone, IPhone, Browser}, d.Platform) {
		return d, fmt.Errorf("platform: %q is none", d.Platform)
	}
	if err := validState(d.State); err != nil {
		return d, err
	}
	if err := validPresence(d.Presence); err != nil {
		return d, err
	}
	for _, t := range d.Topics {
		if !topicPattern.MatchString(t) {
			return d, fmt.Errorf("topics: %q is none", t)
		}
	}
	if d.LastSeen.IsZero() {
		d.LastSeen = s.now()
	}
	s.deviceMu.Lock()
	defer s.deviceMu.Unlock()
	if d.FID == "" {
		d.FID = s.name(22)
	}
	if d.Token == "" {
		d.Token = d.FID + ":APA91b" + s.name(134)
	}
	if s.phones[d.Token] != nil {
		return d, fmt.Errorf("token: a device has it already")
	}
	d.Topics = slices.Clone(d.Topics)
	p := &phone{Device: d}
	s.phones[d.Token] = p
	s.fids[d.FID] = p
	s.metrics.devices.Set(float64(len(s.phones)))
	return d, nil
}

// name is so many characters of the URL-safe alphabet, from the seed.
func (s *Server) name(n int) string {
	b := make([]byte, (n*3+3)/4)
	s.randMu.Lock()
	for i := range b {
		b[i] = byte(s.rand.Uint32())
	}
	s.randMu.Unlock()
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

// Device looks a device up.
func (s *Server) Device(token string) (Device, bool) {
	s.deviceMu.Lock()
	defer s.deviceMu.Unlock()
	p := s.phones[token]
	if p == nil {
		return Device{}, false
	}
	d := p.Device
	d.Topics = slices.Clone(d.Topics)
	return d, true
}

// Devices are all that were added, by token.
func (s *Server) Devices() []Device {
	s.deviceMu.Lock()
	defer s.deviceMu.Unlock()
	all := make([]Device, 0, len(s.phones))
	for _, p := range s.phones {
		d := p.Device
		d.Topics = slices.Clone(d.Topics)
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b Device) int {
		if a.Token < b.Token {
			return -1
		}
		return 1
	})
	return all
}

func validState(st State) error {
	if !slices.Contains([]State{Active, Unregistered, OtherSender, Expired, Malformed, Flapping}, st) {
		return fmt.Errorf("state: %q is none", st)
	}
	return nil
}

func validPresence(p Presence) error {
	if !slices.Contains([]Presence{Foreground, Background, Dozing, Offline}, p) {
		return fmt.Errorf("presence: %q is none", p)
	}
	return nil
}

// change changes a device.
func (s *Server) change(token string, f func(*phone) []Arrival) error {
	s.deviceMu.Lock()
	p := s.phones[token]
	if p == nil {
		s.deviceMu.Unlock()
		return fmt.Errorf("token: no device has it")
	}
	arrivals := f(p)
	s.deviceMu.Unlock()
	s.arrived(arrivals...)
	return nil
}

// SetState changes what becomes of messages to a device.
func (s *Server) SetState(token string, st State) error {
	if err := validState(st); err != nil {
		return err
	}
	return s.change(token, func(p *phone) []Arrival {
		p.State = st
		return nil
	})
}

// SetPresence moves a phone. One that can be reached again gets what was stored.
func (s *Server) SetPresence(token string, to Presence) error {
	if err := validPresence(to); err != nil {
		return err
	}
	return s.change(token, func(p *phone) []Arrival {
		now := s.now()
		p.lost = p.lost || p.Presence == Offline && now.Sub(p.LastSeen) > maxOffline
		p.Presence = to
		if to == Offline {
			return nil
		}
		p.LastSeen = now
		return s.flush(p, now)
	})
}

// Uninstall removes the app: its token is unregistered from now on, and what was
// stored for it is gone.
func (s *Server) Uninstall(token string) error {
	return s.change(token, func(p *phone) []Arrival {
		p.State, p.stored, p.tray, p.lost = Unregistered, nil, nil, false
		return nil
	})
}

// Reregister gives an app a new token, as after a restored backup or a new install,
// and returns it; the old one is unregistered.
func (s *Server) Reregister(token string) (string, error) {
	old, ok := s.Device(token)
	if !ok {
		return "", fmt.Errorf("token: no device has it")
	}
	if err := s.Uninstall(token); err != nil {
		return "", err
	}
	old.Token, old.FID, old.State, old.LastSeen = "", "", Active, time.Time{}
	d, err := s.AddDevice(old)
	return d.Token, err
}

// Stored is what FCM keeps for a phone that it cannot reach, oldest first.
func (s *Server) Stored(token string) []Delivered {
	s.deviceMu.Lock()
	defer s.deviceMu.Unlock()
	if p := s.phones[token]; p != nil {
		return slices.Clone(p.stored)
	}
	return nil
}

// Tray is what a phone's OS shows, oldest first.
func (s *Server) Tray(token string) []Delivered {
	s.deviceMu.Lock()
	defer s.deviceMu.Unlock()
	if p := s.phones[token]; p != nil {
		return slices.Clone(p.tray)
	}
	return nil
}

// target finds the device of a request, and what is wrong with it. Without a device
// and a fault it is a token that nobody added, which only Options.Strict minds.
func (s *Server) target(m *message, project string) (*phone, fault, bool) {
	token := m.Token
	s.deviceMu.Lock()
	defer s.deviceMu.Unlock()
	p := s.phones[token]
	if m.FID != "" {
		p, token = s.fids[m.FID], m.FID
	}
	if p == nil {
		switch {
		case !loosePattern.MatchString(token), s.opts.Strict && m.FID == "" && !tokenPattern.MatchString(token):
			return nil, documented["INVALID_ARGUMENT"], false
		case s.opts.Strict:
			return nil, documented["UNREGISTERED"], false
		}
		return nil, fault{}, true
	}
	if p.State == Active && s.now().Sub(p.LastSeen) > maxIdle && p.Presence == Offline {
		p.State = Expired
	}
	switch {
	case p.State == Malformed:
		return p, documented["INVALID_ARGUMENT"], false
	case p.State == Unregistered, p.State == Expired:
		return p, documented["UNREGISTERED"], false
	case p.State == OtherSender, p.Project != project:
		return p, documented["SENDER_ID_MISMATCH"], false
	case p.State == Flapping:
		if p.refused++; p.refused%2 == 1 {
			return p, documented["UNREGISTERED"], false
		}
	}
	if p.Platform != AndroidPhone && s.badAPNsKey.Load() {
		return p, documented["THIRD_PARTY_AUTH_ERROR"], false
	}
	if want := m.android().RestrictedPackageName; want != "" && p.Package != "" && want != p.Package {
		return p, violated("message.android.restricted_package_name", "The registration token does not belong to the restricted package name"), false
	}
	if p.Platform == IPhone && m.appleSize() > maxPayload {
		return p, tooBig("APNs message is too big"), false
	}
	return p, fault{}, true
}

// SetAPNsKeyBad says that the APNs key (and the Web Push key) that the project's
// owner gave to Firebase is not good: messages to added devices that are no Androids
// end in THIRD_PARTY_AUTH_ERROR.
func (s *Server) SetAPNsKeyBad(bad bool) { s.badAPNsKey.Store(bad) }

// collapsible tells whether FCM may drop a message for a newer one. Messages that
// show something are, whatever they say.
func (d *Delivered) collapsible() bool { return d.CollapseKey != "" || d.Visible }

// deliver hands an accepted message to its phone, or stores it. It runs under
// deviceMu; the caller passes the arrivals on.
func (s *Server) deliver(p *phone, d Delivered) []Arrival {
	d.Token, d.FID = p.Token, p.FID
	if p.reachable(&d) {
		return []Arrival{p.arrive(d, s.now())}
	}
	s.store(p, d)
	return nil
}

func (p *phone) reachable(d *Delivered) bool {
	return p.Presence != Offline && (p.Presence != Dozing || d.High)
}

// store keeps a message for later, by the rules of the phone's platform.
func (s *Server) store(p *phone, d Delivered) {
	if p.Platform == IPhone {
		if d.apnsExpiration == "0" {
			s.metrics.lost.WithLabelValues("now_or_never").Inc()
			return
		}
		if sec, err := strconv.ParseInt(d.apnsExpiration, 10, 64); err == nil {
			d.TTL = max(time.Unix(sec, 0).Sub(d.At), 0)
		}
		if len(p.stored) > 0 { // APNs keeps one for an app
			s.metrics.lost.WithLabelValues("replaced").Inc()
		}
		p.stored = []Delivered{d}
		return
	}
	if d.TTL == 0 {
		s.metrics.lost.WithLabelValues("now_or_never").Inc()
		return
	}
	now := s.now()
	p.stored = slices.DeleteFunc(p.stored, func(old Delivered) bool { return s.expired(&old, now) })
	if !d.collapsible() {
		plain := 0
		for i := range p.stored {
			if !p.stored[i].collapsible() {
				plain++
			}
		}
		if plain >= maxStored {
			s.metrics.lost.WithLabelValues("too_many").Add(float64(len(p.stored) + 1))
			p.stored, p.lost = nil, true
			return
		}
		p.stored = append(p.stored, d)
		return
	}
	var keys []string
	p.stored = slices.DeleteFunc(p.stored, func(old Delivered) bool {
		if !old.collapsible() {
			return false
		}
		if old.CollapseKey == d.CollapseKey {
			s.metrics.lost.WithLabelValues("replaced").Inc()
			return true
		}
		keys = append(keys, old.CollapseKey)
		return false
	})
	if len(keys) >= maxCollapseKeys {
		// FCM does not say which ones stay.
		s.randMu.Lock()
		victim := keys[s.rand.IntN(len(keys))]
		s.randMu.Unlock()
		p.stored = slices.DeleteFunc(p.stored, func(old Delivered) bool { return old.collapsible() && old.CollapseKey == victim })
		s.metrics.lost.WithLabelValues("too_many_keys").Inc()
	}
	p.stored = append(p.stored, d)
}

// expired tells whether a stored message is too old, and counts it.
func (s *Server) expired(d *Delivered, now time.Time) bool {
	ttl := d.TTL
	if ttl < 0 {
		ttl = maxTTL
	}
	if now.Sub(d.At) < ttl {
		return false
	}
	s.metrics.lost.WithLabelValues("expired").Inc()
	return true
}

// flush delivers what was stored. It runs under deviceMu.
func (s *Server) flush(p *phone, now time.Time) (arrivals []Arrival) {
	if p.lost {
		p.lost = false
		arrivals = append(arrivals, Arrival{Delivered{Token: p.Token, FID: p.FID, At: now}, Deleted, p.Presence, now})
	}
	var keep []Delivered
	for _, d := range p.stored {
		switch {
		case s.expired(&d, now):
		case p.reachable(&d):
			arrivals = append(arrivals, p.arrive(d, now))
		default:
			keep = append(keep, d)
		}
	}
	p.stored = keep
	return arrivals
}

// arrive is the phone's part: the app in the foreground gets everything, else the OS
// draws what is visible, and by the same tag replaces what it shows.
func (p *phone) arrive(d Delivered, now time.Time) Arrival {
	a := Arrival{d, ToApp, p.Presence, now}
	if !d.Visible || p.Presence == Foreground {
		return a
	}
	a.Via = ToTray
	tag := d.Tag
	if p.Platform == IPhone {
		tag = d.apnsCollapseID
	}
	if tag != "" {
		p.tray = slices.DeleteFunc(p.tray, func(old Delivered) bool {
			return p.Platform == IPhone && old.apnsCollapseID == tag || p.Platform != IPhone && old.Tag == tag
		})
	}
	p.tray = append(p.tray, d)
	if len(p.tray) > maxTray {
		p.tray = slices.Delete(p.tray, 0, len(p.tray)-maxTray)
	}
	return a
}

// arrived tells whoever wants to know. It runs without locks: the hook may call the
// server.
func (s *Server) arrived(as ...Arrival) {
	for _, a := range as {
		s.metrics.arrivals.WithLabelValues(string(a.Via)).Inc()
		s.logMu.Lock()
		if len(s.arrivals) >= s.opts.KeepArrivals {
			s.arrivals = slices.Delete(s.arrivals, 0, max(1, s.opts.KeepArrivals/10))
		}
		s.arrivals = append(s.arrivals, a)
		s.logMu.Unlock()
		if s.opts.OnArrive != nil {
			s.opts.OnArrive(a)
		}
	}
}

// Arrivals is a copy of the log of what came to phones, oldest first.
func (s *Server) Arrivals() []Arrival {
	s.logMu.RLock()
	defer s.logMu.RUnlock()
	return slices.Clone(s.arrivals)
}
