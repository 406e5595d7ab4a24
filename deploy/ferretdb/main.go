// Command ferretdb serves MongoDB's wire protocol from SQLite files, for tests
// of server/store/mongo where there is no MongoDB. README.md says what it is
// not good for.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ferretdb:", err)
		os.Exit(1) //nolint:forbidigo // main
	}
}

// run serves until SIGTERM, SIGINT or the end of standard input, so that a peer
// does not outlive the test that started it.
func run() (err error) {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on; only a loopback one is taken")
	dir := flag.String("dir", "", "folder of the databases, which must be there; without it they are in a temporary one")
	flag.Parse()
	host, _, err := net.SplitHostPort(*listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("-listen: %q is no loopback address", host) // there is no authentication
	}
	if *dir == "" {
		if *dir, err = os.MkdirTemp("", "footfall-ferretdb-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(*dir)) }()
	}
	path, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	peer, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: *listen},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Handler:   "sqlite",
		SQLiteURL: "file:" + path + "/",
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is all that is of interest
		stop()
	}()
	ended := make(chan error, 1)
	go func() { ended <- peer.Run(ctx) }()
	// The address is known from New on.
	fmt.Fprintln(os.Stdout, peer.MongoDBURI())
	return <-ended
}
