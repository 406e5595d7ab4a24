package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// maxClear is how many items one request deletes.
const maxClear = 20_000

// Items keeps the items of catalogues (*items.Service, whose documentation holds).
type Items interface {
	Get(ctx context.Context, workspace, catalogue, id string) (*engage.Item, error)
	List(ctx context.Context, workspace, catalogue string, l engage.ItemListing) (items []*engage.Item, next string, err error)
	Put(ctx context.Context, by, workspace, catalogue string, edits []engage.ItemEdit) ([]engage.ItemOutcome, error)
	Known(ctx context.Context, workspace string, refs []engage.ItemRef) ([]engage.KnownItem, error)
	Count(ctx context.Context, workspace, catalogue string) (int64, error)
	Clear(ctx context.Context, workspace, catalogue string, most int) (left int64, err error)
}

func (s *server) registerItems() {
	changes := []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired}
	register(s, operation{
		method: http.MethodGet, path: "/catalogues", id: "list-catalogues", tag: tagItems, role: catalog.Viewer,
		summary: "List catalogues", description: "In order of id.",
	}, s.listCatalogues)
	register(s, operation{
		method: http.MethodGet, path: "/catalogues/{id}", id: "get-catalogue", tag: tagItems, role: catalog.Viewer,
		summary: "Get a catalogue, and how many items it has",
	}, s.getCatalogue)
	register(s, operation{
		method: http.MethodPut, path: "/catalogues/{id}", id: "put-catalogue", tag: tagItems, role: catalog.Marketer,
		summary: "Create or change a catalogue",
		description: "Its items have an id and the fields that it declares. A field that it does not is learned from its first value (text, number, true or false, list of texts, time), and binds from then on, unless the catalogue is closed. " +
			"A field stays, with its type: items have it so. At most 50 catalogues of a workspace and 100 fields of a catalogue.",
		body: catalogueDoc{}, examples: examplesOf("products"), errors: changes,
	}, s.putCatalogue)
	register(s, operation{
		method: http.MethodDelete, path: "/catalogues/{id}", id: "delete-catalogue", tag: tagItems, role: catalog.Marketer,
		summary: "Delete a catalogue that is empty", description: "And that no campaign is about. Its items are deleted by DELETE /catalogues/{id}/items.",
		errors: []int{http.StatusConflict, http.StatusPreconditionFailed},
	}, s.deleteCatalogue)
	register(s, operation{
		method: http.MethodGet, path: "/catalogues/{id}/items", id: "list-items", tag: tagItems, role: catalog.Viewer,
		summary: "List the items of a catalogue", description: "In order of id, those that match all filters.",
	}, s.listItems)
	register(s, operation{
		method: http.MethodPost, path: "/catalogues/{id}/items", id: "put-items", tag: tagItems, role: catalog.Marketer,
		summary: "Create, replace and delete many items",
		description: "At most 500 a request. Each is taken or refused alone, and the answer tells what became of each; of an item that stands twice the last counts. An item without a version replaces whatever is there. " +
			"A whole file is taken by POST /uploads with the kind items.",
		body: itemsBody{}, maxBody: 8 << 20, errors: []int{http.StatusNotFound},
	}, s.putItems)
	register(s, operation{
		method: http.MethodDelete, path: "/catalogues/{id}/items", id: "clear-items", tag: tagItems, role: catalog.Admin,
		summary: "Delete the items of a catalogue", description: "20,000 a request at most: the answer says how many are left. The catalogue itself stays.",
	}, s.clearItems)
	register(s, operation{
		method: http.MethodGet, path: "/catalogues/{id}/items/{item}", id: "get-item", tag: tagItems, role: catalog.Viewer,
		summary: "Get an item",
	}, s.getItem)
	register(s, operation{
		method: http.MethodPut, path: "/catalogues/{id}/items/{item}", id: "put-item", tag: tagItems, role: catalog.Marketer,
		summary: "Create or replace an item",
		description: "Its fields replace all that it had. Messages that are decided from then on have it so. " +
			"A change names the version that it was made from, by If-Match or in the document. At most 8 kB of fields, and 1,000,000 items of a catalogue.",
		body: itemDoc{}, examples: examplesOf("item"), errors: changes,
	}, s.putItem)
	register(s, operation{
		method: http.MethodDelete, path: "/catalogues/{id}/items/{item}", id: "delete-item", tag: tagItems, role: catalog.Marketer,
		summary: "Delete an item", description: "What a message asks of it is missing from then on.",
		errors: []int{http.StatusConflict, http.StatusPreconditionFailed},
	}, s.deleteItem)
}

// catalogueDoc documents engage.Catalogue.
type catalogueDoc struct {
	ID        string            `json:"id" required:"false" doc:"As in the path; 1 to 50 of a-z, 0-9 and '_', beginning with a letter: texts have it as catalog.<id>"`
	Workspace string            `json:"workspace" readOnly:"true" required:"false"`
	Version   int64             `json:"version" required:"false" doc:"Grows by one with each change. In a change: the version that it was made from"`
	Name      string            `json:"name,omitempty" maxLength:"200"`
	Currency  string            `json:"currency,omitempty" doc:"ISO 4217, of the fields of type money, unless an item has a field currency of its own; texts have it as item.currency" example:"EUR"`
	Fields    map[string]string `json:"fields,omitempty" doc:"Types of the items' fields by name: string, number, bool, time, money, url, image or strings"`
	Closed    bool              `json:"closed,omitempty" doc:"Items have no other fields than these: none is learned"`
	UpdatedAt time.Time         `json:"updated_at" readOnly:"true" required:"false"`
	Items     *int64            `json:"items,omitempty" readOnly:"true" doc:"Of one catalogue: how many items it has"`
}

type catalogueView struct {
	*engage.Catalogue
	Items *int64 `json:"items,omitempty"`
}

// catalogueBody is a catalogue as it comes in: what the server sets is not looked at.
type catalogueBody struct {
	ID        string                      `json:"id"`
	Workspace string                      `json:"workspace"`
	Version   int64                       `json:"version"`
	Name      string                      `json:"name"`
	Currency  string                      `json:"currency"`
	Fields    map[string]engage.FieldType `json:"fields"`
	Closed    bool                        `json:"closed"`
	UpdatedAt json.RawMessage             `json:"updated_at"`
	Items     json.RawMessage             `json:"items"`
}

func (s *server) catalogue(who caller, id string) (*engage.Catalogue, error) {
	if k := s.o.Catalog.Now().Catalogue(who.workspace, id); k != nil {
		return k, nil
	}
	return nil, engage.Errorf(engage.NotFound, "id", "there is no catalogue %q", clip(id))
}

func (s *server) listCatalogues(_ context.Context, who caller, in *struct{ Paging }) (*answered[list[catalogueView]], error) {
	page := pageByID(s.o.Catalog.Now().Catalogues(who.workspace), func(k *engage.Catalogue) string { return k.ID }, in.Paging)
	return listOf(page, func(k *engage.Catalogue) catalogueView { return catalogueView{Catalogue: k} }), nil
}

func (s *server) getCatalogue(ctx context.Context, who caller, in *byID) (*versioned[catalogueView], error) {
	k, err := s.catalogue(who, in.ID)
	if err != nil {
		return nil, err
	}
	n, err := s.o.Items.Count(ctx, who.workspace, k.ID)
	if err != nil {
		return nil, err
	}
	return versionedOf(catalogueView{k, &n}, k.Version, k.Version), nil
}

func (s *server) putCatalogue(ctx context.Context, who caller, in *putInput) (*versioned[catalogueView], error) {
	var b catalogueBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if err := sameID(who, in.ID, b.ID, b.Workspace); err != nil {
		return nil, err
	}
	k := &engage.Catalogue{ID: in.ID, Workspace: who.workspace, Name: b.Name, Currency: b.Currency, Fields: b.Fields, Closed: b.Closed}
	var have int64
	if old := s.o.Catalog.Now().Catalogue(who.workspace, in.ID); old != nil {
		have = old.Version
	}
	expected, err := in.expected(have, b.Version)
	if err != nil {
		return nil, err
	}
	if err := s.o.Catalog.PutCatalogue(ctx, who.key.ID, k, expected); err != nil {
		return nil, err
	}
	return versionedOf(catalogueView{Catalogue: k}, k.Version, expected), nil
}

func (s *server) deleteCatalogue(ctx context.Context, who caller, in *deleteInput) (*struct{}, error) {
	expected, err := in.expected()
	if err != nil {
		return nil, err
	}
	if _, err := s.catalogue(who, in.ID); err != nil {
		return nil, err
	}
	switch n, err := s.o.Items.Count(ctx, who.workspace, in.ID); {
	case err != nil:
		return nil, err
	case n > 0:
		return nil, engage.Errorf(engage.Conflict, "id", "it has %d items: delete them first", n)
	}
	return nil, s.o.Catalog.DeleteCatalogue(ctx, who.key.ID, who.workspace, in.ID, expected)
}

type listItemsInput struct {
	ID     string   `path:"id" maxLength:"100"`
	Prefix string   `query:"prefix" maxLength:"100" doc:"Only items whose id begins with it"`
	Where  []string `query:"where" maxItems:"10" doc:"Only items with this value, as field:value; of a list, with this text in it. Several, separated by commas: all of them"`
	Paging
}

// where reads the filters of a list.
func where(k *engage.Catalogue, filters []string) (map[string]any, error) {
	out := map[string]any{}
	for i, f := range filters {
		name, text, said := strings.Cut(f, ":")
		at := fmt.Sprintf("where[%d]", i)
		t, known := k.Fields[name]
		switch {
		case !said:
			return nil, engage.Errorf(engage.Invalid, at, "must be field:value, is %q", clip(f))
		case !known:
			return nil, engage.Errorf(engage.Invalid, at, "the catalogue has no field %q", clip(name))
		}
		var v any = text
		var err error
		switch t {
		case engage.FieldNumber, engage.FieldMoney:
			v, err = strconv.ParseFloat(text, 64)
		case engage.FieldBool:
			v, err = strconv.ParseBool(text)
		}
		if err != nil {
			return nil, engage.Errorf(engage.Invalid, at, "%s is %s: %q is none", name, t, clip(text))
		}
		out[name] = v
	}
	return out, nil
}

func (s *server) listItems(ctx context.Context, who caller, in *listItemsInput) (*answered[list[*engage.Item]], error) {
	k, err := s.catalogue(who, in.ID)
	if err != nil {
		return nil, err
	}
	l := engage.ItemListing{Prefix: in.Prefix, Cursor: in.Cursor, Limit: in.Limit}
	if l.Where, err = where(k, in.Where); err != nil {
		return nil, err
	}
	items, next, err := s.o.Items.List(ctx, who.workspace, k.ID, l)
	if err != nil {
		return nil, err
	}
	return listOf(Page[*engage.Item]{Items: items, Next: next}, func(i *engage.Item) *engage.Item { return i }), nil
}

// itemDoc documents engage.Item.
type itemDoc struct {
	Catalogue string         `json:"catalogue" readOnly:"true" required:"false"`
	ID        string         `json:"id" required:"false" doc:"As in the path; 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'"`
	Version   int64          `json:"version" required:"false" doc:"Grows by one with each change. In a change: the version that it was made from"`
	Fields    map[string]any `json:"fields" doc:"Values by name; null: the item does not have it"`
	UpdatedAt time.Time      `json:"updated_at" readOnly:"true" required:"false"`
}

// itemBody is an item as it comes in.
type itemBody struct {
	Catalogue string          `json:"catalogue"`
	ID        string          `json:"id"`
	Version   int64           `json:"version"`
	Fields    map[string]any  `json:"fields"`
	UpdatedAt json.RawMessage `json:"updated_at"`
}

// OneItem names an item of a catalogue.
type OneItem struct {
	ID   string `path:"id" maxLength:"100" doc:"Of the catalogue"`
	Item string `path:"item" maxLength:"100"`
}

func (s *server) getItem(ctx context.Context, who caller, in *OneItem) (*versioned[*engage.Item], error) {
	if _, err := s.catalogue(who, in.ID); err != nil {
		return nil, err
	}
	item, err := s.o.Items.Get(ctx, who.workspace, in.ID, in.Item)
	if err != nil {
		return nil, err
	}
	return versionedOf(item, item.Version, item.Version), nil
}

// refused is the problem of an item, with all that is wrong with it.
func refused(wrong []*engage.Error) error {
	if len(wrong) == 0 {
		return nil
	}
	p := problemOf(wrong[0])
	if len(wrong) > 1 {
		p.Errors = fieldErrors(wrong)
	}
	return p
}

func fieldErrors(wrong []*engage.Error) []FieldError {
	var out []FieldError
	for _, e := range wrong {
		out = append(out, FieldError{e.Code, e.Field, e.Msg})
	}
	return out
}

func (s *server) putItem(ctx context.Context, who caller, in *struct {
	OneItem
	Changing
	Raw
},
) (*versioned[*engage.Item], error) {
	var b itemBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if err := sameID(who, in.Item, b.ID, ""); err != nil {
		return nil, err
	}
	if _, err := s.catalogue(who, in.ID); err != nil {
		return nil, err
	}
	var have int64
	switch old, err := s.o.Items.Get(ctx, who.workspace, in.ID, in.Item); {
	case err == nil:
		have = old.Version
	case engage.CodeOf(err) != engage.NotFound:
		return nil, err
	}
	expected, err := in.expected(have, b.Version)
	if err != nil {
		return nil, err
	}
	out, err := s.o.Items.Put(ctx, who.key.ID, who.workspace, in.ID, []engage.ItemEdit{{ID: in.Item, Fields: b.Fields, Expected: expected}})
	if err == nil {
		err = refused(out[0].Errors)
	}
	if err != nil {
		return nil, err
	}
	item, err := s.o.Items.Get(ctx, who.workspace, in.ID, in.Item)
	if err != nil {
		return nil, err
	}
	return versionedOf(item, item.Version, expected), nil
}

func (s *server) deleteItem(ctx context.Context, who caller, in *struct {
	OneItem
	IfMatch string `header:"If-Match" maxLength:"40" doc:"The ETag (version) that is to go; absent: whatever is there"`
},
) (*struct{}, error) {
	expected, err := (&deleteInput{IfMatch: in.IfMatch}).expected()
	if err != nil {
		return nil, err
	}
	if _, err := s.catalogue(who, in.ID); err != nil {
		return nil, err
	}
	out, err := s.o.Items.Put(ctx, who.key.ID, who.workspace, in.ID, []engage.ItemEdit{{ID: in.Item, Delete: true, Expected: expected}})
	if err == nil {
		err = refused(out[0].Errors)
	}
	if err == nil && out[0].Before == 0 {
		err = engage.Errorf(engage.NotFound, "item", "there is no item %q", clip(in.Item))
	}
	return nil, err
}

type itemsBody struct {
	Items []itemEdit `json:"items" minItems:"1" maxItems:"500" nullable:"false"`
}

type itemEdit struct {
	ID      string         `json:"id"`
	Fields  map[string]any `json:"fields,omitempty" doc:"They replace all that the item had"`
	Delete  bool           `json:"delete,omitempty" doc:"Delete it instead"`
	Version int64          `json:"version,omitempty" minimum:"0" doc:"That must be there; absent: whatever is"`
}

type itemOutcome struct {
	Index   int          `json:"index" doc:"In items, from 0"`
	ID      string       `json:"id"`
	Outcome string       `json:"outcome" enum:"created,changed,deleted,unchanged,refused" doc:"unchanged: it was so already, or stands again further on"`
	Version int64        `json:"version,omitempty" doc:"Of the item now"`
	Errors  []FieldError `json:"errors,omitempty" nullable:"false" doc:"Why it was refused, a field each"`
}

type itemsReport struct {
	Taken   int           `json:"taken"`
	Refused int           `json:"refused"`
	Items   []itemOutcome `json:"items" nullable:"false" doc:"In the order of the request"`
}

func (s *server) putItems(ctx context.Context, who caller, in *struct {
	ID string `path:"id" maxLength:"100"`
	Raw
},
) (*answered[itemsReport], error) {
	var b itemsBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if len(b.Items) == 0 || len(b.Items) > engage.MaxItemEdits {
		return nil, engage.Errorf(engage.Invalid, "items", "must be 1 to %d, are %d", engage.MaxItemEdits, len(b.Items))
	}
	if _, err := s.catalogue(who, in.ID); err != nil {
		return nil, err
	}
	edits := make([]engage.ItemEdit, len(b.Items))
	for i, x := range b.Items {
		edits[i] = engage.ItemEdit{ID: x.ID, Fields: x.Fields, Delete: x.Delete, Expected: engage.AnyItemVersion}
		if x.Version > 0 {
			edits[i].Expected = x.Version
		}
	}
	done, err := s.o.Items.Put(ctx, who.key.ID, who.workspace, in.ID, edits)
	if err != nil {
		return nil, err
	}
	report := itemsReport{Items: make([]itemOutcome, len(done))}
	for i := range done {
		o := &done[i]
		out := itemOutcome{Index: i, ID: clip(edits[i].ID), Version: o.Version, Errors: fieldErrors(o.Errors)}
		report.Taken++
		switch {
		case len(o.Errors) > 0:
			out.Outcome = "refused"
			report.Taken--
			report.Refused++
		case !o.Changed:
			out.Outcome = "unchanged"
		case edits[i].Delete:
			out.Outcome = "deleted"
		case o.Before == 0:
			out.Outcome = "created"
		default:
			out.Outcome = "changed"
		}
		report.Items[i] = out
	}
	return &answered[itemsReport]{report}, nil
}

type clearedItems struct {
	Left int64 `json:"left" doc:"Items that are still there; above 0: ask again"`
}

func (s *server) clearItems(ctx context.Context, who caller, in *byID) (*answered[clearedItems], error) {
	if _, err := s.catalogue(who, in.ID); err != nil {
		return nil, err
	}
	left, err := s.o.Items.Clear(ctx, who.workspace, in.ID, maxClear)
	return &answered[clearedItems]{clearedItems{left}}, err
}
