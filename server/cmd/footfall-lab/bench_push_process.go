package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/cobra"
	"golang.org/x/net/http2"
	"golang.org/x/oauth2/google"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/apns"
	"github.com/footfall-engage/footfall/channels/apns/apnssim"
	"github.com/footfall-engage/footfall/channels/fcm"
	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/engage"
)

// The processes of `bench push` are hidden commands below bench, told what to do as
// those of `bench gateway` are.

// Connections of a sender, and streams under way on each: nine tenths of what the
// simulators allow, as the senders have it.
const (
	apnsConns, apnsStreams = 2, 900
	fcmConns, fcmStreams   = 4, 90
	atOnce                 = 100 // under way in all at a provider that answers at once
)

// pushAt is a simulator, and what it takes to send to it.
type pushAt struct {
	Provider    channels.Provider `json:"provider"`
	URL         string            `json:"url"`
	CA          []byte            `json:"ca,omitempty"` // PEM
	Credentials []byte            `json:"credentials,omitempty"`
	Project     string            `json:"project,omitempty"`
	Team        string            `json:"team,omitempty"`
	Kid         string            `json:"kid,omitempty"`
	P8          []byte            `json:"p8,omitempty"`
	Latency     time.Duration     `json:"latency"`
}

// pushOrder is what push-bare and push-deliver are told.
type pushOrder struct {
	At      pushAt `json:"at"`
	N       int    `json:"n"`
	Dir     string `json:"dir"`
	Profile string `json:"profile,omitempty"`
}

// pushGot is what they answer.
type pushGot struct {
	PerS  float64 `json:"per_s"`
	P99MS float64 `json:"p99_ms"`
	CPUUS float64 `json:"cpu_us"`
}

func (at *pushAt) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(at.CA)
	return pool
}

// conns are the connections, and how many pushes each has under way: all that it may,
// but for a provider that answers at once, of which more would only wait in its
// buffers.
func (at *pushAt) conns() (conns, streams int) {
	conns, streams = fcmConns, fcmStreams
	if at.Provider == channels.APNs {
		conns, streams = apnsConns, apnsStreams
	}
	if at.Latency == 0 {
		streams = atOnce / conns
	}
	return conns, streams
}

// benchPushSim is the hidden command that is a provider.
func benchPushSim() *cobra.Command {
	var provider string
	var latency time.Duration
	cmd := &cobra.Command{Use: "push-sim", Short: "The provider of bench push", Args: noArgs, Hidden: true}
	cmd.Flags().StringVar(&provider, "provider", "", "apns or fcm")
	cmd.Flags().DurationVar(&latency, "latency", 0, "of its answers")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		at := pushAt{Provider: channels.Provider(provider), Latency: latency}
		var closer io.Closer
		if at.Provider == channels.APNs {
			s, err := apnssim.Start(apnssim.Options{Latency: latency, KeepRequests: 1, KeepDelivered: 1})
			if err != nil {
				return err
			}
			closer, at.URL, at.CA = s, s.URL(), s.CertificatePEM()
			at.Team, at.Kid, at.P8 = s.Key()
		} else {
			s, err := fcmsim.Start(fcmsim.Options{Latency: latency, KeepRequests: 1, KeepArrivals: 1})
			if err != nil {
				return err
			}
			closer, at.URL, at.Credentials, at.Project = s, s.URL(), s.Credentials(), s.ProjectID()
		}
		defer func() { err = errors.Join(err, closer.Close()) }()
		return obey(cmd, at, func([]byte) (any, error) { return nil, errors.New("it takes no orders") })
	}
	return cmd
}

// measured runs f, which makes n pushes and returns how long each took.
func measured(o *pushOrder, f func() ([]time.Duration, error)) (got pushGot, err error) {
	cpu, start := cpuTime(), time.Now()
	took, err := f()
	if err != nil {
		return got, err
	}
	n := float64(o.N)
	got = pushGot{PerS: n / time.Since(start).Seconds(), CPUUS: float64((cpuTime() - cpu).Microseconds()) / n}
	slices.Sort(took)
	got.P99MS = float64(took[len(took)*99/100].Microseconds()) / 1000
	return got, nil
}

// benchPushBare is the hidden command that POSTs and does nothing else.
func benchPushBare() *cobra.Command {
	cmd := &cobra.Command{Use: "push-bare", Short: "The bare client of bench push", Args: noArgs, Hidden: true}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return obey(cmd, struct{}{}, func(order []byte) (any, error) {
			var o pushOrder
			if err := json.Unmarshal(order, &o); err != nil {
				return nil, err
			}
			return pushBare(cmd.Context(), &o)
		})
	}
	return cmd
}

// bearer is what proves who sends.
func (at *pushAt) bearer(ctx context.Context) (string, error) {
	if at.Provider == channels.FCM {
		conf, err := google.JWTConfigFromJSON(at.Credentials, "https://www.googleapis.com/auth/firebase.messaging")
		if err != nil {
			return "", err
		}
		defer http.DefaultClient.CloseIdleConnections()
		t, err := conf.TokenSource(ctx).Token()
		if err != nil {
			return "", err
		}
		return "Bearer " + t.AccessToken, nil
	}
	key, err := jwt.ParseECPrivateKeyFromPEM(at.P8)
	if err != nil {
		return "", err
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": at.Team, "iat": time.Now().Unix()})
	t.Header["kid"] = at.Kid
	signed, err := t.SignedString(key)
	return "bearer " + signed, err
}

// request is the nth push.
func (at *pushAt) request(ctx context.Context, bearer string, n int) (*http.Request, error) {
	id := engage.AttemptID(fmt.Sprint(n), "install")
	var url, body string
	if at.Provider == channels.APNs {
		url = at.URL + "/3/device/" + apnssim.Token("ok", fmt.Sprint(n))
		body = fmt.Sprintf(`{"aps":{"alert":{"title":"Umbrella?","body":"It rains at your shop"},"sound":"default"},"footfall_message_id":%q,"footfall_campaign_id":"rainy-day","footfall_deep_link":"shop://umbrellas","sku":"7"}`, id)
	} else {
		url = at.URL + "/v1/projects/" + at.Project + "/messages:send"
		body = fmt.Sprintf(`{"message":{"token":%q,"data":{"footfall_message_id":%q,"footfall_campaign_id":"rainy-day","footfall_deep_link":"shop://umbrellas","sku":"7"},"notification":{"title":"Umbrella?","body":"It rains at your shop"},"android":{"priority":"high","ttl":"3600s","collapse_key":%q,"notification":{"tag":%q}}}}`,
			fcmsim.Token("ok", fmt.Sprint(n)), id, id, id)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", bearer)
	if at.Provider == channels.APNs {
		req.Header.Set("Apns-Topic", "com.example.shop")
		req.Header.Set("Apns-Push-Type", "alert")
		req.Header.Set("Apns-Priority", "10")
		req.Header.Set("Apns-Collapse-Id", id)
	} else {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// bareConn is one connection, whose streams we count ourselves.
type bareConn = http2.ClientConn //nolint:staticcheck // net/http's ClientConn tells nothing of the limit of streams

// dial opens one connection.
func (at *pushAt) dial(ctx context.Context) (*bareConn, error) {
	// A stream counts until its goroutine has tidied up, which may be after the next POST
	// of whoever read its answer: at 900 of 1000 streams that one has to wait, not to fail.
	tr := &http2.Transport{AllowHTTP: true, StrictMaxConcurrentStreams: true} //nolint:staticcheck // as bareConn
	addr := at.URL[strings.Index(at.URL, "//")+2:]
	var nc net.Conn
	var err error
	if at.Provider == channels.APNs {
		d := tls.Dialer{Config: &tls.Config{RootCAs: at.roots(), NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}}
		nc, err = d.DialContext(ctx, "tcp", addr)
	} else {
		nc, err = (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, err
	}
	return tr.NewClientConn(nc) //nolint:staticcheck // as bareConn
}

func pushBare(ctx context.Context, o *pushOrder) (got pushGot, err error) {
	bearer, err := o.At.bearer(ctx)
	if err != nil {
		return got, err
	}
	post := func(c *bareConn, n int) error {
		req, err := o.At.request(ctx, bearer, n)
		if err != nil {
			return err
		}
		res, err := c.RoundTrip(req)
		if err != nil {
			return err
		}
		defer res.Body.Close() //nolint:errcheck // it is read to its end
		if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
			return fmt.Errorf("%d %s %w", res.StatusCode, body, err)
		}
		return nil
	}
	conns, streams := o.At.conns()
	all := make([]*bareConn, conns)
	for i := range all {
		if all[i], err = o.At.dial(ctx); err != nil {
			return got, err
		}
		defer all[i].Close() //nolint:errcheck // nothing is under way
		// The first raises the limit of streams, of which the connection hears soon.
		for tries := 0; tries == 0 || tries < 1000 && all[i].State().MaxConcurrentStreams < uint32(streams); tries++ {
			if err := post(all[i], -1-i); err != nil {
				return got, err
			}
		}
	}
	return measured(o, func() ([]time.Duration, error) {
		took := make([]time.Duration, o.N)
		var next atomic.Int64
		var wg sync.WaitGroup
		failed := make(chan error, conns*streams)
		for _, c := range all {
			for range streams {
				wg.Go(func() {
					for {
						n := int(next.Add(1)) - 1
						if n >= o.N {
							return
						}
						start := time.Now()
						if err := post(c, n); err != nil {
							failed <- err
							return
						}
						took[n] = time.Since(start)
					}
				})
			}
		}
		wg.Wait()
		select {
		case err := <-failed:
			return nil, err
		default:
			return took, nil
		}
	})
}

// benchPushDeliver is the hidden command that is deliver with its ledger.
func benchPushDeliver() *cobra.Command {
	cmd := &cobra.Command{Use: "push-deliver", Short: "The deliverer of bench push", Args: noArgs, Hidden: true}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return obey(cmd, struct{}{}, func(order []byte) (any, error) {
			var o pushOrder
			if err := json.Unmarshal(order, &o); err != nil {
				return nil, err
			}
			return pushDeliver(cmd.Context(), &o)
		})
	}
	return cmd
}

// pushWorld is what deliver has around it: one sender, no session, nobody to tell.
type pushWorld struct {
	sender channels.Sender
	slots  int
	took   []time.Duration
	n      atomic.Int64
	left   atomic.Int64
	done   chan struct{}
	failed atomic.Pointer[engage.DeliveryOutcome]
}

func (w *pushWorld) Sender(context.Context, string, string, string) (channels.Sender, string, error) {
	return w, "bench", nil
}

// Capacity is the number of attempts that the sender can have under way.
func (w *pushWorld) Capacity() int { return w.slots }

func (w *pushWorld) Send(ctx context.Context, m channels.Message) (channels.Outcome, error) {
	start := time.Now()
	out, err := w.sender.Send(ctx, m)
	if n := int(w.n.Add(1)) - 1; n < len(w.took) {
		w.took[n] = time.Since(start)
	}
	return out, err
}

func (*pushWorld) Offer(string, string, *sdkpb.Message) bool { return false }
func (*pushWorld) InboxChanged(string, string)               {}

func (w *pushWorld) Outcome(_ context.Context, _, _ string, o engage.DeliveryOutcome) error {
	if o.State != engage.DeliveryAccepted {
		w.failed.Store(&o)
	}
	if w.left.Add(-1) == 0 {
		close(w.done)
	}
	return nil
}

func (*pushWorld) TokenDead(context.Context, string, engage.TokenDead) error { return nil }
func (*pushWorld) TokenEnvironment(context.Context, string, engage.TokenEnvironment) error {
	return nil
}

// newPushSender is the provider's real sender.
func newPushSender(at *pushAt) (channels.Sender, func() error, error) {
	if at.Provider == channels.APNs {
		s, err := apns.New(apns.Options{
			TeamID: at.Team, KeyID: at.Kid, PrivateKeyPEM: at.P8, Topic: "com.example.shop", ProductionURL: at.URL,
			RootCAs: at.roots(), MaxConns: apnsConns,
		})
		if err != nil {
			return nil, nil, err
		}
		return s, s.Close, nil
	}
	s, err := fcm.New(fcm.Options{CredentialsJSON: at.Credentials, Endpoint: at.URL, MaxConns: fcmConns})
	if err != nil {
		return nil, nil, err
	}
	return s, s.Close, nil
}

// pushSend is the nth send of the queue.
func pushSend(provider channels.Provider, n int) engage.Send {
	now := time.Now().UTC()
	dev := engage.Device{
		Install: fmt.Sprintf("install-%d", n), App: "app", Platform: "android", OSVersion: "15", AppVersion: "3.1", Locale: "en-GB",
		Notifications: "granted", SeenAt: now,
		Push: &engage.PushTarget{Provider: string(provider), Token: engage.Secret(fcmsim.Token("ok", fmt.Sprint(n))), At: now},
	}
	if provider == channels.APNs {
		dev.Platform, dev.Push.Token, dev.Push.Environment = "ios", engage.Secret(apnssim.Token("ok", fmt.Sprint(n))), "production"
	}
	return engage.Send{
		Delivery: engage.DeliveryID("shop", "rainy-day", fmt.Sprint(n), "occasion"), Workspace: "shop", Campaign: "rainy-day", Arm: "a",
		Profile: engage.ProfileID("shop", dev.Install), Class: engage.Marketing, Title: "Umbrella?", Body: "It rains at your shop",
		DeepLink: "shop://umbrellas", Data: map[string]string{"sku": "7"}, Channels: []engage.Channel{engage.Push}, Devices: []engage.Device{dev},
		DecidedAt: now, ExpiresAt: now.Add(time.Hour), RetryAmbiguous: true,
	}
}

func pushDeliver(ctx context.Context, o *pushOrder) (got pushGot, err error) {
	ledger, closeLedger, err := app.OpenLedger(ctx, o.Dir)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, closeLedger()) }()
	sender, closeSender, err := newPushSender(&o.At)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, closeSender()) }()
	conns, streams := o.At.conns()
	w := &pushWorld{sender: sender, slots: conns * streams, took: make([]time.Duration, o.N), done: make(chan struct{})}
	w.left.Store(int64(o.N))
	d, err := deliver.New(deliver.Options{
		Ledger: ledger, Sessions: w, Senders: w, Outcomes: w, Clock: clock.System{}, MaxInFlight: w.slots, Limits: &deliver.Limits{},
	})
	if err != nil {
		return got, err
	}
	for i := 0; i < o.N; i += 500 {
		var sends []engage.Send
		for n := i; n < min(i+500, o.N); n++ {
			sends = append(sends, pushSend(o.At.Provider, n))
		}
		if err := d.Accept(ctx, sends); err != nil {
			return got, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	profiled, err := profilePush(o.Profile)
	if err != nil {
		return got, err
	}
	got, err = measured(o, func() ([]time.Duration, error) {
		go func() { ended <- d.Run(ctx) }()
		select {
		case <-w.done:
		case err := <-ended:
			return nil, fmt.Errorf("deliver ended: %w", err)
		case <-ctx.Done():
		}
		cancel() // it ends when what is told is recorded
		return w.took, <-ended
	})
	err = errors.Join(err, profiled())
	if x := w.failed.Load(); x != nil {
		err = errors.Join(err, fmt.Errorf("a push ended as %s %s %s", x.State, x.Reason, x.Detail))
	}
	return got, err
}

// profilePush begins profiles in the folder; an empty one has none. The function ends
// them.
func profilePush(dir string) (func() error, error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, "cpu.pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return errors.Join(f.Close(), keepProfile("allocs", dir, "allocs"))
	}, nil
}
