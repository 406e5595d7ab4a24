package main

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// A demo starts processes of its own program, which in a test is the test: with
// this variable it is the command.
const asCommand = "FOOTFALL_TEST_LAB_COMMAND"

// scratch is a folder of all tests, removed when they end.
var scratch string

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	var err error
	if scratch, err = os.MkdirTemp("", "footfall-lab-"); err == nil {
		err = os.Setenv(asCommand, "1")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(scratch) // a temporary folder
		os.Exit(code)
	}))
}
