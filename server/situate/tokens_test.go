package situate_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/situate"
)

const shopApp = "shop-app"

// family is several installs of one app, and the owners of their tokens, in one
// partition whose entries to itself wait on the way.
type family struct {
	*testing.T
	*steptest.Partition
	seq   map[string]uint64
	now   time.Time
	onWay map[string][]engage.Entry // by "from>to": in order
	told  []engage.Entry            // to profiles
}

func newFamily(t *testing.T) *family {
	t.Helper()
	f := &family{
		T: t, Partition: steptest.New("in/0", situate.Machine{}), seq: map[string]uint64{}, now: t0, onWay: map[string][]engage.Entry{},
	}
	t.Cleanup(func() {
		if err := f.Check(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *family) apply(e engage.Entry) {
	f.Helper()
	if err := f.Apply(e); err != nil {
		f.Fatal(err)
	}
	for _, o := range f.Take() {
		if o.To == "in" {
			way := e.Key + ">" + o.Entry.Key
			f.onWay[way] = append(f.onWay[way], o.Entry)
		} else {
			f.told = append(f.told, o.Entry)
		}
	}
}

// arrive lets the oldest of one way arrive, chosen by pick.
func (f *family) arrive(pick func(n int) int) bool {
	ways := make([]string, 0, len(f.onWay))
	for w := range f.onWay {
		ways = append(ways, w)
	}
	if len(ways) == 0 {
		return false
	}
	slices.Sort(ways)
	w := ways[pick(len(ways))]
	e := f.onWay[w][0]
	if f.onWay[w] = f.onWay[w][1:]; len(f.onWay[w]) == 0 {
		delete(f.onWay, w)
	}
	f.apply(e)
	return true
}

func (f *family) settle() {
	f.Helper()
	for n := 0; f.arrive(func(int) int { return 0 }); n++ {
		if n > 10_000 {
			f.Fatal("the owners and the installs do not come to rest")
		}
	}
}

func (f *family) hello(install string, t *sdkpb.PushTarget) {
	f.Helper()
	hello, err := proto.MarshalOptions{Deterministic: true}.Marshal(&sdkpb.Hello{InstallId: install, Platform: sdkpb.Platform_PLATFORM_IOS, PushTarget: t})
	if err != nil {
		f.Fatal(err)
	}
	f.now = f.now.Add(sec)
	f.apply(engage.Entry{
		Kind: engage.KindSession, Key: engage.InstallKey(ws, install), At: f.now,
		Body: mustJSON(f.T, situate.Session{App: shopApp, Hello: hello}),
	})
}

func (f *family) gives(install string, t *sdkpb.PushTarget) {
	f.Helper()
	f.seq[install]++
	f.now = f.now.Add(sec)
	e := entry(f.seq[install], f.now.Sub(t0), &sdkpb.Item{PushToken: t})
	e.Key = engage.InstallKey(ws, install)
	f.apply(e)
}

func (f *family) says(kind engage.Kind, install string, v any) {
	f.Helper()
	f.now = f.now.Add(sec)
	f.apply(engage.Entry{Kind: kind, Key: engage.InstallKey(ws, install), At: f.now, Body: mustJSON(f.T, v)})
}

func (f *family) device(install string) *engage.Device {
	in, ok := f.State(engage.InstallKey(ws, install)).(*situate.Install)
	if !ok {
		return nil
	}
	return &in.Device
}

// has is the install's targets in words: "fcm:a" or "apns:b(dead)".
func (f *family) has(install string) string {
	d := f.device(install)
	if d == nil {
		return "gone"
	}
	out := ""
	for _, p := range d.Targets() {
		if out != "" {
			out += " "
		}
		out += p.Provider + ":" + p.Token.Reveal()
		if p.Dead != "" {
			out += "(" + p.Dead + ")"
		}
		if p.Environment != "" {
			out += "@" + p.Environment
		}
	}
	return out
}

func (f *family) want(install, has string) {
	f.Helper()
	if got := f.has(install); got != has {
		f.Errorf("%s has %q, want %q", install, got, has)
	}
}

func fcmToken(token string) *sdkpb.PushTarget {
	return &sdkpb.PushTarget{Provider: sdkpb.PushTarget_PROVIDER_FCM, Token: token}
}

func apnsToken(token, environment string) *sdkpb.PushTarget {
	return &sdkpb.PushTarget{Provider: sdkpb.PushTarget_PROVIDER_APNS, Token: token, Environment: environment}
}

func TestATokenIsTheNewestInstalls(t *testing.T) {
	f := newFamily(t)
	f.hello("a", fcmToken("t"))
	f.settle()
	f.hello("b", fcmToken("t"))
	f.settle()
	f.want("a", "fcm:t(moved)")
	f.want("b", "fcm:t")
	// It says so to the profile, so that no more is sent there.
	var d engage.Device
	last := f.told[len(f.told)-1]
	if err := json.Unmarshal(last.Body, &d); err != nil || last.Kind != engage.KindDevice || d.Install != "a" || d.Push.Dead != engage.TokenMoved {
		t.Errorf("the profile was told %s %s, %v", last.Kind, last.Body, err)
	}
	f.hello("a", fcmToken("t")) // a phone may change back
	f.settle()
	f.want("a", "fcm:t")
	f.want("b", "fcm:t(moved)")
	// Another app of the workspace, or another workspace, has nothing to do with it.
	other := engage.TokenKey(ws, "other-app", "fcm", "t")
	if other == engage.TokenKey(ws, shopApp, "fcm", "t") || f.State(other) != nil {
		t.Error("apps share a token's owner")
	}
	// Another token frees the one before it.
	f.gives("a", fcmToken("u"))
	f.settle()
	if f.State(engage.TokenKey(ws, shopApp, "fcm", "t")) != nil {
		t.Error("the owner of a token that nobody has is kept")
	}
	f.hello("b", fcmToken("t"))
	f.settle()
	f.want("a", "fcm:u")
	f.want("b", "fcm:t")
}

// A registration that the owner's word overtakes is not lost: A is told of B's after it
// has registered again, and asks again.
func TestAWordThatComesLateTakesNoToken(t *testing.T) {
	f := newFamily(t)
	f.hello("a", fcmToken("t"))
	f.settle()
	f.hello("b", fcmToken("t"))
	f.arrive(func(int) int { return 0 }) // B's claim; the word to A is on its way
	f.hello("a", fcmToken("t"))
	f.settle()
	f.want("a", "fcm:t")
	f.want("b", "fcm:t(moved)")
}

func TestInWhateverOrderClaimsComeOneInstallHasTheToken(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 6)) //nolint:gosec // of a test
		f := newFamily(t)
		f.Quick = true
		installs, tokens := []string{"a", "b", "c"}, []string{"t", "u"}
		newest := map[string]string{} // by token: who registered it last, and has it still
		has := map[string]string{}
		for _, install := range installs {
			f.hello(install, nil) // whose app it is
		}
		for range 30 {
			if rnd.IntN(3) == 0 {
				f.arrive(rnd.IntN)
				continue
			}
			install, token := installs[rnd.IntN(3)], tokens[rnd.IntN(2)]
			if rnd.IntN(2) == 0 {
				f.hello(install, fcmToken(token))
			} else {
				f.gives(install, fcmToken(token))
			}
			if old := has[install]; old != token && newest[old] == install {
				delete(newest, old)
			}
			has[install], newest[token] = token, install
		}
		for f.arrive(rnd.IntN) { // until nothing is on its way
		}
		for _, token := range tokens {
			var alive []string
			for _, install := range installs {
				if d := f.device(install); d != nil && d.Push != nil && d.Push.Token.Reveal() == token && d.Push.Dead == "" {
					alive = append(alive, install)
				}
			}
			if len(alive) > 1 {
				t.Fatalf("seed %d: token %s is alive at %v", seed, token, alive)
			}
			if n := newest[token]; n != "" && !slices.Contains(alive, n) {
				t.Fatalf("seed %d: token %s is not alive at %s, who registered it last: %s", seed, token, n, f.has(n))
			}
		}
	}
}

func TestATokenThatIsGivenAgainLivesAgain(t *testing.T) {
	f := newFamily(t)
	f.hello("a", fcmToken("t"))
	f.settle()
	f.says(engage.KindTokenDead, "a", engage.TokenDead{Install: "a", Token: "t", Reason: "UNREGISTERED", Since: t0})
	f.want("a", "fcm:t") // it was registered since
	f.says(engage.KindTokenDead, "a", engage.TokenDead{Install: "a", Token: "t", Reason: "UNREGISTERED"})
	f.want("a", "fcm:t(UNREGISTERED)")
	f.hello("a", fcmToken("t"))
	f.settle()
	f.want("a", "fcm:t")
	// The same again says nothing to its owner.
	f.hello("a", fcmToken("t"))
	if len(f.onWay) != 0 {
		t.Errorf("on the way: %v", f.onWay)
	}
}

func TestWhereATokenLivesStandsUntilThereIsAnother(t *testing.T) {
	f := newFamily(t)
	f.hello("a", apnsToken("aa", "production"))
	f.says(engage.KindTokenEnv, "a", engage.TokenEnvironment{Install: "a", Token: "aa", Environment: "sandbox"})
	f.want("a", "apns:aa@sandbox")
	f.hello("a", apnsToken("aa", "production"))
	f.want("a", "apns:aa@sandbox")
	f.says(engage.KindTokenEnv, "a", engage.TokenEnvironment{Install: "a", Token: "bb", Environment: "production"})
	f.want("a", "apns:aa@sandbox")
	f.hello("a", apnsToken("bb", "production"))
	f.want("a", "apns:bb@production")
}

func TestATokenOfAnotherProviderTakesOverWhenOneDies(t *testing.T) {
	f := newFamily(t)
	f.hello("a", fcmToken("f"))
	f.gives("a", apnsToken("aa", ""))
	f.settle()
	f.want("a", "apns:aa fcm:f")
	f.says(engage.KindTokenDead, "a", engage.TokenDead{Install: "a", Token: "aa", Reason: "Unregistered"})
	f.want("a", "fcm:f apns:aa(Unregistered)")
	f.gives("a", apnsToken("bb", ""))
	f.want("a", "apns:bb fcm:f")
	f.hello("b", fcmToken("f")) // a spare moves, too
	f.settle()
	f.want("a", "apns:bb fcm:f(moved)")
	f.says(engage.KindTokenDead, "a", engage.TokenDead{Install: "a", Token: "bb", Reason: "Unregistered"})
	f.want("a", "apns:bb(Unregistered) fcm:f(moved)")
	// An app that changes its key gives its tokens back.
	f.gives("a", &sdkpb.PushTarget{Provider: sdkpb.PushTarget_PROVIDER_APNS})
	f.settle()
	f.want("a", "fcm:f(moved)")
	if f.State(engage.TokenKey(ws, shopApp, "apns", "BB")) != nil {
		t.Error("a token that was taken back has an owner")
	}
}

func TestImportedTokens(t *testing.T) {
	import1 := func(install, token string, daysOld int, user string) engage.TokenImport {
		ti := engage.TokenImport{
			Install: install, App: shopApp, Platform: "android", Notifications: "granted",
			Push: engage.PushTarget{Provider: "fcm", Token: engage.Secret(token), At: t0.AddDate(0, 0, -daysOld)},
		}
		if user != "" {
			ti.Identifier = "user_id:" + user
		}
		return ti
	}
	profiles := func(f *family, kind engage.Kind) (out []string) {
		names := map[string]string{engage.ProfileKey(ws, engage.PersonID(ws, "user_id:ada")): "ada", engage.IdentifierKey(ws, "user_id:ada"): "id ada"}
		for _, e := range f.told {
			if e.Kind != kind {
				continue
			}
			name := names[e.Key]
			if name == "" {
				name = "another"
			}
			out = append(out, name)
		}
		return out
	}
	made := engage.ImportedInstall(ws, shopApp, "fcm", "t")
	ada := import1(made, "t", 10, "ada")

	t.Run("makes an install that is the person's", func(t *testing.T) {
		f := newFamily(t)
		f.says(engage.KindTokenImport, made, ada)
		f.settle()
		f.want(made, "fcm:t")
		if d := f.device(made); !d.Notifiable() || d.App != shopApp || !d.SeenAt.Equal(t0.AddDate(0, 0, -10)) {
			t.Errorf("device %+v", d)
		}
		if got, ids := profiles(f, engage.KindDevice), profiles(f, engage.KindIdentify); fmt.Sprint(got, ids) != "[ada] [id ada]" {
			t.Errorf("device to %v, identify to %v", got, ids)
		}
		told := len(f.told)
		f.says(engage.KindTokenImport, made, ada) // twice is once
		if f.settle(); len(f.told) != told {
			t.Errorf("again: %v", f.told[told:])
		}
	})
	t.Run("ends when the app gives the token", func(t *testing.T) {
		f := newFamily(t)
		f.says(engage.KindTokenImport, made, ada)
		f.settle()
		f.hello("a", fcmToken("t"))
		f.settle()
		f.want(made, "gone")
		f.want("a", "fcm:t")
		if got := profiles(f, engage.KindDeviceGone); fmt.Sprint(got) != "[ada]" {
			t.Errorf("gone from %v", got)
		}
		f.says(engage.KindTokenImport, made, ada) // the same file again, later, with a younger date
		young := import1(made, "t", -1, "ada")
		f.says(engage.KindTokenImport, made, young)
		f.settle()
		f.want(made, "gone")
		f.want("a", "fcm:t")
	})
	t.Run("is a stranger's once an app says its id", func(t *testing.T) {
		f := newFamily(t)
		f.says(engage.KindTokenImport, "phone-of-ada", import1("phone-of-ada", "t", 10, "ada"))
		f.settle()
		f.hello("phone-of-ada", nil)
		f.settle()
		if got := profiles(f, engage.KindDeviceGone); fmt.Sprint(got) != "[ada]" {
			t.Errorf("gone from %v", got)
		}
		if got := profiles(f, engage.KindDevice); fmt.Sprint(got) != "[ada another]" {
			t.Errorf("device to %v", got)
		}
	})
	t.Run("takes nothing from an app", func(t *testing.T) {
		f := newFamily(t)
		f.hello("a", fcmToken("t"))
		f.says(engage.KindTokenImport, "a", import1("a", "old", 10, ""))
		f.want("a", "fcm:t")
		f.says(engage.KindTokenImport, "a", import1("a", "t", 10, ""))
		f.settle()
		f.want("a", "fcm:t")
		if f.device("a").Push.Imported {
			t.Error("what the app said became the file's")
		}
	})
	t.Run("becomes the app's when the app says hello under that id", func(t *testing.T) {
		f := newFamily(t)
		f.says(engage.KindTokenImport, "b", import1("b", "t", 10, "ada"))
		f.hello("b", fcmToken("t"))
		f.hello("c", fcmToken("v"))
		f.settle()
		f.want("b", "fcm:t")
		if f.device("b").Push.Imported {
			t.Error("it is the file's still")
		}
		slot, _ := f.State(engage.TokenKey(ws, shopApp, "fcm", "t")).(*situate.Slot)
		if slot == nil || slot.Imported || slot.Install != "b" {
			t.Errorf("the owner knows %+v", slot)
		}
	})
	t.Run("goes to another person when a file says so", func(t *testing.T) {
		f := newFamily(t)
		bob := import1(made, "t", 10, "bob")
		f.says(engage.KindTokenImport, made, bob)
		f.told = nil
		f.says(engage.KindTokenImport, made, ada)
		f.settle()
		if got := fmt.Sprint(profiles(f, engage.KindDeviceGone), profiles(f, engage.KindDevice)); got != "[another] [ada]" {
			t.Errorf("gone from and come to %s", got)
		}
	})
	t.Run("goes on with whom its person has become", func(t *testing.T) {
		f := newFamily(t)
		f.says(engage.KindTokenImport, made, ada)
		from := engage.PersonID(ws, "user_id:ada")
		f.told = nil
		for range 2 {
			f.says(engage.KindGiveInstall, made, engage.GiveInstall{From: from, To: "0123"})
		}
		if got := fmt.Sprint(profiles(f, engage.KindDeviceGone), profiles(f, engage.KindDevice)); got != "[] [another]" {
			t.Errorf("gone from and come to %s", got)
		}
		f.says(engage.KindTokenImport, "install-b", import1("install-b", "u", 10, "ada"))
		f.hello("install-b", fcmToken("u")) // an app speaks for it
		f.told = nil
		f.says(engage.KindGiveInstall, "install-b", engage.GiveInstall{From: from, To: "0123"})
		f.says(engage.KindGiveInstall, "nobody", engage.GiveInstall{From: from, To: "0123"})
		if len(f.told) != 0 || f.device("nobody") != nil {
			t.Errorf("told %v", f.told)
		}
	})
}
