package natstest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// module is what is built; go.mod says which version.
const module = "github.com/nats-io/nats-server/v2"

// binary builds the server once per process. The result is kept in the user's
// cache folder under the versions of the server and of Go, so that the next
// process finds it.
var binary = sync.OnceValues(func() (string, error) {
	ctx := context.Background()
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("natstest: which nats-server: %w", err)
	}
	goVersion, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("natstest: which Go: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "footfall-natstest")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("natstest: %w", err)
	}
	bin := filepath.Join(dir, fmt.Sprintf("nats-server-%s-%s", strings.TrimSpace(string(out)), strings.TrimSpace(string(goVersion))))
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	fresh := fmt.Sprintf("%s.%d", bin, os.Getpid())
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", fresh, module).CombinedOutput(); err != nil {
		return "", fmt.Errorf("natstest: build nats-server: %w\n%s", err, out)
	}
	if err := os.Rename(fresh, bin); err != nil { // at once: another process may look
		return "", fmt.Errorf("natstest: %w", err)
	}
	return bin, nil
})

// portCounter walks through the ports below those that the system gives to
// outgoing connections, from a random one on.
var portCounter atomic.Uint32

const (
	firstPort = 10_000
	portRange = 20_000
)

func nextPort() int {
	portCounter.CompareAndSwap(0, 1+rand.Uint32N(portRange))
	return firstPort + int(portCounter.Add(1)%portRange)
}
