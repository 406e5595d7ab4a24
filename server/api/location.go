package api

import (
	"context"
	"net/http"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func (s *server) registerLocationPolicy() {
	register(s, operation{
		method: http.MethodGet, path: "/location-policy", id: "get-location-policy", tag: tagPlaces, role: catalog.Viewer,
		summary: "Get what is made of positions that may be lies",
	}, s.getLocationPolicy)
	register(s, operation{
		method: http.MethodPut, path: "/location-policy", id: "put-location-policy", tag: tagPlaces, role: catalog.Marketer,
		summary: "Say what is made of positions that may be lies",
		description: "Of positions that a test provider on the phone made, and of positions that nobody could have reached in the time since the one before: " +
			"accept takes them like any other, flag takes them and marks what follows (one that came too fast only once the next agrees with it), refuse keeps them in the history alone. Absent: flag.",
		body: locationPolicyDoc{}, errors: []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired},
	}, s.putLocationPolicy)
}

type locationPolicyDoc struct {
	Version     int64      `json:"version" required:"false" doc:"Of the workspace's settings; in a change: that it was made from"`
	Mocked      geo.Policy `json:"mocked,omitempty" enum:"accept,flag,refuse" doc:"Positions that a test provider made; absent in a change: flag"`
	Speed       geo.Policy `json:"speed,omitempty" enum:"accept,flag,refuse" doc:"Positions that came too fast; absent in a change: flag"`
	MaxSpeedMPS float64    `json:"max_speed_mps,omitempty" minimum:"10" maximum:"1000" doc:"Metres per second that are still believed; absent in a change: 100"`
}

// locationPolicyOf says what holds, defaults included.
func locationPolicyOf(w *catalog.Workspace) locationPolicyDoc {
	d := w.LocationPolicy.Doubts()
	return locationPolicyDoc{Version: w.Version, Mocked: d.Mocked, Speed: d.Speed, MaxSpeedMPS: d.MaxSpeedMPS}
}

func (s *server) getLocationPolicy(_ context.Context, who caller, _ *struct{}) (*versioned[locationPolicyDoc], error) {
	_, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	return versionedOf(locationPolicyOf(w), w.Version, w.Version), nil
}

func (s *server) putLocationPolicy(ctx context.Context, who caller, in *putAttributesInput) (*versioned[locationPolicyDoc], error) {
	var b locationPolicyDoc
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	_, old, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	expected, err := Changing{IfMatch: in.IfMatch}.expected(old.Version, b.Version)
	if err != nil {
		return nil, err
	}
	w := *old // a snapshot is never changed
	w.LocationPolicy = &engage.LocationPolicy{Mocked: b.Mocked, Speed: b.Speed, MaxSpeedMPS: b.MaxSpeedMPS}
	if err := w.Validate(); err != nil {
		return nil, err
	}
	if err := s.o.Catalog.PutWorkspace(ctx, who.key.ID, &w, expected); err != nil {
		return nil, err
	}
	return versionedOf(locationPolicyOf(&w), w.Version, old.Version), nil
}
