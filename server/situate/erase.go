package situate

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/footfall-engage/footfall/server/engage"
)

// erase forgets an install whose person is erased, with the tokens that it has: the
// phone comes back, if it does, as one that nobody has heard of. One that is somebody
// else's by now forgets whose it was.
func (s *step) erase() error {
	var x engage.Erase
	if err := json.Unmarshal(s.e.Body, &x); err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	in := s.in
	if !slices.Contains(x.Profiles, in.Profile) {
		in.Before = slices.DeleteFunc(slices.Clone(in.Before), func(o Owner) bool { return slices.Contains(x.Profiles, o.Profile) })
		return nil
	}
	if err := s.forgetTokens(""); err != nil {
		return err
	}
	s.tx.ClearTimer(s.e.Key, presenceTimer)
	s.tx.ClearTimer(s.e.Key, tracksTimer)
	s.tx.Delete(s.e.Key)
	return nil
}
