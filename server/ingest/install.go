package ingest

import (
	"cmp"
	"container/list"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// purposes by their number on the wire.
var purposes = [...]engage.Purpose{
	sdkpb.Consent_PURPOSE_MARKETING:           engage.ConsentMarketing,
	sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND: engage.ConsentLocationForeground,
	sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND: engage.ConsentLocationBackground,
	sdkpb.Consent_PURPOSE_LOCATION_PRECISE:    engage.ConsentLocationPrecise,
	sdkpb.Consent_PURPOSE_PROFILING:           engage.ConsentProfiling,
}

// answer is the newest known answer to a purpose.
type answer struct {
	seq uint64 // of its item; that of the last logout, or 0, means that it is not known
	// yes is one more than the seq of the answer since which the person agrees; 0 means
	// that they do not. What has a lower seq was made without.
	yes uint64
}

func (a answer) granted() bool { return a.yes > 0 }

func (a answer) grantedAt(seq uint64) bool { return a.yes > 0 && seq >= a.yes-1 }

// view is what items are judged by. It is copied, changed by the items of a
// batch in their order, and takes effect when the log has taken the batch.
type view struct {
	answers    [len(purposes)]answer
	background bool
	positioned bool
	phaseSeq   uint64 // of the newest lifecycle item
	allowed    permissions

	position   geo.Point
	positionAt time.Time // by the corrected device clock; zero means from before this process
	accuracyM  float64   // 68 % radius; 0 means not given
	speedMPS   float64   // 0 means not given, too
	leftAt     time.Time // when the OS last said that the bubble was left, as positionAt; zero means never

	profile string // whose the install is
	from    uint64 // seq of the logout since which it is; 0 means that it always was
	proof   *proof // of who the person is, since then; nil means none
}

// proof says who has proven to be the person, as situate keeps it. It is never changed.
type proof struct {
	user string
	seq  uint64 // of the last one
}

// proved notes a proven user. Another one than before, without a logout between them,
// has the tablet that they share from that item on, as situate has it.
func (v *view) proved(user, next string, seq uint64) {
	switch {
	case seq < v.from:
	case v.proof == nil || v.proof.user == user:
		if v.proof == nil || seq > v.proof.seq {
			v.proof = &proof{user, seq}
		}
	case seq > v.proof.seq:
		v.logout(next, seq)
		v.proof = &proof{user, seq}
	}
}

// logout gives the install to another profile from an item's seq on. What is said of
// consents with a lower seq is an earlier person's, and no answer of this one.
func (v *view) logout(profile string, seq uint64) {
	if seq <= v.from {
		return // it came after a later one
	}
	v.profile, v.from = profile, seq
	v.proof = nil
	for i := range v.answers {
		if a := &v.answers[i]; a.seq <= seq {
			*a = answer{seq: seq}
		}
	}
	v.forgetPosition()
}

func (v *view) forgetPosition() {
	v.positioned, v.position, v.positionAt, v.accuracyM, v.speedMPS = false, geo.Point{}, time.Time{}, 0, 0
}

// permissions are what the person allows in the OS, as far as regions need it.
type permissions struct {
	seq       uint64 // of the newest item; 0 means from a hello, or from before this process
	location  sdkpb.Permissions_Location
	precision sdkpb.Permissions_Precision
}

// regions reports whether the OS may watch regions for the app: it needs location
// always, and precisely. Where the phone has not said, it may.
func (p permissions) regions() bool {
	switch p.location {
	case sdkpb.Permissions_LOCATION_NONE, sdkpb.Permissions_LOCATION_WHEN_IN_USE:
		return false
	}
	return p.precision != sdkpb.Permissions_PRECISION_REDUCED
}

func (v *view) granted(p sdkpb.Consent_Purpose) bool { return v.answers[p].granted() }

// grantedAt reports whether the person agrees now, and did when the item of that seq
// was made: a phone may send late what it noted before it had asked.
func (v *view) grantedAt(p sdkpb.Consent_Purpose, seq uint64) bool {
	return v.answers[p].grantedAt(seq)
}

// located reports whether the person agrees to location in any phase.
func (v *view) located() bool {
	return v.granted(sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND) || v.granted(sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND)
}

// mayLocate reports whether the person agrees to location in the app's phase, and did
// when the item of that seq was made.
func (v *view) mayLocate(seq uint64) bool {
	return v.grantedAt(sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, seq) ||
		!v.background && v.grantedAt(sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND, seq)
}

// install is what the gateway remembers of an install, over its connections.
type install struct {
	key      installKey
	entryKey string // of its log entries
	slot     *slot  // of its key
	// background and profile are those of view, for who must not wait; profile is nil
	// before the install is loaded.
	background atomic.Bool
	profile    atomic.Pointer[string]

	pace pace // of its items

	// Guarded by installs.mu.
	users   int           // sessions and POSTs; with any it is not forgotten
	element *list.Element // among the unused; nil while it is used

	// mu is held from judging a batch until the log has taken it, so that the
	// read copy changes in the order of the log.
	mu      sync.Mutex
	loaded  bool
	lastSeq atomic.Uint64 // the highest seen; written with mu
	view    view
	watch   watch

	// downMu guards what was sent under numbers; it may be taken with mu.
	downMu sync.Mutex
	down   *downlink // nil for an SDK that does not resume
}

// greeted is what a hello says.
func (in *install) greeted(h *sdkpb.Hello) {
	in.mu.Lock()
	defer in.mu.Unlock()
	v := &in.view
	v.background = h.GetLifecycle() == sdkpb.Lifecycle_STATE_BACKGROUND
	in.background.Store(v.background)
	if p := h.GetPermissions(); p != nil {
		in.allow(permissions{v.allowed.seq, p.GetLocation(), p.GetPrecision()})
	}
}

// seen notes the number of an item. Called with in.mu.
func (in *install) seen(seq uint64) { in.lastSeq.Store(max(in.lastSeq.Load(), seq)) }

// allow takes other permissions. With them the OS may have slots again.
func (in *install) allow(p permissions) {
	old := in.view.allowed
	in.view.allowed = p
	if old.location != p.location || old.precision != p.precision {
		w := &in.watch
		w.free, w.refused, w.again = geo.AllFree, nil, true
	}
}

// take makes a judged view the one in effect, and reports whether the install is
// another person's by it. Called with in.mu.
func (in *install) take(v *view) (loggedOut bool) {
	in.allow(v.allowed)
	loggedOut = in.view.profile != v.profile
	in.view = *v
	in.background.Store(v.background)
	if loggedOut {
		profile := v.profile
		in.profile.Store(&profile)
	}
	return loggedOut
}

// left drops what the phone was sent for the person who has logged out, so that it is
// not sent again. Called with in.mu.
func (x *installs) left(in *install) {
	for _, t := range []topic{topicInbox, topicMessage, topicInApp} {
		x.told(in, t)
	}
}

// owner is the profile whose an install is, by the newest that this process has given
// to the log; ok is false for one that it does not remember.
func (x *installs) owner(workspace, id string) (profile string, ok bool) {
	x.mu.Lock()
	in := x.byKey[installKey{workspace, id}]
	x.mu.Unlock()
	if in == nil {
		return "", false
	}
	p := in.profile.Load()
	if p == nil {
		return "", false
	}
	return *p, true
}

// Owner is the profile whose an install is. A logout counts as soon as the log has
// taken it, before the phone has heard so.
func (g *Gateway) Owner(ctx context.Context, workspace, install string) (string, error) {
	if p, ok := g.installs.owner(workspace, install); ok {
		return p, nil
	}
	known, err := g.o.Installs.Install(ctx, workspace, install)
	if err != nil {
		return "", fmt.Errorf("whose install: %w", err)
	}
	return known.profileOf(workspace, install), nil
}

// profileOf is the profile of an install that may not be known.
func (known *Install) profileOf(workspace, install string) string {
	if known.Profile != "" {
		return known.Profile
	}
	return engage.ProfileID(workspace, install)
}

// installs remembers installs: those in use, and the most recently used others.
type installs struct {
	source Installs
	most   int
	slots  *[engage.Slots]slot
	// unacked counts the bytes of frames that phones have not acknowledged, and
	// mostUnacked bounds them.
	unacked     atomic.Int64
	mostUnacked int64

	mu     sync.Mutex
	byKey  map[installKey]*install
	unused *list.List // of *install, the most recently used first
}

func newInstalls(source Installs, most int, mostUnacked int64, slots *[engage.Slots]slot) *installs {
	return &installs{source: source, most: most, mostUnacked: mostUnacked, slots: slots, byKey: map[installKey]*install{}, unused: list.New()}
}

func (x *installs) slotOf(workspace, id string) *slot {
	return &x.slots[engage.SlotOf(engage.InstallKey(workspace, id))]
}

// acquire returns the install, which is remembered at least until its release.
func (x *installs) acquire(ctx context.Context, workspace, id string) (*install, error) {
	key := installKey{workspace, id}
	x.mu.Lock()
	in := x.byKey[key]
	if in == nil {
		in = &install{key: key, entryKey: engage.InstallKey(workspace, id), slot: x.slotOf(workspace, id)}
		x.byKey[key] = in
	}
	in.users++
	if in.element != nil {
		x.unused.Remove(in.element)
		in.element = nil
	}
	x.mu.Unlock()
	if err := in.load(ctx, x.source); err != nil {
		x.release(in)
		return nil, fmt.Errorf("load install: %w", err)
	}
	return in, nil
}

func (x *installs) release(in *install) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if in.users--; in.users > 0 {
		return
	}
	in.element = x.unused.PushFront(in)
	for x.unused.Len() > x.most {
		old, _ := x.unused.Remove(x.unused.Back()).(*install)
		delete(x.byKey, old.key)
		old.downMu.Lock()
		x.forgetDown(old)
		old.downMu.Unlock()
	}
}

// missed notes that there is something for the inbox of an install that its session,
// if there is one, has not told.
func (x *installs) missed(key installKey) {
	x.mu.Lock()
	in := x.byKey[key]
	x.mu.Unlock()
	if in == nil {
		return
	}
	in.downMu.Lock()
	defer in.downMu.Unlock()
	if in.down != nil {
		in.down.missed = true
	}
}

// crowded reports whether what phones have not acknowledged is near its bound.
func (x *installs) crowded() bool { return x.unacked.Load() > x.mostUnacked-x.mostUnacked/10 }

func (in *install) load(ctx context.Context, source Installs) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.loaded {
		return nil
	}
	known, err := source.Install(ctx, in.key.workspace, in.key.install)
	if err != nil {
		return err
	}
	in.loaded = true
	in.lastSeq.Store(known.LastSeq)
	in.view.profile, in.view.from = cmp.Or(known.Spoken, known.profileOf(in.key.workspace, in.key.install)), known.From
	if known.User != "" {
		in.view.proof = &proof{known.User, known.UserTo}
	}
	profile := in.view.profile
	in.profile.Store(&profile)
	for i, p := range purposes {
		in.view.answers[i].seq = known.From
		if p != "" {
			a := &in.view.answers[i]
			a.seq = max(a.seq, known.Answered[p].Seq)
			if known.Consents[p] {
				a.yes = known.Answered[p].Since + 1
			}
		}
	}
	in.view.background = known.Background
	in.background.Store(known.Background)
	in.view.allowed = permissions{location: known.Location, precision: known.Precision}
	if known.Position != nil && in.view.located() {
		in.view.position, in.view.positioned = *known.Position, true
		in.view.accuracyM = known.AccuracyM
	}
	in.watch.platform, in.watch.caps = geo.Platform(known.Platform), caps{bubble: true}
	in.watch.begin()
	return nil
}
