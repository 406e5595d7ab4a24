package schedule

import "context"

// Round does all that is due now.
func (s *Scheduler) Round(ctx context.Context) error {
	_, err := s.round(ctx)
	return err
}
