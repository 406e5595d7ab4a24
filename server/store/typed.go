package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Typed reads and writes one collection's documents as values of T by
// encoding/json.
type Typed[T any] struct {
	store Store
	name  string
}

// NewTyped returns a view of the collection.
func NewTyped[T any](s Store, collection string) Typed[T] {
	return Typed[T]{store: s, name: collection}
}

// Item is a decoded document.
type Item[T any] struct {
	Key
	Version int64
	Expires time.Time // zero means never
	Value   T
}

// Get returns one document; ErrNotFound if there is none.
func (c Typed[T]) Get(ctx context.Context, key Key) (Item[T], error) {
	d, err := c.store.Get(ctx, c.name, key)
	if err != nil {
		return Item[T]{}, err
	}
	return c.decode(d)
}

// Find returns a page and the cursor of the next, empty when there is none.
func (c Typed[T]) Find(ctx context.Context, q Query) (items []Item[T], next string, err error) {
	page, err := c.store.Find(ctx, c.name, q)
	if err != nil {
		return nil, "", err
	}
	items = make([]Item[T], len(page.Docs))
	for i, d := range page.Docs {
		if items[i], err = c.decode(d); err != nil {
			return nil, "", err
		}
	}
	return items, page.Next, nil
}

// Each calls f as Store.Iterate does.
func (c Typed[T]) Each(ctx context.Context, q Query, f func(Item[T]) error) error {
	return c.store.Iterate(ctx, c.name, q, func(d Doc) error {
		item, err := c.decode(d)
		if err != nil {
			return err
		}
		return f(item)
	})
}

// Count returns how many documents match.
func (c Typed[T]) Count(ctx context.Context, q Query) (int64, error) {
	return c.store.Count(ctx, c.name, q)
}

// Put makes a put for a batch; ifVersion as Put.If, expires zero means never.
func (c Typed[T]) Put(key Key, value T, ifVersion int64, expires time.Time) (Put, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return Put{}, fmt.Errorf("encode %s: %w", c.name, err)
	}
	return Put{Collection: c.name, Key: key, Body: body, If: ifVersion, Expires: expires}, nil
}

// Delete makes a delete for a batch; ifVersion as Delete.If.
func (c Typed[T]) Delete(key Key, ifVersion int64) Delete {
	return Delete{Collection: c.name, Key: key, If: ifVersion}
}

// Save writes one document that never expires, by itself.
func (c Typed[T]) Save(ctx context.Context, key Key, value T, ifVersion int64) error {
	p, err := c.Put(key, value, ifVersion, time.Time{})
	if err != nil {
		return err
	}
	return c.store.Apply(ctx, Batch{Puts: []Put{p}})
}

func (c Typed[T]) decode(d Doc) (Item[T], error) {
	item := Item[T]{Key: d.Key, Version: d.Version, Expires: d.Expires}
	if err := json.Unmarshal(d.Body, &item.Value); err != nil {
		return Item[T]{}, fmt.Errorf("decode %s: %w", c.name, err)
	}
	return item, nil
}
