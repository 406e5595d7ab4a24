// Writes locales.json, beside it, from the CLDR data of Node's full ICU:
//
//     node gen.mjs
//
// Run it with a newer Node to take newer data; what changes is what messages say, so
// look at the difference. A locale holds what differs from its parent. Keys:
//
//   parent            of which the rest is; absent: of "en"
//   months, monthsAbbr, days, daysAbbr   names as they stand within a date, from January, from Sunday
//   ampm              of the 12-hour clock
//   dates             by style: the pattern, in the letters of CLDR (y MMMM d EEEE …), quoted where literal
//   decimal, group, minus, minGroup (digits before the first group), lakh (groups of two above the first)
//   money             decimal, group, minGroup, and patterns: "¤" is the symbol, "#" the number;
//                     [positive, negative] of symbols that are signs, and of those that end in a letter
//   symbols           of currencies, where they are not the code
//   units             what stands behind a number: m, km, mi, ft, yd

import { writeFileSync } from 'node:fs'

const locales = [
  ['en'], ['en-001'], ['en-GB', 'en-001'], ['en-IE', 'en-001'], ['en-AU', 'en-001'], ['en-NZ', 'en-001'], ['en-ZA', 'en-001'], ['en-IN', 'en-001'],
  ['en-NL', 'en-001'], ['en-BE', 'en-001'], ['en-DE', 'en-001'], ['en-CH', 'en-001'], ['en-SG', 'en-001'], ['en-CA'],
  ['nl'], ['nl-BE', 'nl'], ['de'], ['de-AT', 'de'], ['de-CH', 'de'], ['de-LI', 'de'], ['de-LU', 'de'],
  ['fr'], ['fr-BE', 'fr'], ['fr-CA', 'fr'], ['fr-CH', 'fr'], ['fr-LU', 'fr'],
  ['it'], ['it-CH', 'it'], ['es'], ['es-419', 'es'], ['es-MX', 'es-419'], ['es-US', 'es-419'], ['es-AR', 'es-419'], ['es-CL', 'es-419'], ['es-CO', 'es-419'], ['es-PE', 'es-419'],
  ['pt'], ['pt-PT', 'pt'], ['ca'], ['eu'], ['gl'],
  ['da'], ['sv'], ['nb'], ['nn'], ['fi'], ['is'], ['ga'], ['cy'], ['mt'],
  ['pl'], ['cs'], ['sk'], ['hu'], ['ro'], ['bg'], ['hr'], ['sr'], ['sr-Latn'], ['bs'], ['mk'], ['sq'], ['sl'], ['et'], ['lv'], ['lt'], ['el'], ['tr'],
  ['ru'], ['uk'], ['ka'], ['hy'], ['az'], ['kk'], ['he'], ['ar'], ['hi'], ['bn'], ['ta'], ['th'], ['vi'], ['id'], ['ms'], ['fil'], ['af'], ['sw'],
  ['ja'], ['ko'], ['zh'], ['zh-Hant'], ['zh-HK', 'zh-Hant'],
]

const currencies = ['AED', 'ARS', 'AUD', 'BGN', 'BRL', 'CAD', 'CHF', 'CLP', 'CNY', 'COP', 'CZK', 'DKK', 'EGP', 'EUR', 'GBP', 'HKD', 'HUF', 'IDR', 'ILS', 'INR', 'ISK', 'JPY', 'KRW', 'KZT', 'MAD', 'MXN', 'MYR', 'NOK', 'NZD', 'PEN', 'PHP', 'PLN', 'RON', 'RSD', 'RUB', 'SAR', 'SEK', 'SGD', 'THB', 'TRY', 'TWD', 'UAH', 'USD', 'VND', 'ZAR']

const ext = (tag) => `${tag}-u-nu-latn-ca-gregory`
const at = (month, day, hour = 9) => new Date(Date.UTC(2026, month, day, hour, 7))
const part = (parts, type) => parts.find((p) => p.type === type)?.value

function names(tag) {
  const fmt = (o) => new Intl.DateTimeFormat(ext(tag), { timeZone: 'UTC', ...o })
  const month = (style) => [...Array(12).keys()].map((m) => part(fmt({ month: style, day: 'numeric' }).formatToParts(at(m, 5)), 'month'))
  const day = (style) => [...Array(7).keys()].map((d) => part(fmt({ weekday: style, day: 'numeric', month: style }).formatToParts(at(2, 1 + d)), 'weekday')) // 1 March 2026 is a Sunday
  const ampm = [9, 15].map((h) => part(fmt({ hour: 'numeric', hour12: true }).formatToParts(at(2, 5, h)), 'dayPeriod'))
  return { months: month('long'), monthsAbbr: month('short'), days: day('long'), daysAbbr: day('short'), ampm }
}

const quote = (s) => (/[a-zA-Z']/.test(s) ? `'${s.replaceAll("'", "''")}'` : s)

function pattern(tag, options, n) {
  // 5 March 2026, a Thursday, and months whose names tell their width.
  const f = new Intl.DateTimeFormat(ext(tag), { timeZone: 'UTC', ...options })
  return f.formatToParts(at(2, 5)).map(({ type, value }) => {
    switch (type) {
      case 'literal': return quote(value)
      case 'year': return value === '26' ? 'yy' : value === '2026' ? 'y' : fail(tag, type, value)
      case 'month':
        if (/^\d+$/.test(value)) return value.length === 1 ? 'M' : 'MM'
        if (value === n.months[2]) return 'MMMM'
        if (value === n.monthsAbbr[2]) return 'MMM'
        return fail(tag, type, value)
      case 'day': return value === '5' ? 'd' : value === '05' ? 'dd' : fail(tag, type, value)
      case 'weekday': return value === n.days[4] ? 'EEEE' : value === n.daysAbbr[4] ? 'EEE' : fail(tag, type, value)
      case 'hour': {
        const twelve = f.resolvedOptions().hour12
        return (twelve ? 'h' : 'H').repeat(value.length)
      }
      case 'minute': return 'mm'
      case 'dayPeriod': return 'a'
      case 'era': return quote(value)
      default: return fail(tag, type, value)
    }
  }).join('')
}

function fail(tag, type, value) { throw new Error(`${tag}: ${type} ${JSON.stringify(value)}`) }

function dates(tag, n) {
  const out = {}
  for (const s of ['full', 'long', 'medium', 'short']) out[s] = pattern(tag, { dateStyle: s }, n)
  out.day = pattern(tag, { weekday: 'long', day: 'numeric', month: 'long' }, n)
  out.day_month = pattern(tag, { day: 'numeric', month: 'long' }, n)
  out.time = pattern(tag, { timeStyle: 'short' }, n)
  return out
}

function grouping(f) {
  const p = (x) => f.formatToParts(x)
  return {
    decimal: part(p(1.5), 'decimal') ?? '.',
    group: part(p(1234567), 'group') ?? '',
    minGroup: part(p(1234), 'group') === undefined ? 2 : 1,
  }
}

function numbers(tag) {
  const f = new Intl.NumberFormat(ext(tag), { maximumFractionDigits: 3 })
  const g = grouping(f)
  return { ...g, minus: part(f.formatToParts(-1), 'minusSign'), lakh: f.formatToParts(1234567).filter((p) => p.type === 'integer')[0].value === '12' }
}

function shape(parts) {
  let out = ''
  for (const p of parts) {
    const digit = ['integer', 'group', 'decimal', 'fraction'].includes(p.type)
    if (digit && !out.endsWith('#')) out += '#'
    else if (p.type === 'currency') out += '¤'
    else if (p.type === 'minusSign') out += '-'
    else if (!digit) out += p.value
  }
  return out
}

function money(tag) {
  const f = (currency) => new Intl.NumberFormat(ext(tag), { style: 'currency', currency })
  const both = (currency) => [1234.5, -1234.5].map((x) => shape(f(currency).formatToParts(x)))
  return { ...grouping(f('EUR')), sign: both('EUR'), letters: both('ZMW') }
}

function symbols(tag) {
  const out = {}
  for (const c of currencies) {
    const s = part(new Intl.NumberFormat(ext(tag), { style: 'currency', currency: c }).formatToParts(1), 'currency')
    if (s !== c) out[c] = s
  }
  return out
}

function units(tag) {
  const out = {}
  for (const [key, unit] of Object.entries({ m: 'meter', km: 'kilometer', mi: 'mile', ft: 'foot', yd: 'yard' })) {
    const parts = new Intl.NumberFormat(ext(tag), { style: 'unit', unit, unitDisplay: 'short' }).formatToParts(5)
    const i = parts.findIndex((p) => p.type === 'integer')
    const text = (from, to) => parts.slice(from, to).map((p) => p.value).join('')
    out[key] = text(0, i) + '#' + text(i + 1)
  }
  return out
}

function difference(all, from) {
  if (from === undefined) return all
  const out = {}
  for (const k of Object.keys(all)) {
    if (JSON.stringify(all[k]) === JSON.stringify(from[k])) continue
    out[k] = ['dates', 'units'].includes(k) ? Object.fromEntries(Object.entries(all[k]).filter(([s, v]) => from[k][s] !== v)) : all[k]
  }
  return out
}

const whole = {}
const out = { cldr: process.versions.cldr, digits: {}, locales: {} }
for (const [tag, parent] of locales) {
  const n = names(tag)
  whole[tag] = { ...n, dates: dates(tag, n), ...numbers(tag), money: money(tag), symbols: symbols(tag), units: units(tag) }
  const from = tag === 'en' ? undefined : parent ?? 'en'
  out.locales[tag] = { ...(parent ? { parent } : {}), ...difference(whole[tag], whole[from]) }
}
// How many decimals each currency has.
for (const c of Intl.supportedValuesOf('currency')) {
  out.digits[c] = new Intl.NumberFormat('en', { style: 'currency', currency: c }).resolvedOptions().maximumFractionDigits
}
// One locale a line.
const lines = Object.entries(out.locales).map(([k, v]) => `    ${JSON.stringify(k)}: ${JSON.stringify(v)}`)
writeFileSync(new URL('locales.json', import.meta.url),
  `{\n  "cldr": ${JSON.stringify(out.cldr)},\n  "digits": ${JSON.stringify(out.digits)},\n  "locales": {\n${lines.join(',\n')}\n  }\n}\n`)
