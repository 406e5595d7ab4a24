package app_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// testdata/folders holds data folders of small demos as earlier builds left them:
// stopped, and killed -9 with records not yet in the states and an output not yet
// handed on. They are written once, when an issue closes, by the build of that
// moment:
//
//	footfall-lab demo --people 12 --shops 6 --seed 3 --port 0 --data FOLDER
//	tar --exclude '*-shm' -C FOLDER/server -czf issueN-stopped.tar.gz .
//
// From issue 3 on the folders hold a small story instead, and beside it what its
// phones know (phones.json); see TestPhonesOfEarlierBuildsGoOn.
func TestFoldersOfEarlierBuildsOpen(t *testing.T) {
	folders, err := filepath.Glob("testdata/folders/issue2-*.tar.gz")
	if err != nil || len(folders) < 2 {
		t.Fatalf("%d folders, %v", len(folders), err)
	}
	for _, path := range folders {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".tar.gz"), func(t *testing.T) {
			dir := t.TempDir()
			unpack(t, path, dir)
			before := folderDump(t, dir)
			decisions := strings.Count(before, "decisions default/")
			if decisions < 20 || !strings.Contains(before, "state_in default/") {
				t.Fatalf("the folder is too thin: %d decisions", decisions)
			}
			c := config.Default()
			c.DataDir, c.Listen = dir, "127.0.0.1:0"
			c.Providers.FCM.Endpoint, c.Providers.APNs.ProductionURL = "http://127.0.0.1:1", "https://127.0.0.1:1" // nobody listens there
			key, err := app.ResetAdmin(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			// Shortly after the folder was written: nothing in it has expired.
			clk := clock.NewManual(time.Date(2026, 11, 22, 0, 6, 0, 0, time.UTC))
			a, err := app.New(t.Context(), app.Options{Config: c, Clock: clk, Version: "later"})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- a.Run(ctx) }()
			select {
			case <-a.Serving():
			case err := <-done:
				t.Fatalf("the server stopped: %v", err)
			}
			var campaigns struct {
				Items []struct {
					ID     string `json:"id"`
					Status string `json:"status"`
				} `json:"items"`
			}
			getJSON(t, a.URL()+"/api/v1/campaigns", key.Reveal(), &campaigns)
			if len(campaigns.Items) != 2 || campaigns.Items[0].Status != "live" {
				t.Errorf("campaigns are %+v", campaigns.Items)
			}
			settled, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := a.Settle(settled); err != nil {
				t.Errorf("the server does not come to rest: %v", err)
			}
			stop()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			http.DefaultClient.CloseIdleConnections()
			after := folderDump(t, dir)
			// A killed server's folder has lost nothing, and what was not in the
			// states is now.
			if strings.Contains(path, "stopped") && after != before {
				t.Errorf("a stopped server's folder changed by being opened:\n%s", difference(after, before))
			}
			for line := range strings.Lines(before) {
				name, _, _ := strings.Cut(line, " {")
				if strings.HasPrefix(line, "decisions ") && !strings.Contains(after, name) {
					t.Errorf("lost: %s", name)
				}
			}
			for line := range strings.Lines(after) {
				// Another build replaying what a killed one had not saved is recorded.
				replayed := strings.Contains(path, "killed") && strings.Contains(line, "/upgrade_replay/")
				if strings.HasPrefix(line, "alarms ") && !replayed || strings.HasPrefix(line, "outbox ") {
					t.Errorf("left: %s", line)
				}
			}
		})
	}
}

// folderDump is what the store of a data folder has decided, its alarms, and what
// waits in its outbox.
func folderDump(t *testing.T, dir string) string {
	t.Helper()
	return fileDump(t, filepath.Join(dir, "states.db"), app.StateCollections(), append(decided, "alarms")...) +
		fileDump(t, filepath.Join(dir, "hot.db"), app.HotCollections(), "outbox")
}

func fileDump(t *testing.T, path string, declared []store.Collection, collections ...string) string {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{
		Path: path, Collections: declared, Now: func() time.Time { return time.Unix(0, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, s)
	return dump(t, s, collections...)
}

func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, f)
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, root)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			if err := root.MkdirAll(filepath.Clean(h.Name), 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := root.WriteFile(filepath.Clean(h.Name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func getJSON(t *testing.T, url, key string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, resp.Body)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %s", url, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}
