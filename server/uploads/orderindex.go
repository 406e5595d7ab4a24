package uploads

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// orderIndex knows in which row of a file each order began: a table of hashes in a file
// beside, so that an upload of any size takes the memory of a few orders. What a death
// leaves in it of rows that are read again says the same of them.
type orderIndex struct {
	path  string
	f     *os.File
	slots uint64 // a power of two
	used  uint64
}

const (
	slotBytes  = 16 // a hash, which is not 0, and a row, big-endian
	firstSlots = 1 << 12
)

// openOrderIndex opens the index at path; with anew it is empty.
func openOrderIndex(path string, anew bool) (*orderIndex, error) {
	if anew {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("index of orders: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("index of orders: %w", err)
	}
	x := &orderIndex{path: path, f: f}
	info, err := f.Stat()
	if err == nil && info.Size() == 0 {
		err = f.Truncate(firstSlots * slotBytes)
		x.slots = firstSlots
	} else if err == nil {
		x.slots = uint64(info.Size()) / slotBytes
		err = x.each(func(uint64, uint64) error { x.used++; return nil })
	}
	if err == nil && x.slots&(x.slots-1) != 0 {
		err = fmt.Errorf("it has %d slots", x.slots)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("index of orders: %w", err), f.Close())
	}
	return x, nil
}

// close closes the file; a nil index has none.
func (x *orderIndex) close() error {
	if x == nil {
		return nil
	}
	return x.f.Close()
}

// hashOf what an order goes by; never 0.
func hashOf(order string) uint64 {
	sum := sha256.Sum256([]byte(order))
	return max(binary.BigEndian.Uint64(sum[:8]), 1)
}

// began is the row in which an order began first: the given one, unless another was given
// before.
func (x *orderIndex) began(order string, row int) (int, error) {
	if x.used*10 >= x.slots*7 {
		if err := x.grow(); err != nil {
			return 0, fmt.Errorf("index of orders: %w", err)
		}
	}
	before, err := x.put(hashOf(order), uint64(row)) //nolint:gosec // rows are counted from 1
	if err != nil {
		return 0, fmt.Errorf("index of orders: %w", err)
	}
	return int(before), nil //nolint:gosec // it was an int
}

func (x *orderIndex) put(hash, row uint64) (uint64, error) {
	var slot [slotBytes]byte
	for i := hash & (x.slots - 1); ; i = (i + 1) & (x.slots - 1) {
		if _, err := x.f.ReadAt(slot[:], int64(i)*slotBytes); err != nil { //nolint:gosec // less than the file's size
			return 0, err
		}
		switch binary.BigEndian.Uint64(slot[:8]) {
		case hash:
			return binary.BigEndian.Uint64(slot[8:]), nil
		case 0:
			binary.BigEndian.PutUint64(slot[:8], hash)
			binary.BigEndian.PutUint64(slot[8:], row)
			x.used++
			_, err := x.f.WriteAt(slot[:], int64(i)*slotBytes) //nolint:gosec // less than the file's size
			return row, err
		}
	}
}

// each calls f for all that is in it.
func (x *orderIndex) each(f func(hash, row uint64) error) error {
	part := make([]byte, 4096*slotBytes)
	for at := int64(0); ; {
		n, err := x.f.ReadAt(part, at)
		for slot := part[:n-n%slotBytes]; len(slot) > 0; slot = slot[slotBytes:] {
			hash := binary.BigEndian.Uint64(slot[:8])
			if hash == 0 {
				continue
			}
			if err := f(hash, binary.BigEndian.Uint64(slot[8:slotBytes])); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at += int64(n)
	}
}

// grow doubles it: a death leaves the old one or the new one.
func (x *orderIndex) grow() error {
	f, err := os.OpenFile(x.path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	next := &orderIndex{path: x.path, f: f, slots: 2 * x.slots}
	if err = f.Truncate(int64(next.slots) * slotBytes); err == nil { //nolint:gosec // far below
		err = x.each(func(hash, row uint64) error {
			_, err := next.put(hash, row)
			return err
		})
	}
	if err == nil {
		err = os.Rename(x.path+".new", x.path)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	err = x.f.Close()
	*x = *next
	return err
}
