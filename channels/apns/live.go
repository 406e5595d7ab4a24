package apns

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/sideshow/apns2/payload"

	"github.com/footfall-engage/footfall/channels"
)

// renderLive makes the payload of a step of a Live Activity (ActivityKit,
// "Starting and updating Live Activities with ActivityKit push notifications").
// Dates are whole seconds. An alert, where the message has a text, lights the
// screen; its sound stands inside it, unlike a notification's.
func renderLive(m channels.Message) ([]byte, error) {
	if err := checkLive(m); err != nil {
		return nil, err
	}
	l := m.Live
	p := payload.NewPayload().SetEvent(payload.ELiveActivityEvent(l.Event)).SetTimestamp(l.At.Unix())
	if m.Title != "" || m.Body != "" {
		alert := map[string]string{"title": m.Title, "body": m.Body}
		if m.Sound != "" {
			alert["sound"] = m.Sound
		}
		p.Alert(alert)
	}
	if m.Apple.Relevance != 0 {
		p.RelevanceScore(float32(m.Apple.Relevance))
	}
	if !l.StaleAt.IsZero() {
		p.SetStaleDate(l.StaleAt.Unix())
	}
	if l.Event == "end" && !l.DismissAt.IsZero() {
		p.SetDismissalDate(l.DismissAt.Unix())
	}
	if l.Event == "start" {
		p.SetAttributesType(l.AttributesType)
	}
	b, err := marshal(p, m)
	if err != nil {
		return nil, err
	}
	// apns2 takes these as maps, leaves empty ones out and makes floats of whole
	// numbers; iOS decodes them into the app's types and wants what was written.
	return patchLive(b, l)
}

func patchLive(b []byte, l *channels.Live) ([]byte, error) {
	var doc, aps map[string]json.RawMessage
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("render the live activity: %w", err)
	}
	if err := json.Unmarshal(doc["aps"], &aps); err != nil {
		return nil, fmt.Errorf("render the live activity: %w", err)
	}
	if l.Event == "start" {
		aps["attributes"] = l.Attributes
	}
	if len(l.State) > 0 {
		aps["content-state"] = l.State
	}
	var err error
	if doc["aps"], err = json.Marshal(aps); err != nil {
		return nil, fmt.Errorf("render the live activity: %w", err)
	}
	if b, err = json.Marshal(doc); err != nil {
		return nil, fmt.Errorf("render the live activity: %w", err)
	}
	return plain(b), nil
}

func checkLive(m channels.Message) error {
	l := m.Live
	if l == nil {
		return bad(channels.Missing, "live", "a live activity needs it")
	}
	switch {
	case l.Event != "start" && l.Event != "update" && l.Event != "end":
		return bad(channels.Invalid, "live.event", "must be start, update or end")
	case l.At.IsZero():
		return bad(channels.Missing, "live.at", "iOS orders states by it")
	case l.Event != "end" && len(l.State) == 0:
		return bad(channels.Missing, "live.state", "a %s needs it", l.Event)
	case len(l.State) > 0 && !isObject(l.State):
		return bad(channels.Invalid, "live.state", "must be a JSON object")
	case l.Event == "start" && l.AttributesType == "":
		return bad(channels.Missing, "live.attributes_type", "a start needs it")
	case l.Event == "start" && len(l.Attributes) == 0:
		return bad(channels.Missing, "live.attributes", "a start needs them")
	case l.Event == "start" && !isObject(l.Attributes):
		return bad(channels.Invalid, "live.attributes", "must be a JSON object")
	case !between01(m.Apple.Relevance):
		return bad(channels.Invalid, "apple.relevance", "must be from 0 to 1")
	}
	return nil
}

func isObject(raw json.RawMessage) bool {
	t := bytes.TrimLeft(raw, " \t\r\n")
	return len(t) > 0 && t[0] == '{' && json.Valid(raw)
}
