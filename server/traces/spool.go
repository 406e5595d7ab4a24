package traces

import (
	"bufio"
	"container/heap"
	"encoding/gob"
	"errors"
	"io"
	"os"
	"slices"
)

// spool sorts more than the memory holds: what is put in stays in memory up to a
// number, then goes to temporary files in sorted pieces, which Each merges.
type spool[T any] struct {
	compare func(a, b *T) int // no two are equal, or it does not matter which comes first
	most    int               // in memory
	items   []T
	count   int // that were put in
	pieces  []*os.File
}

// spooled is how many a spool keeps in memory.
const spooled = 1 << 17

func (s *spool[T]) put(item T) error {
	if len(s.items) >= s.most {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.count++
	s.items = append(s.items, item)
	return nil
}

func (s *spool[T]) sort() {
	slices.SortFunc(s.items, func(a, b T) int { return s.compare(&a, &b) })
}

// spill writes what is in memory to a file. It loses its name at once where the
// system allows that, so that it is gone with the process.
func (s *spool[T]) spill() error {
	s.sort()
	f, err := os.CreateTemp("", "footfall-replay-*") // mode 0600
	if err != nil {
		return err
	}
	s.pieces = append(s.pieces, f)
	_ = os.Remove(f.Name()) // else close does it
	w := bufio.NewWriterSize(f, 1<<18)
	e := gob.NewEncoder(w)
	for i := range s.items {
		if err := e.Encode(&s.items[i]); err != nil {
			return err
		}
	}
	clear(s.items)
	s.items = s.items[:0]
	return w.Flush()
}

// each gives what was put in, in order; nothing may be put in any more.
func (s *spool[T]) each(do func(*T) error) error {
	s.sort()
	if len(s.pieces) == 0 {
		for i := range s.items {
			if err := do(&s.items[i]); err != nil {
				return err
			}
		}
		return nil
	}
	m := merge[T]{compare: s.compare}
	for i, f := range s.pieces {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		d := gob.NewDecoder(bufio.NewReaderSize(f, 1<<16))
		if err := m.add(&piece[T]{n: i, next: func() (item T, err error) { return item, d.Decode(&item) }}); err != nil {
			return err
		}
	}
	at := 0
	last := func() (item T, err error) {
		if at == len(s.items) {
			return item, io.EOF
		}
		at++
		return s.items[at-1], nil
	}
	if err := m.add(&piece[T]{n: len(s.pieces), next: last}); err != nil {
		return err
	}
	for m.Len() > 0 {
		p := m.of[0]
		if err := do(&p.head); err != nil {
			return err
		}
		var err error
		switch p.head, err = p.next(); {
		case errors.Is(err, io.EOF):
			heap.Pop(&m)
		case err != nil:
			return err
		default:
			heap.Fix(&m, 0)
		}
	}
	return nil
}

// close removes the files.
func (s *spool[T]) close() error {
	var err error
	for _, f := range s.pieces {
		err = errors.Join(err, f.Close())
		_ = os.Remove(f.Name()) // where it still has its name
	}
	s.pieces, s.items = nil, nil
	return err
}

// piece is a sorted part, of which head comes next.
type piece[T any] struct {
	n    int // equal ones come in the order of the pieces
	head T
	next func() (T, error) // io.EOF at the end
}

// merge is a heap of pieces by their heads.
type merge[T any] struct {
	compare func(a, b *T) int
	of      []*piece[T]
}

func (m *merge[T]) add(p *piece[T]) error {
	var err error
	switch p.head, err = p.next(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	heap.Push(m, p)
	return nil
}

func (m *merge[T]) Len() int { return len(m.of) }
func (m *merge[T]) Less(i, j int) bool {
	c := m.compare(&m.of[i].head, &m.of[j].head)
	return c < 0 || c == 0 && m.of[i].n < m.of[j].n
}
func (m *merge[T]) Swap(i, j int) { m.of[i], m.of[j] = m.of[j], m.of[i] }
func (m *merge[T]) Push(x any)    { m.of = append(m.of, x.(*piece[T])) }
func (m *merge[T]) Pop() any {
	p := m.of[len(m.of)-1]
	m.of = m.of[:len(m.of)-1]
	return p
}
