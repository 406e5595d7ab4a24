package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/weather"
)

// router joins the stages: it takes outputs of a partition to the partition,
// deliverer or weather service that they are for.
type router struct {
	in, act []*partition.Partition
	accept  func(ctx context.Context, sends []engage.Send) error
	receipt func(ctx context.Context, workspace, profile string, r engage.ReceiptItem) error
	webhook func(ctx context.Context, entries []engage.Entry) error
	codes   func(ctx context.Context, workspace, offer string, codes []engage.PoolCode) ([]engage.PoolCode, error)
	items   func(ctx context.Context, workspace string, refs []engage.ItemRef) ([]engage.KnownItem, error)
	weather *weatherFeed
	moves   moves // who has become whom, as the act partitions see it
}

// Route implements partition.Router.
func (r *router) Route(to, key string) string {
	switch to {
	case "act":
		return fmt.Sprintf("act/%d", engage.PartitionOf(key, len(r.act)))
	case "in":
		return fmt.Sprintf("in/%d", engage.PartitionOf(key, len(r.in)))
	default:
		return to
	}
}

// Deliver implements partition.Router.
func (r *router) Deliver(ctx context.Context, dest string, entries []engage.Entry) error {
	switch dest {
	case "send":
		sends := make([]engage.Send, len(entries))
		for i, e := range entries {
			if err := json.Unmarshal(e.Body, &sends[i]); err != nil {
				return fmt.Errorf("decode send: %w", err)
			}
		}
		return r.accept(ctx, sends)
	case "displayed":
		for _, e := range entries {
			var receipt engage.ReceiptItem
			if err := json.Unmarshal(e.Body, &receipt); err != nil {
				return fmt.Errorf("decode receipt: %w", err)
			}
			if err := r.receipt(ctx, e.Workspace(), strings.TrimPrefix(engage.IDOf(e.Key), "p:"), receipt); err != nil {
				return err
			}
		}
		return nil
	case "codes":
		return r.fill(ctx, entries)
	case "items":
		return r.answerItems(ctx, entries)
	case "webhook":
		return r.webhook(ctx, entries)
	case "weather":
		for _, e := range entries {
			r.weather.ask(string(e.Body))
		}
		return nil // a request that is lost is made again by the next trigger
	}
	for _, ps := range [][]*partition.Partition{r.act, r.in} {
		for _, p := range ps {
			if p.Name() == dest {
				return p.Append(ctx, entries)
			}
		}
	}
	return fmt.Errorf("there is no destination %q", dest)
}

func (r *router) inOf(key string) *partition.Partition {
	return r.in[engage.PartitionOf(key, len(r.in))]
}

func (r *router) actOf(key string) *partition.Partition {
	return r.act[engage.PartitionOf(key, len(r.act))]
}

// weatherFeed asks the weather service for cells and logs the answers as records
// in every partition.
type weatherFeed struct {
	service *weather.Service
	log     *slog.Logger
	answers chan engage.WeatherRecord

	mu    sync.Mutex
	asked map[string]bool // under way
}

func newWeatherFeed(s *weather.Service, log *slog.Logger) *weatherFeed {
	return &weatherFeed{service: s, log: log, answers: make(chan engage.WeatherRecord, 1024), asked: map[string]bool{}}
}

func (f *weatherFeed) ask(text string) {
	cell, err := geo.ParseCell(text)
	if err != nil {
		f.log.Error("weather request", "error", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked[text] {
		return
	}
	err = f.service.Request(cell, func(w engage.Weather, is engage.WeatherState, err error) {
		f.mu.Lock()
		delete(f.asked, text)
		f.mu.Unlock()
		if err != nil || is != engage.WeatherFresh {
			return // what is stale is known already; what waits has its timer
		}
		select {
		case f.answers <- engage.WeatherRecord{Weather: w, Hours: f.service.Hours(w.Cell, w.At)}:
		default: // the partitions are behind by a thousand cells: they ask again
		}
	})
	if err == nil {
		f.asked[text] = true
	}
}

// run appends answers until ctx ends.
func (f *weatherFeed) run(ctx context.Context, r *router) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case w := <-f.answers:
			body, err := json.Marshal(w)
			if err != nil {
				return fmt.Errorf("encode weather: %w", err)
			}
			e := []engage.Entry{{Kind: engage.KindWeather, Key: engage.WeatherKey(w.Cell.String()), Body: body}}
			for _, ps := range [][]*partition.Partition{r.in, r.act} {
				for _, p := range ps {
					if err := p.Append(ctx, e); err != nil && ctx.Err() == nil {
						f.log.Error("log weather", "partition", p.Name(), "error", err)
					}
				}
			}
		}
	}
}
