package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/channels/apns/apnssim"
	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/weather/weathersim"
)

// Time scales of the simulated weather: it changes within a short run.
const (
	frontEvery    = 60 * time.Second // a front of rain passes, for a third to a half of that
	weatherFresh  = 10 * time.Second // an answer of the provider
	modelInterval = 5 * time.Second
)

// world is everything outside the server and the town: both push providers, the
// weather, and the retailer's own system, which webhooks call.
type world struct {
	fcm     *fcmsim.Server
	apns    *apnssim.Server
	weather *weathersim.Server
	// receiver is of webhooks.
	receiver *receiver
	caFile   string // of apns, for the server's configuration
	// ordinary is the kind of the push tokens that have no peculiarity.
	ordinary string

	mu    sync.Mutex
	hand  func(token, message, via string) // hands a push over to a phone; nil: nobody does
	queue chan arrival
	count atomic.Int64 // of pushes accepted
	onWay atomic.Int64 // pushes that are in the queue or being handed over
	done  chan struct{}
}

// arrival is a push on its way to a phone.
type arrival struct{ token, message, via string }

// queued pushes that wait for their phones; more than ever are under way.
const maxArrivals = 1 << 16

// newWorld starts the simulators. Files that the server needs go to dir. With
// slow, the push providers take the pushes to ordinary tokens at once and answer
// only after that time: whoever dies meanwhile cannot know.
func newWorld(dir string, seed uint64, around geo.Point, slow time.Duration) (_ *world, err error) {
	w := &world{ordinary: "ok", queue: make(chan arrival, maxArrivals), done: make(chan struct{})}
	if slow > 0 {
		w.ordinary = "slow"
	}
	go w.handOver()
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.fcm, err = fcmsim.Start(fcmsim.Options{Slow: slow, OnAccept: func(d fcmsim.Delivered) {
		w.accepted(d.Token, d.MessageID, "fcm")
	}}); err != nil {
		return nil, fmt.Errorf("start the FCM simulator: %w", err)
	}
	if w.apns, err = apnssim.Start(apnssim.Options{Topics: []string{bundleID}, Slow: slow, OnAccept: func(d apnssim.Delivered) {
		w.accepted(d.Token, d.MessageID, "apns")
	}}); err != nil {
		return nil, fmt.Errorf("start the APNs simulator: %w", err)
	}
	w.caFile = filepath.Join(dir, "apns-ca.pem")
	if err := os.WriteFile(w.caFile, w.apns.CertificatePEM(), 0o600); err != nil {
		return nil, fmt.Errorf("write the APNs authority: %w", err)
	}
	sky := weathersim.Sky{Seed: seed, Around: around, Period: frontEvery}
	if w.weather, err = weathersim.Start(weathersim.Options{Sky: sky, TTL: weatherFresh, ModelInterval: modelInterval}); err != nil {
		return nil, fmt.Errorf("start the weather simulator: %w", err)
	}
	w.weather.Set(mild(sky, time.Now()))
	if w.receiver, err = newReceiver(); err != nil {
		return nil, err
	}
	return w, nil
}

// mildC is the least temperature, so that it rains, and does not snow, whatever
// the season in which somebody looks at the demo.
const mildC = 7

// mild is the sky, warmer where needed and shifted so that a front has just arrived
// at start: a run of half a minute sees it rain and clear up. It is the same
// everywhere, since the town is smaller than a cell that the server asks for, whose
// middle may lie kilometres and so many fronts away.
func mild(sky weathersim.Sky, start time.Time) func(lat, lng float64, at time.Time) weathersim.Conditions {
	shift := untilRain(sky, start)
	return func(_, _ float64, at time.Time) weathersim.Conditions {
		c := sky.At(sky.Around.Lat, sky.Around.Lng, at.Add(shift))
		c.TemperatureC = max(c.TemperatureC, mildC)
		return c
	}
}

// wetMM of rain in an hour is enough for a provider to call it rain.
const wetMM = 0.2

// untilRain is by how much later the sky must be than the clock, so that in its
// middle it began to rain one run of the model before start: the first forecast
// says so. It is 0 for a sky without rain.
func untilRain(sky weathersim.Sky, start time.Time) time.Duration {
	const step = time.Second / 2
	wet := func(at time.Time) bool {
		return sky.At(sky.Around.Lat, sky.Around.Lng, at).PrecipitationMM >= wetMM
	}
	began := start.Add(-modelInterval)
	before := wet(began)
	for shift := step; shift < 10*sky.Period; shift += step {
		now := wet(began.Add(shift))
		if now && !before {
			return shift
		}
		before = now
	}
	return 0
}

// configure points a server at the simulators.
func (w *world) configure(c *config.Config) {
	c.Weather = config.Weather{Provider: config.MetNorway, Contact: "demo@footfall.example", BaseURL: w.weather.URL()}
	c.Webhooks.AllowNetworks = "127.0.0.1"
	c.Providers.FCM.Endpoint = w.fcm.URL()
	c.Providers.APNs = config.APNs{ProductionURL: w.apns.URL(), SandboxURL: w.apns.URL(), RootCAFile: w.caFile}
}

// deliverTo says who hands pushes to the phones.
func (w *world) deliverTo(hand func(token, message, via string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hand = hand
}

// accepted is called by the simulators for each push that they take, and must not
// block.
func (w *world) accepted(token, message, via string) {
	w.count.Add(1)
	w.onWay.Add(1)
	select {
	case w.queue <- arrival{token, message, via}:
	default: // a provider may lose a push, too
		w.onWay.Add(-1)
	}
}

func (w *world) handOver() {
	defer close(w.done)
	for a := range w.queue {
		w.mu.Lock()
		hand := w.hand
		w.mu.Unlock()
		if hand != nil {
			hand(a.token, a.message, a.via)
		}
		w.onWay.Add(-1)
	}
}

// idle reports whether every push that was accepted is with its phone.
func (w *world) idle() bool { return w.onWay.Load() == 0 }

// seen are the push requests that reached the simulators so far.
func (w *world) seen() []push {
	var out []push
	for _, r := range w.fcm.Requests() {
		out = append(out, push{Attempt: r.Tag, Message: r.MessageID, Accepted: r.Accepted, At: r.At})
	}
	for _, r := range w.apns.Requests() {
		out = append(out, push{Attempt: r.APNsID, Message: r.MessageID, Accepted: r.Accepted, At: r.At})
	}
	return out
}

// close stops the simulators.
func (w *world) close() error {
	var errs []error
	if w.fcm != nil {
		errs = append(errs, w.fcm.Close())
	}
	if w.apns != nil {
		errs = append(errs, w.apns.Close())
	}
	if w.weather != nil {
		errs = append(errs, w.weather.Close())
	}
	if w.receiver != nil {
		errs = append(errs, w.receiver.close())
	}
	close(w.queue) // the simulators, who write to it, have ended
	<-w.done
	return errors.Join(errs...)
}
