// Package config is the configuration of the footfall process: one struct, with
// its defaults, read from a YAML file and the environment and checked as a whole.
//
// Where a setting stands twice, the later of these holds:
//
//  1. the default (Default),
//  2. the YAML file (Load),
//  3. the environment: FOOTFALL_ and the path in capitals, FOOTFALL_LOG_LEVEL (Load),
//  4. a flag: the path with dashes, --log-level (Config.Set, called by the command).
//
// Then Validate is called, once. What can be set stands in one table,
// Config.bindings, from which the names of variables and flags, their help and
// the annotated example are made.
//
// Secrets come from a file named by a *_file setting or from the environment,
// never from the YAML file or a flag: a configuration file is copied, mailed and
// committed, and flags are shown to every user of the machine.
//
// Marketers' things (places, campaigns, app keys, push credentials) are not
// configuration: they live in the catalogue.
package config

import (
	"encoding/base64"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// Durability says what an acknowledged item survives.
type Durability string

// The durabilities.
const (
	Process Durability = "process" // the death of the process (kill -9)
	Power   Durability = "power"   // the loss of power: every append is synced to the disk
)

// Weather providers.
const (
	MetNorway = "met.no"
	NoWeather = "none"
)

// History is for how long what happened to people is kept, by class; 0 means
// Config.HistoryDays.
type History struct {
	EventsDays    int // timelines: events, what people said, receipts
	PurchasesDays int // timelines: orders
	VisitsDays    int
	TracksDays    int // positions
	MessagesDays  int // decisions with their traces
	OffersDays    int // who has which code of an offer, and what was redeemed; never 0
	SnapshotsDays int // what people were at the beginning of each day; 0 means none are kept
	// Counts of campaigns by the hour and by the day; 0 means none are kept. What they add
	// up to stays.
	ResultHoursDays, ResultDays int
}

// Log formats.
const (
	Text = "text"
	JSON = "json"
)

// KeyBytes is the length of the secret key.
const KeyBytes = 32

// Config is the configuration of the process. The zero value is not valid;
// begin with Default.
type Config struct {
	// DataDir holds the embedded log and store and the secret key, created when
	// missing; relative to the working directory.
	DataDir string
	// Listen is host:port of the HTTP server. Port 0 lets the system choose.
	Listen string
	// PublicURL is the address under which phones and browsers reach the server,
	// without a path: of hosted images (Media.Host), which messages name by it.
	// Warnings reads it, too, to learn whether something in front of an open server
	// ends TLS. Empty says nothing.
	PublicURL  string
	Durability Durability
	// Partitions of each kind. 0 means one per core, at most 64.
	Partitions int
	// GCPercent is by how much the heap may grow before garbage is collected
	// (runtime/debug.SetGCPercent).
	GCPercent int
	// Workspace is the id of the workspace that is made on the first start.
	Workspace string
	// RetentionDays that the event log keeps its records.
	RetentionDays int
	// HistoryDays that what happened to people is kept, but for the classes of History.
	HistoryDays int
	History     History
	Log         Log
	EventLog    EventLog
	Store       Store
	Weather     Weather
	Live        Live
	Limits      Limits
	Secrets     Secrets
	Providers   Providers
	Webhooks    Webhooks
	Push        Push
	Media       Media
	Uploads     Uploads
}

// Log says what is logged and how.
type Log struct {
	Level  string // debug, info, warn, error
	Format string // Text or JSON
}

// Slog is the level for slog; slog.LevelInfo for a level that is not valid.
func (l Log) Slog() slog.Level {
	level := slog.LevelInfo
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return slog.LevelInfo
	}
	return level
}

// EventLog says where the event log is. Without a URL it is embedded, in the data
// folder, and nothing else here counts.
type EventLog struct {
	// URL of the NATS servers, several with commas between, without a user or
	// password: "nats://a:4222,nats://b:4222".
	URL string
	// Replicas of every stream: 1, 3 or 5.
	Replicas int
	// Prefix of the names of streams and subjects, so that several installations
	// can share an account.
	Prefix string
	// CredentialsFile (.creds) or NKeyFile (a seed), or User and Password, or Token.
	CredentialsFile string
	NKeyFile        string
	User            string
	Password        engage.Secret
	Token           engage.Secret
	TLS             TLS
	// MonitorURL is the monitoring address of every server, with commas between;
	// under Power they are asked whether they sync.
	MonitorURL string
}

// Embedded reports whether the log is in this process.
func (l EventLog) Embedded() bool { return l.URL == "" }

// URLs are the addresses of the servers.
func (l EventLog) URLs() []string { return list(l.URL) }

// MonitorURLs are the monitoring addresses of the servers.
func (l EventLog) MonitorURLs() []string { return list(l.MonitorURL) }

func list(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// TLS of a connection that we make; empty files mean the system's authorities
// and no certificate of ours.
type TLS struct {
	RootCAFile string // PEM
	CertFile   string // PEM, with KeyFile
	KeyFile    string
}

// Store says where documents are kept. Without a MongoDB they are in SQLite
// files in the data folder.
type Store struct {
	MongoDB MongoDB
}

// MongoDB is a replica set or a sharded cluster.
type MongoDB struct {
	// URIFile holds the connection string, which usually holds a password.
	URIFile string
	// URI is the connection string itself, only by environment.
	URI engage.Secret
	// Database, created when missing.
	Database string
}

// Enabled reports whether documents are kept there.
func (m MongoDB) Enabled() bool { return m.URIFile != "" || m.URI != "" }

// Weather says who is asked for the weather.
type Weather struct {
	// Provider is MetNorway or NoWeather. Without a contact, MetNorway is not
	// asked either: see Enabled.
	Provider string
	// Contact is an e-mail address or a web page by which the provider reaches
	// the operator. MET Norway requires it and refuses who gives none.
	Contact string
	// BaseURL replaces the provider's public address. Empty means that address.
	BaseURL string
}

// Enabled reports whether there is a provider that may be asked.
func (w Weather) Enabled() bool { return w.Provider != NoWeather && w.Contact != "" }

// Live says who counts as being somewhere now, and what a heat map shows of them.
type Live struct {
	// MaxAgeS is how old, in seconds, the newest fix of a device may be.
	MaxAgeS int
	// HeatMin is the smallest number of devices that a heat map shows.
	HeatMin int
}

// Limits on what all phones together may hold of the process; beyond them a
// phone is told to come back. What one phone may send belongs to the protocol:
// constants of sdkproto.
type Limits struct {
	Sessions int // open sockets, those before hello included
	// RegistrationsPerS is how many phones one address may register per second; a
	// hundred times as many at once.
	RegistrationsPerS int
	Posts             int // POSTs under way, each with at most one body in memory
	// InstallItemsPerS is how many items one phone may bring per second; ten times as
	// many at once.
	InstallItemsPerS int
	// AppItemsPerS is how many items the phones of one app may bring together per
	// second; ten times as many at once.
	AppItemsPerS int
}

// Secrets of the process itself.
type Secrets struct {
	// KeyFile holds the key that encrypts credentials in the store. Empty means
	// secret.key in the data folder; app writes it on the first start.
	KeyFile string
	// Key is the key itself, base64 of KeyBytes bytes, only by environment;
	// empty means that KeyFile holds it.
	Key engage.Secret
}

// Providers holds addresses of push providers, to be replaced in tests and
// behind relays (empty means the provider's public address), and credentials that
// are not in the store.
type Providers struct {
	FCM  FCM
	APNs APNs
}

// FCM is Firebase Cloud Messaging.
type FCM struct {
	Endpoint string
	// CredentialsFile is a service account's key file, or a folder of such files, for
	// those apps of Config.Workspace that name a project and have no service account in
	// the store. Other workspaces do not get at it: whoever may make an app there could
	// else send in the name of any project.
	CredentialsFile string
	Credentials     engage.Secret // the content of one, beside or instead of a file
}

// APNs is the address of Apple's push service.
type APNs struct {
	ProductionURL string
	SandboxURL    string
	// RootCAFile is a PEM file of the authorities to trust instead of the system's.
	RootCAFile string
}

// Webhooks says whom webhooks may call, and what is kept for those that do not answer.
type Webhooks struct {
	// AllowNetworks may be called though they are not public, and by plain http:
	// networks and addresses with commas between.
	AllowNetworks string
	// RootCAFile is a PEM file of authorities to trust besides the system's.
	RootCAFile string
	TimeoutS   int // of a call, its answer included
	MaxAgeS    int // an event is sent for so long after it came
	DeadDays   int // a dead letter is kept
	MaxQueued  int // events that wait, and dead letters, of each webhook
	InFlight   int // calls under way, of each webhook
}

// Default is the configuration of a server that nobody configured: everything
// embedded, on the loopback.
func Default() Config {
	return Config{
		DataDir:       "data",
		Listen:        "127.0.0.1:8080",
		Durability:    Process,
		GCPercent:     100,
		Workspace:     "default",
		RetentionDays: 7,
		HistoryDays:   90,
		History:       History{OffersDays: 400, SnapshotsDays: 35, ResultHoursDays: 35, ResultDays: 400},
		Log:           Log{Level: "info", Format: Text},
		EventLog:      EventLog{Replicas: 1},
		Store:         Store{MongoDB: MongoDB{Database: "footfall"}},
		Weather:       Weather{Provider: MetNorway},
		Live:          Live{MaxAgeS: 900, HeatMin: 5},
		Limits:        Limits{Sessions: 100_000, RegistrationsPerS: 10, Posts: 256, InstallItemsPerS: 200, AppItemsPerS: 100_000},
		Webhooks:      Webhooks{TimeoutS: 15, MaxAgeS: 86_400, DeadDays: 30, MaxQueued: 100_000, InFlight: 4},
		Push:          defaultPush(),
		Media:         defaultMedia(),
		Uploads:       defaultUploads(),
	}
}

// KeyFile is where the secret key is kept when it is not in the environment.
func (c *Config) KeyFile() string {
	if c.Secrets.KeyFile != "" {
		return c.Secrets.KeyFile
	}
	return filepath.Join(c.DataDir, "secret.key")
}

// ParseKey decodes a secret key as it stands in the environment or in the key
// file: base64, with or without padding. Invalid if it is anything else; the
// error does not show it.
func ParseKey(s engage.Secret) ([]byte, error) {
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding} {
		if key, err := enc.DecodeString(s.Reveal()); err == nil && len(key) == KeyBytes {
			return key, nil
		}
	}
	return nil, engage.Errorf(engage.Invalid, "secrets.key", "must be base64 of %d bytes", KeyBytes)
}
