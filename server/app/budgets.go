package app

import (
	"context"
	"fmt"

	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/store"
)

// budgets keeps what devices have been sent in the hot store: a document of the system's
// part of "budgets" per block, which is gone when it is of no use any more.
type budgets struct{ hot store.Store }

// Load implements deliver.Budgets.
func (b budgets) Load(ctx context.Context, f func(deliver.BudgetBlock) error) error {
	return b.hot.Iterate(ctx, "budgets", store.Query{Workspace: store.System}, func(d store.Doc) error {
		return f(deliver.BudgetBlock{Name: d.ID, Body: d.Body, Expires: d.Expires})
	})
}

// Save implements deliver.Budgets.
func (b budgets) Save(ctx context.Context, blocks []deliver.BudgetBlock) error {
	var batch store.Batch
	for _, x := range blocks {
		batch.Puts = append(batch.Puts, store.Put{
			Collection: "budgets", Key: store.Key{Workspace: store.System, ID: x.Name}, Body: x.Body, Expires: x.Expires, If: store.AnyVersion,
		})
	}
	if err := b.hot.Apply(ctx, batch); err != nil {
		return fmt.Errorf("keep what devices were sent: %w", err)
	}
	return nil
}
