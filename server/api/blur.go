package api

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/footfall-engage/footfall/server/engage"
)

// withheld of what was recorded, once the person does not agree to precise location
// any more: the distances to two places are a position.
var withheld = []string{"distance_m", "accuracy_m"}

// blurs tells of persons whether what was recorded of their positions is to be
// withheld: those who do not agree to precise location now, or of whom that is not
// known. It asks once for each.
func (s *server) blurs(ctx context.Context, who caller) func(profile string) bool {
	known := map[string]bool{}
	return func(profile string) bool {
		blur, asked := known[profile]
		if !asked {
			blur = true
			if raw, err := s.o.People.Profile(ctx, who.workspace, profile); err == nil {
				if p, err := viewPerson(raw); err == nil {
					blur = !p.Consents[engage.ConsentLocationPrecise].Granted
				}
			}
			known[profile] = blur
		}
		return blur
	}
}

// blurDecision takes positions out of a copy of a decision.
func blurDecision(d engage.Decision) engage.Decision {
	d.Trigger.DistanceM, d.Trigger.AccuracyM = 0, 0
	gates := make([]engage.GateResult, len(d.Gates))
	for i, g := range d.Gates {
		saw := g.Saw.Values()
		for _, key := range withheld {
			delete(saw, key)
			delete(saw, "trigger."+key)
		}
		if g.Saw = engage.SawOf(saw); bytes.Contains(g.Saw, []byte("distance_m")) {
			g.Saw = engage.SawOf(map[string]any{"withheld": true}) // a rule about the distance, with what it was
		}
		gates[i] = g
	}
	d.Gates = gates
	return d
}

// blurEntry takes positions out of a copy of a timeline's entry.
func blurEntry(e engage.TimelineEntry) engage.TimelineEntry {
	var members map[string]json.RawMessage
	if e.Kind != engage.KindTrigger || json.Unmarshal(e.Data, &members) != nil {
		return e
	}
	for _, key := range withheld {
		delete(members, key)
	}
	if b, err := json.Marshal(members); err == nil {
		e.Data = b
	}
	return e
}
