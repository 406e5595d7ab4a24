package ingest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
)

// vault keeps credentials; between, if set, runs once between a read and its write.
type vault struct {
	byInstall map[string]Credential
	between   func()
	writes    int
}

func (v *vault) Credential(_ context.Context, _, install string) (Credential, error) {
	c := v.byInstall[install]
	if f := v.between; f != nil {
		v.between = nil
		f()
	}
	return c, nil
}

func (v *vault) PutCredential(_ context.Context, _, install string, c Credential, ifVersion int64) error {
	if v.byInstall[install].Version != ifVersion {
		return engage.Errorf(engage.Conflict, "", "another was faster")
	}
	v.writes++
	c.Version = ifVersion + 1
	v.byInstall[install] = c
	return nil
}

// tokens is a gateway with nothing but credentials.
type tokens struct {
	*testing.T
	g     *Gateway
	vault *vault
	clock *clock.Manual
	app   App
}

func newTokens(t *testing.T) *tokens {
	x := &tokens{
		T: t, vault: &vault{byInstall: map[string]Credential{}}, app: App{Workspace: "acme", ID: "shop"},
		clock: clock.NewManual(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)),
	}
	x.g = &Gateway{o: Options{Credentials: x.vault, Clock: x.clock}}
	x.g.o.Limits.setDefaults()
	return x
}

func (x *tokens) mint(install string) string {
	x.Helper()
	token, err := x.g.mint(x.Context(), &x.app, install)
	if err != nil {
		x.Fatal(err)
	}
	return token
}

func (x *tokens) rotate(install string) string {
	x.Helper()
	token, err := x.g.rotate(x.Context(), &x.app, install)
	if err != nil {
		x.Fatal(err)
	}
	return token
}

// opens reports whether a token is taken, and whether another is due.
func (x *tokens) opens(install, token string) (ok, due bool) {
	x.Helper()
	due, err := x.g.authenticate(x.Context(), &x.app, install, token)
	if e, refused := err.(*sdkproto.Error); refused && e.Code == sdkproto.ErrToken { //nolint:errorlint // as it is told
		return false, false
	}
	if err != nil {
		x.Fatal(err)
	}
	return true, due
}

func TestATokenLivesUntilTheNextIsUsed(t *testing.T) {
	x := newTokens(t)
	first := x.mint("a")
	x.opens("a", first)
	lost := x.rotate("a") // its answer never arrives
	if ok, _ := x.opens("a", first); !ok {
		t.Fatal("a lost answer locks the phone out")
	}
	second := x.rotate("a")
	for _, token := range []string{first, first} {
		if ok, _ := x.opens("a", token); !ok {
			t.Fatal("the token in use died before the next was used")
		}
	}
	if ok, _ := x.opens("a", lost); ok {
		t.Error("a token that was replaced unused is valid")
	}
	if ok, _ := x.opens("a", second); !ok {
		t.Fatal("the next token is refused")
	}
	if ok, _ := x.opens("a", first); ok {
		t.Error("the old token is valid after the next was used")
	}
	if ok, _ := x.opens("a", second); !ok {
		t.Error("the token in use is refused")
	}
	if _, err := x.g.mint(t.Context(), &x.app, "a"); err == nil {
		t.Error("a registered install was given a token without showing one")
	}
	for _, token := range []string{"", "x", strings.Repeat("A", 43)} {
		if ok, _ := x.opens("a", token); ok {
			t.Errorf("%q opens", token)
		}
	}
	other := x.app
	other.ID = "other"
	if _, err := x.g.authenticate(t.Context(), &other, "a", second); err == nil {
		t.Error("the token is valid for another app")
	}
	if _, err := x.g.rotate(t.Context(), &other, "a"); err == nil {
		t.Error("another app rotates the token")
	}
	if _, err := x.g.rotate(t.Context(), &x.app, "b"); err == nil {
		t.Error("an install that is not there has a token rotated")
	}
	if c := x.vault.byInstall["a"]; c.Next != nil || !c.Confirmed || len(c.Hash) != 32 {
		t.Errorf("kept %+v", c)
	}
}

// Whoever else writes in between, what was told is what is kept.
func TestRotationSurvivesARace(t *testing.T) {
	x := newTokens(t)
	first := x.mint("a")
	x.opens("a", first)
	next := x.rotate("a")
	// The next token is used while another is made: then that one is no more.
	x.vault.between = func() { x.opens("a", next) }
	third := x.rotate("a")
	for token, want := range map[string]bool{first: false, next: true} {
		if ok, _ := x.opens("a", token); ok != want {
			t.Errorf("opens: %v, want %v", ok, want)
		}
	}
	if ok, _ := x.opens("a", third); !ok {
		t.Error("the token that was told last is refused")
	}
	if ok, _ := x.opens("a", next); ok {
		t.Error("two tokens in use")
	}
	// Two uses of the next one at once.
	fourth := x.rotate("a")
	x.vault.between = func() { x.opens("a", fourth) }
	if ok, _ := x.opens("a", fourth); !ok {
		t.Error("the faster of two uses locks the other out")
	}
}

func TestAnOldTokenIsReplacedNotRefused(t *testing.T) {
	x := newTokens(t)
	token := x.mint("a")
	if ok, due := x.opens("a", token); !ok || due {
		t.Fatalf("new: %v %v", ok, due)
	}
	x.clock.Advance(30*24*time.Hour - time.Second)
	if _, due := x.opens("a", token); due {
		t.Error("due too early")
	}
	x.clock.Advance(time.Second)
	if ok, due := x.opens("a", token); !ok || !due {
		t.Errorf("after 30 days: %v %v", ok, due)
	}
	writes := x.vault.writes
	next := x.rotate("a")
	for range 10 { // reconnecting, the answer lost
		if ok, due := x.opens("a", token); !ok || due {
			t.Fatalf("right after the offer: %v %v", ok, due)
		}
	}
	if x.vault.writes != writes+1 {
		t.Errorf("%d writes", x.vault.writes-writes)
	}
	x.clock.Advance(time.Hour)
	if ok, due := x.opens("a", token); !ok || !due {
		t.Errorf("an hour later: %v %v", ok, due)
	}
	if ok, due := x.opens("a", next); !ok || due {
		t.Errorf("the next: %v %v", ok, due)
	}
	x.clock.Advance(5 * 365 * 24 * time.Hour)
	if ok, due := x.opens("a", next); !ok || !due {
		t.Errorf("after years: %v %v", ok, due)
	}
}

// A credential of an earlier build has no time: each is due on one day of thirty.
func TestTokensOfUnknownAgeAreReplacedOneByOne(t *testing.T) {
	x := newTokens(t)
	const n = 3000
	perDay := map[int]int{}
	for i := range n {
		id := fmt.Sprintf("install-%d", i)
		x.vault.byInstall[id] = Credential{App: "shop", Hash: tokenHash(id), Confirmed: true, Version: 1}
	}
	for day := range 30 {
		for i := range n {
			id := fmt.Sprintf("install-%d", i)
			ok, due := x.opens(id, id)
			if !ok {
				t.Fatal("refused")
			}
			if due {
				perDay[day]++
			}
		}
		x.clock.Advance(24 * time.Hour)
	}
	total := 0
	for day := range 30 {
		total += perDay[day]
		if perDay[day] == 0 || perDay[day] > 2*n/30 {
			t.Errorf("day %d: %d", day, perDay[day])
		}
	}
	if total != n {
		t.Errorf("%d of %d", total, n)
	}
}
