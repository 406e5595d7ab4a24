// Package people gives persons what they may ask of whoever runs Footfall: a copy of
// everything that is kept of them, to be forgotten, to be left alone, and to know who
// has looked.
//
// # Erasure
//
// An erasure is a document of the collection "erasures", written before anything is
// done, so that a server that dies on the way goes on with it. It has the owners of
// the person's states forget them by records of the log (KindErase: the profile, those
// that were merged into it, their identifiers, their installs), waits until all that
// the owners had written before is in the store, and then deletes what stands under
// the person there: timeline, snapshots, decisions, visits, tracks, messages, inbox,
// what was set aside, who looked. It looks again a second later, until it finds nothing: a message
// may have been on its way. Then the store's files are scrubbed, so that no page keeps
// what was deleted. Of several erasures eight are under way at a time, they wait for their
// second look together, and the files are scrubbed once for all of whom nothing is found.
//
// Others may have been said to be the person: a page or an app that nobody believes names
// whom it likes. Such a profile stays, for nothing tells whose it is; its owner forgets
// whom it was said to be (KindDisclaim), and that goes from its timeline and its
// snapshots, with attributes and properties that are the person's e-mail address. The
// collection "claims" tells where to look, of whom a profile was ever said to be. What
// an earlier build noted is listed there when first somebody is erased.
//
// What was sent in before an erasure is erased, also where it waits: rows of an upload that
// was begun before are refused when their turn comes (Erased), and the portion that is on
// its way to the log when the erasure begins is waited for before the owners are told. What
// is sent in afterwards is of a new person, unless the identifiers are suppressed.
//
// The log itself cannot be changed, since others' records stand beside; nothing reads
// the person's from then on but a replay after a crash, and the receipt says when
// retention will have removed them. The receipt names nobody: what was erased stands in
// it as keyed hashes, so that somebody who knows an identifier can ask whether it was.
//
// A phone whose app lives on is a stranger afterwards: its token is not known any more,
// it registers as a new install without any consent.
//
// # Suppression
//
// A suppressed identifier is that of somebody who wants to be left alone: what names it
// is dropped where it comes in. The list has keyed hashes, no identifiers. Whoever is
// known is to be erased at the same time, so that there is nothing left to be sent to.
package people
