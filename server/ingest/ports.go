package ingest

import (
	"context"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/identity"
)

// App is a shopping app as its key names it.
type App struct {
	Workspace string
	ID        string
	Platform  string // android, ios, web; a hello of another platform is refused
	Disabled  bool
	// Identity judges who proves to be which user; nil means that the app has no key
	// and wants a proof, so that nobody can.
	Identity *identity.Verifier
	// Suppressed reports whether an identifier, "user_id:ada", is on the suppression list
	// of the workspace; nil means that none is. It must not block.
	Suppressed func(identifier string) bool
	// Config is what its SDKs are to do; nil means what the specification says.
	Config *sdkpb.Config
}

// Fences are the geofences of a workspace at one moment.
type Fences interface {
	// Nearest appends the n of the smallest margin at p, as geo.Index.Nearest does.
	Nearest(p geo.Point, n int, dst []geo.Hit) []geo.Hit
	// Wish says what a phone's watch over one of them is worth.
	Wish(id string) Wish
	// Since are circles around all that are others, or of another wish, than they
	// were in an earlier answer for the workspace, as they were and as they are. Ok is
	// false when that cannot be told, or they are too many to look through.
	Since(earlier Fences) (changed []geo.Circle, ok bool)
}

// Wish is how gladly a geofence is watched by phones.
type Wish struct {
	// Weight as in geo.Slots.Plan: one of 2 is watched as gladly as one of 1 at half
	// the distance, one of 0 never.
	Weight float64
	// Dwell is how long somebody must be inside for a dwell, told by phones whose OS
	// can tell; 0 means that nobody waits for it.
	Dwell time.Duration
}

// Catalog is what marketers and operators have configured, in memory: its
// methods are called for every POST and must not block.
type Catalog interface {
	// App finds an app by its public key.
	App(key string) (App, bool)
	// Fences are those of now; empty, not nil, for a workspace without any.
	Fences(workspace string) Fences
	// Changed is closed when apps, places or wishes have changed since the call.
	Changed() <-chan struct{}
}

// Credential of an install.
type Credential struct {
	App       string    // id
	Hash      []byte    // SHA-256 of the device token
	Confirmed bool      // the token has been used; until then it may be replaced
	Issued    time.Time // when the token was made; zero means by a build that did not note it
	// Next is the SHA-256 of the token that takes the place of the other with its
	// first use; nil means that none was given.
	Next       []byte
	NextIssued time.Time // when that was made
	Version    int64     // of the document; 0 means that there is none
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
	Profile    string // whose it is; empty means that it has never been another's than its own
	From       uint64 // seq of the logout since which it is; 0 means that there was none
	User       string // the profile of the user who has proven to be the person since; empty means nobody
	UserTo     uint64 // seq of the last such proof
	Consents   map[engage.Purpose]bool
	Answered   map[engage.Purpose]Answered // to each of Consents; a missing one is the zero Answered
	Background bool                        // the last known phase of the app
	LastSeq    uint64                      // the highest of its items that has taken effect; 0 means not known
	Position   *geo.Point                  // the newest, as it is kept (precise or the centre of a cell); nil means none
	AccuracyM  float64                     // of Position, 68 % radius; 0 means not given
	Platform   string                      // as in App; empty means not known
	Location   sdkpb.Permissions_Location
	Precision  sdkpb.Permissions_Precision
	// Spoken is whose it is from its app's first word on, if only a file of push tokens
	// knows it by now: whoever says its id is not whom the file says. Else it is empty.
	Spoken string
}

// Answered says which items a person answered with to a purpose.
type Answered struct {
	Seq   uint64 // of the answer in force
	Since uint64 // of the first of the answers of today's kind in a row; with a yes, what has a lower seq was made without it
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
	// not block. The bodies are the log's from then on, the slice until it calls
	// done. An error
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
	// InboxSince returns what has changed in the inbox of the install's person since
	// the cursor, of which at most about limit bytes as protobuf; a cursor that is
	// empty, unknown, too old or another person's gives all, with full.
	InboxSince(ctx context.Context, workspace, install, cursor string, limit int) (*sdkpb.Inbox, error)
	// Inbox returns the inbox messages that wait for the install, oldest first.
	Inbox(ctx context.Context, workspace, install string) ([]*sdkpb.Message, error)
}
