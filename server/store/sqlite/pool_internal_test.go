package sqlite

import (
	"context"
	"errors"
	"testing"
)

func TestTheReaderUsedLastIsLentFirstAndNobodyIsLentTwo(t *testing.T) {
	p := newPool()
	for range readers {
		p.give(&conn{})
	}
	first, err := p.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.take(t.Context())
	if err != nil || second == first {
		t.Fatalf("%v; the same one was lent twice: %v", err, second == first)
	}
	p.give(second)
	p.give(first)
	if c, err := p.take(t.Context()); err != nil || c != first {
		t.Errorf("%v; it is not the one that was used last", err)
	}
	for range readers - 1 {
		if _, err := p.take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := p.take(over); !errors.Is(err, context.Canceled) {
		t.Errorf("none is left, and %p was lent, %v", c, err)
	}
}
