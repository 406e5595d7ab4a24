package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// An inbox outlives the death of the server, and of the app, at any moment: no card is
// lost, none that was removed comes back, none is announced twice, and the cursor that
// the phone has goes on where it was.
func TestAnInboxOutlivesKill9OfTheServerAndTheApp(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills a server several times")
	}
	dir := t.TempDir()
	w := providers(t, dir, 1, geo.Point{Lat: 52.37, Lng: 4.9}, 0)
	v := newVictim(t, dir, w)
	v.start()
	v.ready()
	m := newMarketer("http://"+v.conf.Listen, v.key)
	android, _, err := m.apps(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.put(t.Context(), "/api/v1/campaigns/card", map[string]any{
		"name": "Card", "class": "service", "status": "live", "trigger": map[string]any{"type": "event", "event": "order_ready"},
		"arms": []any{map[string]any{"id": "a", "message": map[string]any{"title": "{{ trigger.properties.n }}", "channels": []string{"inbox"}}}},
	}); err != nil {
		t.Fatal(err)
	}

	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	var mu sync.Mutex
	announced := map[string]int{} // cards, by their id
	var refused []string
	open := func(s client.Store) *client.Client {
		t.Helper()
		c, err := client.New(client.Options{
			Endpoint: "http://" + v.conf.Listen, AppKey: android.Key, InstallID: "phone-of-ada", Platform: sdkpb.Platform_PLATFORM_ANDROID,
			HTTPClient: &http.Client{Transport: transport}, Caps: client.Features(), Store: s,
			BackoffMin: 50 * time.Millisecond, BackoffMax: 500 * time.Millisecond,
			OnMessage: func(msg *sdkpb.Message) {
				mu.Lock()
				defer mu.Unlock()
				announced[msg.MessageId]++
			},
			OnReject: func(item *sdkpb.Item, r *sdkpb.Reject) {
				mu.Lock()
				defer mu.Unlock()
				refused = append(refused, fmt.Sprint(item.Seq, r.Code, r.Field))
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	// The app is killed: what its store has not taken is lost.
	folder := filepath.Join(dir, "phone")
	var store *client.FileStore
	var phone *client.Client
	app := func() {
		t.Helper()
		if phone != nil {
			phone.Close()
			_ = store.Close()
		}
		var err error
		if store, err = client.OpenFileStore(folder); err != nil {
			t.Fatal(err)
		}
		phone = open(store)
		if err := phone.Foreground(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	app()
	defer func() {
		phone.Close()
		_ = store.Close()
	}()
	titles := func(c *client.Client) []string {
		all := []string{}
		for _, msg := range c.Inbox() {
			all = append(all, msg.Title)
		}
		slices.Sort(all)
		return all
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !ok(); wait(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d items wait, the inbox holds %v", what, phone.Pending(), titles(phone))
			}
		}
	}

	const rounds, each = 4, 8
	want := map[string]bool{} // titles that are in the inbox at the end
	read := ""
	whole := func(c *client.Client) bool {
		have := titles(c)
		return len(have) == len(want) && !slices.ContainsFunc(have, func(x string) bool { return !want[x] })
	}
	for round := range rounds {
		until("the inbox after a death", func() bool { return phone.Pending() == 0 && whole(phone) })
		for i := range each {
			title := fmt.Sprintf("card-%02d", round*each+i)
			want[title] = true
			if _, err := phone.Track("order_ready", map[string]any{"n": title}); err != nil {
				t.Fatal(err)
			}
		}
		// It dies somewhere between the first item and the last card.
		wait(time.Duration(rand.IntN(250)) * time.Millisecond)
		v.kill()
		// The person goes on without a network: one card is removed, one is read.
		if cards := phone.Inbox(); len(cards) > 1 {
			gone, left := cards[0], cards[1]
			if left.MessageId == read {
				gone = cards[len(cards)-1]
			}
			if !phone.DismissMessage(gone.MessageId) {
				t.Fatalf("%s is not in the inbox", gone.Title)
			}
			delete(want, gone.Title)
			phone.ReadMessage(left.MessageId)
			read = left.MessageId
		}
		if round%2 == 1 {
			app()
		}
		v.start()
		v.ready()
	}
	until("the inbox", func() bool { return phone.Pending() == 0 && whole(phone) })

	// A phone that has the token and nothing else is told the same from the beginning.
	saved, err := store.Load()
	if err != nil {
		t.Fatal(err)
	}
	phone.Close()
	v.kill()
	v.start()
	v.ready()
	fresh := new(client.MemStore)
	if err := fresh.SetToken(saved.Token); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	before := len(announced)
	for id, n := range announced {
		if n != 1 {
			t.Errorf("card %s was announced %d times", id, n)
		}
	}
	mu.Unlock()
	other := open(fresh)
	if err := other.SyncInbox(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !whole(other) {
		t.Errorf("from the beginning the inbox is %v, the phone's %v", titles(other), titles(phone))
	}
	if i := slices.IndexFunc(other.Inbox(), func(msg *sdkpb.Message) bool { return msg.MessageId == read }); read != "" && i >= 0 && !other.Inbox()[i].Read {
		t.Error("a card that was read is not")
	}
	// The cursor of before the last death goes on: nothing has changed since.
	if err := phone.SyncInbox(t.Context()); err != nil || !whole(phone) {
		t.Errorf("with its cursor the inbox is %v, %v", titles(phone), err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(want) > rounds*each-(rounds-1) { // at the first death there may be none to remove
		t.Errorf("%d cards are wanted: too few were removed", len(want))
	}
	if before != rounds*each || len(refused) > 0 {
		t.Errorf("%d cards were announced, want %d; refused %v", before, rounds*each, refused)
	}
	t.Logf("%d cards, %d of them left, %d deaths of the server", rounds*each, len(want), rounds+1)
}
