package decide

import (
	"cmp"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Spend is what one marketing decision has taken of the person's limits: of those who
// are held out, too, and whatever becomes of the message. The limits of the workspace
// are counted from these, and so hold also for what was sent before there were any.
type Spend struct {
	AtNS     int64    `json:"at"` // log time of the decision, Unix nanoseconds
	Campaign string   `json:"campaign"`
	Tags     []string `json:"tags,omitempty"` // of the campaign then
	Channels channels `json:"channels"`       // by which the message was allowed to go
	Points   int      `json:"points"`         // of attention
}

// Lump is what is known of spends that were so many that they are not kept one by one:
// each counts as of the newest one's time, with every tag and by every channel. So a
// limit may end later than it had to, and never sooner.
type Lump struct {
	N      int   `json:"n"`
	Points int   `json:"points"`
	AtNS   int64 `json:"at"` // of the newest, Unix nanoseconds
}

const (
	// maxSpends is how many spends of a person are kept one by one.
	maxSpends = 200
	// leastHorizon is how long a spend is remembered at least, policy or not: a month of
	// the calendar, in any zone. A longer window of a policy keeps them longer, from when
	// it was adopted on.
	leastHorizon = 33 * 24 * time.Hour
	// mostHorizon is how long a spend is remembered at most.
	mostHorizon = engage.MaxWindowS * time.Second
)

// channels is a set of channels.
type channels uint8

func channelBit(c engage.Channel) channels {
	switch c {
	case engage.InApp:
		return 1
	case engage.Push:
		return 2
	case engage.Inbox:
		return 4
	}
	return 0
}

func channelsOf(cs []engage.Channel) channels {
	var out channels
	for _, c := range cs {
		out |= channelBit(c)
	}
	return out
}

// without are those of a list that are not of a set.
func (c channels) without(cs []engage.Channel) []engage.Channel {
	if c == 0 {
		return cs
	}
	return slices.DeleteFunc(slices.Clone(cs), func(ch engage.Channel) bool { return c&channelBit(ch) != 0 })
}

// policy is a workspace's LimitPolicy, compiled; nil: there is none.
type policy struct {
	*engage.LimitPolicy
	horizon time.Duration // how long its windows look back
}

func newPolicy(p *engage.LimitPolicy) *policy {
	if p == nil {
		return nil
	}
	out := &policy{LimitPolicy: p, horizon: time.Duration(p.GapS) * time.Second}
	for _, c := range p.Caps {
		out.horizon = max(out.horizon, time.Duration(c.WindowS)*time.Second)
	}
	if p.Attention != nil {
		out.horizon = max(out.horizon, p.Attention.Window())
	}
	return out
}

// capsOf are a campaign's own caps. One that an earlier build took may be too large for
// what a person's state holds, and for the arithmetic of time: it is cut.
func capsOf(l engage.Limits) []engage.Cap {
	out := slices.Clone(l.AllCaps())
	for i := range out {
		out[i].Max = min(out[i].Max, engage.MaxCap)
		out[i].WindowS = min(out[i].WindowS, 100*engage.MaxWindowS)
	}
	return out
}

// spent counts what was spent after a time, and tells the time of the most-th newest of
// them: when that one leaves the window, there is room again.
func (p *Person) spent(after int64, most int, of func(*Spend) bool) (n int, room int64) {
	for i := len(p.Spends) - 1; i >= 0; i-- {
		x := &p.Spends[i]
		if x.AtNS <= after {
			break
		}
		if of(x) {
			if n++; n == most {
				room = x.AtNS
			}
		}
	}
	if l := p.SpendsBefore; l.AtNS > after {
		if n < most && n+l.N >= most {
			room = l.AtNS
		}
		n += l.N
	}
	return n, room
}

// points are those of attention that were spent after a time, and the time of the spend
// that has to leave the window before so many more fit into a budget.
func (p *Person) points(after int64, more, budget int) (n int, room int64) {
	for i := len(p.Spends) - 1; i >= 0 && p.Spends[i].AtNS > after; i-- {
		if n += p.Spends[i].Points; n+more > budget && room == 0 {
			room = p.Spends[i].AtNS
		}
	}
	if l := p.SpendsBefore; l.AtNS > after {
		if n += l.Points; n+more > budget && room == 0 {
			room = l.AtNS
		}
	}
	return n, room
}

// lastSpend is the time of the newest; 0 when there was none.
func (p *Person) lastSpend() int64 {
	last := p.SpendsBefore.AtNS
	if n := len(p.Spends); n > 0 {
		last = max(last, p.Spends[n-1].AtNS)
	}
	return last
}

// spend notes what a decision takes, and forgets what no window reaches any more.
func (s *step) spend(x Spend) {
	s.p.addSpends(s.e.At, s.horizon(), x)
}

// horizon is how far back a spend may matter.
func (s *step) horizon() time.Duration {
	if p := s.config.limits; p != nil {
		return max(p.horizon, leastHorizon)
	}
	return leastHorizon
}

// addSpends keeps more spends, of which those within the horizon, and of these the
// newest one by one.
func (p *Person) addSpends(now time.Time, horizon time.Duration, more ...Spend) {
	all := make([]Spend, 0, len(p.Spends)+len(more))
	after := now.Add(-horizon).UnixNano()
	for _, list := range [...][]Spend{p.Spends, more} {
		for i := range list {
			if list[i].AtNS > after {
				all = append(all, list[i])
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Spend) int {
		return cmp.Or(cmp.Compare(a.AtNS, b.AtNS), cmp.Compare(a.Campaign, b.Campaign))
	})
	if p.SpendsBefore.AtNS <= after {
		p.SpendsBefore = Lump{}
	}
	if n := len(all) - maxSpends; n > 0 {
		for _, x := range all[:n] {
			p.SpendsBefore = p.SpendsBefore.and(Lump{N: 1, Points: x.Points, AtNS: x.AtNS})
		}
		all = slices.Clone(all[n:])
	}
	p.Spends = all
}

func (l Lump) and(x Lump) Lump {
	return Lump{N: l.N + x.N, Points: l.Points + x.Points, AtNS: max(l.AtNS, x.AtNS)}
}

// absorbSpends takes in what another profile of the person has spent: limits that both
// had used add up (DESIGN §6).
func (s *step) absorbSpends(q *Person) {
	if q.SpendsBefore.N > 0 {
		s.p.SpendsBefore = s.p.SpendsBefore.and(q.SpendsBefore)
	}
	if len(q.Spends) > 0 || s.p.SpendsBefore.N > 0 {
		s.p.addSpends(s.e.At, s.horizon(), q.Spends...)
	}
}

// forgetSpends drops what no window can reach.
func (p *Person) forgetSpends(now time.Time) {
	old := now.Add(-mostHorizon).UnixNano()
	if len(p.Spends) > 0 && p.Spends[0].AtNS <= old || p.SpendsBefore.N > 0 && p.SpendsBefore.AtNS <= old {
		p.addSpends(now, mostHorizon)
	}
}
