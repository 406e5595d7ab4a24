package ingest_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
)

// lateLog answers later, the installs in any order, and sees that nobody touches what it
// has until then.
type lateLog struct {
	t    *testing.T
	full string // the install of which it takes no items

	mu      sync.Mutex
	wake    *sync.Cond
	waiting []lateAppend
	bodies  map[string][][]byte // by install
	closed  bool
}

type lateAppend struct {
	install         string
	entries, before []engage.Entry
	done            func(error)
}

func (l *lateLog) AppendAsync(_, install string, entries []engage.Entry, done func(error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if install == l.full && entries[0].Kind == engage.KindItem {
		return engage.Errorf(engage.RateLimited, "", "full")
	}
	before := slices.Clone(entries)
	for i := range before {
		before[i].Body = bytes.Clone(before[i].Body)
	}
	l.waiting = append(l.waiting, lateAppend{install, entries, before, done})
	l.wake.Signal()
	return nil
}

func (l *lateLog) run() {
	r := rand.New(rand.NewPCG(91, 92))
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for len(l.waiting) == 0 && !l.closed {
			l.wake.Wait()
		}
		if l.closed {
			return
		}
		// Any install's turn, and of it the oldest.
		install := l.waiting[r.IntN(len(l.waiting))].install
		i := slices.IndexFunc(l.waiting, func(a lateAppend) bool { return a.install == install })
		a := l.waiting[i]
		l.waiting = slices.Delete(l.waiting, i, i+1)
		if !slices.EqualFunc(a.entries, a.before, func(x, y engage.Entry) bool {
			return x.Kind == y.Kind && x.Key == y.Key && x.Occurred.Equal(y.Occurred) && bytes.Equal(x.Body, y.Body)
		}) {
			l.t.Errorf("the entries of %s have changed in the log: %v, were %v", install, a.entries, a.before)
		}
		for _, e := range a.entries {
			if e.Kind == engage.KindItem {
				l.bodies[install] = append(l.bodies[install], e.Body)
			}
		}
		l.mu.Unlock()
		a.done(nil)
		l.mu.Lock()
	}
}

func (l *lateLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wake.Signal()
}

// A batch on its way uses memory that others have used.
func TestBatchesOfManyPhonesAreNotMixedUp(t *testing.T) {
	log := &lateLog{t: t, full: "phone-00000", bodies: map[string][][]byte{}}
	log.wake = sync.NewCond(&log.mu)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		log.run()
	}()
	t.Cleanup(func() { // after the gateway's own
		log.close()
		<-ended
	})
	w := newWorldOn(t, unlimited, log)
	const phones, batches, window = 6, 120, 4
	var wg sync.WaitGroup
	for p := range phones {
		install := fmt.Sprintf("phone-%05d", p)
		w.installs.mu.Lock()
		w.installs.known[install] = ingest.Install{Consents: everything()}
		w.installs.mu.Unlock()
		codec := sdkproto.Codec(sdkproto.Protobuf{})
		if p%3 == 2 {
			codec = sdkproto.JSON{}
		}
		r := w.open(install, codec)
		wg.Go(func() {
			seq, sent, answered := uint64(0), 0, 0
			through := map[uint64]uint64{} // by frame
			for answered < batches {
				for ; sent < batches && sent-answered < window; sent++ {
					items := make([]*sdkpb.Item, 1+(p+sent)%3%2) // of one, which is decoded into memory used again, and of two
					for i := range items {
						seq++
						items[i] = fix(seq, 0.001, float64(p)/100)
					}
					if (p+sent)%11 == 0 {
						seq++
						items = append(items, &sdkpb.Item{Seq: seq, ItemId: fmt.Sprint("bad-", p, "-", seq)}) // without a body
					}
					b := batch(items...)
					b.BatchId = fmt.Sprintf("batch %d of %s", sent, install)
					re := uint64(100 + sent)
					through[re] = seq
					r.send(&sdkpb.Frame{Id: re, Batch: b})
				}
				f, err := r.read()
				if err != nil {
					t.Errorf("%s: %v", install, err)
					return
				}
				if f.Re == 0 {
					continue // regions
				}
				answered++
				if install == log.full {
					if f.Error == nil || through[f.Re] == 0 {
						t.Errorf("%s got %v", install, f)
					}
					continue
				}
				if want := fmt.Sprintf("batch %d of %s", f.Re-100, install); f.Ack.GetBatchId() != want || f.Ack.GetThroughSeq() != through[f.Re] {
					t.Errorf("%s got %v, want an ack of %q through %d", install, f, want, through[f.Re])
				}
				for _, x := range f.Ack.GetRejects() {
					if x.ItemId != fmt.Sprint("bad-", p, "-", x.Seq) {
						t.Errorf("%s got %v", install, f)
					}
				}
			}
		})
	}
	wg.Wait()
	log.mu.Lock()
	defer log.mu.Unlock()
	for install, bodies := range log.bodies {
		last := uint64(0)
		for _, b := range bodies {
			i, err := sdkproto.UnmarshalItem(b)
			if err != nil || i.Seq <= last || i.ItemId != fmt.Sprint(i.Seq) || fmt.Sprintf("phone-%05d", int(i.Location.GetLng()*100+0.5)) != install {
				t.Fatalf("%s logged %v after %d: %v", install, i, last, err)
			}
			last = i.Seq
		}
		if len(bodies) < batches {
			t.Errorf("%s logged %d items", install, len(bodies))
		}
	}
	if len(log.bodies) != phones-1 {
		t.Errorf("%d phones logged something", len(log.bodies))
	}
}
