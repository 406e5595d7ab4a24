package template

import (
	"errors"
	"fmt"
	"html"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/osteele/liquid/expressions"
)

// filter is what stands after "|".
type filter struct {
	min, max int // arguments
	// call is not asked when the input or an argument is missing, but for default.
	call func(r *run, in any, args []any) (any, error)
}

type known struct {
	byName map[string]filter
	config expressions.Config
}

// filterSet is the filters, and the same for the library. It never changes.
var filterSet = sync.OnceValue(func() known {
	set := known{filters(), expressions.NewConfig()}
	for name, f := range set.byName {
		set.config.AddFilter(name, adapt(name, f))
	}
	return set
})

func filterConfig() expressions.Config { return filterSet().config }

// Filters lists the filters, sorted.
func Filters() []string {
	var names []string
	for name := range filterSet().byName {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// checkFilter refuses a filter that does not exist or takes other arguments.
func checkFilter(name string, args int) error {
	f, ok := filterSet().byName[name]
	switch {
	case !ok:
		return fmt.Errorf("unknown filter %q; known are %s", clip(name), strings.Join(Filters(), ", "))
	case args < f.min || args > f.max:
		return fmt.Errorf("filter %q takes %s, has %d", name, arguments(f), args)
	}
	return nil
}

func arguments(f filter) string {
	switch {
	case f.min == f.max && f.min == 1:
		return "1 argument"
	case f.min == f.max:
		return fmt.Sprintf("%d arguments", f.min)
	default:
		return fmt.Sprintf("%d to %d arguments", f.min, f.max)
	}
}

// adapt makes of a filter what the library calls, with the run as its first
// argument, and charges the run for what it reads and makes.
func adapt(name string, f filter) func(in, h any, args ...any) (any, error) {
	return func(in, h any, args ...any) (any, error) {
		r, ok := h.(*run)
		if !ok {
			return nil, errors.New("is used in a way that is not supported")
		}
		in = plain(in)
		hole := in == nil
		cost := 16 + size(in)
		for i := range args {
			args[i] = plain(args[i])
			hole = hole || args[i] == nil
			cost += size(args[i])
		}
		if err := r.charge(cost); err != nil {
			return nil, err
		}
		if hole && name != "default" {
			return value{nil, r}, nil
		}
		out, err := f.call(r, in, args)
		if err != nil {
			return nil, err
		}
		switch out := out.(type) {
		case string:
			if len(out) > MaxOutput {
				return nil, errOutput
			}
		case []any:
			if len(out) > MaxList {
				return nil, fmt.Errorf("a list has at most %d items", MaxList)
			}
		}
		return r.wrap(out), r.charge(size(out))
	}
}

func size(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []any:
		return 8 * len(v)
	default:
		return 0
	}
}

// onText makes a filter of a function over one text.
func onText(f func(string) string) filter {
	return filter{0, 0, func(_ *run, in any, _ []any) (any, error) {
		s, err := text(in)
		return f(s), err
	}}
}

// onTexts makes a filter of a function over a text and n more.
func onTexts(n int, f func(s string, args []string) (any, error)) filter {
	return filter{n, n, func(_ *run, in any, args []any) (any, error) {
		s, err := text(in)
		if err != nil {
			return nil, err
		}
		texts := make([]string, len(args))
		for i := range args {
			if texts[i], err = text(args[i]); err != nil {
				return nil, err
			}
		}
		return f(s, texts)
	}}
}

// onNumber makes a filter of a function over a number that gives a whole one.
func onNumber(f func(float64) float64) filter {
	return filter{0, 0, func(_ *run, in any, _ []any) (any, error) {
		x, err := toNumber(in)
		if err != nil {
			return nil, err
		}
		return tidy(f(asFloat(x)))
	}}
}

// onNumbers makes a filter of functions over two numbers: whole ones when both
// are and the result is in range, else floating ones.
func onNumbers(whole func(a, b int) int, floating func(a, b float64) float64) filter {
	return filter{1, 1, func(_ *run, in any, args []any) (any, error) {
		a, err := toNumber(in)
		if err != nil {
			return nil, err
		}
		b, err := toNumber(args[0])
		if err != nil {
			return nil, err
		}
		f := floating(asFloat(a), asFloat(b))
		x, okA := a.(int)
		y, okB := b.(int)
		if okA && okB && math.Abs(f) < 1<<53 {
			return whole(x, y), nil
		}
		return finite(f)
	}}
}

// onList makes a filter of a function over a list.
func onList(f func(list []any) (any, error)) filter {
	return filter{0, 0, func(_ *run, in any, _ []any) (any, error) {
		list, err := toList(in)
		if err != nil {
			return nil, err
		}
		return f(list)
	}}
}

func toNumber(v any) (any, error) {
	switch v := v.(type) {
	case int, float64:
		return v, nil
	case string:
		s := strings.TrimSpace(v)
		if n, err := strconv.Atoi(s); err == nil {
			return n, nil
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return finite(f)
		}
	}
	return nil, fmt.Errorf("%s is not a number", describe(v))
}

func asFloat(v any) float64 {
	f, _ := float(v)
	return f
}

func finite(f float64) (any, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, errors.New("the result is not a number")
	}
	return f, nil
}

// tidy is a whole number where f is one that is in range.
func tidy(f float64) (any, error) {
	if math.Abs(f) < 1<<53 && f == math.Trunc(f) {
		return int(f), nil
	}
	return finite(f)
}

func toList(v any) ([]any, error) {
	if list, ok := v.([]any); ok {
		return list, nil
	}
	return nil, fmt.Errorf("%s is not a list", describe(v))
}

var errDivision = errors.New("division by zero")

func filters() map[string]filter {
	m := map[string]filter{
		"default": {1, 1, func(_ *run, in any, args []any) (any, error) {
			if in == nil || in == false || (void{}).is(in) {
				return args[0], nil
			}
			return in, nil
		}},
		"date": {1, 1, dateFilter},
		"size": {0, 0, func(_ *run, in any, _ []any) (any, error) {
			if n := property(in, "size"); n != nil {
				return n, nil
			}
			return nil, fmt.Errorf("%s has no size", describe(in))
		}},
	}
	textFilters(m)
	numberFilters(m)
	listFilters(m)
	localFilters(m)
	return m
}

func textFilters(m map[string]filter) {
	m["upcase"] = onText(strings.ToUpper)
	m["downcase"] = onText(strings.ToLower)
	m["capitalize"] = onText(func(s string) string {
		first, n := utf8.DecodeRuneInString(s)
		if n == 0 {
			return s
		}
		return string(unicode.ToTitle(first)) + s[n:]
	})
	m["strip"] = onText(strings.TrimSpace)
	m["lstrip"] = onText(func(s string) string { return strings.TrimLeftFunc(s, unicode.IsSpace) })
	m["rstrip"] = onText(func(s string) string { return strings.TrimRightFunc(s, unicode.IsSpace) })
	m["strip_newlines"] = onText(strings.NewReplacer("\r", "", "\n", "").Replace)
	m["escape"] = onText(html.EscapeString)
	m["url_encode"] = onText(url.QueryEscape)
	m["append"] = onTexts(1, func(s string, a []string) (any, error) { return joined("", s, a[0]) })
	m["prepend"] = onTexts(1, func(s string, a []string) (any, error) { return joined("", a[0], s) })
	m["replace"] = onTexts(2, func(s string, a []string) (any, error) { return replace(s, a[0], a[1], -1) })
	m["replace_first"] = onTexts(2, func(s string, a []string) (any, error) { return replace(s, a[0], a[1], 1) })
	m["remove"] = onTexts(1, func(s string, a []string) (any, error) { return replace(s, a[0], "", -1) })
	m["remove_first"] = onTexts(1, func(s string, a []string) (any, error) { return replace(s, a[0], "", 1) })
	m["split"] = onTexts(1, splitText)
	m["truncate"] = filter{0, 2, truncate}
	m["truncatewords"] = filter{0, 2, truncateWords}
	m["slice"] = filter{1, 2, slice}
}

func numberFilters(m map[string]filter) {
	m["abs"] = filter{0, 0, func(_ *run, in any, _ []any) (any, error) {
		x, err := toNumber(in)
		if n, ok := x.(int); ok && n != math.MinInt {
			return max(n, -n), err
		}
		return math.Abs(asFloat(x)), err
	}}
	m["ceil"] = onNumber(math.Ceil)
	m["floor"] = onNumber(math.Floor)
	m["round"] = filter{0, 1, round}
	m["plus"] = onNumbers(func(a, b int) int { return a + b }, func(a, b float64) float64 { return a + b })
	m["minus"] = onNumbers(func(a, b int) int { return a - b }, func(a, b float64) float64 { return a - b })
	m["times"] = onNumbers(func(a, b int) int { return a * b }, func(a, b float64) float64 { return a * b })
	m["at_least"] = onNumbers(func(a, b int) int { return max(a, b) }, math.Max)
	m["at_most"] = onNumbers(func(a, b int) int { return min(a, b) }, math.Min)
	m["divided_by"] = divisor(onNumbers(func(a, b int) int {
		if a%b != 0 && (a < 0) != (b < 0) { // as Ruby: to the smaller
			return a/b - 1
		}
		return a / b
	}, func(a, b float64) float64 { return a / b }))
	m["modulo"] = divisor(onNumbers(func(a, b int) int { return ((a % b) + b) % b }, func(a, b float64) float64 { return a - b*math.Floor(a/b) }))
}

func divisor(f filter) filter {
	call := f.call
	f.call = func(r *run, in any, args []any) (any, error) {
		if d, err := toNumber(args[0]); err == nil && asFloat(d) == 0 {
			return nil, errDivision
		}
		return call(r, in, args)
	}
	return f
}

func listFilters(m map[string]filter) {
	m["join"] = filter{0, 1, func(_ *run, in any, args []any) (any, error) {
		list, err := toList(in)
		if err != nil {
			return nil, err
		}
		sep := " "
		if len(args) > 0 {
			if sep, err = text(args[0]); err != nil {
				return nil, err
			}
		}
		texts := make([]string, 0, len(list))
		for _, x := range list {
			s, err := text(x)
			if err != nil {
				return nil, err
			}
			texts = append(texts, s)
		}
		return joined(sep, texts...)
	}}
	m["first"] = onList(func(list []any) (any, error) { return property(list, "first"), nil })
	m["last"] = onList(func(list []any) (any, error) { return property(list, "last"), nil })
	m["reverse"] = onList(func(list []any) (any, error) {
		list = slices.Clone(list)
		slices.Reverse(list)
		return list, nil
	})
	m["sort"] = onList(func(list []any) (any, error) { return sorted(list, func(s string) string { return s }) })
	m["sort_natural"] = onList(func(list []any) (any, error) { return sorted(list, strings.ToLower) })
	m["compact"] = onList(func(list []any) (any, error) {
		return slices.DeleteFunc(slices.Clone(list), func(v any) bool { return plain(v) == nil }), nil
	})
	m["uniq"] = onList(func(list []any) (any, error) {
		seen := make(map[string]bool, len(list))
		out := []any{}
		for _, v := range list {
			s, err := text(v)
			if err != nil {
				return nil, err
			}
			if !seen[s] {
				seen[s] = true
				out = append(out, v)
			}
		}
		return out, nil
	})
	m["concat"] = filter{1, 1, func(_ *run, in any, args []any) (any, error) {
		a, err := toList(in)
		if err != nil {
			return nil, err
		}
		b, err := toList(args[0])
		return slices.Concat(a, b), err
	}}
	m["map"] = filter{1, 1, func(_ *run, in any, args []any) (any, error) {
		list, err := toList(in)
		if err != nil {
			return nil, err
		}
		name, err := text(args[0])
		out := make([]any, len(list))
		for i, v := range list {
			out[i] = property(plain(v), name)
		}
		return out, err
	}}
}

// joined joins texts, without making what would be too long.
func joined(sep string, texts ...string) (any, error) {
	n := len(sep) * max(0, len(texts)-1)
	for _, s := range texts {
		if n += len(s); n > MaxOutput {
			return nil, errOutput
		}
	}
	return strings.Join(texts, sep), nil
}

func replace(s, old, with string, times int) (any, error) {
	n := strings.Count(s, old)
	if times >= 0 {
		n = min(n, times)
	}
	if len(s)+n*max(0, len(with)-len(old)) > MaxOutput {
		return nil, errOutput
	}
	return strings.Replace(s, old, with, times), nil
}

func splitText(s string, args []string) (any, error) {
	if n := strings.Count(s, args[0]); n >= MaxList {
		return nil, fmt.Errorf("a list has at most %d items", MaxList)
	}
	var parts []string
	if args[0] == " " {
		parts = strings.Fields(s)
	} else {
		parts = strings.Split(s, args[0])
		for len(parts) > 0 && parts[len(parts)-1] == "" { // as Ruby
			parts = parts[:len(parts)-1]
		}
	}
	return plain(parts), nil
}

// optional arguments of truncate and truncatewords.
func cutArgs(args []any, n int) (_ int, ellipsis string, err error) {
	ellipsis = "..."
	if len(args) > 0 {
		if n, err = whole(args[0]); err != nil {
			return 0, "", err
		}
	}
	if len(args) > 1 {
		ellipsis, err = text(args[1])
	}
	return max(n, 0), ellipsis, err
}

// truncate cuts to a number of characters, the ellipsis among them.
func truncate(_ *run, in any, args []any) (any, error) {
	s, err := text(in)
	if err != nil {
		return nil, err
	}
	n, ellipsis, err := cutArgs(args, 50)
	if err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(s) <= n {
		return s, nil
	}
	keep := max(0, n-utf8.RuneCountInString(ellipsis))
	return string([]rune(s)[:keep]) + ellipsis, nil
}

func truncateWords(_ *run, in any, args []any) (any, error) {
	s, err := text(in)
	if err != nil {
		return nil, err
	}
	n, ellipsis, err := cutArgs(args, 15)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(s)
	if len(words) <= n {
		return s, nil
	}
	return strings.Join(words[:n], " ") + ellipsis, nil
}

// slice takes length (1 if not given) characters or items from start, which
// counts from the end when negative.
func slice(_ *run, in any, args []any) (any, error) {
	start, err := whole(args[0])
	if err != nil {
		return nil, err
	}
	length := 1
	if len(args) > 1 {
		if length, err = whole(args[1]); err != nil {
			return nil, err
		}
	}
	window := func(n int) (int, int) {
		if start < 0 {
			start += n
		}
		start = min(max(start, 0), n)
		return start, start + min(max(length, 0), n-start)
	}
	if list, ok := in.([]any); ok {
		from, to := window(len(list))
		return list[from:to:to], nil
	}
	s, err := text(in)
	if err != nil {
		return nil, err
	}
	runes := []rune(s)
	from, to := window(len(runes))
	return string(runes[from:to]), nil
}

// round rounds half away from zero, to a number of decimals if given.
func round(_ *run, in any, args []any) (any, error) {
	x, err := toNumber(in)
	if err != nil {
		return nil, err
	}
	places := 0
	if len(args) > 0 {
		if places, err = whole(args[0]); err != nil {
			return nil, err
		}
	}
	if places < 0 || places > 15 {
		return nil, fmt.Errorf("decimals are 0 to 15, not %d", places)
	}
	if n, ok := x.(int); ok {
		return n, nil
	}
	exp := math.Pow10(places)
	return tidy(math.Round(asFloat(x)*exp) / exp)
}

// sorted sorts by number or by text; equal ones keep their order.
func sorted(list []any, key func(string) string) (any, error) {
	type item struct {
		v, key any
	}
	items := make([]item, len(list))
	for i, v := range list {
		v = plain(v)
		items[i] = item{v, v}
		switch s := v.(type) {
		case string:
			items[i].key = key(s)
		case int, float64:
		default:
			return nil, fmt.Errorf("%s cannot be sorted", describe(v))
		}
	}
	slices.SortStableFunc(items, func(a, b item) int {
		_, numA := float(a.key)
		_, numB := float(b.key)
		switch {
		case numA && !numB || less(a.key, b.key): // numbers before texts
			return -1
		case numB && !numA || less(b.key, a.key):
			return 1
		default:
			return 0
		}
	})
	out := make([]any, len(items))
	for i := range items {
		out[i] = items[i].v
	}
	return out, nil
}
