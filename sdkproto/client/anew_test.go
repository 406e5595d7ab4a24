package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// registry is a server of POSTs that knows which installs have a token.
type registry struct {
	t      *testing.T
	mu     sync.Mutex
	tokens map[string]string // by install
	deaf   bool              // refuses every hello
	hellos []*sdkpb.Hello
	items  map[string]int // taken, by install
}

func (s *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var codec sdkproto.Protobuf
	raw, err := sdkproto.ReadBody(r.Body, r.Header.Get("Content-Encoding"), 0)
	if err != nil {
		s.t.Errorf("body: %v", err)
	}
	reply := &sdkpb.BatchReply{Ack: &sdkpb.Ack{}}
	refuse := func() {
		reply = &sdkpb.BatchReply{Error: sdkproto.Errorf(sdkproto.ErrToken, "device_token", "no").Proto()}
	}
	switch r.URL.Path {
	case sdkproto.PathInstall:
		h := new(sdkpb.Hello)
		if err := errors.Join(codec.Unmarshal(raw, h), sdkproto.ValidateHello(h)); err != nil {
			s.t.Errorf("hello: %v", err)
		}
		s.hellos = append(s.hellos, h)
		if s.deaf || s.tokens[h.InstallId] != "" {
			refuse()
			break
		}
		s.tokens[h.InstallId] = "token of " + h.InstallId
		reply = &sdkpb.BatchReply{HelloOk: &sdkpb.HelloOk{NewDeviceToken: s.tokens[h.InstallId]}}
	case sdkproto.PathBatch:
		install := r.Header.Get(sdkproto.HeaderInstall)
		b := new(sdkpb.Batch)
		if err := codec.Unmarshal(raw, b); err != nil {
			s.t.Errorf("batch: %v", err)
		}
		if t := s.tokens[install]; t == "" || r.Header.Get(sdkproto.HeaderAuthorization) != sdkproto.BearerPrefix+t {
			refuse()
			break
		}
		s.items[install] += len(b.Items)
	}
	body, err := codec.Marshal(reply)
	if err != nil {
		s.t.Errorf("answer: %v", err)
	}
	w.Header().Set("Content-Type", sdkproto.ContentTypePB)
	if reply.Error != nil {
		w.WriteHeader(http.StatusUnauthorized)
	}
	_, _ = w.Write(body)
}

// A woken phone whose token is lost for good stops, and begins anew when its app is
// started the next time: with what waits, without what was its person's.
func TestALostTokenBeginsAnewAtTheNextStart(t *testing.T) {
	server := &registry{t: t, tokens: map[string]string{"phone-00001": "known to nobody"}, items: map[string]int{}}
	srv := httptest.NewServer(server)
	defer srv.Close()
	dir := t.TempDir()
	start := func() (*client.Client, *client.FileStore) {
		t.Helper()
		store := openStore(t, dir)
		c, err := client.New(client.Options{
			Endpoint: srv.URL, AppKey: "ffa_android_key", InstallID: "phone-00001", Platform: sdkpb.Platform_PLATFORM_ANDROID,
			Store: store, HTTPClient: srv.Client(), Caps: client.Features(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return c, store
	}
	refused := func(c *client.Client) {
		t.Helper()
		terminal, ok := errors.AsType[*client.TerminalError](c.PostBatch(t.Context()))
		if !ok || terminal.Err != sdkproto.ErrToken {
			t.Fatalf("the POST ended by %v", terminal)
		}
	}

	_, before := start()
	if err := before.Apply(client.Change{
		Tokens: &client.Tokens{Token: "stale"}, Shown: "m0",
		Inbox:  &sdkpb.Inbox{Full: true, Cursor: "c9", Messages: []*sdkpb.Message{{MessageId: "m1"}}},
		Resume: &sdkpb.Resume{Session: "s", Epoch: "e", LastSeq: 7}, Waiting: `[]`,
	}); err != nil {
		t.Fatal(err)
	}
	_ = before.Close()
	c, store := start()
	if _, err := c.Track("bought", nil); err != nil {
		t.Fatal(err)
	}
	refused(c)
	if got := c.InstallID(); got != "phone-00001" {
		t.Errorf("the running app is install %s", got)
	}
	_ = store.Close()

	// The server is of no use: the id that the phone has taken stays the same.
	server.deaf = true
	c, store = start()
	fresh := c.InstallID()
	if fresh == "phone-00001" || !sdkproto.ValidInstallID(fresh) || c.Pending() != 1 {
		t.Fatalf("install %q with %d items", fresh, c.Pending())
	}
	if saved, err := store.Load(); err != nil || saved.Token != "" || saved.Resume != nil || len(saved.Inbox.GetMessages()) != 0 ||
		saved.Inbox.GetCursor() != "" || len(saved.Shown) != 1 {
		t.Errorf("kept: %+v, %v", saved, err)
	}
	refused(c)
	_ = store.Close()

	server.deaf = false
	c, store = start()
	if c.InstallID() != fresh {
		t.Errorf("install %q, then %q", fresh, c.InstallID())
	}
	if err := c.PostBatch(context.Background()); err != nil {
		t.Fatal(err)
	}
	if server.items[fresh] != 1 || server.items["phone-00001"] != 0 || c.Pending() != 0 {
		t.Errorf("items %v, %d wait", server.items, c.Pending())
	}
	for i, h := range server.hellos {
		if want := i > 0; (h.FormerInstall == "phone-00001") != want || h.DeviceToken != "" && i > 0 {
			t.Errorf("hello %d: %v", i, h)
		}
	}
	_ = store.Close()

	// It has a token: nothing is said of the former install any more.
	delete(server.tokens, fresh)
	_, store = start()
	if saved, err := store.Load(); err != nil || saved.Install != (client.Install{Host: "phone-00001", ID: fresh}) || saved.Token == "" {
		t.Errorf("kept: %+v, %v", saved.Install, err)
	}
}
