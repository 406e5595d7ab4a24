// Package template renders message texts: Liquid, as marketers know it, made
// safe to run for anybody who may write one. It is pure: the time is an
// argument, and the same template, variables and time give the same text.
//
// The expression language, its grammar and its closures are those of
// github.com/osteele/liquid. Its tags, filters and renderer are not used, since
// they have no limits, read files, ask the wall clock and the machine's zone,
// follow Go's map order, turn a missing value into a hole, and call any method
// of a Go value that a template names. Here instead:
//
//   - Tags: if elsif else unless case when for break continue assign capture
//     comment raw. Any other is refused when parsed, include and render too: no
//     template reads a file.
//   - Filters: those of Filters. An unknown one is refused when parsed.
//   - A range stands only in a for, "(1..5)", and is never made into a list.
//   - Limits: MaxSource, MaxNesting, MaxLoop, MaxOutput, and MaxWork for all
//     that one rendering does, so that nested loops end as well. Literal ranges
//     are judged when parsed, all others while they run.
//   - A missing variable (absent or null) is an error that names it, unless
//     "default" follows. Conditions may ask for it: a missing one is false.
//     Filters pass a missing input or argument on, so that "default" may come
//     last: {{ profile.name | upcase | default: "you" }}.
//   - "now" is the time given to Render. Dates are shown in its zone.
//   - A for over an object goes in order of the keys, each item is [key, value].
//
// What "{{ … }}" prints of a number has no exponent; a list is printed without
// separators, as in Liquid (use join); an object is an error.
package template
