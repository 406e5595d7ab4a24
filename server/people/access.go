package people

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// keepAccesses is how long it is remembered who looked.
const keepAccesses = 400 * 24 * time.Hour

// Looked notes a look at persons, each with Access.Profile set to them. It returns
// when that is durable: nobody sees what is not noted.
func (s *Service) Looked(ctx context.Context, workspace string, a engage.Access, profiles ...string) error {
	a.V, a.At = 1, s.o.Clock.Now()
	var b store.Batch
	for _, p := range profiles {
		a.Profile = p
		body, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("encode access: %w", err)
		}
		// Two looks of one key at the same nanosecond are one look.
		id := fmt.Sprintf("%s/%020d/%s/%s", p, a.At.UnixNano(), a.Key, a.Operation)
		b.Puts = append(b.Puts, store.Put{
			Collection: "accesses", Key: store.Key{Workspace: workspace, ID: id}, Body: body, Expires: a.At.Add(keepAccesses), If: store.AnyVersion,
		})
	}
	if err := s.o.Hot.Apply(ctx, b); err != nil {
		return fmt.Errorf("note access: %w", err)
	}
	return nil
}

// Accesses lists who looked at a person, the newest first.
func (s *Service) Accesses(ctx context.Context, workspace, profile, cursor string, limit int) ([]engage.Access, string, error) {
	return list[engage.Access](ctx, s.o.Hot, "accesses", store.Query{
		Workspace: workspace, IDPrefix: profile + "/", Sort: "-_id", Cursor: cursor, Limit: limit,
	})
}
