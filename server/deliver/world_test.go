package deliver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/deliver/delivertest"
	"github.com/footfall-engage/footfall/server/engage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// world is a deliverer with everything around it faked, on a clock that stands
// still. It lives in a synctest bubble: settle returns when everything waits.
type world struct {
	testing.TB
	clock    *clock.Manual
	ledger   *delivertest.Ledger
	sessions *sessions
	senders  *senders
	told     *outcomes
	permits  deliver.Permits
	owners   deliver.Owners
	fault    func(string) error
	inFlight int
	limits   deliver.Limits // none
	budgets  deliver.Budgets
	logs     *bytes.Buffer
	metrics  *prometheus.Registry

	d    *deliver.Deliverer
	stop func() error
}

func newWorld(t testing.TB) *world {
	c := clock.NewManual(noon)
	w := &world{
		TB: t, clock: c, ledger: delivertest.NewLedger(c), logs: &bytes.Buffer{},
		sessions: &sessions{open: map[string]bool{}}, told: &outcomes{},
	}
	w.senders = &senders{w: w, answer: func(channels.Message, int) (channels.Outcome, error) {
		return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
	}}
	return w
}

// start makes a deliverer on what the ledger holds, and runs it.
func (w *world) start() {
	w.Helper()
	w.make()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	run := w.d.Run
	go func() { ended <- run(ctx) }()
	var once sync.Once
	var result error
	w.stop = func() error {
		once.Do(func() {
			cancel()
			result = <-ended
		})
		return result
	}
	w.Cleanup(func() { _ = w.stop() })
	w.settle()
}

func (w *world) make() {
	w.Helper()
	w.metrics = prometheus.NewRegistry()
	var err error
	if w.d, err = deliver.New(deliver.Options{
		Ledger: w.ledger, Sessions: w.sessions, Senders: w.senders, Outcomes: w.told, Permits: w.permits, Owners: w.owners,
		Clock: w.clock, Logger: slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics: w.metrics, MaxInFlight: w.inFlight, Limits: &w.limits, Budgets: w.budgets, Fault: w.fault,
	}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) end() {
	w.Helper()
	if err := w.stop(); err != nil {
		w.Errorf("Run: %v", err)
	}
}

func (w *world) settle() { synctest.Wait() }

func (w *world) pass(d time.Duration) {
	w.clock.Advance(d)
	w.settle()
}

func (w *world) accept(sends ...engage.Send) {
	w.Helper()
	if err := w.d.Accept(w.Context(), sends); err != nil {
		w.Fatalf("Accept: %v", err)
	}
	w.settle()
}

// claim is what the phone asks, as "granted" or the reason why not.
func (w *world) claim(install, id string) string {
	w.Helper()
	ok, reason, err := w.d.Claim(w.Context(), "shop", install, id)
	if err != nil {
		w.Fatalf("Claim: %v", err)
	}
	w.settle()
	if ok {
		return "granted"
	}
	return reason
}

func (w *world) want(what string, got, want any) {
	w.Helper()
	if g, x := fmt.Sprint(got), fmt.Sprint(want); g != x {
		w.Errorf("%s: %s, want %s", what, g, x)
	}
}

func (w *world) inbox(profile string) (ids []string) {
	w.Helper()
	ms, err := w.d.Inbox(w.Context(), "shop", profile)
	if err != nil {
		w.Fatal(err)
	}
	for _, m := range ms {
		ids = append(ids, m.MessageId)
	}
	return ids
}

// lanes is what waits in the ledger: "timer:1 push/fcm/app:2".
func (w *world) lanes() string {
	names, _ := w.ledger.Lanes(context.Background())
	waiting := map[string]int{}
	for _, n := range names {
		if n == "journal" {
			continue // it says what is under way, and waits for nothing
		}
		rs, _ := w.ledger.Due(context.Background(), n, deliver.Mark{}, 1<<20)
		gate, _, _ := strings.Cut(n, "|")
		waiting[gate] += len(rs)
	}
	var out []string
	for _, gate := range slices.Sorted(maps.Keys(waiting)) {
		out = append(out, fmt.Sprintf("%s:%d", gate, waiting[gate]))
	}
	return strings.Join(out, " ")
}

func bubble(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(newWorld(t)) })
}

// phone is an Android device that can get pushes.
func phone(install string) engage.Device {
	return engage.Device{
		Install: install, App: "app", Platform: "android", Notifications: "granted", SeenAt: noon,
		Push: &engage.PushTarget{Provider: "fcm", Token: engage.Secret("tok-" + install)},
	}
}

func iphone(install string) engage.Device {
	d := phone(install)
	d.Platform, d.Push.Provider = "ios", "apns"
	return d
}

func send(id string, devices ...engage.Device) engage.Send {
	return engage.Send{
		Delivery: id, Workspace: "shop", Campaign: "rainy-day", Arm: "a", Profile: "ada", Class: engage.Marketing,
		Title: "Umbrella?", Body: "It rains", DeepLink: "shop://u", Data: map[string]string{"sku": "7"},
		Channels: []engage.Channel{engage.InApp, engage.Push, engage.Inbox}, Devices: devices,
		DecidedAt: noon, ExpiresAt: noon.Add(time.Hour), RetryAmbiguous: true,
	}
}

// sessions are open or not; what they are offered is kept as "install/kind/id", and
// of which installs the inbox has changed.
type sessions struct {
	mu      sync.Mutex
	open    map[string]bool
	offered []string
	changed []string
}

func (s *sessions) InboxChanged(workspace, install string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = append(s.changed, workspace+"/"+install)
}

// told are the installs whose inbox has changed since it was asked last.
func (s *sessions) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.changed
	s.changed = nil
	return out
}

func (s *sessions) set(installs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.open)
	for _, i := range installs {
		s.open[i] = true
	}
}

func (s *sessions) Offer(_, install string, m *sdkpb.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open[install] {
		return false
	}
	kind := "in_app"
	if m.Kind == sdkpb.Message_KIND_INBOX {
		kind = "inbox"
	}
	s.offered = append(s.offered, install+"/"+kind+"/"+m.MessageId)
	return true
}

func (s *sessions) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.offered)
}

// senders answer by a function of the message and of how often its attempt id has
// been seen, from 1. Each app is a credential.
type senders struct {
	w      *world
	mu     sync.Mutex
	answer func(m channels.Message, n int) (channels.Outcome, error)
	lookup error
	made   []string // "token at seconds after noon"
	seen   map[string]int
	ctx    context.Context // of the newest attempt
	now    int
	peak   int
}

func (s *senders) Sender(_ context.Context, _, app, provider string) (channels.Sender, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lookup != nil {
		return nil, "", s.lookup
	}
	if app == "bare" {
		return nil, "", engage.Errorf(engage.NotFound, "app", "has no credential")
	}
	return sender{s, provider}, app, nil
}

// most is how many attempts were under way at once since forgetPeak.
func (s *senders) most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

func (s *senders) forgetPeak() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peak = s.now
}

type sender struct {
	s        *senders
	provider string
}

func (x sender) Send(ctx context.Context, m channels.Message) (channels.Outcome, error) {
	s := x.s
	s.mu.Lock()
	if s.seen == nil {
		s.seen = map[string]int{}
	}
	s.seen[m.AttemptID]++
	n := s.seen[m.AttemptID]
	s.made = append(s.made, fmt.Sprintf("%s@%v", m.Target.Token, s.w.clock.Now().Sub(noon)))
	s.ctx = ctx
	s.now++
	s.peak = max(s.peak, s.now)
	answer := s.answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	if string(m.Target.Provider) != x.provider {
		return channels.Outcome{}, errors.New("the wrong provider's sender")
	}
	return answer(m, n)
}

// newest is the context of the newest attempt.
func (s *senders) newest() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ctx
}

func (s *senders) attempts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.made)
}

func (s *senders) count(install, id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[engage.AttemptID(id, install)]
}

func (s *senders) say(o channels.Outcome) {
	s.saying(func(channels.Message, int) (channels.Outcome, error) { return o, nil })
}

func (s *senders) saying(f func(m channels.Message, n int) (channels.Outcome, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// outcomes keeps what it is told, as "id state channel install reason detail attempts".
type outcomes struct {
	mu   sync.Mutex
	fail error
	all  []engage.DeliveryOutcome
	dead []engage.TokenDead

	lives []engage.TokenEnvironment
	any   bool // of any workspace and person
}

func (o *outcomes) Outcome(_ context.Context, ws, profile string, x engage.DeliveryOutcome) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.any && (ws != "shop" || profile != "ada") {
		return fmt.Errorf("told %s/%s", ws, profile)
	}
	if o.fail == nil {
		o.all = append(o.all, x)
	}
	return o.fail
}

func (o *outcomes) TokenDead(_ context.Context, _ string, t engage.TokenDead) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dead = append(o.dead, t)
	return nil
}

func (o *outcomes) TokenEnvironment(_ context.Context, _ string, t engage.TokenEnvironment) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lives = append(o.lives, t)
	return nil
}

func (o *outcomes) set(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail = err
}

func (o *outcomes) list() (out []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.all {
		words := []string{x.Delivery, string(x.State), x.Channel, x.Install, string(x.Reason), x.Detail, fmt.Sprint(x.Attempts)}
		out = append(out, strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), " "))
	}
	return out
}
