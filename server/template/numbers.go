package template

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

// maxDecimals is how many decimals a number or an amount is shown with.
const maxDecimals = 6

// localFilters write what differs from language to language.
func localFilters(m map[string]filter) {
	m["money"] = filter{1, 2, moneyFilter}
	m["number"] = filter{0, 1, numberFilter}
	m["distance"] = filter{0, 1, distanceFilter}
	m["pluralize"] = filter{2, 6, pluralizeFilter}
}

// decimals rounds a finite x to at most most decimals, halves away from zero as shops
// do, and cuts zeros down to least. It works on the digits that a person would write:
// 1.005 is 1.01. The sign apart, it gives the digits before and after the point.
func decimals(x float64, least, most int) (negative bool, whole, fraction string) {
	text := strconv.FormatFloat(math.Abs(x), 'f', -1, 64)
	whole, fraction, _ = strings.Cut(text, ".")
	if len(fraction) > most {
		up := fraction[most] >= '5'
		fraction = fraction[:most]
		if up {
			digits := []byte(whole + fraction)
			i := len(digits) - 1
			for ; i >= 0 && digits[i] == '9'; i-- {
				digits[i] = '0'
			}
			if i >= 0 {
				digits[i]++
			} else {
				digits = append([]byte{'1'}, digits...)
			}
			n := len(digits) - most
			whole, fraction = string(digits[:n]), string(digits[n:])
		}
	}
	for len(fraction) > least && fraction[len(fraction)-1] == '0' {
		fraction = fraction[:len(fraction)-1]
	}
	for len(fraction) < least {
		fraction += "0"
	}
	negative = x < 0 && strings.Trim(whole+fraction, "0") != ""
	return negative, whole, fraction
}

// write puts separators to digits.
func (l *locale) write(n numerals, whole, fraction string) string {
	if n.Group != "" && len(whole) >= 3+n.MinGroup {
		step := 3
		if l.Lakh {
			step = 2
		}
		grouped := whole[len(whole)-3:]
		for rest := whole[:len(whole)-3]; rest != ""; {
			cut := max(0, len(rest)-step)
			grouped = rest[cut:] + n.Group + grouped
			rest = rest[:cut]
		}
		whole = grouped
	}
	if fraction == "" {
		return whole
	}
	return whole + n.Decimal + fraction
}

func (l *locale) number(x float64, least, most int) string {
	negative, whole, fraction := decimals(x, least, most)
	s := l.write(l.numerals, whole, fraction)
	if negative {
		return l.Minus + s
	}
	return s
}

// numberFilter writes a number with the separators of the language, with a number of
// decimals if given, else with those that it has, at most 3.
func numberFilter(r *run, in any, args []any) (any, error) {
	x, err := toNumber(in)
	if err != nil {
		return nil, err
	}
	least, most := 0, 3
	if len(args) > 0 {
		if most, err = decimalsOf(args[0]); err != nil {
			return nil, err
		}
		least = most
	}
	return r.locale().number(asFloat(x), least, most), nil
}

func decimalsOf(v any) (int, error) {
	n, err := whole(v)
	if err == nil && (n < 0 || n > maxDecimals) {
		err = fmt.Errorf("decimals are 0 to %d, not %d", maxDecimals, n)
	}
	return n, err
}

// moneyFilter writes an amount in a currency (ISO 4217): {{ 12.5 | money: "EUR" }} is
// "€12.50", "12,50 €", "€ 12,50". Decimals are the currency's, or as many as given; with
// "auto" whole amounts have none.
func moneyFilter(r *run, in any, args []any) (any, error) {
	x, err := toNumber(in)
	if err != nil {
		return nil, err
	}
	code, err := text(args[0])
	if err != nil {
		return nil, err
	}
	code = strings.ToUpper(code)
	most, known := table().digits[code]
	if !known {
		return nil, fmt.Errorf("%s is not the code of a currency, such as EUR", describe(args[0]))
	}
	if len(args) > 1 {
		if args[1] == "auto" {
			if asFloat(x) == math.Trunc(asFloat(x)) {
				most = 0
			}
		} else if most, err = decimalsOf(args[1]); err != nil {
			return nil, err
		}
	}
	return r.locale().money(asFloat(x), code, most), nil
}

func (l *locale) money(x float64, code string, places int) string {
	negative, whole, fraction := decimals(x, places, places)
	symbol := l.Symbols[code]
	if symbol == "" {
		symbol = code
	}
	patterns := l.Money.Sign
	// The side that faces the number: "US$" is a sign, "CHF" letters.
	facing, _ := utf8.DecodeLastRuneInString(symbol)
	if strings.HasPrefix(strings.TrimLeft(patterns[0], "\u200e\u200f"), "#") {
		facing, _ = utf8.DecodeRuneInString(symbol)
	}
	if unicode.IsLetter(facing) {
		patterns = l.Money.Letters
	}
	pattern := patterns[0]
	if negative {
		pattern = strings.Replace(patterns[1], "-", l.Minus, 1)
	}
	return strings.NewReplacer("¤", symbol, "#", l.write(l.Money.numerals, whole, fraction)).Replace(pattern)
}

// distanceFilter prints metres as people say them where the person's phone is at home:
// "230 m" below a kilometre, to ten metres, "1.2 km" below ten, then "12 km"; in the
// United States "650 ft" below a tenth of a mile and "0.4 mi" above, in the United
// Kingdom "350 yd" and "0.4 mi". With "metric", "us" or "uk" it is one of them for
// everybody.
func distanceFilter(r *run, in any, args []any) (any, error) {
	x, err := toNumber(in)
	if err != nil {
		return nil, err
	}
	m := asFloat(x)
	if m < 0 {
		return nil, fmt.Errorf("%v is not a distance", m)
	}
	system := systemOf(r.speech.person)
	if len(args) > 0 {
		s, ok := args[0].(string)
		if system = s; !ok || s != metric && s != milesFeet && s != milesYards {
			return nil, fmt.Errorf(`units are "metric", "us" or "uk", not %s`, describe(args[0]))
		}
	}
	const mile, foot, yard = 1609.344, 0.3048, 0.9144
	l := r.locale()
	switch {
	case system == metric:
		if m < 995 {
			step := 10.0
			if m < 10 {
				step = 1
			}
			return l.unit("m", math.Round(m/step)*step), nil
		}
		return l.unit("km", tenths(m/1000)), nil
	case m >= mile/10:
		return l.unit("mi", tenths(m/mile)), nil
	case system == milesFeet:
		return l.unit("ft", steps(m/foot)), nil
	default:
		return l.unit("yd", steps(m/yard)), nil
	}
}

// tenths rounds to tenths below ten, to whole ones above.
func tenths(x float64) float64 {
	if t := math.Round(x * 10); t < 100 {
		return t / 10
	}
	return math.Round(x)
}

// steps rounds to tens, and small numbers to whole ones.
func steps(x float64) float64 {
	if x < 10 {
		return math.Round(x)
	}
	return math.Round(x/10) * 10
}

func (l *locale) unit(name string, x float64) string {
	return strings.Replace(l.Units[name], "#", l.number(x, 0, 1), 1)
}

// Systems of units.
const (
	metric     = "metric"
	milesFeet  = "us"
	milesYards = "uk"
)

// systemOf is the system of units of a person's country, metric if it is not known.
func systemOf(person language.Tag) string {
	if !regional(person) {
		return metric
	}
	switch region, _ := person.Region(); region.String() {
	case "US", "LR", "PR", "GU", "VI", "AS", "MP", "UM":
		return milesFeet
	case "GB", "IM", "JE", "GG":
		return milesYards
	default:
		return metric
	}
}

// pluralForms says which argument of pluralize is for which plural of CLDR, by how many
// there are; what has none of its own takes the last.
var pluralForms = map[int][]plural.Form{
	2: {plural.One, plural.Other},
	3: {plural.One, plural.Few, plural.Other},
	4: {plural.One, plural.Few, plural.Many, plural.Other},
	5: {plural.One, plural.Two, plural.Few, plural.Many, plural.Other},
	6: {plural.Zero, plural.One, plural.Two, plural.Few, plural.Many, plural.Other},
}

// pluralizeFilter chooses a word by a number, by the rules of the language:
// {{ n | pluralize: "visit", "visits" }}. It gives the word alone. Two words are for one
// and for others; three for one, few, others; four for one, few, many, others; five for
// one, two, few, many, others; six have one for zero before that.
func pluralizeFilter(r *run, in any, args []any) (any, error) {
	x, err := toNumber(in)
	if err != nil {
		return nil, err
	}
	f := asFloat(x)
	_, digits, fraction := decimals(f, 0, 6)
	form := plural.Cardinal.MatchPlural(r.locale().tag, lastDigits(digits), len(fraction), len(fraction), lastDigits(fraction), lastDigits(fraction))
	for i, want := range pluralForms[len(args)] {
		if want == form {
			return args[i], nil
		}
	}
	return args[len(args)-1], nil
}

// lastDigits is a number of which only the last digits count in any language's plurals.
func lastDigits(s string) int {
	if len(s) > 8 {
		s = "1" + s[len(s)-8:]
	}
	n, _ := strconv.Atoi(s)
	return n
}
