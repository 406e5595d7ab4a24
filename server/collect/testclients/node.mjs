// Sends with the official client for servers, unmodified: what is in calls.json.
// node node.mjs HOST WRITE_KEY; it ends when all has been answered, with 1 if anything failed.
import { readFileSync } from 'node:fs'
import { Analytics } from '@segment/analytics-node'

const [host, writeKey] = process.argv.slice(2)
const calls = JSON.parse(readFileSync(new URL('calls.json', import.meta.url), 'utf8'))
const analytics = new Analytics({ host, writeKey, flushAt: 7, flushInterval: 100, maxRetries: 3 })

let answered = 0
let failed = 0
analytics.on('error', (e) => {
  failed++
  console.error('error', e.code, e.reason?.message ?? e.reason)
})
analytics.on('http_response', (r) => {
  if (r.status !== 200) {
    failed++
    console.error('answered', r.status, r.statusText)
  }
})
const done = calls.map(
  ({ type, ...body }) =>
    new Promise((resolve) => {
      analytics[type](body, (err) => {
        if (err) {
          failed++
          console.error(type, err)
        } else {
          answered++
        }
        resolve()
      })
    }),
)
await analytics.flush({ close: true, timeout: 60_000 })
await Promise.all(done)
console.log(JSON.stringify({ answered, failed }))
process.exit(failed === 0 ? 0 : 1)
