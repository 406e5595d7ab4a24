package decide

import (
	"cmp"
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// precedes orders the campaigns that want one moment: by priority, then by the value that
// their makers expect of a message, then by id. What measure has learned of them is no
// input: it is of one partition, and a merge or another number of partitions would change
// who wins.
func precedes(a, b *campaign) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(b.Value, a.Value), strings.Compare(a.ID, b.ID))
}

// maxRivals is how many of those that it came before a winner's trace names.
const maxRivals = 5

// arbitrate lets one of the campaigns that want one moment have it, if none has
// had it before they woke.
func (s *step) arbitrate(passed []*attempt) error {
	if len(passed) == 0 {
		return nil
	}
	slices.SortStableFunc(passed, func(a, b *attempt) int { return precedes(a.c, b.c) })
	winner, before := passed[0].taken, (*campaign)(nil)
	for i, a := range passed {
		if winner != "" {
			a.saw("arbitration", engage.ReasonArbitration, s.lost(a.c, winner, before))
			if err := a.suppress(engage.ReasonArbitration); err != nil {
				return err
			}
			continue
		}
		a.pass("arbitration", s.won(a.c, len(passed), passed[i+1:]))
		rendered, err := a.render()
		if err != nil {
			a.saw("render", engage.ReasonRender, s.unwritten(err))
			if err := a.suppress(engage.ReasonRender); err != nil {
				return err
			}
			continue
		}
		a.pass("render", a.wrote(rendered))
		if err := a.decide(rendered); err != nil {
			return err
		}
		winner, before = a.c.ID, a.c
		for _, id := range s.waiting(func(w *Waiting) bool { return sameMoment(&w.Trigger, a.t) }) {
			w := s.p.Waiting[id]
			w.Taken = winner
			s.p.setWaiting(id, &w)
		}
	}
	return nil
}

// figures are what a campaign is judged by.
func (s *step) figures(c *campaign) *seen {
	saw := s.see().int("priority", int64(c.Priority))
	if c.Value > 0 {
		saw.number("value", c.Value)
	}
	return saw
}

// won is what the trace of a winner says: its figures, and those of who came next.
func (s *step) won(c *campaign, wanted int, next []*attempt) *seen {
	saw := s.figures(c).int("wanted_by", int64(wanted))
	if len(next) > 0 {
		var over [maxRivals]*seen
		n := min(len(next), maxRivals)
		for i, a := range next[:n] {
			over[i] = s.figures(a.c).text("campaign", a.c.ID)
		}
		saw.objects("over", over[:n])
	}
	return saw
}

// lost is what the trace of a loser says: who came first, by which figure. Of a winner of
// before it woke only the id is known.
func (s *step) lost(c *campaign, winner string, before *campaign) *seen {
	saw := s.see().text("winner", winner)
	if before == nil {
		return saw.text("by", "earlier")
	}
	saw.int("priority", int64(c.Priority)).int("winner_priority", int64(before.Priority))
	switch {
	case c.Priority != before.Priority:
		saw.text("by", "priority")
	case c.Value != before.Value:
		saw.text("by", "value").number("value", c.Value).number("winner_value", before.Value)
	default:
		saw.text("by", "id")
	}
	return saw
}

func sameMoment(a, b *engage.Trigger) bool {
	return a.Type == b.Type && a.Occasion == b.Occasion && a.Install == b.Install && a.Fence == b.Fence &&
		a.Transition == b.Transition && a.Event == b.Event && a.OccurredAt.Equal(b.OccurredAt)
}
