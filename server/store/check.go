package store

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
	"unicode/utf8"
)

// Limits that every implementation enforces.
const (
	MaxIDBytes      = 1024    // of an id and of a workspace
	MaxBodyBytes    = 8 << 20 // of a body
	MaxDepth        = 100     // objects and arrays within one another in a body
	MaxPathBytes    = 256     // of a path in a filter, a sort or an index
	MaxFilterNodes  = 500     // in one filter tree
	MaxFilterDepth  = 32
	MaxInValues     = 10_000
	DefaultPageSize = 100
	MaxPageSize     = 10_000
)

// IDPath is the path that means the document's id in a filter or a sort.
const IDPath = "_id"

// Check says whether the key can name a document: both parts are needed, as
// valid UTF-8 without NUL, of at most MaxIDBytes. The error is an ArgError of
// the kind given, ErrBadQuery or ErrBadBatch.
func (k Key) Check(kind error) error {
	for _, part := range [...]struct{ field, v string }{{"workspace", k.Workspace}, {"id", k.ID}} {
		if part.v == "" {
			return &ArgError{Kind: kind, Field: part.field, Msg: "is required"}
		}
		if msg := checkText(part.v); msg != "" {
			return &ArgError{Kind: kind, Field: part.field, Msg: msg}
		}
	}
	return nil
}

func checkText(s string) string {
	switch {
	case len(s) > MaxIDBytes:
		return fmt.Sprintf("is longer than %d bytes", MaxIDBytes)
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case strings.IndexByte(s, 0) >= 0:
		return "contains NUL"
	}
	return ""
}

// stretch is how many documents of a batch are checked at a stretch.
const stretch = 64

// Check says whether the batch can be written to these collections (by name):
// known names, good keys, conditions that mean something, and bodies that are
// JSON objects within the limits (or any bytes, in an opaque collection).
func (b Batch) Check(collections map[string]Collection) error {
	at := func(what string, i int, field, msg string) error {
		return &ArgError{Kind: ErrBadBatch, Field: fmt.Sprintf("%s[%d].%s", what, i, field), Msg: msg}
	}
	head := func(what string, i int, collection string, k Key, ifVersion int64) (Collection, error) {
		c, ok := collections[collection]
		if !ok {
			return c, at(what, i, "collection", "is not declared")
		}
		if err := k.Check(ErrBadBatch); err != nil {
			arg := err.(*ArgError) //nolint:errorlint // Key.Check returns exactly this
			return c, at(what, i, arg.Field, arg.Msg)
		}
		if ifVersion < AnyVersion {
			return c, at(what, i, "if", "is no version")
		}
		return c, nil
	}
	for i, p := range b.Puts {
		if i%stretch == stretch-1 {
			runtime.Gosched() // nobody should wait for a large batch to be looked at
		}
		c, err := head("puts", i, p.Collection, p.Key, p.If)
		if err != nil {
			return err
		}
		if msg := checkBody(p.Body, c.Opaque); msg != "" {
			return at("puts", i, "body", msg)
		}
	}
	for i, d := range b.Deletes {
		if _, err := head("deletes", i, d.Collection, d.Key, d.If); err != nil {
			return err
		}
	}
	return nil
}

func checkBody(body []byte, opaque bool) string {
	if len(body) > MaxBodyBytes {
		return fmt.Sprintf("is larger than %d bytes", MaxBodyBytes)
	}
	if opaque {
		return ""
	}
	switch ok, deep := isObject(body); {
	case !ok || !utf8.Valid(body):
		return "is not a JSON object"
	case deep:
		return fmt.Sprintf("is nested deeper than %d", MaxDepth)
	}
	return ""
}

// CheckCollections says whether the declarations can be: lower-case names that
// differ, good paths, and no index on an opaque collection. It returns them by
// name.
func CheckCollections(collections []Collection) (map[string]Collection, error) {
	byName := make(map[string]Collection, len(collections))
	for _, c := range collections {
		bad := func(field, msg string) error {
			return &ArgError{Kind: ErrBadCollection, Field: c.Name + field, Msg: msg}
		}
		if !isName(c.Name) {
			return nil, &ArgError{Kind: ErrBadCollection, Field: fmt.Sprintf("%q", c.Name), Msg: "is not a name: [a-z][a-z0-9_]*, at most 64 bytes"}
		}
		if _, twice := byName[c.Name]; twice {
			return nil, bad("", "is declared twice")
		}
		byName[c.Name] = c
		if c.Opaque && len(c.Indexes) > 0 {
			return nil, bad(".indexes", "an opaque collection has none")
		}
		seen := map[string]bool{}
		for i, ix := range c.Indexes {
			field := fmt.Sprintf(".indexes[%d]", i)
			switch {
			case !isName(ix.Name):
				return nil, bad(field+".name", "is not a name: [a-z][a-z0-9_]*, at most 64 bytes")
			case seen[ix.Name]:
				return nil, bad(field+".name", "is declared twice")
			case len(ix.Paths) == 0 || len(ix.Paths) > 8:
				return nil, bad(field+".paths", "has between 1 and 8 paths")
			case ix.Sparse && ix.Unique:
				return nil, bad(field+".sparse", "is not for a unique index")
			}
			seen[ix.Name] = true
			for _, p := range ix.Paths {
				if msg := checkPath(p); msg != "" {
					return nil, bad(field+".paths", msg)
				}
				if p == IDPath {
					return nil, bad(field+".paths", "the id has its index already")
				}
			}
		}
	}
	return byName, nil
}

func isName(s string) bool {
	for i, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || i > 0 && (c >= '0' && c <= '9' || c == '_') {
			continue
		}
		return false
	}
	return s != "" && len(s) <= 64
}

// checkPath: steps of [A-Za-z0-9_-]+ with dots between; each names a member of
// an object, never a place in an array.
func checkPath(p string) string {
	if len(p) > MaxPathBytes {
		return fmt.Sprintf("the path is longer than %d bytes", MaxPathBytes)
	}
	for step := range strings.SplitSeq(p, ".") {
		if step == "" {
			return "the path has an empty step"
		}
		for _, c := range []byte(step) {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
				continue
			}
			return "the path has a character outside A-Z a-z 0-9 _ - ."
		}
	}
	return ""
}

// Check says whether the filter can be answered; an implementation may then
// rely on its form. A list that is present but empty is refused in Any, where
// "everything" and "nothing" would both be a fair reading.
func (f Filter) Check() error {
	nodes := 0
	return f.check("filter", 1, &nodes)
}

func (f Filter) check(field string, level int, nodes *int) error {
	*nodes++
	if *nodes > MaxFilterNodes {
		return badQuery("filter", fmt.Sprintf("has more than %d nodes", MaxFilterNodes))
	}
	if level > MaxFilterDepth {
		return badQuery("filter", fmt.Sprintf("is nested deeper than %d", MaxFilterDepth))
	}
	used := 0
	for _, u := range [...]bool{f.All != nil, f.Any != nil, f.Not != nil, f.Path != "" || f.Op != "" || f.Value != nil} {
		if u {
			used++
		}
	}
	if used > 1 {
		return badQuery(field, "uses more than one of all, any, not and path")
	}
	for i, sub := range f.All {
		if err := sub.check(fmt.Sprintf("%s.all[%d]", field, i), level+1, nodes); err != nil {
			return err
		}
	}
	if f.Any != nil && len(f.Any) == 0 {
		return badQuery(field+".any", "is empty")
	}
	for i, sub := range f.Any {
		if err := sub.check(fmt.Sprintf("%s.any[%d]", field, i), level+1, nodes); err != nil {
			return err
		}
	}
	if f.Not != nil {
		return f.Not.check(field+".not", level+1, nodes)
	}
	if f.Path == "" && f.Op == "" && f.Value == nil {
		return nil
	}
	return f.checkLeaf(field)
}

func (f Filter) checkLeaf(field string) error {
	if msg := checkPath(f.Path); msg != "" {
		return badQuery(field+".path", msg)
	}
	switch f.Op {
	case Exists, Absent:
		if f.Value != nil {
			return badQuery(field+".value", "this op takes none")
		}
	case In:
		if _, err := Scalars(f.Value); err != nil {
			return badQuery(field+".value", err.Error())
		}
	case Prefix:
		v, err := Scalar(f.Value)
		if _, ok := v.(string); err != nil || !ok {
			return badQuery(field+".value", "must be a string")
		}
	case Eq, Ne, Lt, Le, Gt, Ge, Has:
		if _, err := Scalar(f.Value); err != nil {
			return badQuery(field+".value", err.Error())
		}
	default:
		return badQuery(field+".op", "is not an op")
	}
	return nil
}

// IsZero says whether the filter matches everything.
func (f Filter) IsZero() bool {
	return len(f.All) == 0 && f.Any == nil && f.Not == nil && f.Path == "" && f.Op == "" && f.Value == nil
}

// Scalar returns v as one of string, bool, int64 and float64, whatever its
// named or sized type; anything else, a number that is not finite and a string
// that is not UTF-8 are errors. An unsigned number beyond int64 becomes the nearest float64.
func Scalar(v any) (any, error) {
	if n, ok := v.(json.Number); ok {
		if i, err := n.Int64(); err == nil {
			return i, nil
		}
		f, err := n.Float64()
		if err != nil {
			return nil, fmt.Errorf("is not a finite number")
		}
		return f, nil
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.String:
		if !utf8.ValidString(r.String()) {
			return nil, fmt.Errorf("is not valid UTF-8")
		}
		return r.String(), nil
	case reflect.Bool:
		return r.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if u := r.Uint(); u > math.MaxInt64 {
			return float64(u), nil
		}
		return int64(r.Uint()), nil //nolint:gosec // the range was checked above
	case reflect.Float32, reflect.Float64:
		f := r.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("is not a finite number")
		}
		return f, nil
	default:
		return nil, fmt.Errorf("must be a string, a bool or a number")
	}
}

// Scalars returns the elements of a slice by Scalar, for In.
func Scalars(v any) ([]any, error) {
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Slice {
		return nil, fmt.Errorf("must be a slice")
	}
	if r.Len() > MaxInValues {
		return nil, fmt.Errorf("has more than %d values", MaxInValues)
	}
	out := make([]any, r.Len())
	for i := range out {
		s, err := Scalar(r.Index(i).Interface())
		if err != nil {
			return nil, fmt.Errorf("[%d] %w", i, err)
		}
		out[i] = s
	}
	return out, nil
}

// Check says whether the query can be answered for a page: it needs a
// workspace, and an opaque collection has neither filter nor sort.
func (q Query) Check(opaque bool) error {
	if q.Workspace == "" {
		return badQuery("workspace", "is required")
	}
	return q.CheckMatch(opaque)
}

// CheckMatch is Check for Iterate, where an empty workspace means all.
func (q Query) CheckMatch(opaque bool) error {
	if msg := checkText(q.Workspace); msg != "" {
		return badQuery("workspace", msg)
	}
	if msg := checkText(q.IDPrefix); msg != "" {
		return badQuery("id_prefix", msg)
	}
	if opaque && !q.Filter.IsZero() {
		return badQuery("filter", "an opaque collection has none")
	}
	if err := q.Filter.Check(); err != nil {
		return err
	}
	path, _ := q.SortPath()
	if opaque && path != IDPath {
		return badQuery("sort", "an opaque collection is sorted by id")
	}
	if msg := checkPath(path); msg != "" {
		return badQuery("sort", msg)
	}
	if q.Limit < 0 || q.Limit > MaxPageSize {
		return badQuery("limit", fmt.Sprintf("must be between 0 and %d", MaxPageSize))
	}
	return nil
}

// SortPath returns the path to sort by, IDPath if none is given. Ascending,
// documents without the path come first, ties go by ascending id, and strings go
// by their bytes; how values of different types follow one another is the
// implementation's choice. Descending is the exact reverse, ids included.
func (q Query) SortPath() (path string, descending bool) {
	path, descending = strings.CutPrefix(q.Sort, "-")
	if q.Sort == "" {
		path = IDPath
	}
	return path, descending
}

// PageSize returns the limit, or its default.
func (q Query) PageSize() int {
	if q.Limit == 0 {
		return DefaultPageSize
	}
	return q.Limit
}
