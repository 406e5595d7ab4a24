package webhook

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// special are networks that no webhook of a stranger lives in, beyond those that
// netip knows: shared, reserved, documentation, tunnels (RFC 6890 and its registry).
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
)

// nat64 addresses hold an IPv4 address, which is what is judged (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// ParseNetworks reads networks ("10.0.0.0/8") and single addresses ("127.0.0.1")
// with commas between.
func ParseNetworks(text string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		p, err := netip.ParsePrefix(part)
		if err != nil {
			a, err := netip.ParseAddr(part)
			if err != nil || a.Zone() != "" {
				return nil, fmt.Errorf("%q is neither a network such as 10.0.0.0/8 nor an address", part)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// guard says whom may be called.
type guard struct{ allow []netip.Prefix }

func (g guard) allowed(a netip.Addr) bool {
	for _, p := range g.allow {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// refuses says why an address may not be called; empty means that it may.
func (g guard) refuses(a netip.Addr, plain bool) string {
	a = a.Unmap().WithZone("")
	if g.allowed(a) {
		return ""
	}
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
		if g.allowed(a) {
			return ""
		}
	}
	switch {
	case !public(a):
		return "is not a public address, and the operator has not allowed it"
	case plain:
		return "must be reached by https: plain http is for addresses that the operator has allowed"
	default:
		return ""
	}
}

func public(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// CheckURL says what is wrong with the address of a webhook as far as it can be told
// without asking for its name; what the name stands for is judged at every call.
// Nil means nothing.
func CheckURL(text string, allow []netip.Prefix) error {
	u, err := url.Parse(text)
	g := guard{allow}
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return fmt.Errorf("must be an address like https://shop.example.com/footfall")
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("must begin with https://")
	case u.User != nil:
		return fmt.Errorf("must not carry a user or password: give a header")
	case u.Fragment != "":
		return fmt.Errorf("must not carry a fragment")
	case len(text) > 2000:
		return fmt.Errorf("must have at most 2000 bytes")
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	plain := u.Scheme == "http"
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		if g.refuses(netip.AddrFrom4([4]byte{127, 0, 0, 1}), plain) != "" && g.refuses(netip.IPv6Loopback(), plain) != "" {
			return fmt.Errorf("%s is this machine, and the operator has not allowed it", host)
		}
		return nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if why := g.refuses(a, plain); why != "" {
			return fmt.Errorf("%s %s", host, why)
		}
		return nil
	}
	if plain && len(allow) == 0 {
		return fmt.Errorf("must begin with https://: plain http is for addresses that the operator has allowed")
	}
	return nil
}
