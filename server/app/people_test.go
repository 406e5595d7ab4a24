package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// inFiles are the files of the data folder that have one of the texts in them.
func (s *story) inFiles(texts ...string) map[string][]string {
	s.t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(s.opts.Config.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, text := range texts {
			if bytes.Contains(b, []byte(text)) {
				rel, _ := filepath.Rel(s.opts.Config.DataDir, path)
				found[rel] = append(found[rel], text)
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// snapshotsOf are the snapshots of a profile as they are stored.
func (s *story) snapshotsOf(profile string) (all []string) {
	s.t.Helper()
	err := s.app.States().Iterate(s.t.Context(), decide.Snapshots, store.Query{Workspace: "default", IDPrefix: decide.SnapshotShelf(profile)}, func(d store.Doc) error {
		all = append(all, string(d.Body))
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// noClaimInSnapshots looks through all that are kept.
func (s *story) noClaimInSnapshots(identifier string) {
	s.t.Helper()
	n := 0
	err := s.app.States().Iterate(s.t.Context(), decide.Snapshots, store.Query{Workspace: "default"}, func(d store.Doc) error {
		x, err := decide.DecodeSnapshot(d.Body)
		if err != nil {
			return err
		}
		n++
		if x.State.Claimed == identifier {
			s.t.Errorf("the snapshot %s still says %s", d.ID, identifier)
		}
		return nil
	})
	if err != nil || n == 0 {
		s.t.Fatalf("%d snapshots, %v", n, err)
	}
}

// erase erases somebody and waits for the receipt.
func (s *story) erase(id, query string) engage.Erasure {
	s.t.Helper()
	var e engage.Erasure
	s.must("DELETE", "/api/v1/people/"+url.PathEscape(id)+query, nil, &e)
	s.eventually("the erasure is done", func() bool {
		s.clock.Advance(time.Second)
		s.must("GET", "/api/v1/erasures/"+e.ID, nil, &e)
		return e.State == engage.ErasureDone
	})
	return e
}

// A person with a history of everything is exported, erased, and found in no file any
// more once the log's retention is over. Others stay.
func TestAnErasedPersonIsNowhere(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.campaign("rainy-day", nil)
	ada := s.phone("ada-lovelace", "android", func(o *client.Options) {
		o.PushTarget.Token = fcmsim.Token("", "countess")
	}).agree().likes("fashion").background()
	ada.identify("ada-of-byron").post()
	ada.at(cafe, 10).post()
	s.eventually("a push reaches Ada", func() bool { return len(s.pushesTo(ada)) == 1 })
	s.want(ada, "rainy-day", engage.Sent, "")
	ada.foreground()
	ben := s.phone("ben", "android", nil).agree().likes("fashion").background()
	ben.identify("ben-other").post()
	ben.at(cafe, 10).post()
	s.eventually("a push reaches Ben", func() bool { return len(s.pushesTo(ben)) == 1 })
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var person struct{ ID string }
	s.must("GET", "/api/v1/people/user_id:ada-of-byron", nil, &person)
	var young struct{ Deliveries []json.RawMessage } // they are kept for a day
	s.must("GET", "/api/v1/people/user_id:ada-of-byron/export", nil, &young)
	if len(young.Deliveries) != 1 || !strings.Contains(string(young.Deliveries[0]), "rainy-day") || strings.Contains(string(young.Deliveries[0]), ada.token) {
		t.Errorf("the export has the deliveries %s", young.Deliveries)
	}
	// The next day finds her as she was, which is kept.
	s.clock.Advance(24 * time.Hour)
	ada.likes("poetry")
	var k struct{ Token string }
	s.must("POST", "/api/v1/write-keys", map[string]string{"name": "page", "kind": "public"}, &k)
	for _, who := range []string{"ada-of-byron", "ben-other"} { // which proves nobody's identity, and is dropped
		s.tracked(k.Token, "/v1/track", `{"userId":"`+who+`","event":"Looked","messageId":"`+who+`"}`)
	}
	// Pages and an app whom nobody believes say that others are she: one of a browser of
	// nobody, one of a browser that is Ben's by now (its shadow), and one of a browser that
	// says so no more.
	var server struct{ Token string }
	s.must("POST", "/api/v1/write-keys", map[string]string{"name": "till", "kind": "server"}, &server)
	s.tracked(server.Token, "/v1/identify", `{"userId":"ada-of-byron","traits":{"email":"Ada@Byron.example"},"messageId":"mail"}`)
	s.tracked(server.Token, "/v1/identify", `{"userId":"ben-other","anonymousId":"browser-of-ben","messageId":"ben"}`)
	s.settle()
	for _, browser := range []string{"browser-of-nobody", "browser-of-ben", "browser-of-two"} {
		s.tracked(k.Token, "/v1/identify", `{"userId":"ada-of-byron","anonymousId":"`+browser+`","traits":{"email":"ada@byron.example","city":"`+browser+`"},"messageId":"i-`+browser+`"}`)
		s.tracked(k.Token, "/v1/track", `{"userId":"ada-of-byron","anonymousId":"`+browser+`","event":"Looked","properties":{"to":["ada@byron.example","all"],"n":1.50},"messageId":"t-`+browser+`"}`)
	}
	s.settle()
	s.clock.Advance(24 * time.Hour) // what they were by then is kept
	s.tracked(k.Token, "/v1/track", `{"userId":"charles","anonymousId":"browser-of-two","event":"Looked","messageId":"t2"}`)
	s.tracked(k.Token, "/v1/track", `{"userId":"ada-of-byron","anonymousId":"browser-of-nobody","event":"Looked again","messageId":"t3"}`)
	s.putIfMatch("/api/v1/apps/android/identity", map[string]any{"mode": "off"}, s.version("/api/v1/apps/android"))
	s.speaker("android", "phone-of-eve").post(&sdkpb.Item{OccurredMs: s.clock.Now().UnixMilli(), Identify: &sdkpb.Identify{UserId: "ada-of-byron"}})
	s.settle()
	s.eventually("what was dropped is listed", func() bool {
		var page struct{ Items []engage.Dropped }
		s.must("GET", "/api/v1/dropped", nil, &page)
		return len(page.Items) >= 2
	})
	s.flushed()
	claimers := []string{"anonymous_id:browser-of-nobody", "anonymous_id:browser-of-two", "install:phone-of-eve"}
	for _, id := range claimers[:1] {
		if got := s.person(id); !strings.Contains(got, `"claimed_unproven":"user_id:ada-of-byron"`) {
			t.Fatalf("%s claims nothing: %s", id, got)
		}
	}
	snapshots := s.snapshotsOf(person.ID)
	if len(snapshots) == 0 {
		t.Fatal("no snapshot of Ada is kept: that it is erased proves nothing")
	}
	names := []string{"ada-of-byron", "ada@byron.example", "Ada@Byron.example", ada.install, person.ID, ada.profile, ada.token}

	// A copy of everything, without the key to the phone.
	var export map[string]json.RawMessage
	s.must("GET", "/api/v1/people/user_id:ada-of-byron/export", nil, &export)
	for _, part := range []string{"persons", "installs", "timeline", "visits", "decisions", "accesses", "dropped", "snapshots"} {
		if len(export[part]) < len(`[{"v":1}]`) {
			t.Errorf("the export has no %s: %s", part, export[part])
		}
	}
	whole, err := json.Marshal(export)
	if err != nil {
		t.Fatal(err)
	}
	for _, there := range []string{"ada-of-byron", ada.install, "fashion", "rainy-day", `"withheld"`} {
		if !strings.Contains(string(whole), there) {
			t.Errorf("the export lacks %s", there)
		}
	}
	if strings.Contains(string(whole), ada.token) || strings.Contains(string(whole), "ben-other") {
		t.Error("the export has a push token, or somebody else")
	}

	if len(s.inFiles(names...)) == 0 {
		t.Fatal("the search finds nothing: it proves nothing")
	}
	names = append(names, snapshots...) // which are compressed: her names do not stand in them
	e := s.erase("user_id:ada-of-byron", "?suppress=true&reason=asked")
	if e.Deleted["timeline"] == 0 || e.Deleted["decisions"] == 0 || e.Deleted["snapshots"] < int64(len(snapshots)) || e.Deleted["credentials"] == 0 || e.LogUntil.Sub(e.At) < 7*24*time.Hour {
		t.Errorf("receipt %+v", e)
	}
	if left := s.snapshotsOf(person.ID); len(left) != 0 {
		t.Errorf("%d snapshots are left", len(left))
	}
	for _, name := range names {
		if text, _ := json.Marshal(e); strings.Contains(string(text), name) {
			t.Errorf("the receipt names %s: %s", name, text)
		}
	}
	for _, id := range []string{"user_id:ada-of-byron", person.ID, ada.profile, "install:" + ada.install} {
		if code := s.call("GET", "/api/v1/people/"+url.PathEscape(id), nil, nil); code != 404 {
			t.Errorf("%s is there: %d", id, code)
		}
	}
	var asked struct{ Items []engage.Erasure }
	s.must("GET", "/api/v1/erasures?identifier=user_id:ada-of-byron", nil, &asked)
	if len(asked.Items) != 1 || asked.Items[0].ID != e.ID {
		t.Errorf("asked for by her id: %+v", asked)
	}
	s.must("GET", "/api/v1/suppressions/user_id:ada-of-byron", nil, nil)
	s.must("GET", "/api/v1/people/user_id:ben-other", nil, nil)
	// Who was said to be she goes on, without that.
	if e.Deleted["claims"] != 4 {
		t.Errorf("%d claims were found: %v", e.Deleted["claims"], e.Deleted)
	}
	for _, id := range claimers {
		var all json.RawMessage
		s.must("GET", "/api/v1/people/"+url.PathEscape(id)+"/export", nil, &all)
		for _, name := range names[:3] {
			if strings.Contains(string(all), name) {
				t.Errorf("%s still has %s: %s", id, name, all)
			}
		}
	}
	if got := s.person("anonymous_id:browser-of-nobody"); !strings.Contains(got, `"city":"browser-of-nobody"`) || strings.Contains(got, "email") {
		t.Errorf("what a browser said of itself: %s", got)
	}
	if got := s.person("anonymous_id:browser-of-two"); !strings.Contains(got, `"claimed_unproven":"user_id:charles"`) {
		t.Errorf("what a browser says of somebody else: %s", got)
	}
	var told struct{ Items []json.RawMessage }
	s.must("GET", "/api/v1/people/anonymous_id:browser-of-nobody/timeline", nil, &told)
	if got := fmt.Sprintf("%s", told.Items); len(told.Items) != 3 || !strings.Contains(got, `"Looked again"`) || !strings.Contains(got, `"to":["all"]`) || !strings.Contains(got, `"n":1.5`) {
		t.Errorf("a browser's history is %s", got)
	}
	s.noClaimInSnapshots("user_id:ada-of-byron")

	// At once in no file but the log's; after its retention in none.
	for path, what := range s.inFiles(names...) {
		if !strings.HasPrefix(path, "log") {
			t.Errorf("%s still has %v", path, what)
		}
	}
	s.clock.Advance(e.LogUntil.Sub(s.clock.Now()) + time.Minute)
	s.eventually("the log has lost her", func() bool {
		s.must("GET", "/api/v1/erasures/"+e.ID, nil, &e)
		return !e.LogRemovedAt.IsZero()
	})
	s.stop()
	s.phones = nil
	for path, what := range s.inFiles(names...) {
		t.Errorf("after the retention %s still has %v", path, what)
	}
}

// An id that nobody can have is nobody's: it is no fault of the server's.
func TestAnIDThatNobodyCanHaveIsNobodys(t *testing.T) {
	s := newStory(t)
	for _, path := range []string{"people/%00", "people/%ff", "people/user_id:%00", "people/user_id:%ff", "people/install:%00", "people/install:%ff/timeline", "erasures/%00", "decisions?profile=%00"} {
		if code := s.call("GET", "/api/v1/"+path, nil, nil); code != 404 {
			t.Errorf("%s is answered %d", path, code)
		}
	}
}

// A phone whose app lives on is a stranger afterwards: what it sent under its old
// token is refused, and nothing of before comes back.
func TestAPhoneOfAnErasedPersonIsAStranger(t *testing.T) {
	s := newStory(t)
	r := s.speaker("android", "phone-of-ada")
	user := &sdkpb.Item{OccurredMs: s.clock.Now().UnixMilli(), Identify: &sdkpb.Identify{
		UserId: "ada", Hmac: hmacOf(identitySecret, "android", "ada"),
	}}
	if got, _ := r.post(user); got[0] != "" {
		t.Fatalf("identify: %v", got)
	}
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.erase("user_id:ada", "")
	reply, status := s.send("POST", "/sdk/v1/batch", r.head(), &sdkpb.Batch{SentMs: s.clock.Now().UnixMilli()})
	if status != 401 {
		t.Errorf("the old token: %d %v", status, reply)
	}
	if code := s.call("GET", "/api/v1/people/install:phone-of-ada", nil, nil); code != 404 {
		t.Errorf("the install is a person: %d", code)
	}
}

// A server that dies in the middle of an erasure goes on with it.
func TestAnErasureOutlivesTheServer(t *testing.T) {
	s := newStory(t)
	ada := s.phone("ada", "android", nil).agree().background()
	ada.identify("ada").post()
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var e engage.Erasure
	s.must("DELETE", "/api/v1/people/user_id:ada", nil, &e) // its second look waits for the clock, which stands
	s.stop()
	s.phones = nil
	s.serve()
	s.eventually("the erasure is done", func() bool {
		s.clock.Advance(time.Second)
		s.must("GET", "/api/v1/erasures/"+e.ID, nil, &e)
		return e.State == engage.ErasureDone
	})
	if code := s.call("GET", "/api/v1/people/user_id:ada", nil, nil); code != 404 {
		t.Errorf("Ada is there: %d", code)
	}
}

// Who is on the suppression list stays a stranger, proof or not; who has proven nothing
// is not told who is on it.
func TestASuppressedUserIsLeftAlone(t *testing.T) {
	s := newStory(t)
	s.must("POST", "/api/v1/suppressions", map[string]string{"identifier": "user_id:ada-of-byron"}, nil)
	r := s.speaker("android", "phone-of-ada")
	identify := func(user, proof string) *sdkpb.Item {
		return &sdkpb.Item{OccurredMs: s.clock.Now().UnixMilli(), Identify: &sdkpb.Identify{UserId: user, Hmac: proof, TraitsJson: `{"city":"London"}`}}
	}
	got, _ := r.post(identify("ada-of-byron", hmacOf(identitySecret, "android", "ada-of-byron")), identify("ben", hmacOf(identitySecret, "android", "ben")))
	if got[0] != "consent_missing user_id" || got[1] != "" {
		t.Errorf("refused with %q", got)
	}
	s.putIfMatch("/api/v1/apps/android/identity", map[string]any{"mode": "off"}, s.version("/api/v1/apps/android"))
	eve := s.speaker("android", "phone-of-eve")
	if got, _ := eve.post(identify("ada-of-byron", ""), identify("charles", "")); got[0] != "" || got[1] != "" {
		t.Errorf("an unproven one was refused with %q", got)
	}
	s.settle()
	if got := s.person("install:phone-of-eve"); strings.Contains(got, "ada-of-byron") || !strings.Contains(got, "charles") {
		t.Errorf("Eve's person: %s", got)
	}
	// Files are no way around it.
	if u := s.uploaded("people", "user_id,city\nada-of-byron,London\ncharles,Delft\n"); u.Taken != 1 || u.Refused != 1 {
		t.Errorf("of an upload %d were taken, %d refused", u.Taken, u.Refused)
	}
	if r := s.importTokens("user_id,token,last_seen\nada-of-byron,t,2026-11-01\n"); r.Refused != 1 || r.Taken != 0 {
		t.Errorf("of her token: %+v", r)
	}
	if code := s.call("GET", "/api/v1/people/user_id:ada-of-byron", nil, nil); code != 404 {
		t.Errorf("Ada is known: %d", code)
	}
}

// writeKeys are one of each kind.
func (s *story) writeKeys() map[string]string {
	s.t.Helper()
	keys := map[string]string{}
	for _, kind := range []string{"server", "public"} {
		var k struct{ Token string }
		s.must("POST", "/api/v1/write-keys", map[string]string{"name": kind, "kind": kind}, &k)
		keys[kind] = k.Token
	}
	return keys
}

// tracked brings a call of the tracking API.
func (s *story) tracked(key, path, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.SetBasicAuth(key, "")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer closing(s.t, resp.Body)
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s", path, resp.Status)
	}
}

// What a page's public key says in the name of somebody who is known changes nothing of
// them, and is theirs all the same when they are erased.
func TestAPublicKeyChangesNobodyWhoIsKnown(t *testing.T) {
	s := newStory(t)
	keys := s.writeKeys()
	s.tracked(keys["server"], "/v1/identify", `{"userId":"ada-of-byron","anonymousId":"browser-one-of-ada","traits":{"city":"London"},"messageId":"m1"}`)
	s.settle()
	before := s.person("user_id:ada-of-byron")
	if !strings.Contains(before, `"city":"London"`) {
		t.Fatalf("Ada is %s", before)
	}
	s.clock.Advance(time.Minute)
	s.tracked(keys["public"], "/v1/identify", `{"userId":"ada-of-byron","anonymousId":"browser-one-of-ada","traits":{"city":"Mallory"},"messageId":"m2"}`)
	s.tracked(keys["public"], "/v1/track", `{"userId":"ada-of-byron","anonymousId":"browser-one-of-ada","event":"Mallory looked","messageId":"m3"}`)
	s.tracked(keys["public"], "/v1/alias", `{"userId":"ada-of-byron","previousId":"browser-one-of-ada","messageId":"m4"}`)
	s.settle()
	if after := s.person("user_id:ada-of-byron"); after != before {
		t.Errorf("a public key changed Ada:\n%s\n%s", before, after)
	}
	if len(s.inFiles("Mallory")) == 0 {
		t.Fatal("nothing is kept of the browser: the rest proves nothing")
	}
	s.erase("user_id:ada-of-byron", "")
	for path, what := range s.inFiles("ada-of-byron", "browser-one-of-ada", "Mallory", "London") {
		if !strings.HasPrefix(path, "log") {
			t.Errorf("%s still has %v", path, what)
		}
	}
}
