package deliver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// Gates of the two credentials, as metrics name them.
const (
	fcmGate  = "push/fcm/project"
	apnsGate = "push/apns/team"
)

// lasting is for messages that must not expire however much time passes before the
// machine gets round to them; FCM keeps none for more than four weeks.
const lasting = 600 * time.Hour

// faulty is deliver with the real senders at simulated providers, over loopback and by
// one clock for all of them. Time stands still while an attempt is under way (Send), so
// that what a simulator's log says of the time is what the sender went by.
type faulty struct {
	*testing.T
	clock   *clock.Manual
	step    sync.RWMutex // read while an attempt is under way
	google  *fcmsim.Server
	apple   *apnssim.Server
	ledger  *delivertest.Ledger
	told    *outcomes
	metrics *prometheus.Registry
	d       *deliver.Deliverer
	sends   []engage.Send
}

// timed is a sender during whose attempts time stands still.
type timed struct {
	w *faulty
	channels.Sender
}

func (s timed) Send(ctx context.Context, m channels.Message) (channels.Outcome, error) {
	s.w.step.RLock()
	defer s.w.step.RUnlock()
	return s.Sender.Send(ctx, m)
}

func newFaulty(t *testing.T, atApple apnssim.Options) *faulty {
	t.Helper()
	// Access tokens are asked for by the machine's clock: the simulator's must not be
	// behind it, nor an hour ahead.
	c := clock.NewManual(time.Now().Add(10 * time.Minute))
	w := &faulty{T: t, clock: c, ledger: delivertest.NewLedger(c), told: &outcomes{any: true}, metrics: prometheus.NewRegistry()}
	closing := func(name string, end func() error) {
		t.Cleanup(func() {
			if err := end(); err != nil {
				t.Errorf("close %s: %v", name, err)
			}
		})
	}
	var err error
	if w.google, err = fcmsim.Start(fcmsim.Options{Now: c.Now, Seed: 7, Slow: 20 * time.Millisecond, TokenLife: 1000 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	closing("fcmsim", w.google.Close)
	atApple.Now, atApple.Seed, atApple.Slow = c.Now, 7, 20*time.Millisecond
	if w.apple, err = apnssim.Start(atApple); err != nil {
		t.Fatal(err)
	}
	closing("apnssim", w.apple.Close)
	// The longest that an attempt may take by the machine's clock is far beyond the
	// test's patience, so that a slow machine makes no attempt ambiguous.
	f, err := fcm.New(fcm.Options{CredentialsJSON: w.google.Credentials(), Endpoint: w.google.URL(), Timeout: time.Hour, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	closing("fcm", f.Close)
	team, kid, p8 := w.apple.Key()
	a, err := apns.New(apns.Options{
		TeamID: team, KeyID: kid, PrivateKeyPEM: p8, Topic: "com.example.shop",
		ProductionURL: w.apple.URL(), RootCAs: w.apple.RootCAs(), Timeout: time.Hour, Now: c.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	closing("apns", a.Close)
	if w.d, err = deliver.New(deliver.Options{
		Ledger: w.ledger, Sessions: &sessions{open: map[string]bool{}}, Clock: c, Metrics: w.metrics,
		Senders: realSenders{timed{w, f}, timed{w, a}}, Outcomes: w.told, MaxInFlight: 40, Limits: &deliver.Limits{},
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	w.accept("warm", 1, lasting, nil) // credentials are fetched before time goes on
	w.pass("the first pushes", func() bool { return w.ends() == len(w.sends) })
	return w
}

// accept has n messages sent by each provider, which last so long; change may be nil.
func (w *faulty) accept(name string, n int, lasts time.Duration, change func(i int, s *engage.Send)) {
	w.Helper()
	var sends []engage.Send
	for i := range n {
		for _, provider := range []string{"fcm", "apns"} {
			dev := phone(fmt.Sprintf("%s-%s-%d", name, provider, i))
			dev.Push.Provider, dev.Push.Token = provider, engage.Secret(fcmsim.Token("fine", dev.Install))
			if provider == "apns" {
				dev.Platform, dev.Push.Token = "ios", engage.Secret(apnssim.Token("fine", dev.Install))
			}
			s := send(dev.Install, dev)
			s.Channels = []engage.Channel{engage.Push}
			s.DecidedAt = w.clock.Now()
			s.ExpiresAt = s.DecidedAt.Add(lasts)
			if change != nil {
				change(i, &s)
			}
			sends = append(sends, s)
		}
	}
	if err := w.d.Accept(w.Context(), sends); err != nil {
		w.Fatal(err)
	}
	w.sends = append(w.sends, sends...)
}

// pass lets time pass until the condition holds. However slow the machine is, time goes
// on only between attempts.
func (w *faulty) pass(what string, until func() bool) {
	w.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !until(); {
		if time.Now().After(deadline) {
			w.Fatalf("%s: not after 3 minutes; %d of %d have ended", what, w.ends(), len(w.sends))
		}
		w.advance(250 * time.Millisecond)
		time.Sleep(200 * time.Microsecond) //nolint:forbidigo // lets others run between two looks
	}
}

func (w *faulty) advance(d time.Duration) {
	w.step.Lock()
	defer w.step.Unlock()
	w.clock.Advance(d)
}

func (w *faulty) ends() int {
	w.told.mu.Lock()
	defer w.told.mu.Unlock()
	return len(w.told.all)
}

// gauge is a metric of one lane, over its classes; absent until it has a value, then 0.
func (w *faulty) gauge(name, lane string) (sum float64) {
	w.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != name {
				continue
			}
			for _, l := range m.GetLabel() {
				if l.GetName() == "lane" && l.GetValue() == lane {
					sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

// faultRecord is of the ledger's what the tests read.
type faultRecord struct {
	State    string
	Told     bool
	Made     int
	Attempts []struct {
		ID     string
		Answer *struct {
			Kind      channels.Kind
			Ambiguous bool
		}
	}
}

// request is of both simulators' logs what matters here.
type request struct {
	at       time.Time
	accepted bool
}

// check waits for the end of all that was sent, and holds deliver to its promises. It
// returns how many ended in each way, and how many pushes a provider took once more.
func (w *faulty) check() (states map[string]int, repeats int) {
	w.Helper()
	w.pass("the end of all", func() bool {
		names, err := w.ledger.Lanes(context.Background())
		names = slices.DeleteFunc(names, func(name string) bool { return name == "journal" })
		return err == nil && len(names) == 0 && w.ends() >= len(w.sends)
	})
	told := map[string][]engage.DeliveryOutcome{}
	w.told.mu.Lock()
	for _, o := range w.told.all {
		told[o.Delivery] = append(told[o.Delivery], o)
	}
	w.told.mu.Unlock()
	made := map[string][]request{} // by delivery
	for _, r := range w.google.Requests() {
		made[r.MessageID] = append(made[r.MessageID], request{r.At, r.Accepted})
	}
	for _, r := range w.apple.Requests() {
		made[r.MessageID] = append(made[r.MessageID], request{r.At, r.Accepted})
	}
	took := w.google.Accepted() // by attempt id
	for id, n := range w.apple.Accepted() {
		took[id] += n
	}
	states = map[string]int{}
	for _, s := range w.sends {
		if n := len(told[s.Delivery]); n != 1 {
			w.Errorf("%s: told %d outcomes: %v", s.Delivery, n, told[s.Delivery])
			continue
		}
		o := told[s.Delivery][0]
		states[string(o.State)]++
		for _, r := range made[s.Delivery] {
			if !r.at.Before(s.ExpiresAt) {
				w.Errorf("%s: sent %v after its expiry", s.Delivery, r.at.Sub(s.ExpiresAt))
			}
		}
		accepted := 0
		for _, r := range made[s.Delivery] {
			if r.accepted {
				accepted++
			}
		}
		if n := took[engage.AttemptID(s.Delivery, s.Devices[0].Install)]; n != accepted {
			w.Errorf("%s: the provider took %d, of them %d by its attempt's id", s.Delivery, accepted, n)
		}
		repeats += max(accepted-1, 0)
		w.checkLedger(s, o, accepted)
	}
	return states, repeats
}

// checkLedger holds what the provider took against what the ledger says.
func (w *faulty) checkLedger(s engage.Send, o engage.DeliveryOutcome, accepted int) {
	w.Helper()
	rec, ok, err := w.ledger.Get(context.Background(), s.Workspace, s.Delivery)
	if err != nil || !ok {
		w.Errorf("%s: not in the ledger: %v", s.Delivery, err)
		return
	}
	var r faultRecord
	if err := json.Unmarshal(rec.Body, &r); err != nil {
		w.Fatal(err)
	}
	yes, unknown := 0, 0
	for _, a := range r.Attempts {
		switch {
		case a.ID != engage.AttemptID(s.Delivery, s.Devices[0].Install):
			w.Errorf("%s: an attempt has the id %s", s.Delivery, a.ID)
		case a.Answer == nil:
			w.Errorf("%s: an attempt has no answer", s.Delivery)
		case a.Answer.Kind == channels.Accepted:
			yes++
		case a.Answer.Ambiguous:
			unknown++
		}
	}
	switch {
	case !r.Told || r.State != "done":
		w.Errorf("%s: is %q, told %v", s.Delivery, r.State, r.Told)
	case (o.State == engage.DeliveryAccepted) != (yes == 1) || yes > 1:
		w.Errorf("%s: %s, with %d attempts accepted", s.Delivery, o.State, yes)
	case accepted < yes || accepted > yes+unknown:
		w.Errorf("%s: the provider took it %d times; the ledger says %d, and of %d it does not know", s.Delivery, accepted, yes, unknown)
	case !s.RetryAmbiguous && (unknown > 1 || unknown+yes > 1):
		w.Errorf("%s: was repeated after an ambiguous answer", s.Delivery)
	}
}

// wantAccepted is check where all that was sent must have been accepted, by no more
// than the repeats that were found.
func (w *faulty) wantAccepted() (repeats int) {
	w.Helper()
	states, repeats := w.check()
	if n := states[string(engage.DeliveryAccepted)]; n != len(w.sends) {
		w.Errorf("ended as %v, want all %d accepted", states, len(w.sends))
	}
	return repeats
}

func (w *faulty) fail(google fcmsim.Rule, apple apnssim.Fault) {
	w.Helper()
	w.google.SetRules(google)
	if err := w.apple.SetFaults(apple); err != nil {
		w.Fatal(err)
	}
}

func (w *faulty) heal() {
	w.Helper()
	w.google.SetRules()
	if err := w.apple.SetFaults(); err != nil {
		w.Fatal(err)
	}
}

// A provider is down for a minute while messages keep coming: it is probed, the other
// one does not notice, what expires meanwhile ends so, and all else goes when it is back.
func TestFaultAProviderThatIsDownForAMinuteLosesNothing(t *testing.T) {
	w := newFaulty(t, apnssim.Options{})
	w.google.SetRules(fcmsim.Rule{Fault: fcmsim.Fault{Code: "UNAVAILABLE", RetryAfter: time.Second}})
	w.accept("before", 60, lasting, nil)
	w.pass("the alarm", func() bool { return w.gauge("footfall_deliver_down", fcmGate) == 1 })
	wentDown := w.clock.Now()
	for i := 0; w.clock.Now().Before(wentDown.Add(time.Minute)); i++ {
		w.accept(fmt.Sprintf("lasts%d", i), 5, lasting, nil)
		w.accept(fmt.Sprintf("short%d", i), 1, 2*time.Second, nil)
		at := w.clock.Now().Add(3 * time.Second)
		w.pass("time", func() bool { return !w.clock.Now().Before(at) })
	}
	apple := func() (n int) {
		for _, s := range w.sends {
			if s.Devices[0].Push.Provider == "apns" {
				n++
			}
		}
		return n
	}()
	w.pass("what is Apple's", func() bool {
		n := 0
		w.told.mu.Lock()
		defer w.told.mu.Unlock()
		for _, o := range w.told.all {
			if o.Channel == "apns" {
				n++
			}
		}
		return n == apple
	})
	if fcm, apns := w.gauge("footfall_deliver_down", fcmGate), w.gauge("footfall_deliver_down", apnsGate); fcm != 1 || apns != 0 {
		t.Errorf("after a minute: FCM down %v, APNs down %v", fcm, apns)
	}
	if n := w.gauge("footfall_deliver_waiting", fcmGate); n == 0 {
		t.Error("nothing waits for FCM")
	}
	if n := w.gauge("footfall_deliver_paused", fcmGate); n != 0 {
		t.Error("nobody has to act, but FCM's credential is paused")
	}
	w.heal()
	w.pass("the end of the alarm", func() bool { return w.gauge("footfall_deliver_down", fcmGate) == 0 })
	states, repeats := w.check()
	if states[string(engage.DeliveryExpired)] == 0 || states[string(engage.DeliveryFailed)] != 0 || repeats != 0 {
		t.Errorf("ended as %v, %d repeats", states, repeats)
	}
	if n := w.gauge("footfall_deliver_waiting", fcmGate); n != 0 {
		t.Errorf("%v wait still", n)
	}
	t.Logf("ended as %v", states)
}

func TestFaultOneInTenUnavailableDelaysButFailsNothing(t *testing.T) {
	w := newFaulty(t, apnssim.Options{})
	w.fail(fcmsim.Rule{Rate: 0.1, Fault: fcmsim.Fault{Code: "UNAVAILABLE"}},
		apnssim.Fault{Percent: 10, Status: http.StatusServiceUnavailable, Reason: "ServiceUnavailable", RetryAfter: "1"})
	w.accept("some", 200, lasting, nil)
	if n := w.wantAccepted(); n != 0 {
		t.Errorf("%d repeats after answers that were none of acceptance", n)
	}
	refused := 0
	for _, r := range w.google.Requests() {
		if !r.Accepted {
			refused++
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

func TestFaultSlowBodiesAreWaitedFor(t *testing.T) {
	w := newFaulty(t, apnssim.Options{})
	w.fail(fcmsim.Rule{Rate: 0.5, Fault: fcmsim.Fault{SlowBody: 20 * time.Millisecond}},
		apnssim.Fault{Percent: 50, Do: apnssim.SlowBody, DelayMS: 20})
	w.accept("some", 100, lasting, nil)
	if n := w.wantAccepted(); n != 0 {
		t.Errorf("%d repeats", n)
	}
}

// A stream that is reset after the push was taken says nothing: the push is repeated by
// the same id, or, where the campaign wants that, given up.
func TestFaultResetsAfterAcceptanceAreRepeatedByTheSameIDOrNotAtAll(t *testing.T) {
	w := newFaulty(t, apnssim.Options{})
	w.fail(fcmsim.Rule{Rate: 0.2, Fault: fcmsim.Fault{Drop: true}}, apnssim.Fault{Percent: 20, Do: apnssim.Drop})
	w.accept("some", 100, lasting, func(i int, s *engage.Send) { s.RetryAmbiguous = i%2 == 0 })
	states, repeats := w.check()
	t.Logf("ended as %v, %d repeats", states, repeats)
	if repeats == 0 || states[string(engage.DeliveryFailed)] == 0 || states[string(engage.DeliveryAccepted)] == 0 {
		t.Errorf("ended as %v, %d repeats", states, repeats)
	}
	for _, o := range w.told.all {
		if o.State == engage.DeliveryFailed && o.Reason != engage.ReasonAmbiguous {
			t.Errorf("%s: failed by %s %s", o.Delivery, o.Reason, o.Detail)
		}
	}
}

func TestFaultAStormOfGoAwaysLosesAndRepeatsNothing(t *testing.T) {
	w := newFaulty(t, apnssim.Options{GoAwayEvery: 7})
	w.fail(fcmsim.Rule{Rate: 0.15, Fault: fcmsim.Fault{GoAway: true}}, apnssim.Fault{Percent: 3, Do: apnssim.GoAway})
	w.accept("some", 150, lasting, nil)
	if n := w.wantAccepted(); n != 0 {
		t.Errorf("%d repeats, though GOAWAY says what was not looked at", n)
	}
	if w.apple.GoAways() < 10 {
		t.Errorf("%d connections went away", w.apple.GoAways())
	}
}

func TestFaultAStreamLimitOfOneIsKept(t *testing.T) {
	w := newFaulty(t, apnssim.Options{InitialStreams: 1, MaxStreams: 1})
	w.accept("some", 100, lasting, nil)
	if n := w.wantAccepted(); n != 0 {
		t.Errorf("%d repeats", n)
	}
	if n := w.apple.PeakStreams(); n != 1 {
		t.Errorf("%d streams at a time", n)
	}
}

// A credential that is too old is renewed by the sender, and nobody notices.
func TestFaultAnExpiredCredentialIsRenewedUnnoticed(t *testing.T) {
	w := newFaulty(t, apnssim.Options{})
	w.advance(21 * time.Minute) // Apple wants provider tokens to be kept for 20
	w.google.ExpireTokens()
	w.apple.ExpireTokens()
	w.accept("some", 50, lasting, nil)
	if n := w.wantAccepted(); n != 0 {
		t.Errorf("%d repeats", n)
	}
	if n := w.google.TokensIssued(); n != 2 {
		t.Errorf("%d access tokens, want 2", n)
	}
	for _, o := range w.told.all {
		if o.Attempts != 1 {
			t.Errorf("%s: %d attempts", o.Delivery, o.Attempts)
		}
	}
}

// A credential that is refused however often it is renewed is paused, which is an alarm,
// until it works.
func TestFaultACredentialThatIsRefusedPausesUntilItWorks(t *testing.T) {
	w := newFaulty(t, apnssim.Options{})
	w.fail(fcmsim.Rule{Fault: fcmsim.Fault{Status: http.StatusUnauthorized}},
		apnssim.Fault{Status: http.StatusForbidden, Reason: "InvalidProviderToken"})
	w.accept("some", 50, lasting, nil)
	for _, gate := range []string{fcmGate, apnsGate} {
		w.pass(gate+" is paused", func() bool { return w.gauge("footfall_deliver_paused", gate) == 1 })
		if w.gauge("footfall_deliver_waiting", gate) == 0 {
			t.Errorf("%s: nothing waits", gate)
		}
	}
	w.heal()
	for _, gate := range []string{fcmGate, apnsGate} {
		w.pass(gate+" works", func() bool { return w.gauge("footfall_deliver_paused", gate) == 0 })
	}
	if n := w.wantAccepted(); n != 0 {
		t.Errorf("%d repeats", n)
	}
}

// A quota that is exceeded cuts the rate, which grows back, and fails nothing.
func TestFaultAnExceededQuotaIsObeyedAndGrowsBack(t *testing.T) {
	w := newFaulty(t, apnssim.Options{})
	w.fail(fcmsim.Rule{Times: 5, Fault: fcmsim.Fault{Code: "QUOTA_EXCEEDED", RetryAfter: 30 * time.Second}},
		apnssim.Fault{Times: 5, Status: http.StatusTooManyRequests, Reason: "TooManyRequests", RetryAfter: "30"})
	said := w.clock.Now() // before the first 429, so nothing is asked again before said + 30 s
	w.accept("some", 60, lasting, nil)
	w.pass("the cut", func() bool { return w.gauge("footfall_deliver_rate_cuts_total", fcmGate) >= 1 })
	w.accept("later", 10, lasting, nil)
	cut := w.gauge("footfall_deliver_rate", fcmGate)
	if cut == 0 {
		t.Error("the rate is without limit after it was cut")
	}
	if n := w.wantAccepted(); n != 0 {
		t.Errorf("%d repeats", n)
	}
	w.pass("the rate grows back", func() bool { return w.gauge("footfall_deliver_rate", fcmGate) == 0 })
	if n := w.gauge("footfall_deliver_rate_cuts_total", apnsGate); n != 0 {
		t.Errorf("Apple spoke of devices, but its rate was cut %v times", n)
	}
	refused := map[string]bool{}
	for _, r := range w.google.Requests() {
		if (refused[r.MessageID] || strings.HasPrefix(r.MessageID, "later")) && r.At.Before(said.Add(30*time.Second)) {
			t.Errorf("%s: sent, %v after FCM wanted 30 s", r.MessageID, r.At.Sub(said))
		}
		refused[r.MessageID] = refused[r.MessageID] || r.Status == http.StatusTooManyRequests
	}
}
