package deliver

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// Budgets keeps over a restart what devices have been sent, so that their limits do not
// begin anew with the process. app implements it with the store. It is safe for
// concurrent use.
type Budgets interface {
	// Load calls f for every block that was saved and has not expired; f's error ends it
	// and is returned.
	Load(ctx context.Context, f func(BudgetBlock) error) error
	// Save replaces blocks.
	Save(ctx context.Context, blocks []BudgetBlock) error
}

// BudgetBlock is what is kept of some devices of a credential.
type BudgetBlock struct {
	Name    string    // of at most 300 bytes, unless a credential's name is longer
	Body    []byte    // a JSON object with its format version in "v"
	Expires time.Time // when nothing of it is of use any more
}

const (
	// budgetBlocks of each credential: a device's changes write one of them.
	budgetBlocks = 64
	// budgetsEvery is how often changes are written, whatever their number. A crash
	// forgets what came after.
	budgetsEvery = 2 * time.Second
	budgetV1     = 1
)

// budgets is which devices of a credential are worth to be kept: by block.
type budgets struct {
	devices [budgetBlocks]map[string]struct{}
	changed [budgetBlocks]bool
}

// budgetBody is the body of a block: the times of a device's paces (minute, hour,
// collapsible, silent) and until when it is to be left alone, in Unix microseconds; 0:
// none.
type budgetBody struct {
	V       int                 `json:"v"`
	Devices map[string][5]int64 `json:"devices"` // by workspace and install
}

// worthKeeping reports whether a process that forgets the device could send it more
// than its limits: it was sent silent messages, or so many others that a restart's time
// does not make up for them. An ordinary campaign's push is not worth a write.
func (d *devices) worthKeeping(x *device, now time.Time) bool {
	const minute, hour = 15 * time.Second, 3 * time.Minute // an even pace's time for what is forgotten: a quarter, a twentieth
	return x.silent.After(now) || x.until.After(now) || x.minute.Sub(now) > minute || x.hour.Sub(now) > hour ||
		x.collaps.Sub(now) > d.collaps.every
}

// keep marks the device as changed, if it is worth it.
func (d *devices) keep(name string, x *device, now time.Time) {
	if !d.worthKeeping(x, now) {
		return
	}
	if d.budgets == nil {
		d.budgets = new(budgets)
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	n := h.Sum32() % budgetBlocks
	if d.budgets.devices[n] == nil {
		d.budgets.devices[n] = map[string]struct{}{}
	}
	d.budgets.devices[n][name] = struct{}{}
	d.budgets.changed[n] = true
}

// changedBudgets are the blocks that have changed since they were asked for last, and
// where that is marked.
func (d *Deliverer) changedBudgets() (out []BudgetBlock, marks []*bool, err error) {
	now := d.clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.gates {
		b := g.devices.budgets
		if b == nil {
			continue
		}
		for n, changed := range b.changed {
			if !changed {
				continue
			}
			b.changed[n] = false
			body, until := budgetBody{V: budgetV1, Devices: map[string][5]int64{}}, now
			for name := range b.devices[n] {
				x := g.devices.of[name]
				if x == nil || !g.devices.worthKeeping(x, now) {
					delete(b.devices[n], name)
					continue
				}
				var at [5]int64
				for i, t := range []time.Time{x.minute, x.hour, x.collaps, x.silent, x.until} {
					if t.After(now) {
						at[i] = t.UnixMicro()
					}
					if t.After(until) {
						until = t
					}
				}
				body.Devices[name] = at
			}
			raw, err := json.Marshal(body)
			if err != nil {
				return nil, nil, fmt.Errorf("encode budgets: %w", err)
			}
			out = append(out, BudgetBlock{Name: fmt.Sprintf("%s|%02d", g.name, n), Body: raw, Expires: until.Add(time.Second)})
			marks = append(marks, &b.changed[n])
		}
	}
	return out, marks, nil
}

// loadBudgets takes up what an earlier process has sent to devices.
func (d *Deliverer) loadBudgets(ctx context.Context) error {
	if d.o.Budgets == nil {
		return nil
	}
	now := d.clock.Now()
	return d.o.Budgets.Load(ctx, func(b BudgetBlock) error {
		var body budgetBody
		err := json.Unmarshal(b.Body, &body)
		gate, _, ok := strings.Cut(b.Name, "|")
		if err != nil || body.V != budgetV1 || !ok || !strings.HasPrefix(gate, lanePush) {
			// The devices begin anew: a limit of ours is no reason not to start.
			d.log.ErrorContext(ctx, "what devices have been sent cannot be read", "block", b.Name, "version", body.V, "error", err)
			return nil
		}
		g := d.gate(gate)
		d.mu.Lock()
		defer d.mu.Unlock()
		for name, at := range body.Devices {
			x := g.devices.get(name, now)
			for i, t := range []*time.Time{&x.minute, &x.hour, &x.collaps, &x.silent, &x.until} {
				if at[i] != 0 {
					*t = time.UnixMicro(at[i]).UTC()
				}
			}
			g.devices.keep(name, x, now) // or the next change of its block would forget it
		}
		return nil
	})
}

// keepBudgets saves what changes until ctx ends. The channel is closed when it has
// ended.
func (d *Deliverer) keepBudgets(ctx context.Context) <-chan struct{} {
	ended := make(chan struct{})
	if d.o.Budgets == nil {
		close(ended)
		return ended
	}
	go func() {
		defer close(ended)
		for {
			at, stop := d.clock.At(d.clock.Now().Add(budgetsEvery))
			select {
			case <-at:
				stop()
			case <-ctx.Done():
				stop()
				return
			}
			d.saveBudgets(ctx)
		}
	}()
	return ended
}

// saveBudgets writes what has changed. An error is logged: the limits hold in memory,
// and the next save writes it again.
func (d *Deliverer) saveBudgets(ctx context.Context) {
	if d.o.Budgets == nil || d.dead() != nil {
		return
	}
	blocks, marks, err := d.changedBudgets()
	if err == nil && len(blocks) > 0 {
		err = d.o.Budgets.Save(ctx, blocks)
	}
	if err == nil {
		return
	}
	d.mu.Lock()
	for _, m := range marks {
		*m = true
	}
	d.mu.Unlock()
	if ctx.Err() == nil {
		d.log.WarnContext(ctx, "what devices have been sent is not saved for now", "error", err)
	}
}

// finallySaveBudgets is the last save, when nothing is under way any more.
func (d *Deliverer) finallySaveBudgets(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, d.o.Drain)
	defer cancel()
	d.saveBudgets(ctx)
}
