package api

import (
	"context"
	"net/http"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func (s *server) registerStop() {
	register(s, operation{
		method: http.MethodGet, path: "/stop", id: "get-stop", tag: tagCampaigns, role: catalog.Viewer,
		summary: "Say whether everything is stopped",
	}, s.getStop)
	register(s, operation{
		method: http.MethodPut, path: "/stop", id: "stop-everything", tag: tagCampaigns, role: catalog.Marketer,
		summary: "Stop everything: the kill switch",
		description: "From the answer on nothing is decided for and nothing leaves for a provider, an open app or an inbox, by whatever campaign; pushes that a provider has already taken are not called back. " +
			"What was decided and has not left ends as failed (send_stopped) and is not made up for later. Live Activities are stopped, too; test sends are not. " +
			"People's phones go on being heard, so that visits and history have no gap. No version is asked for.",
		body: stopBody{},
	}, s.putStop)
	register(s, operation{
		method: http.MethodDelete, path: "/stop", id: "go-on", tag: tagCampaigns, role: catalog.Marketer, status: http.StatusNoContent,
		summary: "Go on after a stop", description: "Campaigns are as live as they were.",
	}, s.deleteStop)
}

type stopBody struct {
	Scope  engage.Class `json:"scope,omitempty" enum:"marketing" doc:"marketing: service messages go on. Absent: everything"`
	Reason string       `json:"reason,omitempty" maxLength:"2000" doc:"For the others, and for the audit log"`
}

type stopView struct {
	Stopped bool         `json:"stopped"`
	Scope   engage.Class `json:"scope,omitempty" enum:"marketing" doc:"Absent: everything"`
	Reason  string       `json:"reason,omitempty"`
	By      string       `json:"by,omitempty" doc:"Id of the key"`
	At      *time.Time   `json:"at,omitempty"`
}

func (s *server) stopped(who caller) (*answered[stopView], error) {
	_, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	out := stopView{}
	if x := w.Stop; x != nil {
		out = stopView{true, x.Scope, x.Reason, x.By, &x.At}
	}
	return &answered[stopView]{out}, nil
}

func (s *server) getStop(_ context.Context, who caller, _ *struct{}) (*answered[stopView], error) {
	return s.stopped(who)
}

func (s *server) putStop(ctx context.Context, who caller, in *bodyInput) (*answered[stopView], error) {
	var b stopBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	stop := &engage.Stop{Scope: b.Scope, Reason: b.Reason}
	if err := stop.Validate(); err != nil {
		return nil, err
	}
	if err := s.o.Catalog.StopAll(ctx, who.key.ID, who.workspace, stop); err != nil {
		return nil, err
	}
	return s.stopped(who)
}

func (s *server) deleteStop(ctx context.Context, who caller, _ *struct{}) (*struct{}, error) {
	_, w, err := s.workspaceOf(who)
	if err != nil || w.Stop == nil {
		return nil, err // nothing is to be written down
	}
	return nil, s.o.Catalog.StopAll(ctx, who.key.ID, who.workspace, nil)
}
