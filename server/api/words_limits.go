package api

import (
	"fmt"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// seenLimits is what the gate of caps saw beyond the campaign's own one.
type seenLimits struct {
	Calendar  string        `json:"calendar"`
	Tag       string        `json:"tag"`
	Channel   string        `json:"channel"`
	Closed    bool          `json:"closed"` // a channel whose cap is reached
	FreeAt    time.Time     `json:"free_at"`
	GapS      float64       `json:"gap_s"`
	LastAt    time.Time     `json:"last_at"`
	Spent     int           `json:"spent"` // points of attention
	Cost      int           `json:"cost"`
	Points    int           `json:"points"`
	Of        string        `json:"of"` // budget or rate: messages, per_day, amount, per_minute
	Total     float64       `json:"total"`
	NoAnswer  bool          `json:"no_answer"`
	Waiting   int           `json:"waiting"`
	Shared    []seenShared  `json:"shared"`
	Attention seenAttention `json:"attention"`
}

// seenShared is a cap of the workspace that allowed the message.
type seenShared struct {
	Count    int     `json:"count"`
	Cap      int     `json:"cap"`
	WindowS  float64 `json:"window_s"`
	Calendar string  `json:"calendar"`
	Tag      string  `json:"tag"`
	Channel  string  `json:"channel"`
	Closed   bool    `json:"closed"`
}

type seenAttention struct {
	Spent   int     `json:"spent"`
	Cost    int     `json:"cost"`
	Points  int     `json:"points"`
	WindowS float64 `json:"window_s"`
}

// seenRivals is what arbitration saw.
type seenRivals struct {
	Winner         string  `json:"winner"`
	WantedBy       int     `json:"wanted_by"`
	By             string  `json:"by"` // priority, value, id, earlier; empty of an earlier build
	Priority       int     `json:"priority"`
	Value          float64 `json:"value"`
	WinnerPriority int     `json:"winner_priority"`
	WinnerValue    float64 `json:"winner_value"`
	Over           []rival `json:"over"`
}

type rival struct {
	Campaign string  `json:"campaign"`
	Priority int     `json:"priority"`
	Value    float64 `json:"value"`
}

// window in words: "24 h", "the day".
func window(seconds float64, calendar string) string {
	if calendar != "" {
		return "the " + calendar
	}
	return span(seconds)
}

// of whose messages a cap is.
func of(tag, channel string) string {
	switch {
	case tag != "":
		return fmt.Sprintf(" of campaigns tagged %q", tag)
	case channel != "":
		return " that may go " + by(channel)
	default:
		return " of all campaigns"
	}
}

// capYes says how much room there was.
func capYes(s seen) string {
	var parts []string
	if s.Cap > 0 {
		parts = append(parts, fmt.Sprintf("%d of at most %s within %s had been decided before this one", s.Count, plural(s.Cap, "message"), window(s.WindowS, s.Calendar)))
	}
	for _, c := range s.Shared {
		text := fmt.Sprintf("%d of at most %s%s within %s", c.Count, plural(c.Cap, "message"), of(c.Tag, c.Channel), window(c.WindowS, c.Calendar))
		if c.Closed {
			text += ", so it goes another way"
		}
		parts = append(parts, text)
	}
	if a := s.Attention; a.Points > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s of attention were spent within %s, and it costs %d", a.Spent, plural(a.Points, "point"), span(a.WindowS), a.Cost))
	}
	if len(parts) == 0 {
		return "The campaign has no cap."
	}
	return strings.Join(parts, "; ") + "."
}

// capNo says what was used up, and when there is room again.
func capNo(reason engage.Reason, s seen) string {
	var words string
	switch reason {
	case engage.ReasonCap:
		words = fmt.Sprintf("The person had %d of at most %s within %s", s.Count, plural(s.Cap, "message"), window(s.WindowS, s.Calendar))
	case engage.ReasonCapGap:
		words = fmt.Sprintf("The person's last message was decided at %s, and there are at least %s between two", moment(s.LastAt), span(s.GapS))
	case engage.ReasonCapAttention:
		words = fmt.Sprintf("The message costs %s of attention, and %d of %d were spent within %s", plural(s.Cost, "point"), s.Spent, s.Points, span(s.WindowS))
	default:
		words = fmt.Sprintf("The person had %d of at most %s%s within %s", s.Count, plural(s.Cap, "message"), of(s.Tag, s.Channel), window(s.WindowS, s.Calendar))
		if reason == engage.ReasonCapChannel {
			words += ", and the message has no other way"
		}
	}
	if !s.FreeAt.IsZero() {
		words += "; there is room again from " + moment(s.FreeAt)
	}
	return words + "."
}

// wonWords says of whoever won how.
func wonWords(s seen) string {
	if s.WantedBy <= 1 {
		return "No other campaign wanted the moment."
	}
	words := fmt.Sprintf("%d campaigns wanted the moment; this one came first", s.WantedBy)
	if len(s.Over) == 0 {
		return words + "."
	}
	var next []string
	for _, r := range s.Over {
		next = append(next, fmt.Sprintf("%q with %s", r.Campaign, figureWords(r.Priority, r.Value)))
	}
	return words + " with " + figureWords(s.Priority, s.Value) + ", before " + strings.Join(next, ", ") + "."
}

func figureWords(priority int, worth float64) string {
	words := fmt.Sprintf("priority %d", priority)
	if worth > 0 {
		words += " and value " + number(worth)
	}
	return words
}

// lostWords says who came first, and by what.
func lostWords(s seen) string {
	words := fmt.Sprintf("The campaign %q wanted the same moment and came first", s.Winner)
	switch s.By {
	case "priority":
		words += fmt.Sprintf(": its priority is %d, this one's %d", s.WinnerPriority, s.Priority)
	case "value":
		words += fmt.Sprintf(": of the same priority, its messages are worth %s, this one's %s", number(s.WinnerValue), number(s.Value))
	case "id":
		words += ": of the same priority and value, the smaller id does"
	case "earlier":
		words += ", while this one waited"
	}
	return words + "."
}

// budgetNo says what of a campaign's budget, or of its rate, is used up.
func budgetNo(reason engage.Reason, s seen) string {
	of := map[string]string{
		"messages": plural(int(s.Total), "message") + " in all", "per_day": plural(int(s.Total), "message") + " per day",
		"amount": number(s.Total/10_000) + " in money", "per_minute": plural(int(s.Total), "message") + " per minute",
	}[s.Of]
	switch {
	case reason == engage.ReasonCapAsks:
		return "It is asked whether the campaign, which has " + of + ", has something left."
	case s.Waiting > 0:
		return "Too many moments of the person were waiting already for what the campaign has left."
	case s.NoAnswer:
		return "Nobody answered in time whether the campaign, which has " + of + ", has something left."
	}
	return "The campaign has " + of + ", and nothing of that is left to send this."
}
