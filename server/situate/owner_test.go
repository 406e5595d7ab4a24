package situate_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

func logout() *sdkpb.Item { return &sdkpb.Item{Logout: &sdkpb.Logout{}} }

func likes(topic string) *sdkpb.Item {
	return &sdkpb.Item{Preferences: &sdkpb.Preferences{Topics: map[string]sdkpb.Preferences_Attitude{topic: sdkpb.Preferences_ATTITUDE_LIKE}}}
}

func identify(user string) *sdkpb.Item {
	return &sdkpb.Item{Identify: &sdkpb.Identify{UserId: user, TraitsJson: `{"tier":"gold"}`}}
}

// told are what was put out since the last time, as "kind to: body".
func (p *phone) told() []string {
	p.Helper()
	names := map[string]string{engage.ProfileID(ws, install): "first"}
	for seq := range uint64(100) {
		names[engage.LogoutProfileID(ws, install, seq)] = fmt.Sprintf("after-%d", seq)
	}
	var out []string
	for _, o := range p.Take() {
		if o.Entry.Kind == engage.KindTokenClaim {
			continue // tokens_test.go
		}
		to := strings.TrimPrefix(engage.IDOf(o.Entry.Key), "p:")
		if name, known := names[to]; known {
			to = name
		}
		body := string(o.Entry.Body)
		for id, name := range names {
			body = strings.ReplaceAll(body, id, name)
		}
		if o.Entry.Kind == engage.KindDevice {
			body = ""
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s to %s %s", o.Entry.Kind, to, body)))
	}
	return out
}

func (p *phone) wantTold(want ...string) {
	p.Helper()
	got := p.told()
	ok := len(got) == len(want)
	for i := range want {
		ok = ok && strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		p.Errorf("told %q\nwant %q", got, want)
	}
}

func TestALogoutGivesTheInstallToSomebodyElse(t *testing.T) {
	p := newPhone(t, allConsents...) // 1 to 3
	first := engage.ProfileID(ws, install)
	p.item(0, pushToken("token-1"))                           // 4
	p.item(0, consent(sdkpb.Consent_PURPOSE_MARKETING, true)) // 5
	for i := range 3 {
		p.item(time.Duration(i)*sec, fix(shop, 10)) // 6 to 8
	}
	p.Take()
	if in := p.install(); len(in.Places()) != 1 || in.Fix == nil {
		t.Fatalf("visits %v", in.Places())
	}
	p.item(10*sec, logout()) // 9
	p.wantTold(`device_gone to first {"install":"install-ada","reason":"logout"}`, "device to after-9")
	in := p.install()
	if in.Profile != engage.LogoutProfileID(ws, install, 9) || in.Profile == first || in.From != 9 || len(in.Consents) != 0 || in.Fix != nil || in.Coarse != 0 ||
		len(in.Places()) != 0 || !in.Tracks.IsZero() || in.Device.Push == nil || in.Device.Push.Token != "token-1" {
		t.Errorf("after the logout: %+v", in)
	}
	var visits, tracks int
	for _, doc := range p.Docs("visits") {
		var v engage.Visit
		if err := json.Unmarshal(doc, &v); err == nil && v.Ended == engage.EndedByLogout && v.Profile == first {
			visits++
		}
	}
	for _, doc := range p.Docs("tracks") {
		var c engage.TrackChunk
		if err := json.Unmarshal(doc, &c); err == nil && c.Profile == first {
			tracks++
		}
	}
	if visits != 1 || tracks == 0 {
		t.Errorf("%d visits and %d tracks of the person before", visits, tracks)
	}

	// Without consents there is no position; with new ones there is, of the next person.
	p.item(11*sec, fix(shop, 10)) // 10
	if p.install().Fix != nil {
		t.Error("a position without a consent")
	}
	p.item(12*sec, likes("shoes")) // 11
	for _, c := range allConsents {
		p.item(12*sec, consent(c, true)) // 12 to 14
	}
	p.item(13*sec, identify("eve")) // 15
	got := p.told()
	for _, x := range got {
		if strings.Contains(x, "first") {
			t.Errorf("told of the person before: %s", x)
		}
	}
	if !slices.ContainsFunc(got, func(x string) bool {
		return strings.HasPrefix(x, `identify to d:user_id:eve {"identifier":"user_id:eve","profile":"after-9"`)
	}) {
		t.Errorf("told %q", got)
	}
	for i := range 3 {
		p.item(time.Duration(20+i)*sec, fix(shop, 10))
	}
	for _, tr := range p.Take() {
		if tr.Entry.Kind == engage.KindTrigger && engage.IDOf(tr.Entry.Key) != "p:"+in.Profile {
			t.Errorf("a trigger for %s", tr.Entry.Key)
		}
	}
	if p.install().Fix == nil || len(p.install().Places()) != 1 {
		t.Error("no visit of the next person")
	}
}

// What was said before a logout and comes after it is the earlier person's, and
// changes nothing of the install's next.
func TestLateItemsAreThoseOfThePersonBefore(t *testing.T) {
	p := newPhone(t)
	marketing := sdkpb.Consent_PURPOSE_MARKETING
	p.apply(entry(3, 0, consent(marketing, false)))
	p.apply(entry(10, 0, logout()), entry(20, 0, logout()))
	p.Take()
	p.apply(entry(2, sec, consent(marketing, true))) // before the no: it changes nothing, for nobody
	p.wantTold()
	p.apply(entry(4, sec, consent(marketing, true)))
	p.wantTold("consent to first")
	p.apply(entry(5, sec, likes("shoes")))
	p.wantTold("preferences to first")
	p.apply(entry(12, sec, identify("ben")))
	p.wantTold("identify to d:user_id:ben", "traits to after-10")
	p.apply(entry(13, sec, &sdkpb.Item{Event: &sdkpb.Event{Name: "x"}}))
	p.wantTold("trigger to after-10")
	p.apply(entry(15, sec, logout())) // somebody came and went in between
	p.wantTold()
	p.apply(entry(16, sec, likes("hats")), entry(14, sec, likes("hats")), entry(9, sec, likes("hats")), entry(21, sec, likes("hats")))
	p.wantTold("preferences to after-15", "preferences to after-10", "preferences to first", "preferences to after-20")
	for _, c := range allConsents {
		p.apply(entry(6, sec, consent(c, true))) // one of them is seen, the others are duplicates
	}
	p.apply(entry(7, sec, fix(shop, 10)), entry(8, sec, region("cafe-in", sdkpb.RegionEvent_TRANSITION_ENTER)))
	in := p.install()
	if len(in.Consents) != 0 || in.Fix != nil || len(in.Places()) != 0 || in.Refused != 2 {
		t.Errorf("late items of the first person changed the install: %+v", in)
	}
	p.Take()
	// The phone is the phone's, whoever says it.
	p.apply(entry(11, 2*sec, pushToken("late")))
	p.wantTold("device to after-20")
	// Positions of somebody who has left count for nobody, also after the next agrees.
	for i, c := range allConsents {
		p.apply(entry(uint64(30+i), 2*sec, consent(c, true)))
	}
	p.apply(entry(17, 3*sec, fix(shop, 10)))
	if p.install().Fix != nil {
		t.Error("a position of the person before is the next one's")
	}
	p.apply(entry(40, 3*sec, fix(shop, 10)))
	if p.install().Fix == nil {
		t.Error("no position of the next person")
	}
}

// An answer that overtook the logout is the next person's all the same.
func TestAConsentAboveALogoutStays(t *testing.T) {
	p := newPhone(t)
	p.apply(entry(1, 0, consent(sdkpb.Consent_PURPOSE_MARKETING, true)), entry(3, 0, consent(sdkpb.Consent_PURPOSE_PROFILING, true)))
	p.Take()
	p.apply(entry(2, 0, logout()))
	p.wantTold("device_gone to first", "device to after-2", `consent to after-2 {"profiling"`)
	in := p.install()
	if _, stays := in.Consents.Of(engage.ConsentMarketing); stays || !in.Agrees(engage.ConsentProfiling) {
		t.Errorf("consents %+v", in.Consents)
	}
}

func TestLogoutsComeInAnyOrder(t *testing.T) {
	seqs := []uint64{5, 9, 14, 22, 31}
	for range 20 {
		p := newPhone(t)
		order := slices.Clone(seqs)
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, s := range order {
			p.apply(entry(s, 0, logout()))
		}
		p.Take()
		for _, x := range [][2]any{{uint64(1), "first"}, {uint64(6), "after-5"}, {uint64(10), "after-9"}, {uint64(15), "after-14"}, {uint64(30), "after-22"}, {uint64(40), "after-31"}} {
			p.apply(entry(x[0].(uint64), 0, likes("x")))
			p.wantTold("preferences to " + x[1].(string))
		}
	}
	// Of many persons the first are forgotten: what comes for them is nobody's.
	p := newPhone(t)
	for s := uint64(10); s <= 10+2*20; s += 2 {
		p.apply(entry(s, 0, logout()))
	}
	p.Take()
	p.apply(entry(1, 0, likes("x")), entry(11, 0, likes("x")))
	p.wantTold()
	p.apply(entry(49, 0, likes("x")))
	p.wantTold("preferences to after-48")
	if in := p.install(); in.Orphans != 2 || len(in.Before) != 16 {
		t.Errorf("%d orphans, %d remembered", in.Orphans, len(in.Before))
	}
}

// What nobody has proven goes to the install's own profile alone, without traits.
func TestAnUnprovenIdentificationIsOnlyNoted(t *testing.T) {
	p := newPhone(t)
	e := entry(1, 0, identify("ada"))
	e.Kind = engage.KindUnproven
	p.apply(e)
	p.wantTold(`claimed to first {"identifier":"user_id:ada","profile":"first","install":"install-ada","proven":false}`)
	p.apply(e)
	p.wantTold() // once
	proven := entry(1, 0, identify("ada"))
	p.apply(proven)
	p.wantTold() // the item has taken effect: nobody proves it afterwards
	p.apply(entry(2, 0, identify("ada")))
	p.wantTold(`identify to d:user_id:ada {"identifier":"user_id:ada","profile":"first","install":"install-ada","proven":true}`, "traits to first")
	bad := entry(3, 0, likes("x"))
	bad.Kind = engage.KindUnproven
	if err := p.Apply(bad); err == nil {
		t.Error("a preference that nobody has proven")
	}
}

func TestSettingsOfTheOSAreKept(t *testing.T) {
	p := newPhone(t)
	p.item(0, &sdkpb.Item{Permissions: &sdkpb.Permissions{
		Bluetooth: sdkpb.Permissions_SETTING_ON, BackgroundRefresh: sdkpb.Permissions_SETTING_OFF,
	}})
	if d := p.install().Device; d.Bluetooth != "on" || d.Background != "off" || d.Battery != "" {
		t.Errorf("%+v", d)
	}
}
