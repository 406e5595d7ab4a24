package traces

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/geo"
)

// shown is how many refusals of a code a Report keeps.
const shown = 3

// Report counts what became of the rows of traces.
type Report struct {
	Rows       int            // that were looked at
	Fixes      int            // positions among those that were taken
	Duplicates int            // that were taken before: no-ops
	Refused    map[string]int // by code
	First      map[string][]Refusal
	Flagged    map[string]int // fixes by flag
	Notes      []string       // what was found out about the files
}

func (r *Report) refuse(line int, x *Refusal) {
	if r.Refused == nil {
		r.Refused, r.First = map[string]int{}, map[string][]Refusal{}
	}
	r.Refused[x.Code]++
	if len(r.First[x.Code]) < shown {
		y := *x
		y.Line = cmp.Or(y.Line, line)
		r.First[x.Code] = append(r.First[x.Code], y)
	}
}

func (r *Report) flag(names []string) {
	if r.Flagged == nil {
		r.Flagged = map[string]int{}
	}
	for _, n := range names {
		r.Flagged[n]++
	}
}

func (r *Report) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(r.Notes, n) {
		r.Notes = append(r.Notes, n)
	}
}

// RefusedRows is how many rows were refused.
func (r *Report) RefusedRows() int {
	n := 0
	for _, of := range r.Refused {
		n += of
	}
	return n
}

// BadRows is how many rows were refused for what they say, whatever the fences and
// policies.
func (r *Report) BadRows() int {
	n := r.RefusedRows()
	for _, code := range []string{CodeLate, CodeDoubtful, CodeDenied} {
		n -= r.Refused[code]
	}
	return n
}

// WriteTo writes the report for people: a line with the counts, and for each code
// what came first.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d fixes", count(r.Rows, "row"), r.Fixes)
	if r.Duplicates > 0 {
		fmt.Fprintf(&b, ", %s", count(r.Duplicates, "duplicate"))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Flagged)) {
		fmt.Fprintf(&b, ", %d flagged %s", r.Flagged[name], name)
	}
	fmt.Fprintf(&b, ", %d refused\n", r.RefusedRows())
	for _, code := range slices.Sorted(maps.Keys(r.Refused)) {
		fmt.Fprintf(&b, "refused %s: %s\n", code, count(r.Refused[code], "row"))
		for i := range r.First[code] {
			fmt.Fprintf(&b, "  %s\n", r.First[code][i].Error())
		}
		if more := r.Refused[code] - len(r.First[code]); more > 0 {
			fmt.Fprintf(&b, "  and %d more\n", more)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// refuseGeo says what geo says.
func refuseGeo(code string, err error) *Refusal {
	if e, ok := errors.AsType[*geo.Error](err); ok {
		return &Refusal{Code: code, Field: e.Field, Reason: e.Reason}
	}
	return refuse(code, "", "%v", err)
}
