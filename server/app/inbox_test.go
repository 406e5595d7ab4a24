package app_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// inboxWords is what a phone's inbox shows, the oldest first: "a! b", a is unread.
func inboxWords(p *phone) string {
	var out []string
	for _, m := range p.Inbox() {
		word := m.GetTitle()
		if !m.GetRead() {
			word += "!"
		}
		out = append(out, word)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// inboxOf asks as an app does that was installed anew.
func (s *story) inboxOf(p *phone, store *client.MemStore, cursor string) *sdkpb.Inbox {
	s.t.Helper()
	saved, err := store.Load()
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+sdkproto.PathInbox+"?cursor="+cursor, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set(sdkproto.HeaderAppKey, s.keys["android"])
	req.Header.Set(sdkproto.HeaderInstall, p.install)
	req.Header.Set(sdkproto.HeaderAuthorization, sdkproto.BearerPrefix+saved.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer closing(s.t, resp.Body)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	reply := &sdkpb.BatchReply{}
	if err := (sdkproto.JSON{}).Unmarshal(body, reply); err != nil || reply.GetInbox() == nil {
		s.t.Fatalf("GET inbox: %s, %v", body, err)
	}
	return reply.GetInbox()
}

// The whole way of an inbox: what a woken phone is told, what its person does with
// it, what the marketer sees of that, and that a server which is started again, or
// an app that is installed anew, finds it so.
func TestAnInboxGoesTheWholeWay(t *testing.T) {
	s := newStory(t)
	s.campaign("news", func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "event", "event": "tick"}
		c["audience"], c["context"] = nil, nil
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{
			"title": "{{ trigger.properties.n }}", "body": "News", "channels": []string{"inbox"},
		}}}
		c["limits"] = map[string]any{"cap": 100, "cap_window_s": 86400, "expire_s": 6 * 3600}
	})
	store := new(client.MemStore)
	ada := s.phone("ada", "android", func(o *client.Options) {
		o.Caps, o.Store = []string{sdkproto.CapInbox}, store
	}).agree().background()
	tick := func(n string) {
		t.Helper()
		before := len(ada.Inbox())
		if _, err := ada.Track("tick", map[string]any{"n": n}); err != nil {
			t.Fatal(err)
		}
		s.eventually(n+" is in the inbox", func() bool {
			ada.post()
			return len(ada.Inbox()) == before+1
		})
		s.clock.Advance(time.Second)
	}
	says := func(what, want string) {
		t.Helper()
		s.eventually(what+": "+want, func() bool {
			ada.post()
			return inboxWords(ada) == want
		})
	}
	for _, n := range []string{"a", "b", "c"} {
		tick(n)
	}
	says("three came", "a! b! c!")
	ids := map[string]string{}
	for _, m := range ada.Inbox() {
		ids[m.GetTitle()] = m.GetMessageId()
		if m.GetKind() != sdkpb.Message_KIND_INBOX || m.GetSentMs() == 0 || m.GetCampaignId() != "news" || m.Display != nil {
			t.Errorf("message %v", m)
		}
	}
	ada.ReadMessage(ids["a"])
	ada.DismissMessage(ids["b"])
	ada.Receipt(ids["c"], sdkpb.Receipt_STATE_ACTION, "inbox")
	for range 2 { // said twice, counted once
		ada.Receipt(ids["a"], sdkpb.Receipt_STATE_OPENED, "inbox")
	}
	says("read, put away, used", "a c")
	s.settle()

	// A phone that has lost everything but its token gets it whole.
	for _, cursor := range []string{"", "nonsense"} {
		x := s.inboxOf(ada, store, cursor)
		var titles []string
		for _, m := range x.GetMessages() {
			titles = append(titles, m.GetTitle())
		}
		if strings.Join(titles, " ") != "a c" || !x.GetFull() || x.GetMore() {
			t.Errorf("asked with the cursor %q: %v", cursor, x)
		}
	}

	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var results struct {
		Totals map[string]int64
	}
	s.must("GET", "/api/v1/campaigns/news/results", nil, &results)
	for name, want := range map[string]int64{"decided": 3, "sent": 3, "inboxed": 3, "delivered": 3, "displayed": 1, "opened": 1, "acted": 1, "dismissed": 1, "pending": 0} {
		if got := results.Totals[name]; got != want {
			t.Errorf("%s: %d, want %d of %v", name, got, want, results.Totals)
		}
	}
	if ds := s.decisions(ada, "news"); len(ds) != 3 || ds[0].State != engage.Sent || ds[0].Channel != "inbox" {
		t.Errorf("decided %+v", ds)
	}

	// Another process goes on where this one ended: the cursor is good, so the phone
	// is told no message twice.
	s.stop()
	s.serve()
	ada.Client = s.phone("ada", "android", func(o *client.Options) {
		o.Caps, o.Store = []string{sdkproto.CapInbox}, store
	}).Client
	tick("d")
	says("after a restart", "a c d!")
	s.clock.Advance(6 * time.Hour)
	says("when they have expired", "")
}
