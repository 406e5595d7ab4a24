package situate

import (
	"slices"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// maxOwners bounds the persons that an install remembers to have had.
const maxOwners = 16

// Owner is a person whose install it was.
type Owner struct {
	From    uint64                   `json:"from,omitempty"` // seq of the logout that made the profile; 0: it is the install's first
	Profile string                   `json:"profile"`
	Said    engage.ByPurpose[uint64] `json:"said,omitempty"` // seq of the newest answer to each purpose
}

// profileAt is whose an item of a seq is; empty when that is so long ago that it is
// not known any more.
func (in *Install) profileAt(seq uint64) string {
	if seq >= in.From {
		return in.Profile
	}
	if i := in.before(seq); i >= 0 {
		return in.Before[i].Profile
	}
	return ""
}

// before is which of the earlier owners had the install at a seq; -1 when none is
// remembered.
func (in *Install) before(seq uint64) int {
	i := len(in.Before) - 1
	for i >= 0 && seq < in.Before[i].From {
		i--
	}
	return i
}

// saidBefore notes an answer of an earlier owner and reports whether it is the newest
// of them.
func (in *Install) saidBefore(p engage.Purpose, seq uint64) bool {
	i := in.before(seq)
	if i < 0 {
		return false
	}
	if said, _ := in.Before[i].Said.Of(p); seq < said {
		return false
	}
	in.Before = slices.Clone(in.Before)
	in.Before[i].Said = in.Before[i].Said.With(p, seq)
	return true
}

// insert puts an owner among the earlier ones, and forgets the first if there are too
// many.
func (in *Install) insert(o Owner) {
	i := in.before(o.From) + 1
	in.Before = slices.Insert(slices.Clone(in.Before), i, o)
	if n := len(in.Before) - maxOwners; n > 0 {
		in.Before = in.Before[n:]
	}
}

// logout gives the install to a new profile from the item's seq on.
func (s *step) logout() error {
	in := s.in
	next := Owner{From: s.seq, Profile: engage.LogoutProfileID(s.ws, in.Install, s.seq)}
	if s.seq < in.From {
		in.insert(next) // it came after a later one: somebody came and went between them
		return nil
	}
	s.endBy(in.Tracker.End(s.e.At), engage.EndedByLogout)
	in.Fix, in.Coarse, in.Tracker = nil, 0, geo.Tracker{}
	if err := s.forward(engage.KindDeviceGone, engage.DeviceGone{Install: in.Install, Reason: "logout"}); err != nil {
		return err
	}
	// An answer above the logout's seq is the next person's already. A phone should
	// not send one before the logout's ack.
	early := engage.ByPurpose[engage.Consent]{}
	var said, had engage.ByPurpose[uint64]
	for p, seq := range in.Said.All() {
		if seq > s.seq {
			c, _ := in.Consents.Of(p)
			early, said = early.With(p, c), said.With(p, seq)
		} else {
			had = had.With(p, seq)
		}
	}
	in.insert(Owner{From: in.From, Profile: in.Profile, Said: had})
	in.From, in.Profile, s.profile = next.From, next.Profile, next.Profile
	in.Consents, in.Said, in.Since = early, said, nil
	if err := s.forwardDevice(); err != nil {
		return err
	}
	if len(early) == 0 {
		return nil
	}
	return s.forward(engage.KindConsent, early)
}
