package app

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
)

// TestServiceAccountComesFromTheStoreElseFromTheServer, and from the server only for
// its own workspace.
func TestServiceAccountComesFromTheStoreElseFromTheServer(t *testing.T) {
	sim, err := fcmsim.Start(fcmsim.Options{ProjectID: "hats", Projects: []string{"shoes"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sim.Close() }()
	file := filepath.Join(t.TempDir(), "hats.json")
	if err := os.WriteFile(file, sim.Credentials(), 0o600); err != nil {
		t.Fatal(err)
	}
	sealer, err := catalog.NewSealer(make([]byte, config.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Providers.FCM.CredentialsFile = file
	c.Providers.FCM.Credentials = engage.Secret(sim.CredentialsOf("shoes"))
	x, err := newSenders(nil, sealer, &c, clock.System{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, workspace, project, own string
		want                          string // empty: none
	}{
		{"by file", c.Workspace, "hats", "", string(sim.Credentials())},
		{"by environment", c.Workspace, "shoes", "", string(sim.CredentialsOf("shoes"))},
		{"in the store", c.Workspace, "hats", "own", "own"},
		{"of another project", c.Workspace, "coats", "", ""},
		{"of another workspace", "elsewhere", "hats", "", ""},
	} {
		app := &catalog.App{ID: "a", Workspace: tc.workspace, FCM: &catalog.FCM{ProjectID: tc.project, ServiceAccount: sealer.Seal(tc.own)}}
		got, err := x.serviceAccount(app)
		if tc.want == "" {
			var e *engage.Error
			if !errors.As(err, &e) || e.Code != engage.NotFound || got != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %v", tc.name, err)
		}
	}

	for field, change := range map[string]func(*config.FCM){
		"providers.fcm.credentials_file": func(f *config.FCM) { f.CredentialsFile = file + ".none" },
		"providers.fcm.credentials":      func(f *config.FCM) { f.Credentials = "hunter2" },
	} {
		bad := c
		change(&bad.Providers.FCM)
		if _, err := newSenders(nil, sealer, &bad, clock.System{}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestACredentialThatIsTakenAwaySendsNoMoreAndComesBack(t *testing.T) {
	sim, err := fcmsim.Start(fcmsim.Options{ProjectID: "hats"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sim.Close() }()
	sealer, err := catalog.NewSealer(make([]byte, config.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Open(t.Context(), catalog.Options{Log: new(eventlogtest.Memory).Open(), Clock: clock.System{}, Compile: decide.Compile})
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	if err := cat.PutWorkspace(t.Context(), "k", &catalog.Workspace{ID: c.Workspace, Name: "w"}, 0); err != nil {
		t.Fatal(err)
	}
	x, err := newSenders(cat, sealer, &c, clock.System{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	with := &catalog.FCM{ProjectID: "hats", ServiceAccount: sealer.Seal(string(sim.Credentials()))}
	app := &catalog.App{ID: "a", Workspace: c.Workspace, Name: "a", Platform: "android", Key: catalog.NewAppKey()}
	put := func(f *catalog.FCM) {
		t.Helper()
		changed := *app
		changed.FCM = f
		if err := cat.PutApp(t.Context(), "k", &changed, app.Version); err != nil {
			t.Fatal(err)
		}
		app = &changed
	}
	key := senderKey{c.Workspace, "a", "fcm"}
	put(with)
	if _, _, err := x.Sender(t.Context(), c.Workspace, "a", "fcm"); err != nil {
		t.Fatal(err)
	}
	closed := false
	end := x.made[key].close
	x.made[key].close = func() error { closed = true; return end() }
	put(nil)
	if _, _, err := x.Sender(t.Context(), c.Workspace, "a", "fcm"); engage.CodeOf(err) != engage.NotFound || !closed || x.made[key] != nil {
		t.Errorf("without a credential: %v, closed %t", err, closed)
	}
	put(with)
	if _, _, err := x.Sender(t.Context(), c.Workspace, "a", "fcm"); err != nil {
		t.Errorf("with it again: %v", err)
	}
}
