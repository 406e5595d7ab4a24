// Package engage is the vocabulary that the stages share: plain values with
// their validation and encoding, no I/O. It imports nothing of Footfall but geo.
//
// Reading order: Entry (what stands in the log), Place and Campaign (what
// marketers define), Device, Consents and Weather (what is known of a person
// and a moment), Trigger (what situate tells decide), Trace, Send and
// DeliveryOutcome (what decide says and deliver answers).
package engage
