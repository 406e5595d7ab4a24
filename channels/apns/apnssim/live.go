package apnssim

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// live does with a push of a Live Activity what a phone does. What it cannot use
// it ignores, without anybody at Apple's telling the provider; ignored says why.
//
// A start goes to a push-to-start token and gives the activity a token of its own,
// which Activities tells; an update or an end goes to that. An update of a token
// that nobody started is taken for an activity that the app itself began. What goes to a
// token of the other kind is ignored.
func (s *Server) live(d Delivered) (ignored string) {
	var doc struct {
		APS struct {
			Event          string          `json:"event"`
			Timestamp      int64           `json:"timestamp"`
			AttributesType string          `json:"attributes-type"`
			Attributes     json.RawMessage `json:"attributes"`
			State          json.RawMessage `json:"content-state"`
			Stale          int64           `json:"stale-date"`
			Dismiss        int64           `json:"dismissal-date"`
		} `json:"aps"`
	}
	if json.Unmarshal(d.Raw, &doc) != nil {
		return "its payload has other types"
	}
	aps, now := doc.APS, s.opts.Now()
	at := time.Unix(aps.Timestamp, 0).UTC()
	object := func(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }
	switch {
	case aps.Event != "start" && aps.Event != "update" && aps.Event != "end":
		return "unknown event"
	case aps.Timestamp <= 0:
		return "no timestamp"
	case aps.Event != "end" && !object(aps.State):
		return "no content-state"
	case aps.Event == "start" && (aps.AttributesType == "" || !object(aps.Attributes)):
		return "no attributes"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.activities[d.Token]
	switch start := aps.Event == "start"; {
	case start && a != nil:
		return "its token is an activity's"
	case !start && s.starters[d.Token]:
		return "its token only starts activities"
	case start && s.starters == nil:
		s.starters = make(map[string]bool)
	}
	if aps.Event == "start" {
		s.starters[d.Token] = true
		s.started++
		a = &Activity{
			Token: Token("activity", strconv.Itoa(s.started)+"."+d.Token[:8]), Topic: d.Topic, StartedAt: now,
			AttributesType: aps.AttributesType, Attributes: aps.Attributes,
		}
	} else if a == nil {
		a = &Activity{Token: d.Token, Topic: d.Topic, StartedAt: now}
	}
	switch {
	case !a.EndedAt.IsZero():
		return "it has ended"
	case now.Sub(a.StartedAt) > activityLife && aps.Event == "update":
		return "it has lived too long"
	case at.Before(a.At):
		return "older than the state"
	}
	s.activities[a.Token] = a
	a.At, a.StaleAt = at, time.Time{}
	if object(aps.State) {
		a.State = aps.State
	}
	if aps.Stale > 0 {
		a.StaleAt = time.Unix(aps.Stale, 0).UTC()
	}
	if aps.Event == "end" {
		a.EndedAt, a.DismissAt = now, now.Add(4*time.Hour)
		if aps.Dismiss > 0 {
			a.DismissAt = time.Unix(aps.Dismiss, 0).UTC()
		}
	}
	return ""
}

// Activities lists the Live Activities that pushes have made or changed, oldest
// first, the ended ones too.
func (s *Server) Activities() []Activity {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Activity, 0, len(s.activities))
	for _, a := range s.activities {
		list = append(list, *a)
	}
	slices.SortFunc(list, func(a, b Activity) int {
		if c := a.StartedAt.Compare(b.StartedAt); c != 0 {
			return c
		}
		return slices.Compare([]byte(a.Token), []byte(b.Token))
	})
	return list
}
