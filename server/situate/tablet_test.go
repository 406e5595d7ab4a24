package situate_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// Two use a tablet, and nobody logs out.
func TestAnotherUserIsALogout(t *testing.T) {
	p := newPhone(t, allConsents...)                          // 1 to 3
	p.item(0, consent(sdkpb.Consent_PURPOSE_MARKETING, true)) // 4
	p.item(0, identify("ada"))                                // 5
	p.item(0, identify("ada"))                                // 6: harmless
	for range 3 {
		p.item(sec, fix(shop, 10)) // 7 to 9
	}
	p.Take()
	p.item(2*sec, identify("bob")) // 10
	p.wantTold(
		`device_gone to first {"install":"install-ada","reason":"logout"}`, "device to after-10",
		`identify to d:user_id:bob {"identifier":"user_id:bob","profile":"after-10","install":"install-ada","proven":true}`, "traits to after-10",
	)
	in := p.install()
	if in.From != 10 || len(in.Consents) != 0 || in.Fix != nil || len(in.Places()) != 0 {
		t.Errorf("after Bob: %+v", in)
	}
	p.item(3*sec, fix(shop, 10)) // 11
	if p.install().Fix != nil {
		t.Error("Bob is located by Ada's consent")
	}
	p.item(3*sec, identify("ada")) // 12: she is back
	p.wantTold(
		"device_gone to after-10", "device to after-12", `identify to d:user_id:ada {"identifier":"user_id:ada","profile":"after-12"`, "traits to after-12",
	)
	// What came late is still whose it was.
	p.item(4*sec, logout()) // 13
	p.item(4*sec, identify("bob"))
	if got := p.told(); !slices.ContainsFunc(got, func(x string) bool {
		return strings.HasPrefix(x, `identify to d:user_id:bob {"identifier":"user_id:bob","profile":"after-13"`)
	}) {
		t.Errorf("after a logout in due form: %q", got)
	}
}

// In whatever order items arrive, what a user does after proving who they are never goes
// to a profile of which another has proven to be the user.
func TestNoOrderGivesOneUsersItemsToAnother(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5)) //nolint:gosec // a test's chance
		var items []*sdkpb.Item
		who := make([]string, 1, 20) // by seq; "" before the first proof
		now := ""
		for range 18 {
			switch r.IntN(4) {
			case 0:
				now = []string{"ada", "bob", "eve"}[r.IntN(3)]
				items = append(items, identify(now))
			default:
				items = append(items, likes("x"))
			}
			who = append(who, now)
		}
		order := r.Perm(len(items))
		if seed%3 == 0 { // nearly in order
			slices.Sort(order)
			for range 4 {
				i := r.IntN(len(order) - 1)
				order[i], order[i+1] = order[i+1], order[i]
			}
		}
		p := newPhone(t)
		p.Quick = true
		proved := map[string]string{} // user of a profile
		for _, i := range order {
			seq := uint64(i + 1)
			p.apply(entry(seq, 0, items[i]))
			for _, o := range p.Take() {
				switch o.Entry.Kind {
				case engage.KindIdentify:
					var id engage.Identify
					if err := o.Into(&id); err != nil {
						t.Fatal(err)
					}
					if had := proved[id.Profile]; had != "" && had != id.Identifier {
						t.Fatalf("seed %d, order %v: %s is %s and %s", seed, order, id.Profile, had, id.Identifier)
					}
					proved[id.Profile] = id.Identifier
				case engage.KindPreferences:
					to := strings.TrimPrefix(engage.IDOf(o.Entry.Key), "p:")
					// What nobody had proven yet when it came may become anybody's.
					if user := proved[to]; user != "" && who[seq] != "" && user != "user_id:"+who[seq] && known(items, order, i, who[seq]) {
						t.Fatalf("seed %d, order %v: item %d of %s went to %s", seed, order, seq, who[seq], user)
					}
				}
			}
		}
	}
}

// known reports whether the proof that the i-th item stands on had arrived before it.
func known(items []*sdkpb.Item, order []int, i int, user string) bool {
	proof := i
	for proof >= 0 && items[proof].GetIdentify() == nil {
		proof--
	}
	return proof >= 0 && items[proof].GetIdentify().GetUserId() == user && slices.Index(order, proof) < slices.Index(order, i)
}

// A profile that has become one with another: what comes goes straight to the survivor.
func TestWhatComesGoesToTheSurvivor(t *testing.T) {
	p := newPhone(t, allConsents...)
	p.item(0, identify("ada")) // 4
	p.item(0, logout())        // 5
	first, second := engage.ProfileID(ws, install), engage.LogoutProfileID(ws, install, 5)
	give := func(from, to string) {
		p.apply(engage.Entry{Kind: engage.KindGiveInstall, Key: key, At: t0, Body: mustJSON(t, engage.GiveInstall{From: from, To: to})})
	}
	give(first, "u-ada")
	give("nobody", "u-eve")
	in := p.install()
	if in.Profile != second || in.Before[0].Profile != "u-ada" {
		t.Errorf("whose: %s, before %+v", in.Profile, in.Before)
	}
	p.Take()
	give(second, "u-bob")
	if len(p.Take()) != 0 {
		t.Error("the person has the phone already, and was told of it")
	}
	p.item(sec, likes("tea"))
	for _, o := range p.Take() {
		if o.Entry.Key != engage.ProfileKey(ws, "u-bob") {
			t.Errorf("%s goes to %s", o.Entry.Kind, o.Entry.Key)
		}
	}
	if in := p.install(); in.From != 5 || in.Profile != "u-bob" {
		t.Errorf("whose: %+v", in)
	}
}
