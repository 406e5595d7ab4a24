package situate

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// Slot is the state of one push token: key engage.TokenKey. It says which install has
// the token: of those that have registered it, the last one. The others are told that
// it is dead to them, since what is sent there would reach a phone that has become
// somebody else's.
//
// It has a writer of its own, because the installs may be two partitions'. What races
// is settled by when they registered, which travels in the claims: in whatever order
// these come, and however often, the same install has the token.
type Slot struct {
	V        int       `json:"v"` // 1
	Install  string    `json:"install"`
	At       time.Time `json:"at"`                 // when it was registered, log time
	Imported bool      `json:"imported,omitempty"` // a file said so, and no app has
}

// Clone implements engage.State.
func (x *Slot) Clone() engage.State {
	c := *x
	return &c
}

// Encode implements engage.State.
func (x *Slot) Encode() ([]byte, error) { return json.Marshal(x) }

// after reports whether a claim goes before the one that stands: an app's before a
// file's, then the newer one. The install decides between two of the same time.
func (x *Slot) after(c *engage.TokenClaim) bool {
	switch {
	case c.Imported != x.Imported:
		return x.Imported
	case !c.At.Equal(x.At):
		return c.At.After(x.At)
	default:
		return c.Install > x.Install
	}
}

// applyClaim gives a token to the install that has registered it last.
func applyClaim(tx engage.Tx, e engage.Entry) error {
	var c engage.TokenClaim
	if err := json.Unmarshal(e.Body, &c); err != nil {
		return fmt.Errorf("token_claim: %w", err)
	}
	st, err := tx.Load(e.Key)
	if err != nil {
		return err
	}
	claimed := &Slot{V: 1, Install: c.Install, At: c.At, Imported: c.Imported}
	if st == nil {
		if !c.Gone {
			tx.Put(e.Key, claimed)
		}
		return nil
	}
	has := st.(*Slot) //nolint:forcetypeassert // Decode gives nothing else for this key
	switch {
	case c.Gone:
		if has.Install == c.Install {
			tx.Delete(e.Key)
		}
		return nil
	case has.Install == c.Install:
		if has.after(&c) {
			tx.Put(e.Key, claimed)
		}
		return nil
	case has.after(&c):
		tx.Put(e.Key, claimed)
		return moved(tx, e, has.Install, c.Token, c.At)
	default:
		return moved(tx, e, c.Install, c.Token, has.At)
	}
}

// moved tells an install that a token is another's since then.
func moved(tx engage.Tx, e engage.Entry, install string, token engage.Secret, since time.Time) error {
	body, err := json.Marshal(engage.TokenDead{Install: install, Token: token, Reason: engage.TokenMoved, Since: since})
	if err != nil {
		return fmt.Errorf("encode token_dead: %w", err)
	}
	tx.Emit("in", engage.Entry{Kind: engage.KindTokenDead, Key: engage.InstallKey(e.Workspace(), install), Body: body})
	return nil
}

// claim tells the token's owner that the install has it, or has it no more.
func (s *step) claim(p *engage.PushTarget, gone bool) error {
	body, err := json.Marshal(engage.TokenClaim{
		Install: s.in.Install, Token: p.Token, At: p.At, Gone: gone, Imported: p.Imported,
	})
	if err != nil {
		return fmt.Errorf("encode token_claim: %w", err)
	}
	key := engage.TokenKey(s.ws, s.in.Device.App, p.Provider, p.Token)
	s.tx.Emit("in", engage.Entry{Kind: engage.KindTokenClaim, Key: key, Body: body})
	return nil
}

// pushToken registers the token that the app gives. The same one again lives again,
// since providers call tokens dead that are not; another of the same provider takes
// its place; one of another provider stands before it, and it becomes a spare.
func (s *step) pushToken(t *sdkpb.PushTarget) error {
	d := &s.in.Device
	provider := enumName(t.GetProvider().String(), "PROVIDER_")
	if t.GetToken() == "" {
		return s.forgetTokens(provider)
	}
	p := engage.PushTarget{
		Provider: provider, Token: engage.Secret(t.GetToken()), Environment: t.GetEnvironment(), Topic: t.GetTopic(), At: s.e.At,
	}
	claim := true
	if old := d.PushOf(provider); old != nil && old.Token == p.Token {
		if old.Found { // an app is often built for the one and signed for the other
			p.Environment, p.Found = old.Environment, true
		}
		claim = old.Dead != "" || old.Imported || !s.in.Claimed
	} else if old != nil {
		if err := s.claim(old, true); err != nil {
			return err
		}
	}
	s.setPush(p)
	if !claim {
		return nil
	}
	s.in.Claimed = true
	return s.claim(d.Push, false)
}

// setPush makes p the target, and one of another provider a spare.
func (s *step) setPush(p engage.PushTarget) {
	d := &s.in.Device
	spare := slices.DeleteFunc(slices.Clone(d.Spare), func(x engage.PushTarget) bool { return x.Provider == p.Provider })
	if d.Push != nil && d.Push.Provider != p.Provider {
		spare = append(spare, *d.Push)
	}
	d.Push, d.Spare = &p, spare
	if len(spare) == 0 {
		d.Spare = nil
	}
}

// forgetTokens takes back those of a provider; of all when it is empty.
func (s *step) forgetTokens(provider string) error {
	d := &s.in.Device
	var left []engage.PushTarget
	for _, p := range d.Targets() {
		if provider != "" && p.Provider != provider {
			left = append(left, p)
			continue
		}
		if err := s.claim(&p, true); err != nil {
			return err
		}
	}
	s.setTargets(left)
	return nil
}

// setTargets puts the first one that lives, or else the first, before the others.
func (s *step) setTargets(all []engage.PushTarget) {
	d := &s.in.Device
	d.Push, d.Spare = nil, nil
	if len(all) == 0 {
		return
	}
	i := max(0, slices.IndexFunc(all, func(p engage.PushTarget) bool { return p.Dead == "" }))
	first := all[i]
	d.Push = &first
	if rest := slices.Delete(slices.Clone(all), i, i+1); len(rest) > 0 {
		d.Spare = rest
	}
}

// changeApp gives tokens back before the install is another app's, whose they are not.
func (s *step) changeApp(app string) error {
	d := &s.in.Device
	if d.App != app {
		s.in.Live = nil
	}
	if d.App != app && s.in.Claimed {
		for _, p := range d.Targets() {
			if err := s.claim(&p, true); err != nil {
				return err
			}
		}
		s.in.Claimed = false
	}
	d.App = app
	return nil
}

func (s *step) tokenDead() error {
	var dead engage.TokenDead
	if err := json.Unmarshal(s.e.Body, &dead); err != nil {
		return fmt.Errorf("token_dead: %w", err)
	}
	if s.liveDead(&dead) {
		return nil
	}
	all := s.in.Device.Targets()
	i := slices.IndexFunc(all, func(p engage.PushTarget) bool { return p.Token == dead.Token })
	if i < 0 || all[i].Dead != "" {
		return nil // another token by now
	}
	p := &all[i]
	isMoved := dead.Reason == engage.TokenMoved
	if !dead.Since.IsZero() && p.At.After(dead.Since) && (!isMoved || !p.Imported) {
		if isMoved { // and registered again here before this was known
			return s.claim(p, false)
		}
		return nil // registered again since
	}
	if isMoved && s.in.Imported {
		return s.merged()
	}
	p.Dead = dead.Reason
	s.setTargets(all)
	return s.forward(engage.KindDevice, s.in.Device) // the phone said nothing
}

// tokenEnvironment keeps where a token was found to live, so that the next message
// goes there at once.
func (s *step) tokenEnvironment() error {
	var found engage.TokenEnvironment
	if err := json.Unmarshal(s.e.Body, &found); err != nil {
		return fmt.Errorf("token_env: %w", err)
	}
	if s.liveFound(&found) {
		return nil
	}
	all := s.in.Device.Targets()
	i := slices.IndexFunc(all, func(p engage.PushTarget) bool { return p.Token == found.Token })
	if i < 0 || all[i].Found && all[i].Environment == found.Environment {
		return nil
	}
	all[i].Environment, all[i].Found = found.Environment, true
	s.setTargets(all)
	return s.forward(engage.KindDevice, s.in.Device) // the phone said nothing
}

// merged ends an install that was made up for an imported token: the app that has it
// has said so, under its own id.
func (s *step) merged() error {
	s.tx.Delete(s.e.Key)
	return s.forward(engage.KindDeviceGone, engage.DeviceGone{Install: s.in.Install, Reason: engage.TokenMoved})
}

// tokenImport takes a push token from a file: for an install whose app nobody has
// heard of, which is made up, or for one that has none as new. What an app has said
// itself stands.
func (s *step) tokenImport() error {
	t := &engage.TokenImport{}
	if err := json.Unmarshal(s.e.Body, t); err != nil {
		return fmt.Errorf("token_import: %w", err)
	}
	d := &s.in.Device
	if s.in.Imported {
		d.App, d.Platform, d.Notifications = t.App, t.Platform, t.Notifications
		if err := s.belong(t); err != nil {
			return err
		}
	}
	p := t.Push
	p.Imported = true
	switch old := d.PushOf(p.Provider); {
	case old == nil:
	case old.Token == p.Token:
		if !old.Imported || !p.At.After(old.At) && old.Topic == p.Topic && (old.Environment == p.Environment || old.Found) {
			return nil
		}
		if old.Found {
			p.Environment, p.Found = old.Environment, true
		}
		if !p.At.After(old.At) {
			p.Dead = old.Dead
		}
	case !p.At.After(old.At):
		return nil // an older one than it has
	default:
		if err := s.claim(old, true); err != nil {
			return err
		}
	}
	s.setPush(p)
	s.in.Claimed = true
	if p.At.After(d.SeenAt) {
		d.SeenAt = p.At
	}
	if err := s.claim(&p, false); err != nil {
		return err
	}
	return s.send(engage.ProfileKey(s.ws, s.in.Profile), engage.KindDevice, s.in.Device)
}

// belong gives a made-up install to whom the file says that it is.
func (s *step) belong(t *engage.TokenImport) error {
	if t.Identifier == "" {
		return nil
	}
	profile := engage.PersonID(s.ws, t.Identifier)
	if s.in.Profile == profile {
		return nil
	}
	if s.in.Device.Push != nil { // it was another's
		if err := s.forward(engage.KindDeviceGone, engage.DeviceGone{Install: s.in.Install, Reason: "imported"}); err != nil {
			return err
		}
	}
	s.in.Profile, s.profile = profile, profile
	if s.in.Device.Push != nil {
		if err := s.send(engage.ProfileKey(s.ws, profile), engage.KindDevice, s.in.Device); err != nil {
			return err
		}
	}
	return s.send(engage.IdentifierKey(s.ws, t.Identifier), engage.KindIdentify, engage.Identify{
		Identifier: t.Identifier, Profile: profile, Install: s.in.Install, Proven: true,
	})
}

// speaks notes that an app is heard of. An install that a file has given to somebody is
// a stranger's from then on until it proves who it is: whoever knows an install's id
// could say it, and the person's inbox is not theirs for that (ingest.Install.Spoken).
func (s *step) speaks() error {
	in := s.in
	if !in.Imported {
		return nil
	}
	in.Imported = false
	own := SpokenProfile(s.ws, in.Install, in.Profile)
	if in.Profile == own {
		return nil
	}
	if err := s.forward(engage.KindDeviceGone, engage.DeviceGone{Install: in.Install, Reason: "imported"}); err != nil {
		return err
	}
	in.Profile, s.profile = own, own
	return nil
}

// SpokenProfile is whose an install that came from a file is once its app is heard of,
// if it was had's before: its own, where the file did not say another's.
func SpokenProfile(workspace, install, had string) string {
	if had == engage.ProfileID(workspace, install) {
		return had
	}
	return engage.LogoutProfileID(workspace, install, 0)
}

// given notes that a profile has become one with another: what comes goes straight
// there. The person has the phone already; but for one that only a file knows, of whom
// an earlier build may not have said so.
func (s *step) given() error {
	var g engage.GiveInstall
	if err := json.Unmarshal(s.e.Body, &g); err != nil {
		return fmt.Errorf("give_install: %w", err)
	}
	if g.From == "" || g.To == "" {
		return nil
	}
	for i := range s.in.Before {
		if s.in.Before[i].Profile == g.From {
			s.in.Before = slices.Clone(s.in.Before)
			s.in.Before[i].Profile = g.To
		}
	}
	if s.in.Profile != g.From {
		return nil
	}
	s.in.Profile, s.profile = g.To, g.To
	if !s.in.Imported {
		return nil
	}
	return s.forward(engage.KindDevice, s.in.Device)
}
