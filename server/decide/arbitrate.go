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
			a.saw("arbitration", engage.ReasonArbitration, lost(a.c, winner, before))
			if err := a.suppress(engage.ReasonArbitration); err != nil {
				return err
			}
			continue
		}
		a.pass("arbitration", won(a.c, len(passed), passed[i+1:]))
		rendered, err := a.render()
		if err != nil {
			a.saw("render", engage.ReasonRender, unwritten(err))
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
		t := a.t
		for _, id := range s.waiting(func(w *Waiting) bool { return sameMoment(&w.Trigger, &t) }) {
			w := s.p.Waiting[id]
			w.Taken = winner
			s.p.setWaiting(id, &w)
		}
	}
	return nil
}

// figures are what a campaign is judged by.
func figures(c *campaign) map[string]any {
	saw := map[string]any{"priority": c.Priority}
	if c.Value > 0 {
		saw["value"] = c.Value
	}
	return saw
}

// won is what the trace of a winner says: its figures, and those of who came next.
func won(c *campaign, wanted int, next []*attempt) map[string]any {
	saw := figures(c)
	saw["wanted_by"] = wanted
	if len(next) > 0 {
		over := make([]map[string]any, 0, min(len(next), maxRivals))
		for _, a := range next[:min(len(next), maxRivals)] {
			one := figures(a.c)
			one["campaign"] = a.c.ID
			over = append(over, one)
		}
		saw["over"] = over
	}
	return saw
}

// lost is what the trace of a loser says: who came first, by which figure. Of a winner of
// before it woke only the id is known.
func lost(c *campaign, winner string, before *campaign) map[string]any {
	saw := map[string]any{"winner": winner}
	if before == nil {
		saw["by"] = "earlier"
		return saw
	}
	saw["priority"], saw["winner_priority"] = c.Priority, before.Priority
	switch {
	case c.Priority != before.Priority:
		saw["by"] = "priority"
	case c.Value != before.Value:
		saw["by"], saw["value"], saw["winner_value"] = "value", c.Value, before.Value
	default:
		saw["by"] = "id"
	}
	return saw
}

func sameMoment(a, b *engage.Trigger) bool {
	return a.Type == b.Type && a.Occasion == b.Occasion && a.Install == b.Install && a.Fence == b.Fence &&
		a.Transition == b.Transition && a.Event == b.Event && a.OccurredAt.Equal(b.OccurredAt)
}
