package collect_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/collect"
	"github.com/footfall-engage/footfall/server/engage"
)

func TestEveryRouteTakesItsCalls(t *testing.T) {
	s := newSite(t)
	for paths, c := range map[string]struct{ body, typ, name string }{
		"/v1/track /v1/t /v1/track/": {`{"userId":"ada","event":"Product Viewed","properties":{"sku":"u1"}}`, "track", "Product Viewed"},
		"/v1/page /v1/p":             {`{"userId":"ada","name":"Home","category":"Shop","properties":{"sku":"u1"}}`, "page", "Home"},
		"/v1/screen /v1/s":           {`{"userId":"ada","properties":{"sku":"u1"}}`, "screen", "Screen"},
		"/v1/group /v1/g":            {`{"userId":"ada","groupId":"staff","traits":{"sku":"u1"}}`, "group", "staff"},
		"/v1/batch /v1/b /v1/import": {`{"batch":[{"type":"track","userId":"ada","event":"Product Viewed","properties":{"sku":"u1"}}]}`, "track", "Product Viewed"},
	} {
		for path := range strings.FieldsSeq(paths) {
			s.send(server, path, c.body)
			got, e := s.one()
			if got.Event == nil || got.Event.Type != c.typ || got.Event.Name != c.name || got.Event.Properties["sku"] != "u1" ||
				!slices.Equal(got.Identifiers, []string{"user_id:ada"}) || !got.Trusted || e.Workspace() != "shop" {
				t.Errorf("%s became %+v %+v", path, got, got.Event)
			}
			if got.Quiet != (path == "/v1/import") {
				t.Errorf("%s: quiet %v", path, got.Quiet)
			}
			if got.From != (engage.TouchSource{Kind: "server", Key: "02"}) {
				t.Errorf("%s: from %+v", path, got.From)
			}
		}
	}
	for path := range strings.FieldsSeq("/v1/identify /v1/i") {
		s.send(server, path, `{"userId":"ada","traits":{"name":"عائشة 🌂","vip":true}}`)
		if got, _ := s.one(); got.Event != nil || got.Traits["name"] != "عائشة 🌂" || got.Traits["vip"] != true {
			t.Errorf("%s became %+v", path, got)
		}
	}
	for path := range strings.FieldsSeq("/v1/alias /v1/a") {
		s.send(server, path, `{"userId":"ada","previousId":"ada@old"}`)
		if got, _ := s.one(); got.Alias != "user_id:ada@old" {
			t.Errorf("%s became %+v", path, got)
		}
	}
	s.send(server, "/v1/m", `{"series":[]}`)
	if got, _ := s.took(); len(got) != 0 {
		t.Errorf("metrics became %+v", got)
	}
	for path, want := range map[string]int{"/v1/": 404, "/v1/tracks": 404, "/v1/projects/x": 404, "/v1/t/u": 404} {
		if a := s.do("POST", path, nil); a.status != want {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := s.do("GET", "/v1/t", nil); a.status != 405 || !strings.Contains(a.header.Get("Allow"), "POST") {
		t.Errorf("GET: %d %v", a.status, a.header)
	}
	if d := s.dropped(); len(d) != 0 {
		t.Errorf("dropped %v", lines(d))
	}
}

func TestTheKeyIsFoundWhereverLibrariesPutIt(t *testing.T) {
	s := newSite(t)
	bare := `{"anonymousId":"a1","event":"x"}`
	with := func(key string) string { return `{"writeKey":"` + key + `","anonymousId":"a1","event":"x"}` }
	for name, c := range map[string]struct {
		body, authorization string
		status              int
	}{
		"basic":                            {bare, basic(public + ":"), 200},
		"basic without the colon":          {bare, basic(public), 200},
		"basic without padding":            {bare, strings.TrimRight(basic(public+":"), "="), 200},
		"basic, in other letters":          {bare, "bASIC " + strings.TrimPrefix(basic(public+":"), "Basic "), 200},
		"body":                             {with(public), "", 200},
		"bearer of somebody else and body": {with(public), "Bearer eyJhbGciOi", 200},
		"bearer":                           {bare, "Bearer " + public, 200},
		"basic of a proxy and body":        {with(public), basic("nginx:secret"), 200},
		"none":                             {bare, "", 401},
		"unknown":                          {bare, basic("ffw_01_wrong:"), 401},
		"unknown in the body":              {with("ffw_99_x"), "", 401},
		"no base64":                        {bare, "Basic ???", 401},
		"no text in the body":              {`{"writeKey":{"a":1},"anonymousId":"a1","event":"x"}`, "", 401},
	} {
		var header []string
		if c.authorization != "" {
			header = []string{"Authorization", c.authorization}
		}
		a := s.do("POST", "/v1/t", []byte(c.body), header...)
		got, _ := s.took()
		if a.status != c.status || (len(got) == 1) != (c.status == 200) {
			t.Errorf("%s: %d %s, %d touches", name, a.status, a.body, len(got))
		}
		if c.status == 401 && (!strings.Contains(a.body, `"success":false`) || strings.Contains(a.body, "ffw_")) {
			t.Errorf("%s: answered %s", name, a.body)
		}
	}
	// What a revoked key brings is answered, so that nobody repeats it, and listed.
	s.send(revoked, "/v1/t", bare)
	if got, _ := s.took(); len(got) != 0 {
		t.Errorf("a revoked key brought %+v", got)
	}
	d := s.dropped()
	if len(d) != 1 || d[0].Code != engage.Unauthorized || d[0].Field != "writeKey" || d[0].From.Key != "04" || d[0].Workspace != "shop" {
		t.Errorf("dropped %+v", d)
	}
}

func TestABodyThatCannotBeIsRefusedAndOneThatCanIsTaken(t *testing.T) {
	s := newSite(t)
	event := func(n int) string { // of so many bytes
		head := `{"userId":"ada","event":"x","properties":{"p":"`
		return head + strings.Repeat("x", n-len(head)-3) + `"}}`
	}
	batch := func(n int, item string) string {
		return `{"batch":[` + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + `]}`
	}
	small := `{"type":"track","userId":"ada","event":"x"}`
	var alike strings.Builder // what a phone was offline for
	for i := range 2500 {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		fmt.Fprintf(&alike, `{"type":"track","userId":"ada","event":"Product Viewed","messageId":"%x","context":{"library":{"name":"analytics-kotlin","version":"1.2"},"locale":"nl"}},`, sum[:8])
	}
	like := `{"batch":[` + strings.TrimSuffix(alike.String(), ",") + `]}`
	for name, c := range map[string]struct {
		path    string
		body    []byte
		gzip    bool
		status  int
		touches int
	}{
		"no JSON":             {"/v1/t", []byte(`{"userId":`), false, 400, 0},
		"empty":               {"/v1/t", nil, false, 400, 0},
		"null":                {"/v1/t", []byte(`null`), false, 400, 0},
		"a list":              {"/v1/t", []byte(`[]`), false, 400, 0},
		"NaN":                 {"/v1/t", []byte(`{"userId":"ada","event":"x","properties":{"p":NaN}}`), false, 400, 0},
		"two objects":         {"/v1/t", []byte(small + small), false, 400, 0},
		"a mark before it":    {"/v1/t", []byte("\ufeff" + small), false, 200, 1},
		"32 KB":               {"/v1/t", []byte(event(32 << 10)), false, 200, 1},
		"above 32 KB":         {"/v1/t", []byte(event(32<<10 + 1)), false, 400, 0},
		"40 KB":               {"/v1/t", []byte(event(40 << 10)), false, 400, 0},
		"no batch":            {"/v1/b", []byte(`{"messages":[]}`), false, 400, 0},
		"batch of no list":    {"/v1/b", []byte(`{"batch":{}}`), false, 400, 0},
		"empty batch":         {"/v1/b", []byte(`{"batch":[]}`), false, 200, 0},
		"2,500":               {"/v1/b", []byte(batch(2500, small)), false, 200, 2500},
		"2,501":               {"/v1/b", []byte(batch(2501, small)), false, 400, 0},
		"500 KB":              {"/v1/b", []byte(batch(15, event(33_000))), false, 200, 0},
		"above 500 KB":        {"/v1/b", []byte(batch(16, event(32_500))), false, 400, 0},
		"gzip":                {"/v1/t", zip(t, []byte(small)), true, 200, 1},
		"gzip of 2,500 alike": {"/v1/b", zip(t, []byte(like)), true, 200, 2500},
		"no gzip":             {"/v1/t", []byte(small), true, 400, 0},
		"half a gzip":         {"/v1/b", zip(t, []byte(like))[:500], true, 400, 0},
		"a bomb":              {"/v1/b", zip(t, bytes.Repeat([]byte(" "), 5<<20)), true, 400, 0},
		"a bomb within":       {"/v1/b", zip(t, append(bytes.Repeat([]byte(" "), 400<<10), batch(1, small)...)), true, 400, 0},
		"1,000 deep":          {"/v1/t", []byte(`{"userId":"ada","event":"x","properties":` + strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000) + `}`), false, 200, 0},
		"20,000 deep":         {"/v1/b", []byte(`{"batch":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`), false, 400, 0},
	} {
		header := []string{"Authorization", basic(server + ":"), "Content-Type", "text/plain"}
		if c.gzip {
			header = append(header, "Content-Encoding", "gzip")
		}
		a := s.do("POST", c.path, c.body, header...)
		if got, _ := s.took(); a.status != c.status || len(got) != c.touches {
			t.Errorf("%s: %d %s, %d touches", name, a.status, a.body, len(got))
		}
	}
	if a := s.do("POST", "/v1/t", []byte(small), "Authorization", basic(server+":"), "Content-Encoding", "br"); a.status != 400 {
		t.Errorf("another encoding: %d", a.status)
	}
	want := []string{"too_large properties"}
	for i := range 15 {
		want = append(want, fmt.Sprintf("too_large batch[%d]", i))
	}
	got := lines(s.dropped())
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("dropped %q, want %q", got, want)
	}
}

func TestABatchSharesItsContextAndOneBadCallCostsNoOther(t *testing.T) {
	s := newSite(t)
	s.send(server, "/v1/batch", `{
		"context": {"locale": "nl-NL", "timezone": "Europe/Amsterdam", "library": {"name": "analytics-node", "version": "3.1.0"}},
		"integrations": {"All": true}, "sentAt": "2026-03-02T09:29:00Z",
		"batch": [
			{"type": "track", "messageId": "m1", "userId": "ada", "event": "A", "timestamp": "2026-03-02T09:28:00Z"},
			"no object", 7, null,
			{"type": "t", "userId": "ada", "event": "short"},
			{"type": "pay", "userId": "ada"},
			{"type": "track", "messageId": "m2", "userId": "ada"},
			{"type": "track", "messageId": "m3", "event": "nobody"},
			{"type": "track", "messageId": "m4", "userId": {"a": 1}, "event": "C"},
			{"type": "track", "messageId": "m5", "userId": "ada", "event": "B", "context": {"locale": "fr"}, "timestamp": "tomorrow"}
		]}`)
	got, entries := s.took()
	if len(got) != 2 || got[0].Event.Name != "A" || got[1].Event.Name != "B" {
		t.Fatalf("took %+v", got)
	}
	if d := got[0].Device; d == nil || *d != (engage.TouchDevice{Locale: "nl-NL", TimeZone: "Europe/Amsterdam"}) {
		t.Errorf("the batch's context: %+v", d)
	}
	if d := got[1].Device; d == nil || *d != (engage.TouchDevice{Locale: "fr", TimeZone: "Europe/Amsterdam"}) {
		t.Errorf("the call's own context: %+v", d)
	}
	if got[0].From.Name != "analytics-node/3.1.0" || got[0].ID != "m1" {
		t.Errorf("from %+v, id %s", got[0].From, got[0].ID)
	}
	if at := entries[0].Occurred; !at.Equal(start.Add(-time.Minute)) {
		t.Errorf("A was at %s, a minute before it was sent", at)
	}
	if at := entries[1].Occurred; !at.Equal(start) {
		t.Errorf("B was at %s, when it arrived", at)
	}
	drops := s.dropped()
	want := []string{
		"invalid batch[1]", "invalid batch[2]", "invalid batch[3]", "invalid batch[4].type", "invalid batch[5].type",
		"invalid batch[6].event", "invalid batch[7].userId", "invalid batch[8].userId", "invalid batch[8].userId", "invalid batch[9].timestamp",
	}
	if got := lines(drops); !slices.Equal(got, want) {
		t.Errorf("dropped %q\nwant %q", got, want)
	}
	last := drops[len(drops)-1]
	if last.Message != "m5" || last.Type != "track" || last.From.Name != "analytics-node/3.1.0" || !last.At.Equal(start) || last.AtUS != start.UnixMicro() ||
		last.Profile != engage.PersonID("shop", "user_id:ada") || last.V != 1 || last.ID == "" {
		t.Errorf("the last line is %+v", last)
	}
}

func TestAPublicKeySpeaksOfAnonymousVisitorsOnly(t *testing.T) {
	s := newSite(t)
	s.send(public, "/v1/i", `{"anonymousId":"a1","userId":"ada","traits":{"email":"ada@example.com","loyalty_number":"77","name":"Ada"}}`)
	got, e := s.one()
	if got.Trusted || !slices.Equal(got.Identifiers, []string{"anonymous_id:a1"}) || got.Claimed != "user_id:ada" || got.Traits["name"] != "Ada" ||
		e.Key != engage.ProfileKey("shop", engage.PersonID("shop", "anonymous_id:a1")) {
		t.Errorf("a page's identify became %+v at %s", got, e.Key)
	}
	for _, body := range []string{
		`{"userId":"ada","event":"x"}`,
		`{"userId":"ada","event":"x","context":{"traits":{"email":"ada@example.com"}}}`,
		`{"userId":"ada","anonymousId":"","event":"x"}`,
	} {
		s.send(public, "/v1/t", body)
	}
	s.send(public, "/v1/a", `{"anonymousId":"a1","userId":"ada","previousId":"ben"}`)
	s.send(public, "/v1/t", `{"event":"x"}`)
	if got, _ := s.took(); len(got) != 0 {
		t.Errorf("it spoke of %+v", got)
	}
	want := []string{"identity_invalid userId", "identity_invalid userId", "identity_invalid userId", "identity_invalid previousId", "invalid anonymousId"}
	if got := lines(s.dropped()); !slices.Equal(got, want) {
		t.Errorf("dropped %q", got)
	}
}

func TestAServersIdentifiersAreOfOnePerson(t *testing.T) {
	s := newSite(t)
	for body, want := range map[string][]string{
		`{"userId":"ada","anonymousId":"a1","traits":{"email":" ADA@example.com ","loyaltyNumber":77}}`: {"user_id:ada", "loyalty:77", "email:ada@example.com", "anonymous_id:a1"},
		`{"anonymousId":"a1","context":{"traits":{"email":"ada@example.com","loyalty":"K 1"}}}`:         {"loyalty:K 1", "email:ada@example.com", "anonymous_id:a1"},
		`{"traits":{"email":"a@b.nl"},"context":{"traits":{"email":"c@d.nl","loyalty_number":"9"}}}`:    {"loyalty:9", "email:a@b.nl", "email:c@d.nl"},
		`{"userId":9007199254740993}`:                                      {"user_id:9007199254740993"},
		`{"userId":"ada","traits":{"email":"no address"}}`:                 {"user_id:ada"},
		`{"userId":"ada","userId":"ben"}`:                                  {"user_id:ben"},
		`{"userId":"ada","USERID":"eve","userid":"eve"}`:                   {"user_id:ada"},
		`{"userId":"` + strings.Repeat("x", 400) + `","anonymousId":"a1"}`: {"anonymous_id:a1"},
		`{"userId":"a\u0000da","anonymousId":"a1"}`:                        {"anonymous_id:a1"},
		"{\"userId\":\"a\xffda\",\"anonymousId\":\"a1\"}":                  {"anonymous_id:a1"},
		`{"userId":"a\ud800da","anonymousId":"a1"}`:                        {"anonymous_id:a1"},
		`{"userId":"אדה","anonymousId":"🌂"}`:                               {"user_id:אדה", "anonymous_id:🌂"},
	} {
		s.send(server, "/v1/i", body)
		if got, _ := s.one(); !slices.Equal(got.Identifiers, want) || got.Claimed != "" {
			t.Errorf("%s: %q", body, got.Identifiers)
		}
	}
	// A group's traits are not the person's.
	s.send(server, "/v1/g", `{"userId":"ada","groupId":"g","traits":{"email":"team@example.com"}}`)
	if got, _ := s.one(); len(got.Identifiers) != 1 || got.Traits != nil {
		t.Errorf("a group: %+v", got)
	}
	if d := s.dropped(); len(d) != 5 {
		t.Errorf("dropped %q", lines(d))
	}
}

func TestAnAliasMakesOnePersonOfTwoIdentifiers(t *testing.T) {
	s := newSite(t)
	const id = "3F2504E0-4f89-41d3-9a0c-0305e82c3301"
	for body, want := range map[string][]string{
		`{"userId":"ada","previousId":"old"}`:                                   {"user_id:old"},
		`{"userId":"ada","previousId":"old","anonymousId":"old"}`:               {"anonymous_id:old"},
		`{"userId":"ada","previousId":"` + id + `","messageId":"m"}`:            {"user_id:" + id, "anonymous_id:" + id},
		`{"userId":"ada","previousId":"` + id + `","anonymousId":"` + id + `"}`: {"anonymous_id:" + id},
	} {
		s.send(server, "/v1/a", body)
		got, entries := s.took()
		var aliases, ids []string
		for i, x := range got {
			aliases, ids = append(aliases, x.Alias), append(ids, x.ID)
			if x.Identifiers[0] != "user_id:ada" || entries[i].Key != entries[0].Key {
				t.Errorf("%s: %+v", body, x)
			}
		}
		if !slices.Equal(aliases, want) || len(ids) == 2 && ids[0] == ids[1] {
			t.Errorf("%s: %q, ids %q", body, aliases, ids)
		}
	}
	for _, body := range []string{`{"userId":"ada","previousId":"ada"}`, `{"userId":"ada"}`, `{"previousId":"ada","anonymousId":"a"}`, `{"userId":"ada","previousId":["b"]}`} {
		s.send(server, "/v1/a", body)
	}
	if got, _ := s.took(); len(got) != 0 {
		t.Errorf("took %+v", got)
	}
	if got := lines(s.dropped()); !slices.Equal(got, []string{"invalid previousId", "invalid previousId", "invalid userId", "invalid previousId"}) {
		t.Errorf("dropped %q", got)
	}
}

func TestTheLogAnswersBeforeWeDo(t *testing.T) {
	s := newSite(t, collect.Limits{RequestRate: 2, CallRate: 1000})
	body := []byte(`{"userId":"ada","event":"x"}`)
	s.w.hold = true
	answered := make(chan reply, 1)
	go func() { answered <- s.do("POST", "/v1/t", body, "Authorization", basic(server+":")) }()
	eventually(t, func() bool {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		return len(s.w.held) == 1
	})
	select {
	case a := <-answered:
		t.Fatalf("answered %d before the log", a.status)
	default:
	}
	s.w.mu.Lock()
	s.w.held[0]()
	s.w.hold = false
	s.w.mu.Unlock()
	if a := <-answered; a.status != 200 {
		t.Fatalf("answered %d", a.status)
	}

	try := func(key string) reply { return s.do("POST", "/v1/t", body, "Authorization", basic(key+":")) }
	set := func(refuse, fail error, mute bool) {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		s.w.refuse, s.w.fail, s.w.mute = refuse, fail, mute
	}
	set(engage.Errorf(engage.RateLimited, "", "busy"), nil, false)
	if a := try(server); a.status != 429 || a.header.Get("Retry-After") != "1" || a.header.Get("X-RateLimit-Reset") != fmt.Sprint(start.Unix()+1) {
		t.Errorf("a busy log: %d %v", a.status, a.header)
	}
	set(nil, errors.New("broken"), false)
	if a := try(server); a.status != 503 || a.header.Get("Retry-After") == "" || strings.Contains(a.body, "broken") {
		t.Errorf("a broken log: %d %s", a.status, a.body)
	}
	set(nil, nil, false)
	// Four requests of a burst of 2 × 2 are spent: three above, one now.
	if a := try(server); a.status != 200 {
		t.Errorf("the fourth: %d", a.status)
	}
	if a := try(server); a.status != 429 || a.header.Get("Retry-After") != "1" || !strings.Contains(a.body, "rate_limited") {
		t.Errorf("the fifth: %d %s", a.status, a.body)
	}
	if a := try(rival); a.status != 200 {
		t.Errorf("another key: %d", a.status)
	}
	s.clock.Advance(time.Second)
	if a := try(server); a.status != 200 {
		t.Errorf("a second later: %d", a.status)
	}
	set(nil, nil, true)
	s.took()
	go func() { answered <- try(server) }()
	eventually(t, func() bool {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		return len(s.w.entries) == 1
	})
	for done := false; !done; { // it may not wait for the clock yet
		s.clock.Advance(10 * time.Second)
		select {
		case a := <-answered:
			if done = true; a.status != 503 {
				t.Errorf("a silent log: %d", a.status)
			}
		default:
		}
	}
	if d := s.dropped(); len(d) != 0 {
		t.Errorf("what is to come again is listed: %q", lines(d))
	}
}

func TestPagesOfEveryOriginMaySend(t *testing.T) {
	s := newSite(t)
	a := s.do("OPTIONS", "/v1/t", nil, "Origin", "https://shop.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,x-retry-count")
	for _, want := range []string{"Authorization", "X-Retry-Count", "Content-Type"} {
		if a.status != 204 || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), want) || a.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("preflight: %d %v", a.status, a.header)
		}
	}
	a = s.do("POST", "/v1/t", []byte("{"), "Origin", "https://shop.example")
	if a.status != 400 || a.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "Retry-After") {
		t.Errorf("a refusal: %d %v", a.status, a.header)
	}
}

func TestSettingsSendLibrariesHere(t *testing.T) {
	s := newSite(t)
	host := strings.TrimPrefix(s.url, "http://")
	var got struct {
		Integrations map[string]struct{ APIKey, APIHost, Protocol string }
		Plan         struct {
			Track map[string]struct{ Enabled bool }
		}
	}
	a := s.do("GET", "/v1/projects/"+public+"/settings", nil)
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	if x := got.Integrations["Segment.io"]; x.APIKey != public || x.APIHost != host+"/v1" || x.Protocol != "http" || !got.Plan.Track["__default"].Enabled {
		t.Errorf("settings %+v", got)
	}
	a = s.do("GET", "/v1/projects/"+public+"/settings", nil, "X-Forwarded-Proto", "https")
	if !strings.Contains(a.body, `"protocol":"https"`) {
		t.Errorf("behind TLS: %s", a.body)
	}
	for _, key := range []string{revoked, "ffw_99_x", "", "a/b"} {
		if a := s.do("GET", "/v1/projects/"+key+"/settings", nil); a.status != 404 {
			t.Errorf("of %q: %d", key, a.status)
		}
	}
	if a := s.do("POST", "/v1/projects/"+public+"/settings", nil); a.status != 405 {
		t.Errorf("POST: %d", a.status)
	}
}

func TestTheListOutlivesATroubledStore(t *testing.T) {
	s := newSite(t, collect.Limits{MaxDropped: 20})
	s.w.mu.Lock()
	s.w.down = errors.New("away")
	s.w.mu.Unlock()
	for i := range 3 {
		s.send(public, "/v1/t", fmt.Sprintf(`{"userId":"ada","messageId":"m%d","event":"x"}`, i))
	}
	s.w.mu.Lock()
	s.w.down = nil
	s.w.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		s.clock.Advance(time.Second) // when it tries again
		s.w.mu.Lock()
		n, trims := len(s.w.drops), len(s.w.trims)
		s.w.mu.Unlock()
		if n == 3 && trims > 0 {
			break
		}
	}
	s.send(public, "/v1/t", `{"userId":"ada","messageId":"m3","event":"x"}`)
	d := s.dropped() // what waited at the end is written
	var ids []string
	for _, x := range d {
		ids = append(ids, x.Message)
	}
	if !slices.Equal(ids, []string{"m0", "m1", "m2", "m3"}) || s.w.keep != collect.DroppedFor || s.w.trims[0] != 20 {
		t.Errorf("listed %q for %s, trimmed %v", ids, s.w.keep, s.w.trims)
	}
}

// Others write to the list too: it is held to its length also when nothing comes here.
func TestTheListIsTrimmedEveryMinute(t *testing.T) {
	s := newSite(t)
	for want := range 3 {
		eventually(t, func() bool {
			s.clock.Advance(time.Minute) // it may not wait for the clock yet
			s.w.mu.Lock()
			defer s.w.mu.Unlock()
			return len(s.w.trims) > want
		})
	}
	s.stop()
	if s.w.trims[0] != 10_000 {
		t.Errorf("trimmed to %v", s.w.trims)
	}
}

func TestWhoWantsToBeLeftAloneIs(t *testing.T) {
	s := newSite(t)
	for _, body := range []string{`{"userId":"alone","event":"x"}`, `{"userId":"ada","context":{"traits":{"email":"Leave@me.alone"}},"event":"x"}`, `{"anonymousId":"alone","event":"x"}`} {
		s.send(server, "/v1/t", body)
	}
	s.send(public, "/v1/t", `{"anonymousId":"a1","userId":"alone","event":"x"}`)
	s.send(server, "/v1/a", `{"userId":"ada","previousId":"alone"}`)
	if got, _ := s.took(); len(got) != 0 {
		t.Errorf("took %+v", got)
	}
	s.send(rival, "/v1/t", `{"userId":"alone","event":"x"}`) // of another workspace
	s.one()
	d := s.dropped()
	if len(d) != 5 {
		t.Errorf("dropped %q", lines(d))
	}
	for _, x := range d {
		if x.Code != engage.Forbidden || x.Profile != "" || strings.Contains(x.Reason, "alone") {
			t.Errorf("a line says who: %+v", x)
		}
	}
}
