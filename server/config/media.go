package config

import "time"

// What Media.Check can be.
const (
	On  = "on"
	Off = "off"
)

// Media says whether the images that messages name by their address are looked at when
// a campaign is saved.
type Media struct {
	// Check is On or Off: the server calls nobody unless it is told to.
	Check string
	// MaxImageKB of an image, in KiB.
	MaxImageKB int
	TimeoutS   int // of a look, redirects and body included
	// AllowNetworks may be asked though they are not public, and by plain http:
	// networks and addresses with commas between.
	AllowNetworks string
}

// Checked reports whether images are looked at.
func (m Media) Checked() bool { return m.Check == On }

// MaxBytes is MaxImageKB.
func (m Media) MaxBytes() int64 { return int64(m.MaxImageKB) << 10 }

// Timeout is TimeoutS.
func (m Media) Timeout() time.Duration { return time.Duration(m.TimeoutS) * time.Second }

func defaultMedia() Media { return Media{Check: Off, MaxImageKB: 1024, TimeoutS: 5} }

func (m *Media) bindings() []binding {
	return []binding{
		{"media.check", &m.Check, `"on" or "off": whether the images that a campaign names by address are fetched and looked at when it is saved or checked. What is no JPEG, PNG or GIF, or too large, is refused; a host that does not answer is logged. Images whose address differs from person to person are not looked at.`},
		{"media.max_image_kb", &m.MaxImageKB, "Kilobytes (1024 bytes) of an image, 1 to 10240. FCM shows up to 1024, an app on iOS up to 10240."},
		{"media.timeout_s", &m.TimeoutS, "Seconds that looking at an image may take, 1 to 30. A campaign is saved after that."},
		{"media.allow_networks", &m.AllowNetworks, `Networks and addresses, with commas between, that may be asked for images though they are not public, and by plain http: "10.1.0.0/16,127.0.0.1". Empty: public addresses by https alone.`},
	}
}

func (m *Media) validate(bad func(field, format string, args ...any), oneOf func(field, is string, allowed ...string), between func(field string, is, low, high int)) {
	oneOf("media.check", m.Check, On, Off)
	between("media.max_image_kb", m.MaxImageKB, 1, 10_240)
	between("media.timeout_s", m.TimeoutS, 1, 30)
	networks("media.allow_networks", m.AllowNetworks, bad)
}
