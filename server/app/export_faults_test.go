package app

import (
	"context"

	"github.com/footfall-engage/footfall/server/ingest"
	"github.com/footfall-engage/footfall/server/situate"
)

// InstallState is what situate keeps of an install, as last committed.
func (a *App) InstallState(ctx context.Context, workspace, install string) (*situate.Install, error) {
	return readInstall(ctx, a.states, workspace, install)
}

// PhoneSessions are the open sockets.
func (a *App) PhoneSessions() *ingest.Sessions { return a.gateway.Sessions() }
