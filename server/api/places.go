package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/hours"
	"github.com/footfall-engage/footfall/server/places"
)

func (s *server) registerPlaces() {
	register(s, operation{
		method: http.MethodGet, path: "/places", id: "list-places", tag: tagPlaces, role: catalog.Viewer,
		summary:     "List places",
		description: "In order of id. As GeoJSON (format=geojson, or Accept: application/geo+json) each geofence is a Feature; a page then holds whole places.",
		content:     map[string]any{jsonType: list[engage.Place]{}, geojsonType: featureCollectionDoc{}},
	}, s.listPlaces)
	register(s, operation{
		method: http.MethodGet, path: "/places/{id}", id: "get-place", tag: tagPlaces, role: catalog.Viewer,
		summary:     "Get a place",
		description: "With opening: whether it is open now, and until when.",
	}, s.getPlace)
	register(s, operation{
		method: http.MethodPut, path: "/places/{id}", id: "put-place", tag: tagPlaces, role: catalog.Marketer,
		summary: "Create or change a place",
		description: "A change names the version that it was made from, by If-Match or in the document. A ring of a polygon may run in either direction; it is stored as RFC 7946 wants it. " +
			"Without a time zone it is found from the position; opening hours are kept in one form. The answer's warnings tell what was put right, and where the location is more than 1 km outside all geofences or the time zone is another than theirs.",
		body: engage.Place{}, maxBody: maxPlace, examples: examplesOf("corner-shop", "mall"),
		errors: []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired},
	}, s.putPlace)
	register(s, operation{
		method: http.MethodDelete, path: "/places/{id}", id: "delete-place", tag: tagPlaces, role: catalog.Marketer,
		summary:     "Delete a place",
		description: "Refused while a campaign that has not ended names it. Without If-Match whatever is there goes.",
		errors:      []int{http.StatusConflict, http.StatusPreconditionFailed},
	}, s.deletePlace)
	s.registerImport()
}

type listPlacesInput struct {
	Paging
	Tag    string `query:"tag" maxLength:"100" doc:"Only places that carry it"`
	Name   string `query:"name" maxLength:"200" doc:"Only places whose name contains it, in any case"`
	Format string `query:"format" enum:"json,geojson" doc:"Absent: by the Accept header"`
	Accept string `header:"Accept" hidden:"true"`
}

// negotiated is an answer in one of several media types.
type negotiated struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Body        any
}

func (s *server) listPlaces(_ context.Context, who caller, in *listPlacesInput) (*negotiated, error) {
	all := s.o.Catalog.Now().Places(who.workspace)
	name := strings.ToLower(in.Name)
	all = slices.DeleteFunc(all, func(p *engage.Place) bool {
		return in.Tag != "" && !slices.Contains(p.Tags, in.Tag) || !strings.Contains(strings.ToLower(p.Name), name)
	})
	page := pageByID(all, func(p *engage.Place) string { return p.ID }, in.Paging)
	if in.Format == "geojson" || in.Format == "" && strings.Contains(in.Accept, geojsonType) {
		c, err := features(page.Items)
		if err != nil {
			return nil, err
		}
		c.Next = page.Next
		return &negotiated{geojsonType, c}, nil
	}
	out := listOf(page, func(p *engage.Place) *engage.Place { return p })
	return &negotiated{jsonType, out.Body}, nil
}

type byID struct {
	ID string `path:"id" maxLength:"100"`
}

// placeView is a place with what is not stored.
type placeView struct {
	*engage.Place
	Opening  *openingView     `json:"opening,omitempty"`
	Warnings []places.Warning `json:"warnings,omitempty"`
}

// openingView tells whether a place is open now.
type openingView struct {
	State    hours.State `json:"state"`
	Comment  string      `json:"comment,omitempty"`
	Until    *time.Time  `json:"until,omitempty"`
	NextOpen *time.Time  `json:"next_open,omitempty"`
}

// openingOf is nil where the hours are not known.
func openingOf(p *engage.Place, now time.Time) *openingView {
	o, err := hours.Of(p)
	if err != nil || o == nil { // what is stored can be read
		return nil
	}
	is := o.At(now)
	v := &openingView{State: is.State, Comment: is.Comment}
	if until, ok := o.Until(now); ok {
		v.Until = &until
	}
	if is.State != hours.Open {
		if next, ok := o.NextOpen(now); ok {
			v.NextOpen = &next
		}
	}
	return v
}

func (s *server) getPlace(_ context.Context, who caller, in *byID) (*versioned[placeView], error) {
	p := s.o.Catalog.Now().Place(who.workspace, in.ID)
	if p == nil {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no place %q", in.ID)
	}
	return versionedOf(placeView{Place: p, Opening: openingOf(p, s.o.Clock.Now())}, p.Version, p.Version), nil
}

// placeBody is a place as it comes in: what the server sets may be there, so that
// what was got can be put, and is not looked at.
type placeBody struct {
	ID         string             `json:"id"`
	Workspace  string             `json:"workspace"`
	Version    int64              `json:"version"`
	Name       string             `json:"name"`
	Tags       []string           `json:"tags"`
	TimeZone   string             `json:"time_zone"`
	Location   *pointBody         `json:"location"`
	Geofences  []engage.Geofence  `json:"geofences"`
	Hours      string             `json:"hours"`
	Holidays   []string           `json:"holidays"`
	Exceptions []engage.Exception `json:"exceptions"`
	Beacons    []engage.Beacon    `json:"beacons"`
	Rule       *engage.FenceRule  `json:"rule"`
	UpdatedAt  json.RawMessage    `json:"updated_at"`
	Opening    json.RawMessage    `json:"opening"`
	Warnings   json.RawMessage    `json:"warnings"`
}

type pointBody struct {
	Lat *float64 `json:"lat"`
	Lng *float64 `json:"lng"`
}

type putInput struct {
	ID string `path:"id" maxLength:"100"`
	Changing
	Raw
}

func (s *server) putPlace(ctx context.Context, who caller, in *putInput) (*versioned[placeView], error) {
	var b placeBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if err := sameID(who, in.ID, b.ID, b.Workspace); err != nil {
		return nil, err
	}
	p := &engage.Place{
		ID: in.ID, Workspace: who.workspace, Name: b.Name, Tags: b.Tags, TimeZone: b.TimeZone, Geofences: b.Geofences,
		Hours: b.Hours, Holidays: b.Holidays, Exceptions: b.Exceptions, Beacons: b.Beacons, Rule: b.Rule,
	}
	if p.Rule.IsZero() {
		p.Rule = nil
	}
	var err error
	if p.Location, err = locate(b.Location, p.Geofences); err != nil {
		return nil, err
	}
	have := int64(0)
	if old := s.o.Catalog.Now().Place(who.workspace, in.ID); old != nil {
		have = old.Version
	}
	expected, err := in.expected(have, b.Version)
	if err != nil {
		return nil, err
	}
	warnings := places.Prepare(p)
	if err := s.o.Catalog.PutPlace(ctx, who.key.ID, p, expected); err != nil {
		return nil, err
	}
	return versionedOf(placeView{p, openingOf(p, s.o.Clock.Now()), warnings}, p.Version, expected), nil
}

// locate is the location given, or else the middle of the first inside geofence,
// or of the first.
func locate(given *pointBody, fences []engage.Geofence) (geo.Point, error) {
	if given != nil {
		switch {
		case given.Lat == nil:
			return geo.Point{}, engage.Errorf(engage.Invalid, "location.lat", "is missing")
		case given.Lng == nil:
			return geo.Point{}, engage.Errorf(engage.Invalid, "location.lng", "is missing")
		}
		return geo.Point{Lat: *given.Lat, Lng: *given.Lng}, nil
	}
	return places.Middle(fences), nil
}

// sameID refuses a document that says it is another, or another workspace's.
func sameID(who caller, path, id, workspace string) error {
	switch {
	case id != "" && id != path:
		return engage.Errorf(engage.Invalid, "id", "must be %q, as in the path, or absent", clip(path))
	case workspace != "" && workspace != who.workspace:
		return engage.Errorf(engage.Forbidden, "workspace", "must be yours, or absent")
	}
	return nil
}

type deleteInput struct {
	ID      string `path:"id" maxLength:"100"`
	IfMatch string `header:"If-Match" maxLength:"40" doc:"The ETag (version) that is to go; absent: whatever is there"`
}

func (in *deleteInput) expected() (int64, error) {
	if in.IfMatch == "" || in.IfMatch == "*" {
		return catalog.AnyVersion, nil
	}
	return Changing{IfMatch: in.IfMatch}.expected(0, 0)
}

func (s *server) deletePlace(ctx context.Context, who caller, in *deleteInput) (*struct{}, error) {
	expected, err := in.expected()
	if err != nil {
		return nil, err
	}
	return nil, s.o.Catalog.DeletePlace(ctx, who.key.ID, who.workspace, in.ID, expected)
}
