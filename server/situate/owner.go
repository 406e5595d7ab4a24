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
	User
}

// User is who has proven to be the person of an install, by the profile that the user id
// mints, and the seqs of the newest proofs, ascending. The zero User is nobody. It is
// replaced, never changed.
type User struct {
	Proved string   `json:"user,omitempty"`
	Proofs []uint64 `json:"user_proofs,omitempty"`
}

// maxProofs bounds User.Proofs: it is by how many a proof of another may be overtaken.
const maxProofs = 8

// again notes another proof.
func (u *User) again(user string, seq uint64) {
	i, found := slices.BinarySearch(u.Proofs, seq)
	if found {
		return
	}
	u.Proved, u.Proofs = user, slices.Insert(slices.Clone(u.Proofs), i, seq)
	u.Proofs = u.Proofs[max(len(u.Proofs)-maxProofs, 0):]
}

// Last is the seq of the newest proof, 0 for none.
func (u *User) Last() uint64 {
	if n := len(u.Proofs); n > 0 {
		return u.Proofs[n-1]
	}
	return 0
}

// split is the user until an item, and from the next proof behind it on.
func (u *User) split(seq uint64) (until, since User) {
	i, _ := slices.BinarySearch(u.Proofs, seq)
	if i > 0 {
		until = User{u.Proved, slices.Clone(u.Proofs[:i])}
	}
	if i < len(u.Proofs) {
		since = User{u.Proved, slices.Clone(u.Proofs[i:])}
	}
	return until, since
}

// proved notes that the item proves who the user is. Another one than before is a
// logout: from the item on the install is somebody else's. One that comes late, when a
// later item has proven the other already, gets a place of its own between them: what
// either has done since they proved it is never the other's.
func (s *step) proved(user string) error {
	in := s.in
	switch {
	case s.seq < in.From:
		if i := in.before(s.seq); i >= 0 {
			s.provedBefore(i, user)
		}
	case in.Proved == "" || in.Proved == user:
		in.again(user, s.seq)
	case s.seq > in.Last():
		if err := s.logout(); err != nil {
			return err
		}
		in.again(user, s.seq)
	default:
		until, since := in.split(s.seq)
		in.insert(Owner{From: in.From, Profile: in.Profile, Said: in.Said, User: until})
		s.between(user)
		in.From, in.User = since.Proofs[0], since
	}
	return nil
}

// provedBefore is proved for an earlier owner.
func (s *step) provedBefore(i int, user string) {
	in := s.in
	in.Before = slices.Clone(in.Before)
	o := &in.Before[i]
	if had := in.userOf(o.Profile); had == "" || had == user {
		o.again(user, s.seq)
		return
	}
	rest := *o
	o.User, rest.User = o.split(s.seq)
	if len(rest.Proofs) > 0 {
		rest.From = rest.Proofs[0]
		in.insert(rest)
	}
	s.between(user)
}

// userOf is who has proven to be a profile's person; it may be the install's at several
// times.
func (in *Install) userOf(profile string) string {
	if in.Profile == profile && in.Proved != "" {
		return in.Proved
	}
	for i := range in.Before {
		if o := &in.Before[i]; o.Profile == profile && o.Proved != "" {
			return o.Proved
		}
	}
	return ""
}

// between has the install be a new person's from the item on, until the next owner.
func (s *step) between(user string) {
	o := Owner{From: s.seq, Profile: engage.LogoutProfileID(s.ws, s.in.Install, s.seq), User: User{user, []uint64{s.seq}}}
	s.in.insert(o)
	s.profile = o.Profile
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
	in.Fix, in.Coarse, in.Tracker, in.Heard = nil, 0, geo.Tracker{}, nil
	in.leaveLive()
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
	in.insert(Owner{From: in.From, Profile: in.Profile, Said: had, User: in.User})
	in.From, in.Profile, s.profile = next.From, next.Profile, next.Profile
	in.User = User{}
	in.Consents, in.Said, in.Since = early, said, nil
	if err := s.forwardDevice(); err != nil {
		return err
	}
	if len(early) == 0 {
		return nil
	}
	return s.forward(engage.KindConsent, early)
}
