package powercut

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// Mode is what the model takes for granted of the file system.
type Mode int

// The modes; see the package's comment.
const (
	// Journal keeps changes of names and sizes in their order, and a sync of a file
	// brings its own name along, with whatever was changed before it.
	Journal Mode = iota
	// Strict promises no more than POSIX: a name is there for good when its folder
	// was synced, and folders know no common order.
	Strict
)

// sector is what a disk writes whole or not at all, in bytes.
const sector = 512

// change of a name or size. In its place in the order it is done for good once it
// is forced.
type change struct {
	event
	home   int // the folder, or the file, whose sync forces it; its order in Strict
	forced bool
	kept   bool // by the image that is being made
}

// part is a write or resize of a file since what is on the disk for certain.
type part struct {
	off    int64
	data   []byte
	size   *change // nil for a write
	synced bool
}

// file is one file on the disk.
type file struct {
	sure  []byte // on the disk, whatever happens
	parts []*part
	size  int64 // as the process sees it
}

// Disk is what a power cut at a moment of a run could leave.
type Disk struct {
	run     *Run
	mode    Mode
	at      int
	files   map[int]*file
	folders map[int]map[string]int // what is there for certain
	isDir   map[int]bool
	changes []*change // since then
	touched map[int]*change
	began   map[int][]*part   // by the number of a sync: what it will have made certain
	names   map[int][]*change // likewise
}

// Disk is the disk at the beginning of the run.
func (r *Run) Disk(m Mode) *Disk {
	return &Disk{
		run: r, mode: m, files: map[int]*file{}, folders: map[int]map[string]int{0: {}}, isDir: map[int]bool{0: true},
		touched: map[int]*change{}, began: map[int][]*part{}, names: map[int][]*change{},
	}
}

// Advance goes on to the moment after n events.
func (d *Disk) Advance(n int) {
	for ; d.at < n; d.at++ {
		d.happen(&d.run.events[d.at])
	}
}

func (d *Disk) happen(e *event) {
	switch e.kind {
	case wrote:
		f := d.files[e.file]
		f.parts = append(f.parts, &part{off: e.off, data: e.data})
		f.size = max(f.size, e.off+int64(len(e.data)))
	case resized:
		f := d.files[e.file]
		f.parts = append(f.parts, &part{size: d.change(e, e.file, e.file)})
		f.size = e.size
	case made:
		if e.isDir {
			d.isDir[e.file], d.folders[e.file] = true, map[string]int{}
		} else {
			d.files[e.file] = &file{}
		}
		d.change(e, e.dir, e.dir, e.file)
	case moved:
		d.change(e, e.dir2, e.dir, e.dir2, e.file)
	case removed:
		d.change(e, e.dir, e.dir)
	case syncBegan:
		if f := d.files[e.file]; f != nil {
			d.began[e.id] = slices.Clone(f.parts)
		}
		d.names[e.id] = d.forcing(e.file)
	case syncEnded:
		for _, p := range d.began[e.id] {
			p.synced = true
		}
		for _, c := range d.names[e.id] {
			c.forced = true
		}
		delete(d.began, e.id)
		delete(d.names, e.id)
		if f := d.files[e.file]; f != nil {
			f.settle()
		}
		d.settle()
	case marked:
	}
}

// change adds a change of names or sizes, which touches these files and folders.
func (d *Disk) change(e *event, home int, touches ...int) *change {
	c := &change{event: *e, home: home}
	d.changes = append(d.changes, c)
	for _, t := range touches {
		d.touched[t] = c
	}
	return c
}

// forcing are the changes that a sync of a file or folder makes certain.
func (d *Disk) forcing(id int) []*change {
	var out []*change
	if d.mode == Strict {
		for _, c := range d.changes {
			if c.home == id || c.kind == moved && c.dir == id {
				out = append(out, c)
			}
		}
		return out
	}
	if last := d.touched[id]; last != nil {
		if i := slices.Index(d.changes, last); i >= 0 {
			return slices.Clone(d.changes[:i+1])
		}
	}
	return nil
}

// settle moves what is certain out of the list of changes.
func (d *Disk) settle() {
	n := 0
	for n < len(d.changes) && d.changes[n].forced {
		d.apply(d.folders, d.changes[n])
		n++
	}
	d.changes = d.changes[n:]
}

func (d *Disk) apply(folders map[int]map[string]int, c *change) {
	switch c.kind {
	case made:
		folders[c.dir][c.name] = c.file
	case moved:
		if folders[c.dir][c.name] == c.file {
			delete(folders[c.dir], c.name)
		}
		folders[c.dir2][c.name2] = c.file
	case removed:
		delete(folders[c.dir], c.name)
	default: // a size is looked at with its file
	}
}

// settle moves what is certain out of the list of parts.
func (f *file) settle() {
	n := 0
	for n < len(f.parts) {
		p := f.parts[n]
		if p.size != nil {
			if !p.size.forced {
				break
			}
			f.sure = resize(f.sure, p.size.size)
		} else {
			if !p.synced {
				break
			}
			f.sure = overwrite(f.sure, p.off, p.data)
		}
		n++
	}
	f.parts = f.parts[n:]
}

func resize(b []byte, size int64) []byte {
	if n := int64(len(b)); size > n {
		return append(b, make([]byte, size-n)...)
	}
	return b[:size:size]
}

func overwrite(b []byte, off int64, data []byte) []byte {
	if end := off + int64(len(data)); end > int64(len(b)) {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[off:], data)
	return b
}

// left is what a cut leaves of the file: of each sector any of the states that it
// had since the last sync, of sizes those that the kept changes say, and sometimes
// the size of a write without its data.
func (f *file) left(random *rand.Rand) []byte {
	out := slices.Clone(f.sure)
	style := random.IntN(4)
	all := random.IntN(len(f.parts) + 1) // for whole sectors: so many parts in order
	share := random.Float64()
	states := map[int64]int{}
	until := func(s int64) int { // how many of the parts sector s has seen
		switch style {
		case 0:
			return 0
		case 1:
			return len(f.parts)
		}
		n, ok := states[s]
		if !ok {
			switch {
			case style == 2: // in order, the last one torn
				n = min(all+random.IntN(2), len(f.parts))
			case random.Float64() < share:
				n = len(f.parts)
			default:
				n = random.IntN(len(f.parts) + 1)
			}
			states[s] = n
		}
		return n
	}
	for i, p := range f.parts {
		if p.size != nil {
			if p.size.forced || p.size.kept {
				out = resize(out, p.size.size)
			}
			continue
		}
		end := p.off + int64(len(p.data))
		for from := p.off; from < end; {
			s := from / sector
			to := min((s+1)*sector, end)
			if p.synced || i < until(s) {
				out = overwrite(out, from, p.data[from-p.off:to-p.off])
			}
			from = to
		}
	}
	if grown := f.size - int64(len(out)); grown > 0 && random.IntN(4) == 0 && !slices.ContainsFunc(f.parts, func(p *part) bool { return p.size != nil }) {
		out = resize(out, int64(len(out))+random.Int64N(grown+1))
	}
	return out
}

// entry of an image.
type entry struct {
	dir, shm bool
	data     []byte
}

// Image is a disk after a power cut: folders, and files with their bytes, by path.
type Image map[string]entry

// Cut is one of the disks that a power cut now could leave.
func (d *Disk) Cut(random *rand.Rand) Image {
	if d.mode == Strict {
		next := map[int]bool{} // which homes have lost a change: the later ones go too
		share := random.Float64()
		for _, c := range d.changes {
			if !next[c.home] && !c.forced && random.Float64() >= share {
				next[c.home] = true
			}
			c.kept = c.forced || !next[c.home]
		}
	} else {
		sure := 0
		for i, c := range d.changes {
			if c.forced {
				sure = i + 1
			}
		}
		n := sure + random.IntN(len(d.changes)-sure+1)
		for i, c := range d.changes {
			c.kept = i < n
		}
	}
	return d.image(func(f *file) []byte { return f.left(random) }, random)
}

// whole is the disk with nothing lost.
func (d *Disk) whole() Image {
	for _, c := range d.changes {
		c.kept = true
	}
	return d.image(func(f *file) []byte {
		out := slices.Clone(f.sure)
		for _, p := range f.parts {
			if p.size != nil {
				out = resize(out, p.size.size)
			} else {
				out = overwrite(out, p.off, p.data)
			}
		}
		return out
	}, nil)
}

func (d *Disk) image(content func(*file) []byte, random *rand.Rand) Image {
	folders := make(map[int]map[string]int, len(d.folders))
	for id, names := range d.folders {
		folders[id] = maps.Clone(names)
	}
	for _, c := range d.changes {
		if c.kept {
			d.apply(folders, c)
		}
	}
	out := Image{}
	var walk func(id int, at string)
	walk = func(id int, at string) {
		for _, name := range slices.Sorted(maps.Keys(folders[id])) { // chance is drawn in a fixed order
			file, to := folders[id][name], filepath.Join(at, name)
			if d.isDir[file] {
				out[to] = entry{dir: true}
				walk(file, to)
				continue
			}
			e := entry{data: content(d.files[file]), shm: d.run.shm[file]}
			if e.shm && random != nil { // nobody knows what memory has reached the disk
				for i := range e.data {
					e.data[i] = byte(random.Uint32())
				}
			}
			out[to] = e
		}
	}
	walk(0, ".")
	return out
}

// Write puts the image into a folder.
func (m Image) Write(dir string) error {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		e, to := m[name], filepath.Join(dir, name)
		var err error
		if e.dir {
			err = os.Mkdir(to, 0o700)
		} else {
			err = os.WriteFile(to, e.data, 0o600)
		}
		if err != nil {
			return fmt.Errorf("write image: %w", err)
		}
	}
	return nil
}

// Has reports whether the image has a file or folder there, and how many bytes.
func (m Image) Has(name string) (size int, ok bool) {
	e, ok := m[name]
	return len(e.data), ok
}

// Cuts are n moments of the run from the event first to the event last, in order:
// half of them anywhere, half right before or after a change of names or sizes, a
// sync or a mark.
func (r *Run) Cuts(random *rand.Rand, first, last, n int) []int {
	var edges []int
	for i := first; i < last; i++ {
		if r.events[i].kind != wrote {
			edges = append(edges, i)
		}
	}
	out := make([]int, n)
	for i := range out {
		if i%2 == 0 || len(edges) == 0 {
			out[i] = first + random.IntN(last-first+1)
		} else {
			out[i] = edges[random.IntN(len(edges))] + random.IntN(2)
		}
	}
	slices.Sort(out)
	return out
}
