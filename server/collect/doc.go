// Package collect is the tracking API: websites, servers and tills say by it what
// people did. It speaks the HTTP tracking API of Segment, so that Segment's own
// libraries work without a change: give them this server as their host and a write key
// (footfall write-keys create). It is a stage of its own beside ingest, which speaks
// with phones.
//
// Reading order: collect.go (what it needs of the others, lifecycle), serve.go (a
// request from its headers to the answer), auth.go, body.go, call.go (JSON becomes a
// call), clock.go, touch.go (a call becomes an engage.Touch), order.go (purchases),
// dropped.go (what was answered and had no effect), settings.go.
//
// # Routes
//
// All are below /v1, and take POST:
//
//	/track /t      something that a person did; the e-commerce events tell of orders
//	/identify /i   who a person is, and what is known of them
//	/page /p /screen /s   what was looked at
//	/group /g      that a person belongs to a group
//	/alias /a      previousId and userId are one person; server keys only
//	/batch /b      many of these, each with its type; context and sentAt of the batch
//	               are those of a call that has none of its own
//	/import        a batch of what was long ago: nothing is triggered, times are
//	               taken as they stand
//	/m             what libraries count of themselves; thrown away
//
// GET /v1/projects/{write key}/settings tells a library where to send what.
//
// GET /v1/pixel/{track, identify, …}?data=… is one call for where no script runs, such
// as in a mail: data is the call as JSON, with its writeKey, in base64 of either
// alphabet, with or without padding. The answer to what is taken is a picture of one
// pixel; else it is as anywhere.
//
// # Pages
//
// All routes answer pages of every origin (CORS), unless the public key has a list of
// origins: then those of others are refused with 403, without leave to read the answer,
// and it is listed as dropped (code forbidden), about once a second at most. A pixel's origin is that of its
// page's address, where the browser says one. What says no origin is taken: a key that
// stands in pages is no secret, and whoever is no browser can say any.
//
// The write key stands in Authorization (Basic, as the user, with or without the colon;
// or Bearer) or in the body as writeKey. The media type is not looked at (pages send
// text/plain), the body may be gzip.
//
// # Answers
//
// 200 {"success":true}: all that could have an effect is durable in the log. It is also
// the answer to calls that have no effect, because libraries would repeat them for
// nothing otherwise: each is listed with its reason (GET /api/v1/dropped, footfall
// dropped), as is a part of a call that was left out. So is all that a revoked key
// brings.
//
// 400: the body is no JSON object, no whole gzip, or larger than it may be (Limits):
// 32 KB of a call, 500 KB and 2,500 calls of a batch. A call of a batch above 32 KB, or
// one that is no object, is dropped alone. 401: there is no such key, so there is no
// workspace in which anything could be listed. 429, with Retry-After in seconds and
// X-RateLimit-Reset in Unix seconds: the key brings more than it may (its own rates, or
// 1,000 requests and 20,000 calls per second), or the log is
// behind. 503: the server stops, or the log did not answer in time; what was sent may
// have landed, and takes effect once all the same if it had message ids. Never 408 or
// 410, which libraries would repeat.
//
// # Who is believed
//
// What a server key says is Trusted: userId, loyalty card (traits loyalty_number,
// loyaltyNumber or loyalty), e-mail (trait email) and anonymousId are of one person.
// context.traits count as traits for this, and for nothing else. A public key stands in
// pages, where everybody can read it: what it brings is of the anonymous visitor
// alone. Its userId is noted as a claim; without an anonymousId it is dropped, and so
// is an alias. Once the visitor is known to be somebody, it goes to a profile of nobody,
// and comes into the person, behind all that is known of them, when an identify by a
// server key names the two together again: at the next login, that is. If it names the
// anonymousId with another user, who is not the same, two persons use the browser, and
// what its pages have said, until the first is named again, is nobody's.
//
// previousId of an alias may be a user id or an anonymous id; the specification does not
// tell which. It is anonymous if it is the call's anonymousId; what looks like a UUID,
// as libraries make them, is taken as both; all else is a user id.
//
// A call that names somebody of the workspace's suppression list is dropped whole.
//
// # Time
//
// A call happened at timestamp (or originalTimestamp), moved by as much as the sender's
// clock is off: receivedAt − sentAt. Kotlin's and Swift's libraries write sentAt when a
// batch is first complete, perhaps days before it is sent; theirs is not moved as long
// as it can be true. What would be in the future, or before 2000, happened when it
// arrived.
//
// # What is kept
//
// Traits become attributes: texts, numbers, booleans and lists of texts; an object's
// members are attributes of their own, address.city is address_city; null forgets.
// Where the workspace's schema says that one is a time, a date alone (2026-01-31) is
// midnight UTC of that day.
// Names are of a-z, A-Z, 0-9, '_', '-'. Traits of a group are properties of its event.
// Properties are kept as they are, up to 500 names and 10 levels.
//
// integrations say to whom else a call may go; nothing is made of them here. Columns
// that are not named here are ignored.
//
// Order Completed, Updated, Refunded and Cancelled tell of an order: its order_id, what
// it is worth (total, else revenue, else the sum of its products), currency, coupon,
// products, and the place of a till (property or context place or store_id, if there is
// such a place). A refund says what was given back; one that names no amount gives all
// back, which is the same as Cancelled.
//
// messageId makes a call take effect once per person, however often it is sent; one is
// made up for a call without.
package collect
