// Package situate turns what phones report into moments: it owns the state of
// each install, drops what it has seen before, enforces the person's consent by
// the order of the log, and finds the places that the install enters and leaves.
// It is a pure step (engage.Machine) that a partition of kind "in" runs.
//
// In: sessions (who the phone says it is), items, dead tokens, weather, how full places are. Out, to
// the profile's partition: devices, preferences, consents, identifications,
// receipts, and triggers with the weather there, or the word that it is absent.
//
// # An item takes effect once
//
// (install, seq) is the key. The state keeps the accepted sequence numbers as
// intervals, so items may come in any order; beyond maxIntervals holes the oldest
// hole is closed, and what would have filled it is dropped.
//
// # Where the install is
//
// Fixes, the OS's words about regions, beacons and silence are evidence that
// geo.Tracker orders by the time when it happened and turns into transitions and
// visits (presence.go); its documentation has the rules. All geofences of a place
// share a visit, whose id comes from (workspace, install, place, seq of the first
// evidence) and stays. Transitions go to the profile as triggers, as they become
// known and never taken back; what became known too late is marked stale, and
// nothing is sent for it. Visits go to the history when they begin, end or are
// corrected, and so do tracks: the fixes themselves, by the hour.
//
// Beacons are also told by themselves, where a campaign listens (heard.go): each that
// stands at a place when it is heard first, when the phone judges it near, and when it is
// lost, by the phone's word or by silence. What is lost and heard again within minutes is
// the same occasion.
//
// What silence means (a dwell without news, a beacon that is gone, a phone that
// went dark) the partition's timer asks, so that a replay has the same answer. A
// session counts as live from the entry that began it to the one that ended it, but
// no longer than an hour after the last item. A phone whose app may not use the
// location always cannot tell of leaving: its visits end after an hour of silence.
//
// Of devices, preferences and coarse cells the last in the log counts.
//
// # Consent
//
// A fix or an OS region event counts if the location consent for the app's phase
// stands before it in the log, and stood when it was made: one of a seq below the
// answer from which on the consent stands was made without it, and comes late. Of two
// answers to one purpose the one with the higher seq, which the person gave last, is
// in force. Without location_precise a fix is kept as a coarse
// cell and makes no transitions. Withdrawing the last location consent ends the
// open visits and forgets the position; tracks up to then are history.
//
// # Push tokens
//
// A token that a provider calls dead stays, marked, and lives again when the app gives
// it again; what the provider says of a time before that is too late to count. Where a
// token was found to live (APNs' production or sandbox) stands until the app has
// another. The tokens of Live Activities live and die alike (live.go), and go with the
// person or the phone. One that another install of the app registers is dead to this one
// (tokens.go): each token has an owner, a state of its own that knows the newest
// registration. Tokens may come from a file, for installs that no app speaks for yet.
//
// # Logout
//
// Who proves to be another user than the one who did so before, without a logout between
// them, has the tablet that they share from there on: that is a logout, too.
//
// A logout gives the install to a new profile from its seq on: no consent goes over,
// so the visits end and the position is forgotten. Late items of lower seq are the
// earlier person's: what they say goes to that profile and changes nothing of the
// install, and positions among them are dropped, since the consent that they need is
// gone from here. The phone itself (push token, permissions) stays, whoever says
// something of it.
package situate

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// CoarseResolution is the H3 resolution of positions that are kept without the
// consent to precise ones (about 5 km²).
const CoarseResolution = 7

// Machine is the step. It has no state of its own.
type Machine struct{}

// Decode implements engage.Machine.
func (Machine) Decode(key string, body []byte) (engage.State, error) {
	switch id := engage.IDOf(key); {
	case strings.HasPrefix(id, "w:"):
		w := &Weather{}
		return w, decode(body, w, &w.V)
	case strings.HasPrefix(id, "o:"):
		o := &Occupancy{}
		return o, decode(body, o, &o.V)
	case strings.HasPrefix(id, "t:"):
		x := &Slot{}
		return x, decode(body, x, &x.V)
	}
	return decodeInstall(body)
}

func decode(body []byte, into any, v *int) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if *v != 1 {
		return fmt.Errorf("state: version %d is not known", *v)
	}
	return nil
}

// Apply implements engage.Machine.
func (Machine) Apply(tx engage.Tx, e engage.Entry) error {
	switch e.Kind {
	case engage.KindWeather:
		return applyWeather(tx, e)
	case engage.KindOccupancy:
		return applyOccupancy(tx, e)
	case engage.KindTokenClaim:
		return applyClaim(tx, e)
	case engage.KindSession, engage.KindSessionEnd, engage.KindItem, engage.KindUnproven,
		engage.KindTokenDead, engage.KindTokenEnv, engage.KindTokenImport, engage.KindGiveInstall, engage.KindErase, engage.KindTimer:
	default:
		return engage.Errorf(engage.Unsupported, "kind", "situate knows no entry of kind %q", e.Kind)
	}
	in, err := edit(tx, e)
	if err != nil {
		return err
	}
	if in == nil {
		return nil
	}
	s := steps.Get().(*step) //nolint:forcetypeassert // the pool has nothing else
	defer s.done()
	*s = step{tx: tx, e: e, in: in, ws: e.Workspace(), config: noPlaces, profile: in.Profile}
	if c, _ := tx.Config(); c != nil {
		if w := c.(*Config).workspaces[s.ws]; w != nil { //nolint:forcetypeassert // app gives partitions of this kind nothing else
			s.config = w
		}
	}
	switch e.Kind {
	case engage.KindSession:
		return s.session()
	case engage.KindSessionEnd:
		return s.sessionEnd()
	case engage.KindTokenDead:
		return s.tokenDead()
	case engage.KindTokenEnv:
		return s.tokenEnvironment()
	case engage.KindTokenImport:
		return s.tokenImport()
	case engage.KindGiveInstall:
		return s.given()
	case engage.KindErase:
		return s.erase()
	case engage.KindTimer:
		return s.timer()
	default:
		return s.item()
	}
}

// edit gives the install's state to change, a new one if there is none; nil when
// the entry is one that concerns only an install that is there.
func edit(tx engage.Tx, e engage.Entry) (*Install, error) {
	st, err := tx.Edit(e.Key)
	if err != nil {
		return nil, err
	}
	if st != nil {
		return st.(*Install), nil //nolint:forcetypeassert // Decode gives nothing else for this key
	}
	switch e.Kind {
	case engage.KindTokenDead, engage.KindTokenEnv, engage.KindGiveInstall, engage.KindSessionEnd, engage.KindErase, engage.KindTimer:
		return nil, nil
	}
	ws, install := e.Workspace(), engage.IDOf(e.Key)[len("i:"):]
	in := &Install{
		V: 2, Install: install, Profile: engage.ProfileID(ws, install),
	}
	in.Device.Install = install
	in.Imported = e.Kind == engage.KindTokenImport
	tx.Put(e.Key, in)
	return in, nil
}

// step is one entry being applied to one install.
type step struct {
	tx     engage.Tx
	e      engage.Entry
	in     *Install
	ws     string
	config *workspace // never nil
	seq    uint64     // of the item
	// profile is whom the entry is about: the install's, but for a late item that
	// was made before a logout.
	profile string
	seen    world // what world gives
}

// steps are kept for their memory: every entry wants one.
var steps = sync.Pool{New: func() any { return new(step) }}

// done gives the step back.
func (s *step) done() {
	*s = step{}
	steps.Put(s)
}

// noPlaces is a workspace without any.
var noPlaces = &workspace{index: &geo.Index{}}

// Session is the body of a KindSession entry: hello, as far as it matters here.
type Session struct {
	App     string `json:"app"`
	Hello   []byte `json:"hello"`             // sdkpb.Hello without app key and device token
	Session string `json:"session,omitempty"` // id of the socket; empty: it is none, or of a build that did not say
}

func (s *step) session() error {
	var body Session
	if err := json.Unmarshal(s.e.Body, &body); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	var h sdkpb.Hello
	if err := proto.Unmarshal(body.Hello, &h); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	if body.Session != "" {
		s.in.Session = body.Session
	}
	if err := s.speaks(); err != nil {
		return err
	}
	if err := s.changeApp(body.App); err != nil {
		return err
	}
	d := &s.in.Device
	d.Platform = enumName(h.GetPlatform().String(), "PLATFORM_")
	d.OSVersion, d.AppVersion = h.GetOsVersion(), h.GetAppVersion()
	d.TimeZone, d.Locale = h.GetTimeZone(), h.GetLocale()
	d.Lifecycle = "foreground"
	if h.GetLifecycle() == sdkpb.Lifecycle_STATE_BACKGROUND {
		d.Lifecycle = "background"
	}
	if p := h.GetPermissions(); p != nil {
		s.permissions(p)
	}
	if t := h.GetPushTarget(); t != nil {
		if err := s.pushToken(t); err != nil {
			return err
		}
	}
	return s.forwardDevice()
}

// sessionEnd notes that a socket has closed; that of an older session says nothing.
func (s *step) sessionEnd() error {
	var body engage.SessionEnd
	if err := json.Unmarshal(s.e.Body, &body); err != nil {
		return fmt.Errorf("session_end: %w", err)
	}
	if s.in.Session == body.Session {
		s.in.Session = ""
	}
	return nil
}

// accept reports whether the item of a seq has not taken effect before.
func (s *step) accept(seq uint64) bool {
	if !s.in.Accepted.Add(seq) {
		return false
	}
	s.seq = seq
	if s.e.At.After(s.in.Device.SeenAt) {
		s.in.Device.SeenAt = s.e.At
	}
	return true
}

// whose finds the person whose the item is; false, and counted, where nobody remembers.
func (s *step) whose() bool {
	if s.profile = s.in.profileAt(s.seq); s.profile == "" {
		s.in.Orphans++
		return false
	}
	return true
}

func (s *step) item() error {
	if s.e.Kind == engage.KindItem {
		if f, is := sdkproto.ReadFix(s.e.Body); is { // most are
			if !s.accept(f.Seq) || !s.whose() {
				return nil
			}
			return s.location(&f)
		}
	}
	item, err := sdkproto.UnmarshalItem(s.e.Body)
	if err != nil {
		return fmt.Errorf("item: %w", err)
	}
	if !s.accept(item.GetSeq()) {
		return nil
	}
	kind, reject := sdkproto.ItemBody(item)
	if reject != nil {
		return engage.Errorf(engage.Unsupported, "item", "%s", reject.GetReason())
	}
	if s.e.Kind == engage.KindUnproven && kind != sdkproto.KindIdentify {
		return engage.Errorf(engage.Unsupported, "item", "an item of kind %q proves nothing", kind)
	}
	if !s.whose() {
		return nil
	}
	switch kind {
	case sdkproto.KindLocation: // written in another way than ReadFix knows
		l := item.GetLocation()
		return s.location(&sdkproto.Fix{Seq: s.seq, Lat: l.GetLat(), Lng: l.GetLng(), AccuracyM: l.GetAccuracyM(), Mocked: l.GetMocked()})
	case sdkproto.KindRegionEvent:
		return s.region(item.GetRegionEvent())
	case sdkproto.KindBeacon:
		return s.beacon(item.GetBeacon())
	case sdkproto.KindEvent:
		return s.event(item.GetEvent())
	case sdkproto.KindIdentify:
		return s.identify(item.GetIdentify())
	case sdkproto.KindLogout:
		return s.logout()
	case sdkproto.KindPreferences:
		return s.preferences(item.GetPreferences())
	case sdkproto.KindConsent:
		return s.consent(item.GetConsent())
	case sdkproto.KindPushToken:
		if err := s.pushToken(item.GetPushToken()); err != nil {
			return err
		}
		return s.forwardDevice()
	case sdkproto.KindPermissions:
		s.permissions(item.GetPermissions())
		return s.forwardDevice()
	case sdkproto.KindLifecycle:
		s.in.Device.Lifecycle = enumName(item.GetLifecycle().GetState().String(), "STATE_")
		return nil // presence is the gateway's to know; it changes no decision
	case sdkproto.KindLive:
		s.liveActivity(item.GetLiveActivity())
		return nil
	case sdkproto.KindReceipt:
		r := item.GetReceipt()
		return s.forward(engage.KindReceipt, engage.ReceiptItem{
			Message: r.GetMessageId(), State: enumName(r.GetState().String(), "STATE_"),
			Via: r.GetVia(), Install: s.in.Install, Action: r.GetActionId(),
		})
	default:
		return engage.Errorf(engage.Unsupported, "item", "situate knows no item of kind %q", kind)
	}
}

// location applies a fix.
func (s *step) location(f *sdkproto.Fix) error {
	if !s.mayLocate(s.seq) {
		s.in.Refused++
		return nil
	}
	p := geo.Point{Lat: f.Lat, Lng: f.Lng}
	if err := p.Validate(); err != nil { // ingest refuses such: kept, it would fail a later withdrawal
		return engage.FromGeo(err)
	}
	if !s.in.grantedAt(engage.ConsentLocationPrecise, s.seq) {
		cell, err := geo.CellOf(p, CoarseResolution)
		if err != nil {
			return err
		}
		if s.in.Fix == nil || !s.in.granted(engage.ConsentLocationPrecise) { // a late one does not coarsen what may be precise again
			s.in.Fix, s.in.Coarse = nil, cell
		}
		return nil
	}
	return s.fix(f, s.occurred())
}

// mayLocate reports whether the person agreed to location in the app's phase, of an
// item of that seq.
func (s *step) mayLocate(seq uint64) bool {
	if s.in.Device.Lifecycle == "background" {
		return s.in.grantedAt(engage.ConsentLocationBackground, seq)
	}
	return s.in.grantedAt(engage.ConsentLocationForeground, seq) || s.in.grantedAt(engage.ConsentLocationBackground, seq)
}

func (s *step) occurred() time.Time {
	if s.e.Occurred.IsZero() {
		return s.e.At
	}
	return s.e.Occurred
}

func (s *step) event(ev *sdkpb.Event) error {
	t := engage.Trigger{
		Type: engage.TriggerEvent, Occasion: engage.EventID(s.ws, s.in.Install, s.seq),
		Install: s.in.Install, OccurredAt: s.occurred(), Event: ev.GetName(),
	}
	if p := ev.GetPropertiesJson(); p != "" {
		t.Properties = json.RawMessage(p)
	}
	return s.forward(engage.KindTrigger, t)
}

// identify goes to the owner of the identifier. One that nobody has proven goes to
// the install's own profile alone, and without its traits: whether that is of somebody
// who is known only the profile's owner knows.
func (s *step) identify(i *sdkpb.Identify) error {
	id := engage.Identify{
		Identifier: "user_id:" + i.GetUserId(), Profile: s.profile, Install: s.in.Install, Proven: s.e.Kind == engage.KindItem,
	}
	if !id.Proven {
		if i.GetUserId() == "" { // of somebody who wants to be left alone: the gateway has taken it out
			return nil
		}
		return s.forward(engage.KindClaimed, id)
	}
	if err := s.proved(engage.PersonID(s.ws, id.Identifier)); err != nil {
		return err
	}
	id.Profile = s.profile
	if err := s.send(engage.IdentifierKey(s.ws, id.Identifier), engage.KindIdentify, id); err != nil {
		return err
	}
	if t := i.GetTraitsJson(); t != "" {
		return s.forward(engage.KindTraits, json.RawMessage(t))
	}
	return nil
}

func (s *step) preferences(p *sdkpb.Preferences) error {
	topics := map[string]engage.Attitude{}
	for topic, a := range p.GetTopics() {
		switch a {
		case sdkpb.Preferences_ATTITUDE_LIKE:
			topics[topic] = engage.Like
		case sdkpb.Preferences_ATTITUDE_DISLIKE:
			topics[topic] = engage.Dislike
		default:
			topics[topic] = ""
		}
	}
	return s.forward(engage.KindPreferences, topics)
}

func (s *step) consent(c *sdkpb.Consent) error {
	purpose := engage.Purpose(enumName(c.GetPurpose().String(), "PURPOSE_"))
	answer := engage.Consent{Granted: c.GetGranted(), TextVersion: c.GetTextVersion(), Source: c.GetSource(), At: s.e.At}
	if s.seq < s.in.From {
		if !s.in.saidBefore(purpose, s.seq) {
			return nil
		}
		return s.forward(engage.KindConsent, engage.ByPurpose[engage.Consent]{{Purpose: purpose, Value: answer}})
	}
	if !s.in.setConsent(purpose, answer, s.seq) {
		return nil
	}
	if !answer.Granted {
		if !s.in.granted(engage.ConsentLocationForeground) && !s.in.granted(engage.ConsentLocationBackground) {
			s.in.Fix, s.in.Coarse = nil, 0
			s.endVisits()
		} else if purpose == engage.ConsentLocationPrecise {
			if s.in.Fix != nil {
				cell, err := geo.CellOf(s.in.Fix.Pos, CoarseResolution)
				if err != nil {
					return err
				}
				s.in.Fix, s.in.Coarse = nil, cell
			}
			s.forgetPositions()
		} else if !s.mayLocate(now) {
			s.endVisits() // of the app's phase
		}
	}
	return s.forward(engage.KindConsent, engage.ByPurpose[engage.Consent]{{Purpose: purpose, Value: answer}})
}

func (s *step) permissions(p *sdkpb.Permissions) {
	d := &s.in.Device
	d.Location = enumName(p.GetLocation().String(), "LOCATION_")
	d.Precision = enumName(p.GetPrecision().String(), "PRECISION_")
	d.Notifications = enumName(p.GetNotifications().String(), "NOTIFICATIONS_")
	d.Bluetooth = enumName(p.GetBluetooth().String(), "SETTING_")
	d.Background = enumName(p.GetBackgroundRefresh().String(), "SETTING_")
	d.Battery = enumName(p.GetBatteryOptimised().String(), "SETTING_")
}

// forwardDevice tells whose install it is now what is known of the phone, whoever
// said it.
func (s *step) forwardDevice() error {
	s.in.Device.SeenAt = s.e.At
	return s.send(engage.ProfileKey(s.ws, s.in.Profile), engage.KindDevice, s.in.Device)
}

// forward sends a value to the partition of whom the entry is about.
func (s *step) forward(kind engage.Kind, v any) error {
	return s.send(engage.ProfileKey(s.ws, s.profile), kind, v)
}

func (s *step) send(key string, kind engage.Kind, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", kind, err)
	}
	s.tx.Emit("act", engage.Entry{Kind: kind, Key: key, Occurred: s.inOrder(), Body: body})
	return nil
}

// inOrder is when the entry happened. What a phone says of the person has no time of its
// own but the log's: of items in one record each is a microsecond later than the one
// before, since an answer before an identification and one after it are not the same,
// nor is a topic that is liked and then forgotten (profile.Stamp counts microseconds).
func (s *step) inOrder() time.Time {
	if s.e.Occurred.IsZero() {
		return s.e.At.Add(time.Duration(s.tx.Position().Index) * time.Microsecond)
	}
	return s.e.Occurred
}

// enumName is a protobuf enum's name as our JSON has it: "STATE_OPENED" without
// its prefix is "opened"; the unspecified value is "".
func enumName(name, prefix string) string {
	b := []byte(name)
	if len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix {
		b = b[len(prefix):]
	}
	if string(b) == "UNSPECIFIED" {
		return ""
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
