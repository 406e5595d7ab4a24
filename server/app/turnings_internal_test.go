package app

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
	"github.com/footfall-engage/footfall/server/weather"
)

// skies is a weather provider that says what it is told.
type skies struct {
	clock     clock.Clock
	condition string
	err       error
}

func (*skies) Name() string { return "skies" }

func (s *skies) Fetch(context.Context, geo.Cell, *weather.Forecast) (*weather.Forecast, error) {
	if s.err != nil {
		return nil, s.err
	}
	now := s.clock.Now()
	f := &weather.Forecast{Provider: "skies", FetchedAt: now, Expires: now.Add(30 * time.Minute)}
	for i := range 20 {
		f.Hours = append(f.Hours, weather.Hour{At: now.Truncate(time.Hour).Add(time.Duration(i) * time.Hour), Condition: s.condition})
	}
	return f, nil
}

// turningWorld is a server's turnings with a log that may fail.
type turningWorld struct {
	*testing.T
	*turnings
	now     *clock.Manual
	sky     *skies
	fails   error
	entries []engage.Entry
}

func newTurningWorld(t *testing.T, trigger engage.CampaignTrigger) *turningWorld {
	t.Helper()
	w := &turningWorld{T: t, now: clock.NewManual(time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC))}
	w.sky = &skies{clock: w.now, condition: "clear"}
	c, err := catalog.Open(t.Context(), catalog.Options{Log: new(eventlogtest.Memory).Open(), Clock: w.now, Compile: decide.Compile})
	if err != nil {
		t.Fatal(err)
	}
	at := geo.Point{Lat: 52.3731, Lng: 4.8922}
	for _, err := range []error{
		c.PutWorkspace(t.Context(), "test", &catalog.Workspace{ID: "acme", Name: "Acme"}, 0),
		c.PutPlace(t.Context(), "test", &engage.Place{ID: "cafe", Workspace: "acme", Name: "Café", Location: at, Geofences: []engage.Geofence{
			{ID: "in", Ring: engage.Inside, Shape: geo.Circle{Around: at, RadiusM: 50}},
		}}, 0),
		c.PutCampaign(t.Context(), "test", &engage.Campaign{
			ID: "wet", Workspace: "acme", Name: "Wet", Class: engage.Marketing, Status: engage.Live, Trigger: trigger,
			Arms: []engage.Arm{{ID: "a", Message: engage.Content{Title: "x", Body: "y"}}},
		}, 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	states, err := sqlite.Open(t.Context(), sqlite.Options{
		Path: filepath.Join(t.TempDir(), "s.db"), Collections: []store.Collection{{Name: turningsCollection}}, Now: w.now.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = states.Close() })
	service := weather.New(weather.Options{Provider: w.sky, Now: w.now.Now, Jitter: func() float64 { return 0 }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = service.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	people := newInsiders()
	people.set("acme", "i-ada", "ada", []string{"cafe"})
	people.set("acme", "i-bob", "bob", []string{"cafe"})
	people.set("acme", "i-cyd", "cyd", []string{"bar"})
	w.turnings = (&App{catalog: c, weather: service, insiders: people, states: states, o: Options{Clock: w.now}, log: slog.New(slog.DiscardHandler)}).newTurnings()
	w.hook()
	return w
}

func (w *turningWorld) hook() {
	w.append = func(_ context.Context, es []engage.Entry) error {
		if w.fails != nil {
			return w.fails
		}
		w.entries = append(w.entries, es...)
		return nil
	}
}

// restarts forgets all but the store, as a server that dies does.
func (w *turningWorld) restarts() {
	w.Helper()
	old := w.turnings
	w.turnings = &turnings{
		catalog: old.catalog, weather: old.weather, insiders: old.insiders, states: old.states, clock: old.clock, log: old.log,
		came: make(chan struct{}, 1), looks: map[lookKey]look{}, last: map[string]time.Time{}, open: map[string]openTurn{},
	}
	w.hook()
	if err := w.load(w.Context()); err != nil {
		w.Fatal(err)
	}
}

// looksAt lets the weather become known and looks at it; the error is that of the look.
func (w *turningWorld) looksAt(condition string, after time.Duration) error {
	w.Helper()
	w.sky.condition = condition
	w.now.Advance(after)
	if err := w.round(w.Context()); err != nil {
		return err
	}
	if w.asking.Load() > 0 || len(w.came) > 0 {
		<-w.came
	}
	return w.round(w.Context())
}

func (w *turningWorld) called() (out []string, occasion string) {
	w.Helper()
	for _, e := range w.entries {
		var tr engage.Trigger
		if err := json.Unmarshal(e.Body, &tr); err != nil || e.Kind != engage.KindCall || tr.Type != engage.TriggerWeather || tr.Weather == nil || tr.Place != "cafe" || tr.Occupancy == nil {
			w.Errorf("entry %s, %v", e.Body, err)
		}
		out, occasion = append(out, engage.IDOf(e.Key)+" "+tr.Install), tr.Occasion
	}
	w.entries = nil
	return out, occasion
}

func rainTrigger() engage.CampaignTrigger {
	return engage.CampaignTrigger{Type: engage.TriggerWeather, Where: json.RawMessage(`{"field":"weather.condition","op":"eq","value":"rain"}`)}
}

// Whoever dies between what turned and the calls makes these calls afterwards, with the
// occasion of before; whoever dies after them makes none.
func TestATurningIsCalledForAfterACrashUnderItsOwnOccasion(t *testing.T) {
	w := newTurningWorld(t, rainTrigger())
	both := []string{"p:ada i-ada", "p:bob i-bob"}
	for i, condition := range []string{"clear", "cloudy"} {
		if err := w.looksAt(condition, time.Duration(i)*31*time.Minute); err != nil || len(w.entries) > 0 {
			t.Fatalf("%s: %v, %v", condition, err, w.entries)
		}
	}
	w.fails = errors.New("the log is away")
	if err := w.looksAt("rain", 31*time.Minute); err == nil {
		t.Fatal("the log was away, and nobody was told")
	}
	turnedAt := w.now.Now()
	w.fails = nil
	w.restarts()
	w.now.Advance(time.Minute)
	if err := w.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, occasion := w.called()
	if !slices.Equal(got, both) || occasion != engage.TurningOccasion("acme", "wet", "cafe", turnedAt) {
		t.Errorf("called %v for %s", got, occasion)
	}
	w.restarts()
	for _, condition := range []string{"rain", "clear", "rain"} { // within again_after_s
		if err := w.looksAt(condition, 31*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := w.called(); len(got) > 0 {
		t.Errorf("called again: %v", got)
	}
	for _, condition := range []string{"clear", "clear", "clear", "rain"} {
		if err := w.looksAt(condition, 31*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if got, again := w.called(); !slices.Equal(got, both) || again == occasion {
		t.Errorf("three hours later: %v for %s", got, again)
	}
}

// What is too old when the log is back is let go.
func TestATurningThatCouldNotBeToldInTimeIsLetGo(t *testing.T) {
	w := newTurningWorld(t, rainTrigger())
	if err := w.looksAt("clear", 0); err != nil {
		t.Fatal(err)
	}
	w.fails = errors.New("the log is away")
	if err := w.looksAt("rain", 31*time.Minute); err == nil {
		t.Fatal("nobody was told")
	}
	w.fails = nil
	w.now.Advance(16 * time.Minute) // beyond the trigger's max_age_s
	if err := w.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.called(); len(got) > 0 || len(w.open) > 0 {
		t.Errorf("called %v", got)
	}
}

// A provider that is down says neither yes nor no: what it said last stands until it is too
// old to tell when the weather turned.
func TestNothingTurnsWhileTheProviderIsDown(t *testing.T) {
	for after, want := range map[time.Duration]int{time.Hour: 2, 3 * time.Hour: 0} {
		w := newTurningWorld(t, rainTrigger())
		if err := w.looksAt("clear", 0); err != nil {
			t.Fatal(err)
		}
		w.sky.condition, w.sky.err = "rain", errors.New("down")
		for range int(after / (10 * time.Minute)) {
			w.now.Advance(10 * time.Minute)
			if err := w.round(t.Context()); err != nil {
				t.Fatal(err)
			}
			for w.asking.Load() > 0 {
				runtime.Gosched()
			}
		}
		if got, _ := w.called(); len(got) > 0 {
			t.Errorf("called %v while it was down", got)
		}
		w.sky.err = nil
		if err := w.looksAt("rain", 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, _ := w.called(); len(got) != want {
			t.Errorf("after %v: called %v", after, got)
		}
	}
}
