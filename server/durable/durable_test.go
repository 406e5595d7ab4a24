package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o400); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

// That the syncs keep what they should is shown by package powercut.
func TestTreeFindsEverythingOnceAlsoBehindLinks(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(base, name) }
	write(t, at("disk/a"))
	write(t, at("disk/b/c"))
	write(t, at("elsewhere/d"))
	link(t, at("disk"), at("root"))
	link(t, at("disk"), at("disk/b/loop"))
	link(t, at("elsewhere"), at("disk/far"))
	link(t, at("elsewhere/d"), at("disk/d"))
	var got []string
	if err := walk(at("root"), map[string]bool{}, func(path string) { got = append(got, path) }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	want := []string{at("disk"), at("disk/a"), at("disk/b"), at("disk/b/c"), at("elsewhere"), at("elsewhere/d")}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if err := Tree(at("root")); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeSyncedIsSaid(t *testing.T) {
	base := t.TempDir()
	link(t, filepath.Join(base, "nowhere"), filepath.Join(base, "gone"))
	for _, path := range []string{base, filepath.Join(base, "missing")} {
		if err := Tree(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s gives %v", path, err)
		}
	}
	if err := Files(filepath.Join(base, "missing", "file")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file whose folder is missing gives %v", err)
	}
}

func TestAFileThatIsNotThereNeedsNoSync(t *testing.T) {
	base := t.TempDir()
	write(t, filepath.Join(base, "db"))
	if err := Files(filepath.Join(base, "db"), filepath.Join(base, "db-wal")); err != nil {
		t.Error(err)
	}
}

func BenchmarkTreeOfAThousandSyncedFiles(b *testing.B) {
	base := b.TempDir()
	for i := range 1000 {
		path := filepath.Join(base, string(rune('a'+i%26)), "f"+string(rune('0'+i/26)))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := Tree(base); err != nil {
			b.Fatal(err)
		}
	}
}
