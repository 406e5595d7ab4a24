package lab

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// agenda runs what is due on one goroutine: the crowd's scheduler.
type agenda struct {
	wake chan struct{}

	mu    sync.Mutex
	queue appointments
	n     uint64
}

type appointment struct {
	at time.Time
	n  uint64 // breaks ties: first come, first run
	do func()
}

func newAgenda() *agenda { return &agenda{wake: make(chan struct{}, 1)} }

// after has do run on the scheduler's goroutine, d from now. Do must not block.
// It may be called from any goroutine.
func (a *agenda) after(d time.Duration, do func()) {
	a.mu.Lock()
	a.n++
	n := a.n
	heap.Push(&a.queue, appointment{time.Now().Add(d), n, do})
	first := a.queue[0].n == n
	a.mu.Unlock()
	if first {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// run keeps the appointments until ctx ends.
func (a *agenda) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		do, wait := a.next()
		if do != nil {
			do()
			if ctx.Err() != nil {
				return
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-a.wake:
		case <-ctx.Done():
			return
		}
	}
}

// next is what is due, or how long nothing is.
func (a *agenda) next() (do func(), wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == 0 {
		return nil, time.Hour
	}
	if wait = time.Until(a.queue[0].at); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&a.queue).(appointment).do, 0 //nolint:forcetypeassert // appointments hold nothing else
}

// appointments is a heap, the earliest first.
type appointments []appointment

// Len implements heap.Interface.
func (a appointments) Len() int { return len(a) }

// Less implements heap.Interface.
func (a appointments) Less(i, j int) bool {
	if !a[i].at.Equal(a[j].at) {
		return a[i].at.Before(a[j].at)
	}
	return a[i].n < a[j].n
}

// Swap implements heap.Interface.
func (a appointments) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push implements heap.Interface.
func (a *appointments) Push(x any) {
	*a = append(*a, x.(appointment)) //nolint:forcetypeassert // appointments hold nothing else
}

// Pop implements heap.Interface.
func (a *appointments) Pop() any {
	old := *a
	last := old[len(old)-1]
	old[len(old)-1] = appointment{}
	*a = old[:len(old)-1]
	return last
}

// workers runs jobs that block, at most so many at a time, in order of arrival.
// It holds no goroutine while there is nothing to do.
type workers struct {
	most int

	mu      sync.Mutex
	waiting []func()
	running int
	closed  bool
	all     sync.WaitGroup
}

// submit does nothing after join.
func (w *workers) submit(job func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.waiting = append(w.waiting, job)
	if w.running < w.most {
		w.running++
		w.all.Go(w.work)
	}
}

func (w *workers) work() {
	for {
		w.mu.Lock()
		if len(w.waiting) == 0 {
			w.waiting = nil
			w.running--
			w.mu.Unlock()
			return
		}
		job := w.waiting[0]
		w.waiting[0] = nil
		w.waiting = w.waiting[1:]
		w.mu.Unlock()
		job()
	}
}

// join waits until nothing runs or waits, and takes nothing more.
func (w *workers) join() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.all.Wait()
}
