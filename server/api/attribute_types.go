package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/rules"
)

func (s *server) registerAttributeTypes() {
	register(s, operation{
		method: http.MethodGet, path: "/attribute-types", id: "list-attribute-types", tag: tagCampaigns, role: catalog.Viewer,
		summary: "List all attributes that persons have, with their types",
		description: "Declared ones, those whose first values have taught their type, and others that are found. How many have one, examples and when one was last told come from at most 200 persons, who are looked at now: nothing of that is kept. " +
			"No example is shown of an attribute that is marked private or whose name says that it is about who somebody is; nor one that looks like an e-mail address or a telephone number, nor text that only one of these persons has.",
	}, s.listAttributeTypes)
	register(s, operation{
		method: http.MethodPut, path: "/attribute-types/{name}", id: "put-attribute-type", tag: tagCampaigns, role: catalog.Marketer,
		summary:     "Declare one attribute",
		description: "Its type goes before the one that was learned; from then on values of another type are dropped. Those that persons have already stay, and are absent to rules: of at most 200 persons, who are looked at, the answer warns how many have such a one.",
		body:        attributeTypeBody{}, errors: []int{http.StatusConflict},
	}, s.putAttributeType)
	register(s, operation{
		method: http.MethodDelete, path: "/attribute-types/{name}", id: "delete-attribute-type", tag: tagCampaigns, role: catalog.Marketer,
		summary:     "Forget the type of an attribute",
		description: "Declared and learned: the next values teach it anew. One that a campaign which has not ended asks about stays: 409. Persons keep their values.",
		errors:      []int{http.StatusConflict},
	}, s.deleteAttributeType)
}

const (
	attributeSample = 200 // persons that are looked at
	maxExamples     = 5
	maxExample      = 60 // bytes of one, as JSON
)

type attributeTypeView struct {
	Name      string             `json:"name"`
	Type      rules.Type         `json:"type,omitempty" doc:"string, number, bool, time, strings, scalar; absent: none is known, values are kept as they come and rules cannot ask"`
	Source    string             `json:"source" enum:"declared,learned,none"`
	Doubtful  bool               `json:"doubtful,omitempty" doc:"Only apps and public keys have taught it: it binds only what these say"`
	LearnedAt time.Time          `json:"learned_at,omitzero"`
	Private   bool               `json:"private,omitempty" doc:"Marked so: no examples are shown"`
	Persons   int                `json:"persons" doc:"How many of those looked at have it"`
	LastAt    time.Time          `json:"last_at,omitzero" doc:"When one of them last said it"`
	Examples  []attributeExample `json:"examples" nullable:"false" doc:"What most of them have, at most 5"`
}

type attributeExample struct {
	Value   any `json:"value"`
	Persons int `json:"persons"`
}

type attributeTypesView struct {
	LookedAt   int                 `json:"looked_at" doc:"How many persons were looked at"`
	Attributes []attributeTypeView `json:"attributes" nullable:"false" doc:"By name"`
}

// attributeUse is what persons have under a name.
type attributeUse struct {
	persons int
	lastAt  time.Time
	values  map[string]int // by JSON
}

// attributeUses looks at persons.
func (s *server) attributeUses(ctx context.Context, workspace string) (map[string]*attributeUse, int, error) {
	found, err := s.o.People.Profiles(ctx, workspace, "", attributeSample)
	if err != nil {
		return nil, 0, err
	}
	out := map[string]*attributeUse{}
	for _, raw := range found.Items {
		var p profile.Profile
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, 0, fmt.Errorf("decode profile: %w", err)
		}
		for name, v := range p.Attributes {
			u := out[name]
			if u == nil {
				u = &attributeUse{values: map[string]int{}}
				out[name] = u
			}
			u.persons++
			if at := p.AttributeAt[name].Time(); at.After(u.lastAt) {
				u.lastAt = at
			}
			if text, err := json.Marshal(v); err == nil {
				u.values[string(text)]++
			}
		}
	}
	return out, len(found.Items), nil
}

func (s *server) listAttributeTypes(ctx context.Context, who caller, _ *struct{}) (*answered[attributeTypesView], error) {
	now, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	uses, n, err := s.attributeUses(ctx, who.workspace)
	if err != nil {
		return nil, err
	}
	learned := now.Learned(who.workspace)
	names := slices.Concat(slices.Collect(maps.Keys(uses)), slices.Collect(maps.Keys(learned)), slices.Collect(maps.Keys(w.Attributes)))
	slices.Sort(names)
	out := attributeTypesView{LookedAt: n, Attributes: []attributeTypeView{}}
	for _, name := range slices.Compact(names) {
		v := attributeTypeView{Name: name, Source: "none", Private: slices.Contains(w.PrivateAttributes, name), Examples: []attributeExample{}}
		if l, is := learned[name]; is {
			v.Type, v.Source, v.Doubtful, v.LearnedAt = l.Type, "learned", l.Public, l.At
		}
		if t, is := w.Attributes[name]; is {
			v.Type, v.Source, v.Doubtful, v.LearnedAt = t, "declared", false, time.Time{}
		}
		if u := uses[name]; u != nil {
			v.Persons, v.LastAt = u.persons, u.lastAt
			if !v.Private && !tellsWho(name) {
				v.Examples = u.examples()
			}
		}
		out.Attributes = append(out.Attributes, v)
	}
	return &answered[attributeTypesView]{out}, nil
}

// examples are what most have.
func (u *attributeUse) examples() []attributeExample {
	texts := slices.Collect(maps.Keys(u.values))
	slices.SortFunc(texts, func(a, b string) int {
		return cmp.Or(cmp.Compare(u.values[b], u.values[a]), strings.Compare(a, b))
	})
	out := []attributeExample{}
	for _, text := range texts {
		var v any
		if len(text) > maxExample || json.Unmarshal([]byte(text), &v) != nil || !showable(v, u.values[text]) {
			continue
		}
		if out = append(out, attributeExample{v, u.values[text]}); len(out) == maxExamples {
			break
		}
	}
	return out
}

// showable reports whether a value that so many persons have tells nobody who one of
// them is.
func showable(v any, persons int) bool {
	switch v := v.(type) {
	case bool:
		return true
	case float64:
		return v > -1e6 && v < 1e6 // beyond, it may be a telephone number
	case string:
		return persons > 1 && !looksPrivate(v)
	case []any:
		for _, x := range v {
			if text, is := x.(string); !is || looksPrivate(text) {
				return false
			}
		}
		return persons > 1
	default:
		return false
	}
}

var (
	telephone = regexp.MustCompile(`^\s*[+(]*[0-9](?:[0-9 ()./-]*[0-9]){6,}\s*$`)
	date      = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
)

// looksPrivate reports whether a text looks like an e-mail address or a telephone number.
func looksPrivate(text string) bool {
	return strings.Contains(text, "@") || telephone.MatchString(text) && !date.MatchString(text)
}

// whoWords are words in the names of attributes that are about who somebody is.
var whoWords = []string{
	"mail", "phone", "mobile", "telephone", "tel", "fax", "name", "firstname", "lastname", "fullname", "surname", "username",
	"address", "street", "postcode", "postalcode", "zip", "birth", "birthday", "birthdate", "dob", "iban", "passport", "ssn", "bsn", "id", "ip", "password", "token", "secret",
	"avatar", "latitude", "longitude", "lat", "lng", "lon",
}

// tellsWho reports whether a name says that the attribute is about who somebody is.
func tellsWho(name string) bool {
	for _, word := range words(name) {
		if slices.Contains(whoWords, word) || word == "email" {
			return true
		}
	}
	return slices.Contains(whoWords, strings.Join(words(name), ""))
}

// words of a name such as "firstName", "first_name" or "first-name", in lower case.
func words(name string) []string {
	var b strings.Builder
	lower := false
	for _, r := range name {
		upper := r >= 'A' && r <= 'Z'
		if upper && lower {
			b.WriteByte(' ')
		}
		lower = !upper
		if r == '_' || r == '-' || r == '.' {
			r = ' '
		}
		b.WriteRune(r)
	}
	return strings.Fields(strings.ToLower(b.String()))
}

type attributeTypeBody struct {
	Type    rules.Type `json:"type" enum:"string,number,bool,time,strings,scalar"`
	Private *bool      `json:"private,omitempty" doc:"No examples are shown of it; absent: as it was"`
}

type putAttributeTypeInput struct {
	Name string `path:"name" maxLength:"100" doc:"Name of the attribute"`
	Raw
}

// declaredAttribute is what is declared once an attribute was.
type declaredAttribute struct {
	Version    int64                 `json:"version" doc:"Of the workspace's settings"`
	Attributes map[string]rules.Type `json:"attributes" doc:"Declared ones: type by name"`
	Warnings   []FieldError          `json:"warnings,omitempty" nullable:"false" doc:"What persons have already that is not of the type"`
}

func (s *server) putAttributeType(ctx context.Context, who caller, in *putAttributeTypeInput) (*answered[declaredAttribute], error) {
	var b attributeTypeBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if !b.Type.Valid() {
		return nil, engage.Errorf(engage.Invalid, "type", "must be string, number, bool, time, strings or scalar, is %q", clip(string(b.Type)))
	}
	warnings, err := s.misfits(ctx, who, in.Name, b.Type)
	if err != nil {
		return nil, err
	}
	saved, err := s.changeAttributes(ctx, who, func(w *catalog.Workspace) {
		w.Attributes[in.Name] = b.Type
		if b.Private == nil {
			return
		}
		w.PrivateAttributes = slices.DeleteFunc(w.PrivateAttributes, func(name string) bool { return name == in.Name })
		if *b.Private {
			w.PrivateAttributes = append(w.PrivateAttributes, in.Name)
			slices.Sort(w.PrivateAttributes)
		}
	})
	if err != nil {
		return nil, err
	}
	return &answered[declaredAttribute]{declaredAttribute{saved.Body.Version, saved.Body.Attributes, warnings}}, nil
}

// misfits warns of values that persons have of an attribute and that are not of a type: to
// rules such a person has none. It tells how many, never what they are.
func (s *server) misfits(ctx context.Context, who caller, name string, t rules.Type) ([]FieldError, error) {
	uses, n, err := s.attributeUses(ctx, who.workspace)
	if err != nil || uses[name] == nil {
		return nil, err
	}
	odd := 0
	for text, persons := range uses[name].values {
		var v any
		if json.Unmarshal([]byte(text), &v) == nil && !t.Fits(v) {
			odd += persons
		}
	}
	if odd == 0 {
		return nil, nil
	}
	reason := fmt.Sprintf("of %s who were looked at, %d %s a value that is not %s: to rules they have none until it is told anew",
		plural(n, "person"), odd, map[bool]string{true: "has", false: "have"}[odd == 1], t.Named())
	return []FieldError{{engage.Invalid, "attributes." + name, reason}}, nil
}

// changeAttributes changes a copy of the workspace, and saves it.
func (s *server) changeAttributes(ctx context.Context, who caller, change func(*catalog.Workspace)) (*answered[attributesDoc], error) {
	_, old, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	w := *old // a snapshot is never changed
	w.Attributes, w.PrivateAttributes = maps.Clone(old.Attributes), slices.Clone(old.PrivateAttributes)
	if w.Attributes == nil {
		w.Attributes = map[string]rules.Type{}
	}
	change(&w)
	if err := s.o.Catalog.PutWorkspace(ctx, who.key.ID, &w, old.Version); err != nil {
		return nil, err
	}
	return &answered[attributesDoc]{attributesOf(&w)}, nil
}

func (s *server) deleteAttributeType(ctx context.Context, who caller, in *struct {
	Name string `path:"name" maxLength:"100" doc:"Name of the attribute"`
},
) (*struct{}, error) {
	now, w, err := s.workspaceOf(who)
	if err != nil {
		return nil, err
	}
	_, declared := w.Attributes[in.Name]
	if _, learned := now.Learned(who.workspace)[in.Name]; !learned && !declared {
		return nil, engage.Errorf(engage.NotFound, "name", "no type of %q is known", clip(in.Name))
	}
	// What was learned goes first: while one is declared, no campaign needs it.
	if err := s.o.Catalog.Learn(ctx, who.key.ID, who.workspace, func(types map[string]catalog.LearnedType) bool {
		_, is := types[in.Name]
		delete(types, in.Name)
		return is
	}); err != nil {
		return nil, err
	}
	if !declared {
		return nil, nil
	}
	_, err = s.changeAttributes(ctx, who, func(w *catalog.Workspace) { delete(w.Attributes, in.Name) })
	return nil, err
}
