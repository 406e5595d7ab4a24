package mongo

import (
	"math"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/footfall-engage/footfall/server/store"
)

// Names of a document's fields. They are short: each is in every document.
const (
	idField        = "_id" // workspace, NUL, id: its byte order is that of (workspace, id)
	workspaceField = "w"
	docIDField     = "i"
	versionField   = "v"
	expiresField   = "x" // milliseconds since 1970; absent means never
	bodyField      = "b"
	pathsField     = "f"
	holderField    = "h" // of an identifier: the id of the document that holds it
)

func docID(k store.Key) string { return k.Workspace + "\x00" + k.ID }

func eq(field string, v any) bson.D { return bson.D{{Key: field, Value: v}} }

func op(field, operator string, v any) bson.D { return eq(field, bson.D{{Key: operator, Value: v}}) }

func and(conds ...bson.D) bson.D {
	if len(conds) == 1 {
		return conds[0]
	}
	return list("$and", conds)
}

func list(operator string, conds []bson.D) bson.D {
	a := make(bson.A, len(conds))
	for i, c := range conds {
		a[i] = c
	}
	return eq(operator, a)
}

func everything() bson.D { return bson.D{} }

func nothing() bson.D { return op(idField, "$in", bson.A{}) }

// alive excludes what has expired by now.
func alive(nowMS int64) bson.D {
	return eq(expiresField, bson.D{{Key: "$not", Value: bson.D{{Key: "$lte", Value: nowMS}}}})
}

// after is the least string behind all that begin with prefix, or "" if there
// is none. Code points are in the order of their UTF-8.
func after(prefix string) string {
	for prefix != "" {
		r, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		switch r {
		case utf8.MaxRune:
			continue
		case 0xD7FF: // surrogates follow
			return prefix + "\uE000"
		default:
			return prefix + string(r+1)
		}
	}
	return ""
}

// prefixed are the strings that begin with prefix.
func prefixed(field, prefix string) bson.D {
	cond := bson.D{{Key: "$gte", Value: prefix}}
	if end := after(prefix); end != "" {
		cond = append(cond, bson.E{Key: "$lt", Value: end})
	}
	return eq(field, cond)
}

// within is the range of _id of a workspace's documents with this prefix. An
// empty workspace means all: then the range is all that can be, and the prefix
// is another field's.
func within(workspace, idPrefix string) []bson.D {
	if workspace == "" {
		conds := []bson.D{op(idField, "$gte", "")}
		if idPrefix != "" {
			conds = append(conds, prefixed(docIDField, idPrefix))
		}
		return conds
	}
	end := workspace + "\x01"
	if idPrefix != "" {
		if e := after(idPrefix); e != "" {
			end = workspace + "\x00" + e
		}
	}
	return []bson.D{
		// The range is for the router of a sharded cluster, w for the indexes.
		eq(idField, bson.D{{Key: "$gte", Value: workspace + "\x00" + idPrefix}, {Key: "$lt", Value: end}}),
		eq(workspaceField, workspace),
	}
}

// match is the condition of a checked query but for its place in an order.
func match(q store.Query, nowMS int64) ([]bson.D, error) {
	conds := append(within(q.Workspace, q.IDPrefix), alive(nowMS))
	if q.Filter.IsZero() {
		return conds, nil
	}
	f, err := filter(q.Filter, q.Workspace)
	if err != nil {
		return nil, err
	}
	return append(conds, f), nil
}

// filter is the condition of a checked filter. Every comparison of the
// projection is exact: MongoDB compares within a type only, a path's field is
// never an array, and what it compares with is never null.
func filter(f store.Filter, workspace string) (bson.D, error) {
	switch {
	case len(f.All) > 0:
		return filters("$and", f.All, workspace)
	case len(f.Any) > 0:
		return filters("$or", f.Any, workspace)
	case f.Not != nil:
		return filters("$nor", []store.Filter{*f.Not}, workspace)
	case f.Path == "":
		return everything(), nil
	case f.Path == store.IDPath:
		return idLeaf(f, workspace)
	default:
		return leaf(f)
	}
}

func filters(operator string, fs []store.Filter, workspace string) (bson.D, error) {
	conds := make([]bson.D, len(fs))
	for i, f := range fs {
		var err error
		if conds[i], err = filter(f, workspace); err != nil {
			return nil, err
		}
	}
	return list(operator, conds), nil
}

var comparisons = map[store.Op]string{store.Eq: "$eq", store.Lt: "$lt", store.Le: "$lte", store.Gt: "$gt", store.Ge: "$gte"}

func leaf(f store.Filter) (bson.D, error) {
	name := pathsField + "." + field(f.Path)
	switch f.Op {
	case store.Exists:
		return op(name, "$exists", true), nil
	case store.Absent:
		return op(name, "$exists", false), nil
	case store.In:
		values, err := scalars(f.Value)
		return op(name, "$in", values), err
	}
	v, err := scalar(f.Value)
	if err != nil {
		return nil, err // not after Filter.Check
	}
	switch f.Op {
	case store.Ne:
		return eq(name, bson.D{{Key: "$exists", Value: true}, {Key: "$ne", Value: v}}), nil
	case store.Has:
		return op(name+listSuffix, "$eq", v), nil
	case store.Prefix:
		s, _ := v.(string)
		return prefixed(name, s), nil
	default:
		return op(name, comparisons[f.Op], v), nil
	}
}

// idLeaf compares the id, which is a string and always there: by _id within a
// workspace, by a field of its own across all.
func idLeaf(f store.Filter, workspace string) (bson.D, error) {
	name, lead := docIDField, ""
	if workspace != "" {
		name, lead = idField, workspace+"\x00"
	}
	switch f.Op {
	case store.Exists:
		return everything(), nil
	case store.Absent, store.Has:
		return nothing(), nil
	case store.In:
		values, err := scalars(f.Value)
		ids := bson.A{}
		for _, v := range values {
			if s, ok := v.(string); ok {
				ids = append(ids, lead+s)
			}
		}
		return op(name, "$in", ids), err
	}
	v, err := scalar(f.Value)
	if err != nil {
		return nil, err // not after Filter.Check
	}
	s, isText := v.(string)
	switch {
	case !isText && f.Op == store.Ne:
		return everything(), nil
	case !isText:
		return nothing(), nil
	case f.Op == store.Ne:
		return op(name, "$ne", lead+s), nil
	case f.Op == store.Prefix && s == "":
		return everything(), nil
	case f.Op == store.Prefix && after(s) == "":
		return op(name, "$gte", lead+s), nil // the workspace's range ends it
	case f.Op == store.Prefix:
		return eq(name, bson.D{{Key: "$gte", Value: lead + s}, {Key: "$lt", Value: lead + after(s)}}), nil
	default:
		return op(name, comparisons[f.Op], lead+s), nil
	}
}

// scalar is a value as the projection has it.
func scalar(v any) (any, error) {
	s, err := store.Scalar(v)
	if f, ok := s.(float64); ok {
		return double(f), err
	}
	return s, err
}

func scalars(list any) (bson.A, error) {
	values, err := store.Scalars(list)
	if err != nil {
		return nil, err // not after Filter.Check
	}
	out := make(bson.A, len(values))
	for i, v := range values {
		if out[i], err = scalar(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// segment is a part of an order within which one condition gives what follows a
// position, by a range of an index.
type segment []bson.D

// segments of the order by path from a position on (nil: from its start).
// Ascending go the absent, numbers, strings, bools, composites.
func segments(path string, descending bool, workspace string, from *store.Position) []segment {
	if from == nil {
		return []segment{nil}
	}
	beyond := "$gt"
	if descending {
		beyond = "$lt"
	}
	byID := op(idField, beyond, workspace+"\x00"+from.ID)
	if path == store.IDPath {
		return []segment{{byID}}
	}
	name := pathsField + "." + field(path)
	absent, present := op(name, "$exists", false), op(name, "$exists", true)
	if from.Value == nil {
		if descending {
			return []segment{{absent, byID}}
		}
		return []segment{{absent, byID}, {present}}
	}
	value, rank := sortValue(from.Value)
	// The range is for the index, the alternatives then cut its first value.
	same := segment{op(name, beyond+"e", value), list("$or", []bson.D{op(name, beyond, value), and(eq(name, value), byID)})}
	var rest bson.A
	for i, name := range typeNames {
		if i > rank && !descending || i < rank && descending {
			rest = append(rest, name)
		}
	}
	out := []segment{same}
	if len(rest) > 0 {
		out = append(out, segment{op(name, "$type", rest)})
	}
	if descending {
		out = append(out, segment{absent})
	}
	return out
}

// typeNames in the order in which MongoDB sorts them.
var typeNames = []string{"number", "string", "bool", "date"}

// sortValue is a position's value with its place among typeNames.
func sortValue(v any) (value any, rank int) {
	switch v := v.(type) {
	case string:
		return v, 1
	case bool:
		return v, 2
	case store.Composite:
		return composite, 3
	case float64:
		return double(v), 0
	default:
		return v, 0
	}
}

// positionValue is the reverse of sortValue, from a document's field.
func positionValue(v bson.RawValue) any {
	switch v.Type {
	case bson.TypeString:
		return v.StringValue()
	case bson.TypeBoolean:
		return v.Boolean()
	case bson.TypeInt32:
		return int64(v.Int32())
	case bson.TypeInt64:
		return v.Int64()
	case bson.TypeDouble:
		if f := v.Double(); !math.IsNaN(f) {
			return f
		}
		return nil
	case bson.TypeDateTime:
		return store.Composite{}
	default:
		return nil // absent
	}
}
