package items

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

const (
	collection = "items"
	tries      = 8 // of a batch that somebody else's overtakes
)

// Options of a Service. All are required.
type Options struct {
	Store store.Store
	// Catalogue of a workspace; nil when there is none.
	Catalogue func(workspace, id string) *engage.Catalogue
	// Learn adds fields to a catalogue (catalog.LearnFields).
	Learn func(ctx context.Context, by, workspace, catalogue string, fields map[string]engage.FieldType) error
	Now   func() time.Time
}

// Service keeps items. It is safe for concurrent use.
type Service struct {
	o       Options
	writing sync.Mutex
}

// New makes a Service.
func New(o Options) *Service { return &Service{o: o} }

// Collections are those that the service keeps in its store.
func Collections() []store.Collection { return []store.Collection{{Name: collection}} }

// body is a document: an item, or, under the catalogue's id, how many there are.
type body struct {
	V       int             `json:"v"` // 1
	Count   int64           `json:"count,omitempty"`
	Fields  json.RawMessage `json:"fields,omitempty"`
	Updated time.Time       `json:"updated_at,omitzero"`
}

func idOf(catalogue, item string) string { return catalogue + "/" + item }

func key(workspace, id string) store.Key { return store.Key{Workspace: workspace, ID: id} }

func noCatalogue(id string) *engage.Error {
	return engage.Errorf(engage.NotFound, "catalogue", "there is no catalogue %q", id)
}

// Fit checks an item that is to be put, and has its catalogue learn the fields that it
// does not have yet. The errors are why it would be refused; the error is the server's.
func (s *Service) Fit(ctx context.Context, by, workspace, catalogue string, e *engage.ItemEdit) (json.RawMessage, []*engage.Error, error) {
	k := s.o.Catalogue(workspace, catalogue)
	if k == nil {
		return nil, []*engage.Error{noCatalogue(catalogue)}, nil
	}
	if !engage.ValidID(e.ID) {
		return nil, []*engage.Error{engage.Errorf(engage.Invalid, "id", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")}, nil
	}
	if e.Delete {
		return nil, nil, nil
	}
	fit, learned, wrong := k.Fit(e.Fields)
	if len(wrong) > 0 || len(learned) == 0 {
		return fit, wrong, nil
	}
	if err := s.o.Learn(ctx, by, workspace, catalogue, learned); err != nil {
		if code := engage.CodeOf(err); code == engage.NotFound {
			return nil, []*engage.Error{noCatalogue(catalogue)}, nil
		}
		return nil, nil, err
	}
	// Somebody else may have taught another type meanwhile.
	if k = s.o.Catalogue(workspace, catalogue); k == nil {
		return nil, []*engage.Error{noCatalogue(catalogue)}, nil
	}
	fit, _, wrong = k.Fit(e.Fields)
	return fit, wrong, nil
}

// Put makes changes, at most engage.MaxItemEdits of one catalogue, each taken or refused
// alone; of an item that stands in them twice the last counts. What was taken survives a
// crash when it returns.
func (s *Service) Put(ctx context.Context, by, workspace, catalogue string, edits []engage.ItemEdit) ([]engage.ItemOutcome, error) {
	if len(edits) > engage.MaxItemEdits {
		return nil, engage.Errorf(engage.TooLarge, "items", "at most %d at once, got %d", engage.MaxItemEdits, len(edits))
	}
	out := make([]engage.ItemOutcome, len(edits))
	fits := make([]json.RawMessage, len(edits))
	for i := range edits {
		var err error
		if fits[i], out[i].Errors, err = s.Fit(ctx, by, workspace, catalogue, &edits[i]); err != nil {
			return nil, err
		}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	for range tries {
		done, err := s.put(ctx, workspace, catalogue, edits, fits, slices.Clone(out))
		if !errors.Is(err, store.ErrVersion) {
			return done, err
		}
	}
	return nil, engage.Errorf(engage.Unavailable, "items", "others are changing the catalogue at the same time: try again")
}

// have is an item that is there.
type have struct {
	version int64
	fields  json.RawMessage
}

// read reads items, and how many the catalogue has.
func (s *Service) read(ctx context.Context, workspace, catalogue string, ids []string) (there map[string]have, head body, version int64, err error) {
	there = map[string]have{}
	if len(ids) > 0 {
		q := store.Query{Workspace: workspace, Filter: store.Filter{Path: "_id", Op: store.In, Value: ids}}
		err = s.o.Store.Iterate(ctx, collection, q, func(d store.Doc) error {
			b, err := decode(d)
			there[d.ID] = have{d.Version, b.Fields}
			return err
		})
		if err != nil {
			return nil, head, 0, fmt.Errorf("read items: %w", err)
		}
	}
	d, err := s.o.Store.Get(ctx, collection, key(workspace, catalogue))
	if errors.Is(err, store.ErrNotFound) {
		return there, head, 0, nil
	}
	if err != nil {
		return nil, head, 0, fmt.Errorf("read items of %s: %w", catalogue, err)
	}
	head, err = decode(d)
	return there, head, d.Version, err
}

func decode(d store.Doc) (b body, err error) {
	if err = json.Unmarshal(d.Body, &b); err != nil {
		return b, fmt.Errorf("decode item %s: %w", d.ID, err)
	}
	return b, nil
}

func (s *Service) put(ctx context.Context, workspace, catalogue string, edits []engage.ItemEdit, fits []json.RawMessage, out []engage.ItemOutcome) ([]engage.ItemOutcome, error) {
	last := map[string]int{} // by document: the edit that counts
	for i := range edits {
		if len(out[i].Errors) == 0 {
			last[idOf(catalogue, edits[i].ID)] = i
		}
	}
	if len(last) == 0 {
		return out, nil
	}
	there, head, version, err := s.read(ctx, workspace, catalogue, slices.Sorted(maps.Keys(last)))
	if err != nil {
		return nil, err
	}
	var b store.Batch
	for i := range edits {
		e, o := &edits[i], &out[i]
		if len(o.Errors) > 0 {
			continue
		}
		id := idOf(catalogue, e.ID)
		was := there[id]
		o.Before, o.Version = was.version, was.version
		switch {
		case e.Expected != engage.AnyItemVersion && e.Expected != was.version:
			o.Errors = []*engage.Error{stale(e, was.version)}
		case last[id] != i: // a later one of the same item counts
		case e.Delete && was.version == 0, !e.Delete && was.version > 0 && bytes.Equal(was.fields, fits[i]):
		case e.Delete:
			b.Deletes = append(b.Deletes, store.Delete{Collection: collection, Key: key(workspace, id), If: was.version})
			head.Count--
			o.Version, o.Changed = 0, true
		case was.version == 0 && head.Count >= engage.MaxItems:
			o.Errors = []*engage.Error{engage.Errorf(engage.TooLarge, "id", "the catalogue has %d items, as many as it may", head.Count)}
		default:
			text, err := json.Marshal(body{V: 1, Fields: fits[i], Updated: s.o.Now().UTC()})
			if err != nil {
				return nil, fmt.Errorf("encode item: %w", err)
			}
			b.Puts = append(b.Puts, store.Put{Collection: collection, Key: key(workspace, id), Body: text, If: was.version})
			o.Version, o.Changed = was.version+1, true
			if was.version == 0 {
				head.Count++
			}
		}
	}
	if len(b.Puts) == 0 && len(b.Deletes) == 0 {
		return out, nil
	}
	if err := s.apply(ctx, workspace, catalogue, b, head, version); err != nil {
		return nil, err
	}
	return out, nil
}

// apply writes a batch with the count.
func (s *Service) apply(ctx context.Context, workspace, catalogue string, b store.Batch, head body, version int64) error {
	head.V = 1
	text, err := json.Marshal(head)
	if err != nil {
		return fmt.Errorf("encode items: %w", err)
	}
	b.Puts = append(b.Puts, store.Put{Collection: collection, Key: key(workspace, catalogue), Body: text, If: version})
	if err := s.o.Store.Apply(ctx, b); err != nil {
		return fmt.Errorf("write items: %w", err)
	}
	return nil
}

func stale(e *engage.ItemEdit, version int64) *engage.Error {
	switch {
	case version == 0:
		return engage.Errorf(engage.NotFound, "id", "there is no item %q", e.ID)
	case e.Expected == 0:
		return engage.Errorf(engage.Conflict, "id", "item %q exists already", e.ID)
	default:
		return engage.Errorf(engage.Conflict, "version", "item %q has version %d by now, not %d: somebody else changed it", e.ID, version, e.Expected)
	}
}

// Get is an item. Errors: engage.NotFound.
func (s *Service) Get(ctx context.Context, workspace, catalogue, id string) (*engage.Item, error) {
	none := engage.Errorf(engage.NotFound, "id", "there is no item %q", clip(id))
	if !engage.ValidID(id) || s.o.Catalogue(workspace, catalogue) == nil {
		return nil, none
	}
	d, err := s.o.Store.Get(ctx, collection, key(workspace, idOf(catalogue, id)))
	if errors.Is(err, store.ErrNotFound) {
		return nil, none
	}
	if err != nil {
		return nil, fmt.Errorf("read item: %w", err)
	}
	return itemOf(d)
}

func itemOf(d store.Doc) (*engage.Item, error) {
	b, err := decode(d)
	catalogue, id, _ := strings.Cut(d.ID, "/")
	return &engage.Item{Catalogue: catalogue, ID: id, Version: d.Version, Fields: b.Fields, UpdatedAt: b.Updated}, err
}

// Known reads the items that are asked for, in the same order; one that is not there has
// the version 0.
func (s *Service) Known(ctx context.Context, workspace string, refs []engage.ItemRef) ([]engage.KnownItem, error) {
	ids := make([]string, 0, len(refs))
	out := make([]engage.KnownItem, len(refs))
	for i, ref := range refs {
		out[i].ItemRef = ref
		if s.o.Catalogue(workspace, ref.Catalogue) != nil && engage.ValidID(ref.ID) {
			ids = append(ids, idOf(ref.Catalogue, ref.ID))
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	there := map[string]have{}
	for part := range slices.Chunk(ids, engage.MaxItemEdits) {
		q := store.Query{Workspace: workspace, Filter: store.Filter{Path: "_id", Op: store.In, Value: part}}
		err := s.o.Store.Iterate(ctx, collection, q, func(d store.Doc) error {
			b, err := decode(d)
			there[d.ID] = have{d.Version, bytes.Clone(b.Fields)}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read items: %w", err)
		}
	}
	for i := range out {
		if h, is := there[idOf(out[i].Catalogue, out[i].ID)]; is {
			out[i].Version, out[i].Fields = h.version, h.fields
		}
	}
	return out, nil
}

// List is a page of a catalogue's items in order of id, and the cursor of the next, empty
// when there is none. Errors: engage.NotFound; engage.Invalid of "cursor".
func (s *Service) List(ctx context.Context, workspace, catalogue string, l engage.ItemListing) (items []*engage.Item, next string, err error) {
	k := s.o.Catalogue(workspace, catalogue)
	if k == nil {
		return nil, "", noCatalogue(catalogue)
	}
	q := store.Query{Workspace: workspace, IDPrefix: idOf(catalogue, l.Prefix), Cursor: l.Cursor, Limit: l.Limit}
	for _, name := range slices.Sorted(maps.Keys(l.Where)) {
		f := store.Filter{Path: "fields." + name, Op: store.Eq, Value: l.Where[name]}
		if k.Fields[name] == engage.FieldStrings {
			f.Op = store.Has
		}
		q.Filter.All = append(q.Filter.All, f)
	}
	page, err := s.o.Store.Find(ctx, collection, q)
	if errors.Is(err, store.ErrBadQuery) {
		return nil, "", &engage.Error{Code: engage.Invalid, Field: "cursor", Msg: "is not a cursor of this list", Err: err}
	}
	if err != nil {
		return nil, "", fmt.Errorf("list items: %w", err)
	}
	for _, d := range page.Docs {
		item, err := itemOf(d)
		if err != nil {
			return nil, "", err
		}
		items = append(items, item)
	}
	return items, page.Next, nil
}

// Count is how many items a catalogue has.
func (s *Service) Count(ctx context.Context, workspace, catalogue string) (int64, error) {
	_, head, _, err := s.read(ctx, workspace, catalogue, nil)
	return head.Count, err
}

// clearPortion are deleted in one batch.
const clearPortion = 500

// Clear deletes items of a catalogue, at most so many, and says how many are left. What is
// gone is gone, also when it returns an error.
func (s *Service) Clear(ctx context.Context, workspace, catalogue string, most int) (left int64, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	for most > 0 {
		_, head, version, err := s.read(ctx, workspace, catalogue, nil)
		if err != nil {
			return 0, err
		}
		page, err := s.o.Store.Find(ctx, collection, store.Query{Workspace: workspace, IDPrefix: idOf(catalogue, ""), Limit: min(most, clearPortion)})
		if err != nil {
			return 0, fmt.Errorf("list items: %w", err)
		}
		if len(page.Docs) == 0 {
			return 0, nil
		}
		var b store.Batch
		for _, d := range page.Docs {
			b.Deletes = append(b.Deletes, store.Delete{Collection: collection, Key: d.Key, If: d.Version})
		}
		head.Count -= int64(len(page.Docs))
		if err := s.apply(ctx, workspace, catalogue, b, head, version); err != nil && !errors.Is(err, store.ErrVersion) {
			return 0, err
		}
		most -= len(page.Docs)
		left = head.Count
	}
	return left, nil
}

func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}
