package app_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// What was listed as dropped of a person goes with them. A file that waits with rows of
// theirs, half of it here, brings them not back, and goes when it is processed.
func TestAnErasureTakesWhatWasDroppedAndWhatWaitsInFiles(t *testing.T) {
	s := newStory(t)
	var k struct{ Token string }
	s.must("POST", "/api/v1/write-keys", map[string]string{"name": "till", "kind": "server", "source": "till"}, &k)
	s.must("PUT", "/api/v1/attribute-types/points", map[string]string{"type": "number"}, nil)
	for _, user := range []string{"ada-of-byron", "ben-other"} {
		// A value of another type, which decide lists, and an order that is none, which the
		// tracking API does.
		s.tracked(k.Token, "/v1/identify", fmt.Sprintf(`{"messageId":"m-%s","userId":%q,"traits":{"points":"many","city":"Delft"}}`, user, user))
		s.tracked(k.Token, "/v1/track", fmt.Sprintf(`{"messageId":"o-%s","userId":%q,"event":"Order Completed","properties":{"order_id":"o1","total":"odd"}}`, user, user))
	}
	dropped := func() []string {
		var page struct{ Items []engage.Dropped }
		s.must("GET", "/api/v1/dropped", nil, &page)
		out := []string{}
		for _, d := range page.Items {
			out = append(out, d.Message+" "+d.Field)
		}
		slices.Sort(out)
		return out
	}
	s.settle()
	s.eventually("four lines are listed", func() bool {
		if err := s.app.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(dropped()) == 4
	})
	var person struct{ ID string }
	s.must("GET", "/api/v1/people/user_id:ada-of-byron", nil, &person)

	var u uploadState
	file := "user_id,city\nben-other,Gouda\nada-of-byron,Gouda\n"
	s.must("POST", "/api/v1/uploads", map[string]any{"kind": "people", "size": len(file)}, &u)
	s.content(&u, file[:len(file)-3], false)
	spool := filepath.Join(s.opts.Config.DataDir, "uploads")
	if names := s.inFiles("ada-of-byron"); !slices.ContainsFunc(slices.Collect(maps.Keys(names)), func(path string) bool { return strings.HasPrefix(path, "uploads") }) {
		t.Fatalf("the file waits elsewhere: %v", names)
	}

	e := s.erase("user_id:ada-of-byron", "?suppress=true")
	if e.Deleted["dropped"] != 2 {
		t.Errorf("receipt %+v", e.Deleted)
	}
	if got := dropped(); len(got) != 2 || got[0] == "" || strings.Contains(fmt.Sprint(got), "ada") {
		t.Errorf("the list has %v", got)
	}
	s.content(&u, file[len(file)-3:], true)
	s.processed(&u)
	if u.Taken != 1 || u.Refused != 1 {
		t.Errorf("the upload: %+v", u)
	}
	for _, id := range []string{"user_id:ada-of-byron", person.ID} {
		if code := s.call("GET", "/api/v1/people/"+id, nil, nil); code != 404 {
			t.Errorf("%s is there again: %d", id, code)
		}
	}
	var ben struct{ Attributes map[string]any }
	s.must("GET", "/api/v1/people/user_id:ben-other", nil, &ben)
	if ben.Attributes["city"] != "Gouda" {
		t.Errorf("Ben has %v", ben.Attributes)
	}
	if _, err := os.Stat(filepath.Join(spool, u.ID, "body")); !os.IsNotExist(err) {
		t.Errorf("the file is there still: %v", err)
	}
	for path, what := range s.inFiles("ada-of-byron", person.ID) {
		if !strings.HasPrefix(path, "log") {
			t.Errorf("%s still has %v", path, what)
		}
	}
}

// Rows that were sent in before an erasure, and wait, do not bring back whom it erased, by
// whichever of their ids; what is sent in afterwards is of a new person, and others' rows
// are taken.
func TestRowsThatWaitBringNobodyBackWhoWasErased(t *testing.T) {
	s := newStory(t)
	s.uploaded("people", "user_id,email,city\nada-of-byron,ada@example.com,London\nben-other,,Delft\n")
	var waits, late uploadState
	first := "email,points\nada@example.com,7\nben@example.com,7\n"
	s.must("POST", "/api/v1/uploads", map[string]any{"kind": "people"}, &waits)
	s.content(&waits, first[:20], false)
	s.erase("user_id:ada-of-byron", "")

	// Half of it came before the erasure; all of it belongs to before.
	s.content(&waits, first[20:], true)
	s.processed(&waits)
	if waits.Taken != 1 || waits.Refused != 1 {
		t.Errorf("the upload that waited: %+v", waits)
	}
	for _, id := range []string{"user_id:ada-of-byron", "email:ada@example.com"} {
		if code := s.call("GET", "/api/v1/people/"+id, nil, nil); code != 404 {
			t.Errorf("%s is there again: %d", id, code)
		}
	}
	s.must("GET", "/api/v1/people/email:ben@example.com", nil, nil)

	s.clock.Advance(time.Second)
	s.must("POST", "/api/v1/uploads", map[string]any{"kind": "people"}, &late)
	s.content(&late, "email,points\nada@example.com,8\n", true)
	s.processed(&late)
	var ada struct{ Attributes map[string]any }
	s.must("GET", "/api/v1/people/email:ada@example.com", nil, &ada)
	if late.Taken != 1 || len(ada.Attributes) != 1 || ada.Attributes["points"] != 8.0 {
		t.Errorf("afterwards: %+v, a person with %v", late, ada.Attributes)
	}
}
