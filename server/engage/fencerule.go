package engage

import (
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// FenceRule is what a place or a geofence says of geo.Rule, whose fields explain
// each; times are in seconds. What is nil comes from the place's rule, then from
// geo.DefaultRule.
type FenceRule struct {
	MaxAccuracyM     *float64 `json:"max_accuracy_m,omitempty"`
	EnterAccuracyM   *float64 `json:"enter_accuracy_m,omitempty"`
	AssumedAccuracyM *float64 `json:"assumed_accuracy_m,omitempty"`
	FloorAccuracyM   *float64 `json:"floor_accuracy_m,omitempty"`
	SureFactor       *float64 `json:"sure_factor,omitempty"`
	ClearFactor      *float64 `json:"clear_factor,omitempty"`
	EnterConfirmS    *float64 `json:"enter_confirm_s,omitempty"`
	ExitConfirmS     *float64 `json:"exit_confirm_s,omitempty"`
	ConfirmWithinS   *float64 `json:"confirm_within_s,omitempty"`
	MaxGapS          *float64 `json:"max_gap_s,omitempty"`
	SilenceS         *float64 `json:"silence_s,omitempty"`
	WatchedSilenceS  *float64 `json:"watched_silence_s,omitempty"`
	BeaconLostS      *float64 `json:"beacon_lost_s,omitempty"`
}

// IsZero reports whether the rule says nothing.
func (r *FenceRule) IsZero() bool { return r == nil || *r == FenceRule{} }

// RuleOf is the rule of a geofence: what it says itself, else what the place says,
// else geo.DefaultRule. With nil it is the place's.
func (p *Place) RuleOf(f *Geofence) geo.Rule {
	rule := p.Rule.over(geo.DefaultRule())
	if f != nil {
		rule = f.Rule.over(rule)
	}
	return rule
}

// over is base but for what the rule says.
func (r *FenceRule) over(base geo.Rule) geo.Rule {
	if r == nil {
		return base
	}
	for _, f := range r.factors(&base) {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	for _, f := range r.times(&base) {
		if f.from != nil {
			// Beyond MaxRuleTime Validate refuses it: it must not overflow before.
			s := min(max(*f.from, -1), geo.MaxRuleTime.Seconds()+1)
			*f.to = time.Duration(s * float64(time.Second))
		}
	}
	return base
}

// said is a field of a FenceRule and where it goes.
type said[T any] struct {
	name string
	from *float64
	to   *T
}

func (r *FenceRule) factors(g *geo.Rule) []said[float64] {
	return []said[float64]{
		{"max_accuracy_m", r.MaxAccuracyM, &g.MaxAccuracyM},
		{"enter_accuracy_m", r.EnterAccuracyM, &g.EnterAccuracyM},
		{"assumed_accuracy_m", r.AssumedAccuracyM, &g.AssumedAccuracyM},
		{"floor_accuracy_m", r.FloorAccuracyM, &g.FloorAccuracyM},
		{"sure_factor", r.SureFactor, &g.SureFactor},
		{"clear_factor", r.ClearFactor, &g.ClearFactor},
	}
}

func (r *FenceRule) times(g *geo.Rule) []said[time.Duration] {
	return []said[time.Duration]{
		{"enter_confirm_s", r.EnterConfirmS, &g.EnterConfirm},
		{"exit_confirm_s", r.ExitConfirmS, &g.ExitConfirm},
		{"confirm_within_s", r.ConfirmWithinS, &g.ConfirmWithin},
		{"max_gap_s", r.MaxGapS, &g.MaxGap},
		{"silence_s", r.SilenceS, &g.Silence},
		{"watched_silence_s", r.WatchedSilenceS, &g.WatchedSilence},
		{"beacon_lost_s", r.BeaconLostS, &g.BeaconLost},
	}
}

// validate checks the rule that comes out of it over base. The field is relative
// to it.
func (r *FenceRule) validate(base geo.Rule) error {
	if r == nil {
		return nil
	}
	return FromGeo(r.over(base).Validate())
}
