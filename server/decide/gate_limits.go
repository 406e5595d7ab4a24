package decide

import (
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// policy that holds for the campaign; nil: none does.
func (a *attempt) policy() *policy {
	p := a.s.config.limits
	if p == nil || a.c.Limits.IgnoreGlobal && p.MayIgnore {
		return nil
	}
	return p
}

func (a *attempt) quiet() (engage.Reason, map[string]any, error) {
	q := a.c.Limits.Quiet
	if p := a.policy(); q == nil && p != nil {
		q = p.Quiet
	}
	if q == nil {
		return "", nil, nil
	}
	local := a.s.e.At.In(a.m.home())
	end, quiet := quietUntil(*q, local)
	if !quiet {
		return "", nil, nil
	}
	saw := map[string]any{"local_time": local.Format("15:04"), "zone": local.Location().String(), "until": end.UTC()}
	if q.Then == engage.QuietDrop {
		return engage.ReasonQuietDropped, saw, nil
	}
	if end.After(a.at.Add(a.c.Limits.Expire())) {
		return engage.ReasonQuietExpired, saw, nil // its time is over before they are
	}
	a.until = end
	return engage.ReasonQuiet, saw, errWaits
}

// cap asks what the person has had, and then the campaign's budget and rate.
func (a *attempt) cap() (engage.Reason, *seen, error) {
	reason, saw, err := a.caps()
	if reason != "" || err != nil {
		return reason, saw, err
	}
	return a.budget(saw)
}

// caps asks the campaign's own caps, and then those of the workspace, the nearest first:
// the gap, all messages, tags, channels, attention.
func (a *attempt) caps() (engage.Reason, *seen, error) {
	var saw *seen
	for _, c := range a.c.caps {
		n, room := spentOf(a.s.p.Spent[a.c.ID], a.begins(c), c.Max)
		if n >= c.Max {
			return engage.ReasonCap, a.sawCap(c, n, room), nil
		}
		if saw == nil {
			saw = a.sawCap(c, n, 0)
		}
	}
	p := a.policy()
	if p == nil {
		return "", saw, nil
	}
	if saw == nil {
		saw = a.s.see()
	}
	if reason, no := a.gap(p); reason != "" {
		return reason, no, nil
	}
	var shared []*seen
	for _, c := range p.Caps {
		if c.Channel != "" || c.Tag != "" && !slices.Contains(a.c.Tags, c.Tag) {
			continue
		}
		n, room := a.s.p.spent(a.begins(c.Cap()), c.Max, func(x *Spend) bool { return c.Tag == "" || slices.Contains(x.Tags, c.Tag) })
		over := n >= c.Max
		one := a.sawCap(c.Cap(), n, when(over, room))
		reason := engage.ReasonCapGlobal
		if c.Tag != "" {
			one.text("tag", c.Tag)
			reason = engage.ReasonCapTag
		}
		if over {
			return reason, one, nil
		}
		shared = append(shared, one)
	}
	if reason, no := a.closeChannels(p, &shared); reason != "" {
		return reason, no, nil
	}
	if len(shared) > 0 {
		saw.objects("shared", shared)
	}
	if p.Attention == nil {
		return "", saw, nil
	}
	reason, one := a.attention(p)
	if reason != "" {
		return reason, one, nil
	}
	return "", saw.object("attention", one), nil
}

func when(is bool, at int64) int64 {
	if is {
		return at
	}
	return 0
}

// begins is the time, in Unix nanoseconds, after which a message counts for a cap.
func (a *attempt) begins(c engage.Cap) int64 {
	if c.Calendar == "" {
		return a.s.e.At.Add(-time.Duration(c.WindowS) * time.Second).UnixNano()
	}
	from, _ := period(c.Calendar, a.s.e.At.In(a.m.home()))
	return from.UnixNano() - 1
}

// sawCap is what a cap was seen to be; room is the time of the message that has to leave
// its window before there is room, 0 if there is.
func (a *attempt) sawCap(c engage.Cap, n int, room int64) *seen {
	saw := a.s.see().int("count", int64(n)).int("cap", int64(c.Max))
	if c.Calendar != "" {
		saw.text("calendar", string(c.Calendar)).text("zone", a.m.home().String())
	} else {
		saw.int("window_s", int64(c.WindowS))
	}
	switch {
	case room == 0:
	case c.Calendar != "":
		_, next := period(c.Calendar, a.s.e.At.In(a.m.home()))
		saw.time("free_at", next.UTC())
	default:
		saw.time("free_at", time.Unix(0, room).UTC().Add(time.Duration(c.WindowS)*time.Second))
	}
	return saw
}

// spentOf is Person.spent of a list of times.
func spentOf(times []time.Time, after int64, most int) (n int, room int64) {
	for _, t := range slices.Backward(times) {
		if at := t.UnixNano(); at > after {
			if n++; n == most {
				room = at
			}
		}
	}
	return n, room
}

func (a *attempt) gap(p *policy) (engage.Reason, *seen) {
	last := a.s.p.lastSpend()
	if p.GapS == 0 || last == 0 {
		return "", nil
	}
	at := time.Unix(0, last).UTC()
	free := at.Add(time.Duration(p.GapS) * time.Second)
	if !a.s.e.At.Before(free) {
		return "", nil
	}
	return engage.ReasonCapGap, a.s.see().int("gap_s", int64(p.GapS)).time("last_at", at).time("free_at", free)
}

// closeChannels closes the channels whose caps are reached. It says no if an arm has no
// way left: every arm must be able to go.
func (a *attempt) closeChannels(p *policy, shared *[]*seen) (engage.Reason, *seen) {
	for _, c := range p.Caps {
		bit := channelBit(c.Channel)
		if bit == 0 || a.c.allowed&bit == 0 {
			continue
		}
		n, room := a.s.p.spent(a.begins(c.Cap()), c.Max, func(x *Spend) bool { return x.Channels&bit != 0 })
		over := n >= c.Max
		one := a.sawCap(c.Cap(), n, when(over, room))
		one.text("channel", string(c.Channel))
		*shared = append(*shared, one)
		if !over {
			continue
		}
		one.bool("closed", true)
		a.closed |= bit
		for i := range a.c.arms {
			if !a.hasWay(&a.c.arms[i]) {
				return engage.ReasonCapChannel, one
			}
		}
	}
	return "", nil
}

// hasWay reports whether an arm has a way to the person by the channels that are open.
func (a *attempt) hasWay(x *arm) bool {
	left := channelsOf(x.allowed) &^ a.closed
	switch {
	case left == 0, x.Message.InApp.Held() && left&channelBit(engage.InApp) == 0:
		return false
	case left == channelBit(engage.Push):
		return a.pushable()
	}
	return true
}

func (a *attempt) attention(p *policy) (engage.Reason, *seen) {
	window, cost := p.Attention.Window(), a.c.Limits.AttentionPoints()
	n, room := a.s.p.points(a.s.e.At.Add(-window).UnixNano(), cost, p.Attention.Points)
	saw := a.s.see().int("spent", int64(n)).int("cost", int64(cost)).int("points", int64(p.Attention.Points)).number("window_s", window.Seconds())
	if n+cost <= p.Attention.Points || cost == 0 {
		return "", saw
	}
	if room != 0 && cost <= p.Attention.Points { // else it never fits
		saw.time("free_at", time.Unix(0, room).UTC().Add(window))
	}
	return engage.ReasonCapAttention, saw
}

// spend takes the decision's share of the person's limits.
func (a *attempt) spend() {
	s, l := a.s, a.c.Limits
	now := s.e.At
	if len(a.c.caps) > 0 {
		s.p.Spent = replaced(s.p.Spent, a.c.ID, a.spentWith(now))
	}
	if a.c.Class != engage.Marketing {
		return
	}
	s.spend(Spend{
		AtNS: now.UnixNano(), Campaign: a.c.ID, Tags: a.c.Tags, Channels: a.c.allowed &^ a.closed, Points: l.AttentionPoints(),
	})
}

// spentWith are the times of the campaign's decisions that its caps may count still, with
// one more. More of them than the highest cap say nothing.
func (a *attempt) spentWith(now time.Time) []time.Time {
	most, oldest := 0, now.UnixNano()
	for _, c := range a.c.caps {
		most, oldest = max(most, c.Max), min(oldest, a.begins(c))
	}
	kept := []time.Time{}
	for _, at := range a.s.p.Spent[a.c.ID] {
		if at.UnixNano() > oldest {
			kept = append(kept, at)
		}
	}
	kept = append(kept, now)
	return kept[max(len(kept)-most, 0):]
}
