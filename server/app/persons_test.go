package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// personal makes a request in JSON as an install and gives the answer and its status.
func (r *speaker) personal(method, path, body string) (string, int) {
	r.s.t.Helper()
	req, err := http.NewRequestWithContext(r.s.t.Context(), method, r.s.url+path, strings.NewReader(body))
	if err != nil {
		r.s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for k, v := range r.head() {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.s.t.Fatal(err)
	}
	defer closing(r.s.t, resp.Body)
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.s.t.Fatal(err)
	}
	return string(b), resp.StatusCode
}

func (s *story) flushed() {
	s.t.Helper()
	s.settle()
	if err := s.app.Flush(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// What was tapped without a network comes in one POST: of each topic the last word counts.
func TestTheLastOfManyWordsInOneBatchCounts(t *testing.T) {
	s := newStory(t)
	p := s.phone("ada", "android", nil).agree()
	for topic, attitudes := range map[string][]sdkpb.Preferences_Attitude{
		"a": {2, 0, 1}, "b": {1, 2}, "c": {1, 0}, "d": {2, 1},
	} {
		for _, attitude := range attitudes {
			p.SetPreferences(map[string]sdkpb.Preferences_Attitude{topic: attitude})
		}
	}
	p.background()
	s.flushed()
	var is struct{ Preferences map[string]string }
	s.must("GET", "/api/v1/people/"+p.profile, nil, &is)
	want := map[string]string{"a": "like", "b": "dislike", "d": "like"}
	if !maps.Equal(is.Preferences, want) {
		t.Errorf("preferences %v, want %v", is.Preferences, want)
	}
}

// A page without an SDK's queue shows and changes preferences and consents, and what it
// puts is what an item says.
func TestAPreferenceCentreNeedsNoSocket(t *testing.T) {
	s := newStory(t)
	page := s.speaker("android", "install-page")
	if got, code := page.personal("GET", sdkproto.PathPreferences, ""); code != 200 || got != `{"topics":{},"through_seq":0}` {
		t.Errorf("%d %s", code, got)
	}
	for _, put := range []struct{ path, body, want string }{
		{"/preferences", `{"seq":1,"topics":{"fashion":"like","beer":"dislike","wine":"like"}}`, `{"through_seq":1}`},
		{"/consents/marketing", `{"seq":2,"granted":true,"text_version":"2026-11","source":"web"}`, `{"through_seq":2}`},
		{"/consents/location_precise", `{"seq":3,"granted":true}`, `{"through_seq":3}`},
		{"/preferences", `{"seq":4,"topics":{"wine":null}}`, `{"through_seq":4}`},
		{"/preferences", `{"seq":1,"topics":{"beer":"like"}}`, `{"through_seq":4}`}, // a number that was used
		{"/consents/location_precise", `{"seq":5,"granted":false}`, `{"through_seq":5}`},
	} {
		if got, code := page.personal("PUT", "/sdk/v1"+put.path, put.body); code != 200 || got != put.want {
			t.Errorf("%s: %d %s", put.body, code, got)
		}
		s.clock.Advance(time.Second) // what is said at the same moment has no order
	}
	s.flushed()
	if got, _ := page.personal("GET", sdkproto.PathPreferences, ""); got != `{"topics":{"beer":"dislike","fashion":"like"},"through_seq":5}` {
		t.Errorf("%s", got)
	}
	got, _ := page.personal("GET", sdkproto.PathConsents, "")
	var c sdkproto.Consents
	if err := json.Unmarshal([]byte(got), &c); err != nil {
		t.Fatal(err)
	}
	m := c.Consents["marketing"]
	if !m.Granted || !m.Here || m.TextVersion != "2026-11" || m.Source != "web" || !m.At.Equal(s.start.Add(time.Second)) {
		t.Errorf("marketing: %+v", m)
	}
	if p := c.Consents["location_precise"]; p.Granted || p.Here || len(c.Consents) != 2 {
		t.Errorf("%s", got)
	}

	for _, bad := range []struct{ method, path, body, want string }{
		{"PUT", "/preferences", `{"topics":{"fashion":"like"}}`, `"field":"seq"`},
		{"PUT", "/preferences", `{"seq":9,"topics":{"fashion":"adore"}}`, `"field":"topics"`},
		{"PUT", "/preferences", `{"seq":9,"topics":{}}`, `"field":"preferences.topics"`},
		{"PUT", "/preferences", `{"seq":9,"topic":{}}`, "names that are known"},
		{"PUT", "/preferences", `{"seq":"9"}`, `"field":"seq"`},
		{"PUT", "/preferences", `{"seq":9}{}`, "one JSON object"},
		{"PUT", "/consents/marketing", `{"seq":9}`, `"field":"granted"`},
		{"PUT", "/consents/all", `{"seq":9,"granted":true}`, `"field":"purpose"`},
		{"PUT", "/preferences", `{"seq":9,"topics":{"` + strings.Repeat("x", 70_000) + `":"like"}}`, `"name":"too_large"`},
		{"PUT", "/inbox", `{}`, "method"},
		{"DELETE", "/preferences", ``, "GET, PUT"},
		{"GET", "/erasure/nobody", ``, "no such erasure"},
	} {
		got, code := page.personal(bad.method, "/sdk/v1"+bad.path, bad.body)
		if code < 400 || code >= 500 || !strings.Contains(strings.ReplaceAll(got, `": "`, `":"`), bad.want) {
			t.Errorf("%s %s %.60s: %d %s", bad.method, bad.path, bad.body, code, got)
		}
	}
	s.flushed()
	if got, _ := page.personal("GET", sdkproto.PathPreferences, ""); !strings.Contains(got, `"through_seq":5`) && !strings.Contains(got, `"through_seq":9`) {
		t.Errorf("%s", got)
	}
	if got, code := page.personal("GET", sdkproto.PathExport, ""); code != 200 || !strings.Contains(got, "fashion") || !json.Valid([]byte(got)) {
		t.Errorf("%d %s", code, got)
	}
	// Nobody knows who it is, so nobody can ask to have them erased.
	if got, code := page.personal("POST", sdkproto.PathErasure, `{"user_id":"ada"}`); code != 401 {
		t.Errorf("%d %s", code, got)
	}
	page.token = "another"
	for _, path := range []string{sdkproto.PathPreferences, sdkproto.PathConsents, sdkproto.PathExport} {
		if got, code := page.personal("GET", path, ""); code != 401 || !strings.Contains(got, "token_invalid") {
			t.Errorf("%s with another token: %d %s", path, code, got)
		}
	}
}

// Ada sees her own, has a copy, and is forgotten. Eve, who can only claim to be Ada,
// sees and changes nothing of hers, in whatever mode, by whatever install.
func TestOnlyWhoProvesWhoTheyAreSeesAKnownPerson(t *testing.T) {
	s := newStory(t)
	// A phone of Ada's that only a file of push tokens knows; Eve has guessed its id.
	s.importTokens("user_id,install,token,last_seen\nada,install-of-the-file," + fcmsim.Token("", "tablet") + "," + s.clock.Now().Format(time.RFC3339) + "\n")
	ada := s.phone("ada", "android", nil).agree().likes("fashion").background().identify("ada")
	ada.post()
	s.flushed()
	// What is known of Ada, without the phones: that one of them was heard of is so.
	type known struct {
		ID, Claimed                                         string
		Identifiers, Attributes, Preferences, Consents, Web json.RawMessage
	}
	var person known
	s.must("GET", "/api/v1/people/user_id:ada", nil, &person)

	ctx := t.Context()
	if p, err := ada.Preferences(ctx); err != nil || p.Topics["fashion"] != "like" {
		t.Errorf("%+v, %v", p, err)
	}
	if c, err := ada.Consents(ctx); err != nil || !c.Consents["marketing"].Granted || c.Consents["marketing"].TextVersion != "v1" {
		t.Errorf("%+v, %v", c, err)
	}
	var export bytes.Buffer
	if err := ada.Export(ctx, &export); err != nil || !json.Valid(export.Bytes()) || !strings.Contains(export.String(), "user_id:ada") {
		t.Errorf("%v, %d bytes", err, export.Len())
	}
	var looked struct{ Items []engage.Access }
	s.must("GET", "/api/v1/people/user_id:ada/accesses", nil, &looked)
	if len(looked.Items) == 0 || !strings.Contains(export.String(), `"accesses"`) {
		t.Errorf("who looked: %+v", looked)
	}

	tokens := map[string]string{} // of Eve's installs
	for _, mode := range []string{"required", "optional", "off"} {
		s.putIfMatch("/api/v1/apps/android/identity", map[string]any{"mode": mode}, s.version("/api/v1/apps/android"))
		for _, install := range []string{"install-eve-" + mode, "install-of-the-file"} {
			eve := &speaker{s: s, appKey: s.keys["android"], install: install, token: tokens[install]}
			if eve.token == "" { // an install registers once
				eve = s.speaker("android", install)
				tokens[install] = eve.token
			}
			s.clock.Advance(time.Minute) // it may ask anew
			eve.seq = uint64(1000 * (1 + len(mode)))
			eve.post(&sdkpb.Item{Identify: &sdkpb.Identify{UserId: "ada"}})
			s.flushed()
			for _, ask := range []struct{ method, path, body string }{
				{"GET", "/preferences", ""},
				{"GET", "/consents", ""},
				{"GET", "/export", ""},
				{"PUT", "/preferences", `{"seq":8001,"topics":{"fashion":"dislike"}}`},
				{"PUT", "/consents/marketing", `{"seq":8002,"granted":false}`},
				{"POST", "/erasure", `{"user_id":"ada"}`},
				{"POST", "/erasure", `{"user_id":"ada","hmac":"` + hmacOf("another secret", "android", "ada") + `"}`},
				{"POST", "/erasure", `{"user_id":"eve","hmac":"` + hmacOf(identitySecret, "android", "eve") + `"}`},
				{"POST", "/erasure", `{"user_id":"ada","hmac":"` + hmacOf(identitySecret, "android", "ada") + `"}`}, // a stolen proof, on a phone that is not hers
			} {
				got, code := eve.personal(ask.method, "/sdk/v1"+ask.path, ask.body)
				if strings.Contains(got, `"fashion":"like"`) || strings.Contains(got, person.ID) || strings.Contains(got, ada.install) || strings.Contains(got, "welcome") {
					t.Errorf("%s, %s: %s %s shows Ada: %s", mode, install, ask.method, ask.path, got)
				}
				if ask.method == "POST" && (code != 401 || !strings.Contains(got, "identity_invalid")) {
					t.Errorf("%s, %s: %s %s %s: %d %s", mode, install, ask.method, ask.path, ask.body, code, got)
				}
			}
		}
		s.flushed()
		var after known
		if s.must("GET", "/api/v1/people/user_id:ada", nil, &after); !reflect.DeepEqual(after, person) {
			t.Fatalf("%s: Ada was changed:\n%s\n%s", mode, person, after)
		}
	}
	s.putIfMatch("/api/v1/apps/android/identity", map[string]any{"mode": "required"}, s.version("/api/v1/apps/android"))

	// Her phone alone, and what it has proven before, is not enough, and neither is
	// another's proof.
	for _, who := range []sdkproto.AskErasure{
		{UserID: "ada"},
		{UserID: "ada", HMAC: hmacOf(identitySecret, "android", "eve")},
		{UserID: "eve", HMAC: hmacOf(identitySecret, "android", "eve")},
	} {
		_, err := ada.Erase(ctx, who)
		if e, is := errors.AsType[*client.TerminalError](err); !is || e.Err != sdkproto.ErrIdentity {
			t.Errorf("%+v: %v", who, err)
		}
	}
	proof := sdkproto.AskErasure{UserID: "ada", HMAC: hmacOf(identitySecret, "android", "ada")}
	receipt, err := ada.Erase(ctx, proof)
	if err != nil || receipt.State != engage.ErasureRunning && receipt.State != engage.ErasureDone || receipt.StatusPath != sdkproto.PathErasure+"/"+receipt.ID {
		t.Fatalf("%+v, %v", receipt, err)
	}
	s.eventually("the erasure is done", func() bool {
		s.clock.Advance(time.Second)
		receipt, err = ada.Erasure(ctx, receipt.ID)
		return err == nil && receipt.State == engage.ErasureDone
	})
	var of struct{ By, Reason string }
	s.must("GET", "/api/v1/erasures/"+receipt.ID, nil, &of)
	if of.By != "app:android" {
		t.Errorf("the receipt: %+v", of)
	}
	if code := s.call("GET", "/api/v1/people/user_id:ada", nil, nil); code != 404 {
		t.Errorf("Ada is still known: %d", code)
	}
	if _, err := ada.Preferences(ctx); err == nil {
		t.Error("her phone is still known")
	}
	// Another app of another workspace does not see the receipt, nor one without a key.
	for _, key := range []string{"", "ffa_unknown"} {
		if got, code := (&speaker{s: s, appKey: key, install: "install-x"}).personal("GET", sdkproto.PathErasure+"/"+receipt.ID, ""); code != 401 {
			t.Errorf("without a key: %d %s", code, got)
		}
	}
}
