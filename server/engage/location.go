package engage

import (
	"slices"

	"github.com/footfall-engage/footfall/geo"
)

// LocationPolicy is what a workspace makes of positions that may be lies. What is
// absent is as geo.DefaultDoubts has it: flagged.
type LocationPolicy struct {
	Mocked      geo.Policy `json:"mocked,omitempty"`        // of positions that a test provider made
	Speed       geo.Policy `json:"speed,omitempty"`         // of positions that nobody could have reached in time
	MaxSpeedMPS float64    `json:"max_speed_mps,omitempty"` // metres per second; 0 means the default
}

var policies = []geo.Policy{geo.AcceptDoubtful, geo.FlagDoubtful, geo.RefuseDoubtful}

// Validate checks the policies and the speed; an Error's field is relative to it.
func (p *LocationPolicy) Validate() error {
	switch {
	case p == nil:
		return nil
	case p.Mocked != "" && !slices.Contains(policies, p.Mocked):
		return Errorf(Invalid, "mocked", "must be one of %q, is %.40q", policies, p.Mocked)
	case p.Speed != "" && !slices.Contains(policies, p.Speed):
		return Errorf(Invalid, "speed", "must be one of %q, is %.40q", policies, p.Speed)
	case p.MaxSpeedMPS != 0 && !(p.MaxSpeedMPS >= 10 && p.MaxSpeedMPS <= 1000):
		return Errorf(Invalid, "max_speed_mps", "must be 10 to 1000, or absent, is %v", p.MaxSpeedMPS)
	}
	return nil
}

// Doubts are what the policy tells a tracker.
func (p *LocationPolicy) Doubts() geo.Doubts {
	d := geo.DefaultDoubts()
	if p == nil {
		return d
	}
	if p.Mocked != "" {
		d.Mocked = p.Mocked
	}
	if p.Speed != "" {
		d.Speed = p.Speed
	}
	if p.MaxSpeedMPS != 0 {
		d.MaxSpeedMPS = p.MaxSpeedMPS
		d.TeleportMPS = max(d.TeleportMPS, p.MaxSpeedMPS)
	}
	return d
}
