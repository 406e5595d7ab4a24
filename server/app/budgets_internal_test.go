package app

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

func TestBudgetsAreKeptUntilTheyAreOfNoUse(t *testing.T) {
	now := clock.NewManual(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
	path := filepath.Join(t.TempDir(), "hot.db")
	open := func() (budgets, func()) {
		s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Collections: hotCollections(), Durability: sqlite.DurabilityProcess, Now: now.Now})
		if err != nil {
			t.Fatal(err)
		}
		return budgets{s}, func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	b, shut := open()
	block := func(name, body string, lasts time.Duration) deliver.BudgetBlock {
		return deliver.BudgetBlock{Name: name, Body: []byte(body), Expires: now.Now().Add(lasts)}
	}
	for _, blocks := range [][]deliver.BudgetBlock{
		{block("push/fcm/p|00", `{"v":1}`, time.Hour), block("push/fcm/p|01", `{"v":1,"devices":{}}`, time.Minute)},
		{block("push/fcm/p|00", `{"v":1,"devices":{"shop/a":[0,0,0,1,0]}}`, time.Hour)},
	} {
		if err := b.Save(t.Context(), blocks); err != nil {
			t.Fatal(err)
		}
	}
	shut()
	now.Advance(2 * time.Minute)
	b, shut = open()
	defer shut()
	got := map[string]string{}
	if err := b.Load(t.Context(), func(x deliver.BudgetBlock) error {
		got[x.Name] = string(x.Body)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got["push/fcm/p|00"] != `{"v":1,"devices":{"shop/a":[0,0,0,1,0]}}` {
		t.Errorf("got %v", got)
	}
}
