package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
)

// quote shows the end of what processes of their own said.
func (d *demo) quote(file string) {
	const most = 4000
	if text, err := os.ReadFile(file); err == nil && len(text) > 0 {
		fmt.Fprintf(d.progress, "the processes said, at last:\n%s\n", text[max(0, len(text)-most):])
	}
}

// startNATS starts a NATS server on a folder, as the durability demands it, and
// returns its URL. Started again, it has the same one.
func startNATS(ctx context.Context, dir string, d config.Durability, log *os.File) (*process, string, error) {
	p, err := self(killNATS, os.Environ(), log, "run-nats", "--dir", dir, fmt.Sprintf("--sync=%t", d == config.Power))
	if err != nil {
		return nil, "", err
	}
	line, err := p.start(ctx)
	if err != nil {
		return nil, "", err
	}
	url := strings.TrimSpace(line)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(url, "nats://"))
	if err != nil {
		p.kill()
		return nil, "", fmt.Errorf("address of the NATS server: %w", err)
	}
	p.args = append(p.args, "--port", port)
	return p, url, nil
}

// startChild starts the server as a process of its own. Started again, it has the
// same address.
func (d *demo) startChild(ctx context.Context, log *os.File) error {
	if d.o.Port == 0 {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", d.conf.Listen)
		if err != nil {
			return fmt.Errorf("find a port: %w", err)
		}
		d.conf.Listen = l.Addr().String()
		if err := l.Close(); err != nil {
			return fmt.Errorf("find a port: %w", err)
		}
	}
	var err error
	if d.child, err = self(killServer, environ(&d.conf), log, "run-server"); err != nil {
		return err
	}
	line, err := d.child.start(ctx)
	if err != nil {
		return err
	}
	var said up
	if err := json.Unmarshal([]byte(line), &said); err != nil {
		d.child.kill()
		return fmt.Errorf("what the server says: %w", err)
	}
	d.url, d.key = said.URL, engage.Secret(said.Key)
	if d.key != "" {
		return nil
	}
	// The folder is of an earlier run, which had the key.
	d.child.kill()
	if d.key, err = app.ResetAdmin(ctx, d.conf); err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	_, err = d.child.start(ctx)
	return err
}

// serve runs the server in this process and waits until it takes everything; false
// when ctx ends first.
func (d *demo) serve(ctx context.Context) (bool, error) {
	var err error
	d.options.Config = d.conf
	if d.server, err = app.New(ctx, d.options); err != nil {
		return false, err
	}
	if d.url, d.key = d.server.URL(), cmp.Or(d.key, d.server.FirstKey()); d.key == "" { // the folder is of an earlier run, which had it
		k, token := catalog.NewKey(d.workspace, "demo", catalog.Admin)
		if err := d.server.Catalog().PutKey(ctx, "footfall-lab", k, 0); err != nil {
			return false, errors.Join(fmt.Errorf("make a key: %w", err), d.server.Close())
		}
		d.key = token
	}
	// The server outlives ctx: phones must be able to say their last word.
	serverCtx, stopServer := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	d.served = served
	go func() { served <- d.server.Run(serverCtx) }()
	before := d.stop
	d.stop = sync.OnceValue(func() error {
		stopServer()
		return errors.Join(<-served, before())
	})
	select {
	case <-d.server.Serving():
		return true, nil
	case err := <-served:
		served <- nil
		return false, fmt.Errorf("the server stopped: %w", err)
	case <-ctx.Done():
		return false, nil
	case <-time.After(startWithin):
		return false, fmt.Errorf("the server did not begin to serve within %v", startWithin)
	}
}
