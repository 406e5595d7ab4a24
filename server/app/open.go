package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/durable"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/items"
	"github.com/footfall-engage/footfall/server/lockfile"
	"github.com/footfall-engage/footfall/server/measure"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/people"
	"github.com/footfall-engage/footfall/server/redeem"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/mongo"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// hotCollections are written before anything leaves; stateCollections beside the
// loops. They are two files, so that a large commit of states delays no send.
func hotCollections() []store.Collection {
	hot, _ := partition.Collections("in")
	hot = append(hot,
		store.Collection{Name: "deliveries", Indexes: []store.Index{{Name: "lane", Paths: []string{"lane", "due_us"}, Sparse: true}}},
		store.Collection{Name: "inbox"},
		store.Collection{Name: "credentials"},
		store.Collection{Name: "budgets"},
		liveCollection(),
		hookCollection(),
		store.Collection{Name: "meta"},
	)
	return slices.Concat(hot, people.Collections(), redeem.Collections())
}

func stateCollections() []store.Collection {
	_, out := partition.Collections("in")
	return append(append(out, items.Collections()...),
		store.Collection{Name: "state_act"},
		store.Collection{Name: "decisions", Indexes: []store.Index{
			{Name: "profile", Paths: []string{"profile", "at_us"}},
			{Name: "campaign", Paths: []string{"campaign", "at_us"}},
			{Name: "place", Paths: []string{"trigger.place", "at_us"}, Sparse: true},
			{Name: "at", Paths: []string{"at_us"}},
		}},
		store.Collection{Name: measure.Hours}, // a campaign's stand together by their ids
		store.Collection{Name: measure.Days},
		store.Collection{Name: "timeline"},
		store.Collection{Name: decide.Snapshots, Opaque: true},
		// engage.Visit: the newest of a place, a person or a phone, and those that
		// have not ended.
		store.Collection{Name: "visits", Indexes: []store.Index{
			{Name: "place", Paths: []string{"place", "since_us"}},
			{Name: "profile", Paths: []string{"profile", "since_us"}},
			{Name: "install", Paths: []string{"install", "since_us"}},
			{Name: "open", Paths: []string{"ended", "place"}},
		}},
		// engage.TrackChunk: those of an install stand together by their ids.
		store.Collection{Name: "tracks", Indexes: []store.Index{{Name: "profile", Paths: []string{"profile", "hour_us"}}}},
		// engage.Reservation: whose a unique code is, and what a person holds.
		store.Collection{Name: "reservations", Indexes: []store.Index{
			{Name: "held", Paths: []string{"held"}, Sparse: true},
			{Name: "back", Paths: []string{"back"}, Sparse: true},
			{Name: "profile", Paths: []string{"profile", "at_us"}},
		}},
		claimsCollection(),
		droppedCollection(),
		occurrencesCollection(),
		store.Collection{Name: turningsCollection},
		store.Collection{Name: "media"},
		store.Collection{Name: "media_data", Opaque: true},
		store.Collection{Name: "meta"},
	)
}

// lockFolder keeps a second process away from the data folder.
func (a *App) lockFolder() error {
	if err := os.MkdirAll(a.o.Config.DataDir, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	lock, err := lockfile.Lock(filepath.Join(a.o.Config.DataDir, "lock"))
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	a.life.push("data folder", lock.Close)
	return nil
}

// openLog opens the configured event log.
func openLog(ctx context.Context, c *config.Config, log *slog.Logger) (*eventlog.JetStream, error) {
	if c.EventLog.Embedded() {
		return eventlog.OpenEmbedded(ctx, eventlog.EmbeddedOptions{
			Dir: filepath.Join(c.DataDir, "log"), Durability: eventlog.Durability(c.Durability), Logger: log,
		})
	}
	remote, err := eventlog.Connect(ctx, remoteOptions(c, log))
	return remote, below("event_log", err)
}

// below names the setting that a refusal is about, as an operator knows it.
func below(section string, err error) error {
	if _, ok := errors.AsType[*engage.Error](err); ok {
		return engage.At(section, err)
	}
	return err
}

// openStores opens the configured stores: two SQLite files, or one database in
// which the collections of both stand.
func (a *App) openStores(ctx context.Context) error {
	open := func(name string, f func() (store.Store, error)) (store.Store, error) {
		s, err := f()
		if err != nil {
			return nil, err
		}
		a.life.push(name, s.Close)
		return s, nil
	}
	c, now := &a.o.Config, a.o.Clock.Now
	var err error
	if c.Store.MongoDB.Enabled() {
		a.states, err = open("mongodb", func() (store.Store, error) { return openMongoDB(ctx, c, a.log, now, a.o.SerialStore) })
		a.hot = a.states
		return err
	}
	if a.states, err = open("states.db", func() (store.Store, error) {
		return openSQLite(ctx, c, "states.db", stateCollections(), a.log, now)
	}); err != nil {
		return err
	}
	a.hot, err = open("hot.db", func() (store.Store, error) {
		return openSQLite(ctx, c, "hot.db", hotCollections(), a.log, now)
	})
	return err
}

// openSQLite opens a file in the data folder.
func openSQLite(ctx context.Context, c *config.Config, file string, collections []store.Collection, log *slog.Logger, now func() time.Time) (store.Store, error) {
	s, err := sqlite.Open(ctx, sqlite.Options{
		Path: filepath.Join(c.DataDir, file), Collections: collections, Durability: string(c.Durability), Logger: log, Now: now,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	return s, nil
}

// openMongoDB opens the configured database; serial is Options.SerialStore.
func openMongoDB(ctx context.Context, c *config.Config, log *slog.Logger, now func() time.Time, serial bool) (store.Store, error) {
	uri, err := connectionString(c.Store.MongoDB)
	if err != nil {
		return nil, err
	}
	s, err := mongo.Open(ctx, mongo.Options{
		URI: uri, Database: c.Store.MongoDB.Database, Collections: AllCollections(), Durability: string(c.Durability),
		Logger: log, Now: now, Serial: serial,
	})
	if err != nil {
		return nil, below("store.mongodb", err)
	}
	return s, nil
}

// connectionString reads it from where it is kept.
func connectionString(c config.MongoDB) (engage.Secret, error) {
	if c.URIFile == "" {
		return c.URI, nil
	}
	text, err := os.ReadFile(c.URIFile)
	if err != nil {
		return "", unreadable("store.mongodb.uri_file", err)
	}
	return engage.Secret(strings.TrimSpace(string(text))), nil
}

// AllCollections are those of a store that keeps everything.
func AllCollections() []store.Collection {
	all := stateCollections()
	for _, c := range hotCollections() {
		if !slices.ContainsFunc(all, func(have store.Collection) bool { return have.Name == c.Name }) {
			all = append(all, c)
		}
	}
	return all
}

// layout is the document "meta/layout": what cannot change in a data folder.
type layout struct {
	V          int `json:"v"` // 1
	Partitions int `json:"partitions"`
}

var layoutKey = store.Key{Workspace: store.System, ID: "layout"}

// partitionCount is that of the data folder, or the configured one for a new folder.
func (a *App) partitionCount(ctx context.Context) (int, error) {
	want := a.o.Config.Partitions
	doc, err := a.states.Get(ctx, "meta", layoutKey)
	if errors.Is(err, store.ErrNotFound) {
		if want == 0 {
			want = min(max(runtime.NumCPU(), 1), 64)
		}
		body, err := json.Marshal(layout{1, want})
		if err != nil {
			return 0, err
		}
		return want, a.states.Apply(ctx, store.Batch{Puts: []store.Put{{Collection: "meta", Key: layoutKey, Body: body}}})
	}
	if err != nil {
		return 0, fmt.Errorf("read layout: %w", err)
	}
	var l layout
	if err := json.Unmarshal(doc.Body, &l); err != nil {
		return 0, fmt.Errorf("decode layout: %w", err)
	}
	if want != 0 && want != l.Partitions {
		return 0, engage.Errorf(engage.Conflict, "partitions", "this data folder has %d, not %d: moving slots between partitions is not built yet", l.Partitions, want)
	}
	return l.Partitions, nil
}

// sealer reads the key of the secrets, and makes it on the first start.
func sealer(c *config.Config) (*catalog.Sealer, error) {
	if c.Secrets.Key != "" {
		key, err := config.ParseKey(c.Secrets.Key)
		if err != nil {
			return nil, err
		}
		return catalog.NewSealer(key)
	}
	path := c.KeyFile()
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key := make([]byte, config.KeyBytes)
		_, _ = rand.Read(key) // never fails (Go 1.24)
		text = []byte(base64.StdEncoding.EncodeToString(key) + "\n")
		if err := writeDurably(path, text); err != nil {
			return nil, fmt.Errorf("write secret key: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("read secret key: %w", err)
	} else if c.Durability == config.Power && c.Secrets.KeyFile == "" { // whoever wrote it may have been killed before its name was certain
		if err := durable.Files(path); err != nil {
			return nil, fmt.Errorf("sync secret key: %w", err)
		}
	}
	key, err := config.ParseKey(engage.Secret(text))
	if err != nil {
		return nil, engage.At("secrets.key_file", err)
	}
	return catalog.NewSealer(key)
}

// firstWorkspace makes the default workspace when it is not there.
func (a *App) firstWorkspace(ctx context.Context) error {
	ws := a.o.Config.Workspace
	if a.catalog.Now().Workspaces[ws] != nil {
		return nil
	}
	w := &catalog.Workspace{ID: ws, Name: ws}
	if err := a.catalog.PutWorkspace(ctx, "system", w, catalog.AnyVersion); err != nil {
		return fmt.Errorf("make workspace %s: %w", ws, err)
	}
	return nil
}

// makeFirstKey adds the admin key when there is none. It may be repeated with the
// same key.
func (a *App) makeFirstKey(ctx context.Context, k *catalog.Key, token engage.Secret) error {
	for _, have := range a.catalog.Now().Keys(k.Workspace) {
		if have.ID == k.ID {
			a.firstKey = token
			return nil
		}
		if have.Role == catalog.Admin {
			return nil
		}
	}
	if err := a.catalog.PutKey(ctx, "system", k, catalog.AnyVersion); err != nil {
		return fmt.Errorf("make the first admin key: %w", err)
	}
	a.firstKey = token
	return nil
}

// outlastWithin is how long a start waits for a log or a store that has answered
// before and does not now.
const outlastWithin = time.Minute

// outlast does what a start needs of a log or a store on other machines until it
// is done or refused; these may go away at any moment. F may be repeated.
func (a *App) outlast(ctx context.Context, f func(context.Context) error) error {
	if a.o.Config.EventLog.Embedded() && !a.o.Config.Store.MongoDB.Enabled() {
		return f(ctx)
	}
	within, cancel := context.WithTimeout(ctx, outlastWithin)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := f(within)
		if e, ok := errors.AsType[*engage.Error](err); err == nil || ok && e.Code != engage.Unavailable || within.Err() != nil {
			return err
		}
		a.log.Warn("the start waits for the event log or the store", "error", err)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-within.Done():
			t.Stop()
			return err
		}
	}
}

// ResetAdmin makes an admin key in the log of a server that is stopped.
func ResetAdmin(ctx context.Context, c config.Config) (_ engage.Secret, err error) {
	log, err := openLog(ctx, &c, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	cat, err := catalog.Open(ctx, catalog.Options{Log: log, Clock: clock.System{}})
	if err != nil {
		return "", err
	}
	if cat.Now().Workspaces[c.Workspace] == nil {
		return "", engage.Errorf(engage.NotFound, "workspace", "%s has no workspace %q: has a server ever run there?", c.DataDir, c.Workspace)
	}
	k, token := catalog.NewKey(c.Workspace, "admin by reset", catalog.Admin)
	return token, cat.PutKey(ctx, "reset-admin", k, 0)
}
