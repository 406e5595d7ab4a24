package api

import (
	"context"
	"net/http"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// DroppedFilter chooses lines of the list of what was dropped; an empty field chooses all.
type DroppedFilter struct {
	Code engage.Code
	Key  string // id of a write key
}

// Dropped reads what was answered as taken and had no effect.
type Dropped interface {
	// Dropped lists it by time, the newest first.
	Dropped(ctx context.Context, workspace string, f DroppedFilter, cursor string, limit int) (Page[engage.Dropped], error)
}

func (s *server) registerCollect() {
	register(s, operation{
		method: http.MethodPost, path: "/write-keys", id: "create-write-key", tag: tagCollect, role: catalog.Admin, status: http.StatusCreated,
		summary: "Create a write key of the tracking API",
		description: "With it a website, a server or a till brings what people did to /v1/track and its siblings, which Segment's libraries speak; nothing can be read with it. " +
			"A public key may stand in pages: what it brings is of anonymous visitors only. A server's is a secret and is believed: its token is shown in this answer and never again.",
		body: writeKeyBody{}, errors: []int{http.StatusConflict},
	}, s.createWriteKey)
	register(s, operation{
		method: http.MethodGet, path: "/write-keys", id: "list-write-keys", tag: tagCollect, role: catalog.Admin,
		summary: "List the write keys of the workspace", description: "The revoked ones too.",
	}, s.listWriteKeys)
	register(s, operation{
		method: http.MethodPut, path: "/write-keys/{id}", id: "put-write-key", tag: tagCollect, role: catalog.Admin,
		summary: "Change the settings of a write key",
		description: "Its name, the pages that may use it and how much it may bring; what is not said is taken back. The token stays as it is. It is in force at once. " +
			"A change names the version that it was made from, by If-Match or in the document.",
		body: writeKeySettings{}, errors: []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired},
	}, s.putWriteKey)
	register(s, operation{
		method: http.MethodDelete, path: "/write-keys/{id}", id: "delete-write-key", tag: tagCollect, role: catalog.Admin,
		summary: "Revoke a write key",
		description: "At once. What a revoked key brings is still answered with 200, so that libraries do not repeat it, and listed as dropped. " +
			"Revoking it again forgets it: it is unknown from then on.",
		errors: []int{http.StatusConflict, http.StatusPreconditionFailed},
	}, s.deleteWriteKey)
	register(s, operation{
		method: http.MethodGet, path: "/dropped", id: "list-dropped", tag: tagCollect, role: catalog.Marketer,
		summary: "List what was answered as taken and had no effect",
		description: "The newest first, with the reason: whole calls of the tracking API, parts of them, and what did not fit the person it was about. " +
			"No value that was sent is shown. Kept for 14 days, the newest 10,000.",
	}, s.listDropped)
}

type writeKeyBody struct {
	Name         string               `json:"name" doc:"For people: who uses it"`
	Kind         catalog.WriteKeyKind `json:"kind" enum:"public,server" doc:"Where it stands: in pages, or on the retailer's own systems"`
	Source       string               `json:"source,omitempty" enum:"web,server,till" doc:"What uses it; absent: web of a public key, server of a server's"`
	Origins      []string             `json:"origins,omitempty" doc:"Of a public key: pages that may use it, https://shop.example or https://*.shop.example; absent: all. Others are refused with 403 and listed as dropped. It keeps pages away, not who can send what they like"`
	RequestsPerS int                  `json:"requests_per_s,omitempty" minimum:"0" maximum:"10000" doc:"Requests that it may bring; 0: 1,000"`
	CallsPerS    int                  `json:"calls_per_s,omitempty" minimum:"0" maximum:"200000" doc:"Calls that it may bring; 0: 20,000"`
}

type writeKeySettings struct {
	Name         string   `json:"name" doc:"For people: who uses it"`
	Version      int64    `json:"version,omitempty" doc:"That the change was made from, if If-Match does not say it"`
	Origins      []string `json:"origins,omitempty" doc:"Of a public key: pages that may use it, https://shop.example or https://*.shop.example; absent: all. Others are refused with 403 and listed as dropped. It keeps pages away, not who can send what they like"`
	RequestsPerS int      `json:"requests_per_s,omitempty" minimum:"0" maximum:"10000" doc:"Requests that it may bring; 0: 1,000"`
	CallsPerS    int      `json:"calls_per_s,omitempty" minimum:"0" maximum:"200000" doc:"Calls that it may bring; 0: 20,000"`
}

type writeKeyView struct {
	ID           string               `json:"id"`
	Name         string               `json:"name"`
	Kind         catalog.WriteKeyKind `json:"kind"`
	Source       string               `json:"source"`
	Token        string               `json:"token,omitempty" doc:"The write key itself: of a public key, and of any in the answer that creates it"`
	Origins      []string             `json:"origins,omitempty" doc:"Of a public key: pages that may use it, https://shop.example or https://*.shop.example; absent: all. Others are refused with 403 and listed as dropped. It keeps pages away, not who can send what they like"`
	RequestsPerS int                  `json:"requests_per_s,omitempty" minimum:"0" maximum:"10000" doc:"Requests that it may bring; 0: 1,000"`
	CallsPerS    int                  `json:"calls_per_s,omitempty" minimum:"0" maximum:"200000" doc:"Calls that it may bring; 0: 20,000"`
	RevokedAt    *time.Time           `json:"revoked_at,omitempty" doc:"Absent: it is in force"`
	Version      int64                `json:"version"`
	UpdatedAt    time.Time            `json:"updated_at"`
}

func viewWriteKey(k *catalog.WriteKey) writeKeyView {
	v := writeKeyView{ID: k.ID, Name: k.Name, Kind: k.Kind, Source: k.Source, Token: k.Token, Version: k.Version, UpdatedAt: k.UpdatedAt}
	v.Origins, v.RequestsPerS, v.CallsPerS = k.Origins, k.RequestsPerS, k.CallsPerS
	if k.Revoked() {
		v.RevokedAt = &k.RevokedAt
	}
	return v
}

func (s *server) createWriteKey(ctx context.Context, who caller, in *bodyInput) (*answered[writeKeyView], error) {
	var b writeKeyBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	k, token := catalog.NewWriteKey(who.workspace, b.Name, b.Kind, b.Source)
	k.Origins, k.RequestsPerS, k.CallsPerS = b.Origins, b.RequestsPerS, b.CallsPerS
	if err := s.o.Catalog.PutWriteKey(ctx, who.key.ID, k, 0); err != nil {
		return nil, err
	}
	v := viewWriteKey(k)
	v.Token = token.Reveal()
	return &answered[writeKeyView]{v}, nil
}

func (s *server) listWriteKeys(_ context.Context, who caller, in *struct{ Paging }) (*answered[list[writeKeyView]], error) {
	page := pageByID(s.o.Catalog.Now().WriteKeys(who.workspace), func(k *catalog.WriteKey) string { return k.ID }, in.Paging)
	return listOf(page, viewWriteKey), nil
}

type putWriteKeyInput struct {
	ID      string `path:"id" maxLength:"100"`
	IfMatch string `header:"If-Match" maxLength:"40" doc:"The ETag (version) that the change was made from; * means whatever is there now"`
	Raw
}

func (s *server) putWriteKey(ctx context.Context, who caller, in *putWriteKeyInput) (*versioned[writeKeyView], error) {
	var b writeKeySettings
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	k := s.o.Catalog.Now().WriteKey(who.workspace, in.ID)
	if k == nil {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no write key %q", clip(in.ID))
	}
	expected, err := Changing{IfMatch: in.IfMatch}.expected(k.Version, b.Version)
	if err != nil {
		return nil, err
	}
	changed := *k
	changed.Name, changed.Origins, changed.RequestsPerS, changed.CallsPerS = b.Name, b.Origins, b.RequestsPerS, b.CallsPerS
	if err := s.o.Catalog.PutWriteKey(ctx, who.key.ID, &changed, expected); err != nil {
		return nil, err
	}
	return versionedOf(viewWriteKey(&changed), changed.Version, k.Version), nil
}

func (s *server) deleteWriteKey(ctx context.Context, who caller, in *deleteInput) (*struct{}, error) {
	expected, err := in.expected()
	if err != nil {
		return nil, err
	}
	k := s.o.Catalog.Now().WriteKey(who.workspace, in.ID)
	switch {
	case k == nil:
		return nil, engage.Errorf(engage.NotFound, "id", "there is no write key %q", clip(in.ID))
	case k.Revoked():
		return nil, s.o.Catalog.DeleteWriteKey(ctx, who.key.ID, who.workspace, in.ID, expected)
	}
	if expected == catalog.AnyVersion {
		expected = k.Version // so that two at once do not revoke and forget it
	}
	revoked := *k
	revoked.RevokedAt = s.o.Clock.Now()
	return nil, s.o.Catalog.PutWriteKey(ctx, who.key.ID, &revoked, expected)
}

type droppedInput struct {
	Paging
	Code string `query:"code" maxLength:"60" doc:"Only of this code, such as invalid, too_large, identity_invalid"`
	Key  string `query:"key" maxLength:"100" doc:"Only what this write key brought: its id"`
}

type droppedView struct {
	ID      string             `json:"id"`
	At      time.Time          `json:"at"`
	From    engage.TouchSource `json:"from" doc:"Where it came from"`
	Message string             `json:"message,omitempty" doc:"Its message id"`
	Type    string             `json:"type,omitempty" doc:"track, identify, …"`
	Code    engage.Code        `json:"code"`
	Field   string             `json:"field,omitempty" doc:"Absent: the whole of it"`
	Reason  string             `json:"reason"`
	Profile string             `json:"profile,omitempty" doc:"The person it was about, where that is known"`
}

func (s *server) listDropped(ctx context.Context, who caller, in *droppedInput) (*answered[list[droppedView]], error) {
	page, err := s.o.Dropped.Dropped(ctx, who.workspace, DroppedFilter{Code: engage.Code(in.Code), Key: in.Key}, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	return listOf(page, func(d engage.Dropped) droppedView {
		return droppedView{d.ID, d.At, d.From, d.Message, d.Type, d.Code, d.Field, d.Reason, d.Profile}
	}), nil
}
