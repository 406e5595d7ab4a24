// Package rules is the one rule language of audiences (rules over the person)
// and contexts (rules over the moment). It is pure: no I/O, no clock, no chance.
//
// A rule is a JSON tree. Each node is exactly one of
//
//	{"all": [rule, …]}                              every one holds
//	{"any": [rule, …]}                              at least one holds
//	{"not": rule}                                   it does not hold
//	{"field": "likes", "op": "contains", "value": "fashion"}
//
// and nothing (an empty text or null) is the rule that always holds.
//
// # Operators
//
//	eq ne                       string, number, bool, scalar, version
//	in not_in                   string, number, scalar; value is a list
//	prefix                      string, scalar
//	lt le gt ge between         number, time, scalar, version, time_of_day; between is
//	                            [low, high], both included
//	contains not_contains       strings (a list that has the value)
//	within_last not_within_last time; value is a duration
//	exists absent               every type; no value
//
// A time in a rule is RFC 3339 ("2026-03-01T00:00:00Z"). A duration is a whole
// number with a unit: "45s", "30m", "24h", "7d", "2w"; a day is 24 hours.
// A version ("3.10.2") is compared number by number; a time_of_day is "HH:MM", and its
// between goes over midnight where the first is the later one.
// "within_last 7d" holds for at-7d < value <= at: the future is not the past.
//
// # Two values, never three
//
// A clause is true or false. Of a field that is absent nothing positive is
// true: eq, in, lt, contains, within_last … are false. Each negative operator
// (ne, not_in, not_contains, not_within_last, absent) is the exact opposite of
// its positive one, so it is true: somebody of whom no city is known is "not
// from Amsterdam", somebody who never came has "not visited within the last
// 7 days". Who means otherwise adds an exists. Hence {"not": {… eq …}} and
// {… ne …} are the same, and not(not(x)) is x.
//
// A field is absent when the environment does not have it, and also when what
// it has is null, not of the declared type, not a number (NaN), or an empty
// list. A scalar field has no declared type: a value of another type than the
// rule's is present and different.
//
// Weather that is unknown is not for this package to judge: decide asks
// Rule.Uses("weather.") and suppresses with weather_unknown before it
// evaluates, so that a "not" over weather never guesses.
package rules
