package app

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

var withdrew = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func personWhoSaid(granted bool) *decide.Person {
	p := &decide.Person{}
	p.Consents = p.Consents.With(engage.ConsentMarketing, engage.Consent{Granted: granted, At: withdrew})
	return p
}

func TestAnAnswerIsRememberedOnlyWhileItIsTheNewest(t *testing.T) {
	var a answers
	if _, known := a.find("w/p:ada"); known {
		t.Error("an answer of nobody")
	}
	a.observe("w/p:ada", personWhoSaid(false))
	if x, known := a.find("w/p:ada"); !known || !x.withdrawn.Equal(withdrew) {
		t.Errorf("withdrawn: %v, %v", x, known)
	}
	a.observe("w/p:ada", personWhoSaid(true))
	if x, known := a.find("w/p:ada"); !known || !x.withdrawn.IsZero() {
		t.Errorf("given again: %v, %v", x, known)
	}
	a.observe("w/p:ada", nil) // has become somebody else
	if _, known := a.find("w/p:ada"); known {
		t.Error("the answer of somebody who is not there any more")
	}
	a.observe("w/p:ada", personWhoSaid(false))
	for i := range 3 * maxAnswers {
		a.observe(fmt.Sprintf("w/p:%d", i), personWhoSaid(true))
	}
	if len(a.of) > maxAnswers || len(a.newest) > maxAnswers {
		t.Errorf("%d answers, %d keys", len(a.of), len(a.newest))
	}
	if _, known := a.find("w/p:ada"); known {
		t.Error("the oldest was kept")
	}
}

// A forgotten key stays in the ring and may come to stand there twice: the answer that
// is the newest must not go with the older place.
func TestWhoWasForgottenAndCameBackIsJudgedByTheNewestAnswer(t *testing.T) {
	var a answers
	a.observe("w/p:ada", personWhoSaid(true))
	a.observe("w/p:ada", nil)
	a.observe("w/p:ada", personWhoSaid(false))
	for i := range maxAnswers {
		a.observe(fmt.Sprintf("w/p:%d", i), personWhoSaid(true))
		if x, known := a.find("w/p:ada"); known && x.withdrawn.IsZero() {
			t.Fatal("an old answer")
		}
	}
}

func TestWhoHasNotMovedIsAskedOfTheStoreOnceUntilTheyMove(t *testing.T) {
	states, err := sqlite.Open(t.Context(), sqlite.Options{Path: t.TempDir() + "/states.db", Now: time.Now, Collections: []store.Collection{{Name: "state_act"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = states.Close() })
	counted := &countedGets{Store: states}
	var m moves
	for range 3 {
		if is, err := m.id(t.Context(), counted, "w", "ada"); err != nil || is != "ada" {
			t.Fatalf("%s, %v", is, err)
		}
	}
	if counted.n != 1 {
		t.Errorf("the store was asked %d times, want once", counted.n)
	}
	m.observe(engage.ProfileKey("w", "ada"), &decide.Moved{Redirect: "bea"})
	if is, err := m.id(t.Context(), counted, "w", "ada"); err != nil || is != "bea" {
		t.Errorf("after the move: %s, %v", is, err)
	}
	// Somebody moves while the store is asked, which has not heard of it: what it says is
	// not remembered.
	counted.during = func() { m.observe(engage.ProfileKey("w", "cy"), &decide.Moved{Redirect: "bea"}) }
	if _, err := m.id(t.Context(), counted, "w", "cy"); err != nil {
		t.Fatal(err)
	}
	if is, err := m.id(t.Context(), counted, "w", "cy"); err != nil || is != "bea" {
		t.Errorf("after a move in between: %s, %v", is, err)
	}
}

// countedGets counts how often the store is asked for one document.
type countedGets struct {
	store.Store
	n      int
	during func() // while it is asked
}

func (c *countedGets) Get(ctx context.Context, collection string, k store.Key) (store.Doc, error) {
	c.n++
	d, err := c.Store.Get(ctx, collection, k)
	if c.during != nil {
		c.during()
	}
	return d, err
}
