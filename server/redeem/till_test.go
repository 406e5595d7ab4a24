package redeem_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/redeem"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const keep = 400 * 24 * time.Hour

// world is a Service on a store of its own, and what it asks others for.
type world struct {
	*redeem.Service
	t      *testing.T
	path   string
	store  store.Store
	clock  *clock.Manual
	offers map[string]*engage.Offer
	same   map[string][]string // ids of a person, by each of them

	faults  atomic.Int32 // so many commits, from the next on, of which the answer is lost
	flushes atomic.Int32
	onFlush func()
	mu      sync.Mutex
	told    []redeem.Told
	deaf    error // what Tell answers
}

// lossy loses answers of commits that were made, as a connection that breaks does.
type lossy struct {
	store.Store
	w *world
}

var errLost = errors.New("the answer was lost")

func (l lossy) Apply(ctx context.Context, b store.Batch) error {
	if err := l.Store.Apply(ctx, b); err != nil {
		return err
	}
	if l.w.faults.Add(-1) >= 0 {
		return errLost
	}
	return nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, path: filepath.Join(t.TempDir(), "x.db"), clock: clock.NewManual(now),
		offers: map[string]*engage.Offer{}, same: map[string][]string{},
	}
	w.start()
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// start opens the store, again after a crash: nothing but the store's file goes on.
func (w *world) start() {
	w.t.Helper()
	s, err := sqlite.Open(context.Background(), sqlite.Options{
		Path: w.path, Now: w.clock.Now,
		Collections: append(redeem.Collections(), store.Collection{Name: "reservations", Indexes: []store.Index{
			{Name: "held", Paths: []string{"held"}, Sparse: true}, {Name: "profile", Paths: []string{"profile", "at_us"}},
		}}),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = s
	w.Service = redeem.New(redeem.Options{
		Hot: lossy{s, w}, States: s, Clock: w.clock, Keep: keep, Logger: slog.New(slog.DiscardHandler),
		Shared: func(_, text string) *engage.Offer {
			for _, o := range w.offers {
				if o.Codes == engage.SharedCode && o.Code == text {
					return o
				}
			}
			return nil
		},
		Offer: func(_, id string) *engage.Offer { return w.offers[id] },
		Ended: func(f func(*engage.Offer, time.Time)) {
			for _, o := range w.offers {
				if o.Until != nil {
					f(o, *o.Until)
				}
			}
		},
		Flush: func(context.Context) error {
			w.flushes.Add(1)
			if w.onFlush != nil {
				w.onFlush()
			}
			return nil
		},
		Persons: func(_ context.Context, _, profile string) ([]string, error) {
			if ids := w.same[profile]; ids != nil {
				return ids, nil
			}
			return []string{profile}, nil
		},
		Tell: func(_ context.Context, all []redeem.Told) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, all...)
			return w.deaf
		},
	})
}

func (w *world) crash() {
	w.t.Helper()
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.start()
}

// gift makes an offer with unique codes.
func (w *world) gift(codes ...string) *engage.Offer {
	w.t.Helper()
	o := &engage.Offer{ID: "gift", Workspace: "acme", Name: "Gift", Status: engage.OfferActive, Kind: engage.OfferGift, Codes: engage.UniqueCodes}
	w.offers["gift"] = o
	if _, err := w.AddCodes(w.t.Context(), "acme", "gift", codes); err != nil {
		w.t.Fatal(err)
	}
	return o
}

func (w *world) coffee(change func(*engage.Offer)) {
	o := &engage.Offer{ID: "coffee", Workspace: "acme", Name: "Coffee", Status: engage.OfferActive, Kind: engage.OfferGift, Codes: engage.SharedCode, Code: "COFFEE"}
	if change != nil {
		change(o)
	}
	w.offers["coffee"] = o
}

// reserve has a message bring a code; of the shared one to a profile.
func (w *world) reserve(delivery, text, profile string, change ...func(*engage.Reservation)) {
	w.t.Helper()
	r := engage.Reservation{V: 1, Delivery: delivery, Campaign: "spring", Arm: "a", Profile: profile, Offer: "gift", Code: text, Held: text, At: now, AtUS: now.UnixMicro()}
	if text == "COFFEE" {
		r.Offer, r.Held = "coffee", ""
	}
	for _, f := range change {
		f(&r)
	}
	body, err := json.Marshal(r)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.store.Apply(context.Background(), store.Batch{Puts: []store.Put{{Collection: "reservations", Key: store.Key{Workspace: "acme", ID: delivery}, Body: body, If: store.AnyVersion}}}); err != nil {
		w.t.Fatal(err)
	}
}

func back(r *engage.Reservation) { r.Held, r.Back, r.Returned = "", r.Held, true }

// ask of a till, and what it is told: "redeemed", "again" or the code of the problem.
func (w *world) ask(ref, text string, change ...func(*redeem.Ask)) (*engage.Redemption, string) {
	a := &redeem.Ask{Workspace: "acme", Ref: ref, By: "till-1", Code: text}
	for _, f := range change {
		f(a)
	}
	r, again, err := w.Redeem(context.Background(), a)
	switch {
	case err != nil:
		return nil, string(engage.CodeOf(err))
	case again:
		return r, "again"
	}
	return r, "redeemed"
}

func (w *world) redeem(ref, text, want string, change ...func(*redeem.Ask)) *engage.Redemption {
	w.t.Helper()
	r, got := w.ask(ref, text, change...)
	if got != want {
		w.t.Errorf("%s with %s: %s, want %s", ref, text, got, want)
	}
	return r
}

func by(profile string) func(*redeem.Ask)   { return func(a *redeem.Ask) { a.Profile = profile } }
func with(message string) func(*redeem.Ask) { return func(a *redeem.Ask) { a.Delivery = message } }
func at(place string, tags ...string) func(*redeem.Ask) {
	return func(a *redeem.Ask) { a.Place = &engage.Place{ID: place, Name: place, Tags: tags} }
}

// A unique code is taken once; the same till that asks again under its id is told the
// same; what it says is linked to whom the message was for.
func TestAUniqueCodeIsRedeemedOnce(t *testing.T) {
	w := newWorld(t)
	w.gift("A-1", "B-2", "C-3")
	w.reserve("d1", "A-1", "ada")
	r := w.redeem("t1", " a-1", "redeemed", at("cafe"), func(a *redeem.Ask) { a.Order, a.Value, a.Currency = "o7", 12.5, "EUR" })
	if r == nil || r.Profile != "ada" || r.Delivery != "d1" || r.Campaign != "spring" || r.Arm != "a" || r.Order != "o7" || r.Value != 12.5 || r.Place != "cafe" || !r.At.Equal(now) {
		t.Fatalf("redeemed: %+v", r)
	}
	same := []func(*redeem.Ask){at("cafe"), func(a *redeem.Ask) { a.Order, a.Value = "o7", 12.5 }}
	if again := w.redeem("t1", "A-1", "again", same...); fmt.Sprint(again) != fmt.Sprint(r) {
		t.Errorf("again: %+v, before %+v", again, r)
	}
	w.redeem("t1", "B-2", "conflict", same...)
	_, _, err := w.Redeem(t.Context(), &redeem.Ask{Workspace: "acme", Ref: "t2", Code: "A-1"})
	var refused *redeem.Refused
	if !errors.As(err, &refused) || refused.Err.Code != engage.TillAlready || !refused.At.Equal(now) || refused.Place != "cafe" || !strings.Contains(refused.Err.Msg, "22 November 2026 at 12:00") {
		t.Errorf("a second time: %+v", err)
	}
	w.redeem("t3", "B-2", "unknown_code") // in the pool, and given to nobody
	w.reserve("d2", "B-2", "bob", back)
	w.redeem("t3", "B-2", "given_back")
	w.reserve("d3", "B-2", "eve") // and given again
	if r := w.redeem("t3", "B-2", "redeemed"); r.Profile != "eve" {
		t.Errorf("redeemed: %+v", r)
	}
	w.redeem("t4", "NONE", "unknown_code")
	w.redeem("t4", "!", "unknown_code")
}

// A reservation that is only in the log yet is found.
func TestACodeThatWasGivenAMomentAgoIsKnown(t *testing.T) {
	w := newWorld(t)
	w.gift("A-1")
	w.onFlush = func() { w.reserve("d1", "A-1", "ada") }
	w.redeem("t1", "A-1", "redeemed")
	if n := w.flushes.Load(); n != 1 {
		t.Errorf("flushed %d times", n)
	}
}

// When and where an offer is not redeemed the till is told so, each by its code.
func TestATillIsToldWhyNot(t *testing.T) {
	past, future := now.Add(-time.Hour), now.Add(time.Hour)
	for name, c := range map[string]struct {
		offer func(*engage.Offer)
		ask   func(*redeem.Ask)
		want  string
	}{
		"good":             {nil, nil, "redeemed"},
		"over":             {func(o *engage.Offer) { o.Until = &past }, nil, "expired"},
		"ended":            {func(o *engage.Offer) { o.Status = engage.OfferEnded }, nil, "expired"},
		"paused":           {func(o *engage.Offer) { o.Status = engage.OfferPaused }, nil, "paused"},
		"early":            {func(o *engage.Offer) { o.From = &future }, nil, "not_yet_valid"},
		"there":            {func(o *engage.Offer) { o.Places = []string{"cafe"} }, at("cafe"), "redeemed"},
		"there by tag":     {func(o *engage.Offer) { o.Tags = []string{"x"} }, at("bar", "x"), "redeemed"},
		"elsewhere":        {func(o *engage.Offer) { o.Places = []string{"cafe"} }, at("bar"), "wrong_place"},
		"nowhere":          {func(o *engage.Offer) { o.Places = []string{"cafe"} }, nil, "invalid"},
		"nobody":           {func(o *engage.Offer) { o.PerPerson = 1 }, nil, "invalid"},
		"somebody":         {func(o *engage.Offer) { o.PerPerson = 1 }, by("ada"), "redeemed"},
		"no message":       {nil, with("none"), "unknown_code"},
		"negative":         {nil, func(a *redeem.Ask) { a.Value, a.Currency = -1, "EUR" }, "invalid"},
		"no currency":      {nil, func(a *redeem.Ask) { a.Value = 1 }, "invalid"},
		"bad currency":     {nil, func(a *redeem.Ask) { a.Value, a.Currency = 1, "euro" }, "invalid"},
		"worth too much":   {func(o *engage.Offer) { o.Worth, o.Currency = 3, "EUR" }, func(a *redeem.Ask) { a.Worth = 4 }, "invalid"},
		"another currency": {func(o *engage.Offer) { o.Worth, o.Currency = 3, "EUR" }, func(a *redeem.Ask) { a.Worth, a.Currency = 2, "USD" }, "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.coffee(c.offer)
			var change []func(*redeem.Ask)
			if c.ask != nil {
				change = append(change, c.ask)
			}
			a := &redeem.Ask{Workspace: "acme", Ref: "dry", Code: "COFFEE"}
			for _, f := range change {
				f(a)
			}
			_, err := w.Check(t.Context(), a)
			if got := string(engage.CodeOf(err)); c.want == "redeemed" && got != "" || c.want != "redeemed" && got != c.want {
				t.Errorf("checked: %q, want %s", got, c.want)
			}
			w.redeem("t1", "COFFEE", c.want, change...)
			if u, err := w.Used(t.Context(), "acme", "coffee"); err != nil || (u.Redeemed == 1) != (c.want == "redeemed") {
				t.Errorf("counted: %+v, %v", u, err)
			}
		})
	}
}

// A shared code is redeemed once per message, as often as a person may, who may have gone
// by another id, and as often as all may; what is voided is free again.
func TestASharedCodeHasLimits(t *testing.T) {
	w := newWorld(t)
	w.coffee(func(o *engage.Offer) { o.PerPerson, o.Total, o.Worth, o.Currency = 2, 4, 2.5, "EUR" })
	w.reserve("d1", "COFFEE", "ada")
	w.reserve("d2", "COFFEE", "eve")
	if r := w.redeem("t1", "COFFEE", "redeemed", with("d1")); r.Profile != "ada" || r.Campaign != "spring" || r.Worth != 2.5 || r.Currency != "EUR" {
		t.Errorf("redeemed: %+v", r)
	}
	w.redeem("t2", "COFFEE", "already_redeemed", with("d1"))
	second := w.redeem("t3", "COFFEE", "redeemed", by("ada")) // from a poster
	if second.Delivery != "" {
		t.Errorf("the message was redeemed before: %+v", second)
	}
	w.redeem("t4", "COFFEE", "limit_reached", by("ada"))
	w.same["ann"] = []string{"ann", "ada"} // it turns out who she is
	w.redeem("t5", "COFFEE", "limit_reached", by("ann"))
	if r := w.redeem("t6", "COFFEE", "redeemed", by("eve")); r.Delivery != "d2" {
		t.Errorf("not linked to her message: %+v", r)
	}
	w.redeem("t7", "COFFEE", "redeemed", by("bob"))
	w.redeem("t8", "COFFEE", "limit_reached", by("zoe"))
	v, err := w.Void(t.Context(), "acme", second.ID, "till-2", "returned")
	if err != nil || v.State != engage.Voided || v.VoidedBy != "till-2" || v.VoidReason != "returned" || !v.VoidedAt.Equal(now) {
		t.Fatalf("voided: %+v, %v", v, err)
	}
	if again, err := w.Void(t.Context(), "acme", second.ID, "till-3", "x"); err != nil || fmt.Sprint(again) != fmt.Sprint(v) {
		t.Errorf("voided again: %+v, %v", again, err)
	}
	w.redeem("t9", "COFFEE", "redeemed", by("ada"))
	w.redeem("t10", "COFFEE", "limit_reached", by("zoe"))
	u, err := w.Used(t.Context(), "acme", "coffee")
	if err != nil || u.Redeemed != 4 || u.Voided != 1 || u.Worth["EUR"] != 4*25_000 {
		t.Errorf("counted: %+v, %v", u, err)
	}
	if _, err := w.Void(t.Context(), "beta", second.ID, "x", ""); engage.CodeOf(err) != engage.NotFound {
		t.Errorf("in another workspace: %v", err)
	}
}

// Of many tills that show the same unique codes at once, one has each, over crashes and
// lost answers: whoever asks again under the same id is told whether it was they.
func TestOfManyTillsOneHasTheCode(t *testing.T) {
	w := newWorld(t)
	const codes, tills = 12, 8
	var all []string
	for i := range codes {
		all = append(all, fmt.Sprintf("CODE-%d", i))
	}
	w.gift(all...)
	for i, c := range all {
		w.reserve(fmt.Sprint("d", i), c, fmt.Sprint("p", i))
	}
	winners := map[string]map[string]bool{} // by code: refs that were told yes
	for round := range 3 {
		w.faults.Store(int32(5 * round))
		var wg sync.WaitGroup
		var mu sync.Mutex
		for till := range tills {
			for i := range all {
				c := all[(i+till)%codes]
				wg.Go(func() {
					ref := fmt.Sprint(c, "/", till)
					_, got := w.ask(ref, c)
					mu.Lock()
					defer mu.Unlock()
					switch got {
					case "redeemed", "again":
						if winners[c] == nil {
							winners[c] = map[string]bool{}
						}
						winners[c][ref] = true
					case string(engage.TillAlready), string(engage.Internal): // lost: it asks again in the next round
					case string(engage.Unavailable):
					default:
						t.Errorf("%s is told %s", ref, got)
					}
				})
			}
		}
		wg.Wait()
		w.faults.Store(0)
		w.crash()
	}
	for _, c := range all {
		if len(winners[c]) != 1 {
			t.Errorf("%s has %v", c, winners[c])
		}
	}
	list, next, err := w.List(t.Context(), "acme", redeem.Filter{Offer: "gift"}, "", 100)
	if err != nil || next != "" || len(list) != codes {
		t.Errorf("%d are listed, want %d: %v", len(list), codes, err)
	}
	for _, r := range list {
		if !winners[r.Code][r.Ref] {
			t.Errorf("%s is listed and was not told so: %v", r.Ref, winners[r.Code])
		}
	}
	if u, err := w.Used(t.Context(), "acme", "gift"); err != nil || u.Redeemed != codes {
		t.Errorf("counted: %+v, %v", u, err)
	}
}

// Limits hold among many tills at once, to the last one.
func TestLimitsHoldAmongManyTills(t *testing.T) {
	w := newWorld(t)
	w.coffee(func(o *engage.Offer) { o.PerPerson, o.Total = 3, 20 })
	var wg sync.WaitGroup
	var redeemed atomic.Int32
	for i := range 60 {
		wg.Go(func() {
			if _, got := w.ask(fmt.Sprint("t", i), "COFFEE", by(fmt.Sprint("p", i%10))); got == "redeemed" {
				redeemed.Add(1)
			}
		})
	}
	wg.Wait()
	if n := redeemed.Load(); n != 20 {
		t.Errorf("%d were redeemed, want 20", n)
	}
	list, _, err := w.List(t.Context(), "acme", redeem.Filter{}, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	per := map[string]int{}
	for _, r := range list {
		if per[r.Profile]++; per[r.Profile] > 3 {
			t.Errorf("%s redeemed it %d times", r.Profile, per[r.Profile])
		}
	}
}

// What was redeemed is told to the owners until they have it, also after a crash, and
// nothing of nobody.
func TestWhatWasRedeemedIsToldUntilItIsHeard(t *testing.T) {
	w := newWorld(t)
	w.coffee(func(o *engage.Offer) { o.Total = 5 })
	w.deaf = errors.New("the log is away")
	w.redeem("t1", "COFFEE", "redeemed", by("ada"))
	w.redeem("t2", "COFFEE", "redeemed")
	if err := w.TellAll(t.Context()); err == nil || w.Idle() {
		t.Fatalf("told: %v, idle %v", err, w.Idle())
	}
	w.crash()
	w.told, w.deaf = nil, nil
	if w.Idle() {
		t.Error("idle before it has looked")
	}
	if err := w.TellAll(t.Context()); err != nil || !w.Idle() {
		t.Fatalf("%v, idle %v", err, w.Idle())
	}
	var got []string
	for _, x := range w.told {
		if x.Workspace != "acme" {
			t.Errorf("told in %q", x.Workspace)
		}
		if x.Used != nil {
			got = append(got, fmt.Sprintf("%s used %d", x.Used.Offer, x.Used.Redeemed))
		} else {
			got = append(got, fmt.Sprintf("%s %s by %s", x.Redemption.Ref, x.Redemption.State, x.Redemption.Profile))
		}
	}
	slices.Sort(got)
	if want := "[coffee used 2 t1 redeemed by ada]"; fmt.Sprint(got) != want {
		t.Errorf("told %v, want %s", got, want)
	}
	w.told = nil
	if err := w.TellAll(t.Context()); err != nil || len(w.told) > 0 {
		t.Errorf("told again: %+v, %v", w.told, err)
	}
}

// A list is filtered and goes on at its cursor, and is of one workspace.
func TestRedemptionsAreListed(t *testing.T) {
	w := newWorld(t)
	w.coffee(nil)
	for i := range 5 {
		w.redeem(fmt.Sprint("t", i), "COFFEE", "redeemed", by(fmt.Sprint("p", i%2)), at([]string{"cafe", "bar"}[i%2]))
		w.clock.Advance(time.Minute)
	}
	refs := func(f redeem.Filter) (out []string) {
		t.Helper()
		for cursor := ""; ; {
			page, next, err := w.List(t.Context(), "acme", f, cursor, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page {
				out = append(out, r.Ref)
			}
			if cursor = next; cursor == "" {
				return out
			}
		}
	}
	for want, f := range map[string]redeem.Filter{
		"[t4 t3 t2 t1 t0]": {}, "[t3 t1]": {Place: "bar"}, "[t4 t2 t0]": {Profiles: []string{"x", "p0"}, Code: "coffee"},
		"[t2 t1]": {From: now.Add(time.Minute), Before: now.Add(3 * time.Minute)}, "[]": {State: engage.Voided},
	} {
		if got := fmt.Sprint(refs(f)); got != want {
			t.Errorf("%+v lists %s, want %s", f, got, want)
		}
	}
	if other, _, err := w.List(t.Context(), "beta", redeem.Filter{}, "", 10); err != nil || len(other) > 0 {
		t.Errorf("another workspace lists %v, %v", other, err)
	}
	if _, _, err := w.List(t.Context(), "acme", redeem.Filter{}, "no cursor", 10); engage.CodeOf(err) != engage.Invalid {
		t.Errorf("a bad cursor: %v", err)
	}
}

// Nothing grows for ever: redemptions and counts vanish in time, and codes with the pool
// when their offer has been over as long; the mark of a redeemed code lives until then.
func TestWhatIsOldIsForgotten(t *testing.T) {
	w := newWorld(t)
	o := w.gift("A-1", "B-2")
	w.reserve("d1", "A-1", "ada")
	first := w.redeem("t1", "A-1", "redeemed")
	w.clock.Advance(keep + time.Hour)
	if _, err := w.Redemption(t.Context(), "acme", first.ID); engage.CodeOf(err) != engage.NotFound {
		t.Errorf("still there: %v", err)
	}
	w.redeem("t2", "A-1", "already_redeemed")
	until := w.clock.Now()
	o.Until = &until
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.redeem("t3", "A-1", "already_redeemed")
	w.clock.Advance(keep + time.Hour)
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.redeem("t4", "A-1", "unknown_code")
	for _, collection := range []string{"offer_codes", "offer_pool"} {
		if n, err := w.store.Count(t.Context(), collection, store.Query{Workspace: "acme"}); err != nil || n > 1 { // the pool's size
			t.Errorf("%s has %d, %v", collection, n, err)
		}
	}
}
