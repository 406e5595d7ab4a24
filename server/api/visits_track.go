package api

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// TrackFilter chooses fixes.
type TrackFilter struct {
	Profile  string
	Installs []string // of the person: whose states are looked into as well
	// From and Before bound the time of a fix: at From or later, earlier than
	// Before. Zero means no bound.
	From, Before time.Time
}

// TrackFix is a fix of a track, and whose it is.
type TrackFix struct {
	Install string
	geo.TrackFix
}

type trackFixView struct {
	At        time.Time `json:"at" doc:"By the phone's clock, corrected"`
	Install   string    `json:"install"`
	Lat       float64   `json:"lat"`
	Lng       float64   `json:"lng"`
	AccuracyM float64   `json:"accuracy_m,omitempty" doc:"68 % radius; absent: not given"`
	Coarse    bool      `json:"coarse,omitempty" doc:"The position is the middle of an area of about 5 km²"`
	Flags     []string  `json:"flags,omitempty" nullable:"false" doc:"mocked, speed or teleport where it is doubtful; ignored: no transition came from it; late: it came after the reorder window"`
	Evidence  string    `json:"evidence" doc:"fix; os_region: the fix that came with an event of the phone's regions; beacon: where a beacon stands that was seen"`
}

// view shows a fix as precisely as the person agrees to now; false when it has no
// cell.
func (f TrackFix) view(precise bool) (trackFixView, bool) {
	v := trackFixView{
		At: f.At, Install: f.Install, Lat: f.Pos.Lat, Lng: f.Pos.Lng, AccuracyM: f.AccuracyM,
		Flags: f.Flags.Names(), Evidence: f.Evidence.String(),
	}
	if precise {
		return v, true
	}
	cell, err := geo.CellOf(f.Pos, CoarseResolution)
	if err != nil {
		return v, false
	}
	at := cell.Center()
	v.Lat, v.Lng, v.AccuracyM, v.Coarse = at.Lat, at.Lng, 0, true
	return v, true
}

type trackInput struct {
	ID     string `path:"id" maxLength:"600" doc:"Profile id, user_id:… or install:…"`
	Cursor string `query:"cursor" maxLength:"1000" doc:"Of the page before: its next. Empty: the first page"`
	Limit  int    `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"Positions of the page at most"`
	Format string `query:"format" enum:"json,geojson" doc:"Absent: by the Accept header"`
	Accept string `header:"Accept" hidden:"true"`
	Between
}

func (s *server) getTrack(ctx context.Context, who caller, in *trackInput) (*negotiated, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	p, err := s.person(ctx, who, in.ID)
	if err != nil {
		return nil, err
	}
	f := TrackFilter{Profile: p.ID, From: in.From, Before: in.To}
	for _, d := range p.Devices {
		f.Installs = append(f.Installs, d.Install)
	}
	page, err := s.o.Positions.Track(ctx, who.workspace, f, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	out := list[trackFixView]{Items: make([]trackFixView, 0, len(page.Items)), Next: page.Next}
	precise := p.Consents[engage.ConsentLocationPrecise].Granted
	for _, x := range page.Items {
		if v, ok := x.view(precise); ok {
			out.Items = append(out.Items, v)
		}
	}
	if in.Format == "geojson" || in.Format == "" && strings.Contains(in.Accept, geojsonType) {
		return &negotiated{geojsonType, trackGeoJSON(out)}, nil
	}
	return &negotiated{jsonType, out}, nil
}

// trackCollection is a track as GeoJSON. Next is a foreign member (RFC 7946 §6.1).
type trackCollection struct {
	Type     string         `json:"type" enum:"FeatureCollection"`
	Features []trackFeature `json:"features" nullable:"false"`
	Next     string         `json:"next,omitempty" doc:"Cursor of the next page; absent: this was the last"`
}

type trackFeature struct {
	Type       string        `json:"type" enum:"Feature"`
	Geometry   trackGeometry `json:"geometry"`
	Properties any           `json:"properties" doc:"Of a Point as in JSON; of a way the install, from and until"`
}

type trackGeometry struct {
	Type        string `json:"type" enum:"Point,LineString,MultiLineString"`
	Coordinates any    `json:"coordinates"`
}

type wayProperties struct {
	Install string    `json:"install"`
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	Coarse  bool      `json:"coarse,omitempty"`
}

type position = [2]float64 // longitude, latitude

// trackGeoJSON writes a page as a way of each install and a point of each fix.
func trackGeoJSON(l list[trackFixView]) trackCollection {
	out := trackCollection{Type: "FeatureCollection", Features: []trackFeature{}, Next: l.Next}
	var installs []string
	for _, v := range l.Items {
		if !slices.Contains(installs, v.Install) {
			installs = append(installs, v.Install)
		}
	}
	for _, install := range installs {
		if way, ok := wayOf(l.Items, install); ok {
			out.Features = append(out.Features, way)
		}
	}
	for _, v := range l.Items {
		out.Features = append(out.Features, trackFeature{"Feature", trackGeometry{"Point", position{v.Lng, v.Lat}}, v})
	}
	return out
}

// wayOf joins an install's fixes in the order of time; those that no transition
// came from are left out. False when there are not two.
func wayOf(items []trackFixView, install string) (trackFeature, bool) {
	lines := [][]position{{}}
	p := wayProperties{Install: install}
	n := 0
	for _, v := range slices.Backward(items) {
		if v.Install != install || slices.Contains(v.Flags, "ignored") {
			continue
		}
		at := position{v.Lng, v.Lat}
		line := &lines[len(lines)-1]
		if n > 0 {
			last := (*line)[len(*line)-1]
			if math.Abs(at[0]-last[0]) > 180 {
				// A line that crosses ±180 is cut there (RFC 7946 §3.1.9).
				end, begin := cutAt180(last, at)
				*line = append(*line, end)
				lines = append(lines, []position{begin})
				line = &lines[len(lines)-1]
			}
		} else {
			p.From = v.At
		}
		*line = append(*line, at)
		p.Until, p.Coarse = v.At, v.Coarse
		n++
	}
	switch {
	case n < 2:
		return trackFeature{}, false
	case len(lines) == 1:
		return trackFeature{"Feature", trackGeometry{"LineString", lines[0]}, p}, true
	}
	return trackFeature{"Feature", trackGeometry{"MultiLineString", lines}, p}, true
}

// cutAt180 is where the short way between two positions meets ±180: as the end of
// one line and as the beginning of the next.
func cutAt180(a, b position) (end, begin position) {
	side := math.Copysign(180, a[0])
	far := b[0] + math.Copysign(360, a[0]) // b, as seen from a
	lat := a[1]
	if far != a[0] {
		lat += (b[1] - a[1]) * (side - a[0]) / (far - a[0])
	}
	return position{side, lat}, position{-side, lat}
}
