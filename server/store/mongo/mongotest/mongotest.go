// Package mongotest gives tests a server that speaks MongoDB's protocol: the one
// of FOOTFALL_TEST_MONGODB_URI, else FerretDB from deploy/ferretdb, which is
// built and started once per process of tests.
package mongotest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Variable is the environment's name for the URI of a real server.
const Variable = "FOOTFALL_TEST_MONGODB_URI"

// startPatience is for building FerretDB without any cache.
const startPatience = 10 * time.Minute

// Peer returns a server's URI. Serial says that it is FerretDB, which has
// neither transactions nor atomic commands. A test that can have neither fails.
func Peer(t testing.TB) (uri string, serial bool) {
	t.Helper()
	if uri := os.Getenv(Variable); uri != "" {
		return uri, false
	}
	p, err := ferretdb()
	if err != nil {
		t.Fatalf("no server to test with: %v\nset %s, or see to it that deploy/ferretdb builds", err, Variable)
	}
	t.Logf("FerretDB serves this test: transactions and concurrency on the server are not run; %s has the whole suite run", Variable)
	return p.uri, true
}

// Database returns the name of a database that nobody else uses. It is dropped
// when the test ends.
func Database(t testing.TB, uri string) string {
	t.Helper()
	name := "footfall_test_" + bson.NewObjectID().Hex()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		client, err := mongo.Connect(options.Client().ApplyURI(uri))
		if err != nil {
			t.Error("connect to drop the test's database: the URI is not good")
			return
		}
		err = errors.Join(client.Database(name).Drop(ctx), client.Disconnect(ctx))
		if err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return name
}

// peer is a running FerretDB.
type peer struct {
	uri   string
	input io.Closer // held, for what nobody holds is closed, and then it ends
}

// ferretdb lives as long as this process: it ends when its input does.
var ferretdb = sync.OnceValues(func() (p peer, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return p, fmt.Errorf("find the module: %w", err)
	}
	// Not of ctx, which ends before the process.
	cmd := exec.Command("go", "run", ".")
	cmd.Dir = filepath.Join(filepath.Dir(strings.TrimSpace(string(mod))), "deploy", "ferretdb")
	// It is a module of its own, whatever this process is a part of.
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	// A file, not a buffer, which would need a goroutine for as long as it lives.
	said, err := os.CreateTemp("", "ferretdb-*.log")
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, said.Close(), os.Remove(said.Name())) }()
	cmd.Stderr = said
	if p.input, err = cmd.StdinPipe(); err != nil {
		return p, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return p, err
	}
	if err := cmd.Start(); err != nil {
		return p, fmt.Errorf("start FerretDB: %w", err)
	}
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(out).ReadString('\n') // cut short: it has ended
		line <- strings.TrimSpace(s)
	}()
	select {
	case p.uri = <-line:
	case <-ctx.Done():
		return p, errors.Join(errors.New("FerretDB did not start in time"), cmd.Process.Kill())
	}
	if p.uri == "" {
		err := cmd.Wait()
		text, _ := os.ReadFile(said.Name())
		return p, fmt.Errorf("FerretDB ended: %w: %s", err, text)
	}
	return p, nil
})
