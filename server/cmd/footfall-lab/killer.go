package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Who can be killed.
const (
	killNATS   = "nats"
	killServer = "server"
)

// killing is the flag --kill: who is killed, in this order, again and again.
type killing []string

// String implements pflag.Value.
func (k *killing) String() string { return strings.Join(*k, ",") }

// Type implements pflag.Value.
func (*killing) Type() string { return "nats,server" }

// Set implements pflag.Value.
func (k *killing) Set(text string) error {
	*k = nil
	for who := range strings.SplitSeq(text, ",") {
		switch {
		case who != killNATS && who != killServer:
			return fmt.Errorf("%q: must be %s, %s, or both with a comma between", who, killNATS, killServer)
		case slices.Contains(*k, who):
			return fmt.Errorf("%s is named twice", who)
		}
		*k = append(*k, who)
	}
	return nil
}

func (k killing) has(who string) bool { return slices.Contains(k, who) }

// How long everybody lives before the next one dies, and how long that one is down.
const (
	livesLeast, livesMost = 700 * time.Millisecond, 2500 * time.Millisecond
	downMost              = 1200 * time.Millisecond
)

// killer kills processes in turn, kill -9, and starts each again before the next.
type killer struct {
	victims []*process
	random  *rand.Rand

	mu    sync.Mutex
	kills map[string]int // by the process's name
}

func newKiller(seed uint64, victims ...*process) *killer {
	return &killer{victims: victims, random: rand.New(rand.NewPCG(seed, 0)), kills: map[string]int{}}
}

// run kills until ctx ends; all are up then. The error is that one did not come up
// again, or died by itself.
func (k *killer) run(ctx context.Context) error {
	for turn := 0; ; turn++ {
		if !sleep(ctx, k.between(livesLeast, livesMost)) {
			return k.deaths()
		}
		if err := k.deaths(); err != nil {
			return err
		}
		v := k.victims[turn%len(k.victims)]
		k.kill(v)
		_ = sleep(ctx, k.between(0, downMost)) // it is started in any case
		if _, err := v.start(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
}

// kill kills one and counts it.
func (k *killer) kill(v *process) {
	v.kill()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kills[v.name]++
}

// counts are the kills so far.
func (k *killer) counts() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.kills)
}

func (k *killer) deaths() error {
	var errs []error
	for _, v := range k.victims {
		if v.died() {
			errs = append(errs, fmt.Errorf("%s ended by itself", v.name))
		}
	}
	return errors.Join(errs...)
}

func (k *killer) between(least, most time.Duration) time.Duration {
	return least + time.Duration(k.random.Int64N(int64(most-least)))
}

// sleep waits and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
