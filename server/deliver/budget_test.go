package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/engage"
)

// kept is a store of budgets in memory.
type kept struct {
	mu     sync.Mutex
	w      *world
	blocks map[string]deliver.BudgetBlock
	saves  int // blocks written
	broken bool
	dying  bool // the next thing that is done is the last
}

func (k *kept) Load(_ context.Context, f func(deliver.BudgetBlock) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range k.blocks {
		if b.Expires.After(k.w.clock.Now()) {
			if err := f(b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *kept) Save(_ context.Context, blocks []deliver.BudgetBlock) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken {
		return errors.New("the disk is full")
	}
	for _, b := range blocks {
		k.blocks[b.Name] = b
		k.saves++
	}
	return nil
}

func keeping(w *world) *kept {
	k := &kept{w: w, blocks: map[string]deliver.BudgetBlock{}}
	w.budgets = k
	w.fault = func(string) error {
		if k.dying {
			return errors.New("the power is cut")
		}
		return nil
	}
	return k
}

// crash ends the deliverer as a death of the process would.
func (k *kept) crash() {
	k.dying = true
	if err := k.w.d.Accept(k.w.Context(), []engage.Send{send("last", phone("z"))}); err == nil {
		k.w.Error("it lives on")
	}
	if err := k.w.stop(); err == nil {
		k.w.Error("it stopped as if nothing were")
	}
	k.dying = false
}

// quiet is a silent message to a device that is of use for so long.
func quiet(w *world, id, install string, lasts time.Duration) engage.Send {
	s := send(id, phone(install))
	s.Push = &engage.PushContent{Silent: true}
	s.ExpiresAt = w.clock.Now().Add(lasts)
	return s
}

func TestWhatADeviceWasSentSurvivesARestart(t *testing.T) {
	for _, tt := range []struct {
		name string
		ends func(w *world, k *kept)
		lost bool // what came last
	}{
		{"a stop", func(w *world, _ *kept) { w.end() }, false},
		{"a crash, two seconds later", func(w *world, k *kept) {
			w.pass(2 * time.Second)
			k.crash()
		}, false},
		{"a crash at once", func(_ *world, k *kept) { k.crash() }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				k := keeping(w)
				w.limits.SilentPerHour = 3
				w.start()
				for i := range 3 {
					w.accept(quiet(w, fmt.Sprintf("s%d", i), "a", time.Hour))
				}
				tt.ends(w, k)
				w.start()
				w.accept(quiet(w, "fourth", "a", 19*time.Minute), quiet(w, "other", "b", 19*time.Minute))
				list := w.told.list()
				slices.Sort(list[len(list)-2:])
				is := "fourth inboxed inbox silent_budget 0"
				if tt.lost {
					is = "fourth accepted fcm a 1"
				}
				w.want("told", list[len(list)-2:], []string{is, "other accepted fcm b 1"})
				w.pass(20 * time.Minute)
				w.end()
				w.start() // and what is over is forgotten
				w.accept(quiet(w, "next", "a", 19*time.Minute))
				list = w.told.list()
				w.want("when there is room again", list[len(list)-1], "next accepted fcm a 1")
				w.end()
			})
		})
	}
}

func TestOnlyWhatMattersIsSaved(t *testing.T) {
	bubble(t, func(w *world) {
		k := keeping(w)
		w.limits = deliver.DefaultLimits()
		w.limits.FCM.PerMin = 0
		w.start()
		for i := range 200 {
			w.accept(send(fmt.Sprintf("loud%d", i), phone(fmt.Sprintf("p%d", i))))
		}
		w.pass(2 * time.Second)
		w.want("writes of ordinary pushes", k.saves, 0)
		for i := range 200 {
			w.accept(quiet(w, fmt.Sprintf("quiet%d", i), fmt.Sprintf("p%d", i), time.Hour))
		}
		w.want("writes before the two seconds are over", k.saves, 0)
		w.pass(2 * time.Second)
		if k.saves == 0 || k.saves > 64 {
			t.Errorf("200 silent messages make %d writes", k.saves)
		}
		before := k.saves
		w.pass(2 * time.Second)
		w.want("writes when nothing was sent", k.saves-before, 0)
		for i := range 22 { // to one device: the limit of collapsible ones
			s := send(fmt.Sprintf("score%d", i), phone("fan"))
			s.Push = &engage.PushContent{CollapseKey: "score"}
			w.accept(s)
		}
		n := len(w.told.list())
		w.end()
		w.start()
		w.want("collapsible messages that a restart lets through", len(w.told.list())-n, 0)
		w.end()
	})
}

func TestBudgetsThatCannotBeKeptHoldUpNothing(t *testing.T) {
	bubble(t, func(w *world) {
		k := keeping(w)
		k.blocks["push/fcm/app|00"] = deliver.BudgetBlock{Name: "push/fcm/app|00", Body: []byte(`{"v":9}`), Expires: noon.Add(time.Hour)}
		k.broken = true
		w.limits.SilentPerHour = 1
		w.start()
		w.accept(quiet(w, "one", "a", time.Hour))
		w.pass(2 * time.Second)
		k.broken = false
		w.pass(2 * time.Second) // what could not be written is, without another change
		k.crash()
		w.start()
		w.accept(quiet(w, "two", "a", 19*time.Minute))
		list := w.told.list()
		w.want("told", list[len(list)-1], "two inboxed inbox silent_budget 0")
		w.end()
	})
}
