package engage

import (
	"encoding/binary"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// Purpose that a person may consent to.
type Purpose string

// The purposes.
const (
	ConsentMarketing          Purpose = "marketing"
	ConsentLocationForeground Purpose = "location_foreground"
	ConsentLocationBackground Purpose = "location_background"
	ConsentLocationPrecise    Purpose = "location_precise"
	ConsentProfiling          Purpose = "profiling"
)

// Consent is one answer to one purpose. No answer means no.
type Consent struct {
	Granted     bool      `json:"granted"`
	TextVersion string    `json:"text_version,omitempty"`
	Source      string    `json:"source,omitempty"`
	At          time.Time `json:"at"` // log time
	// OccurredAt is when the person gave it, where that is not At: the order in which
	// answers count.
	OccurredAt time.Time `json:"occurred_at,omitzero"`
}

// Given is when the person gave the answer.
func (c *Consent) Given() time.Time {
	if c.OccurredAt.IsZero() {
		return c.At
	}
	return c.OccurredAt
}

// Attitude of a person to a topic.
type Attitude string

// The attitudes.
const (
	Like    Attitude = "like"
	Dislike Attitude = "dislike"
)

// Device is what is known of an install: its phone, its app, its permissions.
type Device struct {
	Install       string      `json:"install"`
	App           string      `json:"app"`
	Platform      string      `json:"platform"` // android, ios, web
	OSVersion     string      `json:"os_version,omitempty"`
	AppVersion    string      `json:"app_version,omitempty"`
	TimeZone      string      `json:"time_zone,omitempty"`
	Locale        string      `json:"locale,omitempty"`
	Location      string      `json:"location_permission,omitempty"`     // none, when_in_use, always
	Precision     string      `json:"precision_permission,omitempty"`    // precise, reduced
	Notifications string      `json:"notification_permission,omitempty"` // undetermined, provisional, granted, denied
	Bluetooth     string      `json:"bluetooth,omitempty"`               // on, off, as the next two: may the app look for beacons?
	Background    string      `json:"background_refresh,omitempty"`      // may it run in the background at all?
	Battery       string      `json:"battery_optimised,omitempty"`       // does the OS hold it back to spare the battery?
	Push          *PushTarget `json:"push,omitempty"`                    // nil means none was given
	// Spare are targets of other providers, one of each, that take the place of Push
	// when it dies: an iOS app may have a token of FCM and one of APNs.
	Spare     []PushTarget `json:"spare_push,omitempty"`
	Lifecycle string       `json:"lifecycle,omitempty"` // foreground, background
	SeenAt    time.Time    `json:"seen_at"`             // log time
}

// PushTarget is where a push for an install goes.
type PushTarget struct {
	Provider    string    `json:"provider"` // fcm, apns
	Token       Secret    `json:"token"`
	Environment string    `json:"environment,omitempty"`
	Found       bool      `json:"environment_found,omitempty"` // Environment is where the token was found to live, whatever the app says
	Topic       string    `json:"topic,omitempty"`
	Dead        string    `json:"dead,omitempty"`     // the provider's reason, or TokenMoved; empty means live
	At          time.Time `json:"at"`                 // when it was last given, log time; of an imported one, when the file says
	Imported    bool      `json:"imported,omitempty"` // from a file; no app has given it since
}

// Targets are all targets, Push first. The slice is the caller's.
func (d *Device) Targets() []PushTarget {
	if d.Push == nil {
		return nil
	}
	return append([]PushTarget{*d.Push}, d.Spare...)
}

// PushOf is the target of a provider; nil when there is none.
func (d *Device) PushOf(provider string) *PushTarget {
	if d.Push != nil && d.Push.Provider == provider {
		return d.Push
	}
	for i := range d.Spare {
		if d.Spare[i].Provider == provider {
			return &d.Spare[i]
		}
	}
	return nil
}

// Notifiable reports whether the OS would show a push.
func (d *Device) Notifiable() bool {
	return d.Notifications == "granted" || d.Notifications == "provisional"
}

// TakesPushes reports whether a push would reach the phone and be shown: the OS lets the
// app, and a token lives.
func (d *Device) TakesPushes() bool {
	return d.Notifiable() && d.Push != nil && d.Push.Dead == ""
}

// Weather at a cell for about now, as a provider forecast it.
type Weather struct {
	Cell          geo.Cell  `json:"cell"`
	At            time.Time `json:"at"`         // the hour it describes
	FetchedAt     time.Time `json:"fetched_at"` // log time
	FreshUntil    time.Time `json:"fresh_until"`
	Kind          string    `json:"kind"`      // "forecast" (or "observed" where a provider measured)
	Condition     string    `json:"condition"` // clear, partly_cloudy, cloudy, fog, rain, sleet, snow, thunder
	TemperatureC  float64   `json:"temperature_c"`
	FeelsLikeC    float64   `json:"feels_like_c"`
	Precipitation float64   `json:"precipitation_mm"` // in the next hour
	WindMPS       float64   `json:"wind_mps"`
	UV            float64   `json:"uv,omitempty"`
	Day           bool      `json:"day"`
	Provider      string    `json:"provider"`
	Attribution   string    `json:"attribution,omitempty"`
}

// WeatherResolution is the H3 resolution of weather cells (about 253 km²).
const WeatherResolution = 5

// MaxStaleWeather is how long after FreshUntil a weather is still served.
const MaxStaleWeather = 3 * time.Hour

// LogoutProfileID is the id of the profile that an install mints when a person logs
// out of it by the item seq. Whenever that item arrives, it is the same.
func LogoutProfileID(workspace, install string, seq uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], seq)
	return hashID("profile after logout", workspace, install, string(b[:]))
}
