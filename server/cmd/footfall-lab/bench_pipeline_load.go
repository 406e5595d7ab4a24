package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
	"github.com/footfall-engage/footfall/server/lab/pipelinebench"
)

// pipelineLoad is the phones of one run of servers after another.
type pipelineLoad struct {
	phones atomic.Pointer[pipelinebench.Load]
}

// pushed takes what the simulator accepted.
func (l *pipelineLoad) pushed(d fcmsim.Delivered) {
	if p := l.phones.Load(); p != nil {
		p.Pushed(d.Token, d.MessageID, d.Data["deep_link"], d.At)
	}
}

func (l *pipelineLoad) close() {
	if p := l.phones.Swap(nil); p != nil {
		p.Close()
	}
}

// do carries out an order.
func (l *pipelineLoad) do(ctx context.Context, o *pipelineOrder) (any, error) {
	if o.Do == pipelineConnect {
		l.close()
		o.Connect.Token = pipelineToken
		p, err := pipelinebench.Connect(ctx, o.Connect)
		if err != nil {
			return nil, err
		}
		l.phones.Store(p)
		return struct{}{}, nil
	}
	p := l.phones.Load()
	if p == nil {
		return nil, errors.New("nobody is connected")
	}
	switch o.Do {
	case pipelineRun:
		runtime.GC()
		return p.Run(ctx, o.Rate, o.For, o.Seed)
	case pipelineArrivals:
		return pipelineArrived{p.Entered(), p.Arrivals()}, nil
	case pipelineClose:
		l.close()
		return struct{}{}, nil
	}
	return nil, fmt.Errorf("%q is not known", o.Do)
}
