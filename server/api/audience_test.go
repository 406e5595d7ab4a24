package api_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/audience"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// Range implements audience.Source.
func (w *world) Range(_ context.Context, ws, from, below string, f func([]byte) error) (looked int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(w.profiles[ws])) {
		if id < from || id >= below {
			continue
		}
		looked++
		if err := f([]byte(w.profiles[ws][id])); err != nil {
			return looked, err
		}
	}
	return looked, w.broken
}

func TestAnAudienceIsCounted(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	one := audience.Figure{Estimate: 1, Low: 1, High: 1}
	var a struct {
		audience.Figure
		Exact     bool            `json:"exact"`
		Of        audience.Figure `json:"of"`
		LookedAt  int             `json:"looked_at"`
		Consent   audience.Figure `json:"consenting"`
		Push      audience.Figure `json:"with_push"`
		Reachable audience.Figure `json:"reachable"`
		Words     string          `json:"words"`
		Examples  []string        `json:"examples"`
	}
	count := func(body string, role catalog.Role) answer {
		return s.do(request{method: "POST", path: "/api/v1/audience/count", body: body, role: role})
	}
	count(`{"audience":{"field":"attributes.city","op":"prefix","value":"secret"},"class":"marketing","examples":5}`, catalog.Marketer).want(200, &a)
	if a.Figure != one || !a.Exact || a.Of != one || a.LookedAt != 1 || a.Consent != one || a.Push != one || a.Reachable != one {
		t.Errorf("%+v", a)
	}
	id := engage.ProfileID(alpha, "phone-1")
	if !slices.Equal(a.Examples, []string{id}) || a.Words != "1 of 1 person." {
		t.Errorf("%q %q", a.Examples, a.Words)
	}
	a.Examples = nil
	count(`{"audience":{"not":{"field":"likes","op":"contains","value":"fashion"}}}`, catalog.Viewer).want(200, &a)
	if a.Figure != (audience.Figure{}) || a.Of != one || a.Examples != nil {
		t.Errorf("%+v", a)
	}
	count(`{"examples":5}`, catalog.Viewer).wantProblem(403, engage.Forbidden, "examples")
	count(`{"examples":21}`, catalog.Marketer).wantProblem(422, engage.Invalid, "examples")
	count(`{"class":"x"}`, catalog.Marketer).wantProblem(422, engage.Invalid, "class")
	count(`{"audience":{"all":[{"field":"likes","op":"contains","value":"x"},{"any":[{"field":"visits","op":"ge","value":"3"}]}]}}`, catalog.Viewer).
		wantProblem(422, engage.Invalid, "audience.all[1].any[0].value")
}

func TestARuleIsExplainedClauseByClause(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	type node struct {
		OK    bool    `json:"ok"`
		Path  string  `json:"path"`
		Words string  `json:"words"`
		All   []*node `json:"all"`
		Any   []*node `json:"any"`
		Not   *node   `json:"not"`
		Got   any     `json:"got"`
	}
	var a struct {
		Profile string `json:"profile"`
		OK      bool   `json:"ok"`
		Words   string `json:"words"`
		Rule    node   `json:"rule"`
	}
	explain := func(body string) answer {
		return s.do(request{method: "POST", path: "/api/v1/audience/explain", body: body, role: catalog.Viewer})
	}
	explain(`{"person":"user_id:ada","audience":{"all":[
		{"field":"visits","op":"ge","value":2},
		{"any":[{"field":"attributes.first_name","op":"eq","value":"Ada"},{"field":"likes","op":"contains","value":"fashion"}]},
		{"not":{"field":"platforms","op":"contains","value":"android"}}]}}`).want(200, &a)
	if a.OK || a.Rule.OK || a.Profile != engage.ProfileID(alpha, "phone-1") ||
		a.Words != "The person does not belong to the audience: platforms must not contain android, but was android." {
		t.Errorf("%+v", a)
	}
	var lines []string
	var walk func(n *node)
	walk = func(n *node) {
		mark := "no  "
		if n.OK {
			mark = "yes "
		}
		lines = append(lines, mark+n.Path+": "+n.Words)
		for _, c := range append(n.All, n.Any...) {
			walk(c)
		}
		if n.Not != nil {
			walk(n.Not)
		}
	}
	walk(&a.Rule)
	want := `no  : All of 3 must hold: 2 do.
yes all[0]: Visits must be at least 2, and is 3.
yes all[1]: One of 2 must hold: 1 do.
no  all[1].any[0]: The attribute first_name must be Ada, but is not known.
yes all[1].any[1]: Likes must contain fashion, and is fashion.
no  all[2]: This must not hold, but does.
yes all[2].not: Platforms must contain android, and is android.`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	explain(`{"person":"user_id:nobody"}`).wantProblem(404, engage.NotFound, "person")
	explain(`{}`).wantProblem(422, engage.Invalid, "person")
	explain(`{"person":"user_id:ada","audience":{"field":"vists","op":"exists"}}`).wantProblem(422, engage.Invalid, "audience.field")
}
