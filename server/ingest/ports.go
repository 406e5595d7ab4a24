package ingest

import (
	"context"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// App is a shopping app as its key names it.
type App struct {
	Workspace string
	ID        string
	Platform  string // android, ios, web; a hello of another platform is refused
	Disabled  bool
	// IdentitySecret proves users; empty means that the app cannot identify.
	IdentitySecret engage.Secret
}

// Region is one circle for a phone to watch.
type Region struct {
	ID      string // of the geofence
	Center  geo.Point
	RadiusM float64
}

// Catalog is what marketers and operators have configured, in memory: its
// methods are called for every POST and must not block.
type Catalog interface {
	// App finds an app by its public key.
	App(key string) (App, bool)
	// Nearest returns at most n regions around p, nearest first. The etag changes
	// when the set or a circle in it does; it is not "none".
	Nearest(workspace string, p geo.Point, n int) (etag string, regions []Region)
	// Changed is closed when apps or places have changed since the call.
	Changed() <-chan struct{}
}

// Credential of an install.
type Credential struct {
	App       string // id
	Hash      []byte // SHA-256 of the device token
	Confirmed bool   // the token has been used; until then it may be replaced
	Version   int64  // of the document; 0 means that there is none
}

// Credentials keeps them.
type Credentials interface {
	// Credential returns it; the zero Credential for an install without one.
	Credential(ctx context.Context, workspace, install string) (Credential, error)
	// PutCredential returns when it is durable. IfVersion is the version that
	// must be there, 0 for none; otherwise an error of code engage.Conflict.
	PutCredential(ctx context.Context, workspace, install string, c Credential, ifVersion int64) error
}

// Install is what was known of an install before this process met it.
type Install struct {
	Consents   map[engage.Purpose]bool
	Background bool       // the last known phase of the app
	ThroughSeq uint64     // up to which the server has every item; 0 means not known
	Position   *geo.Point // the newest, as it is kept (precise or the centre of a cell); nil means none
}

// Installs is the read copy of the states of installs.
type Installs interface {
	// Install returns it; the zero Install for one that is not known.
	Install(ctx context.Context, workspace, install string) (Install, error)
}

// Log takes entries of one install.
type Log interface {
	// AppendAsync takes the entries and does not wait. Unless it returns an error,
	// done is called exactly once, with nil when the entries are durable; it does
	// not block. The entries and their bodies are the log's from then on. An error
	// of code engage.RateLimited or engage.Unavailable means that the log is too
	// busy; with any, it took nothing. Those of one install land in the order in
	// which they were taken.
	AppendAsync(workspace, install string, entries []engage.Entry, done func(error)) error
}

// Deliveries is the ledger as a phone sees it.
type Deliveries interface {
	// Claim asks whether the install may show an in-app message now; the reason
	// is of the protocol's words when it may not.
	Claim(ctx context.Context, workspace, install, delivery string) (granted bool, reason string, err error)
	// Inbox returns the inbox messages that wait for the install, oldest first.
	Inbox(ctx context.Context, workspace, install string) ([]*sdkpb.Message, error)
}
