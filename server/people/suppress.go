package people

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

func (s *Service) loadSuppressed(ctx context.Context) error {
	err := s.o.Hot.Iterate(ctx, "suppressions", store.Query{}, func(d store.Doc) error {
		s.suppressed[d.Workspace+"/"+d.ID] = struct{}{}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read suppressions: %w", err)
	}
	return nil
}

// Suppressed reports whether an identifier ("user_id:ada") is on the list. It is
// cheap, and never waits for the store.
func (s *Service) Suppressed(workspace, identifier string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.suppressed) == 0 {
		return false
	}
	_, is := s.suppressed[workspace+"/"+s.o.Hasher.Hash(workspace, identifier)]
	return is
}

// Suppress puts an identifier on the list; one that is there stays as it was put.
func (s *Service) Suppress(ctx context.Context, workspace, identifier, by, reason string) (*engage.Suppression, error) {
	kind, value, _ := strings.Cut(identifier, ":")
	identifier, err := engage.Identifier(kind, value)
	if err != nil {
		return nil, err
	}
	x := &engage.Suppression{V: 1, Hash: s.o.Hasher.Hash(workspace, identifier), Kind: kind, At: s.o.Clock.Now(), By: by, Reason: reason}
	body, err := json.Marshal(x)
	if err != nil {
		return nil, fmt.Errorf("encode suppression: %w", err)
	}
	key := store.Key{Workspace: workspace, ID: x.Hash}
	err = s.o.Hot.Apply(ctx, store.Batch{Puts: []store.Put{{Collection: "suppressions", Key: key, Body: body}}})
	if errors.Is(err, store.ErrVersion) {
		return s.suppression(ctx, key)
	}
	if err != nil {
		return nil, fmt.Errorf("write suppression: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suppressed[workspace+"/"+x.Hash] = struct{}{}
	return x, nil
}

func (s *Service) suppression(ctx context.Context, key store.Key) (*engage.Suppression, error) {
	d, err := s.o.Hot.Get(ctx, "suppressions", key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, engage.Errorf(engage.NotFound, "identifier", "is not on the suppression list")
	}
	if err != nil {
		return nil, fmt.Errorf("read suppression: %w", err)
	}
	var x engage.Suppression
	if err := json.Unmarshal(d.Body, &x); err != nil {
		return nil, fmt.Errorf("decode suppression: %w", err)
	}
	return &x, nil
}

// Suppression returns the entry of an identifier; an error of code NotFound without one.
func (s *Service) Suppression(ctx context.Context, workspace, identifier string) (*engage.Suppression, error) {
	return s.suppression(ctx, store.Key{Workspace: workspace, ID: s.o.Hasher.Hash(workspace, identifier)})
}

// Unsuppress takes an identifier off the list; an error of code NotFound if it is not
// on it.
func (s *Service) Unsuppress(ctx context.Context, workspace, identifier string) error {
	key := store.Key{Workspace: workspace, ID: s.o.Hasher.Hash(workspace, identifier)}
	if _, err := s.suppression(ctx, key); err != nil {
		return err
	}
	if err := s.o.Hot.Apply(ctx, store.Batch{Deletes: []store.Delete{{Collection: "suppressions", Key: key}}}); err != nil {
		return fmt.Errorf("delete suppression: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.suppressed, workspace+"/"+key.ID)
	return nil
}

// Suppressions lists the entries in the order of their hashes.
func (s *Service) Suppressions(ctx context.Context, workspace, cursor string, limit int) ([]engage.Suppression, string, error) {
	return list[engage.Suppression](ctx, s.o.Hot, "suppressions", store.Query{Workspace: workspace, Cursor: cursor, Limit: limit})
}

func list[T any](ctx context.Context, of store.Store, collection string, q store.Query) ([]T, string, error) {
	p, err := of.Find(ctx, collection, q)
	if errors.Is(err, store.ErrBadQuery) {
		return nil, "", engage.Errorf(engage.Invalid, "cursor", "is not a cursor of this list")
	}
	if err != nil {
		return nil, "", fmt.Errorf("list %s: %w", collection, err)
	}
	out := make([]T, len(p.Docs))
	for i, d := range p.Docs {
		if err := json.Unmarshal(d.Body, &out[i]); err != nil {
			return nil, "", fmt.Errorf("decode %s %s: %w", collection, d.ID, err)
		}
	}
	return out, p.Next, nil
}
