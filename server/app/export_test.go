package app

import (
	"context"
	"fmt"

	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/ingest"
	"github.com/footfall-engage/footfall/server/situate"
	"github.com/footfall-engage/footfall/server/store"
)

// For tests that open a data folder or run a partition by themselves.

func StateCollections() []store.Collection { return stateCollections() }

func HotCollections() []store.Collection { return hotCollections() }

func Ledger(s store.Store) deliver.Ledger { return testLedger{ledger{s}} }

type testLedger struct{ ledger }

// PutItem writes an inbox item as builds did until issue 4.
func (l testLedger) PutItem(it deliver.InboxItem) {
	body := fmt.Appendf(nil, `{"v":1,"at_us":%d,"item":%s}`, it.At.UnixMicro(), it.Body)
	if err := l.hot.Apply(context.Background(), store.Batch{Puts: []store.Put{{
		Collection: "inbox", Key: inboxKey(it.Workspace, it.Profile, it.Delivery), Body: body, Expires: it.Expires, If: store.AnyVersion,
	}}}); err != nil {
		panic(err) // of a test
	}
}

// LiveDevices is how many positions are kept in memory.
func (a *App) LiveDevices() int { return a.nearby.devices() }

// AnotherGateway is a second one on the server's catalogue, log and stores, which
// knows of what phones said only what is in them: as another process would.
func (a *App) AnotherGateway(adjust ...func(*ingest.Options)) (*ingest.Gateway, error) {
	o := a.gatewayOptions(&configs[*situate.Config]{catalog: a.catalog, compile: situateConfig()})
	o.Registerer = nil // the names are taken
	for _, f := range adjust {
		f(&o)
	}
	return ingest.New(o)
}
