//go:build !linux

package natstest

import "os/exec"

// dieWithParent can do nothing here: a test process that is killed leaves its
// servers behind.
func dieWithParent(*exec.Cmd) {}
