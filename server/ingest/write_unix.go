//go:build unix

package ingest

import (
	"errors"
	"syscall"
)

// writeOnce is called by a raw connection: it writes what the socket takes, and never
// waits.
func (w *writing) writeOnce(fd uintptr) (done bool) {
	n, err := syscall.Write(int(fd), w.left)
	for errors.Is(err, syscall.EINTR) {
		n, err = syscall.Write(int(fd), w.left)
	}
	if errors.Is(err, syscall.EAGAIN) {
		n, err = 0, nil
	}
	w.left, w.err = w.left[max(n, 0):], err
	return true
}
