package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/footfall-engage/footfall/server/config"
)

// A place is where a run keeps its event log and its documents: embedded in a
// folder, unless FOOTFALL_EVENT_LOG_* and FOOTFALL_STORE_* say otherwise, which mean
// what they mean to the server, as does FOOTFALL_DURABILITY. A run whose folder is temporary leaves nothing
// behind: elsewhere it gets a prefix and a database of its own, too, whatever is
// configured, and they are removed with the folder. With a folder that is kept
// (--data) names are as configured and kept.
type place struct {
	dir       string // of the run
	conf      config.Config
	temporary bool
	ownNATS   bool // the NATS server's streams are in dir
}

// ofPlaces are the settings that a run takes from its environment.
var ofPlaces = []string{"FOOTFALL_EVENT_LOG_", "FOOTFALL_STORE_", "FOOTFALL_DURABILITY"}

// newPlace makes the folder; url, if not empty, replaces FOOTFALL_EVENT_LOG_URL. A
// usageError when the settings are wrong.
func newPlace(env func(string) string, data, url, kind string) (*place, error) {
	conf, err := config.Load("", func(name string) string {
		for _, prefix := range ofPlaces {
			if strings.HasPrefix(name, prefix) {
				return env(name)
			}
		}
		return ""
	})
	if err != nil {
		return nil, usageError{err}
	}
	if url != "" {
		conf.EventLog.URL = url
	}
	p := &place{dir: data, conf: conf}
	if data == "" {
		p.temporary = true
		name := rand.Text()[:10]
		p.conf.EventLog.Prefix = strings.ToUpper(kind) + "_" + name
		p.conf.Store.MongoDB.Database = "footfall_" + kind + "_" + strings.ToLower(name)
		if p.dir, err = os.MkdirTemp("", "footfall-"+kind+"-"); err != nil {
			return nil, fmt.Errorf("make a temporary folder: %w", err)
		}
	} else if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	p.conf.DataDir = filepath.Join(p.dir, "server")
	if err := p.conf.Validate(); err != nil {
		return nil, errors.Join(usageError{err}, p.close())
	}
	return p, nil
}

// names of where things are, for reports.
type names struct {
	EventLog string `json:"event_log"` // "embedded" or "nats"
	Store    string `json:"store"`     // "sqlite" or "mongodb"
}

func (p *place) names() names {
	n := names{"embedded", "sqlite"}
	if !p.conf.EventLog.Embedded() {
		n.EventLog = "nats"
	}
	if p.conf.Store.MongoDB.Enabled() {
		n.Store = "mongodb"
	}
	return n
}

// sweepWithin bounds the removal of what a run made elsewhere.
const sweepWithin = time.Minute

// close removes what was temporary.
func (p *place) close() error {
	if !p.temporary {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), sweepWithin)
	defer cancel()
	var errs []error
	if c := p.conf.EventLog; !c.Embedded() && !p.ownNATS {
		if err := removeStreams(ctx, c); err != nil {
			errs = append(errs, fmt.Errorf("remove the streams %s_*: %w", c.Prefix, err))
		}
	}
	if c := p.conf.Store.MongoDB; c.Enabled() {
		if err := dropDatabase(ctx, c); err != nil {
			errs = append(errs, fmt.Errorf("drop the database %s: %w", c.Database, err))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

// removeStreams removes the streams of a prefix.
func removeStreams(ctx context.Context, c config.EventLog) error {
	o := []nats.Option{nats.Name("footfall-lab")}
	switch {
	case c.CredentialsFile != "":
		o = append(o, nats.UserCredentials(c.CredentialsFile))
	case c.NKeyFile != "":
		key, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return fmt.Errorf("read event_log.nkey_file: %w", err)
		}
		o = append(o, key)
	case c.User != "":
		o = append(o, nats.UserInfo(c.User, c.Password.Reveal()))
	case c.Token != "":
		o = append(o, nats.Token(c.Token.Reveal()))
	}
	if c.TLS.RootCAFile != "" {
		o = append(o, nats.RootCAs(c.TLS.RootCAFile))
	}
	if c.TLS.CertFile != "" {
		o = append(o, nats.ClientCert(c.TLS.CertFile, c.TLS.KeyFile))
	}
	return withStreams(ctx, c.URL, o, func(js jetstream.JetStream, streams []string) error {
		var errs []error
		for _, name := range streams {
			if strings.HasPrefix(name, c.Prefix+"_") {
				errs = append(errs, js.DeleteStream(ctx, name))
			}
		}
		return errors.Join(errs...)
	})
}

// withStreams calls f with the names of all streams of an account.
func withStreams(ctx context.Context, url string, o []nats.Option, f func(jetstream.JetStream, []string) error) error {
	nc, err := nats.Connect(url, o...)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	var streams []string
	list := js.StreamNames(ctx)
	for name := range list.Name() {
		streams = append(streams, name)
	}
	return errors.Join(list.Err(), f(js, streams))
}

// dropDatabase drops a run's database.
func dropDatabase(ctx context.Context, c config.MongoDB) error {
	uri := c.URI.Reveal()
	if uri == "" {
		text, err := os.ReadFile(c.URIFile)
		if err != nil {
			return fmt.Errorf("read store.mongodb.uri_file: %w", err)
		}
		uri = strings.TrimSpace(string(text))
	}
	client, err := mongo.Connect(options.Client().ApplyURI(uri).SetServerSelectionTimeout(10 * time.Second))
	if err != nil {
		return errors.New("the connection string is not valid") // the driver's error may show it
	}
	return errors.Join(client.Database(c.Database).Drop(ctx), client.Disconnect(ctx))
}
