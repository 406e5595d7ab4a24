package main

import (
	"context"
	"errors"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/config"
)

// benchServer is a server under test: the real one, with the default settings, in a
// process that is told what to do.
type benchServer struct {
	dir string // its data folder
	// settings changes what the measurement needs to be otherwise; nil: nothing.
	settings func(*config.Config)
	// before makes what the measurement needs in the catalog before it serves; nil: nothing.
	before func(context.Context, *app.App, *config.Config) error
	// up is what it says when it serves.
	up func(*app.App, *config.Config) any
	// do carries out an order; nil: what every server can be told.
	do func(context.Context, *app.App, *config.Config, []byte) (any, error)
}

// open makes the app, as `footfall serve` does.
func (s *benchServer) open(ctx context.Context, cmd *cobra.Command) (*app.App, config.Config, error) {
	conf, err := config.Load("", os.Getenv)
	if err != nil {
		return nil, conf, usageError{err}
	}
	conf.DataDir, conf.Listen = s.dir, "127.0.0.1:0"
	if s.settings != nil {
		s.settings(&conf)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(conf.GCPercent)
	}
	a, err := app.New(ctx, app.Options{Config: conf, Logger: warnings(cmd.ErrOrStderr()), Version: "bench"})
	return a, conf, err
}

// serve runs it until its orders end.
func (s *benchServer) serve(cmd *cobra.Command) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	a, conf, err := s.open(ctx, cmd)
	if err != nil {
		return err
	}
	if s.before != nil {
		if err := s.before(ctx, a, &conf); err != nil {
			return errors.Join(err, a.Close())
		}
	}
	served := make(chan error, 1)
	go func() { served <- a.Run(ctx) }()
	select {
	case <-a.Serving():
	case err := <-served:
		return err
	}
	err = obey(cmd, s.up(a, &conf), func(order []byte) (any, error) {
		if s.do == nil {
			return serverDoes(order)
		}
		return s.do(ctx, a, &conf, order)
	})
	cancel()
	return errors.Join(err, <-served)
}
