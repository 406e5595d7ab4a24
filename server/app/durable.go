package app

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/footfall-engage/footfall/server/durable"
)

// writeDurably makes a file that its owner alone can read. When it returns nil the
// file survives a power cut; after a cut before that it is there whole or not at
// all. An existing one is replaced.
func writeDurably(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-*") // with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return durable.Path(filepath.Dir(path))
}
