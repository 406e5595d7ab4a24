package deliver_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/apns"
	"github.com/footfall-engage/footfall/channels/apns/apnssim"
	"github.com/footfall-engage/footfall/channels/fcm"
	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/deliver/delivertest"
	"github.com/footfall-engage/footfall/server/engage"
)

// realSenders are the real providers' senders, at simulators.
type realSenders struct{ fcm, apns channels.Sender }

func (s realSenders) Sender(_ context.Context, _, _, provider string) (channels.Sender, string, error) {
	if provider == "apns" {
		return s.apns, "team", nil
	}
	return s.fcm, "project", nil
}

// endings hands over the terminal outcome of each delivery.
type endings struct {
	mu   sync.Mutex
	dead []string
	ends chan engage.DeliveryOutcome
}

func (e *endings) Outcome(ctx context.Context, _, _ string, o engage.DeliveryOutcome) error {
	select {
	case e.ends <- o:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *endings) TokenDead(_ context.Context, _ string, t engage.TokenDead) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dead = append(e.dead, t.Install+" "+t.Reason)
	return nil
}

func (e *endings) TokenEnvironment(context.Context, string, engage.TokenEnvironment) error {
	return nil
}

func TestRealSendersAtSimulatedProviders(t *testing.T) {
	google, err := fcmsim.Start(fcmsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer google.Close() //nolint:errcheck // a simulator
	apple, err := apnssim.Start(apnssim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer apple.Close() //nolint:errcheck // a simulator
	f, err := fcm.New(fcm.Options{CredentialsJSON: google.Credentials(), Endpoint: google.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // a test
	team, kid, p8 := apple.Key()
	a, err := apns.New(apns.Options{
		TeamID: team, KeyID: kid, PrivateKeyPEM: p8, Topic: "com.example.shop", ProductionURL: apple.URL(), RootCAs: apple.RootCAs(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close() //nolint:errcheck // a test

	told := &endings{ends: make(chan engage.DeliveryOutcome, 100)}
	d, err := deliver.New(deliver.Options{
		Ledger: delivertest.NewLedger(clock.System{}), Sessions: &sessions{open: map[string]bool{}}, Clock: clock.System{},
		Senders: realSenders{f, a}, Outcomes: told,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()

	device := func(provider, kind string) engage.Device {
		dev := phone(provider + "-" + kind)
		dev.Push.Provider, dev.Push.Token = provider, engage.Secret(fcmsim.Token(kind, dev.Install))
		if provider == "apns" {
			dev.Push.Token = engage.Secret(apnssim.Token(kind, dev.Install))
		}
		return dev
	}
	want := map[string]string{
		"f-ok": "accepted fcm", "f-gone": "inboxed inbox token_dead", "f-busy": "accepted fcm", "f-lost": "accepted fcm",
		"a-ok": "accepted apns", "a-gone": "accepted fcm", "a-busy": "accepted apns", "a-lost": "accepted apns",
	}
	sends := []engage.Send{
		send("f-ok", device("fcm", "fine")), send("f-gone", device("fcm", "unregistered")),
		send("f-busy", device("fcm", "outage-1")), send("f-lost", device("fcm", "drop-1")),
		send("a-ok", device("apns", "fine")), send("a-gone", device("apns", "unregistered"), device("fcm", "other")),
		send("a-busy", device("apns", "outage-1")), send("a-lost", device("apns", "kill-1")),
	}
	for i := range sends {
		sends[i].ExpiresAt = time.Now().Add(time.Hour)
	}
	if err := d.Accept(ctx, sends); err != nil {
		t.Fatal(err)
	}
	for range want {
		select {
		case o := <-told.ends:
			got := fmt.Sprintf("%s %s", o.State, o.Channel)
			if o.Detail != "" {
				got += " " + o.Detail
			}
			if got != want[o.Delivery] {
				t.Errorf("%s: %s, want %s", o.Delivery, got, want[o.Delivery])
			}
		case <-ctx.Done():
			t.Fatal("not all ended")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	repeats := 0
	for _, n := range google.Accepted() {
		repeats += n - 1
	}
	for _, n := range apple.Accepted() {
		repeats += n - 1
	}
	if repeats != 2 { // f-lost and a-lost, each once, under the same id
		t.Errorf("%d repeats at the providers, want 2", repeats)
	}
	if fmt.Sprint(len(told.dead)) != "2" {
		t.Errorf("dead tokens: %v", told.dead)
	}
}
