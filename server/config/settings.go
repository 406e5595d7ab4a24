package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

const envPrefix = "FOOTFALL_"

// Setting is one thing that can be set, for --help and for documentation.
type Setting struct {
	Path    string // in the YAML file: "weather.contact"
	Env     string // "FOOTFALL_WEATHER_CONTACT"
	Flag    string // "weather-contact"; empty for a secret, which no flag carries
	Type    string // "text" or "number"
	Default string // as Set takes it
	Help    string // one or more sentences
}

// binding ties a path to its place in a Config.
type binding struct {
	path   string
	target any // *string, *Durability, *int or *engage.Secret
	help   string
}

func (b binding) secret() bool {
	_, ok := b.target.(*engage.Secret)
	return ok
}

// bindings is the one list of what can be set, in the order of the example.
func (c *Config) bindings() []binding {
	return slices.Concat([]binding{
		{"data_dir", &c.DataDir, "Folder of the embedded event log and store and of the secret key. Created when missing; relative to the working directory."},
		{"listen", &c.Listen, "host:port of the HTTP server. The default answers only to this machine; put a TLS proxy in front before you open it."},
		{"public_url", &c.PublicURL, `Address under which phones and browsers reach the server, such as "https://engage.example.com". Messages name hosted images by it (media.host). https:// here says that something in front ends TLS, and silences the warning that an open server would send positions and keys in the clear.`},
		{"durability", &c.Durability, `What an acknowledged item survives: "process" (the death of the process) or "power" (a power cut: every append is synced, which costs latency).`},
		{"partitions", &c.Partitions, "Partitions of each kind, 1 to 64. 0 means one per core."},
		{"gc_percent", &c.GCPercent, "Percent by which the heap may grow over what lives in it before garbage is collected, 20 to 1000. More takes memory and spares CPU time. It is used unless GOGC is set in the environment."},
		{"workspace", &c.Workspace, "Id of the workspace that is made on the first start."},
		{"retention_days", &c.RetentionDays, "Days that the event log keeps its records, 1 to 365. Longer explains and rehearses further back and takes more disk."},
		{"history_days", &c.HistoryDays, "Days that decisions with their traces, and people's timelines, are kept, 1 to 3650. What is older cannot be explained."},
		{"history.events_days", &c.History.EventsDays, "Days that people's timelines are kept: events, what they said, receipts. 0 means history_days, here and below. A change is for what comes from then on."},
		{"history.purchases_days", &c.History.PurchasesDays, "Days that purchases are kept in timelines. What they add up to is part of the person, and stays."},
		{"history.visits_days", &c.History.VisitsDays, "Days that visits to places are kept."},
		{"history.tracks_days", &c.History.TracksDays, "Days that positions are kept, one chunk per phone and hour."},
		{"history.messages_days", &c.History.MessagesDays, "Days that decisions are kept, with their traces and what became of each message."},
		{"history.offers_days", &c.History.OffersDays, "Days that it is kept which message brought whom which code, and what tills redeemed, 30 to 3650; and unique codes after the end of their offer. What a till is shown later than that, it does not know."},
		{"history.result_hours_days", &c.History.ResultHoursDays, "Days that campaigns' counts are kept by the hour; 0 keeps none. An hour in which something was counted takes about 1 KB of each campaign."},
		{"history.result_days", &c.History.ResultDays, "Days that campaigns' counts are kept by the day; 0 keeps none. What they add up to stays."},
		{"history.snapshots_days", &c.History.SnapshotsDays, "Days for which it is kept what people were at the beginning of each day, from which campaigns are rehearsed; 0 keeps none. Each day takes less than 1 KB of disk of each person whom something was heard of."},

		{"log.level", &c.Log.Level, `"debug", "info", "warn" or "error".`},
		{"log.format", &c.Log.Format, `"text" for people, "json" for collectors.`},

		{"event_log.url", &c.EventLog.URL, `Addresses of NATS servers with JetStream, several with commas between: "nats://a:4222,nats://b:4222". Empty: the event log is embedded, in data_dir. The log and the store belong together: neither can be exchanged for an empty one.`},
		{"event_log.replicas", &c.EventLog.Replicas, "Copies of every stream in the cluster: 1, 3 or 5. With 3 the log outlives the loss of one server."},
		{"event_log.prefix", &c.EventLog.Prefix, "Put before the names of streams and subjects, of A-Z, 0-9 and _, so that several installations can share an account."},
		{"event_log.credentials_file", &c.EventLog.CredentialsFile, "File of NATS credentials (.creds)."},
		{"event_log.nkey_file", &c.EventLog.NKeyFile, "File of an NKey seed, instead of credentials."},
		{"event_log.user", &c.EventLog.User, "User, with the password, instead of credentials."},
		{"event_log.password", &c.EventLog.Password, "The user's password."},
		{"event_log.token", &c.EventLog.Token, "Token, instead of credentials."},
		{"event_log.tls.root_ca_file", &c.EventLog.TLS.RootCAFile, "PEM file of the authorities to trust instead of the system's; it makes the connection encrypted."},
		{"event_log.tls.cert_file", &c.EventLog.TLS.CertFile, "PEM file of our certificate, when the servers ask for one."},
		{"event_log.tls.key_file", &c.EventLog.TLS.KeyFile, "PEM file of the certificate's key."},
		{"event_log.monitor_url", &c.EventLog.MonitorURL, `Monitoring addresses of all the servers, such as "http://a:8222,http://b:8222". With durability "power" they are asked whether every append is synced, and the start is refused when one is not; without this nobody checks it.`},

		{"store.mongodb.uri_file", &c.Store.MongoDB.URIFile, `File with the connection string of a MongoDB replica set or sharded cluster, such as "mongodb://user:password@a,b,c/?replicaSet=rs0". Empty: documents are in SQLite files in data_dir.`},
		{"store.mongodb.uri", &c.Store.MongoDB.URI, "The connection string itself, instead of a file."},
		{"store.mongodb.database", &c.Store.MongoDB.Database, "Database of the documents; created when missing."},

		{"weather.provider", &c.Weather.Provider, `"met.no" (MET Norway, which asks for a contact) or "none".`},
		{"weather.contact", &c.Weather.Contact, "E-mail address or web page by which the weather provider reaches you. Empty: no weather is asked for, and campaigns that need it say weather_unknown."},
		{"weather.base_url", &c.Weather.BaseURL, "Replaces the provider's public address, for a cache or a test. Empty means that address."},

		{"live.max_age_s", &c.Live.MaxAgeS, "Seconds that a device counts as being where its newest fix was, 60 to 86400: for who is near a place, and for heat maps."},
		{"live.heat_min", &c.Live.HeatMin, "Smallest number of devices that a heat map shows, 3 to 10000. Cells with fewer are left out, and others where they would give those away."},

		{"limits.sessions", &c.Limits.Sessions, "Open sockets of phones, those before hello included, 1 to 10000000. A phone beyond them is told to come back. Each takes a file descriptor."},
		{"limits.registrations_per_s", &c.Limits.RegistrationsPerS, "Phones that one address may register per second, 1 to 1000000, and a hundred times as many at once. Behind a proxy that hides addresses all phones share one: raise it to what a busy minute brings."},
		{"limits.posts", &c.Limits.Posts, "POSTs of phones under way, each with at most one body in memory, 1 to 100000. A phone beyond them is told to come back."},
		{"limits.install_items_per_s", &c.Limits.InstallItemsPerS, "Items that one phone may bring per second, 50 to 1000000, and ten times as many at once: a backlog goes at this pace. A phone beyond it keeps its items and is told when to come back."},
		{"limits.app_items_per_s", &c.Limits.AppItemsPerS, "Items that the phones of one app may bring together per second, 100 to 100000000, and ten times as many at once. It keeps the crowd of one app from the others' share of the server; a phone beyond it keeps its items and is told when to come back."},

		{"secrets.key_file", &c.Secrets.KeyFile, "File with the key that encrypts push credentials in the store. Empty means secret.key in data_dir, written on the first start. Back it up: without it the credentials must be entered again."},
		{"secrets.key", &c.Secrets.Key, "The key itself, base64 of 32 bytes, instead of a file."},

		{"providers.fcm.endpoint", &c.Providers.FCM.Endpoint, "Replaces the public address of Firebase Cloud Messaging, for tests and relays."},
		{"providers.fcm.credentials_file", &c.Providers.FCM.CredentialsFile, "Key file of a Google service account, or a folder of such files (*.json), one for each project, read at the start. Apps of the first workspace that name the project, and have no service account in the store, send with it."},
		{"providers.fcm.credentials", &c.Providers.FCM.Credentials, "The content of such a key file, of one more project or instead of a file."},
		{"providers.apns.production_url", &c.Providers.APNs.ProductionURL, "Replaces Apple's production address, for tests and relays. Set alone, there is no sandbox: pushes to its tokens are refused."},
		{"providers.apns.sandbox_url", &c.Providers.APNs.SandboxURL, "Replaces Apple's sandbox address, for tests and relays. Set alone, there is no production: pushes to its tokens are refused."},
		{"providers.apns.root_ca_file", &c.Providers.APNs.RootCAFile, "PEM file of the authorities to trust for these addresses instead of the system's."},

		{"webhooks.allow_networks", &c.Webhooks.AllowNetworks, `Networks and addresses, with commas between, that webhooks may call though they are not public, and by plain http: "10.1.0.0/16,127.0.0.1". Empty: webhooks go to public addresses by https alone.`},
		{"webhooks.root_ca_file", &c.Webhooks.RootCAFile, "PEM file of authorities to trust besides the system's."},
		{"webhooks.timeout_s", &c.Webhooks.TimeoutS, "Seconds that a call may take, its answer included, 1 to 60."},
		{"webhooks.max_age_s", &c.Webhooks.MaxAgeS, "Seconds that an event is sent again for after it came, 60 to 604800. Then it is a dead letter."},
		{"webhooks.dead_days", &c.Webhooks.DeadDays, "Days that dead letters are kept, 1 to 365."},
		{"webhooks.max_queued", &c.Webhooks.MaxQueued, "Events that may wait for one webhook, 100 to 10000000, and dead letters it may have. What comes beyond is a dead letter; what is dead beyond is dropped and counted."},
		{"webhooks.in_flight", &c.Webhooks.InFlight, "Calls under way to one webhook, 1 to 64."},
	}, c.Push.bindings(), c.Media.bindings(), c.Uploads.bindings())
}

// Settings lists what can be set, in the order of the example.
func Settings() []Setting {
	c := Default()
	var out []Setting
	for _, b := range c.bindings() {
		s := Setting{Path: b.path, Env: envName(b.path), Flag: flagName(b.path), Help: b.help}
		switch t := b.target.(type) {
		case *string:
			s.Type, s.Default = "text", *t
		case *Durability:
			s.Type, s.Default = "text", string(*t)
		case *int:
			s.Type, s.Default = "number", strconv.Itoa(*t)
		case *engage.Secret:
			s.Type, s.Flag = "text", ""
		}
		out = append(out, s)
	}
	return out
}

func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

func flagName(path string) string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(path)
}

// Set sets one value from text, as a flag gives it. NotFound with a suggestion
// for an unknown path, Invalid for text that is no such value. Ranges are left to
// Validate.
func (c *Config) Set(path, text string) error {
	for _, b := range c.bindings() {
		if b.path == path {
			return b.set(text)
		}
	}
	return unknown(path)
}

func (b binding) set(text string) error {
	switch t := b.target.(type) {
	case *string:
		*t = text
	case *Durability:
		*t = Durability(text)
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return engage.Errorf(engage.Invalid, b.path, "must be a whole number, is %q", text)
		}
		*t = n
	case *engage.Secret:
		*t = engage.Secret(text)
	}
	return nil
}

// CheckEnviron finds variables ("NAME=value", as os.Environ gives them) that
// begin with FOOTFALL_ and are no setting: a misspelt variable would otherwise
// be ignored in silence. Those in others, and FOOTFALL_TEST_*, are let be.
func CheckEnviron(environ []string, others ...string) error {
	known := map[string]bool{}
	var names []string
	for _, s := range Settings() {
		known[s.Env] = true
		names = append(names, s.Env)
	}
	for _, o := range others {
		known[o] = true
	}
	var errs problems
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, envPrefix+"TEST_") || known[name] {
			continue
		}
		errs.add(engage.Errorf(engage.NotFound, name, "no such setting%s", didYouMean(closest(name, names))))
	}
	return errs.join()
}

// unknown is the error of a path that is no setting.
func unknown(path string) *engage.Error {
	return engage.Errorf(engage.NotFound, path, "no such setting%s", hint(path))
}

// hint says what might have been meant by an unknown path.
func hint(path string) string {
	last := path[strings.LastIndexByte(path, '.')+1:]
	c := Default()
	var paths, sameLast []string
	for _, b := range c.bindings() {
		paths = append(paths, b.path)
		if b.path == last || strings.HasSuffix(b.path, "."+last) {
			sameLast = append(sameLast, b.path)
		}
		for i := range b.path {
			if b.path[i] == '.' {
				paths = append(paths, b.path[:i])
			}
		}
	}
	if len(sameLast) == 1 {
		return didYouMean(sameLast[0])
	}
	if near := closest(path, paths); near != "" {
		return didYouMean(near)
	}
	for _, word := range []string{"password", "secret", "token", "key", "credential"} {
		if strings.Contains(strings.ToLower(last), word) {
			return "; app keys and push credentials are kept by the server and entered through its API"
		}
	}
	return ""
}

func didYouMean(what string) string {
	if what == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", what)
}

// closest is the candidate with the fewest edits, the first of equals; empty
// when even that one differs in more than a third of its length. A word that
// only goes on longer or ends earlier ("warning", "info") counts as one edit.
func closest(s string, candidates []string) string {
	best, fewest := "", 0
	for _, c := range candidates {
		d := edits(s, c)
		if len(s) >= 3 && !strings.Contains(s, ".") && (strings.HasPrefix(s, c) || strings.HasPrefix(c, s)) {
			d = min(d, 1)
		}
		if d <= max(1, len(c)/3) && (best == "" || d < fewest) {
			best, fewest = c, d
		}
	}
	return best
}

// edits counts the insertions, deletions, replacements and swaps of neighbours
// (optimal string alignment) between a and b. Anything longer than any setting
// counts as different in every byte.
func edits(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return max(len(a), len(b))
	}
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
