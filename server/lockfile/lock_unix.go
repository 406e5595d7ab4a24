//go:build unix

// Package lockfile keeps a second process away from a folder.
package lockfile

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Lock creates the file if it is not there and holds its lock until it is closed
// or the process ends, however it ends. An error says that another has it.
func Lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another process uses the folder")
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}
