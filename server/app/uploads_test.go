package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

type uploadState struct {
	ID, State            string
	SameAs               string `json:"same_as"`
	Received             int64
	Read, Taken, Refused int64
	Problem              *struct{ Field, Reason string }
}

// content sends a part of an upload.
func (s *story) content(u *uploadState, part string, last bool) {
	s.t.Helper()
	path := fmt.Sprintf("%s/api/v1/uploads/%s/content?offset=%d&last=%t", s.url, u.ID, u.Received, last)
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, path, strings.NewReader(part))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing in it is read
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("a part of upload %s: %s", u.ID, resp.Status)
	}
	s.must("GET", "/api/v1/uploads/"+u.ID, nil, u)
}

// uploaded sends a whole file and waits until it is processed.
func (s *story) uploaded(kind, text string) uploadState {
	s.t.Helper()
	var u uploadState
	s.must("POST", "/api/v1/uploads", map[string]any{"kind": kind}, &u)
	s.content(&u, text, true)
	s.processed(&u)
	return u
}

func (s *story) processed(u *uploadState) {
	s.t.Helper()
	s.eventually("the upload is processed", func() bool {
		s.must("GET", "/api/v1/uploads/"+u.ID, nil, u)
		return u.State == "done"
	})
	s.settle()
	if err := s.app.Flush(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// A file of people that is cut off by a restart, then what they did and bought: each is a
// person by any id, the same again changes nothing, and nothing is triggered.
func TestUploadedFilesMakePersonsAndTriggerNothing(t *testing.T) {
	s := newStory(t)
	s.campaign("looked", func(c map[string]any) {
		c["trigger"], c["context"], c["audience"] = map[string]any{"type": "event", "event": "Looked"}, nil, nil
	})
	var b strings.Builder
	b.WriteString("user_id,email,city,points,consents.marketing,consent_text_version,consent_at,consent_source\n")
	for i := range 600 {
		fmt.Fprintf(&b, "c%d,C%d@Example.com,Delft,%d,yes,v1,2026-10-01,till\n", i, i, i)
	}
	people := b.String() + "c600,nobody,Delft,1,,,,\n"
	var u uploadState
	s.must("POST", "/api/v1/uploads", map[string]any{"kind": "people", "size": len(people)}, &u)
	s.content(&u, people[:7000], false)
	s.stop()
	s.serve()
	s.must("GET", "/api/v1/uploads/"+u.ID, nil, &u)
	if u.Received != 7000 || u.State != "receiving" {
		t.Fatalf("after a restart: %+v", u)
	}
	s.content(&u, people[7000:], false)
	s.processed(&u)
	if u.Read != 601 || u.Taken != 600 || u.Refused != 1 {
		t.Errorf("people: %+v", u)
	}
	events := "user_id,event,occurred_at,category\n" + strings.Repeat("c7,Looked,2026-10-02T10:00:00Z,shoes\n", 2) + "c7,Looked,2026-10-03T10:00:00Z,shoes\n"
	if e := s.uploaded("events", events); e.Taken != 3 {
		t.Errorf("events: %+v", e)
	}
	purchases := "order_id,email,occurred_at,value,currency\nO1,c7@example.com,2026-10-04,12.5,EUR\n"
	if e := s.uploaded("purchases", purchases); e.Taken != 1 {
		t.Errorf("purchases: %+v", e)
	}
	s.settle()
	type person struct {
		ID         string
		Attributes map[string]any
		Consents   map[string]engage.Consent
	}
	look := func() (p person, raw string) {
		t.Helper()
		if err := s.app.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.must("GET", "/api/v1/people/email:c7@example.com", nil, &p)
		return p, s.person("user_id:c7")
	}
	p, before := look()
	if p.Attributes["city"] != "Delft" || p.Attributes["points"] != 7.0 || !p.Consents["marketing"].Granted || p.Consents["marketing"].TextVersion != "v1" {
		t.Errorf("person %+v", p)
	}
	if !strings.Contains(before, p.ID) || !strings.Contains(before, "12.5") {
		t.Errorf("by the user id it is somebody else, or has not bought: %s", before)
	}
	if again := s.uploaded("people", people); again.SameAs != u.ID {
		t.Errorf("the same file: %+v", again)
	}
	for kind, text := range map[string]string{"people": people, "events": events, "purchases": purchases} {
		s.uploaded(kind, text+"\n") // another file of the same rows
	}
	if _, after := look(); after != before {
		t.Errorf("the same rows changed\n%s to\n%s", before, after)
	}
	var told struct{ Items []struct{ Kind string } }
	s.must("GET", "/api/v1/people/user_id:c7/timeline?limit=100", nil, &told)
	touches := 0
	for _, e := range told.Items {
		if e.Kind == "touch" {
			touches++
		}
	}
	if touches != 4 { // one of people, two of the three events, the order
		t.Errorf("%d touches in the timeline: %+v", touches, told.Items)
	}
	var decided struct{ Items []struct{ ID string } }
	if s.must("GET", "/api/v1/decisions", nil, &decided); len(decided.Items) != 0 {
		t.Errorf("an upload was decided upon: %+v", decided.Items)
	}
}
