package loopbench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

const anchorRounds = 300

// measureAnchor measures the machine's parts, one at a time on files of their own.
func measureAnchor(ctx context.Context, dir, durability string) (_ Anchor, err error) {
	log, err := eventlog.OpenEmbedded(ctx, eventlog.EmbeddedOptions{Dir: dir, Durability: durability})
	if err != nil {
		return Anchor{}, err
	}
	defer func() { err = errors.Join(err, log.Close()) }() //nolint:contextcheck // it waits for its own reads only
	stream, err := log.Open(ctx, "ANCHOR", "anchor.>")
	if err != nil {
		return Anchor{}, err
	}
	docs, err := sqlite.Open(ctx, sqlite.Options{
		Path: filepath.Join(dir, "anchor.db"), Collections: []store.Collection{{Name: "anchor", Opaque: true}},
		Durability: durability, Now: clock.System{}.Now,
	})
	if err != nil {
		return Anchor{}, err
	}
	defer func() { err = errors.Join(err, docs.Close()) }()

	data := make([]byte, itemBytes)
	var appends, commits []time.Duration
	for i := range anchorRounds {
		t := now()
		if _, err := stream.Append(ctx, "anchor.shop", data, int64(i)); err != nil {
			return Anchor{}, err
		}
		appends = append(appends, now().Sub(t))
		put := store.Put{Collection: "anchor", Key: store.Key{Workspace: "shop", ID: fmt.Sprintf("%06d", i)}, Body: data, If: store.AnyVersion}
		t = now()
		if err := docs.Apply(ctx, store.Batch{Puts: []store.Put{put}}); err != nil {
			return Anchor{}, err
		}
		commits = append(commits, now().Sub(t))
	}
	syncs, err := measureSyncs(filepath.Join(dir, "anchor.syncs"))
	if err != nil {
		return Anchor{}, fmt.Errorf("syncs: %w", err)
	}
	return Anchor{
		AppendP50US: medianUS(appends), CommitP50US: medianUS(commits), DistanceNS: distanceNS(),
		SyncP50US: medianUS(syncs), SyncP99US: float64(syncs[len(syncs)*99/100].Nanoseconds()) / 1e3,
	}, nil
}

// measureSyncs returns what a sync of 4 KiB more takes.
func measureSyncs(path string) (took []time.Duration, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data := make([]byte, 4096)
	for range anchorRounds {
		if _, err := f.Write(data); err != nil {
			return nil, err
		}
		t := now()
		if err := f.Sync(); err != nil {
			return nil, err
		}
		took = append(took, now().Sub(t))
	}
	return took, nil
}

func medianUS(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Nanoseconds()) / 1e3
}

func distanceNS() float64 {
	const n = 10_000
	a, sum := geo.Point{Lat: 52.52, Lng: 13.405}, 0.0
	var took []time.Duration
	for range 21 {
		t := now()
		for i := range n {
			sum += geo.DistanceM(a, geo.Point{Lat: 52 + float64(i)/n, Lng: 13})
		}
		took = append(took, now().Sub(t))
	}
	if sum < 0 {
		return 0 // it is not; but it is computed
	}
	return medianUS(took) * 1e3 / n
}
