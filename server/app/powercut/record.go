package powercut

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
)

// maxString is the longest write that a trace keeps whole, in bytes.
const maxString = 8 << 20

// Tracer finds strace and tries it. The error says why nothing can be traced here.
func Tracer(ctx context.Context) (string, error) {
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf("system calls are traced on Linux only, not on %s", runtime.GOOS)
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		return "", fmt.Errorf("strace is needed (deploy/bootstrap.sh installs it): %w", err)
	}
	if out, err := exec.CommandContext(ctx, strace, "-f", "--seccomp-bpf", "-o", "/dev/null", "true").CombinedOutput(); err != nil { //nolint:gosec // what LookPath found
		return "", fmt.Errorf("strace may not trace here (a container needs the capability SYS_PTRACE): %w: %.200s", err, out)
	}
	return strace, nil
}

// Build makes the test binary of a package, without the race detector, in dir: with
// it a thousand cuts take many minutes.
func Build(ctx context.Context, dir, pkg string) (string, error) {
	out := filepath.Join(dir, "plain.test")
	if text, err := exec.CommandContext(ctx, "go", "test", "-c", "-race=false", "-o", out, pkg).CombinedOutput(); err != nil { //nolint:gosec // a test's own package
		return "", fmt.Errorf("build %s: %w: %.2000s", pkg, err, text)
	}
	return out, nil
}

// Command is a process whose calls go to the file trace, for Parse.
func Command(ctx context.Context, strace, trace, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, strace, append([]string{ //nolint:gosec // a test's own binary
		"-f", "--seccomp-bpf", "-xx", "-s", strconv.Itoa(maxString), "-e", "signal=none", "-e", traced(), "-o", trace, name,
	}, args...)...)
}
