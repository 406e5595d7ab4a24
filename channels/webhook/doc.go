// Package webhook tells another system of an event: one CloudEvent (or a batch of
// them) in one signed POST, and what the answer means. It never retries, and knows
// nothing of the server that uses it: a queue around it owns retries.
//
// # On the wire
//
// The body is a CloudEvents 1.0 event in structured JSON mode
// (application/cloudevents+json), or a JSON array of events
// (application/cloudevents-batch+json). The signature has the form of the Standard
// Webhooks specification 1.0: the headers
//
//	webhook-id         names what is sent; the same on every repeat
//	webhook-timestamp  of this attempt, Unix seconds
//	webhook-signature  "v1," and the base64 HMAC-SHA256 of "<id>.<timestamp>.<body>",
//	                   one per secret in force, with a space between
//
// A secret is "whsec_" and the base64 of its 24 to 64 bytes.
//
// # For a receiver
//
// Read the whole body, verify, answer with any 2xx within seconds, then work. An
// event may come twice: (source, id) of a CloudEvent is the same then. In Go:
//
//	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
//	if err != nil {
//		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
//		return
//	}
//	if err := webhook.Verify(r.Header, body, time.Now(), os.Getenv("FOOTFALL_WEBHOOK_SECRET")); err != nil {
//		http.Error(w, err.Error(), http.StatusUnauthorized)
//		return
//	}
//	events, err := webhook.Parse(r.Header.Get("Content-Type"), body)
//
// Any library for Standard Webhooks verifies it too.
//
// # What an answer means
//
// 2xx is channels.Accepted. 408, 425, 429, 5xx, a timeout and a lost connection are
// channels.RetryAfter, with the answer's Retry-After (seconds or a date). 410 is
// channels.TokenGone: the receiver wants no more. Other 4xx and a redirect are
// channels.Rejected: redirects are not followed, since they would lead anywhere. An
// address that may not be called is channels.Misconfigured.
//
// # Whom it calls
//
// https to public addresses. A private, loopback, link-local or otherwise special
// address is refused when it is dialled, whatever its name resolved to before, and
// so is plain http, unless the address lies in Options.AllowNetworks. Proxies of the
// environment are not used: they would dial in our stead.
package webhook
