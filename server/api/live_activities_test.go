package api_test

import (
	"context"

	"github.com/footfall-engage/footfall/server/api"
)

// noActivities is a server on which no Live Activity runs; package app's tests have one
// that speaks to Apple.
type noActivities struct{}

func (noActivities) Check(*api.LiveOrder) error { return nil }

func (noActivities) Order(_ context.Context, _ *api.LiveOrder, installs []string) ([]api.LiveResult, error) {
	out := make([]api.LiveResult, 0, len(installs))
	for _, i := range installs {
		out = append(out, api.LiveResult{Install: i, State: "failed", Why: "no_token"})
	}
	return out, nil
}

func (noActivities) Of(context.Context, string, string) ([]api.LiveOnPhone, error) { return nil, nil }

func (noActivities) OfInstall(context.Context, string, string) ([]api.LiveOnPhone, error) {
	return nil, nil
}
