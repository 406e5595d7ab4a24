package api

import (
	"context"
	"net/http"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/catalog"
)

// Watched is what a phone watches for the app while that sleeps, and why not more.
type Watched struct {
	Install  string   `json:"install"`
	Platform string   `json:"platform,omitempty" doc:"android, ios or web; absent: not known"`
	Caps     []string `json:"caps,omitempty" nullable:"false" doc:"What its SDK can do, as it last said to this server"`
	// None says why it watches nothing; empty where it does.
	None       string          `json:"none,omitempty" doc:"Why it watches nothing: platform, consent, permission, position or slots; absent: it does"`
	ToldAt     time.Time       `json:"told_at,omitzero" doc:"When this server told it the set; absent: it has not, and the set is what it would be told"`
	Stale      bool            `json:"stale,omitempty" doc:"Places have changed since: it watches another set than the one here until it shows up"`
	Acked      bool            `json:"acked,omitempty" doc:"It has said what its OS took of the set"`
	Regions    []WatchedRegion `json:"regions" nullable:"false" doc:"The most wanted first"`
	Bubble     *WatchedRegion  `json:"bubble,omitempty" doc:"The circle whose exit asks for the next set"`
	Guaranteed bool            `json:"guaranteed" doc:"Within the bubble no geofence is reached before it is watched"`
	LeftOut    []UnwatchedArea `json:"left_out,omitempty" nullable:"false" doc:"Geofences without a slot, by distance"`
}

// WatchedRegion is a circle that a phone's OS watches.
type WatchedRegion struct {
	ID      string  `json:"id" doc:"Of the geofence"`
	Lat     float64 `json:"lat"`
	Lng     float64 `json:"lng"`
	RadiusM float64 `json:"radius_m"`
	Exact   bool    `json:"exact,omitempty" doc:"The circle is the geofence; else it is larger, and a position must tell"`
	Weight  float64 `json:"weight,omitempty" doc:"How much it is wanted"`
	Refused string  `json:"refused,omitempty" doc:"Code of the OS, which did not take it"`
}

// UnwatchedArea is a geofence that has no slot.
type UnwatchedArea struct {
	ID      string         `json:"id"`
	Why     geo.WhyLeftOut `json:"why" doc:"unwanted, farther, crowded, too_large or no_slot"`
	BorderM float64        `json:"border_m" doc:"Metres from the phone to its next border"`
	Weight  float64        `json:"weight"`
}

func (s *server) registerRegions() {
	register(s, operation{
		method: http.MethodGet, path: "/people/{id}/regions", id: "list-regions", tag: tagPeople, role: catalog.Viewer,
		summary: "List what a person's phones watch for the app while it sleeps",
		description: "An OS watches few circles for an app: those of the geofences nearby, and a bubble around them whose exit asks for the next. " +
			"Why a geofence is not watched stands beside it: the first question when an enter was missed. " + personHelp,
	}, s.listRegions)
}

type regionsView struct {
	Items []*Watched `json:"items" nullable:"false" doc:"By install; the one seen last comes first"`
}

func (s *server) listRegions(ctx context.Context, who caller, in *personInput) (*answered[regionsView], error) {
	p, err := s.person(ctx, who, in.ID)
	if err != nil {
		return nil, err
	}
	out := regionsView{Items: []*Watched{}}
	for _, d := range p.Devices {
		w, err := s.o.Watching(ctx, who.workspace, d.Install)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, w)
	}
	return &answered[regionsView]{out}, nil
}
