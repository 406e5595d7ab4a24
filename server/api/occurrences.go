package api

import (
	"context"
	"net/http"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// Occurrences reads how far the times of schedules have come.
type Occurrences interface {
	// Occurrences of a campaign, the newest time first.
	Occurrences(ctx context.Context, workspace, campaign, cursor string, limit int) (Page[engage.Occurrence], error)
}

func (s *server) registerOccurrences() {
	register(s, operation{
		method: http.MethodGet, path: "/campaigns/{id}/occurrences", id: "list-occurrences", tag: tagCampaigns, role: catalog.Viewer,
		summary: "List the times of a campaign's schedule that have come",
		description: "The newest first, each with how far it has come: a time of the wall clock comes in each zone at another moment. " +
			"Whoever is reached stands in the log, and the campaign's gates decide. Kept for 90 days.",
	}, s.listOccurrences)
}

type occurrencesInput struct {
	ID string `path:"id" maxLength:"100" doc:"Of the campaign"`
	Paging
}

type occurrenceView struct {
	Local     string                 `json:"local" doc:"Time of the wall clock"`
	Version   int64                  `json:"campaign_version" doc:"Of the campaign that it began with"`
	State     engage.OccurrenceState `json:"state" enum:"running,done,stopped,missed" doc:"running: under way, or waits for zones in which it comes later; stopped: the campaign was changed or is not live; missed: the server came to it too late"`
	Why       string                 `json:"why,omitempty" doc:"Of stopped: edited, deleted, or the campaign's status"`
	StartedAt time.Time              `json:"started_at"`
	EndedAt   *time.Time             `json:"ended_at,omitempty"`
	Reached   int64                  `json:"reached" doc:"Persons for whom the campaign stands in the log, to be decided"`
	Of        int64                  `json:"of" doc:"Persons that the workspace had when it began"`
	Next      *time.Time             `json:"next,omitempty" doc:"When it goes on, for a zone in which it comes later"`
}

func (s *server) listOccurrences(ctx context.Context, who caller, in *occurrencesInput) (*answered[list[occurrenceView]], error) {
	if _, err := s.campaign(who, in.ID); err != nil {
		return nil, err
	}
	page, err := s.o.Occurrences.Occurrences(ctx, who.workspace, in.ID, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	return listOf(page, func(o engage.Occurrence) occurrenceView {
		v := occurrenceView{
			Local: o.Local, Version: o.Version, State: o.State, Why: o.Why, StartedAt: o.StartedAt, Reached: o.Reached, Of: o.Of,
		}
		if o.Ended() {
			v.EndedAt = &o.EndedAt
		} else if len(o.Due) > 0 {
			v.Next = &o.Due[0]
		}
		return v
	}), nil
}
