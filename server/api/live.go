package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// What the live page is given at most, once a second.
const (
	liveInstalls  = 2000
	liveDecisions = 40
	livePlaces    = 2000
	livePresent   = 5000 // open visits
)

// CoarseResolution is the finest H3 cell (about 5 km²) that is shown of who did
// not agree to precise location.
const CoarseResolution = 7

func (s *server) registerLive() {
	register(s, operation{
		method: http.MethodGet, path: "/live", id: "get-live", tag: tagResults, role: catalog.Viewer,
		summary: "Get what the live page shows",
		description: "Places, where people are, the latest decisions and sums. " +
			"Who has not agreed to precise location is shown at the middle of an area of about 5 km².",
	}, s.getLive)
}

type liveInput struct {
	Revision uint64 `query:"revision" doc:"Of the configuration that the page has: if it is in force still, places are left out"`
}

type liveView struct {
	At         time.Time      `json:"at"`
	Version    string         `json:"version" doc:"Of the server"`
	Ready      bool           `json:"ready"`
	Missing    []string       `json:"missing,omitempty" doc:"What it waits for, when it is not ready"`
	Workspace  string         `json:"workspace"`
	Name       string         `json:"name" doc:"Of the workspace"`
	Revision   uint64         `json:"revision" doc:"Of the configuration"`
	Places     []livePlace    `json:"places,omitempty" doc:"Absent: as at the revision asked about"`
	MorePlaces bool           `json:"more_places,omitempty"`
	People     []livePerson   `json:"people" nullable:"false" doc:"Installs whose position is known"`
	Elsewhere  int            `json:"elsewhere" doc:"Installs whose position is not known"`
	MorePeople bool           `json:"more_people,omitempty"`
	Decisions  []decisionView `json:"decisions" nullable:"false" doc:"The newest first"`
	Weather    *liveWeather   `json:"weather,omitempty" doc:"The newest that these decisions were made with; absent: none of them looked at weather"`
	Campaigns  []liveCampaign `json:"campaigns" nullable:"false" doc:"All but drafts"`
	Totals     TotalsView     `json:"totals"`

	Present     []livePresence `json:"present" nullable:"false" doc:"Places where somebody is now, by their open visits"`
	MorePresent bool           `json:"more_present,omitempty" doc:"There are more open visits than were counted"`

	Suppressed []suppressedView `json:"suppressed" nullable:"false"`
}

type livePlace struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	Tags      []string     `json:"tags,omitempty"`
	Lat       float64      `json:"lat"`
	Lng       float64      `json:"lng"`
	Geofences []liveCircle `json:"geofences" nullable:"false"`
}

// livePresence is who is at a place.
type livePresence struct {
	Place string `json:"place"`
	Presence
}

// liveWeather is the weather that decisions were made with.
type liveWeather struct {
	At           time.Time `json:"at" doc:"The hour that it describes"`
	Kind         string    `json:"kind" doc:"forecast, or observed"`
	Condition    string    `json:"condition"`
	TemperatureC float64   `json:"temperature_c"`
	Provider     string    `json:"provider"`
	Attribution  string    `json:"attribution,omitempty" doc:"What the provider's licence wants shown beside it"`
}

// newestWeather is the weather that was fetched last among what the decisions saw.
func newestWeather(decisions []engage.Decision) *liveWeather {
	var newest *engage.Weather
	for _, d := range decisions {
		if w := d.Trigger.Weather; w != nil && (newest == nil || w.FetchedAt.After(newest.FetchedAt)) {
			newest = w
		}
	}
	if newest == nil {
		return nil
	}
	return &liveWeather{newest.At, newest.Kind, newest.Condition, newest.TemperatureC, newest.Provider, newest.Attribution}
}

// liveCircle is the circle that holds a geofence: for circles, the geofence.
type liveCircle struct {
	ID      string      `json:"id"`
	Ring    engage.Ring `json:"ring"`
	Lat     float64     `json:"lat"`
	Lng     float64     `json:"lng"`
	RadiusM float64     `json:"radius_m"`
}

type livePerson struct {
	Profile   string    `json:"profile"`
	Install   string    `json:"install"`
	Platform  string    `json:"platform,omitempty"`
	Lifecycle string    `json:"lifecycle,omitempty"`
	Lat       float64   `json:"lat"`
	Lng       float64   `json:"lng"`
	Coarse    bool      `json:"coarse,omitempty" doc:"The position is the middle of an area of about 5 km²"`
	AccuracyM float64   `json:"accuracy_m,omitempty"`
	At        time.Time `json:"at,omitzero"`
	Places    []string  `json:"places,omitempty" doc:"That the person is at"`
}

type liveCampaign struct {
	ID     string        `json:"id"`
	Name   string        `json:"name"`
	Status engage.Status `json:"status"`
	Totals TotalsView    `json:"totals"`
}

func (s *server) getLive(ctx context.Context, who caller, in *liveInput) (*answered[*liveView], error) {
	now, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	out := &liveView{
		At: s.o.Clock.Now(), Version: s.o.Version, Workspace: w.ID, Name: w.Name, Revision: now.Revision,
		People: []livePerson{}, Decisions: []decisionView{}, Campaigns: []liveCampaign{}, Present: []livePresence{},
	}
	out.Ready, out.Missing = s.o.Ready()
	if in.Revision != now.Revision {
		out.Places, out.MorePlaces = livePlacesOf(now.Places(who.workspace))
	}
	where, more, err := s.o.Positions.Whereabouts(ctx, who.workspace, liveInstalls)
	if err != nil {
		return nil, err
	}
	out.MorePeople = more
	for _, x := range where {
		if p, ok := locatePerson(x); ok {
			out.People = append(out.People, p)
		} else {
			out.Elsewhere++
		}
	}
	present, more, err := s.o.Positions.Present(ctx, who.workspace, "", livePresent)
	if err != nil {
		return nil, err
	}
	out.MorePresent = more
	for _, place := range slices.Sorted(maps.Keys(present)) {
		out.Present = append(out.Present, livePresence{place, present[place]})
	}
	page, err := s.o.Decisions.Decisions(ctx, who.workspace, DecisionFilter{}, "", liveDecisions)
	if err != nil {
		return nil, err
	}
	out.Weather = newestWeather(page.Items)
	view := s.decisionViews(ctx, who)
	for _, d := range page.Items {
		out.Decisions = append(out.Decisions, view(d))
	}
	var all []map[string]engage.Counts
	for _, c := range now.Campaigns(who.workspace) {
		if c.Status == engage.Draft || c.Status == engage.InReview {
			continue
		}
		tallies, err := s.o.Decisions.Tallies(ctx, who.workspace, c.ID)
		if err != nil {
			return nil, err
		}
		all = append(all, tallies)
		x := liveCampaign{ID: c.ID, Name: c.Name, Status: c.Status}
		for _, n := range tallies {
			x.Totals.add(n)
			out.Totals.add(n)
		}
		out.Campaigns = append(out.Campaigns, x)
	}
	out.Suppressed = suppressedOf(all...)
	return &answered[*liveView]{out}, nil
}

func livePlacesOf(places []*engage.Place) ([]livePlace, bool) {
	more := len(places) > livePlaces
	out := []livePlace{}
	for _, p := range places[:min(len(places), livePlaces)] {
		x := livePlace{ID: p.ID, Name: p.Name, Tags: p.Tags, Lat: p.Location.Lat, Lng: p.Location.Lng, Geofences: []liveCircle{}}
		for _, f := range p.Geofences {
			c := f.Shape.Center()
			x.Geofences = append(x.Geofences, liveCircle{ID: f.ID, Ring: f.Ring, Lat: c.Lat, Lng: c.Lng, RadiusM: f.Shape.BoundingRadiusM()})
		}
		out = append(out, x)
	}
	return out, more
}

// locatePerson shows a position as precisely as the person agreed to; false when
// none is known.
func locatePerson(w Whereabouts) (livePerson, bool) {
	p := livePerson{Profile: w.Profile, Install: w.Install, Platform: w.Platform, Lifecycle: w.Lifecycle, At: w.At, Places: w.Places}
	if w.Precise && w.Fix != nil {
		p.Lat, p.Lng, p.AccuracyM = w.Fix.Lat, w.Fix.Lng, w.AccuracyM
		return p, true
	}
	cell := w.Cell
	if w.Fix != nil {
		var err error
		if cell, err = geo.CellOf(*w.Fix, CoarseResolution); err != nil {
			return p, false
		}
	}
	if cell.Resolution() > CoarseResolution {
		cell = cell.Parent(CoarseResolution)
	}
	if !cell.Valid() {
		return p, false
	}
	at := cell.Center()
	p.Lat, p.Lng, p.Coarse = at.Lat, at.Lng, true
	return p, true
}
