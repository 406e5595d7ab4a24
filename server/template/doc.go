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
//   - Items of catalogues are looked up while a text is rendered: "catalog" (Items), as in
//     {{ catalog.products["sku-1"].name }}, and "item", the one that a campaign is about.
//     What an item lacks is missing like any variable.
//   - "now" is the time given to Render. Dates are shown in its zone.
//   - A text has a language (locale.go): names of months and days, plurals, separators
//     and the place of a currency's sign are that language's, as CLDR has them
//     (cldr/locales.json). "date" takes formats of strftime, or a style that each
//     language writes in its own way: full, long, medium, short, day ("Sunday, 22
//     November"), day_month, time. "money" takes a currency, "pluralize" words,
//     "distance" is in miles where the person's phone is from a country that has them.
//   - A for over an object goes in order of the keys, each item is [key, value].
//
// What "{{ … }}" prints of a number has no exponent; a list is printed without
// separators, as in Liquid (use join); an object is an error.
//
// # Languages of a message
//
// A message (Content) may say in which language its texts are (locale), and have others
// (locales), which hold what differs. A phone gets that of its locale, else of its
// language in the same script, else the message's own. The text's language decides how
// dates and numbers are written, with the habits of the phone's country where that
// speaks it: nl-BE for a text in nl. Where nobody says in which language a text is, it is
// taken for the phone's.
//
// A variable that is missing in one language is missed only by who gets that. A title or
// a body of which nothing is left for a person (white space does not count) is a hole,
// too.
package template
