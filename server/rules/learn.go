package rules

import "math"

// TypeOf is the type that a value as encoding/json decodes it teaches: string, number,
// bool, time (RFC 3339 text), strings (a list of nothing but strings, and at least one).
// Empty for what teaches none: null, an object, an empty or mixed list, 1e999.
func TypeOf(v any) Type {
	switch v := v.(type) {
	case bool:
		return Bool
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return Number
		}
	case string:
		if _, is := moment(v); is {
			return Time
		}
		return String
	case []any:
		if len(v) > 0 && Strings.Fits(v) {
			return Strings
		}
	}
	return ""
}

// Fits reports whether a value as encoding/json decodes it may stand where the type is
// known. Null always may: it says that there is no value.
func (t Type) Fits(v any) bool {
	if v == nil {
		return true
	}
	if t != Strings {
		_, is := scalar(t, v)
		return is
	}
	list, is := v.([]any)
	for _, x := range list {
		if _, text := x.(string); !text {
			return false
		}
	}
	return is
}

// Both is the type that values of both types have; empty when there is none. Text that
// looks like a time is text where others of the attribute are not.
func (t Type) Both(u Type) Type {
	switch {
	case t == u:
		return t
	case t == String && u == Time, t == Time && u == String:
		return String
	}
	return ""
}

// Named is the type in a sentence: "a number", "a list of strings".
func (t Type) Named() string {
	switch t {
	case Strings:
		return "a list of strings"
	case Scalar:
		return "a string, number or bool"
	case Time:
		return "a time (RFC 3339)"
	default:
		return "a " + string(t)
	}
}

// KindNamed is what a value as encoding/json decodes it is, in a sentence.
func KindNamed(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a bool"
	case float64:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "a list"
	default:
		return "an object"
	}
}
