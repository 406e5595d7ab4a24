package audience_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/server/audience"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/rules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)

// town is a workspace's persons, as the store has them.
type town struct {
	ids    []string // sorted
	bodies [][]byte // nil: became another one

	onRange func(ctx context.Context) error // before each range, if set
}

func (t *town) Range(ctx context.Context, _, from, below string, f func([]byte) error) (int, error) {
	if t.onRange != nil {
		if err := t.onRange(ctx); err != nil {
			return 0, err
		}
	}
	i, _ := slices.BinarySearch(t.ids, from)
	j, _ := slices.BinarySearch(t.ids, below)
	for k := i; k < j; k++ {
		if t.bodies[k] == nil {
			continue
		}
		if err := f(t.bodies[k]); err != nil {
			return 0, err
		}
	}
	return j - i, nil
}

// townOf n persons: one in ten from Ams, half of all agree to marketing, a third have a
// phone that takes pushes. Of each three ids lead there, two of which became the first.
func townOf(tb testing.TB, n int) *town {
	tb.Helper()
	type person struct {
		id   string
		body []byte
	}
	all := make([]person, 0, 3*n)
	for i := range n {
		ids := []string{
			engage.PersonID("acme", fmt.Sprintf("user_id:%d", i)), engage.PersonID("acme", fmt.Sprintf("email:%d@example.com", i)),
			engage.ProfileID("acme", fmt.Sprintf("phone-%d", i)),
		}
		if i%5 == 0 { // nobody knows who this is: the phone's profile is the person
			ids[0], ids[2] = ids[2], ids[0]
		}
		p := profile.Profile{Workspace: "acme", ID: ids[0], Attributes: map[string]any{"city": "Ams"}, AttributeAt: map[string]profile.Stamp{"city": 7}, LastSeen: now}
		if i%10 != 3 {
			p.Attributes["city"] = "Rotterdam"
		}
		if i%2 == 1 {
			p.Consents = p.Consents.With(engage.ConsentMarketing, engage.Consent{Granted: true, At: now})
		}
		if i%3 == 0 {
			p.Devices = map[string]engage.Device{"phone": {Install: "phone", Notifications: "granted", Push: &engage.PushTarget{Provider: "fcm", Token: "t"}}}
		}
		body, err := json.Marshal(p)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, person{ids[0], body}, person{ids[1], nil}, person{ids[2], nil})
	}
	slices.SortFunc(all, func(a, b person) int { return strings.Compare(a.id, b.id) })
	t := &town{}
	for _, p := range all {
		t.ids, t.bodies = append(t.ids, p.id), append(t.bodies, p.body)
	}
	return t
}

func rule(tb testing.TB, text string) *rules.Rule {
	tb.Helper()
	r, err := rules.Parse(json.RawMessage(text), rules.PersonSchema(map[string]rules.Type{"city": rules.String}))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

const fromAms = `{"field":"attributes.city","op":"eq","value":"Ams"}`

func TestEverybodyIsCountedExactlyWhereThereIsTime(t *testing.T) {
	c := audience.New(audience.Options{Source: townOf(t, 20_000), Budget: time.Hour})
	a, err := c.Count(t.Context(), audience.Question{Workspace: "acme", Rule: rule(t, fromAms), Now: now, Examples: 5})
	if err != nil {
		t.Fatal(err)
	}
	is := func(what string, f audience.Figure, want int64) {
		t.Helper()
		if f != (audience.Figure{Estimate: want, Low: want, High: want}) {
			t.Errorf("%s: %+v, want %d", what, f, want)
		}
	}
	is("matching", a.Matching, 2000)
	is("people", a.People, 20_000)
	is("consenting", a.Consenting, 2000) // all of i%10 == 3 are odd
	is("phones", a.Phones, 667)          // of 3, 13, 23, … every third
	is("push", a.Push, 667)
	is("marketing", a.Marketing, 667)
	if !a.Exact || a.Looked != 20_000 || a.Unreadable != 0 || len(a.Examples) != 5 {
		t.Errorf("%+v", a)
	}
	if a.Marketed(engage.Marketing) != a.Marketing || a.Marketed(engage.Service) != a.Phones {
		t.Error("a service message needs no consent, a marketing message does")
	}
	empty, err := audience.New(audience.Options{Source: &town{}}).Count(t.Context(), audience.Question{Workspace: "acme", Now: now})
	if err != nil || !empty.Exact || empty.People.High != 0 {
		t.Errorf("of nobody: %+v, %v", empty, err)
	}
}

// The intervals of samples, taken at other hours, hold what an exact count gives as often
// as they claim to, of a rule that holds for a tenth, for nearly everybody, for nobody.
func TestTheIntervalHoldsTheExactNumber(t *testing.T) {
	source := townOf(t, 20_000)
	for _, c := range []struct {
		rule  string
		exact int64
	}{
		{fromAms, 2000},
		{`{"not":` + fromAms + `}`, 18_000},
		{`{"field":"attributes.city","op":"eq","value":"Utrecht"}`, 0},
	} {
		const trials = 30
		missed, missedPeople, widest, sum := 0, 0, 0.0, 0.0
		counter := audience.New(audience.Options{Source: source, Budget: time.Hour, Most: 800})
		for i := range trials {
			a, err := counter.Count(t.Context(), audience.Question{Workspace: "acme", Rule: rule(t, c.rule), Now: now.Add(time.Duration(i) * time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			if a.Exact || a.Looked < 800 || a.Looked > 1600 {
				t.Fatalf("a sample of 800 looked at %d, exact: %v", a.Looked, a.Exact)
			}
			if c.exact < a.Matching.Low || c.exact > a.Matching.High {
				missed++
			}
			if 20_000 < a.People.Low || 20_000 > a.People.High {
				missedPeople++
			}
			if a.Matching.Estimate < a.Matching.Low || a.Matching.Estimate > a.Matching.High {
				t.Errorf("%+v", a.Matching)
			}
			widest = max(widest, float64(a.Matching.High-a.Matching.Low))
			sum += float64(a.Matching.Estimate)
		}
		// 1.5 of 30 are expected, with a deviation of 1.2; trials share persons.
		if missed > 6 || missedPeople > 6 {
			t.Errorf("%s: %d and %d of %d intervals do not hold the number", c.rule, missed, missedPeople, trials)
		}
		if mean := sum / trials; math.Abs(mean-float64(c.exact)) > 0.06*float64(c.exact) {
			t.Errorf("%s: on average %.0f, is %d", c.rule, mean, c.exact)
		}
		if c.exact > 0 && widest > 0.6*float64(c.exact) {
			t.Errorf("%s: an interval is %.0f wide, which says nothing", c.rule, widest)
		}
	}
}

func TestOneHourAsksTheSamePersons(t *testing.T) {
	counter := audience.New(audience.Options{Source: townOf(t, 5000), Budget: time.Hour, Most: 500})
	ask := func(at time.Time) *audience.Answer {
		a, err := counter.Count(t.Context(), audience.Question{Workspace: "acme", Rule: rule(t, fromAms), Now: at, Examples: 3})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a, b, later := ask(now), ask(now.Add(time.Minute)), ask(now.Add(time.Hour))
	if a.Matching != b.Matching || !slices.Equal(a.Examples, b.Examples) {
		t.Errorf("the same rule has another figure a minute later: %+v, %+v", a, b)
	}
	if slices.Equal(a.Examples, later.Examples) {
		t.Error("an hour later it is the same sample")
	}
}

func TestStatesThatCannotBeReadAreSaid(t *testing.T) {
	source := townOf(t, 100)
	for i := range source.bodies {
		if source.bodies[i] != nil {
			source.bodies[i] = []byte(`{"attributes":3}`)
			break
		}
	}
	a, err := audience.New(audience.Options{Source: source, Budget: time.Hour}).Count(t.Context(), audience.Question{Workspace: "acme", Now: now})
	if err != nil || a.Unreadable != 1 || a.Looked != 100 || a.Matching.Estimate != 99 {
		t.Errorf("%+v, %v", a, err)
	}
}

// A budget that is used up ends the reading, but not before something was seen.
func TestTheBudgetEndsTheReading(t *testing.T) {
	source := townOf(t, 5000)
	var ranges sync.Map
	used := make(chan struct{})
	source.onRange = func(ctx context.Context) error {
		if _, again := ranges.LoadOrStore("first", true); again {
			return nil
		}
		close(used)
		return ctx.Err()
	}
	a, err := audience.New(audience.Options{Source: source, Budget: time.Nanosecond}).Count(t.Context(), audience.Question{Workspace: "acme", Rule: rule(t, fromAms), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	<-used
	if a.Exact || a.Looked == 0 || a.Looked > 2000 || a.Matching.High < a.Matching.Low {
		t.Errorf("%+v", a)
	}
}

func TestWhoGoesAwayIsNotReadFor(t *testing.T) {
	source := townOf(t, 5000)
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	var mu sync.Mutex
	source.onRange = func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked > 20 {
			cancel()
		}
		return ctx.Err()
	}
	counter := audience.New(audience.Options{Source: source, Budget: time.Hour})
	if _, err := counter.Count(ctx, audience.Question{Workspace: "acme", Now: now}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if asked > 60 {
		t.Errorf("%d ranges were read for nobody", asked)
	}
	source.onRange = nil
	if _, err := counter.Count(t.Context(), audience.Question{Workspace: "acme", Now: now}); err != nil {
		t.Errorf("the turn was not given back: %v", err)
	}
}

// Of one workspace one question is read for at a time; who waits may leave.
func TestQuestionsOfAWorkspaceWaitForEachOther(t *testing.T) {
	source := townOf(t, 10)
	entered, leave := make(chan struct{}, readersAtOnce), make(chan struct{})
	source.onRange = func(context.Context) error {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-leave
		return nil
	}
	counter := audience.New(audience.Options{Source: source, Budget: time.Hour})
	first := make(chan error, 1)
	go func() {
		_, err := counter.Count(t.Context(), audience.Question{Workspace: "acme", Now: now})
		first <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() {
		_, err := counter.Count(ctx, audience.Question{Workspace: "acme", Now: now})
		second <- err
	}()
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("who waited and left: %v", err)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

const readersAtOnce = 2

func TestAFailingStoreIsAnError(t *testing.T) {
	source := townOf(t, 10)
	source.onRange = func(context.Context) error { return os.ErrDeadlineExceeded }
	_, err := audience.New(audience.Options{Source: source}).Count(t.Context(), audience.Question{Workspace: "acme", Now: now})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// BenchmarkCount is the cost of one person, store apart.
func BenchmarkCount(b *testing.B) {
	source := townOf(b, 20_000)
	counter := audience.New(audience.Options{Source: source, Budget: time.Hour})
	q := audience.Question{Workspace: "acme", Rule: rule(b, fromAms), Now: now}
	for b.Loop() {
		if _, err := counter.Count(b.Context(), q); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20_000, "ns/person")
}
