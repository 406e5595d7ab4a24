package powercut_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/app/powercut"
)

// hex is a string as strace writes it with -xx.
func hex(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, `\x%02x`, c)
	}
	b.WriteByte('"')
	return b.String()
}

func parse(t *testing.T, lines ...string) *powercut.Run {
	t.Helper()
	r, err := powercut.Parse(strings.NewReader(trace(lines...)), "/d")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// trace replaces 'text' by its hexadecimal form and puts a thread before each line
// that has none.
func trace(lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		parts := strings.Split(l, "'")
		for i := 1; i < len(parts); i += 2 {
			parts[i] = hex(parts[i])
		}
		l = strings.Join(parts, "")
		if l[0] < '0' || l[0] > '9' {
			l = "1 " + l
		}
		b.WriteString(l + "\n")
	}
	return b.String()
}

// outcomes are the different images that 300 cuts at the end leave, each told by
// show.
func outcomes(r *powercut.Run, m powercut.Mode, show func(powercut.Image) string) map[string]int {
	out := map[string]int{}
	d := r.Disk(m)
	d.Advance(r.Events())
	for i := range 300 {
		out[show(d.Cut(rand.New(rand.NewPCG(1, uint64(i)))))]++
	}
	return out
}

// names are the files there with their sizes.
func names(of ...string) func(powercut.Image) string {
	return func(m powercut.Image) string {
		var out []string
		for _, n := range of {
			if size, ok := m.Has(n); ok {
				out = append(out, fmt.Sprintf("%s:%d", n, size))
			}
		}
		return strings.Join(out, " ")
	}
}

func TestWhatACutMayLeave(t *testing.T) {
	create := "openat(AT_FDCWD, '/d/a', O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 3"
	long := strings.Repeat("x", 600)
	for _, c := range []struct {
		name    string
		mode    powercut.Mode
		trace   []string
		of      []string
		always  []string // each of these outcomes happens, and no other unless more is set
		more    bool
		nothing bool // the outcome "" happens
	}{
		{
			name:  "a write that was not synced is lost or there, and so is its file",
			trace: []string{create, "write(3, 'hello', 5) = 5"}, of: []string{"a"},
			always: []string{"", "a:0", "a:5"}, more: true,
		},
		{
			name:  "a synced write is there with its name",
			trace: []string{create, "write(3, 'hello', 5) = 5", "fsync(3) = 0"}, of: []string{"a"},
			always: []string{"a:5"},
		},
		{
			name:  "fdatasync does",
			trace: []string{create, "pwrite64(3, 'hello', 5, 3) = 5", "fdatasync(3) = 0"}, of: []string{"a"},
			always: []string{"a:8"},
		},
		{
			name:  "a failed sync does not",
			trace: []string{create, "write(3, 'hello', 5) = 5", "fsync(3) = -1 EIO (Input/output error)"}, of: []string{"a"},
			always: []string{"", "a:0", "a:5"}, more: true,
		},
		{
			name: "O_SYNC does",
			trace: []string{
				"openat(AT_FDCWD, '/d/a', O_WRONLY|O_CREAT|O_TRUNC|O_SYNC|O_CLOEXEC, 0644) = 3", "write(3, 'hello', 5) = 5",
			}, of: []string{"a"}, always: []string{"a:5"},
		},
		{
			name: "a write during a sync is not covered by it",
			trace: []string{
				create, "write(3, 'hello', 5) = 5", "fsync(3 <unfinished ...>", "2 pwrite64(3, '!', 1, 5) = 1", "<... fsync resumed>) = 0",
			}, of: []string{"a"}, always: []string{"a:5", "a:6"},
		},
		{
			name:  "a write is torn at the sector",
			trace: []string{create, "fsync(3) = 0", "write(3, '" + long + "', 600) = 600"}, of: []string{"a"},
			always: []string{"a:0", "a:512", "a:600"}, more: true,
		},
		{
			name: "names are kept as a beginning",
			trace: []string{
				create, "close(3) = 0", "mkdirat(AT_FDCWD, '/d/b', 0700) = 0", "renameat(AT_FDCWD, '/d/a', AT_FDCWD, '/d/b/c') = 0",
			}, of: []string{"a", "b", "b/c"}, always: []string{"", "a:0", "a:0 b:0", "b:0 b/c:0"},
		},
		{
			name: "a folder's sync keeps what happened in it and before",
			trace: []string{
				create, "mkdirat(AT_FDCWD, '/d/b', 0700) = 0", "openat(AT_FDCWD, '/d', O_RDONLY|O_CLOEXEC) = 4", "fsync(4) = 0",
				"unlinkat(4, 'a', 0) = 0",
			}, of: []string{"a", "b"}, always: []string{"a:0 b:0", "b:0"},
		},
		{
			name: "a truncation keeps its place among the names",
			trace: []string{
				create, "write(3, 'hello', 5) = 5", "fsync(3) = 0", "ftruncate(3, 2) = 0", "unlink('/d/a') = 0",
			}, of: []string{"a"}, always: []string{"a:5", "a:2", ""},
		},
		{
			name: "strictly, a synced file may be without its name", mode: powercut.Strict,
			trace: []string{create, "write(3, 'hello', 5) = 5", "fsync(3) = 0"}, of: []string{"a"},
			always: []string{"", "a:5"},
		},
		{
			name: "strictly, its folder's sync keeps it", mode: powercut.Strict,
			trace: []string{
				create, "write(3, 'hello', 5) = 5", "fsync(3) = 0", "openat(AT_FDCWD, '/d', O_RDONLY|O_DIRECTORY) = 4", "fsync(4) = 0",
			}, of: []string{"a"}, always: []string{"a:5"},
		},
		{
			name: "strictly, folders have no common order", mode: powercut.Strict,
			trace: []string{
				"mkdir('/d/b', 0700) = 0", "openat(AT_FDCWD, '/d', O_RDONLY) = 4", "fsync(4) = 0",
				create, "openat(AT_FDCWD, '/d/b/c', O_RDWR|O_CREAT, 0644) = 5",
			}, of: []string{"a", "b/c"}, always: []string{"", "a:0", "b/c:0", "a:0 b/c:0"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := outcomes(parse(t, c.trace...), c.mode, names(c.of...))
			for _, want := range c.always {
				if got[want] == 0 {
					t.Errorf("%q never happens: %v", want, got)
				}
			}
			if !c.more && len(got) != len(c.always) {
				t.Errorf("outcomes are %v, want %q", got, c.always)
			}
		})
	}
}

func TestMarksCountFromTheirBeginning(t *testing.T) {
	r := parse(t, "write(1, 'one\n', 4) = 4", "write(1, 'two\n', 4 <unfinished ...>", "2 mkdir('/d/b', 0700) = 0", "<... write resumed>) = 4")
	if got := r.Marks(2); len(got) != 2 || got[1] != "two" {
		t.Errorf("marks are %q", got)
	}
	if at := r.Find("two"); at != 2 {
		t.Errorf("two is at %d", at)
	}
}

func TestWhatTheModelDoesNotKnowIsRefused(t *testing.T) {
	open := "openat(AT_FDCWD, '/d/a', O_RDWR|O_CREAT, 0644) = 3"
	for _, lines := range [][]string{
		{open, "writev(3, [{iov_base='x', iov_len=1}], 1) = 1"},
		{open, "fallocate(3, 0, 0, 4096) = 0"},
		{open, "copy_file_range(9, NULL, 3, NULL, 10, 0) = 10"},
		{"link('/d/a', '/d/b') = 0"},
		{"openat(AT_FDCWD, '/d/a', O_RDONLY) = 3"}, // there, and nobody made it
		{"rename('/tmp/x', '/d/a') = 0"},           // from elsewhere
		{"io_uring_setup(8, 0x1) = 5"},             // it could write anywhere
		{"execve('/a', [], 0x1) = 0", "execve('/b', [], 0x1) = 0"},
		{open, "write(3, 'hello'..., 9) = 9"}, // cut off
		{open, "write(3, 'hello', 5) = 9"},
		{"<... fsync resumed>) = 0"},
		{"unknown(1) = 0"},
	} {
		if _, err := powercut.Parse(strings.NewReader(trace(lines...)), "/d"); !errors.Is(err, powercut.ErrTrace) {
			t.Errorf("%q gives %v", lines, err)
		}
	}
	// The same elsewhere is nobody's business.
	parse(t, "openat(AT_FDCWD, '/e/a', O_RDWR|O_CREAT, 0644) = 3", "writev(3, [{iov_base='x', iov_len=1}], 1) = 1", "unlink('/dd/x') = 0",
		"--- SIGURG {si_signo=SIGURG} ---", "+++ exited with 0 +++")
}

func FuzzParse(f *testing.F) {
	f.Add(trace("openat(AT_FDCWD, '/d/a', O_RDWR|O_CREAT, 0644) = 3", "pwrite64(3, 'hello', 5, 700) = 5", "ftruncate(3, 2) = 0", "fsync(3) = 0",
		"mkdir('/d/b', 0700) = 0", "renameat(AT_FDCWD, '/d/a', AT_FDCWD, '/d/b/c') = 0", "dup(3) = 4", "write(4, 'x', 1) = 1",
		"lseek(3, 0, SEEK_SET) = 0", "unlinkat(AT_FDCWD, '/d/b/c', 0) = 0", "write(1, 'x\n', 2) = 2"))
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		r, err := powercut.Parse(strings.NewReader(text), "/d")
		if err != nil {
			if !errors.Is(err, powercut.ErrTrace) {
				t.Fatal(err)
			}
			return
		}
		for _, m := range []powercut.Mode{powercut.Journal, powercut.Strict} {
			d := r.Disk(m)
			for _, n := range []int{r.Events() / 2, r.Events()} {
				d.Advance(n)
				d.Cut(rand.New(rand.NewPCG(uint64(n), 0)))
			}
		}
	})
}
