package catalog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
	"github.com/footfall-engage/footfall/server/rules"
)

const by = "tester"

var (
	t0   = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	shop = geo.Point{Lat: 52.3731, Lng: 4.8922}
)

func open(t *testing.T, log eventlog.Log) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(t.Context(), catalog.Options{Log: log, Clock: clock.NewManual(t0), Compile: decide.Compile})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fresh is a catalogue in memory with the workspaces acme and rival.
func fresh(t *testing.T) *catalog.Catalog {
	t.Helper()
	c := open(t, new(eventlogtest.Memory).Open())
	seed(t, c)
	return c
}

func seed(t *testing.T, c *catalog.Catalog) {
	t.Helper()
	for _, id := range []string{"acme", "rival"} {
		must(t, c.PutWorkspace(t.Context(), by, &catalog.Workspace{ID: id, Name: id, Attributes: map[string]rules.Type{"tier": rules.String}}, 0))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError holds an error to its code and field.
func wantError(t *testing.T, what string, err error, code engage.Code, field string) {
	t.Helper()
	var e *engage.Error
	if !errors.As(err, &e) || e.Code != code || e.Field != field || e.Msg == "" {
		t.Errorf("%s: %v, want %s of %q with a reason", what, err, code, field)
	}
}

func place(workspace, id string, fences ...string) *engage.Place {
	p := &engage.Place{ID: id, Workspace: workspace, Name: "Place " + id, Location: shop}
	if len(fences) == 0 {
		fences = []string{id + "-in"}
	}
	for _, f := range fences {
		p.Geofences = append(p.Geofences, engage.Geofence{ID: f, Ring: engage.Inside, Shape: geo.Circle{Around: shop, RadiusM: 100}})
	}
	return p
}

func campaign(workspace, id string, change ...func(*engage.Campaign)) *engage.Campaign {
	c := &engage.Campaign{
		ID: id, Workspace: workspace, Name: "Campaign " + id, Class: engage.Marketing, Status: engage.Draft,
		Trigger: engage.CampaignTrigger{Type: engage.TriggerPlace, Transition: engage.Enter},
		Arms:    []engage.Arm{{ID: "a", Message: engage.Content{Title: "hi"}}},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func app(workspace, id, key string) *catalog.App {
	return &catalog.App{ID: id, Workspace: workspace, Name: id, Platform: "android", Key: key}
}

// dump is a snapshot in one text.
func dump(t *testing.T, s *catalog.Snapshot) string {
	t.Helper()
	out := map[string]any{"revision": s.Revision, "workspaces": s.Workspaces}
	for _, w := range []string{"acme", "rival"} {
		out[w] = []any{s.Places(w), s.Campaigns(w), s.Apps(w), s.Keys(w)}
	}
	b, err := json.Marshal(out)
	must(t, err)
	return string(b)
}

func TestEveryRevisionIsWhatItWasAlsoAfterReopening(t *testing.T) {
	dir := t.TempDir()
	openLog := func() *eventlog.JetStream {
		log, err := eventlog.OpenEmbedded(t.Context(), eventlog.EmbeddedOptions{Dir: dir})
		must(t, err)
		return log
	}
	log := openLog()
	c := open(t, log)
	ctx := t.Context()
	then := []string{dump(t, c.Now())}
	step := func(err error) {
		t.Helper()
		must(t, err)
		if got := c.Latest(); got != uint64(len(then)) {
			t.Fatalf("revision %d, want %d", got, len(then))
		}
		then = append(then, dump(t, c.Now()))
	}
	step(c.PutWorkspace(ctx, by, &catalog.Workspace{ID: "acme", Name: "Acme"}, 0))
	step(c.PutWorkspace(ctx, by, &catalog.Workspace{ID: "rival", Name: "Rival"}, 0))
	step(c.PutPlace(ctx, by, place("acme", "cafe"), 0))
	step(c.PutCampaign(ctx, by, campaign("acme", "rainy", func(c *engage.Campaign) { c.Trigger.Places = []string{"cafe"} }), 0))
	moved := place("acme", "cafe", "door", "terrace")
	moved.Location.Lat++
	step(c.PutPlace(ctx, by, moved, 1))
	key, _ := catalog.NewKey("acme", "console", catalog.Admin)
	step(c.PutKey(ctx, by, key, 0))
	step(c.PutApp(ctx, by, app("acme", "shop", "ffa_0123456789"), 0))
	step(c.PutApp(ctx, by, app("acme", "shop", "ffa_9876543210"), 1))
	step(c.DeleteCampaign(ctx, by, "acme", "rainy", 1))
	step(c.DeletePlace(ctx, by, "acme", "cafe", 2))
	step(c.DeleteKey(ctx, by, "acme", key.ID, catalog.AnyVersion))
	check := func(when string) {
		t.Helper()
		for rev, was := range slices.Backward(then) { // more than are kept in memory
			s, err := c.At(uint64(rev))
			must(t, err)
			if got := dump(t, s); got != was || s.Revision != uint64(rev) {
				t.Errorf("%s: revision %d is\n%s, was\n%s", when, rev, got, was)
			}
		}
		if _, err := c.At(uint64(len(then))); err == nil {
			t.Errorf("%s: a revision of the future is known", when)
		}
		if n := len(c.History("acme", catalog.Places, "cafe")); n != 3 {
			t.Errorf("%s: %d revisions of the place", when, n)
		}
	}
	check("while open")
	check("again")
	must(t, log.Close())
	log = openLog()
	c = open(t, log)
	check("after reopening")
	// And it goes on from there.
	step(c.PutPlace(ctx, by, place("acme", "bar"), 0))
	check("after going on")
	must(t, log.Close())
}

func TestAStaleVersionIsRefused(t *testing.T) {
	c := fresh(t)
	ctx := t.Context()
	first := place("acme", "cafe")
	must(t, c.PutPlace(ctx, by, first, 0))
	if first.Version != 1 || !first.UpdatedAt.Equal(t0) {
		t.Errorf("version %d of %v", first.Version, first.UpdatedAt)
	}
	wantError(t, "again as new", c.PutPlace(ctx, by, place("acme", "cafe"), 0), engage.Conflict, "id")
	wantError(t, "one that is not there", c.PutPlace(ctx, by, place("acme", "bar"), 1), engage.NotFound, "id")
	must(t, c.PutPlace(ctx, by, place("acme", "cafe"), 1))
	stale := place("acme", "cafe")
	stale.Version = 1
	wantError(t, "an edit of what somebody else changed", c.PutPlace(ctx, by, stale, 1), engage.Conflict, "version")
	if stale.Version != 1 || !stale.UpdatedAt.IsZero() {
		t.Errorf("a refused document has version %d of %v", stale.Version, stale.UpdatedAt)
	}
	wantError(t, "a delete of what somebody else changed", c.DeletePlace(ctx, by, "acme", "cafe", 1), engage.Conflict, "version")
	wantError(t, "a delete of nothing", c.DeletePlace(ctx, by, "acme", "bar", catalog.AnyVersion), engage.NotFound, "id")
	must(t, c.PutPlace(ctx, by, place("acme", "cafe"), catalog.AnyVersion))
	if v := c.Now().Place("acme", "cafe").Version; v != 3 {
		t.Errorf("version %d, want 3", v)
	}

	// A version names one content only, also over a deletion.
	must(t, c.DeletePlace(ctx, by, "acme", "cafe", 3))
	wantError(t, "a delete of what is deleted", c.DeletePlace(ctx, by, "acme", "cafe", 3), engage.NotFound, "id")
	wantError(t, "an edit of what is deleted", c.PutPlace(ctx, by, place("acme", "cafe"), 3), engage.NotFound, "id")
	must(t, c.PutPlace(ctx, by, place("acme", "cafe"), 0))
	if v := c.Now().Place("acme", "cafe").Version; v != 5 {
		t.Errorf("version %d after delete and create, want 5", v)
	}
}

func TestOfConcurrentEditsExactlyOneWins(t *testing.T) {
	c := fresh(t)
	must(t, c.PutPlace(t.Context(), by, place("acme", "cafe"), 0))
	changed := c.Changed()
	for version := int64(1); version < 4; version++ {
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				p := place("acme", "cafe")
				p.Name = fmt.Sprint(i)
				switch err := c.PutPlace(t.Context(), by, p, version); engage.CodeOf(err) {
				case "":
					won.Add(1)
				case engage.Conflict:
				default:
					t.Error(err)
				}
				_ = dump(t, c.Now()) // readers see a whole snapshot
				if _, err := c.At(c.Latest() - 1); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || c.Now().Place("acme", "cafe").Version != version+1 {
			t.Errorf("%d edits of version %d won", won.Load(), version)
		}
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the change")
	}
}

func TestGeofenceIDsBelongToOnePlaceOfAWorkspace(t *testing.T) {
	c := fresh(t)
	ctx := t.Context()
	must(t, c.PutPlace(ctx, by, place("acme", "cafe", "f1", "f2"), 0))
	wantError(t, "taken", c.PutPlace(ctx, by, place("acme", "bar", "f0", "f2"), 0), engage.Conflict, "geofences[1].id")
	must(t, c.PutPlace(ctx, by, place("rival", "bar", "f2"), 0)) // another workspace
	must(t, c.PutPlace(ctx, by, place("acme", "cafe", "f1"), 1)) // its own again, and f2 given up
	must(t, c.PutPlace(ctx, by, place("acme", "bar", "f2"), 0))
	wantError(t, "given up and taken", c.PutPlace(ctx, by, place("acme", "cafe", "f2"), 2), engage.Conflict, "geofences[0].id")
	must(t, c.DeletePlace(ctx, by, "acme", "bar", 1))
	must(t, c.PutPlace(ctx, by, place("acme", "cafe", "f2"), 2))
}

func TestWhatIsWrongIsRefusedWithItsField(t *testing.T) {
	c := fresh(t)
	ctx := t.Context()
	must(t, c.PutPlace(ctx, by, place("rival", "theirs"), 0))
	rule := func(s string) func(*engage.Campaign) {
		return func(c *engage.Campaign) { c.Audience = json.RawMessage(s) }
	}
	for field, change := range map[string]func(*engage.Campaign){
		"trigger.places[0]":      func(c *engage.Campaign) { c.Trigger.Places = []string{"theirs"} }, // of another workspace
		"audience.field":         rule(`{"field":"attributes.nope","op":"eq","value":1}`),
		"audience.any[1].op":     rule(`{"any":[{"field":"visits","op":"ge","value":1},{"field":"attributes.tier","op":"gt","value":"x"}]}`),
		"arms[0].message.title":  func(c *engage.Campaign) { c.Arms[0].Message.Title = "{{ name" },
		"arms[0].message.body":   func(c *engage.Campaign) { c.Arms[0].Message.Body = `{% include "/etc/passwd" %}` },
		"limits.quiet_hours.end": func(c *engage.Campaign) { c.Limits.Quiet = &engage.QuietHours{Start: "10:00", End: "10:00"} },
		"status":                 func(c *engage.Campaign) { c.Status = engage.Ended },
		"id":                     func(c *engage.Campaign) { c.ID = "../x" },
		"arms[0].id":             func(c *engage.Campaign) { c.Arms[0].ID = engage.HoldoutArm },
	} {
		err := c.PutCampaign(ctx, by, campaign("acme", "x", change), 0)
		wantError(t, field, err, engage.Invalid, field)
	}
	for field, change := range map[string]func(*engage.Place){
		"geofences[0].geometry.radius": func(p *engage.Place) { p.Geofences[0].Shape = geo.Circle{Around: shop, RadiusM: -1} },
		"location.lat":                 func(p *engage.Place) { p.Location.Lat = 91 },
		"time_zone":                    func(p *engage.Place) { p.TimeZone = "Mars/Base" },
		"geofences[1].id":              func(p *engage.Place) { p.Geofences = append(p.Geofences, p.Geofences[0]) },
	} {
		p := place("acme", "x")
		change(p)
		wantError(t, field, c.PutPlace(ctx, by, p, 0), engage.Invalid, field)
	}
	for field, a := range map[string]*catalog.App{
		"key":       app("acme", "x", "short"),
		"platform":  {ID: "x", Workspace: "acme", Key: "ffa_0123456789"},
		"fcm":       {ID: "x", Workspace: "acme", Key: "ffa_0123456789", Platform: "android", FCM: &catalog.FCM{}},
		"apns":      {ID: "x", Workspace: "acme", Key: "ffa_0123456789", Platform: "ios", BundleID: "b", APNs: &catalog.APNs{}},
		"bundle_id": {ID: "x", Workspace: "acme", Key: "ffa_0123456789", Platform: "ios", APNs: &catalog.APNs{TeamID: "t", KeyID: "k", PrivateKey: "s"}},
	} {
		wantError(t, field, c.PutApp(ctx, by, a, 0), engage.Invalid, field)
	}
	wantError(t, "unknown workspace", c.PutPlace(ctx, by, place("nope", "x"), 0), engage.NotFound, "workspace")
	wantError(t, "system workspace", c.PutWorkspace(ctx, by, &catalog.Workspace{ID: engage.SystemWorkspace}, 0), engage.Invalid, "id")
	wantError(t, "attribute type", c.PutWorkspace(ctx, by, &catalog.Workspace{ID: "w", Attributes: map[string]rules.Type{"a": "blob"}}, 0), engage.Invalid, "attributes.a")
	wantError(t, "key role", c.PutKey(ctx, by, &catalog.Key{ID: "k", Workspace: "acme", Role: "god", Hash: strings.Repeat("0", 64)}, 0), engage.Invalid, "role")
	if c.Latest() != 3 {
		t.Errorf("revision %d: something refused was kept", c.Latest())
	}
}

func TestWhatIsInUseStays(t *testing.T) {
	c := fresh(t)
	ctx := t.Context()
	must(t, c.PutPlace(ctx, by, place("acme", "cafe"), 0))
	live := func(status engage.Status) *engage.Campaign {
		return campaign("acme", "x", func(c *engage.Campaign) {
			c.Status, c.Trigger.Places = status, []string{"cafe"}
			c.Audience = json.RawMessage(`{"field":"attributes.tier","op":"eq","value":"gold"}`)
		})
	}
	must(t, c.PutCampaign(ctx, by, live(engage.Live), 0))
	wantError(t, "a place that a campaign names", c.DeletePlace(ctx, by, "acme", "cafe", 1), engage.Conflict, "id")
	wantError(t, "an attribute that a campaign asks about",
		c.PutWorkspace(ctx, by, &catalog.Workspace{ID: "acme", Name: "x"}, 1), engage.Conflict, "attributes")
	must(t, c.PutWorkspace(ctx, by, &catalog.Workspace{ID: "rival", Name: "x"}, 1))
	wantError(t, "a live campaign", c.DeleteCampaign(ctx, by, "acme", "x", 1), engage.Conflict, "status")
	wantError(t, "back to draft", c.PutCampaign(ctx, by, live(engage.Draft), 1), engage.Invalid, "status")
	must(t, c.PutCampaign(ctx, by, live(engage.Paused), 1))
	must(t, c.PutCampaign(ctx, by, live(engage.Ended), 2))
	wantError(t, "an ended campaign", c.PutCampaign(ctx, by, live(engage.Live), 3), engage.Conflict, "status")
	must(t, c.DeletePlace(ctx, by, "acme", "cafe", 1))
	must(t, c.PutWorkspace(ctx, by, &catalog.Workspace{ID: "acme", Name: "x"}, 1))
	must(t, c.PutCampaign(ctx, by, campaign("acme", "y"), 0))
	must(t, c.DeleteCampaign(ctx, by, "acme", "y", 1))
}

func TestWorkspacesSeeNothingOfEachOther(t *testing.T) {
	c := fresh(t)
	ctx := t.Context()
	must(t, c.PutPlace(ctx, by, place("acme", "cafe"), 0))
	must(t, c.PutCampaign(ctx, by, campaign("acme", "x"), 0))
	must(t, c.PutApp(ctx, by, app("acme", "shop", "ffa_0123456789"), 0))
	key, token := catalog.NewKey("acme", "k", catalog.Admin)
	must(t, c.PutKey(ctx, by, key, 0))
	s := c.Now()
	if s.Place("rival", "cafe") != nil || s.Campaign("rival", "x") != nil || s.App("rival", "shop") != nil ||
		len(s.Places("rival"))+len(s.Campaigns("rival"))+len(s.Apps("rival"))+len(s.Keys("rival")) != 0 {
		t.Error("the other workspace sees something")
	}
	for what, err := range map[string]error{
		"place":    c.DeletePlace(ctx, by, "rival", "cafe", 1),
		"campaign": c.DeleteCampaign(ctx, by, "rival", "x", 1),
		"key":      c.DeleteKey(ctx, by, "rival", key.ID, catalog.AnyVersion),
	} {
		wantError(t, "delete a "+what+" of another workspace", err, engage.NotFound, "id")
	}
	// A key's id is known from its token: another workspace must not take it over.
	theirs, _ := catalog.NewKey("rival", "k", catalog.Admin)
	theirs.ID = key.ID
	wantError(t, "a key's id", c.PutKey(ctx, by, theirs, 0), engage.Conflict, "id")
	if k := c.Now().KeyByToken(token.Reveal()); k == nil || k.Workspace != "acme" {
		t.Errorf("the token is now of %+v", k)
	}
	if h := c.History("rival", catalog.Places, "cafe"); len(h) != 0 {
		t.Errorf("history %v", h)
	}
	must(t, c.PutPlace(ctx, by, place("rival", "cafe"), 0)) // the same id, another place
	if c.Now().Place("acme", "cafe").Workspace != "acme" {
		t.Error("one workspace's place replaced another's")
	}
}

func TestAppKeysAreUniqueOnTheServer(t *testing.T) {
	c := fresh(t)
	ctx := t.Context()
	one, two := catalog.NewAppKey(), catalog.NewAppKey()
	must(t, c.PutApp(ctx, by, app("acme", "shop", one), 0))
	wantError(t, "in the workspace", c.PutApp(ctx, by, app("acme", "other", one), 0), engage.Conflict, "key")
	wantError(t, "in another", c.PutApp(ctx, by, app("rival", "shop", one), 0), engage.Conflict, "key")
	must(t, c.PutApp(ctx, by, app("acme", "shop", one), 1)) // its own
	must(t, c.PutApp(ctx, by, app("acme", "shop", two), 2)) // rotated
	s := c.Now()
	if s.AppByKey(one) != nil || s.AppByKey(two) == nil || s.AppByKey(two).ID != "shop" || s.AppByKey("") != nil {
		t.Error("the keys do not name the app")
	}
	must(t, c.PutApp(ctx, by, app("rival", "shop", one), 0))
}

func TestTokens(t *testing.T) {
	c := fresh(t)
	key, token := catalog.NewKey("acme", "console", catalog.Viewer)
	must(t, c.PutKey(t.Context(), by, key, 0))
	s := c.Now()
	if k := s.KeyByToken(token.Reveal()); k == nil || k.ID != key.ID || k.Role != catalog.Viewer {
		t.Errorf("the token gives %+v", k)
	}
	text := token.Reveal()
	for _, bad := range []string{"", "ffk_", "ffk_" + key.ID, "ffk_" + key.ID + "_", text + "0", text[:len(text)-1], strings.ToUpper(text), key.Hash, "ffa_" + text[4:]} {
		if s.KeyByToken(bad) != nil {
			t.Errorf("%q is taken for the token", bad)
		}
	}
	if strings.Contains(dump(t, s), text) || strings.Contains(fmt.Sprint(token), text) {
		t.Error("the token is kept or printed")
	}
	if !catalog.Matches(key.Hash, text) || catalog.Matches(key.Hash, text+"x") || catalog.Matches("", text) || catalog.Matches(key.Hash, "") {
		t.Error("Matches is wrong")
	}
	must(t, c.DeleteKey(t.Context(), by, "acme", key.ID, 1))
	if c.Now().KeyByToken(text) != nil {
		t.Error("a revoked token is good")
	}
	if s.KeyByToken(text) == nil {
		t.Error("an old snapshot has changed")
	}
}

func TestSealedSecrets(t *testing.T) {
	one, err := catalog.NewSealer(bytes.Repeat([]byte{1}, 32))
	must(t, err)
	two, err := catalog.NewSealer(bytes.Repeat([]byte{2}, 32))
	must(t, err)
	sealed := one.Seal("s3cret")
	if strings.Contains(string(sealed), "s3cret") || sealed == one.Seal("s3cret") {
		t.Error("the secret shows, or is sealed the same way twice")
	}
	if got, err := one.Open(sealed); err != nil || got.Reveal() != "s3cret" {
		t.Errorf("opened %q, %v", got.Reveal(), err)
	}
	if _, err := two.Open(sealed); engage.CodeOf(err) != engage.Internal || !strings.Contains(err.Error(), "another key") {
		t.Errorf("with another key: %v", err)
	}
	broken := []byte(sealed)
	broken[len(broken)-5] ^= 1
	for _, bad := range []catalog.Sealed{"v1:", "v1:AAAA", "v2:" + sealed[3:], sealed[3:], "v1:???", catalog.Sealed(broken)} {
		if got, err := one.Open(bad); err == nil {
			t.Errorf("%q was opened: %q", bad, got.Reveal())
		}
	}
	if one.Seal("") != "" {
		t.Error("no secret is sealed to something")
	}
	if got, err := one.Open(""); err != nil || got != "" {
		t.Errorf("nothing opens to %q, %v", got.Reveal(), err)
	}
	for _, n := range []int{0, 16, 24, 31, 33} {
		if _, err := catalog.NewSealer(make([]byte, n)); engage.CodeOf(err) != engage.Invalid {
			t.Errorf("a key of %d bytes: %v", n, err)
		}
	}
}

// doubtful is a log whose appends can go unanswered.
type doubtful struct {
	eventlog.Log
	mode *string // "" works, "lost" does not land, "landed" lands and is not answered
}

type doubtfulStream struct {
	eventlog.Stream
	mode *string
}

func (d doubtful) Open(ctx context.Context, name string, subjects ...string) (eventlog.Stream, error) {
	s, err := d.Log.Open(ctx, name, subjects...)
	return doubtfulStream{s, d.mode}, err
}

func (d doubtfulStream) Append(ctx context.Context, subject string, data []byte, expectedLast int64) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if *d.mode == "lost" {
		return 0, errors.New("no answer")
	}
	seq, err := d.Stream.Append(ctx, subject, data, expectedLast)
	if *d.mode == "landed" {
		return 0, errors.New("no answer")
	}
	return seq, err
}

func TestAnAppendThatIsNotAnsweredLeavesNoDoubtForLong(t *testing.T) {
	mode := ""
	memory := new(eventlogtest.Memory)
	c := open(t, doubtful{memory.Open(), &mode})
	seed(t, c)
	ctx := t.Context()
	for i, m := range []string{"lost", "landed", "lost", "landed"} {
		mode = m
		id := fmt.Sprint("p", i)
		p := place("acme", id)
		wantError(t, m, c.PutPlace(ctx, by, p, 0), engage.Unavailable, "")
		if p.Version != 0 || c.Now().Place("acme", id) != nil {
			t.Errorf("%s: version %d is told as true", m, p.Version)
		}
		mode = ""
		err := c.PutPlace(ctx, by, place("acme", id), 0) // as somebody does who tries again
		if m == "lost" {
			must(t, err)
		} else {
			wantError(t, "again", err, engage.Conflict, "id")
		}
		if got := c.Now().Place("acme", id); got == nil || got.Version != 1 {
			t.Errorf("%s: it is %+v", m, got)
		}
	}
	// Another writer that should not be there is noticed, and caught up with.
	other := open(t, memory.Open())
	must(t, other.PutPlace(ctx, by, place("acme", "theirs"), 0))
	wantError(t, "behind", c.PutPlace(ctx, by, place("acme", "ours"), 0), engage.Unavailable, "")
	must(t, c.PutPlace(ctx, by, place("acme", "ours"), 0))
	if c.Now().Place("acme", "theirs") == nil || dump(t, open(t, memory.Open()).Now()) != dump(t, c.Now()) {
		t.Error("the catalogue is not what its log says")
	}
	// Whoever asked and went away does not leave the change in doubt.
	gone, cancel := context.WithCancel(ctx)
	cancel()
	must(t, c.PutPlace(gone, by, place("acme", "late"), 0))
}

func TestALogThatCannotBeReadIsAnError(t *testing.T) {
	for _, bad := range []string{"{", `{"v":2}`, `{"v":1,"kind":"planet"}`, `{"v":1,"kind":"place","id":"x","workspace":"acme","version":1,"body":{"geofences":[{"id":"f"}]}}`} {
		log := new(eventlogtest.Memory).Open()
		s, err := log.Open(t.Context(), catalog.Stream, "config.>")
		must(t, err)
		_, err = s.Append(t.Context(), "config.acme", []byte(bad), 0)
		must(t, err)
		_, err = catalog.Open(t.Context(), catalog.Options{Log: log, Clock: clock.NewManual(t0), Compile: decide.Compile})
		if err == nil || !strings.Contains(err.Error(), "revision 1") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
