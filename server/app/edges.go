package app

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/audience"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/ingest"
	"github.com/footfall-engage/footfall/server/measure"
	"github.com/footfall-engage/footfall/server/situate"
)

// openEdges wires what faces the world: push providers, phones, the API.
func (a *App) openEdges(ctx context.Context, places *configs[*situate.Config]) error {
	var err error
	if a.senders, err = newSenders(a.catalog, a.sealer, &a.o.Config, a.o.Clock, a.log); err != nil {
		return err
	}
	// Phones reach deliver by the gateway, and deliver reaches phones by the
	// gateway's sessions; neither is called before both are there.
	if a.gateway, err = ingest.New(a.gatewayOptions(places)); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	if a.deliver, err = deliver.New(deliver.Options{
		Ledger: ledger{a.hot}, Sessions: a.gateway.Sessions(), Senders: a.senders,
		Outcomes: outcomes{a.router}, Permits: permits{a.states, a.catalog, &a.router.moves.answers}, Owners: owners{a}, Clock: a.o.Clock, Logger: a.log, Metrics: a.registry,
		MaxInFlight: a.o.Config.Push.MaxInFlight, Limits: pushLimits(&a.o.Config.Push), Budgets: budgets{a.hot},
	}); err != nil {
		return fmt.Errorf("deliver: %w", err)
	}
	a.lives = a.newLives()
	a.router.accept, a.router.receipt = a.withHostedImages(a.deliver.Accept), a.deliver.Receipt
	if err := a.openWebhooks(); err != nil {
		return err
	}
	if err := a.openPeople(ctx); err != nil {
		return err
	}
	if err := a.openCollect(); err != nil {
		return err
	}
	images, err := a.openMedia()
	if err != nil {
		return err
	}
	if err := a.openUploads(); err != nil {
		return err
	}
	r := reads{a}
	if a.handler, err = api.New(api.Options{
		Catalog: adopted{a.catalog, a}, Sealer: a.sealer, Compile: decide.Compile, PushSizes: pushSizes, Preview: preview,
		People: r, Privacy: privacy{a}, Uploads: a.uploads, Decisions: r, Positions: r, Nearby: a.nearby, Audience: audience.New(audience.Options{Source: savedPeople{a.states}, Read: decide.ReadProfile}), Operations: r, Webhooks: hooks{a}, Offers: a.offers, Redemptions: a.offers.Service, Items: a.items, Push: pushes{a}, LiveActivities: lives{a}, Images: images, Hosting: a.hosting(), Watching: a.watching, Weather: a.weather.Status,
		Calls: calls{a}, Occurrences: occurrenceRecords{a},
		SDK: a.gateway.Routes(), Collect: a.collect.Handler(), Dropped: dropped{a.states, a.catalog}, Metrics: promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}),
		Ready: a.ready, Clock: a.o.Clock, Logger: a.log, Version: a.o.Version,
		PlainImages: a.plainImages, TracksKept: historyKept(&a.o.Config)["tracks"], HourCountsKept: historyKept(&a.o.Config)[measure.Hours],
	}); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

// pushLimits are the configured ones; those that are not are as Google documents them.
func pushLimits(p *config.Push) *deliver.Limits {
	l := deliver.DefaultLimits()
	l.FCM.PerMin, l.FCM.Ramp, l.FCM.DevicePerMin, l.FCM.DevicePerHour = p.FCMPerMin, p.FCMRamp(), p.FCMDevicePerMin, p.FCMDevicePerHour
	l.APNs.PerMin, l.SilentPerHour = p.APNsPerMin, p.SilentPerHour
	return &l
}

// gatewayOptions are those of a gateway on this server's catalogue, log and stores.
func (a *App) gatewayOptions(places *configs[*situate.Config]) ingest.Options {
	limits := a.o.Config.Limits
	return ingest.Options{
		Catalog:     &sdkCatalog{a: a, places: places},
		Credentials: credentials{a.hot}, Installs: installs{a.states},
		Log:        &sdkLog{r: a.router, faulty: a.o.FaultyLog},
		Deliveries: &phones{a: a}, People: persons{a}, Clock: a.o.Clock, Logger: a.log, Registerer: a.registry,
		Limits: ingest.Limits{
			MaxSessions: limits.Sessions, MaxPosts: limits.Posts,
			RegisterRate: float64(limits.RegistrationsPerS), RegisterBurst: 100 * limits.RegistrationsPerS,
			ItemRate: float64(limits.InstallItemsPerS), ItemBurst: 10 * limits.InstallItemsPerS,
			AppItemRate: float64(limits.AppItemsPerS), AppItemBurst: 10 * limits.AppItemsPerS,
		},
	}
}

// phones is the ledger as the gateway sees it.
type phones struct{ a *App }

// Claim implements ingest.Deliveries.
func (p *phones) Claim(ctx context.Context, workspace, install, delivery string) (bool, string, error) {
	return p.a.deliver.Claim(ctx, workspace, install, delivery)
}

// before are the unread cards of the profiles that have become one with a person.
func (p *phones) before(ctx context.Context, workspace, profile string) ([]*sdkpb.Message, error) {
	ids, err := reads{p.a}.everyID(ctx, workspace, profile)
	if err != nil {
		return nil, err
	}
	var out []*sdkpb.Message
	for _, id := range ids[1:] {
		cards, err := p.a.deliver.Inbox(ctx, workspace, id)
		if err != nil {
			return nil, err
		}
		out = append(out, cards...)
	}
	return out, nil
}

// InboxSince implements ingest.Deliveries.
func (p *phones) InboxSince(ctx context.Context, workspace, install, cursor string, limit int) (*sdkpb.Inbox, error) {
	profile, err := p.a.personOf(ctx, workspace, install)
	if err != nil {
		return nil, err
	}
	out, err := p.a.deliver.InboxSince(ctx, workspace, profile, cursor, limit)
	if err != nil || !out.GetFull() || out.GetMore() {
		return out, err
	}
	// What the person was sent as somebody else is in that one's inbox still.
	before, err := p.before(ctx, workspace, profile)
	out.Messages = append(before, out.GetMessages()...)
	return out, err
}

// Inbox implements ingest.Deliveries. An install's inbox is that of the person whose
// it is.
func (p *phones) Inbox(ctx context.Context, workspace, install string) ([]*sdkpb.Message, error) {
	profile, err := p.a.personOf(ctx, workspace, install)
	if err != nil {
		return nil, err
	}
	now, err := p.a.deliver.Inbox(ctx, workspace, profile)
	if err != nil {
		return nil, err
	}
	before, err := p.before(ctx, workspace, profile)
	return append(before, now...), err
}
