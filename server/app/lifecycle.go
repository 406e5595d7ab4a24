package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

// lifecycle runs the parts of the server and stops them last in, first out. A
// part that ends by itself with an error brings the others down.
type lifecycle struct {
	log    *slog.Logger
	mu     sync.Mutex
	stops  []stop
	failed chan error
}

type stop struct {
	name string
	stop func() error
}

func newLifecycle(log *slog.Logger) *lifecycle {
	return &lifecycle{log: log, failed: make(chan error, 1)}
}

// run starts a part that blocks until its context ends.
func (l *lifecycle) run(name string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := f(ctx)
		if err != nil && ctx.Err() == nil {
			select {
			case l.failed <- fmt.Errorf("%s: %w", name, err):
			default:
			}
		}
		done <- err
	}()
	l.push(name, func() error {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
}

// push adds something to be stopped.
func (l *lifecycle) push(name string, f func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stops = append(l.stops, stop{name, f})
}

// stopAll stops everything, last in, first out, and returns what went wrong.
func (l *lifecycle) stopAll() error {
	l.mu.Lock()
	stops := l.stops
	l.stops = nil
	l.mu.Unlock()
	var errs []error
	for _, s := range slices.Backward(stops) {
		l.log.Debug("stop", "part", s.name)
		if err := s.stop(); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
		}
	}
	return errors.Join(errs...)
}
