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
	if !engage.ValidID(c.Workspace) {
		bad("workspace", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-', is %q", c.Workspace)
	}
	between("retention_days", c.RetentionDays, 1, 365)
	between("history_days", c.HistoryDays, 1, 3650)
	oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf("log.format", c.Log.Format, Text, JSON)

	oneOf("weather.provider", c.Weather.Provider, MetNorway, NoWeather)
	if c.Weather.Contact != "" && !reachable(c.Weather.Contact) {
		bad("weather.contact", `must be an e-mail address or a web page, is %q`, c.Weather.Contact)
	}
	webAddress("weather.base_url", c.Weather.BaseURL, true)

	between("limits.sessions", c.Limits.Sessions, 1, 10_000_000)
	between("limits.registrations_per_s", c.Limits.RegistrationsPerS, 1, 1_000_000)
	between("limits.posts", c.Limits.Posts, 1, 100_000)

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
	return errs.join()
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
