package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"time"
)

// Media types of a body.
const (
	ContentType      = "application/cloudevents+json"
	BatchContentType = "application/cloudevents-batch+json"
)

// Event is a CloudEvents 1.0 event with a JSON object as its data.
type Event struct {
	ID      string          // unique within Source; the same on every repeat
	Source  string          // URI reference of what made it
	Type    string          // "footfall.place.entered"
	Subject string          // within the source, what it is about; empty means not given
	Time    time.Time       // when it happened
	Data    json.RawMessage // a JSON value; nil means none
}

// wireEvent is the structured JSON mode of the CloudEvents specification, §3.
type wireEvent struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject,omitempty"`
	Time            time.Time       `json:"time,omitzero"`
	DataContentType string          `json:"datacontenttype,omitempty"`
	Data            json.RawMessage `json:"data,omitempty"`
}

// MarshalJSON writes the event in structured mode. ID, Source and Type are required.
func (e Event) MarshalJSON() ([]byte, error) {
	if e.ID == "" || e.Source == "" || e.Type == "" {
		return nil, errors.New("a CloudEvent needs id, source and type")
	}
	w := wireEvent{SpecVersion: "1.0", ID: e.ID, Source: e.Source, Type: e.Type, Subject: e.Subject, Time: e.Time.UTC(), Data: e.Data}
	if e.Time.IsZero() {
		w.Time = time.Time{}
	}
	if len(e.Data) > 0 {
		w.DataContentType = "application/json"
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads an event in structured mode. Attributes that Event does not
// have are let be, as the specification demands.
func (e *Event) UnmarshalJSON(b []byte) error {
	var w wireEvent
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	switch {
	case w.SpecVersion != "1.0":
		return fmt.Errorf("specversion %q is not 1.0", w.SpecVersion)
	case w.ID == "" || w.Source == "" || w.Type == "":
		return errors.New("a CloudEvent needs id, source and type")
	}
	*e = Event{ID: w.ID, Source: w.Source, Type: w.Type, Subject: w.Subject, Time: w.Time, Data: w.Data}
	return nil
}

// Body encodes one event by itself, or several as a batch, with the media type.
func Body(batch bool, events ...Event) (contentType string, body []byte, err error) {
	if batch {
		body, err = json.Marshal(events)
		return BatchContentType, body, err
	}
	if len(events) != 1 {
		return "", nil, fmt.Errorf("%d events in one that is no batch", len(events))
	}
	body, err = json.Marshal(events[0])
	return ContentType, body, err
}

// Parse reads what Body wrote, for receivers. Verify first.
func Parse(contentType string, body []byte) ([]Event, error) {
	typ, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, fmt.Errorf("content type: %w", err)
	}
	body = bytes.TrimSpace(body)
	switch typ {
	case ContentType:
		var e Event
		if err := json.Unmarshal(body, &e); err != nil {
			return nil, err
		}
		return []Event{e}, nil
	case BatchContentType:
		var es []Event
		err := json.Unmarshal(body, &es)
		return es, err
	default:
		return nil, fmt.Errorf("content type %q is not of CloudEvents", typ)
	}
}
