package lockfile_test

import (
	"path/filepath"
	"testing"

	"github.com/footfall-engage/footfall/server/lockfile"
)

func TestOneHolderAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := lockfile.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := lockfile.Lock(path); err == nil {
		_ = second.Close()
		t.Fatal("two hold the lock")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := lockfile.Lock(path)
	if err != nil {
		t.Fatalf("the lock was not given back: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
