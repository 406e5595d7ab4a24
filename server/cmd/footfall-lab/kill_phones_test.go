package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/engage"
)

// testPhones is how many phones there are in the test below; 2,000.
const testPhones = "FOOTFALL_TEST_PHONES"

// connected is a phone in somebody's hand, and what it can testify.
type connected struct {
	*client.Client
	install string

	mu    sync.Mutex
	acked map[uint64]int // times that an item was acknowledged, by seq
	opens []time.Time    // when a session began
	waits []time.Duration
	bad   []string // what should not have happened
}

func (p *connected) onState(s client.State, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch later, asked := errors.AsType[*client.RetryError](err); {
	case s == client.Open:
		p.opens = append(p.opens, time.Now())
	case s == client.Stopped && !errors.Is(err, context.Canceled):
		p.bad = append(p.bad, fmt.Sprintf("stopped by %v", err))
	case s == client.Waiting && asked && later.After > 0:
		p.waits = append(p.waits, later.After)
	}
}

// back reports when the phone had its first session after a moment, if it had one.
func (p *connected) back(after time.Time) (at time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, _ := slices.BinarySearchFunc(p.opens, after, time.Time.Compare)
	if i == len(p.opens) {
		return at, false
	}
	return p.opens[i], true
}

// A server that is killed while thousands of phones are connected and talk, and
// again when half of them are back, finds all of them back by themselves, spread as
// they are told to be; nothing that it acknowledged is lost, and nothing is doubled.
func TestThousandsOfPhonesComeBackToAServerThatWasKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills a server under thousands of phones")
	}
	count := 2000
	if s := os.Getenv(testPhones); s != "" {
		var err error
		if count, err = strconv.Atoi(s); err != nil || count < 10 {
			t.Fatalf("%s must be a number from 10 on, is %q", testPhones, s)
		}
	}
	dir := t.TempDir()
	w := providers(t, dir, 1, geo.Point{Lat: 52.37, Lng: 4.9}, 0)
	v := newVictim(t, dir, w)
	v.conf.Limits.RegistrationsPerS = count // all from one address
	v.start()
	v.ready()
	m := newMarketer("http://"+v.conf.Listen, v.key)
	android, _, err := m.apps(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}

	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	dialer, transport := client.NewDialer(), &http.Transport{}
	defer transport.CloseIdleConnections()
	phones := make([]*connected, count)
	var running sync.WaitGroup
	defer running.Wait()
	defer leave()
	began := time.Now()
	for i := range phones {
		p := &connected{install: fmt.Sprintf("crowd-phone-%05d", i), acked: map[uint64]int{}}
		if p.Client, err = client.New(client.Options{
			Endpoint: "http://" + v.conf.Listen, AppKey: android.Key, InstallID: p.install, Platform: sdkpb.Platform_PLATFORM_ANDROID,
			Dialer: dialer, HTTPClient: &http.Client{Transport: transport}, OnState: p.onState, BackoffMax: 16 * time.Second,
			OnAcked: func(item *sdkpb.Item) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.acked[item.GetSeq()]++
			},
			OnReject: func(item *sdkpb.Item, r *sdkpb.Reject) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.bad = append(p.bad, fmt.Sprintf("item %d refused: %s", item.GetSeq(), r.GetCode()))
			},
			OnDropped: func(item *sdkpb.Item) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.bad = append(p.bad, fmt.Sprintf("item %d dropped", item.GetSeq()))
			},
		}); err != nil {
			t.Fatal(err)
		}
		phones[i] = p
		running.Go(func() { _ = p.Run(ctx) }) // its state says why it ended
	}
	all := func(what string, share float64, ok func(*connected) bool) {
		t.Helper()
		deadline := time.Now().Add(patience)
		for {
			n := 0
			for _, p := range phones {
				if ok(p) {
					n++
				}
			}
			if float64(n) >= share*float64(count) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d of %d phones", what, n, count)
			}
			wait(20 * time.Millisecond)
		}
	}
	all("connected", 1, func(p *connected) bool { _, ok := p.back(began); return ok })
	t.Logf("%d phones registered and connected in %.1f s", count, time.Since(began).Seconds())

	// Everybody says something all the time, from here to the last return.
	talk, quiet := context.WithCancel(t.Context())
	defer quiet()
	talked := make(chan int, 1)
	go func() {
		n := 0
		for ; talk.Err() == nil; n++ {
			if _, err := phones[n%count].Track("order_completed", map[string]any{"n": n}); err != nil {
				t.Error(err)
			}
			if n%10 == 9 {
				wait(20 * time.Millisecond) // 500 a second
			}
		}
		talked <- n
	}()

	wait(time.Duration(500+rand.IntN(1000)) * time.Millisecond)
	for death := range 2 {
		v.kill()
		killed := time.Now()
		v.start()
		v.ready()
		up := time.Now()
		share := 1.0
		if death == 0 {
			share = 0.5 // it dies again under those who are back
		}
		all("back", share, func(p *connected) bool { _, ok := p.back(killed); return ok })
		var returns []time.Duration
		for _, p := range phones {
			if at, ok := p.back(killed); ok {
				returns = append(returns, at.Sub(up))
			}
		}
		slices.Sort(returns)
		at := func(share float64) float64 { return returns[int(share*float64(len(returns)-1))].Seconds() }
		rush, from := 0, 0 // the most within a tenth of a second
		for i := range returns {
			for returns[i]-returns[from] > 100*time.Millisecond {
				from++
			}
			rush = max(rush, i-from+1)
		}
		t.Logf("death %d: ready again after %.2f s; of %d phones that are back, since then: first %.2f s, median %.2f, 95 %% %.2f, last %.2f; at most %d within 100 ms",
			death+1, up.Sub(killed).Seconds(), len(returns), at(0), at(0.5), at(0.95), at(1), rush)
		if death == 1 && rush > count/2 {
			t.Errorf("%d of %d phones came back in the same tenth of a second", rush, count)
		}
	}
	quiet()
	said := <-talked
	all("everything acknowledged", 1, func(p *connected) bool { return p.Pending() == 0 })
	t.Logf("%d items said, all acknowledged %.1f s after the beginning", said, time.Since(began).Seconds())
	leave()
	running.Wait()
	v.kill()

	// Who reads what is there is another server on the folder.
	reading, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	server, err := app.New(reading, app.Options{Config: v.conf})
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Run(serving) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("stop the server: %v", err)
		}
	}()
	<-server.Serving()
	if err := errors.Join(server.Settle(reading), server.Flush(reading)); err != nil {
		t.Fatal(err)
	}
	took := map[string]int{} // times that an event took effect, by its occasion
	err = server.Timeline(reading, v.conf.Workspace, func(e engage.TimelineEntry) error {
		var tr engage.Trigger
		if e.Kind != engage.KindTrigger {
			return nil
		}
		if err := json.Unmarshal(e.Data, &tr); err != nil {
			return err
		}
		took[tr.Occasion]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	lost, doubled, waited := 0, 0, 0
	for _, p := range phones {
		accepted, err := server.Accepted(reading, v.conf.Workspace, p.install)
		if err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		for seq := range p.acked {
			switch n := took[engage.EventID(v.conf.Workspace, p.install, seq)]; {
			case n == 0 || !within(accepted, seq):
				lost++
			case n > 1:
				doubled++
			}
		}
		for _, b := range p.bad {
			t.Errorf("%s: %s", p.install, b)
		}
		for _, d := range p.waits {
			waited++
			if d > time.Minute {
				t.Errorf("%s was told to wait for %v", p.install, d)
			}
		}
		p.mu.Unlock()
	}
	effects := 0
	for _, n := range took {
		effects += n
	}
	if lost > 0 || doubled > 0 || effects != said {
		t.Errorf("of %d items %d took effect; %d acknowledged ones are lost, %d doubled", said, effects, lost, doubled)
	}
	t.Logf("%d items took effect, %d times a phone was told when to come again", effects, waited)
}
