package api

import (
	"context"
	"net/http"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func (s *server) registerKeys() {
	register(s, operation{
		method: http.MethodPost, path: "/keys", id: "create-key", tag: tagOperations, role: catalog.Admin, status: http.StatusCreated,
		summary:     "Create a server key",
		description: "The token is shown in this answer and never again: only its hash is kept. An admin key may do everything in every workspace.",
		body:        keyBody{},
	}, s.createKey)
	register(s, operation{
		method: http.MethodGet, path: "/keys", id: "list-keys", tag: tagOperations, role: catalog.Admin,
		summary: "List the server keys of the workspace",
	}, s.listKeys)
	register(s, operation{
		method: http.MethodDelete, path: "/keys/{id}", id: "delete-key", tag: tagOperations, role: catalog.Admin,
		summary:     "Revoke a server key",
		description: "At once. The last admin key of the server cannot be revoked.",
		errors:      []int{http.StatusConflict, http.StatusPreconditionFailed},
	}, s.deleteKey)
}

type keyBody struct {
	Name string       `json:"name" doc:"For people: who uses it"`
	Role catalog.Role `json:"role" enum:"admin,marketer,viewer,till"`
}

type keyView struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	Role      catalog.Role `json:"role"`
	Version   int64        `json:"version"`
	UpdatedAt time.Time    `json:"updated_at"`
}

type newKeyView struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	Role      catalog.Role `json:"role"`
	Version   int64        `json:"version"`
	UpdatedAt time.Time    `json:"updated_at"`
	Token     string       `json:"token" doc:"The bearer token; it is not shown again"`
}

func viewKey(k *catalog.Key) keyView {
	return keyView{k.ID, k.Name, k.Role, k.Version, k.UpdatedAt}
}

func (s *server) createKey(ctx context.Context, who caller, in *bodyInput) (*answered[newKeyView], error) {
	var b keyBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if b.Name == "" || len(b.Name) > 200 {
		return nil, engage.Errorf(engage.Invalid, "name", "must have 1 to 200 bytes, has %d", len(b.Name))
	}
	k, token := catalog.NewKey(who.workspace, b.Name, b.Role)
	if err := s.o.Catalog.PutKey(ctx, who.key.ID, k, 0); err != nil {
		return nil, err
	}
	return &answered[newKeyView]{newKeyView{k.ID, k.Name, k.Role, k.Version, k.UpdatedAt, token.Reveal()}}, nil
}

func (s *server) listKeys(_ context.Context, who caller, in *struct{ Paging }) (*answered[list[keyView]], error) {
	page := pageByID(s.o.Catalog.Now().Keys(who.workspace), func(k *catalog.Key) string { return k.ID }, in.Paging)
	return listOf(page, viewKey), nil
}

func (s *server) deleteKey(ctx context.Context, who caller, in *deleteInput) (*struct{}, error) {
	expected, err := in.expected()
	if err != nil {
		return nil, err
	}
	now := s.o.Catalog.Now()
	otherAdmins := 0
	for workspace := range now.Workspaces {
		for _, k := range now.Keys(workspace) {
			if k.Role == catalog.Admin && (k.Workspace != who.workspace || k.ID != in.ID) {
				otherAdmins++
			}
		}
	}
	if otherAdmins == 0 {
		return nil, engage.Errorf(engage.Conflict, "id", "is the last admin key of the server: create another first")
	}
	return nil, s.o.Catalog.DeleteKey(ctx, who.key.ID, who.workspace, in.ID, expected)
}
