package catalog

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// Limits of a write key's settings.
const (
	MaxOrigins        = 50
	maxOrigin         = 300 // bytes
	MaxRequestsPerS   = 10_000
	MaxWriteCallsPerS = 200_000
)

// checkOrigin refuses what is no origin as a browser says it: scheme and host in lower
// case, with the port where it is not the scheme's. "https://*.shop.example" is those of
// all hosts below.
func checkOrigin(origin string) error {
	bad := func(why string) error {
		return engage.Errorf(engage.Invalid, "origins", "%q %s", clipOrigin(origin), why)
	}
	if len(origin) > maxOrigin {
		return bad("is too long")
	}
	scheme, rest, found := strings.Cut(origin, "://")
	if !found || scheme != "https" && scheme != "http" {
		return bad("must begin with https:// or http://")
	}
	host := strings.TrimPrefix(rest, "*.")
	u, err := url.Parse(scheme + "://" + host)
	switch {
	case err != nil || host == "" || u.Host != host || u.Hostname() == "" || strings.ContainsAny(host, "*@/?# "):
		return bad("must be a scheme and a host, such as https://shop.example or https://*.shop.example, and nothing behind it")
	case host != strings.ToLower(host):
		return bad("must be in lower case, as browsers say it")
	case strings.HasPrefix(rest, "*.") && (!strings.Contains(u.Hostname(), ".") || net.ParseIP(u.Hostname()) != nil):
		return bad("stands for too many hosts")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || scheme == "https" && n == 443 || scheme == "http" && n == 80 {
			return bad("has a port that browsers do not say")
		}
	} else if strings.HasSuffix(host, ":") {
		return bad("has a colon without a port")
	}
	return nil
}

func clipOrigin(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// OriginAllowed reports whether pages of an origin, as a browser says it, are of a list;
// an empty list has all.
func OriginAllowed(list []string, origin string) bool {
	if len(list) == 0 || slices.Contains(list, origin) {
		return true
	}
	for _, o := range list {
		scheme, host, wild := strings.Cut(o, "://*.")
		rest, same := strings.CutPrefix(origin, scheme+"://")
		if wild && same && strings.HasSuffix(rest, "."+host) && !strings.HasPrefix(rest, ".") {
			return true
		}
	}
	return false
}
