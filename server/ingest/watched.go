package ingest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
)

// Watched is what a phone watches, and why not more.
type Watched struct {
	Platform string   `json:"platform,omitempty"` // android, ios, web; empty: not known
	Caps     []string `json:"caps,omitempty"`     // of its SDK, as last said to this process
	// None says why the phone watches nothing; empty where it does.
	None NoWatch `json:"none,omitempty"`
	// ToldAt is when this process told it the set; zero means that it has not: then
	// the set is what it would be told.
	ToldAt time.Time `json:"told_at,omitzero"`
	// Stale: the places have changed since, and it watches another set than the one
	// here, which is of the places of now.
	Stale bool `json:"stale,omitempty"`
	// Acked: the phone has said what its OS took of the set.
	Acked bool `json:"acked,omitempty"`
	// Free is with how many slots was planned, one of which is the bubble's; -1 is
	// all that the platform has.
	Free    int             `json:"free"`
	Regions []WatchedRegion `json:"regions,omitempty"` // the most wanted first
	Bubble  *WatchedRegion  `json:"bubble,omitempty"`
	// Guaranteed and LeftOut are those of geo.SlotPlan; without the bubble nothing
	// is guaranteed.
	Guaranteed bool             `json:"guaranteed"`
	LeftOut    []UnwatchedFence `json:"left_out,omitempty"` // by distance
}

// WatchedRegion is a circle of it.
type WatchedRegion struct {
	ID      string    `json:"id"` // of the geofence
	Center  geo.Point `json:"center"`
	RadiusM float64   `json:"radius_m"`
	Exact   bool      `json:"exact,omitempty"`
	Weight  float64   `json:"weight,omitempty"`
	// Refused is the OS's code if it did not take the circle.
	Refused string `json:"refused,omitempty"`
}

// UnwatchedFence is a geofence without a slot.
type UnwatchedFence struct {
	ID      string         `json:"id"`
	Why     geo.WhyLeftOut `json:"why"`
	BorderM float64        `json:"border_m"` // from the phone to its next border
	Weight  float64        `json:"weight"`
}

// Watching is what an install watches and why not more, for who wonders why an
// enter was missed. An install of which nothing is known watches nothing for want
// of a platform; one that has not spoken to this process is taken to know bubbles.
// The error is that of reading its state.
func (g *Gateway) Watching(ctx context.Context, workspace, id string) (Watched, error) {
	in, err := g.installs.acquire(ctx, workspace, id)
	if err != nil {
		return Watched{}, err
	}
	defer g.installs.release(in)
	in.mu.Lock()
	defer in.mu.Unlock()
	w := &in.watch
	out := Watched{Platform: string(w.platform), Caps: w.caps.names(), Free: w.free, None: in.noWatch()}
	told := w.etag != "" && w.etag != noRegions
	if w.etag != "" {
		out.ToldAt, out.Acked = w.at, w.acked
	}
	if out.None != "" {
		out.Stale = told
		return out, nil
	}
	fences := g.o.Catalog.Fences(workspace)
	asked := w.made
	if !told {
		asked = in.plan()
	}
	if !w.caps.bubble {
		for _, h := range fences.Nearest(asked.At, asked.Platform.Fences(), nil) {
			out.Regions = append(out.Regions, WatchedRegion{ID: h.ID, Center: h.Shape.Center(), RadiusM: h.Shape.BoundingRadiusM()})
		}
	} else if err := out.plan(w, asked, fences); err != nil {
		return Watched{}, err
	}
	if len(out.Regions) == 0 && out.Bubble == nil {
		out.None = NoWatchSlots
	}
	if told {
		// What is registered counts as nearer, so the order may come out another.
		slices.SortStableFunc(out.Regions, func(a, b WatchedRegion) int {
			return cmp.Compare(slices.Index(w.ids, a.ID), slices.Index(w.ids, b.ID))
		})
		out.Stale = !slices.EqualFunc(out.Regions, w.ids, func(r WatchedRegion, id string) bool { return r.ID == id })
	}
	return out, nil
}

// plan fills in what the phone was told, made again: a plan keeps no more of it
// than its ids, by which it comes out the same.
func (out *Watched) plan(w *watch, asked geo.Slots, fences Fences) error {
	asked.Before = w.before()
	plan, err := asked.Plan(fences.Nearest, weightIn(fences))
	if err != nil {
		return fmt.Errorf("what to watch: %w", err)
	}
	for _, f := range plan.Fences {
		out.Regions = append(out.Regions, WatchedRegion{
			ID: f.ID, Center: f.Center, RadiusM: f.RadiusM, Exact: f.Exact, Weight: fences.Wish(f.ID).Weight, Refused: w.refused[f.ID],
		})
	}
	if b := plan.Bubble; b.RadiusM > 0 {
		out.Bubble = &WatchedRegion{ID: sdkproto.BubbleID, Center: b.Around, RadiusM: b.RadiusM, Refused: w.refused[sdkproto.BubbleID]}
	}
	out.Guaranteed = plan.Guaranteed
	for _, l := range plan.LeftOut {
		out.LeftOut = append(out.LeftOut, UnwatchedFence{ID: l.ID, Why: l.Why, BorderM: l.BorderM, Weight: l.Weight})
	}
	return nil
}
