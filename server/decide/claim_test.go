package decide_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
)

// claimed are the profiles that are listed as having been said to be somebody.
func (w *world) claimed(identifier string) (profiles []string) {
	w.Helper()
	docs := w.Docs(engage.Claims)
	for _, id := range sortedKeys(docs) {
		var c engage.Claim
		if err := json.Unmarshal(docs[id], &c); err != nil {
			w.Fatal(err)
		}
		if c.ID() != id || c.AtUS == 0 || strings.Contains(string(docs[id]), identifier) {
			w.Errorf("%s is %s", id, docs[id])
		}
		if c.Of == node(identifier) {
			profiles = append(profiles, c.Profile)
		}
	}
	return profiles
}

func claim(browser, user, id string, at time.Duration) engage.Entry {
	return touched(engage.Touch{ID: id, Identifiers: []string{"anonymous_id:" + browser}, Claimed: "user_id:" + user, Traits: map[string]any{"email": "Ada@byron.example", "city": "Delft"}}, at)
}

func disclaim(profile string, at time.Duration, identifiers ...string) engage.Entry {
	var d engage.Disclaim
	for _, id := range identifiers {
		d.Persons = append(d.Persons, node(id))
	}
	slices.Sort(d.Persons)
	return entry(engage.KindDisclaim, person(profile), at, d)
}

// Of whom a profile was ever said to be is listed, once, also where another took the claim
// over, and no identifier stands there.
func TestWhoeverWasSaidToBeSomebodyIsListed(t *testing.T) {
	w := newWorld(t)
	one, two := node("anonymous_id:one"), node("anonymous_id:two")
	w.apply(claim("one", "ada", "m1", 0), claim("one", "ada", "m2", sec), claim("one", "ben", "m3", 2*sec))
	w.apply(entry(engage.KindClaimed, person("aphone"), 3*sec, engage.Identify{Identifier: "user_id:ada", Profile: "aphone", Install: "phone"}))
	if got := w.claimed("user_id:ada"); !slices.Equal(got, []string{"aphone", one}) {
		t.Errorf("Ada is said to be %v", got)
	}
	if got := w.claimed("user_id:ben"); !slices.Equal(got, []string{one}) {
		t.Errorf("Ben is said to be %v", got)
	}
	// A merge of two browsers: the survivor has the claim.
	w.apply(claim("two", "zoe", "m4", 4*sec))
	w.apply(entry(engage.KindMerge, person(one), 5*sec, engage.Merge{With: two, Why: "alias"}))
	w.settle()
	survivor := w.who(one)
	if survivor.Claimed != "user_id:zoe" || !slices.Contains(w.claimed("user_id:zoe"), survivor.ID) {
		t.Errorf("%s claims to be %s: listed are %v", survivor.ID, survivor.Claimed, w.claimed("user_id:zoe"))
	}
}

// A profile forgets that it was said to be whom it is told to forget, wherever it is by
// then, and keeps the rest; what is kept of the day before does not have it either.
func TestAProfileForgetsWhomItWasSaidToBe(t *testing.T) {
	w := newWorld(t)
	one, two := node("anonymous_id:one"), node("anonymous_id:two")
	w.apply(claim("one", "ada", "m1", 0), claim("two", "ada", "m2", sec))
	w.apply(disclaim(one, 2*sec, "user_id:ben", "email:ben@byron.example"))
	if p := w.person(one); p.Claimed != "user_id:ada" || p.Attributes["email"] == nil {
		t.Errorf("what is of another was forgotten: %+v", p.Profile)
	}
	w.apply(entry(engage.KindMerge, person(one), 3*sec, engage.Merge{With: two, Why: "alias"}))
	w.settle()
	was := w.timelineOf(w.who(one).ID)
	for _, id := range []string{one, two, node("user_id:nobody")} { // one of the first two has moved
		w.apply(disclaim(id, 25*time.Hour, "user_id:ada", "email:ada@byron.example"))
	}
	w.settle()
	p := w.who(one)
	if p.Claimed != "" || p.Attributes["email"] != nil || p.Attributes["city"] != "Delft" || len(p.AttributeAt) != 1 {
		t.Errorf("it is %+v", p.Profile)
	}
	if now := w.timelineOf(p.ID); now != was {
		t.Errorf("the timeline was %s, is %s", was, now)
	}
	snapshots := w.Docs(decide.Snapshots)
	if len(snapshots) != 1 {
		t.Fatalf("%d snapshots", len(snapshots))
	}
	for id, body := range snapshots {
		var x decide.Snapshot
		if err := json.Unmarshal(body, &x); err != nil {
			t.Fatal(err)
		}
		if x.State == nil || x.State.Claimed != "" || x.State.Attributes["email"] != nil {
			t.Errorf("%s is %s", id, body)
		}
	}
	if w.State(person(node("user_id:nobody"))) != nil {
		t.Error("forgetting made a person")
	}
}
