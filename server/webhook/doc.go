// Package webhook brings events to a retailer's own systems: what a partition puts
// out for "webhook" is kept in a durable queue, one item per event and subscription,
// and sent by channels/webhook until the receiver takes it, refuses it for good, or
// its time is over. It decides nothing, and does not know how events arise.
//
// # What is promised
//
// Accept returns when its events are durable, and the partition's outbox lets go of
// them only then: nothing is lost to kill -9. An event is sent at least once. It may
// come twice (after a timeout, a lost answer, a death between the answer and its
// being noted), always under the same id; a receiver drops what it has. There is no
// order among events, not even of one person: they are sent side by side and repeated
// later. Each says when it happened.
//
// # Lanes
//
// Each subscription has its own lane: its own calls under way (Options.InFlight), its
// own waits, its own bounds. One that is slow or down delays nobody else. What waits
// stays in the Queue and is fetched, the earliest due first.
//
// A failed event is sent again after 5 s, 10 s, 20 s … 1 h, half of it by chance (a
// hash), or when the receiver's Retry-After says, until Options.MaxAge after it came.
// When several first attempts in a row fail, the receiver is taken to be down: the
// lane pauses, then one event probes, for up to a minute between probes, so that a
// receiver that comes back is found soon and not overrun. A 429 or 503 with
// Retry-After pauses it for that long. One event that always fails does not pause it.
//
// # Dead letters
//
// What is refused (a status 4xx but 408, 425, 429, or a redirect), has failed until its
// time was over, or found the queue full becomes a dead letter: it is kept for
// Options.DeadFor with the last answer, and can be sent again or deleted. When a batch
// is refused, its events are first sent one by one. 410 disables the subscription:
// events are no longer made for it, and those that wait become dead letters. Beyond
// Options.MaxDead of a subscription what dies is dropped and counted.
package webhook
