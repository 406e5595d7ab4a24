package app

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

func TestTheListOfWhatWasDroppedKeepsTheNewest(t *testing.T) {
	c := clock.NewManual(time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC))
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "s.db"), Collections: []store.Collection{droppedCollection()}, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var memory eventlogtest.Memory
	log := memory.Open()
	defer func() { _ = log.Close() }()
	cat, err := catalog.Open(t.Context(), catalog.Options{Log: log, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	d := dropped{s, cat}
	var lines []engage.Dropped
	for _, workspace := range []string{"shop", "rival"} {
		if err := cat.PutWorkspace(t.Context(), "test", &catalog.Workspace{ID: workspace}, 0); err != nil {
			t.Fatal(err)
		}
		for i := range 700 {
			at := c.Now().Add(time.Duration(i) * time.Second)
			lines = append(lines, engage.Dropped{
				V: 1, ID: fmt.Sprint(i), At: at, AtUS: at.UnixMicro(), Workspace: workspace, Code: engage.Invalid, Reason: workspace,
				From: engage.TouchSource{Key: fmt.Sprint("k", i%2)},
			})
		}
	}
	if err := d.Put(t.Context(), lines[:700+50], time.Hour); err != nil { // 700 of the shop, 50 of its rival
		t.Fatal(err)
	}
	if err := d.Trim(t.Context(), 60); err != nil {
		t.Fatal(err)
	}
	for workspace, want := range map[string]struct {
		n     int
		first string
	}{"shop": {60, "699"}, "rival": {50, "49"}} {
		page, err := d.Dropped(t.Context(), workspace, api.DroppedFilter{}, "", 200)
		if err != nil || len(page.Items) != want.n || page.Items[0].ID != want.first || page.Items[0].Reason != workspace {
			t.Errorf("%s: %v, %d lines", workspace, err, len(page.Items))
		}
	}
	page, err := d.Dropped(t.Context(), "shop", api.DroppedFilter{Code: engage.Invalid, Key: "k1"}, "", 200)
	if err != nil || len(page.Items) != 30 {
		t.Errorf("of a key: %v, %d lines", err, len(page.Items))
	}
	c.Advance(2 * time.Hour)
	if page, err = d.Dropped(t.Context(), "rival", api.DroppedFilter{}, "", 200); err != nil || len(page.Items) != 0 {
		t.Errorf("after their time: %v, %d lines", err, len(page.Items))
	}
}
