//go:build !linux

package loopbench

import "time"

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }

// alarm sleeps as exactly as the runtime does.
type alarm struct{}

func newAlarm() (*alarm, error) { return &alarm{}, nil }

func (*alarm) sleep(d time.Duration) error {
	time.Sleep(d) //nolint:forbidigo // the schedule of a load, not a wait for a condition
	return nil
}

func (*alarm) close() error { return nil }
