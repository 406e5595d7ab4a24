package partition

import (
	"testing"
	"time"
)

func TestManyStatesAreSavedMoreRarely(t *testing.T) {
	p := &Partition{o: Options{CheckpointEvery: 500 * time.Millisecond}}
	for saves, want := range map[int]time.Duration{
		0: 500 * time.Millisecond, 1: 502 * time.Millisecond, 100: 700 * time.Millisecond,
		1000: 2500 * time.Millisecond, 50_000: 2500 * time.Millisecond,
	} {
		if p.saves = saves; p.saveAfter() != want {
			t.Errorf("after a save of %d the next comes in %v, want %v", saves, p.saveAfter(), want)
		}
	}
}
