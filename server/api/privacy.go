package api

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// Privacy does what persons may ask for. Every method sees one workspace only; profile
// is one that People knows. Errors: engage.NotFound; engage.Invalid of "cursor".
type Privacy interface {
	// Export returns what writes everything that is kept of a person, as one JSON object.
	Export(ctx context.Context, workspace, profile string) (func(context.Context, io.Writer) error, error)
	// Erase begins to erase a person; by is the id of the key that asks.
	Erase(ctx context.Context, workspace, profile, by, reason string, suppress bool) (*engage.Erasure, error)
	Erasure(ctx context.Context, workspace, id string) (*engage.Erasure, error)
	// Erasures are the newest first; with an identifier those of whom had it.
	Erasures(ctx context.Context, workspace, identifier, cursor string, limit int) (Page[engage.Erasure], error)

	Suppress(ctx context.Context, workspace, identifier, by, reason string) (*engage.Suppression, error)
	Suppression(ctx context.Context, workspace, identifier string) (*engage.Suppression, error)
	Unsuppress(ctx context.Context, workspace, identifier string) error
	Suppressions(ctx context.Context, workspace, cursor string, limit int) (Page[engage.Suppression], error)
	// Suppressed reports whether an identifier is on the list. It does not wait.
	Suppressed(workspace, identifier string) bool

	// Looked notes who looks at persons; it returns when that is durable.
	Looked(ctx context.Context, workspace string, a engage.Access, profiles ...string) error
	// Accesses of a person are the newest first.
	Accesses(ctx context.Context, workspace, profile, cursor string, limit int) (Page[engage.Access], error)
}

func (s *server) registerPrivacy() {
	register(s, operation{
		method: http.MethodGet, path: "/people/{id}/export", id: "export-person", tag: tagPrivacy, role: catalog.Admin,
		summary: "Export everything that is kept of a person",
		description: "One JSON object, written as it is read: what is known of the person, their installs, timeline, visits, positions, decisions, deliveries, inbox, Live Activities, what was dropped, the days of which snapshots are kept, and who looked at them. " +
			"Push tokens are withheld. Where it cannot be read to its end the connection breaks off. " + personHelp,
		content: map[string]any{jsonType: map[string]any{}},
	}, s.exportPerson)
	register(s, operation{
		method: http.MethodDelete, path: "/people/{id}", id: "erase-person", tag: tagPrivacy, role: catalog.Admin, status: http.StatusAccepted,
		summary: "Erase a person",
		description: "Everything that is kept of them goes, also of the profiles that were merged into theirs; a phone whose app lives on comes back as a stranger. " +
			"It cannot be undone. The answer is the receipt: erase-person has begun, and the receipt says when it is done and until when the event log keeps records of before. " + personHelp,
	}, s.erasePerson)
	register(s, operation{
		method: http.MethodGet, path: "/people/{id}/accesses", id: "list-accesses", tag: tagPrivacy, role: catalog.Admin,
		summary: "List who looked at a person", description: "The newest first, for 400 days. " + personHelp,
	}, s.listAccesses)
	register(s, operation{
		method: http.MethodGet, path: "/erasures", id: "list-erasures", tag: tagPrivacy, role: catalog.Admin,
		summary: "List receipts of erasures", description: "The newest first. They name nobody: with identifier, those that erased whoever had it.",
	}, s.listErasures)
	register(s, operation{
		method: http.MethodGet, path: "/erasures/{id}", id: "get-erasure", tag: tagPrivacy, role: catalog.Admin,
		summary: "Get the receipt of an erasure",
	}, s.getErasure)
	register(s, operation{
		method: http.MethodGet, path: "/suppressions", id: "list-suppressions", tag: tagPrivacy, role: catalog.Admin,
		summary: "List the suppression list", description: "In order of hash: identifiers are not kept. Ask for one by its identifier.",
	}, s.listSuppressions)
	register(s, operation{
		method: http.MethodGet, path: "/suppressions/{identifier}", id: "get-suppression", tag: tagPrivacy, role: catalog.Admin,
		summary: "Get whether an identifier is suppressed", description: "404: it is not.",
	}, s.getSuppression)
	register(s, operation{
		method: http.MethodPost, path: "/suppressions", id: "suppress", tag: tagPrivacy, role: catalog.Admin, status: http.StatusCreated,
		summary:     "Suppress an identifier",
		description: "What names it is dropped where it comes in. Of somebody who is known, erase the person with suppress=true instead: 409.",
		body:        suppressBody{}, errors: []int{http.StatusConflict},
	}, s.suppress)
	register(s, operation{
		method: http.MethodDelete, path: "/suppressions/{identifier}", id: "unsuppress", tag: tagPrivacy, role: catalog.Admin, status: http.StatusNoContent,
		summary: "Take an identifier off the suppression list",
	}, s.unsuppress)
}

// seen notes that the caller sees persons.
func (s *server) seen(ctx context.Context, who caller, profiles ...string) error {
	if len(profiles) == 0 {
		return nil
	}
	operation, _ := ctx.Value(operationKey{}).(string)
	return s.o.Privacy.Looked(ctx, who.workspace, engage.Access{
		Key: who.key.ID, Name: who.key.Name, Role: string(who.key.Role), Operation: operation,
	}, profiles...)
}

func (s *server) exportPerson(ctx context.Context, who caller, in *personInput) (*streamed, error) {
	p, err := s.person(ctx, who, in.ID)
	if err != nil {
		return nil, err
	}
	write, err := s.o.Privacy.Export(ctx, who.workspace, p.ID)
	if err != nil {
		return nil, err
	}
	return &streamed{jsonType, func(hc huma.Context) {
		hc.SetHeader("Content-Disposition", `attachment; filename="person.json"`)
		if err := write(ctx, hc.BodyWriter()); err != nil {
			s.logProblem(ctx, "export-person", problemOf(err))
			panic(http.ErrAbortHandler) // the connection breaks, so that nobody takes what there is for whole
		}
	}}, nil
}

type eraseInput struct {
	ID       string `path:"id" maxLength:"600" doc:"Profile id, user_id:… or install:…"`
	Suppress bool   `query:"suppress" doc:"Put the person's identifiers on the suppression list as well, so that nothing that names them is taken in again"`
	Reason   string `query:"reason" maxLength:"200" doc:"For the receipt; no name in it"`
}

func (s *server) erasePerson(ctx context.Context, who caller, in *eraseInput) (*answered[*engage.Erasure], error) {
	p, err := s.person(ctx, who, in.ID)
	if err != nil {
		return nil, err
	}
	e, err := s.o.Privacy.Erase(ctx, who.workspace, p.ID, who.key.ID, in.Reason, in.Suppress)
	if err != nil {
		return nil, err
	}
	return &answered[*engage.Erasure]{e}, nil
}

type accessesInput struct {
	ID string `path:"id" maxLength:"600" doc:"Profile id, user_id:… or install:…"`
	Paging
}

func (s *server) listAccesses(ctx context.Context, who caller, in *accessesInput) (*answered[list[engage.Access]], error) {
	p, err := s.person(ctx, who, in.ID)
	if err != nil {
		return nil, err
	}
	page, err := s.o.Privacy.Accesses(ctx, who.workspace, p.ID, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	return listOf(page, func(a engage.Access) engage.Access { return a }), nil
}

type erasuresInput struct {
	Identifier string `query:"identifier" maxLength:"600" doc:"Such as user_id:ada, or a profile's id"`
	Paging
}

func (s *server) listErasures(ctx context.Context, who caller, in *erasuresInput) (*answered[list[engage.Erasure]], error) {
	asked := in.Identifier
	if id, err := identifier("identifier", asked); err == nil {
		asked = id // as it was kept
	}
	page, err := s.o.Privacy.Erasures(ctx, who.workspace, asked, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	return listOf(page, func(e engage.Erasure) engage.Erasure { return e }), nil
}

type erasureInput struct {
	ID string `path:"id" maxLength:"100" doc:"Of the receipt"`
}

func (s *server) getErasure(ctx context.Context, who caller, in *erasureInput) (*answered[*engage.Erasure], error) {
	if !engage.ValidID(in.ID) {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no such erasure")
	}
	e, err := s.o.Privacy.Erasure(ctx, who.workspace, in.ID)
	if err != nil {
		return nil, err
	}
	return &answered[*engage.Erasure]{e}, nil
}

func (s *server) listSuppressions(ctx context.Context, who caller, in *struct{ Paging }) (*answered[list[engage.Suppression]], error) {
	page, err := s.o.Privacy.Suppressions(ctx, who.workspace, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	return listOf(page, func(x engage.Suppression) engage.Suppression { return x }), nil
}

type suppressionInput struct {
	Identifier string `path:"identifier" maxLength:"600" doc:"Such as user_id:ada, escaped as a path segment"`
}

// identifier is one that a caller gives, as it is kept.
func identifier(field, text string) (string, error) {
	kind, value, named := strings.Cut(text, ":")
	if !named {
		return "", engage.Errorf(engage.Invalid, field, "must be a kind and a value, such as user_id:ada")
	}
	id, err := engage.Identifier(kind, value)
	if err != nil {
		return "", engage.At(field, err)
	}
	return id, nil
}

func (s *server) getSuppression(ctx context.Context, who caller, in *suppressionInput) (*answered[*engage.Suppression], error) {
	id, err := identifier("identifier", in.Identifier)
	if err != nil {
		return nil, err
	}
	x, err := s.o.Privacy.Suppression(ctx, who.workspace, id)
	if err != nil {
		return nil, err
	}
	return &answered[*engage.Suppression]{x}, nil
}

type suppressBody struct {
	Identifier string `json:"identifier" doc:"Such as user_id:ada or email:ada@example.org"`
	Reason     string `json:"reason,omitempty" maxLength:"200" doc:"No name in it"`
}

func (s *server) suppress(ctx context.Context, who caller, in *bodyInput) (*answered[*engage.Suppression], error) {
	var b suppressBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	id, err := identifier("identifier", b.Identifier)
	if err != nil {
		return nil, err
	}
	if len(b.Reason) > 200 {
		return nil, engage.Errorf(engage.TooLarge, "reason", "at most 200 bytes, got %d", len(b.Reason))
	}
	_, err = s.find(ctx, who, id)
	switch engage.CodeOf(err) {
	case engage.NotFound:
	case "":
		return nil, engage.Errorf(engage.Conflict, "identifier", "is that of somebody who is known: erase the person with suppress=true")
	default:
		return nil, err
	}
	x, err := s.o.Privacy.Suppress(ctx, who.workspace, id, who.key.ID, b.Reason)
	if err != nil {
		return nil, err
	}
	return &answered[*engage.Suppression]{x}, nil
}

func (s *server) unsuppress(ctx context.Context, who caller, in *suppressionInput) (*struct{}, error) {
	id, err := identifier("identifier", in.Identifier)
	if err != nil {
		return nil, err
	}
	return nil, s.o.Privacy.Unsuppress(ctx, who.workspace, id)
}
