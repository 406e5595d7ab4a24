package engage

import "encoding/json"

// Action is one button of a message. The label and the link are Liquid templates.
type Action struct {
	ID       string `json:"id"` // of the receipt; unique within the message
	Label    string `json:"label"`
	DeepLink string `json:"deep_link,omitempty"` // empty only closes the message
}

// DevicePolicy says to which of a person's phones a push goes.
type DevicePolicy string

// The policies.
const (
	// MostRecent is the phone that triggered the message if it can be pushed to, else
	// the one used last; also when empty.
	MostRecent     DevicePolicy = "most_recent"
	AllDevices     DevicePolicy = "all"
	OnePerPlatform DevicePolicy = "one_per_platform" // the one used last of each
)

// PushContent is what a message has as a push. Texts are Liquid templates.
type PushContent struct {
	Subtitle    string       `json:"subtitle,omitempty"`     // iOS
	Silent      bool         `json:"silent,omitempty"`       // wakes the app and gives it Data; nothing is shown
	Priority    string       `json:"priority,omitempty"`     // "high" (also when empty), "normal"
	TTLS        *int64       `json:"ttl_s,omitempty"`        // how long the provider keeps it for a phone it cannot reach, at most until the message expires; 0: now or never; nil: until it expires
	CollapseKey string       `json:"collapse_key,omitempty"` // a newer message of the same key replaces an older one; at most 64 bytes
	Label       string       `json:"analytics_label,omitempty"`
	Sound       string       `json:"sound,omitempty"` // "default", "none" or a file of the app's; empty means default
	Badge       *int         `json:"badge,omitempty"` // iOS: 0 removes it
	Devices     DevicePolicy `json:"devices,omitempty"`
	Android     *AndroidPush `json:"android,omitempty"`
	IOS         *IOSPush     `json:"ios,omitempty"`
}

// AndroidPush is what only Android has.
type AndroidPush struct {
	ChannelID string `json:"channel_id,omitempty"`
}

// IOSPush is what only iOS has.
type IOSPush struct {
	Category       string        `json:"category,omitempty"`
	ThreadID       string        `json:"thread_id,omitempty"`
	Interruption   string        `json:"interruption_level,omitempty"` // passive, active, time-sensitive, critical
	Relevance      float64       `json:"relevance_score,omitempty"`    // 0..1
	MutableContent bool          `json:"mutable_content,omitempty"`
	CriticalVolume float64       `json:"critical_volume,omitempty"` // 0..1, with critical
	Live           *LiveActivity `json:"live_activity,omitempty"`   // instead of a notification
}

// What a LiveActivity can do.
const (
	LiveStart  = "start"
	LiveUpdate = "update"
	LiveEnd    = "end"
)

// LiveActivity starts, changes or ends one (iOS). Attributes and State are JSON objects
// whose strings are Liquid templates.
type LiveActivity struct {
	Event          string          `json:"event"` // LiveStart, LiveUpdate, LiveEnd
	AttributesType string          `json:"attributes_type,omitempty"`
	Attributes     json.RawMessage `json:"attributes,omitempty"`
	State          json.RawMessage `json:"content_state,omitempty"`
	StaleAfterS    int64           `json:"stale_after_s,omitempty"`
	DismissAfterS  *int64          `json:"dismiss_after_s,omitempty"`
}

// InAppStyle is how an in-app message is shown.
type InAppStyle string

// The styles.
const (
	Banner     InAppStyle = "banner"
	Modal      InAppStyle = "modal"
	FullScreen InAppStyle = "full_screen"
)

// InAppContent is what a message has while the app is open.
type InAppContent struct {
	Style         InAppStyle `json:"style,omitempty"`           // empty means banner
	DismissAfterS int64      `json:"dismiss_after_s,omitempty"` // 0 means never by itself
	// Trigger is what the SDK waits for before it shows the message; nil means nothing.
	Trigger *InAppTrigger `json:"trigger,omitempty"`
	// Frequency bounds how often the SDK shows it; nil means once.
	Frequency *InAppFrequency `json:"frequency,omitempty"`
}

// InAppTrigger is the moment at which the SDK shows a message that it holds. Such a
// message is put where all the person's phones fetch it, with the inbox, and is never
// pushed: the first phone whose moment comes claims it.
type InAppTrigger struct {
	Event  string `json:"event,omitempty"`   // the app tracks an event of this name
	Screen string `json:"screen,omitempty"`  // the app shows a screen of this name; not with Event
	DelayS int64  `json:"delay_s,omitempty"` // after that, or after the app was opened
}

// InAppFrequency bounds how often one message is shown, until it is acted upon,
// dismissed or expired. It is of one phone: the one that showed it first.
type InAppFrequency struct {
	Times      int   `json:"times,omitempty"` // in all; 0 means 1
	MinGapS    int64 `json:"min_gap_s,omitempty"`
	PerSession bool  `json:"per_session,omitempty"` // at most once per session of the app
}

// InboxContent is what a message has as a card of the inbox.
type InboxContent struct {
	Pinned   bool  `json:"pinned,omitempty"`       // stands above the others
	ExpiresS int64 `json:"expires_in_s,omitempty"` // from when it was put there; 0 means with the message
}
