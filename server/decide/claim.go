package decide

import (
	"github.com/footfall-engage/footfall/server/engage"
)

// claimed notes what an app says of its user without proof, on a profile of whom
// nothing else says who it is. A person who is known is not even looked at twice:
// nothing about them changes, their history included.
func (m Machine) claimed(tx engage.Tx, e engage.Entry) error {
	s, err := m.person(tx, e)
	if err != nil {
		return err
	}
	if s.p.Named() {
		return nil
	}
	var id engage.Identify
	if err := read(e, &id); err != nil {
		return err
	}
	s.keepPerson()
	s.p.Seen(e.At)
	s.claim(id.Identifier)
	return s.timeline(id.Install, id)
}

// claim notes whom somebody says to be, and where that is noted.
func (s *step) claim(identifier string) {
	if was := s.p.Claimed; s.p.Claim(identifier) && s.p.Claimed != was {
		s.noteClaim(identifier)
	}
}

// noteClaim has whoever erases the person find this profile. A claim that repeats costs
// nothing.
func (s *step) noteClaim(identifier string) {
	if identifier == "" {
		return
	}
	c := engage.Claim{V: 1, Of: engage.PersonID(s.ws, identifier), Profile: s.p.ID, AtUS: s.e.At.UnixMicro()}
	s.tx.Record(engage.Claims, s.ws, c.ID(), c)
}

// disclaim forgets that this profile was said to be somebody who was erased. It leaves
// no trace in the history, and none in what is kept of the day before.
func (m Machine) disclaim(tx engage.Tx, e engage.Entry) error {
	var d engage.Disclaim
	if err := read(e, &d); err != nil {
		return err
	}
	s, err := m.person(tx, e)
	if err != nil {
		return err
	}
	if s.p.Disclaim(d) {
		s.dated()
	}
	return nil
}
