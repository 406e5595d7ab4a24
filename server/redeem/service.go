package redeem

import (
	"sync"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// Options of a Service. All are required.
type Options struct {
	Hot store.Store
	// Shared is the offer of a shared code; nil when there is none.
	Shared func(workspace, code string) *engage.Offer
}

// Service keeps pools. It is safe for concurrent use.
type Service struct {
	o      Options
	adding sync.Mutex
}

// New makes a Service.
func New(o Options) *Service { return &Service{o: o} }

// Collections are those that the service keeps in the hot store.
func Collections() []store.Collection {
	return []store.Collection{{Name: "offer_codes"}, {Name: "offer_pool"}}
}
