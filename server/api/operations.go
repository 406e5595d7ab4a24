package api

import (
	"context"
	"net/http"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/weather"
)

func (s *server) registerOperations() {
	register(s, operation{
		method: http.MethodGet, path: "/quarantine", id: "list-quarantine", tag: tagOperations, role: catalog.Marketer,
		summary:     "List what was set aside",
		description: "Entries whose step failed: the server went on without them. What they carry is not shown.",
	}, s.listQuarantine)
	register(s, operation{
		method: http.MethodPost, path: "/quarantine/retry", id: "retry-quarantined", tag: tagOperations, role: catalog.Admin,
		status: http.StatusNoContent, summary: "Process a quarantined entry again",
		description: "It becomes a new record and leaves the quarantine; if it fails again it comes back.",
		body:        retryBody{}, errors: []int{http.StatusNotFound},
	}, s.retryQuarantined)
	register(s, operation{
		method: http.MethodGet, path: "/alarms", id: "list-alarms", tag: tagOperations, role: catalog.Admin,
		summary: "List alarms of the server", description: "The newest first.",
	}, s.listAlarms)
	register(s, operation{
		method: http.MethodGet, path: "/weather", id: "get-weather-status", tag: tagOperations, role: catalog.Viewer,
		summary: "Get how the weather service does",
	}, s.getWeather)
}

type quarantineInput struct {
	Paging
	System bool `query:"system" doc:"What belongs to no workspace instead; needs an admin key"`
}

// quarantineOf is the workspace whose quarantine is meant.
func quarantineOf(who caller, system bool) (string, error) {
	if !system {
		return who.workspace, nil
	}
	if !who.is(catalog.Admin) {
		return "", engage.Errorf(engage.Forbidden, "system", "needs a key of the role admin")
	}
	return engage.SystemWorkspace, nil
}

func (s *server) listQuarantine(ctx context.Context, who caller, in *quarantineInput) (*answered[list[Quarantined]], error) {
	workspace, err := quarantineOf(who, in.System)
	if err != nil {
		return nil, err
	}
	page, err := s.o.Operations.Quarantine(ctx, workspace, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	return listOf(page, func(q Quarantined) Quarantined { return q }), nil
}

type retryBody struct {
	ID     string `json:"id"`
	System bool   `json:"system,omitempty" doc:"It belongs to no workspace"`
}

func (s *server) retryQuarantined(ctx context.Context, who caller, in *bodyInput) (*struct{}, error) {
	var b retryBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if b.ID == "" {
		return nil, engage.Errorf(engage.Invalid, "id", "is missing")
	}
	workspace, err := quarantineOf(who, b.System)
	if err != nil {
		return nil, err
	}
	return nil, s.o.Operations.Requeue(ctx, workspace, b.ID)
}

func (s *server) listAlarms(ctx context.Context, _ caller, in *struct{ Paging }) (*answered[list[Alarm]], error) {
	page, err := s.o.Operations.Alarms(ctx, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	return listOf(page, func(a Alarm) Alarm { return a }), nil
}

func (s *server) getWeather(context.Context, caller, *struct{}) (*answered[weather.Status], error) {
	if s.o.Weather == nil {
		return &answered[weather.Status]{weather.Status{Now: s.o.Clock.Now()}}, nil
	}
	return &answered[weather.Status]{s.o.Weather()}, nil
}
