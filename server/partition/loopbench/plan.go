package loopbench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
)

// now is the machine's clock.
func now() time.Time { return time.Now() } //nolint:forbidigo // metrics of latency

// A stage of an item that triggers.
type stage int

const (
	applied   stage = iota // "in" has applied it
	handedOn               // its output is committed and on its way to "act"
	reapplied              // "act" has applied it
	sent                   // its send is committed and on its way to deliver
	attempted              // its attempt is committed
	posted                 // its POST has arrived
	stages
)

func (s stage) String() string {
	return [...]string{"in_applied", "in_committed", "act_applied", "act_committed", "attempt_committed", "posted"}[s]
}

// plan is what is offered and what has arrived of it. Item i is due i/Rate after
// the beginning.
type plan struct {
	items, warm  int
	rate         int
	threshold    uint64 // of a hash of i: below it the item triggers
	triggering   int
	keys, people []string

	begin   time.Time
	late    [stages][]int64 // by item: nanoseconds from due to the end of the stage; negative for none
	acks    []int64         // by item: likewise to the answer to its append
	arrived atomic.Int64    // POSTs of different items
	repeats atomic.Int64    // POSTs of items that had arrived
	durable atomic.Int64    // items whose append was answered
	failed  atomic.Pointer[error]
}

func newPlan(o *Options) *plan {
	p := &plan{
		items: o.Items, rate: o.Rate, warm: min(int(o.WarmUp.Seconds()*float64(o.Rate)), o.Items/2),
		threshold: uint64(o.TriggerShare * float64(1<<32)),
	}
	for i := range p.late {
		p.late[i] = make([]int64, o.Items)
	}
	p.acks = make([]int64, o.Items)
	for i := range o.Installs {
		id := strconv.Itoa(100_000_000 + i)
		p.keys = append(p.keys, engage.InstallKey("shop", id))
		p.people = append(p.people, engage.ProfileKey("shop", id))
	}
	for i := range o.Items {
		if p.chosen(uint64(i)) {
			p.triggering++
		}
	}
	p.reset()
	return p
}

func (p *plan) reset() {
	for _, late := range append(p.late[:], p.acks) {
		for i := range late {
			late[i] = -1
		}
	}
	p.arrived.Store(0)
	p.repeats.Store(0)
	p.durable.Store(0)
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (p *plan) chosen(i uint64) bool { return mix(i)&(1<<32-1) < p.threshold }

func (p *plan) triggers(body []byte) bool { return p.chosen(binary.LittleEndian.Uint64(body)) }

// person is the key of whoever an item is about.
func (p *plan) person(body []byte) string {
	return p.people[mix(binary.LittleEndian.Uint64(body))>>32%uint64(len(p.people))]
}

func (p *plan) entry(i int, body []byte) engage.Entry {
	binary.LittleEndian.PutUint64(body, uint64(i))
	return engage.Entry{Kind: engage.KindItem, Key: p.keys[mix(uint64(i))>>32%uint64(len(p.keys))], Body: body}
}

func (p *plan) due(i int) time.Duration {
	return time.Duration(int64(i) * int64(time.Second) / int64(p.rate))
}

// nap is the least that the generator sleeps: what a fast schedule would wake it
// for more often goes together.
const nap = 100 * time.Microsecond

// offer appends every item when it is due, and warm is called when the timed ones
// begin.
func (p *plan) offer(ctx context.Context, rate int, take func(engage.Entry) error, warm func()) (err error) {
	bell, err := newAlarm()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bell.close()) }()
	p.begin = now()
	var bodies []byte
	for i := range p.items {
		if i == p.warm && warm != nil {
			warm()
		}
		for wait := p.due(i) - now().Sub(p.begin); wait > 0; wait = p.due(i) - now().Sub(p.begin) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := bell.sleep(max(wait, nap)); err != nil {
				return err
			}
		}
		if len(bodies) < itemBytes {
			bodies = make([]byte, 256*itemBytes)
		}
		e := p.entry(i, bodies[:itemBytes:itemBytes])
		bodies = bodies[itemBytes:]
		err := take(e)
		for ; errors.Is(err, eventlog.ErrBusy); err = take(e) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := bell.sleep(time.Millisecond); err != nil { // the schedule goes on
				return err
			}
		}
		if err != nil {
			return fmt.Errorf("offer item %d: %w", i, err)
		}
	}
	return nil
}

// landed hears of every append: a phone would be acknowledged now.
func (p *plan) landed(body []byte, err error) {
	if err != nil {
		p.failed.CompareAndSwap(nil, &err)
	}
	p.note(p.acks, body)
	p.durable.Add(1)
}

// arrive notes a POST.
func (p *plan) arrive(body []byte) error {
	if len(body) != itemBytes {
		return fmt.Errorf("a POST of %d bytes", len(body))
	}
	i := binary.LittleEndian.Uint64(body)
	if i >= uint64(p.items) {
		return fmt.Errorf("a POST of item %d", i)
	}
	if p.reached(posted, body) {
		p.arrived.Add(1)
	} else {
		p.repeats.Add(1)
	}
	return nil
}

// reached notes that an item has passed a stage, and reports whether it is the
// first time.
func (p *plan) reached(s stage, body []byte) bool { return p.note(p.late[s], body) }

func (p *plan) note(late []int64, body []byte) bool {
	i := binary.LittleEndian.Uint64(body)
	took := now().Sub(p.begin) - p.due(int(i))
	return atomic.CompareAndSwapInt64(&late[i], -1, max(int64(took), 0))
}

func (p *plan) allArrived() bool { return int(p.arrived.Load()) >= p.triggering }

// wait looks until the condition holds.
func (p *plan) wait(ctx context.Context, patience time.Duration, cond func() bool) error {
	//nolint:forbidigo // how often it is looked at decides nothing
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for end := now().Add(patience); !cond(); {
		switch err := p.failed.Load(); {
		case err != nil:
			return *err
		case ctx.Err() != nil:
			return ctx.Err()
		case now().After(end):
			return fmt.Errorf("%w: %d of %d POSTs arrived", ErrIncomplete, p.arrived.Load(), p.triggering)
		}
		<-look.C
	}
	return nil
}

// quantiles returns of what note noted of the timed items, in milliseconds.
func (p *plan) quantiles(late []int64, q ...float64) []float64 {
	var took []int64
	for i := p.warm; i < p.items; i++ {
		if v := atomic.LoadInt64(&late[i]); v >= 0 {
			took = append(took, v)
		}
	}
	slices.Sort(took)
	ms := make([]float64, len(q))
	for i := range q {
		if len(took) > 0 {
			ms[i] = float64(took[int(q[i]*float64(len(took)-1))]) / 1e6
		}
	}
	return ms
}

func (p *plan) result(o *Options) Result {
	r := Result{
		Rate: o.Rate, Durability: o.Durability, Mode: o.Mode, Partitions: o.Partitions, TriggerShare: o.TriggerShare,
		Items: p.items, Posts: int(p.arrived.Load()), Repeated: int(p.repeats.Load()),
	}
	for s := range stages {
		q := p.quantiles(p.late[s], 0.5, 0.95, 0.99, 1)
		r.Stages = append(r.Stages, Stage{s.String(), q[0], q[2]})
		r.P50MS, r.P95MS, r.P99MS, r.MaxMS = q[0], q[1], q[2], q[3] // the last: posted
	}
	q := p.quantiles(p.acks, 0.5, 0.99)
	r.AckP50MS, r.AckP99MS = q[0], q[1]
	return r
}
