//go:build !linux

package loopbench

import "time"

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }

func sleep(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the schedule of a load, not a wait for a condition
}
