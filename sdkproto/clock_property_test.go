package sdkproto_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// handset is a phone whose clocks are what phones' clocks are: its wall clock is off
// and is set forward and back, its monotonic clock begins anew with every boot.
type handset struct {
	r      *rand.Rand
	now    time.Duration // true time since the epoch
	skew   time.Duration // of the wall clock
	booted time.Duration
	boot   int
}

// moment is what a phone knows of a moment, and what is so.
type moment struct {
	at   time.Duration // true
	skew time.Duration
	boot string
	wall int64
	mono int64
}

// live lets true time pass, and something happen to the clocks.
func (p *handset) live() {
	p.now += time.Duration(p.r.Int64N(int64(6 * time.Hour)))
	switch p.r.IntN(8) {
	case 0: // reboot
		p.boot++
		p.booted = p.now - time.Duration(p.r.Int64N(int64(time.Minute)))
	case 1: // the person, or the network, sets the clock
		p.skew = time.Duration(p.r.Int64N(int64(4*time.Hour))) - 2*time.Hour
	case 2: // a little
		p.skew += time.Duration(p.r.Int64N(int64(time.Minute))) - 30*time.Second
	}
}

func (p *handset) moment() moment {
	return moment{
		at: p.now, skew: p.skew, boot: fmt.Sprint("boot-", p.boot),
		wall: (p.now + p.skew).Milliseconds(), mono: (p.now - p.booted).Milliseconds() + 1,
	}
}

// Whatever happens to a phone's clocks between an item and its batch, the corrected
// time is off by no more than the README says: the time on the wire, and after a
// reboot what the wall clock was changed by in between; and it is never in the future.
func TestCorrectedTimesKeepTheirBounds(t *testing.T) {
	const epoch = 1_795_262_400_000
	hows := map[sdkproto.How]int{}
	for seed := range uint64(300) {
		p := &handset{r: rand.New(rand.NewPCG(seed, 5)), now: epoch * time.Millisecond}
		p.booted = p.now - time.Hour
		for range 10 {
			item := p.moment()
			for range p.r.IntN(5) {
				p.live()
			}
			sent := p.moment()
			wire := time.Duration(p.r.Int64N(int64(10 * time.Second)))
			received := time.UnixMilli(0).Add(sent.at + wire).UTC()
			at, how := sdkproto.CorrectedTime(
				&sdkpb.Item{OccurredMs: item.wall, MonoMs: item.mono, BootId: item.boot},
				&sdkpb.Batch{SentMs: sent.wall, SentMonoMs: sent.mono, BootId: sent.boot}, received)
			hows[how]++
			off := at.Sub(time.UnixMilli(0).Add(item.at))
			const round = 2 * time.Millisecond
			changed := sent.skew - item.skew
			switch {
			case at.After(received):
				t.Fatalf("seed %d: %v after it was received", seed, at.Sub(received))
			case item.boot == sent.boot:
				if how != sdkproto.HowMono || off < wire-round || off > wire+round {
					t.Fatalf("seed %d: same boot: by %s, off by %v, the wire took %v", seed, how, off, wire)
				}
			case how == sdkproto.HowSent:
				if d := off - (wire - changed); d < -round || d > round {
					t.Fatalf("seed %d: rebooted: off by %v, the wire took %v, the clock was changed by %v", seed, off, wire, changed)
				}
			case how == sdkproto.HowClamped, how == sdkproto.HowSkewed:
				ahead := -(sent.at - item.at) - changed // of the age, which the clock says is negative
				if !at.Equal(received) || ahead < -round || (how == sdkproto.HowSkewed) != (ahead.Truncate(time.Millisecond) > sdkproto.MaxSkew) && ahead.Round(time.Second) != sdkproto.MaxSkew {
					t.Fatalf("seed %d: by %s, ahead by %v, at %v", seed, how, ahead, at.Sub(received))
				}
			default:
				t.Fatalf("seed %d: by %s", seed, how)
			}
		}
	}
	for _, how := range []sdkproto.How{sdkproto.HowMono, sdkproto.HowSent, sdkproto.HowClamped, sdkproto.HowSkewed} {
		if hows[how] == 0 {
			t.Errorf("no item was corrected by %s: %v", how, hows)
		}
	}
}

// The items of one batch keep their order where they are of one boot, and those of
// several batches where no clock was changed: what was later is not corrected to be
// earlier by more than the wire's times differ.
func TestCorrectedTimesKeepTheOrderOfABoot(t *testing.T) {
	for seed := range uint64(200) {
		p := &handset{r: rand.New(rand.NewPCG(seed, 6)), now: 1_795_262_400_000 * time.Millisecond}
		p.booted = p.now - time.Hour
		var items []moment
		for range 20 {
			items = append(items, p.moment())
			p.live()
		}
		sent := p.moment()
		received := time.UnixMilli(0).Add(sent.at).UTC()
		batch := &sdkpb.Batch{SentMs: sent.wall, SentMonoMs: sent.mono, BootId: sent.boot}
		var last time.Time
		for i, m := range items {
			at, how := sdkproto.CorrectedTime(&sdkpb.Item{OccurredMs: m.wall, MonoMs: m.mono, BootId: m.boot}, batch, received)
			if m.boot != sent.boot {
				continue
			}
			if how != sdkproto.HowMono || at.Before(last) {
				t.Fatalf("seed %d: item %d by %s at %v, before %v", seed, i, how, at, last)
			}
			last = at
		}
	}
}
