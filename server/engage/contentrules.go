package engage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a message's parts, beyond those of its rendered texts (package template).
const (
	MaxActions      = 3
	MaxActionID     = 40             // bytes: ids travel in the push's 4 KB
	MaxCollapseKey  = 64             // bytes: APNs' limit
	MaxTTLS         = 28 * 24 * 3600 // FCM's limit; APNs keeps 30 days
	MaxName         = 100            // bytes of a notification channel, category, thread, screen or event
	MaxBadge        = 99_999         // beyond that iOS shows nothing of use
	MaxLiveState    = 3500           // bytes of attributes and content_state together, of the push's 4096
	MaxLiveStaleS   = 12 * 3600      // a Live Activity lives 8 hours, and 4 more on the lock screen
	MaxLiveDismissS = 4 * 3600       // then iOS removes it anyway
	MaxShowS        = 600            // how long an in-app message may stand before it goes by itself
	MaxTriggerDelay = 3600           // seconds
	MaxShowTimes    = 100            // of one in-app message
	MaxShowGapS     = 30 * 24 * 3600 //
	MaxCardS        = 30 * 24 * 3600 // in the inbox: what a phone may be offline and still catch up
)

var (
	analyticsLabel = regexp.MustCompile(`^[a-zA-Z0-9-_.~%]{1,50}$`)           // FCM's
	soundFile      = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._ -]{0,99}$`) // a name in the app's bundle, no path
	typeName       = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.]{0,99}$`)     // of Swift
	headerText     = regexp.MustCompile(`^[!-~]+$`)                           // may stand in an HTTP header
)

// validate checks the message but for its templates. Each error names its field.
func (c *Content) validate() error {
	for i, ch := range c.Channels {
		if ch != InApp && ch != Push && ch != Inbox {
			return Errorf(Invalid, fmt.Sprintf("channels[%d]", i), `must be "in_app", "push" or "inbox", is %q`, ch)
		}
	}
	if err := c.speaks(); err != nil {
		return err
	}
	if len(c.Actions) > MaxActions {
		return Errorf(TooLarge, "actions", "at most %d, has %d", MaxActions, len(c.Actions))
	}
	for i, a := range c.Actions {
		switch before := c.Actions[:i]; {
		case !ValidID(a.ID) || len(a.ID) > MaxActionID:
			return Errorf(Invalid, Index("actions", i, "id"), "must be 1 to %d of a-z, A-Z, 0-9, '.', '_', '-'", MaxActionID)
		case strings.TrimSpace(a.Label) == "":
			return Errorf(Invalid, Index("actions", i, "label"), "is required")
		case slices.ContainsFunc(before, func(b Action) bool { return b.ID == a.ID }):
			return Errorf(Invalid, Index("actions", i, "id"), "stands twice: %q", a.ID)
		case slices.ContainsFunc(before, func(b Action) bool { return b.Label == a.Label }):
			return Errorf(Invalid, Index("actions", i, "label"), "stands twice: %q", a.Label)
		}
	}
	if err := c.validateLocales(); err != nil {
		return err
	}
	if err := At("push", c.Push.validate()); err != nil {
		return err
	}
	if err := At("in_app", c.InApp.validate()); err != nil {
		return err
	}
	if b := c.Inbox; b != nil && (b.ExpiresS < 0 || b.ExpiresS > MaxCardS) {
		return Errorf(Invalid, "inbox.expires_in_s", "must be 0 to %d (30 days), is %d", MaxCardS, b.ExpiresS)
	}
	if c.InApp.Held() {
		if c.Allows(Push) {
			return Errorf(Invalid, "channels", "a message with in_app.trigger waits on the phone for its moment and is never pushed: name the channels, without \"push\"")
		}
		if !c.Allows(InApp) {
			return Errorf(Invalid, "channels", "in_app.trigger needs the channel in_app")
		}
	}
	return nil
}

// speaks checks that there is something to be shown, or nothing where that is meant.
func (c *Content) speaks() error {
	silent := c.Push != nil && c.Push.Silent
	live := c.Push != nil && c.Push.IOS != nil && c.Push.IOS.Live != nil
	pushOnly := len(c.Channels) > 0 && !slices.ContainsFunc(c.Channels, func(ch Channel) bool { return ch != Push })
	if !silent {
		if c.Title != "" || c.Body != "" || live && pushOnly && c.Push.IOS.Live.Event != LiveStart {
			return nil
		}
		return Errorf(Invalid, "", "needs a title or a body")
	}
	if !pushOnly {
		return Errorf(Invalid, "channels", `a silent message shows nothing, so its channels must be ["push"]`)
	}
	for _, f := range []struct {
		field string
		given bool
	}{
		{"title", c.Title != ""},
		{"body", c.Body != ""},
		{"image_url", c.ImageURL != ""},
		{"deep_link", c.DeepLink != ""},
		{"actions", len(c.Actions) > 0},
		{"push.subtitle", c.Push.Subtitle != ""},
		{"push.sound", c.Push.Sound != ""},
		{"push.badge", c.Push.Badge != nil},
		{"push.ios.live_activity", live},
	} {
		if f.given {
			return Errorf(Invalid, f.field, "a silent message shows nothing: it has only data")
		}
	}
	return nil
}

func (p *PushContent) validate() error {
	if p == nil {
		return nil
	}
	switch {
	case !slices.Contains([]string{"", "high", "normal"}, p.Priority):
		return Errorf(Invalid, "priority", `must be "high" or "normal", is %q`, p.Priority)
	case p.TTLS != nil && (*p.TTLS < 0 || *p.TTLS > MaxTTLS):
		return Errorf(Invalid, "ttl_s", "must be 0 to %d (28 days), is %d", MaxTTLS, *p.TTLS)
	case len(p.CollapseKey) > MaxCollapseKey:
		return Errorf(TooLarge, "collapse_key", "at most %d bytes, has %d", MaxCollapseKey, len(p.CollapseKey))
	case p.CollapseKey != "" && !headerText.MatchString(p.CollapseKey):
		return Errorf(Invalid, "collapse_key", "must be printable ASCII without spaces")
	case p.Label != "" && !analyticsLabel.MatchString(p.Label):
		return Errorf(Invalid, "analytics_label", "must be 1 to 50 of a-z, A-Z, 0-9, '-', '_', '.', '~', '%%'")
	case p.Sound != "" && !soundFile.MatchString(p.Sound):
		return Errorf(Invalid, "sound", `must be "default", "none" or the name of a file in the app, at most 100 bytes, without a path`)
	case p.Badge != nil && (*p.Badge < 0 || *p.Badge > MaxBadge):
		return Errorf(Invalid, "badge", "must be 0 to %d, is %d", MaxBadge, *p.Badge)
	case !slices.Contains([]DevicePolicy{"", MostRecent, AllDevices, OnePerPlatform}, p.Devices):
		return Errorf(Invalid, "devices", `must be "most_recent", "all" or "one_per_platform", is %q`, p.Devices)
	}
	if p.Android != nil {
		if err := name("android.channel_id", p.Android.ChannelID); err != nil {
			return err
		}
	}
	return At("ios", p.IOS.validate(p.Silent))
}

func (p *IOSPush) validate(silent bool) error {
	if p == nil {
		return nil
	}
	if err := name("category", p.Category); err != nil {
		return err
	}
	if err := name("thread_id", p.ThreadID); err != nil {
		return err
	}
	switch {
	case !slices.Contains([]string{"", "passive", "active", "time-sensitive", "critical"}, p.Interruption):
		return Errorf(Invalid, "interruption_level", `must be "passive", "active", "time-sensitive" or "critical", is %q`, p.Interruption)
	case !(p.Relevance >= 0 && p.Relevance <= 1):
		return Errorf(Invalid, "relevance_score", "must be 0 to 1, is %v", p.Relevance)
	case !(p.CriticalVolume >= 0 && p.CriticalVolume <= 1):
		return Errorf(Invalid, "critical_volume", "must be 0 to 1, is %v", p.CriticalVolume)
	case p.CriticalVolume > 0 && p.Interruption != "critical":
		return Errorf(Invalid, "critical_volume", `needs interruption_level "critical"`)
	case silent && p.Interruption != "":
		return Errorf(Invalid, "interruption_level", "a silent message interrupts nobody")
	}
	return At("live_activity", p.Live.validate())
}

func (l *LiveActivity) validate() error {
	if l == nil {
		return nil
	}
	start := l.Event == LiveStart
	switch {
	case !start && l.Event != LiveUpdate && l.Event != LiveEnd:
		return Errorf(Invalid, "event", `must be "start", "update" or "end", is %q`, l.Event)
	case start && !typeName.MatchString(l.AttributesType):
		return Errorf(Invalid, "attributes_type", "is required with start: the name of the app's type, at most 100 of a-z, A-Z, 0-9, '_', '.'")
	case !start && l.AttributesType != "":
		return Errorf(Invalid, "attributes_type", "goes with start only")
	case start && !object(l.Attributes):
		return Errorf(Invalid, "attributes", "is required with start: a JSON object, {} at least")
	case !start && len(l.Attributes) > 0:
		return Errorf(Invalid, "attributes", "goes with start only")
	case l.Event != LiveEnd && !object(l.State), len(l.State) > 0 && !object(l.State):
		return Errorf(Invalid, "content_state", "must be a JSON object; only end may do without")
	case len(l.Attributes)+len(l.State) > MaxLiveState:
		return Errorf(TooLarge, "content_state", "attributes and content_state have at most %d bytes together, have %d", MaxLiveState, len(l.Attributes)+len(l.State))
	case l.StaleAfterS < 0 || l.StaleAfterS > MaxLiveStaleS:
		return Errorf(Invalid, "stale_after_s", "must be 0 to %d (12 hours), is %d", MaxLiveStaleS, l.StaleAfterS)
	case l.StaleAfterS > 0 && l.Event == LiveEnd:
		return Errorf(Invalid, "stale_after_s", "does not go with end")
	case l.DismissAfterS != nil && l.Event != LiveEnd:
		return Errorf(Invalid, "dismiss_after_s", "goes with end only")
	case l.DismissAfterS != nil && (*l.DismissAfterS < 0 || *l.DismissAfterS > MaxLiveDismissS):
		return Errorf(Invalid, "dismiss_after_s", "must be 0 to %d (4 hours), is %d", MaxLiveDismissS, *l.DismissAfterS)
	}
	return nil
}

func (a *InAppContent) validate() error {
	if a == nil {
		return nil
	}
	switch {
	case !slices.Contains([]InAppStyle{"", Banner, Modal, FullScreen}, a.Style):
		return Errorf(Invalid, "style", `must be "banner", "modal" or "full_screen", is %q`, a.Style)
	case a.DismissAfterS < 0 || a.DismissAfterS > MaxShowS:
		return Errorf(Invalid, "dismiss_after_s", "must be 0 to %d, is %d", MaxShowS, a.DismissAfterS)
	}
	if t := a.Trigger; t != nil {
		if err := name("trigger.event", t.Event); err != nil {
			return err
		}
		if err := name("trigger.screen", t.Screen); err != nil {
			return err
		}
		switch {
		case t.Event != "" && t.Screen != "":
			return Errorf(Invalid, "trigger.screen", "an event or a screen, not both")
		case t.DelayS < 0 || t.DelayS > MaxTriggerDelay:
			return Errorf(Invalid, "trigger.delay_s", "must be 0 to %d, is %d", MaxTriggerDelay, t.DelayS)
		case *t == (InAppTrigger{}):
			return Errorf(Invalid, "trigger", "needs an event, a screen or a delay_s")
		}
	}
	if f := a.Frequency; f != nil {
		switch {
		case f.Times < 0 || f.Times > MaxShowTimes:
			return Errorf(Invalid, "frequency.times", "must be 0 to %d, is %d", MaxShowTimes, f.Times)
		case f.MinGapS < 0 || f.MinGapS > MaxShowGapS:
			return Errorf(Invalid, "frequency.min_gap_s", "must be 0 to %d (30 days), is %d", MaxShowGapS, f.MinGapS)
		case f.Times > 1 && a.Trigger == nil && f.MinGapS == 0 && !f.PerSession:
			return Errorf(Invalid, "frequency.times", "without a trigger it would come again at once: add min_gap_s or per_session")
		}
	}
	return nil
}

// Held reports whether a phone keeps the message and shows it at a moment of its own:
// it has a trigger.
func (a *InAppContent) Held() bool { return a != nil && a.Trigger != nil }

func name(field, s string) error {
	switch {
	case len(s) > MaxName:
		return Errorf(TooLarge, field, "at most %d bytes, has %d", MaxName, len(s))
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return Errorf(Invalid, field, "must be UTF-8 without control characters")
	}
	return nil
}

// object reports whether the text is one JSON object.
func object(raw json.RawMessage) bool {
	return len(raw) <= math.MaxInt16 && json.Valid(raw) && bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{"))
}
