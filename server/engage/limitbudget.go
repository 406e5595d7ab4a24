package engage

import (
	"math"
	"time"
)

// Budget is what a campaign may send, or spend, in all: to all persons together. It is
// never exceeded, and possibly not used up by what is on its way between partitions. It is
// of who is treated: who is held out takes nothing of it. Nothing is given back when a
// message ends undelivered.
type Budget struct {
	Messages int64 `json:"messages,omitempty"` // in all; 0 means any number
	PerDay   int64 `json:"per_day,omitempty"`  // messages in a day of UTC; 0 means any number
	// Amount is money, in any currency, of which a message takes Cost; they come together.
	// Both count in steps of 1/10000.
	Amount float64 `json:"amount,omitempty"`
	Cost   float64 `json:"cost,omitempty"`
}

// Rate bounds how fast a campaign sends, to all persons together; what comes beyond is not
// sent.
type Rate struct {
	PerMinute int64 `json:"per_minute"` // messages in a minute of the clock
}

// MaxBudget bounds messages, and amounts of money.
const MaxBudget = 1_000_000_000

func (b *Budget) validate() error {
	switch {
	case b == nil:
		return nil
	case b.Messages < 0 || b.Messages > MaxBudget:
		return Errorf(Invalid, "messages", "must be 1 to %d, is %d", MaxBudget, b.Messages)
	case b.PerDay < 0 || b.PerDay > MaxBudget:
		return Errorf(Invalid, "per_day", "must be 1 to %d, is %d", MaxBudget, b.PerDay)
	case !(b.Amount >= 0 && b.Amount <= MaxBudget):
		return Errorf(Invalid, "amount", "must be above 0 and at most %d, is %v", MaxBudget, b.Amount)
	case (b.Amount > 0) != (b.Cost > 0) || !(b.Cost >= 0 && b.Cost <= b.Amount):
		return Errorf(Invalid, "cost", "must be above 0 and at most the amount, with which it comes, is %v", b.Cost)
	case b.Messages == 0 && b.PerDay == 0 && b.Amount == 0:
		return Errorf(Invalid, "messages", "a budget is of messages, of messages per_day, or an amount")
	}
	return nil
}

func (r *Rate) validate() error {
	if r != nil && (r.PerMinute < 1 || r.PerMinute > MaxBudget) {
		return Errorf(Invalid, "per_minute", "must be 1 to %d, is %d", MaxBudget, r.PerMinute)
	}
	return nil
}

// Shared is one limit of a campaign that spans people.
type Shared struct {
	ID    string // unique in a workspace
	Of    string // messages, per_day, amount, per_minute
	Terms LimitTerms
	N     int64 // units that a message takes
}

// Shared are the campaign's limits that span people.
func (c *Campaign) Shared() []Shared {
	var out []Shared
	add := func(kind, of string, total, n int64, every time.Duration) {
		if total > 0 {
			out = append(out, Shared{ID: kind + ":" + c.ID, Of: of, N: n, Terms: LimitTerms{Total: total, Version: c.Version, Every: every}})
		}
	}
	const steps = 10_000
	if b := c.Limits.Budget; b != nil {
		add("budget", "messages", b.Messages, 1, 0)
		add("daily", "per_day", b.PerDay, 1, 24*time.Hour)
		add("money", "amount", int64(math.Floor(b.Amount*steps+1e-6)), max(int64(math.Ceil(b.Cost*steps-1e-6)), 1), 0)
	}
	if r := c.Limits.Rate; r != nil {
		add("rate", "per_minute", r.PerMinute, 1, time.Minute)
	}
	return out
}
