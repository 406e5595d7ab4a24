package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Limits that span people are leased to the partitions in portions. A server that dies at
// any moment, with portions on their way, exceeds none and loses none: no unique code is
// given to two persons, no more messages go out than the budget has, and when all have
// asked who want one, all codes and the whole budget are used.
func TestLeasedLimitsOutliveKill9(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills a server several times")
	}
	t.Parallel()
	const codes, budget, people = 60, 45, 150
	seed := uint64(time.Now().UnixNano())
	t.Logf("moments of death by seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	w := providers(t, dir, 1, geo.Point{Lat: 52.37, Lng: 4.9}, 0)
	v := newVictim(t, dir, w)
	v.conf.Limits.RegistrationsPerS = people // all from one address
	v.start()
	v.ready()
	m := newMarketer("http://"+v.conf.Listen, v.key)
	android, _, err := m.apps(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	pool := make([]string, codes)
	for i := range pool {
		pool[i] = fmt.Sprintf("GIFT-%03d", i)
	}
	if err := m.put(t.Context(), "/api/v1/offers/gift", map[string]any{"name": "Gift", "status": "active", "kind": "gift", "codes": "unique"}); err != nil {
		t.Fatal(err)
	}
	if err := m.call(t.Context(), http.MethodPost, "/api/v1/offers/gift/codes", nil, map[string]any{"codes": pool}, nil); err != nil {
		t.Fatal(err)
	}
	for id, more := range map[string]map[string]any{
		"gift": {"offer": "gift"},
		"few":  {"limits": map[string]any{"budget": map[string]any{"messages": budget}}},
	} {
		title := "few"
		if id == "gift" {
			title = "{{ offer.code }}"
		}
		c := map[string]any{
			"name": id, "class": "marketing", "status": "live", "trigger": map[string]any{"type": "event", "event": "wants_" + id},
			"arms": []any{map[string]any{"id": "a", "message": map[string]any{"title": title, "channels": []string{"inbox"}}}},
		}
		maps.Copy(c, more)
		if err := m.put(t.Context(), "/api/v1/campaigns/"+id, c); err != nil {
			t.Fatal(err)
		}
	}

	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	var phones []*client.Client
	defer func() {
		for _, p := range phones {
			p.Close()
		}
	}()
	// Each asks for both; the server dies while portions are asked for and given.
	ask := func(n int, every time.Duration) {
		for range n {
			p, err := client.New(client.Options{
				Endpoint: "http://" + v.conf.Listen, AppKey: android.Key, InstallID: fmt.Sprintf("lease-phone-%03d", len(phones)),
				Platform: sdkpb.Platform_PLATFORM_ANDROID, HTTPClient: &http.Client{Transport: transport}, Caps: client.Features(),
				BackoffMin: 50 * time.Millisecond, BackoffMax: 500 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			phones = append(phones, p)
			p.SetConsent(sdkpb.Consent_PURPOSE_MARKETING, true, "v1", "test")
			for _, what := range []string{"wants_gift", "wants_few"} {
				if _, err := p.Track(what, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Foreground(context.Background()); err != nil {
				t.Fatal(err)
			}
			wait(every)
		}
	}
	titles := func() (all []string) {
		for _, p := range phones {
			for _, msg := range p.Inbox() {
				all = append(all, msg.Title)
			}
		}
		return all
	}
	given := func() (gifts, few int) {
		t.Helper()
		holders := map[string]int{}
		for _, title := range titles() {
			if title == "few" {
				few++
				continue
			}
			if holders[title]++; holders[title] > 1 || !strings.HasPrefix(title, "GIFT-") {
				t.Errorf("%q was given to %d persons", title, holders[title])
			}
		}
		return len(holders), few
	}
	kills := killCount(t)
	for range kills {
		ask(people/2/kills, time.Duration(random.IntN(15))*time.Millisecond)
		wait(time.Duration(random.IntN(200)) * time.Millisecond)
		v.kill()
		v.start()
		if random.IntN(3) > 0 {
			v.ready()
		}
	}
	v.ready()
	ask(people-len(phones), 0)
	for deadline := time.Now().Add(patience); ; wait(50 * time.Millisecond) {
		gifts, few := given()
		if gifts > codes || few > budget {
			t.Fatalf("%d codes of %d, %d messages of %d were given", gifts, codes, few, budget)
		}
		if gifts == codes && few == budget {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d codes of %d, %d messages of %d were given", gifts, codes, few, budget)
		}
	}
	for _, p := range phones {
		for deadline := time.Now().Add(patience); p.Pending() > 0; wait(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d items of a phone wait", p.Pending())
			}
		}
	}
	var o struct{ Pool, Reserved, Leased int }
	for deadline := time.Now().Add(patience); o.Reserved != codes || o.Leased != 0; wait(50 * time.Millisecond) {
		if err := m.call(t.Context(), http.MethodGet, "/api/v1/offers/gift", nil, nil, &o); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("of %d codes %d are counted as given, %d as leased", o.Pool, o.Reserved, o.Leased)
		}
	}
	if gifts, few := given(); gifts != codes || few != budget {
		t.Errorf("in the end %d codes of %d, %d messages of %d", gifts, codes, few, budget)
	}
	t.Logf("%d deaths, %d persons", kills, len(phones))
}
