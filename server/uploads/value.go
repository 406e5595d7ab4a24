package uploads

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/table"
)

// value is what stands in a cell, or behind a key of a line of JSON. What is wrong with
// one is told by what it must be, never by what it is: reports outlive the file.
type value struct {
	text string
	json any // of a line of JSON: string, json.Number, bool, []any, map[string]any, nil
	of   format
}

type format uint8

const (
	cell format = iota
	member
)

// empty reports whether it says nothing.
func (v *value) empty() bool {
	if v.of == member {
		s, is := v.json.(string)
		return v.json == nil || is && strings.TrimSpace(s) == ""
	}
	return v.text == ""
}

// plain is a text, or a number as it is written.
func (v *value) plain() (string, string) {
	if v.of == cell {
		return v.text, ""
	}
	switch x := v.json.(type) {
	case string:
		return strings.TrimSpace(x), ""
	case json.Number:
		return x.String(), ""
	default:
		return "", "must be a text"
	}
}

func (v *value) yes() (granted bool, wrong string) {
	if b, is := v.json.(bool); is {
		return b, ""
	}
	text, wrong := v.plain()
	if wrong == "" {
		switch strings.ToLower(text) {
		case "true", "yes", "y", "1", "on":
			return true, ""
		case "false", "no", "n", "0", "off":
			return false, ""
		}
	}
	return false, "must be true or false (yes or no, 1 or 0)"
}

func (v *value) number() (float64, string) {
	const must = "must be a number, with a point before its decimals"
	text, wrong := v.plain()
	if wrong != "" {
		return 0, must
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) || strings.ContainsAny(text, "xXpP_") {
		return 0, must
	}
	return x, ""
}

func (v *value) time() (time.Time, string) {
	const must = "must be a time (2026-03-02T09:30:00Z), a date or Unix seconds"
	text, wrong := v.plain()
	if wrong != "" {
		return time.Time{}, must
	}
	t, ok := table.ParseTime(text)
	if !ok {
		return time.Time{}, must
	}
	return t, ""
}

// list of texts.
func (v *value) list() ([]string, string) {
	const must = "must be a list of texts: as JSON, or separated by semicolon, bar or comma"
	all, is := v.json.([]any)
	if !is {
		text, wrong := v.plain()
		switch {
		case wrong != "":
			return nil, must
		case strings.HasPrefix(text, "["):
			if json.Unmarshal([]byte(text), &all) != nil {
				return nil, must
			}
		default:
			return split(text), ""
		}
	}
	out := make([]string, 0, len(all))
	for _, x := range all {
		s, is := x.(string)
		if !is {
			return nil, must
		}
		out = append(out, s)
	}
	return out, ""
}

func split(text string) []string {
	by := ","
	for _, c := range []string{"|", ";"} {
		if strings.Contains(text, c) {
			by = c
		}
	}
	out := []string{}
	for part := range strings.SplitSeq(text, by) {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// as is the value as an attribute of a type; "" means as it stands.
func (v *value) as(typ rules.Type) (any, string) {
	switch typ {
	case rules.String:
		return v.plain2()
	case rules.Number:
		x, wrong := v.number()
		return x, wrong
	case rules.Bool:
		b, wrong := v.yes()
		return b, wrong
	case rules.Time:
		t, wrong := v.time()
		return t.Format(time.RFC3339Nano), wrong
	case rules.Strings:
		l, wrong := v.list()
		return l, wrong
	}
	if v.of == cell {
		return v.text, ""
	}
	switch x := v.json.(type) {
	case string, bool:
		return x, ""
	case json.Number:
		n, wrong := v.number()
		return n, wrong
	case []any:
		if l, wrong := v.list(); wrong == "" {
			return l, ""
		}
		return nil, "must be a text, a number, true or false, or a list of texts; it is a list of something else"
	default:
		return nil, "must be a text, a number, true or false, or a list of texts; it is an object"
	}
}

func (v *value) plain2() (any, string) {
	s, wrong := v.plain()
	return s, wrong
}

// property is the value as a property of an event: any JSON.
func (v *value) property(typ rules.Type) (any, string) {
	if typ != "" || v.of == cell {
		return v.as(typ)
	}
	if !shallow(v.json, maxDepth) {
		return nil, "is nested deeper than " + strconv.Itoa(maxDepth)
	}
	return v.json, ""
}

const maxDepth = 20

func shallow(x any, left int) bool {
	if left == 0 {
		return false
	}
	switch x := x.(type) {
	case []any:
		return !slices.ContainsFunc(x, func(x any) bool { return !shallow(x, left-1) })
	case map[string]any:
		for _, x := range x {
			if !shallow(x, left-1) {
				return false
			}
		}
	}
	return true
}

// likely is the type that all samples of a column have; text where they differ.
func likely(samples []string) rules.Type {
	is := map[rules.Type]bool{rules.Number: true, rules.Bool: true, rules.Time: true}
	some := false
	for _, s := range samples {
		if s == "" {
			continue
		}
		some = true
		v := value{text: s}
		if _, wrong := v.number(); wrong != "" || len(s) > 15 || len(s) > 1 && (s[0] == '0' && s[1] != '.' || s[0] == '+') {
			is[rules.Number] = false // what begins with 0 or is long is a name of something
		}
		if l := strings.ToLower(s); !slices.Contains([]string{"true", "false", "yes", "no"}, l) {
			is[rules.Bool] = false
		}
		if _, wrong := v.time(); wrong != "" || len(s) < len(time.DateOnly) || s[4] != '-' {
			is[rules.Time] = false
		}
	}
	for _, t := range []rules.Type{rules.Bool, rules.Time, rules.Number} {
		if some && is[t] {
			return t
		}
	}
	return rules.String
}

// text reports what is wrong with a text for what it is to be.
func text(s string, most int) string {
	switch {
	case len(s) > most:
		return "has more than " + strconv.Itoa(most) + " bytes"
	case !utf8.ValidString(s):
		return "is not UTF-8"
	}
	return ""
}
