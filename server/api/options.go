package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/weather"
)

// Options of the API. All are required unless it says otherwise.
type Options struct {
	Catalog Catalog
	// Sealer encrypts the secrets of apps before they reach the catalogue.
	Sealer Sealer
	// Compile checks a campaign's shape, rules and templates (decide.Compile). A
	// dry run and a change of attributes ask it.
	Compile func(c *engage.Campaign, attributes map[string]rules.Type) error

	// PushSizes are the sizes of a send as a push, by each provider. Nil: they are not
	// looked at when a campaign is saved.
	PushSizes func(s *engage.Send) []PushSize
	// Preview renders the arms of a campaign for a person and a moment
	// (decide.PreviewArms). Nil: there are no previews.
	Preview func(of *PreviewOf) ([]Previewed, error)

	People      People
	Uploads     Uploads
	Privacy     Privacy
	Decisions   Decisions
	Calls       Calls
	Occurrences Occurrences
	Positions   Positions
	Nearby      Nearby
	Audience    Audience
	Operations  Operations
	Webhooks    Webhooks
	Offers      Offers
	Redemptions Redemptions
	Items       Items
	Push        Push

	LiveActivities LiveActivities

	Dropped Dropped
	Images  Images  // nil: images are not looked at
	Hosting Hosting // nil: images are not hosted; with Images
	// Watching says what an install's phone watches; of one that is not known, that
	// it watches nothing.
	Watching func(ctx context.Context, workspace, install string) (*Watched, error)
	// Weather is how the weather service does; nil means that there is none.
	Weather func() weather.Status

	// SDK serves the phones: it gets every request under /sdk/v1/. Nil: 404.
	SDK http.Handler
	// Collect serves the tracking API: it gets every request under /v1/. Nil: 404.
	Collect http.Handler
	// Metrics serves /metrics. Nil: 404.
	Metrics http.Handler
	// Ready reports whether the server is caught up, and else what is missing, in
	// words without data of any workspace.
	Ready func() (ready bool, missing []string)

	// PlainImages says whether an image's address, which begins with http://, may be used
	// for all that; it may hold Liquid. Nil: none may.
	PlainImages func(address string) bool

	// HourCountsKept is for how long campaigns' counts by the hour are; 0: they are not.
	HourCountsKept time.Duration
	// TracksKept is for how long positions are; 0: for ever.
	TracksKept time.Duration

	Clock   clock.Clock
	Logger  *slog.Logger
	Version string // of the build
}

// Catalog is what the API needs of *catalog.Catalog, whose documentation holds.
type Catalog interface {
	Now() *catalog.Snapshot
	PutWorkspace(ctx context.Context, by string, w *catalog.Workspace, expected int64) error
	Learn(ctx context.Context, by, workspace string, change func(types map[string]catalog.LearnedType) bool) error
	PutLimits(ctx context.Context, by string, p *engage.LimitPolicy, expected int64) error
	StopAll(ctx context.Context, by, workspace string, stop *engage.Stop) error
	History(workspace string, kind catalog.Kind, id string) []catalog.Revision
	Audit(q catalog.Audited) []catalog.Made
	PutPlace(ctx context.Context, by string, p *engage.Place, expected int64) error
	PutPlaces(ctx context.Context, by, workspace string, edits []catalog.PlaceEdit) ([]catalog.PlaceOutcome, error)
	CheckPlaces(workspace string, edits []catalog.PlaceEdit) []catalog.PlaceOutcome
	Announce()
	DeletePlace(ctx context.Context, by, workspace, id string, expected int64) error
	PutCampaign(ctx context.Context, by string, c *engage.Campaign, expected int64) error
	DeleteCampaign(ctx context.Context, by, workspace, id string, expected int64) error
	PutOffer(ctx context.Context, by string, o *engage.Offer, expected int64) error
	DeleteOffer(ctx context.Context, by, workspace, id string, expected int64) error
	PutCatalogue(ctx context.Context, by string, k *engage.Catalogue, expected int64) error
	DeleteCatalogue(ctx context.Context, by, workspace, id string, expected int64) error
	PutApp(ctx context.Context, by string, a *catalog.App, expected int64) error
	PutWebhook(ctx context.Context, by string, w *catalog.Webhook, expected int64) error
	DeleteWebhook(ctx context.Context, by, workspace, id string, expected int64) error
	PutWriteKey(ctx context.Context, by string, k *catalog.WriteKey, expected int64) error
	DeleteWriteKey(ctx context.Context, by, workspace, id string, expected int64) error
	PutKey(ctx context.Context, by string, k *catalog.Key, expected int64) error
	DeleteKey(ctx context.Context, by, workspace, id string, expected int64) error
}

// Sealer encrypts a secret (*catalog.Sealer).
type Sealer interface {
	Seal(secret string) catalog.Sealed
}

// Page of a list. Next is the cursor of the page after it, empty when there is
// none; it is only good for the same list and filter.
type Page[T any] struct {
	Items []T
	Next  string
}

// People reads persons as the stages have committed them. Every method sees one
// workspace only. Errors: engage.NotFound; engage.Invalid of "cursor".
type People interface {
	// Profile is the state of a person: a JSON object with the fields of
	// profile.Profile, and "arms" (campaign to arm). What else stands in it is
	// not shown.
	Profile(ctx context.Context, workspace, id string) (json.RawMessage, error)
	// ProfileOf is the id of the profile that an identifier, "user_id:ada", is
	// bound to, or whose an install, "install:…", is now.
	ProfileOf(ctx context.Context, workspace, identifier string) (string, error)
	// Profiles lists persons by id, each as Profile gives it.
	Profiles(ctx context.Context, workspace, cursor string, limit int) (Page[json.RawMessage], error)
	// Timeline of a person, the newest first. A person that is not known has an
	// empty one.
	Timeline(ctx context.Context, workspace, profile string, f TimelineFilter, cursor string, limit int) (Page[engage.TimelineEntry], error)
}

// TimelineFilter chooses entries of a timeline; an empty field chooses all.
type TimelineFilter struct {
	Class  engage.TimelineClass
	From   time.Time // log time; this one is in
	Before time.Time // log time; this one is not
}

// DecisionFilter chooses decisions; an empty field chooses all.
type DecisionFilter struct {
	Profile  string
	Campaign string
	Place    string // of the moment
	State    engage.DecisionState
	Reason   engage.Reason
	From     time.Time // log time; this one is in
	Before   time.Time // log time; this one is not
}

// Decisions reads what was decided, and the counts of it.
type Decisions interface {
	// Decisions lists them by log time, the newest first.
	Decisions(ctx context.Context, workspace string, f DecisionFilter, cursor string, limit int) (Page[engage.Decision], error)
	// Tallies of a campaign by arm, summed over the partitions; the arm "" holds
	// what never reached one. A campaign without any has none.
	Tallies(ctx context.Context, workspace, campaign string) (map[string]engage.Counts, error)
	// Counted is what a campaign counted in each hour (by is time.Hour) or each day of UTC
	// that begins at from or later and before a time, in their order; those in which nothing
	// was counted, or that are not kept any more, are left out.
	Counted(ctx context.Context, workspace, campaign string, by time.Duration, from, before time.Time) ([]Counted, error)
}

// Counted is what a campaign counted in a span of time, by arm.
type Counted struct {
	From time.Time // when it begins
	Arms map[string]engage.Counts
}

// Whereabouts is where an install was last known to be.
type Whereabouts struct {
	Install   string
	Profile   string
	Platform  string // android, ios, web
	Lifecycle string // foreground, background; empty means not known
	// Precise: the person's consent to precise location is in force.
	Precise bool
	// Fix is the newest position; nil means that none is kept. Without Precise
	// the API shows its cell of CoarseResolution only.
	Fix       *geo.Point
	AccuracyM float64  // 68 % radius in metres; 0 means not given
	Cell      geo.Cell // kept instead of Fix; 0 means none
	At        time.Time
	Places    []string // whose visits are open, by id
}

// Positions reads where people are, and were.
type Positions interface {
	History
	// Whereabouts of at most limit installs, and whether there are more.
	Whereabouts(ctx context.Context, workspace string, limit int) (_ []Whereabouts, more bool, _ error)
}

// NearDevice is a device that is live near a point.
type NearDevice struct {
	Install   string
	Profile   string
	Platform  string // android, ios, web; empty means not known
	Lifecycle string // foreground, background; empty means not known
	DistanceM float64
	AccuracyM float64 // 68 % radius in metres; 0 means not given
	At        time.Time
	Places    []string // whose visits are open, by id
}

// Nearby knows the live devices: those whose newest fix is not older than MaxAge
// and whose person agrees to precise location. It is of now, not of what has been
// committed.
type Nearby interface {
	// Nearest are at most limit devices within radiusM of p, the nearest first, and
	// whether there are more.
	Nearest(workspace string, p geo.Point, radiusM float64, limit int) (_ []NearDevice, more bool)
	// Heat is the heat map of all live devices, and of when it is.
	Heat(workspace string) (*geo.Heat, time.Time, error)
	MaxAge() time.Duration
	// ProfilesByID reads persons as People.Profile does. Who is not there is left
	// out.
	ProfilesByID(ctx context.Context, workspace string, ids []string) (map[string]json.RawMessage, error)
}

// Quarantined is an entry that was set aside because its step failed.
type Quarantined struct {
	ID        string      `json:"id" doc:"Names it in a retry"`
	Partition string      `json:"partition"`
	Seq       uint64      `json:"seq" doc:"Of the record in the partition's log"`
	Kind      engage.Kind `json:"kind,omitempty" doc:"Absent: the whole record could not be read, so it cannot be retried"`
	Key       string      `json:"key,omitempty" doc:"The state that it concerns"`
	At        time.Time   `json:"at" doc:"Log time of the entry"`
	Reason    string      `json:"reason"`
}

// Alarm is something that an operator must know of.
type Alarm struct {
	Partition string    `json:"partition"`
	Kind      string    `json:"kind"`
	Text      string    `json:"text"`
	At        time.Time `json:"at"`
}

// Operations is what operators see and do.
type Operations interface {
	// Quarantine lists what is set aside; workspace engage.SystemWorkspace holds
	// what belongs to none.
	Quarantine(ctx context.Context, workspace, cursor string, limit int) (Page[Quarantined], error)
	// Requeue appends an entry again and forgets it in the quarantine. Errors:
	// engage.NotFound, engage.Unsupported (the record could not be read).
	Requeue(ctx context.Context, workspace, id string) error
	// Alarms of the whole server, the newest first.
	Alarms(ctx context.Context, cursor string, limit int) (Page[Alarm], error)
}
