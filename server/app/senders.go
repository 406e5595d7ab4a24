package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/apns"
	"github.com/footfall-engage/footfall/channels/fcm"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/engage"
)

// senders keeps one push sender per app and provider, made when it is first
// needed and made anew when the app's credentials change.
type senders struct {
	catalog   *catalog.Catalog
	sealer    *catalog.Sealer
	providers config.Providers
	rootCAs   *x509.CertPool
	clock     clock.Clock
	log       *slog.Logger
	teams     apns.Shared // whose apps have one team and key use the same connections
	// accounts are FCM's service accounts that are not in the store, for the apps of
	// the workspace that may use them.
	accounts  fcm.Credentials
	workspace string

	mu   sync.Mutex
	made map[senderKey]*sender
}

type senderKey struct{ workspace, app, provider string }

type sender struct {
	of pushCredential // that it was made from
	channels.Sender
	close func() error
}

// Pushes that the senders can have under way: their connections by nine tenths of the
// streams that the providers allow.
const (
	fcmSlots  = 4 * 90
	apnsSlots = 2 * 900
)

// Capacity is how many pushes the sender can have under way: more would wait in it,
// where a live one cannot overtake one of the bulk lane.
func (s *sender) Capacity() int {
	if s.of.apns.TeamID != "" {
		return apnsSlots
	}
	return fcmSlots
}

// pushCredential is what a sender depends on of an app: what else is changed there
// disturbs no push.
type pushCredential struct {
	fcm    catalog.FCM
	apns   catalog.APNs
	bundle string
}

func credentialOf(app *catalog.App, provider string) pushCredential {
	switch {
	case provider == string(channels.FCM) && app.FCM != nil:
		return pushCredential{fcm: *app.FCM}
	case provider == string(channels.APNs) && app.APNs != nil:
		return pushCredential{apns: *app.APNs, bundle: app.BundleID}
	default:
		return pushCredential{}
	}
}

func newSenders(c *catalog.Catalog, s *catalog.Sealer, conf *config.Config, clk clock.Clock, log *slog.Logger) (*senders, error) {
	p := conf.Providers
	accounts, err := serviceAccounts(p.FCM)
	if err != nil {
		return nil, err
	}
	rootCAs, err := authorities("providers.apns.root_ca_file", p.APNs.RootCAFile, nil)
	if err != nil {
		return nil, err
	}
	return &senders{
		catalog: c, sealer: s, providers: p, rootCAs: rootCAs, clock: clk, log: log, made: map[senderKey]*sender{},
		accounts: accounts, workspace: conf.Workspace,
	}, nil
}

// Sender is the push sender for an app, and the name of its credential. An error
// of code engage.NotFound means that the app has none for the provider.
func (x *senders) Sender(_ context.Context, workspace, appID, provider string) (channels.Sender, string, error) {
	app := x.catalog.Now().App(workspace, appID)
	if app == nil {
		return nil, "", engage.Errorf(engage.NotFound, "app", "there is no app %q", appID)
	}
	key := senderKey{workspace, appID, provider}
	name := fmt.Sprintf("%s/%s/%s", workspace, appID, provider)
	x.mu.Lock()
	defer x.mu.Unlock()
	old := x.made[key]
	of := credentialOf(app, provider)
	if old != nil && old.of == of {
		return old, name, nil
	}
	s, err := x.make(app, provider)
	if err != nil {
		if old != nil && of == (pushCredential{}) { // it was taken from the app
			delete(x.made, key)
			if err := old.close(); err != nil {
				x.log.Warn("close sender", "credential", name, "error", err)
			}
		}
		return nil, name, err
	}
	x.made[key] = s
	if old != nil {
		// What is under way on the old one ends as a lost connection would.
		if err := old.close(); err != nil {
			x.log.Warn("close sender", "credential", name, "error", err)
		}
	}
	return s, name, nil
}

func (x *senders) make(app *catalog.App, provider string) (*sender, error) {
	switch provider {
	case string(channels.FCM):
		if app.FCM == nil {
			return nil, engage.Errorf(engage.NotFound, "fcm", "app %q has no FCM credential", app.ID)
		}
		account, err := x.serviceAccount(app)
		if err != nil {
			return nil, err
		}
		s, err := fcm.New(fcm.Options{
			ProjectID: app.FCM.ProjectID, CredentialsJSON: account,
			Endpoint: x.providers.FCM.Endpoint, Logger: x.log, Now: x.clock.Now,
		})
		if err != nil {
			return nil, fmt.Errorf("FCM sender of app %s: %w", app.ID, err)
		}
		return &sender{credentialOf(app, provider), s, s.Close}, nil
	case string(channels.APNs):
		if app.APNs == nil {
			return nil, engage.Errorf(engage.NotFound, "apns", "app %q has no APNs credential", app.ID)
		}
		key, err := x.sealer.Open(app.APNs.PrivateKey)
		if err != nil {
			return nil, err
		}
		s, err := apns.New(apns.Options{
			TeamID: app.APNs.TeamID, KeyID: app.APNs.KeyID, PrivateKeyPEM: []byte(key.Reveal()), Topic: app.BundleID,
			ProductionURL: x.providers.APNs.ProductionURL, SandboxURL: x.providers.APNs.SandboxURL,
			RootCAs: x.rootCAs, Shared: &x.teams, Logger: x.log, Now: x.clock.Now,
		})
		if err != nil {
			return nil, fmt.Errorf("APNs sender of app %s: %w", app.ID, err)
		}
		return &sender{credentialOf(app, provider), s, s.Close}, nil
	default:
		return nil, engage.Errorf(engage.Unsupported, "provider", "unknown push provider %q", provider)
	}
}

// serviceAccount is the key file by which an app sends: its own from the store, else
// the server's of its project.
func (x *senders) serviceAccount(app *catalog.App) ([]byte, error) {
	if app.FCM.ServiceAccount != "" {
		own, err := x.sealer.Open(app.FCM.ServiceAccount)
		return []byte(own.Reveal()), err
	}
	if b := x.accounts[app.FCM.ProjectID]; b != nil && app.Workspace == x.workspace {
		return b, nil
	}
	return nil, engage.Errorf(engage.NotFound, "fcm", "app %q has no service account, and the server has none for it", app.ID)
}

func (x *senders) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var errs []error
	for _, s := range x.made {
		errs = append(errs, s.close())
	}
	clear(x.made)
	return errors.Join(errs...)
}
