package app

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/identity"
	"github.com/footfall-engage/footfall/server/ingest"
	"github.com/footfall-engage/footfall/server/situate"
	"github.com/footfall-engage/footfall/server/store"
)

// sdkCatalog is the catalogue as the gateway sees it.
type sdkCatalog struct {
	a      *App
	places *configs[*situate.Config]
	sdk    sdkConfigs

	mu        sync.Mutex
	verifiers map[string]verifier // by the public key of the app

	compiling sync.Mutex            // also guards fences
	fences    map[string]*sdkFences // the newest, by workspace
}

// verifier of an app as it was.
type verifier struct {
	of *catalog.App
	is *identity.Verifier
}

// App implements ingest.Catalog.
func (c *sdkCatalog) App(key string) (ingest.App, bool) {
	app := c.a.catalog.Now().AppByKey(key)
	if app == nil {
		return ingest.App{}, false
	}
	return ingest.App{
		Workspace: app.Workspace, ID: app.ID, Platform: app.Platform, Disabled: app.Disabled, Identity: c.verifier(app),
		Config:     c.sdk.config(app),
		Suppressed: func(identifier string) bool { return c.a.people.Suppressed(app.Workspace, identifier) },
	}, true
}

// verifier judges the identifications of an app. It is made anew when the app has
// changed, which the catalogue's snapshots show by another pointer.
func (c *sdkCatalog) verifier(app *catalog.App) *identity.Verifier {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := c.verifiers[app.Key]; ok && have.of == app {
		return have.is
	}
	settings := app.IdentitySettings()
	var keys []identity.Key
	for _, k := range settings.Keys {
		secret, err := c.a.sealer.Open(k.Secret)
		key := identity.Key{ID: k.ID, Alg: k.Alg, Secret: secret, Public: k.PublicKey}
		if err == nil {
			err = key.Validate()
		}
		if err != nil { // what it would prove is refused; the rest works
			c.a.log.Error("identity key cannot be used", "app", app.ID, "key", k.ID, "error", err)
			continue
		}
		keys = append(keys, key)
	}
	v, err := identity.New(app.ID, settings.Mode, keys)
	if err != nil { // nothing is proven by a nil verifier, and what is not is refused
		c.a.log.Error("identity settings cannot be used", "app", app.ID, "error", err)
	}
	if c.verifiers == nil {
		c.verifiers = map[string]verifier{}
	}
	c.verifiers[app.Key] = verifier{app, v}
	return v
}

// Changed implements ingest.Catalog.
func (c *sdkCatalog) Changed() <-chan struct{} { return c.a.catalog.Changed() }

// credential is a document of the collection "credentials" of the hot store,
// whose only writer is the gateway's registration.
type credential struct {
	V          int       `json:"v"` // 2; 1 had none of the times and no Next
	App        string    `json:"app"`
	Hash       string    `json:"hash"` // hex SHA-256 of the device token
	Confirmed  bool      `json:"confirmed"`
	Issued     time.Time `json:"issued,omitzero"`
	Next       string    `json:"next,omitempty"` // hex SHA-256 of the token that is to replace it
	NextIssued time.Time `json:"next_issued,omitzero"`
}

type credentials struct{ hot store.Store }

func credentialKey(workspace, install string) store.Key {
	return store.Key{Workspace: workspace, ID: install}
}

// Credential implements ingest.Credentials.
func (c credentials) Credential(ctx context.Context, workspace, install string) (ingest.Credential, error) {
	doc, err := c.hot.Get(ctx, "credentials", credentialKey(workspace, install))
	if errors.Is(err, store.ErrNotFound) {
		return ingest.Credential{}, nil
	}
	if err != nil {
		return ingest.Credential{}, fmt.Errorf("read credential: %w", err)
	}
	var k credential
	if err := json.Unmarshal(doc.Body, &k); err != nil {
		return ingest.Credential{}, fmt.Errorf("decode credential: %w", err)
	}
	if k.V != 1 && k.V != 2 {
		return ingest.Credential{}, fmt.Errorf("decode credential: version %d is not known", k.V)
	}
	out := ingest.Credential{App: k.App, Confirmed: k.Confirmed, Issued: k.Issued, NextIssued: k.NextIssued, Version: doc.Version}
	if out.Hash, err = hex.DecodeString(k.Hash); err != nil {
		return ingest.Credential{}, fmt.Errorf("decode credential: %w", err)
	}
	if k.Next != "" {
		if out.Next, err = hex.DecodeString(k.Next); err != nil {
			return ingest.Credential{}, fmt.Errorf("decode credential: %w", err)
		}
	}
	return out, nil
}

// PutCredential implements ingest.Credentials.
func (c credentials) PutCredential(ctx context.Context, workspace, install string, k ingest.Credential, ifVersion int64) error {
	body, err := json.Marshal(credential{
		V: 2, App: k.App, Hash: hex.EncodeToString(k.Hash), Confirmed: k.Confirmed, Issued: k.Issued,
		Next: hex.EncodeToString(k.Next), NextIssued: k.NextIssued,
	})
	if err != nil {
		return fmt.Errorf("encode credential: %w", err)
	}
	err = c.hot.Apply(ctx, store.Batch{Puts: []store.Put{{
		Collection: "credentials", Key: credentialKey(workspace, install), Body: body, If: ifVersion,
	}}})
	if errors.Is(err, store.ErrVersion) {
		return &engage.Error{Code: engage.Conflict, Field: "install_id", Msg: "another registration was faster", Err: err}
	}
	return err
}

// installs is the read copy of installs' states. It lags by at most one
// checkpoint; what this process appended itself the gateway remembers.
type installs struct{ states store.Store }

// Install implements ingest.Installs.
func (i installs) Install(ctx context.Context, workspace, install string) (ingest.Install, error) {
	in, err := readInstall(ctx, i.states, workspace, install)
	if err != nil || in == nil {
		return ingest.Install{}, err
	}
	out := ingest.Install{
		Profile: in.Profile, From: in.From, User: in.Proved, UserTo: in.Last(),
		Consents: map[engage.Purpose]bool{}, Answered: map[engage.Purpose]ingest.Answered{}, Background: in.Device.Lifecycle == "background", Platform: in.Device.Platform,
		Location:  sdkpb.Permissions_Location(sdkpb.Permissions_Location_value["LOCATION_"+strings.ToUpper(in.Device.Location)]),
		Precision: sdkpb.Permissions_Precision(sdkpb.Permissions_Precision_value["PRECISION_"+strings.ToUpper(in.Device.Precision)]),
	}
	if in.Imported {
		out.Spoken = situate.SpokenProfile(workspace, install, in.Profile)
	}
	for p, c := range in.Consents.All() {
		out.Consents[p] = c.Granted
		seq, since := in.Answered(p)
		out.Answered[p] = ingest.Answered{Seq: seq, Since: since}
	}
	if n := len(in.Accepted); n > 0 {
		out.LastSeq = in.Accepted[n-1][1]
	}
	switch {
	case in.Fix != nil:
		out.Position, out.AccuracyM = &in.Fix.Pos, in.Fix.AccuracyM
	case in.Coarse != 0:
		p := in.Coarse.Center()
		out.Position = &p
	}
	return out, nil
}

// readInstall reads a situate state; nil when there is none.
func readInstall(ctx context.Context, states store.Store, workspace, install string) (*situate.Install, error) {
	doc, err := states.Get(ctx, "state_in", store.Key{Workspace: workspace, ID: "i:" + install})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read install: %w", err)
	}
	st, err := situate.Machine{}.Decode(engage.InstallKey(workspace, install), doc.Body)
	if err != nil {
		return nil, err
	}
	return st.(*situate.Install), nil //nolint:forcetypeassert // Decode gives nothing else for this key
}

// sdkLog appends what phones say to the partition of their install.
type sdkLog struct {
	r *router
	// faulty, in tests and in the demo's sabotage, takes entries away that are
	// then acknowledged all the same.
	faulty func(workspace, install string, entries []engage.Entry) []engage.Entry
}

// AppendAsync implements ingest.Log.
func (l *sdkLog) AppendAsync(workspace, install string, entries []engage.Entry, done func(error)) error {
	if entries = l.sabotage(workspace, install, entries); len(entries) == 0 {
		done(nil)
		return nil
	}
	return busy(l.r.inOf(entries[0].Key).AppendAsync(entries, func(_ uint64, err error) { done(busy(err)) }))
}

func (l *sdkLog) sabotage(workspace, install string, entries []engage.Entry) []engage.Entry {
	if l.faulty == nil {
		return entries
	}
	return l.faulty(workspace, install, entries)
}

// busy gives the log's own errors the codes that the gateway tells phones.
func busy(err error) error {
	switch {
	case errors.Is(err, eventlog.ErrBusy):
		return &engage.Error{Code: engage.RateLimited, Msg: "the log is behind", Err: err}
	case errors.Is(err, eventlog.ErrStopped):
		return &engage.Error{Code: engage.Unavailable, Msg: "the server is stopping", Err: err}
	}
	return err
}
