// Package durable makes certain that what is in files is on the disk.
//
// A process that is killed leaves writes with the kernel that nobody has synced. The
// next one reads them like all others and builds on them; a power cut then takes
// them from under what was built. So who promises to survive power cuts syncs what
// it finds before it reads it.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// atOnce is how many files are synced at the same time: a disk does many flushes in
// the time of one.
const atOnce = 16

// Tree syncs a folder and every file and folder below it, whoever wrote them. A
// symbolic link counts as what it leads to. Nobody else may change the tree
// meanwhile. What cannot be opened or synced is an error.
func Tree(root string) error {
	var g errgroup.Group
	g.SetLimit(atOnce)
	err := walk(root, map[string]bool{}, func(path string) { g.Go(func() error { return Path(path) }) })
	if err := errors.Join(err, g.Wait()); err != nil {
		return fmt.Errorf("sync what is in %s: %w", root, err)
	}
	return nil
}

// walk calls found for each file and folder once.
func walk(path string, seen map[string]bool, found func(path string)) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	return filepath.WalkDir(real, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.Type()&fs.ModeSymlink != 0:
			return walk(path, seen, found)
		case !e.IsDir() && !e.Type().IsRegular(): // nothing that a disk keeps
			return nil
		case seen[path]:
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		seen[path] = true
		found(path)
		return nil
	})
}

// Path syncs one file or folder: the bytes of a file, the names in a folder.
func Path(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Files syncs those of the files that are there, and then the folders of them all,
// so that the names of the files are certain too.
func Files(paths ...string) error {
	folders := map[string]bool{}
	for _, path := range paths {
		if err := Path(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sync file: %w", err)
		}
		folders[filepath.Dir(path)] = true
	}
	for folder := range folders {
		if err := Path(folder); err != nil {
			return fmt.Errorf("sync folder: %w", err)
		}
	}
	return nil
}
