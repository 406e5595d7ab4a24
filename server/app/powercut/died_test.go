package powercut_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/app/powercut"
)

// killed are calls in which a process was killed, as strace writes them.
func killed(root string, lines ...string) string {
	out := make([]string, 0, len(lines)+1)
	for i, l := range lines {
		l = strings.ReplaceAll(l, "'/d", "'"+root)
		if !strings.Contains(l, ") = ") {
			l = fmt.Sprintf("%d %s <unfinished ...>", 10+i, l)
		}
		out = append(out, l)
	}
	text := trace(out...)
	for i, l := range lines {
		switch {
		case strings.Contains(l, ") = "):
		case i%2 == 0:
			text += fmt.Sprintf("%d +++ killed by SIGKILL +++\n", 10+i)
		default:
			name, _, _ := strings.Cut(l, "(")
			text += fmt.Sprintf("%d <... %s resumed>) = ?\n%d +++ killed by SIGKILL +++\n", 10+i, name, 10+i)
		}
	}
	return text
}

// put makes the folder that the process left: by path the bytes, a folder for "/".
func put(t *testing.T, root string, left map[string]string) {
	t.Helper()
	for name, data := range left {
		var err error
		if data == "/" {
			err = os.Mkdir(filepath.Join(root, name), 0o700)
		} else {
			err = os.WriteFile(filepath.Join(root, name), []byte(data), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheFolderTellsWhatAKilledProcessHadDone(t *testing.T) {
	a := "openat(AT_FDCWD, '/d/a', O_RDWR|O_CREAT, 0644) = 3"
	for _, c := range []struct {
		name  string
		trace []string
		left  map[string]string
	}{
		{"a write whole", []string{a, "write(3, 'hello', 5"}, map[string]string{"a": "hello"}},
		{"a write in part", []string{a, "write(3, 'hello', 5"}, map[string]string{"a": "hel"}},
		{"no write", []string{a, "write(3, 'hello', 5"}, map[string]string{"a": ""}},
		{"a write that ends in the line", []string{a, "pwrite64(3, 'hello', 5, 2) = ?"}, map[string]string{"a": "\x00\x00hel"}},
		{"a write over others", []string{a, "write(3, 'hello', 5) = 5", "pwrite64(3, 'HE', 2, 0"}, map[string]string{"a": "HEllo"}},
		{"two writes", []string{a, "pwrite64(3, 'x', 1, 0", "pwrite64(3, 'y', 1, 1"}, map[string]string{"a": "xy"}},
		{"a write that nobody could read", []string{a, "write(3, 0xc000123000, 5"}, map[string]string{"a": ""}},
		{"a mark that nobody could read", []string{a, "write(1, 0xc000123000, 5"}, map[string]string{"a": ""}},
		{"a truncation", []string{a, "write(3, 'hello', 5) = 5", "ftruncate(3, 2"}, map[string]string{"a": "he"}},
		{"no truncation", []string{a, "write(3, 'hello', 5) = 5", "ftruncate(3, 2"}, map[string]string{"a": "hello"}},
		{"a creation", []string{"openat(AT_FDCWD, '/d/a', O_RDWR|O_CREAT, 0644"}, map[string]string{"a": ""}},
		{"no creation", []string{"openat(AT_FDCWD, '/d/a', O_RDWR|O_CREAT, 0644"}, nil},
		{
			"an emptying",
			[]string{a, "write(3, 'hello', 5) = 5", "openat(AT_FDCWD, '/d/a', O_WRONLY|O_TRUNC|O_CREAT, 0644"},
			map[string]string{"a": ""},
		},
		{"a folder", []string{"mkdir('/d/b', 0700"}, map[string]string{"b": "/"}},
		{"no folder", []string{"mkdirat(AT_FDCWD, '/d/b', 0700"}, nil},
		{"a removal", []string{a, "unlinkat(AT_FDCWD, '/d/a', 0"}, nil},
		{"no removal", []string{a, "unlink('/d/a'"}, map[string]string{"a": ""}},
		{"a renaming", []string{a, "write(3, 'x', 1) = 1", "renameat(AT_FDCWD, '/d/a', AT_FDCWD, '/d/b'"}, map[string]string{"b": "x"}},
		{"no renaming", []string{a, "rename('/d/a', '/d/b'"}, map[string]string{"a": ""}},
		{"a sync", []string{a, "write(3, 'x', 1) = 1", "fsync(3"}, map[string]string{"a": "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			put(t, root, c.left)
			f := powercut.Follow(root)
			if err := f.Life(strings.NewReader(killed(root, c.trace...))); err != nil {
				t.Fatal(err) // it compares the model with the folder
			}
		})
	}
}

func TestAFolderThatTheTraceCannotExplainIsRefused(t *testing.T) {
	root := t.TempDir()
	put(t, root, map[string]string{"a": "help"})
	f := powercut.Follow(root)
	err := f.Life(strings.NewReader(killed(root, "openat(AT_FDCWD, '/d/a', O_RDWR|O_CREAT, 0644) = 3", "write(3, 'hello', 5")))
	if !errors.Is(err, powercut.ErrTrace) {
		t.Errorf("it gives %v", err)
	}
}

// twoLives writes and does not sync; the second process syncs what it finds.
func twoLives(t *testing.T) *powercut.Run {
	t.Helper()
	root := t.TempDir()
	put(t, root, map[string]string{"a": "hello"})
	f := powercut.Follow(root)
	for _, lines := range [][]string{
		{"execve('/x', [], 0x1) = 0", "openat(AT_FDCWD, '/d/a', O_RDWR|O_CREAT, 0644) = 3", "write(3, 'hello', 5) = 5", "fsync(3"},
		{"execve('/x', [], 0x1) = 0", "write(3, 'elsewhere', 9) = 9", "openat(AT_FDCWD, '/d/a', O_RDONLY|O_CLOEXEC) = 3", "fsync(3) = 0"},
	} {
		if err := f.Life(strings.NewReader(killed(root, lines...))); err != nil {
			t.Fatal(err)
		}
	}
	return f.Run()
}

func TestTheNextProcessMakesTheWritesOfAKilledOneCertain(t *testing.T) {
	run := twoLives(t)
	if got := outcomes(run, powercut.Journal, names("a")); len(got) != 1 || got["a:5"] == 0 {
		t.Errorf("outcomes are %v, want the whole file only", got)
	}
	if got := outcomes(run.Forgetful(1), powercut.Journal, names("a")); got["a:5"] == 0 || got["a:0"] == 0 {
		t.Errorf("without the second one's sync outcomes are %v, want the file whole and empty among them", got)
	}
	if began := run.Began(1); began != 3 { // the creation, the write, the sync that did not return
		t.Errorf("the second process begins at event %d", began)
	}
}
