package apns

import "github.com/footfall-engage/footfall/channels"

// PayloadSize is how long the payload of a message would be, in bytes of JSON, whatever
// its target is. The error is a *channels.MessageError of what Send would refuse for
// another reason than its size.
func PayloadSize(m channels.Message) (channels.Size, error) {
	body, err := render(m)
	if err != nil {
		return channels.Size{}, err
	}
	field, most := longest(m)
	return channels.Size{Bytes: len(body), Limit: maxPayload, Field: field, FieldBytes: most}, nil
}

// render makes the payload of a message.
func render(m channels.Message) ([]byte, error) {
	switch m.Kind {
	case "", channels.Notification:
		return alert(m)
	case channels.Silent:
		return background(m)
	case channels.LiveActivity:
		return renderLive(m)
	default:
		return nil, bad(channels.Invalid, "kind", "APNs has no such messages")
	}
}
