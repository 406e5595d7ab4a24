package ingest

import (
	"net/netip"
	"testing"
	"time"
)

func TestBucketsOfAddressesAreBounded(t *testing.T) {
	x := newRegistrations(1, 1)
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	a := netip.MustParseAddr("10.0.0.0")
	first := a
	for range mostAddresses + 10 {
		if wait := x.take(a, now); wait != 0 {
			t.Fatalf("%s waits %s", a, wait)
		}
		a = a.Next()
	}
	if len(x.byAddr) != mostAddresses || x.used.Len() != mostAddresses {
		t.Errorf("%d addresses remembered, %d in the list", len(x.byAddr), x.used.Len())
	}
	if x.byAddr[first] != nil {
		t.Error("the oldest was kept")
	}
	if wait := x.take(a.Prev(), now); wait != time.Second {
		t.Errorf("the newest waits %s", wait)
	}
}

func TestOnePayerHasOneAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "[::ffff:192.0.2.7]:99": "192.0.2.7", "[2001:db8:1:2:3:4:5:6]:99": "2001:db8:1:2::",
		"[fe80::1%eth0]:1": "fe80::", "pipe": "invalid IP", "": "invalid IP",
	} {
		if got := addressOf(remote).String(); got != want {
			t.Errorf("%q: %s, want %s", remote, got, want)
		}
	}
}
