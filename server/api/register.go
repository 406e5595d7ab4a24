package api

import (
	"context"
	"maps"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// Limits of a request's body in bytes, enforced while it is read.
const (
	maxBody  = 256 << 10
	maxPlace = 1 << 20 // a polygon of geo.MaxVertices and more
)

// bodyTimeout bounds how long a client may take to send a body.
const bodyTimeout = 30 * time.Second

// WorkspaceHeader is where an admin key names another workspace than its own.
const WorkspaceHeader = "Footfall-Workspace"

const (
	jsonType    = "application/json"
	geojsonType = "application/geo+json"
	problemType = "application/problem+json"
)

// caller is who asks, and in which workspace: the only one that the handler may
// touch.
type caller struct {
	key       *catalog.Key
	workspace string
}

func (c caller) is(least catalog.Role) bool { return rank[c.key.Role] >= rank[least] }

// rank orders the roles: each may do what those below it may, but for what an operation's
// not says: a till changes what a viewer only reads.
var rank = map[catalog.Role]int{catalog.Till: 1, catalog.Viewer: 2, catalog.Marketer: 3, catalog.Admin: 4}

// operation is what the document says of an operation, and who may use it.
type operation struct {
	method, path string // below /api/v1
	id           string
	summary      string
	description  string
	tag          string
	role         catalog.Role // the least
	not          catalog.Role // one above it that may not; empty: each above it may
	status       int          // of success; 0 means 200, or 204 without a body
	body         any          // of the type that documents the request's body; nil: none
	bodyTypes    []string     // media types of it; nil means JSON
	examples     map[string]*huma.Example
	maxBody      int64 // bytes; 0 means maxBody
	streams      bool  // the handler reads the body itself, and bounds it
	errors       []int // besides those that every operation has
	content      map[string]any
}

// Raw is the body of an input, for decode. (Huma's own decoding keeps no
// path below a type that reads itself.)
type Raw struct {
	RawBody []byte
}

// callerKey is under which the caller travels from authenticate to register's
// wrapper, through Huma, which passes nothing else; no handler reads it.
type callerKey struct{}

// operationKey has the id of the operation under way.
type operationKey struct{}

// register adds an operation. The handler is given the caller, never a
// workspace from the request.
func register[I, O any](s *server, op operation, handle func(context.Context, caller, *I) (*O, error)) {
	codes := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusInternalServerError, http.StatusServiceUnavailable}
	if strings.Contains(op.path, "{") {
		codes = append(codes, http.StatusNotFound)
	}
	h := huma.Operation{
		Method: op.method, Path: "/api/v1" + op.path, OperationID: op.id, Summary: op.summary,
		Description: op.description, Tags: []string{op.tag}, DefaultStatus: op.status,
		Security:   []map[string][]string{{"key": {}}},
		Extensions: map[string]any{"x-role": string(op.role)},
		Responses:  map[string]*huma.Response{},
		Parameters: []*huma.Param{{
			Name: WorkspaceHeader, In: "header", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "With an admin key: the workspace to work in. Absent: the key's own",
		}},
		RejectUnknownQueryParameters: true,
		Middlewares:                  huma.Middlewares{s.authenticate(op.role, op.not)},
	}
	if op.not != "" {
		h.Extensions["x-not-role"] = string(op.not)
	}
	if op.body != nil {
		codes = append(codes, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
		h.SkipValidateBody = true
		h.BodyReadTimeout = bodyTimeout
		h.MaxBodyBytes = op.maxBody
		if h.MaxBodyBytes == 0 {
			h.MaxBodyBytes = maxBody
		}
		if op.bodyTypes == nil {
			op.bodyTypes = []string{jsonType}
		}
		if op.streams {
			h.MaxBodyBytes, h.BodyReadTimeout = -1, -1
		}
		h.Middlewares = append(h.Middlewares, s.acceptOnly(op.bodyTypes))
	}
	problem := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
	for _, code := range append(codes, op.errors...) {
		h.Responses[strconv.Itoa(code)] = &huma.Response{
			Description: http.StatusText(code), Content: map[string]*huma.MediaType{problemType: {Schema: problem}},
		}
	}
	if op.content != nil {
		ok := &huma.Response{Description: http.StatusText(http.StatusOK), Content: map[string]*huma.MediaType{}}
		for typ, body := range op.content {
			ok.Content[typ] = &huma.MediaType{Schema: s.schema(body)}
		}
		h.Responses["200"] = ok
	}
	huma.Register(s.api, h, func(ctx context.Context, in *I) (*O, error) {
		who := ctx.Value(callerKey{}).(caller) //nolint:forcetypeassert // authenticate has put it there, or answered itself
		out, err := handle(context.WithValue(ctx, operationKey{}, op.id), who, in)
		if err != nil {
			p := problemOf(err)
			s.logProblem(ctx, op.id, p)
			return nil, p
		}
		return out, nil
	})
	if op.body != nil {
		s.documentBody(op)
	}
	if op.method == http.MethodPut {
		r := s.api.OpenAPI().Paths[h.Path].Put.Responses
		created := *r["200"]
		created.Description = http.StatusText(http.StatusCreated)
		r["201"] = &created
	}
}

// documentBody replaces what Huma says of raw bytes by what they are.
func (s *server) documentBody(op operation) {
	item := s.api.OpenAPI().Paths["/api/v1"+op.path]
	target := map[string]*huma.Operation{http.MethodPost: item.Post, http.MethodPut: item.Put}[op.method]
	content := map[string]*huma.MediaType{}
	for _, typ := range op.bodyTypes {
		content[typ] = &huma.MediaType{Schema: s.schema(op.body), Examples: maps.Clone(op.examples)}
		if typ == csvType {
			content[typ] = &huma.MediaType{Schema: &huma.Schema{
				Type: huma.TypeString, Description: "A table with a header; fields of places by the columns' names, or by map",
				Examples: []any{"id;name;lat;lng;radius;hours\n17;Corner shop;52.3702;4.8952;40;Mo-Sa 09:00-18:00\n18;Station;52.3791;4.9003;60;\n"},
			}}
		}
	}
	target.RequestBody = &huma.RequestBody{Required: true, Content: content}
}

func (s *server) schema(of any) *huma.Schema {
	return s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(of), true, "")
}

// authenticate lets keys of at least the role pass, but for those of the role not, and
// settles the workspace.
func (s *server) authenticate(least, not catalog.Role) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		who, err := s.callerOf(ctx.Header("Authorization"), ctx.Header(WorkspaceHeader))
		if err == nil && !who.is(least) {
			err = engage.Errorf(engage.Forbidden, "", "this needs a key of the role %s, yours is %s", least, who.key.Role)
		}
		if err == nil && who.key.Role == not {
			err = engage.Errorf(engage.Forbidden, "", "this changes something, and keys of the role %s only read", not)
		}
		if err != nil {
			s.answer(ctx, problemOf(err))
			return
		}
		next(huma.WithValue(ctx, callerKey{}, who))
	}
}

func (s *server) callerOf(authorization, workspace string) (caller, error) {
	scheme, token, _ := strings.Cut(authorization, " ")
	if authorization == "" {
		return caller{}, engage.Errorf(engage.Unauthorized, "Authorization", "is missing: send a server key as bearer token")
	}
	if !strings.EqualFold(scheme, "Bearer") {
		return caller{}, engage.Errorf(engage.Unauthorized, "Authorization", `must be "Bearer" and a server key`)
	}
	now := s.o.Catalog.Now()
	key := now.KeyByToken(strings.TrimSpace(token))
	if key == nil {
		return caller{}, engage.Errorf(engage.Unauthorized, "Authorization", "is not a server key that is in force")
	}
	who := caller{key, key.Workspace}
	switch {
	case workspace == "" || workspace == key.Workspace:
	case key.Role != catalog.Admin:
		return caller{}, engage.Errorf(engage.Forbidden, WorkspaceHeader, "only an admin key may name another workspace than its own")
	case now.Workspaces[workspace] == nil:
		return caller{}, engage.Errorf(engage.NotFound, WorkspaceHeader, "there is no workspace %q", clip(workspace))
	default:
		who.workspace = workspace
	}
	return who, nil
}

// acceptOnly refuses bodies of other media types before they are read. A body
// without a type is taken for JSON.
func (s *server) acceptOnly(types []string) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		sent := ctx.Header("Content-Type")
		if sent != "" {
			typ, _, err := mime.ParseMediaType(sent)
			ok := err == nil
			if ok {
				ok = false
				for _, t := range types {
					ok = ok || t == typ
				}
			}
			if !ok {
				s.answer(ctx, problemOf(engage.Errorf(mediaType, "Content-Type", "must be %s, is %q", strings.Join(types, " or "), clip(sent))))
				return
			}
		}
		next(ctx)
	}
}

// answer writes a problem before Huma has read the request.
func (s *server) answer(ctx huma.Context, p *Problem) {
	if p.Code == engage.Unauthorized {
		ctx.SetHeader("WWW-Authenticate", `Bearer realm="footfall"`)
	}
	ctx.SetHeader("Content-Type", problemType)
	ctx.SetStatus(p.Status)
	if err := s.api.Marshal(ctx.BodyWriter(), jsonType, p); err != nil {
		s.o.Logger.DebugContext(ctx.Context(), "api answer not written", "error", err)
	}
}

// Paging, Changing and Raw are parts of inputs; they are exported because Huma
// sees no others.

// Paging is the part of a list that is asked for.
type Paging struct {
	Cursor string `query:"cursor" maxLength:"1000" doc:"Of the page before: its next. Empty: the first page"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Items of the page at most"`
}

// Changing says which version a change was made from.
type Changing struct {
	IfMatch     string `header:"If-Match" maxLength:"40" doc:"The ETag (version) that the change was made from; * means whatever is there now"`
	IfNoneMatch string `header:"If-None-Match" maxLength:"40" doc:"* means: only create it"`
}

// expected is the version that must be there for a change: 0 for none. have is
// what is there now, body what the document says.
func (c Changing) expected(have, body int64) (int64, error) {
	switch {
	case c.IfNoneMatch != "" && c.IfNoneMatch != "*":
		return 0, engage.Errorf(engage.Invalid, "If-None-Match", `must be "*" or absent`)
	case c.IfNoneMatch == "*" && have > 0:
		return 0, engage.Errorf(engage.Conflict, versionField, "it exists already, with version %d", have)
	case c.IfNoneMatch == "*":
		return 0, nil
	case c.IfMatch == "*" && have == 0:
		return 0, engage.Errorf(engage.NotFound, "id", "there is nothing to change")
	case c.IfMatch == "*":
		return have, nil
	case c.IfMatch != "":
		text := strings.TrimPrefix(c.IfMatch, "W/")
		text = strings.Trim(text, `"`)
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n <= 0 {
			return 0, engage.Errorf(engage.Invalid, "If-Match", `must be one ETag such as "3", or *`)
		}
		return n, nil
	case body > 0:
		return body, nil
	case have > 0:
		return 0, engage.Errorf(preconditionRequired, "If-Match", "is required to change what exists: send the version that you changed, or give it in the document")
	default:
		return 0, nil
	}
}

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// versioned is a document with its ETag.
type versioned[T any] struct {
	Status int
	ETag   string `header:"ETag" doc:"The version, quoted"`
	Body   T
}

func versionedOf[T any](body T, version, before int64) *versioned[T] {
	status := http.StatusOK
	if before == 0 {
		status = http.StatusCreated
	}
	return &versioned[T]{Status: status, ETag: etag(version), Body: body}
}

// answered is a plain answer.
type answered[T any] struct {
	Body T
}

// list is a page of a list on the wire.
type list[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"Cursor of the next page; absent: this was the last"`
}

func listOf[T, V any](p Page[T], view func(T) V) *answered[list[V]] {
	out := list[V]{Items: make([]V, 0, len(p.Items)), Next: p.Next}
	for _, x := range p.Items {
		out.Items = append(out.Items, view(x))
	}
	return &answered[list[V]]{out}
}

// pageByID cuts a page out of a list that is in order of id.
func pageByID[T any](all []T, id func(T) string, p Paging) Page[T] {
	out := Page[T]{}
	for _, x := range all {
		if p.Cursor != "" && id(x) <= p.Cursor {
			continue
		}
		if len(out.Items) == p.Limit {
			out.Next = id(out.Items[len(out.Items)-1])
			break
		}
		out.Items = append(out.Items, x)
	}
	return out
}
