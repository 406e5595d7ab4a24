package apnssim

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/channels/internal/simtoken"
)

// Do is what happens to a request besides or instead of a plain answer.
type Do string

// What can happen.
const (
	Answer   Do = ""          // the answer, after Fault.DelayMS
	SlowBody Do = "slow_body" // the status at once, the body after Fault.DelayMS
	Drop     Do = "drop"      // accepted, but the stream is reset instead of answered
	Kill     Do = "kill"      // accepted, but the connection is closed instead
	Hang     Do = "hang"      // accepted, and never answered
	Reset    Do = "reset"     // not looked at: the stream is reset with INTERNAL_ERROR, which does not say so
	Refuse   Do = "refuse"    // not looked at: REFUSED_STREAM, which says so
	GoAway   Do = "goaway"    // not looked at: GOAWAY below the stream, which says so
)

// looksAt tells whether the push is taken up at all.
func (d Do) looksAt() bool { return d != Reset && d != Refuse && d != GoAway }

// Fault is a rule by which pushes that are in order fail. The first that fits a
// push decides; the fields of the first group choose pushes, empty ones all.
type Fault struct {
	Token      string  `json:"token,omitempty"`
	Topic      string  `json:"topic,omitempty"`
	PushType   string  `json:"push_type,omitempty"`
	CollapseID string  `json:"collapse_id,omitempty"`
	Percent    float64 `json:"percent,omitempty"` // of those that fit, by the seed; 0 means all
	Times      int     `json:"times,omitempty"`   // after so many it is spent; 0 means never

	Do         Do     `json:"do,omitempty"`
	Status     int    `json:"status,omitempty"`      // of the answer; 0 means that the push is accepted
	Reason     string `json:"reason,omitempty"`      // of the answer
	Body       string `json:"body,omitempty"`        // instead of Apple's JSON; a proxy's page
	RetryAfter string `json:"retry_after,omitempty"` // the header
	DelayMS    int64  `json:"delay_ms,omitempty"`    // 0 means Options.Slow with SlowBody
}

func (f *Fault) valid() error {
	switch f.Do {
	case Answer, SlowBody, Drop, Kill, Hang, Reset, Refuse, GoAway:
	default:
		return fmt.Errorf("do: there is no %q", f.Do)
	}
	switch {
	case f.Status != 0 && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("status: %d is not an error's", f.Status)
	case f.Status != 0 && f.Do != Answer && f.Do != SlowBody:
		return errors.New("status: this fault answers nothing")
	case f.Percent < 0 || f.Percent > 100 || f.Times < 0 || f.DelayMS < 0:
		return errors.New("percent, times, delay_ms: out of range")
	}
	return nil
}

// faults are the rules in force.
type faults struct {
	mu    sync.Mutex
	rules []Fault
	used  []int
}

// SetFaults replaces the rules; none removes them all.
func (s *Server) SetFaults(rules ...Fault) error {
	for i := range rules {
		if err := rules[i].valid(); err != nil {
			return fmt.Errorf("fault %d: %w", i, err)
		}
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.rules, s.faults.used = append([]Fault(nil), rules...), make([]int, len(rules))
	return nil
}

// Faults are the rules in force.
func (s *Server) Faults() []Fault {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return append([]Fault{}, s.faults.rules...)
}

// fault finds the rule for a push; nil means none.
func (s *Server) fault(p push, token string) *Fault {
	f := &s.faults
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.rules {
		r := &f.rules[i]
		switch {
		case r.Token != "" && !strings.EqualFold(r.Token, token),
			r.Topic != "" && r.Topic != p.topic, r.PushType != "" && r.PushType != p.kind,
			r.CollapseID != "" && r.CollapseID != p.collapse,
			r.Times > 0 && f.used[i] >= r.Times,
			r.Percent > 0 && s.chance()*100 >= r.Percent:
			continue
		}
		f.used[i]++
		found := *r
		return &found
	}
	return nil
}

// refusal is an answer other than success; status 0 means none.
type refusal struct {
	status     int
	reason     string
	retryAfter string
	since      time.Time // of a 410; zero means none
	body       string    // instead of Apple's JSON
}

func refuse(status int, reason string) refusal { return refusal{status: status, reason: reason} }

// magic is what a token's kind chooses.
type magic struct {
	Fault
	gone bool // with a timestamp an hour ago
	once bool // without a number it comes once, not always
}

const html502 = "<html><body><h1>502 Bad Gateway</h1></body></html>"

var magics = map[string]magic{
	"unregistered": {Fault: Fault{Status: 410, Reason: "Unregistered"}, gone: true},
	"expired":      {Fault: Fault{Status: 410, Reason: "ExpiredToken"}, gone: true},
	"badtoken":     {Fault: Fault{Status: 400, Reason: "BadDeviceToken"}},
	"nottopic":     {Fault: Fault{Status: 400, Reason: "DeviceTokenNotForTopic"}},
	"forbidden":    {Fault: Fault{Status: 403, Reason: "Forbidden"}},
	"badkey":       {Fault: Fault{Status: 403, Reason: "BadEnvironmentKeyInToken"}},
	"quota":        {Fault: Fault{Status: 429, Reason: "TooManyRequests", RetryAfter: "1"}},
	"outage":       {Fault: Fault{Status: 503, Reason: "ServiceUnavailable", RetryAfter: "1"}},
	"internal":     {Fault: Fault{Status: 500, Reason: "InternalServerError"}},
	"html502":      {Fault: Fault{Status: 502, Body: html502}},
	"idle":         {Fault: Fault{Status: 400, Reason: "IdleTimeout"}, once: true},
	"shutdown":     {Fault: Fault{Status: 503, Reason: "Shutdown"}, once: true},
	"refuse":       {Fault: Fault{Do: Refuse, Reason: "REFUSED_STREAM"}, once: true},
	"goaway":       {Fault: Fault{Do: GoAway, Reason: "GOAWAY"}, once: true},
	"reset":        {Fault: Fault{Do: Reset, Reason: "INTERNAL_ERROR"}, once: true},
	"drop":         {Fault: Fault{Do: Drop}, once: true},
	"kill":         {Fault: Fault{Do: Kill}, once: true},
	"hang":         {Fault: Fault{Do: Hang}, once: true},
	"slow":         {Fault: Fault{DelayMS: -1}}, // -1: Options.Slow
	"slowbody":     {Fault: Fault{Do: SlowBody}},
}

// magic finds what a token's bytes choose; nil means nothing.
func (s *Server) magic(raw []byte) *magic {
	name := strings.TrimRight(string(raw), "\x00")
	kind, times, _ := simtoken.Split(name)
	m, ok := magics[kind]
	if !ok {
		return nil
	}
	if times == 0 && m.once {
		times = 1
	}
	if times > 0 && s.uses.Next(name) > times {
		return nil
	}
	return &m
}
