package redeem

import (
	"context"
	"hash/fnv"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// Options of a Service. All are required.
type Options struct {
	Hot    store.Store
	States store.Store // has the reservations; may be the same
	// Shared is the offer of a shared code, Offer that of an id; nil when there is none.
	Shared func(workspace, code string) *engage.Offer
	Offer  func(workspace, id string) *engage.Offer
	// Ended calls f for every offer of all workspaces that is over, with since when.
	Ended func(f func(o *engage.Offer, since time.Time))
	// Flush has reservations in the store that are only in the log. It is called before a
	// till is told that there is none.
	Flush func(context.Context) error
	// Persons are all the ids that a person has gone by, the present one first.
	Persons func(ctx context.Context, workspace, profile string) ([]string, error)
	// Tell has the owners of persons, and of what is known of offers' use, hear what became
	// of them; it returns when that is durable. It may be told again.
	Tell  func(ctx context.Context, all []Told) error
	Clock clock.Clock
	// Keep is how long redemptions are kept, and codes after the end of their offer.
	Keep   time.Duration
	Logger *slog.Logger
}

// Told is something that others are to hear of: a redemption whose person is known, or
// how often an offer was redeemed.
type Told struct {
	Workspace  string
	Redemption *engage.Redemption
	Used       *engage.OfferUsed
}

// stripes is how many redemptions of different offers are under way at once.
const stripes = 64

// Service keeps pools and redemptions. It is safe for concurrent use.
type Service struct {
	o      Options
	adding sync.Mutex
	// stripes serialise the redemptions of an offer within this process, which would
	// overtake each other at its count; what holds across processes is the version.
	stripes [stripes]sync.Mutex
	wake    chan struct{}
	untold  atomic.Bool // something may be there that nobody has heard of
	telling atomic.Bool
}

// New makes a Service.
func New(o Options) *Service {
	s := &Service{o: o, wake: make(chan struct{}, 1)}
	s.untold.Store(true) // of an earlier process
	return s
}

func (s *Service) stripe(workspace, offer string) *sync.Mutex {
	h := fnv.New32a()
	h.Write([]byte(workspace + "/" + offer))
	return &s.stripes[h.Sum32()%stripes]
}

// Collections are those that the service keeps in the hot store.
func Collections() []store.Collection {
	return []store.Collection{
		{Name: "offer_codes", Indexes: []store.Index{{Name: "offer", Paths: []string{"offer", "n"}}}},
		{Name: "offer_pool"},
		{Name: "offer_uses"},
		{Name: "redeem_outbox"},
		{Name: "redemptions", Indexes: []store.Index{
			{Name: "at", Paths: []string{"at_us"}},
			{Name: "offer", Paths: []string{"offer", "at_us"}},
			{Name: "code", Paths: []string{"code", "at_us"}},
			{Name: "profile", Paths: []string{"profile", "at_us"}, Sparse: true},
		}},
	}
}
