package config

import (
	"net/url"
	"strings"
	"time"
)

// What Media.Check and Media.Host can be.
const (
	On  = "on"
	Off = "off"
)

// Media says whether the images that messages name by their address are looked at when
// a campaign is saved, and whether this server keeps and serves them.
type Media struct {
	// Check is On or Off: the server calls nobody unless it is told to.
	Check string
	// Host is On or Off; On looks at images, too.
	Host string
	// MaxImageKB of an image, in KiB.
	MaxImageKB int
	// HostMB of all hosted images together, in MiB.
	HostMB int
	// GraceDays that a hosted image stays that no campaign shows.
	GraceDays int
	TimeoutS  int // of a look, redirects and body included
	// AllowNetworks may be asked though they are not public, and by plain http:
	// networks and addresses with commas between.
	AllowNetworks string
}

// Checked reports whether images are looked at.
func (m Media) Checked() bool { return m.Check == On || m.Hosted() }

// Hosted reports whether images are kept and served.
func (m Media) Hosted() bool { return m.Host == On }

// MaxBytes is MaxImageKB.
func (m Media) MaxBytes() int64 { return int64(m.MaxImageKB) << 10 }

// HostBytes is HostMB.
func (m Media) HostBytes() int64 { return int64(m.HostMB) << 20 }

// Grace is GraceDays.
func (m Media) Grace() time.Duration { return time.Duration(m.GraceDays) * 24 * time.Hour }

// Timeout is TimeoutS.
func (m Media) Timeout() time.Duration { return time.Duration(m.TimeoutS) * time.Second }

func defaultMedia() Media {
	return Media{Check: Off, Host: Off, MaxImageKB: 1024, HostMB: 1024, GraceDays: 35, TimeoutS: 5}
}

func (m *Media) bindings() []binding {
	return []binding{
		{"media.check", &m.Check, `"on" or "off": whether the images that a campaign names by address are fetched and looked at when it is saved or checked. What is no JPEG, PNG or GIF, or too large, is refused; a host that does not answer is logged. Images whose address differs from person to person are not looked at.`},
		{"media.host", &m.Host, `"on" or "off": whether these images are kept in the store, too, when a campaign is saved, and served at public_url/media/. Messages then carry that address; phones ask nobody else, and see what was saved. Needs public_url, by https.`},
		{"media.max_image_kb", &m.MaxImageKB, "Kilobytes (1024 bytes) of an image, 1 to 10240; to 8192 with host. FCM shows up to 1024, an app on iOS up to 10240."},
		{"media.host_mb", &m.HostMB, "Megabytes of all hosted images together, 1 to 1000000. Messages carry the image's own address when there is no room."},
		{"media.grace_days", &m.GraceDays, "Days that a hosted image stays that no campaign shows any more, 1 to 3650. Messages stay in inboxes for up to 30."},
		{"media.timeout_s", &m.TimeoutS, "Seconds that looking at an image may take, 1 to 30. A campaign is saved after that."},
		{"media.allow_networks", &m.AllowNetworks, `Networks and addresses, with commas between, that may be asked for images though they are not public, and by plain http: "10.1.0.0/16,127.0.0.1". Empty: public addresses by https alone; a campaign whose image is elsewhere by http is refused, looked at or not.`},
	}
}

func (m *Media) validate(bad func(field, format string, args ...any), oneOf func(field, is string, allowed ...string), between func(field string, is, low, high int)) {
	oneOf("media.check", m.Check, On, Off)
	oneOf("media.host", m.Host, On, Off)
	most := 10_240
	if m.Hosted() {
		most = 8192 // a document of the store
	}
	between("media.max_image_kb", m.MaxImageKB, 1, most)
	between("media.host_mb", m.HostMB, 1, 1_000_000)
	between("media.grace_days", m.GraceDays, 1, 3650)
	between("media.timeout_s", m.TimeoutS, 1, 30)
	networks("media.allow_networks", m.AllowNetworks, bad)
}

// hostable says why phones could not load images from the address; empty if they can.
// On the machine itself http will do, for trials.
func hostable(publicURL string) string {
	u, err := url.Parse(publicURL)
	switch {
	case publicURL == "":
		return `needs public_url, the address under which phones reach the server: "https://engage.example.com"`
	case err != nil, strings.EqualFold(u.Scheme, "https"), loopback(u.Hostname()):
		return "" // what is no address at all is told of public_url
	default:
		return "needs a public_url that begins with https://: phones load no image by http"
	}
}
