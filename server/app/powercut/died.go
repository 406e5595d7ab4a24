package powercut

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// died does what the calls have done in which the process was killed, as far as the
// folder shows it. A call whose arguments could not be read never ran: strace reads
// them while the process is held at its entrance.
func (p *parser) died() error {
	for i := range p.cut {
		if c := &p.cut[i]; c.args == nil {
			c.args = c.held
		}
	}
	// Names come first: a file must be known before its size is asked for.
	for _, f := range []func(*call) error{p.diedInName, p.diedInFile} {
		for i := range p.cut {
			if err := f(&p.cut[i]); err != nil {
				return fmt.Errorf("%s: %w", p.cut[i].name, err)
			}
		}
	}
	return nil
}

// stands is whether the folder has that name, and the size of a file there.
func (p *parser) stands(dir *node, last string) (size int64, ok bool, err error) {
	info, err := os.Lstat(filepath.Join(p.root, p.pathOf(dir), last))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return info.Size(), true, nil
}

// pathOf is where a file or folder is below the root, "." when it has no name.
func (p *parser) pathOf(n *node) string {
	var find func(at *node, path string) string
	find = func(at *node, path string) string {
		if at == n {
			return path
		}
		for name, c := range at.children {
			if found := find(c, filepath.Join(path, name)); found != "" {
				return found
			}
		}
		return ""
	}
	return filepath.Clean(find(p.tree, "."))
}

func (p *parser) diedInName(c *call) error {
	var base *node
	rest := c.args
	switch c.name {
	case "openat", "mkdirat", "unlinkat", "renameat", "renameat2":
		var err error
		if base, rest, err = p.base(rest); err != nil {
			return err
		}
	case "open", "mkdir", "unlink", "rmdir", "rename":
	default:
		return nil
	}
	if len(rest) == 0 || rest[0] != '"' {
		return nil // it could not be read
	}
	name, flags, err := text(rest)
	if err != nil {
		return err
	}
	dir, last, err := p.place(base, string(name))
	if err != nil || dir == nil {
		return err
	}
	size, stands, err := p.stands(dir, last)
	if err != nil {
		return err
	}
	n := lookup(dir, last)
	known := n != nil
	switch c.name {
	case "open", "openat":
		created := !known && stands && bytes.Contains(flags, []byte("O_CREAT"))
		emptied := known && stands && size == 0 && p.sizes[n.id] > 0 && bytes.Contains(flags, []byte("O_TRUNC"))
		if created || emptied {
			return p.open(c, rest, base, noFD)
		}
	case "mkdir", "mkdirat":
		if !known && stands {
			return p.mkdir(c, rest, base, 0)
		}
	case "unlink", "rmdir", "unlinkat":
		if known && !stands {
			return p.unlink(c, rest, base, 0)
		}
	default:
		if known && !stands {
			return p.rename(c, 0)
		}
	}
	return nil
}

// noFD is no number of an open file.
const noFD = -1

func (p *parser) diedInFile(c *call) error {
	switch c.name {
	case "write", "pwrite64", "ftruncate":
	default:
		return nil
	}
	fd, rest, err := number(c.args)
	if err != nil {
		return err
	}
	h := p.fds[int(fd)]
	if h == nil || h.node.dir {
		return nil
	}
	path := p.pathOf(h.node)
	if path == "." {
		return nil // it has been removed: nobody sees what is in it
	}
	f, err := os.Open(filepath.Join(p.root, path))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was read only
	if c.name == "ftruncate" {
		size, _, err := number(rest)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil && info.Size() == size {
			err = p.truncate(c, 0)
		}
		return err
	}
	if len(rest) == 0 || rest[0] != '"' {
		return nil // it could not be read
	}
	data, rest, err := text(rest)
	if err != nil {
		return err
	}
	off, err := p.offset(c, h, rest)
	if err != nil {
		return err
	}
	stands := make([]byte, len(data))
	n, err := f.ReadAt(stands, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	done := 0
	for done < n && stands[done] == data[done] {
		done++
	}
	if done == 0 {
		return nil
	}
	h.sync = false // it has not returned
	return p.write(c, int64(done))
}
