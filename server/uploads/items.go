package uploads

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

// # Items of catalogues
//
// A file of items is read like the others, but its rows go into a catalogue and not into
// the log: a portion is one write, while the next is read. A row replaces the item of its
// id; one that says what was there changes nothing. So a file that comes again is read
// again, in contrast to those of people: an item may have changed since.

// Catalogue takes items (*items.Service, whose documentation holds).
type Catalogue interface {
	// Fit checks an item before it is put: why it would be refused, in order of its fields.
	Fit(ctx context.Context, by, workspace, catalogue string, e *engage.ItemEdit) (json.RawMessage, []*engage.Error, error)
	Put(ctx context.Context, by, workspace, catalogue string, edits []engage.ItemEdit) ([]engage.ItemOutcome, error)
}

// itemNames are columns that hold an item's id, by what they are called.
var itemNames = []string{
	"id", "sku", "product_id", "item_id", "item_no", "item_number", "article", "article_no", "article_number", "article_id", "ean", "gtin", "plu",
}

// FieldTypes are the types by which the columns of a catalogue's fields are read.
func FieldTypes(k *engage.Catalogue) map[string]rules.Type {
	out := make(map[string]rules.Type, len(k.Fields))
	for name, t := range k.Fields {
		switch t {
		case engage.FieldNumber, engage.FieldMoney:
			out[name] = rules.Number
		case engage.FieldBool:
			out[name] = rules.Bool
		case engage.FieldTime:
			out[name] = rules.Time
		case engage.FieldStrings:
			out[name] = rules.Strings
		default:
			out[name] = rules.String
		}
	}
	return out
}

// fieldOf is a column's name as a field's.
func fieldOf(column string) string {
	name := strings.ReplaceAll(attributeName(column), "-", "_")
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name
}

// guessItem is what a column of a file of items holds, by its name; the first that has an
// id's name holds the id. One that is called as a declared field but for case, spaces and
// signs is that field.
func guessItem(column string, hasID bool, declared map[string]rules.Type) target {
	name := strings.Join(strings.Fields(strings.ToLower(column)), "_")
	if rest, dotted := strings.CutPrefix(column, "fields."); dotted {
		column = rest
	} else if !hasID && slices.Contains(itemNames, name) {
		return target{field: "id"}
	}
	if name == "deleted" {
		return target{field: "deleted"}
	}
	field := fieldOf(column)
	if field == "" || field == "id" {
		return target{field: ignored}
	}
	return target{field: "fields", name: declaredAs(field, declared)}
}

// declaredAs is the declared field that a name means: of several the one that differs by
// case only; the name itself where there is none, or nobody can tell which.
func declaredAs(name string, declared map[string]rules.Type) string {
	if _, is := declared[name]; is {
		return name
	}
	for _, bare := range []func(string) string{
		strings.ToLower, func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) },
	} {
		var means []string
		for field := range declared {
			if bare(field) == bare(name) {
				means = append(means, field)
			}
		}
		if len(means) == 1 {
			return means[0]
		}
	}
	return name
}

// unlearned are the columns of a mapping whose fields a catalogue that declares some does
// not have yet, and will learn; in order.
func unlearned(m Mapping, k *engage.Catalogue) []string {
	if k == nil || k.Closed || len(k.Fields) == 0 {
		return nil
	}
	var out []string
	for _, column := range slices.Sorted(maps.Keys(m)) {
		t, err := parseTarget(Items, m[column])
		if _, has := k.Fields[t.name]; err == nil && t.field == "fields" && !has {
			out = append(out, column)
		}
	}
	return out
}

// putItem takes what stands in a column of a file of items.
func (r *rowReader) putItem(column string, t target, v *value) *engage.Error {
	if v.empty() {
		return nil // an item that does not have the field
	}
	var wrong string
	switch t.field {
	case "id":
		r.item.ID, wrong = v.plain()
	case "deleted":
		r.item.Delete, wrong = v.yes()
	case "fields":
		typ := r.declared[t.name]
		if typ == "" {
			typ = t.typ
		}
		var x any
		if x, wrong = v.as(typ); wrong == "" {
			if r.item.Fields == nil {
				r.item.Fields = map[string]any{}
			}
			if _, twice := r.item.Fields[t.name]; twice {
				return at(column, "is the field "+t.name+", which another key of the row has, too")
			}
			r.item.Fields[t.name] = x
		}
	}
	return at(column, wrong)
}

// endItem makes the row of what was put.
func (r *rowReader) endItem(row *Row) *engage.Error {
	if r.item.ID == "" {
		return at("id", "is missing")
	}
	e := r.item
	e.Expected = engage.AnyItemVersion
	row.Item = &e
	return nil
}

// fitItem refuses an item that its catalogue does not take. The error is the server's own.
func (s *Service) fitItem(ctx context.Context, u *Upload, x *unit) error {
	_, wrong, err := s.o.Items.Fit(ctx, u.By, u.Workspace, u.Catalogue, x.row.Item)
	if err == nil && len(wrong) > 0 {
		x.refuse(wrong[0])
	}
	return err
}

// putItems writes a portion's items, and notes the rows that were refused only then: of a
// catalogue that is full.
func (s *Service) putItems(ctx context.Context, u *Upload, p *portion) error {
	outcomes, err := s.o.Items.Put(ctx, u.By, u.Workspace, u.Catalogue, p.items)
	if err != nil {
		return err
	}
	for i, o := range outcomes {
		if len(o.Errors) > 0 {
			p.late = append(p.late, Refused{p.numbers[i], *problemOf(o.Errors[0])})
		}
	}
	return nil
}

// addLate counts the rows that were refused when they were written, behind those that were
// refused when they were read.
func (j *job) addLate(p *portion) error {
	p.taken -= len(p.late)
	p.refused += len(p.late)
	for _, x := range p.late {
		if j.listed == MaxListed {
			break
		}
		j.listed++
		p.listed++
		line, err := json.Marshal(x)
		if err != nil {
			return err
		}
		p.report.Write(append(line, '\n'))
	}
	return nil
}

// checkItems refuses an upload of items into nothing, and others into a catalogue.
func (s *Service) checkItems(m *Making) error {
	switch {
	case m.Kind != Items && m.Catalogue != "":
		return engage.Errorf(engage.Invalid, "catalogue", "goes with the kind items only")
	case m.Kind == Items && s.o.Items == nil:
		return engage.Errorf(engage.Unsupported, "kind", "this server takes no items")
	case m.Kind == Items && s.o.Catalogue(m.Workspace, m.Catalogue) == nil:
		return engage.Errorf(engage.NotFound, "catalogue", "there is no catalogue %q", clip(m.Catalogue))
	}
	return nil
}

// types by which the attributes, or the fields, of an upload's rows are read.
func (s *Service) types(u *Upload) map[string]string {
	var all map[string]rules.Type
	if u.Kind != Items {
		all = s.o.Attributes(u.Workspace)
	} else if k := s.o.Catalogue(u.Workspace, u.Catalogue); k != nil {
		all = FieldTypes(k)
	}
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out[name] = string(all[name])
	}
	return out
}

// fitted is a source of items that refuses those that a catalogue would.
type fitted struct {
	source
	k *engage.Catalogue
}

func (f fitted) next() (*unit, error) {
	x, err := f.source.next()
	if err != nil || x.row == nil || x.row.Item == nil {
		return x, err
	}
	if !engage.ValidID(x.row.Item.ID) {
		x.refuse(engage.Errorf(engage.Invalid, "id", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'"))
	} else if _, _, wrong := f.k.Fit(x.row.Item.Fields); len(wrong) > 0 {
		x.refuse(wrong[0])
	}
	return x, nil
}
