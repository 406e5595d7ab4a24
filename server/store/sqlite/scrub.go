package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Scrub has the files keep nothing of what was deleted or replaced. SQLite overwrites it
// where it stood (secure_delete), and this moves the WAL, in which older pages stand, into
// the file and truncates it. What is left then are copies: when SQLite moves cells from
// one page to another to balance a tree, what it leaves behind on the old page belongs to
// nothing, and nobody overwrites it when the cell is deleted in its new place. So every
// page is looked at, and the space on it that holds nothing is overwritten.
//
// It waits for readers for at most the busy timeout; if one goes on reading, it is an error
// and may be tried again. Writers go on beside it, but for moments.
func (s *Store) Scrub(ctx context.Context) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	err := s.alone(ctx, func() error { return nil })
	if err == nil {
		err = s.wipe(ctx)
	}
	if err != nil {
		return fmt.Errorf("scrub: %w", err)
	}
	return nil
}

// alone runs f while nobody writes and all that was written is in the file.
func (s *Store) alone(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.checkpoint.turn.Lock() // else it may be in the way
	defer s.checkpoint.turn.Unlock()
	s.writer.turn.Lock()
	defer s.writer.turn.Unlock()
	w, err := s.writer.conn.walCheckpoint("TRUNCATE")
	if err != nil {
		return err
	}
	if w.busy || w.size != w.moved {
		return fmt.Errorf("somebody reads what stands in the WAL: %d of its %d bytes could not be moved", w.size-w.moved, w.size)
	}
	return f()
}

const (
	// wipeRead is how much of the file is looked at in one read.
	wipeRead = 4 << 20
	// wipePortion is how many pages are overwritten while writers wait.
	wipePortion = 2000
	// maxWipe is how large a file may be, in pages: in larger ones the number of a page,
	// with which a page of another kind begins, could be taken for a kind of page.
	maxWipe = 2 << 24
)

// wipe overwrites what belongs to nothing on the pages of trees. It writes to the file
// itself, beside SQLite, which has no way to ask for this: only bytes that the file format
// says are unallocated (https://www.sqlite.org/fileformat2.html#b_tree_pages), while nobody
// writes, with an empty WAL, and with the writer's copies of pages forgotten, so that none
// brings back what it had. A reader's copies are never written, and a crash in the middle
// leaves the same file as far as SQLite can tell.
func (s *Store) wipe(ctx context.Context) error {
	dirty, err := s.dirtyPages(ctx)
	if err != nil {
		return err
	}
	for len(dirty) > 0 {
		portion := dirty[:min(len(dirty), wipePortion)]
		dirty = dirty[len(portion):]
		if err := s.alone(ctx, func() error { return s.wipePages(portion) }); err != nil {
			return err
		}
	}
	return nil
}

// dirtyPages are the numbers, from 0, of pages that have something where nothing should be.
// Writers go on meanwhile: what they leave behind in passing is nothing that was deleted
// before.
func (s *Store) dirtyPages(ctx context.Context) (dirty []int64, err error) {
	buf := make([]byte, wipeRead)
	for at := int64(0); ; at += wipeRead {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := s.file.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read: %w", err)
		}
		if at/pageBytes > maxWipe {
			return nil, fmt.Errorf("a file of more than %d pages cannot be scrubbed", maxWipe)
		}
		for i := 0; i+pageBytes <= n; i += pageBytes {
			no := (at + int64(i)) / pageBytes
			for _, hole := range holes(buf[i:i+pageBytes], no == 0) {
				if !blank(buf[i+hole.from : i+hole.to]) {
					dirty = append(dirty, no)
					break
				}
			}
		}
		if n < wipeRead {
			return dirty, nil
		}
	}
}

func (s *Store) wipePages(dirty []int64) error {
	if err := s.writer.conn.script("PRAGMA shrink_memory"); err != nil {
		return err
	}
	page, zero := make([]byte, pageBytes), make([]byte, pageBytes)
	for _, no := range dirty {
		if _, err := s.file.ReadAt(page, no*pageBytes); err != nil {
			if errors.Is(err, io.EOF) { // it is not there any more
				continue
			}
			return fmt.Errorf("read page %d: %w", no, err)
		}
		for _, hole := range holes(page, no == 0) {
			if blank(page[hole.from:hole.to]) {
				continue
			}
			if _, err := s.file.WriteAt(zero[:hole.to-hole.from], no*pageBytes+int64(hole.from)); err != nil {
				return fmt.Errorf("write page %d: %w", no, err)
			}
		}
	}
	return s.file.Sync()
}

func blank(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.NativeEndian.Uint64(b) != 0 {
			return false
		}
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// hole is a range of a page that holds nothing.
type hole struct{ from, to int }

// holes are the unallocated ranges of a page of a tree: between its cell pointers and its
// cells, and, of the blocks that are free among the cells, what is no block's header. Of
// any other page, and of one that does not read as the format has it, there are none.
func holes(page []byte, first bool) []hole {
	at := 0
	if first {
		at = 100 // the file's header
	}
	header := 8
	switch page[at] {
	case 2, 5: // inside a tree
		header = 12
	case 10, 13: // leaves
	default:
		return nil
	}
	u16 := func(i int) int { return int(binary.BigEndian.Uint16(page[i:])) }
	block, cells, content := u16(at+1), u16(at+3), u16(at+5)
	if content == 0 {
		content = 65536
	}
	from := at + header + 2*cells
	if from > content || content > len(page) {
		return nil
	}
	for i := range cells {
		if p := u16(at + header + 2*i); p < content || p >= len(page) {
			return nil
		}
	}
	out := []hole{{from, content}}
	for before := content - 1; block != 0; {
		if block <= before || block+4 > len(page) {
			return nil
		}
		next, size := u16(block), u16(block+2)
		if size < 4 || block+size > len(page) {
			return nil
		}
		out = append(out, hole{block + 4, block + size})
		before, block = block+size-1, next
	}
	return out
}
