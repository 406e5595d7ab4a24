package powercut

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrTrace says that a trace cannot be followed: it is damaged, or its process did
// to its files what the model does not know. Never guess then: the image would lie.
var ErrTrace = errors.New("trace cannot be followed")

// kind of an event.
type kind byte

const (
	wrote     kind = iota // data at off of file
	resized               // file to size bytes; a cut or zeros at the end
	syncBegan             // of file (or folder); id tells which call
	syncEnded             // successfully
	made                  // file under name in dir; folder when isDir
	moved                 // name in dir to name2 in dir2, over whatever was there
	removed               // name from dir
	marked                // text was about to be written to standard output
)

// event is something that the process did. All but marked happened before the
// system call returned; marked before it began.
type event struct {
	kind        kind
	file        int // number of a file or folder; the root is 0
	dir, dir2   int
	name, name2 string
	off, size   int64
	data        []byte
	isDir       bool
	id          int
	reader      bool // a sync by who cannot write: package durable, or a folder's
}

// Run is what a traced process did to the files of one folder, in order.
type Run struct {
	events []event
	lives  []int        // how many events there were when each process began
	shm    map[int]bool // files that were written through memory too, unseen
}

// Events is how many there are. A cut at n means that the first n have happened.
func (r *Run) Events() int { return len(r.events) }

// Marks are the lines that the process had begun to write to its standard output
// before the cut.
func (r *Run) Marks(cut int) []string {
	var text []byte
	for _, e := range r.events[:cut] {
		if e.kind == marked {
			text = append(text, e.data...)
		}
	}
	return strings.FieldsFunc(string(text), func(c rune) bool { return c == '\n' })
}

// Find is the number of events up to and with the first mark of that line, 0 when
// there is none.
func (r *Run) Find(mark string) int {
	for i, e := range r.events {
		if e.kind == marked && string(e.data) == mark+"\n" {
			return i + 1
		}
	}
	return 0
}

// Began is how many events there were when the process of that number began, from 0.
func (r *Run) Began(life int) int { return r.lives[life] }

// Forgetful is the run as if, from the process of that number on, nobody had synced
// what he cannot write: neither what an earlier process had left nor folders. The
// moments keep their numbers.
func (r *Run) Forgetful(life int) *Run {
	out := &Run{events: slices.Clone(r.events), lives: r.lives, shm: r.shm}
	for i := r.lives[life]; i < len(out.events); i++ {
		if out.events[i].reader {
			out.events[i] = event{kind: marked}
		}
	}
	return out
}

// Counts says how often what happened, for a test's log.
func (r *Run) Counts() string {
	names := [...]string{"writes", "resizes", "syncs", "", "creations", "renames", "removals", "marks"}
	var n [len(names)]int
	var size int
	for _, e := range r.events {
		n[e.kind]++
		if e.kind == wrote {
			size += len(e.data)
		}
	}
	var b strings.Builder
	for i, name := range names {
		if name != "" {
			fmt.Fprintf(&b, "%d %s, ", n[i], name)
		}
	}
	fmt.Fprintf(&b, "%d bytes written", size)
	return b.String()
}

// node is a file or folder as the process sees it.
type node struct {
	id       int
	dir      bool
	children map[string]*node
}

// holds reports whether o is the folder itself or somewhere in it.
func (n *node) holds(o *node) bool {
	if n == o {
		return true
	}
	for _, c := range n.children {
		if c.holds(o) {
			return true
		}
	}
	return false
}

// handle is an open file.
type handle struct {
	node   *node
	pos    int64 // of write
	append bool
	sync   bool // O_SYNC or O_DSYNC
	reader bool // O_RDONLY
}

// parser follows a trace.
type parser struct {
	root    string
	tree    *node
	nodes   int
	sizes   map[int]int64
	fds     map[int]*handle
	pending map[string]call // by thread: begun, not returned
	cut     []call          // begun, and the process ended in it
	syncs   int
	execs   int
	run     *Run
}

// call is a system call.
type call struct {
	name string
	args []byte
	sync int    // number of a sync that has begun; -1 when it was of nothing here
	file int    // of that
	read bool   // by who cannot write
	held []byte // the arguments that a line without end has told
}

// maxFile is the largest file that the model keeps, in bytes: it keeps all in memory.
const maxFile = 64 << 20

// maxLine is the longest line of a trace: four characters per byte written.
const maxLine = 4*maxString + 4096

// Follower follows processes that work in a folder one after another.
type Follower struct{ p *parser }

// Follow begins with an empty folder.
func Follow(root string) *Follower {
	return &Follower{&parser{
		root: filepath.Clean(root), tree: &node{dir: true, children: map[string]*node{}}, nodes: 1, sizes: map[int]int64{},
		run: &Run{shm: map[int]bool{}},
	}}
}

// Life reads what strace wrote of the next process, which has ended: the folder must
// be as it left it. A call in which kill -9 met it may have been done, in part or not
// at all: the folder tells which. The model is then compared with the folder, see
// Run.Verify. Error: ErrTrace.
func (f *Follower) Life(trace io.Reader) error {
	if err := f.p.life(trace); err != nil {
		return err
	}
	if err := f.p.died(); err != nil {
		return fmt.Errorf("%w: what the process died in: %w", ErrTrace, err)
	}
	return f.p.run.Verify(f.p.root)
}

// Run is what the processes so far did.
func (f *Follower) Run() *Run { return f.p.run }

// Parse reads what strace wrote of a process that began with an empty folder root,
// and does not look into the folder. Whatever is not below root is left out. Error:
// ErrTrace.
func Parse(trace io.Reader, root string) (*Run, error) {
	f := Follow(root)
	if err := f.p.life(trace); err != nil {
		return nil, err
	}
	return f.p.run, nil
}

func (p *parser) life(trace io.Reader) error {
	p.run.lives = append(p.run.lives, len(p.run.events))
	p.fds, p.pending, p.cut, p.execs = map[int]*handle{}, map[string]call{}, nil, 0
	lines := bufio.NewScanner(trace)
	lines.Buffer(make([]byte, 1<<20), maxLine)
	n := 0
	for lines.Scan() {
		n++
		if err := p.line(lines.Bytes()); err != nil {
			return fmt.Errorf("%w: line %d: %w", ErrTrace, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: line %d: %w", ErrTrace, n+1, err)
	}
	for _, c := range p.pending {
		p.cut = append(p.cut, c)
	}
	return nil
}

var (
	unfinished = []byte(" <unfinished ...>")
	detached   = []byte(" <detached ...>")
	resumed    = []byte(" resumed>")
)

func (p *parser) line(line []byte) error {
	thread, rest, ok := bytes.Cut(line, []byte(" "))
	rest = bytes.TrimLeft(rest, " ")
	if !ok || len(rest) == 0 {
		return fmt.Errorf("%.40q is no event", line)
	}
	switch {
	case bytes.HasPrefix(rest, []byte("+++")) || bytes.HasPrefix(rest, []byte("---")):
		if c, ok := p.pending[string(thread)]; ok {
			p.cut = append(p.cut, c)
			delete(p.pending, string(thread))
		}
		return nil
	case bytes.HasPrefix(rest, []byte("<... ")):
		c, ok := p.pending[string(thread)]
		if !ok {
			return fmt.Errorf("thread %s resumes what it has not begun", thread)
		}
		delete(p.pending, string(thread))
		_, after, ok := bytes.Cut(rest, resumed)
		if !ok {
			return fmt.Errorf("%.40q does not resume", rest)
		}
		args, result, err := split(append(c.held, after...))
		if err != nil {
			return err
		}
		c.args = args
		return p.returned(&c, result)
	}
	name, rest, ok := bytes.Cut(rest, []byte("("))
	if !ok {
		return fmt.Errorf("%.40q is no call", rest)
	}
	c := call{name: string(name), sync: -1}
	held, cut := bytes.CutSuffix(rest, unfinished)
	if !cut { // so strace ends the line of a thread that dies while it is written
		held, cut = bytes.CutSuffix(rest, detached)
	}
	if cut {
		c.args, c.held = held, slices.Clone(held)
		if err := p.begun(&c); err != nil {
			return err
		}
		p.pending[string(thread)] = c
		return nil
	}
	args, result, err := split(rest)
	if err != nil {
		return err
	}
	c.args = args
	if err := p.begun(&c); err != nil {
		return err
	}
	return p.returned(&c, result)
}

// split separates the arguments from the result of "a, b) = 3 (comment)".
func split(rest []byte) (args, result []byte, err error) {
	i := bytes.LastIndex(rest, []byte("= "))
	if i < 0 {
		return nil, nil, fmt.Errorf("%.40q has no result", rest)
	}
	args = bytes.TrimRight(rest[:i], " ")
	if len(args) == 0 || args[len(args)-1] != ')' {
		return nil, nil, fmt.Errorf("%.40q has no end of its arguments", rest)
	}
	result, _, _ = bytes.Cut(rest[i+2:], []byte(" "))
	return args[:len(args)-1], result, nil
}

// begun is what a call does when it begins.
func (p *parser) begun(c *call) error {
	switch c.name {
	case "write": // to standard output: a mark
		fd, rest, err := number(c.args)
		if err != nil {
			return err
		}
		if fd == 1 {
			// What strace could not read belongs to a process that is being killed:
			// it has not written it.
			if data, _, err := text(rest); err == nil {
				p.emit(event{kind: marked, data: data})
			} else if len(rest) > 0 && rest[0] == '"' {
				return err
			}
		}
	case "close":
		// From now on another thread may get the number.
		fd, _, err := number(c.args)
		if err != nil {
			return err
		}
		delete(p.fds, int(fd))
	case "fsync", "fdatasync":
		fd, _, err := number(c.args)
		if err != nil {
			return err
		}
		if h := p.fds[int(fd)]; h != nil {
			c.sync, c.file, c.read = p.beginSync(h), h.node.id, h.reader
		}
	}
	return nil
}

func (p *parser) beginSync(h *handle) int {
	p.syncs++
	p.emit(event{kind: syncBegan, file: h.node.id, id: p.syncs, reader: h.reader})
	return p.syncs
}

func (p *parser) emit(e event) { p.run.events = append(p.run.events, e) }

// returned is what a call has done when it returns. One that failed did nothing.
func (p *parser) returned(c *call, result []byte) error {
	ret, err := strconv.ParseInt(string(result), 0, 64)
	if err != nil {
		if string(result) == "?" { // the process ended in it
			cut := *c
			cut.args, cut.held = slices.Clone(c.args), nil
			p.cut = append(p.cut, cut)
			return nil
		}
		return fmt.Errorf("%s returned %.20q", c.name, result)
	}
	if ret < 0 {
		return nil
	}
	f, ok := calls[c.name]
	if !ok {
		return fmt.Errorf("call %q is unknown", c.name)
	}
	if err := f(p, c, ret); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// calls is what can change a file. Those that the model does not know are refused
// when they touch the folder.
var calls = map[string]func(p *parser, c *call, ret int64) error{
	"open":            func(p *parser, c *call, ret int64) error { return p.open(c, c.args, nil, ret) },
	"openat":          func(p *parser, c *call, ret int64) error { return p.at(c, ret, p.open) },
	"creat":           refusedPath,
	"openat2":         refusedAt,
	"close":           func(*parser, *call, int64) error { return nil },
	"write":           (*parser).write,
	"pwrite64":        (*parser).write,
	"lseek":           (*parser).seek,
	"ftruncate":       (*parser).truncate,
	"truncate":        refusedPath,
	"fsync":           (*parser).synced,
	"fdatasync":       (*parser).synced,
	"mkdir":           func(p *parser, c *call, ret int64) error { return p.mkdir(c, c.args, nil, ret) },
	"mkdirat":         func(p *parser, c *call, ret int64) error { return p.at(c, ret, p.mkdir) },
	"unlink":          func(p *parser, c *call, ret int64) error { return p.unlink(c, c.args, nil, ret) },
	"rmdir":           func(p *parser, c *call, ret int64) error { return p.unlink(c, c.args, nil, ret) },
	"unlinkat":        func(p *parser, c *call, ret int64) error { return p.at(c, ret, p.unlink) },
	"rename":          (*parser).rename,
	"renameat":        (*parser).rename,
	"renameat2":       (*parser).rename,
	"dup":             (*parser).dup,
	"dup2":            (*parser).dup,
	"dup3":            (*parser).dup,
	"mmap":            (*parser).mmap,
	"execve":          (*parser).exec,
	"link":            refusedPath,
	"linkat":          refusedAt,
	"symlink":         refusedPath,
	"symlinkat":       refusedPath,
	"writev":          refusedFD,
	"pwritev":         refusedFD,
	"pwritev2":        refusedFD,
	"fallocate":       refusedFD,
	"sendfile":        refusedFD,
	"sync":            func(*parser, *call, int64) error { return nil }, // that nothing relies on it is crueller
	"syncfs":          func(*parser, *call, int64) error { return nil },
	"chdir":           refusedPath,
	"fchdir":          refusedFD,
	"splice":          refusedCopy,
	"vmsplice":        refusedFD,
	"tee":             func(*parser, *call, int64) error { return nil }, // between pipes
	"io_uring_setup":  func(*parser, *call, int64) error { return errors.New("writes by io_uring are not seen") },
	"io_submit":       func(*parser, *call, int64) error { return errors.New("asynchronous writes are not seen") },
	"copy_file_range": refusedCopy,
	// A range alone says nothing of the file's size or of the disk's cache.
	"sync_file_range": func(*parser, *call, int64) error { return nil },
}

// traced is the expression for strace; a question mark tolerates a call that the
// architecture does not have.
func traced() string {
	names := make([]string, 0, len(calls))
	for name := range calls {
		names = append(names, "?"+name)
	}
	slices.Sort(names)
	return "trace=" + strings.Join(names, ",")
}

func refusedFD(p *parser, c *call, _ int64) error {
	fd, _, err := number(c.args)
	if err == nil && p.fds[int(fd)] != nil {
		err = errors.New("not in the model")
	}
	return err
}

func refusedCopy(p *parser, c *call, _ int64) error {
	for arg := range bytes.SplitSeq(c.args, []byte(", ")) {
		if fd, _, err := number(arg); err == nil && p.fds[int(fd)] != nil {
			return errors.New("not in the model")
		}
	}
	return nil
}

func refusedPath(p *parser, c *call, _ int64) error {
	name, _, err := text(c.args)
	if err == nil && p.below(string(name)) {
		err = errors.New("not in the model")
	}
	return err
}

func refusedAt(p *parser, c *call, ret int64) error {
	return p.at(c, ret, func(_ *call, rest []byte, base *node, _ int64) error {
		name, _, err := text(rest)
		if err == nil && (base != nil || p.below(string(name))) {
			err = errors.New("not in the model")
		}
		return err
	})
}

// at calls f with the arguments after the folder's number and with that folder,
// nil when it is not below the root.
func (p *parser) at(c *call, ret int64, f func(c *call, rest []byte, base *node, ret int64) error) error {
	base, rest, err := p.base(c.args)
	if err != nil {
		return err
	}
	return f(c, rest, base, ret)
}

// base reads the number of the folder to which a path is relative.
func (p *parser) base(args []byte) (*node, []byte, error) {
	if rest, ok := bytes.CutPrefix(args, []byte("AT_FDCWD, ")); ok {
		return nil, rest, nil
	}
	fd, rest, err := number(args)
	if err != nil {
		return nil, nil, err
	}
	if h := p.fds[int(fd)]; h != nil {
		return h.node, rest, nil
	}
	return nil, rest, nil
}

func (p *parser) below(name string) bool {
	name = path.Clean(name)
	return name == p.root || strings.HasPrefix(name, p.root+"/")
}

// place finds the folder and last element of a path; dir is nil when it is not
// below the root. The root itself is (tree, ".").
func (p *parser) place(base *node, name string) (dir *node, last string, err error) {
	dir = base
	if dir != nil && !dir.dir {
		return nil, "", errors.New("a file is no folder")
	}
	if strings.HasPrefix(name, "/") {
		if !p.below(name) {
			return nil, "", nil
		}
		dir, name = p.tree, strings.TrimPrefix(strings.TrimPrefix(path.Clean(name), p.root), "/")
	}
	if dir == nil {
		return nil, "", nil
	}
	if name == "" {
		return dir, ".", nil
	}
	name = path.Clean(name)
	if name == ".." || strings.HasPrefix(name, "../") {
		return nil, "", errors.New("a path leaves its folder")
	}
	for {
		first, rest, more := strings.Cut(name, "/")
		if !more {
			return dir, name, nil
		}
		if dir = dir.children[first]; dir == nil || !dir.dir {
			return nil, "", fmt.Errorf("folder %q is not known", first)
		}
		name = rest
	}
}

func lookup(dir *node, last string) *node {
	if last == "." {
		return dir
	}
	return dir.children[last]
}

func (p *parser) add(dir *node, last string, isDir bool) *node {
	n := &node{id: p.nodes, dir: isDir}
	if isDir {
		n.children = map[string]*node{}
	}
	p.nodes++
	dir.children[last] = n
	p.emit(event{kind: made, dir: dir.id, name: last, file: n.id, isDir: isDir})
	return n
}

func (p *parser) open(_ *call, rest []byte, base *node, ret int64) error {
	name, rest, err := text(rest)
	if err != nil {
		return err
	}
	delete(p.fds, int(ret))
	dir, last, err := p.place(base, string(name))
	if err != nil || dir == nil {
		return err
	}
	word, _, _ := bytes.Cut(rest, []byte(", "))
	flags := strings.Split(string(word), "|")
	n := lookup(dir, last)
	if n == nil {
		if !slices.Contains(flags, "O_CREAT") {
			return fmt.Errorf("%q was opened and is not known", last)
		}
		n = p.add(dir, last, false)
	}
	if slices.Contains(flags, "O_TRUNC") && p.sizes[n.id] > 0 {
		p.resize(n.id, 0)
	}
	if slices.Contains(flags, "O_TMPFILE") || slices.Contains(flags, "__O_TMPFILE") {
		return errors.New("a file without a name is not in the model")
	}
	p.fds[int(ret)] = &handle{
		node: n, append: slices.Contains(flags, "O_APPEND"),
		sync:   slices.Contains(flags, "O_SYNC") || slices.Contains(flags, "O_DSYNC"),
		reader: slices.Contains(flags, "O_RDONLY"),
	}
	return nil
}

func (p *parser) resize(file int, size int64) {
	p.sizes[file] = size
	p.emit(event{kind: resized, file: file, size: size})
}

func (p *parser) write(c *call, ret int64) error {
	fd, rest, err := number(c.args)
	if err != nil {
		return err
	}
	h := p.fds[int(fd)]
	if h == nil {
		return nil
	}
	data, rest, err := text(rest)
	if err != nil {
		return err
	}
	if ret > int64(len(data)) {
		return fmt.Errorf("%d bytes were written, %d are told", ret, len(data))
	}
	off, err := p.offset(c, h, rest)
	if err != nil {
		return err
	}
	if c.name != "pwrite64" {
		h.pos = off + ret
	}
	if h.node.dir || off < 0 || off > maxFile-ret {
		return fmt.Errorf("%d bytes at %d are not in the model", ret, off)
	}
	p.sizes[h.node.id] = max(p.sizes[h.node.id], off+ret)
	p.emit(event{kind: wrote, file: h.node.id, off: off, data: data[:ret]})
	if h.sync {
		id := p.beginSync(h)
		p.emit(event{kind: syncEnded, file: h.node.id, id: id})
	}
	return nil
}

// offset is where a write goes; rest are its arguments after the data.
func (p *parser) offset(c *call, h *handle, rest []byte) (off int64, err error) {
	switch {
	case c.name == "pwrite64":
		_, rest, _ = bytes.Cut(rest, []byte(", "))
		off, _, err = number(rest)
		return off, err
	case h.append:
		return p.sizes[h.node.id], nil
	}
	return h.pos, nil
}

func (p *parser) seek(c *call, ret int64) error {
	fd, _, err := number(c.args)
	if h := p.fds[int(fd)]; err == nil && h != nil {
		h.pos = ret
	}
	return err
}

func (p *parser) truncate(c *call, _ int64) error {
	fd, rest, err := number(c.args)
	if err != nil {
		return err
	}
	h := p.fds[int(fd)]
	if h == nil {
		return nil
	}
	size, _, err := number(rest)
	switch {
	case err != nil:
		return err
	case h.node.dir || size < 0 || size > maxFile:
		return fmt.Errorf("a size of %d is not in the model", size)
	case size != p.sizes[h.node.id]:
		p.resize(h.node.id, size)
	}
	return nil
}

func (p *parser) synced(c *call, _ int64) error {
	if c.sync >= 0 {
		p.emit(event{kind: syncEnded, file: c.file, id: c.sync, reader: c.read})
	}
	return nil
}

func (p *parser) mkdir(_ *call, rest []byte, base *node, _ int64) error {
	name, _, err := text(rest)
	if err != nil {
		return err
	}
	dir, last, err := p.place(base, string(name))
	if err == nil && dir != nil && last != "." {
		p.add(dir, last, true)
	}
	return err
}

func (p *parser) unlink(_ *call, rest []byte, base *node, _ int64) error {
	name, _, err := text(rest)
	if err != nil {
		return err
	}
	dir, last, err := p.place(base, string(name))
	if err != nil || dir == nil {
		return err
	}
	if lookup(dir, last) == nil || last == "." {
		return fmt.Errorf("%q was removed and is not known", last)
	}
	delete(dir.children, last)
	p.emit(event{kind: removed, dir: dir.id, name: last})
	return nil
}

func (p *parser) rename(c *call, _ int64) error {
	read := func(rest []byte) (*node, string, []byte, error) {
		var base *node
		var err error
		if c.name != "rename" {
			if base, rest, err = p.base(rest); err != nil {
				return nil, "", nil, err
			}
		}
		name, rest, err := text(rest)
		if err != nil {
			return nil, "", nil, err
		}
		dir, last, err := p.place(base, string(name))
		return dir, last, rest, err
	}
	dir, last, rest, err := read(c.args)
	if err != nil {
		return err
	}
	dir2, last2, rest, err := read(rest)
	if err != nil {
		return err
	}
	switch {
	case dir == nil && dir2 == nil:
		return nil
	case dir == nil || dir2 == nil || len(rest) > 0 && string(rest) != "0" && string(rest) != "RENAME_NOREPLACE":
		return errors.New("not in the model")
	}
	n := lookup(dir, last)
	if n == nil || last == "." || last2 == "." || n.holds(dir2) {
		return fmt.Errorf("%q was renamed and is not known", last)
	}
	delete(dir.children, last)
	dir2.children[last2] = n
	p.emit(event{kind: moved, dir: dir.id, name: last, dir2: dir2.id, name2: last2, file: n.id})
	return nil
}

func (p *parser) dup(c *call, ret int64) error {
	fd, _, err := number(c.args)
	if err != nil {
		return err
	}
	delete(p.fds, int(ret))
	if h := p.fds[int(fd)]; h != nil {
		p.fds[int(ret)] = h
	}
	return nil
}

// mmap with which a file is written is unseen. SQLite does that to its -shm files
// alone, whose content means nothing after a restart.
func (p *parser) mmap(c *call, _ int64) error {
	args := bytes.Split(c.args, []byte(", "))
	if len(args) < 6 {
		return errors.New("too few arguments")
	}
	fd, _, err := number(args[4])
	h := p.fds[int(fd)]
	if err != nil || h == nil || !bytes.Contains(args[2], []byte("PROT_WRITE")) || !bytes.Contains(args[3], []byte("MAP_SHARED")) {
		return err
	}
	p.run.shm[h.node.id] = true
	return nil
}

func (p *parser) exec(*call, int64) error {
	if p.execs++; p.execs > 1 {
		return errors.New("the process started another: its files would be mixed up")
	}
	return nil
}

// number reads a decimal number and what is after it and a comma.
func number(args []byte) (int64, []byte, error) {
	word, rest, _ := bytes.Cut(args, []byte(", "))
	n, err := strconv.ParseInt(string(word), 0, 64)
	if err != nil {
		return 0, nil, fmt.Errorf("%.20q is no number", word)
	}
	return n, rest, nil
}

// text reads a string of the form "\x66\x6f" and what is after it and a comma.
func text(args []byte) (s, rest []byte, err error) {
	if len(args) == 0 || args[0] != '"' {
		return nil, nil, fmt.Errorf("%.20q is no string", args)
	}
	end := bytes.IndexByte(args[1:], '"')
	if end < 0 || end%4 != 0 {
		return nil, nil, fmt.Errorf("%.20q is no string in hexadecimal", args)
	}
	hex := args[1 : 1+end]
	s = make([]byte, end/4)
	for i := range s {
		hi, lo := nibble(hex[4*i+2]), nibble(hex[4*i+3])
		if hex[4*i] != '\\' || hex[4*i+1] != 'x' || hi > 15 || lo > 15 {
			return nil, nil, fmt.Errorf("%.20q is no string in hexadecimal", args)
		}
		s[i] = hi<<4 | lo
	}
	rest = args[end+2:]
	if bytes.HasPrefix(rest, []byte("...")) {
		return nil, nil, errors.New("a string was cut off")
	}
	return s, bytes.TrimPrefix(rest, []byte(", ")), nil
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// Verify compares what the model says of the folder at the end of the run with
// what is there: whatever was written and not seen shows here. Content of files
// that were written through memory is left out.
func (r *Run) Verify(root string) error {
	d := r.Disk(Journal)
	d.Advance(r.Events())
	want := d.whole()
	seen := 0
	err := filepath.WalkDir(root, func(name string, e os.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f, ok := want[rel]
		if !ok || f.dir != e.IsDir() {
			return fmt.Errorf("%s is on the disk and not in the model", rel)
		}
		seen++
		if f.dir || f.shm {
			return nil
		}
		data, err := os.ReadFile(name)
		if err == nil && !bytes.Equal(data, f.data) {
			return fmt.Errorf("%s has other bytes than the model says", rel)
		}
		return err
	})
	if err == nil && seen != len(want) {
		err = fmt.Errorf("the model has %d files and folders, the disk %d", len(want), seen)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTrace, err)
	}
	return nil
}
