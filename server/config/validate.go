package config

import (
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// MaxPartitions of each kind.
const MaxPartitions = 64

// Validate checks the whole configuration, without touching files or the
// network. The error joins every problem, each an engage.Error with the path of
// the setting.
func (c *Config) Validate() error {
	var errs problems
	bad := func(field, format string, args ...any) {
		errs.add(engage.Errorf(engage.Invalid, field, format, args...))
	}
	between := func(field string, is, low, high int) {
		if is < low || is > high {
			bad(field, "must be %d to %d, is %d", low, high, is)
		}
	}
	oneOf := func(field, is string, allowed ...string) {
		if slices.Contains(allowed, is) {
			return
		}
		bad(field, "must be %s, is %q%s", quoted(allowed), is, didYouMean(closest(is, allowed)))
	}
	webAddress := func(field, is string, path bool) {
		if is == "" {
			return
		}
		if why := notWebAddress(is, path); why != "" {
			bad(field, "%s", why)
		}
	}

	if strings.TrimSpace(c.DataDir) == "" {
		bad("data_dir", "is required")
	}
	if host, port, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen", `must be host:port, such as "127.0.0.1:8080", is %q`, c.Listen)
	} else {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
			bad("listen", "the port must be 0 to 65535, is %q", port)
		}
		if strings.ContainsAny(host, " /") {
			bad("listen", "the host must be a name or an address, is %q", host)
		}
	}
	webAddress("public_url", c.PublicURL, false)
	oneOf("durability", string(c.Durability), string(Process), string(Power))
	between("partitions", c.Partitions, 0, MaxPartitions)
	between("gc_percent", c.GCPercent, 20, 1000)
	if !engage.ValidID(c.Workspace) {
		bad("workspace", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-', is %q", c.Workspace)
	}
	between("retention_days", c.RetentionDays, 1, 365)
	between("history_days", c.HistoryDays, 1, 3650)
	between("history.events_days", c.History.EventsDays, 0, 3650)
	between("history.purchases_days", c.History.PurchasesDays, 0, 3650)
	between("history.offers_days", c.History.OffersDays, 30, 3650)
	between("history.snapshots_days", c.History.SnapshotsDays, 0, 3650)
	between("history.result_hours_days", c.History.ResultHoursDays, 0, 400)
	between("history.result_days", c.History.ResultDays, 0, 3650)
	between("history.visits_days", c.History.VisitsDays, 0, 3650)
	between("history.tracks_days", c.History.TracksDays, 0, 3650)
	between("history.messages_days", c.History.MessagesDays, 0, 3650)
	oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf("log.format", c.Log.Format, Text, JSON)

	c.EventLog.validate(bad)
	c.Store.MongoDB.validate(bad)

	oneOf("weather.provider", c.Weather.Provider, MetNorway, NoWeather)
	if c.Weather.Contact != "" && !reachable(c.Weather.Contact) {
		bad("weather.contact", `must be an e-mail address or a web page, is %q`, c.Weather.Contact)
	}
	webAddress("weather.base_url", c.Weather.BaseURL, true)

	between("live.max_age_s", c.Live.MaxAgeS, 60, 86_400)
	between("live.heat_min", c.Live.HeatMin, 3, 10_000)
	between("limits.sessions", c.Limits.Sessions, 1, 10_000_000)
	between("limits.registrations_per_s", c.Limits.RegistrationsPerS, 1, 1_000_000)
	between("limits.posts", c.Limits.Posts, 1, 100_000)
	between("limits.install_items_per_s", c.Limits.InstallItemsPerS, 50, 1_000_000)
	between("limits.app_items_per_s", c.Limits.AppItemsPerS, 100, 100_000_000)

	if c.Secrets.Key != "" {
		if _, err := ParseKey(c.Secrets.Key); err != nil {
			errs.add(err)
		}
		if c.Secrets.KeyFile != "" {
			bad("secrets.key_file", "the key is given twice: by %s and by this file", envName("secrets.key"))
		}
	}
	webAddress("providers.fcm.endpoint", c.Providers.FCM.Endpoint, true)
	webAddress("providers.apns.production_url", c.Providers.APNs.ProductionURL, true)
	webAddress("providers.apns.sandbox_url", c.Providers.APNs.SandboxURL, true)
	networks("webhooks.allow_networks", c.Webhooks.AllowNetworks, bad)
	between("webhooks.timeout_s", c.Webhooks.TimeoutS, 1, 60)
	between("webhooks.max_age_s", c.Webhooks.MaxAgeS, 60, 604_800)
	between("webhooks.dead_days", c.Webhooks.DeadDays, 1, 365)
	between("webhooks.max_queued", c.Webhooks.MaxQueued, 100, 10_000_000)
	between("webhooks.in_flight", c.Webhooks.InFlight, 1, 64)
	c.Push.validate(between)
	c.Media.validate(bad, oneOf, between)
	c.Uploads.validate(bad, between)
	if c.Media.Hosted() {
		if why := hostable(c.PublicURL); why != "" {
			bad("media.host", "%s", why)
		}
	}
	return errs.join()
}

// networks checks networks and addresses with commas between.
func networks(field, is string, bad func(field, format string, args ...any)) {
	for part := range strings.SplitSeq(is, ",") {
		part = strings.TrimSpace(part)
		_, network := netip.ParsePrefix(part)
		_, address := netip.ParseAddr(part)
		if part != "" && network != nil && (address != nil || strings.Contains(part, "%")) {
			bad(field, "must be networks such as 10.1.0.0/16 or addresses, with commas between, has %q", part)
		}
	}
}

func (l *EventLog) validate(bad func(field, format string, args ...any)) {
	if l.URL != "" && len(l.URLs()) == 0 {
		bad("event_log.url", "names no server")
	}
	for _, u := range l.URLs() {
		if why := notNATSAddress(u); why != "" {
			bad("event_log.url", "%s", why)
		}
	}
	if l.Replicas != 1 && l.Replicas != 3 && l.Replicas != 5 {
		bad("event_log.replicas", "must be 1, 3 or 5, is %d", l.Replicas)
	}
	if strings.Trim(l.Prefix, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || len(l.Prefix) > 40 {
		bad("event_log.prefix", "must be at most 40 of A-Z, 0-9 and '_', is %q", l.Prefix)
	}
	ways := 0
	for _, given := range []bool{l.CredentialsFile != "", l.NKeyFile != "", l.User != "", l.Token != ""} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		bad("event_log", "give one of credentials_file, nkey_file, user and token, not several")
	}
	if (l.User == "") != (l.Password == "") {
		bad("event_log.user", "user and password (%s) go together", envName("event_log.password"))
	}
	if (l.TLS.CertFile == "") != (l.TLS.KeyFile == "") {
		bad("event_log.tls.cert_file", "cert_file and key_file go together")
	}
	for _, u := range l.MonitorURLs() {
		if why := notWebAddress(u, true); why != "" {
			bad("event_log.monitor_url", "%s", why)
		}
	}
}

// notNATSAddress says why s is no address of a NATS server, without showing it.
func notNATSAddress(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil, !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme), u.Hostname() == "":
		return "must be addresses like nats://host:4222 with commas between"
	case u.User != nil:
		return "must not carry a user or password: there are settings for them"
	case u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return "must not carry a path, query or fragment"
	}
	return ""
}

func (m *MongoDB) validate(bad func(field, format string, args ...any)) {
	if m.URI != "" && m.URIFile != "" {
		bad("store.mongodb.uri_file", "the connection string is given twice: by %s and by this file", envName("store.mongodb.uri"))
	}
	if uri := m.URI.Reveal(); uri != "" && !strings.HasPrefix(uri, "mongodb://") && !strings.HasPrefix(uri, "mongodb+srv://") {
		bad("store.mongodb.uri", "must begin with mongodb:// or mongodb+srv://")
	}
	if m.Database == "" || len(m.Database) > 38 || strings.ContainsAny(m.Database, "/\\. \"$*<>:|?\x00") {
		bad("store.mongodb.database", "must be a MongoDB database name of at most 38 bytes, is %q", m.Database)
	}
	if slices.Contains([]string{"admin", "local", "config"}, m.Database) {
		bad("store.mongodb.database", "must not be %q, which belongs to MongoDB itself: there are no transactions in it", m.Database)
	}
}

// Warnings names what is valid and probably not meant.
func (c *Config) Warnings() []string {
	var out []string
	if c.Weather.Provider != NoWeather && c.Weather.Contact == "" {
		out = append(out, "weather.contact is empty: no weather is asked for, and campaigns that need it say weather_unknown")
	}
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && !loopback(host) && !strings.HasPrefix(c.PublicURL, "https://") {
		out = append(out, "listen is open to the network and public_url is not https: phones' positions and keys would travel in the clear")
	}
	if !c.EventLog.Embedded() && c.EventLog.Replicas == 1 {
		out = append(out, "event_log.replicas is 1: the log is on one server only, and away when that is")
	}
	if !c.EventLog.Embedded() && c.Durability == Power && c.EventLog.MonitorURL == "" {
		out = append(out, "durability is power and event_log.monitor_url is empty: whether the NATS servers sync every append (sync_interval: always) is not checked")
	}
	if c.EventLog.Embedded() && c.Store.MongoDB.Enabled() {
		out = append(out, "the store is MongoDB and the event log is embedded in data_dir: without that folder the store is of no use")
	}
	if c.Providers != (Providers{}) {
		out = append(out, "providers: pushes go to the addresses given there, not to Google and Apple")
	}
	return out
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// notWebAddress says why s is no http or https address, without showing it, for
// it may carry a password; empty if it is one. A path is allowed only where the
// address is a prefix of others.
func notWebAddress(s string, path bool) string {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return "must be an http:// or https:// address"
	case u.User != nil:
		return "must not carry a user or password"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "must not carry a query or fragment"
	case !path && u.Path != "" && u.Path != "/":
		return "must not carry a path"
	}
	return ""
}

// reachable reports whether the contact is an address by which a person can be
// reached.
func reachable(contact string) bool {
	if strings.HasPrefix(contact, "http") {
		return notWebAddress(contact, true) == ""
	}
	a, err := mail.ParseAddress(contact)
	return err == nil && a.Address == contact
}

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = strconv.Quote(w)
	}
	if len(q) == 1 {
		return q[0]
	}
	return strings.Join(q[:len(q)-1], ", ") + " or " + q[len(q)-1]
}
