package api

import (
	"fmt"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/template"
)

// PushSize is how much room a message takes as a push of one provider.
type PushSize struct {
	Provider string // "FCM", "APNs", for people
	Bytes    int    // of what the provider counts
	Limit    int
	// Field is the one that takes most room, as a message has it ("body",
	// "push.subtitle"); empty: no field of the message does.
	Field      string
	FieldBytes int
}

// nearLimit is the part of a push's room beyond which a campaign is warned of: the
// example person's values are as short as they come.
const nearLimit = 0.9

// pushSizes judges an arm's message for the example person: one that no provider would
// take is refused with the field that is too long, one that nearly fills a push is
// warned of.
func (s *server) pushSizes(c *engage.Campaign, arm *engage.Arm, content *template.Content) (warnings []error, err error) {
	if s.o.PushSizes == nil || !arm.Message.Allows(engage.Push) {
		return nil, nil
	}
	examples, err := content.Examples(itemSamples(c, s.o.Catalog.Now()))
	if err != nil {
		return nil, err
	}
	for i := range examples {
		more, err := s.pushSize(c, arm, &examples[i], i > 0)
		warnings = append(warnings, more...)
		if err != nil {
			return warnings, err
		}
	}
	return warnings, nil
}

// sendOf is a message as it would be sent.
func sendOf(c *engage.Campaign, arm *engage.Arm, r *template.Rendered) *engage.Send {
	return &engage.Send{
		Delivery: engage.DeliveryID(c.Workspace, c.ID, "example", "example"), Workspace: c.Workspace, Campaign: c.ID, Arm: arm.ID,
		Title: r.Title, Body: r.Body, DeepLink: r.DeepLink, ImageURL: r.ImageURL, Data: r.Data, Actions: r.Actions,
		Push: r.Push(arm.Message.Push),
	}
}

// pushSize judges a message in one language; other: it is not the message's own.
func (s *server) pushSize(c *engage.Campaign, arm *engage.Arm, r *template.Rendered, other bool) (warnings []error, err error) {
	for _, x := range s.o.PushSizes(sendOf(c, arm, r)) {
		if other {
			x.Field = template.LocalField(&arm.Message, r.Locale, x.Field)
		}
		full := fmt.Sprintf("a push by %s may have %d bytes, this one has %d with the shortest values, of which this field has %d", x.Provider, x.Limit, x.Bytes, x.FieldBytes)
		switch {
		case x.Bytes > x.Limit:
			return warnings, engage.Errorf(engage.TooLarge, x.Field, "%s", full)
		case float64(x.Bytes) > nearLimit*float64(x.Limit):
			warnings = append(warnings, engage.Errorf(engage.TooLarge, x.Field, "%s: longer values may not fit, and such a message goes into the inbox or nowhere", full))
		}
	}
	return warnings, nil
}

// PushField is the name that a message has for what a push provider's package calls a
// field.
func PushField(name string) string {
	switch name {
	case "subtitle", "sound", "collapse_key", "android.channel_id":
		return "push." + name
	case "apple.category", "apple.thread_id":
		return "push.ios." + strings.TrimPrefix(name, "apple.")
	case "live.state":
		return "push.ios.live_activity.content_state"
	case "live.attributes":
		return "push.ios.live_activity.attributes"
	case "delivery_id", "campaign_id", "footfall_message_id", "footfall_campaign_id":
		return ""
	}
	// A button stands as "actions.0.label" there.
	if rest, ok := strings.CutPrefix(name, "actions."); ok {
		if i, of, ok := strings.Cut(rest, "."); ok {
			return "actions[" + i + "]." + of
		}
	}
	return name
}
