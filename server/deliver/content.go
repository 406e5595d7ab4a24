package deliver

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// This file says what a send is as a push, as an in-app message and as an item of the
// inbox.

// boxed is the body of an InboxItem.
type boxed struct {
	V        int               `json:"v"`
	Campaign string            `json:"campaign"`
	Title    string            `json:"title"`
	Body     string            `json:"body"`
	DeepLink string            `json:"deep_link,omitempty"`
	ImageURL string            `json:"image_url,omitempty"`
	Data     map[string]string `json:"data,omitempty"`
	SentMS   int64             `json:"sent_ms,omitempty"` // when it was decided; absent in items of earlier builds
	Actions  []engage.Action   `json:"actions,omitempty"`
	Pinned   bool              `json:"pinned,omitempty"`
	// InApp is how it is shown at a moment of its own; nil: it is a card and no more.
	InApp  *engage.InAppContent `json:"in_app,omitempty"`
	Hidden bool                 `json:"hidden,omitempty"` // it is no card, and only waits for its moment
}

// held reports whether the message waits on the phone for its moment.
func held(s *engage.Send) bool { return allows(s, engage.InApp) && s.InApp.Held() }

func (d *delivery) inboxItem(now time.Time) (*InboxItem, error) {
	s := &d.Send
	b := boxed{
		V: inboxV1, Campaign: s.Campaign, Title: s.Title, Body: s.Body, DeepLink: s.DeepLink, ImageURL: s.ImageURL,
		Data: s.Data, SentMS: sentMS(s), Actions: s.Actions,
	}
	at := time.UnixMicro(ceilMicro(now)).UTC()
	expires := s.ExpiresAt
	if s.Inbox != nil {
		b.Pinned = s.Inbox.Pinned
		if s.Inbox.ExpiresS > 0 {
			expires = at.Add(time.Duration(s.Inbox.ExpiresS) * time.Second)
		}
	}
	if held(s) {
		b.InApp = s.InApp
		if b.Hidden = !allows(s, engage.Inbox); b.Hidden {
			expires = s.ExpiresAt
		}
	}
	body, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode inbox item %s: %w", s.Delivery, err)
	}
	return &InboxItem{Workspace: s.Workspace, Profile: s.Profile, Delivery: s.Delivery, At: at, Expires: expires, Body: body}, nil
}

// readInboxItem is the message that an item of any version so far holds.
func readInboxItem(it InboxItem) (*sdkpb.Message, error) {
	var b boxed
	if err := json.Unmarshal(it.Body, &b); err != nil {
		return nil, fmt.Errorf("inbox item %s: %w", it.Delivery, err)
	}
	if b.V != inboxV1 {
		return nil, fmt.Errorf("inbox item %s: version %d", it.Delivery, b.V)
	}
	if b.SentMS == 0 {
		b.SentMS = it.At.UnixMilli()
	}
	m := &sdkpb.Message{
		MessageId: it.Delivery, Kind: sdkpb.Message_KIND_INBOX, Title: b.Title, Body: b.Body,
		DeepLink: b.DeepLink, ImageUrl: b.ImageURL, Data: b.Data,
		ExpiresMs: it.Expires.UnixMilli(), CampaignId: b.Campaign, SentMs: b.SentMS,
		Display: display(b.InApp, b.Actions), Pinned: b.Pinned,
	}
	if b.Hidden {
		m.Kind = sdkpb.Message_KIND_IN_APP
	}
	if b.InApp != nil {
		m.Trigger, m.Frequency = trigger(b.InApp.Trigger), frequency(b.InApp.Frequency)
	}
	return m, nil
}

func inAppMessage(s *engage.Send) *sdkpb.Message {
	m := &sdkpb.Message{
		MessageId: s.Delivery, Kind: sdkpb.Message_KIND_IN_APP, Title: s.Title, Body: s.Body,
		DeepLink: s.DeepLink, ImageUrl: s.ImageURL, Data: s.Data,
		ExpiresMs: s.ExpiresAt.UnixMilli(), CampaignId: s.Campaign, SentMs: sentMS(s),
		Display: display(s.InApp, s.Actions),
	}
	if s.InApp != nil {
		m.Frequency = frequency(s.InApp.Frequency)
	}
	return m
}

var styles = map[engage.InAppStyle]sdkpb.Display_Style{
	engage.Banner:     sdkpb.Display_STYLE_BANNER,
	engage.Modal:      sdkpb.Display_STYLE_MODAL,
	engage.FullScreen: sdkpb.Display_STYLE_FULL_SCREEN,
}

// display is nil when there is nothing to say.
func display(a *engage.InAppContent, actions []engage.Action) *sdkpb.Display {
	if a == nil && len(actions) == 0 {
		return nil
	}
	out := new(sdkpb.Display)
	if a != nil {
		out.Style = styles[a.Style]
		out.DismissAfterMs = millis(a.DismissAfterS)
	}
	for _, x := range actions {
		out.Actions = append(out.Actions, &sdkpb.Action{Id: x.ID, Label: x.Label, DeepLink: x.DeepLink})
	}
	return out
}

func trigger(t *engage.InAppTrigger) *sdkpb.Trigger {
	if t == nil {
		return nil
	}
	return &sdkpb.Trigger{Event: t.Event, Screen: t.Screen, DelayMs: millis(t.DelayS)}
}

func frequency(f *engage.InAppFrequency) *sdkpb.Frequency {
	if f == nil {
		return nil
	}
	return &sdkpb.Frequency{Times: uint32(max(f.Times, 0)), MinGapMs: millis(f.MinGapS), PerSession: f.PerSession} //nolint:gosec // at most 100, by Content's rules
}

// millis of seconds, at most what the protocol can say: 49 days.
func millis(s int64) uint32 {
	const most = 1<<32 - 1
	return uint32(min(max(s, 0), most/1000) * 1000) //nolint:gosec // it is bounded
}

// sentMS is when the message was made, by whatever way it goes; 0 when a send of an
// earlier build does not say.
func sentMS(s *engage.Send) int64 {
	if s.DecidedAt.IsZero() {
		return 0
	}
	return s.DecidedAt.UnixMilli()
}

// pushMessage is what goes to the device's provider. The attempt that it is for has
// begun.
func pushMessage(d *delivery, dev *engage.Device) channels.Message {
	s := &d.Send
	m := channels.Message{
		AttemptID: engage.AttemptID(s.Delivery, dev.Install), DeliveryID: s.Delivery, CampaignID: s.Campaign,
		Target: channels.Target{
			Provider: channels.Provider(dev.Push.Provider), Token: channels.Token(dev.Push.Token.Reveal()),
			Environment: dev.Push.Environment, Topic: dev.Push.Topic, Platform: dev.Platform,
		},
		Kind:  channels.Notification,
		Title: s.Title, Body: s.Body, DeepLink: s.DeepLink, ImageURL: s.ImageURL, Data: s.Data,
		Sound: "default", ExpiresAt: s.ExpiresAt, HighPrio: true,
	}
	for _, a := range s.Actions {
		m.Actions = append(m.Actions, channels.Action{ID: a.ID, Label: a.Label, DeepLink: a.DeepLink})
	}
	p := s.Push
	if p == nil {
		return m
	}
	m.Subtitle, m.CollapseKey, m.Label, m.Badge = p.Subtitle, p.CollapseKey, p.Label, p.Badge
	m.HighPrio = p.Priority != "normal"
	switch p.Sound {
	case "":
	case "none":
		m.Sound = ""
	default:
		m.Sound = p.Sound
	}
	if p.Silent {
		m.Kind, m.Sound = channels.Silent, ""
		m.HighPrio = p.Priority == "high" // nothing is seen: the OS may choose the moment
	}
	if p.TTLS != nil {
		from := s.DecidedAt
		if a := d.last(); a != nil {
			from = a.At // a repeat is kept as long as the first would have been
		}
		m.NowOrNever = *p.TTLS == 0
		if at := from.Add(time.Duration(*p.TTLS) * time.Second); at.Before(m.ExpiresAt) && !m.NowOrNever && !from.IsZero() {
			m.ExpiresAt = at
		}
	}
	if p.Android != nil {
		m.Android = channels.Android{ChannelID: p.Android.ChannelID}
	}
	if i := p.IOS; i != nil {
		m.Apple = channels.Apple{
			Category: i.Category, ThreadID: i.ThreadID, Interruption: i.Interruption, Relevance: i.Relevance,
			MutableContent: i.MutableContent, CriticalVolume: i.CriticalVolume,
		}
		if i.Live != nil && m.Target.Provider == channels.APNs {
			m.Kind, m.Live = channels.LiveActivity, live(i.Live, s.DecidedAt)
		}
	}
	return m
}

// live is the step of a Live Activity whose state is of that time.
func live(l *engage.LiveActivity, at time.Time) *channels.Live {
	out := &channels.Live{Event: l.Event, AttributesType: l.AttributesType, Attributes: l.Attributes, State: l.State, At: at}
	if l.StaleAfterS > 0 {
		out.StaleAt = at.Add(time.Duration(l.StaleAfterS) * time.Second)
	}
	if l.DismissAfterS != nil {
		out.DismissAt = at.Add(time.Duration(*l.DismissAfterS) * time.Second)
	}
	return out
}
