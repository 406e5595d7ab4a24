package situate_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/situate"
)

// recycler is a Machine whose states are cloned over the ones that were replaced before,
// as a partition does it.
type recycler struct {
	situate.Machine
	spare engage.State
	used  int
}

type recyclerTx struct {
	engage.Tx
	r         *recycler
	old, next engage.State
}

func (tx *recyclerTx) Edit(key string) (engage.State, error) {
	if tx.next != nil {
		return tx.next, nil
	}
	s, err := tx.Load(key)
	old, can := s.(engage.Recloner)
	if err != nil || !can {
		return nil, err
	}
	if tx.r.spare != nil {
		tx.r.used++
	}
	tx.old, tx.next, tx.r.spare = old, old.CloneOver(tx.r.spare), nil
	tx.Put(key, tx.next)
	return tx.next, nil
}

func (r *recycler) Apply(tx engage.Tx, e engage.Entry) error {
	over := &recyclerTx{Tx: tx, r: r}
	err := r.Machine.Apply(over, e)
	if err == nil {
		r.spare = over.old
	} else {
		r.spare = over.next
	}
	return err
}

// What an install's state becomes, and all that is put out and recorded, does not depend
// on the memory that a clone was made in, though other installs' states were there before.
func TestStatesInOldMemoryAreTheSame(t *testing.T) {
	entries := story(t)
	r := rand.New(rand.NewPCG(7, 8))
	var mixed []engage.Entry
	for i, e := range entries {
		for j := range 3 {
			other := e
			if j > 0 && e.Key == key {
				other.Key = engage.InstallKey(ws, string(rune('a'+j)))
			} else if j > 0 {
				continue
			}
			mixed = append(mixed, other)
		}
		if i > 5 && r.IntN(3) == 0 {
			mixed = append(mixed, entry(uint64(1000+i), time.Duration(i)*sec, fix(east(float64(r.IntN(400))), 10)),
				entry(uint64(2000+i), time.Duration(i)*sec, &sdkpb.Item{Logout: &sdkpb.Logout{}}))
		}
	}
	quiet := session(t, 0) // two sessions, and no item
	quiet.Key = engage.InstallKey(ws, "quiet")
	mixed = append(append([]engage.Entry{quiet}, mixed...), quiet)
	run := func(p *phone) string {
		for _, e := range mixed {
			// Refused ones are part of it: what they left must not be seen.
			if err := p.Apply(e); errors.Is(err, steptest.ErrBroken) {
				t.Fatal(err)
			}
		}
		return p.Dump()
	}
	want := run(newPhone(t))
	old := &recycler{}
	if got := run(phoneOf(t, old)); got != want {
		t.Errorf("in old memory:\n%s\nin new memory:\n%s", got, want)
	}
	if old.used < len(mixed)/2 {
		t.Errorf("old memory was used %d times for %d entries", old.used, len(mixed))
	}
}

// An item of a newer phone has fields that are not known here: what it says of a position
// counts all the same.
func TestAPositionWithMoreFieldsIsAPosition(t *testing.T) {
	run := func(more ...byte) string {
		p := newPhone(t, allConsents...)
		for i := range 40 {
			e := entry(uint64(10+i), time.Duration(i)*20*sec, fix(east(float64(500-30*i)), 10))
			e.Body = append(e.Body, more...)
			p.apply(e)
		}
		return p.Dump()
	}
	if got, want := run(0xf8, 0x3f, 0x01), run(); got != want { // field 1023 is 1
		t.Errorf("with a field that is not known:\n%s\nwithout:\n%s", got, want)
	}
}
